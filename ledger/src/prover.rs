//! Inclusion paths for many askers: the inner nodes of tiles are remembered, so that a path is a few reads of memory
//! instead of a few hundred hashes.

use std::sync::Arc;

use crypto::{Digest, merkle::node_hash, recent::Recent};

use crate::{
    checkpoint::SignedCheckpoint,
    log::{self, LogError, tile_range},
    proof::{self, Nodes},
    store::{StoreError, View},
    tree::LeafIndex,
};

/// Tiles remembered at least; twice as many at most, of 16 KiB each. They serve the last 131,072 entries asked for, if
/// those are neighbours; a tile that is not there costs what it costs without this memory.
const TILES: usize = 512;

/// Makes paths in one log. Tiles only ever grow at their end, so what is remembered stays right; whoever takes a log
/// back to an earlier state begins with a new prover.
pub struct Prover {
    name: String,
    tiles: Recent<(u8, u64), Arc<Inner>, TILES>,
}

impl Prover {
    /// A prover for the log `name` that remembers nothing yet.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), tiles: Recent::default() }
    }

    /// As [`log::inclusion`], to the tree of `head`, the log's checkpoint in `view` or an earlier one.
    ///
    /// Errors: `Store`; `OutOfRange` when `index` is not below its size.
    pub fn inclusion(
        &self,
        view: &dyn View,
        index: LeafIndex,
        head: &SignedCheckpoint,
    ) -> Result<Vec<Digest>, LogError> {
        let size = head.claimed().size;
        if !size.covers(index) {
            return Err(LogError::OutOfRange { size });
        }
        Ok(proof::inclusion(&Remembered { prover: self, view }, index, size)?)
    }
}

struct Remembered<'a> {
    prover: &'a Prover,
    view: &'a dyn View,
}

impl Nodes for Remembered<'_> {
    fn node(&self, level: u8, index: u64) -> Result<Digest, StoreError> {
        let (row, n, range) = tile_range(level, index);
        let (height, at) = (usize::from(level % 8), range.start >> (level % 8));
        let Prover { name, tiles } = self.prover;
        let known = tiles.get(&(row, n));
        if let Some(node) = known.as_ref().and_then(|inner| inner.get(height, at)) {
            return Ok(node);
        }
        let hashes = log::stored_tile(self.view, name, row, n)?;
        let inner = Arc::new(Inner::extended(known.as_deref(), hashes));
        tiles.put((row, n), inner.clone());
        inner.get(height, at).ok_or_else(|| StoreError::Corrupt {
            what: format!("tile {row}/{n} of `{name}` is missing or short"),
        })
    }
}

/// The hashes of a tile, and above them every node over a whole pair, up to the tile's root: 511 when it is full.
struct Inner(Vec<Vec<Digest>>);

impl Inner {
    /// Over `hashes`; those of `earlier`, the same tile when it was narrower, are not computed again.
    fn extended(earlier: Option<&Self>, hashes: Vec<Digest>) -> Self {
        let mut rows = vec![hashes];
        for height in 1..=8 {
            let below = &rows[height - 1];
            let mut row = earlier.map_or_else(Vec::new, |inner| inner.0[height].clone());
            row.truncate(below.len() / 2);
            let pairs = below.chunks_exact(2).skip(row.len());
            row.extend(pairs.map(|pair| node_hash(&pair[0], &pair[1])));
            rows.push(row);
        }
        Self(rows)
    }

    fn get(&self, height: usize, at: usize) -> Option<Digest> {
        self.0.get(height)?.get(at).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        log::Log,
        store::{Batch, Store, memory::MemoryStore},
    };
    use crypto::{secret::Secret, sign::SigningKey};

    #[test]
    fn the_paths_are_those_that_are_made_without_a_memory() {
        let key = SigningKey::from_seed(&Secret::new([1; 32]));
        let store = MemoryStore::default();
        let mut log = Log::open("records", "test/records", &store).unwrap();
        let prover = Prover::new("records");
        let mut earlier = Vec::new();
        for step in [1u64, 2, 5, 60, 188, 1, 300, 256, 7] {
            for n in 0..step {
                log.append((log.next_index().0 * 3 + n).to_be_bytes().to_vec()).unwrap();
            }
            let mut batch = Batch::default();
            log.seal(&key, &store, &mut batch).unwrap();
            store.apply(&batch).unwrap();
            earlier.push(log::head(&store, "records").unwrap().unwrap());
            for head in &earlier {
                let size = head.claimed().size;
                for index in (0..size.0).step_by(13).chain([size.0 - 1]).map(LeafIndex) {
                    let plain = log::inclusion(&store, "records", index, size).unwrap();
                    assert_eq!(prover.inclusion(&store, index, head).unwrap(), plain);
                }
                let outside = prover.inclusion(&store, LeafIndex(size.0), head);
                assert_eq!(outside, Err(LogError::OutOfRange { size }));
            }
        }
    }
}
