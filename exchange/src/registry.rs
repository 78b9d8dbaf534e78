//! The registry: who is in the federation, with which keys and endpoints, signed by k of n governors.
//!
//! A member accepts only a successor of what it has: the next version, naming its predecessor's digest, approved by
//! enough of the governors *of the predecessor*. The first version is accepted because the operator hands it in.

use core::fmt;

use credit::{id::MemberId, policy::Role, rules::System};
use crypto::{
    Bytes, Digest, Timestamp, codec,
    label::Label,
    seal::{self, OpeningKey},
    secret::Secret,
    sign::{PublicKey, Seen, SignError, Signed, SigningKey, Statement, Verified, VerifyingKey},
};
use ledger::{
    checkpoint::{Checkpoint, SignedCheckpoint},
    note::NoteKey,
    witness::COMMITTEE_MAX,
};
use minicbor::{Decode, Encode};

use crate::{
    limits::{MEMBERS_MAX, REGISTRY_BYTES_MAX},
    logs::LogName,
    refusal::{Code, Refusal},
};

/// The federation's members and rules at one version.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Registry {
    /// Name of the federation, part of every log's origin.
    #[n(0)]
    pub federation: String,
    /// 1, 2, 3 …
    #[n(1)]
    pub version: u64,
    /// Digest of the version before; zero for version 1.
    #[n(2)]
    pub previous: Digest,
    /// Who may approve the next version.
    #[n(3)]
    pub governors: Vec<Governor>,
    /// How many of them must.
    #[n(4)]
    pub threshold: u8,
    /// The members, ascending by id.
    #[n(5)]
    pub members: Vec<MemberEntry>,
    /// Digest of the catalog in force.
    #[n(6)]
    pub catalog: Digest,
    /// Digest of the policy in force.
    #[n(7)]
    pub policy: Digest,
    /// Digest of the repair rule sets in force.
    #[n(8)]
    pub rules: Digest,
    /// When it was drawn up.
    #[n(9)]
    pub issued_at: Timestamp,
    /// The committee of witnesses, ascending; at most [`ledger::witness::COMMITTEE_MAX`].
    #[n(10)]
    pub witnesses: Vec<MemberId>,
    /// Signatures of its members that were good before: computed, not stated.
    #[cbor(skip)]
    pub seen: Seen,
}

/// One who may approve registry versions.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Governor {
    /// Short name, the issuer of its approvals.
    #[n(0)]
    pub name: String,
    /// Ed25519 key.
    #[n(1)]
    pub key: PublicKey,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct MemberEntry {
    /// Keys, endpoints and what it is, as the member itself stated them.
    #[n(0)]
    pub stated: MemberRequest,
    /// The federation record key, wrapped to the member; only for members that collect or take applications.
    #[n(1)]
    pub record_key: Option<Wrapped>,
    /// The members that keep a full copy of this member's logs.
    #[n(2)]
    pub mirrors: Vec<MemberId>,
    /// Refused on its next frame.
    #[n(3)]
    pub suspended: bool,
}

/// What a member states about itself when it asks for admission; signed by its own key as proof of possession.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct MemberRequest {
    /// Short label.
    #[n(0)]
    pub id: MemberId,
    /// What it is.
    #[n(1)]
    pub role: Role,
    /// GB/T 2260 code of its region; empty for a bank.
    #[n(2)]
    pub region: String,
    /// Name for people.
    #[n(3)]
    pub name: String,
    /// Ed25519 key for statements and checkpoints.
    #[n(4)]
    pub sign: PublicKey,
    /// Ed25519 key of its transport identity (RFC 7250 raw public key).
    #[n(5)]
    pub tls: PublicKey,
    /// X25519 key for answers sealed to it.
    #[n(6)]
    pub seal: PublicKey,
    /// `host:port` of its QUIC endpoint; empty when it runs no node.
    #[n(7)]
    pub quic: String,
    /// `host:port` under which its logs are published.
    #[n(8)]
    pub http: String,
    /// Whether it may collect subjects' letters and sign grants.
    #[n(9)]
    pub collector: bool,
    /// Credit codes of the deciding bodies whose records it is the authority for.
    #[n(10)]
    pub bodies: Vec<String>,
    /// Ed25519 key of its cosignatures: of its own, because a cosignature does not name its witness.
    #[n(11)]
    pub witness: PublicKey,
    /// Which of the two publicity systems its platform belongs to, for mutual recognition within its region.
    #[n(12)]
    pub system: Option<System>,
}

