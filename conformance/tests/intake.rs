//! Large files handed in for real: interrupted at either end, repeated, contradicting themselves.

#![allow(clippy::unwrap_used)]

mod common;

use std::{
    process::{Child, Stdio},
    time::Duration,
};

use common::{Federation, federation::FIVE, rows, run, until};
use credit::id::{ItemId, MemberId, SourceId};
use crypto::{Digest, pseudonym::FileHasher};
use exchange::{
    refusal::Refusal,
    wire::{Operation, Response},
};
use serde_json::Value;

/// Rows of the large file: several runs.
const ROWS: u64 = 40_000;
/// Rows that are signed together.
const ROWS_PER_RUN: u64 = 4_000;

fn number(report: &Value, key: &str) -> u64 {
    report[key].as_u64().unwrap_or_else(|| panic!("no `{key}` in {report:#}"))
}

/// Starts to hand the file in.
fn begin(federation: &Federation, file: &str) -> Child {
    let dir = federation.text("sh");
    let submit = ["submit", file, "--item", "CF", "--source", "office", "--json", "--dir", &dir];
    common::command(&submit).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Waits until more rows of the file are durable than before.
fn grown(federation: &Federation, before: u64) {
    until("more rows are durable", Duration::from_secs(120), || {
        (federation.sizes("sh")[0] > before).then_some(())
    });
}

#[test]
fn an_interrupted_file_goes_on_where_it_stopped_and_brings_each_row_once() {
    let federation = Federation::start(&FIVE[..2]);
    federation.source("sh", "office");
    let file = federation.file("large.csv", rows::numbered(0, ROWS));
    // The command is killed twice, then the node.
    let mut sizes = vec![federation.sizes("sh")[0]];
    for node in [false, false, true] {
        let before = sizes[sizes.len() - 1];
        let mut command = begin(&federation, &file);
        grown(&federation, before);
        if node {
            federation.kill("sh");
        }
        let _ = command.kill();
        command.wait().unwrap();
        if !node {
            sizes.push(federation.sizes("sh")[0]);
        }
    }
    federation.spawn("sh");
    federation.ready("sh");
    sizes.push(federation.sizes("sh")[0]);
    assert!(sizes[1] < ROWS, "no interruption fell inside: {sizes:?}");
    let report = federation.submit("sh", "office", &file).done().json();
    assert_eq!(number(&report, "accepted"), ROWS, "the report is of the whole file: {report:#}");
    assert_eq!((number(&report, "duplicate"), number(&report, "rejected")), (0, 0));
    let again = federation.submit("sh", "office", &file).done().json();
    assert_eq!((&again["repeated"], &again["accepted"]), (&true.into(), &report["accepted"]));
    // Every record once, and a signed statement per run.
    let entries = federation.sizes("sh")[0];
    let runs = ROWS / ROWS_PER_RUN;
    assert_eq!(entries, ROWS + runs, "{sizes:?}");
    let (registry, auth) = (federation.registry(), federation.pass("sh"));
    let url = format!("{}/log/records", federation.http("sh"));
    run(&["verify", &url, "--registry", registry.to_str().unwrap(), "--auth", &auth]).done();
}

#[test]
fn a_file_that_repeats_or_contradicts_itself_is_taken_once_row_by_row() {
    let federation = Federation::start(&FIVE[..2]);
    federation.source("sh", "office");
    let mut penalties: Vec<rows::Penalty> = (0..2_500).map(rows::Penalty::new).collect();
    let other = rows::Penalty { remark: "另一内容".into(), ..penalties[3].clone() };
    // The same row in the same run, and another content runs later.
    penalties.insert(10, penalties[7].clone());
    penalties.push(other);
    let file = federation.file("twice.csv", rows::file(&penalties));
    let report = federation.submit("sh", "office", &file).done().json();
    assert_eq!(
        ["accepted", "amended", "duplicate", "rejected"].map(|key| number(&report, key)),
        [2_500, 0, 0, 2]
    );
    let refused: Vec<(u64, &str)> = report["reasons"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| (number(r, "row"), r["code"].as_str().unwrap()))
        .collect();
    assert_eq!(refused, [(12, "duplicate_in_file"), (2_503, "duplicate_in_file")]);
    // In a file of its own the other content is an amendment, and every old row is a duplicate.
    let amended = federation.file("amended.csv", rows::file(&penalties[2_501..]));
    let report = federation.submit("sh", "office", &amended).done().json();
    assert_eq!((number(&report, "amended"), number(&report, "accepted")), (1, 0));
    let old = federation.file("old.csv", rows::numbered(0, 900));
    let report = federation.submit("sh", "office", &old).done().json();
    assert_eq!((number(&report, "duplicate"), number(&report, "amended")), (900, 0));
    // One of them says what was corrected since, and undoes nothing.
    assert_eq!((number(&report, "older"), &report["reasons"][0]["code"]), (1, &"older_than_held".into()));
    assert_eq!(number(&report["reasons"][0], "row"), 5);
}

/// Sends `bytes` under the digest of another file, as a sender would that reads a file while it changes.
fn send_under(federation: &Federation, announced: &str, bytes: &str, end: bool) -> Result<Response, Refusal> {
    let dir = federation.path("sh");
    let seed = node::keys::operator_seed(&dir).unwrap();
    let registry = node::home::Home::open(&dir).unwrap().registry().unwrap().1;
    let key = registry.member(&MemberId::parse("sh").unwrap()).unwrap().stated.tls;
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let address = federation.setting("sh", "quic");
        let session = node::quic::Operator::connect(&address, &seed, &[key]).await.unwrap();
        let source = SourceId::parse("office").unwrap();
        let (item, file) = (ItemId::parse("CF").unwrap(), Digest(FileHasher::of(announced.as_bytes())));
        let Response::Upload(upload) =
            session.ask(Operation::BeginFile { source, item, file, confirm: Vec::new() }).await?
        else {
            panic!("an upload was due");
        };
        let mut at = 0;
        for part in bytes.as_bytes().chunks(1 << 20) {
            session.ask(Operation::FilePart { upload, at, bytes: part.to_vec().into() }).await?;
            at += part.len() as u64;
        }
        let ended = if end { session.ask(Operation::EndFile(upload)).await } else { Ok(Response::Done) };
        session.close().await;
        ended
    })
}

