//! Repair (信用修复) from any counter to the authority's decision.

use credit::{
    entry::{CaseStep, Changed, Fact, StatusFact},
    id::{CaseId, MemberId, RecordId},
    normalize::normalize_document_number,
    record::RecordFacts,
    repair::{Application, Applied, Case, Decided, Denial},
    rules::{Clock, Rule, Tier},
    status::{Change, Standing},
    value::Date,
};
use crypto::{Digest, sign::Verified};
use minicbor::{Decode, Encode};

use crate::{
    context::Context,
    limits::REASON_BYTES_MAX,
    logs::LogName,
    propagation::backoff_ms,
    refusal::{Code, Halt, Refusal},
    step::{Effect, Reply, Token},
    tables::{self, ForwardRow, Key, OutcomeRow, RecordRow, Work},
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
}

/// Takes an application at this member's counter.
///
/// 1. This member takes applications, and the authority is a member that decides: `caller.not-allowed`,
///    `member.unknown`.
/// 2. The counter signs the application and writes `Applied` into its own status log.
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
    // 2
    let document = normalize_document_number(&draft.document);
    let application = Application {
        case,
        record: context.own.naming.record_id(&draft.authority, &draft.item, &document, &draft.subject),
        authority: draft.authority.clone(),
        counter: context.own.id.clone(),
        materials: draft.materials,
        applied_at: turn.now,
    };
    let signed = context.sign(turn.now, &application);
    let step =
        CaseStep { case, record: application.record, application: signed.digest(), reason: String::new() };
    if draft.authority == context.own.id {
        let case = open(context, turn, &application, signed.digest())?;
        turn.append(
            context,
            LogName::Status,
            Fact::Status(context.sign(turn.now, &StatusFact::Applied(step))),
        )?;
        turn.reply(token, Reply::ready(Response::Case(case)));
        return Ok(());
    }
    turn.append(context, LogName::Status, Fact::Status(context.sign(turn.now, &StatusFact::Applied(step))))?;
    // 3
    let row = ForwardRow {
        application: signed.clone(),
        to: draft.authority.clone(),
        tries: 1,
        case: None,
        refused: None,
    };
    turn.put(&Key::forward(&case), &row);
    turn.put(&Key::due(turn.now.plus_ms(backoff_ms(1)), &Work::Forward(case)), &());
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
    let case = open(context, turn, asked, application.signed().digest())?;
    turn.reply(token, Reply::ready(Response::Case(case)));
    Ok(())
}

/// Opens a case or joins the one that is open for the record.
///
/// 1. This member is the record's authority and holds it: `authority.other`, `record.unknown`.
/// 2. The record's item can be repaired, and it is not repaired, withdrawn or expired already: `case.denied`.
/// 3. The same application through several counters is normal and joins one case.
fn open(context: &Context, turn: &mut Turn<'_>, asked: &Application, digest: Digest) -> Result<CaseId, Halt> {
    // 1
    let facts = facts(context, turn, &asked.record)?;
    if asked.authority != context.own.id {
        return Halt::refuse(Code::NotAuthority, format!("`{}`", asked.authority));
    }
    // 3, before 2: a retry of an application whose case is decided by now finds that case.
    if let Some(id) = turn.row::<CaseId>(&Key::open_case(&asked.record))?
        && let Some(case) = turn.row::<Case>(&Key::case(&id))?
    {
        match case {
            Case::Applied(mut applied) => {
                applied.join(asked, digest)?;
                turn.put(&Key::case(&id), &Case::Applied(applied));
                return Ok(id);
            }
            Case::Accepted(mut accepted) => {
                accepted.applied.join(asked, digest)?;
                turn.put(&Key::case(&id), &Case::Accepted(accepted));
                return Ok(id);
            }
            Case::Decided(d) if d.accepted.applied.applications.iter().any(|j| j.application == digest) => {
                return Ok(id);
            }
            _ => {}
        }
    }
    // 2
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
    // The counter chose the id; it must not fall on another case.
    if turn.row::<Case>(&Key::case(&asked.case))?.is_some() {
        return Halt::refuse(Code::CaseDenied, "this case id is taken");
    }
    let rule = rule(context, &facts).ok();
    let case = Case::Applied(Applied::open(asked, digest, rule, &context.calendar));
    turn.put(&Key::case(&asked.case), &case);
    timer::of_case(turn, &case);
    turn.put(&Key::open_case(&asked.record), &asked.case);
    Ok(asked.case)
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
pub fn accept(context: &Context, turn: &mut Turn<'_>, token: Token, id: CaseId) -> Result<(), Halt> {
    let applied = case(turn, &id)?.into_applied()?;
    let facts = facts(context, turn, &applied.record)?;
    let accepted = applied.accept(turn.now, rule(context, &facts).ok(), &context.calendar);
    let step = step(id, &accepted.applied, String::new());
    turn.append(context, LogName::Status, Fact::Status(context.sign(turn.now, &StatusFact::Accepted(step))))?;
    let case = Case::Accepted(accepted);
    turn.put(&Key::case(&id), &case);
    timer::of_case(turn, &case);
    turn.reply(token, Reply::ready(Response::Decided { case, event: None }));
    Ok(())
}

/// Decides a case (准予/不予修复).
///
/// 1. The case is accepted and not decided: `case.denied`.
/// 2. The rule set of the decision's day allows it now: `case.denied`.
/// 3. The decision, the new standing and one delivery per recipient are one batch.
pub fn decide(
    context: &Context,
    turn: &mut Turn<'_>,
    token: Token,
    id: CaseId,
    grant: bool,
    reason: String,
) -> Result<(), Halt> {
    let reason = checked_reason(reason)?;
    // 1
    let accepted = case(turn, &id)?.into_accepted()?;
    let facts = facts(context, turn, &accepted.applied.record)?;
    // 2
    let rule = rule(context, &facts)?;
    let decided: Decided = if grant {
        let (day, published) = starts(rule, &facts)?;
        accepted.grant(turn.now, rule, day, published)?
    } else {
        if reason.is_empty() {
            return Halt::refuse(Code::CaseDenied, "a refusal states its reason");
        }
        accepted.refuse(turn.now, rule.set_id.clone(), reason.clone())
    };
    // 3
    let record = decided.accepted.applied.record;
    let fact = if grant {
        StatusFact::Changed(Changed {
            record,
            change: Change::Repair,
            case: Some(id),
            rule: decided.rule.clone(),
            paper: None,
        })
    } else {
        StatusFact::NotGranted(step(id, &decided.accepted.applied, reason))
    };
    let (index, _) = turn.append(context, LogName::Status, Fact::Status(context.sign(turn.now, &fact)))?;
    let case = Case::Decided(decided);
    turn.put(&Key::case(&id), &case);
    turn.reply(token, Reply::ready(Response::Decided { case, event: grant.then_some(index) }));
    Ok(())
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

fn step(case: CaseId, applied: &Applied, reason: String) -> CaseStep {
    let application = applied.applications.first().map_or(Digest::ZERO, |j| j.application);
    CaseStep { case, record: applied.record, application, reason }
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
