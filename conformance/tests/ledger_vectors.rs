//! Logs, notes and proofs made by other implementations, through the `ledger` crate.
//! `vectors/ledger/README.md` says where each comes from and under which licence.
#![allow(clippy::unwrap_used)] // a test that cannot go on ends with a panic

use std::{collections::BTreeMap, fs, path::PathBuf};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use crypto::{
    Digest, Timestamp,
    codec::{hex, unhex},
    merkle,
    secret::Secret,
    sign::SigningKey,
};
use ledger::{
    Batch, Checkpoint, LeafIndex, Log, NoteKey, SignedCheckpoint, Store, Tile, TreeSize,
    audit::{AuditError, LogSource, audit},
    cose_receipt::CoseReceipt,
    log,
    note::Note,
    policy::{Disbelief, Policy},
    proof::{verify_consistency, verify_inclusion},
    proof_file::ProofFile,
    store::memory::MemoryStore,
    tile::{TileKind, decode_bundle, decode_hashes},
    witness,
};
use serde_json::Value;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors/ledger").join(name)
}

fn text(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap()
}

fn json(name: &str) -> Value {
    serde_json::from_str(&text(name)).unwrap()
}

/// A hash in base64; `None` when it is not 32 bytes, which a verifier refuses before anything else.
fn hash(value: &Value) -> Option<Digest> {
    STANDARD.decode(value.as_str()?).ok()?.try_into().ok().map(Digest)
}

fn hashes(value: &Value) -> Option<Vec<Digest>> {
    value.as_array().map_or(Some(Vec::new()), |list| list.iter().map(hash).collect())
}

fn hex_hash(value: &Value) -> Digest {
    Digest(unhex(value.as_str().unwrap()).unwrap().try_into().unwrap())
}

#[test]
fn every_inclusion_proof_is_judged_as_published() {
    let mut run = 0;
    for line in text("merkle-proofs/inclusion.jsonl").lines() {
        let v: Value = serde_json::from_str(line).unwrap();
        let index = LeafIndex(v["leafIdx"].as_u64().unwrap());
        let size = TreeSize(v["treeSize"].as_u64().unwrap());
        let good = || {
            let (leaf, root) = (hash(&v["leafHash"])?, hash(&v["root"])?);
            verify_inclusion(index, size, &leaf, &root, &hashes(&v["proof"])?).ok()
        };
        assert_eq!(good().is_none(), v["wantErr"].as_bool().unwrap(), "{}", v["file"]);
        run += 1;
    }
    assert_eq!(run, 98);
}

#[test]
fn every_consistency_proof_is_judged_as_published_where_its_roots_are_hashes() {
    let (mut run, mut differ) = (0, Vec::new());
    for line in text("merkle-proofs/consistency.jsonl").lines() {
        let v: Value = serde_json::from_str(line).unwrap();
        let old = TreeSize(v["size1"].as_u64().unwrap());
        let new = TreeSize(v["size2"].as_u64().unwrap());
        let good = || {
            let (old_root, new_root) = (hash(&v["root1"])?, hash(&v["root2"])?);
            verify_consistency(old, new, &old_root, &new_root, &hashes(&v["proof"])?).ok()
        };
        if good().is_none() != v["wantErr"].as_bool().unwrap() {
            differ.push(v["file"].as_str().unwrap().to_owned());
        }
        run += 1;
    }
    assert_eq!(run, 98);
    // Its two equal roots are 12 bytes of text, which upstream compares without looking at the length.
    assert_eq!(differ, ["consistency/additional/sizes-are-equal-one-and-proof-is-empty.json"]);
}

