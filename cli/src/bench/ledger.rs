//! `xinqiao bench ledger`: ingest, verification, proofs, size, memory, restart.

use std::time::Instant;

use ::node::{Problem, intake::RUN_ROWS, store::DiskStore};
use crypto::merkle::leaf_hash;
use exchange::logs::LogName;
use ledger::{
    audit::{LogSource, audit},
    log,
    proof::verify_inclusion,
    store::{Pair, Space, StoreError, View},
    tile::Tile,
    tree::LeafIndex,
};
use serde_json::{Value, json};

use super::{
    Scratch, found,
    ingest::{Bench, Ingested, Penalties, data, restart},
    machine, postgres, primitives,
};
use crate::{
    bench::args::BenchLedger,
    cmd::verify,
    output::{Output, say},
};

/// Records about one company, on average: the index is written in random order, and found again.
const RECORDS_PER_SUBJECT: u64 = 5;
/// Records over which the parts are measured alone.
const PRIMITIVE_RECORDS: u64 = 50_000;
/// Most records with which small batches are measured: at one flush a record more would tell nothing.
const SMALL_BATCH_FLUSHES: u64 = 4_000;
/// Rows of each kind whose sizes are added up.
const SAMPLE_ROWS: usize = 20_000;
/// Inclusion proofs made and checked.
const PROOFS: u64 = 20_000;
/// Most rows that go through PostgreSQL.
const POSTGRES_ROWS: u64 = 100_000;
/// Ports of a node that is never asked for.
const NOWHERE: [u16; 2] = [1, 2];

