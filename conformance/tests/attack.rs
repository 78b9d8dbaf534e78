//! Attacks over the wire, on a running federation of processes: strangers, broken frames, members that overstep, stolen
//! and stale questions, forged grants and notices, crashes, crowds, and a search for values in clear.
//!
//! The attacker speaks with the node's own transport and holds the real keys of the members it impersonates: what is
//! refused here is refused to a member that has turned, not only to an outsider.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test; what fails here fails the test")]

mod common;

use std::{
    collections::BTreeMap,
    fs,
    sync::{Mutex, OnceLock},
    time::Duration,
};

use common::{
    Federation, command, contains,
    federation::FIVE,
    files, finish_within, http,
    rows::{Penalty, company, file, numbered},
    run, until,
};
use conformance::oracle;
use credit::{
    catalog::Purpose,
    entry::{Changed, Entry, Fact, StatusFact},
    grant::Grant,
    id::{CaseId, ClerkId, FieldId, ItemId, MemberId, QuestionId, RecordId},
    question::{Basis, Question, Want},
    repair::{Application, Matter},
    status::Change,
    subject::SubjectId,
};
use crypto::{Digest, Timestamp, codec, secret::Secret, sign::Signed};
use exchange::{
    answer,
    answer::OpenedAnswer,
    artifact::Artifact,
    limits::{APPLICATIONS_BURST_MAX, FRAME_BYTES_MAX},
    logs::LogName,
    receipt::Receipt,
    refusal::{Code, Refusal},
    registry::Registry,
    wire::{Operation, Request, Response, from_frame, to_frame},
};
use ledger::{checkpoint::Checkpoint, tree::TreeSize};
use node::{client::Client, clock, home::read_registry, keys::Keys, quic};
use quinn::Connection;
use tokio::runtime::Runtime;

/// The company, the name and the document number that may stand nowhere in clear.
const CANARY: u64 = 77;

/// Everything the tests share.
struct Stage {
    federation: Federation,
    registry: Registry,
    runtime: Runtime,
    keys: Mutex<BTreeMap<&'static str, &'static Keys>>,
}

fn stage() -> &'static Stage {
    static SHARED: OnceLock<Stage> = OnceLock::new();
    SHARED.get_or_init(|| {
        let federation = Federation::start(&FIVE);
        federation.source("sh", "office");
        let rows = federation.file("rows.csv", numbered(1, 9));
        federation.submit("sh", "office", &rows).done();
        let registry = read_registry(&federation.registry()).unwrap().accept(None).unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        Stage { federation, registry, runtime, keys: Mutex::default() }
    })
}