#[test]
fn the_reference_tree_of_eight_leaves_has_its_hashes() {
    let v = json("merkle-proofs/rfc6962-8-leaf-tree.json");
    let inputs: Vec<Vec<u8>> = v["leaf_inputs_hex"]
        .as_array()
        .unwrap()
        .iter()
        .map(|input| unhex(input.as_str().unwrap()).unwrap())
        .collect();
    let store = MemoryStore::default();
    let key = SigningKey::from_seed(&Secret::new([1; 32]));
    let mut log = Log::open("l", "o", &store).unwrap();
    for (n, root) in v["roots_by_size"].as_array().unwrap().iter().enumerate() {
        if n > 0 {
            log.append(inputs[n - 1].clone()).unwrap();
        }
        let mut batch = Batch::default();
        log.seal(&key, &store, &mut batch).unwrap();
        store.apply(&batch).unwrap();
        assert_eq!(log::root(&store, "l", TreeSize(n as u64)), Ok(hex_hash(root)));
    }
    let leaves: Vec<Digest> = inputs.iter().map(|input| merkle::leaf_hash(input)).collect();
    for (level, row) in v["node_hashes_by_level"].as_array().unwrap().iter().enumerate() {
        for (nodes, expected) in leaves.chunks(1 << level).zip(row.as_array().unwrap()) {
            assert_eq!(merkle::root(nodes), hex_hash(expected));
        }
    }
}

#[test]
fn notes_of_others_verify() {
    for name in ["spec-note", "sumdb-35225469"] {
        let note = Note::parse(&text(&format!("notes/{name}.txt"))).unwrap();
        let vkey = text(&format!("notes/{name}.vkey"));
        let key = NoteKey::parse(vkey.trim()).unwrap();
        assert_eq!(note.verify(&key), Ok(()), "{name}");
        assert_eq!(key.vkey(), vkey.trim());
        let altered = text(&format!("notes/{name}.txt")).replacen('e', "E", 1);
        assert!(Note::parse(&altered).unwrap().verify(&key).is_err());
    }
    // A checkpoint whose log signature is of a type we do not know: carried along, and the witness's line verified.
    let checkpoint = SignedCheckpoint::parse(&text("notes/witnessed-rfc6962-checkpoint.txt")).unwrap();
    let key = NoteKey::parse_cosigner(text("notes/witnessed-rfc6962-checkpoint.vkey").trim()).unwrap();
    assert_eq!(checkpoint.claimed().size, TreeSize(300));
    // The time is the big-endian 0x69546780 in the line.
    assert_eq!(witness::verify_quorum(&checkpoint, &[key], 1).unwrap()[0].time_s, 0x6954_6780);
}

/// A published log in the vectors folder, under one of its checkpoints.
struct Folder {
    name: &'static str,
    checkpoint: String,
}

impl LogSource for Folder {
    fn checkpoint(&self) -> String {
        self.checkpoint.clone()
    }
    fn resource(&self, resource: &str) -> Result<Option<Vec<u8>>, String> {
        match fs::read(path(self.name).join(resource)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e.to_string()),
        }
    }
}

#[test]
fn the_tessera_log_passes_an_audit_at_every_size_and_our_mirror_has_its_bytes() {
    let key = NoteKey::parse(text("tessera-log-15/vkey").trim()).unwrap();
    let mut entries = Vec::new();
    let mut checkpoints = Vec::new();
    for n in 0..=15u64 {
        let note = text(&format!("tessera-log-15/checkpoint.{n}"));
        entries.clear();
        let source = Folder { name: "tessera-log-15", checkpoint: note.clone() };
        let checkpoint = audit(&source, &key, &mut |_, entry, _| {
            entries.push(entry.to_vec());
            Ok(())
        });
        let checkpoint = checkpoint.unwrap();
        assert_eq!((checkpoint.size.0, entries.len() as u64), (n, n));
        checkpoints.push((SignedCheckpoint::parse(&note).unwrap(), checkpoint));
    }
    assert_eq!((entries[0].as_slice(), entries[14].as_slice()), (&b"one"[..], &b"fivten"[..]));

    // Mirrored entry by entry, our store serves the same tiles and bundles, and proofs between all checkpoints hold.
    let store = MemoryStore::default();
    let mut mirror = Log::open("mirror/t", &key.name, &store).unwrap();
    for (note, checkpoint) in &checkpoints {
        if checkpoint.size.0 > 0 {
            mirror.append(entries[checkpoint.size.0 as usize - 1].clone()).unwrap();
        }
        let mut batch = Batch::default();
        mirror.seal_mirror(note, checkpoint, &store, &mut batch).unwrap();
        store.apply(&batch).unwrap();
    }
    for width in 1..=15 {
        for tile in [Tile::hashes(0, 0, width), Tile::entries(0, width)].into_iter().flatten() {
            let published = fs::read(path("tessera-log-15").join(tile.path())).unwrap();
            assert_eq!(log::resource(&store, "mirror/t", &tile), Ok(Some(published)), "{}", tile.path());
        }
    }
    for (_, old) in &checkpoints {
        for (_, new) in checkpoints.iter().filter(|(_, new)| new.size >= old.size) {
            let proof = log::consistency(&store, "mirror/t", old.size, new.size).unwrap();
            assert_eq!(verify_consistency(old.size, new.size, &old.root, &new.root, &proof), Ok(()));
        }
    }
}

