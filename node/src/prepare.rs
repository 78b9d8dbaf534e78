//! Rows in clear → sealed rows and what is wrong with the others. Runs beside the writer, on any thread.

use std::sync::atomic::{AtomicBool, Ordering};

use credit::{
    catalog::Item,
    csv::{PlainRecord, Row},
    id::{FieldId, MemberId},
    record::{Contents, RecordFacts, SealedRecord},
    rules::{AuthorityKind, Tier, tier_of_penalty},
    value::{Date, Value},
};
use crypto::{Timestamp, keytree::Slot};
use exchange::{
    recognise,
    refusal::Fault,
    submit::{FileRow, RunRows, SealedRow},
    tables::{self, Key, RecordRow},
};

use crate::core::Shared;

/// Working days within which a decision must be handed in (发改办财金〔2018〕424号).
const TIMELY_WORKING_DAYS: u32 = 7;

/// What sealing the rows of one file needs.
pub struct Prepare<'a> {
    /// The node.
    pub shared: &'a Shared,
    /// The file's item.
    pub item: &'a Item,
    /// When the file is read.
    pub now: Timestamp,
    /// The same as a day.
    pub today: Date,
    /// Size of the `records` log before the file.
    pub since: u64,
    /// Whether rows are looked up before they are sealed. The writer looks again; this only saves sealing what is known,
    /// so it stops when a run held nothing known: a file is mostly new or mostly old.
    pub look: AtomicBool,
}

impl Prepare<'_> {
    /// Seals what is new among `rows` under the slots from `first` on, and accounts for the rest.
    pub fn run(&self, rows: Vec<Row>, first: Slot) -> Result<(Vec<SealedRow>, RunRows), Fault> {
        let context = &self.shared.context();
        let mut run = RunRows { rows: rows.len() as u64, ..RunRows::default() };
        let look = self.look.load(Ordering::Relaxed);
        let mut sealed = Vec::with_capacity(rows.len());
        let keys = self.shared.keys.record_keys(first, rows.len() as u64);
        for ((row, slot), key) in rows.into_iter().zip(first.0..).zip(keys) {
            let plain = match row.outcome {
                Ok(plain) => plain,
                Err(errors) => {
                    run.reject(errors);
                    continue;
                }
            };
            let due = plain.decided.map(|d| context.calendar.add_working_days(d, TIMELY_WORKING_DAYS).date);
            let late = due.is_some_and(|due| self.today > due);
            let row = FileRow { number: row.number, normalised: row.normalised, late };
            let contents = Contents::of(&plain);
            let facts = self.facts(&plain, &contents, Slot(slot));
            // What this file has brought before, and what was erased, is refused by the writer.
            if look
                && let Some(known) =
                    tables::row::<RecordRow>(&self.shared.store, &Key::record(&facts.record))?
                && known.newest.index < self.since
                && !known.erased
                && known.content == Some(facts.content)
            {
                run.duplicate += 1;
                run.normalised += u64::from(row.normalised);
                run.late += u64::from(row.late);
                continue;
            }
            let tag = context.own.naming.subject_tag(&plain.subject);
            // Slots are handed out once, and only what is in the log is erased.
            let key = key.ok_or_else(|| Fault(format!("key slot {slot} was handed out and is erased")))?;
            // Another's record has one authority for all; an own one may be another platform's own, too.
            let twins = if facts.authority == context.own.id {
                recognise::twins(context, &self.item.id, &plain.document, &plain.subject)
            } else {
                Vec::new()
            };
            let record = SealedRecord::seal(&contents, facts, &context.own.id, &key);
            let row = SealedRow::new(row, record, tag).known_as(twins);
            let named = || context.own.naming.subject_pseudonym(&plain.subject);
            sealed.push(if self.item.repairable { row.about(named()) } else { row });
        }
        if look && run.duplicate == 0 {
            self.look.store(false, Ordering::Relaxed);
        }
        Ok((sealed, run))
    }

    /// Clocks and routing of a row.
    fn facts(&self, plain: &PlainRecord, contents: &Contents, slot: Slot) -> RecordFacts {
        let (context, item) = (&self.shared.context(), self.item);
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
            slot,
            decided: plain.decided,
            tier: item.repairable.then(|| tier(item, plain)),
            kind: kind(item, plain),
            published: date(plain, item.published_field),
            ended: date(plain, item.ended_field),
            content: context.own.naming.content_tag(contents),
        }
    }
}

fn date(plain: &PlainRecord, field: Option<FieldId>) -> Option<Date> {
    match plain.fields.get(&field?) {
        Some(Value::Date(date)) => Some(*date),
        _ => None,
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
