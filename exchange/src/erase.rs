//! Erasure (删除): the log says so first, then the key is destroyed. A crash in between is repaired at start-up,
//! where every `Erased` entry is held against the key tree.

use credit::{
    entry::{Erased, Fact, Version},
    id::RecordId,
};
use crypto::Digest;

use crate::{
    context::Context,
    limits::REASON_BYTES_MAX,
    logs::LogName,
    refusal::{Code, Halt},
    step::{Reply, Token},
    tables::{Key, RecordRow},
    turn::Turn,
    wire::Response,
};

/// Versions named by one entry, so that it stays below the longest entry a log takes.
const VERSIONS_PER_ENTRY_MAX: usize = 1_000;

/// Erases every version of a record. `tree` is the key tree's digest before and after puncturing `versions`.
///
/// 1. The record is here, not erased, and has exactly these versions: `record.unknown`.
/// 2. A legal reason is given: `case.denied`.
/// 3. `Erased` entry, payload and index rows removed (by projection), the keys punctured after the batch is durable.
pub fn erase(
    context: &Context,
    turn: &mut Turn<'_>,
    token: Token,
    record: RecordId,
    reason: String,
    versions: Vec<Version>,
    tree: (Digest, Digest),
) -> Result<(), Halt> {
    // 1
    let row = turn.row::<RecordRow>(&Key::record(&record))?;
    if row.is_none_or(|row| row.erased || row.versions() != versions) {
        return Halt::refuse(Code::RecordUnknown, format!("`{record}`"));
    }
    // 2
    if reason.is_empty() || reason.len() > REASON_BYTES_MAX {
        return Halt::refuse(Code::CaseDenied, "an erasure states its legal reason in 1 to 200 bytes");
    }
    // 3
    for versions in versions.chunks(VERSIONS_PER_ENTRY_MAX) {
        let (versions, reason) = (versions.to_vec(), reason.clone());
        let erased = Erased { record, versions, reason, tree_before: tree.0, tree_after: tree.1 };
        turn.append(context, LogName::Records, Fact::Erased(erased))?;
    }
    turn.reply(token, Reply::ready(Response::Done));
    Ok(())
}
