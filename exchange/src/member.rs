//! One member: inputs in, one [`Step`] out. Dispatch only; each request has its own file.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::Arc,
};

use credit::{
    binding::{GrantOrder, KeyBinding},
    entry::{Changed, Read, Received, StatusFact, Version},
    grant::{Grant, GrantChange},
    id::{CaseId, ClerkId, ItemId, MemberId, QuestionId, RecordId, SourceId},
    mandate::Mandate,
    question::Question,
    repair::{Application, FalseMaterial},
    status::Change,
    value::Date,
};
use crypto::{Digest, Timestamp, sign::Verified};
use ledger::{
    checkpoint::{Checkpoint, SignedCheckpoint},
    log::{self, Log},
    store::{Batch, Overlay, View},
};

use crate::{
    answer::KnownNewest,
    check::Judgement,
    context::Context,
    erase,
    evidence::{self, Convicted, Rounds},
    grant, kept,
    logs::LogName,
    mandate::{self, MandateDraft},
    propagation, push, query,
    receipt::Proven,
    reconcile::{self, Judged},
    refusal::{Code, Fault, Halt, Refusal},
    registry::Registry,
    repair,
    step::{Effect, Reply, Step, Token},
    submit::{self, Submission},
    sync,
    turn::{Kept, Tail, Turn},
    turned_away::{self, Refusals},
    wire::{ApplicationDraft, AskDraft, GrantDraft, KeyDraft, Response},
    witness,
};

