//! The repair certificate: written as a page, JSON or COSE, and verified from each of them and from the printed code.

use std::{
    fs,
    path::{Path, PathBuf},
};

use ::node::{Problem, home::read_registry};
use credit::{
    catalog::Catalog,
    rules::{RuleBook, Tier},
    value::Date,
};
use crypto::{codec, merkle::leaf_hash, sign::Signed};
use exchange::{
    artifact::Artifact,
    certificate::{RepairCertificate, RepairStatement},
    logs::LogName,
    registry::Registry,
    trust,
    wire::{Operation, Response},
};
use ledger::{cose_receipt::CoseReceipt, policy::Policy};
use serde_json::{Value, json};

use crate::{
    args::{Certify, Verify},
    client::{Client, unexpected},
    cmd::{item, read, subject, write},
    code,
    output::Output,
};

/// Names the form of the JSON document.
const JSON_KIND: &str = "xinqiao/repair-certificate";

const PAGE: &str = include_str!("repair.html");

pub(crate) async fn run(args: Certify) -> Result<Output, Problem> {
    let client = Client::open(&args.node.dir)?;
    let certificate = match client.operate(Operation::RepairCertificate(args.event)).await? {
        Response::RepairCertificate(certificate) => *certificate,
        other => return Err(unexpected(&other)),
    };
    // What the own node says is held to the same as anybody's file.
    let (said, _) = certificate.verify(&client.registry)?;
    let mut written = vec![args.out.clone()];
    match args.form.as_str() {
        "json" => {
            let document = format!("{:#}\n", document(&certificate, &said, &client.registry));
            write(&args.out, document.as_bytes())?;
        }
        "cose" => {
            let operation = Operation::Prove { log: LogName::Status, index: args.event };
            let Response::Proof { receipt, cose } = client.operate(operation).await? else {
                return Err(Problem::fault("the node proves nothing".to_owned()));
            };
            write(&args.out, certificate.statement.as_bytes())?;
            written.push(beside(&args.out, "entry"));
            write(&beside(&args.out, "entry"), &receipt.entry)?;
            // A log of one entry has no receipt of this form; a granted repair is never the first entry.
            if let Some(cose) = cose {
                written.push(beside(&args.out, "receipt"));
                write(&beside(&args.out, "receipt"), &cose)?;
            }
        }
        "page" => {
            let shown = shown(&args, &client, &said).await?;
            write(&args.out, page(&certificate, &said, &shown, &client.registry)?.as_bytes())?;
        }
        other => {
            return Err(Problem::new(
                format!("`{other}` is no form of a repair certificate"),
                "use page, json or cose",
                "请使用 page、json 或 cose",
            ));
        }
    }
    let text = format!(
        "repair certificate of record {} written to {} / 已写出信用修复证明",
        said.record,
        written.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    );
    Ok(Output::new(json!({ "event": args.event, "form": args.form, "out": written }), text))
}

/// What the page shows besides the certificate: rows of label and value, given by the operator.
async fn shown(
    args: &Certify,
    client: &Client,
    said: &RepairStatement,
) -> Result<Vec<(&'static str, String)>, Problem> {
    let mut rows = Vec::new();
    if let Some(name) = &args.name {
        rows.push(("申请人", name.clone()));
    }
    if let (Some(code), Some(document), Some(kind)) = (&args.subject, &args.document, &args.item) {
        let catalog = Catalog::builtin();
        let item = item(&catalog, kind)?;
        let named = Operation::NameRecord {
            authority: client.member.clone(),
            item: item.id.clone(),
            document: document.clone(),
            subject: subject(code)?,
        };
        let Response::Record(named) = client.operate(named).await? else {
            return Err(Problem::fault("the node names no record".to_owned()));
        };
        if named != said.record {
            return Err(Problem::new(
                format!("the repaired record {} is not about this subject and document", said.record),
                "check --subject, --document and --item, or leave them out",
                "请核对 --subject、--document 与 --item，或不填写",
            ));
        }
        rows.extend([
            ("统一社会信用代码", code.clone()),
            ("决定书文号", document.clone()),
            ("信息类别", item.name.to_string()),
        ]);
    }
    Ok(rows)
}

/// The decision as a program reads it, with the certificate in `artifact`.
fn document(certificate: &RepairCertificate, said: &RepairStatement, registry: &Registry) -> Value {
    let artifact = codec::to_vec(&Artifact::Repair(Box::new(certificate.clone())));
    let mut value = told(said, certificate.statement.issuer(), registry);
    value["kind"] = json!(JSON_KIND);
    value["artifact"] = json!(code::to_text(&artifact));
    value
}

/// What a statement that holds says.
fn told(said: &RepairStatement, authority: &str, registry: &Registry) -> Value {
    json!({
        "authority": authority, "authority_name": name_of(registry, authority), "record": said.record.to_string(),
        "case": said.case.map(|case| case.to_string()), "rule": said.rule, "effect": effect(&said.rule),
        "decided_at": said.decided_at.rfc3339(), "log": LogName::Status.as_str(), "index": said.index,
        "leaf": said.leaf.to_string(),
    })
}

