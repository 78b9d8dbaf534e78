//! The rows a member keeps beside its logs: one table per kind, one key layout each, one place.
//!
//! Tables marked *projected* are folds over log entries ([`crate::project`]) and can be rebuilt from them; the others
//! hold what a log must not hold (sealed payloads, index keys) or work in progress.

use credit::{
    entry::{StatusFact, Version},
    id::{CaseId, ClerkId, FieldId, ItemId, MemberId, QuestionId, RecordId},
    predicate::Family,
    record::SealedRecord,
    repair::{Deadline, Matter},
    status::Change,
};
use crypto::{
    Bytes, Digest, Timestamp, codec,
    keytree::Slot,
    pseudonym::{SubjectLink, SubjectPseudonym, SubjectTag},
    sign::Signed,
};
use ledger::store::{Space, View};
use minicbor::{Decode, Encode};

use crate::{kept::KeptAt, logs::LogName, refusal::Fault};

/// A key in the row space.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(Vec<u8>);

macro_rules! tables {
    ($($(#[$doc:meta])* $name:ident = $tag:literal;)*) => {
        /// The tables; the number is the first byte of every key.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Table { $($(#[$doc])* $name = $tag,)* }

        impl Table {
            /// The table of a key; `None` for a key of no table.
            pub(crate) fn of(key: &[u8]) -> Option<(Self, &[u8])> {
                let (tag, rest) = key.split_first()?;
                match tag {
                    $($tag => Some((Self::$name, rest)),)*
                    _ => None,
                }
            }

            /// Its name.
            pub(crate) const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }
        }
    };
}

tables! {
    Record = 1;
    Index = 4;
    Standing = 5;
    File = 6;
    Counter = 7;
    Question = 8;
    Accesses = 9;
    Link = 10;
    GrantUse = 11;
    GrantLife = 12;
    Recipient = 13;
    Case = 14;
    OpenCase = 15;
    Forward = 16;
    Delivery = 17;
    Due = 18;
    Handled = 19;
    Grant = 20;
    Source = 21;
    Erased = 22;
    Registry = 23;
    Witness = 24;
    Cosigned = 25;
    Intake = 26;
    Budget = 27;
    Judged = 28;
    Relayed = 29;
    UsedUp = 30;
    Evidence = 40;
    Frozen = 41;
    CosignedNote = 42;
    Erasure = 50;
    Outcome = 51;
    Ban = 52;
    Twin = 53;
    StandingNode = 54;
    Finding = 55;
    Ended = 56;
    Counterpart = 57;
    Examined = 58;
    Push = 60;
    Copy = 61;
    Published = 62;
    TakenDown = 63;
    Asked = 70;
    Kept = 71;
    KeptGrant = 72;
    News = 73;
}

fn key(table: Table, parts: &[&[u8]]) -> Key {
    let mut key = vec![table as u8];
    for part in parts {
        key.extend_from_slice(part);
    }
    Key(key)
}

/// A text part of a key: one length byte, then the text. Ids are at most 64 bytes.
fn text(part: &str) -> Vec<u8> {
    let mut out = vec![part.len() as u8];
    out.extend_from_slice(part.as_bytes());
    out
}

impl Key {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The newest version of a record: [`RecordRow`].
    pub fn record(id: &RecordId) -> Self {
        key(Table::Record, &[&id.0])
    }
    /// Every record row.
    pub fn records() -> Self {
        key(Table::Record, &[])
    }
    /// One record of one subject under one item: `()`.
    pub fn index(tag: &SubjectTag, item: &ItemId, record: &RecordId) -> Self {
        key(Table::Index, &[&tag.0, &text(item.as_str()), &record.0])
    }
    /// Every record of one subject under one item; the last 32 bytes of a key are the record id.
    pub fn index_of(tag: &SubjectTag, item: &ItemId) -> Self {
        key(Table::Index, &[&tag.0, &text(item.as_str())])
    }
    /// A record's standing as its authority's log gives it: [`credit::status::Standing`]; projected.
    pub fn standing(authority: &MemberId, record: &RecordId) -> Self {
        key(Table::Standing, &[&text(authority.as_str()), &record.0])
    }
    /// Every standing under one authority.
    pub fn standings(authority: &MemberId) -> Self {
        key(Table::Standing, &[&text(authority.as_str())])
    }
    /// The standings under one authority whose record ids begin with these 16 bits.
    pub fn standings_in(authority: &MemberId, bucket: u16) -> Self {
        key(Table::Standing, &[&text(authority.as_str()), &bucket.to_be_bytes()])
    }
    /// A node above the standings under one authority: [`crate::summary::Children`]; projected.
    pub fn standing_node(authority: &MemberId, depth: u8, node: u16) -> Self {
        key(Table::StandingNode, &[&text(authority.as_str()), &[depth], &node.to_be_bytes()])
    }
    /// Every node above the standings under one authority.
    pub fn standing_nodes(authority: &MemberId) -> Self {
        key(Table::StandingNode, &[&text(authority.as_str())])
    }
    /// What was found last when standings were compared with a peer: [`crate::reconcile::FindingRow`].
    pub fn finding(authority: &MemberId, peer: &MemberId) -> Self {
        key(Table::Finding, &[&text(authority.as_str()), &text(peer.as_str())])
    }
    /// A record of one subject, item and day of decision has ended: `()`, by its mark ([`crate::ended`]).
    pub fn ended(mark: &Digest) -> Self {
        key(Table::Ended, &[&mark.0])
    }
    /// A file handed in before: [`crate::wire::SubmitReport`].
    pub fn file(source: &str, item: &ItemId, digest: &Digest) -> Self {
        key(Table::File, &[&text(source), &text(item.as_str()), &digest.0])
    }
    /// A file that is being taken in: [`crate::submit::IntakeRow`].
    pub fn intake(source: &str, item: &ItemId, digest: &Digest) -> Self {
        key(Table::Intake, &[&text(source), &text(item.as_str()), &digest.0])
    }
    /// Every file handed in.
    pub fn files() -> Self {
        key(Table::File, &[])
    }
    /// The next key slot: `u64`.
    pub fn next_slot() -> Self {
        key(Table::Counter, &[])
    }
    /// A question answered or refused before: [`QuestionRow`].
    pub fn question(id: &QuestionId) -> Self {
        key(Table::Question, &[&id.0])
    }
    /// The members an outlet has passed a question to, by the question's digest: `Vec<MemberId>`; projected.
    pub fn relayed(question: &Digest) -> Self {
        key(Table::Relayed, &[&question.0])
    }
    /// How often a subject has been asked about: `u64`.
    pub fn accesses(tag: &SubjectTag) -> Self {
        key(Table::Accesses, &[&tag.0])
    }
    /// Which access entry carries a link: `u64`; projected.
    pub fn link(link: &SubjectLink) -> Self {
        key(Table::Link, &[&link.0])
    }
    /// Questions answered on a grant: [`credit::grant::Uses`]; projected.
    pub fn grant_use(grant: &Digest) -> Self {
        key(Table::GrantUse, &[&grant.0])
    }
    /// What a collector's status log says of a grant of its own, or of a subject's key: [`credit::grant::GrantLife`]; projected.
    pub fn grant_life(collector: &MemberId, grant: &Digest) -> Self {
        key(Table::GrantLife, &[&text(collector.as_str()), &grant.0])
    }
    /// That a member has said that a grant is used up: [`UsedUpRow`]; projected.
    pub fn used_up(grant: &Digest, author: &MemberId) -> Self {
        key(Table::UsedUp, &[&grant.0, &text(author.as_str())])
    }
    /// Everybody who has said so of one grant.
    pub fn used_up_by(grant: &Digest) -> Self {
        key(Table::UsedUp, &[&grant.0])
    }
    /// An asker that received a record: [`RecipientRow`]; projected.
    pub fn recipient(record: &RecordId, asker: &MemberId) -> Self {
        key(Table::Recipient, &[&record.0, &text(asker.as_str())])
    }
    /// Every asker that received a record.
    pub fn recipients(record: &RecordId) -> Self {
        key(Table::Recipient, &[&record.0])
    }
    /// An asker that was told an outcome that rests on a record: [`Timestamp`] of the last. In no log.
    pub fn judged(record: &RecordId, asker: &MemberId) -> Self {
        key(Table::Judged, &[&record.0, &text(asker.as_str())])
    }
    /// Every asker that was told such an outcome.
    pub fn judged_on(record: &RecordId) -> Self {
        key(Table::Judged, &[&record.0])
    }
    /// What an asker has had judged about a subject, field and family: [`crate::check::BudgetRow`]. In no log.
    pub fn budget(tag: &SubjectTag, asker: &MemberId, item: &ItemId, field: FieldId, family: Family) -> Self {
        let (asker, item) = (text(asker.as_str()), text(item.as_str()));
        key(Table::Budget, &[&tag.0, &asker, &item, &field.0.to_be_bytes(), &[family as u8]])
    }
    /// A case at its authority: [`credit::repair::Case`]; projected but for its deadlines.
    pub fn case(id: &CaseId) -> Self {
        key(Table::Case, &[&id.0])
    }
    /// Every case.
    pub fn cases() -> Self {
        key(Table::Case, &[])
    }
    /// The newest case of a record about one matter: [`CaseId`]; projected.
    pub fn open_case(record: &RecordId, matter: Matter) -> Self {
        key(Table::OpenCase, &[&record.0, &[matter as u8]])
    }
    /// An own record, by the id under which another platform of the region knows it: [`TwinRow`].
    pub fn twin(id: &RecordId) -> Self {
        key(Table::Twin, &[&id.0])
    }
    /// The id under which another platform of the region knows an own record: [`RecordId`].
    pub fn counterpart(own: &RecordId, author: &MemberId) -> Self {
        key(Table::Counterpart, &[&own.0, &text(author.as_str())])
    }
    /// The ids under which other platforms of the region know an own record.
    pub fn counterparts(own: &RecordId) -> Self {
        key(Table::Counterpart, &[&own.0])
    }
    /// A ban that false material has brought, by who found it and in which case: [`crate::ban::BanRow`]; projected.
    pub fn ban(author: &MemberId, case: &CaseId) -> Self {
        key(Table::Ban, &[&text(author.as_str()), &case.0])
    }
    /// Every ban.
    pub fn bans() -> Self {
        key(Table::Ban, &[])
    }
    /// An application this counter forwards: [`ForwardRow`].
    pub fn forward(id: &CaseId) -> Self {
        key(Table::Forward, &[&id.0])
    }
    /// Every application this counter took.
    pub fn forwards() -> Self {
        key(Table::Forward, &[])
    }
    /// A status entry on its way to one recipient: [`DeliveryRow`].
    pub fn delivery(event: u64, to: &MemberId) -> Self {
        key(Table::Delivery, &[&event.to_be_bytes(), &text(to.as_str())])
    }
    /// Every delivery of one status entry.
    pub fn deliveries(event: u64) -> Self {
        key(Table::Delivery, &[&event.to_be_bytes()])
    }
    /// Every delivery.
    pub fn all_deliveries() -> Self {
        key(Table::Delivery, &[])
    }
    /// Work that is due at a time: [`Work`].
    pub fn due(at: Timestamp, work: &Work) -> Self {
        key(Table::Due, &[&at.0.to_be_bytes(), &codec::to_vec(work)])
    }
    /// The first key of work due after `at`, the end of a scan for work due until `at`.
    pub fn due_after(at: Timestamp) -> Self {
        key(Table::Due, &[&(at.0 + 1).to_be_bytes()])
    }
    /// The first key of all work.
    pub fn due_first() -> Self {
        key(Table::Due, &[])
    }
    /// The registry version this member last wrote down: `u64`; projected.
    pub fn registry() -> Self {
        key(Table::Registry, &[])
    }
    /// The registry adopted by an own status entry: version and digest, `(u64, Digest)`; projected.
    pub fn adopted(index: u64) -> Self {
        key(Table::Registry, &[&index.to_be_bytes()])
    }
    /// Another member's status entry this member has acknowledged: [`HandledRow`]; projected.
    pub fn handled(origin: &MemberId, index: u64) -> Self {
        key(Table::Handled, &[&text(origin.as_str()), &index.to_be_bytes()])
    }
    /// Whom a grant is for that this collector issued and that is not over: [`MemberId`]; projected. Not the grant itself,
    /// which names its subject.
    pub fn grant(digest: &Digest) -> Self {
        key(Table::Grant, &[&digest.0])
    }
    /// Every grant that this collector issued and that is not over.
    pub fn grants() -> Self {
        key(Table::Grant, &[])
    }
    /// A department's account: `()`.
    pub fn source(id: &str) -> Self {
        key(Table::Source, &[id.as_bytes()])
    }
    /// A slot the log says is erased: index of the entry that says so, `u64`; projected.
    pub fn erased(slot: Slot) -> Self {
        key(Table::Erased, &[&slot.0.to_be_bytes()])
    }
    /// Every erased slot.
    pub fn all_erased() -> Self {
        key(Table::Erased, &[])
    }
    /// What this member, as a witness, has cosigned last of a log: [`crate::witness::WitnessRow`].
    pub fn witness(origin: &str) -> Self {
        key(Table::Witness, &[origin.as_bytes()])
    }
    /// How far a witness has cosigned an own log: [`crate::witness::CosignedRow`].
    pub fn cosigned(log: LogName, witness: &MemberId) -> Self {
        key(Table::Cosigned, &[&text(log.as_str()), &text(witness.as_str())])
    }
    /// The newest checkpoint of an own log that a witness has cosigned, with its line:
    /// [`ledger::checkpoint::SignedCheckpoint`]. What a witness that lost its memory is told.
    pub fn cosigned_note(log: LogName, witness: &MemberId) -> Self {
        key(Table::CosignedNote, &[&text(log.as_str()), &text(witness.as_str())])
    }
    /// The `n`-th evidence about one log: [`crate::evidence::EvidenceRow`].
    pub fn evidence(owner: &MemberId, log: LogName, n: u64) -> Self {
        key(Table::Evidence, &[&text(owner.as_str()), &text(log.as_str()), &n.to_be_bytes()])
    }
    /// Every evidence about one log, the oldest first.
    pub fn evidence_of(owner: &MemberId, log: LogName) -> Self {
        key(Table::Evidence, &[&text(owner.as_str()), &text(log.as_str())])
    }
    /// Every evidence.
    pub fn all_evidence() -> Self {
        key(Table::Evidence, &[])
    }
    /// A member of which nothing is accepted any more: [`Timestamp`] since when.
    pub fn frozen(member: &MemberId) -> Self {
        key(Table::Frozen, &[&text(member.as_str())])
    }
    /// An erasure that is due: [`ErasureRow`], until the log says that it is done.
    pub fn erasure(record: &RecordId) -> Self {
        key(Table::Erasure, &[&record.0])
    }
    /// Every erasure that is due.
    pub fn erasures() -> Self {
        key(Table::Erasure, &[])
    }
    /// How a case fares at its authority, as that member's status log tells: [`OutcomeRow`]; projected.
    pub fn outcome(authority: &MemberId, case: &CaseId) -> Self {
        key(Table::Outcome, &[&text(authority.as_str()), &case.0])
    }
    /// The newest entry of an authority that refuses a repair after it had accepted the application: [`Told`]; projected.
    pub fn examined(authority: &MemberId, record: &RecordId) -> Self {
        key(Table::Examined, &[&text(authority.as_str()), &record.0])
    }
    /// Who publishes an own record, and how far that is: [`crate::push::PushRow`]; projected where it was pushed.
    pub fn push(record: &RecordId) -> Self {
        key(Table::Push, &[&record.0])
    }
    /// Every such row.
    pub fn pushes() -> Self {
        key(Table::Push, &[])
    }
    /// A record received to be published: [`crate::push::copy::CopyRow`]; projected but for its values.
    pub fn copy(record: &RecordId) -> Self {
        key(Table::Copy, &[&record.0])
    }
    /// Every record received.
    pub fn copies() -> Self {
        key(Table::Copy, &[])
    }
    /// What a member has said last about its publication of a record: [`crate::push::publish::PageRow`]; projected.
    pub fn published(record: &RecordId, author: &MemberId) -> Self {
        key(Table::Published, &[&record.0, &text(author.as_str())])
    }
    /// What every member has said about it.
    pub fn published_of(record: &RecordId) -> Self {
        key(Table::Published, &[&record.0])
    }
    /// What a member has said last about taking it down: the same row; projected.
    pub fn taken_down(record: &RecordId, author: &MemberId) -> Self {
        key(Table::TakenDown, &[&record.0, &text(author.as_str())])
    }
    /// A question this member has asked: [`crate::kept::AskedRow`].
    pub fn asked(id: &QuestionId) -> Self {
        key(Table::Asked, &[&id.0])
    }
    /// An answer kept for one of this member's own systems: [`crate::kept::KeptRow`].
    pub fn kept(at: &KeptAt) -> Self {
        key(Table::Kept, &[&text(&at.owner), &at.asked.0.to_be_bytes(), &at.id.0])
    }
    /// Every answer kept for one system, the oldest first.
    pub fn kept_of(owner: &str) -> Self {
        key(Table::Kept, &[&text(owner)])
    }
    /// The first key after every answer kept for one system up to a place.
    pub fn kept_after(at: &KeptAt) -> Self {
        key(Table::Kept, &[&text(&at.owner), &at.asked.0.to_be_bytes(), &at.id.0, &[0]])
    }
    /// A grant kept for this member's own systems, by its digest: [`crate::kept::KeptGrantRow`].
    pub fn kept_grant(digest: &Digest) -> Self {
        key(Table::KeptGrant, &[&digest.0])
    }
    /// What another member's status entry said, by the index of this member's acknowledgement: [`StatusFact`].
    pub fn news(ack: u64) -> Self {
        key(Table::News, &[&ack.to_be_bytes()])
    }
    /// Every department's account.
    pub fn sources() -> Self {
        key(Table::Source, &[])
    }
}

/// A record as this member holds it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct RecordRow {
    /// The newest version, the one that is answered from.
    #[n(0)]
    pub newest: Version,
    /// The versions it superseded, the oldest first.
    #[n(1)]
    pub older: Vec<Version>,
    /// Keyed digest of its content; absent for a version restored from a peer, whose payload is lost.
    #[n(2)]
    pub content: Option<Digest>,
    /// Index key of its subject; absent when every version was restored from a peer.
    #[n(3)]
    pub tag: Option<SubjectTag>,
    /// The keys of all versions were destroyed.
    #[n(4)]
    pub erased: bool,
    /// Its subject among the public platforms; absent where the tag is.
    #[n(5)]
    pub subject: Option<SubjectPseudonym>,
}

