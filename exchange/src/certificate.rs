//! Repair certificate (信用修复证明): what the subject takes home of a decided repair, granted or not.
//!
//! Two things side by side. The *code* is short, signed by the authority, and fits a printed code: whoever has the registry
//! can check it offline. The *receipt* proves that the authority's status log holds the decision, so that the authority cannot
//! have told the subject one thing and the federation another.
//!
//! Neither names the subject: the record id is a digest under the federation's key, which a reader of paper does not have. So
//! the authority signs a salted commitment to subject, document number and item too, and the code carries the salt: with the
//! numbers printed beside it anybody can tell whether the code is about them, and a genuine code fits no other page.
//!
//! *Not here*: who has acknowledged the decision ([`crate::artifact::Certificate`]).

use credit::{
    catalog::FieldClass,
    entry::{Changed, StatusFact},
    id::{CaseId, ItemId, MemberId, RecordId},
    normalize::normalize_document_number,
    record::{RecordFacts, SealedRecord, read_content},
    repair::{Case, Matter},
    rules::Tier,
    status::{Change, Standing, Status},
    subject::SubjectId,
    value::{Date, Value},
};
use crypto::{
    Digest, Timestamp, codec,
    commit::told_commitment,
    keytree::Slot,
    label::Label,
    seal::RecordKey,
    sign::{Signed, Statement},
};
use ledger::{log, store::View, tree::LeafIndex};
use minicbor::{Decode, Encode};

use crate::{
    artifact::status_fact,
    context::Context,
    logs::LogName,
    push::publish,
    receipt::{Proven, Receipt},
    recognise,
    refusal::{Code, Fault, Refusal},
    registry::Registry,
    repair,
    tables::{self, Key, OutcomeRow, RecordRow},
};

/// The decision, all of it as the log holds it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Decision {
    /// The record.
    #[n(0)]
    pub record: RecordId,
    /// The case it was decided in; none where another platform's repair was recognised without one.
    #[n(1)]
    pub case: Option<CaseId>,
    /// The rule set decided under, or the ground of a recognition.
    #[n(2)]
    pub rule: String,
    /// When, by the authority's clock.
    #[n(3)]
    pub decided_at: Timestamp,
    /// Index of the decision in the authority's status log.
    #[n(4)]
    pub index: u64,
    /// Leaf hash of that entry.
    #[n(5)]
    pub leaf: Digest,
    /// That it was not granted; absent where it was.
    #[n(6)]
    pub refused: Option<NotGrantedBecause>,
}

impl Decision {
    /// Whether another platform's result was recognised (互认), and nothing was examined.
    pub fn recognises(&self) -> bool {
        self.rule.starts_with(recognise::GROUND)
    }
}

/// Why a repair was not granted (不予修复).
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct NotGrantedBecause {
    /// The reason.
    #[n(0)]
    pub reason: String,
    /// Last day on which the subject may not apply again, where the material was false.
    #[n(1)]
    pub barred_until: Option<Date>,
}

/// What the authority signs for the subject.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct RepairStatement {
    /// The decision.
    #[n(0)]
    pub decision: Decision,
    /// Version of the registry in force when this was signed.
    #[n(1)]
    pub registry: u64,
    /// Its digest: whoever verifies knows which registry to ask for.
    #[n(2)]
    pub registry_digest: Digest,
    /// What the authority's node knows of the matter; absent when the record was erased, or came back from a peer.
    #[n(3)]
    pub facts: Option<Facts>,
    /// When the first application of the case was taken.
    #[n(4)]
    pub applied_at: Option<Timestamp>,
    /// When the case was accepted; absent where a recognition came before that.
    #[n(5)]
    pub accepted_at: Option<Timestamp>,
    /// The platform whose repair was recognised, where subject and document number were given.
    #[n(6)]
    pub recognised: Option<MemberId>,
    /// Commitment to subject, document number and item ([`About::commitment`]), where they were given.
    #[n(7)]
    pub about: Option<Digest>,
    /// It was refused before the case was accepted (不予受理).
    #[n(8)]
    pub declined: bool,
}

