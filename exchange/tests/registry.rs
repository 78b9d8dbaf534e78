//! Which registry is accepted: enough approvals of the right governors, and the successor of the known one.
#![allow(clippy::unwrap_used)] // a test that cannot go on ends with a panic

use credit::{id::MemberId, policy::Role};
use crypto::{
    Digest, Timestamp,
    secret::Secret,
    sign::{PublicKey, Seen, SigningKey},
};
use exchange::registry::{Governor, MemberEntry, MemberRequest, Registry, SignedRegistry};

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