impl RecordRow {
    /// The row of a record of which `newest` was recorded after what was `known`.
    pub fn of(known: Option<Self>, newest: Version) -> Self {
        let erased = known.as_ref().is_some_and(|row| row.erased);
        // The index entry of an older version stays, and erasing must find it.
        let tag = known.as_ref().and_then(|row| row.tag);
        let subject = known.as_ref().and_then(|row| row.subject);
        let older = known.map_or(Vec::new(), |row| row.versions());
        Self { newest, older, content: None, tag, erased, subject }
    }

    /// The oldest version.
    pub fn first(&self) -> Version {
        self.older.first().copied().unwrap_or(self.newest)
    }

    /// Every version, the newest last.
    pub fn versions(&self) -> Vec<Version> {
        self.older.iter().copied().chain([self.newest]).collect()
    }
}

/// Key of a sealed record in the space of payloads: slots rise, so the engine writes them in order.
pub fn payload_key(slot: Slot) -> [u8; 8] {
    slot.0.to_be_bytes()
}

/// The sealed record of a slot; `None` when it was erased, or when only a lost disk held it.
pub fn payload(view: &dyn View, slot: Slot) -> Result<Option<SealedRecord>, Fault> {
    let key = payload_key(slot);
    let bytes = view.get(Space::Payload, &key)?;
    let damaged = |e| Fault(format!("payload of slot {} is damaged: {e}", slot.0));
    bytes.map(|bytes| codec::from_slice(&bytes).map_err(damaged)).transpose()
}

