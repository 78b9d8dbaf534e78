//! Copies of published logs: verified before they take their place, and never put in the place of a copy that they contradict.

use std::{
    cell::RefCell,
    fs, io,
    path::{Path, PathBuf},
};

use ::node::{Problem, home::Home, keys::sync_dir};
use credit::id::MemberId;
use crypto::Digest;
use exchange::{logs::LogName, registry::Registry};
use ledger::audit::LogSource;
use serde_json::json;

use crate::{
    args::Unlock,
    cmd::{
        audit::pass,
        log_name,
        new_file::{directory, parent, unwritable},
        verify::{self, Verified},
    },
    fetch::{Exported, Published},
    output::Output,
};

/// What to copy.
pub(crate) struct Wanted {
    pub(crate) member: String,
    pub(crate) log: String,
    /// The mirror whose copy is meant, in place of what the member itself shows.
    pub(crate) from: Option<String>,
}

/// Copies a log into a directory; one that holds an earlier copy of it is brought up to date.
pub(crate) async fn run(wanted: Wanted, out: &Path, at: &Unlock) -> Result<Output, Problem> {
    use ::node::client::member_id;
    let log = log_name(&wanted.log)?;
    let header = pass(at, 30)?;
    let (_, registry) = Home::open(&at.dir)?.registry()?;
    let owner = member_id(&wanted.member)?;
    let verified = match wanted.from {
        None => export(&registry, &owner, log, out, &header).await?,
        Some(mirror) => {
            let at = &registry.member(&member_id(&mirror)?)?.stated.http;
            copy(&registry, (&owner, log), &format!("http://{at}/mirror/{owner}/{log}"), out, &header).await?
        }
    };
    let size = verified.checkpoint.size;
    Ok(Output::new(
        json!({ "member": wanted.member, "log": log.as_str(), "size": size.0, "out": out }),
        format!("{owner}/{log}: {size} entries copied to {} and verified / 已导出并验证", out.display()),
    ))
}

/// Copies what a member shows of its log.
pub(crate) async fn export(
    registry: &Registry,
    member: &MemberId,
    log: LogName,
    out: &Path,
    header: &str,
) -> Result<Verified, Problem> {
    let at = &registry.member(member)?.stated.http;
    copy(registry, (member, log), &format!("http://{at}/log/{log}"), out, header).await
}

async fn copy(
    registry: &Registry,
    (owner, log): (&MemberId, LogName),
    url: &str,
    out: &Path,
    header: &str,
) -> Result<Verified, Problem> {
    let place = Place::of(out)?;
    let source = Published::open(url, Some(header.to_owned())).await?;
    let (registry, owner) = (registry.clone(), owner.clone());
    let copied = tokio::task::spawn_blocking(move || place.fill(&source, &registry, &owner, log));
    copied.await.map_err(|e| Problem::fault(e.to_string()))?
}

/// Where a copy goes, and what stands there.
struct Place {
    out: PathBuf,
    /// An earlier copy.
    there: Option<Exported>,
}

