//! A ban after false material (限制再次申请): what its entry says, and whom it bars here.
//!
//! A refusal that finds the material false names its subject by two marks: one under this member's own tag, and one under
//! the subject's pseudonym in the federation, which every public platform can compute for a record it holds and nobody
//! else can. The entry goes to every public platform like a change of standing, and each holds it against the records
//! applied for at its own authority.
//!
//! How far a ban reaches: the sources say that it bars new applications and name no authority, so it holds at each. They
//! say it in the orders of one rule maker, so it bars what is decided under that maker's orders: a ban of an order of the
//! NDRC does not bar what the SAMR's orders govern (docs/SOURCES.md "Repair").

use credit::{
    entry::{Ban, NotGranted},
    id::{CaseId, MemberId},
    record::RecordFacts,
    repair::FalseMaterial,
    rules::Rule,
    value::Date,
};
use crypto::pseudonym::ban_mark;
use minicbor::{Decode, Encode};

use crate::{
    context::Context,
    refusal::{Code, Halt},
    repair,
    tables::{self, Key, RecordRow},
    turn::Turn,
};

/// A ban as its author's status log tells it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct BanRow {
    /// Until when, and the marks.
    #[n(0)]
    pub ban: Ban,
    /// The rule set it was found under.
    #[n(1)]
    pub rule: String,
    /// Index of the entry.
    #[n(2)]
    pub index: u64,
}

impl BanRow {
    /// What both tell: a case is decided once, so the earlier entry counts, in whatever order they came.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        if other.index < self.index { other } else { self }
    }
}

/// The ban that false material brings upon the subject of the case's record.
///
/// Errors: `case.denied` by [`FalseMaterial::until`]; `record.unknown` when the record is without its subject here.
pub(crate) fn find(
    turn: &Turn<'_>,
    case: &CaseId,
    facts: &RecordFacts,
    rule: &Rule,
    found: FalseMaterial,
) -> Result<Ban, Halt> {
    let until = found.until(rule, Date::from_timestamp(turn.now))?;
    match turn.row::<RecordRow>(&Key::record(&facts.record))? {
        Some(RecordRow { tag: Some(tag), subject, .. }) => Ok(Ban {
            until,
            mark: ban_mark(&tag.0, &case.0),
            everywhere: subject.map(|subject| ban_mark(&subject.0, &case.0)),
        }),
        _ => Halt::refuse(Code::RecordUnknown, format!("`{}` is without its subject here", facts.record)),
    }
}

/// Keeps the ban of a refusal by `author`, which stands at `index` of its status log.
pub(crate) fn keep(
    turn: &mut Turn<'_>,
    author: &MemberId,
    said: &NotGranted,
    index: u64,
) -> Result<(), Halt> {
    if let Some(ban) = said.ban {
        let key = Key::ban(author, &said.case);
        let row = BanRow { ban, rule: said.rule.clone(), index };
        let before: Option<BanRow> = turn.row(&key)?;
        turn.put(&key, &before.map_or(row.clone(), |before| before.merge(row)));
    }
    Ok(())
}

/// Refuses an application by a subject that is barred today, naming the rule: `case.denied`.
///
/// 1. A ban counts through its last day.
/// 2. Its author is a member that decides records, and its rule set is of the rule maker whose orders govern the record.
/// 3. Its mark is that of the record's subject.
pub(crate) fn hold_against(context: &Context, turn: &Turn<'_>, facts: &RecordFacts) -> Result<(), Halt> {
    let Some(row) = turn.row::<RecordRow>(&Key::record(&facts.record))? else { return Ok(()) };
    let today = Date::from_timestamp(turn.now);
    for (rest, BanRow { ban, rule, .. }) in tables::rows::<BanRow>(turn.view(), &Key::bans(), usize::MAX)? {
        // 1
        if ban.until < today {
            continue;
        }
        let author = tables::key_text(&rest).and_then(MemberId::parse);
        let case = rest.last_chunk().copied().map(CaseId);
        let (Some(author), Some(case)) = (author, case) else { continue };
        // 2
        let own = author == context.own.id;
        let decides = own || context.registry.member(&author).is_ok_and(|m| m.stated.role.collects());
        let kind = context.rules.kind_of_set(&rule);
        if !decides || kind.is_some_and(|kind| kind != facts.kind) {
            continue;
        }
        // 3
        let here = own && row.tag.is_some_and(|tag| ban_mark(&tag.0, &case.0) == ban.mark);
        let subject = row.subject.map(|subject| ban_mark(&subject.0, &case.0));
        if here || subject.is_some() && subject == ban.everywhere {
            let last = ban.until;
            return Err(repair::denied(
                format!(
                    "under `{rule}` the subject may not apply until {last} has passed: `{author}` found the material of case {case} false / 因材料不实，依规则集 {rule}，至{last}止不得再次申请"
                ),
                "apply after that day",
                "请在该日之后申请",
            )
            .into());
        }
    }
    Ok(())
}
