//! A digest of every standing under one authority, kept beside the standings, so that two members that hold the same
//! log can see in 32 bytes whether they have made the same of it, and else find where not.
//!
//! A tree of sixteen children at each of four levels over the first 16 bits of record ids, which are keyed hashes and so
//! fall evenly. Each change of a standing rewrites the four nodes above it, in the same batch. Shape: 65,536 buckets; a
//! million records make 4,369 node rows of 512 bytes, and about 15 standings in a bucket.
//!
//! Security: it is a Merkle tree over SHA-256, so equal digests mean equal standings, whoever has computed them. It
//! proves nothing about who is right: that does the authority's log, and every difference is judged by it
//! ([`crate::reconcile`]). Rejected: sums and exclusive ors of digests, which cost less to keep, and of which equal ones
//! can be made for different sets.

use std::collections::BTreeMap;

use credit::{
    id::{MemberId, RecordId},
    status::Standing,
};
use crypto::{Bytes, Digest, codec, label::Label};
use ledger::store::{Pair, Space, View};
use minicbor::{Decode, Encode};

use crate::{
    refusal::Fault,
    tables::{self, Key},
    turn::Turn,
};

/// Levels of nodes: those above the buckets.
pub const DEPTH: u8 = 4;
/// Children of a node.
pub const FANOUT: usize = 16;
/// Standings read at once when the tree is made again.
const PAGE: usize = 4_096;

/// The digests of a node's children, zero where there is nothing: 512 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct Children(#[n(0)] Bytes);

impl Default for Children {
    fn default() -> Self {
        Self(Bytes(vec![0; FANOUT * 32]))
    }
}

impl Children {
    /// The children, in order; zero for what a damaged row does not hold.
    pub fn digests(&self) -> [Digest; FANOUT] {
        let mut digests = [Digest::ZERO; FANOUT];
        for (digest, bytes) in digests.iter_mut().zip(self.0.0.chunks_exact(32)) {
            digest.0.copy_from_slice(bytes);
        }
        digests
    }

    fn with(digests: &[Digest; FANOUT]) -> Self {
        Self(Bytes(digests.iter().flat_map(|digest| digest.0).collect()))
    }

    /// Digest of the node: zero when it has no child.
    pub fn digest(&self) -> Digest {
        match self.0.0.iter().any(|byte| *byte != 0) {
            true => Digest::labelled(Label::StandingNode, &self.0.0),
            false => Digest::ZERO,
        }
    }
}

/// The bucket of a record.
pub fn bucket_of(record: &RecordId) -> u16 {
    u16::from_be_bytes([record.0[0], record.0[1]])
}

/// The node at `depth` above a bucket, and which of its children leads there.
fn above(bucket: u16, depth: u8) -> (u16, usize) {
    let node = u32::from(bucket) >> (16 - 4 * u32::from(depth));
    let child = (u32::from(bucket) >> (12 - 4 * u32::from(depth))) & 15;
    (node as u16, child as usize)
}

/// Writes a standing, or removes it, and every node above it.
pub fn put(
    turn: &mut Turn<'_>,
    authority: &MemberId,
    record: &RecordId,
    standing: Option<&Standing>,
) -> Result<(), Fault> {
    let key = Key::standing(authority, record);
    match standing {
        Some(standing) => turn.put(&key, standing),
        None => turn.delete(&key),
    }
    let bucket = bucket_of(record);
    let mut digest = digest_of(&bucket_rows(turn.view(), authority, bucket)?);
    for depth in (0..DEPTH).rev() {
        let (node, child) = above(bucket, depth);
        let key = Key::standing_node(authority, depth, node);
        let mut digests = turn.row::<Children>(&key)?.unwrap_or_default().digests();
        digests[child] = digest;
        let children = Children::with(&digests);
        digest = children.digest();
        match digest {
            Digest::ZERO => turn.delete(&key),
            _ => turn.put(&key, &children),
        }
    }
    Ok(())
}

/// The digest of every standing under one authority; zero when there is none.
pub fn root(view: &dyn View, authority: &MemberId) -> Result<Digest, Fault> {
    Ok(node(view, authority, 0, 0)?.digest())
}

/// One node.
pub fn node(view: &dyn View, authority: &MemberId, depth: u8, node: u16) -> Result<Children, Fault> {
    Ok(tables::row(view, &Key::standing_node(authority, depth, node))?.unwrap_or_default())
}

