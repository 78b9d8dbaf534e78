//! What the parts of an answer cost alone, on one thread, in the store that was just asked: processor time, so that what
//! else runs on the machine is not counted; deciding and the wait for the disk are by the clock.

use std::{fmt, hint::black_box, sync::Arc, time::Instant};

use ::node::{Problem, clock, home::Home, keys::Keys, run::context, seal::Sealing, store::DiskStore};
use credit::{
    grant::Grant,
    question::{Basis, Question},
};
use crypto::sign::Verified;
use exchange::{
    answer::{self, Answer, AnswerNumber, Epoch, Plan},
    limits::FRAME_BYTES_MAX,
    logs::LogName,
    member::{Input, Member},
    receipt::Receipt,
    refusal::{Fault, Refusal},
    registry::Registry,
    step::{Effect, Reply, Token},
    tables,
    wire::{Request, Response, from_frame, to_frame},
};
use ledger::{log, prover::Prover, tree::LeafIndex};
use serde_json::{Value, json};

use super::{asker::FIELDS, machine::Spent, query::Workload};
use crate::{args::Unlock, cmd::passphrase};

/// Questions over which each part is measured.
const QUESTIONS: u64 = 2_048;
/// Questions in a step, by which deciding is measured.
const QUESTIONS_A_STEP: [usize; 4] = [1, 16, 64, 256];

