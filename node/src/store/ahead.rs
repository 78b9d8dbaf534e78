//! What is durable and not yet in the engine: seen from memory until it is there.
//!
//! The engine holds its locks while it puts a table into place, and waits for the disk under them. No small batch waits for
//! that: it is durable in the [`Wal`](crate::wal::Wal), is seen from here, and reaches the engine
//! later, together with those around it and without what they have written over.

use std::{
    collections::{BTreeSet, HashMap},
    iter,
    ops::Bound,
    sync::{
        Mutex, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicBool, Ordering},
    },
};

use fjall::Slice;
use ledger::store::{Batch, Pair, Space, StoreError};

/// A value, or that the key is removed. The engine takes it as it is, without a copy.
pub(super) type Value = Option<Slice>;

/// The writes of batches that follow each other, each seen from its own number on.
#[derive(Default)]
pub(super) struct Ahead {
    spaces: RwLock<[Keys; Space::ALL.len()]>,
}

/// What has become of the keys of one space.
#[derive(Default)]
struct Keys {
    versions: HashMap<Slice, Versions>,
    /// Most ranges have nothing here, and are spared the order.
    begins: Begins,
    order: Mutex<Order>,
}

/// The first bytes that keys have, or have had.
pub(super) struct Begins([AtomicBool; 256]);

impl Default for Begins {
    fn default() -> Self {
        Self([const { AtomicBool::new(false) }; 256])
    }
}

impl Begins {
    /// Adds a key, before a reader may see it.
    pub(super) fn add(&self, key: &[u8]) {
        key.first().into_iter().for_each(|first| self.0[usize::from(*first)].store(true, Ordering::Relaxed));
    }

    /// Whether this key, or one between these two, may be there.
    pub(super) fn may_have(&self, (from, to): (Bound<&[u8]>, Bound<&[u8]>)) -> bool {
        let first = |bound: Bound<&[u8]>| match bound {
            Bound::Unbounded => None,
            Bound::Included(key) | Bound::Excluded(key) => key.first().copied(),
        };
        let (from, to) = (first(from).unwrap_or(0), first(to).unwrap_or(u8::MAX));
        let firsts = self.0.get(usize::from(from)..=usize::from(to)).unwrap_or_default();
        firsts.iter().any(|first| first.load(Ordering::Relaxed))
    }
}

/// What one key became, and with which batch.
struct Versions {
    first: (u64, Value),
    /// Those after it, in their order.
    more: Vec<(u64, Value)>,
}

/// The keys in their order: only a range wants it, and it is made when one does.
#[derive(Default)]
struct Order {
    sorted: BTreeSet<Slice>,
    added: Vec<Slice>,
}

impl Keys {
    fn add(&mut self, key: &[u8], version: (u64, Value)) {
        if let Some(versions) = self.versions.get_mut(key) {
            versions.more.push(version);
            return;
        }
        let key = Slice::from(key);
        self.begins.add(&key);
        self.order.get_mut().unwrap_or_else(PoisonError::into_inner).added.push(key.clone());
        self.versions.insert(key, Versions { first: version, more: Vec::new() });
    }
}

impl Versions {
    /// What the batches up to `last` made of the key.
    fn seen(&self, last: u64) -> Option<&Value> {
        let versions = iter::once(&self.first).chain(&self.more);
        versions.rev().find(|(number, _)| *number <= last).map(|(_, value)| value)
    }
}

impl Ahead {
    fn read(&self) -> RwLockReadGuard<'_, [Keys; Space::ALL.len()]> {
        self.spaces.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds batch `number`, the highest so far.
    pub(super) fn add(&self, number: u64, batch: &Batch) {
        let mut spaces = self.spaces.write().unwrap_or_else(PoisonError::into_inner);
        for (space, key, value) in batch.iter() {
            spaces[space as usize].add(key, (number, value.map(Slice::from)));
        }
    }

    /// What the batches up to `last` made of `key`; `None` when they left it alone.
    pub(super) fn get(&self, space: Space, key: &[u8], last: u64) -> Option<Value> {
        self.read()[space as usize].versions.get(key)?.seen(last).cloned()
    }

    /// Whether nothing was added.
    pub(super) fn is_empty(&self) -> bool {
        self.read().iter().all(|keys| keys.versions.is_empty())
    }

    /// What all of them together made of each key.
    pub(super) fn newest(&self) -> Vec<(Space, Slice, Value)> {
        let spaces = self.read();
        let of = |space: Space| {
            let newest = |versions: &Versions| versions.more.last().unwrap_or(&versions.first).1.clone();
            spaces[space as usize]
                .versions
                .iter()
                .map(move |(key, versions)| (space, key.clone(), newest(versions)))
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
    ) -> Option<(Slice, Value)> {
        let keys = &self.read()[space as usize];
        if !keys.begins.may_have((from, to)) {
            return None;
        }
        let mut order = keys.order.lock().unwrap_or_else(PoisonError::into_inner);
        let Order { sorted, added } = &mut *order;
        sorted.extend(added.drain(..));
        let mut range = sorted.range::<[u8], _>((from, to));
        let found = |key: &Slice| Some((key.clone(), keys.versions.get(key)?.seen(last)?.clone()));
        match side {
            Side::First => range.find_map(found),
            Side::Last => range.rev().find_map(found),
        }
    }
}

/// From which side a range is walked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// Ascending.
    First,
    /// Descending.
    Last,
}

