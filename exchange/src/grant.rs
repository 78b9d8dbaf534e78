//! Grants: signing, pausing, resuming, revoking and expiry at their collector, the last use at whoever answers it; how one
//! stands at any member.

use credit::{
    binding::{GrantOrder, KEY_DAYS_MAX, KeyBinding},
    entry::{Fact, GrantIssued, GrantUsedUp, StatusFact},
    grant::{
        Grant, GrantChange, GrantLife, GrantStatus, ITEMS_PER_GRANT_MAX, KEEP_DAYS_MAX, Ordered,
        PERIOD_DAYS_MAX, Uses,
    },
    id::{GrantId, MemberId},
    question::CLOCK_SKEW_MS_MAX,
    value::Date,
};
use crypto::{
    Digest, Timestamp,
    sign::{Signed, Verified, VerifyingKey},
};
use ledger::store::View;

use crate::{
    context::Context,
    logs::LogName,
    refusal::{Code, Fault, Halt},
    step::{Reply, Token},
    tables::{self, Key, UsedUpRow, Work},
    turn::Turn,
    wire::{GrantDraft, GrantStanding, KeyDraft, Response},
};

/// A day, in milliseconds.
const DAY_MS: u64 = 86_400_000;

/// Signs a grant from a letter this collector keeps.
///
/// 1. This member is a registered collector, and the grant is one that can be signed: see [`sound`].
/// 2. A status entry with its digest, so that it can be changed, also after a restore; its text names the subject and is the
///    caller's to keep.
pub fn issue(
    context: &Context,
    turn: &mut Turn<'_>,
    token: Token,
    draft: GrantDraft,
    id: GrantId,
) -> Result<(), Halt> {
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
        letter: Some(draft.letter),
        period: draft.period,
        binding: None,
    };
    // 1
    sound(context, &grant)?;
    // 2
    let signed = context.sign(turn.now, &grant);
    write_down(context, turn, signed.digest(), &grant)?;
    turn.reply(token, Reply::ready(Response::Grant(signed)));
    Ok(())
}

/// Takes a grant that its subject has signed, as the collector that vouches for its key.
///
/// 1. That collector is this member, and the grant is one that can be signed: see [`sound`].
/// 2. The key is not withdrawn: `grant.invalid`.
/// 3. A status entry with its digest; one that is taken already gets none.
pub fn lodge(
    context: &Context,
    turn: &mut Turn<'_>,
    token: Token,
    grant: &Verified<Grant>,
) -> Result<(), Halt> {
    // 1
    let (text, digest) = (grant.get(), grant.signed().digest());
    let Some(binding) = text.binding.as_ref().filter(|_| text.collector == context.own.id) else {
        let why = format!(
            "`{}` answers for it; a grant that its subject has signed is lodged there",
            text.collector
        );
        return Halt::refuse(Code::GrantInvalid, why);
    };
    sound(context, text)?;
    // 2
    if withdrawn(context, turn, &binding.digest())? {
        return Halt::refuse(Code::GrantInvalid, "the key that has signed it is withdrawn; bind a new key");
    }
    // 3
    if turn.row::<MemberId>(&Key::grant(&digest))?.is_none() {
        write_down(context, turn, digest, text)?;
    }
    turn.reply(token, Reply::ready(Response::Done));
    Ok(())
}

/// Whether this member, as a collector, may answer for a grant with these words.
///
/// Errors: this member is no registered collector; purposes, items, validity, uses or frequency are empty; the time for which
/// data may be kept is out of bounds: `grant.invalid`. Grantee, item or field are unknown: `member.unknown`, `item.unknown`,
/// `field.unknown`.
fn sound(context: &Context, text: &Grant) -> Result<(), Halt> {
    collects(context)?;
    context.registry.member(&text.grantee)?;
    if text.purposes.is_empty() || text.scope.is_empty() || text.scope.len() > ITEMS_PER_GRANT_MAX {
        return Halt::refuse(Code::GrantInvalid, "a grant names at least one purpose and 1 to 32 items");
    }
    if text.not_after <= text.not_before || text.uses_max == 0 {
        return Halt::refuse(Code::GrantInvalid, "a grant is valid for some time and at least one use");
    }
    if !(1..=KEEP_DAYS_MAX).contains(&text.keep_days) {
        return Halt::refuse(
            Code::GrantInvalid,
            format!("a grant says how long data may be kept: 1 to {KEEP_DAYS_MAX} days"),
        );
    }
    if text.period.is_some_and(|period| !period.sound()) {
        return Halt::refuse(
            Code::GrantInvalid,
            format!("a frequency is at least one use in 1 to {PERIOD_DAYS_MAX} days"),
        );
    }
    for scope in &text.scope {
        let Some(item) = context.catalog.item(&scope.item) else {
            return Halt::refuse(Code::ItemUnknown, format!("`{}`", scope.item));
        };
        if let Some(field) = scope.fields.iter().find(|f| item.field(**f).is_none()) {
            return Halt::refuse(Code::FieldUnknown, format!("`{}` of `{}`", field.0, scope.item));
        }
    }
    Ok(())
}

