//! The rules tried out: questions that nobody asks, on a basis that is supposed, and a table of what they must get.
//!
//! `xinqiao policy explain` shows what a question would get, and `xinqiao policy test` runs the table that is shipped with
//! the rules. Every rule must decide at least one case: a rule that no case names is a rule that nobody has tried.

use core::{convert::Infallible, fmt};

use crypto::{Digest, Timestamp};

use super::{Asking, BasisFacts, Check, Policy, Role, Row, RuleName, Verdict, rows};
use crate::{
    catalog::{Catalog, Mode, Purpose},
    grant::{Grant, GrantStatus, Scope},
    id::{FieldId, GrantId, ItemId, MemberId},
    mandate::Mandate,
    predicate,
    subject::{SubjectId, uscc_from_parts},
    value::Date,
};

/// The table that is shipped with the rules.
const SHIPPED: &str = include_str!("../../data/policy/2026-cases.csv");
/// Its name in errors.
const SHIPPED_NAME: &str = "2026-cases.csv";

/// The word of a case about whom accesses are about.
const IDENTITY: &str = "identity";

/// The columns of a table of cases.
const COLUMNS: [&str; 9] = ["on", "role", "purpose", "basis", "item", "field", "budget", "verdict", "rule"];

/// On what a question that nobody asks is supposed to rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Supposed {
    /// Nothing.
    Nothing,
    /// A duty set by law.
    Duty,
    /// The subject itself.
    Own,
    /// A sound grant of the asker, the subject and the purpose, over every field of the item.
    Grant,
    /// A sound mandate of the asker, about the member that decides.
    Mandate,
    /// A grant or a mandate with one thing wrong.
    Flawed(Flaw),
}

/// What is wrong with a supposed grant or mandate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flaw(Check);

/// The checks that a grant or a mandate can fail.
const FLAWS: [Check; 14] = [
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
    Check::MandateOtherAuditor,
    Check::MandateOtherMember,
    Check::MandateTime,
];

impl Supposed {
    /// Every basis that can be supposed.
    pub fn all() -> impl Iterator<Item = Self> {
        let sound = [Self::Nothing, Self::Duty, Self::Own, Self::Grant, Self::Mandate];
        sound.into_iter().chain(FLAWS.map(|check| Self::Flawed(Flaw(check))))
    }

    /// The word in tables and on the command line; of a flawed one the rule that finds the flaw.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "none",
            Self::Duty => "duty",
            Self::Own => "own",
            Self::Grant => "grant",
            Self::Mandate => "mandate",
            Self::Flawed(Flaw(check)) => check.as_str(),
        }
    }

    /// The basis of a word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::all().find(|s| s.as_str() == text)
    }
}

/// A question that nobody asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// Role of the supposed asker.
    pub role: Role,
    /// For what.
    pub purpose: Purpose,
    /// On what it rests.
    pub basis: Supposed,
    /// When.
    pub at: Timestamp,
}

/// What a question that nobody asks is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// A field.
    Field(ItemId, FieldId),
    /// A predicate.
    Check {
        /// The predicate.
        check: predicate::Check,
        /// Whether the asker's budget for it is supposed to be spent.
        spent: bool,
    },
    /// Whom accesses are about.
    Identity,
}

impl About {
    /// What the policy says of it.
    pub fn decided(&self, policy: &Policy, catalog: &Catalog, asking: &Asking<'_>) -> Verdict {
        match self {
            Self::Field(item, field) => policy.decide(asking, catalog, item, *field),
            Self::Check { check, spent } => {
                let affordable = || Ok::<_, Infallible>(!spent);
                let Ok(verdict) = policy.decide_check(asking, catalog, check, affordable);
                verdict
            }
            Self::Identity => policy.decide_identity(asking),
        }
    }

    fn item(&self) -> Option<&ItemId> {
        match self {
            Self::Field(item, _) => Some(item),
            Self::Check { check, .. } => Some(&check.item),
            Self::Identity => None,
        }
    }
}

