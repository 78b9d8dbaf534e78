//! The logs under their public form, health and metrics. Plain HTTP, on loopback only.
//!
//! Checkpoints and hash tiles are open: they show sizes and hashes. Entry bundles need a reading pass
//! (`exchange::pass`) in an `Authorization: Bearer` header, and who reads them stands in the access log before they leave.
//! Copies of other members' logs are served in the same form, so that what a member shows can be held against them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, State as Extract},
    http::{HeaderMap, HeaderValue, Response, StatusCode, header},
    routing::{get, post},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use credit::{
    entry::Read,
    id::{ClerkId, MemberId},
    value::Date,
};
use crypto::{Digest, Timestamp, sign::Signed};
use exchange::{
    logs::LogName,
    member::Input,
    pass::{self, Pass},
    propagation, push, read, timer,
    wire::Response as Reply,
    witness,
};
use ledger::{
    add_checkpoint::BODY_BYTES_MAX,
    log,
    store::{StoreError, View},
    tile::{TILE_WIDTH, Tile, TileKind},
};
use tokio::{net::TcpListener, sync::Mutex};

use crate::{
    Problem, clock,
    core::{Core, Shared},
    counted::Counted,
};

/// Full tiles never change.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";
/// What a pass was needed for stays with its reader.
const PRIVATE: &str = "private, no-store";
/// A checkpoint is stale after a few seconds.
const BRIEF: &str = "public, max-age=2";
/// Time for which late pushes and publications are not counted again: scrapers come every 15 s or less often, and they are late
/// by days.
const COUNT_EVERY: Duration = Duration::from_secs(10);

/// Opens the HTTP port.
pub async fn listen(address: &str) -> Result<TcpListener, Problem> {
    let listener = TcpListener::bind(address).await.map_err(|e| {
        Problem::new(
            format!("cannot listen on {address}: {e}"),
            "stop what uses the port, or set another one in node.toml and the registry",
            "请停止占用该端口的程序，或在 node.toml 与登记表中更换端口",
        )
    })?;
    let loopback = listener.local_addr().is_ok_and(|a| a.ip().is_loopback());
    if !loopback {
        return Err(Problem::new(
            format!("{address} is not a loopback address, and this port speaks plain HTTP"),
            "listen on 127.0.0.1 and put a TLS proxy in front",
            "请监听 127.0.0.1，并在其前部署 TLS 代理",
        ));
    }
    Ok(listener)
}

/// Serves until the process ends.
pub async fn serve(listener: TcpListener, shared: Arc<Shared>, core: Core) {
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/log/{log}/checkpoint", get(checkpoint))
        .route("/mirror/{owner}/{log}/checkpoint", get(copied_checkpoint))
        .route("/witness/{origin}/checkpoint", get(cosigned))
        .with_state(shared.clone());
    let metered = Metered { shared: shared.clone(), late: Arc::new(Counted::new(COUNT_EVERY)) };
    let metrics = Router::new().route("/metrics", get(metrics)).with_state(metered);
    let reading = Router::new()
        .route("/log/{log}/tile/{*tile}", get(resource))
        .route("/mirror/{owner}/{log}/tile/{*tile}", get(copied_resource))
        .with_state(Reading { shared, core: core.clone(), noted: Arc::default() });
    let witness = Router::new()
        .route("/witness/add-checkpoint", post(add_checkpoint))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(core);
    let router = router.merge(metrics).merge(reading).merge(witness);
    if let Err(e) = axum::serve(listener, router).await {
        tracing::error!("HTTP ended: {e}");
    }
}

type Shown = Extract<Arc<Shared>>;

/// tlog-witness `add-checkpoint`: this member cosigns what continues what it has seen.
async fn add_checkpoint(Extract(core): Extract<Core>, body: Bytes) -> Response<Body> {
    let (status, text) = match core.ask(Input::AddCheckpoint(body.to_vec())).await {
        Reply::Witness { status, body } => (status, body),
        Reply::Refused(refusal) => (503, format!("{refusal}\n")),
        _ => (500, String::new()),
    };
    let code = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = plain(code, &text);
    if code == StatusCode::CONFLICT {
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/x.tlog.size"));
    }
    response
}

