//! The federation in simulation: one seed is one history.
//!
//! A history has two parts. In the first everything breaks: frames are lost, doubled and late, members are cut off
//! from each other, go down at every place of a step, and come back from older copies of their disks, while
//! departments hand in files, banks ask, subjects revoke, counters take applications and authorities decide. Then the
//! faults end, and within [`QUIET_MS_MAX`] everything must have come to rest where a plain reading of the logs says.
//!
//! | file | holds |
//! |---|---|
//! | `federation` | registry, members, keys, disks |
//! | `network` | the queue of frames and of reasons to wake |
//! | `disk` | a store that looks for planted values |
//! | `reconcile` | how it compares standings with its peers, and who of them is there again |
//! | `shell` | what a running node does around its member: calls, answers, start-up |
//! | `gossip` | what it does with the heads that peers have seen |
//! | `workload` | what people do |
//! | `grants` | grants and subjects' own keys, and what must hold of them |
//! | `cases` | applications, clerks, decisions and bans, and what must hold of them |
//! | `twins` | two platforms of one region that recognise each other's repair |
//! | `damage` | standings on a disk that the log does not say |
//! | `absence` | a member away for days, and the days by which changes must be acknowledged |
//! | `bound` | how soon everybody knows what one has verified, when its author is gone |
//! | `pages` | receivers publish and take down, and what must hold of what they say |
//! | `checker` | what must hold after every step |
//! | `settle` | what must hold in the end |
//! | `mutant` | mistakes built in on purpose, which the checks must find |
//! | `lie` | a member that shows two histories, and who must find out |

mod absence;
mod bound;
mod cases;
pub mod checker;
mod damage;
pub mod disk;
pub mod federation;
mod gossip;
mod grants;
mod judge;
pub mod lie;
pub mod mutant;
pub mod network;
mod pages;
mod recipients;
mod reconcile;
mod settle;
mod shell;
mod twins;
pub mod workload;

use core::fmt;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use credit::{question::CLOCK_SKEW_MS_MAX, value::Date};
use crypto::{Digest, Timestamp, secret::Secret};
use exchange::{member::Input, reconcile::Report, registry::Registry};
use ledger::store::memory::{Fault as DiskFault, Image};

use checker::Checker;
use federation::Node;
use mutant::Mutant;
use network::{Event, Network};
use workload::Workload;

/// Virtual length of the first part.
pub const FAULTS_MS: u64 = 40_000;
/// Virtual time after the faults within which everything must have come to rest. The longest wait between two tries
/// is a minute, and one try suffices when nothing is lost.
pub const QUIET_MS_MAX: u64 = 3 * 60_000;
/// Time between two looks at what is due.
const TICK_MS: u64 = 250;
/// Fewest members: one that collects, the outlet and the bank.
pub const MEMBERS_MIN: usize = 3;
/// Most members: 38 that collect, the outlet and the bank. A province with its cities and districts is smaller.
pub const MEMBERS_MAX: usize = 40;
/// How far a member's clock may run ahead of the slowest one: half of what a question may be ahead of its answer, so that
/// the shorter deadlines of the workload are met by slow clocks too.
const AHEAD_MS_MAX: u64 = CLOCK_SKEW_MS_MAX / 2;

/// SplitMix64 (Steele, Lea, Flood 2014): small, and the same everywhere.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// A generator that gives the same numbers for the same seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`; 0 for `n` = 0.
    pub fn below(&mut self, n: u64) -> u64 {
        if n == 0 { 0 } else { self.next_u64() % n }
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// One of `list`, or `None` when it is empty.
    pub fn pick<'a, T>(&mut self, list: &'a [T]) -> Option<&'a T> {
        list.get(self.below(list.len() as u64) as usize)
    }

    /// Bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        for chunk in out.chunks_mut(8) {
            chunk.copy_from_slice(&self.next_u64().to_be_bytes()[..chunk.len()]);
        }
        out
    }

    /// Secret bytes.
    pub fn secret(&mut self) -> Secret {
        Secret::new(self.bytes())
    }
}