impl Stage {
    /// The secrets of a member.
    fn keys(&self, member: &'static str) -> &'static Keys {
        let mut keys = self.keys.lock().unwrap();
        keys.entry(member).or_insert_with(|| {
            let opened = Keys::open(&self.federation.path(member), b"an example passphrase").unwrap();
            Box::leak(Box::new(opened))
        })
    }

    /// A connection to `to` under this transport identity.
    fn connect(&self, seed: &Secret, to: &str) -> Connection {
        let peer = &self.registry.member(&MemberId::parse(to).unwrap()).unwrap().stated;
        self.runtime
            .block_on(async { quic::connect(&quic::caller().unwrap(), seed, &peer.quic, &[peer.tls]).await })
            .unwrap()
    }

    /// A connection from one member to another.
    fn line(&self, from: &'static str, to: &str) -> Connection {
        self.connect(&self.keys(from).tls_seed(), to)
    }

    fn call(&self, line: &Connection, request: &Request) -> Result<Response, Refusal> {
        self.runtime.block_on(quic::call(line, request, FRAME_BYTES_MAX))
    }

    fn send(&self, line: &Connection, frame: &[u8]) -> Result<Response, Refusal> {
        self.runtime.block_on(quic::send_frame(line, frame, FRAME_BYTES_MAX))
    }

    fn ask(&self, line: &Connection, question: &Signed<Question>) -> Result<Response, Refusal> {
        self.call(line, &Request::Ask(question.clone()))
    }

    /// What the bank reads in an answer.
    #[track_caller]
    fn open(
        &self,
        bank: &'static str,
        question: &Signed<Question>,
        answer: Result<Response, Refusal>,
    ) -> OpenedAnswer {
        let Response::Answer(answer) = answer.unwrap() else { panic!("no answer") };
        let verified = self.registry.verify(question).unwrap();
        answer::open_any(&self.registry, &verified, self.keys(bank).opening(), &answer).unwrap()
    }

    /// The `n`-th company asked about by bank-a with a sound grant.
    fn question(&self, n: u64) -> Question {
        Question { basis: Basis::Grant(self.grant(n, |_| {})), ..question(n) }
    }

    /// A grant signed by `js` about the `n`-th company, with one thing changed.
    fn grant(&self, n: u64, change: impl FnOnce(&mut Grant)) -> Signed<Grant> {
        let now = clock::now();
        let mut grant = Grant {
            id: credit::id::GrantId(clock::random()),
            collector: id("js"),
            subject: subject(n),
            grantee: id("bank-a"),
            purposes: vec![Purpose::LoanReview],
            scope: vec![credit::grant::Scope { item: cf(), fields: Vec::new() }],
            not_before: Timestamp(now.0 - 10_000),
            not_after: now.plus_ms(600_000),
            uses_max: 1_000,
            keep_days: 30,
            period: None,
            letter: Some(Digest::of(b"a letter")),
            binding: None,
        };
        change(&mut grant);
        Signed::new(&self.keys("js").signing(), "js", now, &grant)
    }

    fn sign(&self, by: &'static str, question: &Question) -> Signed<Question> {
        Signed::new(&self.keys(by).signing(), by, clock::now(), question)
    }

    /// bank-a's own question reaches sh through the outlet and is answered: the node serves.
    #[track_caller]
    fn still_serves(&self) {
        let asked = self.sign("bank-a", &self.question(1));
        let answer = self.ask(&self.line("xyd", "sh"), &asked);
        assert_eq!(self.open("bank-a", &asked, answer).records.len(), 1);
    }
}

fn id(text: &str) -> MemberId {
    MemberId::parse(text).unwrap()
}

fn cf() -> ItemId {
    ItemId::parse("CF").unwrap()
}

fn subject(n: u64) -> SubjectId {
    SubjectId::parse(&company(n)).unwrap()
}

/// bank-a asks for document number and content of penalties, without a basis.
fn question(n: u64) -> Question {
    let now = clock::now();
    Question {
        id: QuestionId(clock::random()),
        asker: id("bank-a"),
        clerk: ClerkId::parse("clerk-1").unwrap(),
        purpose: Purpose::LoanReview,
        subject: subject(n),
        wants: vec![Want { item: cf(), fields: vec![FieldId(14), FieldId(19)] }],
        basis: Basis::None,
        asked_at: now,
        deadline: now.plus_ms(60_000),
        checks: Vec::new(),
    }
}

#[track_caller]
fn refused(outcome: Result<Response, Refusal>, code: &str) {
    match outcome {
        Err(refusal) => assert_eq!(refusal.code, code, "{refusal:?}"),
        Ok(response) => panic!("`{code}` was expected: {response:?}"),
    }
}

#[test]
fn a_stranger_is_shown_the_door() {
    let stage = stage();
    let _beside = stage.federation.beside();
    for _ in 0..3 {
        let line = stage.connect(&Secret::new(clock::random()), "sh");
        assert!(stage.call(&line, &Request::Registry).is_err());
        let why = stage.runtime.block_on(line.closed()).to_string();
        assert!(why.contains("member.unknown"), "{why}");
    }
    // The keys of a member open nothing as operator, and the operator's key of one node nothing at another.
    let line = stage.connect(&stage.keys("js").operator_seed(), "sh");
    assert!(stage.call(&line, &Request::Operate(Operation::Status)).is_err());
    // Who answers under another key is not spoken to.
    let (js, sh) = (
        &stage.registry.member(&id("js")).unwrap().stated,
        &stage.registry.member(&id("sh")).unwrap().stated,
    );
    let seed = stage.keys("bank-a").tls_seed();
    let wrong = stage
        .runtime
        .block_on(async { quic::connect(&quic::caller().unwrap(), &seed, &sh.quic, &[js.tls]).await });
    assert!(wrong.is_err());
    stage.still_serves();
}

#[test]
fn frames_that_are_none_get_their_code_and_the_node_goes_on() {
    let stage = stage();
    let _beside = stage.federation.beside();
    let line = stage.line("js", "sh");
    let sound = to_frame(&Request::Registry);
    assert!(matches!(stage.send(&line, &sound), Ok(Response::Registry(_))));
    let mut long_integer = sound.clone();
    let at = long_integer.iter().rposition(|b| *b == 4).unwrap();
    long_integer.splice(at..=at, [0x18, 0x04]);
    let mut other_version = sound.clone();
    other_version[0] = 2;
    let cases: [(&str, Vec<u8>); 9] = [
        ("an empty frame", vec![]),
        ("a version alone", vec![1]),
        ("another version", other_version),
        ("an integer in long form", long_integer),
        ("a trailing byte", [&sound[..], &[0]].concat()),
        ("a cut frame", sound[..sound.len() - 1].to_vec()),
        ("an unknown request", vec![1, 0x82, 0x18, 0x63, 0x80]),
        ("an array of indefinite length", vec![1, 0x9f, 0x04, 0xff]),
        ("an array that claims 2^60 things", [&[1, 0x9b, 0x10][..], &[0; 7]].concat()),
    ];
    for (what, frame) in cases {
        match stage.send(&line, &frame) {
            Err(refusal) => assert_eq!(refusal.code, "frame.malformed", "{what}: {refusal:?}"),
            Ok(response) => panic!("{what} was answered: {response:?}"),
        }
    }
    for depth in [1_000, 100_000] {
        refused(stage.send(&line, &[&[1][..], &vec![0x81; depth]].concat()), "frame.malformed");
    }
    refused(stage.send(&line, &vec![1; FRAME_BYTES_MAX + 1]), "frame.too-long");
    refused(stage.send(&line, &vec![1; 4 * FRAME_BYTES_MAX]), "frame.too-long");
    // Noise: sound frames with bytes replaced by a fixed generator.
    let asked = to_frame(&Request::Ask(stage.sign("bank-a", &stage.question(1))));
    let mut noise = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..150 {
        let mut frame = asked.clone();
        for _ in 0..4 {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = (noise >> 33) as usize % frame.len();
            frame[at] = frame[at].wrapping_add((noise >> 24) as u8 | 1);
        }
        assert!(stage.send(&line, &frame).is_err());
    }
    stage.still_serves();
}

#[test]
fn a_member_cannot_operate_another_node_nor_read_what_it_keeps_no_copy_of() {
    let stage = stage();
    let _beside = stage.federation.beside();
    for from in ["js", "bank-a", "xyd"] {
        let line = stage.line(from, "sh");
        for operation in
            [Operation::Status, Operation::Stop, Operation::SubjectAccess(subject(1), None), Operation::Cases]
        {
            refused(stage.call(&line, &Request::Operate(operation)), "caller.not-allowed");
        }
    }
    let pull = |owner: &str, log, from| Request::Pull { owner: id(owner), log, from };
    let bank = stage.line("bank-a", "sh");
    for log in [LogName::Records, LogName::Access] {
        refused(stage.call(&bank, &pull("sh", log, 0)), "caller.not-allowed");
    }
    refused(stage.call(&bank, &pull("js", LogName::Status, 0)), "caller.not-allowed");
    assert!(stage.call(&bank, &pull("sh", LogName::Status, u64::MAX)).is_ok());
    stage.still_serves();
}

#[test]
fn an_application_comes_from_a_platform_and_takes_no_other_case_s_place() {
    let stage = stage();
    let _beside = stage.federation.beside();
    let signed = |from: &'static str, record: RecordId, case: CaseId| {
        let application = Application {
            case,
            record,
            authority: id("sh"),
            counter: id(from),
            materials: Vec::new(),
            applied_at: clock::now(),
            clerk: None,
            matter: Matter::Repair,
        };
        Request::Apply(Signed::new(&stage.keys(from).signing(), from, clock::now(), &application))
    };
    let apply = |from: &'static str, record: RecordId, case: CaseId| {
        stage.call(&stage.line(from, "sh"), &signed(from, record, case))
    };
    let records: Vec<RecordId> = [1, 2]
        .into_iter()
        .map(|n| {
            let asked = stage.sign("bank-a", &stage.question(n));
            let answer = stage.ask(&stage.line("xyd", "sh"), &asked);
            stage.open("bank-a", &asked, answer).records[0].record
        })
        .collect();
    refused(apply("bank-a", records[0], CaseId([1; 16])), "caller.not-allowed");
    assert_eq!(apply("js", records[0], CaseId([2; 16])), Ok(Response::Case(CaseId([2; 16]))));
    refused(apply("js", records[1], CaseId([2; 16])), "case.denied");
    // One that has run wild is told when to come again, also of what is refused for itself; the others are heard.
    let (line, application) = (stage.line("bank-b", "sh"), signed("bank-b", records[0], CaseId([3; 16])));
    let refusals = (0..2 * APPLICATIONS_BURST_MAX).map(|_| stage.call(&line, &application).unwrap_err());
    let busy =
        refusals.skip(APPLICATIONS_BURST_MAX as usize).find(|refusal| refusal.known() == Some(Code::Busy));
    assert!(busy.unwrap().retry_after_ms.is_some());
    assert_eq!(apply("js", records[0], CaseId([2; 16])), Ok(Response::Case(CaseId([2; 16]))));
}

