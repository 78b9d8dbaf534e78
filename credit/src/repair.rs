//! A repair case (信用修复) at the deciding member: application, acceptance, decision.
//!
//! The case is an enum of structs consumed by value: what a state does not allow does not compile, what a rule does
//! not allow returns a [`Denial`] that names the rule. What every *other* member holds is [`crate::status`].

use core::fmt;

use crypto::{Digest, Timestamp, label::Label, sign::Statement};
use minicbor::{Decode, Encode};

use crate::{
    calendar::Calendar,
    id::{CaseId, MemberId, RecordId},
    rules::{DecideFrom, Rule},
    value::Date,
};

/// Most applications that join one case; each further one is refused, so that a case stays small.
pub const APPLICATIONS_PER_CASE_MAX: usize = 16;

/// An application as the receiving counter signs and forwards it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Application {
    /// Chosen by the counter.
    #[n(0)]
    pub case: CaseId,
    /// The record whose repair is asked for.
    #[n(1)]
    pub record: RecordId,
    /// The member that decides.
    #[n(2)]
    pub authority: MemberId,
    /// The member whose counter took it.
    #[n(3)]
    pub counter: MemberId,
    /// SHA-256 of each paper the counter keeps: proof of performance (履行完毕证明) and pledge (信用承诺书).
    #[n(4)]
    pub materials: Vec<Digest>,
    /// When the counter took it.
    #[n(5)]
    pub applied_at: Timestamp,
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
    /// The case is not in the state the step needs.
    WrongState {
        /// The state it is in.
        state: &'static str,
    },
    /// The case has as many applications as it can hold.
    TooManyApplications,
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooEarly { earliest, rule } => {
                write!(f, "minimum publicity under `{rule}` lasts until {earliest}")
            }
            Self::WrongState { state } => write!(f, "the case is already {state}"),
            Self::TooManyApplications => write!(f, "the case holds {APPLICATIONS_PER_CASE_MAX} applications"),
        }
    }
}

/// One case.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Case {
    /// Waiting for acceptance.
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
    /// Last day for acceptance, where the rule set gives one.
    #[n(3)]
    pub accept_due: Option<Deadline>,
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
    /// Whether the repair was granted.
    #[n(2)]
    pub granted: bool,
    /// The rule set decided under.
    #[n(3)]
    pub rule: String,
    /// Reason of a refusal.
    #[n(4)]
    pub reason: String,
}

impl Applied {
    /// A new case from its first application.
    pub fn open(application: &Application, digest: Digest, rule: Option<&Rule>, calendar: &Calendar) -> Self {
        let day = Date::from_timestamp(application.applied_at);
        Self {
            case: application.case,
            record: application.record,
            applications: vec![Joined {
                counter: application.counter.clone(),
                application: digest,
                at: application.applied_at,
            }],
            accept_due: due(rule.and_then(|r| r.accept_working_days), day, calendar),
        }
    }

    /// The same application through another counter joins; a retry changes nothing.
    pub fn join(&mut self, application: &Application, digest: Digest) -> Result<(), Denial> {
        if self.applications.iter().any(|j| j.application == digest) {
            return Ok(());
        }
        if self.applications.len() >= APPLICATIONS_PER_CASE_MAX {
            return Err(Denial::TooManyApplications);
        }
        self.applications.push(Joined {
            counter: application.counter.clone(),
            application: digest,
            at: application.applied_at,
        });
        Ok(())
    }

    /// Acceptance (受理).
    #[must_use]
    pub fn accept(self, now: Timestamp, rule: Option<&Rule>, calendar: &Calendar) -> Accepted {
        let from = match rule.and_then(|r| r.decide_from) {
            Some(DecideFrom::Application) => self.applications.first().map_or(now, |j| j.at),
            _ => now,
        };
        let decide_due = due(rule.and_then(|r| r.decide_working_days), Date::from_timestamp(from), calendar);
        Accepted { applied: self, at: now, decide_due }
    }
}

impl Accepted {
    /// Granting (准予修复): only after the minimum publicity of the rule set of the decision's day.
    pub fn grant(
        self,
        now: Timestamp,
        rule: &Rule,
        decided: Date,
        published: Date,
    ) -> Result<Decided, Denial> {
        let earliest = rule.earliest_repair(decided, published);
        if Date::from_timestamp(now) < earliest {
            return Err(Denial::TooEarly { earliest, rule: rule.set_id.clone() });
        }
        Ok(Decided {
            accepted: self,
            at: now,
            granted: true,
            rule: rule.set_id.clone(),
            reason: String::new(),
        })
    }

    /// Refusal (不予修复), with the reason the subject is told.
    #[must_use]
    pub fn refuse(self, now: Timestamp, rule: String, reason: String) -> Decided {
        Decided { accepted: self, at: now, granted: false, rule, reason }
    }
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

    /// The state in a word.
    pub fn state(&self) -> &'static str {
        match self {
            Case::Applied(_) => "applied",
            Case::Accepted(_) => "accepted",
            Case::Decided(d) if d.granted => "granted",
            Case::Decided(_) => "refused",
        }
    }

    /// The case waiting for acceptance, or a denial that names the state it is in.
    pub fn into_applied(self) -> Result<Applied, Denial> {
        match self {
            Case::Applied(applied) => Ok(applied),
            other => Err(Denial::WrongState { state: other.state() }),
        }
    }

    /// The case waiting for its decision, or a denial that names the state it is in.
    pub fn into_accepted(self) -> Result<Accepted, Denial> {
        match self {
            Case::Accepted(accepted) => Ok(accepted),
            Case::Applied(_) => Err(Denial::WrongState { state: "applied, and not accepted yet" }),
            other => Err(Denial::WrongState { state: other.state() }),
        }
    }
}

fn due(working_days: Option<u32>, from: Date, calendar: &Calendar) -> Option<Deadline> {
    working_days.map(|n| {
        let due = calendar.add_working_days(from, n);
        Deadline { date: due.date, provisional: due.provisional }
    })
}
