//! What people build today, for comparison: a query service over HTTP/1.1, mutual TLS, JSON and PostgreSQL, as
//! `conformance/service` is one. It is a program of its own, in another language, with its own clients.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use ::node::Problem;
use serde::{Deserialize, Serialize};

use super::query::Load;

/// What one load gave.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Ran {
    /// Questions on their way at once; 0 where they came at random moments.
    pub(super) concurrency: usize,
    /// Questions a second that came at random moments, or 0.
    #[serde(rename = "offered_per_second")]
    pub(super) offered: f64,
    pub(super) answers: u64,
    #[serde(rename = "answers_per_second")]
    pub(super) rate: f64,
    /// Milliseconds.
    #[serde(rename = "p50_ms")]
    pub(super) p50: f64,
    #[serde(rename = "p99_ms")]
    pub(super) p99: f64,
    #[serde(rename = "p99_ms_of_the_median_second")]
    pub(super) p99_second: f64,
}

/// Measures `seconds` of questions that come so, over as many subjects.
pub(super) fn measure(
    program: &Path,
    url: &str,
    subjects: u64,
    seconds: u64,
    load: Load,
) -> Result<Ran, Problem> {
    let no = |why: String| {
        Problem::new(
            format!("{}: {why}", program.display()),
            "see what it says; if it is another version, build it with `go build` in conformance/service; give the database as a URL",
            "请查看其输出；若版本不符，请在 conformance/service 中用 go build 重新生成；数据库请以 URL 形式给出",
        )
    };
    let load = match load {
        Load::AtOnce(many) => ["--concurrency".to_owned(), many.to_string()],
        Load::Rate(rate) => ["--rate".to_owned(), rate.to_string()],
    };
    let output = Command::new(program)
        .args(["--postgres", url])
        .args(load)
        .args(["--subjects", &subjects.to_string(), "--seconds", &seconds.to_string()])
        .stdin(Stdio::null())
        .output()
        .map_err(|e| no(e.to_string()))?;
    if !output.status.success() {
        return Err(no(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    let ran: [Ran; 1] = serde_json::from_slice(&output.stdout).map_err(|e| no(e.to_string()))?;
    let [ran] = ran;
    Ok(ran)
}
