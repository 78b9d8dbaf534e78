//! What a running node does around its member: inputs into steps, effects into frames, frames into inputs, start-up.
//!
//! It follows `node/src/{core,run,serve}.rs` with the virtual clock and network in place of tokio and QUIC. Start-up
//! is one stage after the other: own logs first, in the order in which they depend on each other, then the copies,
//! then the word that the member has caught up.

use credit::{
    grant::Grant,
    id::MemberId,
    question::{Basis, Question},
};
use crypto::sign::{Signed, Verified};
use exchange::{
    answer::AnswerNumber,
    artifact::status_fact,
    evidence::{self, Settled},
    limits::FRAME_BYTES_MAX,
    logs::LogName,
    member::Input,
    read,
    reconcile::{self, Came},
    refusal::{Code, Fault, Refusal},
    step::{Effect, Reply, Token},
    wire::{Outcome, Part, Request, Response, from_frame, to_frame},
    witness,
};
use ledger::{checkpoint::SignedCheckpoint, log, store::memory::Fault as DiskFault};

use super::{
    Broken, Check, Sim, TICK_MS,
    disk::Disk,
    federation::{CATCH_UP_ORDER, Call, CatchUp, Relay, Waiter},
    mutant::{Mutant, Mutated},
    network::{Envelope, Event},
    reconcile::silent,
};

/// Time a peer has to answer.
pub(super) const PEER_WAIT_MS: u64 = 5_000;
/// Time a peer has to answer while a member starts.
const START_WAIT_MS: u64 = 2_000;
/// What is left of a question's time for the way back through the outlet.
const RELAY_MARGIN_MS: u64 = 200;
/// One step in this many that writes is cut short in one of the ways of [`Fate`].
const FATE_ONE_IN: u64 = 60;

/// A peer did not answer, or refused.
struct Silent;

/// What a member knew before a step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Before {
    /// Entries of its status log: what it had verified stands in them.
    standing: usize,
    /// It had convicted the liar.
    pub(super) convicts: bool,
}

/// How a step ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Committed and released.
    Whole,
    /// The process ends before the commit.
    Before,
    /// The process ends after the commit, before the release.
    After,
    /// The write fails; the disk holds nothing of it, or all of it.
    Failed(DiskFault),
    /// Released, and never committed: a mistake of the harness.
    Unwritten,
}

pub(super) fn fault(fault: Fault) -> Broken {
    Broken::new(Check::Fault, fault.0)
}

impl Sim {
    /// Starts a member from its disk.
    pub(super) fn open(&mut self, at: usize) -> Result<(), Broken> {
        if self.nodes[at].member.is_some() || self.nodes[at].away {
            return Ok(());
        }
        let node = &mut self.nodes[at];
        node.open_with(self.config.mutant)
            .map_err(|f| Broken::new(Check::Durable, format!("`{}` does not open: {f}", node.id)))?;
        self.checker.reopened(&self.nodes[at], at)?;
        self.network.note(&[at as u64, self.now, self.nodes[at].life], b"open");
        self.say(|| format!("node {at} opens"));
        self.nodes[at].catch_up = Some(CatchUp::default());
        // Who lies asks nobody what it has shown.
        if self.lies(at) || (self.config.mutant == Some(Mutant::SkipCatchUp) && self.nodes[at].restored) {
            self.nodes[at].restored = false;
            self.step(at, vec![(None, Input::Restored { seen: Vec::new() })])?;
            return self.ready(at);
        }
        self.stage(at)
    }

