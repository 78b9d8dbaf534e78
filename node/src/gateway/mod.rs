//! JSON over HTTP for the member's own systems: questions, grants, and a stream of what other members say.
//!
//! Off unless `[gateway]` stands in `node.toml`; a listener of its own; plain HTTP on loopback only. What it says stands in
//! `docs/openapi.json`, which it serves, and which is tested against it. A question goes the way of the operator's
//! `Ask` (`operate::ask`): here are only its clothes.
//!
//! | module | holds |
//! |---|---|
//! | [`settings`] | API keys and webhooks, in a file |
//! | [`scope`] | what one key may do |
//! | [`connections`] | who keeps a connection when there are too many |
//! | [`speak`] | HTTP/1.1 on one of them |
//! | [`route`] | every address |
//! | [`shape`] | what a body must look like |
//! | [`trouble`] | errors |
//! | [`queries`], [`view`] | questions and answers, and their JSON |
//! | [`grants`] | grants handed in |
//! | [`catalog`] | what can be asked about |
//! | [`events`], [`hooks`] | the stream, read and delivered |

pub mod catalog;
pub mod connections;
pub mod events;
pub mod grants;
pub mod hooks;
pub mod queries;
pub mod route;
pub mod scope;
pub mod settings;
pub mod shape;
pub mod speak;
pub mod trouble;
pub mod view;

use std::{
    collections::BTreeMap,
    convert::Infallible,
    io,
    net::{SocketAddr, ToSocketAddrs},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use crypto::codec::hex;
use exchange::limits::RETRY_BUSY_MS;
use http_body_util::{BodyExt, Full, Limited, combinators::BoxBody};
use hyper::{
    HeaderMap, Request, Response,
    body::{Bytes, Incoming},
    header::{self, HeaderName, HeaderValue},
    service::service_fn,
};
use serde_json::Value;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};

use self::{
    connections::Connection,
    route::Route,
    settings::{ApiKey, Settings},
    shape::Object,
    trouble::Trouble,
};
use crate::{
    Problem, clock,
    home::GatewayConfig,
    serve::Server,
    tls::{self, TlsAcceptor},
};

/// The document that the gateway serves, and is tested against.
pub const DOCUMENT: &str = include_str!("../../../docs/openapi.json");

/// Largest body of a request: a grant of 32 items in base64 is below 8 KiB, a question of 64 fields below 4 KiB.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// Requests worked on at once; a bank's counters ask tens a second, and an answer takes milliseconds.
pub const REQUESTS_MAX: usize = 256;
/// Requests that wait for events at once: one or two for each of the bank's systems.
pub const STREAMS_MAX: usize = 64;
/// Connections open at once; each idle one costs some KiB.
pub const CONNECTIONS_MAX: usize = 1_024;
/// Rows on a page at most.
pub const PAGE_MAX: usize = 100;
/// Rows on a page unless told.
pub const PAGE: usize = 20;
/// Longest `X-Request-Id` and `Idempotency-Key`.
pub const HEADER_CHARS_MAX: usize = 128;
/// Time for the head of a request, its body, and a TLS handshake to arrive.
pub const ARRIVE: Duration = Duration::from_secs(10);
/// How long a reader may keep the catalog: a node may start again with another one.
const CATALOG_AGE: &str = "private, max-age=3600";
const MINUTE_MS: u64 = 60_000;

/// The body of a response.
pub type Body = BoxBody<Bytes, Infallible>;

/// A listener, and how it speaks.
pub struct Listening {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
}

/// Certificate and key as the settings name them; `None` where plain HTTP is spoken.
fn secured(config: &GatewayConfig) -> Result<Option<TlsAcceptor>, Problem> {
    match (&config.certificate, &config.key) {
        (Some(certificate), Some(key)) => Ok(Some(tls::https_server(certificate, key)?)),
        (None, None) => Ok(None),
        _ => Err(Problem::new(
            "[gateway] names a certificate without its key, or a key without its certificate",
            "give both, or neither on a loopback address",
            "请同时提供证书与私钥；仅在回环地址上可都不提供",
        )),
    }
}

