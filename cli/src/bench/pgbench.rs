//! What people build today, for comparison: the database of a plain query service, through `pgbench`.
//!
//! Each transaction reads five columns of a subject's record, in clear, and inserts a row into an audit table; it is
//! committed as durably as the server's settings say. There is no signature, no policy, no proof and no encryption
//! besides what the connection has; there is also no HTTP, no JSON and no application between, each of which a real
//! service has: it answers at most as often as this.

use std::{
    fmt, fs,
    process::{Command, Stdio},
};

use ::node::Problem;
use crypto::{Digest, codec};
use serde_json::{Value, json};

use super::{Scratch, postgres::psql};

const TABLES: &str = "DROP TABLE IF EXISTS xinqiao_bench_record, xinqiao_bench_audit;
CREATE TABLE xinqiao_bench_record (subject bigint PRIMARY KEY, number text, kind text, facts text, class text, decided date, rest bytea);
CREATE TABLE xinqiao_bench_audit (n bigserial PRIMARY KEY, at timestamptz, asker text, clerk text, purpose int, subject bigint, question bytea);";
const DROP: &str = "DROP TABLE xinqiao_bench_record, xinqiao_bench_audit;";

/// Bytes of a record besides the five columns: what one of ours has as ciphertext.
const REST_BYTES: usize = 600;

/// All concurrencies, and the server's version and settings.
pub(super) struct Baseline {
    pub(super) version: String,
    settings: String,
    pub(super) runs: Vec<Ran>,
}

/// What one concurrency gave; times in milliseconds.
pub(super) struct Ran {
    pub(super) concurrency: usize,
    pub(super) rate: f64,
    pub(super) p50: f64,
    pub(super) p99: f64,
}

impl Ran {
    pub(super) fn json(&self, version: &str) -> Value {
        json!({
            "version": version, "concurrency": self.concurrency, "answers_per_second": self.rate,
            "p50_ms": self.p50, "p99_ms": self.p99,
        })
    }
}

impl fmt::Display for Baseline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "PostgreSQL {} by pgbench ({}): five columns in clear and an audit row, no signature, no proof, no HTTP:",
            self.version, self.settings
        )
    }
}

/// Whether the comparison could be made at all: known before the benchmark's own minutes.
pub(super) fn able(url: &str, at_once: &[usize]) -> Result<(), Problem> {
    let connections = at_once.iter().max().unwrap_or(&0) + OTHERS;
    let most = psql(url, "SHOW max_connections;")?;
    if most.trim().parse::<usize>().is_ok_and(|most| most < connections) {
        return Err(no(format!(
            "the server takes {} connections, and {connections} are needed",
            most.trim()
        )));
    }
    let asked = Command::new("pgbench").arg("--version").output().map_err(|e| no(e.to_string()))?;
    if asked.status.success() { Ok(()) } else { Err(no("it does not run".to_owned())) }
}

/// Connections the server must take besides those of pgbench.
const OTHERS: usize = 4;

fn no(why: String) -> Problem {
    Problem::new(
        format!("pgbench: {why}"),
        "install pgbench, let the server take enough connections (max_connections), or leave --postgres out",
        "请安装 pgbench，并允许服务器接受足够的连接（max_connections），或省略 --postgres",
    )
}

/// Measures `seconds` at each concurrency over as many subjects. The server keeps its own settings.
pub(super) fn measure(
    url: &str,
    subjects: u64,
    seconds: u64,
    at_once: &[usize],
) -> Result<Baseline, Problem> {
    let version = psql(url, "SHOW server_version;")?.trim().to_owned();
    let settings: Vec<String> = ["fsync", "synchronous_commit", "ssl"]
        .into_iter()
        .map(|name| Ok(format!("{name} {}", psql(url, &format!("SHOW {name};"))?.trim())))
        .collect::<Result<_, Problem>>()?;
    psql(url, TABLES)?;
    let rest = codec::hex(&vec![0xa5; REST_BYTES]);
    psql(
        url,
        &format!(
            "INSERT INTO xinqiao_bench_record SELECT n, '沪市监处〔2026〕' || n || '号', '虚假宣传', '虚假宣传，情节轻微，责令改正',
             '警告', '2026-04-01', '\\x{rest}' FROM generate_series(0, {subjects} - 1) n; ANALYZE xinqiao_bench_record;"
        ),
    )?;
    let runs: Result<Vec<Ran>, Problem> =
        at_once.iter().map(|clients| load(url, subjects, seconds, *clients)).collect();
    // The tables go whether or not the runs went well; of the two errors the run's is told.
    let dropped = psql(url, DROP);
    Ok(Baseline {
        version,
        settings: settings.join(", "),
        runs: runs.and_then(|runs| dropped.map(|_| runs))?,
    })
}

fn load(url: &str, subjects: u64, seconds: u64, clients: usize) -> Result<Ran, Problem> {
    let scratch = Scratch::new(None)?;
    let no = |why: String| no(format!("with {clients} clients: {why}"));
    let script = scratch.0.join("script");
    let digest = Digest::of(b"question");
    fs::write(
        &script,
        format!(
            "\\set n random(0, {} - 1)\nBEGIN;\nINSERT INTO xinqiao_bench_audit (at, asker, clerk, purpose, subject, question) VALUES (now(), 'bank-0', 'clerk-1', 0, :n, '\\x{digest}');\nSELECT number, kind, facts, class, decided FROM xinqiao_bench_record WHERE subject = :n;\nCOMMIT;\n",
            subjects
        ),
    )
    .map_err(|e| no(e.to_string()))?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(clients);
    let output = Command::new("pgbench")
        .args(["--no-vacuum", "--protocol=prepared", "--log"])
        .arg(format!("--client={clients}"))
        .arg(format!("--jobs={threads}"))
        .arg(format!("--time={seconds}"))
        .arg("--file=script")
        .arg(url)
        .current_dir(&scratch.0)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| no(e.to_string()))?;
    if !output.status.success() {
        return Err(no(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    // One file a thread; the third word of a line is the transaction's time in microseconds.
    let mut took: Vec<u64> = Vec::new();
    for file in fs::read_dir(&scratch.0).map_err(|e| no(e.to_string()))?.flatten() {
        if file.file_name().to_string_lossy().starts_with("pgbench_log") {
            let lines = fs::read_to_string(file.path()).map_err(|e| no(e.to_string()))?;
            took.extend(lines.lines().filter_map(|l| l.split(' ').nth(2)?.parse::<u64>().ok()));
        }
    }
    took.sort_unstable();
    let at = |share: f64| took.get((took.len() as f64 * share) as usize).map(|us| *us as f64 / 1e3);
    let (p50, p99) = at(0.5).zip(at(0.99)).ok_or_else(|| no("it has logged no transaction".into()))?;
    Ok(Ran { concurrency: clients, rate: took.len() as f64 / seconds as f64, p50, p99 })
}
