//! A node under load, killed at random moments, again and again: whatever a caller was told is there afterwards. Files come
//! in, accounts are opened, and a bank asks; nobody keeps a copy of the node's logs from which it could fetch what it lost.
//!
//! Five rounds in a test run; `cargo xtask soak kill --rounds 100` runs more. The seed is printed; it fixes the moments, and
//! the scheduler does the rest.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test; what fails here fails the test")]

mod common;

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use common::{
    Federation, command,
    federation::Cast,
    finish_within,
    rows::{Penalty, company, file, numbered},
};
use conformance::sim::Rng;

/// `sh` is killed. `js` collects the bank's letter, and the outlet carries its questions.
const CAST: [Cast; 4] = [
    Cast { id: "sh", role: "region", region: "310000", mirrors: "" },
    Cast { id: "js", role: "region", region: "320000", mirrors: "" },
    Cast { id: "xyd", role: "platform", region: "310000", mirrors: "" },
    Cast { id: "bank-a", role: "bank", region: "", mirrors: "" },
];
/// Callers that hand files in at the same time.
const CALLERS: u64 = 4;
/// Rows of a file.
const ROWS: u64 = 60;
/// A caller whose node has vanished learns it after half a minute; nobody waits here.
const CALLER_WAIT: Duration = Duration::from_secs(2);

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn what_callers_were_told_is_there_after_every_kill() {
    let rounds = number("XINQIAO_KILL_ROUNDS", 5);
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let seed = number("XINQIAO_KILL_SEED", clock.as_millis() as u64);
    println!("seed {seed}, {rounds} rounds");
    let mut rng = Rng::new(seed);
    let federation = Federation::start(&CAST);
    federation.source("sh", "office");
    let first = Penalty::new(0);
    federation.submit("sh", "office", &federation.file("0.csv", file(&[first]))).done();
    let subject = company(0);
    let grant = federation.grant("grant", &subject, "bank-a", &["--uses", "1000000"]);
    let next = AtomicU64::new(1);
    let (mut files, mut sources, mut answers) = (Vec::new(), Vec::new(), BTreeMap::new());
    for round in 0..rounds {
        let stop = AtomicBool::new(false);
        let moment = Duration::from_millis(60 + rng.below(600));
        let (told, named, answered) = std::thread::scope(|scope| {
            let (federation, next, stop) = (&federation, &next, &stop);
            let said = move |member: &str, args: &[&str]| {
                let dir = federation.text(member);
                let ran = finish_within(command(&[args, &["--json", "--dir", &dir]].concat()), CALLER_WAIT);
                ran.filter(|ran| ran.code == Some(0))
            };
            let ran = move |args: &[&str]| said("sh", args).is_some();
            let submitters: Vec<_> = (0..CALLERS)
                .map(|_| {
                    scope.spawn(move || {
                        let mut told = Vec::new();
                        while !stop.load(Ordering::Relaxed) {
                            let n = next.fetch_add(1, Ordering::Relaxed);
                            let rows = numbered(n * ROWS, n * ROWS + ROWS);
                            let path = federation.file(&format!("{n}.csv"), rows);
                            if ran(&["submit", &path, "--item", "CF", "--source", "office"]) {
                                told.push(path);
                            }
                        }
                        told
                    })
                })
                .collect();
            // Beside them small writes, each an acknowledgement of its own, and reading.
            let namer = scope.spawn(move || {
                let mut named = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let source = format!("office-{}", next.fetch_add(1, Ordering::Relaxed));
                    if ran(&["source", "add", &source]) {
                        named.push(source);
                    }
                    ran(&["quality"]);
                }
                named
            });
            // An answer leaves after its entry in the access log is durable, and names it.
            let (subject, grant) = (&subject, &grant);
            let asker = scope.spawn(move || {
                let mut answered = Vec::new();
                let args = ["query", "--subject", subject, "--purpose", "pre-loan", "--fields", "CF"];
                let args = [&args[..], &["--grant", grant, "--wait", "1"]].concat();
                while !stop.load(Ordering::Relaxed) {
                    let Some(ran) = said("bank-a", &args) else { continue };
                    let value = ran.json();
                    let part = value["members"].as_array().unwrap().iter().find(|m| m["member"] == "sh");
                    if let Some(entry) = part.and_then(|part| part["access_entry"].as_u64()) {
                        answered.push((entry, value["question"].as_str().unwrap().to_owned()));
                    }
                }
                answered
            });
            std::thread::sleep(moment);
            federation.kill("sh");
            stop.store(true, Ordering::Relaxed);
            let told: Vec<_> = submitters.into_iter().map(|s| s.join().unwrap()).collect();
            (told, namer.join().unwrap(), asker.join().unwrap())
        });
        // In every other round, on the average, the start is killed too.
        if rng.one_in(2) {
            federation.spawn("sh");
            std::thread::sleep(Duration::from_millis(rng.below(400)));
            federation.kill("sh");
        }
        federation.spawn("sh");
        federation.ready("sh");
        let count: usize = told.iter().map(Vec::len).sum();
        let (named_now, answered_now) = (named.len(), answered.len());
        println!(
            "round {round}: killed after {moment:?}, {count} files, {named_now} accounts, {answered_now} answers"
        );
        for (entry, question) in answered {
            let other = answers.insert(entry, question);
            assert_eq!(other, None, "seed {seed}: entry {entry} of the access log was given to two answers");
        }
        if let Some((entry, _)) = answers.last_key_value() {
            let there = federation.sizes("sh")[2];
            assert!(there > *entry, "seed {seed}: entry {entry} of the access log is lost, it has {there}");
        }
        // The last one that each caller was told of was nearest to the kill; of the others the end asks.
        for path in told.iter().filter_map(|of_caller| of_caller.last()) {
            there(&federation, path, seed);
        }
        files.extend(told.into_iter().flatten());
        sources.extend(named);
        let status = federation.status("sh");
        let known: Vec<&str> =
            status["sources"].as_array().unwrap().iter().filter_map(|s| s.as_str()).collect();
        for source in &sources {
            assert!(known.contains(&source.as_str()), "seed {seed}: `{source}` is lost");
        }
    }
    // What the first rounds were told has survived the later kills.
    for path in &files {
        there(&federation, path, seed);
    }
    let records = federation.sizes("sh")[0];
    assert!(records >= files.len() as u64 * ROWS);
    // Those who were shown its heads have not seen two histories.
    for member in ["js", "xyd", "bank-a"] {
        let evidence = federation.at(member, &["audit", "evidence"]).done().json();
        assert_eq!(evidence["evidence"], serde_json::json!([]), "seed {seed}: {evidence}");
    }
    federation.stop("sh");
    let report = federation.unlocked(&["node", "fsck"], "sh").done().json();
    assert_eq!(report["broken"], 0, "seed {seed}: {report:#}");
    let (told, named, answered) = (files.len(), sources.len(), answers.len());
    println!("{told} files, {named} accounts and {answered} answers acknowledged, {records} entries");
    assert!(told > 0 && named > 0 && answered > 0, "no caller was ever answered");
}

/// A file that was acknowledged is known whole.
#[track_caller]
fn there(federation: &Federation, path: &str, seed: u64) {
    let again = federation.submit("sh", "office", path).done().json();
    assert_eq!((&again["repeated"], &again["accepted"]), (&true.into(), &ROWS.into()), "seed {seed}: {path}");
}
