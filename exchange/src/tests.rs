//! A small federation for unit tests: real members over stores in memory, and an authority that writes its status log
//! directly.
#![allow(clippy::unwrap_used, reason = "a test; what fails here fails the test")]

use std::{collections::BTreeMap, sync::Arc};

use credit::{
    calendar::Calendar,
    catalog::Catalog,
    entry::{Changed, Entry, Fact, StatusFact},
    id::{MemberId, RecordId},
    policy::{Policy, Role},
    record::NamingKeys,
    rules::RuleBook,
    status::Change,
};
use crypto::{
    Digest, Timestamp,
    secret::Secret,
    sign::{PublicKey, Seen, SigningKey},
};
use ledger::{
    log::{self, Log},
    store::{Batch, Overlay, Store, memory::MemoryStore},
    tree::LeafIndex,
};

use crate::{
    context::{Context, Identity},
    logs::LogName,
    member::{Input, Member},
    project,
    receipt::Receipt,
    registry::{MemberEntry, MemberRequest, Registry},
    step::{Effect, Token},
    sync::Pulled,
    tables::Told,
    turn::Turn,
};

/// The authority of every record here.
pub(crate) const AUTHORITY: &str = "m000";

pub(crate) fn id(text: &str) -> MemberId {
    MemberId::parse(text).unwrap()
}

/// The id of the `n`-th record, spread like a keyed hash.
pub(crate) fn record(n: u64) -> RecordId {
    RecordId(Digest::of(&n.to_be_bytes()).0)
}

/// That a record's standing was changed on some ground, and nothing else.
pub(crate) fn changed(record: RecordId, change: Change) -> StatusFact {
    let rule = "a ground".into();
    StatusFact::Changed(Changed { record, change, case: None, rule, paper: None, clerk: None, act: None })
}

fn secret(what: u8, n: u16) -> Secret {
    let mut seed = [what; 32];
    seed[..2].copy_from_slice(&n.to_be_bytes());
    Secret::new(seed)
}

/// Contexts of members `m000`, `m001` and so on: all regions, but the last, which is a bank.
pub(crate) fn contexts(members: u16) -> Vec<Context> {
    let public = |what, n| PublicKey(SigningKey::from_seed(&secret(what, n)).verifying_key().to_bytes());
    let stated = |n: u16| MemberRequest {
        id: id(&format!("m{n:03}")),
        role: if n + 1 == members { Role::Bank } else { Role::Region },
        region: "310000".into(),
        name: format!("member {n}"),
        sign: public(1, n),
        tls: public(2, n),
        seal: public(3, n),
        quic: format!("m{n}.example:1"),
        http: String::new(),
        collector: false,
        bodies: Vec::new(),
        witness: public(4, n),
        system: None,
    };
    let entry = |n| MemberEntry {
        stated: stated(n),
        record_key: None,
        mirrors: Vec::new(),
        suspended: false,
        past: Vec::new(),
    };
    let registry = Arc::new(Registry {
        seen: Seen::default(),
        federation: "unit".into(),
        version: 1,
        previous: Digest::ZERO,
        governors: Vec::new(),
        threshold: 0,
        members: (0..members).map(entry).collect(),
        catalog: Digest::ZERO,
        policy: Digest::ZERO,
        rules: Digest::ZERO,
        issued_at: Timestamp(0),
        witnesses: Vec::new(),
    });
    let (catalog, policy) = (Arc::new(Catalog::builtin()), Arc::new(Policy::builtin()));
    let (rules, calendar) = (Arc::new(RuleBook::builtin()), Arc::new(Calendar::builtin()));
    let context = |n| Context {
        own: Identity {
            id: id(&format!("m{n:03}")),
            signing: SigningKey::from_seed(&secret(1, n)),
            witness: SigningKey::from_seed(&secret(4, n)),
            naming: NamingKeys { record: secret(5, 0), pepper: secret(6, n) },
            access: secret(7, n),
        },
        registry: registry.clone(),
        catalog: catalog.clone(),
        policy: policy.clone(),
        rules: rules.clone(),
        calendar: calendar.clone(),
    };
    (0..members).map(context).collect()
}

/// The authority: its status log, and the standings it has made of it.
pub(crate) struct Authority {
    pub(crate) context: Context,
    pub(crate) store: MemoryStore,
    log: Log,
    pub(crate) now: u64,
}

