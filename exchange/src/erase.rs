//! Erasure (删除): the log says so first, then the keys are destroyed. A crash in between is repaired at start-up,
//! where every `Erased` entry is held against the key tree.
//!
//! Many records go in one step: their entries name the digests of the key tree before and after the whole step, and
//! their slots are punctured by one rewrite of the key tree ([`crate::turn::Turn::effect`] joins them).

use credit::{
    entry::{Erased, Fact, Version},
    id::RecordId,
};
use crypto::{Bytes, Digest, Timestamp, keytree::Slot};
use ledger::{log, store::View, tree::LeafIndex};

use crate::{
    artifact::{Attestation, ErasureCertificate, VersionProof},
    context::Context,
    limits::{REASON_BYTES_MAX, RECORDS_PER_ERASURE_MAX, VERSIONS_PER_CERTIFICATE_MAX},
    logs::LogName,
    receipt::Receipt,
    refusal::{Code, Fault, Halt, Refusal},
    step::{Reply, Token},
    tables::{self, Key, RecordRow},
    timer,
    turn::Turn,
    wire::Response,
};

/// Versions named by one entry, so that it stays below the longest entry a log takes.
const VERSIONS_PER_ENTRY_MAX: usize = 1_000;

/// Erases every version of each record. `tree` is the key tree's digest before and after puncturing all of them.
///
/// 1. At most [`RECORDS_PER_ERASURE_MAX`] records: `frame.too-long`.
/// 2. A legal reason is given: `case.denied`.
/// 3. Each record is here, not erased, named once, and has exactly these versions: `record.unknown`.
/// 4. Of an own record that has not ended, `Changed` with `expire` in the status log, for whoever was told of it; `Erased`
///    entries, payload and index rows removed (by projection), the keys punctured after the batch is durable.
///
/// One record that is refused refuses all: the digests hold for the whole list only.
pub fn erase(
    context: &Context,
    turn: &mut Turn<'_>,
    token: Token,
    records: Vec<(RecordId, Vec<Version>)>,
    reason: &str,
    tree: (Digest, Digest),
) -> Result<(), Halt> {
    // 1
    if records.len() > RECORDS_PER_ERASURE_MAX {
        let why = format!("{} records in one erasure, at most {RECORDS_PER_ERASURE_MAX}", records.len());
        return Halt::refuse(Code::FrameTooLong, why);
    }
    // 2
    if reason.is_empty() || reason.len() > REASON_BYTES_MAX {
        return Halt::refuse(Code::CaseDenied, "an erasure states its legal reason in 1 to 200 bytes");
    }
    for (record, versions) in records {
        // 3
        let row = turn.row::<RecordRow>(&Key::record(&record))?;
        if row.is_none_or(|row| row.erased || row.versions() != versions) {
            return Halt::refuse(Code::RecordUnknown, format!("`{record}`"));
        }
        // 4
        timer::before_erasure(context, turn, &record, reason)?;
        for versions in versions.chunks(VERSIONS_PER_ENTRY_MAX) {
            let (versions, reason) = (versions.to_vec(), reason.to_owned());
            let erased = Erased { record, versions, reason, tree_before: tree.0, tree_after: tree.1 };
            turn.append(context, LogName::Records, Fact::Erased(erased))?;
        }
    }
    turn.reply(token, Reply::ready(Response::Done));
    Ok(())
}

/// The erasure certificate of a record, as it can be given at `now`.
///
/// `derivable` asks the key tree whether a slot's key can be derived; `tree` is its present digest. A certificate is
/// refused, never weakened: a record that is not erased is `record.unknown`; a fault follows when the log says a
/// record is erased and its key or payload is still there, which start-up would have mended.
pub fn certificate(
    context: &Context,
    view: &dyn View,
    record: RecordId,
    derivable: &dyn Fn(Slot) -> bool,
    tree: Digest,
    now: Timestamp,
) -> Result<Result<ErasureCertificate, Refusal>, Fault> {
    let row = tables::row::<RecordRow>(view, &Key::record(&record))?.filter(|row| row.erased);
    let Some(row) = row else {
        return Ok(Err(Refusal::new(Code::RecordUnknown, format!("`{record}` is not erased here"))));
    };
    let named = row.versions();
    if named.len() > VERSIONS_PER_CERTIFICATE_MAX {
        let why = format!("{} versions; export the log instead", named.len());
        return Ok(Err(Refusal::new(Code::FrameTooLong, why)));
    }
    let mut said: Vec<u64> = Vec::new();
    for version in &named {
        let entry: u64 = tables::row(view, &Key::erased(version.slot))?
            .ok_or_else(|| Fault(format!("no entry says that slot {} is erased", version.slot.0)))?;
        if derivable(version.slot) || tables::payload(view, version.slot)?.is_some() {
            return Err(Fault(format!(
                "slot {} is erased by the log, and its data is still here",
                version.slot.0
            )));
        }
        if said.last() != Some(&entry) {
            said.push(entry);
        }
    }
    let name = LogName::Records;
    let entries = said
        .iter()
        .map(|index| Receipt::build(view, &context.own.id, name, *index))
        .collect::<Result<Vec<_>, _>>()?;
    // One checkpoint carries all versions. Receipts are built one after the other, so the last one has the newest.
    let newest = entries.last().ok_or_else(|| Fault("an erased record without versions".into()))?;
    let size = newest.checkpoint.claimed().size;
    let mut versions = Vec::with_capacity(named.len());
    for version in &named {
        let index = LeafIndex(version.index);
        let entry = log::entry(view, name.as_str(), index)?
            .ok_or_else(|| Fault(format!("entry {index} of `{name}` is missing")))?;
        versions.push(VersionProof {
            entry: Bytes(entry),
            path: log::inclusion(view, name.as_str(), index, size)?,
        });
    }
    let leaves = entries.iter().map(|r| (r.index, crypto::merkle::leaf_hash(&r.entry))).collect();
    let attestation = context.sign(now, &Attestation { record, entries: leaves, tree });
    Ok(Ok(ErasureCertificate { entries, versions, attestation }))
}