#[test]
fn the_mirrored_tiles_of_300_leaves_give_the_cosigned_root() {
    let checkpoint = SignedCheckpoint::parse(&text("sunlight-mirror-300/checkpoint")).unwrap();
    let key = NoteKey::parse_cosigner(text("sunlight-mirror-300/mirror.vkey").trim()).unwrap();
    assert_eq!(witness::verify_quorum(&checkpoint, &[key], 1).unwrap().len(), 1);
    let tile = |level, index, width| {
        let at = Tile::hashes(level, index, width).unwrap();
        decode_hashes(&fs::read(path("sunlight-mirror-300").join(at.path())).unwrap()).unwrap()
    };
    let (full, partial) = (tile(0, 0, 256), tile(0, 1, 44));
    assert_eq!(tile(1, 0, 1), [merkle::root(&full)]);
    assert_eq!(merkle::root(&[full, partial].concat()), checkpoint.claimed().root);
}

#[test]
fn a_sigsum_proof_of_a_real_log_verifies_by_its_policy_with_all_its_cosignatures() {
    let file = text("sigsum/hello.tlog-proof");
    let proof = ProofFile::parse(&file).unwrap();
    assert_eq!(proof.to_string(), file);
    let file = text("sigsum/hello.tlog-policy");
    let policy = Policy::parse(file.as_bytes()).unwrap();
    let entry = unhex(text("sigsum/hello.leaf.hex").trim()).unwrap();
    let leaf = merkle::leaf_hash(&entry);
    let believed = proof.verify(&leaf, &policy).unwrap();
    assert_eq!((believed.checkpoint.size, believed.cosigned.len()), (TreeSize(381_382), 8));

    // Four of six, where the group of three counts as one when two of them have cosigned. Without all but these lines:
    let only = |names: &[&str]| {
        let note = proof.checkpoint.as_str();
        let (text, lines) = note.split_at(note.rfind("\n\n").unwrap() + 2);
        let kept =
            |line: &&str| names.iter().any(|name| line.contains(name)) || line.contains(" sigsum.org/");
        let lines: Vec<&str> = lines.split_inclusive('\n').filter(kept).collect();
        let checkpoint = SignedCheckpoint::parse(&format!("{text}{}", lines.concat())).unwrap();
        ProofFile { checkpoint, ..proof.clone() }.verify(&leaf, &policy).map(|b| b.cosigned.len())
    };
    let (three, group) = (["remora", "stagemole", "tillitis"], ["nisse", "rgdd.se", "smartit"]);
    assert_eq!(only(&[&three[..], &group[..2]].concat()), Ok(5));
    assert_eq!(only(&[&three[..], &["navigli"]].concat()), Ok(4));
    assert_eq!(only(&[&three[..], &group[..1]].concat()), Err(Disbelief::Quorum { found: 4 }));
    assert_eq!(only(&[&three[..2], &group[..]].concat()), Err(Disbelief::Quorum { found: 5 }));

    // The policy in Sigsum's own form names keys otherwise, and says so on its first key.
    let error = Policy::parse(text("sigsum/sigsum-test-2025-3.policy").as_bytes()).unwrap_err();
    assert_eq!(error.to_string(), "line 3: the log's key: malformed key");
    let other = file.replace("sigsum.org/v1/tree/1643169b", "sigsum.org/v1/tree/0643169b");
    assert!(Policy::parse(other.as_bytes()).unwrap_err().why.contains("key id"));
}

