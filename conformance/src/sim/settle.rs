//! What must hold in the end: the faults are over, everybody comes to rest within a stated time, and then every log,
//! copy, standing and answer is what a plain reading of the logs says, also after an old disk has come back.

use std::collections::{BTreeMap, BTreeSet};

use credit::{
    entry::{Changed, Fact, StatusFact},
    id::{MemberId, RecordId},
    status::{Change, Standing, Status},
};
use crypto::Timestamp;
use exchange::{
    limits::SYNC_INTERVAL_MS,
    logs::LogName,
    member::Phase,
    propagation, push, read,
    reconcile::{self, Outcome},
    tables::{self, DeliveryRow, Key, RecordRow, UsedUpRow},
    wire::{PushLine, Response},
};
use ledger::{log, store::Space, tree::LeafIndex};

use super::{Broken, Check, QUIET_MS_MAX, Sim, disk::Disk, federation::Node, mutant::Mutant};

/// Virtual time that the last questions get.
pub(super) const ASKING_MS: u64 = 5_000;
/// Virtual time after which an entry is in every copy, where nothing is lost.
const PULLED_MS: u64 = SYNC_INTERVAL_MS + 1_000;

pub(super) fn broken(what: impl Into<String>) -> Broken {
    Broken::new(Check::Settled, what)
}

impl Sim {
    /// Ends the faults and holds everything against the logs; then once more with member 0 on an old disk.
    pub(super) fn settle(&mut self) -> Result<(), Broken> {
        self.network.heal();
        self.say(|| "the faults end".to_owned());
        // Who comes back from an older copy waits for everybody.
        if self.rng.one_in(2) && self.nodes.iter().all(|n| !n.restored) {
            self.absence()?;
        }
        self.rest()?;
        // Only in these histories is anything pushed.
        if self.config.seed.is_multiple_of(2) {
            self.last_pages()?;
        }
        if self.config.mutant == Some(Mutant::ForgetStandings) {
            self.forget_standings()?;
        }
        self.checker.strict = true;
        self.figures.receipts = self.checker.all_receipts(&self.nodes)?;
        self.compare()?;
        self.ask_all()?;
        self.come_back()?;
        self.figures.entries = self.checker.entries();
        self.figures.overdue = self.overdue();
        self.figures.recognised = self.checker.recognitions();
        (self.figures.withdrawn, self.figures.own_grants) = self.checker.own_keys();
        Ok(())
    }

    /// Puts member 0 on its old disk, and damages what another one knows of standings.
    fn come_back(&mut self) -> Result<(), Broken> {
        // A federation of one collecting member has nobody who could bring it back.
        let old = self.old.take().filter(|_| self.nodes[0].has_mirrors());
        if old.is_some() && !self.mirrored(0) {
            return Err(broken("at rest, and yet the mirrors have no full copy"));
        }
        // Not what member 0 has decided: it will send that once more, and the standings are then mended by the way.
        let mut any = |from: usize, to: usize| from + self.rng.below((to - from) as u64) as usize;
        let regions = self.config.regions;
        let (at, authority) = (any(1, regions + 1), if regions > 1 { any(1, regions) } else { 0 });
        self.crash(at, None);
        let damage = self.damage(at, authority)?;
        self.checker.damaged = damage.map(|_| (at, authority));
        if let Some(old) = old {
            self.crash(0, None);
            self.put_back(0, old);
        }
        self.rest()?;
        if let Some(damage) = damage {
            self.found(damage)?;
        }
        self.checker.damaged = None;
        self.compare()?;
        self.no_difference()?;
        self.ask_all()?;
        self.checker.all_receipts(&self.nodes).map(drop)
    }

