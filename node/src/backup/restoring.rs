//! A directory out of a backup, and going on with one that was interrupted.
//!
//! Until [`Staged::place`] the directory is called `<name>.restoring` and has a mark with which no node starts in it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crypto::Bytes;
use exchange::backup::{BackupContent, BackupItem};
use ledger::store::{Batch, Space, Store};
use zeroize::Zeroizing;

use super::{
    beside, cannot_write,
    file::{Header, OpenWith, Reader, Segment},
};
use crate::{
    Problem,
    home::{HOME_FILES, Home, Lock},
    keys::{KEY_FILES, KEYTREE_NEW, sync_dir, write_private},
    store::DiskStore,
};

/// Largest file of a directory that a backup holds: a key tree after 100,000 scattered erasures has 100 MB.
const FILE_BYTES_MAX: usize = 1024 * 1024 * 1024;
/// What makes up the store of a directory.
const STORE_FILES: [&str; 3] = ["data", "data.tally", "data.wal"];

/// Where the keys of a restored directory come from.
pub enum KeysFrom<'a> {
    /// The backup itself.
    Backup,
    /// A member's directory: the keys that are in use, with every erasure up to now.
    Directory(&'a Path),
    /// A backup of keys, opened in the same way.
    Other(&'a Path),
}

/// A restored directory under a name of its own, removed unless it is placed or can be gone on with.
#[derive(Debug)]
pub struct Staged {
    work: PathBuf,
    dir: PathBuf,
    /// What stood before the backup's content.
    pub header: Header,
    /// Pairs of the store.
    pub pairs: u64,
    /// How many of them an interrupted restore had written already.
    pub reused: u64,
    keep: bool,
    _lock: Lock,
}

/// Builds a directory from a backup, beside `dir`, which must not exist or be empty. `progress` is told how many bytes of
/// the file are read.
///
/// What an interrupted restore of the same backup has written is not written again; the backup is read and authenticated
/// from its beginning all the same. The directory is marked as restored: a node in it serves nobody before a mirror has
/// answered.
pub fn restore(
    file: &Path,
    with: &OpenWith,
    keys: &KeysFrom<'_>,
    dir: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<Staged, Problem> {
    let mut reader = Reader::open(file, with)?;
    let header = reader.header().clone();
    if header.content == BackupContent::Keys {
        return Err(Problem::new(
            format!("{} holds keys only", file.display()),
            "give a backup of the store, and this file with --keys-from",
            "请提供存储备份，并用 --keys-from 指定此文件",
        ));
    }
    if fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Problem::new(
            format!("{} is not empty", dir.display()),
            "move the old directory away first; its keys are given with --keys-from",
            "请先移走原目录；其中的密钥用 --keys-from 指定",
        ));
    }
    let work = beside(dir, "restoring");
    let home = Home::restoring(&work);
    let lock = hold(&home)?;
    let fingerprint = reader.fingerprint().to_string();
    let (store, done) = match written(&home, &fingerprint) {
        Some(begun) => begun,
        None => begin(&home, &fingerprint)?,
    };
    let (dir, pairs, reused) = (dir.to_owned(), 0, 0);
    let mut staged = Staged { work: work.clone(), dir, header, pairs, reused, keep: false, _lock: lock };

    let own: &[&str] = if matches!(keys, KeysFrom::Backup) { &KEY_FILES } else { &[] };
    let mut files = Files::default();
    let mut segments = 0;
    while let Some(segment) = reader.segment()? {
        match segment {
            Segment::Files(_, items) => items.iter().try_for_each(|item| files.add(&reader, item))?,
            Segment::Pairs(_, items) => {
                (segments, staged.pairs) = (segments + 1, staged.pairs + items.len() as u64);
                if segments <= done {
                    staged.reused = staged.pairs;
                } else {
                    let batch = batch(&reader, items)?;
                    // What is written stays: with more space the same command goes on.
                    let applied = store.apply(&batch).map_err(|e| Problem::fault(e.to_string()));
                    let noted = applied.and_then(|()| home.set_restoring(&fingerprint, segments));
                    noted.inspect_err(|_| staged.keep = true)?;
                }
            }
            Segment::End(pairs, _) if pairs == staged.pairs => {}
            Segment::End(..) => return Err(reader.broken("pairs are missing")),
        }
        progress(reader.read);
    }
    drop(store);
    files.write(&work, &[&HOME_FILES[..], own].concat())?;
    match keys {
        KeysFrom::Backup => {}
        KeysFrom::Directory(from) => {
            for name in KEY_FILES {
                let path = from.join(name);
                let bytes = fs::read(&path).map_err(|e| cannot_read(&path, &e))?;
                write_private(&work.join(name), &Zeroizing::new(bytes))?;
            }
            match fs::read(from.join(KEYTREE_NEW)) {
                Ok(bytes) => write_private(&work.join(KEYTREE_NEW), &bytes)?,
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => return Err(cannot_read(&from.join(KEYTREE_NEW), &e)),
            }
        }
        KeysFrom::Other(file) => {
            let mut reader = Reader::open(file, with)?;
            if reader.header().member != staged.header.member {
                return Err(reader.broken("it holds the keys of another member"));
            }
            let mut files = Files::default();
            while let Some(segment) = reader.segment()? {
                if let Segment::Files(_, items) = segment {
                    items.iter().try_for_each(|item| files.add(&reader, item))?;
                }
            }
            files.write(&work, &KEY_FILES)?;
        }
    }
    if home.member()? != staged.header.member {
        return Err(reader.broken("its header names another member than its content"));
    }
    home.mark_restored()?;
    Ok(staged)
}

