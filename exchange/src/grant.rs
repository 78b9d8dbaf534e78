//! Grants: signing, pausing, resuming, revoking and expiry at their collector, the last use at whoever answers it; how one
//! stands at any member.

use credit::{
    binding::{GrantOrder, KEY_DAYS_MAX, KeyBinding},
    entry::{Fact, GrantIssued, GrantUsedUp, StatusFact},
    grant::{Grant, GrantChange, GrantLife, GrantStatus, Ordered, Uses},
    id::{GrantId, MemberId},
    question::CLOCK_SKEW_MS_MAX,
    value::Date,
};
use crypto::{
    Digest, Timestamp,
    pseudonym::grant_key_tag,
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
/// 2. The key is not withdrawn, and its binding is not by a key of this member that has ended, which somebody else may
///    have: `grant.invalid`.
/// 3. A status entry with its digest; one that is taken already gets none.
pub fn lodge(
    context: &Context,
    turn: &mut Turn<'_>,
    token: Token,
    grant: &Verified<Grant>,
) -> Result<(), Halt> {
    // 1
    let (text, digest) = (grant.get(), grant.signed().digest());
    let binding = answers_for(context, text)?;
    sound(context, text)?;
    // 2
    let vouched = context.registry.verify_seen(binding)?;
    if withdrawn(context, turn.view(), &vouched.get().key_digest())?.revoked() {
        return Halt::refuse(Code::GrantInvalid, "the key that has signed it is withdrawn; bind a new key");
    }
    if context.registry.replaced(binding).is_some_and(|until| turn.now > until) {
        let why = "the key is vouched for by a key of this member that has ended; have it bound anew and sign again";
        return Halt::refuse(Code::GrantInvalid, why);
    }
    // 3
    if own_life(context, turn, &digest)?.issued().is_none() {
        write_down(context, turn, digest, text)?;
    }
    turn.reply(token, Reply::ready(Response::Done));
    Ok(())
}

/// The binding of the key that has signed a grant, when this member has made it.
fn answers_for<'a>(context: &Context, text: &'a Grant) -> Result<&'a Signed<KeyBinding>, Halt> {
    match text.binding.as_ref().filter(|_| text.collector == context.own.id) {
        Some(binding) => Ok(binding),
        None => {
            let why =
                format!("`{}` answers for it; what its subject has signed is lodged there", text.collector);
            Halt::refuse(Code::GrantInvalid, why)
        }
    }
}

