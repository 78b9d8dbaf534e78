//! Departments and their files.

use std::{
    io::{Read, Seek},
    path::Path,
};

use ::node::{
    Problem,
    client::{Client, Session, unexpected},
};
use credit::{
    catalog::Catalog,
    id::{FieldId, SourceId},
};
use crypto::{Digest, pseudonym::FileHasher};
use exchange::{
    limits::FILE_PART_BYTES_MAX,
    wire::{Operation, Response, SubmitReport},
};
use serde_json::{Value, json};

use crate::{
    args::Source,
    cmd::item,
    output::{Output, progress},
};

pub(crate) async fn source(verb: Source) -> Result<Output, Problem> {
    let Source::Add { id, node } = verb;
    add_source(&node.dir, &id).await?;
    Ok(Output::new(json!({ "source": id }), format!("`{id}` may hand in files / 数源单位已登记")))
}

/// Registers a department.
pub(crate) async fn add_source(dir: &Path, id: &str) -> Result<(), Problem> {
    match Client::open(dir)?.operate(Operation::AddSource(source_id(id)?)).await? {
        Response::Done => Ok(()),
        other => Err(unexpected(&other)),
    }
}

fn source_id(text: &str) -> Result<SourceId, Problem> {
    SourceId::parse(text).ok_or_else(|| {
        Problem::new(
            format!("`{text}` is no account name"),
            "write lower-case letters, digits, dots or hyphens, beginning with a letter",
            "账号由小写字母、数字、点或连字符组成，并以字母开头",
        )
    })
}

/// Hands in a file.
pub(crate) async fn submit(
    file: &Path,
    item_name: &str,
    source: &str,
    confirm: Vec<String>,
    dir: &Path,
) -> Result<Output, Problem> {
    let unreadable = |e: std::io::Error| {
        Problem::new(
            format!("{}: {e}", file.display()),
            "give the file a department delivered",
            "请提供部门报送的文件",
        )
    };
    let input = std::fs::File::open(file).map_err(unreadable)?;
    // A directory opens, and only reading it fails.
    if input.metadata().map_err(unreadable)?.is_dir() {
        return Err(unreadable(std::io::ErrorKind::IsADirectory.into()));
    }
    let report = hand_in(dir, source, item_name, confirm, input).await?;
    Ok(Output::new(report_value(&report), report_text(&report)))
}

/// Hands in a file, part by part. It is read twice: its digest is announced first, so that a node that knows the file,
/// or a part of it, says so at once.
pub(crate) async fn hand_in(
    dir: &Path,
    source: &str,
    item_name: &str,
    confirm: Vec<String>,
    mut input: impl Read + Seek,
) -> Result<SubmitReport, Problem> {
    let broken = |e: std::io::Error| Problem::fault(format!("reading the file: {e}"));
    let catalog = Catalog::builtin();
    let item = item(&catalog, item_name)?.id.clone();
    let source = source_id(source)?;
    let (mut hasher, mut size) = (FileHasher::default(), 0);
    while let Some(part) = next_part(&mut input).map_err(broken)? {
        hasher.update(&part);
        size += part.len() as u64;
    }
    input.rewind().map_err(broken)?;
    let session = Client::open(dir)?.session().await?;
    let begin = Operation::BeginFile { source, item, file: Digest(hasher.finish()), confirm };
    let report = hand_over(&session, begin, input, size).await;
    // A connection that only falls silent takes one of this operator's places for half a minute.
    session.close().await;
    report
}

async fn hand_over(
    session: &Session,
    begin: Operation,
    mut input: impl Read,
    size: u64,
) -> Result<SubmitReport, Problem> {
    let broken = |e: std::io::Error| Problem::fault(format!("reading the file: {e}"));
    let upload = match session.ask(begin).await? {
        Response::Upload(upload) => upload,
        Response::Report(report) => return Ok(report),
        other => return Err(unexpected(&other)),
    };
    let bar = progress(size);
    let mut at = 0;
    while let Some(bytes) = next_part(&mut input).map_err(broken)? {
        let len = bytes.len() as u64;
        match session.ask(Operation::FilePart { upload, at, bytes: bytes.into() }).await? {
            Response::Done => at += len,
            other => return Err(unexpected(&other)),
        }
        bar.set_position(at);
    }
    let ended = session.ask(Operation::EndFile(upload)).await;
    bar.finish_and_clear();
    match ended? {
        Response::Report(report) => Ok(report),
        other => Err(unexpected(&other)),
    }
}

fn next_part(input: &mut impl Read) -> std::io::Result<Option<Vec<u8>>> {
    let mut part = Vec::new();
    input.take(FILE_PART_BYTES_MAX as u64).read_to_end(&mut part)?;
    Ok((!part.is_empty()).then_some(part))
}