/// What `address` leads to, and whether it may be spoken to as is.
fn bound(address: &str, secured: bool) -> Result<Vec<SocketAddr>, Problem> {
    let found: Vec<SocketAddr> = address.to_socket_addrs().map(Iterator::collect).unwrap_or_default();
    if found.is_empty() {
        return Err(Problem::new(
            format!("the gateway cannot listen on `{address}`: that is no address and port"),
            "give one of this machine's addresses and a port, as 127.0.0.1:7480 or [::1]:7480",
            "请提供本机的地址与端口，例如 127.0.0.1:7480 或 [::1]:7480",
        ));
    }
    if !secured && !found.iter().all(|address| address.ip().is_loopback()) {
        return Err(Problem::new(
            format!("{address} is not a loopback address, and the gateway has no certificate"),
            "give a certificate and its key with `xinqiao gateway enable`, or listen on 127.0.0.1",
            "请用 `xinqiao gateway enable` 提供证书与私钥，或监听 127.0.0.1",
        ));
    }
    Ok(found)
}

fn cannot_listen(address: &str, why: &io::Error) -> Problem {
    Problem::new(
        format!("the gateway cannot listen on {address}: {why}"),
        "stop what uses the port, or set another one with `xinqiao gateway enable`",
        "请停止占用该端口的程序，或用 `xinqiao gateway enable` 更换端口",
    )
}

/// Tries settings out before they are written: a node does not start under those that do not hold.
///
/// Errors: what [`listen`] would say, but for a port that is in use, most likely by the node that runs.
pub fn check(config: &GatewayConfig) -> Result<(), Problem> {
    let addresses = bound(&config.listen, secured(config)?.is_some())?;
    match std::net::TcpListener::bind(&*addresses) {
        Err(e) if e.kind() != io::ErrorKind::AddrInUse => Err(cannot_listen(&config.listen, &e)),
        _ => Ok(()),
    }
}

/// Opens the gateway's port.
pub async fn listen(config: &GatewayConfig) -> Result<Listening, Problem> {
    let tls = secured(config)?;
    let addresses = bound(&config.listen, tls.is_some())?;
    let listener = TcpListener::bind(&*addresses).await.map_err(|e| cannot_listen(&config.listen, &e))?;
    Ok(Listening { listener, tls })
}

/// The gateway of a running node.
pub struct Gateway {
    server: Server,
    requests: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    buckets: Mutex<BTreeMap<String, Bucket>>,
    /// What can be asked about, once somebody has asked.
    catalog: OnceLock<Bytes>,
}

/// What is left to one key: thousandths of a question, as they were at one moment.
struct Bucket {
    left: u64,
    at: u64,
}

/// One request, as its handler sees it.
pub struct Call {
    /// Whose key it carries.
    pub key: ApiKey,
    /// What no clerk that it names may begin with.
    pub foreign_prefixes: Vec<String>,
    /// The `{id}` of its address.
    pub id: String,
    /// Its query string, decoded.
    pub query: BTreeMap<String, String>,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// Its place among those that wait for events, when it may need one.
    pub streams: Arc<Semaphore>,
}

impl Call {
    /// The body as a JSON object.
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, Trouble> {
        let kind = single(&self.headers, "content-type")?.and_then(|v| v.to_str().ok()).unwrap_or_default();
        if kind.split(';').next().is_none_or(|k| !k.trim().eq_ignore_ascii_case("application/json")) {
            return Err(Trouble::own("request.media-type", format!("Content-Type is `{kind}`")));
        }
        let read = serde_json::from_slice(&self.body).map(|Object(value)| value);
        read.map_err(|e| Trouble::malformed(e.to_string()))
    }

