//! Verifying a kept answer: what every member has said to a question, held against a registry and, with the asker's keys,
//! against the values.

use ::node::{Problem, keys::Keys};
use credit::{catalog::Catalog, question::Question};
use crypto::sign::{Signed, Verified};
use exchange::{
    answer::{self, Answer},
    parts::{self, Said},
    refusal::Refusal,
    registry::Registry,
    wire::Part,
};
use serde_json::{Value, json};

use crate::{
    cmd::query::{answer_text, answer_value, incomplete},
    output::Output,
};

/// What one member's answer was found to say.
struct Found {
    refused: bool,
    more: bool,
    text: String,
    value: Value,
}

/// Verifies a kept answer. With keys every value is proven; without them everything but the values, and the text says so.
///
/// Errors: a part that does not hold, which is named; no answer that proves anything; witnesses demanded, of which
/// answers carry none.
pub(crate) fn verify(
    signed: &Signed<Question>,
    parts: &[Part],
    registry: &Registry,
    keys: Option<&Keys>,
    require_witnesses: bool,
) -> Result<Output, Problem> {
    if require_witnesses {
        return Err(Problem::new(
            "an answer carries no cosignatures",
            "leave --require-witnesses out, and demand them of the members' published logs",
            "请去掉 --require-witnesses，并在验证各成员公布的日志时使用该选项",
        ));
    }
    let question = registry.verify(signed)?;
    let asked_of = parts::asked_of(registry, &question.get().asker);
    let read = |sealed: &Answer| match keys {
        Some(keys) => opened(registry, &question, keys, sealed),
        None => traced(registry, &question, sealed),
    };
    let (mut values, mut text) =
        (Vec::new(), format!("question {} by `{}`", signed.digest(), signed.issuer()));
    let (mut proven, mut complete) = (0, true);
    for (member, found) in parts::each(&asked_of, parts, read) {
        let said = Said::of(found.as_ref().map(|found| found.refused));
        match found {
            Ok(found) => {
                proven += 1;
                complete &= !found.more;
                text.push_str(&found.text);
                let mut value = found.value;
                (value["member"], value["said"]) = (json!(member.as_str()), json!(said.as_str()));
                values.push(value);
            }
            Err(refusal) if said == Said::Invalid => {
                return Err(fails(format!("the part of `{member}` does not hold: {refusal}")));
            }
            Err(refusal) => {
                complete = false;
                text.push_str(&format!("\n`{member}` {}: {refusal}", said.as_str()));
                values.push(json!({
                    "member": member.as_str(), "said": said.as_str(), "code": refusal.code, "detail": refusal.detail,
                }));
            }
        }
    }
    if proven == 0 {
        return Err(fails(format!("{text}\nnothing in it proves what a member has said")));
    }
    if !complete {
        text.push_str(incomplete());
    }
    text.push_str(match keys {
        Some(_) => "\nall of it holds, every value against its record's root / 回答有效，各值均已按记录根验证",
        None => {
            "\nproven: who asked, that each member has logged this question so, which records it then disclosed, and that they stand in its log. \
             Not proven: the values and outcomes, which stay sealed; give --open-with / 已证明查询、各成员的访问记录及所披露的记录；数据项的值仍为密封，未验证：请给出 --open-with"
        }
    });
    let value = json!({
        "ok": true, "kind": "answer", "question": signed.digest().to_string(), "registry": registry.version,
        "opened": keys.is_some(), "complete": complete, "parts": values,
    });
    Ok(Output::new(value, text))
}

fn fails(what: String) -> Problem {
    Problem::new(
        what,
        "do not rely on this answer; give the registry under which it was asked, or ask again",
        "请勿采信该回答；请给出查询时的登记表，或重新查询",
    )
}

/// One answer with its values.
fn opened(
    registry: &Registry,
    question: &Verified<Question>,
    keys: &Keys,
    sealed: &Answer,
) -> Result<Found, Refusal> {
    let catalog = Catalog::builtin();
    let opened = answer::open_any(registry, question, keys.opening(), sealed)?;
    let (text, value) = (answer_text(&catalog, &opened), answer_value(&catalog, &opened));
    Ok(Found { refused: opened.refused, more: opened.more, text, value })
}

/// One answer without them.
fn traced(registry: &Registry, question: &Verified<Question>, sealed: &Answer) -> Result<Found, Refusal> {
    let traced = answer::trace(registry, question, sealed)?;
    let disclosed = traced.disclosed();
    let (records, checks, more) =
        disclosed.map_or((&[][..], 0, false), |d| (&d.records[..], d.checks.len(), d.more));
    let fields: usize = records.iter().map(|record| record.fields.len()).sum();
    let (index, at) = (traced.access.index, traced.access.entry.at.rfc3339());
    let text = format!(
        "\n`{}` {}: access entry {index} of {at}; {} records with {fields} fields and {checks} outcomes stay sealed",
        sealed.member,
        if disclosed.is_some() { "has disclosed / 已提供" } else { "has refused / 不予提供" },
        records.len(),
    );
    let named: Vec<Value> = records
        .iter()
        .map(|r| json!({ "record": r.record.to_string(), "version": r.version, "fields": r.fields.len() }))
        .collect();
    let value = json!({
        "access_entry": index, "at": at, "sealed_records": records.len(), "records": named, "sealed_checks": checks,
        "withheld": traced.withheld().len(), "more": more,
    });
    Ok(Found { refused: disclosed.is_none(), more, text, value })
}
