//! What an auditor does with access logs, and what a subject does with its own list.

use std::{path::Path, time::Duration};

use ::node::{
    Problem,
    client::{Client, member_id, unexpected},
    clock,
    home::{Home, read_registry},
    http::authorization,
    keys::Keys,
    run::choose,
};
use credit::{
    entry::{AskedBy, Disclosed, Entry, Fact, Read, Refused, TurnedAway, Withheld},
    id::MemberId,
    subject::SubjectId,
    value::Date,
};
use crypto::{Digest, codec, sign::Signed};
use exchange::{
    artifact::Artifact,
    evidence::{Convicted, EvidenceRow},
    logs::LogName,
    mandate::MandateDraft,
    pass::{PASS_MS_MAX, Pass},
    registry::Registry,
    wire::{Operation, Response},
};
use ledger::audit::LogSource;
use serde_json::{Value, json};

use crate::{
    args::{Audit, Unlock},
    cmd::{
        accesses, bundle, cross_check, erase, log_name, misuse, passphrase, policy::date, proof, purpose,
        read, verify, verify::Verified, write,
    },
    fetch::{Keeping, Published},
    output::Output,
};

pub(crate) async fn run(verb: Audit) -> Result<Output, Problem> {
    match verb {
        Audit::Pass { minutes, at } => {
            let header = pass(&at, minutes)?;
            Ok(Output::new(json!({ "authorization": header, "minutes": minutes }), header))
        }
        Audit::Export { member, log, from, out, at } => {
            let log = log_name(&log)?;
            let header = pass(&at, 30)?;
            let (_, registry) = Home::open(&at.dir)?.registry()?;
            let owner = member_id(&member)?;
            let verified = match from {
                None => export(&registry, &owner, log, &out, &header).await?,
                Some(mirror) => {
                    let at = &registry.member(&member_id(&mirror)?)?.stated.http;
                    copy(&registry, &format!("http://{at}/mirror/{owner}/{log}"), &out, &header).await?
                }
            };
            if (&verified.member, verified.log) != (&owner, log) {
                return Err(Problem::new(
                    format!("that is the log `{}/{}`", verified.member, verified.log),
                    "ask another mirror",
                    "请改用其他镜像",
                ));
            }
            Ok(Output::new(
                json!({ "member": member, "log": log.as_str(), "size": verified.checkpoint.size.0, "out": out }),
                format!(
                    "{}/{log}: {} entries copied to {} and verified / 已导出并验证",
                    member,
                    verified.checkpoint.size,
                    out.display()
                ),
            ))
        }
        Audit::Proof { log, index, form, out, wait, unwitnessed, node } => {
            let wanted = proof::Wanted { log: log_name(&log)?, index, form: proof::Form::parse(&form)? };
            proof::write(&wanted, &out, Duration::from_secs(wait), unwitnessed, &node.dir).await
        }
        Audit::Bundle { member, first, limit, with, out, at } => {
            bundle::write_bundle(bundle::Wanted { member, first, limit, with }, &out, &at).await
        }
        Audit::Identities { member, first, last, reason, paper, hours, node } => {
            let (paper, end) = (Digest::of(&read(&paper)?), last.saturating_add(1));
            let (member, for_ms) = (member_id(&member)?, hours.saturating_mul(60 * 60 * 1000));
            let draft = MandateDraft { member, first, end, reason, paper, for_ms };
            let response = Client::open(&node.dir)?.operate(Operation::Identities(draft)).await?;
            let Response::Identities(found) = response else { return Err(unexpected(&response)) };
            let unknown = "not known any more / 已无法得知";
            let lines: Vec<String> = found
                .iter()
                .map(|i| format!("\n  #{} {}", i.index, i.subject.as_ref().map_or(unknown, |s| s.as_str())))
                .collect();
            let values: Vec<Value> = found
                .iter()
                .map(|i| json!({ "index": i.index, "subject": i.subject.as_ref().map(SubjectId::as_str) }))
                .collect();
            Ok(Output::new(
                json!({ "identities": values }),
                format!("{} accesses / 条访问记录{}", found.len(), lines.concat()),
            ))
        }
        Audit::Search { log, registry, asker, purpose: word, clerk, rule, from, to, start, limit } => {
            let registry = read_registry(&registry)?.accept(None)?;
            let wanted = word.as_deref().map(purpose).transpose()?;
            let from = from.as_deref().map(date).transpose()?.map(Date::start);
            let until = to.as_deref().map(date).transpose()?.map(|day| day.plus_days(1).start());
            let mut found: Vec<Value> = cross_check::side(&log, &registry)?
                .1
                .iter()
                .filter(|(index, ..)| *index >= start)
                .filter(|(_, _, e)| {
                    from.is_none_or(|from| e.at >= from) && until.is_none_or(|until| e.at < until)
                })
                .filter_map(|(index, _, entry)| searched_value(*index, entry))
                .filter(|line| {
                    let is = |key: &str, wanted: &Option<String>| {
                        wanted.as_ref().is_none_or(|wanted| line[key] == **wanted)
                    };
                    let purpose = wanted.is_none_or(|purpose| line["purpose"] == purpose.as_str());
                    let rules = || line["rules"].as_array().into_iter().flatten();
                    let rule = rule.as_ref().is_none_or(|rule| rules().any(|applied| applied == rule));
                    is("asker", &asker) && purpose && is("clerk", &clerk) && rule
                })
                .collect();
            let next = found.get(limit).map(|value| value["index"].clone());
            found.truncate(limit);
            let lines: Vec<String> = found.iter().map(access_line).collect();
            let mut text =
                format!("{} entries / 条\n{}", lines.len(), lines.join("\n")).trim_end().to_owned();
            if let Some(next) = &next {
                text.push_str(&format!("\n  there are more: --start {next} / 尚有更多：--start {next}"));
            }
            Ok(Output::new(json!({ "entries": found, "next": next }), text))
        }
        Audit::Evidence { out, node } => evidence(out.as_deref(), &node.dir).await,
        Audit::Misuse { log, certificates, registry } => misuse::run(&log, &certificates, &registry),
        Audit::CrossCheck { asker, member, outlet, registry, out } => {
            let registry = read_registry(&registry)?.accept(None)?;
            let asking = cross_check::side(&asker, &registry)?;
            let answering = cross_check::side(&member, &registry)?;
            let mut output = cross_check::cross_check(&asking, &answering)?;
            if let Some(outlet) = outlet {
                cross_check::against_outlet(&mut output, &asking, &cross_check::side(&outlet, &registry)?);
            }
            if let Some(out) = out {
                let files = cross_check::discrepancies((&asking, &asker), (&answering, &member), &out)?;
                for (_, file) in &files {
                    let shown = file.as_ref().map_or_else(
                        || "no file: too many entries, or none, stand around that time / 未生成：该时段条目过多或为空".to_owned(),
                        |file| file.display().to_string(),
                    );
                    output.text.push_str(&format!("\n  {shown}"));
                }
                let files: Vec<Value> =
                    files.iter().map(|(entry, file)| json!({ "entry": entry, "file": file })).collect();
                output.json["files"] = json!(files);
            }
            Ok(output)
        }
        Audit::Erasure { record, out, node } => erase::certificate(&record, out.as_deref(), &node.dir).await,
        Audit::Subject(wanted) => accesses::run(wanted).await,
    }
}

