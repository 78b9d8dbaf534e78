//! Start-up, the tasks of a running node, shutdown.
//!
//! Start-up order: directory and lock, keys, registry, store, logs against their checkpoints, erased slots against the
//! key tree, endpoints; then every reachable peer is asked what it has seen of this member, and only then questions
//! are answered.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use credit::{
    calendar::Calendar,
    catalog::Catalog,
    id::{MemberId, RecordId},
    policy::Policy,
    record::NamingKeys,
    rules::RuleBook,
};
use crypto::{Timestamp, codec, keystore::Credential};
use exchange::{
    artifact::status_fact,
    context::{Context, Identity},
    evidence::{self, Doubt, Settled},
    logs::LogName,
    member::{Input, Member},
    quota::Quota,
    read,
    refusal::{Code, Fault, Refusal},
    registry::{MemberRequest, Registry, SignedRegistry},
    step::Effect,
    sync::Pulled,
    timer,
    wire::{Request, Response},
    witness::{self, Answered},
};
use ledger::{checkpoint::SignedCheckpoint, log};
use tokio::sync::{Notify, mpsc, watch};

use crate::{
    Problem, backup, clock,
    core::{Core, Outgoing, Shared},
    gateway::{self, Gateway},
    home::Home,
    http, intake,
    keys::Keys,
    operate,
    places::Places,
    push,
    quic::{self, Peers},
    reconcile,
    serve::Server,
    store::DiskStore,
    tls,
};

/// Time between two looks at what is due.
const TICK: Duration = Duration::from_millis(200);
/// Time a peer has to answer a push or a pull.
pub const PEER_WAIT: Duration = Duration::from_secs(5);
/// Time a peer has to answer while this node starts: one peer that is away must not hold it up for long.
const START_WAIT: Duration = Duration::from_secs(2);
/// Wait before mirrors are asked again while none of them answers.
const MIRROR_RETRY: Duration = Duration::from_secs(1);
/// The order in which own entries are taken back.
const OWN_ORDER: [LogName; 3] = [LogName::Records, LogName::Access, LogName::Status];
/// Pulls of one log in a row: with 512 entries each, a million entries behind.
const PULLS_MAX: usize = 2_048;

/// What a node says once when it has compared itself with its peers.
pub enum Started<'a> {
    /// It serves at these addresses: peers, logs.
    Ready(&'a str, &'a str),
    /// It has lost data: only what is stored can be read.
    Behind(Problem),
}

