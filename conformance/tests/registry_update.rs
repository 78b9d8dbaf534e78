//! A new registry version in running nodes: handed to one of them, fetched by the others, in effect at once.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test; what fails here fails the test")]

mod common;

use std::{fs, time::Duration};

use common::{
    Federation,
    federation::{Cast, FIVE},
    rows, until,
};
use credit::id::MemberId;
use exchange::{limits::FRAME_BYTES_MAX, wire::Request};
use node::{home::read_registry, keys::Keys, quic};
use serde_json::json;

const WAIT: Duration = Duration::from_secs(40);

fn version(federation: &Federation, member: &str) -> Option<u64> {
    federation.status(member)["registry"].as_u64()
}

#[test]
fn a_member_admitted_again_stays_what_the_governors_made_it() {
    let cast: Vec<Cast> = FIVE[..3].to_vec();
    let federation = Federation::found_with(&cast, &["sh", "js"]);
    let admit = |request: &str, more: &[&str]| {
        let request = federation.text(request);
        federation.unlocked(&[&["federation", "admit", &request][..], more].concat(), "gov").done()
    };
    let draft = || read_registry(&federation.path("gov/registry.draft")).unwrap();
    let sh = || {
        let (sh, registry) = (MemberId::parse("sh").unwrap(), draft().read().unwrap());
        (registry.member(&sh).unwrap().clone(), registry.witnesses.contains(&sh))
    };
    let (before, was_witness) = sh();
    assert!(was_witness && !before.mirrors.is_empty(), "{before:?}");

    // The command once more says what it keeps, and changes nothing.
    let told = admit("sh.request", &[]).json();
    assert_eq!((&told["changed"], &told["kept"]), (&json!(false), &json!(["mirrors", "witness"])));
    assert_eq!(sh(), (before.clone(), true));

    // The member asks for another address: everything else stays, and so does a signature when that is asked again.
    let moved = federation.text("moved.request");
    let (quic, body) = (federation.setting("sh", "quic"), rows::body());
    let mut args =
        vec!["member", "request", "--id", "sh", "--role", "region", "--name", "sh", "--out", &moved];
    args.extend(["--quic", &quic, "--http", "127.0.0.1:1", "--region", "310000", "--body", &body]);
    federation.unlocked(&args, "sh").done();
    assert_eq!(admit("moved.request", &[]).json()["changed"], true);
    let (after, is_witness) = sh();
    assert_eq!((after.stated.http.as_str(), after.stated.quic.clone()), ("127.0.0.1:1", quic));
    assert_eq!((is_witness, &after.mirrors, &after.record_key), (true, &before.mirrors, &before.record_key));
    federation.unlocked(&["federation", "sign", "--governor", "g1"], "gov").done();
    assert_eq!(admit("moved.request", &[]).json()["changed"], false);
    assert_eq!(draft().approvals.len(), 1, "what was signed stays signed");

    // Only what is named changes.
    let told = admit("moved.request", &["--witness=false"]).json();
    assert_eq!((&told["changed"], &told["kept"]), (&json!(true), &json!(["mirrors"])));
    assert!(!sh().1 && sh().0.mirrors == before.mirrors);
    assert_eq!(admit("moved.request", &["--mirrors="]).json()["kept"], json!([]));
    assert!(!sh().1 && sh().0.mirrors.is_empty());
    admit("moved.request", &["--witness", "--mirrors", "js"]);
    assert!(sh().1 && sh().0.mirrors == [MemberId::parse("js").unwrap()]);
}

#[test]
fn a_successor_takes_effect_without_a_restart_and_a_suspended_member_loses_its_connection() {
    let cast: Vec<Cast> = FIVE[..3].to_vec();
    let federation = Federation::start(&cast);
    let first = read_registry(&federation.registry()).unwrap().accept(None).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    // `xyd` holds a connection to `js`, as its node does.
    let keys = Keys::open(&federation.path("xyd"), b"an example passphrase").unwrap();
    let js = &first.member(&MemberId::parse("js").unwrap()).unwrap().stated;
    let line = runtime.block_on(async {
        let line =
            quic::connect(&quic::caller().unwrap(), &keys.tls_seed(), &js.quic, &[js.tls]).await.unwrap();
        quic::call(&line, &Request::Registry, FRAME_BYTES_MAX).await.unwrap();
        line
    });
    let before = federation.sizes("js");
    // Signed by one governor of two: a draft, and no successor.
    let registry = federation.text("gov/registry");
    let known = fs::read(&registry).unwrap();
    federation.at("gov", &["federation", "suspend", "xyd"]).done();
    federation.unlocked(&["federation", "sign", "--governor", "g2"], "gov").done();
    let draft = federation.text("gov/registry.draft");
    federation.at("sh", &["federation", "update", "--registry", &draft]).fails(1, &["registry.invalid"]);
    assert_eq!(version(&federation, "sh"), Some(1));
    federation.unlocked(&["federation", "sign", "--governor", "g3"], "gov").done();
    federation.at("sh", &["federation", "update", "--registry", &registry]).done();
    assert_eq!(version(&federation, "sh"), Some(2));
    until("`js` has fetched it", WAIT, || (version(&federation, "js") == Some(2)).then_some(()));
    // It is written down, and it is in the directory for the next start.
    assert_eq!(federation.sizes("js")[1], before[1] + 1);
    assert_eq!(read_registry(&federation.path("js").join("registry")).unwrap().read().unwrap().version, 2);
    let closed = runtime.block_on(async { tokio::time::timeout(WAIT, line.closed()).await.unwrap() });
    assert!(
        matches!(&closed, quinn::ConnectionError::ApplicationClosed(c) if c.error_code == 1_u8.into()),
        "{closed}"
    );
    // Nobody goes back.
    let old = federation.file("old", known);
    federation.at("sh", &["federation", "update", "--registry", &old]).fails(1, &["registry.invalid"]);
    federation.stop("js");
    federation.spawn("js");
    federation.ready("js");
    assert_eq!(federation.sizes("js")[1], before[1] + 1, "taken over once");
}
