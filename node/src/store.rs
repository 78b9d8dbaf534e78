//! The store on disk: fjall, one database of one keyspace per space.
//!
//! Before `apply` returns, a batch is on the disk in the [`Wal`] beside the engine, or, where it is large, in the engine's
//! journal, as one record across all keyspaces; until then no reader sees any of it. What is not yet in the engine is seen from
//! memory ([`Ahead`]) and goes there behind the answers. Of the engine readers see a snapshot, because fjall's plain reads may
//! see half of a batch.
//!
//! The engine takes the first thing in its journal that it cannot read for the place where a crash tore it, and drops
//! what follows without a word. So the store counts its batches, in the engine and in the [`Tally`] beside it, and is not
//! opened when the engine has fewer. What a failed flush has left behind is not asked for again: the process ends there
//! ([`FailStop`]), and the next start reads what is on the disk.

use std::{
    fs, io, iter, mem,
    ops::Bound,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    thread,
};

use crypto::Digest;
use exchange::backup::extend;
use fjall::{
    CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable,
    compaction::Leveled,
    config::{BlockSizePolicy, CompressionPolicy},
};
use ledger::store::{Batch, Pair, Space, Store, StoreError, View};

use crate::{
    Problem, clock,
    keys::sync_dir,
    manifest,
    tally::Tally,
    torn,
    wal::{self, Link, Wal},
};

mod ahead;
mod feed;
mod refused;

use ahead::{Ahead, Begins, Side, Value, left, merged};
use feed::{Engine, Shared, writes};
pub use refused::OpenError;
use refused::refusal;

/// Block cache, in bytes: the right edges, heads and hot rows of a node fit many times over.
const CACHE_BYTES: u64 = 128 << 20;
/// What a table gathers in memory before it goes to a file, for each keyspace. With 64 MiB, the engine's own choice, the last
/// of five keyspaces has gathered that only after a million records, and memory grows until then.
const TABLE_BYTES: u64 = 16 << 20;
/// Size of a table on the disk. The engine flushes what it has merged with its locks in hand: less of it, less to wait for. It keeps
/// this and [`TABLE_BYTES`] with a keyspace as it was when that was made.
const FILE_BYTES: u64 = 16 << 20;
/// Journals are replayed at start, so this bounds the time a restart takes; and what waits in memory to go to files.
const JOURNAL_BYTES: u64 = 96 << 20;
/// Threads that flush and compact. With more the engine keeps one of them spinning while another compacts, which costs
/// the sealing threads of a small machine more than it gives.
const WORKERS: usize = 1;
/// By how much those threads are less urgent than who waits for an answer (nice). A table takes one of two cores for a fifth of
/// a second; the least urgent (19) got to it so seldom on a busy machine that writing had to wait for it.
#[cfg(target_os = "linux")]
const STEP_BACK: i32 = 5;
/// Bytes read at once for a payload or an entry.
const BULK_BLOCK_BYTES: u32 = 16 << 10;
/// Longest key, in bytes; the engine keeps the length in 16 bits and panics beyond.
const KEY_BYTES_MAX: usize = 65_535;
/// The keyspace, and the key in it, of what the engine was given last: the number of batches (`u64`, big endian), the newest
/// link of their chain, and [`LAYOUT`].
const COUNT: &str = "count";
/// How the file beside the store and the logs in it lie.
const LAYOUT: u8 = 2;

/// A store in one directory, held by one process at a time.
pub struct DiskStore {
    dir: PathBuf,
    /// What `dir` was when it was opened: see [`place`].
    place: Option<(u64, u64)>,
    shared: Arc<Shared>,
    /// Of the rows, whose first byte says their table: many a question looks into tables in which nothing ever was.
    rows: Arc<Begins>,
    applied: Mutex<Applied>,
    /// Hands batches to the engine.
    feeder: Option<thread::JoinHandle<()>>,
}

/// What was applied so far, and where that is written down.
struct Applied {
    count: u64,
    link: Link,
    wal: Wal,
    tally: Tally,
}

