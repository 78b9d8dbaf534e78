//! The standing of a record: a value every member holds and merges.
//!
//! Only entries in the authority's status log change it, and that log has one writer, so there is nothing to vote
//! on. What can happen is that entries arrive late, twice, or in another order, or that an old copy of a store
//! comes back; [`Standing::merge`] is commutative, associative and idempotent, so none of that can bring a
//! repaired record back. In doubt the record is not disclosed.

use minicbor::{Decode, Encode};

/// 信息状态: what a record's standing allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum Status {
    /// May be disclosed under policy.
    #[n(0)]
    Active,
    /// Disclosed with the mark that its subject disputes it.
    #[n(1)]
    Disputed,
    /// Hidden for now (bankruptcy reorganisation); can be lifted.
    #[n(2)]
    Masked,
    /// Maximum publicity is over.
    #[n(3)]
    Expired,
    /// Repaired: no publishing, sharing or use (Order 36).
    #[n(4)]
    Repaired,
    /// The act behind it was revoked.
    #[n(5)]
    Withdrawn,
}

impl Status {
    /// Whether a record with this standing may leave at all.
    pub const fn disclosable(self) -> bool {
        matches!(self, Status::Active | Status::Disputed)
    }

    /// English word, as in `--json`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Status::Active => "active",
            Status::Disputed => "disputed",
            Status::Masked => "masked",
            Status::Expired => "expired",
            Status::Repaired => "repaired",
            Status::Withdrawn => "withdrawn",
        }
    }

    /// The legal term.
    pub const fn zh(self) -> &'static str {
        match self {
            Status::Active => "正常",
            Status::Disputed => "异议处理中",
            Status::Masked => "暂时屏蔽",
            Status::Expired => "公示期满",
            Status::Repaired => "已修复",
            Status::Withdrawn => "已撤销",
        }
    }
}

/// What an entry of the authority's status log does to a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Change {
    /// Dispute mark set.
    #[n(0)]
    Dispute,
    /// Dispute mark taken off.
    #[n(1)]
    EndDispute,
    /// Hidden for a reorganisation.
    #[n(2)]
    Mask,
    /// Shown again.
    #[n(3)]
    Unmask,
    /// Publicity ended.
    #[n(4)]
    Expire,
    /// Repaired.
    #[n(5)]
    Repair,
    /// Withdrawn.
    #[n(6)]
    Withdraw,
    /// Its content was corrected: whoever was told the old one is to ask again. Shown or hidden as before.
    #[n(7)]
    Correct,
}

impl Change {
    /// English word, as in `--json`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Change::Dispute => "dispute",
            Change::EndDispute => "end-dispute",
            Change::Mask => "mask",
            Change::Unmask => "unmask",
            Change::Expire => "expire",
            Change::Repair => "repair",
            Change::Withdraw => "withdraw",
            Change::Correct => "correct",
        }
    }

    /// What it is called on paper.
    pub const fn zh(self) -> &'static str {
        match self {
            Change::Dispute => "标注异议",
            Change::EndDispute => "取消异议标注",
            Change::Mask => "暂时屏蔽",
            Change::Unmask => "解除屏蔽",
            Change::Expire => "公示期满",
            Change::Repair => "准予修复",
            Change::Withdraw => "撤销",
            Change::Correct => "更正",
        }
    }
}

/// A record's standing as a member has verified it.
///
/// Four parts that merge independently: the dispute mark and the mask by the newest entry (its index in the one
/// log that counts), the end, which never goes back: withdrawn over repaired over expired; and the newest correction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(map)]
pub struct Standing {
    #[n(0)]
    disputed: Option<Mark>,
    #[n(1)]
    masked: Option<Mark>,
    #[n(2)]
    end: Option<End>,
    #[n(3)]
    corrected: Option<u64>,
}

/// Newest entry about one reversible mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub(crate) struct Mark(#[n(0)] pub(crate) u64, #[n(1)] pub(crate) bool);

