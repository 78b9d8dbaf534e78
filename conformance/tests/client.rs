//! A bank's program in Rust asks through its own node: one call, and everything that comes back is opened and verified.

#![allow(clippy::unwrap_used, reason = "a test; what fails here fails the test")]

mod common;

use std::fs;

use common::{
    federation::{FIVE, Federation},
    rows::{Penalty, numbered},
};
use credit::{
    catalog::{Catalog, Purpose},
    grant::Grant,
    id::{ClerkId, FieldId},
    question::{Basis, Want},
    value::Value,
};
use crypto::{codec, sign::Signed};
use exchange::{
    artifact::Artifact,
    parts::{self, Said},
    refusal::Code,
    wire::AskDraft,
};
use node::client::Client;

/// The file of a grant, as the collector handed it out.
fn grant(path: &str) -> Signed<Grant> {
    match codec::from_slice(&fs::read(path).unwrap()).unwrap() {
        Artifact::Grant(signed) => signed,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_program_asks_through_its_node_and_has_verified_values() {
    let federation = Federation::found_with(&FIVE[..4], &["js", "sh", "xyd"]);
    for member in ["sh", "js", "xyd", "bank-a"] {
        federation.spawn(member);
    }
    for member in ["sh", "js", "xyd", "bank-a"] {
        federation.ready(member);
    }
    federation.source("sh", "office");
    federation.submit("sh", "office", &federation.file("first.csv", numbered(1, 4))).done();
    let penalty = Penalty::new(2);
    let signed = grant(&federation.grant("grant", &penalty.subject, "bank-a", &[]));

    let client = Client::open(&federation.path("bank-a")).unwrap();
    let words = client.registry.verify(&signed).unwrap();
    let draft = AskDraft {
        clerk: ClerkId::parse("loans-1").unwrap(),
        purpose: Purpose::LoanReview,
        subject: words.get().subject.clone(),
        wants: Want::granted(&Catalog::builtin(), words.get()),
        basis: Basis::Grant(signed),
        wait_ms: 60_000,
        checks: Vec::new(),
    };
    let result = client.ask(draft.clone()).await.unwrap();
    assert!(parts::complete(&result.opened), "every member has proven what it decided");
    let said: Vec<_> = result.opened.iter().map(|part| (part.member.as_str(), part.said())).collect();
    assert_eq!(said, [("js", Said::Answered), ("sh", Said::Answered)]);
    let records = &result.opened[1].answer.as_ref().unwrap().records;
    let number = records[0].fields.iter().find(|field| field.field == FieldId(14)).unwrap();
    assert_eq!((records.len(), &number.value), (1, &Value::Text(penalty.document)));

    // A member that is away is a line, and the answer is not complete.
    federation.kill("sh");
    let result = client.ask(AskDraft { wait_ms: 3_000, ..draft.clone() }).await.unwrap();
    assert!(!parts::complete(&result.opened));
    assert_eq!(result.opened[1].said(), Said::Unreachable);
    // A node that does not run is an error that says what to do.
    federation.kill("bank-a");
    let problem = client.ask(draft).await.unwrap_err();
    assert!(problem.to_string().contains(Code::Unreachable.as_str()) || problem.next.contains("node run"));
}
