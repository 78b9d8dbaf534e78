//! Nodes whose directories are damaged, older than they say, or on a disk that fails: what they say, what they refuse, and
//! that nothing acknowledged is lost.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test; what fails here fails the test")]

mod common;

use std::{fs, path::Path, process::Command, time::Duration};

use common::{Federation, command, fault_library, federation::Cast, finish_within, rows::numbered, until};

const TWO: [Cast; 2] = [
    Cast { id: "sh", role: "region", region: "310000", mirrors: "js" },
    Cast { id: "js", role: "region", region: "320000", mirrors: "sh" },
];

/// Copies a directory of a node that does not run, as people do.
fn copy(from: &str, to: &str) {
    let _ = fs::remove_dir_all(to);
    assert!(Command::new("cp").args(["-Rp", "--sparse=always", from, to]).status().unwrap().success());
}

/// `node run` does not come up: its exit code, and what it said.
fn refused(federation: &Federation, member: &str) -> (Option<i32>, String) {
    let from = federation.said(member, 0).len();
    federation.spawn(member);
    (federation.ended(member), federation.said(member, from))
}

#[track_caller]
fn says_what_to_do(said: &str, what: &str) {
    assert!(said.contains(what) && said.contains("what to do: ") && said.contains("处理办法："), "{said}");
}

#[test]
fn a_directory_that_is_not_what_it_was_does_not_serve() {
    let federation = Federation::start(&TWO);
    let text = |name: &str| federation.text(name);
    federation.source("sh", "office");
    federation.submit("sh", "office", &federation.file("1.csv", numbered(1, 40))).done();
    federation.at("js", &["reconcile"]).done();
    // While the node runs the directory is its own.
    federation.unlocked(&["node", "fsck"], "sh").fails(1, &["in use"]);
    federation.stop("sh");
    let report = federation.unlocked(&["node", "fsck"], "sh").done().json();
    assert_eq!((&report["broken"], &report["payloads"]), (&0.into(), &39.into()), "{report:#}");
    copy(&text("sh"), &text("sh.old"));

    // An older store under the same directory.
    federation.spawn("sh");
    federation.ready("sh");
    federation.submit("sh", "office", &federation.file("2.csv", numbered(40, 60))).done();
    federation.at("js", &["reconcile"]).done();
    let sizes = federation.sizes("sh");
    federation.stop("sh");
    copy(&text("sh"), &text("sh.new"));
    copy(&text("sh.old/data"), &text("sh/data"));
    // What it lacks was written down beside it last.
    federation.spawn("sh");
    federation.ready("sh");
    assert_eq!(federation.sizes("sh"), sizes);
    federation.stop("sh");
    copy(&text("sh.old/data"), &text("sh/data"));
    fs::remove_file(text("sh/data.wal")).unwrap();
    let (code, said) = refused(&federation, "sh");
    assert_eq!(code, Some(1), "{said}");
    says_what_to_do(&said, "were acknowledged");
    federation.unlocked(&["node", "fsck"], "sh").fails(1, &["were acknowledged"]);

    // No store, and nothing beside it that says so but `served`.
    fs::remove_dir_all(text("sh/data")).unwrap();
    fs::remove_file(text("sh/data.tally")).unwrap();
    let (code, said) = refused(&federation, "sh");
    assert_eq!(code, Some(1), "{said}");
    says_what_to_do(&said, "missing or empty");

    // On the operator's word the mirror gives back what it has seen.
    federation.spawn_with("sh", &["--take-back"], &[]);
    federation.ready("sh");
    let taken = federation.sizes("sh");
    assert_eq!(taken[0], sizes[0]);
    federation.stop("sh");
    let report = federation.unlocked(&["node", "fsck"], "sh").done().json();
    assert_eq!(report["without_payload"], 59, "{report:#}");

    // A directory that went on alone, and meets a mirror that has seen another past.
    federation.stop("js");
    copy(&text("sh.old"), &text("sh"));
    federation.spawn_with("sh", &["--alone"], &[]);
    federation.ready("sh");
    federation.submit("sh", "office", &federation.file("3.csv", numbered(60, 62))).done();
    federation.stop("sh");
    let from = federation.said("sh", 0).len();
    federation.spawn("js");
    federation.spawn("sh");
    until("sh is behind", Duration::from_secs(30), || {
        federation.said("sh", from).contains("what to do: ").then_some(())
    });
    says_what_to_do(&federation.said("sh", from), "data was lost");
    let status = common::run(&["node", "status", "--dir", &text("sh")]).done();
    says_what_to_do(&status.out, "is behind");
    let doctor = common::run(&["doctor", "--dir", &text("sh")]);
    assert!(doctor.code == Some(1) && doctor.out.contains("put the whole directory back"), "{doctor:?}");
    assert!(doctor.out.contains("恢复整个目录"), "{doctor:?}");
    federation.at("sh", &["source", "add", "another"]).fails(1, &["member.behind"]);
    federation.stop("sh");

    // The way out it names.
    copy(&text("sh.new"), &text("sh"));
    federation.spawn("sh");
    federation.ready("sh");
    assert_eq!(federation.sizes("sh"), sizes);
}