    /// Everybody who holds status logs reconciles with the next one who does, and neither finds a difference.
    fn no_difference(&mut self) -> Result<(), Broken> {
        // That a grant is over is an entry that comes by itself; none is to come while they compare.
        while let Some(end) = self.checker.grant_end(self.now - PULLED_MS + 1, self.now + ASKING_MS) {
            self.until(end + PULLED_MS, |_| false)?;
        }
        let holders: Vec<usize> =
            (0..self.nodes.len()).filter(|at| self.nodes[*at].role.mirrors_status()).collect();
        for (at, next) in holders.iter().zip(holders.iter().cycle().skip(1)) {
            // Its first step only asks, so that the report comes later.
            let number = self.reconcile(*at, self.nodes[*next].id.clone(), false)?;
            self.reports.insert((*at, number), None);
        }
        if !self.until(self.now + ASKING_MS, |sim| sim.reports.values().all(Option::is_some))? {
            return Err(Broken::new(Check::Reconciled, "a reconciliation does not end"));
        }
        let reports = core::mem::take(&mut self.reports);
        for ((at, _), report) in reports.iter().filter_map(|(by, report)| Some((by, report.as_ref()?))) {
            if report.problem.is_some() || report.standings.iter().any(|c| c.outcome != Outcome::Same) {
                let what = format!(
                    "`{}` finds a difference where everything is at rest: {report:?}",
                    self.nodes[*at].id
                );
                return Err(Broken::new(Check::Reconciled, what));
            }
        }
        Ok(())
    }

    /// Lets time pass until everybody is at rest, at most [`QUIET_MS_MAX`].
    pub(super) fn rest(&mut self) -> Result<(), Broken> {
        let begin = self.now;
        let rested = |sim: &mut Sim| sim.at_rest().values().all(Option::is_none);
        if !self.until(begin + QUIET_MS_MAX, rested)? {
            let why: Vec<String> = self
                .at_rest()
                .into_iter()
                .filter_map(|(id, why)| why.map(|why| format!("`{id}` {why}")))
                .collect();
            return Err(broken(format!(
                "not at rest after {} minutes: {}",
                QUIET_MS_MAX / 60_000,
                why.join("; ")
            )));
        }
        self.figures.quiet_ms = self.figures.quiet_ms.max(self.now - begin);
        Ok(())
    }

    /// Holds acknowledgements, copies and standings against the logs.
    fn compare(&mut self) -> Result<(), Broken> {
        (self.figures.events, self.figures.repairs, self.figures.corrections) = (0, 0, 0);
        self.figures.taken_down = 0;
        for origin in 0..self.nodes.len() {
            self.acknowledged_once(origin)?;
            self.copies_equal(origin)?;
            self.standings_equal(origin)?;
            self.in_time(origin)?;
            self.keys_gone(origin)?;
            self.used_up_everywhere(origin)?;
            self.pushed_arrived(origin)?;
            self.pages_told(origin)?;
            self.clerks_equal(origin)?;
        }
        self.bans_equal()?;
        self.recognised()
    }

    /// Every last use that `origin` has answered is said once, and known to every public platform.
    fn used_up_everywhere(&self, origin: usize) -> Result<(), Broken> {
        let id = &self.nodes[origin].id;
        let used_up = self.checker.last_uses(origin).map_err(|why| broken(format!("`{id}` {why}")))?;
        for node in self.nodes.iter().filter(|node| node.role.mirrors_status()) {
            for grant in &used_up {
                let row: Option<UsedUpRow> =
                    tables::row(&node.disk, &Key::used_up(grant, id)).map_err(|e| broken(e.to_string()))?;
                if row.is_none() {
                    let what = format!("`{}` does not know that `{id}` has used grant {grant} up", node.id);
                    return Err(broken(what));
                }
            }
        }
        Ok(())
    }

