//! Webhooks: every event to every hook, at least once and in order, signed as Standard Webhooks says.
//!
//! A hook's place is a file, written after the receiver has said 2xx. A crash in between calls it twice with the same
//! `webhook-id`. Nothing is skipped: a receiver that is away is tried again, with growing waits, until it is back, and so is
//! a place that cannot be written. What fails stands in a file beside the place, for `gateway hook list`.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use crypto::digest::hmac_sha256;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, Uri, body::Bytes, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpStream, task::JoinHandle};

use super::{
    PAGE_MAX,
    events::{LOOK, page},
    settings::{Hook, Settings},
};
use crate::{Problem, clock, keys::write_private, serve::Server, tls};

/// Time between two looks at the settings.
const SETTINGS: Duration = Duration::from_secs(1);
/// Time a receiver has to say 2xx.
const CALL: Duration = Duration::from_secs(10);
/// First wait before an event is sent again; doubles up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(500);
/// Longest wait: a receiver that comes back is served within five minutes.
const RETRY_MAX: Duration = Duration::from_secs(300);
/// What is read of a receiver's answer before the connection is dropped.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Where most systems keep the authorities they trust.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Directory of the hooks' places.
const PLACES: &str = "hooks";
/// What the file of a hook's place is called after its name.
const PLACE: &str = "place";
/// As above: what fails.
const TROUBLE: &str = "trouble";

/// Keeps one task running for every hook of the settings.
pub async fn run(server: Server) {
    let mut running: BTreeMap<String, (Hook, JoinHandle<()>)> = BTreeMap::new();
    let dir = server.shared.keys.dir().to_owned();
    loop {
        let hooks = match Settings::read(&dir) {
            Ok(settings) => settings.hooks,
            Err(problem) => {
                tracing::error!(%problem, "the gateway's settings cannot be read");
                Vec::new()
            }
        };
        running.retain(|_, (hook, task)| {
            let stays = hooks.contains(hook);
            if !stays {
                task.abort();
            }
            // One that has ended, by a fault of ours, begins anew.
            stays && !task.is_finished()
        });
        for hook in hooks {
            running.entry(hook.name.clone()).or_insert_with(|| {
                let (server, dir, own) = (server.clone(), dir.clone(), hook.clone());
                (hook, tokio::spawn(async move { deliver(&server, &dir, &own).await }))
            });
        }
        tokio::time::sleep(SETTINGS).await;
    }
}

/// Sends one hook everything after its place, for good.
async fn deliver(server: &Server, dir: &Path, hook: &Hook) {
    let mut at = place(dir, hook);
    let mut attempts = Attempts::new(dir, hook);
    loop {
        let found = match page(server, at, PAGE_MAX).await {
            Ok(found) => found,
            Err(trouble) => {
                attempts.failed(&format!("events cannot be read: {}", trouble.code)).await;
                continue;
            }
        };
        for event in &found.events {
            while let Err(why) = send(hook, event).await {
                attempts.failed(&format!("event {} is not delivered: {why}", event["sequence"])).await;
            }
            let Some(kept) = event["sequence"].as_u64() else { continue };
            // It was taken and is not sent again, unless the process ends before this is written.
            while let Err(problem) = set_place(dir, hook, kept) {
                attempts
                    .failed(&format!(
                        "event {kept} is delivered, which cannot be written down: {}",
                        problem.what
                    ))
                    .await;
            }
            attempts.over();
        }
        attempts.over();
        at = found.next;
        if !found.more {
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// What is tried again: the wait before the next attempt, and the trouble where `gateway hook list` finds it.
struct Attempts<'a> {
    dir: &'a Path,
    hook: &'a Hook,
    wait: Duration,
    /// There may be a file that tells of trouble; at first what the last process has left.
    said: bool,
}

impl<'a> Attempts<'a> {
    fn new(dir: &'a Path, hook: &'a Hook) -> Self {
        Self { dir, hook, wait: RETRY_MIN, said: true }
    }

    async fn failed(&mut self, why: &str) {
        self.say(why);
        tokio::time::sleep(self.wait).await;
        self.wait = (self.wait * 2).min(RETRY_MAX);
    }

    fn say(&mut self, why: &str) {
        self.said = true;
        tracing::warn!(hook = %self.hook.name, "{why}");
        let text = format!("{} {} {why}\n", self.hook.epoch, clock::now().rfc3339());
        if let Err(problem) = write(self.dir, &file(self.dir, self.hook, TROUBLE), &text) {
            // Nothing can be written there; the log has it.
            tracing::error!(hook = %self.hook.name, %problem, "its trouble cannot be written down");
        }
    }

    /// What was tried has succeeded.
    fn over(&mut self) {
        self.wait = RETRY_MIN;
        if !std::mem::take(&mut self.said) {
            return;
        }
        let path = file(self.dir, self.hook, TROUBLE);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(hook = %self.hook.name, "{}: {e}", path.display());
            }
            _ => {}
        }
    }
}

