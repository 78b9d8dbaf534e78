//! A record that another member has pushed here to be published: opened, checked, kept sealed, and acknowledged.
//!
//! A copy serves publication alone. It is in no index of subjects, so no question is answered from it: the authority answers.
//! It is kept as it came, sealed to this member, and stands as its authority's log says. When the record ends the values are
//! forgotten, after the days that the law gives for taking it down; a copy that comes later, or once more, brings none back.

use std::{collections::BTreeMap, sync::Arc};

use credit::{
    catalog::Mode,
    entry::{Fact, Pushed, Taken},
    id::{FieldId, ItemId, MemberId, RecordId},
    repair::Deadline,
    status::Standing,
    subject::{SubjectId, province_of},
    value::{Date, Value},
};
use crypto::{Bytes, Digest, Timestamp, codec, seal::OpeningKey};
use ledger::{log, store::View};
use minicbor::{Decode, Encode};

use super::{down, is_public, publish::PageRow, standing};
use crate::{
    answer::{self, Answer, OpenedField},
    context::Context,
    limits::{PUSHES_BURST_MAX, RETRY_MS_MAX},
    logs::LogName,
    propagation,
    refusal::{Code, Fault, Halt, Refusal},
    step::{Effect, Reply, Token},
    tables::{self, Key, Told, Work},
    turn::Turn,
    wire::CopyLine,
};

/// A record received to be published.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct CopyRow {
    /// The authority.
    #[n(0)]
    pub from: MemberId,
    /// Index of its access entry.
    #[n(1)]
    pub index: u64,
    /// Leaf hash of that entry.
    #[n(2)]
    pub leaf: Digest,
    /// When it came.
    #[n(3)]
    pub since: Timestamp,
    /// Last day for its publication.
    #[n(4)]
    pub due: Deadline,
    /// Index of the own access entry that acknowledges it.
    #[n(5)]
    pub ack: u64,
    /// The [`Answer`] that brought it, sealed to this member; absent when the record has ended, or when a lost store held it.
    #[n(6)]
    pub sealed: Option<Bytes>,
    /// When a version of the record first came.
    #[n(7)]
    pub first: Timestamp,
    /// The rule under which it was pushed.
    #[n(8)]
    pub rule: String,
    /// Entries of the authority's status log before the push.
    #[n(9)]
    pub told: u64,
}

impl CopyRow {
    /// Whether the authority has corrected the record since it pushed this version.
    pub(crate) fn is_corrected(&self, standing: &Standing) -> bool {
        standing.corrected().is_some_and(|index| index >= self.told)
    }

    /// The own status entry that acknowledges that the record is shown again; `None` while nobody has lifted a mask.
    pub(crate) fn shown_again(&self, view: &dyn View, standing: &Standing) -> Result<Option<Told>, Fault> {
        let index = standing.unmasked();
        Ok(index.map(|index| propagation::heard(view, &self.from, index)).transpose()?.flatten())
    }

    /// Last day for its publication: from receipt, or from the day on which it is shown again.
    fn due_of(&self, context: &Context, shown: Option<Told>) -> Deadline {
        let Some(rule) = context.rules.publication_named(&self.rule) else { return self.due };
        let from = shown.map_or(self.since, |shown| shown.at.max(self.since));
        Deadline::after(Date::from_timestamp(from), rule.receive_days, &context.calendar)
    }
}

/// A copy that was opened and holds.
pub struct Copy {
    /// What the authority's log says of it.
    pub arrived: Arrived,
    /// Its item.
    pub item: ItemId,
    /// Its subject.
    pub subject: SubjectId,
    /// Its public fields.
    pub fields: Vec<OpenedField>,
}

/// What a copy says without its values.
#[derive(Clone, Debug)]
pub struct Arrived {
    /// Who sent it.
    pub from: MemberId,
    /// Index of its access entry.
    pub index: u64,
    /// Leaf hash of that entry.
    pub leaf: Digest,
    /// The entry.
    pub pushed: Pushed,
}

