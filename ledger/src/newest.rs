//! The entries of one seal with what proves them, for who needs them at once: nothing is read back from the store.

use core::{fmt, iter};
use std::sync::OnceLock;

use crypto::{Digest, merkle::node_hash};

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
    /// Whole subtrees of them, when the first proof was asked for.
    pub(crate) rows: OnceLock<Vec<Row>>,
}

/// The nodes of one level over new entries only: position of the first, and from there on.
pub(crate) struct Row(u64, Vec<Digest>);

/// Each node of the next level over two of these.
fn above(Row(first, below): &Row) -> Row {
    let skipped = (first % 2) as usize;
    let pairs = below.get(skipped..).unwrap_or_default().chunks_exact(2);
    Row(first.div_ceil(2), pairs.map(|pair| node_hash(&pair[0], &pair[1])).collect())
}

impl Newest {
    /// The entry at `index`, its path, and the checkpoint that the path leads to; `None` for an entry of another seal.
    pub fn proven(&self, index: LeafIndex) -> Option<(&[u8], Vec<Digest>, &SignedCheckpoint)> {
        let at = index.0.checked_sub(self.before.size().0).and_then(|at| usize::try_from(at).ok());
        let entry = at.and_then(|at| self.entries.get(at))?;
        let path = proof::inclusion(self, index, self.checkpoint.claimed().size).ok()?;
        Some((entry, path, &self.checkpoint))
    }
}

impl Nodes for Newest {
    fn node(&self, level: u8, index: u64) -> Result<Digest, StoreError> {
        let old = self.before.size().0;
        let (from, to) = (index << level, (index + 1) << level);
        if from >= old {
            let rows = self.rows.get_or_init(|| {
                let first = Row(old, self.leaves.clone());
                iter::successors(Some(first), |row| Some(above(row)).filter(|row| !row.1.is_empty()))
                    .collect()
            });
            let row = rows.get(usize::from(level));
            let node =
                row.and_then(|Row(first, row)| row.get(usize::try_from(index.checked_sub(*first)?).ok()?));
            return node.copied().ok_or_else(|| missing(level, index));
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
                let (entry, path, checkpoint) = newest.proven(index).unwrap();
                assert_eq!(Some(entry.to_vec()), log::entry(&store, "access", index).unwrap());
                assert_eq!(Ok(path), log::inclusion(&store, "access", index, head.claimed().size));
                assert_eq!(*checkpoint, head);
            }
            for other in [old.wrapping_sub(1), old + step, u64::MAX] {
                assert!(newest.proven(LeafIndex(other)).is_none());
            }
            assert!(log.seal(&key, &store, &mut Batch::default()).unwrap().is_none());
        }
    }
}
