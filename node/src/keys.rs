//! A member's secrets on disk.
//!
//! | file | content |
//! |---|---|
//! | `keystore` | under the passphrase: the member's seed and the key tree's master key |
//! | `keytree` | the key tree's state under the master key |
//! | `operator.key` | the operator's transport key, readable by the owner only: whoever reads it may operate the node |
//!
//! Erasing replaces the master key: `keytree.new` is written under a new master, then the keystore with the new master,
//! then `keytree.new` takes the place of `keytree`. Whatever crash falls in between, one of the two state files
//! opens with the keystore's master, and start-up punctures what the log says is erased. An old copy of the state
//! file does not open with the present keystore.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    sync::RwLock,
};

use crypto::{
    Digest, codec,
    keystore::{KeystoreError, Unlocked},
    keytree::{KeyTree, Slot},
    label::Label,
    seal::{OpeningKey, RecordKey, open_box, seal_box},
    secret::Secret,
    sign::SigningKey,
};
use minicbor::{Decode, Encode};

use crate::{Problem, clock};

const KEYSTORE: &str = "keystore";
const KEYTREE: &str = "keytree";
const KEYTREE_NEW: &str = "keytree.new";
const OPERATOR: &str = "operator.key";

#[derive(Encode, Decode)]
#[cbor(map)]
struct Content {
    #[n(0)]
    seed: Digest,
    #[n(1)]
    master: Digest,
}

/// An open keystore.
pub struct Keys {
    dir: PathBuf,
    seed: Secret,
    unlocked: Unlocked,
    tree: RwLock<KeyTree>,
}

impl Keys {
    /// Makes a new member's keys in `dir`. Refuses to replace existing ones.
    pub fn create(dir: &Path, passphrase: &[u8]) -> Result<Self, Problem> {
        let path = dir.join(KEYSTORE);
        if path.exists() {
            return Err(Problem::new(
                format!("{} exists already", path.display()),
                "use another directory, or keep the member that lives here",
                "请使用其他目录，或保留此处已有的成员",
            ));
        }
        let unlocked = Unlocked::new(passphrase, clock::random()).map_err(keystore_problem(&path))?;
        let keys = Self {
            dir: dir.to_owned(),
            seed: clock::secret(),
            unlocked,
            tree: RwLock::new(KeyTree::new(clock::secret())),
        };
        keys.write(
            &KeyTree::from_plain(&keys.read(KeyTree::to_plain)).ok_or_else(|| Problem::fault("key tree"))?,
        )?;
        write_private(&dir.join(OPERATOR), codec::hex(keys.derived(b"operator").expose()).as_bytes())?;
        Ok(keys)
    }

    /// Opens a member's keys.
    pub fn open(dir: &Path, passphrase: &[u8]) -> Result<Self, Problem> {
        let path = dir.join(KEYSTORE);
        let bytes = fs::read(&path).map_err(|e| {
            Problem::new(
                format!("{}: {e}", path.display()),
                "create the member first with `xinqiao member request`",
                "请先用 `xinqiao member request` 创建成员",
            )
        })?;
        let (content, unlocked) = Unlocked::open(passphrase, &bytes).map_err(keystore_problem(&path))?;
        let Content { seed, master } =
            codec::from_slice(&content).map_err(|_| keystore_problem(&path)(KeystoreError::Malformed))?;
        let master = Secret::new(master.0);
        let state = |name: &str| {
            let bytes = fs::read(dir.join(name)).ok()?;
            KeyTree::from_plain(&open_box(&master, Label::KeyTreeFile, &bytes).ok()?)
        };
        let tree = match state(KEYTREE) {
            Some(tree) => Some(tree),
            // A crash fell between keystore and rename: finish it before anything can write `keytree.new` again.
            None => match state(KEYTREE_NEW) {
                Some(tree) => {
                    let renamed =
                        fs::rename(dir.join(KEYTREE_NEW), dir.join(KEYTREE)).and_then(|()| sync_dir(dir));
                    renamed.map_err(|e| Problem::fault(format!("{}: {e}", dir.display())))?;
                    Some(tree)
                }
                None => None,
            },
        };
        let tree = tree.ok_or_else(|| {
            Problem::new(
                format!("no key tree in {} opens with this keystore", dir.display()),
                "the files `keystore` and `keytree` belong together; restore both from the same backup",
                "`keystore` 与 `keytree` 必须成对使用；请从同一备份恢复两者",
            )
        })?;
        Ok(Self { dir: dir.to_owned(), seed: Secret::new(seed.0), unlocked, tree: RwLock::new(tree) })
    }

    /// Signs statements and checkpoints.
    pub fn signing(&self) -> SigningKey {
        SigningKey::from_seed(&self.derived(b"sign"))
    }

    /// Seed of the transport identity.
    pub fn tls_seed(&self) -> Secret {
        self.derived(b"tls")
    }

    /// Seed of the operator's transport identity.
    pub fn operator_seed(&self) -> Secret {
        self.derived(b"operator")
    }

    /// Cosigns peers' checkpoints.
    pub fn witness(&self) -> SigningKey {
        SigningKey::from_seed(&self.derived(b"witness"))
    }

    /// Opens answers sealed to this member.
    pub fn opening(&self) -> OpeningKey {
        OpeningKey::from_seed(&self.derived(b"open"))
    }

    /// The pepper of subject tags.
    pub fn pepper(&self) -> Secret {
        self.derived(b"pepper")
    }

    /// The secret from which subjects' access keys are derived.
    pub fn access(&self) -> Secret {
        self.derived(b"access")
    }

