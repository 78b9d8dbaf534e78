//! A status entry to every recipient until each has acknowledged it.
//!
//! Recipients are every public platform, every asker to whom the access log says that something of the record was
//! disclosed, as long as it may keep that: a value, a part of one, or an outcome that rests on it; and of a grant the
//! member it is for. A ban concerns the public platforms alone, and a publication the record's authority; that a grant was
//! issued, is over or used up concerns its grantee alone.
//! Deliveries are rows, not memories: after a crash the member goes on because the store says so. Redelivery is
//! normal; merging twice changes nothing, and the look-up before logging keeps the acknowledgement single.

use std::collections::BTreeSet;

use credit::{
    entry::{Acknowledged, Changed, Entry, Fact, StatusFact},
    id::{MemberId, RecordId},
    repair::Deadline,
    rules::Duty,
    value::Date,
};
use crypto::{Bytes, Timestamp, codec, merkle::leaf_hash};
use ledger::{
    log,
    store::{Space, View},
    tree::LeafIndex,
};
use minicbor::{Decode, Encode};

use crate::{
    context::Context,
    grant,
    limits::{DELIVERIES_PER_TICK_MAX, QUIET_MS, RETRY_MS_MAX, RETRY_MS_MIN},
    logs::LogName,
    project, push,
    receipt::Proven,
    recognise,
    refusal::{Code, Fault, Halt},
    repair,
    step::{Effect, Reply, Token},
    tables::{self, DeliveryRow, ForwardRow, HandledRow, Key, RecipientRow, Told, Work},
    timer,
    turn::Turn,
};

/// Wait before try `tries + 1`: doubles from [`RETRY_MS_MIN`] to [`RETRY_MS_MAX`].
pub fn backoff_ms(tries: u32) -> u64 {
    RETRY_MS_MIN.saturating_mul(1 << tries.saturating_sub(1).min(16)).min(RETRY_MS_MAX)
}

/// Writes one delivery row per recipient of the status entry `event`, in the batch of the entry itself.
pub fn schedule(
    context: &Context,
    turn: &mut Turn<'_>,
    event: u64,
    since: Timestamp,
    fact: &StatusFact,
) -> Result<(), Halt> {
    let own = &context.own.id;
    let listens =
        |m: &MemberId| m != own && context.registry.member(m).is_ok_and(|m| !m.stated.quic.is_empty());
    if let Some(said) = fact.page() {
        if listens(&said.authority) {
            deliver(turn, event, since, said.authority.clone());
        }
        return Ok(());
    }
    let mut recipients = BTreeSet::new();
    if concerns_platforms(fact) {
        recipients.extend(context.registry.must_hear(own).map(|m| m.id.clone()));
    }
    if let StatusFact::Changed(Changed { record, .. }) = fact {
        let asker = |rest: &[u8]| tables::key_text(rest).and_then(MemberId::parse).filter(|m| m != own);
        for (rest, row) in tables::rows::<RecipientRow>(turn.view(), &Key::recipients(record), usize::MAX)? {
            recipients.extend(asker(&rest).filter(|_| row.keeps(since)));
        }
        for (rest, _) in tables::rows::<Timestamp>(turn.view(), &Key::judged_on(record), usize::MAX)? {
            recipients.extend(asker(&rest));
        }
    }
    recipients.extend(grant::concerned(context, turn, fact)?.into_iter().filter(listens));
    for to in recipients {
        deliver(turn, event, since, to);
    }
    Ok(())
}

/// One recipient's row, sent at once and again until it has acknowledged.
fn deliver(turn: &mut Turn<'_>, event: u64, since: Timestamp, to: MemberId) {
    turn.put(
        &Key::delivery(event, &to),
        &DeliveryRow { since, tries: 1, ack: None, acked_at: None, told: false },
    );
    turn.put(&Key::due(turn.now.plus_ms(backoff_ms(1)), &Work::Deliver(event, to.clone())), &());
    turn.effect(Effect::Deliver { event, to });
}

