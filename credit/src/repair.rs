//! A case at the deciding member: a repair (信用修复) with application, acceptance and decision, or an objection (异议)
//! with filing and answer.
//!
//! The case is an enum of structs consumed by value: what a state does not allow does not compile, what a rule does
//! not allow returns a [`Denial`] that names the rule. What every *other* member holds is [`crate::status`].

use core::fmt;

use crypto::{Digest, Timestamp, label::Label, sign::Statement};
use minicbor::{Decode, Encode};

use crate::{
    calendar::Calendar,
    id::{CaseId, ClerkId, MemberId, RecordId},
    rules::{DecideFrom, Rule},
    value::Date,
};

/// Most applications that join one case; each further one is refused, so that a case stays small.
pub const APPLICATIONS_PER_CASE_MAX: usize = 16;

/// Most papers of one application: more than any order asks for, and with it an application stays a few kilobytes.
pub const MATERIALS_MAX: usize = 64;

/// Working days left at which a deadline is near: whoever looks once a working day sees it in time.
pub const NEAR_WORKING_DAYS: u32 = 1;

/// What an application asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum Matter {
    /// Repair of a record that is right (信用修复).
    #[n(0)]
    Repair,
    /// Correction or withdrawal of a record that is wrong (异议).
    #[n(1)]
    Objection,
}

impl Matter {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Repair, Self::Objection];

    /// English word, as in `--json`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Repair => "repair",
            Self::Objection => "objection",
        }
    }

    /// The English word with its article.
    const fn en(self) -> &'static str {
        match self {
            Self::Repair => "a repair",
            Self::Objection => "an objection",
        }
    }

    /// The legal term.
    pub const fn zh(self) -> &'static str {
        match self {
            Self::Repair => "信用修复",
            Self::Objection => "异议",
        }
    }
}

/// An application as the receiving counter signs and forwards it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Application {
    /// Chosen by the counter.
    #[n(0)]
    pub case: CaseId,
    /// The record it is about.
    #[n(1)]
    pub record: RecordId,
    /// The member that decides.
    #[n(2)]
    pub authority: MemberId,
    /// The member whose counter took it.
    #[n(3)]
    pub counter: MemberId,
    /// SHA-256 of each paper the counter keeps: of a repair proof of performance (履行完毕证明) and pledge (信用承诺书), of
    /// an objection what shows the error.
    #[n(4)]
    pub materials: Vec<Digest>,
    /// When the counter took it.
    #[n(5)]
    pub applied_at: Timestamp,
    /// Who took it at the counter; a pseudonymous id, never a name.
    #[n(6)]
    pub clerk: Option<ClerkId>,
    /// What it asks for.
    #[n(7)]
    pub matter: Matter,
}

impl Statement for Application {
    const LABEL: Label = Label::SignApplication;
}

/// Why a rule does not allow a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    /// The minimum publicity has not passed.
    TooEarly {
        /// First day a repair may be granted.
        earliest: Date,
        /// The rule set that says so.
        rule: String,
    },
    /// The rule set tells no day from which repair may be applied for.
    NotProvided {
        /// Which.
        rule: String,
    },
    /// The case is about the other matter.
    OtherMatter {
        /// The one it is about.
        matter: Matter,
    },
    /// The case waits for its acceptance first.
    NotAccepted,
    /// The case is past that step.
    WrongState {
        /// The state it is in ([`Case::state`]).
        state: &'static str,
        /// The same in Chinese.
        zh: &'static str,
    },
    /// The case has as many applications as it can hold.
    TooManyApplications,
    /// The ban ends on another day than was stated.
    OtherBan {
        /// Its last day by the rule set.
        until: Date,
        /// Which.
        rule: String,
    },
    /// The last day that was stated for a ban is not ahead.
    BanOver {
        /// That day.
        until: Date,
    },
    /// The rule set does not provide how long false material bars.
    NoBan {
        /// Which.
        rule: String,
    },
}