/// Everything that can happen to a member. Signatures inside are verified before (`Verified`), so that the serial
/// part does no heavy arithmetic.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "the queue is short; a box per question would cost more")]
pub enum Input {
    /// Hand out key slots for sealing.
    ReserveSlots {
        /// How many.
        count: u64,
    },
    /// A department's rows, sealed.
    Submit(Submission),
    /// Forget how far a file is taken in.
    ForgetFile {
        /// The department.
        source: SourceId,
        /// The item.
        item: ItemId,
        /// Digest of the file, as announced.
        file: Digest,
    },
    /// Register a department.
    AddSource(SourceId),
    /// A question to answer.
    Question {
        /// Who sent it: the asker, or the outlet.
        caller: MemberId,
        /// The question.
        question: Verified<Question>,
        /// Its grant.
        grant: Option<Verified<Grant>>,
        /// How its checks came out, once they were judged.
        judged: Option<Box<Judgement>>,
    },
    /// A question to pass on, as the outlet.
    Relay {
        /// The asker.
        caller: MemberId,
        /// The question.
        question: Verified<Question>,
    },
    /// A question that was refused before it came here: it is to leave a line.
    TurnedAway {
        /// The question.
        question: turned_away::Signed,
        /// Why.
        refusal: Refusal,
        /// How many of this kind there were since the last one that was handed in, this one among them.
        count: u64,
    },
    /// Ask, as the asker.
    Ask {
        /// What to ask.
        draft: AskDraft,
        /// A fresh id.
        id: QuestionId,
    },
    /// An answer has been opened and verified, as the asker.
    Received {
        /// One line per answering member.
        lines: Vec<Received>,
        /// Keep it for one of this member's systems.
        keep: Option<Box<kept::Keep>>,
    },
    /// Keep a grant for this member's systems.
    KeepGrant {
        /// Digest of the signed grant.
        digest: Digest,
        /// The grant, sealed.
        row: kept::KeptGrantRow,
    },
    /// Entries are about to be read over HTTP.
    Read(Read),
    /// Sign a mandate, as an auditor.
    Mandate(MandateDraft),
    /// An auditor's mandate, proven to be in its own log.
    Mandated {
        /// The auditor.
        caller: MemberId,
        /// The mandate.
        mandate: Verified<Mandate>,
    },
    /// Sign a grant, as a collector.
    IssueGrant {
        /// Its content.
        draft: GrantDraft,
        /// A fresh id.
        id: credit::id::GrantId,
    },
    /// Take a grant that its subject has signed.
    LodgeGrant(Verified<Grant>),
    /// Pause, resume or revoke a grant by its subject's order.
    OrderGrant(Verified<GrantOrder>),
    /// Vouch for a subject's key.
    BindKey(KeyDraft),
    /// Vouch for it no longer.
    WithdrawKey(Verified<KeyBinding>),
    /// Pause, resume or revoke a grant issued here.
    ChangeGrant(Digest, GrantChange),
    /// Take an application for repair at this counter.
    Apply {
        /// What is applied for.
        draft: ApplicationDraft,
        /// A fresh id.
        case: CaseId,
    },
    /// An application forwarded by a counter.
    Application {
        /// The counter.
        caller: MemberId,
        /// The application.
        application: Verified<Application>,
    },
    /// The authority's answer to an application forwarded from here.
    Forwarded {
        /// The application's id here.
        case: CaseId,
        /// The case it joined, or the refusal.
        outcome: Result<CaseId, Refusal>,
    },
    /// Accept a case.
    AcceptRepair {
        /// The case.
        case: CaseId,
        /// Who accepts it.
        clerk: Option<ClerkId>,
    },
    /// Decide a case.
    DecideRepair {
        /// The case.
        case: CaseId,
        /// Grant it.
        grant: bool,
        /// Reason of a refusal.
        reason: String,
        /// Who decides it.
        clerk: Option<ClerkId>,
    },
    /// Refuse a case whose material was found false, and bar its subject.
    RefuseFalse {
        /// The case.
        case: CaseId,
        /// Reason.
        reason: String,
        /// What was found.
        found: FalseMaterial,
        /// Who decides it.
        clerk: Option<ClerkId>,
    },
    /// Assign what is left of a case to a clerk.
    AssignCase {
        /// The case.
        case: CaseId,
        /// The clerk.
        clerk: ClerkId,
    },
    /// Answer an objection.
    AnswerObjection {
        /// The case.
        case: CaseId,
        /// What was found.
        finding: repair::Finding,
        /// Legal ground.
        ground: String,
        /// Who answers it.
        clerk: Option<ClerkId>,
    },
    /// Mask, withdrawal, expiry by the authority.
    ChangeStanding {
        /// The record.
        record: RecordId,
        /// What changes.
        change: Change,
        /// Legal ground.
        reason: String,
        /// SHA-256 of the paper it rests on.
        paper: Option<Digest>,
    },
    /// Another member's status entry, pushed.
    Notice {
        /// Who pushed it.
        caller: MemberId,
        /// The entry, checked.
        notice: Box<Proven>,
        /// Its statement, checked.
        fact: StatusFact,
    },
    /// A recipient's acknowledgement.
    Acknowledgement {
        /// Index of our event.
        event: u64,
        /// The recipient's entry, checked.
        proven: Box<Proven>,
        /// Its statement, checked.
        fact: StatusFact,
        /// The receipt, to be kept for the certificate.
        receipt: Vec<u8>,
    },
    /// A record that another member has pushed, opened and checked.
    Pushed {
        /// Who sent it.
        caller: MemberId,
        /// What its author's log says of it.
        arrived: Box<push::copy::Arrived>,
        /// As it came: what is kept.
        sealed: Vec<u8>,
    },
    /// The receiver of a push has lost the values.
    PushAgain {
        /// Who asks.
        caller: MemberId,
        /// The record.
        record: RecordId,
    },
    /// The receiver's acknowledgement of an own push.
    Taken {
        /// The receiver's entry, checked.
        proven: Box<Proven>,
        /// The receipt, to be kept.
        receipt: Vec<u8>,
    },
    /// Why the receiver did not take an own push.
    NotTaken {
        /// The record.
        record: RecordId,
        /// Index of the access entry that pushes it.
        index: u64,
        /// What the receiver said.
        refusal: Refusal,
    },
    /// Who is to publish an own record now ([`push::place_again`]).
    Placed {
        /// The record.
        record: RecordId,
        /// The version it was found for.
        version: u64,
        /// Where.
        place: Box<push::Place>,
    },
    /// Say that this member has published a record.
    Publish {
        /// The record.
        record: RecordId,
        /// On which day; today by default.
        on: Option<Date>,
    },
    /// Say that this member has taken down what it had published of a record.
    TakeDown {
        /// The record.
        record: RecordId,
        /// On which day; today by default.
        on: Option<Date>,
    },
    /// Entries of a log we keep a copy of.
    Pulled {
        /// Whose log; this member's own while catching up.
        owner: MemberId,
        /// Which.
        log: LogName,
        /// Index of the first entry.
        from: u64,
        /// The entries.
        entries: Vec<Vec<u8>>,
        /// The owner's checkpoint, verified.
        checkpoint: Checkpoint,
        /// The checkpoint as signed.
        note: SignedCheckpoint,
    },
    /// Every reachable peer has been asked what it has seen of this member.
    Restored {
        /// Largest size of each own log that a peer has proof of.
        seen: Vec<(LogName, u64)>,
    },
    /// Every reachable peer has been asked for its own news.
    Synced,
    /// Destroy the keys of records.
    Erase {
        /// Each with its versions, as the digests presume.
        records: Vec<(RecordId, Vec<Version>)>,
        /// Legal reason.
        reason: String,
        /// Digest of the key tree before and after all of them.
        tree: (Digest, Digest),
    },
    /// A peer has told which heads it has seen: what this witness had cosigned and forgotten, from
    /// [`witness::forgotten`]. Of the peer's own logs nothing is cosigned before.
    Heard {
        /// The peer; absent for the operator's word that nothing is forgotten.
        from: Option<MemberId>,
        /// Heads with this witness's own line.
        cosigned: Vec<SignedCheckpoint>,
    },
    /// A member is convicted of two histories.
    Evidence(Box<Convicted>),
    /// A peer that could not be reached is there again.
    Back(MemberId),
    /// Standings that differ from a peer's are mended by the log.
    Mend {
        /// The peer.
        peer: MemberId,
        /// What is to be done.
        judged: Box<Judged>,
    },
    /// Trust a frozen member again.
    Unfreeze {
        /// The member.
        member: MemberId,
        /// Why.
        reason: String,
    },
    /// A successor of the registry, accepted and kept in the directory: in effect from the next input.
    Registry(Arc<Registry>),
    /// A checkpoint to cosign: the body of tlog-witness `add-checkpoint`.
    AddCheckpoint(Vec<u8>),
    /// A witness's answer about an own checkpoint.
    Cosigned(witness::Answered),
    /// Time has passed.
    Tick,
}

