//! Clocks of the law, as rows of the due queue: publicity that ends, steps of a case that are late, erasures that a
//! withdrawal makes due, and the end of retention in this member's region.
//!
//! A row only says when to look. What is done then follows from what is stored at that moment, so a row that comes
//! twice, late, or back from an old disk does nothing wrong. Days begin and end in Asia/Shanghai.
//!
//! The end of publicity follows from the sealed record's facts, which no entry holds: its row is written with the
//! version, and again when the version comes back. That of an erasure follows from the authority's status entry.
//!
//! *Not here*: deliveries and applications under way (`propagation`).

use std::collections::BTreeMap;

use credit::{
    entry::Changed,
    id::{CaseId, ClerkId, MemberId, RecordId},
    record::RecordFacts,
    repair::{Case, Deadline},
    rules::{Clock, Duty, Retention, RetentionEffect, Rule},
    status::{Change, Standing, Status},
    value::Date,
};
use crypto::Timestamp;
use ledger::store::View;
use minicbor::{Decode, Encode};

use crate::{
    context::Context,
    ended,
    limits::RETRY_MS_MAX,
    push::publish,
    read,
    refusal::{Fault, Halt},
    repair,
    step::Effect,
    tables::{self, ErasureRow, Key, RecordRow, Work},
    turn::Turn,
};

/// Reason in the `Erased` entry of a withdrawn record, at whichever member: 39 bytes of at most 200.
pub const WITHDRAWN: &str = "withdrawn by its authority / 原行政行为已撤销";

/// Reason in the `Erased` entry of a record whose time is over: 48 bytes of at most 200.
pub const RETIRED: &str = "end of retention in this region / 保存期限届满";

/// Ground of the `Changed` entry of a record whose publicity ends on the day that its source states: 64 bytes of at most 200.
pub const STATED: &str = "公示截止期届满 / end of publicity as stated by its source";

/// The last day of a duty in the region of `member`, which something brings that happened at `since`; `None` where the
/// rules give no time there.
pub fn deadline(context: &Context, member: &MemberId, duty: Duty, since: Timestamp) -> Option<Deadline> {
    let day = Date::from_timestamp(since);
    let region = &context.registry.member(member).ok()?.stated.region;
    let term = context.rules.term(duty, region, day)?;
    Some(Deadline::after(day, term.working_days, &context.calendar))
}

/// A record that is to be erased here: withdrawn, or over its retention, and then people decide whether it may be kept longer.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct DueErasure {
    /// The record.
    #[n(0)]
    pub record: RecordId,
    /// Its authority, which withdrew it.
    #[n(1)]
    pub authority: MemberId,
    /// When; or the end of its retention.
    #[n(2)]
    pub since: Timestamp,
    /// The last day; a withdrawn record the node erases by itself when this day begins.
    #[n(3)]
    pub due: Deadline,
    /// The rule of retention, in Chinese, of a record that was not withdrawn.
    #[n(4)]
    pub retention: Option<String>,
}

/// When publicity of a record ends by itself, and the ground: the rule set whose maximum is over, or [`STATED`], whichever
/// comes first. An entry of a list has no maximum: it stands until it is removed. `None` where the record's source states no
/// day, and the rule set gives no maximum or counts from a publication that neither the record nor its publisher has told.
/// Nothing is assumed then.
///
/// The day that the source states counts although the maximum is later: who decided the matter has said so, an answer after
/// it is the graver error, and what has expired is not brought back by a later day.
pub fn publicity_end<'a>(
    context: &'a Context,
    view: &dyn View,
    facts: &RecordFacts,
) -> Result<Option<(Date, &'a str)>, Fault> {
    // Items without repair have no tier, and no maximum.
    let listing = context.catalog.item(&facts.item).is_some_and(|item| item.listing);
    let rule = facts.tier.filter(|_| !listing).and_then(|_| repair::rule(context, facts).ok());
    let maximum = match rule {
        Some(rule) => maximum(context, view, facts, rule)?.map(|end| (end, rule.set_id.as_str())),
        None => None,
    };
    // A last day is over at midnight: 民法典 art. 203.
    let stated = facts.until.filter(|last| *last != Date::LONG_TERM).map(|last| (last.plus_days(1), STATED));
    Ok(maximum.into_iter().chain(stated).min_by_key(|(end, _)| *end))
}

/// The day on which the maximum of a rule is over.
fn maximum(
    context: &Context,
    view: &dyn View,
    facts: &RecordFacts,
    rule: &Rule,
) -> Result<Option<Date>, Fault> {
    let starts = match rule.clock {
        Clock::Decision => repair::starts(rule, facts),
        Clock::Publication => repair::starts(rule, &publish::known(context, view, facts.clone())?),
    };
    Ok(starts.ok().and_then(|(decided, published)| rule.publicity_end(decided, published)))
}