    /// Sends the calls of the stage; where there are none it is over at once.
    pub(super) fn stage(&mut self, at: usize) -> Result<(), Broken> {
        let Some(stage) = self.nodes[at].catch_up.as_ref().map(|c| c.stage) else { return Ok(()) };
        let registry = self.nodes[at].context.registry.clone();
        let own = self.nodes[at].id.clone();
        let mut pulls: Vec<(usize, MemberId, LogName)> = Vec::new();
        let mut told: Vec<usize> = Vec::new();
        for (to, peer) in self.nodes.iter().enumerate() {
            if to == at || self.reach(at, &peer.id) != Some(to) {
                continue;
            }
            match CATCH_UP_ORDER.get(stage) {
                Some(log) if registry.keeps_copy(&peer.id, &own, *log) => pulls.push((to, own.clone(), *log)),
                Some(_) => {}
                None => {
                    told.push(to);
                    let copied = |log: &LogName| registry.keeps_copy(&own, &peer.id, *log);
                    pulls.extend(
                        LogName::ALL.into_iter().filter(copied).map(|log| (to, peer.id.clone(), log)),
                    );
                }
            }
        }
        let none = pulls.is_empty() && told.is_empty();
        for to in told {
            // Before anything is cosigned: what this witness had cosigned, by its own lines on what peers have seen.
            let call = self.call(at, to, &Request::Heads, Call::Heads, START_WAIT_MS)?;
            if let Some(catch_up) = self.nodes[at].catch_up.as_mut() {
                catch_up.left.insert(call);
            }
        }
        for (to, owner, log) in pulls {
            let call = self.pull(at, to, owner, log, START_WAIT_MS)?;
            if let Some(catch_up) = self.nodes[at].catch_up.as_mut() {
                catch_up.left.insert(call);
            }
        }
        if none { self.staged(at) } else { Ok(()) }
    }

    /// A pull has come back, with an input or without. During a start it counts for its stage: own entries are put
    /// aside until all peers have spoken, peers' news are handed in at once.
    fn started(
        &mut self,
        at: usize,
        (from, call): (usize, u64),
        owner: &MemberId,
        log: LogName,
        pulled: Result<Option<Input>, Silent>,
    ) -> Result<(), Broken> {
        let peer = self.nodes[from].id.clone();
        let node = &mut self.nodes[at];
        let own = *owner == node.id;
        let mirror = node.context.registry.member(&node.id).is_ok_and(|m| m.mirrors.contains(&peer));
        let of_start = node.catch_up.as_mut().filter(|c| c.left.contains(&call));
        let Some(catch_up) = of_start else {
            if let Ok(Some(input)) = pulled
                && !own
            {
                self.step(at, vec![(None, input)])?;
            }
            return self.carried(at, call, Came::Done);
        };
        catch_up.left.remove(&call);
        match pulled {
            Ok(pulled) if own => {
                let size = match &pulled {
                    Some(Input::Pulled { checkpoint, .. }) => checkpoint.size.0,
                    _ => 0,
                };
                catch_up.seen.push((log, size));
                catch_up.mirrored.extend(mirror.then_some(log));
                catch_up.found.extend(pulled.map(|input| (size, input)));
            }
            Ok(Some(input)) => self.step(at, vec![(None, input)])?,
            Ok(None) => {}
            Err(Silent) => catch_up.missed += 1,
        }
        match &self.nodes[at].catch_up {
            Some(catch_up) if catch_up.left.is_empty() => self.staged(at),
            _ => Ok(()),
        }
    }

    /// Every call of a stage has come back.
    pub(super) fn staged(&mut self, at: usize) -> Result<(), Broken> {
        let Some(catch_up) = self.nodes[at].catch_up.as_mut() else { return Ok(()) };
        // The longest first; a shorter one is then known already, or shows another history.
        let mut found = core::mem::take(&mut catch_up.found);
        found.sort_by_key(|(size, _)| core::cmp::Reverse(*size));
        for (_, input) in found {
            self.step(at, vec![(None, input)])?;
        }
        let node = &mut self.nodes[at];
        let (restored, again) = (node.restored, Event::CatchUpAgain { node: at, life: node.life });
        let Some(catch_up) = node.catch_up.as_mut() else { return Ok(()) };
        if catch_up.stage + 1 < CATCH_UP_ORDER.len() {
            catch_up.stage += 1;
            return self.stage(at);
        }
        if catch_up.stage < CATCH_UP_ORDER.len() {
            let seen = core::mem::take(&mut catch_up.seen);
            if core::mem::take(&mut catch_up.mirrored).len() < LogName::ALL.len() && restored {
                // A disk that is known to be old goes on only after a mirror has spoken about each of its logs.
                catch_up.stage = 0;
                self.network.schedule(self.now + 1_000, again);
                return Ok(());
            }
            catch_up.stage += 1;
            self.step(at, vec![(None, Input::Restored { seen })])?;
            return self.stage(at);
        }
        if restored && core::mem::take(&mut catch_up.missed) > 0 {
            // Nor does it answer before everybody has told what it may have forgotten.
            self.network.schedule(self.now + 1_000, again);
            return Ok(());
        }
        node.restored = false;
        self.ready(at)
    }

