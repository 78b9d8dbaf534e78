//! One verdict per field, each naming its rule.
//!
//! The rules are rows of `credit/data/policy/2026.csv`: a name, an effect, what it applies to and when, its legal source and
//! its wording in both languages. Rows with a `check` are the conditions below; the others are tried in order. What
//! no row allows is denied by the last row. [`cases`] tries the rules out, and holds them against a table of cases.

pub mod cases;

use core::fmt;
use std::collections::BTreeSet;

use crypto::{Digest, Timestamp};
use minicbor::{Decode, Encode};

use crate::{
    catalog::{Catalog, FieldClass, Mode, Purpose, line_of, misheaded, misread},
    grant::{Grant, GrantStatus},
    id::{FieldId, ItemId, MemberId},
    mandate::Mandate,
    predicate,
    subject::SubjectId,
    value::Date,
};

/// The columns of a policy file.
const COLUMNS: [&str; 13] = [
    "name", "effect", "roles", "purposes", "items", "classes", "basis", "mode", "from", "until", "source",
    "zh", "en",
];

/// Those that say when a rule applies.
const CONDITIONS: [&str; 8] = ["roles", "purposes", "items", "classes", "basis", "mode", "from", "until"];

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
    MandateOtherAuditor,
    MandateOtherMember,
    MandateTime,
    VerifyOnly,
    NotAllowed,
    BudgetSpent,
    DefaultDeny,
}

impl Check {
    const ALL: [Check; 20] = [
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
        Check::MandateOtherAuditor,
        Check::MandateOtherMember,
        Check::MandateTime,
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
            Check::MandateOtherAuditor => "mandate-other-auditor",
            Check::MandateOtherMember => "mandate-other-member",
            Check::MandateTime => "mandate-time",
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
    /// The subject itself asks, at a counter that has seen who it is.
    Own,
    /// An auditor's mandate whose signature was verified.
    Mandate {
        /// The mandate.
        mandate: &'a Mandate,
        /// The member that decides.
        member: &'a MemberId,
        /// Whether it is valid at the time of the decision, by this member's clock and what clocks may differ.
        timely: bool,
    },
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
    /// About whom; `None` when it asks whom accesses are about.
    pub subject: Option<&'a SubjectId>,
    /// On whose word.
    pub basis: BasisFacts<'a>,
    /// When it is decided; the day decides which rules are in force.
    pub at: Timestamp,
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
    /// Line of the file.
    pub line: u64,
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
    /// Empty: every item.
    items: BTreeSet<ItemId>,
    told: BTreeSet<Told>,
    /// `None`: any.
    basis: Option<Word>,
    /// The most it lets be said; the catalog may say less.
    mode: Mode,
    /// First day in force.
    from: Option<Date>,
    /// First day no longer in force.
    until: Option<Date>,
}

/// What a rule asks of the basis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Grant,
    Duty,
    Own,
    Mandate,
}

/// What a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    /// A field of this class.
    Field(FieldClass),
    /// Whom an access is about: the subject behind an entry of the access log.
    Identity,
}

impl Told {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "identity" => Some(Self::Identity),
            _ => FieldClass::parse(text).filter(|class| *class != FieldClass::Never).map(Self::Field),
        }
    }
}

impl Applies {
    fn matches(&self, asking: &Asking<'_>, basis: Option<Word>, item: Option<&ItemId>, told: Told) -> bool {
        self.roles.contains(&asking.role)
            && self.purposes.contains(&asking.purpose)
            && self.told.contains(&told)
            && (self.items.is_empty() || item.is_some_and(|item| self.items.contains(item)))
            && (self.basis.is_none() || self.basis == basis)
            && self.in_force(Date::from_timestamp(asking.at))
    }

    fn in_force(&self, day: Date) -> bool {
        self.from.is_none_or(|from| day >= from) && self.until.is_none_or(|until| day < until)
    }

