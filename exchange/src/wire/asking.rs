//! What comes back to who asks, and what it could still have checked.

use credit::{id::MemberId, question::Question};
use crypto::{Timestamp, sign::Signed};
use minicbor::{Decode, Encode};

use super::Part;
use crate::{answer::OpenedAnswer, refusal::Refusal};

/// What the asker's operator sees of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct AskResult {
    /// The question as signed.
    #[n(0)]
    pub question: Signed<Question>,
    /// The relayed parts, still sealed.
    #[n(1)]
    pub parts: Vec<Part>,
    /// What was opened and verified of each member's answer, or why there is none: a line for every member that was to be
    /// asked, whether the outlet gave a part of it or not.
    #[n(2)]
    pub opened: Vec<OpenedPart>,
}

/// What one member has said, as the asker found it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct OpenedPart {
    /// The member.
    #[n(0)]
    pub member: MemberId,
    /// The opened answer, when it verified.
    #[n(1)]
    pub answer: Option<OpenedAnswer>,
    /// Otherwise why there is none.
    #[n(2)]
    pub problem: Option<Refusal>,
}

/// What one check, asked after those before it, finds of its budget at one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct BudgetLeft {
    /// Whether it may be judged: there is something left, or it was judged within the last days and costs nothing.
    #[n(0)]
    pub affordable: bool,
    /// How many different predicates of its family the asker may have judged about this subject and field.
    #[n(1)]
    pub budget: u16,
    /// How many others are left after it.
    #[n(2)]
    pub left: u16,
    /// When the oldest one counts no more; absent where none does.
    #[n(3)]
    pub frees_at: Option<Timestamp>,
}
