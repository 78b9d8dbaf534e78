//! Rows in clear → sealed rows and what is wrong with the others. Runs beside the writer, on any thread.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
};

use credit::{
    catalog::Item,
    csv::{PlainRecord, Row, error::RowError},
    id::{FieldId, MemberId},
    normalize::document_form,
    record::{Contents, RecordFacts, SealedRecord},
    rules::{AuthorityKind, Duty, Penalty, RuleBook, Tier},
    value::{Date, Value},
};
use crypto::{Timestamp, keytree::Slot};
use exchange::{
    context::Context,
    push, recognise,
    refusal::Fault,
    submit::{FileRow, RunRows, SealedRow},
    tables::{self, Key, RecordRow},
    timer,
};

use crate::core::Shared;

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
    /// Document numbers whose rows are meant as they stand.
    pub confirm: &'a BTreeSet<String>,
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
            let due = |day: Date| timer::deadline(context, &context.own.id, Duty::HandIn, day.start());
            let late = plain.decided.and_then(due).is_some_and(|due| self.today > due.date);
            let confirmed =
                !self.confirm.is_empty() && self.confirm.contains(&document_form(&plain.document));
            let row = FileRow { number: row.number, normalised: row.normalised, late, confirmed };
            let Some(authority) = authority(context, &plain) else {
                run.reject(vec![RowError::unclaimed(row.number, self.column(self.item.authority_field))]);
                (run.waiting, run.late) = (run.waiting + 1, run.late + u64::from(late));
                continue;
            };
            // Confirmed is that it is another act, and under its own number it is not.
            let named = (&self.item.id, plain.document.as_str(), &plain.subject);
            if confirmed && recognise::ended_elsewhere(context, &self.shared.store, authority, named)? {
                run.reject(vec![RowError::ended(row.number, self.column(Some(self.item.key)))]);
                run.late += u64::from(late);
                continue;
            }
            let contents = Contents::of(&plain);
            let facts = self.facts(&plain, authority.clone(), &contents, Slot(slot));
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
            // Slots are handed out once, and only what is in the log is erased.
            let key = key.ok_or_else(|| Fault(format!("key slot {slot} was handed out and is erased")))?;
            // Another's record has one authority for all; an own one may be another platform's own, too.
            let twins = if facts.authority == context.own.id {
                recognise::twins(context, &self.item.id, &plain.document, &plain.subject)
            } else {
                Vec::new()
            };
            let record = SealedRecord::seal(&contents, facts, &context.own.id, &key);
            let place = push::place(context, &record, (&plain.subject, &plain.fields));
            let row = SealedRow::new(context, row, record, &plain.subject);
            sealed.push(row.known_as(twins).published_at(place));
        }
        if look && run.duplicate == 0 {
            self.look.store(false, Ordering::Relaxed);
        }
        Ok((sealed, run))
    }

    fn column(&self, field: Option<FieldId>) -> String {
        field.and_then(|id| self.item.field(id)).map_or_else(String::new, |field| field.column.clone())
    }

    /// Clocks and routing of a row.
    fn facts(
        &self,
        plain: &PlainRecord,
        authority: MemberId,
        contents: &Contents,
        slot: Slot,
    ) -> RecordFacts {
        let (context, item) = (&self.shared.context(), self.item);
        RecordFacts {
            record: context.own.naming.record_id(&authority, &item.id, &plain.document, &plain.subject),
            item: item.id.clone(),
            catalog: context.catalog.version(),
            authority,
            slot,
            decided: plain.decided,
            tier: item.repairable.then(|| tier(&context.rules, item, plain)),
            kind: kind(&context.rules, item, plain),
            published: date(plain, item.published_field),
            ended: date(plain, item.ended_field),
            content: context.own.naming.content_tag(contents),
        }
    }
}

/// The member that decides on a record's standing: the one that claims its deciding body. Of a body that none claims two
/// platforms of its region may each be it ([`recognise::shares`]); a record that anybody took as an own one would be answered
/// here after it was repaired there.
fn authority<'a>(context: &'a Context, plain: &PlainRecord) -> Option<&'a MemberId> {
    let body = plain.authority_code.as_deref()?;
    context
        .registry
        .authority_of(body)
        .or_else(|| recognise::shares(context, body).then_some(&context.own.id))
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

/// The tier of a row of the official layout, whose columns bear the item's name.
fn tier(rules: &RuleBook, item: &Item, plain: &PlainRecord) -> Tier {
    let named = |column: &str| text(plain, item.field_by_column(column).map(|f| f.id));
    let of_item = |column: &str| named(&format!("{}_{column}", item.id)).unwrap_or_default();
    let penalty = Penalty {
        kinds: text(plain, item.penalty_field).unwrap_or_default(),
        procedure: text(plain, item.procedure_field),
        grounds: [of_item("YJ"), of_item("WFXW")],
        stated: named("X_SXCD").and_then(Tier::parse),
    };
    rules.tier_of_penalty(kind(rules, item, plain), plain.decided, &penalty)
}

/// Whose rules the decision falls under: the official layout tells it by the body's name only.
fn kind(rules: &RuleBook, item: &Item, plain: &PlainRecord) -> AuthorityKind {
    let body = item.field_by_column(&format!("{}_CFJG", item.id)).map(|f| f.id);
    rules.kind_of_body(text(plain, body).unwrap_or_default())
}
