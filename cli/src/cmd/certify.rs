//! The repair certificate: written as a page, JSON or COSE, and verified from each of them and from the printed code.

use std::{
    fs,
    path::{Path, PathBuf},
};

use ::node::{
    Problem,
    client::{Client, unexpected},
    home::read_registry,
};
use credit::{
    catalog::Catalog,
    id::CaseId,
    rules::{RuleBook, Tier},
    value::Date,
};
use crypto::{Digest, Timestamp, codec, merkle::leaf_hash, sign::Signed};
use exchange::{
    artifact::Artifact,
    certificate::{About, Facts, PublishedBy, RepairCertificate, RepairCode, RepairStatement, Which},
    logs::LogName,
    registry::Registry,
    trust,
    wire::{Operation, Response},
};
use ledger::{cose_receipt::CoseReceipt, policy::Policy};
use serde_json::{Value, json};

use self::page::Shown;

use crate::{
    args::{Certify, Subjected, Verify},
    cmd::{
        item,
        new_file::{write_all_once, write_once},
        read, subject,
    },
    code,
    output::Output,
};

mod page;

/// Names the form of the JSON document.
const JSON_KIND: &str = "xinqiao/repair-certificate";

pub(crate) async fn run(args: Certify) -> Result<Output, Problem> {
    let about = about(&args.about)?;
    if args.form == "page" && about.is_none() {
        return Err(Problem::new(
            "a page names whom and what it is about",
            "give --subject, --document and --item, or --form json or cose",
            "请填写 --subject、--document 与 --item，或改用 --form json 或 cose",
        ));
    }
    let client = Client::open(&args.node.dir)?;
    let operation = Operation::RepairCertificate(which(&args.decision)?, about.clone());
    let certificate = match client.operate(operation).await? {
        Response::RepairCertificate(certificate) => *certificate,
        other => return Err(unexpected(&other)),
    };
    // What the own node says is held to the same as anybody's file.
    let (said, _) = certificate.verify(&client.registry)?;
    let mut written = vec![args.out.clone()];
    match args.form.as_str() {
        "json" => {
            let document = format!("{:#}\n", document(&certificate, &said));
            write_once(&args.out, document.as_bytes())?;
        }
        "cose" => {
            let operation = Operation::Prove { log: LogName::Status, index: said.decision.index };
            let Response::Proof { receipt, cose } = client.operate(operation).await? else {
                return Err(Problem::fault("the node proves nothing".to_owned()));
            };
            let salt = certificate.code.salt.as_ref().map(|salt| &salt.0[..]);
            let mut files = vec![
                (args.out.clone(), certificate.code.statement.as_bytes()),
                (beside(&args.out, "entry"), &receipt.entry[..]),
            ];
            // A log of one entry has no receipt of this form; a decided repair is never the first entry.
            files.extend(cose.as_ref().map(|cose| (beside(&args.out, "receipt"), &cose.0[..])));
            files.extend(salt.map(|salt| (beside(&args.out, "salt"), salt)));
            write_all_once(&files)?;
            written = files.into_iter().map(|(path, _)| path).collect();
        }
        "page" => {
            let shown = about.map(|about| Shown { name: args.name.clone(), about });
            let page =
                shown.and_then(|shown| page::write(&certificate.code, &said, &shown, &client.registry));
            let page = page.ok_or_else(|| Problem::fault("the statement fits no code".to_owned()))?;
            write_once(&args.out, page.as_bytes())?;
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
        "repair certificate ({}) of record {} written to {} / 已写出信用修复证明",
        outcome(&said),
        said.decision.record,
        written.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    );
    Ok(Output::new(
        json!({ "event": said.decision.index, "granted": said.decision.refused.is_none(), "form": args.form, "out": written }),
        text,
    ))
}

/// A decision as typed: the index of its entry, or its case.
fn which(text: &str) -> Result<Which, Problem> {
    match (text.parse(), CaseId::parse(text)) {
        (Ok(event), _) => Ok(Which::Entry(event)),
        (Err(_), Some(case)) => Ok(Which::Case(case)),
        (Err(_), None) => Err(Problem::new(
            format!("`{text}` is neither an entry of the status log nor a case"),
            "give the number that `repair decide` printed, or a case id from `xinqiao case list`",
            "请填写 `repair decide` 输出的条目序号，或 `xinqiao case list` 中的案件编号",
        )),
    }
}

/// Whom and what a certificate is about, as typed.
pub(crate) fn about(given: &Subjected) -> Result<Option<About>, Problem> {
    let (Some(who), Some(document), Some(kind)) = (&given.subject, &given.document, &given.item) else {
        return Ok(None);
    };
    let catalog = Catalog::builtin();
    let item = item(&catalog, kind)?.id.clone();
    Ok(Some(About { item, document: document.clone(), subject: subject(who)? }))
}

/// The text of the printed code.
fn to_text(code: &RepairCode) -> String {
    code::to_text(&codec::to_vec(code))
}

/// The decision as a program reads it, with the certificate in `artifact`: what is signed and nothing else. Names and the
/// wording of rules are told by who verifies it, whose registry and build may be newer.
fn document(certificate: &RepairCertificate, said: &RepairStatement) -> Value {
    let artifact = codec::to_vec(&Artifact::Repair(Box::new(certificate.clone())));
    let mut value = signed(said, certificate.code.statement.issuer());
    value["kind"] = json!(JSON_KIND);
    value["artifact"] = json!(code::to_text(&artifact));
    value
}

/// What a statement that holds says, in the words of this build and with the names of this registry.
fn told(said: &RepairStatement, authority: &str, registry: &Registry) -> Value {
    let mut value = signed(said, authority);
    value["authority_name"] = json!(name_of(registry, authority));
    value["rule_source"] = json!(source(&said.decision.rule));
    value["effect"] = json!(effect(said));
    value
}

/// What is signed.
fn signed(said: &RepairStatement, authority: &str) -> Value {
    let (decision, facts) = (&said.decision, said.facts.as_ref());
    let refused = decision.refused.as_ref();
    let date = |date: Option<Date>| date.map(|date| date.to_string());
    json!({
        "authority": authority, "record": decision.record.to_string(),
        "case": decision.case.map(|case| case.to_string()), "granted": refused.is_none(), "declined": said.declined,
        "reason": refused.map(|because| &because.reason), "barred_until": date(refused.and_then(|r| r.barred_until)),
        "rule": decision.rule, "deciding_body": facts.and_then(|m| m.body.as_ref()),
        "recognised": said.recognised.as_ref().map(|other| other.as_str()),
        "applied_at": said.applied_at.map(Timestamp::rfc3339), "accepted_at": said.accepted_at.map(Timestamp::rfc3339),
        "decided_at": decision.decided_at.rfc3339(), "item": facts.map(|m| m.item.as_str()),
        "matter_decided": date(facts.and_then(|m| m.decided)), "matter_published": date(facts.and_then(|m| m.published)),
        "published_by": facts.and_then(|m| m.published_by).map(PublishedBy::as_str),
        "tier": facts.and_then(|m| m.tier).map(Tier::as_str),
        "registry": { "version": said.registry, "digest": said.registry_digest.to_string() },
        "log": LogName::Status.as_str(), "index": decision.index, "leaf": decision.leaf.to_string(),
    })
}

/// The name for people of a member.
pub(crate) fn name_of(registry: &Registry, id: &str) -> String {
    let entry = registry.members.iter().find(|m| m.stated.id.as_str() == id);
    entry.map_or_else(|| id.to_owned(), |m| m.stated.name.clone())
}

/// What a granted repair brings about; absent for a refusal, and for a rule set this build does not have.
fn effect(said: &RepairStatement) -> Option<String> {
    match (&said.decision.refused, said.decision.recognises()) {
        (Some(_), _) => None,
        (None, true) => Some("互认另一平台的修复结果，状态为“已修复”".to_owned()),
        (None, false) => effect_of(&said.decision.rule),
    }
}

/// What a repair under that rule set brings about, in its own words.
fn effect_of(set: &str) -> Option<String> {
    let book = RuleBook::builtin();
    let rule = [Tier::General, Tier::Minor, Tier::Serious].into_iter().find_map(|t| book.rule_of_set(set, t));
    rule.map(|rule| rule.effect.clone())
}

/// The order behind a rule set; a ground in words is its own.
pub(crate) fn source(set: &str) -> String {
    RuleBook::builtin().rule_of_set(set, Tier::General).map_or_else(|| set.to_owned(), |r| r.source.clone())
}

/// Whose word the day of publication is, in brackets.
fn by(facts: &Facts) -> String {
    facts.published_by.map_or_else(String::new, |by| format!("（{}）", by.zh()))
}

/// A moment in Asia/Shanghai, to the second.
pub(crate) fn beijing(at: Timestamp) -> String {
    let second = (at.0 / 1000 + 8 * 3600) % 86_400;
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!("{} {hour:02}:{minute:02}:{:02}", Date::from_timestamp(at), second % 60)
}

fn beside(path: &Path, what: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(what);
    name.into()
}

/// Whether a certificate is about the subject, document number and item that the verifier has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Match {
    /// They were not given.
    Unchecked,
    /// It was signed for exactly these.
    Matches,
    /// It was signed for others.
    Differs,
    /// It was signed for none, and none were given.
    Nothing,
    /// It was signed for none.
    Unconfirmed,
}

