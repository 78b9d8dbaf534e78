//! Backups that are interrupted, cut and changed, over a store of a few parts; real processes do the same in
//! `conformance/tests/backup.rs`.

use std::{collections::BTreeSet, io::Cursor};

use credit::id::MemberId;
use crypto::{keystore::Credential, seal::OpeningKey, secret::Secret};
use ledger::store::{Batch, Store, View};

use super::{file::*, *};
use crate::{home::Home, keys::KEY_FILES, store::DiskStore};

/// Bytes of pairs in a part: a store of a few kilobytes then has many.
const PART: usize = 700;

fn member() -> MemberId {
    MemberId::parse("sh").unwrap()
}

fn words(words: &str) -> Credential {
    Credential::from(words)
}

fn passphrase() -> SealTo {
    SealTo::Passphrase(words("backup passphrase"))
}

/// Opens what is sealed to the member: without a passphrase, whose derivation would take most of the time here.
fn opening() -> Arc<OpeningKey> {
    Arc::new(OpeningKey::from_seed(&Secret::new([5; 32])))
}

/// It, and the key that has replaced it.
fn generations() -> Vec<Arc<OpeningKey>> {
    vec![Arc::new(OpeningKey::from_seed(&Secret::new([7; 32]))), opening()]
}

fn to_member() -> SealTo {
    SealTo::Member(member(), opening().public())
}

fn by_member() -> OpenWith {
    OpenWith::Member(member(), generations())
}

fn operator() -> Secret {
    Secret::new([9; 32])
}

/// A store with pairs in every space but `head`.
fn store(dir: &Path) -> DiskStore {
    let store = DiskStore::open(&dir.join("data")).unwrap();
    let mut batch = Batch::default();
    for n in 0..10u64 {
        for space in [Space::Entry, Space::Tile, Space::Row, Space::Payload] {
            batch.put(space, n.to_be_bytes(), vec![n as u8; 200]);
        }
    }
    store.apply(&batch).unwrap();
    store
}

/// What happens between two attempts: entries come, a row changes, a payload is erased, the first in the store and the last
/// of a part among them.
fn happen(store: &DiskStore) {
    let mut batch = Batch::default();
    for n in 10..14u64 {
        batch.put(Space::Entry, n.to_be_bytes(), vec![n as u8; 200]);
    }
    batch.put(Space::Head, b"records", b"newest");
    batch.put(Space::Row, 3u64.to_be_bytes(), b"another");
    for n in [0u64, 2, 6, 9] {
        batch.delete(Space::Payload, n.to_be_bytes());
    }
    store.apply(&batch).unwrap();
}

type Pairs = BTreeSet<(u8, Vec<u8>, Vec<u8>)>;

fn of_store(store: &DiskStore) -> Pairs {
    let of = |(n, space): (usize, &Space)| {
        let pairs = store.scan(*space, &[], None, 1_000).unwrap();
        pairs.into_iter().map(move |(key, value)| (n as u8, key, value)).collect::<Vec<_>>()
    };
    Space::ALL.iter().enumerate().flat_map(of).collect()
}

fn read(path: &Path, with: &OpenWith) -> Result<(Vec<String>, Pairs), Problem> {
    let (mut reader, mut names, mut pairs, mut count) = (Reader::open(path, with)?, vec![], Pairs::new(), 0);
    while let Some(segment) = reader.segment()? {
        match segment {
            Segment::Files(_, items) | Segment::Pairs(_, items) => {
                for item in items {
                    match item {
                        BackupItem::File { name, .. } => names.push(name),
                        BackupItem::Pair { space, key, value } => {
                            count += 1;
                            pairs.insert((space, key.0, value.0));
                        }
                        BackupItem::End(_) => panic!("no item of a file"),
                    }
                }
            }
            Segment::End(said, _) => assert_eq!((said, pairs.len() as u64), (count, count)),
        }
    }
    Ok((names, pairs))
}

/// What a node would hold of the store now.
fn hold(store: &DiskStore) -> Held {
    let text = |text: &str| Zeroizing::new(text.as_bytes().to_vec());
    let mut files = VecDeque::from([("member", text("sh\n")), ("FORMAT", text("xinqiao 1\n"))]);
    files.extend([("node.toml", text("")), ("registry", text("a registry"))]);
    files.extend(KEY_FILES.map(|name| (name, text(name))));
    Held::new(BackupId(clock::random()), files, Some(store.freeze().unwrap()), PART)
}

