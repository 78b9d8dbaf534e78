//! Evidence that a member has signed two histories of one log, and what follows from it.
//!
//! A member shows its logs to each peer alone; nothing but comparing keeps it from showing two. Peers therefore tell each
//! other the newest heads they have seen ([`heads`]), and hold them against what they keep themselves ([`examine`]).
//!
//! What convicts stands in one file and needs no node:
//!
//! - two signed heads of the same size with different roots, or
//! - two signed heads of different sizes, with the root that the first entries *of the larger tree* have at the smaller
//!   size, and the consistency proof that leads from it to the larger head. The larger head commits to that root; the
//!   smaller one says another. A valid proof of a wrong root cannot be made without a collision in SHA-256.
//!
//! A convicted member is *frozen*: nothing of its logs is accepted, cosigned, acknowledged or acted on any more, and its
//! questions and grants are refused. What is known already stays, and what it needs to read it may go on reading. Only
//! this member's operator ends that, for this member alone.

use std::collections::BTreeMap;

use credit::id::MemberId;
use crypto::{Digest, Timestamp};
use ledger::{
    checkpoint::SignedCheckpoint, log, note::NoteKey, proof::verify_consistency, store::View, tree::TreeSize,
};
use minicbor::{Decode, Encode};

use crate::{
    context::Context,
    limits::{EVIDENCE_PER_ANSWER_MAX, GOSSIP_INTERVAL_MS, PROOF_INTERVAL_MS, PROVERS_MAX, REASON_BYTES_MAX},
    logs::LogName,
    refusal::{Code, Fault, Halt, Refusal},
    registry::Registry,
    step::{Effect, Reply, Token},
    tables::{self, Key},
    turn::Turn,
    wire::Response,
    witness::{self, WitnessRow},
};

/// Two histories of one log, in a form that convicts its owner to everybody who has the registry.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Evidence {
    /// Whose log.
    #[n(0)]
    pub owner: MemberId,
    /// Which.
    #[n(1)]
    pub log: LogName,
    /// The head of the smaller size; text and the log's own line as they were signed.
    #[n(2)]
    pub smaller: SignedCheckpoint,
    /// The head of the larger size, or the other one of the same size.
    #[n(3)]
    pub larger: SignedCheckpoint,
    /// What the larger head says about the smaller size; absent when both sizes are the same.
    #[n(4)]
    pub fork: Option<Fork>,
    /// Who found it. Nothing hangs on it.
    #[n(5)]
    pub finder: MemberId,
    /// When, by the finder's clock.
    #[n(6)]
    pub at: Timestamp,
}

/// The past that the larger head commits to.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Fork {
    /// Root over the larger tree's first entries, as many as the smaller head counts.
    #[n(0)]
    pub root: Digest,
    /// Consistency proof from that root to the larger head (RFC 9162 §2.1.4).
    #[n(1)]
    pub proof: Vec<Digest>,
}

/// Evidence that was checked: its owner has signed two histories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Convicted(Evidence);

impl Convicted {
    /// The evidence.
    pub fn evidence(&self) -> &Evidence {
        &self.0
    }
}

impl Evidence {
    /// Checks that both heads are the owner's and that no history fits both.
    ///
    /// A suspended owner is convicted like any other: what it signed it has signed. Errors: `member.unknown` when the
    /// owner is not in the registry, `signature.invalid` when the file convicts nobody.
    pub fn verify(&self, registry: &Registry) -> Result<Convicted, Refusal> {
        let refuse = |why: String| {
            let what = format!("evidence about `{}/{}`: {why}", self.owner, self.log);
            Err(Refusal::new(Code::SignatureInvalid, what))
        };
        for note in [&self.smaller, &self.larger] {
            if let Err(e) = note.verify(&registry.past_key_of(&self.owner, self.log, note)?) {
                return refuse(e.to_string());
            }
        }
        let (a, b) = (self.smaller.claimed(), self.larger.claimed());
        let said = match &self.fork {
            None if a.size == b.size => b.root,
            Some(fork) if a.size < b.size => {
                if let Err(e) = verify_consistency(a.size, b.size, &fork.root, &b.root, &fork.proof) {
                    return refuse(format!("the larger head's past is not proven: {e}"));
                }
                fork.root
            }
            _ => return refuse("a proof belongs to heads of ascending sizes, and to no others".into()),
        };
        if said == a.root {
            return refuse("both heads are of one history".into());
        }
        Ok(Convicted(self.clone()))
    }