/// Ends the process where a write of the engine's journal has failed.
///
/// The journal's buffer still holds what it has tried to write. Another thread of the engine flushes it as soon as it gets
/// the lock, and so would closing it; when the disk has the first try after all, it is there twice, and the journal is
/// damage to the next start. The engine offers no hook but its log, where it tells of the failure while it holds the lock.
/// Nothing that was not acknowledged is lost with the process.
struct FailStop;

/// How the engine tells of a journal that was not written or not flushed. Also of a flush of its own: the disk tells of each
/// failure once, and the next flush of the same file would seem to succeed. And of its thread that has ended, without which a
/// write may wait for ever.
const FATAL: [&str; 6] = [
    "persist failed",
    "flush failed",
    "Failed to flush",
    "Failed to fsync",
    "Worker #",
    "Poisoning database",
];

impl log::Log for FailStop {
    fn enabled(&self, about: &log::Metadata<'_>) -> bool {
        about.level() == log::Level::Error && about.target().starts_with("fjall")
    }

    fn log(&self, record: &log::Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let what = record.args().to_string();
        if FATAL.iter().any(|begin| what.starts_with(begin)) {
            let Problem { next, next_zh, .. } = Problem::fault("");
            eprintln!("error: the disk has failed: {what}\n  what to do: {next}\n  处理办法：{next_zh}");
            std::process::exit(EXIT_FAULT);
        }
        tracing::error!(%what, "the storage engine");
    }

    fn flush(&self) {}
}

/// Exit code of a process whose machine has failed it.
const EXIT_FAULT: i32 = 3;

