//! `xinqiao bench query`: questions and sealed answers over QUIC, beside the cost of their parts.
//!
//! Two processes on the loopback interface: a node as `xinqiao node run` runs it, and this one, which plays the outlet
//! (one connection with its transport key, as an outlet has) and the banks behind it. Each question is signed by its bank
//! and carries the grant of its own subject; the node verifies both, decides, writes the access entry durably, and seals
//! five fields to the bank; the bank opens the answer, checks every proof, and compares the values with what was handed in.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use ::node::{
    Problem,
    client::member_id,
    clock,
    home::Home,
    keys::{Keys, write_private},
    places::CONNECTIONS_PER_KEY_MAX,
    quic,
};
use credit::{
    catalog::Catalog, grant::Grant, id::ItemId, policy::Role, question::Question, subject::SubjectId,
};
use crypto::sign::{Signed, Verified};
use exchange::{
    answer::{self, OpenedAnswer},
    limits::{FRAME_BYTES_MAX, QUESTIONS_PER_SECOND_MAX},
    refusal::{Code, Refusal},
    registry::Registry,
    wire::{Request, Response},
};
use serde_json::json;
use tokio::task::JoinSet;

use super::{
    Scratch,
    asker::{FIELDS, Guest, grant},
    found,
    ingest::{Bench, Penalties, item},
    machine, parts, pgbench, service,
};

use crate::{
    args::Unlock,
    bench::args::BenchQuery,
    cmd::{self, passphrase},
    demo::federation::free_port,
    fetch,
    output::{Output, say},
};

/// Records under one signature while the benchmark's records are taken in.
const BATCH: u64 = 1_000;
/// Time for the node to be ready.
const READY: Duration = Duration::from_secs(30);

/// Everything a question needs.
pub(super) struct Workload {
    pub(super) penalties: Penalties,
    pub(super) item: ItemId,
    pub(super) banks: Vec<Guest>,
    pub(super) outlet: Guest,
    /// One for each subject.
    grants: Vec<(SubjectId, Signed<Grant>)>,
    next: AtomicU64,
}

impl Workload {
    /// The bank that asks the `n`-th question.
    pub(super) fn bank(&self, n: u64) -> &Guest {
        let at = n as usize % self.grants.len();
        &self.banks[at % self.banks.len()]
    }

    /// The `n`-th question, signed.
    pub(super) fn question(&self, n: u64) -> Verified<Question> {
        let (subject, grant) = &self.grants[n as usize % self.grants.len()];
        self.bank(n).question(&self.item, subject.clone(), grant.clone())
    }

    /// Whether the answer to the `n`-th question says what was handed in: one record with every field.
    pub(super) fn right(&self, n: u64, opened: &OpenedAnswer) -> bool {
        let handed_in = self.penalties.record(n % self.grants.len() as u64);
        let same = |(field, opened): (_, &answer::OpenedField)| {
            opened.field == field && handed_in.fields.get(&field) == Some(&opened.value)
        };
        match &opened.records[..] {
            [record] => {
                record.fields.len() == FIELDS.len() && FIELDS.into_iter().zip(&record.fields).all(same)
            }
            _ => false,
        }
    }
}