    /// Evidence from two heads in any order, if it convicts.
    fn between(
        context: &Context,
        now: Timestamp,
        heads: (&SignedCheckpoint, &SignedCheckpoint),
        fork: Option<Fork>,
    ) -> Option<Convicted> {
        let (a, b) = heads;
        let (smaller, larger) = if a.claimed().size <= b.claimed().size { (a, b) } else { (b, a) };
        let (owner, log) = context.registry.log_of(&a.claimed().origin)?;
        let bare = |note| bare(note, &context.registry.past_key_of(&owner, log, note).ok()?, None);
        let finder = context.own.id.clone();
        let (smaller, larger) = (bare(smaller)?, bare(larger)?);
        Self { owner, log, smaller, larger, fork, finder, at: now }.verify(&context.registry).ok()
    }
}

/// A head with the log's own line and, if wanted, one witness's: others' lines are not verified here, may be any
/// number, and convict nobody.
fn bare(note: &SignedCheckpoint, log: &NoteKey, witness: Option<&NoteKey>) -> Option<SignedCheckpoint> {
    let kept = note.note().ok()?.only(log, witness)?;
    SignedCheckpoint::parse(&kept).ok()
}

/// Two signed heads of one log of which nobody here can say whether one is the other's past.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// Whose log.
    pub owner: MemberId,
    /// Which.
    pub log: LogName,
    /// The smaller head.
    pub smaller: SignedCheckpoint,
    /// The larger one.
    pub larger: SignedCheckpoint,
}

/// How a doubt ends.
#[derive(Debug)]
pub enum Settled {
    /// The smaller head is the past of the larger.
    Fits,
    /// It is not, and this proves it.
    Splits(Box<Convicted>),
    /// The proof does not lead to the larger head: ask somebody else.
    Open,
}

impl Doubt {
    fn new(owner: &MemberId, log: LogName, a: &SignedCheckpoint, b: &SignedCheckpoint) -> Self {
        let (smaller, larger) = if a.claimed().size <= b.claimed().size { (a, b) } else { (b, a) };
        Self { owner: owner.clone(), log, smaller: smaller.clone(), larger: larger.clone() }
    }

    /// The members that can settle it: the owner, which can prove every head it has signed unless it has signed two
    /// histories, and those that keep a copy.
    pub fn provers(&self, context: &Context) -> Vec<MemberId> {
        let registry = &context.registry;
        let copies = registry.active().filter(|m| registry.keeps_copy(&m.id, &self.owner, self.log));
        let all = core::iter::once(&self.owner).chain(copies.map(|m| &m.id));
        all.filter(|id| **id != context.own.id).take(PROVERS_MAX).cloned().collect()
    }

    /// Takes a proof: the root at the smaller size under the larger head, and how it leads there.
    pub fn settle(&self, context: &Context, now: Timestamp, root: Digest, proof: Vec<Digest>) -> Settled {
        let (a, b) = (self.smaller.claimed(), self.larger.claimed());
        if verify_consistency(a.size, b.size, &root, &b.root, &proof).is_err() {
            return Settled::Open;
        }
        if root == a.root {
            return Settled::Fits;
        }
        let fork = (a.size < b.size).then_some(Fork { root, proof });
        let heads = (&self.smaller, &self.larger);
        Evidence::between(context, now, heads, fork).map_or(Settled::Open, |c| Settled::Splits(Box::new(c)))
    }
}

/// What a head is, held against what is kept here.
#[derive(Debug)]
pub enum Found {
    /// Nothing here speaks against it.
    Fits,
    /// It and something kept here convict the log's owner.
    Splits(Box<Convicted>),
    /// It must be proven.
    Doubt(Doubt),
}

