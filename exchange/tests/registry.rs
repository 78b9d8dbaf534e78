//! Which registry is accepted: enough approvals of the right governors, and the successor of the known one.
#![allow(clippy::unwrap_used)] // a test that cannot go on ends with a panic

use credit::{id::MemberId, policy::Role};
use crypto::{
    Digest, Timestamp,
    secret::Secret,
    sign::{PublicKey, Seen, Signed, SigningKey},
};
use exchange::{
    limits::PAST_KEYS_MAX,
    logs::LogName,
    registry::{Approval, Governor, MemberEntry, MemberRequest, PastKeys, Registry, SignedRegistry},
};
use ledger::{checkpoint::Checkpoint, tree::TreeSize};

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&Secret::new([seed; 32]))
}

fn public(seed: u8) -> PublicKey {
    PublicKey(key(seed).verifying_key().to_bytes())
}

fn member(id: &str, seed: u8) -> MemberEntry {
    let stated = MemberRequest {
        id: MemberId::parse(id).unwrap(),
        role: Role::Region,
        region: "310000".into(),
        name: id.into(),
        sign: public(seed),
        tls: public(seed + 1),
        seal: public(seed + 2),
        quic: "127.0.0.1:1".into(),
        http: "127.0.0.1:2".into(),
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
        governors: (1..=3).map(|n| Governor { name: format!("g{n}"), key: public(n) }).collect(),
        threshold: 2,
        members: vec![member("js", 10), member("sh", 20)],
        catalog: Digest::ZERO,
        policy: Digest::ZERO,
        rules: Digest::ZERO,
        issued_at: Timestamp(0),
        witnesses: Vec::new(),
    }
}

fn signed(registry: &Registry, governors: &[u8]) -> SignedRegistry {
    let mut signed = SignedRegistry::unsigned(registry);
    for n in governors {
        signed.approve(&format!("g{n}"), &key(*n), Timestamp(1_000)).unwrap();
    }
    signed
}

#[test]
fn needs_as_many_governors_as_it_says_each_counted_once() {
    let registry = registry();
    assert!(signed(&registry, &[1]).accept(None).is_err());
    assert!(signed(&registry, &[1, 1]).accept(None).is_err());
    assert_eq!(signed(&registry, &[1, 3]).accept(None).unwrap(), registry);
    assert!(SignedRegistry::unsigned(&registry).approve("g1", &key(2), Timestamp(0)).is_err());
}

#[test]
fn accepts_only_the_successor_of_what_it_knows_judged_by_the_old_governors() {
    let first = registry();
    let next = Registry { version: 2, previous: first.digest(), ..registry() };
    assert!(signed(&next, &[2, 3]).accept(Some(&first)).is_ok());
    assert!(signed(&first, &[1, 3]).accept(Some(&first)).is_ok(), "the known one again is no news");
    assert!(signed(&first, &[1]).accept(Some(&first)).is_err(), "and not on fewer approvals");
    let skipped = Registry { version: 3, previous: first.digest(), ..registry() };
    assert!(signed(&skipped, &[1, 2]).accept(Some(&first)).is_err());
    let elsewhere = Registry { version: 2, previous: Digest::of(b"other"), ..registry() };
    assert!(signed(&elsewhere, &[1, 2]).accept(Some(&first)).is_err());
    // New governors cannot admit themselves.
    let usurped = Registry {
        governors: (4..=6).map(|n| Governor { name: format!("g{n}"), key: public(n) }).collect(),
        ..next.clone()
    };
    assert!(signed(&usurped, &[4, 5]).accept(Some(&first)).is_err());
}

#[test]
fn an_approval_belongs_to_one_content() {
    let mut moved = signed(&registry(), &[1, 2]);
    let other = Registry { threshold: 1, ..registry() };
    moved.body = SignedRegistry::unsigned(&other).body;
    assert!(moved.accept(None).is_err());
}

#[test]
fn refuses_shared_keys_doubled_governors_and_thresholds_out_of_reach() {
    let refused = |registry: Registry| SignedRegistry::unsigned(&registry).read().is_err();
    assert!(!refused(registry()));
    assert!(refused(Registry { threshold: 4, ..registry() }));
    assert!(refused(Registry { threshold: 0, ..registry() }));
    assert!(refused(Registry { members: vec![member("sh", 20), member("js", 10)], ..registry() }));
    assert!(refused(Registry { members: vec![member("js", 10), member("sh", 10)], ..registry() }));
    let twice = |name: &str| Governor { name: name.into(), key: public(1) };
    assert!(refused(Registry { governors: vec![twice("g1"), twice("g2")], ..registry() }));
    let witnesses = vec![MemberId::parse("sh").unwrap(), MemberId::parse("js").unwrap()];
    assert!(refused(Registry { witnesses, ..registry() }));
}

