//! That a record is published (公示), and since when: said by who publishes it, counted by its authority.
//!
//! It is a statement of the publisher's status log, and goes to the authority as every status entry goes to its recipients.
//! Where a rule set counts from publication and the file did not tell that day, the authority counts from the earliest day that
//! was said.

use credit::{
    entry::{Fact, Published, StatusFact},
    id::{MemberId, RecordId},
    record::RecordFacts,
    repair::Deadline,
    value::Date,
};
use crypto::Timestamp;
use ledger::store::View;
use minicbor::{Decode, Encode};

use super::{PushRow, copy::CopyRow, newest, standing};
use crate::{
    context::Context,
    logs::LogName,
    read,
    refusal::{Code, Fault, Halt},
    step::{Effect, Reply, Token},
    tables::{self, Key, RecipientRow, RecordRow, Told},
    timer,
    turn::Turn,
};

/// What a member has said last about its publication of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PublishedRow {
    /// Index of its status entry.
    #[n(0)]
    pub index: u64,
    /// Time of that entry.
    #[n(1)]
    pub at: Timestamp,
    /// The day.
    #[n(2)]
    pub on: Date,
}

impl PublishedRow {
    /// The newer of both.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        if other.index > self.index { other } else { self }
    }
}

/// Says that this member has published a record on a day, by default today; of a version that corrects one published before,
/// the day of that one: publicity does not begin anew.
///
/// 1. The record is an own one, or was received to be published: `record.unknown`.
/// 2. It may be published: `case.denied`, with its standing.
/// 3. The day is not ahead: `case.denied`.
/// 4. Said already of this version: the same statement again, and no second entry. Another day puts the one before right.
pub fn publish(
    context: &Context,
    turn: &mut Turn<'_>,
    token: Token,
    record: RecordId,
    on: Option<Date>,
) -> Result<(), Halt> {
    // 1
    let Some((authority, since)) = publishable(context, turn, &record)? else {
        let why = format!("{record} is neither an own record nor one that was received to be published");
        return Halt::refuse(Code::RecordUnknown, why);
    };
    // 2
    let status = standing(turn.view(), &authority, &record)?.status();
    if !status.disclosable() {
        let why = format!(
            "the record is {} and not to be published / 该信息{}，不得公示",
            status.as_str(),
            status.zh()
        );
        return Halt::refuse(Code::CaseDenied, why);
    }
    // 3
    let today = Date::from_timestamp(turn.now);
    let said: Option<PublishedRow> = turn.row(&Key::published(&record, &context.own.id))?;
    let on = on.or(said.map(|said| said.on)).unwrap_or(today);
    if on > today {
        return Halt::refuse(Code::CaseDenied, format!("{on} is ahead; say it on that day"));
    }
    // 4
    let index = match said.filter(|said| said.on == on && said.at >= since) {
        Some(said) => said.index,
        None => {
            let published = StatusFact::Published(Published { record, authority, on });
            let signed = context.sign(turn.now, &published);
            turn.append(context, LogName::Status, Fact::Status(signed))?.0
        }
    };
    turn.reply(token, Reply::Receipt(index));
    Ok(())
}

/// The authority of a record that this member may publish, and since when it has the version it publishes.
fn publishable(
    context: &Context,
    turn: &Turn<'_>,
    record: &RecordId,
) -> Result<Option<(MemberId, Timestamp)>, Fault> {
    let view = turn.view();
    let held = turn.row::<RecordRow>(&Key::record(record))?.filter(|row| !row.erased);
    let own = held.map(|row| read::authority(view, &row)).transpose()?.flatten();
    if own.as_ref() == Some(&context.own.id) {
        let since = turn.row::<PushRow>(&Key::push(record))?.map_or(Timestamp(0), |row| row.since);
        return Ok(own.map(|own| (own, since)));
    }
    Ok(turn.row::<CopyRow>(&Key::copy(record))?.map(|row| (row.from, row.since)))
}

/// Keeps what a member says of its publication, if it is about an own record or said by this member; at the authority the end of
/// publicity may follow from it.
pub(crate) fn keep(
    context: &Context,
    turn: &mut Turn<'_>,
    author: &MemberId,
    said: &Published,
    told: Told,
) -> Result<(), Fault> {
    let own = &context.own.id;
    if said.authority != *own && author != own {
        return Ok(());
    }
    let key = Key::published(&said.record, author);
    let row = PublishedRow { index: told.index, at: told.at, on: said.on };
    let row = turn.row::<PublishedRow>(&key)?.map_or(row, |before| before.merge(row));
    turn.put(&key, &row);
    if said.authority == *own
        && let Some((_, sealed)) = newest(turn.view(), &said.record)?
    {
        timer::of_publicity(context, turn, &sealed.facts)?;
    }
    Ok(())
}

/// The day on which an own record was published first, as those say who may: this member, and whoever it was pushed to.
pub fn published_on(context: &Context, view: &dyn View, record: &RecordId) -> Result<Option<Date>, Fault> {
    let mut first: Option<Date> = None;
    for (rest, row) in tables::rows::<PublishedRow>(view, &Key::published_of(record), usize::MAX)? {
        let Some(author) = tables::key_text(&rest).and_then(MemberId::parse) else { continue };
        let may = author == context.own.id
            || tables::row::<RecipientRow>(view, &Key::recipient(record, &author))?.is_some();
        if may {
            first = Some(first.map_or(row.on, |first| first.min(row.on)));
        }
    }
    Ok(first)
}

/// What is known of an own record, with the day of its publication where the file did not tell it.
pub(crate) fn known(
    context: &Context,
    view: &dyn View,
    mut facts: RecordFacts,
) -> Result<RecordFacts, Fault> {
    if facts.published.is_none() && facts.authority == context.own.id {
        // Nothing is published before it is decided.
        let said = published_on(context, view, &facts.record)?;
        facts.published = said.map(|on| facts.decided.map_or(on, |decided| on.max(decided)));
    }
    Ok(facts)
}

/// Says once that a publication is late: of an own record in its own province, or of one received.
pub(crate) fn due(context: &Context, turn: &mut Turn<'_>, record: &RecordId) -> Result<(), Fault> {
    let late = |due: Option<Deadline>| due.filter(|due| turn.now >= due.passed_at());
    let copy = super::copy::copies(context, turn.view(), Some(*record))?;
    let own = super::pushes(context, turn.view(), Some(*record))?;
    let waits = copy.iter().map(|c| c.due).chain(own.iter().filter(|p| !p.pushed).map(|p| p.due));
    if let Some(due) = waits.filter_map(late).next() {
        let last = due.date;
        turn.effect(Effect::Alert(format!(
            "record {record}: it was to be published by {last}, and nobody has said that it is / 处罚信息应于{last}前公示而尚未确认公示"
        )));
    }
    Ok(())
}
