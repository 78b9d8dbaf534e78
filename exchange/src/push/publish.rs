//! That a record is published (公示), and since when: said by who publishes it, counted by its authority.
//!
//! It is a statement of the publisher's status log, and goes to the authority as every status entry goes to its recipients.
//! Where a rule set counts from publication and the file did not tell that day, the authority counts from the earliest day that
//! was said.

use std::collections::BTreeMap;

use credit::{
    entry::{Fact, PageDay, StatusFact},
    id::{MemberId, RecordId},
    record::RecordFacts,
    repair::Deadline,
    status::Standing,
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
    repair,
    step::{Effect, Reply, Token},
    tables::{self, Key, RecordRow, Told, Work},
    timer,
    turn::Turn,
};

/// What a member has said last about its page: that a record is published, and in a row of its own that it is taken down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PageRow {
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

impl PageRow {
    /// Whether it was said of what is to be published now: after this version was here, and after this own status entry, which
    /// says that the mask is off.
    pub(crate) fn is_of(&self, since: Timestamp, unmasked: Option<u64>) -> bool {
        self.at >= since && unmasked.is_none_or(|index| self.index > index)
    }

    /// The newer of both.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        if other.index > self.index { other } else { self }
    }
}

/// Says that this member has published a record on a day, by default today; of a version that corrects one published before,
/// and of a record that is shown again, the day of the first time: publicity does not begin anew.
///
/// 1. The record is an own one, or was received to be published: `record.unknown`.
/// 2. It may be published, and was not corrected since the copy came: `case.denied`, with its standing.
/// 3. The day is not ahead, nor before the decision or the receipt: `case.denied`.
/// 4. Said already of this version: the same statement again, and no second entry. Another day puts the one before right.
pub fn publish(
    context: &Context,
    turn: &mut Turn<'_>,
    token: Token,
    record: RecordId,
    on: Option<Date>,
) -> Result<(), Halt> {
    // 1
    let Some(matter) = publishable(context, turn, &record)? else {
        let why = format!("{record} is neither an own record nor one that was received to be published");
        return Halt::refuse(Code::RecordUnknown, why);
    };
    // 2
    let status = matter.standing.status();
    if !status.disclosable() {
        let why = format!(
            "the record is {} and not to be published / 该信息{}，不得公示",
            status.as_str(),
            status.zh()
        );
        return Err(repair::denied(
            why,
            "if its page is still there, take it down, and say so with `xinqiao record take-down`",
            "如页面仍在公示，请停止公示，并用 `xinqiao record take-down` 确认",
        )
        .into());
    }
    if matter.corrected {
        let why = "its authority has corrected the record; wait for the new version / 认定单位已更正该信息，请待更正后的内容送达再公示";
        return Err(repair::denied(
            why,
            "take down what was published of the version before; `xinqiao record received` shows when the new one is here",
            "请停止公示旧内容；`xinqiao record received` 会列出送达的新内容",
        )
        .into());
    }
    // 3
    let today = Date::from_timestamp(turn.now);
    let said: Option<PageRow> = turn.row(&Key::published(&record, &context.own.id))?;
    let on = on.or(said.map(|said| said.on)).unwrap_or(today);
    let day = |why: String| {
        repair::denied(why, "give the day on which it was published with --on", "请用 --on 填写实际公示之日")
    };
    if on > today {
        return Err(day(format!("{on} is ahead; say it on that day / 公示日期不得晚于今日")).into());
    }
    if let Some(first) = matter.first.filter(|first| on < *first) {
        return Err(day(format!(
            "{on} is before {first}, when it was decided or came here / 公示日期不得早于{first}（作出或收到之日）"
        ))
        .into());
    }
    // 4
    let index = match said.filter(|said| said.on == on && said.is_of(matter.since, matter.unmasked)) {
        Some(said) => said.index,
        None => {
            let published = StatusFact::Published(PageDay { record, authority: matter.authority, on });
            let signed = context.sign(turn.now, &published);
            turn.append(context, LogName::Status, Fact::Status(signed))?.0
        }
    };
    turn.reply(token, Reply::Receipt(index));
    Ok(())
}

