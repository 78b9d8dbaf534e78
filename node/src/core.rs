//! The one writer: takes many inputs, makes one step, commits once, then releases its effects.
//!
//! It runs on a thread of its own, because `apply` waits for the disk. Everything waiting when a step begins joins the
//! step, so that group commit adapts to load by itself: alone an input pays one flush, a hundred share one. While inputs come
//! one by one, the task that hands one in makes the step itself: to wake the thread, and to be woken by it, costs two times 40 µs.

use std::{
    collections::BTreeMap,
    mem,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, Instant},
};

use exchange::{
    check::Judging,
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
/// Steps in a row that had one input each, after which the next such input is decided in its own task. That waits for the disk on one
/// of the few threads that serve everybody, so it is for a node on which others do not wait meanwhile: where 1,000 inputs come in a
/// second at random moments, one in 250 finds so many.
const ALONE_STEPS: u32 = 8;
/// How long after the end of a step the next input comes, at least, where inputs come one by one.
const ALONE_AFTER: Duration = Duration::from_micros(300);

/// Records of an answer that is sealed by the task that waits for it: they may have to come from the disk.
const IN_PLACE_MAX: usize = 4;

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
    /// What a node begins with, before it has asked anybody.
    pub fn new(context: Context, keys: Keys, store: DiskStore) -> Self {
        Self {
            context: RwLock::new(Arc::new(context)),
            keys,
            store,
            state: RwLock::new(State { phase: "catching-up", ..State::default() }),
            sealing: Sealing::default(),
            questions_refused: Mutex::default(),
        }
    }

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
    Input(Input, Option<oneshot::Sender<Reply>>),
    Stop,
}

/// The writer's front door.
#[derive(Clone)]
pub struct Core {
    shared: Arc<Shared>,
    jobs: mpsc::Sender<Job>,
    writer: Arc<Mutex<Writer>>,
    /// Whether there is a second core for who comes while a task waits for the disk.
    spare: bool,
    /// Places for questions whose checks are being judged, one for each core.
    judging: Arc<Semaphore>,
}

/// The writer's word about an input that was handed in, once there is one.
pub struct Awaited {
    shared: Arc<Shared>,
    reply: oneshot::Receiver<Reply>,
}

impl Awaited {
    /// Waits for it, on a thread that may block; `None` when the node stops before.
    pub fn wait(self) -> Option<Response> {
        self.reply.blocking_recv().ok().map(|reply| completed(&self.shared, reply))
    }
}

impl Core {
    /// Starts the writer. The thread ends when [`Core::stop`] was called, or with a fault.
    pub fn start(
        shared: Arc<Shared>,
        member: Member,
        outgoing: mpsc::UnboundedSender<Outgoing>,
    ) -> std::io::Result<(Self, std::thread::JoinHandle<Result<(), Fault>>)> {
        let (jobs, queue) = mpsc::channel(QUEUE_MAX);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let writer = Arc::new(Mutex::new(Writer {
            shared: shared.clone(),
            member,
            outgoing,
            waiting: BTreeMap::new(),
            next: 0,
            rested: Instant::now(),
            alone: 0,
            over: None,
        }));
        let judging = Arc::new(Semaphore::new(cores));
        let core = Self { shared, jobs, writer: writer.clone(), spare: cores > 1, judging };
        let thread = std::thread::Builder::new().name("writer".into()).spawn(move || run(&writer, queue))?;
        Ok((core, thread))
    }

    /// Hands an input in and waits for its reply.
    pub async fn ask(&self, input: Input) -> Response {
        let (reply, answer) = oneshot::channel();
        let Some((input, reply)) = self.alone(input, reply) else { return self.answered(answer).await };
        match self.jobs.try_send(Job::Input(input, Some(reply))) {
            Ok(()) => self.answered(answer).await,
            Err(_) => Response::Refused(Refusal::new(Code::Busy, "too many requests wait")),
        }
    }