/// One node without mirrors.
const ONE: [Cast; 1] = [Cast { id: "sh", role: "region", region: "310000", mirrors: "" }];
/// Changes on the disk of a node that takes four files; the faults lie among them.
const CHANGES: u64 = 60;

#[test]
fn a_node_on_a_failing_disk_loses_nothing_it_acknowledged() {
    let federation = Federation::start(&ONE);
    let dir = federation.text("sh");
    federation.source("sh", "office");
    federation.stop("sh");
    let whole = federation.text("whole");
    copy(&dir, &whole);
    let kinds = ["error", "error-done", "torn", "kill-before", "kill-after", "no-space"];
    let library = fault_library().to_str().unwrap();
    let files: Vec<String> =
        (0..4).map(|n| federation.file(&format!("{n}.csv"), numbered(n * 50, n * 50 + 30))).collect();
    let (mut ended, mut faults) = (0, 0);
    for (case, at) in (3..CHANGES).step_by(5).enumerate() {
        let kind = kinds[case % kinds.len()];
        copy(&whole, &dir);
        let at = at.to_string();
        let env = [
            ("LD_PRELOAD", library),
            ("FAULT_DIR", dir.as_str()),
            ("FAULT_AT", &at),
            ("FAULT_KIND", kind),
            ("RUST_BACKTRACE", "0"),
        ];
        let from = federation.said("sh", 0).len();
        federation.spawn_with("sh", &[], &env);
        let url = format!("{}/readyz", federation.http("sh"));
        until("sh is ready or has ended", Duration::from_secs(20), || {
            let ready = common::http::get(&url, None).is_some_and(|got| got.status == 200);
            (ready || federation.is_down("sh")).then_some(())
        });
        let mut acknowledged = Vec::new();
        for file in &files {
            if federation.is_down("sh") {
                break;
            }
            let submit = ["submit", file, "--item", "CF", "--source", "office", "--json", "--dir", &dir];
            // A caller whose node has vanished learns it after half a minute; nobody waits here.
            let ran = finish_within(command(&submit), Duration::from_secs(2));
            acknowledged.extend(ran.filter(|ran| ran.code == Some(0)).map(|_| file));
        }
        if federation.is_down("sh") {
            ended += 1;
            let code = federation.ended("sh");
            let said = federation.said("sh", from);
            assert!(code.is_none() || code == Some(3), "{kind} {at}: {code:?}\n{said}");
            if code == Some(3) {
                faults += 1;
                says_what_to_do(&said, "");
                assert!(said.contains("nothing acknowledged is lost"), "{kind} {at}: {said}");
            }
        } else {
            federation.kill("sh");
        }
        let report = federation.unlocked(&["node", "fsck"], "sh").done().json();
        assert_eq!(report["broken"], 0, "{kind} {at}: {report:#}");
        federation.spawn("sh");
        federation.ready("sh");
        for file in acknowledged {
            let again = federation.submit("sh", "office", file).done().json();
            assert_eq!((&again["repeated"], &again["accepted"]), (&true.into(), &30.into()), "{kind} {at}");
        }
        federation.submit("sh", "office", &files[3]).done();
        federation.stop("sh");
    }
    println!("{ended} of 12 cases ended the node, {faults} of them with an error");
    assert!(ended >= 6 && faults >= 1);
    assert!(Path::new(&dir).exists());
}