/// Sets the clock of the end of an own record's publicity.
pub(crate) fn of_publicity(context: &Context, turn: &mut Turn<'_>, facts: &RecordFacts) -> Result<(), Fault> {
    if let Some((end, _)) = publicity_end(context, turn.view(), facts)? {
        // At the start of that day: longer than the maximum would be the graver error.
        turn.put(&Key::due(end.start(), &Work::Expire(facts.record)), &());
    }
    Ok(())
}

/// Sets the clocks of a version that is being stored: at its authority the end of publicity, and at every member the
/// erasure of a record that was withdrawn before it came. Returns its standing.
pub fn of_version(context: &Context, turn: &mut Turn<'_>, facts: &RecordFacts) -> Result<Standing, Fault> {
    if facts.authority == context.own.id {
        of_publicity(context, turn, facts)?;
    }
    if let Some((end, rule)) = retention_end(context, facts, turn.now) {
        turn.put(&Key::due(end.start(), &Work::Retain(facts.record)), &());
        // What people were asked was about the version before.
        let key = Key::erasure(&facts.record);
        if rule.longer.is_some() && turn.row::<ErasureRow>(&key)?.is_some_and(|row| row.retention.is_some()) {
            turn.delete(&key);
        }
    }
    let standing: Option<Standing> = turn.row(&Key::standing(&facts.authority, &facts.record))?;
    let standing = standing.unwrap_or_default();
    if standing.status() == Status::Withdrawn {
        schedule_erasure(context, turn, &facts.authority, &facts.record, turn.now)?;
    }
    Ok(standing)
}

/// Sets the clock of the erasure that a withdrawal by `author` makes due, if the record is held here under that author.
pub fn of_withdrawal(
    context: &Context,
    turn: &mut Turn<'_>,
    author: &MemberId,
    record: &RecordId,
    at: Timestamp,
) -> Result<(), Fault> {
    if held_under(turn.view(), record)?.as_ref() == Some(author) {
        schedule_erasure(context, turn, author, record, at)?;
    }
    Ok(())
}

fn schedule_erasure(
    context: &Context,
    turn: &mut Turn<'_>,
    authority: &MemberId,
    record: &RecordId,
    at: Timestamp,
) -> Result<(), Fault> {
    let key = Key::erasure(record);
    if turn.row::<ErasureRow>(&key)?.is_some_and(|row| row.retention.is_none()) {
        return Ok(());
    }
    // Without a rule there is no time to wait for.
    let today = Deadline { date: Date::from_timestamp(at), provisional: false };
    let due = deadline(context, &context.own.id, Duty::EraseWithdrawn, at).unwrap_or(today);
    let row = ErasureRow { authority: authority.clone(), since: at, due, told: false, retention: None };
    turn.put(&key, &row);
    turn.put(&Key::due(erase_at(&due), &Work::Erase(*record)), &());
    Ok(())
}

/// An erasure waits for the start of its last day, so that people can look first, and has that day for what fails.
fn erase_at(due: &Deadline) -> Timestamp {
    due.date.start()
}

/// The authority of a record that is held here and not erased.
fn held_under(view: &dyn View, record: &RecordId) -> Result<Option<MemberId>, Fault> {
    let row: Option<RecordRow> = tables::row(view, &Key::record(record))?;
    let Some(row) = row.filter(|row| !row.erased) else { return Ok(None) };
    // The entry of a version that came in this very step cannot be read yet; one taken back from a mirror has no payload.
    match tables::payload(view, row.newest.slot)? {
        Some(sealed) => Ok(Some(sealed.facts.authority)),
        None => read::authority(view, &row),
    }
}

/// Ends the publicity of a record whose time is over, as its authority.
///
/// Nothing happens when the record is erased, without facts (taken back from a mirror, which has none; such a record is
/// not answered from either), another member's, or has ended already. Publicity that ends later by the newest version
/// is looked at then.
pub fn expire(context: &Context, turn: &mut Turn<'_>, record: &RecordId) -> Result<(), Halt> {
    let row: Option<RecordRow> = turn.row(&Key::record(record))?;
    let Some(row) = row.filter(|row| !row.erased) else { return Ok(()) };
    let Some(facts) = tables::payload(turn.view(), row.newest.slot)?.map(|sealed| sealed.facts) else {
        return Ok(());
    };
    let standing: Standing = turn.row(&Key::standing(&context.own.id, record))?.unwrap_or_default();
    if facts.authority != context.own.id || standing.has_ended() {
        return Ok(());
    }
    let Some((end, ground)) = publicity_end(context, turn.view(), &facts)? else { return Ok(()) };
    if turn.now < end.start() {
        turn.put(&Key::due(end.start(), &Work::Expire(*record)), &());
        return Ok(());
    }
    expired(context, turn, record, ground.to_owned())
}

