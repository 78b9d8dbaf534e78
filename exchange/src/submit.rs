//! A department's file: sources, key slots, sealed records into the log.

use credit::{
    entry::{Batch, Fact, Recorded, RowCounts},
    id::SourceId,
    record::SealedRecord,
};
use crypto::{merkle, pseudonym::SubjectTag};

use crate::{
    context::Context,
    limits::RECORDS_PER_BATCH_MAX,
    logs::LogName,
    refusal::{Code, Halt},
    step::{Reply, Token},
    tables::{Key, RecordRow},
    turn::Turn,
    wire::{Response, Submission},
};

/// Registers a department; again is no error.
pub fn add_source(turn: &mut Turn<'_>, token: Token, source: &SourceId) -> Result<(), Halt> {
    turn.put(&Key::source(source.as_str()), &());
    turn.reply(token, Reply::ready(Response::Done));
    Ok(())
}

/// Hands out `count` key slots, once each. A slot that is not used stays unused: 2^40 of them are enough.
pub fn reserve_slots(turn: &mut Turn<'_>, token: Token, count: u64) -> Result<(), Halt> {
    let first: u64 = turn.row(&Key::next_slot())?.unwrap_or(0);
    turn.put(&Key::next_slot(), &(first + count));
    turn.reply(token, Reply::ready(Response::Slots(first)));
    Ok(())
}

/// Takes a run of sealed records into the log.
///
/// 1. The department has an account: `source.unknown`.
/// 2. The run is within bounds: `frame.too-long`.
/// 3. Each record: unknown gives a first version, other content a superseding version, the same content nothing, and
///    so does a record that was erased: an old file does not bring it back.
///    A record's standing belongs to its id, so a new version of a repaired record is as hidden as the old one.
/// 4. One signed `Batched` entry over the run's entries.
/// 5. The file's report, with its last run, so that the same file handed in again does nothing.
pub fn submit(
    context: &Context,
    turn: &mut Turn<'_>,
    token: Token,
    submission: Submission,
) -> Result<(), Halt> {
    let Submission { source, item, file, records, rows, report } = submission;
    // 1
    if turn.row::<()>(&Key::source(source.as_str()))?.is_none() {
        return Halt::refuse(Code::SourceUnknown, format!("`{source}`"));
    }
    // 2
    if records.len() > RECORDS_PER_BATCH_MAX {
        return Halt::refuse(Code::FrameTooLong, format!("{} records in one run", records.len()));
    }
    // 3
    let first = turn.tail(LogName::Records).next;
    let mut leaves = Vec::with_capacity(records.len());
    let mut counts = RowCounts { accepted: 0, amended: 0, ..rows };
    for (sealed, tag) in records {
        let known: Option<RecordRow> = turn.row(&Key::record(&sealed.facts.record))?;
        let same = |row: &RecordRow| row.facts.as_ref().is_some_and(|f| f.content == sealed.facts.content);
        if known.as_ref().is_some_and(|row| row.erased || same(row)) {
            counts.duplicate += 1;
            continue;
        }
        match known {
            Some(_) => counts.amended += 1,
            None => counts.accepted += 1,
        }
        leaves.push(record(context, turn, sealed, tag, known.map(|row| row.newest.index))?);
    }
    // 4
    let batch = Batch {
        first,
        count: leaves.len() as u64,
        root: merkle::root(&leaves),
        source: source.clone(),
        item: item.clone(),
        file,
        rows: counts,
    };
    let signed = context.sign(turn.now, &batch);
    turn.append(context, LogName::Records, Fact::Batched(signed))?;
    // 5
    let response = match report {
        Some(report) => {
            turn.put(&Key::file(source.as_str(), &item, &file), &report);
            Response::Report(report)
        }
        None => Response::Done,
    };
    turn.reply(token, Reply::ready(response));
    Ok(())
}

fn record(
    context: &Context,
    turn: &mut Turn<'_>,
    sealed: SealedRecord,
    tag: SubjectTag,
    supersedes: Option<u64>,
) -> Result<crypto::Digest, Halt> {
    let facts = sealed.facts.clone();
    let recorded = Recorded {
        record: facts.record,
        item: facts.item.clone(),
        catalog: facts.catalog,
        authority: facts.authority.clone(),
        slot: facts.slot,
        fields_root: sealed.fields_root,
        supersedes,
    };
    let (_, leaf) = turn.append(context, LogName::Records, Fact::Recorded(recorded))?;
    // The projection has written what follows from the entry; these two do not.
    let key = Key::record(&facts.record);
    if let Some(row) = turn.row::<RecordRow>(&key)? {
        turn.put(&key, &RecordRow { tag: Some(tag), facts: Some(facts.clone()), ..row });
    }
    turn.put(&Key::index(&tag, &facts.item, &facts.record), &());
    turn.put(&Key::payload(facts.slot), &sealed);
    Ok(leaf)
}
