//! Runs of entries, and accesses that only one of two logs has: what is enough to judge, and what is refused.
#![allow(clippy::unwrap_used)] // a test that cannot go on ends with a panic

use credit::{
    catalog::Purpose,
    entry::{AskedBy, BasisRef, Disclosed, DisclosedRecord, Entry, Fact, Received, Relayed},
    id::{ClerkId, MemberId, QuestionId, RecordId},
    policy::Role,
};
use crypto::{
    Bytes, Digest, Timestamp, merkle,
    pseudonym::SubjectLink,
    secret::Secret,
    sign::{PublicKey, Seen, SigningKey},
};
use exchange::{
    bundle::{APART_MS_MAX, AuditBundle, Discrepancy, Run},
    logs::LogName,
    receipt::Receipt,
    registry::{Governor, MemberEntry, MemberRequest, Registry, SignedRegistry},
};
use ledger::{Checkpoint, TreeSize};

const NOON: Timestamp = Timestamp(1_778_030_000_000);

fn id(text: &str) -> MemberId {
    MemberId::parse(text).unwrap()
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&Secret::new([seed; 32]))
}

fn member(name: &str, role: Role, seed: u8) -> MemberEntry {
    let public = |n| PublicKey(key(n).verifying_key().to_bytes());
    let stated = MemberRequest {
        id: id(name),
        role,
        region: String::new(),
        name: name.into(),
        sign: public(seed),
        tls: public(seed + 1),
        seal: public(seed + 2),
        quic: String::new(),
        http: String::new(),
        collector: false,
        bodies: Vec::new(),
        witness: public(seed + 3),
        system: None,
    };
    MemberEntry { stated, record_key: None, mirrors: Vec::new(), suspended: false, past: Vec::new() }
}

fn registry() -> Registry {
    Registry {
        seen: Seen::default(),
        federation: "test".into(),
        version: 1,
        previous: Digest::ZERO,
        governors: vec![Governor { name: "g1".into(), key: PublicKey(key(1).verifying_key().to_bytes()) }],
        threshold: 1,
        members: vec![member("bank", Role::Bank, 10), member("sh", Role::Region, 20)],
        catalog: Digest::ZERO,
        policy: Digest::ZERO,
        rules: Digest::ZERO,
        issued_at: Timestamp(0),
        witnesses: Vec::new(),
    }
}

/// An access log in memory.
struct Log {
    owner: &'static str,
    entries: Vec<Bytes>,
    leaves: Vec<Digest>,
    times: Vec<Timestamp>,
}

impl Log {
    fn new(owner: &'static str, facts: &[(Timestamp, Fact)]) -> Self {
        let mut log = Self { owner, entries: Vec::new(), leaves: Vec::new(), times: Vec::new() };
        for (at, fact) in facts {
            let prev = log.leaves.last().copied().unwrap_or(Digest::ZERO);
            let bytes = Entry { prev, at: *at, fact: fact.clone() }.to_bytes();
            log.leaves.push(merkle::leaf_hash(&bytes));
            log.entries.push(bytes.into());
            log.times.push(*at);
        }
        log
    }

    fn checkpoint(&self) -> ledger::SignedCheckpoint {
        let origin = LogName::Access.origin("test", &id(self.owner));
        let size = TreeSize(self.leaves.len() as u64);
        Checkpoint { origin, size, root: merkle::root(&self.leaves) }.sign(&key(if self.owner == "sh" {
            20
        } else {
            10
        }))
    }

    fn run(&self, first: usize, end: usize) -> Run {
        let entries = self.entries[first..end].to_vec();
        let checkpoint = self.checkpoint();
        Run::build(id(self.owner), LogName::Access, first as u64, entries, &self.leaves, checkpoint)
    }

    fn receipt(&self, index: usize) -> Receipt {
        Receipt {
            member: id(self.owner),
            log: LogName::Access,
            index: index as u64,
            entry: self.entries[index].clone(),
            path: merkle::path(&self.leaves, index),
            checkpoint: self.checkpoint(),
        }
    }
}