/// Runs a node until its operator, a signal or the end of `until` stops it. `started` is called once.
///
/// A member with mirrors waits at start until one of them has said what it has seen, because a directory does not tell
/// whether it is an old copy of itself. `alone` is the operator's word that it is not. `take_back` is the word that the store is older
/// than the directory says, or empty, and that mirrors are to fill it.
pub async fn run(
    dir: &Path,
    credential: impl Into<Credential>,
    alone: bool,
    take_back: bool,
    until: impl Future<Output = ()>,
    started: impl FnOnce(Started<'_>),
) -> Result<(), Problem> {
    let home = Home::open(dir)?;
    let _lock = home.lock()?;
    let config = home.config()?;
    let mut keys = Keys::open(dir, credential)?;
    keys.settle()?;
    let (signed, registry) = home.registry()?;
    let nobody = home.member().and_then(|id| Ok(registry.member(&id)?.mirrors.is_empty()))?;
    if nobody && !alone && home.is_restored() {
        return Err(Problem::new(
            format!(
                "{} was restored from a backup, and no mirror can say what was erased or repaired since",
                dir.display()
            ),
            "start with --alone if you know that nothing was, or have the governors name mirrors first",
            "如确知备份之后没有删除或修复，可用 --alone 启动；否则请先由治理方指定镜像成员",
        ));
    }
    choose(&mut keys, &registry, &config.member);
    stay_known(&mut keys, &registry, &home);
    let context = context(&keys, Arc::new(registry), &config.member)?;
    if take_back && registry_mirrors(&context).is_empty() {
        return Err(Problem::new(
            "no mirror keeps this member's logs, so nobody can give anything back",
            "put the whole directory back from the newest backup; without one, this member is to be admitted anew under \
             another id",
            "请用最近的备份恢复整个目录；若没有备份，须以新的成员编号重新登记",
        ));
    }
    let store = if take_back { DiskStore::open_older(&home.data())? } else { DiskStore::open(&home.data())? };
    let member = Member::open(context.clone(), &store).map_err(|e| {
        Problem::new(
            format!("{}: {e}", home.data().display()),
            "the store disagrees with itself: keep it for inspection, see `xinqiao node fsck` for what is broken, check the \
             disk, and put the whole directory back from the newest backup",
            "存储内部不一致：请保留现场，用 `xinqiao node fsck` 查看损坏之处，检查磁盘，并用最近的备份恢复整个目录",
        )
    })?;
    // A node that has served has at least written down its registry.
    if home.has_served() && member.size(LogName::Status) == 0 && !take_back {
        return Err(home.no_store());
    }
    let erased = read::erased_slots(&store).map_err(|e| Problem::fault(e.to_string()))?;
    keys.puncture(&erased)?;

    let endpoint = quic::listen(&config.quic, &keys.tls_seed())?;
    let listener = http::listen(&config.http).await?;
    let gateway = match &config.gateway {
        Some(settings) => Some(gateway::listen(settings).await?),
        None => None,
    };
    let (back, returned) = mpsc::unbounded_channel();
    let shared = Arc::new(Shared::new(context, keys, store));
    let peers = Arc::new(Peers::new(endpoint.clone(), shared.clone(), back));
    let (outgoing, carried) = mpsc::unbounded_channel();
    let (core, writer) =
        Core::start(shared.clone(), member, outgoing).map_err(|e| Problem::fault(e.to_string()))?;
    let server = Server {
        shared: shared.clone(),
        core: core.clone(),
        peers,
        operator: tls::public_key(&shared.keys.operator_seed()),
        stop: Arc::new(Notify::new()),
        places: Places::default(),
        quota: Arc::new(Mutex::new(Quota::of_questions())),
        pushes: Arc::new(Mutex::new(Quota::of_pushes())),
        applications: Arc::new(Mutex::new(Quota::of_applications())),
        registry: watch::Sender::new(Arc::new(signed)),
        home: Arc::new(tokio::sync::Mutex::new(home.clone())),
        intake: Arc::default(),
        uploads: intake::Uploads::default(),
        erasure: Arc::default(),
        backup: backup::Place::default(),
    };

    tokio::spawn(server.clone().accept(endpoint.clone()));
    tokio::spawn(http::serve(listener, shared.clone(), core.clone()));
    if let Some(listening) = gateway {
        tokio::spawn(Gateway::new(server.clone()).serve(listening));
        tokio::spawn(gateway::hooks::run(server.clone()));
    }
    let serve = async {
        let restored = home.is_restored();
        catch_up(&server, alone, !home.has_served() && !restored).await;
        // A directory that is still behind stays marked: the next start waits for mirrors again.
        let behind = shared.state.read().is_ok_and(|s| s.phase == "behind");
        let marked = home.mark_served().and_then(|()| if behind { Ok(()) } else { home.mark_caught_up() });
        if let Err(problem) = marked {
            tracing::error!("{problem}");
        }
        tokio::spawn(carry(server.clone(), carried));
        tokio::spawn(tick(core.clone()));
        tokio::spawn(welcome(server.clone(), returned));
        tokio::spawn(reconcile::for_ever(server.clone()));
        match lost(&shared) {
            Some(what) => started(Started::Behind(Problem::behind(what))),
            None => started(Started::Ready(&config.quic, &config.http)),
        }
        std::future::pending::<()>().await;
    };
    // The writer ends by itself only with a fault.
    let ended = tokio::task::spawn_blocking(move || writer.join());
    tokio::pin!(ended);
    let by_itself = tokio::select! {
        () = serve => None,
        () = stopped(&server.stop) => None,
        () = until => None,
        outcome = &mut ended => Some(outcome),
    };
    let outcome = match by_itself {
        Some(outcome) => outcome,
        None => {
            core.stop().await;
            ended.await
        }
    };
    // Replies of the last step are on their way; callers get a moment to read them.
    tokio::time::sleep(Duration::from_millis(50)).await;
    endpoint.close(quinn::VarInt::from_u32(0), b"stopping");
    let _ = tokio::time::timeout(Duration::from_millis(100), endpoint.wait_idle()).await;
    match outcome {
        Ok(Ok(Ok(()))) => Ok(()),
        Ok(Ok(Err(fault))) => Err(Problem::fault(fault.to_string())),
        Ok(Err(_)) | Err(_) => Err(Problem::fault("the writer ended without a word")),
    }
}

/// Uses the generation of keys that the registry names for the member.
pub fn choose(keys: &mut Keys, registry: &Registry, member: &str) {
    let entry = MemberId::parse(member).and_then(|id| registry.member(&id).ok());
    if let Some(entry) = entry {
        keys.choose(&entry.stated.sign);
    }
}

/// Goes on with the keys before, while they are good and no peer is known to have the registry with the present ones: who
/// had no other registry would be out of reach for everybody, who would have no other place to get it from.
fn stay_known(keys: &mut Keys, registry: &Registry, home: &Home) {
    let entry = home.member().and_then(|id| Ok(registry.member(&id)?));
    let Ok((entry, past)) = entry.map(|entry| (entry, entry.past.last())) else { return };
    let alone = !registry.active().any(|m| m.id != entry.stated.id && !m.quic.is_empty());
    if let Some(past) = past.filter(|past| clock::now() <= past.until && keys.holds(&past.sign))
        && !alone
        && !home.is_known(&entry.stated.sign)
    {
        keys.choose(&past.sign);
        tracing::warn!(
            "no peer is known to have the registry with the new keys: the ones before stay in use"
        );
    }
}

/// Who this member is, under the rules this build ships and the registry names.
pub fn context(keys: &Keys, registry: Arc<Registry>, member: &str) -> Result<Context, Problem> {
    let id = MemberId::parse(member).ok_or_else(|| {
        Problem::new(
            format!("`{member}` is no member id"),
            "mend `member` in node.toml",
            "请修正 node.toml 中的 member",
        )
    })?;
    let entry = registry.member(&id)?;
    if !keys.holds(&entry.stated.sign) {
        return Err(Problem::new(
            format!("the registry names another key for `{id}` than this directory holds"),
            "use the directory that made the admitted request, or have the new key admitted",
            "请使用提交入会申请的目录，或让治理方登记新密钥",
        ));
    }
    let (catalog, policy, rules) = (Catalog::builtin(), Policy::builtin(), RuleBook::builtin());
    let pinned = [
        ("catalog", registry.catalog, catalog.digest()),
        ("policy", registry.policy, policy.digest()),
        ("rule sets", registry.rules, rules.digest()),
    ];
    for (what, registered, ours) in pinned {
        if registered != ours {
            return Err(Problem::new(
                format!("the registry pins another {what} ({registered}) than this build has ({ours})"),
                "run the build the federation has agreed on, or have the governors sign a registry for this one",
                "请使用联盟约定的版本，或由治理方签署与此版本对应的登记表",
            ));
        }
    }
    // Without the federation's record key (a bank) the names this member computes match nobody else's; it needs none.
    let record = match &entry.record_key {
        Some(wrapped) => keys.opening().iter().find_map(|key| wrapped.open(key, &id)).ok_or_else(|| {
            Problem::new(
                "the record key in the registry does not open with this keystore",
                "have the governors admit this member again",
                "请由治理方重新登记该成员",
            )
        })?,
        None => keys.pepper(),
    };
    Ok(Context {
        own: Identity {
            id,
            signing: keys.signing(),
            witness: keys.witness(),
            naming: NamingKeys { record, pepper: keys.pepper() },
            access: keys.access(),
        },
        registry,
        catalog: Arc::new(catalog),
        policy: Arc::new(policy),
        rules: Arc::new(rules),
        calendar: Arc::new(Calendar::builtin()),
    })
}

/// What was lost, when the member is behind.
fn lost(shared: &Shared) -> Option<String> {
    let state = shared.state.read().unwrap_or_else(PoisonError::into_inner);
    let said = || state.alerts.iter().rfind(|alert| alert.contains("data was lost")).cloned();
    (state.phase == "behind").then(|| said().unwrap_or_else(|| "data was lost".to_owned()))
}

/// Who keeps copies of this member's logs.
fn registry_mirrors(context: &Context) -> Vec<MemberId> {
    context.registry.member(&context.own.id).map(|m| m.mirrors.clone()).unwrap_or_default()
}

/// Asks every reachable peer what it has seen of this member, then for its own news and for what this member has cosigned.
///
/// Own entries are taken back in the order records, access, status: a decision is delivered to those who received the
/// record, and only the two other logs tell who that is.
///
/// `first` is a directory that has never served: it can have lost nothing, and in a new federation nobody is there yet.
async fn catch_up(server: &Server, alone: bool, first: bool) {
    let context = &server.shared.context();
    let (registry, own) = (&context.registry, &context.own.id);
    let peers: Vec<MemberRequest> =
        registry.active().filter(|m| m.id != *own && !m.quic.is_empty()).cloned().collect();
    let mirrors = registry_mirrors(context);
    let mut told = false;
    let mut fetched = loop {
        let (fetched, spoke) = ask_for_own(server, &peers).await;
        let heard = mirrors.iter().any(|m| spoke.contains(m));
        if alone || first || mirrors.is_empty() || heard {
            break fetched;
        }
        if !std::mem::replace(&mut told, true) {
            tracing::warn!(
                ?mirrors,
                "no mirror answers, so nobody can say whether this directory is an old copy; waiting. \
                 If it surely is not, start with --alone / 镜像成员均无法连接，正在等待；如确认目录不是旧副本，可用 --alone 启动"
            );
        }
        // Perhaps the mirror has another key by now; whoever can be reached has the registry that says so.
        let mut asked = tokio::task::JoinSet::new();
        for peer in &peers {
            let (server, peer) = (server.clone(), peer.clone());
            asked.spawn(async move { take_registry(&server, &peer, START_WAIT).await });
        }
        asked.join_all().await;
        tokio::time::sleep(MIRROR_RETRY).await;
    };
    let mut seen = Vec::new();
    for log in OWN_ORDER {
        let mut of_log: Vec<Pulled>;
        (of_log, fetched) = fetched.into_iter().partition(|f: &Pulled| f.log == log);
        // The longest first; a shorter one is then known already, or shows another history.
        of_log.sort_by_key(|f| std::cmp::Reverse(f.checkpoint.size));
        for found in of_log {
            seen.push((log, found.checkpoint.size.0));
            hand_in(server, found).await;
        }
    }
    server.core.ask_surely(Input::Restored { seen }).await;
    if alone || first {
        server.core.tell(Input::Heard { from: None, cosigned: Vec::new() }).await;
    }
    let mut asked = tokio::task::JoinSet::new();
    for peer in peers {
        let server = server.clone();
        asked.spawn(async move {
            // Before anything is cosigned: what this witness had cosigned of the peer's logs, and of others' that the
            // peer has seen. Whoever is away is asked once, not for every log: its news come when it is back.
            if !ask_heads(&server, &peer.id, START_WAIT).await {
                return;
            }
            let context = server.shared.context();
            let kept = |log: &LogName| context.registry.keeps_copy(&context.own.id, &peer.id, *log);
            for log in LogName::ALL.iter().copied().filter(kept) {
                match fetch(&server, &peer, &peer.id, log, START_WAIT).await {
                    Ok(Some(found)) => hand_in(&server, found).await,
                    Ok(None) => {}
                    Err(Silent) => return,
                }
            }
        });
    }
    asked.join_all().await;
    server.core.ask_surely(Input::Synced).await;
}

/// What peers hold of this member's own logs beyond what is here, and which of them answered about every log they keep.
async fn ask_for_own(server: &Server, peers: &[MemberRequest]) -> (Vec<Pulled>, Vec<MemberId>) {
    let own = server.shared.context().own.id.clone();
    let mut asked = tokio::task::JoinSet::new();
    for peer in peers.iter().cloned() {
        let (server, own) = (server.clone(), own.clone());
        asked.spawn(async move {
            let mut found = Vec::new();
            for log in OWN_ORDER {
                if server.shared.context().registry.keeps_copy(&peer.id, &own, log) {
                    match fetch(&server, &peer, &own, log, START_WAIT).await {
                        Ok(Some(pulled)) => found.push(pulled),
                        Ok(None) => {}
                        Err(_) => return (found, None),
                    }
                }
            }
            (found, Some(peer.id))
        });
    }
    let (mut fetched, mut spoke) = (Vec::new(), Vec::new());
    while let Some(Ok((found, member))) = asked.join_next().await {
        fetched.extend(found);
        spoke.extend(member);
    }
    (fetched, spoke)
}

/// Fetches what is new of a peer's `log` and hands it to the member.
async fn pull(server: &Server, peer: &MemberRequest, log: LogName) {
    if let Ok(Some(found)) = fetch(server, peer, &peer.id, log, PEER_WAIT).await {
        hand_in(server, found).await;
    }
}

/// Hands pulled entries to the member. What it refuses is a peer's log that does not continue its copy: an alert.
pub async fn hand_in(server: &Server, found: Pulled) {
    let from = format!("{}/{}", found.owner, found.log);
    if let Response::Refused(refusal) = server.core.ask_surely(found.into()).await {
        tracing::warn!(alert = %refusal, log = %from, "pulled entries are refused");
    }
}

/// The peer gave no answer that holds.
pub struct Silent;

/// Asks `peer` for what it has of `owner`'s `log` beyond what is here, until a checkpoint covers it; `None` when it has
/// nothing of it.
pub async fn fetch(
    server: &Server,
    peer: &MemberRequest,
    owner: &MemberId,
    log: LogName,
    wait: Duration,
) -> Result<Option<Pulled>, Silent> {
    let shared = &server.shared;
    let stored = if *owner == shared.context().own.id { log.as_str().to_owned() } else { log.mirror(owner) };
    let from = log::size(&shared.store, &stored).map_err(|_| Silent)?.0;
    let mut entries: Vec<Vec<u8>> = Vec::new();
    for _ in 0..PULLS_MAX {
        let at = from + entries.len() as u64;
        let request = Request::Pull { owner: owner.clone(), log, from: at };
        let (part, note) = match server.peers.ask(peer, &request, wait).await {
            Ok(Response::Entries { entries, checkpoint }) => (entries, checkpoint),
            _ => return Err(Silent),
        };
        let some = !part.is_empty();
        entries.extend(part.into_iter().map(|b| b.0));
        let Some(note) = note else { if some { continue } else { return Ok(None) } };
        let verified = || shared.context().registry.verify_checkpoint(owner, log, &note);
        let mut checkpoint = verified();
        // Perhaps with a key that a later registry names: this directory may be an old copy, with an old registry.
        if checkpoint.is_err() && take_registry(server, peer, wait).await {
            checkpoint = verified();
        }
        return match checkpoint {
            Ok(checkpoint) => Ok(Some(Pulled { owner: owner.clone(), log, from, entries, checkpoint, note })),
            Err(refusal) => {
                tracing::warn!(%owner, %log, peer = %peer.id, %refusal, "checkpoint does not verify");
                Err(Silent)
            }
        };
    }
    Err(Silent)
}

/// Takes over the registry that a peer has, if it is the next version.
async fn take_registry(server: &Server, peer: &MemberRequest, wait: Duration) -> bool {
    let Ok(Response::Registry(signed)) = server.peers.ask(peer, &Request::Registry, wait).await else {
        return false;
    };
    let known = server.shared.context().registry.version;
    match signed.read() {
        Ok(registry) if registry.version > known => {}
        _ => return false,
    }
    let taken = adopt(server, &signed).await;
    if let Err(refusal) = &taken {
        tracing::warn!(%refusal, "a peer's registry is not taken over");
    }
    matches!(taken, Ok(Response::Done))
}

async fn tick(core: Core) {
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        core.tell(Input::Tick).await;
    }
}

