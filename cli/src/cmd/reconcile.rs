//! Reconciling with peers, and the report of it.

use std::path::Path;

use ::node::{
    Problem,
    client::{Client, unexpected},
};
use credit::id::MemberId;
use crypto::codec;
use exchange::{
    reconcile::{Compared, Outcome, Report},
    wire::{Operation, Response},
};
use serde_json::{Value, json};

use crate::output::Output;

/// Reconciles with one peer, or with all. Exit code 1 when something differs at the end, or the one peer that is named
/// gave no answer; of all of them some may always be away.
pub(crate) async fn reconcile(peer: Option<&str>, dir: &Path) -> Result<Output, Problem> {
    let peer = peer
        .map(|peer| {
            MemberId::parse(peer).ok_or_else(|| {
                Problem::new(
                    format!("`{peer}` is no member id"),
                    "give the id of a member, as the registry has it",
                    "请填写登记表中的成员编号",
                )
            })
        })
        .transpose()?;
    let peer_is_named = peer.is_some();
    let reports = match Client::open(dir)?.operate(Operation::Reconcile(peer)).await? {
        Response::Reconciled(reports) => reports,
        other => return Err(unexpected(&other)),
    };
    let good = reports.iter().all(|r| in_step(r) && (r.problem.is_none() || !peer_is_named));
    let text: String = reports.iter().map(text).collect();
    let text = match reports.is_empty() {
        true => "no other member runs a node / 没有其他运行节点的成员".to_owned(),
        false => text.trim_end().to_owned(),
    };
    let value = json!({ "ok": good, "peers": reports.iter().map(value).collect::<Vec<_>>() });
    Ok(Output::judged(value, text, good))
}

fn in_step(report: &Report) -> bool {
    // A peer that has fewer entries fetches them itself, and entries that come in meanwhile are compared the next time.
    let good = |c: &Compared| !matches!(c.outcome, Outcome::PeerDiffers | Outcome::Behind);
    report.standings.iter().all(good)
}

fn word(outcome: Outcome) -> (&'static str, &'static str, &'static str) {
    match outcome {
        Outcome::Same => ("same", "the same", "一致"),
        Outcome::Mended => {
            ("mended", "the same now; differences were mended by the log", "已依日志修正，现已一致")
        }
        Outcome::PeerDiffers => ("peer-differs", "the peer's are not what the log says", "对方与日志不符"),
        Outcome::PeerBehind => {
            ("peer-behind", "the peer has fewer entries and was not compared", "对方日志较短，未作比对")
        }
        Outcome::Behind => {
            ("behind", "the peer has entries that could not be fetched", "对方有未能取得的日志条目")
        }
        Outcome::Open => ("open", "entries came in meanwhile; run it again", "比对期间有新条目，请重试"),
    }
}

fn value(report: &Report) -> Value {
    let copies: Vec<Value> = report
        .copies
        .iter()
        .map(|(log, before, after)| json!({ "log": log.as_str(), "before": before, "after": after }))
        .collect();
    let standings: Vec<Value> = report
        .standings
        .iter()
        .map(|c| {
            json!({
                "authority": c.authority.as_str(), "entries_before": c.entries.0, "entries": c.entries.1,
                "peer_entries": c.theirs, "outcome": word(c.outcome).0, "mended": c.mended,
                "peer_differs": c.differ, "ahead": c.ahead,
                "records": c.named.iter().map(|r| codec::hex(&r.0)).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({
        "peer": report.peer.as_str(),
        "problem": report.problem.as_ref().map(|p| json!({ "code": p.code, "what": p.to_string() })),
        "copies": copies, "standings": standings, "bytes": report.bytes, "ms": report.ms,
    })
}

fn text(report: &Report) -> String {
    let mut text = format!("{} ({} bytes compared, {} ms)\n", report.peer, report.bytes, report.ms);
    if let Some(problem) = &report.problem {
        text.push_str(&format!("  not reconciled / 未能核对: {problem}\n"));
    }
    for (log, before, after) in &report.copies {
        let new = after - before;
        text.push_str(&format!("  {log:<8} {after:>9} entries, {new} new / 条目，新增 {new}\n"));
    }
    for c in &report.standings {
        let (_, en, zh) = word(c.outcome);
        text.push_str(&format!("  standings under {}: {en} / {zh}\n", c.authority));
        if c.entries.1 > c.entries.0 {
            let new = c.entries.1 - c.entries.0;
            text.push_str(&format!("    {new} entries that `{}` had first / 由该成员取得\n", report.peer));
        }
        for (n, en, zh) in [
            (c.mended, "records mended here", "条记录已在本地修正"),
            (c.differ, "records differ at the peer", "条记录在对方处不符"),
            (c.ahead, "records have news that are not in the copy yet", "条记录有尚未取得的新条目"),
        ] {
            if n > 0 {
                text.push_str(&format!("    {n} {en} / {n} {zh}\n"));
            }
        }
        for record in &c.named {
            text.push_str(&format!("      {}\n", codec::hex(&record.0)));
        }
    }
    text
}