fn name_of(registry: &Registry, id: &str) -> String {
    let entry = registry.members.iter().find(|m| m.stated.id.as_str() == id);
    entry.map_or_else(|| id.to_owned(), |m| m.stated.name.clone())
}

/// What a repair under that rule set brings about, in its own words; absent for a set this build does not have.
fn effect(set: &str) -> Option<String> {
    let book = RuleBook::builtin();
    let rule = [Tier::General, Tier::Minor, Tier::Serious].into_iter().find_map(|t| book.rule_of_set(set, t));
    rule.map(|rule| rule.effect.clone())
}

fn source(set: &str) -> String {
    RuleBook::builtin().rule_of_set(set, Tier::General).map_or_else(|| set.to_owned(), |r| r.source.clone())
}

/// The page a person prints: one file, no script, nothing loaded from elsewhere.
fn page(
    certificate: &RepairCertificate,
    said: &RepairStatement,
    shown: &[(&str, String)],
    registry: &Registry,
) -> Result<String, Problem> {
    let authority = certificate.statement.issuer();
    let text = code::to_text(certificate.statement.as_bytes());
    let drawing = code::svg(&text).ok_or_else(|| Problem::fault("the statement fits no code".to_owned()))?;
    let day = |date: Date| {
        let (year, month, day) = date.parts();
        format!("{year}年{month}月{day}日")
    };
    let certified: [(&str, String); 5] = [
        ("案件编号", said.case.map_or_else(|| "（互认，无本平台案件）".to_owned(), |case| case.to_string())),
        ("决定单位", name_of(registry, authority)),
        ("决定日期", day(Date::from_timestamp(said.decided_at))),
        ("依据", source(&said.rule)),
        ("记录编号", said.record.to_string()),
    ];
    let rows: String = shown
        .iter()
        .chain(&certified)
        .map(|(label, value)| {
            // Ids are long: in a narrow face each stays on one line.
            let class = if value.len() >= 32 && value.bytes().all(|b| b.is_ascii_hexdigit()) {
                " class=\"id\""
            } else {
                ""
            };
            format!("<tr><th>{label}</th><td{class}>{}</td></tr>", escaped(value))
        })
        .collect();
    let effect = effect(&said.rule).unwrap_or_else(|| "按该规则办理".to_owned());
    let issued = day(Date::from_timestamp(certificate.statement.issued_at()));
    let parts = [
        ("{rows}", rows),
        ("{effect}", escaped(&effect)),
        ("{authority}", escaped(&name_of(registry, authority))),
        ("{issued}", issued),
        ("{number}", format!("{} 状态日志第 {} 条", escaped(authority), said.index)),
        ("{code}", drawing),
        ("{text}", escaped(&text)),
    ];
    // Filled place by place, so that no value is read as a place of its own.
    let (mut page, mut rest) = (String::new(), PAGE);
    while let Some((at, (place, value))) =
        parts.iter().filter_map(|part| Some((rest.find(part.0)?, part))).min_by_key(|(at, _)| *at)
    {
        page.push_str(&rest[..at]);
        page.push_str(value);
        rest = &rest[at + place.len()..];
    }
    page.push_str(rest);
    Ok(page)
}

/// A text as HTML shows it, in an element or a quoted attribute.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Marks that turn the direction of writing could make a name read as another one.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
            other if other.is_control() => out.push(' '),
            other => out.push(other),
        }
    }
    out
}

fn beside(path: &Path, what: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(what);
    name.into()
}

/// A certificate that was checked: statement, receipt, and that both say the same.
pub(crate) fn proven(certificate: &RepairCertificate, registry: &Registry) -> Result<Output, Problem> {
    let (said, proven) = certificate.verify(registry)?;
    let size = proven.checkpoint.size;
    Ok(holds(
        &said,
        proven.member.as_str(),
        registry,
        &format!("entry {} of {size} in its status log", said.index),
    ))
}

fn holds(said: &RepairStatement, authority: &str, registry: &Registry, proof: &str) -> Output {
    let mut value = told(said, authority, registry);
    (value["ok"], value["kind"]) = (json!(true), json!("repair"));
    value["proof"] = json!(proof);
    let text = format!(
        "repair certificate holds / 信用修复证明有效\n  `{authority}` ({}) granted the repair of record {}\n  on {} under `{}` (准予修复)\n  proof 证明: {proof}",
        name_of(registry, authority),
        said.record,
        said.decided_at.rfc3339(),
        said.rule,
    );
    Output::new(value, text)
}

fn accepted(path: Option<&Path>) -> Result<Registry, Problem> {
    let path = path.ok_or_else(|| {
        Problem::new(
            "a repair certificate is judged by a registry",
            "give --registry in place of --policy",
            "请用 --registry 代替 --policy",
        )
    })?;
    Ok(read_registry(path)?.accept(None)?)
}

