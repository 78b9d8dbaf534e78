//! What is said about a record on its way to be published (公示), and until it is taken down (停止公示).

use crypto::{Digest, pseudonym::SubjectLink};
use minicbor::{Decode, Encode};

use super::StatusFact;
use crate::{
    id::{FieldId, MemberId, RecordId},
    repair::Deadline,
    value::Date,
};

/// A record pushed by law to the member that publishes it (依法推送): nobody has asked for it. The fields are those that are
/// public; each is sent as its value, which the record commits to.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Pushed {
    /// The record.
    #[n(0)]
    pub record: RecordId,
    /// Index of the version in this member's `records` log.
    #[n(1)]
    pub version: u64,
    /// The member that is to publish it.
    #[n(2)]
    pub to: MemberId,
    /// The fields, ascending.
    #[n(3)]
    pub fields: Vec<FieldId>,
    /// The rule that makes it a duty ([`crate::rules::Publication`]).
    #[n(4)]
    pub rule: String,
    /// The subject's n-th access at this member; only the subject can link it.
    #[n(5)]
    pub subject_link: SubjectLink,
    /// Registry version decided under.
    #[n(6)]
    pub registry: u64,
    /// Entries of this member's status log before it: a correction among them is in what is sent.
    #[n(7)]
    pub told: u64,
}

/// A record received to be published: the mirror image of the sending member's entry.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Taken {
    /// The sending member, the record's authority.
    #[n(0)]
    pub from: MemberId,
    /// Index of its access entry.
    #[n(1)]
    pub index: u64,
    /// Leaf hash of that entry.
    #[n(2)]
    pub leaf: Digest,
    /// The record.
    #[n(3)]
    pub record: RecordId,
    /// Last day on which it is to be published.
    #[n(4)]
    pub due: Deadline,
    /// The rule under which it was pushed.
    #[n(5)]
    pub rule: String,
    /// Entries of the sender's status log before the push, as its entry says.
    #[n(6)]
    pub told: u64,
}

/// A day on which its author's page about a record was put up, or taken down. Its author's newest statement of either kind
/// counts, so that a day can be put right; of both kinds the later entry says how it is.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PageDay {
    /// The record.
    #[n(0)]
    pub record: RecordId,
    /// Its authority, who is told; it counts from the day of publication where the rules do.
    #[n(1)]
    pub authority: MemberId,
    /// The day, in Asia/Shanghai.
    #[n(2)]
    pub on: Date,
}

impl StatusFact {
    /// What it says of its author's page about a record, put up or taken down; `None` for every other statement.
    pub fn page(&self) -> Option<&PageDay> {
        match self {
            Self::Published(said) | Self::TakenDown(said) => Some(said),
            _ => None,
        }
    }
}