#[test]
fn the_cose_receipt_of_the_reference_log_is_the_published_one() {
    let manifest = json("reference-log-70000/manifest.json");
    let wanted = |v: &&Value| v["index"] == 299 && v["size"] == 300;
    let proof = manifest["inclusion"].as_array().unwrap().iter().find(wanted).unwrap();
    let checkpoint = SignedCheckpoint::parse(&text("reference-log-70000/checkpoint.300")).unwrap();
    let key = SigningKey::from_seed(&Secret::new([7; 32]));
    let (index, path) = (LeafIndex(299), hashes(&proof["proof_b64"]).unwrap());
    let now = Timestamp(1_767_225_600_000);
    let made = CoseReceipt::sign(&key, "node-a.example", now, index, path, checkpoint).unwrap();
    let published = fs::read(path_of_receipt("receipt.cbor")).unwrap();
    assert_eq!(hex(&made.to_vec()), hex(&published));
    let read = CoseReceipt::parse(&published).unwrap();
    let policy = Policy::parse(&fs::read(path_of_receipt("policy")).unwrap()).unwrap();
    let entry = fs::read(path_of_receipt("entry")).unwrap();
    assert_eq!(entry, reference_entry(299));
    assert_eq!(read.verify(&merkle::leaf_hash(&entry), &policy).unwrap().checkpoint.size, TreeSize(300));
    let public = fs::read_to_string(path_of_receipt("key.hex")).unwrap();
    assert_eq!(public.trim(), hex(&key.verifying_key().to_bytes()));
}

fn path_of_receipt(name: &str) -> PathBuf {
    path("cose-receipt").join(name)
}

/// The entry of the reference log, by the formula in its manifest.
fn reference_entry(i: u64) -> Vec<u8> {
    let digest = Digest::of(i.to_string().as_bytes());
    [format!("record {i:08} ").as_bytes(), &digest.0, &digest.0, &digest.0].concat()
}

/// Our own rebuilding of the reference log, with a byte flipped where a test wants one.
struct Rebuilt<'a> {
    store: &'a MemoryStore,
    flip: Option<(&'a str, usize)>,
}

impl LogSource for Rebuilt<'_> {
    fn checkpoint(&self) -> String {
        text("reference-log-70000/checkpoint.70000")
    }
    fn resource(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
        let tile = Tile::parse(path).map_err(|e| e.to_string())?;
        let mut bytes = log::resource(self.store, "records", &tile).map_err(|e| e.to_string())?;
        if let (Some((flipped, at)), Some(bytes)) = (self.flip, &mut bytes)
            && flipped == path
        {
            bytes[at] ^= 1;
        }
        Ok(bytes)
    }
}