    /// Whether nothing is left for `later` to decide.
    fn covers(&self, later: &Self) -> bool {
        let starts = match (self.from, later.from) {
            (None, _) => true,
            (Some(from), Some(later)) => from <= later,
            (Some(_), None) => false,
        };
        let ends = match (self.until, later.until) {
            (None, _) => true,
            (Some(until), Some(later)) => until >= later,
            (Some(_), None) => false,
        };
        self.roles.is_superset(&later.roles)
            && self.purposes.is_superset(&later.purposes)
            && self.told.is_superset(&later.told)
            && (self.items.is_empty() || (!later.items.is_empty() && self.items.is_superset(&later.items)))
            && (self.basis.is_none() || self.basis == later.basis)
            && starts
            && ends
    }
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
        match Self::parse("2026.csv", include_str!("../data/policy/2026.csv"), &Catalog::builtin()) {
            Ok(policy) => policy,
            // INVARIANT: the shipped file is parsed by the test below.
            Err(e) => unreachable!("shipped policy: {e}"),
        }
    }

    /// Reads a policy file that is called `file` in errors. Its items must stand in `catalog`.
    ///
    /// Errors: the first line that cannot be read or can never decide, as `file line n, column: what`.
    pub fn parse(file: &str, text: &str, catalog: &Catalog) -> Result<Self, String> {
        let mut rules: Vec<Rule> = Vec::new();
        for row in rows(file, text, &COLUMNS)? {
            let rule = parse_rule(&row, catalog)?;
            if rules.iter().any(|r| r.name == rule.name) {
                return Err(row.error("name", &format!("rule `{}` stands twice", rule.name)));
            }
            let first = |applies: &Applies| {
                rules.iter().find(|r| r.applies.as_ref().is_some_and(|earlier| earlier.covers(applies)))
            };
            if let Some(earlier) = rule.applies.as_ref().and_then(first) {
                let why =
                    format!("can never decide: rule `{}` of line {} comes first", earlier.name, earlier.line);
                return Err(row.error("name", &why));
            }
            rules.push(rule);
        }
        let end = text.lines().count();
        for check in Check::ALL {
            if !rules.iter().any(|r| r.name == RuleName::of(check)) {
                return Err(format!(
                    "{file} line {end}: the file ends without the check `{}`",
                    check.as_str()
                ));
            }
        }
        Ok(Self { rules, digest: Digest::of(text.as_bytes()) })
    }

    /// Every rule, in the order of the file.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter()
    }

    /// Digest of the file, as the registry pins it.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The row of a rule.
    pub fn rule(&self, name: &RuleName) -> Option<&Rule> {
        self.rules.iter().find(|r| r.name == *name)
    }

    /// Whether any rule, on whatever day, lets an asker of this role learn some field on a grant for this purpose. A grant for
    /// another opens nothing.
    pub fn grants(&self, role: Role, purpose: Purpose) -> bool {
        let allows = |rule: &Applies| {
            rule.allow
                && rule.roles.contains(&role)
                && rule.purposes.contains(&purpose)
                && rule.basis.is_none_or(|basis| basis == Word::Grant)
        };
        self.rules.iter().filter_map(|rule| rule.applies.as_ref()).any(allows)
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
    /// predicate for it and the asker can still afford it.
    ///
    /// `affordable` is asked only about a predicate that is allowed otherwise: the budget is the member's own account.
    pub fn decide_check<E>(
        &self,
        asking: &Asking<'_>,
        catalog: &Catalog,
        check: &predicate::Check,
        affordable: impl FnOnce() -> Result<bool, E>,
    ) -> Result<Verdict, E> {
        let allowed = || {
            let field = catalog.item(&check.item)?.field(check.field)?;
            let rule = catalog.check_rule(&check.item, check.field)?;
            (rule.kinds.contains(&check.predicate.kind()) && check.predicate.fits(&field.ty)).then_some(())
        };
        Ok(match self.reach(asking, catalog, &check.item, check.field) {
            Verdict::Allow { .. } if allowed().is_none() => {
                Verdict::Deny { rule: RuleName::of(Check::NotAllowed) }
            }
            Verdict::Allow { .. } if !affordable()? => {
                Verdict::Deny { rule: RuleName::of(Check::BudgetSpent) }
            }
            Verdict::Allow { rule, .. } => Verdict::Allow { rule, mode: Mode::Verify },
            deny => deny,
        })
    }

    /// Decides whether an asker may learn whom accesses are about.
    ///
    /// Shape: pure; default deny. Time enters as whether the mandate is valid.
    pub fn decide_identity(&self, asking: &Asking<'_>) -> Verdict {
        self.ruled(asking, None, Told::Identity, Mode::Value)
    }

    /// What of a field is in the asker's reach, in the field's own mode.
    fn reach(&self, asking: &Asking<'_>, catalog: &Catalog, item: &ItemId, field: FieldId) -> Verdict {
        match catalog.item(item).and_then(|i| i.field(field)) {
            Some(row) => {
                let most = asking.subject.map_or(row.mode, |subject| row.mode_about(subject));
                self.ruled(asking, Some((item, field)), Told::Field(row.class), most)
            }
            None => Verdict::Deny { rule: RuleName::of(Check::FieldUnknown) },
        }
    }

    /// The first rule that speaks of it, once the basis holds. `most` is what the catalog lets be said.
    fn ruled(
        &self,
        asking: &Asking<'_>,
        field: Option<(&ItemId, FieldId)>,
        told: Told,
        most: Mode,
    ) -> Verdict {
        let deny = |check: Check| Verdict::Deny { rule: RuleName::of(check) };
        let basis = match basis_of(asking, field) {
            Ok(basis) => basis,
            Err(check) => return deny(check),
        };
        let item = field.map(|(item, _)| item);
        let decides = self.rules.iter().find_map(|rule| {
            let applies = rule.applies.as_ref()?;
            applies.matches(asking, basis, item, told).then_some((rule, applies))
        });
        match decides {
            Some((rule, applies)) if applies.allow => {
                Verdict::Allow { rule: rule.name.clone(), mode: applies.mode.min(most) }
            }
            Some((rule, _)) => Verdict::Deny { rule: rule.name.clone() },
            None => deny(Check::DefaultDeny),
        }
    }
}

