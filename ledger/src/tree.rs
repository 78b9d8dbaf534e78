//! Positions and sizes in a log, and the part of the tree that an append needs.
//!
//! Hashing is RFC 6962 §2.1 (the same as RFC 9162 §2.1.1); the two hash functions are `crypto::merkle`'s.

use core::fmt;

use crypto::{
    Digest,
    codec::{Decode, Encode},
    merkle::node_hash,
};

use crate::{proof, proof::Nodes, store::StoreError};

/// Position of an entry in its log, from 0.
///
/// A different type from [`TreeSize`] on purpose: off-by-one lives between the two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct LeafIndex(#[n(0)] pub u64);

/// Number of entries of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct TreeSize(#[n(0)] pub u64);

impl fmt::Display for LeafIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for TreeSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TreeSize {
    /// Whether a tree of this size has a leaf at `index`.
    pub fn covers(self, index: LeafIndex) -> bool {
        index.0 < self.0
    }
}

/// Root of the tree without leaves: SHA-256 of nothing.
pub fn empty_root() -> Digest {
    Digest::of(b"")
}

/// The roots of the perfect subtrees a size decomposes into, widest first: all an append has to remember.
///
/// Invariant: one peak for each one bit of the size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Digest>,
}

impl Frontier {
    /// Reads the peaks of `size` from stored nodes.
    ///
    /// Errors: those of `nodes`.
    pub fn rebuild(nodes: &dyn Nodes, size: TreeSize) -> Result<Self, StoreError> {
        Ok(Self { size: size.0, peaks: proof::peaks(nodes, 0, size.0)? })
    }

    /// Number of leaves appended so far.
    pub fn size(&self) -> TreeSize {
        TreeSize(self.size)
    }

    /// Adds a leaf hash; amortised one node hash.
    pub fn append(&mut self, leaf: Digest) {
        let mut hash = leaf;
        // Each trailing one bit of the old size is a subtree as wide as the one just completed.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                hash = node_hash(&left, &hash);
            }
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// The peak that is the node (`level`, `index`); `None` when no peak is.
    pub(crate) fn peak(&self, level: u8, index: u64) -> Option<Digest> {
        let width = 1u64.checked_shl(level.into())?;
        // The peaks before it are as many as the wider ones, each a one bit of the size.
        let wider = self.size & !(width | (width - 1));
        let is_peak = self.size & width != 0 && index.checked_mul(width) == Some(wider);
        self.peaks.get(wider.count_ones() as usize).filter(|_| is_peak).copied()
    }

    /// Whether the last leaves, fewer than a power of two and from a multiple of it on, are these.
    pub(crate) fn ends_with(&self, leaves: &[Digest]) -> bool {
        let mut end = Self::default();
        leaves.iter().for_each(|leaf| end.append(*leaf));
        self.peaks.ends_with(&end.peaks)
    }

    /// Root of the tree over all leaves appended.
    pub fn root(&self) -> Digest {
        bag(&self.peaks)
    }
}

/// Joins peaks (widest first) into a root, from the right as RFC 6962 splits.
pub(crate) fn bag(peaks: &[Digest]) -> Digest {
    let mut rest = peaks.iter().rev();
    match rest.next() {
        None => empty_root(),
        Some(last) => rest.fold(*last, |right, left| node_hash(left, &right)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crypto::merkle;

    #[test]
    fn the_frontier_has_the_root_of_the_definition_at_every_size() {
        let leaves: Vec<Digest> = (0..600u64).map(|i| merkle::leaf_hash(&i.to_be_bytes())).collect();
        let mut frontier = Frontier::default();
        for n in 0..=leaves.len() {
            assert_eq!(frontier.size(), TreeSize(n as u64));
            assert_eq!(frontier.root(), merkle::root(&leaves[..n]), "size {n}");
            assert_eq!(frontier.peaks.len() as u32, (n as u64).count_ones());
            if let Some(leaf) = leaves.get(n) {
                frontier.append(*leaf);
            }
        }
    }

    #[test]
    fn sizes_and_indexes_are_encoded_as_plain_integers() {
        assert_eq!(crypto::codec::to_vec(&TreeSize(7)), [7]);
        assert_eq!(crypto::codec::from_slice::<LeafIndex>(&[0x18, 0x20]).unwrap(), LeafIndex(32));
        assert!(TreeSize(1).covers(LeafIndex(0)) && !TreeSize(1).covers(LeafIndex(1)));
        assert_eq!(format!("{:>4}", TreeSize(12)), "  12");
    }
}
