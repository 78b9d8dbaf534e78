//! That a page is taken down (停止公示): said by who has published it, shown by the record's authority, and late when nobody says it.
//!
//! What has ended, is hidden or was corrected may not be published, and the rule under which it was published gives so many
//! working days for taking it down, from when its publisher knows. Whether a page is there is told by the order of its
//! publisher's own entries: a later `Published` puts it up again. What was never published need not be taken down.

use credit::{
    entry::{Fact, PageDay, StatusFact},
    id::{MemberId, RecordId},
    repair::Deadline,
    status::{Change, Standing},
    value::Date,
};
use crypto::Timestamp;
use ledger::{log, store::View};

use super::{
    PushRow,
    copy::CopyRow,
    publish::{self, PageRow},
    pushed, standing,
};
use crate::{
    context::Context,
    logs::LogName,
    propagation,
    refusal::{Fault, Halt},
    repair,
    step::{Reply, Token},
    tables::{self, DeliveryRow, Key, Told, Work},
    turn::Turn,
    wire::PageLine,
};

/// Says that this member has taken down, on a day, what it had published of a record; by default today, or the day said before.
///
/// 1. This member has said that it published the record: `case.denied`.
/// 2. It may not be published: it has ended, is hidden, or was corrected and the new version is not here. Else `case.denied`.
/// 3. The day is not ahead, nor before the publication or what it follows from: `case.denied`.
/// 4. Said already of this publication: the same statement again, and no second entry. Another day puts the one before right.
pub fn take_down(
    context: &Context,
    turn: &mut Turn<'_>,
    token: Token,
    record: RecordId,
    on: Option<Date>,
) -> Result<(), Halt> {
    let own = &context.own.id;
    // 1
    let Some(published) = turn.row::<PageRow>(&Key::published(&record, own))? else {
        return Err(repair::denied(
            format!("this member has never said that it published {record} / 本单位从未确认公示该信息"),
            "what was never published need not be taken down; `xinqiao record received` shows what is",
            "未公示的信息无需停止公示；`xinqiao record received` 列出须停止公示的信息",
        )
        .into());
    };
    // 2
    let copy: Option<CopyRow> = turn.row(&Key::copy(&record))?;
    let authority = copy.as_ref().map_or(own, |copy| &copy.from).clone();
    let standing = standing(turn.view(), &authority, &record)?;
    let corrected = copy.is_some_and(|copy| copy.is_corrected(&standing));
    let Some(entry) = hidden_by(&standing, corrected) else {
        let status = standing.status();
        return Err(repair::denied(
            format!(
                "the record is {} and may be published / 该信息{}，仍可公示",
                status.as_str(),
                status.zh()
            ),
            "leave it where it is; if its authority has ended it, say it again once this node has heard of that",
            "请继续公示；如认定单位已终止公示，请待本节点收到其决定后再确认",
        )
        .into());
    };
    // 3
    let before = page(turn.view(), &record, own, published)?;
    let today = Date::from_timestamp(turn.now);
    let on = on.or(before.map(|before| before.on)).unwrap_or(today);
    let day = |why: String| {
        repair::denied(
            why,
            "give the day on which it was taken down with --on",
            "请用 --on 填写实际停止公示之日",
        )
    };
    if on > today {
        return Err(day(format!("{on} is ahead / 停止公示日期不得晚于今日")).into());
    }
    let ended = ended_on(turn.view(), own, &authority, entry)?;
    let first = ended.map_or(published.on, |ended| ended.max(published.on));
    if on < first {
        return Err(day(format!(
            "{on} is before {first}, when it was published or was to be published no longer / 停止公示日期不得早于{first}（公示之日或应停止公示之日）"
        ))
        .into());
    }
    // 4
    let index = match before.filter(|before| before.on == on) {
        Some(before) => before.index,
        None => {
            let signed = context.sign(turn.now, &StatusFact::TakenDown(PageDay { record, authority, on }));
            turn.append(context, LogName::Status, Fact::Status(signed))?.0
        }
    };
    turn.reply(token, Reply::Receipt(index));
    Ok(())
}