/// Opens what was pushed and checks everything it claims.
///
/// 1. Its access entry is in the sender's access log, pushes to this member, and belongs to what came.
/// 2. It brings one record, which is in the sender's `records` log, and whose authority the sender is.
/// 3. The fields open with one of this member's keys, belong to the record's root, and are those that the entry names: all of
///    them public.
/// 4. The subject is registered in this member's province, and the record's id is the one that authority, item, document number
///    and subject give.
///
/// Errors: a refusal that says what does not hold; nothing of it is kept then.
pub fn open(context: &Context, keys: &[Arc<OpeningKey>], answer: &Answer) -> Result<Copy, Refusal> {
    let refuse =
        |why: &str| Refusal::new(Code::SignatureInvalid, format!("push of `{}`: {why}", answer.member));
    let own = &context.own.id;
    // 1
    let access = answer.access.verify(&context.registry)?;
    let Fact::Pushed(pushed) = access.entry.fact else { return Err(refuse("its entry pushes nothing")) };
    let belongs = access.member == answer.member && access.log == LogName::Access;
    if !belongs || answer.question != access.leaf || pushed.to != *own {
        return Err(refuse("its entry is another, or is for another member"));
    }
    // 2
    let ([sent], [], Some(note)) = (&answer.records[..], &answer.checks[..], &answer.checkpoint) else {
        return Err(refuse("it does not bring one record"));
    };
    let checkpoint = context.registry.verify_checkpoint(&answer.member, LogName::Records, note)?;
    let recorded = answer::recorded(sent, pushed.version, &checkpoint).map_err(|why| refuse(&why))?;
    if recorded.record != pushed.record || recorded.authority != answer.member {
        return Err(refuse("its record is another, or another member's"));
    }
    // 3
    let mut opener = keys
        .iter()
        .find_map(|key| answer::opener(answer, own, key).ok())
        .ok_or_else(|| refuse("it is not sealed to this member"))?;
    let (subject, fields) =
        answer::open_values(&mut opener, sent, pushed.version, &recorded.fields_root).map_err(&refuse)?;
    let item = context
        .catalog
        .item(&recorded.item)
        .ok_or_else(|| Refusal::new(Code::ItemUnknown, recorded.item.as_str()))?;
    let named = fields.iter().map(|f| f.field).eq(pushed.fields.iter().copied());
    if !named || !fields.iter().all(|f| f.mode == Mode::Value && is_public(item, f.field)) {
        return Err(refuse("it has other fields than its entry names, or fields that are not public"));
    }
    // 4
    let subject = SubjectId::parse(&subject).map_err(|_| refuse("its subject is malformed"))?;
    let province = province_of(&context.registry.member(own)?.stated.region);
    if subject.province() != Some(province) {
        return Err(refuse("its subject is registered in another province"));
    }
    let document = fields.iter().find(|f| f.field == item.key).map(|f| &f.value);
    let Some(Value::Text(document)) = document else { return Err(refuse("it has no document number")) };
    if context.own.naming.record_id(&answer.member, &item.id, document, &subject) != pushed.record {
        return Err(refuse("its id belongs to another record"));
    }
    let arrived = Arrived { from: access.member, index: access.index, leaf: access.leaf, pushed };
    Ok(Copy { arrived, item: recorded.item, subject, fields })
}

/// Opens what was pushed as [`open`] does, and checks that its sender had to push it here, by registry and rules of now.
///
/// 1. The sender is a public platform, and the record's authority by the registry: it claims the deciding body, or the body is of
///    its region and nobody claims it: `caller.not-allowed`.
/// 2. This build knows the rule that its entry names, and the rule is about the item and the day of the decision: `case.denied`.
pub fn receive(context: &Context, keys: &[Arc<OpeningKey>], answer: &Answer) -> Result<Arrived, Refusal> {
    let Copy { arrived, item, fields, .. } = open(context, keys, answer)?;
    let (from, registry) = (&arrived.from, &context.registry);
    let item = context.catalog.item(&item).ok_or_else(|| Refusal::new(Code::ItemUnknown, item.as_str()))?;
    let value = |id: Option<FieldId>| fields.iter().find(|f| Some(f.field) == id).map(|f| &f.value);
    // 1
    let stated = &registry.member(from)?.stated;
    let claims = |body: &str| match registry.authority_of(body) {
        Some(claimant) => claimant == from,
        None => stated.system.is_some() && body.get(2..8) == Some(stated.region.as_str()),
    };
    let its_own = match value(item.authority_field) {
        Some(Value::Text(body)) => claims(body),
        _ => item.authority_field.is_none(),
    };
    if !its_own || !stated.role.mirrors_status() {
        let why = format!(
            "`{from}` is by the registry not the record's authority; compare the registry versions / 按登记表，推送方不是该信息的认定单位"
        );
        return Err(Refusal::new(Code::CallerNotAllowed, why));
    }
    // 2
    let named = &arrived.pushed.rule;
    let Some(rule) = context.rules.publication_named(named) else { return Err(unknown_rule(named)) };
    let covers = match value(item.decided_field) {
        Some(Value::Date(decided)) => rule.covers(&item.id, *decided),
        _ => false,
    };
    if !covers {
        let why = format!("rule `{named}` is not about this item and day of decision / 该规则不适用于此信息");
        return Err(Refusal::new(Code::CaseDenied, why));
    }
    Ok(arrived)
}

