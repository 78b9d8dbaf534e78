//! One log in a store: every size, every grouping of appends, and every fault on the way.

use super::*;
use crate::store::{
    Overlay, Store,
    memory::{Fault, Image, MemoryStore},
};
use crypto::secret::Secret;
use proptest::prelude::*;

fn key() -> SigningKey {
    SigningKey::from_seed(&Secret::new([7; 32]))
}

fn entry_of(i: u64) -> Vec<u8> {
    let mut entry = i.to_be_bytes().to_vec();
    entry.resize(8 + (i % 5) as usize, b'.');
    entry
}

fn extend(log: &mut Log, store: &MemoryStore, n: u64) {
    for _ in 0..n {
        let index = log.next_index();
        assert_eq!(log.append(entry_of(index.0)), Ok(index));
    }
    let mut batch = Batch::default();
    log.seal(&key(), store, &mut batch).unwrap();
    store.apply(&batch).unwrap();
}

fn opened(store: &MemoryStore) -> Log {
    Log::open("l", "origin", store).unwrap()
}

/// Sizes at which everything is compared with the definition; the rest of 0..=773 get roots and edges only.
const SIZES: u64 = 3 * 256 + 5;

#[test]
fn tiles_roots_and_proofs_are_those_of_the_definition_at_every_size() {
    let store = MemoryStore::default();
    let mut log = opened(&store);
    let leaves: Vec<Digest> = (0..SIZES).map(|i| leaf_hash(&entry_of(i))).collect();
    for n in 0..=SIZES {
        if n > 0 {
            extend(&mut log, &store, 1);
        } else {
            extend(&mut log, &store, 0);
        }
        let size = TreeSize(n);
        let root = list_root(&leaves[..n as usize]);
        let head = head(&store, "l").unwrap().unwrap();
        assert_eq!((head.claimed().size, head.claimed().root), (size, root));
        assert_eq!(super::root(&store, "l", size), Ok(root));
        check_tiles(&store, &leaves[..n as usize]);
        // All pairs would be 300,000 proofs; the places where widths change, and a stride through the rest.
        let near = |m: u64| m % 61 == n % 61 || m % 256 < 2 || m % 256 > 253 || m + 3 > n;
        for m in (0..n).filter(|m| near(*m)) {
            let path = inclusion(&store, "l", LeafIndex(m), size).unwrap();
            assert_eq!(path, crypto::merkle::path(&leaves[..n as usize], m as usize));
            let old = list_root(&leaves[..m as usize]);
            let path = consistency(&store, "l", TreeSize(m), size).unwrap();
            assert_eq!(proof::verify_consistency(TreeSize(m), size, &old, &root, &path), Ok(()));
        }
        assert_eq!(inclusion(&store, "l", LeafIndex(n), size), Err(LogError::OutOfRange { size }));
        assert_eq!(consistency(&store, "l", size, TreeSize(n + 1)), Err(LogError::OutOfRange { size }));
    }
    // Proofs about older, smaller trees come from the same widest tiles.
    for n in (1..=SIZES).step_by(7) {
        let path = inclusion(&store, "l", LeafIndex(n / 2), TreeSize(n)).unwrap();
        assert_eq!(path, crypto::merkle::path(&leaves[..n as usize], (n / 2) as usize));
    }
}

