//! The published logs, read as a stranger would who has only the C2SP pages: own HTTP, own RFC 6962, own notes. From
//! our crates only SHA-256 and Ed25519 are used. At the end other people's readers look at the same logs.
//! Source: C2SP tlog-tiles, tlog-checkpoint, signed-note; RFC 6962 §2.1.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test; what fails here fails the test")]

mod common;

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Stdio},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use common::{
    command,
    foreign::{Checker, Foreign, Target},
    http,
    http::Got,
};
use credit::id::MemberId;
use crypto::{Digest, codec::hex, sign::VerifyingKey};
use serde_json::Value;

/// A kept demonstration; gone with the test.
struct Kept {
    child: Child,
    document: Value,
    _dir: tempfile::TempDir,
}

impl Kept {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("demo").to_str().unwrap().to_owned();
        // Enough for full tiles and a tile above them in the records of each region.
        let args = ["demo", "--json", "--seed", "5", "--records", "600", "--keep", "--dir", &at];
        let mut child = command(&args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut reader = BufReader::new(child.stdout.take().unwrap());
        let mut text = String::new();
        while !text.ends_with("\n}\n") {
            assert_ne!(reader.read_line(&mut text).unwrap(), 0, "the demonstration has ended: {text}");
        }
        Self { child, document: serde_json::from_str(&text).unwrap(), _dir: dir }
    }

    fn log(&self, member: &str, log: &str) -> Published {
        let nodes = self.document["nodes"].as_array().unwrap();
        let node = nodes.iter().find(|n| n["member"] == member).unwrap();
        let text = |key: &str| node["logs"][log][key].as_str().unwrap().to_owned();
        let auth = self.document["auth"].as_str().unwrap().to_owned();
        Published { url: text("url"), vkey: text("vkey"), auth }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let mut stop = std::process::Command::new("kill");
        stop.args(["-INT", &self.child.id().to_string()]);
        let _ = stop.status();
        let _ = self.child.wait();
    }
}

/// One published log.
struct Published {
    url: String,
    vkey: String,
    auth: String,
}

impl Published {
    fn get(&self, path: &str) -> Got {
        http::get(&format!("{}/{path}", self.url), None).unwrap()
    }

    fn read(&self, path: &str) -> Got {
        http::get(&format!("{}/{path}", self.url), Some(&self.auth)).unwrap()
    }

    fn ok(&self, path: &str) -> Vec<u8> {
        let got = self.read(path);
        assert_eq!(got.status, 200, "{path}: {}", String::from_utf8_lossy(&got.body));
        got.body
    }

    /// Size and root under a signature that was checked by hand; `None` when nothing is published yet.
    fn checkpoint(&self) -> Option<(u64, [u8; 32])> {
        let got = self.get("checkpoint");
        if got.status == 404 {
            return None;
        }
        assert!(got.header("content-type").unwrap().starts_with("text/plain"));
        let note = String::from_utf8(got.body).unwrap();
        let (text, signatures) = note.split_at(note.rfind("\n\n").unwrap() + 1);
        // vkey: <name>+<hex id>+<base64(0x01 ‖ key)>
        let mut parts = self.vkey.splitn(3, '+');
        let (name, id, key) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
        let key = STANDARD.decode(key).unwrap();
        assert_eq!((key[0], key.len()), (0x01, 33));
        let hashed = sha256(&[name.as_bytes(), b"\n", &key].concat());
        assert_eq!(hex(&hashed[..4]), id);
        // — <name> <base64(id ‖ signature)>
        let line = signatures.lines().find(|l| l.starts_with(&format!("\u{2014} {name} "))).unwrap();
        let signed = STANDARD.decode(line.rsplit(' ').next().unwrap()).unwrap();
        assert_eq!((hex(&signed[..4]).as_str(), signed.len()), (id, 68));
        let verifier = VerifyingKey::from_bytes(key[1..].try_into().unwrap()).unwrap();
        assert!(verifier.verify(text.as_bytes(), signed[4..].try_into().unwrap()), "{}", self.url);
        let mut other = text.as_bytes().to_vec();
        other[0] ^= 1;
        assert!(!verifier.verify(&other, signed[4..].try_into().unwrap()));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines.len(), lines[0]), (3, name));
        Some((lines[1].parse().unwrap(), STANDARD.decode(lines[2]).unwrap().try_into().unwrap()))
    }

    /// Every entry, from its bundles.
    fn entries(&self, size: u64) -> Vec<Vec<u8>> {
        let mut entries = Vec::new();
        for (index, width) in tiles(size) {
            let bundle = self.ok(&path("entries", index, width));
            let mut rest = &bundle[..];
            let mut found = 0;
            while let [a, b, tail @ ..] = rest {
                let (entry, after) = tail.split_at(usize::from(*a) << 8 | usize::from(*b));
                entries.push(entry.to_vec());
                (rest, found) = (after, found + 1);
            }
            assert_eq!((rest.len(), found), (0, width), "bundle {index} of {}", self.url);
        }
        entries
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    Digest::of(bytes).0
}

