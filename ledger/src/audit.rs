//! Auditing a whole published log: every entry, every tile, the root and the log's signature.
//!
//! The walk recomputes everything from the entries upward and compares with what is published as each tile completes,
//! so memory holds a few tiles and one bundle, whatever the size. What it does not know is the meaning of an entry: a
//! visitor sees each one, to check the `prev` chain or signatures inside.

use core::{cell::RefCell, fmt};
use std::collections::{BTreeMap, btree_map::Entry};

use crypto::{
    Digest,
    merkle::{leaf_hash, node_hash, root as list_root, split},
};

use crate::{
    checkpoint::{Checkpoint, SignedCheckpoint},
    log::tile_range,
    note::{NoteError, NoteKey},
    proof::{Nodes, range_root},
    store::StoreError,
    tile::{TILE_WIDTH, Tile, decode_hashes, split_bundle, width_at},
    tree::{Frontier, LeafIndex, TreeSize},
};

/// A published log, wherever it is: a directory, a node, a store.
pub trait LogSource {
    /// The checkpoint the audit measures against, fetched before: the log may grow meanwhile.
    fn checkpoint(&self) -> String;

    /// The bytes at `path` (a tile or bundle path below the log's prefix); `None` when the log does not have it.
    ///
    /// Errors: a reason, when it is unknown whether the log has it.
    fn resource(&self, path: &str) -> Result<Option<Vec<u8>>, String>;
}

/// What is wrong with a log. Where entry and tile differ, the one that does not lead to the signed root is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditError {
    /// The checkpoint is malformed, of another log or not signed by it.
    Checkpoint(NoteError),
    /// The first entry that is not what the log committed to.
    EntryAltered {
        /// Its index.
        index: LeafIndex,
    },
    /// A tile that is not what the log committed to.
    TileAltered {
        /// Its path.
        path: String,
    },
    /// A tile or bundle that the checkpoint implies and the log does not have.
    Missing {
        /// Its path.
        path: String,
    },
    /// Entries and tiles agree with each other and not with the signed root.
    RootAltered,
    /// The source could not say.
    Source {
        /// What was asked for.
        path: String,
        /// Its reason.
        why: String,
    },
    /// The visitor found fault with an entry.
    Visitor {
        /// Index of the entry.
        index: LeafIndex,
        /// Its reason.
        why: String,
    },
}

impl fmt::Display for AuditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Checkpoint(error) => write!(f, "checkpoint: {error}"),
            Self::EntryAltered { index } => write!(f, "entry {index} was altered"),
            Self::TileAltered { path } => write!(f, "`{path}` was altered"),
            Self::Missing { path } => write!(f, "`{path}` is missing"),
            Self::RootAltered => f.write_str("the log does not have the root it signed"),
            Self::Source { path, why } => write!(f, "`{path}` could not be read: {why}"),
            Self::Visitor { index, why } => write!(f, "entry {index}: {why}"),
        }
    }
}

impl std::error::Error for AuditError {}

/// What sees each entry: its index, its bytes and its leaf hash. An error ends the audit.
pub type Visitor<'a> = &'a mut dyn FnMut(LeafIndex, &[u8], &Digest) -> Result<(), String>;

/// Verifies the whole log under the checkpoint of `source`, signed by `key`, and returns the checkpoint.
///
/// Shape: streaming, one pass in order. `visitor` sees an entry once its whole bundle agrees with its level-0 tile.
/// Errors: every [`AuditError`]; the first damage in the order of entries.
pub fn audit(source: &dyn LogSource, key: &NoteKey, visitor: Visitor<'_>) -> Result<Checkpoint, AuditError> {
    let note = SignedCheckpoint::parse(&source.checkpoint()).map_err(AuditError::Checkpoint)?;
    let checkpoint = note.verify(key).map_err(AuditError::Checkpoint)?;
    let mut walk = Walk { source, checkpoint: &checkpoint, rows: Vec::new(), frontier: Frontier::default() };
    for n in 0..checkpoint.size.0.div_ceil(TILE_WIDTH) {
        walk.bundle(n, visitor)?;
    }
    walk.finish()?;
    if walk.frontier.root() != checkpoint.root {
        return Err(AuditError::RootAltered);
    }
    Ok(checkpoint)
}

