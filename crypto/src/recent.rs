//! A bounded memory of results that cost more to compute than to keep. What it holds is a pure function of its key, so
//! forgetting changes nothing but the time.

use core::{fmt, mem};
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// At least the last `N` results asked for, at most twice as many: two generations, of which the older one is dropped
/// when the younger one is full. Shared between threads; a copy begins empty, and all are equal.
pub struct Recent<K, V, const N: usize>(Mutex<Generations<K, V>>);

struct Generations<K, V> {
    young: BTreeMap<K, V>,
    old: BTreeMap<K, V>,
}

impl<K: Ord, V: Clone, const N: usize> Recent<K, V, N> {
    /// The result for `key`, if it is remembered.
    pub fn get(&self, key: &K) -> Option<V> {
        let mut held = self.lock();
        if let Some(value) = held.young.get(key) {
            return Some(value.clone());
        }
        let (key, value) = held.old.remove_entry(key)?;
        held.put::<N>(key, value.clone());
        Some(value)
    }

    /// Remembers the result for `key`.
    pub fn put(&self, key: K, value: V) {
        self.lock().put::<N>(key, value);
    }

    fn lock(&self) -> MutexGuard<'_, Generations<K, V>> {
        // Every change is one insertion: a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Ord, V> Generations<K, V> {
    fn put<const N: usize>(&mut self, key: K, value: V) {
        if self.young.len() >= N {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }
}

impl<K, V, const N: usize> Default for Recent<K, V, N> {
    fn default() -> Self {
        Self(Mutex::new(Generations { young: BTreeMap::new(), old: BTreeMap::new() }))
    }
}

impl<K, V, const N: usize> Clone for Recent<K, V, N> {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl<K, V, const N: usize> PartialEq for Recent<K, V, N> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<K, V, const N: usize> Eq for Recent<K, V, N> {}

impl<K, V, const N: usize> fmt::Debug for Recent<K, V, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recent")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_asked_for_stay_and_the_others_go() {
        let recent: Recent<u32, u32, 4> = Recent::default();
        for n in 0..100 {
            recent.put(n, n + 1);
            assert!(recent.get(&0).is_some(), "asked for again and again, it stays");
        }
        assert_eq!(
            (96..100).map(|n| recent.get(&n)).collect::<Option<Vec<_>>>(),
            Some(vec![97, 98, 99, 100])
        );
        assert_eq!(recent.get(&50), None);
        let held = recent.0.lock().unwrap();
        assert!(held.young.len() <= 4 && held.old.len() <= 4);
    }
}