#[test]
fn rows_that_came_under_the_digest_of_another_file_do_not_stand_for_its_own() {
    let federation = Federation::start(&FIVE[..2]);
    federation.source("sh", "office");
    let wrong = rows::numbered(50_000, 50_000 + 3 * ROWS_PER_RUN);
    // Ended: found out at once.
    let first = rows::numbered(0, 9_000);
    let refused = send_under(&federation, &first, &wrong, true).unwrap_err();
    assert!(refused.detail.contains("not those"), "{refused}");
    let report = federation.submit("sh", "office", &federation.file("first.csv", &first)).done().json();
    assert_eq!((number(&report, "accepted"), number(&report, "rejected")), (9_000, 0));
    // Broken off: found out when the true file comes, which is then taken from its beginning.
    let second = rows::numbered(10_000, 19_000);
    let other = rows::numbered(70_000, 70_000 + 3 * ROWS_PER_RUN);
    send_under(&federation, &second, &other, false).unwrap();
    let file = federation.file("second.csv", &second);
    let report = federation.submit("sh", "office", &file);
    let report = if report.code == Some(0) { report } else { federation.submit("sh", "office", &file) };
    let report = report.done().json();
    assert_eq!((number(&report, "accepted"), number(&report, "rejected")), (9_000, 0));
}

/// Enters a member's request, and hands the registry to every node.
fn admitted(federation: &Federation, request: &str, mirrors: &str, members: &[&str]) {
    federation.unlocked(&["federation", "admit", request, "--mirrors", mirrors], "gov").done();
    for governor in ["g1", "g3"] {
        federation.unlocked(&["federation", "sign", "--governor", governor], "gov").done();
    }
    let registry = federation.registry();
    for member in members {
        federation.at(member, &["federation", "update", "--registry", registry.to_str().unwrap()]).done();
    }
}