fn check_tiles(store: &MemoryStore, leaves: &[Digest]) {
    let size = leaves.len() as u64;
    let full: Vec<Digest> = leaves.chunks_exact(256).map(list_root).collect();
    for (level, row) in [leaves, &full].into_iter().enumerate() {
        for n in 0..=row.len() as u64 / 256 {
            let hashes = row.chunks(256).nth(n as usize).unwrap_or_default();
            assert_eq!(usize::from(width_at(level as u8, n, TreeSize(size))), hashes.len());
            for width in [1, 2, hashes.len() / 2, hashes.len(), hashes.len() + 1] {
                let Some(at) = Tile::hashes(level as u8, n, width as u16) else { continue };
                let bytes = tile(store, "l", &at).unwrap();
                let expected = hashes.get(..width).map(encode_hashes);
                assert_eq!(bytes, expected, "{} at size {size}", at.path());
                let at = Tile::entries(n, width as u16).unwrap();
                if level == 0 {
                    let bytes = bundle(store, "l", &at).unwrap();
                    assert_eq!(bytes.is_some(), width <= hashes.len());
                    let entries: Vec<Vec<u8>> = (0..width as u64).map(|i| entry_of(n * 256 + i)).collect();
                    assert!(bytes.is_none_or(|bytes| decode_bundle(&bytes).unwrap() == entries));
                }
            }
        }
    }
    assert_eq!(tile(store, "l", &Tile::hashes(2, 0, 1).unwrap()), Ok(None));
    assert_eq!(tile(store, "l", &Tile::hashes(63, 0, 1).unwrap()), Ok(None));
    assert_eq!(bundle(store, "l", &Tile::entries(u64::MAX, 1).unwrap()), Ok(None));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_grouping_of_appends_gives_the_same_log(groups in proptest::collection::vec(0u64..300, 1..8), reopen: bool) {
        let (grouped, whole) = (MemoryStore::default(), MemoryStore::default());
        let mut log = opened(&grouped);
        extend(&mut log, &grouped, 0);
        for group in &groups {
            extend(&mut log, &grouped, *group);
            if reopen {
                log = opened(&grouped);
            }
        }
        let mut log = opened(&whole);
        extend(&mut log, &whole, groups.iter().sum());
        prop_assert_eq!(published(&grouped), published(&whole));
    }
}

/// What is stored, with the entries as they are read and not as they lie.
fn published(store: &MemoryStore) -> (Image, Vec<Vec<u8>>) {
    let mut image = store.snapshot();
    for (space, key, _) in store.snapshot().iter().filter(|(space, ..)| *space == Space::Entry) {
        image.set(space, key, None);
    }
    (image, entries(store, "l", LeafIndex(0), usize::MAX).unwrap())
}

#[test]
fn an_append_touches_only_the_right_edge() {
    let store = MemoryStore::default();
    let mut log = opened(&store);
    extend(&mut log, &store, 70_000);
    log.append(b"x".to_vec()).unwrap();
    let mut batch = Batch::default();
    log.seal(&key(), &store, &mut batch).unwrap();
    // One entry, one level-0 tile, one head; nothing above changes until the tile is full.
    assert_eq!(batch.len(), 3);
}

#[test]
fn pending_entries_are_seen_by_the_writer_and_can_be_discarded() {
    let store = MemoryStore::default();
    let mut log = opened(&store);
    assert_eq!(log.last_leaf(), Digest::ZERO);
    extend(&mut log, &store, 3);
    let last = log.last_leaf();
    assert_eq!(last, leaf_hash(&entry_of(2)));
    assert_eq!(log.append(b"new".to_vec()), Ok(LeafIndex(3)));
    assert_eq!((log.next_index(), log.sealed_size()), (LeafIndex(4), TreeSize(3)));
    assert_eq!(log.last_leaf(), leaf_hash(b"new"));
    assert_eq!((log.pending(LeafIndex(3)), log.pending(LeafIndex(2))), (Some(&b"new"[..]), None));
    assert_eq!(entry(&store, "l", LeafIndex(3)), Ok(None));
    log.discard_pending();
    assert_eq!((log.next_index(), log.last_leaf(), log.has_pending()), (LeafIndex(3), last, false));
    extend(&mut log, &store, 1);
    assert_eq!(opened(&store).last_leaf(), leaf_hash(&entry_of(3)));
}

#[test]
fn refuses_an_entry_over_the_limit_and_stays_as_it_was() {
    let store = MemoryStore::default();
    let mut log = opened(&store);
    let len = ENTRY_BYTES_MAX + 1;
    assert_eq!(log.append(vec![0; len]), Err(LogError::EntryTooLong { len }));
    assert_eq!((log.next_index(), log.has_pending()), (LeafIndex(0), false));
    assert_eq!(log.append(vec![0; ENTRY_BYTES_MAX]), Ok(LeafIndex(0)));
    assert_eq!(log.append(Vec::new()), Ok(LeafIndex(1)));
}

