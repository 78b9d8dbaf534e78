//! A member that lies: its disk is copied, both copies run under its keys, and each peer is shown one of them.
//!
//! The liar asks nobody what it has seen, and tells no evidence against itself. Both faces are asked, work and grow, while everything breaks as in any history. Once nothing breaks any more, everybody
//! has convicted the liar within [`CONVICTED_MS_PER_MEMBER`] for each member, provided that somebody had accepted each of
//! the two histories: who was shown one alone has nothing to object to.

use std::collections::BTreeSet;

use credit::id::MemberId;
use exchange::{
    evidence,
    limits::GOSSIP_INTERVAL_MS,
    logs::LogName,
    tables::{self, Key},
    witness::WitnessRow,
};
use ledger::log;

use super::{Broken, Check, Config, FAULTS_MS, Outcome, Sim, Violation, network::Event, outcome};

/// Time within which everybody has convicted a liar, per member: once around until two that were shown different
/// histories meet, and once more until whoever found out is heard by all; a tick between two rounds, and a proof that
/// times out.
pub const CONVICTED_MS_PER_MEMBER: u64 = 2 * (GOSSIP_INTERVAL_MS + super::TICK_MS) + 5_000;
/// The member that lies.
const LIAR: usize = 0;

/// Who lies to whom.
#[derive(Debug)]
pub(super) struct Lie {
    /// The two nodes of the liar; the second is the copy.
    pub(super) faces: [usize; 2],
    /// The nodes that are shown the copy.
    shown: BTreeSet<usize>,
}

/// Runs the history of a seed with a liar in it.
///
/// Errors: the first check that fails; [`Check::Evidence`] when somebody has not found out in time.
pub fn lying(config: Config) -> Result<Outcome, Violation> {
    outcome(config, Sim::lying)
}

impl Sim {
    fn lying(&mut self) -> Result<(), Broken> {
        // From the beginning it asks nobody, and comes back from no older copy: that would be a third history.
        self.lie = Some(Lie { faces: [LIAR; 2], shown: BTreeSet::new() });
        self.begin();
        self.until(self.now + FAULTS_MS / 3, |_| false)?;
        self.fork()?;
        self.until(self.now + FAULTS_MS - FAULTS_MS / 3, |_| false)?;
        self.network.heal();
        let bound = self.now + CONVICTED_MS_PER_MEMBER * self.nodes.len() as u64;
        let all = self.until(bound, |sim| sim.honest().all(|at| sim.convicts(at)))?;
        if !all && self.both_accepted()? {
            let who: Vec<&MemberId> =
                self.honest().filter(|at| !self.convicts(*at)).map(|at| &self.nodes[at].id).collect();
            let what = format!("two histories were accepted, and {who:?} have convicted nobody");
            return Err(Broken::new(Check::Evidence, what));
        }
        self.figures.convicted = self.honest().filter(|at| self.convicts(*at)).count() as u64;
        Ok(())
    }

    /// Copies the liar's disk and starts the copy. At least one mirror is shown each history.
    fn fork(&mut self) -> Result<(), Broken> {
        let twin = self.nodes[LIAR].twin();
        let twin = twin.ok_or_else(|| Broken::new(Check::Fault, "the liar's keys cannot be copied"))?;
        let at = self.nodes.len();
        let mut shown: BTreeSet<usize> = (1..at).filter(|_| self.rng.one_in(2)).collect();
        shown.remove(&1);
        shown.insert(2);
        self.say(|| format!("node {LIAR} lies to {shown:?}"));
        self.lie = Some(Lie { faces: [LIAR, at], shown });
        self.checker.forked(&twin);
        self.nodes.push(twin);
        self.network.schedule(self.now, Event::Open { node: at });
        Ok(())
    }

    pub(super) fn lies(&self, at: usize) -> bool {
        self.lie.as_ref().is_some_and(|lie| lie.faces.contains(&at))
    }

    fn honest(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.nodes.len()).filter(|at| !self.lies(*at))
    }

    pub(super) fn convicts(&self, at: usize) -> bool {
        evidence::frozen(&self.nodes[at].disk, &self.nodes[LIAR].id).unwrap_or(false)
    }

    /// Whether, of some log, heads that honest members have accepted are of both histories and of none together.
    fn both_accepted(&mut self) -> Result<bool, Broken> {
        let faces = self.lie.as_ref().map_or([LIAR; 2], |lie| lie.faces);
        let (liar, registry) = (self.nodes[LIAR].id.clone(), self.nodes[LIAR].context.registry.clone());
        for name in LogName::ALL {
            let mut only = [false; 2];
            for at in self.honest().collect::<Vec<_>>() {
                let disk = &self.nodes[at].disk;
                let broken = |what: String| Broken::new(Check::Fault, what);
                let copy = log::head(disk, &name.mirror(&liar)).map_err(|e| broken(e.to_string()))?;
                let key = Key::witness(&name.origin(&registry.federation, &liar));
                let row = tables::row::<WitnessRow>(disk, &key).map_err(|f| broken(f.to_string()))?;
                for head in [copy, row.map(|row| row.note)].into_iter().flatten() {
                    let (size, root) = (head.claimed().size.0, head.claimed().root);
                    let of = faces.map(|face| self.checker.is_past(face, name, size, root));
                    only = [only[0] | (of == [true, false]), only[1] | (of == [false, true])];
                }
            }
            if only == [true, true] {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Where a call from `at` to a member arrives: at the face it is shown, when the member lies.
    pub(super) fn reach(&self, at: usize, id: &MemberId) -> Option<usize> {
        let to = self.position(id)?;
        match &self.lie {
            Some(lie) if lie.faces.contains(&to) => {
                let [first, copy] = lie.faces;
                Some(if lie.shown.contains(&at) || at == copy { copy } else { first })
            }
            _ => Some(to),
        }
    }

    /// The face that does a piece of work.
    pub(super) fn face(&mut self, at: usize) -> usize {
        match &self.lie {
            Some(lie) if at == lie.faces[0] => lie.faces[self.rng.below(2) as usize],
            _ => at,
        }
    }
}