pub(super) fn run(args: &BenchLedger) -> Result<Output, Problem> {
    let scratch = Scratch::new(args.dir.as_deref())?;
    let machine = machine::describe(&scratch.0);
    let mut text = vec![
        format!("machine: {machine}"),
        format!("command: xinqiao bench ledger --records {}", args.records),
    ];
    let penalties = Penalties::new(RECORDS_PER_SUBJECT)?;

    say("the parts alone …");
    let costs = primitives::measure(&penalties, PRIMITIVE_RECORDS.min(args.records), 1_000)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let parts_rate = cores as f64 * 1e6 / costs.sum();
    let engine = primitives::engine(&scratch.0.join("engine"), costs.sizes, args.records, 1_000)?;
    let _ = std::fs::remove_dir_all(scratch.0.join("engine"));
    let bound = parts_rate.min(engine);
    text.push(format!(
        "\na record has {} fields; µs on one core: naming {:.1}, keys {:.1}, sealing {:.1}, encoding {:.1}, hashing {:.1}, signatures at 1,000 a batch {:.2}; sum {:.1}",
        penalties.fields(), costs.naming, costs.keys, costs.sealing, costs.encoding, costs.hashing, costs.signature, costs.sum()
    ));
    text.push(format!(
        "the parts alone on {cores} cores: {parts_rate:.0} records/s; the bare engine with the same rows: {engine:.0} records/s"
    ));

    let mut ingests: Vec<Value> = Vec::new();
    text.push("\ningest, durable and sealed:".into());
    let mut line = |batch: u64, ran: &Ingested, text: &mut Vec<String>| {
        let steady = ran.windows.map_or(String::new(), |(worst, median)| {
            format!("; worst 2 s {worst:.0}/s, median {median:.0}/s")
        });
        text.push(format!(
            "  {batch:>6} a batch: {:>8.0} records/s over {} records ({:.0} % of the slower bound){steady}; peak memory {} MiB",
            ran.rate(), ran.records, ran.rate() * 100.0 / bound, ran.peak >> 20
        ));
        ingests.push(json!({
            "batch": batch, "records": ran.records, "seconds": ran.seconds, "records_per_second": ran.rate(),
            "share_of_bound": ran.rate() / bound, "peak_memory_bytes": ran.peak,
            "worst_window": ran.windows.map(|w| w.0), "median_window": ran.windows.map(|w| w.1),
        }));
    };
    for batch in [1, 100, 1_000, 10_000] {
        let root = scratch.0.join(format!("batch-{batch}"));
        let records = args.records.min(batch * SMALL_BATCH_FLUSHES).min(500_000);
        say(&format!("{records} records, {batch} a batch …"));
        std::fs::create_dir_all(&root).map_err(|e| Problem::fault(e.to_string()))?;
        let bench = Bench::open(&found(&root, NOWHERE, &[])?)?;
        let ran = bench.ingest(&penalties, records, batch)?;
        line(batch, &ran, &mut text);
        bench.close()?;
        let _ = std::fs::remove_dir_all(&root);
    }
    let root = scratch.0.join("long");
    std::fs::create_dir_all(&root).map_err(|e| Problem::fault(e.to_string()))?;
    let member = found(&root, NOWHERE, &[])?;
    let bench = Bench::open(&member)?;
    say(&format!("{} records, {RUN_ROWS} a batch, as files are taken in …", args.records));
    let ran = bench.ingest(&penalties, args.records, RUN_ROWS as u64)?;
    line(RUN_ROWS as u64, &ran, &mut text);

    let baseline = args.postgres.as_deref().map(|url| {
        say("PostgreSQL …");
        postgres::measure(url, args.records.min(POSTGRES_ROWS), costs.sizes.1)
    });
    let baseline = baseline.transpose()?;
    if let Some(postgres) = &baseline {
        text.push(format!(
            "  PostgreSQL {}: COPY {:.0} rows/s, COPY with a trigger hash chain {:.0} rows/s; ours is {:.1} and {:.1} times that",
            postgres.version, postgres.copy, postgres.chain, ran.rate() / postgres.copy, ran.rate() / postgres.chain
        ));
    }

    say("verification …");
    let verified = verification(&bench)?;
    text.push(format!(
        "\nverification of the whole log on one core: hashes only {:.0} entries/s; with chain and signatures {:.0} entries/s ({} signatures)",
        verified.hashes, verified.signatures, verified.count
    ));
    let (made, checked) = proofs(&bench)?;
    text.push(format!("inclusion proofs on one core: made {made:.0}/s, checked {checked:.0}/s"));

    let sizes = sizes(&bench.shared.store, bench.size())?;
    bench.close()?;
    let disk = machine::disk(&data(&member)?);
    let per = |bytes: u64| bytes as f64 / args.records as f64;
    let parts: Vec<String> = sizes.iter().map(|(name, bytes)| format!("{name} {bytes:.0}")).collect();
    let overhead: f64 = sizes.iter().filter(|(name, _)| *name != "payload").map(|(_, bytes)| bytes).sum();
    text.push(format!(
        "bytes a record, keys and values: {}; overhead besides the sealed payload {overhead:.0}; keys and salts 0; on disk with the journal {:.0}",
        parts.join(", "), per(disk)
    ));
    let (whole, keys) = restart(&member)?;
    text.push(format!("restart until peers are asked: {whole:.2} s, of which the passphrase {keys:.2} s"));

    let value = json!({
        "machine": machine, "records": args.records, "fields": penalties.fields(),
        "microseconds_a_record": {
            "naming": costs.naming, "keys": costs.keys, "sealing": costs.sealing, "encoding": costs.encoding,
            "hashing": costs.hashing, "signatures": costs.signature, "sum": costs.sum(),
        },
        "parts_records_per_second": parts_rate, "engine_records_per_second": engine, "ingest": ingests,
        "postgres": baseline.map(|b| json!({ "version": b.version, "copy_rows_per_second": b.copy, "chain_rows_per_second": b.chain })),
        "verify_entries_per_second": { "hashes": verified.hashes, "signatures": verified.signatures },
        "proofs_per_second": { "made": made, "checked": checked },
        "bytes_a_record": sizes.iter().map(|(n, b)| ((*n).to_owned(), json!(b))).collect::<serde_json::Map<_, _>>(),
        "overhead_bytes_a_record": overhead, "disk_bytes_a_record": per(disk),
        "restart_seconds": whole, "passphrase_seconds": keys,
    });
    Ok(Output::new(value, text.join("\n")))
}

/// The `records` log as an auditor would fetch it, without the network between.
struct Stored<'a>(&'a DiskStore, String);

