//! Repair (信用修复) from any counter to the authority's decision.
//!
//! Every step of a case is an entry first: the counter's `Applied`, the authority's `Joined`, `Accepted`, `NotGranted`, and
//! the change of standing that grants. The rows are folds over them ([`own_entry`]), so that a member that lost its disk
//! has its cases again, with their deadlines, once its mirrors have given its log back.

use credit::{
    entry::{Assigned, CaseStep, Changed, Fact, Joining, NotGranted, StatusFact},
    id::{CaseId, ClerkId, MemberId, RecordId},
    normalize::normalize_document_number,
    record::RecordFacts,
    repair::{self, Application, Applied, Case, Denial, FalseMaterial, MATERIALS_MAX},
    rules::{Clock, Rule, Tier},
    status::{Change, Standing},
    value::Date,
};
use crypto::{
    Digest, Timestamp,
    sign::{Signed, Verified},
};
use minicbor::{Decode, Encode};

use crate::{
    ban,
    context::Context,
    limits::REASON_BYTES_MAX,
    logs::LogName,
    propagation::{backoff_ms, concerns_others},
    refusal::{Code, Halt, Refusal},
    step::{Effect, Reply, Token},
    tables::{self, ForwardRow, Key, OutcomeRow, RecordRow, Told, Work},
    timer,
    turn::Turn,
    wire::{RepairDraft, Response},
};

impl From<Denial> for Halt {
    fn from(denial: Denial) -> Self {
        Self::Refusal(Refusal::new(Code::CaseDenied, denial.to_string()))
    }
}

/// An application taken at this counter.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Forwarded {
    /// Its id here.
    #[n(0)]
    pub application: CaseId,
    /// The authority.
    #[n(1)]
    pub to: MemberId,
    /// The case it opened or joined there.
    #[n(2)]
    pub case: Option<CaseId>,
    /// The authority's refusal.
    #[n(3)]
    pub refused: Option<String>,
    /// How the case fares, as the authority's status log tells.
    #[n(4)]
    pub outcome: Option<OutcomeRow>,
    /// When it was taken.
    #[n(5)]
    pub since: Timestamp,
    /// Who took it.
    #[n(6)]
    pub clerk: Option<ClerkId>,
}

/// Takes an application at this member's counter.
///
/// 1. This member takes applications, and the authority is a member that decides: `caller.not-allowed`,
///    `member.unknown`. At most [`MATERIALS_MAX`] papers: `case.denied`.
/// 2. The counter signs the application and writes it into its own status log as `Applied`.
/// 3. At the authority itself the case opens at once; otherwise a row carries the application until the authority
///    has answered.
pub fn apply(
    context: &Context,
    turn: &mut Turn<'_>,
    token: Token,
    draft: RepairDraft,
    case: CaseId,
) -> Result<(), Halt> {
    // 1
    if !context.role()?.mirrors_status() {
        return Halt::refuse(Code::CallerNotAllowed, "applications are taken by public platforms");
    }
    if !context.registry.member(&draft.authority)?.stated.role.collects() {
        return Halt::refuse(Code::MemberUnknown, format!("`{}` decides no records", draft.authority));
    }
    within_limit(&draft.materials)?;
    // 2
    let document = normalize_document_number(&draft.document);
    let application = Application {
        case,
        record: context.own.naming.record_id(&draft.authority, &draft.item, &document, &draft.subject),
        authority: draft.authority.clone(),
        counter: context.own.id.clone(),
        materials: draft.materials,
        applied_at: turn.now,
        clerk: draft.clerk,
    };
    let signed = context.sign(turn.now, &application);
    say(context, turn, &StatusFact::Applied(signed.clone()))?;
    // 3
    if draft.authority == context.own.id {
        let case = open(context, turn, &application, signed.digest())?;
        turn.reply(token, Reply::ready(Response::Case(case)));
        return Ok(());
    }
    turn.effect(Effect::Forward { to: draft.authority, case, application: signed });
    turn.reply(token, Reply::ready(Response::Case(case)));
    Ok(())
}