/// One row of a table of this module, with its cells by column.
struct Row<'a> {
    file: &'a str,
    line: u64,
    columns: &'a [&'static str],
    cells: Vec<String>,
}

impl Row<'_> {
    fn cell(&self, column: &str) -> &str {
        let at = self.columns.iter().position(|c| *c == column);
        at.and_then(|at| self.cells.get(at)).map_or("", String::as_str)
    }

    fn error(&self, column: &str, what: &str) -> String {
        format!("{} line {}, column `{column}`: {what}", self.file, self.line)
    }

    fn required(&self, column: &str) -> Result<String, String> {
        match self.cell(column) {
            "" => Err(self.error(column, "must not be empty")),
            text => Ok(text.to_owned()),
        }
    }

    /// The cell through `read`.
    fn word<T>(&self, column: &str, read: impl FnOnce(&str) -> Option<T>) -> Result<T, String> {
        let word = self.cell(column);
        read(word).ok_or_else(|| self.error(column, &format!("unknown word `{word}`")))
    }

    /// The cell's words through `read`.
    fn words<T: Ord>(&self, column: &str, read: impl Fn(&str) -> Option<T>) -> Result<BTreeSet<T>, String> {
        let one = |w: &str| read(w).ok_or_else(|| self.error(column, &format!("unknown word `{w}`")));
        self.cell(column).split_whitespace().map(one).collect()
    }

    /// As [`Row::words`], and at least one.
    fn some<T: Ord>(&self, column: &str, read: impl Fn(&str) -> Option<T>) -> Result<BTreeSet<T>, String> {
        self.required(column)?;
        self.words(column, read)
    }

    fn date(&self, column: &str) -> Result<Option<Date>, String> {
        match self.cell(column) {
            "" => Ok(None),
            _ => self.word(column, Date::parse).map(Some),
        }
    }
}

/// Reads CSV with `#` comment lines and exactly these columns.
fn rows<'a>(file: &'a str, text: &str, columns: &'a [&'static str]) -> Result<Vec<Row<'a>>, String> {
    let mut reader =
        csv::ReaderBuilder::new().comment(Some(b'#')).trim(csv::Trim::All).from_reader(text.as_bytes());
    let bad = |e: csv::Error| {
        let (line, column, what) = misread(text, columns, &e);
        format!("{file} line {line}{}: {what}", column.map(|c| format!(", column `{c}`")).unwrap_or_default())
    };
    if let Some((line, column, what)) = misheaded(text, columns, reader.headers().map_err(bad)?) {
        return Err(format!("{file} line {line}, column `{column}`: {what}"));
    }
    reader
        .records()
        .map(|row| {
            let row = row.map_err(bad)?;
            let line = row.position().map_or(0, |at| line_of(text, at));
            Ok(Row { file, line, columns, cells: row.iter().map(str::to_owned).collect() })
        })
        .collect()
}