/// A peer that was away is there again: what waits for it goes out, and what it has is fetched and compared.
async fn welcome(server: Server, mut returned: mpsc::UnboundedReceiver<MemberId>) {
    while let Some(peer) = returned.recv().await {
        server.core.tell(Input::Back(peer.clone())).await;
        reconcile::by_itself(&server, &peer).await;
    }
}

/// Carries effects to peers, each in a task of its own. What fails stays due in the store.
async fn carry(server: Server, mut effects: mpsc::UnboundedReceiver<Outgoing>) {
    while let Some(Outgoing(effect)) = effects.recv().await {
        let server = server.clone();
        tokio::spawn(async move {
            match effect {
                Effect::Deliver { event, to } => deliver(&server, event, &to).await,
                Effect::Push(record) => push::send(&server, record, exchange::push::plan).await,
                Effect::PushAgain(record) => push::send(&server, record, exchange::push::plan_again).await,
                Effect::AskPush { to, record } => push::ask(&server, &to, record).await,
                Effect::Place(record) => push::place(&server, record).await,
                Effect::Forward { to, case, application } => {
                    let Ok(peer) = server.shared.context().registry.member(&to).map(|m| m.stated.clone())
                    else {
                        return;
                    };
                    let outcome = match server.peers.ask(&peer, &Request::Apply(application), PEER_WAIT).await
                    {
                        Ok(Response::Case(case)) => Ok(case),
                        Ok(_) => return,
                        Err(refusal) if refusal.code == Code::Unreachable.as_str() => return,
                        Err(refusal) => Err(refusal),
                    };
                    server.core.tell(Input::Forwarded { case, outcome }).await;
                }
                Effect::Pull { owner, log, .. } => {
                    let Ok(peer) = server.shared.context().registry.member(&owner).map(|m| m.stated.clone())
                    else {
                        return;
                    };
                    pull(&server, &peer, log).await;
                }
                Effect::AskWitness { witness, log, old } => ask_witness(&server, witness, log, old).await,
                Effect::AskHeads(peer) => drop(ask_heads(&server, &peer, PEER_WAIT).await),
                Effect::Prove(doubt) => prove(&server, *doubt).await,
                Effect::Erase(records) => erase(&server, records, timer::WITHDRAWN).await,
                Effect::Retire(records) => erase(&server, records, timer::RETIRED).await,
                // The writer carries out the others itself.
                Effect::Reply { .. } | Effect::Puncture(_) | Effect::Alert(_) => {}
            }
        });
    }
}

