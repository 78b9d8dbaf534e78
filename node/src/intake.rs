//! A department's file on its way into the log: read as it comes, checked, sealed on all cores, written by the one
//! writer. The last place where a record is in clear; what goes on is sealed.
//!
//! ```text
//! parts → read into rows → check, name and seal (one thread per core) → in file order to the writer
//! ```
//!
//! Every stage waits for the next one, so memory does not grow with the file. How far the file is stands in the same
//! batch as its records: an interrupted file goes on at the row where it stopped, when it is handed in again.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::AtomicBool,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
};

use credit::{
    csv::stream::{Layout, RawRow, Reader},
    csv::{PlainRecord, Row},
    id::{ItemId, SourceId},
    normalize::{document_form, normalize_document_number},
    value::Date,
};
use crypto::{Bytes, Digest, keytree::Slot, pseudonym::FileHasher};
use exchange::{
    limits::{CONFIRMED_NUMBERS_MAX, FILE_PART_BYTES_MAX, RECORDS_PER_BATCH_MAX},
    logs::LogName,
    member::Input,
    refusal::{Code, Fault, Refusal},
    submit::{IntakeRow, RunRows, SealedRow, Submission},
    tables::{self, Key},
    wire::{Response, SubmitReport},
};
use ledger::log;
use tokio::sync::{OwnedMutexGuard, mpsc};

use crate::{
    clock,
    core::{Awaited, Core, Shared},
    prepare::Prepare,
    serve::Server,
};

/// Rows that are checked, sealed and written together: one signature and one reply for so many.
pub const RUN_ROWS: usize = 4_000;
/// Runs that wait for the writer: enough that it never waits for them, and that one flush serves many.
const RUNS_WAITING_MAX: usize = 4;
/// Runs of fewer rows go one by one.
const SMALL_RUN: usize = 1_000;
/// Parts that wait to be read.
const PARTS_WAITING_MAX: usize = 2;
/// Key slots taken at a time once a file turns out to be long.
const SLOTS_AT_ONCE: u64 = 8 * RUN_ROWS as u64;
/// Time without a part after which a file is given up; what was taken of it stays, and it can be handed in again.
const PART_WAIT: std::time::Duration = std::time::Duration::from_secs(30);
/// Time a file waits for the one before it.
const TURN_WAIT: std::time::Duration = std::time::Duration::from_secs(60);

/// The file that is being taken in; one at a time, because duplicates are found against what is stored.
pub type Uploads = Arc<tokio::sync::Mutex<Option<Upload>>>;

/// A file whose parts are coming.
pub struct Upload {
    id: u64,
    file: (SourceId, ItemId, Digest),
    next: u64,
    parts: mpsc::Sender<Bytes>,
    outcome: tokio::task::JoinHandle<Result<Response, Refusal>>,
}

