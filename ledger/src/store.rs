//! The storage contract, in words and traits.
//!
//! - Keys are byte strings of 1 to 65,535 bytes in five spaces, ordered byte by byte. A value is bytes.
//! - A [`Batch`] is applied all or nothing, and is durable when [`Store::apply`] returns `Ok`.
//! - A read sees every batch applied before it, and of a batch either all or nothing once `apply` has returned. Readers
//!   may run beside the one writer.
//! - A failed read is an error, never an empty answer.
//! - After a failed `apply` nobody knows what is on the disk. The store then answers every call with
//!   [`StoreError::Poisoned`]; the process ends, and opening the store again is the only way on.
//! - One process has a store open at a time.
//!
//! [`suite`] tests every store against these sentences.

pub mod memory;
pub mod suite;

use core::fmt;
use std::collections::BTreeMap;

/// A key with its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// The five spaces of keys.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Space {
    /// Entries of logs; written once.
    Entry,
    /// Hash tiles of logs; the right edge is rewritten.
    Tile,
    /// The newest checkpoint of each log.
    Head,
    /// Everything else that has a key of its own: indexes, standings, cases, deliveries.
    Row,
    /// Bulk beside the logs: sealed records under rising numbers, written in order and rarely read.
    Payload,
}

impl Space {
    /// Every space, in order.
    pub const ALL: [Self; 5] = [Self::Entry, Self::Tile, Self::Head, Self::Row, Self::Payload];

    /// Name of the space on disk.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Entry => "entry",
            Self::Tile => "tile",
            Self::Head => "head",
            Self::Row => "row",
            Self::Payload => "payload",
        }
    }
}

/// Why storage could not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// The medium or the engine failed; carries its reason.
    Io(String),
    /// What was read cannot be right; says what.
    Corrupt {
        /// The thing that is missing or damaged.
        what: String,
    },
    /// An earlier apply failed; restart.
    Poisoned,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(why) => write!(f, "storage failed: {why}"),
            Self::Corrupt { what } => write!(f, "stored data is damaged: {what}"),
            Self::Poisoned => f.write_str("storage failed earlier; restart"),
        }
    }
}

impl std::error::Error for StoreError {}

/// Reading.
pub trait View {
    /// The value at `key`.
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Shows the value at `key` to `see`, if there is one; returns whether there is. For large values of which little is wanted: a
    /// store need not copy it.
    fn look(&self, space: Space, key: &[u8], see: &mut dyn FnMut(&[u8])) -> Result<bool, StoreError> {
        Ok(self.get(space, key)?.as_deref().map(see).is_some())
    }

    /// Ascending keys `k` with `from <= k < to` (`to` = `None`: to the end of the space), at most `limit`.
    fn scan(
        &self,
        space: Space,
        from: &[u8],
        to: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Pair>, StoreError>;

    /// The greatest key `k` with `from <= k < to` (`to` = `None`: to the end of the space).
    fn last_in(&self, space: Space, from: &[u8], to: Option<&[u8]>) -> Result<Option<Pair>, StoreError>;

    /// Ascending keys that begin with `prefix`, at most `limit`.
    fn scan_prefix(&self, space: Space, prefix: &[u8], limit: usize) -> Result<Vec<Pair>, StoreError> {
        self.scan(space, prefix, after_prefix(prefix).as_deref(), limit)
    }

    /// The greatest key that begins with `prefix`.
    fn last_with_prefix(&self, space: Space, prefix: &[u8]) -> Result<Option<Pair>, StoreError> {
        self.last_in(space, prefix, after_prefix(prefix).as_deref())
    }
}

/// Reading and writing.
pub trait Store: View + Send + Sync {
    /// Applies `batch`: all or nothing, durable when `Ok`.
    ///
    /// Errors: any error leaves the store poisoned.
    fn apply(&self, batch: &Batch) -> Result<(), StoreError>;
}

/// Writes that belong together. A later write to the same key replaces an earlier one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    writes: BTreeMap<(Space, Vec<u8>), Option<Vec<u8>>>,
}

impl Batch {
    /// Writes `value` at `key`.
    pub fn put(&mut self, space: Space, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.writes.insert((space, key.into()), Some(value.into()));
    }

    /// Removes `key`; removing what is not there is no error.
    pub fn delete(&mut self, space: Space, key: impl Into<Vec<u8>>) {
        self.writes.insert((space, key.into()), None);
    }