pub(super) async fn run(args: BenchQuery) -> Result<Output, Problem> {
    let at_once: Vec<usize> = args.at_once.iter().copied().map(usize::from).collect();
    if let Some(url) = &args.postgres {
        pgbench::able(url, &at_once)?;
    }
    let most = u64::from(args.askers) * CONNECTIONS_PER_KEY_MAX as u64;
    if args.idle > most {
        return Err(Problem::new(
            format!("{} askers hold at most {most} connections, {CONNECTIONS_PER_KEY_MAX} each", args.askers),
            "name more --askers, or fewer --idle",
            "请增加 --askers 或减少 --idle",
        ));
    }
    let scratch = Scratch::new(args.dir.as_deref())?;
    let machine = machine::describe(&scratch.0);
    let mut text = vec![
        format!("machine: {machine}"),
        format!(
            "command: xinqiao bench query --subjects {} --seconds {} --askers {} --idle {} --at-once {}{}",
            args.subjects,
            args.seconds,
            args.askers,
            args.idle,
            at_once.iter().map(usize::to_string).collect::<Vec<_>>().join(","),
            args.rate.map_or_else(String::new, |rate| format!(" --rate {rate}"))
        ),
        "two processes: the node, and outlet and banks together; QUIC on loopback, mutual TLS 1.3".to_owned(),
    ];
    let root = scratch.0.clone();
    say(&format!("{} records …", args.subjects));
    let prepared = tokio::task::spawn_blocking(move || prepare(&root, args.subjects, args.askers)).await;
    let (at, workload) = prepared.map_err(|e| Problem::fault(e.to_string()))??;
    let workload = Arc::new(workload);
    let registry = Arc::new(Home::open(&at.dir)?.registry()?.1);

    let mut node = Node::start(&scratch.0, &at, &registry).await?;
    let before = node.resident();
    say(&format!("{} idle connections …", args.idle));
    let idle = node.idle(&workload, &registry, args.idle).await?;
    let grown = node.resident().saturating_sub(before);
    if args.idle > 0 {
        text.push(format!(
            "{} idle connections: the node grew from {} to {} MiB, {} KiB for each",
            args.idle,
            before >> 20,
            (before + grown) >> 20,
            (grown >> 10) / args.idle
        ));
    }
    let (mut runs, mut service) = (Vec::new(), Vec::new());
    // What it is compared with takes its turn after each load, while nobody asks the node: the machine's own speed changes.
    let plainly = async |load: Load| match args.service.clone().zip(args.postgres.clone()) {
        Some((program, url)) => {
            say("  a plain HTTPS service …");
            let (subjects, seconds) = (args.subjects, args.seconds);
            let measure = move || service::measure(&program, &url, subjects, seconds, load);
            let measured = tokio::task::spawn_blocking(measure).await;
            measured.map_err(|e| Problem::fault(e.to_string()))?.map(Some)
        }
        None => Ok(None),
    };
    for &concurrency in &at_once {
        say(&format!("{concurrency} at once …"));
        let load = Load::AtOnce(concurrency);
        let ran = node.load(&workload, &registry, load, Duration::from_secs(args.seconds)).await?;
        text.push(ran.to_string());
        runs.push(ran);
        service.extend(plainly(load).await?);
    }
    // Half of what it can do, coming as it comes: a question that waits for its turn waits in the figures too.
    let best = |rates: &mut dyn Iterator<Item = f64>| rates.fold(0.0, f64::max);
    let offered = |best: f64| args.rate.map_or(best / 2.0, f64::from);
    let rate = offered(best(&mut runs.iter().map(Ran::rate)));
    say(&format!("{rate:.0} a second …"));
    let at_random =
        node.load(&workload, &registry, Load::Rate(rate), Duration::from_secs(args.seconds)).await?;
    text.push(at_random.to_string());
    let rate = offered(best(&mut service.iter().map(|ran| ran.rate)));
    service.extend(plainly(Load::Rate(rate)).await?);
    let loaded = node.resident();
    text.push(format!("after that the node has {} MiB", loaded >> 20));
    drop(idle);
    node.stop(&at.dir).await?;

    say("the parts alone …");
    let (again, dir) = (workload.clone(), at.clone());
    let measured = tokio::task::spawn_blocking(move || parts::measure(&dir, &again)).await;
    let parts = measured.map_err(|e| Problem::fault(e.to_string()))??;
    text.push(parts.to_string());
    if let Some(busiest) = runs.iter().max_by_key(|ran| ran.load.at_once()) {
        text.push(format!(
            "with {:#} the node's parts take {:.0} of its {:.0} µs of processor time an answer; the rest is QUIC, TLS, the kernel and the runtime",
            busiest.load, parts.node(), busiest.node
        ));
    }
    let mut plain = Vec::new();
    if let Some(url) = &args.postgres {
        say("PostgreSQL …");
        let (url, subjects, seconds, clients) = (url.clone(), args.subjects, args.seconds, at_once.clone());
        let measured =
            tokio::task::spawn_blocking(move || pgbench::measure(&url, subjects, seconds, &clients)).await;
        let baseline = measured.map_err(|e| Problem::fault(e.to_string()))??;
        text.push(format!("\n{baseline}"));
        for (ours, theirs) in runs.iter().zip(&baseline.runs) {
            text.push(beside(ours, theirs.concurrency, theirs.rate, (theirs.p50, theirs.p99)));
        }
        plain = baseline.runs.iter().map(|r| r.json(&baseline.version)).collect();
    }
    if !service.is_empty() {
        text.push(
            "\na plain service over HTTP/1.1, mutual TLS 1.3, JSON and the same database: grant, five columns in clear and \
             an audit row; no signature, no proof, no sealing:"
                .to_owned(),
        );
        for (ours, theirs) in runs.iter().zip(&service) {
            text.push(beside(ours, theirs.concurrency, theirs.rate, (theirs.p50, theirs.p99)));
        }
        if let Some(theirs) = service.last() {
            text.push(format!(
                "  {:.0} coming each second: {:>7.0}/s, p50 {:>6.2} ms, p99 {:>6.2} ms ({:.2} ms of the median second)",
                theirs.offered, theirs.rate, theirs.p50, theirs.p99, theirs.p99_second
            ));
        }
    }
    let value = json!({
        "machine": machine, "service": service, "idle_connections": args.idle, "idle_bytes": grown,
        "resident_bytes": loaded, "subjects": args.subjects, "askers": args.askers, "seconds": args.seconds,
        "runs": runs.iter().map(Ran::json).collect::<Vec<_>>(), "at_random": at_random.json(), "parts": parts.json(), "postgres": plain,
    });
    Ok(Output::new(value, text.join("\n")))
}

