//! What an auditor takes away as files: what only one of two logs has, and the portable bundle about a member.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use ::node::{
    Problem,
    client::{Client, member_id, unexpected},
    clock,
    home::Home,
};
use credit::{
    entry::{BasisRef, Entry, Fact, StatusFact},
    id::MemberId,
};
use crypto::{Bytes, Digest, codec, merkle, sign::Verified as Checked};
use exchange::{
    artifact::{Artifact, Certificate},
    bundle::{AuditBundle, CheckedBundle, CheckedDiscrepancy, Discrepancy, RUN_ENTRIES_MAX, Run},
    logs::LogName,
    propagation::concerns_platforms,
    receipt::Receipt,
    registry::Registry,
    wire::{Operation, Response},
};
use ledger::{audit::LogSource, checkpoint::SignedCheckpoint};
use serde_json::json;

use crate::{
    args::Unlock,
    cmd::{
        audit,
        new_file::{NewFile, write_once},
        positive, read, verify,
        verify::Verified,
    },
    fetch::{self, Published},
    output::Output,
};

/// One side's access log with everything needed to prove its entries.
pub(crate) struct Provable<'a> {
    pub(crate) member: &'a MemberId,
    pub(crate) entries: &'a [(u64, Digest, Entry)],
    pub(crate) checkpoint: SignedCheckpoint,
}

impl Provable<'_> {
    fn leaves(&self) -> Vec<Digest> {
        self.entries.iter().map(|(_, leaf, _)| *leaf).collect()
    }

    fn receipt(&self, index: u64) -> Option<Receipt> {
        let at = usize::try_from(index).ok()?;
        Some(Receipt {
            member: self.member.clone(),
            log: LogName::Access,
            index,
            entry: self.entries.get(at)?.2.to_bytes().into(),
            path: merkle::path(&self.leaves(), at),
            checkpoint: self.checkpoint.clone(),
        })
    }

    fn run(&self, first: usize, end: usize) -> Option<Run> {
        let bytes: Vec<Bytes> =
            self.entries.get(first..end)?.iter().map(|(_, _, entry)| entry.to_bytes().into()).collect();
        let (member, checkpoint) = (self.member.clone(), self.checkpoint.clone());
        Some(Run::build(member, LogName::Access, first as u64, bytes, &self.leaves(), checkpoint))
    }
}

/// Writes the access at `index` of one log, and the other log around that time. `None`: the other is too busy around then,
/// or empty, so that nothing can be judged from a file.
pub(crate) fn discrepancy(
    one: &Provable<'_>,
    index: u64,
    other: &Provable<'_>,
    out: &Path,
) -> Result<Option<PathBuf>, Problem> {
    let Some(entry) = one.receipt(index) else { return Ok(None) };
    let at = one.entries[index as usize].2.at;
    let times: Vec<_> = other.entries.iter().map(|(_, _, entry)| entry.at).collect();
    let (first, end) = Discrepancy::range(&times, at);
    if end - first > RUN_ENTRIES_MAX || first == end {
        return Ok(None);
    }
    let Some(run) = other.run(first, end) else { return Ok(None) };
    let file = out.join(format!("{}-{index}-{}.discrepancy", one.member, other.member));
    let artifact = Artifact::Discrepancy(Box::new(Discrepancy { entry, other: run }));
    write_once(&file, &codec::to_vec(&artifact))?;
    Ok(Some(file))
}

