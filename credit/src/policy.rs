//! One verdict per field, each naming its rule.
//!
//! The rules are rows of `credit/data/policy/2026.csv`: a name, an effect, what it applies to, its legal source and
//! its wording in both languages. Rows with a `check` are the conditions below; the others are tried in order. What
//! no row allows is denied by the last row.

use core::fmt;
use std::collections::BTreeSet;

use crypto::Digest;
use minicbor::{Decode, Encode};

use crate::{
    catalog::{Catalog, FieldClass, Mode, Purpose},
    grant::{Grant, GrantStatus},
    id::{FieldId, ItemId, MemberId},
    predicate,
    subject::SubjectId,
};

/// What a member of the federation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum Role {
    /// A province or municipality's platform.
    #[n(0)]
    Region,
    /// A district's platform.
    #[n(1)]
    District,
    /// A financing platform: the outlet banks talk to.
    #[n(2)]
    Platform,
    /// A bank.
    #[n(3)]
    Bank,
    /// An auditor of the federation.
    #[n(4)]
    Auditor,
}

impl Role {
    /// Every role.
    pub const ALL: [Role; 5] = [Role::Region, Role::District, Role::Platform, Role::Bank, Role::Auditor];

    /// The word in files and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Region => "region",
            Role::District => "district",
            Role::Platform => "platform",
            Role::Bank => "bank",
            Role::Auditor => "auditor",
        }
    }

    /// The role of a word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|r| r.as_str() == text)
    }

    /// Whether members of this role collect records and so answer questions.
    pub const fn collects(self) -> bool {
        matches!(self, Role::Region | Role::District)
    }

    /// Whether members of this role act on every status entry, as public platforms must (Order 36).
    pub const fn mirrors_status(self) -> bool {
        matches!(self, Role::Region | Role::District | Role::Platform)
    }
}

/// The name of a policy rule, as it stands in verdicts and in the access log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(transparent)]
pub struct RuleName(#[n(0)] pub String);

impl RuleName {
    fn of(check: Check) -> Self {
        Self(check.as_str().to_owned())
    }
}

impl fmt::Display for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Conditions that a table of words cannot express. Each is a row of the policy file too, with its legal source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    FieldUnknown,
    GrantMissing,
    GrantCollector,
    GrantOtherAsker,
    GrantOtherSubject,
    GrantOtherPurpose,
    GrantField,
    GrantNotYet,
    GrantExpired,
    GrantRevoked,
    GrantUsedUp,
    GrantPaused,
    GrantTooOften,
    VerifyOnly,
    NotAllowed,
    BudgetSpent,
    DefaultDeny,
}

impl Check {
    const ALL: [Check; 17] = [
        Check::FieldUnknown,
        Check::GrantMissing,
        Check::GrantCollector,
        Check::GrantOtherAsker,
        Check::GrantOtherSubject,
        Check::GrantOtherPurpose,
        Check::GrantField,
        Check::GrantNotYet,
        Check::GrantExpired,
        Check::GrantRevoked,
        Check::GrantUsedUp,
        Check::GrantPaused,
        Check::GrantTooOften,
        Check::VerifyOnly,
        Check::NotAllowed,
        Check::BudgetSpent,
        Check::DefaultDeny,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Check::FieldUnknown => "field-unknown",
            Check::GrantMissing => "grant-missing",
            Check::GrantCollector => "grant-collector",
            Check::GrantOtherAsker => "grant-other-asker",
            Check::GrantOtherSubject => "grant-other-subject",
            Check::GrantOtherPurpose => "grant-other-purpose",
            Check::GrantField => "grant-field",
            Check::GrantNotYet => "grant-not-yet",
            Check::GrantExpired => "grant-expired",
            Check::GrantRevoked => "grant-revoked",
            Check::GrantUsedUp => "grant-used-up",
            Check::GrantPaused => "grant-paused",
            Check::GrantTooOften => "grant-too-often",
            Check::VerifyOnly => "verify-only",
            Check::NotAllowed => "check-not-allowed",
            Check::BudgetSpent => "budget-spent",
            Check::DefaultDeny => "default-deny",
        }
    }
}

/// On what a question rests, as far as the policy looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BasisFacts<'a> {
    /// A grant whose collector's signature was verified, and where it stands.
    Grant {
        /// The grant.
        grant: &'a Grant,
        /// Where it stands at this member, at the time of the decision.
        status: GrantStatus,
        /// Whether the signer is registered as a collector.
        collector_registered: bool,
    },
    /// A grant signed by somebody who is not, or no longer, in the registry.
    UnknownCollector,
    /// A duty set by law.
    Duty,
    /// Nothing.
    None,
}

