//! What people build today, for comparison: the same number of rows in PostgreSQL, through `psql`.
//!
//! - `copy`: COPY into a table with a primary key and an index on the subject, in clear, without any proof.
//! - `chain`: the same with a trigger that gives each row the SHA-256 over the row before it and its own content.

use std::{
    io::Write,
    process::{Command, Stdio},
    time::Instant,
};

use ::node::Problem;
use crypto::{Digest, codec};

/// Records to a transaction, as many as one of our signatures covers.
const RECORDS_PER_TRANSACTION: u64 = 1_000;

const COPY_TABLE: &str = "DROP TABLE IF EXISTS xinqiao_bench; CREATE TABLE xinqiao_bench (
  n bigserial, record bytea PRIMARY KEY, subject bytea, item text, content bytea, hash bytea);
CREATE INDEX ON xinqiao_bench (subject);";
const CHAIN: &str = "CREATE OR REPLACE FUNCTION xinqiao_bench_chain() RETURNS trigger AS $$
DECLARE before bytea;
BEGIN
  SELECT hash INTO before FROM xinqiao_bench ORDER BY n DESC LIMIT 1;
  NEW.hash := sha256(coalesce(before, '\\x00'::bytea) || NEW.record || NEW.content);
  RETURN NEW;
END $$ LANGUAGE plpgsql;
CREATE INDEX ON xinqiao_bench (n);
CREATE TRIGGER chain BEFORE INSERT ON xinqiao_bench FOR EACH ROW EXECUTE FUNCTION xinqiao_bench_chain();";

/// Rows a second of both, and the server's version.
pub(super) struct Baseline {
    pub(super) version: String,
    pub(super) copy: f64,
    pub(super) chain: f64,
}

/// Measures `count` rows with `content` bytes each. The server keeps its own settings.
pub(super) fn measure(url: &str, count: u64, content: usize) -> Result<Baseline, Problem> {
    let version = psql(url, "SHOW server_version;")?;
    psql(url, COPY_TABLE)?;
    let copy = load(url, count, content)?;
    psql(url, COPY_TABLE)?;
    psql(url, CHAIN)?;
    let chain = load(url, count, content)?;
    psql(url, "DROP TABLE xinqiao_bench; DROP FUNCTION xinqiao_bench_chain;")?;
    Ok(Baseline { version: version.trim().to_owned(), copy, chain })
}

fn load(url: &str, count: u64, content: usize) -> Result<f64, Problem> {
    let content = codec::hex(&vec![0xa5; content]);
    let mut script = String::new();
    for first in (0..count).step_by(RECORDS_PER_TRANSACTION as usize) {
        script.push_str("COPY xinqiao_bench (record, subject, item, content) FROM STDIN;\n");
        for n in first..(first + RECORDS_PER_TRANSACTION).min(count) {
            let (record, subject) = (Digest::of(&n.to_be_bytes()), Digest::of(&(n / 5).to_be_bytes()));
            script.push_str(&format!("\\\\x{record}\t\\\\x{subject}\tCF\t\\\\x{content}\n"));
        }
        script.push_str("\\.\n");
    }
    // The script is made before the clock starts.
    let start = Instant::now();
    psql(url, &script)?;
    Ok(count as f64 / start.elapsed().as_secs_f64())
}

pub(super) fn psql(url: &str, script: &str) -> Result<String, Problem> {
    let no = |why: String| {
        Problem::new(
            format!("psql: {why}"),
            "install the PostgreSQL client and give the URL of a database it may write to, or leave --postgres out",
            "请安装 PostgreSQL 客户端并提供可写数据库的地址，或省略 --postgres",
        )
    };
    let mut child = Command::new("psql")
        .args([url, "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| no(e.to_string()))?;
    if let Some(mut input) = child.stdin.take() {
        // What psql did not read, it says why.
        let _ = input.write_all(script.as_bytes());
    }
    let output = child.wait_with_output().map_err(|e| no(e.to_string()))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(no(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }
}
