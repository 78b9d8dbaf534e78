//! More than a node takes: who floods is told so, and when to come again; others are answered meanwhile, the node's memory
//! stays bounded, and after the wait the flooder is answered too. Over QUIC, as a member that has run wild, and over the
//! gateway, as a bank's own system.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test; what fails here fails the test")]

mod common;

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream, UdpSocket},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use common::{
    Federation,
    federation::{FIVE, free},
    http::{self, Got},
    rows::{company, numbered},
    schema, until,
};
use credit::{
    catalog::Purpose,
    id::{ClerkId, FieldId, ItemId, MemberId, QuestionId},
    question::{Basis, Question, Want},
    subject::SubjectId,
};
use crypto::{
    Timestamp,
    secret::Secret,
    sign::{PublicKey, Signed},
};
use exchange::{
    limits::{FRAME_BYTES_MAX, QUESTIONS_BURST_MAX, QUESTIONS_PER_SECOND_MAX},
    logs::LogName,
    refusal::{Code, Refusal},
    wire::{Outcome, Part, Request, Response, from_frame, to_frame},
};
use node::{
    clock,
    gateway::{REQUESTS_MAX, STREAMS_MAX},
    home::read_registry,
    keys::Keys,
    quic::{self, HANDSHAKES_MAX, HANDSHAKES_UNPROVEN_MAX},
};
use quinn::Connection;
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// No node of these tests may ever have needed more memory, in KiB: an idle one needs 100 MiB, and its cache grows to 128.
const MEMORY_KIB_MAX: u64 = 512 * 1024;
/// Time for what surely comes.
const LONG: Duration = Duration::from_secs(120);
/// Questions sent at least; more until the first is refused.
const FLOOD: u64 = 8_000;
/// Questions under way at once.
const SENDERS: usize = 256;
/// Requests of the flooding system, far more than its key may ask.
const REQUESTS: u64 = 300;
/// Questions a minute of the key that floods.
const PER_MINUTE: &str = "20";

/// A federation whose banks have gateways.
struct Stage {
    federation: Federation,
    /// Base, key and question of a system of bank-a and of bank-b; then a key of bank-a that may ask little.
    a: (String, String, String),
    b: (String, String, String),
    limited: String,
}

fn stage() -> &'static Stage {
    static SHARED: OnceLock<Stage> = OnceLock::new();
    SHARED.get_or_init(|| {
        let federation = Federation::found(&FIVE);
        let listens = [free(), free()];
        for (bank, listen) in ["bank-a", "bank-b"].iter().zip(&listens) {
            federation.at(bank, &["gateway", "enable", "--listen", listen]).done();
        }
        for member in FIVE {
            federation.spawn(member.id);
        }
        for member in FIVE {
            federation.ready(member.id);
        }
        federation.source("sh", "office");
        let rows = federation.file("rows.csv", numbered(1, 3));
        federation.submit("sh", "office", &rows).done();
        let key = |bank: &str, name: &str, per_minute: &str| {
            let add = ["gateway", "key", "add", "--name", name, "--per-minute", per_minute];
            federation.at(bank, &add).done().json()["key"].as_str().unwrap().to_owned()
        };
        let system = |bank: &str, listen: &str| {
            let grant = federation.grant(&format!("{bank}.grant"), &company(1), bank, &["--uses", "100000"]);
            let body = json!({ "purpose": "pre-loan", "clerk": "wang", "deadline_ms": 60_000,
                               "grant": STANDARD.encode(fs::read(grant).unwrap()) });
            (format!("http://{listen}"), key(bank, "desk", "100000"), body.to_string())
        };
        let (a, b) = (system("bank-a", &listens[0]), system("bank-b", &listens[1]));
        let limited = key("bank-a", "wild", PER_MINUTE);
        Stage { federation, a, b, limited }
    })
}

/// Asks through a gateway.
fn ask((base, key, body): &(String, String, String)) -> Got {
    let headers = format!("Authorization: Bearer {key}\r\nContent-Type: application/json\r\n");
    http::send_patiently("POST", &format!("{base}/v1/queries"), &headers, body).expect("the gateway answers")
}