#[test]
fn a_question_counts_only_from_its_asker_through_the_outlet() {
    let stage = stage();
    let _beside = stage.federation.beside();
    let asked = stage.sign("bank-a", &stage.question(1));
    // bank-b has caught bank-a's question.
    refused(stage.ask(&stage.line("bank-b", "xyd"), &asked), "caller.not-allowed");
    refused(stage.ask(&stage.line("bank-b", "sh"), &asked), "caller.not-allowed");
    // js passes it on as if it were the outlet; bank-a goes past the outlet.
    refused(stage.ask(&stage.line("js", "sh"), &asked), "caller.not-allowed");
    refused(stage.ask(&stage.line("bank-a", "sh"), &asked), "caller.not-allowed");
    // Signed by another key, under the own name or the asker's.
    let outlet = stage.line("xyd", "sh");
    let question = stage.question(1);
    let forged = Signed::new(&stage.keys("bank-b").signing(), "bank-a", clock::now(), &question);
    refused(stage.ask(&outlet, &forged), "signature.invalid");
    let own_name = Signed::new(&stage.keys("bank-b").signing(), "bank-b", clock::now(), &question);
    refused(stage.ask(&outlet, &own_name), "caller.not-allowed");
    let nobody = Signed::new(&stage.keys("bank-b").signing(), "nobody", clock::now(), &question);
    refused(stage.ask(&outlet, &nobody), "member.unknown");
    let mut bytes = asked.as_bytes().to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    refused(stage.ask(&outlet, &Signed::parse(&bytes).unwrap()), "signature.invalid");
    // A bank is no outlet, and answers nothing.
    refused(stage.ask(&stage.line("xyd", "bank-b"), &asked), "caller.not-allowed");
}

