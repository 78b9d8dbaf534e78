//! An auditor at work on a running federation: reads are entries, two logs that differ make evidence, a bundle verifies with
//! nothing else at hand, and a mirror's copy shows what a member leaves out.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test; what fails here fails the test")]

mod common;

use std::{cell::Cell, fs, path::Path, time::Duration};

use common::{
    Federation, Ran, contains,
    federation::Cast,
    rows::{company, numbered},
    run, until,
};
use credit::{
    catalog::Purpose,
    entry::{Entry, Fact, Relayed},
    id::{ClerkId, FieldId, ItemId, MemberId, QuestionId},
    question::{Basis, Question, Want},
    subject::SubjectId,
};
use crypto::{Digest, Timestamp, merkle, sign::Signed};
use exchange::{limits::FRAME_BYTES_MAX, logs::LogName, refusal::Code, wire::Request};
use ledger::{checkpoint::Checkpoint, tree::TreeSize};
use node::{clock, home::read_registry, keys::Keys, quic};
use serde_json::{Value, json};

/// A region, its mirror, the outlet, a bank and an auditor, each with a node.
const CAST: [Cast; 5] = [
    Cast { id: "sh", role: "region", region: "310000", mirrors: "js" },
    Cast { id: "js", role: "region", region: "320000", mirrors: "sh" },
    Cast { id: "xyd", role: "platform", region: "310000", mirrors: "" },
    Cast { id: "bank-a", role: "bank", region: "", mirrors: "" },
    Cast { id: "auditor", role: "auditor", region: "", mirrors: "" },
];

/// The auditor copies an access log into a directory of this name.
fn export(federation: &Federation, member: &str, out: &str, more: &[&str]) -> String {
    let out = federation.text(out);
    let args = ["audit", "export", "--member", member, "--log", "access", "--out", &out];
    federation.unlocked(&[&args[..], more].concat(), "auditor").done();
    out
}

