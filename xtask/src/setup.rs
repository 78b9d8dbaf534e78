//! What the checks need beside Rust: cargo-deny, and Go and Python for the programs of other people that read our logs
//! (`conformance/foreign`). Everything but cargo-deny goes below the target directory.
//!
//! Shape: [`run`] installs what is missing and is quick when nothing is; [`missing`] only looks; [`foreign`] runs those
//! programs that take too long to build for every run.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::ci::{cargo, command, timed};

/// The version a machine without it installs; checks then say the same everywhere.
const CARGO_DENY: &str = "0.20.2";
const DENY_INSTALL: &[&str] = &["install", "cargo-deny", "--locked", "--version", CARGO_DENY];

/// The oldest Python that aics-tlog takes.
const PYTHON_MIN: (u32, u32) = (3, 12);
/// The oldest Go that omniwitness takes, as `go-tools/go.mod` says.
const GO_MIN: (u32, u32) = (1, 25);

const PINNED: &[&str] = &[
    "-m",
    "pip",
    "install",
    "--quiet",
    "--disable-pip-version-check",
    "--require-hashes",
    "--only-binary",
    ":all:",
    "--requirement",
];

/// Installs what is missing.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    if !has_cargo_deny(root) {
        cargo(root, DENY_INSTALL)?;
    }
    let place = Place::of(root)?;
    if !place.python_is_current() {
        place.install_python()?;
    }
    if place.go().is_none() {
        place.install_go()?;
    }
    let go = place.go().ok_or("the packaged Go does not run")?;
    let modules = place.sources.join("go");
    timed("go mod download", || succeed(Command::new(go).args(["mod", "download"]).current_dir(modules)))?;
    println!("setup: ok");
    Ok(())
}

/// Builds the heavier programs of other people and lets them read and cosign a large log.
pub(crate) fn foreign(root: &Path) -> Result<(), String> {
    missing(root)?;
    let place = Place::of(root)?;
    let (go, tools) = (place.go().ok_or("Go is gone")?, place.python.with_file_name("tools"));
    fs::create_dir_all(&tools).map_err(|e| format!("cannot make {}: {e}", tools.display()))?;
    let modules = place.sources.join("go-tools");
    timed("go build tool", || {
        // The slash makes Go write several programs into the folder.
        let into = format!("{}/", tools.display());
        succeed(Command::new(go).args(["build", "-o", &into, "tool"]).current_dir(modules))
    })?;
    let (tools, python) =
        (tools.display().to_string(), place.python.join("bin/python").display().to_string());
    let run = ["run", "-p", "conformance", "--bin", "foreign", "--", "--tools", &tools, "--python", &python];
    cargo(root, &run)
}

/// Builds the plain service of `conformance/service` and measures our questions beside it.
pub(crate) fn bench_query(root: &Path, args: &[&str]) -> Result<(), String> {
    let place = Place::of(root)?;
    let go = place.go().ok_or("there is no Go; run `cargo xtask setup`")?;
    let service = place.python.with_file_name("service").display().to_string();
    let source = root.join("conformance/service");
    timed("go build service", || {
        succeed(Command::new(go).args(["build", "-o", &service, "."]).current_dir(source))
    })?;
    let run = ["run", "--release", "-p", "cli", "--", "bench", "query", "--service", &service];
    cargo(root, &[&run, args].concat())
}

/// Names what is missing.
pub(crate) fn missing(root: &Path) -> Result<(), String> {
    let place = Place::of(root)?;
    let mut lacks = Vec::new();
    for (there, name) in [
        (has_cargo_deny(root), "cargo-deny"),
        (place.python_is_current(), "the pinned Python packages"),
        (place.go().is_some(), "Go"),
    ] {
        if !there {
            lacks.push(name);
        }
    }
    if lacks.is_empty() {
        return Ok(());
    }
    Err(format!("not installed: {}; run `cargo xtask setup`", lacks.join(", ")))
}