/// A disclosure read back from the member's own access log.
pub struct Disclosure {
    /// Of which record, or of an outcome that may rest on which.
    pub record: RecordId,
    /// To whom.
    pub asker: MemberId,
    /// When.
    pub at: Timestamp,
}

/// Adds the recipients that [`schedule`] could not know of. A member that takes its logs back may have its status log
/// from one peer before another serves its access log; who was told of a record before the entry about it is then
/// learnt last. The result is the same in either order. Who was told an outcome is learnt when the record is handed in again.
pub fn schedule_late(context: &Context, turn: &mut Turn<'_>, disclosures: &[Disclosure]) -> Result<(), Halt> {
    if disclosures.is_empty() {
        return Ok(());
    }
    let size = log::size(turn.view(), LogName::Status.as_str())?.0;
    for event in 0..size {
        let Some(entry) = LogName::Status.entry(turn.view(), event)? else { continue };
        let Fact::Status(signed) = &entry.fact else { continue };
        let StatusFact::Changed(Changed { record, .. }) =
            context.registry.verify_logged(signed)?.into_inner()
        else {
            continue;
        };
        for told in disclosures.iter().filter(|told| told.record == record && told.at <= entry.at) {
            let row = turn.row::<RecipientRow>(&Key::recipient(&record, &told.asker))?;
            let judged = turn.row::<Timestamp>(&Key::judged(&record, &told.asker))?;
            if (judged.is_some() || row.is_some_and(|row| row.keeps(entry.at)))
                && told.asker != context.own.id
                && turn.row::<DeliveryRow>(&Key::delivery(event, &told.asker))?.is_none()
            {
                deliver(turn, event, entry.at, told.asker.clone());
            }
        }
    }
    Ok(())
}

/// Takes up what is due: every delivery or application without an answer is sent again, and clocks of the law act.
///
/// `ready` is since when this member serves. Within [`QUIET_MS`] of it nobody is reported as late: a member that comes
/// back from an older copy does not know who has answered since, and in that time asks everybody who is there once more.
pub fn due(context: &Context, turn: &mut Turn<'_>, ready: Timestamp) -> Result<(), Halt> {
    let now = turn.now;
    let passed = |due: Option<Deadline>, told: &mut bool| -> Option<Date> {
        let late = |due: &Deadline| !*told && now >= due.passed_at() && now > ready.plus_ms(QUIET_MS);
        let due = due.filter(late)?;
        *told = true;
        Some(due.date)
    };
    let (from, to) = (Key::due_first(), Key::due_after(turn.now));
    let found =
        turn.view().scan(Space::Row, from.as_bytes(), Some(to.as_bytes()), DELIVERIES_PER_TICK_MAX)?;
    let mut pages = push::publish::Late::default();
    for (key, _) in found {
        let (was, work) = read_due(&key[1..])?;
        turn.delete(&Key::due(was, &work));
        let tries = match &work {
            Work::Deliver(event, to) => {
                let key = Key::delivery(*event, to);
                let Some(mut row) = turn.row::<DeliveryRow>(&key)?.filter(|row| row.ack.is_none()) else {
                    continue;
                };
                row.tries += 1;
                let due = timer::deadline(context, &context.own.id, Duty::Acknowledge, row.since);
                if let Some(last) = passed(due, &mut row.told) {
                    turn.effect(Effect::Alert(format!(
                        "status entry {event}: `{to}` was to acknowledge it by {last}, and has not / 该成员应于{last}前确认同步而尚未确认"
                    )));
                }
                turn.put(&key, &row);
                turn.effect(Effect::Deliver { event: *event, to: to.clone() });
                row.tries
            }
            Work::Forward(case) => {
                let key = Key::forward(case);
                let open = |row: &ForwardRow| row.case.is_none() && row.refused.is_none();
                let Some(mut row) = turn.row::<ForwardRow>(&key)?.filter(open) else { continue };
                row.tries += 1;
                if let Some(last) = passed(repair::forward_due(context, &row), &mut row.told) {
                    turn.effect(Effect::Alert(format!(
                        "application {case}: `{}` was to have it by {last}, and has not answered / 申请应于{last}前转达而尚未获回执",
                        row.to
                    )));
                }
                turn.put(&key, &row);
                turn.effect(Effect::Forward {
                    to: row.to.clone(),
                    case: *case,
                    application: row.application.clone(),
                });
                row.tries
            }
            Work::Push(record) => match push::due(context, turn, record, &passed)? {
                Some(tries) => tries,
                None => continue,
            },
            Work::Publish(record) | Work::TakeDown(record) => {
                push::publish::due(context, turn, record, &work, &mut pages)?;
                continue;
            }
            Work::ForgetCopy(record) => {
                push::copy::forget(turn, record)?;
                continue;
            }
            Work::Expire(record) => {
                timer::expire(context, turn, record)?;
                continue;
            }
            Work::ExpireGrant(grant) => {
                grant::expire(context, turn, *grant)?;
                continue;
            }
            Work::Retain(record) => {
                timer::retain(context, turn, record)?;
                continue;
            }
            Work::Erase(record) => {
                timer::erase(turn, record)?;
                continue;
            }
            Work::Step(case, decision) => {
                timer::step_due(context, turn, case, *decision)?;
                continue;
            }
            Work::ForgetAnswer(at) => {
                turn.delete(&Key::kept(at));
                continue;
            }
            Work::ForgetGrant(digest) => {
                turn.delete(&Key::kept_grant(digest));
                continue;
            }
        };
        turn.put(&Key::due(turn.now.plus_ms(backoff_ms(tries)), &work), &());
    }
    pages.tell(turn);
    Ok(())
}

