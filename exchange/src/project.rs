//! Entries to rows: what follows from a log entry alone, whether it was decided here, pulled from a peer, or
//! replayed after a restore. Each entry is projected once, in the batch that stores it.

use crate::{
    ban,
    context::Context,
    ended, grant,
    logs::LogName,
    propagation, push,
    refusal::{Fault, Halt},
    repair,
    step::Effect,
    summary,
    tables::{self, HandledRow, Key, OutcomeRow, RecipientRow, RecordRow, Told, UsedUpRow},
    timer,
    turn::Turn,
};
use credit::{
    entry::{Acknowledged, AskedBy, BasisRef, Entry, Fact, StatusFact, Version},
    grant::{GrantLife, Uses},
    id::MemberId,
    status::{Change, Standing},
};
use crypto::codec;

/// A day, in milliseconds.
const DAY_MS: u64 = 86_400_000;

/// Projects an entry of one of this member's own logs.
pub fn own(
    context: &Context,
    turn: &mut Turn<'_>,
    log: LogName,
    index: u64,
    entry: &Entry,
) -> Result<(), Halt> {
    match &entry.fact {
        Fact::Recorded(recorded) => {
            let next: u64 = turn.row(&Key::next_slot())?.unwrap_or(0);
            turn.put(&Key::next_slot(), &next.max(recorded.slot.0 + 1));
            // What no entry holds is lost here, and the version cannot be opened.
            let key = Key::record(&recorded.record);
            let row = RecordRow::of(turn.row(&key)?, Version { index, slot: recorded.slot });
            turn.put(&key, &row);
        }
        Fact::Erased(erased) => {
            if let Some(mut row) = turn.row::<RecordRow>(&Key::record(&erased.record))?
                && erased.versions.contains(&row.newest)
            {
                if let Some(tag) = row.tag.take() {
                    // The newest version may have come back from a peer, without its payload.
                    for version in row.versions().iter().rev() {
                        if let Some(sealed) = tables::payload(turn.view(), version.slot)? {
                            turn.delete(&Key::index(&tag, &sealed.facts.item, &erased.record));
                            break;
                        }
                    }
                }
                (row.content, row.subject, row.erased) = (None, None, true);
                turn.put(&Key::record(&erased.record), &row);
                turn.delete(&Key::erasure(&erased.record));
            }
            for version in &erased.versions {
                turn.delete_payload(version.slot);
                turn.put(&Key::erased(version.slot), &index);
            }
            turn.effect(Effect::Puncture(erased.versions.iter().map(|v| v.slot).collect()));
        }
        Fact::Status(signed) if log == LogName::Status => {
            // Our own statement: signed here, or proven to be ours by the checkpoint it was replayed under.
            let fact = context.registry.verify_logged(signed)?.into_inner();
            let told = Told { index, at: entry.at };
            status(context, turn, &context.own.id, &fact, told)?;
            repair::own_entry(context, turn, &fact, told)?;
            grant::own_entry(turn, &fact);
            match &fact {
                fact if propagation::concerns_others(fact) => {
                    propagation::schedule(context, turn, index, entry.at, fact)?;
                    grant::own_end(turn, fact);
                }
                StatusFact::Acknowledged(ack) => acknowledged(context, turn, told, ack)?,
                StatusFact::RegistryAdopted(version, digest) => {
                    turn.put(&Key::registry(), version);
                    turn.put(&Key::adopted(index), &(*version, *digest));
                }
                _ => {}
            }
        }
        Fact::Disclosed(disclosed) => {
            link(turn, index, &disclosed.asked);
            if let BasisRef::Grant(digest, _) = &disclosed.asked.basis {
                let mut uses: Uses = turn.row(&Key::grant_use(digest))?.unwrap_or_default();
                uses.count(entry.at);
                turn.put(&Key::grant_use(digest), &uses);
            }
            let until = disclosed.keep_days.map(|days| entry.at.plus_ms(u64::from(days) * DAY_MS));
            for record in &disclosed.records {
                let key = Key::recipient(&record.record, &disclosed.asked.asker);
                let before: Option<RecipientRow> = turn.row(&key)?;
                turn.put(&key, &RecipientRow::of(before, entry.at, until));
            }
        }
        Fact::Refused(refused) => link(turn, index, &refused.asked),
        Fact::Pushed(pushed) => push::sent(context, turn, index, entry.at, pushed)?,
        Fact::Taken(taken) => push::copy::kept(turn, index, entry.at, taken)?,
        Fact::Relayed(relayed) => turn.put(&Key::relayed(&relayed.question), &relayed.to),
        Fact::Batched(_)
        | Fact::Status(_)
        | Fact::Asked(_)
        | Fact::Received(_)
        | Fact::Read(_)
        | Fact::Mandated(..)
        | Fact::TurnedAway(_) => {}
    }
    Ok(())
}

