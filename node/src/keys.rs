//! A member's secrets on disk.
//!
//! | file | content |
//! |---|---|
//! | `keystore` | under passphrase or key file: the member's seed, the seeds of later identity keys, and the key tree's master key |
//! | `keytree` | the key tree's state under the master key |
//! | `operator.key` | the operator's transport key, readable by the owner only: whoever reads it may operate the node |
//!
//! Erasing replaces the master key: `keytree.new` is written under a new master, then the keystore with the new master,
//! then `keytree.new` takes the place of `keytree`. Whatever crash falls in between, one of the two state files
//! opens with the keystore's master, and start-up punctures what the log says is erased. An old copy of the state
//! file does not open with the present keystore.
//!
//! Other commands read these files while the node runs. They never finish what a crash left: that is the writer's,
//! who holds the directory.

use std::{
    ffi::OsStr,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use crypto::{
    Digest, codec,
    keystore::{Credential, KeystoreError, Unlocked},
    keytree::{KeyTree, Slot},
    label::Label,
    seal::{OpeningKey, RecordKey, open_box, seal_box},
    secret::Secret,
    sign::{PublicKey, SigningKey},
};
use minicbor::{Decode, Encode};

use crate::{Problem, clock};

const KEYSTORE: &str = "keystore";
const KEYTREE: &str = "keytree";
/// The state under its new name: after a crash in an erasure the only one that opens.
pub const KEYTREE_NEW: &str = "keytree.new";
const OPERATOR: &str = "operator.key";

/// A file by its name, and its bytes.
pub type NamedFile = (&'static str, zeroize::Zeroizing<Vec<u8>>);

/// The files that make a member's keys, as a backup takes them.
pub const KEY_FILES: [&str; 3] = [KEYSTORE, KEYTREE, OPERATOR];
/// What the name of a file ends with while it is being written.
const TEMPORARY: &str = ".tmp";
/// Random bytes in the name of such a file.
const TEMPORARY_BYTES: usize = 8;
/// How often a reader looks again when the files were exchanged under its eyes; an erasure takes longer than one look.
const LOOKS: usize = 3;

#[derive(Encode, Decode)]
#[cbor(map)]
struct Content {
    #[n(0)]
    seed: Digest,
    #[n(1)]
    master: Digest,
    /// Seeds of the generations of identity keys after the first, which comes from `seed`.
    #[n(2)]
    later: Option<Vec<Digest>>,
}

/// An open keystore.
pub struct Keys {
    dir: PathBuf,
    seed: Secret,
    later: Vec<Secret>,
    /// Which generation is in use: 0 for the first.
    used: usize,
    unlocked: Unlocked,
    tree: RwLock<KeyTree>,
    /// Held by whoever writes the files, or must see them stand still. With it the tree that was computed for the erasure
    /// that comes next, so that the writer need not compute it again.
    files: Mutex<Option<Prepared>>,
    /// The state was found under its new name: a crash fell between keystore and rename.
    unfinished: AtomicBool,
    /// Of each generation, the one in use first. One for all, because they remember what they have opened.
    opening: OnceLock<Vec<Arc<OpeningKey>>>,
}

/// The key tree without some slots, and both digests.
struct Prepared {
    slots: Vec<Slot>,
    tree: KeyTree,
    digests: (Digest, Digest),
}

impl Keys {
    /// Makes a new member's keys in `dir`. Refuses to replace existing ones.
    pub fn create(dir: &Path, credential: impl Into<Credential>) -> Result<Self, Problem> {
        let path = dir.join(KEYSTORE);
        if path.exists() {
            return Err(Problem::new(
                format!("{} exists already", path.display()),
                "use another directory, or keep the member that lives here",
                "请使用其他目录，或保留此处已有的成员",
            ));
        }
        let unlocked = Unlocked::new(credential, clock::random()).map_err(keystore_problem(&path))?;
        let keys = Self {
            dir: dir.to_owned(),
            seed: clock::secret(),
            later: Vec::new(),
            used: 0,
            unlocked,
            tree: RwLock::new(KeyTree::new(clock::secret())),
            files: Mutex::new(None),
            unfinished: AtomicBool::new(false),
            opening: OnceLock::new(),
        };
        keys.write(&keys.read(KeyTree::clone))?;
        write_private(&dir.join(OPERATOR), codec::hex(keys.derived(b"operator").expose()).as_bytes())?;
        Ok(keys)
    }

    /// Opens a member's keys.
    pub fn open(dir: &Path, credential: impl Into<Credential>) -> Result<Self, Problem> {
        let (path, credential) = (dir.join(KEYSTORE), credential.into());
        for _ in 0..LOOKS {
            let bytes = fs::read(&path).map_err(|e| {
                Problem::new(
                    format!("{}: {e}", path.display()),
                    "create the member first with `xinqiao member request`",
                    "请先用 `xinqiao member request` 创建成员",
                )
            })?;
            let (content, unlocked) =
                Unlocked::open(credential.clone(), &bytes).map_err(keystore_problem(&path))?;
            let Content { seed, master, later } =
                codec::from_slice(&content).map_err(|_| keystore_problem(&path)(KeystoreError::Malformed))?;
            let (seed, master) = (Secret::new(seed.0), Secret::new(master.0));
            let later = later.unwrap_or_default().into_iter().map(|seed| Secret::new(seed.0)).collect();
            // The new name first: between the two reads a writer may give it the old one, never the other way.
            let new = state(&dir.join(KEYTREE_NEW), &master);
            let old = state(&dir.join(KEYTREE), &master);
            let unfinished = AtomicBool::new(old.is_none());
            if let Some(tree) = old.or(new) {
                let (tree, files) = (RwLock::new(tree), Mutex::new(None));
                let opening = OnceLock::new();
                let dir = dir.to_owned();
                return Ok(Self { dir, seed, later, used: 0, unlocked, tree, files, unfinished, opening });
            }
        }
        Err(Problem::new(
            format!("no key tree in {} opens with this keystore", dir.display()),
            "the files `keystore` and `keytree` belong together; restore both from the same backup",
            "`keystore` 与 `keytree` 必须成对使用；请从同一备份恢复两者",
        ))
    }

    /// Puts the keystore under another credential. The old one opens nothing any more but old copies of the files.
    pub fn relock(&mut self, credential: impl Into<Credential>) -> Result<(), Problem> {
        let path = self.dir.join(KEYSTORE);
        self.unlocked = Unlocked::new(credential, clock::random()).map_err(keystore_problem(&path))?;
        let _files = self.files();
        self.write(&self.read(KeyTree::clone))
    }

    /// Finishes what a crash left, and removes what it left over of any file of the directory: for the process that holds
    /// it, before anything is written. A left-over file may hold a master key or a state that an erasure is to make
    /// unreadable.
    pub fn settle(&self) -> Result<(), Problem> {
        let failed = |e: io::Error| Problem::fault(format!("{}: {e}", self.dir.display()));
        let _files = self.files();
        self.finish()?;
        let remove = |name: &str| match fs::remove_file(self.dir.join(name)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(failed(e)),
            _ => Ok(()),
        };
        remove(KEYTREE_NEW)?;
        for name in KEY_FILES {
            // As builds before this one named it.
            remove(&format!("{name}{TEMPORARY}"))?;
        }
        sweep(&self.dir, None).map_err(failed)?;
        sync_dir(&self.dir).map_err(failed)
    }

    /// Finishes a rename that a crash prevented. Until then `keytree.new` is the only state that opens, and must not be
    /// written over.
    fn finish(&self) -> Result<(), Problem> {
        if self.unfinished.swap(false, Ordering::SeqCst) {
            self.rename()?;
        }
        Ok(())
    }

    fn rename(&self) -> Result<(), Problem> {
        fs::rename(self.dir.join(KEYTREE_NEW), self.dir.join(KEYTREE))
            .and_then(|()| sync_dir(&self.dir))
            .map_err(|e| Problem::fault(format!("{}: {e}", self.dir.display())))
    }

    /// The files of [`KEY_FILES`], as they belong together.
    pub fn read_files(&self) -> Result<Vec<NamedFile>, Problem> {
        let _files = self.files();
        let read = |name| {
            let path = self.dir.join(name);
            let bytes = fs::read(&path).map_err(|e| Problem::fault(format!("{}: {e}", path.display())))?;
            Ok((name, zeroize(bytes)))
        };
        KEY_FILES.into_iter().map(read).collect()
    }

    /// Where the files are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether one of the generations has this signing key.
    pub fn holds(&self, signing: &PublicKey) -> bool {
        self.generation(signing).is_some()
    }

    /// Uses the generation with this signing key, the one that the registry names; without such a one the first.
    pub fn choose(&mut self, signing: &PublicKey) {
        (self.used, self.opening) = (self.generation(signing).unwrap_or(0), OnceLock::new());
    }

    fn generation(&self, signing: &PublicKey) -> Option<usize> {
        (0..=self.later.len()).find(|n| self.signing_of(*n).verifying_key().to_bytes() == signing.0)
    }

    /// Uses the generation after the one in use; made now, unless it was made before and the registry does not name it
    /// yet. Every key of an identity is another one; what names records and subjects stays.
    pub fn rotate(&mut self) -> Result<(), Problem> {
        if self.used == self.later.len() {
            self.later.push(clock::secret());
            let written = {
                let _files = self.files();
                self.write(&self.read(KeyTree::clone))
            };
            if written.is_err() {
                self.later.pop();
            }
            written?;
        }
        (self.used, self.opening) = (self.used + 1, OnceLock::new());
        Ok(())
    }

    /// Signs statements and checkpoints.
    pub fn signing(&self) -> SigningKey {
        self.signing_of(self.used)
    }

    fn signing_of(&self, generation: usize) -> SigningKey {
        SigningKey::from_seed(&self.of(generation, b"sign"))
    }

    /// Seed of the transport identity.
    pub fn tls_seed(&self) -> Secret {
        self.of(self.used, b"tls")
    }

    /// Seed of the operator's transport identity.
    pub fn operator_seed(&self) -> Secret {
        self.derived(b"operator")
    }

    /// Cosigns peers' checkpoints.
    pub fn witness(&self) -> SigningKey {
        SigningKey::from_seed(&self.of(self.used, b"witness"))
    }

    /// Open what is sealed to this member; the key in use first, then those of other generations: a peer that does not know
    /// of a new key yet seals to the one before, and an old backup stays sealed to it.
    pub fn opening(&self) -> &[Arc<OpeningKey>] {
        self.opening.get_or_init(|| {
            let others = (0..=self.later.len()).rev().filter(|n| *n != self.used);
            let all = core::iter::once(self.used).chain(others);
            all.map(|n| Arc::new(OpeningKey::from_seed(&self.of(n, b"open")))).collect()
        })
    }

    /// The public half of the sealing key in use.
    pub fn sealing(&self) -> PublicKey {
        OpeningKey::from_seed(&self.of(self.used, b"open")).public()
    }

    /// The secret of one generation for one purpose.
    fn of(&self, generation: usize, what: &[u8]) -> Secret {
        let later = generation.checked_sub(1).and_then(|n| self.later.get(n));
        later.unwrap_or(&self.seed).derive(Label::MemberSeed, what)
    }

    /// The pepper of subject tags.
    pub fn pepper(&self) -> Secret {
        self.derived(b"pepper")
    }

    /// The secret from which subjects' access keys are derived.
    pub fn access(&self) -> Secret {
        self.derived(b"access")
    }

    /// Seals what this member keeps for its own systems, and names their questions.
    pub fn kept(&self) -> Secret {
        self.derived(b"kept")
    }

    /// The key of a slot; `None` when it is erased.
    pub fn record_key(&self, slot: Slot) -> Option<RecordKey> {
        self.read(|tree| tree.key(slot))
    }

    /// The keys of `count` slots from `first` on; `None` for those that are erased.
    pub fn record_keys(&self, first: Slot, count: u64) -> Vec<Option<RecordKey>> {
        self.read(|tree| tree.keys(first, count))
    }

    /// Digest of the key tree.
    pub fn digest(&self) -> Digest {
        self.read(KeyTree::digest)
    }

    /// Digests of the key tree as it is and as it would be without `slots`.
    pub fn digests_without(&self, slots: &[Slot]) -> (Digest, Digest) {
        let mut files = self.files();
        files.insert(self.without(slots)).digests
    }

    /// Destroys the keys of `slots` for good; slots already erased change nothing.
    pub fn puncture(&self, slots: &[Slot]) -> Result<(), Problem> {
        let mut files = self.files();
        // Every puncture takes what was prepared, so that it is never for an older tree than the present one.
        let Prepared { digests: (before, after), tree, .. } =
            files.take().filter(|p| p.slots == slots).unwrap_or_else(|| self.without(slots));
        if after != before {
            self.write(&tree)?;
            *self.tree.write().map_err(|_| Problem::fault("key tree lock"))? = tree;
        }
        Ok(())
    }

    fn without(&self, slots: &[Slot]) -> Prepared {
        let mut tree = self.read(KeyTree::clone);
        let before = tree.digest();
        for slot in slots {
            tree.puncture(*slot);
        }
        let digests = (before, tree.digest());
        Prepared { slots: slots.to_vec(), tree, digests }
    }

    fn files(&self) -> MutexGuard<'_, Option<Prepared>> {
        // A holder that panicked left the files in one of the states that a crash leaves.
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes `tree` under a new master key.
    fn write(&self, tree: &KeyTree) -> Result<(), Problem> {
        self.finish()?;
        let master = clock::secret();
        let state = seal_box(&master, Label::KeyTreeFile, clock::random(), &tree.to_plain());
        write_private(&self.dir.join(KEYTREE_NEW), &state)?;
        let content = zeroize(codec::to_vec(&Content {
            seed: Digest(*self.seed.expose()),
            master: Digest(*master.expose()),
            later: (!self.later.is_empty())
                .then(|| self.later.iter().map(|seed| Digest(*seed.expose())).collect()),
        }));
        write_private(&self.dir.join(KEYSTORE), &self.unlocked.seal(clock::random(), &content))?;
        self.rename()
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

/// The key tree's state in a file, when it opens with `master`.
fn state(path: &Path, master: &Secret) -> Option<KeyTree> {
    let bytes = fs::read(path).ok()?;
    KeyTree::from_plain(&zeroize(open_box(master, Label::KeyTreeFile, &bytes).ok()?))
}

/// Refuses a file with a secret in clear that everybody on the machine may read. The group may: service managers and
/// containers hand secrets over in that way (an access list of systemd shows as the group's permission).
pub fn check_private(path: &Path) -> Result<(), Problem> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // A file that is not there is the reader's to report.
        let Ok(found) = fs::metadata(path) else { return Ok(()) };
        if found.permissions().mode() & 0o007 != 0 {
            return Err(Problem::new(
                format!("{}: everybody on this machine may read or change it", path.display()),
                format!(
                    "run `chmod 600 {}`, and change the secret if others may have read it",
                    path.display()
                ),
                format!("请执行 `chmod 600 {}`；如他人可能已读取，请更换该秘密", path.display()),
            ));
        }
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

/// Reads the operator's transport seed of a node directory.
pub fn operator_seed(dir: &Path) -> Result<Secret, Problem> {
    let path = dir.join(OPERATOR);
    check_private(&path)?;
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

/// Writes a file that only its owner may read: under a fresh name beside it, flushed, then renamed over it. What lies
/// under another name there is nobody's to write over, and a link that waits under it leads nowhere. Of several writers at
/// once the last one's file stands, whole. What a killed one has left is removed: it may hold a secret.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), Problem> {
    let write = || -> io::Result<()> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
        sweep(path.parent().unwrap_or(Path::new("")), Some(name))?;
        let mut temporary = name.to_owned();
        temporary.push(format!(".{}{TEMPORARY}", codec::hex(&clock::random::<TEMPORARY_BYTES>())));
        let temporary = path.with_file_name(temporary);
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&temporary)?;
        // Held until it has its name, and no longer than this process lives.
        file.lock()?;
        let written =
            file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&temporary, path));
        if written.is_err() {
            // What failed may have been the disk itself; the next write looks again.
            let _ = fs::remove_file(&temporary);
        }
        written?;
        path.parent().map_or(Ok(()), sync_dir)
    };
    write().map_err(|e| Problem::fault(format!("cannot write {}: {e}", path.display())))
}

