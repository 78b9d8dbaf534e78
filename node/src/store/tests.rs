//! The store on disk: what it keeps, what it shows, and what it refuses to open.

use super::*;
use crate::wal::BODY_BYTES_MAX;
use std::{cell::RefCell, sync::atomic::AtomicBool};

/// The directory of a store in a temporary one, which also holds its tally.
fn inside(dir: &tempfile::TempDir) -> PathBuf {
    dir.path().join("data")
}

fn put(key: &[u8]) -> Batch {
    let mut batch = Batch::default();
    batch.put(Space::Row, key, b"v");
    batch
}

#[test]
fn the_disk_store_keeps_the_contract() {
    // Once from memory, once with every batch in the engine right after it.
    for bytes in [TABLE_BYTES, 1] {
        let dirs = RefCell::new(Vec::new());
        let open = || Box::new(DiskStore::open_small(&inside(dirs.borrow().last().unwrap()), bytes).unwrap());
        ledger::store::suite::run(
            &mut || {
                dirs.borrow_mut().push(tempfile::tempdir().unwrap());
                open()
            },
            &mut |store| {
                drop(store);
                open()
            },
        );
    }
}

#[test]
fn readers_see_whole_batches_while_tables_are_put_into_place() {
    let dir = tempfile::tempdir().unwrap();
    // A table after every few batches.
    let store = DiskStore::open_small(&inside(&dir), 4 << 10).unwrap();
    let numbered = |n: u64| {
        let mut batch = Batch::default();
        for space in Space::ALL {
            batch.put(space, b"n", n.to_be_bytes());
            batch.put(space, [&n.to_be_bytes()[..], b"padding"].concat(), [0; 700]);
        }
        batch
    };
    store.apply(&numbered(0)).unwrap();
    let whole = |frozen: &Frozen| {
        let seen = Space::ALL.map(|space| frozen.get(space, b"n").unwrap().unwrap());
        assert!(seen.iter().all(|value| *value == seen[0]), "{seen:?}");
        seen[0].clone()
    };
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::SeqCst) {
                    let frozen = store.freeze().unwrap();
                    let first = whole(&frozen);
                    thread::yield_now();
                    assert_eq!(whole(&frozen), first);
                }
            });
        }
        for n in 1..1_500 {
            store.apply(&numbered(n)).unwrap();
        }
        done.store(true, Ordering::SeqCst);
    });
}

#[test]
fn is_held_by_one_opener_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let first = DiskStore::open(&inside(&dir)).unwrap();
    assert!(matches!(DiskStore::open(&inside(&dir)), Err(OpenError::Engine { .. })));
    drop(first);
    assert!(DiskStore::open(&inside(&dir)).is_ok());
}

#[test]
fn answers_nothing_after_a_failed_apply_until_it_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = DiskStore::open(&inside(&dir)).unwrap();
    let batch = put(b"k");
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
    let store = DiskStore::open(&inside(&dir)).unwrap();
    assert_eq!(store.get(Space::Row, b"k"), Ok(Some(b"v".to_vec())));
}

/// A flat copy of the store as it would be after the process ended, however it ended.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[test]
fn an_older_copy_of_the_store_or_none_at_all_is_not_taken_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let (data, old) = (inside(&dir), dir.path().join("old"));
    let store = DiskStore::open(&data).unwrap();
    store.apply(&put(b"a")).unwrap();
    drop(store);
    copy(&data, &old);
    let store = DiskStore::open(&data).unwrap();
    store.apply(&put(b"b")).unwrap();
    drop(store);
    let back = || {
        fs::remove_dir_all(&data).unwrap();
        copy(&old, &data);
    };
    // What it lacks was written down last.
    back();
    assert_eq!(DiskStore::open(&data).unwrap().get(Space::Row, b"b"), Ok(Some(b"v".to_vec())));
    fs::remove_file(Wal::path(&data)).unwrap();
    back();
    assert!(matches!(DiskStore::open(&data), Err(OpenError::Older { has: 1, acknowledged: 2, .. })));
    fs::remove_dir_all(&data).unwrap();
    assert!(matches!(DiskStore::open(&data), Err(OpenError::Older { has: 0, acknowledged: 2, .. })));
    fs::remove_dir_all(&data).unwrap();
    fs::rename(&old, &data).unwrap();
    drop(DiskStore::open_older(&data).unwrap());
    assert_eq!(DiskStore::open(&data).unwrap().get(Space::Row, b"a"), Ok(Some(b"v".to_vec())));
}