/// Lists the evidence that a node keeps, and writes each piece into a file of its own.
async fn evidence(out: Option<&Path>, dir: &Path) -> Result<Output, Problem> {
    let client = Client::open(dir)?;
    let response = client.operate(Operation::Evidence).await?;
    let Response::Evidence(rows) = response else { return Err(unexpected(&response)) };
    if let Some(out) = out {
        std::fs::create_dir_all(out).map_err(|e| Problem::fault(format!("{}: {e}", out.display())))?;
    }
    let (mut values, mut text) =
        (Vec::new(), format!("{} pieces of evidence / 证据 {} 份", rows.len(), rows.len()));
    for (n, EvidenceRow { evidence, cleared }) in rows.into_iter().enumerate() {
        let (a, b) = (evidence.smaller.claimed().size.0, evidence.larger.claimed().size.0);
        let file = out.map(|out| out.join(format!("{}-{}-{n}.evidence", evidence.owner, evidence.log)));
        text.push_str(&format!(
            "\n  `{}/{}` at sizes {a} and {b}, found by `{}` at {}: {}",
            evidence.owner,
            evidence.log,
            evidence.finder,
            evidence.at.rfc3339(),
            match &cleared {
                None if evidence.owner == client.member => "about this member itself / 涉及本成员".to_owned(),
                None => "frozen / 已冻结".to_owned(),
                Some(cleared) => format!("cleared at {}: {} / 已解除", cleared.at.rfc3339(), cleared.reason),
            }
        ));
        if let Some(file) = &file {
            text.push_str(&format!("\n    {}", file.display()));
        }
        values.push(json!({
            "owner": evidence.owner.as_str(), "log": evidence.log.as_str(), "sizes": [a, b],
            "finder": evidence.finder.as_str(), "at": evidence.at.rfc3339(), "file": file,
            "cleared": cleared.map(|c| json!({ "at": c.at.rfc3339(), "reason": c.reason })),
        }));
        if let Some(file) = file {
            write(&file, &codec::to_vec(&Artifact::Evidence(Box::new(evidence))))?;
        }
    }
    Ok(Output::new(json!({ "evidence": values }), text))
}