impl Match {
    /// Of a commitment and its salt, and what the verifier has.
    pub(crate) fn of(signed: Option<(Digest, Digest)>, about: Option<&About>) -> Self {
        match (signed, about) {
            (None, None) => Self::Nothing,
            (None, Some(_)) => Self::Unconfirmed,
            (Some(_), None) => Self::Unchecked,
            (Some((commitment, salt)), Some(about)) if about.commitment(&salt) == commitment => Self::Matches,
            (Some(_), Some(_)) => Self::Differs,
        }
    }

    /// Whether what the verifier has is so. A certificate that says nothing about the number does not confirm it.
    pub(crate) const fn confirmed(self) -> bool {
        matches!(self, Self::Matches | Self::Unchecked | Self::Nothing)
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Unchecked => "not-checked",
            Self::Matches => "matches",
            Self::Differs => "does-not-match",
            Self::Nothing | Self::Unconfirmed => "not-signed",
        }
    }

    /// The first line about a repair certificate whose signatures hold.
    const fn headline(self) -> &'static str {
        match self {
            Self::Matches | Self::Nothing => "repair certificate holds / 信用修复证明有效",
            Self::Unchecked => {
                "repair certificate: its signature holds; whom it is about is NOT checked / 信用修复证明签名有效，尚未核对所涉主体与文号"
            }
            Self::Differs | Self::Unconfirmed => {
                "repair certificate DOES NOT HOLD for this subject and document / 信用修复证明与所填主体、文号不符，不予认定"
            }
        }
    }

    pub(crate) const fn line(self) -> &'static str {
        match self {
            Self::Unchecked => {
                "not checked: give --subject, --document and --item as they are printed; until then it may stand on any page / 未核对：请按纸面填写 --subject、--document 与 --item，核对前不能认定本证明属于该主体"
            }
            Self::Matches => "matches what was signed / 与签名一致",
            Self::Differs => {
                "DOES NOT MATCH what was signed: this code belongs to another page / 与签名不符：该证明属于另一事项"
            }
            Self::Nothing | Self::Unconfirmed => {
                "nothing was signed about them: the record id alone says what it is about / 签名未涉及号码与文号，仅以记录编号为准"
            }
        }
    }
}