    /// A number of the query string.
    pub fn number(
        &self,
        name: &str,
        default: u64,
        range: core::ops::RangeInclusive<u64>,
    ) -> Result<u64, Trouble> {
        let Some(text) = self.query.get(name) else { return Ok(default) };
        decimal(text).filter(|n| range.contains(n)).ok_or_else(|| {
            let (from, to) = (range.start(), range.end());
            Trouble::malformed(format!("`{name}` is a number from {from} to {to}"))
        })
    }

    /// Refuses names in the query string that the address does not know.
    pub fn only(&self, names: &[&str]) -> Result<(), Trouble> {
        match self.query.keys().find(|name| !names.contains(&name.as_str())) {
            Some(name) => Err(Trouble::malformed(format!("there is no parameter `{name}` here"))),
            None => Ok(()),
        }
    }

    /// A place among those that wait for events.
    pub fn stream(&self) -> Result<OwnedSemaphorePermit, Trouble> {
        let place = self.streams.clone().try_acquire_owned();
        place.map_err(|_| Trouble::busy(format!("{STREAMS_MAX} requests wait for events already")))
    }
}

impl Gateway {
    /// The gateway of `server`.
    pub fn new(server: Server) -> Arc<Self> {
        Arc::new(Self {
            server,
            requests: Arc::new(Semaphore::new(REQUESTS_MAX)),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
            buckets: Mutex::default(),
            catalog: OnceLock::new(),
        })
    }

    /// Serves until the process ends.
    pub async fn serve(self: Arc<Self>, listening: Listening) {
        let Listening { listener, tls } = listening;
        let serve = |stream: TcpStream, connection| {
            // Answers are small and somebody waits for each.
            let _ = stream.set_nodelay(true);
            let (gateway, tls) = (self.clone(), tls.clone());
            async move {
                match tls {
                    None => gateway.connection(stream, connection).await,
                    Some(tls) => {
                        if let Ok(Ok(stream)) = tokio::time::timeout(ARRIVE, tls.accept(stream)).await {
                            gateway.connection(stream, connection).await;
                        }
                    }
                }
            }
        };
        connections::accept(listener, CONNECTIONS_MAX, serve).await;
    }