/// Holds a head that somebody has shown against the log or its copy, and against what was cosigned last.
///
/// The head need not be verified: its signature is looked at when it would decide something. A head beyond a copy fits,
/// because the next pull decides about it.
pub fn compare(
    context: &Context,
    view: &dyn View,
    now: Timestamp,
    note: &SignedCheckpoint,
) -> Result<Found, Fault> {
    let head = note.claimed();
    let Some((owner, log)) = context.registry.log_of(&head.origin) else { return Ok(Found::Fits) };
    let split = |other: &SignedCheckpoint, fork: Option<Fork>| {
        let convicted = Evidence::between(context, now, (note, other), fork);
        convicted.map_or(Found::Fits, |c| Found::Splits(Box::new(c)))
    };
    let name = stored(context, &owner, log);
    let kept = log::head(view, &name)?;
    if let Some(kept) = &kept
        && head.size <= kept.claimed().size
    {
        let root = log::root(view, &name, head.size)?;
        if root != head.root {
            let size = kept.claimed().size;
            let proof = log::consistency(view, &name, head.size, size)?;
            return Ok(split(kept, (head.size < size).then_some(Fork { root, proof })));
        }
    }
    let Some(row) = tables::row::<WitnessRow>(view, &Key::witness(&head.origin))? else {
        return Ok(Found::Fits);
    };
    if row.size == head.size.0 {
        return Ok(if row.root == head.root { Found::Fits } else { split(&row.note, None) });
    }
    let signed =
        || context.registry.past_key_of(&owner, log, note).is_ok_and(|key| note.verify(&key).is_ok());
    Ok(if kept.is_none() && signed() {
        Found::Doubt(Doubt::new(&owner, log, note, &row.note))
    } else {
        Found::Fits
    })
}

fn stored(context: &Context, owner: &MemberId, log: LogName) -> String {
    if *owner == context.own.id { log.as_str().to_owned() } else { log.mirror(owner) }
}

/// The heads this member has: of its own logs, of the copies it keeps, and of what it has cosigned last; of its own also
/// those that the caller has cosigned last, so that a witness that lost its memory finds it again. And the evidence it
/// has against members that are frozen here.
pub fn heads(context: &Context, view: &dyn View, caller: &MemberId) -> Result<Response, Fault> {
    let (registry, own) = (&context.registry, &context.own.id);
    let committee = registry.committee(own);
    let keys = committee.into_iter().find(|(id, _)| id == caller).map(|(_, keys)| keys).unwrap_or_default();
    let mut heads = Vec::new();
    for (member, log) in registry.active().flat_map(|m| LogName::ALL.map(|log| (m, log))) {
        let origin = log.origin(&registry.federation, &member.id);
        let cosigned = tables::row::<WitnessRow>(view, &Key::witness(&origin))?.map(|row| row.note);
        let back = tables::row::<SignedCheckpoint>(view, &Key::cosigned_note(log, caller))?;
        let back = back.filter(|_| member.id == *own);
        let kept = log::head(view, &stored(context, &member.id, log))?;
        let kept = kept.and_then(|note| {
            let key = registry.key_of(&member.id, log, &note).ok()?;
            bare(&note, &key, witness::cosigner(keys.iter().map(|(key, _)| key), &note))
        });
        heads.extend([kept, cosigned, back].into_iter().flatten());
    }
    let rows = tables::rows::<EvidenceRow>(view, &Key::all_evidence(), usize::MAX)?;
    let open = rows.into_iter().map(|(_, row)| row).filter(|row| row.cleared.is_none());
    let evidence = open.map(|row| row.evidence).take(EVIDENCE_PER_ANSWER_MAX).collect();
    Ok(Response::Heads { heads, evidence, registry: registry.version })
}

/// A consistency proof of an own log or of a copy kept here, with the root it begins at.
pub fn proof(
    context: &Context,
    view: &dyn View,
    owner: &MemberId,
    log: LogName,
    (old, new): (u64, u64),
) -> Result<Response, Fault> {
    let name = stored(context, owner, log);
    let (old, new) = (TreeSize(old), TreeSize(new));
    if old > new || new > log::size(view, &name)? {
        let why = format!("no {new} entries of `{owner}/{log}` are kept here");
        return Ok(Response::Refused(Refusal::new(Code::NotFound, why)));
    }
    let root = log::root(view, &name, old)?;
    Ok(Response::Consistency { root, proof: log::consistency(view, &name, old, new)? })
}

/// What a peer's heads and evidence mean here.
#[derive(Debug, Default)]
pub struct Examined {
    /// Members that are convicted, and were not before.
    pub convicted: Vec<Convicted>,
    /// Heads that must be proven.
    pub doubts: Vec<Doubt>,
}

