//! An answer: sealed by the answering member after its access entry is durable, opened and checked by the asker.
//!
//! What was said is fixed by the commitments that the access entry points to, so an answer carries no signature of
//! its own: change, drop or add a field, and it no longer fits the entry under the signed checkpoint.

use std::sync::Arc;

use credit::{
    binding::Signer,
    catalog::Mode,
    disclosure::{self, CheckOpening},
    entry::{AskedBy, BasisRef, Disclosed, DisclosedRecord, Entry, Fact, Recorded, Refused, Withheld},
    id::{FieldId, ItemId, MemberId, RecordId},
    policy::Role,
    question::{Basis, CLOCK_SKEW_MS_MAX, Question},
    record::{SUBJECT_FIELD, read_content},
    value::Value,
};
use crypto::{
    Bytes, Digest, Timestamp, codec,
    commit::{FieldsProof, Opening},
    keytree::Slot,
    merkle::leaf_hash,
    pseudonym::SubjectLink,
    seal::{AnswerCipher, AnswerEpoch, OpeningKey, RecordKey},
    secret::Secret,
    sign::{PublicKey, Verified},
};
use ledger::{
    checkpoint::{Checkpoint, SignedCheckpoint},
    log,
    newest::Newest,
    proof::verify_inclusion,
    prover::Prover,
    store::View,
    tree::LeafIndex,
};
use minicbor::{Decode, Encode};

use crate::{
    check::{self, OpenedCheck, PlanCheck, SealedCheck},
    context::Context,
    logs::LogName,
    receipt::{Proven, Receipt},
    refusal::{Code, Fault, Refusal},
    registry::Registry,
    tables,
};

/// What was decided: enough to seal the answer, now or on a retry.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Plan {
    /// Digest of the signed question.
    #[n(0)]
    pub question: Digest,
    /// The asker.
    #[n(1)]
    pub asker: MemberId,
    /// Index of the access entry.
    #[n(2)]
    pub index: u64,
    /// Records to open.
    #[n(3)]
    pub records: Vec<PlanRecord>,
    /// Checks judged, and on what.
    #[n(4)]
    pub checks: Vec<PlanCheck>,
    /// How they came out, in the same order. Kept in no row: a retry judges again.
    #[cbor(skip)]
    pub openings: Vec<CheckOpening>,
    /// What proves the access entry, when it was written just now. Kept in no row: later the store has it.
    #[cbor(skip)]
    pub newest: KnownNewest,
}

/// What proves the newest entries of the access log, where it is at hand. Nothing was decided by it, so that two plans are the
/// same with and without it.
#[derive(Clone, Debug, Default)]
pub struct KnownNewest(pub(crate) Option<Arc<Newest>>);

impl PartialEq for KnownNewest {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for KnownNewest {}

/// One record to open.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct PlanRecord {
    /// Index of its `Recorded` entry.
    #[n(0)]
    pub version: u64,
    /// Key slot.
    #[n(1)]
    pub slot: Slot,
    /// Fields and modes, ascending.
    #[n(2)]
    pub fields: Vec<PlanField>,
}

/// One field to open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct PlanField(#[n(0)] pub FieldId, #[n(1)] pub Mode);

/// A sealed answer.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Answer {
    /// The member that answers.
    #[n(0)]
    pub member: MemberId,
    /// Digest of the signed question.
    #[n(1)]
    pub question: Digest,
    /// Its access entry, proven.
    #[n(2)]
    pub access: Receipt,
    /// Checkpoint of its `records` log that the paths of `records` lead to; absent without records.
    #[n(3)]
    pub checkpoint: Option<SignedCheckpoint>,
    /// Encapsulated key of the epoch's HPKE context; empty when nothing is sealed.
    #[n(4)]
    pub enc: Bytes,
    /// The records, in the order of the access entry.
    #[n(5)]
    pub records: Vec<AnswerRecord>,
    /// The outcomes, in the order of the access entry.
    #[n(6)]
    pub checks: Vec<SealedCheck>,
    /// Number of the answer within the epoch, by chance; zero when nothing is sealed.
    #[n(7)]
    pub number: AnswerNumber,
}

crypto::id! {
    /// Number of an answer within its epoch: its key depends on it, so no two answers share one.
    pub struct AnswerNumber(16);
}

/// The number of an answer in which nothing is sealed.
const NO_NUMBER: AnswerNumber = AnswerNumber([0; 16]);

