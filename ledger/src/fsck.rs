//! A stored log held against itself: what an auditor checks of a published log, from the store.

use core::fmt;

use crate::{
    audit::{AuditError, LogSource, Visitor, audit},
    log::{self, Log, LogError},
    note::NoteKey,
    store::View,
    tile::Tile,
    tree::TreeSize,
};

/// What is broken in a stored log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogDamage {
    /// Head, tiles and last entry do not fit each other, or cannot be read.
    Edge(LogError),
    /// Something below them.
    Inside(AuditError),
}

impl fmt::Display for LogDamage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Edge(error) => error.fmt(f),
            Self::Inside(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for LogDamage {}

/// Checks every entry, every hash tile level by level and the signed checkpoint of the log stored under `name`, and shows
/// each entry to `visitor` once its bundle agrees with its tile. Returns the size, 0 for a log that was never sealed.
///
/// Shape: streaming, one pass in order, a few tiles in memory. Errors: the first damage.
pub fn check(
    view: &dyn View,
    name: &str,
    key: &NoteKey,
    visitor: Visitor<'_>,
) -> Result<TreeSize, LogDamage> {
    Log::open(name, &key.name, view).map_err(LogDamage::Edge)?;
    let Some(head) = log::head(view, name).map_err(|e| LogDamage::Edge(e.into()))? else {
        return Ok(TreeSize(0));
    };
    let source = StoredLog { view, name, note: head.as_str() };
    audit(&source, key, visitor).map(|checkpoint| checkpoint.size).map_err(LogDamage::Inside)
}

struct StoredLog<'a> {
    view: &'a dyn View,
    name: &'a str,
    note: &'a str,
}

impl LogSource for StoredLog<'_> {
    fn checkpoint(&self) -> String {
        self.note.to_owned()
    }

    fn resource(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
        let Ok(tile) = Tile::parse(path) else { return Ok(None) };
        log::resource(self.view, self.name, &tile).map_err(|e| e.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Batch, Space, Store, memory::MemoryStore};
    use crypto::{secret::Secret, sign::SigningKey};

    #[test]
    fn no_flipped_bit_of_a_stored_log_goes_unseen() {
        let (store, key) = (MemoryStore::default(), SigningKey::from_seed(&Secret::new([3; 32])));
        let public = NoteKey::new("o", key.verifying_key()).unwrap();
        assert_eq!(check(&store, "l", &public, &mut |_, _, _| Ok(())), Ok(TreeSize(0)));
        let mut log = Log::open("l", "o", &store).unwrap();
        for size in [3u64, 600, 1_200] {
            while log.next_index().0 < size {
                log.append(log.next_index().0.to_string().into_bytes()).unwrap();
            }
            let mut batch = Batch::default();
            log.seal(&key, &store, &mut batch).unwrap();
            store.apply(&batch).unwrap();
        }
        let mut seen = 0;
        let size = check(&store, "l", &public, &mut |index, _, _| {
            assert_eq!(index.0, seen);
            seen += 1;
            Ok(())
        });
        assert_eq!((size, seen), (Ok(TreeSize(1_200)), 1_200));
        for space in [Space::Entry, Space::Tile, Space::Head] {
            for (key, value) in store.scan(space, b"", None, usize::MAX).unwrap() {
                for at in (0..value.len()).step_by(1 + value.len() / 40) {
                    let mut image = store.snapshot();
                    let mut flipped = value.clone();
                    flipped[at] ^= 1 << (at % 8);
                    image.set(space, &key, Some(flipped));
                    let found = check(&MemoryStore::restore(image), "l", &public, &mut |_, _, _| Ok(()));
                    assert!(found.is_err(), "{space:?} {key:?} byte {at}");
                }
            }
        }
    }
}