/// Keeps that a member has taken a page down.
pub(crate) fn said(
    context: &Context,
    turn: &mut Turn<'_>,
    author: &MemberId,
    said: &PageDay,
    told: Told,
) -> Result<(), Fault> {
    publish::keep(context, turn, (author, said), told, Key::taken_down).map(drop)
}

/// Sets the clock, where this member has published a record that may be published no longer. When the last day is, the next
/// tick finds out: by then the entry is written that says since when this member knows.
pub(crate) fn to_be_taken_down(
    context: &Context,
    turn: &mut Turn<'_>,
    record: &RecordId,
) -> Result<(), Fault> {
    if turn.row::<PageRow>(&Key::published(record, &context.own.id))?.is_some() {
        turn.put(&Key::due(turn.now, &Work::TakeDown(*record)), &());
    }
    Ok(())
}

/// The entry of its authority's status log by which a record may not be published, of several the earliest that stands;
/// `corrected`: what was published is not the newest version. Of two ends the graver one stands, and has its own days.
pub(super) fn hidden_by(standing: &Standing, corrected: bool) -> Option<u64> {
    let hides = |change: &Change| match change {
        Change::Mask | Change::Expire | Change::Repair | Change::Withdraw => true,
        Change::Correct => corrected,
        Change::Dispute | Change::EndDispute | Change::Unmask => false,
    };
    standing.told().filter(|(change, _)| hides(change)).map(|(_, entry)| entry).min()
}

/// What a member has said of taking down what it had `published`; `None` while it is there.
pub(super) fn page(
    view: &dyn View,
    record: &RecordId,
    author: &MemberId,
    published: PageRow,
) -> Result<Option<PageRow>, Fault> {
    let down: Option<PageRow> = tables::row(view, &Key::taken_down(record, author))?;
    Ok(down.filter(|down| down.index > published.index))
}

/// Last day for taking down by a rule what may not be published since `at`; `None` where this build does not know the rule.
pub(super) fn days_after(context: &Context, rule: Option<&String>, at: Timestamp) -> Option<Deadline> {
    let rule = context.rules.publication_named(rule?)?;
    Some(Deadline::after(Date::from_timestamp(at), rule.take_down_days, &context.calendar))
}

/// Last day for taking down what this member has published, counted from when it has known the authority's `entry`.
pub(super) fn last_day(
    context: &Context,
    view: &dyn View,
    authority: &MemberId,
    rule: Option<&String>,
    entry: u64,
) -> Result<Option<Deadline>, Fault> {
    let known = known(view, &context.own.id, authority, entry)?;
    Ok(known.and_then(|told| days_after(context, rule, told.at)))
}

/// The own entry by which this member knows an entry of the authority: that entry itself, or its acknowledgement.
fn known(view: &dyn View, own: &MemberId, authority: &MemberId, entry: u64) -> Result<Option<Told>, Fault> {
    if authority == own {
        propagation::own_entry(view, entry)
    } else {
        propagation::heard(view, authority, entry)
    }
}

/// The day of the authority's `entry`: by its own clock where the copy of its log has it, and never later than this member
/// has known it.
fn ended_on(
    view: &dyn View,
    own: &MemberId,
    authority: &MemberId,
    entry: u64,
) -> Result<Option<Date>, Fault> {
    let written = LogName::Status.copied_entry(view, authority, entry)?.map(|entry| entry.at);
    let known = known(view, own, authority, entry)?.map(|told| told.at);
    Ok(written.into_iter().chain(known).min().map(Date::from_timestamp))
}

