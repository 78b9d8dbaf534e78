//! Files that leave a node and verify without it.

use credit::{
    entry::{Erased, Fact, StatusFact},
    grant::Grant,
    id::MemberId,
    question::Question,
};
use crypto::{Timestamp, sign::Signed};
use minicbor::{Decode, Encode};

use crate::{
    evidence::Evidence,
    logs::LogName,
    receipt::{Proven, Receipt},
    refusal::{Code, Refusal},
    registry::{Registry, SignedRegistry},
    wire::Part,
};

/// A file of this system. The number says what it is.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Artifact {
    /// One proven entry.
    #[n(0)]
    Receipt(#[n(0)] Receipt),
    /// Who has acknowledged a change of standing.
    #[n(1)]
    Certificate(#[n(0)] Certificate),
    /// A subject's authorisation.
    #[n(2)]
    Grant(#[n(0)] Signed<Grant>),
    /// A relayed answer as the asker keeps it, still sealed.
    #[n(3)]
    Answer {
        /// The question.
        #[n(0)]
        question: Signed<Question>,
        /// What came back.
        #[n(1)]
        parts: Vec<Part>,
    },
    /// The registry.
    #[n(4)]
    Registry(#[n(0)] SignedRegistry),
    /// Two histories of one log, signed by its owner.
    #[n(5)]
    Evidence(#[n(0)] Box<Evidence>),
}

/// Propagation certificate (传播证明): a change of standing, who has acknowledged it, who is still missing.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Certificate {
    /// The event in the authority's status log.
    #[n(0)]
    pub event: Receipt,
    /// One acknowledgement per recipient that has sent it.
    #[n(1)]
    pub acknowledged: Vec<Receipt>,
    /// Recipients that have not.
    #[n(2)]
    pub missing: Vec<MemberId>,
    /// When the certificate was drawn up.
    #[n(3)]
    pub at: Timestamp,
}

/// A certificate that was checked.
#[derive(Debug)]
pub struct CheckedCertificate {
    /// The event.
    pub event: Proven,
    /// Its statement.
    pub fact: StatusFact,
    /// Who has acknowledged, and when by its own clock.
    pub acknowledged: Vec<(MemberId, Timestamp)>,
}

impl Certificate {
    /// Checks the event, every acknowledgement, and that each speaks of this event.
    pub fn verify(&self, registry: &Registry) -> Result<CheckedCertificate, Refusal> {
        let event = self.event.verify(registry)?;
        let fact = status_fact(registry, &event)?;
        let mut acknowledged = Vec::new();
        for receipt in &self.acknowledged {
            let proven = receipt.verify(registry)?;
            let StatusFact::Acknowledged(ack) = status_fact(registry, &proven)? else {
                return Err(Refusal::new(
                    Code::SignatureInvalid,
                    format!("entry of `{}` is no acknowledgement", proven.member),
                ));
            };
            if ack.origin != event.member || ack.index != event.index || ack.leaf != event.leaf {
                return Err(Refusal::new(
                    Code::SignatureInvalid,
                    format!("acknowledgement of `{}` is about another entry", proven.member),
                ));
            }
            if acknowledged.iter().any(|(member, _)| *member == proven.member) {
                return Err(Refusal::new(
                    Code::SignatureInvalid,
                    format!("`{}` acknowledges twice", proven.member),
                ));
            }
            acknowledged.push((proven.member, proven.entry.at));
        }
        Ok(CheckedCertificate { event, fact, acknowledged })
    }
}

/// The statement of a proven status entry, checked against its author's key.
pub fn status_fact(registry: &Registry, proven: &Proven) -> Result<StatusFact, Refusal> {
    let refuse = |why: &str| {
        Refusal::new(Code::SignatureInvalid, format!("entry {} of `{}`: {why}", proven.index, proven.member))
    };
    match &proven.entry.fact {
        Fact::Status(signed) if proven.log == LogName::Status => {
            if signed.issuer() != proven.member.as_str() {
                return Err(refuse("signed by another member than the log's"));
            }
            Ok(registry.verify(signed)?.into_inner())
        }
        _ => Err(refuse("not a status entry")),
    }
}

/// The erasure of a proven `records` entry.
pub fn erasure(proven: &Proven) -> Option<&Erased> {
    match &proven.entry.fact {
        Fact::Erased(erased) if proven.log == LogName::Records => Some(erased),
        _ => None,
    }
}