/// What the member may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Taking back what peers have seen of its own logs. Nothing else may be appended: another entry at an index a peer
    /// already holds would be a fork.
    Restoring,
    /// Fetching peers' news; acknowledges them, and answers no question yet.
    Syncing,
    /// Serving.
    Ready,
    /// A peer has proof of more than we have: data was lost. Nothing is appended.
    Behind {
        /// Which log.
        log: LogName,
        /// Entries we have.
        have: u64,
        /// Entries a peer has seen.
        seen: u64,
    },
}

/// One member's state between steps. Everything durable is in the store; this is what can be rebuilt from it.
pub struct Member {
    context: Context,
    logs: BTreeMap<LogName, Log>,
    mirrors: BTreeMap<(MemberId, LogName), Log>,
    pulls: sync::Schedule,
    asking: witness::Asking,
    copies: push::copy::Asking,
    rounds: Rounds,
    refusals: Refusals,
    /// Owners that have not said, since the start, what this member has cosigned of their logs.
    unheard: BTreeSet<MemberId>,
    phase: Phase,
    /// Since when it serves.
    ready: Timestamp,
}

impl Member {
    /// Opens the member's logs and the copies it keeps.
    pub fn open(context: Context, view: &dyn View) -> Result<Self, Fault> {
        let (registry, id) = (&context.registry, &context.own.id);
        let mut logs = BTreeMap::new();
        for log in LogName::ALL {
            logs.insert(log, Log::open(log.as_str(), &log.origin(&registry.federation, id), view)?);
        }
        let mut mirrors = BTreeMap::new();
        for (key, name, origin) in copies(&context) {
            mirrors.insert(key, Log::open(&name, &origin, view)?);
        }
        let others = registry.active().filter(|m| m.id != *id && !m.quic.is_empty());
        let unheard = others.map(|m| m.id.clone()).collect();
        Ok(Self {
            unheard,
            rounds: Rounds::default(),
            refusals: Refusals::default(),
            context,
            logs,
            mirrors,
            pulls: sync::Schedule::default(),
            asking: witness::Asking::default(),
            copies: push::copy::Asking::default(),
            phase: Phase::Restoring,
            ready: Timestamp(0),
        })
    }