fn question() -> Digest {
    Digest::of(b"a question")
}

/// `sh` answers `bank`.
fn disclosed() -> Fact {
    let asked = AskedBy {
        id: QuestionId([1; 16]),
        question: question(),
        signature: Bytes(vec![0; 64]),
        asker: id("bank"),
        clerk: ClerkId::parse("clerk").unwrap(),
        via: None,
        purpose: Purpose::LoanReview,
        basis: BasisRef::None,
        subject_link: SubjectLink([0; 32]),
        registry: 1,
    };
    Fact::Disclosed(Disclosed {
        asked,
        records: Vec::new(),
        withheld: Vec::new(),
        more: false,
        checks: Vec::new(),
        keep_days: None,
    })
}

/// `bank`'s line about the answer.
fn received(index: u64, leaf: Digest) -> Fact {
    Fact::Received(Received { question: question(), from: id("sh"), index, leaf, records: Vec::new() })
}

/// Something else.
fn other() -> Fact {
    Fact::Relayed(Relayed { question: Digest::of(b"another"), asker: id("bank"), to: Vec::new() })
}

fn minutes(n: i64) -> Timestamp {
    Timestamp(NOON.0.checked_add_signed(n * 60_000).unwrap())
}

#[test]
fn every_run_verifies_and_no_other_place_does() {
    let registry = registry();
    for size in 1..12 {
        let facts: Vec<_> = (0..size).map(|n| (minutes(n), other())).collect();
        let log = Log::new("sh", &facts);
        for first in 0..facts.len() {
            for end in first + 1..=facts.len() {
                let run = log.run(first, end);
                let proven = run.verify(&registry).unwrap();
                assert_eq!((proven.len(), proven[0].index), (end - first, first as u64));
                assert!(Run { first: run.first + 1, ..run.clone() }.verify(&registry).is_err());
                assert!(Run { member: id("bank"), ..run.clone() }.verify(&registry).is_err());
                let mut fewer = run.clone();
                fewer.entries.pop();
                assert!(fewer.verify(&registry).is_err());
                let mut changed = run;
                changed.entries[0].0[40] ^= 1;
                assert!(changed.verify(&registry).is_err());
            }
        }
    }
}

/// The discrepancy about the only access of `one`, with what of `two` must be shown.
fn about(one: &Log, index: usize, two: &Log) -> Discrepancy {
    let (first, end) = Discrepancy::range(&two.times, one.times[index]);
    Discrepancy { entry: one.receipt(index), other: two.run(first, end) }
}