/// What verified evidence says.
pub(crate) fn conviction(convicted: &Convicted) -> Output {
    let evidence = convicted.evidence();
    let (a, b) = (evidence.smaller.claimed(), evidence.larger.claimed());
    Output::new(
        json!({ "ok": true, "kind": "evidence", "convicts": evidence.owner.as_str(), "log": evidence.log.as_str(),
                "sizes": [a.size.0, b.size.0], "roots": [a.root.to_string(), b.root.to_string()],
                "finder": evidence.finder.as_str(), "at": evidence.at.rfc3339() }),
        format!(
            "evidence holds and convicts `{owner}`: its key has signed two histories of `{owner}/{log}`, at sizes {} and {}; \
             found by `{}` at {} / 证据有效：`{owner}` 为日志 `{log}` 签署了互相矛盾的版本",
            a.size,
            b.size,
            evidence.finder,
            evidence.at.rfc3339(),
            owner = evidence.owner,
            log = evidence.log,
        ),
    )
}

/// A reading pass as an Authorization header.
pub(crate) fn pass(at: &Unlock, minutes: u64) -> Result<String, Problem> {
    let mut keys = Keys::open(&at.dir, &passphrase(&at.passphrase)?)?;
    let home = Home::open(&at.dir)?;
    let reader = home.member()?;
    // An auditor's directory need not hold a registry: it reads logs of a federation that it names by a file.
    if let Ok((_, registry)) = home.registry() {
        choose(&mut keys, &registry, reader.as_str());
    }
    let now = clock::now();
    let until = now.plus_ms(minutes.saturating_mul(60_000).min(PASS_MS_MAX));
    Ok(authorization(&Signed::new(
        &keys.signing(),
        reader.as_str(),
        now,
        &Pass { reader: reader.clone(), until },
    )))
}

/// Copies a member's published log and verifies it on the way.
pub(crate) async fn export(
    registry: &Registry,
    member: &MemberId,
    log: LogName,
    out: &Path,
    header: &str,
) -> Result<Verified, Problem> {
    let at = &registry.member(member)?.stated.http;
    copy(registry, &format!("http://{at}/log/{log}"), out, header).await
}

async fn copy(registry: &Registry, url: &str, out: &Path, header: &str) -> Result<Verified, Problem> {
    let source = Published::open(url, Some(header.to_owned())).await?;
    std::fs::create_dir_all(out).map_err(|e| Problem::fault(format!("{}: {e}", out.display())))?;
    let (registry, out) = (registry.clone(), out.to_owned());
    let copied = tokio::task::spawn_blocking(move || {
        let keeping = Keeping { from: &source, dir: &out };
        let verified = verify::log(&keeping, &registry)?;
        write(&out.join("checkpoint"), source.checkpoint().as_bytes())?;
        write(
            &out.join("vkey"),
            format!("{}\n", registry.note_key(&verified.member, verified.log)?.vkey()).as_bytes(),
        )?;
        Ok(verified)
    });
    copied.await.map_err(|e| Problem::fault(e.to_string()))?
}

/// The parts of an access entry that a search looks at.
struct Access<'a> {
    asked: &'a AskedBy,
    disclosed: Option<&'a Disclosed>,
    withheld: &'a [Withheld],
}

