//! The gateway of a bank's node, as a bank's own system meets it: every address, status and schema of the document, in a
//! sandbox of real processes, by three clients that know nothing but the document (this file, Python, Java).

#![allow(clippy::unwrap_used)]

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use common::{
    command, finish,
    http::{self, Got},
    run, schema, until, xinqiao,
};
use conformance::sim::federation;
use credit::{
    catalog::Purpose,
    entry::Received,
    id::{ClerkId, ItemId, MemberId, QuestionId},
    question::{Basis, Want},
    subject::SubjectId,
};
use crypto::{Digest, Timestamp};
use exchange::{
    kept::{self, Keep, KeptAt, KeptRow},
    member::{Input, Member},
    step::{Effect, Reply, Token},
    wire::{AskDraft, Response},
};
use ledger::{log, store::memory::MemoryStore};
use serde_json::{Value, json};

/// Time for the sandbox to stand, and for a change to arrive: several times what they take on a machine under load.
const LONG: Duration = Duration::from_secs(120);

/// What of the document needs a fault that nothing here can bring about: address (all where empty), status, why.
const NOT_PROVOKED: [(&str, &str, &str); 6] = [
    ("", "408", "a body that does not come takes ten seconds"),
    ("", "409", "a retry after the deadline whose first answer was lost"),
    ("", "500", "a store that cannot be read"),
    ("", "502", "an outlet that answers with something else"),
    ("", "503", "a full or starting node; provoked for questions, with the outlet stopped"),
    ("/v1/grants/{id}", "422", "a collector that was suspended after its grant was handed in"),
];

/// The sandbox, ended when dropped.
struct Sandbox {
    process: Child,
    said: Value,
    #[expect(dead_code, reason = "removed when dropped")]
    dir: tempfile::TempDir,
}

impl Sandbox {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (out, federation) = (dir.path().join("said"), dir.path().join("federation"));
        let mut sandbox = Command::new(xinqiao());
        sandbox
            .args(["sandbox", "--json", "--listen", &format!("127.0.0.1:{port}"), "--dir"])
            .arg(federation);
        let mut process =
            sandbox.stdin(Stdio::null()).stdout(fs::File::create(&out).unwrap()).spawn().unwrap();
        let said = until("the sandbox stands", LONG, || {
            assert_eq!(process.try_wait().unwrap(), None, "the sandbox ended");
            serde_json::from_str(&fs::read_to_string(&out).unwrap()).ok()
        });
        Self { process, said, dir }
    }

    fn word(&self, name: &str) -> String {
        self.said[name].as_str().unwrap().to_owned()
    }

    /// An outcome's request body.
    fn body(&self, outcome: &str) -> Value {
        let found = self.said["outcomes"].as_array().unwrap().iter().find(|o| o["outcome"] == outcome);
        serde_json::from_slice(&fs::read(found.unwrap()["request"].as_str().unwrap()).unwrap()).unwrap()
    }

    fn requests(&self) -> PathBuf {
        let first = self.said["outcomes"][0]["request"].as_str().unwrap();
        Path::new(first).parent().unwrap().to_owned()
    }

    /// A member's directory.
    fn member(&self, id: &str) -> String {
        Path::new(&self.word("dir")).join(id).to_str().unwrap().to_owned()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // Its nodes end with it: they hold the other end of a pipe.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Asks the gateway, and holds every response against the document.
struct Caller {
    base: String,
    document: Value,
    /// What was met: method, address, status.
    met: BTreeSet<(String, String, String)>,
}

impl Caller {
    fn send(
        &mut self,
        method: &str,
        path: &str,
        key: Option<&str>,
        headers: &str,
        body: &str,
    ) -> (Got, Value) {
        let auth = key.map_or(String::new(), |key| format!("Authorization: Bearer {key}\r\n"));
        let got = http::send_with(method, &format!("{}{path}", self.base), &format!("{auth}{headers}"), body)
            .unwrap();
        let bare = path.split('?').next().unwrap();
        let value = self.check(method, bare, &got);
        (got, value)
    }

    fn json(&mut self, method: &str, path: &str, key: &str, headers: &str, body: &Value) -> (Got, Value) {
        let headers = format!("Content-Type: application/json\r\n{headers}");
        self.send(method, path, Some(key), &headers, &body.to_string())
    }

    fn get(&mut self, path: &str, key: &str) -> Value {
        let (got, value) = self.send("GET", path, Some(key), "", "");
        assert_eq!(got.status, 200, "{path}: {value}");
        value
    }

    /// The response is one that the document has for this address.
    fn check(&mut self, method: &str, path: &str, got: &Got) -> Value {
        assert!(got.header("x-request-id").is_some_and(|id| !id.is_empty()));
        let words: Vec<&str> = path.split('/').collect();
        let fits = |address: &&String| {
            let parts: Vec<&str> = address.split('/').collect();
            parts.len() == words.len() && parts.iter().zip(&words).all(|(a, b)| a == b || *a == "{id}")
        };
        let value: Value = serde_json::from_slice(&got.body).unwrap_or(Value::Null);
        let address = self.document["paths"].as_object().unwrap().keys().find(fits).cloned();
        let status = got.status.to_string();
        let operation = address.as_ref().map(|a| &self.document["paths"][a][method.to_lowercase()]);
        let Some(operation) = operation.filter(|o| !o.is_null()) else {
            // Not in the document: it is not there.
            assert!(status == "404" || status == "405", "{method} {path} is not documented: {status}");
            schema::against(&self.document, "Problem", &value).unwrap();
            return value;
        };
        let said = &operation["responses"][&status];
        assert!(!said.is_null(), "{method} {path}: {status} is not documented: {value}");
        let kind = got.header("content-type").unwrap();
        let content = &said["content"][kind]["schema"];
        assert!(!content.is_null(), "{method} {path} {status}: {kind} is not documented");
        if let Some(name) = content["$ref"].as_str() {
            let name = name.rsplit('/').next().unwrap();
            schema::against(&self.document, name, &value)
                .unwrap_or_else(|e| panic!("{method} {path} {status}: {e}"));
        }
        if kind == "application/problem+json" {
            assert_eq!(value["status"], got.status);
            assert_eq!(value["request_id"], got.header("x-request-id").unwrap());
            assert_eq!(value["type"], format!("urn:xinqiao:problem:{}", value["code"].as_str().unwrap()));
        }
        for name in said["headers"].as_object().unwrap().keys() {
            assert!(got.header(&name.to_lowercase()).is_some(), "{method} {path} {status}: no {name}");
        }
        self.met.insert((method.to_owned(), address.unwrap(), status));
        value
    }
}

/// The records of an item in an answer.
fn of_item<'a>(answer: &'a Value, item: &str) -> Vec<&'a Value> {
    answer["records"].as_array().unwrap().iter().filter(|r| r["item"] == item).collect()
}