/// What was decided about a question, kept so that a retry gets the same answer and no second entry.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct QuestionRow {
    /// Digest of the signed question: another digest under this id is another question.
    #[n(0)]
    pub question: Digest,
    /// The plan from which the answer is sealed again.
    #[n(1)]
    pub plan: crate::answer::Plan,
    /// Whom it is about, sealed: [`crate::mandate`].
    #[n(2)]
    pub subject: Bytes,
}

/// An application on its way to the authority.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ForwardRow {
    /// The signed application.
    #[n(0)]
    pub application: Signed<credit::repair::Application>,
    /// The authority.
    #[n(1)]
    pub to: MemberId,
    /// Tries so far.
    #[n(2)]
    pub tries: u32,
    /// The case it opened or joined at the authority, once it has answered.
    #[n(3)]
    pub case: Option<CaseId>,
    /// The authority's refusal, if it refused.
    #[n(4)]
    pub refused: Option<String>,
    /// When the counter took it.
    #[n(5)]
    pub since: Timestamp,
    /// It was reported that the time for forwarding is over.
    #[n(6)]
    pub told: bool,
    /// Who took it.
    #[n(7)]
    pub clerk: Option<ClerkId>,
    /// The record it is about.
    #[n(8)]
    pub record: RecordId,
    /// What it asks for.
    #[n(9)]
    pub matter: Matter,
}

