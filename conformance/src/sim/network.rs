//! The network and the clock: every message and every reason to wake, in one ordered queue.
//!
//! Messages are frames, encoded and decoded as on the wire. While it is not calm the network loses, doubles, delays and
//! so reorders them, and cuts members off from each other. Same seed, same order: nothing here asks anything but the
//! generator it is given.

use std::collections::{BTreeMap, BTreeSet};

use crypto::Digest;

use super::Rng;

/// A frame on its way.
#[derive(Clone, Debug)]
pub struct Envelope {
    /// Sender, as position in the federation.
    pub from: usize,
    /// Receiver.
    pub to: usize,
    /// The call it opens or answers, numbered by the caller.
    pub call: u64,
    /// Whether it answers.
    pub response: bool,
    /// The bytes.
    pub frame: Vec<u8>,
}

/// What happens at a time.
#[derive(Clone, Debug)]
pub enum Event {
    /// A frame arrives.
    Arrive(Envelope),
    /// A call has waited long enough.
    Timeout {
        /// The caller.
        node: usize,
        /// Its life; a call of an earlier life is forgotten.
        life: u64,
        /// The call.
        call: u64,
    },
    /// A member looks at what is due.
    Tick {
        /// The member.
        node: usize,
        /// Its life.
        life: u64,
    },
    /// A member that went down starts again.
    Open {
        /// The member.
        node: usize,
    },
    /// A member reconciles with the next peer.
    Turn {
        /// The member.
        node: usize,
        /// Its life.
        life: u64,
    },
    /// A member that could not catch up asks its peers once more.
    CatchUpAgain {
        /// The member.
        node: usize,
        /// Its life.
        life: u64,
    },
    /// A member takes up the newest registry.
    Registry {
        /// The member.
        node: usize,
    },
    /// Somebody does something.
    Work,
    /// Something breaks.
    Break,
}

/// The queue and the network's mood.
#[derive(Debug)]
pub struct Network {
    queue: BTreeMap<(u64, u64), Event>,
    next: u64,
    cut: BTreeSet<(usize, usize)>,
    calm: bool,
    /// A member whose frames take seconds, both ways.
    pub slow: Option<usize>,
    trace: Digest,
    /// Frames that arrived.
    pub delivered: u64,
    /// Frames that were lost.
    pub lost: u64,
    /// Frames that were doubled.
    pub doubled: u64,
}

/// One frame in this many is lost while the network is not calm.
const LOSS_ONE_IN: u64 = 12;
/// One frame in this many arrives twice.
const DOUBLE_ONE_IN: u64 = 15;
/// A slow member's frames take this long, or up to twice as long: a question and its answer are then near their deadline.
const SLOW_MS_MIN: u64 = 1_500;
/// One frame in this many is late by seconds.
const LATE_ONE_IN: u64 = 20;

impl Network {
    /// An empty queue over a network that is not calm.
    pub fn new() -> Self {
        Self {
            queue: BTreeMap::new(),
            next: 0,
            cut: BTreeSet::new(),
            calm: false,
            slow: None,
            trace: Digest::ZERO,
            delivered: 0,
            lost: 0,
            doubled: 0,
        }
    }

    /// Lets something happen at `at`.
    pub fn schedule(&mut self, at: u64, event: Event) {
        self.queue.insert((at, self.next), event);
        self.next += 1;
    }

    /// The next thing that happens, with its time; a frame that arrives enters the trace.
    pub fn pop(&mut self) -> Option<(u64, Event)> {
        let ((at, _), event) = self.queue.pop_first()?;
        if let Event::Arrive(envelope) = &event {
            self.delivered += 1;
            let place = [envelope.from as u64, envelope.to as u64, envelope.call, at];
            self.note(&place, &envelope.frame);
        }
        Some((at, event))
    }

    /// Enters something else into the trace.
    pub fn note(&mut self, numbers: &[u64], bytes: &[u8]) {
        let numbers: Vec<u8> = numbers.iter().flat_map(|n| n.to_be_bytes()).collect();
        self.trace = Digest::of_parts(&[&self.trace.0, &numbers, bytes]);
    }

    /// Sends a frame, or loses it.
    pub fn send(&mut self, now: u64, rng: &mut Rng, envelope: Envelope) {
        if self.is_cut(envelope.from, envelope.to) || (!self.calm && rng.one_in(LOSS_ONE_IN)) {
            self.lost += 1;
            return;
        }
        let copies = 1 + u64::from(!self.calm && rng.one_in(DOUBLE_ONE_IN));
        self.doubled += copies - 1;
        for _ in 0..copies {
            let late = if !self.calm && rng.one_in(LATE_ONE_IN) { rng.below(6_000) } else { 0 };
            let slow = self.slow.is_some_and(|slow| slow == envelope.from || slow == envelope.to);
            let slow = if slow { SLOW_MS_MIN + rng.below(SLOW_MS_MIN) } else { 0 };
            let at = now + 2 + rng.below(60) + late + slow;
            self.schedule(at, Event::Arrive(envelope.clone()));
        }
    }

    /// Cuts every member in `side` off from every other of `members`.
    pub fn cut_off(&mut self, side: &BTreeSet<usize>, members: usize) {
        self.cut = (0..members)
            .flat_map(|a| (0..members).map(move |b| (a, b)))
            .filter(|(a, b)| side.contains(a) != side.contains(b))
            .collect();
    }

    /// Joins everybody again, and nobody is slow any more.
    pub fn join(&mut self) {
        self.cut.clear();
        self.slow = None;
    }

    /// Lets time pass without anything happening: all that was to happen comes later by as much, and no frame is on its
    /// way so long.
    pub fn leap(&mut self, ms: u64) {
        for ((at, number), event) in core::mem::take(&mut self.queue) {
            match event {
                Event::Arrive(_) => self.lost += 1,
                event => drop(self.queue.insert((at + ms, number), event)),
            }
        }
    }

    /// Ends the faults: everybody is reached, nothing is lost, doubled or late any more.
    pub fn heal(&mut self) {
        self.cut.clear();
        self.slow = None;
        self.calm = true;
    }

    /// Whether frames between the two are lost for now.
    pub fn is_cut(&self, a: usize, b: usize) -> bool {
        self.cut.contains(&(a, b))
    }

    /// Whether the faults have ended.
    pub fn is_calm(&self) -> bool {
        self.calm
    }

    /// Digest over everything that has happened.
    pub fn trace(&self) -> Digest {
        self.trace
    }
}

impl Default for Network {
    fn default() -> Self {
        Self::new()
    }
}