#[test]
fn several_seals_share_one_batch_through_an_overlay() {
    let store = MemoryStore::default();
    let mut log = opened(&store);
    let mut overlay = Overlay::new(&store);
    for i in 0..600 {
        log.append(entry_of(i)).unwrap();
        let mut batch = Batch::default();
        log.seal(&key(), &overlay, &mut batch).unwrap();
        overlay.absorb(batch);
    }
    let batch = overlay.into_batch();
    store.apply(&batch).unwrap();
    let whole = MemoryStore::default();
    extend(&mut opened(&whole), &whole, 600);
    assert_eq!(published(&store), published(&whole));
}

#[test]
fn refuses_to_open_when_any_part_of_the_right_edge_disagrees() {
    let store = MemoryStore::default();
    extend(&mut opened(&store), &store, 300);
    let image = store.snapshot();
    let damaged = |change: &dyn Fn(&mut Image)| {
        let mut image = image.clone();
        change(&mut image);
        Log::open("l", "origin", &MemoryStore::restore(image)).unwrap_err()
    };
    let disagrees = |error: LogError| matches!(error, LogError::Disagree { .. });
    for key in [piece_key("l", 256), piece_key("l", 288), tile_key("l", 1, 0)] {
        let mut flipped = store.get(Space::Tile, &key).unwrap().unwrap();
        flipped[20] ^= 1;
        assert!(disagrees(damaged(&|image| image.set(Space::Tile, &key, Some(flipped.clone())))));
    }
    assert!(disagrees(damaged(&|image| image.set(Space::Entry, &entry_key("l", 299), None))));
    assert!(disagrees(damaged(&|image| image.set(Space::Entry, &entry_key("l", 300), Some(vec![])))));
    assert!(disagrees(damaged(&|image| image.set(Space::Entry, &entry_key("l", 299), Some(vec![])))));
    assert!(disagrees(damaged(&|image| image.set(Space::Head, b"l", None))));
    let other = Checkpoint { origin: "other".into(), size: TreeSize(0), root: crate::tree::empty_root() };
    let other = other.sign(&key()).as_str().as_bytes().to_vec();
    assert!(disagrees(damaged(&|image| image.set(Space::Head, b"l", Some(other.clone())))));
    for gone in [
        damaged(&|image| image.set(Space::Tile, &piece_key("l", 256), None)),
        damaged(&|image| image.set(Space::Tile, &piece_key("l", 288), None)),
        damaged(&|image| image.set(Space::Head, b"l", Some(b"x".to_vec()))),
    ] {
        assert!(matches!(gone, LogError::Store(StoreError::Corrupt { .. })));
    }
    assert!(Log::open("l", "origin", &MemoryStore::restore(image.clone())).is_ok());
}

#[test]
fn signs_nothing_when_two_paths_give_two_roots() {
    let store = MemoryStore::default();
    let mut log = opened(&store);
    extend(&mut log, &store, 300);
    // One bit of a stored leaf hash: of the piece that is written again, at once; of another, where all are hashed again, when
    // the tile becomes full.
    let mut batch = Batch::default();
    for (piece, to) in [(288, 301), (256, 512)] {
        let mut image = store.snapshot();
        let mut flipped = store.get(Space::Tile, &piece_key("l", piece)).unwrap().unwrap();
        flipped[0] ^= 1;
        image.set(Space::Tile, &piece_key("l", piece), Some(flipped));
        for i in 300..to {
            log.append(entry_of(i)).unwrap();
        }
        let sealed = log.seal(&key(), &MemoryStore::restore(image), &mut batch);
        assert!(matches!(sealed, Err(LogError::Disagree { .. })));
        log.discard_pending();
    }
    // In memory: of the tree that is sealed, from which both others are made then.
    let sealed = log.sealed.clone();
    log.sealed.append(leaf_hash(b"another"));
    log.discard_pending();
    log.append(entry_of(300)).unwrap();
    assert!(matches!(log.seal(&key(), &store, &mut batch), Err(LogError::Disagree { .. })));
    log.sealed = sealed;
    log.discard_pending();
    // Of a peak while appending, and of an entry after it was hashed.
    log.append(entry_of(300)).unwrap();
    let appended = log.frontier.clone();
    log.frontier = log.sealed.clone();
    log.frontier.append(leaf_hash(b"another"));
    assert!(matches!(log.seal(&key(), &store, &mut batch), Err(LogError::Disagree { .. })));
    log.frontier = appended;
    log.pending[0][0] ^= 1;
    assert!(matches!(log.seal(&key(), &store, &mut batch), Err(LogError::Disagree { .. })));
    assert!(batch.is_empty());
    // The log is as it was, so the cause removed, it seals.
    log.pending[0][0] ^= 1;
    assert!(log.seal(&key(), &store, &mut batch).is_ok());
}