/// Holds everything a peer has told against what is kept here; and what was cosigned here against the copies.
pub fn examine(
    context: &Context,
    view: &dyn View,
    now: Timestamp,
    heads: &[SignedCheckpoint],
    evidence: &[Evidence],
) -> Result<Examined, Fault> {
    let mut examined = Examined::default();
    let mut own = Vec::new();
    for note in heads {
        own.extend(tables::row::<WitnessRow>(view, &Key::witness(&note.claimed().origin))?.map(|r| r.note));
    }
    for note in heads.iter().chain(&own) {
        match compare(context, view, now, note)? {
            Found::Fits => {}
            Found::Splits(convicted) => examined.convicted.push(*convicted),
            Found::Doubt(doubt) if examined.doubts.contains(&doubt) => {}
            Found::Doubt(doubt) => examined.doubts.push(doubt),
        }
    }
    examined.convicted.extend(evidence.iter().filter_map(|e| e.verify(&context.registry).ok()));
    let mut fresh = Vec::new();
    for convicted in examined.convicted {
        if is_new(view, convicted.evidence())? {
            fresh.push(convicted);
        }
    }
    Ok(Examined { convicted: fresh, ..examined })
}

/// Evidence as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct EvidenceRow {
    /// The evidence.
    #[n(0)]
    pub evidence: Evidence,
    /// Set once the operator has ended the freeze.
    #[n(1)]
    pub cleared: Option<Cleared>,
}

/// The operator's word that a member is trusted again.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Cleared {
    /// When.
    #[n(0)]
    pub at: Timestamp,
    /// Why.
    #[n(1)]
    pub reason: String,
    /// Both histories were known up to this size: only two heads beyond it are news.
    #[n(2)]
    pub known: u64,
}

/// Whether evidence says something that is not known: one piece per log suffices until it is cleared, and the fork
/// that was cleared convicts no second time.
fn is_new(view: &dyn View, evidence: &Evidence) -> Result<bool, Fault> {
    let rows =
        tables::rows::<EvidenceRow>(view, &Key::evidence_of(&evidence.owner, evidence.log), usize::MAX)?;
    let size = evidence.smaller.claimed().size.0;
    Ok(rows.iter().all(|(_, row)| row.cleared.as_ref().is_some_and(|cleared| size > cleared.known)))
}

/// Keeps evidence and freezes its owner. Evidence against this member itself is kept and told, and freezes nobody.
pub fn convict(context: &Context, turn: &mut Turn<'_>, convicted: &Convicted) -> Result<(), Halt> {
    let evidence = convicted.evidence();
    if !is_new(turn.view(), evidence)? {
        return Ok(());
    }
    let Evidence { owner, log, .. } = evidence;
    let before = tables::rows::<EvidenceRow>(turn.view(), &Key::evidence_of(owner, *log), usize::MAX)?.len();
    let row = EvidenceRow { evidence: evidence.clone(), cleared: None };
    turn.put(&Key::evidence(owner, *log, before as u64), &row);
    let (a, b) = (evidence.smaller.claimed().size, evidence.larger.claimed().size);
    let found = format!("two histories of `{owner}/{log}` are signed, at sizes {a} and {b}");
    let what = if *owner == context.own.id {
        format!(
            "{found}, by this member's own key: peers will refuse it; find out whether a copy of this directory runs, \
             and see `xinqiao audit evidence` / 本成员的日志出现两个互相矛盾的签名版本，请检查是否有目录副本在运行"
        )
    } else {
        let now = turn.now;
        turn.put(&Key::frozen(owner), &now);
        format!(
            "{found}: `{owner}` is frozen; `xinqiao audit evidence --out DIR` exports the evidence, and only \
             `xinqiao federation unfreeze` ends this / 该成员签署了互相矛盾的日志，已被冻结"
        )
    };
    turn.effect(Effect::Alert(what));
    Ok(())
}

/// Whether nothing of a member is accepted here.
pub fn frozen(view: &dyn View, member: &MemberId) -> Result<bool, Fault> {
    Ok(tables::row::<Timestamp>(view, &Key::frozen(member))?.is_some())
}

/// The refusal of what comes from a frozen member.
pub fn refusal(member: &MemberId) -> Refusal {
    Refusal::new(Code::MemberFrozen, format!("`{member}`"))
}

