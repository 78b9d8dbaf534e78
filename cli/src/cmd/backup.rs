//! A node's directory into one sealed file and back, and another passphrase for its keystore.

use std::{
    io::{IsTerminal, Write},
    time::{Duration, Instant},
};

use ::node::{
    Problem,
    backup::{self, KeysFrom, OpenWith, SealTo, Staged, Writer},
    client::{Client, member_id, unexpected},
    home::Home,
    keys::{Keys, operator_seed},
    store::DiskStore,
};
use credit::id::MemberId;
use crypto::keystore::Credential;
use exchange::{
    backup::BackupContent,
    logs::LogName,
    registry::Registry,
    wire::{Operation, Response},
};
use ledger::{audit::LogSource, log, tile::Tile};
use serde_json::json;

use crate::{
    args::{BackupKeys, NodeBackup, NodePassphrase, NodeRestore},
    cmd::{self, key_file, read_passphrase, verify},
    output::Output,
};

/// Time between two lines of progress.
const PROGRESS: Duration = Duration::from_millis(200);
const MIB: f64 = 1024.0 * 1024.0;

/// Reads the running node part by part and seals what comes.
pub(crate) async fn backup(args: &NodeBackup) -> Result<Output, Problem> {
    let client = Client::open(&args.node.dir)?;
    let content = match args.keys {
        BackupKeys::Without => BackupContent::Store,
        BackupKeys::With => BackupContent::All,
        BackupKeys::Only => BackupContent::Keys,
    };
    let to = match (&args.recipient, &args.backup_passphrase_file) {
        (Some(id), _) => {
            let id = member_id(id)?;
            let key = client.registry.member(&id)?.stated.seal;
            SealTo::Member(id, key)
        }
        (None, Some(file)) => SealTo::Passphrase(Credential::Passphrase(read_passphrase(file)?)),
        (None, None) => return Err(none_given()),
    };
    // A name that cannot be written is found out before the node does any work.
    let operator = operator_seed(&args.node.dir)?;
    let mut writer = Writer::open(&args.out, &to, &client.member, content, &operator)?;
    let begin = Operation::BackupBegin(content, writer.interrupted());
    let (id, about) = match client.operate(begin).await? {
        Response::Backup(id, about) => (id, about),
        other => return Err(unexpected(&other)),
    };
    let mut progress = Progress::new("backup / 备份");
    writer.begin(id);
    while !writer.answer(client.operate(Operation::BackupNext(id, writer.ask())).await?)? {
        let (pairs, reused) = (writer.pairs, writer.reused);
        progress.show(|| format!("{pairs} of about {} pairs, {reused} of them reused", about.max(pairs)));
    }
    let (pairs, reused) = (writer.pairs, writer.reused);
    let bytes = writer.finish()?;
    progress.end();
    let keys = args.keys != BackupKeys::Without;
    let mut text = format!(
        "{}: {pairs} pairs of `{}`, {:.1} MiB, sealed / 备份已加密写入",
        args.out.display(),
        client.member,
        bytes as f64 / MIB
    );
    if reused > 0 {
        text.push_str(&format!(
            "\n  {reused} pairs were in the interrupted backup and are still so / 其中 {reused} 项沿用中断的备份，并已核对未变"
        ));
    }
    text.push_str(if keys {
        "\n  it holds keys: destroy it after the next erasure, and make another / 其中含有密钥：下次删除后须销毁并重新备份"
    } else {
        "\n  it holds no keys: keep the keystore, or a backup of the keys, elsewhere / 其中不含密钥：请另行保管密钥库"
    });
    Ok(Output::new(
        json!({ "backup": args.out, "member": client.member.as_str(), "keys": keys, "pairs": pairs,
                "reused": reused, "bytes": bytes }),
        text,
    ))
}

/// Builds a directory from a backup, checks every log in it, and gives it its name.
pub(crate) async fn restore(args: NodeRestore) -> Result<Output, Problem> {
    let with = match (&args.open_with, &args.backup_passphrase_file) {
        (Some(dir), _) => {
            let keys = Keys::open(dir, cmd::passphrase(&args.passphrase)?)?;
            OpenWith::Member(Home::open(dir)?.member()?, keys.opening().to_vec())
        }
        (None, Some(file)) => OpenWith::Passphrase(Credential::Passphrase(read_passphrase(file)?)),
        (None, None) => return Err(none_given()),
    };
    let work = move || {
        let keys = match args.keys_from.as_deref() {
            None => KeysFrom::Backup,
            Some(path) if path.is_dir() => KeysFrom::Directory(path),
            Some(path) => KeysFrom::Other(path),
        };
        let mut progress = Progress::new("restore / 恢复");
        let mut show = |bytes: u64| progress.show(|| format!("{:.1} MiB read", bytes as f64 / MIB));
        let staged = backup::restore(&args.backup, &with, &keys, &args.dir, &mut show)?;
        let entries = check(&staged, &mut progress)?;
        progress.end();
        let (pairs, reused, header) = (staged.pairs, staged.reused, staged.header.clone());
        staged.place()?;
        Ok(Output::new(
            json!({ "restored": args.dir, "member": header.member.as_str(), "made_at": header.at.rfc3339(), "pairs": pairs,
                    "reused": reused, "entries": entries }),
            format!(
                "{}: `{}` as it was at {}; {entries} entries of its logs and copies hold\n  start it with `xinqiao node run`; it answers when a mirror has given back what happened since / 请用 `xinqiao node run` 启动；取回备份之后的日志后才会应答",
                args.dir.display(),
                header.member,
                header.at.rfc3339()
            ),
        ))
    };
    tokio::task::spawn_blocking(work).await.map_err(|e| Problem::fault(e.to_string()))?
}

