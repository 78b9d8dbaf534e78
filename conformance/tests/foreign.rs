//! Other people's programs, unmodified, read our logs and talk to our witnesses (`conformance/foreign`): logs of the
//! sizes at which tiles begin and end as directories of files, one changed byte in them, single proofs. What a
//! running node publishes is read by the same programs in `logs.rs`.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test; what fails here fails the test")]

mod common;

use std::{fs, path::Path, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use common::{
    federation::{Cast, Federation},
    foreign::{Checker, Foreign, Target},
    http, rows, until,
};
use conformance::published::{Sample, resources};
use credit::id::MemberId;
use crypto::Digest;
use exchange::logs::LogName;
use ledger::{SignedCheckpoint, TreeSize, tile::TileKind, witness::verify_quorum};

/// Around the ends of tiles of both lower levels, and what has a part of each of three levels.
const SIZES: [u64; 7] = [0, 1, 255, 256, 257, 65_536, 70_000];

const ORIGIN: &str = "example.org/foreign/sample";

fn target(sample: &Sample, dir: &Path) -> Target {
    let location = dir.to_str().unwrap().to_owned();
    Target { location, vkey: sample.note_key().vkey(), ..Target::default() }
}

/// A log of 70,000 entries in a directory.
fn published() -> (Sample, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let mut sample = Sample::new(ORIGIN).unwrap();
    sample.grow_to(70_000).unwrap();
    sample.publish(&dir.path().join("log")).unwrap();
    (sample, dir)
}

#[test]
fn logs_of_every_kind_of_size_are_read_and_each_continues_the_one_before() {
    let foreign = Foreign::get();
    let dir = tempfile::tempdir().unwrap();
    let mut sample = Sample::new(ORIGIN).unwrap();
    let mut old = None;
    for size in SIZES {
        sample.grow_to(size).unwrap();
        let at = dir.path().join(size.to_string());
        sample.publish(&at).unwrap();
        for checker in Checker::ALL {
            foreign.passes(checker, &Target { old: old.clone(), ..target(&sample, &at) }, size, dir.path());
        }
        old = Some(at.join("checkpoint"));
    }
    // A second history under the same key and origin is a good log of its own, and no continuation.
    let mut other = Sample::new(ORIGIN).unwrap().changed_at(300);
    other.grow_to(70_000).unwrap();
    let at = dir.path().join("other");
    other.publish(&at).unwrap();
    let old = Some(dir.path().join("65536/checkpoint"));
    for checker in Checker::ALL {
        foreign.passes(checker, &target(&other, &at), 70_000, dir.path());
        let target = Target { old: old.clone(), ..target(&other, &at) };
        foreign.refuses(checker, &target, "an entry of the older size", dir.path());
    }
}

#[test]
fn one_changed_byte_is_found() {
    let foreign = Foreign::get();
    let (sample, dir) = published();
    let log = dir.path().join("log");
    let target = target(&sample, &log);
    // Inside the tree and at its edge; the checkpoint in its root and in its signature.
    let places = [
        ("tile/entries/137", 5_000),
        ("tile/entries/273.p/112", 900),
        ("tile/0/137", 4_000),
        ("tile/0/273.p/112", 31),
        ("tile/1/000", 137 * 32),
        ("tile/2/000.p/1", 7),
        ("checkpoint", ORIGIN.len() as u64 + 12),
        ("checkpoint", ORIGIN.len() as u64 + 110),
    ];
    for (path, at) in places {
        let file = log.join(path);
        let good = fs::read(&file).unwrap();
        let mut bad = good.clone();
        let byte = &mut bad[at as usize];
        // Another character of base64 in a checkpoint, another bit elsewhere.
        *byte = if path != "checkpoint" {
            *byte ^ 0x10
        } else if *byte == b'A' {
            b'B'
        } else {
            b'A'
        };
        fs::write(&file, bad).unwrap();
        for checker in Checker::ALL {
            foreign.refuses(checker, &target, &format!("{path}, byte {at}"), dir.path());
        }
        fs::write(&file, good).unwrap();
    }
    for checker in Checker::ALL {
        foreign.passes(checker, &target, 70_000, dir.path());
    }
}

#[test]
fn a_partial_tile_that_is_gone_is_read_from_the_full_one() {
    let foreign = Foreign::get();
    let (mut sample, dir) = published();
    let (log, grown) = (dir.path().join("log"), dir.path().join("grown"));
    sample.grow_to(274 * 256).unwrap();
    sample.publish(&grown).unwrap();
    for kind in ["0", "entries"] {
        fs::remove_dir_all(log.join(format!("tile/{kind}/273.p"))).unwrap();
        let full = format!("tile/{kind}/273");
        fs::copy(grown.join(&full), log.join(&full)).unwrap();
    }
    for checker in [Checker::XMod, Checker::Aics, Checker::Scales] {
        foreign.passes(checker, &target(&sample, &log), 70_000, dir.path());
    }
}

#[test]
fn the_programs_that_come_with_the_packages_read_a_log() {
    let foreign = Foreign::get();
    let (sample, dir) = published();
    let log = dir.path().join("log");
    let (log, vkey) = (log.to_str().unwrap(), sample.note_key().vkey());
    let file = |name: &str, bytes: &[u8]| {
        fs::write(dir.path().join(name), bytes).unwrap();
        dir.path().join(name).to_str().unwrap().to_owned()
    };
    let said = foreign
        .packaged("aics-tlog", &["verify-checkpoint", "--log-key", &vkey, "--tiles", log])
        .done()
        .json();
    assert_eq!((&said["size"], &said["tiles_ok"]), (&70_000.into(), &true.into()), "{said}");
    for index in [0, 2, 65_535, 65_536, 69_999] {
        let entry = Sample::entry(index);
        let number = index.to_string();
        let leaf = file("entry", &entry);
        let args =
            ["verify-inclusion", "--log-key", &vkey, "--tiles", log, "--leaf", &leaf, "--index", &number];
        foreign.packaged("aics-tlog", &args).done();
        let read = foreign.packaged("tlog-tiles", &["get-leaf", "-c", log, &number]).done();
        // Entries here are no text; what was replaced on the way is replaced on both sides.
        assert_eq!(read.out, String::from_utf8_lossy(&entry), "entry {index}");
        // The proof that one of them makes, another believes.
        let proof = foreign.packaged("tlog-tiles", &["gen-proof", log, &number]).done().out;
        let policy = file("policy", target(&sample, Path::new(log)).policy().as_bytes());
        let proof = file("proof", proof.as_bytes());
        foreign.go("torchwood", &["proof", "--policy", &policy, "--entry", &leaf, &proof]).done();
    }
}

/// A region whose logs are cosigned, and the region that does.
const PAIR: [Cast; 2] = [
    Cast { id: "sh", role: "region", region: "310000", mirrors: "" },
    Cast { id: "js", role: "region", region: "320000", mirrors: "" },
];

#[test]
fn a_foreign_client_gets_from_our_witness_what_the_specification_says() {
    let foreign = Foreign::get();
    let federation = Federation::found_with(&PAIR, &["js"]);
    federation.spawn("sh");
    federation.spawn("js");
    federation.ready("sh");
    federation.ready("js");
    let registry = node::home::read_registry(&federation.registry()).unwrap().read().unwrap();
    let owner = MemberId::parse("sh").unwrap();
    let log = registry.note_key(&owner, LogName::Records).unwrap();
    let (_, keys) = registry.committee(&owner).pop().unwrap();
    let (witness, _) = &keys[0];

    federation.source("sh", "office");
    federation.submit("sh", "office", &federation.file("first.csv", rows::numbered(0, 5))).done();
    let (url, size) = (federation.http("js") + "/witness", federation.sizes("sh")[0]);
    let hash = Digest::of(log.name.as_bytes());
    let older = until("the log's owner has asked the witness", Duration::from_secs(30), || {
        let got = http::get(&format!("{url}/{hash}/checkpoint"), None)?;
        let note = SignedCheckpoint::parse(std::str::from_utf8(&got.body).ok()?).ok()?;
        (note.claimed().size.0 == size).then_some(got.body)
    });
    let older = federation.file("older", older);
    exported_proofs_are_believed(foreign, &federation, &log.vkey());
    // The log grows while the witness is away, and its owner is gone when the witness comes back.
    federation.stop("js");
    federation.submit("sh", "office", &federation.file("more.csv", rows::numbered(5, 305))).done();
    let size = TreeSize(federation.sizes("sh")[0]);
    assert!(size.0 > 256, "{size} entries are one tile");
    let dir = federation.path("published");
    let hashes = resources(size).into_iter().filter(|tile| tile.kind() != TileKind::Entries);
    for path in hashes.map(|tile| tile.path()).chain(["checkpoint".to_owned()]) {
        let got = http::get(&format!("{}/log/records/{path}", federation.http("sh")), None).unwrap();
        assert_eq!(got.status, 200, "{path}");
        fs::create_dir_all(dir.join(&path).parent().unwrap()).unwrap();
        fs::write(dir.join(&path), got.body).unwrap();
    }
    federation.stop("sh");
    // A witness that cannot ask the owner what it had cosigned needs its operator's word that its disk is no old one.
    federation.spawn_with("js", &["--alone"], &[]);
    federation.ready("js");

    let (vkey, cosigner, out) = (log.vkey(), witness.cosigner_vkey(), federation.text("cosigned"));
    let args = ["--vkey", &vkey, "--witness", &cosigner, "--url", &url, "--older", &older, "--out", &out];
    let said = foreign.go("feed", &[&args[..], &[dir.to_str().unwrap()]].concat()).done();
    assert!(said.out.starts_with("feed: ok, 13 refusals"), "{said:?}");
    let note = SignedCheckpoint::parse(&fs::read_to_string(&out).unwrap()).unwrap();
    assert_eq!(note.verify(&log).unwrap().size, size);
    assert_eq!(verify_quorum(&note, core::slice::from_ref(witness), 1).unwrap().len(), 1);
}

/// What `xinqiao audit proof` writes, a tlog-proof under the policy that `xinqiao federation policy` writes and a COSE
/// receipt under the log's key.
fn exported_proofs_are_believed(foreign: &Foreign, federation: &Federation, vkey: &str) {
    let (registry, policy) = (federation.registry(), federation.text("policy"));
    let args = ["federation", "policy", "--registry", registry.to_str().unwrap(), "--member", "sh"];
    common::run(&[&args[..], &["--log", "records", "--out", &policy, "--json"]].concat()).done();
    for form in ["tlog-proof", "cose"] {
        let [first, last] = ["0", "5"].map(|index| {
            let out = federation.text(&format!("{index}.{form}"));
            let args =
                ["audit", "proof", "--log", "records", "--index", index, "--form", form, "--out", &out];
            federation.at("sh", &args).done();
            out
        });
        let check = |proof: &str, entry: &str| match form {
            "cose" => foreign.python("receipt.py", &["--vkey", vkey, "--entry", entry, proof]),
            _ => foreign.go("torchwood", &["proof", "--policy", &policy, "--entry", entry, proof]),
        };
        let entry = |proof: &str| format!("{proof}.entry");
        check(&first, &entry(&first)).done();
        check(&last, &entry(&last)).done();
        assert_eq!(check(&first, &entry(&last)).code, Some(1), "{form} of another entry");
    }
}

/// The proof of an entry as a file of C2SP tlog-proof.
fn tlog_proof(index: u64, path: &[Digest], checkpoint: &str) -> String {
    let hashes: String = path.iter().map(|hash| STANDARD.encode(hash.0) + "\n").collect();
    format!("c2sp.org/tlog-proof@v1\nindex {index}\n{hashes}\n{checkpoint}")
}

/// The head of a CBOR item.
fn head(major: u8, argument: u64) -> Vec<u8> {
    let bytes = argument.to_be_bytes();
    match argument {
        0..24 => vec![major << 5 | bytes[7]],
        24..0x100 => vec![major << 5 | 24, bytes[7]],
        0x100..0x1_0000 => [&[major << 5 | 25], &bytes[6..]].concat(),
        0x1_0000..0x1_0000_0000 => [&[major << 5 | 26], &bytes[4..]].concat(),
        _ => [&[major << 5 | 27], &bytes[..]].concat(),
    }
}

fn byte_string(bytes: &[u8]) -> Vec<u8> {
    [&head(2, bytes.len() as u64), bytes].concat()
}

/// A COSE receipt of inclusion (RFC 9942), by hand, under the root of the present size.
fn receipt(sample: &Sample, index: u64, size: u64, root: &Digest) -> Vec<u8> {
    let path = sample.inclusion(index).unwrap();
    let hashes: Vec<u8> = path.iter().flat_map(|hash| byte_string(&hash.0)).collect();
    let proof = [vec![0x83], head(0, size), head(0, index), head(4, path.len() as u64), hashes].concat();
    // { 1: -8, 395: 1 }; { 396: { -1: [proof] } }
    let protected = byte_string(&[0xa2, 0x01, 0x27, 0x19, 0x01, 0x8b, 0x01]);
    let unprotected = [&[0xa1, 0x19, 0x01, 0x8c, 0xa1, 0x20, 0x81][..], &byte_string(&proof)].concat();
    let signed = [&b"\x84\x6aSignature1"[..], &protected, &[0x40], &byte_string(&root.0)].concat();
    let signature = byte_string(&sample.key().sign(&signed));
    [&[0xd2, 0x84][..], &protected, &unprotected, &[0xf6], &signature].concat()
}

#[test]
fn proofs_of_single_entries_are_believed_and_changed_ones_are_not() {
    let foreign = Foreign::get();
    let (sample, dir) = published();
    let file = |name: &str, bytes: &[u8]| {
        fs::write(dir.path().join(name), bytes).unwrap();
        dir.path().join(name).to_str().unwrap().to_owned()
    };
    let target = target(&sample, &dir.path().join("log"));
    let policy = file("policy", target.policy().as_bytes());
    let checkpoint = fs::read_to_string(dir.path().join("log/checkpoint")).unwrap();
    let root = SignedCheckpoint::parse(&checkpoint).unwrap().claimed().root;
    for index in [0, 1, 40_000, 65_536, 69_999] {
        let path = sample.inclusion(index).unwrap();
        let entry = file("entry", &Sample::entry(index));
        let other = file("other", &Sample::entry(index + 1));
        let proof = file("proof", tlog_proof(index, &path, &checkpoint).as_bytes());
        let check =
            |entry: &str| foreign.go("torchwood", &["proof", "--policy", &policy, "--entry", entry, &proof]);
        check(&entry).done();
        assert_eq!(check(&other).code, Some(1), "another entry than {index}");
        let receipt = receipt(&sample, index, 70_000, &root);
        let check = |entry: &str, receipt: &str| {
            foreign.python("receipt.py", &["--vkey", &target.vkey, "--entry", entry, receipt])
        };
        let good = file("receipt", &receipt);
        let said = check(&entry, &good).done();
        assert_eq!(said.out, format!("receipt: ok, entry {index} of 70000, a path of {}\n", path.len()));
        assert_eq!(check(&other, &good).code, Some(1), "another entry than {index}");
        // The algorithm, a hash of the path, the signature. Only the root is signed, so the size is not among them.
        for at in [4, receipt.len() - 100, receipt.len() - 1] {
            let mut bent = receipt.clone();
            bent[at] ^= 1;
            let ran = check(&entry, &file("bent", &bent));
            assert!(ran.code == Some(1) && !ran.err.contains("Traceback"), "byte {at}: {ran:?}");
        }
    }
}
