//! Messages about grants.

use credit::{
    binding::GrantOrder,
    catalog::Purpose,
    grant::{Frequency, Grant, GrantStatus, Scope},
    id::MemberId,
    subject::SubjectId,
};
use crypto::{
    Digest, Timestamp,
    sign::{PublicKey, Signed},
};
use minicbor::{Decode, Encode};

/// What a collector writes into a grant.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct GrantDraft {
    /// About whom.
    #[n(0)]
    pub subject: SubjectId,
    /// Who may ask.
    #[n(1)]
    pub grantee: MemberId,
    /// For what.
    #[n(2)]
    pub purposes: Vec<Purpose>,
    /// Items and fields.
    #[n(3)]
    pub scope: Vec<Scope>,
    /// Valid from.
    #[n(4)]
    pub not_before: Timestamp,
    /// Valid until.
    #[n(5)]
    pub not_after: Timestamp,
    /// Questions each member answers on it.
    #[n(6)]
    pub uses_max: u32,
    /// Days the asker may keep what it receives.
    #[n(7)]
    pub keep_days: u32,
    /// SHA-256 of the signed letter.
    #[n(8)]
    pub letter: Digest,
    /// How often within that time.
    #[n(9)]
    pub period: Option<Frequency>,
}

/// A key that a collector is to vouch for.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct KeyDraft {
    /// Whose it is.
    #[n(0)]
    pub subject: SubjectId,
    /// The Ed25519 key.
    #[n(1)]
    pub key: PublicKey,
    /// Until when grants that it signs may be valid.
    #[n(2)]
    pub not_after: Timestamp,
    /// SHA-256 of the paper by which its subject has shown at the counter that it is its own.
    #[n(3)]
    pub paper: Digest,
}

/// What a subject has signed with its own key, handed in at its collector.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Lodged {
    /// A grant.
    #[n(0)]
    Grant(#[n(0)] Signed<Grant>),
    /// What is to be done to one.
    #[n(1)]
    Order(#[n(0)] Signed<GrantOrder>),
}

/// How a grant stands at one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct GrantStanding {
    /// Whether the member is told of pauses and revocations: the collector itself, the grantee, and every public platform.
    #[n(0)]
    pub told: bool,
    /// What it would make of a question on the grant now.
    #[n(1)]
    pub status: GrantStatus,
    /// Questions it has answered on the grant.
    #[n(2)]
    pub uses: u64,
    /// Those within the grant's period, for a periodic grant.
    #[n(3)]
    pub recent: Option<u64>,
    /// Index of the entry of its collector's status log that says that it was issued, where that is known here.
    #[n(4)]
    pub issued: Option<u64>,
}
