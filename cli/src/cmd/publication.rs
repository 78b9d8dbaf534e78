//! How records are published: pushed from here, received here, published and taken down here.

use std::path::Path;

use ::node::{
    Problem,
    client::{Client, unexpected},
    clock,
};
use credit::{
    calendar::Calendar,
    catalog::Catalog,
    repair::{Deadline, Urgency},
    value::Date,
};
use crypto::Timestamp;
use exchange::{
    artifact::status_fact,
    wire::{CopyLine, Operation, PageLine, PushLine, Response},
};
use serde_json::{Value, json};

use crate::{
    cmd::{date, record},
    output::Output,
};

/// Records received to be published or taken down; with `id` that one, with what it says.
pub(crate) async fn received(id: Option<&str>, pressing: bool, dir: &Path) -> Result<Output, Problem> {
    let wanted = id.map(record).transpose()?;
    let response = Client::open(dir)?.operate(Operation::Received(wanted)).await?;
    let Response::Copies(mut copies) = response else { return Err(unexpected(&response)) };
    if pressing {
        copies.retain(|copy| copy.due.is_some_and(|due| urgency(&due) > Urgency::Open));
    }
    // What is due first comes first; what is done, or is not to be done, last.
    copies.sort_by_key(|copy| (copy.due.map_or(Date::LONG_TERM, |due| due.date), copy.since));
    let overdue =
        copies.iter().filter(|c| c.due.is_some_and(|due| urgency(&due) == Urgency::Overdue)).count();
    let catalog = Catalog::builtin();
    let mut text =
        format!("{} records received to be published, {overdue} overdue / 逾期 {overdue} 件", copies.len());
    for copy in &copies {
        text.push_str(&copied_line(&catalog, copy));
    }
    let lines: Vec<Value> = copies.iter().map(|copy| copied_value(&catalog, copy)).collect();
    Ok(Output::new(json!({ "received": lines, "overdue": overdue }), text))
}

/// Own records that are published or pushed by a rule.
pub(crate) async fn pushed(dir: &Path) -> Result<Output, Problem> {
    let response = Client::open(dir)?.operate(Operation::Pushes).await?;
    let Response::Pushes(lines) = response else { return Err(unexpected(&response)) };
    let mut text = format!("{} records to be published by a rule / 依规定公示的信息", lines.len());
    for line in &lines {
        text.push_str(&format!("\n  {}: {}", line.record, pushed_line(line)));
    }
    Ok(Output::new(json!({ "pushed": lines.iter().map(pushed_value).collect::<Vec<_>>() }), text))
}

/// Says that this member has published a record.
pub(crate) async fn publish(
    id: &str,
    on: Option<&str>,
    confirmed: bool,
    dir: &Path,
) -> Result<Output, Problem> {
    let operation = Operation::Publish(record(id)?, on.map(date).transpose()?, confirmed);
    say(id, operation, ("published", "已记录公示日期并告知认定单位"), dir).await
}

/// Says that this member has taken a record down.
pub(crate) async fn take_down(id: &str, on: Option<&str>, dir: &Path) -> Result<Output, Problem> {
    let operation = Operation::TakeDown(record(id)?, on.map(date).transpose()?);
    say(id, operation, ("taken down", "已记录停止公示日期并告知认定单位"), dir).await
}

/// Says something of a page, and shows the day that its entry has: without `--on` one that was said before, where there was one.
async fn say(
    id: &str,
    operation: Operation,
    (done, done_zh): (&str, &str),
    dir: &Path,
) -> Result<Output, Problem> {
    let client = Client::open(dir)?;
    let response = client.operate(operation).await?;
    let Response::Receipt(receipt) = response else { return Err(unexpected(&response)) };
    let fact = receipt.verify(&client.registry).and_then(|proven| status_fact(&client.registry, &proven));
    let fact = fact.map_err(|why| Problem::fault(format!("the node's receipt does not hold: {why}")))?;
    let on = fact.page().ok_or_else(|| Problem::fault("the node's receipt is of another entry"))?.on;
    Ok(Output::new(
        json!({ "record": id, "on": on.to_string(), "event": receipt.index }),
        format!(
            "entry {} of the status log says that it was {done} on {on}; its authority is told / {done_zh}",
            receipt.index
        ),
    ))
}

/// How an own record is published, as a sentence.
pub(crate) fn pushed_line(line: &PushLine) -> String {
    let province = &line.province;
    let way = match (&line.to, line.pushed, line.taken) {
        (None, ..) => {
            format!(
                "no member serves province {province}, not pushed until one does / 尚无成员可接收，未推送"
            )
        }
        (Some(_), false, _) => "to be published here / 由本单位公示".to_owned(),
        (Some(to), true, Some(at)) => format!("pushed to `{to}`, which took it at {} / 已推送", at.rfc3339()),
        (Some(to), true, None) => format!("on its way to `{to}`, tried {} times / 推送中", line.tries),
    };
    let refused = line
        .refused
        .as_ref()
        .map_or(String::new(), |why| format!("; the receiver did not take it: {why} / 接收方未接收：{why}"));
    let again = if line.again {
        "; publish it again / 内容已更正或已解除屏蔽，请重新公示"
    } else {
        ""
    };
    let published =
        line.published.map_or(String::new(), |day| format!("; published on {day} / 已于该日公示"));
    let standing = format!("{} {}", line.status.as_str(), line.status.zh());
    let pages: String = line.pages.iter().filter_map(|page| page_line(line, page)).collect();
    // The last day for taking it down stands with the page.
    let due = due(line.due.filter(|_| !line.is_to_be_taken_down()));
    format!("{way}{due}{published}{again}{refused}; {standing}{pages}")
}