/// Erases what a clock has made due. What fails stays due, and is tried again.
async fn erase(server: &Server, records: Vec<RecordId>, reason: &str) {
    let erased = operate::erase_records(server, records, reason.to_owned()).await;
    if let Ok(Response::Refused(refusal)) | Err(refusal) = erased {
        tracing::warn!(alert = %refusal, reason, "records that are due are not erased");
    }
}

/// Asks a witness to cosign the newest checkpoint of an own log.
async fn ask_witness(server: &Server, by: MemberId, log: LogName, old: u64) {
    let shared = server.shared.clone();
    let Ok(peer) = server.shared.context().registry.member(&by).map(|m| m.stated.clone()) else { return };
    let built = tokio::task::spawn_blocking(move || witness::request(&shared.store, log, old)).await;
    let request = match built {
        Ok(Ok(Some(request))) => request,
        Ok(Err(fault)) => return tracing::error!(%fault, %log, "no proof for a witness"),
        _ => return,
    };
    let body = request.body().into_bytes().into();
    if let Ok(Response::Witness { status, body }) =
        server.peers.ask(&peer, &Request::AddCheckpoint(body), PEER_WAIT).await
    {
        let Ok(note) = SignedCheckpoint::parse(&request.note) else { return };
        server.core.tell(Input::Cosigned(Answered { by, log, status, body, note })).await;
    }
}

