//! An answer as JSON.
//!
//! Everything in it was verified: it comes from `answer::open` and from the access entry that the answering member has
//! proven. What has happened to a record since is told too: of one that may no longer be used no value is shown.

use credit::{
    catalog::{Catalog, Item},
    entry::{DisclosedRecord, Entry, Fact},
    id::MemberId,
    question::Question,
    status::Status,
};
use crypto::Timestamp;
use exchange::{
    answer::{OpenedAnswer, OpenedAnswerRecord},
    check::OpenedCheck,
    context::Context,
    kept::{self, KeptRow},
    parts,
    refusal::{Code, Fault},
    wire::{AskResult, OpenedPart, Outcome, Part},
};
use ledger::store::View;
use serde_json::{Value, json};

use super::catalog;

/// The answer to a question.
pub fn answer(
    context: &Context,
    view: &dyn View,
    row: Option<&KeptRow>,
    result: &AskResult,
) -> Result<Value, Fault> {
    let question = context.registry.verify(&result.question).map_err(|e| Fault(e.to_string()))?;
    let question: &Question = question.get();
    let mut records = Vec::new();
    let mut members = Vec::new();
    for opened in &result.opened {
        members.push(member(context, view, opened, question.asked_at)?);
        let Some(answer) = &opened.answer else { continue };
        let disclosed = disclosed(&result.parts, &opened.member);
        for (at, one) in answer.records.iter().enumerate() {
            let mut value = record(context, view, (answer, one), disclosed.get(at), question.asked_at)?;
            if let Some(at) = kept::corrected(view, &one.authority, &one.record, question.asked_at)? {
                value["corrected_at"] = json!(at.rfc3339());
            }
            records.push(value);
        }
    }
    let mut value = json!({
        "id": question.id.to_string(), "question": result.question.digest().to_string(),
        "subject": question.subject.as_str(), "purpose": question.purpose.as_str(), "clerk": question.clerk.as_str(),
        "asked_at": question.asked_at.rfc3339(), "deadline": question.deadline.rfc3339(),
        "complete": parts::complete(&result.opened),
        "members": members, "records": records,
    });
    if let Some(row) = row {
        value["keep_until"] = json!(row.until.rfc3339());
    }
    Ok(value)
}

fn member(context: &Context, view: &dyn View, part: &OpenedPart, asked: Timestamp) -> Result<Value, Fault> {
    let catalog: &Catalog = &context.catalog;
    let mut value = json!({ "member": part.member.as_str(), "outcome": part.said().as_str() });
    if let Some(answer) = &part.answer {
        value["answered_at"] = json!(answer.at.rfc3339());
        value["more"] = json!(answer.more);
        value["receipt"] = json!({
            "log": format!("{}/access", answer.member), "index": answer.index, "leaf": answer.leaf.to_string(),
        });
        value["withheld"] = answer
            .withheld
            .iter()
            .map(|w| {
                let column = catalog.item(&w.item).and_then(|i| i.field(w.field)).map_or("?", |f| &f.column);
                let mut line = json!({ "item": w.item.as_str(), "field": column, "rule": w.rule.0 });
                if let Some(check) = w.check {
                    line["check"] = json!(check);
                }
                line
            })
            .collect();
        value["checks"] = answer
            .checks
            .iter()
            .map(|c| check(context, view, c, asked))
            .collect::<Result<Vec<_>, _>>()?
            .into();
    }
    if let Some(refusal) = &part.problem {
        let known = refusal.known();
        let detail = if refusal.detail.is_empty() { known.map_or("", Code::en) } else { &refusal.detail };
        value["refusal"] =
            json!({ "code": refusal.code, "detail": detail, "detail_zh": known.map_or("", Code::zh) });
        if let Some(ms) = refusal.retry_after_ms {
            value["refusal"]["retry_after_ms"] = json!(ms);
        }
    }
    Ok(value)
}

/// An outcome, as long as every record it rests on may be used; and whether one of them was corrected since.
fn check(context: &Context, view: &dyn View, check: &OpenedCheck, asked: Timestamp) -> Result<Value, Fault> {
    let (mut usable, mut corrected) = (true, None);
    for on in &check.on {
        for member in &context.registry.members {
            let id = &member.stated.id;
            usable &= kept::standing(view, id, &on.record)?.disclosable();
            corrected = corrected.max(kept::corrected(view, id, &on.record, asked)?);
        }
    }
    let mut value = json!({
        "check": check.place, "asked": check.check.to_display(&context.catalog), "rule": check.rule.0,
        "outcome": if usable { check.outcome.as_str() } else { "ended" },
        "rests_on": check.on.iter().map(|on| on.record.to_string()).collect::<Vec<_>>(),
    });
    if let Some(at) = corrected {
        value["corrected_at"] = json!(at.rfc3339());
    }
    Ok(value)
}

/// What a member's access entry says of each record, in the order of its answer.
fn disclosed(parts: &[Part], member: &MemberId) -> Vec<DisclosedRecord> {
    let Some(Outcome::Answered(answer)) =
        parts.iter().find(|part| part.member == *member).map(|part| &part.outcome)
    else {
        return Vec::new();
    };
    match Entry::from_bytes(&answer.access.entry).map(|entry| entry.fact) {
        Ok(Fact::Disclosed(disclosed)) => disclosed.records,
        _ => Vec::new(),
    }
}

fn record(
    context: &Context,
    view: &dyn View,
    (answer, record): (&OpenedAnswer, &OpenedAnswerRecord),
    disclosed: Option<&DisclosedRecord>,
    asked: Timestamp,
) -> Result<Value, Fault> {
    let item = context.catalog.item(&record.item);
    // This member was told of every change since it received the record; before that the answering member was.
    let now = kept::standing(view, &record.authority, &record.record)?;
    let usable = now.disclosable();
    let fields: Vec<Value> = if usable {
        let of = |field| item.and_then(|i| i.field(field));
        let fields = record.fields.iter().map(|f| {
            let rule = disclosed.and_then(|d| d.fields.iter().find(|said| said.field == f.field));
            let known = of(f.field);
            json!({
                "field": known.map_or("?", |k| &k.column), "name": known.map_or("", |k| &k.name),
                "class": known.map_or("", |k| k.class.as_str()), "mode": f.mode.as_str(), "type": catalog::form(&f.value),
                "value": f.value.to_display(),
                "rule": rule.map_or("", |said| &said.rule.0),
            })
        });
        fields.collect()
    } else {
        Vec::new()
    };
    // The mark of the answer holds until its end is heard of; what it said then stays told.
    let marked = record.disputed && !kept::dispute_ended(view, &record.authority, &record.record, asked)?;
    let disputed = marked || now == Status::Disputed;
    let standing = if usable && disputed { Status::Disputed } else { now };
    Ok(json!({
        "record": record.record.to_string(), "member": answer.member.as_str(), "item": record.item.as_str(),
        "item_name": item.map_or("", |i: &Item| &i.name), "authority": record.authority.as_str(),
        "standing": standing.as_str(), "standing_zh": standing.zh(), "disputed": disputed,
        "disputed_when_asked": record.disputed, "fields": fields,
        "receipt": { "log": format!("{}/records", answer.member), "index": record.version },
    }))
}