    /// Every event of `origin` is acknowledged once by every recipient: by every public platform, and by everyone to
    /// whom the record was disclosed before.
    fn acknowledged_once(&mut self, origin: usize) -> Result<(), Broken> {
        let node = &self.nodes[origin];
        for (index, entry) in self.checker.log(origin, LogName::Status).iter().enumerate() {
            let fact = self.checker.statements(origin).nth(index);
            let (event, record) = match fact {
                Some(StatusFact::Changed(changed)) => (index as u64, Some(changed.record)),
                Some(
                    StatusFact::GrantRevoked(..)
                    | StatusFact::GrantPaused(..)
                    | StatusFact::GrantResumed(..)
                    | StatusFact::KeyWithdrawn(_),
                ) => (index as u64, None),
                _ => continue,
            };
            self.figures.events += 1;
            if let Some(StatusFact::Changed(changed)) = fact {
                self.figures.repairs += u64::from(changed.change == Change::Repair);
                self.figures.corrections += u64::from(changed.change == Change::Correct);
            }
            let mut expected: BTreeSet<MemberId> = self
                .nodes
                .iter()
                .filter(|n| n.role.mirrors_status() && n.id != node.id)
                .map(|n| n.id.clone())
                .collect();
            if let Some(record) = record {
                expected.extend(self.received_before(origin, &record, entry.at.0));
            }
            let rows = tables::rows::<DeliveryRow>(&node.disk, &Key::deliveries(event), usize::MAX)
                .map_err(|e| broken(e.to_string()))?;
            for (rest, row) in rows {
                if row.ack.is_none() {
                    return Err(broken(format!("`{}`: a recipient of event {event} is still due", node.id)));
                }
                expected.extend(tables::key_text(&rest).and_then(MemberId::parse));
            }
            for recipient in expected {
                let Some(at) = self.position(&recipient) else { continue };
                let times = self
                    .checker
                    .statements(at)
                    .filter(|f| matches!(f, StatusFact::Acknowledged(a) if a.origin == node.id && a.index == event))
                    .count();
                if times != 1 {
                    let what =
                        format!("`{recipient}` acknowledged event {event} of `{}` {times} times", node.id);
                    return Err(broken(what));
                }
                if let Some(StatusFact::Changed(changed)) = fact
                    && !self.nodes[at].role.mirrors_status()
                    && !self.knows(at, &node.id, changed, event)?
                {
                    let what =
                        format!("`{recipient}` acknowledged event {event} of `{}`, and forgot it", node.id);
                    return Err(broken(what));
                }
            }
        }
        Ok(())
    }

    /// Whether an asker, which keeps no copy of the author's log, stands where the change puts it or further.
    fn knows(&self, at: usize, author: &MemberId, changed: &Changed, event: u64) -> Result<bool, Broken> {
        let key = Key::standing(author, &changed.record);
        let row = tables::row::<Standing>(&self.nodes[at].disk, &key).map_err(|e| broken(e.to_string()))?;
        Ok(row.is_some_and(|row| row.merge(Standing::of(changed.change, event)) == row))
    }

    /// Members to which `origin` disclosed the record strictly before `at`.
    fn received_before(&self, origin: usize, record: &RecordId, at: u64) -> BTreeSet<MemberId> {
        let records = self.checker.log(origin, LogName::Records);
        let version_of = |index: u64| match records.get(index as usize).map(|e| &e.fact) {
            Some(Fact::Recorded(recorded)) => Some(recorded.record),
            _ => None,
        };
        let access = self.checker.log(origin, LogName::Access).iter().filter(|e| e.at.0 < at);
        access
            .filter_map(|e| match &e.fact {
                Fact::Disclosed(d) if d.records.iter().any(|r| version_of(r.version) == Some(*record)) => {
                    Some(d.asked.asker.clone())
                }
                _ => None,
            })
            .filter(|asker| *asker != self.nodes[origin].id)
            .collect()
    }

    /// Every copy of `origin`'s logs is the log.
    fn copies_equal(&self, origin: usize) -> Result<(), Broken> {
        let node = &self.nodes[origin];
        for peer in self.nodes.iter().filter(|p| p.id != node.id) {
            for name in LogName::ALL {
                if !peer.context.registry.keeps_copy(&peer.id, &node.id, name) {
                    continue;
                }
                let copy = name.mirror(&node.id);
                let all = self.checker.bytes(origin, name);
                let held = log::entries(&peer.disk, &copy, LeafIndex(0), usize::MAX)
                    .map_err(|e| broken(e.to_string()))?;
                let heads = (log::head(&peer.disk, &copy), log::head(&node.disk, name.as_str()));
                let same_root = match heads {
                    (Ok(a), Ok(b)) => {
                        a.map(|h| h.claimed().root) == b.map(|h| h.claimed().root) || all.is_empty()
                    }
                    _ => false,
                };
                if held != all || !same_root {
                    return Err(broken(format!(
                        "`{}` holds another `{}/{name}` than its owner",
                        peer.id, node.id
                    )));
                }
            }
        }
        Ok(())
    }