/// What a verified discrepancy says.
pub(crate) fn discrepancy_shown(checked: &CheckedDiscrepancy) -> Output {
    let CheckedDiscrepancy { entry, question, other, differs, looked_at: (first, last), conclusive } =
        checked;
    let found = match differs {
        Some(index) => format!("entry {index} says otherwise"),
        None => "no entry mirrors it".to_owned(),
    };
    let ends = if *conclusive {
        ""
    } else {
        "; that log ends too soon after it for its line to be missed for certain / 对方日志截止过早，尚不能断定缺失"
    };
    Output::new(
        json!({
            "ok": true, "kind": "discrepancy", "member": entry.member.as_str(), "entry": entry.index, "at": entry.entry.at.rfc3339(),
            "question": question.to_string(), "other": other.as_str(), "differs": differs, "looked_at": [first, last],
            "conclusive": conclusive,
        }),
        format!(
            "discrepancy holds: entry {} of `{}/access`, at {}, about question {question}; of `{other}/access` entries {first} to {last} were looked at, and {found}{ends} / 两侧日志不一致，证据有效",
            entry.index,
            entry.member,
            entry.entry.at.rfc3339(),
        ),
    )
}

/// What goes into a bundle.
pub(crate) struct Wanted {
    pub(crate) member: String,
    pub(crate) first: u64,
    pub(crate) limit: usize,
    pub(crate) with: Vec<PathBuf>,
}

/// Reads a member's logs, and writes what proves its accesses into one file.
pub(crate) async fn write_bundle(wanted: Wanted, out: &Path, at: &Unlock) -> Result<Output, Problem> {
    let limit = positive("--limit", wanted.limit)?;
    // Reading leaves lines in logs: that what is read can be kept is made sure of first.
    let file = NewFile::ready(out)?;
    let header = audit::pass(at, 30)?;
    let (signed, registry) = Home::open(&at.dir)?.registry()?;
    let member = member_id(&wanted.member)?;
    let base = format!("http://{}/log", registry.member(&member)?.stated.http);
    let source = Published::open(&format!("{base}/access"), Some(header.clone())).await?;
    let checkpoint = parsed(&source.checkpoint())?;
    let verified = verified(source, &registry).await?;
    let provable = Provable { member: &member, entries: &verified.entries, checkpoint: checkpoint.clone() };
    let size = verified.entries.len();
    let first = usize::try_from(wanted.first).unwrap_or(usize::MAX);
    let end = first.saturating_add(limit.min(RUN_ENTRIES_MAX)).min(size);
    let access = provable.run(first, end).filter(|_| first < end).ok_or_else(|| {
        Problem::new(
            format!("the access log of `{member}` has {size} entries, and none from {} on", wanted.first),
            "give a smaller --first",
            "请减小 --first",
        )
    })?;
    let mut heads = vec![checkpoint];
    for log in [LogName::Records, LogName::Status] {
        let (status, body) =
            fetch::get(&format!("{base}/{log}/checkpoint"), None).await.map_err(Problem::fault)?;
        // A log that is empty so far has no head.
        if status.is_success() {
            heads.push(parsed(&String::from_utf8_lossy(&body))?);
        }
    }
    let (mut certificates, mut erasures) = (Vec::new(), Vec::new());
    for path in &wanted.with {
        match codec::from_slice::<Artifact>(&read(path)?) {
            Ok(Artifact::Certificate(certificate)) => certificates.push(certificate),
            Ok(Artifact::Erasure(certificate)) => erasures.push(certificate),
            _ => {
                return Err(Problem::new(
                    format!("{} is neither a propagation nor an erasure certificate", path.display()),
                    "give files of `repair certificate --out` and `audit erasure --out`",
                    "请提供 `repair certificate --out` 或 `audit erasure --out` 生成的文件",
                ));
            }
        }
    }
    let ends = if heads
        .iter()
        .any(|head| registry.log_of(&head.claimed().origin).is_some_and(|l| l.1 == LogName::Status))
    {
        let source = Published::open(&format!("{base}/{}", LogName::Status), Some(header)).await?;
        let status = self::verified(source, &registry).await?;
        ends(&registry, &status, verified.entries.get(first..end).unwrap_or_default())?
    } else {
        Vec::new()
    };
    let handed: Vec<u64> = certificates.iter().map(|c| c.event.index).collect();
    let mut lacking = Vec::new();
    for event in ends.into_iter().filter(|event| !handed.contains(event)) {
        match certificate(&at.dir, &member, event).await {
            Ok(certificate) => certificates.push(certificate),
            Err(why) => lacking.push((event, why)),
        }
    }
    let bundle =
        AuditBundle { registry: signed, member, heads, access, certificates, erasures, at: clock::now() };
    // What is handed on holds, or it is not written.
    let checked = bundle.verify(Some(&registry))?;
    let Output { mut json, mut text, .. } = bundle_shown(&bundle, &checked);
    file.write(&codec::to_vec(&Artifact::Bundle(Box::new(bundle))))?;
    for (event, why) in &lacking {
        text.push_str(&format!(
            "\n  no certificate of entry {event} of `status`: {}; {} / 缺少该条状态的传播证明：{}",
            why.what, why.next, why.next_zh
        ));
    }
    let value = |(event, why): &(u64, Problem)| json!({ "event": event, "why": why.what, "next": why.next });
    json["lacking"] = lacking.iter().map(value).collect();
    Ok(Output::new(json, format!("{text}\nwritten to {} / 已写入", out.display())))
}

