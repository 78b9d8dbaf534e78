//! What an auditor does with access logs, and what a subject does with its own list.

use std::{collections::BTreeMap, path::Path, time::Duration};

use ::node::{Problem, clock, home::Home, http::authorization, keys::Keys};
use credit::{
    entry::{AskedBy, Disclosed, Entry, Fact, Refused, Withheld},
    id::MemberId,
};
use crypto::{Digest, codec, pseudonym::subject_link, secret::Secret, sign::Signed};
use exchange::{
    artifact::Artifact,
    evidence::{Convicted, EvidenceRow},
    logs::LogName,
    pass::{PASS_MS_MAX, Pass},
    registry::Registry,
    wire::{Operation, Response},
};
use ledger::audit::LogSource;
use serde_json::{Value, json};

use crate::{
    args::{Audit, Unlock},
    client::{Client, member_id, unexpected},
    cmd::{erase, log_name, passphrase, proof, purpose, subject, verify, verify::Verified, write},
    fetch::{Exported, Keeping, Published},
    output::Output,
};

pub(crate) async fn run(verb: Audit) -> Result<Output, Problem> {
    match verb {
        Audit::Pass { minutes, at } => {
            let header = pass(&at, minutes)?;
            Ok(Output::new(json!({ "authorization": header, "minutes": minutes }), header))
        }
        Audit::Export { member, log, out, at } => {
            let log = log_name(&log)?;
            let header = pass(&at, 30)?;
            let (_, registry) = Home::open(&at.dir)?.registry()?;
            let verified = export(&registry, &member_id(&member)?, log, &out, &header).await?;
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
        Audit::Search { log, asker, purpose: word, clerk, rule } => {
            let wanted = word.as_deref().map(purpose).transpose()?;
            let found: Vec<Value> = entries(&log)?
                .iter()
                .filter_map(|(index, entry)| Some((index, entry, Access::of(entry)?)))
                .filter(|(_, _, a)| asker.as_ref().is_none_or(|w| a.asked.asker.as_str() == w))
                .filter(|(_, _, a)| wanted.is_none_or(|w| a.asked.purpose == w))
                .filter(|(_, _, a)| clerk.as_ref().is_none_or(|w| a.asked.clerk.as_str() == w))
                .filter(|(_, _, a)| rule.as_ref().is_none_or(|w| a.rules().contains(&w.as_str())))
                .map(|(index, entry, a)| a.value(*index, entry))
                .collect();
            let lines: Vec<String> = found.iter().map(access_line).collect();
            Ok(Output::new(
                json!({ "entries": found }),
                format!("{} entries\n{}", lines.len(), lines.join("\n")).trim_end(),
            ))
        }
        Audit::Evidence { out, node } => evidence(out.as_deref(), &node.dir).await,
        Audit::CrossCheck { asker, member } => cross_check(&entries_of(&asker)?, &entries_of(&member)?),
        Audit::Erasure { record, out, node } => erase::certificate(&record, out.as_deref(), &node.dir).await,
        Audit::Subject { subject: who, log, node } => {
            let client = Client::open(&node.dir)?;
            let response = client.operate(Operation::SubjectAccess(subject(&who)?)).await?;
            let Response::SubjectAccess { key, count } = response else { return Err(unexpected(&response)) };
            let source = Exported::open(&log)?;
            let registry = client.registry;
            let verified = verify::log(&source, &registry)?;
            if verified.member != client.member || verified.log != LogName::Access {
                return Err(Problem::new(
                    format!("{} is not the access log of `{}`", log.display(), client.member),
                    "export that log and give its directory",
                    "请导出该成员的访问日志",
                ));
            }
            complete(&verified, &key, count)
        }
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
    let keys = Keys::open(&at.dir, &passphrase(&at.passphrase)?)?;
    let reader = Home::open(&at.dir)?.member()?;
    let now = clock::now();
    let until = now.plus_ms(minutes.saturating_mul(60_000).min(PASS_MS_MAX));
    Ok(authorization(&Signed::new(
        &keys.signing(),
        reader.as_str(),
        now,
        &Pass { reader: reader.clone(), until },
    )))
}

/// Copies a published log and verifies it on the way.
pub(crate) async fn export(
    registry: &Registry,
    member: &MemberId,
    log: LogName,
    out: &Path,
    header: &str,
) -> Result<Verified, Problem> {
    let at = &registry.member(member)?.stated.http;
    let source = Published::open(&format!("http://{at}/log/{log}"), Some(header.to_owned())).await?;
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

fn access_line(value: &Value) -> String {
    let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
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

/// The entries of an exported log, for reading; `verify` is what proves them.
fn entries(dir: &Path) -> Result<Vec<(u64, Entry)>, Problem> {
    Ok(entries_of(dir)?.1.into_iter().map(|(index, _, entry)| (index, entry)).collect())
}

/// One side of a cross-check: whose log, and its entries with their leaf hashes.
pub(crate) type Side = (MemberId, Vec<(u64, Digest, Entry)>);

fn entries_of(dir: &Path) -> Result<Side, Problem> {
    let source = Exported::open(dir)?;
    let checkpoint = ledger::checkpoint::SignedCheckpoint::parse(&source.checkpoint()).map_err(|e| {
        Problem::new(format!("{}: {e}", dir.display()), "export the log again", "请重新导出日志")
    })?;
    let claimed = checkpoint.claimed();
    let owner = claimed.origin.split('/').nth(2).and_then(MemberId::parse);
    let owner = owner
        .ok_or_else(|| Problem::new("not a log of this system", "export the log again", "请重新导出日志"))?;
    let mut entries = Vec::new();
    let size = claimed.size;
    for n in 0..size.0.div_ceil(ledger::tile::TILE_WIDTH) {
        let width = ledger::tile::bundle_width_at(n, size);
        let path = ledger::tile::Tile::entries(n, width).map(|t| t.path()).unwrap_or_default();
        let bytes = source.resource(&path).map_err(Problem::fault)?.ok_or_else(|| {
            Problem::new(format!("{path} is missing"), "export the log again", "请重新导出日志")
        })?;
        let bundle = ledger::tile::decode_bundle(&bytes).map_err(|e| Problem::fault(e.to_string()))?;
        for bytes in bundle {
            let leaf = crypto::merkle::leaf_hash(bytes);
            let entry = Entry::from_bytes(bytes).map_err(|e| Problem::fault(e.to_string()))?;
            entries.push((entries.len() as u64, leaf, entry));
        }
    }
    Ok((owner, entries))
}

/// Lays an asker's log beside a member's: every access must stand on both sides, with the same entry.
pub(crate) fn cross_check(asker: &Side, member: &Side) -> Result<Output, Problem> {
    // question digest → (index, leaf hash) on each side
    let mut theirs: BTreeMap<Digest, (u64, Digest)> = BTreeMap::new();
    for (_, _, entry) in &asker.1 {
        if let Fact::Received(received) = &entry.fact
            && received.from == member.0
        {
            theirs.insert(received.question, (received.index, received.leaf));
        }
    }
    let mut ours: BTreeMap<Digest, (u64, Digest)> = BTreeMap::new();
    for (index, leaf, entry) in &member.1 {
        if let Some(access) = Access::of(entry)
            && access.asked.asker == asker.0
        {
            ours.insert(access.asked.question, (*index, *leaf));
        }
    }
    let only = |a: &BTreeMap<Digest, (u64, Digest)>, b: &BTreeMap<Digest, (u64, Digest)>| -> Vec<Value> {
        a.iter()
            .filter(|(q, _)| !b.contains_key(*q))
            .map(|(q, (i, _))| json!({ "question": q.to_string(), "entry": i }))
            .collect()
    };
    let (only_asker, only_member) = (only(&theirs, &ours), only(&ours, &theirs));
    let differing: Vec<String> = theirs
        .iter()
        .filter(|(q, seen)| ours.get(*q).is_some_and(|o| o != *seen))
        .map(|(q, _)| q.to_string())
        .collect();
    let equal = theirs.iter().filter(|(q, seen)| ours.get(*q) == Some(*seen)).count();
    let ok = only_asker.is_empty() && only_member.is_empty() && differing.is_empty();
    let text = format!(
        "`{}` and `{}`: {equal} accesses stand equal on both sides; only the asker has {}, only the member {}, different {} / {}",
        asker.0,
        member.0,
        only_asker.len(),
        only_member.len(),
        differing.len(),
        if ok { "双方一致" } else { "双方不一致" }
    );
    let value = json!({
        "asker": asker.0.as_str(), "member": member.0.as_str(), "equal": equal, "only_asker": only_asker,
        "only_member": only_member, "differing": differing, "ok": ok,
    });
    Ok(Output::judged(value, text, ok))
}

/// Checks that the log holds exactly the `count` accesses that the subject's key links, and one no further.
pub(crate) fn complete(verified: &Verified, key: &Digest, count: u64) -> Result<Output, Problem> {
    let key = Secret::new(key.0);
    let linked: BTreeMap<_, _> = verified
        .entries
        .iter()
        .filter_map(|(index, _, entry)| Some((Access::of(entry)?.asked.subject_link, (index, entry))))
        .collect();
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for n in 0..count {
        match linked.get(&subject_link(&key, n)) {
            Some((index, entry)) => found.extend(Access::of(entry).map(|a| a.value(**index, entry))),
            None => missing.push(n),
        }
    }
    let more = linked.contains_key(&subject_link(&key, count));
    let ok = missing.is_empty() && !more;
    let lines: Vec<String> = found.iter().map(access_line).collect();
    let verdict = if ok {
        "the list is complete / 访问记录完整"
    } else {
        "the list is NOT complete / 访问记录不完整"
    };
    let text = format!(
        "{count} accesses by the member's count, {} in the log: {verdict}\n{}",
        found.len(),
        lines.join("\n")
    );
    let value = json!({ "count": count, "found": found, "missing": missing, "more": more, "ok": ok });
    Ok(Output::judged(value, text.trim_end(), ok))
}
