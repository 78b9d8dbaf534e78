//! Writing a backup, and going on with one that was interrupted.
//!
//! A backup has the name `<name>.part` until it is complete, so that nothing half has the final name. Whatever ended the
//! command before, the next one with the same name reads that file: segments that open are asked for by their digest, and
//! what the node does not have any more in the same way is wiped out and taken anew. Nothing in the file is believed
//! because it is there.

use std::{
    collections::VecDeque,
    fs,
    io::{BufReader, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use credit::id::MemberId;
use crypto::{Bytes, Digest, secret::Secret};
use exchange::{
    backup::{BackupContent, BackupId, BackupItem, BackupRange, extend},
    wire::Response,
};

use super::{
    beside, cannot_write,
    file::{BOX_BYTES_MAX, FRAME_BYTES, SealTo, Segment, SegmentId, Segments, Start, frame, open_waiting},
    not_written,
};
use crate::{
    Problem,
    keys::{sync_dir, write_private},
};

/// Writes a backup. [`Writer::ask`] says what to ask the node for next, and [`Writer::answer`] takes what it says, until
/// that was all; then [`Writer::finish`].
pub struct Writer {
    file: fs::File,
    part: PathBuf,
    path: PathBuf,
    segments: Segments,
    /// Under which name the node holds the store.
    held: BackupId,
    interrupted: Option<BackupId>,
    /// What the file had at the beginning and the node was not asked about yet, in the order of the store; no two overlap.
    kept: VecDeque<Kept>,
    /// What counts, by its place in the file.
    counted: Vec<(u64, SegmentId)>,
    /// The space and the last key up to which everything is in the file.
    space: u8,
    after: Option<Bytes>,
    /// Where a range ends that is not as it was.
    until: Option<(u8, Option<Bytes>)>,
    /// Pairs of the store so far.
    pub pairs: u64,
    /// How many of them were in the file when it was opened.
    pub reused: u64,
}

/// A segment of pairs, and where it lies.
struct Kept {
    id: SegmentId,
    at: u64,
    length: u32,
    space: u8,
    after: Option<Bytes>,
    last: Bytes,
    digest: Digest,
    pairs: u64,
}

impl Writer {
    /// Begins a backup file, or goes on with what an interrupted one has left under its `.part` name, when that is of the
    /// same member and content and sealed to the same. A complete file of this name is not replaced.
    pub fn open(
        path: &Path,
        to: &SealTo,
        member: &MemberId,
        content: BackupContent,
        operator: &Secret,
    ) -> Result<Self, Problem> {
        let again = ("wait until it has ended, or give another name", "请等待其结束，或使用其他文件名");
        let part = beside(path, "part");
        let failed = |e: std::io::Error| cannot_write(&part, &e);
        let mut options = fs::OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        refuse_existing(path)?;
        let mut file = options.open(&part).map_err(failed)?;
        file.try_lock().map_err(|_| {
            Problem::new(format!("{} is being written by another process", part.display()), again.0, again.1)
        })?;
        // The other process may have ended just now, and given the file its name.
        refuse_existing(path)?;
        let waiting = beside(path, "part.key");
        let begun = Start::read(&mut file).ok().and_then(|start| {
            let waiting = |header: &[u8]| open_waiting(operator, header, &fs::read(&waiting).ok()?);
            Some((Segments::resumed(&start, to, member, content, waiting)?, start.length))
        });
        let (segments, start) = match begun {
            Some(begun) => begun,
            None => {
                let (segments, start) = Segments::new(to, member, content)?;
                file.set_len(0).map_err(failed)?;
                if matches!(to, SealTo::Member(..)) {
                    let written = write_private(&waiting, &segments.waiting(operator));
                    written.map_err(|problem| not_written(problem.what))?;
                }
                file.rewind().and_then(|()| file.write_all(&start)).map_err(failed)?;
                (segments, start.len() as u64)
            }
        };
        let mut writer = Self {
            file,
            part: part.clone(),
            path: path.to_owned(),
            segments,
            held: BackupId([0; 16]),
            interrupted: None,
            kept: VecDeque::new(),
            counted: Vec::new(),
            space: 0,
            after: None,
            until: None,
            pairs: 0,
            reused: 0,
        };
        writer.look_through(start).map_err(failed)?;
        Ok(writer)
    }

    /// The name under which the interrupted backup was read, which the node may still hold open.
    pub fn interrupted(&self) -> Option<BackupId> {
        self.interrupted
    }

    /// The node holds the store under this name.
    pub fn begin(&mut self, id: BackupId) {
        self.held = id;
    }

    /// What to ask for next: up to where, and, where the file has pairs that begin here, their digest.
    pub fn ask(&self) -> Option<BackupRange> {
        if let Some((space, last)) = &self.until {
            return Some(BackupRange { space: *space, last: last.clone(), digest: None });
        }
        let kept = self.kept.front()?;
        Some(if (self.space, &self.after) == (kept.space, &kept.after) {
            BackupRange { space: kept.space, last: Some(kept.last.clone()), digest: Some(kept.digest) }
        } else {
            BackupRange { space: kept.space, last: kept.after.clone(), digest: None }
        })
    }

    /// Takes the answer to what was asked. Returns whether that was the last one.
    pub fn answer(&mut self, response: Response) -> Result<bool, Problem> {
        let asked = self.ask();
        let items = match response {
            Response::BackupSame(pairs) => {
                let kept = self.kept.pop_front().filter(|kept| kept.pairs == pairs);
                let kept = kept.ok_or_else(|| unexpected("pairs are the same that were not asked for"))?;
                self.counted.push((kept.at, kept.id));
                (self.space, self.after) = (kept.space, Some(kept.last));
                (self.pairs, self.reused) = (self.pairs + pairs, self.reused + pairs);
                return Ok(false);
            }
            Response::BackupPart(items) => items,
            _ => return Err(unexpected("this is no part of a backup")),
        };
        if matches!(items.first(), Some(BackupItem::File { .. })) {
            return self.write(&Segment::Files(self.held, items)).map(|()| false);
        }
        if let Some(BackupItem::End(pairs)) = items.first() {
            return if *pairs == self.pairs { Ok(true) } else { Err(unexpected("pairs are missing")) };
        }
        if let Some(range) = &asked
            && range.digest.is_some()
            && let Some(kept) = self.kept.pop_front()
        {
            self.wipe(kept.at, kept.length).map_err(|e| cannot_write(&self.part, &e))?;
            self.until = Some((range.space, range.last.clone()));
        }
        let reached = match (items.last(), asked) {
            (Some(BackupItem::Pair { space, key, .. }), _) => {
                let reached = (*space, Some(key.clone()));
                let after = if *space == self.space { self.after.take() } else { None };
                self.pairs += items.len() as u64;
                self.write(&Segment::Pairs(after, items))?;
                reached
            }
            (None, Some(range)) => (range.space, range.last),
            _ => return Err(unexpected("this is no part of a backup")),
        };
        if self.until.as_ref() == Some(&reached) {
            self.until = None;
        }
        (self.space, self.after) = reached;
        Ok(false)
    }

    /// Seals the end, flushes, and gives the file its name. Returns its length in bytes.
    pub fn finish(mut self) -> Result<u64, Problem> {
        self.counted.sort();
        let counted = self.counted.iter().map(|(_, id)| *id).collect();
        self.write(&Segment::End(self.pairs, counted))?;
        let place = || -> std::io::Result<u64> {
            self.file.sync_all()?;
            let length = self.file.metadata()?.len();
            // It opens the file for who has the operator's key, and is not needed any more.
            match fs::remove_file(beside(&self.path, "part.key")) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
            fs::rename(&self.part, &self.path)?;
            self.path.parent().map_or(Ok(()), sync_dir)?;
            Ok(length)
        };
        place().map_err(|e| cannot_write(&self.path, &e))
    }

    fn write(&mut self, segment: &Segment) -> Result<(), Problem> {
        let (id, bytes) = self.segments.seal(segment);
        let written = self.file.seek(SeekFrom::End(0)).and_then(|at| {
            self.file.write_all(&bytes)?;
            Ok(at)
        });
        let at = written.map_err(|e| cannot_write(&self.part, &e))?;
        self.counted.push((at, id));
        Ok(())
    }

    /// Finds the segments that are whole. What is torn is cut off; files, which are few and may be keys, and everything that
    /// does not open are wiped out.
    fn look_through(&mut self, start: u64) -> std::io::Result<()> {
        let end = self.file.metadata()?.len();
        let (mut at, mut kept, mut dead) = (start, Vec::new(), Vec::new());
        let mut reader = BufReader::new(self.file.try_clone()?);
        reader.seek(SeekFrom::Start(start))?;
        while let Ok(Some((id, length))) = frame(&mut reader) {
            let next = at + FRAME_BYTES + u64::from(length);
            if next > end || length > BOX_BYTES_MAX {
                break;
            }
            if id == SegmentId::NONE {
                reader.seek_relative(length.into())?;
            } else {
                let mut sealed = vec![0; length as usize];
                reader.read_exact(&mut sealed)?;
                let segment = self.segments.open(&id, &sealed);
                if let Ok(Segment::Files(held, _)) = &segment {
                    self.interrupted = Some(*held);
                }
                match segment.ok().and_then(|segment| Kept::of(segment, id, at, length)) {
                    Some(found) => kept.push(found),
                    None => dead.push((at, length)),
                }
            }
            at = next;
        }
        self.file.set_len(at)?;
        kept.sort_by(|a, b| (a.space, &a.after, &a.last).cmp(&(b.space, &b.after, &b.last)));
        for found in kept {
            let before = self.kept.back().filter(|before| before.space == found.space);
            if before.is_some_and(|before| found.after.as_ref() < Some(&before.last)) {
                dead.push((found.at, found.length));
            } else {
                self.kept.push_back(found);
            }
        }
        dead.into_iter().try_for_each(|(at, length)| self.wipe(at, length))
    }

    /// Leaves nothing of a segment. Its number goes last: while it is there, the next look finds what is left of the rest.
    fn wipe(&mut self, at: u64, length: u32) -> std::io::Result<()> {
        self.file.seek(SeekFrom::Start(at + FRAME_BYTES))?;
        self.file.write_all(&vec![0; length as usize])?;
        self.file.seek(SeekFrom::Start(at))?;
        self.file.write_all(&SegmentId::NONE.0)
    }
}

impl Kept {
    /// `None` of a segment that is not asked for again.
    fn of(segment: Segment, id: SegmentId, at: u64, length: u32) -> Option<Self> {
        let Segment::Pairs(after, items) = segment else { return None };
        let Some(BackupItem::Pair { space, key: last, .. }) = items.last() else { return None };
        let digest = items.iter().try_fold(Digest::ZERO, |digest, item| match item {
            BackupItem::Pair { key, value, .. } => Some(extend(&digest, &key.0, &value.0)),
            _ => None,
        })?;
        let (space, last, pairs) = (*space, last.clone(), items.len() as u64);
        Some(Self { id, at, length, space, after, last, digest, pairs })
    }
}

fn refuse_existing(path: &Path) -> Result<(), Problem> {
    if !path.exists() {
        return Ok(());
    }
    Err(Problem::new(
        format!("{} exists already", path.display()),
        "give another name, or move the earlier backup away",
        "请使用其他文件名，或先移走原备份",
    ))
}

fn unexpected(what: &str) -> Problem {
    Problem::fault(format!("the node's answer does not fit: {what}"))
}
