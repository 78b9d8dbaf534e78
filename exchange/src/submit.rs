//! A department's file: sources, key slots, sealed records into the log.

use credit::{
    csv::error::RowError,
    entry::{Batch, Changed, Fact, Recorded, RowCounts, Version},
    id::{ItemId, MemberId, RecordId, SourceId},
    record::{RecordFacts, SealedRecord},
    status::{Change, Standing, Status},
    subject::SubjectId,
};
use crypto::{
    Digest, Timestamp, codec, merkle,
    pseudonym::{SubjectPseudonym, SubjectTag, subject_access_key},
    secret::Secret,
};
use minicbor::{Decode, Encode};

use crate::{
    check,
    context::Context,
    ended,
    limits::{EARLIER_VERSIONS_MAX, RECORDS_PER_BATCH_MAX},
    logs::LogName,
    push::{self, Place},
    recognise,
    refusal::{Code, Fault, Halt},
    step::{Reply, Token},
    tables::{self, Key, RecipientRow, RecordRow},
    timer,
    turn::Turn,
    wire::{ROW_REASONS_MAX, Response, RowReason, SubmitReport},
};

/// Ground of a correction in the status entry: the source has handed in other content; 47 bytes of at most 200.
pub const CORRECTED: &str = "corrected by its source / 数源单位更正";

/// A run of sealed rows of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    /// The department.
    pub source: SourceId,
    /// The item.
    pub item: ItemId,
    /// BLAKE3 digest of the file.
    pub file: Digest,
    /// New records and new versions, sealed; none of them known with the same content.
    pub records: Vec<SealedRow>,
    /// The rows of the file that this run accounts for, in file order.
    pub run: RunRows,
    /// With the last run: how the file was encoded.
    pub last: Option<String>,
}

/// Rows of a file, and how those among them fared that were not sealed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunRows {
    /// Rows of the file, blank ones left out.
    pub rows: u64,
    /// Digest of every row of the file up to the last of these; absent where a file cannot go on.
    pub prefix: Option<Digest>,
    /// Known already with the same content.
    pub duplicate: u64,
    /// Refused.
    pub rejected: u64,
    /// Duplicates among them, after normalisation.
    pub normalised: u64,
    /// Duplicates and refused rows among them that came late.
    pub late: u64,
    /// Why rows were refused, as many as a report spells out.
    pub reasons: Vec<RowReason>,
    /// Refused rows among them that may be taken when the file comes again.
    pub waiting: u64,
}

impl RunRows {
    /// Notes a row that is refused.
    pub fn reject(&mut self, errors: Vec<RowError>) {
        self.rejected += 1;
        let room = ROW_REASONS_MAX.saturating_sub(self.reasons.len());
        self.reasons.extend(errors.into_iter().take(room).map(RowReason::from));
    }
}

/// What a report says of a row that is sealed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileRow {
    /// Line of the file, from 1.
    pub number: u32,
    /// Some cell was normalised.
    pub normalised: bool,
    /// Handed in late.
    pub late: bool,
    /// The operator says that it is meant as it stands.
    pub confirmed: bool,
}

/// A sealed row on its way into the log, encoded where it was sealed: the serial part only writes it down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedRow {
    row: FileRow,
    facts: RecordFacts,
    fields_root: Digest,
    tag: SubjectTag,
    /// The encoded [`SealedRecord`].
    payload: Vec<u8>,
    /// Its subject among the public platforms.
    subject: SubjectPseudonym,
    /// The key to the accesses about its subject.
    access: Secret,
    /// Ids under which other platforms of the region know it.
    twins: Vec<(MemberId, RecordId)>,
    /// Where it is to be published, where a rule says so.
    place: Option<Box<Place>>,
}

impl SealedRow {
    /// Encodes the sealed record of a file's row about this subject.
    pub fn new(context: &Context, row: FileRow, sealed: SealedRecord, subject: &SubjectId) -> Self {
        let payload = codec::to_vec(&sealed);
        let tag = context.own.naming.subject_tag(subject);
        let access = subject_access_key(&context.own.access, subject.as_str());
        let (facts, fields_root) = (sealed.facts, sealed.fields_root);
        let subject = context.own.naming.subject_pseudonym(subject);
        Self { row, facts, fields_root, tag, access, payload, subject, twins: Vec::new(), place: None }
    }