#[test]
fn a_damaged_journal_is_not_taken_for_a_torn_one() {
    let dir = tempfile::tempdir().unwrap();
    let data = inside(&dir);
    let store = DiskStore::open(&data).unwrap();
    let journal = data.join("0.jnl");
    // It is made 64 MiB long, and is not copied for every byte.
    let used = |bytes: &[u8]| bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let flushed = used(&fs::read(&journal).unwrap());
    for value in [b"1", b"2", b"3"] {
        let mut batch = put(value);
        batch.put(Space::Head, b"newest", value);
        batch.put(Space::Payload, b"long", [value[0]; 700]);
        store.apply(&batch).unwrap();
    }
    drop(store);
    let honest = fs::read(&journal).unwrap();
    fs::remove_file(&journal).unwrap();
    let used = used(&honest);
    let open = |bytes: &[u8], wal: bool| {
        // In memory where that is offered: nothing here waits for a disk to see what it would lose.
        let memory = Path::new("/dev/shm");
        let work = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        copy(&data, &inside(&work));
        fs::copy(Tally::path(&data), Tally::path(&inside(&work))).unwrap();
        if wal {
            fs::copy(Wal::path(&data), Wal::path(&inside(&work))).unwrap();
        }
        fs::write(inside(&work).join("0.jnl"), &bytes[..used]).unwrap();
        DiskStore::open(&inside(&work)).map(|store| {
            // What the checksums do not cover (a sequence number) may change, and then nothing may follow from it.
            assert_eq!(store.get(Space::Head, b"newest"), Ok(Some(b"3".to_vec())));
            assert_eq!(store.scan(Space::Row, b"", None, 9).map(|rows| rows.len()), Ok(3));
            let left = fs::read_dir(inside(&work)).unwrap().map(|e| e.unwrap().path());
            assert!(
                left.filter_map(|path| path.extension().map(ToOwned::to_owned)).all(|kind| kind == "jnl")
            );
        })
    };
    open(&honest, false).unwrap();
    let mut silent = 0;
    for at in (0..used).step_by(11) {
        let mut bytes = honest.clone();
        bytes[at] ^= 1;
        match open(&bytes, false) {
            Err(OpenError::Older { .. }) => silent += 1,
            Err(OpenError::Engine { .. }) | Ok(()) => {}
            Err(e) => panic!("byte {at} of {used}: {e}"),
        }
    }
    // Without the tally these would have been losses without a word.
    assert!(silent > 0);
    // What was not flushed may be there in part after a power failure: it was written down beside the store.
    for at in (flushed..used).step_by(61) {
        let mut flipped = honest.clone();
        flipped[at] ^= 1;
        open(&flipped, true).unwrap_or_else(|e| panic!("byte {at} of {used}: {e}"));
        let mut holed = honest.clone();
        let hole = at..used.min(at + 1 + at % 900);
        holed[hole.clone()].fill(0);
        open(&holed, true).unwrap_or_else(|e| panic!("{hole:?} of {used}: {e}"));
    }
}

#[test]
fn what_earlier_builds_have_stored_last_is_read_and_what_this_one_stores_is_not_theirs() {
    let link = [7; 32];
    let stored = stored_last(258, &link);
    assert_eq!(last_applied(&stored), Some((258, Some(link))));
    assert_eq!(last_applied(&stored[..40]), Some((258, Some(link))));
    assert_eq!(last_applied(&stored[..8]), Some((258, None)));
    for other in
        [&stored[..39], &[&stored[..40], &[LAYOUT + 1][..]].concat(), &[&*stored, &[0]].concat(), b""]
    {
        assert_eq!(last_applied(other), None);
    }
    // One of theirs is marked when it is opened.
    let dir = tempfile::tempdir().unwrap();
    let store = DiskStore::open(&inside(&dir)).unwrap();
    store.apply(&put(b"k")).unwrap();
    drop(store);
    let count = |store: &DiskStore| {
        let engine = &store.shared.engine;
        engine.database.snapshot().get(&engine.count, COUNT).unwrap().unwrap()
    };
    let store = DiskStore::open(&inside(&dir)).unwrap();
    let marked = count(&store);
    store.shared.engine.count.insert(COUNT, &marked[..40]).unwrap();
    drop(store);
    let store = DiskStore::open(&inside(&dir)).unwrap();
    assert_eq!(count(&store), marked);
    assert_eq!(store.get(Space::Row, b"k"), Ok(Some(b"v".to_vec())));
}

