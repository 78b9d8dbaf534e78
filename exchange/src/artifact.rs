//! Files that leave a node and verify without it.

use std::collections::BTreeSet;

use credit::{
    binding::{GrantOrder, KeyBinding},
    entry::{Entry, Erased, Fact, StatusFact, Version},
    grant::Grant,
    id::{MemberId, RecordId},
    question::Question,
    repair::Deadline,
};
use crypto::{
    Bytes, Digest, Timestamp,
    label::Label,
    merkle::leaf_hash,
    sign::{Signed, Statement},
};
use ledger::{proof::verify_inclusion, tree::LeafIndex};
use minicbor::{Decode, Encode};

use crate::{
    accesses::AccessList,
    bundle::{AuditBundle, Discrepancy},
    certificate::RepairCertificate,
    context::Context,
    evidence::Evidence,
    logs::LogName,
    propagation::concerns_platforms,
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
    /// A collector's word about a subject's key.
    #[n(15)]
    Binding(#[n(0)] Signed<KeyBinding>),
    /// A subject's order about a grant.
    #[n(16)]
    Order(#[n(0)] Signed<GrantOrder>),
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
    /// That a record was erased.
    #[n(6)]
    Erasure(#[n(0)] ErasureCertificate),
    /// That a repair was granted.
    #[n(10)]
    Repair(#[n(0)] Box<RepairCertificate>),
    /// An access that only one of two logs has.
    #[n(11)]
    Discrepancy(#[n(0)] Box<Discrepancy>),
    /// What an auditor hands on about a member.
    #[n(12)]
    Bundle(#[n(0)] Box<AuditBundle>),
    /// What a member says about the accesses of a subject.
    #[n(13)]
    Accesses(#[n(0)] Signed<AccessList>),
}

/// Propagation certificate (传播证明): a change of standing, who has acknowledged it, who is still missing.
///
/// What follows from one that verifies: the authority's log holds the event; each member shown has written into its own log
/// that it acts on it; and the authority has signed who the recipients are, and that those without a receipt here have not
/// acknowledged. That no platform is left out is checked against the registry in force at the event, where the verifier has
/// that one. That no bank is left out is the authority's word: only its access log says who received the record.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Certificate {
    /// The event in the authority's status log.
    #[n(0)]
    pub event: Receipt,
    /// One acknowledgement per recipient that has sent it.
    #[n(1)]
    pub acknowledged: Vec<Receipt>,
    /// The authority's word about all recipients.
    #[n(2)]
    pub word: Signed<Propagation>,
    /// 32 random bytes: the salt of [`Propagation::about`], absent as that is.
    #[n(3)]
    pub salt: Option<Digest>,
}

/// Said and signed when the certificate is drawn up: to whom the event goes, and who of them has acknowledged it by then.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Propagation {
    /// Index of the event in the issuer's status log.
    #[n(0)]
    pub index: u64,
    /// Leaf hash of that entry.
    #[n(1)]
    pub leaf: Digest,
    /// Version of the registry in force at the event, as the issuer's log says.
    #[n(2)]
    pub registry: u64,
    /// Its digest.
    #[n(3)]
    pub registry_digest: Digest,
    /// Recipients that have acknowledged, ascending; each with a receipt in the certificate.
    #[n(4)]
    pub acknowledged: Vec<MemberId>,
    /// Recipients that have not, ascending.
    #[n(5)]
    pub missing: Vec<MemberId>,
    /// When this was said, by the authority's clock.
    #[n(6)]
    pub at: Timestamp,
    /// The last day for acknowledging, where the rules give one.
    #[n(7)]
    pub due: Option<Deadline>,
    /// The application was refused before it was accepted (不予受理).
    #[n(8)]
    #[cbor(default)]
    pub declined: bool,
    /// Commitment to subject, document number and item ([`About::commitment`](crate::certificate::About::commitment)),
    /// where they were given.
    #[n(9)]
    pub about: Option<Digest>,
}

/// What an authority knows of an event besides its entry, for its certificate.
#[derive(Clone, Copy, Debug, Default)]
pub struct Beside {
    /// The last day for acknowledging.
    pub due: Option<Deadline>,
    /// The application was refused before it was accepted.
    pub declined: bool,
    /// Commitment to whom and what it is about, and its salt.
    pub about: Option<(Digest, Digest)>,
}

impl Statement for Propagation {
    const LABEL: Label = Label::SignPropagation;
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
    /// Recipients that had not when it was drawn up.
    pub missing: Vec<MemberId>,
    /// When it was drawn up, by the authority's clock.
    pub at: Timestamp,
    /// Version of the registry in force at the event.
    pub registry: u64,
    /// Whether the verifier has that version, so that no platform of it is left out.
    pub platforms_checked: bool,
    /// The last day for acknowledging, where the rules give one.
    pub due: Option<Deadline>,
    /// The application was refused before it was accepted.
    pub declined: bool,
    /// Commitment to subject, document number and item, and its salt.
    pub about: Option<(Digest, Digest)>,
}

impl CheckedCertificate {
    /// Whether something done, or not done by then, is late.
    pub fn late(&self, at: Timestamp) -> bool {
        self.due.is_some_and(|due| at >= due.passed_at())
    }
}

impl Certificate {
    /// The certificate of an own status entry: signs who is to have it, and who has.
    pub fn draw_up(
        context: &Context,
        event: Receipt,
        acknowledged: Vec<Receipt>,
        mut missing: Vec<MemberId>,
        (registry, registry_digest): (u64, Digest),
        Beside { due, declined, about }: Beside,
        now: Timestamp,
    ) -> Self {
        let (index, leaf) = (event.index, leaf_hash(&event.entry));
        let mut told: Vec<MemberId> = acknowledged.iter().map(|r| r.member.clone()).collect();
        told.sort_unstable();
        missing.sort_unstable();
        let (about, salt) = about.unzip();
        let said = Propagation {
            index,
            leaf,
            registry,
            registry_digest,
            acknowledged: told,
            missing,
            at: now,
            due,
            declined,
            about,
        };
        Self { event, acknowledged, word: context.sign(now, &said), salt }
    }

    /// Checks the event, the authority's word about its recipients, every acknowledgement, that each speaks of this event,
    /// that they are exactly those of the word, and that no platform is left out where `registry` can tell.
    pub fn verify(&self, registry: &Registry) -> Result<CheckedCertificate, Refusal> {
        let refuse =
            |why: String| Refusal::new(Code::SignatureInvalid, format!("propagation certificate: {why}"));
        let event = self.event.verify(registry)?;
        let fact = status_fact(registry, &event)?;
        let word = registry.verify(&self.word)?;
        let said = word.get();
        if word.signed().issuer() != event.member.as_str()
            || (said.index, said.leaf) != (event.index, event.leaf)
        {
            return Err(refuse(
                "the word about its recipients is another member's, or about another entry".to_owned(),
            ));
        }
        // Without its salt it would fit any number.
        if said.about.is_some() != self.salt.is_some() {
            return Err(refuse("its salt was taken out or put in".to_owned()));
        }
        let recipients: BTreeSet<&MemberId> = said.acknowledged.iter().chain(&said.missing).collect();
        if recipients.len() != said.acknowledged.len() + said.missing.len() {
            return Err(refuse("a recipient is named twice".to_owned()));
        }
        let mut acknowledged: Vec<(MemberId, Timestamp)> = Vec::new();
        for receipt in &self.acknowledged {
            let proven = receipt.verify(registry)?;
            let member = &proven.member;
            let StatusFact::Acknowledged(ack) = status_fact(registry, &proven)? else {
                return Err(refuse(format!("entry of `{member}` is no acknowledgement")));
            };
            if ack.origin != event.member || ack.index != event.index || ack.leaf != event.leaf {
                return Err(refuse(format!("acknowledgement of `{member}` is about another entry")));
            }
            if !said.acknowledged.contains(member) {
                return Err(refuse(format!(
                    "`{member}` is not among those who are signed to have acknowledged"
                )));
            }
            if acknowledged.iter().any(|(known, _)| known == member) {
                return Err(refuse(format!("`{member}` acknowledges twice")));
            }
            acknowledged.push((proven.member, proven.entry.at));
        }
        let shown = |member: &&MemberId| acknowledged.iter().any(|(known, _)| known == *member);
        if let Some(gone) = said.acknowledged.iter().find(|member| !shown(member)) {
            return Err(refuse(format!("the acknowledgement of `{gone}` was taken out")));
        }
        let platforms_checked = said.registry == registry.version;
        if platforms_checked {
            if said.registry_digest != registry.digest() {
                return Err(refuse(format!("it names another registry version {}", said.registry)));
            }
            let mut must_hear = registry.must_hear(&event.member).filter(|_| concerns_platforms(&fact));
            if let Some(left_out) = must_hear.find(|m| !recipients.contains(&m.id)) {
                return Err(refuse(format!("`{}` must receive the entry and is no recipient", left_out.id)));
            }
        }
        Ok(CheckedCertificate {
            event,
            fact,
            acknowledged,
            missing: said.missing.clone(),
            at: said.at,
            registry: said.registry,
            platforms_checked,
            due: said.due,
            declined: said.declined,
            about: said.about.zip(self.salt),
        })
    }
}

/// Erasure certificate (删除证明).
///
/// What follows from one that verifies: the member's log says, under its signed checkpoint, that every version of
/// the record was erased, when and why; these are all versions the record had up to then, because each names the one it
/// amends; and the member has signed, later, that its key tree derives none of their keys and its store holds none of
/// their payloads. What does not follow: that no other copy exists. Of that there is no proof, only the member's word,
/// and the word stands here in a form that convicts it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ErasureCertificate {
    /// The `Erased` entries, ascending; one, unless the record had more than 1,000 versions.
    #[n(0)]
    pub entries: Vec<Receipt>,
    /// The versions they name, in the same order, under the checkpoint of the last receipt.
    #[n(1)]
    pub versions: Vec<VersionProof>,
    /// The member's word about what it holds now.
    #[n(2)]
    pub attestation: Signed<Attestation>,
}

/// One `Recorded` entry and its path; the index stands in the `Erased` entry.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct VersionProof {
    /// The entry's bytes.
    #[n(0)]
    pub entry: Bytes,
    /// Inclusion path, the leaf's sibling first.
    #[n(1)]
    pub path: Vec<Digest>,
}

/// Said and signed when the certificate is drawn up: the keys of all slots that these entries name cannot be derived from
/// the member's key tree, and its store has no payload of them.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Attestation {
    /// The record.
    #[n(0)]
    pub record: RecordId,
    /// Index and leaf hash of each `Erased` entry.
    #[n(1)]
    pub entries: Vec<(u64, Digest)>,
    /// Digest of the key tree at that time.
    #[n(2)]
    pub tree: Digest,
}

impl Statement for Attestation {
    const LABEL: Label = Label::SignErasure;
}

/// An erasure certificate that was checked.
#[derive(Debug)]
pub struct CheckedErasure {
    /// Whose log.
    pub member: MemberId,
    /// The record.
    pub record: RecordId,
    /// When it was erased, by the member's clock.
    pub at: Timestamp,
    /// Why.
    pub reason: String,
    /// Its versions, the newest last.
    pub versions: Vec<Version>,
    /// Digest of the key tree before and after the step that erased it.
    pub tree: (Digest, Digest),
    /// When the member signed its word, to the second.
    pub attested_at: Timestamp,
    /// Digest of the key tree then.
    pub tree_then: Digest,
}

impl ErasureCertificate {
    /// Checks every entry, every version, that they are one record's from its first version on, and the attestation.
    pub fn verify(&self, registry: &Registry) -> Result<CheckedErasure, Refusal> {
        let refuse = |why: &str| Refusal::new(Code::SignatureInvalid, format!("erasure certificate: {why}"));
        let mut proven = self.entries.iter().map(|r| r.verify(registry)).collect::<Result<Vec<_>, _>>()?;
        let Some(last) = proven.pop() else { return Err(refuse("it holds no entry")) };
        let said = erasure(&last).ok_or_else(|| refuse("an entry is no erasure"))?;
        let mut leaves = Vec::new();
        let mut versions: Vec<Version> = Vec::new();
        for entry in proven.iter().chain([&last]) {
            let erased = erasure(entry).ok_or_else(|| refuse("an entry is no erasure"))?;
            let same = entry.member == last.member
                && (erased.record, &erased.reason) == (said.record, &said.reason)
                && (erased.tree_before, erased.tree_after) == (said.tree_before, said.tree_after);
            if !same || leaves.last().is_some_and(|(index, _)| *index >= entry.index) {
                return Err(refuse("its entries are not of one erasure"));
            }
            if erased.versions.iter().any(|version| version.index >= entry.index) {
                return Err(refuse("a version is younger than its erasure"));
            }
            leaves.push((entry.index, entry.leaf));
            versions.extend(&erased.versions);
        }
        if versions.is_empty() || versions.len() != self.versions.len() {
            return Err(refuse("it does not prove as many versions as its entries name"));
        }
        let mut amends = None;
        for (version, proof) in versions.iter().zip(&self.versions) {
            let (index, leaf) = (LeafIndex(version.index), leaf_hash(&proof.entry));
            verify_inclusion(index, last.checkpoint.size, &leaf, &last.checkpoint.root, &proof.path)
                .map_err(|e| refuse(&format!("version at entry {index}: {e}")))?;
            let entry = Entry::from_bytes(&proof.entry).map_err(|e| refuse(&e.to_string()))?;
            let Fact::Recorded(recorded) = entry.fact else { return Err(refuse("a version is no record")) };
            if (recorded.record, recorded.slot) != (said.record, version.slot) {
                return Err(refuse("a version is another record's, or of another key"));
            }
            if recorded.supersedes != amends {
                return Err(refuse("a version is left out"));
            }
            amends = Some(version.index);
        }
        let word = registry.verify(&self.attestation)?;
        if word.signed().issuer() != last.member.as_str() {
            return Err(refuse("another member attests it"));
        }
        let Attestation { record, entries, tree } = word.get();
        if *record != said.record || *entries != leaves {
            return Err(refuse("the attestation is about another erasure"));
        }
        Ok(CheckedErasure {
            member: last.member.clone(),
            record: said.record,
            at: last.entry.at,
            reason: said.reason.clone(),
            versions,
            tree: (said.tree_before, said.tree_after),
            attested_at: self.attestation.issued_at(),
            tree_then: *tree,
        })
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
            Ok(registry.verify_logged(signed)?.into_inner())
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
