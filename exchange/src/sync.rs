//! Copies of peers' logs, and the way back of a member whose directory is older than what its peers have seen.
//!
//! A copy is a log of its own in the store: its entries are hashed into the same tree, and the owner's checkpoint is
//! kept only when the trees agree. That is stronger than a consistency proof, and it lets the copy be served back.

use std::collections::BTreeMap;

use credit::{
    entry::{Entry, Fact, StatusFact},
    id::MemberId,
};
use crypto::{Digest, Timestamp, merkle::leaf_hash};
use ledger::{
    checkpoint::{Checkpoint, SignedCheckpoint},
    log::{Log, LogError},
    store::Batch,
};

use crate::{
    context::Context,
    evidence::{self, Found},
    grant,
    limits::SYNC_INTERVAL_MS,
    logs::LogName,
    member::{Input, Phase},
    project,
    propagation::{self, Disclosure},
    push,
    receipt::Proven,
    refusal::{Code, Fault, Halt},
    step::Effect,
    tables::{Key, Told},
    turn::Turn,
    witness::WitnessRow,
};

/// When each copy is pulled next.
#[derive(Debug, Default)]
pub struct Schedule(BTreeMap<(MemberId, LogName), Timestamp>);

impl Schedule {
    /// Pulls a log with the next tick: its owner has told an entry that the copy has not. From the copy alone peers learn
    /// of the entry when its owner is gone.
    pub fn hurry(&mut self, log: &(MemberId, LogName)) {
        self.0.remove(log);
    }

    /// Pulls what is due, and nothing of a frozen member.
    pub fn due<'a>(
        &mut self,
        turn: &mut Turn<'_>,
        copies: impl Iterator<Item = (&'a MemberId, LogName, u64)>,
    ) -> Result<(), Fault> {
        for (owner, log, size) in copies {
            let next = self.0.entry((owner.clone(), log)).or_default();
            if *next <= turn.now {
                *next = turn.now.plus_ms(SYNC_INTERVAL_MS);
                if !evidence::frozen(turn.view(), owner)? {
                    turn.effect(Effect::Pull { owner: owner.clone(), log, from: size });
                }
            }
        }
        Ok(())
    }
}

/// Entries of a log as a peer served them, with the owner's verified checkpoint.
pub struct Pulled {
    /// Whose log.
    pub owner: MemberId,
    /// Which.
    pub log: LogName,
    /// Index of the first entry.
    pub from: u64,
    /// The entries.
    pub entries: Vec<Vec<u8>>,
    /// The checkpoint that covers exactly what was there and these.
    pub checkpoint: Checkpoint,
    /// As signed.
    pub note: SignedCheckpoint,
}

impl From<Pulled> for Input {
    fn from(Pulled { owner, log, from, entries, checkpoint, note }: Pulled) -> Self {
        Self::Pulled { owner, log, from, entries, checkpoint, note }
    }
}

