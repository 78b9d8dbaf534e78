//! Replays histories of the simulation: `sim [--seed S] [--seeds N] [--members M] [--verbose]`.
//!
//! One line per seed with the digest of its trace and its figures; ends with 1 at the first check that fails, with 2
//! when the arguments cannot be read.

use std::process::ExitCode;

use conformance::sim::{Config, Outcome, REGIONS_MAX, run};

const USAGE: &str = "usage: sim [--seed S] [--seeds N] [--members M] [--verbose]
  --seed S      first seed (default 1)
  --seeds N     how many seeds (default 1)
  --members M   collecting members, 2 to 8 (default 2); an outlet and a bank come on top
  --verbose     every step on standard error";

struct Args {
    seed: u64,
    seeds: u64,
    members: usize,
    verbose: bool,
}

fn main() -> ExitCode {
    let args = match parse(std::env::args().skip(1)) {
        Ok(args) => args,
        Err(why) => {
            eprintln!("error: {why}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    for seed in args.seed..args.seed.saturating_add(args.seeds) {
        match run(Config { verbose: args.verbose, ..Config::new(seed, args.members) }) {
            Ok(outcome) => report(seed, &outcome),
            Err(violation) => {
                eprintln!("error: {violation}");
                eprintln!("replay: sim --seed {seed} --members {} --verbose", args.members);
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

#[allow(clippy::print_stdout, reason = "a program's output")]
fn report(seed: u64, Outcome { trace, figures }: &Outcome) {
    println!("seed {seed} trace {trace} {figures:?}");
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Args, String> {
    let mut parsed = Args { seed: 1, seeds: 1, members: 2, verbose: false };
    while let Some(arg) = args.next() {
        let mut number = || {
            let value = args.next().ok_or_else(|| format!("`{arg}` wants a number"))?;
            value.parse::<u64>().map_err(|_| format!("`{value}` is no number"))
        };
        match arg.as_str() {
            "--seed" => parsed.seed = number()?,
            "--seeds" => parsed.seeds = number()?,
            "--members" => parsed.members = number()? as usize,
            "--verbose" => parsed.verbose = true,
            other => return Err(format!("unknown argument `{other}`")),
        }
    }
    if !(2..=REGIONS_MAX).contains(&parsed.members) {
        return Err(format!("a federation has 2 to {REGIONS_MAX} collecting members"));
    }
    Ok(parsed)
}
