//! Repair certificate (信用修复证明): what the subject takes home of a granted repair.
//!
//! Two things side by side. The *statement* is short, signed by the authority, and fits a printed code: whoever has the
//! registry can check it offline. The *receipt* proves that the authority's status log holds the decision, so that the
//! authority cannot have told the subject one thing and the federation another. Neither names the subject: the record id is
//! a keyed digest of what stands on the decision.
//!
//! *Not here*: who has acknowledged the decision ([`crate::artifact::Certificate`]).

use credit::{
    entry::{Changed, StatusFact},
    id::{CaseId, RecordId},
    status::Change,
};
use crypto::{
    Digest, Timestamp,
    label::Label,
    sign::{Signed, Statement},
};
use ledger::{log, store::View, tree::LeafIndex};
use minicbor::{Decode, Encode};

use crate::{
    artifact::status_fact,
    context::Context,
    logs::LogName,
    receipt::{Proven, Receipt},
    refusal::{Code, Fault, Refusal},
    registry::Registry,
};

/// What the authority signs for the subject.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct RepairStatement {
    /// The repaired record.
    #[n(0)]
    pub record: RecordId,
    /// The case it was decided in; none where another platform's repair was recognised.
    #[n(1)]
    pub case: Option<CaseId>,
    /// The rule set decided under.
    #[n(2)]
    pub rule: String,
    /// When, by the authority's clock.
    #[n(3)]
    pub decided_at: Timestamp,
    /// Index of the decision in the authority's status log.
    #[n(4)]
    pub index: u64,
    /// Leaf hash of that entry.
    #[n(5)]
    pub leaf: Digest,
}

impl Statement for RepairStatement {
    const LABEL: Label = Label::SignRepair;
}

/// The statement and the receipt of the decision.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct RepairCertificate {
    /// Signed when the certificate is drawn up; its issuer is the authority.
    #[n(0)]
    pub statement: Signed<RepairStatement>,
    /// The decision in the authority's status log.
    #[n(1)]
    pub receipt: Receipt,
}

impl RepairCertificate {
    /// Checks the authority's signature, the receipt, and that both speak of one decision that grants a repair.
    ///
    /// Errors: `signature.invalid`, `member.unknown`.
    pub fn verify(&self, registry: &Registry) -> Result<(RepairStatement, Proven), Refusal> {
        let said = registry.verify(&self.statement)?;
        let proven = self.receipt.verify(registry)?;
        let same = proven.member.as_str() == said.signed().issuer()
            && decision(registry, &proven)?.as_ref() == Some(said.get());
        if !same {
            return Err(Refusal::new(
                Code::SignatureInvalid,
                "repair certificate: its statement and its receipt are about different things",
            ));
        }
        Ok((said.into_inner(), proven))
    }
}

/// What a proven status entry says about a granted repair; `None` for every other entry.
fn decision(registry: &Registry, proven: &Proven) -> Result<Option<RepairStatement>, Refusal> {
    Ok(match status_fact(registry, proven)? {
        StatusFact::Changed(Changed { record, change: Change::Repair, case, rule, .. }) => {
            let (decided_at, index, leaf) = (proven.entry.at, proven.index, proven.leaf);
            Some(RepairStatement { record, case, rule, decided_at, index, leaf })
        }
        _ => None,
    })
}

/// The certificate of the repair that entry `event` of the own status log grants, signed at `now`.
///
/// Refused with `not-found` when there is no such entry or it grants no repair.
pub fn draw_up(
    context: &Context,
    view: &dyn View,
    event: u64,
    now: Timestamp,
) -> Result<Result<RepairCertificate, Refusal>, Fault> {
    let none = || Ok(Err(Refusal::new(Code::NotFound, format!("status entry {event} grants no repair"))));
    if !log::size(view, LogName::Status.as_str())?.covers(LeafIndex(event)) {
        return none();
    }
    let receipt = Receipt::build(view, &context.own.id, LogName::Status, event)?;
    let said = receipt.verify(&context.registry).and_then(|proven| decision(&context.registry, &proven));
    match said {
        Ok(Some(said)) => Ok(Ok(RepairCertificate { statement: context.sign(now, &said), receipt })),
        Ok(None) => none(),
        Err(refusal) => Ok(Err(refusal)),
    }
}