    fn ready(&mut self, at: usize) -> Result<(), Broken> {
        self.nodes[at].catch_up = None;
        self.step(at, vec![(None, Input::Synced)])?;
        let life = self.nodes[at].life;
        self.network.schedule(self.now + 1, Event::Tick { node: at, life });
        self.network.schedule(self.now + 1, Event::Turn { node: at, life });
        self.welcome(at)
    }

    pub(super) fn tick(&mut self, at: usize, life: u64) -> Result<(), Broken> {
        if self.nodes[at].life != life || self.nodes[at].member.is_none() {
            return Ok(());
        }
        self.network.schedule(self.now + TICK_MS, Event::Tick { node: at, life });
        self.submit(at, None, Input::Tick)
    }

    /// Hands an input in. Sometimes it waits and shares a step with the next one, as under load.
    pub(super) fn submit(&mut self, at: usize, token: Option<Token>, input: Input) -> Result<(), Broken> {
        if self.nodes[at].member.is_none() {
            return Ok(());
        }
        let waits = !matches!(input, Input::Tick) && self.nodes[at].inbox.len() < 8 && self.rng.one_in(3);
        self.nodes[at].inbox.push((token, input));
        if waits {
            return Ok(());
        }
        let inputs = core::mem::take(&mut self.nodes[at].inbox);
        self.step(at, inputs)
    }

    /// decide → commit → release, unless something comes between.
    pub(super) fn step(&mut self, at: usize, inputs: Vec<(Option<Token>, Input)>) -> Result<(), Broken> {
        let (now, mutant) = (self.clock(at), self.config.mutant);
        let convicts = self.lie.is_some() && !self.lies(at) && self.convicts(at);
        let faults = !self.network.is_calm();
        let unreadable = faults && self.rng.one_in(FATE_ONE_IN * 8);
        if unreadable {
            self.nodes[at].disk.fail_next_read();
        }
        let verbose = self.config.verbose;
        let names: Vec<String> = inputs.iter().filter(|_| verbose).map(|(_, input)| name_of(input)).collect();
        let node = &mut self.nodes[at];
        let Some(member) = node.member.as_mut() else { return Ok(()) };
        self.figures.steps += 1;
        let disk = Mutated::new(&node.disk, &node.id, node.restored, mutant);
        let step = match member.handle(now, inputs, &disk) {
            Ok(step) => step,
            Err(f) if f.0.contains("on demand") => {
                self.crash(at, None);
                return Ok(());
            }
            Err(f) => return Err(Broken::new(Check::Fault, format!("`{}`: {f}", node.id))),
        };
        // Whoever has met the fault and gone on has taken a failed read for an empty answer.
        if unreadable && log::head(&node.disk, LogName::Status.as_str()).is_ok() {
            return Err(Broken::new(Check::Fault, format!("`{}` passes over a failed read", node.id)));
        }
        let fate = self.fate(step.writes());
        let before = Before { standing: self.checker.standing_of(at), convicts };
        let node = &self.nodes[at];
        let disk = Mutated::new(&node.disk, &node.id, node.restored, mutant);
        let effects = match fate {
            Fate::Before => {
                self.crash(at, None);
                return Ok(());
            }
            Fate::Failed(left) => {
                node.disk.fail_next_apply(left);
                drop(step.commit(&disk));
                self.crash(at, Some(left));
                return Ok(());
            }
            Fate::Unwritten => step.commit(&Disk::default()).map_err(|e| fault(e.into()))?,
            Fate::Whole | Fate::After => step.commit(&disk).map_err(|e| fault(e.into()))?,
        };
        self.checker.stepped(&self.nodes[at], at)?;
        self.publishable(at)?;
        self.say(|| format!("node {at} {names:?} -> {} effects", effects.len()));
        if fate == Fate::After {
            self.crash(at, None);
            return Ok(());
        }
        for effect in effects {
            // What was released before may have led to a step in which the process has ended.
            if self.nodes[at].member.is_some() {
                self.release(at, effect, before)?;
            }
        }
        Ok(())
    }

