//! Every fact a log can hold, past tense. Commitments, opaque ids, catalog codes and times; never a value.
//!
//! One shape for all three logs: `prev` chains an entry to the one before it, `at` is the member's clock, `fact` says
//! what happened. `docs/DATA.md` lists the facts with their bytes.

mod publication;

use crypto::{
    Bytes, Digest, Timestamp, codec,
    keytree::Slot,
    label::Label,
    pseudonym::SubjectLink,
    sign::{Signed, Statement},
};
use minicbor::{Decode, Encode};

use crate::{
    catalog::{Mode, Purpose},
    grant::{GrantChange, GrantLife, GrantNews, Ordered},
    id::{CaseId, ClerkId, FieldId, ItemId, MemberId, QuestionId, RecordId, SourceId},
    mandate::Mandate,
    policy::RuleName,
    predicate::Kind,
    repair::{Application, Deadline},
    status::Change,
    value::Date,
};

pub use publication::{PageDay, Pushed, Taken};

/// One entry of a log.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Entry {
    /// RFC 6962 leaf hash of the entry before this one; zero for the first.
    #[n(0)]
    pub prev: Digest,
    /// When it was decided, by the member's clock.
    #[n(1)]
    pub at: Timestamp,
    /// What happened.
    #[n(2)]
    pub fact: Fact,
}

impl Entry {
    /// The bytes that enter the log.
    pub fn to_bytes(&self) -> Vec<u8> {
        codec::to_vec(self)
    }

    /// Reads an entry's canonical bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, codec::CodecError> {
        codec::from_slice(bytes)
    }
}