fn unknown_rule(named: &str) -> Refusal {
    let why = format!(
        "this build knows no rule `{named}`; update the receiving node / 接收方程序尚无该规则，请升级接收方节点"
    );
    Refusal::new(Code::CaseDenied, why)
}

/// Takes a copy that was opened, and acknowledges it.
///
/// 1. Its authority has sent it: `caller.not-allowed`; under a rule that this build knows: `case.denied`.
/// 2. Known already, or older than what is here: the acknowledgement there is, and no second entry. Another entry at the same
///    index is another history: `signature.invalid`.
/// 3. The copy and the acknowledgement, in one batch. Of a record that has ended no values are kept.
pub fn take(
    context: &Context,
    turn: &mut Turn<'_>,
    token: Token,
    caller: &MemberId,
    arrived: &Arrived,
    sealed: Vec<u8>,
) -> Result<(), Halt> {
    // 1
    let Arrived { from, index, leaf, pushed } = arrived;
    if caller != from {
        return Halt::refuse(Code::CallerNotAllowed, "a decision is pushed by its authority");
    }
    let named = &pushed.rule;
    let rule = context.rules.publication_named(named).ok_or_else(|| unknown_rule(named))?;
    let record = pushed.record;
    let ended = standing(turn.view(), from, &record)?.has_ended();
    let key = Key::copy(&record);
    let known = turn.row::<CopyRow>(&key)?;
    // 2
    let ack = match known.filter(|row| row.index >= *index) {
        Some(row) if row.index == *index && row.leaf != *leaf => {
            let why = format!("`{from}` has shown two different access entries {index}");
            return Halt::refuse(Code::SignatureInvalid, why);
        }
        Some(row) => row.ack,
        // 3
        None => {
            let due = Deadline::after(Date::from_timestamp(turn.now), rule.receive_days, &context.calendar);
            let (rule, told) = (named.clone(), pushed.told);
            let taken = Taken { from: from.clone(), index: *index, leaf: *leaf, record, due, rule, told };
            turn.append(context, LogName::Access, Fact::Taken(taken))?.0
        }
    };
    // After a restore the entry may be back and the values not.
    if let Some(row) = turn.row::<CopyRow>(&key)?.filter(|row| row.index == *index && row.sealed.is_none())
        && !ended
    {
        turn.put(&key, &CopyRow { sealed: Some(Bytes(sealed)), ..row });
    }
    turn.reply(token, Reply::AccessReceipt(ack));
    Ok(())
}

/// Projects an own acknowledgement: the copy without its values, and the look whether it is published in time.
pub(crate) fn kept(turn: &mut Turn<'_>, ack: u64, at: Timestamp, taken: &Taken) -> Result<(), Fault> {
    let Taken { from, index, leaf, record, due, rule, told } = taken.clone();
    let key = Key::copy(&record);
    let first = turn.row::<CopyRow>(&key)?.map_or(at, |before| before.first);
    turn.put(&Key::due(due.passed_at(), &Work::Publish(record)), &());
    turn.put(&key, &CopyRow { from, index, leaf, since: at, due, ack, sealed: None, first, rule, told });
    Ok(())
}

/// Sets the clock after which the values of a copy are forgotten, when its authority has ended the record: a publisher has the
/// days that the law gives to take it down, and needs to see what it is.
pub(crate) fn ended(
    context: &Context,
    turn: &mut Turn<'_>,
    author: &MemberId,
    record: &RecordId,
    at: Timestamp,
) -> Result<(), Fault> {
    if let Some(row) = turn.row::<CopyRow>(&Key::copy(record))?.filter(|row| row.from == *author) {
        let last = down::days_after(context, Some(&row.rule), at);
        let until = last.map_or(at, |last| last.date.start());
        turn.put(&Key::due(until, &Work::ForgetCopy(*record)), &());
    }
    Ok(())
}

/// Forgets the values of a copy whose record has ended.
pub(crate) fn forget(turn: &mut Turn<'_>, record: &RecordId) -> Result<(), Fault> {
    let Some(row) = turn.row::<CopyRow>(&Key::copy(record))? else { return Ok(()) };
    if standing(turn.view(), &row.from, record)?.has_ended() {
        turn.put(&Key::copy(record), &CopyRow { sealed: None, ..row });
    }
    Ok(())
}