    async fn connection<S>(self: Arc<Self>, stream: S, connection: Connection)
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let connection = Arc::new(connection);
        let service = service_fn(move |request| {
            let (gateway, connection) = (self.clone(), connection.clone());
            async move { Ok::<_, Infallible>(gateway.respond(request, &connection).await) }
        });
        speak::speak(stream, ARRIVE, service).await;
    }

    async fn respond(&self, request: Request<Incoming>, connection: &Connection) -> Response<Body> {
        let id = request_id(request.headers());
        let response = self.answer(request, connection).await;
        dressed(response.unwrap_or_else(|trouble| trouble.response(&id)), &id)
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        connection: &Connection,
    ) -> Result<Response<Body>, Trouble> {
        let (route, id) = route::find(request.method().as_str(), request.uri().path())?;
        match route {
            Route::Document => return Ok(full(DOCUMENT, "application/json")),
            Route::Health => return Ok(self.health()),
            _ => {}
        }
        let (key, foreign_prefixes) = self.authorize(request.headers())?;
        connection.known();
        key.scope.admits(route)?;
        let place = self.requests.clone().try_acquire_owned();
        let place =
            place.map_err(|_| Trouble::busy(format!("{REQUESTS_MAX} requests are worked on already")))?;
        let query = decode_query(request.uri().query().unwrap_or_default())?;
        let (head, body) = request.into_parts();
        let body = tokio::time::timeout(ARRIVE, Limited::new(body, BODY_BYTES_MAX).collect()).await;
        let body = match body {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(e)) if e.is::<http_body_util::LengthLimitError>() => {
                let why = format!("a body has at most {BODY_BYTES_MAX} bytes");
                return Err(Trouble::own("request.too-large", why));
            }
            Ok(Err(e)) => return Err(Trouble::malformed(e.to_string())),
            Err(_) => return Err(Trouble::own("request.timeout", "")),
        };
        let (headers, streams) = (head.headers, self.streams.clone());
        let call = Call { key, foreign_prefixes, id, query, headers, body, streams };
        match route {
            Route::Ask => {
                self.take(&call.key)?;
                queries::ask(&self.server, &call).await
            }
            Route::List => queries::list(&self.server, &call).await,
            Route::Query => queries::get(&self.server, &call).await,
            Route::Evidence => queries::evidence(&self.server, &call).await,
            Route::AddGrant => grants::add(&self.server, &call).await,
            Route::Grant => grants::get(&self.server, &call).await,
            Route::Events => {
                // Who waits for events is counted among those, and holds nobody else up.
                drop(place);
                events::get(&self.server, &call).await
            }
            Route::Catalog => {
                call.only(&[])?;
                Ok(self.catalog())
            }
            Route::Document | Route::Health => Err(Trouble::not_found("")),
        }
    }

    fn catalog(&self) -> Response<Body> {
        let make = || Bytes::from(catalog::document(&self.server.shared.context()).to_string());
        let mut response = full(self.catalog.get_or_init(make).clone(), "application/json");
        insert(&mut response, header::CACHE_CONTROL, CATALOG_AGE);
        response
    }

    fn health(&self) -> Response<Body> {
        let phase = self.server.shared.state.read().map_or("unknown", |s| s.phase);
        let member = self.server.shared.context().own.id.clone();
        let mut response = json_body(
            &serde_json::json!({ "member": member.as_str(), "status": phase, "version": env!("CARGO_PKG_VERSION") }),
        );
        if phase != "ready" {
            *response.status_mut() = hyper::StatusCode::SERVICE_UNAVAILABLE;
            insert(&mut response, header::RETRY_AFTER, &RETRY_BUSY_MS.div_ceil(1_000).to_string());
        }
        response
    }

    /// Whose key a request carries, and what no clerk of that key may begin with.
    fn authorize(&self, headers: &HeaderMap) -> Result<(ApiKey, Vec<String>), Trouble> {
        let bearer = single(headers, "authorization")?.and_then(|v| v.to_str().ok());
        // The scheme's name has no case (RFC 9110 §11.1).
        let token =
            bearer.and_then(|v| v.split_once(' ')).filter(|(name, _)| name.eq_ignore_ascii_case("bearer"));
        let token = token.map(|(_, token)| token.trim_start_matches(' '));
        let token =
            token.ok_or_else(|| Trouble::own("key.invalid", "there is no Authorization: Bearer header"))?;
        // Read anew for every request: what was revoked a moment ago opens nothing.
        let settings = Settings::read(self.server.shared.keys.dir()).map_err(|problem| {
            tracing::error!(%problem, "the gateway's settings cannot be read");
            Trouble::own("node.fault", "")
        })?;
        let key = settings.key(token).ok_or_else(|| Trouble::own("key.invalid", ""))?;
        Ok((key.clone(), settings.foreign_prefixes(key)))
    }

    /// Counts a question against its key.
    fn take(&self, key: &ApiKey) -> Result<(), Trouble> {
        let (now, rate) = (clock::now().0, u64::from(key.per_minute));
        let full = rate * 1_000;
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = buckets.entry(key.name.clone()).or_insert(Bucket { left: full, at: now });
        let gained = now.saturating_sub(bucket.at).saturating_mul(full) / MINUTE_MS;
        // Less than a thousandth is not lost: the moment stays until it has gained one.
        if gained > 0 || now < bucket.at {
            (bucket.left, bucket.at) = (bucket.left.saturating_add(gained).min(full), now);
        }
        match bucket.left.checked_sub(1_000) {
            Some(left) => {
                bucket.left = left;
                Ok(())
            }
            None => {
                let wait = ((1_000 - bucket.left) * MINUTE_MS).div_ceil(full);
                let why = format!("`{}` may ask {rate} questions a minute", key.name);
                Err(Trouble { retry_after_ms: Some(wait), ..Trouble::own("quota.exceeded", why) })
            }
        }
    }
}