/// Takes the place where a directory is being built, for this process.
fn hold(home: &Home) -> Result<Lock, Problem> {
    let failed = |e: std::io::Error| cannot_write(home.dir(), &e);
    fs::create_dir_all(home.dir()).map_err(failed)?;
    #[cfg(unix)]
    fs::set_permissions(home.dir(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).map_err(failed)?;
    home.lock()
}

/// The store of an interrupted restore of this backup, and how many segments it has. `None` when there is nothing to go on
/// with.
fn written(home: &Home, fingerprint: &str) -> Option<(DiskStore, u64)> {
    let done = home.restoring_of(fingerprint)?;
    // A store that does not open is no reason to fail: it is made again.
    let store = DiskStore::open(&home.data()).ok()?;
    // Keys may come from elsewhere this time.
    home.clear_but(&STORE_FILES).ok()?;
    Some((store, done))
}

/// A new store, in place of whatever was there.
fn begin(home: &Home, fingerprint: &str) -> Result<(DiskStore, u64), Problem> {
    // Until everything is gone it belongs to no backup.
    home.set_restoring("none", 0)?;
    home.clear_but(&[]).map_err(|e| cannot_write(home.dir(), &e))?;
    home.set_restoring(fingerprint, 0)?;
    let store = DiskStore::open(&home.data()).map_err(|e| Problem::fault(e.to_string()))?;
    Ok((store, 0))
}

/// The pairs of a segment, to be written at once.
fn batch(reader: &Reader, items: Vec<BackupItem>) -> Result<Batch, Problem> {
    let mut batch = Batch::default();
    for item in items {
        let BackupItem::Pair { space, key, value } = item else {
            return Err(reader.broken("something stands among pairs that is none"));
        };
        let space = Space::ALL.get(usize::from(space));
        let space = space.ok_or_else(|| reader.broken("a pair is in no space of a store"))?;
        batch.put(*space, key.0, value.0);
    }
    Ok(batch)
}

impl Staged {
    /// What is in it, to be checked.
    pub fn home(&self) -> Home {
        Home::restoring(&self.work)
    }

    /// Lets nodes start in the directory, and gives it its name.
    pub fn place(mut self) -> Result<(), Problem> {
        // It carries the mark of a restored directory by now.
        Home::restoring(&self.work).end_restoring()?;
        let placed = || -> std::io::Result<()> {
            if self.dir.exists() {
                // It is empty: a directory with something in it is not removed by this call.
                fs::remove_dir(&self.dir)?;
            }
            fs::rename(&self.work, &self.dir)?;
            self.dir.parent().map_or(Ok(()), sync_dir)
        };
        placed().map_err(|e| cannot_write(&self.dir, &e))?;
        self.keep = true;
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.keep {
            // Best effort; the next restore to this place goes on with it or removes it.
            let _ = fs::remove_dir_all(&self.work);
        }
    }
}

/// Files of a directory, put together from their parts.
#[derive(Default)]
struct Files(Vec<(String, Zeroizing<Vec<u8>>)>);

impl Files {
    fn add(&mut self, reader: &Reader, item: &BackupItem) -> Result<(), Problem> {
        let BackupItem::File { name, part: Bytes(part) } = item else {
            return Err(reader.broken("something stands among files that is none"));
        };
        if !HOME_FILES.iter().chain(&KEY_FILES).any(|known| known == name) {
            return Err(reader.broken("it holds a file that no backup holds"));
        }
        if self.0.last().is_none_or(|(last, _)| last != name) {
            if self.0.iter().any(|(known, _)| known == name) {
                return Err(reader.broken("it holds a file twice"));
            }
            self.0.push((name.to_owned(), Zeroizing::default()));
        }
        let Some((_, bytes)) = self.0.last_mut() else { return Ok(()) };
        if bytes.len() + part.len() > FILE_BYTES_MAX {
            return Err(reader.broken("it holds a file that is too long"));
        }
        bytes.extend_from_slice(part);
        Ok(())
    }

    /// Writes the files of these names; each must be there.
    fn write(&self, dir: &Path, wanted: &[&str]) -> Result<(), Problem> {
        for name in wanted {
            let found = self.0.iter().find(|(known, _)| known == name);
            let (_, bytes) = found.ok_or_else(|| {
                Problem::new(
                    format!("the backup holds no `{name}`"),
                    "give the directory, or the backup, that holds the member's keys with --keys-from",
                    "请用 --keys-from 指定存有该成员密钥的目录或备份",
                )
            })?;
            write_private(&dir.join(name), bytes)?;
        }
        Ok(())
    }
}

fn cannot_read(path: &Path, e: &std::io::Error) -> Problem {
    Problem::new(
        format!("{}: {e}", path.display()),
        "give the directory that holds the member's keys with --keys-from",
        "请用 --keys-from 指定存有该成员密钥的目录",
    )
}
