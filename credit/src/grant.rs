//! A subject's authorisation (授权书), as a registered collector signs it from a letter, or the subject with its own key.

use core::fmt;

use crypto::{
    Digest, Timestamp,
    label::Label,
    sign::{Signed, Statement},
};
use minicbor::{Decode, Encode};

use crate::{
    binding::KeyBinding,
    catalog::Purpose,
    id::{FieldId, GrantId, ItemId, MemberId},
    question::CLOCK_SKEW_MS_MAX,
    status::Mark,
    subject::SubjectId,
    value::Date,
};

/// Most items one grant may name.
pub const ITEMS_PER_GRANT_MAX: usize = 32;
/// Longest time an asker may be allowed to keep what it received: five years, as long as adverse information may be
/// kept at all. Source: 征信业管理条例 art. 16.
pub const KEEP_DAYS_MAX: u32 = 5 * 366;
/// Longest period of a periodic grant: a year, the longest rhythm a loan is reviewed in.
pub const PERIOD_DAYS_MAX: u16 = 366;

/// Who may ask what about whom, for which purpose, how often, until when.
///
/// Either the collector signs it and keeps the letter the subject signed; `letter` is its digest, so that a dispute over
/// consent is settled by laying the paper beside the grant. Or the subject signs it with a key of its own. Source: 上海市社会信用条例 art. 17; 个人信息保护法 art. 23.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Grant {
    /// Chosen by chance by whoever signs it: nobody can guess the grant's digest.
    #[n(0)]
    pub id: GrantId,
    /// The member that collected the letter and signs this grant, or vouches for the key with which its subject signs it.
    #[n(1)]
    pub collector: MemberId,
    /// About whom.
    #[n(2)]
    pub subject: SubjectId,
    /// Who may ask.
    #[n(3)]
    pub grantee: MemberId,
    /// For what.
    #[n(4)]
    pub purposes: Vec<Purpose>,
    /// Which items, and of each which fields.
    #[n(5)]
    pub scope: Vec<Scope>,
    /// First moment of validity.
    #[n(6)]
    pub not_before: Timestamp,
    /// First moment after validity.
    #[n(7)]
    pub not_after: Timestamp,
    /// Questions each member answers on this grant in all: 1 is one-time (ONETIME).
    #[n(8)]
    pub uses_max: u32,
    /// Days the asker may keep what it received, at most [`KEEP_DAYS_MAX`].
    #[n(9)]
    pub keep_days: u32,
    /// SHA-256 of the signed letter the collector keeps; a grant that its subject has signed needs none.
    #[n(10)]
    pub letter: Option<Digest>,
    /// How often within its validity: PERIODIC. Absent: whenever the asker likes, until `uses_max`.
    #[n(11)]
    pub period: Option<Frequency>,
    /// Its subject has signed it, with this key of its own. Absent: the collector has.
    #[n(12)]
    pub binding: Option<Signed<KeyBinding>>,
}

/// At most `uses` questions in any `days` successive days, by the answering member's log and calendar day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Frequency {
    /// Questions, at least 1.
    #[n(0)]
    pub uses: u32,
    /// Days, 1 to [`PERIOD_DAYS_MAX`]; a day is one of Asia/Shanghai.
    #[n(1)]
    pub days: u16,
}

impl Frequency {
    /// `uses/days`, as on the command line: `3/30` is three questions in any thirty days.
    pub fn parse(text: &str) -> Option<Self> {
        let (uses, days) = text.split_once('/')?;
        Some(Self { uses: uses.parse().ok()?, days: days.parse().ok()? })
    }

    /// Whether a grant may have it.
    pub fn sound(self) -> bool {
        self.uses > 0 && (1..=PERIOD_DAYS_MAX).contains(&self.days)
    }
}

impl fmt::Display for Frequency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.uses, self.days)
    }
}

