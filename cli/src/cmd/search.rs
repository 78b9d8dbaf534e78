//! What stands in an access log, line by line: for an auditor who looks for something in it, and for a subject's list.

use std::path::PathBuf;

use ::node::{Problem, client::member_id, home::read_registry};
use credit::{
    catalog::Purpose,
    entry::{AskedBy, Disclosed, Entry, Fact, Read, Refused, TurnedAway, Withheld},
    id::MemberId,
    policy::{Policy, RuleName},
    value::Date,
};
use exchange::registry::Registry;
use serde_json::{Value, json};

use crate::{
    cmd::{cross_check, policy::date, positive, purpose},
    output::Output,
};

/// What is looked for; what is absent is not asked.
pub(crate) struct Wanted {
    pub(crate) log: PathBuf,
    pub(crate) registry: PathBuf,
    pub(crate) asker: Option<String>,
    pub(crate) purpose: Option<String>,
    pub(crate) clerk: Option<String>,
    pub(crate) rule: Option<String>,
    pub(crate) from: Option<String>,
    pub(crate) to: Option<String>,
    pub(crate) start: u64,
    pub(crate) limit: usize,
}

/// Searches an exported access log.
///
/// Errors: the log does not hold; a member or rule that does not exist, for which nothing found would say nothing; a first day
/// after the last; a page of no lines.
pub(crate) fn run(wanted: &Wanted) -> Result<Output, Problem> {
    let registry = read_registry(&wanted.registry)?.accept(None)?;
    let limit = positive("--limit", wanted.limit)?;
    let purpose = wanted.purpose.as_deref().map(purpose).transpose()?;
    let asker = wanted.asker.as_deref().map(|asker| member(&registry, asker)).transpose()?;
    let (from, to) = days(wanted)?;
    let from = from.map(Date::start);
    let until = to.map(|day| day.plus_days(1).start());
    let (owner, entries) = cross_check::side(&wanted.log, &registry)?;
    let mut lines = Vec::new();
    for (index, _, entry) in &entries {
        lines.extend(searched_value(*index, entry, &owner, &registry)?.map(|line| (entry.at, line)));
    }
    if let Some(rule) = &wanted.rule {
        known_rule(rule, lines.iter().map(|(_, line)| line))?;
    }
    let mut found: Vec<Value> = lines
        .into_iter()
        .filter(|(at, _)| from.is_none_or(|from| *at >= from) && until.is_none_or(|until| *at < until))
        .map(|(_, line)| line)
        .filter(|line| line["index"].as_u64().is_some_and(|index| index >= wanted.start))
        .filter(|line| {
            asker.as_ref().is_none_or(|asker| line["asker"] == asker.as_str())
                && purpose.is_none_or(|purpose| line["purpose"] == purpose.as_str())
                && wanted.clerk.as_ref().is_none_or(|clerk| line["clerk"] == **clerk)
                && wanted.rule.as_ref().is_none_or(|rule| names(line, rule))
        })
        .collect();
    let next = found.get(limit).map(|value| value["index"].clone());
    found.truncate(limit);
    let shown: Vec<String> = found.iter().map(access_line).collect();
    let mut text = format!("{} entries / 条\n{}", shown.len(), shown.join("\n")).trim_end().to_owned();
    if let Some(next) = &next {
        text.push_str(&format!("\n  there are more: --start {next} / 尚有更多：--start {next}"));
    }
    Ok(Output::new(json!({ "entries": found, "next": next }), text))
}

/// A member of the registry, suspended or not.
fn member(registry: &Registry, text: &str) -> Result<MemberId, Problem> {
    let id = member_id(text)?;
    if registry.members.iter().any(|m| m.stated.id == id) {
        return Ok(id);
    }
    let known: Vec<&str> = registry.members.iter().map(|m| m.stated.id.as_str()).collect();
    Err(Problem::new(
        format!("`{id}` is no member by registry version {}", registry.version),
        format!("use one of {}", known.join(" ")),
        format!("请使用登记表中的成员：{}", known.join(" ")),
    ))
}

/// The first and the last day, in this order.
fn days(wanted: &Wanted) -> Result<(Option<Date>, Option<Date>), Problem> {
    let from = wanted.from.as_deref().map(date).transpose()?;
    let to = wanted.to.as_deref().map(date).transpose()?;
    match (from, to) {
        (Some(first), Some(last)) if first > last => Err(Problem::new(
            format!("--from {first} is after --to {last}"),
            "give the earlier day with --from",
            "请将较早的日期填入 --from",
        )),
        days => Ok(days),
    }
}

/// Whether a line names a rule.
fn names(line: &Value, rule: &str) -> bool {
    line["rules"].as_array().into_iter().flatten().any(|applied| applied == rule)
}

