//! Verifying without a node: files, exported logs, published logs; trust comes from a registry file alone. Proofs in open
//! forms are in `proof`.

use std::{collections::VecDeque, path::Path};

use ::node::{Problem, clock, home::read_registry, keys::Keys};
use credit::{
    entry::{Entry, Fact},
    id::MemberId,
};
use crypto::{Digest, Timestamp, codec, merkle};
use exchange::{
    artifact::{Artifact, status_fact},
    bundle::AuditBundle,
    limits::RECORDS_PER_BATCH_MAX,
    logs::LogName,
    registry::Registry,
};
use ledger::{
    audit::{LogSource, audit},
    checkpoint::{Checkpoint, SignedCheckpoint},
    tree::{Frontier, LeafIndex},
};
use serde_json::{Value, json};

use crate::{
    args::Verify,
    cmd::{
        accesses, audit, bundle, certify, erase, grant::signer, kept, proof, propagated, read,
        read_passphrase,
    },
    fetch::{Exported, Published},
    output::Output,
};

pub(crate) async fn run(args: Verify) -> Result<Output, Problem> {
    if let Some(text) = &args.text {
        return certify::verify_text(text, args.registry.as_deref(), &args.about);
    }
    let path = Path::new(&args.what);
    let url = args.what.starts_with("http://");
    let file = if url || path.is_dir() { None } else { Some(read(path)?) };
    if let Some(bytes) = &file
        && let Some(verified) = certify::verify_file(&args, path, bytes)
    {
        return verified;
    }
    if let Some(bytes) = &file
        && let Some(form) = proof::Form::of(bytes)
    {
        if args.registry.is_none() && args.policy.is_none() {
            return Err(unjudged(&args.what));
        }
        return proof::verify(&args, form, path, bytes);
    }
    let kind = file.as_deref().map(codec::from_slice::<Artifact>);
    if args.about.subject.is_some()
        && !matches!(kind, Some(Ok(Artifact::Repair(_) | Artifact::Certificate(_))))
    {
        return Err(Problem::new(
            format!(
                "{} is no certificate of a decision, and nothing else is held against a document number",
                args.what
            ),
            "leave out --subject, --document and --item",
            "请去掉 --subject、--document 与 --item",
        ));
    }
    // A bundle brings its registry; without one of the reader's own it is judged by that, and says so.
    if let (Some(Ok(Artifact::Bundle(bundle))), None, None) = (&kind, &args.registry, &args.policy) {
        let checked = bundle.verify(None)?;
        demand_all(bundle, &checked.registry, args.require_witnesses)?;
        let mut shown = bundle::bundle_shown(bundle, &checked);
        shown.text.push_str(
            "\n  judged by the registry inside: compare its digest with one you trust, or give --registry / 依据包内登记表验证：请核对其摘要，或给出 --registry",
        );
        return Ok(shown);
    }
    let registry = args.registry.as_ref().ok_or_else(|| {
        if args.policy.is_none() {
            return unjudged(&args.what);
        }
        Problem::new(
            format!(
                "{} is neither a tlog-proof nor a COSE receipt, and a policy judges nothing else",
                args.what
            ),
            "give --registry in place of --policy",
            "请用 --registry 代替 --policy",
        )
    })?;
    let registry = read_registry(registry)?.accept(None)?;
    if url {
        let source = Published::open(&args.what, args.auth).await?;
        return log_output(
            tokio::task::spawn_blocking(move || log(&source, &registry)).await,
            args.require_witnesses,
        );
    }
    let Some(kind) = kind else {
        let source = Exported::open(path)?;
        return log_output(
            tokio::task::spawn_blocking(move || log(&source, &registry)).await,
            args.require_witnesses,
        );
    };
    let unknown = |_| {
        Problem::new(
            format!("{} is no file of this system", path.display()),
            "give a receipt, certificate, erasure certificate, grant, answer, registry, evidence, discrepancy, audit bundle or proof, an exported log's directory, or a log's URL",
            "请提供回执、传播证明、删除证明、授权书、查询结果、登记表、证据、差异证据、稽核包、日志证明文件，或导出的日志目录、日志地址",
        )
    };
    let artifact = kind.map_err(unknown)?;
    let keys = match (&args.open_with, &args.passphrase_file) {
        (Some(dir), Some(file)) => Some(Keys::open(dir, &read_passphrase(file)?)?),
        _ => None,
    };
    self::artifact(&artifact, &registry, keys.as_ref(), &args)
}

