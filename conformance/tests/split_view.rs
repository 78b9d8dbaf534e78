//! A member that goes on from an old copy of itself signs two histories: its peers convict it, and their operators see
//! it. A witness that goes on from an old copy cosigns nothing before it knows what it had cosigned.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test; what fails here fails the test")]

mod common;

use std::{fs, time::Duration};

use common::{
    Federation,
    federation::{Cast, copy},
    http, rows, run, until,
};
use crypto::{Digest, codec::hex};

const WAIT: Duration = Duration::from_secs(40);

/// `js` and `zj` witness, and `js` mirrors.
fn federation() -> Federation {
    let federation = Federation::found(&[
        Cast { id: "sh", role: "region", region: "310000", mirrors: "js" },
        Cast { id: "js", role: "region", region: "320000", mirrors: "sh" },
        Cast { id: "zj", role: "region", region: "330000", mirrors: "js" },
    ]);
    let at = |member: &str| federation.text(&format!("{member}.request"));
    for (member, mirrors) in [("js", "sh"), ("zj", "js")] {
        let args = ["federation", "admit", &at(member), "--witness", "--mirrors", mirrors];
        federation.unlocked(&args, "gov").done();
    }
    for governor in ["g1", "g2"] {
        federation.unlocked(&["federation", "sign", "--governor", governor], "gov").done();
    }
    let registry = federation.registry();
    for member in ["sh", "js", "zj"] {
        federation.at(member, &["node", "init", "--registry", registry.to_str().unwrap()]).done();
    }
    federation
}

/// Swaps the directory of a stopped member for another one.
fn swap(federation: &Federation, member: &str, other: &str) {
    fs::rename(federation.path(member), federation.path(&format!("{member}.left"))).unwrap();
    fs::rename(federation.path(other), federation.path(member)).unwrap();
}

#[test]
fn a_member_that_goes_on_from_an_old_copy_is_convicted_and_frozen_everywhere() {
    let federation = federation();
    for member in ["sh", "js", "zj"] {
        federation.spawn(member);
    }
    for member in ["sh", "js", "zj"] {
        federation.ready(member);
    }
    federation.source("sh", "office");
    federation.stop("sh");
    copy(&federation.path("sh"), &federation.path("sh.old"));
    federation.spawn("sh");
    federation.ready("sh");
    let file = federation.file("one.csv", rows::numbered(1, 3));
    federation.submit("sh", "office", &file).done();
    let sizes = federation.sizes("sh");
    let copied = |mirror: &str| {
        let status = federation.status(mirror);
        let copies = status["mirrors"].as_array().unwrap().clone();
        let of = |c: &serde_json::Value| c["member"] == "sh" && c["log"] == "records";
        copies.iter().find(|c| of(c)).and_then(|c| c["entries"].as_u64())
    };
    until("`js` has a copy", WAIT, || (copied("js") == Some(sizes[0])).then_some(()));
    // Nobody is there who could tell it what it has lost, and its operator swears that nothing is.
    for member in ["sh", "js", "zj"] {
        federation.stop(member);
    }
    swap(&federation, "sh", "sh.old");
    federation.spawn_with("sh", &["--alone"], &[]);
    federation.ready("sh");
    let file = federation.file("two.csv", rows::numbered(11, 15));
    federation.submit("sh", "office", &file).done();
    for member in ["js", "zj"] {
        federation.spawn(member);
        federation.ready(member);
    }
    let out = federation.text("evidence");
    for member in ["js", "zj"] {
        let found = until(&format!("`{member}` has evidence"), WAIT, || {
            let value = federation.at(member, &["audit", "evidence", "--out", &out]).done().json();
            value["evidence"].as_array().unwrap().first().cloned()
        });
        assert_eq!(found["owner"], "sh");
        // The file convicts without a node, and whoever was convicted is refused.
        let registry = federation.registry();
        let file = found["file"].as_str().unwrap();
        let args = ["--json", "verify", file, "--registry", registry.to_str().unwrap()];
        let verified = run(&args).done().json();
        assert_eq!(
            (verified["kind"].as_str(), verified["convicts"].as_str()),
            (Some("evidence"), Some("sh"))
        );
        let mut bytes = fs::read(file).unwrap();
        let at = bytes.windows(11).position(|w| w == b"xinqiao/e2e").unwrap() + 30;
        bytes[at] ^= 1;
        let forged = federation.file("forged.evidence", bytes);
        run(&["--json", "verify", &forged, "--registry", registry.to_str().unwrap()]).fails(1, &[]);
    }
    // Until the operator says otherwise, for that member's node alone.
    federation.at("js", &["federation", "unfreeze", "zj", "--reason", "none"]).fails(1, &["not-found"]);
    federation.at("js", &["federation", "unfreeze", "sh", "--reason", "the old copy was ended"]).done();
    let value = federation.at("js", &["audit", "evidence"]).done().json();
    assert_eq!(value["evidence"][0]["cleared"]["reason"], "the old copy was ended");
    let value = federation.at("zj", &["audit", "evidence"]).done().json();
    assert!(value["evidence"][0]["cleared"].is_null());
}

#[test]
fn a_witness_that_goes_on_from_an_old_copy_asks_before_it_cosigns() {
    let federation = federation();
    for member in ["sh", "js", "zj"] {
        federation.spawn(member);
    }
    for member in ["sh", "js", "zj"] {
        federation.ready(member);
    }
    federation.source("sh", "office");
    let origin = "xinqiao/e2e/sh/records";
    let log = hex(&Digest::of(origin.as_bytes()).0);
    // A log of which `zj` keeps no copy.
    let cosigned = || {
        let got = http::get(&format!("{}/witness/{log}/checkpoint", federation.http("zj")), None)?;
        let text = String::from_utf8(got.body).unwrap();
        text.lines().nth(1)?.parse::<u64>().ok()
    };
    let hand_in = |name: &str, from: u64, to: u64| {
        let file = federation.file(name, rows::numbered(from, to));
        federation.submit("sh", "office", &file).done();
        let size = federation.sizes("sh")[0];
        until("`zj` has cosigned", WAIT, || (cosigned() == Some(size)).then_some(size))
    };
    let before = hand_in("one.csv", 1, 3);
    federation.stop("zj");
    copy(&federation.path("zj"), &federation.path("zj.old"));
    federation.spawn("zj");
    federation.ready("zj");
    let after = hand_in("two.csv", 11, 15);
    let checkpoint = http::get(&format!("{}/log/records/checkpoint", federation.http("sh")), None).unwrap();
    federation.stop("zj");
    federation.stop("sh");
    swap(&federation, "zj", "zj.old");
    federation.spawn("zj");
    federation.ready("zj");
    // It remembers `before`, or knows better from the copy of `js`; the owner, which alone can tell all, is away.
    assert!([before, after].contains(&cosigned().unwrap()));
    let body = format!("old {before}\n\n{}", String::from_utf8(checkpoint.body).unwrap());
    let url = format!("{}/witness/add-checkpoint", federation.http("zj"));
    let ask = || http::post(&url, &body).unwrap();
    assert_eq!(ask().status, 503);
    federation.spawn("sh");
    federation.ready("sh");
    let answer = until("`zj` has heard `sh`", WAIT, || Some(ask()).filter(|got| got.status != 503));
    assert_eq!((answer.status, String::from_utf8(answer.body).unwrap()), (409, format!("{after}\n")));
    assert_eq!(cosigned(), Some(after));
}
