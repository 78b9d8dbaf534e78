//! What people and machines get wrong, on a running federation. Every mistake gives one clear error that names its
//! place and the remedy in both languages, the right exit code, and leaves the logs as they were.
//!
//! Exit codes: 0 done · 1 refused or verification failed · 2 usage · 3 fault.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test; what fails here fails the test")]

mod common;

use std::{
    fs,
    net::{TcpListener, UdpSocket},
    path::Path,
    process::Command,
    sync::OnceLock,
};

use common::{
    Federation, command,
    federation::FIVE,
    finish, http,
    rows::{Penalty, company, file, numbered},
    run,
};

/// One federation for this file.
fn federation() -> &'static Federation {
    static SHARED: OnceLock<Federation> = OnceLock::new();
    SHARED.get_or_init(|| {
        let federation = Federation::start(&FIVE);
        federation.source("sh", "office");
        let first = federation.file("first.csv", numbered(1, 5));
        federation.submit("sh", "office", &first).done();
        federation
    })
}

/// Runs `act` and holds that no log of `member` has grown meanwhile.
#[track_caller]
fn unchanged<T>(federation: &Federation, member: &str, act: impl FnOnce() -> T) -> T {
    federation.settle(member);
    let before = federation.sizes(member);
    let done = act();
    assert_eq!(federation.sizes(member), before, "the logs of `{member}` have grown");
    done
}

