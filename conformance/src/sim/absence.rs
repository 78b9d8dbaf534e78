//! A member that is away for days, and the last day on which a change must be acknowledged.
//!
//! Days pass in one leap: what would happen in them happens at their end. So that nothing is late for that reason alone,
//! everybody else is at rest before.

use credit::rules::Duty;
use exchange::{logs::LogName, timer};

use super::{Broken, Check, JIANGSU, Sim, network::Event};

/// Longest absence. What must be acknowledged within three working days is late after some of them.
const DAYS_MAX: u64 = 9;
const DAY_MS: u64 = 86_400_000;
/// What people do while somebody is away.
const DEEDS: u64 = 8;
/// Virtual time between the leap and the return: enough to send, in vain, what is due.
const AFTER_LEAP_MS: u64 = 2_000;

/// When a member was away, by the slowest clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Absence {
    who: usize,
    from: u64,
    to: u64,
}

impl Sim {
    /// One member goes away, others decide, days pass, and it comes back.
    pub(super) fn absence(&mut self) -> Result<(), Broken> {
        // Mostly one whose decisions others wait for.
        let among = if self.rng.one_in(2) { self.nodes.len() } else { self.config.regions };
        let who = self.rng.below(among as u64) as usize;
        let days = 1 + self.rng.below(DAYS_MAX);
        self.say(|| format!("node {who} is away for {days} days"));
        let heard = if who < self.config.regions { self.whisper(who)? } else { None };
        let from = self.now;
        self.network.note(&[who as u64, days, self.now], b"away");
        self.nodes[who].down();
        self.nodes[who].away = true;
        if let Some(heard) = heard {
            self.spread(heard)?;
        }
        self.rest()?;
        for _ in 0..DEEDS {
            match self.rng.below(5) {
                0 => self.change_grant()?,
                1 | 2 => self.handle_cases()?,
                _ => self.change_standing()?,
            }
            self.until(self.now + 300, |_| false)?;
        }
        self.rest()?;
        self.now += days * DAY_MS;
        self.network.leap(days * DAY_MS);
        self.until(self.now + AFTER_LEAP_MS, |_| false)?;
        self.nodes[who].away = false;
        self.absences.push(Absence { who, from, to: self.now });
        self.network.schedule(self.now, Event::Open { node: who });
        Ok(())
    }

    /// Every change was acknowledged by its last day, unless its author or the recipient was away then. Who was away
    /// itself was reported once, and nobody else.
    pub(super) fn in_time(&self, origin: usize) -> Result<(), Broken> {
        let node = &self.nodes[origin];
        // A bank has no region, and no rule gives its decisions days; nor those of Jiangsu, whose rules are not provided.
        let region = node.context.registry.member(&node.id).map_or("", |m| m.stated.region.as_str());
        if region.is_empty() || region == JIANGSU {
            return Ok(());
        }
        let broken = |what: String| Broken::new(Check::Deadline, format!("`{}`: {what}", node.id));
        for (to, recipient) in self.nodes.iter().enumerate().filter(|(to, _)| *to != origin) {
            for (event, at) in self.checker.acknowledged(to, &node.id) {
                let Some(since) = self.checker.log(origin, LogName::Status).get(event as usize).map(|e| e.at)
                else {
                    continue;
                };
                let Some(due) = timer::deadline(&node.context, &node.id, Duty::Acknowledge, since) else {
                    return Err(broken(format!("no day is given for event {event}")));
                };
                let last = due.passed_at();
                let away = |who: usize| {
                    self.absences.iter().any(|a| a.who == who && a.from <= last.0 && last.0 <= a.to)
                };
                let (late, theirs, excused) = (at >= last, away(to), away(to) || away(origin));
                if late && !excused {
                    let what = format!(
                        "`{}` was there, and acknowledged event {event} at {}, due by {}",
                        recipient.id,
                        at.rfc3339(),
                        due.date
                    );
                    return Err(broken(what));
                }
                let said = format!("status entry {event}: `{}` was to acknowledge it by ", recipient.id);
                let times =
                    self.alerts.iter().filter(|(by, what)| *by == origin && what.starts_with(&said)).count();
                let fits = match (late, theirs, excused) {
                    (true, true, _) => times == 1,
                    (_, _, true) => times <= 1,
                    _ => times == 0,
                };
                if !fits {
                    let when = if late { "late" } else { "in time" };
                    return Err(broken(format!(
                        "`{}` acknowledged event {event} {when}, and that it is late was reported {times} times",
                        recipient.id
                    )));
                }
            }
        }
        Ok(())
    }

    /// Alerts about late acknowledgements so far.
    pub(super) fn overdue(&self) -> u64 {
        self.alerts.iter().filter(|(_, what)| what.contains("was to acknowledge it by")).count() as u64
    }
}
