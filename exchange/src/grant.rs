//! Grants: signing, pausing, resuming and revoking at their collector; how one stands at any member.

use credit::{
    entry::{Fact, StatusFact},
    grant::{Grant, GrantChange, GrantLife, ITEMS_PER_GRANT_MAX, KEEP_DAYS_MAX, PERIOD_DAYS_MAX, Uses},
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
    tables::{self, Key},
    turn::Turn,
    wire::{GrantDraft, GrantStanding, Response},
};

/// Signs a grant from a letter this collector keeps.
///
/// 1. This member is a registered collector: `grant.invalid`.
/// 2. Grantee, items and fields exist; validity, uses, frequency and purposes are not empty; the time for which data may
///    be kept is bounded: `grant.invalid`, `item.unknown`, `field.unknown`.
/// 3. The grant's digest is kept, so that it can be revoked; its text names the subject and is the caller's to keep.
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
    // 3: who it is for is told of every change.
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
    turn.put(&Key::grant(&signed.digest()), &grant.grantee);
    turn.reply(token, Reply::ready(Response::Grant(signed)));
    Ok(())
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
        let signed = context.sign(turn.now, &StatusFact::of_grant(digest, change));
        turn.append(context, LogName::Status, Fact::Status(signed))?;
    }
    turn.reply(token, Reply::ready(Response::Done));
    Ok(())
}

/// What this member knows of a grant: what its collector has said of it, and the questions answered on it here.
pub fn known(view: &dyn View, grant: &Verified<Grant>) -> Result<(GrantLife, Uses), Fault> {
    let digest = grant.signed().digest();
    let life = tables::row(view, &Key::grant_life(&grant.get().collector, &digest))?.unwrap_or_default();
    Ok((life, tables::row(view, &Key::grant_use(&digest))?.unwrap_or_default()))
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
    let (life, uses) = known(view, &grant)?;
    let text = grant.get();
    let own = &context.own.id;
    let role = registry.member(own).map(|own| own.stated.role);
    let concerned = text.collector == *own || text.grantee == *own;
    let status = text.status(&life, &uses, now);
    Ok(Response::GrantStanding(GrantStanding {
        told: concerned || role.is_ok_and(|role| role.mirrors_status()),
        status,
        uses: uses.total(),
        recent: text.period.map(|period| uses.within(Date::from_timestamp(now), period.days)),
    }))
}
