//! What one key may do. Each list narrows; a list that is not there narrows nothing, so that a key made before there were
//! lists does what it did.

use std::collections::BTreeSet;

use credit::{
    catalog::{Mode, Purpose},
    grant::{Grant, GrantStatus},
    id::ClerkId,
    policy::{Asking, BasisFacts, Verdict},
};
use exchange::{context::Context, wire::AskDraft};
use serde::{Deserialize, Serialize};

use super::{route::Route, trouble::Trouble};
use crate::{Problem, clock};

/// What a key may be for.
pub const WORKS: [&str; 3] = [ASK, GRANTS, EVENTS];
const ASK: &str = "ask";
const GRANTS: &str = "grants";
const EVENTS: &str = "events";
/// Clerks a key may be limited to: a counter has tens, and the file is read at every request.
pub const CLERKS_MAX: usize = 1_000;

/// What is allowed of one kind; everything when there is none.
pub type Allowed = Option<BTreeSet<String>>;

/// The lists of one key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scope {
    /// Of [`WORKS`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub may: Allowed,
    /// Purposes it may ask for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purposes: Allowed,
    /// Modes in which it may have fields: values, masked forms, checks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modes: Allowed,
    /// Clerks it may name, without the key's prefix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clerks: Allowed,
}

impl Scope {
    /// The scope with only words that are known.
    ///
    /// Errors: names the word and those there are.
    pub fn checked(self) -> Result<Self, Problem> {
        known("--may", &self.may, WORKS.into_iter())?;
        known("--purpose", &self.purposes, Purpose::ALL.iter().map(|p| p.as_str()))?;
        known("--mode", &self.modes, Mode::ALL.iter().map(|m| m.as_str()))?;
        let clerks = self.clerks.iter().flatten();
        if clerks.clone().count() > CLERKS_MAX || clerks.clone().any(|clerk| ClerkId::parse(clerk).is_none())
        {
            return Err(Problem::new(
                format!(
                    "a key has at most {CLERKS_MAX} clerks, each of 1 to 64 visible characters without a blank at either end"
                ),
                "give another --clerk, or none, and let the system name whom it vouches for",
                "请更换 --clerk；或不限定经办人，由系统自行填报",
            ));
        }
        Ok(self)
    }

    /// Its lists, with their names.
    pub fn lists(&self) -> impl Iterator<Item = (&'static str, &BTreeSet<String>)> {
        [("may", &self.may), ("purposes", &self.purposes), ("modes", &self.modes), ("clerks", &self.clerks)]
            .into_iter()
            .filter_map(|(name, list)| Some((name, list.as_ref()?)))
    }

    /// Whether the key is for what an address does. What it has asked it may read in any case.
    pub fn admits(&self, route: Route) -> Result<(), Trouble> {
        match route {
            Route::Ask => within(&self.may, "may", ASK, ""),
            Route::AddGrant | Route::Grant => within(&self.may, "may", GRANTS, ""),
            Route::Events => within(&self.may, "may", EVENTS, ""),
            Route::Document
            | Route::Health
            | Route::Catalog
            | Route::List
            | Route::Query
            | Route::Evidence => Ok(()),
        }
    }

