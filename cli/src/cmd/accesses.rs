//! A subject's list of accesses, and whether it is complete: at the member's node, or with files alone.

use std::path::Path;

use ::node::{
    Problem,
    client::{Client, unexpected},
    home::read_registry,
};
use credit::{entry::Entry, subject::SubjectId};
use crypto::{
    codec,
    sign::{Signed, Verified as Checked},
};
use exchange::{
    accesses::AccessList,
    artifact::Artifact,
    logs::LogName,
    wire::{Operation, Response},
};
use serde_json::{Value, json};

use crate::{
    args::OfSubject,
    cmd::{
        new_file::NewFile,
        read,
        search::{access_line, access_value},
        subject,
        verify::{self, Verified},
    },
    fetch::Exported,
    output::Output,
};

pub(crate) async fn run(wanted: OfSubject) -> Result<Output, Problem> {
    let given = match &wanted.registry {
        Some(file) => Some(read_registry(file)?.accept(None)?),
        None => None,
    };
    let client = wanted.dir.as_deref().filter(|_| wanted.paper.is_none()).map(Client::open).transpose()?;
    let registry = given.or_else(|| client.as_ref().map(|client| client.registry.clone()));
    let registry = registry.ok_or_else(|| Problem::fault("no registry was given"))?;
    let copied = |dir: &Path| verify::log(&Exported::open(dir)?, &registry);
    let log = wanted.log.as_deref().map(copied).transpose()?;
    let out = wanted.out.as_deref().map(NewFile::private).transpose()?;
    let (signed, now) = match (&wanted.paper, &wanted.subject, &client) {
        (Some(paper), ..) => (read_paper(paper)?, None),
        (None, Some(who), Some(client)) => {
            // As far as the copy goes: the log has grown since, if only by the line about the copying. And as far as the log
            // goes, so that an old copy is not taken for all there is.
            let (who, size) = (subject(who)?, log.as_ref().map(|log| log.checkpoint.size.0));
            let signed = listed(client, &who, size).await?;
            let now = match size {
                Some(_) => Some(registry.verify(&listed(client, &who, None).await?)?),
                None => None,
            };
            (signed, now)
        }
        _ => return Err(Problem::fault("neither a subject nor its paper was given")),
    };
    let list = registry.verify(&signed)?;
    let mut output = match &log {
        Some(log) => held(&list, log)?,
        None => said(&list),
    };
    if let (Some(log), Some(copy)) = (&log, &wanted.copy) {
        against_copy(&mut output, log, &copied(copy)?);
    }
    if let (Some(log), Some(now)) = (&log, &now) {
        beyond(&mut output, list.get(), log, now.get());
    }
    if let (Some(file), Some(out)) = (out, &wanted.out) {
        if let Err(problem) = file.write(&codec::to_vec(&Artifact::Accesses(signed))) {
            return Ok(output.unwritten(&problem));
        }
        output.json["out"] = json!(out);
        output.text.push_str(&format!(
            "\n  what the member has signed is in {}; keep it to yourself / 成员签署的说明已写入，请妥善保管",
            out.display()
        ));
    }
    Ok(output)
}

/// What the member signs about a subject's accesses among the first so many entries of its log.
async fn listed(client: &Client, who: &SubjectId, size: Option<u64>) -> Result<Signed<AccessList>, Problem> {
    match client.operate(Operation::SubjectAccess(who.clone(), size)).await? {
        Response::SubjectAccess(signed) => Ok(signed),
        other => Err(unexpected(&other)),
    }
}

fn read_paper(path: &Path) -> Result<Signed<AccessList>, Problem> {
    match codec::from_slice(&read(path)?) {
        Ok(Artifact::Accesses(signed)) => Ok(signed),
        _ => Err(Problem::new(
            format!("{} is not what a member signs about a subject's accesses", path.display()),
            "give the file that `xinqiao audit subject --out` wrote",
            "请提供 `xinqiao audit subject --out` 写出的文件",
        )),
    }
}

/// What the member has said, by itself.
pub(crate) fn said(list: &Checked<AccessList>) -> Output {
    let (by, at, told) = (list.signed().issuer(), list.signed().issued_at(), list.get());
    Output::new(
        json!({ "ok": true, "kind": "accesses", "member": by, "at": at.rfc3339(), "subject": told.subject.masked(),
                "count": told.count, "size": told.size }),
        format!(
            "`{by}` has signed at {}: {} accesses about {} among the first {} entries of its access log / 成员签署的访问次数；是否完整，请与日志核对（audit subject --paper）",
            at.rfc3339(),
            told.count,
            told.subject.masked(),
            told.size
        ),
    )
}