impl<'a> Access<'a> {
    fn of(entry: &'a Entry) -> Option<Self> {
        match &entry.fact {
            Fact::Disclosed(d) => Some(Self { asked: &d.asked, disclosed: Some(d), withheld: &d.withheld }),
            Fact::Refused(Refused { asked, withheld }) => Some(Self { asked, disclosed: None, withheld }),
            _ => None,
        }
    }

    fn rules(&self) -> Vec<&str> {
        let allowed =
            self.disclosed.iter().flat_map(|d| &d.records).flat_map(|r| &r.fields).map(|f| f.rule.0.as_str());
        let judged = self.disclosed.iter().flat_map(|d| &d.checks).map(|c| c.rule.0.as_str());
        let mut rules: Vec<&str> =
            allowed.chain(judged).chain(self.withheld.iter().map(|w| w.rule.0.as_str())).collect();
        rules.sort_unstable();
        rules.dedup();
        rules
    }

    fn value(&self, index: u64, entry: &Entry) -> Value {
        let records = self.disclosed.map_or(0, |d| d.records.len());
        let checks = self.disclosed.map_or(0, |d| d.checks.len());
        json!({
            "index": index, "at": entry.at.rfc3339(), "outcome": if self.disclosed.is_some() { "disclosed" } else { "refused" },
            "asker": self.asked.asker.as_str(), "clerk": self.asked.clerk.as_str(), "purpose": self.asked.purpose.as_str(),
            "question": self.asked.question.to_string(), "records": records, "checks": checks, "rules": self.rules(),
        })
    }
}

/// An access as JSON: asked for, or pushed by a duty.
pub(crate) fn access_value(index: u64, entry: &Entry) -> Option<Value> {
    match &entry.fact {
        Fact::Pushed(pushed) => Some(json!({
            "index": index, "at": entry.at.rfc3339(), "outcome": "pushed", "asker": pushed.to.as_str(),
            "records": 1, "rules": [pushed.rule],
        })),
        _ => Access::of(entry).map(|access| access.value(index, entry)),
    }
}

/// What an auditor searches for, as JSON: accesses, refusals, and who has read entries of logs.
fn searched_value(index: u64, entry: &Entry) -> Option<Value> {
    match &entry.fact {
        Fact::Read(Read { reader, owner, log, size, pass, .. }) => Some(json!({
            "index": index, "at": entry.at.rfc3339(), "outcome": "read", "asker": reader.as_str(),
            "log": format!("{owner}/{log}"), "size": size, "pass": pass.to_string(),
        })),
        Fact::TurnedAway(TurnedAway { question, asker, caller, code, count }) => Some(json!({
            "index": index, "at": entry.at.rfc3339(), "outcome": "turned-away", "asker": asker.as_str(),
            "caller": caller.as_str(), "code": code, "count": count, "question": question.to_string(),
        })),
        _ => access_value(index, entry),
    }
}

pub(crate) fn access_line(value: &Value) -> String {
    let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
    if value["outcome"] == "read" {
        let (index, size) = (&value["index"], &value["size"]);
        return format!("  #{index} {} {} read `{}`, {size} entries", text("at"), text("asker"), text("log"));
    }
    if value["outcome"] == "turned-away" {
        let (index, count) = (&value["index"], &value["count"]);
        let [at, asker, caller, code] = ["at", "asker", "caller", "code"].map(text);
        return format!(
            "  #{index} {at} {count} questions of {asker} turned away with {code}, brought by {caller}"
        );
    }
    if value["outcome"] == "pushed" {
        let (index, rule) = (&value["index"], value["rules"][0].as_str().unwrap_or_default());
        return format!("  #{index} {} pushed to {} to be published, rule {rule}", text("at"), text("asker"));
    }
    format!(
        "  #{} {} {} by {} ({}) for {}, {} records{}, rules {}",
        value["index"],
        text("at"),
        text("outcome"),
        text("asker"),
        text("clerk"),
        text("purpose"),
        value["records"],
        value["checks"].as_u64().filter(|n| *n > 0).map_or(String::new(), |n| format!(", {n} checks")),
        value["rules"].as_array().map_or(String::new(), |r| r
            .iter()
            .filter_map(Value::as_str)
            .collect::<Vec<_>>()
            .join(" "))
    )
}
