//! Proofs that travel: a node writes them in both open forms, and the command verifies them anywhere with a policy file or
//! a registry. What was changed on the way, or is judged by another policy, is refused.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test; what fails here fails the test")]

mod common;

use std::{fs, path::Path};

use common::{Federation, federation::Cast, http, rows::numbered, run};
use ledger::{SignedCheckpoint, cose_receipt::CoseReceipt, proof_file::ProofFile};

/// Three regions that witness each other: each log has two witnesses, and needs both.
const THREE: [Cast; 3] = [
    Cast { id: "sh", role: "region", region: "310000", mirrors: "" },
    Cast { id: "js", role: "region", region: "320000", mirrors: "" },
    Cast { id: "zj", role: "region", region: "330000", mirrors: "" },
];

/// Verifies a file by a policy.
fn by_policy(file: &str, policy: &str, more: &[&str]) -> common::Ran {
    run(&[&["verify", file, "--policy", policy, "--json"], more].concat())
}

#[test]
fn proofs_verify_anywhere_and_nothing_else_passes_for_them() {
    let federation = Federation::found_with(&THREE, &["js", "sh", "zj"]);
    for member in THREE {
        federation.spawn(member.id);
    }
    for member in THREE {
        federation.ready(member.id);
    }
    let registry = federation.registry();
    let registry = registry.to_str().unwrap();
    federation.source("sh", "office");
    let rows = federation.file("rows.csv", numbered(1, 8));
    federation.submit("sh", "office", &rows).done();
    let size = federation.sizes("sh")[0];
    assert_eq!(size, 8, "seven records and the signed close");

    // One policy for one log, to a file or to standard output.
    let policy = |member: &str, log: &str| {
        let out = federation.text(&format!("{member}.{log}.policy"));
        let args = ["federation", "policy", "--registry", registry, "--member", member, "--log", log];
        let written = run(&[&args[..], &["--out", &out, "--json"]].concat()).done().json();
        assert_eq!((written["needed"].as_u64(), written["witnesses"].as_u64()), (Some(2), Some(2)));
        assert_eq!(run(&args).done().out, fs::read_to_string(&out).unwrap());
        // The same once more changes nothing, and what is there is not written over with anything else.
        run(&[&args[..], &["--out", &out]].concat()).done();
        run(&[&args[..], &["--out", registry, "--json"]].concat()).fails(1, &[registry, "exists already"]);
        out
    };
    let trusted = policy("sh", "records");
    assert!(!fs::read_to_string(&trusted).unwrap().contains("sh/witness"), "nobody witnesses itself");

    // Both forms, of the first entry and of the last, which holds a signed statement.
    for form in ["tlog-proof", "cose"] {
        for index in [0, size - 1] {
            let out = federation.text(&format!("{index}.{form}"));
            let number = index.to_string();
            let args =
                ["audit", "proof", "--log", "records", "--index", &number, "--form", form, "--out", &out];
            let written = federation.at("sh", &args).done().json();
            assert_eq!((written["cosigned"].as_u64(), written["size"].as_u64()), (Some(2), Some(size)));
            let taken = [&args[..6], &["--form", form, "--out", registry]].concat();
            federation.at("sh", &taken).fails(1, &[registry, "exists already"]);
            assert!(!Path::new(&format!("{registry}.entry")).exists());
            for told in [
                by_policy(&out, &trusted, &[]),
                run(&["verify", &out, "--registry", registry, "--json"]),
                run(&["verify", &out, "--registry", registry, "--require-witnesses", "--json"]),
            ] {
                let told = told.done().json();
                assert_eq!((&told["kind"], &told["index"]), (&form.into(), &index.into()));
                assert_eq!(told["origin"], "xinqiao/e2e/sh/records");
                assert_eq!(told["cosigned"].as_array().unwrap().len(), 2);
                assert_eq!(told["leaf"], written["leaf"]);
                assert!(told["at"].as_str().unwrap().ends_with('Z'));
            }
        }
    }

    // The two forms hold the same checkpoint, which is the published one.
    let text = fs::read_to_string(federation.path("0.tlog-proof")).unwrap();
    let proof = ProofFile::parse(&text).unwrap();
    let cose = CoseReceipt::parse(&fs::read(federation.path("0.cose")).unwrap()).unwrap();
    let published = http::get(&format!("{}/log/records/checkpoint", federation.http("sh")), None).unwrap();
    let published = SignedCheckpoint::parse(core::str::from_utf8(&published.body).unwrap()).unwrap();
    assert_eq!(proof.checkpoint, published);
    assert_eq!(cose.checkpoint(), &published);

    let others = [policy("sh", "access"), policy("js", "records")];
    let none = federation.file("none.policy", "quorum none\n");
    for form in ["tlog-proof", "cose"] {
        let good = federation.text(&format!("0.{form}"));
        let entry = federation.text(&format!("0.{form}.entry"));
        // Another entry, a changed one, none at all.
        let last = federation.text(&format!("{}.{form}.entry", size - 1));
        by_policy(&good, &trusted, &["--entry", &last]).fails(1, &[&good, "not proven"]);
        let mut bytes = fs::read(&entry).unwrap();
        bytes[40] ^= 1;
        let changed = federation.file("changed.entry", &bytes);
        by_policy(&good, &trusted, &["--entry", &changed]).fails(1, &["not proven"]);
        by_policy(&good, &trusted, &["--entry", "/nowhere"]).fails(1, &["/nowhere"]);
        // Another policy.
        for other in others.iter().chain([&none]) {
            by_policy(&good, other, &[]).fails(1, &["xinqiao/e2e/sh/records"]);
        }
        // A flipped byte anywhere; every byte is tried beside the code that reads the forms.
        let bytes = fs::read(&good).unwrap();
        for at in (0..bytes.len()).step_by(bytes.len() / 12) {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            let flipped = federation.file("flipped", &bytes);
            by_policy(&flipped, &trusted, &["--entry", &entry]).fails(1, &["flipped"]);
        }
    }

    // The only entry of a log has an empty path, which a tlog-proof can say and a COSE receipt cannot.
    let alone = federation.text("alone.tlog-proof");
    assert_eq!(federation.sizes("sh")[1], 1, "the registry it adopted");
    federation.at("sh", &["audit", "proof", "--log", "status", "--index", "0", "--out", &alone]).done();
    let told = by_policy(&alone, &policy("sh", "status"), &[]).done().json();
    assert_eq!((told["index"].as_u64(), told["size"].as_u64()), (Some(0), Some(1)));

    // What cannot be proven or written, and what a policy cannot judge.
    let prove = |log: &str, index: &str, form: &str| {
        let out = federation.text("refused");
        let args = ["audit", "proof", "--log", log, "--index", index, "--form", form, "--out", &out];
        let ran = federation.at("sh", &args);
        assert!(!federation.path("refused").exists() && !federation.path("refused.entry").exists());
        ran
    };
    prove("records", "8", "cose").fails(1, &["not-found", "8 entries"]);
    prove("access", "0", "tlog-proof").fails(1, &["not-found"]);
    prove("status", "0", "cose").fails(1, &["one entry"]);
    prove("record", "0", "tlog-proof").fails(1, &["`record`"]);
    prove("records", "0", "pdf").fails(1, &["`pdf`"]);
    by_policy(registry, &trusted, &[]).fails(1, &["neither a tlog-proof nor a COSE receipt"]);
    let broken = federation.file("broken.policy", "# one\nquorum committee\n");
    by_policy(&federation.text("0.cose"), &broken, &[]).fails(1, &["broken.policy: line 2", "`committee`"]);
    run(&["verify", &federation.text("0.cose"), "--json"]).fails(1, &["needs a registry"]);

    // Without its witnesses a log still gives proofs to those who ask for them, and no policy believes them.
    federation.kill("zj");
    federation.submit("sh", "office", &federation.file("more.csv", numbered(20, 21))).done();
    let out = federation.text("unwitnessed");
    let args = ["audit", "proof", "--log", "records", "--index", "9", "--out", &out, "--wait", "1"];
    federation.at("sh", &args).fails(1, &["2 are needed"]);
    assert!(!federation.path("unwitnessed").exists());
    federation.at("sh", &[&args[..], &["--unwitnessed"]].concat()).done();
    by_policy(&out, &trusted, &[]).fails(1, &["quorum"]);
    run(&["verify", &out, "--registry", registry, "--json"]).done();
    run(&["verify", &out, "--registry", registry, "--require-witnesses", "--json"])
        .fails(1, &["2 are needed"]);
}