/// How far a hook is, for `gateway hook list`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The receiver has taken every event up to this number, and nothing of what comes after is known to be taken.
    pub told: u64,
    /// What fails since then, after the moment at which it failed last.
    pub trouble: Option<String>,
}

/// How far a hook of the directory is. Its trouble is what the running node has written down, or that nobody can read
/// how far it is.
pub fn standing(dir: &Path, hook: &Hook) -> Standing {
    let unread = |path: PathBuf| match fs::read_to_string(&path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Some(format!("{}: {e}", path.display())),
        _ => None,
    };
    let written = of_epoch(&file(dir, hook, TROUBLE), hook).filter(|text| !text.is_empty());
    Standing { told: place(dir, hook), trouble: written.or_else(|| unread(file(dir, hook, PLACE))) }
}

fn file(dir: &Path, hook: &Hook, kind: &str) -> PathBuf {
    dir.join(PLACES).join(name(hook, kind))
}

fn name(hook: &Hook, kind: &str) -> String {
    format!("{}.{kind}", hook.name)
}

/// What one of a hook's files says after the epoch, while that is the hook's.
fn of_epoch(path: &Path, hook: &Hook) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let (epoch, rest) = text.trim_end().split_once(' ')?;
    (epoch.parse() == Ok(hook.epoch)).then(|| rest.to_owned())
}

/// How far a hook was told: its file, unless the settings have set it anew since.
fn place(dir: &Path, hook: &Hook) -> u64 {
    of_epoch(&file(dir, hook, PLACE), hook).and_then(|at| at.parse().ok()).unwrap_or(hook.after)
}

fn set_place(dir: &Path, hook: &Hook, at: u64) -> Result<(), Problem> {
    write(dir, &file(dir, hook, PLACE), &format!("{} {at}\n", hook.epoch))
}

fn write(dir: &Path, path: &Path, text: &str) -> Result<(), Problem> {
    let places = dir.join(PLACES);
    fs::create_dir_all(&places).map_err(|e| Problem::fault(format!("{}: {e}", places.display())))?;
    write_private(path, text.as_bytes())
}

/// Where a URL leads: host, port, and whether under TLS. Plain HTTP on loopback only.
pub fn target(url: &str) -> Result<(String, u16, bool), String> {
    let uri: Uri = url.parse().map_err(|_| "not a URL".to_owned())?;
    let host = uri.host().filter(|h| !h.is_empty()).ok_or("there is no host")?;
    let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let loopback = bare == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    match uri.scheme_str() {
        Some("https") => Ok((bare, uri.port_u16().unwrap_or(443), true)),
        Some("http") if loopback => Ok((bare, uri.port_u16().unwrap_or(80), false)),
        Some("http") => Err("plain HTTP goes to this machine only".into()),
        _ => Err("neither https nor http".into()),
    }
}

/// The header `webhook-signature`: HMAC-SHA256 over `id.timestamp.body` (Standard Webhooks 1.0).
fn signature(secret: &[u8], id: &str, timestamp: u64, body: &str) -> String {
    let tag = hmac_sha256(secret, format!("{id}.{timestamp}.{body}").as_bytes());
    format!("v1,{}", STANDARD.encode(tag.0))
}