/// A rule of the policy of this build, or of another that a line names.
fn known_rule<'a>(rule: &str, mut lines: impl Iterator<Item = &'a Value>) -> Result<(), Problem> {
    let policy = Policy::builtin();
    if policy.rule(&RuleName(rule.to_owned())).is_some() || lines.any(|line| names(line, rule)) {
        return Ok(());
    }
    let known: Vec<&str> = policy.rules().map(|rule| rule.name.0.as_str()).collect();
    Err(Problem::new(
        format!("`{rule}` is no rule, and no entry names it"),
        format!("use one of {}", known.join(" ")),
        format!("请使用规则名：{}", known.join(" ")),
    ))
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

/// What an auditor searches for in the access log of `owner`, as JSON: every line of it. `asker` is who has learnt something,
/// or wanted to. Errors: a mandate is not its auditor's word.
fn searched_value(
    index: u64,
    entry: &Entry,
    owner: &MemberId,
    registry: &Registry,
) -> Result<Option<Value>, Problem> {
    let (outcome, mut line) = match &entry.fact {
        Fact::Read(Read { reader, owner, log, size, pass, .. }) => (
            "read",
            json!({ "asker": reader.as_str(), "log": format!("{owner}/{log}"), "size": size, "pass": pass.to_string() }),
        ),
        Fact::TurnedAway(TurnedAway { question, asker, caller, code, count }) => (
            "turned-away",
            json!({
                "asker": asker.as_str(), "caller": caller.as_str(), "code": code, "count": count,
                "question": question.to_string(),
            }),
        ),
        Fact::Mandated(signed, rule) => {
            let mandate = registry.verify_logged(signed)?.into_inner();
            (
                "mandated",
                json!({
                    "asker": mandate.auditor.as_str(), "purpose": Purpose::Audit.as_str(), "member": mandate.member.as_str(),
                    "first": mandate.first, "last": mandate.end.saturating_sub(1), "reason": mandate.reason,
                    "until": mandate.until.rfc3339(), "rules": rule.iter().map(|rule| &rule.0).collect::<Vec<_>>(),
                }),
            )
        }
        Fact::Asked(asked) => (
            "asked",
            json!({
                "asker": owner.as_str(), "clerk": asked.clerk.as_str(), "purpose": asked.purpose.as_str(),
                "outlet": asked.outlet.as_str(), "question": asked.question.to_string(),
            }),
        ),
        Fact::Received(received) => (
            "received",
            json!({
                "asker": owner.as_str(), "member": received.from.as_str(), "entry": received.index,
                "records": received.records.len(), "question": received.question.to_string(),
            }),
        ),
        Fact::Relayed(relayed) => (
            "relayed",
            json!({
                "asker": relayed.asker.as_str(), "to": relayed.to.iter().map(MemberId::as_str).collect::<Vec<_>>(),
                "question": relayed.question.to_string(),
            }),
        ),
        Fact::Taken(taken) => (
            "taken",
            json!({
                "asker": owner.as_str(), "member": taken.from.as_str(), "entry": taken.index, "records": 1,
                "rules": [taken.rule],
            }),
        ),
        _ => return Ok(access_value(index, entry)),
    };
    (line["index"], line["at"], line["outcome"]) = (json!(index), json!(entry.at.rfc3339()), json!(outcome));
    Ok(Some(line))
}

/// A line of a search, or of a list of accesses, for people.
pub(crate) fn access_line(value: &Value) -> String {
    let text = |key: &str| value[key].as_str().unwrap_or_default();
    let list = |key: &str| -> Vec<&str> {
        value[key].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
    };
    let [asker, clerk, member] = ["asker", "clerk", "member"].map(text);
    let head = format!("  #{} {}", value["index"], text("at"));
    match text("outcome") {
        "read" => format!("{head} {asker} read `{}`, {} entries", text("log"), value["size"]),
        "turned-away" => format!(
            "{head} {} questions of {asker} turned away with {}, brought by {}",
            value["count"],
            text("code"),
            text("caller")
        ),
        "mandated" => format!(
            "{head} {asker} may learn whom entries {} to {} of `{member}` are about: {}",
            value["first"],
            value["last"],
            text("reason")
        ),
        "asked" => {
            format!("{head} {asker} ({clerk}) asked for {} through {}", text("purpose"), text("outlet"))
        }
        "received" => format!(
            "{head} {asker} received {} records of {member}, its entry {}",
            value["records"], value["entry"]
        ),
        "relayed" => format!("{head} a question of {asker} passed on to {}", list("to").join(", ")),
        "taken" => {
            format!("{head} {asker} took a record of {member} to publish it, its entry {}", value["entry"])
        }
        "pushed" => format!("{head} pushed to {asker} to be published, rule {}", list("rules").join(" ")),
        outcome => format!(
            "{head} {outcome} by {asker} ({clerk}) for {}, {} records{}, rules {}",
            text("purpose"),
            value["records"],
            value["checks"].as_u64().filter(|n| *n > 0).map_or(String::new(), |n| format!(", {n} checks")),
            list("rules").join(" ")
        ),
    }
}
