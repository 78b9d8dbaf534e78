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

    /// The same result, which `problem` kept from the file that was named: it is shown all the same, for it may be had only
    /// once, and the command has failed.
    pub(crate) fn unwritten(mut self, problem: &Problem) -> Self {
        (self.json["ok"], self.json["error"]) = (json!(false), error(problem));
        say(&remedy(problem));
        self.ok = false;
        self
    }
}

/// Prints a result to standard output.
pub(crate) fn print(value: &Value, text: &str, json: bool) {
    let shown = if json {
        format!("{value:#}\n")
    } else if text.is_empty() {
        String::new()
    } else {
        plain(&format!("{text}\n"))
    };
    // A closed pipe is the reader's choice.
    let _ = std::io::stdout().write_all(shown.as_bytes());
}

/// Prints what went wrong and what to do, in both languages; returns the exit code.
pub(crate) fn problem(problem: &Problem, json: bool) -> ExitCode {
    if json {
        print(&json!({ "ok": false, "error": error(problem) }), "", true);
    }
    say(&remedy(problem));
    ExitCode::from(if problem.fault { 3 } else { 1 })
}

fn error(Problem { what, next, next_zh, .. }: &Problem) -> Value {
    json!({ "what": what, "next": next, "next_zh": next_zh })
}

/// A progress bar over bytes, on a terminal only.
pub(crate) fn progress(bytes: u64) -> ProgressBar {
    let bar = ProgressBar::new(bytes);
    let style = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}");
    style.map_or(bar.clone(), |style| bar.with_style(style))
}

/// What went wrong and what to do, in both languages, as lines without an end.
pub(crate) fn remedy(problem: &Problem) -> String {
    let mut shown = format!("error: {}", problem.what);
    if !problem.next.is_empty() {
        shown.push_str(&format!("\n  what to do: {}\n  处理办法：{}", problem.next, problem.next_zh));
    }
    shown
}

/// A progress bar over things that are counted, on a terminal only.
pub(crate) fn counting() -> ProgressBar {
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template("{msg} {wide_bar} {human_pos}/{human_len}");
    style.map_or(bar.clone(), |style| bar.with_style(style))
}

/// Says something about progress on standard error.
pub(crate) fn say(text: &str) {
    let _ = std::io::stderr().write_all(plain(&format!("{text}\n")).as_bytes());
}

/// Text as a terminal may see it. Reasons, refusals and values are what other members say: in none of them is a command to the
/// terminal. (JSON escapes them by itself.)
fn plain(text: &str) -> String {
    let shown =
        |c: char| if c.is_control() && c != '\n' && c != '\t' { char::REPLACEMENT_CHARACTER } else { c };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn what_others_say_commands_no_terminal() {
        let said = "refused: \u{1b}]0;title\u{7}\u{1b}[2J\u{9b}1m 不予修复\r\n\tdone";
        assert_eq!(
            plain(said),
            "refused: \u{fffd}]0;title\u{fffd}\u{fffd}[2J\u{fffd}1m 不予修复\u{fffd}\n\tdone"
        );
    }
}
