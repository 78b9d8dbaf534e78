//! What an asker signs: about whom, for what, on whose word, until when.

use crypto::{
    Digest, Timestamp,
    label::Label,
    sign::{Signed, Statement},
};
use minicbor::{Decode, Encode};

use crate::{
    catalog::{Catalog, Item, Purpose},
    grant::{Grant, Scope},
    id::{ClerkId, FieldId, ItemId, MemberId, QuestionId},
    predicate::Check,
    subject::SubjectId,
};

/// Most items one question may name; a loan file needs fewer than ten.
pub const ITEMS_PER_QUESTION_MAX: usize = 16;
/// Most fields one question may name over all items; a whole official layout has 30.
pub const FIELDS_PER_QUESTION_MAX: usize = 64;
/// Most predicates one question may carry: a loan file checks fewer than ten.
pub const CHECKS_PER_QUESTION_MAX: usize = 16;
/// Longest time between asking and deadline: an answer that comes later than this helps nobody at a counter.
pub const DEADLINE_MS_MAX: u64 = 5 * 60 * 1000;
/// How far an asker's clock may run ahead of the answering member's.
pub const CLOCK_SKEW_MS_MAX: u64 = 30 * 1000;

/// A question about one subject.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Question {
    /// Idempotency key: a retry carries the same signed bytes; another question another id.
    #[n(0)]
    pub id: QuestionId,
    /// The asking member.
    #[n(1)]
    pub asker: MemberId,
    /// The asker's clerk, accountable in both access logs.
    #[n(2)]
    pub clerk: ClerkId,
    /// 查询用途.
    #[n(3)]
    pub purpose: Purpose,
    /// About whom.
    #[n(4)]
    pub subject: SubjectId,
    /// Items and fields, at most [`ITEMS_PER_QUESTION_MAX`] and [`FIELDS_PER_QUESTION_MAX`]; may be empty when there are
    /// checks.
    #[n(5)]
    pub wants: Vec<Want>,
    /// On whose word.
    #[n(6)]
    pub basis: Basis,
    /// When asked, by the asker's clock.
    #[n(7)]
    pub asked_at: Timestamp,
    /// After this no member answers; at most [`DEADLINE_MS_MAX`] after `asked_at`.
    #[n(8)]
    pub deadline: Timestamp,
    /// Predicates to be judged, ascending and distinct, at most [`CHECKS_PER_QUESTION_MAX`].
    #[n(9)]
    pub checks: Vec<Check>,
}

/// Fields of one item.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Want {
    /// The item.
    #[n(0)]
    pub item: ItemId,
    /// Its fields, ascending and distinct.
    #[n(1)]
    pub fields: Vec<FieldId>,
}

/// Why the asker may ask.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Basis {
    /// Written authorisation of the subject (授权书).
    #[n(0)]
    Grant(#[n(0)] Signed<Grant>),
    /// A duty set by law, named by its article.
    #[n(1)]
    Duty(#[n(0)] String),
    /// Nothing; such a question is refused and logged.
    #[n(2)]
    None,
    /// The subject itself, at a counter that has seen who it is: SHA-256 of the application it signed there (本人查询申请).
    #[n(3)]
    Own(#[n(0)] Digest),
}

impl Want {
    /// Every field of an item but those that are the subject itself.
    pub fn whole(item: &Item) -> Self {
        let fields = item.fields.iter().map(|f| f.id).filter(|id| !item.names_subject(*id)).collect();
        Self { item: item.id.clone(), fields }
    }

    /// What a grant names: every field of an item it names as a whole.
    pub fn granted(catalog: &Catalog, grant: &Grant) -> Vec<Self> {
        let want = |scope: &Scope| {
            let item = catalog.item(&scope.item)?;
            let some = || Self { item: item.id.clone(), fields: scope.fields.clone() };
            Some(if scope.fields.is_empty() { Self::whole(item) } else { some() })
        };
        let mut wants: Vec<Self> = grant.scope.iter().filter_map(want).collect();
        wants.sort_by(|a, b| a.item.cmp(&b.item));
        wants
    }
}

impl Statement for Question {
    const LABEL: Label = Label::SignQuestion;
}

impl Question {
    /// The first limit the question breaks, as a short English phrase, or `None`.
    pub fn malformed(&self) -> Option<&'static str> {
        let fields: usize = self.wants.iter().map(|w| w.fields.len()).sum();
        let ordered = |w: &Want| w.fields.windows(2).all(|p| p[0] < p[1]);
        let distinct = self.wants.windows(2).all(|p| p[0].item < p[1].item);
        if fields == 0 && (self.checks.is_empty() || !self.wants.is_empty()) {
            Some("names no field")
        } else if self.checks.len() > CHECKS_PER_QUESTION_MAX {
            Some("carries more than 16 checks")
        } else if !self.checks.windows(2).all(|p| p[0] < p[1]) {
            Some("checks must be ascending and distinct")
        } else if let Some(why) = self.checks.iter().find_map(|c| c.predicate.malformed()) {
            Some(why)
        } else if self.wants.len() > ITEMS_PER_QUESTION_MAX {
            Some("names more than 16 items")
        } else if fields > FIELDS_PER_QUESTION_MAX {
            Some("names more than 64 fields")
        } else if !distinct || !self.wants.iter().all(ordered) {
            Some("items and fields must be ascending and distinct")
        } else if self.deadline < self.asked_at || self.deadline.0 - self.asked_at.0 > DEADLINE_MS_MAX {
            Some("deadline must lie within five minutes after asking")
        } else if matches!(&self.basis, Basis::Duty(law) if law.is_empty() || law.len() > 200) {
            Some("a duty names its law in 1 to 200 bytes")
        } else {
            None
        }
    }
}
