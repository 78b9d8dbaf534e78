//! The command line of the benchmarks.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// Ingest, verification, proofs, size, memory and restart of a node's ledger.
    Ledger(BenchLedger),
    /// Questions and sealed answers over QUIC, and where the time goes.
    Query(BenchQuery),
    /// Comparing the standings of two members that hold the same log, with and without differences.
    Reconcile(BenchReconcile),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct BenchReconcile {
    /// Records with a standing.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub(crate) records: u64,
    /// Records of them whose standing one of the members has lost.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) differences: u64,
    /// Directory to work under; what is made there is removed again. Default: the system's temporary directory.
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct BenchQuery {
    /// Subjects with one record each; every question is about the next of them.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(256..=10_000_000))]
    pub(crate) subjects: u64,
    /// Seconds of each run.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub(crate) seconds: u64,
    /// Questions on their way at once, one run for each number, as in 1,16; on one connection, which takes 256.
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1,16,64,256", num_args = 1..,
          value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) at_once: Vec<u16>,
    /// Questions a second that come at random moments, in one more run, also of what is compared. Default: for each half of its
    /// best rate before.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) rate: Option<u32>,
    /// Banks that ask in turn; each has the quota of one.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=200))]
    pub(crate) askers: u16,
    /// Connections that the banks hold open besides, and say nothing on; at most 256 for each bank.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=16_000), conflicts_with = "service")]
    pub(crate) idle: u64,
    /// Directory to work under; what is made there is removed again. Default: the system's temporary directory.
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// A PostgreSQL database to compare with, as psql takes it; tables `xinqiao_bench…` are made there and removed.
    #[arg(long, value_name = "URL")]
    pub(crate) postgres: Option<String>,
    /// A plain HTTPS and JSON service over that database to compare with: the program that `go build` makes of
    /// conformance/service. `cargo xtask bench query` builds it and passes it on.
    #[arg(long, value_name = "FILE", requires = "postgres")]
    pub(crate) service: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct BenchLedger {
    /// Records to take in.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=200_000_000))]
    pub(crate) records: u64,
    /// Directory to work under; what is made there is removed again. Default: the system's temporary directory.
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// A PostgreSQL database to compare with, as psql takes it; a table `xinqiao_bench` is made there and removed.
    #[arg(long, value_name = "URL")]
    pub(crate) postgres: Option<String>,
}