struct Walk<'a> {
    source: &'a dyn LogSource,
    checkpoint: &'a Checkpoint,
    /// For each level from 1 up: index of the tile being completed and its hashes so far, fewer than 256.
    rows: Vec<(u64, Vec<Digest>)>,
    frontier: Frontier,
}

impl Walk<'_> {
    fn bundle(&mut self, n: u64, visitor: Visitor<'_>) -> Result<(), AuditError> {
        let width = width_at(0, n, self.checkpoint.size);
        let Some(at) = Tile::entries(n, width) else { return Ok(()) };
        let bytes = fetch(self.source, at)?;
        let (entries, _) = split_bundle(&bytes);
        let published = hashes(self.source, 0, n, width)?;
        let first = n * TILE_WIDTH;
        let computed: Vec<Digest> =
            entries.iter().take(usize::from(width)).map(|entry| leaf_hash(entry)).collect();
        self.compare(0, n, &published, &computed)?;
        // Bytes after the last entry belong to no entry; in a full bundle fetched for a partial one they are later ones.
        let exact = encoded_len(&entries) == bytes.len();
        if !exact || (entries.len() != usize::from(width) && entries.len() as u64 != TILE_WIDTH) {
            return Err(AuditError::EntryAltered { index: LeafIndex(first + u64::from(width) - 1) });
        }
        for ((index, entry), hash) in (first..).zip(&entries).zip(&computed) {
            let index = LeafIndex(index);
            visitor(index, entry, hash).map_err(|why| AuditError::Visitor { index, why })?;
            self.frontier.append(*hash);
        }
        if u64::from(width) == TILE_WIDTH { self.rise(1, list_root(&computed)) } else { Ok(()) }
    }

    /// Adds the root of a completed tile to the row above, and compares that row's tile when it is complete itself.
    fn rise(&mut self, level: u8, hash: Digest) -> Result<(), AuditError> {
        let at = usize::from(level) - 1;
        if self.rows.len() == at {
            self.rows.push((0, Vec::new()));
        }
        let (n, row) = &mut self.rows[at];
        row.push(hash);
        if (row.len() as u64) < TILE_WIDTH {
            return Ok(());
        }
        let (n, row) = (core::mem::replace(n, *n + 1), core::mem::take(row));
        self.row(level, n, &row)?;
        self.rise(level + 1, list_root(&row))
    }

    /// Compares the partial tiles of the right edge, lowest first.
    fn finish(&self) -> Result<(), AuditError> {
        for (level, (n, row)) in (1..).zip(&self.rows) {
            if !row.is_empty() {
                self.row(level, *n, row)?;
            }
        }
        Ok(())
    }

    fn row(&self, level: u8, n: u64, computed: &[Digest]) -> Result<(), AuditError> {
        let published = hashes(self.source, level, n, computed.len() as u16)?;
        self.compare(level, n, &published, computed)
    }

    /// Compares a published tile with what the entries give, and says which of the two is wrong.
    ///
    /// `computed` may be shorter at level 0, where a damaged bundle has fewer entries than it should.
    fn compare(
        &self,
        level: u8,
        n: u64,
        published: &[Digest],
        computed: &[Digest],
    ) -> Result<(), AuditError> {
        if published == computed {
            return Ok(());
        }
        let wrong = published.iter().zip(computed).take_while(|(p, c)| p == c).count();
        let first = n * TILE_WIDTH + wrong as u64;
        let signed = |tile: &[Digest]| self.leads_to_root(level, n, first, tile);
        let tile_path = |level: u8, n: u64| {
            let width = width_at(level, n, self.checkpoint.size);
            Tile::hashes(level, n, width).map_or_else(String::new, |tile| tile.path())
        };
        // Whichever of the two leads to the signed root is right. At level 0, when neither does, more than one thing was
        // altered, and the entry is named; above, the entries already agree with every tile below this one.
        if computed.len() == published.len() && !signed(published) && (level > 0 || signed(computed)) {
            return Err(AuditError::TileAltered { path: tile_path(level, n) });
        }
        // Above level 0 this means that entries and the tile below were altered together to agree.
        Err(match level {
            0 => AuditError::EntryAltered { index: LeafIndex(first) },
            _ => AuditError::TileAltered { path: tile_path(level - 1, first) },
        })
    }

    /// Whether hash `first` (counted over the whole level) of this version of a tile, with every other published tile,
    /// gives the signed root.
    fn leads_to_root(&self, level: u8, n: u64, first: u64, tile: &[Digest]) -> bool {
        let nodes = PublishedNodes {
            source: self.source,
            size: self.checkpoint.size,
            instead: (level, n, tile),
            read: RefCell::default(),
        };
        let shift = 8 * u32::from(level);
        let target = (first << shift, (first + 1) << shift);
        tile.get((first % TILE_WIDTH) as usize).is_some_and(|hash| {
            root_through(&nodes, 0, self.checkpoint.size.0, target, hash) == Ok(self.checkpoint.root)
        })
    }
}

