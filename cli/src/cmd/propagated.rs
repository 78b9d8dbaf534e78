//! What a propagation certificate says, as a judge reads it: what was decided about which record, when and by which rule,
//! who has acknowledged it when, who has not, and whether anybody can have been left out.

use credit::{entry::StatusFact, id::MemberId};
use crypto::Timestamp;
use exchange::{artifact::CheckedCertificate, propagation::concerns_platforms, registry::Registry};
use serde_json::{Value, json};

use crate::cmd::certify::{beijing, name_of, source};

/// What happened, in the program's word, in English and in Chinese; and the rule or ground.
struct Said<'a> {
    word: &'static str,
    zh: &'static str,
    record: Option<String>,
    rule: Option<&'a str>,
    reason: Option<&'a str>,
}

fn said(checked: &CheckedCertificate) -> Said<'_> {
    match &checked.fact {
        StatusFact::Changed(changed) => Said {
            word: changed.change.as_str(),
            zh: changed.change.zh(),
            record: Some(changed.record.to_string()),
            rule: Some(&changed.rule),
            reason: None,
        },
        StatusFact::NotGranted(not) => Said {
            word: if checked.declined { "not-accepted" } else { "not-granted" },
            zh: if checked.declined { "不予受理" } else { "不予修复" },
            record: Some(not.record.to_string()),
            rule: Some(&not.rule),
            reason: Some(&not.reason),
        },
        other => {
            let news = other.grant().map(|(_, news)| (news.as_str(), news.zh()));
            let (word, zh) = news.unwrap_or(("other", "其他"));
            Said { word, zh, record: None, rule: None, reason: None }
        }
    }
}

/// For programs.
pub(crate) fn value(checked: &CheckedCertificate, registry: &Registry) -> Value {
    let Said { word, zh, record, rule, reason } = said(checked);
    let name = |member: &MemberId| name_of(registry, member.as_str());
    let told = |(member, at): &(MemberId, Timestamp)| {
        let (id, late) = (member.as_str(), checked.late(*at));
        json!({ "member": id, "name": name(member), "at": at.rfc3339(), "late": late })
    };
    let names: serde_json::Map<_, _> =
        checked.missing.iter().map(|member| (member.as_str().to_owned(), json!(name(member)))).collect();
    let grant = checked.fact.grant().map(|(digest, _)| digest.to_string());
    json!({
        "origin": checked.event.member.as_str(), "event": checked.event.index, "change": word, "change_zh": zh,
        "record": record, "grant": grant, "rule": rule, "reason": reason, "decided_at": checked.event.entry.at.rfc3339(),
        "acknowledged": checked.acknowledged.iter().map(told).collect::<Vec<_>>(),
        "missing": checked.missing.iter().map(|m| m.as_str()).collect::<Vec<_>>(), "missing_names": names,
        "due": checked.due.map(|due| json!({ "date": due.date.to_string(), "provisional": due.provisional })),
        "overdue": !checked.missing.is_empty() && checked.late(checked.at), "origin_name": name(&checked.event.member),
        "at": checked.at.rfc3339(), "registry": checked.registry, "platforms_checked": checked.platforms_checked,
    })
}

/// For people: one line for each thing said.
pub(crate) fn lines(checked: &CheckedCertificate, registry: &Registry) -> String {
    let Said { word, zh, record, rule, reason } = said(checked);
    let moment = |at: Timestamp| format!("{} 北京时间 {}", at.rfc3339(), beijing(at));
    let (event, origin) = (&checked.event, checked.event.member.as_str());
    let mut text = String::new();
    if let Some(record) = record {
        text.push_str(&format!("\n  record 记录: {record}"));
    }
    if let Some((grant, _)) = checked.fact.grant() {
        text.push_str(&format!("\n  grant 授权书: {grant}"));
    }
    text.push_str(&format!(
        "\n  decided 决定: {word} {zh}, by `{origin}` ({}), {}",
        name_of(registry, origin),
        moment(event.entry.at)
    ));
    if let Some(rule) = rule {
        let source = source(rule);
        let source = if source == rule { String::new() } else { format!(" {source}") };
        text.push_str(&format!("\n  rule 依据: {rule}{source}"));
    }
    if let Some(reason) = reason {
        text.push_str(&format!("\n  reason 理由: {reason}"));
    }
    if let Some(due) = checked.due {
        let provisional = if due.provisional { " (provisional 暂定)" } else { "" };
        text.push_str(&format!("\n  to be acknowledged by 确认期限: {}{provisional}", due.date));
    }
    let named =
        |member: &MemberId| format!("{:<8} ({})", member.as_str(), name_of(registry, member.as_str()));
    let late = |at| if checked.late(at) { ", LATE 逾期" } else { "" };
    for (member, at) in &checked.acknowledged {
        text.push_str(&format!("\n  {} acknowledged 已确认 {}{}", named(member), moment(*at), late(*at)));
    }
    for member in &checked.missing {
        text.push_str(&format!("\n  {} MISSING / 未确认{}", named(member), late(checked.at)));
    }
    text.push_str(&format!("\n  drawn up 出具: {}", moment(checked.at)));
    let version = checked.registry;
    if !concerns_platforms(&checked.fact) {
        text.push_str("\n  it is told to its grantee alone; every platform reads it in its copy of the log / 仅通知被授权方；各平台自日志副本获知");
        return text;
    }
    text.push_str(&match checked.platforms_checked {
        true => format!(
            "\n  every platform of registry version {version} is a recipient / 登记表第{version}版的各平台均在接收方之列"
        ),
        false => format!(
            "\n  platforms were not checked: that takes registry version {version}, and this one is {} / 未核对有无遗漏平台：须用登记表第{version}版",
            registry.version
        ),
    });
    text
}