    fn fate(&mut self, writes: bool) -> Fate {
        if self.network.is_calm() || !writes {
            return Fate::Whole;
        }
        if self.config.mutant == Some(Mutant::AnswerBeforeCommit) && self.rng.one_in(50) {
            return Fate::Unwritten;
        }
        if !self.rng.one_in(FATE_ONE_IN) {
            return Fate::Whole;
        }
        match self.rng.below(4) {
            0 => Fate::Before,
            1 => Fate::After,
            2 => Fate::Failed(DiskFault::Lost),
            _ => Fate::Failed(DiskFault::Persisted),
        }
    }

    /// Lets one effect out. `before` is what the member knew before the step.
    fn release(&mut self, at: usize, effect: Effect, before: Before) -> Result<(), Broken> {
        match effect {
            Effect::Reply { token, reply } => {
                let Some(waiter) = self.nodes[at].waiting.remove(&token) else { return Ok(()) };
                self.decided(at, waiter, reply, before)
            }
            Effect::Deliver { event, to } => self.deliver(at, event, &to),
            Effect::Push(record) => self.push(at, &record, exchange::push::plan),
            Effect::PushAgain(record) => self.push(at, &record, exchange::push::plan_again),
            Effect::Place(record) => self.place(at, record),
            Effect::AskPush { to, record } => {
                let Some(to) = self.reach(at, &to) else { return Ok(()) };
                self.call(at, to, &Request::PushAgain(record), Call::PushAgain, PEER_WAIT_MS)?;
                Ok(())
            }
            Effect::Forward { to, case, application } => {
                let Some(to) = self.reach(at, &to) else { return Ok(()) };
                self.call(at, to, &Request::Apply(application), Call::Forward { case }, PEER_WAIT_MS)?;
                Ok(())
            }
            Effect::Pull { owner, log, .. } => {
                let Some(to) = self.reach(at, &owner) else { return Ok(()) };
                self.pull(at, to, owner, log, PEER_WAIT_MS)?;
                Ok(())
            }
            Effect::AskWitness { witness: by, log, old } => {
                let Some(to) = self.reach(at, &by) else { return Ok(()) };
                let Some(request) = witness::request(&self.nodes[at].disk, log, old).map_err(fault)? else {
                    return Ok(());
                };
                let body = request.body().into_bytes().into();
                let note = SignedCheckpoint::parse(&request.note);
                let call = Call::Witness { log, note: note.map_err(|e| fault(Fault(e.to_string())))? };
                self.call(at, to, &Request::AddCheckpoint(body), call, PEER_WAIT_MS)?;
                Ok(())
            }
            Effect::AskHeads(_) if self.lies(at) || self.config.mutant == Some(Mutant::SilentPeers) => Ok(()),
            Effect::AskHeads(peer) => {
                let Some(to) = self.reach(at, &peer) else { return Ok(()) };
                self.call(at, to, &Request::Heads, Call::Heads, PEER_WAIT_MS)?;
                Ok(())
            }
            Effect::Prove(doubt) => self.prove(at, *doubt, 0),
            Effect::Puncture(_) if self.config.mutant == Some(Mutant::KeepErasedKeys) => Ok(()),
            Effect::Puncture(slots) => {
                for slot in slots {
                    self.nodes[at].tree.puncture(slot);
                }
                Ok(())
            }
            Effect::Erase(records) | Effect::Retire(records) => self.erase_withdrawn(at, &records),
            Effect::Alert(what) => {
                self.say(|| format!("node {at} alert: {what}"));
                self.alerts.push((at, what));
                Ok(())
            }
        }
    }