impl Statement for MemberRequest {
    const LABEL: Label = Label::SignRequest;
}

/// A secret wrapped to one member with HPKE.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Wrapped {
    /// Encapsulated key.
    #[n(0)]
    pub enc: Bytes,
    /// The sealed secret.
    #[n(1)]
    pub sealed: Bytes,
}

impl Wrapped {
    /// Wraps `secret` to `member`; `seed` must be fresh. `None` when the member's key is not a valid point.
    pub fn new(secret: &Secret, to: &PublicKey, member: &MemberId, seed: &Secret) -> Option<Self> {
        let bound = member.as_str().as_bytes();
        let (enc, sealed) = seal::wrap(to, Label::RecordKeyWrap, bound, seed, secret.expose()).ok()?;
        Some(Self { enc, sealed })
    }

    /// Unwraps it with the member's key.
    pub fn open(&self, key: &OpeningKey, member: &MemberId) -> Option<Secret> {
        let bound = member.as_str().as_bytes();
        let bytes = key.unwrap(Label::RecordKeyWrap, bound, &self.enc, &self.sealed).ok()?;
        let bytes: [u8; 32] = bytes.try_into().ok()?;
        Some(Secret::new(bytes))
    }
}

/// A governor's approval of one version.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Approval {
    /// The version.
    #[n(0)]
    pub version: u64,
    /// Its digest.
    #[n(1)]
    pub digest: Digest,
}

impl Statement for Approval {
    const LABEL: Label = Label::SignRegistry;
}

/// A registry with its approvals: a file, and a message.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct SignedRegistry {
    /// Canonical bytes of the [`Registry`].
    #[n(0)]
    pub body: Bytes,
    /// Approvals, in the order they were given.
    #[n(1)]
    pub approvals: Vec<Signed<Approval>>,
}

impl SignedRegistry {
    /// A registry nobody has approved yet.
    pub fn unsigned(registry: &Registry) -> Self {
        Self { body: codec::to_vec(registry).into(), approvals: Vec::new() }
    }

    /// Adds one governor's approval; approving twice changes nothing.
    pub fn approve(&mut self, name: &str, key: &SigningKey, now: Timestamp) -> Result<(), Refusal> {
        let registry = self.read()?;
        if !registry.governors.iter().any(|g| g.name == name && g.key.0 == key.verifying_key().to_bytes()) {
            return Err(Refusal::new(
                Code::RegistryInvalid,
                format!("`{name}` is not a governor with this key"),
            ));
        }
        if !self.approvals.iter().any(|a| a.issuer() == name) {
            let approval = Approval { version: registry.version, digest: registry.digest() };
            self.approvals.push(Signed::new(key, name, now, &approval));
        }
        Ok(())
    }