/// A recipient that has not acknowledged a status entry.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Missing {
    /// Index of the entry in this member's status log.
    #[n(0)]
    pub event: u64,
    /// The recipient.
    #[n(1)]
    pub to: MemberId,
    /// When it was decided.
    #[n(2)]
    pub since: Timestamp,
    /// The last day, where the rules give one.
    #[n(3)]
    pub due: Option<Deadline>,
    /// How often it was sent.
    #[n(4)]
    pub tries: u32,
}

/// Every recipient that has not acknowledged, the oldest entry first.
pub fn missing(context: &Context, view: &dyn View) -> Result<Vec<Missing>, Fault> {
    let mut missing = Vec::new();
    for (rest, row) in tables::rows::<DeliveryRow>(view, &Key::all_deliveries(), usize::MAX)? {
        let Some((event, to)) = rest.split_at_checked(8).filter(|_| row.ack.is_none()) else { continue };
        let Some(to) = tables::key_text(to).and_then(MemberId::parse) else { continue };
        let event = event.iter().fold(0, |n, b| n << 8 | u64::from(*b));
        let due = timer::deadline(context, &context.own.id, Duty::Acknowledge, row.since);
        missing.push(Missing { event, to, since: row.since, due, tries: row.tries });
    }
    Ok(missing)
}

/// Makes everything due now that waits for a peer which was away: it is there again, and the next try may lie a minute
/// ahead.
pub fn hurry(turn: &mut Turn<'_>, peer: &MemberId) -> Result<(), Halt> {
    for (rest, ()) in tables::rows::<()>(turn.view(), &Key::due_first(), usize::MAX)? {
        let (at, work) = read_due(&rest)?;
        let waits = match &work {
            Work::Deliver(_, to) => to == peer,
            Work::Forward(case) => {
                turn.row::<ForwardRow>(&Key::forward(case))?.is_some_and(|r| r.to == *peer)
            }
            Work::Push(record) => push::waits_for(turn, record, peer)?,
            Work::Expire(_)
            | Work::Publish(_)
            | Work::ForgetCopy(_)
            | Work::TakeDown(_)
            | Work::Erase(_)
            | Work::Step(..)
            | Work::Retain(_)
            | Work::ExpireGrant(_)
            | Work::ForgetAnswer(_)
            | Work::ForgetGrant(_) => false,
        };
        if waits && at > turn.now {
            turn.delete(&Key::due(at, &work));
            turn.put(&Key::due(turn.now, &work), &());
        }
    }
    Ok(())
}