#[test]
fn an_auditor_reads_compares_and_takes_evidence_away() {
    let federation = Federation::start(&CAST);
    let registry = federation.registry();
    let registry = registry.to_str().unwrap();
    federation.source("sh", "office");
    let rows = federation.file("rows.csv", numbered(1, 3));
    federation.submit("sh", "office", &rows).done();
    let subject = company(1);
    let grant = federation.grant("grant", &subject, "bank-a", &["--uses", "9"]);
    federation.query("bank-a", &subject, &["--grant", &grant, "--clerk", "c-1"]).done();

    // Whoever reads entries leaves a line, one for a pass and a log, however many tiles.
    let before = federation.sizes("sh")[2];
    let [early_bank, early] =
        [export(&federation, "bank-a", "b1", &[]), export(&federation, "sh", "s1", &[])];
    assert_eq!(federation.sizes("sh")[2], before + 1);
    let (pass, url) = (federation.pass("auditor"), format!("{}/log/records", federation.http("sh")));
    for _ in 0..2 {
        run(&["verify", &url, "--registry", registry, "--auth", &pass]).done();
    }
    assert_eq!(federation.sizes("sh")[2], before + 2);
    federation.query("bank-a", &subject, &["--grant", &grant, "--clerk", "c-2"]).done();
    let [late_bank, late] = [export(&federation, "bank-a", "b2", &[]), export(&federation, "sh", "s2", &[])];

    searches(&late, registry);
    let cross = |asker: &str, member: &str, more: &[&str]| {
        let args = ["audit", "cross-check", "--asker", asker, "--member", member, "--registry", registry];
        run(&[&args[..], &["--json"], more].concat())
    };
    let outlet = export(&federation, "xyd", "x2", &[]);
    let value = cross(&late_bank, &late, &["--outlet", &outlet]).done().json();
    assert_eq!((&value["equal"], &value["words"], &value["unanswered"]), (&2.into(), &json!([]), &json!([])));
    assert_eq!(
        value["outlet"],
        json!({ "member": "xyd", "unheard": [], "unasked": [], "unrelayed": [], "unlogged": [] })
    );
    compares_only_what_can_be_compared(&cross, [&late_bank, &late, &outlet]);
    // Both regions have answered both questions.
    for (log, outcome, count) in
        [(&outlet, "relayed", 2), (&late_bank, "asked", 2), (&late_bank, "received", 4)]
    {
        assert_eq!(lines(log, registry, &["--asker", "bank-a"], outcome).len(), count, "{outcome}");
    }
    copies(&federation, &early, &late_bank);
    refuses_a_changed_export(&late_bank, &late, registry);
    for (asker, member, side, out) in
        [(&early_bank, &late, "only_member", "m"), (&late_bank, &early, "only_asker", "a")]
    {
        let out = federation.text(out);
        let ran = cross(asker, member, &["--out", &out]);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        let value = ran.json();
        assert_eq!((value[side].as_array().unwrap().len(), &value["equal"]), (1, &1.into()), "{value:#}");
        let file = value["files"][0]["file"].as_str().unwrap();
        let shown = run(&["verify", file, "--registry", registry, "--json"]).done().json();
        assert_eq!((&shown["kind"], &shown["entry"]), (&"discrepancy".into(), &value[side][0]["entry"]));
        // The other log was copied before the access, so it cannot be missed in it yet.
        assert_eq!((&shown["conclusive"], &shown["differs"]), (&false.into(), &Value::Null));
        refuses_changed(file, &["--registry", registry]);
    }

    // The bundle needs nothing beside it, and names nobody.
    let bundle = federation.text("bundle");
    let args = ["audit", "bundle", "--member", "sh", "--out", &bundle];
    federation.unlocked(&args, "auditor").done();
    let shown = run(&["verify", &bundle, "--json"]).done().json();
    assert_eq!((&shown["kind"], &shown["member"]), (&"bundle".into(), &"sh".into()));
    assert_eq!((&shown["access"]["first"], &shown["access"]["entries"]["disclosed"]), (&0.into(), &2.into()));
    assert_eq!(shown["heads"].as_array().unwrap().len(), 3, "{shown:#}");
    run(&["verify", &bundle, "--registry", registry]).done();
    assert!(!contains(&fs::read(&bundle).unwrap(), subject.as_bytes()));
    refuses_changed(&bundle, &[]);
    let again = |more: &[&str]| federation.unlocked(&[&args[..], more].concat(), "auditor");
    again(&[]).fails(1, &[&bundle, "exists already"]);
    fs::remove_file(&bundle).unwrap();
    again(&["--first", "999"]).fails(1, &["999"]);
    again(&["--limit", "0"]).fails(1, &["--limit"]);
    assert!(!fs::exists(&bundle).unwrap());
    // This federation has no witnesses: what demands them fails, and says of which part.
    let witnessed =
        |file: &str| run(&["verify", file, "--registry", registry, "--require-witnesses", "--json"]);
    federation.unlocked(&args, "auditor").done();
    witnessed(&bundle).fails(1, &["sh/", "cosigned by 0"]);
    witnessed(&grant).fails(1, &["a grant carries no cosignatures"]);

    identities(&federation, &late, &subject);
    turned_away(&federation, registry);

    // The subject's list, held against what the mirror has.
    let size = federation.sizes("sh")[2];
    until("the mirror has every entry", Duration::from_secs(60), || {
        let status = federation.status("js");
        let copies = status["mirrors"].as_array().unwrap();
        let copy = copies.iter().find(|c| c["member"] == "sh" && c["log"] == "access").unwrap();
        (copy["entries"].as_u64() >= Some(size)).then_some(())
    });
    let copy = export(&federation, "sh", "copy", &["--from", "js"]);
    let list = |log: &str, copy: &str| {
        federation.at("sh", &["audit", "subject", "--subject", &subject, "--log", log, "--copy", copy])
    };
    let complete = list(&copy, &late).done().json();
    assert_eq!((&complete["count"], &complete["copy"]["same"]), (&2.into(), &true.into()), "{complete:#}");
    assert_eq!((&complete["member"], &complete["beyond"]["accesses"]), (&"sh".into(), &0.into()));
    let hidden = list(&early, &copy);
    assert_eq!(hidden.code, Some(1), "{hidden:?}");
    assert!(hidden.json()["copy"]["beyond"].as_u64().unwrap() > 0, "{hidden:?}");
    // An old copy alone: complete as far as it goes, and the member's node says what it lacks.
    let old =
        federation.at("sh", &["audit", "subject", "--subject", &subject, "--log", &early]).done().json();
    assert_eq!((&old["count"], &old["beyond"]["accesses"], &old["ok"]), (&1.into(), &1.into(), &true.into()));
    assert_eq!(old["last"].as_u64(), old["size"].as_u64().map(|size| size - 1));
    assert!(old["last_at"].is_string(), "{old:#}");
    // What `sh` has signed goes with the subject: files alone tell whether a log is complete.
    let paper = federation.text("accesses");
    let said =
        federation.at("sh", &["audit", "subject", "--subject", &subject, "--out", &paper]).done().json();
    assert_eq!((&said["count"], &said["ok"]), (&2.into(), &true.into()), "{said:#}");
    federation
        .at("sh", &["audit", "subject", "--subject", &subject, "--out", &paper])
        .fails(1, &[&paper, "exists already"]);
    let files = |log: &str, more: &[&str]| {
        let args = ["audit", "subject", "--paper", &paper, "--registry", registry, "--log", log, "--json"];
        run(&[&args[..], more].concat())
    };
    let complete = files(&copy, &["--copy", &late]).done().json();
    assert_eq!((&complete["count"], &complete["member"]), (&2.into(), &"sh".into()), "{complete:#}");
    assert_eq!(files(&early, &[]).code, Some(1), "the log was copied before the second access");
    files(&late_bank, &[]).fails(1, &["access log of `sh`"]);
    run(&["verify", &paper, "--registry", registry]).done();
    refuses_changed(&paper, &["--registry", registry]);

    // Nobody reads a copy without a pass, and there are copies only where the registry says so.
    let tile = format!("{}/mirror/sh/access/tile/entries/000.p/1", federation.http("js"));
    assert_eq!(common::http::get(&tile, None).unwrap().status, 401);
    let none = format!("{}/mirror/sh/access/checkpoint", federation.http("xyd"));
    assert_eq!(common::http::get(&none, None).unwrap().status, 404);

    certificates(&federation, registry, &grant, &subject);
}

