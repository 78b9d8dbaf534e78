//! What commands give back, and how it is shown.

use std::{io::Write, process::ExitCode};

use indicatif::{ProgressBar, ProgressStyle};
use node::Problem;
use serde_json::{Value, json};

/// A command's result: for programs and for people.
pub(crate) struct Output {
    /// One JSON document, with `--json`.
    pub(crate) json: Value,
    /// Text, without.
    pub(crate) text: String,
    /// Whether what was asked holds; otherwise the exit code is 1.
    pub(crate) ok: bool,
    /// Already printed.
    pub(crate) shown: bool,
}

impl Output {
    /// A result that holds.
    pub(crate) fn new(json: Value, text: impl Into<String>) -> Self {
        Self::judged(json, text, true)
    }

    /// A result that holds or does not.
    pub(crate) fn judged(json: Value, text: impl Into<String>, ok: bool) -> Self {
        Self { json, text: text.into(), ok, shown: false }
    }
}

/// Prints a result to standard output.
pub(crate) fn print(value: &Value, text: &str, json: bool) {
    let shown = if json {
        format!("{value:#}\n")
    } else if text.is_empty() {
        String::new()
    } else {
        format!("{text}\n")
    };
    // A closed pipe is the reader's choice.
    let _ = std::io::stdout().write_all(shown.as_bytes());
}

/// Prints what went wrong and what to do, in both languages; returns the exit code.
pub(crate) fn problem(problem: &Problem, json: bool) -> ExitCode {
    if json {
        let value = json!({
            "ok": false,
            "error": { "what": problem.what, "next": problem.next, "next_zh": problem.next_zh },
        });
        print(&value, "", true);
    }
    let mut shown = format!("error: {}\n", problem.what);
    if !problem.next.is_empty() {
        shown.push_str(&format!("  what to do: {}\n  处理办法：{}\n", problem.next, problem.next_zh));
    }
    let _ = std::io::stderr().write_all(shown.as_bytes());
    ExitCode::from(if problem.fault { 3 } else { 1 })
}

/// A progress bar over bytes, on a terminal only.
pub(crate) fn progress(bytes: u64) -> ProgressBar {
    let bar = ProgressBar::new(bytes);
    let style = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}");
    style.map_or(bar.clone(), |style| bar.with_style(style))
}

/// Says something about progress on standard error.
pub(crate) fn say(text: &str) {
    let _ = std::io::stderr().write_all(format!("{text}\n").as_bytes());
}