    /// What handlers look at.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Whether it may answer.
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// Size of one of the member's own logs.
    pub fn size(&self, log: LogName) -> u64 {
        self.logs.get(&log).map_or(0, |l| l.next_index().0)
    }

    /// Size of each copy it keeps.
    pub fn mirrored(&self) -> impl Iterator<Item = (&MemberId, LogName, u64)> {
        self.mirrors.iter().map(|((owner, log), l)| (owner, *log, l.next_index().0))
    }

    /// Decides about `inputs`, in order, in one step: one batch, one checkpoint per changed log.
    ///
    /// Shape: a refused input changes nothing and replies with its code. Errors: a `Fault` ends the process; what the
    /// member holds in memory is then no longer what is stored.
    pub fn handle(
        &mut self,
        now: Timestamp,
        inputs: Vec<(Option<Token>, Input)>,
        view: &dyn View,
    ) -> Result<Step, Fault> {
        let mut kept = Overlay::new(view);
        let mut effects = Vec::new();
        for (token, input) in inputs {
            let mut turn = Turn::new(now, &kept, self.tails());
            let reply_to = token.unwrap_or(Token(u64::MAX));
            let question = turned_away::Signed::in_input(&input);
            let count = if let Input::TurnedAway { count, .. } = &input { *count } else { 1 };
            match self.dispatch(&mut turn, reply_to, input) {
                Ok(()) => {
                    let done = turn.finish();
                    self.keep(done, &mut kept, &mut effects)?;
                }
                Err(Halt::Fault(fault)) => return Err(fault),
                Err(Halt::Refusal(refusal)) => {
                    // The refused turn is dropped; that there was a question is another turn. Who is not ready appends nothing.
                    if let Some(question) = question.filter(|_| self.phase == Phase::Ready) {
                        let mut turn = Turn::new(now, &kept, self.tails());
                        let noted = self.refusals.note(&self.context, &mut turn, &question, &refusal, count);
                        if let Err(Halt::Fault(fault)) = noted {
                            return Err(fault);
                        }
                        let done = turn.finish();
                        self.keep(done, &mut kept, &mut effects)?;
                    }
                    if token.is_some() {
                        let reply = Reply::ready(Response::Refused(refusal));
                        effects.push(Effect::Reply { token: reply_to, reply });
                    } else {
                        effects.push(Effect::Alert(refusal.to_string()));
                    }
                }
            }
        }
        let mut sealed = Batch::default();
        for (name, log) in &mut self.logs {
            let newest = log.seal(&self.context.own.signing, &kept, &mut sealed)?;
            if *name == LogName::Access {
                let newest = KnownNewest(newest.map(Arc::new));
                effects.iter_mut().filter_map(Effect::plan).for_each(|plan| plan.newest = newest.clone());
            }
        }
        let mut batch = kept.into_batch();
        batch.merge(sealed);
        Ok(Step::new(batch, effects))
    }

    /// Keeps what a turn leaves.
    fn keep(&mut self, done: Kept, kept: &mut Overlay<'_>, effects: &mut Vec<Effect>) -> Result<(), Fault> {
        kept.absorb(done.rows);
        for (log, bytes) in done.entries {
            if let Some(log) = self.logs.get_mut(&log) {
                log.append(bytes)?;
            }
        }
        effects.extend(done.effects);
        Ok(())
    }