    /// The content without any check of approvals: for drafting and showing.
    pub fn read(&self) -> Result<Registry, Refusal> {
        let registry: Registry = codec::from_slice_max(&self.body, REGISTRY_BYTES_MAX)
            .map_err(|e| Refusal::new(Code::RegistryInvalid, e.to_string()))?;
        let refuse = |why: &str| Err(Refusal::new(Code::RegistryInvalid, why));
        let ascending = registry.members.windows(2).all(|w| w[0].stated.id < w[1].stated.id);
        if !ascending || registry.members.len() > MEMBERS_MAX {
            return refuse("members are not ascending, or more than 256");
        }
        let distinct = |mut keys: Vec<PublicKey>| {
            let all = keys.len();
            keys.sort_unstable();
            keys.dedup();
            keys.len() == all
        };
        if !distinct(registry.members.iter().map(|m| m.stated.tls).collect())
            || !distinct(registry.members.iter().map(|m| m.stated.sign).collect())
        {
            return refuse("two members share a key");
        }
        let witness_keys = registry.members.iter().filter(|m| registry.witnesses.contains(&m.stated.id));
        if !distinct(witness_keys.map(|m| m.stated.witness).collect()) {
            return refuse("two witnesses share a key");
        }
        if registry.witnesses.len() > COMMITTEE_MAX || !registry.witnesses.windows(2).all(|w| w[0] < w[1]) {
            return refuse("witnesses are not ascending, or more than 15");
        }
        // One governor with two names would be two of k.
        if !distinct(registry.governors.iter().map(|g| g.key).collect())
            || registry.threshold == 0
            || usize::from(registry.threshold) > registry.governors.len()
        {
            return refuse("the governors' keys are not distinct, or the threshold is out of their reach");
        }
        if registry.active().filter(|m| m.role == Role::Platform).count() > 1 {
            return refuse("there is more than one outlet");
        }
        Ok(registry)
    }

    /// Checks the approvals and that this is the successor of `known`, or any version when none is known yet.
    ///
    /// The known version itself is accepted again when its own governors approve it, as at a start.
    pub fn accept(&self, known: Option<&Registry>) -> Result<Registry, Refusal> {
        let refuse = |why: String| Refusal::new(Code::RegistryInvalid, why);
        let registry = self.read()?;
        let known = known.filter(|known| **known != registry);
        let judges = known.unwrap_or(&registry);
        if let Some(known) = known
            && (registry.federation != known.federation
                || Some(registry.version) != known.version.checked_add(1)
                || registry.previous != known.digest())
        {
            return Err(refuse(format!(
                "version {} does not follow version {}",
                registry.version, known.version
            )));
        }
        let mut approved: Vec<&str> = self
            .approvals
            .iter()
            .filter(|a| {
                let key = judges.governors.iter().find(|g| g.name == a.issuer()).map(|g| g.key);
                let verified =
                    key.and_then(|k| VerifyingKey::from_bytes(k.0)).and_then(|k| a.verify(&k).ok());
                verified.is_some_and(|v| {
                    v.get().version == registry.version && v.get().digest == registry.digest()
                })
            })
            .map(Signed::issuer)
            .collect();
        approved.sort_unstable();
        approved.dedup();
        if approved.len() < usize::from(judges.threshold) {
            return Err(refuse(format!("{} of {} approvals are there", approved.len(), judges.threshold)));
        }
        Ok(registry)
    }
}

impl Registry {
    /// Digest that the next version and every approval name.
    pub fn digest(&self) -> Digest {
        Digest::labelled(Label::ObjectDigest, &codec::to_vec(self))
    }

    /// The member of this id, unless it is suspended.
    pub fn member(&self, id: &MemberId) -> Result<&MemberEntry, Refusal> {
        let at = self.members.binary_search_by(|m| m.stated.id.cmp(id));
        at.ok()
            .map(|at| &self.members[at])
            .filter(|m| !m.suspended)
            .ok_or_else(|| Refusal::new(Code::MemberUnknown, format!("`{id}`")))
    }

    /// The members that are not suspended.
    pub fn active(&self) -> impl Iterator<Item = &MemberRequest> {
        self.members.iter().filter(|m| !m.suspended).map(|m| &m.stated)
    }

    /// The member with this transport key.
    pub fn by_tls(&self, key: &PublicKey) -> Option<&MemberRequest> {
        self.active().find(|m| m.tls == *key)
    }

    /// The outlet banks talk to (唯一数据出口): the one platform of the federation.
    pub fn outlet(&self) -> Option<&MemberRequest> {
        self.active().find(|m| m.role == Role::Platform)
    }

    /// The member that is the authority for records of a deciding body.
    pub fn authority_of(&self, body: &str) -> Option<&MemberId> {
        self.active().find(|m| m.bodies.iter().any(|b| b == body)).map(|m| &m.id)
    }

