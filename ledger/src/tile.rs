//! Tiles: the pieces in which a log is stored, published and fetched.
//!
//! A full hash tile holds 256 hashes, 8,192 bytes; at level 0 they are leaf hashes, at level `l` the roots of the full
//! tiles below. An entry bundle holds the entries under one level-0 tile, each after its length.
//! Source: C2SP tlog-tiles v0.1.0.

use core::fmt;

use crypto::Digest;

use crate::tree::TreeSize;

/// Hashes of a full tile, entries of a full bundle.
pub const TILE_WIDTH: u64 = 256;
/// Longest entry, in bytes: the bundle's length prefix has 16 bits.
pub const ENTRY_BYTES_MAX: usize = 65_535;
/// Highest level a path may name. A tree whose size fits 64 bits needs levels 0 to 7; the format allows more.
pub const TILE_LEVEL_MAX: u8 = 63;

/// What a tile holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TileKind {
    /// Hashes of this level, 0 to [`TILE_LEVEL_MAX`].
    Hashes(u8),
    /// The entries themselves.
    Entries,
}

/// Coordinates of one tile or bundle.
///
/// Invariant: the level is at most [`TILE_LEVEL_MAX`] and the width is 1 to 256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tile {
    kind: TileKind,
    index: u64,
    width: u16,
}

/// A text that is no tile path, or bytes that are no bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TileError {
    /// Not the one form of a path of tlog-tiles, or out of range.
    Path,
    /// An entry longer than [`ENTRY_BYTES_MAX`].
    EntryTooLong,
    /// The bundle ends inside an entry; carries how many whole entries precede.
    Truncated(usize),
}

impl fmt::Display for TileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path => f.write_str("not a tile path"),
            Self::EntryTooLong => write!(f, "an entry exceeds {ENTRY_BYTES_MAX} bytes"),
            Self::Truncated(n) => write!(f, "the entry bundle ends inside entry {n}"),
        }
    }
}

impl std::error::Error for TileError {}

impl Tile {
    /// The tile of `width` hashes at `level` and `index`; `None` when level or width is out of range.
    pub fn hashes(level: u8, index: u64, width: u16) -> Option<Self> {
        let valid = level <= TILE_LEVEL_MAX && (1..=TILE_WIDTH as u16).contains(&width);
        valid.then_some(Self { kind: TileKind::Hashes(level), index, width })
    }

    /// The bundle of `width` entries at `index`; `None` when the width is out of range.
    pub fn entries(index: u64, width: u16) -> Option<Self> {
        (1..=TILE_WIDTH as u16).contains(&width).then_some(Self { kind: TileKind::Entries, index, width })
    }

    /// What the tile holds.
    pub fn kind(&self) -> TileKind {
        self.kind
    }

    /// Position among the tiles of its level, from 0.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Hashes or entries it holds, 1 to 256.
    pub fn width(&self) -> u16 {
        self.width
    }

    /// Whether it has fewer than 256.
    pub fn is_partial(&self) -> bool {
        u64::from(self.width) < TILE_WIDTH
    }

    /// The full tile at the same place: what to try when a partial one has been collected.
    #[must_use]
    pub fn to_full(self) -> Self {
        Self { width: TILE_WIDTH as u16, ..self }
    }

    /// Path below the log's prefix: `tile/<L>/<N>[.p/<W>]` or `tile/entries/<N>[.p/<W>]`.
    pub fn path(&self) -> String {
        // N in groups of three digits, all but the last with an `x`: 1234067 is `x001/x234/067`.
        let mut number = format!("{:03}", self.index % 1000);
        let mut rest = self.index / 1000;
        while rest > 0 {
            number = format!("x{:03}/{number}", rest % 1000);
            rest /= 1000;
        }
        let level = match self.kind {
            TileKind::Hashes(level) => level.to_string(),
            TileKind::Entries => "entries".to_owned(),
        };
        let partial = if self.is_partial() { format!(".p/{}", self.width) } else { String::new() };
        format!("tile/{level}/{number}{partial}")
    }