impl Authority {
    pub(crate) fn new(context: Context) -> Self {
        let store = MemoryStore::default();
        let origin = LogName::Status.origin("unit", &context.own.id);
        let log = Log::open(LogName::Status.as_str(), &origin, &store).unwrap();
        Self { context, store, log, now: 1_000 }
    }

    /// Decides and signs; the index of the first entry.
    pub(crate) fn decide(&mut self, changes: impl IntoIterator<Item = (RecordId, Change)>) -> u64 {
        let first = self.log.next_index().0;
        let kept = Overlay::new(&self.store);
        let mut turn = Turn::new(Timestamp(self.now), &kept, BTreeMap::new());
        for (record, change) in changes {
            self.now += 1_000;
            let at = Timestamp(self.now);
            let fact = changed(record, change);
            let signed = self.context.sign(at, &fact);
            let entry = Entry { prev: self.log.last_leaf(), at, fact: Fact::Status(signed) };
            let index = self.log.append(entry.to_bytes()).unwrap().0;
            project::status(&self.context, &mut turn, &self.context.own.id, &fact, Told { index, at })
                .unwrap();
        }
        let mut batch: Batch = turn.finish().rows;
        let mut sealed = Batch::default();
        self.log.seal(&self.context.own.signing, &self.store, &mut sealed).unwrap();
        batch.merge(sealed);
        self.store.apply(&batch).unwrap();
        first
    }

    /// The receipt with which an entry is pushed.
    pub(crate) fn notice(&self, event: u64) -> Receipt {
        Receipt::build(&self.store, &self.context.own.id, LogName::Status, event).unwrap()
    }

    /// Everything after `from`, as a pull brings it.
    pub(crate) fn pulled(&self, from: u64) -> Input {
        pulled(&self.context, &self.store, LogName::Status, from)
    }
}

/// Everything after `from` of a member's own log, as a pull brings it.
pub(crate) fn pulled(context: &Context, store: &MemoryStore, log: LogName, from: u64) -> Input {
    let note = log::head(store, log.as_str()).unwrap().unwrap();
    let owner = context.own.id.clone();
    let checkpoint = note.verify(&context.registry.note_key(&owner, log).unwrap()).unwrap();
    let count = (checkpoint.size.0 - from) as usize;
    let entries = log::entries(store, log.as_str(), LeafIndex(from), count).unwrap();
    Pulled { owner, log, from, entries, checkpoint, note }.into()
}

/// A member over a store in memory, serving.
pub(crate) struct Place {
    pub(crate) member: Member,
    pub(crate) store: MemoryStore,
    now: u64,
}

impl Place {
    pub(crate) fn new(context: Context) -> Self {
        Self::over(context, MemoryStore::default())
    }

    /// A member that goes on from what is stored.
    pub(crate) fn over(context: Context, store: MemoryStore) -> Self {
        let member = Member::open(context, &store).unwrap();
        let mut place = Self { member, store, now: 10_000_000 };
        place.told(Input::Restored { seen: Vec::new() });
        place.told(Input::Synced);
        place
    }

    pub(crate) fn context(&self) -> Context {
        self.member.context().clone()
    }

    /// Hands an input in; its effects, the reply among them.
    pub(crate) fn told(&mut self, input: Input) -> Vec<Effect> {
        self.now += 1_000;
        let step =
            self.member.handle(Timestamp(self.now), vec![(Some(Token(1)), input)], &self.store).unwrap();
        step.commit(&self.store).unwrap()
    }

    /// Fetches what is new of the authority's log.
    pub(crate) fn pull(&mut self, from: &Authority) {
        let name = LogName::Status.mirror(&from.context.own.id);
        let have = log::size(&self.store, &name).unwrap().0;
        self.told(from.pulled(have));
    }

    /// Writes rows behind the member's back.
    pub(crate) fn damage(&mut self, damage: impl FnOnce(&mut Turn<'_>)) {
        let kept = Overlay::new(&self.store);
        let mut turn = Turn::new(Timestamp(0), &kept, BTreeMap::new());
        damage(&mut turn);
        let batch = turn.finish().rows;
        self.store.apply(&batch).unwrap();
    }
}
