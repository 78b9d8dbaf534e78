//! The registry: who is in the federation, with which keys and endpoints, signed by k of n governors.
//!
//! A member accepts only a successor of what it has: the next version, naming its predecessor's digest, approved by
//! enough of the governors *of the predecessor*. The first version is accepted because the operator hands it in.

use core::fmt;

use credit::{
    binding::{GrantOrder, KeyBinding, Signer},
    grant::Grant,
    id::MemberId,
    policy::Role,
    rules::System,
};
use crypto::{
    Bytes, Digest, Timestamp, codec,
    label::Label,
    seal::{self, OpeningKey},
    secret::Secret,
    sign::{KeyId, PublicKey, Seen, SignError, Signed, SigningKey, Statement, Verified, VerifyingKey},
};
use ledger::{
    checkpoint::{Checkpoint, SignedCheckpoint},
    note::NoteKey,
    witness::COMMITTEE_MAX,
};
use minicbor::{Decode, Encode};

use crate::{
    limits::{MEMBERS_MAX, PAST_KEYS_MAX, REGISTRY_BYTES_MAX},
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
    /// The keys it had before, the oldest first; at most [`PAST_KEYS_MAX`].
    #[n(4)]
    pub past: Vec<PastKeys>,
}

/// Keys that a member had before. What its logs hold under them stays as good as it was: a checkpoint names its key and
/// a log its entries, and neither changes afterwards.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PastKeys {
    /// Signed statements and checkpoints.
    #[n(0)]
    pub sign: PublicKey,
    /// Its transport identity.
    #[n(1)]
    pub tls: PublicKey,
    /// Its cosignatures.
    #[n(2)]
    pub witness: PublicKey,
    /// Until when they are good for what is new: connections, questions, statements outside a log, cosignatures. The member
    /// goes over to its new keys before; keys that somebody else has end at once.
    #[n(3)]
    pub until: Timestamp,
}

impl PastKeys {
    /// The present keys of a member that is to have others, good until then.
    pub fn of(stated: &MemberRequest, until: Timestamp) -> Self {
        Self { sign: stated.sign, tls: stated.tls, witness: stated.witness, until }
    }
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

/// A member's request for new keys: its request with them, signed by the new signing key, inside a statement by the one
/// in force. So neither who only has the old keys nor who only has a copy of the request can change a member's keys.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Rotation {
    /// The request with the new keys.
    #[n(0)]
    pub request: Signed<MemberRequest>,
}

