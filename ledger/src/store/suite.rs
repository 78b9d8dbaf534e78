//! The suite every store passes: the sentences of the contract, one function each.
//!
//! It lives in the library so that the crates that bring a store can run it; it panics where a store breaks its word.

use super::{Batch, Overlay, Pair, Space, Store, StoreError, View};

/// Makes an empty store.
pub type Make<'a> = &'a mut dyn FnMut() -> Box<dyn Store>;
/// Closes the store it is given and opens it again on the same medium.
pub type Reopen<'a> = &'a mut dyn FnMut(Box<dyn Store>) -> Box<dyn Store>;

/// Runs every test. `make` gives an empty store each time; `reopen` gets the store that `make` or `reopen` gave last,
/// drops it and opens it again.
///
/// Panics: at the first broken promise.
pub fn run(make: Make<'_>, reopen: Reopen<'_>) {
    an_empty_store_has_nothing(&*make());
    reads_what_was_applied_and_the_last_write_of_a_key_wins(&*make());
    spaces_are_separate(&*make());
    scans_are_half_open_ascending_and_limited(&*make());
    the_last_key_is_found_within_its_bounds(&*make());
    keys_and_values_may_be_any_bytes(&*make());
    an_overlay_agrees_with_applying(&*make());
    what_was_applied_survives_reopening(make(), reopen);
    a_log_survives_reopening(make(), reopen);
    readers_run_beside_the_writer(&*make());
}

/// The value at a key, the same both ways.
fn got(view: &dyn View, space: Space, key: &[u8]) -> Option<Vec<u8>> {
    let (value, mut seen) = (ok(view.get(space, key)), None);
    let is_there = ok(view.look(space, key, &mut |value| seen = Some(value.to_vec())));
    assert_eq!((is_there, &seen), (value.is_some(), &value));
    value
}

fn an_empty_store_has_nothing(store: &dyn Store) {
    for space in Space::ALL {
        assert_eq!(got(store, space, b"k"), None);
        assert_eq!(ok(store.scan(space, b"", None, 10)), []);
        assert_eq!(ok(store.last_with_prefix(space, b"")), None);
    }
    ok(store.apply(&Batch::default()));
}

fn reads_what_was_applied_and_the_last_write_of_a_key_wins(store: &dyn Store) {
    let mut batch = Batch::default();
    batch.put(Space::Row, b"a", b"1");
    batch.put(Space::Row, b"a", b"2");
    batch.put(Space::Row, b"b", b"1");
    batch.delete(Space::Row, b"b");
    batch.delete(Space::Row, b"never");
    ok(store.apply(&batch));
    assert_eq!(got(store, Space::Row, b"a"), Some(b"2".to_vec()));
    assert_eq!(got(store, Space::Row, b"b"), None);
    let mut later = Batch::default();
    later.delete(Space::Row, b"a");
    later.put(Space::Row, b"b", b"3");
    ok(store.apply(&later));
    assert_eq!(ok(store.scan(Space::Row, b"", None, 10)), [pair(b"b", b"3")]);
}

fn spaces_are_separate(store: &dyn Store) {
    let mut batch = Batch::default();
    for space in Space::ALL {
        batch.put(space, b"k", space.name().as_bytes());
    }
    batch.put(Space::Entry, [0xff; 9], b"end");
    ok(store.apply(&batch));
    for space in Space::ALL {
        assert_eq!(got(store, space, b"k"), Some(space.name().as_bytes().to_vec()));
        let expected = if space == Space::Entry { 2 } else { 1 };
        assert_eq!(ok(store.scan(space, b"", None, 10)).len(), expected);
    }
    assert_eq!(ok(store.last_with_prefix(Space::Entry, b"")), Some(pair(&[0xff; 9], b"end")));
}

fn scans_are_half_open_ascending_and_limited(store: &dyn Store) {
    let keys: [&[u8]; 6] = [b"a", b"a\0", b"ab", b"b", b"b\xff", b"\xff"];
    ok(store.apply(&filled(&keys)));
    let found = |from: &[u8], to: Option<&[u8]>, limit: usize| -> Vec<Vec<u8>> {
        ok(store.scan(Space::Row, from, to, limit)).into_iter().map(|(key, _)| key).collect()
    };
    assert_eq!(found(b"", None, 10), keys);
    assert_eq!(found(b"a", Some(b"b"), 10), keys[..3]);
    assert_eq!(found(b"a\0", Some(b"b\xff"), 10), keys[1..4]);
    assert_eq!(found(b"", None, 2), keys[..2]);
    assert_eq!(found(b"", None, 0), keys[..0]);
    assert_eq!(found(b"b", Some(b"b"), 10), keys[..0]);
    assert_eq!(found(b"b", Some(b"a"), 10), keys[..0]);
    let prefix = |prefix: &[u8]| -> Vec<Vec<u8>> {
        ok(store.scan_prefix(Space::Row, prefix, 10)).into_iter().map(|(key, _)| key).collect()
    };
    assert_eq!(prefix(b"a"), keys[..3]);
    assert_eq!(prefix(b"b"), keys[3..5]);
    assert_eq!(prefix(b"\xff"), keys[5..]);
    assert_eq!(prefix(b"c"), keys[..0]);
}

