//! New keys for members that go on: before the registry names them nothing changes, afterwards the old ones end at the
//! time it states, and whatever was signed, sealed or proven under them holds as before.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test; what fails here fails the test")]

mod common;

use std::{fs, time::Duration};

use common::{
    Federation,
    federation::FIVE,
    http,
    rows::{Penalty, numbered},
    run, until,
};
use credit::id::MemberId;
use exchange::logs::LogName;
use ledger::SignedCheckpoint;
use node::home::read_registry;
use serde_json::Value;

const WAIT: Duration = Duration::from_secs(40);

/// Makes new keys, twice, as who is not sure that the first time went well; the request for them.
fn rotate(federation: &Federation, member: &str) -> String {
    federation.unlocked(&["member", "rotate", "--out", "nowhere"], member).fails(1, &["in use"]);
    federation.stop(member);
    let out = federation.text(&format!("{member}.rotation"));
    // One of an earlier time would not be written over.
    let _ = fs::remove_file(&out);
    let make = || federation.unlocked(&["member", "rotate", "--out", &out], member);
    let made = make().done().json();
    make().fails(1, &[&out, "exists already"]);
    fs::remove_file(&out).unwrap();
    assert_eq!(made["key"], make().done().json()["key"]);
    federation.spawn(member);
    federation.ready(member);
    out
}

/// Has the governors sign what they have admitted, and hands it to the node of each of `members`.
fn sign(federation: &Federation, members: &[&str]) {
    for governor in ["g2", "g3"] {
        federation.unlocked(&["federation", "sign", "--governor", governor], "gov").done();
    }
    let registry = federation.text("gov/registry");
    for member in members {
        federation.at(member, &["federation", "update", "--registry", &registry]).done();
    }
}

fn restart(federation: &Federation, member: &str) {
    federation.stop(member);
    federation.spawn(member);
    federation.ready(member);
}

/// The published checkpoint of a log, once it verifies under the member's present key and its committee has cosigned.
fn witnessed_head(federation: &Federation, member: &str, log: LogName) -> SignedCheckpoint {
    let registry = read_registry(&federation.registry()).unwrap().read().unwrap();
    let id = MemberId::parse(member).unwrap();
    let url = format!("{}/log/{log}/checkpoint", federation.http(member));
    until(&format!("the head of `{member}/{log}` is witnessed"), WAIT, || {
        let got = http::get(&url, None)?;
        let note = SignedCheckpoint::parse(core::str::from_utf8(&got.body).ok()?).ok()?;
        note.verify(&registry.note_key(&id, log).unwrap()).ok()?;
        let (found, needed) = registry.witnessed(&id, &note).unwrap();
        (found >= needed).then_some(note)
    })
}

/// The records that a question about this company brings.
fn records(federation: &Federation, grant: &str, subject: &str) -> Vec<Value> {
    let told = federation.query("bank-a", subject, &["--grant", grant]).done().json();
    let members = told["members"].as_array().unwrap();
    members.iter().flat_map(|m| m["records"].as_array().cloned().unwrap_or_default()).collect()
}