/// The pairs of a range that is not empty: those of the engine, with what batches up to `last` have made of them. `ahead` has the
/// newest first; the engine's pairs come from `side`.
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
            let keys = ahead.iter().filter_map(|(_, pair)| pair.as_ref().map(|(key, _)| key));
            let next = keys.reduce(|a, b| if before(b, a) { b } else { a }).cloned();
            let Some(next) = next else { return engine.next() };
            match engine.peek() {
                Some(Err(_)) => return engine.next(),
                Some(Ok((key, _))) if before(key, &next) => return engine.next(),
                // What the engine has is older.
                Some(Ok((key, _))) if next == key => drop(engine.next()),
                _ => {}
            }
            let mut newest = None;
            for (ahead, pair) in &mut ahead {
                let Some((_, value)) = pair.take_if(|(key, _)| *key == next) else { continue };
                newest.get_or_insert(value);
                let rest = match side {
                    Side::First => (Bound::Excluded(&*next), to),
                    Side::Last => (from, Bound::Excluded(&*next)),
                };
                *pair = if left(rest) { ahead.end(space, rest, last, side) } else { None };
            }
            if let Some(value) = newest.flatten() {
                return Some(Ok((next.to_vec(), value.to_vec())));
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::{collection::vec, option, prelude::*};

    use super::*;

    type Keys = BTreeMap<Vec<u8>, Vec<u8>>;
    type Writes = Vec<(Vec<u8>, Option<u8>)>;

    fn key() -> impl Strategy<Value = Vec<u8>> {
        // Few, so that they meet; short and long ones, and ones that begin another.
        prop_oneof![vec(0u8..3, 1..4), Just(vec![1; 40]), Just(vec![255])]
    }

    fn batch(writes: &Writes) -> Batch {
        let mut batch = Batch::default();
        for (key, value) in writes {
            match value {
                Some(value) => batch.put(Space::Row, key.as_slice(), vec![*value; usize::from(*value)]),
                None => batch.delete(Space::Row, key.as_slice()),
            }
        }
        batch
    }

    fn write(keys: &mut Keys, batch: &Batch) {
        for (_, key, value) in batch.iter() {
            match value {
                Some(value) => drop(keys.insert(key.to_vec(), value.to_vec())),
                None => drop(keys.remove(key)),
            }
        }
    }

    proptest! {
        #[test]
        fn every_view_is_the_engine_with_the_batches_up_to_it(
            engine in vec((key(), option::of(0u8..30)), 0..12),
            batches in vec(vec((key(), option::of(0u8..30)), 0..6), 0..8),
            turn in 0usize..8,
            from in option::of(key()),
            to in option::of((key(), any::<bool>())),
        ) {
            let mut keys = Keys::new();
            write(&mut keys, &batch(&engine));
            let engine = keys.clone();
            let (older, newer) = (Ahead::default(), Ahead::default());
            let mut states = vec![keys.clone()];
            for (number, writes) in (1..).zip(&batches) {
                let batch = batch(writes);
                if number <= turn as u64 { older.add(number, &batch) } else { newer.add(number, &batch) }
                write(&mut keys, &batch);
                states.push(keys.clone());
            }
            // Those of all of them are the last state, too.
            let mut all = engine.clone();
            for ahead in [&older, &newer] {
                for (_, key, value) in ahead.newest() {
                    match value {
                        Some(value) => drop(all.insert(key.to_vec(), value.to_vec())),
                        None => drop(all.remove(&*key)),
                    }
                }
            }
            prop_assert_eq!(Some(&all), states.last());
            let from = from.as_deref().map_or(Bound::Unbounded, Bound::Included);
            let to = to.as_ref().map_or(Bound::Unbounded, |(key, whole)| {
                if *whole { Bound::Included(key.as_slice()) } else { Bound::Excluded(key.as_slice()) }
            });
            for (last, state) in (0..).zip(&states) {
                for key in engine.keys().chain(keys.keys()) {
                    let found = [&newer, &older].iter().find_map(|ahead| ahead.get(Space::Row, key, last));
                    let found = found.map_or_else(|| engine.get(key).cloned(), |value| value.map(|v| v.to_vec()));
                    prop_assert_eq!(found.as_ref(), state.get(key));
                }
                if !left((from, to)) {
                    continue;
                }
                let expected: Vec<Pair> = state.range::<[u8], _>((from, to)).map(|(k, v)| (k.clone(), v.clone())).collect();
                let under = || engine.range::<[u8], _>((from, to)).map(|(k, v)| Ok((k.clone(), v.clone())));
                let walked = |side| {
                    let ahead = [&newer, &older].into_iter();
                    let pairs: Result<Vec<Pair>, StoreError> = match side {
                        Side::First => merged(under(), ahead, Space::Row, (from, to), last, side).collect(),
                        Side::Last => merged(under().rev(), ahead, Space::Row, (from, to), last, side).collect(),
                    };
                    pairs
                };
                prop_assert_eq!(walked(Side::First), Ok(expected.clone()));
                prop_assert_eq!(walked(Side::Last), Ok(expected.into_iter().rev().collect()));
            }
        }
    }

    #[test]
    fn an_error_of_the_engine_ends_what_is_walked_where_it_stands() {
        let ahead = Ahead::default();
        ahead.add(1, &batch(&vec![(vec![1], Some(1)), (vec![9], Some(9))]));
        let engine = [Ok((vec![0], vec![])), Err(StoreError::Poisoned)].into_iter();
        let all = (Bound::Unbounded, Bound::Unbounded);
        let mut pairs = merged(engine, [&ahead].into_iter(), Space::Row, all, 1, Side::First);
        assert_eq!(pairs.next(), Some(Ok((vec![0], vec![]))));
        assert_eq!(pairs.next(), Some(Err(StoreError::Poisoned)));
    }
}
