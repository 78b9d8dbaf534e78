//! What the pipeline runs, quick to slow; and the programs of other crates a check starts.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use crate::setup;

const FMT: &[&str] = &["fmt", "--all", "--check"];
const CLIPPY: &[&str] = &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
const TEST: &[&str] = &["test", "--workspace", "--locked"];
const DENY: &[&str] = &["deny", "--locked", "check", "licenses", "bans", "sources"];
const DENY_FETCH: &[&str] = &["deny", "fetch", "db"];
const DENY_ADVISORIES: &[&str] = &["deny", "--locked", "check", "--disable-fetch", "advisories"];

const ADVISORIES_UNCHECKED: &str = "ADVISORIES WERE NOT CHECKED: the advisory database is out of reach (`cargo deny fetch db` failed).\n\
     Known vulnerabilities, unmaintained and yanked crates would go unnoticed in this run; repeat it with network.";
const TREE_UNCHECKED: &str = "CHANGED FILES WERE NOT CHECKED: this is not a git checkout.";

/// Runs everything, stops at the first failure, and repeats at the end what could not be checked.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    let mut unchecked = Vec::new();
    let before = State::read(root);
    // A pipeline installs what is missing; on somebody's own machine they decide.
    if env::var("CI").is_ok_and(|ci| ci == "true") {
        timed("cargo xtask setup", || setup::run(root))?;
    } else {
        setup::missing(root)?;
    }
    cargo(root, FMT)?;
    for name in ["layers", "tidy", "docs"] {
        timed(&format!("cargo xtask {name}"), || crate::check(name))?;
    }
    timed("cargo xtask clients", || crate::clients::run(root, false))?;
    cargo(root, CLIPPY)?;
    tests(root, &[PROPERTY_SEED])?;
    // The program that the tests above have built: any other build would take longer than it saves.
    timed("sim", || run_built_sim(root))?;
    cargo(root, DENY)?;
    // Fetching and checking are two steps, so that an advisory is never taken for a missing network.
    match cargo(root, DENY_FETCH) {
        Ok(()) => cargo(root, DENY_ADVISORIES)?,
        Err(_) => unchecked.push(ADVISORIES_UNCHECKED),
    }
    match before {
        Some(before) => timed("git diff --exit-code", || before.unchanged(root))?,
        None => unchecked.push(TREE_UNCHECKED),
    }
    for message in &unchecked {
        println!("\n!!! {}", message.replace('\n', "\n!!! "));
    }
    println!(
        "\nci: {}",
        if unchecked.is_empty() { "ok" } else { "ok, except for what was NOT checked (above)" }
    );
    Ok(())
}

/// The pipeline tries properties on the same values every time: it says of a change whether it is good, and must say the same of
/// the same tree. Other values are tried wherever else `cargo test` runs, and many more of them by `cargo xtask sim --nightly`.
const PROPERTY_SEED: (&str, &str) = ("PROPTEST_RNG_SEED", "1");

/// Histories of the simulated federation that every run of the pipeline replays.
const SIM: &[&str] = &["--seed", "1", "--seeds", "1000", "--quiet"];

/// Replays histories of the simulated federation, in a release build: the arguments are those of the program `sim`.
pub(crate) fn sim(root: &Path, args: &[&str]) -> Result<(), String> {
    match args {
        ["--mutants"] => run_sim(root, args),
        ["--nightly"] => nightly(root),
        _ => {
            seeds(args)?;
            run_sim(root, args)
        }
    }
}

/// Other histories every day, more of them than a pipeline has time for, and large federations.
fn nightly(root: &Path) -> Result<(), String> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|e| e.to_string())?;
    let day = since.as_secs() / 86_400;
    let (many, large) = ((day * 100_000).to_string(), (day * 100_000 + 50_000).to_string());
    run_sim(root, &["--seed", &many, "--seeds", "10000", "--quiet"])?;
    run_sim(root, &["--seed", &large, "--seeds", "20", "--members", "40", "--quiet"])?;
    run_sim(root, &["--mutants"])?;
    tests(root, &[("PROPTEST_CASES", "10000")])
}

