//! Status entries and pushed records on their way to who is to have them, and the receipts that come back.

use credit::id::{MemberId, RecordId};
use crypto::codec;
use exchange::{
    answer::{Answer, AnswerNumber},
    artifact::status_fact,
    logs::LogName,
    member::Input,
    push::{self, Planning, copy},
    read,
    receipt::Receipt,
    refusal::Refusal,
    wire::Request,
};

use super::{
    Broken, Check, Sim,
    federation::Call,
    mutant::Mutant,
    shell::{PEER_WAIT_MS, fault},
};

impl Sim {
    /// Pushes a status entry to a recipient.
    pub(super) fn deliver(&mut self, at: usize, event: u64, to: &MemberId) -> Result<(), Broken> {
        self.checker.durable(at, LogName::Status, event, &self.nodes[at])?;
        let node = &self.nodes[at];
        let notice = read::notice(&node.context, &node.disk, event).map_err(fault)?;
        let Some(to) = self.reach(at, to) else { return Ok(()) };
        self.call(at, to, &Request::Notice(notice), Call::Deliver { event }, PEER_WAIT_MS)?;
        Ok(())
    }

    /// A recipient's acknowledgement.
    pub(super) fn acknowledged(
        &mut self,
        at: usize,
        event: u64,
        peer: &MemberId,
        receipt: &Receipt,
    ) -> Result<(), Broken> {
        let dropped = self.config.mutant == Some(Mutant::DropAcknowledgements);
        if dropped && self.position(peer) == Some(0) {
            return Ok(());
        }
        let registry = self.nodes[at].context.registry.clone();
        let checked = receipt.verify(&registry).and_then(|proven| {
            let fact = status_fact(&registry, &proven)?;
            Ok((proven, fact))
        });
        let (proven, fact) = match checked {
            Ok(checked) => checked,
            Err(_) if self.knows_less(at) => return Ok(()),
            Err(r) => return Err(Broken::new(Check::Receipts, r.to_string())),
        };
        if proven.member != *peer {
            return Err(Broken::new(
                Check::Fault,
                format!("`{peer}` acknowledges with another member's entry"),
            ));
        }
        let input =
            Input::Acknowledgement { event, proven: Box::new(proven), fact, receipt: codec::to_vec(receipt) };
        self.submit(at, None, input)
    }

    /// Pushes an own record to who publishes it.
    pub(super) fn push(&mut self, at: usize, record: &RecordId, plan: Planning) -> Result<(), Broken> {
        let node = &self.nodes[at];
        let Some(plan) = plan(&node.context, &node.disk, record).map_err(fault)? else { return Ok(()) };
        self.checker.durable(at, LogName::Access, plan.index, node)?;
        self.checker.pushed(at, &plan)?;
        let (seed, number) = (self.rng.secret(), AnswerNumber(self.rng.bytes()));
        let Ok(answer) = self.nodes[at].seal(&plan, &seed, number).map_err(fault)? else { return Ok(()) };
        let Some(to) = self.reach(at, &plan.asker) else { return Ok(()) };
        self.call(at, to, &Request::Push(Box::new(answer)), Call::Push, PEER_WAIT_MS)?;
        Ok(())
    }

    /// Finds out who is to publish an own record now.
    pub(super) fn place(&mut self, at: usize, record: RecordId) -> Result<(), Broken> {
        let node = &self.nodes[at];
        let key = |slot| node.tree.key(slot);
        let found = push::place_again(&node.context, &node.disk, &key, &record).map_err(fault)?;
        let Some((version, place)) = found else { return Ok(()) };
        self.submit(at, None, Input::Placed { record, version, place: Box::new(place) })
    }

    /// What a member makes of a push: opened and checked, it is handed in.
    pub(super) fn pushed(&self, at: usize, caller: MemberId, answer: &Answer) -> Result<Input, Refusal> {
        let node = &self.nodes[at];
        let arrived = copy::receive(&node.context, &node.opening, answer)?;
        Ok(Input::Pushed { caller, arrived: Box::new(arrived), sealed: codec::to_vec(answer) })
    }

    /// The receiver's acknowledgement of a push.
    pub(super) fn taken(&mut self, at: usize, receipt: &Receipt) -> Result<(), Broken> {
        match receipt.verify(&self.nodes[at].context.registry) {
            Ok(proven) => {
                self.figures.pushed += 1;
                let receipt = codec::to_vec(receipt);
                self.submit(at, None, Input::Taken { proven: Box::new(proven), receipt })
            }
            Err(_) if self.knows_less(at) => Ok(()),
            Err(r) => Err(Broken::new(Check::Receipts, r.to_string())),
        }
    }

    /// Everything that was pushed is with its receiver, and stands there as its authority's log says.
    pub(super) fn pushed_arrived(&self, origin: usize) -> Result<(), Broken> {
        let node = &self.nodes[origin];
        let broken = |what: String| Broken::new(Check::Settled, what);
        let standings = self.checker.standings(origin);
        for line in push::pushes(&node.context, &node.disk, None).map_err(fault)? {
            let Some(to) = line.to.filter(|_| line.taken.is_some()) else { continue };
            let Some(peer) = self.position(&to).map(|at| &self.nodes[at]) else { continue };
            let copy = copy::copies(&peer.context, &peer.disk, Some(line.record)).map_err(fault)?.pop();
            let Some(copy) = copy else {
                return Err(broken(format!("`{to}` has taken `{}` and has it not", line.record)));
            };
            let status = standings.get(&line.record).copied();
            if status.is_some_and(|status| status != copy.status) {
                let what = format!("`{to}` would publish `{}` as {}", line.record, copy.status.as_str());
                return Err(broken(what));
            }
        }
        Ok(())
    }
}