/// Begins a file. The same file again answers with the first report, unless rows of it were given back that may be taken
/// now, or the operator confirms numbers.
pub async fn begin(
    server: &Server,
    source: SourceId,
    item: ItemId,
    file: Digest,
    confirm: &[String],
) -> Result<Response, Refusal> {
    if confirm.len() > CONFIRMED_NUMBERS_MAX {
        let why = format!("{} confirmed numbers, at most {CONFIRMED_NUMBERS_MAX}", confirm.len());
        return Err(Refusal::new(Code::FrameTooLong, why));
    }
    let confirm: BTreeSet<String> =
        confirm.iter().map(|number| document_form(&normalize_document_number(number))).collect();
    let named = (source.clone(), item.clone(), file);
    // Begun anew by the same operator: the sender that was interrupted is not waited for.
    drop(server.uploads.lock().await.take_if(|before| before.file == named));
    let turn = tokio::time::timeout(TURN_WAIT, server.intake.clone().lock_owned()).await;
    let turn = turn.map_err(|_| Refusal::new(Code::Busy, "another file is being taken in"))?;
    let (shared, core) = (server.shared.clone(), server.core.clone());
    if !shared.context().role().is_ok_and(|role| role.collects()) {
        return Err(Refusal::new(Code::CallerNotAllowed, "this member collects no records"));
    }
    let key = Key::source(source.as_str());
    if tables::row::<()>(&shared.store, &key).map_err(fault)?.is_none() {
        return Err(Refusal::new(Code::SourceUnknown, format!("`{source}`")));
    }
    if shared.context().catalog.item(&item).is_none() {
        return Err(Refusal::new(Code::ItemUnknown, format!("`{item}`")));
    }
    let key = Key::file(source.as_str(), &item, &file);
    let known = tables::row::<SubmitReport>(&shared.store, &key).map_err(fault)?;
    if let Some(known) = known.filter(|known| known.waiting == 0 && confirm.is_empty()) {
        return Ok(Response::Report(SubmitReport { repeated: true, ..known }));
    }
    let (parts, received) = mpsc::channel(PARTS_WAITING_MAX);
    let mut upload = server.uploads.lock().await;
    let id = u64::from_be_bytes(clock::random());
    let take = move || Taking { shared, core, source, item, file, confirm }.parts(turn, received);
    let outcome = tokio::task::spawn_blocking(take);
    *upload = Some(Upload { id, file: named, next: 0, parts, outcome });
    Ok(Response::Upload(id))
}

/// Takes the next bytes of the file; returns when there is room for more.
pub async fn part(server: &Server, id: u64, at: u64, bytes: Bytes) -> Result<Response, Refusal> {
    let mut place = server.uploads.lock().await;
    let Some(upload) = place.as_mut().filter(|upload| upload.id == id && upload.next == at) else {
        return Err(Refusal::new(
            Code::NotFound,
            "no such upload, or not its next part; begin the file again",
        ));
    };
    if bytes.len() > FILE_PART_BYTES_MAX {
        return Err(Refusal::new(Code::FrameTooLong, format!("a part of {} bytes", bytes.len())));
    }
    upload.next += bytes.len() as u64;
    if upload.parts.send(bytes).await.is_ok() {
        return Ok(Response::Done);
    }
    // The file was given up, and its outcome says why.
    match place.take() {
        Some(upload) => joined(upload.outcome.await),
        None => Ok(Response::Done),
    }
}

/// Ends the file; answers with its report.
pub async fn end(server: &Server, id: u64) -> Result<Response, Refusal> {
    let mut place = server.uploads.lock().await;
    match place.take_if(|upload| upload.id == id) {
        Some(upload) => {
            // An empty part is the end; a sender that only disappears is an interruption.
            let _ = upload.parts.send(Bytes(Vec::new())).await;
            drop(place);
            joined(upload.outcome.await)
        }
        None => Err(Refusal::new(Code::NotFound, "no such upload; begin the file again")),
    }
}

fn joined(outcome: Result<Result<Response, Refusal>, tokio::task::JoinError>) -> Result<Response, Refusal> {
    outcome.unwrap_or_else(|e| Err(Refusal::new(Code::FileUnreadable, e.to_string())))
}

pub(crate) fn fault(fault: Fault) -> Refusal {
    tracing::error!(%fault, "intake failed");
    Refusal::new(Code::Busy, "the node has a fault; see its log")
}

/// Rows on their way to be sealed, in clear.
pub enum Rows {
    /// As they stand in a file.
    Raw(Vec<RawRow>, Arc<Layout>),
    /// Records that were read already, with nothing wrong about them.
    Plain(Vec<PlainRecord>),
}

impl Rows {
    fn len(&self) -> usize {
        match self {
            Self::Raw(rows, _) => rows.len(),
            Self::Plain(rows) => rows.len(),
        }
    }

    fn read(self, prepare: &Prepare<'_>) -> Vec<Row> {
        match self {
            Self::Raw(rows, layout) => {
                rows.iter().map(|raw| layout.read(prepare.item, prepare.today, raw)).collect()
            }
            Self::Plain(rows) => {
                let row = |(number, plain)| Row { number, outcome: Ok(plain), normalised: false };
                (1..).zip(rows).map(row).collect()
            }
        }
    }
}