#[test]
fn submissions_that_cannot_be_taken_say_why_and_change_nothing() {
    let federation = federation();
    let _alone = federation.alone();
    let good = federation.file("good.csv", numbered(10, 12));
    let submit = |file: &str, item: &str, source: &str| {
        federation.at("sh", &["submit", file, "--item", item, "--source", source])
    };
    unchanged(federation, "sh", || {
        submit(&good, "CFX", "office").fails(1, &["`CFX`", "catalog"]);
        submit(&good, "cf", "office").fails(1, &["`cf`", "catalog"]);
        submit(&good, "CF", "nobody").fails(1, &["source.unknown", "`nobody`"]);
        submit(&good, "CF", "No Body").fails(1, &["`No Body`"]);
        submit(&federation.text("missing.csv"), "CF", "office").fails(1, &["missing.csv", "No such file"]);
        submit(&federation.text("gov"), "CF", "office").fails(1, &["gov", "directory"]);
        let broken: [(&str, Vec<u8>); 7] = [
            ("empty.csv", Vec::new()),
            ("garbage.csv", (0..4096u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()),
            ("zeros.csv", vec![0; 512]),
            ("utf16.csv", {
                let words = numbered(20, 22).encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
                [&[0xff, 0xfe][..], &words].concat()
            }),
            ("page.csv", b"<html><body>404</body></html>\n".to_vec()),
            ("sheet.xlsx", b"PK\x03\x04\x14\x00\x06\x00\x08\x00\x00\x00!\x00".to_vec()),
            ("foreign.csv", "a,b,c\n1,2,3\n".into()),
        ];
        for (name, bytes) in broken {
            let path = federation.file(name, bytes);
            submit(&path, "CF", "office").fails(1, &["file.unreadable"]);
        }
        federation
            .at("bank-a", &["submit", &good, "--item", "CF", "--source", "office"])
            .fails(1, &["caller.not-allowed"]);
    });
    // Afterwards the good file is still taken.
    assert_eq!(submit(&good, "CF", "office").done().json()["accepted"], 2);
}

#[test]
fn rows_that_are_wrong_come_back_with_row_column_and_reason_in_both_languages() {
    let federation = federation();
    let _alone = federation.alone();
    let mut rows: Vec<Penalty> = (30..36).map(Penalty::new).collect();
    // A wrong check digit: the last character replaced by another of the alphabet.
    let code = &mut rows[1].subject;
    let last = if code.ends_with('1') { '2' } else { '1' };
    code.replace_range(17.., &last.to_string());
    rows[2].subject = "00000000000000000X".into();
    rows[3].name = String::new();
    rows[4] = rows[0].clone();
    let report = federation.submit("sh", "office", &federation.file("rows.csv", file(&rows))).done().json();
    assert_eq!((&report["accepted"], &report["rejected"]), (&2.into(), &4.into()), "{report:#}");
    let reasons = report["reasons"].as_array().unwrap();
    let at: Vec<u64> = reasons.iter().map(|r| r["row"].as_u64().unwrap()).collect();
    for row in [3, 4, 5, 6] {
        assert!(at.contains(&row), "row {row} has no reason: {report:#}");
    }
    for reason in reasons {
        let text = |key: &str| reason[key].as_str().unwrap();
        assert!(!text("code").is_empty() && text("en").is_ascii() && !text("zh").is_ascii(), "{reason:#}");
    }
}

#[test]
fn questions_that_are_wrong_leave_no_entry() {
    let federation = federation();
    let _alone = federation.alone();
    federation.settle("sh");
    let (subject, sh) = (company(1), federation.sizes("sh"));
    let ask = |subject: &str, fields: &str, more: &[&str]| {
        let args = ["query", "--subject", subject, "--purpose", "pre-loan", "--fields", fields];
        federation.at("bank-a", &[&args[..], more].concat())
    };
    unchanged(federation, "bank-a", || {
        ask(&subject, "CF:CF_NOPE", &[]).fails(1, &["`CF_NOPE`", "`CF`"]);
        ask(&subject, "CF:999", &[]).fails(1, &["`999`"]);
        // A field that is left out is not the whole item.
        for open in ["CF:", "CF:CF_WSH,", "CF:,CF_WSH"] {
            ask(&subject, open, &[]).fails(1, &[&format!("`{open}` names no field")]);
        }
        ask(&subject, "CF", &["--wait", "0"]).fails(1, &["--wait"]);
        ask(&subject, "NOPE", &[]).fails(1, &["`NOPE`", "catalog"]);
        for bad in ["", "91", "九一三二", "91320102Y00007UP0A", "110105194912310021", "00000000000000000X"]
        {
            let said = ask(bad, "CF", &[]).fails(1, &["subject"]);
            assert!(bad.len() < 8 || !said.err.contains(bad), "an identifier is repeated: {}", said.err);
        }
        federation
            .at("bank-a", &["query", "--subject", &subject, "--purpose", "curiosity", "--fields", "CF"])
            .fails(1, &["`curiosity`"]);
        federation
            .at("bank-a", &["query", "--subject", &subject, "--purpose", "pre-loan"])
            .fails(1, &["names no field"]);
        ask(&subject, "CF", &["--clerk", ""]).fails(1, &["clerk"]);
        ask(&subject, "CF", &["--clerk", &"c".repeat(65)]).fails(1, &["clerk"]);
        let others = ["first.csv", "sh.request", "gov/registry", "pass", "gov"];
        for other in others.map(|name| federation.text(name)) {
            ask(&subject, "CF", &["--grant", &other]).fails(1, &[&other]);
        }
        ask(&subject, "CF", &["--grant", &federation.text("no-grant")])
            .fails(1, &["no-grant", "No such file"]);
    });
    assert_eq!(federation.sizes("sh"), sh);
    // The longest wait that can be written is no reason to break down.
    let waits = ask(&subject, "CF", &["--wait", "18446744073709551615"]);
    assert!(matches!(waits.code, Some(0 | 1)) && !waits.err.contains("panicked"), "{waits:?}");
    let args = ["audit", "pass", "--minutes", "18446744073709551615"];
    federation.unlocked(&args, "js").done();
}

#[test]
fn a_question_that_is_refused_names_its_rule_and_exits_with_1() {
    let federation = federation();
    let _alone = federation.alone();
    let subject = company(1);
    let refused = |ran: common::Ran, rule: &str| {
        assert_eq!(ran.code, Some(1), "{ran:?}");
        let value = ran.json();
        let members = value["members"].as_array().unwrap();
        assert_eq!(members.len(), 2, "{value:#}");
        for member in members {
            assert_eq!((&member["outcome"], &member["records"]), (&"refused".into(), &serde_json::json!([])));
            let withheld = member["withheld"].as_array().unwrap();
            assert!(!withheld.is_empty() && withheld.iter().all(|w| w["rule"] == rule), "{rule}: {member:#}");
        }
    };
    refused(federation.query("bank-a", &subject, &[]), "grant-missing");
    let grant = federation.grant("for-b", &subject, "bank-b", &[]);
    refused(federation.query("bank-a", &subject, &["--grant", &grant]), "grant-other-asker");
    let grant = federation.grant("other", &company(2), "bank-a", &[]);
    refused(federation.query("bank-a", &subject, &["--grant", &grant]), "grant-other-subject");
    let grant = federation.grant("revoked", &subject, "bank-a", &["--uses", "5"]);
    federation.query("bank-a", &subject, &["--grant", &grant]).done();
    federation.at("js", &["grant", "revoke", &grant]).done();
    common::until("the revocation works at sh", std::time::Duration::from_secs(10), || {
        let value = federation.query("bank-a", &subject, &["--grant", &grant]).json();
        let all = value["members"].as_array().unwrap();
        all.iter()
            .all(|m| m["withheld"].as_array().is_some_and(|w| w.iter().all(|w| w["rule"] == "grant-revoked")))
            .then_some(())
    });
    let once = federation.grant("once", &subject, "bank-a", &["--uses", "1"]);
    federation.query("bank-a", &subject, &["--grant", &once]).done();
    refused(federation.query("bank-a", &subject, &["--grant", &once]), "grant-used-up");
}

#[test]
fn grants_that_cannot_be_issued_say_why() {
    let federation = federation();
    let _beside = federation.beside();
    let (subject, letter) = (company(1), federation.file("some.letter", "a letter\n"));
    let issue = |at: &str, subject: &str, grantee: &str, more: &[&str]| {
        let out = federation.text("never.grant");
        let args = [
            "grant",
            "issue",
            "--subject",
            subject,
            "--grantee",
            grantee,
            "--letter",
            &letter,
            "--out",
            &out,
        ];
        let ran = federation.at(at, &[&args[..], more].concat());
        assert!(!Path::new(&out).exists(), "a grant was written");
        ran
    };
    let whole = ["--purpose", "pre-loan", "--item", "CF"];
    issue("js", &subject, "bank-a", &[&whole[..], &["--days", "0"]].concat())
        .fails(1, &["grant.invalid", "valid"]);
    issue("js", &subject, "bank-a", &[&whole[..], &["--uses", "0"]].concat())
        .fails(1, &["grant.invalid", "use"]);
    for (option, bad) in
        [("--keep-days", "0"), ("--keep-days", "1831"), ("--period", "0/30"), ("--period", "3/367")]
    {
        issue("js", &subject, "bank-a", &[&whole[..], &[option, bad]].concat())
            .fails(1, &["grant.invalid", "days"]);
    }
    issue("js", &subject, "bank-a", &[&whole[..], &["--period", "monthly"]].concat())
        .fails(1, &["`monthly`"]);
    issue("js", &subject, "bank-z", &whole).fails(1, &["member.unknown", "`bank-z`"]);
    issue("js", &subject, "Bank A", &whole).fails(1, &["`Bank A`"]);
    issue("js", "123", "bank-a", &whole).fails(1, &["subject"]);
    issue("sh", &subject, "bank-a", &whole).fails(1, &["grant.invalid", "collector"]);
    issue("js", &subject, "bank-a", &["--purpose", "fun", "--item", "CF"]).fails(1, &["`fun`"]);
    issue("js", &subject, "bank-a", &["--purpose", "pre-loan", "--item", "CF:NOPE"]).fails(1, &["`NOPE`"]);
    for verb in ["show", "revoke"] {
        let args = ["grant", verb, &letter];
        let ran =
            if verb == "show" { run(&[&args[..], &["--json"]].concat()) } else { federation.at("js", &args) };
        ran.fails(1, &["some.letter", "no grant"]);
    }
    // A full disk where the grant should go.
    let full = [
        "grant",
        "issue",
        "--subject",
        &subject,
        "--grantee",
        "bank-a",
        "--letter",
        &letter,
        "--out",
        "/dev/full",
    ];
    federation.at("js", &[&full[..], &whole].concat()).fails(1, &["/dev/full"]);
}

#[test]
fn verbs_about_records_and_cases_say_what_an_id_looks_like() {
    let federation = federation();
    let _beside = federation.beside();
    let (none, case) = ("00".repeat(32), "00".repeat(16));
    let sh = |args: &[&str]| federation.at("sh", args);
    sh(&["status", "12"]).fails(1, &["64 hexadecimal"]);
    sh(&["erase", "zz", "--reason", "r"]).fails(1, &["64 hexadecimal"]);
    sh(&["erase", &none, "--reason", "r"]).fails(1, &["record.unknown"]);
    sh(&["record", "withdraw", &none, "--reason", "r"]).fails(1, &["record.unknown"]);
    let answer = ["dispute", "resolve", &case, "--ground", "g"];
    assert_eq!(sh(&answer).code, Some(2), "an answer says what was found");
    sh(&[&answer[..], &["--corrected"]].concat()).fails(1, &["case.unknown"]);
    sh(&["repair", "accept", "1"]).fails(1, &["32 hexadecimal"]);
    sh(&["repair", "accept", &case]).fails(1, &["case.unknown"]);
    sh(&["repair", "decide", &case]).fails(1, &["case.unknown"]);
    sh(&["repair", "certificate", "999999"]).fails(1, &["999999"]);
    federation
        .unlocked(
            &["audit", "export", "--member", "sh", "--log", "secrets", "--out", &federation.text("x")],
            "js",
        )
        .fails(1, &["`secrets`"]);
}

#[test]
fn a_wrong_or_missing_passphrase_is_named_with_its_file() {
    let federation = federation();
    let _beside = federation.beside();
    let (dir, wrong) = (federation.text("js"), federation.file("wrong", "another passphrase\n"));
    let pass = |file: &str| run(&["audit", "pass", "--json", "--dir", &dir, "--passphrase-file", file]);
    pass(&wrong).fails(1, &["keystore", "passphrase"]);
    pass(&federation.text("no-pass")).fails(1, &["no-pass", "No such file"]);
    pass(&federation.file("short", "1234567\nthe second line does not count\n"))
        .fails(1, &["short", "8 bytes"]);
    pass(&federation.file("blank", "")).fails(1, &["blank", "8 bytes"]);
    pass(&dir).fails(1, &[&dir, "directory"]);
    run(&["audit", "pass", "--json", "--dir", &dir]).fails(1, &["neither a passphrase nor a key"]);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let open = federation.file("open", "an example passphrase\n");
        pass(&open).done();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o604)).unwrap();
        pass(&open).fails(1, &[&open, "everybody"]);
    }
    // The first line counts, whatever ends it.
    pass(&federation.file("windows", "an example passphrase\r\nmore\r\n")).done();
    let sign = ["federation", "sign", "--governor", "g1", "--json", "--dir"];
    let gov = federation.text("gov");
    run(&[&sign[..], &[&gov, "--passphrase-file", &wrong]].concat()).fails(1, &["g1.key"]);
    run(&["node", "run", "--json", "--dir", &federation.text("js"), "--passphrase-file", &wrong])
        .fails(1, &["in use"]);
}