    /// No key is left of what a member's log says is erased.
    fn keys_gone(&self, at: usize) -> Result<(), Broken> {
        let node = &self.nodes[at];
        let slots = read::erased_slots(&node.disk).map_err(|e| broken(e.to_string()))?;
        match slots.into_iter().find(|slot| node.tree.key(*slot).is_some()) {
            None => Ok(()),
            Some(slot) => {
                Err(broken(format!("`{}` has the key of slot {}, which is erased", node.id, slot.0)))
            }
        }
    }

    /// Every public platform stands, for every record of `origin`'s, where `origin`'s log says.
    fn standings_equal(&self, origin: usize) -> Result<(), Broken> {
        let authority = &self.nodes[origin].id;
        let naive: BTreeMap<RecordId, Status> = self.checker.standings(origin);
        for node in self.nodes.iter().filter(|n| n.role.mirrors_status()) {
            let rows = tables::rows::<Standing>(&node.disk, &Key::standings(authority), usize::MAX)
                .map_err(|e| broken(e.to_string()))?;
            let held: BTreeMap<RecordId, Status> = rows
                .into_iter()
                .filter_map(|(rest, standing)| Some((RecordId(rest.try_into().ok()?), standing.status())))
                .collect();
            if held != naive {
                let other = naive.iter().find(|(id, status)| held.get(id) != Some(status));
                return Err(broken(format!(
                    "`{}` sees records of `{authority}` otherwise than the log: {other:?} of {} and {}",
                    node.id,
                    held.len(),
                    naive.len()
                )));
            }
        }
        Ok(())
    }

    /// Asks about every subject once more, as the bank and as every authority: what may be disclosed is, and nothing
    /// else.
    fn ask_all(&mut self) -> Result<(), Broken> {
        self.checker.take_opened(Timestamp(self.now));
        for subject in self.work.subjects().to_vec() {
            self.ask_everything(subject)?;
        }
        self.until(self.now + ASKING_MS, |_| false)?;
        let opened = self.checker.take_opened(Timestamp(self.now));
        self.held_against(&opened, true)?;
        for subject in self.work.subjects().to_vec() {
            for at in 0..self.config.regions {
                let to = (at + 1) % self.config.regions;
                if at != to {
                    self.by_duty(at, to, subject.clone())?;
                }
            }
        }
        self.until(self.now + ASKING_MS, |_| false)?;
        let opened = self.checker.take_opened(Timestamp(self.now));
        self.held_against(&opened, false)
    }

    fn held_against(&self, opened: &BTreeSet<(MemberId, RecordId)>, bank: bool) -> Result<(), Broken> {
        for (at, node) in self.nodes.iter().enumerate().filter(|(_, n)| n.role.collects()) {
            let erased = self.checker.erased(at);
            for (record, authority) in self.checker.collected(at) {
                let Some(origin) = self.position(&authority) else { continue };
                let status = self.checker.standings(origin).get(&record).copied().unwrap_or(Status::Active);
                let row: Option<RecordRow> =
                    tables::row(&node.disk, &Key::record(&record)).map_err(|e| broken(e.to_string()))?;
                let gone = erased.contains(&record);
                let may = status.disclosable() && !gone;
                let was = opened.contains(&(node.id.clone(), record));
                if was && !may {
                    let what = format!("`{}` answers with `{record}`, {} {gone}", node.id, status.as_str());
                    return Err(broken(what));
                }
                // The payload of a version that only a lost disk held is gone; the record then waits for its source.
                let held = row.is_some_and(|row| row.content.is_some());
                if bank && may && held && authority == node.id && !was {
                    return Err(broken(format!(
                        "`{}` withholds `{record}`, which is {}",
                        node.id,
                        status.as_str()
                    )));
                }
            }
        }
        Ok(())
    }

