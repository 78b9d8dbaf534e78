//! Frames in and out: one request and one response per stream. Decode and encode only.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, UdpSocket},
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use credit::{id::MemberId, policy::Role};
use crypto::{label::Label, pseudonym::keyed, secret::Secret, sign::PublicKey};
use exchange::{
    limits::{FRAME_BYTES_MAX, OPERATOR_RESPONSE_BYTES_MAX, RELAYED_BYTES_MAX},
    refusal::{Code, Refusal},
    registry::MemberRequest,
    wire::{Operation, Request, Response, from_frame, to_frame},
};
pub use quinn::Connection;
use quinn::{
    ConnectionId, ConnectionIdGenerator, Endpoint, EndpointConfig, VarInt, crypto::HmacKey,
    udp::UdpSocketState,
};
use tokio::sync::{Mutex, mpsc};

use crate::{
    Problem, clock,
    core::Shared,
    places::{Held, REQUEST_BYTES},
    tls,
};

/// Streams one peer may have open: a bank's busy hour, and far below what memory allows (each at most one frame).
const STREAMS_MAX: u32 = 256;
/// Connections accepted at once; each costs some tens of kilobytes (`xinqiao bench query --idle 10000`).
pub const CONNECTIONS_MAX: usize = 16_384;
/// Handshakes under way at once, of whoever it may be.
pub const HANDSHAKES_MAX: usize = 1_024;
/// Handshakes under way from which on a caller must first show that its address is its own.
pub const HANDSHAKES_UNPROVEN_MAX: usize = 128;
/// Time for a handshake: two round trips, and some of them lost.
pub const HANDSHAKE: Duration = Duration::from_secs(5);
/// Bytes of one stream that arrive before they are read.
const STREAM_WINDOW: u32 = 512 * 1024;
/// Bytes of all streams of a connection that arrive before they are read, and that leave before they are acknowledged.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Bytes that the system keeps for a socket in each direction. What finds no room is lost, and is sent again tens of milliseconds
/// later: with Linux's own 208 KiB a busy machine loses some of a hundred answers that come at once.
const SOCKET_BYTES: usize = 4 * 1024 * 1024;
/// A connection without traffic is kept open for peers that push now and then.
const IDLE: Duration = Duration::from_secs(30);
/// Sent into quiet connections, so that a dead peer is known before it is needed.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Time to reach a peer that is there.
const CONNECT: Duration = Duration::from_millis(1_500);

/// Time for a request to arrive in full once its stream is open.
const READ: Duration = Duration::from_secs(30);
/// Time for a response to be read: as long as a request may take to arrive.
const WRITE: Duration = READ;
/// Time for a refusal to leave whose caller holds as much as it may already.
const REFUSE: Duration = Duration::from_millis(100);
/// Time for a close frame to leave.
const CLOSE: Duration = Duration::from_millis(5);

/// Packets that an acknowledgement may wait for, and how long. An answer of a few fields has three; what acknowledges it goes
/// with the next question then, and wakes nobody by itself. Fewer than may be under way on a new connection, or a sender would
/// wait for it.
const ACK_PACKETS: u32 = 4;
const ACK_DELAY: Duration = Duration::from_millis(5);

/// Limits of every connection.
fn transport() -> Arc<quinn::TransportConfig> {
    let mut transport = quinn::TransportConfig::default();
    transport.max_concurrent_bidi_streams(VarInt::from_u32(STREAMS_MAX));
    transport.max_concurrent_uni_streams(VarInt::from_u32(0));
    transport.stream_receive_window(VarInt::from_u32(STREAM_WINDOW));
    transport.receive_window(VarInt::from_u32(CONNECTION_WINDOW));
    transport.send_window(u64::from(CONNECTION_WINDOW));
    transport.keep_alive_interval(Some(KEEP_ALIVE));
    transport.max_idle_timeout(IDLE.try_into().ok());
    let mut acknowledge = quinn::AckFrequencyConfig::default();
    acknowledge.ack_eliciting_threshold(VarInt::from_u32(ACK_PACKETS)).max_ack_delay(Some(ACK_DELAY));
    transport.ack_frequency_config(Some(acknowledge));
    Arc::new(transport)
}