/// Root over leaves `lo..hi` with `value` taken for the perfect subtree over the leaves `target`.
fn root_through(
    nodes: &dyn Nodes,
    lo: u64,
    hi: u64,
    target: (u64, u64),
    value: &Digest,
) -> Result<Digest, StoreError> {
    if (lo, hi) == target {
        return Ok(*value);
    }
    if hi - lo < 2 {
        return Err(StoreError::Corrupt { what: "a subtree outside the tree".to_owned() });
    }
    let middle = lo + split(hi - lo);
    Ok(if target.0 < middle {
        node_hash(&root_through(nodes, lo, middle, target, value)?, &range_root(nodes, middle, hi)?)
    } else {
        node_hash(&range_root(nodes, lo, middle)?, &root_through(nodes, middle, hi, target, value)?)
    })
}

/// The published nodes, with one tile taken from elsewhere. Lives for one question, so its memory is a few tiles.
struct PublishedNodes<'a> {
    source: &'a dyn LogSource,
    size: TreeSize,
    instead: (u8, u64, &'a [Digest]),
    read: RefCell<BTreeMap<(u8, u64), Vec<Digest>>>,
}

impl Nodes for PublishedNodes<'_> {
    fn node(&self, level: u8, index: u64) -> Result<Digest, StoreError> {
        let (row, n, range) = tile_range(level, index);
        let short = || StoreError::Corrupt { what: format!("tile {row}/{n}") };
        if (row, n) == (self.instead.0, self.instead.1) {
            return self.instead.2.get(range).map(list_root).ok_or_else(short);
        }
        let mut read = self.read.borrow_mut();
        let tile = match read.entry((row, n)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let tile = hashes(self.source, row, n, width_at(row, n, self.size));
                place.insert(tile.map_err(|e| StoreError::Io(e.to_string()))?)
            }
        };
        tile.get(range).map(list_root).ok_or_else(short)
    }
}

/// The hashes of a published tile.
fn hashes(source: &dyn LogSource, level: u8, n: u64, width: u16) -> Result<Vec<Digest>, AuditError> {
    let Some(at) = Tile::hashes(level, n, width) else { return Ok(Vec::new()) };
    let bytes = fetch(source, at)?;
    let altered = || AuditError::TileAltered { path: at.path() };
    let mut hashes = decode_hashes(&bytes).ok_or_else(altered)?;
    // A full tile may stand in for a partial one, nothing else for either.
    if hashes.len() != usize::from(width) && hashes.len() as u64 != TILE_WIDTH {
        return Err(altered());
    }
    hashes.truncate(usize::from(width));
    Ok(hashes)
}