    /// Reads the form that [`Tile::path`] writes, and no other.
    ///
    /// Errors: [`TileError::Path`].
    pub fn parse(path: &str) -> Result<Self, TileError> {
        // The longest path has a two-digit level, seven groups and a width: 46 bytes. Longer is not worth reading.
        if path.len() > 64 {
            return Err(TileError::Path);
        }
        let (level, rest) =
            path.strip_prefix("tile/").and_then(|rest| rest.split_once('/')).ok_or(TileError::Path)?;
        let (number, width) = match rest.split_once(".p/") {
            Some((number, width)) => (number, width.parse().map_err(|_| TileError::Path)?),
            None => (rest, TILE_WIDTH as u16),
        };
        let mut index: u64 = 0;
        for group in number.split('/') {
            let digits: u64 =
                group.strip_prefix('x').unwrap_or(group).parse().map_err(|_| TileError::Path)?;
            index = index.checked_mul(1000).and_then(|i| i.checked_add(digits)).ok_or(TileError::Path)?;
        }
        let tile = match level {
            "entries" => Self::entries(index, width),
            _ => level.parse().ok().and_then(|level| Self::hashes(level, index, width)),
        };
        // Printing again is the strictness: leading zeros, signs, missing `x`, a full `.p/256` all print otherwise.
        tile.filter(|tile| tile.path() == path).ok_or(TileError::Path)
    }
}

/// Hashes that tile `index` of `level` has in a tree of `size` leaves: 0 (not there) to 256 (full).
pub fn width_at(level: u8, index: u64, size: TreeSize) -> u16 {
    let nodes = size.0.checked_shr(8 * u32::from(level)).unwrap_or(0);
    let before = index.saturating_mul(TILE_WIDTH);
    nodes.saturating_sub(before).min(TILE_WIDTH) as u16
}

/// Entries that bundle `index` has in a tree of `size` leaves: as many as the level-0 tile above it has hashes.
pub fn bundle_width_at(index: u64, size: TreeSize) -> u16 {
    width_at(0, index, size)
}

/// Bytes of an entry bundle: each entry after its length as 16 bits big endian.
///
/// Errors: [`TileError::EntryTooLong`].
pub fn encode_bundle<'a>(entries: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<u8>, TileError> {
    let mut out = Vec::new();
    for entry in entries {
        let len = u16::try_from(entry.len()).map_err(|_| TileError::EntryTooLong)?;
        out.extend_from_slice(&len.to_be_bytes());
        out.extend_from_slice(entry);
    }
    Ok(out)
}

/// The entries of a bundle, in order; the caller compares their number with the width it asked for.
///
/// Errors: [`TileError::Truncated`].
pub fn decode_bundle(bytes: &[u8]) -> Result<Vec<&[u8]>, TileError> {
    let (entries, rest) = split_bundle(bytes);
    if rest.is_empty() { Ok(entries) } else { Err(TileError::Truncated(entries.len())) }
}

/// The whole entries at the front of `bytes`, and what follows them.
pub(crate) fn split_bundle(mut bytes: &[u8]) -> (Vec<&[u8]>, &[u8]) {
    let mut entries = Vec::new();
    while let Some((len, rest)) = bytes.split_first_chunk::<2>() {
        let Some((entry, rest)) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len))) else { break };
        entries.push(entry);
        bytes = rest;
    }
    (entries, bytes)
}

/// Bytes of a hash tile.
pub fn encode_hashes(hashes: &[Digest]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.0).collect()
}