/// Fields of one item that a grant opens.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Scope {
    /// The item.
    #[n(0)]
    pub item: ItemId,
    /// The fields; empty means every field of the item.
    #[n(1)]
    pub fields: Vec<FieldId>,
}

/// Milliseconds of a day.
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

impl Statement for Grant {
    const LABEL: Label = Label::SignGrant;
}

impl Grant {
    /// Why nobody answers on a grant with these words, whoever has signed it; `None` when they are sound. Whether its
    /// member, items and fields exist is not asked here.
    pub fn malformed(&self) -> Option<String> {
        let days = |most: u64| format!("1 to {most} days");
        let rules = [
            (self.purposes.is_empty(), "it names no purpose".to_owned()),
            (
                self.scope.is_empty() || self.scope.len() > ITEMS_PER_GRANT_MAX,
                format!("it names 1 to {ITEMS_PER_GRANT_MAX} items"),
            ),
            (self.not_after <= self.not_before, "it is valid for some time".to_owned()),
            (self.uses_max == 0, "it allows at least one use".to_owned()),
            (
                !(1..=KEEP_DAYS_MAX).contains(&self.keep_days),
                format!("it says how long data may be kept: {}", days(KEEP_DAYS_MAX.into())),
            ),
            (
                self.period.is_some_and(|period| !period.sound()),
                format!("a frequency is at least one use in {}", days(PERIOD_DAYS_MAX.into())),
            ),
        ];
        rules.into_iter().find_map(|(broken, rule)| broken.then_some(rule))
    }

    /// The first item that stands in the scope twice: what a question on it may name by default could not be told.
    pub fn twice(&self) -> Option<&ItemId> {
        let before = |at: usize| self.scope.iter().take(at);
        let again = |(at, scope): &(usize, &Scope)| before(*at).any(|earlier| earlier.item == scope.item);
        self.scope.iter().enumerate().find(again).map(|(_, scope)| &scope.item)
    }

    /// Until when the asker may keep what was answered at `at`.
    pub fn keep_until(&self, at: Timestamp) -> Timestamp {
        at.plus_ms(u64::from(self.keep_days) * DAY_MS)
    }

    /// Whether the grant names this field.
    pub fn covers(&self, item: &ItemId, field: FieldId) -> bool {
        self.scope.iter().any(|s| s.item == *item && (s.fields.is_empty() || s.fields.contains(&field)))
    }

    /// What a member that knows `life` and has answered `uses` makes of the grant at `now`: the first that applies of
    /// revoked, not yet valid, expired, used up, paused, resting.
    ///
    /// The collector's word that it is over counts as far as two clocks may differ: one that is fast by more ends nothing.
    pub fn status(&self, life: &GrantLife, uses: &Uses, now: Timestamp) -> GrantStatus {
        let within = |period: Frequency| uses.within(Date::from_timestamp(now), period.days);
        let end = match life.expired() {
            true => Timestamp(self.not_after.0.saturating_sub(CLOCK_SKEW_MS_MAX)),
            false => self.not_after,
        };
        let order = [
            (life.revoked.is_some(), GrantStatus::Revoked),
            (now < self.not_before, GrantStatus::NotYet),
            (now >= end, GrantStatus::Expired),
            (uses.total() >= u64::from(self.uses_max), GrantStatus::UsedUp),
            (life.paused(), GrantStatus::Paused),
            (self.period.is_some_and(|p| within(p) >= u64::from(p.uses)), GrantStatus::Resting),
        ];
        order
            .into_iter()
            .find_map(|(applies, status)| applies.then_some(status))
            .unwrap_or(GrantStatus::Active)
    }
}

/// Where a grant stands (授权状态) at one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum GrantStatus {
    /// Questions on it are answered.
    #[n(0)]
    Active,
    /// Its validity has not begun.
    #[n(1)]
    NotYet,
    /// Paused by its subject; can be resumed.
    #[n(2)]
    Paused,
    /// Asked as often as its period allows; active again as days pass.
    #[n(3)]
    Resting,
    /// Asked as often as it allows at all.
    #[n(4)]
    UsedUp,
    /// Its validity is over.
    #[n(5)]
    Expired,
    /// Revoked by its subject, for good.
    #[n(6)]
    Revoked,
}