/// Opens the node's endpoint.
///
/// A node that was killed said goodbye to nobody. Its peers go on sending into connections that only they know, and
/// would do so until [`IDLE`] is over; the node that has come back answers them with a stateless reset (RFC 9000 §10.3),
/// which they believe because its key is the same as before. They connect anew at once.
pub fn listen(address: &str, seed: &Secret) -> Result<Endpoint, Problem> {
    let mut server = tls::server(seed)?;
    server.transport_config(transport());
    let mut config = EndpointConfig::new(Arc::new(ResetKey(Secret::new(keyed(seed, Label::QuicReset, &[])))));
    config.cid_generator(|| Box::new(RandomIds));
    let at = resolve(address)?;
    let runtime = Arc::new(quinn::TokioRuntime);
    let opened = bound(at).and_then(|socket| Endpoint::new(config, Some(server), socket, runtime));
    opened.map_err(|e| {
        Problem::new(
            format!("cannot listen on {address}: {e}"),
            "stop what uses the port, or set another one in node.toml and the registry",
            "请停止占用该端口的程序，或在 node.toml 与登记表中更换端口",
        )
    })
}

/// Makes the tokens of stateless resets: keyed BLAKE3 of a connection id, from the transport seed, so that it outlives
/// the process.
struct ResetKey(Secret);

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], out: &mut [u8]) {
        out.copy_from_slice(&keyed(&self.0, Label::QuicReset, &[data]));
    }

    fn signature_len(&self) -> usize {
        32
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), quinn::crypto::CryptoError> {
        let right = keyed(&self.0, Label::QuicReset, &[data]) == *signature;
        if right { Ok(()) } else { Err(quinn::crypto::CryptoError) }
    }
}

/// Connection ids without a mark of the process that made them: quinn's own carry one, and an id of the process before
/// would be dropped in silence.
struct RandomIds;

/// Bytes of a connection id.
const ID_BYTES: usize = 8;

impl ConnectionIdGenerator for RandomIds {
    fn generate_cid(&mut self) -> ConnectionId {
        ConnectionId::new(&clock::random::<ID_BYTES>())
    }

