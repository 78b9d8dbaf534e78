//! Checks: predicates that are judged instead of fields that are told; and masked forms, as far as they are treated alike.
//!
//! An access entry holds a commitment to each outcome and is written before the answer leaves, so the outcome must be known
//! first; and to judge, fields must be opened, which no decision does. So a question with checks or masks is decided twice: the first
//! time it says what to open ([`Judging`]), the shell opens that ([`judge`]) and hands the question in again with what came
//! out ([`Judgement`]). If the records have changed in between, it is judged anew. Nothing is written the first time.

use std::collections::BTreeMap;

use credit::{
    binding::Signer,
    catalog::Mode,
    disclosure::{self, CheckOpening, RestsOn},
    entry::{DisclosedRecord, Fact, Judged, Version, Withheld},
    grant::Grant,
    id::{FieldId, ItemId, MemberId, RecordId},
    policy::{Asking, Role, RuleName, Verdict},
    predicate::{BUDGET_DAYS, Candidate, Check, Outcome, Seen},
    question::Question,
    record::read_content,
    value::{Date, Value},
};
use crypto::{
    Bytes, Digest, Timestamp, codec,
    keytree::Slot,
    label::Label,
    merkle::leaf_hash,
    pseudonym::{SubjectTag, keyed, subject_link},
    seal::{AnswerCipher, RecordKey, SealError},
    secret::Secret,
    sign::{Signed, Verified},
};
use ledger::{log, store::View, tree::LeafIndex};
use minicbor::{Decode, Encode};

use crate::{
    answer::PlanRecord,
    context::Context,
    logs::LogName,
    propagation::{self, Disclosure},
    query::usable,
    refusal::{Code, Fault, Halt, Refusal},
    tables::{self, Key},
    turn::Turn,
    wire::{BudgetLeft, Response},
};

/// The records that one check is judged on, the newest first; none for a subject of which there is none.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct PlanCheck {
    /// Its place among the question's checks.
    #[n(0)]
    pub check: u16,
    /// Versions to look at.
    #[n(1)]
    pub versions: Vec<Version>,
}

/// A question that waits until its checks are judged.
#[derive(Clone, Debug)]
pub struct Judging {
    /// Who sent it.
    pub caller: MemberId,
    /// The question.
    pub question: Verified<Question>,
    /// Its grant.
    pub grant: Option<Verified<Grant>>,
    /// What to judge.
    pub checks: Vec<PlanCheck>,
    /// What to mask.
    pub masks: Vec<PlanRecord>,
}

/// What came out.
#[derive(Clone, Debug, Default)]
pub struct Judgement {
    /// What was judged.
    pub checks: Vec<PlanCheck>,
    /// The openings, in the same order.
    pub openings: Vec<CheckOpening>,
    /// What was masked.
    pub masks: Vec<PlanRecord>,
    /// Version, field and commitment of each masked form.
    pub masked: BTreeMap<(u64, FieldId), Digest>,
}

impl Judgement {
    /// Enters the commitments to a record's masked forms.
    pub(crate) fn commit(&self, disclosed: &mut DisclosedRecord) {
        let version = disclosed.version;
        for field in disclosed.fields.iter_mut().filter(|field| field.mode == Mode::Mask) {
            field.mask = self.masked.get(&(version, field.field)).copied();
        }
    }
}

/// Of the records of a plan those that have fields to be masked, with these fields alone.
pub(crate) fn masks<'a>(records: impl Iterator<Item = &'a PlanRecord>) -> Vec<PlanRecord> {
    let masked = records.map(|record| {
        let fields = record.fields.iter().filter(|field| field.1 == Mode::Mask).copied().collect();
        PlanRecord { version: record.version, slot: record.slot, fields }
    });
    masked.filter(|record| !record.fields.is_empty()).collect()
}

/// A record that was to be looked at has been erased meanwhile.
fn gone() -> Refusal {
    Refusal::new(Code::RecordUnknown, "a record of this answer has been erased since; ask again")
}