/// The hashes of a tile; `None` when the length is no multiple of 32 or exceeds a full tile.
pub fn decode_hashes(bytes: &[u8]) -> Option<Vec<Digest>> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    (rest.is_empty() && hashes.len() <= TILE_WIDTH as usize)
        .then(|| hashes.iter().map(|hash| Digest(*hash)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_are_those_of_the_specification() {
        let table = [
            (Tile::hashes(0, 0, 256), "tile/0/000"),
            (Tile::hashes(0, 273, 112), "tile/0/273.p/112"),
            (Tile::hashes(2, 5, 1), "tile/2/005.p/1"),
            (Tile::hashes(63, 1_234_067, 256), "tile/63/x001/x234/067"),
            (Tile::entries(1000, 256), "tile/entries/x001/000"),
            (Tile::entries(7, 255), "tile/entries/007.p/255"),
            (Tile::hashes(0, u64::MAX, 1), "tile/0/x018/x446/x744/x073/x709/x551/615.p/1"),
        ];
        for (tile, path) in table {
            let tile = tile.unwrap();
            assert_eq!(tile.path(), path);
            assert_eq!(Tile::parse(path), Ok(tile));
        }
    }

    #[test]
    fn refuses_every_other_spelling_of_a_path() {
        for path in [
            "",
            "tile/",
            "tile/0",
            "tile/0/",
            "tile/0/0",
            "tile/00/000",
            "tile/64/000",
            "tile/-1/000",
            "tile/+1/000",
            "tile/0/+00",
            "tile/0/x000/001",
            "tile/0/001/001",
            "tile/0/x001/x001",
            "tile/0/1000",
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/01",
            "tile/0/000.p/",
            "tile/0/000.p/1/",
            "tile/0/000.p/70000",
            "/tile/0/000",
            "tile/data/000",
            "tile/8/0/000",
            "tile/0/x018/x446/x744/x073/x709/x551/616",
            "tile/0/x999/x999/x999/x999/x999/x999/x999/x999/x999/x999/x999/999",
        ] {
            assert_eq!(Tile::parse(path), Err(TileError::Path), "{path}");
        }
    }

    #[test]
    fn widths_follow_the_tree_size() {
        // The example of size 70,000: 273 full tiles and 112; one full and 17; 1.
        let size = TreeSize(70_000);
        assert_eq!((width_at(0, 272, size), width_at(0, 273, size), width_at(0, 274, size)), (256, 112, 0));
        assert_eq!((width_at(1, 0, size), width_at(1, 1, size)), (256, 17));
        assert_eq!((width_at(2, 0, size), width_at(3, 0, size), width_at(63, 0, size)), (1, 0, 0));
        // A full tile has no empty partial after it.
        assert_eq!((width_at(0, 1, TreeSize(256)), width_at(1, 0, TreeSize(256))), (0, 1));
    }

    #[test]
    fn refuses_a_bundle_that_ends_inside_an_entry() {
        let bytes = encode_bundle([&b"one"[..], b"", b"three"]).unwrap();
        assert_eq!(decode_bundle(&bytes).unwrap(), [&b"one"[..], b"", b"three"]);
        assert_eq!(decode_bundle(&bytes[..bytes.len() - 1]), Err(TileError::Truncated(2)));
        assert_eq!(decode_bundle(&[0]), Err(TileError::Truncated(0)));
        assert_eq!(encode_bundle([&vec![0; ENTRY_BYTES_MAX + 1][..]]), Err(TileError::EntryTooLong));
        assert!(encode_bundle([&vec![0; ENTRY_BYTES_MAX][..]]).is_ok());
    }

    proptest! {
        #[test]
        fn a_path_reads_back_as_the_same_tile(level in 0u8..=63, index: u64, width in 1u16..=256, entries: bool) {
            let tile = if entries { Tile::entries(index, width) } else { Tile::hashes(level, index, width) };
            let tile = tile.unwrap();
            prop_assert_eq!(Tile::parse(&tile.path()), Ok(tile));
        }

        #[test]
        fn no_text_panics_and_an_accepted_one_is_canonical(text in "(tile/)?[0-9x/.pentris+-]{0,40}") {
            if let Ok(tile) = Tile::parse(&text) {
                prop_assert_eq!(tile.path(), text);
            }
        }

        #[test]
        fn no_bytes_panic_as_a_bundle(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(entries) = decode_bundle(&bytes) {
                prop_assert_eq!(encode_bundle(entries).unwrap(), bytes);
            }
        }
    }
}