/// One file that is being taken in.
pub struct Taking {
    /// The node.
    pub shared: Arc<Shared>,
    /// Its writer.
    pub core: Core,
    /// The department.
    pub source: SourceId,
    /// The item.
    pub item: ItemId,
    /// Digest of the file, as announced.
    pub file: Digest,
    /// Document numbers whose rows are meant as they stand, in the form that names records.
    pub confirm: BTreeSet<String>,
}

/// Takes rows until there are no more; fails when the stages behind have given up.
pub struct Feed<'a> {
    core: &'a Core,
    workers: &'a [SyncSender<(Rows, u64, Option<Digest>)>],
    sent: usize,
    slots: core::ops::Range<u64>,
}

impl Feed<'_> {
    /// Hands rows on, at most [`RECORDS_PER_BATCH_MAX`]; they are sealed and written together. `prefix` is the digest of
    /// all rows up to these.
    pub fn push(&mut self, rows: Rows, prefix: Option<Digest>) -> Result<(), Stopped> {
        let count = rows.len() as u64;
        if self.slots.end - self.slots.start < count {
            // A short file takes what it needs, a long one does not ask again for every run.
            let take = if self.sent == 0 { count } else { count.max(SLOTS_AT_ONCE) };
            let reply = self.core.hand_in(Input::ReserveSlots { count: take })?;
            match settle(Some(reply))? {
                Response::Slots(first) => self.slots = first..first + take,
                _ => return Err(Stopped::Behind),
            }
        }
        let first = self.slots.start;
        self.slots.start += count;
        let worker = &self.workers[self.sent % self.workers.len()];
        self.sent += 1;
        worker.send((rows, first, prefix)).map_err(|_| Stopped::Behind)
    }
}

/// Rows that were sealed together, and what became of the others.
type Sealed = (Vec<SealedRow>, RunRows);

/// A file that was read to its end.
struct Whole {
    encoding: &'static str,
    runs: usize,
}

/// Why rows are not taken any more.
#[derive(Debug)]
pub enum Stopped {
    /// A stage behind has ended, and says why itself.
    Behind,
    /// The writer refuses.
    Refused(Refusal),
}

impl From<Refusal> for Stopped {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// How reading a file ended.
enum Ended {
    Whole(&'static str),
    Refused(Refusal),
    Stopped,
    /// What comes is not the file that was announced, or not the one that was begun.
    Other,
}

impl From<Stopped> for Ended {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Behind => Self::Stopped,
            Stopped::Refused(refusal) => Self::Refused(refusal),
        }
    }
}

impl Taking {
    /// Takes the file in as its parts come. Holds its turn until it ends.
    fn parts(
        self,
        _turn: OwnedMutexGuard<()>,
        mut parts: mpsc::Receiver<Bytes>,
    ) -> Result<Response, Refusal> {
        let key = Key::intake(self.source.as_str(), &self.item, &self.file);
        let begun: Option<IntakeRow> = tables::row(&self.shared.store, &key).map_err(fault)?;
        let context = self.shared.context();
        let Some(item) = context.catalog.item(&self.item) else {
            return Err(Refusal::new(Code::ItemUnknown, format!("`{}`", self.item)));
        };
        let runtime = tokio::runtime::Handle::current();
        let next = || runtime.block_on(tokio::time::timeout(PART_WAIT, parts.recv())).ok().flatten();
        let mut file = FileRows {
            next,
            reader: Reader::new(&context.catalog, item),
            digest: self.file,
            before: begun.as_ref().map_or((0, None), |row| (row.rows, row.prefix)),
            rows: FileHasher::default(),
        };
        let mut other = false;
        let taken = self.take(RUN_ROWS, begun, |feed| match file.read(feed) {
            Ended::Whole(encoding) => Ok(Some(encoding)),
            Ended::Stopped => Ok(None),
            Ended::Refused(refusal) => Err(refusal),
            Ended::Other => {
                other = true;
                let why = "the bytes are not those that came under this digest; hand the file in again, from its beginning";
                Err(Refusal::new(Code::FileUnreadable, why))
            }
        });
        if other {
            // Otherwise the true file would go on after rows that were never its own.
            let (source, item, file) = (self.source.clone(), self.item.clone(), self.file);
            settle(Some(self.core.hand_in(Input::ForgetFile { source, item, file })?))?;
        }
        taken
    }

