//! A plain record to a sealed one, and back field by field.
//!
//! Sealing is the last place that holds a record in clear: what leaves here is ciphertext, one root over salted
//! commitments, and keyed identifiers.

use crypto::{
    Bytes, Digest, codec,
    commit::{self, FieldsProof, Opening},
    keytree::Slot,
    label::Label,
    pseudonym::{self, SubjectPseudonym, SubjectTag},
    seal::{RecordKey, SealError},
    secret::Secret,
};
use minicbor::{Decode, Encode};
use zeroize::Zeroizing;

use crate::{
    csv::PlainRecord,
    id::{FieldId, ItemId, MemberId, RecordId},
    normalize::document_form,
    rules::{AuthorityKind, Tier},
    subject::SubjectId,
    value::{Date, Value},
};

/// Field 0 of every record is its subject, so that an opened record proves whom it is about.
pub const SUBJECT_FIELD: FieldId = FieldId(0);

/// The secrets that turn identities into keyed identifiers.
#[derive(Clone)]
pub struct NamingKeys {
    /// The federation's record key: the same penalty gets the same id at every node.
    pub record: Secret,
    /// The node's own pepper for subject tags.
    pub pepper: Secret,
}

impl NamingKeys {
    /// The id of a record: keyed BLAKE3 over authority, item, document number and subject. The number is in normal form and
    /// counts as [`document_form`] writes it, so that another way to write it is not another record.
    pub fn record_id(
        &self,
        authority: &MemberId,
        item: &ItemId,
        document: &str,
        subject: &SubjectId,
    ) -> RecordId {
        let document = Zeroizing::new(document_form(document));
        let parts: [&[u8]; 4] = [
            authority.as_str().as_bytes(),
            item.as_str().as_bytes(),
            document.as_bytes(),
            subject.as_str().as_bytes(),
        ];
        RecordId(pseudonym::keyed(&self.record, Label::RecordId, &parts))
    }

    /// The node's private index key of a subject.
    pub fn subject_tag(&self, subject: &SubjectId) -> SubjectTag {
        pseudonym::subject_tag(&self.pepper, subject.as_str())
    }

    /// The subject's pseudonym in the federation, the same at every public platform.
    pub fn subject_pseudonym(&self, subject: &SubjectId) -> SubjectPseudonym {
        SubjectPseudonym(pseudonym::keyed(
            &self.record,
            Label::SubjectPseudonym,
            &[subject.as_str().as_bytes()],
        ))
    }

    /// A keyed digest of a record's whole content: equal content is a duplicate, other content an amendment.
    pub fn content_tag(&self, contents: &Contents) -> Digest {
        let whole: Zeroizing<Vec<u8>> =
            Zeroizing::new(contents.0.iter().flat_map(|(_, content)| content.iter().copied()).collect());
        Digest(pseudonym::keyed(&self.pepper, Label::ContentTag, &[&whole]))
    }
}

/// The canonical content of one field, in clear.
type Content = Zeroizing<Vec<u8>>;

/// What a record says, field by field, as committed and sealed; wiped when dropped.
pub struct Contents(Vec<(FieldId, Content)>);

impl Contents {
    /// The subject and every field that has a value, ascending.
    pub fn of(plain: &PlainRecord) -> Self {
        let subject = Value::Text(plain.subject.as_str().to_owned());
        let content = |field: FieldId, value: &Value| (field, Zeroizing::new(field_content(field, value)));
        let fields = plain.fields.iter().map(|(field, value)| content(*field, value));
        Self([content(SUBJECT_FIELD, &subject)].into_iter().chain(fields).collect())
    }
}

/// What is known of a record besides its sealed fields: it decides clocks and routing, and names nobody.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct RecordFacts {
    /// Names the record at every member.
    #[n(0)]
    pub record: RecordId,
    /// The catalog item.
    #[n(1)]
    pub item: ItemId,
    /// Version of the catalog under which it was read.
    #[n(2)]
    pub catalog: u32,
    /// The member whose status log alone decides its standing.
    #[n(3)]
    pub authority: MemberId,
    /// Key slot of this version.
    #[n(4)]
    pub slot: Slot,
    /// Day of the decision, for items that have one.
    #[n(5)]
    pub decided: Option<Date>,
    /// Tier of the matter, for items that can be repaired.
    #[n(6)]
    pub tier: Option<Tier>,
    /// Which repair rules the deciding body follows.
    #[n(7)]
    pub kind: AuthorityKind,
    /// Day of publication, where the file tells it; some rule sets count from there.
    #[n(9)]
    pub published: Option<Date>,
    /// Day on which the act or event ended, where the file tells it; retention counts from there in some regions.
    #[n(10)]
    pub ended: Option<Date>,
    /// Last day of publicity (公示截止期), where the file states it.
    #[n(11)]
    pub until: Option<Date>,
    /// Keyed digest of the whole content ([`NamingKeys::content_tag`]). The record's keys depend on it, so a slot
    /// that is handed out twice after a rollback still never seals two contents under one key.
    #[n(8)]
    pub content: Digest,
}