/// One record of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct AnswerRecord {
    /// Its `Recorded` entry.
    #[n(0)]
    pub entry: Bytes,
    /// Inclusion path of the entry.
    #[n(1)]
    pub path: Vec<Digest>,
    /// Proof of the opened fields against the entry's root.
    #[n(2)]
    pub proof: FieldsProof,
    /// The fields, sealed: the subject, then values in field order, then masked forms in field order.
    #[n(3)]
    pub fields: Vec<SealedOpening>,
}

/// One sealed field.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SealedOpening {
    /// The field.
    #[n(0)]
    pub field: FieldId,
    /// `value`: the seal holds an [`Opening`] of the record's commitment; `mask`: one of the access entry's.
    #[n(1)]
    pub mode: Mode,
    /// Ciphertext.
    #[n(2)]
    pub sealed: Bytes,
}

/// An answer as its asker reads it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct OpenedAnswer {
    /// The member that answered.
    #[n(0)]
    pub member: MemberId,
    /// Index of its access entry.
    #[n(1)]
    pub index: u64,
    /// Leaf hash of its access entry.
    #[n(2)]
    pub leaf: Digest,
    /// When it was decided.
    #[n(3)]
    pub at: Timestamp,
    /// Whether the question was refused as a whole.
    #[n(4)]
    pub refused: bool,
    /// Records.
    #[n(5)]
    pub records: Vec<OpenedAnswerRecord>,
    /// Fields withheld, each with its rule.
    #[n(6)]
    pub withheld: Vec<Withheld>,
    /// Whether there are more records than one answer holds.
    #[n(7)]
    pub more: bool,
    /// Outcomes of the question's checks.
    #[n(8)]
    pub checks: Vec<OpenedCheck>,
}

/// One record as its asker reads it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct OpenedAnswerRecord {
    /// The record.
    #[n(0)]
    pub record: RecordId,
    /// Its item.
    #[n(1)]
    pub item: ItemId,
    /// Its authority.
    #[n(2)]
    pub authority: MemberId,
    /// Index of its entry.
    #[n(3)]
    pub version: u64,
    /// Whether it carries the dispute mark.
    #[n(4)]
    pub disputed: bool,
    /// Fields.
    #[n(5)]
    pub fields: Vec<OpenedField>,
}

/// One field as its asker reads it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct OpenedField {
    /// The field.
    #[n(0)]
    pub field: FieldId,
    /// How much it says.
    #[n(1)]
    pub mode: Mode,
    /// The value, or its masked form.
    #[n(2)]
    pub value: Value,
}

/// This member's end of an epoch towards one asker. The shell ends it after [`crate::limits::EPOCH_MS`].
pub struct Epoch {
    to: PublicKey,
    enc: Bytes,
    secret: AnswerEpoch,
}

impl Epoch {
    /// Begins an epoch. `seed` must be fresh.
    ///
    /// Errors: `member.unknown` when the asker is no member any more; `signature.invalid` when its key is no point.
    pub fn begin(
        registry: &Registry,
        own: &MemberId,
        asker: &MemberId,
        seed: &Secret,
    ) -> Result<Self, Refusal> {
        let to = registry.member(asker)?.stated.seal;
        let (secret, enc) = AnswerEpoch::begin(&to, &epoch_binding(own, asker), seed)
            .map_err(|_| Refusal::new(Code::SignatureInvalid, "the asker's sealing key is no valid point"))?;
        Ok(Self { to, enc, secret })
    }

    /// Whether the asker is still a member, with the key that the epoch is sealed to.
    pub fn stands(&self, registry: &Registry, asker: &MemberId) -> bool {
        registry.member(asker).is_ok_and(|member| member.stated.seal == self.to)
    }
}

/// Makes the paths of answers, and remembers what they have in common.
pub struct Provers {
    records: Prover,
    access: Prover,
}

impl Default for Provers {
    fn default() -> Self {
        let prover = |log: LogName| Prover::new(log.as_str());
        Self { records: prover(LogName::Records), access: prover(LogName::Access) }
    }
}

