//! Benchmarks: what this machine does, beside what its parts cost and what people use today, in one run.
//!
//! Everything measured is the code a node runs, on a federation with one node in a temporary directory.

pub(crate) mod args;
mod asker;
mod ingest;
mod ledger;
mod machine;
mod parts;
mod pgbench;
mod postgres;
mod primitives;
mod query;
mod reconcile;
mod service;

use std::path::{Path, PathBuf};

use ::node::{Problem, clock, keys::write_private};
use crypto::codec;

use crate::{
    args::{MemberRequest, Passphrase, Unlock},
    bench::args::Bench,
    cmd::{self, federation, member},
    output::Output,
};

/// The benchmark's only member with a node.
const MEMBER: &str = "sh";

pub(crate) async fn run(verb: Bench) -> Result<Output, Problem> {
    match verb {
        Bench::Ledger(args) => {
            // The pipeline blocks threads of its own; this one only waits.
            let measured = tokio::task::spawn_blocking(move || ledger::run(&args)).await;
            measured.map_err(|e| Problem::fault(e.to_string()))?
        }
        Bench::Query(args) => query::run(args).await,
        Bench::Reconcile(args) => {
            let measured = tokio::task::spawn_blocking(move || reconcile::run(&args)).await;
            measured.map_err(|e| Problem::fault(e.to_string()))?
        }
    }
}

/// A directory that is removed when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(under: Option<&Path>) -> Result<Self, Problem> {
        let name = format!("xinqiao-bench-{}", codec::hex(&clock::random::<6>()));
        let dir = under.map_or_else(std::env::temp_dir, Path::to_owned).join(name);
        std::fs::create_dir_all(&dir).map_err(|e| Problem::fault(format!("{}: {e}", dir.display())))?;
        Ok(Self(dir))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Founds a federation of one region under `root`, whose node would listen at `ports`, and of `guests`, each with its
/// request; returns the region's directory and its passphrase file.
fn found(root: &Path, ports: [u16; 2], guests: &[PathBuf]) -> Result<Unlock, Problem> {
    let pass = root.join("passphrase");
    write_private(&pass, codec::hex(&clock::random::<16>()).as_bytes())?;
    let unlock = |name: &str| Unlock {
        dir: root.join(name),
        passphrase: Passphrase { passphrase_file: Some(pass.clone()), key_file: None },
    };
    let (governors, request) = (unlock("governors"), root.join("request"));
    federation::init(&governors, "bench", 1, 1)?;
    member::request(&MemberRequest {
        id: MEMBER.to_owned(),
        role: "region".to_owned(),
        name: "bench".to_owned(),
        region: "310000".to_owned(),
        quic: format!("127.0.0.1:{}", ports[0]),
        http: format!("127.0.0.1:{}", ports[1]),
        collector: true,
        bodies: vec![ingest::body()?],
        system: None,
        out: request.clone(),
        at: unlock(MEMBER),
    })?;
    for request in guests.iter().chain([&request]) {
        federation::admit(&governors, request, &federation::Terms::of_new(false, &[]))?;
    }
    federation::sign(&governors, "g1")?;
    let member = unlock(MEMBER);
    cmd::node::init(&member.dir, &governors.dir.join("registry"))?;
    Ok(member)
}