/// What became of a record that was disclosed, and of the grant it was asked on, is in the bundle with everybody's
/// acknowledgement; where nobody can be asked the bundle says what it lacks.
fn certificates(federation: &Federation, registry: &str, grant: &str, subject: &str) {
    let asked = federation.query("bank-a", subject, &["--grant", grant, "--clerk", "c-3"]).done().json();
    let members = asked["members"].as_array().unwrap();
    let at_sh = members.iter().find(|m| m["member"] == "sh").unwrap();
    let record = at_sh["records"][0]["record"].as_str().unwrap();
    let paper = federation.file("ruling", "a ruling (example)\n");
    let mask = ["record", "mask", record, "--reason", "example", "--paper", &paper];
    let event = federation.at("sh", &mask).done().json()["event"].as_u64().unwrap();
    federation.at("js", &["grant", "revoke", grant]).done();
    until("everybody has acknowledged both", Duration::from_secs(60), || {
        let missing = |at: &str| federation.status(at)["pending"].as_u64() == Some(0);
        (missing("sh") && missing("js")).then_some(())
    });
    let count = Cell::new(0);
    let written = |member: &str, more: &[&str]| {
        let number = count.replace(count.get() + 1);
        let out = federation.text(&format!("{member}.bundle-{number}"));
        let args = ["audit", "bundle", "--member", member, "--out", &out];
        let said = federation.unlocked(&[&args[..], more].concat(), "auditor").done().json();
        (run(&["verify", &out, "--registry", registry, "--json"]).done().json(), said, out)
    };
    let (shown, said, _) = written("sh", &[]);
    assert_eq!((shown["certificates"][0]["event"].as_u64(), &said["lacking"]), (Some(event), &json!([])));
    let mut told: Vec<&str> = shown["certificates"][0]["acknowledged"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m.as_str().unwrap())
        .collect();
    told.sort_unstable();
    assert_eq!(told, ["bank-a", "js", "xyd"]);
    // The collector's own statement about the grant, which its accesses rest on.
    let (shown, _, file) = written("js", &[]);
    assert_eq!(shown["certificates"].as_array().unwrap().len(), 1, "{shown:#}");
    refuses_changed(&file, &["--registry", registry]);
    // Entries from before bear on nothing.
    let (shown, _, _) = written("xyd", &[]);
    assert_eq!(shown["certificates"], json!([]), "{shown:#}");
    // A bank is told no certificates.
    let as_bank = federation.text("bank.bundle");
    let bank = ["audit", "bundle", "--member", "sh", "--out", &as_bank];
    assert_ne!(federation.unlocked(&bank, "bank-a").code, Some(0), "a bank reads no access log");
    // Without its node the auditor writes what it has, and says what is lacking; one handed in is taken.
    let certificate = federation.text("mask.certificate");
    let event_text = event.to_string();
    federation.at("sh", &["repair", "certificate", &event_text, "--out", &certificate]).done();
    // A mask can be taken off again: it is about no end of a record, and so nothing is held against it.
    let log = export(federation, "sh", "misuse", &[]);
    let misuse = ["audit", "misuse", &log, "--certificate", &certificate, "--registry", registry, "--json"];
    let found = run(&misuse);
    assert_eq!(found.code, Some(1), "{found:?}");
    let found = found.json();
    assert_eq!((&found["held"], &found["misuses"], &found["ok"]), (&0.into(), &json!([]), &false.into()));
    assert!(found["not_held"][0]["why"].as_str().unwrap().contains("no end of a record"), "{found:#}");
    federation.stop("auditor");
    let (shown, said, _) = written("sh", &[]);
    assert_eq!(shown["certificates"], json!([]));
    assert_eq!(said["lacking"][0]["event"].as_u64(), Some(event));
    assert!(said["lacking"][0]["next"].as_str().unwrap().contains("node run"), "{said:#}");
    let (shown, said, _) = written("sh", &["--with", &certificate]);
    assert_eq!((shown["certificates"][0]["event"].as_u64(), &said["lacking"]), (Some(event), &json!([])));
    federation.spawn("auditor");
    federation.ready("auditor");
}

