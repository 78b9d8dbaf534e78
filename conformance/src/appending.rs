//! A short history of batches over every space of a store, the same every time: what a store must hold after the n-th is
//! known byte by byte, without asking how logs and rows lie in it.

use crypto::{secret::Secret, sign::SigningKey};
use ledger::{
    log::{Log, LogError},
    store::{Batch, Space, Store, StoreError, View, memory::MemoryStore},
};

/// Entries of the longer log in a batch, and in a large one: that completes tiles and has a whole bundle.
const ENTRIES: [u64; 2] = [150, 600];
/// Bytes of a payload: a batch is more than one write of the engine, and a large one does not go into the file beside the store.
const PAYLOAD_BYTES: [usize; 2] = [6_000, 300_000];
/// Of so many batches, the second is a large one.
const LARGE_EVERY: u64 = 300;
/// The row with the number of batches.
const NUMBER: &[u8] = b"number";

/// Everything in a store, in order.
pub type Image = Vec<(Space, Vec<u8>, Vec<u8>)>;

/// How many batches the store has.
pub fn number(view: &dyn View) -> Result<u64, StoreError> {
    match view.get(Space::Row, NUMBER)? {
        None => Ok(0),
        Some(bytes) => bytes
            .try_into()
            .map(u64::from_be_bytes)
            .map_err(|_| StoreError::Corrupt { what: "the number of batches".to_owned() }),
    }
}

/// Whether the n-th batch is a large one.
pub const fn is_large(n: u64) -> bool {
    n % LARGE_EVERY == 2
}

/// Applies the next batch: two logs grow, rows come, change and go. Returns its number.
pub fn next(store: &dyn Store) -> Result<u64, LogError> {
    let n = number(store)? + 1;
    let key = SigningKey::from_seed(&Secret::new([9; 32]));
    let mut batch = Batch::default();
    let size = usize::from(is_large(n));
    for (name, count) in [("long", ENTRIES[size]), ("mirror/x/short", n % 2)] {
        let mut log = Log::open(name, &format!("example/{name}"), store)?;
        for i in 0..count {
            log.append(format!("entry {i} of batch {n}").into_bytes())?;
        }
        log.seal(&key, store, &mut batch)?;
    }
    batch.put(Space::Row, NUMBER, n.to_be_bytes());
    batch.put(Space::Row, format!("row {n}"), format!("value {n}"));
    batch.delete(Space::Row, format!("row {}", n - 1));
    let noise: Vec<u8> = (0..PAYLOAD_BYTES[size] as u64).map(|i| ((i * i * (n + 7)) >> 3) as u8).collect();
    batch.put(Space::Payload, n.to_be_bytes(), noise);
    store.apply(&batch)?;
    Ok(n)
}

/// Everything in a store.
pub fn image(view: &dyn View) -> Result<Image, StoreError> {
    let mut image = Vec::new();
    for space in Space::ALL {
        image.extend(view.scan(space, b"", None, usize::MAX)?.into_iter().map(|(k, v)| (space, k, v)));
    }
    Ok(image)
}

/// What a store must hold after 0 to `batches` batches.
pub fn images(batches: u64) -> Result<Vec<Image>, LogError> {
    let store = MemoryStore::default();
    let mut images = vec![image(&store)?];
    for _ in 0..batches {
        next(&store)?;
        images.push(image(&store)?);
    }
    Ok(images)
}
