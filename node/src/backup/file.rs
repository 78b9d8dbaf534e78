//! The form of a backup file, and reading it.
//!
//! ```text
//! file    = "xinqiao backup 2\n" ‖ length of header (4 bytes, big-endian) ‖ header ‖ frame …
//! frame   = number of the segment (16 random bytes) ‖ length of box (4 bytes, big-endian) ‖ box
//! box     = nonce (12) ‖ AES-256-GCM(key of the segment, nonce, segment ‖ backup-item …, label)
//! segment = Files / Range / End, and the items that it says
//! ```
//!
//! A segment is sealed by itself, so that one that is whole stays so whatever happened to others. `End` names the segments
//! that count, in their order in the file: one that is missing, moved, repeated or from another time is noticed. A frame
//! whose number is zero holds nothing any more.

use std::{
    fs,
    io::{BufReader, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use credit::id::MemberId;
use crypto::{
    Bytes, Digest, Timestamp, codec,
    keystore::{Credential, Unlocked},
    label::Label,
    pseudonym::keyed,
    seal::{OpeningKey, open_box, seal_box, wrap},
    secret::Secret,
    sign::PublicKey,
    suite::Suite,
};
use exchange::backup::{BackupContent, BackupId, BackupItem};
use minicbor::{Decode, Encode};
use zeroize::Zeroizing;

use crate::{Problem, clock};

/// What a backup begins with: its kind and the version of its form.
const MAGIC: &[u8] = b"xinqiao backup 2\n";
/// Longest header: a wrapped key and a few names take 300 bytes.
const HEADER_BYTES_MAX: usize = 4 * 1024;
/// Number and length of a segment.
pub(super) const FRAME_BYTES: u64 = 20;
/// Longest box: a part has 4 MiB and one value more, and the longest value of a store, the report of a file with 1,000
/// rejected rows, stays below 1 MiB. The names of 1,000,000 segments, with which 4 TiB end, need 17 MiB.
pub(super) const BOX_BYTES_MAX: u32 = 32 * 1024 * 1024;

crypto::id! {
    /// Names a segment of one file. Random, so that no key seals twice; zero where a segment was wiped out.
    pub struct SegmentId(16);
}

impl SegmentId {
    /// Of a frame that holds nothing any more.
    pub(super) const NONE: Self = Self([0; 16]);
}

/// A part of a backup that is sealed by itself.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Segment {
    /// Files of the directory, or parts of them, and under which name the node held the store then.
    #[n(0)]
    Files(#[n(0)] BackupId, #[n(1)] Vec<BackupItem>),
    /// The pairs of one space behind this key, or from its beginning, up to the last one here: at least one, ascending.
    #[n(1)]
    Pairs(#[n(0)] Option<Bytes>, #[n(1)] Vec<BackupItem>),
    /// The end: how many pairs there are, and the segments that count, in their order in the file.
    #[n(2)]
    End(#[n(0)] u64, #[n(1)] Vec<SegmentId>),
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

/// What seals and opens the segments of one file.
pub(super) struct Segments {
    key: Secret,
    header: Vec<u8>,
}

impl Segments {
    /// A new file: its start, and the backup's key.
    pub(super) fn new(
        to: &SealTo,
        member: &MemberId,
        content: BackupContent,
    ) -> Result<(Self, Vec<u8>), Problem> {
        let key = clock::secret();
        let wrapped = match to {
            SealTo::Passphrase(credential) => {
                let unlocked = Unlocked::new(credential.clone(), clock::random())
                    .map_err(|e| Problem::fault(e.to_string()))?;
                Wrapped::Passphrase(unlocked.seal_for(Label::BackupKey, clock::random(), key.expose()).into())
            }
            SealTo::Member(to, public) => {
                let (bound, seed) = (to.as_str().as_bytes(), clock::secret());
                let (encapsulated, sealed) =
                    wrap(public, Label::BackupKeyWrap, bound, &seed, key.expose())
                        .map_err(|e| Problem::fault(format!("sealing key of `{to}`: {e}")))?;
                Wrapped::Member(to.clone(), encapsulated, sealed)
            }
        };
        let (suite, at) = (Suite::Standard.number(), clock::now());
        let header = codec::to_vec(&Header { suite, member: member.clone(), at, content, wrapped });
        let start = [MAGIC, &(header.len() as u32).to_be_bytes(), &header].concat();
        Ok((Self { key, header }, start))
    }

    /// Those of a file that an interrupted backup has left, when it is of the same kind and sealed to the same.
    pub(super) fn resumed(
        start: &Start,
        to: &SealTo,
        member: &MemberId,
        content: BackupContent,
        waiting: impl FnOnce(&[u8]) -> Option<Vec<u8>>,
    ) -> Option<Self> {
        let header = &start.header;
        if (&header.member, header.content) != (member, content) {
            return None;
        }
        let key = match (to, &header.wrapped) {
            (SealTo::Passphrase(words), Wrapped::Passphrase(sealed)) => {
                Unlocked::open_for(Label::BackupKey, words.clone(), sealed).ok()?.0
            }
            (SealTo::Member(to, _), Wrapped::Member(was, ..)) if to == was => {
                Zeroizing::new(waiting(&start.bytes)?)
            }
            _ => return None,
        };
        Some(Self { key: Secret::new(key[..].try_into().ok()?), header: start.bytes.clone() })
    }

    /// The key of a file that is sealed to a member, so that who made it can go on with it.
    pub(super) fn waiting(&self, operator: &Secret) -> Vec<u8> {
        let key = waiting_key(operator, &self.header);
        seal_box(&key, Label::BackupWaiting, clock::random(), self.key.expose())
    }

    /// A frame with this segment, under a number that is returned.
    pub(super) fn seal(&self, segment: &Segment) -> (SegmentId, Vec<u8>) {
        let id = SegmentId(clock::random());
        let plain = Zeroizing::new(codec::to_vec(segment));
        let sealed = seal_box(&self.of(&id), Label::BackupSegment, clock::random(), &plain);
        (id, [&id.0[..], &(sealed.len() as u32).to_be_bytes(), &sealed].concat())
    }

    /// Opens a box. Errors: it was changed, or is not of this file and number.
    pub(super) fn open(&self, id: &SegmentId, sealed: &[u8]) -> Result<Segment, String> {
        let plain = open_box(&self.of(id), Label::BackupSegment, sealed);
        let plain = Zeroizing::new(plain.map_err(|_| "it was changed or cut".to_owned())?);
        codec::from_slice_max(&plain, BOX_BYTES_MAX as usize).map_err(|e| e.to_string())
    }

    fn of(&self, id: &SegmentId) -> Secret {
        Secret::new(keyed(&self.key, Label::BackupSegment, &[&self.header, &id.0]))
    }
}

/// Opens what [`Segments::waiting`] sealed.
pub(super) fn open_waiting(operator: &Secret, header: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    open_box(&waiting_key(operator, header), Label::BackupWaiting, sealed).ok()
}

fn waiting_key(operator: &Secret, header: &[u8]) -> Secret {
    Secret::new(keyed(operator, Label::BackupWaiting, &[header]))
}

/// How a file begins.
pub(super) struct Start {
    pub(super) header: Header,
    pub(super) bytes: Vec<u8>,
    /// Bytes of the file before its first frame.
    pub(super) length: u64,
}

impl Start {
    /// Reads it. Errors: why this is no backup.
    pub(super) fn read(file: &mut impl Read) -> Result<Self, String> {
        let mut start = [0; MAGIC.len() + 4];
        file.read_exact(&mut start).map_err(|_| "not a backup")?;
        let (magic, length) = start.split_at(MAGIC.len());
        let length = length.iter().fold(0usize, |n, b| n << 8 | usize::from(*b));
        if magic != MAGIC || length > HEADER_BYTES_MAX {
            return Err("not a backup of version 2".into());
        }
        let mut bytes = vec![0; length];
        file.read_exact(&mut bytes).map_err(|_| "it ends in its header")?;
        let header: Header = codec::from_slice(&bytes).map_err(|e| e.to_string())?;
        if Suite::from_number(header.suite.into()).is_none() {
            return Err(format!("suite {} is not known to this build", header.suite));
        }
        Ok(Self { header, bytes, length: (MAGIC.len() + 4 + length) as u64 })
    }
}

/// The number and the length of the next frame; `None` at the end.
pub(super) fn frame(file: &mut impl Read) -> std::io::Result<Option<(SegmentId, u32)>> {
    let mut head = Vec::with_capacity(FRAME_BYTES as usize);
    file.by_ref().take(FRAME_BYTES).read_to_end(&mut head)?;
    if head.is_empty() {
        return Ok(None);
    }
    let (id, length) = head.split_at_checked(16).ok_or(std::io::ErrorKind::UnexpectedEof)?;
    let (id, length) = (id.try_into().ok(), length.try_into().ok());
    match id.zip(length) {
        Some((id, length)) => Ok(Some((SegmentId(id), u32::from_be_bytes(length)))),
        None => Err(std::io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Reads a backup, segment by segment. Nothing is given out before it was authenticated.
pub struct Reader {
    file: BufReader<fs::File>,
    path: PathBuf,
    start: Start,
    segments: Segments,
    /// What counts so far, and whether the end was seen.
    seen: Vec<SegmentId>,
    ended: bool,
    /// Bytes of the file that were read.
    pub(super) read: u64,
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
        let mut file = BufReader::new(fs::File::open(path).map_err(|e| no(e.to_string()))?);
        let start = Start::read(&mut file).map_err(no)?;
        let key = match (&start.header.wrapped, with) {
            (Wrapped::Passphrase(sealed), OpenWith::Passphrase(credential)) => {
                let opened = Unlocked::open_for(Label::BackupKey, credential.clone(), sealed);
                opened.map_err(|e| no(e.to_string()))?.0
            }
            (Wrapped::Member(to, encapsulated, sealed), OpenWith::Member(member, keys)) if to == member => {
                let open = |key: &Arc<OpeningKey>| {
                    key.unwrap(Label::BackupKeyWrap, to.as_str().as_bytes(), encapsulated, sealed).ok()
                };
                Zeroizing::new(
                    keys.iter()
                        .find_map(open)
                        .ok_or_else(|| no("it does not open with these keys".into()))?,
                )
            }
            (Wrapped::Passphrase(_), OpenWith::Member(..)) => {
                return Err(no("it is sealed under a passphrase, not to a member".into()));
            }
            (Wrapped::Member(to, ..), _) => return Err(no(format!("it is sealed to `{to}`"))),
        };
        let key = key[..].try_into().map_err(|_| no("not a backup's key".into()))?;
        let segments = Segments { key: Secret::new(key), header: start.bytes.clone() };
        let read = start.length;
        Ok(Self { file, path: path.to_owned(), start, segments, seen: Vec::new(), ended: false, read })
    }

    /// What stands before the content.
    pub fn header(&self) -> &Header {
        &self.start.header
    }

    /// What tells this backup from every other.
    pub(super) fn fingerprint(&self) -> Digest {
        Digest::of(&self.start.bytes)
    }

    /// The next segment; `None` after `End`. Errors: the file was changed or cut, or holds what no backup holds.
    pub fn segment(&mut self) -> Result<Option<Segment>, Problem> {
        if self.ended {
            return Ok(None);
        }
        loop {
            let found = frame(&mut self.file).map_err(|e| self.broken(&e.to_string()))?;
            let Some((id, length)) = found else { return Err(self.broken("it ends before its end mark")) };
            if length > BOX_BYTES_MAX {
                return Err(self.broken("a segment is too long"));
            }
            self.read += FRAME_BYTES + u64::from(length);
            if id == SegmentId::NONE {
                self.file.seek_relative(length.into()).map_err(|e| self.broken(&e.to_string()))?;
                continue;
            }
            let mut sealed = vec![0; length as usize];
            self.file.read_exact(&mut sealed).map_err(|_| self.broken("it ends within a segment"))?;
            let segment = self.segments.open(&id, &sealed).map_err(|why| self.broken(&why))?;
            if let Segment::End(_, counted) = &segment {
                if *counted != self.seen {
                    return Err(self.broken("its segments are not those that its end names"));
                }
                let more = frame(&mut self.file).map_err(|e| self.broken(&e.to_string()))?;
                if more.is_some() {
                    return Err(self.broken("something follows its end mark"));
                }
                self.ended = true;
            }
            self.seen.push(id);
            return Ok(Some(segment));
        }
    }

    pub(super) fn broken(&self, why: &str) -> Problem {
        Problem::new(
            format!("{}: {why}", self.path.display()),
            "do not use this backup; take another one, and look where this one was kept",
            "请勿使用此备份；请换用其他备份，并检查其存放处",
        )
    }
}
