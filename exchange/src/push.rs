//! A decision pushed to the province that publishes it (依法推送).
//!
//! Where its subject is registered in another province than the authority's, rule data may make it the authority's duty to
//! push the decision there, and that province's duty to publish it ([`credit::rules::Publication`]). In the batch that takes
//! the record in stand an entry of the access log, which names the rule, and a row; then it is sent until the receiver has
//! acknowledged. What is sent is built like an answer: the public fields, sealed to the receiver, each proven against the
//! record's root, under the receipt of the access entry.
//!
//! [`copy`] is the receiver's side, [`publish`] and [`down`] the word that a record is published and taken down, in which both
//! share. *Not here*: how a change of standing reaches the receiver, who is a recipient like every other
//! ([`crate::propagation`]).

pub mod copy;
pub mod doubt;
pub mod down;
pub mod publish;

use std::collections::BTreeMap;

use credit::{
    catalog::{FieldClass, Item, Mode},
    entry::{Entry, Fact, Pushed},
    id::{FieldId, MemberId, RecordId},
    policy::Role,
    record::{RecordFacts, SUBJECT_FIELD, SealedRecord, read_content},
    repair::Deadline,
    rules::System,
    status::Standing,
    subject::{SubjectId, province_of},
    value::{Date, Value},
};
use crypto::{
    Bytes, Digest, Timestamp,
    keytree::Slot,
    merkle::leaf_hash,
    pseudonym::{SubjectTag, subject_access_key},
    seal::RecordKey,
    secret::Secret,
};
use ledger::{log, store::View, tree::LeafIndex};
use minicbor::{Decode, Encode};

use crate::{
    answer::{KnownNewest, Plan, PlanField, PlanRecord},
    context::Context,
    limits::REASON_BYTES_MAX,
    logs::LogName,
    propagation::{self, backoff_ms},
    query::next_link,
    receipt::Proven,
    refusal::{Code, Fault, Halt, Refusal},
    registry::{MemberRequest, Registry},
    repair,
    step::{Effect, Reply, Token},
    tables::{self, Key, RecipientRow, RecordRow, Work},
    timer,
    turn::Turn,
    wire::{PushLine, Response},
};
use publish::PageRow;

/// Where a record is to be published: found out where its subject is in clear, and used where the record is written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    rule: String,
    province: String,
    to: Option<MemberId>,
    fields: Vec<FieldId>,
    access: Secret,
}

/// Where an own record with these values about `subject` is to be published; `None` where no rule provides for it, where it is
/// of kinds or of a tier that is not published, or where the subject is registered in no province: a natural person, or one
/// whom the national registrar has registered.
pub fn place(
    context: &Context,
    sealed: &SealedRecord,
    (subject, values): (&SubjectId, &BTreeMap<FieldId, Value>),
) -> Option<Place> {
    let (facts, own) = (&sealed.facts, &context.own.id);
    if facts.authority != *own {
        return None;
    }
    let rule = context.rules.publication(&facts.item, facts.kind, facts.decided?)?;
    let (item, province) = (context.catalog.item(&facts.item)?, subject.province()?);
    let kinds = match item.penalty_field.and_then(|field| values.get(&field)) {
        Some(Value::Text(kinds)) => kinds,
        _ => "",
    };
    let hidden =
        facts.tier.is_some() && repair::rule(context, facts).is_ok_and(|r| r.published == Some(false));
    if hidden || !rule.publishes(kinds) {
        return None;
    }
    let at_home = province_of(&context.registry.member(own).ok()?.stated.region) == province;
    let to = if at_home { Some(own) } else { serving(&context.registry, &province) };
    Some(Place {
        rule: rule.id.clone(),
        to: to.cloned(),
        fields: sealed.fields.iter().map(|f| f.field).filter(|field| is_public(item, *field)).collect(),
        access: subject_access_key(&context.own.access, subject.as_str()),
        province,
    })
}

/// The member that publishes for a province: its platform, and of two that of 公示系统, whose rule this is.
fn serving<'a>(registry: &'a Registry, province: &str) -> Option<&'a MemberId> {
    let serves = registry.active().filter(|m| serves(m, province));
    serves.min_by_key(|m| (m.system != Some(System::Gsxt), &m.id)).map(|m| &m.id)
}

