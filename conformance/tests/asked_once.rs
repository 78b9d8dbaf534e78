//! A question, and a node killed or late while it carries it out: asked again, it is the same question. It has one answer,
//! and every log has one line about it.
//!
//! Each of bank, outlet and authority is killed after every single change on its disk that the question brings about, so
//! also between the commit of its line and its reply. The kills come from `fault/fault.c`.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test; what fails here fails the test")]

mod common;

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use common::{
    Federation, fault_library,
    federation::{Cast, FIVE, free},
    http::{self, Got},
    rows::{company, numbered},
    until,
};
use credit::{
    catalog::Purpose,
    entry::{Entry, Fact},
    id::{ClerkId, FieldId, ItemId, MemberId, QuestionId},
    question::{Basis, Question, Want},
    subject::SubjectId,
};
use crypto::{Digest, codec, sign::Signed};
use exchange::{
    answer::{self, OpenedAnswer},
    artifact::Artifact,
    limits::FRAME_BYTES_MAX,
    registry::Registry,
    wire::{Outcome, Request, Response},
};
use ledger::{log, tree::LeafIndex};
use node::{clock, home::read_registry, keys::Keys, quic, store::DiskStore};
use serde_json::{Value, json};

/// Two regions, the outlet and a bank.
fn cast() -> [Cast; 4] {
    std::array::from_fn(|at| FIVE[at])
}

/// Time for a question that meets a kill: the nodes come back within seconds.
const DEADLINE_MS: u64 = 60_000;
/// Changes on a disk that a question brings about are fewer; a node that still dies after so many is killed by something else.
const CHANGES_MAX: u64 = 60;

/// A running federation, of which one node at a time is to be killed.
struct Stage {
    federation: Federation,
    grant: String,
}

/// What the kills of one node came to.
#[derive(Debug, Default)]
struct Kills {
    /// The node was killed.
    all: u64,
    /// Its line was written by then, and its reply had not left.
    between: u64,
}

impl Stage {
    fn start(gateway: Option<&str>) -> Self {
        let federation = Federation::found(&cast());
        if let Some(listen) = gateway {
            federation.at("bank-a", &["gateway", "enable", "--listen", listen]).done();
        }
        for member in cast() {
            federation.spawn(member.id);
        }
        for member in cast() {
            federation.ready(member.id);
        }
        federation.source("sh", "office");
        let rows = federation.file("rows.csv", numbered(1, 4));
        federation.submit("sh", "office", &rows).done();
        let grant = federation.grant("grant", &company(1), "bank-a", &["--uses", "1000"]);
        Self { federation, grant }
    }

    /// Starts the node again; its `at`-th change once [`Stage::armed`] is there will be its last.
    fn start_to_die(&self, member: &str, at: u64) {
        let (dir, armed, at) = (self.federation.text(member), self.armed(member), at.to_string());
        let env = [
            ("LD_PRELOAD", fault_library().to_str().unwrap()),
            ("FAULT_DIR", &dir),
            ("FAULT_FROM", &armed),
            ("FAULT_AT", &at),
            ("FAULT_KIND", "kill-after"),
        ];
        self.federation.spawn_with(member, &[], &env);
        self.federation.ready(member);
    }

    /// The file from whose making on the changes of a node are counted.
    fn armed(&self, member: &str) -> String {
        self.federation.text(&format!("{member}.armed"))
    }

    /// Facts of a member's access log; its node is down.
    fn accesses(&self, member: &str) -> Vec<Fact> {
        let store = DiskStore::open(&self.federation.path(member).join("data")).unwrap();
        let size = log::size(&store, "access").unwrap().0;
        let entries = log::entries(&store, "access", LeafIndex(0), size as usize).unwrap();
        entries.iter().map(|bytes| Entry::from_bytes(bytes).unwrap().fact).collect()
    }

