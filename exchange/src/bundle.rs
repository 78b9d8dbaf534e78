//! What an auditor takes away: consecutive entries of a log under one checkpoint, what only one of two logs has, and the
//! portable audit bundle. Each verifies with nothing but the registry.

use std::collections::BTreeSet;

use credit::{
    entry::{Entry, Fact},
    id::MemberId,
    question::{CLOCK_SKEW_MS_MAX, DEADLINE_MS_MAX},
};
use crypto::{
    Bytes, Digest, Timestamp,
    merkle::{leaf_hash, multi_proof, multi_root},
};
use ledger::checkpoint::{Checkpoint, SignedCheckpoint};
use minicbor::{Decode, Encode};

use crate::{
    artifact::{Certificate, CheckedCertificate, CheckedErasure, ErasureCertificate},
    logs::LogName,
    receipt::{Proven, Receipt},
    refusal::{Code, Refusal},
    registry::{Registry, SignedRegistry},
};

/// How far an asker's line may be from the answering member's by their clocks: the longest wait for an answer, both
/// clocks wrong by as much as is allowed, and a minute for a machine under load.
pub const APART_MS_MAX: u64 = DEADLINE_MS_MAX + 2 * CLOCK_SKEW_MS_MAX + 60_000;

/// Most entries in one run: with the longest entries of an access log (20 KiB) some 80 MB, the largest file that
/// is still moved by hand.
pub const RUN_ENTRIES_MAX: usize = 4_096;

/// Consecutive entries of one log, and what proves them under one checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Run {
    /// Whose log.
    #[n(0)]
    pub member: MemberId,
    /// Which log.
    #[n(1)]
    pub log: LogName,
    /// Index of the first entry.
    #[n(2)]
    pub first: u64,
    /// The entries, at least one.
    #[n(3)]
    pub entries: Vec<Bytes>,
    /// The other hashes that the root needs, in the order of a left-to-right descent.
    #[n(4)]
    pub proof: Vec<Digest>,
    /// The signed checkpoint, with its cosignatures.
    #[n(5)]
    pub checkpoint: SignedCheckpoint,
}

impl Run {
    /// The run `first..end` of a log whose leaf hashes are `leaves`, all of them; `entries` are those of the run.
    pub fn build(
        member: MemberId,
        log: LogName,
        first: u64,
        entries: Vec<Bytes>,
        leaves: &[Digest],
        checkpoint: SignedCheckpoint,
    ) -> Self {
        let start = usize::try_from(first).unwrap_or(usize::MAX);
        let opened: Vec<usize> = (start..start.saturating_add(entries.len())).collect();
        Self { member, log, first, proof: multi_proof(leaves, &opened), entries, checkpoint }
    }

    /// Checks the checkpoint, every entry under it, and that each names the one before it.
    pub fn verify(&self, registry: &Registry) -> Result<Vec<Proven>, Refusal> {
        let refuse = |why: &str| {
            let Self { member, log, first, .. } = self;
            Refusal::new(Code::SignatureInvalid, format!("entries of `{member}/{log}` from {first}: {why}"))
        };
        if self.entries.is_empty() || self.entries.len() > RUN_ENTRIES_MAX {
            return Err(refuse("not 1 to 4,096 of them"));
        }
        let key = registry.key_of(&self.member, self.log, &self.checkpoint)?;
        let checkpoint = self.checkpoint.verify(&key).map_err(|e| refuse(&e.to_string()))?;
        let size = usize::try_from(checkpoint.size.0).map_err(|_| refuse("too long a log"))?;
        let start = usize::try_from(self.first).ok().filter(|start| *start < size);
        let start = start.ok_or_else(|| refuse("beyond the checkpoint"))?;
        let leaves: Vec<(usize, Digest)> =
            self.entries.iter().enumerate().map(|(n, bytes)| (start + n, leaf_hash(bytes))).collect();
        if multi_root(size, &leaves, &self.proof) != Some(checkpoint.root) {
            return Err(refuse("they are not under the checkpoint's root"));
        }
        let mut proven: Vec<Proven> = Vec::with_capacity(leaves.len());
        for ((index, leaf), bytes) in leaves.into_iter().zip(&self.entries) {
            let entry = Entry::from_bytes(bytes).map_err(|e| refuse(&e.to_string()))?;
            if proven.last().is_some_and(|before| before.leaf != entry.prev) {
                return Err(refuse("one does not name the entry before it"));
            }
            let (member, log, index) = (self.member.clone(), self.log, index as u64);
            proven.push(Proven { member, log, index, entry, leaf, checkpoint: checkpoint.clone() });
        }
        Ok(proven)
    }
}