/// Takes pulled entries into a copy, or into the member's own log while it catches up.
///
/// 1. They continue the log: an answer that came twice changes nothing. A checkpoint over less than what is kept must
///    be its past; if it is not, the owner has signed two histories, and is convicted of it.
/// 2. Every entry is canonical and names its predecessor; every statement in it is signed by the owner. All of this is
///    checked before the copy is touched.
/// 3. With them the tree has exactly the checkpoint's root: `signature.invalid` otherwise, and an alert, because the
///    owner has then signed something else than it served.
/// 4. What this member has cosigned of the log, perhaps before it had a copy, is its past, or the owner is convicted.
/// 5. Each entry is projected: a peer's changes of standing are acted on and acknowledged as if pushed, and the steps of
///    its cases are kept for the counters that took the applications. Own entries that say who was told of a record
///    add that asker to the recipients of own status entries read before them.
pub fn pulled(context: &Context, turn: &mut Turn<'_>, copy: &mut Log, pulled: Pulled) -> Result<(), Halt> {
    let Pulled { owner, log: name, from, entries, checkpoint, note } = pulled;
    // 1
    let have = copy.next_index().0;
    if checkpoint.size.0 <= have {
        // What the owner signs now must be the past of what it signed before.
        if let Found::Splits(convicted) = evidence::compare(context, turn.view(), turn.now, &note)? {
            evidence::convict(context, turn, &convicted)?;
        }
        return Ok(());
    }
    if from != have {
        return Ok(());
    }
    // 2
    let own = owner == context.own.id;
    let mut prev = copy.last_leaf();
    let mut read: Vec<(Entry, Option<StatusFact>, Digest)> = Vec::with_capacity(entries.len());
    for (i, bytes) in entries.iter().enumerate() {
        let refuse = |why: &str| {
            Halt::refuse(
                Code::SignatureInvalid,
                format!("entry {} of `{owner}/{name}`: {why}", from + i as u64),
            )
        };
        let Ok(entry) = Entry::from_bytes(bytes) else { return refuse("is not canonical") };
        if entry.prev != prev {
            return refuse("does not name the entry before it");
        }
        let fact = match &entry.fact {
            Fact::Status(signed) if signed.issuer() != owner.as_str() => {
                return refuse("is signed by another member");
            }
            Fact::Batched(signed) if signed.issuer() != owner.as_str() => {
                return refuse("is signed by another member");
            }
            Fact::Status(signed) => Some(context.registry.verify_logged(signed)?.into_inner()),
            Fact::Batched(signed) => context.registry.verify_logged(signed).map(|_| None)?,
            _ => None,
        };
        prev = leaf_hash(bytes);
        read.push((entry, fact, prev));
    }
    // 3
    for bytes in entries {
        if let Err(e) = copy.append(bytes) {
            copy.discard_pending();
            return Halt::refuse(Code::SignatureInvalid, e.to_string());
        }
    }
    let mut sealed = Batch::default();
    match copy.seal_mirror(&note, &checkpoint, turn.view(), &mut sealed) {
        Ok(()) => turn.absorb(sealed),
        Err(LogError::Store(e)) => return Err(Fault::from(e).into()),
        Err(e) => {
            copy.discard_pending();
            return Halt::refuse(Code::SignatureInvalid, format!("log of `{owner}`: {e}"));
        }
    }
    // 4
    let cosigned = turn.row::<WitnessRow>(&Key::witness(&checkpoint.origin))?;
    if let Some(row) = cosigned
        && let Found::Splits(convicted) = evidence::compare(context, turn.view(), turn.now, &row.note)?
    {
        return evidence::convict(context, turn, &convicted);
    }
    // 5
    let mut disclosed = Vec::new();
    for (i, (entry, fact, leaf)) in read.into_iter().enumerate() {
        let index = from + i as u64;
        if own {
            turn.moved(name, index + 1, leaf);
            project::own(context, turn, name, index, &entry)?;
            if let Fact::Disclosed(told) = entry.fact {
                let (asker, at) = (told.asked.asker, entry.at);
                let of = |record| Disclosure { record, asker: asker.clone(), at };
                disclosed.extend(told.records.into_iter().map(|told| of(told.record)));
            }
            continue;
        }
        let Some(fact) = fact else { continue };
        if propagation::concerns_finder(context, &fact) {
            let checkpoint = checkpoint.clone();
            let proven = Proven { member: owner.clone(), log: name, index, entry, leaf, checkpoint };
            match propagation::act(context, turn, &proven, &fact) {
                // The copy is sealed by now and stays as its owner signed it; what cannot be acted on is for people.
                Err(Halt::Refusal(refusal)) => turn.effect(Effect::Alert(refusal.to_string())),
                acted => drop(acted?),
            }
        } else {
            project::status(context, turn, &owner, &fact, Told { index, at: entry.at })?;
            grant::pass_on(context, turn, &owner, &fact)?;
        }
    }
    propagation::schedule_late(context, turn, &disclosed)
}

/// Writes down which registry version the member decides under from here on, when it is another one than before.
pub fn adopt_registry(context: &Context, turn: &mut Turn<'_>) -> Result<(), Halt> {
    let (version, digest) = (context.registry.version, context.registry.digest());
    if turn.row::<u64>(&Key::registry())? != Some(version) {
        let signed = context.sign(turn.now, &StatusFact::RegistryAdopted(version, digest));
        turn.append(context, LogName::Status, Fact::Status(signed))?;
        push::adopted(context, turn)?;
    }
    Ok(())
}

/// Decides, after every reachable peer has been asked, whether anything of the member's own logs is lost.
pub fn restored(turn: &mut Turn<'_>, seen: &[(LogName, u64)], size: impl Fn(LogName) -> u64) -> Phase {
    let behind = seen.iter().find(|(log, seen)| *seen > size(*log));
    match behind {
        None => Phase::Syncing,
        Some((log, seen)) => {
            let have = size(*log);
            turn.effect(Effect::Alert(format!(
                "this member's log `{log}` has {have} entries, and a peer has proof of {seen}: data was lost"
            )));
            Phase::Behind { log: *log, have, seen: *seen }
        }
    }
}