#[test]
fn the_same_question_twice_is_one_access_and_another_under_its_id_is_refused() {
    let stage = stage();
    let _alone = stage.federation.alone();
    let outlet = stage.line("xyd", "sh");
    let accesses = || {
        let client = Client::open(std::path::Path::new(&stage.federation.text("sh"))).unwrap();
        match stage.runtime.block_on(client.operate(Operation::SubjectAccess(subject(2), None))).unwrap() {
            Response::SubjectAccess(list) => stage.registry.verify(&list).unwrap().get().count,
            other => panic!("{other:?}"),
        }
    };
    let (before, lines) = (accesses(), stage.federation.sizes("sh")[2]);
    let question = stage.question(2);
    let asked = stage.sign("bank-a", &question);
    let first = stage.open("bank-a", &asked, stage.ask(&outlet, &asked));
    let again = stage.open("bank-a", &asked, stage.ask(&outlet, &asked));
    assert_eq!((&first, first.records.len()), (&again, 1));
    assert_eq!(accesses(), before + 1);
    // Twenty at once.
    let many: Vec<_> = (0..20)
        .map(|_| {
            let (outlet, asked) = (outlet.clone(), asked.clone());
            stage
                .runtime
                .spawn(async move { quic::call(&outlet, &Request::Ask(asked), FRAME_BYTES_MAX).await })
        })
        .collect();
    for one in many {
        let answer = stage.runtime.block_on(one).unwrap();
        assert_eq!(stage.open("bank-a", &asked, answer), first);
    }
    assert_eq!(accesses(), before + 1);
    let other = Question { id: question.id, ..stage.question(3) };
    refused(stage.ask(&outlet, &stage.sign("bank-a", &other)), "question.reused");
    let in_time = Question { deadline: clock::now().plus_ms(700), ..stage.question(2) };
    let in_time = stage.sign("bank-a", &in_time);
    let told = stage.open("bank-a", &in_time, stage.ask(&outlet, &in_time));
    assert_eq!(told.records.len(), 1);
    let too_late = Question { deadline: clock::now().plus_ms(700), ..stage.question(2) };
    let too_late = stage.sign("bank-a", &too_late);
    std::thread::sleep(Duration::from_millis(800));
    // What was decided in time is told again; what was not is not decided any more.
    assert_eq!(stage.open("bank-a", &in_time, stage.ask(&outlet, &in_time)), told);
    refused(stage.ask(&outlet, &too_late), "question.expired");
    let now = clock::now();
    let early =
        Question { asked_at: now.plus_ms(60_000), deadline: now.plus_ms(90_000), ..stage.question(2) };
    refused(stage.ask(&outlet, &stage.sign("bank-a", &early)), "question.expired");
    let long = Question { deadline: now.plus_ms(3_600_000), ..stage.question(2) };
    refused(stage.ask(&outlet, &stage.sign("bank-a", &long)), "question.malformed");
    assert_eq!(accesses(), before + 2, "a refused frame is no access");
    // Reused, expired and malformed: each code leaves its line, whoever has asked.
    assert!(stage.federation.sizes("sh")[2] >= lines + 2 + 3);
    let metrics = http::get(&format!("{}/metrics", stage.federation.http("sh")), None).unwrap();
    let metrics = String::from_utf8(metrics.body).unwrap();
    for code in ["question.reused", "question.expired", "question.malformed"] {
        let counted = format!("xinqiao_questions_refused_total{{code=\"{code}\"}} ");
        assert!(metrics.contains(&counted), "{metrics}");
    }
}