#[test]
fn a_mirror_takes_exactly_the_entries_of_the_checkpoint() {
    let store = MemoryStore::default();
    let mut log = opened(&store);
    extend(&mut log, &store, 10);
    let note = head(&store, "l").unwrap().unwrap();
    let mut mirror = Log::open("mirror/sh/l", "origin", &store).unwrap();
    for i in 0..9 {
        mirror.append(entry_of(i)).unwrap();
    }
    let mut batch = Batch::default();
    let disagrees = |result| matches!(result, Err(LogError::Disagree { .. }));
    assert!(disagrees(mirror.seal_mirror(&note, note.claimed(), &store, &mut batch)));
    mirror.append(b"forged".to_vec()).unwrap();
    assert!(disagrees(mirror.seal_mirror(&note, note.claimed(), &store, &mut batch)));
    mirror.discard_pending();
    for i in 0..10 {
        mirror.append(entry_of(i)).unwrap();
    }
    let smaller = Checkpoint { size: TreeSize(9), ..note.claimed().clone() };
    assert!(disagrees(mirror.seal_mirror(&note, &smaller, &store, &mut batch)));
    assert!(batch.is_empty());
    mirror.seal_mirror(&note, note.claimed(), &store, &mut batch).unwrap();
    store.apply(&batch).unwrap();
    assert_eq!(head(&store, "mirror/sh/l").unwrap().unwrap(), note);
    assert_eq!(entries(&store, "mirror/sh/l", LeafIndex(0), 99), entries(&store, "l", LeafIndex(0), 99));
    assert_eq!(Log::open("mirror/sh/l", "origin", &store).unwrap().next_index(), LeafIndex(10));
}

#[test]
fn after_a_failed_apply_a_restart_continues_from_either_side_of_the_batch() {
    for (fault, found) in [(Fault::Lost, 5), (Fault::Persisted, 7)] {
        let store = MemoryStore::default();
        let mut log = opened(&store);
        extend(&mut log, &store, 5);
        log.append(entry_of(5)).unwrap();
        log.append(entry_of(6)).unwrap();
        let mut batch = Batch::default();
        log.seal(&key(), &store, &mut batch).unwrap();
        store.fail_next_apply(fault);
        assert!(store.apply(&batch).is_err());
        let store = MemoryStore::restore(store.snapshot());
        // The restart itself meets a fault once, and then goes on.
        store.fail_next_read();
        assert!(matches!(Log::open("l", "origin", &store), Err(LogError::Store(StoreError::Io(_)))));
        let mut log = opened(&store);
        assert_eq!(log.next_index(), LeafIndex(found));
        extend(&mut log, &store, 300);
        assert_eq!(opened(&store).next_index(), LeafIndex(found + 300));
    }
}

#[test]
fn a_missing_entry_or_tile_below_the_size_is_an_error_and_never_an_empty_answer() {
    let store = MemoryStore::default();
    extend(&mut opened(&store), &store, 300);
    let mut image = store.snapshot();
    image.set(Space::Entry, &bundle_key("l", 0), None);
    image.set(Space::Tile, &tile_key("l", 0, 0), None);
    let store = MemoryStore::restore(image);
    let corrupt = |gone: bool| assert!(gone);
    corrupt(matches!(entry(&store, "l", LeafIndex(17)), Err(StoreError::Corrupt { .. })));
    corrupt(matches!(entries(&store, "l", LeafIndex(10), 20), Err(StoreError::Corrupt { .. })));
    corrupt(matches!(bundle(&store, "l", &Tile::entries(0, 256).unwrap()), Err(StoreError::Corrupt { .. })));
    corrupt(matches!(tile(&store, "l", &Tile::hashes(0, 0, 1).unwrap()), Err(StoreError::Corrupt { .. })));
    corrupt(matches!(
        inclusion(&store, "l", LeafIndex(3), TreeSize(300)),
        Err(LogError::Store(StoreError::Corrupt { .. }))
    ));
    assert_eq!(entries(&store, "l", LeafIndex(290), 99).unwrap().len(), 10);
    assert_eq!(entries(&store, "l", LeafIndex(300), 9), Ok(vec![]));
    assert_eq!(entries(&store, "l", LeafIndex(u64::MAX), 9), Ok(vec![]));
    assert_eq!(entries(&store, "nowhere", LeafIndex(0), 9), Ok(vec![]));
}

