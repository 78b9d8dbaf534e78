//! Inclusion and consistency proofs: building them over any source of nodes, and verifying them.
//!
//! Source: RFC 9162 §2.1.3 and §2.1.4; the trees are those of RFC 6962 §2.1.

use core::fmt;

use crypto::{
    Digest,
    merkle::{node_hash, split},
};

use crate::{
    store::StoreError,
    tree::{LeafIndex, TreeSize, bag, empty_root},
};

/// Why a proof does not prove what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofError {
    /// The index is not below the size.
    IndexOutOfRange,
    /// The old size is larger than the new one.
    SizesOutOfOrder,
    /// The proof has a hash too few or too many for these sizes.
    WrongLength,
    /// The proof leads to another root.
    WrongRoot,
}

impl fmt::Display for ProofError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IndexOutOfRange => "the leaf index is outside the tree",
            Self::SizesOutOfOrder => "the old tree is larger than the new one",
            Self::WrongLength => "the proof has the wrong number of hashes",
            Self::WrongRoot => "the proof leads to another root",
        })
    }
}

impl std::error::Error for ProofError {}

/// Checks that `leaf` (a leaf hash) is at `index` in the tree of `size` leaves with `root`.
///
/// Shape: pure; `proof` holds the leaf's sibling first.
/// Errors: every [`ProofError`] but `SizesOutOfOrder`.
/// Source: RFC 9162 §2.1.3.2.
pub fn verify_inclusion(
    index: LeafIndex,
    size: TreeSize,
    leaf: &Digest,
    root: &Digest,
    proof: &[Digest],
) -> Result<(), ProofError> {
    if !size.covers(index) {
        return Err(ProofError::IndexOutOfRange);
    }
    let (mut fnode, mut snode) = (index.0, size.0 - 1);
    let mut r = *leaf;
    for p in proof {
        if snode == 0 {
            return Err(ProofError::WrongLength);
        }
        if fnode & 1 == 1 || fnode == snode {
            r = node_hash(p, &r);
            while fnode & 1 == 0 && fnode != 0 {
                fnode >>= 1;
                snode >>= 1;
            }
        } else {
            r = node_hash(&r, p);
        }
        fnode >>= 1;
        snode >>= 1;
    }
    if snode != 0 {
        return Err(ProofError::WrongLength);
    }
    if r == *root { Ok(()) } else { Err(ProofError::WrongRoot) }
}

/// Checks that the tree of `new` leaves with `new_root` extends the tree of `old` leaves with `old_root`.
///
/// Shape: pure. Equal sizes need an empty proof and equal roots. `old` = 0 needs an empty proof and, as for every
/// tree without leaves, the root [`empty_root`]: every tree extends it. (RFC 9162 leaves 0 undefined; tlog-witness
/// accepts it so, and so do we.)
/// Errors: every [`ProofError`] but `IndexOutOfRange`.
/// Source: RFC 9162 §2.1.4.2.
pub fn verify_consistency(
    old: TreeSize,
    new: TreeSize,
    old_root: &Digest,
    new_root: &Digest,
    proof: &[Digest],
) -> Result<(), ProofError> {
    if old > new {
        return Err(ProofError::SizesOutOfOrder);
    }
    for (size, root) in [(old, old_root), (new, new_root)] {
        if size.0 == 0 && *root != empty_root() {
            return Err(ProofError::WrongRoot);
        }
    }
    if old == new || old.0 == 0 {
        return match proof {
            [_, ..] => Err(ProofError::WrongLength),
            [] if old == new && old_root != new_root => Err(ProofError::WrongRoot),
            [] => Ok(()),
        };
    }
    // "If first is an exact power of 2, then prepend first_hash to the consistency_path array."
    let (start, rest) = if old.0.is_power_of_two() {
        if proof.is_empty() {
            return Err(ProofError::WrongLength);
        }
        (old_root, proof)
    } else {
        proof.split_first().ok_or(ProofError::WrongLength)?
    };
    let (mut fnode, mut snode) = (old.0 - 1, new.0 - 1);
    while fnode & 1 == 1 {
        fnode >>= 1;
        snode >>= 1;
    }
    let (mut fr, mut sr) = (*start, *start);
    for c in rest {
        if snode == 0 {
            return Err(ProofError::WrongLength);
        }
        if fnode & 1 == 1 || fnode == snode {
            fr = node_hash(c, &fr);
            sr = node_hash(c, &sr);
            while fnode & 1 == 0 && fnode != 0 {
                fnode >>= 1;
                snode >>= 1;
            }
        } else {
            sr = node_hash(&sr, c);
        }
        fnode >>= 1;
        snode >>= 1;
    }
    if snode != 0 {
        return Err(ProofError::WrongLength);
    }
    if fr == *old_root && sr == *new_root { Ok(()) } else { Err(ProofError::WrongRoot) }
}

/// Where a builder finds nodes.
pub trait Nodes {
    /// Root of the perfect subtree over the 2^`level` leaves from `index` · 2^`level`; `level` 0 is a leaf hash.
    ///
    /// Errors: any failure to read; a node that should be there and is not is `StoreError::Corrupt`.
    fn node(&self, level: u8, index: u64) -> Result<Digest, StoreError>;
}