#[test]
fn a_grant_is_no_stronger_than_its_words() {
    let stage = stage();
    let _beside = stage.federation.beside();
    let outlet = stage.line("xyd", "sh");
    let denied = |grant: Signed<Grant>, rule: &str| {
        let asked = stage.sign("bank-a", &Question { basis: Basis::Grant(grant), ..question(1) });
        let opened = stage.open("bank-a", &asked, stage.ask(&outlet, &asked));
        assert!(opened.refused && opened.records.is_empty(), "{rule}: {opened:?}");
        assert!(
            opened.withheld.iter().all(|w| w.rule.0 == rule) && opened.withheld.len() == 2,
            "{rule}: {opened:?}"
        );
    };
    let now = clock::now();
    denied(stage.grant(1, |g| g.grantee = id("bank-b")), "grant-other-asker");
    denied(stage.grant(2, |_| {}), "grant-other-subject");
    denied(stage.grant(1, |g| g.not_after = Timestamp(now.0 - 1)), "grant-expired");
    denied(stage.grant(1, |g| g.not_before = now.plus_ms(60_000)), "grant-not-yet");
    denied(stage.grant(1, |g| g.purposes = vec![Purpose::PostLoan]), "grant-other-purpose");
    denied(stage.grant(1, |g| g.scope[0].fields = vec![FieldId(1)]), "grant-field");
    // Signed by a member that collects no letters, in its own name and in the collector's.
    let mut text = stage.registry.verify(&stage.grant(1, |_| {})).unwrap().into_inner();
    text.collector = id("bank-a");
    denied(Signed::new(&stage.keys("bank-a").signing(), "bank-a", now, &text), "grant-collector");
    text.collector = id("js");
    denied(Signed::new(&stage.keys("bank-a").signing(), "bank-a", now, &text), "grant-collector");
    let ask = |grant: Signed<Grant>| {
        stage.ask(&outlet, &stage.sign("bank-a", &Question { basis: Basis::Grant(grant), ..question(1) }))
    };
    refused(ask(Signed::new(&stage.keys("bank-a").signing(), "js", now, &text)), "signature.invalid");
    // Any changed byte of a grant ends it: it cannot be read, or its signature does not hold.
    let sound = stage.grant(1, |_| {});
    for at in (0..sound.as_bytes().len()).step_by(5) {
        let mut bytes = sound.as_bytes().to_vec();
        bytes[at] ^= 1;
        if let Ok(bent) = Signed::parse(&bytes) {
            match ask(bent) {
                Err(refusal) => assert!(!refusal.code.is_empty()),
                Ok(Response::Answer(answer)) => assert!(answer.records.is_empty(), "byte {at} of the grant"),
                Ok(other) => panic!("{other:?}"),
            }
        }
    }
    assert!(ask(sound).is_ok());
}