impl fmt::Display for Denial {
    /// What does not fit, in English and in Chinese.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooEarly { earliest, rule } => write!(
                f,
                "minimum publicity under `{rule}` is not over: {earliest} is the first day on which a repair may be granted / 依规则集 {rule}，最短公示期未满，自{earliest}（含当日）起方可准予修复"
            ),
            Self::NotProvided { rule } => write!(
                f,
                "`{rule}` does not provide from when repair may be applied for / 规则集 {rule} 未规定可申请修复的时间"
            ),
            Self::OtherMatter { matter } => {
                write!(f, "the case is about {} / 该案件为{}案件", matter.en(), matter.zh())
            }
            Self::NotAccepted => f.write_str("the case is not accepted yet / 案件尚未受理"),
            Self::WrongState { state, zh } => write!(f, "the case is already {state} / 案件状态：{zh}"),
            Self::TooManyApplications => write!(
                f,
                "the case holds {APPLICATIONS_PER_CASE_MAX} applications, the most there can be / 案件已有{APPLICATIONS_PER_CASE_MAX}份申请，已达上限"
            ),
            Self::OtherBan { until, rule } => write!(
                f,
                "under `{rule}` {until} is the last day of the ban / 依规则集 {rule}，限制再次申请至{until}止"
            ),
            Self::BanOver { until } => write!(
                f,
                "{until} is past or today, and no last day of a ban / {until}不晚于今日，不能作为限制再次申请的末日"
            ),
            Self::NoBan { rule } => write!(
                f,
                "`{rule}` does not provide how long false material bars from applying / 规则集 {rule} 未规定材料不实后限制再次申请的期限"
            ),
        }
    }
}

impl Denial {
    /// What to do, in English and in Chinese.
    pub const fn remedy(&self) -> (&'static str, &'static str) {
        match self {
            Self::TooEarly { .. } => (
                "decide on that day or later; to refuse it now, `xinqiao repair decide CASE --refuse REASON`",
                "请于该日或之后再作决定；现在不予修复请用 `xinqiao repair decide 案件 --refuse 理由`",
            ),
            Self::NotProvided { .. } => (
                "refuse it with `xinqiao repair decide CASE --refuse REASON`, or let who decided the matter say",
                "请用 `xinqiao repair decide 案件 --refuse 理由` 不予修复，或由作出原决定的单位明确",
            ),
            Self::OtherMatter { matter: Matter::Repair } => (
                "accept and decide it: `xinqiao repair accept CASE`, then `xinqiao repair decide CASE`",
                "请先后执行 `xinqiao repair accept 案件` 与 `xinqiao repair decide 案件`",
            ),
            Self::OtherMatter { matter: Matter::Objection } => {
                ("answer it with `xinqiao dispute resolve CASE`", "请用 `xinqiao dispute resolve 案件` 答复")
            }
            Self::NotAccepted => (
                "run `xinqiao repair accept CASE` first, or refuse it with `xinqiao repair decide CASE --refuse REASON`",
                "请先执行 `xinqiao repair accept 案件`；不予受理请用 `xinqiao repair decide 案件 --refuse 理由`",
            ),
            Self::WrongState { .. } => (
                "see `xinqiao case list`: an accepted case is decided with `xinqiao repair decide CASE`, a decided one stays as it is, and the subject may apply anew",
                "请用 `xinqiao case list` 查看：已受理的用 `xinqiao repair decide 案件` 作出决定；已决定的不再变更，申请人可重新申请",
            ),
            Self::TooManyApplications => (
                "decide the case; every counter that has applied learns the outcome",
                "请就该案件作出决定；各受理窗口均会获知结果",
            ),
            Self::OtherBan { .. } => {
                ("leave out --barred-until, or give that day", "请去掉 --barred-until，或填写该日")
            }
            Self::BanOver { .. } => {
                ("give a later day with --barred-until", "请用 --barred-until 填写今日之后的日期")
            }
            Self::NoBan { .. } => (
                "state the last day with --barred-until DATE, by the order itself",
                "请依据规定本身，用 --barred-until 日期 写明末日",
            ),
        }
    }
}

