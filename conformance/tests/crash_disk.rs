//! The real store under a disk that fails: every write, sync, truncation, rename and removal of a short history goes wrong
//! in every way, and again while the store recovers. What was acknowledged is there byte for byte, and a batch is there
//! whole or not at all.
//!
//! The faults come from `fault/fault.c`, preloaded into a process that appends (`examples/append.rs`); what must be there
//! is known from the same history over a store in memory.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test; what fails here fails the test")]

mod common;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use common::{Ran, built, fault_library, finish_within};
use conformance::appending::{self, Image};
use node::{store::DiskStore, wal::HALF_BYTES};

/// Batches of the history. The second is a large one.
const BATCHES: u64 = 3;
/// Batches enough for both halves of the file beside the store to be written over.
const MANY: u64 = 500;
/// Size of tables for histories in which they go to files of their own, in bytes.
const SMALL: u64 = 8_192;
/// Ways in which one change goes wrong, as `fault.c` names them.
const KINDS: [&str; 5] = ["error", "error-done", "torn", "kill-before", "kill-after"];
/// A process that has not ended by then hangs.
const WAIT: Duration = Duration::from_secs(20);

fn append() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| built(&["build", "--workspace", "--example", "append"], "examples/append"))
}

/// Every state the store may be in, by number of batches.
fn images() -> &'static [Image] {
    static MADE: OnceLock<Vec<Image>> = OnceLock::new();
    MADE.get_or_init(|| appending::images(BATCHES + 1).unwrap())
}

/// A directory of its own, in memory where that is offered: a killed process loses nothing that it gave to the kernel.
fn place() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let builder = || tempfile::Builder::new().prefix("xinqiao-disk-").to_owned();
    if memory.is_dir() { builder().tempdir_in(memory) } else { builder().tempdir() }.unwrap()
}

/// One store, the process that appends to it, and what that process has acknowledged.
struct Stage {
    root: tempfile::TempDir,
    tables: Option<u64>,
    acknowledged: u64,
    /// Batches that may be there.
    possible: u64,
}

/// A change on the disk, as `fault.c` tells of it.
struct Change {
    kind: String,
    /// Where in the file, of a write to a place.
    place: u64,
    path: PathBuf,
}

/// The change that goes wrong, from 1, and how.
type Fault = (u64, &'static str);

impl Stage {
    fn new(tables: Option<u64>) -> Self {
        Self { root: place(), tables, acknowledged: 0, possible: 0 }
    }

    fn store(&self) -> PathBuf {
        self.root.path().join("home/data")
    }

    /// The process, with a fault and with a trace of the changes it makes.
    fn command(&self, batches: u64, fault: Option<Fault>) -> Command {
        let home = self.root.path().join("home");
        fs::create_dir_all(&home).unwrap();
        let mut command = Command::new(append());
        command.arg(self.store()).arg(batches.to_string());
        command.args(self.tables.map(|bytes| bytes.to_string()));
        command.env("LD_PRELOAD", fault_library()).env("FAULT_DIR", home);
        command.env("FAULT_TRACE", self.root.path().join("trace"));
        command.env("FAULT_SPACE", self.root.path().join("space")).env("RUST_BACKTRACE", "0");
        if let Some((at, kind)) = fault {
            command.env("FAULT_AT", at.to_string()).env("FAULT_KIND", kind);
        }
        command
    }

    /// Runs the process to its end.
    fn run(&mut self, batches: u64, fault: Option<Fault>) -> Ran {
        let _ = fs::remove_file(self.root.path().join("trace"));
        let ran = finish_within(self.command(batches, fault), WAIT).expect("the process hangs");
        let said = ran.out.lines().filter_map(|line| line.parse::<u64>().ok()).max();
        self.acknowledged = said.unwrap_or(0).max(self.acknowledged);
        // At most one batch of this run is there without its acknowledgement, after those of earlier runs.
        self.possible = (said.unwrap_or(self.possible) + 1).min(batches);
        ran
    }

    /// The changes of the last run.
    fn trace(&self) -> Vec<Change> {
        let text = fs::read_to_string(self.root.path().join("trace")).unwrap_or_default();
        let change = |line: &str| {
            let parts: Vec<&str> = line.splitn(4, ' ').collect();
            Change { kind: parts[1].to_owned(), place: parts[2].parse().unwrap(), path: parts[3].into() }
        };
        text.lines().map(change).collect()
    }

    /// Without faults: the store opens, has what was acknowledged and at most one batch more, and takes the rest.
    fn check(&mut self, what: &dyn std::fmt::Debug) {
        let store = DiskStore::open(&self.store()).unwrap_or_else(|e| panic!("{what:?}: {e}"));
        let found = appending::number(&store).unwrap();
        let within = self.acknowledged <= found && found <= self.possible;
        assert!(within, "{what:?}: {found} batches, {} acknowledged", self.acknowledged);
        assert!(appending::image(&store).unwrap() == images()[found as usize], "{what:?}: batch {found}");
        appending::next(&store).unwrap_or_else(|e| panic!("{what:?}: {e}"));
        assert!(appending::image(&store).unwrap() == images()[found as usize + 1], "{what:?}: next");
    }
}

/// Runs `work` for every item, on every core.
fn spread<T: Send + Sync>(items: &[T], work: impl Fn(&T) + Sync) {
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                    work(item);
                }
            });
        }
    });
}

