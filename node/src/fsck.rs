//! The check of a directory at rest: opens what a node opens, and gives it to [`exchange::fsck`].

use std::{path::Path, sync::Arc};

use crypto::keystore::Credential;
use exchange::fsck::{Checked, Finding, Tools, fsck};

use crate::{
    Problem,
    home::Home,
    keys::Keys,
    run::{choose, context},
    store::DiskStore,
};

/// Where projected rows are made again; removed afterwards, however the check ends.
const SCRATCH: &str = "fsck.tmp";

/// What was found.
#[derive(Debug)]
pub struct Report {
    /// What was looked at.
    pub checked: Checked,
    /// What is wrong, in the order in which it was found.
    pub findings: Vec<Finding>,
    /// Findings beyond [`FINDINGS_MAX`], which are counted and not kept.
    pub more: u64,
}

/// Findings kept: beyond them a list helps nobody.
pub const FINDINGS_MAX: usize = 10_000;

/// Checks the directory of a node that does not run. The store is opened as a node opens it, so its engine may finish what
/// a crash interrupted; nothing else in it is changed.
///
/// `progress` hears what is looked at: done, and of how many when that is known.
pub fn check(
    dir: &Path,
    with: impl Into<Credential>,
    progress: &mut dyn FnMut(&str, u64, Option<u64>),
) -> Result<Report, Problem> {
    let home = Home::open(dir)?;
    let _lock = home.lock()?;
    let member = home.member()?;
    let mut keys = Keys::open(dir, with)?;
    let (_, registry) = home.registry()?;
    choose(&mut keys, &registry, member.as_str());
    let context = context(&keys, Arc::new(registry), member.as_str())?;
    if !home.data().exists() {
        return Err(home.no_store());
    }
    let store = DiskStore::open(&home.data())?;
    let scratch = Scratch::new(dir)?;
    let mut report = Report { checked: Checked::default(), findings: Vec::new(), more: 0 };
    let mut found = |finding| {
        if report.findings.len() < FINDINGS_MAX {
            report.findings.push(finding);
        } else {
            report.more += 1;
        }
    };
    let tools =
        Tools { key: &|slot| keys.record_key(slot), scratch: &scratch.store, progress, found: &mut found };
    report.checked = fsck(&context, &store, tools).map_err(|fault| Problem::fault(fault.to_string()))?;
    Ok(report)
}

/// A store for as long as a check lasts.
struct Scratch {
    store: DiskStore,
    /// Removed when the store is closed.
    _dir: Removed,
}

struct Removed(std::path::PathBuf);

impl Scratch {
    fn new(dir: &Path) -> Result<Self, Problem> {
        let dir = dir.join(SCRATCH);
        let failed = |e: std::io::Error| Problem::fault(format!("{}: {e}", dir.display()));
        // One that a killed check has left.
        if dir.exists() {
            std::fs::remove_dir_all(&dir).map_err(failed)?;
        }
        std::fs::create_dir(&dir).map_err(failed)?;
        let store = DiskStore::open(&dir.join("rows"))?;
        Ok(Self { store, _dir: Removed(dir) })
    }
}

impl Drop for Removed {
    fn drop(&mut self) {
        if let Err(e) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!("{}: {e}", self.0.display());
        }
    }
}