/// Takes an application forwarded by another member's counter: a public platform, and the one that signed it.
pub fn application(
    context: &Context,
    turn: &mut Turn<'_>,
    token: Token,
    caller: &MemberId,
    application: &Verified<Application>,
) -> Result<(), Halt> {
    let asked = application.get();
    if asked.counter != *caller || application.signed().issuer() != caller.as_str() {
        return Halt::refuse(
            Code::CallerNotAllowed,
            "an application is forwarded by the counter that took it",
        );
    }
    if !context.registry.member(caller)?.stated.role.mirrors_status() {
        return Halt::refuse(Code::CallerNotAllowed, "applications are taken by public platforms");
    }
    within_limit(&asked.materials)?;
    let case = open(context, turn, asked, application.signed().digest())?;
    turn.reply(token, Reply::ready(Response::Case(case)));
    Ok(())
}

/// Opens a case or joins the one that is open for the record.
///
/// 1. This member is the record's authority: `authority.other`.
/// 2. The same application through several counters is normal and joins the one case.
/// 3. It holds the record: `record.unknown`. The record's item can be repaired, it is not repaired, withdrawn or expired
///    already, and its subject is not barred for false material: `case.denied`.
///
/// What opens or joins is written as `Joined`, the acknowledgement that stays; a retry writes nothing.
fn open(context: &Context, turn: &mut Turn<'_>, asked: &Application, digest: Digest) -> Result<CaseId, Halt> {
    // 1
    if asked.authority != context.own.id {
        return Halt::refuse(Code::NotAuthority, format!("`{}`", asked.authority));
    }
    // 2, before the record itself: a retry finds its case, decided by now or come back from a mirror without the record.
    if let Some(id) = turn.row::<CaseId>(&Key::open_case(&asked.record))?
        && let Some(case) = turn.row::<Case>(&Key::case(&id))?
    {
        if case.applied().holds(&digest) {
            return Ok(id);
        }
        if !matches!(case, Case::Decided(_)) {
            // Whether it still may; the row follows from the entry.
            case.applied().clone().join(asked, digest)?;
            let joining = Joining { case: id, application: asked.clone(), digest, due: None };
            say(context, turn, &StatusFact::Joined(joining))?;
            return Ok(id);
        }
    }
    // 3
    let facts = facts(context, turn, &asked.record)?;
    if !context.catalog.item(&facts.item).is_some_and(|i| i.repairable) {
        return Halt::refuse(Code::CaseDenied, format!("item `{}` knows no repair", facts.item));
    }
    let standing: Standing = turn.row(&Key::standing(&context.own.id, &asked.record))?.unwrap_or_default();
    if standing.has_ended() {
        return Halt::refuse(
            Code::CaseDenied,
            format!("the record is {} already", standing.status().as_str()),
        );
    }
    ban::hold_against(context, turn, &facts)?;
    // The counter chose the id; it must not fall on another case.
    if turn.row::<Case>(&Key::case(&asked.case))?.is_some() {
        return Halt::refuse(Code::CaseDenied, "this case id is taken");
    }
    let due = repair::accept_due(asked.applied_at, rule(context, &facts).ok(), &context.calendar);
    let joining = Joining { case: asked.case, application: asked.clone(), digest, due };
    say(context, turn, &StatusFact::Joined(joining))?;
    Ok(asked.case)
}

fn within_limit(materials: &[Digest]) -> Result<(), Halt> {
    if materials.len() > MATERIALS_MAX {
        return Halt::refuse(Code::CaseDenied, format!("an application has at most {MATERIALS_MAX} papers"));
    }
    Ok(())
}

/// Writes a statement into the own status log; its rows follow from the entry.
fn say(context: &Context, turn: &mut Turn<'_>, fact: &StatusFact) -> Result<u64, Halt> {
    let signed = context.sign(turn.now, fact);
    turn.append(context, LogName::Status, Fact::Status(signed)).map(|(index, _)| index)
}

