//! A federation in one process: its registry, approved by governors, and its members with their keys and disks.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use credit::{
    calendar::Calendar,
    catalog::Catalog,
    id::{MemberId, SourceId},
    policy::{Policy, Role},
    question::Question,
    record::NamingKeys,
    rules::RuleBook,
    subject::uscc_from_parts,
};
use crypto::{
    Digest, Timestamp,
    keytree::KeyTree,
    label::Label,
    seal::OpeningKey,
    secret::Secret,
    sign::{PublicKey, Seen, Signed, SigningKey},
};
use exchange::{
    answer::{self, Answer, AnswerNumber, Epoch, Plan, Provers},
    context::{Context, Identity},
    evidence::Doubt,
    limits::PAST_KEYS_MAX,
    logs::LogName,
    member::{Input, Member},
    read,
    refusal::{Fault, Refusal},
    registry::{Governor, MemberEntry, MemberRequest, PastKeys, Registry, SignedRegistry, Wrapped},
    step::Token,
    wire::Part,
};
use ledger::{checkpoint::SignedCheckpoint, store::memory::Image, witness::COMMITTEE_MAX};

use super::{
    AHEAD_MS_MAX, MEMBERS_MAX, Rng,
    disk::Disk,
    mutant::{Mutant, Mutated},
    reconcile::Peers,
    workload::Operation,
};

/// Labels of the first collecting members, in the order in which a federation takes them.
const REGIONS: [&str; 8] = ["sh", "js", "zj", "ah", "cn.sh", "yp.sh", "su.js", "nb.zj"];
/// The outlet.
const OUTLET: &str = "xyd";
/// The bank.
const BANK: &str = "bank-a";
/// Governors and how many of them must approve.
const GOVERNORS: [&str; 3] = ["governor-a", "governor-b", "governor-c"];
const THRESHOLD: u8 = 2;

/// Every collecting member's one department.
pub const SOURCE: &str = "transport";

/// Copies are brought up in this order after a restore: who received a record (access) must be known before the
/// record's changes of standing (status) are sent out again.
pub const CATCH_UP_ORDER: [LogName; 3] = [LogName::Records, LogName::Access, LogName::Status];

/// An outgoing call and what its answer is for.
#[derive(Clone, Debug)]
pub enum Call {
    /// A status entry pushed to its recipient.
    Deliver {
        /// Its index.
        event: u64,
    },
    /// A record pushed to who publishes it.
    Push,
    /// A record asked for again by who publishes it.
    PushAgain,
    /// An application to its authority.
    Forward {
        /// Its id at the counter.
        case: credit::id::CaseId,
    },
    /// A checkpoint to cosign.
    Witness {
        /// Of which own log.
        log: LogName,
        /// The checkpoint.
        note: SignedCheckpoint,
    },
    /// The heads a peer has seen.
    Heads,
    /// What a peer has made of a status log.
    Standings,
    /// A proof of two heads.
    Prove {
        /// Which heads.
        doubt: Doubt,
        /// How many members could not settle it.
        asked: usize,
    },
    /// Entries of a log.
    Pull {
        /// Whose.
        owner: MemberId,
        /// Which.
        log: LogName,
        /// First index wanted.
        from: u64,
        /// What parts have come so far.
        got: Vec<Vec<u8>>,
    },
    /// A question that this member asks.
    Ask {
        /// The question.
        question: Signed<Question>,
    },
    /// A question passed on.
    Part {
        /// The relay it belongs to.
        relay: u64,
    },
}

/// What a decided reply is for.
#[derive(Clone, Debug)]
pub enum Waiter {
    /// A peer's call.
    Peer {
        /// The peer.
        to: usize,
        /// Its call.
        call: u64,
        /// Digest of the question, when it is one.
        question: Option<Digest>,
    },
    /// A question to be passed on for a peer.
    Relay {
        /// The peer.
        to: usize,
        /// Its call.
        call: u64,
        /// The question.
        question: Signed<Question>,
    },
    /// The member's own operator.
    Operator(Operation),
    /// A reconciliation, by its number.
    Mend(u64),
}