impl GrantStatus {
    /// English word, as in `--json`.
    pub const fn as_str(self) -> &'static str {
        match self {
            GrantStatus::Active => "active",
            GrantStatus::NotYet => "not-yet",
            GrantStatus::Paused => "paused",
            GrantStatus::Resting => "resting",
            GrantStatus::UsedUp => "used-up",
            GrantStatus::Expired => "expired",
            GrantStatus::Revoked => "revoked",
        }
    }

    /// Chinese wording.
    pub const fn zh(self) -> &'static str {
        match self {
            GrantStatus::Active => "有效",
            GrantStatus::NotYet => "尚未生效",
            GrantStatus::Paused => "已暂停",
            GrantStatus::Resting => "本期次数已用完",
            GrantStatus::UsedUp => "次数已用完",
            GrantStatus::Expired => "已过期",
            GrantStatus::Revoked => "已撤回",
        }
    }
}

/// What a subject can have done to its grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum GrantChange {
    /// No question is answered on it for now.
    #[n(0)]
    Pause,
    /// Questions are answered again.
    #[n(1)]
    Resume,
    /// The subject has withdrawn its consent: no way back.
    #[n(2)]
    Revoke,
}

impl GrantChange {
    /// In English and in Chinese.
    pub const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Pause => (GrantNews::Paused.as_str(), GrantNews::Paused.zh()),
            Self::Resume => (GrantNews::Resumed.as_str(), GrantNews::Resumed.zh()),
            Self::Revoke => (GrantNews::Revoked.as_str(), GrantNews::Revoked.zh()),
        }
    }
}

/// What an entry of a status log tells of a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantNews {
    /// It is signed.
    Issued,
    /// It is paused.
    Paused,
    /// It can be used again.
    Resumed,
    /// It is revoked.
    Revoked,
    /// Its validity is over.
    Expired,
    /// It has been used as often as it allows.
    UsedUp,
    /// The key that has signed it is withdrawn.
    KeyWithdrawn,
}

impl GrantNews {
    /// English word, as in certificates.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Issued => "issue-grant",
            Self::Paused => "pause-grant",
            Self::Resumed => "resume-grant",
            Self::Revoked => "revoke-grant",
            Self::Expired => "expire-grant",
            Self::UsedUp => "use-up-grant",
            Self::KeyWithdrawn => "withdraw-key",
        }
    }

    /// Chinese wording.
    pub const fn zh(self) -> &'static str {
        match self {
            Self::Issued => "签发授权",
            Self::Paused => "暂停授权",
            Self::Resumed => "恢复授权",
            Self::Revoked => "撤回授权",
            Self::Expired => "授权到期",
            Self::UsedUp => "授权次数用完",
            Self::KeyWithdrawn => "注销主体密钥",
        }
    }
}

/// The subject's own signed order behind a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(map)]
pub struct Ordered {
    /// When the subject gave it, by its own clock: an older order does not undo a newer one.
    #[n(0)]
    pub at: Timestamp,
    /// Digest of the signed order, which the collector keeps.
    #[n(1)]
    pub order: Digest,
}

/// That a grant was written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(map)]
pub struct Issue {
    /// Index of the entry.
    #[n(0)]
    pub index: u64,
    /// The tag of the key that signed it, where that is its subject's: its collector alone can tell of which.
    #[n(1)]
    pub tag: Option<Digest>,
}