/// Whom accesses are about is told under a mandate that stands in both logs, and to nobody else.
fn identities(federation: &Federation, log: &str, subject: &str) {
    let paper = federation.file("order", "an order (example)\n");
    let args = ["audit", "identities", "--member", "sh", "--reason", "example inspection", "--paper", &paper];
    let ask = |member: &str, more: &[&str]| federation.at(member, &[&args[..], more].concat());
    let size = |member: &str| federation.sizes(member)[2];
    let before = [size("sh"), size("auditor")];
    let range = ["--first", "0", "--last", &(before[0] - 1).to_string()];
    let told = ask("auditor", &range).done().json();
    let told = told["identities"].as_array().unwrap();
    assert!(told.len() == 2 && told.iter().all(|i| i["subject"] == subject), "{told:?}");
    assert_eq!([size("sh"), size("auditor")], [before[0] + 1, before[1] + 1]);
    // A bank is no auditor; more than there is, or than a mandate may name, is not told.
    ask("bank-a", &range).fails(1, &["caller.not-allowed"]);
    ask("auditor", &["--first", "0", "--last", "999"]).fails(1, &["not-found"]);
    ask("auditor", &["--first", "0", "--last", "9999"]).fails(1, &["question.malformed", "4,096"]);
    ask("auditor", &["--first", "0", "--last", "0", "--hours", "9999"])
        .fails(1, &["question.malformed", "31 days"]);
    assert_eq!(size("sh"), before[0] + 1, "what is refused leaves no line at the member");
    // Whoever looks for the auditor in either log finds that it has opened identities, and why.
    let registry = federation.text("gov/registry");
    for (member, rules) in [("sh", json!(["audit-mandate"])), ("auditor", json!([]))] {
        let opened = export(federation, member, &format!("{member}.opened"), &[]);
        let found = lines(&opened, &registry, &["--asker", "auditor", "--purpose", "audit"], "mandated");
        let line = found.first().unwrap();
        assert_eq!((&line["member"], &line["first"], &line["rules"]), (&"sh".into(), &0.into(), &rules));
        assert_eq!(line["reason"], "example inspection");
    }
    // Neither the log nor the store has a subject in clear.
    for dir in [log, &federation.text("sh")] {
        for (path, bytes) in common::files(Path::new(dir)) {
            assert!(!contains(&bytes, subject.as_bytes()), "{}", path.display());
        }
    }
}