/// Microseconds an answer.
pub(super) struct Parts {
    /// Name, cost, and whether it is a part of another one that is named.
    node: Vec<(&'static str, f64, bool)>,
    asker: Vec<(&'static str, f64, bool)>,
    /// Questions in a step; deciding and committing them, each for one question.
    steps: Vec<(usize, f64, f64)>,
    /// Bytes on the wire: question, answer.
    bytes: (usize, usize),
}

impl Parts {
    /// What the node's parts sum up to when the most questions share a step.
    pub(super) fn node(&self) -> f64 {
        let alone: f64 = self.node.iter().filter(|(.., inside)| !inside).map(|(_, cost, _)| cost).sum();
        alone + self.steps.last().map_or(0.0, |(_, decide, _)| *decide)
    }

    pub(super) fn json(&self) -> Value {
        let list = |parts: &[(&'static str, f64, bool)]| -> serde_json::Map<String, Value> {
            parts.iter().map(|(name, cost, _)| ((*name).to_owned(), json!(cost))).collect()
        };
        let step = |(questions, decide, commit): &(usize, f64, f64)| json!({ "questions": questions, "decide": decide, "commit": commit });
        json!({
            "node_microseconds": list(&self.node), "asker_microseconds": list(&self.asker),
            "steps": self.steps.iter().map(step).collect::<Vec<_>>(),
            "question_bytes": self.bytes.0, "answer_bytes": self.bytes.1,
        })
    }
}

impl fmt::Display for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |parts: &[(&'static str, f64, bool)]| {
            let one = |(name, cost, inside): &(&str, f64, bool)| {
                let open = if *inside { "    of which " } else { "  " };
                format!("{open}{name} {cost:.1}")
            };
            parts.iter().map(one).collect::<Vec<_>>().join("\n")
        };
        writeln!(
            f,
            "\nthe parts alone, µs an answer on one core; question {} bytes, answer {} bytes",
            self.bytes.0, self.bytes.1
        )?;
        writeln!(f, "node:\n{}", list(&self.node))?;
        for (questions, decide, commit) in &self.steps {
            writeln!(
                f,
                "  deciding, access entry and checkpoint {decide:.1}, made durable {commit:.1}, with {questions} to a step"
            )?;
        }
        write!(f, "outlet and bank:\n{}", list(&self.asker))
    }
}

/// Measures in the stopped node's directory; the store goes on from where the node left it.
pub(super) fn measure(at: &Unlock, workload: &Workload) -> Result<Parts, Problem> {
    let home = Home::open(&at.dir)?;
    let _lock = home.lock()?;
    let keys = Keys::open(&at.dir, &passphrase(&at.passphrase)?)?;
    let registry = Arc::new(home.registry()?.1);
    let context = context(&keys, registry.clone(), super::MEMBER)?;
    let store = DiskStore::open(&home.data())?;
    let mut member = Member::open(context.clone(), &store).map_err(fault)?;
    for input in [Input::Restored { seen: Vec::new() }, Input::Synced] {
        drop(member.handle(clock::now(), vec![(None, input)], &store).map_err(fault)?.commit(&store));
    }
    let per = |start: Spent| start.elapsed().as_secs_f64() * 1e6 / QUESTIONS as f64;
    let (mut node, mut asker) = (Vec::new(), Vec::new());

    let start = Spent::now();
    let asked: Vec<Verified<Question>> = (0..QUESTIONS).map(|n| workload.question(n)).collect();
    asker.push(("signing a question", per(start), false));
    let frames: Vec<Vec<u8>> = asked.iter().map(|q| to_frame(&Request::Ask(q.signed().clone()))).collect();

    let start = Spent::now();
    for frame in &frames {
        black_box(from_frame::<Request>(frame, FRAME_BYTES_MAX)?);
    }
    node.push(("reading the question's frame", per(start), false));
    let start = Spent::now();
    let questions: Vec<Verified<Question>> =
        asked.iter().map(|own| registry.verify(own.signed())).collect::<Result<_, _>>()?;
    node.push(("verifying the question", per(start), false));
    let start = Spent::now();
    for question in &questions {
        black_box(granted(&registry, question)?);
    }
    node.push(("verifying the grant", per(start), false));

    // Questions as often as steps are measured, because a question is decided once.
    let mut steps = Vec::new();
    let mut plans: Vec<(u64, Verified<Question>, Plan)> = Vec::new();
    for (round, questions_a_step) in QUESTIONS_A_STEP.into_iter().enumerate() {
        // One flush for each question is slow, and two hundred of them tell as much.
        let count = QUESTIONS.min(256 * questions_a_step as u64);
        let first = QUESTIONS * round as u64;
        let mut inputs: Vec<(u64, Verified<Question>, Input)> = Vec::new();
        for n in first..first + count {
            let question = workload.question(n);
            let grant = granted(&registry, &question)?;
            let caller = workload.outlet.id.clone();
            let input = Input::Question { caller, question: question.clone(), grant, judged: None };
            inputs.push((n, question, input));
        }
        let (mut deciding, mut committing) = (0.0, 0.0);
        let mut inputs = inputs.into_iter().peekable();
        while inputs.peek().is_some() {
            let mut step = Vec::new();
            let mut of_step = Vec::new();
            for (n, question, input) in inputs.by_ref().take(questions_a_step) {
                step.push((Some(Token(of_step.len() as u64)), input));
                of_step.push(Some((n, question)));
            }
            // A step is shorter than the ticks in which processor time is told.
            let start = Instant::now();
            let view = store.freeze().map_err(|e| Problem::fault(e.to_string()))?;
            let decided = member.handle(clock::now(), step, &view).map_err(fault)?;
            deciding += start.elapsed().as_secs_f64();
            let waited = Instant::now();
            let effects = decided.commit(&store).map_err(|e| Problem::fault(e.to_string()))?;
            committing += waited.elapsed().as_secs_f64();
            for effect in effects {
                match effect {
                    Effect::Reply { token, reply: Reply::Answer(plan) } => {
                        if let Some((n, question)) = of_step.get_mut(token.0 as usize).and_then(Option::take)
                        {
                            plans.push((n, question, *plan));
                        }
                    }
                    other => return Err(Problem::fault(format!("a plan was expected: {other:?}"))),
                }
            }
        }
        let per = |seconds: f64| seconds * 1e6 / count as f64;
        steps.push((questions_a_step, per(deciding), per(committing)));
    }
    plans.truncate(QUESTIONS as usize);
    if plans.len() != QUESTIONS as usize {
        return Err(Problem::fault("not every question was planned"));
    }

    let (sealing, own) = (Sealing::default(), &context.own.id);
    let start = Spent::now();
    let key = |slot| keys.record_key(slot);
    let answers: Vec<Answer> = plans
        .iter()
        .map(|(_, _, plan)| {
            let epoch = sealing.epoch(&registry, own, &plan.asker)?;
            let number = AnswerNumber(clock::random());
            let sealed = answer::seal(&store, &sealing.provers, &context, &epoch, &key, plan, number);
            Ok(sealed.map_err(fault)??)
        })
        .collect::<Result<_, Problem>>()?;
    node.push(("making the answer", per(start), false));
    let start = Spent::now();
    for (_, _, plan) in &plans {
        black_box(Epoch::begin(&registry, own, &plan.asker, &clock::secret())?);
    }
    node.push(("an HPKE encapsulation, but only once a minute for each asker:", per(start), true));
    let start = Spent::now();
    for (_, _, plan) in &plans {
        for record in &plan.records {
            let sealed = tables::payload(&store, record.slot).map_err(fault)?;
            let opened =
                sealed.zip(key(record.slot)).map(|(s, key)| s.open(&FIELDS, &context.own.id, &key).is_ok());
            if opened != Some(true) {
                return Err(Problem::fault("a stored record does not open"));
            }
        }
    }
    node.push(("opening the stored record", per(start), true));
    let start = Spent::now();
    let records = LogName::Records.as_str();
    let prover = Prover::new(records);
    for (_, _, plan) in &plans {
        let head = log::head(&store, records).map_err(|e| fault(e.into()))?;
        let head = head.ok_or_else(|| Problem::fault("the log of records has no checkpoint"))?;
        for record in &plan.records {
            let index = LeafIndex(record.version);
            black_box(log::entry(&store, records, index).map_err(|e| fault(e.into()))?);
            black_box(prover.inclusion(&store, index, &head).map_err(|e| fault(e.into()))?);
        }
    }
    node.push(("the record's entry and proof", per(start), true));
    let start = Spent::now();
    let prover = Prover::new(LogName::Access.as_str());
    for (_, _, plan) in &plans {
        let built = Receipt::build_by(&prover, &store, own, LogName::Access, plan.index);
        black_box(built.map_err(fault)?);
    }
    node.push(("the access entry and proof", per(start), true));
    let start = Spent::now();
    let sent: Vec<Vec<u8>> = answers.into_iter().map(|a| to_frame(&Response::Answer(Box::new(a)))).collect();
    node.push(("writing the answer's frame", per(start), false));

    let start = Spent::now();
    let received: Vec<Response> =
        sent.iter().map(|frame| from_frame(frame, FRAME_BYTES_MAX)).collect::<Result<_, _>>()?;
    asker.push(("reading the answer's frame", per(start), false));
    let start = Spent::now();
    for ((n, question, _), response) in plans.iter().zip(&received) {
        let Response::Answer(answer) = response else { return Err(Problem::fault("an answer was expected")) };
        let bank = workload.bank(*n);
        let opened = answer::open(&registry, question, &bank.opening, answer)?;
        if !workload.right(*n, &opened) {
            return Err(Problem::fault("an answer has other values than were handed in"));
        }
    }
    asker.push(("opening and verifying the answer", per(start), false));
    let mean = |frames: &[Vec<u8>]| frames.iter().map(Vec::len).sum::<usize>() / frames.len();
    Ok(Parts { node, asker, steps, bytes: (mean(&frames), mean(&sent)) })
}

/// The grant inside a question, verified as a node verifies it.
fn granted(registry: &Registry, question: &Verified<Question>) -> Result<Option<Verified<Grant>>, Refusal> {
    match &question.get().basis {
        Basis::Grant(signed) => registry.verify_grant(signed).map(Some),
        Basis::Duty(_) | Basis::Own(_) | Basis::None => Ok(None),
    }
}

fn fault(fault: Fault) -> Problem {
    Problem::fault(fault.to_string())
}
