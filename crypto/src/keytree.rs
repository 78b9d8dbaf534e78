//! The puncturable key tree: a GGM tree over key slots.
//!
//! Holding a node's seed gives the keys of all slots below it. *Puncturing* a slot replaces the seed above it by the
//! seeds of the siblings on the way down, after which nobody, the node included, can derive that slot's key. The
//! state is small: one seed while nothing is erased, at most [`HEIGHT`] more per isolated erasure.
//!
//! *Not here*: where the state is kept. Erasure is as good as the destruction of old copies of the state; the node
//! keeps it in one small file under a master key that is replaced at every erasure (docs/SECURITY.md).

use core::ops::Range;
use std::collections::BTreeMap;

use minicbor::{Decode, Encode};

use crate::{Digest, codec, label::Label, pseudonym::keyed, seal::RecordKey, secret::Secret};

/// Levels below the root: 2^40 slots, five thousand times the largest collection foreseen (2 × 10^8 records).
pub const HEIGHT: u8 = 40;

/// The number of one record version's key at its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(transparent)]
pub struct Slot(#[n(0)] pub u64);

/// The seeds from which all keys that are not erased can be derived, by first slot: (height, seed).
pub struct KeyTree {
    seeds: BTreeMap<u64, (u8, Secret)>,
}

impl KeyTree {
    /// A tree in which no slot is erased.
    pub fn new(root: Secret) -> Self {
        Self { seeds: BTreeMap::from([(0, (HEIGHT, root))]) }
    }

    /// The key of `slot`; `None` when it was erased or is out of range.
    pub fn key(&self, slot: Slot) -> Option<RecordKey> {
        let (first, height, seed) = self.above(slot)?;
        Some(RecordKey::new(descend(seed, height, slot.0 - first)))
    }

    /// The keys of `count` slots from `first` on, as [`KeyTree::key`] gives them: two hashes each instead of one per level.
    pub fn keys(&self, first: Slot, count: u64) -> Vec<Option<RecordKey>> {
        let end = first.0.saturating_add(count);
        let mut keys: Vec<Option<RecordKey>> = (first.0..end).map(|_| None).collect();
        let before = self.seeds.range(..first.0).next_back();
        for (base, (height, seed)) in before.into_iter().chain(self.seeds.range(first.0..end)) {
            spread(seed, *base, *height, first.0..end, &mut keys);
        }
        keys
    }

    /// Makes the key of `slot` underivable. Erasing twice changes nothing; returns whether anything changed.
    pub fn puncture(&mut self, slot: Slot) -> bool {
        let Some((first, height, _)) = self.above(slot) else { return false };
        let Some((_, mut seed)) = self.seeds.remove(&first) else { return false };
        let mut base = first;
        for level in (0..height).rev() {
            let (left, right) = children(&seed);
            let middle = base + (1 << level);
            if slot.0 < middle {
                self.seeds.insert(middle, (level, right));
                seed = left;
            } else {
                self.seeds.insert(base, (level, left));
                base = middle;
                seed = right;
            }
        }
        true
    }

    /// Digest of the state; says before and after in an erasure certificate. The state is 32 random bytes or more,
    /// so the digest cannot be inverted by guessing.
    pub fn digest(&self) -> Digest {
        Digest::labelled(Label::KeyTreeDigest, &self.to_plain())
    }

    /// The state as plain bytes: to be sealed at once.
    pub fn to_plain(&self) -> zeroize::Zeroizing<Vec<u8>> {
        let rows: Vec<Row> = self
            .seeds
            .iter()
            .map(|(first, (height, seed))| Row(*first, *height, Digest(*seed.expose())))
            .collect();
        zeroize::Zeroizing::new(codec::to_vec(&rows))
    }

    /// Reads [`KeyTree::to_plain`]; `None` when the bytes are not a state.
    pub fn from_plain(bytes: &[u8]) -> Option<Self> {
        let rows: Vec<Row> = codec::from_slice(bytes).ok()?;
        let mut end = 0u64;
        for Row(first, height, _) in &rows {
            if *height > HEIGHT || *first < end || *first >= 1 << HEIGHT || first % (1 << height) != 0 {
                return None;
            }
            end = first + (1 << height);
        }
        let seeds = rows.into_iter().map(|Row(first, height, seed)| (first, (height, Secret::new(seed.0))));
        (end <= 1 << HEIGHT).then(|| Self { seeds: seeds.collect() })
    }

    /// The seed that covers `slot`: (first slot, height, seed).
    fn above(&self, slot: Slot) -> Option<(u64, u8, &Secret)> {
        let (first, (height, seed)) = self.seeds.range(..=slot.0).next_back()?;
        (slot.0 - first < 1 << height).then_some((*first, *height, seed))
    }
}

#[derive(Encode, Decode)]
struct Row(#[n(0)] u64, #[n(1)] u8, #[n(2)] Digest);

fn children(seed: &Secret) -> (Secret, Secret) {
    (Secret::new(keyed(seed, Label::KeyTreeLeft, &[])), Secret::new(keyed(seed, Label::KeyTreeRight, &[])))
}

/// Puts the keys of the slots in `wanted` that lie under the seed at (`base`, `height`) into their places.
fn spread(seed: &Secret, base: u64, height: u8, wanted: Range<u64>, keys: &mut [Option<RecordKey>]) {
    if base >= wanted.end || base + (1 << height) <= wanted.start {
        return;
    }
    if height == 0 {
        keys[(base - wanted.start) as usize] = Some(RecordKey::new(seed.clone()));
        return;
    }
    let (left, right) = children(seed);
    spread(&left, base, height - 1, wanted.clone(), keys);
    spread(&right, base + (1 << (height - 1)), height - 1, wanted, keys);
}

fn descend(seed: &Secret, height: u8, offset: u64) -> Secret {
    let mut at = seed.clone();
    for level in (0..height).rev() {
        let side = if offset >> level & 1 == 0 { Label::KeyTreeLeft } else { Label::KeyTreeRight };
        at = Secret::new(keyed(&at, side, &[]));
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn salt(tree: &KeyTree, slot: u64) -> Option<[u8; 32]> {
        tree.key(Slot(slot)).map(|k| k.salt(0))
    }

    proptest! {
        #[test]
        fn puncturing_takes_exactly_the_punctured_keys(punctured in proptest::collection::btree_set(0u64..600, 0..40)) {
            let whole = KeyTree::new(Secret::new([3; 32]));
            let mut tree = KeyTree::new(Secret::new([3; 32]));
            for slot in &punctured {
                prop_assert!(tree.puncture(Slot(*slot)));
                prop_assert!(!tree.puncture(Slot(*slot)));
            }
            let tree = KeyTree::from_plain(&tree.to_plain()).expect("own bytes");
            let (first, count) = (punctured.first().copied().unwrap_or(9).saturating_sub(3), 70);
            let many: Vec<_> = tree.keys(Slot(first), count).into_iter().map(|k| k.map(|k| k.salt(0))).collect();
            prop_assert_eq!(many, (first..first + count).map(|s| salt(&tree, s)).collect::<Vec<_>>());
            for slot in 0..600 {
                let expected = if punctured.contains(&slot) { None } else { salt(&whole, slot) };
                prop_assert_eq!(salt(&tree, slot), expected);
            }
        }
    }

    #[test]
    fn refuses_slots_and_states_out_of_range() {
        let mut tree = KeyTree::new(Secret::new([3; 32]));
        assert!(tree.key(Slot(1 << HEIGHT)).is_none());
        assert!(tree.key(Slot((1 << HEIGHT) - 1)).is_some());
        let before = tree.digest();
        tree.puncture(Slot(5));
        assert_ne!(before, tree.digest());
        let overlapping = vec![Row(0, 3, Digest([1; 32])), Row(4, 2, Digest([2; 32]))];
        assert!(KeyTree::from_plain(&codec::to_vec(&overlapping)).is_none());
    }
}
