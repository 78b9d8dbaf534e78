//! Checks of the repository itself. `cargo xtask <check>`; `cargo xtask ci` runs what the pipeline runs.
//!
//! Checks truth, not taste: what a document says against what the code holds, who may know whom, words that must
//! not come back. Every finding names its place and what to do; every rule carries its `because`.
//!
//! *Not here*: anything that needs our other crates. This one builds when they do not.

#![expect(clippy::print_stdout, reason = "a command for people; standard output is its interface")]

mod ci;
mod clients;
mod docs;
mod findings;
mod layers;
mod markdown;
mod rust;
mod setup;
mod tidy;
mod tree;

use std::{env, path::PathBuf, process::ExitCode};

use findings::Findings;
use tree::Tree;

const USAGE: &str = "\
usage: cargo xtask <check>

  layers                    who may depend on whom, and what stays out of the pure crates
  tidy                      module docs, file sizes, banned words, dead files, trailing blanks
  docs                      tables against code, links, the two languages of a page
  clients [--write]         the gateway's clients against docs/openapi.json; writes what follows from it
  setup                     installs what the checks need beside Rust, and says what a person must install
  ci                        everything the pipeline runs, quick to slow, stops at the first failure
  soak kill --rounds N [--seed S]
                            kills a node under load N times and asks for everything it acknowledged
  bench query --postgres URL [ARGS]
                            `xinqiao bench query` beside a plain HTTPS and JSON service over the same database
  foreign                   Tessera's fsck, torchwood's litewitness and omniwitness over a log of 70,000 entries (needs OpenSSH)
  sim --seed S [--seeds N] [--members M] [--verbose]
                            replays N federation histories from seed S (N is 1 when not given) with M members (3 to 40;
                            by the seed, mostly 4, when not given)
  partition [--rounds N] [--seed S]
                            real nodes in network namespaces, cut off and killed while repairs are decided (needs root and
                            iproute2; minutes)
  sim --mutants             plants mistakes one after the other, and shows which history and which check found each
  sim --nightly             10,000 histories from a seed of the day, 20 of them with 40 members, the mutants, and properties on other values
";

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["layers"] => check("layers").map(|_| ()),
        ["tidy"] => check("tidy").map(|_| ()),
        ["docs"] => check("docs").map(|_| ()),
        ["clients"] => clients::run(&root(), false),
        ["clients", "--write"] => clients::run(&root(), true),
        ["setup"] => setup::run(&root()),
        ["ci"] => ci::run(&root()),
        ["soak", "kill", rest @ ..] => ci::soak(&root(), rest),
        ["bench", "query", rest @ ..] => setup::bench_query(&root(), rest),
        ["foreign"] => setup::foreign(&root()),
        ["partition", rest @ ..] => ci::partition(&root(), rest),
        ["sim", rest @ ..] => ci::sim(&root(), rest),
        ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Runs one of our own checks and prints its findings.
fn check(name: &str) -> Result<(), String> {
    let root = root();
    let findings: Findings = match name {
        "layers" => layers::check(&layers::metadata(&root)?)?,
        "tidy" => tidy::check(&Tree::read(&root)?),
        _ => docs::check(&Tree::read(&root)?),
    };
    for finding in &findings.0 {
        println!("{finding}");
    }
    match findings.0.len() {
        0 => {
            println!("{name}: ok");
            Ok(())
        }
        n => Err(format!("{name}: {n} finding{}", if n == 1 { "" } else { "s" })),
    }
}

/// The repository: the folder above this crate, as cargo names it when it runs us.
fn root() -> PathBuf {
    let here = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    here.parent().map_or_else(|| PathBuf::from("."), PathBuf::from)
}
