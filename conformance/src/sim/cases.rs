//! Counters take applications; authorities assign them to clerks, accept, decide, refuse for false material, and answer
//! objections. And what must hold: no authority opens a case for a subject that it knows to be barred, everybody holds
//! every ban, and a case is with whom the log says.

use std::collections::{BTreeMap, BTreeSet};

use credit::{
    entry::{Changed, NotGranted, StatusFact},
    id::{CaseId, ClerkId, ItemId, MemberId, RecordId},
    repair::{Case, FalseMaterial, Matter},
    status::{Change, Standing},
    value::Date,
};
use crypto::Digest;
use exchange::{
    ban::BanRow,
    logs::LogName,
    member::Input,
    read,
    repair::Finding,
    tables::{self, Key},
    wire::{ApplicationDraft, Response},
};

use super::{
    Broken, Check, Sim,
    checker::Checker,
    settle::broken,
    workload::{Operation, Row, clerk},
};

/// Clerks of an authority.
const CLERKS: u64 = 3;

impl Sim {
    /// A subject applies at some counter.
    pub(super) fn apply(&mut self) -> Result<(), Broken> {
        let matter = if self.rng.one_in(4) { Matter::Objection } else { Matter::Repair };
        // Mostly about penalties: a tax grade knows no repair, and is refused.
        let all = matter == Matter::Objection || self.rng.one_in(8);
        let shared = self.recognises() && self.rng.one_in(2);
        let wanted = |row: &&Row| (all || !row.tax) && (!shared || row.shared);
        let rows: Vec<&Row> = self.work.rows.iter().filter(wanted).collect();
        let Some(row) = self.rng.pick(&rows).map(|row| (*row).clone()) else { return Ok(()) };
        // Of a penalty that two hold, its subject asks each for the repair.
        let authorities = if row.shared { vec![0, 1] } else { vec![row.body] };
        for authority in authorities {
            let at = self.rng.below(self.config.regions as u64 + 1) as usize;
            let draft = ApplicationDraft {
                authority: self.nodes[authority].id.clone(),
                item: ItemId::parse(if row.tax { "NSXY" } else { "CF" }).expect("an item"),
                document: row.document.clone(),
                subject: row.subject.clone(),
                materials: vec![Digest::of(b"paper")],
                clerk: Some(clerk()),
                matter,
            };
            let case = CaseId(self.rng.bytes());
            self.operator(at, Operation::Done, Input::Apply { draft, case })?;
        }
        Ok(())
    }

    /// Authorities take their open cases one step on.
    pub(super) fn handle_cases(&mut self) -> Result<(), Broken> {
        for at in 0..self.config.regions {
            self.handle_cases_of(at)?;
            self.publish(at)?;
        }
        Ok(())
    }

    fn handle_cases_of(&mut self, at: usize) -> Result<(), Broken> {
        let node = &self.nodes[at];
        let Ok(Response::Cases { cases, .. }) = read::cases(&node.context, &node.disk) else {
            return Ok(());
        };
        for case in cases {
            let id = case.id();
            if !matches!(case, Case::Decided(_)) && self.rng.one_in(5) {
                let clerk = self.any_clerk();
                self.operator(at, Operation::Done, Input::AssignCase { case: id, clerk })?;
            }
            // Where people do not say who they are, nobody is named.
            let clerk = (!self.rng.one_in(4)).then(|| self.any_clerk());
            let input = match (&case, case.matter()) {
                (Case::Decided(_), _) => continue,
                (_, Matter::Objection) => {
                    let finding = match self.rng.below(8) {
                        // Often too early: then it stays open until the next round.
                        0 => Finding::Corrected,
                        1 => Finding::Withdrawn,
                        _ => Finding::Rejected("the record is right".to_owned()),
                    };
                    Input::AnswerObjection { case: id, finding, ground: "art. 36".to_owned(), clerk }
                }
                _ if self.is_false(&case) => {
                    let (found, reason) = (FalseMaterial { barred_until: None }, "false papers".to_owned());
                    Input::RefuseFalse { case: id, reason, found, clerk }
                }
                (Case::Applied(_), _) if self.rng.one_in(8) => {
                    let reason = "papers are missing".to_owned();
                    Input::DecideRepair { case: id, grant: false, reason, clerk }
                }
                (Case::Applied(_), _) => Input::AcceptRepair { case: id, clerk },
                (Case::Accepted(_), _) => {
                    // Of two platforms that recognise each other's repair one is stricter.
                    let strict = at == 0 && self.checker.pairs.holds(at, &case.record());
                    let grant = !self.rng.one_in(if strict { 2 } else { 5 });
                    let reason = if grant { String::new() } else { "duty not performed".to_owned() };
                    Input::DecideRepair { case: id, grant, reason, clerk }
                }
            };
            self.operator(at, Operation::Done, input)?;
        }
        Ok(())
    }

