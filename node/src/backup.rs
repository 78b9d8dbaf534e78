//! A running node's directory into one sealed file, and back.
//!
//! The node holds the store as it is at one moment and hands it over part by part ([`begin`], [`next`]); the command that
//! asks seals the parts into a file ([`Writer`]). The node therefore writes nowhere but in its directory and learns no
//! backup passphrase, and neither end holds more than a part. [`restore`] builds a directory beside the wanted
//! one, and [`Staged::place`] gives it its name when everything in it was checked.
//!
//! A backup that was interrupted goes on in the same way: of what the file has, the node is asked for each range whether
//! it still is so in the store as it is held now. What a file has at its end is therefore one moment of the store, however
//! often it was begun, and nothing that was removed meanwhile.
//!
//! | here | what |
//! |---|---|
//! | [`file`] | the form of a file, and reading it |
//! | [`writer`] | writing it, and going on with it |
//! | [`restoring`] | a directory from it, and going on with that |

pub mod file;
pub mod restoring;
pub mod writer;

use std::{
    collections::VecDeque,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use crypto::Bytes;
use exchange::{
    backup::{BackupContent, BackupId, BackupItem, BackupRange},
    limits::BACKUP_PART_BYTES,
    refusal::{Code, Fault, Refusal},
    wire::Response,
};
use ledger::store::Space;
use zeroize::Zeroizing;

pub use self::{
    file::{Header, OpenWith, Reader, SealTo},
    restoring::{KeysFrom, Staged, restore},
    writer::Writer,
};
use crate::{Problem, clock, home::HOME_FILES, keys::NamedFile, serve::Server, store::Frozen};

/// A held store that nobody reads for so long is let go: it keeps superseded data on the disk, and keeps the next
/// backup waiting. A command that is alive asks for its next part within the time of writing 4 MiB.
const IDLE: Duration = Duration::from_secs(20);

/// The one backup a node may hold open.
#[derive(Clone, Default)]
pub struct Place(Arc<Mutex<Option<Held>>>);

impl Place {
    fn with<T>(&self, act: impl FnOnce(&mut Option<Held>) -> T) -> T {
        // A reader that panicked left a position between two pieces; the backup it was for has failed.
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

struct Held {
    id: BackupId,
    files: VecDeque<NamedFile>,
    /// Bytes of the first file that were handed over.
    offset: usize,
    frozen: Option<Frozen>,
    /// The space that is being read, and the last key that was handed over or skipped.
    space: usize,
    after: Option<Vec<u8>>,
    pairs: u64,
    /// Bytes of pairs after which a part ends.
    part: usize,
    used: Instant,
}

/// Holds the store as it is now. A backup that is being read refuses another with `node.busy`, unless it is the one that
/// was `interrupted`.
pub async fn begin(
    server: &Server,
    content: BackupContent,
    interrupted: Option<BackupId>,
) -> Result<Response, Refusal> {
    let (place, shared) = (server.backup.clone(), server.shared.clone());
    let id = BackupId(clock::random());
    let hold = move || {
        place.with(|held| {
            let open = |h: &Held| h.used.elapsed() < IDLE && interrupted != Some(h.id);
            if held.as_ref().is_some_and(open) {
                let why = "another backup is being made; wait until it has ended; one that was interrupted ends after 20 s";
                return Ok(Response::Refused(Refusal::new(Code::Busy, why)));
            }
            let mut files = VecDeque::new();
            if content != BackupContent::Store {
                files.extend(shared.keys.read_files().map_err(|p| Fault(p.what))?);
            }
            for name in HOME_FILES {
                let bytes =
                    fs::read(shared.keys.dir().join(name)).map_err(|e| Fault(format!("{name}: {e}")))?;
                files.push_back((name, Zeroizing::new(bytes)));
            }
            // The store after the keys: a key tree that is older than its store is mended at the next start.
            let frozen = match content {
                BackupContent::Keys => None,
                BackupContent::Store | BackupContent::All => Some(shared.store.freeze()?),
            };
            let about = frozen.as_ref().map_or(0, |_| shared.store.about());
            *held = Some(Held::new(id, files, frozen, BACKUP_PART_BYTES));
            Ok(Response::Backup(id, about))
        })
    };
    let response = crate::serve::blocking(hold).await?;
    let place = server.backup.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(IDLE).await;
            let go_on = place.with(|held| {
                let open = held.as_ref().is_some_and(|h| h.id == id && h.used.elapsed() < IDLE);
                if !open && held.as_ref().is_some_and(|h| h.id == id) {
                    *held = None;
                }
                open
            });
            if !go_on {
                return;
            }
        }
    });
    Ok(response)
}