/// What a member made of the question.
fn member<'a>(answer: &'a Value, id: &str) -> &'a Value {
    answer["members"].as_array().unwrap().iter().find(|m| m["member"] == id).unwrap()
}

#[test]
fn a_bank_s_system_gets_every_outcome_as_the_document_says() {
    let sandbox = Sandbox::start();
    let (base, key) = (sandbox.word("base"), sandbox.word("key"));
    let document = http::get(&format!("{base}/openapi.json"), None).unwrap();
    let source = include_bytes!("../../docs/openapi.json");
    assert!(document.body == source, "the document served is not the one in the repository");
    let document: Value = serde_json::from_slice(&document.body).unwrap();
    let mut caller = Caller { base: base.clone(), document, met: BTreeSet::new() };
    let (got, _) = caller.send("GET", "/openapi.json", None, "", "");
    assert_eq!(got.status, 200);
    let (_, health) = caller.send("GET", "/v1/health", None, "", "");
    assert_eq!(health["status"], "ready");

    outcomes(&sandbox, &mut caller, &key);
    let adverse = retries(&sandbox, &mut caller, &key);
    grants(&sandbox, &mut caller, &key);
    pages(&mut caller, &key, &adverse);
    evidence(&sandbox, &mut caller, &key, &adverse);
    other_people(&sandbox, &base, &key);
    hooks(&sandbox, &mut caller, &key);
    roles(&sandbox, &mut caller, &key, &adverse);
    repaired_since(&sandbox, &mut caller, &key, &adverse);
    refusals(&sandbox, &mut caller, &key, &adverse);
    away(&sandbox, &mut caller, &key);

    // Every status of every address was met, but those that need a fault.
    for (path, methods) in caller.document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            for status in operation["responses"].as_object().unwrap().keys() {
                let met = caller.met.contains(&(method.to_uppercase(), path.clone(), status.clone()));
                let fault =
                    NOT_PROVOKED.iter().any(|(at, s, _)| s == status && (at.is_empty() || at == path));
                assert!(met || fault, "{method} {path} {status} was not met");
            }
        }
    }
    assert!(caller.met.contains(&("POST".into(), "/v1/queries".into(), "503".into())));
}

fn outcomes(sandbox: &Sandbox, caller: &mut Caller, key: &str) {
    let mut ask = |outcome: &str| {
        let (got, answer) =
            caller.json("POST", "/v1/queries", key, "X-Request-Id: r-1\r\n", &sandbox.body(outcome));
        assert_eq!((got.status, got.header("x-request-id")), (201, Some("r-1")), "{answer}");
        assert_eq!(answer["complete"], true);
        assert_eq!(answer["clerk"], "loans/wang");
        answer
    };
    let clean = ask("clean");
    assert_eq!((of_item(&clean, "NSXY").len(), of_item(&clean, "CF").len()), (1, 0));
    let adverse = ask("adverse");
    let penalty = of_item(&adverse, "CF")[0];
    assert_eq!((penalty["standing"].as_str(), penalty["disputed"].as_bool()), (Some("active"), Some(false)));
    let rules: BTreeSet<&str> =
        penalty["fields"].as_array().unwrap().iter().map(|f| f["rule"].as_str().unwrap()).collect();
    assert_eq!(rules, BTreeSet::from(["bank-granted"]));
    assert!(!member(&adverse, "sh")["withheld"].as_array().unwrap().is_empty());
    assert!(of_item(&ask("repaired"), "CF").is_empty() && of_item(&ask("masked"), "CF").is_empty());
    let disputed = ask("disputed");
    let marked = of_item(&disputed, "CF")[0];
    assert_eq!((&marked["standing"], &marked["disputed_when_asked"]), (&"disputed".into(), &true.into()));
    let revoked = ask("grant-revoked");
    assert!(revoked["members"].as_array().unwrap().iter().all(|m| m["outcome"] == "denied"));
    assert_eq!(member(&revoked, "js")["withheld"][0]["rule"], "grant-revoked");
    // Checked, and not told.
    let mut body = sandbox.body("adverse");
    body["checks"] = json!(["CF:none-since=2024-01-01"]);
    let (got, checked) = caller.json("POST", "/v1/queries", key, "", &body);
    assert_eq!((got.status, checked["records"].as_array().unwrap().len()), (201, 0), "{checked}");
    let found: Vec<&str> = checked["members"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["checks"][0]["outcome"].as_str().unwrap())
        .collect();
    assert!(found.contains(&"no") && found.contains(&"yes"), "{checked}");
    body["checks"] = json!(["CF:CF_WSH=1"]);
    assert_eq!(caller.json("POST", "/v1/queries", key, "", &body).0.status, 400);
}