/// A header that is given once or not at all: of two, everybody on the way may take another.
pub fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a HeaderValue>, Trouble> {
    let mut found = headers.get_all(name).iter();
    match (found.next(), found.next()) {
        (_, Some(_)) => Err(Trouble::malformed(format!("the header `{name}` is given twice"))),
        (first, None) => Ok(first),
    }
}

/// A header's text when it has the shape of a name for a request: visible ASCII, not long.
fn visible(headers: &HeaderMap, name: &str) -> Result<Option<String>, Trouble> {
    let Some(value) = single(headers, name)? else { return Ok(None) };
    let text = value
        .to_str()
        .ok()
        .filter(|t| (1..=HEADER_CHARS_MAX).contains(&t.len()) && t.bytes().all(|b| b.is_ascii_graphic()));
    text.map(|text| Some(text.to_owned())).ok_or_else(|| {
        Trouble::malformed(format!("`{name}` has 1 to {HEADER_CHARS_MAX} visible ASCII characters"))
    })
}

/// The request's own id, or a fresh one.
fn request_id(headers: &HeaderMap) -> String {
    match visible(headers, "x-request-id") {
        Ok(Some(id)) => id,
        _ => hex(&clock::random::<16>()),
    }
}

/// A number as digits alone.
fn decimal(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

/// A query string as names and values. Names occur once.
fn decode_query(text: &str) -> Result<BTreeMap<String, String>, Trouble> {
    let mut found = BTreeMap::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = percent(name)?;
        if found.insert(name.clone(), percent(value)?).is_some() {
            return Err(Trouble::malformed(format!("`{name}` is given twice")));
        }
    }
    Ok(found)
}

/// Text with its percent-encoding undone.
fn percent(text: &str) -> Result<String, Trouble> {
    let no = || Trouble::malformed("the query string is not percent-encoded UTF-8");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(b) = rest.next() {
        bytes.push(match b {
            b'+' => b' ',
            b'%' => {
                let digit = |b: Option<u8>| char::from(b?).to_digit(16);
                let (high, low) = (digit(rest.next()), digit(rest.next()));
                (high.ok_or_else(no)? << 4 | low.ok_or_else(no)?) as u8
            }
            other => other,
        });
    }
    String::from_utf8(bytes).map_err(|_| no())
}