/// The checkpoint cosigned last for a log, named by the SHA-256 of its origin.
async fn cosigned(Extract(shared): Shown, Path(origin): Path<String>) -> Response<Body> {
    let hash = Digest::parse(&origin).filter(|d| d.to_string() == origin);
    let Some(hash) = hash else { return plain(StatusCode::NOT_FOUND, "not the SHA-256 of an origin\n") };
    match witness::cosigned(&shared.context(), &shared.store, &hash) {
        Ok(Some(note)) => typed("text/plain; charset=utf-8", BRIEF, note.as_str().as_bytes().to_vec()),
        Ok(None) => plain(StatusCode::NOT_FOUND, "never cosigned here\n"),
        Err(fault) => {
            tracing::error!(%fault, "a read failed");
            plain(StatusCode::INTERNAL_SERVER_ERROR, "the node has a fault; see its log\n")
        }
    }
}

async fn ready(Extract(shared): Shown) -> (StatusCode, String) {
    let phase = shared.state.read().map_or("unknown", |s| s.phase);
    let code = if phase == "ready" { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, format!("{phase}\n"))
}

/// What metrics are made from.
#[derive(Clone)]
struct Metered {
    shared: Arc<Shared>,
    /// Pushes, publications and take-downs that are late.
    late: Arc<Counted<push::Overdue>>,
}

async fn metrics(Extract(Metered { shared, late }): Extract<Metered>) -> String {
    let state = shared.state.read().map(|s| s.clone()).unwrap_or_default();
    let mut out = format!(
        "xinqiao_build_info{{version=\"{}\"}} 1\nxinqiao_ready {}\nxinqiao_steps_total {}\nxinqiao_inputs_total {}\n",
        env!("CARGO_PKG_VERSION"),
        u8::from(state.phase == "ready"),
        state.steps,
        state.inputs,
    );
    for name in LogName::ALL {
        if let Ok(size) = log::size(&shared.store, name.as_str()) {
            out.push_str(&format!("xinqiao_log_entries{{log=\"{name}\"}} {size}\n"));
        }
    }
    for (code, count) in shared.questions_refused() {
        out.push_str(&format!("xinqiao_questions_refused_total{{code=\"{code}\"}} {count}\n"));
    }
    if let Ok(pending) = read::pending(&shared.store) {
        out.push_str(&format!("xinqiao_deliveries_pending {pending}\n"));
    }
    let today = Date::from_timestamp(clock::now());
    // The empty name is nobody; what stands for itself in a label's value is escaped.
    if let Ok(late) = timer::cases_overdue(&shared.context(), &shared.store, today) {
        for (clerk, late) in late {
            let clerk = clerk.as_ref().map_or("", ClerkId::as_str).replace('\\', "\\\\").replace('"', "\\\"");
            out.push_str(&format!("xinqiao_cases_overdue{{clerk=\"{clerk}\"}} {late}\n"));
        }
    }
    if let Ok(late) = read::applications_overdue(&shared.context(), &shared.store, today) {
        out.push_str(&format!("xinqiao_applications_overdue {late}\n"));
    }
    if let Ok(missing) = propagation::missing(&shared.context(), &shared.store) {
        let late = missing.iter().filter(|m| m.due.is_some_and(|due| due.date < today)).count();
        out.push_str(&format!("xinqiao_acknowledgements_overdue {late}\n"));
    }
    let stored = shared.clone();
    let overdue = move || push::overdue(&stored.context(), &stored.store, today).ok();
    if let Some(late) = late.last(overdue).await {
        out.push_str(&format!(
            "xinqiao_pushes_overdue {}\nxinqiao_publications_overdue {}\nxinqiao_take_downs_overdue {}\n",
            late.pushes, late.publications, late.take_downs
        ));
    }
    if let Ok(due) = read::erasures_due(&shared.store) {
        out.push_str(&format!("xinqiao_erasures_due {due}\n"));
    }
    out
}

/// A log served here: an own one, or a copy of another member's.
struct Served {
    owner: MemberId,
    log: LogName,
    /// What it is called in the store.
    stored: String,
}

impl Served {
    /// `owner` is absent for an own log.
    fn of(shared: &Shared, owner: Option<&str>, log: &str) -> Option<Self> {
        let (context, log) = (shared.context(), LogName::parse(log)?);
        let own = &context.own.id;
        match owner {
            None => Some(Self { owner: own.clone(), log, stored: log.as_str().to_owned() }),
            Some(owner) => {
                let owner = MemberId::parse(owner)?;
                let kept = context.registry.keeps_copy(own, &owner, log);
                kept.then(|| Self { stored: log.mirror(&owner), owner, log })
            }
        }
    }
}

fn no_log() -> Response<Body> {
    plain(StatusCode::NOT_FOUND, "no such log\n")
}

async fn checkpoint(Extract(shared): Shown, Path(name): Path<String>) -> Response<Body> {
    Served::of(&shared, None, &name).map_or_else(no_log, |served| head_of(&shared, &served))
}

