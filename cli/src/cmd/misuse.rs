//! A member that uses a record after it has acknowledged its end convicts itself: both halves are its own signed word.

use std::path::{Path, PathBuf};

use ::node::{Problem, home::read_registry};
use crypto::codec;
use exchange::{artifact::Artifact, logs::LogName};
use serde_json::json;

use crate::{
    cmd::{read, verify},
    fetch::Exported,
    output::Output,
};

/// Every use in the exported access log that a certificate speaks against; nothing found is good, where anything was held
/// against a certificate at all.
pub(crate) fn run(log: &Path, certificates: &[PathBuf], registry: &Path) -> Result<Output, Problem> {
    let registry = read_registry(registry)?.accept(None)?;
    let verified = verify::log(&Exported::open(log)?, &registry)?;
    if verified.log != LogName::Access {
        return Err(Problem::new(
            format!("{} is no access log", log.display()),
            "give the directory that `audit export --log access` has written",
            "请给出 audit export --log access 导出的目录",
        ));
    }
    let (mut found, mut lines, mut idle, mut held) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for path in certificates {
        let Ok(Artifact::Certificate(certificate)) = codec::from_slice(&read(path)?) else {
            return Err(Problem::new(
                format!("{} is no propagation certificate", path.display()),
                "give files of `repair certificate --out`",
                "请给出 repair certificate --out 生成的文件",
            ));
        };
        let checked = certificate.verify(&registry)?;
        let since = checked.bound_since(&verified.member);
        let later = verified
            .entries
            .iter()
            .filter(|(_, _, entry)| since.is_some_and(|since| entry.at > since))
            .count();
        if later == 0 {
            let (why, zh) = match (checked.ended(), since) {
                (None, _) => ("is about no end of a record", "不涉及记录的终止"),
                (_, None) => ("does not say that this member has acknowledged it", "未载明该成员已确认"),
                (_, Some(_)) => {
                    ("is acknowledged after the last entry of this log", "确认时间晚于该日志最后一条")
                }
            };
            lines.push(format!("\n  {} {why}: nothing was held against it / {zh}，未作比对", path.display()));
            idle.push(json!({ "certificate": path.display().to_string(), "why": why }));
            continue;
        }
        held += later;
        for (index, leaf, entry) in &verified.entries {
            let Some(misuse) = checked.misused(&verified.member, entry) else { continue };
            let (known, used) = (misuse.acknowledged.rfc3339(), misuse.used.rfc3339());
            lines.push(format!(
                "\n  entry {index}, {used}: record {} was given out; its end was acknowledged {known} / 确认终止后仍对外提供",
                misuse.record
            ));
            found.push(json!({
                "entry": index, "leaf": leaf.to_string(), "record": misuse.record.to_string(),
                "acknowledged": known, "used": used, "certificate": path.display().to_string(),
            }));
        }
    }
    let (member, count) = (&verified.member, found.len());
    // Nothing found among nothing looked at says nothing.
    let ok = count == 0 && held > 0;
    let verdict = match (count, held) {
        (0, 0) => "nothing was held against any certificate / 未作任何比对".to_owned(),
        _ => format!("违规使用 {count} 次"),
    };
    let text = format!(
        "`{member}`: {count} uses after an acknowledged end in {} entries, {held} of them later than one / {verdict}{}",
        verified.entries.len(),
        lines.concat()
    );
    let value =
        json!({ "ok": ok, "member": member.as_str(), "held": held, "misuses": found, "not_held": idle });
    Ok(Output::judged(value, text, ok))
}