/// Holds a list against the access log of the member that signed it.
pub(crate) fn held(list: &Checked<AccessList>, log: &Verified) -> Result<Output, Problem> {
    let by = list.signed().issuer();
    if log.member.as_str() != by || log.log != LogName::Access {
        return Err(Problem::new(
            format!(
                "that is the log `{}/{}`, and the list is about the access log of `{by}`",
                log.member, log.log
            ),
            "export that log, from its member or from a mirror, and give its directory",
            "请从该成员或其镜像导出访问日志，并给出目录",
        ));
    }
    let links = log.entries.iter().filter_map(|(index, _, e)| Some((*index, *e.fact.subject_link()?)));
    let held = list.get().held(links, log.checkpoint.size.0);
    let entry = |index: &u64| -> Option<&Entry> {
        let at = log.entries.binary_search_by_key(index, |(index, ..)| *index).ok()?;
        log.entries.get(at).map(|(_, _, entry)| entry)
    };
    let shown = |indices: &[u64]| -> Vec<Value> {
        let of = |index: &u64| entry(index).and_then(|e| access_value(*index, e));
        indices.iter().filter_map(of).collect()
    };
    let (found, uncounted, since) = (shown(&held.found), shown(&held.uncounted), shown(&held.since));
    let lines = |title: &str, values: &[Value]| -> String {
        if values.is_empty() {
            return String::new();
        }
        let lines: String = values.iter().map(|value| format!("\n{}", access_line(value))).collect();
        format!("{title}{lines}")
    };
    let ok = held.complete();
    let told = list.get();
    let last = told.size.checked_sub(1);
    let last_at = last.and_then(|last| entry(&last)).map(|entry| entry.at.rfc3339());
    let (until, until_zh) = match (last, &last_at) {
        (Some(last), Some(at)) => (format!("entry {last}, of {at}"), format!("第 {last} 条（{at}）")),
        (Some(last), None) => (format!("entry {last}"), format!("第 {last} 条")),
        (None, _) => ("the beginning of an empty log".to_owned(), "空日志起点".to_owned()),
    };
    let verdict = match (ok, held.short) {
        (true, _) => format!(
            "the list is complete up to {until}, by the key that the member has signed / 截至{until_zh}的访问记录完整（以该成员签署的密钥为准）"
        ),
        (false, true) => {
            "the log given ends before the list was made; export it again / 所给日志早于该说明，请重新导出"
                .to_owned()
        }
        (false, false) => {
            format!("the list up to {until} is NOT complete / 截至{until_zh}的访问记录不完整")
        }
    };
    let subject = told.subject.masked();
    let text = format!(
        "about {subject} at `{by}`: {} accesses by the member's count, {} in the log: {verdict}{}{}{}",
        told.count,
        found.len(),
        lines("", &found),
        lines("\nnot counted, though they stand there / 日志中有而未计入：", &uncounted),
        lines("\nsince then / 其后的访问：", &since),
    );
    let value = json!({
        "member": by, "subject": subject, "count": told.count, "size": told.size, "last": last, "last_at": last_at,
        "found": found, "missing": held.missing, "uncounted": uncounted, "since": since, "short": held.short, "ok": ok
    });
    Ok(Output::judged(value, &text, ok))
}

/// Says how far the member's log goes beyond the copy that was given, and how many more accesses stand there.
fn beyond(output: &mut Output, list: &AccessList, log: &Verified, now: &AccessList) {
    let entries = now.size.saturating_sub(log.checkpoint.size.0);
    let accesses = now.count.saturating_sub(list.count);
    output.json["beyond"] = json!({ "entries": entries, "accesses": accesses });
    if entries > 0 {
        output.text.push_str(&format!(
            "\n  the member's log goes on beyond this copy: {entries} entries, {accesses} accesses about the subject; export it again to see them / 该成员日志在此副本之后另有 {entries} 条，其中涉及该主体的访问 {accesses} 条，请重新导出后查看"
        ));
    }
}

/// Holds a member's log against a mirror's copy of it: a copy that goes further, or otherwise, shows what the member hides.
fn against_copy(list: &mut Output, log: &Verified, copy: &Verified) {
    let same_log = (&log.member, log.log) == (&copy.member, copy.log);
    let same = log.entries.iter().zip(&copy.entries).all(|(a, b)| a.1 == b.1);
    let beyond = copy.entries.len().saturating_sub(log.entries.len());
    let ok = same_log && same && beyond == 0;
    list.text.push_str(&match (same_log, same, beyond) {
        (false, ..) => "\n  the copy is of another log / 副本属于另一日志".to_owned(),
        (_, false, _) => {
            "\n  the mirror's copy has other entries: two histories / 镜像副本内容不同：存在两个版本"
                .to_owned()
        }
        (_, _, 0) => {
            format!("\n  the mirror's copy of {} entries is its beginning / 镜像副本一致", copy.entries.len())
        }
        _ => format!("\n  the mirror has {beyond} entries more than are shown here / 镜像多出 {beyond} 条"),
    });
    list.json["copy"] = json!({ "entries": copy.entries.len(), "same": same_log && same, "beyond": beyond });
    list.ok &= ok;
    list.json["ok"] = json!(list.ok);
}
