//! The recorded witness conversation: each request, in order, against one witness that starts empty.
#![allow(clippy::unwrap_used)] // a test that cannot go on ends with a panic

use std::{fs, path::Path};

use crypto::Digest;
use ledger::{NoteKey, TreeSize, add_checkpoint::AddCheckpoint};
use serde_json::Value;

#[test]
fn the_recorded_conversation_gets_the_expected_statuses() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/ledger/witness-http");
    let index: Value = serde_json::from_slice(&fs::read(dir.join("index.json")).unwrap()).unwrap();
    let key = NoteKey::parse(index["log_vkey"].as_str().unwrap()).unwrap();
    let origin = index["log_origin"].as_str().unwrap();
    let mut last: Option<(TreeSize, Digest)> = None;
    let requests = index["requests"].as_array().unwrap();
    assert_eq!(requests.len(), 9);
    for expected in requests {
        let file = expected["file"].as_str().unwrap();
        let body = fs::read(dir.join(file)).unwrap();
        let judged = match AddCheckpoint::parse(&body) {
            Some(request) => {
                let known = request.claimed.origin == origin;
                request.judge(known.then_some(&key), last)
            }
            None => Err(ledger::add_checkpoint::NoCosignature::Malformed),
        };
        let status = match &judged {
            Ok(checkpoint) => {
                last = Some((checkpoint.size, checkpoint.root));
                200
            }
            Err(refused) => refused.status(),
        };
        assert_eq!(u64::from(status), expected["expect_status"].as_u64().unwrap(), "{file}");
        if let (Some(text), Err(refused)) = (expected["expect_body"].as_str(), &judged) {
            assert_eq!(refused.body(), text, "{file}");
        }
    }
}