/// An answer of every member.
#[track_caller]
fn answered(got: &Got) {
    let value: Value = serde_json::from_slice(&got.body).unwrap();
    assert_eq!((got.status, &value["complete"]), (201, &true.into()), "{value}");
}

/// A problem as the document has it, that says when to come again; the wait.
#[track_caller]
fn come_again(got: &Got, status: u16, code: &str) -> Duration {
    let value: Value = serde_json::from_slice(&got.body).unwrap();
    assert_eq!((got.status, value["code"].as_str()), (status, Some(code)), "{value}");
    assert_eq!(got.header("content-type"), Some("application/problem+json"));
    let document: Value = serde_json::from_slice(include_bytes!("../../docs/openapi.json")).unwrap();
    schema::against(&document, "Problem", &value).unwrap();
    let ms = value["retry_after_ms"].as_u64().unwrap();
    let seconds: u64 = got.header("retry-after").unwrap().parse().unwrap();
    assert!(ms > 0 && seconds * 1_000 >= ms && seconds <= 60, "{ms} ms and {seconds} s");
    Duration::from_secs(seconds)
}

/// No node has ever needed more than it may.
fn memory(federation: &Federation) {
    for member in FIVE {
        let peak = federation.memory_peak_kib(member.id);
        println!("`{}` has needed {} MiB at most", member.id, peak / 1024);
        assert!(peak <= MEMORY_KIB_MAX, "`{}` has needed {peak} KiB", member.id);
    }
}

#[test]
fn a_member_that_floods_over_quic_waits_and_the_others_do_not() {
    let stage = stage();
    let _alone = stage.federation.alone();
    let registry = read_registry(&stage.federation.registry()).unwrap().accept(None).unwrap();
    let keys = Keys::open(&stage.federation.path("bank-a"), b"an example passphrase").unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let outlet = &registry.member(&MemberId::parse("xyd").unwrap()).unwrap().stated;
    let question = |asked_at: Timestamp| {
        let question = Question {
            id: QuestionId(clock::random()),
            asker: MemberId::parse("bank-a").unwrap(),
            clerk: ClerkId::parse("wang").unwrap(),
            purpose: Purpose::LoanReview,
            subject: SubjectId::parse(&company(1)).unwrap(),
            wants: vec![Want { item: ItemId::parse("CF").unwrap(), fields: vec![FieldId(14)] }],
            basis: Basis::None,
            asked_at,
            deadline: asked_at.plus_ms(60_000),
            checks: Vec::new(),
        };
        Request::Ask(Signed::new(&keys.signing(), "bank-a", clock::now(), &question))
    };
    // Long over: the outlet has no work with it but to look, so that what is met is the quota and nothing else.
    let old = question(Timestamp(clock::now().0 - 600_000));
    let (lines, endpoint) = runtime.block_on(async {
        let endpoint = quic::caller().unwrap();
        let mut lines = Vec::new();
        for _ in 0..4 {
            lines
                .push(quic::connect(&endpoint, &keys.tls_seed(), &outlet.quic, &[outlet.tls]).await.unwrap());
        }
        (lines, endpoint)
    });
    let counts = Arc::new(Counts { left: AtomicU64::new(FLOOD), ..Counts::default() });
    let over = AtomicBool::new(false);
    let last: Refusal = thread::scope(|scope| {
        // Another bank at its counter, all the while.
        let others = scope.spawn(|| {
            let mut count = 0;
            while !over.load(Ordering::Relaxed) || count == 0 {
                answered(&ask(&stage.b));
                count += 1;
            }
            count
        });
        let mut senders = JoinSet::new();
        for at in 0..SENDERS {
            let (line, old) = (lines[at % lines.len()].clone(), old.clone());
            senders.spawn_on(flood(line, old, counts.clone()), runtime.handle());
        }
        let sent = runtime.block_on(async {
            tokio::time::timeout(LONG, senders.join_all()).await.expect("the quota is met")
        });
        over.store(true, Ordering::Relaxed);
        println!(
            "{} questions looked at, {} refused; {} of another bank answered meanwhile",
            counts.taken.load(Ordering::Relaxed),
            counts.refused.load(Ordering::Relaxed),
            others.join().unwrap()
        );
        sent.into_iter().flatten().max_by_key(|refusal| refusal.retry_after_ms).expect("somebody was refused")
    });
    // Told how long to wait, and after that answered.
    thread::sleep(Duration::from_millis(last.retry_after_ms.unwrap()));
    let response = runtime.block_on(quic::call(&lines[0], &question(clock::now()), FRAME_BYTES_MAX)).unwrap();
    let Response::Parts(parts) = response else { panic!("no parts") };
    let answered = |part: &Part| matches!(part.outcome, Outcome::Answered(_));
    assert!(parts.len() == 2 && parts.iter().all(answered), "{parts:?}");
    drop((lines, endpoint));
    // The other tests begin with a full bucket.
    thread::sleep(Duration::from_millis(1_000 * QUESTIONS_BURST_MAX / QUESTIONS_PER_SECOND_MAX));
    memory(&stage.federation);
}

