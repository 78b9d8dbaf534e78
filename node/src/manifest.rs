//! The engine's manifests, held against the checksums that the engine writes and does not look at.
//!
//! Each keyspace has a file `v<n>` that names its tables, and a file `current` with n (u64), the XXH3-128 of that file
//! (u128) and the number 0 for the kind of checksum, all little endian. A changed bit in the manifest can hide rows or bring
//! older ones forward, and the engine (lsm-tree 3.1) opens it all the same.

use std::{fs, io, path::Path};

use xxhash_rust::xxh3::xxh3_128;

/// Length of `current`, in bytes.
const CURRENT_BYTES: usize = 25;

/// Checks the manifest of every keyspace of the store in `dir`.
///
/// Errors: `InvalidData` names the file. A keyspace without `current` is not finished, and the engine's to deal with.
pub fn check(dir: &Path) -> io::Result<()> {
    let keyspaces = match fs::read_dir(dir.join("keyspaces")) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        keyspaces => keyspaces?,
    };
    for keyspace in keyspaces {
        let keyspace = keyspace?.path();
        let path = keyspace.join("current");
        let current = match fs::read(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            current => current?,
        };
        let damaged = |path: &Path| {
            io::Error::new(io::ErrorKind::InvalidData, format!("{} is damaged", path.display()))
        };
        let Ok(current) = <[u8; CURRENT_BYTES]>::try_from(current) else { return Err(damaged(&path)) };
        let number = |at: core::ops::Range<usize>| {
            current[at].iter().rev().fold(0u128, |n, byte| n << 8 | u128::from(*byte))
        };
        let manifest = keyspace.join(format!("v{}", number(0..8)));
        if current[24] != 0 || xxh3_128(&fs::read(&manifest)?) != number(8..24) {
            return Err(damaged(&manifest));
        }
    }
    Ok(())
}
