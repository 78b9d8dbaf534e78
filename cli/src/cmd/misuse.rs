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

/// Every use in the exported access log that a certificate speaks against; nothing found is good.
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
    let (mut found, mut lines) = (Vec::new(), Vec::new());
    for path in certificates {
        let Ok(Artifact::Certificate(certificate)) = codec::from_slice(&read(path)?) else {
            return Err(Problem::new(
                format!("{} is no propagation certificate", path.display()),
                "give files of `repair certificate --out`",
                "请给出 repair certificate --out 生成的文件",
            ));
        };
        let checked = certificate.verify(&registry)?;
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
    let text = format!(
        "`{member}`: {count} uses after an acknowledged end in {} entries / 违规使用 {count} 次{}",
        verified.entries.len(),
        lines.concat()
    );
    Ok(Output::judged(
        json!({ "ok": count == 0, "member": member.as_str(), "misuses": found }),
        text,
        count == 0,
    ))
}
