//! Grants: signing, pausing, resuming, revoking and expiry at their collector, the last use at whoever answers it; how one
//! stands at any member.

use credit::{
    entry::{Fact, GrantIssued, GrantUsedUp, StatusFact},
    grant::{Grant, GrantChange, GrantLife, GrantStatus, ITEMS_PER_GRANT_MAX, KEEP_DAYS_MAX, PERIOD_DAYS_MAX, Uses},
    id::{GrantId, MemberId},
    value::Date,
};
use crypto::{
    Digest, Timestamp,
    sign::{Signed, Verified},
};
use ledger::store::View;

use crate::{
    context::Context,
    logs::LogName,
    refusal::{Code, Fault, Halt},
    step::{Reply, Token},
    tables::{self, Key, UsedUpRow, Work},
    turn::Turn,
    wire::{GrantDraft, GrantStanding, Response},
};

/// Signs a grant from a letter this collector keeps.
///
/// 1. This member is a registered collector: `grant.invalid`.
/// 2. Grantee, items and fields exist; validity, uses, frequency and purposes are not empty; the time for which data may
///    be kept is bounded: `grant.invalid`, `item.unknown`, `field.unknown`.
/// 3. A status entry with its digest, so that it can be changed, also after a restore; its text names the subject and is the
///    caller's to keep.
pub fn issue(
    context: &Context,
    turn: &mut Turn<'_>,
    token: Token,
    draft: GrantDraft,
    id: GrantId,
) -> Result<(), Halt> {
    // 1
    if !context.registry.member(&context.own.id)?.stated.collector {
        return Halt::refuse(
            Code::GrantInvalid,
            "this member is not registered as a collector of authorisations",
        );
    }
    // 2
    context.registry.member(&draft.grantee)?;
    if draft.purposes.is_empty() || draft.scope.is_empty() || draft.scope.len() > ITEMS_PER_GRANT_MAX {
        return Halt::refuse(Code::GrantInvalid, "a grant names at least one purpose and 1 to 32 items");
    }
    if draft.not_after <= draft.not_before || draft.uses_max == 0 {
        return Halt::refuse(Code::GrantInvalid, "a grant is valid for some time and at least one use");
    }
    if !(1..=KEEP_DAYS_MAX).contains(&draft.keep_days) {
        return Halt::refuse(
            Code::GrantInvalid,
            format!("a grant says how long data may be kept: 1 to {KEEP_DAYS_MAX} days"),
        );
    }
    if draft.period.is_some_and(|period| !period.sound()) {
        return Halt::refuse(
            Code::GrantInvalid,
            format!("a frequency is at least one use in 1 to {PERIOD_DAYS_MAX} days"),
        );
    }
    for scope in &draft.scope {
        let Some(item) = context.catalog.item(&scope.item) else {
            return Halt::refuse(Code::ItemUnknown, format!("`{}`", scope.item));
        };
        if let Some(field) = scope.fields.iter().find(|f| item.field(**f).is_none()) {
            return Halt::refuse(Code::FieldUnknown, format!("`{}` of `{}`", field.0, scope.item));
        }
    }
    // 3
    let grant = Grant {
        id,
        collector: context.own.id.clone(),
        subject: draft.subject,
        grantee: draft.grantee,
        purposes: draft.purposes,
        scope: draft.scope,
        not_before: draft.not_before,
        not_after: draft.not_after,
        uses_max: draft.uses_max,
        keep_days: draft.keep_days,
        letter: draft.letter,
        period: draft.period,
    };
    let signed = context.sign(turn.now, &grant);
    write_down(context, turn, signed.digest(), &grant, None)?;
    turn.reply(token, Reply::ready(Response::Grant(signed)));
    Ok(())
}