#[test]
fn a_directory_that_is_not_a_members_or_not_this_builds_is_refused() {
    let federation = federation();
    let _beside = federation.beside();
    fs::create_dir_all(federation.path("plain")).unwrap();
    for dir in ["plain", "absent", "pass"] {
        federation.at(dir, &["node", "status"]).fails(1, &[dir, "not a member's directory"]);
        federation.unlocked(&["node", "run"], dir).fails(1, &[dir, "not a member's directory"]);
        federation.at(dir, &["doctor"]).fails(1, &[dir]);
    }
    for (name, text, said) in
        [("newer", "xinqiao 2\n", "format 2"), ("odd", "sqlite 3\n", "not a format line")]
    {
        fs::create_dir_all(federation.path(name)).unwrap();
        fs::write(federation.path(name).join("FORMAT"), text).unwrap();
        federation.at(name, &["node", "status"]).fails(1, &[name, said]);
        federation.unlocked(&["node", "run"], name).fails(1, &[name, said]);
        let registry = federation.registry();
        federation
            .at(name, &["node", "init", "--registry", registry.to_str().unwrap()])
            .fails(1, &[name, said]);
        assert_eq!(fs::read_dir(federation.path(name)).unwrap().count(), 1, "`{name}` was written to");
    }
}

#[test]
fn a_directory_in_use_is_not_taken_a_second_time() {
    let federation = federation();
    let _beside = federation.beside();
    let registry = federation.registry();
    federation
        .unlocked(&["node", "run"], "sh")
        .fails(1, &[&federation.text("sh"), "in use by another process"]);
    federation.at("sh", &["node", "init", "--registry", registry.to_str().unwrap()]).fails(1, &["in use"]);
    let request = ["member", "request", "--id", "another", "--role", "region", "--name", "x", "--out"];
    let out = federation.text("again.request");
    federation
        .unlocked(&[&request[..], &[&out]].concat(), "sh")
        .fails(1, &[&federation.text("sh"), "not empty"]);
    assert!(!Path::new(&out).exists());
    assert_eq!(http::get(&format!("{}/readyz", federation.http("sh")), None).unwrap().status, 200);
}