impl Statement for RepairStatement {
    const LABEL: Label = Label::SignRepair;
}

/// What is known of the matter; it names no subject.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Facts {
    /// The catalog item.
    #[n(0)]
    pub item: ItemId,
    /// Day of the penalty or finding.
    #[n(1)]
    pub decided: Option<Date>,
    /// Day of publication, where it is known.
    #[n(2)]
    pub published: Option<Date>,
    /// How grave it is (失信程度).
    #[n(3)]
    pub tier: Option<Tier>,
    /// The body that decided (认定单位), as the record names it, where everybody may see that name.
    #[n(4)]
    pub body: Option<String>,
    /// Whose word the day of publication is.
    #[n(5)]
    pub published_by: Option<PublishedBy>,
}

/// Whose word a day of publication is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum PublishedBy {
    /// The department's, in its file.
    #[n(0)]
    File,
    /// That of the member that publishes the record.
    #[n(1)]
    Publisher,
}

impl PublishedBy {
    /// English word, as in `--json`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Publisher => "publisher",
        }
    }

    /// As it stands on paper.
    pub const fn zh(self) -> &'static str {
        match self {
            Self::File => "数源单位文件所载",
            Self::Publisher => "公示单位告知",
        }
    }
}

/// Which decision a certificate is wanted of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Which {
    /// That of an entry of the own status log.
    #[n(0)]
    Entry(#[n(0)] u64),
    /// That of a case decided here.
    #[n(1)]
    Case(#[n(0)] CaseId),
}

/// Whom and what a certificate is about, as it stands on the decision.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct About {
    /// The catalog item.
    #[n(0)]
    pub item: ItemId,
    /// The document number as written.
    #[n(1)]
    pub document: String,
    /// The subject.
    #[n(2)]
    pub subject: SubjectId,
}

impl core::fmt::Debug for About {
    /// The item alone: the rest says whom it is about.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "About({})", self.item)
    }
}

impl About {
    /// SHA-256 over the salt and the canonical encoding of subject, document number as normalised, and item.
    ///
    /// Whoever has the salt can try guesses; it stands on the page beside what it is about, and nowhere else.
    pub fn commitment(&self, salt: &Digest) -> Digest {
        let document = normalize_document_number(&self.document);
        let content = codec::to_vec(&(&self.subject, &document, &self.item));
        told_commitment(Label::RepairSubject, &salt.0, &content)
    }

    /// The record of this member that it is about.
    pub(crate) fn record(&self, context: &Context) -> RecordId {
        let document = normalize_document_number(&self.document);
        context.own.naming.record_id(&context.own.id, &self.item, &document, &self.subject)
    }
}

/// What a printed code holds.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct RepairCode {
    /// Signed when the certificate is drawn up; its issuer is the authority.
    #[n(0)]
    pub statement: Signed<RepairStatement>,
    /// 32 random bytes: the salt of [`RepairStatement::about`], absent as that is.
    #[n(1)]
    pub salt: Option<Digest>,
}

impl RepairCode {
    /// Checks the authority's signature. A code whose salt was taken out does not hold: it would fit any number.
    ///
    /// Errors: `signature.invalid`, `member.unknown`.
    pub fn verify(&self, registry: &Registry) -> Result<RepairStatement, Refusal> {
        let said = registry.verify(&self.statement)?.into_inner();
        if said.about.is_some() != self.salt.is_some() {
            return Err(Refusal::new(
                Code::SignatureInvalid,
                "repair certificate: its salt was taken out or put in",
            ));
        }
        Ok(said)
    }

    /// Whether `said`, the verified statement, was signed for exactly this; `None` where it commits to nothing.
    pub fn speaks_of(&self, said: &RepairStatement, about: &About) -> Option<bool> {
        Some(about.commitment(&self.salt?) == said.about?)
    }
}

/// The code and the receipt of the decision.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct RepairCertificate {
    /// What the authority says.
    #[n(0)]
    pub code: RepairCode,
    /// The decision in the authority's status log.
    #[n(1)]
    pub receipt: Receipt,
}