/// Judges the checks of a question and masks what is to be masked, on any thread. Values are in clear here only.
///
/// `key` gives the key of a slot, or `None` when it was erased in between: then the answer is `record.unknown`. The same
/// records give the same openings, so that a retry finds the commitments of its entry again.
pub fn judge(
    context: &Context,
    view: &dyn View,
    key: &dyn Fn(Slot) -> Option<RecordKey>,
    judging: &Judging,
) -> Result<Result<Judgement, Refusal>, Fault> {
    let question = judging.question.signed().digest();
    let mut openings = Vec::with_capacity(judging.checks.len());
    for planned in &judging.checks {
        let check = judging.question.get().checks.get(usize::from(planned.check));
        let rule = check.and_then(|c| context.catalog.check_rule(&c.item, c.field));
        let (Some(check), Some(rule)) = (check, rule) else {
            return Err(Fault("a check was planned that the question or the catalog has not".into()));
        };
        let (mut seen, mut on, mut salts) = (Vec::new(), Vec::new(), Vec::new());
        let place = planned.check.to_be_bytes();
        for version in &planned.versions {
            let Some(sealed) = tables::payload(view, version.slot)? else { return Ok(Err(gone())) };
            let Some(record_key) = key(version.slot) else { return Ok(Err(gone())) };
            let wanted: Vec<FieldId> = [Some(check.field), rule.month].into_iter().flatten().collect();
            let damaged = |SealError| Fault(format!("payload of slot {} does not open", version.slot.0));
            let opened = sealed.open(&wanted, &context.own.id, &record_key).map_err(damaged)?;
            let value = |field: FieldId| -> Option<Value> {
                let (_, opening) = opened.openings.iter().find(|(f, _)| *f == field)?;
                read_content(field, &opening.content)
            };
            seen.push(Seen {
                decided: sealed.facts.decided,
                value: value(check.field),
                month: rule.month.and_then(value),
            });
            let entry = log::entry(view, LogName::Records.as_str(), LeafIndex(version.index))?;
            let entry =
                entry.ok_or_else(|| Fault(format!("entry {} of `records` is missing", version.index)))?;
            on.push(RestsOn { record: sealed.facts.record, leaf: leaf_hash(&entry) });
            salts.push(record_key.check_salt(&question, planned.check));
        }
        // With a record's key its part of the salt is gone, and the commitment in the log says nothing any more.
        let parts: Vec<&[u8]> =
            [&question.0[..], &place].into_iter().chain(salts.iter().map(|s| &s[..])).collect();
        let salt = Digest(keyed(&context.own.access, Label::CheckSalt, &parts));
        let (outcome, rests) = check.predicate.judge(rule, &seen);
        let rests = rests.into_iter().filter_map(|at| on.get(at).copied()).collect();
        openings.push(CheckOpening::new(salt, &check.predicate, outcome, rests));
    }
    let mut masked = BTreeMap::new();
    for record in &judging.masks {
        let Some(sealed) = tables::payload(view, record.slot)? else { return Ok(Err(gone())) };
        let Some(record_key) = key(record.slot) else { return Ok(Err(gone())) };
        let fields: Vec<FieldId> = record.fields.iter().map(|field| field.0).collect();
        let damaged = |SealError| Fault(format!("payload of slot {} does not open", record.slot.0));
        let forms =
            disclosure::masked(&context.catalog, &sealed, &fields, &context.own.id, &record_key, &question);
        for (field, opening) in forms.map_err(damaged)? {
            let told = disclosure::mask_commitment(&question, record.version, &opening);
            masked.insert((record.version, field), told);
        }
    }
    Ok(Ok(Judgement { checks: judging.checks.clone(), openings, masks: judging.masks.clone(), masked }))
}

