//! Mutual recognition (互认): two platforms of one region, 信用中国 and 公示系统, hold the same penalty, each as its own
//! authority, and recognise each other's repair.
//!
//! Where the registry gives a deciding body to one member there is one record and one status log, and nothing to
//! recognise. Where it gives it to none, each of the region's two platforms names the record after itself ([`shares`]). A
//! platform then keeps, with each own record, the ids under which the other platforms of its region know it. When one of
//! them repairs it, this one writes a repair of its own, which rests on the other's entry and goes to its own recipients
//! like any other. On conflict the rule data say which of the two prevails: one that has examined a repair and refused it
//! keeps its result, and the other may not grant it from when it has heard.

use credit::{
    entry::{Changed, StatusFact},
    id::{ItemId, MemberId, RecordId},
    repair::{Case, Matter},
    rules::Recognition,
    status::{Change, Standing, Status},
    subject::SubjectId,
    value::Date,
};
use crypto::Digest;
use ledger::store::View;

use crate::{
    context::Context,
    ended,
    receipt::Proven,
    refusal::{Code, Fault, Halt},
    registry::MemberRequest,
    repair,
    step::Effect,
    tables::{self, Key, Told, TwinRow},
    turn::Turn,
};

/// What the ground of a recognised repair begins with.
pub const GROUND: &str = "互认：";

/// The ids under which other platforms of this member's region know an own record.
pub fn twins(
    context: &Context,
    item: &ItemId,
    document: &str,
    subject: &SubjectId,
) -> Vec<(MemberId, RecordId)> {
    let Ok(own) = context.registry.member(&context.own.id).map(|entry| &entry.stated) else {
        return Vec::new();
    };
    let (Some(system), false) = (own.system, own.region.is_empty()) else { return Vec::new() };
    let other = |m: &&MemberRequest| m.region == own.region && m.system.is_some_and(|other| other != system);
    let named = |id: &MemberId| context.own.naming.record_id(id, item, document, subject);
    context.registry.active().filter(other).map(|m| (m.id.clone(), named(&m.id))).collect()
}

/// Whether this member may hold the records of a body that no member claims as its own: the body is registered in its region,
/// and the region has one platform of each publicity system, this one among them. These two recognise each other's repair;
/// of any further holder nobody would hear.
pub fn shares(context: &Context, body: &str) -> bool {
    let of_region = |m: &&MemberRequest| m.system.is_some() && body.get(2..8) == Some(m.region.as_str());
    let found: Vec<&MemberRequest> = context.registry.active().filter(of_region).collect();
    let [a, b] = found[..] else { return false };
    a.system != b.system && [a, b].iter().any(|m| m.id == context.own.id)
}