/// A record that this member may publish.
struct Matter {
    authority: MemberId,
    standing: Standing,
    /// Since when the version is here that is to be published.
    since: Timestamp,
    /// Own status entry that tells that a mask is off.
    unmasked: Option<u64>,
    /// First day on which it can have been published.
    first: Option<Date>,
    /// A copy that its authority has corrected since.
    corrected: bool,
}

fn publishable(context: &Context, turn: &Turn<'_>, record: &RecordId) -> Result<Option<Matter>, Fault> {
    let (view, own) = (turn.view(), &context.own.id);
    let held = turn.row::<RecordRow>(&Key::record(record))?.filter(|row| !row.erased);
    if let Some(row) = held
        && read::authority(view, &row)?.as_ref() == Some(own)
    {
        let since = turn.row::<PushRow>(&Key::push(record))?.map_or(Timestamp(0), |row| row.since);
        let first = newest(view, record)?.and_then(|(_, sealed)| sealed.facts.decided);
        let standing = standing(view, own, record)?;
        let unmasked = standing.unmasked();
        let matter = Matter { authority: own.clone(), standing, since, unmasked, first, corrected: false };
        return Ok(Some(matter));
    }
    let Some(row) = turn.row::<CopyRow>(&Key::copy(record))? else { return Ok(None) };
    let standing = standing(view, &row.from, record)?;
    Ok(Some(Matter {
        unmasked: row.shown_again(view, &standing)?.map(|told| told.index),
        corrected: row.is_corrected(&standing),
        first: Some(Date::from_timestamp(row.first)),
        authority: row.from,
        standing,
        since: row.since,
    }))
}

/// Keeps that a member has published; at the authority the end of publicity may follow from it.
pub(crate) fn said(
    context: &Context,
    turn: &mut Turn<'_>,
    author: &MemberId,
    said: &PageDay,
    told: Told,
) -> Result<(), Fault> {
    let kept = keep(context, turn, (author, said), told, Key::published)?;
    if kept
        && said.authority == context.own.id
        && let Some((_, sealed)) = newest(turn.view(), &said.record)?
    {
        timer::of_publicity(context, turn, &sealed.facts)?;
    }
    Ok(())
}

/// Keeps what a member says of its page in the row of that kind, if it is about an own record or said by this member; whether it
/// is. A day that was still ahead when it was said is nobody's.
pub(super) fn keep(
    context: &Context,
    turn: &mut Turn<'_>,
    (author, said): (&MemberId, &PageDay),
    told: Told,
    key: fn(&RecordId, &MemberId) -> Key,
) -> Result<bool, Fault> {
    let own = &context.own.id;
    let ours = said.authority == *own || author == own;
    if !ours || said.on > Date::from_timestamp(told.at) {
        return Ok(false);
    }
    let key = key(&said.record, author);
    let row = PageRow { index: told.index, at: told.at, on: said.on };
    let row = turn.row::<PageRow>(&key)?.map_or(row, |before| before.merge(row));
    turn.put(&key, &row);
    Ok(true)
}