/// One key is one question: one answer, and one access entry at every member.
fn retries(sandbox: &Sandbox, caller: &mut Caller, key: &str) -> Value {
    let (body, once) = (sandbox.body("adverse"), "Idempotency-Key: loan-4711\r\n");
    // Two at the same time, and a third later.
    let twice: Vec<Got> = {
        let headers = format!("Authorization: Bearer {key}\r\nContent-Type: application/json\r\n{once}");
        let ask = || {
            let (url, headers, body) =
                (format!("{}/v1/queries", caller.base), headers.clone(), body.to_string());
            thread::spawn(move || http::send_with("POST", &url, &headers, &body).unwrap())
        };
        let both = [ask(), ask()];
        both.into_iter().map(|t| t.join().unwrap()).collect()
    };
    let (_, third) = caller.json("POST", "/v1/queries", key, once, &body);
    for got in &twice {
        assert_eq!(caller.check("POST", "/v1/queries", got), third);
    }
    let entry = |answer: &Value| member(answer, "sh")["receipt"]["index"].as_u64().unwrap();
    let (_, next) = caller.json("POST", "/v1/queries", key, "", &body);
    assert_eq!(entry(&next), entry(&third) + 1, "a retry made an access entry of its own");
    let (got, problem) = caller.json("POST", "/v1/queries", key, once, &sandbox.body("clean"));
    assert_eq!((got.status, problem["code"].as_str()), (422, Some("question.reused")));
    // Another system's key of the same name is another question.
    let (got, other) = caller.json("POST", "/v1/queries", &sandbox.word("limited_key"), once, &body);
    assert!(got.status == 201 && other["id"] != third["id"] && other["clerk"] == "limited/wang");
    let (got, problem) = caller.json("POST", "/v1/queries", &sandbox.word("limited_key"), "", &body);
    assert_eq!((got.status, problem["code"].as_str()), (429, Some("quota.exceeded")));
    assert!(got.header("retry-after").unwrap().parse::<u64>().unwrap() <= 60);
    assert_eq!(caller.get(&format!("/v1/queries/{}", third["id"].as_str().unwrap()), key), third);
    third
}

fn grants(sandbox: &Sandbox, caller: &mut Caller, key: &str) {
    let grant = &sandbox.body("clean")["grant"];
    let (got, handed) = caller.json("POST", "/v1/grants", key, "", &json!({ "grant": grant }));
    assert_eq!((got.status, handed["status"].as_str()), (201, Some("active")));
    let place = got.header("location").unwrap().to_owned();
    assert_eq!(caller.get(&place, key), handed);
    let ask = json!({ "purpose": "pre-loan", "clerk": "li", "grant_id": handed["id"], "items": [{ "item": "NSXY" }] });
    let (_, answer) = caller.json("POST", "/v1/queries", key, "", &ask);
    assert_eq!(of_item(&answer, "NSXY").len(), 1);
    // The bank was told of the revocation by the collector, and says so without asking anybody.
    let revoked = &sandbox.body("grant-revoked")["grant"];
    let (_, handed) = caller.json("POST", "/v1/grants", key, "", &json!({ "grant": revoked }));
    assert_eq!(handed["status"], "revoked");
    // One byte is another grant.
    let mut bytes = STANDARD.decode(grant.as_str().unwrap()).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    let (got, problem) =
        caller.json("POST", "/v1/grants", key, "", &json!({ "grant": STANDARD.encode(bytes) }));
    assert_eq!((got.status, problem["code"].as_str()), (422, Some("signature.invalid")));
}