/// Which history.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// The seed.
    pub seed: u64,
    /// Collecting members: 1 to 38; an outlet and a bank come on top.
    pub regions: usize,
    /// A mistake to build in.
    pub mutant: Option<Mutant>,
    /// Write every step to standard error.
    pub verbose: bool,
}

impl Config {
    /// The history of `seed` in a federation of `regions` collecting members.
    pub fn new(seed: u64, regions: usize) -> Self {
        let regions = regions.clamp(MEMBERS_MIN - 2, MEMBERS_MAX - 2);
        Self { seed, regions, mutant: None, verbose: false }
    }

    /// The history of `seed` in a federation of as many members as the seed says: mostly four, seldom more than eight,
    /// because a history costs as the square of its members.
    pub fn mixed(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0x6d69_7865_6400);
        let members = match rng.below(500) {
            0 => 20 + rng.below(21),
            1..=3 => 9 + rng.below(8),
            4..=28 => 5 + rng.below(4),
            29..=128 => 3,
            _ => 4,
        };
        Self::new(seed, members as usize - 2)
    }
}

/// What must hold; the letters are those of the test plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// (a) Every checkpoint is consistent with every earlier one anybody saw.
    Consistent,
    /// (b) Every receipt ever issued verifies.
    Receipts,
    /// (c) No effect precedes its batch.
    Durable,
    /// (d) No field leaves without a grant live at that moment, and no record that may not be disclosed.
    Disclosure,
    /// (e) After the faults everybody stands where the logs say, having acknowledged everything once.
    Settled,
    /// (f) Planted values appear in no frame and on no disk.
    Canary,
    /// (g) A witness never cosigns less than it has cosigned before.
    Witness,
    /// (h) A member that shows two histories is convicted by everybody.
    Evidence,
    /// (i) Members that hold the same status log have made the same of it; what a disk had lost was mended by the log,
    /// noted and reported.
    Reconciled,
    /// (j) Every change was acknowledged by its last day; else the recipient was away, and that was reported once.
    Deadline,
    /// (k) No authority opens a case for a subject that it knows to be barred.
    Barred,
    /// (l) Of two platforms that recognise each other's repair, each follows the other, and keeps to whose result prevails.
    Recognised,
    /// (m) What one member has verified is known within the stated time to all that can reach it.
    Bound,
    /// A member faulted, or answered with what it must not answer.
    Fault,
}

/// A check that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Which.
    pub check: Check,
    /// How.
    pub what: String,
}

impl Broken {
    /// A failed check.
    pub fn new(check: Check, what: impl Into<String>) -> Self {
        Self { check, what: what.into() }
    }
}

/// The first failed check of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The history.
    pub seed: u64,
    /// Its federation.
    pub regions: usize,
    /// The step, counted over all members.
    pub step: u64,
    /// Virtual time.
    pub at: Timestamp,
    /// What failed.
    pub broken: Broken,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "seed {} with {} members, step {} at {}: {:?}: {}",
            self.seed,
            self.regions + 2,
            self.step,
            self.at.rfc3339(),
            self.broken.check,
            self.broken.what
        )
    }
}

impl std::error::Error for Violation {}

/// The other province of a history in which decisions are pushed.
const JIANGSU: &str = "320000";

/// What a history held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Steps of all members.
    pub steps: u64,
    /// Log entries of all members.
    pub entries: u64,
    /// Frames that arrived.
    pub frames: u64,
    /// Frames that were lost.
    pub lost: u64,
    /// Times a member went down.
    pub crashes: u64,
    /// Times a member came back from an older copy.
    pub restores: u64,
    /// Registry versions that came after the first.
    pub registries: u64,
    /// Answers a member gave.
    pub answers: u64,
    /// Records in answers that an asker opened and verified.
    pub opened: u64,
    /// Changes of standing and revocations that travelled.
    pub events: u64,
    /// Repairs among them.
    pub repairs: u64,
    /// Corrections among them.
    pub corrections: u64,
    /// Pushes that were acknowledged.
    pub pushed: u64,
    /// Pages that receivers have said to have taken down.
    pub taken_down: u64,
    /// Receipts issued.
    pub receipts: u64,
    /// Members that have convicted the liar, when there was one and both its histories were accepted by somebody.
    pub convicted: u64,
    /// Reconciliations that ended.
    pub reconciled: u64,
    /// Standings damaged on disks.
    pub damaged: u64,
    /// Standings that members have mended.
    pub mended: u64,
    /// Recipients that were reported to be late.
    pub overdue: u64,
    /// Bans.
    pub bans: u64,
    /// Repairs that the other platform of a region has recognised.
    pub recognised: u64,
    /// Keys of subjects that were withdrawn.
    pub withdrawn: u64,
    /// Answers on grants that subjects have signed.
    pub own_grants: u64,
    /// Ends that one member had verified, and all others knew in time, when their author was gone.
    pub spread: u64,
    /// Virtual milliseconds from the end of the faults until everything had come to rest.
    pub quiet_ms: u64,
}

