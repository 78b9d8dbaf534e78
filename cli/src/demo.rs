//! `xinqiao demo`: the whole road on one machine, every part real: separate node processes, QUIC between them, sealed
//! stores on disk. Each step states what it expects and what came out; one expectation that fails makes the command
//! fail.
//!
//! `federation` sets the members up and runs their processes; `story` walks the road.

pub(crate) mod federation;
pub(crate) mod sandbox;
mod story;

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use node::Problem;
use serde_json::{Value, json};

use crate::{
    args::Demo,
    demo::federation::Federation,
    output::{Output, say},
};

/// One step of the story.
pub(crate) struct Step {
    name: &'static str,
    expected: String,
    outcome: String,
    ok: bool,
    figures: Value,
}

/// Tells the story as it goes, and keeps what was done.
pub(crate) struct Teller {
    quiet: bool,
    steps: Vec<Step>,
    started: Instant,
}

impl Teller {
    /// A line of the story.
    pub(crate) fn tell(&self, line: &str) {
        if !self.quiet {
            use std::io::Write;
            // A closed pipe is the reader's choice.
            let _ = writeln!(std::io::stdout(), "{line}");
        }
    }

    /// Opens a chapter.
    pub(crate) fn chapter(&self, title: &str) {
        self.tell(&format!("\n── {title} ── {:.1} s", self.started.elapsed().as_secs_f64()));
    }

    /// Records an expectation and what came out.
    pub(crate) fn expect(
        &mut self,
        name: &'static str,
        expected: &str,
        ok: bool,
        outcome: String,
        figures: Value,
    ) {
        self.tell(&format!("  {} {outcome}", if ok { "✓" } else { "✗" }));
        self.steps.push(Step { name, expected: expected.to_owned(), outcome, ok, figures });
    }

    fn ok(&self) -> bool {
        !self.steps.is_empty() && self.steps.iter().all(|s| s.ok)
    }

    fn table(&self) -> String {
        let mut table = String::from("\nwhat was done and verified / 完成并验证的事项\n");
        for step in &self.steps {
            table.push_str(&format!(
                "  {} {:<28} {}\n",
                if step.ok { "✓" } else { "✗" },
                step.name,
                step.expected
            ));
        }
        let failed = self.steps.iter().filter(|s| !s.ok).count();
        table.push_str(&match failed {
            0 => format!(
                "all {} expectations hold, in {:.1} s / 全部符合预期",
                self.steps.len(),
                self.started.elapsed().as_secs_f64()
            ),
            n => format!("{n} of {} expectations do NOT hold / 有 {n} 项不符合预期", self.steps.len()),
        });
        table
    }

    fn value(&self, federation: &Federation, auth: &str) -> Value {
        let steps: Vec<Value> = self
            .steps
            .iter()
            .map(|s| json!({ "name": s.name, "expected": s.expected, "outcome": s.outcome, "ok": s.ok, "figures": s.figures }))
            .collect();
        json!({ "ok": self.ok(), "steps": steps, "nodes": federation.nodes(), "auth": auth })
    }
}

/// The directory told, or a temporary one. It is kept until the end: dropping it removes it.
fn directory(told: Option<&Path>, prefix: &str) -> Result<(PathBuf, Option<tempfile::TempDir>), Problem> {
    if let Some(dir) = told {
        return Ok((dir.to_owned(), None));
    }
    let made = tempfile::Builder::new().prefix(prefix).tempdir();
    let made = made.map_err(|e| Problem::fault(format!("no temporary directory: {e}")))?;
    Ok((made.path().to_owned(), Some(made)))
}

/// Runs the demonstration.
pub(crate) async fn run(args: Demo, quiet: bool) -> Result<Output, Problem> {
    let mut teller = Teller { quiet, steps: Vec::new(), started: Instant::now() };
    let (root, temporary) = directory(args.dir.as_deref(), "xinqiao-demo-")?;
    let mut federation = Federation::new(&root)?;
    let walked = tokio::select! {
        walked = story::walk(&args, &mut federation, &mut teller) => walked,
        () = node::run::signalled() => Err(Problem::new("interrupted", "run it again", "请重新运行")),
    };
    let auth = match walked {
        Ok(auth) => auth,
        Err(mut problem) => {
            // What the nodes said is the best hint there is; a temporary directory is kept for it.
            if let Some(temporary) = temporary {
                let kept = temporary.keep();
                problem.what.push_str(&format!(" (the nodes' logs are kept in {})", kept.display()));
            }
            federation.stop().await;
            return Err(problem);
        }
    };
    let (ok, value, table) = (teller.ok(), teller.value(&federation, &auth), teller.table());
    if args.keep {
        crate::output::print(&value, &format!("{table}\n{}", federation.hints(&auth)), quiet);
        say("the nodes stay up until Ctrl-C / 节点保持运行，按 Ctrl-C 停止");
        node::run::signalled().await;
        federation.stop().await;
        return Ok(Output { shown: true, ..Output::judged(value, "", ok) });
    }
    federation.stop().await;
    drop(temporary);
    Ok(Output::judged(value, table, ok))
}
