//! What commands give back, and how it is shown.

use std::{io::Write, process::ExitCode};

use credit::normalize::is_seen;
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
        exact(&format!("{value:#}\n"))
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

/// Text as a person may see it. Clerks, reasons, refusals and values are what other members say: none of them commands the
/// terminal, turns its line around, or looks like another because of what nobody sees.
fn plain(text: &str) -> String {
    escaped(text, |c, shown| shown.extend(c.escape_unicode()))
}

/// JSON, in which what nobody sees stands as `\uXXXX` (RFC 8259 §7): it means the same. Outside of strings there is none.
fn exact(json: &str) -> String {
    escaped(json, |c, shown| {
        for unit in c.encode_utf16(&mut [0; 2]) {
            shown.push_str(&format!("\\u{unit:04x}"));
        }
    })
}

fn escaped(text: &str, escape: impl Fn(char, &mut String)) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_seen(c) || c == '\n' || c == '\t' { shown.push(c) } else { escape(c, &mut shown) }
    }
    shown
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{exact, plain};

    #[test]
    fn what_others_say_commands_no_terminal() {
        let said = "refused: \u{1b}]0;title\u{7}\u{1b}[2J\u{9b}1m 不予修复\r\n\tdone";
        assert_eq!(
            plain(said),
            r"refused: \u{1b}]0;title\u{7}\u{1b}[2J\u{9b}1m 不予修复\u{d}".to_owned() + "\n\tdone"
        );
    }

    #[test]
    fn what_nobody_sees_is_shown() {
        // A clerk that looks like another, a line that is turned around, blanks, private use, unassigned, and a tag.
        let said = "wang\u{200b} \u{202e}gnaw\u{202c} a\u{a0}b\u{2003}c\u{2028}d \u{e000}\u{378}\u{e0041}";
        assert_eq!(
            plain(said),
            r"wang\u{200b} \u{202e}gnaw\u{202c} a\u{a0}b\u{2003}c\u{2028}d \u{e000}\u{378}\u{e0041}"
        );
        let seen = "王五\u{3000}“𠮷”……—— José, Jose\u{301} ×√ 🙂";
        assert_eq!(plain(seen), seen);
        // A program reads what was said, and a person sees what a program reads.
        let value = json!({ "clerk": said, "reason": "\u{1b}[2J\u{7f}\n", "seen": seen });
        let shown = exact(&format!("{value:#}"));
        assert!(shown.contains(r"wang\u200b \u202egnaw") && shown.contains(r"\udb40\udc41"), "{shown}");
        assert!(shown.contains(r"\u001b[2J\u007f\n") && shown.contains(seen), "{shown}");
        assert_eq!(serde_json::from_str::<Value>(&shown).unwrap(), value);
    }
}