/// One case.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Case {
    /// Waiting for acceptance, an objection for its answer.
    #[n(0)]
    Applied(#[n(0)] Applied),
    /// Accepted, waiting for the decision.
    #[n(1)]
    Accepted(#[n(0)] Accepted),
    /// Decided.
    #[n(2)]
    Decided(#[n(0)] Decided),
}

/// A case before acceptance.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Applied {
    /// The case.
    #[n(0)]
    pub case: CaseId,
    /// Its record.
    #[n(1)]
    pub record: RecordId,
    /// Applications that joined it, the first first.
    #[n(2)]
    pub applications: Vec<Joined>,
    /// Last day for acceptance, of an objection for its answer, where the rules give one.
    #[n(3)]
    pub accept_due: Option<Deadline>,
    /// Who was assigned the case's next steps last.
    #[n(4)]
    pub assigned: Option<ClerkId>,
    /// What it is about.
    #[n(5)]
    pub matter: Matter,
}

/// An application that joined a case.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Joined {
    /// The counter.
    #[n(0)]
    pub counter: MemberId,
    /// Digest of the signed application.
    #[n(1)]
    pub application: Digest,
    /// When the counter took it.
    #[n(2)]
    pub at: Timestamp,
    /// SHA-256 of each paper handed in with it.
    #[n(3)]
    pub materials: Vec<Digest>,
    /// Who took it at that counter.
    #[n(4)]
    pub clerk: Option<ClerkId>,
}

impl Joined {
    fn of(application: &Application, digest: Digest) -> Self {
        let Application { counter, applied_at, materials, clerk, .. } = application;
        Self {
            counter: counter.clone(),
            application: digest,
            at: *applied_at,
            materials: materials.clone(),
            clerk: clerk.clone(),
        }
    }
}

/// What a decision finds besides refusing: the material was false, or the pledge broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct FalseMaterial {
    /// Last day of the ban, stated by who decides; only where the rule set does not provide the period.
    #[n(0)]
    pub barred_until: Option<Date>,
}

impl FalseMaterial {
    /// The last day on which the subject may not apply, for a decision of `today`.
    ///
    /// Errors: the rule set gives a period and another day is stated; it gives none and no later day is stated. Nothing is
    /// guessed.
    pub fn until(&self, rule: &Rule, today: Date) -> Result<Date, Denial> {
        let rule_set = rule.set_id.clone();
        match (rule.ban_months.map(|months| today.plus_months(months)), self.barred_until) {
            (Some(until), None) => Ok(until),
            (Some(until), Some(stated)) if until == stated => Ok(until),
            (Some(until), Some(_)) => Err(Denial::OtherBan { until, rule: rule_set }),
            (None, Some(stated)) if stated > today => Ok(stated),
            (None, Some(until)) => Err(Denial::BanOver { until }),
            (None, None) => Err(Denial::NoBan { rule: rule_set }),
        }
    }
}

/// A legal deadline; provisional when no calendar of that year is published yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Deadline {
    /// Last day.
    #[n(0)]
    pub date: Date,
    /// Whether it may still move.
    #[n(1)]
    pub provisional: bool,
}

/// How a deadline stands on a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// There is time.
    Open,
    /// At most [`NEAR_WORKING_DAYS`] are left.
    Near,
    /// The last day is over.
    Overdue,
}

impl Urgency {
    /// English word, as in `--json`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Near => "near",
            Self::Overdue => "overdue",
        }
    }

    /// The Chinese word.
    pub const fn zh(self) -> &'static str {
        match self {
            Self::Open => "期限内",
            Self::Near => "即将到期",
            Self::Overdue => "已逾期",
        }
    }
}

impl Deadline {
    /// The `n`-th working day after `from`.
    pub fn after(from: Date, n: u32, calendar: &Calendar) -> Self {
        let due = calendar.add_working_days(from, n);
        Self { date: due.date, provisional: due.provisional }
    }

    /// The first moment after it: midnight in Asia/Shanghai.
    pub fn passed_at(&self) -> Timestamp {
        self.date.plus_days(1).start()
    }

    /// How it stands on `today`.
    pub fn urgency(&self, today: Date, calendar: &Calendar) -> Urgency {
        if self.date < today {
            Urgency::Overdue
        } else if calendar.working_days_between(today, self.date) <= NEAR_WORKING_DAYS {
            Urgency::Near
        } else {
            Urgency::Open
        }
    }
}