fn leaf(entry: &[u8]) -> [u8; 32] {
    sha256(&[&[0], entry].concat())
}

fn node(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    sha256(&[&[1][..], left, right].concat())
}

/// The largest power of two below `n`.
fn split(n: usize) -> usize {
    let mut k = 1;
    while k * 2 < n {
        k *= 2;
    }
    k
}

/// MTH of RFC 6962 §2.1, over leaf hashes.
fn root(leaves: &[[u8; 32]]) -> [u8; 32] {
    match leaves {
        [] => sha256(b""),
        [one] => *one,
        many => {
            let (left, right) = many.split_at(split(many.len()));
            node(&root(left), &root(right))
        }
    }
}

/// The root that an inclusion path leads to.
fn walk(index: usize, size: usize, leaf: [u8; 32], path: &[[u8; 32]]) -> [u8; 32] {
    let Some((last, rest)) = path.split_last() else {
        assert_eq!(size, 1, "the path is short");
        return leaf;
    };
    let k = split(size);
    if index < k {
        node(&walk(index, k, leaf, rest), last)
    } else {
        node(last, &walk(index - k, size - k, leaf, rest))
    }
}

/// Index and width of every tile over `count` things.
fn tiles(count: u64) -> impl Iterator<Item = (u64, u64)> {
    (0..count.div_ceil(256)).map(move |index| (index, (count - index * 256).min(256)))
}

/// A tile's path: groups of three digits, all but the last with an `x`, and the width when it is not full.
fn path(level: &str, index: u64, width: u64) -> String {
    let mut name = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        name = format!("x{:03}/{name}", rest % 1000);
        rest /= 1000;
    }
    let partial = if width == 256 { String::new() } else { format!(".p/{width}") };
    format!("tile/{level}/{name}{partial}")
}

/// The node over the `2^level` leaves from `index << level`, from the hash tiles alone.
fn tile_node(log: &Published, size: u64, level: u32, index: u64) -> [u8; 32] {
    let (row, inside) = (level / 8, level % 8);
    let first = index << inside;
    let width = ((size >> (8 * row)) - first / 256 * 256).min(256);
    let tile = log.get(&path(&row.to_string(), first / 256, width));
    assert_eq!((tile.status, tile.body.len() as u64), (200, width * 32));
    let hashes: Vec<[u8; 32]> = tile.body.as_chunks::<32>().0.to_vec();
    let at = (first % 256) as usize;
    root(&hashes[at..at + (1 << inside)])
}

/// The root over the leaves `from` to `to`, from hash tiles alone.
fn range(log: &Published, size: u64, from: u64, to: u64) -> [u8; 32] {
    let n = to - from;
    if n.is_power_of_two() {
        return tile_node(log, size, n.ilog2(), from / n);
    }
    let middle = from + split(n as usize) as u64;
    node(&range(log, size, from, middle), &range(log, size, middle, to))
}

/// The inclusion path of `index`, from hash tiles alone, its sibling first.
fn inclusion(log: &Published, size: u64, index: u64, from: u64, to: u64) -> Vec<[u8; 32]> {
    if to - from == 1 {
        return Vec::new();
    }
    let middle = from + split((to - from) as usize) as u64;
    let (mut path, sibling) = if index < middle {
        (inclusion(log, size, index, from, middle), range(log, size, middle, to))
    } else {
        (inclusion(log, size, index, middle, to), range(log, size, from, middle))
    };
    path.push(sibling);
    path
}

