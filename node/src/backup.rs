//! A running node's directory into one sealed file, and back.
//!
//! The node holds the store as it is at one moment and hands it over part by part ([`begin`], [`next`]); the command that
//! asks seals the parts into a file ([`Writer`]). The node therefore writes nowhere but in its directory and learns no
//! backup passphrase, and neither end holds more than a part. [`restore`] builds a directory beside the wanted
//! one, and [`Staged::place`] gives it its name when everything in it was checked.
//!
//! ```text
//! file   = "xinqiao backup 1\n" ‖ length of header (4 bytes, big-endian) ‖ header ‖ chunk …
//! chunk  = AES-256-GCM under STREAM (crypto::stream), 64 KiB of plain bytes each, the last one shorter or full
//! plain  = (length (4 bytes, big-endian) ‖ backup-item) …, the last item being `End`
//! ```

use std::{
    collections::VecDeque,
    fs,
    io::{BufRead, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use credit::id::MemberId;
use crypto::{
    Bytes, Timestamp, codec,
    keystore::{Credential, Unlocked},
    label::Label,
    seal::{OpeningKey, wrap},
    secret::Secret,
    sign::PublicKey,
    stream::{CHUNK_BYTES, StreamOpener, StreamSealer, TAG_BYTES},
    suite::Suite,
};
use exchange::{
    backup::{BackupContent, BackupId, BackupItem},
    limits::BACKUP_PART_BYTES,
    refusal::{Code, Fault, Refusal},
    wire::Response,
};
use ledger::store::{Batch, Space, Store};
use minicbor::{Decode, Encode};
use zeroize::Zeroizing;

use crate::{
    Problem, clock,
    home::{HOME_FILES, Home},
    keys::{KEY_FILES, KEYTREE_NEW, NamedFile, sync_dir, write_private},
    serve::Server,
    store::{DiskStore, Frozen},
};

/// What a backup begins with: its kind and the version of its form.
const MAGIC: &[u8] = b"xinqiao backup 1\n";
/// Longest header: a wrapped key and a few names take 300 bytes.
const HEADER_BYTES_MAX: usize = 4 * 1024;
/// Longest item: the longest value of a store, the report of a file with 1,000 rejected rows, stays below 1 MiB.
const ITEM_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Largest file of a directory that a backup holds: a key tree after 100,000 scattered erasures has 100 MB.
const FILE_BYTES_MAX: usize = 1024 * 1024 * 1024;
/// Bytes of restored pairs that are written in one batch.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
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
    /// The space that is being read, and the last key that was handed over.
    space: usize,
    after: Option<Vec<u8>>,
    pairs: u64,
    used: Instant,
}

/// Holds the store as it is now. A backup that is being read refuses another with `node.busy`.
pub async fn begin(server: &Server, content: BackupContent) -> Result<Response, Refusal> {
    let (place, shared) = (server.backup.clone(), server.shared.clone());
    let id = BackupId(clock::random());
    let hold = move || {
        place.with(|held| {
            if held.as_ref().is_some_and(|h| h.used.elapsed() < IDLE) {
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
            *held = Some(Held {
                id,
                files,
                offset: 0,
                frozen,
                space: 0,
                after: None,
                pairs: 0,
                used: Instant::now(),
            });
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

/// The next part of a backup. After its last one the store is let go.
pub async fn next(server: &Server, id: BackupId) -> Result<Response, Refusal> {
    let place = server.backup.clone();
    crate::serve::blocking(move || {
        place.with(|held| {
            let Some(open) = held.as_mut().filter(|h| h.id == id) else {
                let why = "this backup is not held open any more; begin again";
                return Ok(Response::Refused(Refusal::new(Code::NotFound, why)));
            };
            let items = open.part()?;
            open.used = Instant::now();
            if matches!(items.last(), Some(BackupItem::End(_))) {
                *held = None;
            }
            Ok(Response::BackupPart(items))
        })
    })
    .await
}

impl Held {
    fn part(&mut self) -> Result<Vec<BackupItem>, Fault> {
        if let Some((name, bytes)) = self.files.front() {
            let end = bytes.len().min(self.offset + BACKUP_PART_BYTES);
            let part = Bytes(bytes[self.offset..end].to_vec());
            let item = BackupItem::File { name: (*name).to_owned(), part };
            self.offset = end;
            if end == bytes.len() {
                self.offset = 0;
                self.files.pop_front();
            }
            return Ok(vec![item]);
        }
        while let (Some(frozen), Some(space)) = (&self.frozen, Space::ALL.get(self.space)) {
            let page = frozen.page(*space, self.after.as_deref(), BACKUP_PART_BYTES)?;
            let Some((last, _)) = page.last() else {
                (self.space, self.after) = (self.space + 1, None);
                continue;
            };
            (self.after, self.pairs) = (Some(last.clone()), self.pairs + page.len() as u64);
            let space = self.space as u8;
            let item = |(key, value)| BackupItem::Pair { space, key: Bytes(key), value: Bytes(value) };
            return Ok(page.into_iter().map(item).collect());
        }
        Ok(vec![BackupItem::End(self.pairs)])
    }
}

/// What stands before a backup's content, in clear. The content does not open with another header.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Header {
    #[n(0)]
    suite: u8,
    /// Whose directory.
    #[n(1)]
    pub member: MemberId,
    /// When it was begun.
    #[n(2)]
    pub at: Timestamp,
    /// What it holds.
    #[n(3)]
    pub content: BackupContent,
    #[n(4)]
    wrapped: Wrapped,
}

/// The backup's own key, which is fresh for every backup.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
enum Wrapped {
    /// In the form of a keystore file.
    #[n(0)]
    Passphrase(#[n(0)] Bytes),
    /// To a member's registered sealing key (HPKE).
    #[n(1)]
    Member(#[n(0)] MemberId, #[n(1)] Bytes, #[n(2)] Bytes),
}

/// For whom a backup is sealed.
pub enum SealTo {
    /// Whoever has this passphrase.
    Passphrase(Credential),
    /// A member, by its sealing key in the registry.
    Member(MemberId, PublicKey),
}

/// What opens a backup.
pub enum OpenWith {
    /// The passphrase it was made with.
    Passphrase(Credential),
    /// The keys of the member it was sealed to, of every generation.
    Member(MemberId, Vec<Arc<OpeningKey>>),
}

/// Writes a backup: under `<name>.part` until it is complete, so that nothing half has the final name.
pub struct Writer {
    file: BufWriter<fs::File>,
    part: PathBuf,
    path: PathBuf,
    sealer: StreamSealer,
    plain: Vec<u8>,
    done: bool,
}

impl Writer {
    /// Begins a backup file. A file of this name is not replaced; what an interrupted backup left under its `.part` name is.
    pub fn create(
        path: &Path,
        to: SealTo,
        member: &MemberId,
        content: BackupContent,
    ) -> Result<Self, Problem> {
        if path.exists() {
            return Err(Problem::new(
                format!("{} exists already", path.display()),
                "give another name, or move the earlier backup away",
                "请使用其他文件名，或先移走原备份",
            ));
        }
        let key = clock::secret();
        let wrapped = match to {
            SealTo::Passphrase(credential) => {
                let unlocked =
                    Unlocked::new(credential, clock::random()).map_err(|e| Problem::fault(e.to_string()))?;
                Wrapped::Passphrase(unlocked.seal_for(Label::BackupKey, clock::random(), key.expose()).into())
            }
            SealTo::Member(to, public) => {
                let (bound, seed) = (to.as_str().as_bytes(), clock::secret());
                let (encapsulated, sealed) = wrap(&public, Label::BackupKeyWrap, bound, &seed, key.expose())
                    .map_err(|e| Problem::fault(format!("sealing key of `{to}`: {e}")))?;
                Wrapped::Member(to, encapsulated, sealed)
            }
        };
        let (suite, at) = (Suite::Standard.number(), clock::now());
        let header = codec::to_vec(&Header { suite, member: member.clone(), at, content, wrapped });
        let part = beside(path, "part");
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&part).map_err(|e| cannot_write(&part, &e))?;
        let mut writer = Self {
            file: BufWriter::new(file),
            part,
            path: path.to_owned(),
            sealer: StreamSealer::new(&key, &header),
            plain: Vec::with_capacity(CHUNK_BYTES),
            done: false,
        };
        let length = (header.len() as u32).to_be_bytes();
        for bytes in [MAGIC, &length, &header] {
            writer.write(bytes)?;
        }
        Ok(writer)
    }

    /// Adds an item.
    pub fn item(&mut self, item: &BackupItem) -> Result<(), Problem> {
        let bytes = Zeroizing::new(codec::to_vec(item));
        self.plain.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
        self.plain.extend_from_slice(&bytes);
        // The last chunk is sealed by `finish`, so one more byte than a chunk must be there.
        while self.plain.len() > CHUNK_BYTES {
            let rest = self.plain.split_off(CHUNK_BYTES);
            let chunk = std::mem::replace(&mut self.plain, rest);
            let sealed = self.sealer.seal(&chunk, false);
            self.write(&sealed)?;
        }
        Ok(())
    }

    /// Seals the end, flushes, and gives the file its name. Returns its length in bytes.
    pub fn finish(mut self) -> Result<u64, Problem> {
        let chunk = std::mem::take(&mut self.plain);
        let sealed = self.sealer.seal(&chunk, true);
        self.write(&sealed)?;
        let mut place = || -> std::io::Result<u64> {
            self.file.flush()?;
            self.file.get_ref().sync_all()?;
            let length = self.file.get_ref().metadata()?.len();
            fs::rename(&self.part, &self.path)?;
            self.path.parent().map_or(Ok(()), sync_dir)?;
            Ok(length)
        };
        let length = place().map_err(|e| cannot_write(&self.path, &e))?;
        self.done = true;
        Ok(length)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        self.file.write_all(bytes).map_err(|e| cannot_write(&self.part, &e))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.done {
            // Best effort: a killed process leaves it too, and the next backup of this name replaces it.
            let _ = fs::remove_file(&self.part);
        }
    }
}

/// Reads a backup, item by item. Nothing is given out before its chunk was authenticated.
pub struct Reader {
    file: BufReader<fs::File>,
    path: PathBuf,
    header: Header,
    opener: StreamOpener,
    /// Opened bytes, and how many of them were taken.
    plain: Vec<u8>,
    taken: usize,
    ended: bool,
    /// Bytes of the file that were read.
    read: u64,
}

impl Reader {
    /// Opens a backup file.
    pub fn open(path: &Path, with: &OpenWith) -> Result<Self, Problem> {
        let no = |why: String| {
            Problem::new(
                format!("{}: {why}", path.display()),
                "give a file that `xinqiao node backup` has made, and what it was sealed to",
                "请提供由 `xinqiao node backup` 生成的文件及相应的口令或密钥",
            )
        };
        let file = fs::File::open(path).map_err(|e| no(e.to_string()))?;
        let mut file = BufReader::with_capacity(CHUNK_BYTES + TAG_BYTES, file);
        let mut start = [0; MAGIC.len() + 4];
        file.read_exact(&mut start).map_err(|_| no("not a backup".into()))?;
        let (magic, length) = start.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(no("not a backup of version 1".into()));
        }
        let length = length.iter().fold(0usize, |n, b| n << 8 | usize::from(*b));
        if length > HEADER_BYTES_MAX {
            return Err(no("not a backup of version 1".into()));
        }
        let mut bytes = vec![0; length];
        file.read_exact(&mut bytes).map_err(|_| no("it ends in its header".into()))?;
        let header: Header = codec::from_slice(&bytes).map_err(|e| no(e.to_string()))?;
        if Suite::from_number(header.suite.into()).is_none() {
            return Err(no(format!("suite {} is not known to this build", header.suite)));
        }
        let key = match (&header.wrapped, with) {
            (Wrapped::Passphrase(sealed), OpenWith::Passphrase(credential)) => {
                let opened = Unlocked::open_for(Label::BackupKey, credential.clone(), sealed);
                opened.map_err(|e| no(e.to_string()))?.0.to_vec()
            }
            (Wrapped::Member(to, encapsulated, sealed), OpenWith::Member(member, keys)) if to == member => {
                let open = |key: &Arc<OpeningKey>| {
                    key.unwrap(Label::BackupKeyWrap, to.as_str().as_bytes(), encapsulated, sealed).ok()
                };
                keys.iter().find_map(open).ok_or_else(|| no("it does not open with these keys".into()))?
            }
            (Wrapped::Passphrase(_), OpenWith::Member(..)) => {
                return Err(no("it is sealed under a passphrase, not to a member".into()));
            }
            (Wrapped::Member(to, ..), _) => return Err(no(format!("it is sealed to `{to}`"))),
        };
        let key: [u8; 32] =
            Zeroizing::new(key)[..].try_into().map_err(|_| no("not a backup's key".into()))?;
        Ok(Self {
            file,
            path: path.to_owned(),
            opener: StreamOpener::new(&Secret::new(key), &bytes),
            header,
            plain: Vec::new(),
            taken: 0,
            ended: false,
            read: (MAGIC.len() + 4 + length) as u64,
        })
    }

    /// What stands before the content.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The next item; `None` after `End`. Errors: the file was changed or cut, or holds what no backup holds.
    pub fn item(&mut self) -> Result<Option<BackupItem>, Problem> {
        let mut length = [0; 4];
        let Some(bytes) = self.take(4)? else {
            return Err(self.broken("it ends before its end mark"));
        };
        length.copy_from_slice(&bytes);
        let length = u32::from_be_bytes(length) as usize;
        if length > ITEM_BYTES_MAX {
            return Err(self.broken("an item is too long"));
        }
        let Some(bytes) = self.take(length)? else {
            return Err(self.broken("it ends within an item"));
        };
        let item = codec::from_slice_max(&bytes, ITEM_BYTES_MAX).map_err(|e| self.broken(&e.to_string()))?;
        if matches!(item, BackupItem::End(_)) && !(self.taken == self.plain.len() && self.at_end()?) {
            return Err(self.broken("something follows its end mark"));
        }
        Ok(Some(item))
    }

    /// The next `count` plain bytes; `None` when the content ends before.
    fn take(&mut self, count: usize) -> Result<Option<Vec<u8>>, Problem> {
        while self.plain.len() - self.taken < count {
            if self.at_end()? {
                return Ok(None);
            }
            let mut sealed = Vec::with_capacity(CHUNK_BYTES + TAG_BYTES);
            let read = (&mut self.file).take((CHUNK_BYTES + TAG_BYTES) as u64).read_to_end(&mut sealed);
            read.map_err(|e| self.broken(&e.to_string()))?;
            self.read += sealed.len() as u64;
            self.ended = self.file.fill_buf().map_err(|e| broken(&self.path, &e.to_string()))?.is_empty();
            let opened =
                self.opener.open(&sealed, self.ended).map_err(|_| self.broken("it was changed or cut"))?;
            self.plain.drain(..std::mem::take(&mut self.taken));
            self.plain.extend(opened);
        }
        let bytes = self.plain[self.taken..self.taken + count].to_vec();
        self.taken += count;
        Ok(Some(bytes))
    }

    /// Whether the last chunk was opened. A file that ends without one is broken.
    fn at_end(&mut self) -> Result<bool, Problem> {
        if !self.ended && self.file.fill_buf().map_err(|e| broken(&self.path, &e.to_string()))?.is_empty() {
            return Err(self.broken("it has no content"));
        }
        Ok(self.ended)
    }

    fn broken(&self, why: &str) -> Problem {
        broken(&self.path, why)
    }
}

fn broken(path: &Path, why: &str) -> Problem {
    Problem::new(
        format!("{}: {why}", path.display()),
        "do not use this backup; take another one, and look where this one was kept",
        "请勿使用此备份；请换用其他备份，并检查其存放处",
    )
}

fn cannot_write(path: &Path, e: &std::io::Error) -> Problem {
    Problem::new(
        format!("{}: {e}", path.display()),
        "check path, permissions and free space, then run the same command again",
        "请检查路径、权限与剩余空间，然后重新执行同一命令",
    )
}

fn cannot_read(path: &Path, e: &std::io::Error) -> Problem {
    Problem::new(
        format!("{}: {e}", path.display()),
        "give the directory that holds the member's keys with --keys-from",
        "请用 --keys-from 指定存有该成员密钥的目录",
    )
}

/// `path` with another ending behind its name.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(ending);
    path.with_file_name(name)
}

/// Where the keys of a restored directory come from.
pub enum KeysFrom<'a> {
    /// The backup itself.
    Backup,
    /// A member's directory: the keys that are in use, with every erasure up to now.
    Directory(&'a Path),
    /// A backup of keys, opened in the same way.
    Other(&'a Path),
}

/// A restored directory under a name of its own, removed unless it is placed.
#[derive(Debug)]
pub struct Staged {
    work: PathBuf,
    dir: PathBuf,
    /// What stood before the backup's content.
    pub header: Header,
    /// Pairs of the store.
    pub pairs: u64,
    placed: bool,
}

/// Builds a directory from a backup, beside `dir`, which must not exist or be empty. `progress` is told how many bytes of
/// the file are read.
///
/// The directory is marked as restored: a node in it serves nobody before a mirror has answered.
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
    let failed = |e: std::io::Error| cannot_write(&work, &e);
    // Only an interrupted restore leaves a directory of this name.
    if work.exists() {
        fs::remove_dir_all(&work).map_err(failed)?;
    }
    fs::create_dir_all(&work).map_err(failed)?;
    #[cfg(unix)]
    fs::set_permissions(&work, std::os::unix::fs::PermissionsExt::from_mode(0o700)).map_err(failed)?;
    let mut staged = Staged { work: work.clone(), dir: dir.to_owned(), header, pairs: 0, placed: false };

    let own: &[&str] = if matches!(keys, KeysFrom::Backup) { &KEY_FILES } else { &[] };
    let store = DiskStore::open(&work.join("data")).map_err(|e| Problem::fault(e.to_string()))?;
    let (mut batch, mut bytes) = (Batch::default(), 0);
    let mut files = Files::default();
    let written =
        |batch: &mut Batch| store.apply(&std::mem::take(batch)).map_err(|e| Problem::fault(e.to_string()));
    while let Some(item) = reader.item()? {
        match item {
            BackupItem::File { name, part } => files.add(&reader, &name, &part)?,
            BackupItem::Pair { space, key, value } => {
                let space = *Space::ALL
                    .get(usize::from(space))
                    .ok_or_else(|| reader.broken("a pair is in no space of a store"))?;
                (staged.pairs, bytes) = (staged.pairs + 1, bytes + key.0.len() + value.0.len());
                batch.put(space, key.0, value.0);
                if bytes >= BATCH_BYTES {
                    written(&mut batch)?;
                    bytes = 0;
                    progress(reader.read);
                }
            }
            BackupItem::End(pairs) if pairs == staged.pairs => break,
            BackupItem::End(_) => return Err(reader.broken("pairs are missing")),
        }
    }
    written(&mut batch)?;
    drop(store);
    progress(reader.read);
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
            while let Some(item) = reader.item()? {
                match item {
                    BackupItem::File { name, part } => files.add(&reader, &name, &part)?,
                    BackupItem::Pair { .. } => {}
                    BackupItem::End(_) => break,
                }
            }
            files.write(&work, &KEY_FILES)?;
        }
    }
    let home = Home::open(&work)?;
    if home.member()? != staged.header.member {
        return Err(reader.broken("its header names another member than its content"));
    }
    home.mark_restored()?;
    Ok(staged)
}

impl Staged {
    /// Where it is, to be checked.
    pub fn work(&self) -> &Path {
        &self.work
    }

    /// Gives the directory its name.
    pub fn place(mut self) -> Result<(), Problem> {
        let placed = || -> std::io::Result<()> {
            if self.dir.exists() {
                // It is empty: a directory with something in it is not removed by this call.
                fs::remove_dir(&self.dir)?;
            }
            fs::rename(&self.work, &self.dir)?;
            self.dir.parent().map_or(Ok(()), sync_dir)
        };
        placed().map_err(|e| cannot_write(&self.dir, &e))?;
        self.placed = true;
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.placed {
            // Best effort; the next restore to this place removes it.
            let _ = fs::remove_dir_all(&self.work);
        }
    }
}

/// Files of a directory, put together from their parts.
#[derive(Default)]
struct Files(Vec<(String, Zeroizing<Vec<u8>>)>);

impl Files {
    fn add(&mut self, reader: &Reader, name: &str, part: &[u8]) -> Result<(), Problem> {
        if !HOME_FILES.iter().chain(&KEY_FILES).any(|known| *known == name) {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn member() -> MemberId {
        MemberId::parse("sh").unwrap()
    }

    fn items() -> Vec<BackupItem> {
        let pair = |n: u32| BackupItem::Pair {
            space: (n % 5) as u8,
            key: Bytes(n.to_be_bytes().to_vec()),
            value: Bytes(vec![n as u8; 900]),
        };
        let file =
            |name: &str, byte| BackupItem::File { name: name.to_owned(), part: Bytes(vec![byte; 70_000]) };
        let files = [file("registry", 1), file("registry", 2)];
        files.into_iter().chain((0..300).map(pair)).chain([BackupItem::End(300)]).collect()
    }

    fn written(path: &Path, to: SealTo) {
        let mut writer = Writer::create(path, to, &member(), BackupContent::Store).unwrap();
        for item in items() {
            writer.item(&item).unwrap();
        }
        assert!(!path.exists(), "nothing has the final name before it is complete");
        assert_eq!(writer.finish().unwrap(), fs::metadata(path).unwrap().len());
    }

    fn read(path: &Path, with: &OpenWith) -> Result<Vec<BackupItem>, Problem> {
        let (mut reader, mut items) = (Reader::open(path, with)?, Vec::new());
        while !matches!(items.last(), Some(BackupItem::End(_))) {
            items.extend(reader.item()?);
        }
        Ok(items)
    }

    fn words(words: &str) -> Credential {
        Credential::from(words)
    }

    #[test]
    fn a_backup_opens_for_whom_it_was_sealed_and_for_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        let (by_words, to_member) = (dir.path().join("words"), dir.path().join("member"));
        let one = |seed| Arc::new(OpeningKey::from_seed(&Secret::new([seed; 32])));
        let key = || vec![one(7), one(5)];
        written(&by_words, SealTo::Passphrase(words("backup passphrase")));
        written(&to_member, SealTo::Member(member(), one(5).public()));
        assert_eq!(read(&by_words, &OpenWith::Passphrase(words("backup passphrase"))).unwrap(), items());
        assert_eq!(read(&to_member, &OpenWith::Member(member(), key())).unwrap(), items());
        let other = vec![one(6)];
        for (path, with) in [
            (&by_words, OpenWith::Passphrase(words("another passphrase"))),
            (&by_words, OpenWith::Member(member(), key())),
            (&to_member, OpenWith::Member(member(), other)),
            (&to_member, OpenWith::Member(MemberId::parse("js").unwrap(), key())),
            (&to_member, OpenWith::Passphrase(words("backup passphrase"))),
        ] {
            assert!(read(path, &with).is_err());
        }
    }

    #[test]
    fn every_cut_and_every_changed_byte_of_a_backup_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("backup");
        let one = |seed| Arc::new(OpeningKey::from_seed(&Secret::new([seed; 32])));
        let key = || vec![one(7), one(5)];
        written(&path, SealTo::Member(member(), one(5).public()));
        let whole = fs::read(&path).unwrap();
        let damaged = dir.path().join("damaged");
        let chunk = CHUNK_BYTES + TAG_BYTES;
        // Every place in the header, and a stride through the chunks that is prime to their length.
        let places = (0..400).chain((400..whole.len()).step_by(4_099));
        for at in places {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            fs::write(&damaged, bytes).unwrap();
            assert!(read(&damaged, &OpenWith::Member(member(), key())).is_err(), "byte {at} was changed");
        }
        let start = whole.len() % chunk;
        for cut in (0..whole.len()).step_by(7_919).chain((1..whole.len() / chunk).map(|n| start + n * chunk))
        {
            fs::write(&damaged, &whole[..cut]).unwrap();
            assert!(read(&damaged, &OpenWith::Member(member(), key())).is_err(), "cut at {cut}");
        }
        fs::write(&damaged, [&whole[..], b"x"].concat()).unwrap();
        assert!(read(&damaged, &OpenWith::Member(member(), key())).is_err(), "a byte was added");
    }

    #[test]
    fn an_interrupted_backup_leaves_nothing_under_its_name_and_an_earlier_one_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("backup");
        let to = || SealTo::Passphrase(words("backup passphrase"));
        let mut writer = Writer::create(&path, to(), &member(), BackupContent::Store).unwrap();
        writer.item(&items()[0]).unwrap();
        drop(writer);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        // As a killed process leaves it.
        fs::write(beside(&path, "part"), b"half").unwrap();
        written(&path, to());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        let before = fs::read(&path).unwrap();
        assert!(Writer::create(&path, to(), &member(), BackupContent::Store).is_err());
        assert_eq!(fs::read(&path).unwrap(), before);
    }
}