/// Opens the planned fields and seals them to the asker. Runs after the access entry is durable, on any thread.
///
/// `key` gives the key of a slot, or `None` when it was erased in between: such a record is refused, not skipped.
/// `number` must be fresh.
pub fn seal(
    view: &dyn View,
    provers: &Provers,
    context: &Context,
    epoch: &Epoch,
    key: &dyn Fn(Slot) -> Option<RecordKey>,
    plan: &Plan,
    number: AnswerNumber,
) -> Result<Result<Answer, Refusal>, Fault> {
    let own = &context.own.id;
    let mut sealer = epoch.secret.answer(&number.0, &answer_binding(&plan.question));
    let checkpoint = match plan.records.is_empty() {
        true => None,
        false => log::head(view, LogName::Records.as_str())?.map(|head| head.bare()),
    };
    let mut records = Vec::with_capacity(plan.records.len());
    for planned in &plan.records {
        let gone =
            || Refusal::new(Code::RecordUnknown, "a record of this answer has been erased since; ask again");
        let Some(sealed) = tables::payload(view, planned.slot)? else {
            return Ok(Err(gone()));
        };
        let Some(record_key) = key(planned.slot) else { return Ok(Err(gone())) };
        let damaged = |_| Fault(format!("payload of slot {} does not open", planned.slot.0));
        let wanted = |mode: Mode| -> Vec<FieldId> {
            planned.fields.iter().filter(|f| f.1 == mode).map(|f| f.0).collect()
        };
        let opened = sealed.open(&wanted(Mode::Value), own, &record_key).map_err(damaged)?;
        let masked = disclosure::masked(
            &context.catalog,
            &sealed,
            &wanted(Mode::Mask),
            own,
            &record_key,
            &plan.question,
        )
        .map_err(damaged)?;
        let mut fields = Vec::new();
        let values = opened.openings.iter().map(|(f, o)| (*f, Mode::Value, codec::to_vec(o)));
        let masks = masked.iter().map(|(f, o)| (*f, Mode::Mask, codec::to_vec(o)));
        for (field, mode, content) in values.chain(masks) {
            let sealed = sealer
                .seal(&field_binding(planned.version, field, mode), &content)
                .map_err(|_| Fault("sealing an answer failed".into()))?;
            fields.push(SealedOpening { field, mode, sealed });
        }
        let index = LeafIndex(planned.version);
        let missing = || Fault(format!("entry {index} of `records` is missing"));
        let head = checkpoint.as_ref().ok_or_else(missing)?;
        records.push(AnswerRecord {
            entry: log::entry(view, LogName::Records.as_str(), index)?.ok_or_else(missing)?.into(),
            path: provers.records.inclusion(view, index, head)?,
            proof: opened.proof,
            fields,
        });
    }
    let checks = check::seal(&mut sealer, &plan.checks, &plan.openings)?;
    // Where that does not fit the store has it.
    let newest = plan.newest.0.as_deref();
    let newest = newest.and_then(|newest| Receipt::of(newest, own, LogName::Access, plan.index));
    let mut access = match newest {
        Some(receipt) => receipt,
        None => Receipt::build_by(&provers.access, view, own, LogName::Access, plan.index)?,
    };
    access.checkpoint = access.checkpoint.bare();
    let (member, question) = (own.clone(), plan.question);
    let (enc, number) = match records.is_empty() && checks.is_empty() {
        true => (Bytes::default(), NO_NUMBER),
        false => (epoch.enc.clone(), number),
    };
    Ok(Ok(Answer { member, question, access, checkpoint, enc, records, checks, number }))
}

/// [`open`] with whichever of the asker's keys the answer is sealed to. A member that does not know of a new key yet
/// seals to the one before.
///
/// Errors: as [`open`], of the first key.
pub fn open_any(
    registry: &Registry,
    question: &Verified<Question>,
    keys: &[Arc<OpeningKey>],
    answer: &Answer,
) -> Result<OpenedAnswer, Refusal> {
    let mut first = None;
    for key in keys {
        match open(registry, question, key, answer) {
            Ok(opened) => return Ok(opened),
            Err(refusal) => drop(first.get_or_insert(refusal)),
        }
    }
    Err(first.unwrap_or_else(|| Refusal::new(Code::SignatureInvalid, "there is no key to open it with")))
}

/// What an access entry must say of a question. Where it came through, the subject's link and the registry are the
/// answering member's to say.
pub(crate) fn asked_by(
    question: &Verified<Question>,
    via: Option<MemberId>,
    subject_link: SubjectLink,
    registry: u64,
) -> AskedBy {
    let (asked, signed) = (question.get(), question.signed());
    let basis = match &asked.basis {
        Basis::Grant(grant) => match Signer::of(grant.issuer()) {
            Some(signer) => BasisRef::Grant(grant.digest(), signer.collector().clone()),
            None => BasisRef::None,
        },
        Basis::Duty(law) => BasisRef::Duty(law.clone()),
        Basis::Own(paper) => BasisRef::Own(*paper),
        Basis::None => BasisRef::None,
    };
    AskedBy {
        id: asked.id,
        question: signed.digest(),
        signature: Bytes(signed.signature().to_vec()),
        asker: asked.asker.clone(),
        clerk: asked.clerk.clone(),
        via,
        purpose: asked.purpose,
        basis,
        subject_link,
        registry,
    }
}