/// The day on which an own record was published first, as those say who may: this member, and whoever it was pushed to, from the
/// day of that push on. Another recipient's word counts for nothing, nor does a day on which a publisher did not have it yet.
pub fn published_on(context: &Context, view: &dyn View, record: &RecordId) -> Result<Option<Date>, Fault> {
    let push: Option<PushRow> = tables::row(view, &Key::push(record))?;
    let mut first: Option<Date> = None;
    for (rest, row) in tables::rows::<PageRow>(view, &Key::published_of(record), usize::MAX)? {
        let Some(author) = tables::key_text(&rest).and_then(MemberId::parse) else { continue };
        let had = || push.as_ref().and_then(|push| push.first_to(&author)).map(Date::from_timestamp);
        if author == context.own.id || had().is_some_and(|day| row.on >= day) {
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
        // Nothing is published before it is decided; a correction may have put that day off.
        let said = published_on(context, view, &facts.record)?;
        facts.published = said.map(|on| facts.decided.map_or(on, |decided| on.max(decided)));
    }
    Ok(facts)
}

/// Pages that are late to be put up or taken down, as one tick finds them: an operator is told of all at once.
#[derive(Default)]
pub(crate) struct Late {
    publish: BTreeMap<RecordId, Date>,
    take_down: BTreeMap<RecordId, Date>,
}

impl Late {
    /// Says it once.
    pub(crate) fn tell(self, turn: &mut Turn<'_>) {
        if let (count, Some((record, last))) = (self.publish.len(), self.publish.first_key_value()) {
            turn.effect(Effect::Alert(format!(
                "late publications: {count}; record {record} was to be published by {last}, and nobody has said that it is; see `xinqiao record received --due` and `xinqiao record pushed` / {count}件处罚信息应公示而尚未确认公示，其中一件应于{last}前公示"
            )));
        }
        if let (count, Some((record, last))) = (self.take_down.len(), self.take_down.first_key_value()) {
            turn.effect(Effect::Alert(format!(
                "late take-downs: {count}; record {record} was to be taken down by {last}, and nobody has said that it is; see `xinqiao record received --due` and `xinqiao record pushed`, and say it with `xinqiao record take-down` / {count}件信息应停止公示而尚未确认，其中一件应于{last}前停止公示"
            )));
        }
    }
}

/// Looks whether an own record in its own province, or one received, is late to be published, or by the other work to be taken
/// down. The last day is counted again: it may have been provisional, or be another one since.
pub(crate) fn due(
    context: &Context,
    turn: &mut Turn<'_>,
    record: &RecordId,
    work: &Work,
    late: &mut Late,
) -> Result<(), Fault> {
    let (down, late) = match work {
        Work::TakeDown(_) => (true, &mut late.take_down),
        _ => (false, &mut late.publish),
    };
    let copies = super::copy::copies(context, turn.view(), Some(*record))?;
    let own = super::pushes(context, turn.view(), Some(*record))?;
    let copies = copies.iter().filter(|copy| copy.is_publishable() != down).map(|copy| copy.due);
    let own = own.iter().filter(|line| line.is_to_be_taken_down() == down && (down || !line.pushed));
    for due in copies.chain(own.map(|line| line.due)).flatten() {
        if turn.now < due.passed_at() {
            turn.put(&Key::due(due.passed_at(), work), &());
        } else {
            late.insert(*record, due.date);
        }
    }
    Ok(())
}

/// Sets the clock of a publication anew: the record is shown again.
pub(crate) fn shown_again(
    context: &Context,
    turn: &mut Turn<'_>,
    author: &MemberId,
    record: &RecordId,
) -> Result<(), Fault> {
    let days = if *author == context.own.id {
        let waits = turn.row::<PushRow>(&Key::push(record))?.is_some_and(|row| row.index.is_none());
        let facts = newest(turn.view(), record)?.filter(|_| waits).map(|(_, sealed)| sealed.facts);
        let rule = facts.and_then(|f| context.rules.publication(&f.item, f.kind, f.decided?));
        rule.map(|rule| rule.publish_days)
    } else {
        let row = turn.row::<CopyRow>(&Key::copy(record))?.filter(|row| row.from == *author);
        row.and_then(|row| context.rules.publication_named(&row.rule)).map(|rule| rule.receive_days)
    };
    if let Some(days) = days {
        let due = Deadline::after(Date::from_timestamp(turn.now), days, &context.calendar);
        turn.put(&Key::due(due.passed_at(), &Work::Publish(*record)), &());
    }
    Ok(())
}