impl Figures {
    /// Adds those of another history; of the times to rest the longest counts.
    pub fn add(&mut self, other: &Self) {
        let sums = [
            (&mut self.steps, other.steps),
            (&mut self.entries, other.entries),
            (&mut self.frames, other.frames),
            (&mut self.lost, other.lost),
            (&mut self.crashes, other.crashes),
            (&mut self.restores, other.restores),
            (&mut self.registries, other.registries),
            (&mut self.answers, other.answers),
            (&mut self.opened, other.opened),
            (&mut self.events, other.events),
            (&mut self.corrections, other.corrections),
            (&mut self.repairs, other.repairs),
            (&mut self.pushed, other.pushed),
            (&mut self.taken_down, other.taken_down),
            (&mut self.receipts, other.receipts),
            (&mut self.convicted, other.convicted),
            (&mut self.reconciled, other.reconciled),
            (&mut self.damaged, other.damaged),
            (&mut self.mended, other.mended),
            (&mut self.overdue, other.overdue),
            (&mut self.bans, other.bans),
            (&mut self.recognised, other.recognised),
            (&mut self.withdrawn, other.withdrawn),
            (&mut self.own_grants, other.own_grants),
            (&mut self.spread, other.spread),
        ];
        for (sum, more) in sums {
            *sum += more;
        }
        self.quiet_ms = self.quiet_ms.max(other.quiet_ms);
    }
}

/// A history that held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Digest over every frame that arrived and its time.
    pub trace: Digest,
    /// Figures.
    pub figures: Figures,
}

/// Runs one history.
///
/// Errors: the first check that fails.
pub fn run(config: Config) -> Result<Outcome, Violation> {
    run_to_members(config).map(|(outcome, _)| outcome)
}

/// As [`run`], and gives the members as the history leaves them.
pub fn run_to_members(config: Config) -> Result<(Outcome, Vec<Node>), Violation> {
    to_members(config, Sim::run)
}

fn outcome(config: Config, part: impl Fn(&mut Sim) -> Result<(), Broken>) -> Result<Outcome, Violation> {
    to_members(config, part).map(|(outcome, _)| outcome)
}

fn to_members(
    config: Config,
    part: impl Fn(&mut Sim) -> Result<(), Broken>,
) -> Result<(Outcome, Vec<Node>), Violation> {
    let mut sim = Sim::new(config);
    match part(&mut sim) {
        Ok(()) => {
            sim.figures.frames = sim.network.delivered;
            sim.figures.lost = sim.network.lost;
            Ok((Outcome { trace: sim.network.trace(), figures: sim.figures }, sim.nodes))
        }
        Err(broken) => Err(Violation {
            seed: config.seed,
            regions: config.regions,
            step: sim.figures.steps,
            at: Timestamp(sim.now),
            broken,
        }),
    }
}

/// Everything of one history.
struct Sim {
    config: Config,
    rng: Rng,
    now: u64,
    nodes: Vec<Node>,
    network: Network,
    work: Workload,
    checker: Checker,
    figures: Figures,
    /// Member 0's disk of early on, put back in the end.
    old: Option<Image>,
    /// A member that shows two histories.
    lie: Option<lie::Lie>,
    /// The newest registry its governors have approved; members take it up one after the other.
    registry: Arc<Registry>,
    /// What members have alerted their operators to.
    alerts: Vec<(usize, String)>,
    /// Who was away for days, and when.
    absences: Vec<absence::Absence>,
    /// What reconciliations have shown that are waited for, by member and number.
    reports: BTreeMap<(usize, u64), Option<Report>>,
}