fn serves(member: &MemberRequest, province: &str) -> bool {
    member.role == Role::Region && member.region == province && !member.quic.is_empty()
}

/// Whether another member is to publish it than the row says: there was none, or that one has left.
fn misplaced(context: &Context, row: &PushRow) -> bool {
    let (registry, own, province) = (&context.registry, &context.own.id, &row.province);
    let stays = |to: &MemberId| to == own || registry.active().any(|m| m.id == *to && serves(m, province));
    !row.to.as_ref().is_some_and(stays) && serving(registry, province).is_some()
}

/// Whether a field may be published: public, and told as it is.
fn is_public(item: &Item, field: FieldId) -> bool {
    item.field(field).is_some_and(|f| f.class == FieldClass::Public && f.mode == Mode::Value)
}

/// Who publishes an own record, and how far that is.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PushRow {
    /// Province in which the subject is registered, six digits of GB/T 2260.
    #[n(0)]
    pub province: String,
    /// The member that publishes it: this one for its own province; absent where no member serves the province.
    #[n(1)]
    pub to: Option<MemberId>,
    /// Index of the access entry of the newest push; absent where nothing is pushed.
    #[n(2)]
    pub index: Option<u64>,
    /// When that was, or when the version was taken in.
    #[n(3)]
    pub since: Timestamp,
    /// Every member it was pushed to, and when first: whose word about its publication counts.
    #[n(4)]
    pub receivers: Vec<(MemberId, Timestamp)>,
    /// Tries so far.
    #[n(5)]
    pub tries: u32,
    /// The receiver's acknowledgement: encoded [`crate::receipt::Receipt`].
    #[n(6)]
    pub ack: Option<Bytes>,
    /// When it arrived.
    #[n(7)]
    pub acked_at: Option<Timestamp>,
    /// It was reported that the last day is over.
    #[n(8)]
    pub told: bool,
    /// Why the receiver did not take the newest push, when it was sent last.
    #[n(9)]
    pub refused: Option<String>,
    /// The rule of its publication; absent in rows of earlier builds.
    #[n(10)]
    pub rule: Option<String>,
}

impl PushRow {
    fn new(province: String, to: Option<MemberId>, since: Timestamp, rule: String) -> Self {
        Self {
            rule: Some(rule),
            province,
            to,
            index: None,
            since,
            tries: 0,
            ack: None,
            acked_at: None,
            told: false,
            receivers: Vec::new(),
            refused: None,
        }
    }

    /// When it was first pushed to a member.
    fn first_to(&self, member: &MemberId) -> Option<Timestamp> {
        self.receivers.iter().find(|(to, _)| to == member).map(|(_, at)| *at)
    }

    /// Sent, and not acknowledged.
    fn waits(&self) -> bool {
        self.index.is_some() && self.ack.is_none()
    }
}

/// Writes down where a version that was just recorded is published, and sends it on its way there. What is not to be published,
/// or not any more on the day it is handed in, is neither pushed nor watched.
pub fn recorded(
    context: &Context,
    turn: &mut Turn<'_>,
    (facts, version): (&RecordFacts, u64),
    tag: &SubjectTag,
    place: Option<Place>,
) -> Result<(), Halt> {
    let (record, key, today) = (facts.record, Key::push(&facts.record), Date::from_timestamp(turn.now));
    let before: Option<PushRow> = turn.row(&key)?;
    let over = timer::publicity_end(context, turn.view(), facts)?.is_some_and(|(end, _)| end <= today);
    let Some(place) = place.filter(|_| !over) else {
        if before.is_some_and(|row| row.index.is_none()) {
            turn.delete(&key);
        }
        return Ok(());
    };
    match place.to {
        Some(to) if to != context.own.id => {
            let subject_link = next_link(turn, tag, &place.access)?;
            let pushed = Pushed {
                record,
                version,
                to,
                fields: place.fields,
                rule: place.rule,
                subject_link,
                registry: context.registry.version,
                told: turn.tail(LogName::Status).next,
            };
            turn.append(context, LogName::Access, Fact::Pushed(pushed))?;
        }
        to => {
            let receivers = before.map(|row| row.receivers).unwrap_or_default();
            let row = PushRow { receivers, ..PushRow::new(place.province, to, turn.now, place.rule) };
            if row.to.is_some()
                && let Some(due) = due_of(context, turn.view(), facts, &row)?
            {
                turn.put(&Key::due(due.passed_at(), &Work::Publish(record)), &());
            }
            turn.put(&key, &row);
        }
    }
    Ok(())
}

