//! Looks at a member's directory and this machine; each finding says how to mend it.

use std::{path::Path, time::Instant};

use ::node::{Problem, client::Client, clock, home::Home};
use credit::{calendar::Calendar, value::Date};
use exchange::wire::{Operation, Response};
use serde_json::{Value, json};

use crate::output::Output;

/// A flush that takes longer makes every acknowledgement slow.
const FLUSH_SLOW_MS: u128 = 50;

pub(crate) async fn run(dir: &Path) -> Result<Output, Problem> {
    let mut findings: Vec<(&str, bool, String)> = Vec::new();
    let home = Home::open(dir)?;
    findings.push(("directory", true, format!("{} has a format this build reads", dir.display())));
    let registry = home.registry();
    findings.push(match &registry {
        Ok((_, registry)) => ("registry", true, registry.to_string()),
        Err(problem) => ("registry", false, format!("{problem}; {}", problem.next)),
    });
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let open = std::fs::metadata(dir).is_ok_and(|m| m.permissions().mode() & 0o077 != 0);
        let text = if open {
            "others may read the directory; run chmod 700 on it"
        } else {
            "only its owner reads it"
        };
        findings.push(("permissions", !open, text.to_owned()));
    }
    findings.push(flush(dir));
    let today = Date::from_timestamp(clock::now());
    let known = Calendar::builtin().knows(today);
    findings.push((
        "calendar",
        known,
        if known {
            format!("working days are known for {today}")
        } else {
            format!(
                "no working-day calendar covers {today}; deadlines are provisional, install a newer build"
            )
        },
    ));
    let runs_node = match (&registry, home.member()) {
        (Ok((_, registry)), Ok(member)) => registry.member(&member).is_ok_and(|m| !m.stated.quic.is_empty()),
        _ => true,
    };
    findings.push(match node(dir).await {
        _ if !runs_node => ("node", true, "this member runs no node".to_owned()),
        Ok((phase, text)) if phase == "behind" => {
            let problem = Problem::behind(text);
            ("node", false, format!("{problem}; {} / {}", problem.next, problem.next_zh))
        }
        Ok((_, text)) => ("node", true, text),
        Err(problem) => ("node", false, format!("{problem}; {}", problem.next)),
    });
    let ok = findings.iter().all(|f| f.1);
    let text: Vec<String> = findings
        .iter()
        .map(|(what, ok, text)| format!("{} {what:<12} {text}", if *ok { "ok  " } else { "MEND" }))
        .collect();
    let values: Vec<Value> =
        findings.iter().map(|(what, ok, text)| json!({ "check": what, "ok": ok, "text": text })).collect();
    Ok(Output::judged(json!({ "ok": ok, "checks": values }), text.join("\n"), ok))
}

fn flush(dir: &Path) -> (&'static str, bool, String) {
    let path = dir.join("doctor.tmp");
    let started = Instant::now();
    let written = std::fs::File::create(&path).and_then(|mut file| {
        use std::io::Write;
        file.write_all(&[0; 4096])?;
        file.sync_all()
    });
    let took = started.elapsed().as_millis();
    let _ = std::fs::remove_file(&path);
    match written {
        Ok(()) if took <= FLUSH_SLOW_MS => ("disk", true, format!("a write reaches the disk in {took} ms")),
        Ok(()) => ("disk", false, format!("a write takes {took} ms to reach the disk; use a faster one")),
        Err(e) => ("disk", false, format!("cannot write: {e}; free space or mend permissions")),
    }
}

/// Phase of the running node, and a line about it.
async fn node(dir: &Path) -> Result<(String, String), Problem> {
    match Client::open(dir)?.operate(Operation::Status).await? {
        Response::Status(status) => {
            let text =
                format!("`{}` is {}, {} deliveries pending", status.member, status.phase, status.pending);
            Ok((status.phase, text))
        }
        other => Err(::node::client::unexpected(&other)),
    }
}