/// Everything a verdict depends on.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    /// Role of the asking member.
    pub role: Role,
    /// The asking member.
    pub asker: &'a MemberId,
    /// For what.
    pub purpose: Purpose,
    /// About whom.
    pub subject: &'a SubjectId,
    /// On whose word.
    pub basis: BasisFacts<'a>,
}

/// One field's verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The field may be disclosed in this mode.
    Allow {
        /// The rule that allows it.
        rule: RuleName,
        /// How much it says.
        mode: Mode,
    },
    /// The field is withheld.
    Deny {
        /// The rule that says so.
        rule: RuleName,
    },
}

/// One row of the policy file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Name in verdicts and entries.
    pub name: RuleName,
    /// Legal source.
    pub source: String,
    /// Chinese wording for a clerk.
    pub zh: String,
    /// English wording.
    pub en: String,
    applies: Option<Applies>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Applies {
    allow: bool,
    roles: BTreeSet<Role>,
    purposes: BTreeSet<Purpose>,
    classes: BTreeSet<FieldClass>,
    basis: String,
}

/// The rules of one dated file.
#[derive(Clone, Debug)]
pub struct Policy {
    rules: Vec<Rule>,
    digest: Digest,
}

impl Policy {
    /// The policy this build ships.
    pub fn builtin() -> Self {
        match Self::parse(include_str!("../data/policy/2026.csv")) {
            Ok(policy) => policy,
            // INVARIANT: the shipped file is parsed by the test below.
            Err(e) => unreachable!("shipped policy: {e}"),
        }
    }

    /// Reads a policy file. Errors name the line and the column.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut reader = csv::ReaderBuilder::new().comment(Some(b'#')).from_reader(text.as_bytes());
        let mut rules: Vec<Rule> = Vec::new();
        for row in reader.records() {
            let row = row.map_err(|e| e.to_string())?;
            let line = row.position().map_or(0, csv::Position::line);
            let cell = |at: usize, column: &str| {
                row.get(at).map(str::trim).ok_or_else(|| format!("line {line}: column `{column}` is missing"))
            };
            let words = |at: usize, column: &'static str| cell(at, column).map(|c| c.split_whitespace());
            let name = cell(0, "name")?.to_owned();
            if rules.iter().any(|r| r.name.0 == name) {
                return Err(format!("line {line}: rule `{name}` stands twice"));
            }
            let bad =
                |column: &str, word: &str| format!("line {line}: column `{column}`: unknown word `{word}`");
            let applies = match cell(1, "effect")? {
                "check" => {
                    if !Check::ALL.iter().any(|c| c.as_str() == name) {
                        return Err(format!("line {line}: `{name}` is not a check this build knows"));
                    }
                    None
                }
                effect @ ("allow" | "deny") => Some(Applies {
                    allow: effect == "allow",
                    roles: words(2, "roles")?
                        .map(|w| Role::parse(w).ok_or_else(|| bad("roles", w)))
                        .collect::<Result<_, _>>()?,
                    purposes: words(3, "purposes")?
                        .map(|w| Purpose::parse(w).ok_or_else(|| bad("purposes", w)))
                        .collect::<Result<_, _>>()?,
                    classes: words(4, "classes")?
                        .map(|w| FieldClass::parse(w).ok_or_else(|| bad("classes", w)))
                        .collect::<Result<_, _>>()?,
                    basis: match cell(5, "basis")? {
                        word @ ("grant" | "duty" | "any") => word.to_owned(),
                        word => return Err(bad("basis", word)),
                    },
                }),
                word => return Err(bad("effect", word)),
            };
            rules.push(Rule {
                name: RuleName(name),
                applies,
                source: cell(6, "source")?.to_owned(),
                zh: cell(7, "zh")?.to_owned(),
                en: cell(8, "en")?.to_owned(),
            });
        }
        for check in Check::ALL {
            if !rules.iter().any(|r| r.name == RuleName::of(check)) {
                return Err(format!("rule `{}` is missing", check.as_str()));
            }
        }
        Ok(Self { rules, digest: Digest::of(text.as_bytes()) })
    }

    /// Digest of the file, as the registry pins it.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The row of a rule.
    pub fn rule(&self, name: &RuleName) -> Option<&Rule> {
        self.rules.iter().find(|r| r.name == *name)
    }

    /// Decides about one field.
    ///
    /// Shape: pure; default deny. Time enters as the status of the grant, [`Grant::status`].
    /// Invariant: a field missing from the catalog is denied, never skipped.
    pub fn decide(&self, asking: &Asking<'_>, catalog: &Catalog, item: &ItemId, field: FieldId) -> Verdict {
        match self.reach(asking, catalog, item, field) {
            Verdict::Allow { mode: Mode::Verify, .. } => {
                Verdict::Deny { rule: RuleName::of(Check::VerifyOnly) }
            }
            verdict => verdict,
        }
    }

    /// Decides about one predicate: who may read a field in any mode may have it checked, where the catalog allows the
    /// predicate for it. What is left of the budget is the member's own account, and not looked at here.
    pub fn decide_check(&self, asking: &Asking<'_>, catalog: &Catalog, check: &predicate::Check) -> Verdict {
        let allowed = || {
            let field = catalog.item(&check.item)?.field(check.field)?;
            let rule = catalog.check_rule(&check.item, check.field)?;
            (rule.kinds.contains(&check.predicate.kind()) && check.predicate.fits(&field.ty)).then_some(())
        };
        match self.reach(asking, catalog, &check.item, check.field) {
            Verdict::Allow { .. } if allowed().is_none() => {
                Verdict::Deny { rule: RuleName::of(Check::NotAllowed) }
            }
            Verdict::Allow { rule, .. } => Verdict::Allow { rule, mode: Mode::Verify },
            deny => deny,
        }
    }

    /// The rule that withholds a predicate when the asker's budget is spent.
    pub fn budget_spent() -> RuleName {
        RuleName::of(Check::BudgetSpent)
    }

    /// What of a field is in the asker's reach, in the field's own mode.
    fn reach(&self, asking: &Asking<'_>, catalog: &Catalog, item: &ItemId, field: FieldId) -> Verdict {
        let deny = |check: Check| Verdict::Deny { rule: RuleName::of(check) };
        let Some(field_row) = catalog.item(item).and_then(|i| i.fields.iter().find(|f| f.id == field)) else {
            return deny(Check::FieldUnknown);
        };
        let basis = match asking.basis {
            BasisFacts::Grant { grant, status, collector_registered } => {
                if let Some(check) = grant_fails(asking, grant, status, collector_registered, item, field) {
                    return deny(check);
                }
                "grant"
            }
            BasisFacts::UnknownCollector => return deny(Check::GrantCollector),
            BasisFacts::Duty => "duty",
            BasisFacts::None if asking.role == Role::Bank => return deny(Check::GrantMissing),
            BasisFacts::None => "none",
        };
        let matching = self.rules.iter().find_map(|rule| {
            let applies = rule.applies.as_ref()?;
            (applies.roles.contains(&asking.role)
                && applies.purposes.contains(&asking.purpose)
                && applies.classes.contains(&field_row.class)
                && (applies.basis == basis || applies.basis == "any"))
                .then_some((rule, applies.allow))
        });
        match matching {
            Some((rule, true)) => Verdict::Allow { rule: rule.name.clone(), mode: field_row.mode },
            Some((rule, false)) => Verdict::Deny { rule: rule.name.clone() },
            None => deny(Check::DefaultDeny),
        }
    }
}