/// Folds an own statement about a case into rows: written a moment ago, taken back from a mirror, or read again.
pub(crate) fn own_entry(
    context: &Context,
    turn: &mut Turn<'_>,
    fact: &StatusFact,
    told: Told,
) -> Result<(), Halt> {
    match fact {
        StatusFact::Applied(signed) => forward(context, turn, signed),
        StatusFact::Joined(Joining { case, application, digest, due }) => {
            let case = match turn.row::<Case>(&Key::case(case))? {
                None => {
                    turn.put(&Key::open_case(&application.record), case);
                    Case::Applied(Applied { case: *case, ..Applied::open(application, *digest, *due) })
                }
                Some(Case::Applied(mut applied)) => {
                    applied.join(application, *digest)?;
                    Case::Applied(applied)
                }
                Some(Case::Accepted(mut accepted)) => {
                    accepted.applied.join(application, *digest)?;
                    Case::Accepted(accepted)
                }
                Some(decided) => decided,
            };
            put(turn, &case);
            Ok(())
        }
        StatusFact::Accepted(step) => {
            if let Some(Case::Applied(applied)) = turn.row(&Key::case(&step.case))? {
                put(turn, &Case::Accepted(applied.accept(told.at, step.due, step.clerk.clone())));
            }
            Ok(())
        }
        StatusFact::Assigned(Assigned { case, clerk }) => {
            if let Some(mut case) = turn.row::<Case>(&Key::case(case))? {
                case.assign(clerk.clone());
                put(turn, &case);
            }
            Ok(())
        }
        StatusFact::NotGranted(said) => {
            if let Some(Case::Accepted(accepted)) = turn.row(&Key::case(&said.case))? {
                let decided =
                    accepted.refuse(told.at, said.rule.clone(), said.reason.clone(), said.clerk.clone());
                put(turn, &Case::Decided(decided));
            }
            Ok(())
        }
        StatusFact::Changed(Changed { change: Change::Repair, case: Some(case), rule, clerk, .. }) => {
            let accepted = match turn.row(&Key::case(case))? {
                Some(Case::Accepted(accepted)) => accepted,
                // Another platform's result was recognised before this one had accepted.
                Some(Case::Applied(applied)) => applied.accept(told.at, None, None),
                _ => return Ok(()),
            };
            put(turn, &Case::Decided(accepted.grant(told.at, rule.clone(), clerk.clone())));
            Ok(())
        }
        _ => Ok(()),
    }
}

fn put(turn: &mut Turn<'_>, case: &Case) {
    turn.put(&Key::case(&case.id()), case);
    timer::of_case(turn, case);
}

/// An application taken here is on its way until its authority has answered. Sent twice, it joins nothing twice.
fn forward(context: &Context, turn: &mut Turn<'_>, signed: &Signed<Application>) -> Result<(), Halt> {
    let application = context.registry.verify(signed)?.into_inner();
    let key = Key::forward(&application.case);
    if application.authority == context.own.id || turn.row::<ForwardRow>(&key)?.is_some() {
        return Ok(());
    }
    let row = ForwardRow {
        application: signed.clone(),
        to: application.authority,
        tries: 1,
        case: None,
        refused: None,
        since: application.applied_at,
        told: false,
        clerk: application.clerk,
    };
    turn.put(&key, &row);
    turn.put(&Key::due(turn.now.plus_ms(backoff_ms(1)), &Work::Forward(application.case)), &());
    Ok(())
}

/// Keeps the authority's answer to a forwarded application.
pub fn forwarded(turn: &mut Turn<'_>, case: CaseId, outcome: Result<CaseId, Refusal>) -> Result<(), Halt> {
    let Some(mut row) = turn.row::<ForwardRow>(&Key::forward(&case))? else { return Ok(()) };
    match outcome {
        Ok(joined) => row.case = Some(joined),
        // Such a refusal passes by itself; the application stays due.
        Err(refusal)
            if matches!(refusal.known(), Some(Code::MemberStarting | Code::MemberBehind | Code::Busy)) =>
        {
            return Ok(());
        }
        Err(refusal) => row.refused = Some(refusal.to_string()),
    }
    turn.put(&Key::forward(&case), &row);
    Ok(())
}

