//! A backup is taken while the node works; after it one record is erased and one repaired; no restore brings either back.
//! One that is killed, torn or out of space at every change it makes goes on, and what was erased meanwhile is not in it.
//! Then what opens a keystore: passphrase file, key file, the service manager's credential, and a change of them.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test; what fails here fails the test")]

mod common;

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Stdio, time::Duration};

use common::{
    Federation, Ran, command, contains, fault_library,
    federation::{Cast, FIVE},
    files, finish, http,
    rows::{Penalty, decided, file, numbered},
    run, until,
};
use credit::id::RecordId;
use crypto::codec::hex;
use exchange::tables::{self, Key, RecordRow};
use ledger::store::{Space, View};
use node::{keys::Keys, store::DiskStore};
use serde_json::Value;

const PASS: &[u8] = b"an example passphrase";
/// Long enough for a node to find every reachable peer, were it not to wait for a mirror.
const START: Duration = Duration::from_secs(6);

struct Stage {
    federation: Federation,
    backup_pass: String,
}

impl Stage {
    fn backup(&self, member: &str, out: &str, more: &[&str]) -> Ran {
        let out = self.federation.text(out);
        let args = ["node", "backup", "--out", &out, "--backup-passphrase-file", &self.backup_pass];
        self.federation.at(member, &[&args[..], more].concat())
    }

    fn restore(&self, backup: &str, member: &str, more: &[&str]) -> Ran {
        let backup = self.federation.text(backup);
        let args = ["node", "restore", &backup, "--backup-passphrase-file", &self.backup_pass];
        self.federation.at(member, &[&args[..], more].concat())
    }

    /// The records that `sh` gives about a company, or why it gives none.
    fn answer(&self, subject: &str, grant: &str) -> Result<Vec<String>, String> {
        let value = self.federation.query("bank-a", subject, &["--grant", grant, "--wait", "5"]).json();
        let members = value["members"].as_array().unwrap();
        let part = members.iter().find(|m| m["member"] == "sh").unwrap();
        match part["records"].as_array() {
            Some(records) => Ok(records.iter().map(|r| r["record"].as_str().unwrap().to_owned()).collect()),
            None => Err(part["outcome"].as_str().unwrap().to_owned()),
        }
    }

    /// The directory of `sh` goes away, and nothing is left under its name.
    fn lose(&self, to: &str) {
        self.federation.stop("sh");
        fs::rename(self.federation.path("sh"), self.federation.path(to)).unwrap();
    }

    fn field<'a>(&self, value: &'a Value, list: &str, key: &str) -> Option<&'a str> {
        value[list].as_array().unwrap().first().and_then(|first| first[key].as_str())
    }

    /// Applies for a repair at `sh` and grants it.
    fn repair(&self, penalty: &Penalty) {
        let at = |args: &[&str]| self.federation.at("sh", args);
        let paper = self.federation.file("performed.txt", "performed (example)\n");
        let what = ["--item", "CF", "--document", &penalty.document, "--subject", &penalty.subject];
        at(&[&["repair", "apply", "--authority", "sh", "--paper", &paper][..], &what].concat()).done();
        let case = until("the case is open", START, || {
            let list = at(&["repair", "list"]).done().json();
            self.field(&list, "cases", "case").map(str::to_owned)
        });
        at(&["repair", "accept", &case]).done();
        at(&["repair", "decide", &case]).done();
    }
}

/// A file of penalties that were decided half a year ago.
fn long_ago(rows: &[Penalty]) -> String {
    let day = |days| decided().plus_days(days).to_string().replace('-', "/");
    file(rows).replace(&day(0), &day(-180))
}

