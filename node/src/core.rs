//! The one writer: takes many inputs, makes one step, commits once, then releases its effects.
//!
//! It runs on a thread of its own, because `apply` waits for the disk. Everything waiting when a step begins joins the
//! step, so that group commit adapts to load by itself: alone an input pays one flush, a hundred share one.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use exchange::{
    context::Context,
    member::{Input, Member, Phase},
    read,
    refusal::{Code, Fault, Refusal},
    step::{Effect, Reply, Token},
    wire::Response,
};
use ledger::store::Store;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::{
    clock,
    keys::Keys,
    seal::{self, Sealing},
    store::DiskStore,
};

/// Inputs that may wait; beyond it callers are told that the node is busy.
pub const QUEUE_MAX: usize = 4_096;
/// Inputs in one step: bounds the size of a batch and the time a caller waits for its neighbours.
const STEP_INPUTS_MAX: usize = 256;

/// What tasks share with the writer: everything but the member itself.
pub struct Shared {
    /// Who we are and under which rules; replaced as a whole by a successor registry.
    pub context: RwLock<Arc<Context>>,
    /// Secrets.
    pub keys: Keys,
    /// Storage; any thread may read.
    pub store: DiskStore,
    /// What the member last said about itself.
    pub state: RwLock<State>,
    /// What answers have in common.
    pub sealing: Sealing,
    /// Questions refused since start, by code.
    pub questions_refused: Mutex<BTreeMap<&'static str, u64>>,
}

impl Shared {
    /// Who we are and under which rules, at this moment.
    pub fn context(&self) -> Arc<Context> {
        self.context.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts a question that was refused.
    pub fn refused(&self, refusal: &Refusal) {
        if let Some(code) = refusal.known() {
            let mut refused = self.questions_refused.lock().unwrap_or_else(PoisonError::into_inner);
            *refused.entry(code.as_str()).or_default() += 1;
        }
    }

    /// Questions refused since start, by code.
    pub fn questions_refused(&self) -> BTreeMap<&'static str, u64> {
        self.questions_refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A snapshot of the member for status, readiness and metrics.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// `ready`, `catching-up` or `behind`.
    pub phase: &'static str,
    /// Steps committed since start.
    pub steps: u64,
    /// Inputs decided since start.
    pub inputs: u64,
    /// Alerts since start, the newest last, at most [`ALERTS_KEPT`].
    pub alerts: Vec<String>,
}

impl State {
    /// Keeps an alert.
    pub fn alert(&mut self, what: String) {
        self.alerts.push(what);
        let over = self.alerts.len().saturating_sub(ALERTS_KEPT);
        self.alerts.drain(..over);
    }
}

/// Alerts kept in memory; all of them are logged.
pub const ALERTS_KEPT: usize = 20;

/// Effects that leave the node, for the task that carries them.
#[derive(Debug)]
pub struct Outgoing(pub Effect);

#[expect(clippy::large_enum_variant, reason = "all but the last job are inputs")]
enum Job {
    Input(Input, Option<oneshot::Sender<Response>>),
    Stop,
}

/// The writer's front door.
#[derive(Clone)]
pub struct Core {
    jobs: mpsc::Sender<Job>,
}

impl Core {
    /// Starts the writer. The thread ends when [`Core::stop`] was called, or with a fault.
    pub fn start(
        shared: Arc<Shared>,
        member: Member,
        outgoing: mpsc::UnboundedSender<Outgoing>,
    ) -> std::io::Result<(Self, std::thread::JoinHandle<Result<(), Fault>>)> {
        let (jobs, queue) = mpsc::channel(QUEUE_MAX);
        let runtime = tokio::runtime::Handle::current();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let sealing = Arc::new(Semaphore::new(cores));
        let again = jobs.downgrade();
        let write = move || {
            let waiting = BTreeMap::new();
            Writer { shared, member, outgoing, runtime, sealing, again, waiting, next: 0 }.run(queue)
        };
        let thread = std::thread::Builder::new().name("writer".into()).spawn(write)?;
        Ok((Self { jobs }, thread))
    }

    /// Hands an input in and waits for its reply.
    pub async fn ask(&self, input: Input) -> Response {
        let (reply, answer) = oneshot::channel();
        match self.jobs.try_send(Job::Input(input, Some(reply))) {
            Ok(()) => answer
                .await
                .unwrap_or_else(|_| Response::Refused(Refusal::new(Code::Busy, "the node is stopping"))),
            Err(_) => Response::Refused(Refusal::new(Code::Busy, "too many requests wait")),
        }
    }

    /// Hands an input in and waits for its reply, however long the queue is: for what the node does of its own accord.
    pub async fn ask_surely(&self, input: Input) -> Response {
        let (reply, answer) = oneshot::channel();
        let _ = self.jobs.send(Job::Input(input, Some(reply))).await;
        answer.await.unwrap_or_else(|_| Response::Refused(Refusal::new(Code::Busy, "the node is stopping")))
    }

    /// Hands an input in from a thread that may block, and returns where its reply will be.
    ///
    /// Errors: the node is stopping.
    pub fn hand_in(&self, input: Input) -> Result<oneshot::Receiver<Response>, Refusal> {
        let (reply, answer) = oneshot::channel();
        let sent = self.jobs.blocking_send(Job::Input(input, Some(reply)));
        sent.map(|()| answer).map_err(|_| Refusal::new(Code::Busy, "the node is stopping"))
    }

    /// Hands an input in that has no caller.
    pub async fn tell(&self, input: Input) {
        // The channel closes only when the writer has ended; there is nobody left to tell.
        let _ = self.jobs.send(Job::Input(input, None)).await;
    }