fn has_cargo_deny(root: &Path) -> bool {
    let asked = command(root, &["deny", "--version"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    asked.is_ok_and(|status| status.success())
}

/// Where the programs of others come from and go to.
struct Place {
    /// `conformance/foreign`.
    sources: PathBuf,
    /// The virtual environment.
    python: PathBuf,
}

impl Place {
    fn of(root: &Path) -> Result<Self, String> {
        let metadata = crate::layers::metadata(root)?;
        let target =
            metadata["target_directory"].as_str().ok_or("cargo metadata names no target directory")?;
        Ok(Self {
            sources: root.join("conformance/foreign"),
            python: Path::new(target).join("foreign/python"),
        })
    }

    fn requirements(&self) -> PathBuf {
        self.sources.join("python/requirements.txt")
    }

    /// What was installed, as a copy of the requirements; the tests compare it too.
    fn stamp(&self) -> PathBuf {
        self.python.join("requirements.txt")
    }

    fn python_is_current(&self) -> bool {
        let (wanted, installed) = (fs::read(self.requirements()), fs::read(self.stamp()));
        wanted.is_ok_and(|wanted| installed.is_ok_and(|installed| installed == wanted))
    }

    fn install_python(&self) -> Result<(), String> {
        let base = find_python()?;
        timed("python -m venv", || {
            succeed(Command::new(&base).args(["-m", "venv", "--clear"]).arg(&self.python))
        })?;
        self.pip(&self.requirements())?;
        let stamp = self.stamp();
        fs::copy(self.requirements(), &stamp)
            .map_err(|e| format!("cannot write {}: {e}", stamp.display()))?;
        Ok(())
    }

    /// The Go on the path if it is new enough, else the packaged one.
    fn go(&self) -> Option<PathBuf> {
        let packaged = self.python.join("bin/go");
        [packaged, PathBuf::from("go")].into_iter().find(|go| {
            let asked = Command::new(go).args(["env", "GOVERSION"]).output();
            asked.is_ok_and(|asked| go_version(&String::from_utf8_lossy(&asked.stdout)) >= Some(GO_MIN))
        })
    }

    fn install_go(&self) -> Result<(), String> {
        self.pip(&self.sources.join("python/go.txt"))
    }

    fn pip(&self, requirements: &Path) -> Result<(), String> {
        let file = requirements.file_name().unwrap_or_default().to_string_lossy();
        timed(&format!("pip install -r {file}"), || {
            succeed(Command::new(self.python.join("bin/python")).args(PINNED).arg(requirements))
        })
    }
}

/// A Python that is new enough and can make virtual environments: on the path, or one that pyenv has.
fn find_python() -> Result<PathBuf, String> {
    let mut candidates: Vec<PathBuf> =
        ["python3", "python3.14", "python3.13", "python3.12"].iter().map(PathBuf::from).collect();
    let pyenv = env::var_os("PYENV_ROOT").map(PathBuf::from);
    let pyenv = pyenv.or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".pyenv")));
    if let Some(versions) = pyenv.and_then(|root| fs::read_dir(root.join("versions")).ok()) {
        candidates.extend(versions.flatten().map(|version| version.path().join("bin/python3")));
    }
    let (major, minor) = PYTHON_MIN;
    let ask = format!("import ensurepip, sys, venv; sys.exit(sys.version_info < ({major}, {minor}))");
    let fits = |python: &PathBuf| {
        let asked =
            Command::new(python).args(["-c", &ask]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        asked.is_ok_and(|status| status.success())
    };
    candidates.into_iter().find(fits).ok_or_else(|| {
        format!(
            "no Python {major}.{minor} or newer with venv, on the path or among pyenv's; install one, \
             on Debian 13 with `apt-get install python3 python3-venv`, and run `cargo xtask setup` again"
        )
    })
}

/// `go1.26.8` is (1, 26).
fn go_version(said: &str) -> Option<(u32, u32)> {
    let mut parts = said.trim().strip_prefix("go")?.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn succeed(command: &mut Command) -> Result<(), String> {
    let shown = format!("{command:?}");
    let status = command.status().map_err(|e| format!("cannot run {shown}: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("{shown} failed ({status})")) }
}

#[cfg(test)]
mod tests {
    use super::{GO_MIN, go_version};

    #[test]
    fn reads_what_go_says_of_itself() {
        assert_eq!(go_version("go1.26.8\n"), Some((1, 26)));
        assert_eq!(go_version("go1.24rc1\n"), Some((1, 24)));
        assert!(go_version("go1.19.8\n") < Some(GO_MIN));
        for odd in ["", "go", "devel +abc", "gox.y"] {
            assert_eq!(go_version(odd), None, "{odd}");
        }
    }
}