/// What happened. Facts 0 to 9 stand in `records`, 10 to 19 in `status`, 20 to 29 in `access`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Fact {
    /// A record version was collected and sealed.
    #[n(0)]
    Recorded(#[n(0)] Recorded),
    /// A run of `Recorded` entries is complete; the author's signature over all of them.
    #[n(1)]
    Batched(#[n(0)] Signed<Batch>),
    /// A record version's key was destroyed.
    #[n(2)]
    Erased(#[n(0)] Erased),
    /// Something others must act on, or have acted on. Signed on its own, because it travels alone.
    #[n(10)]
    Status(#[n(0)] Signed<StatusFact>),
    /// Fields were disclosed.
    #[n(20)]
    Disclosed(#[n(0)] Disclosed),
    /// A question was refused as a whole.
    #[n(21)]
    Refused(#[n(0)] Refused),
    /// An outlet passed a question on.
    #[n(22)]
    Relayed(#[n(0)] Relayed),
    /// This member asked.
    #[n(23)]
    Asked(#[n(0)] Asked),
    /// This member received and verified an answer.
    #[n(24)]
    Received(#[n(0)] Received),
    /// Entries of a log of this member were read over HTTP.
    #[n(25)]
    Read(#[n(0)] Read),
    /// An auditor is told whom accesses are about: in its own log before it asks, in the member's before it is told, there
    /// with the rule that allows it.
    #[n(26)]
    Mandated(#[n(0)] Signed<Mandate>, #[n(1)] Option<RuleName>),
    /// A record is on its way to the member that publishes it, by a duty that a rule sets.
    #[n(27)]
    Pushed(#[n(0)] Pushed),
    /// This member has received and verified a record that it is to publish.
    #[n(28)]
    Taken(#[n(0)] Taken),
    /// Questions of one asker were refused with a code, before any rule was asked.
    #[n(29)]
    TurnedAway(#[n(0)] TurnedAway),
}

impl Fact {
    /// Who asked, of an answered or refused question.
    pub fn asked_by(&self) -> Option<&AskedBy> {
        match self {
            Self::Disclosed(disclosed) => Some(&disclosed.asked),
            Self::Refused(refused) => Some(&refused.asked),
            _ => None,
        }
    }

    /// By which its subject finds it, of an entry that tells somebody about a subject or refuses to.
    pub fn subject_link(&self) -> Option<&SubjectLink> {
        match self {
            Self::Pushed(pushed) => Some(&pushed.subject_link),
            other => other.asked_by().map(|asked| &asked.subject_link),
        }
    }
}

/// A record version: what the ledger commits to.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Recorded {
    /// The record, the same at every member.
    #[n(0)]
    pub record: RecordId,
    /// Its catalog item.
    #[n(1)]
    pub item: ItemId,
    /// Catalog version it was read under.
    #[n(2)]
    pub catalog: u32,
    /// The member whose status log decides its standing.
    #[n(3)]
    pub authority: MemberId,
    /// Key slot of this version.
    #[n(4)]
    pub slot: Slot,
    /// Root over the field commitments.
    #[n(5)]
    pub fields_root: Digest,
    /// Index of the version this one amends.
    #[n(6)]
    pub supersedes: Option<u64>,
}

/// The signed close of a submission (存证): covers `count` entries from `first` by one root.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Batch {
    /// Index of the first entry.
    #[n(0)]
    pub first: u64,
    /// Number of entries; may be 0 when a file brought nothing new.
    #[n(1)]
    pub count: u64,
    /// RFC 6962 root over the leaf hashes of those entries.
    #[n(2)]
    pub root: Digest,
    /// The department that handed the file in.
    #[n(3)]
    pub source: SourceId,
    /// The catalog item of the file.
    #[n(4)]
    pub item: ItemId,
    /// BLAKE3 digest of the file's bytes.
    #[n(5)]
    pub file: Digest,
    /// Rows of the file: new, amended, duplicate, rejected.
    #[n(6)]
    pub rows: RowCounts,
}

/// How the rows of a file fared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct RowCounts {
    /// Sealed as new records.
    #[n(0)]
    pub accepted: u64,
    /// Sealed as new versions of known records.
    #[n(1)]
    pub amended: u64,
    /// Known already with the same content.
    #[n(2)]
    pub duplicate: u64,
    /// Refused, with reasons in the report.
    #[n(3)]
    pub rejected: u64,
    /// Taken because the operator confirmed their numbers: another act than one that has ended, or an earlier content
    /// that is to hold again. Absent where there is none.
    #[n(4)]
    pub confirmed: Option<u64>,
}

impl RowCounts {
    /// Adds the rows of another part of the same file.
    pub fn add(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.amended += other.amended;
        self.duplicate += other.duplicate;
        self.rejected += other.rejected;
        self.confirmed = match (self.confirmed, other.confirmed) {
            (Some(a), Some(b)) => Some(a + b),
            (a, b) => a.or(b),
        };
    }
}

impl Statement for Batch {
    const LABEL: Label = Label::SignBatch;
}

/// An erasure (删除): the keys of every version of the record can no longer be derived by anybody.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Erased {
    /// The record.
    #[n(0)]
    pub record: RecordId,
    /// Its versions: index and punctured slot of each, the newest last.
    #[n(1)]
    pub versions: Vec<Version>,
    /// Legal reason, in 1 to 200 bytes.
    #[n(2)]
    pub reason: String,
    /// Digest of the key tree before.
    #[n(3)]
    pub tree_before: Digest,
    /// Digest of the key tree after.
    #[n(4)]
    pub tree_after: Digest,
}

/// One version of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Version {
    /// Index of its `Recorded` entry.
    #[n(0)]
    pub index: u64,
    /// Its key slot.
    #[n(1)]
    pub slot: Slot,
}

/// A statement of a member's status log.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum StatusFact {
    /// The authority changed a record's standing.
    #[n(0)]
    Changed(#[n(0)] Changed),
    /// A counter received an application, as it signed it for the authority.
    #[n(1)]
    Applied(#[n(0)] Signed<Application>),
    /// The authority accepted an application.
    #[n(2)]
    Accepted(#[n(0)] CaseStep),
    /// The authority did not grant it; the record stays.
    #[n(3)]
    NotGranted(#[n(0)] NotGranted),
    /// This member has verified another member's change and acts on it.
    #[n(4)]
    Acknowledged(#[n(0)] Acknowledged),
    /// The collector's subject revoked a grant; in its own signed order, where it has a key of its own.
    #[n(5)]
    GrantRevoked(#[n(0)] Digest, #[n(1)] Option<Ordered>),
    /// This member decides under a registry from here on: version and digest.
    #[n(6)]
    RegistryAdopted(#[n(0)] u64, #[n(1)] Digest),
    /// The collector's subject paused a grant.
    #[n(7)]
    GrantPaused(#[n(0)] Digest, #[n(1)] Option<Ordered>),
    /// The collector's subject lets a paused grant be used again.
    #[n(8)]
    GrantResumed(#[n(0)] Digest, #[n(1)] Option<Ordered>),
    /// The authority took an application: the first of a case opens it, a further one joins it.
    #[n(10)]
    Joined(#[n(0)] Joining),
    /// The authority assigned a case to a clerk.
    #[n(11)]
    Assigned(#[n(0)] Assigned),
    /// The collector signed a grant, or took one that its subject had signed.
    #[n(20)]
    GrantIssued(#[n(0)] GrantIssued),
    /// The validity of a grant of this collector is over.
    #[n(21)]
    GrantExpired(#[n(0)] Digest),
    /// A grant has been used as often as it allows: said by the member that answered the last question, and once more by the
    /// outlet.
    #[n(22)]
    GrantUsedUp(#[n(0)] GrantUsedUp),
    /// The collector no longer vouches for a subject's key, by the digest of subject and key: every grant that the key has
    /// signed is over, whoever has vouched for it.
    #[n(23)]
    KeyWithdrawn(#[n(0)] Digest),
    /// This member has published a record (公示).
    #[n(12)]
    Published(#[n(0)] PageDay),
    /// This member has taken down what it had published of a record (停止公示).
    #[n(13)]
    TakenDown(#[n(0)] PageDay),
}

impl StatusFact {
    /// The statement that changes a grant, by its subject's own signed order where there is one.
    pub fn of_grant(grant: Digest, change: GrantChange, ordered: Option<Ordered>) -> Self {
        match change {
            GrantChange::Pause => Self::GrantPaused(grant, ordered),
            GrantChange::Resume => Self::GrantResumed(grant, ordered),
            GrantChange::Revoke => Self::GrantRevoked(grant, ordered),
        }
    }

    /// The grant it is about, or of a withdrawn key that key, and what it tells of it; `None` for every other statement.
    pub fn grant(&self) -> Option<(&Digest, GrantNews)> {
        match self {
            Self::GrantIssued(issued) => Some((&issued.grant, GrantNews::Issued)),
            Self::GrantPaused(grant, _) => Some((grant, GrantNews::Paused)),
            Self::GrantResumed(grant, _) => Some((grant, GrantNews::Resumed)),
            Self::GrantRevoked(grant, _) => Some((grant, GrantNews::Revoked)),
            Self::GrantExpired(grant) => Some((grant, GrantNews::Expired)),
            Self::GrantUsedUp(used) => Some((&used.grant, GrantNews::UsedUp)),
            Self::KeyWithdrawn(key) => Some((key, GrantNews::KeyWithdrawn)),
            _ => None,
        }
    }

    /// The life that this statement alone, entry `index` of a collector's status log, gives one of its grants, or a key;
    /// `None` for every other statement, and for a use-up, which is not the collector's to say.
    pub fn grant_life(&self, index: u64) -> Option<(&Digest, GrantLife)> {
        let paused = |on, ordered: &Option<Ordered>| GrantLife::of_pause(on, index, *ordered);
        match self {
            Self::GrantIssued(issued) => Some((&issued.grant, GrantLife::of_issue(index, issued.tag))),
            Self::GrantPaused(grant, ordered) => Some((grant, paused(true, ordered))),
            Self::GrantResumed(grant, ordered) => Some((grant, paused(false, ordered))),
            Self::GrantRevoked(grant, _) | Self::KeyWithdrawn(grant) => {
                Some((grant, GrantLife::of_revocation(index)))
            }
            Self::GrantExpired(grant) => Some((grant, GrantLife::of_expiry(index))),
            _ => None,
        }
    }
}

/// A grant as its collector writes it down. Nothing here names its subject, and nobody can guess the digest: the grant has
/// a random id.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct GrantIssued {
    /// Digest of the signed grant.
    #[n(0)]
    pub grant: Digest,
    /// Who may ask on it, and is told what becomes of it.
    #[n(1)]
    pub grantee: MemberId,
    /// First moment after its validity.
    #[n(2)]
    pub not_after: Timestamp,
    /// Of a grant that its subject has signed: a tag of its key that its collector alone can test. The key itself, or its
    /// binding, would tell every reader which grants are of one subject.
    #[n(3)]
    pub tag: Option<Digest>,
}

/// The end of a grant by use.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct GrantUsedUp {
    /// Digest of the signed grant.
    #[n(0)]
    pub grant: Digest,
    /// Its collector.
    #[n(1)]
    pub collector: MemberId,
    /// Who asked on it.
    #[n(2)]
    pub grantee: MemberId,
    /// Digest of the signed question that was the last: every member may still answer it.
    #[n(3)]
    pub question: Digest,
}

impl Statement for StatusFact {
    const LABEL: Label = Label::SignStatus;
}

/// A change of standing by the record's authority.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Changed {
    /// The record.
    #[n(0)]
    pub record: RecordId,
    /// What changes.
    #[n(1)]
    pub change: Change,
    /// The case it comes from, where there is one.
    #[n(2)]
    pub case: Option<CaseId>,
    /// The rule set decided under, or the legal ground in words; at most 200 bytes, and no personal data.
    #[n(3)]
    pub rule: String,
    /// SHA-256 of the paper it rests on, kept by the authority: of a mask the court's ruling.
    #[n(4)]
    pub paper: Option<Digest>,
    /// Who granted the repair at the authority, a pseudonymous id; absent where nobody was named.
    #[n(5)]
    pub clerk: Option<ClerkId>,
    /// Of a change that ends a record with a day of decision: the mark of the act ([`crypto::pseudonym::ended_mark`]), by which a
    /// public platform knows it again under another number.
    #[n(6)]
    pub act: Option<Digest>,
}

/// An application as the authority took it into a case. With it the case comes back from the log alone.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Joining {
    /// The case it opened or joined; the counter chose the id of the first application only.
    #[n(0)]
    pub case: CaseId,
    /// What the counter signed, without its signature, which stands in the counter's log.
    #[n(1)]
    pub application: Application,
    /// Digest of the application as signed.
    #[n(2)]
    pub digest: Digest,
    /// Last day for acceptance, of the first application and where the rule set gives one.
    #[n(3)]
    pub due: Option<Deadline>,
}

/// Acceptance of a case.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct CaseStep {
    /// The case.
    #[n(0)]
    pub case: CaseId,
    /// The record it is about.
    #[n(1)]
    pub record: RecordId,
    /// Digest of the application; of the first one, where several joined.
    #[n(2)]
    pub application: Digest,
    /// Last day for the decision, where the rule set gives one.
    #[n(4)]
    pub due: Option<Deadline>,
    /// Who accepted it, a pseudonymous id; absent where nobody was named.
    #[n(5)]
    pub clerk: Option<ClerkId>,
}

/// That the next steps of a case are a clerk's from here on.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Assigned {
    /// The case.
    #[n(0)]
    pub case: CaseId,
    /// The clerk, a pseudonymous id.
    #[n(1)]
    pub clerk: ClerkId,
}

/// A repair that was not granted.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct NotGranted {
    /// The case.
    #[n(0)]
    pub case: CaseId,
    /// The record it is about.
    #[n(1)]
    pub record: RecordId,
    /// Digest of the application; of the first one, where several joined.
    #[n(2)]
    pub application: Digest,
    /// Why. At most 200 bytes, and no personal data.
    #[n(3)]
    pub reason: String,
    /// The rule set decided under.
    #[n(5)]
    pub rule: String,
    /// The material was false, and its subject may not apply again for a time.
    #[n(6)]
    pub ban: Option<Ban>,
    /// Who decided, a pseudonymous id; absent where nobody was named.
    #[n(7)]
    pub clerk: Option<ClerkId>,
}

/// That a subject may not apply again for a time, in a form that names the subject to those alone who hold a record of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Ban {
    /// Its last day.
    #[n(0)]
    pub until: Date,
    /// Keyed digest of the case under the subject's tag ([`crypto::pseudonym::ban_mark`]): no two bans of one subject can be
    /// linked without the tag, and with it each is recognised.
    #[n(1)]
    pub mark: Digest,
    /// The same under the subject's pseudonym in the federation: every public platform recognises by it the subject of a
    /// record that it holds, and nobody else. Absent in entries that hold at their author alone.
    #[n(2)]
    pub everywhere: Option<Digest>,
}

/// Verified and acted on.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Acknowledged {
    /// The member whose entry it is.
    #[n(0)]
    pub origin: MemberId,
    /// Index of the entry in the origin's status log.
    #[n(1)]
    pub index: u64,
    /// Leaf hash of the entry.
    #[n(2)]
    pub leaf: Digest,
    /// The statement in it, encoded, from who keeps no copy of that log: so it comes back with this member's own. Absent from a
    /// public platform.
    #[n(3)]
    pub said: Option<Bytes>,
}

/// What one permitted asker received. Source of the mandatory parts (time, who asked, who authorised, proof of
/// authorisation): 深圳经济特区社会信用条例 art. 45.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Disclosed {
    /// The question.
    #[n(0)]
    pub asked: AskedBy,
    /// Records disclosed, in the order of the answer.
    #[n(1)]
    pub records: Vec<DisclosedRecord>,
    /// Fields withheld by policy, each with its rule. Without a record, so it does not tell what exists.
    #[n(2)]
    pub withheld: Vec<Withheld>,
    /// Whether more records may be disclosed than one answer holds; the newest are given.
    #[n(3)]
    pub more: bool,
    /// Predicates judged, in the order of the question. Nothing here tells how one came out, or whether there was a record
    /// to judge it on.
    #[n(4)]
    pub checks: Vec<Judged>,
    /// Days from this entry on which the asker may keep what it received, as its grant says; absent where it has none,
    /// and the law alone ends it. So long it is told of whatever happens to the records.
    #[n(5)]
    pub keep_days: Option<u32>,
}

/// A predicate judged, and a commitment to what was told of it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Judged {
    /// Its place among the question's checks, from 0.
    #[n(0)]
    pub check: u16,
    /// The item.
    #[n(1)]
    pub item: ItemId,
    /// The field.
    #[n(2)]
    pub field: FieldId,
    /// Its kind; what it compared with stands in the question alone.
    #[n(3)]
    pub kind: Kind,
    /// The rule that allows it.
    #[n(4)]
    pub rule: RuleName,
    /// Salted commitment to outcome and records ([`crate::disclosure::CheckOpening`]).
    #[n(5)]
    pub outcome: Digest,
}

/// A question refused as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Refused {
    /// The question.
    #[n(0)]
    pub asked: AskedBy,
    /// Per field asked, the rule that withholds it.
    #[n(1)]
    pub withheld: Vec<Withheld>,
}

/// Who asked, for what, on whose word.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct AskedBy {
    /// Idempotency key of the question.
    #[n(0)]
    pub id: QuestionId,
    /// Digest of the signed question.
    #[n(1)]
    pub question: Digest,
    /// The asker's signature over it, 64 bytes: with the question from the asker's file it proves who asked.
    #[n(2)]
    pub signature: Bytes,
    /// The asking member.
    #[n(3)]
    pub asker: MemberId,
    /// Its clerk.
    #[n(4)]
    pub clerk: ClerkId,
    /// The outlet it came through.
    #[n(5)]
    pub via: Option<MemberId>,
    /// For what.
    #[n(6)]
    pub purpose: Purpose,
    /// On whose word.
    #[n(7)]
    pub basis: BasisRef,
    /// The subject's n-th access at this member; only the subject can link it.
    #[n(8)]
    pub subject_link: SubjectLink,
    /// Registry version decided under.
    #[n(9)]
    pub registry: u64,
}

/// Reference to the legal basis.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum BasisRef {
    /// Digest of the signed grant and its collector.
    #[n(0)]
    Grant(#[n(0)] Digest, #[n(1)] MemberId),
    /// The article.
    #[n(1)]
    Duty(#[n(0)] String),
    /// None was given.
    #[n(2)]
    None,
    /// SHA-256 of the application that the subject signed at the asker's counter.
    #[n(3)]
    Own(#[n(0)] Digest),
}

/// One disclosed record.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct DisclosedRecord {
    /// Index of the record version in this member's `records` log.
    #[n(0)]
    pub version: u64,
    /// Whether the record carried the dispute mark.
    #[n(1)]
    pub disputed: bool,
    /// Fields and how much was said of each, ascending.
    #[n(2)]
    pub fields: Vec<DisclosedField>,
    /// The record: who received it is to be told of its repair, whatever version they received.
    #[n(3)]
    pub record: RecordId,
}

/// One disclosed field.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct DisclosedField {
    /// The field.
    #[n(0)]
    pub field: FieldId,
    /// How much was said.
    #[n(1)]
    pub mode: Mode,
    /// The rule that allows it.
    #[n(2)]
    pub rule: RuleName,
    /// Of a masked form: the salted commitment to it ([`crate::disclosure::mask_commitment`]). A value needs none: the
    /// record commits to it.
    #[n(3)]
    pub mask: Option<Digest>,
}

/// A field withheld, and by which rule.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Withheld {
    /// The item.
    #[n(0)]
    pub item: ItemId,
    /// The field.
    #[n(1)]
    pub field: FieldId,
    /// The rule.
    #[n(2)]
    pub rule: RuleName,
    /// When it is a predicate that is withheld: its place among the question's checks, from 0.
    #[n(3)]
    pub check: Option<u16>,
}

/// Questions that one asker signed and one sender brought, refused with one code. A line stands for every such question since
/// the line of this kind before it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct TurnedAway {
    /// Digest of the newest of them, as signed.
    #[n(0)]
    pub question: Digest,
    /// Who signed them.
    #[n(1)]
    pub asker: MemberId,
    /// Who sent them: the asker, an outlet, or somebody who had no business with them.
    #[n(2)]
    pub caller: MemberId,
    /// The code.
    #[n(3)]
    pub code: String,
    /// How many, at least 1.
    #[n(4)]
    pub count: u64,
}

/// An outlet's own line about a question.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Relayed {
    /// Digest of the question.
    #[n(0)]
    pub question: Digest,
    /// The asker.
    #[n(1)]
    pub asker: MemberId,
    /// The members it was passed to.
    #[n(2)]
    pub to: Vec<MemberId>,
}

/// An asker's own line about a question it asked.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Asked {
    /// Digest of the question.
    #[n(0)]
    pub question: Digest,
    /// Its clerk.
    #[n(1)]
    pub clerk: ClerkId,
    /// For what.
    #[n(2)]
    pub purpose: Purpose,
    /// The outlet asked.
    #[n(3)]
    pub outlet: MemberId,
}

/// An asker's own line about an answer: the mirror image of the answering member's entry.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Received {
    /// Digest of the question.
    #[n(0)]
    pub question: Digest,
    /// The answering member.
    #[n(1)]
    pub from: MemberId,
    /// Index of the answering member's access entry.
    #[n(2)]
    pub index: u64,
    /// Leaf hash of that entry.
    #[n(3)]
    pub leaf: Digest,
    /// The records received.
    #[n(4)]
    pub records: Vec<RecordId>,
}

/// Entries were read over HTTP with a reading pass: written before the first byte leaves, once for a pass and a log as far as
/// it then went, not for every tile.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Read {
    /// Who reads.
    #[n(0)]
    pub reader: MemberId,
    /// Digest of the signed pass.
    #[n(1)]
    pub pass: Digest,
    /// Whose log: this member's own, or one it keeps a copy of.
    #[n(2)]
    pub owner: MemberId,
    /// Name of the log.
    #[n(3)]
    pub log: String,
    /// Entries it had: what the pass may read from here on without another line.
    #[n(4)]
    pub size: u64,
}
