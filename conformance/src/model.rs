//! Propagation and standing as a small model, explored state by state.
//!
//! One authority, a public platform that keeps a copy of its status log and can be restored, and an asker that is only
//! pushed to; one record; a network that loses, doubles and reorders. The actions are named like the functions that
//! they stand for, and standings are the code's own values, merged by the code. [`explore`] visits every state that any
//! order of actions leads to, so what holds here holds in every history of this size, not in those of some seeds.
//!
//! *Not here*: signatures, proofs, disks, time. The simulation (`sim`) has those, and not every order.

use std::collections::HashSet;

use credit::status::{Change, Standing};

/// The platform: keeps a copy, answers from it, can be restored.
const PLATFORM: usize = 0;
/// The asker: pushed to, answers nobody.
const ASKER: usize = 1;
/// Everybody who must acknowledge.
const RECIPIENTS: [usize; 2] = [PLATFORM, ASKER];
/// What an authority decides in the model: a mark that can be lifted, an end, and a correction, which is neither.
const CHANGES: [Change; 4] = [Change::Mask, Change::Unmask, Change::Repair, Change::Correct];

/// Most entries of the authority's log in the model.
pub const EVENTS_MAX: usize = 4;

/// How much is explored, and with which mistake.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Entries of the authority's status log, at most [`EVENTS_MAX`].
    pub events: usize,
    /// Times the platform may come back from an older copy.
    pub restores: u8,
    /// A mistake built into the rules.
    pub flaw: Option<Flaw>,
}

/// A mistake in the rules; every one must break a [`Property`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// `act` does not look whether the entry was handled.
    NoDuplicateCheck,
    /// `act` acknowledges and does not merge.
    AcknowledgeOnly,
    /// The receipt leaves, and the batch is not written.
    AnswerBeforeCommit,
    /// `due` sends nothing again.
    NeverRetry,
    /// The standing is what the entry that came last says.
    LastComesWins,
    /// A restored platform is ready without having caught up.
    SkipCatchUp,
    /// The certificate counts what was sent.
    CountsSent,
}

impl Flaw {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::NoDuplicateCheck,
        Self::AcknowledgeOnly,
        Self::AnswerBeforeCommit,
        Self::NeverRetry,
        Self::LastComesWins,
        Self::SkipCatchUp,
        Self::CountsSent,
    ];
}

/// What must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Property {
    /// A record is never answered after its end has been verified there, also not after a restore.
    Ended,
    /// Nobody acknowledges an entry twice.
    Once,
    /// A certificate is complete only if everybody has acknowledged.
    Certificate,
    /// Once nothing is lost any more everybody acknowledges everything, every certificate becomes complete, and the
    /// platform stands where the authority's log says.
    Converges,
}

/// One step of somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// `repair::decide`, `change_standing`: the entry, its delivery rows and the first pushes; to whom these are not lost.
    Decide(Change, [bool; 2]),
    /// `propagation::due`: an unacknowledged delivery is sent again.
    Due(u8, usize),
    /// `propagation::notice` and `act`: a recipient takes a push and answers with its receipt; whether that is not lost.
    Notice(u8, usize, bool),
    /// `sync::pulled`: the platform takes the next entry of the authority's log into its copy and acts on it.
    Pulled,
    /// `propagation::acknowledgement`: the authority keeps a receipt.
    Acknowledgement(u8, usize),
    /// `backup`: a copy of the platform's disk is kept.
    Backup,
    /// The platform's disk is that copy again.
    Restore,
    /// `Input::Restored`: its own log is back from a mirror.
    Restored,
    /// `Input::Synced`: it serves.
    Synced,
}

/// What was sent and not lost: from then on the network may deliver it at any time, any number of times, or never.
#[derive(Clone, Copy)]
enum Message {
    /// An entry to a recipient.
    Notice(u8, usize),
    /// A recipient's receipt.
    Receipt(u8, usize),
}

impl Message {
    fn bit(self) -> u32 {
        match self {
            Self::Notice(event, to) => 1 << (u32::from(event) * 4 + to as u32),
            Self::Receipt(event, from) => 1 << (u32::from(event) * 4 + 2 + from as u32),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Phase {
    Restoring,
    Syncing,
    Ready,
}

/// What a recipient has on its disk. Sets of entries are bits.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Disk {
    /// Entries its own status log acknowledges.
    acknowledged: u8,
    /// The record's standing under the authority.
    standing: Standing,
    /// Entries in its copy of the authority's log.
    copied: u8,
}

/// A state of the whole.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct State {
    /// The authority's status log.
    log: [Option<Change>; EVENTS_MAX],
    /// Receipts kept in its delivery rows, per recipient.
    kept: [u8; 2],
    network: u32,
    disks: [Disk; 2],
    phase: Phase,
    backup: Option<Disk>,
    restores: u8,
    /// What the platform's own log has ever acknowledged: its mirror has it.
    mirrored: u8,
    /// An entry was acknowledged a second time.
    twice: bool,
}

impl State {
    fn first() -> Self {
        Self {
            log: [None; EVENTS_MAX],
            kept: [0; 2],
            network: 0,
            disks: [Disk::default(); 2],
            phase: Phase::Ready,
            backup: None,
            restores: 0,
            mirrored: 0,
            twice: false,
        }
    }

