//! The engine's journal after a power failure: cut where its whole batches end.
//!
//! What was not flushed may be on the disk in part, with zeros between. The engine (fjall 3.1) cuts a journal at what it cannot
//! read, but does not open one in which a batch reads well and has another checksum. The journal is cut here then. The whole one
//! stays beside it until the store is open, and comes back where something is missing without its end: what was acknowledged is in
//! front of the cut, or in the [`Wal`](crate::wal).
//!
//! Format, numbers little endian: a batch is 1, the number of its items (`u32`), a sequence number (`u64`); each item 2, kind of
//! value (`u8`), compression (`u8`), keyspace (`u64`), lengths of the key (`u16`), of the value (`u32`) and of the value as stored
//! (`u32`), key and value, or 4 and a keyspace (`u64`); then 3, the XXH3-64 of the items (`u64`) and `FJL` with the number 3.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use xxhash_rust::xxh3::Xxh3;

use crate::keys::sync_dir;

const TRAILER: [u8; 4] = [b'F', b'J', b'L', 3];

/// Cuts the newest journal of the store in `dir`; `false` where there is nothing to cut.
///
/// Errors: the disk. The journal is then as it was.
pub fn cut(dir: &Path) -> io::Result<bool> {
    let Some(journal) = newest(dir)? else { return Ok(false) };
    let bytes = fs::read(&journal)?;
    let end = whole(&bytes);
    if bytes.iter().skip(end).all(|byte| *byte == 0) {
        return Ok(false);
    }
    let (aside, temporary) = (journal.with_extension("torn"), journal.with_extension("cut"));
    remove(&aside)?;
    fs::hard_link(&journal, &aside)?;
    fs::write(&temporary, bytes.get(..end).unwrap_or_default())?;
    fs::File::open(&temporary)?.sync_all()?;
    fs::rename(&temporary, &journal)?;
    sync_dir(dir)?;
    Ok(true)
}

/// Whether the journal of the store in `dir`, if there is one, was cut by a start that has not come to its end.
pub fn is_cut(dir: &Path) -> io::Result<bool> {
    Ok(dir.is_dir() && !aside(dir)?.is_empty())
}

/// Takes back what [`cut`] has put aside: without its end something is missing.
pub fn put_back(dir: &Path) -> io::Result<()> {
    aside(dir)?.iter().try_for_each(|path| fs::rename(path, path.with_extension("jnl")))?;
    sync_dir(dir)
}

fn aside(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let paths = fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.path()));
    let torn = |path: &PathBuf| path.extension().is_some_and(|kind| kind == "torn");
    paths.filter(|path| path.as_ref().map_or(true, torn)).collect()
}

/// Removes what [`cut`] has put aside: the store is open.
pub fn forget(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|kind| kind == "torn" || kind == "cut") {
            remove(&path)?;
        }
    }
    Ok(())
}

fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path).or_else(|e| if e.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(e) })
}

fn newest(dir: &Path) -> io::Result<Option<PathBuf>> {
    let mut newest: Option<(u64, PathBuf)> = None;
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let number = path.extension().filter(|kind| *kind == "jnl").and(path.file_stem());
        if let Some(number) = number.and_then(|stem| stem.to_str()?.parse::<u64>().ok())
            && newest.as_ref().is_none_or(|(most, _)| number > *most)
        {
            newest = Some((number, path));
        }
    }
    Ok(newest.map(|(_, path)| path))
}

/// Bytes of the whole batches at the beginning.
fn whole(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    let mut end = 0;
    while batch(&mut rest).is_some() {
        end = bytes.len() - rest.len();
    }
    end
}

fn batch(bytes: &mut &[u8]) -> Option<()> {
    if take(bytes)? != [1u8] {
        return None;
    }
    let items = u32::from_le_bytes(take(bytes)?);
    bytes.split_off(..8)?;
    let mut hash = Xxh3::new();
    for _ in 0..items {
        let start = *bytes;
        match take(bytes)? {
            [2] => {
                bytes.split_off(..10)?;
                let key = u16::from_le_bytes(take(bytes)?);
                bytes.split_off(..4)?;
                let value = u32::from_le_bytes(take(bytes)?);
                bytes.split_off(..usize::from(key))?;
                bytes.split_off(..usize::try_from(value).ok()?)?;
            }
            [4] => drop(bytes.split_off(..8)?),
            _ => return None,
        }
        hash.update(start.get(..start.len() - bytes.len())?);
    }
    let end = take(bytes)? == [3u8];
    let checksum = u64::from_le_bytes(take(bytes)?);
    (end && checksum == hash.digest() && take(bytes)? == TRAILER).then_some(())
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    bytes.split_off(..N)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_bytes_make_the_reader_fail() {
        proptest::proptest!(|(bytes in proptest::collection::vec(0u8..5, 0..200))| { whole(&bytes); });
    }
}
