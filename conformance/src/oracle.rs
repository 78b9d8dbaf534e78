//! The same answers a second time, computed as plainly as possible: from all entries, without tiles, frontiers or
//! stored projections. What is fast elsewhere must agree with what is obvious here.

use std::collections::BTreeMap;

use credit::{
    id::RecordId,
    status::{Change, Status},
};
use crypto::Digest;

/// SHA-256(0x00 ‖ entry). Source: RFC 6962 §2.1.
pub fn leaf(entry: &[u8]) -> Digest {
    Digest::of(&[&[0], entry].concat())
}

/// Root over all of `entries`, by the definition. Source: RFC 6962 §2.1.
pub fn root(entries: &[Vec<u8>]) -> Digest {
    match entries.len() {
        0 => Digest::of(b""),
        1 => leaf(&entries[0]),
        n => {
            let middle = largest_power_below(n);
            node(&root(&entries[..middle]), &root(&entries[middle..]))
        }
    }
}

/// Inclusion path of the entry at `index`, its sibling first; `None` when there is no such entry.
/// Source: RFC 6962 §2.1.1.
pub fn inclusion(entries: &[Vec<u8>], index: usize) -> Option<Vec<Digest>> {
    match entries.len() {
        n if index >= n => None,
        1 => Some(Vec::new()),
        n => {
            let middle = largest_power_below(n);
            let (left, right) = entries.split_at(middle);
            let (mut path, sibling) = if index < middle {
                (inclusion(left, index)?, root(right))
            } else {
                (inclusion(right, index - middle)?, root(left))
            };
            path.push(sibling);
            Some(path)
        }
    }
}

/// What every record stands at after `changes`, the whole history of one authority in the order of its log.
///
/// A record that has ended stays ended, the gravest end counts; a mask hides what has not ended; a dispute marks what
/// is neither.
pub fn standings(changes: &[(RecordId, Change)]) -> BTreeMap<RecordId, Status> {
    let mut of_record: BTreeMap<RecordId, Vec<Change>> = BTreeMap::new();
    for (record, change) in changes {
        of_record.entry(*record).or_default().push(*change);
    }
    of_record.into_iter().map(|(record, changes)| (record, standing(&changes))).collect()
}

/// What one record stands at after `changes`.
pub fn standing(changes: &[Change]) -> Status {
    let last = |on: Change, off: Change| changes.iter().rev().find(|c| **c == on || **c == off) == Some(&on);
    if changes.contains(&Change::Withdraw) {
        Status::Withdrawn
    } else if changes.contains(&Change::Repair) {
        Status::Repaired
    } else if changes.contains(&Change::Expire) {
        Status::Expired
    } else if last(Change::Mask, Change::Unmask) {
        Status::Masked
    } else if last(Change::Dispute, Change::EndDispute) {
        Status::Disputed
    } else {
        Status::Active
    }
}

/// SHA-256(0x01 ‖ left ‖ right).
fn node(left: &Digest, right: &Digest) -> Digest {
    Digest::of(&[&[1][..], &left.0, &right.0].concat())
}

fn largest_power_below(n: usize) -> usize {
    let mut power = 1;
    while power * 2 < n {
        power *= 2;
    }
    power
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(n: usize) -> Vec<Vec<u8>> {
        (0..n).map(|i| i.to_string().into_bytes()).collect()
    }

    #[test]
    fn the_two_implementations_of_rfc_6962_agree() {
        for n in 0..70 {
            let all = entries(n);
            let leaves: Vec<Digest> = all.iter().map(|e| crypto::merkle::leaf_hash(e)).collect();
            assert_eq!(root(&all), crypto::merkle::root(&leaves));
            for i in 0..n {
                assert_eq!(inclusion(&all, i), Some(crypto::merkle::path(&leaves, i)));
            }
            assert_eq!(inclusion(&all, n), None);
        }
    }

    #[test]
    fn a_mask_is_lifted_and_an_end_is_not() {
        use Change::{Correct, Dispute, EndDispute, Expire, Mask, Repair, Unmask, Withdraw};
        let table: [(&[Change], Status); 10] = [
            (&[], Status::Active),
            (&[Dispute], Status::Disputed),
            (&[Dispute, EndDispute], Status::Active),
            (&[Mask, Dispute], Status::Masked),
            (&[Mask, Unmask, Dispute], Status::Disputed),
            (&[Expire, Unmask], Status::Expired),
            (&[Repair, Expire, EndDispute], Status::Repaired),
            (&[Withdraw, Repair], Status::Withdrawn),
            (&[Dispute, Correct], Status::Disputed),
            (&[Correct], Status::Active),
        ];
        for (changes, expected) in table {
            assert_eq!(standing(changes), expected, "{changes:?}");
        }
    }
}
