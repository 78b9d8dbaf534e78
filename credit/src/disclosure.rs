//! What a permitted reader receives of a field: its value with the opening of its commitment, a masked form, or the
//! outcome of a predicate with the opening of the commitment that the access entry holds.

use crypto::{
    Digest, codec,
    commit::{self, Opening},
    label::Label,
    seal::{RecordKey, SealError},
};
use minicbor::{Decode, Encode};

use crate::{
    catalog::Catalog,
    id::{FieldId, MemberId, RecordId},
    mask::Mask,
    predicate::{Outcome, Predicate},
    record::{SUBJECT_FIELD, SealedRecord, field_content, read_content},
    subject::SubjectId,
    value::Value,
};

/// A record that an outcome rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct RestsOn {
    /// The record: its repair concerns who was told the outcome.
    #[n(0)]
    pub record: RecordId,
    /// Leaf hash of the version's `Recorded` entry.
    #[n(1)]
    pub leaf: Digest,
}

impl RestsOn {
    /// Fills the places of records that an outcome does not rest on.
    const NOTHING: Self = Self { record: RecordId([0; 32]), leaf: Digest::ZERO };
}

/// What opens the commitment of a judged predicate. Its length follows from the predicate alone, so that a ciphertext tells
/// neither the outcome nor whether there was any record.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct CheckOpening {
    /// The salt, 32 bytes.
    #[n(0)]
    salt: Digest,
    /// What is told.
    #[n(1)]
    outcome: Outcome,
    /// As many as the predicate has places; the unused ones at the end are zero.
    #[n(2)]
    on: Vec<RestsOn>,
}

impl CheckOpening {
    /// The opening of `outcome`, which rests on `on`: at most as many records as the predicate has places.
    pub fn new(salt: Digest, predicate: &Predicate, outcome: Outcome, mut on: Vec<RestsOn>) -> Self {
        on.resize(predicate.places(), RestsOn::NOTHING);
        Self { salt, outcome, on }
    }

    /// SHA-256 over label, salt and CBOR \[question, place among its checks, outcome, places\].
    pub fn commitment(&self, question: &Digest, check: u16) -> Digest {
        let content =
            codec::to_vec(&Told { question: *question, check, outcome: self.outcome, on: &self.on });
        commit::told_commitment(Label::CheckOutcome, &self.salt.0, &content)
    }

    /// The records it rests on.
    pub fn rests_on(&self) -> impl Iterator<Item = &RestsOn> {
        self.on.iter().take_while(|on| **on != RestsOn::NOTHING)
    }

    /// The outcome and the records it rests on; `None` when it is not the form that [`CheckOpening::new`] makes for this
    /// predicate, or says that an outcome without a record rests on one.
    pub fn read(self, predicate: &Predicate) -> Option<(Outcome, Vec<RestsOn>)> {
        let used = self.on.iter().position(|on| *on == RestsOn::NOTHING).unwrap_or(self.on.len());
        let (on, rest) = self.on.split_at(used);
        let formed = self.on.len() == predicate.places() && rest.iter().all(|on| *on == RestsOn::NOTHING);
        let sound = formed && (self.outcome != Outcome::NotOnRecord || used == 0);
        sound.then(|| (self.outcome, on.to_vec()))
    }
}

/// What a commitment is to.
#[derive(Encode)]
struct Told<'a> {
    #[n(0)]
    question: Digest,
    #[n(1)]
    check: u16,
    #[n(2)]
    outcome: Outcome,
    #[n(3)]
    on: &'a [RestsOn],
}

/// Masks `wanted` fields of a record (those present among them), for one question: what opens the commitment to each masked
/// form, ascending. The same record and question always give the same. A field that the catalog does not have is masked by its
/// value's type.
pub fn masked(
    catalog: &Catalog,
    sealed: &SealedRecord,
    wanted: &[FieldId],
    member: &MemberId,
    key: &RecordKey,
    question: &Digest,
) -> Result<Vec<(FieldId, Opening)>, SealError> {
    // Opening reads the whole record, so it is not opened for nothing.
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let bound = key.bound_to(&sealed.facts.content.0);
    let opened = sealed.open(wanted, member, key)?;
    let item = catalog.item(&sealed.facts.item);
    let person =
        opened.openings.first().and_then(|(field, subject)| match read_content(*field, &subject.content) {
            Some(Value::Text(subject)) => SubjectId::parse(&subject).ok(),
            _ => None,
        });
    // A subject that cannot be read is masked as a person, which shows less.
    let person = person.is_none_or(|subject| subject.is_natural_person());
    let masks =
        opened.openings.iter().filter(|(field, _)| *field != SUBJECT_FIELD).filter_map(|(field, o)| {
            let mask = item.and_then(|item| item.field(*field)).map_or(Mask::Text, |field| field.mask);
            let content =
                field_content(*field, &mask.apply(&read_content(*field, &o.content)?, person)).into();
            Some((*field, Opening { salt: Digest(bound.mask_salt(question, field.0)), content }))
        });
    Ok(masks.collect())
}

/// The commitment to a masked form: SHA-256 over label, salt and CBOR \[question, index of the version, content\].
pub fn mask_commitment(question: &Digest, version: u64, opening: &Opening) -> Digest {
    let content = codec::to_vec(&(question, version, &opening.content));
    commit::told_commitment(Label::MaskOutcome, &opening.salt.0, &content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{predicate::Month, value::Date};

    #[test]
    fn an_opening_tells_its_commitment_and_nothing_by_its_length() {
        let (yes, months) =
            (Predicate::NoneSince(Date(0)), Predicate::PaidMonths(12, Month::parse("2026-03").unwrap()));
        let on = RestsOn { record: RecordId([1; 32]), leaf: Digest([2; 32]) };
        let open = |p: &Predicate, outcome, on: &[RestsOn]| {
            CheckOpening::new(Digest([9; 32]), p, outcome, on.to_vec())
        };
        for predicate in [&yes, &months] {
            let all = [
                open(predicate, Outcome::Yes, &[]),
                open(predicate, Outcome::No, &[on]),
                open(predicate, Outcome::NotOnRecord, &[]),
            ];
            let lengths: Vec<usize> = all.iter().map(|o| codec::to_vec(o).len()).collect();
            assert!(lengths.windows(2).all(|w| w[0] == w[1]), "{lengths:?}");
        }
        let opening = open(&yes, Outcome::No, &[on]);
        let commitment = opening.commitment(&Digest([3; 32]), 0);
        assert_eq!(opening.clone().read(&yes), Some((Outcome::No, vec![on])));
        // Another outcome, salt, record, question or place is another commitment.
        for other in [
            CheckOpening { outcome: Outcome::Yes, ..opening.clone() },
            CheckOpening { salt: Digest([8; 32]), ..opening.clone() },
            CheckOpening { on: vec![RestsOn::NOTHING], ..opening.clone() },
        ] {
            assert_ne!(other.commitment(&Digest([3; 32]), 0), commitment);
        }
        assert_ne!(opening.commitment(&Digest([4; 32]), 0), commitment);
        assert_ne!(opening.commitment(&Digest([3; 32]), 1), commitment);
        // Forms that nobody makes.
        assert_eq!(opening.clone().read(&months), None);
        assert_eq!(open(&yes, Outcome::NotOnRecord, &[on]).read(&yes), None);
        let mut hole = open(&months, Outcome::Yes, &[on]);
        hole.on[5] = on;
        assert_eq!(hole.read(&months), None);
    }
}
