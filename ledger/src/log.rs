//! One append-only log in a store.
//!
//! | space | key | value |
//! |---|---|---|
//! | `Entry` | name ‖ 0x00 ‖ 0x01 ‖ n as u64 big endian | the 256 entries of full bundle n, as published, where one batch had them all |
//! | `Entry` | name ‖ 0x00 ‖ 0x00 ‖ index as u64 big endian | any other entry |
//! | `Tile` | name ‖ 0x00 ‖ level ‖ tile index as u64 big endian | up to 256 hashes: the widest tile so far; at level 0 the full ones |
//! | `Tile` | name ‖ 0x00 ‖ 0xff ‖ index of its first leaf as u64 big endian | up to 16 leaf hashes after the last full tile: a piece |
//! | `Head` | name | the newest signed checkpoint |
//!
//! Only the widest tile is stored: every narrower one that was ever published is its beginning. An append therefore
//! touches the entries, the tiles of the right edge and the head, never the rest of the log.
//!
//! An entry is written once and stays where it is: a large batch writes one row for 256 entries, and a small one never
//! writes an entry's neighbours again. Its leaf hash moves once, from a short piece, into its tile.
//!
//! The writer is [`Log`]; reading is free functions over a [`View`], so that readers never wait for the writer.

use core::{cell::RefCell, fmt, mem};
use std::{collections::BTreeMap, rc::Rc, sync::OnceLock};

use crypto::{
    Digest,
    merkle::{leaf_hash, node_hash, root as list_root, split},
    sign::SigningKey,
};

use crate::{
    checkpoint::{Checkpoint, SignedCheckpoint},
    newest::Newest,
    proof,
    proof::Nodes,
    store::{Batch, Space, StoreError, View},
    tile::{
        self, ENTRY_BYTES_MAX, TILE_WIDTH, Tile, TileKind, decode_bundle, decode_hashes, encode_bundle,
        encode_hashes, width_at,
    },
    tree::{Frontier, LeafIndex, TreeSize},
};

/// Why a log could not be opened, extended or read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogError {
    /// The store failed.
    Store(StoreError),
    /// An entry longer than [`ENTRY_BYTES_MAX`].
    EntryTooLong {
        /// Bytes offered.
        len: usize,
    },
    /// Two things that must agree do not: nothing may be signed until a person has looked.
    Disagree {
        /// Which things.
        what: String,
    },
    /// A proof was asked for leaves or sizes the log does not have.
    OutOfRange {
        /// Size of the log.
        size: TreeSize,
    },
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => error.fmt(f),
            Self::EntryTooLong { len } => {
                write!(f, "an entry of {len} bytes exceeds the limit of {ENTRY_BYTES_MAX}")
            }
            Self::Disagree { what } => write!(f, "the log disagrees with itself: {what}"),
            Self::OutOfRange { size } => write!(f, "the log has only {size} entries"),
        }
    }
}

impl std::error::Error for LogError {}

impl From<StoreError> for LogError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// The writer's side of one log.
///
/// Invariant: `sealed` is the tree of the stored checkpoint, once the last sealed batch is applied; `frontier` is the
/// same tree with the pending leaves after it. A seal makes `sealed` anew from the entries and not from `frontier`, and holds
/// both against each other and `sealed` against the stored checkpoint, so that what is wrong in one shows.
#[derive(Clone, Debug)]
pub struct Log {
    name: String,
    origin: String,
    /// Whether a checkpoint is stored; a log is born without one.
    has_head: bool,
    /// Whether the next seal signs, also when nothing is pending.
    renew: bool,
    sealed: Frontier,
    sealed_last: Digest,
    frontier: Frontier,
    last: Digest,
    pending: Vec<Vec<u8>>,
}

