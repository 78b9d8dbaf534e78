//! The newest batches, written down before the engine has them for good.
//!
//! A flush of the engine's journal, which grows, waits for the disk twice: for the batch, and for the file's new size and
//! place. This file has its size and its place from the start, and lies beside the store's directory. A batch is written into
//! it and flushed once. The file has two halves. When one of them holds [`FULL_BYTES`], the batches in it go to the engine, which
//! flushes them, while the next ones are written into the other half, over what that held: the engine has it for good by then.
//!
//! At start the engine may lack what this file holds: it gets that again. Which batch follows which is a chain of digests. Its
//! newest link is kept in the engine with what it is given, so that a file that belongs to another store, or to another past of
//! it, is not mistaken for the continuation. A frame that is torn, and what lies behind it, was never acknowledged.
//!
//! Format, one frame after the other from the beginning of each half, numbers little endian: length of the body (`u32`), number of the
//! batch (`u64`), link of the batch before (32 bytes), link of this one (32 bytes, BLAKE3 of all the rest), body. The body holds
//! for each write its space (`u8`), 1 or 0 for a value or a removal (`u8`), the key's length (`u32`) and the key, and with a
//! value its length (`u32`) and the value.

use std::{
    fs, io,
    io::Read,
    path::{Path, PathBuf},
};

use ledger::store::{Batch, Space};

use crate::keys::sync_dir;

/// The digest of a batch and all before it.
pub type Link = [u8; 32];

/// What is in one half goes to the engine when it is so much.
pub const FULL_BYTES: u64 = 2 << 20;
/// The longest body. A larger batch goes to the engine alone, which flushes it at once: beside writing it twice, one more wait
/// is nothing.
pub const BODY_BYTES_MAX: usize = 256 << 10;
/// Bytes of a frame before its body.
const HEAD_BYTES: usize = 4 + 8 + 32 + 32;
/// What a half never outgrows.
pub const HALF_BYTES: u64 = FULL_BYTES + ((HEAD_BYTES + BODY_BYTES_MAX) as u64).next_multiple_of(4096);
const FILE_BYTES: u64 = 2 * HALF_BYTES;

/// What a frame says before its body.
struct Head {
    body_bytes: u32,
    count: u64,
    before: Link,
    link: Link,
}

impl Head {
    fn write(&self) -> Vec<u8> {
        [&self.body_bytes.to_le_bytes()[..], &self.count.to_le_bytes(), &self.before, &self.link].concat()
    }

    fn read(mut bytes: &[u8]) -> Option<Self> {
        let head = Self {
            body_bytes: u32::from_le_bytes(take(&mut bytes)?),
            count: u64::from_le_bytes(take(&mut bytes)?),
            before: take(&mut bytes)?,
            link: take(&mut bytes)?,
        };
        Some(head)
    }
}

/// A batch that was written down.
pub struct Kept {
    /// Its number.
    pub count: u64,
    /// The link of the batch before.
    pub before: Link,
    /// Its own link.
    pub link: Link,
    /// What it writes.
    pub batch: Batch,
}

/// The open file.
pub struct Wal {
    file: fs::File,
    /// Bytes after which a half is full, at most [`FULL_BYTES`].
    full: u64,
    /// Where the half begins that is written.
    half: u64,
    /// Where the next frame begins in it.
    at: u64,
}

impl Wal {
    /// Where the file of the store in `dir` lies: beside it, as its tally does.
    pub fn path(dir: &Path) -> PathBuf {
        dir.with_extension("wal")
    }

    /// What the file of the store in `dir` holds: in each half each batch follows the one before. The half that begins with the older
    /// batch comes first.
    ///
    /// Errors: the disk.
    pub fn read(dir: &Path) -> io::Result<Vec<Kept>> {
        let mut bytes = Vec::new();
        match fs::File::open(Self::path(dir)) {
            Ok(file) => drop(file.take(FILE_BYTES).read_to_end(&mut bytes)?),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
        let (first, second) = bytes.split_at(bytes.len().min(HALF_BYTES as usize));
        let mut halves = [frames(first), frames(second)];
        halves.sort_by_key(|frames| frames.first().map(|frame| frame.count));
        Ok(halves.into_iter().flatten().collect())
    }

    /// Opens the file of the store in `dir`, to begin anew, with its full size. A half is full with `full` bytes.
    ///
    /// Errors: the disk.
    pub fn open(dir: &Path, full: u64) -> io::Result<Self> {
        let path = Self::path(dir);
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&path)?;
        let length = file.metadata()?.len();
        if let Some(missing) = FILE_BYTES.checked_sub(length).filter(|missing| *missing > 0) {
            write_at(&file, &vec![0; missing as usize], length)?;
            file.sync_all()?;
            path.parent().map_or(Ok(()), sync_dir)?;
        }
        Ok(Self { file, full, half: 0, at: 0 })
    }