    /// Runs the stages: `feed` in this thread, one sealing thread per core, and one that hands to the writer.
    ///
    /// `feed` returns how the file was encoded when it was read to its end. Shape: the writer's last reply.
    pub fn take(
        &self,
        run_rows: usize,
        begun: Option<IntakeRow>,
        feed: impl FnOnce(&mut Feed<'_>) -> Result<Option<&'static str>, Refusal>,
    ) -> Result<Response, Refusal> {
        let since = match begun {
            Some(row) => row.since,
            None => {
                log::size(&self.shared.store, LogName::Records.as_str()).map_err(|e| fault(Fault::from(e)))?.0
            }
        };
        let context = self.shared.context();
        let item = context.catalog.item(&self.item);
        let item = item.ok_or_else(|| Refusal::new(Code::ItemUnknown, format!("`{}`", self.item)))?;
        let now = clock::now();
        let (today, look) = (Date::from_timestamp(now), AtomicBool::new(true));
        let prepare = Prepare { shared: &self.shared, item, now, today, since, look, confirm: &self.confirm };
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let whole = Mutex::new(None);
        std::thread::scope(|scope| {
            let (mut workers, mut sealed) = (Vec::new(), Vec::new());
            for _ in 0..threads {
                let (work, todo) = sync_channel::<(Rows, u64, Option<Digest>)>(1);
                let (done, result) = sync_channel(1);
                let prepare = &prepare;
                scope.spawn(move || {
                    while let Ok((rows, first, prefix)) = todo.recv() {
                        let prepared = prepare.run(rows.read(prepare), Slot(first));
                        let named = prepared.map(|(sealed, run)| (sealed, RunRows { prefix, ..run }));
                        if done.send(named).is_err() {
                            break;
                        }
                    }
                });
                workers.push(work);
                sealed.push(result);
            }
            let found = &whole;
            let committer = scope.spawn(move || self.commit(run_rows, &sealed, found));
            let mut way = Feed { core: &self.core, workers: &workers, sent: 0, slots: 0..0 };
            let fed = feed(&mut way);
            if let (Ok(Some(encoding)), Ok(mut whole)) = (&fed, whole.lock()) {
                *whole = Some(Whole { encoding, runs: way.sent });
            }
            drop(workers);
            let committed = committer
                .join()
                .unwrap_or_else(|_| Err(Refusal::new(Code::Busy, "the node has a fault; see its log")));
            fed.and(committed)
        })
    }

    /// Hands sealed runs to the writer in the order of the file. The last one waits until it is known to be the last.
    fn commit(
        &self,
        run_rows: usize,
        sealed: &[Receiver<Result<Sealed, Fault>>],
        whole: &Mutex<Option<Whole>>,
    ) -> Result<Response, Refusal> {
        let mut waiting = std::collections::VecDeque::new();
        // Small runs are there to show what waiting for each costs.
        let window = if run_rows < SMALL_RUN { 1 } else { RUNS_WAITING_MAX };
        let mut hand_in = |records, run, last: Option<&str>| -> Result<(), Refusal> {
            if waiting.len() == window {
                settle(waiting.pop_front())?;
            }
            let run = Submission {
                source: self.source.clone(),
                item: self.item.clone(),
                file: self.file,
                records,
                run,
                last: last.map(str::to_owned),
            };
            waiting.push_back(self.core.hand_in(Input::Submit(run))?);
            Ok(())
        };
        let (mut held, mut runs) = (None, 0);
        for result in sealed.iter().cycle() {
            let Ok(prepared) = result.recv() else { break };
            runs += 1;
            if let Some((records, run)) = held.replace(prepared.map_err(fault)?) {
                hand_in(records, run, None)?;
            }
        }
        let last = whole.lock().ok().and_then(|mut whole| whole.take());
        if last.as_ref().is_some_and(|whole| whole.runs != runs) {
            return Err(fault(Fault("a sealing thread ended early".into())));
        }
        let last = last.map(|whole| whole.encoding);
        if held.is_some() || last.is_some() {
            let (records, run) = held.unwrap_or_default();
            hand_in(records, run, last)?;
        }
        let mut reply = Response::Done;
        while let Some(answer) = waiting.pop_front() {
            reply = settle(Some(answer))?;
        }
        Ok(reply)
    }
}

/// Waits for the writer's word about a run.
fn settle(answer: Option<Awaited>) -> Result<Response, Refusal> {
    match answer.map(Awaited::wait) {
        Some(Some(Response::Refused(refusal))) => Err(refusal),
        Some(Some(response)) => Ok(response),
        Some(None) => Err(Refusal::new(Code::Busy, "the node is stopping; hand the file in again")),
        None => Ok(Response::Done),
    }
}

/// A file's parts → runs of rows.
struct FileRows<'a, N> {
    next: N,
    reader: Reader<'a>,
    digest: Digest,
    /// Rows taken in before, and their digest.
    before: (u64, Option<Digest>),
    /// Over every row so far.
    rows: FileHasher,
}