/// What is to be verified brings no registry, and none was given.
fn unjudged(what: &str) -> Problem {
    Problem::new(
        format!("{what} needs a registry to be judged by"),
        "give --registry, or --policy for a tlog-proof or a COSE receipt",
        "请给出 --registry；日志证明与 COSE 回执也可用 --policy",
    )
}

fn log_output(
    joined: Result<Result<Verified, Problem>, tokio::task::JoinError>,
    require_witnesses: bool,
) -> Result<Output, Problem> {
    let verified = joined.map_err(|e| Problem::fault(e.to_string()))??;
    let Checkpoint { origin, size, root } = &verified.checkpoint;
    demand(verified.witnesses, require_witnesses)?;
    let (found, needed) = verified.witnesses;
    Ok(Output::new(
        json!({ "ok": true, "origin": origin, "size": size.0, "root": root.to_string(), "signatures": verified.signatures,
                "cosigned": found, "cosignatures_needed": needed }),
        format!(
            "{origin}: {size} entries, every tile, chain link, the checkpoint and {} statements hold; {} / 日志验证通过",
            verified.signatures,
            match needed {
                0 => "this federation has no witnesses".to_owned(),
                _ => format!("cosigned by {found} witnesses, {needed} make it believable"),
            }
        ),
    ))
}

/// Refuses what too few witnesses have cosigned, when that was demanded.
pub(crate) fn demand((found, needed): (usize, usize), required: bool) -> Result<(), Problem> {
    if required && (found < needed || needed == 0) {
        return Err(Problem::new(
            format!("cosigned by {found} witnesses, and {needed} are needed"),
            "fetch a newer checkpoint, or ask the member why its witnesses do not cosign",
            "请获取更新的检查点，或询问该成员为何未获见证",
        ));
    }
    Ok(())
}

/// As [`demand`], of every checkpoint on which a bundle rests.
fn demand_all(bundle: &AuditBundle, registry: &Registry, required: bool) -> Result<(), Problem> {
    for (member, note) in bundle.checkpoints() {
        let Checkpoint { origin, size, .. } = note.claimed();
        demand(registry.witnessed(member, note)?, required).map_err(|problem| {
            let what = format!("`{origin}` at {size} entries: {}", problem.what);
            Problem { what, ..problem }
        })?;
    }
    Ok(())
}

/// Refuses a demand for cosignatures where there can be none: witnesses cosign checkpoints, and this has none.
fn cosigned(artifact: &Artifact) -> Result<(), Problem> {
    let what = match artifact {
        Artifact::Grant(_) => "a grant",
        Artifact::Binding(_) => "a key binding",
        Artifact::Order(_) => "an order",
        Artifact::Answer { .. } => "an answer",
        Artifact::Accesses(_) => "a subject's list of accesses",
        Artifact::Evidence(_) => "evidence of two histories",
        Artifact::Registry(_) => "a registry",
        Artifact::Receipt(_)
        | Artifact::Certificate(_)
        | Artifact::Erasure(_)
        | Artifact::Repair(_)
        | Artifact::Discrepancy(_)
        | Artifact::Bundle(_) => return Ok(()),
    };
    Err(Problem::new(
        format!("{what} carries no cosignatures that could make it believable"),
        "leave --require-witnesses out, and demand them of the members' published logs",
        "请去掉 --require-witnesses，并在验证各成员公布的日志时使用该选项",
    ))
}

/// A log that was verified from its first entry to its checkpoint.
pub(crate) struct Verified {
    pub(crate) member: MemberId,
    pub(crate) log: LogName,
    pub(crate) checkpoint: Checkpoint,
    /// Statements whose signatures were checked, besides the checkpoint's.
    pub(crate) signatures: u64,
    /// Witnesses that have cosigned the checkpoint, and how many the policy demands.
    pub(crate) witnesses: (usize, usize),
    /// The entries, for logs other than `records`.
    pub(crate) entries: Vec<(u64, Digest, Entry)>,
}