/// A question on its way through the outlet.
#[derive(Clone, Debug)]
pub struct Relay {
    /// Who asked.
    pub to: usize,
    /// Its call.
    pub call: u64,
    /// Parts still to come.
    pub left: usize,
    /// Parts that have come.
    pub parts: Vec<Part>,
}

/// A start that is not finished: which calls are still out.
#[derive(Debug, Default)]
pub struct CatchUp {
    /// 0 to 2: own logs in [`CATCH_UP_ORDER`]; 3: the copies kept of peers' logs.
    pub stage: usize,
    /// Calls that have not come back.
    pub left: BTreeSet<u64>,
    /// Sizes that peers have proof of.
    pub seen: Vec<(LogName, u64)>,
    /// Own logs about which a mirror named in the registry has spoken.
    pub mirrored: BTreeSet<LogName>,
    /// Own entries that peers had, with the size of the log they had them of.
    pub found: Vec<(u64, Input)>,
    /// Copies of peers' logs that could not be brought up.
    pub missed: usize,
}

/// One member of the federation with everything around it.
pub struct Node {
    /// Its id.
    pub id: MemberId,
    /// Its role.
    pub role: Role,
    /// Who it is and under which rules.
    pub context: Context,
    /// Open what is sealed to it: the keys of every generation it has used, the present one first.
    pub opening: Vec<Arc<OpeningKey>>,
    /// What its keys come from.
    pub keys: Secret,
    /// Its record keys; kept apart from the disk, as the node keeps them.
    pub tree: KeyTree,
    /// Its disk.
    pub disk: Disk,
    /// How far its clock is ahead of the slowest one.
    pub ahead_ms: u64,
    /// The running member; absent while it is down.
    pub member: Option<Member>,
    /// Counts its starts.
    pub life: u64,
    /// Calls that are out.
    pub calls: BTreeMap<u64, (usize, Call)>,
    /// Replies that are awaited.
    pub waiting: BTreeMap<Token, Waiter>,
    /// Questions being passed on.
    pub relays: BTreeMap<u64, Relay>,
    /// Inputs that wait to share the next step.
    pub inbox: Vec<(Option<Token>, Input)>,
    /// The start that is under way.
    pub catch_up: Option<CatchUp>,
    /// What it knows of its peers and has under way with them.
    pub peers: Peers,
    /// It is away for days: nothing starts it before it comes back.
    pub away: bool,
    /// An older copy of the disk.
    pub backup: Option<Image>,
    /// The disk is an older copy: nothing is answered before peers have said what they have seen.
    pub restored: bool,
    next: u64,
}

impl Node {
    /// Opens the member from its disk as a process does at start, and destroys the keys that the log says are erased.
    pub fn open(&mut self) -> Result<(), Fault> {
        self.open_with(None)
    }

    /// As above, with a mistake in what the member sees of its disk.
    pub(super) fn open_with(&mut self, mutant: Option<Mutant>) -> Result<(), Fault> {
        self.disk = self.disk.reopened();
        self.use_keys();
        let view = Mutated::new(&self.disk, &self.id, self.restored, mutant);
        self.member = Some(Member::open(self.context.clone(), &view)?);
        self.life += 1;
        if mutant == Some(Mutant::KeepErasedKeys) {
            return Ok(());
        }
        for slot in read::erased_slots(&self.disk)? {
            self.tree.puncture(slot);
        }
        Ok(())
    }

    /// Takes up a registry. What is sealed to new keys of its own opens at once: they are made before the registry names
    /// them.
    pub fn registry(&mut self, registry: Arc<Registry>) {
        let past = registry.member(&self.id).map_or(0, |entry| entry.past.len());
        let open = |n| Arc::new(Keys::of(&self.keys, &self.id, n).open);
        self.opening = (0..=past).rev().map(open).collect();
        self.context.registry = registry;
    }