fn pages(caller: &mut Caller, key: &str, adverse: &Value) {
    let (mut ids, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = caller.get(&format!("/v1/queries?limit=3{cursor}"), key);
        let rows = page["queries"].as_array().unwrap();
        assert!((1..=3).contains(&rows.len()));
        ids.extend(rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()));
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "a row came twice");
    assert!(ids.contains(&adverse["id"].as_str().unwrap().to_owned()) && ids.len() >= 9, "{ids:?}");
    let all = caller.get("/v1/events", key);
    let events = all["events"].as_array().unwrap();
    let kinds: BTreeSet<&str> = events.iter().map(|e| e["type"].as_str().unwrap()).collect();
    assert!(
        kinds.is_superset(&["record.repaired", "record.masked", "record.disputed", "grant.revoked"].into())
    );
    // Who takes both gets the page: a stream would not end.
    let both = "Accept: application/json, text/event-stream\r\n";
    assert_eq!(caller.send("GET", "/v1/events", Some(key), both, "").1, all);
    let first = caller.get("/v1/events?limit=1", key);
    assert_eq!(first["events"][0], events[0]);
    assert_eq!(first["more"], true);
    let rest = caller.get(&format!("/v1/events?after={}", first["next"]), key);
    assert_eq!(rest["events"].as_array().unwrap(), &events[1..]);
    let none = caller.get(&format!("/v1/events?after={}&wait=1", all["next"]), key);
    assert_eq!(none["events"], json!([]));
}

fn evidence(sandbox: &Sandbox, caller: &mut Caller, key: &str, adverse: &Value) {
    let path = format!("/v1/queries/{}/evidence", adverse["id"].as_str().unwrap());
    let (got, _) = caller.send("GET", &path, Some(key), "", "");
    assert_eq!(got.status, 200);
    let name = of_item(adverse, "CF")[0]["fields"][0]["value"].as_str().unwrap();
    assert!(!common::contains(&got.body, name.as_bytes()), "a value stands in clear in the sealed answer");
    let file = sandbox.requests().join("evidence");
    fs::write(&file, &got.body).unwrap();
    let registry = sandbox.word("registry");
    let verified = run(&["verify", file.to_str().unwrap(), "--registry", &registry, "--json"]).done();
    let entry = format!("\"access_entry\": {}", member(adverse, "sh")["receipt"]["index"]);
    assert!(verified.out.contains(&entry), "{}", verified.out);
    let mut changed = got.body;
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    fs::write(&file, &changed).unwrap();
    assert_ne!(run(&["verify", file.to_str().unwrap(), "--registry", &registry]).code, Some(0));
    // Nor in clear on the bank's disk.
    for (path, bytes) in common::files(Path::new(&sandbox.member("bank-a"))) {
        assert!(!common::contains(&bytes, name.as_bytes()), "a value stands in clear in {}", path.display());
    }
}

/// Clients in other languages, written from the document alone.
fn other_people(sandbox: &Sandbox, base: &str, key: &str) {
    let clients = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients");
    let requests = sandbox.requests();
    for (program, file, says) in
        [("python3", "gateway.py", "python: ok"), ("java", "Gateway.java", "java: ok")]
    {
        if program == "java" && Command::new(program).arg("-version").output().is_err() {
            eprintln!("NOT EXERCISED: there is no Java here, so the Java client was not run");
            continue;
        }
        let mut client = Command::new(program);
        client.arg(clients.join(file)).args([base, key]).arg(&requests).stdin(Stdio::null());
        let ran = finish(client).done();
        assert_eq!(ran.out.trim(), says);
    }
}