/// Whether a page is still there; nothing while it may be.
fn page_line(line: &PushLine, page: &PageLine) -> Option<String> {
    let member = &page.member;
    match (page.down, page.due) {
        (Some(on), _) => Some(format!("; `{member}` took it down on {on} / 已于该日停止公示")),
        (None, Some(last)) => {
            Some(format!("; `{member}` is to take it down{} / 应停止公示", due(Some(last))))
        }
        (None, None) if line.status.disclosable() => None,
        (None, None) => Some(format!("; `{member}` has not said that it took it down / 尚未确认停止公示")),
    }
}

fn page_value(page: &PageLine) -> Value {
    json!({
        "member": page.member.as_str(), "published": page.published.to_string(),
        "taken_down": page.down.map(|day| day.to_string()), "due": deadline(page.due),
    })
}

/// The same as JSON.
pub(crate) fn pushed_value(line: &PushLine) -> Value {
    json!({
        "record": line.record.to_string(), "province": line.province, "to": line.to.as_ref().map(|to| to.as_str()),
        "pushed": line.pushed, "since": line.since.rfc3339(), "tries": line.tries, "taken": line.taken.map(Timestamp::rfc3339),
        "due": deadline(line.due), "published": line.published.map(|day| day.to_string()), "status": line.status.as_str(),
        "again": line.again, "refused": line.refused, "pages": line.pages.iter().map(page_value).collect::<Vec<_>>(),
    })
}

/// What is to be done about a copy.
fn action(copy: &CopyLine) -> (&'static str, &'static str) {
    match (copy.is_publishable(), copy.published, copy.current) {
        (false, Some(_), _) if copy.down.is_some() => ("taken down", "已停止公示"),
        (false, Some(_), _) if copy.corrected => {
            ("take it down: corrected", "认定单位已更正，请停止公示旧内容")
        }
        (false, Some(_), _) => ("take it down", "请停止公示"),
        (false, None, _) => ("not published here, do not publish it", "未在本单位公示，不得公示"),
        (true, Some(_), true) => ("published", "已公示"),
        (true, Some(_), false) => ("publish again", "内容已更正或已解除屏蔽，请重新公示"),
        (true, None, _) => ("publish", "待公示"),
    }
}

fn copied_line(catalog: &Catalog, copy: &CopyLine) -> String {
    let (en, zh) = action(copy);
    let mut text = format!(
        "\n  {} from `{}`: {en} {zh}{}; {} {}",
        copy.record,
        copy.from,
        due(copy.due),
        copy.status.as_str(),
        copy.status.zh()
    );
    if let Some(as_of) = copy.as_of {
        text.push_str(&format!(" (as of 截至 {})", as_of.rfc3339()));
    }
    if let Some(on) = copy.published {
        text.push_str(&format!(", published on {on}"));
    }
    if let Some(on) = copy.down {
        text.push_str(&format!(", taken down on {on}"));
    }
    if !copy.held {
        text.push_str("; its values are not here any more / 内容已不再保存");
    }
    if let Some(subject) = &copy.subject {
        text.push_str(&format!("\n    {}", subject.as_str()));
    }
    for (column, value) in fields(catalog, copy) {
        text.push_str(&format!("\n    {column}: {value}"));
    }
    text
}

fn copied_value(catalog: &Catalog, copy: &CopyLine) -> Value {
    json!({
        "record": copy.record.to_string(), "from": copy.from.as_str(), "since": copy.since.rfc3339(),
        "do": action(copy).0, "due": deadline(copy.due), "status": copy.status.as_str(),
        "as_of": copy.as_of.map(Timestamp::rfc3339),
        "published": copy.published.map(|day| day.to_string()), "taken_down": copy.down.map(|day| day.to_string()), "current": copy.current, "held": copy.held, "corrected": copy.corrected,
        "item": copy.item.as_ref().map(|item| item.as_str()), "subject": copy.subject.as_ref().map(|subject| subject.as_str()),
        "fields": fields(catalog, copy).collect::<serde_json::Map<_, _>>(),
    })
}

/// Columns and values of a copy that was opened.
fn fields<'a>(catalog: &'a Catalog, copy: &'a CopyLine) -> impl Iterator<Item = (String, Value)> + 'a {
    let item = copy.item.as_ref().and_then(|id| catalog.item(id));
    copy.fields.iter().map(move |opened| {
        let column = item.and_then(|item| item.field(opened.field)).map(|field| field.column.clone());
        (column.unwrap_or_else(|| opened.field.0.to_string()), json!(opened.value.to_display()))
    })
}

fn urgency(due: &Deadline) -> Urgency {
    due.urgency(Date::from_timestamp(clock::now()), &Calendar::builtin())
}

fn due(deadline: Option<Deadline>) -> String {
    deadline.map_or(String::new(), |due| {
        let (urgency, provisional) =
            (urgency(&due), if due.provisional { " (provisional 暂定)" } else { "" });
        format!(" by {}{provisional}, {} {}", due.date, urgency.as_str(), urgency.zh())
    })
}

fn deadline(due: Option<Deadline>) -> Value {
    due.map_or(Value::Null, |due| {
        json!({ "date": due.date.to_string(), "provisional": due.provisional, "urgency": urgency(&due).as_str() })
    })
}
