//! What is durable and not yet in the engine: seen from memory until it is there.
//!
//! The engine holds its locks while it puts a table into place, and waits for the disk under them. Nobody who waits for an
//! answer waits for that: a batch is durable in the [`Wal`](crate::wal::Wal), is seen from here, and reaches the engine
//! later, together with those around it and without what they have written over.

use std::{
    collections::BTreeMap,
    iter,
    ops::Bound,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
};

use ledger::store::{Batch, Pair, Space, StoreError};

/// A value, or that the key is removed.
type Value = Option<Arc<[u8]>>;

/// What one key became, and with which batch; in their order.
type Versions = Vec<(u64, Value)>;

/// The writes of batches that follow each other, each seen from its own number on.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    spaces: RwLock<[BTreeMap<Vec<u8>, Versions>; Space::ALL.len()]>,
}

impl Ahead {
    fn read(&self) -> RwLockReadGuard<'_, [BTreeMap<Vec<u8>, Versions>; Space::ALL.len()]> {
        self.spaces.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds batch `number`, the highest so far.
    pub(super) fn add(&self, number: u64, batch: &Batch) {
        let mut spaces = self.spaces.write().unwrap_or_else(PoisonError::into_inner);
        for (space, key, value) in batch.iter() {
            let version = (number, value.map(Arc::from));
            let keys = &mut spaces[space as usize];
            match keys.get_mut(key) {
                Some(versions) => versions.push(version),
                None => drop(keys.insert(key.to_vec(), vec![version])),
            }
        }
    }

    /// What the batches up to `last` made of `key`; `None` when they left it alone.
    pub(super) fn get(&self, space: Space, key: &[u8], last: u64) -> Option<Value> {
        self.read()[space as usize].get(key).and_then(|versions| seen(versions, last)).cloned()
    }

    /// Whether nothing was added.
    pub(super) fn is_empty(&self) -> bool {
        self.read().iter().all(BTreeMap::is_empty)
    }

    /// What all of them together made of each key.
    pub(super) fn newest(&self) -> Vec<(Space, Vec<u8>, Value)> {
        let spaces = self.read();
        let of = |space: Space| {
            let newest = spaces[space as usize]
                .iter()
                .filter_map(|(key, versions)| versions.last().map(|(_, value)| (key, value)));
            newest.map(move |(key, value)| (space, key.clone(), value.clone()))
        };
        Space::ALL.into_iter().flat_map(of).collect()
    }

    /// The first key between two, or the last, that the batches up to `last` have touched.
    fn end(
        &self,
        space: Space,
        (from, to): (Bound<&[u8]>, Bound<&[u8]>),
        last: u64,
        side: Side,
    ) -> Option<(Vec<u8>, Value)> {
        let spaces = self.read();
        let mut range = spaces[space as usize].range::<[u8], _>((from, to));
        let found =
            |(key, versions): (&Vec<u8>, &Versions)| Some((key.clone(), seen(versions, last)?.clone()));
        match side {
            Side::First => range.find_map(found),
            Side::Last => range.rev().find_map(found),
        }
    }
}

/// What the batches up to `last` made of a key.
fn seen(versions: &[(u64, Value)], last: u64) -> Option<&Value> {
    versions.iter().rev().find(|(number, _)| *number <= last).map(|(_, value)| value)
}

/// From which side a range is walked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// Ascending.
    First,
    /// Descending.
    Last,
}

/// The pairs of a range that is not empty: those of the engine, with what batches up to `last` have made of them. `ahead` has the newest first; the
/// engine's pairs come from `side`.
pub(super) fn merged<'a>(
    engine: impl Iterator<Item = Result<Pair, StoreError>> + 'a,
    ahead: impl Iterator<Item = &'a Ahead>,
    space: Space,
    (from, to): (Bound<&'a [u8]>, Bound<&'a [u8]>),
    last: u64,
    side: Side,
) -> impl Iterator<Item = Result<Pair, StoreError>> + 'a {
    let mut engine = engine.peekable();
    let mut ahead: Vec<_> = ahead.map(|ahead| (ahead, ahead.end(space, (from, to), last, side))).collect();
    iter::from_fn(move || {
        loop {
            let before = |a: &[u8], b: &[u8]| if side == Side::First { a < b } else { a > b };
            // Of equal keys the newest counts, which comes first.
            let mut next: Option<&[u8]> = None;
            let keys = ahead.iter().filter_map(|(_, pair)| pair.as_ref().map(|(key, _)| key.as_slice()));
            keys.for_each(|key| {
                if next.is_none_or(|next| before(key, next)) {
                    next = Some(key);
                }
            });
            let Some(next) = next.map(<[u8]>::to_vec) else { return engine.next() };
            match engine.peek() {
                Some(Err(_)) => return engine.next(),
                Some(Ok((key, _))) if before(key, &next) => return engine.next(),
                // It has an older one.
                Some(Ok((key, _))) if *key == next => drop(engine.next()),
                _ => {}
            }
            let mut newest: Option<Value> = None;
            for (ahead, pair) in &mut ahead {
                if let Some((_, value)) = pair.take_if(|(key, _)| *key == next) {
                    newest.get_or_insert(value);
                    let rest = match side {
                        Side::First => (Bound::Excluded(next.as_slice()), to),
                        Side::Last => (from, Bound::Excluded(next.as_slice())),
                    };
                    *pair = left(rest).then(|| ahead.end(space, rest, last, side)).flatten();
                }
            }
            if let Some(value) = newest.flatten() {
                return Some(Ok((next, value.to_vec())));
            }
        }
    })
}

/// Whether a range between two keys can hold one; where none can, both the engine and a `BTreeMap` refuse it.
pub(super) fn left((from, to): (Bound<&[u8]>, Bound<&[u8]>)) -> bool {
    match (from, to) {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => true,
        (Bound::Included(from) | Bound::Excluded(from), Bound::Included(to) | Bound::Excluded(to)) => {
            from < to
        }
    }
}
