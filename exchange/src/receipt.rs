//! Receipt (存证回执): an entry, its path, and the checkpoint that covers it. Verifies offline.

use core::fmt;

use credit::{entry::Entry, id::MemberId};
use crypto::{Bytes, Digest, Timestamp, merkle::leaf_hash, sign::SigningKey};
use ledger::{
    checkpoint::{Checkpoint, SignedCheckpoint},
    cose_receipt::CoseReceipt,
    log,
    newest::Newest,
    proof::verify_inclusion,
    proof_file::ProofFile,
    prover::Prover,
    store::View,
    tree::LeafIndex,
};
use minicbor::{Decode, Encode};

use crate::{
    logs::LogName,
    refusal::{Code, Fault, Refusal},
    registry::Registry,
};

/// One entry of one member's log with everything that proves it is there.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Receipt {
    /// Whose log.
    #[n(0)]
    pub member: MemberId,
    /// Which log.
    #[n(1)]
    pub log: LogName,
    /// Where in it.
    #[n(2)]
    pub index: u64,
    /// The entry's bytes.
    #[n(3)]
    pub entry: Bytes,
    /// Inclusion path, the leaf's sibling first.
    #[n(4)]
    pub path: Vec<Digest>,
    /// The signed checkpoint the path leads to.
    #[n(5)]
    pub checkpoint: SignedCheckpoint,
}

/// A receipt that was checked against the registry.
#[derive(Clone, Debug)]
pub struct Proven {
    /// Whose log.
    pub member: MemberId,
    /// Which log.
    pub log: LogName,
    /// Where in it.
    pub index: u64,
    /// The entry.
    pub entry: Entry,
    /// Its leaf hash.
    pub leaf: Digest,
    /// The checkpoint.
    pub checkpoint: Checkpoint,
}

impl Receipt {
    /// The receipt of one of the member's own durable entries under its newest checkpoint.
    pub fn build(view: &dyn View, member: &MemberId, log: LogName, index: u64) -> Result<Self, Fault> {
        Self::build_by(&Prover::new(log.as_str()), view, member, log, index)
    }

    /// As [`Receipt::build`], by a prover of the log that remembers what earlier receipts needed.
    pub fn build_by(
        prover: &Prover,
        view: &dyn View,
        member: &MemberId,
        log: LogName,
        index: u64,
    ) -> Result<Self, Fault> {
        let missing = || Fault(format!("entry {index} of `{log}` has no receipt yet"));
        let checkpoint = log::head(view, log.as_str())?.ok_or_else(missing)?;
        let entry = log::entry(view, log.as_str(), LeafIndex(index))?.ok_or_else(missing)?;
        let path = prover.inclusion(view, LeafIndex(index), &checkpoint)?;
        Ok(Self { member: member.clone(), log, index, entry: entry.into(), path, checkpoint })
    }

    /// The receipt of an entry that was sealed just now; `None` for another. It holds once that is durable.
    pub fn of(newest: &Newest, member: &MemberId, log: LogName, index: u64) -> Option<Self> {
        let (entry, path, checkpoint) = newest.proven(LeafIndex(index))?;
        let (entry, checkpoint) = (entry.to_vec().into(), checkpoint.clone());
        Some(Self { member: member.clone(), log, index, entry, path, checkpoint })
    }

    /// The proof alone, as a tlog-proof: for who has the entry, or may not read it.
    pub fn proof_file(&self) -> ProofFile {
        ProofFile {
            extra: None,
            index: LeafIndex(self.index),
            path: self.path.clone(),
            checkpoint: self.checkpoint.clone(),
        }
    }

    /// The proof alone, as a COSE receipt signed now with the owner's key; `None` while the log has one entry only.
    ///
    /// It signs a root that the checkpoint has signed before, so it says nothing new in any phase of a node.
    pub fn cose(&self, key: &SigningKey, now: Timestamp) -> Option<CoseReceipt> {
        let (path, checkpoint) = (self.path.clone(), self.checkpoint.clone());
        CoseReceipt::sign(key, self.member.as_str(), now, LeafIndex(self.index), path, checkpoint)
    }

    /// Checks entry, path and checkpoint signature.
    pub fn verify(&self, registry: &Registry) -> Result<Proven, Refusal> {
        let refuse = |why: String| {
            Refusal::new(
                Code::SignatureInvalid,
                format!("receipt for entry {} of `{}/{}`: {why}", self.index, self.member, self.log),
            )
        };
        let checkpoint = registry.verify_checkpoint(&self.member, self.log, &self.checkpoint)?;
        let leaf = leaf_hash(&self.entry);
        verify_inclusion(LeafIndex(self.index), checkpoint.size, &leaf, &checkpoint.root, &self.path)
            .map_err(|e| refuse(e.to_string()))?;
        let entry = Entry::from_bytes(&self.entry).map_err(|e| refuse(e.to_string()))?;
        Ok(Proven { member: self.member.clone(), log: self.log, index: self.index, entry, leaf, checkpoint })
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Receipt({}/{}#{})", self.member, self.log, self.index)
    }
}