    /// Entries of the authority's log, with their indexes.
    fn events(&self) -> impl Iterator<Item = (u8, Change)> {
        let log = self.log;
        (0..).zip(log).map_while(|(event, change)| Some((event, change?)))
    }

    fn size(&self) -> u8 {
        self.events().count() as u8
    }

    fn send(&mut self, message: Message) {
        self.network |= message.bit();
    }

    fn carries(&self, message: Message) -> bool {
        self.network & message.bit() != 0
    }

    /// `propagation::act`: merged and acknowledged in one batch; known already, only merged.
    fn act(&mut self, event: u8, who: usize, flaw: Option<Flaw>) {
        let Some((_, change)) = self.events().nth(usize::from(event)) else { return };
        let bit = 1 << event;
        let disk = &mut self.disks[who];
        if flaw == Some(Flaw::AnswerBeforeCommit) {
            return;
        }
        match flaw {
            Some(Flaw::AcknowledgeOnly) => {}
            Some(Flaw::LastComesWins) => disk.standing = Standing::of(change, u64::from(event)),
            _ => disk.standing = disk.standing.merge(Standing::of(change, u64::from(event))),
        }
        if disk.acknowledged & bit == 0 || flaw == Some(Flaw::NoDuplicateCheck) {
            self.twice |= disk.acknowledged & bit != 0;
            disk.acknowledged |= bit;
            if who == PLATFORM {
                self.mirrored |= bit;
            }
        }
    }

    /// Whether the certificate about an entry names nobody as missing.
    fn is_complete(&self, event: u8, flaw: Option<Flaw>) -> bool {
        // Everything was sent in the batch of its decision.
        flaw == Some(Flaw::CountsSent) || self.kept.iter().all(|kept| kept & (1 << event) != 0)
    }

    /// The state after an action, or `None` when it cannot happen.
    fn after(&self, action: Action, bounds: &Bounds) -> Option<Self> {
        let (mut next, flaw) = (*self, bounds.flaw);
        match action {
            Action::Decide(change, arrives) => {
                let event = self.size();
                if usize::from(event) >= bounds.events.min(EVENTS_MAX) {
                    return None;
                }
                next.log[usize::from(event)] = Some(change);
                for to in RECIPIENTS.into_iter().filter(|to| arrives[*to]) {
                    next.send(Message::Notice(event, to));
                }
            }
            Action::Due(event, to) => {
                let due = self.kept[to] & (1 << event) == 0 && !self.carries(Message::Notice(event, to));
                if !due || flaw == Some(Flaw::NeverRetry) {
                    return None;
                }
                next.send(Message::Notice(event, to));
            }
            Action::Notice(event, to, answered) => {
                if !self.carries(Message::Notice(event, to))
                    || (to == PLATFORM && self.phase == Phase::Restoring)
                {
                    return None;
                }
                next.act(event, to, flaw);
                if answered {
                    next.send(Message::Receipt(event, to));
                }
            }
            Action::Pulled => {
                let event = self.disks[PLATFORM].copied;
                if event >= self.size() || self.phase == Phase::Restoring {
                    return None;
                }
                next.disks[PLATFORM].copied += 1;
                next.act(event, PLATFORM, flaw);
            }
            Action::Acknowledgement(event, from) => {
                if !self.carries(Message::Receipt(event, from)) {
                    return None;
                }
                next.kept[from] |= 1 << event;
            }
            Action::Backup => {
                if self.backup.is_some() || self.restores >= bounds.restores || self.phase != Phase::Ready {
                    return None;
                }
                next.backup = Some(self.disks[PLATFORM]);
            }
            Action::Restore => {
                next.disks[PLATFORM] = next.backup.take()?;
                next.restores += 1;
                next.phase = Phase::Restoring;
                if flaw == Some(Flaw::SkipCatchUp) {
                    next.phase = Phase::Ready;
                }
            }
            Action::Restored => {
                if self.phase != Phase::Restoring {
                    return None;
                }
                // The acknowledgements come back with the log; the standings they were about do not.
                next.disks[PLATFORM].acknowledged = self.mirrored;
                next.phase = Phase::Syncing;
            }
            Action::Synced => {
                let behind = self.disks[PLATFORM].copied < self.size();
                if self.phase != Phase::Syncing || behind {
                    return None;
                }
                next.phase = Phase::Ready;
            }
        }
        Some(next)
    }