/// A record as the node keeps it beside the log.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct SealedRecord {
    /// Clocks and routing.
    #[n(0)]
    pub facts: RecordFacts,
    /// Root over the commitments; this is what the log holds.
    #[n(1)]
    pub fields_root: Digest,
    /// Present fields in ascending order, each sealed under its own key.
    #[n(2)]
    pub fields: Vec<SealedField>,
}

/// One sealed field.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SealedField {
    /// Which field.
    #[n(0)]
    pub field: FieldId,
    /// AES-256-GCM ciphertext of the canonical encoding of (field, value).
    #[n(1)]
    pub sealed: Bytes,
}

impl SealedRecord {
    /// Seals `contents` at `member` under `key`, the key of `facts.slot`.
    pub fn seal(contents: &Contents, facts: RecordFacts, member: &MemberId, key: &RecordKey) -> Self {
        let key = key.bound_to(&facts.content.0);
        let cipher = key.cipher(&binding(member, &facts));
        let commitment =
            |(field, content): &(FieldId, Content)| commit::commitment(&key.salt(field.0), content);
        let commitments: Vec<Digest> = contents.0.iter().map(commitment).collect();
        let sealed = |(field, content): &(FieldId, Content)| SealedField {
            field: *field,
            sealed: cipher.seal(field.0, content).into(),
        };
        let fields = contents.0.iter().map(sealed).collect();
        Self { facts, fields_root: commit::fields_root(&commitments), fields }
    }

    /// Opens `wanted` fields (those present among them) and proves them against the root.
    ///
    /// Shape: openings in ascending field order, beginning with the subject. Errors: the key is not this record's,
    /// or the stored bytes were changed.
    pub fn open(
        &self,
        wanted: &[FieldId],
        member: &MemberId,
        key: &RecordKey,
    ) -> Result<OpenedRecord, SealError> {
        let key = key.bound_to(&self.facts.content.0);
        let cipher = key.cipher(&binding(member, &self.facts));
        let mut commitments = Vec::with_capacity(self.fields.len());
        let mut openings = Vec::new();
        let mut positions = Vec::new();
        for (position, SealedField { field, sealed }) in self.fields.iter().enumerate() {
            let opening =
                Opening { salt: Digest(key.salt(field.0)), content: cipher.open(field.0, sealed)?.into() };
            commitments.push(opening.commitment());
            if *field == SUBJECT_FIELD || wanted.contains(field) {
                positions.push(position as u16);
                openings.push((*field, opening));
            }
        }
        if commit::fields_root(&commitments) != self.fields_root {
            return Err(SealError);
        }
        Ok(OpenedRecord { openings, proof: FieldsProof::build(&commitments, &positions) })
    }
}

/// Opened fields with the proof that they belong to their record.
pub struct OpenedRecord {
    /// Field and opening, ascending; the subject first.
    pub openings: Vec<(FieldId, Opening)>,
    /// Proof against the record's root.
    pub proof: FieldsProof,
}

/// The canonical content of one field, as committed: (field, value).
pub fn field_content(field: FieldId, value: &Value) -> Vec<u8> {
    codec::to_vec(&BorrowedContent { field, value })
}

/// Reads a field's content; `None` when it is not the canonical encoding of exactly that field.
pub fn read_content(field: FieldId, content: &[u8]) -> Option<Value> {
    let read: FieldContent = codec::from_slice(content).ok()?;
    (read.field == field).then_some(read.value)
}

/// As [`FieldContent`], of a value that stays where it is.
#[derive(Encode)]
struct BorrowedContent<'a> {
    #[n(0)]
    field: FieldId,
    #[n(1)]
    value: &'a Value,
}

#[derive(Encode, Decode)]
struct FieldContent {
    #[n(0)]
    field: FieldId,
    #[n(1)]
    value: Value,
}

/// What every field of a record is bound to besides its own number: member, record, catalog version, slot.
fn binding(member: &MemberId, facts: &RecordFacts) -> Vec<u8> {
    codec::to_vec(&(member, facts.record, facts.catalog, facts.slot))
}
