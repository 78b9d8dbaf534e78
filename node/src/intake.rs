//! A department's file: read, checked, sealed. The last place where a record is in clear; what goes on is sealed.

use std::{collections::BTreeSet, sync::Arc};

use credit::{
    catalog::Item,
    csv::{self, PlainRecord},
    entry::RowCounts,
    id::{FieldId, ItemId, MemberId, RecordId, SourceId},
    record::{RecordFacts, SUBJECT_FIELD, SealedRecord},
    rules::{AuthorityKind, Tier, tier_of_penalty},
    value::{Date, Value},
};
use crypto::{
    Bytes, Digest,
    keytree::Slot,
    pseudonym::{SubjectTag, file_digest},
};
use exchange::{
    limits::RECORDS_PER_BATCH_MAX,
    member::Input,
    refusal::{Code, Fault, Refusal},
    tables::{self, Key, RecordRow},
    wire::{ROW_REASONS_MAX, Response, RowReason, Submission, SubmitReport},
};

use crate::{clock, core::Shared, serve::Server};

/// Working days within which a decision must be handed in (发改办财金〔2018〕424号).
const TIMELY_WORKING_DAYS: u32 = 7;

/// A row that brings something new, with everything but its slot.
struct Fresh {
    plain: PlainRecord,
    facts: RecordFacts,
    tag: SubjectTag,
}

/// What a file holds, before anything is written.
struct Read {
    fresh: Vec<Fresh>,
    report: SubmitReport,
}

/// Takes a file in and answers with its report. The same file again answers with the first report; an interrupted
/// one goes on where it stopped, because rows already taken are duplicates.
pub async fn submit(
    server: &Server,
    source: SourceId,
    item: ItemId,
    file: Bytes,
) -> Result<Response, Refusal> {
    let _one_file = server.intake.lock().await;
    let shared = server.shared.clone();
    let (source_id, item_id) = (source.clone(), item.clone());
    let read = tokio::task::spawn_blocking(move || read(&shared, &source_id, &item_id, &file))
        .await
        .map_err(|e| Refusal::new(Code::FileUnreadable, e.to_string()))?;
    let Read { fresh, report } = match read.map_err(fault)?? {
        Ok(read) => read,
        Err(repeated) => return Ok(Response::Report(repeated)),
    };
    let first = match server.core.ask(Input::ReserveSlots { count: fresh.len() as u64 }).await {
        Response::Slots(first) => first,
        other => return Ok(other),
    };
    let sealed = seal_all(server.shared.clone(), fresh, first).await?;
    let mut runs: Vec<Vec<(SealedRecord, SubjectTag)>> = Vec::new();
    let mut rest = sealed.into_iter().peekable();
    while rest.peek().is_some() {
        runs.push(rest.by_ref().take(RECORDS_PER_BATCH_MAX).collect());
    }
    let last = runs.pop().unwrap_or_default();
    for records in runs {
        let run = Submission {
            source: source.clone(),
            item: item.clone(),
            file: report.file,
            records,
            rows: RowCounts::default(),
            report: None,
        };
        match server.core.ask(Input::Submit(run)).await {
            Response::Done => {}
            other => return Ok(other),
        }
    }
    let rows = RowCounts { accepted: 0, amended: 0, ..report.rows };
    let run = Submission { source, item, file: report.file, records: last, rows, report: Some(report) };
    Ok(server.core.ask(Input::Submit(run)).await)
}

fn fault(fault: Fault) -> Refusal {
    tracing::error!(%fault, "intake failed");
    Refusal::new(Code::Busy, "the node has a fault; see its log")
}

type ReadResult = Result<Result<Result<Read, SubmitReport>, Refusal>, Fault>;

/// Reads and checks a file against catalog and store. The inner `Err` is the report of the same file handed in before.
fn read(shared: &Shared, source: &SourceId, item_id: &ItemId, file: &[u8]) -> ReadResult {
    let context = &shared.context();
    if !context.role().is_ok_and(|role| role.collects()) {
        return Ok(Err(Refusal::new(Code::CallerNotAllowed, "this member collects no records")));
    }
    if tables::row::<()>(&shared.store, &Key::source(source.as_str()))?.is_none() {
        return Ok(Err(Refusal::new(Code::SourceUnknown, format!("`{source}`"))));
    }
    let Some(item) = context.catalog.item(item_id) else {
        return Ok(Err(Refusal::new(Code::ItemUnknown, format!("`{item_id}`"))));
    };
    let digest = Digest(file_digest(file));
    if let Some(known) =
        tables::row::<SubmitReport>(&shared.store, &Key::file(source.as_str(), item_id, &digest))?
    {
        return Ok(Ok(Err(SubmitReport { repeated: true, ..known })));
    }
    let now = clock::now();
    let today = Date::from_timestamp(now);
    let intake = match csv::read(file, &context.catalog, item, today) {
        Ok(intake) => intake,
        Err(e) => return Ok(Err(Refusal::new(Code::FileUnreadable, format!("{e} / {}", e.zh())))),
    };
    let mut report = SubmitReport {
        file: digest,
        repeated: false,
        encoding: intake.encoding.as_str().to_owned(),
        rows: RowCounts::default(),
        normalised: 0,
        late: 0,
        reasons: Vec::new(),
        at: now,
    };
    let mut fresh: Vec<Fresh> = Vec::new();
    let mut seen: BTreeSet<RecordId> = BTreeSet::new();
    for row in intake.rows {
        report.normalised += u64::from(row.normalised && row.outcome.is_ok());
        match row.outcome {
            Err(errors) => {
                report.rows.rejected += 1;
                let room = ROW_REASONS_MAX.saturating_sub(report.reasons.len());
                report.reasons.extend(errors.into_iter().take(room).map(|e| RowReason {
                    row: e.row,
                    column: e.column,
                    code: e.code.to_owned(),
                    zh: e.zh,
                    en: e.en,
                }));
            }
            Ok(plain) => {
                let due =
                    plain.decided.map(|d| context.calendar.add_working_days(d, TIMELY_WORKING_DAYS).date);
                report.late += u64::from(due.is_some_and(|due| today > due));
                let facts = facts(shared, item, &plain);
                let tag = context.own.naming.subject_tag(&plain.subject);
                let known: Option<RecordRow> = tables::row(&shared.store, &Key::record(&facts.record))?;
                // Two bodies that no member claims fall to this member as authority, and so may their numbers.
                let twice = !seen.insert(facts.record);
                match known {
                    _ if twice => refuse(
                        &mut report,
                        row.number,
                        "duplicate_in_file",
                        "同一文件中的同一记录",
                        "the same record stands in this file before",
                    ),
                    Some(RecordRow { erased: true, .. }) => {
                        refuse(
                            &mut report,
                            row.number,
                            "record_erased",
                            "该记录已依法删除，不再收录",
                            "this record was erased by law and is not taken again",
                        );
                    }
                    Some(RecordRow { facts: Some(known), .. }) if known.content == facts.content => {
                        report.rows.duplicate += 1;
                    }
                    known => {
                        match known {
                            Some(_) => report.rows.amended += 1,
                            None => report.rows.accepted += 1,
                        }
                        fresh.push(Fresh { plain, facts, tag });
                    }
                }
            }
        }
    }
    Ok(Ok(Ok(Read { fresh, report })))
}