    /// The key of a slot; `None` when it is erased.
    pub fn record_key(&self, slot: Slot) -> Option<RecordKey> {
        self.read(|tree| tree.key(slot))
    }

    /// The keys of `count` slots from `first` on; `None` for those that are erased.
    pub fn record_keys(&self, first: Slot, count: u64) -> Vec<Option<RecordKey>> {
        self.read(|tree| tree.keys(first, count))
    }

    /// Digests of the key tree as it is and as it would be without `slots`.
    pub fn digests_without(&self, slots: &[Slot]) -> Result<(Digest, Digest), Problem> {
        let (before, after) = self.without(slots)?;
        Ok((before, after.digest()))
    }

    /// Destroys the keys of `slots` for good; slots already erased change nothing.
    pub fn puncture(&self, slots: &[Slot]) -> Result<(), Problem> {
        let (before, after) = self.without(slots)?;
        if after.digest() != before {
            self.write(&after)?;
            *self.tree.write().map_err(|_| Problem::fault("key tree lock"))? = after;
        }
        Ok(())
    }

    fn without(&self, slots: &[Slot]) -> Result<(Digest, KeyTree), Problem> {
        let plain = self.read(KeyTree::to_plain);
        let mut tree = KeyTree::from_plain(&plain).ok_or_else(|| Problem::fault("key tree state"))?;
        let before = tree.digest();
        for slot in slots {
            tree.puncture(*slot);
        }
        Ok((before, tree))
    }

    /// Writes `tree` under a new master key.
    fn write(&self, tree: &KeyTree) -> Result<(), Problem> {
        let master = clock::secret();
        let state = seal_box(&master, Label::KeyTreeFile, clock::random(), &tree.to_plain());
        write_private(&self.dir.join(KEYTREE_NEW), &state)?;
        let content = zeroize(codec::to_vec(&Content {
            seed: Digest(*self.seed.expose()),
            master: Digest(*master.expose()),
        }));
        write_private(&self.dir.join(KEYSTORE), &self.unlocked.seal(clock::random(), &content))?;
        let rename = fs::rename(self.dir.join(KEYTREE_NEW), self.dir.join(KEYTREE));
        rename
            .and_then(|()| sync_dir(&self.dir))
            .map_err(|e| Problem::fault(format!("{}: {e}", self.dir.display())))
    }

    fn read<T>(&self, read: impl FnOnce(&KeyTree) -> T) -> T {
        match self.tree.read() {
            Ok(tree) => read(&tree),
            // A writer panicked between two complete states; the state itself is whole.
            Err(poisoned) => read(&poisoned.into_inner()),
        }
    }

    fn derived(&self, what: &[u8]) -> Secret {
        self.seed.derive(Label::MemberSeed, what)
    }
}

/// Reads the operator's transport seed of a node directory.
pub fn operator_seed(dir: &Path) -> Result<Secret, Problem> {
    let path = dir.join(OPERATOR);
    let no = |why: String| {
        Problem::new(
            format!("{}: {why}", path.display()),
            "give the node's directory with --dir, as a user who may read it",
            "请用 --dir 指定节点目录，并以有读取权限的用户运行",
        )
    };
    let text = fs::read_to_string(&path).map_err(|e| no(e.to_string()))?;
    let bytes: [u8; 32] = codec::unhex(text.trim())
        .and_then(|b| b.try_into().ok())
        .ok_or_else(|| no("not an operator key".into()))?;
    Ok(Secret::new(bytes))
}

/// Writes a file that only its owner may read: to a temporary name, flushed, then renamed.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), Problem> {
    let write = || -> std::io::Result<()> {
        let temporary = path.with_extension("tmp");
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        path.parent().map_or(Ok(()), sync_dir)
    };
    write().map_err(|e| Problem::fault(format!("cannot write {}: {e}", path.display())))
}

fn sync_dir(dir: &Path) -> std::io::Result<()> {
    fs::File::open(if dir.as_os_str().is_empty() { Path::new(".") } else { dir })?.sync_all()
}

fn zeroize(bytes: Vec<u8>) -> zeroize::Zeroizing<Vec<u8>> {
    zeroize::Zeroizing::new(bytes)
}

fn keystore_problem(path: &Path) -> impl FnOnce(KeystoreError) -> Problem + '_ {
    move |e| {
        Problem::new(
            format!("{}: {e}", path.display()),
            "check the passphrase file; without its passphrase a keystore cannot be opened by anybody",
            "请核对口令文件；没有口令，任何人都无法打开密钥库",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_punctured_key_is_gone_after_reopening_and_an_old_state_file_no_longer_opens() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keys::create(dir.path(), b"pass").unwrap();
        let old_tree = fs::read(dir.path().join(KEYTREE)).unwrap();
        assert!(keys.record_key(Slot(4)).is_some());
        keys.puncture(&[Slot(4)]).unwrap();
        drop(keys);
        let keys = Keys::open(dir.path(), b"pass").unwrap();
        assert!(keys.record_key(Slot(4)).is_none() && keys.record_key(Slot(5)).is_some());
        fs::write(dir.path().join(KEYTREE), old_tree).unwrap();
        assert!(Keys::open(dir.path(), b"pass").is_err());
    }

    #[test]
    fn a_wrong_passphrase_is_named_with_the_file() {
        let dir = tempfile::tempdir().unwrap();
        Keys::create(dir.path(), b"pass").unwrap();
        let problem = Keys::open(dir.path(), b"word").err().unwrap();
        assert!(problem.what.contains("keystore") && problem.what.contains("passphrase"));
        assert!(Keys::create(dir.path(), b"pass").is_err());
    }
}