impl DiskStore {
    /// Opens the store in `dir`, creating it when there is none.
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        let known = Tally::read(dir).map_err(tally(dir))?;
        Self::open_with(dir, known.unwrap_or(0), TABLE_BYTES)
    }

    /// Opens the store in `dir` whatever its tally says: on an operator's word, where the rest comes from elsewhere.
    pub fn open_older(dir: &Path) -> Result<Self, OpenError> {
        Self::open_with(dir, 0, TABLE_BYTES)
    }

    /// As [`DiskStore::open`], with tables that go to files of their own after `bytes`: a short history then has
    /// everything that a long one has.
    pub fn open_small(dir: &Path, bytes: u64) -> Result<Self, OpenError> {
        let known = Tally::read(dir).map_err(tally(dir))?;
        Self::open_with(dir, known.unwrap_or(0), bytes)
    }

    fn open_with(dir: &Path, acknowledged: u64, table_bytes: u64) -> Result<Self, OpenError> {
        let engine = |e: fjall::Error| refusal(dir, &e);
        let older = |has| OpenError::Older { dir: dir.to_owned(), has, acknowledged };
        // Only one process-wide; whoever was first is this one.
        if log::set_logger(&FailStop).is_ok() {
            log::set_max_level(log::LevelFilter::Error);
        }
        clear_unfinished(dir).and_then(|()| manifest::check(dir)).map_err(|e| engine(e.into()))?;
        // Hashes and ciphertext do not compress.
        let options = |name: &str| {
            let plain = KeyspaceCreateOptions::default()
                .max_memtable_size(table_bytes)
                .compaction_strategy(Arc::new(Leveled::default().with_table_target_size(FILE_BYTES)))
                .data_block_compression_policy(CompressionPolicy::all(CompressionType::None));
            // Large values in the order of their keys, rarely read.
            let bulk = [Space::Payload, Space::Entry].iter().any(|space| space.name() == name);
            if bulk { plain.data_block_size_policy(BlockSizePolicy::all(BULK_BLOCK_BYTES)) } else { plain }
        };
        let start = || {
            let builder = Database::builder(dir)
                .cache_size(CACHE_BYTES)
                .worker_threads(WORKERS)
                .max_journaling_size(JOURNAL_BYTES)
                .journal_compression(CompressionType::None);
            // The engine's threads are as urgent as the one that starts them.
            let open = || {
                step_back();
                builder.open()
            };
            // Some damage the engine meets with an assertion instead of an error. It has nothing of ours in its hands then.
            thread::scope(|scope| {
                let started = thread::Builder::new().spawn_scoped(scope, open)?.join();
                started.unwrap_or(Err(fjall::Error::Unrecoverable))
            })
        };
        let disk = |e: io::Error| OpenError::Disk { dir: Wal::path(dir), why: e.to_string() };
        let kept = Wal::read(dir).map_err(disk)?;
        let written = kept.last().map_or(0, |last| last.count);
        // A start that was killed may have left its cut.
        let left = torn::is_cut(dir).map_err(|e| engine(e.into()))?;
        let mut cut =
            left.then(|| OpenError::Engine { dir: dir.to_owned(), why: "the journal is torn".to_owned() });
        let database = match start() {
            // As a power failure may leave it.
            Err(why @ (fjall::Error::JournalRecovery(_) | fjall::Error::Unrecoverable))
                if torn::cut(dir).map_err(|e| engine(e.into()))? =>
            {
                cut = Some(engine(why));
                start()
            }
            started => started,
        };
        let database = database.map_err(engine)?;
        let open = |name: &str| {
            // The engine removes a keyspace that it takes for unfinished, and would make it again, empty.
            if acknowledged > 0 && !database.keyspace_exists(name) {
                return Err(OpenError::Engine { dir: dir.to_owned(), why: format!("`{name}` is missing") });
            }
            database.keyspace(name, || options(name)).map_err(engine)
        };
        let [entry, tile, head, row, payload] = Space::ALL.map(Space::name);
        if acknowledged > 0 && !database.keyspace_exists(COUNT) {
            return Err(older(0));
        }
        let keyspaces = Keyspaces([open(entry)?, open(tile)?, open(head)?, open(row)?, open(payload)?]);
        let count = open(COUNT)?;
        let into = Engine { database, keyspaces: Arc::new(keyspaces), count };
        let stored = into.database.snapshot().get(&into.count, COUNT).map_err(engine)?;
        let known = match &stored {
            None => (0, None),
            Some(bytes) => last_applied(bytes).ok_or_else(|| OpenError::Engine {
                dir: dir.to_owned(),
                why: "the number of batches is damaged".to_owned(),
            })?,
        };
        let (mut has, mut link, kept) = match known {
            (known, Some(link)) => (known, link, kept),
            // A new store, or one of an earlier build: nothing continues it, and nothing continues another as it.
            (known, None) => (known, clock::random(), Vec::new()),
        };
        for kept in kept {
            if kept.count.checked_sub(1) == Some(has) && kept.before == link {
                into.commit(writes(&kept.batch), (kept.count, &kept.link), PersistMode::Buffer)
                    .map_err(engine)?;
                (has, link) = (kept.count, kept.link);
            }
        }
        if let Some(why) = cut.filter(|_| acknowledged > 0 && has < acknowledged.max(written)) {
            // What was cut off is in no other place.
            drop(into);
            torn::put_back(dir).map_err(|e| engine(e.into()))?;
            return Err(why);
        }
        if stored.as_deref() != Some(&*stored_last(has, &link)) {
            into.commit([], (has, &link), PersistMode::SyncAll).map_err(engine)?;
        }
        if has < acknowledged {
            return Err(older(has));
        }
        let wal = Wal::open(dir, table_bytes.min(wal::FULL_BYTES)).map_err(disk)?;
        torn::forget(dir).map_err(|e| engine(e.into()))?;
        // The engine flushes everything in a keyspace's directory, and not the name of that directory itself.
        sync_dir(&dir.join("keyspaces")).map_err(|e| engine(e.into()))?;
        // Flushes the name of `dir` too, which lies in the same directory.
        let tally = Tally::set(dir, has).map_err(tally(dir))?;
        let snapshot = into.database.snapshot();
        let rows = Arc::new(Begins::default());
        let mut next = Some(0);
        while let Some(begin) = next {
            let row = snapshot.range(into.keyspaces.of(Space::Row), [begin]..).next();
            let row = row.map(fjall::Guard::key).transpose().map_err(engine)?;
            rows.add(row.as_deref().unwrap_or_default());
            next = row.and_then(|row| row.first()?.checked_add(1));
        }
        let newest = Frozen {
            snapshot: snapshot.into(),
            keyspaces: into.keyspaces.clone(),
            rows: rows.clone(),
            older: None,
            newer: Arc::default(),
            last: has,
        };
        let shared = Arc::new(Shared::new(into, newest));
        let feeder = thread::Builder::new().name("feeder".to_owned()).spawn({
            let shared = shared.clone();
            move || shared.run()
        });
        Ok(Self {
            dir: dir.to_owned(),
            place: place(dir),
            shared,
            rows,
            applied: Mutex::new(Applied { count: has, link, wal, tally }),
            feeder: Some(feeder.map_err(|e| engine(e.into()))?),
        })
    }

    fn check(&self) -> Result<(), StoreError> {
        if self.shared.poisoned.load(Ordering::SeqCst) { Err(StoreError::Poisoned) } else { Ok(()) }
    }

    fn write(&self, batch: &Batch) -> Result<(), StoreError> {
        // The lock keeps other processes out, and not a person who moves the directory away or copies another over it.
        if place(&self.dir) != self.place {
            let dir = self.dir.display();
            return Err(StoreError::Io(format!("{dir} is no longer the directory that was opened")));
        }
        if let Some((_, key, _)) =
            batch.iter().find(|(_, key, _)| key.is_empty() || key.len() > KEY_BYTES_MAX)
        {
            return Err(StoreError::Io(format!("a key of {} bytes", key.len())));
        }
        let mut applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
        let Applied { count, link, wal, tally } = &mut *applied;
        let next = *count + 1;
        let (next_link, written) = wal.write(next, link, batch).map_err(failed)?;
        let rows = batch.iter().filter(|(space, ..)| *space == Space::Row);
        rows.for_each(|(_, key, _)| self.rows.add(key));
        if written {
            tally.write(next).map_err(failed)?;
            let newer = self.shared.newest().newer.clone();
            newer.add(next, batch);
            self.shared.newest().last = next;
        } else {
            self.shared.settle((*count, *link))?;
            self.shared.commit(writes(batch), (next, &next_link), |newest| newest.last = next)?;
            // The engine has everything for good.
            wal.begin();
            tally.write(next).map_err(failed)?;
        }
        (*count, *link) = (next, next_link);
        if wal.is_full() {
            self.shared.hand_over((next, next_link))?;
            wal.turn();
        }
        Ok(())
    }
}