/// The registry in which `sh` has the keys of seed 30 in place of those of seed 20, which end at 5 s.
fn rotated() -> Registry {
    let mut registry = registry();
    let past = PastKeys::of(&registry.members[1].stated, Timestamp(5_000));
    registry.members[1] = MemberEntry { past: vec![past], ..member("sh", 30) };
    registry
}

#[test]
fn a_past_key_is_good_for_what_was_signed_and_until_its_end_for_what_is_new() {
    let (registry, sh) = (rotated(), MemberId::parse("sh").unwrap());
    registry_reads(&registry);
    let said = |seed: u8, at: u64| {
        let statement = Approval { version: 7, digest: Digest::ZERO };
        Signed::new(&key(seed), "sh", Timestamp(at), &statement)
    };
    // (key, dated, now) -> outside a log, new, in a log.
    for (seed, dated, now, good) in [
        (30, 9_000, 9_000, [true, true, true]),
        (20, 4_000, 4_000, [true, true, true]),
        (20, 4_000, 6_000, [true, false, true]),
        (20, 9_000, 9_000, [false, false, true]),
        (10, 4_000, 4_000, [false, false, false]),
    ] {
        let signed = said(seed, dated);
        let found = [
            registry.verify(&signed).is_ok(),
            registry.verify_new(&signed, Timestamp(now)).is_ok(),
            registry.verify_logged(&signed).is_ok(),
        ];
        assert_eq!(found, good, "key {seed}, dated {dated}, at {now}");
        assert_eq!(registry.verify_seen(&signed).is_ok(), good[0]);
    }
    let ended = registry.verify(&said(20, 9_000)).unwrap_err();
    assert!(ended.detail.contains("1970-01-01T00:00:05"), "{}", ended.detail);
    // Transport.
    for (seed, now, good) in [(31, 9_000, true), (21, 5_000, true), (21, 5_001, false), (11, 0, false)] {
        let found = registry.by_tls(&public(seed), Timestamp(now)).is_some_and(|m| m.id == sh);
        assert_eq!(found, good, "key {seed} at {now}");
        assert_eq!(registry.tls_keys(&sh, Timestamp(now)).unwrap().contains(&public(seed)), good);
    }
}

#[test]
fn a_checkpoint_verifies_under_the_key_it_names_and_is_new_under_one_that_has_not_ended() {
    let (registry, sh) = (rotated(), MemberId::parse("sh").unwrap());
    let note = |seed: u8| {
        let origin = LogName::Access.origin("test", &sh);
        Checkpoint { origin, size: TreeSize(3), root: Digest::of(b"r") }.sign(&key(seed))
    };
    for (seed, known) in [(30, true), (20, true), (10, false)] {
        assert_eq!(registry.verify_checkpoint(&sh, LogName::Access, &note(seed)).is_ok(), known);
        let past = registry.past_key_of(&sh, LogName::Access, &note(seed)).unwrap();
        assert_eq!(note(seed).verify(&past).is_ok(), known);
    }
    for (seed, now, good) in [(30, 9_000, true), (20, 5_000, true), (20, 5_001, false)] {
        let key = registry.key_of_new(&sh, LogName::Access, &note(seed), Timestamp(now)).unwrap();
        assert_eq!(note(seed).verify(&key).is_ok(), good, "key {seed} at {now}");
    }
}

#[test]
fn no_key_comes_again_and_their_number_is_limited() {
    let refused = |registry: Registry| SignedRegistry::unsigned(&registry).read().is_err();
    let mut again = rotated();
    again.members[1].stated.sign = public(20);
    assert!(refused(again), "its own past key");
    let mut taken = rotated();
    taken.members[0].stated.tls = public(21);
    assert!(refused(taken), "another member's past key");
    let mut many = rotated();
    let past = |n: usize| PastKeys::of(&member("sh", 40 + 4 * n as u8).stated, Timestamp(0));
    many.members[1].past = (0..PAST_KEYS_MAX).map(past).collect();
    registry_reads(&many);
    many.members[1].past.push(past(PAST_KEYS_MAX));
    assert!(refused(many));
}

fn registry_reads(registry: &Registry) {
    assert_eq!(SignedRegistry::unsigned(registry).read().unwrap(), *registry);
}