#[test]
fn a_body_that_no_member_claims_is_given_back_until_one_does() {
    let federation = Federation::start(&FIVE[..3]);
    let unclaimed = credit::subject::uscc_from_parts("11", "310000", 29 * 31_u64.pow(7) + 999).unwrap();
    let rows = rows::numbered(0, 3).replace(&rows::body(), unclaimed.as_str());
    let file = federation.file("unclaimed.csv", rows);
    for member in ["sh", "js"] {
        federation.source(member, "office");
        let before = federation.sizes(member)[0];
        let report = federation.submit(member, "office", &file).done().json();
        assert_eq!((number(&report, "rejected"), number(&report, "waiting")), (3, 3));
        let reason = &report["reasons"][0];
        assert_eq!((&reason["code"], &reason["column"]), (&"body_unclaimed".into(), &"CF_CFJGDM".into()));
        assert!(reason["zh"].as_str().unwrap().contains("federation admit"), "{reason}");
        assert_eq!(federation.sizes(member)[0], before + 1, "a statement about the file, and no record");
    }
    // The member that answers for it asks again, with its own keys.
    let request = federation.text("again.request");
    let setting = |key| federation.setting("sh", key);
    let (quic, http, body) = (setting("quic"), setting("http"), rows::body());
    let mut args =
        vec!["member", "request", "--id", "sh", "--role", "region", "--name", "sh", "--out", &request];
    args.extend(["--quic", &quic, "--http", &http, "--region", "310000", "--body", &body]);
    args.extend(["--body", unclaimed.as_str()]);
    federation.unlocked(&args, "sh").done();
    admitted(&federation, &request, "js", &["sh", "js", "xyd"]);
    // The same file, and now its rows are records, of one authority at either member.
    for member in ["sh", "js"] {
        let report = federation.submit(member, "office", &file).done().json();
        assert_eq!((&report["repeated"], number(&report, "accepted")), (&false.into(), 3), "{report:#}");
        let again = federation.submit(member, "office", &file).done().json();
        assert_eq!((&again["repeated"], number(&again, "accepted")), (&true.into(), 3));
    }
    let row = rows::Penalty::new(1);
    let paper = federation.file("performed", "proof of performance (example)\n");
    let about = ["--item", "CF", "--document", &row.document, "--subject", &row.subject, "--paper", &paper];
    let apply = |authority| [&["repair", "apply", "--authority", authority], &about[..]].concat();
    federation.at("js", &apply("js")).fails(1, &["record.unknown"]);
    federation.at("js", &apply("sh")).done();
}

#[test]
fn a_record_that_has_ended_comes_back_under_another_number_only_when_confirmed() {
    let federation = Federation::start(&FIVE[..2]);
    federation.source("sh", "office");
    let row = rows::Penalty::new(1);
    federation
        .submit("sh", "office", &federation.file("first.csv", rows::file(std::slice::from_ref(&row))))
        .done();
    let paper = federation.file("performed", "proof of performance (example)\n");
    let about = ["--authority", "sh", "--item", "CF", "--document", &row.document, "--subject", &row.subject];
    federation.at("sh", &[&["repair", "apply", "--paper", &paper], &about[..]].concat()).done();
    let cases = federation.at("sh", &["case", "list"]).done().json();
    let record = cases["cases"][0]["record"].as_str().unwrap();
    federation.at("sh", &["record", "expire", record, "--reason", "公示期满（示例）"]).done();
    // Full-width, without 第 and zeros, in other brackets, with something in it that nobody sees: the one record.
    let forms = ["示罚[2026]00001", "示罚《2026》1号", "示罰〔2026〕第1號", "示罚〔2026〕\u{2066}\u{7}１号"];
    for (n, form) in forms.iter().enumerate() {
        let same = rows::Penalty { document: (*form).to_owned(), ..row.clone() };
        let file = federation.file(&format!("form-{n}.csv"), rows::file(&[same]));
        let report = federation.submit("sh", "office", &file).done().json();
        assert_eq!((number(&report, "accepted"), number(&report, "rejected")), (0, 0), "{form}: {report:#}");
    }
    // Another word: people say whether it is another act.
    let other = rows::Penalty { document: "示罚字〔2026〕1号".to_owned(), ..row.clone() };
    let file = federation.file("other.csv", rows::file(std::slice::from_ref(&other)));
    for _ in 0..2 {
        let report = federation.submit("sh", "office", &file).done().json();
        assert_eq!(report["reasons"][0]["code"], "like_ended", "{report:#}");
    }
    let confirm = |number: &str| {
        let args = ["submit", &file, "--item", "CF", "--source", "office", "--confirm", number];
        federation.at("sh", &args).done().json()
    };
    assert_eq!(number(&confirm("示罚字〔2026〕2号"), "waiting"), 1, "another number is not this one");
    let report = confirm("示罚字〔2026〕第01号");
    assert_eq!((number(&report, "accepted"), number(&report, "confirmed")), (1, 1), "{report:#}");
    assert_eq!(federation.submit("sh", "office", &file).done().json()["repeated"], true);
    federation.stop("sh");
    federation.unlocked(&["node", "fsck"], "sh").done();
}
