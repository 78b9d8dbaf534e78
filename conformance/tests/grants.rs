//! A grant's whole life on a running federation: paused while a node is down, resumed, used up in its period, revoked.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test; what fails here fails the test")]

mod common;

use std::time::Duration;

use common::{
    Federation,
    federation::{FIVE, copy},
    rows::{company, numbered},
    run, until,
};

/// A pushed notice is there at once; one that was missed comes with the next try or pull.
const NEWS: Duration = Duration::from_secs(15);

/// What `sh` makes of bank-a's question on a grant: `answered`, or the one rule that refuses every field.
fn verdict(federation: &Federation, subject: &str, grant: &str) -> String {
    let value = federation.query("bank-a", subject, &["--grant", grant]).json();
    let part = value["members"].as_array().unwrap().iter().find(|m| m["member"] == "sh").unwrap();
    if part["outcome"] == "answered" {
        assert_eq!(part["records"].as_array().unwrap().len(), 1, "{value:#}");
        assert!(value["keep_until"].is_string(), "{value:#}");
        return "answered".to_owned();
    }
    let rules: Vec<&str> =
        part["withheld"].as_array().unwrap().iter().map(|w| w["rule"].as_str().unwrap()).collect();
    assert!(!rules.is_empty() && rules.iter().all(|rule| *rule == rules[0]), "{value:#}");
    rules[0].to_owned()
}

/// Where a grant stands at a member, as `grant show` tells.
fn standing(federation: &Federation, member: &str, grant: &str) -> String {
    let value = federation.at(member, &["grant", "show", grant]).done().json();
    value["standing"]["status"].as_str().unwrap().to_owned()
}