    /// Completes a decided reply from the disk, and checks what it lets out.
    pub(super) fn complete(&mut self, at: usize, reply: Reply, before: Before) -> Result<Response, Broken> {
        match reply {
            Reply::Answer(plan) => {
                self.checker.durable(at, LogName::Access, plan.index, &self.nodes[at])?;
                let (seed, number) = (self.rng.secret(), AnswerNumber(self.rng.bytes()));
                match self.nodes[at].seal(&plan, &seed, number).map_err(fault)? {
                    Ok(answer) => {
                        self.figures.answers += 1;
                        self.checker.disclosed(at, &plan, self.clock(at), before.standing)?;
                        Ok(Response::Answer(Box::new(answer)))
                    }
                    Err(refusal) => Ok(Response::Refused(refusal)),
                }
            }
            Reply::Receipt(index) => {
                self.checker.durable(at, LogName::Status, index, &self.nodes[at])?;
                let node = &self.nodes[at];
                read::complete(&node.context, &node.disk, Reply::Receipt(index)).map_err(fault)
            }
            ready => {
                let node = &self.nodes[at];
                read::complete(&node.context, &node.disk, ready).map_err(fault)
            }
        }
    }

    pub(super) fn replied(&mut self, at: usize, waiter: Waiter, response: Response) -> Result<(), Broken> {
        match waiter {
            Waiter::Peer { to, call, .. } => self.answer(at, to, call, response),
            Waiter::Operator(operation) => self.operated(at, operation, response),
            Waiter::Mend(number) => self.go_on(at, number, Came::of(Ok(response))),
            Waiter::Relay { to, call, question } => match response {
                Response::Relay(members) => self.relay(at, to, call, &question, members),
                other => self.answer(at, to, call, other),
            },
        }
    }

    /// Passes a question on to every member that may hold something.
    fn relay(
        &mut self,
        at: usize,
        to: usize,
        call: u64,
        question: &Signed<Question>,
        members: Vec<MemberId>,
    ) -> Result<(), Broken> {
        let deadline = self.nodes[at].context.registry.verify(question).map_or(0, |q| q.get().deadline.0);
        let left = deadline.saturating_sub(self.clock(at).0).saturating_sub(RELAY_MARGIN_MS);
        let relay = self.nodes[at].number();
        self.nodes[at].relays.insert(relay, Relay { to, call, left: members.len(), parts: Vec::new() });
        for member in members {
            let Some(peer) = self.reach(at, &member) else { continue };
            if evidence::frozen(&self.nodes[at].disk, &member).map_err(fault)? {
                let denied = Outcome::Denied(evidence::refusal(&member));
                self.part(at, relay, member, denied)?;
                continue;
            }
            self.call(at, peer, &Request::Ask(question.clone()), Call::Part { relay }, left)?;
        }
        Ok(())
    }

    fn part(&mut self, at: usize, relay: u64, member: MemberId, outcome: Outcome) -> Result<(), Broken> {
        let Some(row) = self.nodes[at].relays.get_mut(&relay) else { return Ok(()) };
        row.parts.push(Part { member, outcome });
        row.left -= 1;
        if row.left > 0 {
            return Ok(());
        }
        let Some(mut row) = self.nodes[at].relays.remove(&relay) else { return Ok(()) };
        row.parts.sort_by(|a, b| a.member.cmp(&b.member));
        self.answer(at, row.to, row.call, Response::Parts(row.parts))
    }

    /// Fetches what is new of `owner`'s log from a peer; returns the call.
    pub(super) fn pull(
        &mut self,
        at: usize,
        to: usize,
        owner: MemberId,
        name: LogName,
        wait: u64,
    ) -> Result<u64, Broken> {
        let node = &self.nodes[at];
        let stored = if owner == node.id { name.as_str().to_owned() } else { name.mirror(&owner) };
        let from = log::size(&node.disk, &stored).map_err(|e| fault(e.into()))?.0;
        let request = Request::Pull { owner: owner.clone(), log: name, from };
        self.call(at, to, &request, Call::Pull { owner, log: name, from, got: Vec::new() }, wait)
    }