#[test]
fn no_changed_byte_of_a_question_gets_an_answer() {
    let stage = stage();
    let _alone = stage.federation.alone();
    let outlet = stage.line("xyd", "sh");
    let before = stage.federation.sizes("sh");
    let asked = stage.sign("bank-a", &stage.question(1));
    let frame = to_frame(&Request::Ask(asked.clone()));
    let start = frame.windows(asked.as_bytes().len()).position(|w| w == asked.as_bytes()).unwrap();
    for at in (start..frame.len()).step_by(7).chain(frame.len() - 64..frame.len()) {
        for bit in [0x01, 0x80] {
            let mut bent = frame.clone();
            bent[at] ^= bit;
            assert!(stage.send(&outlet, &bent).is_err(), "byte {at} of the question");
        }
    }
    let after = stage.federation.sizes("sh");
    // What was refused to others a minute ago may be written meanwhile: a line for each code. None of these frames leaves any.
    assert!(after[..2] == before[..2] && after[2] < before[2] + 8, "{before:?} {after:?}");
    assert!(stage.send(&outlet, &frame).is_ok());
}

/// A status entry of `member` in a log of its own making, properly signed, with everything that proves it.
fn invented(stage: &Stage, member: &'static str, statement: &StatusFact) -> Receipt {
    let (key, now) = (stage.keys(member).signing(), clock::now());
    let fact = Fact::Status(Signed::new(&key, member, now, statement));
    let mut entries: Vec<Vec<u8>> = (0..5_000u32).map(|n| n.to_be_bytes().to_vec()).collect();
    entries.push(Entry { prev: Digest::ZERO, at: now, fact }.to_bytes());
    let index = entries.len() - 1;
    let checkpoint = Checkpoint {
        origin: LogName::Status.origin(&stage.registry.federation, &id(member)),
        size: TreeSize(entries.len() as u64),
        root: oracle::root(&entries),
    };
    Receipt {
        member: id(member),
        log: LogName::Status,
        index: index as u64,
        path: oracle::inclusion(&entries, index).unwrap(),
        entry: entries.pop().unwrap().into(),
        checkpoint: checkpoint.sign(&key),
    }
}

#[test]
fn news_about_a_record_counts_only_from_its_authority() {
    let stage = stage();
    let _alone = stage.federation.alone();
    let outlet = stage.line("xyd", "sh");
    let record_of = |n: u64| -> Option<RecordId> {
        let asked = stage.sign("bank-a", &stage.question(n));
        stage.open("bank-a", &asked, stage.ask(&outlet, &asked)).records.first().map(|r| r.record)
    };
    let record = record_of(4).unwrap();
    let news = |record, change| {
        StatusFact::Changed(Changed {
            record,
            change,
            case: None,
            rule: "attack".into(),
            paper: None,
            clerk: None,
            act: None,
        })
    };
    // js, xyd and a bank claim that a record of sh is repaired, withdrawn, masked.
    for change in [Change::Repair, Change::Withdraw, Change::Mask] {
        for from in ["js", "bank-a"] {
            let claim = invented(stage, from, &news(record, change));
            let outcome = stage.call(&stage.line(from, "sh"), &Request::Notice(claim));
            assert!(matches!(outcome, Ok(Response::Receipt(_)) | Err(_)), "{outcome:?}");
            assert_eq!(record_of(4), Some(record), "`{from}` has changed a record of sh");
        }
    }
    // In sh's name it does not verify, and another's entry is not taken from js at all.
    let mut claim = invented(stage, "js", &news(record, Change::Repair));
    claim.member = id("sh");
    refused(stage.call(&stage.line("js", "xyd"), &Request::Notice(claim)), "signature.invalid");
    let others = invented(stage, "sh", &news(record, Change::Repair));
    refused(stage.call(&stage.line("js", "xyd"), &Request::Notice(others)), "caller.not-allowed");
    // A true entry of sh, every part of its receipt changed in turn: refused, also when sh itself pushes it.
    let sound = invented(stage, "sh", &news(record, Change::Repair));
    let line = stage.line("sh", "xyd");
    let mut entry = sound.clone();
    entry.entry.0[40] ^= 1;
    let mut path = sound.clone();
    path.path[0].0[0] ^= 1;
    let mut short = sound.clone();
    short.path.pop();
    let index = Receipt { index: sound.index - 1, ..sound.clone() };
    let log = Receipt { log: LogName::Access, ..sound.clone() };
    let checkpoint =
        Receipt { checkpoint: invented(stage, "js", &news(record, Change::Mask)).checkpoint, ..sound };
    for bent in [entry, path, short, index, log, checkpoint] {
        refused(stage.call(&line, &Request::Notice(bent)), "signature.invalid");
    }
    assert_eq!(record_of(4), Some(record));
    // The authority's own mark does count.
    let penalty = Penalty::new(4);
    let file = ["dispute", "file", "--authority", "sh", "--item", "CF", "--document", &penalty.document];
    stage.federation.at("sh", &[&file[..], &["--subject", &penalty.subject]].concat()).done();
    let asked = stage.sign("bank-a", &stage.question(4));
    assert!(stage.open("bank-a", &asked, stage.ask(&outlet, &asked)).records[0].disputed);
    let withdraw = ["record", "withdraw", &record.to_string(), "--reason", "example"];
    stage.federation.at("sh", &withdraw).done();
    assert_eq!(record_of(4), None);
}