/// Inclusion path of leaf `index` in the tree of `size` leaves, the leaf's sibling first.
///
/// Errors: those of `nodes`; `StoreError::Corrupt` when the index is outside the tree.
/// Source: RFC 9162 §2.1.3.1.
pub fn inclusion(nodes: &dyn Nodes, index: LeafIndex, size: TreeSize) -> Result<Vec<Digest>, StoreError> {
    if !size.covers(index) {
        return Err(StoreError::Corrupt { what: format!("leaf {index} asked of a tree of {size}") });
    }
    let (mut lo, mut hi) = (0, size.0);
    let mut path = Vec::new();
    while hi - lo > 1 {
        let middle = lo + split(hi - lo);
        if index.0 < middle {
            path.push(range_root(nodes, middle, hi)?);
            hi = middle;
        } else {
            path.push(range_root(nodes, lo, middle)?);
            lo = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// Proof that the tree of `new` leaves extends the tree of `old` leaves; empty for equal sizes and for `old` = 0.
///
/// Errors: those of `nodes`; `StoreError::Corrupt` when `old` is larger than `new`.
/// Source: RFC 9162 §2.1.4.1.
pub fn consistency(nodes: &dyn Nodes, old: TreeSize, new: TreeSize) -> Result<Vec<Digest>, StoreError> {
    if old > new {
        return Err(StoreError::Corrupt { what: format!("consistency asked from {old} down to {new}") });
    }
    let mut path = Vec::new();
    if old.0 == 0 {
        return Ok(path);
    }
    let (mut lo, mut hi) = (0, new.0);
    while old.0 != hi {
        let middle = lo + split(hi - lo);
        if old.0 <= middle {
            path.push(range_root(nodes, middle, hi)?);
            hi = middle;
        } else {
            path.push(range_root(nodes, lo, middle)?);
            lo = middle;
        }
    }
    // The verifier knows the old root; only when the old tree is not one subtree from leaf 0 does it need the last one.
    if lo != 0 {
        path.push(range_root(nodes, lo, hi)?);
    }
    path.reverse();
    Ok(path)
}

/// Root of the tree of `size` leaves.
///
/// Errors: those of `nodes`.
pub fn root(nodes: &dyn Nodes, size: TreeSize) -> Result<Digest, StoreError> {
    range_root(nodes, 0, size.0)
}

/// Roots of the perfect subtrees that leaves `lo..hi` decompose into, widest first. `lo` is a multiple of a power of
/// two that is at least `hi - lo`, which every range of an RFC 6962 descent is.
pub(crate) fn peaks(nodes: &dyn Nodes, lo: u64, hi: u64) -> Result<Vec<Digest>, StoreError> {
    let mut at = lo;
    let mut peaks = Vec::new();
    while at < hi {
        let level = (hi - at).ilog2() as u8;
        peaks.push(nodes.node(level, at >> level)?);
        at += 1 << level;
    }
    Ok(peaks)
}

/// Root over leaves `lo..hi`, under the condition of [`peaks`].
pub(crate) fn range_root(nodes: &dyn Nodes, lo: u64, hi: u64) -> Result<Digest, StoreError> {
    Ok(bag(&peaks(nodes, lo, hi)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crypto::merkle;

    struct Leaves(Vec<Digest>);

    impl Nodes for Leaves {
        fn node(&self, level: u8, index: u64) -> Result<Digest, StoreError> {
            let start = (index << level) as usize;
            Ok(merkle::root(&self.0[start..start + (1 << level)]))
        }
    }

    fn leaves(n: u64) -> Leaves {
        Leaves((0..n).map(|i| merkle::leaf_hash(&i.to_be_bytes())).collect())
    }

    #[test]
    fn every_inclusion_proof_verifies_and_no_altered_one_does() {
        for n in 1..70u64 {
            let tree = leaves(n);
            let root = merkle::root(&tree.0);
            for i in 0..n {
                let (index, size, leaf) = (LeafIndex(i), TreeSize(n), tree.0[i as usize]);
                let path = inclusion(&tree, index, size).unwrap();
                assert_eq!(path, merkle::path(&tree.0, i as usize));
                assert_eq!(verify_inclusion(index, size, &leaf, &root, &path), Ok(()));
                let longer = [path.clone(), vec![Digest::ZERO]].concat();
                assert_eq!(
                    verify_inclusion(index, size, &leaf, &root, &longer),
                    Err(ProofError::WrongLength)
                );
                if let Some((_, shorter)) = path.split_last() {
                    assert_eq!(
                        verify_inclusion(index, size, &leaf, &root, shorter),
                        Err(ProofError::WrongLength)
                    );
                    let mut wrong = path.clone();
                    wrong[0].0[0] ^= 1;
                    assert_eq!(
                        verify_inclusion(index, size, &leaf, &root, &wrong),
                        Err(ProofError::WrongRoot)
                    );
                }
            }
            assert!(inclusion(&tree, LeafIndex(n), TreeSize(n)).is_err());
        }
    }

    #[test]
    fn every_consistency_proof_verifies_and_no_altered_one_does() {
        for n in 0..40u64 {
            let tree = leaves(n);
            let root = merkle::root(&tree.0);
            for m in 0..=n {
                let (old, new, old_root) = (TreeSize(m), TreeSize(n), merkle::root(&tree.0[..m as usize]));
                let path = consistency(&tree, old, new).unwrap();
                assert_eq!(verify_consistency(old, new, &old_root, &root, &path), Ok(()), "{m} to {n}");
                let longer = [path.clone(), vec![Digest::ZERO]].concat();
                assert!(verify_consistency(old, new, &old_root, &root, &longer).is_err());
                for at in 0..path.len() {
                    let mut wrong = path.clone();
                    wrong[at].0[31] ^= 0x80;
                    assert!(verify_consistency(old, new, &old_root, &root, &wrong).is_err());
                }
                assert!(verify_consistency(old, new, &Digest::ZERO, &root, &path).is_err());
            }
            assert!(consistency(&tree, TreeSize(n + 1), TreeSize(n)).is_err());
        }
    }
}