impl Sim {
    fn new(config: Config) -> Self {
        // A working Wednesday after Order 36 came into force.
        let now = Date::new(2026, 5, 6).map_or(0, |day| day.start().0) + 10 * 3_600_000;
        let mut nodes = federation::build(config.seed, config.regions, Timestamp(now));
        // Every subject is registered in Shanghai. In every other history one authority is elsewhere, and pushes what it decides.
        for node in nodes.iter_mut().filter(|_| config.seed.is_multiple_of(2)) {
            let registry = Arc::make_mut(&mut node.context.registry);
            let second = registry.members.iter_mut().filter(|member| member.stated.id.as_str() == "js");
            second.for_each(|member| JIANGSU.clone_into(&mut member.stated.region));
        }
        if twins::recognises(&config) {
            twins::appoint(&mut nodes);
        }
        let checker = Checker::new(&nodes);
        let registry = nodes[0].context.registry.clone();
        Self {
            config,
            rng: Rng::new(config.seed),
            now,
            work: Workload::new(),
            checker,
            nodes,
            network: Network::new(),
            figures: Figures::default(),
            old: None,
            lie: None,
            registry,
            alerts: Vec::new(),
            absences: Vec::new(),
            reports: BTreeMap::new(),
        }
    }

    fn run(&mut self) -> Result<(), Broken> {
        self.begin();
        self.until(self.now + FAULTS_MS / 3, |_| false)?;
        self.old = Some(self.nodes[0].disk.image());
        self.until(self.now + FAULTS_MS - FAULTS_MS / 3, |_| false)?;
        self.settle()
    }

    /// Starts everybody; from now on there is work, and things break.
    fn begin(&mut self) {
        for at in 0..self.nodes.len() {
            self.network.schedule(self.now, Event::Open { node: at });
        }
        self.network.schedule(self.now + 1_000, Event::Work);
        self.network.schedule(self.now + 3_000, Event::Break);
    }

    /// Lets things happen until `end`, or until `done` when it is asked between two events.
    fn until(&mut self, end: u64, done: impl Fn(&mut Self) -> bool) -> Result<bool, Broken> {
        let mut asked = self.now;
        while let Some((at, event)) = self.network.pop() {
            if at >= end {
                self.network.schedule(at, event);
                break;
            }
            if at >= asked + 1_000 {
                asked = at;
                if done(self) {
                    self.network.schedule(at, event);
                    return Ok(true);
                }
            }
            self.now = at;
            self.happens(event)?;
        }
        self.now = self.now.max(end);
        Ok(done(self))
    }

    fn happens(&mut self, event: Event) -> Result<(), Broken> {
        match event {
            Event::Arrive(envelope) => self.arrive(envelope),
            Event::Timeout { node, life, call } => match self.nodes[node].life == life {
                true => self.give_up(node, call),
                false => Ok(()),
            },
            Event::Tick { node, life } => self.tick(node, life),
            Event::Turn { node, life } => self.turn(node, life),
            Event::Open { node } => self.open(node),
            Event::CatchUpAgain { node, life } => match self.nodes[node].life == life {
                true => self.stage(node),
                false => Ok(()),
            },
            Event::Registry { node } => self.adopt(node),
            Event::Work if self.network.is_calm() => Ok(()),
            Event::Work => {
                let wait = 40 + self.rng.below(320);
                self.network.schedule(self.now + wait, Event::Work);
                self.work()
            }
            Event::Break if self.network.is_calm() => Ok(()),
            Event::Break => {
                let wait = 500 + self.rng.below(3_000);
                self.network.schedule(self.now + wait, Event::Break);
                self.break_something()
            }
        }
    }