/// Every test, with these variables set.
fn tests(root: &Path, variables: &[(&str, &str)]) -> Result<(), String> {
    let set: String = variables.iter().map(|(name, value)| format!("{name}={value} ")).collect();
    let shown = format!("{set}cargo {}", TEST.join(" "));
    timed(&shown, || passed(&shown, command(root, TEST).envs(variables.iter().copied())))
}

fn run_built_sim(root: &Path) -> Result<(), String> {
    let program = target(root).join("debug").join(format!("sim{}", env::consts::EXE_SUFFIX));
    let status = Command::new(&program).args(SIM).status();
    match status.map_err(|e| format!("cannot run {}: {e}", program.display()))?.success() {
        true => Ok(()),
        false => Err("a history does not hold every check; the seed stands above".to_owned()),
    }
}

/// Where cargo builds.
fn target(root: &Path) -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir))
}

fn run_sim(root: &Path, args: &[&str]) -> Result<(), String> {
    let mut run = vec!["run", "--release", "--locked", "-p", "conformance", "--bin", "sim"];
    run.push("--");
    run.extend(args);
    cargo(root, &run)
}

/// Cuts real nodes off from each other and kills them, in network namespaces: `[--rounds N] [--seed S]`. Not in the
/// pipeline, because only root may make namespaces.
pub(crate) fn partition(root: &Path, args: &[&str]) -> Result<(), String> {
    let numbers = args
        .chunks(2)
        .all(|pair| matches!(pair, ["--rounds" | "--seed", value] if value.parse::<u64>().is_ok()));
    if !numbers {
        return Err("usage: cargo xtask partition [--rounds N] [--seed S], both whole numbers".to_owned());
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let user = status.lines().find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().nth(1));
    if user != Some("0") {
        return Err(
            "network namespaces are made by root alone, on Linux: run this command as root".to_owned()
        );
    }
    cargo(root, &["build", "--locked", "-p", "cli"])?;
    let program = target(root).join("debug/xinqiao").display().to_string();
    let mut run =
        vec!["run", "--locked", "-p", "conformance", "--bin", "partition", "--", "--xinqiao", &program];
    run.extend(args);
    cargo(root, &run)
}

/// Kills a node under load, `--rounds N [--seed S]`, in a release build: longer than a pipeline has time for.
pub(crate) fn soak(root: &Path, args: &[&str]) -> Result<(), String> {
    let usage = || "usage: cargo xtask soak kill --rounds N [--seed S], both whole numbers".to_owned();
    let mut run =
        command(root, &["test", "--release", "-p", "conformance", "--test", "kill", "--", "--nocapture"]);
    let mut rounds = None;
    for pair in args.chunks(2) {
        match pair {
            ["--rounds", value] => rounds = Some(value.parse::<u64>().map_err(|_| usage())?),
            ["--seed", value] => {
                let seed: u64 = value.parse().map_err(|_| usage())?;
                run.env("XINQIAO_KILL_SEED", seed.to_string());
            }
            _ => return Err(usage()),
        }
    }
    let rounds = rounds.filter(|rounds| *rounds > 0).ok_or_else(usage)?;
    let status = run.env("XINQIAO_KILL_ROUNDS", rounds.to_string()).status();
    match status.map_err(|e| format!("cannot run cargo: {e}"))?.success() {
        true => Ok(()),
        false => {
            Err("acknowledged things were lost, or the test did not run; the seed stands above".to_owned())
        }
    }
}

/// Whether the program `sim` would take them: a build is not needed to find out that it would not.
fn seeds(args: &[&str]) -> Result<(), String> {
    let usage = || {
        "usage: cargo xtask sim --seed S [--seeds N] [--members M] [--verbose], whole numbers, N at least 1, or \
         cargo xtask sim --mutants, or cargo xtask sim --nightly"
            .to_owned()
    };
    let (mut rest, mut seed) = (args, false);
    while let Some((word, after)) = rest.split_first() {
        rest = match (*word, after) {
            ("--verbose", after) => after,
            ("--seed" | "--seeds" | "--members", [value, after @ ..]) => {
                let number = value.parse::<u64>().map_err(|_| usage())?;
                if *word != "--seed" && number == 0 {
                    return Err(usage());
                }
                seed |= *word == "--seed";
                after
            }
            _ => return Err(usage()),
        };
    }
    if seed { Ok(()) } else { Err(usage()) }
}