/// A response with all of its body.
pub fn full(bytes: impl Into<Bytes>, kind: &'static str) -> Response<Body> {
    let mut response = Response::new(Full::new(bytes.into()).boxed());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// A response of JSON.
pub fn json_body(value: &Value) -> Response<Body> {
    full(value.to_string().into_bytes(), "application/json")
}

/// With what every response carries.
fn dressed(mut response: Response<Body>, request: &str) -> Response<Body> {
    insert(&mut response, HeaderName::from_static("x-request-id"), request);
    if !response.headers().contains_key(header::CACHE_CONTROL) {
        insert(&mut response, header::CACHE_CONTROL, "no-store");
    }
    response
}

/// Sets a header.
pub fn insert(response: &mut Response<Body>, name: HeaderName, value: &str) {
    // What is not a header value is left out: every one here is ASCII of our own or checked before.
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// Runs a read of the store on the pool.
pub async fn reading<T, F>(read: F) -> Result<T, Trouble>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, exchange::refusal::Fault> + Send + 'static,
{
    match tokio::task::spawn_blocking(read).await {
        Ok(done) => Ok(done?),
        Err(e) => Err(exchange::refusal::Fault(e.to_string()).into()),
    }
}

#[cfg(test)]
mod tests {
    use exchange::{parts::Said, refusal::Code};

    use super::*;

    #[test]
    fn a_query_string_is_read_once_and_strictly() {
        let query = decode_query("after=7&cursor=a%2Fb+c&flag").unwrap();
        assert_eq!(query["after"], "7");
        assert_eq!(query["cursor"], "a/b c");
        assert_eq!(query["flag"], "");
        for bad in ["a=%", "a=%2", "a=%zz", "a=%ff", "a=1&a=2"] {
            assert!(decode_query(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_request_keeps_its_id_when_it_has_a_sound_one() {
        let mut headers = HeaderMap::new();
        assert_eq!(request_id(&headers).len(), 32);
        headers.insert("x-request-id", HeaderValue::from_static("loan-7"));
        assert_eq!(request_id(&headers), "loan-7");
        headers.append("x-request-id", HeaderValue::from_static("loan-8"));
        assert_eq!(request_id(&headers).len(), 32);
        headers.insert("x-request-id", HeaderValue::from_static("two words"));
        assert_eq!(request_id(&headers).len(), 32);
    }

    #[test]
    fn a_header_that_is_given_twice_is_refused() {
        let mut headers = HeaderMap::new();
        assert_eq!(visible(&headers, "idempotency-key"), Ok(None));
        headers.insert("idempotency-key", HeaderValue::from_static("a"));
        assert_eq!(visible(&headers, "idempotency-key"), Ok(Some("a".into())));
        // Also when both say the same.
        headers.append("idempotency-key", HeaderValue::from_static("a"));
        let refused = visible(&headers, "idempotency-key").unwrap_err();
        assert!(refused.status == 400 && refused.detail.contains("idempotency-key"), "{}", refused.detail);
    }

    #[test]
    fn the_limits_are_those_of_the_document() {
        let document: Value = serde_json::from_str(DOCUMENT).unwrap();
        let limits = &document["x-limits"];
        let ours: [(&str, u64); 17] = [
            ("body_bytes", BODY_BYTES_MAX as u64),
            ("requests_at_once", REQUESTS_MAX as u64),
            ("streams_at_once", STREAMS_MAX as u64),
            ("connections", CONNECTIONS_MAX as u64),
            ("page", PAGE_MAX as u64),
            ("header_characters", HEADER_CHARS_MAX as u64),
            ("items_per_question", credit::question::ITEMS_PER_QUESTION_MAX as u64),
            ("fields_per_question", credit::question::FIELDS_PER_QUESTION_MAX as u64),
            ("checks_per_question", credit::question::CHECKS_PER_QUESTION_MAX as u64),
            ("deadline_ms", credit::question::DEADLINE_MS_MAX),
            ("wait_seconds", events::WAIT_SECONDS_MAX),
            ("records_per_answer", exchange::limits::RECORDS_PER_ANSWER_MAX as u64),
            ("questions_per_minute", u64::from(settings::PER_MINUTE)),
            ("arrival_seconds", ARRIVE.as_secs()),
            ("ask_again_ms", exchange::limits::ASK_AGAIN_MS_MAX),
            ("kept_ms_without_grant", crate::operate::KEPT_MS),
            ("deadline_ms_default", queries::DEADLINE_MS),
        ];
        // Of a word: whether a retry counts as a question of the key.
        assert_eq!(limits["retries_count"], true);
        assert_eq!(limits.as_object().unwrap().len(), ours.len() + 1);
        for (name, limit) in ours {
            assert_eq!(limits[name], limit, "{name}");
        }
    }

    #[test]
    fn the_codes_are_those_of_the_document() {
        let document: Value = serde_json::from_str(DOCUMENT).unwrap();
        let codes = |schema: &str| -> Vec<String> {
            let listed = document["components"]["schemas"][schema]["properties"]["code"]["enum"].as_array();
            listed.unwrap().iter().map(|code| code.as_str().unwrap().to_owned()).collect()
        };
        let own = trouble::OWN.iter().map(|own| own.0.to_owned());
        let refusals = || Code::ALL.iter().map(|code| code.as_str().to_owned());
        assert_eq!(codes("Problem"), own.chain(refusals()).collect::<Vec<_>>());
        assert_eq!(codes("Refusal"), refusals().collect::<Vec<_>>());
        let said = &document["components"]["schemas"]["Member"]["properties"]["outcome"]["enum"];
        let ours = [Said::Answered, Said::Denied, Said::Unproven, Said::Unreachable, Said::Invalid];
        assert_eq!(*said, serde_json::json!(ours.map(Said::as_str)));
    }
}