/// An access that one log has and the other has not, or has otherwise.
///
/// What follows from one that verifies: the one member's log holds the access; the other's holds no line that mirrors it
/// among all entries it dates within [`APART_MS_MAX`] of it. What does not follow: which of the two is wrong. The answer
/// that the asker keeps, or its lack, decides that.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Discrepancy {
    /// The access, as the one log has it.
    #[n(0)]
    pub entry: Receipt,
    /// The other log, around that time.
    #[n(1)]
    pub other: Run,
}

/// A discrepancy that was checked.
#[derive(Debug)]
pub struct CheckedDiscrepancy {
    /// The access.
    pub entry: Proven,
    /// The question it is about.
    pub question: Digest,
    /// Whose log does not mirror it.
    pub other: MemberId,
    /// Index in that log of a line about the same access that says something else.
    pub differs: Option<u64>,
    /// The entries looked at.
    pub looked_at: (u64, u64),
    /// Whether that log goes on for long enough: otherwise its line may come after the checkpoint.
    pub conclusive: bool,
}

impl Discrepancy {
    /// The entries of the other log that have to be shown for an access at `at`, given their times: first and end.
    pub fn range(times: &[Timestamp], at: Timestamp) -> (usize, usize) {
        let (from, to) = (at.0.saturating_sub(APART_MS_MAX), at.0.saturating_add(APART_MS_MAX));
        let first = times.iter().position(|t| t.0 >= from).unwrap_or(times.len()).saturating_sub(1);
        let last = times.iter().rposition(|t| t.0 <= to).map_or(0, |last| last + 1);
        (first, (last + 1).min(times.len()))
    }

    /// Checks both logs' words, that enough of the other is shown, and that it does not mirror the access.
    pub fn verify(&self, registry: &Registry) -> Result<CheckedDiscrepancy, Refusal> {
        let refuse = |why: &str| Refusal::new(Code::SignatureInvalid, format!("discrepancy: {why}"));
        let entry = self.entry.verify(registry)?;
        let shown = self.other.verify(registry)?;
        if entry.log != LogName::Access || self.other.log != LogName::Access {
            return Err(refuse("not of access logs"));
        }
        let other = &self.other.member;
        let (question, about) = match &entry.entry.fact {
            Fact::Received(received) => (received.question, &received.from),
            fact => fact.asked_by().map(|a| (a.question, &a.asker)).ok_or_else(|| refuse("no access"))?,
        };
        if about != other {
            return Err(refuse("the other log is not that of the other party"));
        }
        let (from, to) =
            (entry.entry.at.0.saturating_sub(APART_MS_MAX), entry.entry.at.0.saturating_add(APART_MS_MAX));
        let (Some(first), Some(last)) = (shown.first(), shown.last()) else {
            return Err(refuse("nothing shown"));
        };
        let ends = last.index + 1 == last.checkpoint.size.0;
        if (first.index > 0 && first.entry.at.0 >= from) || (!ends && last.entry.at.0 <= to) {
            return Err(refuse("too little of the other log is shown"));
        }
        let mut differs = None;
        for line in &shown {
            let mirrored = match (&entry.entry.fact, &line.entry.fact) {
                // The asker's line says where the member's is: it must be there, and the same.
                (Fact::Received(received), fact) => fact
                    .asked_by()
                    .filter(|a| a.question == question && a.asker == entry.member)
                    .map(|_| (received.index, received.leaf) == (line.index, line.leaf)),
                (_, Fact::Received(received)) if received.question == question => (received.from
                    == entry.member)
                    .then(|| (received.index, received.leaf) == (entry.index, entry.leaf)),
                _ => None,
            };
            match mirrored {
                Some(true) => return Err(refuse("the other log mirrors the access")),
                Some(false) => differs = Some(line.index),
                None => {}
            }
        }
        Ok(CheckedDiscrepancy {
            question,
            other: other.clone(),
            differs,
            looked_at: (first.index, last.index),
            conclusive: last.entry.at.0 > to,
            entry,
        })
    }
}

/// What an auditor hands on about one member (稽核包): who was who, the heads of its logs, a run of its access log, and
/// certificates. It names no subject and no value.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct AuditBundle {
    /// The registry; it pins the digests of catalog, policy and rule sets.
    #[n(0)]
    pub registry: SignedRegistry,
    /// The member.
    #[n(1)]
    pub member: MemberId,
    /// The newest checkpoint of each of its logs, with the cosignatures.
    #[n(2)]
    pub heads: Vec<SignedCheckpoint>,
    /// Entries of its access log.
    #[n(3)]
    pub access: Run,
    /// Propagation certificates of its changes.
    #[n(4)]
    pub certificates: Vec<Certificate>,
    /// Erasure certificates of its records.
    #[n(5)]
    pub erasures: Vec<ErasureCertificate>,
    /// When it was put together, by the auditor's clock.
    #[n(6)]
    pub at: Timestamp,
}