/// Verifies the text of a printed code, offline: the authority's signature over its statement.
pub(crate) fn verify_text(text: &str, registry: Option<&Path>) -> Result<Output, Problem> {
    let wrong = |what: &str| {
        Problem::new(
            format!("the text is no repair certificate: {what}"),
            "scan the code again, or copy the text below it whole",
            "请重新扫描二维码，或完整复制其下方文字",
        )
    };
    let bytes = code::from_text(text).ok_or_else(|| wrong("it is not `XQ1:` and base32"))?;
    let statement = Signed::<RepairStatement>::parse(&bytes).map_err(|e| wrong(&e.to_string()))?;
    let registry = accepted(registry)?;
    let said = registry.verify(&statement)?.into_inner();
    let proof = format!("its signature; entry {} of its status log must say the same", said.index);
    Ok(holds(&said, statement.issuer(), &registry, &proof))
}

/// Verifies a certificate in JSON or COSE; `None` when the file is neither.
pub(crate) fn verify_file(args: &Verify, path: &Path, bytes: &[u8]) -> Option<Result<Output, Problem>> {
    let registry = args.registry.as_deref();
    if let Ok(statement) = Signed::<RepairStatement>::parse(bytes) {
        return Some(accepted(registry).and_then(|registry| cose(args, path, &statement, &registry)));
    }
    if bytes.first() != Some(&b'{') {
        return None;
    }
    let value: Value = serde_json::from_slice(bytes).ok()?;
    if value["kind"] != JSON_KIND {
        return None;
    }
    Some(accepted(registry).and_then(|registry| json_document(args, path, &value, &registry)))
}

fn fails(path: &Path, what: &str) -> Problem {
    Problem::new(
        format!("{}: {what}", path.display()),
        "do not rely on it; ask the deciding member for another certificate",
        "请勿采信；请向决定单位重新索取证明",
    )
}

fn cose(
    args: &Verify,
    path: &Path,
    statement: &Signed<RepairStatement>,
    registry: &Registry,
) -> Result<Output, Problem> {
    let said = registry.verify(statement)?.into_inner();
    let authority = statement.issuer();
    let receipt = beside(path, "receipt");
    if !receipt.exists() {
        let proof = format!("its signature; there is no {}", receipt.display());
        return Ok(holds(&said, authority, registry, &proof));
    }
    let receipt = CoseReceipt::parse(&read(&receipt)?).map_err(|e| fails(&receipt, &e.to_string()))?;
    let member = credit::id::MemberId::parse(authority).ok_or_else(|| fails(path, "no member signed it"))?;
    let file = trust::policy(registry, &member, LogName::Status, args.require_witnesses)?;
    let policy =
        Policy::parse(file.as_bytes()).map_err(|e| Problem::fault(format!("policy of a registry: {e}")))?;
    let believed = receipt.verify(&said.leaf, &policy).map_err(|e| fails(path, &e.to_string()))?;
    if receipt.index().0 != said.index {
        return Err(fails(path, "the receipt is for another entry"));
    }
    if let Ok(entry) = fs::read(args.entry.clone().unwrap_or_else(|| beside(path, "entry")))
        && leaf_hash(&entry) != said.leaf
    {
        return Err(fails(path, "the entry beside it is another one"));
    }
    let proof = format!("entry {} of {} in its status log", said.index, believed.checkpoint.size);
    Ok(holds(&said, authority, registry, &proof))
}

/// The signed certificate inside, and that what is written around it is what it says.
fn json_document(args: &Verify, path: &Path, value: &Value, registry: &Registry) -> Result<Output, Problem> {
    let artifact = value["artifact"].as_str().and_then(code::from_text);
    let artifact = artifact.and_then(|bytes| codec::from_slice::<Artifact>(&bytes).ok());
    let Some(Artifact::Repair(certificate)) = artifact else {
        return Err(fails(path, "it holds no repair certificate"));
    };
    let verified = super::verify::artifact(
        &Artifact::Repair(certificate.clone()),
        registry,
        None,
        args.require_witnesses,
    )?;
    let (said, _) = certificate.verify(registry)?;
    let expected = document(&certificate, &said, registry);
    // Names and wording may be another build's; what identifies the decision may not differ.
    for part in ["authority", "record", "case", "rule", "decided_at", "log", "index", "leaf"] {
        if value[part] != expected[part] {
            return Err(fails(path, &format!("`{part}` is not what is signed")));
        }
    }
    Ok(verified)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_operator_types_stays_text_on_the_page() {
        assert_eq!(
            escaped("<script>alert(\"1\")</script> & 'x'\u{202e}\n"),
            "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; &amp; &#39;x&#39; "
        );
    }

    #[test]
    fn the_page_loads_nothing() {
        for word in ["<script", "http:", "https:", "src=", "@import", "url("] {
            assert!(!PAGE.contains(word), "{word}");
        }
        for place in ["{rows}", "{effect}", "{authority}", "{issued}", "{number}", "{code}", "{text}"] {
            assert_eq!(PAGE.matches(place).count(), 1, "{place}");
        }
    }

    #[test]
    fn each_rule_set_says_what_a_repair_brings_about() {
        for set in RuleBook::builtin().sets() {
            assert!(effect(&set.id).is_some_and(|text| !text.is_empty()), "{}", set.id);
        }
        assert_eq!(effect("ndrc-99"), None);
    }
}
