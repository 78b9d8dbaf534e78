//! What one key may hold of a node: connections, and bytes of requests in arrival and of responses that are not yet read.
//! Whoever sends half of everything, or reads nothing, runs into its own share, and leaves the others theirs.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use crypto::sign::PublicKey;
use exchange::refusal::{Code, Refusal};

/// Connections of one key: a member needs one, and a bank behind several machines a few.
pub const CONNECTIONS_PER_KEY_MAX: usize = 256;
/// Bytes held for one key: two merged answers at their largest, or some 8,000 questions under way.
pub const BYTES_PER_KEY_MAX: usize = 32 * 1024 * 1024;
/// What an open request counts besides its bytes: its task and its stream.
pub const REQUEST_BYTES: usize = 4 * 1024;

/// What every key holds.
#[derive(Clone, Default)]
pub struct Places(Arc<Mutex<BTreeMap<PublicKey, Used>>>);

#[derive(Default)]
struct Used {
    connections: usize,
    bytes: usize,
}

impl Places {
    /// A connection's place; `None` when the key has as many as it may.
    pub fn take(&self, key: PublicKey) -> Option<Place> {
        let taken = self.change(key, |used| {
            let free = used.connections < CONNECTIONS_PER_KEY_MAX;
            used.connections += usize::from(free);
            free
        });
        taken.then(|| Place { places: self.clone(), key })
    }

    /// Changes what a key holds, and forgets a key that holds nothing.
    fn change<T>(&self, key: PublicKey, change: impl FnOnce(&mut Used) -> T) -> T {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let used = all.entry(key).or_default();
        let changed = change(used);
        if used.connections == 0 && used.bytes == 0 {
            all.remove(&key);
        }
        changed
    }
}

/// One of the connections of a key; given back when dropped.
pub struct Place {
    places: Places,
    key: PublicKey,
}

impl Place {
    /// A share in the key's bytes, with none yet, of at most `max`.
    pub fn hold(&self, max: usize) -> Held {
        Held { places: self.places.clone(), key: self.key, bytes: 0, max }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.change(self.key, |used| used.connections = used.connections.saturating_sub(1));
    }
}

/// Bytes held for one request and its response; given back when dropped.
pub struct Held {
    places: Places,
    key: PublicKey,
    bytes: usize,
    /// Most bytes of the key.
    max: usize,
}

impl Held {
    /// Holds `bytes` in place of those held so far.
    ///
    /// Errors: `node.busy` when the key would hold more than it may; then what was held stays.
    pub fn set(&mut self, bytes: usize) -> Result<(), Refusal> {
        let before = self.bytes;
        let fits = self.places.change(self.key, |used| {
            let after = used.bytes.saturating_sub(before).saturating_add(bytes);
            let fits = after <= self.max || bytes <= before;
            if fits {
                used.bytes = after;
            }
            fits
        });
        if !fits {
            let why =
                "requests and responses under way hold as much as one member may; read the responses first";
            return Err(Refusal::new(Code::Busy, why));
        }
        self.bytes = bytes;
        Ok(())
    }

    /// Holds `bytes` more.
    ///
    /// Errors: as [`Held::set`].
    pub fn add(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.set(self.bytes.saturating_add(bytes))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let held = self.bytes;
        self.places.change(self.key, |used| used.bytes = used.bytes.saturating_sub(held));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u8) -> PublicKey {
        PublicKey([n; 32])
    }

    #[test]
    fn a_key_holds_no_more_than_its_share_and_takes_nothing_from_another() {
        let places = Places::default();
        let (one, other) = (places.take(key(1)).unwrap(), places.take(key(2)).unwrap());
        let (mut first, mut second) = (one.hold(100), one.hold(100));
        assert!(first.add(60).is_ok() && second.add(40).is_ok());
        let refusal = second.add(1).unwrap_err();
        assert!(refusal.known() == Some(Code::Busy) && refusal.retry_after_ms.is_some());
        assert!(other.hold(100).set(100).is_ok());
        // Less is always possible, and gives the rest back.
        assert!(first.set(10).is_ok() && second.add(50).is_ok() && second.add(1).is_err());
        drop(second);
        assert!(first.set(100).is_ok());
    }

    #[test]
    fn a_key_has_so_many_connections_and_one_that_holds_nothing_is_forgotten() {
        let places = Places::default();
        let all: Vec<Place> = (0..CONNECTIONS_PER_KEY_MAX).map(|_| places.take(key(1)).unwrap()).collect();
        assert!(places.take(key(1)).is_none() && places.take(key(2)).is_some());
        let mut held = all[0].hold(10);
        held.set(10).unwrap();
        drop(all);
        assert_eq!(places.0.lock().unwrap().len(), 1, "bytes outlive the connection");
        drop(held);
        assert!(places.0.lock().unwrap().is_empty());
    }
}
