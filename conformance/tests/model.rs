//! Propagation and standing as a small model, explored state by state.
//!
//! One authority, a public platform that keeps a copy of its status log and can be restored, and an asker that is only
//! pushed to; one record; a network that loses, doubles and reorders. The actions are named like the functions that
//! they stand for, and standings are the code's own values, merged by the code. [Stateright](https://www.stateright.rs)
//! visits every state that any order of actions leads to, so what holds here holds in every history of this size, not in
//! those of some seeds.
//!
//! *Not here*: signatures, proofs, disks, time. The simulation (`sim`) has those, and not every order.

#![allow(clippy::print_stdout, reason = "the shortest ways are for people to read")]

use std::collections::BTreeSet;

use credit::status::{Change, Standing};
use stateright::{Checker, HasDiscoveries, Model, Property};

/// The platform: keeps a copy, answers from it, can be restored.
const PLATFORM: usize = 0;
/// The asker: pushed to, answers nobody.
const ASKER: usize = 1;
/// Everybody who must acknowledge.
const RECIPIENTS: [usize; 2] = [PLATFORM, ASKER];
/// What an authority decides in the model: a mark that can be lifted, an end, and a correction, which is neither.
const CHANGES: [Change; 4] = [Change::Mask, Change::Unmask, Change::Repair, Change::Correct];

/// Entries of the authority's status log.
const EVENTS: usize = 2;
/// Times the platform may come back from an older copy.
const RESTORES: u8 = 1;

// What must hold.

/// A record is never answered after its end has been verified there, also not after a restore.
const ENDED: &str = "Ended";
/// Nobody acknowledges an entry twice.
const ONCE: &str = "Once";
/// A certificate is complete only if everybody has acknowledged.
const CERTIFICATE: &str = "Certificate";
/// Once nothing is lost any more everybody acknowledges everything, every certificate becomes complete, and the platform
/// stands where the authority's log says.
const CONVERGES: &str = "Converges";

/// The federation, and a mistake built into its rules.
struct Federation {
    flaw: Option<Flaw>,
}

/// A mistake in the rules; every one must break a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
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

/// One step of somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Restoring,
    Syncing,
    Ready,
}

/// What a recipient has on its disk. Sets of entries are bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Disk {
    /// Entries its own status log acknowledges.
    acknowledged: u8,
    /// The record's standing under the authority.
    standing: Standing,
    /// Entries in its copy of the authority's log.
    copied: u8,
}

/// A state of the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct State {
    /// The authority's status log.
    log: [Option<Change>; EVENTS],
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
            log: [None; EVENTS],
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
    fn after(&self, action: Action, flaw: Option<Flaw>) -> Option<Self> {
        let mut next = *self;
        match action {
            Action::Decide(change, arrives) => {
                let event = self.size();
                *next.log.get_mut(usize::from(event))? = Some(change);
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
                if self.backup.is_some() || self.restores >= RESTORES || self.phase != Phase::Ready {
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

    /// Whether the platform answers with a record whose end its log acknowledges.
    fn answers_what_has_ended(&self) -> bool {
        let ended = self
            .events()
            .any(|(event, c)| self.mirrored & (1 << event) != 0 && Standing::of(c, 0).has_ended());
        let answers = self.phase == Phase::Ready && self.disks[PLATFORM].standing.status().disclosable();
        answers && ended
    }

    /// Whether a certificate names nobody as missing although somebody has not acknowledged.
    fn certifies_early(&self, flaw: Option<Flaw>) -> bool {
        let has = [self.mirrored, self.disks[ASKER].acknowledged];
        let missing = |event: u8| has.iter().any(|has| has & (1 << event) == 0);
        self.events().any(|(event, _)| self.is_complete(event, flaw) && missing(event))
    }

    /// Nothing is lost any more and nothing new is decided: whatever can still happen does, once around and again, until
    /// nothing changes.
    fn settles(&self, flaw: Option<Flaw>) -> bool {
        let (mut state, mut before) = (*self, None);
        while before != Some(state) {
            before = Some(state);
            let fair = |action: &Action| {
                use Action::{Backup, Decide, Notice, Restore};
                !matches!(action, Decide(..) | Backup | Restore | Notice(_, _, false))
            };
            for action in state.actions().filter(fair) {
                state = state.after(action, flaw).unwrap_or(state);
            }
        }
        let all = ((1_u16 << state.size()) - 1) as u8;
        let acknowledged = state.disks.iter().all(|disk| disk.acknowledged == all);
        let complete = state.events().all(|(event, _)| state.is_complete(event, flaw));
        let told = state.events().map(|(event, change)| Standing::of(change, u64::from(event)));
        let stands = state.disks[PLATFORM].standing == told.fold(Standing::default(), Standing::merge);
        acknowledged && complete && stands && state.phase == Phase::Ready
    }
}

impl Model for Federation {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::first()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        actions.extend(state.actions());
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        state.after(action, self.flaw)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let answered_again = |_: &Self, state: &State| {
            let standing = state.disks[PLATFORM].standing.status();
            state.restores > 0 && state.phase == Phase::Ready && standing.disclosable()
        };
        let ended_everywhere = |model: &Self, state: &State| {
            state.size() as usize == EVENTS
                && state.disks[PLATFORM].standing.has_ended()
                && state.events().all(|(event, _)| state.is_complete(event, model.flaw))
        };
        vec![
            Property::always(ENDED, |_, state: &State| !state.answers_what_has_ended()),
            Property::always(ONCE, |_, state: &State| !state.twice),
            Property::always(CERTIFICATE, |model: &Self, state: &State| !state.certifies_early(model.flaw)),
            Property::always(CONVERGES, |model: &Self, state: &State| state.settles(model.flaw)),
            // A model in which nothing can happen would keep all of these.
            Property::sometimes("A record that stands is answered after a restore", answered_again),
            Property::sometimes("A record has ended and every certificate is complete", ended_everywhere),
        ]
    }
}

#[test]
fn every_order_of_two_changes_and_a_restore_keeps_every_property() {
    let checker = Federation { flaw: None }.checker().spawn_bfs().join();
    checker.assert_properties();
    println!("{} states", checker.unique_state_count());
}

#[test]
fn every_mistake_in_the_rules_is_refuted() {
    for (flaw, property) in [
        (Flaw::NoDuplicateCheck, ONCE),
        (Flaw::AcknowledgeOnly, ENDED),
        (Flaw::LastComesWins, ENDED),
        (Flaw::SkipCatchUp, ENDED),
        (Flaw::AnswerBeforeCommit, CERTIFICATE),
        (Flaw::CountsSent, CERTIFICATE),
        (Flaw::NeverRetry, CONVERGES),
    ] {
        let found = HasDiscoveries::AllOf(BTreeSet::from([property]));
        let checker = Federation { flaw: Some(flaw) }.checker().finish_when(found).spawn_bfs().join();
        let way = checker.discovery(property).unwrap_or_else(|| panic!("{flaw:?} does not break {property}"));
        println!("{flaw:?} breaks {property}: {:?}", way.into_actions());
    }
}
