//! What was erased is nowhere: every byte of a node's directory is searched for it, and an old copy of the store is tried
//! with the present keys. The keys looked for are derived here a second time, from the description in docs/CRYPTO.md.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test; what fails here fails the test")]

mod common;

use std::{fs, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD};
use common::{
    Federation, contains, copy,
    federation::FIVE,
    files,
    rows::{Penalty, file},
    run,
};
use credit::{id::RecordId, record::SealedRecord};
use crypto::{
    codec::hex, keystore::Unlocked, keytree::Slot, label::Label, pseudonym::keyed, seal::open_box,
    secret::Secret,
};
use exchange::tables::{self, Key, RecordRow};
use node::{keys::Keys, store::DiskStore};

const PASS: &[u8] = b"an example passphrase";

/// A penalty whose texts stand nowhere else in the world.
fn canary(number: u64) -> Penalty {
    let word = hex(&keyed(&Secret::new([number as u8; 32]), Label::RecordId, &[b"canary"])[..12]);
    Penalty {
        name: format!("示例{word}公司（虚构）"),
        remark: format!("remark {word}"),
        ..Penalty::new(number)
    }
}

/// The key of a slot, by the description of the key tree: from the root, one keyed hash per level, left or right.
fn descend(root: &Secret, slot: u64) -> Secret {
    (0..40).rev().fold(root.clone(), |seed, level| {
        let side = if slot >> level & 1 == 0 { Label::KeyTreeLeft } else { Label::KeyTreeRight };
        Secret::new(keyed(&seed, side, &[]))
    })
}

/// What opens one record, and how it was kept.
struct Known {
    slot: Slot,
    sealed: SealedRecord,
    secrets: Vec<[u8; 32]>,
}

/// The root seed of a key tree from which nothing was erased yet, and all there is to know about each record.
fn known(dir: &Path, records: &[RecordId]) -> ([u8; 32], Vec<Known>) {
    let read = |name: &str| fs::read(dir.join(name)).unwrap();
    let (content, _) = Unlocked::open(PASS, &read("keystore")).unwrap();
    // Both end with the 32 bytes wanted: {0: seed, 1: master} and [[0, 40, root]].
    let master = Secret::new(*content.last_chunk().unwrap());
    let state = open_box(&master, Label::KeyTreeFile, &read("keytree")).unwrap();
    let root: [u8; 32] = *state.last_chunk().unwrap();
    let (keys, store) = (Keys::open(dir, PASS).unwrap(), DiskStore::open(&dir.join("data")).unwrap());
    let of = |record: &RecordId| {
        let row: RecordRow = tables::row(&store, &Key::record(record)).unwrap().unwrap();
        let slot = row.newest.slot;
        let sealed: SealedRecord = tables::payload(&store, slot).unwrap().unwrap();
        let slot_key = descend(&Secret::new(root), slot.0);
        let content = sealed.facts.content.0;
        let record_key = Secret::new(keyed(&slot_key, Label::RecordContent, &[&content]));
        let mut secrets = vec![*slot_key.expose(), *record_key.expose()];
        let bound = keys.record_key(slot).unwrap().bound_to(&content);
        for field in &sealed.fields {
            let field = field.field.0.to_be_bytes();
            let salt = keyed(&record_key, Label::FieldSalt, &[&field]);
            assert_eq!(
                salt,
                bound.salt(u16::from_be_bytes(field)),
                "what is looked for is what the node derives"
            );
            secrets.push(salt);
        }
        secrets.push(keyed(&record_key, Label::FieldKey, &[]));
        Known { slot, sealed, secrets }
    };
    (root, records.iter().map(of).collect())
}

/// The forms in which 32 bytes may stand in a file: as they are, hexadecimal, and base64 at each of three offsets.
fn forms(bytes: &[u8]) -> Vec<Vec<u8>> {
    let digits = hex(bytes);
    let mut forms = vec![bytes.to_vec(), digits.to_uppercase().into_bytes(), digits.into_bytes()];
    for shift in 0..3 {
        let text = STANDARD.encode([&vec![0; shift][..], bytes].concat());
        // What depends on the bytes around is cut off.
        let core = &text[if shift == 0 { 0 } else { 4 }..(shift + bytes.len()) / 3 * 4];
        forms.extend([core.as_bytes().to_vec(), core.replace('+', "-").replace('/', "_").into_bytes()]);
    }
    forms
}