/// An asker that was told something of a record: a value, a part of one, or whether it equals another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct RecipientRow {
    /// When last.
    #[n(0)]
    pub last: Timestamp,
    /// Until when it may keep it; absent where no grant ends that.
    #[n(1)]
    pub until: Option<Timestamp>,
    /// When first; absent in a row that is older than this field.
    #[n(2)]
    pub first: Option<Timestamp>,
}

impl RecipientRow {
    /// After a disclosure at `at` that may be kept until `until`: the longest of all counts.
    pub fn of(before: Option<Self>, at: Timestamp, until: Option<Timestamp>) -> Self {
        let Some(before) = before else { return Self { last: at, until, first: Some(at) } };
        let until = before.until.zip(until).map(|(a, b)| a.max(b));
        let first = before.first.map(|first| first.min(at));
        Self { last: before.last.max(at), until, first }
    }

    /// Whether it had been told something by `at` that it may still hold then.
    pub fn keeps(&self, at: Timestamp) -> bool {
        self.until.is_none_or(|until| at <= until) && self.first.is_none_or(|first| first <= at)
    }
}

/// One status entry's way to one recipient.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct DeliveryRow {
    /// When the event was decided.
    #[n(0)]
    pub since: Timestamp,
    /// Tries so far.
    #[n(1)]
    pub tries: u32,
    /// The recipient's acknowledgement: encoded [`crate::receipt::Receipt`].
    #[n(2)]
    pub ack: Option<Bytes>,
    /// When it arrived.
    #[n(3)]
    pub acked_at: Option<Timestamp>,
    /// It was reported that the time for it is over.
    #[n(4)]
    pub told: bool,
}