    /// Cuts off, joins, takes a member down, takes a copy of a disk, or puts one back.
    fn break_something(&mut self) -> Result<(), Broken> {
        let node = self.rng.below(self.nodes.len() as u64) as usize;
        // Who restores a member takes its log from mirrors; with a liar among them that is another story.
        match self.rng.below(if self.lie.is_some() { 7 } else { 11 }) {
            0 | 1 => {
                let side: BTreeSet<usize> = (0..self.nodes.len()).filter(|_| self.rng.one_in(3)).collect();
                self.say(|| format!("cut off {side:?}"));
                self.network.cut_off(&side, self.nodes.len());
            }
            2 => self.network.join(),
            3 | 4 => self.crash(node, None),
            5 => {
                self.say(|| format!("node {node} is slow"));
                self.network.slow = Some(node);
            }
            6 => self.publish_registry(),
            7 => {
                for node in self.nodes.iter_mut().filter(|n| n.has_mirrors() && n.backup.is_none()) {
                    node.backup = Some(node.disk.image());
                }
            }
            8 => {
                // The outlet answers nothing from its standings, so nobody is told anything wrong meanwhile.
                let (at, authority) = (self.config.regions, self.rng.below(self.config.regions as u64));
                self.crash(at, None);
                self.damage(at, authority as usize)?;
            }
            _ => {
                let able: Vec<usize> = (0..self.nodes.len())
                    .filter(|at| self.nodes[*at].backup.is_some() && self.mirrored(*at))
                    .collect();
                if let Some(node) = self.rng.pick(&able).copied() {
                    self.restore(node);
                }
            }
        }
        Ok(())
    }

    /// Governors approve a successor of the registry; it reaches the members one after the other, within seconds.
    fn publish_registry(&mut self) {
        self.registry =
            Arc::new(federation::successor(self.config.seed, &self.registry, Timestamp(self.now)));
        self.checker.registry = self.registry.clone();
        self.say(|| format!("registry version {}", self.registry.version));
        self.figures.registries += 1;
        for node in 0..self.nodes.len() {
            let at = self.now + self.rng.below(8_000);
            self.network.schedule(at, Event::Registry { node });
        }
    }

    /// A member takes up the newest registry; when it is down, at its next start.
    fn adopt(&mut self, node: usize) -> Result<(), Broken> {
        // Kept in the directory first, as a node does.
        self.nodes[node].registry(self.registry.clone());
        let input = (None, Input::Registry(self.registry.clone()));
        if self.nodes[node].member.is_some() { self.step(node, vec![input]) } else { Ok(()) }
    }

    /// Whether a member has an older registry than there is: what is signed with newer keys does not verify there yet, and it
    /// comes again.
    fn knows_less(&self, at: usize) -> bool {
        self.nodes[at].context.registry.version < self.registry.version
    }

    fn position(&self, id: &credit::id::MemberId) -> Option<usize> {
        self.nodes.iter().position(|n| n.id == *id)
    }

    /// Takes a member down; it starts again after a while. `fault` is what its last write left.
    fn crash(&mut self, node: usize, fault: Option<DiskFault>) {
        if self.nodes[node].member.is_none() {
            return;
        }
        self.say(|| format!("node {node} goes down {fault:?}"));
        self.figures.crashes += 1;
        self.network.note(&[node as u64, self.now, self.nodes[node].life], b"down");
        self.nodes[node].down();
        let again = self.now + 100 + self.rng.below(4_000);
        self.network.schedule(again, Event::Open { node });
    }

    /// Puts an older copy of a disk back. Only where nothing is lost for good by it: a mirror has a full copy of what
    /// the disk holds now (decision 0006 says what happens otherwise).
    fn restore(&mut self, node: usize) {
        if let Some(backup) = self.nodes[node].backup.take() {
            self.crash(node, None);
            self.put_back(node, backup);
        }
    }

    fn put_back(&mut self, node: usize, backup: Image) {
        self.say(|| format!("node {node} comes back from an older copy"));
        self.figures.restores += 1;
        self.nodes[node].disk = disk::Disk::of(backup);
        self.nodes[node].restored = true;
    }

    /// A member's clock: ahead of the slowest one by a fixed time.
    fn clock(&self, at: usize) -> Timestamp {
        Timestamp(self.now + self.nodes[at].ahead_ms)
    }

    fn say(&self, what: impl Fn() -> String) {
        if self.config.verbose {
            eprintln!("{:>7} {}", self.now % 10_000_000, what());
        }
    }
}