#[test]
fn a_port_in_use_is_named_and_a_stopped_node_is_said_to_be_unreachable() {
    let federation = federation();
    let _alone = federation.alone();
    let (quic, web) = (federation.setting("bank-b", "quic"), federation.setting("bank-b", "http"));
    federation.stop("bank-b");
    federation.at("bank-b", &["node", "status"]).fails(1, &["peer.unreachable", &quic]);
    let said = federation.at("bank-b", &["node", "status"]);
    assert!(said.err.contains("xinqiao node run") && said.err.contains("启动节点"), "{said:?}");
    {
        let _held = UdpSocket::bind(&quic).unwrap();
        federation.unlocked(&["node", "run"], "bank-b").fails(1, &["cannot listen", &quic]);
    }
    {
        let _held = TcpListener::bind(&web).unwrap();
        federation.unlocked(&["node", "run"], "bank-b").fails(1, &["cannot listen", &web]);
    }
    // Settings that cannot be meant.
    let toml = federation.path("bank-b").join("node.toml");
    let sound = fs::read_to_string(&toml).unwrap();
    for (from, to, places) in [
        (web.as_str(), "0.0.0.0:0", &["0.0.0.0:0", "loopback"][..]),
        (quic.as_str(), "nowhere", &["`nowhere`"]),
        ("member = ", "membre = ", &["node.toml", "membre"]),
        ("\"bank-b\"", "\"bank-a\"", &["bank-a", "key"]),
    ] {
        fs::write(&toml, sound.replace(from, to)).unwrap();
        federation.unlocked(&["node", "run"], "bank-b").fails(1, places);
    }
    fs::write(&toml, sound).unwrap();
    federation.spawn("bank-b");
    federation.ready("bank-b");
}