/// When to ask next for the values that a lost disk held, and after which record.
#[derive(Debug, Default)]
pub(crate) struct Asking(Option<Timestamp>, Option<RecordId>);

impl Asking {
    /// After a start: whatever is missing is asked for.
    pub(crate) fn begin(&mut self, now: Timestamp) {
        self.0 = Some(now);
    }

    /// Asks the authorities of copies without values, some at a time, until there are none.
    pub(crate) fn due(&mut self, turn: &mut Turn<'_>) -> Result<(), Fault> {
        if self.0.is_none_or(|next| next > turn.now) {
            return Ok(());
        }
        let mut lost = Vec::new();
        for (rest, row) in tables::rows::<CopyRow>(turn.view(), &Key::copies(), usize::MAX)? {
            let Ok(record) = rest.try_into().map(RecordId) else { continue };
            if row.sealed.is_none() && standing(turn.view(), &row.from, &record)?.status().disclosable() {
                lost.push((record, row.from));
            }
        }
        self.0 = (!lost.is_empty()).then(|| turn.now.plus_ms(RETRY_MS_MAX));
        // Each in turn: those that nobody can send any more do not stand before the others for ever.
        let first = lost.partition_point(|(record, _)| self.1.is_some_and(|asked| *record <= asked));
        lost.rotate_left(first);
        for (record, to) in lost.into_iter().take(PUSHES_BURST_MAX as usize) {
            self.1 = Some(record);
            turn.effect(Effect::AskPush { to, record });
        }
        Ok(())
    }
}

/// The sealed copy of a record; `None` when there is none, or its values are gone.
pub fn sealed(view: &dyn View, record: &RecordId) -> Result<Option<Answer>, Fault> {
    let row = tables::row::<CopyRow>(view, &Key::copy(record))?;
    let damaged = |e: codec::CodecError| Fault(format!("the copy of record {record} is damaged: {e}"));
    row.and_then(|row| row.sealed).map(|sealed| codec::from_slice(&sealed).map_err(damaged)).transpose()
}

/// Time of the newest entry of a member's status log of which there is a copy here.
fn as_of(view: &dyn View, author: &MemberId) -> Result<Option<Timestamp>, Fault> {
    let Some(newest) = log::size(view, &LogName::Status.mirror(author))?.0.checked_sub(1) else {
        return Ok(None);
    };
    Ok(LogName::Status.copied_entry(view, author, newest)?.map(|entry| entry.at))
}

/// Records received to be published, without their values; with `record` that one.
pub fn copies(context: &Context, view: &dyn View, record: Option<RecordId>) -> Result<Vec<CopyLine>, Fault> {
    let (mut lines, mut known) = (Vec::new(), BTreeMap::new());
    let prefix = record.as_ref().map_or_else(Key::copies, Key::copy);
    for (rest, row) in tables::rows::<CopyRow>(view, &prefix, usize::MAX)? {
        let Some(record) = record.or_else(|| rest.try_into().ok().map(RecordId)) else { continue };
        let standing = standing(view, &row.from, &record)?;
        let (status, corrected) = (standing.status(), row.is_corrected(&standing));
        let as_of = match known.get(&row.from) {
            Some(known) => *known,
            None => *known.entry(row.from.clone()).or_insert(as_of(view, &row.from)?),
        };
        let shown = row.shown_again(view, &standing)?;
        let said: Option<PageRow> = tables::row(view, &Key::published(&record, &context.own.id))?;
        let current =
            !corrected && said.is_some_and(|said| said.is_of(row.since, shown.map(|shown| shown.index)));
        let page = said.map(|said| down::page(view, &record, &context.own.id, said)).transpose()?.flatten();
        let due = match down::hidden_by(&standing, corrected) {
            None => (!current).then(|| row.due_of(context, shown)),
            Some(entry) if said.is_some() && page.is_none() => {
                down::last_day(context, view, &row.from, Some(&row.rule), entry)?
            }
            Some(_) => None,
        };
        lines.push(CopyLine {
            record,
            due,
            from: row.from,
            since: row.since,
            status,
            published: said.map(|said| said.on),
            current,
            held: row.sealed.is_some(),
            item: None,
            subject: None,
            fields: Vec::new(),
            corrected,
            down: page.map(|down| down.on),
            as_of,
        });
    }
    Ok(lines)
}
