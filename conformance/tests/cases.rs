//! Cases, masks and withdrawals with real nodes: what the authority and the counter see, and what a scraper sees.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test; what fails here fails the test")]

mod common;

use std::time::Duration;

use common::{
    Federation, contains,
    federation::{Cast, FIVE},
    files,
    foreign::Foreign,
    http,
    rows::{self, Penalty, company, file},
    run, until,
};
use credit::{calendar::Calendar, repair::Deadline, value::Date};
use serde_json::{Value, json};

const WAIT: Duration = Duration::from_secs(40);

/// The value of a metric.
fn metric(federation: &Federation, member: &str, name: &str) -> Option<u64> {
    let got = http::get(&format!("{}/metrics", federation.http(member)), None).unwrap();
    let text = String::from_utf8(got.body).unwrap();
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

/// What `member` knows of the record's standing at `sh`.
fn status(federation: &Federation, member: &str, record: &str) -> Option<String> {
    let value = federation.at(member, &["status", record]).done().json();
    Some(value["standing"][0]["status"].as_str()?.to_owned())
}

/// `case list` of `member`.
fn cases(federation: &Federation, member: &str, more: &[&str]) -> Value {
    federation.at(member, &[&["case", "list"], more].concat()).done().json()
}

/// The last of so many working days after `day`, as it is printed.
fn after(day: &Value, days: u32) -> String {
    let from = Date::parse(day.as_str().unwrap()).unwrap();
    Deadline::after(from, days, &Calendar::builtin()).date.to_string()
}

#[test]
fn the_counter_learns_the_outcome_and_what_is_masked_or_withdrawn_says_so() {
    let cast: Vec<Cast> = FIVE[..3].to_vec();
    let federation = Federation::start(&cast);
    federation.source("sh", "office");
    federation.source("js", "office");
    let (penalty, warning) = (Penalty::new(1), Penalty::new(2));
    let fined = file(&[penalty.clone(), warning.clone()]);
    // The second one is a warning, and so minor: it can be repaired as soon as what it demands is done.
    let (first, second) = fined.rsplit_once(",罚款,罚款3000元,0.3,").unwrap();
    let rows = federation.file("rows.csv", format!("{first},警告,警告（虚构）,,{second}"));
    federation.submit("sh", "office", &rows).done();
    federation.submit("js", "office", &rows).done();
    assert_eq!(metric(&federation, "sh", "xinqiao_cases_overdue{clerk=\"\"}"), Some(0));

    // An application through `js`.
    let paper = federation.file("performed", "proof of performance (example)\n");
    let apply = ["repair", "apply", "--authority", "sh", "--item", "CF", "--document", &penalty.document];
    let taken = federation
        .at("js", &[&apply[..], &["--subject", &penalty.subject, "--paper", &paper]].concat())
        .done();
    assert_eq!((&taken.json()["papers"], &taken.json()["warning"]), (&1.into(), &Value::Null));
    let case = until("the case is open", WAIT, || {
        cases(&federation, "sh", &[])["cases"].as_array().unwrap().first().cloned()
    });
    let day = &cases(&federation, "sh", &[])["today"];
    assert_eq!(
        (&case["state"], &case["step"], &case["authority"], &case["counters"][0]),
        (&"applied".into(), &"accept".into(), &"sh".into(), &"js".into())
    );
    assert_eq!(case["due"]["date"], after(day, 3).as_str());
    // With three working days left nothing is near.
    assert!(cases(&federation, "sh", &["--due"])["cases"].as_array().unwrap().is_empty());
    let (id, record) = (case["case"].as_str().unwrap(), case["record"].as_str().unwrap());
    let taken = |state: &str| {
        until(&format!("`js` knows that it is {state}"), WAIT, || {
            let taken = cases(&federation, "js", &["--authority", "sh"])["taken"][0].clone();
            (taken["state"] == state).then_some(taken)
        })
    };
    taken("applied");
    // Every refusal says what to do, in both languages.
    let early = federation.at("sh", &["repair", "decide", id]).fails(1, &["not accepted yet / 案件尚未受理"]);
    let remedy = |key: &str| early.json()["error"][key].as_str().unwrap().to_owned();
    assert!(remedy("next").contains("run `xinqiao repair accept CASE` first"), "{early:?}");
    assert!(remedy("next_zh").contains("请先执行 `xinqiao repair accept"), "{early:?}");
    let past = ["--refuse", "材料不实（示例）", "--false-material", "--barred-until", "2020-01-01"];
    federation.at("sh", &[&["repair", "decide", id][..], &past].concat()).fails(1, &["2020-01-01 is past"]);
    let accepted = federation.at("sh", &["repair", "accept", id, "--clerk", "sh-07"]).done().json();
    assert_eq!((&accepted["papers"], &accepted["state_zh"]), (&1.into(), &"已受理".into()));
    taken("accepted");
    assert_eq!(cases(&federation, "sh", &[])["cases"][0]["step"], "decide");
    clerks(&federation, id);
    let refuse = ["repair", "decide", id, "--refuse", "义务未履行（示例）", "--clerk", "sh-12"];
    let decided = federation.at("sh", &refuse).done().json();
    assert_eq!(
        decided["clerks"],
        json!({ "took": [null], "assigned": "sh-12", "accepted": "sh-07", "decided": "sh-12" })
    );
    // Nobody's step is next, and a decided case goes to nobody.
    federation.at("sh", &["case", "assign", id, "--clerk", "sh-07"]).fails(1, &["case.denied"]);
    assert_eq!(taken("refused")["reason"], "义务未履行（示例）");
    let listed = run(&["case", "list", "--dir", &federation.text("sh")]).done().out;
    let line = format!("refused 不予修复, CF of {}, record {}…", rows::decided(), &record[..12]);
    assert!(listed.contains(&line), "{line} in {listed}");
    assert!(cases(&federation, "js", &["--authority", "js"])["taken"].as_array().unwrap().is_empty());
    let text = run(&["case", "list", "--dir", &federation.text("js")]).done().out;
    assert!(text.contains("not granted 不予修复") && text.contains("义务未履行（示例）"), "{text}");

    refusal(&federation, id, &penalty);
    certificates(&federation, &warning);

    // Hidden for a reorganisation: by the authority, on the court's paper.
    let ruling = federation.file("ruling", "ruling of the court (example)\n");
    let mask = ["record", "mask", record, "--reason", "重整计划获批（示例）"];
    assert_eq!(federation.at("sh", &mask).code, Some(2), "a mask needs a paper");
    let mask = [&mask[..], &["--paper", &ruling]].concat();
    federation.at("js", &mask).fails(1, &["authority.other"]);
    let masked = federation.at("sh", &mask).done().json();
    assert_eq!(masked["paper"], crypto::Digest::of(b"ruling of the court (example)\n").to_string().as_str());
    until("`js` hides it", WAIT, || (status(&federation, "js", record)? == "masked").then_some(()));
    federation.at("sh", &["record", "unmask", record, "--reason", "重整计划执行完毕（示例）"]).done();
    until("`js` shows it", WAIT, || (status(&federation, "js", record)? == "active").then_some(()));
    let again = ["record", "unmask", record, "--reason", "另一依据（示例）"];
    federation.at("sh", &again).fails(1, &["the record is active"]);
    // A day of publication before the record was here is asked about first.
    let early = ["record", "publish", record, "--on", &rows::decided().to_string()];
    let asked = federation.at("sh", &early).fails(1, &["was taken in here"]);
    assert!(asked.err.contains("say it again with --confirm"), "{asked:?}");
    federation.at("sh", &[&early[..], &["--confirm"]].concat()).done();
    // Whom to reconcile with is named, and is another member with a node.
    federation.at("sh", &["reconcile", "--peer", "sh"]).fails(1, &["`sh` is this member itself"]);
    federation.at("sh", &["reconcile", "--peer", "nobody"]).fails(1, &["member.unknown", "`nobody`"]);

    // Withdrawn: due for erasure at each member that holds it, and at no other.
    let withdrawn =
        federation.at("sh", &["record", "withdraw", record, "--reason", "处罚决定已撤销（示例）"]);
    propagated(&federation, &withdrawn.done().json()["event"].to_string(), &penalty);
    for holder in ["sh", "js"] {
        let due = until("the erasure is due", WAIT, || {
            cases(&federation, holder, &["--due"])["erasures"].as_array().unwrap().first().cloned()
        });
        assert_eq!((&due["record"], &due["authority"]), (&record.into(), &"sh".into()));
        assert_eq!(due["due"]["date"], after(day, 3).as_str());
        assert_eq!(metric(&federation, holder, "xinqiao_erasures_due"), Some(1));
    }
    until("`xyd` knows", WAIT, || (status(&federation, "xyd", record)? == "withdrawn").then_some(()));
    assert!(cases(&federation, "xyd", &[])["erasures"].as_array().unwrap().is_empty());
    // It is data: a node that is stopped in between has it again. Done by hand it is not due any more.
    federation.stop("js");
    federation.spawn("js");
    federation.ready("js");
    assert_eq!(metric(&federation, "js", "xinqiao_erasures_due"), Some(1));
    federation.at("js", &["erase", record, "--reason", "条例第三十七条（示例）"]).done();
    assert_eq!(metric(&federation, "js", "xinqiao_erasures_due"), Some(0));
    // What both stored fits together: cases, applications and bans follow from their logs.
    assert_eq!(metric(&federation, "sh", "xinqiao_acknowledgements_overdue"), Some(0));
    for member in ["sh", "js"] {
        federation.stop(member);
        federation.unlocked(&["node", "fsck"], member).done();
    }
}

/// The paper of a change of standing: tied to subject and number like a repair's, with the names of who is to acknowledge.
fn propagated(federation: &Federation, event: &str, penalty: &Penalty) {
    let (out, registry) = (federation.text("withdrawn"), federation.registry().display().to_string());
    let about = ["--document", &penalty.document, "--item", "CF", "--subject"];
    let drawn = |subject: &str| {
        let verb = ["repair", "certificate", event, "--out", &out];
        federation.at("sh", &[&verb[..], &about, &[subject]].concat())
    };
    drawn(&company(77)).fails(1, &["record.unknown"]);
    until("everybody has acknowledged", WAIT, || {
        let told = federation.at("sh", &["repair", "certificate", event]).done().json();
        told["missing"].as_array().unwrap().is_empty().then_some(())
    });
    drawn(&penalty.subject).done();
    // It is signed anew each time: this is another paper, and what was handed out stays as it is.
    drawn(&penalty.subject).fails(1, &[&out, "exists already"]);
    let verified =
        |subject: &str| run(&[&["verify", &out, "--registry", &registry][..], &about, &[subject]].concat());
    let text = verified(&penalty.subject).done().out;
    let name = "js       (js)";
    for word in ["withdraw 撤销", "确认期限", "与签名一致", name] {
        assert!(text.contains(word), "{word} in {text}");
    }
    assert!(!text.contains("LATE"), "{text}");
    let stranger = verified(&company(77));
    assert!(
        stranger.code == Some(1) && stranger.out.starts_with("certificate DOES NOT BELONG"),
        "{stranger:?}"
    );
}

/// The list by clerk: of who accepted, and after the case is assigned of who has it now.
fn clerks(federation: &Federation, case: &str) {
    let of = |clerk: &str| cases(federation, "sh", &["--clerk", clerk])["cases"].as_array().unwrap().len();
    assert_eq!((of("sh-07"), of("sh-12")), (1, 0));
    federation.at("sh", &["case", "assign", case, "--clerk", "sh-12"]).done();
    assert_eq!((of("sh-07"), of("sh-12")), (0, 1));
    assert_eq!(
        cases(federation, "sh", &[])["clerks"],
        json!([{ "clerk": "sh-12", "overdue": 0, "cases": [case] }])
    );
    let text = run(&["case", "list", "--dir", &federation.text("sh")]).done().out;
    assert!(text.contains("clerk 经办人 `sh-12`: 1 cases, 0 overdue"), "{text}");
    for clerk in ["", "sh-12\u{200b}", "sh\u{a0}12"] {
        federation
            .at("sh", &["case", "list", "--clerk", clerk])
            .fails(1, &["1 to 64 characters that are seen"]);
    }
}

/// The paper of a refusal: asked for by its case, signed like the other, and it claims no grant.
fn refusal(federation: &Federation, case: &str, penalty: &Penalty) {
    let (out, registry) = (federation.text("refused.html"), federation.registry().display().to_string());
    let about = ["--document", &penalty.document, "--item", "CF", "--subject", &penalty.subject];
    federation.at("sh", &[&["repair", "certify", case, "--out", &out][..], &about].concat()).done();
    let page = std::fs::read_to_string(&out).unwrap();
    let body = "<th>认定单位</th><td>示例市交通执法机构（虚构）</td>";
    for word in ["不予信用修复", "义务未履行（示例）", "受理日期", "行政复议", &penalty.document, body]
    {
        assert!(page.contains(word), "{word} in {page}");
    }
    assert!(!page.contains("准予信用修复"), "{page}");
    let read = run(&["--json", "verify", &out, "--registry", &registry]).done().json();
    assert_eq!((&read["granted"], &read["case"]), (&false.into(), &case.into()));
    assert_eq!((&read["reason"], &read["about"]), (&"义务未履行（示例）".into(), &"matches".into()));
    federation
        .at("sh", &["repair", "certify", "neither", "--form", "json", "--out", &out])
        .fails(1, &["neither"]);
}

/// The subject's certificate in each of its forms: made by the authority, checked with the registry alone.
fn certificates(federation: &Federation, warning: &Penalty) {
    let apply = ["repair", "apply", "--authority", "sh", "--item", "CF", "--document", &warning.document];
    let taken = federation.at("sh", &[&apply[..], &["--subject", &warning.subject]].concat()).done().json();
    assert!(taken["warning"].as_str().unwrap().contains("WITHOUT A PAPER"), "{taken}");
    let open = cases(federation, "sh", &[])["cases"].as_array().unwrap().clone();
    let case = open.iter().find(|case| case["state"] == "applied").unwrap();
    let (id, record) = (case["case"].as_str().unwrap(), case["record"].as_str().unwrap());
    assert!(
        run(&["repair", "accept", id, "--dir", &federation.text("sh")])
            .done()
            .out
            .contains("缺履行完毕证明与信用承诺书")
    );
    federation.at("sh", &["record", "publish", record]).done();
    let event = federation.at("sh", &["repair", "decide", id]).done().json()["event"].to_string();
    // What is repaired has ended: it is neither hidden nor ended again.
    federation
        .at("sh", &["record", "expire", record, "--reason", "示例"])
        .fails(1, &["the record is repaired", "“已修复”"]);
    let registry = federation.registry().display().to_string();
    let verified = |args: &[&str]| run(&[&["--json", "verify", "--registry", &registry], args].concat());
    let certify = |form: &str, more: &[&str]| {
        let out = federation.text(&format!("repaired.{form}"));
        let verb = ["repair", "certify", &event, "--form", form, "--out", &out];
        (federation.at("sh", &[&verb[..], more].concat()), out)
    };
    federation
        .at("sh", &["repair", "certify", "0", "--form", "json", "--out", "nowhere"])
        .fails(1, &["not-found"]);
    // A page names whom it is about.
    federation.at("sh", &["repair", "certify", &event, "--out", "nowhere"]).fails(1, &["a page names whom"]);

    let (made, json) = certify("json", &[]);
    made.done();
    let read = verified(&[&json]).done().json();
    assert_eq!(
        (&read["kind"], &read["record"], &read["case"]),
        (&"repair".into(), &record.into(), &id.into())
    );
    assert_eq!((read["authority"].as_str(), read["rule"].as_str()), (Some("sh"), Some("ndrc-36")));
    let text = std::fs::read_to_string(&json).unwrap();
    let other = text.replace(record, &"0".repeat(64));
    let other = federation.file("other.json", other);
    verified(&[&other]).fails(1, &["`record` is not what is signed"]);
    // Nor may a word stand in it that nobody has signed, or one be missing.
    assert_eq!(read["published_by"], "publisher");
    for (from, to, why) in [
        ("\"kind\":", "\"effect\": \"全部记录予以删除\", \"kind\":", "`effect` is not what is signed"),
        (
            "\"published_by\": \"publisher\"",
            "\"published_by\": \"file\"",
            "`published_by` is not what is signed",
        ),
        ("示例市交通执法机构", "另一机构", "`deciding_body` is not what is signed"),
        ("\"tier\": \"minor\"", "\"tears\": \"minor\"", "is not what is signed"),
    ] {
        assert!(text.contains(from), "{from} in {text}");
        verified(&[&federation.file("other.json", text.replace(from, to))]).fails(1, &[why]);
    }
    let shown = run(&["verify", "--registry", &registry, &json]).done().out;
    for word in
        ["认定单位: 示例市交通执法机构（虚构）", "公示日期: ", "（公示单位告知）", "签名未涉及号码与文号"]
    {
        assert!(shown.contains(word), "{word} in {shown}");
    }

    let (made, cose) = certify("cose", &[]);
    made.done();
    assert!(verified(&[&cose]).done().json()["proof"].as_str().unwrap().starts_with("entry "));
    let mut bytes = std::fs::read(&cose).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    let forged = federation.file("forged.cose", bytes);
    verified(&[&forged]).fails(1, &["signature"]);

    // The page shows what was typed as text, and only what belongs to the record.
    let about = ["--name", "<b>示例</b>", "--document", &warning.document, "--item", "CF", "--subject"];
    let stranger = company(77);
    let (made, _) = certify("page", &[&about[..], &[&stranger]].concat());
    made.fails(1, &["not about this subject"]);
    let (made, page) = certify("page", &[&about[..], &[&warning.subject]].concat());
    made.done();
    let (page, printed) = (std::fs::read_to_string(&page).unwrap(), page);
    assert!(
        page.contains("&lt;b&gt;示例&lt;/b&gt;") && page.contains(&warning.subject) && page.contains("<svg")
    );
    assert!(!page.contains("<script") && !page.contains("http"), "{page}");
    let (_, code) = page.split_once("<code>").unwrap();
    let (code, _) = code.split_once("</code>").unwrap();
    let scanned = verified(&["--text", code]).done().json();
    assert_eq!((&scanned["record"], &scanned["index"].to_string()), (&record.into(), &event));
    assert_eq!((&scanned["about"], &scanned["granted"]), (&"not-checked".into(), &true.into()));
    verified(&["--text", &code[..code.len() - 8]]).fails(1, &["no repair certificate"]);
    // The code is about this company and number, and about no other.
    let numbers = |subject: &str, document: &str| {
        let said = verified(&["--text", code, "--subject", subject, "--document", document, "--item", "CF"]);
        (said.code, said.json()["about"].clone())
    };
    assert_eq!(numbers(&warning.subject, &warning.document), (Some(0), "matches".into()));
    assert_eq!(numbers(&stranger, &warning.document), (Some(1), "does-not-match".into()));
    assert_eq!(numbers(&warning.subject, "示〔2026〕9号"), (Some(1), "does-not-match".into()));
    // The first line says so too.
    let first = |subject: &str| {
        let about = ["--subject", subject, "--document", &warning.document, "--item", "CF"];
        run(&[&["verify", "--registry", &registry, "--text", code][..], &about].concat()).out
    };
    assert!(first(&warning.subject).starts_with("repair certificate holds / 信用修复证明有效\n"));
    assert!(first(&stranger).starts_with("repair certificate DOES NOT HOLD"), "{}", first(&stranger));
    assert!(!first(&stranger).contains("证明有效"));
    // The page as a file: it holds as it is; with another's number, date or words it does not.
    let whole = verified(&[&printed]).done().json();
    assert_eq!((&whole["about"], &whole["record"]), (&"matches".into(), &record.into()));
    for (from, to, why) in [
        (warning.subject.as_str(), stranger.as_str(), "DOES NOT MATCH"),
        ("<th>失信程度</th><td>轻微", "<th>失信程度</th><td>一般", "`失信程度` on it is not `轻微`"),
        ("<b>核验方法</b>", "<b>无需核验</b>", "its words are not those"),
        ("</table>", "<tr><th>罚款</th><td>无</td></tr></table>", "its words are not those"),
    ] {
        assert!(page.contains(from), "{from} in {page}");
        let forged = federation.file("forged.html", page.replace(from, to));
        let said = run(&["verify", "--registry", &registry, &forged]);
        assert!(said.code == Some(1) && format!("{}{}", said.out, said.err).contains(why), "{said:?}");
    }
    // A reader of other people finds the same text in the drawing, as a phone does in a print: upright, on its head, and
    // with a stain; and nothing where too much is gone.
    let reads = |more: &[&str]| Foreign::get().python("qr.py", &[more, &[&printed]].concat());
    for more in [&[][..], &["--turned"], &["--stain", "3"]] {
        let text = reads(more).done().out;
        assert_eq!(text.trim_end(), code, "{more:?}");
        assert_eq!(verified(&["--text", text.trim_end()]).done().json()["record"], record);
    }
    let gone = reads(&["--stain", "40"]);
    assert!(gone.code == Some(1) && gone.err.contains("the reader finds []"), "{gone:?}");
    // What leads to the subject stands on the page alone.
    for member in ["sh", "js"] {
        let log = federation.path(&format!("log-{member}"));
        let export = ["audit", "export", "--member", member, "--log", "status", "--out"];
        federation.unlocked(&[&export[..], &[log.to_str().unwrap()]].concat(), member).done();
        for (file, bytes) in files(&log) {
            assert!(!contains(&bytes, warning.subject.as_bytes()), "{}", file.display());
        }
    }
}