#[test]
fn a_grant_is_paused_while_a_node_is_down_and_obeyed_after_it_is_back() {
    let federation = Federation::start(&FIVE);
    federation.source("sh", "office");
    let first = federation.file("first.csv", numbered(1, 3));
    federation.submit("sh", "office", &first).done();
    let subject = company(1);

    let grant = federation.grant("paused", &subject, "bank-a", &["--uses", "9", "--keep-days", "90"]);
    assert_eq!(verdict(&federation, &subject, &grant), "answered");
    federation.stop("sh");
    federation.at("js", &["grant", "pause", &grant]).done();
    assert_eq!(standing(&federation, "js", &grant), "paused");
    federation.spawn("sh");
    federation.ready("sh");
    // On the first question already: a node fetches its peers' news before it serves.
    assert_eq!(verdict(&federation, &subject, &grant), "grant-paused");
    assert_eq!(standing(&federation, "sh", &grant), "paused");

    // Pausing again says nothing new; resuming is told like the pause.
    let status = federation.sizes("js")[1];
    federation.at("js", &["grant", "pause", &grant]).done();
    assert_eq!(federation.sizes("js")[1], status);
    federation.at("js", &["grant", "resume", &grant]).done();
    until("the grant is active at sh", NEWS, || {
        (standing(&federation, "sh", &grant) == "active").then_some(())
    });
    assert_eq!(verdict(&federation, &subject, &grant), "answered");

    // What it says, and what each member knows of it.
    let shown = federation.at("sh", &["grant", "show", &grant]).done().json();
    assert_eq!(
        (&shown["kind"], &shown["uses_max"], &shown["keep_days"]),
        (&"counted".into(), &9.into(), &90.into())
    );
    assert_eq!(
        (&shown["standing"]["uses"], &shown["standing"]["told"]),
        (&2.into(), &true.into()),
        "{shown:#}"
    );
    assert_ne!(shown["subject"], subject);
    let shown = federation.at("bank-a", &["grant", "show", &grant]).done().json();
    assert_eq!(shown["standing"]["told"], true, "{shown:#}");

    // A revocation has no way back, and only the collector has a say.
    federation.at("js", &["grant", "revoke", &grant]).done();
    for verb in ["pause", "resume"] {
        federation.at("js", &["grant", verb, &grant]).fails(1, &["grant.invalid", "revoked"]);
        federation.at("xyd", &["grant", verb, &grant]).fails(1, &["not-found"]);
    }
    until("the grant is revoked at sh", NEWS, || {
        (standing(&federation, "sh", &grant) == "revoked").then_some(())
    });
    assert_eq!(verdict(&federation, &subject, &grant), "grant-revoked");

    // Periodic: once in any thirty days, however often in all. The count survives a restart.
    let periodic = federation.grant("periodic", &subject, "bank-a", &["--uses", "9", "--period", "1/30"]);
    assert_eq!(verdict(&federation, &subject, &periodic), "answered");
    assert_eq!(verdict(&federation, &subject, &periodic), "grant-too-often");
    assert_eq!(standing(&federation, "sh", &periodic), "resting");
    federation.stop("sh");
    federation.spawn("sh");
    federation.ready("sh");
    assert_eq!(verdict(&federation, &subject, &periodic), "grant-too-often");
    let once = federation.grant("once", &subject, "bank-a", &[]);
    assert_eq!(verdict(&federation, &subject, &once), "answered");
    assert_eq!(standing(&federation, "sh", &once), "used-up");
    assert_eq!(verdict(&federation, &subject, &once), "grant-used-up");

    // Checked and not told; what was answered opens again without a node.
    let checked = federation.grant("checked", &subject, "bank-a", &["--uses", "9"]);
    let ask = |check: &str, more: &[&str]| {
        let args = ["query", "--purpose", "pre-loan", "--grant", &checked, "--wait", "60", "--check", check];
        federation.at("bank-a", &[&args[..], more].concat())
    };
    let kept = federation.text("checked.answer");
    let since = "CF:none-since=2024-01-01";
    let value = ask(since, &["--out", &kept]).done().json();
    let told = |members: &serde_json::Value, member: usize| {
        let part = &members[member];
        assert!(
            part["records"].as_array().unwrap().is_empty() && part["withheld"].as_array().unwrap().is_empty()
        );
        let check = &part["checks"][0];
        assert_eq!((&check["asked"], &check["rule"]), (&since.into(), &"bank-granted".into()), "{part:#}");
        (check["outcome"].as_str().unwrap().to_owned(), check["rests_on"].as_array().unwrap().len())
    };
    let both = [("yes".to_owned(), 0), ("no".to_owned(), 1)];
    assert_eq!([told(&value["members"], 0), told(&value["members"], 1)], both, "{value:#}");
    let (registry, bank) = (federation.registry(), federation.text("bank-a"));
    let args = ["verify", &kept, "--json", "--registry", registry.to_str().unwrap()];
    let open = ["--open-with", &bank, "--passphrase-file", &federation.text("pass")];
    let opened = run(&[&args[..], &open].concat()).done().json();
    assert_eq!(opened["told"], serde_json::json!({ "values": 0, "masks": 0, "outcomes": 2 }));
    let parts = opened["parts"].clone();
    assert_eq!([told(&parts, 0), told(&parts, 1)], both, "{parts:#}");
    ask("CF:CF_WSH=1", &[]).fails(1, &["`equals` cannot be asked of `CF_WSH`"]);
    for day in 2..=5 {
        ask(&format!("CF:none-since=2024-01-0{day}"), &[]).done();
    }
    let spent = ask("CF:none-since=2024-01-06", &[]).json();
    for member in 0..2 {
        assert_eq!(spent["members"][member]["withheld"][0]["rule"], "budget-spent", "{spent:#}");
    }
    ask(since, &[]).done();

    an_answer_is_not_lost_with_its_file(&federation, &subject);
    other_bases(&federation, &subject);
    // What a question would get, told without asking it: no entry is written.
    let entries = federation.sizes("sh")[2];
    let explained = federation.at("sh", &["policy", "explain", "--grant", &once, "--purpose", "pre-loan"]);
    let explained = explained.done().json();
    assert!(
        explained["fields"].as_array().unwrap().iter().all(|f| f["rule"] == "grant-used-up"),
        "{explained:#}"
    );
    assert_eq!(federation.sizes("sh")[2], entries);
    // The role is that of whom the grant names.
    let other = ["policy", "explain", "--grant", &once, "--purpose", "pre-loan", "--role", "region"];
    assert_eq!(federation.at("sh", &other).code, Some(2));
    federation
        .at("sh", &["policy", "explain", "--grant", &once, "--purpose", "pre-loan", "--fields", "CF:"])
        .fails(1, &["`CF:` names no field"]);
}