/// By asker, clerk, rule, purpose and day, page by page.
fn searches(log: &str, registry: &str) {
    let args = ["audit", "search", log, "--registry", registry, "--json"];
    let found = |more: &[&str]| {
        let value = run(&[&args[..], more].concat()).done().json();
        let clerks = value["entries"].as_array().unwrap().iter();
        let clerks: Vec<String> =
            clerks.map(|e| e["clerk"].as_str().unwrap_or("reader").to_owned()).collect();
        (clerks, value["next"].as_u64())
    };
    let all = |clerks: &[&str]| (clerks.iter().map(ToString::to_string).collect::<Vec<_>>(), None);
    assert_eq!(found(&["--asker", "bank-a"]), all(&["c-1", "c-2"]));
    assert_eq!(found(&["--clerk", "c-2", "--purpose", "pre-loan", "--rule", "bank-granted"]), all(&["c-2"]));
    assert_eq!(found(&["--rule", "grant-expired"]), all(&[]));
    // The reading by which this copy was made stands behind it.
    assert_eq!(found(&["--asker", "auditor"]), all(&["reader", "reader"]));
    assert_eq!(found(&["--asker", "bank-a", "--from", "2199-01-01"]), all(&[]));
    assert_eq!(found(&["--asker", "bank-a", "--from", "2026-01-01", "--to", "2198-12-31"]).0.len(), 2);
    let (page, next) = found(&["--asker", "bank-a", "--limit", "1"]);
    assert_eq!(page, ["c-1"]);
    assert_eq!(found(&["--asker", "bank-a", "--start", &next.unwrap().to_string()]), all(&["c-2"]));
    for (more, said) in [
        (&["--from", "yesterday"][..], "yesterday"),
        (&["--from", "2026-06-02", "--to", "2026-06-01"], "is after"),
        (&["--limit", "0"], "--limit"),
        (&["--asker", "bank-z"], "`bank-z` is no member"),
        (&["--rule", "bank-grant"], "`bank-grant` is no rule"),
    ] {
        run(&[&args[..], more].concat()).fails(1, &[said]);
    }
}

/// The lines of one kind that a search of an exported log gives.
fn lines(log: &str, registry: &str, more: &[&str], outcome: &str) -> Vec<Value> {
    let args = ["audit", "search", log, "--registry", registry, "--json"];
    let found = run(&[&args[..], more].concat()).done().json();
    let entries = found["entries"].as_array().unwrap().iter();
    entries.filter(|line| line["outcome"] == outcome).cloned().collect()
}