impl<N: FnMut() -> Option<Bytes>> FileRows<'_, N> {
    fn read(&mut self, feed: &mut Feed<'_>) -> Ended {
        self.try_read(feed).unwrap_or_else(|ended| ended)
    }

    fn try_read(&mut self, feed: &mut Feed<'_>) -> Result<Ended, Ended> {
        let mut skip = self.before.0;
        let unreadable = |e: credit::csv::error::FileError| {
            Ended::Refused(Refusal::new(Code::FileUnreadable, format!("{e} / {}", e.zh())))
        };
        let mut hasher = FileHasher::default();
        let mut run: Vec<RawRow> = Vec::new();
        loop {
            let Some(part) = (self.next)() else {
                let why = "the file broke off; hand it in again, and it goes on where it stopped";
                return Err(Ended::Refused(Refusal::new(Code::FileUnreadable, why)));
            };
            let last = part.is_empty();
            hasher.update(&part);
            let rows = if last { self.reader.finish() } else { self.reader.push(&part) };
            for raw in rows.map_err(unreadable)? {
                self.note(&raw);
                if skip > 0 {
                    skip -= 1;
                    if skip == 0 && self.before.1 != Some(Digest(self.rows.finish())) {
                        return Err(Ended::Other);
                    }
                    continue;
                }
                run.push(raw);
                if run.len() == RUN_ROWS {
                    self.push(core::mem::take(&mut run), feed)?;
                }
            }
            if last {
                if skip > 0 || Digest(hasher.finish()) != self.digest {
                    return Err(Ended::Other);
                }
                if !run.is_empty() {
                    self.push(run, feed)?;
                }
                return Ok(Ended::Whole(self.reader.encoding().as_str()));
            }
        }
    }

    fn note(&mut self, raw: &RawRow) {
        let cells = raw.cells();
        self.rows.update(&(cells.len() as u64).to_be_bytes());
        for cell in cells {
            self.rows.update(&(cell.len() as u64).to_be_bytes());
            self.rows.update(cell.as_bytes());
        }
    }

    fn push(&self, run: Vec<RawRow>, feed: &mut Feed<'_>) -> Result<(), Stopped> {
        match self.reader.layout() {
            Some(layout) => feed.push(Rows::Raw(run, layout.clone()), Some(Digest(self.rows.finish()))),
            // INVARIANT: there are no rows before there is a heading.
            None => Ok(()),
        }
    }
}

const _: () = assert!(RUN_ROWS <= RECORDS_PER_BATCH_MAX);
