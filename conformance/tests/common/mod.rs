//! What the end-to-end tests share: the built binary, commands with a time limit, a small HTTP client, and a
//! federation of real node processes ([`federation`]).
//!
//! Everything here looks at the product from outside: it runs `xinqiao` as a person or a service manager would.

#![allow(dead_code, reason = "every test file uses a part of it")]
#![allow(unused_imports, reason = "as above")]

pub(crate) mod federation;
pub(crate) mod foreign;
pub(crate) mod http;
pub(crate) mod rows;
pub(crate) mod schema;

use std::{
    ffi::OsStr,
    io::Read,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

pub(crate) use federation::Federation;

/// No command of these tests takes longer; one that does hangs.
const COMMAND_WAIT: Duration = Duration::from_secs(90);

/// The binary `xinqiao`, as the tests of `cli` have it: built with the dependencies that `cargo test --workspace` has built.
pub(crate) fn xinqiao() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| built(&["test", "--no-run", "--workspace", "--test", "usage"], "xinqiao"))
}

/// A program, built once per test run from the present source, in the profile and target directory of the running test.
pub(crate) fn built(what: &[&str], name: &str) -> PathBuf {
    // target/<profile>/deps/<test>
    let test = std::env::current_exe().unwrap();
    let folder = test.ancestors().nth(2).unwrap();
    let target = folder.parent().unwrap();
    let lock = std::fs::File::create(target.join("xinqiao-e2e.lock")).unwrap();
    lock.lock().unwrap();
    let profile = match folder.file_name().unwrap().to_str().unwrap() {
        "debug" => "dev",
        other => other,
    };
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(what).args(["--quiet", "--profile", profile]);
    cargo.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap());
    // What cargo tells a test about its own package would make build scripts run again in every build.
    for (name, _) in std::env::vars_os() {
        let told = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_", "CARGO_BIN_", "CARGO_PRIMARY_"];
        if name.to_str().is_some_and(|name| told.iter().any(|t| name.starts_with(t))) {
            cargo.env_remove(name);
        }
    }
    let built = cargo.env("CARGO_TARGET_DIR", target).output().unwrap();
    assert!(built.status.success(), "{name} does not build:\n{}", String::from_utf8_lossy(&built.stderr));
    folder.join(name).with_extension(std::env::consts::EXE_EXTENSION)
}

/// The library of `fault/fault.c`, to be preloaded; compiled once per test run.
pub(crate) fn fault_library() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let out = std::env::current_exe().unwrap().with_extension("fault.so");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/fault/fault.c");
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", source, "-o"]).arg(&out);
        let done = cc.args(["-ldl", "-pthread"]).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        out
    })
}

/// How a command ended and what it said.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// The one JSON document on standard output.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// The command is done.
    #[track_caller]
    pub(crate) fn done(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }

    /// The command failed with `code`, and says what happened (with every one of `places` in it) and what to do, in
    /// both languages, for people and for programs. It must have run with `--json`.
    #[track_caller]
    pub(crate) fn fails(self, code: i32, places: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        let value = self.json();
        assert_eq!(value["ok"], false, "{self:?}");
        let text = |key: &str| value["error"][key].as_str().unwrap_or_default().to_owned();
        let (what, next, zh) = (text("what"), text("next"), text("next_zh"));
        for place in places {
            assert!(what.contains(place), "`{place}` is not named in `{what}`");
        }
        assert!(
            next.chars().filter(char::is_ascii_alphabetic).count() >= 8,
            "no remedy for `{what}`: `{next}`"
        );
        assert!(
            zh.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c)),
            "no 处理办法 for `{what}`: `{zh}`"
        );
        for part in [&what, &next, &zh] {
            assert!(self.err.contains(part.as_str()), "standard error lacks `{part}`: {}", self.err);
        }
        assert!(self.err.contains("what to do: ") && self.err.contains("处理办法："), "{}", self.err);
        assert!(!self.err.contains("panicked") && !self.err.contains("RUST_BACKTRACE"), "{}", self.err);
        self
    }
}

/// `xinqiao` with a clean environment.
pub(crate) fn command<S: AsRef<OsStr>>(args: &[S]) -> Command {
    let mut command = Command::new(xinqiao());
    command.args(args);
    for name in [
        "XINQIAO_DIR",
        "XINQIAO_PASSPHRASE_FILE",
        "XINQIAO_BACKUP_PASSPHRASE_FILE",
        "CREDENTIALS_DIRECTORY",
        "XINQIAO_LOG",
    ] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// Runs `xinqiao` with these arguments to its end.
pub(crate) fn run<S: AsRef<OsStr>>(args: &[S]) -> Ran {
    finish(command(args))
}

/// Runs a command to its end, at most [`COMMAND_WAIT`].
#[track_caller]
pub(crate) fn finish(command: Command) -> Ran {
    let what = format!("{command:?}");
    finish_within(command, COMMAND_WAIT).unwrap_or_else(|| panic!("{what} does not end"))
}

/// Runs a command; `None` when it has not ended after `wait` and was killed.
pub(crate) fn finish_within(mut command: Command, wait: Duration) -> Option<Ran> {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let read = |from: &mut dyn Read| {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let out = thread::spawn(move || read(&mut out));
    let err = thread::spawn(move || read(&mut err));
    let until = Instant::now() + wait;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > until {
            child.kill().unwrap();
            child.wait().unwrap();
            return None;
        }
        thread::sleep(Duration::from_millis(5));
    };
    Some(Ran { code: status.code(), out: out.join().unwrap(), err: err.join().unwrap() })
}

/// Waits until `done` gives something.
#[track_caller]
pub(crate) fn until<T>(what: &str, wait: Duration, mut done: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + wait;
    loop {
        if let Some(found) = done() {
            return found;
        }
        assert!(Instant::now() < end, "{what}: not within {wait:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Every file below a directory, with its bytes.
pub(crate) fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            // A store that is running may remove a file between the listing and the reading.
            found.extend(std::fs::read(&path).ok().map(|bytes| (path, bytes)));
        }
    }
    found
}

/// Whether `needle` occurs in `haystack`.
pub(crate) fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|w| w == needle)
}

/// Copies a directory with everything in it.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let at = to.join(path.file_name().unwrap());
        if path.is_dir() { copy(&path, &at) } else { assert!(std::fs::copy(&path, &at).is_ok()) }
    }
}
