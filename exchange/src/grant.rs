//! Grants at their collector: signing and revoking.

use credit::{
    entry::{Fact, StatusFact},
    grant::{Grant, ITEMS_PER_GRANT_MAX},
    id::GrantId,
};
use crypto::Digest;

use crate::{
    context::Context,
    logs::LogName,
    refusal::{Code, Halt},
    step::{Reply, Token},
    tables::Key,
    turn::Turn,
    wire::{GrantDraft, Response},
};

/// Signs a grant from a letter this collector keeps.
///
/// 1. This member is a registered collector: `grant.invalid`.
/// 2. Grantee, items and fields exist; validity, uses and purposes are not empty: `grant.invalid`, `item.unknown`,
///    `field.unknown`.
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
    };
    let signed = context.sign(turn.now, &grant);
    turn.put(&Key::grant(&signed.digest()), &());
    turn.reply(token, Reply::ready(Response::Grant(signed)));
    Ok(())
}

/// Revokes a grant issued here: a status entry that every public platform receives and acts on from the next
/// question on. Revoking again changes nothing.
pub fn revoke(context: &Context, turn: &mut Turn<'_>, token: Token, digest: Digest) -> Result<(), Halt> {
    if turn.row::<()>(&Key::grant(&digest))?.is_none() {
        return Halt::refuse(Code::NotFound, "no grant with this digest was issued here");
    }
    if turn.row::<()>(&Key::grant_revoked(&context.own.id, &digest))?.is_none() {
        let signed = context.sign(turn.now, &StatusFact::GrantRevoked(digest));
        turn.append(context, LogName::Status, Fact::Status(signed))?;
    }
    turn.reply(token, Reply::ready(Response::Done));
    Ok(())
}
