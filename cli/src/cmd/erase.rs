//! Erasing records, and the certificates of it.

use std::{collections::BTreeSet, path::Path};

use ::node::{
    Problem,
    client::{Client, unexpected},
};
use credit::id::RecordId;
use crypto::codec;
use exchange::{
    artifact::{Artifact, CheckedErasure, ErasureCertificate},
    limits::RECORDS_PER_ERASURE_MAX,
    wire::{Operation, Response},
};
use serde_json::json;

use crate::{
    args::Erase,
    cmd::{
        new_file::{NewFile, write_new, write_once},
        read, record,
    },
    output::{Output, say},
};

pub(crate) async fn run(args: Erase) -> Result<Output, Problem> {
    let records = match (&args.record, &args.records) {
        (Some(id), _) => vec![record(id)?],
        (None, Some(file)) => list(file)?,
        (None, None) => Vec::new(),
    };
    let mut one = None;
    if let (Some(out), Some(_)) = (&args.out, &args.record) {
        one = Some(NewFile::ready(out)?);
    } else if let Some(out) = &args.out {
        std::fs::create_dir(out).map_err(|e| {
            Problem::new(
                format!("{}: {e}", out.display()),
                "give a directory that does not exist yet with --out",
                "请用 --out 指定一个尚不存在的目录",
            )
        })?;
    }
    let client = Client::open(&args.node.dir)?;
    let (mut erased, mut before) = (0, 0);
    for run in records.chunks(RECORDS_PER_ERASURE_MAX) {
        let operation = Operation::Erase { records: run.to_vec(), reason: args.reason.clone() };
        match client.operate(operation).await {
            Ok(Response::Erased(now, known)) => (erased, before) = (erased + now, before + known),
            Ok(other) => return Err(unexpected(&other)),
            Err(problem) => {
                if erased > 0 {
                    say(&format!(
                        "{erased} records of the list were erased before this one / 此前已删除 {erased} 条"
                    ));
                }
                return Err(problem);
            }
        }
    }
    if let Some(out) = &args.out {
        // A list may name a record twice.
        for id in records.iter().collect::<BTreeSet<_>>() {
            let bytes = file(fetch(&client, *id).await?);
            match one.take() {
                Some(one) => one.write(&bytes)?,
                None => write_new(&out.join(format!("{id}.erasure")), &bytes)?,
            }
        }
    }
    let ids: Vec<String> = records.iter().map(RecordId::to_string).collect();
    let text = match &ids[..] {
        [id] if erased == 1 => {
            format!("keys and payload of {id} are destroyed; the log says so / 密钥与数据已销毁并已记入日志")
        }
        _ => format!(
            "keys and payloads of {erased} records are destroyed, {before} were before; the log says so / 已销毁 {erased} 条，此前已销毁 {before} 条"
        ),
    };
    let one = (args.records.is_none()).then(|| ids.first().cloned());
    Ok(Output::new(
        json!({ "erased": one.flatten(), "records": erased, "erased_before": before, "out": args.out }),
        text,
    ))
}

/// The certificate of a record that was erased before.
pub(crate) async fn certificate(id: &str, out: Option<&Path>, dir: &Path) -> Result<Output, Problem> {
    let client = Client::open(dir)?;
    let certificate = fetch(&client, record(id)?).await?;
    // What the own node says is held to the same as anybody's file.
    let checked = certificate.verify(&client.registry)?;
    if let Some(out) = out {
        write_once(out, &file(certificate))?;
    }
    Ok(shown(&checked))
}

/// What follows from a certificate that holds, and no more.
pub(crate) fn shown(checked: &CheckedErasure) -> Output {
    let CheckedErasure { member, record, at, reason, versions, tree, attested_at, tree_then } = checked;
    let indexes: Vec<u64> = versions.iter().map(|v| v.index).collect();
    Output::new(
        json!({
            "ok": true, "kind": "erasure", "member": member.as_str(), "record": record.to_string(), "at": at.rfc3339(),
            "reason": reason, "versions": indexes, "tree_before": tree.0.to_string(), "tree_after": tree.1.to_string(),
            "attested_at": attested_at.rfc3339(), "tree_then": tree_then.to_string(),
        }),
        format!(
            "erasure certificate holds / 删除证明有效\n  proven: the log of `{member}` says that every version of {record} known to it then ({}) was erased at {}: {reason}\n  signed by `{member}` at {}: it cannot derive their keys and holds none of their data\n  not proven: that there is no other copy / 无法证明：世上已无其他副本",
            versions.len(),
            at.rfc3339(),
            attested_at.rfc3339(),
        ),
    )
}

async fn fetch(client: &Client, record: RecordId) -> Result<ErasureCertificate, Problem> {
    match client.operate(Operation::ErasureCertificate(record)).await? {
        Response::Erasure(certificate) => Ok(*certificate),
        other => Err(unexpected(&other)),
    }
}

fn file(certificate: ErasureCertificate) -> Vec<u8> {
    codec::to_vec(&Artifact::Erasure(certificate))
}

/// Record ids, one a line; empty lines do not count.
fn list(path: &Path) -> Result<Vec<RecordId>, Problem> {
    let bytes = read(path)?;
    let lines = std::str::from_utf8(&bytes).unwrap_or_default().lines().map(str::trim).enumerate();
    let mut records = Vec::new();
    for (at, line) in lines.filter(|(_, line)| !line.is_empty()) {
        let id = record(line)
            .map_err(|p| Problem { what: format!("{}, line {}: {}", path.display(), at + 1, p.what), ..p })?;
        records.push(id);
    }
    if records.is_empty() {
        return Err(Problem::new(
            format!("{} names no record", path.display()),
            "write one record id a line",
            "请每行写一个记录编号",
        ));
    }
    Ok(records)
}
