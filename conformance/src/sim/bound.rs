//! How soon what one member has verified is known to all that it can reach, when its author is gone: an authority decides,
//! one other member alone hears of it, and the authority goes away.

use std::collections::BTreeSet;

use credit::{
    id::{MemberId, RecordId},
    status::{Change, Standing},
};
use exchange::{
    limits::RECONCILE_INTERVAL_MS,
    member::{Input, Phase},
    tables::{self, Key},
};

use super::{Broken, Check, Sim, shell::PEER_WAIT_MS, workload::Operation};

/// Virtual time that the one has to hear of it, and to fetch the log with its next tick. It is less than the time between
/// two pulls.
const HEARING_MS: u64 = 1_000;
/// Virtual time that a comparison takes where nothing is lost: some ten questions with their answers.
const COMPARING_MS: u64 = 2_000;

impl Sim {
    /// The authority `who` ends a record of its own, one public platform alone hears of it, and `who` goes down.
    /// Returns what is to be known to all others, and to whom it is known; `None` when it came to nothing.
    pub(super) fn whisper(&mut self, who: usize) -> Result<Option<(MemberId, RecordId, usize)>, Broken> {
        let author = self.nodes[who].id.clone();
        let ended = self.checker.ended(who);
        let own = self.checker.collected(who).into_iter().filter(|(_, authority)| *authority == author);
        let own: Vec<RecordId> =
            own.map(|(record, _)| record).filter(|record| !ended.contains(record)).collect();
        // One that is still starting has acknowledged more than its copies hold.
        let ready = |at: &usize| self.nodes[*at].member.as_ref().is_some_and(|m| *m.phase() == Phase::Ready);
        let platforms: Vec<usize> = self.platforms().filter(|at| *at != who).filter(ready).collect();
        let (Some(record), Some(first)) = (self.rng.pick(&own).copied(), self.rng.pick(&platforms).copied())
        else {
            return Ok(None);
        };
        self.network.cut_off(&BTreeSet::from([who, first]), self.nodes.len());
        let reason = "art. 12".to_owned();
        let input = Input::ChangeStanding { record, change: Change::Withdraw, reason, paper: None };
        self.operator(who, Operation::Done, input)?;
        self.until(self.now + HEARING_MS, |_| false)?;
        self.network.join();
        Ok(self.knows_ended(first, &author, &record).then_some((author, record, first)))
    }

    /// Everybody who can reach the member that has heard of an end knows of it within the stated time.
    pub(super) fn spread(
        &mut self,
        (author, record, first): (MemberId, RecordId, usize),
    ) -> Result<(), Broken> {
        let begin = self.now;
        let peers = self.nodes.len() as u64 - 1;
        // Who is away costs its turn the wait for an answer.
        let bound = peers * (RECONCILE_INTERVAL_MS + COMPARING_MS) + PEER_WAIT_MS;
        let others: Vec<usize> =
            self.platforms().filter(|at| *at != first && !self.nodes[*at].away).collect();
        let late = |sim: &Self| others.iter().find(|at| !sim.knows_ended(**at, &author, &record)).copied();
        if self.until(begin + bound, |sim| late(sim).is_none())? {
            self.figures.spread += 1;
            return Ok(());
        }
        let at = late(self).map_or("", |at| self.nodes[at].id.as_str());
        let what = format!(
            "`{at}` would answer with `{record}`, whose end `{}` has verified {} ms ago",
            self.nodes[first].id,
            self.now - begin
        );
        Err(Broken::new(Check::Bound, what))
    }

    fn platforms(&self) -> impl Iterator<Item = usize> {
        (0..self.nodes.len()).filter(|at| self.nodes[*at].role.mirrors_status())
    }

    fn knows_ended(&self, at: usize, author: &MemberId, record: &RecordId) -> bool {
        let row: Option<Standing> =
            tables::row(&self.nodes[at].disk, &Key::standing(author, record)).unwrap_or_default();
        row.is_some_and(|standing| standing.has_ended())
    }
}
