//! An auditor's mandate (稽核授权): why it may learn whom accesses are about, which of them, and until when.
//!
//! The auditor signs it and answers for it; it stands in the auditor's own access log and in the member's before any
//! identity is told. Source: 上海市社会信用条例 art. 19 and 20 (nobody queries beyond what the task needs, and every
//! query leaves a trace).

use crypto::{Digest, Timestamp, label::Label, sign::Statement};
use minicbor::{Decode, Encode};

use crate::id::MemberId;

/// Most access entries one mandate may open: some days of a busy member. A wider audit takes several, each with its reason.
pub const MANDATE_ENTRIES_MAX: u64 = 4_096;
/// Longest validity of a mandate: a month, the length of an inspection.
pub const MANDATE_MS_MAX: u64 = 31 * 24 * 60 * 60 * 1000;
/// Longest reason in bytes.
pub const MANDATE_REASON_BYTES_MAX: usize = 200;

/// Whom some of a member's accesses are about may be told to an auditor.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Mandate {
    /// The auditor, who signs it.
    #[n(0)]
    pub auditor: MemberId,
    /// The member whose access log it is about.
    #[n(1)]
    pub member: MemberId,
    /// First entry of that log.
    #[n(2)]
    pub first: u64,
    /// First entry that is no longer meant; at most [`MANDATE_ENTRIES_MAX`] after `first`.
    #[n(3)]
    pub end: u64,
    /// Why, in 1 to [`MANDATE_REASON_BYTES_MAX`] bytes, and no personal data: it stands in two logs.
    #[n(4)]
    pub reason: String,
    /// SHA-256 of the order it rests on, which the auditor keeps.
    #[n(5)]
    pub paper: Digest,
    /// First moment of validity.
    #[n(6)]
    pub from: Timestamp,
    /// First moment after validity; at most [`MANDATE_MS_MAX`] after `from`.
    #[n(7)]
    pub until: Timestamp,
}

impl Statement for Mandate {
    const LABEL: Label = Label::SignMandate;
}

impl Mandate {
    /// The first limit the mandate breaks, as a short English phrase, or `None`.
    pub fn malformed(&self) -> Option<&'static str> {
        if self.end <= self.first || self.end - self.first > MANDATE_ENTRIES_MAX {
            Some("it names 1 to 4,096 entries")
        } else if self.reason.trim().is_empty() || self.reason.len() > MANDATE_REASON_BYTES_MAX {
            Some("it says why in 1 to 200 bytes")
        } else if self.until <= self.from || self.until.0 - self.from.0 > MANDATE_MS_MAX {
            Some("it is valid for some time, and at most 31 days")
        } else {
            None
        }
    }
}