/// Asks a peer for the heads it has seen: what speaks against them is evidence, and what this witness finds its own line
/// on it has cosigned.
///
/// A peer that decides under a newer registry is asked for it. Returns whether the peer has answered.
pub async fn ask_heads(server: &Server, peer: &MemberId, wait: Duration) -> bool {
    let Ok(stated) = server.shared.context().registry.member(peer).map(|m| m.stated.clone()) else {
        return false;
    };
    let Ok(Response::Heads { heads, evidence, registry }) =
        server.peers.ask(&stated, &Request::Heads, wait).await
    else {
        return false;
    };
    if registry > server.shared.context().registry.version
        && let Ok(Response::Registry(signed)) = server.peers.ask(&stated, &Request::Registry, wait).await
        && let Err(refusal) = adopt(server, &signed).await
    {
        tracing::warn!(alert = %refusal, %peer, "a newer registry is not adopted");
    }
    if registry >= server.shared.context().registry.version && keys_end(&server.shared).is_some() {
        known(server).await;
    }
    let shared = server.shared.clone();
    let read = tokio::task::spawn_blocking(move || {
        let (context, store) = (&shared.context(), &shared.store);
        let cosigned = witness::forgotten(context, store, &heads)?;
        let examined = evidence::examine(context, store, clock::now(), &heads, &evidence)?;
        Ok::<_, Fault>((cosigned, examined))
    });
    let (cosigned, examined) = match read.await {
        Ok(Ok(read)) => read,
        Ok(Err(fault)) => {
            tracing::error!(%fault, "a read failed");
            return true;
        }
        Err(_) => return true,
    };
    server.core.tell(Input::Heard { from: Some(peer.clone()), cosigned }).await;
    for convicted in examined.convicted {
        server.core.tell(Input::Evidence(Box::new(convicted))).await;
    }
    for doubt in examined.doubts {
        prove(server, doubt).await;
    }
    true
}

