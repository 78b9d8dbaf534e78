//! Asking through the outlet.

use std::{collections::BTreeSet, path::Path};

use ::node::{Problem, client::Client};
use credit::{
    catalog::{Catalog, Purpose},
    predicate::Check,
    question::{Basis, FIELDS_PER_QUESTION_MAX, ITEMS_PER_QUESTION_MAX, Want},
};
use crypto::codec;
use exchange::{
    answer::OpenedAnswer,
    artifact::Artifact,
    parts,
    wire::{AskDraft, AskResult},
};
use serde_json::{Value, json};

use crate::{
    args::Query,
    cmd::{
        clerk, grant::read_grant, item_fields, new_file::NewFile, paper_digest, positive, purpose, subject,
    },
    output::Output,
};

pub(crate) async fn run(args: Query) -> Result<Output, Problem> {
    let grant = args.grant.as_deref().map(read_grant).transpose()?;
    let catalog = Catalog::builtin();
    // What the grant says is believed only as far as its collector's signature holds.
    let registry = Client::open(&args.node.dir)?.registry;
    let words = grant.as_ref().map(|g| registry.verify_grant(g)).transpose()?;
    let checks = checks(&catalog, &args.checks)?;
    let wants = match &words {
        _ if args.fields.is_empty() && !checks.is_empty() => Vec::new(),
        Some(words) if args.fields.is_empty() => Want::granted(&catalog, words.get()),
        _ => wants(&catalog, &args.fields)?,
    };
    let subject = match (&args.subject, &words) {
        (None, Some(words)) => words.get().subject.clone(),
        (text, _) => subject(text.as_deref().unwrap_or_default())?,
    };
    let fields: usize = wants.iter().map(|want| want.fields.len()).sum();
    if args.fields.is_empty() && (fields > FIELDS_PER_QUESTION_MAX || wants.len() > ITEMS_PER_QUESTION_MAX) {
        return Err(Problem::new(
            format!(
                "the grant names {fields} fields of {} items; one question asks for {FIELDS_PER_QUESTION_MAX} of {ITEMS_PER_QUESTION_MAX} at most",
                wants.len()
            ),
            "name some of them with --fields, and ask for the others in another question",
            "请用 --fields 指定其中一部分，其余另行查询",
        ));
    }
    let clerk = clerk(&args.clerk)?;
    let (basis, usual) = match (grant, args.duty, &args.own) {
        (Some(grant), ..) => (Basis::Grant(grant), ""),
        (None, Some(article), _) => (Basis::Duty(article), Purpose::Administration.as_str()),
        (None, None, Some(paper)) => (Basis::Own(paper_digest(paper)?), Purpose::Self_.as_str()),
        (None, None, None) => (Basis::None, ""),
    };
    let draft = AskDraft {
        clerk,
        purpose: purpose(args.purpose.as_deref().unwrap_or(usual))?,
        subject,
        wants,
        basis,
        wait_ms: positive("--wait", args.wait)?.saturating_mul(1000),
        checks,
    };
    // A question may use up its grant: that its answer can be kept is made sure of first.
    let out = args.out.as_deref().map(NewFile::ready).transpose()?;
    let result = ask(&args.node.dir, draft).await?;
    let unwritten = out.and_then(|out| out.write(&kept(&result)).err());
    let (mut value, mut text) = (value(&catalog, &result), text(&catalog, &result));
    // The members' clocks differ a little: the earliest binds.
    let gives = |a: &&OpenedAnswer| !a.records.is_empty() || !a.checks.is_empty();
    let given = result.opened.iter().filter_map(|p| p.answer.as_ref()).filter(gives);
    if let (Some(words), Some(at)) = (&words, given.map(|a| a.at).min()) {
        let until = words.get().keep_until(at).rfc3339();
        text.push_str(&format!(
            "\nmay be kept until {until}, as the grant says / 查得信息按授权书可保存至该时间"
        ));
        value["keep_until"] = json!(until);
    }
    let output = Output::judged(value, text, granted(&result));
    Ok(match unwritten {
        Some(problem) => output.unwritten(&problem),
        None => output,
    })
}