#[test]
fn what_was_acknowledged_is_there_after_a_kill() {
    let stage = stage();
    let _alone = stage.federation.alone();
    let federation = &stage.federation;
    let registry = federation.registry();
    for round in 0..2u64 {
        let mut acknowledged = Vec::new();
        let reports = std::thread::scope(|scope| {
            let handed_in: Vec<_> = (0..8u64)
                .map(|n| {
                    let from = 10_000 + round * 10_000 + n * 400;
                    let path = federation.file(&format!("kill-{round}-{n}.csv"), numbered(from, from + 300));
                    scope.spawn(move || {
                        std::thread::sleep(Duration::from_millis(n * 60));
                        let dir = federation.text("sh");
                        let submit =
                            ["submit", &path, "--item", "CF", "--source", "office", "--json", "--dir", &dir];
                        // A caller whose node has vanished learns it after half a minute; nobody waits here.
                        (path.clone(), finish_within(command(&submit), Duration::from_secs(3)))
                    })
                })
                .collect();
            std::thread::sleep(Duration::from_millis(350 + round * 170));
            federation.kill("sh");
            handed_in.into_iter().map(|h| h.join().unwrap()).collect::<Vec<_>>()
        });
        for (path, ran) in reports {
            match ran {
                Some(ran) if ran.code == Some(0) => acknowledged.push((path, ran.json())),
                Some(ran) => assert!(ran.code == Some(1) && ran.err.contains("what to do"), "{ran:?}"),
                None => {}
            }
        }
        federation.spawn("sh");
        federation.ready("sh");
        for (path, report) in &acknowledged {
            let again = federation.submit("sh", "office", path).done().json();
            assert_eq!((&again["repeated"], &again["accepted"]), (&true.into(), &300.into()), "{path}");
            assert_eq!(again["file"], report["file"]);
        }
        let records: u64 = acknowledged.len() as u64 * 300;
        assert!(federation.sizes("sh")[0] >= records);
        // What was interrupted is taken whole when it is handed in again.
        let last = federation.text(&format!("kill-{round}-7.csv"));
        let report = federation.submit("sh", "office", &last).done().json();
        let total: u64 = ["accepted", "duplicate"].iter().map(|k| report[k].as_u64().unwrap()).sum();
        assert_eq!(total, 300, "{report:#}");
        let auth = federation.pass("sh");
        for log in ["records", "status", "access"] {
            let url = format!("{}/log/{log}", federation.http("sh"));
            run(&["verify", &url, "--registry", registry.to_str().unwrap(), "--auth", &auth]).done();
        }
    }
    stage.still_serves();
}

#[test]
fn a_crowd_of_idle_callers_does_not_stop_the_node() {
    let stage = stage();
    let _alone = stage.federation.alone();
    let seed = stage.keys("js").tls_seed();
    let peer = &stage.registry.member(&id("sh")).unwrap().stated;
    let held = stage.runtime.block_on(async {
        let endpoint = quic::caller().unwrap();
        let mut lines = Vec::new();
        for _ in 0..200 {
            lines.push(quic::connect(&endpoint, &seed, &peer.quic, &[peer.tls]).await.unwrap());
        }
        let mut streams = Vec::new();
        for at in 0..300 {
            let (mut send, receive) = lines[at % 2].open_bi().await.unwrap();
            // A stream exists for the node once something has been sent on it.
            send.write_all(&[1]).await.unwrap();
            streams.push((send, receive));
        }
        (endpoint, lines, streams)
    });
    let idle: Vec<_> = (0..200)
        .map(|_| std::net::TcpStream::connect(stage.federation.setting("sh", "http")).unwrap())
        .collect();
    stage.still_serves();
    stage.federation.status("sh");
    let got = http::get(&format!("{}/readyz", stage.federation.http("sh")), None).unwrap();
    assert_eq!(got.status, 200);
    // Also on the crowded connection itself.
    assert!(stage.call(&held.1[0], &Request::Registry).is_ok());
    drop((idle, held));
    stage.still_serves();
}