async fn send(hook: &Hook, event: &Value) -> Result<(), String> {
    let (host, port, secure) = target(&hook.url)?;
    let secret = hook.signing().ok_or("its secret cannot be read")?;
    let uri: Uri = hook.url.parse().map_err(|_| "not a URL".to_owned())?;
    let (id, timestamp, body) =
        (format!("event-{}", event["sequence"]), clock::now().0 / 1_000, event.to_string());
    let path = uri.path_and_query().map_or("/", |p| p.as_str());
    let authority = uri.authority().map_or("", |a| a.as_str());
    // Userinfo of a URL is nothing to show a proxy on the way.
    let authority = authority.rsplit('@').next().unwrap_or_default();
    let request = Request::post(path)
        .header(header::HOST, authority)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::USER_AGENT, concat!("xinqiao/", env!("CARGO_PKG_VERSION")))
        .header(header::CONNECTION, "close")
        .header("webhook-id", &id)
        .header("webhook-timestamp", timestamp)
        .header("webhook-signature", signature(&secret, &id, timestamp, &body))
        .body(Full::new(Bytes::from(body)))
        .map_err(|e| e.to_string())?;
    let call = async {
        let stream = TcpStream::connect((host.as_str(), port)).await.map_err(|e| e.to_string())?;
        if !secure {
            return exchange(stream, request).await;
        }
        let authorities = hook.authorities.clone().unwrap_or_else(|| AUTHORITIES.into());
        let stream = tls::https_connect(&tls::https_client(&authorities)?, &host, stream).await?;
        exchange(stream, request).await
    };
    tokio::time::timeout(CALL, call).await.unwrap_or_else(|_| Err("no answer in time".into()))
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<(), String>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
    let connection = tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(|e| e.to_string())?;
    let status = response.status();
    // Read, so that the receiver is not cut off while it speaks; what it says does not matter.
    let _ = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
    connection.abort();
    if status.is_success() { Ok(()) } else { Err(format!("HTTP status {status}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_that_of_standard_webhooks() {
        // The example of the specification's libraries.
        let secret = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let body = r#"{"test": 2432232314}"#;
        let signed = signature(&secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_place_holds_until_it_is_set_anew() {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = Settings::default();
        settings.add_hook("a", "http://localhost:9/", None, 3).unwrap();
        let hook = settings.hooks[0].clone();
        assert_eq!(place(dir.path(), &hook), 3);
        set_place(dir.path(), &hook, 9).unwrap();
        assert_eq!(place(dir.path(), &hook), 9);
        settings.replay_hook("a", 5).unwrap();
        assert_eq!(place(dir.path(), &settings.hooks[0]), 5);
    }

    #[test]
    fn trouble_is_shown_until_it_is_over_or_the_hook_is_set_anew() {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = Settings::default();
        settings.add_hook("a", "http://localhost:9/", None, 3).unwrap();
        let hook = settings.hooks[0].clone();
        let mut attempts = Attempts::new(dir.path(), &hook);
        assert_eq!(standing(dir.path(), &hook), Standing { told: 3, trouble: None });
        attempts.say("event 4 is not delivered: HTTP status 500");
        let trouble = standing(dir.path(), &hook).trouble.unwrap();
        assert!(trouble.ends_with(" event 4 is not delivered: HTTP status 500"), "{trouble}");
        settings.replay_hook("a", 3).unwrap();
        assert_eq!(standing(dir.path(), &settings.hooks[0]).trouble, None);
        attempts.over();
        attempts.over();
        assert_eq!(standing(dir.path(), &hook).trouble, None);
        // A place that cannot be read is trouble, whether or not a node runs.
        fs::create_dir(file(dir.path(), &hook, PLACE)).unwrap();
        assert!(set_place(dir.path(), &hook, 4).is_err());
        assert!(standing(dir.path(), &hook).trouble.unwrap().contains("a.place"));
    }

    #[test]
    fn only_this_machine_is_called_in_clear() {
        assert_eq!(target("https://bank.example/x?y=1"), Ok(("bank.example".into(), 443, true)));
        assert_eq!(target("http://[::1]:8080/x"), Ok(("::1".into(), 8080, false)));
        assert_eq!(target("http://127.0.0.1/"), Ok(("127.0.0.1".into(), 80, false)));
        assert!(target("http://bank.example/").is_err() && target("http://127.0.0.1.evil/").is_err());
    }
}