fn the_last_key_is_found_within_its_bounds(store: &dyn Store) {
    let keys: [&[u8]; 4] = [b"p", b"p\x01", b"p\xff\xff", b"q"];
    ok(store.apply(&filled(&keys)));
    let last = |found: Result<Option<Pair>, StoreError>| ok(found).map(|(key, _)| key);
    assert_eq!(last(store.last_with_prefix(Space::Row, b"p")), Some(keys[2].to_vec()));
    assert_eq!(last(store.last_with_prefix(Space::Row, b"")), Some(keys[3].to_vec()));
    assert_eq!(last(store.last_with_prefix(Space::Row, b"r")), None);
    assert_eq!(last(store.last_in(Space::Row, b"p", Some(b"p\xff\xff"))), Some(keys[1].to_vec()));
    assert_eq!(last(store.last_in(Space::Row, b"p", Some(b"p"))), None);
    assert_eq!(last(store.last_in(Space::Row, b"q", Some(b"p"))), None);
}

fn keys_and_values_may_be_any_bytes(store: &dyn Store) {
    let mut batch = Batch::default();
    for byte in 0..=255u8 {
        batch.put(Space::Row, [0, byte, 0], vec![byte; usize::from(byte) * 300]);
    }
    ok(store.apply(&batch));
    for byte in 0..=255u8 {
        let value = got(store, Space::Row, &[0, byte, 0]);
        assert_eq!(value, Some(vec![byte; usize::from(byte) * 300]));
    }
    assert_eq!(ok(store.scan_prefix(Space::Row, &[0], 1000)).len(), 256);
}

fn an_overlay_agrees_with_applying(store: &dyn Store) {
    ok(store.apply(&filled(&[b"a", b"b", b"c", b"d"])));
    let mut overlay = Overlay::new(store);
    overlay.delete(Space::Row, b"a");
    overlay.delete(Space::Row, b"d");
    overlay.put(Space::Row, b"b5", b"new");
    let gets = [b"a", b"b", b"c", b"d"].map(|key| got(&overlay, Space::Row, key));
    let new = got(&overlay, Space::Row, b"b5");
    let seen = ok(overlay.scan(Space::Row, b"", None, 2));
    let last = ok(overlay.last_with_prefix(Space::Row, b""));
    let batch = overlay.into_batch();
    ok(store.apply(&batch));
    assert_eq!([b"a", b"b", b"c", b"d"].map(|key| got(store, Space::Row, key)), gets);
    assert_eq!(got(store, Space::Row, b"b5"), new);
    assert_eq!(ok(store.scan(Space::Row, b"", None, 2)), seen);
    assert_eq!(ok(store.last_with_prefix(Space::Row, b"")), last);
}

fn what_was_applied_survives_reopening(store: Box<dyn Store>, reopen: Reopen<'_>) {
    let mut batch = filled(&[b"a", b"b"]);
    batch.put(Space::Head, b"h", b"1");
    ok(store.apply(&batch));
    let store = reopen(store);
    assert_eq!(got(&*store, Space::Row, b"a"), Some(b"a".to_vec()));
    let mut later = Batch::default();
    later.delete(Space::Row, b"a");
    later.put(Space::Head, b"h", b"2");
    ok(store.apply(&later));
    let store = reopen(store);
    assert_eq!(ok(store.scan(Space::Row, b"", None, 10)), [pair(b"b", b"b")]);
    assert_eq!(got(&*store, Space::Head, b"h"), Some(b"2".to_vec()));
}

fn a_log_survives_reopening(mut store: Box<dyn Store>, reopen: Reopen<'_>) {
    let key = crypto::sign::SigningKey::from_seed(&crypto::secret::Secret::new([5; 32]));
    for round in 0..3u64 {
        let mut log = must(crate::Log::open("l", "origin", &*store));
        assert_eq!(log.next_index().0, round * 200);
        for i in 0..200u64 {
            must(log.append((round * 200 + i).to_be_bytes().to_vec()));
        }
        let mut batch = Batch::default();
        must(log.seal(&key, &*store, &mut batch));
        ok(store.apply(&batch));
        store = reopen(store);
    }
    assert_eq!(ok(crate::log::size(&*store, "l")).0, 600);
    let entries = ok(crate::log::entries(&*store, "l", crate::LeafIndex(0), 600));
    assert_eq!(entries.len(), 600);
}

fn readers_run_beside_the_writer(store: &dyn Store) {
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..200 {
                    let seen = ok(store.scan(Space::Row, b"", None, 10));
                    // Each batch writes one number everywhere, so half a batch would show as two.
                    assert!(seen.windows(2).all(|pair| pair[0].1 == pair[1].1), "a scan saw half a batch");
                }
            });
        }
        for round in 0..50u8 {
            let mut batch = Batch::default();
            for key in 0..5u8 {
                batch.put(Space::Row, [key], [round]);
            }
            ok(store.apply(&batch));
        }
    });
}

fn filled(keys: &[&[u8]]) -> Batch {
    let mut batch = Batch::default();
    for key in keys {
        batch.put(Space::Row, *key, *key);
    }
    batch
}

fn pair(key: &[u8], value: &[u8]) -> Pair {
    (key.to_vec(), value.to_vec())
}

fn ok<T>(result: Result<T, StoreError>) -> T {
    must(result)
}

#[track_caller]
fn must<T, E: core::fmt::Display>(result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("the store failed: {error}"),
    }
}