    /// Writes a batch down, and waits for the disk. One that is too large for it is not written: `false`.
    ///
    /// Errors: the disk; whether the batch is there at the next start is unknown then.
    pub fn write(&mut self, count: u64, before: &Link, batch: &Batch) -> io::Result<(Link, bool)> {
        let body_bytes = body_bytes(batch);
        let mut head = Head { body_bytes: body_bytes as u32, count, before: *before, link: Link::default() };
        let mut hash = begun(&head);
        if body_bytes > BODY_BYTES_MAX {
            encode(batch, |bytes| {
                hash.update(bytes);
            });
            return Ok((hash.finalize().into(), false));
        }
        let mut body = Vec::with_capacity(body_bytes);
        encode(batch, |bytes| body.extend_from_slice(bytes));
        head.link = hash.update(&body).finalize().into();
        let frame = [head.write(), body].concat();
        write_at(&self.file, &frame, self.half + self.at)?;
        self.file.sync_data()?;
        self.at += frame.len() as u64;
        Ok((head.link, true))
    }

    /// Whether what is in this half is to go to the engine now.
    pub fn is_full(&self) -> bool {
        self.at >= self.full
    }

    /// Goes on in the other half: the engine has for good what that holds. It is written over frame by frame; until then it
    /// says only what the engine knows.
    pub fn turn(&mut self) {
        (self.half, self.at) = (HALF_BYTES - self.half, 0);
    }

    /// Begins this half anew: the engine has everything for good.
    pub fn begin(&mut self) {
        self.at = 0;
    }
}

/// The frames from the beginning of a half, each of which continues the one before.
fn frames(mut bytes: &[u8]) -> Vec<Kept> {
    let mut frames: Vec<Kept> = Vec::new();
    while let Some(frame) = frame(&mut bytes) {
        let follows = frames
            .last()
            .is_none_or(|last| last.count.checked_add(1) == Some(frame.count) && last.link == frame.before);
        if !follows {
            break;
        }
        frames.push(frame);
    }
    frames
}

/// The next frame, if it is whole.
fn frame(bytes: &mut &[u8]) -> Option<Kept> {
    let head = Head::read(bytes.split_off(..HEAD_BYTES)?)?;
    let body = bytes.split_off(..usize::try_from(head.body_bytes).ok()?)?;
    let link: Link = begun(&head).update(body).finalize().into();
    let batch = decode(body).filter(|_| link == head.link)?;
    Some(Kept { count: head.count, before: head.before, link, batch })
}

fn begun(head: &Head) -> blake3::Hasher {
    let mut hash = blake3::Hasher::new();
    hash.update(&head.body_bytes.to_le_bytes()).update(&head.count.to_le_bytes()).update(&head.before);
    hash
}

fn body_bytes(batch: &Batch) -> usize {
    batch.iter().map(|(_, key, value)| 6 + key.len() + value.map_or(0, |value| 4 + value.len())).sum()
}

fn encode(batch: &Batch, mut put: impl FnMut(&[u8])) {
    for (space, key, value) in batch.iter() {
        // The writes of a batch are as few and as short as 32 bits tell, or too many for this file.
        let place = Space::ALL.iter().position(|s| *s == space).unwrap_or_default() as u8;
        put(&[place, u8::from(value.is_some())]);
        for bytes in [Some(key), value].into_iter().flatten() {
            put(&(bytes.len() as u32).to_le_bytes());
            put(bytes);
        }
    }
}

fn decode(mut body: &[u8]) -> Option<Batch> {
    let mut batch = Batch::default();
    while !body.is_empty() {
        let [place, has_value] = take(&mut body)?;
        let space = *Space::ALL.get(usize::from(place))?;
        let mut part = || {
            let length = u32::from_le_bytes(take(&mut body)?);
            body.split_off(..usize::try_from(length).ok()?)
        };
        let key = part()?;
        match has_value {
            0 => batch.delete(space, key),
            1 => batch.put(space, key, part()?),
            _ => return None,
        }
    }
    Some(batch)
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    bytes.split_off(..N)?.try_into().ok()
}

