//! What a check found: a place and a sentence.

use std::fmt;

/// One thing to put right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// `path` or `path:line`, or the name of a crate.
    pub place: String,
    /// What is wrong, why it matters and what to do instead.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

/// Everything a check found, in the order it looked.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings(pub Vec<Finding>);

impl Findings {
    /// Adds a finding.
    pub(crate) fn add(&mut self, place: impl Into<String>, what: impl Into<String>) {
        self.0.push(Finding { place: place.into(), what: what.into() });
    }

    /// Adds a finding at a line, counted from zero.
    pub(crate) fn at(&mut self, path: &str, line: usize, what: impl Into<String>) {
        self.add(format!("{path}:{}", line + 1), what);
    }

    /// All findings as lines, for tests.
    #[cfg(test)]
    pub(crate) fn text(&self) -> String {
        self.0.iter().map(|f| format!("{f}\n")).collect()
    }
}