fn collects(context: &Context) -> Result<(), Halt> {
    match context.registry.member(&context.own.id)?.stated.collector {
        true => Ok(()),
        false => {
            Halt::refuse(Code::GrantInvalid, "this member is not registered as a collector of authorisations")
        }
    }
}

/// Signs, as a collector, that a key is a subject's own. It stands in no log: what the key signs does.
///
/// Errors: this member is no registered collector; the key is no Ed25519 key; the time is empty, or longer than
/// [`KEY_DAYS_MAX`]: `grant.invalid`.
pub fn bind(context: &Context, turn: &mut Turn<'_>, token: Token, draft: KeyDraft) -> Result<(), Halt> {
    collects(context)?;
    if VerifyingKey::from_bytes(draft.key.0).is_none() {
        return Halt::refuse(Code::GrantInvalid, "it is no Ed25519 key; `subject key` prints one");
    }
    let now = turn.now;
    let days = now..=now.plus_ms(u64::from(KEY_DAYS_MAX) * DAY_MS);
    if draft.not_after == now || !days.contains(&draft.not_after) {
        return Halt::refuse(Code::GrantInvalid, format!("a key is vouched for 1 to {KEY_DAYS_MAX} days"));
    }
    let KeyDraft { subject, key, not_after, paper } = draft;
    let binding = KeyBinding { subject, key, not_before: now, not_after, paper };
    turn.reply(token, Reply::ready(Response::Binding(context.sign(now, &binding))));
    Ok(())
}

/// Withdraws the own word about a subject's key: a status entry that ends every grant the key has signed.
///
/// Errors: another member has signed it: `grant.invalid`.
pub fn withdraw(
    context: &Context,
    turn: &mut Turn<'_>,
    token: Token,
    binding: &Verified<KeyBinding>,
) -> Result<(), Halt> {
    let signed = binding.signed();
    if signed.issuer() != context.own.id.as_str() {
        return Halt::refuse(Code::GrantInvalid, format!("`{}` vouches for this key", signed.issuer()));
    }
    let digest = signed.digest();
    if !withdrawn(context, turn, &digest)? {
        say(context, turn, StatusFact::KeyWithdrawn(digest))?;
    }
    turn.reply(token, Reply::ready(Response::Done));
    Ok(())
}

/// Whether this collector has withdrawn its word about a key.
fn withdrawn(context: &Context, turn: &Turn<'_>, binding: &Digest) -> Result<bool, Fault> {
    Ok(own_life(context, turn, binding)?.revoked())
}

/// What this collector has said of a grant or a binding of its own.
fn own_life(context: &Context, turn: &Turn<'_>, digest: &Digest) -> Result<GrantLife, Fault> {
    Ok(turn.row(&Key::grant_life(&context.own.id, digest))?.unwrap_or_default())
}

/// Writes a grant into the collector's status log: from it come the grantee's row, so that the grant can be changed, and the
/// clock of its end.
fn write_down(context: &Context, turn: &mut Turn<'_>, grant: Digest, text: &Grant) -> Result<(), Halt> {
    let binding = text.binding.as_ref().map(Signed::digest);
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
    let life = own_life(context, turn, &grant)?;
    if life.revoked() || life.expired() {
        Ok(())
    } else {
        say(context, turn, StatusFact::GrantExpired(grant))
    }
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
        StatusFact::KeyWithdrawn(binding) => {
            let mut signed_by_it = Vec::new();
            for (rest, grantee) in tables::rows::<MemberId>(turn.view(), &Key::grants(), usize::MAX)? {
                let Ok(grant) = rest.try_into().map(Digest) else { continue };
                let issue = own_life(context, turn, &grant)?.issued();
                signed_by_it.extend(issue.filter(|i| i.binding.as_ref() == Some(binding)).map(|_| grantee));
            }
            signed_by_it
        }
        other => match other.grant() {
            Some((grant, _)) => turn.row::<MemberId>(&Key::grant(grant))?.into_iter().collect(),
            None => Vec::new(),
        },
    })
}

