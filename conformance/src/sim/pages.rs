//! What receivers do with the pages that they make of pushed records (公示), and what must hold of what they say.

use std::collections::BTreeMap;

use credit::{
    entry::{Changed, Fact, PageDay, StatusFact},
    status::Change,
};
use exchange::{
    logs::LogName,
    member::{Input, Phase},
    push::{self, copy},
    wire::PushLine,
};

use super::{
    Broken, Check, Sim,
    checker::Checker,
    settle::{ASKING_MS, broken},
    shell::fault,
    workload::Operation,
};

impl Sim {
    /// Receivers say that they have published what they have received and may publish, and have taken down what they may not.
    pub(super) fn publish(&mut self, at: usize) -> Result<(), Broken> {
        let node = &self.nodes[at];
        let copies = copy::copies(&node.context, &node.disk, None).unwrap_or_default();
        for copy in copies.into_iter().filter(|copy| copy.due.is_some()) {
            let (record, on) = (copy.record, None);
            let input = match copy.is_publishable() {
                true => Input::Publish { record, on },
                false => Input::TakeDown { record, on },
            };
            self.operator(at, Operation::Done, input)?;
        }
        Ok(())
    }

    /// (d) No receiver shows as publishable what it has verified as ended or hidden, nor keeps the values of what had ended
    /// before they came.
    pub(super) fn publishable(&self, at: usize) -> Result<(), Broken> {
        let node = &self.nodes[at];
        // One that comes back from an older copy shows nothing before it has caught up, and a disk that fails tells nothing.
        if node.member.as_ref().is_none_or(|member| *member.phase() != Phase::Ready) {
            return Ok(());
        }
        let Ok(copies) = copy::copies(&node.context, &node.disk, None) else { return Ok(()) };
        copies
            .iter()
            .filter(|copy| copy.status.disclosable())
            .try_for_each(|copy| self.checker.publishable(at, &copy.from, &copy.record))
    }

    /// Receivers look at what there is to be done; then each authority ends a record that somebody has published, and they look
    /// once more.
    pub(super) fn last_pages(&mut self) -> Result<(), Broken> {
        self.all_publish()?;
        for at in 0..self.config.regions {
            let node = &self.nodes[at];
            let lines = push::pushes(&node.context, &node.disk, None).map_err(fault)?;
            let there = |line: &&PushLine| line.status.disclosable() && !line.pages.is_empty();
            let Some(line) = lines.iter().find(there) else { continue };
            let (record, reason) = (line.record, "art. 12".to_owned());
            let input = Input::ChangeStanding { record, change: Change::Expire, reason, paper: None };
            self.operator(at, Operation::Done, input)?;
        }
        self.until(self.now + ASKING_MS, |_| false)?;
        self.rest()?;
        self.all_publish()
    }

    /// Also what may be published somebody tries to take down.
    fn all_publish(&mut self) -> Result<(), Broken> {
        for at in 0..self.config.regions {
            self.publish(at)?;
            let node = &self.nodes[at];
            for copy in copy::copies(&node.context, &node.disk, None).map_err(fault)? {
                self.operator(at, Operation::Done, Input::TakeDown { record: copy.record, on: None })?;
            }
        }
        self.until(self.now + ASKING_MS, |_| false)?;
        self.rest()
    }

