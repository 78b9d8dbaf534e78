//! The digests above the standings, made again from the standings that are stored.

use std::collections::BTreeMap;

use credit::id::MemberId;
use crypto::codec;
use ledger::store::Space;

use super::{Check, Wrong, row_place};
use crate::{
    refusal::Fault,
    summary,
    tables::{Key, Table},
};

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
        let mut made = BTreeMap::new();
        summary::make(self.view, authority, &mut |key, children| {
            made.insert(key.as_bytes().to_vec(), codec::to_vec(children));
            Ok(())
        })?;
        let prefix = Key::standing_nodes(authority);
        let stored = self.view.scan_prefix(Space::Row, prefix.as_bytes(), usize::MAX)?;
        let mut wrong = Vec::new();
        for (key, bytes) in stored {
            match made.remove(&key) {
                Some(again) if again == bytes => {}
                Some(_) => wrong.push((key, Wrong::RowDiffers)),
                None => wrong.push((key, Wrong::RowUnexplained)),
            }
        }
        wrong.extend(made.into_keys().map(|key| (key, Wrong::RowMissing)));
        for (key, wrong) in wrong {
            self.found(row_place(Table::StandingNode.name(), &key[1..]), wrong, "");
        }
        Ok(())
    }
}