/// A report for programs.
pub(crate) fn report_value(report: &SubmitReport) -> Value {
    let reasons: Vec<Value> = report
        .reasons
        .iter()
        .map(|r| json!({ "row": r.row, "column": r.column, "code": r.code, "zh": r.zh, "en": r.en }))
        .collect();
    json!({
        "file": report.file.to_string(), "repeated": report.repeated, "encoding": report.encoding,
        "accepted": report.rows.accepted, "amended": report.rows.amended, "duplicate": report.rows.duplicate,
        "rejected": report.rows.rejected, "normalised": report.normalised, "late": report.late, "older": report.older,
        "waiting": report.waiting, "confirmed": report.rows.confirmed.unwrap_or(0), "reasons": reasons,
    })
}

fn report_text(report: &SubmitReport) -> String {
    let rows = report.rows;
    let mut text = format!(
        "{}{} accepted, {} amended, {} duplicate, {} rejected ({}, {} normalised, {} late)\n新增 {}，更新 {}，重复 {}，退回 {}",
        if report.repeated {
            "this file was handed in before; nothing was done now. Its report: "
        } else {
            ""
        },
        rows.accepted,
        rows.amended,
        rows.duplicate,
        rows.rejected,
        report.encoding,
        report.normalised,
        report.late,
        rows.accepted,
        rows.amended,
        rows.duplicate,
        rows.rejected,
    );
    if report.older > 0 {
        text.push_str(&format!(
            "\n{} of the duplicates are older than what is held / 重复中有 {} 条早于现有内容",
            report.older, report.older
        ));
    }
    if report.waiting > 0 {
        text.push_str(&format!(
            "\n{} of the rejected can be taken when this file comes again, see below / 退回中有 {} 条可在处理后随本文件再次提交",
            report.waiting, report.waiting
        ));
    }
    if let Some(confirmed) = report.rows.confirmed {
        text.push_str(&format!("\n{confirmed} taken as confirmed / 经确认收录 {confirmed}"));
    }
    for r in report.reasons.iter().take(20) {
        text.push_str(&format!("\n  row {} `{}` {}: {} / {}", r.row, r.column, r.code, r.en, r.zh));
    }
    if report.reasons.len() > 20 {
        text.push_str(&format!("\n  … and {} more; see --json", report.reasons.len() - 20));
    }
    text
}

/// Shows the catalog, or one item of it.
pub(crate) fn catalog(name: Option<&str>) -> Result<Output, Problem> {
    let catalog = Catalog::builtin();
    if let Some(name) = name {
        let item = item(&catalog, name)?;
        let checks = |field: FieldId| -> Vec<&str> {
            let rule = catalog.check_rule(&item.id, field);
            rule.map_or(Vec::new(), |rule| rule.kinds.iter().map(|kind| kind.as_str()).collect())
        };
        let fields: Vec<Value> = item
            .fields
            .iter()
            .map(|f| {
                json!({ "field": f.id.0, "column": f.column, "name": f.name, "class": f.class.as_str(),
                        "mode": f.mode.as_str(), "mask": f.mask.as_str(), "required": f.required, "checks": checks(f.id) })
            })
            .collect();
        let mut text = format!("{} {} ({})\n", item.id, item.name, item.name_en);
        for f in &item.fields {
            let checks = checks(f.id).join(" ");
            let checks = if checks.is_empty() { checks } else { format!(" [{checks}]") };
            text.push_str(&format!(
                "  {:>3} {:<14} {:<10} {:<6} {:<17} {}{checks}\n",
                f.id.0,
                f.column,
                f.class.as_str(),
                f.mode.as_str(),
                f.mask.as_str(),
                f.name
            ));
        }
        return Ok(Output::new(
            json!({ "item": item.id.as_str(), "name": item.name, "fields": fields }),
            text.trim_end(),
        ));
    }
    let items: Vec<Value> = catalog
        .items()
        .map(|i| json!({ "item": i.id.as_str(), "name": i.name, "name_en": i.name_en, "category": i.category.zh() }))
        .collect();
    let mut text = format!("catalog {}\n", catalog.version());
    for i in catalog.items() {
        text.push_str(&format!("  {:<6} {} {} ({})\n", i.id.as_str(), i.category.zh(), i.name, i.name_en));
    }
    Ok(Output::new(json!({ "catalog": catalog.version(), "items": items }), text.trim_end()))
}

/// Quality per department and item.
pub(crate) async fn quality(dir: &Path) -> Result<Output, Problem> {
    let response = Client::open(dir)?.operate(Operation::Quality).await?;
    let Response::Quality(lines) = response else { return Err(unexpected(&response)) };
    let mut text = String::from("source / item: files, rows, 合规率, 迟报率");
    let mut values = Vec::new();
    for line in &lines {
        let r = line.rows;
        let total = r.accepted + r.amended + r.duplicate + r.rejected;
        let share = |n: u64| if total == 0 { 0.0 } else { n as f64 * 100.0 / total as f64 };
        let (sound, late) = (share(total - r.rejected), share(line.late));
        text.push_str(&format!(
            "\n  {:<18} {:<5} {:>4} {:>7}  {sound:>6.2}%  {late:>6.2}%",
            line.source, line.item, line.files, total
        ));
        values.push(json!({
            "source": line.source, "item": line.item, "files": line.files, "rows": total,
            "compliance_percent": sound, "late_percent": late,
        }));
    }
    Ok(Output::new(json!({ "quality": values }), text))
}