/// Takes over a successor of the registry in force: into the directory, then into the member, whose next input is decided
/// under it, then into everything else here. The registry in force changes nothing.
pub async fn adopt(server: &Server, signed: &SignedRegistry) -> Result<Response, Refusal> {
    let home = server.home.lock().await;
    let known = server.shared.context();
    let registry = signed.accept(Some(&known.registry))?;
    if registry == *known.registry {
        return Ok(Response::Done);
    }
    // What would keep this member from starting under it keeps it from taking it over.
    let registry = Arc::new(registry);
    context(&server.shared.keys, registry.clone(), known.own.id.as_str())
        .map_err(|p| Refusal::new(Code::RegistryInvalid, p.what))?;
    home.set_registry(signed).map_err(|p| {
        tracing::error!(what = %p.what, "the registry cannot be kept");
        Refusal::new(Code::Busy, "the node has a fault; see its log")
    })?;
    // From here on a start takes it over, should the process end.
    match server.core.ask_surely(Input::Registry(registry.clone())).await {
        Response::Done => {}
        other => return Ok(other),
    }
    let next = Arc::new(Context { registry, ..known.as_ref().clone() });
    *server.shared.context.write().unwrap_or_else(PoisonError::into_inner) = next;
    server.peers.forget().await;
    server.registry.send_replace(Arc::new(signed.clone()));
    tracing::info!(version = server.shared.context().registry.version, "registry taken over");
    replaced(&server.shared);
    Ok(Response::Done)
}