/// Verifies a whole log: checkpoint signature, every tile, every chain link, every statement.
pub(crate) fn log(source: &dyn LogSource, registry: &Registry) -> Result<Verified, Problem> {
    log_and_root_at(source, registry, 0).map(|(verified, _)| verified)
}

/// As [`log`], with the root over its first `size` entries, which an earlier checkpoint of that size must have; `None` where it
/// has fewer.
pub(crate) fn log_and_root_at(
    source: &dyn LogSource,
    registry: &Registry,
    size: u64,
) -> Result<(Verified, Option<Digest>), Problem> {
    let fails = |what: String| {
        Problem::new(
            what,
            "do not rely on this log; compare it with another copy and ask the member",
            "请勿采信该日志；请与其他副本比对并联系该成员",
        )
    };
    let claimed =
        SignedCheckpoint::parse(&source.checkpoint()).map_err(|e| fails(format!("checkpoint: {e}")))?;
    let (member, name) = owner(registry, &claimed.claimed().origin)
        .ok_or_else(|| fails(format!("`{}` is no log of this federation", claimed.claimed().origin)))?;
    let key = registry.key_of(&member, name, &claimed)?;
    let witnesses = registry.witnessed(&member, &claimed)?;
    let mut chain = Chain::new(registry, member.clone(), name);
    let mut earlier = Frontier::default();
    let mut visit = |index: LeafIndex, bytes: &[u8], leaf: &Digest| {
        if index.0 < size {
            earlier.append(*leaf);
        }
        chain.visit(index, bytes, leaf)
    };
    let checkpoint = audit(source, &key, &mut visit).map_err(|e| fails(format!("{member}/{name}: {e}")))?;
    let root = (earlier.size().0 == size).then(|| earlier.root());
    let Chain { signatures, entries, .. } = chain;
    Ok((Verified { member, log: name, checkpoint, signatures, witnesses, entries }, root))
}

pub(crate) fn owner(registry: &Registry, origin: &str) -> Option<(MemberId, LogName)> {
    registry.members.iter().find_map(|m| {
        let log =
            LogName::ALL.into_iter().find(|l| l.origin(&registry.federation, &m.stated.id) == origin)?;
        Some((m.stated.id.clone(), log))
    })
}

/// What is checked entry by entry: the chain, and the signatures inside.
struct Chain<'a> {
    registry: &'a Registry,
    member: MemberId,
    log: LogName,
    prev: Digest,
    /// Leaf hashes a `Batched` entry may still cover.
    recent: VecDeque<Digest>,
    signatures: u64,
    entries: Vec<(u64, Digest, Entry)>,
}

impl<'a> Chain<'a> {
    fn new(registry: &'a Registry, member: MemberId, log: LogName) -> Self {
        let (recent, entries) = (VecDeque::new(), Vec::new());
        Self { registry, member, log, prev: Digest::ZERO, recent, signatures: 0, entries }
    }

    fn visit(&mut self, index: LeafIndex, bytes: &[u8], leaf: &Digest) -> Result<(), String> {
        let entry = Entry::from_bytes(bytes).map_err(|e| e.to_string())?;
        if entry.prev != self.prev {
            return Err("it does not name the entry before it".into());
        }
        match &entry.fact {
            Fact::Status(signed) => {
                if signed.issuer() != self.member.as_str() {
                    return Err("it is signed by another member".into());
                }
                self.registry.verify_logged(signed).map_err(|e| e.to_string())?;
                self.signatures += 1;
            }
            Fact::Batched(signed) => {
                if signed.issuer() != self.member.as_str() {
                    return Err("it is signed by another member".into());
                }
                let batch = self.registry.verify_logged(signed).map_err(|e| e.to_string())?.into_inner();
                self.signatures += 1;
                let covered = batch.first.checked_add(batch.count) == Some(index.0)
                    && batch.count <= self.recent.len() as u64;
                let start = self.recent.len().saturating_sub(batch.count as usize);
                let leaves: Vec<Digest> = self.recent.iter().skip(start).copied().collect();
                if !covered || merkle::root(&leaves) != batch.root {
                    return Err("its signature covers other entries than those before it".into());
                }
            }
            _ => {}
        }
        self.prev = *leaf;
        self.recent.push_back(*leaf);
        if self.recent.len() > RECORDS_PER_BATCH_MAX {
            self.recent.pop_front();
        }
        if self.log != LogName::Records {
            self.entries.push((index.0, *leaf, entry));
        }
        Ok(())
    }
}

