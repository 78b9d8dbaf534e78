//! Every message, and the frame around it. `docs/PROTOCOL.md` gives the same in CDDL.
//!
//! One request and response per QUIC stream, which ends with the frame: a version byte and one canonical CBOR value.

mod asking;
mod frame;
mod grant;
mod push;
mod report;

use credit::{
    binding::KeyBinding,
    catalog::Purpose,
    grant::{Grant, GrantChange},
    id::{CaseId, ClerkId, ItemId, MemberId, RecordId, SourceId},
    policy::Role,
    predicate::Check,
    question::{Basis, Question, Want},
    repair::{Application, Case, FalseMaterial, Matter},
    status::{Change, Status},
    subject::SubjectId,
    value::Date,
};
use crypto::{Bytes, Digest, Timestamp, sign::Signed};
use ledger::checkpoint::SignedCheckpoint;
use minicbor::{Decode, Encode};

use crate::{
    accesses::AccessList,
    answer::Answer,
    artifact::{Certificate, ErasureCertificate},
    backup::{BackupContent, BackupId, BackupItem, BackupRange},
    certificate::{About, RepairCertificate, Which},
    evidence::{Evidence, EvidenceRow},
    logs::LogName,
    mandate::{Identity, MandateDraft},
    propagation::Missing,
    receipt::Receipt,
    reconcile,
    refusal::Refusal,
    registry::SignedRegistry,
    repair::{Finding, Forwarded},
    timer::DueErasure,
};

pub use asking::{AskResult, BudgetLeft, OpenedPart};
pub use frame::{from_frame, to_frame};
pub use grant::{GrantDraft, GrantStanding, KeyDraft, Lodged};
pub use push::{CopyLine, PageLine, PushLine};
pub use report::{QualityLine, ROW_REASONS_MAX, RowReason, SubmitReport};

/// Version of the protocol, the first byte of a frame and part of the ALPN identifier.
pub const VERSION: u8 = 1;
/// ALPN identifier of the protocol.
pub const ALPN: &[u8] = b"xinqiao/1";