    pub(super) fn call(
        &mut self,
        at: usize,
        to: usize,
        request: &Request,
        call: Call,
        wait: u64,
    ) -> Result<u64, Broken> {
        let number = self.nodes[at].number();
        let life = self.nodes[at].life;
        self.nodes[at].calls.insert(number, (to, call));
        let frame = to_frame(request);
        self.checker.request(request, &frame)?;
        self.network.schedule(self.now + wait, Event::Timeout { node: at, life, call: number });
        let envelope = Envelope { from: at, to, call: number, response: false, frame };
        self.network.send(self.now, &mut self.rng, envelope);
        Ok(number)
    }

    fn answer(&mut self, at: usize, to: usize, call: u64, response: Response) -> Result<(), Broken> {
        let frame = to_frame(&response);
        self.checker.response(&response, &frame)?;
        self.figures.receipts += u64::from(matches!(response, Response::Receipt(_)));
        let envelope = Envelope { from: at, to, call, response: true, frame };
        self.network.send(self.now, &mut self.rng, envelope);
        Ok(())
    }

    pub(super) fn arrive(&mut self, envelope: Envelope) -> Result<(), Broken> {
        let Envelope { from, to, call, response, frame } = envelope;
        if self.nodes[to].member.is_none() {
            return Ok(());
        }
        self.is_there(to, from)?;
        if self.nodes[to].member.is_none() {
            return Ok(());
        }
        let broken = |r: Refusal| Broken::new(Check::Fault, format!("a frame does not decode: {r}"));
        if response {
            let response: Response = from_frame(&frame, FRAME_BYTES_MAX).map_err(broken)?;
            match self.nodes[to].calls.remove(&call) {
                Some((peer, kind)) if peer == from => self.returned(to, from, call, kind, response),
                _ => Ok(()),
            }
        } else {
            let request: Request = from_frame(&frame, FRAME_BYTES_MAX).map_err(broken)?;
            match self.serve(to, from, call, request) {
                Ok(done) => done,
                Err(refusal) => self.answer(to, from, call, Response::Refused(refusal)),
            }
        }
    }

    /// A peer's request: verified, then handed in. The outer error is a refusal to the peer.
    fn serve(
        &mut self,
        at: usize,
        from: usize,
        call: u64,
        request: Request,
    ) -> Result<Result<(), Broken>, Refusal> {
        let caller = self.nodes[from].id.clone();
        let registry = self.nodes[at].context.registry.clone();
        let (waiter, input) = match request {
            Request::Ask(signed) => {
                let question: Verified<Question> = registry.verify(&signed)?;
                if registry.outlet().is_some_and(|o| o.id == self.nodes[at].id) {
                    (Waiter::Relay { to: from, call, question: signed }, Input::Relay { caller, question })
                } else if !self.nodes[at].role.collects() {
                    return Err(Refusal::new(Code::CallerNotAllowed, "this member answers no questions"));
                } else {
                    let grant: Option<Verified<Grant>> = match &question.get().basis {
                        Basis::Grant(signed) => Some(registry.verify_grant(signed)?),
                        _ => None,
                    };
                    let waiter = Waiter::Peer { to: from, call, question: Some(signed.digest()) };
                    (waiter, Input::Question { caller, question, grant, judged: None })
                }
            }
            Request::Notice(receipt) => {
                let proven = receipt.verify(&registry)?;
                let fact = status_fact(&registry, &proven)?;
                let waiter = Waiter::Peer { to: from, call, question: None };
                (waiter, Input::Notice { caller, notice: Box::new(proven), fact })
            }
            Request::Push(answer) => {
                (Waiter::Peer { to: from, call, question: None }, self.pushed(at, caller, &answer)?)
            }
            Request::PushAgain(record) => {
                (Waiter::Peer { to: from, call, question: None }, Input::PushAgain { caller, record })
            }
            Request::Apply(signed) => {
                let application = registry.verify(&signed)?;
                (Waiter::Peer { to: from, call, question: None }, Input::Application { caller, application })
            }
            Request::Pull { owner, log, from: first } => {
                let node = &self.nodes[at];
                let read = read::entries(&node.context, &node.disk, &caller, &owner, log, first);
                return Ok(read.map_err(fault).and_then(|response| self.answer(at, from, call, response)));
            }
            Request::AddCheckpoint(body) => {
                (Waiter::Peer { to: from, call, question: None }, Input::AddCheckpoint(body.0))
            }
            Request::Heads => {
                let node = &self.nodes[at];
                let mut read = evidence::heads(&node.context, &node.disk, &caller);
                if let Ok(Response::Heads { evidence, .. }) = &mut read
                    && self.lies(at)
                {
                    evidence.clear();
                }
                return Ok(read.map_err(fault).and_then(|response| self.answer(at, from, call, response)));
            }
            Request::Prove { owner, log, old, new } => {
                let node = &self.nodes[at];
                let read = evidence::proof(&node.context, &node.disk, &owner, log, (old, new));
                return Ok(read.map_err(fault).and_then(|response| self.answer(at, from, call, response)));
            }
            Request::Standings(ask) => {
                let node = &self.nodes[at];
                let read = reconcile::answer(&node.context, &node.disk, &caller, &ask);
                return Ok(read.map_err(fault).and_then(|response| self.answer(at, from, call, response)));
            }
            Request::Registry | Request::Identities(_) | Request::Certificate(_) | Request::Operate(_) => {
                return Err(Refusal::new(Code::CallerNotAllowed, "not in this simulation"));
            }
        };
        let token = self.nodes[at].wait(waiter);
        Ok(self.submit(at, Some(token), input))
    }