    /// The same with the ids under which other platforms of the region know it ([`crate::recognise::twins`]).
    #[must_use]
    pub fn known_as(self, twins: Vec<(MemberId, RecordId)>) -> Self {
        Self { twins, ..self }
    }

    /// The same with where it is to be published ([`crate::push::place`]).
    #[must_use]
    pub fn published_at(self, place: Option<Place>) -> Self {
        Self { place: place.map(Box::new), ..self }
    }
}

/// How far a file is taken in: with it an interrupted file goes on at the row where it stopped.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct IntakeRow {
    /// Size of the `records` log before the file: a record at or after it stands in this file.
    #[n(0)]
    pub since: u64,
    /// Rows of the file accounted for.
    #[n(1)]
    pub rows: u64,
    /// The report so far.
    #[n(2)]
    pub report: SubmitReport,
    /// Digest of those rows: only a file that begins with them goes on after them.
    #[n(3)]
    pub prefix: Option<Digest>,
}

/// Registers a department; again is no error.
pub fn add_source(turn: &mut Turn<'_>, token: Token, source: &SourceId) -> Result<(), Halt> {
    turn.put(&Key::source(source.as_str()), &());
    turn.reply(token, Reply::ready(Response::Done));
    Ok(())
}

/// Forgets how far a file is taken in: what came under its digest were other rows than the file's. What was taken stays.
pub fn forget(
    turn: &mut Turn<'_>,
    token: Token,
    source: &SourceId,
    item: &ItemId,
    file: &Digest,
) -> Result<(), Halt> {
    turn.delete(&Key::intake(source.as_str(), item, file));
    turn.reply(token, Reply::ready(Response::Done));
    Ok(())
}

/// Hands out `count` key slots, once each. A slot that is not used stays unused: 2^40 of them are enough.
pub fn reserve_slots(turn: &mut Turn<'_>, token: Token, count: u64) -> Result<(), Halt> {
    let first: u64 = turn.row(&Key::next_slot())?.unwrap_or(0);
    turn.put(&Key::next_slot(), &(first + count));
    turn.reply(token, Reply::ready(Response::Slots(first)));
    Ok(())
}