/// A request. Operations are accepted from the node's own operator only.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Request {
    /// A question: to the outlet by the asker, to a collecting member by the outlet.
    #[n(0)]
    Ask(#[n(0)] Signed<Question>),
    /// A status entry its recipient must act on.
    #[n(1)]
    Notice(#[n(0)] Receipt),
    /// An application for repair, to the record's authority.
    #[n(2)]
    Apply(#[n(0)] Signed<Application>),
    /// Entries of a log the caller may read.
    #[n(3)]
    Pull {
        /// Whose log.
        #[n(0)]
        owner: MemberId,
        /// Which.
        #[n(1)]
        log: LogName,
        /// First index wanted.
        #[n(2)]
        from: u64,
    },
    /// The registry the member decides under.
    #[n(4)]
    Registry,
    /// A checkpoint to cosign: the body of tlog-witness `add-checkpoint`.
    #[n(5)]
    AddCheckpoint(#[n(0)] Bytes),
    /// The newest heads the member has and has seen, and its evidence against members.
    #[n(6)]
    Heads,
    /// A consistency proof of a log the member owns or keeps a copy of.
    #[n(7)]
    Prove {
        /// Whose log.
        #[n(0)]
        owner: MemberId,
        /// Which.
        #[n(1)]
        log: LogName,
        /// From how many entries.
        #[n(2)]
        old: u64,
        /// To how many.
        #[n(3)]
        new: u64,
    },
    /// Standings, to be compared.
    #[n(8)]
    Standings(#[n(0)] reconcile::Ask),
    /// Whom accesses are about, under the mandate that this receipt proves to be in the auditor's access log.
    #[n(9)]
    Identities(#[n(0)] Receipt),
    /// Something the node's own operator asks for.
    #[n(10)]
    Operate(#[n(0)] Operation),
    /// The propagation certificate of an entry of the member's own status log, for an auditor.
    #[n(11)]
    Certificate(#[n(0)] u64),
    /// A record that the receiver is to publish, by a duty of its authority; answered with the receiver's receipt.
    #[n(50)]
    Push(#[n(0)] Box<Answer>),
    /// A record that was pushed to the caller, who has lost its values with a disk: it is pushed again.
    #[n(51)]
    PushAgain(#[n(0)] RecordId),
}

/// A verb of the node's own operator.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Operation {
    /// How the node is.
    #[n(0)]
    Status,
    /// Begin to hand in a department's file; answered with an upload, or with the report of a file known already.
    #[n(1)]
    BeginFile {
        /// The department.
        #[n(0)]
        source: SourceId,
        /// The catalog item.
        #[n(1)]
        item: ItemId,
        /// BLAKE3 digest of its bytes.
        #[n(2)]
        file: Digest,
        /// Numbers confirmed, at most [`crate::limits::CONFIRMED_NUMBERS_MAX`].
        #[n(3)]
        confirm: Vec<String>,
    },
    /// The next bytes of the file; answered when the node is ready for more.
    #[n(25)]
    FilePart {
        /// The upload.
        #[n(0)]
        upload: u64,
        /// Offset of the first byte.
        #[n(1)]
        at: u64,
        /// At most [`crate::limits::FILE_PART_BYTES_MAX`] bytes.
        #[n(2)]
        bytes: Bytes,
    },
    /// The file is complete; answered with its report.
    #[n(26)]
    EndFile(#[n(0)] u64),
    /// Register a department.
    #[n(2)]
    AddSource(#[n(0)] SourceId),
    /// Quality per department and item.
    #[n(3)]
    Quality,
    /// Sign a grant.
    #[n(4)]
    IssueGrant(#[n(0)] GrantDraft),
    /// Pause, resume or revoke a grant issued here, by its digest.
    #[n(5)]
    ChangeGrant(#[n(0)] Digest, #[n(1)] GrantChange),
    /// Ask through the outlet.
    #[n(6)]
    Ask(#[n(0)] AskDraft),
    /// Take an application at this counter.
    #[n(7)]
    Apply(#[n(0)] ApplicationDraft),
    /// Accept a case.
    #[n(8)]
    AcceptRepair {
        /// The case.
        #[n(0)]
        case: CaseId,
        /// Who accepts it.
        #[n(1)]
        clerk: Option<ClerkId>,
    },
    /// Decide a case.
    #[n(9)]
    DecideRepair {
        /// The case.
        #[n(0)]
        case: CaseId,
        /// Grant it.
        #[n(1)]
        grant: bool,
        /// Reason of a refusal.
        #[n(2)]
        reason: String,
        /// Who decides it.
        #[n(3)]
        clerk: Option<ClerkId>,
    },
    /// Refuse a case whose material was found false, and bar its subject.
    #[n(40)]
    RefuseFalse {
        /// The case.
        #[n(0)]
        case: CaseId,
        /// Reason.
        #[n(1)]
        reason: String,
        /// What was found.
        #[n(2)]
        found: FalseMaterial,
        /// Who decides it.
        #[n(3)]
        clerk: Option<ClerkId>,
    },
    /// Assign what is left of a case to a clerk.
    #[n(44)]
    AssignCase {
        /// The case.
        #[n(0)]
        case: CaseId,
        /// The clerk.
        #[n(1)]
        clerk: ClerkId,
    },
    /// Every recipient that has not acknowledged a status entry.
    #[n(42)]
    Missing,
    /// The repair certificate of an own decision, tied to whom and what it is about where that is given.
    #[n(41)]
    RepairCertificate(#[n(0)] Which, #[n(1)] Option<About>),
    /// Every case and every application taken here.
    #[n(10)]
    Cases,
    /// The propagation certificate of an own status entry.
    #[n(11)]
    Certificate(#[n(0)] u64),
    /// The same, tied to whom and what it is about.
    #[n(54)]
    CertificateAbout(#[n(0)] u64, #[n(1)] About),
    /// The propagation certificate of another member's status entry, from that member, as an auditor.
    #[n(45)]
    CertificateOf(#[n(0)] MemberId, #[n(1)] u64),
    /// A record's standing as this member knows it.
    #[n(12)]
    RecordStatus(#[n(0)] RecordId),
    /// Answer an objection, by the authority.
    #[n(46)]
    AnswerObjection {
        /// The case.
        #[n(0)]
        case: CaseId,
        /// What was found.
        #[n(1)]
        finding: Finding,
        /// Legal ground.
        #[n(2)]
        ground: String,
        /// Who answers it.
        #[n(3)]
        clerk: Option<ClerkId>,
    },
    /// Mask, withdrawal or expiry, by the authority.
    #[n(13)]
    ChangeStanding {
        /// The record.
        #[n(0)]
        record: RecordId,
        /// What changes.
        #[n(1)]
        change: Change,
        /// Legal ground.
        #[n(2)]
        reason: String,
        /// SHA-256 of the paper it rests on; a mask needs the court's ruling.
        #[n(3)]
        paper: Option<Digest>,
    },
    /// Destroy keys and payloads of records, at most [`crate::limits::RECORDS_PER_ERASURE_MAX`].
    #[n(14)]
    Erase {
        /// The records.
        #[n(0)]
        records: Vec<RecordId>,
        /// Legal reason.
        #[n(1)]
        reason: String,
    },
    /// A subject's accesses: in so many first entries of the access log, or in all.
    #[n(15)]
    SubjectAccess(#[n(0)] SubjectId, #[n(1)] Option<u64>),
    /// Fetch what is new from one peer or every one, compare standings with it, and report.
    #[n(16)]
    Reconcile(#[n(0)] Option<MemberId>),
    /// The id under which a record is known, from what stands on the decision.
    #[n(17)]
    NameRecord {
        /// The authority.
        #[n(0)]
        authority: MemberId,
        /// The item.
        #[n(1)]
        item: ItemId,
        /// The document number as written.
        #[n(2)]
        document: String,
        /// The subject.
        #[n(3)]
        subject: SubjectId,
    },
    /// Stop the node in good order.
    #[n(18)]
    Stop,
    /// Every piece of evidence kept here.
    #[n(19)]
    Evidence,
    /// Trust a frozen member again.
    #[n(20)]
    Unfreeze {
        /// The member.
        #[n(0)]
        member: MemberId,
        /// Why.
        #[n(1)]
        reason: String,
    },
    /// Take over a successor of the registry in force.
    #[n(21)]
    UpdateRegistry(#[n(0)] SignedRegistry),
    /// How a grant stands at this member.
    #[n(22)]
    GrantStanding(#[n(0)] Signed<Grant>),
    /// Vouch for a subject's key.
    #[n(47)]
    BindKey(#[n(0)] KeyDraft),
    /// Take what a subject has signed with its own key.
    #[n(48)]
    Lodge(#[n(0)] Lodged),
    /// Vouch for a subject's key no longer: every grant that it has signed is over.
    #[n(49)]
    WithdrawKey(#[n(0)] Signed<KeyBinding>),
    /// What checks resting on a grant would find of their budgets at this member.
    #[n(53)]
    Budgets(#[n(0)] Signed<Grant>, #[n(1)] Vec<Check>),
    /// Learn from a member whom accesses are about, as an auditor.
    #[n(43)]
    Identities(#[n(0)] MandateDraft),
    /// Everything that proves an entry of an own log to outsiders.
    #[n(30)]
    Prove {
        /// Which log.
        #[n(0)]
        log: LogName,
        /// Where in it.
        #[n(1)]
        index: u64,
    },
    /// The erasure certificate of a record.
    #[n(33)]
    ErasureCertificate(#[n(0)] RecordId),
    /// Hold the store as it is now, to be read part by part. A backup of this name that is held open was interrupted.
    #[n(31)]
    BackupBegin(#[n(0)] BackupContent, #[n(1)] Option<BackupId>),
    /// The next part of a backup, not beyond the range.
    #[n(32)]
    BackupNext(#[n(0)] BackupId, #[n(1)] Option<BackupRange>),
    /// Records received to be published; with a record that one, opened.
    #[n(50)]
    Received(#[n(0)] Option<RecordId>),
    /// Say that this member has published a record on a day, or today.
    #[n(51)]
    Publish(
        #[n(0)] RecordId,
        #[n(1)] Option<Date>,
        /// Also a day of which it is asked first ([`crate::push::doubt`]).
        #[n(2)]
        bool,
    ),
    /// Own records that are published or pushed by a rule.
    #[n(52)]
    Pushes,
    /// Say that this member has taken a record down on a day, or today.
    #[n(55)]
    TakeDown(#[n(0)] RecordId, #[n(1)] Option<Date>),
}

/// What to ask.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct AskDraft {
    /// The clerk who asks.
    #[n(0)]
    pub clerk: ClerkId,
    /// For what.
    #[n(1)]
    pub purpose: Purpose,
    /// About whom.
    #[n(2)]
    pub subject: SubjectId,
    /// Items and fields.
    #[n(3)]
    pub wants: Vec<Want>,
    /// On whose word.
    #[n(4)]
    pub basis: Basis,
    /// Time for the answer in milliseconds.
    #[n(5)]
    pub wait_ms: u64,
    /// Predicates, ascending and distinct.
    #[n(6)]
    pub checks: Vec<Check>,
}

/// What a subject applies for at a counter.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ApplicationDraft {
    /// The authority that decided.
    #[n(0)]
    pub authority: MemberId,
    /// The item.
    #[n(1)]
    pub item: ItemId,
    /// The document number as written on the decision.
    #[n(2)]
    pub document: String,
    /// The subject.
    #[n(3)]
    pub subject: SubjectId,
    /// SHA-256 of each paper handed in.
    #[n(4)]
    pub materials: Vec<Digest>,
    /// Who takes it at the counter.
    #[n(5)]
    pub clerk: Option<ClerkId>,
    /// What it asks for.
    #[n(6)]
    pub matter: Matter,
}

/// One member's part of a relayed answer.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Part {
    /// The member.
    #[n(0)]
    pub member: MemberId,
    /// What came back.
    #[n(1)]
    pub outcome: Outcome,
}

/// What a member answered. A missing member is shown, never left out.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Outcome {
    /// A sealed answer.
    #[n(0)]
    Answered(#[n(0)] Box<Answer>),
    /// It refused, without an entry that proves it: nobody has signed this, so it counts as no answer.
    #[n(1)]
    Denied(#[n(0)] Refusal),
    /// It did not answer in time.
    #[n(2)]
    Unreachable,
}

/// What a record with a case is about.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct CaseMatter {
    /// The record.
    #[n(0)]
    pub record: RecordId,
    /// Its item.
    #[n(1)]
    pub item: ItemId,
    /// Day of the penalty or finding.
    #[n(2)]
    pub decided: Option<Date>,
}

/// A response.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Response {
    /// Refused; nothing was changed.
    #[n(0)]
    Refused(#[n(0)] Refusal),
    /// Done.
    #[n(1)]
    Done,
    /// Index of the own access entry that was written.
    #[n(42)]
    Noted(#[n(0)] u64),
    /// Whom accesses are about.
    #[n(43)]
    Identities(#[n(0)] Vec<Identity>),
    /// One member's answer.
    #[n(2)]
    Answer(#[n(0)] Box<Answer>),
    /// The outlet's merged answer.
    #[n(3)]
    Parts(#[n(0)] Vec<Part>),
    /// An entry of the member's own log, proven.
    #[n(4)]
    Receipt(#[n(0)] Receipt),
    /// The case an application opened or joined.
    #[n(5)]
    Case(#[n(0)] CaseId),
    /// Entries from the index asked for, and the owner's checkpoint over them and all before.
    #[n(6)]
    Entries {
        /// The entries.
        #[n(0)]
        entries: Vec<Bytes>,
        /// The checkpoint; absent when nothing is there yet.
        #[n(1)]
        checkpoint: Option<SignedCheckpoint>,
    },
    /// The registry.
    #[n(7)]
    Registry(#[n(0)] SignedRegistry),
    /// A signed grant.
    #[n(8)]
    Grant(#[n(0)] Signed<Grant>),
    /// A collector's word about a subject's key.
    #[n(47)]
    Binding(#[n(0)] Signed<KeyBinding>),
    /// A file's report.
    #[n(9)]
    Report(#[n(0)] SubmitReport),
    /// Where the parts of a file go.
    #[n(29)]
    Upload(#[n(0)] u64),
    /// First of the key slots handed out.
    #[n(10)]
    Slots(#[n(0)] u64),
    /// A signed question, to be sent to `outlet`.
    #[n(11)]
    Asked {
        /// The question.
        #[n(0)]
        question: Signed<Question>,
        /// The outlet.
        #[n(1)]
        outlet: MemberId,
    },
    /// The members a question is to be passed to.
    #[n(12)]
    Relay(#[n(0)] Vec<MemberId>),
    /// What the asker's operator sees of an answer.
    #[n(13)]
    Result(#[n(0)] Box<AskResult>),
    /// A record's id.
    #[n(14)]
    Record(#[n(0)] RecordId),
    /// A decided case, and the status entry that carries the decision.
    #[n(15)]
    Decided {
        /// The case.
        #[n(0)]
        case: Case,
        /// Index of the entry, when the standing changed.
        #[n(1)]
        event: Option<u64>,
    },
    /// Cases decided here, applications taken here, and withdrawn records to be erased here.
    #[n(16)]
    Cases {
        /// Cases.
        #[n(0)]
        cases: Vec<Case>,
        /// Applications.
        #[n(1)]
        forwarded: Vec<Forwarded>,
        /// Erasures.
        #[n(2)]
        erasures: Vec<DueErasure>,
        /// What the cases are about, of each record that is held here.
        #[n(3)]
        matters: Vec<CaseMatter>,
    },
    /// Recipients that have not acknowledged.
    #[n(41)]
    Missing(#[n(0)] Vec<Missing>),
    /// A repair certificate.
    #[n(40)]
    RepairCertificate(#[n(0)] Box<RepairCertificate>),
    /// A propagation certificate.
    #[n(17)]
    Certificate(#[n(0)] Box<Certificate>),
    /// A record's standing.
    #[n(18)]
    RecordStatus(#[n(0)] RecordStatus),
    /// A subject's accesses, signed.
    #[n(19)]
    SubjectAccess(#[n(0)] Signed<AccessList>),
    /// How the node is.
    #[n(20)]
    Status(#[n(0)] NodeStatus),
    /// Quality.
    #[n(21)]
    Quality(#[n(0)] Vec<QualityLine>),
    /// A witness's answer.
    #[n(22)]
    Witness {
        /// Status of the specification.
        #[n(0)]
        status: u16,
        /// Cosignature lines, or a reason.
        #[n(1)]
        body: String,
    },
    /// Heads and evidence.
    #[n(23)]
    Heads {
        /// The heads, each with the line of its log, and with lines of the caller as a witness.
        #[n(0)]
        heads: Vec<SignedCheckpoint>,
        /// The evidence, at most [`crate::limits::EVIDENCE_PER_ANSWER_MAX`].
        #[n(1)]
        evidence: Vec<Evidence>,
        /// Version of the registry the member decides under.
        #[n(2)]
        registry: u64,
    },
    /// A consistency proof.
    #[n(24)]
    Consistency {
        /// Root at the smaller size.
        #[n(0)]
        root: Digest,
        /// How it leads to the larger.
        #[n(1)]
        proof: Vec<Digest>,
    },
    /// Every piece of evidence kept here.
    #[n(25)]
    Evidence(#[n(0)] Vec<EvidenceRow>),
    /// How a grant stands here.
    #[n(26)]
    GrantStanding(#[n(0)] GrantStanding),
    /// One line for each check.
    #[n(53)]
    Budgets(#[n(0)] Vec<BudgetLeft>),
    /// Standings.
    #[n(27)]
    Standings(#[n(0)] reconcile::Answered),
    /// What reconciling has shown, per peer.
    #[n(28)]
    Reconciled(#[n(0)] Vec<reconcile::Report>),
    /// An own entry, proven in every form.
    #[n(30)]
    Proof {
        /// Entry, path and newest checkpoint: all that a tlog-proof holds.
        #[n(0)]
        receipt: Receipt,
        /// The same as a COSE receipt (RFC 9942); absent while the log has one entry only.
        #[n(1)]
        cose: Option<Bytes>,
    },
    /// How many records were erased now, and how many of the list had been before.
    #[n(34)]
    Erased(#[n(0)] u64, #[n(1)] u64),
    /// An erasure certificate.
    #[n(31)]
    Erasure(#[n(0)] Box<ErasureCertificate>),
    /// A backup is held open; about how many pairs it has.
    #[n(32)]
    Backup(#[n(0)] BackupId, #[n(1)] u64),
    /// The next pieces; the last of all is `End`. None where the range ends.
    #[n(33)]
    BackupPart(#[n(0)] Vec<BackupItem>),
    /// The range has these pairs, and they are what its digest says.
    #[n(35)]
    BackupSame(#[n(0)] u64),
    /// Records received to be published.
    #[n(50)]
    Copies(#[n(0)] Vec<CopyLine>),
    /// Own records that are published or pushed.
    #[n(51)]
    Pushes(#[n(0)] Vec<PushLine>),
}

/// A record's standing as one member knows it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct RecordStatus {
    /// The record.
    #[n(0)]
    pub record: RecordId,
    /// Its authority, when this member holds the record or has received it.
    #[n(1)]
    pub authority: Option<MemberId>,
    /// Index of the version held here.
    #[n(2)]
    pub version: Option<u64>,
    /// Standing per authority whose log says something about it.
    #[n(3)]
    pub standing: Vec<(MemberId, Status)>,
    /// How an own record is published, where a rule says how.
    #[n(4)]
    pub publication: Option<PushLine>,
}

/// How a node is.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct NodeStatus {
    /// The member.
    #[n(0)]
    pub member: MemberId,
    /// Its role.
    #[n(1)]
    pub role: Role,
    /// `ready`, `catching-up` or `behind`.
    #[n(2)]
    pub phase: String,
    /// Registry version.
    #[n(3)]
    pub registry: u64,
    /// Entries per own log.
    #[n(4)]
    pub logs: Vec<(LogName, u64)>,
    /// Entries per copy kept.
    #[n(5)]
    pub mirrors: Vec<(MemberId, LogName, u64)>,
    /// Status entries not yet acknowledged by a recipient.
    #[n(6)]
    pub pending: u64,
    /// Departments.
    #[n(7)]
    pub sources: Vec<String>,
    /// Until when the keys in use are good, where the registry names newer ones: the node must be started again before.
    #[n(8)]
    pub keys_end: Option<Timestamp>,
}