/// The changes of a history without faults.
fn changes(tables: Option<u64>) -> Vec<Change> {
    let mut stage = Stage::new(tables);
    assert_eq!(stage.run(BATCHES, None).code, Some(0));
    assert_eq!(stage.acknowledged, BATCHES);
    let trace = stage.trace();
    stage.check(&"no fault");
    trace
}

/// Every way in which a change can go wrong; only a write can be torn.
fn faults(changes: &[Change]) -> Vec<Fault> {
    let all = (1..).zip(changes).flat_map(|(at, change)| KINDS.map(|kind| (at, kind, change)));
    all.filter(|(_, kind, change)| *kind != "torn" || change.kind.ends_with("write"))
        .map(|(at, kind, _)| (at, kind))
        .collect()
}

#[test]
fn every_change_on_the_disk_fails_in_every_way() {
    let faults = faults(&changes(None));
    let (struck, refused) = (AtomicU64::new(0), AtomicU64::new(0));
    spread(&faults, |&fault| {
        let mut stage = Stage::new(None);
        let ran = stage.run(BATCHES, Some(fault));
        if ran.code != Some(0) {
            struck.fetch_add(1, Ordering::Relaxed);
        }
        if ran.code == Some(3) {
            refused.fetch_add(1, Ordering::Relaxed);
        }
        stage.check(&fault);
    });
    let (struck, refused) = (struck.into_inner(), refused.into_inner());
    println!("{} cases, {struck} ended the process, {refused} of them with an error", faults.len());
    assert!(struck > faults.len() as u64 / 2 && refused > 0);
}

#[test]
fn the_recovery_fails_too() {
    let changes = changes(None);
    let first = changes.iter().position(|change| is(&change.path, "tally")).unwrap() as u64;
    // Creating a store is behind; every fault of the batches, and then faults at points of the recovery that differ from
    // case to case and are the same in every run.
    let firsts: Vec<Fault> = faults(&changes).into_iter().filter(|(at, _)| *at > first).collect();
    let cases = AtomicU64::new(0);
    spread(&firsts, |&(at, kind)| {
        let strike = || {
            let mut stage = Stage::new(None);
            stage.run(BATCHES, Some((at, kind)));
            stage
        };
        let mut whole = strike();
        assert_eq!(whole.run(BATCHES, None).code, Some(0), "{at} {kind}");
        let recovery = faults(&whole.trace());
        let step = 1 + recovery.len() / 12;
        for second in recovery.iter().skip(at as usize % step).step_by(step) {
            let mut stage = strike();
            stage.run(BATCHES, Some(*second));
            stage.check(&((at, kind), second));
            cases.fetch_add(1, Ordering::Relaxed);
        }
    });
    println!("{} first faults, {} cases", firsts.len(), cases.load(Ordering::Relaxed));
    assert!(cases.into_inner() > 4 * firsts.len() as u64);
}