/// A case after acceptance.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Accepted {
    /// What was applied for.
    #[n(0)]
    pub applied: Applied,
    /// When it was accepted.
    #[n(1)]
    pub at: Timestamp,
    /// Last day for the decision, where the rule set gives one.
    #[n(2)]
    pub decide_due: Option<Deadline>,
    /// Who accepted it.
    #[n(3)]
    pub clerk: Option<ClerkId>,
}

/// A case after the decision.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Decided {
    /// What was accepted.
    #[n(0)]
    pub accepted: Accepted,
    /// When it was decided.
    #[n(1)]
    pub at: Timestamp,
    /// Whether the repair was granted, or the objection found right.
    #[n(2)]
    pub granted: bool,
    /// The rule set decided under.
    #[n(3)]
    pub rule: String,
    /// Reason of a refusal.
    #[n(4)]
    pub reason: String,
    /// Who decided it.
    #[n(5)]
    pub clerk: Option<ClerkId>,
    /// It was refused before it was accepted (不予受理), or there is nothing left to decide about.
    #[n(6)]
    pub declined: bool,
}

impl Applied {
    /// A new case from its first application, with the last day for acceptance.
    pub fn open(application: &Application, digest: Digest, accept_due: Option<Deadline>) -> Self {
        Self {
            case: application.case,
            record: application.record,
            applications: vec![Joined::of(application, digest)],
            accept_due,
            assigned: None,
            matter: application.matter,
        }
    }

    /// Whether an application is among those that joined.
    pub fn holds(&self, digest: &Digest) -> bool {
        self.applications.iter().any(|joined| joined.application == *digest)
    }

    /// The same application through another counter joins; a retry changes nothing.
    pub fn join(&mut self, application: &Application, digest: Digest) -> Result<(), Denial> {
        if self.holds(&digest) {
            return Ok(());
        }
        if self.applications.len() >= APPLICATIONS_PER_CASE_MAX {
            return Err(Denial::TooManyApplications);
        }
        self.applications.push(Joined::of(application, digest));
        Ok(())
    }

    /// Acceptance (受理), with the last day for the decision.
    #[must_use]
    pub fn accept(self, now: Timestamp, decide_due: Option<Deadline>, clerk: Option<ClerkId>) -> Accepted {
        Accepted { applied: self, at: now, decide_due, clerk }
    }

    /// The last day for the decision, if it is accepted at `at`; counted from where the rule says, and where it does not say
    /// from the application, which gives the earlier day.
    pub fn decide_due(&self, at: Timestamp, rule: Option<&Rule>, calendar: &Calendar) -> Option<Deadline> {
        let from = match rule?.decide_from {
            Some(DecideFrom::Acceptance) => at,
            _ => self.applications.first().map_or(at, |j| j.at),
        };
        Some(Deadline::after(Date::from_timestamp(from), rule?.decide_working_days?, calendar))
    }

    /// Refusal before acceptance (不予受理), or the end of a case whose record has ended.
    #[must_use]
    pub fn decline(self, at: Timestamp, rule: String, reason: String, clerk: Option<ClerkId>) -> Decided {
        Decided { declined: true, ..self.accept(at, None, None).refuse(at, rule, reason, clerk) }
    }

    /// The answer to an objection: found right, or not and why.
    #[must_use]
    pub fn answer(
        self,
        at: Timestamp,
        granted: bool,
        rule: String,
        reason: String,
        clerk: Option<ClerkId>,
    ) -> Decided {
        Decided { granted, ..self.accept(at, None, None).refuse(at, rule, reason, clerk) }
    }
}

impl Accepted {
    /// Whether a repair may be granted (准予修复): only after the minimum publicity of the rule set of the decision's day.
    pub fn may_grant(
        &self,
        now: Timestamp,
        rule: &Rule,
        decided: Date,
        published: Date,
    ) -> Result<(), Denial> {
        let not_provided = || Denial::NotProvided { rule: rule.set_id.clone() };
        let earliest = rule.earliest_repair(decided, published).ok_or_else(not_provided)?;
        if Date::from_timestamp(now) < earliest {
            return Err(Denial::TooEarly { earliest, rule: rule.set_id.clone() });
        }
        Ok(())
    }

    /// The granted repair.
    #[must_use]
    pub fn grant(self, at: Timestamp, rule: String, clerk: Option<ClerkId>) -> Decided {
        Decided { accepted: self, at, granted: true, rule, reason: String::new(), clerk, declined: false }
    }