    /// Whether nothing is written.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Keys written or removed.
    pub fn len(&self) -> usize {
        self.writes.len()
    }

    /// Adds the writes of `other`, which are the later ones.
    pub fn merge(&mut self, mut other: Self) {
        if self.writes.len() < other.writes.len() {
            // The smaller map is walked, the larger one kept; of two writes to a key the later one stays.
            for (key, value) in core::mem::take(&mut self.writes) {
                other.writes.entry(key).or_insert(value);
            }
            self.writes = other.writes;
        } else {
            self.writes.extend(other.writes);
        }
    }

    /// Every write in ascending order; `None` is a removal.
    pub fn iter(&self) -> impl Iterator<Item = (Space, &[u8], Option<&[u8]>)> {
        self.writes.iter().map(|((space, key), value)| (*space, key.as_slice(), value.as_deref()))
    }

    /// What this batch does to `key`: `None` nothing, `Some(None)` removes it.
    fn written(&self, space: Space, key: &[u8]) -> Option<Option<&[u8]>> {
        // The map's key is owned; a lookup copies it, which beside a store read costs nothing.
        self.writes.get(&(space, key.to_vec())).map(Option::as_deref)
    }

    fn range<'a>(
        &'a self,
        space: Space,
        from: &[u8],
        to: Option<&'a [u8]>,
    ) -> impl DoubleEndedIterator<Item = (&'a Vec<u8>, Option<&'a [u8]>)> {
        // An end below the start is an empty range here, where `BTreeMap::range` would panic.
        let bounded = to.is_none_or(|to| from <= to);
        let start = if bounded { from.to_vec() } else { Vec::new() };
        self.writes
            .range((space, start)..)
            .take_while(move |((s, k), _)| bounded && *s == space && to.is_none_or(|to| k.as_slice() < to))
            .map(|((_, key), value)| (key, value.as_deref()))
            .collect::<Vec<_>>()
            .into_iter()
    }
}

/// A view with writes in front of it that are not yet applied.
///
/// Overlays nest: an overlay over an overlay is a savepoint. Drop it to roll back, or hand its batch to
/// [`Overlay::absorb`] of the one below to keep it.
pub struct Overlay<'a> {
    base: &'a dyn View,
    batch: Batch,
}

impl fmt::Debug for Overlay<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Overlay({} writes)", self.batch.len())
    }
}

impl<'a> Overlay<'a> {
    /// An overlay without writes.
    pub fn new(base: &'a dyn View) -> Self {
        Self { base, batch: Batch::default() }
    }

    /// A savepoint over another overlay.
    pub fn over(base: &'a Overlay<'_>) -> Self {
        Self::new(base)
    }

    /// Writes `value` at `key`.
    pub fn put(&mut self, space: Space, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.batch.put(space, key, value);
    }

    /// Removes `key`.
    pub fn delete(&mut self, space: Space, key: impl Into<Vec<u8>>) {
        self.batch.delete(space, key);
    }

    /// Adds writes decided elsewhere, as the latest.
    pub fn absorb(&mut self, batch: Batch) {
        self.batch.merge(batch);
    }

    /// The writes so far.
    pub fn batch(&self) -> &Batch {
        &self.batch
    }

    /// The writes, to be applied or absorbed.
    #[must_use]
    pub fn into_batch(self) -> Batch {
        self.batch
    }
}