/// A key does what its lists say, and is told by name what it is not for.
fn roles(sandbox: &Sandbox, caller: &mut Caller, key: &str, adverse: &Value) {
    let bank = sandbox.member("bank-a");
    let gateway = |args: &[&str]| run(&[&["gateway", "key"], args, &["--dir", &bank, "--json"]].concat());
    let add = |name: &str, lists: &[&str]| -> String {
        let made = gateway(&[&["add", "--name", name], lists].concat()).done().json();
        made["key"].as_str().unwrap().to_owned()
    };
    let json_type = "Content-Type: application/json\r\n";
    // A key for events alone.
    let watch = add("watch", &["--may", "events"]);
    assert!(!caller.get("/v1/events", &watch)["events"].as_array().unwrap().is_empty());
    caller.get("/v1/queries", &watch);
    // Every key may read what can be asked about; the name of the scheme has no case.
    let catalog = caller.get("/v1/catalog", &watch);
    let items = catalog["items"].as_array().unwrap();
    let penalty = items.iter().find(|item| item["item"] == "CF").unwrap();
    let number = penalty["fields"].as_array().unwrap().iter().find(|f| f["field"] == "CF_WSH").unwrap();
    assert_eq!((&number["type"], &number["mode"]), (&json!("text"), &json!("value")));
    let rules = catalog["rules"].as_array().unwrap();
    assert!(rules.iter().any(|rule| rule["rule"] == "bank-granted"));
    let told = adverse["records"].as_array().unwrap().iter().flat_map(|r| r["fields"].as_array().unwrap());
    assert!(
        told.clone().any(|field| field["type"] == "date")
            && told.clone().all(|f| { rules.iter().any(|rule| rule["rule"] == f["rule"]) })
    );
    let lower = format!("Authorization: bearer {watch}\r\n");
    assert_eq!(caller.send("GET", "/v1/catalog", None, &lower, "").0.status, 200);
    let grant = json!({ "grant": sandbox.body("clean")["grant"] });
    let mut refused = |method: &str, path: &str, key: &str, body: &Value, names: &[&str]| {
        let (got, problem) = caller.send(method, path, Some(key), json_type, &body.to_string());
        assert_eq!((got.status, problem["code"].as_str()), (403, Some("key.not-allowed")), "{problem}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(names.iter().all(|name| detail.contains(name)), "{detail}");
    };
    refused("POST", "/v1/queries", &watch, &sandbox.body("clean"), &["`ask`", "events"]);
    refused("POST", "/v1/grants", &watch, &grant, &["`grants`", "events"]);
    let stored = format!("/v1/grants/{}", "0".repeat(64));
    refused("GET", &stored, &watch, &Value::Null, &["`grants`"]);
    // A key that asks, for one purpose, in the name of two people, and is told whether but never what.
    let only =
        ["--may", "ask", "--purpose", "pre-loan", "--mode", "verify", "--clerk", "li", "--clerk", "wang"];
    let check = add("check", &only);
    refused("GET", "/v1/events", &check, &Value::Null, &["`events`", "ask"]);
    let sound = sandbox.body("adverse");
    let with = |changes: Value| {
        let mut body = sound.clone();
        for (name, value) in changes.as_object().unwrap() {
            body[name] = value.clone();
        }
        body
    };
    let checks = json!(["CF:none-since=2024-01-01"]);
    refused("POST", "/v1/queries", &check, &sound, &["`value`", "CF_", "verify"]);
    let both = with(json!({ "checks": checks, "items": [{ "item": "CF" }] }));
    refused("POST", "/v1/queries", &check, &both, &["`value`", "verify"]);
    let other = with(json!({ "checks": checks, "purpose": "post-loan" }));
    refused("POST", "/v1/queries", &check, &other, &["`post-loan`", "pre-loan"]);
    let zhao = with(json!({ "checks": checks, "clerk": "zhao" }));
    refused("POST", "/v1/queries", &check, &zhao, &["`zhao`", "li, wang"]);
    let (got, answer) = caller.json("POST", "/v1/queries", &check, "", &with(json!({ "checks": checks })));
    assert_eq!((got.status, answer["records"].as_array().unwrap().len()), (201, 0), "{answer}");
    // And one that is told what, and may not have it checked.
    let values = add("values", &["--mode", "value", "--mode", "mask"]);
    let (got, answer) = caller.json("POST", "/v1/queries", &values, "", &sound);
    assert_eq!((got.status, of_item(&answer, "CF").len()), (201, 1), "{answer}");
    let (got, problem) = caller.json("POST", "/v1/queries", &values, "", &with(json!({ "checks": checks })));
    assert_eq!((got.status, problem["code"].as_str()), (403, Some("key.not-allowed")));
    assert!(problem["detail"].as_str().unwrap().contains("`verify` for `checks`"), "{problem}");
    // No key names a clerk as if another had vouched for the person, nor is there a key that could.
    let foreign = with(json!({ "checks": checks, "clerk": "loans/wang" }));
    let (got, problem) = caller.json("POST", "/v1/queries", &values, "", &foreign);
    assert_eq!((got.status, problem["code"].as_str()), (403, Some("key.not-allowed")), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("`loans/`"), "{problem}");
    for prefix in ["lo", "loans/", "loans/east/"] {
        gateway(&["add", "--name", "x", "--clerk-prefix", prefix]).fails(1, &["`loans`", prefix]);
    }
    // The operator sees it; a word that is not known makes no key; and what a key has asked stays its own.
    let listed = gateway(&["list"]).done().json();
    let scope = |name: &str| {
        let keys = listed["keys"].as_array().unwrap();
        keys.iter().find(|k| k["name"] == name).unwrap()["scope"].clone()
    };
    assert_eq!(scope("watch"), json!({ "may": ["events"] }));
    assert_eq!((scope("check")["clerks"].clone(), scope("loans")), (json!(["li", "wang"]), json!({})));
    gateway(&["add", "--name", "x", "--purpose", "curiosity"]).fails(1, &["--purpose", "curiosity"]);
    let path = format!("/v1/queries/{}", adverse["id"].as_str().unwrap());
    assert_eq!(caller.send("GET", &path, Some(&watch), "", "").0.status, 404);
    caller.get(&path, key);
}

/// Every event reaches a hook, in order, signed, and again when it was not taken.
fn hooks(sandbox: &Sandbox, caller: &mut Caller, key: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (told, calls) = mpsc::channel();
    thread::spawn(move || {
        for (n, stream) in listener.incoming().enumerate() {
            // The first call is not taken.
            let status = if n == 0 { "500 No" } else { "204 Taken" };
            if told.send(receive(stream.unwrap(), status)).is_err() {
                return;
            }
        }
    });
    let (bank, url) = (sandbox.member("bank-a"), format!("http://127.0.0.1:{port}/hook"));
    let gateway = |args: &[&str]| run(&[&["gateway"], args, &["--dir", &bank, "--json"]].concat());
    let added = gateway(&["hook", "add", "--name", "risk", "--url", &url]).done().json();
    let secret = added["secret"].as_str().unwrap().to_owned();
    gateway(&["hook", "add", "--name", "out", "--url", "http://192.0.2.1/"]).fails(1, &["192.0.2.1"]);
    let events = caller.get("/v1/events?limit=100", key)["events"].as_array().unwrap().clone();
    let next = || calls.recv_timeout(LONG).unwrap();
    let (first, again) = (next(), next());
    assert_eq!(first.1, again.1, "what was not taken is not what comes again");
    assert_eq!(first.0["webhook-id"], again.0["webhook-id"]);
    for (n, event) in events.iter().enumerate() {
        let (headers, body) = if n == 0 { again.clone() } else { next() };
        assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), *event);
        if n == 0 {
            let mut python = Command::new("python3");
            python
                .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/gateway.py"))
                .args(["verify", &secret]);
            let call = sandbox.requests().join("call");
            fs::write(&call, json!({ "headers": headers, "body": body }).to_string()).unwrap();
            python.stdin(fs::File::open(&call).unwrap());
            let ran = finish(python).done();
            assert_eq!(ran.out.trim(), event["sequence"].to_string());
        }
    }
    // From a number on, once more.
    let last = events.last().unwrap();
    let after = (last["sequence"].as_u64().unwrap() - 1).to_string();
    gateway(&["hook", "replay", "risk", "--after", &after]).done();
    assert_eq!(serde_json::from_str::<Value>(&next().1).unwrap(), *last);
    let shown = || gateway(&["hook", "list"]).done().json()["hooks"][0].clone();
    until("the place is written", LONG, || (shown()["told"] == last["sequence"]).then_some(()));
    assert_eq!(shown()["trouble"], Value::Null);
    // A place that cannot be written is told, keeps no event back, and is written once it can be.
    let place = Path::new(&bank).join("hooks/risk.place");
    fs::remove_file(&place).unwrap();
    fs::create_dir(&place).unwrap();
    gateway(&["hook", "replay", "risk", "--after", &after]).done();
    assert_eq!(serde_json::from_str::<Value>(&next().1).unwrap(), *last);
    let trouble = until("the trouble is shown", LONG, || {
        shown()["trouble"].as_str().filter(|why| why.contains("cannot be written down")).map(str::to_owned)
    });
    assert!(trouble.contains("risk.place") && trouble.contains(&last["sequence"].to_string()), "{trouble}");
    fs::remove_dir(&place).unwrap();
    until("the place is written", LONG, || (shown()["told"] == last["sequence"]).then_some(()));
    until("the trouble is over", LONG, || shown()["trouble"].is_null().then_some(()));
    gateway(&["hook", "remove", "risk"]).done();
}