/// Accepts a case (受理).
pub fn accept(
    context: &Context,
    turn: &mut Turn<'_>,
    token: Token,
    id: CaseId,
    clerk: Option<ClerkId>,
) -> Result<(), Halt> {
    let applied = case(turn, &id)?.into_applied()?;
    let facts = facts(context, turn, &applied.record)?;
    let due = applied.decide_due(turn.now, rule(context, &facts).ok(), &context.calendar);
    let step = CaseStep { case: id, record: applied.record, application: first(&applied), due, clerk };
    say(context, turn, &StatusFact::Accepted(step))?;
    let case = case(turn, &id)?;
    turn.reply(token, Reply::ready(Response::Decided { case, event: None }));
    Ok(())
}

/// Assigns what is left of a case to a clerk of this authority: `case.unknown`; `case.denied` after the decision.
/// Assigned to the same clerk again, nothing is written.
pub fn assign(
    context: &Context,
    turn: &mut Turn<'_>,
    token: Token,
    id: CaseId,
    clerk: ClerkId,
) -> Result<(), Halt> {
    let known = case(turn, &id)?;
    if let Case::Decided(_) = known {
        return Err(Denial::WrongState { state: known.state() }.into());
    }
    if known.applied().assigned.as_ref() != Some(&clerk) {
        say(context, turn, &StatusFact::Assigned(Assigned { case: id, clerk }))?;
    }
    let case = case(turn, &id)?;
    turn.reply(token, Reply::ready(Response::Decided { case, event: None }));
    Ok(())
}

/// Decides a case (准予/不予修复).
///
/// 1. The case is accepted and not decided: `case.denied`.
/// 2. The rule set of the decision's day allows it now: `case.denied`.
/// 3. The decision, the new standing and one delivery per recipient are one batch.
///
/// A refusal may find that the material was false: then the subject is barred from applying, here and at the other
/// authorities ([`crate::ban`]), for the time that the rule set says or, where it says none, until the day that who decides
/// has stated.
pub fn decide(
    context: &Context,
    turn: &mut Turn<'_>,
    token: Token,
    id: CaseId,
    decision: Decision,
    clerk: Option<ClerkId>,
) -> Result<(), Halt> {
    // 1
    let accepted = case(turn, &id)?.into_accepted()?;
    let facts = facts(context, turn, &accepted.applied.record)?;
    // 2
    let rule = rule(context, &facts)?;
    let (record, ground) = (accepted.applied.record, rule.set_id.clone());
    let fact = match decision {
        Decision::Grant => {
            let (day, published) = starts(rule, &facts)?;
            accepted.may_grant(turn.now, rule, day, published)?;
            let (change, case) = (Change::Repair, Some(id));
            StatusFact::Changed(Changed { record, change, case, rule: ground, paper: None, clerk })
        }
        Decision::Refuse { reason, false_material } => {
            let reason = checked_reason(reason)?;
            if reason.is_empty() {
                return Halt::refuse(Code::CaseDenied, "a refusal states its reason");
            }
            let ban = match false_material {
                Some(found) => Some(ban::find(turn, &id, &facts, rule, found)?),
                None => None,
            };
            let application = first(&accepted.applied);
            StatusFact::NotGranted(NotGranted {
                case: id,
                record,
                application,
                reason,
                rule: ground,
                ban,
                clerk,
            })
        }
    };
    // 3
    let index = say(context, turn, &fact)?;
    let case = case(turn, &id)?;
    let event = concerns_others(&fact).then_some(index);
    turn.reply(token, Reply::ready(Response::Decided { case, event }));
    Ok(())
}

/// What is decided of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// 准予修复.
    Grant,
    /// 不予修复.
    Refuse {
        /// The reason the subject is told.
        reason: String,
        /// The material was false.
        false_material: Option<FalseMaterial>,
    },
}

