//! What a running node does to reconcile with its peers: it follows `node/src/reconcile.rs`, and `Peers` of
//! `node/src/quic.rs` for who was away and is heard again. What is to be done next says `exchange::reconcile`.

use std::collections::{BTreeMap, BTreeSet};

use credit::id::MemberId;
use exchange::{
    member::{Input, Phase},
    reconcile::{Answered, Ask, Came, Need, Report, Session, Turns},
    refusal::{Code, Refusal},
    wire::Request,
};

use super::{
    Broken, Sim,
    federation::{Call, Waiter},
    mutant::Mutant,
    network::Event,
    shell::{PEER_WAIT_MS, fault},
};

/// What a running node knows of its peers and has under way with them; gone when it goes down.
#[derive(Default)]
pub struct Peers {
    turns: Turns,
    under_way: BTreeMap<u64, UnderWay>,
    /// Which reconciliation waits for a call.
    carried: BTreeMap<u64, u64>,
    /// Peers that did not answer.
    away: BTreeSet<MemberId>,
    /// Peers that were heard again before this member was ready.
    returned: Vec<MemberId>,
}

struct UnderWay {
    session: Session,
    in_turn: bool,
    /// Under whom buckets were asked for.
    authority: Option<MemberId>,
}

impl Sim {
    /// The next peer's turn.
    pub(super) fn turn(&mut self, at: usize, life: u64) -> Result<(), Broken> {
        // Who lies asks nobody what it has made of others' logs.
        if self.nodes[at].life != life || self.lies(at) || self.compares_nothing() {
            return Ok(());
        }
        let node = &mut self.nodes[at];
        if !ready(node) {
            return Ok(());
        }
        match node.peers.turns.next(&node.context) {
            Some(peer) => self.reconcile(at, peer, true).map(drop),
            None => {
                let at_ms = self.now + self.nodes[at].peers.turns.wait_ms();
                self.network.schedule(at_ms, Event::Turn { node: at, life });
                Ok(())
            }
        }
    }

    /// Reconciles with a peer. Returns the number of the reconciliation.
    pub(super) fn reconcile(&mut self, at: usize, peer: MemberId, in_turn: bool) -> Result<u64, Broken> {
        let node = &mut self.nodes[at];
        let number = node.number();
        node.peers
            .under_way
            .insert(number, UnderWay { session: Session::new(peer), in_turn, authority: None });
        self.go_on(at, number, Came::Done)?;
        Ok(number)
    }

    /// What a call was made for has come, or has not: a reconciliation may wait for it.
    pub(super) fn carried(&mut self, at: usize, call: u64, came: Came) -> Result<(), Broken> {
        match self.nodes[at].peers.carried.remove(&call) {
            Some(number) => self.go_on(at, number, came),
            None => Ok(()),
        }
    }

    /// The next part of an answer is asked for by another call.
    pub(super) fn carried_on(&mut self, at: usize, call: u64, next: u64) {
        let carried = &mut self.nodes[at].peers.carried;
        if let Some(number) = carried.remove(&call) {
            carried.insert(next, number);
        }
    }

    pub(super) fn go_on(&mut self, at: usize, number: u64, mut came: Came) -> Result<(), Broken> {
        let salt = self.rng.next_u64();
        self.mistake(at, number, &mut came)?;
        let node = &mut self.nodes[at];
        let Some(under_way) = node.peers.under_way.get_mut(&number) else { return Ok(()) };
        let peer = under_way.session.peer().clone();
        let need = under_way.session.next(&node.context, &node.disk, salt, came).map_err(fault)?;
        if let Some(Need::Ask(Ask::Buckets { authority, .. })) = &need {
            under_way.authority = Some(authority.clone());
        }
        let to = self.reach(at, &peer);
        let (Some(need), Some(to)) = (need, to) else { return self.over(at, number) };
        let call = match need {
            Need::Heads => self.call(at, to, &Request::Heads, Call::Heads, PEER_WAIT_MS)?,
            Need::Fetch { owner, log } => self.pull(at, to, owner, log, PEER_WAIT_MS)?,
            Need::Ask(ask) => self.call(at, to, &Request::Standings(ask), Call::Standings, PEER_WAIT_MS)?,
            Need::Mend(judged) => {
                let token = self.nodes[at].wait(Waiter::Mend(number));
                return self.submit(at, Some(token), Input::Mend { peer, judged });
            }
        };
        self.nodes[at].peers.carried.insert(call, number);
        Ok(())
    }

    fn over(&mut self, at: usize, number: u64) -> Result<(), Broken> {
        let node = &mut self.nodes[at];
        let Some(UnderWay { session, in_turn, .. }) = node.peers.under_way.remove(&number) else {
            return Ok(());
        };
        if in_turn {
            let event = Event::Turn { node: at, life: node.life };
            self.network.schedule(self.now + node.peers.turns.wait_ms(), event);
        }
        let report: Report = session.report();
        self.figures.reconciled += u64::from(report.problem.is_none());
        self.figures.mended += report.standings.iter().map(|compared| compared.mended).sum::<u64>();
        self.say(|| format!("node {at} has reconciled: {report:?}"));
        if self.reports.contains_key(&(at, number)) {
            self.reports.insert((at, number), Some(report));
        }
        Ok(())
    }

    /// A peer has not answered.
    pub(super) fn lost(&mut self, at: usize, peer: usize) {
        let peer = self.nodes[peer].id.clone();
        self.nodes[at].peers.away.insert(peer);
    }

    /// A peer has answered, or asks something itself: what waits for it goes out if it was away.
    pub(super) fn is_there(&mut self, at: usize, peer: usize) -> Result<(), Broken> {
        let peer = self.nodes[peer].id.clone();
        if !self.nodes[at].peers.away.remove(&peer) {
            return Ok(());
        }
        self.nodes[at].peers.returned.push(peer);
        self.welcome(at)
    }

    /// What waits for peers that are there again goes out, and what they have is fetched and compared.
    pub(super) fn welcome(&mut self, at: usize) -> Result<(), Broken> {
        if !ready(&self.nodes[at]) || self.lies(at) {
            return Ok(());
        }
        for peer in core::mem::take(&mut self.nodes[at].peers.returned) {
            self.submit(at, None, Input::Back(peer.clone()))?;
            if self.nodes[at].member.is_some() && !self.compares_nothing() {
                self.reconcile(at, peer, false)?;
            }
        }
        Ok(())
    }

    fn compares_nothing(&self) -> bool {
        matches!(self.config.mutant, Some(Mutant::SilentPeers | Mutant::NeverCompare))
    }

    /// Mistakes in what becomes of an answer.
    fn mistake(&mut self, at: usize, number: u64, came: &mut Came) -> Result<(), Broken> {
        let Came::Answered(Answered::Buckets { standings, not_here, .. }) = came else { return Ok(()) };
        match self.config.mutant {
            Some(Mutant::SkipBuckets) => {
                standings.clear();
                not_here.clear();
            }
            Some(Mutant::BelievePeers) => {
                let under_way = self.nodes[at].peers.under_way.get(&number);
                if let Some(authority) = under_way.and_then(|u| u.authority.as_ref()) {
                    for (record, standing) in standings.iter() {
                        self.nodes[at].disk.overwrite(authority, record, Some(standing))?;
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// A peer could not be asked.
pub(super) fn silent() -> Came {
    Came::Refused(Refusal::new(Code::Unreachable, ""))
}

fn ready(node: &super::federation::Node) -> bool {
    node.member.as_ref().is_some_and(|member| *member.phase() == Phase::Ready)
}