#[test]
fn members_change_their_keys_and_what_they_signed_before_holds() {
    let federation = Federation::found_with(&FIVE[..4], &["js", "sh", "xyd"]);
    let everybody = ["sh", "js", "xyd", "bank-a"];
    for member in everybody {
        federation.spawn(member);
    }
    for member in everybody {
        federation.ready(member);
    }
    federation.source("sh", "office");
    federation.submit("sh", "office", &federation.file("first.csv", numbered(1, 4))).done();
    let company = Penalty::new(2).subject;
    let grant = federation.grant("grant", &company, "bank-a", &["--uses", "40"]);
    let asked = federation.text("asked");
    federation.query("bank-a", &company, &["--grant", &grant, "--out", &asked]).done();
    let record = records(&federation, &grant, &company)[0]["record"].as_str().unwrap().to_owned();
    // What is signed under the first keys: a proof, a certificate of who has acknowledged, a checkpoint with cosignatures.
    let proof = federation.text("proof");
    federation.at("sh", &["audit", "proof", "--log", "records", "--index", "0", "--out", &proof]).done();
    let ruling = federation.file("ruling", "ruling of the court (example)\n");
    let mask = ["record", "mask", &record, "--reason", "重整计划获批（示例）", "--paper", &ruling];
    let unmask = ["record", "unmask", &record, "--reason", "重整计划执行完毕（示例）"];
    // Hidden and shown again: a change that everybody acknowledges.
    let changed = || {
        federation.at("sh", &mask).done();
        federation.at("sh", &unmask).done().json()["event"].to_string()
    };
    let first_change = changed();
    let certificate = federation.text("certificate");
    let certified = |event: &str, out: &str| {
        until("everybody has acknowledged", WAIT, || {
            let told = federation.at("sh", &["repair", "certificate", event]).done().json();
            told["missing"].as_array().unwrap().is_empty().then_some(())
        });
        federation.at("sh", &["repair", "certificate", event, "--out", out]).done();
    };
    certified(&first_change, &certificate);
    let old_head = federation.file("old-head", witnessed_head(&federation, "sh", LogName::Status).as_str());
    let first = federation.file("first-registry", fs::read(federation.registry()).unwrap());

    // A request under the member's name by who has other keys, and one that was signed with none of its keys.
    let stranger = federation.text("stranger.request");
    let args = ["member", "request", "--id", "sh", "--role", "region", "--name", "sh", "--out", &stranger];
    federation.unlocked(&args, "stranger").done();
    federation.unlocked(&["federation", "admit", &stranger], "gov").fails(1, &["already, with other keys"]);

    // Three members at once; each goes on with its old keys until it is started again.
    for member in ["sh", "js", "bank-a"] {
        let request = rotate(&federation, member);
        for _ in 0..2 {
            federation.unlocked(&["federation", "admit", &request], "gov").done();
        }
        let bytes = fs::read(&request).unwrap();
        for at in (0..bytes.len()).step_by(bytes.len() / 8) {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            let changed = federation.file("changed", bytes);
            assert_eq!(federation.unlocked(&["federation", "admit", &changed], "gov").code, Some(1));
        }
    }
    // Started again before anybody else has the registry, it must not be out of reach of those who are to get it there.
    for member in &everybody[1..] {
        federation.stop(member);
    }
    sign(&federation, &["sh"]);
    federation.stop("sh");
    federation.spawn_with("sh", &["--alone"], &[]);
    federation.ready("sh");
    for member in &everybody[1..] {
        federation.spawn(member);
    }
    for member in &everybody[1..] {
        federation.ready(member);
    }
    for member in everybody {
        until("it has the new registry", WAIT, || {
            (federation.status(member)["registry"].as_u64() == Some(2)).then_some(())
        });
    }
    for member in ["sh", "js", "bank-a"] {
        assert!(federation.status(member)["keys_end"].is_string(), "`{member}` is to be started again");
    }
    assert_eq!(records(&federation, &grant, &company).len(), 1, "old keys are good for thirty days");
    for member in ["js", "bank-a", "sh"] {
        let known = federation.path(member).join("known-key");
        until("a peer knows the new keys", WAIT, || known.exists().then_some(()));
        restart(&federation, member);
    }
    assert_eq!(federation.status("sh")["keys_end"], Value::Null);

    // With the new keys: published heads, questions, decisions and their acknowledgements.
    for log in LogName::ALL {
        witnessed_head(&federation, "sh", log);
    }
    assert_eq!(
        records(&federation, &grant, &company).len(),
        1,
        "the grant is signed with a past key of `js`"
    );
    federation.submit("sh", "office", &federation.file("second.csv", numbered(4, 6))).done();
    let second = federation.text("second-certificate");
    certified(&changed(), &second);

    // What was signed before is as good as it was, by either registry; what was signed after, by the new one only.
    let registry = federation.text("gov/registry");
    for trusted in [&first, &registry] {
        for file in [&proof, &certificate, &asked, &grant] {
            run(&["verify", file, "--registry", trusted]).done();
        }
    }
    run(&["verify", &second, "--registry", &registry]).done();
    run(&["verify", &second, "--registry", &first, "--json"]).fails(1, &["signature.invalid"]);
    let open = ["verify", &asked, "--registry", &registry, "--passphrase-file", &federation.text("pass")];
    let opened = run(&[&open[..], &["--open-with", &federation.text("bank-a")]].concat()).done();
    assert!(opened.out.contains(&Penalty::new(2).document), "what was sealed to the old key opens");
    let policy = federation.text("policy");
    let args = ["federation", "policy", "--registry", &registry, "--member", "sh", "--log", "records"];
    run(&[&args[..], &["--out", &policy]].concat()).done();
    run(&["verify", &proof, "--policy", &policy]).done();
    let told = read_registry(&federation.registry()).unwrap().read().unwrap();
    let old = SignedCheckpoint::parse(&fs::read_to_string(&old_head).unwrap()).unwrap();
    let sh = MemberId::parse("sh").unwrap();
    assert_eq!(told.witnessed(&sh, &old).unwrap(), (2, 2), "cosigned by one past key and one present one");
    assert!(told.verify_checkpoint(&sh, LogName::Status, &old).is_ok());

    // The whole history, of both keys, is checked on disk; and comes back from a mirror when the disk is lost.
    federation.stop("sh");
    federation.unlocked(&["node", "fsck"], "sh").done();
    let sizes = {
        // With the registry of before: it names another key of its mirror than the mirror has, and not the one that its own
        // newest entries are signed with.
        fs::remove_dir_all(federation.path("sh/data")).unwrap();
        fs::copy(&first, federation.path("sh/registry")).unwrap();
        federation.spawn_with("sh", &["--take-back"], &[]);
        federation.ready("sh");
        federation.sizes("sh")
    };
    assert!(sizes.iter().all(|size| *size > 0), "{sizes:?}");
    restart(&federation, "sh");
    assert_eq!(federation.status("sh")["keys_end"], Value::Null);
    witnessed_head(&federation, "sh", LogName::Status);

    // Stolen keys: they end as soon as a node has the registry that replaces them.
    let request = rotate(&federation, "bank-a");
    federation.unlocked(&["federation", "admit", &request, "--overlap-days", "0"], "gov").done();
    sign(&federation, &["sh", "js", "xyd", "bank-a"]);
    let refused = federation.query("bank-a", &company, &["--grant", &grant, "--wait", "5"]);
    assert_ne!(refused.code, Some(0), "{}", refused.out);
    restart(&federation, "bank-a");
    until("the new keys are good", WAIT, || {
        federation.query("bank-a", &company, &["--grant", &grant]).code.filter(|code| *code == 0)
    });
}