impl Statement for Rotation {
    const LABEL: Label = Label::SignRotation;
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
        if registry.members.iter().any(|m| m.past.len() > PAST_KEYS_MAX) {
            return refuse("a member has had more than 15 generations of keys");
        }
        let distinct = |mut keys: Vec<PublicKey>| {
            let all = keys.len();
            keys.sort_unstable();
            keys.dedup();
            keys.len() == all
        };
        // Past ones too: whose a signature or a connection is must be certain at any time.
        type Which = (fn(&MemberRequest) -> PublicKey, fn(&PastKeys) -> PublicKey);
        let all = |(now, before): Which, of: &dyn Fn(&MemberEntry) -> bool| {
            let members = registry.members.iter().filter(|m| of(m));
            members.flat_map(|m| core::iter::once(now(&m.stated)).chain(m.past.iter().map(before))).collect()
        };
        let witnesses = |m: &MemberEntry| registry.witnesses.contains(&m.stated.id);
        if !distinct(all((|m| m.tls, |p| p.tls), &|_| true))
            || !distinct(all((|m| m.sign, |p| p.sign), &|_| true))
        {
            return refuse("two members share a key, or one comes again that was replaced");
        }
        if !distinct(all((|m| m.witness, |p| p.witness), &witnesses)) {
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

    /// The member with this transport key, or with one that it may still use.
    pub fn by_tls(&self, key: &PublicKey, now: Timestamp) -> Option<&MemberRequest> {
        let has =
            |m: &&MemberEntry| m.stated.tls == *key || m.past.iter().any(|p| p.tls == *key && now <= p.until);
        self.members.iter().filter(|m| !m.suspended).find(has).map(|m| &m.stated)
    }

    /// The transport keys of which a member at the other end must prove one.
    pub fn tls_keys(&self, id: &MemberId, now: Timestamp) -> Result<Vec<PublicKey>, Refusal> {
        let entry = self.member(id)?;
        let past = entry.past.iter().filter(|p| now <= p.until).map(|p| p.tls);
        Ok(core::iter::once(entry.stated.tls).chain(past).collect())
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

    /// Of those the ones that can be told: every status entry of `own` that concerns others is delivered to each.
    pub fn must_hear<'a>(&'a self, own: &'a MemberId) -> impl Iterator<Item = &'a MemberRequest> {
        self.status_peers(own).filter(|m| !m.quic.is_empty())
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
        self.point(id, self.member(id)?.stated.sign)
    }

    fn point(&self, id: &MemberId, key: PublicKey) -> Result<VerifyingKey, Refusal> {
        let no_point = || Refusal::new(Code::MemberUnknown, format!("`{id}`: key is no point"));
        self.seen.key(key.0).ok_or_else(no_point)
    }

    /// The key under which a member signs the checkpoints of a log now.
    pub fn note_key(&self, id: &MemberId, log: LogName) -> Result<NoteKey, Refusal> {
        Ok(log.note_key(&self.federation, id, self.signing_key(id)?))
    }

    /// Every key under which checkpoints of a member's log verify, the present one first.
    pub fn note_keys(&self, id: &MemberId, log: LogName) -> Result<Vec<NoteKey>, Refusal> {
        self.keys_of_log(self.member(id)?, log)
    }

    fn keys_of_log(&self, entry: &MemberEntry, log: LogName) -> Result<Vec<NoteKey>, Refusal> {
        let id = &entry.stated.id;
        let keys = core::iter::once(entry.stated.sign).chain(entry.past.iter().rev().map(|p| p.sign));
        keys.map(|key| Ok(log.note_key(&self.federation, id, self.point(id, key)?))).collect()
    }

    /// The key under which this checkpoint of a member's log is to verify: the present one, or a past one that has signed
    /// it.
    pub fn key_of(&self, id: &MemberId, log: LogName, note: &SignedCheckpoint) -> Result<NoteKey, Refusal> {
        Ok(signer(self.note_keys(id, log)?, note))
    }

    /// As [`Registry::key_of`], for a checkpoint that is to be the newest: a past key may have signed it only as long
    /// as it is good for what is new.
    pub fn key_of_new(
        &self,
        id: &MemberId,
        log: LogName,
        note: &SignedCheckpoint,
        now: Timestamp,
    ) -> Result<NoteKey, Refusal> {
        let key = self.key_of(id, log, note)?;
        let past = self.member(id)?.past.iter().find(|p| p.sign.0 == key.key.to_bytes());
        if past.is_some_and(|p| now > p.until) { self.note_key(id, log) } else { Ok(key) }
    }

    /// As [`Registry::key_of`], for a suspended member too: suspension takes back nothing that it has signed.
    pub fn past_key_of(
        &self,
        id: &MemberId,
        log: LogName,
        note: &SignedCheckpoint,
    ) -> Result<NoteKey, Refusal> {
        let unknown = || Refusal::new(Code::MemberUnknown, format!("`{id}`"));
        let entry = self.members.iter().find(|m| m.stated.id == *id).ok_or_else(unknown)?;
        Ok(signer(self.keys_of_log(entry, log)?, note))
    }

    /// Whose log has this origin, and which; the owner need not be a member.
    pub fn log_of(&self, origin: &str) -> Option<(MemberId, LogName)> {
        let rest =
            origin.strip_prefix("xinqiao/")?.strip_prefix(self.federation.as_str())?.strip_prefix('/')?;
        let (member, log) = rest.split_once('/')?;
        Some((MemberId::parse(member)?, LogName::parse(log)?))
    }

    /// Checks a statement against its issuer's registered key; one that is dated before the key's end also against a past
    /// key.
    pub fn verify<T: Statement>(&self, signed: &Signed<T>) -> Result<Verified<T>, Refusal> {
        let dated = |past: &PastKeys| signed.issued_at() <= past.until;
        self.verify_by(signed, dated, |key| signed.verify(key))
    }

    /// As [`Registry::verify`], for statements that come again and again.
    pub fn verify_seen<T: Statement>(&self, signed: &Signed<T>) -> Result<Verified<T>, Refusal> {
        let dated = |past: &PastKeys| signed.issued_at() <= past.until;
        self.verify_by(signed, dated, |key| signed.verify_seen(key, &self.seen))
    }

    /// As [`Registry::verify`], for a statement that is made now: whoever has an old key can put an old date on it.
    pub fn verify_new<T: Statement>(
        &self,
        signed: &Signed<T>,
        now: Timestamp,
    ) -> Result<Verified<T>, Refusal> {
        self.verify_by(signed, |past| now <= past.until, |key| signed.verify(key))
    }

    /// As [`Registry::verify`], for a statement in an entry of its issuer's own log: the checkpoint says that it stands
    /// there, so any key that the issuer has had will do.
    pub fn verify_logged<T: Statement>(&self, signed: &Signed<T>) -> Result<Verified<T>, Refusal> {
        self.verify_by(signed, |_| true, |key| signed.verify(key))
    }

    /// Checks a grant: signed by its collector, or by its subject with a key that the collector vouches for.
    ///
    /// What a subject signs lies within the time of its key, so that the end of the one is the end of the other. Nobody may
    /// have looked at its words before it is asked on, so every member does.
    /// Errors: `member.unknown`: the collector is not in the registry; `grant.invalid`: its words are not sound;
    /// `signature.invalid`: anything else, and what.
    pub fn verify_grant(&self, signed: &Signed<Grant>) -> Result<Verified<Grant>, Refusal> {
        let grant = self.verify_signer(signed)?;
        match grant.get().malformed() {
            Some(why) => Err(Refusal::new(Code::GrantInvalid, format!("grant: {why}"))),
            None => Ok(grant),
        }
    }

    fn verify_signer(&self, signed: &Signed<Grant>) -> Result<Verified<Grant>, Refusal> {
        let refuse = |why: &str| Refusal::new(Code::SignatureInvalid, format!("grant: {why}"));
        let Some(Signer::Subject(collector)) = Signer::of(signed.issuer()) else {
            let grant = self.verify_seen(signed)?;
            let text = grant.get();
            return match (&text.binding, &text.letter) {
                (None, Some(_)) => Ok(grant),
                _ => Err(refuse("its collector has signed it, and it names no letter, or a subject's key")),
            };
        };
        signed.verify_by(&self.seen, |grant: &Grant| {
            let binding = grant.binding.as_ref().ok_or_else(|| refuse("it names no key of its subject"))?;
            let (binding, key) = self.vouched(&collector, binding)?;
            if grant.collector != collector {
                return Err(refuse("its issuer names another collector"));
            }
            if grant.subject != binding.subject {
                return Err(refuse("the key is another subject's"));
            }
            if grant.not_before < binding.not_before || grant.not_after > binding.not_after {
                return Err(refuse(
                    "it is valid at a time for which its collector does not vouch for the key",
                ));
            }
            Ok(key)
        })
    }

    /// Checks a subject's order about a grant: signed with the key that has signed the grant in it.
    ///
    /// Errors: those of [`Registry::verify_grant`]; `signature.invalid`: the grant is a collector's, or another key's.
    pub fn verify_order(&self, signed: &Signed<GrantOrder>) -> Result<Verified<GrantOrder>, Refusal> {
        let refuse = |why: &str| Refusal::new(Code::SignatureInvalid, format!("order: {why}"));
        signed.verify_by(&self.seen, |order: &GrantOrder| {
            let grant = self.verify_grant(&order.grant)?;
            let text = grant.get();
            let binding = text.binding.as_ref().filter(|_| order.grant.issuer() == signed.issuer());
            let binding = binding.ok_or_else(|| refuse("the grant in it is not its issuer's"))?;
            Ok(self.vouched(&text.collector, binding)?.1)
        })
    }

    /// Until when the key of its issuer that has signed this was good; `None` for one that is in force.
    pub fn replaced<T>(&self, signed: &Signed<T>) -> Option<Timestamp>
    where
        T: Statement,
    {
        let entry = self.member(&MemberId::parse(signed.issuer())?).ok()?;
        entry.past.iter().find(|p| KeyId::of(&p.sign.0) == signed.key_id()).map(|p| p.until)
    }

    /// A subject's key, by the word of this collector.
    fn vouched(
        &self,
        collector: &MemberId,
        binding: &Signed<KeyBinding>,
    ) -> Result<(KeyBinding, VerifyingKey), Refusal> {
        let refuse = |why: &str| Refusal::new(Code::SignatureInvalid, format!("key binding: {why}"));
        if binding.issuer() != collector.as_str() {
            return Err(refuse("it is another collector's"));
        }
        let text = self.verify_seen(binding)?.into_inner();
        let key = self.seen.key(text.key.0).ok_or_else(|| refuse("the key is no point"))?;
        Ok((text, key))
    }

    fn verify_by<T>(
        &self,
        signed: &Signed<T>,
        good: impl FnOnce(&PastKeys) -> bool,
        verify: impl FnOnce(&VerifyingKey) -> Result<Verified<T>, SignError>,
    ) -> Result<Verified<T>, Refusal> {
        let refuse = |why: String| Refusal::new(Code::SignatureInvalid, why);
        let issuer =
            MemberId::parse(signed.issuer()).ok_or_else(|| refuse("issuer is not a member id".to_owned()))?;
        let entry = self.member(&issuer)?;
        let past = entry.past.iter().find(|p| KeyId::of(&p.sign.0) == signed.key_id());
        let key = match past {
            Some(past) if !good(past) => {
                let ended = past.until.rfc3339();
                return Err(refuse(format!(
                    "statement of `{issuer}`: its key was replaced, and ended {ended}"
                )));
            }
            Some(past) => past.sign,
            None => entry.stated.sign,
        };
        verify(&self.point(&issuer, key)?).map_err(|e| refuse(format!("statement of `{issuer}`: {e}")))
    }

    /// Checks the checkpoint of a member's log against the member's registered keys.
    pub fn verify_checkpoint(
        &self,
        owner: &MemberId,
        log: LogName,
        note: &SignedCheckpoint,
    ) -> Result<Checkpoint, Refusal> {
        note.verify_seen(&self.key_of(owner, log, note)?, &self.seen)
            .map_err(|e| Refusal::new(Code::SignatureInvalid, format!("checkpoint of `{owner}/{log}`: {e}")))
    }
}

/// The first of `keys` that has a line in the note, else the first.
fn signer(mut keys: Vec<NoteKey>, note: &SignedCheckpoint) -> NoteKey {
    let lines = |key: &NoteKey| note.note().is_ok_and(|note| note.only(key, None).is_some());
    let at = if keys.len() > 1 { keys.iter().position(lines).unwrap_or(0) } else { 0 };
    keys.swap_remove(at)
}

impl fmt::Display for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} version {} with {} members", self.federation, self.version, self.members.len())
    }
}
