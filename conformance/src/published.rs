//! A log of sample entries, and its publication as a directory of files: what a node serves, under the same paths.
//!
//! Bytes and paths come from the functions of `ledger` that a node answers with, so a reader of the directory reads
//! what a reader over HTTP would.

use std::{fs, io, path::Path};

use crypto::{Digest, secret::Secret, sign::SigningKey};
use ledger::{
    Batch, LeafIndex, Log, LogError, NoteKey, SignedCheckpoint, Store, Tile, TreeSize, log,
    store::memory::MemoryStore,
    tile::{ENTRY_BYTES_MAX, TILE_WIDTH, bundle_width_at, width_at},
};

/// Name of the log in its store.
const NAME: &str = "sample";

/// A log whose entries follow from their indexes, in memory.
#[derive(Debug)]
pub struct Sample {
    store: MemoryStore,
    log: Log,
    key: SigningKey,
    /// The one entry that is not what its index gives.
    changed: Option<u64>,
}

impl Sample {
    /// A log without entries or checkpoint.
    ///
    /// Errors: none that a store in memory gives.
    pub fn new(origin: &str) -> Result<Self, LogError> {
        let store = MemoryStore::default();
        let log = Log::open(NAME, origin, &store)?;
        Ok(Self { store, log, key: SigningKey::from_seed(&Secret::new([7; 32])), changed: None })
    }

    /// The entry at `index`: none to two hundred bytes, and once as many as an entry may have.
    pub fn entry(index: u64) -> Vec<u8> {
        let seed = Digest::of(&index.to_be_bytes()).0;
        let bytes = if index == 2 { ENTRY_BYTES_MAX } else { usize::from(seed[0]) % 200 };
        seed.iter().copied().cycle().take(bytes).collect()
    }

    /// The log that the same key signs when it tells another story: the entry at `index` will be another one.
    #[must_use]
    pub fn changed_at(self, index: u64) -> Self {
        Self { changed: Some(index), ..self }
    }

    /// Grows the log to `size` entries under one new checkpoint; a log without entries gets its first.
    ///
    /// Errors: those of [`Log::append`] and [`Log::seal`].
    pub fn grow_to(&mut self, size: u64) -> Result<(), LogError> {
        for index in self.log.next_index().0..size {
            let changed = self.changed == Some(index);
            self.log.append(if changed { b"another entry".to_vec() } else { Self::entry(index) })?;
        }
        let mut batch = Batch::default();
        self.log.seal(&self.key, &self.store, &mut batch)?;
        Ok(self.store.apply(&batch)?)
    }

    /// The key that signs the checkpoints.
    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    /// What verifies them.
    pub fn note_key(&self) -> NoteKey {
        NoteKey { name: self.log.origin().to_owned(), key: self.key.verifying_key() }
    }

    /// The present checkpoint.
    ///
    /// Errors: as [`log::head`]; `OutOfRange` before the first.
    pub fn head(&self) -> Result<SignedCheckpoint, LogError> {
        log::head(&self.store, NAME)?.ok_or(LogError::OutOfRange { size: TreeSize(0) })
    }

    /// Inclusion path of an entry under the present size.
    ///
    /// Errors: as [`log::inclusion`].
    pub fn inclusion(&self, index: u64) -> Result<Vec<Digest>, LogError> {
        log::inclusion(&self.store, NAME, LeafIndex(index), self.log.sealed_size())
    }

    /// Consistency proof from `old` entries to the present size.
    ///
    /// Errors: as [`log::consistency`].
    pub fn consistency(&self, old: u64) -> Result<Vec<Digest>, LogError> {
        log::consistency(&self.store, NAME, TreeSize(old), self.log.sealed_size())
    }

    /// Writes the checkpoint, and every tile and bundle that its size implies, below `dir`.
    ///
    /// Errors: those of the file system; a log that does not hold what its size implies is `InvalidData`.
    pub fn publish(&self, dir: &Path) -> io::Result<()> {
        let broken = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
        for tile in resources(self.log.sealed_size()) {
            let bytes = log::resource(&self.store, NAME, &tile).map_err(|e| broken(e.to_string()))?;
            let path = dir.join(tile.path());
            fs::create_dir_all(path.parent().unwrap_or(dir))?;
            fs::write(path, bytes.ok_or_else(|| broken(format!("no {}", tile.path())))?)?;
        }
        let head = self.head().map_err(|e| broken(e.to_string()))?;
        // Last, as a reader begins with it.
        fs::create_dir_all(dir)?;
        fs::write(dir.join("checkpoint"), head.as_str())
    }
}

/// Every tile and bundle of a log of `size` entries, none of width zero.
pub fn resources(size: TreeSize) -> Vec<Tile> {
    let mut found = Vec::new();
    for index in 0..size.0.div_ceil(TILE_WIDTH) {
        found.extend(Tile::entries(index, bundle_width_at(index, size)));
    }
    let (mut level, mut hashes) = (0, size.0);
    while hashes > 0 {
        for index in 0..hashes.div_ceil(TILE_WIDTH) {
            found.extend(Tile::hashes(level, index, width_at(level, index, size)));
        }
        (level, hashes) = (level + 1, hashes / TILE_WIDTH);
    }
    found
}

#[cfg(test)]
mod tests {
    use ledger::TreeSize;

    use super::resources;

    #[test]
    fn a_size_implies_the_tiles_that_the_specification_lists() {
        let paths = |size| resources(TreeSize(size)).iter().map(|t| t.path()).collect::<Vec<_>>();
        assert_eq!(paths(0), Vec::<String>::new());
        assert_eq!(paths(256), ["tile/entries/000", "tile/0/000", "tile/1/000.p/1"]);
        let large = paths(70_000);
        assert_eq!(large.len(), 274 + 274 + 2 + 1);
        for path in
            ["tile/entries/273.p/112", "tile/0/273.p/112", "tile/1/000", "tile/1/001.p/17", "tile/2/000.p/1"]
        {
            assert!(large.iter().any(|p| p == path), "{path}");
        }
    }
}