/// The bytes at `at`, or of the full tile where a partial one has been collected since.
fn fetch(source: &dyn LogSource, at: Tile) -> Result<Vec<u8>, AuditError> {
    let full = at.is_partial().then(|| at.to_full());
    for tile in [Some(at), full].into_iter().flatten() {
        let path = tile.path();
        match source.resource(&path) {
            Ok(Some(bytes)) => return Ok(bytes),
            Ok(None) => {}
            Err(why) => return Err(AuditError::Source { path, why }),
        }
    }
    Err(AuditError::Missing { path: at.path() })
}

fn encoded_len(entries: &[&[u8]]) -> usize {
    entries.iter().map(|entry| entry.len() + 2).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        log,
        log::Log,
        store::{Batch, Store, memory::MemoryStore},
    };
    use crypto::{secret::Secret, sign::SigningKey};

    struct Published {
        note: String,
        files: BTreeMap<String, Vec<u8>>,
    }

    impl LogSource for Published {
        fn checkpoint(&self) -> String {
            self.note.clone()
        }
        fn resource(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
            Ok(self.files.get(path).cloned())
        }
    }

    fn key() -> SigningKey {
        SigningKey::from_seed(&Secret::new([3; 32]))
    }

    fn public() -> NoteKey {
        NoteKey::new("o", key().verifying_key()).unwrap()
    }

    fn published(n: u64) -> Published {
        let store = MemoryStore::default();
        let mut log = Log::open("l", "o", &store).unwrap();
        for i in 0..n {
            log.append(i.to_string().into_bytes()).unwrap();
        }
        let mut batch = Batch::default();
        log.seal(&key(), &store, &mut batch).unwrap();
        store.apply(&batch).unwrap();
        let mut files = BTreeMap::new();
        for level in 0..4 {
            for n in 0.. {
                let width = width_at(level, n, TreeSize(log.next_index().0));
                let Some(tile) = Tile::hashes(level, n, width) else { break };
                files.insert(tile.path(), log::tile(&store, "l", &tile).unwrap().unwrap());
                if let (0, Some(tile)) = (level, Tile::entries(n, width)) {
                    files.insert(tile.path(), log::bundle(&store, "l", &tile).unwrap().unwrap());
                }
            }
        }
        Published { note: log::head(&store, "l").unwrap().unwrap().as_str().to_owned(), files }
    }

    fn run(source: &Published) -> Result<Checkpoint, AuditError> {
        audit(source, &public(), &mut |_, _, _| Ok(()))
    }

    #[test]
    fn an_honest_log_passes_at_every_shape_and_shows_each_entry_once() {
        for n in [0, 1, 2, 255, 256, 257, 512, 770, 65_536, 66_000] {
            let mut next = 0;
            let checkpoint = audit(&published(n), &public(), &mut |index, entry, hash| {
                assert_eq!((index.0, entry), (next, next.to_string().as_bytes()));
                assert_eq!(*hash, leaf_hash(entry));
                next += 1;
                Ok(())
            });
            assert_eq!(checkpoint.unwrap().size, TreeSize(n));
            assert_eq!(next, n);
        }
    }

    #[test]
    fn names_the_thing_in_which_one_byte_was_flipped() {
        let honest = published(66_000);
        for (path, bytes) in &honest.files {
            let tile = Tile::parse(path).unwrap();
            // A thousand tiles by every byte would be slow; every tile by one byte, in a place that moves along.
            if tile.index() % 37 > 1 && !tile.is_partial() {
                continue;
            }
            let at = (tile.index() as usize * 131 + 5) % bytes.len();
            let mut files = honest.files.clone();
            files.get_mut(path).unwrap()[at] ^= 0x10;
            let error = run(&Published { note: honest.note.clone(), files }).unwrap_err();
            match tile.kind() {
                crate::tile::TileKind::Hashes(_) => {
                    assert_eq!(error, AuditError::TileAltered { path: path.clone() });
                }
                crate::tile::TileKind::Entries => {
                    // Entry whose bytes or length prefix hold the flipped byte.
                    let (entries, _) = split_bundle(bytes);
                    let hit = (0..entries.len()).find(|i| encoded_len(&entries[..=*i]) > at).unwrap() as u64;
                    let index = LeafIndex(tile.index() * TILE_WIDTH + hit);
                    assert_eq!(error, AuditError::EntryAltered { index }, "{path} byte {at}");
                }
            }
        }
    }

    #[test]
    fn finds_an_entry_altered_together_with_its_leaf_hash_and_a_whole_rewrite() {
        let honest = published(600);
        let mut files = honest.files.clone();
        let bundle = files.get_mut("tile/entries/000").unwrap();
        bundle[2] = b'X';
        let hash = leaf_hash(b"X");
        files.get_mut("tile/0/000").unwrap()[..32].copy_from_slice(&hash.0);
        let error = run(&Published { note: honest.note.clone(), files }).unwrap_err();
        assert_eq!(error, AuditError::TileAltered { path: "tile/0/000".into() });
        // Everything rewritten but the signature.
        let mut other = published(600);
        let note = other.note.clone();
        other.files.get_mut("tile/entries/002.p/88").unwrap()[2] = b'X';
        other.files.get_mut("tile/0/002.p/88").unwrap()[..32].copy_from_slice(&leaf_hash(b"X12").0);
        assert_eq!(run(&Published { note, files: other.files }), Err(AuditError::RootAltered));
    }

    #[test]
    fn a_wholly_replaced_tile_is_told_from_replaced_entries() {
        let honest = published(600);
        let other = published(700);
        let mut files = honest.files.clone();
        let reversed: Vec<u8> = honest.files["tile/0/001"].rchunks(32).flatten().copied().collect();
        files.insert("tile/0/001".into(), reversed);
        let error = run(&Published { note: honest.note.clone(), files }).unwrap_err();
        assert_eq!(error, AuditError::TileAltered { path: "tile/0/001".into() });
        // Bundle 1 replaced by bundle 0.
        let mut files = honest.files.clone();
        files.insert("tile/entries/001".into(), honest.files["tile/entries/000"].clone());
        let error = run(&Published { note: honest.note.clone(), files }).unwrap_err();
        assert_eq!(error, AuditError::EntryAltered { index: LeafIndex(256) });
        // A full tile and bundle in place of partial ones that were collected: fine.
        let grown = published(768);
        let mut files = honest.files.clone();
        files.retain(|path, _| !path.contains("002.p"));
        files.extend(
            grown
                .files
                .iter()
                .filter(|(path, _)| path.ends_with("/002"))
                .map(|(p, b)| (p.clone(), b.clone())),
        );
        assert!(run(&Published { note: honest.note.clone(), files }).is_ok());
        // A wider partial is not the one asked for.
        let mut files = honest.files;
        files.insert("tile/0/002.p/88".into(), other.files["tile/0/002.p/188"].clone());
        let error = run(&Published { note: honest.note, files }).unwrap_err();
        assert_eq!(error, AuditError::TileAltered { path: "tile/0/002.p/88".into() });
    }

    #[test]
    fn names_what_is_missing_and_refuses_another_signature() {
        let honest = published(600);
        for path in honest.files.keys() {
            let mut files = honest.files.clone();
            files.remove(path);
            let error = run(&Published { note: honest.note.clone(), files }).unwrap_err();
            assert_eq!(error, AuditError::Missing { path: path.clone() });
        }
        let forged = Published { note: honest.note.replace("\n600\n", "\n599\n"), files: honest.files };
        assert!(matches!(run(&forged), Err(AuditError::Checkpoint(NoteError::BadSignature { .. }))));
        let stopped = audit(&published(3), &public(), &mut |index, _, _| {
            if index.0 == 1 { Err("prev".into()) } else { Ok(()) }
        });
        assert_eq!(stopped, Err(AuditError::Visitor { index: LeafIndex(1), why: "prev".into() }));
    }
}