#[test]
fn a_stranger_verifies_every_published_log() {
    let kept = Kept::start();
    let mut seen = 0;
    for member in ["sh", "js", "xyd", "bank-a"] {
        for name in ["records", "status", "access"] {
            let log = kept.log(member, name);
            // Who reads entries leaves a line in the access log, and the line covers itself: before that log's size is looked
            // at, all of it has been read once.
            if let Some((size, _)) = log.checkpoint() {
                log.entries(size);
            }
            let Some((size, signed_root)) = log.checkpoint() else {
                assert_eq!((member, name), ("bank-a", "records"), "nothing is published");
                continue;
            };
            let entries = log.entries(size);
            let leaves: Vec<[u8; 32]> = entries.iter().map(|e| leaf(e)).collect();
            assert_eq!(leaves.len() as u64, size);
            assert_eq!(root(&leaves), signed_root, "{}", log.url);
            // Every entry is a CBOR map whose key 0 is the leaf hash of the entry before it.
            let mut before = [0; 32];
            for (entry, leaf) in entries.iter().zip(&leaves) {
                assert_eq!((&entry[..4], &entry[4..36]), (&[0xa3, 0x00, 0x58, 0x20][..], &before[..]));
                before = *leaf;
            }
            if size == 0 {
                assert_eq!(log.read("tile/0/000.p/1").status, 404, "{}", log.url);
                continue;
            }
            hash_tiles_hold(&log, &leaves);
            for index in [0, size / 2, size - 1] {
                let path = inclusion(&log, size, index, 0, size);
                assert_eq!(walk(index as usize, size as usize, leaves[index as usize], &path), signed_root);
            }
            doors_are_open_and_closed(&log, size);
            headers_are_those_of_the_specification(&log, size);
            widths_behave(&log, size);
            seen += size;
        }
    }
    assert!(seen > 1_000, "{seen} entries");
    let (size, _) = kept.log("sh", "records").checkpoint().unwrap();
    assert!(size > 512, "{size} entries do not fill two tiles");
    for (member, name) in [("sh", "records"), ("js", "status"), ("bank-a", "access")] {
        others_agree(&kept.log(member, name));
        foreign_programs_agree(&kept, member, name);
    }
    strangers_passes_open_nothing(&kept);
}

/// Every hash tile of every level holds what the entries give.
fn hash_tiles_hold(log: &Published, leaves: &[[u8; 32]]) {
    let mut row: Vec<[u8; 32]> = leaves.to_vec();
    let mut level = 0;
    while !row.is_empty() {
        for (index, width) in tiles(row.len() as u64) {
            let tile = log.get(&path(&level.to_string(), index, width));
            let (from, width) = (index as usize * 256, width as usize);
            assert_eq!((tile.status, &tile.body), (200, &row[from..from + width].concat()), "{}", log.url);
        }
        row = row.chunks_exact(256).map(root).collect();
        level += 1;
    }
    assert_eq!(log.get(&path(&level.to_string(), 0, 1)).status, 404, "a level too many");
}

/// Checkpoints and hashes are for everybody, entries for those with a pass.
fn doors_are_open_and_closed(log: &Published, size: u64) {
    let width = size.min(256);
    assert_eq!(log.get(&path("0", 0, width)).status, 200);
    let entries = path("entries", 0, width);
    let refused = log.get(&entries);
    assert_eq!((refused.status, refused.header("www-authenticate")), (401, Some("Bearer")));
    let said = String::from_utf8(refused.body).unwrap();
    assert!(said.contains("xinqiao audit pass") && said.contains("通行证"), "{said}");
    let read = log.read(&entries);
    assert_eq!(read.status, 200);
    assert!(
        read.header("cache-control").unwrap().contains("no-store"),
        "a cache would serve it without a pass"
    );
    let url = format!("{}/{entries}", log.url);
    for auth in ["", "Bearer", "Bearer ", "Bearer AAAA", "Basic YTpi", &log.auth.replace("Bearer ", "")] {
        assert_eq!(http::get(&url, Some(auth)).unwrap().status, 401, "`{auth}`");
    }
    // Every part of the pass is under its signature.
    for at in (10..log.auth.len()).step_by(23) {
        let mut bent = log.auth.clone().into_bytes();
        bent[at] = if bent[at] == b'A' { b'B' } else { b'A' };
        let status = http::get(&url, Some(&String::from_utf8(bent).unwrap())).unwrap().status;
        assert_eq!(status, 401, "byte {at} of the pass");
    }
}

