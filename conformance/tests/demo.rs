//! `xinqiao demo` from outside: what it promises in its JSON document, and that it leaves nothing behind.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test; what fails here fails the test")]

mod common;

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use common::{command, finish, http, run, until};
use serde_json::Value;

/// The processes whose command line holds `text`.
fn processes(text: &str) -> Vec<u32> {
    let listed = finish({
        let mut ps = Command::new("ps");
        ps.args(["-A", "-ww", "-o", "pid=,args="]);
        ps
    });
    let ours = |line: &&str| line.contains(text) && line.contains("node run");
    listed.out.lines().filter(ours).filter_map(|l| l.split_whitespace().next()?.parse().ok()).collect()
}

/// A demonstration in the background; an interrupt ends it, and a failed test interrupts it.
struct Background(Child);

impl Background {
    fn interrupt(&self) {
        let mut kill = Command::new("kill");
        kill.args(["-INT", &self.0.id().to_string()]);
        finish(kill);
    }

    fn ended(&mut self) -> ExitStatus {
        until("the end after an interrupt", Duration::from_secs(20), || self.0.try_wait().unwrap())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if self.0.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.interrupt();
            let _ = self.0.wait();
        }
    }
}

/// Every promise of the document's shape.
fn holds_what_it_promises(document: &Value) {
    assert_eq!(document["ok"], true, "{document:#}");
    let steps = document["steps"].as_array().unwrap();
    assert!(steps.len() >= 15, "{} steps", steps.len());
    for step in steps {
        assert_eq!(step["ok"], true, "{step:#}");
        for key in ["name", "expected", "outcome"] {
            assert!(step[key].as_str().is_some_and(|text| !text.is_empty()), "{key} in {step:#}");
        }
        assert!(step["figures"].is_object(), "{step:#}");
    }
    let nodes = document["nodes"].as_array().unwrap();
    let members: Vec<&str> = nodes.iter().map(|n| n["member"].as_str().unwrap()).collect();
    assert_eq!(members, ["ah", "bank-a", "bank-b", "cn.sh", "js", "sh", "xyd", "zj"]);
    for node in nodes {
        let member = node["member"].as_str().unwrap();
        assert!(node["quic"].as_str().unwrap().starts_with("127.0.0.1:"));
        let http = node["http"].as_str().unwrap();
        assert!(http.starts_with("http://127.0.0.1:"));
        assert!(Path::new(node["dir"].as_str().unwrap()).is_absolute());
        for log in ["records", "status", "access"] {
            let at = &node["logs"][log];
            assert_eq!(at["url"].as_str().unwrap(), format!("{http}/log/{log}"));
            assert!(at["vkey"].as_str().unwrap().starts_with(&format!("xinqiao/delta-demo/{member}/{log}+")));
        }
    }
    assert!(document["auth"].as_str().unwrap().starts_with("Bearer "));
}

#[test]
fn every_expectation_holds_and_nothing_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("demo").to_str().unwrap().to_owned();
    let ran = run(&["demo", "--json", "--seed", "3", "--records", "30", "--dir", &at]).done();
    holds_what_it_promises(&ran.json());
    assert!(processes(&at).is_empty(), "node processes are left");
    // A directory that was named stays, with the evidence of every step in it.
    for file in ["governors/registry", "grant", "answer", "certificate", "sh-access/checkpoint"] {
        assert!(dir.path().join("demo").join(file).is_file(), "{file}");
    }
    let said =
        run(&["verify", &format!("{at}/certificate"), "--registry", &format!("{at}/governors/registry")]);
    assert!(said.done().out.contains("传播证明有效"));
    // `sh` has answered with the record, but never after it had acknowledged its end.
    let (certificate, registry) = (format!("{at}/certificate"), format!("{at}/governors/registry"));
    let log = format!("{at}/sh-access");
    let args = ["audit", "misuse", "--json", &log, "--certificate", &certificate, "--registry", &registry];
    let value = run(&args).done().json();
    assert_eq!((&value["member"], value["misuses"].as_array().map(Vec::len)), (&"sh".into(), Some(0)));
    run(&["demo", "--json", "--dir", &at]).fails(1, &[&at, "not empty"]);
}

#[test]
fn kept_nodes_answer_until_the_interrupt_and_end_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("demo").to_str().unwrap().to_owned();
    let child = command(&["demo", "--json", "--seed", "4", "--records", "12", "--keep", "--dir", &at])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut demo = Background(child);
    // The document must come through the pipe while the process still runs.
    let mut text = String::new();
    let mut reader = BufReader::new(demo.0.stdout.take().unwrap());
    let document: Value = loop {
        assert_ne!(reader.read_line(&mut text).unwrap(), 0, "the pipe ended before the document: {text}");
        if text.ends_with("\n}\n") {
            break serde_json::from_str(&text).unwrap();
        }
    };
    assert!(demo.0.try_wait().unwrap().is_none(), "it does not wait");
    holds_what_it_promises(&document);
    let nodes = document["nodes"].as_array().unwrap();
    for node in nodes {
        let health = format!("{}/readyz", node["http"].as_str().unwrap());
        assert_eq!(http::get(&health, None).unwrap().status, 200, "{health}");
    }
    let (sh, registry) = (format!("{at}/sh"), format!("{at}/governors/registry"));
    let status = run(&["node", "status", "--json", "--dir", &sh]).done().json();
    assert_eq!(status["phase"], "ready");
    let auth = document["auth"].as_str().unwrap();
    let url = nodes[0]["logs"]["records"]["url"].as_str().unwrap();
    run(&["verify", url, "--registry", &registry, "--auth", auth]).done();
    assert_eq!(processes(&at).len(), nodes.len());

    demo.interrupt();
    let ended = demo.ended();
    assert_eq!(ended.code(), Some(0));
    assert!(processes(&at).is_empty(), "node processes are left");
    for node in nodes {
        let health = format!("{}/healthz", node["http"].as_str().unwrap());
        assert!(http::get(&health, None).is_none(), "{health} still answers");
    }
}

#[test]
fn an_interrupted_demonstration_leaves_no_node() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("demo").to_str().unwrap().to_owned();
    let child = command(&["demo", "--json", "--records", "12", "--dir", &at])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut demo = Background(child);
    until("nodes of the demonstration", Duration::from_secs(30), || {
        (processes(&at).len() == 8).then_some(())
    });
    demo.interrupt();
    let ended = demo.ended();
    assert_eq!(ended.code(), Some(1), "an interrupted story is not told");
    assert!(processes(&at).is_empty(), "node processes are left");
}