/// A store that is closed in good order has what it holds in the engine.
impl Drop for DiskStore {
    fn drop(&mut self) {
        let applied = self.applied.get_mut().unwrap_or_else(PoisonError::into_inner);
        // Where that fails, the next start has it from the file beside it. A directory that was removed has no next start.
        if place(&self.dir) == self.place {
            let _ = self.shared.settle((applied.count, applied.link));
        }
        self.shared.close();
        let ended = self.feeder.take().map(thread::JoinHandle::join);
        debug_assert!(ended.is_some_and(|ended| ended.is_ok()), "the feeding thread has panicked");
    }
}

/// Makes this thread, and those it starts, less urgent than the others of the process. Where that is not to be had all are alike.
fn step_back() {
    // Linux keeps this for each thread; elsewhere it is the whole process's.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::nice(STEP_BACK);
}

/// Number and link of the last batch that the engine has, as they are stored. The byte at the end keeps earlier builds out, which
/// know neither the second half of the file beside the store nor entries that stay alone.
fn stored_last(count: u64, link: &Link) -> Vec<u8> {
    [&count.to_be_bytes()[..], link, &[LAYOUT]].concat()
}

/// Number and link of the last batch that the engine has; stores of earlier builds have no byte at the end, or no link either.
fn last_applied(mut bytes: &[u8]) -> Option<(u64, Option<Link>)> {
    let count = u64::from_be_bytes(bytes.split_off(..8)?.try_into().ok()?);
    let link = match bytes.split_first_chunk() {
        None if bytes.is_empty() => None,
        Some((link, [] | [LAYOUT])) => Some(*link),
        _ => return None,
    };
    Some((count, link))
}

/// In the order of `Space::ALL`.
struct Keyspaces([Keyspace; Space::ALL.len()]);