impl Log {
    /// Opens the log stored under `name` (no zero byte; "records", or "mirror/sh/status") with the checkpoint origin
    /// `origin`; a log that is not there yet is empty.
    ///
    /// Reads the head, rebuilds the frontier from the right-edge tiles and compares: O(log size) reads.
    /// Errors: `Store`; `Disagree` when checkpoint, tiles and last entry do not tell the same story.
    pub fn open(name: &str, origin: &str, view: &dyn View) -> Result<Self, LogError> {
        let head = head(view, name)?;
        let size = head.as_ref().map_or(TreeSize(0), |head| head.claimed().size);
        let sealed = Frontier::rebuild(&StoredNodes::new(view, name), size)?;
        if let Some(claimed) = head.as_ref().map(SignedCheckpoint::claimed) {
            if claimed.origin != origin {
                return Err(disagree(format!("the checkpoint of `{name}` is of `{}`", claimed.origin)));
            }
            if claimed.root != sealed.root() {
                return Err(disagree(format!("checkpoint and tiles of `{name}` at size {size}")));
            }
        }
        if stored_entries(view, name)? != size.0 {
            return Err(disagree(format!("the last entry of `{name}` and the size {size}")));
        }
        let last = match size.0.checked_sub(1) {
            None => Digest::ZERO,
            Some(index) => {
                let entry = entry(view, name, LeafIndex(index))?;
                let hash = leaf_hash(&entry.unwrap_or_default());
                if StoredNodes::new(view, name).node(0, index)? != hash {
                    return Err(disagree(format!("entry {index} of `{name}` and its leaf hash")));
                }
                hash
            }
        };
        Ok(Self {
            name: name.to_owned(),
            origin: origin.to_owned(),
            has_head: head.is_some(),
            renew: false,
            frontier: sealed.clone(),
            sealed,
            sealed_last: last,
            last,
            pending: Vec::new(),
        })
    }

    /// The storage prefix.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The checkpoint's origin.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Index the next entry will have, pending ones counted.
    pub fn next_index(&self) -> LeafIndex {
        LeafIndex(self.frontier.size().0)
    }

    /// Entries under the last seal.
    pub fn sealed_size(&self) -> TreeSize {
        self.sealed.size()
    }

    /// Leaf hash of the last entry, pending ones counted, or `Digest::ZERO`: the `prev` of the next entry.
    pub fn last_leaf(&self) -> Digest {
        self.last
    }

    /// Adds an entry in memory and returns its index, which is final only once the next seal is applied.
    ///
    /// Errors: `EntryTooLong`; the log is then as it was.
    pub fn append(&mut self, entry: Vec<u8>) -> Result<LeafIndex, LogError> {
        if entry.len() > ENTRY_BYTES_MAX {
            return Err(LogError::EntryTooLong { len: entry.len() });
        }
        let index = self.next_index();
        self.last = leaf_hash(&entry);
        self.frontier.append(self.last);
        self.pending.push(entry);
        Ok(index)
    }

    /// Has the next seal sign the checkpoint anew, because the key is another one than it was signed with.
    pub fn renew(&mut self) {
        self.renew = true;
    }

    /// Whether entries wait for a seal.
    pub fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// The pending entry at `index`; `None` when it is sealed already or not there.
    pub fn pending(&self, index: LeafIndex) -> Option<&[u8]> {
        let at = index.0.checked_sub(self.sealed.size().0)?;
        self.pending.get(usize::try_from(at).ok()?).map(Vec::as_slice)
    }

    /// Forgets every pending entry.
    pub fn discard_pending(&mut self) {
        self.pending.clear();
        self.frontier = self.sealed.clone();
        self.last = self.sealed_last;
    }