/// Projects the statement of entry `index` of any member's verified status log. Only what the author may say about:
/// its own standings, its own cases, its own grants. The index orders reversible marks.
pub fn status(
    context: &Context,
    turn: &mut Turn<'_>,
    author: &MemberId,
    fact: &StatusFact,
    told: Told,
) -> Result<(), Halt> {
    if let Some((case, outcome)) = OutcomeRow::of(fact, told) {
        let key = Key::outcome(author, &case);
        let before: OutcomeRow = turn.row(&key)?.unwrap_or_default();
        let after = before.merge(outcome);
        turn.put(&key, &after);
        // Only an application for repair is ever accepted.
        if let (StatusFact::NotGranted(said), true) = (fact, after.accepted.is_some()) {
            let key = Key::examined(author, &said.record);
            let newest = turn.row::<Told>(&key)?.map_or(told, |before| before.max(told));
            turn.put(&key, &newest);
        }
    }
    match fact {
        StatusFact::Changed(changed) => {
            let before: Option<Standing> = turn.row(&Key::standing(author, &changed.record))?;
            let after = before.unwrap_or_default().merge(Standing::of(changed.change, told.index));
            if before != Some(after) {
                summary::put(turn, author, &changed.record, Some(&after))?;
            }
            if after.has_ended() && !before.is_some_and(|before| before.has_ended()) {
                push::copy::ended(context, turn, author, &changed.record, told.at)?;
            }
            if let Some(act) = &changed.act {
                ended::keep(turn, act);
            }
            let shown = after.status().disclosable();
            if before.unwrap_or_default().status().disclosable() && !shown
                || changed.change == Change::Correct && shown
            {
                push::down::to_be_taken_down(context, turn, &changed.record)?;
            }
            if changed.change == Change::Unmask {
                push::publish::shown_again(context, turn, author, &changed.record)?;
            }
            if changed.change == Change::Withdraw {
                timer::of_withdrawal(context, turn, author, &changed.record, told.at)?;
            }
        }
        StatusFact::NotGranted(said) => ban::keep(turn, author, said, told.index)?,
        StatusFact::GrantUsedUp(used) => {
            let key = Key::used_up(&used.grant, author);
            let said = UsedUpRow { index: told.index, question: used.question };
            let first = turn.row::<UsedUpRow>(&key)?.map_or(said, |before| before.min(said));
            turn.put(&key, &first);
        }
        StatusFact::Published(said) => push::publish::said(context, turn, author, said, told)?,
        StatusFact::TakenDown(said) => push::down::said(context, turn, author, said, told)?,
        other => {
            if let Some((grant, life)) = other.grant_life(told.index) {
                let key = Key::grant_life(author, grant);
                let before: GrantLife = turn.row(&key)?.unwrap_or_default();
                turn.put(&key, &before.merge(life));
            }
        }
    }
    Ok(())
}

/// An own acknowledgement. One that repeats what it acknowledges is the only source of it that this member's disk has.
fn acknowledged(context: &Context, turn: &mut Turn<'_>, own: Told, ack: &Acknowledged) -> Result<(), Halt> {
    turn.put(&Key::handled(&ack.origin, ack.index), &HandledRow { ack: own.index, leaf: ack.leaf });
    if let Some(said) = &ack.said {
        let damaged =
            |e| Fault(format!("entry {} of the own status log repeats nothing readable: {e}", own.index));
        let said: StatusFact = codec::from_slice(&said.0).map_err(damaged)?;
        status(context, turn, &ack.origin, &said, Told { index: ack.index, at: own.at })?;
        turn.put(&Key::news(own.index), &said);
    }
    Ok(())
}

fn link(turn: &mut Turn<'_>, index: u64, asked: &AskedBy) {
    turn.put(&Key::link(&asked.subject_link), &index);
}