/// Time and work of a key of the due queue, without its table.
fn read_due(rest: &[u8]) -> Result<(Timestamp, Work), Fault> {
    let damaged = |why: String| Fault(format!("due queue is damaged: {why}"));
    let (at, work) = rest.split_at_checked(8).ok_or_else(|| damaged("a key is short".into()))?;
    let at = Timestamp(at.iter().fold(0, |t, b| t << 8 | u64::from(*b)));
    Ok((at, codec::from_slice(work).map_err(|e| damaged(e.to_string()))?))
}

/// Acts on another member's status entry and acknowledges it.
///
/// 1. The entry is of the caller's own log, and of a kind its author may tell others: `caller.not-allowed`. (A copy is
///    brought by `sync`, which proves it.)
/// 2. Known already: the same acknowledgement again, and no second entry. Another entry at the same index is another
///    history: `signature.invalid`.
/// 3. The standing is merged and the acknowledgement written, in one batch.
pub fn notice(
    context: &Context,
    turn: &mut Turn<'_>,
    token: Token,
    caller: &MemberId,
    notice: &Proven,
    fact: &StatusFact,
) -> Result<(), Halt> {
    // 1
    if notice.member != *caller {
        return Halt::refuse(Code::CallerNotAllowed, "a status entry is pushed by its author");
    }
    // A bank that collects authorisations says what becomes of them; it decides nothing else.
    let author = &context.registry.member(caller)?.stated;
    let may = author.role.mirrors_status() || author.collector && fact.grant().is_some();
    if !concerns(context, fact) || !may {
        return Halt::refuse(Code::CallerNotAllowed, "nothing in this entry is for others to act on");
    }
    // 2 and 3
    let index = act(context, turn, notice, fact)?;
    turn.reply(token, Reply::Receipt(index));
    Ok(())
}

/// Whether another member's statement is one that this member acts on and acknowledges when it is told.
pub fn concerns(context: &Context, fact: &StatusFact) -> bool {
    match fact.page() {
        Some(said) => said.authority == context.own.id,
        None => concerns_others(fact),
    }
}

/// Whether it is one that this member acts on when it finds it in its copy of the other's log.
pub fn concerns_finder(context: &Context, fact: &StatusFact) -> bool {
    match fact.page() {
        Some(said) => said.authority == context.own.id,
        None => concerns_platforms(fact),
    }
}

/// Whether a statement is one that other members act on: of a page the record's authority alone.
pub fn concerns_others(fact: &StatusFact) -> bool {
    concerns_platforms(fact) || fact.grant().is_some() || fact.page().is_some()
}

/// Whether every public platform acts on it and acknowledges it. The others each finds in its copy of the log, and
/// nothing is to be done about them that could be late: a grant says itself when it is over, and who answers a question
/// looks first who has said that it is used up.
pub fn concerns_platforms(fact: &StatusFact) -> bool {
    match fact {
        StatusFact::Changed(_)
        | StatusFact::GrantPaused(..)
        | StatusFact::GrantResumed(..)
        | StatusFact::GrantRevoked(..)
        | StatusFact::KeyWithdrawn(_) => true,
        StatusFact::NotGranted(said) => said.ban.is_some_and(|ban| ban.everywhere.is_some()),
        _ => false,
    }
}