/// Tables go to files of their own, journals are replaced, in threads of the engine: which change is the n-th differs from
/// run to run, what must hold does not.
#[test]
fn tables_and_journals_come_and_go_under_faults() {
    let faults = faults(&changes(Some(SMALL)));
    let faults: Vec<Fault> = faults.into_iter().skip(3).step_by(4).collect();
    spread(&faults, |&fault| {
        let mut stage = Stage::new(Some(SMALL));
        stage.run(BATCHES, Some(fault));
        stage.check(&("small tables", fault));
    });
    println!("{} cases", faults.len());
}

#[test]
fn a_full_disk_stops_the_process_and_space_brings_it_back() {
    let changes = changes(None);
    let first = changes.iter().position(|change| is(&change.path, "tally")).unwrap() as u64;
    let at: Vec<u64> = (first..changes.len() as u64).collect();
    spread(&at, |&at| {
        let mut stage = Stage::new(None);
        let ran = stage.run(BATCHES, Some((at, "no-space")));
        if ran.code != Some(0) {
            assert_eq!(ran.code, Some(3), "{at}: {ran:?}");
            // As long as the disk is full it does not come up, or comes up and acknowledges nothing it cannot keep.
            stage.run(BATCHES, Some((1, "no-space")));
        }
        fs::write(stage.root.path().join("space"), "").unwrap();
        assert_eq!(stage.run(BATCHES, Some((1, "no-space"))).code, Some(0), "{at}");
        stage.acknowledged = BATCHES;
        stage.check(&("no space", at));
    });
}

/// What a power failure may take is what was not synced. Before anything is acknowledged, every file written since the
/// last acknowledgement is synced, and so is the directory of every name that was made. The engine's journal may wait, unless
/// the batch is a large one, as long as the batches are in the file beside the store: each half of that is written over when the
/// journal was synced since its last batch.
#[test]
fn nothing_is_acknowledged_before_it_is_synced() {
    for tables in [None, Some(SMALL)] {
        let (mut files, mut names): (BTreeSet<PathBuf>, BTreeSet<PathBuf>) = Default::default();
        let (mut acknowledged, mut kept, mut over) = (0, BTreeSet::new(), 0);
        let mut halves = [Half::Free; 2];
        let mut stage = Stage::new(tables);
        assert_eq!(stage.run(MANY, None).code, Some(0));
        for Change { kind, place, path } in stage.trace() {
            let fleeting = path.to_str().unwrap().contains(".tmp") || path.ends_with("lock");
            if is(&path, "tally") && matches!(kind.as_str(), "write" | "rewrite") {
                // A count goes into the tally right after a batch. What the engine's own threads are just writing is not
                // yet in use.
                let place = if appending::is_large(acknowledged + 1) { "jnl" } else { "wal" };
                assert!(kept.contains(place), "acknowledged before it is written down");
                let waits =
                    |p: &&PathBuf| is(p, place) || is(p, "wal") || (tables.is_none() && !is(p, "jnl"));
                let waiting: Vec<_> = files.iter().filter(waits).collect();
                assert!(waiting.is_empty(), "acknowledged before sync: {waiting:?}");
                let made: Vec<_> = names.iter().filter(|p| tables.is_none() || is(p, "jnl")).collect();
                assert!(made.is_empty(), "acknowledged before the directory's sync: {made:?}");
                (acknowledged, kept) = (acknowledged + 1, BTreeSet::new());
                continue;
            }
            if is(&path, "wal") && kind == "rewrite" && acknowledged > 0 {
                let half = (place / HALF_BYTES) as usize;
                if place % HALF_BYTES == 0 {
                    assert_eq!(halves[half], Half::Free, "written over before the engine has it");
                    over += u32::from(acknowledged > 1);
                }
                halves[half] = Half::Filled;
            }
            if is(&path, "jnl") {
                for half in &mut halves {
                    *half = match (*half, kind.as_str()) {
                        (Half::Filled, "write") => Half::InJournal,
                        (Half::InJournal, "sync") => Half::Free,
                        (half, _) => half,
                    };
                }
            }
            match kind.as_str() {
                "write" | "rewrite" | "truncate" if !fleeting => drop(files.insert(path)),
                "create" | "mkdir" | "rename" if !fleeting => drop(names.insert(path)),
                "sync" => {
                    kept.extend(["wal", "jnl"].into_iter().filter(|kind| is(&path, kind)));
                    files.remove(&path);
                    names.retain(|name| name.parent() != Some(path.as_path()));
                }
                "remove" => {
                    files.remove(&path);
                    names.remove(&path);
                }
                _ => {}
            }
        }
        assert_eq!(acknowledged, MANY);
        // Once the second half for the first time, and then over what is there.
        assert!(over > 2, "{over}");
    }
}