/// The next part of a backup, not beyond `range`. After its last one the store is let go.
pub async fn next(server: &Server, id: BackupId, range: Option<BackupRange>) -> Result<Response, Refusal> {
    let place = server.backup.clone();
    crate::serve::blocking(move || {
        place.with(|held| {
            let Some(open) = held.as_mut().filter(|h| h.id == id) else {
                let why = "this backup is not held open any more; run the same command again, and it goes on";
                return Ok(Response::Refused(Refusal::new(Code::NotFound, why)));
            };
            let response = open.part(range.as_ref())?;
            open.used = Instant::now();
            if matches!(&response, Response::BackupPart(items) if matches!(items.last(), Some(BackupItem::End(_)))) {
                *held = None;
            }
            Ok(response)
        })
    })
    .await
}

impl Held {
    fn new(id: BackupId, files: VecDeque<NamedFile>, frozen: Option<Frozen>, part: usize) -> Self {
        Self { id, files, offset: 0, frozen, space: 0, after: None, pairs: 0, part, used: Instant::now() }
    }

    /// 1. The next part of a file, while there are any.
    /// 2. That the pairs up to the end of the range are those of its digest, when it has one and they are.
    /// 3. The pairs from here on, at most a part of one space and not beyond the range; none at its end.
    /// 4. `End`, when there is no range and nothing follows.
    fn part(&mut self, range: Option<&BackupRange>) -> Result<Response, Fault> {
        if let Some((name, bytes)) = self.files.front() {
            let end = bytes.len().min(self.offset + BACKUP_PART_BYTES);
            let part = Bytes(bytes[self.offset..end].to_vec());
            let item = BackupItem::File { name: (*name).to_owned(), part };
            self.offset = end;
            if end == bytes.len() {
                self.offset = 0;
                self.files.pop_front();
            }
            return Ok(Response::BackupPart(vec![item]));
        }
        let none = Response::BackupPart(Vec::new());
        while let (Some(frozen), Some(space)) = (&self.frozen, Space::ALL.get(self.space)) {
            // The last key that is wanted here, where the range ends in this space.
            let last = match range {
                Some(range) if self.space >= usize::from(range.space) => match &range.last {
                    Some(last) if self.space == usize::from(range.space) => Some(last.0.as_slice()),
                    _ => return Ok(none),
                },
                _ => None,
            };
            if let (Some(last), Some(digest)) = (last, range.and_then(|range| range.digest)) {
                let (found, pairs) = frozen.digest(*space, self.after.as_deref(), last)?;
                if found == digest {
                    (self.after, self.pairs) = (Some(last.to_vec()), self.pairs + pairs);
                    return Ok(Response::BackupSame(pairs));
                }
            }
            let page = frozen.page(*space, self.after.as_deref(), last, self.part)?;
            let Some((key, _)) = page.last() else {
                if let Some(last) = last {
                    // What follows begins behind the range, also where nothing of it is left.
                    self.after = self.after.take().max(Some(last.to_vec()));
                    return Ok(none);
                }
                (self.space, self.after) = (self.space + 1, None);
                continue;
            };
            (self.after, self.pairs) = (Some(key.clone()), self.pairs + page.len() as u64);
            let space = self.space as u8;
            let item = |(key, value)| BackupItem::Pair { space, key: Bytes(key), value: Bytes(value) };
            return Ok(Response::BackupPart(page.into_iter().map(item).collect()));
        }
        Ok(range.map_or_else(|| Response::BackupPart(vec![BackupItem::End(self.pairs)]), |_| none))
    }
}

fn cannot_write(path: &Path, e: &std::io::Error) -> Problem {
    not_written(format!("{}: {e}", path.display()))
}

fn not_written(what: String) -> Problem {
    Problem::new(
        what,
        "check path, permissions and free space, then run the same command again",
        "请检查路径、权限与剩余空间，然后重新执行同一命令",
    )
}

/// `path` with another ending behind its name.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(ending);
    path.with_file_name(name)
}

#[cfg(test)]
mod tests;