/// Content types, and how long a cache may keep what: a checkpoint for seconds, hash tiles for ever, entries and
/// failures not at all. Nothing is said to pages of other origins: whoever wants that puts it into the proxy in front.
fn headers_are_those_of_the_specification(log: &Published, size: u64) {
    let width = size.min(256);
    let (text, bytes) = ("text/plain; charset=utf-8", "application/octet-stream");
    for (path, status, kind, cache) in [
        ("checkpoint".to_owned(), 200, text, "public, max-age=2"),
        (path("0", 0, width), 200, bytes, "public, max-age=31536000, immutable"),
        (path("entries", 0, width), 200, bytes, "private, no-store"),
        (path("0", 9_999, 256), 404, text, "no-store"),
        (path("entries", 9_999, 256), 404, text, "no-store"),
        ("tile/0/0".to_owned(), 404, text, "no-store"),
    ] {
        let (url, auth) = (format!("{}/{path}", log.url), Some(log.auth.as_str()));
        let got = http::get(&url, auth).unwrap();
        let said = |got: &Got, name: &str| got.header(name).map(str::to_owned);
        assert_eq!((got.status, said(&got, "content-type")), (status, Some(kind.to_owned())), "{path}");
        assert_eq!(said(&got, "cache-control"), Some(cache.to_owned()), "{path}");
        for absent in ["content-encoding", "location", "access-control-allow-origin"] {
            assert_eq!(said(&got, absent), None, "{path}");
        }
        // HEAD says the same and sends no body.
        let head = http::ask("HEAD", &url, auth).unwrap();
        assert_eq!((head.status, head.body.len()), (status, 0), "{path}");
        for name in ["content-type", "content-length", "cache-control"] {
            assert_eq!(said(&head, name), said(&got, name), "{name} of {path}");
        }
        for method in ["POST", "PUT", "DELETE"] {
            let refused = http::ask(method, &url, auth).unwrap();
            assert_eq!((refused.status, refused.header("allow")), (405, Some("GET,HEAD")), "{method} {path}");
        }
    }
    // The door is closed to HEAD as well: a length tells about entries.
    let closed = http::ask("HEAD", &format!("{}/{}", log.url, path("entries", 0, width)), None).unwrap();
    assert_eq!((closed.status, closed.header("cache-control")), (401, Some("no-store")));
}

/// Partial tiles are served at the widths there are; others are not found. A reader with an older checkpoint gets its
/// width, or the wider tile that begins with it.
fn widths_behave(log: &Published, size: u64) {
    let last = (size - 1) / 256;
    let width = size - last * 256;
    for kind in ["0", "entries"] {
        let missing = |path: &str| assert_eq!(log.read(path).status, 404, "{}/{path}", log.url);
        for width in [0, width + 1, 256, 257, 1000].into_iter().filter(|w| *w != width && *w != 256) {
            missing(&format!("tile/{kind}/{last:03}.p/{width}"));
        }
        missing(&format!("tile/{kind}/{:03}", last + 1));
        for odd in [
            "000.p/256",
            "000.p/01",
            "000.p/-1",
            "000.p/",
            "000.p",
            "0",
            "0000",
            "x000/000",
            "",
            "000.p/1/",
            "+00",
        ] {
            missing(&format!("tile/{kind}/{odd}"));
        }
        if width < 256 {
            missing(&format!("tile/{kind}/{last:03}"));
        }
        let now = log.ok(&path(kind, last, width));
        if width > 1 {
            let earlier = log.read(&path(kind, last, width - 1));
            assert!(matches!(earlier.status, 200 | 404));
            if earlier.status == 200 {
                assert!(now.starts_with(&earlier.body) && earlier.body.len() < now.len());
            }
        }
        if last > 0 {
            let full = log.ok(&format!("tile/{kind}/000"));
            let partial = log.read(&path(kind, 0, 255));
            assert!(partial.status == 404 || (partial.status == 200 && full.starts_with(&partial.body)));
        }
    }
    for odd in [
        "tile/8/0/000",
        "tile/64/000",
        "tile/-1/000",
        "tile/00/000",
        "tile/data/000",
        "tile/../checkpoint",
        "nothing",
    ] {
        assert_eq!(log.read(odd).status, 404, "{odd}");
    }
}

