//! The engine, and the thread that hands it batches behind the answers.

use std::{
    mem,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use fjall::{AbstractTree as _, Database, Keyspace, PersistMode, Slice};
use ledger::store::{Batch, Space, StoreError};

use super::{COUNT, Frozen, Keyspaces, ahead::Value, io, stored_last};
use crate::wal::Link;

/// The engine's handles.
pub(super) struct Engine {
    pub(super) database: Database,
    pub(super) keyspaces: Arc<Keyspaces>,
    pub(super) count: Keyspace,
}

impl Engine {
    /// Applies writes, and the number and link of the last batch they are of.
    pub(super) fn commit(
        &self,
        writes: impl IntoIterator<Item = (Space, Slice, Value)>,
        (count, link): (u64, &Link),
        flush: PersistMode,
    ) -> fjall::Result<()> {
        let mut batch = self.database.batch().durability(Some(flush));
        for (space, key, value) in writes {
            match value {
                Some(value) => batch.insert(self.keyspaces.of(space), key, value),
                None => batch.remove(self.keyspaces.of(space), key),
            }
        }
        batch.insert(&self.count, COUNT, stored_last(count, link));
        batch.commit()
    }
}

/// The writes of a batch as the engine takes them.
pub(super) fn writes(batch: &Batch) -> impl Iterator<Item = (Space, Slice, Value)> {
    batch.iter().map(|(space, key, value)| (space, key.into(), value.map(Into::into)))
}

/// What the writer, its readers and the feeding thread share.
pub(super) struct Shared {
    pub(super) engine: Engine,
    /// What readers see. The engine is asked for a view between two commits, by whoever has made the first: while it puts a
    /// table into place, a view that is opened as a batch is applied may hold a part of that.
    pub(super) newest: Mutex<Frozen>,
    /// Set by the first failure and never cleared: what reached the disk is unknown until the next start.
    pub(super) poisoned: AtomicBool,
    due: Mutex<Due>,
    changed: Condvar,
    /// Tables in memory that the engine has, or had a moment ago, and batches that it has got.
    tables: Mutex<Vec<Table>>,
}

/// A table in memory. The engine lets go of one with its locks in hand, and to free what has 100,000 pairs takes 50 ms: so it is
/// held until the engine has let go of it, and freed by the feeding thread when that has nothing else to do. So are the batches before
/// they were in the engine, which a reader or the writer might be the last to have.
type Table = Arc<dyn Send + Sync>;

/// How long, at most, such a table is kept beyond its time.
const KEPT: Duration = Duration::from_secs(1);

/// What the feeding thread has to do.
#[derive(Default)]
struct Due {
    /// Number and link of the last of the batches that are to go to the engine.
    last: Option<(u64, Link)>,
    closing: bool,
}

impl Shared {
    pub(super) fn new(engine: Engine, newest: Frozen) -> Self {
        Self {
            engine,
            newest: Mutex::new(newest),
            poisoned: AtomicBool::new(false),
            due: Mutex::default(),
            changed: Condvar::new(),
            tables: Mutex::default(),
        }
    }

    pub(super) fn newest(&self) -> MutexGuard<'_, Frozen> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has all batches up to `last` go to the engine, once it has those handed over before.
    ///
    /// Errors: `Poisoned`.
    pub(super) fn hand_over(&self, last: (u64, Link)) -> Result<(), StoreError> {
        let mut due = self.idle()?;
        let mut newest = self.newest();
        newest.older = Some(mem::take(&mut newest.newer));
        due.last = Some(last);
        self.changed.notify_all();
        Ok(())
    }

    /// Waits until the engine has all that was handed over.
    fn idle(&self) -> Result<MutexGuard<'_, Due>, StoreError> {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if self.poisoned.load(Ordering::SeqCst) {
                return Err(StoreError::Poisoned);
            }
            if due.last.is_none() {
                return Ok(due);
            }
            due = self.changed.wait(due).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until the engine has all batches up to `last`, which is the newest.
    ///
    /// Errors: `Poisoned`.
    pub(super) fn settle(&self, last: (u64, Link)) -> Result<(), StoreError> {
        if !self.newest().newer.is_empty() {
            self.hand_over(last)?;
        }
        self.idle().map(drop)
    }

    /// Ends the feeding thread when it has nothing left to do.
    pub(super) fn close(&self) {
        self.due.lock().unwrap_or_else(PoisonError::into_inner).closing = true;
        self.changed.notify_all();
    }

    /// The feeding thread.
    pub(super) fn run(&self) {
        let _end = End(self);
        loop {
            let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
            let last = loop {
                match due.last {
                    Some(last) => break last,
                    None if due.closing => return,
                    None => {}
                }
                drop(due);
                self.free_tables();
                due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
                if due.last.is_none() && !due.closing {
                    due = if self.tables().len() <= self.engine.keyspaces.0.len() {
                        self.changed.wait(due).unwrap_or_else(PoisonError::into_inner)
                    } else {
                        self.changed.wait_timeout(due, KEPT).unwrap_or_else(PoisonError::into_inner).0
                    };
                }
            };
            drop(due);
            if let Err(e) = self.feed(last) {
                tracing::error!("the storage engine: {e}");
                return;
            }
            self.due.lock().unwrap_or_else(PoisonError::into_inner).last = None;
            self.changed.notify_all();
        }
    }

    fn feed(&self, (count, link): (u64, Link)) -> Result<(), StoreError> {
        let Some(ahead) = self.newest().older.clone() else { return Ok(()) };
        self.commit(ahead.newest(), (count, &link), |newest| newest.older = None)?;
        self.tables().push(ahead);
        Ok(())
    }

    /// Applies writes in the engine, flushed, and shows readers the engine as it is then.
    ///
    /// Errors: the engine. The store is of no use then.
    pub(super) fn commit(
        &self,
        writes: impl IntoIterator<Item = (Space, Slice, Value)>,
        last: (u64, &Link),
        show: impl FnOnce(&mut Frozen),
    ) -> Result<(), StoreError> {
        self.engine.commit(writes, last, PersistMode::SyncAll).map_err(io).inspect_err(|_| {
            // Closing the engine writes what its journal's buffer still holds, also what a write has put on the disk
            // before it failed: twice in the journal it is damage. So it is not closed; the process ends.
            mem::forget(self.engine.database.clone());
        })?;
        let snapshot = Arc::new(self.engine.database.snapshot());
        let mut newest = self.newest();
        let before = mem::replace(&mut newest.snapshot, snapshot);
        show(&mut newest);
        drop(newest);
        // Whoever lets go of it last tells the engine, which nobody waits for with the lock in hand.
        drop(before);
        self.hold_tables();
        let _due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        self.changed.notify_all();
        Ok(())
    }

    fn tables(&self) -> MutexGuard<'_, Vec<Table>> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds the tables that the engine writes to now.
    fn hold_tables(&self) {
        let mut tables = self.tables();
        for keyspace in &self.engine.keyspaces.0 {
            let active: Table = keyspace.tree.active_memtable();
            if !tables.iter().any(|table| Arc::ptr_eq(table, &active)) {
                tables.push(active);
            }
        }
    }

    /// Frees the tables that the engine has let go of.
    fn free_tables(&self) {
        let free = |table: &mut Table| Arc::strong_count(table) == 1;
        let freed: Vec<Table> = self.tables().extract_if(.., free).collect();
        // Not with the lock in hand.
        drop(freed);
    }
}

/// Nobody waits for a thread that has ended, however it did.
struct End<'a>(&'a Shared);

impl Drop for End<'_> {
    fn drop(&mut self) {
        let due = self.0.due.lock().unwrap_or_else(PoisonError::into_inner);
        if due.last.is_some() || !due.closing {
            self.0.poisoned.store(true, Ordering::SeqCst);
        }
        self.0.changed.notify_all();
    }
}