fn grant_fails(
    asking: &Asking<'_>,
    grant: &Grant,
    status: GrantStatus,
    collector_registered: bool,
    item: &ItemId,
    field: FieldId,
) -> Option<Check> {
    let stands = match status {
        GrantStatus::Active => None,
        GrantStatus::NotYet => Some(Check::GrantNotYet),
        GrantStatus::Paused => Some(Check::GrantPaused),
        GrantStatus::Resting => Some(Check::GrantTooOften),
        GrantStatus::UsedUp => Some(Check::GrantUsedUp),
        GrantStatus::Expired => Some(Check::GrantExpired),
        GrantStatus::Revoked => Some(Check::GrantRevoked),
    };
    let order = [
        (!collector_registered).then_some(Check::GrantCollector),
        (grant.grantee != *asking.asker).then_some(Check::GrantOtherAsker),
        (grant.subject != *asking.subject).then_some(Check::GrantOtherSubject),
        stands,
        (!grant.purposes.contains(&asking.purpose)).then_some(Check::GrantOtherPurpose),
        (!grant.covers(item, field)).then_some(Check::GrantField),
    ];
    order.into_iter().flatten().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_policy_parses_and_every_rule_names_its_source() {
        let policy = Policy::parse(include_str!("../data/policy/2026.csv")).unwrap();
        assert!(policy.rules.iter().all(|r| !r.source.is_empty() && !r.zh.is_empty() && !r.en.is_empty()));
    }

    #[test]
    fn an_unknown_word_is_refused_with_its_line() {
        let text = include_str!("../data/policy/2026.csv").replace("bank", "bnak");
        assert!(Policy::parse(&text).unwrap_err().contains("unknown word `bnak`"));
    }
}