/// What a collector's status log says of one of its grants; merges like a record's standing, so that late, repeated or
/// reordered news cannot bring a revoked grant back, nor an older pause undo a newer word. Of a subject's key it says
/// whether that is withdrawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct GrantLife {
    /// Newest entry that paused or resumed it.
    #[n(0)]
    paused: Option<Mark>,
    /// First entry that revoked it.
    #[n(1)]
    revoked: Option<u64>,
    /// First entry that says that it was issued.
    #[n(2)]
    issued: Option<Issue>,
    /// First entry that says that it is over.
    #[n(3)]
    expired: Option<u64>,
    /// The subject's newest order to pause or resume it.
    #[n(4)]
    ordered: Option<Ordered>,
}

impl GrantLife {
    /// The life that the issue alone would give.
    pub fn of_issue(index: u64, tag: Option<Digest>) -> Self {
        Self { issued: Some(Issue { index, tag }), ..Self::default() }
    }

    /// The life that a pause alone, or the end of one, would give.
    pub fn of_pause(on: bool, index: u64, ordered: Option<Ordered>) -> Self {
        Self { paused: Some(Mark(index, on)), ordered, ..Self::default() }
    }

    /// The life that a revocation alone would give.
    pub fn of_revocation(index: u64) -> Self {
        Self { revoked: Some(index), ..Self::default() }
    }

    /// The life that the end of validity alone would give.
    pub fn of_expiry(index: u64) -> Self {
        Self { expired: Some(index), ..Self::default() }
    }

    /// The life after both.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        fn first<T: Ord>(a: Option<T>, b: Option<T>) -> Option<T> {
            [a, b].into_iter().flatten().min()
        }
        Self {
            paused: self.paused.max(other.paused),
            revoked: first(self.revoked, other.revoked),
            issued: first(self.issued, other.issued),
            expired: first(self.expired, other.expired),
            ordered: self.ordered.max(other.ordered),
        }
    }

    /// Whether its newest word is a pause.
    pub fn paused(&self) -> bool {
        self.paused.is_some_and(|mark| mark.1)
    }

    /// Whether it is revoked.
    pub fn revoked(&self) -> bool {
        self.revoked.is_some()
    }

    /// The revocation alone, if there is one.
    pub fn end(self) -> Self {
        Self { revoked: self.revoked, ..Self::default() }
    }

    /// Whether its collector has said that it is over.
    pub fn expired(&self) -> bool {
        self.expired.is_some()
    }

    /// Its issue, as far as it is known here.
    pub fn issued(&self) -> Option<Issue> {
        self.issued
    }

    /// The subject's newest order to pause or resume it.
    pub fn ordered(&self) -> Option<Ordered> {
        self.ordered
    }

    /// Whether `change` would change anything.
    pub fn changes(&self, change: GrantChange) -> bool {
        match change {
            GrantChange::Revoke => !self.revoked(),
            GrantChange::Pause => !self.paused(),
            GrantChange::Resume => self.paused(),
        }
    }
}

/// Questions a member has answered on a grant: how many on each day, ascending. It follows from the member's access log
/// alone, which does not hold the grant's words; so it keeps days, of which any period can be counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct Uses(#[n(0)] Vec<DayUses>);

