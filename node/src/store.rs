//! The store on disk: fjall, one database of one keyspace per space.
//!
//! A batch is one journal record across all keyspaces, flushed to the disk before `apply` returns; until then no reader
//! sees any of it. Every read goes through a snapshot, because fjall's plain reads may see half of a batch.

use std::{
    ops::Bound,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use fjall::{
    CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable,
    config::{BlockSizePolicy, CompressionPolicy},
};
use ledger::store::{Batch, Pair, Space, Store, StoreError, View};

/// Block cache, in bytes: the right edges, heads and hot rows of a node fit many times over.
const CACHE_BYTES: u64 = 256 << 20;
/// Journals are replayed at start, so this bounds the time a restart takes, not the size of the store.
const JOURNAL_BYTES: u64 = 256 << 20;
/// Bytes read at once for a payload or an entry.
const BULK_BLOCK_BYTES: u32 = 16 << 10;
/// Longest key, in bytes; the engine keeps the length in 16 bits and panics beyond.
const KEY_BYTES_MAX: usize = 65_535;

/// A store in one directory, held by one process at a time.
pub struct DiskStore {
    database: Database,
    /// In the order of `Space::ALL`.
    keyspaces: [Keyspace; Space::ALL.len()],
    /// Set by the first failed apply and never cleared: what reached the disk is unknown until the next start.
    poisoned: AtomicBool,
}

impl DiskStore {
    /// Opens the store in `dir`, creating it when there is none.
    ///
    /// Errors: `Io`, also when another process has it open.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let database = Database::builder(dir)
            .cache_size(CACHE_BYTES)
            .max_journaling_size(JOURNAL_BYTES)
            .journal_compression(CompressionType::None)
            .open()
            .map_err(io)?;
        // Hashes and ciphertext do not compress.
        let options = |space: Space| {
            let plain = KeyspaceCreateOptions::default()
                .data_block_compression_policy(CompressionPolicy::all(CompressionType::None));
            match space {
                // Large values in the order of their keys, rarely read.
                Space::Payload | Space::Entry => {
                    plain.data_block_size_policy(BlockSizePolicy::all(BULK_BLOCK_BYTES))
                }
                Space::Tile | Space::Head | Space::Row => plain,
            }
        };
        let open = |space: Space| database.keyspace(space.name(), || options(space)).map_err(io);
        let [entry, tile, head, row, payload] = Space::ALL;
        let keyspaces = [open(entry)?, open(tile)?, open(head)?, open(row)?, open(payload)?];
        Ok(Self { database, keyspaces, poisoned: AtomicBool::new(false) })
    }

    fn keyspace(&self, space: Space) -> &Keyspace {
        let [entry, tile, head, row, payload] = &self.keyspaces;
        match space {
            Space::Entry => entry,
            Space::Tile => tile,
            Space::Head => head,
            Space::Row => row,
            Space::Payload => payload,
        }
    }

    fn check(&self) -> Result<(), StoreError> {
        if self.poisoned.load(Ordering::SeqCst) { Err(StoreError::Poisoned) } else { Ok(()) }
    }

    /// The keys of a range, or none when it ends before it begins (which the engine refuses).
    fn range(
        &self,
        space: Space,
        from: &[u8],
        to: Option<&[u8]>,
    ) -> Result<impl DoubleEndedIterator<Item = fjall::Guard>, StoreError> {
        self.check()?;
        let range = to.is_none_or(|to| from < to).then(|| {
            let bounds = (Bound::Included(from), to.map_or(Bound::Unbounded, Bound::Excluded));
            self.database.snapshot().range::<&[u8], _>(self.keyspace(space), bounds)
        });
        Ok(range.into_iter().flatten())
    }

    fn write(&self, batch: &Batch) -> Result<(), StoreError> {
        let mut writes = self.database.batch().durability(Some(PersistMode::SyncAll));
        for (space, key, value) in batch.iter() {
            if key.is_empty() || key.len() > KEY_BYTES_MAX {
                return Err(StoreError::Io(format!("a key of {} bytes", key.len())));
            }
            match value {
                Some(value) => writes.insert(self.keyspace(space), key, value),
                None => writes.remove(self.keyspace(space), key),
            }
        }
        writes.commit().map_err(io)
    }
}

impl View for DiskStore {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.check()?;
        let value = self.database.snapshot().get(self.keyspace(space), key).map_err(io)?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn scan(
        &self,
        space: Space,
        from: &[u8],
        to: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Pair>, StoreError> {
        self.range(space, from, to)?.take(limit).map(pair).collect()
    }

    fn last_in(&self, space: Space, from: &[u8], to: Option<&[u8]>) -> Result<Option<Pair>, StoreError> {
        self.range(space, from, to)?.next_back().map(pair).transpose()
    }
}

impl Store for DiskStore {
    fn apply(&self, batch: &Batch) -> Result<(), StoreError> {
        self.check()?;
        self.write(batch).inspect_err(|_| self.poisoned.store(true, Ordering::SeqCst))
    }
}

fn pair(guard: fjall::Guard) -> Result<Pair, StoreError> {
    let (key, value) = guard.into_inner().map_err(io)?;
    Ok((key.to_vec(), value.to_vec()))
}

fn io(error: fjall::Error) -> StoreError {
    StoreError::Io(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn the_disk_store_keeps_the_contract() {
        let dirs = RefCell::new(Vec::new());
        ledger::store::suite::run(
            &mut || {
                dirs.borrow_mut().push(tempfile::tempdir().unwrap());
                Box::new(DiskStore::open(dirs.borrow().last().unwrap().path()).unwrap())
            },
            &mut |store| {
                drop(store);
                Box::new(DiskStore::open(dirs.borrow().last().unwrap().path()).unwrap())
            },
        );
    }

    #[test]
    fn is_held_by_one_opener_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let first = DiskStore::open(dir.path()).unwrap();
        assert!(matches!(DiskStore::open(dir.path()), Err(StoreError::Io(_))));
        drop(first);
        assert!(DiskStore::open(dir.path()).is_ok());
    }

    #[test]
    fn answers_nothing_after_a_failed_apply_until_it_is_opened_again() {
        let dir = tempfile::tempdir().unwrap();
        let store = DiskStore::open(dir.path()).unwrap();
        let mut batch = Batch::default();
        batch.put(Space::Row, b"k", b"v");
        store.apply(&batch).unwrap();
        let mut bad = Batch::default();
        bad.put(Space::Row, b"k", b"w");
        bad.put(Space::Row, b"", b"a key the engine does not take");
        assert!(matches!(store.apply(&bad), Err(StoreError::Io(_))));
        assert_eq!(store.apply(&batch), Err(StoreError::Poisoned));
        assert_eq!(store.get(Space::Row, b"k"), Err(StoreError::Poisoned));
        assert_eq!(store.scan(Space::Row, b"", None, 1), Err(StoreError::Poisoned));
        assert_eq!(store.last_with_prefix(Space::Row, b"k"), Err(StoreError::Poisoned));
        drop(store);
        let store = DiskStore::open(dir.path()).unwrap();
        assert_eq!(store.get(Space::Row, b"k"), Ok(Some(b"v".to_vec())));
    }
}