/// The sealed answer as a file.
pub(crate) fn kept(result: &AskResult) -> Vec<u8> {
    codec::to_vec(&Artifact::Answer { question: result.question.clone(), parts: result.parts.clone() })
}

/// Asks; the node opens and checks what comes back.
pub(crate) async fn ask(dir: &Path, draft: AskDraft) -> Result<AskResult, Problem> {
    Client::open(dir)?.ask(draft).await
}

/// Items and fields; an item without fields means all its fields but those that are the subject itself.
pub(crate) fn wants(catalog: &Catalog, texts: &[String]) -> Result<Vec<Want>, Problem> {
    if texts.is_empty() {
        return Err(Problem::new(
            "the question names no field",
            "name items with --fields, for example --fields NSXY --fields CF:CF_WSH,CF_CFLB",
            "请用 --fields 指定信息项与数据项",
        ));
    }
    let mut wants = Vec::new();
    for text in texts {
        let (item, fields) = item_fields(catalog, text)?;
        let some = Want { item: item.id.clone(), fields };
        wants.push(if some.fields.is_empty() { Want::whole(item) } else { some });
    }
    wants.sort_by(|a, b| a.item.cmp(&b.item));
    Ok(wants)
}

/// Predicates, in the order in which a question carries them; each once.
pub(crate) fn checks(catalog: &Catalog, texts: &[String]) -> Result<Vec<Check>, Problem> {
    checks_by(|text| Check::parse(catalog, text), texts)
}

/// As [`checks`], also those that the catalog does not allow.
pub(crate) fn every_check(catalog: &Catalog, texts: &[String]) -> Result<Vec<Check>, Problem> {
    checks_by(|text| Check::read(catalog, text), texts)
}

fn checks_by(read: impl Fn(&str) -> Result<Check, String>, texts: &[String]) -> Result<Vec<Check>, Problem> {
    let read = |text: &String| {
        read(text).map_err(|why| {
            Problem::new(
                format!("--check: {why}"),
                "write for example NSXY:NSXY_DJ=A, 'NSXY:NSXY_NSZE>=100', CF:none-since=2024-01-01 or SBJN:paid=12@2026-03; `xinqiao catalog ITEM` shows what can be checked",
                "写法例如：NSXY:NSXY_DJ=A、'NSXY:NSXY_NSZE>=100'、CF:none-since=2024-01-01、SBJN:paid=12@2026-03；可用 `xinqiao catalog 信息项` 查看可核验的数据项",
            )
        })
    };
    let checks: BTreeSet<Check> = texts.iter().map(read).collect::<Result<_, _>>()?;
    Ok(checks.into_iter().collect())
}

/// Whether at least one member answered and none refused the whole question.
pub(crate) fn granted(result: &AskResult) -> bool {
    let answers: Vec<&OpenedAnswer> = result.opened.iter().filter_map(|p| p.answer.as_ref()).collect();
    !answers.is_empty() && answers.iter().all(|a| !a.refused)
}

/// An answer for programs. Values are shown: this is the asker's own screen.
pub(crate) fn value(catalog: &Catalog, result: &AskResult) -> Value {
    let members: Vec<Value> = result
        .opened
        .iter()
        .map(|part| match (&part.answer, &part.problem) {
            (Some(answer), _) => {
                let mut value = answer_value(catalog, answer);
                value["member"] = json!(part.member.as_str());
                value
            }
            (None, Some(refusal)) => {
                json!({ "member": part.member.as_str(), "outcome": refusal.code, "detail": refusal.detail, "said": part.said().as_str() })
            }
            (None, None) => json!({ "member": part.member.as_str(), "outcome": "unknown" }),
        })
        .collect();
    json!({
        "question": result.question.digest().to_string(), "members": members,
        "complete": parts::complete(&result.opened),
    })
}

