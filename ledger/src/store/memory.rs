//! A store in memory with faults on demand: for tests, the simulation and crash images.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{Batch, Pair, Space, Store, StoreError, View};

/// How the next apply fails. Both answer with an error; they differ in what a restart finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing of the batch was stored.
    Lost,
    /// The whole batch was stored and only the answer was lost.
    Persisted,
}

/// What a disk would hold at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    map: BTreeMap<(Space, Vec<u8>), Vec<u8>>,
}

impl Image {
    /// Every key with its value, in order; for checkers that search or damage an image.
    pub fn iter(&self) -> impl Iterator<Item = (Space, &[u8], &[u8])> {
        self.map.iter().map(|((space, key), value)| (*space, key.as_slice(), value.as_slice()))
    }

    /// Replaces one value behind the store's back; `None` removes it.
    pub fn set(&mut self, space: Space, key: &[u8], value: Option<Vec<u8>>) {
        match value {
            Some(value) => self.map.insert((space, key.to_vec()), value),
            None => self.map.remove(&(space, key.to_vec())),
        };
    }
}

#[derive(Debug, Default)]
struct State {
    image: Image,
    next_apply: Option<Fault>,
    next_read_fails: bool,
    poisoned: bool,
}

/// The store.
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: Mutex<State>,
}

impl MemoryStore {
    /// A store that starts from `image`, as a process starts from its disk.
    pub fn restore(image: Image) -> Self {
        Self { state: Mutex::new(State { image, ..State::default() }) }
    }

    /// What is stored now, also after a failed apply: what a restart would find.
    pub fn snapshot(&self) -> Image {
        self.lock().image.clone()
    }

    /// Makes the next apply fail.
    pub fn fail_next_apply(&self, fault: Fault) {
        self.lock().next_apply = Some(fault);
    }

    /// Makes the next read fail with `StoreError::Io`; the one after it works again.
    pub fn fail_next_read(&self) {
        self.lock().next_read_fails = true;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while the lock was held cannot have left the map half written: each write is one insert.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        let mut state = self.lock();
        if state.poisoned {
            return Err(StoreError::Poisoned);
        }
        if core::mem::take(&mut state.next_read_fails) {
            return Err(StoreError::Io("read fault on demand".to_owned()));
        }
        Ok(state)
    }
}

impl State {
    fn range(
        &self,
        space: Space,
        from: &[u8],
        to: Option<&[u8]>,
    ) -> impl DoubleEndedIterator<Item = (&(Space, Vec<u8>), &Vec<u8>)> {
        use core::ops::Bound;
        let start = (space, from.to_vec());
        let end = match to {
            Some(to) => Bound::Excluded((space, to.max(from).to_vec())),
            None => match Space::ALL.into_iter().find(|other| *other > space) {
                Some(next) => Bound::Excluded((next, Vec::new())),
                None => Bound::Unbounded,
            },
        };
        self.image.map.range((Bound::Included(start), end))
    }
}

impl View for MemoryStore {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.read()?.image.map.get(&(space, key.to_vec())).cloned())
    }

    fn scan(
        &self,
        space: Space,
        from: &[u8],
        to: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Pair>, StoreError> {
        let state = self.read()?;
        let found = state.range(space, from, to).take(limit);
        Ok(found.map(|((_, key), value)| (key.clone(), value.clone())).collect())
    }

    fn last_in(&self, space: Space, from: &[u8], to: Option<&[u8]>) -> Result<Option<Pair>, StoreError> {
        let state = self.read()?;
        let last = state.range(space, from, to).next_back();
        Ok(last.map(|((_, key), value)| (key.clone(), value.clone())))
    }
}

impl Store for MemoryStore {
    fn apply(&self, batch: &Batch) -> Result<(), StoreError> {
        let mut state = self.lock();
        if state.poisoned {
            return Err(StoreError::Poisoned);
        }
        let fault = state.next_apply.take();
        if fault != Some(Fault::Lost) {
            for (space, key, value) in batch.iter() {
                state.image.set(space, key, value.map(<[u8]>::to_vec));
            }
        }
        if fault.is_some() {
            state.poisoned = true;
            return Err(StoreError::Io("apply fault on demand".to_owned()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_store_keeps_the_contract() {
        // An image is kept beside each store so that reopening one can find it, as a directory would be found.
        super::super::suite::run(&mut || Box::new(Kept::default()), &mut |store| {
            let image = IMAGE.with(|image| image.borrow().clone());
            drop(store);
            Box::new(Kept(MemoryStore::restore(image)))
        });
    }

    thread_local! {
        static IMAGE: std::cell::RefCell<Image> = std::cell::RefCell::default();
    }

    #[derive(Default)]
    struct Kept(MemoryStore);

    impl View for Kept {
        fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
            self.0.get(space, key)
        }
        fn scan(
            &self,
            space: Space,
            from: &[u8],
            to: Option<&[u8]>,
            limit: usize,
        ) -> Result<Vec<Pair>, StoreError> {
            self.0.scan(space, from, to, limit)
        }
        fn last_in(&self, space: Space, from: &[u8], to: Option<&[u8]>) -> Result<Option<Pair>, StoreError> {
            self.0.last_in(space, from, to)
        }
    }

    impl Store for Kept {
        fn apply(&self, batch: &Batch) -> Result<(), StoreError> {
            let result = self.0.apply(batch);
            IMAGE.with(|image| *image.borrow_mut() = self.0.snapshot());
            result
        }
    }

    #[test]
    fn a_failed_apply_poisons_and_a_restart_finds_what_the_fault_left() {
        for (fault, found) in [(Fault::Lost, None), (Fault::Persisted, Some(b"v".to_vec()))] {
            let store = MemoryStore::default();
            let mut batch = Batch::default();
            batch.put(Space::Row, b"k", b"v");
            store.fail_next_apply(fault);
            assert!(matches!(store.apply(&batch), Err(StoreError::Io(_))));
            assert_eq!(store.get(Space::Row, b"k"), Err(StoreError::Poisoned));
            assert_eq!(store.last_in(Space::Row, b"", None), Err(StoreError::Poisoned));
            assert_eq!(store.apply(&batch), Err(StoreError::Poisoned));
            assert_eq!(MemoryStore::restore(store.snapshot()).get(Space::Row, b"k"), Ok(found));
        }
    }

    #[test]
    fn a_failed_read_is_an_error_once() {
        let store = MemoryStore::default();
        store.fail_next_read();
        assert!(matches!(store.scan(Space::Head, b"", None, 1), Err(StoreError::Io(_))));
        assert_eq!(store.scan(Space::Head, b"", None, 1), Ok(vec![]));
    }
}