/// The files below `dir`, and `more`, in which one of the needles stands.
fn found(dir: &Path, more: &Path, needles: &[Vec<u8>]) -> Vec<String> {
    let mut all = files(dir);
    all.push((more.to_owned(), fs::read(more).unwrap()));
    all.iter()
        .filter(|(_, bytes)| needles.iter().any(|needle| contains(bytes, needle)))
        .map(|(path, _)| path.display().to_string())
        .collect()
}

#[test]
fn what_was_erased_is_nowhere_and_an_old_store_does_not_open_with_the_present_keys() {
    let federation = Federation::start(&FIVE);
    federation.source("sh", "office");
    let rows: Vec<Penalty> = (1..5).map(canary).collect();
    federation.submit("sh", "office", &federation.file("rows.csv", file(&rows))).done();
    let answer = |n: usize, out: &str| {
        let (subject, out) = (&rows[n].subject, federation.text(out));
        let grant = federation.grant(&format!("grant-{n}-{}", out.len()), subject, "bank-a", &[]);
        let value = federation.query("bank-a", subject, &["--grant", &grant, "--out", &out]).done().json();
        let members = value["members"].as_array().unwrap();
        let part = members.iter().find(|m| m["member"] == "sh").unwrap();
        part["records"].as_array().unwrap().iter().map(|r| r["record"].as_str().unwrap().to_owned()).collect()
    };
    let records: Vec<String> = (0..4)
        .map(|n| {
            let ids: Vec<String> = answer(n, &format!("answer-{n}"));
            ids.into_iter().next().unwrap()
        })
        .collect();
    let ids: Vec<RecordId> = records.iter().map(|r| RecordId::parse(r).unwrap()).collect();

    // Before: a copy of everything, and all there is to look for.
    federation.stop("sh");
    let (present, old) = (federation.path("sh"), federation.path("sh.old"));
    copy(&present, &old);
    let (root, known) = known(&present, &ids);
    let log = federation.path("sh.log");
    let control = |needle: &[u8]| assert!(!found(&present, &log, &[needle.to_vec()]).is_empty());
    control(&ids[0].0);
    control(&fs::read(present.join("operator.key")).unwrap());

    // Three records go, in two operations, while the node runs.
    federation.spawn("sh");
    federation.ready("sh");
    let (first, certificates) = (federation.text("first.erasure"), federation.text("certificates"));
    let (one, taken_name) =
        (["erase", &records[0], "--reason", "collected in error", "--out", &first], federation.text("pass"));
    // What stands under the name of the certificate stays, and so does the record.
    let taken = ["erase", &records[0], "--reason", "collected in error", "--out", &taken_name];
    federation.at("sh", &taken).fails(1, &[&taken_name, "exists already"]);
    assert_eq!(federation.at("sh", &one).done().json()["erased"], records[0]);
    let list = federation.file("list", format!("{}\n{}\n\n{}\n", records[0], records[1], records[2]));
    let many = ["erase", "--records", &list, "--reason", "retention has ended", "--out", &certificates];
    let said = federation.at("sh", &many).done().json();
    assert_eq!((said["records"].as_u64(), said["erased_before"].as_u64()), (Some(2), Some(1)));
    for n in 0..3 {
        assert_eq!(answer(n, &format!("after-{n}")), Vec::<String>::new(), "record {n} answers nobody");
    }
    assert_eq!(answer(3, "after-3"), [records[3].clone()]);
    let none = "0".repeat(64);
    federation.at("sh", &["erase", &none, "--reason", "r"]).fails(1, &["record.unknown"]);
    federation.at("sh", &["audit", "erasure", &records[3]]).fails(1, &["not erased"]);

    // Nowhere: no value of any record, and nothing that opens an erased one.
    let mut gone: Vec<Vec<u8>> = forms(&root);
    gone.extend(known[..3].iter().flat_map(|k| &k.secrets).flat_map(|secret| forms(secret)));
    for row in &rows {
        gone.extend(
            [&row.name, &row.remark, &row.document, &row.subject].map(|text| text.clone().into_bytes()),
        );
    }
    let search = || assert_eq!(found(&present, &log, &gone), Vec::<String>::new());
    search();
    federation.stop("sh");
    search();
    let planted = present.join("planted");
    for needle in gone.iter().step_by(97) {
        fs::write(&planted, [b"xy", &needle[..], b"z"].concat()).unwrap();
        assert_eq!(
            found(&present, &log, &gone),
            [planted.to_str().unwrap()],
            "the search finds what is there"
        );
    }
    fs::remove_file(&planted).unwrap();

    // The old store has the sealed records still, and the present keys open only what was not erased.
    let store = DiskStore::open(&old.join("data")).unwrap();
    let keys = Keys::open(&present, PASS).unwrap();
    let sh = credit::id::MemberId::parse("sh").unwrap();
    for (n, k) in known.iter().enumerate() {
        let kept: SealedRecord = tables::payload(&store, k.slot).unwrap().unwrap();
        assert_eq!(kept, k.sealed);
        let opened = keys.record_key(k.slot).map(|key| kept.open(&[], &sh, &key));
        assert_eq!(opened.is_some_and(|o| o.is_ok()), n == 3, "record {n}");
    }
    // Neither does an old key tree beside the present keystore, nor a present one beside the old keystore.
    for (keystore, keytree) in [(&present, &old), (&old, &present)] {
        let mixed = federation.path("mixed");
        fs::create_dir_all(&mixed).unwrap();
        fs::copy(keystore.join("keystore"), mixed.join("keystore")).unwrap();
        fs::copy(keytree.join("keytree"), mixed.join("keytree")).unwrap();
        assert!(Keys::open(&mixed, PASS).is_err());
    }
    // The residue that docs/SECURITY.md names: both old files and the passphrase.
    assert!(Keys::open(&old, PASS).unwrap().record_key(known[0].slot).is_some());
    drop(store);

    // Old proofs hold, the log holds, and so do the certificates.
    federation.spawn("sh");
    federation.ready("sh");
    let registry = federation.registry();
    let verify = |what: &str, more: &[&str]| {
        let args = ["verify", what, "--json", "--registry", registry.to_str().unwrap()];
        run(&[&args[..], more].concat())
    };
    verify(&federation.text("answer-0"), &[]).done();
    let (bank, pass) = (federation.text("bank-a"), federation.text("pass"));
    let opened =
        verify(&federation.text("answer-0"), &["--open-with", &bank, "--passphrase-file", &pass]).done();
    assert!(opened.out.contains(&rows[0].remark), "what the bank received is the bank's: {}", opened.out);
    let copied = federation.text("records-log");
    let export = ["audit", "export", "--member", "sh", "--log", "records", "--out", &copied];
    federation.unlocked(&export, "js").done();
    verify(&copied, &[]).done();
    let later = federation.text("later.erasure");
    federation.at("sh", &["audit", "erasure", &records[1], "--out", &later]).done();
    federation
        .at("sh", &["audit", "erasure", &records[2], "--out", &later])
        .fails(1, &[&later, "exists already"]);
    let second = format!("{certificates}/{}.erasure", records[1]);
    for (path, record, reason) in [
        (&first, 0, "collected in error"),
        (&second, 1, "retention has ended"),
        (&later, 1, "retention has ended"),
    ] {
        let value = verify(path, &[]).done().json();
        assert_eq!((&value["record"], &value["reason"]), (&records[record].clone().into(), &reason.into()));
        verify(path, &["--require-witnesses"]).fails(1, &["0 are needed"]);
    }
    // A certificate with a changed byte convicts nobody; every place is tried.
    let whole = fs::read(&later).unwrap();
    for at in (0..whole.len()).step_by(7) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        let read = crypto::codec::from_slice::<exchange::artifact::Artifact>(&bytes);
        if let Ok(exchange::artifact::Artifact::Erasure(certificate)) = read {
            let registry = node::home::read_registry(&registry).unwrap().accept(None).unwrap();
            assert!(certificate.verify(&registry).is_err(), "byte {at} of {}", whole.len());
        }
    }
}