    /// Whatever `origin` has said of a page its record's authority has acknowledged, once; and none is there whose record may not
    /// be published.
    pub(super) fn pages_told(&mut self, origin: usize) -> Result<(), Broken> {
        let id = &self.nodes[origin].id;
        let (mut down, mut there) = (0, BTreeMap::new());
        for (index, fact) in self.checker.statements(origin).enumerate() {
            let (StatusFact::Published(said) | StatusFact::TakenDown(said)) = fact else { continue };
            match fact {
                StatusFact::Published(_) => drop(there.insert(said.record, &said.authority)),
                _ => {
                    there.remove(&said.record);
                    down += 1;
                }
            }
            let Some(to) = self.position(&said.authority).filter(|to| *to != origin) else { continue };
            let acknowledged = self.checker.acknowledged(to, id);
            let times = acknowledged.iter().filter(|(event, _)| *event == index as u64).count();
            if times != 1 {
                let what = format!(
                    "`{}` acknowledged {times} times what `{id}` has said of its page in entry {index}",
                    said.authority
                );
                return Err(broken(what));
            }
        }
        for (record, authority) in there {
            let standings = self.position(authority).map(|at| self.checker.standings(at)).unwrap_or_default();
            if let Some(status) = standings.get(&record).filter(|status| !status.disclosable()) {
                let what = format!("`{id}` has a page about `{record}`, which is {}", status.as_str());
                return Err(broken(what));
            }
        }
        self.figures.taken_down += down;
        Ok(())
    }
}

impl Checker {
    /// (d) What member `at` has said of taking down since entry `from` of its status log: it had published that, may not
    /// publish it any more by what it had verified, and does not say the same twice.
    pub(super) fn taken_down(&self, at: usize, from: usize) -> Result<(), Broken> {
        // Who was shown which history of a liar this checker does not know.
        if self.twin {
            return Ok(());
        }
        for (index, fact) in self.statements(at).enumerate().skip(from) {
            let StatusFact::TakenDown(said) = fact else { continue };
            let broken = |what: &str| {
                let what = format!("`{}` takes down `{}`, {what}", self.members[at].0, said.record);
                Err(Broken::new(Check::Disclosure, what))
            };
            let before = self.statements(at).take(index).filter_map(|fact| match fact {
                StatusFact::Published(page) if page.record == said.record => Some((true, page.on)),
                StatusFact::TakenDown(page) if page.record == said.record => Some((false, page.on)),
                _ => None,
            });
            let pages: Vec<_> = before.collect();
            if !pages.iter().any(|(published, _)| *published) {
                return broken("which it has not published");
            }
            if pages.last() == Some(&(false, said.on)) {
                return broken("and has said so already");
            }
            let damaged =
                self.damaged.is_some_and(|(by, of)| by == at && self.members[of].0 == said.authority);
            let status = self.status_seen(at, &said.authority, &said.record, index);
            if status.disclosable() && !damaged && !self.outdated(at, said, index) {
                return broken(&format!("which it knows to be {}", status.as_str()));
            }
        }
        Ok(())
    }

    /// Whether the version that member `at` held when it wrote entry `index` had been corrected, as it knew. What came in the
    /// very step of that entry may have come before it or after it.
    fn outdated(&self, at: usize, said: &PageDay, index: usize) -> bool {
        let Some(then) = self.log(at, LogName::Status).get(index).map(|entry| entry.at) else { return false };
        let taken = self.log(at, LogName::Access).iter().filter_map(|entry| match &entry.fact {
            Fact::Taken(taken) if taken.record == said.record => Some((entry.at, taken.told)),
            _ => None,
        });
        let (before, with): (Vec<_>, Vec<_>) =
            taken.filter(|(at, _)| *at <= then).partition(|(at, _)| *at < then);
        let versions = before.last().into_iter().chain(&with).map(|(_, told)| *told);
        let Some(oldest) = versions.min() else { return false };
        let Some(origin) = self.members.iter().position(|(id, _)| *id == said.authority) else {
            return false;
        };
        let corrects = |entry: u64| {
            matches!(
                self.statements(origin).nth(entry as usize),
                Some(StatusFact::Changed(Changed { record, change: Change::Correct, .. })) if *record == said.record
            )
        };
        self.statements(at).take(index).any(|fact| match fact {
            StatusFact::Acknowledged(ack) if ack.origin == said.authority => {
                ack.index >= oldest && corrects(ack.index)
            }
            _ => false,
        })
    }
}
