//! A member that uses a record after it has acknowledged the end of it convicts itself.
//!
//! Both halves are its own signed word: the acknowledgement in its status log, which a propagation certificate carries,
//! and the use, an entry of its access log. Whoever holds both needs nobody's leave to show it, and no node.

use credit::{
    entry::{Entry, Fact, StatusFact},
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

    /// Whether `entry`, proven to be in `member`'s access log, gave out the record after `member` had acknowledged its end.
    pub fn misused(&self, member: &MemberId, entry: &Entry) -> Option<Misuse> {
        let ((record, change), acknowledged) = (self.ended()?, self.bound_since(member)?);
        let Fact::Disclosed(disclosed) = &entry.fact else { return None };
        let answered = disclosed.records.iter().any(|r| r.record == record);
        let (member, used) = (member.clone(), entry.at);
        (answered && used > acknowledged).then_some(Misuse { member, record, change, acknowledged, used })
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
    Ok(checked.misused(&proven.member, &proven.entry).filter(|_| proven.log == LogName::Access))
}