#[test]
fn a_restored_directory_waits_for_its_mirror_and_brings_nothing_back() {
    let federation = Federation::start(&FIVE);
    let backup_pass = federation.file("backup-pass", "another example passphrase\n");
    let stage = Stage { federation, backup_pass };
    let f = &stage.federation;
    f.source("sh", "office");
    let rows: Vec<Penalty> = (1..4).map(Penalty::new).collect();
    f.submit("sh", "office", &f.file("rows.csv", long_ago(&rows))).done();
    let grants: Vec<String> = (0..3)
        .map(|n| f.grant(&format!("grant-{n}"), &rows[n].subject, "bank-a", &["--uses", "9"]))
        .collect();
    let answer = |n: usize| stage.answer(&rows[n].subject, &grants[n]);
    let records: Vec<String> = (0..3).map(|n| answer(n).unwrap()[0].clone()).collect();

    // Three backups while files come in.
    std::thread::scope(|scope| {
        let coming = scope.spawn(|| {
            for n in 0..6 {
                let more = f.file(&format!("more-{n}.csv"), numbered(100 + n * 50, 150 + n * 50));
                f.submit("sh", "office", &more).done();
            }
        });
        for (name, keys) in [("store.backup", "without"), ("keys.backup", "only"), ("all.backup", "with")] {
            let said = stage.backup("sh", name, &["--keys", keys]).done().json();
            assert_eq!(said["keys"], keys != "without");
            assert_eq!(said["pairs"].as_u64().unwrap() > 0, keys != "only");
        }
        coming.join().unwrap();
    });
    stage.backup("sh", "store.backup", &[]).fails(1, &["exists already"]);
    let to_js = f.text("to-js.backup");
    f.at("sh", &["node", "backup", "--out", &to_js, "--recipient", "js"]).done();
    for name in ["store.backup", "all.backup", "to-js.backup"] {
        let bytes = fs::read(f.path(name)).unwrap();
        let record = RecordId::parse(&records[0]).unwrap();
        assert!(!contains(&bytes, &record.0) && !contains(&bytes, b"node.toml"), "{name} is sealed");
        assert_eq!(fs::metadata(f.path(name)).unwrap().permissions().mode() & 0o077, 0);
    }

    // After them: one record is erased, one repaired. The mirror has heard of both.
    f.at("sh", &["erase", &records[0], "--reason", "retention has ended"]).done();
    stage.repair(&rows[1]);
    // Both go on writing down acknowledgements meanwhile; when that is over they are the same, and nothing was wrong.
    until("`js` and `sh` are the same", Duration::from_secs(60), || {
        let report = f.at("js", &["reconcile", "--peer", "sh"]).done().json();
        let under = |line: &&Value| line["authority"] == "sh";
        let line = report["peers"][0]["standings"].as_array()?.iter().find(under)?.clone();
        assert_eq!(line["mended"], 0, "{report}");
        (line["outcome"] == "same").then_some(())
    });
    f.at("js", &["reconcile", "--peer", "nobody"]).fails(1, &["nobody"]);
    assert_eq!((answer(0), answer(1)), (Ok(vec![]), Ok(vec![])));
    let sizes = f.sizes("sh");
    stage.lose("sh.lost");

    // What is refused leaves no directory.
    let lost = f.text("sh.lost");
    stage.restore("store.backup", "sh", &[]).fails(1, &["no `keystore`"]);
    stage.restore("keys.backup", "sh", &[]).fails(1, &["keys only"]);
    stage.restore("store.backup", "js", &["--keys-from", &lost]).fails(1, &["not empty"]);
    stage.restore("to-js.backup", "sh", &["--keys-from", &lost]).fails(1, &["sealed to `js`"]);
    let whole = fs::read(f.path("store.backup")).unwrap();
    fs::write(f.path("cut.backup"), &whole[..whole.len() - 1]).unwrap();
    stage.restore("cut.backup", "sh", &["--keys-from", &lost]).fails(1, &["cut.backup"]);
    let other = f.file("other-pass", "not this passphrase\n");
    let args = ["node", "restore", &f.text("all.backup"), "--backup-passphrase-file", &other];
    f.at("sh", &args).fails(1, &["wrong passphrase"]);
    assert!(!f.path("sh").exists() && !f.path("sh.restoring").exists());

    // The hardest case first: a backup with the keys of then. No mirror, no answer.
    let said = stage.restore("all.backup", "sh", &[]).done().json();
    assert!(said["entries"].as_u64().unwrap() >= 3 && f.path("sh/restored").exists());
    let slot = slot_of(&f.path("sh"), &records[0]);
    assert!(
        Keys::open(&f.path("sh"), PASS).unwrap().record_key(slot).is_some(),
        "the backup holds the erased key"
    );
    f.stop("js");
    f.spawn("sh");
    std::thread::sleep(START);
    let ready = || http::get(&format!("{}/readyz", f.http("sh")), None).is_some_and(|got| got.status == 200);
    assert!(!ready(), "it serves although no mirror has spoken");
    assert_eq!(answer(0), Err("member.starting".into()));
    f.spawn("js");
    f.ready("js");
    f.ready("sh");
    let restored = |name: &str| {
        assert_eq!((answer(0), answer(1)), (Ok(vec![]), Ok(vec![])), "{name}: what has ended stays so");
        assert_eq!(answer(2), Ok(vec![records[2].clone()]), "{name}: the rest is answered");
        assert!(f.sizes("sh").iter().zip(sizes).all(|(now, before)| *now >= before), "{name}");
        f.at("sh", &["audit", "erasure", &records[0]]).done();
        let keys = Keys::open(&f.path("sh"), PASS).unwrap();
        assert!(keys.record_key(slot).is_none(), "{name}: the erased key can be derived");
        assert!(!f.path("sh/restored").exists(), "{name}: it has caught up");
        // The same file again is no way back.
        let again = f.file("again.csv", format!("{} \n", long_ago(&rows).trim_end()));
        let report = f.submit("sh", "office", &again).done().json();
        assert_eq!((&report["accepted"], &report["rejected"]), (&0.into(), &1.into()), "{name}: {report}");
    };
    restored("all.backup");
    f.at("js", &["reconcile"]).done();

    // The others, each with keys of another origin.
    let (keys, js) = (f.text("keys.backup"), f.text("js"));
    let opened = ["--open-with", &js, "--passphrase-file", &f.text("pass"), "--keys-from", &lost];
    let ways: [(&str, &[&str]); 3] = [
        ("store.backup", &["--keys-from", &lost]),
        ("store.backup", &["--keys-from", &keys]),
        ("to-js.backup", &opened),
    ];
    for (at, (backup, more)) in ways.into_iter().enumerate() {
        stage.lose(&format!("sh.lost-{at}"));
        stage.restore(backup, "sh", more).done();
        f.spawn("sh");
        f.ready("sh");
        restored(&format!("{backup} {}", more[1]));
        f.at("js", &["reconcile"]).done();
    }

    // A member without mirrors: nobody can tell, and the operator has to.
    stage.backup("bank-a", "bank.backup", &["--keys", "with"]).done();
    f.stop("bank-a");
    fs::rename(f.path("bank-a"), f.path("bank-a.lost")).unwrap();
    stage.restore("bank.backup", "bank-a", &[]).done();
    f.unlocked(&["node", "run"], "bank-a").fails(1, &["restored from a backup", "no mirror"]);
    let (dir, pass) = (f.text("bank-a"), f.text("pass"));
    let mut alone =
        command(&["node", "run", "--dir", &dir, "--passphrase-file", &pass, "--alone", "--with-parent"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
    until("the bank serves", Duration::from_secs(40), || {
        http::get(&format!("{}/readyz", f.http("bank-a")), None).filter(|got| got.status == 200)
    });
    f.at("bank-a", &["node", "stop"]).done();
    assert!(alone.wait().unwrap().success() && !f.path("bank-a/restored").exists());
}

const ONE: [Cast; 1] = [Cast { id: "sh", role: "region", region: "310000", mirrors: "" }];

#[test]
fn backups_and_restores_that_are_interrupted_at_every_change_go_on() {
    let f = Federation::start(&ONE);
    f.source("sh", "office");
    // Some megabytes, so that the payloads make more than one part.
    for n in 0..3u64 {
        f.submit("sh", "office", &f.file(&format!("{n}.csv"), numbered(n * 2_000, n * 2_000 + 2_000))).done();
    }
    f.stop("sh");
    let records = pairs(&f.path("sh/data"));
    let records = records.iter().filter(|(space, key, _)| *space == Space::Row.name() && key[0] == 1);
    let records: Vec<String> = records.map(|(_, key, _)| hex(&key[1..])).take(8).collect();
    f.spawn("sh");
    f.ready("sh");
    let (home, out) = (f.text("sh"), f.path("out"));
    fs::create_dir(&out).unwrap();
    let faulty = |args: &[&str], kind: &str, at: usize| {
        let mut command = command(args);
        command.env("LD_PRELOAD", fault_library()).env("FAULT_DIR", &out);
        command.env("FAULT_AT", at.to_string()).env("FAULT_KIND", kind).env("FAULT_SPACE", f.path("space"));
        finish(command)
    };
    let mut erased = records.iter();
    let (mut reused, mut attempts) = (0, 0);
    for (round, kind) in ["torn", "kill-after", "no-space"].into_iter().enumerate() {
        let path = out.join(format!("{kind}.backup")).to_str().unwrap().to_owned();
        let args = [
            "node",
            "backup",
            "--json",
            "--dir",
            &home,
            "--out",
            &path,
            "--recipient",
            "sh",
            "--keys",
            "with",
        ];
        // What has the final name is whole, also when the last thing before the end of the process was to give it.
        for at in (1..).take_while(|_| !Path::new(&path).exists()) {
            let ran = faulty(&args, kind, at);
            attempts += 1;
            if ran.code == Some(0) {
                reused += ran.json()["reused"].as_u64().unwrap();
            } else if kind == "no-space" {
                ran.fails(1, &[".part"]);
            }
            // Much of the store is in the file by now.
            if at % 5 == 0
                && !Path::new(&path).exists()
                && let Some(record) = erased.next()
            {
                f.at("sh", &["erase", record, "--reason", "retention has ended"]).done();
            }
        }
        let left: Vec<_> = files(&out).into_iter().map(|(path, _)| path).collect();
        assert_eq!(left.len(), round + 1, "{left:?}");
    }
    assert!(attempts > 20 && reused > 12_000, "{attempts} attempts, {reused} pairs reused");
    // One more that nothing interrupts, for comparison.
    let (whole, all) =
        (out.join("whole.backup").to_str().unwrap().to_owned(), ["--recipient", "sh", "--keys", "with"]);
    let said = f.at("sh", &[&["node", "backup", "--out", &whole][..], &all].concat()).done().json();
    assert_eq!(said["reused"], 0);
    f.stop("sh");

    let pass = f.text("pass");
    // Kills the restore at every hundredth change: a whole one makes 1,500.
    let restored = |backup: &str, kind: Option<&str>| {
        let (file, to) = (f.text(&format!("out/{backup}.backup")), f.text(&format!("out/{backup}")));
        let args = ["node", "restore", &file, "--json", "--dir", &to, "--open-with", &home];
        let args = [&args[..], &["--passphrase-file", &pass]].concat();
        let half = format!("{to}.restoring");
        let said = (1..).step_by(100).find_map(|at| {
            let ran = faulty(&args, kind.unwrap_or("error"), if kind.is_some() { at } else { 0 });
            if ran.code == Some(0) {
                return Some(ran.json());
            }
            assert!(!Path::new(&to).exists() && kind.is_some(), "{ran:?}");
            if Path::new(&half).join("restoring").exists() {
                let run = ["node", "run", "--json", "--dir", &half, "--passphrase-file", &pass];
                common::run(&run).fails(1, &["half of a restored directory"]);
            }
            None
        });
        assert_eq!(said.unwrap()["reused"].as_u64() > Some(0), kind.is_some(), "{backup}");
        to
    };
    let wanted = pairs(&f.path("sh/data"));
    for (backup, kind) in
        [("whole", None), ("no-space", None), ("torn", Some("kill-after")), ("kill-after", Some("torn"))]
    {
        let dir = restored(backup, kind);
        // The other two are older.
        if kind.is_none() {
            assert!(pairs(&Path::new(&dir).join("data")) == wanted, "{backup}");
        }
        let fsck = ["node", "fsck", "--json", "--dir", &dir, "--passphrase-file", &pass];
        assert_eq!(run(&fsck).done().json()["broken"], 0, "{backup}");
    }
}

/// Every pair of a store.
fn pairs(data: &Path) -> Vec<(&'static str, Vec<u8>, Vec<u8>)> {
    let store = DiskStore::open(data).unwrap();
    let of = |space: &Space| {
        let pairs = store.scan(*space, &[], None, usize::MAX).unwrap();
        pairs.into_iter().map(|(key, value)| (space.name(), key, value)).collect::<Vec<_>>()
    };
    Space::ALL.iter().flat_map(of).collect()
}

fn slot_of(dir: &Path, record: &str) -> crypto::keytree::Slot {
    let store = DiskStore::open(&dir.join("data")).unwrap();
    let key = Key::record(&RecordId::parse(record).unwrap());
    tables::row::<RecordRow>(&store, &key).unwrap().unwrap().newest.slot
}

#[test]
fn a_keystore_opens_with_what_it_was_put_under_last_and_with_nothing_else() {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name).to_str().unwrap().to_owned();
    let private = |name: &str, bytes: &[u8]| {
        fs::write(path(name), bytes).unwrap();
        fs::set_permissions(path(name), fs::Permissions::from_mode(0o600)).unwrap();
        path(name)
    };
    let (words, other) =
        (private("words", b"an example passphrase\n"), private("other", b"other example words\n"));
    let (key, short) = (private("key", &[7; 32]), private("short", &[7; 31]));
    let (dir, request) = (path("auditor"), path("request"));
    let args = ["member", "request", "--id", "au", "--role", "auditor", "--name", "n", "--out", &request];
    run(&[&args[..], &["--dir", &dir, "--key-file", &key]].concat()).done();
    let pass = |with: &[&str]| run(&[&["audit", "pass", "--json", "--dir", &dir][..], with].concat());
    pass(&["--key-file", &key]).done();
    pass(&["--key-file", &short]).fails(1, &["short", "32 bytes"]);
    pass(&["--passphrase-file", &words]).fails(1, &["keystore", "a key file"]);
    let change = |with: &[&str]| run(&[&["node", "passphrase", "--json", "--dir", &dir][..], with].concat());
    change(&["--key-file", &key, "--new-passphrase-file", &words]).done();
    pass(&["--key-file", &key]).fails(1, &["keystore", "with a passphrase"]);
    pass(&["--passphrase-file", &words]).done();
    change(&["--passphrase-file", &other, "--new-passphrase-file", &words]).fails(1, &["wrong passphrase"]);
    change(&["--passphrase-file", &words, "--new-passphrase-file", &other]).done();
    pass(&["--passphrase-file", &words]).fails(1, &["wrong passphrase"]);

    // systemd: LoadCredential=xinqiao-passphrase:…
    fs::create_dir(path("credentials")).unwrap();
    let credential = private("credentials/xinqiao-passphrase", b"other example words\n");
    let managed = |args: &[&str]| {
        let mut command = command(&[&["audit", "pass", "--json", "--dir", &dir][..], args].concat());
        command.env("CREDENTIALS_DIRECTORY", path("credentials"));
        finish(command)
    };
    managed(&[]).done();
    managed(&["--passphrase-file", &words]).fails(1, &["wrong passphrase"]);
    fs::set_permissions(&credential, fs::Permissions::from_mode(0o440)).unwrap();
    managed(&[]).done();
    fs::set_permissions(&credential, fs::Permissions::from_mode(0o444)).unwrap();
    managed(&[]).fails(1, &["xinqiao-passphrase", "everybody"]);
    pass(&[]).fails(1, &["neither a passphrase nor a key"]);

    let left: Vec<String> = files(Path::new(&dir))
        .iter()
        .map(|(p, _)| p.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert!(left.iter().all(|name| !name.ends_with(".tmp") && !name.ends_with(".new")), "{left:?}");
}