    /// Ends the writer after what waits.
    pub async fn stop(&self) {
        let _ = self.jobs.send(Job::Stop).await;
    }
}

/// A decided reply and who waits for it.
type Completing = (oneshot::Sender<Response>, Reply);

/// Replies of one step that are completed one after the other: together they take about a millisecond, so that handing
/// them to a thread costs little beside it and nobody waits long for a neighbour.
const COMPLETED_TOGETHER: usize = 8;

struct Writer {
    shared: Arc<Shared>,
    member: Member,
    outgoing: mpsc::UnboundedSender<Outgoing>,
    runtime: tokio::runtime::Handle,
    /// Places for replies that are being completed, one for each core.
    sealing: Arc<Semaphore>,
    /// Where questions go whose checks were judged.
    again: mpsc::WeakSender<Job>,
    waiting: BTreeMap<Token, oneshot::Sender<Response>>,
    next: u64,
}

impl Writer {
    fn run(mut self, mut queue: mpsc::Receiver<Job>) -> Result<(), Fault> {
        while let Some(first) = queue.blocking_recv() {
            let mut inputs = Vec::new();
            let mut stop = false;
            let mut job = Some(first);
            while let Some(next) = job.take() {
                match next {
                    Job::Stop => stop = true,
                    Job::Input(input, reply) => inputs.push((reply.map(|r| self.wait(r)), input)),
                }
                if !stop && inputs.len() < STEP_INPUTS_MAX {
                    job = queue.try_recv().ok();
                }
            }
            self.step(inputs)?;
            if stop {
                return Ok(());
            }
        }
        Ok(())
    }

    fn wait(&mut self, reply: oneshot::Sender<Response>) -> Token {
        let token = Token(self.next);
        self.next += 1;
        self.waiting.insert(token, reply);
        token
    }

    /// decide → commit → release.
    fn step(&mut self, inputs: Vec<(Option<Token>, Input)>) -> Result<(), Fault> {
        let count = inputs.len() as u64;
        let step = self.member.handle(clock::now(), inputs, &self.shared.store)?;
        let effects = step.commit(&self.shared.store as &dyn Store)?;
        self.report(count);
        let mut complete = Vec::new();
        for effect in effects {
            complete.extend(self.release(effect)?);
        }
        self.complete(complete);
        Ok(())
    }

    /// Completes replies: proofs and seals are arithmetic, off the writer, and on no more threads than there are cores.
    /// A step releases up to 256 at once, and as many threads would only stand in each other's way.
    fn complete(&self, mut replies: Vec<Completing>) {
        while !replies.is_empty() {
            let rest = replies.split_off(replies.len().min(COMPLETED_TOGETHER));
            let together = core::mem::replace(&mut replies, rest);
            let shared = self.shared.clone();
            let again = self.again.clone();
            let complete = move || {
                for (caller, reply) in together {
                    let response = match reply {
                        Reply::Answer(plan) => seal::answer(&shared, &plan),
                        Reply::Judge(judging) => match seal::judge(&shared, *judging) {
                            Ok(Ok(input)) => {
                                // A closed queue drops the caller's reply, which ends its wait.
                                if let Some(jobs) = again.upgrade() {
                                    let _ = jobs.blocking_send(Job::Input(input, Some(caller)));
                                }
                                continue;
                            }
                            Ok(Err(refusal)) => Ok(Response::Refused(refusal)),
                            Err(fault) => Err(fault),
                        },
                        reply => read::complete(&shared.context(), &shared.store, reply),
                    };
                    let response = response.unwrap_or_else(|fault| {
                        tracing::error!(%fault, "a decided reply could not be completed");
                        Response::Refused(Refusal::new(Code::Busy, "the node has a fault; see its log"))
                    });
                    drop(caller.send(response));
                }
            };
            // A panic in there has ended its callers' wait already, by dropping their replies.
            match self.sealing.clone().try_acquire_owned() {
                // Straight to its thread: who asks alone waits for one thread to wake up, not for two.
                Ok(place) => drop(self.runtime.spawn_blocking(move || {
                    complete();
                    drop(place);
                })),
                Err(_) => {
                    let sealing = self.sealing.clone();
                    self.runtime.spawn(async move {
                        let _place = sealing.acquire().await;
                        let _ = tokio::task::spawn_blocking(complete).await;
                    });
                }
            }
        }
    }

    /// Lets an effect out; a reply that is still to be completed comes back.
    fn release(&mut self, effect: Effect) -> Result<Option<Completing>, Fault> {
        match effect {
            Effect::Reply { token, reply } => {
                let Some(caller) = self.waiting.remove(&token) else { return Ok(None) };
                match reply {
                    Reply::Ready(response) => drop(caller.send(*response)),
                    reply => return Ok(Some((caller, reply))),
                }
            }
            Effect::Puncture(slots) => self.shared.keys.puncture(&slots).map_err(|p| Fault(p.what))?,
            Effect::Alert(what) => {
                tracing::warn!(alert = %what);
                if let Ok(mut state) = self.shared.state.write() {
                    state.alert(what);
                }
            }
            // A closed channel means the carrier has stopped; what is due stays due in the store.
            carried => drop(self.outgoing.send(Outgoing(carried))),
        }
        Ok(None)
    }

    fn report(&self, inputs: u64) {
        if let Ok(mut state) = self.shared.state.write() {
            state.steps += 1;
            state.inputs += inputs;
            state.phase = match self.member.phase() {
                Phase::Ready => "ready",
                Phase::Restoring | Phase::Syncing => "catching-up",
                Phase::Behind { .. } => "behind",
            };
        }
    }
}