impl LogSource for Stored<'_> {
    fn checkpoint(&self) -> String {
        self.1.clone()
    }

    fn resource(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
        let tile = Tile::parse(path).map_err(|e| e.to_string())?;
        log::resource(self.0, LogName::Records.as_str(), &tile).map_err(|e| e.to_string())
    }
}

struct Verified {
    hashes: f64,
    signatures: f64,
    count: u64,
}

fn verification(bench: &Bench) -> Result<Verified, Problem> {
    let shared = &bench.shared;
    let fault = |e: String| Problem::fault(e);
    let head = log::head(&shared.store, LogName::Records.as_str()).map_err(|e| fault(e.to_string()))?;
    let note = head.map_or(String::new(), |head| head.as_str().to_owned());
    let source = Stored(&shared.store, note);
    let key = shared.context().registry.note_key(&shared.context().own.id, LogName::Records)?;
    let start = Instant::now();
    audit(&source, &key, &mut |_, _, _| Ok(())).map_err(|e| fault(e.to_string()))?;
    let hashes = bench.size() as f64 / start.elapsed().as_secs_f64();
    let start = Instant::now();
    let whole = verify::log(&source, &shared.context().registry)?;
    let signatures = bench.size() as f64 / start.elapsed().as_secs_f64();
    Ok(Verified { hashes, signatures, count: whole.signatures })
}

/// Inclusion proofs a second: made from the store, checked from nothing.
fn proofs(bench: &Bench) -> Result<(f64, f64), Problem> {
    let (store, name) = (&bench.shared.store, LogName::Records.as_str());
    let fault = |e: &dyn std::fmt::Display| Problem::fault(e.to_string());
    let head = log::head(store, name).map_err(|e| fault(&e))?.ok_or_else(|| Problem::fault("no head"))?;
    let (size, root) = (head.claimed().size, head.claimed().root);
    let index = |n: u64| LeafIndex(n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % size.0);
    let count = PROOFS.min(size.0);
    let start = Instant::now();
    let made: Vec<_> = (0..count).map(|n| log::inclusion(store, name, index(n), size)).collect();
    let making = start.elapsed().as_secs_f64();
    let mut checking = 0.0;
    for (n, path) in (0..count).zip(made) {
        let path = path.map_err(|e| fault(&e))?;
        let entry = log::entry(store, name, index(n)).map_err(|e| fault(&e))?.unwrap_or_default();
        let start = Instant::now();
        verify_inclusion(index(n), size, &leaf_hash(&entry), &root, &path).map_err(|e| fault(&e))?;
        checking += start.elapsed().as_secs_f64();
    }
    Ok((count as f64 / making, count as f64 / checking))
}

/// Bytes per record and space, keys and values, from the first rows of each space.
fn sizes(store: &DiskStore, records: u64) -> Result<Vec<(&'static str, f64)>, Problem> {
    let read = |rows: Result<Vec<Pair>, StoreError>| rows.map_err(|e| Problem::fault(e.to_string()));
    let total = |rows: &[Pair]| rows.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>() as f64;
    let mean = |rows: &[Pair]| total(rows) / rows.len().max(1) as f64;
    // A bundle's key has a 1 in front of its number.
    let entries = |(key, _): &Pair| if key.iter().rev().nth(8) == Some(&1) { 256 } else { 1 };
    let mut sizes = Vec::new();
    for space in Space::ALL {
        let rows = read(store.scan(space, &[], None, SAMPLE_ROWS))?;
        let bytes = match space {
            Space::Payload => mean(&rows),
            // A record has one row in each of two tables; the others do not grow with the records.
            Space::Row => [1, 4].into_iter().try_fold(0.0, |sum, table| {
                Ok::<_, Problem>(sum + mean(&read(store.scan_prefix(space, &[table], SAMPLE_ROWS))?))
            })?,
            _ if rows.len() < SAMPLE_ROWS => total(&rows) / records as f64,
            Space::Entry => total(&rows) / rows.iter().map(entries).sum::<usize>() as f64,
            Space::Tile => mean(&rows) / 256.0,
            Space::Head => 0.0,
        };
        sizes.push((space.name(), bytes));
    }
    Ok(sizes)
}
