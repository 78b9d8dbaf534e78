//! A subject's list of accesses: what a member signs about it, and how that is held against the member's access log.
//!
//! Only the member and the subject can tell which entries are about the subject: each carries a link that only the
//! subject's key gives. The statement says how many there are up to a size of the log, so that none of them can be left out
//! of a log that others have copied. That this is the key of all accesses is the member's signed word: whoever opens
//! identities under a mandate can hold the entries against it.

use std::collections::BTreeMap;

use credit::subject::SubjectId;
use crypto::{
    Digest, Timestamp,
    label::Label,
    pseudonym::{SubjectLink, subject_access_key, subject_link},
    secret::Secret,
    sign::{Signed, Statement},
};
use ledger::{log, store::View};
use minicbor::{Decode, Encode};

use crate::{
    context::Context,
    logs::LogName,
    refusal::Fault,
    tables::{self, Key},
};

/// What a member says to a subject about the accesses in its access log (个人信息保护法 art. 45). Whoever has it can tell
/// which entries are about the subject, those of later days too: it is the subject's paper.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct AccessList {
    /// The subject.
    #[n(0)]
    pub subject: SubjectId,
    /// The key with which the subject finds its entries ([`subject_link`]).
    #[n(1)]
    pub key: Digest,
    /// How many of them are among the first `size` entries.
    #[n(2)]
    pub count: u64,
    /// Size of the member's access log when this was said.
    #[n(3)]
    pub size: u64,
}

impl Statement for AccessList {
    const LABEL: Label = Label::SignAccessList;
}

/// Draws up a subject's list as this member's log tells it: of all its entries, or of the first so many, so that it can be
/// held against a copy that ends there.
pub fn draw_up(
    context: &Context,
    view: &dyn View,
    subject: SubjectId,
    size: Option<u64>,
    now: Timestamp,
) -> Result<Signed<AccessList>, Fault> {
    let key = subject_access_key(&context.own.access, subject.as_str());
    // The size goes first: what is answered meanwhile stands behind it and is not counted.
    let all = log::size(view, LogName::Access.as_str())?.0;
    let size = size.map_or(all, |size| size.min(all));
    let stands = |n: u64| -> Result<bool, Fault> {
        let index = tables::row::<u64>(view, &Key::link(&subject_link(&key, n)))?;
        Ok(index.is_some_and(|index| index < size))
    };
    let tag = context.own.naming.subject_tag(&subject);
    // After a restore the counter may be older than the log; the links are not.
    let mut count: u64 = tables::row(view, &Key::accesses(&tag))?.unwrap_or(0);
    while stands(count)? {
        count += 1;
    }
    while count > 0 && !stands(count - 1)? {
        count -= 1;
    }
    Ok(context.sign(now, &AccessList { subject, key: Digest(*key.expose()), count, size }))
}

/// A list held against a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Indices of the accesses that were counted and are there.
    pub found: Vec<u64>,
    /// Numbers, from 0, of accesses that were counted and are not there.
    pub missing: Vec<u64>,
    /// Indices of accesses that were not counted, though they were there.
    pub uncounted: Vec<u64>,
    /// Indices of accesses since.
    pub since: Vec<u64>,
    /// The log given ends before the size that the list is about.
    pub short: bool,
}

impl Held {
    /// Whether nothing is left out.
    pub fn complete(&self) -> bool {
        self.missing.is_empty() && self.uncounted.is_empty() && !self.short
    }
}

impl AccessList {
    /// Holds the list against the access log of the member that signed it: `links` are the links of its entries by index,
    /// `size` is the log's size.
    pub fn held(&self, links: impl IntoIterator<Item = (u64, SubjectLink)>, size: u64) -> Held {
        let key = Secret::new(self.key.0);
        let mut at: BTreeMap<SubjectLink, Vec<u64>> = BTreeMap::new();
        for (index, link) in links {
            at.entry(link).or_default().push(index);
        }
        let mut held = Held {
            found: Vec::new(),
            missing: Vec::new(),
            uncounted: Vec::new(),
            since: Vec::new(),
            short: size < self.size,
        };
        // A count beyond the log is no reason to search longer than the log is.
        let counted = self.count.min(size);
        for n in 0..counted {
            let (before, since): (Vec<u64>, Vec<u64>) = at
                .remove(&subject_link(&key, n))
                .unwrap_or_default()
                .into_iter()
                .partition(|index| *index < self.size);
            match before.split_first() {
                Some((index, more)) => {
                    held.found.push(*index);
                    // One link twice hides an access behind another.
                    held.uncounted.extend(more);
                    held.uncounted.extend(since);
                }
                None => held.missing.push(n),
            }
        }
        if counted < self.count {
            held.missing.push(counted);
        }
        for n in self.count..u64::MAX {
            let Some(indices) = at.remove(&subject_link(&key, n)) else { break };
            let (before, since): (Vec<u64>, Vec<u64>) =
                indices.into_iter().partition(|index| *index < self.size);
            held.uncounted.extend(before);
            held.since.extend(since);
        }
        held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(count: u64, size: u64) -> AccessList {
        let subject =
            SubjectId::parse("91310000MA1FL00003").or_else(|_| SubjectId::parse("91350100M000100Y43"));
        AccessList { subject: subject.unwrap(), key: Digest([7; 32]), count, size }
    }

    /// Links of this subject's first accesses, at these indices.
    fn links(indices: &[u64]) -> Vec<(u64, SubjectLink)> {
        let key = Secret::new([7; 32]);
        indices.iter().enumerate().map(|(n, index)| (*index, subject_link(&key, n as u64))).collect()
    }

    #[test]
    fn what_is_counted_stands_in_the_log_and_what_comes_later_is_told_apart() {
        let held = list(2, 10).held(links(&[1, 4, 12]), 20);
        assert_eq!((held.found.as_slice(), held.since.as_slice()), (&[1, 4][..], &[12][..]));
        assert!(held.complete());
    }

    #[test]
    fn an_access_that_is_left_out_or_not_counted_is_found() {
        let dropped: Vec<_> = links(&[1, 4]).into_iter().skip(1).collect();
        assert_eq!(list(2, 10).held(dropped, 10).missing, [0]);
        let held = list(1, 10).held(links(&[1, 4]), 10);
        assert_eq!(held.uncounted, [4]);
        let mut twice = links(&[1, 4]);
        twice.push((7, links(&[1, 4])[1].1));
        assert_eq!(list(2, 10).held(twice, 10).uncounted, [7], "two accesses under one link");
        assert!(!held.complete());
        // An access that was counted and stands only behind the size was not there when it was counted.
        assert_eq!(list(1, 3).held(links(&[5]), 10).missing, [0]);
    }

    #[test]
    fn a_log_that_ends_too_early_proves_nothing_and_a_count_beyond_reason_ends() {
        let held = list(1, 10).held(links(&[1]), 9);
        assert!(held.short && !held.complete());
        assert!(!list(u64::MAX, 3).held(links(&[1]), 3).complete());
    }
}