fn refuse(report: &mut SubmitReport, row: u32, code: &str, zh: &str, en: &str) {
    report.rows.rejected += 1;
    if report.reasons.len() < ROW_REASONS_MAX {
        let (code, zh, en) = (code.to_owned(), zh.to_owned(), en.to_owned());
        report.reasons.push(RowReason { row, column: String::new(), code, zh, en });
    }
}

/// Clocks and routing of a row. The slot is set when it is handed out.
fn facts(shared: &Shared, item: &Item, plain: &PlainRecord) -> RecordFacts {
    let context = &shared.context();
    // A deciding body that no member claims belongs to the member that collects from it.
    let authority: MemberId = plain
        .authority_code
        .as_deref()
        .and_then(|code| context.registry.authority_of(code))
        .unwrap_or(&context.own.id)
        .clone();
    RecordFacts {
        record: context.own.naming.record_id(&authority, &item.id, &plain.document, &plain.subject),
        item: item.id.clone(),
        catalog: context.catalog.version(),
        authority,
        slot: Slot(0),
        decided: plain.decided,
        tier: item.repairable.then(|| tier(item, plain)),
        kind: kind(item, plain),
        published: match plain.fields.get(&item.published_field.unwrap_or(SUBJECT_FIELD)) {
            Some(Value::Date(date)) => Some(*date),
            _ => None,
        },
        content: context.own.naming.content_tag(plain),
    }
}

fn text(plain: &PlainRecord, field: Option<FieldId>) -> Option<&str> {
    match plain.fields.get(&field?) {
        Some(Value::Text(text)) => Some(text),
        _ => None,
    }
}

fn tier(item: &Item, plain: &PlainRecord) -> Tier {
    let kinds = text(plain, item.penalty_field).unwrap_or_default();
    let kinds: Vec<&str> = kinds.split([';', '；']).map(str::trim).filter(|k| !k.is_empty()).collect();
    tier_of_penalty(&kinds, text(plain, item.procedure_field))
}

/// Market regulators repair under their own order; the official layout tells them by the body's name only.
fn kind(item: &Item, plain: &PlainRecord) -> AuthorityKind {
    let body = item.field_by_column(&format!("{}_CFJG", item.id)).map(|f| f.id);
    let market =
        text(plain, body).is_some_and(|name| name.contains("市场监督管理") || name.contains("市场监管"));
    if market { AuthorityKind::Samr } else { AuthorityKind::General }
}

/// Seals rows on all cores; slots are given in row order, so that the same file always gives the same order.
async fn seal_all(
    shared: Arc<Shared>,
    fresh: Vec<Fresh>,
    first: u64,
) -> Result<Vec<(SealedRecord, SubjectTag)>, Refusal> {
    let seal = move || {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let share = fresh.len().div_ceil(threads).max(1);
        let shared = &shared;
        let run = |base: u64, rows: &[Fresh]| -> Option<Vec<(SealedRecord, SubjectTag)>> {
            rows.iter()
                .zip(base..)
                .map(|(row, slot)| {
                    let key = shared.keys.record_key(Slot(slot))?;
                    let facts = RecordFacts { slot: Slot(slot), ..row.facts.clone() };
                    Some((SealedRecord::seal(&row.plain, facts, &shared.context().own.id, &key), row.tag))
                })
                .collect()
        };
        std::thread::scope(|scope| {
            let work: Vec<_> = fresh
                .chunks(share)
                .enumerate()
                .map(|(i, rows)| scope.spawn(move || run(first + (i * share) as u64, rows)))
                .collect();
            work.into_iter().map(|w| w.join().ok().flatten()).collect::<Option<Vec<_>>>()
        })
    };
    let sealed = tokio::task::spawn_blocking(seal).await.ok().flatten();
    let sealed = sealed
        .ok_or_else(|| Refusal::new(Code::Busy, "a key slot handed out is erased; hand the file in again"))?;
    Ok(sealed.into_iter().flatten().collect())
}