    fn cid_len(&self) -> usize {
        ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// An endpoint that only calls.
pub fn caller() -> Result<Endpoint, Problem> {
    bound(SocketAddr::from(([0, 0, 0, 0], 0)))
        .and_then(|socket| {
            Endpoint::new(EndpointConfig::default(), None, socket, Arc::new(quinn::TokioRuntime))
        })
        .map_err(|e| Problem::fault(format!("no UDP socket: {e}")))
}

/// A socket with room for what comes while this process is busy.
fn bound(at: SocketAddr) -> std::io::Result<UdpSocket> {
    let socket = UdpSocket::bind(at)?;
    let state = UdpSocketState::new((&socket).into())?;
    // A system that gives less, or nothing, has said what it gives; the socket works with that, too.
    let _ = state.set_recv_buffer_size((&socket).into(), SOCKET_BYTES);
    let _ = state.set_send_buffer_size((&socket).into(), SOCKET_BYTES);
    Ok(socket)
}

fn resolve(address: &str) -> Result<SocketAddr, Problem> {
    use std::net::ToSocketAddrs;
    address.to_socket_addrs().ok().and_then(|mut found| found.next()).ok_or_else(|| {
        Problem::new(
            format!("`{address}` is not an address"),
            "write it as host:port",
            "请按 host:port 的形式填写地址",
        )
    })
}

/// Reads one request from a stream; `max` is the caller's limit. Every byte is held for the caller.
pub async fn read_request(
    stream: &mut quinn::RecvStream,
    max: usize,
    held: &mut Held,
) -> Result<Request, Refusal> {
    let read = async {
        let mut frame = Vec::new();
        let lost = |e: quinn::ReadError| Refusal::new(Code::FrameMalformed, e.to_string());
        while let Some(chunk) = stream.read_chunk(max, true).await.map_err(lost)? {
            if frame.len() + chunk.bytes.len() > max {
                return Err(Refusal::new(Code::FrameTooLong, format!("more than {max} bytes")));
            }
            held.add(chunk.bytes.len())?;
            frame.extend_from_slice(&chunk.bytes);
        }
        from_frame(&frame, max)
    };
    let late = |_| Err(Refusal::new(Code::FrameMalformed, "the request did not arrive in time"));
    tokio::time::timeout(READ, read).await.unwrap_or_else(late)
}

/// Writes the response, ends the stream and waits until it was read; then what was held for it is given back. One that is
/// not read in time is taken back. A caller that holds as much as it may gets a refusal in its place.
pub async fn write_response(stream: &mut quinn::SendStream, response: &Response, mut held: Held) {
    let frame = to_frame(response);
    let (frame, time, wait) = match held.set(REQUEST_BYTES + frame.len()) {
        Ok(()) => (frame, WRITE, true),
        // A few bytes, left to the transport: nobody waits for who does not read.
        Err(refusal) => (to_frame(&Response::Refused(refusal)), REFUSE, false),
    };
    let written = tokio::time::timeout(time, async {
        // A caller that has gone away is served when it asks again; every decision is in the log already.
        if stream.write_all(&frame).await.is_ok() && stream.finish().is_ok() && wait {
            let _ = stream.stopped().await;
        }
    });
    if written.await.is_err() {
        // It may have been read at this moment.
        let _ = stream.reset(VarInt::from_u32(2));
    }
}

/// Connections to peers, opened when first needed and shared; and who of them could not be reached.
pub struct Peers {
    endpoint: Endpoint,
    seed: Secret,
    shared: Arc<Shared>,
    open: Mutex<BTreeMap<MemberId, Connection>>,
    /// Who cannot be reached, and since when.
    away: std::sync::Mutex<BTreeMap<MemberId, Instant>>,
    back: mpsc::UnboundedSender<MemberId>,
}

impl Peers {
    /// Calls from `endpoint` as the member that `shared` is. A peer that was away and is heard again goes to `back`, once.
    pub fn new(endpoint: Endpoint, shared: Arc<Shared>, back: mpsc::UnboundedSender<MemberId>) -> Self {
        let (open, away) = (Mutex::default(), std::sync::Mutex::default());
        Self { endpoint, seed: shared.keys.tls_seed(), shared, open, away, back }
    }

    /// Forgets every open connection: addresses and keys may be others now.
    pub async fn forget(&self) {
        self.open.lock().await.clear();
    }

    /// Asks a peer and waits at most `wait`. A connection that has died is opened once more.
    pub async fn ask(
        &self,
        peer: &MemberRequest,
        request: &Request,
        wait: Duration,
    ) -> Result<Response, Refusal> {
        let unreachable = |why: String| Refusal::new(Code::Unreachable, format!("`{}`: {why}", peer.id));
        // Only the outlet's merged answer is larger than a frame.
        let merged = matches!(request, Request::Ask(_)) && peer.role == Role::Platform;
        let max = if merged { RELAYED_BYTES_MAX } else { FRAME_BYTES_MAX };
        let known = self.open.lock().await.get(&peer.id).filter(|c| c.close_reason().is_none()).cloned();
        let stale = known.as_ref().map(Connection::stable_id);
        let asked = async {
            if let Some(connection) = known {
                match call(&connection, request, max).await {
                    Err(e) if e.code == Code::Unreachable.as_str() => {}
                    done => return done,
                }
            }
            let keys = self.shared.context().registry.tls_keys(&peer.id, clock::now())?;
            let connection =
                connect(&self.endpoint, &self.seed, &peer.quic, &keys).await.map_err(unreachable)?;
            self.open.lock().await.insert(peer.id.clone(), connection.clone());
            call(&connection, request, max).await
        };
        let asked = tokio::time::timeout(wait, asked).await;
        match &asked {
            Ok(Err(refusal)) if refusal.code == Code::Unreachable.as_str() => self.lost(&peer.id),
            Ok(_) => self.heard(&peer.id),
            Err(_) => {
                // Perhaps the peer is slow; perhaps the network is another one now, and the connection waits ever longer
                // before it tries again. A new one knows at once. Who waits on the old one keeps it.
                let mut open = self.open.lock().await;
                if open.get(&peer.id).map(Connection::stable_id) == stale {
                    open.remove(&peer.id);
                }
                self.lost(&peer.id);
            }
        }
        asked.unwrap_or_else(|_| Err(unreachable("no answer in time".into())))
    }

    fn lost(&self, peer: &MemberId) {
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        away.entry(peer.clone()).or_insert_with(Instant::now);
    }

    /// Whether a peer has been away for longer than `time`.
    pub fn gone(&self, peer: &MemberId, time: Duration) -> bool {
        let away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        away.get(peer).is_some_and(|since| since.elapsed() > time)
    }

    /// Notes that a peer is there: it has answered, or asks something itself.
    pub fn heard(&self, peer: &MemberId) {
        if self.away.lock().unwrap_or_else(PoisonError::into_inner).remove(peer).is_some() {
            // Nobody listens when the node stops.
            let _ = self.back.send(peer.clone());
        }
    }
}

/// The operator's connection to its own node.
pub struct Operator {
    endpoint: Endpoint,
    connection: Connection,
}

impl Operator {
    /// Connects to the node with one of these transport keys.
    pub async fn connect(address: &str, seed: &Secret, node: &[PublicKey]) -> Result<Self, Refusal> {
        let endpoint = caller().map_err(|p| Refusal::new(Code::Unreachable, p.what))?;
        let connection = connect(&endpoint, seed, address, node)
            .await
            .map_err(|why| Refusal::new(Code::Unreachable, format!("node at {address}: {why}")))?;
        Ok(Self { endpoint, connection })
    }

    /// One call.
    pub async fn ask(&self, operation: Operation) -> Result<Response, Refusal> {
        call(&self.connection, &Request::Operate(operation), OPERATOR_RESPONSE_BYTES_MAX).await
    }

    /// Says goodbye.
    pub async fn close(self) {
        self.connection.close(VarInt::from_u32(0), b"done");
        // Long enough for the close to leave; the drain period after it is nobody's concern here.
        let _ = tokio::time::timeout(CLOSE, self.endpoint.wait_idle()).await;
    }
}

/// A connection to the holder of one of `keys` at `address`.
pub async fn connect(
    endpoint: &Endpoint,
    seed: &Secret,
    address: &str,
    keys: &[PublicKey],
) -> Result<Connection, String> {
    let mut config = tls::client(seed, keys).map_err(|p| p.what)?;
    config.transport_config(transport());
    let at = resolve(address).map_err(|p| p.what)?;
    let connecting = endpoint.connect_with(config, at, "member").map_err(|e| e.to_string())?;
    match tokio::time::timeout(CONNECT, connecting).await {
        Ok(connected) => connected.map_err(|e| e.to_string()),
        Err(_) => Err("no answer to the connection attempt".into()),
    }
}

/// One request and its response on a stream of an open connection.
pub async fn call(connection: &Connection, request: &Request, max: usize) -> Result<Response, Refusal> {
    send_frame(connection, &to_frame(request), max).await
}

/// [`call`] with bytes that need not be a request: for tests of what a node does with them.
pub async fn send_frame(connection: &Connection, frame: &[u8], max: usize) -> Result<Response, Refusal> {
    let lost = |e: String| Refusal::new(Code::Unreachable, e);
    let (mut send, mut receive) = connection.open_bi().await.map_err(|e| lost(e.to_string()))?;
    // A node that refuses early stops reading; its response still comes.
    let written = send.write_all(frame).await;
    let _ = send.finish();
    match receive.read_to_end(max).await {
        Ok(response) if !response.is_empty() => match from_frame(&response, max)? {
            Response::Refused(refusal) => Err(refusal),
            response => Ok(response),
        },
        Ok(_) => Err(lost("the peer closed the stream".into())),
        Err(e) => Err(lost(written.err().map_or_else(|| e.to_string(), |w| w.to_string()))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test; what fails here fails the test")]

    use super::*;
    use quinn::ConnectionError;

    /// Opens an endpoint on a runtime of its own that accepts connections, as a process of its own would.
    fn process(address: &str, seed: &Secret) -> (tokio::runtime::Runtime, String) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (address, seed) = (address.to_owned(), seed.clone());
        let at = runtime.block_on(async move {
            let endpoint = listen(&address, &seed).unwrap();
            let at = endpoint.local_addr().unwrap().to_string();
            tokio::spawn(async move {
                while let Some(incoming) = endpoint.accept().await {
                    tokio::spawn(async move { incoming.await.unwrap().closed().await });
                }
            });
            at
        });
        (runtime, at)
    }

    /// An endpoint that answers every request with `Done`, and tells where from each came.
    fn answering(seed: &Secret) -> (Endpoint, mpsc::UnboundedReceiver<SocketAddr>) {
        let endpoint = listen("127.0.0.1:0", seed).unwrap();
        let (told, from) = mpsc::unbounded_channel();
        let accepting = endpoint.clone();
        tokio::spawn(async move {
            while let Some(incoming) = accepting.accept().await {
                let told = told.clone();
                tokio::spawn(async move {
                    let connection = incoming.await.unwrap();
                    while let Ok((mut send, mut receive)) = connection.accept_bi().await {
                        let _ = receive.read_to_end(FRAME_BYTES_MAX).await;
                        told.send(connection.remote_address()).unwrap();
                        send.write_all(&to_frame(&Response::Done)).await.unwrap();
                        send.finish().unwrap();
                    }
                });
            }
        });
        (endpoint, from)
    }

    #[tokio::test]
    async fn a_connection_goes_on_from_another_address() {
        let seed = Secret::new([7; 32]);
        let (node, mut from) = answering(&seed);
        let at = node.local_addr().unwrap().to_string();
        let calling = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let key = [tls::public_key(&seed)];
        let connection = connect(&calling, &Secret::new([8; 32]), &at, &key).await.unwrap();
        assert!(matches!(call(&connection, &Request::Heads, FRAME_BYTES_MAX).await, Ok(Response::Done)));
        let before = from.recv().await.unwrap();
        // As when a machine gets another address: the old socket is gone.
        calling.rebind(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
        assert!(matches!(call(&connection, &Request::Heads, FRAME_BYTES_MAX).await, Ok(Response::Done)));
        assert_ne!(from.recv().await.unwrap(), before);
    }

    #[tokio::test]
    async fn nothing_is_taken_before_the_handshake_is_over() {
        let seed = Secret::new([7; 32]);
        let (node, _from) = answering(&seed);
        let mut eager = tls::towards(&Secret::new([8; 32]), &[tls::public_key(&seed)]).unwrap();
        eager.enable_early_data = true;
        let config = quinn::crypto::rustls::QuicClientConfig::try_from(eager).unwrap();
        let config = quinn::ClientConfig::new(Arc::new(config));
        let calling = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let dial = || calling.connect_with(config.clone(), node.local_addr().unwrap(), "member").unwrap();
        let first = dial().await.unwrap();
        // The ticket for a second handshake has come once something was answered.
        assert!(matches!(call(&first, &Request::Heads, FRAME_BYTES_MAX).await, Ok(Response::Done)));
        assert!(dial().into_0rtt().is_err(), "a question sent so could be sent again by the network");
    }

    #[test]
    fn a_node_that_was_killed_and_is_back_ends_the_connections_it_no_longer_knows() {
        let seed = Secret::new([7; 32]);
        let (killed, at) = process("127.0.0.1:0", &seed);
        let caller_runtime = tokio::runtime::Runtime::new().unwrap();
        let connection = caller_runtime.block_on(async {
            let endpoint = caller().unwrap();
            connect(&endpoint, &Secret::new([8; 32]), &at, &[tls::public_key(&seed)]).await.unwrap()
        });
        // Nobody says goodbye.
        killed.shutdown_background();
        let back = loop {
            // The port is free once the tasks of the old runtime are gone.
            if UdpSocket::bind(&at).is_ok() {
                break process(&at, &seed);
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        let ended = caller_runtime.block_on(async {
            let asking = connection.clone();
            tokio::spawn(async move { call(&asking, &Request::Heads, FRAME_BYTES_MAX).await });
            connection.closed().await
        });
        assert!(matches!(ended, ConnectionError::Reset), "{ended:?}");
        drop(back);
    }
}