/// Whether a document's record has ended under any other member: the registry gave its body to another one since.
pub fn ended_elsewhere(
    context: &Context,
    view: &dyn View,
    authority: &MemberId,
    (item, document, subject): (&ItemId, &str, &SubjectId),
) -> Result<bool, Fault> {
    for other in context.registry.members.iter().map(|m| &m.stated.id).filter(|id| *id != authority) {
        let id = context.own.naming.record_id(other, item, document, subject);
        let standing: Option<Standing> = tables::row(view, &Key::standing(other, &id))?;
        if standing.is_some_and(|standing| standing.has_ended()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Keeps a twin of an own record, and recognises at once what its authority has repaired before.
pub fn keep(
    context: &Context,
    turn: &mut Turn<'_>,
    own: &RecordId,
    (author, twin): &(MemberId, RecordId),
) -> Result<(), Halt> {
    let key = Key::twin(twin);
    if turn.row::<TwinRow>(&key)?.is_some() {
        return Ok(());
    }
    turn.put(&key, &TwinRow { own: *own, author: author.clone() });
    turn.put(&Key::counterpart(own, author), twin);
    let standing: Standing = turn.row(&Key::standing(author, twin))?.unwrap_or_default();
    if standing.status() == Status::Repaired {
        recognise(context, turn, twin, None)?;
    }
    Ok(())
}

/// Acts on another member's statement that it has repaired a record.
///
/// 1. The record is a twin of an own one, and the rules of the day let these two systems recognise each other.
/// 2. The own record has not ended. If this platform has refused its repair and prevails, its result stands, and people
///    are told.
/// 3. `Changed`, as its own decision: an open case is decided by it.
pub fn repaired(
    context: &Context,
    turn: &mut Turn<'_>,
    proven: &Proven,
    fact: &StatusFact,
) -> Result<(), Halt> {
    let StatusFact::Changed(Changed { record, change: Change::Repair, .. }) = fact else { return Ok(()) };
    let twin: Option<TwinRow> = turn.row(&Key::twin(record))?;
    if twin.is_some_and(|twin| twin.author == proven.member) {
        recognise(context, turn, record, Some(proven.leaf))?;
    }
    Ok(())
}

/// How this member takes a result of another platform of its region today; `None` = it does not.
fn rule<'a>(context: &'a Context, turn: &Turn<'_>, other: &MemberId) -> Option<Recognition<'a>> {
    let system = |id: &MemberId| context.registry.member(id).ok().and_then(|m| m.stated.system);
    let (own, other) = (system(&context.own.id)?, system(other)?);
    context.rules.recognition(own, other, Change::Repair, Date::from_timestamp(turn.now))
}

/// Whether this member may grant a repair of an own record: not where another platform of the region, whose result
/// prevails by the rules of the day, has examined an application and refused, as far as its log is known here.
pub fn may_grant(context: &Context, turn: &Turn<'_>, own: &RecordId) -> Result<(), Halt> {
    let rows = tables::rows::<RecordId>(turn.view(), &Key::counterparts(own), usize::MAX)?;
    for (key, twin) in rows {
        let Some(author) = tables::key_text(&key).and_then(MemberId::parse) else { continue };
        if rule(context, turn, &author).is_none_or(|rule| rule.prevails) {
            continue;
        }
        let standing: Standing = turn.row(&Key::standing(&author, &twin))?.unwrap_or_default();
        // Where the matter is over there, nothing prevails any more.
        if let Some(told) = refused(turn, &author, &twin)?.filter(|_| !standing.has_ended()) {
            return Halt::refuse(
                Code::CaseDenied,
                format!(
                    "`{author}` has refused the repair of the same matter (entry {} of its status log), and its result \
                     prevails: refuse it too, or let the subject apply there anew / 同一失信信息，`{author}` 已决定不予修复，以其结果为准：请同样不予修复，或由信用主体另向其申请",
                    told.index
                ),
            );
        }
    }
    Ok(())
}

/// Where a member's log, as far as it is known here, says that it has examined an application for the repair of a record and
/// refused it. What was turned away at the door was not examined, and nothing that comes after undoes the result.
fn refused(turn: &Turn<'_>, author: &MemberId, record: &RecordId) -> Result<Option<Told>, Fault> {
    turn.row(&Key::examined(author, record))
}

fn recognise(
    context: &Context,
    turn: &mut Turn<'_>,
    twin: &RecordId,
    leaf: Option<Digest>,
) -> Result<(), Halt> {
    // 1
    let Some(TwinRow { own: record, author }) = turn.row(&Key::twin(twin))? else { return Ok(()) };
    let Some(rule) = rule(context, turn, &author) else { return Ok(()) };
    // 2
    let standing: Standing = turn.row(&Key::standing(&context.own.id, &record))?.unwrap_or_default();
    if standing.has_ended() {
        return Ok(());
    }
    if rule.prevails && refused(turn, &context.own.id, &record)?.is_some() {
        turn.effect(Effect::Alert(format!(
            "record {record}: `{author}` has repaired it and this member has refused to; this member's result stands / 修复结果不一致，以本平台为准"
        )));
        return Ok(());
    }
    // 3
    let case = repair::newest(turn, &record, Matter::Repair)?;
    let case = case.filter(|case| !matches!(case, Case::Decided(_))).map(|case| case.id());
    let rule = format!("{GROUND}{}", rule.source);
    let change = Change::Repair;
    let changed = Changed { record, change, case, rule, paper: leaf, clerk: None, act: None };
    ended::say(context, turn, changed)?;
    Ok(())
}