/// Writes a grant into the collector's status log: from it come the grantee's row, so that the grant can be changed, and the
/// clock of its end.
fn write_down(
    context: &Context,
    turn: &mut Turn<'_>,
    grant: Digest,
    text: &Grant,
    binding: Option<Digest>,
) -> Result<(), Halt> {
    let issued = GrantIssued { grant, grantee: text.grantee.clone(), not_after: text.not_after, binding };
    say(context, turn, StatusFact::GrantIssued(issued))
}

fn say(context: &Context, turn: &mut Turn<'_>, fact: StatusFact) -> Result<(), Halt> {
    let signed = context.sign(turn.now, &fact);
    turn.append(context, LogName::Status, Fact::Status(signed)).map(drop)
}

/// Makes the rows that follow from an entry of this member's own status log, besides what follows at every member.
pub fn own_entry(turn: &mut Turn<'_>, fact: &StatusFact) {
    if let StatusFact::GrantIssued(issued) = fact {
        turn.put(&Key::grant(&issued.grant), &issued.grantee);
        turn.put(&Key::due(issued.not_after, &Work::ExpireGrant(issued.grant)), &());
    }
}

/// Writes down, as its collector, that the validity of a grant is over: once, and not when it was revoked before.
pub fn expire(context: &Context, turn: &mut Turn<'_>, grant: Digest) -> Result<(), Halt> {
    let life: GrantLife = turn.row(&Key::grant_life(&context.own.id, &grant))?.unwrap_or_default();
    if life.revoked() || life.expired() { Ok(()) } else { say(context, turn, StatusFact::GrantExpired(grant)) }
}

/// Writes down that a question was the last that this member answers on its grant. The use is counted by now, and both
/// entries are in one batch.
pub fn used(
    context: &Context,
    turn: &mut Turn<'_>,
    grant: &Verified<Grant>,
    question: Digest,
) -> Result<(), Halt> {
    let (text, digest) = (grant.get(), grant.signed().digest());
    let uses: Uses = turn.row(&Key::grant_use(&digest))?.unwrap_or_default();
    if uses.total() < u64::from(text.uses_max) {
        return Ok(());
    }
    let (collector, grantee) = (text.collector.clone(), text.grantee.clone());
    say(context, turn, StatusFact::GrantUsedUp(GrantUsedUp { grant: digest, collector, grantee, question }))
}

/// Says once more, as the outlet, what another platform has said about a grant that is used up: every question of a bank
/// has come through here, and a bank keeps no copies of logs.
pub fn pass_on(context: &Context, turn: &mut Turn<'_>, fact: &StatusFact) -> Result<(), Halt> {
    let StatusFact::GrantUsedUp(used) = fact else { return Ok(()) };
    let own = &context.own.id;
    let outlet = context.registry.outlet().is_some_and(|outlet| outlet.id == *own);
    if !outlet || turn.row::<UsedUpRow>(&Key::used_up(&used.grant, own))?.is_some() {
        return Ok(());
    }
    say(context, turn, fact.clone())
}

/// Who is told what a statement says about a grant, besides the public platforms: its grantee, of what its collector says;
/// of a use-up grantee and a collector that keeps no copies, and the outlet tells them.
pub fn concerned(context: &Context, turn: &Turn<'_>, fact: &StatusFact) -> Result<Vec<MemberId>, Fault> {
    let registry = &context.registry;
    Ok(match fact {
        StatusFact::GrantUsedUp(used) => {
            let outlet = registry.outlet().is_some_and(|outlet| outlet.id == context.own.id);
            let copies = |m: &MemberId| registry.member(m).is_ok_and(|m| m.stated.role.mirrors_status());
            let both = [&used.grantee, &used.collector].into_iter().filter(|m| outlet && !copies(m));
            both.cloned().collect()
        }
        other => match other.grant() {
            Some((grant, _)) => turn.row::<MemberId>(&Key::grant(grant))?.into_iter().collect(),
            None => Vec::new(),
        },
    })
}