impl Keyspaces {
    fn of(&self, space: Space) -> &Keyspace {
        let [entry, tile, head, row, payload] = &self.0;
        match space {
            Space::Entry => entry,
            Space::Tile => tile,
            Space::Head => head,
            Space::Row => row,
            Space::Payload => payload,
        }
    }
}

/// The store as it was between two batches, however much is written meanwhile. Holding it keeps superseded data on the disk,
/// and in memory the tables that have gone to files meanwhile.
#[derive(Clone)]
pub struct Frozen {
    /// The engine, and what it did not have then: batches on their way to it, and those after, up to `last`.
    snapshot: Arc<fjall::Snapshot>,
    keyspaces: Arc<Keyspaces>,
    rows: Arc<Begins>,
    older: Option<Arc<Ahead>>,
    newer: Arc<Ahead>,
    last: u64,
}

impl DiskStore {
    /// Holds the store as it is now.
    pub fn freeze(&self) -> Result<Frozen, StoreError> {
        self.check()?;
        Ok(self.shared.newest().clone())
    }

    /// About how many pairs it has, at no cost: pairs that were replaced or removed may count too.
    pub fn about(&self) -> u64 {
        self.shared.engine.keyspaces.0.iter().map(|k| k.approximate_len() as u64).sum()
    }
}

impl Frozen {
    /// The pairs of `space` behind the key `after` and up to `last`, ascending, until they have `bytes` bytes; none at the end.
    pub fn page(
        &self,
        space: Space,
        after: Option<&[u8]>,
        last: Option<&[u8]>,
        bytes: usize,
    ) -> Result<Vec<Pair>, StoreError> {
        let (mut page, mut size) = (Vec::new(), 0);
        for pair in self.range(space, excluded(after), included(last), Side::First) {
            let (key, value) = pair?;
            size += key.len() + value.len();
            page.push((key, value));
            if size >= bytes {
                break;
            }
        }
        Ok(page)
    }

    /// Digest and number of the pairs of `space` behind `after` and up to `last`.
    pub fn digest(
        &self,
        space: Space,
        after: Option<&[u8]>,
        last: &[u8],
    ) -> Result<(Digest, u64), StoreError> {
        let mut range = self.range(space, excluded(after), Bound::Included(last), Side::First);
        range.try_fold((Digest::ZERO, 0), |(digest, pairs), pair| {
            let (key, value) = pair?;
            Ok((extend(&digest, &key, &value), pairs + 1))
        })
    }

    /// The pairs between two keys, of which at most one counts itself, from one side.
    fn range<'a>(
        &'a self,
        space: Space,
        from: Bound<&'a [u8]>,
        to: Bound<&'a [u8]>,
        side: Side,
    ) -> impl Iterator<Item = Result<Pair, StoreError>> + 'a {
        let some = (left((from, to)) && self.may_have(space, (from, to))).then(move || {
            let mut engine = self.snapshot.range::<&[u8], _>(self.keyspaces.of(space), (from, to));
            let engine = iter::from_fn(move || match side {
                Side::First => engine.next(),
                Side::Last => engine.next_back(),
            });
            merged(engine.map(pair), self.ahead(), space, (from, to), self.last, side)
        });
        some.into_iter().flatten()
    }

    /// Whether there may be a key between two.
    fn may_have(&self, space: Space, range: (Bound<&[u8]>, Bound<&[u8]>)) -> bool {
        space != Space::Row || self.rows.may_have(range)
    }

    /// What the engine does not have, the newest first.
    fn ahead(&self) -> impl Iterator<Item = &Ahead> {
        [Some(&self.newer), self.older.as_ref()].into_iter().flatten().map(Arc::as_ref)
    }

    /// What the batches that the engine does not have made of a key; `None` when they left it alone.
    fn written(&self, space: Space, key: &[u8]) -> Option<Value> {
        self.ahead().find_map(|ahead| ahead.get(space, key, self.last))
    }
}

fn included(key: Option<&[u8]>) -> Bound<&[u8]> {
    key.map_or(Bound::Unbounded, Bound::Included)
}