/// One member's opened answer for programs.
pub(crate) fn answer_value(catalog: &Catalog, answer: &OpenedAnswer) -> Value {
    let records: Vec<Value> = answer
        .records
        .iter()
        .map(|r| {
            let fields: serde_json::Map<String, Value> = r
                .fields
                .iter()
                .map(|f| {
                    let column =
                        catalog.item(&r.item).and_then(|i| i.field(f.field)).map_or("?", |f| &f.column);
                    (column.to_owned(), json!(f.value.to_display()))
                })
                .collect();
            json!({
                "record": r.record.to_string(), "item": r.item.as_str(), "authority": r.authority.as_str(),
                "version": r.version, "disputed": r.disputed, "fields": fields,
            })
        })
        .collect();
    let withheld: Vec<Value> = answer
        .withheld
        .iter()
        .map(|w| match w.check {
            Some(check) => {
                json!({ "item": w.item.as_str(), "field": w.field.0, "rule": w.rule.0, "check": check })
            }
            None => json!({ "item": w.item.as_str(), "field": w.field.0, "rule": w.rule.0 }),
        })
        .collect();
    let checks: Vec<Value> = answer
        .checks
        .iter()
        .map(|c| {
            let on: Vec<String> = c.on.iter().map(|on| on.record.to_string()).collect();
            json!({
                "check": c.place, "asked": c.check.to_display(catalog), "outcome": c.outcome.as_str(), "rule": c.rule.0,
                "rests_on": on,
            })
        })
        .collect();
    json!({
        "outcome": if answer.refused { "refused" } else { "answered" }, "access_entry": answer.index,
        "at": answer.at.rfc3339(), "records": records, "checks": checks, "withheld": withheld,
    })
}

fn text(catalog: &Catalog, result: &AskResult) -> String {
    let mut text = format!("question {}", result.question.digest());
    for part in &result.opened {
        match (&part.answer, &part.problem) {
            (Some(answer), _) => text.push_str(&answer_text(catalog, answer)),
            (None, Some(refusal)) => {
                text.push_str(&format!("\n`{}` {}: {refusal}", part.member, part.said().as_str()));
            }
            (None, None) => {}
        }
    }
    if !parts::complete(&result.opened) {
        text.push_str(incomplete());
    }
    text
}

/// What is to be said of an answer that some member has not decided, or not given all of.
pub(crate) const fn incomplete() -> &'static str {
    "\nNOT complete: that a record is not here does not mean that there is none / 回答不完整：未列出的记录不等于不存在"
}

/// One member's opened answer for people.
pub(crate) fn answer_text(catalog: &Catalog, answer: &OpenedAnswer) -> String {
    let outcome = if answer.refused { "refused / 不予提供" } else { "answered / 已提供" };
    let mut text = format!(
        "\n`{}` {outcome}, access entry {}, {} records",
        answer.member,
        answer.index,
        answer.records.len()
    );
    for r in &answer.records {
        let name = catalog.item(&r.item).map_or("", |i| &i.name);
        let mark = if r.disputed { " [disputed / 异议处理中]" } else { "" };
        text.push_str(&format!("\n  {} {name}{mark} {}", r.item, r.record));
        for f in &r.fields {
            let shown = catalog.item(&r.item).and_then(|i| i.field(f.field)).map_or("?", |f| &f.name);
            text.push_str(&format!("\n    {shown}: {}", f.value.to_display()));
        }
    }
    for c in &answer.checks {
        text.push_str(&format!("\n  {} → {}", c.check.to_display(catalog), c.outcome.words()));
        if !c.on.is_empty() {
            let on: Vec<String> = c.on.iter().map(|on| on.record.to_string()[..12].to_owned()).collect();
            text.push_str(&format!(" (records {})", on.join(", ")));
        }
    }
    for w in &answer.withheld {
        if let Some(place) = w.check {
            let column = catalog.item(&w.item).and_then(|i| i.field(w.field)).map_or("?", |f| &f.column);
            text.push_str(&format!(
                "\n  check {} of {}:{column} withheld by rule {}",
                place + 1,
                w.item,
                w.rule
            ));
        }
    }
    let fields = || answer.withheld.iter().filter(|w| w.check.is_none());
    let mut rules: Vec<&str> = fields().map(|w| w.rule.0.as_str()).collect();
    rules.sort_unstable();
    rules.dedup();
    if !rules.is_empty() {
        text.push_str(&format!("\n  withheld {} fields by rule {}", fields().count(), rules.join(", ")));
    }
    text
}