/// Until when the keys in use are good, where the registry names newer ones.
pub fn keys_end(shared: &Shared) -> Option<Timestamp> {
    let context = shared.context();
    let used = context.own.signing.verifying_key().to_bytes();
    let entry = context.registry.member(&context.own.id).ok()?;
    entry.past.iter().find(|past| past.sign.0 == used).map(|past| past.until)
}

/// Says that the registry names keys of this member that it does not use yet.
fn replaced(shared: &Shared) {
    if let Some(until) = keys_end(shared) {
        let alert = format!(
            "the registry names new keys of this member: start the node again before {}, when the ones in use end / \
             登记表已启用本成员的新密钥，请在该时间之前重新启动节点",
            until.rfc3339()
        );
        tracing::warn!(%alert, "keys were replaced");
        shared.state.write().unwrap_or_else(PoisonError::into_inner).alert(alert);
    }
}

/// A peer has the registry with this member's new keys: the next start may use them.
async fn known(server: &Server) {
    let context = server.shared.context();
    let marked = match context.registry.member(&context.own.id) {
        Ok(entry) => server.home.lock().await.mark_known(&entry.stated.sign),
        Err(refusal) => Err(refusal.into()),
    };
    if let Err(problem) = marked {
        tracing::error!("{problem}");
    }
}