/// Another way to answer, in a line; times in milliseconds.
fn beside(ours: &Ran, concurrency: usize, rate: f64, (p50, p99): (f64, f64)) -> String {
    format!(
        "  {concurrency:>4} at once: {rate:>7.0}/s, p50 {p50:>6.2} ms, p99 {p99:>6.2} ms; ours gives {:.2} times the answers",
        ours.rate() / rate
    )
}

/// Founds the federation, takes the records in and signs the grants.
fn prepare(root: &Path, subjects: u64, askers: u16) -> Result<(Unlock, Workload), Problem> {
    let outlet = Guest::new("outlet", Role::Platform)?;
    let banks: Vec<Guest> =
        (0..askers).map(|n| Guest::new(&format!("bank-{n}"), Role::Bank)).collect::<Result<_, _>>()?;
    let requests: Vec<PathBuf> =
        banks.iter().chain([&outlet]).map(|g| g.request(root)).collect::<Result<_, _>>()?;
    let mut taken = Vec::new();
    let at = found(root, [free_port(&mut taken)?, free_port(&mut taken)?], &requests)?;
    let penalties = Penalties::new(1)?;
    let bench = Bench::open(&at)?;
    bench.ingest(&penalties, subjects, BATCH)?;
    bench.close()?;
    let collector = member_id(super::MEMBER)?;
    let signing = Keys::open(&at.dir, &passphrase(&at.passphrase)?)?.signing();
    let item = item(&Catalog::builtin())?.id.clone();
    let grants = (0..subjects)
        .map(|n| {
            let bank = &banks[n as usize % banks.len()];
            let subject = penalties.record(n).subject.clone();
            (subject.clone(), grant((&collector, &signing), &bank.id, &item, subject))
        })
        .collect();
    Ok((at, Workload { penalties, item, banks, outlet, grants, next: AtomicU64::new(0) }))
}

/// The node's process.
struct Node {
    child: Child,
    http: String,
    log: PathBuf,
}