/// Whether this member, as a collector, may answer for a grant with these words.
///
/// Errors: this member is no registered collector; the words are not sound ([`Grant::malformed`]); no rule lets the grantee
/// be answered on a grant for one of the purposes; an item stands twice: `grant.invalid`. Grantee, item or field are unknown:
/// `member.unknown`, `item.unknown`, `field.unknown`.
fn sound(context: &Context, text: &Grant) -> Result<(), Halt> {
    collects(context)?;
    let role = context.registry.member(&text.grantee)?.stated.role;
    if let Some(why) = text.malformed() {
        return Halt::refuse(Code::GrantInvalid, format!("grant: {why}"));
    }
    if let Some(purpose) = text.purposes.iter().find(|purpose| !context.policy.grants(role, **purpose)) {
        let (to, role) = (&text.grantee, role.as_str());
        let why = format!("grant: no rule lets `{to}`, as a {role}, be answered on a grant for {purpose}");
        return Halt::refuse(Code::GrantInvalid, why);
    }
    if let Some(item) = text.twice() {
        let why = format!("grant: it names `{item}` twice; name an item once, with all its fields");
        return Halt::refuse(Code::GrantInvalid, why);
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
/// Errors: this member is no registered collector; the key is no Ed25519 key that can sign, or withdrawn as this subject's; the time is
/// empty, or longer than [`KEY_DAYS_MAX`]: `grant.invalid`.
pub fn bind(context: &Context, turn: &mut Turn<'_>, token: Token, draft: KeyDraft) -> Result<(), Halt> {
    collects(context)?;
    if VerifyingKey::from_bytes(draft.key.0).is_none() {
        return Halt::refuse(
            Code::GrantInvalid,
            "it is no Ed25519 key that can sign; `subject key` prints one",
        );
    }
    let now = turn.now;
    let days = now..=now.plus_ms(u64::from(KEY_DAYS_MAX) * DAY_MS);
    if draft.not_after == now || !days.contains(&draft.not_after) {
        return Halt::refuse(Code::GrantInvalid, format!("a key is vouched for 1 to {KEY_DAYS_MAX} days"));
    }
    let KeyDraft { subject, key, not_after, paper } = draft;
    let binding = KeyBinding { subject, key, not_before: now, not_after, paper };
    if withdrawn(context, turn.view(), &binding.key_digest())?.revoked() {
        let why = "this key is withdrawn for good; make another one with `subject key`";
        return Halt::refuse(Code::GrantInvalid, why);
    }
    turn.reply(token, Reply::ready(Response::Binding(context.sign(now, &binding))));
    Ok(())
}

/// Withdraws a subject's key for which this member has vouched: a status entry that ends every grant that the key has
/// signed, by whatever binding.
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
    let key = binding.get().key_digest();
    if !own_life(context, turn, &key)?.revoked() {
        say(context, turn, StatusFact::KeyWithdrawn(key))?;
    }
    turn.reply(token, Reply::ready(Response::Done));
    Ok(())
}

/// The end of a key, by the word of any collector: what is stolen is stolen at all of them. A suspended one's counts too,
/// because a key that is withdrawn does not come back.
fn withdrawn(context: &Context, view: &dyn View, key: &Digest) -> Result<GrantLife, Fault> {
    let mut end = GrantLife::default();
    for collector in context.registry.members.iter().filter(|m| m.stated.collector) {
        let said: Option<GrantLife> = tables::row(view, &Key::grant_life(&collector.stated.id, key))?;
        end = end.merge(said.unwrap_or_default().end());
    }
    Ok(end)
}

/// What this collector has said of a grant of its own, or of a key.
fn own_life(context: &Context, turn: &Turn<'_>, digest: &Digest) -> Result<GrantLife, Fault> {
    Ok(turn.row(&Key::grant_life(&context.own.id, digest))?.unwrap_or_default())
}

/// Writes a grant into the collector's status log: from it come the grantee's row, so that the grant can be changed, and the
/// clock of its end.
fn write_down(context: &Context, turn: &mut Turn<'_>, grant: Digest, text: &Grant) -> Result<(), Halt> {
    let vouched = text.binding.as_ref().map(|binding| context.registry.verify_seen(binding)).transpose()?;
    let tag = vouched.map(|key| grant_key_tag(&context.own.access, &grant, &key.get().key_digest()));
    let issued = GrantIssued { grant, grantee: text.grantee.clone(), not_after: text.not_after, tag };
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

/// Forgets, once they are told, whom a grant is for that is over: what is looked through when a key is withdrawn are the
/// grants that stand.
pub fn own_end(turn: &mut Turn<'_>, fact: &StatusFact) {
    if let StatusFact::GrantRevoked(grant, _) | StatusFact::GrantExpired(grant) = fact {
        turn.delete(&Key::grant(grant));
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
///
/// What the outlet says counts as its own, so it repeats only a member that collects and answers, about a question that it
/// has passed on to that member.
pub fn pass_on(
    context: &Context,
    turn: &mut Turn<'_>,
    author: &MemberId,
    fact: &StatusFact,
) -> Result<(), Halt> {
    let StatusFact::GrantUsedUp(used) = fact else { return Ok(()) };
    let (own, registry) = (&context.own.id, &context.registry);
    let outlet = registry.outlet().is_some_and(|outlet| outlet.id == *own);
    let answers = registry.member(author).is_ok_and(|m| m.stated.role.collects());
    if !outlet || !answers || turn.row::<UsedUpRow>(&Key::used_up(&used.grant, own))?.is_some() {
        return Ok(());
    }
    match turn.row::<Vec<MemberId>>(&Key::relayed(&used.question))? {
        Some(to) if to.contains(author) => say(context, turn, fact.clone()),
        _ => Ok(()),
    }
}

/// Who is told what a statement says about a grant, besides the public platforms: its grantee, of what its collector says;
/// of a use-up grantee and a collector that keeps no copies, and the outlet tells them. Of a withdrawn key the grantees of
/// the grants that it has signed here and that stand, and every other collector that keeps no copies.
pub fn concerned(context: &Context, turn: &Turn<'_>, fact: &StatusFact) -> Result<Vec<MemberId>, Fault> {
    let registry = &context.registry;
    let copies = |m: &MemberId| registry.member(m).is_ok_and(|m| m.stated.role.mirrors_status());
    Ok(match fact {
        StatusFact::GrantUsedUp(used) => {
            let outlet = registry.outlet().is_some_and(|outlet| outlet.id == context.own.id);
            let both = [&used.grantee, &used.collector].into_iter().filter(|m| outlet && !copies(m));
            both.cloned().collect()
        }
        StatusFact::KeyWithdrawn(key) => {
            let others = registry.active().filter(|m| m.collector && !copies(&m.id));
            let mut told: Vec<MemberId> = others.map(|m| m.id.clone()).collect();
            for (rest, grantee) in tables::rows::<MemberId>(turn.view(), &Key::grants(), usize::MAX)? {
                let Ok(grant) = rest.try_into().map(Digest) else { continue };
                let tag = own_life(context, turn, &grant)?.issued().and_then(|issue| issue.tag);
                if tag.is_some_and(|tag| tag == grant_key_tag(&context.own.access, &grant, key)) {
                    told.push(grantee);
                }
            }
            told
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
    if life.issued().is_some_and(|issue| issue.tag.is_some()) {
        let why = "its subject has signed it, and signs the change: `grant order`; a key that is lost or stolen is withdrawn: `subject withdraw`";
        return Halt::refuse(Code::GrantInvalid, why);
    }
    // 2
    put_through(context, turn, token, life, digest, change, None)
}

/// Pauses, resumes or revokes a grant that its subject has signed, by the subject's own order.
///
/// 1. This member vouches for the key: `grant.invalid`. The grant is lodged here: `not-found`; one that is to be revoked is
///    written down now, because it may be asked on elsewhere.
/// 2. The order is not dated ahead, no newer one came before, the grant is not over, and the key that has signed it is not
///    withdrawn: `grant.invalid`. A revocation is taken in any case. An order that comes again is carried out already, unless
///    the grant was revoked since.
/// 3. As [`change`].
pub fn order(
    context: &Context,
    turn: &mut Turn<'_>,
    token: Token,
    order: &Verified<GrantOrder>,
) -> Result<(), Halt> {
    let said = order.get();
    let (grant, digest) = (context.registry.verify_grant(&said.grant)?.into_inner(), said.grant.digest());
    // 1
    let binding = answers_for(context, &grant)?;
    let life = match own_life(context, turn, &digest)? {
        life if life.issued().is_none() && said.change == GrantChange::Revoke => {
            write_down(context, turn, digest, &grant)?;
            life
        }
        _ => issued_here(context, turn, &digest)?,
    };
    let ordered = Ordered { at: said.at, order: order.signed().digest() };
    if said.change != GrantChange::Revoke {
        // 2
        if said.at > turn.now.plus_ms(CLOCK_SKEW_MS_MAX) {
            return Halt::refuse(
                Code::GrantInvalid,
                "the order is dated ahead; set the clock and sign it again",
            );
        }
        if turn.now >= grant.not_after {
            return Halt::refuse(Code::GrantInvalid, "the grant is over; sign a new one");
        }
        let key = context.registry.verify_seen(binding)?.get().key_digest();
        if withdrawn(context, turn.view(), &key)?.revoked() {
            return Halt::refuse(
                Code::GrantInvalid,
                "the key that has signed it is withdrawn, and the grant with it",
            );
        }
        match life.ordered() {
            Some(before) if before == ordered && !life.revoked() => {
                turn.reply(token, Reply::ready(Response::Done));
                return Ok(());
            }
            Some(before) if before.at >= said.at && !life.revoked() => {
                return Halt::refuse(
                    Code::GrantInvalid,
                    "a newer order of its subject is there; sign a new one",
                );
            }
            _ => {}
        }
    }
    // 3
    put_through(context, turn, token, life, digest, said.change, Some(ordered))
}

/// What this collector has said of a grant that it has issued. Errors: it has not: `not-found`.
fn issued_here(context: &Context, turn: &Turn<'_>, digest: &Digest) -> Result<GrantLife, Halt> {
    let life = own_life(context, turn, digest)?;
    // One of an older build has a row, and no entry that says that it was issued.
    if life == GrantLife::default() && turn.row::<MemberId>(&Key::grant(digest))?.is_none() {
        return Halt::refuse(Code::NotFound, "no grant with this digest was issued here; lodge it first");
    }
    Ok(life)
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
///
/// Errors: what vouches for it is signed with a key of its collector whose time is over, and a copy of the collector's log does
/// not say that it was issued: whoever has that key could date it back: `grant.invalid`.
pub fn known(
    context: &Context,
    view: &dyn View,
    grant: &Verified<Grant>,
    question: Option<&Digest>,
    now: Timestamp,
) -> Result<Known, Halt> {
    let (registry, digest) = (&context.registry, grant.signed().digest());
    let collector = &grant.get().collector;
    let mut life: GrantLife = tables::row(view, &Key::grant_life(collector, &digest))?.unwrap_or_default();
    let replaced = match &grant.get().binding {
        Some(binding) => {
            // A key that is withdrawn revokes all that it has signed.
            let key = registry.verify_seen(binding)?.get().key_digest();
            life = life.merge(withdrawn(context, view, &key)?);
            registry.replaced(binding)
        }
        None => registry.replaced(grant.signed()),
    };
    // Who keeps no copies answers nothing, and cannot know.
    let over = replaced.is_some_and(|until| now > until);
    if over && life.issued().is_none() && context.role()?.mirrors_status() {
        let why = format!(
            "`{collector}` has another key since, and its log does not say that the grant was issued; lodge it or sign a new one"
        );
        return Halt::refuse(Code::GrantInvalid, why);
    }
    let uses = tables::row(view, &Key::grant_use(&digest))?.unwrap_or_default();
    let platform = |rest: &[u8]| {
        let author = tables::key_text(rest).and_then(MemberId::parse);
        author.is_some_and(|id| registry.member(&id).is_ok_and(|m| m.stated.role.mirrors_status()))
    };
    let mut said = tables::rows::<UsedUpRow>(view, &Key::used_up_by(&digest), usize::MAX)?;
    said.retain(|(rest, _)| platform(rest));
    let used_up = !said.is_empty() && !said.iter().any(|(_, row)| Some(&row.question) == question);
    Ok(Known { life, uses, used_up })
}

/// How a grant stands at this member, for its operator.
///
/// Errors: those of [`Registry::verify_grant`] and [`known`].
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
    let known = match known(context, view, &grant, None, now) {
        Ok(known) => known,
        Err(Halt::Refusal(refusal)) => return Ok(Response::Refused(refusal)),
        Err(Halt::Fault(fault)) => return Err(fault),
    };
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
