//! What is read without deciding anything: over any view, beside the writer.

use std::collections::{BTreeMap, BTreeSet};

use credit::{
    entry::{Fact, StatusFact, Version},
    id::{CaseId, MemberId, RecordId},
    repair::Case,
    rules::Duty,
    status::Standing,
    value::Date,
};
use crypto::{Bytes, Digest, Timestamp, codec, keytree::Slot};
use ledger::{
    log,
    store::{Space, View},
    tree::LeafIndex,
};

use crate::{
    artifact::{Beside, Certificate, status_fact},
    certificate::{self, About},
    context::Context,
    limits::{ENTRIES_PER_PULL_MAX, PULL_BYTES_MAX},
    logs::LogName,
    push,
    receipt::Receipt,
    refusal::{Code, Fault, Refusal},
    repair::{self, Forwarded},
    step::Reply,
    tables::{self, DeliveryRow, ErasureRow, ForwardRow, Key, RecordRow},
    timer::{self, DueErasure},
    wire::{CaseMatter, QualityLine, RecordStatus, Response, SubmitReport},
};

/// Completes a decided reply from durable state. Answers are completed by [`crate::answer::seal`].
pub fn complete(context: &Context, view: &dyn View, reply: Reply) -> Result<Response, Fault> {
    match reply {
        Reply::Ready(response) => Ok(*response),
        Reply::Receipt(index) => {
            Ok(Response::Receipt(Receipt::build(view, &context.own.id, LogName::Status, index)?))
        }
        Reply::AccessReceipt(index) => {
            Ok(Response::Receipt(Receipt::build(view, &context.own.id, LogName::Access, index)?))
        }
        Reply::Answer(_) | Reply::Judge(_) => Err(Fault("an answer is sealed, not completed".into())),
    }
}

/// The receipt that pushes an own status entry to a recipient.
pub fn notice(context: &Context, view: &dyn View, event: u64) -> Result<Receipt, Fault> {
    Receipt::build(view, &context.own.id, LogName::Status, event)
}

/// An own entry with everything that proves it to outsiders. For the member's own operator, who may read every entry.
pub fn prove(
    context: &Context,
    view: &dyn View,
    name: LogName,
    index: u64,
    now: Timestamp,
) -> Result<Response, Fault> {
    let size = log::size(view, name.as_str())?;
    if !size.covers(LeafIndex(index)) {
        let why = format!("`{name}` has {size} entries, the first is number 0; there is no entry {index}");
        return Ok(Response::Refused(Refusal::new(Code::NotFound, why)));
    }
    let receipt = Receipt::build(view, &context.own.id, name, index)?;
    let cose = receipt.cose(&context.own.signing, now).map(|cose| cose.to_vec().into());
    Ok(Response::Proof { receipt, cose })
}

/// Entries of an own log or of a copy kept here, with the owner's checkpoint over exactly what is returned and before.
///
/// A checkpoint covers the whole log. When the rest does not fit one frame the newest checkpoint cannot be given with
/// a part; the entries then come without one, and the caller asks again from the next index.
pub fn entries(
    context: &Context,
    view: &dyn View,
    caller: &MemberId,
    owner: &MemberId,
    name: LogName,
    from: u64,
) -> Result<Response, Fault> {
    let own = *owner == context.own.id;
    let registry = &context.registry;
    let allowed = if own {
        registry.keeps_copy(caller, owner, name) || name == LogName::Status
    } else {
        caller == owner || registry.keeps_copy(caller, owner, name)
    };
    if !allowed {
        let why = format!("`{caller}` keeps no copy of `{owner}/{name}`");
        return Ok(Response::Refused(Refusal::new(Code::CallerNotAllowed, why)));
    }
    let stored = if own { name.as_str().to_owned() } else { name.mirror(owner) };
    let Some(checkpoint) = log::head(view, &stored)? else {
        return Ok(Response::Entries { entries: Vec::new(), checkpoint: None });
    };
    let size = checkpoint.claimed().size.0;
    let mut bytes = 0;
    let mut entries = Vec::new();
    let mut at = from;
    while at < size && (entries.len() as u64) < ENTRIES_PER_PULL_MAX && bytes < PULL_BYTES_MAX {
        let missing = || Fault(format!("entry {at} of `{stored}` is missing"));
        let entry = log::entry(view, &stored, LeafIndex(at))?.ok_or_else(missing)?;
        bytes += entry.len();
        entries.push(Bytes(entry));
        at += 1;
    }
    let complete = at >= size;
    Ok(Response::Entries { entries, checkpoint: complete.then_some(checkpoint) })
}