#[test]
fn an_entry_is_written_once_and_stays_where_it_is() {
    let store = MemoryStore::default();
    let mut log = opened(&store);
    let mut expected: Vec<Vec<u8>> = Vec::new();
    // Alone; over a tile's end; whole bundles with what is before and behind; exactly up to an end, and one from there.
    for more in [250u64, 10, 700, 64, 256, 1, 255, 512] {
        let before = MemoryStore::restore(store.snapshot());
        let old = expected.len() as u64;
        for index in old..old + more {
            log.append(entry_of(index)).unwrap();
            expected.push(entry_of(index));
        }
        let mut batch = Batch::default();
        log.seal(&key(), &store, &mut batch).unwrap();
        store.apply(&batch).unwrap();
        let written = batch.iter().filter(|(space, ..)| *space == Space::Entry);
        let mut entries = 0;
        for (space, key, value) in written {
            assert_eq!(before.get(space, key), Ok(None), "{old} {more}");
            entries += if key[2] == BUNDLE { decode_bundle(value.unwrap()).unwrap().len() } else { 1 };
        }
        assert_eq!(entries as u64, more);
        assert_eq!(published(&store).1, expected);
        opened(&store);
    }
    let bundles =
        store.scan(Space::Entry, &bundle_key("l", 0), Some(&bundle_key("l", u64::MAX)), 99).unwrap();
    let bundles: Vec<u8> = bundles.iter().map(|(key, _)| *key.last().unwrap()).collect();
    assert_eq!(bundles, [2, 4, 6, 7]);
}

#[test]
fn extends_only_the_checkpoint_that_is_stored() {
    let store = MemoryStore::default();
    let mut first = Log::open("l", "o", &store).unwrap();
    let mut second = first.clone();
    for (log, entry) in [(&mut first, "a"), (&mut second, "b")] {
        log.append(entry.into()).unwrap();
    }
    let mut batch = Batch::default();
    first.seal(&key(), &store, &mut batch).unwrap();
    store.apply(&batch).unwrap();
    let older = store.snapshot();
    // Another writer has been there meanwhile.
    assert!(matches!(second.seal(&key(), &store, &mut Batch::default()), Err(LogError::Disagree { .. })));
    first.append(b"c".to_vec()).unwrap();
    let mut batch = Batch::default();
    first.seal(&key(), &store, &mut batch).unwrap();
    store.apply(&batch).unwrap();
    // The store was put back underneath.
    first.append(b"d".to_vec()).unwrap();
    let older = MemoryStore::restore(older);
    assert!(matches!(first.seal(&key(), &older, &mut Batch::default()), Err(LogError::Disagree { .. })));
    assert!(first.seal(&key(), &store, &mut Batch::default()).is_ok());
}

/// The store as it is before and after a batch, changing sides after a number of reads: a reader beside the writer.
struct Passing<'a> {
    before: &'a MemoryStore,
    after: &'a MemoryStore,
    left: core::cell::Cell<u32>,
}

impl Passing<'_> {
    fn side(&self) -> &MemoryStore {
        let left = self.left.get();
        self.left.set(left.saturating_sub(1));
        if left > 0 { self.before } else { self.after }
    }
}

impl View for Passing<'_> {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.side().get(space, key)
    }
    fn scan(
        &self,
        space: Space,
        from: &[u8],
        to: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<crate::store::Pair>, StoreError> {
        self.side().scan(space, from, to, limit)
    }
    fn last_in(
        &self,
        space: Space,
        from: &[u8],
        to: Option<&[u8]>,
    ) -> Result<Option<crate::store::Pair>, StoreError> {
        self.side().last_in(space, from, to)
    }
}

