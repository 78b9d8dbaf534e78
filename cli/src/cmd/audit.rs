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
use credit::subject::SubjectId;
use crypto::{Digest, codec, sign::Signed};
use exchange::{
    artifact::Artifact,
    evidence::{Convicted, EvidenceRow},
    mandate::MandateDraft,
    pass::{PASS_MS_MAX, Pass},
    wire::{Operation, Response},
};
use serde_json::{Value, json};

use crate::{
    args::{Audit, Unlock},
    cmd::{
        accesses, bundle, cross_check, erase, export, log_name, misuse,
        new_file::{directory, write_once},
        paper_digest, passphrase, proof, search,
    },
    output::Output,
};

pub(crate) async fn run(verb: Audit) -> Result<Output, Problem> {
    match verb {
        Audit::Pass { minutes, at } => {
            let header = pass(&at, minutes)?;
            Ok(Output::new(json!({ "authorization": header, "minutes": minutes }), header))
        }
        Audit::Export { member, log, from, out, at } => {
            export::run(export::Wanted { member, log, from }, &out, &at).await
        }
        Audit::Proof { log, index, form, out, wait, unwitnessed, node } => {
            let wanted = proof::Wanted { log: log_name(&log)?, index, form: proof::Form::parse(&form)? };
            proof::write(&wanted, &out, Duration::from_secs(wait), unwitnessed, &node.dir).await
        }
        Audit::Bundle { member, first, limit, with, out, at } => {
            bundle::write_bundle(bundle::Wanted { member, first, limit, with }, &out, &at).await
        }
        Audit::Identities { member, first, last, reason, paper, hours, node } => {
            let (paper, end) = (paper_digest(&paper)?, last.saturating_add(1));
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
        Audit::Search { log, registry, asker, purpose, clerk, rule, from, to, start, limit } => {
            let wanted =
                search::Wanted { log, registry, asker, purpose, clerk, rule, from, to, start, limit };
            search::run(&wanted)
        }
        Audit::Evidence { out, node } => evidence(out.as_deref(), &node.dir).await,
        Audit::Misuse { log, certificates, registry } => misuse::run(&log, &certificates, &registry),
        Audit::CrossCheck { asker, member, outlet, registry, out } => {
            let registry = read_registry(&registry)?.accept(None)?;
            let [asking, answering] = [&asker, &member].map(|dir| cross_check::side(dir, &registry));
            let (asking, answering) = (asking?, answering?);
            let outlet = outlet.map(|dir| cross_check::side(&dir, &registry)).transpose()?;
            let mut output = cross_check::cross_check(&asking, &answering, outlet.as_ref(), &registry)?;
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
        directory(out)?;
    }
    let (mut values, mut text) =
        (Vec::new(), format!("{} pieces of evidence / 证据 {} 份", rows.len(), rows.len()));
    for EvidenceRow { evidence, cleared } in rows {
        let bytes = codec::to_vec(&Artifact::Evidence(Box::new(evidence.clone())));
        let (a, b) = (evidence.smaller.claimed().size.0, evidence.larger.claimed().size.0);
        // The same piece has the same name whatever else is found.
        let name = || format!("{}-{}-{}.evidence", evidence.owner, evidence.log, Digest::of(&bytes));
        let file = out.map(|out| out.join(name()));
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
            write_once(&file, &bytes)?;
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
