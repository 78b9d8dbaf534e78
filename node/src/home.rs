//! A member's directory: what belongs to it, who holds it, and whether this build understands it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use credit::id::MemberId;
use crypto::{codec, sign::PublicKey};
use exchange::{
    artifact::Artifact,
    registry::{Registry, SignedRegistry},
};
use serde::{Deserialize, Serialize};

use crate::{
    Problem,
    keys::{sync_dir, write_private},
};

/// Version of the directory's layout that this build writes and reads.
pub const FORMAT: u32 = 1;

const FORMAT_FILE: &str = "FORMAT";
const CONFIG: &str = "node.toml";
const REGISTRY: &str = "registry";
const MEMBER: &str = "member";
const SERVED: &str = "served";
const RESTORED: &str = "restored";
const RESTORING: &str = "restoring";
const KNOWN_KEY: &str = "known-key";
const LOCK: &str = "lock";

/// The files of a directory that a backup takes beside the store and the keys.
pub const HOME_FILES: [&str; 4] = [FORMAT_FILE, MEMBER, CONFIG, REGISTRY];

/// Settings of a node, in `node.toml`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The member's id.
    pub member: String,
    /// Where the node listens for peers: `host:port`.
    pub quic: String,
    /// Where the node publishes its logs: `host:port`. Plain HTTP is served on loopback only.
    pub http: String,
    /// The gateway for the member's own systems; off unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<GatewayConfig>,
}

/// Where and how the gateway listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatewayConfig {
    /// `host:port`. Without a certificate on loopback only.
    pub listen: String,
    /// PEM file of the certificate and those that lead from it to an authority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// PEM file of its private key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
}

/// A member's directory.
#[derive(Clone, Debug)]
pub struct Home {
    dir: PathBuf,
}

