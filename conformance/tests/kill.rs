//! A node under load, killed at random moments, again and again: whatever a caller was told is there afterwards.
//!
//! Five rounds in a test run; `cargo xtask soak kill --rounds 100` runs more. The seed is printed; it fixes the moments, and
//! the scheduler does the rest.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test; what fails here fails the test")]

mod common;

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use common::{Federation, command, federation::Cast, finish_within, rows::numbered};
use conformance::sim::Rng;

const ONE: [Cast; 1] = [Cast { id: "sh", role: "region", region: "310000", mirrors: "" }];
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
    let federation = Federation::start(&ONE);
    federation.source("sh", "office");
    let next = AtomicU64::new(1);
    let (mut files, mut sources) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let stop = AtomicBool::new(false);
        let moment = Duration::from_millis(60 + rng.below(600));
        let (told, named) = std::thread::scope(|scope| {
            let (federation, next, stop) = (&federation, &next, &stop);
            let ran = move |args: &[&str]| {
                let dir = federation.text("sh");
                let ran = finish_within(command(&[args, &["--json", "--dir", &dir]].concat()), CALLER_WAIT);
                ran.is_some_and(|ran| ran.code == Some(0))
            };
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
            std::thread::sleep(moment);
            federation.kill("sh");
            stop.store(true, Ordering::Relaxed);
            let told: Vec<_> = submitters.into_iter().map(|s| s.join().unwrap()).collect();
            (told, namer.join().unwrap())
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
        println!("round {round}: killed after {moment:?}, {count} files, {} accounts", named.len());
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
    federation.stop("sh");
    let report = federation.unlocked(&["node", "fsck"], "sh").done().json();
    assert_eq!(report["broken"], 0, "seed {seed}: {report:#}");
    println!("{} files and {} accounts acknowledged, {records} entries", files.len(), sources.len());
    assert!(!files.is_empty() && !sources.is_empty(), "no caller was ever answered");
}

/// A file that was acknowledged is known whole.
#[track_caller]
fn there(federation: &Federation, path: &str, seed: u64) {
    let again = federation.submit("sh", "office", path).done().json();
    assert_eq!((&again["repeated"], &again["accepted"]), (&true.into(), &ROWS.into()), "seed {seed}: {path}");
}