    fn tails(&self) -> BTreeMap<LogName, Tail> {
        self.logs
            .iter()
            .map(|(name, l)| (*name, Tail { next: l.next_index().0, last: l.last_leaf() }))
            .collect()
    }

    fn dispatch(&mut self, turn: &mut Turn<'_>, token: Token, input: Input) -> Result<(), Halt> {
        if matches!(input, Input::Tick | Input::Back(_)) && self.phase != Phase::Ready {
            return Ok(());
        }
        self.admits(&input)?;
        evidence::refuse_frozen(turn.view(), speakers(&input, &self.context.own.id))?;
        let context = &self.context;
        match input {
            Input::ReserveSlots { count } => submit::reserve_slots(turn, token, count),
            Input::Submit(submission) => submit::submit(context, turn, token, submission),
            Input::ForgetFile { source, item, file } => submit::forget(turn, token, &source, &item, &file),
            Input::AddSource(source) => submit::add_source(turn, token, &source),
            Input::Question { caller, question, grant, judged } => {
                query::answer(context, turn, token, caller, &question, grant, judged.as_deref())
            }
            Input::TurnedAway { refusal, .. } => Err(refusal.into()),
            Input::Relay { caller, question } => query::relay(context, turn, token, &caller, &question),
            Input::Ask { draft, id } => query::ask(context, turn, token, draft, id),
            Input::Received { lines, keep } => {
                query::received(context, turn, token, lines, keep.map(|keep| *keep))
            }
            Input::KeepGrant { digest, row } => kept::keep_grant(turn, token, &digest, &row),
            Input::Mandate(draft) => mandate::give(context, turn, token, draft),
            Input::Mandated { caller, mandate } => mandate::open(context, turn, token, &caller, &mandate),
            Input::Read(read) => query::read(context, turn, token, read),
            Input::IssueGrant { draft, id } => grant::issue(context, turn, token, draft, id),
            Input::LodgeGrant(signed) => grant::lodge(context, turn, token, &signed),
            Input::OrderGrant(order) => grant::order(context, turn, token, &order),
            Input::BindKey(draft) => grant::bind(context, turn, token, draft),
            Input::WithdrawKey(binding) => grant::withdraw(context, turn, token, &binding),
            Input::ChangeGrant(digest, change) => grant::change(context, turn, token, digest, change),
            Input::Apply { draft, case } => repair::apply(context, turn, token, draft, case),
            Input::Application { caller, application } => {
                repair::application(context, turn, token, &caller, &application)
            }
            Input::Forwarded { case, outcome } => repair::forwarded(turn, case, outcome),
            Input::AcceptRepair { case, clerk } => repair::accept(context, turn, token, case, clerk),
            Input::AssignCase { case, clerk } => repair::assign(context, turn, token, case, clerk),
            Input::DecideRepair { case, grant, reason, clerk } => {
                let refusal = repair::Decision::Refuse { reason, false_material: None };
                let decision = if grant { repair::Decision::Grant } else { refusal };
                repair::decide(context, turn, token, case, decision, clerk)
            }
            Input::RefuseFalse { case, reason, found, clerk } => {
                let refusal = repair::Decision::Refuse { reason, false_material: Some(found) };
                repair::decide(context, turn, token, case, refusal, clerk)
            }
            Input::AnswerObjection { case, finding, ground, clerk } => {
                repair::answer(context, turn, token, case, finding, ground, clerk)
            }
            Input::ChangeStanding { record, change, reason, paper } => {
                let changed =
                    Changed { record, change, case: None, rule: reason, paper, clerk: None, act: None };
                repair::change_standing(context, turn, token, changed)
            }
            Input::Notice { caller, notice, fact } => {
                propagation::notice(context, turn, token, &caller, &notice, &fact)?;
                let key = (caller, LogName::Status);
                if self.mirrors.get(&key).is_some_and(|copy| copy.next_index().0 <= notice.index) {
                    self.pulls.hurry(&key);
                }
                Ok(())
            }
            Input::Acknowledgement { event, proven, fact, receipt } => {
                propagation::acknowledgement(context, turn, event, &proven, &fact, receipt)
            }
            Input::Pushed { caller, arrived, sealed } => {
                push::copy::take(context, turn, token, &caller, &arrived, sealed)
            }
            Input::PushAgain { caller, record } => push::again(turn, token, &caller, &record),
            Input::Taken { proven, receipt } => push::taken(context, turn, &proven, receipt),
            Input::NotTaken { record, index, refusal } => push::not_taken(turn, &record, index, &refusal),
            Input::Placed { record, version, place } => push::placed(context, turn, &record, version, *place),
            Input::Publish { record, on } => push::publish::publish(context, turn, token, record, on),
            Input::TakeDown { record, on } => push::down::take_down(context, turn, token, record, on),
            Input::Pulled { owner, log, from, entries, checkpoint, note } => {
                let pulled = sync::Pulled { owner, log, from, entries, checkpoint, note };
                let own = pulled.owner == self.context.own.id;
                if own && self.phase != Phase::Restoring {
                    return Halt::refuse(Code::CallerNotAllowed, "own entries are taken back at start only");
                }
                let key = (pulled.owner.clone(), pulled.log);
                let target = if own { self.logs.get_mut(&pulled.log) } else { self.mirrors.get_mut(&key) };
                let Some(target) = target else {
                    return Halt::refuse(
                        Code::NotFound,
                        format!("no copy of `{}/{}` is kept here", key.0, key.1),
                    );
                };
                let (note, continues) = (pulled.note.clone(), pulled.from == target.next_index().0);
                let kept = log::head(turn.view(), target.name())?.filter(|_| continues && !own);
                match sync::pulled(&self.context, turn, target, pulled) {
                    Ok(()) => turn.reply(token, Reply::ready(Response::Done)),
                    // Nothing was written. Either these are not the log's entries, or it has another past than the copy.
                    Err(Halt::Refusal(refusal)) if kept.is_some() => {
                        if let Some(kept) = kept {
                            self.rounds.doubt(&self.context, turn, &kept, &note);
                        }
                        turn.effect(Effect::Alert(refusal.to_string()));
                        turn.reply(token, Reply::ready(Response::Refused(refusal)));
                    }
                    Err(halt) => return Err(halt),
                }
                Ok(())
            }
            Input::Restored { seen } => {
                let size = |log| self.logs.get(&log).map_or(0, |l| l.next_index().0);
                self.phase = sync::restored(turn, &seen, size);
                turn.reply(token, Reply::ready(Response::Done));
                Ok(())
            }
            Input::Synced => {
                (self.phase, self.ready) = (Phase::Ready, turn.now);
                self.copies.begin(turn.now);
                sync::adopt_registry(context, turn)?;
                for (name, log) in &mut self.logs {
                    witness::renew(context, turn, *name, log)?;
                }
                turn.reply(token, Reply::ready(Response::Done));
                Ok(())
            }
            Input::Erase { records, reason, tree } => {
                erase::erase(context, turn, token, records, &reason, tree)
            }
            Input::Heard { from, cosigned } => {
                witness::recall(context, turn, &cosigned)?;
                match from {
                    Some(peer) => drop(self.unheard.remove(&peer)),
                    None => self.unheard.clear(),
                }
                turn.reply(token, Reply::ready(Response::Done));
                Ok(())
            }
            Input::Registry(registry) => {
                let next = Context { registry, ..self.context.clone() };
                // A member that starts writes it down when it is ready; until then it needs the keys in it, to read its own
                // entries and its peers'.
                if self.phase == Phase::Ready {
                    sync::adopt_registry(&next, turn)?;
                }
                for (key, name, origin) in copies(&next) {
                    if let Entry::Vacant(place) = self.mirrors.entry(key) {
                        place.insert(Log::open(&name, &origin, turn.view())?);
                    }
                }
                let id = &next.own.id;
                self.mirrors.retain(|(owner, log), _| next.registry.keeps_copy(id, owner, *log));
                self.context = next;
                turn.reply(token, Reply::ready(Response::Done));
                Ok(())
            }
            Input::Evidence(convicted) => evidence::convict(context, turn, &convicted),
            Input::Back(peer) => propagation::hurry(turn, &peer),
            Input::Mend { peer, judged } => reconcile::mend(context, turn, token, &peer, &judged),
            Input::Unfreeze { member, reason } => evidence::unfreeze(context, turn, token, &member, reason),
            Input::AddCheckpoint(body) => {
                witness::add_checkpoint(context, turn, token, &body, &self.unheard, &mut self.rounds)
            }
            Input::Cosigned(answer) => witness::answered(context, turn, answer),
            Input::Tick => {
                propagation::due(context, turn, self.ready)?;
                let sizes = self.mirrors.iter().map(|((owner, log), l)| (owner, *log, l.next_index().0));
                self.pulls.due(turn, sizes)?;
                self.refusals.due(context, turn)?;
                self.rounds.due(context, turn);
                self.copies.due(turn)?;
                self.asking.due(context, turn)
            }
        }
    }

