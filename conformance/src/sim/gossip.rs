//! What a running node does with the heads that peers have seen: it follows `ask_heads` and `prove` of
//! `node/src/run.rs`.

use credit::id::MemberId;
use exchange::{
    evidence::{self, Doubt, Evidence},
    member::Input,
    wire::Request,
    witness,
};
use ledger::checkpoint::SignedCheckpoint;

use super::{
    Broken, Sim,
    federation::Call,
    shell::{PEER_WAIT_MS, fault},
};

impl Sim {
    /// Holds what a peer has told against the disk.
    pub(super) fn told(
        &mut self,
        at: usize,
        peer: MemberId,
        heads: &[SignedCheckpoint],
        told: &[Evidence],
    ) -> Result<(), Broken> {
        let node = &self.nodes[at];
        let cosigned = witness::forgotten(&node.context, &node.disk, heads).map_err(fault)?;
        let examined = evidence::examine(&node.context, &node.disk, self.clock(at), heads, told);
        let examined = examined.map_err(fault)?;
        self.step(at, vec![(None, Input::Heard { from: Some(peer), cosigned })])?;
        for convicted in examined.convicted {
            self.step(at, vec![(None, Input::Evidence(Box::new(convicted)))])?;
        }
        for doubt in examined.doubts {
            self.prove(at, doubt, 0)?;
        }
        Ok(())
    }

    /// A peer has told its heads, or has not: during a start the stage may be over.
    pub(super) fn heard(&mut self, at: usize, call: u64) -> Result<(), Broken> {
        let Some(catch_up) = self.nodes[at].catch_up.as_mut() else { return Ok(()) };
        let of_start = catch_up.left.remove(&call);
        if of_start && catch_up.left.is_empty() { self.staged(at) } else { Ok(()) }
    }

    /// Has two heads proven by the first that can, from the `asked`-th on.
    pub(super) fn prove(&mut self, at: usize, doubt: Doubt, asked: usize) -> Result<(), Broken> {
        let Some(prover) = doubt.provers(&self.nodes[at].context).into_iter().nth(asked) else {
            return Ok(());
        };
        let Some(to) = self.reach(at, &prover) else { return Ok(()) };
        let (old, new) = (doubt.smaller.claimed().size.0, doubt.larger.claimed().size.0);
        let request = Request::Prove { owner: doubt.owner.clone(), log: doubt.log, old, new };
        self.call(at, to, &request, Call::Prove { doubt, asked }, PEER_WAIT_MS)?;
        Ok(())
    }
}