async fn verified(source: Published, registry: &Registry) -> Result<Verified, Problem> {
    let registry = registry.clone();
    let verified = tokio::task::spawn_blocking(move || verify::log(&source, &registry)).await;
    verified.map_err(|e| Problem::fault(e.to_string()))?
}

/// The member's own statements that bear on these accesses, ascending: what became of a record that one of them disclosed,
/// and of a grant that one of them rests on.
fn ends(
    registry: &Registry,
    status: &Verified,
    accesses: &[(u64, Digest, Entry)],
) -> Result<Vec<u64>, Problem> {
    let (mut records, mut grants) = (BTreeSet::new(), BTreeSet::new());
    for (_, _, entry) in accesses {
        if let Fact::Disclosed(disclosed) = &entry.fact {
            records.extend(disclosed.records.iter().map(|r| r.record));
        }
        if let Some(BasisRef::Grant(digest, _)) = entry.fact.asked_by().map(|asked| &asked.basis) {
            grants.insert(*digest);
        }
    }
    let mut found = Vec::new();
    for (index, _, entry) in &status.entries {
        let Fact::Status(signed) = &entry.fact else { continue };
        let fact: Checked<StatusFact> = registry.verify(signed)?;
        let bears = match fact.get() {
            StatusFact::Changed(changed) => records.contains(&changed.record),
            other => {
                concerns_platforms(other) && other.grant().is_some_and(|(grant, _)| grants.contains(grant))
            }
        };
        found.extend(bears.then_some(*index));
    }
    Ok(found)
}

/// The propagation certificate of a member's status entry, from the node of this directory: its own, or what it is told.
async fn certificate(dir: &Path, member: &MemberId, event: u64) -> Result<Certificate, Problem> {
    let client = Client::open(dir)?;
    let operation = match client.member == *member {
        true => Operation::Certificate(event),
        false => Operation::CertificateOf(member.clone(), event),
    };
    match client.operate(operation).await? {
        Response::Certificate(certificate) => Ok(*certificate),
        other => Err(unexpected(&other)),
    }
}

fn parsed(note: &str) -> Result<SignedCheckpoint, Problem> {
    SignedCheckpoint::parse(note).map_err(|e| Problem::fault(format!("checkpoint: {e}")))
}