/// Dispute mark, mask, withdrawal or expiry by the record's authority. A repair goes through its case; a mask names the
/// court's ruling (重整计划 or 和解协议 approved), which the authority keeps: 国办发〔2025〕22号.
pub fn change_standing(
    context: &Context,
    turn: &mut Turn<'_>,
    token: Token,
    changed: Changed,
) -> Result<(), Halt> {
    let changed = Changed { rule: checked_reason(changed.rule)?, ..changed };
    facts(context, turn, &changed.record)?;
    if changed.change == Change::Repair {
        return Halt::refuse(Code::CaseDenied, "a repair is decided in its case");
    }
    if changed.rule.is_empty() {
        return Halt::refuse(Code::CaseDenied, "a change of standing states its legal ground");
    }
    if changed.change == Change::Mask && changed.paper.is_none() {
        return Halt::refuse(Code::CaseDenied, "a mask rests on the court's ruling, and names its digest");
    }
    let fact = StatusFact::Changed(changed);
    let (index, _) = turn.append(context, LogName::Status, Fact::Status(context.sign(turn.now, &fact)))?;
    turn.reply(token, Reply::Receipt(index));
    Ok(())
}

fn checked_reason(reason: String) -> Result<String, Refusal> {
    if reason.len() > REASON_BYTES_MAX {
        return Err(Refusal::new(Code::CaseDenied, format!("a reason has at most {REASON_BYTES_MAX} bytes")));
    }
    Ok(reason)
}

fn case(turn: &Turn<'_>, id: &CaseId) -> Result<Case, Halt> {
    match turn.row(&Key::case(id))? {
        Some(case) => Ok(case),
        None => Halt::refuse(Code::CaseUnknown, format!("`{id}`")),
    }
}

/// Digest of the application that opened a case.
fn first(applied: &Applied) -> Digest {
    applied.applications.first().map_or(Digest::ZERO, |j| j.application)
}

/// The facts of a record of which this member is the authority.
pub(crate) fn facts(context: &Context, turn: &Turn<'_>, record: &RecordId) -> Result<RecordFacts, Halt> {
    let row = turn.row::<RecordRow>(&Key::record(record))?;
    let sealed = row.map(|row| tables::payload(turn.view(), row.newest.slot)).transpose()?.flatten();
    match sealed.map(|sealed| sealed.facts) {
        Some(facts) if facts.authority == context.own.id => Ok(facts),
        Some(facts) => Halt::refuse(Code::NotAuthority, format!("`{}`", facts.authority)),
        None => Halt::refuse(Code::RecordUnknown, format!("`{record}`")),
    }
}

/// The rule of the record's tier in the set that its decision date selects.
pub(crate) fn rule<'a>(context: &'a Context, facts: &RecordFacts) -> Result<&'a Rule, Refusal> {
    let decided =
        facts.decided.ok_or_else(|| Refusal::new(Code::CaseDenied, "the record has no decision date"))?;
    let tier = facts.tier.unwrap_or(Tier::General);
    context.rules.rule(facts.kind, decided, tier).map_err(|e| Refusal::new(Code::CaseDenied, e.to_string()))
}

/// The days from which a rule counts a record's publicity: decision and publication. The official layout does not tell
/// the day of publication; a set that counts from it is not guessed at.
pub(crate) fn starts(rule: &Rule, facts: &RecordFacts) -> Result<(Date, Date), Refusal> {
    let denied = |why: String| Refusal::new(Code::CaseDenied, why);
    let decided = facts.decided.ok_or_else(|| denied("the record has no decision date".to_owned()))?;
    match (rule.clock, facts.published) {
        (_, Some(published)) => Ok((decided, published)),
        (Clock::Decision, None) => Ok((decided, decided)),
        (Clock::Publication, None) => Err(denied(format!(
            "`{}` counts from publication, and the record does not tell that day",
            rule.set_id
        ))),
    }
}