    /// Whether the phase admits an input. While own logs are being restored only that goes on; while peers' news are
    /// fetched only they are acted on; a member that has lost data appends nothing until its operator restores it.
    fn admits(&self, input: &Input) -> Result<(), Halt> {
        // What convicts a member, and what it has cosigned, is right in every phase: it appends nothing.
        if matches!(input, Input::Heard { .. } | Input::Evidence(_)) {
            return Ok(());
        }
        let own = &self.context.own.id;
        let restoring = matches!(input, Input::Restored { .. })
            || matches!(input, Input::Pulled { owner, .. } if owner == own);
        let syncing = matches!(
            input,
            Input::Synced
                | Input::Pulled { .. }
                | Input::Notice { .. }
                | Input::Acknowledgement { .. }
                | Input::Mend { .. }
        );
        match &self.phase {
            Phase::Ready => Ok(()),
            Phase::Restoring | Phase::Syncing if matches!(input, Input::Registry(_)) => Ok(()),
            Phase::Restoring if restoring => Ok(()),
            Phase::Syncing if syncing => Ok(()),
            Phase::Restoring | Phase::Syncing => Halt::refuse(Code::MemberStarting, ""),
            Phase::Behind { log, have, seen } => Halt::refuse(
                Code::MemberBehind,
                format!("log `{log}` has {have} entries here, and a peer has seen {seen}"),
            ),
        }
    }
}

