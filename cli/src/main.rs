//! `xinqiao`: one binary for operators, banks, auditors and governors.
//!
//! Data goes to standard output, talk to standard error. Exit codes: 0 done, 1 refused or verification failed, 2 usage,
//! 3 fault.

mod args;
mod bench;
mod cmd;
mod code;
mod demo;
mod fetch;
mod output;
mod sample;

use std::process::ExitCode;

use clap::Parser;

use crate::output::Output;

/// Records pass from the thread that seals them to the one that writes them; the system's allocator takes a third of
/// the time of that, and twice the memory (`xinqiao bench ledger` with and without).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = args::Args::parse();
    let json = args.json;
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return output::problem(&node::Problem::fault(e.to_string()), json),
    };
    let result = runtime.block_on(cmd::run(args));
    // A task that waits for standard input must not hold the process back.
    runtime.shutdown_background();
    match result {
        Ok(Output { json: value, text, ok, shown }) => {
            if !shown {
                output::print(&value, &text, json);
            }
            if ok { ExitCode::SUCCESS } else { ExitCode::from(1) }
        }
        Err(problem) => output::problem(&problem, json),
    }
}
