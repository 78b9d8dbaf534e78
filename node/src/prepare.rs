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
            until: date(plain, item.until_field),
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

/// The tier of a row, by what its file says of the penalty.
fn tier(rules: &RuleBook, item: &Item, plain: &PlainRecord) -> Tier {
    let penalty = Penalty {
        kinds: text(plain, item.penalty_field).unwrap_or_default(),
        procedure: text(plain, item.procedure_field),
        grounds: [item.basis_field, item.act_field].map(|field| text(plain, field).unwrap_or_default()),
        stated: text(plain, item.degree_field).and_then(Tier::parse),
    };
    rules.tier_of_penalty(kind(rules, item, plain), plain.decided, &penalty)
}

/// Whose rules the decision falls under: the layouts tell it by the body's name only.
fn kind(rules: &RuleBook, item: &Item, plain: &PlainRecord) -> AuthorityKind {
    rules.kind_of_body(text(plain, item.body_field).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use credit::{catalog::Catalog, csv, id::ItemId, subject::uscc_from_parts};

    use super::*;

    /// The rule set and the tier of a file's only row, which intake accepts.
    fn ruled(item: &str, cells: &[(&str, &str)]) -> (Option<String>, Tier) {
        let (catalog, rules) = (Catalog::builtin(), RuleBook::builtin());
        let item = catalog.item(&ItemId::parse(item).unwrap()).unwrap();
        let line = |cells: Vec<&str>| cells.join(",") + "\n";
        let (names, values) = (cells.iter().map(|c| c.0).collect(), cells.iter().map(|c| c.1).collect());
        let file = line(names) + &line(values);
        let mut rows =
            csv::read(file.as_bytes(), &catalog, item, Date::parse("2026-11-20").unwrap()).unwrap().rows;
        let plain = rows.remove(0).outcome.unwrap();
        let set = rules.select(kind(&rules, item, &plain), plain.decided.unwrap());
        (set.map(|set| set.id.clone()), tier(&rules, item, &plain))
    }

    fn code(class: &str, serial: u64) -> String {
        uscc_from_parts(class, "310110", serial).unwrap().as_str().to_owned()
    }

    #[test]
    fn every_item_tells_by_its_own_column_whose_rules_hold() {
        let (company, body) = (code("91", 7), code("11", 8));
        let listed = |by| {
            ruled(
                "YCML",
                &[
                    ("YCML_XDR_MC", "示例商贸有限公司"),
                    ("YCML_XDR_SHXYM", &company),
                    ("YCML_WSH", "示市监列〔2026〕1号"),
                    ("YCML_LRYY", "未依照规定期限公示年度报告"),
                    ("YCML_LRRQ", "2026-05-06"),
                    ("YCML_JG", by),
                    ("YCML_JGDM", &body),
                    ("YCML_JDRQ", "2026-05-06"),
                ],
            )
        };
        let set = |name: &str| Some(name.to_owned());
        assert_eq!(listed("示例市市场监督管理局（知识产权局）"), (set("samr-107"), Tier::General));
        assert_eq!(listed("示例市民政局"), (set("ndrc-36"), Tier::General));
        let debtor = ruled(
            "ZX",
            &[
                ("ZX_XDR_MC", "示例商贸有限公司"),
                ("ZX_XDR_SHXYM", &company),
                ("ZX_WSH", "示例1号"),
                ("ZX_AH", "（2026）示执1号"),
                ("ZX_YW", "支付货款"),
                ("ZX_LX", "全部未履行"),
                ("ZX_XW", "违反财产报告制度"),
                ("ZX_FBRQ", "2026-05-09"),
                ("ZX_JG", "示例市示例区人民法院"),
                ("ZX_JGDM", &body),
                ("ZX_JDRQ", "2026-05-06"),
            ],
        );
        assert_eq!(debtor.0, None, "a court's list: not provided");
    }

    #[test]
    fn the_tier_follows_from_every_column_that_the_catalog_names() {
        let (company, body) = (code("91", 7), code("11", 8));
        let penalty = |decided, basis, column, value| {
            ruled(
                "CF",
                &[
                    ("CF_XDR_MC", "示例商贸有限公司"),
                    ("CF_XDR_LB", "法人及非法人组织"),
                    ("CF_XDR_SHXYM", &company),
                    ("CF_FRDB", "虚构"),
                    ("CF_WSH", "示罚〔2026〕1号"),
                    ("CF_WFXW", "示例"),
                    ("CF_SY", "示例"),
                    ("CF_YJ", basis),
                    ("CF_CFLB", "罚款"),
                    ("CF_NR", "罚款2000元"),
                    ("CF_NR_FK", "0.2"),
                    ("CF_JDRQ", decided),
                    ("CF_YXQ", "2099/12/31"),
                    ("CF_CFJG", "示例市示例局"),
                    ("CF_CFJGDM", &body),
                    ("CF_SJLY", "示例市示例局"),
                    ("CF_SJLYDM", &body),
                    (column, value),
                ],
            )
            .1
        };
        let (old, new) = ("2026/03/31", "2026/04/01");
        assert_eq!(penalty(new, "示例办法", "BZ", ""), Tier::General);
        for (procedure, tier) in [
            ("简易程序", Tier::Minor),
            ("01", Tier::Minor),
            ("02", Tier::General),
            ("普通程序", Tier::General),
        ] {
            assert_eq!(penalty(new, "示例办法", "X_CFCX", procedure), tier, "{procedure}");
        }
        assert_eq!(penalty(old, "消防法", "BZ", ""), Tier::Serious);
        assert_eq!(penalty(old, "消防法", "X_SXCD", "轻微"), Tier::Minor, "as the department states it");
    }
}