/// What an answer says without being opened: its access entry, held to the question, and the entries of its records.
#[derive(Clone, Debug)]
pub struct Traced {
    /// The access entry: a disclosure, or a refusal of the whole question.
    pub access: Proven,
    /// The `Recorded` entry of each record, in the order of the answer.
    pub recorded: Vec<Recorded>,
}

/// Checks everything an answer claims that is not sealed; for who has not the asker's key.
///
/// 1. Its access entry is in the answering member's access log, and was decided within the question's time.
/// 2. The entry repeats the question word by word: id, digest, signature, asker, clerk, purpose, basis. A member that logs
///    another clerk or grant is found here.
/// 3. What is withheld was asked for, and a refusal withholds all of it.
/// 4. As many records and outcomes are sent as the entry names, and each record's entry is in the member's `records`
///    log, with as many sealed fields as the entry names.
/// 5. Nothing else stands in it: a checkpoint has its log's line alone, and what seals nothing is empty.
///
/// Errors: a refusal that says what does not hold; the answer is then worth nothing.
pub fn trace(registry: &Registry, question: &Verified<Question>, answer: &Answer) -> Result<Traced, Refusal> {
    let refuse = |why: &str| refuse(answer, why);
    // 1
    let access = answer.access.verify(registry)?;
    if access.member != answer.member || access.log != LogName::Access {
        return Err(refuse("its receipt is of another log"));
    }
    let asked = question.get();
    if access.entry.at > asked.deadline || access.entry.at.plus_ms(CLOCK_SKEW_MS_MAX) < asked.asked_at {
        return Err(refuse("its entry was not decided within the question's time"));
    }
    // 2
    let (by, disclosed, withheld): (&AskedBy, Option<&Disclosed>, &[Withheld]) = match &access.entry.fact {
        Fact::Disclosed(d) => (&d.asked, Some(d), &d.withheld),
        Fact::Refused(Refused { asked, withheld }) => (asked, None, withheld),
        _ => return Err(refuse("its entry is no disclosure")),
    };
    if by.question != question.signed().digest() || by.question != answer.question {
        return Err(refuse("its entry is about another question"));
    }
    if *by != asked_by(question, by.via.clone(), by.subject_link, by.registry) {
        return Err(refuse("its entry names another asker, clerk, purpose or basis than the question"));
    }
    let role = registry.member(&asked.asker)?.stated.role;
    let outlet = |id: &MemberId| {
        registry.members.iter().any(|m| m.stated.id == *id && m.stated.role == Role::Platform)
    };
    if !by.via.as_ref().map_or(role.mirrors_status(), outlet) {
        return Err(refuse("its entry names another way than through the outlet"));
    }
    if let Some(disclosed) = disclosed {
        let granted = match &asked.basis {
            Basis::Grant(grant) => Some(registry.verify_grant(grant)?.get().keep_days),
            _ => None,
        };
        if disclosed.keep_days != granted {
            return Err(refuse("its entry names another time to keep it than the grant"));
        }
    }
    // 3
    let fields = asked.wants.iter().flat_map(|w| w.fields.iter().map(move |f| (&w.item, *f, None)));
    let checks = (0u16..).zip(&asked.checks).map(|(place, c)| (&c.item, c.field, Some(place)));
    let mut left = fields.chain(checks);
    let in_order = withheld.iter().all(|w| left.any(|one| one == (&w.item, w.field, w.check)));
    if !in_order {
        return Err(refuse("its entry withholds what was not asked for"));
    }
    let all: usize = asked.wants.iter().map(|w| w.fields.len()).sum::<usize>() + asked.checks.len();
    if disclosed.is_none() != (withheld.len() == all) {
        return Err(refuse("it is refused as a whole, and its entry does not withhold the whole"));
    }
    // 4
    let (named, judged) = disclosed.map_or((&[][..], 0), |d| (&d.records[..], d.checks.len()));
    if (named.len(), judged) != (answer.records.len(), answer.checks.len()) {
        return Err(refuse("it has not the records and outcomes its entry names"));
    }
    let checkpoint = match (&answer.checkpoint, named.is_empty()) {
        (Some(note), false) => Some(registry.verify_checkpoint(&answer.member, LogName::Records, note)?),
        (None, true) => None,
        _ => return Err(refuse("records and checkpoint do not go together")),
    };
    let mut recorded = Vec::with_capacity(named.len());
    for (sent, named) in answer.records.iter().zip(named) {
        let Some(checkpoint) = &checkpoint else { return Err(refuse("records without a checkpoint")) };
        let one = self::recorded(sent, named.version, checkpoint).map_err(|why| refuse(&why))?;
        if one.record != named.record {
            return Err(refuse("its entry names another record"));
        }
        let wanted = asked.wants.iter().find(|w| w.item == one.item);
        if !named.fields.iter().all(|f| wanted.is_some_and(|w| w.fields.contains(&f.field))) {
            return Err(refuse("it holds fields that were not asked for"));
        }
        // The subject comes first, and is in no entry.
        if sent.fields.len() != named.fields.len() + 1 {
            return Err(refuse("it has not the fields its entry names"));
        }
        recorded.push(one);
    }
    // 5
    let bare = |note: &SignedCheckpoint| *note == note.bare();
    let sealed = !answer.records.is_empty() || !answer.checks.is_empty();
    let empty = answer.enc.is_empty() && answer.number == NO_NUMBER;
    if !bare(&answer.access.checkpoint) || !answer.checkpoint.iter().all(bare) || (!sealed && !empty) {
        return Err(refuse("it holds what belongs to no answer"));
    }
    Ok(Traced { access, recorded })
}

