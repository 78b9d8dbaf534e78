//! Cases and their deadlines, applications and their outcomes, withdrawn records and their erasure, recipients that have
//! not acknowledged.

use std::collections::BTreeMap;

use ::node::{
    Problem,
    client::{Client, member_id, unexpected},
    clock,
};
use credit::{
    calendar::Calendar,
    id::{ClerkId, MemberId, RecordId},
    repair::{Case, Deadline, Matter, Urgency},
    value::Date,
};
use crypto::Timestamp;
use exchange::{
    propagation::Missing,
    repair::Forwarded,
    timer::DueErasure,
    wire::{CaseMatter, Operation, Response},
};
use serde_json::{Value, json};

use crate::{
    args,
    cmd::{self, repair},
    output::Output,
};

pub(crate) async fn run(verb: args::Case) -> Result<Output, Problem> {
    let (due, authority, clerk, node) = match verb {
        args::Case::List { due, authority, clerk, node } => (due, authority, clerk, node),
        args::Case::Assign { case, clerk, node } => {
            let operation = Operation::AssignCase { case: cmd::case(&case)?, clerk: cmd::clerk(&clerk)? };
            return repair::decided(Client::open(&node.dir)?.operate(operation).await?);
        }
    };
    let clerk = clerk.as_deref().map(cmd::clerk).transpose()?;
    let wanted = authority.as_deref().map(member_id).transpose()?;
    let client = Client::open(&node.dir)?;
    let response = client.operate(Operation::Cases).await?;
    let Response::Cases { cases, forwarded, erasures, matters } = response else {
        return Err(unexpected(&response));
    };
    let matters: BTreeMap<RecordId, CaseMatter> = matters.into_iter().map(|m| (m.record, m)).collect();
    let response = client.operate(Operation::Missing).await?;
    let Response::Missing(missing) = response else { return Err(unexpected(&response)) };
    let of = |member: &MemberId| wanted.as_ref().is_none_or(|wanted| wanted == member);
    let by = |named: Option<&ClerkId>| clerk.is_none() || clerk.as_ref() == named;
    // Erasures and acknowledgements are the member's; no clerk is named for them.
    let of_nobody = clerk.is_none();
    let days = Days { today: Date::from_timestamp(clock::now()), calendar: Calendar::builtin() };
    let pressing = |due: Option<Deadline>| due.is_some_and(|d| days.urgency(&d) > Urgency::Open);
    let mut cases: Vec<&Case> = cases
        .iter()
        .filter(|case| of(&client.member) && by(case.responsible(&client.member)))
        .filter(|case| !due || pressing(case.deadline()))
        .collect();
    // What is due first comes first; what has no deadline, or is decided, last.
    cases.sort_by_key(|case| case.deadline().map_or(Date::LONG_TERM, |d| d.date));
    let clerks = by_clerk(&cases, &client.member);
    let mut erasures: Vec<&DueErasure> = erasures.iter().filter(|e| of_nobody && of(&e.authority)).collect();
    erasures.sort_by_key(|e| e.due.date);
    let taken: Vec<&Forwarded> = forwarded
        .iter()
        .filter(|f| of(&f.to) && by(f.clerk.as_ref()))
        .filter(|f| !due || pressing(f.due))
        .collect();
    let mut missing: Vec<&Missing> = missing
        .iter()
        .filter(|_| of_nobody && of(&client.member))
        .filter(|m| !due || pressing(m.due))
        .collect();
    missing.sort_by_key(|m| (m.due.map_or(Date::LONG_TERM, |d| d.date), m.event));
    let late = |deadline: Option<Deadline>| deadline.is_some_and(|d| days.urgency(&d) == Urgency::Overdue);
    let late_cases = |cases: &[&Case]| cases.iter().filter(|case| late(case.deadline())).count();
    let overdue = late_cases(&cases)
        + taken.iter().filter(|f| late(f.due)).count()
        + erasures.iter().filter(|e| late(Some(e.due))).count()
        + missing.iter().filter(|m| late(m.due)).count();

    let mut text = format!(
        "{}: {} cases, {} applications taken here, {} records to erase, {} acknowledgements missing; {overdue} overdue / 逾期 {overdue} 件",
        days.today,
        cases.len(),
        taken.len(),
        erasures.len(),
        missing.len()
    );
    for (clerk, theirs) in &clerks {
        // Where no clerk is named there is nothing to group.
        if clerks.keys().any(Option::is_some) {
            let name = clerk.map_or("no clerk / 无经办人".to_owned(), |c| format!("clerk 经办人 `{c}`"));
            text.push_str(&format!(
                "\n  {name}: {} cases, {} overdue 逾期",
                theirs.len(),
                late_cases(theirs)
            ));
        }
        for case in theirs {
            text.push_str(&days.line(case, matters.get(&case.record())));
        }
    }
    for f in &taken {
        let when = f.due.map_or(String::new(), |due| format!(", to be there 转达 {}", days.text(&due)));
        text.push_str(&format!(
            "\n  {} application {} to `{}`, record {}: {}{when}",
            f.matter.as_str(),
            f.application,
            f.to,
            short(&f.record),
            progress(f).0
        ));
    }
    for e in &erasures {
        let why = match &e.retention {
            Some(rule) => format!(
                "over its retention by {rule}: unless it is on a list of serious dishonesty 不在严重失信名单的应"
            ),
            None => format!("withdrawn by `{}`:", e.authority),
        };
        text.push_str(&format!("\n  record {} {why} erase 删除 {}", e.record, days.text(&e.due)));
    }
    for m in &missing {
        let when = m.due.map_or("no deadline provided / 无期限规定".to_owned(), |due| days.text(&due));
        text.push_str(&format!(
            "\n  entry {} not acknowledged by `{}` 未确认: {when}; sent {} times",
            m.event, m.to, m.tries
        ));
    }
    let value = json!({
        "today": days.today.to_string(),
        "overdue": overdue,
        "clerks": clerks.iter().map(|(clerk, theirs)| json!({
            "clerk": clerk.map(ClerkId::as_str), "overdue": late_cases(theirs),
            "cases": theirs.iter().map(|case| case.id().to_string()).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
        "cases": cases.iter().map(|case| days.case(case, matters.get(&case.record()), &client.member)).collect::<Vec<_>>(),
        "taken": taken.iter().map(|f| days.taken(f)).collect::<Vec<_>>(),
        "erasures": erasures.iter().map(|e| days.erasure(e)).collect::<Vec<_>>(),
        "missing": missing.iter().map(|m| days.missing(m)).collect::<Vec<_>>(),
    });
    Ok(Output::new(value, text))
}

/// Cases by the clerk whose step is next, in the order they came; those of nobody first.
fn by_clerk<'a>(cases: &[&'a Case], own: &MemberId) -> BTreeMap<Option<&'a ClerkId>, Vec<&'a Case>> {
    let mut clerks: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for case in cases {
        clerks.entry(case.responsible(own)).or_default().push(*case);
    }
    clerks
}

/// How an application that was taken here fares: a sentence and a word, a time, and a reason.
pub(crate) fn progress(f: &Forwarded) -> (String, &'static str, Option<Timestamp>, Option<&str>) {
    let outcome = f.outcome.clone().unwrap_or_default();
    let at = |what: &str, at: Timestamp| format!("{what} at {}", at.rfc3339());
    if let Some(granted) = outcome.granted {
        let what = match f.matter {
            Matter::Repair => "granted 准予修复",
            Matter::Objection => "found right 异议成立",
        };
        return (at(what, granted.at), "granted", Some(granted.at), None);
    }
    let reason = f.outcome.as_ref().and_then(|o| o.refused.as_ref()).map(|(_, why)| why.as_str());
    if let (Some((told, why)), Some(_)) = (&outcome.refused, reason) {
        let what = match (f.matter, outcome.accepted) {
            (Matter::Objection, _) => "not found right 异议不成立",
            (Matter::Repair, Some(_)) => "not granted 不予修复",
            (Matter::Repair, None) => "not accepted 不予受理",
        };
        return (format!("{}: {why}", at(what, told.at)), "refused", Some(told.at), reason);
    }
    if let (Some(_), Some(ended)) = (f.case, f.ended) {
        let text = format!("closed: the record is {} 该信息{}", ended.as_str(), ended.zh());
        return (text, "closed", None, None);
    }
    if let Some(accepted) = outcome.accepted {
        return (at("accepted 已受理", accepted.at), "accepted", Some(accepted.at), None);
    }
    match (&f.case, &f.refused) {
        (Some(case), _) => {
            let waits = match f.matter {
                Matter::Repair => "not accepted yet / 待受理",
                Matter::Objection => "not answered yet / 待答复",
            };
            (format!("joined case {case}, {waits}"), "applied", None, None)
        }
        (None, Some(why)) => (format!("not taken: {why} / 未接收"), "not-taken", None, Some(why)),
        (None, None) => ("on its way / 转送中".to_owned(), "on-its-way", None, None),
    }
}

/// An application as JSON.
pub(crate) fn application(f: &Forwarded) -> Value {
    let (_, state, at, reason) = progress(f);
    json!({
        "application": f.application.to_string(), "matter": f.matter.as_str(), "to": f.to.as_str(), "record": f.record.to_string(), "case": f.case.map(|c| c.to_string()),
        "clerk": f.clerk.as_ref().map(ClerkId::as_str), "refused": f.refused, "state": state, "at": at.map(Timestamp::rfc3339), "reason": reason,
    })
}

/// The first digits of a record's id, enough to tell records apart that a clerk has before them; `--json` has all.
fn short(record: &RecordId) -> String {
    record.to_string().chars().take(12).collect::<String>() + "…"
}

/// Today, and which days count.
struct Days {
    today: Date,
    calendar: Calendar,
}

impl Days {
    fn urgency(&self, deadline: &Deadline) -> Urgency {
        deadline.urgency(self.today, &self.calendar)
    }

    fn text(&self, deadline: &Deadline) -> String {
        let urgency = self.urgency(deadline);
        let provisional = if deadline.provisional { " (provisional 暂定)" } else { "" };
        format!("by {}{provisional}, {} {}", deadline.date, urgency.as_str(), urgency.zh())
    }

    fn value(&self, deadline: Option<Deadline>) -> Value {
        match deadline {
            Some(d) => json!({
                "date": d.date.to_string(), "provisional": d.provisional, "urgency": self.urgency(&d).as_str(),
            }),
            None => json!("not provided"),
        }
    }

    /// A case as a line: what it is about as far as the record is held here, and the record's id short.
    fn line(&self, case: &Case, matter: Option<&CaseMatter>) -> String {
        let step = match (case, case.matter()) {
            (_, Matter::Objection) => "answer 答复",
            (Case::Applied(_), _) => "accept 受理",
            _ => "decide 决定",
        };
        let when = match (case, case.deadline()) {
            (Case::Decided(_), _) => String::new(),
            (_, Some(deadline)) => format!(": {step} {}", self.text(&deadline)),
            (_, None) => format!(": {step}, no deadline provided / 无期限规定"),
        };
        let of = |day: Date| format!(" of {day}");
        let about = matter.map_or(String::new(), |matter| {
            format!(", {}{}", matter.item, matter.decided.map_or(String::new(), of))
        });
        format!(
            "\n  {} case {} {} {}{about}, record {}{when}",
            case.matter().as_str(),
            case.id(),
            case.state(),
            case.state_zh(),
            short(&case.record())
        )
    }

    fn case(&self, case: &Case, matter: Option<&CaseMatter>, authority: &MemberId) -> Value {
        let counters: Vec<&str> =
            case.applied().applications.iter().map(|joined| joined.counter.as_str()).collect();
        let step = match (case, case.matter()) {
            (Case::Decided(_), _) => None,
            (_, Matter::Objection) => Some("answer"),
            (Case::Applied(_), _) => Some("accept"),
            (Case::Accepted(_), _) => Some("decide"),
        };
        json!({
            "case": case.id().to_string(), "matter": case.matter().as_str(), "record": case.record().to_string(), "authority": authority.as_str(),
            "counters": counters, "state": case.state(), "state_zh": case.state_zh(), "step": step, "papers": repair::papers(case),
            "item": matter.map(|m| m.item.as_str()), "matter_decided": matter.and_then(|m| m.decided).map(|day| day.to_string()),
            "clerk": case.responsible(authority).map(ClerkId::as_str), "due": step.map(|_| self.value(case.deadline())),
        })
    }

    fn taken(&self, f: &Forwarded) -> Value {
        let mut value = application(f);
        value["due"] = f.due.map_or(Value::Null, |due| self.value(Some(due)));
        value
    }

    fn missing(&self, m: &Missing) -> Value {
        json!({
            "event": m.event, "recipient": m.to.as_str(), "decided_at": m.since.rfc3339(), "tries": m.tries,
            "due": self.value(m.due),
        })
    }

    fn erasure(&self, e: &DueErasure) -> Value {
        json!({
            "record": e.record.to_string(), "authority": e.authority.as_str(),
            "withdrawn_at": e.retention.is_none().then(|| e.since.rfc3339()), "retention": e.retention,
            "due": self.value(Some(e.due)),
        })
    }
}