fn open(path: &Path, to: &SealTo) -> Writer {
    Writer::open(path, to, &member(), BackupContent::All, &operator()).unwrap()
}

/// Asks and answers, at most so often. Returns whether everything was said.
fn run(writer: &mut Writer, held: &mut Held, most: usize) -> bool {
    writer.begin(held.id);
    (0..most).any(|_| {
        let answer = held.part(writer.ask().as_ref()).unwrap();
        writer.answer(answer).unwrap()
    })
}

fn whole(path: &Path, to: &SealTo, store: &DiskStore) -> u64 {
    let (mut writer, mut held) = (open(path, to), hold(store));
    assert!(run(&mut writer, &mut held, usize::MAX));
    let reused = writer.reused;
    assert!(!path.exists(), "nothing has the final name before it is complete");
    assert_eq!(writer.finish().unwrap(), fs::metadata(path).unwrap().len());
    reused
}

/// Every box of a file that is not wiped out.
fn boxes(path: &Path) -> Vec<(SegmentId, Vec<u8>)> {
    let mut bytes = Cursor::new(fs::read(path).unwrap());
    Start::read(&mut bytes).unwrap();
    let mut boxes = Vec::new();
    while let Some((id, length)) = frame(&mut bytes).unwrap() {
        let mut sealed = vec![0; length as usize];
        std::io::Read::read_exact(&mut bytes, &mut sealed).unwrap();
        if id == SegmentId::NONE {
            assert!(sealed.iter().all(|byte| *byte == 0), "what does not count is wiped out");
        } else {
            boxes.push((id, sealed));
        }
    }
    boxes
}

#[test]
fn a_backup_opens_for_whom_it_was_sealed_and_for_nobody_else() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let (by_words, member_only) = (dir.path().join("words"), dir.path().join("member"));
    whole(&by_words, &passphrase(), &store);
    whole(&member_only, &to_member(), &store);
    let opened = read(&by_words, &OpenWith::Passphrase(words("backup passphrase"))).unwrap();
    assert_eq!(opened.1, of_store(&store));
    assert_eq!(read(&member_only, &by_member()).unwrap(), opened);
    let other = vec![Arc::new(OpeningKey::from_seed(&Secret::new([6; 32])))];
    for (path, with) in [
        (&by_words, OpenWith::Passphrase(words("another passphrase"))),
        (&by_words, by_member()),
        (&member_only, OpenWith::Member(member(), other)),
        (&member_only, OpenWith::Member(MemberId::parse("js").unwrap(), generations())),
        (&member_only, OpenWith::Passphrase(words("backup passphrase"))),
    ] {
        assert!(read(path, &with).is_err());
    }
    let names: BTreeSet<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(
        names,
        ["data", "data.tally", "data.wal", "member", "words"].map(Into::into).into(),
        "nothing else is left"
    );
}

#[test]
fn every_cut_and_every_changed_byte_of_a_backup_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let (path, damaged) = (dir.path().join("backup"), dir.path().join("damaged"));
    whole(&path, &to_member(), &store);
    let bytes = fs::read(&path).unwrap();
    let refused = |bytes: &[u8], what: String| {
        fs::write(&damaged, bytes).unwrap();
        assert!(read(&damaged, &by_member()).is_err(), "{what}");
    };
    for at in (0..400).chain((400..bytes.len()).step_by(7)) {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        refused(&changed, format!("byte {at} was changed"));
    }
    for cut in (0..bytes.len()).step_by(7) {
        refused(&bytes[..cut], format!("cut at {cut}"));
    }
    refused(&[&bytes[..], b"x"].concat(), "a byte was added".into());

    // Whole segments: one is left out, two change places, one stands twice.
    let start = Start::read(&mut &bytes[..]).unwrap().length as usize;
    let frames: Vec<Vec<u8>> = boxes(&path)
        .iter()
        .map(|(id, sealed)| [&id.0[..], &(sealed.len() as u32).to_be_bytes(), sealed].concat())
        .collect();
    let with = |frames: Vec<&Vec<u8>>| {
        [&bytes[..start], &frames.into_iter().flatten().copied().collect::<Vec<u8>>()].concat()
    };
    assert_eq!(with(frames.iter().collect()), bytes);
    for n in 0..frames.len() {
        let mut others: Vec<_> = frames.iter().collect();
        let one = others.remove(n);
        refused(&with(others.clone()), format!("without segment {n}"));
        others.insert((n + 1) % frames.len(), one);
        refused(&with(others.clone()), format!("segment {n} in another place"));
        others = frames.iter().collect();
        others.insert(n, one);
        refused(&with(others), format!("segment {n} twice"));
    }
}