/// The checks that may be judged, each with the rule that allows it, those that may not, and what that leaves of budgets.
pub(crate) struct Ruled {
    pub allowed: Vec<(u16, RuleName)>,
    pub withheld: Vec<Withheld>,
    budgets: BTreeMap<Key, BudgetRow>,
}

/// Decides who may have what judged: by the policy, and then by the asker's budget. Neither looks for the subject.
pub(crate) fn rule(
    context: &Context,
    turn: &Turn<'_>,
    asking: &Asking<'_>,
    question: &Question,
) -> Result<Ruled, Halt> {
    let mut ruled = Ruled { allowed: Vec::new(), withheld: Vec::new(), budgets: BTreeMap::new() };
    let tag = context.own.naming.subject_tag(&question.subject);
    for (place, check) in (0u16..).zip(&question.checks) {
        let account = Account { view: turn.view(), now: turn.now, tag: &tag, asker: &question.asker };
        let affordable = || ruled.spend(context, &account, check);
        match context.policy.decide_check(asking, &context.catalog, check, affordable)? {
            Verdict::Allow { rule, .. } => ruled.allowed.push((place, rule)),
            Verdict::Deny { rule } => {
                let (item, field) = (check.item.clone(), check.field);
                ruled.withheld.push(Withheld { item, field, rule, check: Some(place) });
            }
        }
    }
    Ok(ruled)
}

/// Whose budget, and when.
struct Account<'a> {
    view: &'a dyn View,
    now: Timestamp,
    tag: &'a SubjectTag,
    asker: &'a MemberId,
}

impl Account<'_> {
    /// The key of a check's family, and what it may be spent on in all.
    fn of(&self, context: &Context, check: &Check) -> (Key, u16) {
        let family = check.predicate.kind().family();
        let budget = context.catalog.check_rule(&check.item, check.field).map_or(0, |rule| rule.budget);
        (Key::budget(self.tag, self.asker, &check.item, check.field, family), budget)
    }
}

impl Ruled {
    /// Takes one check out of its family's budget; false when nothing is left.
    fn spend(&mut self, context: &Context, account: &Account<'_>, check: &Check) -> Result<bool, Fault> {
        let (key, budget) = account.of(context, check);
        let mut row = match self.budgets.remove(&key) {
            Some(row) => row,
            None => tables::row(account.view, &key)?.unwrap_or_default(),
        };
        let parts: [&[u8]; 2] = [&account.tag.0, &codec::to_vec(&check.predicate)];
        let known = Digest(keyed(&context.own.naming.pepper, Label::CheckTag, &parts));
        let affordable = row.spend(known, budget, account.now);
        self.budgets.insert(key, row);
        Ok(affordable)
    }

    /// Writes down what was spent, with the entry.
    pub(crate) fn charge(&self, turn: &mut Turn<'_>) {
        for (key, row) in &self.budgets {
            turn.put(key, row);
        }
    }
}

/// What a question with these checks would find of its budgets here, check by check, for the operator. Nothing is spent.
///
/// It takes the grant, whose asker and subject it speaks of: what somebody has asked about a subject is not told to who
/// holds nothing but the subject's number.
///
/// Errors: the signature is not the collector's; `caller.not-allowed` at a member that answers no questions.
pub fn budgets(
    context: &Context,
    view: &dyn View,
    signed: &Signed<Grant>,
    checks: &[Check],
    now: Timestamp,
) -> Result<Response, Fault> {
    let registry = &context.registry;
    let grant = match registry.verify_grant(signed) {
        Ok(grant) => grant.into_inner(),
        Err(refusal) => return Ok(Response::Refused(refusal)),
    };
    let signer = Signer::of(signed.issuer());
    if signer.is_none_or(|signer| *signer.collector() != grant.collector)
        || !registry.member(&grant.collector).is_ok_and(|m| m.stated.collector)
    {
        let why = "the grant is not signed by or for a registered collector";
        return Ok(Response::Refused(Refusal::new(Code::GrantInvalid, why)));
    }
    if !context.role().is_ok_and(Role::collects) {
        let why = "this member answers no questions, and so counts none";
        return Ok(Response::Refused(Refusal::new(Code::CallerNotAllowed, why)));
    }
    let tag = context.own.naming.subject_tag(&grant.subject);
    let account = Account { view, now, tag: &tag, asker: &grant.grantee };
    let mut ruled = Ruled { allowed: Vec::new(), withheld: Vec::new(), budgets: BTreeMap::new() };
    let mut found = Vec::with_capacity(checks.len());
    for check in checks {
        let affordable = ruled.spend(context, &account, check)?;
        let (key, budget) = account.of(context, check);
        let row = ruled.budgets.get(&key);
        found.push(BudgetLeft {
            affordable,
            budget,
            left: row.map_or(budget, |row| row.left(budget)),
            frees_at: row.and_then(BudgetRow::frees_at),
        });
    }
    Ok(Response::Budgets(found))
}