/// Merges a proven statement and acknowledges it once; returns the index of the acknowledgement.
pub fn act(context: &Context, turn: &mut Turn<'_>, proven: &Proven, fact: &StatusFact) -> Result<u64, Halt> {
    let told = Told { index: proven.index, at: proven.entry.at };
    if let Some(handled) = turn.row::<HandledRow>(&Key::handled(&proven.member, proven.index))? {
        if handled.leaf != proven.leaf {
            return Halt::refuse(
                Code::SignatureInvalid,
                format!("`{}` has shown two different status entries {}", proven.member, proven.index),
            );
        }
        // Merged once more: after a restore the acknowledgement has come back with this member's own log, and the
        // standing it was about has not; and it may have been acknowledged on a disk that did not know the record's twin.
        project::status(context, turn, &proven.member, fact, told)?;
        recognise::repaired(context, turn, proven, fact)?;
        return Ok(handled.ack);
    }
    // Who keeps no copy of the author's log repeats the statement, and merges it with its own entry.
    let said = (!context.role()?.mirrors_status()).then(|| Bytes(codec::to_vec(fact)));
    if said.is_none() {
        project::status(context, turn, &proven.member, fact, told)?;
    }
    let ack = Acknowledged { origin: proven.member.clone(), index: proven.index, leaf: proven.leaf, said };
    let signed = context.sign(turn.now, &StatusFact::Acknowledged(ack));
    let (index, _) = turn.append(context, LogName::Status, Fact::Status(signed))?;
    recognise::repaired(context, turn, proven, fact)?;
    Ok(index)
}

/// The own status entry by which this member has acknowledged another's; `None` when it has not.
pub fn heard(view: &dyn View, origin: &MemberId, index: u64) -> Result<Option<Told>, Fault> {
    let handled: Option<HandledRow> = tables::row(view, &Key::handled(origin, index))?;
    handled.map_or(Ok(None), |handled| own_entry(view, handled.ack))
}

/// An own status entry: its index and its time; `None` for one that this very step writes.
pub fn own_entry(view: &dyn View, index: u64) -> Result<Option<Told>, Fault> {
    Ok(LogName::Status.entry(view, index)?.map(|entry| Told { index, at: entry.at }))
}

/// Keeps a recipient's acknowledgement for the certificate.
pub fn acknowledgement(
    context: &Context,
    turn: &mut Turn<'_>,
    event: u64,
    proven: &Proven,
    fact: &StatusFact,
    receipt: Vec<u8>,
) -> Result<(), Halt> {
    let StatusFact::Acknowledged(ack) = fact else {
        return Halt::refuse(
            Code::SignatureInvalid,
            format!("`{}` acknowledges with another statement", proven.member),
        );
    };
    let key = Key::delivery(event, &proven.member);
    let Some(mut row) = turn.row::<DeliveryRow>(&key)? else { return Ok(()) };
    let entry = log::entry(turn.view(), LogName::Status.as_str(), LeafIndex(event))?.unwrap_or_default();
    let this = ack.origin == context.own.id && ack.index == event && ack.leaf == leaf_hash(&entry);
    if !this || !repeats(context, ack, &entry)? {
        return Halt::refuse(
            Code::SignatureInvalid,
            format!("`{}` acknowledges another entry", proven.member),
        );
    }
    if row.ack.is_none() {
        (row.ack, row.acked_at) = (Some(Bytes(receipt)), Some(turn.now));
        turn.put(&key, &row);
    }
    Ok(())
}

/// Whether what an acknowledgement repeats, if it does, is what the own entry says.
fn repeats(context: &Context, ack: &Acknowledged, entry: &[u8]) -> Result<bool, Halt> {
    let Some(said) = &ack.said else { return Ok(true) };
    let entry = Entry::from_bytes(entry).map_err(|e| Fault(e.to_string()))?;
    let Fact::Status(signed) = &entry.fact else { return Ok(false) };
    Ok(said.0 == codec::to_vec(context.registry.verify_logged(signed)?.get()))
}

#[cfg(test)]
mod tests;
