//! A decision pushed to the province that publishes it (依法推送).
//!
//! Where its subject is registered in another province than the authority's, rule data may make it the authority's duty to
//! push the decision there, and that province's duty to publish it ([`credit::rules::Publication`]). In the batch that takes
//! the record in stand an entry of the access log, which names the rule, and a row; then it is sent until the receiver has
//! acknowledged. What is sent is built like an answer: the public fields, sealed to the receiver, each proven against the
//! record's root, under the receipt of the access entry.
//!
//! [`copy`] is the receiver's side, [`publish`] the word that a record is published, in which both share. *Not here*: how a
//! change of standing reaches the receiver, who is a recipient like every other ([`crate::propagation`]).

pub mod copy;
pub mod publish;

use credit::{
    catalog::{FieldClass, Item, Mode},
    entry::{Entry, Fact, Pushed},
    id::{FieldId, MemberId, RecordId},
    policy::Role,
    record::{RecordFacts, SealedRecord},
    repair::Deadline,
    rules::{Publication, System},
    status::Standing,
    subject::{SubjectId, province_of},
    value::Date,
};
use crypto::{
    Bytes, Timestamp,
    merkle::leaf_hash,
    pseudonym::{SubjectTag, subject_access_key},
    secret::Secret,
};
use ledger::{log, store::View, tree::LeafIndex};
use minicbor::{Decode, Encode};

use crate::{
    answer::{Plan, PlanField, PlanRecord},
    context::Context,
    logs::LogName,
    propagation::backoff_ms,
    query::next_link,
    receipt::Proven,
    refusal::{Code, Fault, Halt},
    registry::Registry,
    step::Effect,
    tables::{self, Key, RecipientRow, RecordRow, Work},
    turn::Turn,
    wire::PushLine,
};

/// Where a record is to be published: found out where its subject is in clear, and used where the record is written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    rule: String,
    province: String,
    to: Option<MemberId>,
    fields: Vec<FieldId>,
    access: Secret,
}

/// Where an own record about `subject` is to be published; `None` where no rule provides for it, or the subject is registered
/// in no province: a natural person, or one whom the national registrar has registered.
pub fn place(context: &Context, sealed: &SealedRecord, subject: &SubjectId) -> Option<Place> {
    let (facts, own) = (&sealed.facts, &context.own.id);
    if facts.authority != *own {
        return None;
    }
    let rule = context.rules.publication(&facts.item, facts.kind, facts.decided?)?;
    let (item, province) = (context.catalog.item(&facts.item)?, subject.province()?);
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
    let serves =
        registry.active().filter(|m| m.role == Role::Region && m.region == province && !m.quic.is_empty());
    serves.min_by_key(|m| (m.system != Some(System::Gsxt), &m.id)).map(|m| &m.id)
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
    /// Last day for the push, or for the publication here; absent where the day of the decision was lost with a store.
    #[n(4)]
    pub due: Option<Deadline>,
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
}

impl PushRow {
    fn new(province: String, to: Option<MemberId>, since: Timestamp, due: Option<Deadline>) -> Self {
        Self { province, to, index: None, since, due, tries: 0, ack: None, acked_at: None, told: false }
    }

    /// Sent, and not acknowledged.
    fn waits(&self) -> bool {
        self.index.is_some() && self.ack.is_none()
    }
}

/// Writes down where a version that was just recorded is published, and sends it on its way there.
pub fn recorded(
    context: &Context,
    turn: &mut Turn<'_>,
    (facts, version): (&RecordFacts, u64),
    tag: &SubjectTag,
    place: Place,
) -> Result<(), Halt> {
    let record = facts.record;
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
            };
            turn.append(context, LogName::Access, Fact::Pushed(pushed))?;
        }
        to => {
            let due = to.as_ref().and_then(|_| deadline(context, facts, |rule| rule.publish_days));
            if let Some(due) = due {
                turn.put(&Key::due(due.passed_at(), &Work::Publish(record)), &());
            }
            turn.put(&Key::push(&record), &PushRow::new(place.province, to, turn.now, due));
        }
    }
    Ok(())
}

/// The last day for what a rule gives so many working days from the decision.
fn deadline(context: &Context, facts: &RecordFacts, days: fn(&Publication) -> u32) -> Option<Deadline> {
    let decided = facts.decided?;
    let rule = context.rules.publication(&facts.item, facts.kind, decided)?;
    Some(Deadline::after(decided, days(rule), &context.calendar))
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
    let facts = newest(turn.view(), &record)?.map(|(_, sealed)| sealed.facts);
    let due = facts.and_then(|facts| deadline(context, &facts, |rule| rule.push_days));
    let row = PushRow::new(province_of(region), Some(to.clone()), at, due);
    let row = PushRow { index: Some(index), tries: 1, ..row };
    turn.put(&Key::push(&record), &row);
    turn.put(&Key::link(&pushed.subject_link), &index);
    let key = Key::recipient(&record, to);
    let before: Option<RecipientRow> = turn.row(&key)?;
    turn.put(&key, &RecipientRow::of(before, at, None));
    turn.put(&Key::due(turn.now.plus_ms(backoff_ms(1)), &Work::Push(record)), &());
    turn.effect(Effect::Push(record));
    Ok(())
}

