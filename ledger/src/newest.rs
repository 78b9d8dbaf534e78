//! The entries of one seal with what proves them, for who needs them at once: nothing is read from the store, which may
//! have them not even in its caches yet.

use core::fmt;

use crypto::{
    Digest,
    merkle::{node_hash, root},
};

use crate::{
    checkpoint::SignedCheckpoint,
    proof::{self, Nodes},
    store::StoreError,
    tree::{Frontier, LeafIndex},
};

/// What one seal has added to a log. It holds once the seal's batch is applied.
pub struct Newest {
    /// The tree before.
    pub(crate) before: Frontier,
    /// Hashes of the entries.
    pub(crate) leaves: Vec<Digest>,
    /// The entries.
    pub(crate) entries: Vec<Vec<u8>>,
    /// The checkpoint that covers them, and none after them.
    pub(crate) checkpoint: SignedCheckpoint,
}

impl Newest {
    /// The entry at `index`, its path, and the checkpoint that the path leads to; `None` for an entry of another seal.
    ///
    /// Errors: `Corrupt` when the parts do not fit, which nobody can make from outside.
    pub fn proven(
        &self,
        index: LeafIndex,
    ) -> Result<Option<(&[u8], Vec<Digest>, &SignedCheckpoint)>, StoreError> {
        let at = index.0.checked_sub(self.before.size().0).and_then(|at| usize::try_from(at).ok());
        let Some(entry) = at.and_then(|at| self.entries.get(at)) else { return Ok(None) };
        let path = proof::inclusion(self, index, self.checkpoint.claimed().size)?;
        Ok(Some((entry, path, &self.checkpoint)))
    }
}

impl Nodes for Newest {
    fn node(&self, level: u8, index: u64) -> Result<Digest, StoreError> {
        let old = self.before.size().0;
        let (from, to) = (index << level, (index + 1) << level);
        if from >= old {
            let range = (from - old) as usize..(to - old) as usize;
            return self.leaves.get(range).map(root).ok_or_else(|| missing(level, index));
        }
        // A path of a new entry passes by whole subtrees of the tree before, and through those that it completes.
        if to <= old {
            return self.before.peak(level, index).ok_or_else(|| missing(level, index));
        }
        Ok(node_hash(&self.node(level - 1, 2 * index)?, &self.node(level - 1, 2 * index + 1)?))
    }
}

fn missing(level: u8, index: u64) -> StoreError {
    StoreError::Corrupt { what: format!("node {level}/{index} is not among the newest of its log") }
}

impl fmt::Debug for Newest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Newest({} after {})", self.entries.len(), self.before.size())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        log::{self, Log},
        store::{Batch, Store, memory::MemoryStore},
    };
    use crypto::{secret::Secret, sign::SigningKey};

    #[test]
    fn the_newest_entries_are_proven_as_they_are_from_the_store() {
        let key = SigningKey::from_seed(&Secret::new([1; 32]));
        let store = MemoryStore::default();
        let mut log = Log::open("access", "test/access", &store).unwrap();
        for step in [1u64, 1, 1, 1, 2, 3, 5, 60, 188, 1, 300, 256, 7, 1, 90, 513] {
            let old = log.sealed_size().0;
            for n in 0..step {
                log.append((old * 3 + n).to_be_bytes().to_vec()).unwrap();
            }
            let mut batch = Batch::default();
            let newest = log.seal(&key, &store, &mut batch).unwrap().unwrap();
            store.apply(&batch).unwrap();
            let head = log::head(&store, "access").unwrap().unwrap();
            for index in (old..old + step).map(LeafIndex) {
                let (entry, path, checkpoint) = newest.proven(index).unwrap().unwrap();
                assert_eq!(Some(entry.to_vec()), log::entry(&store, "access", index).unwrap());
                assert_eq!(Ok(path), log::inclusion(&store, "access", index, head.claimed().size));
                assert_eq!(*checkpoint, head);
            }
            for other in [old.wrapping_sub(1), old + step, u64::MAX] {
                assert!(newest.proven(LeafIndex(other)).unwrap().is_none());
            }
            assert!(log.seal(&key, &store, &mut Batch::default()).unwrap().is_none());
        }
    }
}