#[test]
fn an_access_that_the_other_log_has_not_is_told_from_one_that_it_has() {
    let registry = registry();
    let sh = Log::new("sh", &[(minutes(-30), other()), (minutes(0), disclosed()), (minutes(30), other())]);
    let around = |line: Option<Fact>| {
        let mut facts: Vec<(Timestamp, Fact)> =
            [-60, -20, -5, 5, 20, 60].into_iter().map(|n| (minutes(n), other())).collect();
        facts.insert(3, (minutes(1), line.unwrap_or_else(other)));
        Log::new("bank", &facts)
    };

    // Nothing there: only what lies around the access is shown, with one entry beyond on either side.
    let found = about(&sh, 1, &around(None));
    assert_eq!((found.other.first, found.other.entries.len()), (1, 5));
    let checked = found.verify(&registry).unwrap();
    assert!(checked.conclusive && checked.differs.is_none() && checked.question == question());
    // Less of it is not enough, on either side.
    for (first, end) in [(2, 6), (1, 5)] {
        let less = Discrepancy { other: around(None).run(first, end), ..found.clone() };
        assert!(less.verify(&registry).unwrap_err().detail.contains("too little"));
    }
    // The log of somebody else, or another log of the same party, proves nothing.
    let own = Discrepancy { other: sh.run(0, 3), ..found.clone() };
    assert!(own.verify(&registry).is_err());

    // The same line on both sides is no discrepancy; one that names another entry is.
    let mirrored = about(&sh, 1, &around(Some(received(1, sh.leaves[1]))));
    assert!(mirrored.verify(&registry).unwrap_err().detail.contains("mirrors"));
    let differs = about(&sh, 1, &around(Some(received(1, Digest::ZERO)))).verify(&registry).unwrap();
    assert_eq!(differs.differs, Some(3));

    // From the asker's side: its line names an entry that is not there, or is another.
    let bank = around(Some(received(1, sh.leaves[1])));
    assert!(about(&bank, 3, &sh).verify(&registry).is_err());
    let empty = Log::new("sh", &[(minutes(-30), other()), (minutes(0), other()), (minutes(30), other())]);
    assert!(about(&bank, 3, &empty).verify(&registry).unwrap().conclusive);
    let elsewhere =
        Log::new("sh", &[(minutes(-30), other()), (minutes(0), other()), (minutes(0), disclosed())]);
    assert_eq!(about(&bank, 3, &elsewhere).verify(&registry).unwrap().differs, Some(2));

    // A log that ends too soon may still get its line.
    let short = Log::new("bank", &[(minutes(-60), other()), (minutes(1), other())]);
    assert!(!about(&sh, 1, &short).verify(&registry).unwrap().conclusive);
    const { assert!(APART_MS_MAX < 20 * 60_000, "the times above lie beyond it") };
}

/// A head of a log of `sh` with one entry.
fn head(log: LogName) -> ledger::SignedCheckpoint {
    Checkpoint { origin: log.origin("test", &id("sh")), size: TreeSize(1), root: Digest::of(b"a leaf") }
        .sign(&key(20))
}

/// What an auditor puts together of a log of `sh`, with the heads of these logs besides that of the access log.
fn bundle(log: &Log, heads: &[LogName]) -> AuditBundle {
    let mut signed = SignedRegistry::unsigned(&registry());
    signed.approve("g1", &key(1), NOON).unwrap();
    AuditBundle {
        registry: signed,
        member: id("sh"),
        heads: heads.iter().map(|log| head(*log)).chain([log.checkpoint()]).collect(),
        access: log.run(0, log.entries.len()),
        certificates: Vec::new(),
        erasures: Vec::new(),
        at: *log.times.last().unwrap(),
    }
}

#[test]
fn a_bundle_from_which_a_head_was_cut_or_that_is_dated_before_its_entries_does_not_hold() {
    let why = |bundle: &AuditBundle| bundle.verify(Some(&registry())).unwrap_err().detail;
    let log = Log::new("sh", &[(minutes(0), other()), (minutes(1), disclosed())]);
    // A member that has collected nothing has no head of `records`: nothing in the bundle speaks against it.
    assert_eq!(bundle(&log, &[LogName::Status]).verify(None).unwrap().heads.len(), 2);
    assert!(why(&bundle(&log, &[LogName::Records])).contains("`status` is cut out"));
    let mut headless = bundle(&log, &[LogName::Status]);
    headless.heads.pop();
    assert!(why(&headless).contains("`access` is cut out"));
    headless.heads.clear();
    assert!(why(&headless).contains("cut out"));

    // One that has told of a record has collected it.
    let Fact::Disclosed(mut told) = disclosed() else { panic!() };
    let record = RecordId([1; 32]);
    told.records = vec![DisclosedRecord { version: 0, disputed: false, fields: Vec::new(), record }];
    let log = Log::new("sh", &[(minutes(0), Fact::Disclosed(told))]);
    assert!(why(&bundle(&log, &[LogName::Status])).contains("`records` is cut out"));
    let whole = bundle(&log, &[LogName::Records, LogName::Status]);
    assert_eq!(whole.verify(None).unwrap().heads.len(), 3);
    assert!(why(&AuditBundle { at: Timestamp(0), ..whole }).contains("dated before"));
}
