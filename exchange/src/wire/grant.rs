//! Messages about grants.

use credit::{
    catalog::Purpose,
    grant::{Frequency, GrantStatus, Scope},
    id::MemberId,
    subject::SubjectId,
};
use crypto::{Digest, Timestamp};
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
