//! RFC 6962 §2.1 hashing over a list of leaf hashes that fits in memory: a record's fields, a batch's entries.
//! The log-sized tree, with tiles and storage, is `ledger::tree`; both use the two functions here.

use crate::digest::Digest;

/// SHA-256(0x00 ‖ entry).
pub fn leaf_hash(entry: &[u8]) -> Digest {
    Digest::of_parts(&[&[0], entry])
}

/// SHA-256(0x01 ‖ left ‖ right).
pub fn node_hash(left: &Digest, right: &Digest) -> Digest {
    Digest::of_parts(&[&[1], &left.0, &right.0])
}

/// The largest power of two strictly less than `n`: where RFC 6962 splits `n` leaves. `n` must be at least 2.
pub fn split(n: u64) -> u64 {
    1 << (n - 1).ilog2()
}

/// Root over `leaves` (already leaf hashes). The empty tree has the root SHA-256("").
pub fn root(leaves: &[Digest]) -> Digest {
    match leaves {
        [] => Digest::of(b""),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len() as u64) as usize);
            node_hash(&root(left), &root(right))
        }
    }
}

/// Inclusion path of leaf `index`, the leaf's sibling first. Empty when `index` is out of range.
pub fn path(leaves: &[Digest], index: usize) -> Vec<Digest> {
    if leaves.len() < 2 || index >= leaves.len() {
        return Vec::new();
    }
    let at = split(leaves.len() as u64) as usize;
    let (left, right) = leaves.split_at(at);
    let (mut path, sibling) =
        if index < at { (path(left, index), root(right)) } else { (path(right, index - at), root(left)) };
    path.push(sibling);
    path
}

/// The hashes a verifier needs beside the leaves at `opened` (sorted, distinct, in range) to compute the root of
/// `leaves`, in the order of a left-to-right descent.
pub fn multi_proof(leaves: &[Digest], opened: &[usize]) -> Vec<Digest> {
    fn descend(leaves: &[Digest], base: usize, opened: &[usize], out: &mut Vec<Digest>) {
        if opened.is_empty() {
            out.push(root(leaves));
        } else if leaves.len() > 1 {
            let at = split(leaves.len() as u64) as usize;
            let cut = opened.partition_point(|i| *i < base + at);
            descend(&leaves[..at], base, &opened[..cut], out);
            descend(&leaves[at..], base + at, &opened[cut..], out);
        }
    }
    let mut out = Vec::new();
    descend(leaves, 0, opened, &mut out);
    out
}

/// The root that `opened` leaves (index, leaf hash; ascending) and `proof` give for a tree of `size` leaves, or `None`
/// when the proof has a hash too few or too many, or an index is out of range or order.
pub fn multi_root(size: usize, opened: &[(usize, Digest)], proof: &[Digest]) -> Option<Digest> {
    fn ascend(
        size: usize,
        base: usize,
        opened: &[(usize, Digest)],
        proof: &mut core::slice::Iter<'_, Digest>,
    ) -> Option<Digest> {
        if opened.is_empty() {
            return proof.next().copied();
        }
        if size == 1 {
            return (opened.len() == 1).then(|| opened[0].1);
        }
        let at = split(size as u64) as usize;
        let cut = opened.partition_point(|(i, _)| *i < base + at);
        let left = ascend(at, base, &opened[..cut], proof)?;
        let right = ascend(size - at, base + at, &opened[cut..], proof)?;
        Some(node_hash(&left, &right))
    }
    let ordered = opened.windows(2).all(|w| w[0].0 < w[1].0) && opened.last().is_none_or(|(i, _)| *i < size);
    if size == 0 || !ordered {
        return None;
    }
    let mut rest = proof.iter();
    let root = ascend(size, 0, opened, &mut rest)?;
    rest.next().is_none().then_some(root)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn leaves(n: usize) -> Vec<Digest> {
        (0..n).map(|i| leaf_hash(&(i as u64).to_be_bytes())).collect()
    }

    proptest! {
        #[test]
        fn a_multi_proof_gives_the_root_and_no_other_leaf_does(n in 1usize..40, mask in any::<u64>(), flip in any::<u8>()) {
            let all = leaves(n);
            let opened: Vec<usize> = (0..n).filter(|i| mask >> i & 1 == 1).collect();
            let proof = multi_proof(&all, &opened);
            let mut pairs: Vec<_> = opened.iter().map(|i| (*i, all[*i])).collect();
            prop_assert_eq!(multi_root(n, &pairs, &proof), Some(root(&all)));
            let mut longer = proof.clone();
            longer.push(Digest::ZERO);
            prop_assert_eq!(multi_root(n, &pairs, &longer), None);
            if let Some(pair) = pairs.first_mut() {
                pair.1.0[usize::from(flip) % 32] ^= 1;
                prop_assert_ne!(multi_root(n, &pairs, &proof), Some(root(&all)));
            }
        }
    }

    #[test]
    fn a_path_is_a_multi_proof_of_one_leaf_read_upwards() {
        for n in 1..20 {
            let all = leaves(n);
            for i in 0..n {
                let mut up = path(&all, i);
                let mut all_siblings = multi_proof(&all, &[i]);
                up.sort();
                all_siblings.sort();
                assert_eq!(up, all_siblings);
            }
        }
    }
}