fn write_at(file: &fs::File, bytes: &[u8], at: u64) -> io::Result<()> {
    #[cfg(unix)]
    return std::os::unix::fs::FileExt::write_all_at(file, bytes, at);
    #[cfg(not(unix))]
    {
        use io::{Seek, Write};
        let mut file = file;
        file.seek(io::SeekFrom::Start(at))?;
        file.write_all(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(n: u8) -> Batch {
        let mut batch = Batch::default();
        batch.put(Space::Row, [n], [n; 40]);
        batch.put(Space::Payload, [n, 0], []);
        batch.delete(Space::Head, [n; 3]);
        batch
    }

    /// A file with three batches, and its bytes up to their end.
    fn three() -> (tempfile::TempDir, PathBuf, usize) {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        assert!(kept(&data).is_empty());
        let mut wal = Wal::open(&data, FULL_BYTES).unwrap();
        let mut before = Link::default();
        for n in 1..=3 {
            (before, _) = wal.write(n, &before, &batch(n as u8)).unwrap();
        }
        let used = wal.at as usize;
        (dir, data, used)
    }

    fn kept(data: &Path) -> Vec<(u64, Batch)> {
        Wal::read(data).unwrap().into_iter().map(|kept| (kept.count, kept.batch)).collect()
    }

    #[test]
    fn what_was_written_down_is_read_again_and_the_file_keeps_its_size() {
        let (_dir, data, _) = three();
        assert_eq!(kept(&data), [(1, batch(1)), (2, batch(2)), (3, batch(3))]);
        assert_eq!(fs::metadata(Wal::path(&data)).unwrap().len(), FILE_BYTES);
    }

    #[test]
    fn what_a_changed_byte_or_a_cut_leaves_is_a_beginning() {
        let (_dir, data, used) = three();
        let (path, whole) = (Wal::path(&data), fs::read(Wal::path(&data)).unwrap());
        let all = kept(&data);
        for at in 0..used {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            let left: Vec<_> = frames(&bytes).into_iter().map(|kept| (kept.count, kept.batch)).collect();
            assert!(left.len() < 3 && all.starts_with(&left), "byte {at}");
            fs::write(&path, &whole[..at]).unwrap();
            let left = kept(&data);
            assert!(left.len() < 3 && all.starts_with(&left), "{at} bytes");
        }
    }

    #[test]
    fn what_is_left_of_the_time_before_is_not_taken_for_what_follows() {
        let (_dir, data, _) = three();
        let mut wal = Wal::open(&data, FULL_BYTES).unwrap();
        // As long as the first of the three, so that the second of them stands right behind it.
        for n in [4, 1] {
            wal.write(n, &Link::default(), &batch(9)).unwrap();
            wal.begin();
            assert_eq!(kept(&data), [(n, batch(9))]);
        }
    }

    #[test]
    fn two_halves_are_read_in_the_order_of_their_batches() {
        let (_dir, data, _) = three();
        let mut wal = Wal::open(&data, 1).unwrap();
        let mut before = [9; 32];
        // One batch fills a half: each is written over the one before the last.
        for n in 1..=5u8 {
            (before, _) = wal.write(n.into(), &before, &batch(n)).unwrap();
            assert!(wal.is_full());
            let expected = [n - 1, n].into_iter().filter(|n| *n > 0).map(|n| (n.into(), batch(n)));
            assert!(kept(&data).into_iter().rev().take(2).eq(expected.rev()), "{n}");
            wal.turn();
        }
        // The two continue each other.
        let links: Vec<_> = Wal::read(&data).unwrap().iter().map(|kept| (kept.before, kept.link)).collect();
        assert_eq!(links[0].1, links[1].0);
        assert_eq!(links[1].1, before);
    }

    #[test]
    fn a_large_batch_is_left_to_the_engine_and_has_its_link() {
        let (_dir, data, _) = three();
        let mut wal = Wal::open(&data, FULL_BYTES).unwrap();
        let mut large = batch(1);
        let before = [7; 32];
        let small = wal.write(9, &before, &large).unwrap();
        large.put(Space::Payload, "large", vec![0; BODY_BYTES_MAX]);
        let (link, written) = wal.write(9, &before, &large).unwrap();
        assert!(small.1 && !written && link != small.0);
        assert_eq!(kept(&data), [(9, batch(1))]);
        large.put(Space::Payload, "large", vec![1; BODY_BYTES_MAX]);
        assert_ne!(wal.write(9, &before, &large).unwrap().0, link);
    }

    #[test]
    fn no_bytes_make_the_reader_fail() {
        proptest::proptest!(|(bytes in proptest::collection::vec(0u8..8, 0..400))| { frames(&bytes); decode(&bytes); });
    }
}