/// The pages about an own record: of this member and of each that it was pushed to, if they have said that they published it.
/// Another one's days count from when its acknowledgement came here.
pub(super) fn pages(
    context: &Context,
    view: &dyn View,
    record: &RecordId,
    row: &PushRow,
    standing: &Standing,
) -> Result<Vec<PageLine>, Fault> {
    let own = &context.own.id;
    let mut lines = Vec::new();
    for (rest, published) in tables::rows::<PageRow>(view, &Key::published_of(record), usize::MAX)? {
        let Some(member) = tables::key_text(&rest).and_then(MemberId::parse) else { continue };
        let here = member == *own;
        if !here && row.first_to(&member).is_none() {
            continue;
        }
        let down = page(view, record, &member, published)?;
        let hidden = hidden_by(standing, !here && outdated(view, row, standing)?);
        let due = match hidden.filter(|_| down.is_none()) {
            None => None,
            Some(entry) if here => last_day(context, view, own, row.rule.as_ref(), entry)?,
            Some(entry) => {
                let delivery: Option<DeliveryRow> = tables::row(view, &Key::delivery(entry, &member))?;
                let knows = delivery.and_then(|delivery| delivery.acked_at);
                knows.and_then(|at| days_after(context, row.rule.as_ref(), at))
            }
        };
        lines.push(PageLine { member, published: published.on, down: down.map(|down| down.on), due });
    }
    Ok(lines)
}

/// Whether an own record was corrected since its newest push: what was pushed is not to be published.
fn outdated(view: &dyn View, row: &PushRow, standing: &Standing) -> Result<bool, Fault> {
    let (Some(index), Some(corrected)) = (row.index, standing.corrected()) else { return Ok(false) };
    // An older copy of the disk has rows of entries that come back later.
    if index >= log::size(view, LogName::Access.as_str())?.0 {
        return Ok(false);
    }
    Ok(corrected >= pushed(view, index)?.0.told)
}

#[cfg(test)]
mod tests {
    use crypto::codec;
    use ledger::store::{Batch, Space, Store as _, memory::MemoryStore};

    use super::*;

    #[test]
    fn the_earliest_entry_that_still_hides_a_record_counts_and_a_correction_only_before_the_new_version() {
        let hidden = |changes: &[Change], corrected| {
            let told = (0..).zip(changes).map(|(index, change)| Standing::of(*change, index));
            hidden_by(&told.fold(Standing::default(), Standing::merge), corrected)
        };
        for (changes, entry) in [
            (&[][..], None),
            (&[Change::Dispute, Change::EndDispute], None),
            (&[Change::Mask], Some(0)),
            (&[Change::Mask, Change::Unmask], None),
            (&[Change::Mask, Change::Unmask, Change::Repair], Some(2)),
            (&[Change::Mask, Change::Dispute, Change::Withdraw], Some(0)),
            (&[Change::Expire, Change::Withdraw], Some(1)),
            (&[Change::Correct], None),
            (&[Change::Correct, Change::Expire], Some(1)),
        ] {
            assert_eq!(hidden(changes, false), entry, "{changes:?}");
        }
        assert_eq!(hidden(&[Change::Dispute, Change::Correct], true), Some(1));
        assert_eq!(hidden(&[Change::Correct, Change::Expire], true), Some(0));
    }

    #[test]
    fn what_was_said_last_says_whether_a_page_is_there() {
        let (record, author) = (RecordId([7; 32]), MemberId::parse("js").unwrap());
        let row = |index| PageRow { index, at: Timestamp(0), on: Date::new(2026, 1, 5).unwrap() };
        let store = MemoryStore::default();
        let down = |published| page(&store, &record, &author, row(published)).unwrap();
        assert_eq!(down(3), None);
        let mut batch = Batch::default();
        batch.put(Space::Row, Key::taken_down(&record, &author).as_bytes(), codec::to_vec(&row(5)));
        store.apply(&batch).unwrap();
        assert_eq!(down(3), Some(row(5)));
        assert_eq!(down(8), None, "published again");
    }
}
