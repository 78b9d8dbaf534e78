//! Whom accesses are about: told to an auditor under a mandate, once it stands in the auditor's access log and in the
//! member's.

use credit::{
    catalog::Purpose,
    entry::Fact,
    id::MemberId,
    mandate::Mandate,
    policy::{Asking, BasisFacts, Role, Verdict},
    question::{CLOCK_SKEW_MS_MAX, Question},
    subject::SubjectId,
};
use crypto::{
    Bytes, Digest,
    label::Label,
    seal::{open_box, seal_box},
    sign::Verified,
};
use ledger::store::View;
use minicbor::{Decode, Encode};

use crate::{
    context::Context,
    logs::LogName,
    receipt::Receipt,
    refusal::{Code, Fault, Halt, Refusal},
    registry::Registry,
    step::{Reply, Token},
    tables::{self, Key, QuestionRow},
    turn::Turn,
    wire::Response,
};

/// What an auditor's operator writes into a mandate.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct MandateDraft {
    /// The member.
    #[n(0)]
    pub member: MemberId,
    /// First access entry.
    #[n(1)]
    pub first: u64,
    /// First entry no longer meant.
    #[n(2)]
    pub end: u64,
    /// Why.
    #[n(3)]
    pub reason: String,
    /// SHA-256 of the order.
    #[n(4)]
    pub paper: Digest,
    /// Milliseconds of validity from now.
    #[n(5)]
    pub for_ms: u64,
}

/// Whom one access is about.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Identity {
    /// Index of the access entry.
    #[n(0)]
    pub index: u64,
    /// The subject; absent where the member does not know it any more: the row was lost with a disk.
    #[n(1)]
    pub subject: Option<SubjectId>,
}

/// Signs a mandate and writes it into the auditor's own access log, before anybody is asked.
///
/// 1. This member is an auditor: `caller.not-allowed`.
/// 2. It keeps to the limits: `question.malformed`.
pub fn give(context: &Context, turn: &mut Turn<'_>, token: Token, draft: MandateDraft) -> Result<(), Halt> {
    // 1
    if context.role()? != Role::Auditor {
        return Halt::refuse(Code::CallerNotAllowed, "this member is not an auditor");
    }
    context.registry.member(&draft.member)?;
    // 2
    let mandate = Mandate {
        auditor: context.own.id.clone(),
        member: draft.member,
        first: draft.first,
        end: draft.end,
        reason: draft.reason,
        paper: draft.paper,
        from: turn.now,
        until: turn.now.plus_ms(draft.for_ms),
    };
    if let Some(why) = mandate.malformed() {
        return Halt::refuse(Code::QuestionMalformed, format!("mandate: {why}"));
    }
    let signed = context.sign(turn.now, &mandate);
    let (index, _) = turn.append(context, LogName::Access, Fact::Mandated(signed, None))?;
    turn.reply(token, Reply::ready(Response::Noted(index)));
    Ok(())
}

/// The mandate that an auditor's receipt proves to be in its own access log.
///
/// Errors: `signature.invalid`, `member.unknown`; `caller.not-allowed` when the entry is somebody else's.
pub fn proven(
    registry: &Registry,
    caller: &MemberId,
    receipt: &Receipt,
) -> Result<Verified<Mandate>, Refusal> {
    let proven = receipt.verify(registry)?;
    let refuse = |why: &str| Refusal::new(Code::CallerNotAllowed, format!("mandate: {why}"));
    if proven.log != LogName::Access || proven.member != *caller {
        return Err(refuse("it does not stand in the caller's own access log"));
    }
    let Fact::Mandated(signed, _) = &proven.entry.fact else { return Err(refuse("that entry is none")) };
    let mandate = registry.verify_logged(signed)?;
    if signed.issuer() != caller.as_str() || mandate.get().auditor != *caller {
        return Err(refuse("it is another auditor's"));
    }
    Ok(mandate)
}

/// Writes an auditor's mandate into this member's access log; the identities leave after it is durable.
///
/// 1. It keeps to the limits: `question.malformed`.
/// 2. The policy lets an auditor be told under it: `question.expired` when it is not valid now, else `caller.not-allowed`;
///    the detail names the rule.
/// 3. The log has all the entries it names: `not-found`.
pub fn open(
    context: &Context,
    turn: &mut Turn<'_>,
    token: Token,
    caller: &MemberId,
    mandate: &Verified<Mandate>,
) -> Result<(), Halt> {
    // 1
    let text = mandate.get();
    if let Some(why) = text.malformed() {
        return Halt::refuse(Code::QuestionMalformed, format!("mandate: {why}"));
    }
    // 2
    let timely = text.from <= turn.now.plus_ms(CLOCK_SKEW_MS_MAX) && turn.now < text.until;
    let asking = Asking {
        role: context.registry.member(caller)?.stated.role,
        asker: caller,
        purpose: Purpose::Audit,
        subject: None,
        basis: BasisFacts::Mandate { mandate: text, member: &context.own.id, timely },
        at: turn.now,
    };
    let rule = match context.policy.decide_identity(&asking) {
        Verdict::Allow { rule, .. } => rule,
        Verdict::Deny { rule } => {
            let code = if timely { Code::CallerNotAllowed } else { Code::QuestionExpired };
            let words = context.policy.rule(&rule).map_or("", |row| row.en.as_str());
            return Halt::refuse(code, format!("mandate: {words} (rule `{rule}`)"));
        }
    };
    // 3
    let size = turn.tail(LogName::Access).next;
    if text.end > size {
        return Halt::refuse(Code::NotFound, format!("the access log has {size} entries"));
    }
    turn.append(context, LogName::Access, Fact::Mandated(mandate.signed().clone(), Some(rule)))?;
    turn.reply(token, Reply::ready(Response::Done));
    Ok(())
}

/// Whom the accesses among the entries of a mandate are about.
pub fn identities(context: &Context, view: &dyn View, mandate: &Mandate) -> Result<Response, Fault> {
    let mut found = Vec::new();
    for index in mandate.first..mandate.end {
        let entry = LogName::Access.kept_entry(view, index)?;
        let Some(asked) = entry.fact.asked_by() else { continue };
        let row: Option<QuestionRow> = tables::row(view, &Key::question(&asked.id))?;
        let subject =
            row.filter(|row| row.plan.index == index).map(|row| unsealed(context, &row)).transpose()?;
        found.push(Identity { index, subject });
    }
    Ok(Response::Identities(found))
}

/// Whom a question is about, sealed for the row that stays. Only this member opens it, and only under a mandate.
///
/// The key belongs to one question, which is sealed once: the nonce is constant.
pub fn sealed(context: &Context, question: &Verified<Question>) -> Bytes {
    let key = context.own.access.derive(Label::AccessSubject, &question.signed().digest().0);
    Bytes(seal_box(&key, Label::AccessSubject, [0; 12], question.get().subject.as_str().as_bytes()))
}

fn unsealed(context: &Context, row: &QuestionRow) -> Result<SubjectId, Fault> {
    let damaged = || Fault(format!("the subject of question {} does not open", row.question));
    let key = context.own.access.derive(Label::AccessSubject, &row.question.0);
    let text = open_box(&key, Label::AccessSubject, &row.subject).map_err(|_| damaged())?;
    let text = core::str::from_utf8(&text).map_err(|_| damaged())?;
    SubjectId::parse(text).map_err(|_| damaged())
}