    fn any_clerk(&mut self) -> ClerkId {
        ClerkId::parse(&format!("clerk {}", 1 + self.rng.below(CLERKS))).expect("a clerk")
    }

    /// Whether the material of an application is found to be false: often that of the last subject, and no other's.
    fn is_false(&mut self, case: &Case) -> bool {
        let of = self.checker.about(&case.record()).map(|(subject, _)| subject);
        of.is_some() && of == self.work.subjects().last() && self.rng.one_in(3)
    }

    /// Every public platform holds every ban, as the first entry about its case says it.
    pub(super) fn bans_equal(&mut self) -> Result<(), Broken> {
        let mut naive: BTreeMap<(MemberId, CaseId), BanRow> = BTreeMap::new();
        for (at, node) in self.nodes.iter().enumerate() {
            for (index, said) in self.checker.refusals(at, usize::MAX) {
                if let Some(ban) = said.ban {
                    let row = BanRow { ban, rule: said.rule.clone(), index };
                    naive.entry((node.id.clone(), said.case)).or_insert(row);
                }
            }
        }
        self.figures.bans = naive.len() as u64;
        for node in self.nodes.iter().filter(|node| node.role.mirrors_status()) {
            let rows = tables::rows::<BanRow>(&node.disk, &Key::bans(), usize::MAX)
                .map_err(|e| broken(e.to_string()))?;
            let read = |rest: &[u8]| {
                Some((tables::key_text(rest).and_then(MemberId::parse)?, CaseId(rest.last_chunk().copied()?)))
            };
            let held: BTreeMap<_, _> =
                rows.into_iter().filter_map(|(rest, row)| Some((read(&rest)?, row))).collect();
            if held != naive {
                let other = naive.iter().find(|(key, row)| held.get(*key) != Some(*row));
                let what = format!("`{}` holds {} bans of {}; {other:?}", node.id, held.len(), naive.len());
                return Err(broken(what));
            }
        }
        Ok(())
    }

    /// Every case of `at` is with whom its log says: assigned, accepted and decided.
    pub(super) fn clerks_equal(&self, at: usize) -> Result<(), Broken> {
        let node = &self.nodes[at];
        let naive = self.checker.clerks(at);
        let rows =
            tables::rows::<Case>(&node.disk, &Key::cases(), usize::MAX).map_err(|e| broken(e.to_string()))?;
        for (_, case) in rows {
            let assigned = case.applied().assigned.clone();
            let (accepted, decided) = match &case {
                Case::Applied(_) => (None, None),
                Case::Accepted(accepted) => (accepted.clerk.clone(), None),
                Case::Decided(decided) => (None, decided.clerk.clone()),
            };
            let held = Clerks { assigned, accepted, decided };
            if naive.get(&case.id()) != Some(&held) {
                let said = naive.get(&case.id());
                let what = format!(
                    "`{}` has case {} {} with {held:?}, and its log says {said:?}",
                    node.id,
                    case.id(),
                    case.state()
                );
                return Err(broken(what));
            }
        }
        Ok(())
    }
}