    /// Members that receive every status entry, besides `own`.
    pub fn status_peers<'a>(&'a self, own: &'a MemberId) -> impl Iterator<Item = &'a MemberRequest> {
        self.active().filter(move |m| m.role.mirrors_status() && m.id != *own)
    }

    /// Whether `mirror` keeps a copy of `owner`'s `log`: status logs go to every public platform, the others to the
    /// mirrors that the registry names.
    pub fn keeps_copy(&self, mirror: &MemberId, owner: &MemberId, log: LogName) -> bool {
        let named = self.member(owner).is_ok_and(|m| m.mirrors.contains(mirror));
        let public = self.member(mirror).is_ok_and(|m| m.stated.role.mirrors_status());
        mirror != owner && (named || (log == LogName::Status && public))
    }

    /// The signing key of a member.
    pub fn signing_key(&self, id: &MemberId) -> Result<VerifyingKey, Refusal> {
        let key = self.member(id)?.stated.sign;
        self.seen
            .key(key.0)
            .ok_or_else(|| Refusal::new(Code::MemberUnknown, format!("`{id}`: key is no point")))
    }

    /// The key under which checkpoints of a member's log verify.
    pub fn note_key(&self, id: &MemberId, log: LogName) -> Result<NoteKey, Refusal> {
        Ok(log.note_key(&self.federation, id, self.signing_key(id)?))
    }

    /// As [`Registry::note_key`], for a suspended member too: suspension takes back nothing that it has signed.
    pub fn past_note_key(&self, id: &MemberId, log: LogName) -> Result<NoteKey, Refusal> {
        let unknown = || Refusal::new(Code::MemberUnknown, format!("`{id}`"));
        let entry = self.members.iter().find(|m| m.stated.id == *id).ok_or_else(unknown)?;
        let key = self.seen.key(entry.stated.sign.0).ok_or_else(unknown)?;
        Ok(log.note_key(&self.federation, id, key))
    }

    /// Whose log has this origin, and which; the owner need not be a member.
    pub fn log_of(&self, origin: &str) -> Option<(MemberId, LogName)> {
        let rest =
            origin.strip_prefix("xinqiao/")?.strip_prefix(self.federation.as_str())?.strip_prefix('/')?;
        let (member, log) = rest.split_once('/')?;
        Some((MemberId::parse(member)?, LogName::parse(log)?))
    }

    /// Checks a statement against its issuer's registered key.
    pub fn verify<T: Statement>(&self, signed: &Signed<T>) -> Result<Verified<T>, Refusal> {
        self.verify_by(signed, |key| signed.verify(key))
    }

    /// As [`Registry::verify`], for statements that come again and again.
    pub fn verify_seen<T: Statement>(&self, signed: &Signed<T>) -> Result<Verified<T>, Refusal> {
        self.verify_by(signed, |key| signed.verify_seen(key, &self.seen))
    }

    fn verify_by<T>(
        &self,
        signed: &Signed<T>,
        verify: impl FnOnce(&VerifyingKey) -> Result<Verified<T>, SignError>,
    ) -> Result<Verified<T>, Refusal> {
        let issuer = MemberId::parse(signed.issuer())
            .ok_or_else(|| Refusal::new(Code::SignatureInvalid, "issuer is not a member id"))?;
        verify(&self.signing_key(&issuer)?)
            .map_err(|e| Refusal::new(Code::SignatureInvalid, format!("statement of `{issuer}`: {e}")))
    }

    /// Checks the checkpoint of a member's log against the member's registered key.
    pub fn verify_checkpoint(
        &self,
        owner: &MemberId,
        log: LogName,
        note: &SignedCheckpoint,
    ) -> Result<Checkpoint, Refusal> {
        note.verify_seen(&self.note_key(owner, log)?, &self.seen)
            .map_err(|e| Refusal::new(Code::SignatureInvalid, format!("checkpoint of `{owner}/{log}`: {e}")))
    }
}

impl fmt::Display for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} version {} with {} members", self.federation, self.version, self.members.len())
    }
}