/// What one asker has had judged about one subject, field and family: each predicate, keyed, and when it was first judged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct BudgetRow(#[n(0)] Vec<Spent>);

/// One predicate, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
struct Spent(#[n(0)] Digest, #[n(1)] Timestamp);

/// How long a judged predicate counts.
const WINDOW_MS: u64 = BUDGET_DAYS as u64 * 86_400_000;

impl BudgetRow {
    /// How many other predicates may still be judged.
    fn left(&self, budget: u16) -> u16 {
        budget.saturating_sub(u16::try_from(self.0.len()).unwrap_or(u16::MAX))
    }

    /// When the oldest one counts no more.
    fn frees_at(&self) -> Option<Timestamp> {
        self.0.iter().map(|spent| spent.1.plus_ms(WINDOW_MS)).min()
    }

    /// Whether `predicate` may be judged: it was within the last [`BUDGET_DAYS`], or fewer than `budget` others were. A
    /// clock that went back frees nothing.
    fn spend(&mut self, predicate: Digest, budget: u16, now: Timestamp) -> bool {
        self.0.retain(|spent| spent.1.plus_ms(WINDOW_MS) > now);
        if self.0.iter().any(|spent| spent.0 == predicate) {
            return true;
        }
        let left = self.0.len() < usize::from(budget);
        if left {
            self.0.push(Spent(predicate, now));
        }
        left
    }
}

/// A record that may be used: its newest version, day of decision and fields.
type Present = (Version, Option<Date>, Vec<FieldId>);

/// Chooses the records that the allowed checks are judged on.
pub(crate) fn plan(
    context: &Context,
    turn: &Turn<'_>,
    role: Role,
    question: &Question,
    allowed: &[(u16, RuleName)],
) -> Result<Vec<PlanCheck>, Halt> {
    let tag = context.own.naming.subject_tag(&question.subject);
    let mut of_item: BTreeMap<&ItemId, Vec<Present>> = BTreeMap::new();
    let mut planned = Vec::with_capacity(allowed.len());
    for (place, _) in allowed {
        let Some(check) = question.checks.get(usize::from(*place)) else { continue };
        if !of_item.contains_key(&check.item) {
            let mut found = Vec::new();
            usable(context, turn, role, &tag, &check.item, |row, sealed, _| {
                let fields = sealed.fields.iter().map(|f| f.field).collect();
                found.push((row.newest, sealed.facts.decided, fields));
            })?;
            of_item.insert(&check.item, found);
        }
        let month = context.catalog.check_rule(&check.item, check.field).and_then(|rule| rule.month);
        let records = of_item.get(&check.item).map_or(&[][..], |found| &found[..]);
        let candidates: Vec<Candidate> = records
            .iter()
            .map(|(version, decided, fields)| Candidate {
                decided: *decided,
                version: version.index,
                field: fields.contains(&check.field),
                month: month.is_none_or(|month| fields.contains(&month)),
            })
            .collect();
        let chosen = check.predicate.looks_at(&candidates);
        planned.push(PlanCheck { check: *place, versions: chosen.iter().map(|at| records[*at].0).collect() });
    }
    Ok(planned)
}

/// The lines of the access entry: what was judged, and commitments to how it came out.
pub(crate) fn lines(
    question: &Verified<Question>,
    allowed: &[(u16, RuleName)],
    judgement: &Judgement,
) -> Vec<Judged> {
    let digest = question.signed().digest();
    let judged = allowed.iter().zip(&judgement.openings).filter_map(|((place, rule), opening)| {
        let check = question.get().checks.get(usize::from(*place))?;
        Some(Judged {
            check: *place,
            item: check.item.clone(),
            field: check.field,
            kind: check.predicate.kind(),
            rule: rule.clone(),
            outcome: opening.commitment(&digest, *place),
        })
    });
    judged.collect()
}

/// Notes who was told something that rests on a record: its repair concerns them. The log does not say it, so that nobody
/// reads there whether there was a record at all.
pub(crate) fn remember(turn: &mut Turn<'_>, asker: &MemberId, openings: &[CheckOpening]) {
    let now = turn.now;
    for on in openings.iter().flat_map(CheckOpening::rests_on) {
        turn.put(&Key::judged(&on.record, asker), &now);
    }
}

/// Notes again, after a disk was lost, who was told something that may rest on these own records of one item, each with its
/// first version and the key to the accesses about its subject: whoever was told an outcome about that subject and item since
/// the record is there. Own status entries about the record go to them too.
pub(crate) fn recall(
    context: &Context,
    turn: &mut Turn<'_>,
    item: &ItemId,
    records: &[(RecordId, Version, Secret)],
) -> Result<(), Halt> {
    let mut told = Vec::new();
    for (record, first, access) in records {
        let recorded = LogName::Records.kept_entry(turn.view(), first.index)?;
        for n in 0.. {
            let Some(index) = turn.row::<u64>(&Key::link(&subject_link(access, n)))? else { break };
            // One that this very step writes rests on nothing that was lost.
            let Some(entry) = LogName::Access.entry(turn.view(), index)? else { continue };
            if let Fact::Disclosed(disclosed) = entry.fact
                && entry.at >= recorded.at
                && disclosed.checks.iter().any(|judged| judged.item == *item)
            {
                let asker = disclosed.asked.asker;
                turn.put(&Key::judged(record, &asker), &entry.at);
                told.push(Disclosure { record: *record, asker, at: entry.at });
            }
        }
    }
    propagation::schedule_late(context, turn, &told)
}

/// One sealed outcome.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SealedCheck {
    /// Its place among the question's checks.
    #[n(0)]
    pub check: u16,
    /// Ciphertext of a [`CheckOpening`]; its length follows from the predicate.
    #[n(1)]
    pub sealed: Bytes,
}