#[test]
fn a_registry_that_is_not_approved_or_was_changed_is_refused_everywhere() {
    let federation = federation();
    let _beside = federation.beside();
    let member = |name: &str, dir: &str| {
        let out = federation.text(&format!("{dir}.request"));
        let args = ["member", "request", "--id", name, "--role", "auditor", "--name", "x", "--out", &out];
        federation.unlocked(&args, dir).done();
        out
    };
    let late = member("late", "late");
    let (init, admit) = (["federation", "init", "--name", "second"], ["federation", "admit", &late]);
    federation.unlocked(&init, "gov2").done();
    federation.unlocked(&init, "gov2").fails(1, &["gov2", "already"]);
    federation.unlocked(&admit, "gov2").done();
    federation.unlocked(&["federation", "sign", "--governor", "g1"], "gov2").done();
    let draft = federation.text("gov2/registry.draft");
    let init_with = |dir: &str, registry: &str| federation.at(dir, &["node", "init", "--registry", registry]);
    init_with("late", &draft).fails(1, &["registry.invalid"]);
    federation.unlocked(&["federation", "sign", "--governor", "g1"], "gov2").done();
    init_with("late", &draft).fails(1, &["registry.invalid"]);
    federation.unlocked(&["federation", "sign", "--governor", "g9"], "gov2").fails(1, &["g9"]);
    federation.unlocked(&["federation", "admit", &draft], "gov2").fails(1, &["registry.draft"]);
    // A registry that does not know the member changes nothing in its directory: the right one is still taken.
    let before = fs::read_dir(federation.path("late")).unwrap().count();
    init_with("late", federation.registry().to_str().unwrap()).fails(1, &["member.unknown", "late"]);
    let files: Vec<_> =
        fs::read_dir(federation.path("late")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(!federation.path("late").join("registry").exists(), "{before} files became {files:?}");
    federation.unlocked(&["federation", "sign", "--governor", "g2"], "gov2").done();
    let complete = federation.text("gov2/registry");
    init_with("late", &complete).done();
    // Another federation's registry is no successor, and does not know the member either.
    init_with("late", federation.registry().to_str().unwrap()).fails(1, &[]);
    init_with("late", &complete).done();
    // No changed byte is accepted, by nobody who reads registries.
    let sound = fs::read(&complete).unwrap();
    for at in (0..sound.len()).step_by(sound.len() / 23) {
        let mut bent = sound.clone();
        bent[at] ^= 0x04;
        let path = federation.file("bent.registry", bent);
        run(&["federation", "show", &path, "--json"]).fails(1, &[]);
        // Where the registry itself is the one in force, only an approval is damaged: then there is nothing to do.
        let ran = init_with("late", &path);
        assert!(matches!(ran.code, Some(0 | 1)), "{ran:?}");
        assert_eq!(
            fs::read(federation.path("late").join("registry")).unwrap(),
            sound,
            "byte {at} was taken over"
        );
    }
    for (name, said) in [("for-show", "No such file"), ("first.csv", ""), ("late", "directory")] {
        run(&["federation", "show", &federation.text(name), "--json"]).fails(1, &[name, said]);
        let grant = federation.text("first.csv");
        run(&["verify", &grant, "--registry", &federation.text(name), "--json"]).fails(1, &[name]);
    }
}

#[test]
fn verification_fails_with_1_and_says_what_does_not_hold() {
    let federation = federation();
    let _beside = federation.beside();
    let registry = federation.registry();
    let registry = registry.to_str().unwrap();
    let verify = |what: &str| run(&["verify", what, "--registry", registry, "--json"]);
    verify(&federation.text("pass")).fails(1, &["pass"]);
    verify(&federation.text("absent")).fails(1, &["absent", "No such file"]);
    verify(&federation.text("gov")).fails(1, &["checkpoint"]);
    verify(&format!("{}/log/secrets", federation.http("sh"))).fails(1, &["/log/secrets", "404"]);
    verify(&format!("{}/log/records", federation.http("sh"))).fails(1, &["401"]);
    verify("http://127.0.0.1:1/log/records").fails(1, &["127.0.0.1:1"]);
    let (auth, out) = (federation.pass("sh"), federation.text("copy"));
    let url = format!("{}/log/records", federation.http("sh"));
    run(&["verify", &url, "--registry", registry, "--auth", &auth]).done();
    federation
        .unlocked(&["audit", "export", "--member", "sh", "--log", "records", "--out", &out], "js")
        .done();
    verify(&out).done();
    let note = fs::read_to_string(federation.path("copy").join("checkpoint")).unwrap();
    let size: u64 = note.lines().nth(1).unwrap().parse().unwrap();
    let more = note.replacen(&format!("\n{size}\n"), &format!("\n{}\n", size + 1), 1);
    fs::write(federation.path("copy").join("checkpoint"), more).unwrap();
    verify(&out).fails(1, &["sh/records", "signature"]);
}

#[test]
fn usage_errors_exit_with_2() {
    for args in [
        &["frobnicate"][..],
        &[],
        &["submit"],
        &["submit", "x.csv", "--item", "CF", "--source", "s"],
        &["query", "--subject", "x", "--dir", "d"],
        &["node"],
        &["demo", "--records", "many"],
        &["demo", "--seed", "-1"],
        &["grant", "issue", "--subject", "x"],
        &["federation", "init", "--name", "x", "--governors", "900", "--dir", "d", "--passphrase-file", "p"],
        &["audit", "pass", "--minutes", "x"],
        &["verify"],
        &["status", "--unknown"],
    ] {
        let ran = run(args);
        assert_eq!(ran.code, Some(2), "{args:?}: {ran:?}");
        assert!(ran.err.contains("--help") && ran.out.is_empty(), "{args:?}: {ran:?}");
    }
    for args in [&["--help"][..], &["--version"], &["query", "--help"]] {
        run(args).done();
    }
}

#[test]
fn a_full_or_read_only_disk_is_a_fault_that_names_the_file() {
    let federation = federation();
    let _beside = federation.beside();
    // Root may write to what is read-only, so the limit of file sizes stands in for the disk that is full.
    let limited = |args: &[&str]| {
        let whole = command(args);
        let mut shell = Command::new("sh");
        shell
            .args(["-c", "trap '' XFSZ; ulimit -f 0; exec \"$0\" \"$@\""])
            .arg(whole.get_program())
            .args(whole.get_args());
        finish(shell)
    };
    let (dir, pass, out) =
        (federation.text("full"), federation.text("pass"), federation.text("full.request"));
    let request = ["member", "request", "--id", "full", "--role", "auditor", "--name", "x", "--out", &out];
    let args = [&request[..], &["--json", "--dir", &dir, "--passphrase-file", &pass]].concat();
    limited(&args).fails(3, &[&dir]);
    // Where a directory should be stands a file.
    let under = format!("{}/deeper", federation.text("pass"));
    let args = [&request[..], &["--json", "--dir", &under, "--passphrase-file", &pass]].concat();
    run(&args).fails(3, &[&under]);
    // A request that cannot be written leaves no half-made member behind: the same command with a better path works.
    let nowhere = federation.text("no/such/place");
    let with = |out: &str| {
        let args = ["member", "request", "--id", "half", "--role", "auditor", "--name", "x", "--out", out];
        federation.unlocked(&args, "half")
    };
    with(&nowhere).fails(1, &["no/such/place"]);
    with(&pass).fails(1, &[&pass, "exists already"]);
    with(&federation.text("half.request")).done();
}