/// An erasure that a withdrawal has made due, or that people decide about at the end of retention.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ErasureRow {
    /// The record's authority, which withdrew it.
    #[n(0)]
    pub authority: MemberId,
    /// When; for a version that came later, when it came; or the end of retention.
    #[n(1)]
    pub since: Timestamp,
    /// The last day.
    #[n(2)]
    pub due: Deadline,
    /// It was reported that this day is over.
    #[n(3)]
    pub told: bool,
    /// The rule of retention, in Chinese, where the record was not withdrawn: it is not erased by itself then.
    #[n(4)]
    pub retention: Option<String>,
}

/// An own record that another platform of the region holds as its own, too.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct TwinRow {
    /// The own record.
    #[n(0)]
    pub own: RecordId,
    /// The other platform.
    #[n(1)]
    pub author: MemberId,
}

/// How a case fares, folded from its authority's status log. Of two entries of one kind the first counts, so that
/// order and repetition change nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct OutcomeRow {
    /// Accepted: entry and time. The time is that of the entry.
    #[n(0)]
    pub accepted: Option<Told>,
    /// Repaired, or the objection found right.
    #[n(1)]
    pub granted: Option<Told>,
    /// Not granted, and why.
    #[n(2)]
    pub refused: Option<(Told, String)>,
}

