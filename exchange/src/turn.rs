//! One input's turn: what a handler may read, and what it asks to be written, appended and sent.
//!
//! Nothing a turn collects exists until [`crate::member::Member::handle`] keeps it; a refusal drops the turn.

use std::collections::BTreeMap;

use credit::entry::{Entry, Fact};
use crypto::{Digest, Timestamp, codec, keytree::Slot, merkle::leaf_hash};
use ledger::store::{Batch, Overlay, Space, View};
use minicbor::{Decode, Encode};

use crate::{
    context::Context,
    logs::LogName,
    project,
    refusal::{Fault, Halt},
    step::{Effect, Reply, Token},
    tables::{self, Key},
};

/// Where a log stands for this turn.
#[derive(Clone, Copy, Debug)]
pub struct Tail {
    /// Index of the next entry.
    pub next: u64,
    /// Leaf hash of the last entry: the next entry's `prev`.
    pub last: Digest,
}

/// One input's turn.
pub struct Turn<'a> {
    /// The time of this step.
    pub now: Timestamp,
    rows: Overlay<'a>,
    tails: BTreeMap<LogName, Tail>,
    entries: Vec<(LogName, Vec<u8>)>,
    effects: Vec<Effect>,
}

/// What a kept turn leaves.
pub struct Kept {
    /// Rows.
    pub rows: Batch,
    /// Entries, in order.
    pub entries: Vec<(LogName, Vec<u8>)>,
    /// Effects, in order.
    pub effects: Vec<Effect>,
}

impl<'a> Turn<'a> {
    /// A turn over what earlier turns of the same step have kept.
    pub fn new(now: Timestamp, kept: &'a Overlay<'_>, tails: BTreeMap<LogName, Tail>) -> Self {
        Self { now, rows: Overlay::over(kept), tails, entries: Vec::new(), effects: Vec::new() }
    }

    /// What the turn sees: everything stored and kept, and its own writes.
    pub fn view(&self) -> &dyn View {
        &self.rows
    }

    /// Reads a row.
    pub fn row<T>(&self, key: &Key) -> Result<Option<T>, Fault>
    where
        T: Encode<()> + for<'b> Decode<'b, ()>,
    {
        tables::row(&self.rows, key)
    }

    /// Writes a row.
    pub fn put<T: Encode<()>>(&mut self, key: &Key, row: &T) {
        self.rows.put(Space::Row, key.as_bytes(), codec::to_vec(row));
    }

    /// Removes a row.
    pub fn delete(&mut self, key: &Key) {
        self.rows.delete(Space::Row, key.as_bytes());
    }

    /// Where a log stands.
    pub fn tail(&self, log: LogName) -> Tail {
        self.tails.get(&log).copied().unwrap_or(Tail { next: 0, last: Digest::ZERO })
    }

    /// Appends a fact to one of this member's logs and projects it into rows. Returns index and leaf hash.
    pub fn append(&mut self, context: &Context, log: LogName, fact: Fact) -> Result<(u64, Digest), Halt> {
        let (index, leaf, entry) = self.append_only(log, fact);
        project::own(context, self, log, index, &entry)?;
        Ok((index, leaf))
    }

    /// Appends a fact whose rows the caller writes. Returns index, leaf hash and entry.
    pub fn append_only(&mut self, log: LogName, fact: Fact) -> (u64, Digest, Entry) {
        let tail = self.tail(log);
        let entry = Entry { prev: tail.last, at: self.now, fact };
        let bytes = entry.to_bytes();
        let leaf = leaf_hash(&bytes);
        self.tails.insert(log, Tail { next: tail.next + 1, last: leaf });
        self.entries.push((log, bytes));
        (tail.next, leaf, entry)
    }

    /// Writes the sealed record of a slot, encoded.
    pub fn put_payload(&mut self, slot: Slot, payload: Vec<u8>) {
        self.rows.put(Space::Payload, tables::payload_key(slot), payload);
    }

    /// Removes the sealed record of a slot.
    pub fn delete_payload(&mut self, slot: Slot) {
        self.rows.delete(Space::Payload, tables::payload_key(slot));
    }

    /// Adds writes made outside of rows: the tiles and head of a log that was sealed in this turn.
    pub fn absorb(&mut self, batch: Batch) {
        self.rows.absorb(batch);
    }

    /// Notes that one of this member's own logs was extended by entries replayed from a peer.
    pub fn moved(&mut self, log: LogName, next: u64, last: Digest) {
        self.tails.insert(log, Tail { next, last });
    }

    /// Adds an effect, released after the batch is durable. All punctures of a turn become one, and so do all
    /// erasures, because each rewrites the key tree.
    pub fn effect(&mut self, effect: Effect) {
        let effect = match effect {
            Effect::Erase(more) => {
                let earlier = self.effects.iter_mut().find_map(|e| match e {
                    Effect::Erase(records) => Some(records),
                    _ => None,
                });
                match earlier {
                    Some(records) => return records.extend(more),
                    None => Effect::Erase(more),
                }
            }
            Effect::Retire(more) => {
                let earlier = self.effects.iter_mut().find_map(|e| match e {
                    Effect::Retire(records) => Some(records),
                    _ => None,
                });
                match earlier {
                    Some(records) => return records.extend(more),
                    None => Effect::Retire(more),
                }
            }
            Effect::Puncture(more) => {
                let earlier = self.effects.iter_mut().find_map(|e| match e {
                    Effect::Puncture(slots) => Some(slots),
                    _ => None,
                });
                match earlier {
                    Some(slots) => return slots.extend(more),
                    None => Effect::Puncture(more),
                }
            }
            other => other,
        };
        self.effects.push(effect);
    }

    /// Answers the caller after the batch is durable.
    pub fn reply(&mut self, token: Token, reply: Reply) {
        self.effects.push(Effect::Reply { token, reply });
    }

    /// Ends the turn.
    pub fn finish(self) -> Kept {
        Kept { rows: self.rows.into_batch(), entries: self.entries, effects: self.effects }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crypto::keytree::Slot;
    use ledger::store::memory::MemoryStore;

    #[test]
    fn a_turn_rewrites_the_key_tree_once_however_much_it_erases() {
        let store = MemoryStore::default();
        let kept = Overlay::new(&store);
        let mut turn = Turn::new(Timestamp(0), &kept, BTreeMap::new());
        turn.effect(Effect::Puncture(vec![Slot(1), Slot(2)]));
        turn.effect(Effect::Alert("between".into()));
        turn.effect(Effect::Puncture(vec![Slot(3)]));
        let effects = turn.finish().effects;
        let [Effect::Puncture(slots), Effect::Alert(_)] = &effects[..] else { panic!("{effects:?}") };
        assert_eq!(slots[..], [Slot(1), Slot(2), Slot(3)]);
    }
}