impl View for Overlay<'_> {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.batch.written(space, key) {
            Some(value) => Ok(value.map(<[u8]>::to_vec)),
            None => self.base.get(space, key),
        }
    }

    fn look(&self, space: Space, key: &[u8], see: &mut dyn FnMut(&[u8])) -> Result<bool, StoreError> {
        match self.batch.written(space, key) {
            Some(value) => Ok(value.map(see).is_some()),
            None => self.base.look(space, key, see),
        }
    }

    fn scan(
        &self,
        space: Space,
        from: &[u8],
        to: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Pair>, StoreError> {
        let pending: Vec<_> = self.batch.range(space, from, to).collect();
        // Each removal can hide one key of the base, so that many more are read to be sure of `limit`.
        let removed = pending.iter().filter(|(_, value)| value.is_none()).count();
        let below = self.base.scan(space, from, to, limit.saturating_add(removed))?;
        let mut merged: BTreeMap<Vec<u8>, Vec<u8>> = below.into_iter().collect();
        for (key, value) in pending {
            match value {
                Some(value) => merged.insert(key.clone(), value.to_vec()),
                None => merged.remove(key),
            };
        }
        // The base may end at its own limit while pending keys lie beyond it; the smallest `limit` are right all the same.
        Ok(merged.into_iter().take(limit).collect())
    }

    fn last_in(&self, space: Space, from: &[u8], to: Option<&[u8]>) -> Result<Option<Pair>, StoreError> {
        let pending = self
            .batch
            .range(space, from, to)
            .rev()
            .find_map(|(key, value)| value.map(|value| (key.clone(), value.to_vec())));
        let mut below = self.base.last_in(space, from, to)?;
        while let Some((key, _)) = &below {
            if self.batch.written(space, key) != Some(None) {
                break;
            }
            let key = key.clone();
            below = self.base.last_in(space, from, Some(&key))?;
        }
        Ok(match (pending, below) {
            (Some(pending), Some(below)) if below.0 > pending.0 => Some(below),
            (None, below) => below,
            (pending, _) => pending,
        })
    }
}

/// The first key after all keys that begin with `prefix`; `None` when there is none.
pub fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|b| *b != 0xff)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::{memory::MemoryStore, *};
    use proptest::prelude::*;

    #[test]
    fn an_overlay_is_a_savepoint_that_can_be_dropped_or_kept() {
        let store = MemoryStore::default();
        let mut outer = Overlay::new(&store);
        outer.put(Space::Row, b"a", b"1");
        {
            let mut inner = Overlay::over(&outer);
            inner.delete(Space::Row, b"a");
            assert_eq!(inner.get(Space::Row, b"a"), Ok(None));
        }
        assert_eq!(outer.get(Space::Row, b"a"), Ok(Some(b"1".to_vec())));
        let mut inner = Overlay::over(&outer);
        inner.delete(Space::Row, b"a");
        inner.put(Space::Row, b"b", b"2");
        let kept = inner.into_batch();
        outer.absorb(kept);
        assert_eq!(outer.scan_prefix(Space::Row, b"", 9), Ok(vec![(b"b".to_vec(), b"2".to_vec())]));
        assert_eq!(store.scan_prefix(Space::Row, b"", 9), Ok(vec![]));
    }

    #[test]
    fn prefixes_end_where_the_next_key_begins() {
        assert_eq!(after_prefix(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(after_prefix(&[1, 0xff]), Some(vec![2]));
        assert_eq!(after_prefix(&[0xff, 0xff]), None);
        assert_eq!(after_prefix(b""), None);
    }

    type Write = (bool, Vec<u8>, Option<u8>);

    fn writes() -> impl Strategy<Value = Vec<Write>> {
        let key = proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(0xff)], 0..4);
        proptest::collection::vec((any::<bool>(), key, any::<Option<u8>>()), 0..24)
    }

    fn batch(writes: &[Write]) -> Batch {
        let mut batch = Batch::default();
        for (row, key, value) in writes {
            let space = if *row { Space::Row } else { Space::Head };
            match value {
                Some(value) => batch.put(space, key.clone(), [*value]),
                None => batch.delete(space, key.clone()),
            }
        }
        batch
    }

    proptest! {
        #[test]
        fn an_overlay_reads_as_if_its_batch_had_been_applied(
            below in writes(), above in writes(), from in proptest::collection::vec(any::<u8>(), 0..3),
            to in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..3)), limit in 0usize..8,
        ) {
            let (base, applied) = (MemoryStore::default(), MemoryStore::default());
            base.apply(&batch(&below)).unwrap();
            applied.apply(&batch(&below)).unwrap();
            applied.apply(&batch(&above)).unwrap();
            let mut overlay = Overlay::new(&base);
            overlay.absorb(batch(&above));
            for space in [Space::Head, Space::Row] {
                let to = to.as_deref();
                prop_assert_eq!(overlay.scan(space, &from, to, limit), applied.scan(space, &from, to, limit));
                prop_assert_eq!(overlay.last_in(space, &from, to), applied.last_in(space, &from, to));
                prop_assert_eq!(overlay.last_with_prefix(space, &from), applied.last_with_prefix(space, &from));
                prop_assert_eq!(overlay.scan_prefix(space, &from, limit), applied.scan_prefix(space, &from, limit));
                prop_assert_eq!(overlay.get(space, &from), applied.get(space, &from));
            }
        }
    }
}
