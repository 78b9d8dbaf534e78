//! What has ended does not come back under another name.
//!
//! A record's standing belongs to its id, and the id to a document number and an authority. The same act under a number in
//! another form, or under the member that answers for its body since, has another id. So of every record held here that
//! ends, a mark of its subject, item and day of decision stays; a new record that would fall on one is given back, and
//! people say what it is. The mark is keyed, and a row of it is read for every new record: one look-up that finds nothing.
//!
//! *Not here*: the forms of a number that are surely the same ([`credit::normalize::document_form`]). The deciding body is not
//! part of a mark: it lies in a sealed field, and two acts of one day about one subject are rare enough to be asked about.

use credit::{
    id::{ItemId, MemberId, RecordId},
    record::RecordFacts,
    value::Date,
};
use crypto::{
    codec,
    pseudonym::{self, SubjectTag},
};

use crate::{
    refusal::Fault,
    tables::{self, Key, RecordRow},
    turn::Turn,
};

/// The row that says that a record of this subject, item and day has ended; `None` for items without a decision.
fn key(tag: &SubjectTag, item: &ItemId, decided: Option<Date>) -> Option<Key> {
    let day = codec::to_vec(&decided?);
    Some(Key::ended(&pseudonym::ended_mark(tag, item.as_str(), &day)))
}

/// Keeps the mark of a version of a record that has ended.
pub fn mark(turn: &mut Turn<'_>, tag: &SubjectTag, facts: &RecordFacts) {
    if let Some(key) = key(tag, &facts.item, facts.decided) {
        turn.put(&key, &());
    }
}

/// Keeps the mark of a record whose standing under `author` has just ended, if it is held here under that author and its
/// subject is known: a record that was restored from a peer has none until a file brings it again.
pub fn keep(turn: &mut Turn<'_>, author: &MemberId, record: &RecordId) -> Result<(), Fault> {
    let Some(row) = turn.row::<RecordRow>(&Key::record(record))? else { return Ok(()) };
    let Some(tag) = row.tag else { return Ok(()) };
    // The newest version may have come back from a peer, without its payload.
    for version in row.versions().iter().rev() {
        if let Some(sealed) = tables::payload(turn.view(), version.slot)? {
            if sealed.facts.authority == *author {
                mark(turn, &tag, &sealed.facts);
            }
            break;
        }
    }
    Ok(())
}

/// Whether a record of this subject, item and day of decision has ended here.
pub fn is_marked(turn: &Turn<'_>, tag: &SubjectTag, facts: &RecordFacts) -> Result<bool, Fault> {
    match key(tag, &facts.item, facts.decided) {
        Some(key) => Ok(turn.row::<()>(&key)?.is_some()),
        None => Ok(false),
    }
}
