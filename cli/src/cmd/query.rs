//! Asking through the outlet.

use std::path::Path;

use ::node::Problem;
use credit::{
    catalog::{Catalog, Purpose},
    grant::Grant,
    id::ClerkId,
    question::{Basis, Want},
};
use crypto::{Digest, codec};
use exchange::{
    answer::OpenedAnswer,
    artifact::Artifact,
    wire::{AskDraft, AskResult, Operation, Response},
};
use serde_json::{Value, json};

use crate::{
    args::Query,
    client::{Client, unexpected},
    cmd::{
        grant::{keep_until, read_grant},
        item_fields, purpose, read, subject, write,
    },
    output::Output,
};

pub(crate) async fn run(args: Query) -> Result<Output, Problem> {
    let grant = args.grant.as_deref().map(read_grant).transpose()?;
    let catalog = Catalog::builtin();
    // What the grant says is believed only as far as its collector's signature holds.
    let registry = Client::open(&args.node.dir)?.registry;
    let words = grant.as_ref().map(|g| registry.verify(g)).transpose()?;
    let wants = match &words {
        Some(words) if args.fields.is_empty() => granted_wants(&catalog, words.get()),
        _ => wants(&catalog, &args.fields)?,
    };
    let subject = match (&args.subject, &words) {
        (None, Some(words)) => words.get().subject.clone(),
        (text, _) => subject(text.as_deref().unwrap_or_default())?,
    };
    let clerk = ClerkId::parse(&args.clerk).ok_or_else(|| {
        Problem::new(
            "a clerk is named in 1 to 64 printable characters",
            "give another --clerk",
            "请更换 --clerk",
        )
    })?;
    let (basis, usual) = match (grant, args.duty, &args.own) {
        (Some(grant), ..) => (Basis::Grant(grant), ""),
        (None, Some(article), _) => (Basis::Duty(article), Purpose::Administration.as_str()),
        (None, None, Some(paper)) => (Basis::Own(Digest::of(&read(paper)?)), Purpose::Self_.as_str()),
        (None, None, None) => (Basis::None, ""),
    };
    let draft = AskDraft {
        clerk,
        purpose: purpose(args.purpose.as_deref().unwrap_or(usual))?,
        subject,
        wants,
        basis,
        wait_ms: args.wait.saturating_mul(1000),
    };
    let result = ask(&args.node.dir, draft).await?;
    if let Some(out) = &args.out {
        write(out, &kept(&result))?;
    }
    let (mut value, mut text) = (value(&catalog, &result), text(&catalog, &result));
    // The members' clocks differ a little: the earliest binds.
    let given = result.opened.iter().filter_map(|p| p.answer.as_ref()).filter(|a| !a.records.is_empty());
    if let (Some(words), Some(at)) = (&words, given.map(|a| a.at).min()) {
        let until = keep_until(words.get(), at).rfc3339();
        text.push_str(&format!(
            "\nmay be kept until {until}, as the grant says / 查得信息按授权书可保存至该时间"
        ));
        value["keep_until"] = json!(until);
    }
    Ok(Output::judged(value, text, granted(&result)))
}

/// The sealed answer as a file.
pub(crate) fn kept(result: &AskResult) -> Vec<u8> {
    codec::to_vec(&Artifact::Answer { question: result.question.clone(), parts: result.parts.clone() })
}

/// Asks; the node opens and checks what comes back.
pub(crate) async fn ask(dir: &Path, draft: AskDraft) -> Result<AskResult, Problem> {
    match Client::open(dir)?.operate(Operation::Ask(draft)).await? {
        Response::Result(result) => Ok(*result),
        other => Err(unexpected(&other)),
    }
}

/// What a grant names, as a question: every field of an item it names as a whole.
pub(crate) fn granted_wants(catalog: &Catalog, grant: &Grant) -> Vec<Want> {
    let mut wants: Vec<Want> = grant
        .scope
        .iter()
        .filter_map(|scope| {
            let item = catalog.item(&scope.item)?;
            let all = || item.fields.iter().map(|f| f.id).filter(|id| !item.names_subject(*id)).collect();
            let fields = if scope.fields.is_empty() { all() } else { scope.fields.clone() };
            Some(Want { item: item.id.clone(), fields })
        })
        .collect();
    wants.sort_by(|a, b| a.item.cmp(&b.item));
    wants
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
        let (item, mut fields) = item_fields(catalog, text)?;
        if fields.is_empty() {
            fields = item.fields.iter().map(|f| f.id).filter(|id| !item.names_subject(*id)).collect();
        }
        wants.push(Want { item: item.id.clone(), fields });
    }
    wants.sort_by(|a, b| a.item.cmp(&b.item));
    Ok(wants)
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
                json!({ "member": part.member.as_str(), "outcome": refusal.code, "detail": refusal.detail })
            }
            (None, None) => json!({ "member": part.member.as_str(), "outcome": "unknown" }),
        })
        .collect();
    json!({ "question": result.question.digest().to_string(), "members": members })
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
        .map(|w| json!({ "item": w.item.as_str(), "field": w.field.0, "rule": w.rule.0 }))
        .collect();
    json!({
        "outcome": if answer.refused { "refused" } else { "answered" }, "access_entry": answer.index,
        "at": answer.at.rfc3339(), "records": records, "withheld": withheld,
    })
}

fn text(catalog: &Catalog, result: &AskResult) -> String {
    let mut text = format!("question {}", result.question.digest());
    for part in &result.opened {
        match (&part.answer, &part.problem) {
            (Some(answer), _) => text.push_str(&answer_text(catalog, answer)),
            (None, Some(refusal)) => text.push_str(&format!("\n`{}`: {refusal}", part.member)),
            (None, None) => {}
        }
    }
    text
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
    let mut rules: Vec<&str> = answer.withheld.iter().map(|w| w.rule.0.as_str()).collect();
    rules.sort_unstable();
    rules.dedup();
    if !rules.is_empty() {
        text.push_str(&format!("\n  withheld {} fields by rule {}", answer.withheld.len(), rules.join(", ")));
    }
    text
}