/// Pauses, resumes or revokes a grant issued here from a letter, as its operator says. What changes nothing writes nothing.
///
/// 1. The grant was issued here: `not-found`. It was not signed by its subject, who then orders the change itself:
///    `grant.invalid`.
/// 2. A revoked grant is neither paused nor resumed: `grant.invalid`.
pub fn change(
    context: &Context,
    turn: &mut Turn<'_>,
    token: Token,
    digest: Digest,
    change: GrantChange,
) -> Result<(), Halt> {
    // 1
    let life = issued_here(context, turn, &digest)?;
    if life.issued().is_some_and(|issue| issue.binding.is_some()) {
        let why = "its subject has signed it, and signs the change: `grant order`; for a key that is lost or stolen withdraw the binding";
        return Halt::refuse(Code::GrantInvalid, why);
    }
    // 2
    put_through(context, turn, token, life, digest, change, None)
}

/// Pauses, resumes or revokes a grant that its subject has signed, by the subject's own order.
///
/// 1. The grant was issued here: `not-found`. The key is the one that signed it: `grant.invalid`.
/// 2. The order is not dated ahead, no newer one came before, and the key's time is not over: `grant.invalid`. A revocation
///    is taken in any case.
/// 3. As [`change`].
pub fn order(
    context: &Context,
    turn: &mut Turn<'_>,
    token: Token,
    order: &Verified<GrantOrder>,
) -> Result<(), Halt> {
    let (said, digest) = (order.get(), order.signed().digest());
    // 1
    let life = issued_here(context, turn, &said.grant)?;
    if life.issued().and_then(|issue| issue.binding) != Some(said.binding.digest()) {
        return Halt::refuse(Code::GrantInvalid, "another key has signed the grant, or its collector has");
    }
    let ordered = Ordered { at: said.at, order: digest };
    if said.change != GrantChange::Revoke {
        // 2
        if said.at > turn.now.plus_ms(CLOCK_SKEW_MS_MAX) {
            return Halt::refuse(
                Code::GrantInvalid,
                "the order is dated ahead; set the clock and sign it again",
            );
        }
        let key_end = context.registry.verify_seen(&said.binding)?.get().not_after;
        if turn.now >= key_end {
            return Halt::refuse(Code::GrantInvalid, "the time of the key is over; the grant ends with it");
        }
        match life.ordered() {
            Some(before) if before == ordered => {
                turn.reply(token, Reply::ready(Response::Done));
                return Ok(());
            }
            Some(before) if before.at >= said.at => {
                return Halt::refuse(
                    Code::GrantInvalid,
                    "a newer order of its subject is there; sign a new one",
                );
            }
            _ => {}
        }
    }
    // 3
    put_through(context, turn, token, life, said.grant, said.change, Some(ordered))
}

/// What this collector has said of a grant that it has issued. Errors: it has not: `not-found`.
fn issued_here(context: &Context, turn: &Turn<'_>, digest: &Digest) -> Result<GrantLife, Halt> {
    if turn.row::<MemberId>(&Key::grant(digest))?.is_none() {
        return Halt::refuse(Code::NotFound, "no grant with this digest was issued here");
    }
    Ok(own_life(context, turn, digest)?)
}

/// A status entry that every public platform receives and acts on from the next question on. An order is written down also
/// when it changes nothing, so that an older one that comes later does not either.
fn put_through(
    context: &Context,
    turn: &mut Turn<'_>,
    token: Token,
    life: GrantLife,
    digest: Digest,
    change: GrantChange,
    ordered: Option<Ordered>,
) -> Result<(), Halt> {
    if life.revoked() && change != GrantChange::Revoke {
        return Halt::refuse(
            Code::GrantInvalid,
            "it is revoked, and a revocation has no way back; issue a new one",
        );
    }
    if life.changes(change) || ordered.is_some() && change != GrantChange::Revoke {
        say(context, turn, StatusFact::of_grant(digest, change, ordered))?;
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
    let collector = &grant.get().collector;
    let mut life: GrantLife = tables::row(view, &Key::grant_life(collector, &digest))?.unwrap_or_default();
    if let Some(binding) = &grant.get().binding {
        // A key that is withdrawn revokes all that it has signed.
        let key = Key::grant_life(collector, &binding.digest());
        life = life.merge(tables::row(view, &key)?.unwrap_or_default());
    }
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
/// Errors: those of [`Registry::verify_grant`].
///
/// [`Registry::verify_grant`]: crate::registry::Registry::verify_grant
pub fn standing(
    context: &Context,
    view: &dyn View,
    signed: &Signed<Grant>,
    now: Timestamp,
) -> Result<Response, Fault> {
    let registry = &context.registry;
    let grant = match registry.verify_grant(signed) {
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