#[test]
fn the_reference_log_comes_out_byte_for_byte() {
    let manifest = json("reference-log-70000/manifest.json");
    let origin = manifest["origin"].as_str().unwrap();
    let key = SigningKey::from_seed(&Secret::new([7; 32]));
    let public = NoteKey::parse(manifest["vkey"].as_str().unwrap()).unwrap();
    assert_eq!(public.key.to_bytes(), key.verifying_key().to_bytes());
    assert_eq!(hex(&reference_entry(69_999)), manifest["entry_69999_hex"].as_str().unwrap());
    assert_eq!(merkle::leaf_hash(&reference_entry(0)), hex_hash(&manifest["leaf_hash_0_hex"]));

    // Checkpoints: our writer signs the same bytes at every published size.
    let store = MemoryStore::default();
    let mut log = Log::open("records", origin, &store).unwrap();
    let mut roots = BTreeMap::new();
    for (size, root) in manifest["roots_b64"].as_object().unwrap() {
        roots.insert(size.parse::<u64>().unwrap(), hash(root).unwrap());
    }
    assert_eq!(roots.len(), 6);
    for (size, root) in &roots {
        while log.next_index().0 < *size {
            log.append(reference_entry(log.next_index().0)).unwrap();
        }
        let mut batch = Batch::default();
        log.seal(&key, &store, &mut batch).unwrap();
        store.apply(&batch).unwrap();
        let head = log::head(&store, "records").unwrap().unwrap();
        assert_eq!(head.as_str(), text(&format!("reference-log-70000/checkpoint.{size}")));
        let expected = Checkpoint { origin: origin.to_owned(), size: TreeSize(*size), root: *root };
        assert_eq!(head.verify(&public), Ok(expected));
    }
    // And every earlier root can still be computed from the tiles.
    for (size, root) in &roots {
        assert_eq!(log::root(&store, "records", TreeSize(*size)), Ok(*root));
    }

    // Tiles and bundles.
    let resources = manifest["resources_sha256"].as_object().unwrap();
    assert_eq!(resources.len(), 10);
    for (path, digest) in resources {
        let tile = Tile::parse(path).unwrap();
        let bytes = log::resource(&store, "records", &tile).unwrap().unwrap();
        assert_eq!(Digest::of(&bytes), hex_hash(digest), "{path}");
        let width = match tile.kind() {
            TileKind::Entries => decode_bundle(&bytes).unwrap().len(),
            TileKind::Hashes(_) => decode_hashes(&bytes).unwrap().len(),
        };
        assert_eq!(width, usize::from(tile.width()));
    }

    // Proofs: ours are the published ones, and they verify.
    let proofs = manifest["inclusion"].as_array().unwrap();
    assert_eq!(proofs.len(), 9);
    for v in proofs {
        let (index, size) = (v["index"].as_u64().unwrap(), v["size"].as_u64().unwrap());
        let proof = log::inclusion(&store, "records", LeafIndex(index), TreeSize(size)).unwrap();
        assert_eq!(Some(&proof), hashes(&v["proof_b64"]).as_ref());
        let leaf = merkle::leaf_hash(&reference_entry(index));
        assert_eq!(verify_inclusion(LeafIndex(index), TreeSize(size), &leaf, &roots[&size], &proof), Ok(()));
    }
    let proofs = manifest["consistency"].as_array().unwrap();
    assert_eq!(proofs.len(), 7);
    for v in proofs {
        let (old, new) = (v["size1"].as_u64().unwrap(), v["size2"].as_u64().unwrap());
        let proof = log::consistency(&store, "records", TreeSize(old), TreeSize(new)).unwrap();
        assert_eq!(Some(&proof), hashes(&v["proof_b64"]).as_ref());
        let (old_root, new_root) = (&roots[&old], &roots[&new]);
        assert_eq!(verify_consistency(TreeSize(old), TreeSize(new), old_root, new_root, &proof), Ok(()));
    }

    // Audit: the whole log, and one flipped bit in an entry and in a tile of each of two levels.
    let run = |flip| audit(&Rebuilt { store: &store, flip }, &public, &mut |_, _, _| Ok(()));
    assert_eq!(run(None).unwrap().size, TreeSize(70_000));
    let altered = LeafIndex(200 * 256 + 17);
    assert_eq!(
        run(Some(("tile/entries/200", 114 * 17 + 2))),
        Err(AuditError::EntryAltered { index: altered })
    );
    for path in ["tile/0/137", "tile/1/001.p/17"] {
        assert_eq!(run(Some((path, 33))), Err(AuditError::TileAltered { path: path.into() }));
    }
}

#[test]
fn the_cosigned_reference_checkpoint_verifies_and_our_witness_signs_the_same_line() {
    let signed = SignedCheckpoint::parse(&text("reference-log-70000/checkpoint.70000.cosigned")).unwrap();
    let vkeys = text("reference-log-70000/cosigned.vkeys");
    let mut vkeys = vkeys.lines();
    let log_key = NoteKey::parse(vkeys.next().unwrap()).unwrap();
    let witness_key = NoteKey::parse_cosigner(vkeys.next().unwrap()).unwrap();
    // The second witness's key is ML-DSA-44, a type we do not have: no key for us, and its line is ignored.
    assert!(NoteKey::parse_cosigner(vkeys.next().unwrap()).is_err());
    assert_eq!(signed.verify(&log_key).unwrap().size, TreeSize(70_000));
    let good = witness::verify_quorum(&signed, std::slice::from_ref(&witness_key), 1).unwrap();
    let key = SigningKey::from_seed(&Secret::new([8; 32]));
    let line = witness::cosign(&signed, &witness_key.name, &key, good[0].time_s);
    assert!(signed.as_str().contains(&line));
    let bare = SignedCheckpoint::parse(&text("reference-log-70000/checkpoint.70000")).unwrap();
    let ours = bare.with_cosignature(&line, &witness_key).unwrap();
    assert_eq!(witness::verify_quorum(&ours, &[witness_key], 1), Ok(good));
}