impl Traced {
    /// The disclosure; `None` when the question was refused as a whole.
    pub fn disclosed(&self) -> Option<&Disclosed> {
        match &self.access.entry.fact {
            Fact::Disclosed(disclosed) => Some(disclosed),
            _ => None,
        }
    }

    /// Fields and checks withheld, each with its rule.
    pub fn withheld(&self) -> &[Withheld] {
        match &self.access.entry.fact {
            Fact::Disclosed(Disclosed { withheld, .. }) | Fact::Refused(Refused { withheld, .. }) => withheld,
            _ => &[],
        }
    }
}

/// Opens an answer and checks everything it claims: what [`trace`] checks, and every value and outcome.
///
/// Errors: a refusal that says what does not hold; the answer is then worth nothing.
pub fn open(
    registry: &Registry,
    question: &Verified<Question>,
    key: &OpeningKey,
    answer: &Answer,
) -> Result<OpenedAnswer, Refusal> {
    let refuse = |why: &str| refuse(answer, why);
    let traced = trace(registry, question, answer)?;
    let mut opening = match answer.records.is_empty() && answer.checks.is_empty() {
        true => None,
        false => Some(opener(answer, &question.get().asker, key).map_err(refuse)?),
    };
    let (named, judged) = traced.disclosed().map_or((&[][..], &[][..]), |d| (&d.records[..], &d.checks[..]));
    let mut records = Vec::new();
    for ((sent, named), recorded) in answer.records.iter().zip(named).zip(&traced.recorded) {
        let Some(opener) = opening.as_mut() else { continue };
        let about = (question.get(), &answer.question);
        let fields = open_fields(about, opener, sent, named, &recorded.fields_root).map_err(refuse)?;
        records.push(OpenedAnswerRecord {
            record: recorded.record,
            item: recorded.item.clone(),
            authority: recorded.authority.clone(),
            version: named.version,
            disputed: named.disputed,
            fields,
        });
    }
    let withheld = traced.withheld();
    let checks = check::open(question, opening.as_mut(), &answer.checks, judged, withheld).map_err(refuse)?;
    Ok(OpenedAnswer {
        member: answer.member.clone(),
        index: traced.access.index,
        leaf: traced.access.leaf,
        at: traced.access.entry.at,
        refused: traced.disclosed().is_none(),
        records,
        withheld: withheld.to_vec(),
        more: traced.disclosed().is_some_and(|d| d.more),
        checks,
    })
}

fn refuse(answer: &Answer, why: &str) -> Refusal {
    Refusal::new(Code::SignatureInvalid, format!("answer of `{}`: {why}", answer.member))
}