/// The standings in one bucket, as stored: record ids in order, and standings.
pub fn bucket(
    view: &dyn View,
    authority: &MemberId,
    bucket: u16,
) -> Result<Vec<(RecordId, Standing)>, Fault> {
    let prefix = Key::standings(authority);
    let read = |(key, bytes): Pair| {
        let id = key.get(prefix.as_bytes().len()..).and_then(|id| <[u8; 32]>::try_from(id).ok());
        let id = id.ok_or_else(|| Fault("the key of a standing is damaged".into()))?;
        Ok((RecordId(id), tables::decode(&key, &bytes)?))
    };
    bucket_rows(view, authority, bucket)?.into_iter().map(read).collect()
}

fn bucket_rows(view: &dyn View, authority: &MemberId, bucket: u16) -> Result<Vec<Pair>, Fault> {
    Ok(view.scan_prefix(Space::Row, Key::standings_in(authority, bucket).as_bytes(), usize::MAX)?)
}

/// Digest of a bucket: of the id (32 bytes) and the canonical standing of each record, in order; zero for none.
fn digest_of(rows: &[Pair]) -> Digest {
    if rows.is_empty() {
        return Digest::ZERO;
    }
    let mut bytes = Vec::with_capacity(rows.len() * 48);
    for (key, value) in rows {
        bytes.extend_from_slice(&key[key.len().saturating_sub(32)..]);
        bytes.extend_from_slice(value);
    }
    Digest::labelled(Label::StandingBucket, &bytes)
}

/// Makes every node above the standings of one authority again, in one pass over them, and gives each to `node`, the
/// children before what is above them.
pub fn make(
    view: &dyn View,
    authority: &MemberId,
    node: &mut dyn FnMut(Key, &Children) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let prefix = Key::standings(authority);
    let mut edge = Edge { authority, open: [[Digest::ZERO; FANOUT]; DEPTH as usize], at: None, node };
    let mut rows: Vec<Pair> = Vec::new();
    let mut from = prefix.as_bytes().to_vec();
    let to = ledger::store::after_prefix(prefix.as_bytes());
    loop {
        let page = view.scan(Space::Row, &from, to.as_deref(), PAGE)?;
        let over = page.len() < PAGE;
        for pair in page {
            let id = pair.0.get(prefix.as_bytes().len()..).filter(|id| id.len() == 32);
            let id = id.ok_or_else(|| Fault("the key of a standing is damaged".into()))?;
            let bucket = u16::from_be_bytes([id[0], id[1]]);
            if edge.at != Some(bucket) {
                edge.go(Some(bucket), &rows)?;
                rows.clear();
            }
            from.clone_from(&pair.0);
            from.push(0);
            rows.push(pair);
        }
        if over {
            return edge.go(None, &rows);
        }
    }
}

/// The nodes above the bucket that is being read.
struct Edge<'a> {
    authority: &'a MemberId,
    open: [[Digest; FANOUT]; DEPTH as usize],
    at: Option<u16>,
    node: &'a mut dyn FnMut(Key, &Children) -> Result<(), Fault>,
}

impl Edge<'_> {
    /// Closes the bucket that was read, and every node that does not stand above the next one.
    fn go(&mut self, next: Option<u16>, rows: &[Pair]) -> Result<(), Fault> {
        let Some(bucket) = core::mem::replace(&mut self.at, next) else { return Ok(()) };
        let mut digest = digest_of(rows);
        for depth in (0..DEPTH).rev() {
            let (node, child) = above(bucket, depth);
            let open = &mut self.open[usize::from(depth)];
            open[child] = digest;
            if next.is_some_and(|next| above(next, depth).0 == node) {
                break;
            }
            let children = Children::with(&core::mem::replace(open, [Digest::ZERO; FANOUT]));
            (self.node)(Key::standing_node(self.authority, depth, node), &children)?;
            digest = children.digest();
        }
        Ok(())
    }
}