/// What `sh` makes of a question that rests on no grant: how many records it tells, and the rules by which it withholds.
fn without_grant(
    federation: &Federation,
    member: &str,
    subject: &str,
    basis: &[&str],
) -> (usize, Vec<String>) {
    let args = ["query", "--subject", subject, "--fields", "CF", "--wait", "60"];
    let value = federation.at(member, &[&args[..], basis].concat()).json();
    let part = value["members"].as_array().unwrap().iter().find(|m| m["member"] == "sh").unwrap();
    let rule = |w: &serde_json::Value| w["rule"].as_str().unwrap().to_owned();
    let mut rules: Vec<String> = part["withheld"].as_array().unwrap().iter().map(rule).collect();
    rules.sort();
    rules.dedup();
    (part["records"].as_array().unwrap().len(), rules)
}

/// A one-time grant is not used up by a question whose answer cannot be kept; where the writing fails all the same, the answer
/// is shown.
fn an_answer_is_not_lost_with_its_file(federation: &Federation, subject: &str) {
    let grant = federation.grant("one-time", subject, "bank-a", &[]);
    let ask = |more: &[&str]| federation.query("bank-a", subject, &[&["--grant", &grant], more].concat());
    ask(&["--out", &federation.text("no/such/place")]).fails(1, &["no/such/place"]);
    ask(&["--out", &grant]).fails(1, &[&grant, "exists already"]);
    ask(&["--wait", "0"]).fails(1, &["--wait"]);
    assert_eq!(standing(federation, "sh", &grant), "active");
    let shown = ask(&["--out", "/dev/full"]).fails(1, &["/dev/full"]).json();
    let part = shown["members"].as_array().unwrap().iter().find(|m| m["member"] == "sh").unwrap();
    assert_eq!(part["records"].as_array().unwrap().len(), 1, "{shown:#}");
    assert_eq!(standing(federation, "sh", &grant), "used-up");

    // A grant is shown where its file cannot be written: its collector keeps none.
    let letter = federation.file("full.letter", "a letter (example)\n");
    let issue = |letter: &str, out: &str| {
        let args = ["grant", "issue", "--subject", subject, "--grantee", "bank-a", "--purpose", "pre-loan"];
        federation.at("js", &[&args[..], &["--item", "CF", "--letter", letter, "--out", out]].concat())
    };
    let bytes =
        issue(&letter, "/dev/full").fails(1, &["/dev/full"]).json()["bytes"].as_str().unwrap().to_owned();
    let again = federation.file("again.grant", crypto::codec::unhex(&bytes).unwrap());
    assert_eq!(standing(federation, "js", &again), "active");
    issue(&letter, &grant).fails(1, &[&grant, "exists already"]);
    issue("/dev/null", &federation.text("never")).fails(1, &["/dev/null", "empty"]);

    // One that names more fields than a question may have says that the question is to name some.
    let wide: Vec<&str> =
        ["XK", "ZX", "PJ", "NSXY", "SBJN"].iter().flat_map(|item| ["--item", *item]).collect();
    let wide = federation.grant("wide", subject, "bank-a", &wide);
    let ask = ["query", "--grant", &wide, "--purpose", "pre-loan", "--wait", "60"];
    federation.at("bank-a", &ask).fails(1, &["fields of 6 items", "64"]);
    federation.at("bank-a", &[&ask[..], &["--fields", "CF"]].concat()).done();
}

/// An authority asks under a duty, and for a subject that stands at its counter; a bank can do neither.
fn other_bases(federation: &Federation, subject: &str) {
    let paper = federation.file("own.letter", "an application of the subject (example)\n");
    let duty = ["--duty", "政务数据共享条例 art. 20"];
    let own = ["--own", &paper];
    let entries = federation.sizes("sh")[2];
    // Data shared between authorities is among what a duty opens; what can only be verified is told to nobody.
    assert_eq!(without_grant(federation, "js", subject, &duty), (1, vec!["verify-only".to_owned()]));
    assert_eq!(without_grant(federation, "js", subject, &own), (1, vec!["default-deny".to_owned()]));
    let other = [&duty[..], &["--purpose", "pre-loan"]].concat();
    for (member, basis) in [("bank-a", &duty[..]), ("bank-a", &own), ("js", &other)] {
        assert_eq!(without_grant(federation, member, subject, basis), (0, vec!["default-deny".to_owned()]));
    }
    assert_eq!(federation.sizes("sh")[2], entries + 5, "every question has its entry");
    federation
        .at("js", &["query", "--subject", subject, "--fields", "CF", "--duty", ""])
        .fails(1, &["question.malformed"]);
}