    /// Whether the key may ask this, in the name of `clerk`.
    ///
    /// A question does not say in which mode it wants a field: the rules give each field one. They are the same at every
    /// member, because the registry pins them, and are applied here as if the grant held. What they withhold no member
    /// tells, and what they allow must be in a mode of the key.
    pub fn admits_question(
        &self,
        context: &Context,
        clerk: &str,
        draft: &AskDraft,
        grant: Option<&Grant>,
    ) -> Result<(), Trouble> {
        within(&self.clerks, "clerks", clerk, "")?;
        within(&self.purposes, "purposes", draft.purpose.as_str(), "")?;
        if !draft.checks.is_empty() {
            within(&self.modes, "modes", Mode::Verify.as_str(), " for `checks`")?;
        }
        if self.modes.is_none() {
            return Ok(());
        }
        let basis = grant.map_or(BasisFacts::None, |grant| BasisFacts::Grant {
            grant,
            status: GrantStatus::Active,
            collector_registered: true,
        });
        let (own, at) = (&context.own.id, clock::now());
        let AskDraft { purpose, subject, wants, .. } = draft;
        let asking = Asking {
            role: context.role()?,
            asker: own,
            purpose: *purpose,
            subject: Some(subject),
            basis,
            at,
        };
        for want in wants {
            for field in &want.fields {
                let verdict = context.policy.decide(&asking, &context.catalog, &want.item, *field);
                let Verdict::Allow { mode, .. } = verdict else { continue };
                let column = context.catalog.item(&want.item).and_then(|i| i.field(*field));
                let what = format!(" for `{}`", column.map_or("?", |f| &f.column));
                within(&self.modes, "modes", mode.as_str(), &what)?;
            }
        }
        Ok(())
    }
}

/// Refuses a word that a list does not have; says what it has.
fn within(list: &Allowed, name: &str, word: &str, what: &str) -> Result<(), Trouble> {
    match list {
        Some(list) if !list.contains(word) => {
            let has = if list.is_empty() { "nothing".to_owned() } else { listed(list) };
            let why = format!("`{word}`{what} is not among the key's `{name}`: {has}");
            Err(Trouble::own("key.not-allowed", why))
        }
        _ => Ok(()),
    }
}

/// Refuses a word that is none of `words`.
fn known(
    option: &str,
    list: &Allowed,
    words: impl Iterator<Item = &'static str> + Clone,
) -> Result<(), Problem> {
    match list.iter().flatten().find(|word| !words.clone().any(|known| known == word.as_str())) {
        None => Ok(()),
        Some(word) => {
            let words: Vec<&str> = words.collect();
            Err(Problem::new(
                format!("{option} `{word}` is not known"),
                format!("give one or more of {}", words.join(", ")),
                format!("请从以下各项中选择：{}", words.join("、")),
            ))
        }
    }
}

/// A list in one line.
pub fn listed(list: &BTreeSet<String>) -> String {
    list.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(words: &[&str]) -> Allowed {
        Some(words.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_scope_without_lists_narrows_nothing_and_leaves_no_trace_in_the_file() {
        let scope: Scope = serde_json::from_str("{}").unwrap();
        assert_eq!((&scope, serde_json::to_string(&scope).unwrap().as_str()), (&Scope::default(), "{}"));
        assert!(super::super::route::ROUTES.iter().all(|(_, _, route)| scope.admits(*route).is_ok()));
    }

    #[test]
    fn a_key_for_one_work_is_refused_the_others_by_name() {
        let scope = Scope { may: only(&["events"]), ..Scope::default() }.checked().unwrap();
        assert!(scope.admits(Route::Events).is_ok() && scope.admits(Route::Query).is_ok());
        for (route, word) in
            [(Route::Ask, "`ask`"), (Route::AddGrant, "`grants`"), (Route::Grant, "`grants`")]
        {
            let refused = scope.admits(route).unwrap_err();
            assert_eq!((refused.code.as_str(), refused.status), ("key.not-allowed", 403));
            assert!(refused.detail.contains(word) && refused.detail.contains("events"), "{}", refused.detail);
        }
    }

    #[test]
    fn words_that_are_not_known_are_refused_with_those_that_are() {
        let bad = [
            (Scope { may: only(&["all"]), ..Scope::default() }, "ask, grants, events"),
            (Scope { purposes: only(&["curiosity"]), ..Scope::default() }, "pre-loan"),
            (Scope { modes: only(&["plain"]), ..Scope::default() }, "verify, mask, value"),
            (Scope { clerks: only(&["a\nb"]), ..Scope::default() }, "--clerk"),
        ];
        for (scope, next) in bad {
            let problem = scope.checked().unwrap_err();
            assert!(problem.next.contains(next), "{}", problem.next);
        }
    }
}