    /// Writes the pending entries, their tiles and a new checkpoint signed with `key` into `batch`.
    ///
    /// `view` shows what is stored, including every batch this log was sealed into before. Without pending entries
    /// nothing is written, except the first checkpoint of an empty log, and one that [`Log::renew`] asked for. Returns the
    /// entries sealed, if there are any, with what proves them.
    /// After `Ok` the log counts the entries as sealed: a batch that then fails to apply ends the process.
    /// Errors: `Store`; `Disagree` when the root computed while appending is not that of the stored checkpoint's tree with
    /// the entry bytes about to be written, or, where a tile becomes full, not that over the stored tiles. Log and batch are
    /// then as they were. (A log died in 2021 of one bit that flipped in a leaf hash before it was hashed upward and signed.)
    pub fn seal(
        &mut self,
        key: &SigningKey,
        view: &dyn View,
        batch: &mut Batch,
    ) -> Result<Option<Newest>, LogError> {
        if self.pending.is_empty() && self.has_head && !self.renew {
            return Ok(None);
        }
        let edge = self.edge(view)?;
        let checkpoint = checkpoint(&self.origin, &self.frontier).sign(key);
        let newest = self.commit(edge, &checkpoint, batch);
        Ok(Some(newest).filter(|newest| !newest.entries.is_empty()))
    }

    /// [`Log::seal`] for the mirror of a peer's log: the pending entries must give exactly the size and root of
    /// `checkpoint`, which the caller has verified to be what `note` states. The note is stored verbatim.
    ///
    /// Errors: as [`Log::seal`]; `Disagree` also when size, root or origin are not the checkpoint's.
    pub fn seal_mirror(
        &mut self,
        note: &SignedCheckpoint,
        checkpoint: &Checkpoint,
        view: &dyn View,
        batch: &mut Batch,
    ) -> Result<(), LogError> {
        if note.claimed() != checkpoint || checkpoint.origin != self.origin {
            return Err(disagree(format!("a note of `{}` for `{}`", note.claimed().origin, self.origin)));
        }
        if checkpoint.size != self.frontier.size() || checkpoint.root != self.frontier.root() {
            let have = self.frontier.size();
            return Err(disagree(format!("{have} mirrored entries and a checkpoint of {}", checkpoint.size)));
        }
        let edge = self.edge(view)?;
        self.commit(edge, note, batch);
        Ok(())
    }

    /// What the pending entries change, after all paths to the new root have been compared.
    fn edge(&self, view: &dyn View) -> Result<Edge, LogError> {
        // Compare and swap: what is extended is what is stored, not what was stored when this writer last looked.
        let extends = match view.get(Space::Head, self.name.as_bytes())? {
            None => !self.has_head,
            Some(note) => self.has_head && is_of(&note, &checkpoint(&self.origin, &self.sealed)),
        };
        if !extends {
            return Err(disagree(format!("the stored checkpoint of `{}` and the one it extends", self.name)));
        }
        let old = self.sealed.size().0;
        // Hashed again from the very bytes that will be stored, not taken from what `append` remembered.
        let fresh: Vec<Digest> = self.pending.iter().map(|entry| leaf_hash(entry)).collect();
        let new = old + fresh.len() as u64;
        let nodes = StoredNodes::new(view, &self.name);
        let mut tree = self.sealed.clone();
        fresh.iter().for_each(|leaf| tree.append(*leaf));
        let mut roots = vec![tree.root()];
        // Over everything stored, by the definition, as often as a tile becomes full; a batch of a few has 256 of its leaves
        // hashed again otherwise.
        if old / TILE_WIDTH < new / TILE_WIDTH {
            roots.push(joined_root(&nodes, &fresh, old, 0, new)?);
        }
        if new != self.frontier.size().0 || roots.iter().any(|root| *root != self.frontier.root()) {
            return Err(disagree(format!("two computations of the root of `{}` at size {new}", self.name)));
        }
        let mut batch = Batch::default();
        self.place_entries(&mut batch)?;
        let mut hashes = self.place_leaves(&nodes, &fresh, &mut batch)?;
        let (mut level, mut before) = (1u8, old / TILE_WIDTH);
        while !hashes.is_empty() {
            let (first, width) = (before / TILE_WIDTH, (before % TILE_WIDTH) as usize);
            let mut row = if width == 0 { Vec::new() } else { nodes.tile(level, first)?.to_vec() };
            self.as_wide(row.len(), width, level, first)?;
            row.append(&mut hashes);
            for (n, hashes_of_tile) in (first..).zip(row.chunks(TILE_WIDTH as usize)) {
                batch.put(Space::Tile, tile_key(&self.name, level, n), encode_hashes(hashes_of_tile));
                // A partial tile is never hashed upward.
                if hashes_of_tile.len() as u64 == TILE_WIDTH {
                    hashes.push(list_root(hashes_of_tile));
                }
            }
            before = first;
            level += 1;
        }
        Ok(Edge { writes: batch, tree, leaves: fresh })
    }