/// The nodes that do not fit the standings, each with what belongs in its place: nothing where there are no standings.
pub fn wrong(view: &dyn View, authority: &MemberId) -> Result<Vec<(Key, Option<Children>)>, Fault> {
    let prefix = Key::standing_nodes(authority);
    let stored = view.scan_prefix(Space::Row, prefix.as_bytes(), usize::MAX)?;
    let mut stored: BTreeMap<Vec<u8>, Vec<u8>> = stored.into_iter().collect();
    let mut wrong = Vec::new();
    make(view, authority, &mut |key, children| {
        if stored.remove(key.as_bytes()) != Some(codec::to_vec(children)) {
            wrong.push((key, Some(children.clone())));
        }
        Ok(())
    })?;
    for key in stored.into_keys() {
        if let [depth, high, low] = key[prefix.as_bytes().len()..] {
            wrong.push((Key::standing_node(authority, depth, u16::from_be_bytes([high, low])), None));
        }
    }
    Ok(wrong)
}

/// Puts the nodes right that do not fit the standings; whether there were any.
pub fn rebuild(turn: &mut Turn<'_>, authority: &MemberId) -> Result<bool, Fault> {
    let wrong = wrong(turn.view(), authority)?;
    for (key, children) in &wrong {
        match children {
            Some(children) => turn.put(key, children),
            None => turn.delete(key),
        }
    }
    Ok(!wrong.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    use credit::status::Change;
    use crypto::Timestamp;
    use ledger::store::{Overlay, Store, memory::MemoryStore};
    use proptest::prelude::*;

    fn authority() -> MemberId {
        MemberId::parse("sh").unwrap()
    }

    fn write(store: &MemoryStore, write: impl FnOnce(&mut Turn<'_>)) {
        let kept = Overlay::new(store);
        let mut turn = Turn::new(Timestamp(0), &kept, BTreeMap::new());
        write(&mut turn);
        store.apply(&turn.finish().rows).unwrap();
    }

    fn nodes(store: &MemoryStore) -> Vec<Pair> {
        store.scan_prefix(Space::Row, Key::standing_nodes(&authority()).as_bytes(), usize::MAX).unwrap()
    }

    proptest! {
        #[test]
        fn kept_step_by_step_it_is_the_same_as_made_at_once(
            changes in proptest::collection::vec((any::<[u8; 3]>(), 0u64..4, any::<bool>()), 0..60),
        ) {
            let store = MemoryStore::default();
            for (start, at, there) in changes {
                // Few buckets, so that some hold several records, and some become empty again.
                let mut id = [0; 32];
                (id[0], id[1], id[31]) = (start[0] & 0x11, start[1] & 0x11, start[2] & 1);
                let standing = Standing::of(Change::Repair, at);
                write(&store, |turn| {
                    put(turn, &authority(), &RecordId(id), there.then_some(&standing)).unwrap();
                });
            }
            let mut made = Vec::new();
            make(&store, &authority(), &mut |key, children| {
                made.push((key.as_bytes().to_vec(), codec::to_vec(children)));
                Ok(())
            }).unwrap();
            made.sort();
            prop_assert_eq!(made, nodes(&store));
        }
    }

    #[test]
    fn a_digest_tells_records_and_standings_apart() {
        let store = MemoryStore::default();
        let empty = root(&store, &authority()).unwrap();
        assert_eq!(empty, Digest::ZERO);
        let mut seen = vec![empty];
        for (id, change, at) in [(1, Change::Mask, 3), (1, Change::Unmask, 4), (2, Change::Mask, 3)] {
            let standing = Standing::of(change, at);
            write(&store, |turn| put(turn, &authority(), &RecordId([id; 32]), Some(&standing)).unwrap());
            let now = root(&store, &authority()).unwrap();
            assert!(!seen.contains(&now));
            seen.push(now);
        }
        let before = nodes(&store);
        write(&store, |turn| assert!(!rebuild(turn, &authority()).unwrap()));
        assert_eq!(nodes(&store), before);
    }

    #[test]
    fn nodes_that_do_not_fit_are_put_right_and_the_others_left() {
        let store = MemoryStore::default();
        for id in [1, 2, 200] {
            let standing = Standing::of(Change::Mask, 3);
            write(&store, |turn| put(turn, &authority(), &RecordId([id; 32]), Some(&standing)).unwrap());
        }
        let before = nodes(&store);
        write(&store, |turn| {
            turn.delete(&Key::standing_node(&authority(), 0, 0));
            turn.put(&Key::standing_node(&authority(), 1, 12), &Children::default());
            turn.put(&Key::standing_node(&authority(), 2, 77), &Children::default());
        });
        assert_eq!(wrong(&store, &authority()).unwrap().len(), 3);
        write(&store, |turn| assert!(rebuild(turn, &authority()).unwrap()));
        assert_eq!(nodes(&store), before);
    }
}
