//! A member that uses a record after it has acknowledged the end of it convicts itself.
//!
//! Both halves are its own signed word: the acknowledgement in its status log, which a propagation certificate carries,
//! and the use, an entry of its access log. Whoever holds both needs nobody's leave to show it, and no node.

use credit::{
    entry::{Fact, StatusFact},
    id::{MemberId, RecordId},
    status::Change,
};
use crypto::Timestamp;

use crate::{
    artifact::{Certificate, CheckedCertificate},
    logs::LogName,
    receipt::Receipt,
    refusal::Refusal,
    registry::Registry,
};

/// A use that its member's own acknowledgement speaks against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misuse {
    /// The member.
    pub member: MemberId,
    /// The record.
    pub record: RecordId,
    /// How the record had ended.
    pub change: Change,
    /// When the member acknowledged it, by its own clock.
    pub acknowledged: Timestamp,
    /// When it answered with the record all the same, by the same clock.
    pub used: Timestamp,
}

impl CheckedCertificate {
    /// The record whose end this certificate is about; `None` where the change can be taken back.
    pub fn ended(&self) -> Option<(RecordId, Change)> {
        match &self.fact {
            StatusFact::Changed(changed)
                if matches!(changed.change, Change::Repair | Change::Withdraw | Change::Expire) =>
            {
                Some((changed.record, changed.change))
            }
            _ => None,
        }
    }

    /// Since when `member` has known, by its own signed word, that the record must not be used any more. An auditor who
    /// finds a use after this time, in whatever paper, needs no other witness.
    pub fn bound_since(&self, member: &MemberId) -> Option<Timestamp> {
        self.ended()?;
        let own = (self.event.member == *member).then_some(self.event.entry.at);
        own.or_else(|| self.acknowledged.iter().find(|(id, _)| id == member).map(|(_, at)| *at))
    }
}

/// Whether `used`, an answer in a member's access log, gave out a record after that member had acknowledged its end.
///
/// Errors: the certificate or the receipt does not hold.
pub fn misuse(
    registry: &Registry,
    certificate: &Certificate,
    used: &Receipt,
) -> Result<Option<Misuse>, Refusal> {
    let checked = certificate.verify(registry)?;
    let proven = used.verify(registry)?;
    let (Some((record, change)), Some(acknowledged)) = (checked.ended(), checked.bound_since(&proven.member))
    else {
        return Ok(None);
    };
    let answered = match &proven.entry.fact {
        Fact::Disclosed(disclosed) if proven.log == LogName::Access => {
            disclosed.records.iter().any(|r| r.record == record)
        }
        _ => false,
    };
    let used = proven.entry.at;
    let misuse = Misuse { member: proven.member, record, change, acknowledged, used };
    Ok((answered && used > acknowledged).then_some(misuse))
}