/// The entry that a record of an answer comes with, proven under the checkpoint.
pub(crate) fn recorded(
    sent: &AnswerRecord,
    version: u64,
    checkpoint: &Checkpoint,
) -> Result<Recorded, String> {
    let leaf = leaf_hash(&sent.entry);
    verify_inclusion(LeafIndex(version), checkpoint.size, &leaf, &checkpoint.root, &sent.path)
        .map_err(|e| e.to_string())?;
    match Entry::from_bytes(&sent.entry).map_err(|e| e.to_string())?.fact {
        Fact::Recorded(recorded) => Ok(recorded),
        _ => Err("an entry is no record".to_owned()),
    }
}

/// Opens what an answer to `asker` seals, with one of that member's keys.
pub(crate) fn opener(
    answer: &Answer,
    asker: &MemberId,
    key: &OpeningKey,
) -> Result<AnswerCipher, &'static str> {
    let bound = epoch_binding(&answer.member, asker);
    let epoch = key.epoch(&bound, &answer.enc).map_err(|_| "it is not sealed to this key")?;
    Ok(epoch.answer(&answer.number.0, &answer_binding(&answer.question)))
}

/// Opens a record that is sent in values alone, and checks them against its root: its subject, and the fields in order.
pub(crate) fn open_values(
    opener: &mut AnswerCipher,
    sent: &AnswerRecord,
    version: u64,
    root: &Digest,
) -> Result<(String, Vec<OpenedField>), &'static str> {
    match open_sent(opener, sent, version, root, &|_, _| false)? {
        (Some(Value::Text(subject)), fields) => Ok((subject, fields)),
        _ => Err("a record names no subject"),
    }
}

/// Opens one record's fields and checks them against its root, its access entry and the question.
fn open_fields(
    (question, digest): (&Question, &Digest),
    opener: &mut AnswerCipher,
    sent: &AnswerRecord,
    named: &DisclosedRecord,
    root: &Digest,
) -> Result<Vec<OpenedField>, &'static str> {
    let told = |field, opening: &Opening| {
        let told = disclosure::mask_commitment(digest, named.version, opening);
        named.fields.iter().any(|f| f.field == field && f.mask == Some(told))
    };
    let (about, fields) = open_sent(opener, sent, named.version, root, &told)?;
    if about != Some(Value::Text(question.subject.as_str().to_owned())) {
        return Err("a record is about another subject");
    }
    let same = fields.len() == named.fields.len()
        && fields.iter().zip(&named.fields).all(|(a, b)| a.field == b.field && a.mode == b.mode);
    if !same {
        return Err("it has not the fields its entry names");
    }
    Ok(fields)
}

/// Opens the fields of one record and holds the values against its root. `told` says whether a masked form is the one that was
/// committed to. The subject, where it is among them, and the others in order.
fn open_sent(
    opener: &mut AnswerCipher,
    sent: &AnswerRecord,
    version: u64,
    root: &Digest,
    told: &dyn Fn(FieldId, &Opening) -> bool,
) -> Result<(Option<Value>, Vec<OpenedField>), &'static str> {
    let mut commitments = Vec::new();
    let mut fields = Vec::new();
    let mut about = None;
    for SealedOpening { field, mode, sealed } in &sent.fields {
        let bound = field_binding(version, *field, *mode);
        let content = opener.open(&bound, sealed).map_err(|_| "a field does not open with this key")?;
        let value = match mode {
            Mode::Value => {
                let opening: Opening = codec::from_slice(&content).map_err(|_| "an opening is malformed")?;
                commitments.push(opening.commitment());
                read_content(*field, &opening.content)
            }
            Mode::Mask => {
                let opening: Opening = codec::from_slice(&content).map_err(|_| "a mask is malformed")?;
                if !told(*field, &opening) {
                    return Err("a masked value is not the one its entry commits to");
                }
                read_content(*field, &opening.content)
            }
            Mode::Verify => None,
        };
        let value = value.ok_or("a field holds something else than its value")?;
        if *field == SUBJECT_FIELD {
            about = Some(value);
        } else {
            fields.push(OpenedField { field: *field, mode: *mode, value });
        }
    }
    if !sent.proof.verify(root, &commitments) {
        return Err("the fields do not belong to the record's root");
    }
    fields.sort_by_key(|f| f.field);
    Ok((about, fields))
}

fn epoch_binding(member: &MemberId, asker: &MemberId) -> Vec<u8> {
    codec::to_vec(&(member, asker))
}

fn answer_binding(question: &Digest) -> Vec<u8> {
    codec::to_vec(question)
}

fn field_binding(version: u64, field: FieldId, mode: Mode) -> Vec<u8> {
    codec::to_vec(&(version, field, mode))
}