    /// Uses the keys that the registry names, as a node does at its start; one that runs goes on with those it has.
    fn use_keys(&mut self) {
        let past = self.context.registry.member(&self.id).map_or(0, |entry| entry.past.len());
        let keys = Keys::of(&self.keys, &self.id, past);
        (self.context.own.signing, self.context.own.witness) = (keys.sign, keys.witness);
    }

    /// Opens and seals the fields of a plan.
    pub fn seal(
        &self,
        plan: &Plan,
        seed: &Secret,
        number: AnswerNumber,
    ) -> Result<Result<Answer, Refusal>, Fault> {
        let key = |slot| self.tree.key(slot);
        match Epoch::begin(&self.context.registry, &self.id, &plan.asker, seed) {
            Ok(epoch) => {
                answer::seal(&self.disk, &Provers::default(), &self.context, &epoch, &key, plan, number)
            }
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    /// Ends the process: what is not on the disk is gone.
    pub fn down(&mut self) {
        self.member = None;
        self.calls.clear();
        self.waiting.clear();
        self.relays.clear();
        self.inbox.clear();
        self.catch_up = None;
        self.peers = Peers::default();
    }

    /// The same member once more, on a copy of its disk: what a member runs that shows two histories.
    pub fn twin(&self) -> Option<Self> {
        Some(Self {
            id: self.id.clone(),
            role: self.role,
            context: self.context.clone(),
            opening: self.opening.clone(),
            keys: self.keys.clone(),
            tree: KeyTree::from_plain(&self.tree.to_plain())?,
            disk: Disk::of(self.disk.image()),
            ahead_ms: self.ahead_ms,
            member: None,
            life: 0,
            calls: BTreeMap::new(),
            waiting: BTreeMap::new(),
            relays: BTreeMap::new(),
            inbox: Vec::new(),
            catch_up: None,
            peers: Peers::default(),
            away: false,
            backup: None,
            restored: false,
            next: 0,
        })
    }

    /// A number this node has not used before.
    pub fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// A token for a caller that waits.
    pub fn wait(&mut self, waiter: Waiter) -> Token {
        let token = Token(self.number());
        self.waiting.insert(token, waiter);
        token
    }

    /// Whether the registry names mirrors that could bring it back from an older copy.
    pub fn has_mirrors(&self) -> bool {
        self.context.registry.member(&self.id).is_ok_and(|m| !m.mirrors.is_empty())
    }
}

/// The members of a federation of `regions` collecting members, an outlet and a bank, with keys from `seed`.
pub fn build(seed: u64, regions: usize, now: Timestamp) -> Vec<Node> {
    let root = root(seed);
    let mut clocks = Rng::new(seed ^ 0x636c_6f63_6b00);
    let label = |at: usize| REGIONS.get(at).map_or_else(|| format!("d{at}.sh"), |name| (*name).to_owned());
    let mut ids: Vec<(MemberId, Role)> = (0..regions)
        .map(label)
        .map(|name| (id(&name), if name.contains('.') { Role::District } else { Role::Region }))
        .collect();
    ids.push((id(OUTLET), Role::Platform));
    ids.push((id(BANK), Role::Bank));
    let registry = Arc::new(registry(&root, &ids, now));
    let (catalog, policy, rules) = (Catalog::builtin(), Policy::builtin(), RuleBook::builtin());
    let (catalog, policy, rules) = (Arc::new(catalog), Arc::new(policy), Arc::new(rules));
    let calendar = Arc::new(Calendar::builtin());
    let mut node = |(id, role): (MemberId, Role)| {
        let secret = |what: &str| secret(&root, &id, what);
        let keys = Keys::of(&root, &id, 0);
        let entry = registry.members.iter().find(|m| m.stated.id == id);
        let record = entry
            .and_then(|m| m.record_key.as_ref())
            .and_then(|wrapped| wrapped.open(&keys.open, &id))
            .unwrap_or_else(|| secret("pepper"));
        let own = Identity {
            id: id.clone(),
            signing: keys.sign,
            witness: keys.witness,
            naming: NamingKeys { record, pepper: secret("pepper") },
            access: secret("access"),
        };
        let context = Context {
            own,
            registry: registry.clone(),
            catalog: catalog.clone(),
            policy: policy.clone(),
            rules: rules.clone(),
            calendar: calendar.clone(),
        };
        Node {
            tree: KeyTree::new(secret("tree")),
            id,
            role,
            context,
            opening: vec![Arc::new(keys.open)],
            keys: root.clone(),
            disk: Disk::default(),
            ahead_ms: if clocks.one_in(2) { 0 } else { clocks.below(AHEAD_MS_MAX + 1) },
            member: None,
            life: 0,
            calls: BTreeMap::new(),
            waiting: BTreeMap::new(),
            relays: BTreeMap::new(),
            inbox: Vec::new(),
            catch_up: None,
            peers: Peers::default(),
            away: false,
            backup: None,
            restored: false,
            next: 0,
        }
    };
    ids.into_iter().map(&mut node).collect()
}

/// The department of every collecting member.
pub fn source() -> SourceId {
    SourceId::parse(SOURCE).expect("a label")
}

/// The credit code of the deciding body of the `at`-th region.
pub fn body(at: usize) -> String {
    let serial = 31_u64.pow(7) * 29 + at as u64;
    uscc_from_parts("11", "310000", serial).expect("parts of the right shape").as_str().to_owned()
}

/// The credit code of a body of Shanghai that no member claims.
pub fn unclaimed_body() -> String {
    body(MEMBERS_MAX)
}

fn registry(root: &Secret, ids: &[(MemberId, Role)], now: Timestamp) -> Registry {
    let governor = |name: &str| SigningKey::from_seed(&secret(root, &id("governor"), name));
    let collecting: Vec<&MemberId> = ids.iter().filter(|(_, r)| r.collects()).map(|(id, _)| id).collect();
    let mut members: Vec<MemberEntry> = ids
        .iter()
        .map(|(own, role)| {
            // Each region is mirrored by the next one; with more than two regions also by the one after.
            let at = collecting.iter().position(|id| *id == own);
            let after = |n: usize| at.map(|at| collecting[(at + n) % collecting.len()].clone());
            let mut mirrors: Vec<MemberId> = [after(1), after(2)].into_iter().flatten().collect();
            mirrors.retain(|m| m != own);
            mirrors.dedup();
            let nobody = PublicKey([0; 32]);
            let stated = MemberRequest {
                id: own.clone(),
                role: *role,
                region: if *role == Role::Bank { String::new() } else { "310000".to_owned() },
                name: own.as_str().to_owned(),
                sign: nobody,
                tls: nobody,
                seal: nobody,
                quic: format!("{own}:4433"),
                http: String::new(),
                collector: matches!(role, Role::Bank | Role::Platform),
                bodies: at.map(body).into_iter().collect(),
                witness: nobody,
                system: None,
            };
            keyed(root, MemberEntry { stated, record_key: None, mirrors, suspended: false, past: Vec::new() })
        })
        .collect();
    members.sort_by(|a, b| a.stated.id.cmp(&b.stated.id));
    let witnesses = committee(&members);
    let registry = Registry {
        seen: Seen::default(),
        federation: "sim".to_owned(),
        version: 1,
        previous: Digest::ZERO,
        governors: GOVERNORS
            .iter()
            .map(|name| Governor {
                name: (*name).to_owned(),
                key: PublicKey(governor(name).verifying_key().to_bytes()),
            })
            .collect(),
        threshold: THRESHOLD,
        members,
        catalog: Catalog::builtin().digest(),
        policy: Policy::builtin().digest(),
        rules: RuleBook::builtin().digest(),
        issued_at: now,
        witnesses,
    };
    approved(root, &registry, None, now)
}

/// The next version of a registry: another address of one member, every other time another committee of witnesses, and
/// every third time new keys for a member.
pub fn successor(seed: u64, known: &Registry, now: Timestamp) -> Registry {
    let mut next = known.clone();
    (next.version, next.previous, next.issued_at) = (known.version + 1, known.digest(), now);
    let at = next.version as usize % next.members.len();
    if next.version.is_multiple_of(3) && next.members[at].past.len() < PAST_KEYS_MAX {
        let mut entry = next.members[at].clone();
        entry.past.push(PastKeys::of(&entry.stated, now.plus_ms(OVERLAP_MS)));
        next.members[at] = keyed(&root(seed), entry);
    }
    next.members[at].stated.http = format!("http://{}:{}", next.members[at].stated.id, 8000 + next.version);
    if next.version.is_multiple_of(2) {
        let all = committee(&next.members);
        next.witnesses =
            if next.witnesses.len() < all.len() { all } else { all[..all.len().div_ceil(2)].to_vec() };
    }
    approved(&root(seed), &next, Some(known), now)
}

/// How long replaced keys are good for what is new.
const OVERLAP_MS: u64 = 30 * 86_400_000;

/// The keys of one generation of a member.
struct Keys {
    sign: SigningKey,
    tls: SigningKey,
    witness: SigningKey,
    open: OpeningKey,
}

impl Keys {
    fn of(root: &Secret, member: &MemberId, generation: usize) -> Self {
        let secret = |what: &str| secret(root, member, &format!("{what}.{generation}"));
        let key = |what: &str| SigningKey::from_seed(&secret(what));
        Self {
            sign: key("sign"),
            tls: key("tls"),
            witness: key("witness"),
            open: OpeningKey::from_seed(&secret("seal")),
        }
    }
}

/// The entry with the keys of the generation after its past ones, and the record key wrapped to them.
fn keyed(root: &Secret, mut entry: MemberEntry) -> MemberEntry {
    let own = entry.stated.id.clone();
    let keys = Keys::of(root, &own, entry.past.len());
    let public = |key: &SigningKey| PublicKey(key.verifying_key().to_bytes());
    let stated = &mut entry.stated;
    (stated.sign, stated.tls, stated.witness) =
        (public(&keys.sign), public(&keys.tls), public(&keys.witness));
    stated.seal = keys.open.public();
    let record_key = secret(root, &id("federation"), "record");
    let seed = secret(root, &own, &format!("wrap.{}", entry.past.len()));
    entry.record_key =
        Wrapped::new(&record_key, &stated.seal, &own, &seed).filter(|_| stated.role != Role::Bank);
    entry
}

/// As many public platforms as a committee may have.
fn committee(members: &[MemberEntry]) -> Vec<MemberId> {
    let platforms = members.iter().filter(|m| m.stated.role.mirrors_status());
    platforms.map(|m| m.stated.id.clone()).take(COMMITTEE_MAX).collect()
}

fn approved(root: &Secret, registry: &Registry, known: Option<&Registry>, now: Timestamp) -> Registry {
    let mut signed = SignedRegistry::unsigned(registry);
    for name in &GOVERNORS[..usize::from(THRESHOLD)] {
        let key = SigningKey::from_seed(&secret(root, &id("governor"), name));
        signed.approve(name, &key, now).expect("a governor with its own key");
    }
    signed.accept(known).expect("as many approvals as the threshold asks for")
}

fn root(seed: u64) -> Secret {
    Secret::new(Digest::of_parts(&[b"federation", &seed.to_be_bytes()]).0)
}

fn secret(root: &Secret, id: &MemberId, what: &str) -> Secret {
    root.derive(Label::MemberSeed, format!("{id}/{what}").as_bytes())
}

fn id(label: &str) -> MemberId {
    MemberId::parse(label).expect("a label")
}