/// How a record ended, and at which entry first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
struct End(#[n(0)] Change, #[n(1)] u64);

impl Standing {
    /// The standing that entry `index` of the authority's status log alone would give.
    pub fn of(change: Change, index: u64) -> Self {
        let mut standing = Self::default();
        match change {
            Change::Dispute | Change::EndDispute => {
                standing.disputed = Some(Mark(index, change == Change::Dispute));
            }
            Change::Mask | Change::Unmask => standing.masked = Some(Mark(index, change == Change::Mask)),
            Change::Expire | Change::Repair | Change::Withdraw => standing.end = Some(End(change, index)),
            Change::Correct => standing.corrected = Some(index),
        }
        standing
    }

    /// The standing after both.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        // Of two ends the higher stays; of two equal ends the earlier entry, so that order does not matter.
        let rank = |e: &End| (e.0, core::cmp::Reverse(e.1));
        Self {
            disputed: self.disputed.max(other.disputed),
            masked: self.masked.max(other.masked),
            end: [self.end, other.end].into_iter().flatten().max_by_key(rank),
            corrected: self.corrected.max(other.corrected),
        }
    }

    /// The entries it rests on: of these alone it can be made again.
    pub fn told(&self) -> impl Iterator<Item = (Change, u64)> {
        let mark = |mark: Option<Mark>, on, off| mark.map(|m| (if m.1 { on } else { off }, m.0));
        let disputed = mark(self.disputed, Change::Dispute, Change::EndDispute);
        let masked = mark(self.masked, Change::Mask, Change::Unmask);
        let corrected = self.corrected.map(|index| (Change::Correct, index));
        [disputed, masked, self.end.map(|e| (e.0, e.1)), corrected].into_iter().flatten()
    }

    /// The entry that told the newest correction of its content.
    pub fn corrected(&self) -> Option<u64> {
        self.corrected
    }

    /// The entry that lifted the mask, while nothing has hidden it again.
    pub fn unmasked(&self) -> Option<u64> {
        self.masked.filter(|mark| !mark.1).map(|mark| mark.0)
    }

    /// Whether it has come to an end that is never undone: expired, repaired or withdrawn.
    pub fn has_ended(&self) -> bool {
        self.end.is_some()
    }

    /// What it allows now.
    pub fn status(&self) -> Status {
        let on = |mark: Option<Mark>| mark.is_some_and(|m| m.1);
        match self.end.map(|e| e.0) {
            Some(Change::Withdraw) => Status::Withdrawn,
            Some(Change::Repair) => Status::Repaired,
            Some(_) => Status::Expired,
            None if on(self.masked) => Status::Masked,
            None if on(self.disputed) => Status::Disputed,
            None => Status::Active,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn change() -> impl Strategy<Value = Change> {
        proptest::sample::select(vec![
            Change::Dispute,
            Change::EndDispute,
            Change::Mask,
            Change::Unmask,
            Change::Expire,
            Change::Repair,
            Change::Withdraw,
            Change::Correct,
        ])
    }

    proptest! {
        #[test]
        fn any_order_and_any_repetition_gives_the_same_standing(
            changes in proptest::collection::vec(change(), 1..8),
            order in proptest::collection::vec(any::<prop::sample::Index>(), 0..40),
        ) {
            let one = |i: usize| Standing::of(changes[i], i as u64);
            let in_order = (0..changes.len()).map(one).fold(Standing::default(), Standing::merge);
            let mut shuffled = order.iter().map(|at| one(at.index(changes.len()))).fold(Standing::default(), Standing::merge);
            shuffled = (0..changes.len()).rev().map(one).fold(shuffled, Standing::merge);
            prop_assert_eq!(shuffled, in_order);
            prop_assert_eq!(in_order.merge(in_order), in_order);
            let again = in_order.told().map(|(change, at)| Standing::of(change, at));
            prop_assert_eq!(again.fold(Standing::default(), Standing::merge), in_order);
            // Once ended, never disclosable again.
            if changes.iter().any(|c| matches!(c, Change::Expire | Change::Repair | Change::Withdraw)) {
                prop_assert!(!in_order.status().disclosable());
            }
        }
    }

    #[test]
    fn a_correction_changes_what_is_said_and_not_whether() {
        for change in [Change::EndDispute, Change::Dispute, Change::Mask, Change::Repair] {
            let before = Standing::of(change, 3);
            let after =
                before.merge(Standing::of(Change::Correct, 4)).merge(Standing::of(Change::Correct, 2));
            assert_eq!((after.status(), after.corrected()), (before.status(), Some(4)), "{change:?}");
        }
    }

    #[test]
    fn a_mask_can_be_lifted_and_a_repair_cannot() {
        let masked = Standing::of(Change::Mask, 3);
        assert_eq!(masked.status(), Status::Masked);
        assert_eq!(masked.merge(Standing::of(Change::Unmask, 4)).status(), Status::Active);
        let repaired = Standing::of(Change::Repair, 2);
        assert_eq!(repaired.merge(Standing::of(Change::Unmask, 9)).status(), Status::Repaired);
    }
}