impl Trial {
    /// What the policy would say.
    pub fn verdict(&self, policy: &Policy, catalog: &Catalog, about: &About) -> Verdict {
        self.asked(about, |asking| about.decided(policy, catalog, asking))
    }

    /// Lets `decide` look at the question as a policy would.
    pub fn asked<T>(&self, about: &About, decide: impl FnOnce(&Asking<'_>) -> T) -> T {
        let (subject, other) = subjects();
        let [asker, stranger, decider] = ["asker", "stranger", "decider"].map(member);
        let mut grant = Grant {
            id: GrantId([0; 16]),
            collector: member("collector"),
            subject: subject.clone(),
            grantee: asker.clone(),
            purposes: vec![self.purpose],
            scope: about
                .item()
                .map(|item| Scope { item: item.clone(), fields: Vec::new() })
                .into_iter()
                .collect(),
            not_before: Timestamp(0),
            not_after: Timestamp(u64::MAX),
            uses_max: 1,
            keep_days: 1,
            letter: Some(Digest::ZERO),
            binding: None,
            period: None,
        };
        let mut mandate = Mandate {
            auditor: asker.clone(),
            member: decider.clone(),
            first: 0,
            end: 1,
            reason: String::new(),
            paper: Digest::ZERO,
            from: Timestamp(0),
            until: Timestamp(u64::MAX),
        };
        let mut status = GrantStatus::Active;
        let (mut collector_registered, mut timely, mut by_mandate) =
            (true, true, self.basis == Supposed::Mandate);
        if let Supposed::Flawed(Flaw(check)) = self.basis {
            match check {
                Check::GrantCollector => collector_registered = false,
                Check::GrantOtherAsker => grant.grantee = stranger,
                Check::GrantOtherSubject => grant.subject = other,
                Check::GrantOtherPurpose => grant.purposes.clear(),
                Check::GrantField => grant.scope.clear(),
                Check::GrantNotYet => status = GrantStatus::NotYet,
                Check::GrantExpired => status = GrantStatus::Expired,
                Check::GrantRevoked => status = GrantStatus::Revoked,
                Check::GrantUsedUp => status = GrantStatus::UsedUp,
                Check::GrantPaused => status = GrantStatus::Paused,
                Check::GrantTooOften => status = GrantStatus::Resting,
                Check::MandateOtherAuditor => (by_mandate, mandate.auditor) = (true, stranger),
                Check::MandateOtherMember => (by_mandate, mandate.member) = (true, stranger),
                Check::MandateTime => (by_mandate, timely) = (true, false),
                Check::FieldUnknown
                | Check::GrantMissing
                | Check::VerifyOnly
                | Check::NotAllowed
                | Check::BudgetSpent
                | Check::DefaultDeny => {}
            }
        }
        let basis = match self.basis {
            Supposed::Nothing => BasisFacts::None,
            Supposed::Duty => BasisFacts::Duty,
            Supposed::Own => BasisFacts::Own,
            Supposed::Mandate | Supposed::Flawed(_) if by_mandate => {
                BasisFacts::Mandate { mandate: &mandate, member: &decider, timely }
            }
            Supposed::Grant | Supposed::Mandate | Supposed::Flawed(_) => {
                BasisFacts::Grant { grant: &grant, status, collector_registered }
            }
        };
        let Self { role, purpose, at, .. } = *self;
        let subject = (*about != About::Identity).then_some(&subject);
        decide(&Asking { role, asker: &asker, purpose, subject, basis, at })
    }
}

/// Two companies whose organisation codes are not in use.
fn subjects() -> (SubjectId, SubjectId) {
    let unused = |n| uscc_from_parts("91", "320102", 29 * 31_u64.pow(7) + n);
    match (unused(1), unused(2)) {
        (Some(one), Some(other)) => (one, other),
        // INVARIANT: the parts are constants of the right lengths.
        _ => unreachable!("two credit codes"),
    }
}

fn member(text: &str) -> MemberId {
    match MemberId::parse(text) {
        Some(id) => id,
        // INVARIANT: called with the words above only.
        None => unreachable!("`{text}` is a member id"),
    }
}

/// One line of a table of cases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// Line of the file.
    pub line: u64,
    /// The question.
    pub trial: Trial,
    /// What it is about.
    pub about: About,
    /// The mode in which it may be told; `None`: it is withheld.
    pub told: Option<Mode>,
    /// The rule that decides.
    pub rule: RuleName,
}