/// The last day for the push of a record, or for its publication here: so many working days from the decision; of what was
/// pushed or published before, from the newest version, or from the day on which it is shown again.
fn due_of(
    context: &Context,
    view: &dyn View,
    facts: &RecordFacts,
    row: &PushRow,
) -> Result<Option<Deadline>, Fault> {
    let own = &context.own.id;
    let Some(decided) = facts.decided else { return Ok(None) };
    let Some(rule) = context.rules.publication(&facts.item, facts.kind, decided) else { return Ok(None) };
    let (mut from, mut days) = (decided, rule.push_days);
    match &row.to {
        Some(to) if to != own => {
            if row.first_to(to).is_some_and(|first| first < row.since) {
                from = from.max(Date::from_timestamp(row.since));
            }
        }
        _ => {
            days = rule.publish_days;
            if tables::row::<PageRow>(view, &Key::published(&facts.record, own))?.is_some() {
                from = from.max(Date::from_timestamp(row.since));
            }
            if let Some(index) = standing(view, own, &facts.record)?.unmasked()
                && let Some(told) = propagation::own_entry(view, index)?
            {
                from = from.max(Date::from_timestamp(told.at));
            }
        }
    }
    Ok(Some(Deadline::after(from, days, &context.calendar)))
}

/// Projects an own entry: the row, the first try, and the receiver as a recipient.
pub(crate) fn sent(
    context: &Context,
    turn: &mut Turn<'_>,
    index: u64,
    at: Timestamp,
    pushed: &Pushed,
) -> Result<(), Fault> {
    let (record, to) = (pushed.record, &pushed.to);
    let region = context.registry.member(to).map_or("", |m| m.stated.region.as_str());
    let key = Key::push(&record);
    let mut receivers = turn.row::<PushRow>(&key)?.map(|row| row.receivers).unwrap_or_default();
    if receivers.iter().all(|(known, _)| known != to) {
        receivers.push((to.clone(), at));
    }
    let row = PushRow::new(province_of(region), Some(to.clone()), at, pushed.rule.clone());
    turn.put(&key, &PushRow { index: Some(index), tries: 1, receivers, ..row });
    turn.put(&Key::link(&pushed.subject_link), &index);
    let key = Key::recipient(&record, to);
    let before: Option<RecipientRow> = turn.row(&key)?;
    turn.put(&key, &RecipientRow::of(before, at, None));
    turn.put(&Key::due(turn.now.plus_ms(backoff_ms(1)), &Work::Push(record)), &());
    turn.effect(Effect::Push(record));
    Ok(())
}

/// Sends again what is not acknowledged, or has another member found for it; how often it was tried. `None`: there is nothing
/// to send any more. What has ended, what only a lost store held, and a version that another has replaced is not sent; what is
/// hidden for now waits. `passed` says whether a last day is over, once.
pub(crate) fn due(
    context: &Context,
    turn: &mut Turn<'_>,
    record: &RecordId,
    passed: &dyn Fn(Option<Deadline>, &mut bool) -> Option<Date>,
) -> Result<Option<u32>, Fault> {
    let key = Key::push(record);
    let Some(mut row) = turn.row::<PushRow>(&key)? else { return Ok(None) };
    let standing = standing(turn.view(), &context.own.id, record)?;
    let Some((held, sealed)) = newest(turn.view(), record)?.filter(|_| !standing.has_ended()) else {
        return Ok(None);
    };
    if misplaced(context, &row) {
        row.tries += 1;
        turn.put(&key, &row);
        turn.effect(Effect::Place(*record));
        return Ok(Some(row.tries));
    }
    let Some(index) = row.index.filter(|_| row.waits()) else { return Ok(None) };
    // One that is not in the view was written in this very step, or comes back to an older copy of the disk: it is newest.
    let written = index < log::size(turn.view(), LogName::Access.as_str())?.0;
    if written && pushed(turn.view(), index)?.0.version != held.newest.index {
        return Ok(None);
    }
    let open = standing.status().disclosable();
    let last = due_of(context, turn.view(), &sealed.facts, &row)?;
    row.tries += 1;
    if let (Some(last), Some(to)) = (passed(last.filter(|_| open), &mut row.told), &row.to) {
        let why = row.refused.as_ref().map_or(String::new(), |why| format!(": {why}"));
        turn.effect(Effect::Alert(format!(
            "record {record}: it was to be pushed to `{to}` by {last}, and is not acknowledged{why} / 处罚信息应于{last}前推送至登记地而尚未获回执"
        )));
    }
    turn.put(&key, &row);
    if open {
        turn.effect(Effect::Push(*record));
    }
    Ok(Some(row.tries))
}