    /// Writes the pending leaf hashes, and returns the roots of the tiles they make full.
    fn place_leaves(
        &self,
        nodes: &StoredNodes<'_>,
        fresh: &[Digest],
        batch: &mut Batch,
    ) -> Result<Vec<Digest>, LogError> {
        if fresh.is_empty() {
            return Ok(Vec::new());
        }
        let old = self.sealed.size().0;
        let open = old / TILE_WIDTH;
        let is_full = old % TILE_WIDTH + fresh.len() as u64 >= TILE_WIDTH;
        let begin = if is_full { open * TILE_WIDTH } else { old - old % PIECE_WIDTH };
        let mut row = match (begin == old, is_full) {
            (true, _) => Vec::new(),
            (false, true) => nodes.tile(0, open)?.to_vec(),
            (false, false) => stored_piece(nodes.view, &self.name, begin)?,
        };
        self.as_wide(row.len(), (old - begin) as usize, 0, open)?;
        // What is read to be written again is what was sealed: a full tile was compared as a whole.
        if !is_full && !self.sealed.ends_with(&row) {
            let name = &self.name;
            return Err(disagree(format!("size {old} of `{name}` and the leaf hashes of its last piece")));
        }
        row.extend_from_slice(fresh);
        let (full, rest) =
            if is_full { row.as_chunks::<{ TILE_WIDTH as usize }>() } else { (&[][..], &row[..]) };
        for (n, hashes) in (open..).zip(full) {
            batch.put(Space::Tile, tile_key(&self.name, 0, n), encode_hashes(hashes));
        }
        if is_full {
            let pieces = (begin..old).step_by(PIECE_WIDTH as usize);
            pieces.for_each(|first| batch.delete(Space::Tile, piece_key(&self.name, first)));
        }
        let pieces = (begin + full.len() as u64 * TILE_WIDTH..).step_by(PIECE_WIDTH as usize);
        for (first, hashes) in pieces.zip(rest.chunks(PIECE_WIDTH as usize)) {
            batch.put(Space::Tile, piece_key(&self.name, first), encode_hashes(hashes));
        }
        Ok(full.iter().map(|hashes| list_root(hashes)).collect())
    }

    /// That a tile, or the end of one, is as wide as the sealed size says.
    fn as_wide(&self, is: usize, should: usize, level: u8, index: u64) -> Result<(), LogError> {
        if is == should {
            return Ok(());
        }
        let (name, size) = (&self.name, self.sealed.size());
        Err(disagree(format!("size {size} of `{name}` and the width of its tile {level}/{index}")))
    }

    /// Writes the pending entries: as bundles where a whole one is pending, else each alone.
    fn place_entries(&self, batch: &mut Batch) -> Result<(), LogError> {
        let old = self.sealed.size().0;
        // Up to where a bundle may begin.
        let ahead = (old.next_multiple_of(TILE_WIDTH) - old).min(self.pending.len() as u64);
        let (first, rest) = self.pending.split_at(ahead as usize);
        let (bundles, last) = rest.as_chunks::<{ TILE_WIDTH as usize }>();
        let begin = old + ahead;
        for (n, entries) in (begin / TILE_WIDTH..).zip(bundles) {
            let bundle = encode_bundle(entries.iter().map(Vec::as_slice));
            let bundle = bundle.map_err(|e| corrupt(format!("{e} in `{}`", self.name)))?;
            batch.put(Space::Entry, bundle_key(&self.name, n), bundle);
        }
        let after = begin + bundles.len() as u64 * TILE_WIDTH;
        for (index, entry) in (old..).zip(first).chain((after..).zip(last)) {
            batch.put(Space::Entry, entry_key(&self.name, index), entry.as_slice());
        }
        Ok(())
    }

