//! The gateway over HTTPS, as a bank runs it: under the operator's certificate, with a client whose TLS is another's (Python's
//! OpenSSL), and with certificates, names and addresses that must not do.
//!
//! The two certificates in `vectors/https` are for `localhost`, by `openssl req -x509 -newkey ec`, valid for a hundred years
//! and used here only.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test; what fails here fails the test")]

mod common;

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use common::{
    Federation, Ran, command,
    federation::{FIVE, free},
    finish, http,
    rows::{company, numbered},
};
use serde_json::{Value, json};

/// Asks through the client that the repository gives to banks.
const CLIENT: &str = r#"
import json, sys
sys.path.insert(0, sys.argv[1])
from gateway import Client
base, key, authorities, body = sys.argv[2:6]
client = Client(base, key, authorities=authorities)
with open(body, encoding="utf-8") as file:
    print(json.dumps({"health": client.health(), "answer": client.ask_surely(**json.load(file))}))
"#;

/// A handshake that offers nothing newer than TLS 1.2.
const OLD: &str = r#"
import socket, ssl, sys
host, port, authorities = sys.argv[1:4]
context = ssl.create_default_context(cafile=authorities)
context.maximum_version = ssl.TLSVersion.TLSv1_2
with socket.create_connection((host, int(port))) as plain:
    context.wrap_socket(plain, server_hostname=host)
"#;

fn vector(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/https").join(name);
    path.to_str().unwrap().to_owned()
}

fn python(code: &str, args: &[&str]) -> Ran {
    let mut command = Command::new("python3");
    command.args(["-B", "-c", code]).args(args);
    finish(command)
}

#[test]
fn a_bank_s_system_asks_over_https_and_whoever_is_not_the_bank_is_not_spoken_to() {
    let federation = Federation::found(&FIVE);
    let listen = free();
    let port = listen.rsplit(':').next().unwrap();
    let [certificate, key] = ["localhost.pem", "localhost.key"].map(vector);
    let enable = |more: &[&str]| {
        let args = ["gateway", "enable", "--listen", &listen];
        federation.at("bank-a", &[&args[..], more].concat())
    };
    enable(&["--certificate", &certificate, "--key", &key]).done();
    for member in FIVE {
        federation.spawn(member.id);
    }
    for member in FIVE {
        federation.ready(member.id);
    }
    federation.source("sh", "office");
    let rows = federation.file("rows.csv", numbered(1, 3));
    federation.submit("sh", "office", &rows).done();
    let grant = federation.grant("grant", &company(1), "bank-a", &["--uses", "9"]);
    let made = federation.at("bank-a", &["gateway", "key", "add", "--name", "loans"]).done().json();
    let api_key = made["key"].as_str().unwrap().to_owned();
    let question = json!({ "purpose": "pre-loan", "clerk": "wang", "deadline_ms": 60_000,
                           "grant": STANDARD.encode(fs::read(grant).unwrap()) });
    let body = federation.file("body.json", question.to_string());
    let clients: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients");
    let ask = |base: &str, authorities: &str| {
        python(CLIENT, &[clients.to_str().unwrap(), base, &api_key, authorities, &body])
    };
    let base = format!("https://localhost:{port}");

    let said = ask(&base, &certificate).done().json();
    assert_eq!(said["health"]["status"], "ready");
    assert_eq!(
        (&said["answer"]["complete"], said["answer"]["records"].as_array().unwrap().len()),
        (&true.into(), 1)
    );

    // A client believes its own authority only, and the name it asked for only.
    let refused = |ran: Ran, why: &str| {
        assert_ne!(ran.code, Some(0), "{ran:?}");
        assert!(ran.err.contains(why), "{ran:?}");
    };
    refused(ask(&base, &vector("stranger.pem")), "CERTIFICATE_VERIFY_FAILED");
    refused(ask(&format!("https://127.0.0.2:{port}"), &certificate), "Error");
    refused(python(OLD, &["localhost", port, &certificate]), "SSLError");

    // Whoever speaks plain HTTP to the port gets nothing, and no answer in clear.
    assert!(http::get(&format!("http://{listen}/v1/health"), None).is_none());
    let mut stream = TcpStream::connect(&listen).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let request =
        format!("GET /v1/queries HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {api_key}\r\n\r\n");
    // It may have hung up before the last byte.
    let _ = stream.write_all(request.as_bytes());
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    assert!(!bytes.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&bytes));
    // And what it said is not in the node's log.
    assert!(!federation.said("bank-a", 0).contains(&api_key));
    // After all that the port still serves.
    assert_eq!(ask(&base, &certificate).done().json()["health"]["status"], "ready");

    does_not_start(&federation, &enable, &ask, &base);
}