impl RepairCertificate {
    /// Checks the code, the receipt, and that both speak of one decision about a repair.
    ///
    /// Errors: `signature.invalid`, `member.unknown`.
    pub fn verify(&self, registry: &Registry) -> Result<(RepairStatement, Proven), Refusal> {
        let said = self.code.verify(registry)?;
        let proven = self.receipt.verify(registry)?;
        let same = proven.member.as_str() == self.code.statement.issuer()
            && decision(registry, &proven)?.as_ref() == Some(&said.decision);
        if !same {
            return Err(Refusal::new(
                Code::SignatureInvalid,
                "repair certificate: its statement and its receipt are about different things",
            ));
        }
        Ok((said, proven))
    }
}

/// What a proven status entry says about a decided repair; `None` for every other entry.
fn decision(registry: &Registry, proven: &Proven) -> Result<Option<Decision>, Refusal> {
    let (decided_at, index, leaf) = (proven.entry.at, proven.index, proven.leaf);
    Ok(match status_fact(registry, proven)? {
        StatusFact::Changed(Changed { record, change: Change::Repair, case, rule, .. }) => {
            Some(Decision { record, case, rule, decided_at, index, leaf, refused: None })
        }
        StatusFact::NotGranted(said) => {
            let because =
                NotGrantedBecause { reason: said.reason, barred_until: said.ban.map(|ban| ban.until) };
            let (record, case, rule) = (said.record, Some(said.case), said.rule);
            Some(Decision { record, case, rule, decided_at, index, leaf, refused: Some(because) })
        }
        _ => None,
    })
}

/// The certificate of a repair that this member has granted or refused, signed at `now`. `salt` must be fresh; it is used
/// where the caller says whom the certificate is `about`. `key` opens one field of the record, the name of who decided.
///
/// 1. The entry decides a repair, or the case is decided: `not-found`.
/// 2. The record was not withdrawn since: there is no act any more that could be repaired, `case.denied`.
/// 3. The record is of this subject, document number and item: `record.unknown`.
pub fn draw_up(
    context: &Context,
    view: &dyn View,
    which: Which,
    about: Option<&About>,
    salt: Digest,
    key: &dyn Fn(Slot) -> Option<RecordKey>,
    now: Timestamp,
) -> Result<Result<RepairCertificate, Refusal>, Fault> {
    let refuse = |code, why: String| Ok(Err(Refusal::new(code, why)));
    let own = &context.own.id;
    // 1
    let event = match which {
        Which::Entry(event) => event,
        Which::Case(case) => {
            let row: OutcomeRow = tables::row(view, &Key::outcome(own, &case))?.unwrap_or_default();
            match row.granted.or(row.refused.map(|(told, _)| told)) {
                Some(told) => told.index,
                None => return refuse(Code::NotFound, format!("case {case} is not decided here")),
            }
        }
    };
    let none = || refuse(Code::NotFound, format!("status entry {event} grants and refuses no repair"));
    if !log::size(view, LogName::Status.as_str())?.covers(LeafIndex(event)) {
        return none();
    }
    let receipt = Receipt::build(view, own, LogName::Status, event)?;
    let decision = match receipt.verify(&context.registry).and_then(|p| decision(&context.registry, &p)) {
        Ok(Some(decision)) => decision,
        Ok(None) => return none(),
        Err(refusal) => return Ok(Err(refusal)),
    };
    // 2
    let record = decision.record;
    let standing: Standing = tables::row(view, &Key::standing(own, &record))?.unwrap_or_default();
    if standing.status() == Status::Withdrawn {
        return Ok(Err(repair::denied(
            format!("record {record} was withdrawn since, and its act revoked / 该信息已撤销"),
            "hand out the propagation certificate of the withdrawal instead: `xinqiao repair certificate ENTRY`",
            "请改为出具撤销的传播证明：`xinqiao repair certificate 条目序号`",
        )));
    }
    // 3
    if about.is_some_and(|about| about.record(context) != record) {
        return Ok(Err(other_matter(&record, event)));
    }
    let row: Option<RecordRow> = tables::row(view, &Key::record(&record))?;
    let sealed = row.map(|row| tables::payload(view, row.newest.slot)).transpose()?.flatten();
    let facts = sealed.map(|sealed| known(context, view, key, sealed)).transpose()?;
    let case: Option<Case> = match &decision.case {
        Some(id) => tables::row(view, &Key::case(id))?,
        None => None,
    };
    if case.as_ref().is_some_and(|case| case.matter() != Matter::Repair) {
        return refuse(
            Code::NotFound,
            format!("status entry {event} answers an objection, and decides no repair"),
        );
    }
    let (accepted_at, declined) = match &case {
        Some(Case::Accepted(accepted)) => (Some(accepted.at), false),
        Some(Case::Decided(decided)) => (Some(decided.accepted.at), decided.declined),
        Some(Case::Applied(_)) | None => (None, false),
    };
    let said = RepairStatement {
        registry: context.registry.version,
        registry_digest: context.registry.digest(),
        facts,
        applied_at: case.and_then(|case| case.applied().applications.first().map(|joined| joined.at)),
        // Neither a recognition nor a refusal at the door follows on an acceptance.
        accepted_at: accepted_at
            .filter(|at| !declined && (!decision.recognises() || *at < decision.decided_at)),
        recognised: match about {
            Some(about) if decision.recognises() => recognised(context, view, about)?,
            _ => None,
        },
        about: about.map(|about| about.commitment(&salt)),
        declined,
        decision,
    };
    let salt = about.map(|_| salt);
    let code = RepairCode { statement: context.sign(now, &said), salt };
    Ok(Ok(RepairCertificate { code, receipt }))
}