/// Takes a run of sealed records into the log.
///
/// 1. The department has an account: `source.unknown`.
/// 2. The run is within bounds: `frame.too-long`.
/// 3. Each record: unknown gives a first version, other content a superseding version, the same content nothing, and so
///    does that of an earlier version. A record that was erased is refused: an old file does not bring it back. So is one
///    that this file has brought before, whatever its content, and an unknown one where one like it has ended
///    ([`crate::ended`]). What the operator has confirmed is taken as it stands.
///    A record's standing belongs to its id, so a new version of a repaired record is as hidden as the old one.
/// 4. One signed `Batched` entry over the run's entries.
/// 5. Of an own record with other content than before, whoever was told that hears of it. What is to be published is on its way
///    to who publishes it ([`crate::push`]). Of one that came back from a peer, without its subject, it is learnt again who
///    was told an outcome that may rest on it.
/// 6. How far the file is, in the same batch; with its last run the report, so that the same file handed in again
///    does nothing.
pub fn submit(
    context: &Context,
    turn: &mut Turn<'_>,
    token: Token,
    submission: Submission,
) -> Result<(), Halt> {
    let Submission { source, item, file, records, run, last } = submission;
    // 1
    if turn.row::<()>(&Key::source(source.as_str()))?.is_none() {
        return Halt::refuse(Code::SourceUnknown, format!("`{source}`"));
    }
    // 2
    if records.len() > RECORDS_PER_BATCH_MAX {
        return Halt::refuse(Code::FrameTooLong, format!("{} records in one run", records.len()));
    }
    // 3
    let first = turn.tail(LogName::Records).next;
    let key = Key::intake(source.as_str(), &item, &file);
    let begun: Option<IntakeRow> = turn.row(&key)?;
    let mut intake = begun.unwrap_or_else(|| IntakeRow {
        since: first,
        rows: 0,
        prefix: None,
        report: SubmitReport::new(file, turn.now),
    });
    let RunRows { rows, prefix, duplicate, rejected, mut normalised, mut late, mut reasons, mut waiting } =
        run;
    let mut counts = RowCounts { duplicate, rejected, ..RowCounts::default() };
    let mut leaves = Vec::with_capacity(records.len());
    let (mut stored, mut corrected, mut published, mut back) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut older = 0;
    let key_field = context.catalog.item(&item).and_then(|item| item.field(item.key));
    let column = || key_field.map_or_else(String::new, |field| field.column.clone());
    for row in records {
        let known: Option<RecordRow> = turn.row(&Key::record(&row.facts.record))?;
        let number = row.row.number;
        let met = meet(turn, &row, known.as_ref(), intake.since)?;
        late += u64::from(row.row.late && met != Met::Twice);
        let why = match met {
            Met::Twice => Some(RowError::twice(number, column())),
            Met::Erased => Some(RowError::erased(number)),
            Met::LikeEnded => Some(RowError::like_ended(number, column())),
            Met::Older => Some(RowError::older(number, column())),
            Met::New | Met::Other | Met::Same | Met::Confirmed => None,
        };
        reasons.extend(why.map(RowReason::from));
        match met {
            Met::Twice | Met::Erased | Met::LikeEnded => {
                counts.rejected += 1;
                waiting += u64::from(met == Met::LikeEnded);
                continue;
            }
            Met::Same | Met::Older => {
                counts.duplicate += 1;
                older += u64::from(met == Met::Older);
                normalised += u64::from(row.row.normalised);
                continue;
            }
            Met::New | Met::Other | Met::Confirmed => {}
        }
        match known {
            Some(_) => counts.amended += 1,
            None => counts.accepted += 1,
        }
        if met == Met::Confirmed {
            counts.confirmed = Some(counts.confirmed.unwrap_or(0) + 1);
        }
        normalised += u64::from(row.row.normalised);
        let standing = timer::of_version(context, turn, &row.facts)?;
        if standing.has_ended() {
            ended::keep_of(turn, &row.subject, &row.facts);
        }
        // Of a version that came back from a peer the content is not known, nor whether this one differs.
        let differs = known.as_ref().is_some_and(|known| known.content.is_some());
        let tells = differs && row.facts.authority == context.own.id && !standing.has_ended();
        let (id, twins) = (row.facts.record, row.twins.clone());
        let place = row.place.as_deref().cloned();
        let publish = (place.is_some() || known.is_some()) && !standing.has_ended();
        let publish = publish.then(|| (row.facts.clone(), row.tag, place));
        let came_back = known.as_ref().filter(|known| known.tag.is_none());
        back.extend(came_back.map(|known| (id, known.first(), row.access.clone())));
        let (index, leaf) = record(turn, row, known);
        published.extend(publish.map(|publish| (index, publish)));
        leaves.push(leaf);
        if tells {
            corrected.push((id, standing, leaf));
        }
        stored.extend(twins.into_iter().map(|twin| (id, twin)));
    }
    // 4
    let batch = Batch {
        first,
        count: leaves.len() as u64,
        root: merkle::root(&leaves),
        source: source.clone(),
        item: item.clone(),
        file,
        rows: counts,
    };
    let signed = context.sign(turn.now, &batch);
    turn.append(context, LogName::Records, Fact::Batched(signed))?;
    for (id, twin) in &stored {
        recognise::keep(context, turn, id, twin)?;
    }
    // 5
    for (record, standing, leaf) in corrected {
        correct(context, turn, record, standing, leaf)?;
    }
    check::recall(context, turn, &item, &back)?;
    // After the corrections, so that a push says that it is the corrected version.
    for (index, (facts, tag, place)) in published {
        push::recorded(context, turn, (&facts, index), &tag, place)?;
    }
    // 6
    intake.rows += rows;
    intake.prefix = prefix;
    let report = &mut intake.report;
    report.rows.add(counts);
    report.normalised += normalised;
    report.late += late;
    report.older += older;
    report.waiting += waiting;
    let room = ROW_REASONS_MAX.saturating_sub(report.reasons.len());
    report.reasons.extend(reasons.into_iter().take(room));
    let response = match last {
        Some(encoding) => {
            report.encoding = encoding;
            turn.put(&Key::file(source.as_str(), &item, &file), report);
            turn.delete(&key);
            Response::Report(intake.report)
        }
        None => {
            turn.put(&key, &intake);
            Response::Done
        }
    };
    turn.reply(token, Reply::ready(response));
    Ok(())
}