/// What is signed and was good until a time: past it the signature holds, and nothing rests on it any more.
fn dated(mut value: Value, mut text: String, not_after: Timestamp) -> Output {
    let expired = clock::now() >= not_after;
    if expired {
        text.push_str("\n  its time is over: nobody acts on it any more / 已过有效期，不再具有效力");
    }
    (value["ok"], value["signature"], value["expired"]) = (json!(!expired), json!(true), json!(expired));
    Output::judged(value, text, !expired)
}

/// Verifies a file of this system.
pub(crate) fn artifact(
    artifact: &Artifact,
    registry: &Registry,
    keys: Option<&Keys>,
    args: &Verify,
) -> Result<Output, Problem> {
    let require_witnesses = args.require_witnesses;
    if require_witnesses {
        cosigned(artifact)?;
    }
    match artifact {
        Artifact::Receipt(receipt) => {
            let proven = receipt.verify(registry)?;
            let witnesses = registry.witnessed(&receipt.member, &receipt.checkpoint)?;
            demand(witnesses, require_witnesses)?;
            if proven.log == LogName::Status {
                status_fact(registry, &proven)?;
            }
            Ok(Output::new(
                json!({ "ok": true, "kind": "receipt", "member": proven.member.as_str(), "log": proven.log.as_str(), "index": proven.index }),
                format!(
                    "receipt holds: entry {} of `{}/{}`, at {} / 回执有效",
                    proven.index,
                    proven.member,
                    proven.log,
                    proven.entry.at.rfc3339()
                ),
            ))
        }
        Artifact::Certificate(certificate) => {
            let checked = certificate.verify(registry)?;
            for receipt in certificate.acknowledged.iter().chain([&certificate.event]) {
                demand(registry.witnessed(&receipt.member, &receipt.checkpoint)?, require_witnesses)?;
            }
            let found = certify::Match::of(checked.about, certify::about(&args.about)?.as_ref());
            let mut value = propagated::value(&checked, registry);
            (value["ok"], value["kind"]) = (json!(found.confirmed()), json!("certificate"));
            value["about"] = json!(found.as_str());
            let names =
                |names: Vec<&str>| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            let text = format!(
                "{}: entry {} of `{}`, acknowledged by {}; missing: {} / {}{}\n  subject and document number 号码与文号: {}",
                if found.confirmed() {
                    "certificate holds"
                } else {
                    "certificate DOES NOT BELONG to this matter"
                },
                checked.event.index,
                checked.event.member,
                names(checked.acknowledged.iter().map(|(m, _)| m.as_str()).collect()),
                names(checked.missing.iter().map(MemberId::as_str).collect()),
                if found.confirmed() {
                    "传播证明有效"
                } else {
                    "传播证明与所填号码、文号不符"
                },
                propagated::lines(&checked, registry),
                found.line()
            );
            Ok(Output::judged(value, text, found.confirmed()))
        }
        Artifact::Grant(signed) => {
            let grant = registry.verify_grant(signed)?.into_inner();
            let (by, by_zh) = signer(&grant);
            let (signed_by, lets) = match grant.binding {
                Some(_) => ("subject", "its subject".to_owned()),
                None => ("collector", format!("`{}`", grant.collector)),
            };
            let until = grant.not_after.rfc3339();
            let value = json!({ "kind": "grant", "collector": grant.collector.as_str(), "grantee": grant.grantee.as_str(),
                        "subject": grant.subject.masked(), "not_after": until, "keep_days": grant.keep_days, "signed_by": signed_by,
                        "not_checked": ["paused", "revoked", "uses", "key-withdrawn"] });
            let text = format!(
                "grant's signature holds: {lets} lets `{}` ask about {} until {until}; signed by {by} / 授权书签名有效，{by_zh}\n  \
                 not checked, for only a node knows it: whether it is paused, revoked or used up, or its key withdrawn; see `grant show --dir` / 未核对是否已暂停、撤回、用完或密钥已注销：请用 `grant show --dir` 查询",
                grant.grantee,
                grant.subject.masked(),
            );
            Ok(dated(value, text, grant.not_after))
        }
        Artifact::Binding(signed) => {
            let binding = registry.verify(signed)?.into_inner();
            let (subject, until) = (binding.subject.masked(), binding.not_after.rfc3339());
            let value = json!({ "kind": "key-binding", "collector": signed.issuer(), "subject": subject,
                        "key": binding.key.to_string(), "not_after": until, "not_checked": ["key-withdrawn"] });
            let text = format!(
                "key binding holds: `{}` vouches that key {} is of {subject}, until {until} / 密钥绑定签名有效\n  \
                 not checked, for only a node knows it: whether the key is withdrawn / 未核对该密钥是否已注销",
                signed.issuer(),
                binding.key
            );
            Ok(dated(value, text, binding.not_after))
        }
        Artifact::Order(signed) => {
            let order = registry.verify_order(signed)?.into_inner();
            let ((news, zh), grant) = (order.change.words(), order.grant.digest());
            Ok(Output::new(
                json!({ "ok": true, "kind": "grant-order", "grant": grant.to_string(), "change": news, "at": order.at.rfc3339() }),
                format!(
                    "order holds, signed by the subject: {news} {grant} of {} / 指令有效，由主体签署：{zh}",
                    order.at.rfc3339()
                ),
            ))
        }
        Artifact::Answer { question, parts } => kept::verify(question, parts, registry, keys),
        Artifact::Erasure(certificate) => {
            for receipt in &certificate.entries {
                demand(registry.witnessed(&receipt.member, &receipt.checkpoint)?, require_witnesses)?;
            }
            Ok(erase::shown(&certificate.verify(registry)?))
        }
        Artifact::Repair(certificate) => {
            let receipt = &certificate.receipt;
            demand(registry.witnessed(&receipt.member, &receipt.checkpoint)?, require_witnesses)?;
            certify::proven(certificate, registry, &args.about)
        }
        Artifact::Discrepancy(found) => {
            let checked = found.verify(registry)?;
            let notes = [
                (&found.entry.member, &found.entry.checkpoint),
                (&found.other.member, &found.other.checkpoint),
            ];
            for (member, note) in notes {
                demand(registry.witnessed(member, note)?, require_witnesses)?;
            }
            Ok(bundle::discrepancy_shown(&checked))
        }
        Artifact::Bundle(bundle) => {
            let checked = bundle.verify(Some(registry))?;
            demand_all(bundle, registry, require_witnesses)?;
            Ok(bundle::bundle_shown(bundle, &checked))
        }
        Artifact::Accesses(list) => Ok(accesses::said(&registry.verify(list)?)),
        Artifact::Evidence(evidence) => Ok(audit::conviction(&evidence.verify(registry)?)),
        Artifact::Registry(signed) => {
            let accepted = signed.accept(None)?;
            Ok(Output::new(
                json!({ "ok": true, "kind": "registry", "version": accepted.version }),
                format!("{accepted}: enough governors have approved it / 登记表有效"),
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_past_its_time_is_signed_and_no_success() {
        let over = dated(json!({ "kind": "grant" }), "holds".to_owned(), Timestamp(1));
        assert_eq!(
            (over.ok, &over.json["signature"], &over.json["expired"]),
            (false, &json!(true), &json!(true))
        );
        assert!(over.text.contains("its time is over"), "{}", over.text);
        let good = dated(json!({ "kind": "grant" }), "holds".to_owned(), clock::now().plus_ms(60_000));
        assert_eq!((good.ok, good.text.as_str()), (true, "holds"));
    }
}