/// Questions answered on one day of Asia/Shanghai.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
struct DayUses(#[n(0)] Date, #[n(1)] u64);

impl Uses {
    /// Counts a question answered at `at`. A clock that went back finds its earlier day again.
    pub fn count(&mut self, at: Timestamp) {
        let day = Date::from_timestamp(at);
        match self.0.binary_search_by_key(&day, |d| d.0) {
            Ok(known) => self.0[known].1 += 1,
            Err(place) => self.0.insert(place, DayUses(day, 1)),
        }
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.0.iter().map(|d| d.1).sum()
    }

    /// Those of the `days` days that end with `today`, and of later days: a clock that went back gains nobody anything.
    pub fn within(&self, today: Date, days: u16) -> u64 {
        let first = today.plus_days(1 - i32::from(days));
        self.0.iter().filter(|d| d.0 >= first).map(|d| d.1).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subject::uscc_from_parts;
    use proptest::prelude::*;

    const DAY: u64 = 24 * 60 * 60 * 1000;
    /// Midnight in Shanghai.
    const START: Timestamp = Timestamp(20_000 * DAY - DAY / 3);

    fn day(n: u64) -> Timestamp {
        START.plus_ms(n * DAY)
    }

    fn grant(period: Option<Frequency>) -> Grant {
        Grant {
            id: GrantId([1; 16]),
            collector: MemberId::parse("js").unwrap(),
            subject: uscc_from_parts("91", "320505", 1).unwrap(),
            grantee: MemberId::parse("bank-a").unwrap(),
            purposes: vec![Purpose::PostLoan],
            scope: Vec::new(),
            not_before: day(0),
            not_after: day(100),
            uses_max: 5,
            keep_days: 30,
            letter: Some(Digest::ZERO),
            period,
            binding: None,
        }
    }

    #[test]
    fn a_periodic_grant_rests_until_a_day_leaves_its_period() {
        let grant = grant(Some(Frequency { uses: 2, days: 30 }));
        let (life, mut uses) = (GrantLife::default(), Uses::default());
        let status = |uses: &Uses, at| grant.status(&life, uses, at);
        uses.count(day(3));
        assert_eq!(status(&uses, day(3)), GrantStatus::Active);
        uses.count(day(10).plus_ms(DAY - 1));
        assert_eq!(status(&uses, day(10).plus_ms(DAY - 1)), GrantStatus::Resting);
        // The thirty days that end with day 32 begin with day 3.
        assert_eq!(status(&uses, Timestamp(day(33).0 - 1)), GrantStatus::Resting);
        assert_eq!(status(&uses, day(33)), GrantStatus::Active);
        uses.count(day(33));
        assert_eq!(status(&uses, day(33)), GrantStatus::Resting);
        // A clock set back does not open it.
        assert_eq!(status(&uses, day(11)), GrantStatus::Resting);
        uses.count(day(50));
        uses.count(day(70));
        assert_eq!(status(&uses, day(99)), GrantStatus::UsedUp);
        assert_eq!(status(&uses, day(100)), GrantStatus::Expired);
    }

    #[test]
    fn a_collector_whose_clock_is_fast_ends_no_grant_before_its_time() {
        let (grant, uses) = (grant(None), Uses::default());
        let status = |before_ms| {
            grant.status(&GrantLife::of_expiry(3), &uses, Timestamp(grant.not_after.0 - before_ms))
        };
        assert_eq!(status(CLOCK_SKEW_MS_MAX + 1), GrantStatus::Active);
        assert_eq!(status(CLOCK_SKEW_MS_MAX), GrantStatus::Expired);
        let unheard = grant.status(&GrantLife::default(), &uses, Timestamp(grant.not_after.0 - 1));
        assert_eq!(unheard, GrantStatus::Active);
    }

    #[test]
    fn words_on_which_nobody_answers_are_told_by_the_rule_that_they_break() {
        let item = || Scope { item: ItemId::parse("CF").unwrap(), fields: Vec::new() };
        let sound = Grant { scope: vec![item()], ..grant(Some(Frequency { uses: 1, days: 1 })) };
        assert_eq!(sound.malformed(), None);
        let most =
            Grant { scope: vec![item(); ITEMS_PER_GRANT_MAX], keep_days: KEEP_DAYS_MAX, ..sound.clone() };
        assert_eq!(most.malformed(), None);
        let too_long = Some(Frequency { uses: 1, days: PERIOD_DAYS_MAX + 1 });
        for (words, rule) in [
            (Grant { purposes: Vec::new(), ..sound.clone() }, "purpose"),
            (Grant { scope: Vec::new(), ..sound.clone() }, "items"),
            (Grant { scope: vec![item(); ITEMS_PER_GRANT_MAX + 1], ..sound.clone() }, "items"),
            (Grant { not_after: sound.not_before, ..sound.clone() }, "some time"),
            (Grant { uses_max: 0, ..sound.clone() }, "one use"),
            (Grant { keep_days: 0, ..sound.clone() }, "may be kept"),
            (Grant { keep_days: KEEP_DAYS_MAX + 1, ..sound.clone() }, "may be kept"),
            (Grant { period: Some(Frequency { uses: 0, days: 1 }), ..sound.clone() }, "frequency"),
            (Grant { period: too_long, ..sound.clone() }, "frequency"),
        ] {
            let why = words.malformed();
            assert!(why.as_ref().is_some_and(|why| why.contains(rule)), "{rule}: {why:?}");
        }
    }

    #[test]
    fn a_pause_ends_and_a_revocation_does_not() {
        let (grant, uses) = (grant(None), Uses::default());
        let status = |life: GrantLife| grant.status(&life, &uses, day(1));
        let mark = |on, index| GrantLife::of_pause(on, index, None);
        let paused = mark(true, 4);
        assert_eq!(status(paused), GrantStatus::Paused);
        assert_eq!(status(paused.merge(mark(false, 5))), GrantStatus::Active);
        assert_eq!(status(paused.merge(mark(false, 3))), GrantStatus::Paused);
        let revoked = paused.merge(GrantLife::of_revocation(2));
        assert_eq!(status(revoked.merge(mark(false, 9))), GrantStatus::Revoked);
        assert!(!revoked.changes(GrantChange::Revoke) && !paused.changes(GrantChange::Pause));
        assert!(paused.changes(GrantChange::Resume) && GrantLife::default().changes(GrantChange::Pause));
        assert_eq!(grant.status(&GrantLife::default(), &uses, Timestamp(day(0).0 - 1)), GrantStatus::NotYet);
    }

    #[test]
    fn a_frequency_is_written_as_it_is_read() {
        let monthly = Frequency { uses: 3, days: 30 };
        assert_eq!(Frequency::parse("3/30"), Some(monthly));
        assert_eq!(monthly.to_string(), "3/30");
        for bad in ["3", "3/", "/30", "x/30", "3/70000", "-1/30"] {
            assert_eq!(Frequency::parse(bad), None, "{bad}");
        }
        for (uses, days) in [(0, 30), (3, 0), (3, PERIOD_DAYS_MAX + 1)] {
            assert!(!Frequency { uses, days }.sound());
        }
        assert!(monthly.sound() && Frequency { uses: 1, days: PERIOD_DAYS_MAX }.sound());
    }

    proptest! {
        #[test]
        fn any_order_and_any_repetition_gives_the_same_life(
            news in proptest::collection::vec(0..5_u8, 1..8),
            order in proptest::collection::vec(any::<prop::sample::Index>(), 0..40),
        ) {
            let one = |i: usize| match news[i] {
                0 => GrantLife::of_revocation(i as u64),
                1 => GrantLife::of_issue(i as u64, None),
                2 => GrantLife::of_expiry(i as u64),
                pause => GrantLife::of_pause(pause == 3, i as u64, None),
            };
            let in_order = (0..news.len()).map(one).fold(GrantLife::default(), GrantLife::merge);
            let mut shuffled =
                order.iter().map(|at| one(at.index(news.len()))).fold(GrantLife::default(), GrantLife::merge);
            shuffled = (0..news.len()).rev().map(one).fold(shuffled, GrantLife::merge);
            prop_assert_eq!(shuffled, in_order);
            prop_assert_eq!((in_order.revoked(), in_order.expired()), (news.contains(&0), news.contains(&2)));
            let first = news.iter().position(|n| *n == 1).map(|i| i as u64);
            prop_assert_eq!(in_order.issued().map(|issue| issue.index), first);
            let last = news.iter().rev().find(|n| **n > 2);
            prop_assert_eq!(in_order.paused(), last == Some(&3));
        }
    }
}