#[test]
fn rules_are_explained_and_held_against_their_cases() {
    let tested = run(&["policy", "test", "--json"]).done().json();
    assert!(tested["cases"].as_u64().unwrap() >= tested["rules"].as_u64().unwrap(), "{tested:#}");
    let explain = |basis: &str, role: &str| {
        let args = ["policy", "explain", "--json", "--purpose", "administration", "--fields", "CF:X_CFCX"];
        let value = run(&[&args[..], &["--role", role, "--basis", basis]].concat()).done().json();
        value["fields"][0].clone()
    };
    let field = explain("duty", "region");
    assert_eq!(
        (&field["told"], &field["class"], &field["rule"]),
        (&true.into(), &"government".into(), &"administration-duty".into())
    );
    for key in ["source", "zh", "en"] {
        assert!(field[key].as_str().is_some_and(|text| !text.is_empty()), "{field:#}");
    }
    assert_eq!(
        (&explain("duty", "bank")["rule"], &explain("none", "region")["told"]),
        (&"default-deny".into(), &false.into())
    );
    // Rules and cases that cannot be read, or do not fit each other.
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, from: &str, to: &str| {
        let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../credit/data/policy/");
        let text = std::fs::read_to_string(format!("{shipped}{name}")).unwrap();
        let (changed, line) =
            (text.replacen(from, to, 1), text.lines().position(|l| l.contains(from)).unwrap() + 1);
        assert_ne!(changed, text);
        let at = dir.path().join(name);
        std::fs::write(&at, changed).unwrap();
        (at.to_str().unwrap().to_owned(), format!("{name} line {line}"))
    };
    let (rules, place) = file("2026.csv", "deny,bank,", "deny,bnak,");
    run(&["policy", "test", "--json", "--rules", &rules]).fails(1, &[&place, "bnak"]);
    let (cases, place) = file("2026-cases.csv", "deny,grant-missing", "value,grant-missing");
    let ran = run(&["policy", "test", "--json", "--cases", &cases]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.json()["wrong"][0].as_str().unwrap().contains(&place), "{ran:?}");
    let (rules, _) = file("2026.csv", "allow,bank,", "deny,bank,");
    assert_eq!(run(&["policy", "test", "--json", "--rules", &rules]).code, Some(1));
}

/// The asked member's part of an answer, as far as it is one of the two that collect.
fn outcome(value: &serde_json::Value, member: &str) -> String {
    let parts = value["members"].as_array().unwrap();
    parts.iter().find(|m| m["member"] == member).unwrap()["outcome"].as_str().unwrap().to_owned()
}

