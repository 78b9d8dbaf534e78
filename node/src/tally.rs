//! How many batches a store has acknowledged, written down beside it.
//!
//! The engine's journal is one file that ends where it stops making sense, so a damaged byte in it can look like the end:
//! what came after is gone, and the engine says nothing. The same holds for a store that was replaced by an older copy.
//! The tally is the witness from outside: after each durable batch the count goes into a small file beside the store's
//! directory, and a store that counts fewer batches than its tally is not opened.
//!
//! It costs one write into the page cache and no flush. After a power failure the file may therefore be some seconds
//! older than the store, never newer: what it says was acknowledged has been.
//!
//! Format: two lines of 85 bytes, written in turn, so that one of them is whole whatever happens to the other: the count
//! in 20 digits, a blank, the digest of these digits as 64 hexadecimal digits.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crypto::Digest;

use crate::keys::write_private;

/// Digits of a count, a blank, 64 of its digest.
const LINE_BYTES: u64 = 85;

/// The open file.
pub struct Tally {
    path: PathBuf,
    file: fs::File,
}

impl Tally {
    /// Where the tally of the store in `dir` lies: beside it, so that whoever replaces the store does not replace it too.
    pub fn path(dir: &Path) -> PathBuf {
        dir.with_extension("tally")
    }

    /// What the tally of the store in `dir` says; `None` when there is none.
    ///
    /// Errors: the file cannot be read, or neither of its lines is whole (`InvalidData`).
    pub fn read(dir: &Path) -> io::Result<Option<u64>> {
        let text = match fs::read(Self::path(dir)) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        let counts = text.chunks(LINE_BYTES as usize).filter_map(parse);
        counts.max().map(Some).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no whole line"))
    }

    /// Opens the tally of the store in `dir` and sets it to `count`.
    pub fn set(dir: &Path, count: u64) -> io::Result<Self> {
        let path = Self::path(dir);
        write_private(&path, format!("{}{}", line(count), line(count)).as_bytes())
            .map_err(|problem| io::Error::other(problem.what))?;
        let file = fs::File::options().write(true).open(&path)?;
        Ok(Self { path, file })
    }

    /// Writes a count down. The store's batch of this number must be durable.
    pub fn write(&self, count: u64) -> io::Result<()> {
        let at = count % 2 * LINE_BYTES;
        #[cfg(unix)]
        return std::os::unix::fs::FileExt::write_all_at(&self.file, line(count).as_bytes(), at);
        #[cfg(not(unix))]
        {
            use io::{Seek, Write};
            let mut file = &self.file;
            file.seek(io::SeekFrom::Start(at))?;
            file.write_all(line(count).as_bytes())
        }
    }
}

impl Drop for Tally {
    /// A store that is closed in good order leaves a tally that survives a power failure.
    fn drop(&mut self) {
        if let Err(e) = self.file.sync_all() {
            tracing::warn!("{}: {e}", self.path.display());
        }
    }
}

fn line(count: u64) -> String {
    let digits = format!("{count:020}");
    let digest = crypto::codec::hex(&Digest::of(digits.as_bytes()).0);
    format!("{digits} {digest}")
}

fn parse(bytes: &[u8]) -> Option<u64> {
    let count = std::str::from_utf8(bytes.get(..20)?).ok()?.parse().ok()?;
    (line(count).as_bytes() == bytes).then_some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_whole_line_counts_and_no_damaged_one_does() {
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().join("data");
        assert_eq!(Tally::read(&store).unwrap(), None);
        let tally = Tally::set(&store, 6).unwrap();
        for count in 7..10 {
            tally.write(count).unwrap();
            assert_eq!(Tally::read(&store).unwrap(), Some(count));
        }
        drop(tally);
        let honest = fs::read(Tally::path(&store)).unwrap();
        assert_eq!(honest.len() as u64, 2 * LINE_BYTES);
        for at in 0..honest.len() {
            let mut bytes = honest.clone();
            bytes[at] ^= 1;
            fs::write(Tally::path(&store), &bytes).unwrap();
            // 8 stands in the first line, 9 in the second.
            let left = if at < LINE_BYTES as usize { 9 } else { 8 };
            assert_eq!(Tally::read(&store).unwrap(), Some(left), "byte {at}");
        }
        fs::write(Tally::path(&store), "nonsense").unwrap();
        assert_eq!(Tally::read(&store).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
