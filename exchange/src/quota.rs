//! How often one member may ask, push, or bring applications: a bucket that fills with time.
//!
//! Kept in memory only: after a start everybody begins with a full bucket, which costs one burst.

use std::collections::BTreeMap;

use credit::id::MemberId;
use crypto::Timestamp;

use crate::{
    limits::{
        APPLICATIONS_BURST_MAX, APPLICATIONS_PER_SECOND_MAX, PUSHES_BURST_MAX, PUSHES_PER_SECOND_MAX,
        QUESTIONS_BURST_MAX, QUESTIONS_PER_SECOND_MAX, TURNED_AWAY_MS,
    },
    refusal::{Code, Refusal},
};

/// What is left to each asker, as each member brings what it asks: who brings another's questions uses up nothing of what
/// that one has by itself or through the outlet. Both are members, of whom there are at most [`crate::limits::MEMBERS_MAX`].
#[derive(Debug)]
pub struct Quota {
    per_second: u64,
    burst: u64,
    /// What it does more often than it may: `asks … questions`.
    does: (&'static str, &'static str),
    buckets: BTreeMap<(MemberId, MemberId), Bucket>,
}

/// One asker's bucket, as it was at one moment.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Thousandths of a question.
    left: u64,
    at: Timestamp,
    /// Questions over the quota that nobody was told of yet, and when somebody was told last.
    over: u64,
    told: Option<Timestamp>,
}

/// Thousandths in a question; with a rate a second, also what a millisecond adds.
const WHOLE: u64 = 1_000;

impl Quota {
    /// For questions.
    pub fn of_questions() -> Self {
        Self::new(QUESTIONS_PER_SECOND_MAX, QUESTIONS_BURST_MAX, ("asks", "questions"))
    }

    /// For records pushed here to be published.
    pub fn of_pushes() -> Self {
        Self::new(PUSHES_PER_SECOND_MAX, PUSHES_BURST_MAX, ("pushes", "records"))
    }

    /// For applications for repair and objections that a counter brings to this authority.
    pub fn of_applications() -> Self {
        Self::new(APPLICATIONS_PER_SECOND_MAX, APPLICATIONS_BURST_MAX, ("brings", "applications"))
    }

    fn new(per_second: u64, burst: u64, does: (&'static str, &'static str)) -> Self {
        Self { per_second, burst, does, buckets: BTreeMap::new() }
    }

    /// Takes one question that `caller` brings of `asker`, whose signature was verified.
    ///
    /// Errors: `node.busy`, with the milliseconds until the next one is free. A clock that goes back gives nothing.
    pub fn take(&mut self, caller: &MemberId, asker: &MemberId, now: Timestamp) -> Result<(), Refusal> {
        let (rate, full) = (self.per_second, self.burst * WHOLE);
        let new = Bucket { left: full, at: now, over: 0, told: None };
        let bucket = self.buckets.entry((caller.clone(), asker.clone())).or_insert(new);
        let gained = now.0.saturating_sub(bucket.at.0).saturating_mul(rate);
        *bucket = Bucket { left: bucket.left.saturating_add(gained).min(full), at: now, ..*bucket };
        match bucket.left.checked_sub(WHOLE) {
            Some(left) => {
                bucket.left = left;
                Ok(())
            }
            None => {
                bucket.over += 1;
                let wait = (WHOLE - bucket.left).div_ceil(rate);
                let (does, what) = self.does;
                let why = format!("`{asker}` {does} more than {rate} {what} a second");
                Err(Refusal::new(Code::Busy, why).retry_after(wait))
            }
        }
    }
}