    /// Takes away what the members know of standings: what a broken projection would do.
    fn forget_standings(&mut self) -> Result<(), Broken> {
        for at in 0..self.nodes.len() {
            let mut image = self.nodes[at].disk.image();
            let mut keys = Vec::new();
            for node in &self.nodes {
                let prefix = Key::standings(&node.id);
                let found =
                    image.iter().filter(|(s, key, _)| *s == Space::Row && key.starts_with(prefix.as_bytes()));
                keys.extend(found.map(|(_, key, _)| key.to_vec()));
            }
            for key in keys {
                image.set(Space::Row, &key, None);
            }
            self.nodes[at].disk = Disk::of(image);
        }
        Ok(())
    }

    /// Sizes and phases that show whether everything has come to rest.
    fn at_rest(&self) -> BTreeMap<MemberId, Option<String>> {
        let there = self.nodes.iter().filter(|n| !n.away);
        let mut at_rest: BTreeMap<_, _> = there.map(|n| (n.id.clone(), self.unrest(n))).collect();
        if at_rest.values().all(Option::is_none)
            && let Some((id, why)) = self.disagreement()
        {
            at_rest.insert(id, Some(why));
        }
        at_rest
    }

    /// Who has made something else of a status log than another one that holds as much of it.
    fn disagreement(&self) -> Option<(MemberId, String)> {
        let there = self.nodes.iter().filter(|n| !n.away);
        let holders: Vec<&Node> = there.clone().filter(|n| n.role.mirrors_status()).collect();
        for authority in there.filter(|n| n.role.collects()) {
            let made = holders.iter().map(|n| reconcile::state(&n.context, &n.disk, &authority.id));
            let made: Vec<_> = made.map(|state| state.map_err(|f| f.to_string())).collect();
            let other = made.iter().position(|state| state.is_err() || *state != made[0]);
            if let Some(at) = other {
                let why =
                    format!("stands otherwise under `{}` than `{}`: {made:?}", authority.id, holders[0].id);
                return Some((holders[at].id.clone(), why));
            }
        }
        None
    }

    fn unrest(&self, node: &Node) -> Option<String> {
        let Some(member) = &node.member else { return Some("is down".to_owned()) };
        if *member.phase() != Phase::Ready {
            return Some(format!("is {:?}", member.phase()));
        }
        if node.context.registry.version < self.registry.version {
            return Some("has an older registry".to_owned());
        }
        let away = |id: &MemberId| self.nodes.iter().any(|n| n.away && n.id == *id);
        match propagation::missing(&node.context, &node.disk) {
            Ok(missing) => match missing.iter().filter(|m| !away(&m.to)).count() {
                0 => {}
                n => return Some(format!("waits for {n} acknowledgements")),
            },
            Err(e) => return Some(e.to_string()),
        }
        let Ok(Response::Cases { forwarded, .. }) = read::cases(&node.context, &node.disk) else {
            return Some("cannot tell its cases".to_owned());
        };
        if forwarded.iter().any(|f| f.case.is_none() && f.refused.is_none() && !away(&f.to)) {
            return Some("has an application on its way".to_owned());
        }
        let pushes = push::pushes(&node.context, &node.disk, None).unwrap_or_default();
        let open = |line: &PushLine| {
            let to = line.to.as_ref().is_some_and(|to| !away(to));
            to && !matches!(push::plan(&node.context, &node.disk, &line.record), Ok(None))
        };
        if pushes.iter().any(open) {
            return Some("has a push on its way".to_owned());
        }
        member.mirrored().find_map(|(owner, name, size)| {
            let at = self.position(owner).filter(|at| !self.nodes[*at].away)?;
            let have = log::size(&self.nodes[at].disk, name.as_str()).ok()?.0;
            (have != size).then(|| format!("has {size} of {have} entries of `{owner}/{name}`"))
        })
    }
}
