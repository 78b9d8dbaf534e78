//! A relayed answer as a whole: what every member that was to be asked has said, whatever the outlet passes on.
//!
//! The outlet carries answers and cannot read or change them. It could leave one out, give one twice, pass one off as
//! another member's, or say without proof that a member refused. So the asker walks the members of its own registry and
//! not the parts: an answer is complete only when every one of them has proven what it decided.

use std::{collections::BTreeSet, sync::Arc};

use credit::{id::MemberId, question::Question};
use crypto::{seal::OpeningKey, sign::Verified};

use crate::{
    answer::{self, Answer},
    evidence,
    refusal::{Code, Refusal},
    registry::Registry,
    wire::{OpenedPart, Outcome, Part},
};

/// The members that a question goes to, ascending: every active one that collects, but the asker.
pub fn asked_of(registry: &Registry, asker: &MemberId) -> Vec<MemberId> {
    registry.active().filter(|m| m.role.collects() && m.id != *asker).map(|m| m.id.clone()).collect()
}

/// Looks at what came back: one line for each member of `asked_of`, and one for each other that a part names; ascending.
/// `read` checks an answer.
///
/// Errors, per member: what `read` says; `part.missing` when the outlet gave none; `signature.invalid` for a part given
/// twice, of a member that was not to be asked, or with another member's answer in it; the refusal that came in place of
/// an answer, which nobody has signed; `peer.unreachable`.
pub fn each<T>(
    asked_of: &[MemberId],
    parts: &[Part],
    mut read: impl FnMut(&Answer) -> Result<T, Refusal>,
) -> Vec<(MemberId, Result<T, Refusal>)> {
    let members: BTreeSet<&MemberId> = asked_of.iter().chain(parts.iter().map(|part| &part.member)).collect();
    let mut line = |member: &MemberId| {
        let invalid = |why: &str| Err(Refusal::new(Code::SignatureInvalid, why));
        if !asked_of.contains(member) {
            return invalid("the outlet gave a part of a member that was not to be asked");
        }
        let mut of_it = parts.iter().filter(|part| part.member == *member);
        match (of_it.next().map(|part| &part.outcome), of_it.next()) {
            (None, _) => Err(Refusal::new(Code::PartMissing, "")),
            (Some(_), Some(_)) => invalid("the outlet gave more than one part of this member"),
            (Some(Outcome::Answered(answer)), None) if answer.member == *member => read(answer),
            (Some(Outcome::Answered(_)), None) => invalid("the part is another member's"),
            (Some(Outcome::Denied(refusal)), None) => Err(refusal.clone()),
            (Some(Outcome::Unreachable), None) => Err(Refusal::new(Code::Unreachable, "")),
        }
    };
    members.into_iter().map(|member| (member.clone(), line(member))).collect()
}

/// Opens and checks what came back. Nothing of a member in `frozen` counts.
pub fn open(
    registry: &Registry,
    question: &Verified<Question>,
    keys: &[Arc<OpeningKey>],
    (asked_of, frozen): (&[MemberId], &BTreeSet<MemberId>),
    parts: &[Part],
) -> Vec<OpenedPart> {
    let read = |answer: &Answer| match frozen.contains(&answer.member) {
        true => Err(evidence::refusal(&answer.member)),
        false => answer::open_any(registry, question, keys, answer),
    };
    let opened = each(asked_of, parts, read).into_iter().map(|(member, read)| match read {
        Ok(answer) => OpenedPart { member, answer: Some(answer), problem: None },
        Err(refusal) => OpenedPart { member, answer: None, problem: Some(refusal) },
    });
    opened.collect()
}

/// What a member has said, as far as it is proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// It disclosed what may be disclosed, and its access log says so.
    Answered,
    /// It refused the whole question, and its access log says so.
    Denied,
    /// A refusal came in its name that stands in no log: the member, or the outlet, says so, and nobody has signed it.
    Unproven,
    /// Nothing came, or it cannot decide now.
    Unreachable,
    /// What came proves nothing.
    Invalid,
}

impl Said {
    /// Of an answer that was read, whether it refuses the whole question; or why there is none.
    pub fn of(read: Result<bool, &Refusal>) -> Self {
        match read.map_err(Refusal::known) {
            Ok(true) => Self::Denied,
            Ok(false) => Self::Answered,
            Err(Some(Code::SignatureInvalid | Code::MemberFrozen)) => Self::Invalid,
            Err(Some(
                Code::Unreachable
                | Code::PartMissing
                | Code::Busy
                | Code::MemberStarting
                | Code::MemberBehind,
            )) => Self::Unreachable,
            Err(_) => Self::Unproven,
        }
    }

    /// The word in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Denied => "denied",
            Self::Unproven => "unproven",
            Self::Unreachable => "unreachable",
            Self::Invalid => "invalid",
        }
    }
}

impl OpenedPart {
    /// What the member has said.
    pub fn said(&self) -> Said {
        match (&self.answer, &self.problem) {
            (Some(answer), _) => Said::of(Ok(answer.refused)),
            (None, Some(refusal)) => Said::of(Err(refusal)),
            (None, None) => Said::Unproven,
        }
    }
}

/// Whether every member has proven what it decided.
pub fn decided(parts: &[OpenedPart]) -> bool {
    parts.iter().all(|part| part.answer.is_some())
}

/// Whether a record that is not in the answer is none that may be disclosed: every member has decided, and none has more
/// records than it gave.
pub fn complete(parts: &[OpenedPart]) -> bool {
    decided(parts) && !parts.iter().filter_map(|part| part.answer.as_ref()).any(|answer| answer.more)
}