/// The newest checkpoint of a copy that is kept here.
async fn copied_checkpoint(
    Extract(shared): Shown,
    Path((owner, name)): Path<(String, String)>,
) -> Response<Body> {
    Served::of(&shared, Some(&owner), &name).map_or_else(no_log, |served| head_of(&shared, &served))
}

fn head_of(shared: &Shared, served: &Served) -> Response<Body> {
    match log::head(&shared.store, &served.stored) {
        Ok(Some(note)) => typed("text/plain; charset=utf-8", BRIEF, note.as_str().as_bytes().to_vec()),
        Ok(None) => plain(StatusCode::NOT_FOUND, "nothing published yet\n"),
        Err(e) => failed(&e),
    }
}

/// What reading entries needs.
#[derive(Clone)]
struct Reading {
    shared: Arc<Shared>,
    core: Core,
    /// Held while a line is written, so that readers in parallel write one.
    noted: Arc<Mutex<Noted>>,
}

/// Of each pass that is still valid, and each log: how far a line in the access log says that it is read, and until when
/// the pass is valid. Lost with the process: the next start writes another line.
type Noted = BTreeMap<(MemberId, Digest, MemberId, LogName), (u64, Timestamp)>;

/// Passes and logs of one reader that are noted at a time: an auditor makes a pass for each log that it exports, and
/// exports every log some times a day. It bounds what a reader can make a node write and keep.
pub const PASSES_MAX: usize = 256;