/// Has two heads of one log proven by somebody who can.
async fn prove(server: &Server, doubt: Doubt) {
    let context = &server.shared.context();
    let (old, new) = (doubt.smaller.claimed().size.0, doubt.larger.claimed().size.0);
    let mut answered = false;
    for prover in doubt.provers(context) {
        let Ok(peer) = context.registry.member(&prover).map(|m| m.stated.clone()) else { continue };
        let request = Request::Prove { owner: doubt.owner.clone(), log: doubt.log, old, new };
        match server.peers.ask(&peer, &request, PEER_WAIT).await {
            Ok(Response::Consistency { root, proof }) => {
                match doubt.settle(context, clock::now(), root, proof) {
                    Settled::Fits => return,
                    Settled::Splits(convicted) => return server.core.tell(Input::Evidence(convicted)).await,
                    Settled::Open => answered = true,
                }
            }
            Err(refusal) if refusal.code == Code::Unreachable.as_str() => {}
            _ => answered = true,
        }
    }
    if answered {
        let (owner, log) = (&doubt.owner, doubt.log);
        tracing::warn!(%owner, %log, old, new, "nobody proves that two heads of one log belong together");
    }
}

/// Pushes a status entry and brings the recipient's acknowledgement back, checked.
async fn deliver(server: &Server, event: u64, to: &MemberId) {
    let shared = server.shared.clone();
    let registry = &server.shared.context().registry.clone();
    let Ok(peer) = registry.member(to).map(|m| m.stated.clone()) else { return };
    let built =
        tokio::task::spawn_blocking(move || read::notice(&shared.context(), &shared.store, event)).await;
    let notice = match built {
        Ok(Ok(notice)) => notice,
        Ok(Err(fault)) => return tracing::error!(%fault, event, "no receipt for an event"),
        Err(_) => return,
    };
    let receipt = match server.peers.ask(&peer, &Request::Notice(notice), PEER_WAIT).await {
        Ok(Response::Receipt(receipt)) => receipt,
        Ok(_) => return,
        Err(refusal) => return tracing::debug!(%to, event, "not acknowledged yet: {refusal}"),
    };
    let checked = receipt.verify(registry).and_then(|proven| {
        let own = proven.member == *to;
        let fact = status_fact(registry, &proven)?;
        if own {
            Ok((proven, fact))
        } else {
            Err(Refusal::new(Code::SignatureInvalid, "another member's entry"))
        }
    });
    match checked {
        Ok((proven, fact)) => {
            let input = Input::Acknowledgement {
                event,
                proven: Box::new(proven),
                fact,
                receipt: codec::to_vec(&receipt),
            };
            server.core.tell(input).await;
        }
        Err(refusal) => tracing::warn!(%to, event, "acknowledgement does not hold: {refusal}"),
    }
}

/// Waits for the operator or a signal.
async fn stopped(stop: &Notify) {
    tokio::select! {
        () = stop.notified() => {}
        () = signalled() => {}
    }
}

/// Waits for Ctrl-C or the service manager's signal to end.
pub async fn signalled() {
    #[cfg(unix)]
    let terminated = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    #[cfg(not(unix))]
    let terminated = std::future::pending::<()>();
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminated => {}
    }
}