/// A bundle that was checked.
#[derive(Debug)]
pub struct CheckedBundle {
    /// The registry in it.
    pub registry: Registry,
    /// Each log's head: which log, the checkpoint, cosignatures found and needed.
    pub heads: Vec<(LogName, Checkpoint, (usize, usize))>,
    /// The entries.
    pub access: Vec<Proven>,
    /// Cosignatures of their checkpoint, found and needed.
    pub witnessed: (usize, usize),
    /// Propagation certificates.
    pub certificates: Vec<CheckedCertificate>,
    /// Erasure certificates.
    pub erasures: Vec<CheckedErasure>,
}

impl AuditBundle {
    /// Every checkpoint that the bundle rests on, with whose log it is of: of its logs' heads, its entries, and the entries that
    /// its certificates prove.
    pub fn checkpoints(&self) -> impl Iterator<Item = (&MemberId, &SignedCheckpoint)> {
        let own = self.heads.iter().chain([&self.access.checkpoint]).map(|note| (&self.member, note));
        let receipts = self.certificates.iter().flat_map(|c| c.acknowledged.iter().chain([&c.event]));
        let receipts = receipts.chain(self.erasures.iter().flat_map(|c| &c.entries));
        own.chain(receipts.map(|receipt| (&receipt.member, &receipt.checkpoint)))
    }

    /// Checks everything under the registry inside, which must be `trusted` where the reader has one of its own.
    ///
    /// Without one, what holds is as good as the governors named in the bundle: compare the registry's digest. The heads of
    /// the access and status logs must be there, and that of the records log where something in the bundle shows that it has
    /// an entry: who is a member has written into the first two. Nobody has signed that there are no other certificates, nor
    /// when it was put together; only a time before its newest entry is refused.
    pub fn verify(&self, trusted: Option<&Registry>) -> Result<CheckedBundle, Refusal> {
        let refuse = |why: String| Refusal::new(Code::SignatureInvalid, format!("audit bundle: {why}"));
        let registry = self.registry.accept(None)?;
        if trusted.is_some_and(|trusted| *trusted != registry) {
            return Err(refuse(format!(
                "its registry, version {}, is not the one trusted here",
                registry.version
            )));
        }
        let (mut heads, mut logs) = (Vec::new(), BTreeSet::new());
        for head in &self.heads {
            let found = registry.log_of(&head.claimed().origin).filter(|(owner, _)| *owner == self.member);
            let (_, log) = found.ok_or_else(|| refuse("a head is of another member's log".to_owned()))?;
            let key = registry.key_of(&self.member, log, head)?;
            let checkpoint = head.verify(&key).map_err(|e| refuse(format!("head of `{log}`: {e}")))?;
            if !logs.insert(log) {
                return Err(refuse(format!("two heads of `{log}`")));
            }
            heads.push((log, checkpoint, registry.witnessed(&self.member, head)?));
        }
        if self.access.member != self.member || self.access.log != LogName::Access {
            return Err(refuse("its entries are of another log".to_owned()));
        }
        let access = self.access.verify(&registry)?;
        let same = |head: &Checkpoint| access.iter().all(|e| e.checkpoint == *head);
        if heads.iter().any(|(log, head, _)| *log == LogName::Access && !same(head)) {
            return Err(refuse("its entries are under another head".to_owned()));
        }
        let discloses =
            |proven: &Proven| matches!(&proven.entry.fact, Fact::Disclosed(d) if !d.records.is_empty());
        let records = !self.erasures.is_empty() || access.iter().any(discloses);
        let needed = [(LogName::Access, true), (LogName::Status, true), (LogName::Records, records)];
        if let Some((log, _)) = needed.into_iter().find(|(log, needed)| *needed && !logs.contains(log)) {
            return Err(refuse(format!("the head of `{log}` is cut out")));
        }
        if access.iter().any(|proven| proven.entry.at > self.at.plus_ms(CLOCK_SKEW_MS_MAX)) {
            return Err(refuse("it is dated before its newest entry".to_owned()));
        }
        let certificates: Vec<CheckedCertificate> =
            self.certificates.iter().map(|c| c.verify(&registry)).collect::<Result<_, _>>()?;
        let erasures: Vec<CheckedErasure> =
            self.erasures.iter().map(|c| c.verify(&registry)).collect::<Result<_, _>>()?;
        let strange = certificates.iter().any(|c| c.event.member != self.member)
            || erasures.iter().any(|c| c.member != self.member);
        if strange {
            return Err(refuse("a certificate is about another member's records".to_owned()));
        }
        let witnessed = registry.witnessed(&self.member, &self.access.checkpoint)?;
        Ok(CheckedBundle { registry, heads, access, witnessed, certificates, erasures })
    }
}