/// A half of the file beside the store, by what came last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Half {
    /// The journal was synced: it may be written over.
    Free,
    /// A batch was written into it.
    Filled,
    /// The journal was written.
    InJournal,
}

fn is(path: &Path, kind: &str) -> bool {
    path.extension().is_some_and(|e| e == kind)
}

/// A copy of a store and its tally, journals cut where their zeros begin.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if path.is_dir() {
            copy(&path, &to);
            continue;
        }
        let mut bytes = fs::read(&path).unwrap();
        if path.extension().is_some_and(|e| e == "jnl") {
            bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1));
        }
        fs::write(to, bytes).unwrap();
    }
}

/// A flipped bit in any file of the engine: the store does not open, or does not give what it cannot vouch for, or gives
/// everything as it was.
#[test]
fn a_flipped_bit_in_the_engine_s_files_is_never_another_answer() {
    let (outcomes, whole) = (AtomicU64::new(0), AtomicU64::new(0));
    for tables in [None, Some(SMALL)] {
        let mut stage = Stage::new(tables);
        assert_eq!(stage.run(BATCHES, None).code, Some(0));
        let honest = stage.root.path().join("honest");
        copy(stage.store().parent().unwrap(), &honest);
        let mut flips = Vec::new();
        for (path, bytes) in common::files(&honest) {
            let step = 1 + bytes.len() / 24;
            flips.extend((0..bytes.len()).step_by(step).map(|at| (path.clone(), at)));
        }
        spread(&flips, |(path, at)| {
            let work = place();
            copy(&honest, work.path());
            let damaged = work.path().join(path.strip_prefix(&honest).unwrap());
            let mut bytes = fs::read(&damaged).unwrap();
            bytes[*at] ^= 1 << (at % 8);
            fs::write(&damaged, bytes).unwrap();
            outcomes.fetch_add(1, Ordering::Relaxed);
            let store = work.path().join("data");
            // Damage that the engine meets with an assertion ends a node's start, and says nothing wrong.
            let read = std::panic::catch_unwind(|| {
                let store = DiskStore::open(&store).map_err(|e| e.to_string())?;
                appending::image(&store).map_err(|e| e.to_string())
            });
            if let Ok(Ok(found)) = read {
                whole.fetch_add(1, Ordering::Relaxed);
                assert!(found == images()[BATCHES as usize], "{} byte {at}", path.display());
            }
        });
    }
    let (outcomes, whole) = (outcomes.into_inner(), whole.into_inner());
    println!("{outcomes} flips: {whole} changed nothing, the others were found");
    assert!(outcomes > whole * 2);
}