/// Says as its authority that a record's publicity has ended, by a rule or for another legal reason.
fn expired(context: &Context, turn: &mut Turn<'_>, record: &RecordId, rule: String) -> Result<(), Halt> {
    let (record, change) = (*record, Change::Expire);
    let changed = Changed { record, change, case: None, rule, paper: None, clerk: None, act: None };
    ended::say(context, turn, changed)?;
    Ok(())
}

/// Before an own record is erased that has not ended: whoever was told of it, or publishes it, hears that it ends.
pub fn before_erasure(
    context: &Context,
    turn: &mut Turn<'_>,
    record: &RecordId,
    reason: &str,
) -> Result<(), Halt> {
    let own = held_under(turn.view(), record)?.is_some_and(|authority| authority == context.own.id);
    let standing: Standing = turn.row(&Key::standing(&context.own.id, record))?.unwrap_or_default();
    if own && !standing.has_ended() {
        expired(context, turn, record, reason.to_owned())?;
    }
    Ok(())
}

/// Has the keys of a withdrawn record destroyed, again every minute until the log says that they are. Says once when
/// the last day is over.
pub fn erase(turn: &mut Turn<'_>, record: &RecordId) -> Result<(), Halt> {
    let Some(mut row) = turn.row::<ErasureRow>(&Key::erasure(record))? else { return Ok(()) };
    if turn.now >= row.due.passed_at() && !row.told {
        row.told = true;
        turn.put(&Key::erasure(record), &row);
        let last = row.due.date;
        turn.effect(Effect::Alert(format!(
            "record {record}: it was withdrawn and to be erased by {last}, and is not / 记录已撤销，应于{last}前删除而尚未删除"
        )));
    }
    turn.effect(Effect::Erase(vec![*record]));
    turn.put(&Key::due(turn.now.plus_ms(RETRY_MS_MAX), &Work::Erase(*record)), &());
    Ok(())
}

/// When a record is kept no more by the rule of this member's region, and that rule; `None` where the region has none, or
/// counts from what a record does not tell.
fn retention_end<'a>(
    context: &'a Context,
    facts: &RecordFacts,
    now: Timestamp,
) -> Option<(Date, &'a Retention)> {
    let region = &context.registry.member(&context.own.id).ok()?.stated.region;
    let rule = context.rules.retention(region, Date::from_timestamp(now)).ok()?;
    Some((rule.end(facts.decided, facts.ended)?, rule))
}

/// Ends the retention of a record here: erased, or as its authority no longer answered, as the region's rule says.
///
/// Nothing happens to a record that is erased or without facts. A rule that is another one by now, or a newer version, is
/// looked at again on its own day. Where the rule lets records of a tier be kept longer, people decide ([`ask`]).
pub fn retain(context: &Context, turn: &mut Turn<'_>, record: &RecordId) -> Result<(), Halt> {
    let row: Option<RecordRow> = turn.row(&Key::record(record))?;
    let Some(row) = row.filter(|row| !row.erased) else { return Ok(()) };
    let Some(facts) = tables::payload(turn.view(), row.newest.slot)?.map(|sealed| sealed.facts) else {
        return Ok(());
    };
    let Some((end, rule)) = retention_end(context, &facts, turn.now) else { return Ok(()) };
    if turn.now < end.start() {
        turn.put(&Key::due(end.start(), &Work::Retain(*record)), &());
        return Ok(());
    }
    if facts.tier.is_some() && facts.tier == rule.longer {
        return ask(turn, record, facts.authority, end, rule);
    }
    match rule.effect {
        RetentionEffect::Delete => {
            turn.effect(Effect::Retire(vec![*record]));
            turn.put(&Key::due(turn.now.plus_ms(RETRY_MS_MAX), &Work::Retain(*record)), &());
        }
        RetentionEffect::Stop => {
            let standing: Standing = turn.row(&Key::standing(&facts.authority, record))?.unwrap_or_default();
            if facts.authority == context.own.id && !standing.has_ended() {
                expired(context, turn, record, format!("保存期限届满：{}", rule.source))?;
            }
        }
    }
    Ok(())
}

/// Puts before people a record that may be kept longer than its retention: an alert, and a row among the erasures that are
/// due until it is erased, or a newer version has another end.
///
/// It is not erased, and its standing not ended, by itself: neither is ever undone, and the regulation has such a record kept
/// and disclosed while its subject is on a list of serious dishonesty, which nothing here tells. Nor is there a word that it is
/// kept: it would be true only until its subject leaves the list.
fn ask(
    turn: &mut Turn<'_>,
    record: &RecordId,
    authority: MemberId,
    end: Date,
    rule: &Retention,
) -> Result<(), Halt> {
    let key = Key::erasure(record);
    if turn.row::<ErasureRow>(&key)?.is_some() {
        return Ok(());
    }
    let due = Deadline { date: end.plus_days(-1), provisional: false };
    let (since, retention) = (end.start(), Some(rule.source.clone()));
    turn.put(&key, &ErasureRow { authority, since, due, told: true, retention });
    turn.effect(Effect::Alert(format!(
        "record {record}: its retention ended on {end} unless it is on a list of serious dishonesty; erase it or keep it, `xinqiao case list --due` shows it until it is erased / 保存期限已届满，是否仍在严重失信名单请人工核对，应删除的用`xinqiao erase`删除"
    )));
    Ok(())
}