/// A certificate that was checked: statement, receipt, and that both say the same.
pub(crate) fn proven(
    certificate: &RepairCertificate,
    registry: &Registry,
    given: &Subjected,
) -> Result<Output, Problem> {
    let (said, proven) = certificate.verify(registry)?;
    let proof = format!("entry {} of {} in its status log", said.decision.index, proven.checkpoint.size);
    Ok(holds(&certificate.code, &said, registry, &proof, about(given)?.as_ref()))
}

fn outcome(said: &RepairStatement) -> &'static str {
    match (&said.decision.refused, said.decision.recognises()) {
        (Some(_), _) if said.declined => "not accepted 不予受理",
        (Some(_), _) => "not granted 不予修复",
        (None, true) => "recognised 互认修复",
        (None, false) => "granted 准予修复",
    }
}

fn holds(
    code: &RepairCode,
    said: &RepairStatement,
    registry: &Registry,
    proof: &str,
    about: Option<&About>,
) -> Output {
    let (authority, decision) = (code.statement.issuer(), &said.decision);
    let found = Match::of(said.about.zip(code.salt), about);
    let ok = found.confirmed();
    let mut value = told(said, authority, registry);
    (value["ok"], value["kind"]) = (json!(ok), json!("repair"));
    (value["proof"], value["about"]) = (json!(proof), json!(found.as_str()));
    let moment = |at: Timestamp| format!("{} 北京时间 {}", at.rfc3339(), beijing(at));
    let mut text = format!(
        "{}\n  `{authority}` ({}): {}\n  record 记录: {}\n  decided 决定: {}",
        found.headline(),
        name_of(registry, authority),
        outcome(said),
        decision.record,
        moment(decision.decided_at),
    );
    let mut line = |label: &str, what: String| text.push_str(&format!("\n  {label}: {what}"));
    line("rule 依据", format!("{} {}", decision.rule, source(&decision.rule)));
    if let Some(other) = &said.recognised {
        line("recognised 互认", format!("`{other}` ({})", name_of(registry, other.as_str())));
    }
    if let Some(because) = &decision.refused {
        line("reason 理由", because.reason.clone());
        if let Some(last) = because.barred_until {
            line("barred until 不得再次申请至", last.to_string());
        }
    }
    for (label, at) in [("applied 申请", said.applied_at), ("accepted 受理", said.accepted_at)] {
        if let Some(at) = at {
            line(label, moment(at));
        }
    }
    if let Some(facts) = &said.facts {
        let date =
            facts.decided.map_or_else(String::new, |date| format!(", decided 处罚（认定）日期 {date}"));
        let tier = facts.tier.map_or_else(String::new, |t| format!(", {} 失信程度{}", t.as_str(), t.zh()));
        line("matter 事项", format!("{}{date}{tier}", facts.item));
        if let Some(body) = &facts.body {
            line("deciding body 认定单位", body.clone());
        }
        if let Some(published) = facts.published {
            line("published 公示日期", format!("{published}{}", by(facts)));
        }
    }
    line("registry 登记表", format!("version {}, digest {}", said.registry, said.registry_digest));
    line("subject and document number 号码与文号", found.line().to_owned());
    line("proof 证明", proof.to_owned());
    Output::judged(value, text, ok)
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

/// A code from its text.
fn parsed(text: &str) -> Result<RepairCode, Problem> {
    let wrong = |what: &str| {
        Problem::new(
            format!("the text is no repair certificate: {what}"),
            "scan the code again, or copy the text below it whole",
            "请重新扫描二维码，或完整复制其下方文字",
        )
    };
    let bytes = code::from_text(text).ok_or_else(|| wrong("it is not `XQ1:` and base32"))?;
    codec::from_slice(&bytes).map_err(|_| wrong("it is not whole, or of another kind"))
}

fn signature_alone(said: &RepairStatement) -> String {
    format!("its signature; entry {} of its status log must say the same", said.decision.index)
}

/// Verifies the text of a printed code, offline: the authority's signature over its statement.
pub(crate) fn verify_text(text: &str, registry: Option<&Path>, given: &Subjected) -> Result<Output, Problem> {
    let code = parsed(text)?;
    let registry = accepted(registry)?;
    let said = code.verify(&registry)?;
    Ok(holds(&code, &said, &registry, &signature_alone(&said), about(given)?.as_ref()))
}

/// Verifies a certificate as a page, in JSON or COSE; `None` when the file is none of them.
pub(crate) fn verify_file(args: &Verify, path: &Path, bytes: &[u8]) -> Option<Result<Output, Problem>> {
    let registry = args.registry.as_deref();
    if let Ok(statement) = Signed::<RepairStatement>::parse(bytes) {
        return Some(accepted(registry).and_then(|registry| cose(args, path, statement, &registry)));
    }
    match bytes.first() {
        Some(b'<') => {
            let found = page::read(bytes)?;
            Some(accepted(registry).and_then(|registry| printed(args, path, bytes, &found, &registry)))
        }
        Some(b'{') => {
            let value: Value =
                serde_json::from_slice(bytes).ok().filter(|v: &Value| v["kind"] == JSON_KIND)?;
            Some(accepted(registry).and_then(|registry| json_document(args, path, &value, &registry)))
        }
        _ => None,
    }
}

fn fails(path: &Path, what: &str) -> Problem {
    Problem::new(
        format!("{}: {what}", path.display()),
        "do not rely on it; ask the deciding member for another certificate",
        "请勿采信；请向决定单位重新索取证明",
    )
}

/// A page as a file: its code, that the numbers printed on it are those signed, and that every word of it is the one that this
/// program prints for this code. A page with other words may hide what is signed behind what is shown.
fn printed(
    args: &Verify,
    path: &Path,
    bytes: &[u8],
    found: &page::Found,
    registry: &Registry,
) -> Result<Output, Problem> {
    let code = parsed(&found.text)?;
    let said = code.verify(registry)?;
    let shown = found
        .shown()
        .ok_or_else(|| fails(path, "it does not name a subject, a document number and an item"))?;
    let output = holds(&code, &said, registry, &signature_alone(&said), Some(&shown.about));
    if !output.ok {
        return Ok(output);
    }
    if page::write(&code, &said, &shown, registry).is_none_or(|page| page.as_bytes() != bytes) {
        let rows = page::rows(&code, &said, &shown, registry);
        let differs =
            rows.iter().find(|(label, value)| !found.rows.iter().any(|(l, v)| l == label && v == value));
        let what = match differs {
            Some((label, value)) => format!("`{label}` on it is not `{value}`, which is signed"),
            None => "its words are not those that this program prints for its code".to_owned(),
        };
        return Err(Problem::new(
            format!("{}: {what}", path.display()),
            "rely on the code alone: `xinqiao verify --text`, with what is printed as --subject, --document and --item",
            "请勿采信纸面文字，仅以二维码为准：用 `xinqiao verify --text` 并按纸面填写 --subject、--document 与 --item 核验",
        ));
    }
    // What the verifier expects, besides what the page says of itself.
    let expected = about(&args.about)?;
    let expected = expected.as_ref().unwrap_or(&shown.about);
    Ok(holds(&code, &said, registry, &signature_alone(&said), Some(expected)))
}

fn cose(
    args: &Verify,
    path: &Path,
    statement: Signed<RepairStatement>,
    registry: &Registry,
) -> Result<Output, Problem> {
    let salt = fs::read(beside(path, "salt")).ok();
    let salt =
        salt.map(|salt| salt.try_into().map(Digest).map_err(|_| fails(path, "its salt has not 32 bytes")));
    let code = RepairCode { statement, salt: salt.transpose()? };
    let said = code.verify(registry)?;
    let (about, index) = (about(&args.about)?, said.decision.index);
    let shown = |proof: &str| holds(&code, &said, registry, proof, about.as_ref());
    let receipt = beside(path, "receipt");
    if !receipt.exists() {
        return Ok(shown(&format!("its signature; there is no {}", receipt.display())));
    }
    let receipt = CoseReceipt::parse(&read(&receipt)?).map_err(|e| fails(&receipt, &e.to_string()))?;
    let member = credit::id::MemberId::parse(code.statement.issuer());
    let member = member.ok_or_else(|| fails(path, "no member signed it"))?;
    let file = trust::policy(registry, &member, LogName::Status, args.require_witnesses)?;
    let policy =
        Policy::parse(file.as_bytes()).map_err(|e| Problem::fault(format!("policy of a registry: {e}")))?;
    let believed = receipt.verify(&said.decision.leaf, &policy).map_err(|e| fails(path, &e.to_string()))?;
    if receipt.index().0 != index {
        return Err(fails(path, "the receipt is for another entry"));
    }
    if let Ok(entry) = fs::read(args.entry.clone().unwrap_or_else(|| beside(path, "entry")))
        && leaf_hash(&entry) != said.decision.leaf
    {
        return Err(fails(path, "the entry beside it is another one"));
    }
    Ok(shown(&format!("entry {index} of {} in its status log", believed.checkpoint.size)))
}

/// The signed certificate inside, and that what is written around it is what it says.
fn json_document(args: &Verify, path: &Path, value: &Value, registry: &Registry) -> Result<Output, Problem> {
    let artifact = value["artifact"].as_str().and_then(code::from_text);
    let artifact = artifact.and_then(|bytes| codec::from_slice::<Artifact>(&bytes).ok());
    let Some(Artifact::Repair(certificate)) = artifact else {
        return Err(fails(path, "it holds no repair certificate"));
    };
    let (said, _) = certificate.verify(registry)?;
    let expected = document(&certificate, &said);
    // Every word of it, and none besides: who reads the file sees no more than is checked.
    let parts = [value, &expected].into_iter().filter_map(Value::as_object).flat_map(|parts| parts.keys());
    for part in parts.filter(|part| *part != "artifact") {
        if value[part] != expected[part] {
            return Err(fails(path, &format!("`{part}` is not what is signed")));
        }
    }
    let receipt = &certificate.receipt;
    super::verify::demand(registry.witnessed(&receipt.member, &receipt.checkpoint)?, args.require_witnesses)?;
    proven(&certificate, registry, &args.about)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_set_says_what_a_repair_brings_about() {
        for set in RuleBook::builtin().sets() {
            assert!(effect_of(&set.id).is_some_and(|text| !text.is_empty()), "{}", set.id);
        }
        assert_eq!(effect_of("ndrc-99"), None);
    }

    #[test]
    fn a_moment_is_told_as_clocks_in_china_show_it() {
        let at = Date::parse("2026-03-04").unwrap().start();
        assert_eq!(beijing(at), "2026-03-04 00:00:00");
        assert_eq!(beijing(at.plus_ms(86_399_999)), "2026-03-04 23:59:59");
    }
}