/// Removes what killed writers of the file `name` have left, or of any file.
fn sweep(dir: &Path, name: Option<&OsStr>) -> io::Result<()> {
    for entry in fs::read_dir(if dir.as_os_str().is_empty() { Path::new(".") } else { dir })? {
        let path = entry?.path();
        let middle = path.file_name().and_then(|found| {
            let (of, hex) = found.to_str()?.strip_suffix(TEMPORARY)?.rsplit_once('.')?;
            name.is_none_or(|name| name == of).then_some(hex)
        });
        let ours = middle.is_some_and(|hex| codec::unhex(hex).is_some_and(|b| b.len() == TEMPORARY_BYTES));
        // One that is being written is locked; one that is gone by now needs nobody.
        if ours && fs::File::open(&path).is_ok_and(|file| file.try_lock().is_ok()) {
            let _ = fs::remove_file(&path);
        }
    }
    Ok(())
}

/// Flushes a directory: what was created, renamed or removed in it is there after a crash.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    fs::File::open(if dir.as_os_str().is_empty() { Path::new(".") } else { dir })?.sync_all()
}

fn zeroize(bytes: Vec<u8>) -> zeroize::Zeroizing<Vec<u8>> {
    zeroize::Zeroizing::new(bytes)
}

fn keystore_problem(path: &Path) -> impl FnOnce(KeystoreError) -> Problem + '_ {
    move |e| {
        Problem::new(
            format!("{}: {e}", path.display()),
            "check --passphrase-file or --key-file; without it a keystore cannot be opened by anybody",
            "请核对 --passphrase-file 或 --key-file；没有口令或密钥文件，任何人都无法打开密钥库",
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

    /// Everything in `dir`, by name.
    fn contents(dir: &Path) -> std::collections::BTreeMap<String, Vec<u8>> {
        let read = |e: io::Result<fs::DirEntry>| {
            let path = e.unwrap().path();
            (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap())
        };
        fs::read_dir(dir).unwrap().map(read).collect()
    }

    #[test]
    fn whatever_moment_of_an_erasure_a_crash_hits_the_keys_open_and_the_erasure_can_be_finished() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keys::create(dir.path(), b"pass").unwrap();
        let before = contents(dir.path());
        keys.puncture(&[Slot(4)]).unwrap();
        let after = contents(dir.path());
        drop(keys);
        // Under names of this build and of those before.
        const TREE_LEFT: &str = "keytree.new.0123456789abcdef.tmp";
        const STORE_LEFT: &str = "keystore.tmp";
        // (file, its content): what is on the disk when the machine stops, after each step of the write.
        let (old, new) = (&before, &after);
        let moments: [&[(&str, &[u8])]; 6] = [
            &[(KEYSTORE, &old[KEYSTORE]), (KEYTREE, &old[KEYTREE]), (TREE_LEFT, &new[KEYTREE][..9])],
            &[(KEYSTORE, &old[KEYSTORE]), (KEYTREE, &old[KEYTREE]), (KEYTREE_NEW, &new[KEYTREE])],
            &[
                (KEYSTORE, &old[KEYSTORE]),
                (KEYTREE, &old[KEYTREE]),
                (KEYTREE_NEW, &new[KEYTREE]),
                (STORE_LEFT, &new[KEYSTORE]),
            ],
            &[(KEYSTORE, &new[KEYSTORE]), (KEYTREE, &old[KEYTREE]), (KEYTREE_NEW, &new[KEYTREE])],
            &[(KEYSTORE, &new[KEYSTORE]), (KEYTREE, &new[KEYTREE])],
            &[(KEYSTORE, &old[KEYSTORE]), (KEYTREE, &old[KEYTREE])],
        ];
        for (at, moment) in moments.iter().enumerate() {
            let dir = tempfile::tempdir().unwrap();
            for (name, bytes) in *moment {
                fs::write(dir.path().join(name), bytes).unwrap();
            }
            let looked = contents(dir.path());
            drop(Keys::open(dir.path(), b"pass").unwrap());
            assert_eq!(contents(dir.path()), looked, "moment {at}: reading changed a file");
            // Start-up: settle, then what the log says.
            let keys = Keys::open(dir.path(), b"pass").unwrap();
            keys.settle().unwrap();
            keys.puncture(&[Slot(4)]).unwrap();
            drop(keys);
            let keys = Keys::open(dir.path(), b"pass").unwrap();
            assert!(keys.record_key(Slot(4)).is_none() && keys.record_key(Slot(5)).is_some(), "moment {at}");
            let left = contents(dir.path());
            assert_eq!(left.keys().collect::<Vec<_>>(), [KEYSTORE, KEYTREE], "moment {at}");
            fs::write(dir.path().join(KEYTREE), &before[KEYTREE]).unwrap();
            assert!(
                Keys::open(dir.path(), b"pass").is_err(),
                "moment {at}: the state before the erasure opens"
            );
        }
    }

    #[test]
    fn what_killed_writers_of_any_file_have_left_is_gone_at_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keys::create(dir.path(), b"pass").unwrap();
        let write = |name: &str| fs::write(dir.path().join(name), "left").unwrap();
        for name in ["node.toml", "registry", "served", "gateway.json", "keystore"] {
            write(&format!("{name}.0123456789abcdef.tmp"));
        }
        // What is being written, and what somebody else has named so, stays.
        let (used, others) = ("registry.fedcba9876543210.tmp", ["notes.tmp", "registry.0123.tmp"]);
        write(used);
        for name in others {
            write(name);
        }
        let writer = fs::File::open(dir.path().join(used)).unwrap();
        writer.lock().unwrap();
        keys.settle().unwrap();
        let found = contents(dir.path());
        assert_eq!(
            found.keys().collect::<Vec<_>>(),
            [KEYSTORE, KEYTREE, others[0], OPERATOR, others[1], used]
        );
    }

    #[test]
    fn the_only_state_that_opens_is_not_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keys::create(dir.path(), b"pass").unwrap();
        let before = contents(dir.path());
        keys.puncture(&[Slot(4)]).unwrap();
        // A crash between keystore and rename; then the next write fails before its keystore.
        fs::rename(dir.path().join(KEYTREE), dir.path().join(KEYTREE_NEW)).unwrap();
        fs::write(dir.path().join(KEYTREE), &before[KEYTREE]).unwrap();
        let keys = Keys::open(dir.path(), b"pass").unwrap();
        let (keystore, bytes) = (dir.path().join(KEYSTORE), fs::read(dir.path().join(KEYSTORE)).unwrap());
        fs::remove_file(&keystore).unwrap();
        fs::create_dir(&keystore).unwrap();
        assert!(keys.puncture(&[Slot(5)]).is_err());
        fs::remove_dir(&keystore).unwrap();
        fs::write(&keystore, bytes).unwrap();
        let keys = Keys::open(dir.path(), b"pass").unwrap();
        assert!(keys.record_key(Slot(4)).is_none() && keys.record_key(Slot(5)).is_some());
    }

    #[test]
    fn another_credential_takes_the_place_of_the_old_one() {
        let dir = tempfile::tempdir().unwrap();
        let mut keys = Keys::create(dir.path(), b"pass").unwrap();
        let (key, salt) = (Credential::Key(Secret::new([9; 32])), keys.record_key(Slot(3)).unwrap().salt(1));
        keys.relock(key.clone()).unwrap();
        assert!(Keys::open(dir.path(), b"pass").is_err());
        let opened = Keys::open(dir.path(), key).unwrap();
        assert_eq!(opened.record_key(Slot(3)).unwrap().salt(1), salt);
        assert_eq!(opened.pepper(), keys.pepper());
    }

    #[cfg(unix)]
    #[test]
    fn a_secret_that_everybody_may_read_is_refused_with_what_to_do() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        Keys::create(dir.path(), b"pass").unwrap();
        assert!(operator_seed(dir.path()).is_ok());
        let path = dir.path().join(OPERATOR);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(operator_seed(dir.path()).unwrap_err().next.contains("chmod 600"));
    }

    #[cfg(unix)]
    #[test]
    fn a_private_file_is_private_and_harms_nothing_that_lies_beside_it() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        // A neighbour that everybody may read, and a link that waits where an older build would have written.
        fs::write(at("notes.tmp"), "mine").unwrap();
        fs::set_permissions(at("notes.tmp"), fs::Permissions::from_mode(0o644)).unwrap();
        fs::write(at("elsewhere"), "theirs").unwrap();
        symlink(at("elsewhere"), at("secret.tmp")).unwrap();
        write_private(&at("notes.key"), b"one").unwrap();
        write_private(&at("secret.key"), b"two").unwrap();
        write_private(&at("secret.key"), b"three").unwrap();
        for (name, text) in
            [("notes.tmp", "mine"), ("elsewhere", "theirs"), ("notes.key", "one"), ("secret.key", "three")]
        {
            assert_eq!(fs::read_to_string(at(name)).unwrap(), text, "{name}");
        }
        for name in ["notes.key", "secret.key"] {
            let found = fs::symlink_metadata(at(name)).unwrap();
            assert!(found.is_file() && found.permissions().mode() & 0o777 == 0o600, "{name}");
        }
        // What a killed writer has left is removed by the next one, and what somebody is writing is not.
        fs::write(at("secret.key.0123456789abcdef.tmp"), "left").unwrap();
        fs::write(at("secret.key.fedcba9876543210.tmp"), "in use").unwrap();
        let used = fs::File::open(at("secret.key.fedcba9876543210.tmp")).unwrap();
        used.lock().unwrap();
        write_private(&at("secret.key"), b"four").unwrap();
        assert!(!at("secret.key.0123456789abcdef.tmp").exists());
        fs::remove_file(at("secret.key.fedcba9876543210.tmp")).unwrap();
        // A write that fails takes its own away again.
        fs::create_dir(at("taken")).unwrap();
        let failed = write_private(&at("taken"), b"x").unwrap_err();
        assert!(failed.what.contains("taken"), "{}", failed.what);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 6);
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