/// Settings under which a node would not start are not written, and each refusal names the file or address; a node does not
/// start either when a file goes bad afterwards.
fn does_not_start(
    federation: &Federation,
    enable: &dyn Fn(&[&str]) -> Ran,
    ask: &dyn Fn(&str, &str) -> Ran,
    base: &str,
) {
    let [certificate, key, strange] = ["localhost.pem", "localhost.key", "stranger.key"].map(vector);
    federation.stop("bank-a");
    let settings = federation.path("bank-a").join("node.toml");
    let before = fs::read_to_string(&settings).unwrap();
    let (text, nowhere) = (federation.file("text.pem", "no certificate"), federation.text("nowhere.pem"));
    assert_eq!(enable(&["--certificate", &certificate]).code, Some(2), "a certificate alone is refused");
    // Another certificate's key, files that are none, and none at all.
    for (certificate, key, place) in [
        (&certificate, &strange, &certificate),
        (&key, &certificate, &certificate),
        (&text, &key, &text),
        (&nowhere, &key, &nowhere),
        (&certificate, &nowhere, &nowhere),
    ] {
        enable(&["--certificate", certificate, "--key", key]).fails(1, &[place]);
    }
    // No address, one of another machine, and plain HTTP beyond this machine.
    let open = format!("0.0.0.0:{}", free().rsplit(':').next().unwrap());
    for listen in ["nonsense", "127.0.0.1", "127.0.0.1:99999", "192.0.2.1:7480", &open] {
        federation.at("bank-a", &["gateway", "enable", "--listen", listen]).fails(1, &[listen]);
    }
    assert_eq!(fs::read_to_string(&settings).unwrap(), before);

    // Files that were sound and are not any more, named from another directory than the node's.
    let [own, own_key] = ["own.pem", "own.key"].map(|name| federation.text(name));
    fs::copy(vector("stranger.pem"), &own).unwrap();
    fs::copy(&strange, &own_key).unwrap();
    let port = base.rsplit(':').next().unwrap();
    let listen = format!("127.0.0.1:{port}");
    let mut relative =
        command(&["gateway", "enable", "--listen", &listen, "--certificate", "own.pem", "--key", "own.key"]);
    relative.args(["--dir", &federation.text("bank-a")]).current_dir(Path::new(&own).parent().unwrap());
    finish(relative).done();
    assert!(fs::read_to_string(&settings).unwrap().contains(&own));
    fs::write(&own, "no certificate").unwrap();
    let from = federation.said("bank-a", 0).len();
    federation.spawn("bank-a");
    assert_eq!(federation.ended("bank-a"), Some(1));
    let said = federation.said("bank-a", from);
    for word in [&own, "what to do: ", "处理办法："] {
        assert!(said.contains(word), "`{word}` is not in {said}");
    }
    // Put right, it is as before; a certificate that was replaced is another one for its clients.
    fs::copy(vector("stranger.pem"), &own).unwrap();
    federation.spawn("bank-a");
    federation.ready("bank-a");
    let said: Value = ask(base, &vector("stranger.pem")).done().json();
    assert_eq!(said["health"]["status"], "ready");
    assert_ne!(ask(base, &certificate).code, Some(0));
}