/// One call of a webhook: its headers, names in lower case, and its body.
fn receive(mut stream: TcpStream, status: &str) -> (BTreeMap<String, String>, String) {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let headers: BTreeMap<String, String> = head
                .lines()
                .filter_map(|line| line.split_once(": "))
                .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
                .collect();
            if body.len() >= headers["content-length"].parse().unwrap() {
                write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                    .unwrap();
                return (headers, body.to_owned());
            }
        }
        let mut part = [0; 4_096];
        let read = stream.read(&mut part).unwrap();
        assert!(read > 0, "the call ends early");
        bytes.extend_from_slice(&part[..read]);
    }
}

/// What was received and may no longer be used is no longer shown, and whoever waits is told.
fn repaired_since(sandbox: &Sandbox, caller: &mut Caller, key: &str, adverse: &Value) {
    let newest = caller.get("/v1/events?limit=100", key)["next"].as_u64().unwrap();
    let waiting = {
        let (url, auth) =
            (format!("{}/v1/events?after={newest}&wait=30", caller.base), format!("Bearer {key}"));
        thread::spawn(move || http::get(&url, Some(&auth)).unwrap())
    };
    let record = of_item(adverse, "CF")[0]["record"].as_str().unwrap();
    let paper = sandbox.requests().join("ruling");
    fs::write(&paper, "ruling").unwrap();
    let sh = sandbox.member("sh");
    let mask =
        ["record", "mask", record, "--reason", "test", "--paper", paper.to_str().unwrap(), "--dir", &sh];
    run(&mask).done();
    let path = format!("/v1/queries/{}", adverse["id"].as_str().unwrap());
    let now = until("the mask reaches the bank", LONG, || {
        let answer = caller.get(&path, key);
        (of_item(&answer, "CF")[0]["standing"] == "masked").then_some(answer)
    });
    assert_eq!(of_item(&now, "CF")[0]["fields"], json!([]));
    assert_eq!(of_item(&now, "NSXY"), of_item(adverse, "NSXY"));
    let page = caller.check("GET", "/v1/events", &waiting.join().unwrap());
    // A machine under load may have let the wait run out.
    let page = if page["events"] == json!([]) {
        caller.get(&format!("/v1/events?after={newest}"), key)
    } else {
        page
    };
    assert_eq!(
        (&page["events"][0]["type"], &page["events"][0]["record"]),
        (&json!("record.masked"), &json!(record))
    );
}