/// Under a new registry: what nobody could publish, or who has left was to publish, is placed again at the next tick.
pub(crate) fn adopted(context: &Context, turn: &mut Turn<'_>) -> Result<(), Fault> {
    for (rest, row) in tables::rows::<PushRow>(turn.view(), &Key::pushes(), usize::MAX)? {
        if let Ok(record) = rest.try_into()
            && misplaced(context, &row)
        {
            turn.put(&Key::due(turn.now, &Work::Push(RecordId(record))), &());
        }
    }
    Ok(())
}

/// Where an own record is to be published under the registry as it is now, found out from what is kept: of which version, and
/// the place. `None` when it is not held, its key is gone, or there is none. Errors: it does not open.
pub fn place_again(
    context: &Context,
    view: &dyn View,
    key: &dyn Fn(Slot) -> Option<RecordKey>,
    record: &RecordId,
) -> Result<Option<(u64, Place)>, Fault> {
    let Some((row, sealed)) = newest(view, record)? else { return Ok(None) };
    let Some(key) = key(sealed.facts.slot) else { return Ok(None) };
    let wanted: Vec<FieldId> = sealed.fields.iter().map(|sealed| sealed.field).collect();
    let damaged = || Fault(format!("record {record} does not open"));
    let opened = sealed.open(&wanted, &context.own.id, &key).map_err(|_| damaged())?;
    let mut values = BTreeMap::new();
    for (field, opening) in &opened.openings {
        values.insert(*field, read_content(*field, &opening.content).ok_or_else(damaged)?);
    }
    let Some(Value::Text(subject)) = values.get(&SUBJECT_FIELD) else { return Err(damaged()) };
    let subject = SubjectId::parse(subject).map_err(|_| damaged())?;
    Ok(place(context, &sealed, (&subject, &values)).map(|place| (row.newest.index, place)))
}

/// Pushes a record to where it was placed again, if it is still that version and still to be placed.
pub fn placed(
    context: &Context,
    turn: &mut Turn<'_>,
    record: &RecordId,
    version: u64,
    place: Place,
) -> Result<(), Halt> {
    let ended = standing(turn.view(), &context.own.id, record)?.has_ended();
    let waits = turn.row::<PushRow>(&Key::push(record))?.is_some_and(|row| misplaced(context, &row));
    let held = newest(turn.view(), record)?.filter(|(row, _)| row.newest.index == version && waits && !ended);
    if let Some((RecordRow { tag: Some(tag), .. }, sealed)) = held {
        recorded(context, turn, (&sealed.facts, version), &tag, Some(place))?;
    }
    Ok(())
}

/// Whether work waits for `peer`.
pub(crate) fn waits_for(turn: &Turn<'_>, record: &RecordId, peer: &MemberId) -> Result<bool, Fault> {
    Ok(turn.row::<PushRow>(&Key::push(record))?.is_some_and(|row| row.to.as_ref() == Some(peer)))
}

/// [`plan`] or [`plan_again`].
pub type Planning = fn(&Context, &dyn View, &RecordId) -> Result<Option<Plan>, Fault>;

/// What is to be sent of a record now, for [`crate::answer::seal`]; `None` when there is nothing.
pub fn plan(context: &Context, view: &dyn View, record: &RecordId) -> Result<Option<Plan>, Fault> {
    let waits = tables::row::<PushRow>(view, &Key::push(record))?.is_some_and(|row| row.waits());
    if waits { plan_again(context, view, record) } else { Ok(None) }
}