    fn commit(&mut self, edge: Edge, note: &SignedCheckpoint, batch: &mut Batch) -> Newest {
        batch.merge(edge.writes);
        batch.put(Space::Head, self.name.as_bytes(), note.as_str());
        self.sealed_last = self.last;
        self.has_head = true;
        self.renew = false;
        Newest {
            before: mem::replace(&mut self.sealed, edge.tree),
            leaves: edge.leaves,
            entries: mem::take(&mut self.pending),
            checkpoint: note.clone(),
            rows: OnceLock::new(),
        }
    }
}

/// What the pending entries of a log change.
struct Edge {
    /// The entries, and tiles of the right edge.
    writes: Batch,
    /// The tree with them.
    tree: Frontier,
    /// Their hashes.
    leaves: Vec<Digest>,
}

/// Whether a stored note, which may have gained cosignatures since, states this checkpoint. Its text ends before an empty line.
fn is_of(note: &[u8], checkpoint: &Checkpoint) -> bool {
    note.strip_prefix(checkpoint.text().as_bytes()).is_some_and(|rest| rest.starts_with(b"\n"))
}

fn checkpoint(origin: &str, tree: &Frontier) -> Checkpoint {
    Checkpoint { origin: origin.to_owned(), size: tree.size(), root: tree.root() }
}

/// Root over leaves `lo..hi` by the definition (RFC 6962 §2.1): below `old` from stored tiles, from there on from
/// `fresh` leaf hashes.
fn joined_root(
    nodes: &StoredNodes<'_>,
    fresh: &[Digest],
    old: u64,
    lo: u64,
    hi: u64,
) -> Result<Digest, StoreError> {
    if hi <= old {
        return proof::range_root(nodes, lo, hi);
    }
    if lo >= old {
        return Ok(list_root(&fresh[(lo - old) as usize..(hi - old) as usize]));
    }
    let middle = lo + split(hi - lo);
    let left = joined_root(nodes, fresh, old, lo, middle)?;
    let right = joined_root(nodes, fresh, old, middle, hi)?;
    Ok(node_hash(&left, &right))
}

/// The stored checkpoint of the log `name`; `None` when the log was never sealed.
pub fn head(view: &dyn View, name: &str) -> Result<Option<SignedCheckpoint>, StoreError> {
    let Some(bytes) = view.get(Space::Head, name.as_bytes())? else { return Ok(None) };
    let note = String::from_utf8(bytes).ok().and_then(|text| SignedCheckpoint::parse(&text).ok());
    note.map(Some).ok_or_else(|| corrupt(format!("checkpoint of `{name}`")))
}

/// Size under the stored checkpoint, 0 for a log that was never sealed.
pub fn size(view: &dyn View, name: &str) -> Result<TreeSize, StoreError> {
    Ok(head(view, name)?.map_or(TreeSize(0), |head| head.claimed().size))
}

/// The entry at `index`; `None` at or beyond the size.
///
/// Errors: those of the view; `Corrupt` when an entry below the size is missing.
pub fn entry(view: &dyn View, name: &str, index: LeafIndex) -> Result<Option<Vec<u8>>, StoreError> {
    let n = index.0 / TILE_WIDTH;
    let mut in_bundle = Ok(None);
    view.look(Space::Entry, &bundle_key(name, n), &mut |bundle| {
        in_bundle = read_bundle(name, n, bundle)
            .map(|entries| entries.get((index.0 % TILE_WIDTH) as usize).map(|entry| entry.to_vec()));
    })?;
    let found = match in_bundle? {
        None => view.get(Space::Entry, &entry_key(name, index.0))?,
        found => found,
    };
    if found.is_none() && size(view, name)?.covers(index) {
        return Err(corrupt(format!("entry {index} of `{name}` is missing")));
    }
    Ok(found)
}