#[test]
fn a_grant_used_up_while_a_node_is_away_and_one_issued_after_the_backup() {
    let federation = Federation::start(&FIVE);
    federation.source("sh", "office");
    let first = federation.file("first.csv", numbered(1, 3));
    federation.submit("sh", "office", &first).done();
    let subject = company(1);

    // `js` answers the only question, and says that it was the last; `sh` is away.
    let grant = federation.grant("once", &subject, "bank-a", &[]);
    federation.stop("sh");
    let said = federation.sizes("js")[1];
    let value = federation.query("bank-a", &subject, &["--grant", &grant, "--wait", "4"]).json();
    assert_eq!(outcome(&value, "js"), "answered", "{value:#}");
    assert_eq!(federation.sizes("js")[1], said + 1);
    federation.spawn("sh");
    federation.ready("sh");
    // On the first question already. It has counted none.
    assert_eq!(verdict(&federation, &subject, &grant), "grant-used-up");
    let shown = federation.at("sh", &["grant", "show", &grant]).done().json();
    assert_eq!(
        (&shown["standing"]["status"], &shown["standing"]["uses"]),
        (&"used-up".into(), &0.into()),
        "{shown:#}"
    );
    // The bank keeps no copies, and is told.
    until("the bank knows that it is used up", NEWS, || {
        (standing(&federation, "bank-a", &grant) == "used-up").then_some(())
    });

    // Another one: the question that `js` has answered goes on to `sh`, which comes back meanwhile and reads first that it
    // was the last.
    let grant = federation.grant("again", &subject, "bank-a", &[]);
    federation.stop("sh");
    let said = federation.sizes("js")[1];
    let value = std::thread::scope(|scope| {
        let asking = scope.spawn(|| federation.query("bank-a", &subject, &["--grant", &grant]).json());
        until("js has answered", NEWS, || (federation.sizes("js")[1] > said).then_some(()));
        federation.spawn("sh");
        federation.ready("sh");
        asking.join().unwrap()
    });
    assert_eq!([outcome(&value, "sh"), outcome(&value, "js")], ["answered", "answered"], "{value:#}");
    assert_eq!(verdict(&federation, &subject, &grant), "grant-used-up");

    // The collector's directory is put back from before a grant; its log comes back, and with it the grant.
    federation.stop("js");
    copy(&federation.path("js"), &federation.path("js.backup"));
    federation.spawn("js");
    federation.ready("js");
    let grant = federation.grant("later", &subject, "bank-a", &["--uses", "9"]);
    assert_eq!(verdict(&federation, &subject, &grant), "answered");
    let size = federation.sizes("js")[1];
    until("sh has a copy of js's log", NEWS, || {
        let mirrors = federation.status("sh")["mirrors"].clone();
        let status = mirrors.as_array().unwrap().iter().find(|m| m["member"] == "js" && m["log"] == "status");
        (status.unwrap()["entries"].as_u64().unwrap() >= size).then_some(())
    });
    federation.stop("js");
    std::fs::remove_dir_all(federation.path("js")).unwrap();
    copy(&federation.path("js.backup"), &federation.path("js"));
    federation.spawn("js");
    federation.ready("js");
    let shown = federation.at("js", &["grant", "show", &grant]).done().json();
    assert!(shown["standing"]["issued_at"].is_u64(), "{shown:#}");
    federation.at("js", &["grant", "revoke", &grant]).done();
    until("the grant is revoked at sh", NEWS, || {
        (standing(&federation, "sh", &grant) == "revoked").then_some(())
    });
    assert_eq!(verdict(&federation, &subject, &grant), "grant-revoked");
}