/// The same of a record that may have been acknowledged: its receiver has lost it.
pub fn plan_again(context: &Context, view: &dyn View, record: &RecordId) -> Result<Option<Plan>, Fault> {
    let row = tables::row::<PushRow>(view, &Key::push(record))?;
    let Some((index, asker)) = row.and_then(|row| row.index.zip(row.to)) else { return Ok(None) };
    // An older copy of the disk has rows of entries that come back later; it is looked at again then.
    if index >= log::size(view, LogName::Access.as_str())?.0 {
        return Ok(None);
    }
    let (pushed, question) = pushed(view, index)?;
    let open = standing(view, &context.own.id, record)?.status().disclosable();
    let held = newest(view, record)?.filter(|(row, _)| open && row.newest.index == pushed.version);
    Ok(held.map(|(row, _)| Plan {
        question,
        asker,
        index,
        records: vec![PlanRecord {
            version: pushed.version,
            slot: row.newest.slot,
            fields: pushed.fields.into_iter().map(|field| PlanField(field, Mode::Value)).collect(),
        }],
        checks: Vec::new(),
        openings: Vec::new(),
        newest: KnownNewest::default(),
    }))
}

/// An own access entry that pushes a record, and its leaf hash.
fn pushed(view: &dyn View, index: u64) -> Result<(Pushed, Digest), Fault> {
    let bytes = log::entry(view, LogName::Access.as_str(), LeafIndex(index))?
        .ok_or_else(|| Fault(format!("entry {index} of `access` is missing")))?;
    match Entry::from_bytes(&bytes).map_err(|e| Fault(e.to_string()))?.fact {
        Fact::Pushed(pushed) => Ok((pushed, leaf_hash(&bytes))),
        _ => Err(Fault(format!("entry {index} of `access` pushes nothing"))),
    }
}

/// Keeps the receiver's acknowledgement of the newest push. One of an earlier push, or of a record that is pushed to nobody,
/// changes nothing.
pub fn taken(context: &Context, turn: &mut Turn<'_>, proven: &Proven, receipt: Vec<u8>) -> Result<(), Halt> {
    let Fact::Taken(taken) = &proven.entry.fact else {
        let why = format!("`{}` acknowledges a push with another entry", proven.member);
        return Halt::refuse(Code::SignatureInvalid, why);
    };
    let key = Key::push(&taken.record);
    let Some(mut row) = turn.row::<PushRow>(&key)?.filter(|row| row.index == Some(taken.index)) else {
        return Ok(());
    };
    let entry = log::entry(turn.view(), LogName::Access.as_str(), LeafIndex(taken.index))?;
    let ours = taken.from == context.own.id && entry.map(|bytes| leaf_hash(&bytes)) == Some(taken.leaf);
    if !ours || row.to.as_ref() != Some(&proven.member) || proven.log != LogName::Access {
        return Halt::refuse(
            Code::SignatureInvalid,
            format!("`{}` acknowledges another push", proven.member),
        );
    }
    if row.ack.is_none() {
        (row.ack, row.acked_at, row.refused) = (Some(Bytes(receipt)), Some(turn.now), None);
        turn.put(&key, &row);
    }
    Ok(())
}

/// Pushes a record once more to the member it was pushed to, which has lost its values and asks until it has them. Nothing
/// changes here: who asks cannot take its acknowledgement back. Errors: `record.unknown`, where the newest push is none to the caller.
pub fn again(turn: &mut Turn<'_>, token: Token, caller: &MemberId, record: &RecordId) -> Result<(), Halt> {
    let key = Key::push(record);
    let to_caller = |row: &PushRow| row.to.as_ref() == Some(caller) && row.index.is_some();
    if !turn.row::<PushRow>(&key)?.is_some_and(|row| to_caller(&row)) {
        return Halt::refuse(Code::RecordUnknown, format!("{record} was not pushed to `{caller}`"));
    }
    turn.effect(Effect::PushAgain(*record));
    turn.reply(token, Reply::ready(Response::Done));
    Ok(())
}

