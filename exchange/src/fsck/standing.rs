//! The digests above the standings, made again from the standings that are stored.

use credit::id::MemberId;
use ledger::store::Space;

use super::{Check, Wrong, row_place};
use crate::{refusal::Fault, summary, tables::Table};

impl Check<'_> {
    /// Every node of every authority. Memory: the nodes of one, at most 4,369 of half a kilobyte.
    pub(super) fn nodes(&mut self) {
        let authorities: Vec<MemberId> =
            self.context.registry.members.iter().map(|m| m.stated.id.clone()).collect();
        for authority in authorities {
            if let Err(fault) = self.nodes_of(&authority) {
                // A standing that does not read is found with its row too.
                self.found(format!("digests of `{authority}`"), Wrong::Unreadable, fault);
            }
        }
    }

    fn nodes_of(&mut self, authority: &MemberId) -> Result<(), Fault> {
        for (key, made) in summary::wrong(self.view, authority)? {
            let key = key.as_bytes();
            let wrong = match (made, self.view.get(Space::Row, key)?) {
                (None, _) => Wrong::RowUnexplained,
                (Some(_), None) => Wrong::RowMissing,
                (Some(_), Some(_)) => Wrong::RowDiffers,
            };
            self.found(row_place(Table::StandingNode.name(), &key[1..]), wrong, "");
        }
        Ok(())
    }
}