/// Up to `count` entries from `from` on, as many as the log has.
///
/// Errors: as [`entry`].
pub fn entries(
    view: &dyn View,
    name: &str,
    from: LeafIndex,
    count: usize,
) -> Result<Vec<Vec<u8>>, StoreError> {
    let end = from.0.saturating_add(count as u64).min(size(view, name)?.0);
    let mut found = Vec::new();
    let mut at = from.0;
    while at < end {
        let (n, skip) = (at / TILE_WIDTH, (at % TILE_WIDTH) as usize);
        let wanted = (end - at).min(TILE_WIDTH - skip as u64) as usize;
        if let Some(bundle) = view.get(Space::Entry, &bundle_key(name, n))? {
            let entries = read_bundle(name, n, &bundle)?;
            found.extend(entries.into_iter().skip(skip).take(wanted).map(<[u8]>::to_vec));
        } else {
            let (from, to) = (entry_key(name, at), entry_key(name, at + wanted as u64));
            let alone = view.scan(Space::Entry, &from, Some(&to), wanted)?;
            if alone.len() < wanted {
                return Err(corrupt(format!("an entry of `{name}` between {at} and {end} is missing")));
            }
            found.extend(alone.into_iter().map(|(_, entry)| entry));
        }
        at += wanted as u64;
    }
    Ok(found)
}

fn read_bundle<'a>(name: &str, n: u64, bytes: &'a [u8]) -> Result<Vec<&'a [u8]>, StoreError> {
    let entries = decode_bundle(bytes).ok().filter(|entries| entries.len() as u64 == TILE_WIDTH);
    entries.ok_or_else(|| corrupt(format!("entry bundle {n} of `{name}`")))
}

/// Entries stored under `name`, by the last key of each kind.
fn stored_entries(view: &dyn View, name: &str) -> Result<u64, StoreError> {
    let after = |kind: u8, width: u64| -> Result<u64, StoreError> {
        let last = view.last_with_prefix(Space::Entry, &entry_prefix(name, kind))?;
        Ok(last
            .and_then(|(key, _)| Some(u64::from_be_bytes(*key.last_chunk()?)))
            .map_or(0, |n| n.saturating_add(1).saturating_mul(width)))
    };
    let (bundled, alone) = (after(BUNDLE, TILE_WIDTH)?, after(ALONE, 1)?);
    Ok(bundled.max(alone))
}

/// Inclusion path of leaf `index` in the tree of the first `size` entries.
///
/// Errors: `Store`; `OutOfRange` when the log is smaller than `size` or `index` is not below it.
pub fn inclusion(
    view: &dyn View,
    name: &str,
    index: LeafIndex,
    size: TreeSize,
) -> Result<Vec<Digest>, LogError> {
    let have = self::size(view, name)?;
    if size > have || !size.covers(index) {
        return Err(LogError::OutOfRange { size: have });
    }
    Ok(proof::inclusion(&StoredNodes::new(view, name), index, size)?)
}

/// Proof that the tree of the first `new` entries extends that of the first `old`.
///
/// Errors: `Store`; `OutOfRange` when the log is smaller than `new`, or `new` smaller than `old`.
pub fn consistency(
    view: &dyn View,
    name: &str,
    old: TreeSize,
    new: TreeSize,
) -> Result<Vec<Digest>, LogError> {
    let have = size(view, name)?;
    if new > have || old > new {
        return Err(LogError::OutOfRange { size: have });
    }
    Ok(proof::consistency(&StoredNodes::new(view, name), old, new)?)
}

/// Root of the tree of the first `size` entries.
///
/// Errors: `Store`; `OutOfRange` when the log is smaller than `size`.
pub fn root(view: &dyn View, name: &str, size: TreeSize) -> Result<Digest, LogError> {
    let have = self::size(view, name)?;
    if size > have {
        return Err(LogError::OutOfRange { size: have });
    }
    Ok(proof::root(&StoredNodes::new(view, name), size)?)
}