/// Logs in the wrong places, one log twice, or logs of members that have had nothing to do with each other agree on
/// nothing: that is no success.
fn compares_only_what_can_be_compared(
    cross: &impl Fn(&str, &str, &[&str]) -> Ran,
    [bank, sh, outlet]: [&String; 3],
) {
    cross(sh, bank, &[]).fails(1, &["--member", "`bank-a`", "answers nobody"]);
    cross(bank, outlet, &[]).fails(1, &["--member", "`xyd`"]);
    cross(sh, sh, &[]).fails(1, &["--asker", "`sh`"]);
    cross(bank, sh, &["--outlet", sh]).fails(1, &["--outlet", "`sh`", "no outlet"]);
    cross(outlet, sh, &[]).fails(1, &["nothing was compared"]);
}

/// A copy is brought up to date in its place; what is not its continuation never takes the place.
fn copies(federation: &Federation, early: &str, bank: &str) {
    let again = |out: &str| {
        federation
            .unlocked(&["audit", "export", "--member", "sh", "--log", "access", "--out", out], "auditor")
    };
    let grown = federation.text("grown");
    common::copy(Path::new(early), Path::new(&grown));
    let old = fs::read(federation.path("grown/checkpoint")).unwrap();
    again(&grown).done();
    assert_ne!(fs::read(federation.path("grown/checkpoint")).unwrap(), old);
    let registry = federation.text("gov/registry");
    run(&["verify", &grown, "--registry", &registry]).done();

    // Another member's log stays, and so does what is no log.
    let kept = fs::read(Path::new(bank).join("checkpoint")).unwrap();
    again(bank).fails(1, &[bank, "bank-a/access"]);
    assert_eq!(fs::read(Path::new(bank).join("checkpoint")).unwrap(), kept);
    again(&federation.text("gov")).fails(1, &["something else than a copy"]);
    again(&registry).fails(1, &[&registry]);

    // `sh` has shown somebody another history, of one entry, which it does not show now.
    let other = federation.text("forked");
    another_history(federation, Path::new(&other));
    run(&["verify", &other, "--registry", &registry]).done();
    let beside = format!("{other}.other-1");
    again(&other).fails(1, &["TWO HISTORIES", &other, &beside]);
    for copy in [&other, &beside] {
        run(&["verify", copy, "--registry", &registry]).done();
    }
    let sizes = [&other, &beside].map(|copy| {
        let note = fs::read_to_string(Path::new(copy).join("checkpoint")).unwrap();
        note.lines().nth(1).unwrap().parse::<u64>().unwrap()
    });
    assert!(sizes[0] == 1 && sizes[1] > 1, "{sizes:?}");
}

fn keys(federation: &Federation, member: &str) -> Keys {
    Keys::open(&federation.path(member), b"an example passphrase").unwrap()
}

fn id(text: &str) -> MemberId {
    MemberId::parse(text).unwrap()
}

/// An access log that `sh` has signed and does not have, as a copy of it would be.
fn another_history(federation: &Federation, dir: &Path) {
    let fact =
        Fact::Relayed(Relayed { question: Digest::of(b"example"), asker: id("bank-a"), to: Vec::new() });
    let entry = Entry { prev: Digest::ZERO, at: Timestamp(0), fact }.to_bytes();
    let root = merkle::leaf_hash(&entry);
    let origin = LogName::Access.origin("e2e", &id("sh"));
    let note = Checkpoint { origin, size: TreeSize(1), root }.sign(&keys(federation, "sh").signing());
    let bundle = [&(entry.len() as u16).to_be_bytes()[..], &entry].concat();
    for (name, bytes) in [
        ("checkpoint", note.as_str().as_bytes()),
        ("tile/0/000.p/1", &root.0),
        ("tile/entries/000.p/1", &bundle),
    ] {
        fs::create_dir_all(dir.join(name).parent().unwrap()).unwrap();
        fs::write(dir.join(name), bytes).unwrap();
    }
}