/// The copies a member keeps: whose log and which, where it is stored, its origin.
fn copies(context: &Context) -> Vec<((MemberId, LogName), String, String)> {
    let (registry, id) = (&context.registry, &context.own.id);
    let owners = registry.active().filter(|m| !m.quic.is_empty());
    let kept = owners.flat_map(|m| LogName::ALL.map(|log| (m.id.clone(), log)));
    kept.filter(|(owner, log)| registry.keeps_copy(id, owner, *log))
        .map(|(owner, log)| {
            let (name, origin) = (log.mirror(&owner), log.origin(&registry.federation, &owner));
            ((owner, log), name, origin)
        })
        .collect()
}

/// The members whose word an input carries: of a frozen one nothing is accepted.
fn speakers<'a>(input: &'a Input, own: &MemberId) -> Vec<&'a MemberId> {
    match input {
        Input::Question { caller, question, grant, .. } => {
            let grant = grant.as_ref().map(|grant| &grant.get().collector);
            [caller, &question.get().asker].into_iter().chain(grant).collect()
        }
        Input::TurnedAway { question, .. } => vec![&question.caller, &question.asker],
        Input::Application { caller, .. }
        | Input::Relay { caller, .. }
        | Input::Mandated { caller, .. }
        | Input::Pushed { caller, .. }
        | Input::PushAgain { caller, .. }
        | Input::Notice { caller, .. } => vec![caller],
        Input::Acknowledgement { proven, .. } | Input::Taken { proven, .. } => vec![&proven.member],
        Input::Pulled { owner, .. } if owner != own => vec![owner],
        _ => Vec::new(),
    }
}