/// Bytes of a hash tile as published; `None` when the log does not reach that far, or for a bundle's coordinates.
///
/// Errors: those of the view; `Corrupt` when a tile that the size implies is missing or too narrow.
pub fn tile(view: &dyn View, name: &str, tile: &Tile) -> Result<Option<Vec<u8>>, StoreError> {
    let TileKind::Hashes(level) = tile.kind() else { return Ok(None) };
    if width_at(level, tile.index(), size(view, name)?) < tile.width() {
        return Ok(None);
    }
    let mut bytes = tile_bytes(view, name, level, tile.index())?;
    let wanted = usize::from(tile.width()) * 32;
    if bytes.len() < wanted {
        return Err(corrupt(format!("`{}` of `{name}` is missing or short", tile.path())));
    }
    bytes.truncate(wanted);
    Ok(Some(bytes))
}

/// Bytes of an entry bundle as published; `None` when the log does not reach that far, or for a hash tile's coordinates.
///
/// Errors: as [`entry`].
pub fn bundle(view: &dyn View, name: &str, tile: &Tile) -> Result<Option<Vec<u8>>, StoreError> {
    let covered = tile::bundle_width_at(tile.index(), size(view, name)?) >= tile.width();
    if tile.kind() != TileKind::Entries || !covered {
        return Ok(None);
    }
    if !tile.is_partial()
        && let Some(bytes) = view.get(Space::Entry, &bundle_key(name, tile.index()))?
    {
        return Ok(Some(bytes));
    }
    let first = LeafIndex(tile.index() * TILE_WIDTH);
    let entries = entries(view, name, first, usize::from(tile.width()))?;
    let bytes = encode_bundle(entries.iter().map(Vec::as_slice));
    bytes.map(Some).map_err(|e| corrupt(format!("{e} in `{name}`")))
}

/// [`tile()`] or [`bundle`], by the kind of the coordinates.
///
/// Errors: as those.
pub fn resource(view: &dyn View, name: &str, at: &Tile) -> Result<Option<Vec<u8>>, StoreError> {
    match at.kind() {
        TileKind::Hashes(_) => tile(view, name, at),
        TileKind::Entries => bundle(view, name, at),
    }
}

/// Hashes of the stored tile; none when there is none.
pub(crate) fn stored_tile(
    view: &dyn View,
    name: &str,
    level: u8,
    index: u64,
) -> Result<Vec<Digest>, StoreError> {
    decode_hashes(&tile_bytes(view, name, level, index)?)
        .ok_or_else(|| corrupt(format!("tile {level}/{index} of `{name}` has a wrong length")))
}

/// Bytes of the stored tile, if need be put together from its pieces; none when there is none.
fn tile_bytes(view: &dyn View, name: &str, level: u8, index: u64) -> Result<Vec<u8>, StoreError> {
    let key = tile_key(name, level, index);
    let whole = || Ok(view.get(Space::Tile, &key)?.unwrap_or_default());
    let mut bytes = whole()?;
    if level > 0 || bytes.len() == TILE_WIDTH as usize * 32 {
        return Ok(bytes);
    }
    let (Some(from), Some(to)) =
        (index.checked_mul(TILE_WIDTH), index.checked_add(1).and_then(|next| next.checked_mul(TILE_WIDTH)))
    else {
        return Ok(bytes);
    };
    let pieces = (TILE_WIDTH / PIECE_WIDTH) as usize;
    let pieces = view.scan(Space::Tile, &piece_key(name, from), Some(&piece_key(name, to)), pieces)?;
    if pieces.is_empty() {
        // The writer may have made it full between the two reads.
        return whole();
    }
    for (key, piece) in pieces {
        let first = key.last_chunk().map_or(0, |n| u64::from_be_bytes(*n)).saturating_sub(from) as usize * 32;
        // Stores of earlier builds have a partial tile whole; the first piece written since begins before its end.
        if first > bytes.len() {
            return Err(corrupt(format!("a piece of tile 0/{index} of `{name}` is missing")));
        }
        bytes.truncate(first);
        bytes.extend(piece);
    }
    Ok(bytes)
}