/// Keeps why the receiver did not take the push of this access entry, for people to see; it is sent again all the same.
pub fn not_taken(turn: &mut Turn<'_>, record: &RecordId, index: u64, refusal: &Refusal) -> Result<(), Halt> {
    let why: String = refusal.to_string().chars().take(REASON_BYTES_MAX).collect();
    let key = Key::push(record);
    let waits = |row: &PushRow| row.waits() && row.index == Some(index) && row.refused.as_ref() != Some(&why);
    if let Some(row) = turn.row::<PushRow>(&key)?.filter(waits) {
        turn.put(&key, &PushRow { refused: Some(why), ..row });
    }
    Ok(())
}

/// Own records that are published or pushed by a rule, and how far each is; with `record` that one.
pub fn pushes(context: &Context, view: &dyn View, record: Option<RecordId>) -> Result<Vec<PushLine>, Fault> {
    let own = &context.own.id;
    let mut lines = Vec::new();
    let prefix = record.as_ref().map_or_else(Key::pushes, Key::push);
    for (rest, row) in tables::rows::<PushRow>(view, &prefix, usize::MAX)? {
        let Some(record) = record.or_else(|| rest.try_into().ok().map(RecordId)) else { continue };
        let standing = standing(view, own, &record)?;
        let pages = down::pages(context, view, &record, &row, &standing)?;
        // Of what is erased the pages remain.
        if pages.is_empty()
            && tables::row::<RecordRow>(view, &Key::record(&record))?.is_some_and(|row| row.erased)
        {
            continue;
        }
        let status = standing.status();
        let facts = newest(view, &record)?.map(|(_, sealed)| sealed.facts);
        let published = match &facts {
            Some(facts) => publish::known(context, view, facts.clone())?.published,
            None => publish::published_on(context, view, &record)?,
        };
        let at_home = row.to.as_ref() == Some(own);
        let again = published.is_some()
            && at_home
            && tables::row::<PageRow>(view, &Key::published(&record, own))?
                .is_some_and(|said| !said.is_of(row.since, standing.unmasked()));
        let open = match &row.to {
            // Nothing is left to be done, or never was.
            Some(_) if at_home => published.is_none() || again,
            _ => row.waits(),
        };
        let due = match &facts {
            Some(facts) if open && status.disclosable() => due_of(context, view, facts, &row)?,
            _ => pages.iter().find(|page| page.member == *own).and_then(|page| page.due),
        };
        lines.push(PushLine {
            record,
            province: row.province,
            to: row.to,
            since: row.since,
            due,
            pushed: row.index.is_some(),
            tries: row.tries,
            taken: row.acked_at,
            published,
            status,
            again,
            refused: row.refused,
            pages,
        });
    }
    Ok(lines)
}

/// What is later than it may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overdue {
    /// Pushes without an acknowledgement.
    pub pushes: u64,
    /// Publications of own and received records here.
    pub publications: u64,
    /// Pages here, about own and received records, that are to be taken down.
    pub take_downs: u64,
}

/// What is later on `today` than it may be.
pub fn overdue(context: &Context, view: &dyn View, today: Date) -> Result<Overdue, Fault> {
    let late = |due: Option<Deadline>| due.is_some_and(|due| due.date < today);
    let mut overdue = Overdue::default();
    for line in pushes(context, view, None)?.iter().filter(|line| late(line.due)) {
        *match (line.is_to_be_taken_down(), line.pushed) {
            (true, _) => &mut overdue.take_downs,
            (false, true) => &mut overdue.pushes,
            (false, false) => &mut overdue.publications,
        } += 1;
    }
    for copy in copy::copies(context, view, None)?.iter().filter(|copy| late(copy.due)) {
        *(if copy.is_publishable() { &mut overdue.publications } else { &mut overdue.take_downs }) += 1;
    }
    Ok(overdue)
}

/// An own record with the sealed record of its newest version; `None` when either is not here.
fn newest(view: &dyn View, record: &RecordId) -> Result<Option<(RecordRow, SealedRecord)>, Fault> {
    let row = tables::row::<RecordRow>(view, &Key::record(record))?.filter(|row| !row.erased);
    let Some(row) = row else { return Ok(None) };
    Ok(tables::payload(view, row.newest.slot)?.map(|sealed| (row, sealed)))
}

fn standing(view: &dyn View, authority: &MemberId, record: &RecordId) -> Result<Standing, Fault> {
    Ok(tables::row(view, &Key::standing(authority, record))?.unwrap_or_default())
}