/// Holds a directory for one process; released when dropped or when the process ends, however it ends.
#[derive(Debug)]
pub struct Lock(#[allow(dead_code)] fs::File);

impl Home {
    /// Makes a new directory for `member`; an existing one must be empty.
    pub fn create(dir: &Path, member: &MemberId) -> Result<Self, Problem> {
        let failed = |e: std::io::Error| Problem::fault(format!("{}: {e}", dir.display()));
        fs::create_dir_all(dir).map_err(failed)?;
        if fs::read_dir(dir).map_err(failed)?.next().is_some() {
            return Err(Problem::new(
                format!("{} is not empty", dir.display()),
                "give a new directory with --dir",
                "请用 --dir 指定一个新目录",
            ));
        }
        #[cfg(unix)]
        fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o700)).map_err(failed)?;
        let home = Self { dir: dir.to_owned() };
        write_private(&home.path(MEMBER), format!("{member}\n").as_bytes())?;
        write_private(&home.path(FORMAT_FILE), format!("xinqiao {FORMAT}\n").as_bytes())?;
        Ok(home)
    }

    /// Opens a directory made by this or an earlier build.
    pub fn open(dir: &Path) -> Result<Self, Problem> {
        let home = Self { dir: dir.to_owned() };
        if home.path(RESTORING).exists() {
            return Err(Problem::new(
                format!("{} is half of a restored directory", dir.display()),
                "run `xinqiao node restore` again as before, and it goes on; then start the node in the directory it names",
                "请再次执行原来的 `xinqiao node restore` 以继续恢复，然后在其指出的目录中启动节点",
            ));
        }
        let text = fs::read_to_string(home.path(FORMAT_FILE)).map_err(|e| {
            Problem::new(
                format!("{} is not a member's directory: {e}", dir.display()),
                "create one with `xinqiao member request --dir …`",
                "请用 `xinqiao member request --dir …` 创建",
            )
        })?;
        match text.trim().strip_prefix("xinqiao ").and_then(|v| v.parse::<u32>().ok()) {
            Some(FORMAT) => Ok(home),
            Some(version) => Err(Problem::new(
                format!("{} has format {version}, this build reads format {FORMAT}", dir.display()),
                "run the build that wrote it, or a newer one",
                "请使用写入该目录的版本或更新的版本",
            )),
            None => Err(Problem::new(
                format!("{}: not a format line", home.path(FORMAT_FILE).display()),
                "the directory was changed by something else; restore it from a backup",
                "该目录已被其他程序改动；请从备份恢复",
            )),
        }
    }

    /// A directory that is being restored, whatever is in it.
    pub(crate) fn restoring(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Notes how many segments of a backup are in the directory's store. No node starts in it until that is over.
    pub(crate) fn set_restoring(&self, backup: &str, segments: u64) -> Result<(), Problem> {
        write_private(&self.path(RESTORING), format!("{backup} {segments}\n").as_bytes())
    }

    /// How many segments of this backup are in the directory's store; `None` when another was being restored, or none.
    pub(crate) fn restoring_of(&self, backup: &str) -> Option<u64> {
        let text = fs::read_to_string(self.path(RESTORING)).ok()?;
        text.strip_prefix(backup)?.trim().parse().ok()
    }

    /// Ends the restoring.
    pub(crate) fn end_restoring(&self) -> Result<(), Problem> {
        self.remove(RESTORING)
    }

    /// Removes everything in the directory that has none of these names.
    pub(crate) fn clear_but(&self, names: &[&str]) -> std::io::Result<()> {
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            if names.iter().chain([&LOCK, &RESTORING]).any(|name| entry.file_name() == *name) {
                continue;
            }
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        sync_dir(&self.dir)
    }

    fn remove(&self, name: &str) -> Result<(), Problem> {
        let removed = match fs::remove_file(self.path(name)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e),
            _ => sync_dir(&self.dir),
        };
        removed.map_err(|e| Problem::fault(format!("{}: {e}", self.dir.display())))
    }

    /// Notes that a peer has a registry with this signing key of the member.
    pub fn mark_known(&self, key: &PublicKey) -> Result<(), Problem> {
        if self.is_known(key) {
            return Ok(());
        }
        write_private(&self.path(KNOWN_KEY), format!("{key}\n").as_bytes())
    }

    /// Whether a peer has had a registry with this signing key of the member.
    pub fn is_known(&self, key: &PublicKey) -> bool {
        fs::read_to_string(self.path(KNOWN_KEY)).is_ok_and(|text| text.trim() == key.to_string())
    }

    /// The member this directory was made for.
    pub fn member(&self) -> Result<MemberId, Problem> {
        let path = self.path(MEMBER);
        let text =
            fs::read_to_string(&path).map_err(|e| Problem::fault(format!("{}: {e}", path.display())))?;
        MemberId::parse(text.trim())
            .ok_or_else(|| Problem::fault(format!("{}: no member id", path.display())))
    }

    /// Whether a node has ever served from this directory. Kept outside of `data`, so that a lost store is not taken
    /// for a new one.
    pub fn has_served(&self) -> bool {
        self.path(SERVED).exists()
    }

    /// Notes that a node serves from this directory.
    pub fn mark_served(&self) -> Result<(), Problem> {
        if self.has_served() { Ok(()) } else { write_private(&self.path(SERVED), b"") }
    }

    /// Whether the directory came out of a backup and no node has caught up with its peers since. Such a directory surely
    /// is an old copy of itself, whatever else it says.
    pub fn is_restored(&self) -> bool {
        self.path(RESTORED).exists()
    }

    /// Notes that the directory came out of a backup.
    pub fn mark_restored(&self) -> Result<(), Problem> {
        write_private(&self.path(RESTORED), b"")
    }

    /// Notes that what happened after the backup was taken back from peers.
    pub fn mark_caught_up(&self) -> Result<(), Problem> {
        self.remove(RESTORED)
    }

    /// The directory has served, and its store is not there or empty: lost, and not new.
    pub fn no_store(&self) -> Problem {
        Problem::new(
            format!(
                "{} is missing or empty, and a node has served from this directory",
                self.data().display()
            ),
            "check the disk or its mount, and put the whole directory back from the newest backup; if there is none, start \
             with --take-back: the mirrors give back what they have seen of the logs, and every file is to be handed in \
             again",
            "请检查磁盘及其挂载，并用最近的备份恢复整个目录；若没有备份，请用 --take-back 启动：\
             镜像会交还其所见的日志，所有文件须重新报送",
        )
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the store lives.
    pub fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// Takes the directory for this process.
    pub fn lock(&self) -> Result<Lock, Problem> {
        let path = self.path(LOCK);
        let file = fs::OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(|e| Problem::fault(format!("{}: {e}", path.display())))?;
        file.try_lock().map_err(|_| {
            Problem::new(
                format!("{} is in use by another process", self.dir.display()),
                "stop the other process, or give another directory",
                "请停止另一进程，或指定其他目录",
            )
        })?;
        Ok(Lock(file))
    }

    /// Reads the settings; errors name line and column.
    pub fn config(&self) -> Result<Config, Problem> {
        let path = self.path(CONFIG);
        let next =
            ("run `xinqiao node init` first, or mend the file", "请先运行 `xinqiao node init`，或修正该文件");
        let text = fs::read_to_string(&path)
            .map_err(|e| Problem::new(format!("{}: {e}", path.display()), next.0, next.1))?;
        toml::from_str(&text).map_err(|e| Problem::new(format!("{}: {e}", path.display()), next.0, next.1))
    }

    /// Writes the settings.
    pub fn set_config(&self, config: &Config) -> Result<(), Problem> {
        let text = toml::to_string(config).map_err(|e| Problem::fault(e.to_string()))?;
        write_private(&self.path(CONFIG), text.as_bytes())
    }

    /// The registry this member decides under.
    pub fn registry(&self) -> Result<(SignedRegistry, Registry), Problem> {
        let signed = read_registry(&self.path(REGISTRY))?;
        // Approved by its own governors: the file was checked against its predecessor when it was set.
        let registry = signed.accept(None)?;
        Ok((signed, registry))
    }

    /// Sets the registry: the first one, or a successor of the present one.
    pub fn set_registry(&self, signed: &SignedRegistry) -> Result<Registry, Problem> {
        let known = if self.path(REGISTRY).exists() { Some(self.registry()?.1) } else { None };
        let registry = signed.accept(known.as_ref())?;
        if known.as_ref() == Some(&registry) {
            // Nothing new; the copy that is there has served for a start.
            return Ok(registry);
        }
        write_private(&self.path(REGISTRY), &codec::to_vec(&Artifact::Registry(signed.clone())))?;
        Ok(registry)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

/// Reads a registry file.
pub fn read_registry(path: &Path) -> Result<SignedRegistry, Problem> {
    let no = |why: String| {
        Problem::new(
            format!("{}: {why}", path.display()),
            "give the registry file that `xinqiao federation sign` has completed",
            "请提供由 `xinqiao federation sign` 完成签署的登记表文件",
        )
    };
    let bytes = fs::read(path).map_err(|e| no(e.to_string()))?;
    match codec::from_slice::<Artifact>(&bytes) {
        Ok(Artifact::Registry(signed)) => Ok(signed),
        Ok(_) => Err(no("is another kind of file".into())),
        Err(e) => Err(no(e.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_of_a_newer_build_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::create(&dir.path().join("sh"), &MemberId::parse("sh").unwrap()).unwrap();
        fs::write(home.path(FORMAT_FILE), "xinqiao 2\n").unwrap();
        assert!(Home::open(home.dir()).unwrap_err().what.contains("format 2"));
    }

    #[test]
    fn a_directory_is_held_by_one_process_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::create(&dir.path().join("sh"), &MemberId::parse("sh").unwrap()).unwrap();
        let held = home.lock().unwrap();
        assert!(home.lock().unwrap_err().what.contains("in use"));
        drop(held);
        assert!(home.lock().is_ok());
    }
}