    /// An answer to a call.
    fn returned(
        &mut self,
        at: usize,
        from: usize,
        call: u64,
        kind: Call,
        response: Response,
    ) -> Result<(), Broken> {
        let peer = self.nodes[from].id.clone();
        match kind {
            Call::Deliver { event } => match response {
                Response::Receipt(receipt) => self.acknowledged(at, event, &peer, &receipt),
                _ => Ok(()),
            },
            Call::Push => match response {
                Response::Receipt(receipt) => self.taken(at, &receipt),
                _ => Ok(()),
            },
            // What comes of it is a push.
            Call::PushAgain => Ok(()),
            Call::Forward { case } => {
                let outcome = match response {
                    Response::Case(joined) => Ok(joined),
                    Response::Refused(refusal) => Err(refusal),
                    _ => return Ok(()),
                };
                self.submit(at, None, Input::Forwarded { case, outcome })
            }
            Call::Witness { log, note } => match response {
                Response::Witness { status, body } => {
                    if status == 200 {
                        self.checker.cosigned(&peer, &note, &body)?;
                    }
                    let answered = witness::Answered { by: peer, log, status, body, note };
                    self.submit(at, None, Input::Cosigned(answered))
                }
                _ => Ok(()),
            },
            Call::Heads => {
                let came = match response {
                    Response::Heads { heads, evidence, .. } => {
                        self.told(at, peer, &heads, &evidence)?;
                        Came::Done
                    }
                    other => Came::of(Ok(other)),
                };
                self.heard(at, call)?;
                self.carried(at, call, came)
            }
            Call::Standings => self.carried(at, call, Came::of(Ok(response))),
            Call::Prove { doubt, asked } => {
                let now = self.clock(at);
                let settled = match response {
                    Response::Consistency { root, proof } => {
                        doubt.settle(&self.nodes[at].context, now, root, proof)
                    }
                    _ => Settled::Open,
                };
                match settled {
                    Settled::Fits => Ok(()),
                    Settled::Splits(convicted) => self.submit(at, None, Input::Evidence(convicted)),
                    Settled::Open => self.prove(at, doubt, asked + 1),
                }
            }
            Call::Ask { question } => self.answered(at, &peer, &question, response),
            Call::Part { relay } => {
                let outcome = match response {
                    Response::Answer(answer) => Outcome::Answered(answer),
                    Response::Refused(refusal) => Outcome::Denied(refusal),
                    _ => Outcome::Denied(Refusal::new(Code::FrameMalformed, "an answer was expected")),
                };
                self.part(at, relay, peer, outcome)
            }
            Call::Pull { owner, log, from: first, got } => {
                self.pulled(at, from, call, (owner, log, first, got), response)
            }
        }
    }