/// What is not as the document says is refused by name, at every address.
fn refusals(sandbox: &Sandbox, caller: &mut Caller, key: &str, adverse: &Value) {
    let operations: Vec<(String, String)> = caller.document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, methods)| {
            methods.as_object().unwrap().keys().map(move |m| (m.to_uppercase(), path.clone()))
        })
        .filter(|(_, path)| path != "/openapi.json" && path != "/v1/health")
        .collect();
    let json_type = "Content-Type: application/json\r\n";
    let mut refused =
        |method: &str, path: &str, key: Option<&str>, headers: &str, body: &str, status: u16, code: &str| {
            let (got, problem) = caller.send(method, path, key, headers, body);
            assert_eq!(
                (got.status, problem["code"].as_str()),
                (status, Some(code)),
                "{method} {path}: {problem}"
            );
            got
        };
    for (method, address) in &operations {
        let path = address.replace("{id}", adverse["id"].as_str().unwrap());
        let got = refused(method, &path, None, json_type, "{}", 401, "key.invalid");
        assert_eq!(got.header("www-authenticate"), Some("Bearer"));
        refused(method, &path, Some("xqk_nobody"), json_type, "{}", 401, "key.invalid");
        refused(method, &format!("{path}?nonsense=1"), Some(key), json_type, "{}", 400, "request.malformed");
        refused(method, &path, Some(key), json_type, &"x".repeat(65_537), 413, "request.too-large");
        if method == "POST" {
            refused(
                method,
                &path,
                Some(key),
                "Content-Type: text/plain\r\n",
                "{}",
                415,
                "request.media-type",
            );
            refused(method, &path, Some(key), json_type, "{", 400, "request.malformed");
            refused(method, &path, Some(key), json_type, "{}", 400, "request.malformed");
        }
        if address.contains("{id}") {
            let none = address.replace("{id}", &"0".repeat(64));
            refused(method, &none, Some(key), "", "", 404, "not-found");
        }
        let got = refused("DELETE", &path, Some(key), "", "", 405, "method.not-allowed");
        assert!(got.header("allow").unwrap().contains(method.as_str()));
    }
    // Another system does not see what this one asked.
    let limited = sandbox.word("limited_key");
    let path = format!("/v1/queries/{}", adverse["id"].as_str().unwrap());
    refused("GET", &path, Some(&limited), "", "", 404, "not-found");
    for path in ["/", "/v1", "/v2/queries", "/v1/queries/", "/v1/keys", "/log/access/checkpoint", "/metrics"]
    {
        refused("GET", path, Some(key), "", "", 404, "not-found");
    }
    for query in ["limit=0", "limit=101", "limit=x", "limit=1&limit=1", "cursor=1-x", "cursor=%zz"] {
        refused("GET", &format!("/v1/queries?{query}"), Some(key), "", "", 400, "request.malformed");
    }
    for query in ["after=-1", "wait=31", "limit=101"] {
        refused("GET", &format!("/v1/events?{query}"), Some(key), "", "", 400, "request.malformed");
    }
    let sound = sandbox.body("clean");
    let with = |name: &str, value: Value| {
        let mut body = sound.clone();
        body[name] = value;
        body.to_string()
    };
    let many: Vec<Value> = (0..17).map(|_| json!({ "item": "CF" })).collect();
    for (body, status, code) in [
        (with("purpose", json!("curiosity")), 400, "request.malformed"),
        (with("clerk", json!("")), 400, "request.malformed"),
        (with("clerk", json!("a\nb")), 400, "request.malformed"),
        (with("clerk", json!("wang\u{200b}")), 400, "request.malformed"),
        (with("clerk", json!(" wang")), 400, "request.malformed"),
        (with("subject", Value::Null), 400, "request.malformed"),
        (with("deadline_ms", Value::Null), 400, "request.malformed"),
        (with("deadline_ms", json!(1000.5)), 400, "request.malformed"),
        (with("items", json!([["CF", ["CF_WSH"]]])), 400, "request.malformed"),
        (
            json!([null, "pre-loan", "wang", sound["grant"], null, [], [], null]).to_string(),
            400,
            "request.malformed",
        ),
        (with("checks", json!(vec!["CF:none-since=2024-01-01"; 17])), 422, "question.malformed"),
        (with("subject", json!("91320505Y0LXM9KP2X")), 400, "request.malformed"),
        (with("deadline_ms", json!(300_001)), 400, "request.malformed"),
        (with("deadline_ms", json!(-1)), 400, "request.malformed"),
        (with("grant", json!("AAAA")), 400, "request.malformed"),
        (with("grant_id", json!("0".repeat(64))), 400, "request.malformed"),
        (with("surprise", json!(1)), 400, "request.malformed"),
        (with("items", json!([{ "item": "NOPE" }])), 422, "item.unknown"),
        (with("items", json!([{ "item": "CF", "fields": ["CF_NOPE"] }])), 422, "field.unknown"),
        (with("items", json!([{ "item": "CF", "fields": ["CF_WSH", "CF_WSH"] }])), 422, "question.malformed"),
        (with("items", json!(many)), 422, "question.malformed"),
    ] {
        refused("POST", "/v1/queries", Some(key), json_type, &body, status, code);
    }
    let unknown = json!({ "purpose": "pre-loan", "clerk": "li", "grant_id": "0".repeat(64) }).to_string();
    refused("POST", "/v1/queries", Some(key), json_type, &unknown, 404, "not-found");
    let long = format!("{json_type}Idempotency-Key: {}\r\n", "k".repeat(129));
    refused("POST", "/v1/queries", Some(key), &long, &sound.to_string(), 400, "request.malformed");
    let upload = json!([sound["grant"]]).to_string();
    refused("POST", "/v1/grants", Some(key), json_type, &upload, 400, "request.malformed");
    // Of a header that is given twice everybody on the way could take another one.
    let auth = format!("Authorization: Bearer {key}\r\n");
    for twice in ["Idempotency-Key: a\r\nIdempotency-Key: b\r\n", json_type, &auth] {
        let headers = format!("{json_type}{twice}");
        refused("POST", "/v1/queries", Some(key), &headers, &sound.to_string(), 400, "request.malformed");
    }
    let stream = "Accept: Text/Event-Stream\r\n";
    for last in ["abc", "-1", ""] {
        let headers = format!("{stream}Last-Event-ID: {last}\r\n");
        refused("GET", "/v1/events", Some(key), &headers, "", 400, "request.malformed");
    }
    // A revoked key opens nothing from the next request on.
    let bank = sandbox.member("bank-a");
    run(&["gateway", "key", "revoke", "limited", "--dir", &bank]).done();
    refused("GET", "/v1/queries", Some(&limited), "", "", 401, "key.invalid");
    // A number without a fraction is an integer, however it is written.
    let whole = with("deadline_ms", json!(10_000.0));
    assert!(whole.contains("10000.0"));
    let (got, answer) = caller.send("POST", "/v1/queries", Some(key), json_type, &whole);
    assert_eq!(got.status, 201, "{answer}");
}