impl Place {
    /// Errors: something else stands there.
    fn of(out: &Path) -> Result<Self, Problem> {
        let empty = match fs::read_dir(out) {
            Ok(mut entries) => entries.next().is_none(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => true,
            Err(e) => return Err(unwritable(out, &e)),
        };
        let there = match empty {
            true => None,
            false if out.join(CHECKPOINT).is_file() => Some(Exported::open(out)?),
            false => {
                return Err(Problem::new(
                    format!("{} holds something else than a copy of a log", out.display()),
                    "name a new directory, or the one of an earlier copy of this log",
                    "请另指定新目录，或指定该日志先前副本的目录",
                ));
            }
        };
        Ok(Self { out: out.to_owned(), there })
    }

    /// Copies the log beside the place, verifies it, and lets it take the place only if it continues what is there.
    fn fill(
        &self,
        source: &dyn LogSource,
        registry: &Registry,
        owner: &MemberId,
        log: LogName,
    ) -> Result<Verified, Problem> {
        let at = parent(&self.out);
        directory(at)?;
        let beside = tempfile::Builder::new().prefix(".xinqiao-").tempdir_in(at);
        let beside = beside.map_err(|e| unwritable(&self.out, &e))?;
        let dir = beside.path().join("copy");
        directory(&dir)?;
        let before = match &self.there {
            Some(there) => Some(earlier(&self.out, there, registry)?),
            None => None,
        };
        let known = before.as_ref().map_or(0, |before| before.checkpoint.size.0);
        let keeping = Keeping { from: source, dir: &dir, failed: RefCell::default() };
        let verified = verify::log_and_root_at(&keeping, registry, known);
        if let Some(problem) = keeping.failed.take() {
            return Err(problem);
        }
        let (verified, root) = verified?;
        if (&verified.member, verified.log) != (owner, log) {
            return Err(Problem::new(
                format!("that is the log `{}/{}`", verified.member, verified.log),
                "ask another mirror",
                "请改用其他镜像",
            ));
        }
        let vkey = format!("{}\n", registry.note_key(&verified.member, verified.log)?.vkey());
        for (name, text) in [("vkey", vkey), (CHECKPOINT, source.checkpoint())] {
            fs::write(dir.join(name), text).map_err(|e| unwritable(&self.out, &e))?;
        }
        if let (Some(before), Some(there)) = (before, &self.there) {
            self.continues(&before, there, &verified, root, &dir, registry)?;
        }
        self.take(&dir).map_err(|e| unwritable(&self.out, &e))?;
        Ok(verified)
    }

    /// Whether the new copy has all that the earlier one has. One that has not is kept beside it: the two convict.
    fn continues(
        &self,
        before: &Verified,
        there: &Exported,
        new: &Verified,
        root: Option<Digest>,
        dir: &Path,
        registry: &Registry,
    ) -> Result<(), Problem> {
        let out = self.out.display();
        if (&before.member, before.log) != (&new.member, new.log) {
            return Err(Problem::new(
                format!("{out} holds the log `{}/{}`, and that is kept", before.member, before.log),
                "name another directory",
                "请另指定目录：原有日志副本予以保留",
            ));
        }
        let (had, has) = (&before.checkpoint, &new.checkpoint);
        if root == Some(had.root) {
            return Ok(());
        }
        if has.size < had.size && verify::log_and_root_at(there, registry, has.size.0)?.1 == Some(has.root) {
            return Err(Problem::new(
                format!(
                    "{out} holds {} entries, and only the first {} of them are shown now; the copy is kept as it is",
                    had.size, has.size
                ),
                "ask the member itself or a mirror that is up to date; a member that takes entries back has to say why",
                "请改向该成员本身或已更新的镜像获取；如成员撤回条目，应要求其说明原因",
            ));
        }
        let kept = self.other();
        fs::rename(dir, &kept).map_err(|e| unwritable(&kept, &e))?;
        Err(Problem::new(
            format!(
                "TWO HISTORIES of `{}/{}`: what is shown now, {} entries, does not continue the {} entries in {out}; both are signed, and the new one is kept in {}",
                new.member,
                new.log,
                has.size,
                had.size,
                kept.display()
            ),
            "keep both directories and take them to the governors: the two checkpoints convict whoever signed them",
            "发现两个互相矛盾的日志版本：请保留两个目录并提交治理方，两份检查点可证明签署者篡改历史",
        ))
    }

    /// A name beside the place that nothing has.
    fn other(&self) -> PathBuf {
        let name = self.out.file_name().unwrap_or_default().to_string_lossy();
        let named = |n: u32| self.out.with_file_name(format!("{name}.other-{n}"));
        (1..).map(named).find(|path| !path.exists()).unwrap_or_else(|| named(0))
    }

    /// Moves a verified copy to its place: at once where nothing is, else its tiles first, which the earlier checkpoint does not
    /// mind, and its checkpoint last.
    fn take(&self, dir: &Path) -> io::Result<()> {
        if self.there.is_none() {
            fs::rename(dir, &self.out)?;
        } else {
            merge(dir, &self.out)?;
            fs::rename(dir.join(CHECKPOINT), self.out.join(CHECKPOINT))?;
        }
        sync_dir(parent(&self.out))
    }
}

/// The file that says how far a copy goes.
const CHECKPOINT: &str = "checkpoint";

/// The copy that stands there, verified: what does not hold is neither continued nor replaced.
fn earlier(out: &Path, there: &Exported, registry: &Registry) -> Result<Verified, Problem> {
    verify::log(there, registry).map_err(|problem| {
        Problem::new(
            format!("the copy in {} does not hold: {}", out.display(), problem.what),
            "name another directory, and keep this one: somebody has changed it, or its log",
            "请另指定目录，并保留此副本：该副本或其日志已被改动",
        )
    })
}

/// Moves every file but the checkpoint from one directory into another.
fn merge(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let (path, at) = {
            let entry = entry?;
            (entry.path(), to.join(entry.file_name()))
        };
        if path.is_dir() {
            merge(&path, &at)?;
        } else if path.file_name().is_none_or(|name| name != CHECKPOINT) {
            fs::rename(path, at)?;
        }
    }
    Ok(())
}

/// A source that keeps a copy of everything that passes through it.
struct Keeping<'a> {
    /// Where it comes from.
    from: &'a dyn LogSource,
    /// Where it goes.
    dir: &'a Path,
    /// Why something could not be kept: a matter of this machine, and not of the log.
    failed: RefCell<Option<Problem>>,
}

impl LogSource for Keeping<'_> {
    fn checkpoint(&self) -> String {
        self.from.checkpoint()
    }

    fn resource(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
        let found = self.from.resource(path)?;
        if let Some(bytes) = &found {
            let at = self.dir.join(path);
            let written = at.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&at, bytes));
            written.map_err(|e| {
                let problem = unwritable(&at, &e);
                let what = problem.what.clone();
                self.failed.replace(Some(problem));
                what
            })?;
        }
        Ok(found)
    }
}