/// A table of cases.
#[derive(Clone, Debug)]
pub struct Cases {
    file: String,
    cases: Vec<Case>,
}

/// What is wrong between a table and the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// A case is decided otherwise.
    Decided {
        /// File of the table.
        file: String,
        /// Line of the case.
        line: u64,
        /// What the rules say.
        verdict: Verdict,
        /// What the table says: mode or nothing, and the rule.
        expected: (Option<Mode>, RuleName),
    },
    /// No case is decided by this rule.
    Untried {
        /// The rule.
        rule: RuleName,
        /// Its line in the rules.
        line: u64,
    },
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decided { file, line, verdict, expected } => {
                let (told, rule) = match verdict {
                    Verdict::Allow { rule, mode } => (Some(*mode), rule),
                    Verdict::Deny { rule } => (None, rule),
                };
                let word = |told: Option<Mode>| told.map_or("deny", |mode| mode.as_str());
                let (want, by) = (word(expected.0), &expected.1);
                write!(
                    f,
                    "{file} line {line}: expected `{want}` by `{by}`, and it is `{}` by `{rule}`",
                    word(told)
                )
            }
            Self::Untried { rule, line } => {
                write!(f, "rule `{rule}` of line {line} of the rules decides no case: add one that names it")
            }
        }
    }
}

impl Cases {
    /// The table that is shipped with the rules.
    pub fn builtin() -> Self {
        match Self::parse(SHIPPED_NAME, SHIPPED, &Catalog::builtin()) {
            Ok(cases) => cases,
            // INVARIANT: the shipped file is parsed by the test below.
            Err(e) => unreachable!("shipped cases: {e}"),
        }
    }

    /// Reads a table that is called `file` in errors. A check is read by the columns of `catalog`.
    ///
    /// Errors: the first line that cannot be read, as `file line n, column: what`.
    pub fn parse(file: &str, text: &str, catalog: &Catalog) -> Result<Self, String> {
        let mut cases = Vec::new();
        for row in rows(file, text, &COLUMNS)? {
            let trial = Trial {
                role: row.word("role", Role::parse)?,
                purpose: row.word("purpose", Purpose::parse)?,
                basis: row.word("basis", Supposed::parse)?,
                at: row.word("on", Date::parse)?.start(),
            };
            cases.push(Case {
                line: row.line,
                trial,
                about: about(&row, catalog)?,
                told: row.word("verdict", |word| match word {
                    "deny" => Some(None),
                    mode => Mode::parse(mode).map(Some),
                })?,
                rule: RuleName(row.required("rule")?),
            });
        }
        if cases.is_empty() {
            return Err(format!("{file} line 1: the table holds no case"));
        }
        Ok(Self { file: file.to_owned(), cases })
    }

    /// The cases, in the order of the table.
    pub fn iter(&self) -> impl Iterator<Item = &Case> {
        self.cases.iter()
    }

    /// Holds the table against the rules: every case, and whether every rule decides one. Empty: all is well.
    pub fn run(&self, policy: &Policy, catalog: &Catalog) -> Vec<Wrong> {
        let mut wrong = Vec::new();
        for case in &self.cases {
            let verdict = case.trial.verdict(policy, catalog, &case.about);
            let expected = match case.told {
                Some(mode) => Verdict::Allow { rule: case.rule.clone(), mode },
                None => Verdict::Deny { rule: case.rule.clone() },
            };
            if verdict != expected {
                let expected = (case.told, case.rule.clone());
                wrong.push(Wrong::Decided { file: self.file.clone(), line: case.line, verdict, expected });
            }
        }
        let untried = policy.rules().filter(|rule| !self.cases.iter().any(|case| case.rule == rule.name));
        wrong.extend(untried.map(|rule| Wrong::Untried { rule: rule.name.clone(), line: rule.line }));
        wrong
    }
}