/// An outcome as its asker reads it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct OpenedCheck {
    /// Its place among the question's checks.
    #[n(0)]
    pub place: u16,
    /// What was asked.
    #[n(1)]
    pub check: Check,
    /// What is told.
    #[n(2)]
    pub outcome: Outcome,
    /// The rule that allows it.
    #[n(3)]
    pub rule: RuleName,
    /// The records it rests on.
    #[n(4)]
    pub on: Vec<RestsOn>,
}

/// Seals the outcomes to the asker, after the records of the answer.
pub(crate) fn seal(
    sealer: &mut AnswerCipher,
    checks: &[PlanCheck],
    openings: &[CheckOpening],
) -> Result<Vec<SealedCheck>, Fault> {
    if checks.len() != openings.len() {
        return Err(Fault("an answer has not the outcomes its plan names".into()));
    }
    let sealed = checks.iter().zip(openings).map(|(planned, opening)| {
        let sealed = sealer
            .seal(&binding(planned.check), &codec::to_vec(opening))
            .map_err(|_| Fault("sealing an answer failed".into()))?;
        Ok(SealedCheck { check: planned.check, sealed })
    });
    sealed.collect()
}

/// Opens the outcomes and checks each against its commitment, and that every check of the question is either judged or
/// withheld.
pub(crate) fn open(
    question: &Verified<Question>,
    opener: Option<&mut AnswerCipher>,
    sent: &[SealedCheck],
    judged: &[Judged],
    withheld: &[Withheld],
) -> Result<Vec<OpenedCheck>, &'static str> {
    let (asked, digest) = (&question.get().checks, question.signed().digest());
    let mut places: Vec<u16> =
        judged.iter().map(|j| j.check).chain(withheld.iter().filter_map(|w| w.check)).collect();
    places.sort_unstable();
    if !places.iter().copied().map(usize::from).eq(0..asked.len()) {
        return Err("a check of the question is neither judged nor withheld");
    }
    if sent.len() != judged.len() {
        return Err("it has not the outcomes its entry names");
    }
    let Some(opener) = opener else { return Ok(Vec::new()) };
    let mut opened = Vec::with_capacity(judged.len());
    for (sent, judged) in sent.iter().zip(judged) {
        let check = &asked[usize::from(judged.check)];
        let named = (&judged.item, judged.field, judged.kind);
        if sent.check != judged.check || named != (&check.item, check.field, check.predicate.kind()) {
            return Err("its entry names another check than the question");
        }
        let content = opener
            .open(&binding(sent.check), &sent.sealed)
            .map_err(|_| "an outcome does not open with this key")?;
        let opening: CheckOpening =
            codec::from_slice(&content).map_err(|_| "the opening of an outcome is malformed")?;
        if opening.commitment(&digest, judged.check) != judged.outcome {
            return Err("an outcome is not the one its entry commits to");
        }
        let (outcome, on) =
            opening.read(&check.predicate).ok_or("the opening of an outcome does not fit its check")?;
        opened.push(OpenedCheck {
            place: judged.check,
            check: check.clone(),
            outcome,
            rule: judged.rule.clone(),
            on,
        });
    }
    Ok(opened)
}