pub(crate) fn cargo(root: &Path, args: &[&str]) -> Result<(), String> {
    let shown = format!("cargo {}", args.join(" "));
    timed(&shown, || passed(&shown, &mut command(root, args)))
}

fn passed(shown: &str, command: &mut Command) -> Result<(), String> {
    let status = command.status().map_err(|e| format!("cannot run `{shown}`: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("`{shown}` failed ({status})")) }
}

/// How the variables begin that cargo sets about the package it runs.
const OF_PACKAGE: [&str; 4] = ["CARGO_MANIFEST_", "CARGO_PKG_", "CARGO_BIN_", "CARGO_CRATE_"];

pub(crate) fn command(root: &Path, args: &[&str]) -> Command {
    let cargo: OsString = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(args).current_dir(root);
    // Cargo tells us about *this* package. A tool that reads these would take it for its own, and a build script that
    // watches one would run again, and all that depends on it be built again.
    for (name, _) in env::vars_os() {
        let told = name.to_str().is_some_and(|name| OF_PACKAGE.iter().any(|about| name.starts_with(about)));
        if told {
            command.env_remove(name);
        }
    }
    command
}

/// Prints a command, runs it, prints how long it took and how it ended.
pub(crate) fn timed(shown: &str, run: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    println!("\n$ {shown}");
    let start = Instant::now();
    let outcome = run();
    let word = if outcome.is_ok() { "ok" } else { "FAILED" };
    println!("= {shown}: {word} in {:.1} s", start.elapsed().as_secs_f64());
    outcome
}

/// What git sees in the working tree: which files are changed or new, and how.
#[derive(PartialEq, Eq)]
struct State {
    status: String,
    diff: String,
}

impl State {
    /// `None` when this is not a git checkout.
    fn read(root: &Path) -> Option<Self> {
        let git = |args: &[&str]| {
            let output = Command::new("git").args(args).current_dir(root).output().ok()?;
            output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
        };
        Some(Self { status: git(&["status", "--porcelain"])?, diff: git(&["diff"])? })
    }

    /// On a clean checkout this is `git diff --exit-code`, and sees new files too; with work in progress it compares
    /// with how the tree was when the run began.
    fn unchanged(&self, root: &Path) -> Result<(), String> {
        match Self::read(root) {
            Some(now) if now == *self => Ok(()),
            Some(now) => Err(format!("the checks changed files of the repository:\n{}", self.changed(&now))),
            None => Err("git no longer answers".to_owned()),
        }
    }

    /// The lines of `now`'s status that are new; when there are none, files already changed were changed further.
    fn changed(&self, now: &Self) -> String {
        let before: Vec<&str> = self.status.lines().collect();
        let new: Vec<&str> = now.status.lines().filter(|line| !before.contains(line)).collect();
        if new.is_empty() {
            "among those changed before the run; see `git diff`".to_owned()
        } else {
            new.join("\n")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{State, seeds};

    #[test]
    fn names_the_files_a_run_changed() {
        let state = |status: &str, diff: &str| State { status: status.to_owned(), diff: diff.to_owned() };
        let before = state(" M a.rs\n", "-a\n+b\n");
        assert_eq!(before.changed(&state(" M a.rs\n?? new.md\n", "-a\n+b\n")), "?? new.md");
        assert!(before.changed(&state(" M a.rs\n", "-a\n+c\n")).contains("changed before the run"));
    }

    #[test]
    fn reads_seeds_in_either_order() {
        assert_eq!(seeds(&["--seed", "7"]), Ok(()));
        assert_eq!(seeds(&["--seeds", "3", "--verbose", "--seed", "7", "--members", "40"]), Ok(()));
    }

    #[test]
    fn refuses_seeds_that_are_missing_or_no_numbers() {
        for bad in
            [&[][..], &["--seeds", "3"], &["--seed"], &["--seed", "x"], &["--seed", "1", "--seeds", "0"]]
        {
            assert!(seeds(bad).is_err(), "{bad:?}");
        }
    }
}