    /// Refusal (不予修复), with the reason the subject is told.
    #[must_use]
    pub fn refuse(self, at: Timestamp, rule: String, reason: String, clerk: Option<ClerkId>) -> Decided {
        Decided { accepted: self, at, granted: false, rule, reason, clerk, declined: false }
    }
}

/// The last day for the acceptance of an application, where the rule set gives one; where it gives none but one for the
/// decision that does not wait for acceptance, that one.
pub fn accept_due(applied_at: Timestamp, rule: Option<&Rule>, calendar: &Calendar) -> Option<Deadline> {
    let rule = rule?;
    let whole = rule.decide_working_days.filter(|_| rule.decide_from != Some(DecideFrom::Acceptance));
    let days = rule.accept_working_days.or(whole)?;
    Some(Deadline::after(Date::from_timestamp(applied_at), days, calendar))
}

impl Case {
    /// The case's id.
    pub fn id(&self) -> CaseId {
        self.applied().case
    }

    /// The record it is about.
    pub fn record(&self) -> RecordId {
        self.applied().record
    }

    /// What was applied for, whatever came after.
    pub fn applied(&self) -> &Applied {
        match self {
            Case::Applied(applied) => applied,
            Case::Accepted(accepted) => &accepted.applied,
            Case::Decided(decided) => &decided.accepted.applied,
        }
    }

    /// Assigns what is left to be done to a clerk.
    pub fn assign(&mut self, clerk: ClerkId) {
        match self {
            Case::Applied(applied) => applied.assigned = Some(clerk),
            Case::Accepted(accepted) => accepted.applied.assigned = Some(clerk),
            // Nothing is left to be done.
            Case::Decided(_) => {}
        }
    }

    /// Whose the next step is at `authority`: who was assigned it, else who took the step before. A clerk of another
    /// member's counter is not responsible here; after the decision nobody is.
    pub fn responsible(&self, authority: &MemberId) -> Option<&ClerkId> {
        let applied = self.applied();
        let before = match self {
            Case::Applied(_) => {
                let own = applied.applications.iter().find(|joined| joined.counter == *authority);
                own.and_then(|joined| joined.clerk.as_ref())
            }
            Case::Accepted(accepted) => accepted.clerk.as_ref(),
            Case::Decided(_) => return None,
        };
        applied.assigned.as_ref().or(before)
    }

    /// The last day for the step that comes next; `None` where the rule set gives none, and after the decision.
    pub fn deadline(&self) -> Option<Deadline> {
        match self {
            Case::Applied(applied) => applied.accept_due,
            Case::Accepted(accepted) => accepted.decide_due,
            Case::Decided(_) => None,
        }
    }

    /// Puts that deadline anew: a provisional one moves when the calendar of its year is published.
    pub fn set_deadline(&mut self, due: Option<Deadline>) {
        match self {
            Case::Applied(applied) => applied.accept_due = due,
            Case::Accepted(accepted) => accepted.decide_due = due,
            Case::Decided(_) => {}
        }
    }

    /// The same without deadlines, which are counted again when a calendar is published: what the log alone tells.
    #[must_use]
    pub fn without_deadlines(mut self) -> Self {
        match &mut self {
            Case::Applied(applied) => applied.accept_due = None,
            Case::Accepted(accepted) => (accepted.decide_due, accepted.applied.accept_due) = (None, None),
            Case::Decided(Decided { accepted, .. }) => {
                (accepted.decide_due, accepted.applied.accept_due) = (None, None);
            }
        }
        self
    }