async fn resource(
    Extract(reading): Extract<Reading>,
    Path((name, path)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response<Body> {
    let Some(served) = Served::of(&reading.shared, None, &name) else { return no_log() };
    reading.serve(&served, &path, &headers).await
}

async fn copied_resource(
    Extract(reading): Extract<Reading>,
    Path((owner, name, path)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Response<Body> {
    let Some(served) = Served::of(&reading.shared, Some(&owner), &name) else { return no_log() };
    reading.serve(&served, &path, &headers).await
}

impl Reading {
    async fn serve(&self, served: &Served, path: &str, headers: &HeaderMap) -> Response<Body> {
        let Ok(tile) = Tile::parse(&format!("tile/{path}")) else {
            return plain(StatusCode::NOT_FOUND, "not a tile path\n");
        };
        let entries = tile.kind() == TileKind::Entries;
        // Hashes are open to everybody.
        let mut noted = u64::MAX;
        if entries {
            let pass = match allowed(&self.shared, headers, served) {
                Ok(pass) => pass,
                Err(why) => {
                    let mut response = plain(StatusCode::UNAUTHORIZED, &format!("{why}\n"));
                    response
                        .headers_mut()
                        .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
                    return response;
                }
            };
            noted = match self.note(served, &tile, &pass).await {
                Ok(noted) => noted,
                Err(response) => return response,
            };
        }
        match within(&self.shared.store, &served.stored, &tile, noted) {
            Ok(Some(bytes)) => {
                typed("application/octet-stream", if entries { PRIVATE } else { IMMUTABLE }, bytes)
            }
            Ok(None) => plain(StatusCode::NOT_FOUND, "not in the log\n"),
            Err(e) => failed(&e),
        }
    }

    /// Writes down that these entries are read, unless a line says so already; the member itself may read its own. Returns
    /// up to which size of the log this reader may read now.
    async fn note(&self, served: &Served, tile: &Tile, pass: &Signed<Pass>) -> Result<u64, Response<Body>> {
        let now = clock::now();
        let context = self.shared.context();
        let Some(reader) = MemberId::parse(pass.issuer()).filter(|reader| *reader != context.own.id) else {
            return Ok(u64::MAX);
        };
        let size = log::size(&self.shared.store, &served.stored).map_err(|e| failed(&e))?.0;
        let end = end_of(tile);
        if end > size {
            // Nothing is read, and nothing is written down.
            return Ok(size);
        }
        let key = (reader.clone(), pass.digest(), served.owner.clone(), served.log);
        let mut noted = self.noted.lock().await;
        if let Some((size, _)) = noted.get(&key).filter(|(size, _)| *size >= end) {
            return Ok(*size);
        }
        noted.retain(|_, (_, until)| *until > now);
        if noted.keys().filter(|(by, ..)| *by == reader).count() >= PASSES_MAX && !noted.contains_key(&key) {
            return Err(plain(
                StatusCode::SERVICE_UNAVAILABLE,
                "too many passes of this reader: use one for longer / 该读取方的通行证过多，请延长使用同一通行证\n",
            ));
        }
        let (owner, log) = (served.owner.clone(), served.log.as_str().to_owned());
        let own = owner == context.own.id && served.log == LogName::Access;
        let read = Read { reader, pass: pass.digest(), owner, log, size };
        match self.core.ask(Input::Read(read)).await {
            Reply::Noted(index) => {
                // The line covers itself, see `query::read`.
                let size = if own { size.max(index + 1) } else { size };
                noted.insert(key, (size, now.plus_ms(pass::PASS_MS_MAX)));
                Ok(size)
            }
            Reply::Refused(refusal) => Err(plain(
                StatusCode::SERVICE_UNAVAILABLE,
                &format!("a read of entries is written down first, and cannot be now: {refusal}\n"),
            )),
            _ => Err(plain(StatusCode::INTERNAL_SERVER_ERROR, "the node has a fault; see its log\n")),
        }
    }
}

/// How many entries a log has at least that has this bundle.
fn end_of(tile: &Tile) -> u64 {
    tile.index().saturating_mul(TILE_WIDTH).saturating_add(u64::from(tile.width()))
}

/// A tile or bundle of a log, unless it is one of entries and reaches beyond `noted`: what has come into the log since
/// that was written down, no line says that it is read.
fn within(store: &dyn View, log: &str, tile: &Tile, noted: u64) -> Result<Option<Vec<u8>>, StoreError> {
    if tile.kind() == TileKind::Entries && end_of(tile) > noted {
        return Ok(None);
    }
    log::resource(store, log, tile)
}

/// The pass that lets a reader read these entries.
fn allowed(shared: &Shared, headers: &HeaderMap, served: &Served) -> Result<Signed<Pass>, String> {
    let ask = "entries need a reading pass; make one with `xinqiao audit pass` / 读取条目需要通行证，请用 `xinqiao audit pass` 生成";
    let bearer = headers
        .get(header::AUTHORIZATION)
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.strip_prefix("Bearer "));
    let bytes =
        URL_SAFE_NO_PAD.decode(bearer.ok_or(ask)?).map_err(|_| "the pass is not base64url".to_owned())?;
    let pass = Signed::<Pass>::parse(&bytes).map_err(|e| e.to_string())?;
    let registry = &shared.context().registry;
    pass::check(registry, &pass, &served.owner, served.log, clock::now()).map_err(|r| r.to_string())?;
    Ok(pass)
}

/// The value of an `Authorization` header that carries a pass.
pub fn authorization(pass: &Signed<Pass>) -> String {
    format!("Bearer {}", URL_SAFE_NO_PAD.encode(pass.as_bytes()))
}

fn typed(kind: &'static str, cache: &'static str, bytes: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Body::from(bytes));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    response
}

fn plain(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = typed("text/plain; charset=utf-8", "no-store", text.as_bytes().to_vec());
    *response.status_mut() = status;
    response
}

fn failed(e: &StoreError) -> Response<Body> {
    tracing::error!("a read failed: {e}");
    plain(StatusCode::INTERNAL_SERVER_ERROR, "the node has a fault; see its log\n")
}

#[cfg(test)]
mod tests {
    use crypto::{secret::Secret, sign::SigningKey};
    use ledger::{
        log::Log,
        store::{Batch, Store, memory::MemoryStore},
    };

    use super::*;

    #[test]
    fn what_comes_into_a_log_after_a_read_was_noted_is_not_read_under_that_line() {
        let (store, key) = (MemoryStore::default(), SigningKey::from_seed(&Secret::new([7; 32])));
        let mut log = Log::open("access", "test/access", &store).unwrap();
        let mut noted = 0;
        for round in 0..2 {
            // Noted between the two rounds.
            noted = log::size(&store, "access").unwrap().0;
            for n in 0..200u8 {
                log.append(vec![round, n]).unwrap();
            }
            let mut batch = Batch::default();
            log.seal(&key, &store, &mut batch).unwrap();
            store.apply(&batch).unwrap();
        }
        assert_eq!(noted, 200);
        let read = |path: &str, noted| within(&store, "access", &Tile::parse(path).unwrap(), noted).unwrap();
        for (path, end) in
            [("tile/entries/000.p/200", 200), ("tile/entries/000.p/201", 201), ("tile/entries/000", 256)]
        {
            assert!(read(path, end).is_some(), "{path} is in the log");
            assert_eq!(read(path, noted).is_some(), end <= noted, "{path}");
            assert!(read(path, end - 1).is_none(), "{path}");
        }
        assert!(read("tile/0/000", 0).is_some(), "hashes are open");
        assert!(read("tile/entries/001.p/145", u64::MAX).is_none(), "beyond the log");
    }
}
