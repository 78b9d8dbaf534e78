//! Rows about what is pushed and published, against the logs.

use credit::{
    entry::{Entry, Fact},
    id::{MemberId, RecordId},
};
use crypto::codec;
use ledger::{log, tree::LeafIndex};

use super::{Check, Wrong, includes};
use crate::{
    answer::Answer,
    logs::LogName,
    push::{PushRow, copy::CopyRow, publish::PageRow},
    receipt::Receipt,
    refusal::Fault,
    tables::{self, Table, decode},
};

/// One row of these tables: as stored, and as made again. Errors: it does not read.
pub(super) fn row(
    check: &Check<'_>,
    table: Table,
    key: &[u8],
    rest: &[u8],
    (stored, made): (Option<&[u8]>, Option<&[u8]>),
) -> Result<Option<Wrong>, Fault> {
    let own = &check.context.own.id;
    let complete = check.complete(own, LogName::Access);
    let Some(bytes) = stored else { return Ok(Some(Wrong::RowMissing)) };
    let differs = |differs: bool| Ok(differs.then_some(Wrong::RowDiffers));
    match table {
        Table::Push => {
            let row: PushRow = decode(key, bytes)?;
            let made: Option<PushRow> = made.map(|made| decode(key, made)).transpose()?;
            let Some(index) = row.index else { return Ok(made.map(|_| Wrong::RowDiffers)) };
            let Some(made) = made else { return Ok(complete.then_some(Wrong::RowUnexplained)) };
            // Rows of earlier builds have no rule.
            let same = (&made.to, made.index, made.since, &made.receivers)
                == (&row.to, row.index, row.since, &row.receivers)
                && (row.rule.is_none() || made.rule == row.rule);
            differs(complete && !same || !acknowledged(check, rest, index, &row)?)
        }
        Table::Copy => {
            let row: CopyRow = decode(key, bytes)?;
            let made: Option<CopyRow> = made.map(|made| decode(key, made)).transpose()?;
            let bare = CopyRow { sealed: None, ..row.clone() };
            match made {
                None => return Ok(complete.then_some(Wrong::RowUnexplained)),
                Some(made) if complete && made != bare => return differs(true),
                Some(_) => {}
            }
            let Some(sealed) = &row.sealed else { return Ok(None) };
            let answer: Answer = codec::from_slice(sealed).map_err(|e| Fault(e.to_string()))?;
            let proven = answer.access.verify(&check.context.registry);
            differs(!proven.is_ok_and(|proven| {
                (&proven.member, proven.index, proven.leaf) == (&row.from, row.index, row.leaf)
            }))
        }
        _ => {
            let author = rest.get(32..).and_then(tables::key_text).and_then(MemberId::parse);
            let Some(author) = author else { return Ok(Some(Wrong::RowDamaged)) };
            // What was pushed may be newer than the copy of the author's log.
            if author == *own && made.is_none() && check.complete(own, LogName::Status) {
                return Ok(Some(Wrong::RowUnexplained));
            }
            differs(!includes(key, bytes, made, PageRow::merge)?)
        }
    }
}

/// Whether a stored acknowledgement is the receiver's own, and of this push.
fn acknowledged(check: &Check<'_>, rest: &[u8], index: u64, row: &PushRow) -> Result<bool, Fault> {
    let entry = log::entry(check.view, LogName::Access.as_str(), LeafIndex(index))?;
    let pushed = match entry.and_then(|bytes| Entry::from_bytes(&bytes).ok()).map(|entry| entry.fact) {
        Some(Fact::Pushed(pushed)) => pushed,
        _ => return Ok(false),
    };
    let record = RecordId(<[u8; 32]>::try_from(rest).unwrap_or_default());
    if pushed.record != record || row.ack.is_some() != row.acked_at.is_some() {
        return Ok(false);
    }
    let Some(ack) = &row.ack else { return Ok(true) };
    let receipt: Receipt = codec::from_slice(ack).map_err(|e| Fault(e.to_string()))?;
    let proven = receipt.verify(&check.context.registry);
    Ok(proven.is_ok_and(|proven| match &proven.entry.fact {
        Fact::Taken(taken) => {
            Some(&proven.member) == row.to.as_ref() && (taken.index, taken.record) == (index, record)
        }
        _ => false,
    }))
}