/// Two elements, where a field's binding has three.
fn binding(check: u16) -> Vec<u8> {
    codec::to_vec(&(Mode::Verify, check))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: u64 = 86_400_000;

    fn tag(n: u8) -> Digest {
        Digest([n; 32])
    }

    #[test]
    fn a_clock_that_goes_back_frees_nothing() {
        let mut row = BudgetRow::default();
        assert!(row.spend(tag(1), 1, Timestamp(90 * DAY)));
        assert!(!row.spend(tag(2), 1, Timestamp(10 * DAY)));
        assert!(row.spend(tag(1), 1, Timestamp(10 * DAY)));
        assert!(!row.spend(tag(2), 1, Timestamp(120 * DAY - 1)));
        assert!(row.spend(tag(2), 1, Timestamp(120 * DAY)));
    }

    proptest! {
        #[test]
        fn no_thirty_days_see_more_predicates_than_the_budget(
            asked in proptest::collection::vec((0u64..20, 0u8..9), 0..60), budget in 1u16..6,
        ) {
            let mut row = BudgetRow::default();
            let (mut now, mut fresh) = (0, Vec::<(u64, u8)>::new());
            for (days, which) in asked {
                now += days * DAY;
                let window = || fresh.iter().filter(|(at, _)| at + 30 * DAY > now);
                let (known, spent) = (window().any(|(_, w)| *w == which), window().count());
                prop_assert_eq!(row.spend(tag(which), budget, Timestamp(now)), known || spent < usize::from(budget));
                if !known && spent < usize::from(budget) {
                    fresh.push((now, which));
                }
                prop_assert!(fresh.iter().filter(|(at, _)| at + 30 * DAY > now).count() <= usize::from(budget));
                prop_assert!(row.0.len() <= usize::from(budget));
            }
        }
    }
}