fn parse_rule(row: &Row<'_>, catalog: &Catalog) -> Result<Rule, String> {
    let name = RuleName(row.required("name")?);
    let applies = match row.cell("effect") {
        "check" => {
            if !Check::ALL.iter().any(|c| c.as_str() == name.0) {
                return Err(row.error("name", &format!("`{name}` is not a check this build knows")));
            }
            // What would be read past here would look as if it were a condition.
            if let Some(column) = CONDITIONS.iter().find(|column| !row.cell(column).is_empty()) {
                return Err(row.error(column, "stays empty: what a check looks at is code"));
            }
            None
        }
        _ if Check::ALL.iter().any(|c| c.as_str() == name.0) => {
            return Err(row.error("effect", &format!("`{name}` is a check, and its effect is `check`")));
        }
        effect @ ("allow" | "deny") => Some(Applies {
            allow: effect == "allow",
            roles: row.some("roles", Role::parse)?,
            purposes: row.some("purposes", Purpose::parse)?,
            items: row.words("items", |word| Some(catalog.item(&ItemId::parse(word)?)?.id.clone()))?,
            told: row.some("classes", Told::parse)?,
            basis: row.word("basis", |word| match word {
                "grant" => Some(Some(Word::Grant)),
                "duty" => Some(Some(Word::Duty)),
                "own" => Some(Some(Word::Own)),
                "mandate" => Some(Some(Word::Mandate)),
                "any" => Some(None),
                _ => None,
            })?,
            mode: match row.cell("mode") {
                "" => Mode::Value,
                _ => row.word("mode", Mode::parse)?,
            },
            from: row.date("from")?,
            until: row.date("until")?,
        }),
        word => return Err(row.error("effect", &format!("unknown word `{word}`"))),
    };
    if let Some(Applies { from: Some(from), until: Some(until), .. }) = &applies
        && until <= from
    {
        return Err(row.error("until", "ends before it begins"));
    }
    Ok(Rule {
        name,
        line: row.line,
        applies,
        source: row.required("source")?,
        zh: row.required("zh")?,
        en: row.required("en")?,
    })
}

/// The word for a basis that holds, or the check that it fails.
fn basis_of(asking: &Asking<'_>, field: Option<(&ItemId, FieldId)>) -> Result<Option<Word>, Check> {
    match asking.basis {
        BasisFacts::Grant { grant, status, collector_registered } => {
            match grant_fails(asking, grant, status, collector_registered, field) {
                Some(check) => Err(check),
                None => Ok(Some(Word::Grant)),
            }
        }
        BasisFacts::UnknownCollector => Err(Check::GrantCollector),
        BasisFacts::Duty => Ok(Some(Word::Duty)),
        BasisFacts::Own => Ok(Some(Word::Own)),
        BasisFacts::Mandate { mandate, .. } if mandate.auditor != *asking.asker => {
            Err(Check::MandateOtherAuditor)
        }
        BasisFacts::Mandate { mandate, member, .. } if mandate.member != *member => {
            Err(Check::MandateOtherMember)
        }
        BasisFacts::Mandate { timely: false, .. } => Err(Check::MandateTime),
        BasisFacts::Mandate { .. } => Ok(Some(Word::Mandate)),
        BasisFacts::None if asking.role == Role::Bank => Err(Check::GrantMissing),
        BasisFacts::None => Ok(None),
    }
}