    /// Makes a step of one input, here, where inputs come one by one. Returns it where they do not.
    fn alone(&self, input: Input, reply: oneshot::Sender<Reply>) -> Option<(Input, oneshot::Sender<Reply>)> {
        let none_waits = self.spare && self.jobs.capacity() == QUEUE_MAX;
        let writer = none_waits.then(|| self.writer.try_lock().ok()).flatten();
        let Some(mut writer) = writer.filter(|writer| writer.alone >= ALONE_STEPS && writer.is_alone(1))
        else {
            return Some((input, reply));
        };
        // The thread ends with what has ended a step here, be it a panic.
        let end = End(&self.jobs);
        let token = writer.wait(reply);
        match writer.step(vec![(Some(token), input)]) {
            Ok(()) => mem::forget(end),
            Err(fault) => writer.over = Some(Err(fault)),
        }
        None
    }

    /// Hands an input in and waits for its reply, however long the queue is: for what the node does of its own accord.
    pub async fn ask_surely(&self, input: Input) -> Response {
        let (reply, answer) = oneshot::channel();
        let _ = self.jobs.send(Job::Input(input, Some(reply))).await;
        self.answered(answer).await
    }

    /// Waits for what is decided and durable, and completes it.
    ///
    /// Here, in the task that waits for it: proofs and seals are arithmetic of some ten microseconds a record over what is
    /// mostly in memory, and handing them to another thread costs as much again. Only what has many records is.
    async fn answered(&self, mut answer: oneshot::Receiver<Reply>) -> Response {
        loop {
            match answer.await {
                // Boxed: thousands of streams may wait here, and few of them for this.
                Ok(Reply::Judge(judging)) => match Box::pin(self.judged(judging)).await {
                    Ok(input) => {
                        let (reply, again) = oneshot::channel();
                        answer = again;
                        let _ = self.jobs.send(Job::Input(input, Some(reply))).await;
                    }
                    Err(refusal) => return Response::Refused(refusal),
                },
                Ok(Reply::Answer(plan)) if plan.records.len() > IN_PLACE_MAX => {
                    let shared = self.shared.clone();
                    let complete = move || completed(&shared, Reply::Answer(plan));
                    let response = tokio::task::spawn_blocking(complete).await;
                    return response
                        .unwrap_or_else(|panic| Response::Refused(broken(&Fault(panic.to_string()))));
                }
                Ok(reply) => return completed(&self.shared, reply),
                Err(_) => return Response::Refused(Refusal::new(Code::Busy, "the node is stopping")),
            }
        }
    }

    /// The question with what came out of its checks, which may look at many records: on a thread of its own.
    async fn judged(&self, judging: Box<Judging>) -> Result<Input, Refusal> {
        let shared = self.shared.clone();
        let _place = self.judging.acquire().await;
        match tokio::task::spawn_blocking(move || seal::judge(&shared, *judging)).await {
            Ok(Ok(judged)) => judged,
            Ok(Err(fault)) => Err(broken(&fault)),
            Err(panic) => Err(broken(&Fault(panic.to_string()))),
        }
    }

    /// Hands an input in from a thread that may block, and returns where its reply will be.
    ///
    /// Errors: the node is stopping.
    pub fn hand_in(&self, input: Input) -> Result<Awaited, Refusal> {
        let (reply, answer) = oneshot::channel();
        let sent = self.jobs.blocking_send(Job::Input(input, Some(reply)));
        sent.map(|()| Awaited { shared: self.shared.clone(), reply: answer })
            .map_err(|_| Refusal::new(Code::Busy, "the node is stopping"))
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

/// A decided and durable reply, with its proofs and seals.
fn completed(shared: &Shared, reply: Reply) -> Response {
    let response = match reply {
        Reply::Answer(plan) => seal::answer(shared, &plan),
        reply => read::complete(&shared.context(), &shared.store, reply),
    };
    response.unwrap_or_else(|fault| Response::Refused(broken(&fault)))
}

fn broken(fault: &Fault) -> Refusal {
    tracing::error!(%fault, "a decided reply could not be completed");
    Refusal::new(Code::Busy, "the node has a fault; see its log")
}

/// Has the writer's thread look at what has become of the writer.
struct End<'a>(&'a mpsc::Sender<Job>);

impl Drop for End<'_> {
    fn drop(&mut self) {
        // Where there is no room, it has something to do, and looks before.
        let _ = self.0.try_send(Job::Stop);
    }
}