/// Sends again what is not acknowledged; how often it was tried. `None`: there is nothing to send any more. What has ended, and
/// what only a lost store held, is not sent; what is hidden for now waits. `passed` says whether a last day is over, once.
pub(crate) fn due(
    context: &Context,
    turn: &mut Turn<'_>,
    record: &RecordId,
    passed: &dyn Fn(Option<Deadline>, &mut bool) -> Option<Date>,
) -> Result<Option<u32>, Fault> {
    let key = Key::push(record);
    let Some(mut row) = turn.row::<PushRow>(&key)?.filter(PushRow::waits) else { return Ok(None) };
    let standing = standing(turn.view(), &context.own.id, record)?;
    if standing.has_ended() || newest(turn.view(), record)?.is_none() {
        return Ok(None);
    }
    let open = standing.status().disclosable();
    row.tries += 1;
    if let (Some(last), Some(to)) = (passed(row.due.filter(|_| open), &mut row.told), &row.to) {
        turn.effect(Effect::Alert(format!(
            "record {record}: it was to be pushed to `{to}` by {last}, and is not acknowledged / 处罚信息应于{last}前推送至登记地而尚未获回执"
        )));
    }
    turn.put(&key, &row);
    if open {
        turn.effect(Effect::Push(*record));
    }
    Ok(Some(row.tries))
}

/// Whether work waits for `peer`.
pub(crate) fn waits_for(turn: &Turn<'_>, record: &RecordId, peer: &MemberId) -> Result<bool, Fault> {
    Ok(turn.row::<PushRow>(&Key::push(record))?.is_some_and(|row| row.to.as_ref() == Some(peer)))
}

/// What is to be sent of a record now, for [`crate::answer::seal`]; `None` when there is nothing.
pub fn plan(context: &Context, view: &dyn View, record: &RecordId) -> Result<Option<Plan>, Fault> {
    let row = tables::row::<PushRow>(view, &Key::push(record))?.filter(PushRow::waits);
    let Some((index, asker)) = row.and_then(|row| row.index.zip(row.to)) else { return Ok(None) };
    let bytes = log::entry(view, LogName::Access.as_str(), LeafIndex(index))?
        .ok_or_else(|| Fault(format!("entry {index} of `access` is missing")))?;
    let entry = Entry::from_bytes(&bytes).map_err(|e| Fault(e.to_string()))?;
    let Fact::Pushed(pushed) = entry.fact else {
        return Err(Fault(format!("entry {index} of `access` pushes nothing")));
    };
    let open = standing(view, &context.own.id, record)?.status().disclosable();
    let held = newest(view, record)?.filter(|(row, _)| open && row.newest.index == pushed.version);
    Ok(held.map(|(row, _)| Plan {
        question: leaf_hash(&bytes),
        asker,
        index,
        records: vec![PlanRecord {
            version: pushed.version,
            slot: row.newest.slot,
            fields: pushed.fields.into_iter().map(|field| PlanField(field, Mode::Value)).collect(),
        }],
        checks: Vec::new(),
        openings: Vec::new(),
    }))
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
        (row.ack, row.acked_at) = (Some(Bytes(receipt)), Some(turn.now));
        turn.put(&key, &row);
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
        let status = standing(view, own, &record)?.status();
        let published = publish::published_on(context, view, &record)?;
        let due = match &row.to {
            // Nothing is left to be done, or never was.
            Some(to) if to == own => row.due.filter(|_| published.is_none()),
            _ => row.due.filter(|_| row.waits()),
        };
        lines.push(PushLine {
            record,
            province: row.province,
            to: row.to,
            since: row.since,
            due: due.filter(|_| status.disclosable()),
            pushed: row.index.is_some(),
            tries: row.tries,
            taken: row.acked_at,
            published,
            status,
        });
    }
    Ok(lines)
}

/// Pushes without an acknowledgement, and publications of own and received records, that are later on `today` than they may.
pub fn overdue(context: &Context, view: &dyn View, today: Date) -> Result<(u64, u64), Fault> {
    let late = |due: Option<Deadline>| due.is_some_and(|due| due.date < today);
    let (mut pushes, mut publications) = (0, 0);
    for line in self::pushes(context, view, None)?.iter().filter(|line| late(line.due)) {
        *(if line.pushed { &mut pushes } else { &mut publications }) += 1;
    }
    let copies = copy::copies(context, view, None)?;
    publications += copies.iter().filter(|copy| late(copy.due)).count() as u64;
    Ok((pushes, publications))
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