    fn actions(&self) -> impl Iterator<Item = Action> + use<> {
        let each = (0..self.size()).flat_map(|event| {
            RECIPIENTS.into_iter().flat_map(move |who| {
                [
                    Action::Due(event, who),
                    Action::Notice(event, who, true),
                    Action::Notice(event, who, false),
                    Action::Acknowledgement(event, who),
                ]
            })
        });
        let progress = each.chain([Action::Pulled, Action::Restored, Action::Synced]);
        let decide = |change| {
            [[true, true], [true, false], [false, true], [false, false]].map(|to| Action::Decide(change, to))
        };
        progress.chain(CHANGES.into_iter().flat_map(decide)).chain([Action::Backup, Action::Restore])
    }

    fn broken(&self, flaw: Option<Flaw>) -> Option<Property> {
        let ended = self
            .events()
            .any(|(event, c)| self.mirrored & (1 << event) != 0 && Standing::of(c, 0).has_ended());
        let answers = self.phase == Phase::Ready && self.disks[PLATFORM].standing.status().disclosable();
        if answers && ended {
            return Some(Property::Ended);
        }
        if self.twice {
            return Some(Property::Once);
        }
        let has = [self.mirrored, self.disks[ASKER].acknowledged];
        let missing = |event: u8| has.iter().any(|has| has & (1 << event) == 0);
        let early = self.events().any(|(event, _)| self.is_complete(event, flaw) && missing(event));
        early.then_some(Property::Certificate)
    }

    /// Nothing is lost any more and nothing new is decided: whatever can still happen does, once around and again, until
    /// nothing changes.
    fn settles(&self, bounds: &Bounds) -> bool {
        let (mut state, mut before) = (*self, None);
        while before != Some(state) {
            before = Some(state);
            let fair = |action: &Action| {
                use Action::{Backup, Decide, Notice, Restore};
                !matches!(action, Decide(..) | Backup | Restore | Notice(_, _, false))
            };
            for action in state.actions().filter(fair) {
                state = state.after(action, bounds).unwrap_or(state);
            }
        }
        let all = ((1_u16 << state.size()) - 1) as u8;
        let acknowledged = state.disks.iter().all(|disk| disk.acknowledged == all);
        let complete = state.events().all(|(event, _)| state.is_complete(event, bounds.flaw));
        let told = state.events().map(|(event, change)| Standing::of(change, u64::from(event)));
        let stands = state.disks[PLATFORM].standing == told.fold(Standing::default(), Standing::merge);
        acknowledged && complete && stands && state.phase == Phase::Ready
    }
}

/// A property that does not hold, and how to get there.
#[derive(Debug)]
pub struct Refuted {
    /// Which.
    pub property: Property,
    /// A shortest way.
    pub actions: Vec<Action>,
}

/// Visits every state within the bounds, nearest first; returns how many there are.
///
/// Errors: a nearest state in which a property does not hold. What must come true in the end is looked at after what
/// must hold always.
pub fn explore(bounds: &Bounds) -> Result<usize, Refuted> {
    let first = State::first();
    let mut states = vec![first];
    // Where each state was come to from: the number of the state before, and the action.
    let mut ways: Vec<Option<(usize, Action)>> = vec![None];
    let mut seen = HashSet::from([first]);
    let mut at = 0;
    while let Some(state) = states.get(at).copied() {
        if let Some(property) = state.broken(bounds.flaw) {
            return Err(Refuted { property, actions: way_to(at, &ways) });
        }
        for action in state.actions() {
            let Some(next) = state.after(action, bounds) else { continue };
            if seen.insert(next) {
                ways.push(Some((at, action)));
                states.push(next);
            }
        }
        at += 1;
    }
    match states.iter().position(|state| !state.settles(bounds)) {
        Some(at) => Err(Refuted { property: Property::Converges, actions: way_to(at, &ways) }),
        None => Ok(states.len()),
    }
}

fn way_to(mut at: usize, ways: &[Option<(usize, Action)>]) -> Vec<Action> {
    let mut actions = Vec::new();
    while let Some((before, action)) = ways[at] {
        actions.push(action);
        at = before;
    }
    actions.reverse();
    actions
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { events: 2, restores: 1, flaw: None };

    #[test]
    fn every_order_of_two_changes_and_a_restore_keeps_every_property() {
        let states = explore(&BOUNDS).unwrap_or_else(|refuted| panic!("{refuted:#?}"));
        // A model in which nothing can happen keeps every property too.
        assert!(states > 10_000, "{states}");
        eprintln!("{states} states");
    }

    #[test]
    fn every_mistake_in_the_rules_is_refuted() {
        let expected = |flaw| match flaw {
            Flaw::NoDuplicateCheck => Property::Once,
            Flaw::AcknowledgeOnly | Flaw::LastComesWins | Flaw::SkipCatchUp => Property::Ended,
            Flaw::AnswerBeforeCommit | Flaw::CountsSent => Property::Certificate,
            Flaw::NeverRetry => Property::Converges,
        };
        for flaw in Flaw::ALL {
            let refuted = explore(&Bounds { flaw: Some(flaw), ..BOUNDS });
            let refuted = refuted.err().unwrap_or_else(|| panic!("{flaw:?} is not refuted"));
            assert_eq!(refuted.property, expected(flaw), "{flaw:?}: {refuted:?}");
        }
    }
}