/// The propagation certificate of an own status entry, as it stands at `now`, tied to whom and what it is about where that is
/// given, with a fresh salt.
///
/// Errors: `not-found` for an entry that goes to nobody; `record.unknown` where `about` is another matter.
pub fn certificate(
    context: &Context,
    view: &dyn View,
    event: u64,
    about: Option<(&About, Digest)>,
    now: Timestamp,
) -> Result<Result<Certificate, Refusal>, Fault> {
    let mut acknowledged = Vec::new();
    let mut missing = Vec::new();
    for (rest, row) in tables::rows::<DeliveryRow>(view, &Key::deliveries(event), usize::MAX)? {
        let Some(member) = tables::key_text(&rest).and_then(MemberId::parse) else { continue };
        match row.ack {
            Some(receipt) => acknowledged.push(
                codec::from_slice(&receipt).map_err(|e| Fault(format!("stored acknowledgement: {e}")))?,
            ),
            None => missing.push(member),
        }
    }
    if acknowledged.is_empty() && missing.is_empty() {
        return Ok(Err(Refusal::new(
            Code::NotFound,
            format!("status entry {event} is not delivered to anybody"),
        )));
    }
    let Some(registry) = registry_at(view, event)? else {
        let why = format!("this store does not tell the registry in force at status entry {event}");
        return Ok(Err(Refusal::new(Code::NotFound, why)));
    };
    let receipt = notice(context, view, event)?;
    let told = receipt.verify(&context.registry).and_then(|proven| {
        let due = timer::deadline(context, &context.own.id, Duty::Acknowledge, proven.entry.at);
        Ok((status_fact(&context.registry, &proven)?, due))
    });
    let (fact, due) = match told {
        Ok(told) => told,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let (record, case) = match &fact {
        StatusFact::Changed(changed) => (changed.record, None),
        StatusFact::NotGranted(not) => (not.record, Some(not.case)),
        other => (other.page().map_or(RecordId([0; 32]), |said| said.record), None),
    };
    if about.is_some_and(|(about, _)| about.record(context) != record) {
        return Ok(Err(certificate::other_matter(&record, event)));
    }
    let case: Option<Case> = case.map_or(Ok(None), |case| tables::row(view, &Key::case(&case)))?;
    let declined = matches!(case, Some(Case::Decided(decided)) if decided.declined);
    let about = about.map(|(about, salt)| (about.commitment(&salt), salt));
    let beside = Beside { due, declined, about };
    Ok(Ok(Certificate::draw_up(context, receipt, acknowledged, missing, registry, beside, now)))
}

/// Version and digest of the registry that this member decided under at an own status entry, as its log says.
pub(crate) fn registry_at(view: &dyn View, event: u64) -> Result<Option<(u64, Digest)>, Fault> {
    let (from, to) = (Key::adopted(0), Key::adopted(event));
    let found = view.scan(Space::Row, from.as_bytes(), Some(to.as_bytes()), usize::MAX)?;
    let last = found.last().map(|(key, bytes)| tables::decode(key, bytes));
    last.transpose()
}

/// Every case decided here, every application taken here, and every erasure that is due.
pub fn cases(context: &Context, view: &dyn View) -> Result<Response, Fault> {
    let cases: Vec<Case> =
        tables::rows::<Case>(view, &Key::cases(), usize::MAX)?.into_iter().map(|(_, c)| c).collect();
    let mut matters = Vec::new();
    for record in cases.iter().map(Case::record).collect::<BTreeSet<_>>() {
        let row = tables::row::<RecordRow>(view, &Key::record(&record))?;
        let sealed = row.map(|row| tables::payload(view, row.newest.slot)).transpose()?.flatten();
        let facts = sealed.map(|sealed| sealed.facts);
        matters.extend(facts.map(|facts| CaseMatter { record, item: facts.item, decided: facts.decided }));
    }
    let mut forwarded = Vec::new();
    for (rest, row) in tables::rows::<ForwardRow>(view, &Key::forwards(), usize::MAX)? {
        let Ok(application) = rest.try_into().map(CaseId) else { continue };
        let outcome = match &row.case {
            Some(case) => tables::row(view, &Key::outcome(&row.to, case))?,
            None => None,
        };
        let standing: Option<Standing> = tables::row(view, &Key::standing(&row.to, &row.record))?;
        let ended = standing.filter(Standing::has_ended).map(|standing| standing.status());
        let on_its_way = row.case.is_none() && row.refused.is_none();
        let due = repair::forward_due(context, &row).filter(|_| on_its_way);
        let ForwardRow { to, case, refused, since, clerk, matter, record, .. } = row;
        forwarded.push(Forwarded {
            application,
            to,
            case,
            refused,
            outcome,
            since,
            clerk,
            matter,
            due,
            ended,
            record,
        });
    }
    let mut erasures = Vec::new();
    for (rest, row) in tables::rows::<ErasureRow>(view, &Key::erasures(), usize::MAX)? {
        let Ok(record) = rest.try_into().map(RecordId) else { continue };
        let ErasureRow { authority, since, due, retention, .. } = row;
        erasures.push(DueErasure { record, authority, since, due, retention });
    }
    Ok(Response::Cases { cases, forwarded, erasures, matters })
}

/// A record's standing as this member knows it.
pub fn record_status(context: &Context, view: &dyn View, record: RecordId) -> Result<RecordStatus, Fault> {
    let row: Option<RecordRow> = tables::row(view, &Key::record(&record))?;
    let mut standing = Vec::new();
    for member in context.registry.active() {
        if let Some(known) = tables::row::<Standing>(view, &Key::standing(&member.id, &record))? {
            standing.push((member.id.clone(), known.status()));
        }
    }
    Ok(RecordStatus {
        record,
        authority: row.as_ref().map(|row| authority(view, row)).transpose()?.flatten(),
        version: row.map(|r| r.newest.index),
        standing,
        publication: push::pushes(context, view, Some(record))?.pop(),
    })
}

/// How many applications taken here are on their way to their authority, later on `today` than they may.
pub fn applications_overdue(context: &Context, view: &dyn View, today: Date) -> Result<u64, Fault> {
    let rows = tables::rows::<ForwardRow>(view, &Key::forwards(), usize::MAX)?;
    let late = |row: &ForwardRow| {
        let due = repair::forward_due(context, row).filter(|_| row.case.is_none() && row.refused.is_none());
        due.is_some_and(|due| due.date < today)
    };
    Ok(rows.iter().filter(|(_, row)| late(row)).count() as u64)
}

/// When the newest version of a record was collected, by this member's log.
pub(crate) fn version_time(view: &dyn View, record: &RecordId) -> Result<Option<Timestamp>, Fault> {
    let Some(row) = tables::row::<RecordRow>(view, &Key::record(record))? else { return Ok(None) };
    Ok(LogName::Records.entry(view, row.newest.index)?.map(|entry| entry.at))
}

/// The authority that a record's entry names.
pub(crate) fn authority(view: &dyn View, row: &RecordRow) -> Result<Option<MemberId>, Fault> {
    Ok(match LogName::Records.entry(view, row.newest.index)?.map(|entry| entry.fact) {
        Some(Fact::Recorded(recorded)) => Some(recorded.authority),
        _ => None,
    })
}

/// Whether a record was erased here; `None` when this member never held it.
pub fn is_erased(view: &dyn View, record: &RecordId) -> Result<Option<bool>, Fault> {
    Ok(tables::row::<RecordRow>(view, &Key::record(record))?.map(|row| row.erased))
}

/// The versions of a record that is not erased, for an erasure.
pub fn versions_of(view: &dyn View, record: &RecordId) -> Result<Option<Vec<Version>>, Fault> {
    Ok(tables::row::<RecordRow>(view, &Key::record(record))?.filter(|r| !r.erased).map(|r| r.versions()))
}

/// Deliveries without an acknowledgement.
pub fn pending(view: &dyn View) -> Result<u64, Fault> {
    let rows = tables::rows::<DeliveryRow>(view, &Key::all_deliveries(), usize::MAX)?;
    Ok(rows.iter().filter(|(_, row)| row.ack.is_none()).count() as u64)
}

/// Withdrawn records that are not erased yet, and those over their retention of which people decide.
pub fn erasures_due(view: &dyn View) -> Result<u64, Fault> {
    Ok(tables::rows::<ErasureRow>(view, &Key::erasures(), usize::MAX)?.len() as u64)
}

/// The departments registered here.
pub fn sources(view: &dyn View) -> Result<Vec<String>, Fault> {
    let rows = tables::rows::<()>(view, &Key::sources(), usize::MAX)?;
    Ok(rows.into_iter().map(|(rest, ())| String::from_utf8_lossy(&rest).into_owned()).collect())
}

/// Quality per department and item, over every file handed in.
pub fn quality(view: &dyn View) -> Result<Vec<QualityLine>, Fault> {
    let mut lines: BTreeMap<(String, String), QualityLine> = BTreeMap::new();
    for (rest, report) in tables::rows::<SubmitReport>(view, &Key::files(), usize::MAX)? {
        let Some(source) = tables::key_text(&rest) else { continue };
        let Some(item) = tables::key_text(&rest[1 + source.len()..]) else { continue };
        let line = lines.entry((source.to_owned(), item.to_owned())).or_insert_with(|| QualityLine {
            source: source.to_owned(),
            item: item.to_owned(),
            files: 0,
            rows: Default::default(),
            late: 0,
        });
        line.files += 1;
        line.rows.add(report.rows);
        line.late += report.late;
    }
    Ok(lines.into_values().collect())
}

/// The slots that the log says are erased: held against the key tree at start-up.
pub fn erased_slots(view: &dyn View) -> Result<Vec<Slot>, Fault> {
    let rows = tables::rows::<u64>(view, &Key::all_erased(), usize::MAX)?;
    Ok(rows
        .into_iter()
        .filter_map(|(rest, _)| Some(Slot(u64::from_be_bytes(rest.try_into().ok()?))))
        .collect())
}