/// An entry of a status log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Told {
    /// Its index.
    #[n(0)]
    pub index: u64,
    /// Its time, by its author's clock.
    #[n(1)]
    pub at: Timestamp,
}

impl OutcomeRow {
    /// What one statement alone tells of a case, and of which; `None` for any other statement.
    pub fn of(fact: &StatusFact, told: Told) -> Option<(CaseId, Self)> {
        match fact {
            StatusFact::Accepted(step) => Some((step.case, Self { accepted: Some(told), ..Self::default() })),
            StatusFact::NotGranted(step) => {
                Some((step.case, Self { refused: Some((told, step.reason.clone())), ..Self::default() }))
            }
            // A change that names a case is what its applicant asked for; but for the mark that an objection brings at once.
            StatusFact::Changed(changed) if changed.change != Change::Dispute => {
                Some((changed.case?, Self { granted: Some(told), ..Self::default() }))
            }
            _ => None,
        }
    }

    /// What both tell.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        fn first<T: Ord>(a: Option<T>, b: Option<T>) -> Option<T> {
            [a, b].into_iter().flatten().min()
        }
        Self {
            accepted: first(self.accepted, other.accepted),
            granted: first(self.granted, other.granted),
            refused: first(self.refused, other.refused),
        }
    }
}

/// Another member's status entry as acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct HandledRow {
    /// Index of the acknowledgement in this member's status log.
    #[n(0)]
    pub ack: u64,
    /// Leaf hash of the entry: another entry at the same index is another history.
    #[n(1)]
    pub leaf: Digest,
}