/// What a verified bundle says.
pub(crate) fn bundle_shown(bundle: &AuditBundle, checked: &CheckedBundle) -> Output {
    let CheckedBundle { registry, heads, access, witnessed, certificates, erasures } = checked;
    let Registry { catalog, policy, rules, version, .. } = registry;
    let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
    for proven in access {
        *kinds.entry(kind(&proven.entry.fact)).or_default() += 1;
    }
    let counts: Vec<String> = kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    let first = access.first().map_or(0, |e| e.index);
    let last = access.last().map_or(0, |e| e.index);
    let mut text = format!(
        "audit bundle about `{}` holds / 稽核包有效\n  registry version {version}, digest {}\n  catalog {catalog}, policy {policy}, rules {rules}\n  access entries {first} to {last}: {}; cosigned by {} witnesses, {} make it believable",
        bundle.member,
        registry.digest(),
        counts.join(", "),
        witnessed.0,
        witnessed.1,
    );
    for (log, head, (found, needed)) in heads {
        text.push_str(&format!(
            "\n  `{log}` has {} entries, cosigned by {found}, {needed} needed",
            head.size
        ));
    }
    for c in certificates {
        text.push_str(&format!(
            "\n  entry {} of `status` acknowledged by {} members, {} missing / 已确认 {}，未确认 {}",
            c.event.index,
            c.acknowledged.len(),
            c.missing.len(),
            c.acknowledged.len(),
            c.missing.len()
        ));
    }
    for e in erasures {
        text.push_str(&format!("\n  record {} erased at {}", e.record, e.at.rfc3339()));
    }
    let headless: Vec<LogName> =
        LogName::ALL.into_iter().filter(|log| heads.iter().all(|(of, ..)| of != log)).collect();
    for log in &headless {
        text.push_str(&format!(
            "\n  no head of `{log}`: that this log is empty is nobody's signed word / 无 {log} 日志的检查点：该日志为空一事无人签署"
        ));
    }
    text.push_str(&format!(
        "\n  put together at {}; that time, and that there are no other certificates, is nobody's signed word / 汇编时间与证明是否齐全均无人签署",
        bundle.at.rfc3339()
    ));
    let heads: Vec<_> = heads
        .iter()
        .map(|(log, head, (found, needed))| {
            json!({ "log": log.as_str(), "size": head.size.0, "root": head.root.to_string(), "cosigned": found, "cosignatures_needed": needed })
        })
        .collect();
    let propagation: Vec<_> = certificates
        .iter()
        .map(|c| json!({ "event": c.event.index, "acknowledged": c.acknowledged.iter().map(|(m, _)| m.as_str()).collect::<Vec<_>>(),
                       "missing": c.missing.iter().map(|m| m.as_str()).collect::<Vec<_>>(), "platforms_checked": c.platforms_checked }))
        .collect();
    let erased: Vec<_> =
        erasures.iter().map(|e| json!({ "record": e.record.to_string(), "at": e.at.rfc3339() })).collect();
    Output::new(
        json!({
            "ok": true, "kind": "bundle", "member": bundle.member.as_str(), "at": bundle.at.rfc3339(),
            "registry": { "version": version, "digest": registry.digest().to_string(), "catalog": catalog.to_string(),
                          "policy": policy.to_string(), "rules": rules.to_string() },
            "access": { "first": first, "last": last, "entries": kinds, "cosigned": witnessed.0, "cosignatures_needed": witnessed.1 },
            "heads": heads, "certificates": propagation, "erasures": erased,
            "unsigned": { "heads": headless.iter().map(|log| log.as_str()).collect::<Vec<_>>(), "at": true, "all_certificates": true },
        }),
        text,
    )
}

fn kind(fact: &Fact) -> &'static str {
    match fact {
        Fact::Disclosed(_) => "disclosed",
        Fact::Refused(_) => "refused",
        Fact::Relayed(_) => "relayed",
        Fact::Asked(_) => "asked",
        Fact::Received(_) => "received",
        Fact::Read(_) => "read",
        Fact::Mandated(..) => "mandated",
        Fact::TurnedAway(_) => "turned-away",
        Fact::Pushed(_) => "pushed",
        Fact::Taken(_) => "taken",
        Fact::Recorded(_) | Fact::Batched(_) | Fact::Erased(_) | Fact::Status(_) => "other",
    }
}
