//! The registry as a trust policy: what it lists for each owner, and what a member cannot slip into it.
#![allow(clippy::unwrap_used)] // a test that cannot go on ends with a panic

use credit::{id::MemberId, policy::Role};
use crypto::{
    Digest, Timestamp,
    secret::Secret,
    sign::{PublicKey, Seen, SigningKey},
};
use exchange::{
    logs::LogName,
    refusal::Code,
    registry::{MemberEntry, MemberRequest, Registry},
    trust, witness,
};
use ledger::{
    Checkpoint, SignedCheckpoint, TreeSize, note,
    policy::{Disbelief, Policy},
};

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&Secret::new([seed; 32]))
}

fn id(text: &str) -> MemberId {
    MemberId::parse(text).unwrap()
}

fn member(name: &str, seed: u8, http: &str) -> MemberEntry {
    let public = |n: u8| PublicKey(key(n).verifying_key().to_bytes());
    let stated = MemberRequest {
        id: id(name),
        role: Role::Region,
        region: "310000".into(),
        name: name.into(),
        sign: public(seed),
        tls: public(seed + 100),
        seal: public(seed + 120),
        quic: String::new(),
        http: http.into(),
        collector: false,
        bodies: Vec::new(),
        witness: public(seed + 50),
        system: None,
    };
    MemberEntry { stated, record_key: None, mirrors: Vec::new(), suspended: false, past: Vec::new() }
}

/// Five members; all but `e` are the committee.
fn registry() -> Registry {
    let members = ["a", "b", "c", "d", "e"];
    let members =
        (1..).zip(members).map(|(n, name)| member(name, n, &format!("{name}.example:80"))).collect();
    Registry {
        seen: Seen::default(),
        federation: "test".into(),
        version: 7,
        previous: Digest::ZERO,
        governors: Vec::new(),
        threshold: 0,
        members,
        catalog: Digest::ZERO,
        policy: Digest::ZERO,
        rules: Digest::ZERO,
        issued_at: Timestamp(0),
        witnesses: ["a", "b", "c", "d"].map(id).to_vec(),
    }
}

/// A checkpoint of `owner`'s status log, cosigned by the members with these seeds.
fn cosigned(owner: (&str, u8), by: &[(&str, u8)]) -> SignedCheckpoint {
    let origin = LogName::Status.origin("test", &id(owner.0));
    let checkpoint = Checkpoint { origin, size: TreeSize(2), root: Digest::of(b"r") };
    let mut note = checkpoint.sign(&key(owner.1)).as_str().to_owned();
    for (name, seed) in by {
        note += &note::cosign(&checkpoint.text(), &witness::name("test", &id(name)), &key(seed + 50), 9);
    }
    SignedCheckpoint::parse(&note).unwrap()
}

#[test]
fn each_owner_is_held_to_the_quorum_of_its_own_committee() {
    let (a, b, c, d) = (("a", 1), ("b", 2), ("c", 3), ("d", 4));
    let registry = registry();
    let policy = |owner: &str, witnessed: bool| {
        let file = trust::policy(&registry, &id(owner), LogName::Status, witnessed).unwrap();
        Policy::parse(file.as_bytes()).unwrap()
    };
    // A member of the committee has three witnesses and needs them all; its own cosignature is nobody's.
    assert_eq!(policy("a", true).verify(&cosigned(a, &[b, c, d])).unwrap().cosigned.len(), 3);
    let short = policy("a", true).verify(&cosigned(a, &[a, b, c])).unwrap_err();
    assert_eq!(short, Disbelief::Quorum { found: 2 });
    // The others have four, and need three.
    assert!(policy("e", true).verify(&cosigned(("e", 5), &[a, b, c])).is_ok());
    let short = policy("e", true).verify(&cosigned(("e", 5), &[a, b])).unwrap_err();
    assert_eq!(short, Disbelief::Quorum { found: 2 });
    // The registry counts the same, for every owner.
    for (owner, needed) in [(a, 3), (("e", 5), 3)] {
        assert_eq!(registry.witnessed(&id(owner.0), &cosigned(owner, &[b])).unwrap(), (1, needed));
    }
    assert_eq!(policy("a", false).verify(&cosigned(a, &[b])).unwrap().cosigned.len(), 1);
    // One log of one member, and no other.
    let other = trust::policy(&registry, &id("a"), LogName::Access, false).unwrap();
    let other = Policy::parse(other.as_bytes()).unwrap().verify(&cosigned(a, &[]));
    assert!(matches!(other, Err(Disbelief::UnknownLog { .. })));
    let nobody = trust::policy(&registry, &id("x"), LogName::Access, true).unwrap_err();
    assert_eq!(nobody.known(), Some(Code::MemberUnknown));
}

#[test]
fn the_file_has_the_addresses_and_no_line_that_a_member_wrote() {
    let mut registry = registry();
    let file = trust::policy(&registry, &id("a"), LogName::Status, true).unwrap();
    assert!(file.starts_with("# xinqiao/test/a/status by registry version 7, digest "));
    assert!(file.contains(" http://a.example:80/log/status\n"));
    assert!(file.contains(" http://b.example:80/witness\n"));
    assert!(file.ends_with("/d/witness\nquorum committee\n"));
    for http in ["", "b:1\nquorum none", "b:1 extra", "b:1\t", "b\u{a0}:1"] {
        registry.members[1].stated.http = http.into();
        let file = trust::policy(&registry, &id("a"), LogName::Status, true).unwrap();
        assert_eq!(file.lines().count(), 7, "{file}");
        assert_eq!(file.matches("http://").count(), 3, "{file}");
        assert!(Policy::parse(file.as_bytes()).is_ok());
    }
    registry.federation = "two words".into();
    let refused = trust::policy(&registry, &id("a"), LogName::Status, true).unwrap_err();
    assert_eq!(refused.known(), Some(Code::RegistryInvalid));
}