/// What a case is about: a field by its number, a check as a command line writes it after `ITEM:`, or identities.
fn about(row: &Row<'_>, catalog: &Catalog) -> Result<About, String> {
    let asked = row.required("field")?;
    let spent = row.word("budget", |word| match word {
        "" => Some(false),
        "spent" => Some(true),
        _ => None,
    })?;
    let about = if asked == IDENTITY {
        if !row.cell("item").is_empty() {
            return Err(row.error("item", &format!("stays empty where the field is `{IDENTITY}`")));
        }
        About::Identity
    } else {
        let item = row.word("item", ItemId::parse)?;
        match asked.parse() {
            Ok(field) => About::Field(item, FieldId(field)),
            Err(_) => {
                let check = predicate::Check::read(catalog, &format!("{item}:{asked}"));
                About::Check { check: check.map_err(|why| row.error("field", &why))?, spent }
            }
        }
    };
    match about {
        About::Field(..) | About::Identity if spent => Err(row.error("budget", "only a check has a budget")),
        about => Ok(about),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_cases_hold_and_name_every_rule() {
        let cases = Cases::parse(SHIPPED_NAME, SHIPPED, &Catalog::builtin()).unwrap();
        assert_eq!(cases.run(&Policy::builtin(), &Catalog::builtin()), []);
    }

    #[test]
    fn a_case_decided_otherwise_and_a_rule_without_a_case_are_named() {
        let (policy, catalog) = (Policy::builtin(), Catalog::builtin());
        let at = SHIPPED.lines().position(|l| l.ends_with(",grant-missing")).unwrap() + 1;
        let other = SHIPPED.replacen("deny,grant-missing", "value,grant-missing", 1);
        let wrong = Cases::parse("t.csv", &other, &Catalog::builtin()).unwrap().run(&policy, &catalog);
        assert_eq!(
            wrong.iter().map(ToString::to_string).collect::<Vec<_>>(),
            [format!(
                "t.csv line {at}: expected `value` by `grant-missing`, and it is `deny` by `grant-missing`"
            )]
        );
        let without: String =
            SHIPPED.lines().filter(|l| !l.ends_with(",own-report")).map(|l| format!("{l}\n")).collect();
        let wrong = Cases::parse("t.csv", &without, &Catalog::builtin()).unwrap().run(&policy, &catalog);
        assert!(matches!(&wrong[..], [Wrong::Untried { rule, .. }] if rule.0 == "own-report"), "{wrong:?}");
    }

    #[test]
    fn a_table_that_cannot_be_read_is_refused_with_its_line() {
        let first = SHIPPED.lines().position(|l| l.starts_with("2026")).unwrap() + 1;
        let first = format!("t.csv line {first}, column ");
        for (from, to, column) in [
            ("bank,", "bnak,", "role"),
            ("pre-loan,", "preloan,", "purpose"),
            (",grant,", ",grnat,", "basis"),
            (",value,", ",valeu,", "verdict"),
            ("2026-06-01", "2026-06-31", "on"),
            (",CF,14,,", ",CF,,,", "field"),
            (",CF,14,,", ",CF,CF_WHS=1,,", "field"),
            (",CF,14,,", ",CF,14,spent,", "budget"),
            (",CF,14,,", ",CF,14,much,", "budget"),
            (",CF,14,,", ",CF,identity,,", "item"),
            (",CF,14,,", ",,14,,", "item"),
            (",bank-granted", "", "rule"),
        ] {
            let why = Cases::parse("t.csv", &SHIPPED.replacen(from, to, 1), &Catalog::builtin()).unwrap_err();
            assert!(why.starts_with(&first) && why.contains(column), "{why}");
        }
        assert!(Cases::parse("t.csv", "", &Catalog::builtin()).is_err());
    }
}