#[test]
fn readers_find_everything_while_the_writer_makes_a_tile_full() {
    let (before, after) = (MemoryStore::default(), MemoryStore::default());
    extend(&mut opened(&before), &before, 255);
    extend(&mut opened(&after), &after, 255);
    extend(&mut opened(&after), &after, 300);
    let whole: Vec<Vec<u8>> = (0..555).map(entry_of).collect();
    for left in 0..8 {
        let view = || Passing { before: &before, after: &after, left: left.into() };
        assert_eq!(entry(&view(), "l", LeafIndex(7)), Ok(Some(entry_of(7))));
        let read = entries(&view(), "l", LeafIndex(3), 600).unwrap();
        assert_eq!(read, whole[3..3 + read.len()]);
        assert!(read.len() >= 252);
        let partial = bundle(&view(), "l", &Tile::entries(0, 255).unwrap()).unwrap().unwrap();
        assert_eq!(decode_bundle(&partial).unwrap(), whole[..255]);
        let hashes = tile(&view(), "l", &Tile::hashes(0, 0, 255).unwrap()).unwrap().unwrap();
        assert_eq!(hashes, tile(&before, "l", &Tile::hashes(0, 0, 255).unwrap()).unwrap().unwrap());
    }
}

#[test]
fn a_small_batch_writes_no_whole_tile_and_one_that_fills_a_tile_leaves_no_piece() {
    let store = MemoryStore::default();
    let mut log = opened(&store);
    for i in 0..300u64 {
        log.append(entry_of(i)).unwrap();
        let mut batch = Batch::default();
        log.seal(&key(), &store, &mut batch).unwrap();
        let tiles: usize = batch
            .iter()
            .filter(|(space, _, _)| *space == Space::Tile)
            .map(|(_, _, value)| value.map_or(0, <[u8]>::len))
            .sum();
        assert!(i == 255 || tiles <= 16 * 32, "{i}: {tiles} bytes");
        store.apply(&batch).unwrap();
        let (from, to) = (piece_key("l", 0), piece_key("l", u64::MAX));
        let pieces = store.scan(Space::Tile, &from, Some(&to), usize::MAX).unwrap();
        assert_eq!(pieces.len() as u64, (i + 1 - (i + 1) / 256 * 256).div_ceil(16), "{i}");
    }
}

#[test]
fn a_store_of_an_earlier_build_is_read_and_extended() {
    for (had, steps) in
        [(300, &[1, 3, 20, 200, 300][..]), (304, &[1, 300]), (257, &[15, 1]), (300, &[212, 1]), (16, &[0, 5])]
    {
        let store = MemoryStore::default();
        extend(&mut opened(&store), &store, had);
        // It had the open tile whole.
        let mut image = store.snapshot();
        let (n, begin) = (had / 256, had / 256 * 256);
        let open = Tile::hashes(0, n, (had - begin) as u16).unwrap();
        let whole = tile(&store, "l", &open).unwrap();
        for first in (begin..had).step_by(16) {
            image.set(Space::Tile, &piece_key("l", first), None);
        }
        image.set(Space::Tile, &tile_key("l", 0, n), whole.clone());
        let earlier = MemoryStore::restore(image);
        assert_eq!(tile(&earlier, "l", &open).unwrap(), whole);
        for more in steps {
            extend(&mut opened(&earlier), &earlier, *more);
            extend(&mut opened(&store), &store, *more);
            let size = size(&store, "l").unwrap();
            assert_eq!(root(&earlier, "l", size), root(&store, "l", size));
            let last = Tile::hashes(0, (size.0 - 1) / 256, ((size.0 - 1) % 256 + 1) as u16).unwrap();
            assert_eq!(tile(&earlier, "l", &last), tile(&store, "l", &last));
            opened(&earlier);
        }
        // Nothing is left of it once its tile is full.
        let is_full = size(&store, "l").unwrap().0 / 256 > n;
        assert_eq!(earlier.snapshot() == store.snapshot(), is_full, "{had} {steps:?}");
    }
}

#[test]
fn a_checkpoint_that_is_signed_anew_writes_nothing_else() {
    let store = MemoryStore::default();
    let mut log = opened(&store);
    extend(&mut log, &store, 300);
    log.renew();
    let mut batch = Batch::default();
    assert!(log.seal(&key(), &store, &mut batch).unwrap().is_none());
    assert_eq!(batch.iter().map(|(space, ..)| space).collect::<Vec<_>>(), [Space::Head]);
}