/// Connections of a member that holds what it can.
const HOLDING: usize = 64;
/// Streams of each.
const STREAMS: usize = 256;
/// Time in which it reads at last what it is told.
const READING: Duration = Duration::from_secs(10);

#[test]
fn a_member_that_reads_nothing_and_sends_half_holds_its_share_and_no_more() {
    let stage = stage();
    let _alone = stage.federation.alone();
    // Large answers: what a mirror pulls.
    let rows = stage.federation.file("many.csv", numbered(100, 4_000));
    stage.federation.submit("sh", "office", &rows).done();
    let registry = read_registry(&stage.federation.registry()).unwrap().accept(None).unwrap();
    let keys = Keys::open(&stage.federation.path("js"), b"an example passphrase").unwrap();
    let sh = MemberId::parse("sh").unwrap();
    let peer = &registry.member(&sh).unwrap().stated;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let endpoint = runtime.block_on(async { quic::caller().unwrap() });
    let seed = keys.tls_seed();
    let known = [peer.tls];
    let line = || quic::connect(&endpoint, &seed, &peer.quic, &known);
    let pull = to_frame(&Request::Pull { owner: sh.clone(), log: LogName::Records, from: 0 });
    let alone =
        runtime.block_on(async { quic::send_frame(&line().await.unwrap(), &pull, FRAME_BYTES_MAX).await });
    let Ok(Response::Entries { entries, .. }) = alone else { panic!("{alone:?}") };
    let one: usize = entries.iter().map(|entry| entry.len()).sum();
    assert!(
        one * HOLDING * STREAMS > 2 * 1024 * MEMORY_KIB_MAX as usize,
        "{one} bytes are not enough to flood"
    );

    // Asks and reads nothing, on every stream it may open; then begins requests and does not end them.
    for (what, frame, ends) in [("reads nothing", &pull, true), ("sends half", &vec![0; 512 * 1024], false)] {
        let held = runtime.block_on(async {
            let mut held = Vec::new();
            for _ in 0..HOLDING {
                let line = line().await.unwrap();
                for _ in 0..STREAMS {
                    let (mut send, receive) = line.open_bi().await.unwrap();
                    // What does not fit into the node's window stays here.
                    let _ = tokio::time::timeout(Duration::from_millis(2), send.write_all(frame)).await;
                    if ends {
                        let _ = send.finish();
                    }
                    held.push((send, receive));
                }
            }
            held
        });
        println!("{what}: {} streams", held.len());
        // Others are answered, by the same node too.
        answered(&ask(&stage.b));
        memory(&stage.federation);
        // It is told so: of the streams that it does read at last, some say when to come again.
        let told = runtime.block_on(async {
            let mut reading = JoinSet::new();
            for (send, mut receive) in held {
                reading.spawn(async move {
                    let read = tokio::time::timeout(READING, receive.read_to_end(FRAME_BYTES_MAX)).await;
                    drop(send);
                    from_frame(&read.ok()?.ok()?, FRAME_BYTES_MAX).ok()
                });
            }
            let mut told = 0;
            for response in reading.join_all().await {
                if let Some(Response::Refused(refusal)) = response
                    && refusal.known() == Some(Code::Busy)
                {
                    assert!(refusal.retry_after_ms.is_some());
                    told += 1;
                }
            }
            told
        });
        println!("{what}: told {told} times to come again");
        assert!(told > 0, "{what}");
        // What it held is given back: it is answered as before.
        let again = until("the share is given back", LONG, || {
            let again = runtime
                .block_on(async { quic::send_frame(&line().await.ok()?, &pull, FRAME_BYTES_MAX).await.ok() });
            again.filter(|response| matches!(response, Response::Entries { .. }))
        });
        drop(again);
    }
}

