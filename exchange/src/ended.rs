//! What has ended does not come back under another name.
//!
//! A record's standing belongs to its id, and the id to a document number and an authority. The same act under a number in
//! another form, or under the member that answers for its body since, has another id. So whoever says that a record ends
//! says the mark of its subject, item and day of decision; it is kept at every member that has heard it, and comes back
//! with the logs. A new record that would fall on one is given back, and people say what it is. A row is read for every new
//! record: one look-up that finds nothing.
//!
//! *Not here*: the forms of a number that are surely the same ([`credit::normalize::document_form`]). The deciding body is not
//! part of a mark: it lies in a sealed field, and two acts of one day about one subject are rare enough to be asked about.

use credit::{
    entry::{Changed, Fact, StatusFact},
    id::{ItemId, RecordId},
    record::RecordFacts,
    status::Standing,
    value::Date,
};
use crypto::{
    Digest, codec,
    pseudonym::{self, SubjectPseudonym},
};

use crate::{
    context::Context,
    logs::LogName,
    refusal::{Fault, Halt},
    tables::{self, Key, RecordRow},
    turn::Turn,
};

/// Says as its authority that a record's standing changes: the entry's index and leaf hash. Where that ends the record the
/// entry names its mark.
pub fn say(context: &Context, turn: &mut Turn<'_>, changed: Changed) -> Result<(u64, Digest), Halt> {
    let act = match Standing::of(changed.change, 0).has_ended() {
        true => held(turn, &changed.record)?,
        false => None,
    };
    let signed = context.sign(turn.now, &StatusFact::Changed(Changed { act, ..changed }));
    turn.append(context, LogName::Status, Fact::Status(signed))
}

/// The mark of a record by its newest version that is held; `None` for items without a decision, and where its subject is
/// not known: a record that was restored from a peer has none until a file brings it again.
fn held(turn: &Turn<'_>, record: &RecordId) -> Result<Option<Digest>, Fault> {
    let Some(row) = turn.row::<RecordRow>(&Key::record(record))? else { return Ok(None) };
    let Some(subject) = row.subject else { return Ok(None) };
    for version in row.versions().iter().rev() {
        if let Some(sealed) = tables::payload(turn.view(), version.slot)? {
            return Ok(mark(&subject, &sealed.facts.item, sealed.facts.decided));
        }
    }
    Ok(None)
}

/// `None` for items without a decision.
fn mark(subject: &SubjectPseudonym, item: &ItemId, decided: Option<Date>) -> Option<Digest> {
    Some(pseudonym::ended_mark(subject, item.as_str(), &codec::to_vec(&decided?)))
}

/// Keeps a mark that somebody has said.
pub fn keep(turn: &mut Turn<'_>, act: &Digest) {
    turn.put(&Key::ended(act), &());
}

/// Keeps the mark of a version of a record that has ended.
pub fn keep_of(turn: &mut Turn<'_>, subject: &SubjectPseudonym, facts: &RecordFacts) {
    if let Some(act) = mark(subject, &facts.item, facts.decided) {
        keep(turn, &act);
    }
}

/// Whether a record of this subject, item and day of decision has ended.
pub fn is_marked(turn: &Turn<'_>, subject: &SubjectPseudonym, facts: &RecordFacts) -> Result<bool, Fault> {
    match mark(subject, &facts.item, facts.decided) {
        Some(act) => Ok(turn.row::<()>(&Key::ended(&act))?.is_some()),
        None => Ok(false),
    }
}