fn grant_fails(
    asking: &Asking<'_>,
    grant: &Grant,
    status: GrantStatus,
    collector_registered: bool,
    field: Option<(&ItemId, FieldId)>,
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
        (Some(&grant.subject) != asking.subject).then_some(Check::GrantOtherSubject),
        stands,
        (!grant.purposes.contains(&asking.purpose)).then_some(Check::GrantOtherPurpose),
        (!field.is_some_and(|(item, field)| grant.covers(item, field))).then_some(Check::GrantField),
    ];
    order.into_iter().flatten().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = include_str!("../data/policy/2026.csv");

    fn refused(from: &str, to: &str) -> String {
        let text = TEXT.replacen(from, to, 1);
        assert_ne!(text, TEXT);
        Policy::parse("rules.csv", &text, &Catalog::builtin()).unwrap_err()
    }

    #[test]
    fn the_shipped_policy_parses() {
        assert_eq!(
            Policy::parse("2026.csv", TEXT, &Catalog::builtin()).unwrap().digest(),
            Policy::builtin().digest()
        );
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_file_line_and_column() {
        let line = |name: &str| TEXT.lines().position(|l| l.starts_with(name)).unwrap() + 1;
        let at = |name: &str, column: &str| format!("rules.csv line {}, column `{column}`: ", line(name));
        for (from, to, place, what) in [
            ("deny,bank,", "deny,bnak,", at("bank-government", "roles"), "unknown word `bnak`"),
            ("deny,bank,", "deny,,", at("bank-government", "roles"), "must not be empty"),
            ("bank-government,deny", "bank-government,dney", at("bank-government", "effect"), "unknown word"),
            ("2025-08-01", "2025-08-32", at("administration-duty", "from"), "unknown word"),
            ("grant-used-up,", "grant-usedup,", at("grant-used-up", "name"), "not a check"),
            ("grant-used-up,", "grant-paused,", at("grant-paused", "name"), "stands twice"),
            (",the grant has expired", ",", at("grant-expired", "en"), "must not be empty"),
            (",the grant has expired", "", at("grant-expired", "en"), "12 cells"),
            (
                "grant-expired,check,,",
                "grant-expired,check,bank,",
                at("grant-expired", "roles"),
                "stays empty",
            ),
            ("grant-expired,check", "grant-expired,deny", at("grant-expired", "effect"), "is a check"),
            ("guarantee,,government", "guarantee,CFX,government", at("bank-government", "items"), "`CFX`"),
            (",government,any", ",goverment,any", at("bank-government", "classes"), "unknown word"),
            (",government,any", ",never,any", at("bank-government", "classes"), "unknown word `never`"),
            (",government,any", ",government,own grant", at("bank-government", "basis"), "unknown word"),
            (
                "public authorised,grant,,",
                "public authorised,grant,veil,",
                at("bank-granted", "mode"),
                "`veil`",
            ),
            ("pre-loan approval", "pre-lone approval", at("bank-government", "purposes"), "`pre-lone`"),
            (
                "duty,,2025-08-01,",
                "duty,,2025-08-01,2025-08-01",
                at("administration-duty", "until"),
                "ends before",
            ),
            ("上海市数据条例 art. 40", "", at("bank-government", "source"), "must not be empty"),
            ("政务共享数据不得提供给第三方", "", at("bank-government", "zh"), "must not be empty"),
        ] {
            let why = refused(from, to);
            assert!(why.starts_with(&place) && why.contains(what), "{why}");
        }
        assert!(
            refused("name,effect", "effect,name").starts_with("rules.csv line 1, column `name`: the header")
        );
        assert!(refused(",zh,en", ",zh,english").starts_with("rules.csv line 1, column `en`: the header"));
        let without: String =
            TEXT.lines().filter(|l| !l.starts_with("default-deny")).map(|l| format!("{l}\n")).collect();
        assert!(
            Policy::parse("rules.csv", &without, &Catalog::builtin())
                .unwrap_err()
                .contains("without the check `default-deny`")
        );
    }

    #[test]
    fn no_two_rules_of_the_shipped_policy_decide_about_the_same() {
        let policy = Policy::builtin();
        let rules: Vec<_> =
            policy.rules.iter().filter_map(|r| Some((&r.name, r.applies.as_ref()?))).collect();
        for (at, (name, one)) in rules.iter().enumerate() {
            for (other, two) in &rules[..at] {
                let bases = one.basis.is_none() || two.basis.is_none() || one.basis == two.basis;
                let meet = !one.roles.is_disjoint(&two.roles)
                    && !one.purposes.is_disjoint(&two.purposes)
                    && !one.told.is_disjoint(&two.told)
                    && bases;
                assert!(!meet, "`{name}` and `{other}`: which is right must not hang on their order");
            }
        }
    }

    #[test]
    fn a_rule_that_an_earlier_one_leaves_nothing_is_refused() {
        let rule = TEXT.lines().find(|l| l.starts_with("bank-granted")).unwrap();
        for (from, to, never) in [
            ("public authorised", "public", true),
            (",,public", ",CF,public", true),
            (",grant,", ",any,", false),
            (",public authorised", ",public authorised government", false),
        ] {
            let added = rule.replacen("bank-granted", "bank-again", 1).replacen(from, to, 1);
            let read = Policy::parse("rules.csv", &format!("{TEXT}{added}\n"), &Catalog::builtin());
            assert_eq!(read.is_err_and(|e| e.contains("bank-granted")), never, "{added}");
        }
    }
}