/// Sets the clock of a case's next step.
pub fn of_case(turn: &mut Turn<'_>, case: &Case) {
    if let Some(deadline) = case.deadline() {
        turn.put(
            &Key::due(deadline.passed_at(), &Work::Step(case.id(), matches!(case, Case::Accepted(_)))),
            &(),
        );
    }
}

/// Says that a step of a case is late, the decision or else the acceptance: once, because its row is gone then, and not
/// when the step is done. A provisional deadline is counted
/// again first, with the calendar as it is now.
pub fn step_due(context: &Context, turn: &mut Turn<'_>, id: &CaseId, decision: bool) -> Result<(), Halt> {
    let Some(mut case) = turn.row::<Case>(&Key::case(id))? else { return Ok(()) };
    if decision != matches!(case, Case::Accepted(_)) {
        return Ok(());
    }
    if case.deadline().is_some_and(|d| d.provisional)
        && context.calendar.knows(Date::from_timestamp(turn.now))
    {
        match repair::next_due(context, turn, &case) {
            Ok(due) => {
                case.set_deadline(due);
                turn.put(&Key::case(id), &case);
            }
            // The record is gone; the deadline stays as it is.
            Err(Halt::Refusal(_)) => {}
            Err(fault) => return Err(fault),
        }
    }
    let Some(deadline) = case.deadline() else { return Ok(()) };
    if turn.now < deadline.passed_at() {
        of_case(turn, &case);
        return Ok(());
    }
    let (last, state, matter) = (deadline.date, case.state(), case.matter());
    let clerk = case.responsible(&context.own.id);
    let (of, of_zh) =
        clerk.map_or(Default::default(), |c| (format!(" of clerk `{c}`"), format!("，经办人`{c}`")));
    turn.effect(Effect::Alert(format!(
        "{} case {id}{of}: {state}, and its next step was due by {last} / {}案件逾期：下一步应于{last}前办理{of_zh}",
        matter.as_str(),
        matter.zh()
    )));
    Ok(())
}

/// How many cases there are whose next step is late on `today`, by the clerk whose step it is; under `None`, which is always
/// there, those that are nobody's.
pub fn cases_overdue(
    context: &Context,
    view: &dyn View,
    today: Date,
) -> Result<BTreeMap<Option<ClerkId>, u64>, Fault> {
    let mut late = BTreeMap::from([(None, 0)]);
    for (_, case) in tables::rows::<Case>(view, &Key::cases(), usize::MAX)? {
        if case.deadline().is_some_and(|due| due.date < today) {
            *late.entry(case.responsible(&context.own.id).cloned()).or_default() += 1;
        }
    }
    Ok(late)
}

#[cfg(test)]
mod tests {
    use credit::{
        id::ItemId,
        rules::{AuthorityKind, Tier},
    };
    use crypto::{Digest, keytree::Slot};
    use ledger::store::memory::MemoryStore;

    use super::*;
    use crate::tests::contexts;

    #[test]
    fn a_penalty_ends_by_the_maximum_and_an_entry_of_a_list_when_it_is_removed() {
        let contexts = contexts(2);
        let context = &contexts[0];
        let day = |year, month, day| Date::new(year, month, day).unwrap();
        let facts = |item: &str, until| RecordFacts {
            record: RecordId([1; 32]),
            item: ItemId::parse(item).unwrap(),
            catalog: context.catalog.version(),
            authority: context.own.id.clone(),
            slot: Slot(0),
            decided: Some(day(2026, 4, 10)),
            published: Some(day(2026, 4, 10)),
            ended: None,
            until,
            tier: Some(Tier::General),
            kind: AuthorityKind::GENERAL,
            content: Digest::ZERO,
        };
        let ends = |item, until| {
            let end = publicity_end(context, &MemoryStore::default(), &facts(item, until)).unwrap();
            end.map(|(end, ground)| (end, ground.to_owned()))
        };
        assert_eq!(ends("CF", None), Some((day(2027, 4, 10), "ndrc-36".to_owned())));
        assert_eq!(ends("YCML", None), None);
        let removed = Some((day(2026, 9, 2), STATED.to_owned()));
        assert_eq!(ends("YCML", Some(day(2026, 9, 1))), removed);
        assert_eq!(ends("CF", Some(day(2026, 9, 1))), removed);
    }
}