/// How a row meets what is held.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Met {
    /// Nothing is held under its name.
    New,
    /// Another content is.
    Other,
    /// The same content is.
    Same,
    /// Its content was corrected since.
    Older,
    /// The file has brought the record before.
    Twice,
    /// The record was erased.
    Erased,
    /// One like it has ended.
    LikeEnded,
    /// [`Met::Older`] or [`Met::LikeEnded`], and the operator says that it is meant.
    Confirmed,
}

fn meet(turn: &Turn<'_>, row: &SealedRow, known: Option<&RecordRow>, since: u64) -> Result<Met, Fault> {
    let unless_confirmed = |met| if row.row.confirmed { Met::Confirmed } else { met };
    let Some(known) = known else {
        let like_ended = ended::is_marked(turn, &row.subject, &row.facts)? && !follows(turn, row)?;
        return Ok(if like_ended { unless_confirmed(Met::LikeEnded) } else { Met::New });
    };
    if known.newest.index >= since {
        return Ok(Met::Twice);
    }
    if known.erased {
        return Ok(Met::Erased);
    }
    if known.content == Some(row.facts.content) {
        return Ok(Met::Same);
    }
    // Sealed records say what they held by a keyed digest; of a version that came back from a peer it is lost.
    for version in known.older.iter().rev().take(EARLIER_VERSIONS_MAX) {
        let sealed = tables::payload(turn.view(), version.slot)?;
        if sealed.is_some_and(|sealed| sealed.facts.content == row.facts.content) {
            return Ok(unless_confirmed(Met::Older));
        }
    }
    Ok(Met::Other)
}

/// Whether a new record stands where the act stands that has ended: it is that record itself, or one that is repaired because
/// another platform of the region has repaired it ([`recognise`]).
fn follows(turn: &Turn<'_>, row: &SealedRow) -> Result<bool, Fault> {
    let standing = |author: &MemberId, record: &RecordId| -> Result<Standing, Fault> {
        Ok(turn.row(&Key::standing(author, record))?.unwrap_or_default())
    };
    if standing(&row.facts.authority, &row.facts.record)?.has_ended() {
        return Ok(true);
    }
    for (author, twin) in &row.twins {
        if standing(author, twin)?.status() == Status::Repaired {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Tells that an own record has other content: where its standing is marked, and where somebody was told the old content
/// or an outcome that rests on it and may still keep it. Of other records nobody needs to hear, as files bring many.
fn correct(
    context: &Context,
    turn: &mut Turn<'_>,
    record: RecordId,
    standing: Standing,
    leaf: Digest,
) -> Result<(), Halt> {
    let rows = tables::rows::<RecipientRow>(turn.view(), &Key::recipients(&record), usize::MAX)?;
    let told = rows.iter().any(|(_, row)| row.keeps(turn.now))
        || !tables::rows::<Timestamp>(turn.view(), &Key::judged_on(&record), 1)?.is_empty();
    if told || standing.status() != Status::Active {
        let (change, rule) = (Change::Correct, CORRECTED.to_owned());
        let changed = Changed { record, change, case: None, rule, paper: Some(leaf), clerk: None, act: None };
        ended::say(context, turn, changed)?;
    }
    Ok(())
}

fn record(turn: &mut Turn<'_>, row: SealedRow, known: Option<RecordRow>) -> (u64, Digest) {
    let SealedRow { facts, fields_root, tag, payload, subject, .. } = row;
    turn.put(&Key::index(&tag, &facts.item, &facts.record), &());
    let recorded = Recorded {
        record: facts.record,
        item: facts.item,
        catalog: facts.catalog,
        authority: facts.authority,
        slot: facts.slot,
        fields_root,
        supersedes: known.as_ref().map(|row| row.newest.index),
    };
    // The slot was handed out before, so the counter is past it; and the row holds what no entry does.
    let (index, leaf, _) = turn.append_only(LogName::Records, Fact::Recorded(recorded));
    let newest = Version { index, slot: facts.slot };
    let row = RecordRow {
        content: Some(facts.content),
        tag: Some(tag),
        subject: Some(subject),
        ..RecordRow::of(known, newest)
    };
    turn.put(&Key::record(&facts.record), &row);
    turn.put_payload(facts.slot, payload);
    (index, leaf)
}