#[test]
fn an_interrupted_backup_goes_on_and_ends_as_the_store_is_then() {
    let dir = tempfile::tempdir().unwrap();
    for changed in [false, true] {
        for most in 0.. {
            let case = dir.path().join(format!("{changed}-{most}"));
            fs::create_dir(&case).unwrap();
            let (path, store) = (case.join("backup"), store(&case));
            let before = of_store(&store);
            let (mut writer, mut held) = (open(&path, &to_member()), hold(&store));
            let done = run(&mut writer, &mut held, most);
            let had = writer.pairs;
            // As a killed process leaves it.
            drop(writer);
            if changed {
                happen(&store);
            }
            let reused = whole(&path, &to_member(), &store);
            assert_eq!(read(&path, &by_member()).unwrap().1, of_store(&store), "{changed} {most}");
            let counted = boxes(&path);
            if changed {
                assert!(reused <= had && (reused > 0 || had < 5), "{reused} of {had}");
            } else {
                assert_eq!(
                    (reused, before),
                    (had, of_store(&store)),
                    "everything that was whole is used again"
                );
            }
            assert_eq!(counted.iter().map(|(id, _)| id).collect::<BTreeSet<_>>().len(), counted.len());
            if done {
                assert!(most > 15, "a store of many parts");
                break;
            }
        }
    }
}

#[test]
fn a_backup_goes_on_from_a_file_that_is_torn_or_damaged_anywhere() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let (path, part) = (dir.path().join("backup"), dir.path().join("backup.part"));
    let (mut writer, mut held) = (open(&path, &to_member()), hold(&store));
    run(&mut writer, &mut held, 20);
    let had = writer.pairs;
    drop(writer);
    let bytes = fs::read(&part).unwrap();
    let waiting = fs::read(dir.path().join("backup.part.key")).unwrap();
    happen(&store);
    let mut most = 0;
    let mut goes_on = |bytes: &[u8], what: String| {
        fs::write(&part, bytes).unwrap();
        fs::write(dir.path().join("backup.part.key"), &waiting).unwrap();
        most = most.max(whole(&path, &to_member(), &store));
        assert_eq!(read(&path, &by_member()).unwrap().1, of_store(&store), "{what}");
        boxes(&path);
        fs::remove_file(&path).unwrap();
    };
    for cut in (0..bytes.len()).step_by(311) {
        goes_on(&bytes[..cut], format!("cut at {cut}"));
    }
    for at in (0..bytes.len()).step_by(173) {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        goes_on(&changed, format!("byte {at} was changed"));
    }
    assert!(0 < most && most < had, "{most} of {had}");
}

#[test]
fn a_backup_that_is_interrupted_again_and_again_ends() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let path = dir.path().join("backup");
    for n in 20u64.. {
        let mut batch = Batch::default();
        batch.put(Space::Row, (n % 7).to_be_bytes(), n.to_be_bytes());
        batch.put(Space::Payload, n.to_be_bytes(), vec![n as u8; 200]);
        batch.delete(Space::Payload, (n / 2).to_be_bytes());
        store.apply(&batch).unwrap();
        let (mut writer, mut held) = (open(&path, &to_member()), hold(&store));
        // Files first, and then a few parts more each time.
        if run(&mut writer, &mut held, n as usize - 8) {
            writer.finish().unwrap();
            break;
        }
    }
    assert_eq!(read(&path, &by_member()).unwrap().1, of_store(&store));
}