/// Pauses, resumes or revokes a grant issued here: a status entry that every public platform receives and acts on from
/// the next question on. What changes nothing writes nothing.
///
/// 1. The grant was issued here: `not-found`.
/// 2. A revoked grant is neither paused nor resumed: `grant.invalid`.
pub fn change(
    context: &Context,
    turn: &mut Turn<'_>,
    token: Token,
    digest: Digest,
    change: GrantChange,
) -> Result<(), Halt> {
    // 1
    if turn.row::<MemberId>(&Key::grant(&digest))?.is_none() {
        return Halt::refuse(Code::NotFound, "no grant with this digest was issued here");
    }
    // 2
    let life: GrantLife = turn.row(&Key::grant_life(&context.own.id, &digest))?.unwrap_or_default();
    if life.revoked() && change != GrantChange::Revoke {
        return Halt::refuse(
            Code::GrantInvalid,
            "it is revoked, and a revocation has no way back; issue a new one",
        );
    }
    if life.changes(change) {
        say(context, turn, StatusFact::of_grant(digest, change, None))?;
    }
    turn.reply(token, Reply::ready(Response::Done));
    Ok(())
}

/// What a member knows of a grant.
#[derive(Default)]
pub struct Known {
    /// What its collector has said of it.
    pub life: GrantLife,
    /// The questions answered on it here.
    pub uses: Uses,
    /// Another platform has answered the last question, and it is not the one that is looked at.
    pub used_up: bool,
}

impl Known {
    /// Where the grant stands here.
    pub fn status(&self, grant: &Grant, now: Timestamp) -> GrantStatus {
        match grant.status(&self.life, &self.uses, now) {
            GrantStatus::Active | GrantStatus::Paused | GrantStatus::Resting if self.used_up => {
                GrantStatus::UsedUp
            }
            status => status,
        }
    }
}

/// What this member knows of a grant, when `question` rests on it: the one that a platform names as the last is answered
/// by every member that has not counted as many itself. Only the word of a public platform counts.
pub fn known(
    context: &Context,
    view: &dyn View,
    grant: &Verified<Grant>,
    question: Option<&Digest>,
) -> Result<Known, Fault> {
    let digest = grant.signed().digest();
    let life = tables::row(view, &Key::grant_life(&grant.get().collector, &digest))?.unwrap_or_default();
    let uses = tables::row(view, &Key::grant_use(&digest))?.unwrap_or_default();
    let platform = |rest: &[u8]| {
        let author = tables::key_text(rest).and_then(MemberId::parse);
        author.is_some_and(|id| context.registry.member(&id).is_ok_and(|m| m.stated.role.mirrors_status()))
    };
    let mut said = tables::rows::<UsedUpRow>(view, &Key::used_up_by(&digest), usize::MAX)?;
    said.retain(|(rest, _)| platform(rest));
    let used_up = !said.is_empty() && !said.iter().any(|(_, row)| Some(&row.question) == question);
    Ok(Known { life, uses, used_up })
}

/// How a grant stands at this member, for its operator.
///
/// Errors: the signature is not the collector's, or the collector is not in the registry.
pub fn standing(
    context: &Context,
    view: &dyn View,
    signed: &Signed<Grant>,
    now: Timestamp,
) -> Result<Response, Fault> {
    let registry = &context.registry;
    let grant = match registry.verify(signed) {
        Ok(grant) => grant,
        Err(refusal) => return Ok(Response::Refused(refusal)),
    };
    let known = known(context, view, &grant, None)?;
    let text = grant.get();
    let own = &context.own.id;
    let role = registry.member(own).map(|own| own.stated.role);
    let concerned = text.collector == *own || text.grantee == *own;
    let status = known.status(text, now);
    Ok(Response::GrantStanding(GrantStanding {
        told: concerned || role.is_ok_and(|role| role.mirrors_status()),
        status,
        uses: known.uses.total(),
        issued: known.life.issued().map(|issue| issue.index),
        recent: text.period.map(|period| known.uses.within(Date::from_timestamp(now), period.days)),
    }))
}