    /// Asks with `ask` while `member` dies after every change in turn, until it survives. `ask` must come back with an
    /// answer once the node is there again; what it gives is handed to `check`. What `prepare` does is done before.
    fn kill_after_every_change<T: Send>(
        &self,
        member: &str,
        prepare: impl Fn(u64),
        ask: impl Fn(u64) -> Option<T> + Sync,
        mut check: impl FnMut(u64, Option<T>),
    ) -> Kills {
        let mut kills = Kills::default();
        for at in 1.. {
            assert!(at < CHANGES_MAX, "`{member}` dies again and again");
            prepare(at);
            // What is written from here on is the question's.
            self.federation.settle(member);
            self.federation.kill(member);
            self.start_to_die(member, at);
            self.federation.settle(member);
            let before = self.federation.sizes(member)[2];
            fs::write(self.armed(member), "").unwrap();
            let (answer, died) = thread::scope(|scope| {
                let asking = scope.spawn(|| ask(at));
                let end = Instant::now() + Duration::from_millis(DEADLINE_MS);
                while !asking.is_finished() && !self.federation.is_down(member) && Instant::now() < end {
                    thread::sleep(Duration::from_millis(2));
                }
                // The last change may come after the answer: from here on none is counted, and one that was is over soon.
                let _ = fs::remove_file(self.armed(member));
                thread::sleep(OVER);
                let died = self.federation.is_down(member);
                if died {
                    assert_eq!(self.federation.ended(member), None, "`{member}` ended in another way");
                    kills.all += 1;
                    kills.between += u64::from(self.accesses(member).len() as u64 > before);
                    self.federation.spawn(member);
                    self.federation.ready(member);
                }
                (asking.join().unwrap(), died)
            });
            check(at, answer);
            if !died {
                break;
            }
        }
        println!("`{member}`: killed {} times, {} of them between line and reply", kills.all, kills.between);
        assert!(kills.between > 0, "no kill fell between line and reply");
        kills
    }

    /// Lines about each question in the access log of every member, once all nodes have stopped.
    fn lines(&self) -> BTreeMap<(&'static str, Digest), Vec<Fact>> {
        let mut lines: BTreeMap<_, Vec<Fact>> = BTreeMap::new();
        for member in cast() {
            self.federation.stop(member.id);
            for fact in self.accesses(member.id) {
                let question = match &fact {
                    Fact::Asked(asked) => asked.question,
                    Fact::Relayed(relayed) => relayed.question,
                    Fact::Disclosed(disclosed) => disclosed.asked.question,
                    Fact::Refused(refused) => refused.asked.question,
                    Fact::Received(received) => received.question,
                    _ => continue,
                };
                lines.entry((member.id, question)).or_default().push(fact);
            }
            let report = self.federation.unlocked(&["node", "fsck"], member.id).done().json();
            assert_eq!(report["broken"], 0, "{}: {report:#}", member.id);
        }
        lines
    }
}

/// A system of the bank, with its key to the gateway.
struct System<'a> {
    stage: &'a Stage,
    url: String,
    key: String,
}

impl<'a> System<'a> {
    fn of(stage: &'a Stage, listen: &str) -> Self {
        let made = stage.federation.at("bank-a", &["gateway", "key", "add", "--name", "loans"]).done().json();
        Self {
            stage,
            url: format!("http://{listen}/v1/queries"),
            key: made["key"].as_str().unwrap().to_owned(),
        }
    }

    /// The grant of one use under which the question with this idempotency key is asked.
    fn grant(&self, once: &str) -> PathBuf {
        let name = format!("{once}.grant");
        let grant = self.stage.federation.path(&name);
        if !grant.exists() {
            self.stage.federation.grant(&name, &company(1), "bank-a", &["--uses", "1"]);
        }
        grant
    }

    /// Asks under the idempotency key `once`, on a grant of one use that this key has for itself.
    fn ask(&self, once: &str, deadline_ms: u64) -> Option<Got> {
        let grant = self.grant(once);
        let body = json!({
            "purpose": "pre-loan", "clerk": "wang", "grant": base64(&fs::read(&grant).unwrap()),
            "deadline_ms": deadline_ms,
        })
        .to_string();
        let headers = format!(
            "Authorization: Bearer {}\r\nContent-Type: application/json\r\nIdempotency-Key: {once}\r\n",
            self.key
        );
        http::send_patiently("POST", &self.url, &headers, &body)
    }
}

/// What was answered.
fn answered(got: &Got) -> Value {
    let value = serde_json::from_slice(&got.body).unwrap();
    assert_eq!(got.status, 201, "{value}");
    value
}

/// A process that is to end at a change it makes now has ended by then.
const OVER: Duration = Duration::from_millis(300);