/// A member that is away is named, and without the outlet there is no answer but a time to come again.
fn away(sandbox: &Sandbox, caller: &mut Caller, key: &str) {
    let stop = |id: &str| finish(command(&["node", "stop", "--dir", &sandbox.member(id)])).done();
    let mut body = sandbox.body("node-down");
    body["deadline_ms"] = json!(3_000);
    stop("sh");
    let (got, answer) = caller.json("POST", "/v1/queries", key, "", &body);
    assert_eq!((got.status, answer["complete"].as_bool()), (201, Some(false)), "{answer}");
    assert_eq!(member(&answer, "sh")["outcome"], "unreachable");
    assert_eq!(member(&answer, "sh")["refusal"]["code"], "peer.unreachable");
    stop("xyd");
    body["deadline_ms"] = json!(500);
    let (got, problem) = caller.json("POST", "/v1/queries", key, "", &body);
    assert_eq!((got.status, problem["code"].as_str()), (503, Some("peer.unreachable")));
    assert!(got.header("retry-after").is_some());
}

#[test]
fn a_question_asked_again_is_the_same_and_an_answer_is_forgotten_in_time() {
    const START: Timestamp = Timestamp(1_800_000_000_000);
    let bank = federation::build(1, 2, START).pop().unwrap();
    let item = bank.context.catalog.item(&ItemId::parse("CF").unwrap()).unwrap().clone();
    let store = MemoryStore::default();
    let mut member = Member::open(bank.context, &store).unwrap();
    let mut step = |after: u64, input: Input| {
        let step = member.handle(START.plus_ms(after), vec![(Some(Token(1)), input)], &store).unwrap();
        let ready = |effect| match effect {
            Effect::Reply { reply: Reply::Ready(response), .. } => Some(*response),
            _ => None,
        };
        step.commit(&store).unwrap().into_iter().find_map(ready)
    };
    step(0, Input::Restored { seen: Vec::new() });
    step(0, Input::Synced);
    let id = QuestionId([7; 16]);
    let ask = |clerk: &str| Input::Ask {
        draft: AskDraft {
            clerk: ClerkId::parse(clerk).unwrap(),
            purpose: Purpose::LoanReview,
            subject: SubjectId::parse("91320505Y0LXM9KP2T").unwrap(),
            wants: vec![Want::whole(&item)],
            basis: Basis::None,
            wait_ms: 10_000,
            checks: Vec::new(),
        },
        id,
    };
    let entries = || log::size(&store, "access").unwrap().0;
    let Some(Response::Asked { question, .. }) = step(0, ask("wang")) else { panic!("no question") };
    let Some(Response::Asked { question: again, .. }) = step(5_000, ask("wang")) else {
        panic!("no question")
    };
    assert_eq!((question.as_bytes(), entries()), (again.as_bytes(), 1));
    let Some(Response::Refused(refusal)) = step(5_000, ask("li")) else { panic!("no refusal") };
    assert_eq!((refusal.code.as_str(), entries()), ("question.reused", 1));

    let at = KeptAt { owner: "loans".into(), asked: START, id };
    let row = KeptRow {
        question: question.digest(),
        until: START.plus_ms(60_000),
        sealed: vec![1].into(),
        from: Some(vec![MemberId::parse("sh").unwrap()]),
    };
    let line = Received {
        question: question.digest(),
        from: MemberId::parse("sh").unwrap(),
        index: 0,
        leaf: Digest::ZERO,
        records: Vec::new(),
    };
    for _ in 0..2 {
        let keep = Some(Box::new(Keep { at: at.clone(), row: row.clone() }));
        assert_eq!(step(6_000, Input::Received { lines: vec![line.clone()], keep }), Some(Response::Done));
        assert_eq!(entries(), 2, "one answer, one line");
    }
    assert_eq!(kept::answer(&store, "loans", &id).unwrap(), Some((at, row)));
    assert_eq!(kept::answer(&store, "risk", &id).unwrap(), None);
    step(59_999, Input::Tick);
    assert!(kept::answer(&store, "loans", &id).unwrap().is_some());
    step(60_000, Input::Tick);
    assert_eq!(kept::answer(&store, "loans", &id).unwrap(), None);
}