impl Node {
    async fn start(root: &Path, at: &Unlock, registry: &Registry) -> Result<Self, Problem> {
        let failed = |e: std::io::Error| Problem::fault(format!("the node does not start: {e}"));
        let log = root.join("node.log");
        write_private(&log, b"")?;
        let said = std::fs::File::options().append(true).open(&log).map_err(failed)?;
        let mut command = Command::new(std::env::current_exe().map_err(failed)?);
        command.args(["node", "run", "--with-parent", "--dir"]).arg(&at.dir);
        if let Some(file) = &at.passphrase.passphrase_file {
            command.arg("--passphrase-file").arg(file);
        }
        let child =
            command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(said).spawn().map_err(failed)?;
        let http = format!("http://{}", registry.member(&member_id(super::MEMBER)?)?.stated.http);
        let mut node = Self { child, http, log };
        let until = Instant::now() + READY;
        loop {
            if fetch::get(&format!("{}/readyz", node.http), None).await.is_ok_and(|(s, _)| s.is_success()) {
                return Ok(node);
            }
            if Instant::now() > until || node.child.try_wait().is_ok_and(|ended| ended.is_some()) {
                let said = std::fs::read_to_string(&node.log).unwrap_or_default();
                let last = said.lines().last().unwrap_or_default();
                return Err(Problem::fault(format!("the node is not ready: {last}")));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Steps and inputs since the node's start.
    async fn counters(&self) -> Result<(f64, f64), Problem> {
        let (_, body) = fetch::get(&format!("{}/metrics", self.http), None).await.map_err(Problem::fault)?;
        let body = String::from_utf8_lossy(&body).into_owned();
        let counter = |name: &str| {
            let line = body.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|n| n.parse().ok()).ok_or_else(|| Problem::fault(format!("no {name} in /metrics")))
        };
        Ok((counter("xinqiao_steps_total")?, counter("xinqiao_inputs_total")?))
    }

    /// Resident memory, in bytes.
    fn resident(&self) -> u64 {
        machine::resident_of(self.child.id())
    }

    /// Opens connections of the banks in turn.
    async fn idle(
        &self,
        workload: &Workload,
        registry: &Registry,
        count: u64,
    ) -> Result<Vec<quic::Connection>, Problem> {
        let stated = &registry.member(&member_id(super::MEMBER)?)?.stated;
        let mut open = Vec::new();
        let mut endpoint = quic::caller()?;
        for n in 0..count {
            // Of its own for every few hundred: one socket's buffer would hold up the answers to all of them.
            if n % 512 == 511 {
                endpoint = quic::caller()?;
            }
            let bank = &workload.banks[n as usize % workload.banks.len()];
            let connected = quic::connect(&endpoint, &bank.tls, &stated.quic, &[stated.tls]).await;
            open.push(connected.map_err(|e| Problem::fault(format!("idle connection {n}: {e}")))?);
        }
        let closed = open.iter().filter_map(|one| one.close_reason()).next();
        match closed {
            Some(why) => Err(Problem::fault(format!("an idle connection was closed: {why}"))),
            None => Ok(open),
        }
    }

    /// Asks for `time`.
    async fn load(
        &mut self,
        workload: &Arc<Workload>,
        registry: &Arc<Registry>,
        load: Load,
        time: Duration,
    ) -> Result<Ran, Problem> {
        let stated = registry.member(&member_id(super::MEMBER)?)?.stated.clone();
        let endpoint = quic::caller()?;
        let connected = quic::connect(&endpoint, &workload.outlet.tls, &stated.quic, &[stated.tls]).await;
        let connection = connected.map_err(Problem::fault)?;
        let (own, node) = (std::process::id(), self.child.id());
        let before = (self.counters().await?, machine::processor(own), machine::processor(node));
        let start = Instant::now();
        let mut asking = match load {
            Load::AtOnce(many) => at_once(workload, registry, &connection, many, time).await,
            Load::Rate(rate) => {
                let (workload, registry, connection) =
                    (workload.clone(), registry.clone(), connection.clone());
                let coming = move || at_rate(&workload, &registry, &connection, rate, time);
                tokio::task::spawn_blocking(coming).await.map_err(|e| Problem::fault(e.to_string()))?
            }
        };
        let (mut asked, mut sent_away) = (Vec::new(), 0);
        while let Some(more) = asking.join_next().await {
            let (more, away) = more.map_err(|e| Problem::fault(e.to_string()))??;
            asked.extend(more);
            sent_away += away;
        }
        let seconds = start.elapsed().as_secs_f64();
        let after = (self.counters().await?, machine::processor(own), machine::processor(node));
        connection.close(0u32.into(), b"done");
        let mut by_second: BTreeMap<u64, Vec<Duration>> = BTreeMap::new();
        for (due, took) in &asked {
            let second = due.saturating_duration_since(start).as_secs();
            // A few begin just after the last one.
            if second < time.as_secs() {
                by_second.entry(second).or_default().push(*took);
            }
        }
        let mut p99_seconds: Vec<f64> = by_second
            .into_values()
            .map(|mut took| {
                took.sort_unstable();
                share_of(&took, 0.99)
            })
            .collect();
        p99_seconds.sort_by(f64::total_cmp);
        let mut took: Vec<Duration> = asked.into_iter().map(|(_, took)| took).collect();
        took.sort_unstable();
        let per = |seconds: f64| seconds * 1e6 / took.len() as f64;
        Ok(Ran {
            load,
            seconds,
            sent_away,
            share: (after.0.1 - before.0.1) / (after.0.0 - before.0.0),
            asker: per(after.1 - before.1),
            node: per(after.2 - before.2),
            p99_second: p99_seconds.get(p99_seconds.len() / 2).copied().unwrap_or_default(),
            took,
        })
    }

    /// Stops the process in good order.
    async fn stop(mut self, dir: &Path) -> Result<(), Problem> {
        cmd::node::stop(dir).await?;
        let ended = self.child.wait().map_err(|e| Problem::fault(e.to_string()))?;
        if ended.success() { Ok(()) } else { Err(Problem::fault(format!("the node ended with {ended}"))) }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // After `stop` it has ended, and there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How questions come.
#[derive(Clone, Copy)]
pub(super) enum Load {
    /// So many are always on their way.
    AtOnce(usize),
    /// So many a second at random moments, whatever has been answered (a Poisson process).
    Rate(f64),
}

impl Load {
    /// Questions on their way at once, where that is given.
    fn at_once(self) -> Option<usize> {
        match self {
            Self::AtOnce(many) => Some(many),
            Self::Rate(_) => None,
        }
    }
}

impl std::fmt::Display for Load {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtOnce(many) if f.alternate() => write!(f, "{many} at once"),
            Self::AtOnce(many) => write!(f, "{many:>4} at once"),
            Self::Rate(rate) => write!(f, "{rate:.0} coming each second"),
        }
    }
}

/// When each question was due and how long its answer took from then, and how often the node said to come again.
type Asking = JoinSet<Result<(Vec<(Instant, Duration)>, u64), Problem>>;

async fn at_once(
    workload: &Arc<Workload>,
    registry: &Arc<Registry>,
    connection: &quic::Connection,
    many: usize,
    time: Duration,
) -> Asking {
    let stop = Arc::new(AtomicBool::new(false));
    let mut asking = JoinSet::new();
    for _ in 0..many {
        let (workload, registry) = (workload.clone(), registry.clone());
        let (connection, stop) = (connection.clone(), stop.clone());
        asking.spawn(async move {
            let (mut took, mut sent_away) = (Vec::new(), 0);
            while !stop.load(Ordering::Relaxed) {
                let start = Instant::now();
                sent_away += one(&workload, &registry, &connection).await?;
                took.push((start, start.elapsed()));
            }
            Ok((took, sent_away))
        });
    }
    tokio::time::sleep(time).await;
    stop.store(true, Ordering::Relaxed);
    asking
}

/// On a thread that may sleep: the runtime's own clock has ticks of a millisecond, and lets questions come in bunches.
fn at_rate(
    workload: &Arc<Workload>,
    registry: &Arc<Registry>,
    connection: &quic::Connection,
    rate: f64,
    time: Duration,
) -> Asking {
    let mut asking = JoinSet::new();
    let (mut due, end) = (Instant::now(), Instant::now() + time);
    loop {
        // In (0, 1], so that its logarithm is finite.
        let chance = (f64::from(u32::from_be_bytes(clock::random())) + 1.0) / 2f64.powi(32);
        due += Duration::from_secs_f64(-chance.ln() / rate);
        if due > end {
            return asking;
        }
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let (workload, registry, connection) = (workload.clone(), registry.clone(), connection.clone());
        asking.spawn(async move {
            let sent_away = one(&workload, &registry, &connection).await?;
            // From when it was due: what kept it from being asked counts.
            Ok((vec![(due, due.elapsed())], sent_away))
        });
    }
}

/// Asks the next question until it is answered, and checks the answer; returns how often it was told to come again.
async fn one(
    workload: &Workload,
    registry: &Registry,
    connection: &quic::Connection,
) -> Result<u64, Problem> {
    let n = workload.next.fetch_add(1, Ordering::Relaxed);
    let question = workload.question(n);
    let request = Request::Ask(question.signed().clone());
    let mut sent_away = 0;
    let answer = loop {
        match quic::call(connection, &request, FRAME_BYTES_MAX).await {
            Ok(Response::Answer(answer)) => break answer,
            Ok(_) => return Err(Problem::fault("an answer was expected")),
            Err(Refusal { retry_after_ms: Some(ms), .. }) => {
                sent_away += 1;
                tokio::time::sleep(Duration::from_millis(ms)).await;
            }
            Err(refusal) => return Err(refusal.into()),
        }
    };
    let opened = answer::open(registry, &question, &workload.bank(n).opening, &answer)?;
    if workload.right(n, &opened) {
        Ok(sent_away)
    } else {
        Err(Refusal::new(Code::SignatureInvalid, "an answer has other values than were handed in").into())
    }
}

/// What a load gave.
struct Ran {
    load: Load,
    seconds: f64,
    /// From before the question is signed until its answer is verified; ascending.
    took: Vec<Duration>,
    /// `node.busy` heard.
    sent_away: u64,
    /// Inputs in a step: so many share a flush and a checkpoint.
    share: f64,
    /// Processor time of outlet and banks, and of the node, in microseconds an answer.
    asker: f64,
    node: f64,
    /// The 99th percentile of each second alone, and of these the median, in milliseconds: what stops machine or node in fewer
    /// than half of the seconds is not in it.
    p99_second: f64,
}

/// The time within which this share of them was answered, in milliseconds; they ascend.
fn share_of(took: &[Duration], share: f64) -> f64 {
    took.get((took.len() as f64 * share) as usize).map_or(0.0, |t| t.as_secs_f64() * 1e3)
}

impl Ran {
    fn rate(&self) -> f64 {
        self.took.len() as f64 / self.seconds
    }

    /// In milliseconds.
    fn at(&self, share: f64) -> f64 {
        share_of(&self.took, share)
    }

    fn json(&self) -> serde_json::Value {
        let offered = match self.load {
            Load::AtOnce(_) => None,
            Load::Rate(rate) => Some(rate),
        };
        json!({
            "concurrency": self.load.at_once(), "offered_per_second": offered, "answers": self.took.len(), "answers_per_second": self.rate(),
            "p50_ms": self.at(0.5), "p99_ms": self.at(0.99), "p99_ms_of_the_median_second": self.p99_second, "inputs_a_step": self.share, "node_busy": self.sent_away,
            "node_microseconds": self.node, "asker_microseconds": self.asker,
        })
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "  {}: {:>7.0} answers/s, p50 {:>6.2} ms, p99 {:>6.2} ms ({:.2} ms of the median second); processor µs an answer: node {:.0}, outlet and bank {:.0}; {:.1} inputs a step",
            self.load,
            self.rate(),
            self.at(0.5),
            self.at(0.99),
            self.p99_second,
            self.node,
            self.asker,
            self.share
        )?;
        if self.sent_away > 0 {
            write!(
                f,
                "; told to come again {} times (at most {QUESTIONS_PER_SECOND_MAX} questions a second for each bank)",
                self.sent_away
            )?;
        }
        Ok(())
    }
}