fn excluded(key: Option<&[u8]>) -> Bound<&[u8]> {
    key.map_or(Bound::Unbounded, Bound::Excluded)
}

impl View for Frozen {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let mut found = None;
        self.look(space, key, &mut |value| found = Some(value.to_vec()))?;
        Ok(found)
    }

    fn look(&self, space: Space, key: &[u8], see: &mut dyn FnMut(&[u8])) -> Result<bool, StoreError> {
        if !self.may_have(space, (Bound::Included(key), Bound::Included(key))) {
            return Ok(false);
        }
        let value = match self.written(space, key) {
            Some(value) => value,
            None => self.snapshot.get(self.keyspaces.of(space), key).map_err(io)?,
        };
        Ok(value.as_deref().map(see).is_some())
    }

    fn scan(
        &self,
        space: Space,
        from: &[u8],
        to: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Pair>, StoreError> {
        self.range(space, Bound::Included(from), excluded(to), Side::First).take(limit).collect()
    }

    fn last_in(&self, space: Space, from: &[u8], to: Option<&[u8]>) -> Result<Option<Pair>, StoreError> {
        self.range(space, Bound::Included(from), excluded(to), Side::Last).next().transpose()
    }
}

/// Each read sees the newest.
impl View for DiskStore {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.freeze()?.get(space, key)
    }

    fn look(&self, space: Space, key: &[u8], see: &mut dyn FnMut(&[u8])) -> Result<bool, StoreError> {
        self.freeze()?.look(space, key, see)
    }

    fn scan(
        &self,
        space: Space,
        from: &[u8],
        to: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Pair>, StoreError> {
        self.freeze()?.scan(space, from, to, limit)
    }

    fn last_in(&self, space: Space, from: &[u8], to: Option<&[u8]>) -> Result<Option<Pair>, StoreError> {
        self.freeze()?.last_in(space, from, to)
    }
}

impl Store for DiskStore {
    fn apply(&self, batch: &Batch) -> Result<(), StoreError> {
        self.check()?;
        let unsure = Unsure(&self.shared);
        self.write(batch)?;
        mem::forget(unsure);
        Ok(())
    }
}

/// Poisons the store when a write has ended otherwise than well, be it with a panic.
struct Unsure<'a>(&'a Shared);

impl Drop for Unsure<'_> {
    fn drop(&mut self) {
        self.0.poisoned.store(true, Ordering::SeqCst);
    }
}

fn pair(guard: fjall::Guard) -> Result<Pair, StoreError> {
    let (key, value) = guard.into_inner().map_err(io)?;
    Ok((key.to_vec(), value.to_vec()))
}

/// Removes what the engine has left of a store whose making was interrupted, because it takes that neither for a store nor
/// for a place to make one. Its first keyspace comes after everything removed here, and our tally after all of it: nothing
/// was ever kept in such a store.
fn clear_unfinished(dir: &Path) -> io::Result<()> {
    let keyspaces = dir.join("keyspaces");
    let begun = fs::read_dir(&keyspaces).is_ok_and(|mut entries| entries.next().is_some());
    if begun || Tally::path(dir).exists() {
        return Ok(());
    }
    for name in ["lock", "0.jnl", "version"] {
        match fs::remove_file(dir.join(name)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
    }
    Ok(())
}

/// Device and number of a directory: what a path leads to, whatever it is called. `None` where there is no such thing.
fn place(dir: &Path) -> Option<(u64, u64)> {
    #[cfg(unix)]
    return fs::metadata(dir).ok().map(|m| {
        use std::os::unix::fs::MetadataExt;
        (m.dev(), m.ino())
    });
    #[cfg(not(unix))]
    None
}

fn tally(dir: &Path) -> impl FnOnce(io::Error) -> OpenError {
    let path = Tally::path(dir);
    |why| OpenError::Tally { path, why }
}

fn failed(error: io::Error) -> StoreError {
    StoreError::Io(error.to_string())
}

fn io(error: fjall::Error) -> StoreError {
    StoreError::Io(error.to_string())
}

#[cfg(test)]
mod tests;
