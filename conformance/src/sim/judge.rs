//! What a node does with a decided reply: a question whose checks are to be judged, or whose fields are to be masked, is
//! handed in again with what came out; everything else leaves.

use exchange::{check, member::Input, step::Reply, wire::Response};

use super::{Broken, Sim, federation::Waiter, shell::fault};

impl Sim {
    /// Completes a reply for its caller. What is judged is decided with whatever comes next.
    pub(super) fn decided(
        &mut self,
        at: usize,
        waiter: Waiter,
        reply: Reply,
        before: usize,
    ) -> Result<(), Broken> {
        let Reply::Judge(judging) = reply else {
            let response = self.complete(at, reply, before)?;
            return self.replied(at, waiter, response);
        };
        let node = &mut self.nodes[at];
        let key = |slot| node.tree.key(slot);
        match check::judge(&node.context, &node.disk, &key, &judging).map_err(fault)? {
            Ok(judged) => {
                let check::Judging { caller, question, grant, .. } = *judging;
                let token = node.wait(waiter);
                let judged = Some(Box::new(judged));
                node.inbox.push((Some(token), Input::Question { caller, question, grant, judged }));
                Ok(())
            }
            Err(refusal) => self.replied(at, waiter, Response::Refused(refusal)),
        }
    }
}
