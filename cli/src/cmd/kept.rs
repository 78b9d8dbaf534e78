//! Verifying a kept answer: what every member has said to a question, held against a registry and, with the asker's keys,
//! against the values.

use ::node::{Problem, keys::Keys};
use credit::{
    catalog::{Catalog, Mode},
    question::Question,
};
use crypto::sign::{Signed, Verified};
use exchange::{
    answer::{self, Answer, OpenedAnswer},
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
    told: Told,
    text: String,
    value: Value,
}

/// How many things of each kind were told; each kind is proven by something else.
#[derive(Clone, Copy, Default)]
struct Told {
    values: usize,
    masks: usize,
    outcomes: usize,
}

impl Told {
    fn of(answer: &OpenedAnswer) -> Self {
        let modes = || answer.records.iter().flat_map(|record| &record.fields).map(|field| field.mode);
        let masks = modes().filter(|mode| *mode == Mode::Mask).count();
        Self { values: modes().count() - masks, masks, outcomes: answer.checks.len() }
    }

    fn add(&mut self, other: Self) {
        self.values += other.values;
        self.masks += other.masks;
        self.outcomes += other.outcomes;
    }

    /// What holds of an opened answer, and on whose word.
    fn words(self) -> String {
        let Self { values, masks, outcomes } = self;
        let mut text = "\nthe answer holds / 回答有效".to_owned();
        if values > 0 {
            text.push_str(&format!(
                "\n  {values} values, each against its record's root / 数值 {values} 项，均已按记录根验证"
            ));
        }
        if masks + outcomes > 0 {
            text.push_str(&format!(
                "\n  {masks} masked forms and {outcomes} outcomes, as the members' access entries commit to them: the members' word, not held against a record's root / 掩码 {masks} 项、核验结果 {outcomes} 项：与成员访问记录中的承诺一致，属成员所述，未按记录根验证"
            ));
        }
        text
    }
}

/// Verifies a kept answer. With keys every value is proven; without them everything but the values, and the text says so.
///
/// Errors: a part that does not hold, which is named; no answer that proves anything.
pub(crate) fn verify(
    signed: &Signed<Question>,
    parts: &[Part],
    registry: &Registry,
    keys: Option<&Keys>,
) -> Result<Output, Problem> {
    let question = registry.verify(signed)?;
    let asked_of = parts::asked_of(registry, &question.get().asker);
    let read = |sealed: &Answer| match keys {
        Some(keys) => opened(registry, &question, keys, sealed),
        None => traced(registry, &question, sealed),
    };
    let (mut values, mut text) =
        (Vec::new(), format!("question {} by `{}`", signed.digest(), signed.issuer()));
    let (mut proven, mut complete, mut told) = (0, true, Told::default());
    for (member, found) in parts::each(&asked_of, parts, read) {
        let said = Said::of(found.as_ref().map(|found| found.refused));
        match found {
            Ok(found) => {
                proven += 1;
                complete &= !found.more;
                told.add(found.told);
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
    text.push_str(&match keys {
        Some(_) => told.words(),
        None => {
            "\nproven: who asked, that each member has logged this question so, which records it then disclosed, and that they stand in its log. \
             Not proven: the values and outcomes, which stay sealed; give --open-with / 已证明查询、各成员的访问记录及所披露的记录；数据项的值仍为密封，未验证：请给出 --open-with"
                .to_owned()
        }
    });
    let value = json!({
        "ok": true, "kind": "answer", "question": signed.digest().to_string(), "registry": registry.version,
        "opened": keys.is_some(), "complete": complete, "parts": values,
        "told": keys.map(|_| json!({ "values": told.values, "masks": told.masks, "outcomes": told.outcomes })),
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
    Ok(Found { refused: opened.refused, more: opened.more, told: Told::of(&opened), text, value })
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
    Ok(Found { refused: disclosed.is_none(), more, told: Told::default(), text, value })
}