#[test]
fn strangers_that_do_not_finish_their_handshakes_keep_nobody_out() {
    let stage = stage();
    let _alone = stage.federation.alone();
    let registry = read_registry(&stage.federation.registry()).unwrap().accept(None).unwrap();
    let at: SocketAddr = registry.outlet().unwrap().quic.parse().unwrap();
    // Their packets pass through here; what the node answers does not reach them.
    let pass = UdpSocket::bind("127.0.0.1:0").unwrap();
    pass.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let towards = pass.local_addr().unwrap().to_string();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let endpoint = runtime.block_on(async { quic::caller().unwrap() });
    let key = PublicKey([7; 32]);
    let mut calls = JoinSet::new();
    for _ in 0..HANDSHAKES_MAX + HANDSHAKES_UNPROVEN_MAX {
        let (endpoint, towards) = (endpoint.clone(), towards.clone());
        let call =
            async move { quic::connect(&endpoint, &Secret::new([8; 32]), &towards, &[key]).await.is_err() };
        calls.spawn_on(call, runtime.handle());
    }
    let (mut begun, mut sent_back, mut packet) = (0u64, 0u64, [0; 2_048]);
    while let Ok((length, from)) = pass.recv_from(&mut packet) {
        if from == at {
            // Long header, type Retry (RFC 9000 §17.2.5).
            sent_back += u64::from(packet[0] & 0xf0 == 0xf0);
        } else {
            pass.send_to(&packet[..length], at).unwrap();
            begun += 1;
        }
    }
    println!("{begun} packets of strangers, {sent_back} sent back for an address");
    assert!(sent_back > 0, "nobody was asked whether its address is its own");
    assert!(runtime.block_on(calls.join_all()).into_iter().all(|failed| failed));
    answered(&ask(&stage.b));
    memory(&stage.federation);
    drop(endpoint);
}

/// What became of the flood.
#[derive(Default)]
struct Counts {
    taken: AtomicU64,
    refused: AtomicU64,
    left: AtomicU64,
}

/// Sends one question again and again, until the quota was met and the flood went on for a while; the last refusal.
async fn flood(line: Connection, question: Request, counts: Arc<Counts>) -> Option<Refusal> {
    let mut last = None;
    let more = || {
        let left = counts.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        counts.refused.load(Ordering::Relaxed) == 0 || left.is_ok()
    };
    while more() {
        let refusal = quic::call(&line, &question, FRAME_BYTES_MAX).await.unwrap_err();
        match refusal.known() {
            Some(Code::QuestionExpired) => counts.taken.fetch_add(1, Ordering::Relaxed),
            Some(Code::Busy) => {
                let wait = refusal.retry_after_ms.expect("a wait is told");
                assert!((1..=60_000).contains(&wait), "{refusal:?}");
                last = Some(refusal);
                counts.refused.fetch_add(1, Ordering::Relaxed)
            }
            _ => panic!("{refusal:?}"),
        };
    }
    last
}