    /// The state in a word.
    pub fn state(&self) -> &'static str {
        match self {
            Case::Applied(_) => "applied",
            Case::Accepted(_) => "accepted",
            Case::Decided(d) if d.granted => "granted",
            Case::Decided(d) if d.declined => "declined",
            Case::Decided(_) => "refused",
        }
    }

    /// The same as its parties call it.
    pub fn state_zh(&self) -> &'static str {
        match (self, self.matter()) {
            (Case::Applied(_), Matter::Repair) => "待受理",
            (Case::Applied(_), Matter::Objection) => "待答复",
            (Case::Accepted(_), _) => "已受理",
            (Case::Decided(d), Matter::Repair) if d.granted => "准予修复",
            (Case::Decided(d), Matter::Objection) if d.granted => "异议成立",
            // Not accepted, or closed because its record has ended.
            (Case::Decided(d), Matter::Repair) if d.declined => "不予受理（终结）",
            (Case::Decided(d), Matter::Objection) if d.declined => "终结",
            (Case::Decided(_), Matter::Repair) => "不予修复",
            (Case::Decided(_), Matter::Objection) => "异议不成立",
        }
    }

    /// That it is past a step.
    pub fn wrong_state(&self) -> Denial {
        Denial::WrongState { state: self.state(), zh: self.state_zh() }
    }

    /// What it is about.
    pub fn matter(&self) -> Matter {
        self.applied().matter
    }

    /// The case, if it is about `matter`.
    pub fn of(self, matter: Matter) -> Result<Self, Denial> {
        match self.matter() {
            its if its == matter => Ok(self),
            its => Err(Denial::OtherMatter { matter: its }),
        }
    }

    /// The case waiting for acceptance, or a denial that names the state it is in.
    pub fn into_applied(self) -> Result<Applied, Denial> {
        match self {
            Case::Applied(applied) => Ok(applied),
            other => Err(other.wrong_state()),
        }
    }

    /// The case waiting for its decision, or a denial that names the state it is in.
    pub fn into_accepted(self) -> Result<Accepted, Denial> {
        match self {
            Case::Accepted(accepted) => Ok(accepted),
            Case::Applied(_) => Err(Denial::NotAccepted),
            other => Err(other.wrong_state()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{AuthorityKind, RuleBook, Tier};

    fn date(text: &str) -> Date {
        Date::parse(text).unwrap()
    }

    /// A case that was applied for on that day, at noon, under Order 36.
    fn applied(day: &str, calendar: &Calendar) -> Case {
        let member = |id: &str| MemberId::parse(id).unwrap();
        let application = Application {
            case: CaseId([1; 16]),
            record: RecordId([2; 32]),
            authority: member("sh"),
            counter: member("js"),
            materials: Vec::new(),
            applied_at: date(day).start().plus_ms(12 * 3_600_000),
            clerk: None,
            matter: Matter::Repair,
        };
        let book = RuleBook::builtin();
        let rule = book.rule(AuthorityKind::GENERAL, date("2026-04-01"), Tier::General).unwrap();
        let due = accept_due(application.applied_at, Some(rule), calendar);
        Case::Applied(Applied::open(&application, Digest::ZERO, due))
    }

    #[test]
    fn deadlines_follow_the_statutory_calendar() {
        let calendar = Calendar::builtin();
        // Applied, last day to accept (3), last day to decide (10, from the application).
        let table = [
            ("2026-02-12", "2026-02-24", "2026-03-04"), // across the Spring Festival, with a make-up Saturday
            ("2026-04-01", "2026-04-07", "2026-04-16"),
            ("2026-09-30", "2026-10-10", "2026-10-20"), // the third day is a make-up Saturday
        ];
        let book = RuleBook::builtin();
        let rule = book.rule(AuthorityKind::GENERAL, date("2026-04-01"), Tier::General).unwrap();
        for (day, accept, decide) in table {
            let case = applied(day, &calendar);
            let expected = |due: &str| Some(Deadline { date: date(due), provisional: false });
            assert_eq!(case.deadline(), expected(accept), "{day}");
            // However late it is accepted, the days for the decision count from the application.
            let late = date("2026-12-01").start();
            let applied = case.into_applied().unwrap();
            let due = applied.decide_due(late, Some(rule), &calendar);
            let accepted = applied.accept(late, due, None);
            assert_eq!(Case::Accepted(accepted).deadline(), expected(decide), "{day}");
        }
    }

    #[test]
    fn a_deadline_is_near_on_the_working_day_before_and_overdue_after_its_last_moment() {
        let calendar = Calendar::builtin();
        let deadline = applied("2026-02-12", &calendar).deadline().unwrap();
        let on = |day: &str| deadline.urgency(date(day), &calendar);
        assert_eq!(on("2026-02-13"), Urgency::Open);
        // From Saturday the 14th, a make-up day, to the last day there is one working day left.
        assert_eq!(
            (on("2026-02-14"), on("2026-02-23"), on("2026-02-24")),
            (Urgency::Near, Urgency::Near, Urgency::Near)
        );
        assert_eq!(on("2026-02-25"), Urgency::Overdue);
        assert_eq!(Date::from_timestamp(deadline.passed_at()), date("2026-02-25"));
        assert_eq!(Date::from_timestamp(Timestamp(deadline.passed_at().0 - 1)), date("2026-02-24"));
    }

    #[test]
    fn a_provisional_deadline_moves_when_the_calendar_comes() {
        let known = Calendar::builtin();
        let mut case = applied("2026-12-30", &known);
        let before = case.deadline().unwrap();
        assert_eq!((before.date, before.provisional), (date("2027-01-04"), true));
        let notice = "date,off,name\n2027-01-01,1,元旦\n2027-01-04,1,元旦\n";
        let head = "date,off,name\n";
        let later = Calendar::parse(&[(2026, head), (2027, notice)]).unwrap();
        let book = RuleBook::builtin();
        let rule = book.rule(AuthorityKind::GENERAL, date("2026-04-01"), Tier::General).unwrap();
        case.set_deadline(accept_due(date("2026-12-30").start(), Some(rule), &later));
        assert_eq!(case.deadline(), Some(Deadline { date: date("2027-01-06"), provisional: false }));
    }

    #[test]
    fn a_ban_is_the_rule_sets_or_stated_by_who_decides_and_never_guessed() {
        let book = RuleBook::builtin();
        let (today, stated) = (date("2026-11-25"), date("2027-11-24"));
        let found = |barred_until| FalseMaterial { barred_until };
        let old = book.rule(AuthorityKind::GENERAL, date("2026-03-31"), Tier::General).unwrap();
        assert_eq!(found(None).until(old, today), Ok(date("2029-11-25")));
        assert_eq!(found(Some(date("2029-11-25"))).until(old, today), Ok(date("2029-11-25")));
        assert!(matches!(found(Some(stated)).until(old, today), Err(Denial::OtherBan { .. })));
        // The number in Order 36 was not legible.
        let new = book.rule(AuthorityKind::GENERAL, date("2026-04-01"), Tier::General).unwrap();
        assert!(matches!(found(None).until(new, today), Err(Denial::NoBan { .. })));
        // A ban that is over when it is found would bar nobody.
        for past in [today, date("2026-01-01")] {
            assert_eq!(found(Some(past)).until(new, today), Err(Denial::BanOver { until: past }));
        }
        assert_eq!(found(Some(stated)).until(new, today), Ok(stated));
    }

    #[test]
    fn a_denial_says_in_both_languages_what_does_not_fit_and_what_to_do() {
        let (rule, until) = ("ndrc-36".to_owned(), date("2026-07-10"));
        let waiting = applied("2026-04-01", &Calendar::builtin());
        let denials = [
            Denial::TooEarly { earliest: until, rule: rule.clone() },
            Denial::NotProvided { rule: rule.clone() },
            Denial::OtherMatter { matter: Matter::Repair },
            Denial::OtherMatter { matter: Matter::Objection },
            waiting.clone().into_accepted().unwrap_err(),
            waiting.wrong_state(),
            Denial::TooManyApplications,
            Denial::OtherBan { until, rule: rule.clone() },
            Denial::BanOver { until },
            Denial::NoBan { rule },
        ];
        let han = |text: &str| text.chars().any(|letter| ('一'..='龥').contains(&letter));
        for denial in denials {
            let said = denial.to_string();
            let (en, zh) = said.split_once(" / ").unwrap();
            assert!(!han(en) && han(zh), "{said}");
            let (en, zh) = denial.remedy();
            assert!(!han(en) && han(zh), "{said}");
        }
        // The day is the first one, and not the last one of something.
        let early = Denial::TooEarly { earliest: until, rule: "ndrc-36".to_owned() }.to_string();
        assert!(
            early.contains("2026-07-10 is the first day on which")
                && early.contains("自2026-07-10（含当日）起")
        );
        assert!(Denial::NotAccepted.remedy().0.contains("`xinqiao repair accept CASE` first"));
    }
}
