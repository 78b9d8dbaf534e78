//! The counter: takes a subject's application and carries it to the authority, until that has answered.

use credit::{
    entry::StatusFact,
    id::{CaseId, ClerkId, MemberId, RecordId},
    normalize::normalize_document_number,
    repair::{Application, Deadline, Matter},
    rules::Duty,
    status::Status,
};
use crypto::{Timestamp, sign::Signed};
use minicbor::{Decode, Encode};

use super::{asks_for_what_there_is, open, say, within_limit};
use crate::{
    context::Context,
    propagation::backoff_ms,
    refusal::{Code, Halt, Refusal},
    step::{Effect, Reply, Token},
    tables::{ForwardRow, Key, OutcomeRow, Work},
    timer,
    turn::Turn,
    wire::{ApplicationDraft, Response},
};

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
    /// What it asks for.
    #[n(7)]
    pub matter: Matter,
    /// The last day for its way to the authority, while it is under way and where the rules give one.
    #[n(8)]
    pub due: Option<Deadline>,
    /// How the record has ended at its authority, with whatever outcome.
    #[n(9)]
    pub ended: Option<Status>,
    /// The record that it names.
    #[n(10)]
    pub record: RecordId,
}

/// The last day for an application to reach its authority, by the rules of that member's region: an objection is to have
/// marked the record by then.
pub fn forward_due(context: &Context, row: &ForwardRow) -> Option<Deadline> {
    let due = |duty| timer::deadline(context, &row.to, duty, row.since);
    match row.matter {
        Matter::Repair => due(Duty::Forward),
        Matter::Objection => due(Duty::MarkObjection).or_else(|| due(Duty::Forward)),
    }
}

/// Takes an application at this member's counter.
///
/// 1. This member takes applications, and the authority is a member that decides: `caller.not-allowed`,
///    `member.unknown`. The item is in the catalog, and for a repair it can be repaired: `item.unknown`, `case.denied`. At
///    most [`credit::repair::MATERIALS_MAX`] papers: `case.denied`.
/// 2. The counter signs the application and writes it into its own status log as `Applied`.
/// 3. At the authority itself the case opens at once; otherwise a row carries the application until the authority
///    has answered.
pub fn apply(
    context: &Context,
    turn: &mut Turn<'_>,
    token: Token,
    draft: ApplicationDraft,
    case: CaseId,
) -> Result<(), Halt> {
    // 1
    if !context.role()?.mirrors_status() {
        return Halt::refuse(Code::CallerNotAllowed, "applications are taken by public platforms");
    }
    if !context.registry.member(&draft.authority)?.stated.role.collects() {
        return Halt::refuse(Code::MemberUnknown, format!("`{}` decides no records", draft.authority));
    }
    asks_for_what_there_is(context, &draft.item, draft.matter)?;
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
        matter: draft.matter,
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

/// An application taken here is on its way until its authority has answered. Sent twice, it joins nothing twice.
pub(super) fn forward(
    context: &Context,
    turn: &mut Turn<'_>,
    signed: &Signed<Application>,
) -> Result<(), Halt> {
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
        record: application.record,
        matter: application.matter,
    };
    turn.put(&key, &row);
    turn.put(&Key::due(turn.now.plus_ms(backoff_ms(1)), &Work::Forward(application.case)), &());
    Ok(())
}

/// Keeps the authority's answer to a forwarded application. People are told of a refusal that stays: the subject thinks that
/// it has applied.
pub fn forwarded(turn: &mut Turn<'_>, case: CaseId, outcome: Result<CaseId, Refusal>) -> Result<(), Halt> {
    let Some(mut row) = turn.row::<ForwardRow>(&Key::forward(&case))? else { return Ok(()) };
    match outcome {
        Ok(joined) => row.case = Some(joined),
        // The application stays due.
        Err(refusal) if refusal.passes() => return Ok(()),
        Err(refusal) => {
            turn.effect(Effect::Alert(format!(
                "application {case} was not taken by `{}`: {refusal} / 申请未被受理单位接收，请告知申请人",
                row.to
            )));
            row.refused = Some(refusal.to_string());
        }
    }
    turn.put(&Key::forward(&case), &row);
    Ok(())
}