impl Quota {
    /// How many questions of `asker` that `caller` brought went over the quota, when that is to be written down: once in
    /// [`TURNED_AWAY_MS`], so that a flood is turned away without work for the writer.
    pub fn to_note(&mut self, caller: &MemberId, asker: &MemberId, now: Timestamp) -> Option<u64> {
        let bucket = self.buckets.get_mut(&(caller.clone(), asker.clone()))?;
        let due = bucket.over > 0 && bucket.told.is_none_or(|told| now >= told.plus_ms(TURNED_AWAY_MS));
        due.then(|| {
            bucket.told = Some(now);
            core::mem::take(&mut bucket.over)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTLET: &str = "outlet";

    fn asker(id: &str) -> MemberId {
        MemberId::parse(id).unwrap()
    }

    /// Questions admitted at one moment.
    fn admitted(quota: &mut Quota, id: &str, now: u64) -> u64 {
        let mut count = 0;
        while quota.take(&asker(OUTLET), &asker(id), Timestamp(now)).is_ok() {
            count += 1;
        }
        count
    }

    #[test]
    fn an_asker_gets_its_burst_and_then_its_rate_and_takes_nothing_from_others() {
        let mut quota = Quota::of_questions();
        assert_eq!(admitted(&mut quota, "bank-a", 10_000), QUESTIONS_BURST_MAX);
        assert_eq!(admitted(&mut quota, "bank-b", 10_000), QUESTIONS_BURST_MAX);
        assert_eq!(admitted(&mut quota, "bank-a", 10_100), QUESTIONS_PER_SECOND_MAX / 10);
        // However long it was silent, no more than one burst.
        assert_eq!(admitted(&mut quota, "bank-a", 10_000_000), QUESTIONS_BURST_MAX);
    }

    #[test]
    fn who_brings_the_questions_of_another_takes_nothing_from_it() {
        let mut quota = Quota::of_questions();
        let (thief, bank) = (asker("sh"), asker("bank-a"));
        while quota.take(&thief, &bank, Timestamp(0)).is_ok() {}
        assert!(quota.take(&asker(OUTLET), &bank, Timestamp(0)).is_ok());
        assert_eq!(quota.to_note(&asker(OUTLET), &bank, Timestamp(0)), None, "and is named itself");
    }

    #[test]
    fn a_sender_that_has_run_wild_fills_no_log_with_pushes_or_applications() {
        for (mut quota, burst, rate) in [
            (Quota::of_pushes(), PUSHES_BURST_MAX, PUSHES_PER_SECOND_MAX),
            (Quota::of_applications(), APPLICATIONS_BURST_MAX, APPLICATIONS_PER_SECOND_MAX),
        ] {
            let day = 86_400_000;
            let of_a_day: u64 = (0..=day).step_by(60_000).map(|now| admitted(&mut quota, "sh", now)).sum();
            assert_eq!(of_a_day, burst + rate * 86_400);
            let refusal = quota.take(&asker(OUTLET), &asker("sh"), Timestamp(day)).unwrap_err();
            assert_eq!(refusal.retry_after_ms, Some(1_000 / rate));
            assert!(quota.take(&asker(OUTLET), &asker("ah"), Timestamp(day)).is_ok(), "the others are heard");
        }
    }

    #[test]
    fn a_flood_is_to_be_noted_once_a_minute_with_its_size() {
        let mut quota = Quota::of_questions();
        let id = asker("bank-a");
        assert_eq!(quota.to_note(&asker(OUTLET), &id, Timestamp(0)), None);
        for now in [0, 0, 0] {
            admitted(&mut quota, "bank-a", now);
        }
        assert_eq!(quota.to_note(&asker(OUTLET), &id, Timestamp(0)), Some(3));
        admitted(&mut quota, "bank-a", 1);
        assert_eq!(quota.to_note(&asker(OUTLET), &id, Timestamp(TURNED_AWAY_MS - 1)), None);
        assert_eq!(quota.to_note(&asker(OUTLET), &id, Timestamp(TURNED_AWAY_MS)), Some(1));
    }

    #[test]
    fn who_waits_as_long_as_told_is_admitted() {
        let mut quota = Quota::of_questions();
        admitted(&mut quota, "bank-a", 0);
        let refusal = quota.take(&asker(OUTLET), &asker("bank-a"), Timestamp(0)).unwrap_err();
        assert_eq!(refusal.known(), Some(Code::Busy));
        let wait = refusal.retry_after_ms.unwrap();
        assert!(wait > 0 && quota.take(&asker(OUTLET), &asker("bank-a"), Timestamp(wait - 1)).is_err());
        assert!(quota.take(&asker(OUTLET), &asker("bank-a"), Timestamp(wait)).is_ok());
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing() {
        let mut quota = Quota::of_questions();
        admitted(&mut quota, "bank-a", 5_000);
        assert_eq!(admitted(&mut quota, "bank-a", 1_000), 0);
    }
}