#[test]
fn no_value_in_clear_reaches_a_disk_or_a_log() {
    let stage = stage();
    let _alone = stage.federation.alone();
    let federation = &stage.federation;
    let sound = Penalty {
        name: "金丝雀示例公司（虚构）".into(),
        subject: company(CANARY),
        document: "金丝雀罚〔2026〕第00077号".into(),
        remark: "canary-remark-7f3a".into(),
    };
    // The same words in rows that come back: wrong code, wrong day, twice, and in a file that cannot be read.
    let mut code = sound.clone();
    code.subject =
        format!("{}{}", &sound.subject[..17], if sound.subject.ends_with('1') { '2' } else { '1' });
    let mut long = sound.clone();
    long.document = "canary-document-".repeat(20);
    let rows = [sound.clone(), code.clone(), sound.clone(), long];
    let report = federation.submit("sh", "office", &federation.file("canary.csv", file(&rows))).done().json();
    assert_eq!((&report["accepted"], &report["rejected"]), (&1.into(), &3.into()), "{report:#}");
    let torn = file(std::slice::from_ref(&sound)).replace("CF_XDR_MC", "canary-heading");
    assert_eq!(federation.submit("sh", "office", &federation.file("torn.csv", torn)).code, Some(1));
    let grant = federation.grant("canary.grant", &sound.subject, "bank-a", &["--uses", "9"]);
    let answered = federation.query("bank-a", &sound.subject, &["--grant", &grant]).done();
    for word in [&sound.name, &sound.document, &sound.remark] {
        assert!(answered.out.contains(word.as_str()), "the bank must see `{word}`");
    }
    federation.query("bank-b", &sound.subject, &["--grant", &grant]);
    federation.query("bank-a", &code.subject, &[]);
    let apply = ["repair", "apply", "--authority", "sh", "--item", "CF", "--document", &sound.document];
    federation.at("js", &[&apply[..], &["--subject", &sound.subject]].concat()).done();
    until("the application reaches sh", Duration::from_secs(10), || {
        let cases = federation.at("sh", &["repair", "list"]).done().json();
        (!cases["cases"].as_array().unwrap().is_empty()).then_some(())
    });
    for member in FIVE {
        federation.stop(member.id);
    }
    let words = [
        sound.name.as_str(),
        "金丝雀",
        &sound.subject,
        &code.subject,
        &sound.document,
        "00077号",
        &sound.remark,
        "canary-",
        "示例负责人",
    ];
    let mut searched = 0;
    for member in FIVE {
        let mut all = files(&federation.path(member.id));
        let log = federation.path(&format!("{}.log", member.id));
        all.push((log.clone(), fs::read(&log).unwrap()));
        for (path, bytes) in all {
            searched += bytes.len();
            for word in words {
                assert!(!contains(&bytes, word.as_bytes()), "`{word}` stands in clear in {}", path.display());
            }
        }
    }
    assert!(searched > 100_000, "{searched} bytes searched");
    for member in FIVE {
        federation.spawn(member.id);
    }
    for member in FIVE {
        federation.ready(member.id);
    }
}

#[test]
fn frames_and_files_of_this_test_are_what_the_product_reads() {
    // The attacker's grants differ from sound ones only in what the tests say.
    let stage = stage();
    let _beside = stage.federation.beside();
    let path = stage.federation.file("sound.grant", codec::to_vec(&Artifact::Grant(stage.grant(1, |_| {}))));
    let registry = stage.federation.registry();
    run(&["verify", &path, "--registry", registry.to_str().unwrap()]).done();
    stage.federation.query("bank-a", &company(1), &["--grant", &path]).done();
    let frame = to_frame(&Request::Registry);
    assert_eq!(from_frame::<Request>(&frame, FRAME_BYTES_MAX).unwrap(), Request::Registry);
}