    /// Entries of a log, whole or in part.
    fn pulled(
        &mut self,
        at: usize,
        from: usize,
        call: u64,
        (owner, log, first, mut got): (MemberId, LogName, u64, Vec<Vec<u8>>),
        response: Response,
    ) -> Result<(), Broken> {
        let Response::Entries { entries, checkpoint } = response else {
            return self.started(at, (from, call), &owner, log, Err(Silent));
        };
        let some = !entries.is_empty();
        got.extend(entries.into_iter().map(|b| b.0));
        let Some(note) = checkpoint else {
            if some {
                let next = Request::Pull { owner: owner.clone(), log, from: first + got.len() as u64 };
                let again =
                    self.call(at, from, &next, Call::Pull { owner, log, from: first, got }, PEER_WAIT_MS)?;
                self.carried_on(at, call, again);
                if let Some(catch_up) = self.nodes[at].catch_up.as_mut()
                    && catch_up.left.remove(&call)
                {
                    catch_up.left.insert(again);
                }
                return Ok(());
            }
            // Nothing is there, which is an answer too.
            return self.started(at, (from, call), &owner, log, Ok(None));
        };
        let verified = self.nodes[at].context.registry.verify_checkpoint(&owner, log, &note).ok();
        let Some(checkpoint) = verified else {
            if self.knows_less(at) {
                return self.started(at, (from, call), &owner, log, Err(Silent));
            }
            return Err(Broken::new(
                Check::Consistent,
                format!("a checkpoint of `{owner}/{log}` does not verify"),
            ));
        };
        let input = Input::Pulled { owner: owner.clone(), log, from: first, entries: got, checkpoint, note };
        self.started(at, (from, call), &owner, log, Ok(Some(input)))
    }

    /// A call has waited long enough.
    pub(super) fn give_up(&mut self, at: usize, call: u64) -> Result<(), Broken> {
        let Some((to, kind)) = self.nodes[at].calls.remove(&call) else { return Ok(()) };
        self.lost(at, to);
        match kind {
            Call::Part { relay } => self.part(at, relay, self.nodes[to].id.clone(), Outcome::Unreachable),
            Call::Pull { owner, log, .. } => self.started(at, (to, call), &owner, log, Err(Silent)),
            Call::Heads => {
                self.heard(at, call)?;
                self.carried(at, call, silent())
            }
            Call::Standings => self.carried(at, call, silent()),
            Call::Prove { doubt, asked } => self.prove(at, doubt, asked + 1),
            // What is due stays due on the disk.
            Call::Deliver { .. }
            | Call::Push
            | Call::PushAgain
            | Call::Forward { .. }
            | Call::Witness { .. }
            | Call::Ask { .. } => Ok(()),
        }
    }

    /// Whether every mirror that the registry names for the member has a full copy of its logs, and no other member is
    /// on its way back from an older copy.
    pub(super) fn mirrored(&self, at: usize) -> bool {
        let node = &self.nodes[at];
        let Ok(entry) = node.context.registry.member(&node.id) else { return false };
        let size = |disk: &Disk, name: &str| log::size(disk, name).ok();
        let full = |mirror: &MemberId| {
            let Some(peer) = self.position(mirror) else { return false };
            LogName::ALL.iter().all(|log| {
                let have = size(&node.disk, log.as_str());
                // After a failed write the disk answers only to a restart; such a member is not restored now.
                have.is_some() && have == size(&self.nodes[peer].disk, &log.mirror(&node.id))
            })
        };
        !entry.mirrors.is_empty() && entry.mirrors.iter().all(full) && self.nodes.iter().all(|n| !n.restored)
    }
}

fn name_of(input: &Input) -> String {
    let text = format!("{input:?}");
    text.split([' ', '(', '{']).next().unwrap_or_default().to_owned()
}