#[test]
fn a_system_that_asks_again_after_a_crash_gets_one_answer_and_every_log_one_line() {
    let listen = free();
    let stage = Stage::start(Some(&listen));
    let system = System::of(&stage, &listen);
    // A grant of one use for every question: what is lost cannot be asked anew.
    let ask = |once: &str| system.ask(once, DEADLINE_MS);
    // Question and what the answering members made of it, of every kill.
    let mut answers: Vec<Value> = Vec::new();
    for victim in ["bank-a", "xyd", "sh"] {
        stage.kill_after_every_change(
            victim,
            |at| drop(system.grant(&format!("{victim}-{at}"))),
            |at| ask(&format!("{victim}-{at}")),
            |at, first| {
                // Whatever became of the first try, the second gets the answer, and the third the same.
                let once = format!("{victim}-{at}");
                let second = until("an answer", Duration::from_millis(2 * DEADLINE_MS), || {
                    let got = ask(&once);
                    let away = got.as_ref().is_none_or(|got| got.status == 503);
                    // As it was told to: not at once.
                    thread::sleep(Duration::from_millis(if away { 1_000 } else { 0 }));
                    got.filter(|_| !away)
                });
                let answer = answered(&second);
                // One that was not complete has been completed; one that was is the answer.
                if let Some(first) = first.filter(|got| got.status != 503).map(|got| answered(&got))
                    && first["complete"] == true
                {
                    assert_eq!(first, answer, "{once}");
                }
                assert_eq!(answered(&ask(&once).unwrap()), answer, "{once}");
                answers.push(answer);
            },
        );
    }
    let lines = stage.lines();
    for answer in &answers {
        let question = Digest::parse(answer["question"].as_str().unwrap()).unwrap();
        let of = |member: &'static str| lines.get(&(member, question)).map_or(&[][..], Vec::as_slice);
        assert_eq!(of("xyd").len(), 1, "the outlet's line: {answer:#}");
        let asked = of("bank-a").iter().filter(|fact| matches!(fact, Fact::Asked(_))).count();
        assert_eq!(asked, 1, "{answer:#}");
        let members = answer["members"].as_array().unwrap();
        for member in ["sh", "js"] {
            let said = members.iter().find(|m| m["member"] == member).unwrap();
            let received = |fact: &&Fact| matches!(fact, Fact::Received(r) if r.from.as_str() == member);
            let received = of("bank-a").iter().filter(received).count();
            match said["receipt"].is_object() {
                // One line where it was decided, one where it was received.
                true => assert_eq!((of(member).len(), received), (1, 1), "{member}: {answer:#}"),
                false => panic!("`{member}` was away for seconds, and its answer is lost: {answer:#}"),
            }
        }
        assert_eq!(answer["complete"], true, "{answer:#}");
    }
    println!("{} questions on grants of one use, each answered by every member", answers.len());
}

#[test]
fn a_node_that_stands_still_delays_an_answer_until_the_deadline_and_no_longer() {
    let listen = free();
    let stage = Stage::start(Some(&listen));
    let system = System::of(&stage, &listen);
    let signal = |member: &str, signal: &str| stage.federation.signal(member, signal);
    let of = |answer: &Value, member: &str| -> Value {
        answer["members"].as_array().unwrap().iter().find(|m| m["member"] == member).unwrap().clone()
    };

    // The outlet stands still and goes on before the deadline: the answer comes, once.
    signal("xyd", "STOP");
    let late = thread::scope(|scope| {
        let asking = scope.spawn(|| system.ask("late-outlet", DEADLINE_MS));
        thread::sleep(Duration::from_secs(3));
        assert!(!asking.is_finished());
        signal("xyd", "CONT");
        answered(&asking.join().unwrap().unwrap())
    });
    assert_eq!(late["complete"], true, "{late:#}");

    // It stands still until after the deadline: the bank is told, and nobody has decided anything since.
    signal("xyd", "STOP");
    let away = system.ask("no-outlet", 2_000).unwrap();
    signal("xyd", "CONT");
    let problem: Value = serde_json::from_slice(&away.body).unwrap();
    assert_eq!((away.status, &problem["code"]), (503, &"peer.unreachable".into()), "{problem:#}");
    assert!(away.header("retry-after").is_some());
    let over = until("the outlet's word", Duration::from_millis(DEADLINE_MS), || {
        system.ask("no-outlet", 2_000).filter(|got| got.status != 503)
    });
    let over: Value = serde_json::from_slice(&over.body).unwrap();
    assert_eq!(over["code"], "question.expired", "{over:#}");

    // A member stands still until after the deadline: the others' answers are there in time, and stay the answer.
    signal("sh", "STOP");
    let first = answered(&system.ask("late-member", 3_000).unwrap());
    // What is left of the time is less.
    thread::sleep(Duration::from_secs(1));
    signal("sh", "CONT");
    assert_eq!(first["complete"], false, "{first:#}");
    assert!(of(&first, "js")["receipt"].is_object(), "{first:#}");
    assert!(!of(&first, "sh")["receipt"].is_object(), "{first:#}");
    stage.federation.ready("sh");
    let again = until("the member's word", Duration::from_millis(DEADLINE_MS), || {
        let again = answered(&system.ask("late-member", 3_000)?);
        (of(&again, "sh")["refusal"]["code"] == "question.expired").then_some(again)
    });
    assert_eq!((&again["complete"], of(&again, "js")), (&false.into(), of(&first, "js")), "{again:#}");

    let lines = stage.lines();
    let count = |member, answer: &Value| {
        let question = Digest::parse(answer["question"].as_str().unwrap()).unwrap();
        lines.get(&(member, question)).map_or(0, Vec::len)
    };
    assert_eq!(["xyd", "sh", "js"].map(|member| count(member, &late)), [1, 1, 1]);
    assert_eq!(count("js", &again), 1);
}