/// A bank that goes past the outlet is turned away with a code; the line about it is found under its name.
fn turned_away(federation: &Federation, registry: &str) {
    let known = read_registry(Path::new(registry)).unwrap().accept(None).unwrap();
    let (bank, now) = (keys(federation, "bank-a"), clock::now());
    let question = Question {
        id: QuestionId(clock::random()),
        asker: id("bank-a"),
        clerk: ClerkId::parse("c-9").unwrap(),
        purpose: Purpose::LoanReview,
        subject: SubjectId::parse(&company(1)).unwrap(),
        wants: vec![Want { item: ItemId::parse("CF").unwrap(), fields: vec![FieldId(14)] }],
        basis: Basis::None,
        asked_at: now,
        deadline: now.plus_ms(60_000),
        checks: Vec::new(),
    };
    let signed = Signed::new(&bank.signing(), "bank-a", now, &question);
    let digest = signed.digest();
    let sh = &known.member(&id("sh")).unwrap().stated;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let refusal = runtime.block_on(async {
        let line =
            quic::connect(&quic::caller().unwrap(), &bank.tls_seed(), &sh.quic, &[sh.tls]).await.unwrap();
        quic::call(&line, &Request::Ask(signed), FRAME_BYTES_MAX).await.unwrap_err()
    });
    assert_eq!(refusal.known(), Some(Code::CallerNotAllowed), "{refusal}");
    let log = export(federation, "sh", "turned-away", &[]);
    let found = lines(&log, registry, &["--asker", "bank-a"], "turned-away");
    let [line] = &found[..] else { panic!("{found:?}") };
    assert_eq!(
        (&line["code"], &line["caller"], &line["count"], &line["question"]),
        (&"caller.not-allowed".into(), &"bank-a".into(), &1.into(), &digest.to_string().into())
    );
    assert!(lines(&log, registry, &["--asker", "xyd"], "turned-away").is_empty());
}

/// One byte of any file of an exported log, and neither command reads on: the directory and the log are named.
fn refuses_a_changed_export(asker: &str, member: &str, registry: &str) {
    // The key beside a log is for other people's programs: trust comes from the registry.
    let parts = common::files(Path::new(member)).into_iter().filter(|(p, _)| !p.ends_with("vkey"));
    let mut changed = 0;
    for (path, bytes) in parts {
        // In a checkpoint the middle may be a line of somebody whom the registry does not know, which says nothing.
        let middle = if path.ends_with("checkpoint") { 40 } else { bytes.len() / 2 };
        for at in [0, middle, bytes.len() - 1] {
            let mut other = bytes.clone();
            other[at] ^= 0x01;
            fs::write(&path, other).unwrap();
            for args in [
                &["audit", "search", member, "--registry", registry][..],
                &["audit", "cross-check", "--asker", asker, "--member", member, "--registry", registry],
                &["audit", "cross-check", "--asker", member, "--member", asker, "--registry", registry],
            ] {
                run(&[args, &["--json"]].concat()).fails(1, &[member]);
            }
            changed += 1;
        }
        fs::write(&path, bytes).unwrap();
    }
    assert!(changed >= 9, "{changed} changes");
}

/// A file that was changed anywhere does not verify: ten places are tried.
fn refuses_changed(file: &str, more: &[&str]) {
    let whole = fs::read(file).unwrap();
    for part in (0..10).map(|n| whole.len() * (2 * n + 1) / 20) {
        let mut changed = whole.clone();
        changed[part] ^= 0x10;
        let at = format!("{file}.changed");
        fs::write(&at, changed).unwrap();
        let ran = run(&[&["verify", &at], more].concat());
        assert_eq!(ran.code, Some(1), "byte {part} of {}: {ran:?}", whole.len());
    }
}