struct Writer {
    shared: Arc<Shared>,
    member: Member,
    outgoing: mpsc::UnboundedSender<Outgoing>,
    waiting: BTreeMap<Token, oneshot::Sender<Reply>>,
    next: u64,
    /// When the last step ended.
    rested: Instant,
    /// Steps in a row that were alone.
    alone: u32,
    /// Set once no step is made any more.
    over: Option<Result<(), Fault>>,
}

/// The writer's thread.
fn run(writer: &Mutex<Writer>, mut queue: mpsc::Receiver<Job>) -> Result<(), Fault> {
    let over = Over(writer);
    while let Some(first) = queue.blocking_recv() {
        let Ok(mut writer) = writer.lock() else { return Err(Fault("a step has panicked".to_owned())) };
        if writer.over.is_some() {
            break;
        }
        let mut inputs = Vec::new();
        let mut stop = false;
        let mut job = Some(first);
        while let Some(next) = job.take() {
            match next {
                Job::Stop => stop = true,
                Job::Input(input, reply) => inputs.push((reply.map(|r| writer.wait(r)), input)),
            }
            if !stop && inputs.len() < STEP_INPUTS_MAX {
                job = queue.try_recv().ok();
            }
        }
        writer.step(inputs)?;
        if stop {
            break;
        }
    }
    over.now()
}

/// Ends what a thread that has ended leaves open: nobody decides any more, and nobody waits for it.
struct Over<'a>(&'a Mutex<Writer>);

impl Over<'_> {
    fn now(&self) -> Result<(), Fault> {
        let mut writer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        writer.waiting.clear();
        writer.over.replace(Ok(())).unwrap_or(Ok(()))
    }
}

impl Drop for Over<'_> {
    fn drop(&mut self) {
        let _ = self.now();
    }
}

impl Writer {
    /// Whether a step of so many inputs that begins now is one of those that come one by one.
    fn is_alone(&self, inputs: usize) -> bool {
        self.over.is_none() && inputs == 1 && self.rested.elapsed() >= ALONE_AFTER
    }

    fn wait(&mut self, reply: oneshot::Sender<Reply>) -> Token {
        let token = Token(self.next);
        self.next += 1;
        self.waiting.insert(token, reply);
        token
    }

    /// decide → commit → release.
    fn step(&mut self, inputs: Vec<(Option<Token>, Input)>) -> Result<(), Fault> {
        let count = inputs.len() as u64;
        self.alone = if self.is_alone(inputs.len()) { self.alone.saturating_add(1) } else { 0 };
        // Nobody else writes: what the step reads is the same for all of it, and need not be asked for again each time.
        let view = self.shared.store.freeze()?;
        let step = self.member.handle(clock::now(), inputs, &view)?;
        let effects = step.commit(&self.shared.store as &dyn Store)?;
        self.report(count);
        for effect in effects {
            self.release(effect)?;
        }
        self.rested = Instant::now();
        Ok(())
    }

    /// Lets an effect out.
    fn release(&mut self, effect: Effect) -> Result<(), Fault> {
        match effect {
            Effect::Reply { token, reply } => {
                // Who does not wait any more asks again, and gets the same.
                if let Some(caller) = self.waiting.remove(&token) {
                    drop(caller.send(reply));
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
        Ok(())
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