#[test]
fn a_question_sent_again_over_quic_after_a_crash_is_one_access() {
    let stage = Stage::start(None);
    let registry: Registry = read_registry(&stage.federation.registry()).unwrap().accept(None).unwrap();
    let keys = Keys::open(&stage.federation.path("bank-a"), b"an example passphrase").unwrap();
    let Artifact::Grant(grant) = codec::from_slice(&fs::read(&stage.grant).unwrap()).unwrap() else {
        panic!("no grant");
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let question = || {
        let now = clock::now();
        let question = Question {
            id: QuestionId(clock::random()),
            asker: MemberId::parse("bank-a").unwrap(),
            clerk: ClerkId::parse("wang").unwrap(),
            purpose: Purpose::LoanReview,
            subject: SubjectId::parse(&company(1)).unwrap(),
            wants: vec![Want { item: ItemId::parse("CF").unwrap(), fields: vec![FieldId(14), FieldId(19)] }],
            basis: Basis::Grant(grant.clone()),
            asked_at: now,
            deadline: now.plus_ms(DEADLINE_MS),
            checks: Vec::new(),
        };
        Signed::new(&keys.signing(), "bank-a", now, &question)
    };
    // A connection of its own for every try, as a bank that has lost its node would have.
    let ask = |signed: &Signed<Question>| -> Option<BTreeMap<MemberId, OpenedAnswer>> {
        let outlet = &registry.member(&MemberId::parse("xyd").unwrap()).unwrap().stated;
        let response = runtime.block_on(async {
            let endpoint = quic::caller().ok()?;
            let line = quic::connect(&endpoint, &keys.tls_seed(), &outlet.quic, &[outlet.tls]).await.ok()?;
            let request = Request::Ask(signed.clone());
            let call = quic::call(&line, &request, FRAME_BYTES_MAX);
            tokio::time::timeout(Duration::from_secs(5), call).await.ok()?.ok()
        });
        let Response::Parts(parts) = response? else { panic!("the outlet's parts were expected") };
        let verified = registry.verify(signed).unwrap();
        let open = |answer| answer::open_any(&registry, &verified, keys.opening(), answer).unwrap();
        let answered = parts.iter().filter_map(|part| match &part.outcome {
            Outcome::Answered(answer) => Some((part.member.clone(), open(answer))),
            _ => None,
        });
        Some(answered.collect())
    };
    let mut asked = Vec::new();
    for victim in ["xyd", "sh"] {
        let questions: Vec<Signed<Question>> = Vec::new();
        let questions = Mutex::new(questions);
        stage.kill_after_every_change(
            victim,
            |_| (),
            |_| {
                let signed = question();
                questions.lock().unwrap().push(signed.clone());
                ask(&signed)
            },
            |at, first| {
                let signed = questions.lock().unwrap().last().unwrap().clone();
                let all = until("every member's answer", Duration::from_millis(DEADLINE_MS), || {
                    ask(&signed).filter(|answers| answers.len() == 2)
                });
                for (member, answer) in first.into_iter().flatten() {
                    assert_eq!(all[&member], answer, "{victim} {at}: {member}");
                }
                let sh = &all[&MemberId::parse("sh").unwrap()];
                assert_eq!((sh.records.len(), sh.refused), (1, false));
                asked.push(signed.digest());
            },
        );
    }
    let lines = stage.lines();
    for question in asked {
        for member in ["xyd", "sh", "js"] {
            assert_eq!(lines[&(member, question)].len(), 1, "{member}");
        }
    }
}

fn base64(bytes: &[u8]) -> String {
    base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes)
}