#[test]
fn a_journal_is_cut_only_where_nothing_is_lost_by_it() {
    let dir = tempfile::tempdir().unwrap();
    let data = inside(&dir);
    let store = DiskStore::open(&data).unwrap();
    store.apply(&put(b"small")).unwrap();
    // They go to the engine alone, and the file beside it stays at the first.
    let large = |n: u8| {
        let mut batch = put(&[n]);
        batch.put(Space::Payload, [n], vec![n; BODY_BYTES_MAX]);
        batch
    };
    store.apply(&large(2)).unwrap();
    let before = fs::read(Tally::path(&data)).unwrap();
    store.apply(&large(3)).unwrap();
    drop(store);
    let journal = data.join("0.jnl");
    let mut holed = fs::read(&journal).unwrap();
    let used = holed.iter().rposition(|byte| *byte != 0).unwrap();
    holed[used - 100_000..used - 90_000].fill(0);
    fs::write(&journal, &holed).unwrap();
    // The third was acknowledged.
    for killed in [false, true] {
        if killed {
            // Right after it was cut.
            assert!(torn::cut(&data).unwrap());
        }
        assert!(matches!(DiskStore::open(&data), Err(OpenError::Engine { .. })));
        assert!(fs::read(&journal).unwrap() == holed);
    }
    // It was not, as far as anybody knows.
    fs::write(Tally::path(&data), before).unwrap();
    let store = DiskStore::open(&data).unwrap();
    assert_eq!(store.scan(Space::Row, b"", None, 9).unwrap().len(), 2);
    assert_eq!(store.get(Space::Payload, &[2]), Ok(Some(vec![2; BODY_BYTES_MAX])));
    assert!(!journal.with_extension("torn").exists());
}

#[test]
fn what_the_engine_lacks_is_read_from_the_file_beside_it_and_from_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let (data, old) = (inside(&dir), dir.path().join("old"));
    drop(DiskStore::open(&data).unwrap());
    copy(&data, &old);
    let store = DiskStore::open(&data).unwrap();
    // The fourth is too large for the file, and the engine flushed for it.
    for n in 0..7u8 {
        let mut batch = put(&[n]);
        batch.put(Space::Payload, [n], vec![n; if n == 3 { BODY_BYTES_MAX } else { 1 }]);
        store.apply(&batch).unwrap();
    }
    drop(store);
    // It begins with the fifth, which does not follow on nothing.
    fs::remove_dir_all(&data).unwrap();
    copy(&old, &data);
    assert!(matches!(DiskStore::open(&data), Err(OpenError::Older { has: 0, acknowledged: 7, .. })));
    // Another past with as many batches.
    fs::remove_file(Tally::path(&data)).unwrap();
    fs::rename(Wal::path(&data), dir.path().join("aside")).unwrap();
    let other = DiskStore::open(&data).unwrap();
    (0..4).for_each(|_| other.apply(&put(b"other")).unwrap());
    drop(other);
    fs::rename(dir.path().join("aside"), Wal::path(&data)).unwrap();
    let other = DiskStore::open(&data).unwrap();
    assert_eq!(other.scan(Space::Row, b"", None, 9).unwrap(), [(b"other".to_vec(), b"v".to_vec())]);
}

#[test]
fn nothing_is_written_once_the_directory_is_another() {
    let dir = tempfile::tempdir().unwrap();
    let data = inside(&dir);
    let store = DiskStore::open(&data).unwrap();
    store.apply(&put(b"a")).unwrap();
    fs::rename(&data, dir.path().join("aside")).unwrap();
    fs::create_dir(&data).unwrap();
    let Err(StoreError::Io(why)) = store.apply(&put(b"b")) else { panic!("written into the void") };
    assert!(why.contains("no longer the directory"));
    assert_eq!(store.get(Space::Row, b"a"), Err(StoreError::Poisoned));
}
