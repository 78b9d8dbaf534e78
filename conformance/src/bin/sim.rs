//! Replays histories of the simulation: `sim [--seed S] [--seeds N] [--members M] [--jobs J] [--verbose]`, or plants
//! mistakes and names what finds them: `sim --mutants`.
//!
//! One line per seed with the digest of its trace and its figures, in the order of the seeds; ends with 1 at the first
//! check that fails, with 2 when the arguments cannot be read.

#![allow(clippy::print_stdout, reason = "a program's output")]

use std::{
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
    sync::mpsc,
    thread,
};

use conformance::sim::{
    Config, Figures, MEMBERS_MAX, MEMBERS_MIN, Outcome, Violation,
    mutant::{Mutant, SEEDS_MAX},
    run,
};

const USAGE: &str = "usage: sim [--seed S] [--seeds N] [--members M] [--jobs J] [--quiet | --verbose]
       sim --mutants
  --seed S      first seed (default 1)
  --seeds N     how many seeds (default 1)
  --members M   members of the federation, 3 to 40: an outlet, a bank, and the rest collect (default: by the seed, mostly 4)
  --jobs J      histories at the same time (default: one per core)
  --quiet       only the sums
  --verbose     every step on standard error
  --mutants     a table of planted mistakes, with the history and the check that found each";

struct Args {
    seed: u64,
    seeds: u64,
    members: Option<usize>,
    jobs: usize,
    quiet: bool,
    verbose: bool,
    mutants: bool,
}

impl Args {
    fn config(&self, seed: u64) -> Config {
        let config = self.members.map_or_else(|| Config::mixed(seed), |m| Config::new(seed, m - 2));
        Config { verbose: self.verbose, ..config }
    }
}

fn main() -> ExitCode {
    let args = match parse(std::env::args().skip(1)) {
        Ok(args) => args,
        Err(why) => {
            eprintln!("error: {why}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    if args.mutants { mutants(args.jobs) } else { histories(&args) }
}

/// Works through `0..count` on `jobs` threads; `each` sees the results in order, and ends it with `false`.
fn in_order<T: Send>(
    jobs: usize,
    count: u64,
    work: impl Fn(u64) -> T + Sync,
    mut each: impl FnMut(T) -> bool,
) {
    let next = AtomicU64::new(0);
    thread::scope(|scope| {
        let (send, receive) = mpsc::channel();
        for _ in 0..jobs {
            let (send, next, work) = (send.clone(), &next, &work);
            scope.spawn(move || {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= count || send.send((at, work(at))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(send);
        let mut waiting = std::collections::BTreeMap::new();
        let mut due = 0;
        for (at, result) in receive {
            waiting.insert(at, result);
            while let Some(result) = waiting.remove(&due) {
                due += 1;
                if !each(result) {
                    next.store(count, Ordering::Relaxed);
                    return;
                }
            }
        }
    });
}

fn histories(args: &Args) -> ExitCode {
    let (mut sum, mut held, mut violation) = (Figures::default(), 0_u64, None);
    let work = |at| {
        let seed = args.seed.saturating_add(at);
        (seed, run(args.config(seed)))
    };
    in_order(args.jobs, args.seeds, work, |(seed, outcome)| match outcome {
        Ok(Outcome { trace, figures }) => {
            if !args.quiet {
                println!("seed {seed} trace {trace} {figures:?}");
            }
            held += 1;
            sum.add(&figures);
            true
        }
        Err(found) => {
            violation = Some(found);
            false
        }
    });
    if let Some(found) = violation {
        eprintln!("error: {found}");
        let (seed, members) = (found.seed, found.regions + 2);
        eprintln!("replay: cargo xtask sim --seed {seed} --members {members} --verbose");
        return ExitCode::FAILURE;
    }
    println!("{held} histories hold every check: {sum:?}");
    ExitCode::SUCCESS
}

fn mutants(jobs: usize) -> ExitCode {
    println!("{:<26} {:>5}  {:<11} what the check says", "mutant", "seed", "check");
    let mut missed = Vec::new();
    let work = |at| {
        let mutant = Mutant::ALL[at as usize];
        (mutant, mutant.hunt())
    };
    in_order(jobs, Mutant::ALL.len() as u64, work, |(mutant, found)| {
        let name = format!("{mutant:?}");
        match found {
            Some(Violation { seed, broken, .. }) => {
                let what: String = broken.what.chars().take(100).collect();
                println!("{name:<26} {seed:>5}  {:<11} {what}", format!("{:?}", broken.check));
            }
            None => {
                println!("{name:<26} {:>5}  not found in {SEEDS_MAX} histories", "-");
                missed.push(name);
            }
        }
        true
    });
    if missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Args, String> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let mut parsed =
        Args { seed: 1, seeds: 1, members: None, jobs: cores, quiet: false, verbose: false, mutants: false };
    while let Some(arg) = args.next() {
        let mut number = || {
            let value = args.next().ok_or_else(|| format!("`{arg}` wants a number"))?;
            value.parse::<u64>().map_err(|_| format!("`{value}` is no number"))
        };
        match arg.as_str() {
            "--seed" => parsed.seed = number()?,
            "--seeds" => parsed.seeds = number()?,
            "--members" => parsed.members = Some(number()? as usize),
            "--jobs" => parsed.jobs = number()?.clamp(1, 256) as usize,
            "--quiet" => parsed.quiet = true,
            "--verbose" => parsed.verbose = true,
            "--mutants" => parsed.mutants = true,
            other => return Err(format!("unknown argument `{other}`")),
        }
    }
    if parsed.members.is_some_and(|members| !(MEMBERS_MIN..=MEMBERS_MAX).contains(&members)) {
        return Err(format!("a federation has {MEMBERS_MIN} to {MEMBERS_MAX} members"));
    }
    Ok(parsed)
}
