//! Two nodes as processes: a penalty is handed in while the place of registration is away, pushed, published, withdrawn.

#![allow(clippy::unwrap_used, reason = "a test; what fails here fails the test")]

mod common;

use std::time::Duration;

use common::{Federation, contains, federation::FIVE, files, http, rows, until};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(90);

#[test]
fn a_penalty_reaches_the_place_of_registration_is_published_there_and_taken_down() {
    let federation = Federation::found(&FIVE);
    for member in ["sh", "xyd"] {
        federation.spawn(member);
    }
    federation.ready("sh");
    federation.source("sh", "sh-scjg");
    // The official layout tells a market regulator by its name. The company is registered in Jiangsu.
    let file = rows::numbered(1, 2).replace("示例市交通执法机构（虚构）", "示例市市场监督管理局");
    let file = federation.file("cf.csv", file);
    federation.submit("sh", "sh-scjg", &file).done();
    let at = |member: &str, args: &[&str]| federation.at(member, args).done().json();
    let pushed = || at("sh", &["record", "pushed"])["pushed"][0].clone();
    let line = pushed();
    assert_eq!((&line["to"], &line["province"]), (&Value::from("js"), &Value::from("320000")));
    assert!(line["taken"].is_null() && line["due"]["date"].is_string(), "{line}");
    let record = line["record"].as_str().unwrap();

    // It comes up, and has it.
    federation.spawn("js");
    federation.ready("js");
    let received = || at("js", &["record", "received"])["received"].as_array().unwrap().clone();
    let copy = until("the record is there", SOON, || received().pop());
    assert_eq!((&copy["do"], &copy["from"]), (&Value::from("publish"), &Value::from("sh")));
    until("its receipt is there", SOON, || pushed()["taken"].is_string().then_some(()));
    let shown = at("js", &["record", "received", "--record", record]);
    let shown = &shown["received"][0];
    assert_eq!(shown["subject"], Value::from(rows::company(1)));
    assert_eq!(shown["fields"]["CF_XDR_MC"], Value::from("示例0001号公司（虚构）"));
    assert_eq!(shown["fields"]["CF_CFLB"], Value::from("罚款"));
    // Nothing of it stands in the store in clear.
    let mut searched = 0;
    for (file, bytes) in files(&federation.path("js").join("data")) {
        searched += bytes.len();
        for planted in ["示例0001号公司".as_bytes(), rows::company(1).as_bytes()] {
            assert!(!contains(&bytes, planted), "{}", file.display());
        }
    }
    assert!(searched > 10_000, "there is something to search");

    // Published: said twice it is said once, and the authority knows.
    let today = at("js", &["record", "publish", record]);
    assert_eq!(at("js", &["record", "publish", record])["event"], today["event"]);
    until("the authority knows", SOON, || (pushed()["published"] == today["on"]).then_some(()));
    let status = at("sh", &["status", record]);
    assert_eq!(status["publication"]["published"], today["on"]);
    let refused = federation.at("js", &["record", "publish", record, "--on", "2999-01-01"]);
    refused.fails(1, &["2999-01-01"]);

    // Withdrawn, and to be taken down; a node that is started anew says the same.
    at("sh", &["record", "withdraw", record, "--reason", "示例：原决定已撤销"]);
    let down = || received().pop().filter(|copy| copy["do"] == "take it down");
    until("it is to be taken down", SOON, down);
    federation.kill("js");
    federation.spawn("js");
    federation.ready("js");
    assert_eq!(received()[0]["do"], Value::from("take it down"));
    // Taken down: the receiver has said so, and the authority knows of that, too.
    let down = at("js", &["record", "take-down", record]);
    let copy = &received()[0];
    assert!(copy["as_of"].is_string(), "{copy}");
    assert_eq!((&copy["do"], &copy["taken_down"]), (&Value::from("taken down"), &down["on"]));
    until("the authority knows", SOON, || (pushed()["pages"][0]["taken_down"] == down["on"]).then_some(()));
    let got = http::get(&format!("{}/metrics", federation.http("js")), None).unwrap();
    let metrics = String::from_utf8(got.body).unwrap();
    assert!(metrics.contains("xinqiao_publications_overdue 0\nxinqiao_take_downs_overdue 0\n"), "{metrics}");
}