/// Refuses what comes from any of these members when it is frozen.
pub fn refuse_frozen<'a>(
    view: &dyn View,
    members: impl IntoIterator<Item = &'a MemberId>,
) -> Result<(), Halt> {
    for member in members {
        if frozen(view, member)? {
            return Err(refusal(member).into());
        }
    }
    Ok(())
}

/// Trusts a frozen member again: the operator's decision, kept with its reason beside the evidence.
///
/// Nothing is mended by it. A copy or a cosignature of the history that its owner has left stays what it is.
pub fn unfreeze(
    context: &Context,
    turn: &mut Turn<'_>,
    token: Token,
    member: &MemberId,
    reason: String,
) -> Result<(), Halt> {
    if !frozen(turn.view(), member)? {
        return Halt::refuse(Code::NotFound, format!("`{member}` is not frozen here"));
    }
    if reason.trim().is_empty() || reason.len() > REASON_BYTES_MAX {
        let why = format!("a reason has 1 to {REASON_BYTES_MAX} bytes");
        return Halt::refuse(Code::CaseDenied, why);
    }
    for log in LogName::ALL {
        let copy = log::size(turn.view(), &log.mirror(member))?.0;
        let origin = log.origin(&context.registry.federation, member);
        let cosigned = turn.row::<WitnessRow>(&Key::witness(&origin))?.map_or(0, |row| row.size);
        let prefix = Key::evidence_of(member, log);
        let rows = tables::rows::<EvidenceRow>(turn.view(), &prefix, usize::MAX)?;
        for (n, (_, mut row)) in (0u64..).zip(rows).filter(|(_, (_, row))| row.cleared.is_none()) {
            let known = row.evidence.larger.claimed().size.0.max(copy).max(cosigned);
            row.cleared = Some(Cleared { at: turn.now, reason: reason.clone(), known });
            turn.put(&Key::evidence(member, log, n), &row);
        }
    }
    turn.delete(&Key::frozen(member));
    turn.effect(Effect::Alert(format!(
        "`{member}` is no longer frozen, by the operator: {reason} / 已解除冻结"
    )));
    turn.reply(token, Reply::ready(Response::Done));
    Ok(())
}

/// Every piece of evidence, the cleared ones too.
pub fn list(view: &dyn View) -> Result<Vec<EvidenceRow>, Fault> {
    let rows = tables::rows::<EvidenceRow>(view, &Key::all_evidence(), usize::MAX)?;
    Ok(rows.into_iter().map(|(_, row)| row).collect())
}

/// When which peer is asked for its heads, and when a proof about which log: kept in memory, since nothing is lost when
/// it begins anew.
#[derive(Debug, Default)]
pub struct Rounds {
    next: Timestamp,
    asked: usize,
    proofs: BTreeMap<(MemberId, LogName), Timestamp>,
}

impl Rounds {
    /// Asks the next peer in turn.
    pub fn due(&mut self, context: &Context, turn: &mut Turn<'_>) {
        if self.next > turn.now {
            return;
        }
        self.next = turn.now.plus_ms(GOSSIP_INTERVAL_MS);
        let own = &context.own.id;
        let peers: Vec<_> =
            context.registry.active().filter(|m| m.id != *own && !m.quic.is_empty()).collect();
        if let Some(peer) = self.asked.checked_rem(peers.len()).and_then(|at| peers.get(at)) {
            turn.effect(Effect::AskHeads(peer.id.clone()));
        }
        self.asked = self.asked.wrapping_add(1);
    }

    /// Has two heads proven, unless the same log was asked about just now: a stranger can repeat a checkpoint with a
    /// broken proof as often as it likes.
    pub fn doubt(
        &mut self,
        context: &Context,
        turn: &mut Turn<'_>,
        a: &SignedCheckpoint,
        b: &SignedCheckpoint,
    ) {
        let Some((owner, log)) = context.registry.log_of(&a.claimed().origin) else { return };
        let next = self.proofs.entry((owner.clone(), log)).or_default();
        if *next <= turn.now {
            *next = turn.now.plus_ms(PROOF_INTERVAL_MS);
            turn.effect(Effect::Prove(Box::new(Doubt::new(&owner, log, a, b))));
        }
    }
}