#[test]
fn what_is_left_of_another_backup_is_not_gone_on_with() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let (path, key) = (dir.path().join("backup"), dir.path().join("backup.part.key"));
    let half = |to: &SealTo| {
        let _ = fs::remove_file(dir.path().join("backup.part"));
        let (mut writer, mut held) = (open(&path, to), hold(&store));
        run(&mut writer, &mut held, 20);
        writer.pairs
    };
    let on = |to: &SealTo, member: &MemberId, content, operator: &Secret| {
        let (mut writer, mut held) =
            (Writer::open(&path, to, member, content, operator).unwrap(), hold(&store));
        run(&mut writer, &mut held, usize::MAX);
        writer.reused
    };
    let (all, js) = (BackupContent::All, MemberId::parse("js").unwrap());
    let had = half(&passphrase());
    assert_eq!(on(&passphrase(), &member(), all, &operator()), had);
    half(&passphrase());
    assert_eq!(on(&SealTo::Passphrase(words("another passphrase")), &member(), all, &operator()), 0);
    half(&to_member());
    assert!(key.exists());
    assert_eq!(on(&to_member(), &member(), all, &operator()), had);
    for (to, member, content, operator) in [
        (passphrase(), member(), all, operator()),
        (SealTo::Member(js.clone(), opening().public()), member(), all, operator()),
        (to_member(), js, all, operator()),
        (to_member(), member(), BackupContent::Store, operator()),
        (to_member(), member(), all, Secret::new([8; 32])),
    ] {
        half(&to_member());
        assert_eq!(on(&to, &member, content, &operator), 0);
    }

    // One at a time, and a complete one stays as it is.
    let (mut writer, mut held) = (open(&path, &to_member()), hold(&store));
    let again = |to: &SealTo| Writer::open(&path, to, &member(), all, &operator()).err().unwrap().what;
    assert!(again(&to_member()).contains("another process"));
    run(&mut writer, &mut held, usize::MAX);
    writer.finish().unwrap();
    assert!(!key.exists() && again(&to_member()).contains("exists already"));
}

#[test]
fn an_interrupted_restore_goes_on_and_no_node_starts_in_what_it_has_left() {
    let dir = tempfile::tempdir().unwrap();
    let from = store(dir.path());
    let (path, wanted) = (dir.path().join("backup"), dir.path().join("sh"));
    whole(&path, &to_member(), &from);
    let restored = |progress: &mut dyn FnMut(u64)| {
        restore(&path, &by_member(), &KeysFrom::Backup, &wanted, progress).unwrap()
    };
    // At every step, a copy of what a killed process would leave.
    let work = dir.path().join("sh.restoring");
    let mut left = Vec::new();
    drop(restored(&mut |_| {
        left.push(dir.path().join(format!("left-{}", left.len())));
        copy(&work, left.last().unwrap());
    }));
    assert!(!work.exists() && !wanted.exists(), "what is not placed is removed");
    let mut reused = Vec::new();
    for left in left {
        assert!(Home::open(&left).unwrap_err().what.contains("half of a restored directory"));
        fs::rename(&left, &work).unwrap();
        // Of an earlier attempt with other keys.
        fs::write(work.join("keytree.new"), b"stale").unwrap();
        let staged = restored(&mut |_| ());
        assert_eq!(staged.pairs, of_store(&from).len() as u64);
        reused.push(staged.reused);
        assert!(Home::open(&work).is_err(), "not before it is placed");
        staged.place().unwrap();
        let home = Home::open(&wanted).unwrap();
        assert!(home.is_restored() && !work.exists() && !wanted.join("keytree.new").exists());
        assert_eq!(of_store(&DiskStore::open(&home.data()).unwrap()), of_store(&from));
        fs::remove_dir_all(&wanted).unwrap();
    }
    assert!(reused.is_sorted() && reused.contains(&0) && reused.contains(&(of_store(&from).len() as u64)));

    // What is there of another backup, or damaged, is not gone on with.
    for (mark, spoil) in [("another 3\n", false), ("", true)] {
        drop(restored(&mut |_| {
            let _ = fs::remove_dir_all(dir.path().join("spoilt"));
            copy(&work, &dir.path().join("spoilt"));
        }));
        fs::rename(dir.path().join("spoilt"), &work).unwrap();
        if spoil {
            fs::write(work.join("data/version"), b"no").unwrap();
        } else {
            fs::write(work.join("restoring"), mark).unwrap();
        }
        let staged = restored(&mut |_| ());
        assert_eq!(staged.reused, 0);
        staged.place().unwrap();
        assert_eq!(of_store(&DiskStore::open(&wanted.join("data")).unwrap()), of_store(&from));
        fs::remove_dir_all(&wanted).unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (from, to) = {
            let e = entry.unwrap();
            (e.path(), to.join(e.file_name()))
        };
        if from.is_dir() { copy(&from, &to) } else { assert!(fs::copy(from, to).is_ok()) }
    }
}