/// That a certificate is wanted about another subject, document number or item than the record's.
pub(crate) fn other_matter(record: &RecordId, event: u64) -> Refusal {
    Refusal::new(
        Code::RecordUnknown,
        format!("record {record} of status entry {event} is not about this subject and document"),
    )
}

/// What a record tells of its matter.
fn known(
    context: &Context,
    view: &dyn View,
    key: &dyn Fn(Slot) -> Option<RecordKey>,
    sealed: SealedRecord,
) -> Result<Facts, Fault> {
    let body = body(context, key, &sealed)?;
    let by = if sealed.facts.published.is_some() { PublishedBy::File } else { PublishedBy::Publisher };
    let RecordFacts { item, decided, published, tier, .. } = publish::known(context, view, sealed.facts)?;
    Ok(Facts { item, decided, published, tier, body, published_by: published.map(|_| by) })
}

/// The name of who decided, opened: a public field, which names no subject.
fn body(
    context: &Context,
    key: &dyn Fn(Slot) -> Option<RecordKey>,
    sealed: &SealedRecord,
) -> Result<Option<String>, Fault> {
    let item = context.catalog.item(&sealed.facts.item);
    let field = item.and_then(|item| item.field(item.body_field?));
    let field = field.filter(|field| field.class == FieldClass::Public);
    let (Some(field), Some(key)) = (field, key(sealed.facts.slot)) else { return Ok(None) };
    let damaged = || Fault(format!("record {} does not open", sealed.facts.record));
    let opened = sealed.open(&[field.id], &context.own.id, &key).map_err(|_| damaged())?;
    match opened.openings.iter().find(|(id, _)| *id == field.id) {
        None => Ok(None),
        Some((id, opening)) => match read_content(*id, &opening.content) {
            Some(Value::Text(name)) => Ok(Some(name)),
            _ => Err(damaged()),
        },
    }
}

/// The platform of this region that has repaired the same matter under its own id.
fn recognised(context: &Context, view: &dyn View, about: &About) -> Result<Option<MemberId>, Fault> {
    let document = normalize_document_number(&about.document);
    for (author, twin) in recognise::twins(context, &about.item, &document, &about.subject) {
        let standing: Standing = tables::row(view, &Key::standing(&author, &twin))?.unwrap_or_default();
        if standing.status() == Status::Repaired {
            return Ok(Some(author));
        }
    }
    Ok(None)
}