/// Leaf hashes from `begin`, where a piece begins, to the end of the log.
fn stored_piece(view: &dyn View, name: &str, begin: u64) -> Result<Vec<Digest>, StoreError> {
    let hashes = match view.get(Space::Tile, &piece_key(name, begin))? {
        Some(bytes) => decode_hashes(&bytes),
        // A store of an earlier build.
        None => stored_tile(view, name, 0, begin / TILE_WIDTH)
            .map(|tile| tile.get((begin % TILE_WIDTH) as usize..).map(<[Digest]>::to_vec))?,
    };
    hashes.ok_or_else(|| {
        corrupt(format!("the piece of leaf {begin} of `{name}` is missing or has a wrong length"))
    })
}

/// Hashes of a tile, read once and looked at by several nodes.
type Hashes = Rc<[Digest]>;

/// The nodes of one stored log. Remembers the tiles it has read: the nodes of a proof share few of them.
struct StoredNodes<'a> {
    view: &'a dyn View,
    name: &'a str,
    read: RefCell<BTreeMap<(u8, u64), Hashes>>,
}

impl<'a> StoredNodes<'a> {
    fn new(view: &'a dyn View, name: &'a str) -> Self {
        Self { view, name, read: RefCell::default() }
    }

    /// Hashes of the stored tile; none when there is none.
    fn tile(&self, level: u8, index: u64) -> Result<Hashes, StoreError> {
        if let Some(hashes) = self.read.borrow().get(&(level, index)) {
            return Ok(hashes.clone());
        }
        let hashes: Hashes = stored_tile(self.view, self.name, level, index)?.into();
        self.read.borrow_mut().insert((level, index), hashes.clone());
        Ok(hashes)
    }
}

impl Nodes for StoredNodes<'_> {
    fn node(&self, level: u8, index: u64) -> Result<Digest, StoreError> {
        let (row, n, range) = tile_range(level, index);
        let hashes = self.tile(row, n)?;
        let inside = hashes
            .get(range)
            .ok_or_else(|| corrupt(format!("tile {row}/{n} of `{}` is missing or short", self.name)))?;
        Ok(list_root(inside))
    }
}

/// Where the node (`level`, `index`) lies: tile level, tile index, and the hashes of that tile it is the root over.
pub(crate) fn tile_range(level: u8, index: u64) -> (u8, u64, core::ops::Range<usize>) {
    let width = 1u64 << (level % 8);
    let per_tile = TILE_WIDTH / width;
    let start = (index % per_tile) * width;
    (level / 8, index / per_tile, start as usize..(start + width) as usize)
}

/// Kind of key in the space of entries: an entry alone.
const ALONE: u8 = 0;
/// A full bundle.
const BUNDLE: u8 = 1;

fn entry_prefix(name: &str, kind: u8) -> Vec<u8> {
    [name.as_bytes(), &[0, kind]].concat()
}

fn entry_key(name: &str, index: u64) -> Vec<u8> {
    [name.as_bytes(), &[0, ALONE], &index.to_be_bytes()].concat()
}

fn bundle_key(name: &str, n: u64) -> Vec<u8> {
    [name.as_bytes(), &[0, BUNDLE], &n.to_be_bytes()].concat()
}

fn tile_key(name: &str, level: u8, index: u64) -> Vec<u8> {
    [name.as_bytes(), &[0, level], &index.to_be_bytes()].concat()
}

/// Leaf hashes of a full piece: a batch of one writes half as many again on average, and reading a tile takes 16 rows at
/// most.
const PIECE_WIDTH: u64 = 16;
/// In the place of a level: none is so high.
const PIECE: u8 = 0xff;

fn piece_key(name: &str, first: u64) -> Vec<u8> {
    tile_key(name, PIECE, first)
}

fn disagree(what: String) -> LogError {
    LogError::Disagree { what }
}

fn corrupt(what: String) -> StoreError {
    StoreError::Corrupt { what }
}

#[cfg(test)]
mod tests;
