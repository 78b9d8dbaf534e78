//! Two platforms of one region (互认): in every fourth history the first two members are the site of 信用中国 and that of
//! the 公示系统 of one region. Both hold the penalties of a body that neither claims, each as its own. And what must hold:
//! a repair by one is a repair by the other, and on conflict the site of 信用中国 prevails.

use std::{collections::BTreeSet, sync::Arc};

use credit::{
    csv::PlainRecord,
    entry::{Changed, StatusFact},
    id::RecordId,
    rules::System,
    status::{Change, Standing},
};
use exchange::{
    logs::LogName,
    recognise::GROUND,
    tables::{self, Key, RecordRow},
};
use ledger::log;

use super::{
    Broken, Check, Config, Sim,
    checker::Checker,
    federation::{Node, unclaimed_body},
};

/// The site of 信用中国, whose result prevails.
const FIRST: usize = 0;
/// The site of the 公示系统.
const SECOND: usize = 1;

/// Ids of the same penalties at both.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    ids: BTreeSet<[RecordId; 2]>,
    /// How much of the first one's status log the second one held after its last step.
    heard: usize,
}

impl Pairs {
    /// Whether a member's record is one that the other one holds as well.
    pub(super) fn holds(&self, at: usize, record: &RecordId) -> bool {
        self.first_of(at, record).is_some()
    }

    fn first_of(&self, at: usize, record: &RecordId) -> Option<RecordId> {
        self.ids.iter().find(|pair| pair.get(at) == Some(record)).map(|pair| pair[FIRST])
    }
}

/// Whether a history has two such platforms.
pub(super) fn recognises(config: &Config) -> bool {
    config.seed % 4 == 1 && config.regions > SECOND
}

/// Makes the first two members such platforms.
pub(super) fn appoint(nodes: &mut [Node]) {
    let ids = [nodes[FIRST].id.clone(), nodes[SECOND].id.clone()];
    for node in nodes {
        let members = &mut Arc::make_mut(&mut node.context.registry).members;
        for (id, system) in ids.iter().zip([System::CreditChina, System::Gsxt]) {
            let entry = members.iter_mut().filter(|member| member.stated.id == *id);
            entry.for_each(|member| member.stated.system = Some(system));
        }
    }
}

impl Sim {
    /// Whether this history has two such platforms.
    pub(super) fn recognises(&self) -> bool {
        recognises(&self.config)
    }

    /// A penalty of the body that neither claims is taken in: by what id each will know it.
    pub(super) fn pair(&mut self, plain: &PlainRecord) {
        if plain.authority_code.as_deref() == Some(unclaimed_body().as_str()) {
            let named = [FIRST, SECOND].map(|at| {
                let node = &self.nodes[at];
                node.context.own.naming.record_id(&node.id, &plain.item, &plain.document, &plain.subject)
            });
            self.checker.pairs.ids.insert(named);
        }
    }

    /// (l) What one of the two has repaired has ended at the other that holds it, unless the other prevails and had refused it.
    pub(super) fn recognised(&self) -> Result<(), Broken> {
        for pair in &self.checker.pairs.ids {
            for (from, to) in [(FIRST, SECOND), (SECOND, FIRST)] {
                let ended = |at: usize, by: fn(Change) -> bool| {
                    self.checker.statements(at).any(
                        |fact| matches!(fact, StatusFact::Changed(c) if c.record == pair[at] && by(c.change)),
                    )
                };
                let node = &self.nodes[to];
                let row: Option<RecordRow> = tables::row(&node.disk, &Key::record(&pair[to]))
                    .map_err(|e| Broken::new(Check::Recognised, e.to_string()))?;
                // Of a version that only a lost disk held nothing is known until its source brings it again.
                let held = row.is_some_and(|row| row.content.is_some() && !row.erased);
                let stands = to == FIRST && self.checker.refused(FIRST, &pair[FIRST], usize::MAX);
                if ended(from, |change| change == Change::Repair)
                    && held
                    && !ended(to, |change| Standing::of(change, 0).has_ended())
                    && !stands
                {
                    let what = format!(
                        "`{}` has repaired `{}`, and `{}` does not recognise it",
                        self.nodes[from].id, pair[from], node.id
                    );
                    return Err(Broken::new(Check::Recognised, what));
                }
            }
        }
        Ok(())
    }
}

impl Checker {
    /// (l) Of what one of the two has said from entry `from` on: the second one grants nothing that it has seen the first one
    /// refuse, and the first one keeps its own refusal.
    pub(super) fn paired(&mut self, node: &Node, at: usize, from: usize) -> Result<(), Broken> {
        if self.pairs.ids.is_empty() || at > SECOND || self.twin {
            return Ok(());
        }
        for (index, fact) in self.statements(at).enumerate().skip(from) {
            let StatusFact::Changed(Changed { record, change: Change::Repair, rule, .. }) = fact else {
                continue;
            };
            let Some(first) = self.pairs.first_of(at, record) else { continue };
            let (recognised, broken) = (rule.starts_with(GROUND), |what: &str| {
                Broken::new(Check::Recognised, format!("`{}` {what} `{record}`", node.id))
            });
            let heard = self.pairs.heard;
            // Once the matter is over there, nothing prevails any more.
            let over = self.statements(FIRST).take(heard).any(
                |fact| matches!(fact, StatusFact::Changed(c) if c.record == first && Standing::of(c.change, 0).has_ended()),
            );
            if at == SECOND && !recognised && !over && self.refused(FIRST, &first, heard) {
                return Err(broken("grants what it has seen the one that prevails refuse,"));
            }
            if at == FIRST && recognised && self.refused(FIRST, &first, index) {
                return Err(broken("has refused, prevails, and recognises another's repair of"));
            }
        }
        if at == SECOND {
            let copy = LogName::Status.mirror(&self.members[FIRST].0);
            // A disk that fails tells nothing; the member ends with it.
            self.pairs.heard = log::size(&node.disk, &copy).map_or(self.pairs.heard, |size| size.0 as usize);
        }
        Ok(())
    }

    /// Whether a member has examined an application about a record and refused it, in the first `before` entries of its log.
    fn refused(&self, at: usize, record: &RecordId, before: usize) -> bool {
        let said = |fact: &StatusFact| match fact {
            StatusFact::Accepted(step) if step.record == *record => Some(step.case),
            _ => None,
        };
        let accepted: BTreeSet<_> = self.statements(at).take(before).filter_map(said).collect();
        self.refusals(at, before).any(|(_, said)| accepted.contains(&said.case))
    }

    /// Repairs that one of the two has recognised.
    pub(super) fn recognitions(&self) -> u64 {
        let said = [FIRST, SECOND].into_iter().flat_map(|at| self.statements(at));
        said.filter(|fact| matches!(fact, StatusFact::Changed(c) if c.rule.starts_with(GROUND))).count()
            as u64
    }
}