#[test]
fn a_subject_signs_with_its_own_key_and_changes_what_it_has_signed() {
    let federation = Federation::start(&FIVE);
    federation.source("sh", "office");
    let first = federation.file("first.csv", numbered(1, 3));
    federation.submit("sh", "office", &first).done();
    let subject = company(1);
    let (registry, pass) = (federation.text("gov/registry"), federation.text("pass"));
    let plain = |args: &[&str]| run(&[args, &["--json"]].concat());
    let [key, binding, signed] = ["own.key", "own.binding", "own.grant"].map(|name| federation.text(name));
    let unlock = ["--key", &key, "--passphrase-file", &pass];

    let make = ["subject", "key", "--out", &key, "--passphrase-file", &pass];
    let public = plain(&make).done().json()["public"].as_str().unwrap().to_owned();
    plain(&make).fails(1, &["exists already"]);
    let paper = federation.file("key.paper", "an application (example)\n");
    let bind =
        ["subject", "bind", "--subject", &subject, "--key", &public, "--paper", &paper, "--days", "30"];
    federation.at("js", &[&bind[..], &["--out", &binding]].concat()).done();
    federation
        .at("sh", &[&bind[..], &["--out", &federation.text("sh.binding")]].concat())
        .fails(1, &["grant.invalid", "collector"]);
    federation.at("js", &[&bind[..], &["--out", &key]].concat()).fails(1, &[&key, "exists already"]);
    // Nobody can sign with a point of small order.
    let weak = ["subject", "bind", "--subject", &subject, "--key", &"00".repeat(32), "--paper", &paper];
    let nothing = federation.text("weak.binding");
    federation.at("js", &[&weak[..], &["--out", &nothing]].concat()).fails(1, &["grant.invalid", "can sign"]);
    assert!(!std::fs::exists(&nothing).unwrap());
    let terms =
        ["--grantee", "bank-a", "--purpose", "pre-loan", "--item", "CF", "--uses", "9", "--out", &signed];
    let sign = |more: &[&str]| {
        let of = ["grant", "sign", "--binding", &binding, "--registry", &registry];
        plain(&[&of[..], &unlock, &terms, more].concat())
    };
    sign(&["--days", "31"]).fails(1, &["vouched for until"]);
    sign(&["--item", "CF:CF_WSH", "--days", "20"]).fails(1, &["`CF` twice"]);
    sign(&["--item", "NSXY:", "--days", "20"]).fails(1, &["`NSXY:` names no field"]);
    sign(&["--purpose", "audit", "--days", "20"]).fails(1, &["`bank-a`", "audit"]);
    sign(&["--days", "20"]).done();
    // What was signed stays, and so does the key beside it.
    let secret = std::fs::read(&key).unwrap();
    sign(&["--days", "20"]).fails(1, &[&signed, "exists already"]);
    let over_the_key =
        ["--grantee", "bank-a", "--purpose", "pre-loan", "--item", "CF", "--days", "20", "--out", &key];
    let of = ["grant", "sign", "--binding", &binding, "--registry", &registry];
    plain(&[&of[..], &unlock, &over_the_key].concat()).fails(1, &[&key, "exists already"]);
    assert_eq!(std::fs::read(&key).unwrap(), secret);
    for file in [&binding, &signed] {
        plain(&["verify", file, "--registry", &registry]).done();
    }
    let verified = plain(&["verify", &signed, "--registry", &registry]).done().json();
    assert_eq!(verified["signed_by"], "subject", "{verified:#}");
    assert!(verified["not_checked"].as_array().unwrap().contains(&"revoked".into()), "{verified:#}");
    // Before its collector has heard of it.
    assert_eq!(verdict(&federation, &subject, &signed), "answered");
    let shown = federation.at("sh", &["grant", "show", &signed]).done().json();
    assert_eq!((&shown["signed_by"], &shown["collector"]), (&"subject".into(), &"js".into()), "{shown:#}");
    assert!(shown["standing"]["issued_at"].is_null() && shown["letter"].is_null(), "{shown:#}");

    let order = |change: &str| {
        let out = federation.text(&format!("{change}.order"));
        plain(&[&["grant", "order", change, &signed, "--out", &out][..], &unlock].concat()).done();
        out
    };
    let lodge = |file: &str| federation.at("js", &["grant", "lodge", file]);
    let pause = order("pause");
    lodge(&pause).fails(1, &["not-found"]);
    lodge(&signed).done();
    federation.at("xyd", &["grant", "lodge", &signed]).fails(1, &["grant.invalid", "`js`"]);
    federation.at("js", &["grant", "pause", &signed]).fails(1, &["grant.invalid", "grant order"]);
    lodge(&paper).fails(1, &["neither a grant nor an order"]);
    federation.stop("sh");
    lodge(&pause).done();
    federation.spawn("sh");
    federation.ready("sh");
    assert_eq!(verdict(&federation, &subject, &signed), "grant-paused");
    let resume = order("resume");
    assert_eq!(lodge(&resume).done().json()["standing"]["status"], "active");
    lodge(&pause).fails(1, &["grant.invalid", "newer order"]);
    until("the grant is active at sh", NEWS, || {
        (standing(&federation, "sh", &signed) == "active").then_some(())
    });
    assert_eq!(verdict(&federation, &subject, &signed), "answered");

    federation.stop("sh");
    federation.at("js", &["subject", "withdraw", &binding]).done();
    // The order that was carried out before is not carried out now.
    lodge(&resume).fails(1, &["grant.invalid", "withdrawn"]);
    federation.spawn("sh");
    federation.ready("sh");
    assert_eq!(verdict(&federation, &subject, &signed), "grant-revoked");
}