/// Verifies every log of a restored directory from its first entry on. Returns how many entries they have.
fn check(staged: &Staged, progress: &mut Progress) -> Result<u64, Problem> {
    let home = staged.home();
    let (_, registry) = home.registry()?;
    let own = home.member()?;
    let store = DiskStore::open(&home.data()).map_err(|e| Problem::fault(e.to_string()))?;
    let mut entries = 0;
    for (owner, name, stored) in kept(&registry, &own) {
        let head = log::head(&store, &stored).map_err(|e| Problem::fault(e.to_string()))?;
        let Some(head) = head else { continue };
        let source = Stored { store: &store, name: stored, checkpoint: head.as_str().to_owned() };
        let verified = verify::log(&source, &registry)?;
        if (&verified.member, verified.log) != (&owner, name) {
            return Err(Problem::new(
                format!("the backup holds another log in the place of {owner}/{name}"),
                "do not use this backup",
                "请勿使用此备份",
            ));
        }
        entries += verified.checkpoint.size.0;
        progress.show(|| format!("{entries} entries verified"));
    }
    Ok(entries)
}

/// Whose logs a member keeps, and under which names.
fn kept(registry: &Registry, own: &MemberId) -> Vec<(MemberId, LogName, String)> {
    let mut kept: Vec<_> = LogName::ALL.map(|log| (own.clone(), log, log.as_str().to_owned())).into();
    for owner in registry.active().filter(|owner| owner.id != *own) {
        for log in LogName::ALL.into_iter().filter(|log| registry.keeps_copy(own, &owner.id, *log)) {
            kept.push((owner.id.clone(), log, log.mirror(&owner.id)));
        }
    }
    kept
}

/// A log in a store, read as a published one is.
struct Stored<'a> {
    store: &'a DiskStore,
    name: String,
    checkpoint: String,
}

impl LogSource for Stored<'_> {
    fn checkpoint(&self) -> String {
        self.checkpoint.clone()
    }

    fn resource(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
        let tile = Tile::parse(path).map_err(|e| e.to_string())?;
        log::resource(self.store, &self.name, &tile).map_err(|e| e.to_string())
    }
}

/// Puts the keystore under another credential.
pub(crate) fn passphrase(args: &NodePassphrase) -> Result<Output, Problem> {
    let home = Home::open(&args.at.dir)?;
    let _lock = home.lock()?;
    let new = match (&args.new_key_file, &args.new_passphrase_file) {
        (Some(file), _) => key_file(file)?,
        (None, Some(file)) => Credential::Passphrase(read_passphrase(file)?),
        (None, None) => return Err(none_given()),
    };
    let mut keys = Keys::open(home.dir(), cmd::passphrase(&args.at.passphrase)?)?;
    keys.settle()?;
    keys.relock(new)?;
    Ok(Output::new(
        json!({ "changed": args.at.dir }),
        "the keystore opens with the new one only; copies of the old keystore still open with the old one: destroy them / 密钥库已更换口令；旧密钥库副本仍可用旧口令打开，请予销毁",
    ))
}

fn none_given() -> Problem {
    Problem::new(
        "no passphrase or key was given for it",
        "see --help for the options that name one",
        "请用 --help 查看指定口令或密钥的选项",
    )
}

/// One line on a terminal, written over and over; nothing elsewhere.
struct Progress {
    what: &'static str,
    shown: Option<Instant>,
    terminal: bool,
}

impl Progress {
    fn new(what: &'static str) -> Self {
        Self { what, shown: None, terminal: std::io::stderr().is_terminal() }
    }

    fn show(&mut self, text: impl FnOnce() -> String) {
        if self.terminal && self.shown.is_none_or(|at| at.elapsed() >= PROGRESS) {
            self.shown = Some(Instant::now());
            // What a terminal does not take is not worth a failure.
            let _ = write!(std::io::stderr(), "\r\x1b[K{}: {}", self.what, text());
        }
    }

    fn end(&mut self) {
        if self.shown.take().is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
