//! Programs other people wrote, which read our logs unmodified (`conformance/foreign`): Go's x/mod and torchwood, and
//! aics-tlog and tlog-scales in Python. They are there after `cargo xtask setup`; without them a test fails.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use super::{Ran, finish};

/// What to do when a program is missing.
const SET_UP: &str = "run `cargo xtask setup`, which installs what the checks by foreign code need";

/// Where the programs are.
pub(crate) struct Foreign {
    sources: PathBuf,
    python: PathBuf,
    go: PathBuf,
}

/// A log to check.
#[derive(Clone, Default)]
pub(crate) struct Target {
    /// A directory, or a URL.
    pub(crate) location: String,
    /// The log's verifier key.
    pub(crate) vkey: String,
    /// Witnesses' verifier keys.
    pub(crate) witnesses: Vec<String>,
    /// Cosignatures that must be there.
    pub(crate) quorum: usize,
    /// A file with an older checkpoint.
    pub(crate) old: Option<PathBuf>,
    /// The Authorization header to send.
    pub(crate) authorization: Option<String>,
}

/// A foreign program that checks whole logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checker {
    /// golang.org/x/mod/sumdb. It knows no cosignatures.
    XMod,
    /// filippo.io/torchwood. It asks for the partial tiles of a checkpoint and takes no full ones instead.
    Torchwood,
    /// aics-tlog.
    Aics,
    /// tlog-scales.
    Scales,
}

impl Checker {
    /// Every one.
    pub(crate) const ALL: [Self; 4] = [Self::XMod, Self::Torchwood, Self::Aics, Self::Scales];
}

impl Foreign {
    /// The programs, the Go ones built from the present source.
    pub(crate) fn get() -> &'static Self {
        static FOUND: OnceLock<Foreign> = OnceLock::new();
        FOUND.get_or_init(Self::find)
    }

    fn find() -> Self {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("foreign");
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
        let root = target.join("foreign");
        let wanted = fs::read(sources.join("python/requirements.txt")).unwrap();
        let stamp = root.join("python/requirements.txt");
        assert!(
            fs::read(&stamp).is_ok_and(|installed| installed == wanted),
            "{} is missing or of another version: {SET_UP}",
            stamp.display()
        );
        let packaged = root.join("python/bin/go");
        let go = if packaged.exists() { packaged } else { "go".into() };
        let bin = root.join("go");
        fs::create_dir_all(&bin).unwrap();
        let mut build = Command::new(&go);
        build.args(["build", "-o"]).arg(&bin).arg("./...").current_dir(sources.join("go"));
        let built = build.output().unwrap_or_else(|e| panic!("{}: {e}: {SET_UP}", go.display()));
        let said = String::from_utf8_lossy(&built.stderr);
        assert!(built.status.success(), "the Go programs do not build: {said}\nperhaps {SET_UP}");
        Self { sources, python: root.join("python/bin"), go: bin }
    }

    /// One of our drivers of Go packages.
    pub(crate) fn go<S: AsRef<OsStr>>(&self, program: &str, args: &[S]) -> Ran {
        let mut command = Command::new(self.go.join(program));
        command.args(args);
        finish(command)
    }

    /// One of our drivers of Python packages.
    pub(crate) fn python<S: AsRef<OsStr>>(&self, script: &str, args: &[S]) -> Ran {
        let mut command = Command::new(self.python.join("python"));
        command.arg(self.sources.join("python").join(script)).args(args);
        finish(command)
    }

    /// A program that a Python package installs.
    pub(crate) fn packaged<S: AsRef<OsStr>>(&self, program: &str, args: &[S]) -> Ran {
        let mut command = Command::new(self.python.join(program));
        command.args(args);
        finish(command)
    }

    /// Runs one checker over one log. `scratch` is a directory for files it needs.
    pub(crate) fn check(&self, checker: Checker, target: &Target, scratch: &Path) -> Ran {
        let mut args = Vec::new();
        let mut option = |name: &str, value: &str| args.extend([name.to_owned(), value.to_owned()]);
        // The flags of Go's programs go by either number of hyphens.
        match checker {
            Checker::XMod => option("--vkey", &target.vkey),
            Checker::Torchwood => {
                let policy = scratch.join("policy");
                fs::write(&policy, target.policy()).unwrap();
                option("--policy", policy.to_str().unwrap());
            }
            Checker::Aics | Checker::Scales => {
                option("--vkey", &target.vkey);
                target.witnesses.iter().for_each(|vkey| option("--witness", vkey));
                option("--quorum", &target.quorum.to_string());
            }
        }
        if let Some(old) = &target.old {
            option("--old", old.to_str().unwrap());
        }
        if let Some(authorization) = &target.authorization {
            option("--authorization", authorization);
        }
        args.push(target.location.clone());
        match checker {
            Checker::XMod => self.go("xmod", &args),
            Checker::Torchwood => self.go("torchwood", &[&["log".to_owned()], &args[..]].concat()),
            Checker::Aics => self.python("aics.py", &args),
            Checker::Scales => self.python("scales.py", &args),
        }
    }

    /// The checker finds that all of the `size` entries are as the checkpoint says.
    #[track_caller]
    pub(crate) fn passes(&self, checker: Checker, target: &Target, size: u64, scratch: &Path) {
        let ran = self.check(checker, target, scratch);
        let said = ran.code == Some(0) && ran.out.contains(&format!(": ok, {size} entries, "));
        assert!(said, "{checker:?} refuses {} of {size} entries: {ran:?}", target.location);
    }

    /// The checker refuses the log, and does not merely break down.
    #[track_caller]
    pub(crate) fn refuses(&self, checker: Checker, target: &Target, what: &str, scratch: &Path) {
        let ran = self.check(checker, target, scratch);
        let broke = ran.err.contains("Traceback") || ran.err.contains("goroutine ");
        assert!(
            ran.code == Some(1) && !ran.err.is_empty() && !broke,
            "{checker:?} and one changed byte in {what}: {ran:?}"
        );
    }
}

impl Target {
    /// The tlog-policy that says the same.
    pub(crate) fn policy(&self) -> String {
        let mut text = format!("log {}\n", self.vkey);
        for (number, vkey) in self.witnesses.iter().enumerate() {
            text.push_str(&format!("witness w{number} {vkey}\n"));
        }
        if self.quorum == 0 {
            return text + "quorum none\n";
        }
        let names: Vec<String> = (0..self.witnesses.len()).map(|number| format!("w{number}")).collect();
        text + &format!("group witnesses {} {}\nquorum witnesses\n", self.quorum, names.join(" "))
    }
}