/// Who has a case, who has accepted it while it is not decided, and who has decided it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Clerks {
    assigned: Option<ClerkId>,
    accepted: Option<ClerkId>,
    decided: Option<ClerkId>,
}

impl Checker {
    /// Refusals in the first `before` entries of a member's status log, each with its index.
    pub(super) fn refusals(&self, at: usize, before: usize) -> impl Iterator<Item = (u64, &NotGranted)> {
        let said = (0_u64..).zip(self.statements(at).take(before));
        said.filter_map(|(index, fact)| match fact {
            StatusFact::NotGranted(said) => Some((index, said)),
            _ => None,
        })
    }

    /// (k) Of what a member has said from entry `from` on: it opens no case about repair for a subject that it knew to be
    /// barred that day, by a ban under the rules that the record falls under.
    pub(super) fn admitted(&self, at: usize, from: usize) -> Result<(), Broken> {
        for (index, fact) in self.statements(at).enumerate().skip(from) {
            let StatusFact::Joined(joining) = fact else { continue };
            let opens = joining.case == joining.application.case;
            let about = self.about(&joining.application.record);
            let (true, Matter::Repair, Some(about), false) =
                (opens, joining.application.matter, about, self.twin)
            else {
                continue;
            };
            let day = self.log(at, LogName::Status).get(index).map(|entry| Date::from_timestamp(entry.at));
            for origin in 0..self.members.len() {
                let barred = self.verified(at, origin, index).into_iter().any(|fact| match fact {
                    StatusFact::NotGranted(NotGranted { record, ban: Some(ban), .. }) => {
                        Some(ban.until) >= day && self.about(record) == Some(about)
                    }
                    _ => false,
                });
                if barred {
                    let what = format!(
                        "`{}` opens case {} for a subject that `{}` has barred",
                        self.members[at].0, joining.case, self.members[origin].0
                    );
                    return Err(Broken::new(Check::Barred, what));
                }
            }
        }
        Ok(())
    }

    /// Who has each case of a member, by its log alone.
    fn clerks(&self, at: usize) -> BTreeMap<CaseId, Clerks> {
        let mut all: BTreeMap<CaseId, Clerks> = BTreeMap::new();
        let mut open: BTreeMap<CaseId, RecordId> = BTreeMap::new();
        let mut decided: BTreeSet<CaseId> = BTreeSet::new();
        for fact in self.statements(at) {
            let (case, by) = match fact {
                StatusFact::Joined(joining) => {
                    if !decided.contains(&joining.case) {
                        all.entry(joining.case).or_default();
                        open.insert(joining.case, joining.application.record);
                    }
                    continue;
                }
                StatusFact::Assigned(said) => {
                    if open.contains_key(&said.case) {
                        all.entry(said.case).or_default().assigned = Some(said.clerk.clone());
                    }
                    continue;
                }
                StatusFact::Accepted(step) => {
                    if open.contains_key(&step.case) {
                        all.entry(step.case).or_default().accepted.clone_from(&step.clerk);
                    }
                    continue;
                }
                StatusFact::NotGranted(said) => (Some(said.case), &said.clerk),
                StatusFact::Changed(Changed { change: Change::Dispute, .. }) => continue,
                StatusFact::Changed(changed) => (changed.case, &changed.clerk),
                _ => continue,
            };
            let mut over: Vec<(CaseId, Option<ClerkId>)> = case
                .filter(|case| open.contains_key(case))
                .map(|case| (case, by.clone()))
                .into_iter()
                .collect();
            // What ends a record closes what is left open about it, and nobody has decided that.
            if let StatusFact::Changed(changed) = fact
                && Standing::of(changed.change, 0).has_ended()
            {
                let left = open.iter().filter(|(id, of)| **of == changed.record && case != Some(**id));
                over.extend(left.map(|(id, _)| (*id, None)));
            }
            for (case, by) in over {
                open.remove(&case);
                decided.insert(case);
                let clerks = all.entry(case).or_default();
                (clerks.accepted, clerks.decided) = (None, by);
            }
        }
        all
    }
}