#[test]
fn a_system_that_floods_the_gateway_waits_and_the_others_do_not() {
    let stage = stage();
    let _alone = stage.federation.alone();
    let (base, _, body) = stage.a.clone();
    let wild = (base, stage.limited.clone(), body);
    let left = AtomicU64::new(REQUESTS);
    let (waits, count): (Vec<Duration>, u64) = thread::scope(|scope| {
        let senders: Vec<_> = (0..16)
            .map(|_| {
                scope.spawn(|| {
                    let mut waits = Vec::new();
                    while left
                        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1))
                        .is_ok()
                    {
                        let got = ask(&wild);
                        match got.status {
                            201 => answered(&got),
                            _ => waits.push(come_again(&got, 429, "quota.exceeded")),
                        }
                    }
                    waits
                })
            })
            .collect();
        // Another system of the same bank meanwhile.
        let mut count = 0;
        while senders.iter().any(|sender| !sender.is_finished()) || count == 0 {
            answered(&ask(&stage.a));
            count += 1;
        }
        (senders.into_iter().flat_map(|sender| sender.join().unwrap()).collect(), count)
    });
    println!("{} of {REQUESTS} refused; {count} of another system answered meanwhile", waits.len());
    assert!(!waits.is_empty(), "nobody was refused");
    let last = come_again_or_answered(&wild);
    thread::sleep(last);
    answered(&ask(&wild));
    memory(&stage.federation);
}

/// The wait that a key is told; none when time has passed and it is answered.
fn come_again_or_answered(system: &(String, String, String)) -> Duration {
    loop {
        let got = ask(system);
        if got.status != 201 {
            return come_again(&got, 429, "quota.exceeded");
        }
    }
}

#[test]
fn a_gateway_that_is_full_says_so_and_when_to_come_again() {
    let stage = stage();
    let _alone = stage.federation.alone();
    let (base, key, _) = &stage.a;
    let address = base.strip_prefix("http://").unwrap();
    let open = |head: &str| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        write!(
            stream,
            "{head} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
        )
        .unwrap();
        stream
    };
    // Opens more at once than there are places, until a request that needs a place and no time finds none.
    let fill = |head: &str, rest: &str, count: usize, look: &dyn Fn() -> Got| {
        until("there is no place left", LONG, || {
            let held: Vec<TcpStream> = (0..count)
                .map(|_| {
                    let mut stream = open(head);
                    write!(stream, "{rest}\r\n").unwrap();
                    stream
                })
                .collect();
            // Those opened arrive one after the other; they are over after ten seconds.
            let end = Instant::now() + Duration::from_secs(5);
            let full = std::iter::from_fn(|| (Instant::now() < end).then(look)).find(|got| got.status != 200);
            full.map(|got| (held, got))
        })
    };
    let auth = format!("Bearer {key}");
    let get = |path: &str| http::get(&format!("{base}{path}"), Some(&auth)).unwrap();

    // As many requests as are worked on at once, whose bodies do not come, and a few more.
    let (idle, full) = fill("POST /v1/queries", "Content-Length: 100\r\n", REQUESTS_MAX + 20, &|| {
        get("/v1/queries?limit=1")
    });
    come_again(&full, 503, "node.busy");
    // It still says that it is there, and another bank is not concerned.
    assert_eq!(get("/v1/health").status, 200);
    answered(&ask(&stage.b));
    // Whoever does not send is not waited for, and told so; the few more were told at once that there is no place.
    let (mut over, mut busy) = (0, 0);
    for mut stream in idle {
        let mut text = String::new();
        let mut part = [0; 4_096];
        while !text.contains("request_id") {
            let read = stream.read(&mut part).unwrap();
            assert!(read > 0, "{text}");
            text.push_str(std::str::from_utf8(&part[..read]).unwrap());
        }
        let is = |status: &str, code: &str| {
            u64::from(text.starts_with(&format!("HTTP/1.1 {status} ")) && text.contains(code))
        };
        let now = (is("408", "request.timeout"), is("503", "node.busy"));
        assert_eq!(now.0 + now.1, 1, "{text}");
        (over, busy) = (over + now.0, busy + now.1);
    }
    println!("{over} requests did not arrive in time, {busy} found no place");
    assert!(over > 0 && over <= REQUESTS_MAX as u64);
    answered(&ask(&stage.a));

    // As many as may wait for events, and a few more: questions are answered all the same.
    let newest: Value = serde_json::from_slice(&get("/v1/events?limit=100").body).unwrap();
    let events = format!("/v1/events?after={}", newest["next"]);
    let (waiting, full) =
        fill(&format!("GET {events}&wait=30"), "", STREAMS_MAX + 10, &|| get(&format!("{events}&wait=1")));
    come_again(&full, 503, "node.busy");
    answered(&ask(&stage.a));
    drop(waiting);
    memory(&stage.federation);
}