/// That a grant is used up, as one member says; the first that it has said counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(map)]
pub struct UsedUpRow {
    /// Index of its status entry.
    #[n(0)]
    pub index: u64,
    /// Digest of the last question, which may still be answered.
    #[n(1)]
    pub question: Digest,
}

/// Work in the due queue.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Work {
    /// Send a status entry to a recipient.
    #[n(0)]
    Deliver(#[n(0)] u64, #[n(1)] MemberId),
    /// Send an application to its authority.
    #[n(1)]
    Forward(#[n(0)] CaseId),
    /// Look whether a record's publicity is over.
    #[n(2)]
    Expire(#[n(0)] RecordId),
    /// Erase a withdrawn record.
    #[n(3)]
    Erase(#[n(0)] RecordId),
    /// Look whether a step of a case is late: the decision, or else the acceptance.
    #[n(4)]
    Step(#[n(0)] CaseId, #[n(1)] bool),
    /// Look whether a record's retention is over.
    #[n(10)]
    Retain(#[n(0)] RecordId),
    /// Push a record to the member that publishes it.
    #[n(11)]
    Push(#[n(0)] RecordId),
    /// Look whether a record is published in time.
    #[n(12)]
    Publish(#[n(0)] RecordId),
    /// Forget the values of a copy whose record has ended.
    #[n(13)]
    ForgetCopy(#[n(0)] RecordId),
    /// Look whether a record is taken down in time.
    #[n(14)]
    TakeDown(#[n(0)] RecordId),
    /// Write down that the validity of a grant issued here is over.
    #[n(15)]
    ExpireGrant(#[n(0)] Digest),
    /// Forget an answer whose time to be kept is over.
    #[n(20)]
    ForgetAnswer(#[n(0)] KeptAt),
    /// Forget a grant that was kept.
    #[n(21)]
    ForgetGrant(#[n(0)] Digest),
}

/// Reads one row.
pub fn row<T>(view: &dyn View, key: &Key) -> Result<Option<T>, Fault>
where
    T: Encode<()> + for<'b> Decode<'b, ()>,
{
    view.get(Space::Row, key.as_bytes())?.map(|bytes| decode(key.as_bytes(), &bytes)).transpose()
}

/// Reads the rows whose keys begin with `prefix`: key after the prefix, and row.
pub fn rows<T>(view: &dyn View, prefix: &Key, limit: usize) -> Result<Vec<(Vec<u8>, T)>, Fault>
where
    T: Encode<()> + for<'b> Decode<'b, ()>,
{
    let found = view.scan_prefix(Space::Row, prefix.as_bytes(), limit)?;
    found
        .into_iter()
        .map(|(key, bytes)| Ok((key[prefix.0.len()..].to_vec(), decode(&key, &bytes)?)))
        .collect()
}

/// The text at the start of a key's rest, as [`text`] wrote it.
pub fn key_text(rest: &[u8]) -> Option<&str> {
    let (len, rest) = rest.split_first()?;
    core::str::from_utf8(rest.get(..usize::from(*len))?).ok()
}

/// Reads a row's bytes.
pub(crate) fn decode<T>(key: &[u8], bytes: &[u8]) -> Result<T, Fault>
where
    T: Encode<()> + for<'b> Decode<'b, ()>,
{
    codec::from_slice(bytes)
        .map_err(|e| Fault(format!("row {} is damaged: {e}", codec::hex(&key[..key.len().min(8)]))))
}