/// The readers of the crates `tlog_tiles` and `signed_note`, which know nothing of us.
fn others_agree(log: &Published) {
    use signed_note::{Note, StandardVerifier, VerifierList};
    use tlog_tiles::{
        Checkpoint, Hash, Tile, TileHashReader, TileReader, check_record, prove_record, record_hash,
        tree_hash,
    };

    struct Reader<'a>(&'a Published);
    impl TileReader for Reader<'_> {
        fn height(&self) -> u8 {
            8
        }
        fn read_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
            // That crate writes the height into the path, as the older format of Go's checksum database does.
            Ok(tiles.iter().map(|t| self.0.ok(&t.path().replace("tile/8/", "tile/"))).collect())
        }
        fn save_tiles(&self, _: &[Tile], _: &[Vec<u8>]) {}
    }

    let note = Note::from_bytes(&log.ok("checkpoint")).unwrap();
    let known = VerifierList::new(vec![Box::new(StandardVerifier::new(&log.vkey).unwrap())]);
    assert_eq!(note.verify(&known).unwrap().0.len(), 1);
    let checkpoint = Checkpoint::from_bytes(note.text()).unwrap();
    let (size, signed_root) = log.checkpoint().unwrap();
    assert_eq!((checkpoint.size(), checkpoint.hash().0), (size, signed_root));
    let reader = Reader(log);
    let hashes = TileHashReader::new(size, Hash(signed_root), &reader);
    assert_eq!(tree_hash(size, &hashes).unwrap().0, signed_root);
    for (index, entry) in log.entries(size).iter().enumerate().step_by(97) {
        let proof = prove_record(size, index as u64, &hashes).unwrap();
        check_record(&proof, size, Hash(signed_root), index as u64, record_hash(entry)).unwrap();
    }
}

/// The programs of `conformance/foreign`, over HTTP: with a pass every entry, and the cosignatures that the federation
/// demands; without one the hashes, and of the entries nothing.
fn foreign_programs_agree(kept: &Kept, member: &str, name: &str) {
    let foreign = Foreign::get();
    let scratch = tempfile::tempdir().unwrap();
    let log = kept.log(member, name);
    let nodes = kept.document["nodes"].as_array().unwrap();
    let dir = nodes.iter().find(|n| n["member"] == member).unwrap()["dir"].as_str().unwrap();
    let registry = node::home::read_registry(&Path::new(dir).join("registry")).unwrap().read().unwrap();
    let committee = registry.committee(&MemberId::parse(member).unwrap());
    let target = Target {
        location: log.url.clone(),
        vkey: log.vkey.clone(),
        quorum: ledger::witness::quorum(committee.len()),
        witnesses: committee.iter().map(|(_, keys)| keys[0].0.cosigner_vkey()).collect(),
        authorization: Some(log.auth.clone()),
        ..Target::default()
    };
    assert!(target.quorum >= 4, "{} witnesses", committee.len());
    let (size, _) = log.checkpoint().unwrap();
    for checker in Checker::ALL {
        foreign.passes(checker, &target, size, scratch.path());
        let closed = Target { authorization: None, ..target.clone() };
        foreign.refuses(checker, &closed, "the pass, which is missing", scratch.path());
    }
    let quorum = target.quorum.to_string();
    let mut args =
        vec!["verify-checkpoint", "--log-key", &log.vkey, "--tiles", &log.url, "--quorum", &quorum];
    for vkey in &target.witnesses {
        args.extend(["--witness-key", vkey]);
    }
    let said = foreign.packaged("aics-tlog", &args).done().json();
    assert_eq!((&said["size"], &said["tiles_ok"]), (&size.into(), &true.into()), "{said}");
}

/// A pass opens what its reader may read, and nothing else.
fn strangers_passes_open_nothing(kept: &Kept) {
    let nodes = kept.document["nodes"].as_array().unwrap();
    let dir = |member: &str| {
        let node = nodes.iter().find(|n| n["member"] == member).unwrap();
        node["dir"].as_str().unwrap().to_owned()
    };
    let pass = format!("{}/../passphrase", dir("sh"));
    let status = |reader: &str, owner: &str, name: &str, minutes: &str| {
        let args = [
            "audit",
            "pass",
            "--json",
            "--dir",
            &dir(reader),
            "--passphrase-file",
            &pass,
            "--minutes",
            minutes,
        ];
        let made = common::run(&args).done().json();
        let log =
            Published { auth: made["authorization"].as_str().unwrap().to_owned(), ..kept.log(owner, name) };
        let size = log.checkpoint().unwrap().0;
        log.read(&path("entries", 0, size.min(256))).status
    };
    assert_eq!(status("bank-a", "sh", "records", "5"), 401, "a bank reads no records");
    assert_eq!(status("bank-b", "bank-a", "access", "5"), 401, "a bank reads no other bank's accesses");
    assert_eq!(status("bank-a", "sh", "status", "5"), 200, "status is for every member");
    assert_eq!(status("js", "sh", "records", "5"), 200, "js keeps a copy of sh");
    assert_eq!(status("sh", "sh", "access", "0"), 401, "a pass for no time");
}
