//! A member's disk: the store in memory, with a reader at its side that looks for canaries in whatever is written.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use credit::{
    id::{MemberId, RecordId},
    status::Standing,
};
use crypto::Timestamp;
use exchange::{summary, turn::Turn};
use ledger::store::{
    Batch, Overlay, Pair, Space, Store, StoreError, View,
    memory::{Fault, Image, MemoryStore},
};

use super::{Broken, Check};

/// Text that every planted value carries and that no stored byte may show.
pub const CANARY: &[u8] = b"CANARY-";
/// The first eight characters of every subject of the workload: registrar and region.
pub const SUBJECT_PREFIX: &[u8] = b"91310115";

/// A store whose writes are searched.
#[derive(Debug, Default)]
pub struct Disk {
    store: MemoryStore,
    applies: AtomicU64,
    leak: Mutex<Option<String>>,
}

impl Disk {
    /// A disk that holds `image`.
    pub fn of(image: Image) -> Self {
        Self { store: MemoryStore::restore(image), ..Self::default() }
    }

    /// What a restart would find.
    pub fn image(&self) -> Image {
        self.store.snapshot()
    }

    /// The disk as a restarted process opens it.
    #[must_use]
    pub fn reopened(&self) -> Self {
        Self::of(self.image())
    }

    /// Makes the next write fail.
    pub fn fail_next_apply(&self, fault: Fault) {
        self.store.fail_next_apply(fault);
    }

    /// Makes the next read fail.
    pub fn fail_next_read(&self) {
        self.store.fail_next_read();
    }

    /// Batches written or tried since the disk was opened.
    pub fn applies(&self) -> u64 {
        self.applies.load(Ordering::Relaxed)
    }

    /// Where a planted value was written in clear, if anywhere.
    pub fn leak(&self) -> Option<String> {
        self.leak.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Whether `needle` occurs in `bytes`.
pub fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    let Some(first) = needle.first() else { return true };
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|b| b == first) {
        if bytes[from + at..].starts_with(needle) {
            return true;
        }
        from += at + 1;
    }
    false
}

impl Disk {
    /// Writes a standing, or removes it, with the digests above it, behind the member's back.
    pub fn overwrite(
        &self,
        authority: &MemberId,
        record: &RecordId,
        standing: Option<&Standing>,
    ) -> Result<(), Broken> {
        let kept = Overlay::new(self);
        let mut turn = Turn::new(Timestamp(0), &kept, BTreeMap::new());
        let put = summary::put(&mut turn, authority, record, standing);
        put.map_err(|f| Broken::new(Check::Fault, f.to_string()))?;
        self.apply(&turn.finish().rows).map_err(|e| Broken::new(Check::Fault, e.to_string()))
    }
}

impl View for Disk {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.get(space, key)
    }

    fn scan(
        &self,
        space: Space,
        from: &[u8],
        to: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Pair>, StoreError> {
        self.store.scan(space, from, to, limit)
    }

    fn last_in(&self, space: Space, from: &[u8], to: Option<&[u8]>) -> Result<Option<Pair>, StoreError> {
        self.store.last_in(space, from, to)
    }
}

impl Store for Disk {
    fn apply(&self, batch: &Batch) -> Result<(), StoreError> {
        self.applies.fetch_add(1, Ordering::Relaxed);
        for (space, key, value) in batch.iter() {
            for needle in [CANARY, SUBJECT_PREFIX] {
                if contains(key, needle) || value.is_some_and(|v| contains(v, needle)) {
                    let kind = key.first().copied().unwrap_or_default();
                    let what = format!("space `{}`, key beginning with {kind}", space.name());
                    *self.leak.lock().unwrap_or_else(PoisonError::into_inner) = Some(what);
                }
            }
        }
        self.store.apply(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_planted_value_is_found_wherever_it_is_written() {
        for value in [b"CANARY-1".to_vec(), b"xxCANCANARY-".to_vec(), b"..91310115Y".to_vec()] {
            let disk = Disk::default();
            let mut batch = Batch::default();
            batch.put(Space::Row, b"k", value);
            disk.apply(&batch).unwrap();
            assert!(disk.leak().is_some());
        }
        let disk = Disk::default();
        let mut batch = Batch::default();
        batch.put(Space::Row, b"k", b"CANARY".to_vec());
        disk.apply(&batch).unwrap();
        assert_eq!(disk.leak(), None);
    }
}
