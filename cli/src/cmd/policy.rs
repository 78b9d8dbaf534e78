//! The rules of disclosure, read aloud and tried out.

use std::{hint::black_box, path::Path, time::Instant};

use ::node::{
    Problem,
    client::{Client, member_id, unexpected},
    clock,
    home::read_registry,
};
use credit::{
    binding::Signer,
    catalog::{Catalog, Mode, Purpose},
    grant::{Grant, GrantLife, GrantStatus, Uses},
    id::MemberId,
    policy::{
        Asking, BasisFacts, Policy as Rules, Role, Verdict,
        cases::{About, Cases, Supposed, Trial, Wrong},
    },
    predicate::{BUDGET_DAYS, Check},
    question::Want,
    subject::SubjectId,
    value::Date,
};
use crypto::{Timestamp, sign::Signed};
use exchange::wire::{BudgetLeft, Operation, Response};
use serde_json::{Value, json};

use crate::{
    args::{Explain, Policy},
    cmd::{
        grant::read_grant,
        purpose,
        query::{every_check, wants},
        read, subject,
    },
    output::Output,
};

/// Verdicts over which the cost of one is measured.
const MEASURED: u32 = 20_000;

pub(crate) async fn run(verb: Policy) -> Result<Output, Problem> {
    match verb {
        Policy::Explain(args) => explain(*args).await,
        Policy::Test { rules, cases } => test(rules.as_deref(), cases.as_deref()),
    }
}

fn test(rules: Option<&Path>, cases: Option<&Path>) -> Result<Output, Problem> {
    let (rules, catalog) = (rules_of(rules)?, Catalog::builtin());
    let cases = match cases {
        Some(path) => {
            Cases::parse(&path.display().to_string(), &text(path)?, &catalog).map_err(unreadable)?
        }
        None => Cases::builtin(),
    };
    let wrong = cases.run(&rules, &catalog);
    let (count, of) = (cases.iter().count(), rules.rules().count());
    let nanoseconds = cost(&rules, &catalog, &cases);
    let found: Vec<String> = wrong.iter().map(Wrong::to_string).collect();
    let mut shown = match found.len() {
        0 => format!(
            "{count} cases hold, and each of {of} rules decides at least one / 全部用例通过，每条规则均有用例"
        ),
        n => format!("{n} of {count} cases and {of} rules do NOT hold / 有 {n} 项不符合"),
    };
    for line in &found {
        shown.push_str(&format!("\n  {line}"));
    }
    shown.push_str(&format!(
        "\n  a verdict takes {nanoseconds:.0} ns here / 每次判定约 {nanoseconds:.0} 纳秒"
    ));
    let value = json!({
        "ok": found.is_empty(), "cases": count, "rules": of, "digest": rules.digest().to_string(), "wrong": found,
        "nanoseconds_per_verdict": nanoseconds.round(),
    });
    Ok(Output::judged(value, shown, found.is_empty()))
}

/// Nanoseconds that one verdict takes, over the questions of the table: of each many in a row, as for a question with many
/// fields.
fn cost(rules: &Rules, catalog: &Catalog, cases: &Cases) -> f64 {
    let cases: Vec<_> = cases.iter().collect();
    let rounds = (MEASURED / cases.len().max(1) as u32).max(1);
    let start = Instant::now();
    let mut verdicts = 0_u32;
    for case in cases {
        case.trial.asked(&case.about, |asking| {
            for _ in 0..rounds {
                black_box(case.about.decided(rules, catalog, asking));
            }
        });
        verdicts += rounds;
    }
    start.elapsed().as_secs_f64() * 1e9 / f64::from(verdicts.max(1))
}

async fn explain(args: Explain) -> Result<Output, Problem> {
    let (rules, catalog) = (rules_of(args.rules.as_deref())?, Catalog::builtin());
    let at = match args.on.as_deref() {
        None => clock::now(),
        Some(text) => date(text)?.start(),
    };
    let (usual_role, usual_purpose, usual_basis) = if args.mandate {
        (Role::Auditor.as_str(), Purpose::Audit.as_str(), "mandate")
    } else {
        ("", "", "none")
    };
    let purpose = purpose(args.purpose.as_deref().unwrap_or(usual_purpose))?;
    let checks = every_check(&catalog, &args.checks)?;
    let granted = match &args.grant {
        Some(path) => Some(granted(&read_grant(path)?, &args, &checks, at).await?),
        None => None,
    };
    let asked = match &granted {
        _ if args.fields.is_empty() && (!checks.is_empty() || args.mandate) => Vec::new(),
        Some(granted) if args.fields.is_empty() => Want::granted(&catalog, &granted.grant),
        _ => wants(&catalog, &args.fields)?,
    };
    let basis = args.basis.as_deref().unwrap_or(usual_basis);
    let (role, said) = match &granted {
        Some(granted) => (granted.role, granted.said.clone()),
        None => (role(args.role.as_deref().unwrap_or(usual_role))?, basis.to_owned()),
    };
    let trial = Trial { role, purpose, basis: supposed(basis)?, at };
    let decided = |about: &About| match &granted {
        Some(granted) => about.decided(&rules, &catalog, &granted.asking(role, purpose, at)),
        None => trial.verdict(&rules, &catalog, about),
    };
    let mut lines = Vec::new();
    for Want { item, fields } in asked {
        for field in fields {
            let about = About::Field(item.clone(), field);
            lines.push(Line { verdict: decided(&about), about, budget: None });
        }
    }
    let budgets = granted.as_ref().map_or(&[][..], |granted| &granted.budgets);
    for (place, check) in checks.into_iter().enumerate() {
        let budget = budgets.get(place).copied();
        let about = About::Check { check, spent: budget.is_some_and(|budget| !budget.affordable) };
        lines.push(Line { verdict: decided(&about), about, budget });
    }
    if args.mandate {
        lines.push(Line { verdict: decided(&About::Identity), about: About::Identity, budget: None });
    }
    let told = lines.iter().filter(|line| line.mode().is_some()).count();
    let mut shown = format!(
        "`{}` for {purpose} on {said}, {}: {told} of {of} would be told / 共 {of} 项，可提供 {told} 项",
        role.as_str(),
        Date::from_timestamp(at),
        of = lines.len(),
    );
    let mut value = json!({
        "role": role.as_str(), "purpose": purpose.as_str(), "basis": said, "at": at.rfc3339(),
        "rules": rules.digest().to_string(), "told": told, "fields": [], "checks": [], "identity": null,
    });
    for line in &lines {
        shown.push_str(&line.text(&rules, &catalog));
        let one = line.value(&rules, &catalog);
        match &line.about {
            About::Identity => value["identity"] = one,
            about => {
                let of = if matches!(about, About::Field(..)) { "fields" } else { "checks" };
                if let Some(list) = value[of].as_array_mut() {
                    list.push(one);
                }
            }
        }
    }
    for note in granted.iter().flat_map(|granted| &granted.unknown) {
        shown.push_str(&format!("\n  {note}"));
    }
    Ok(Output::new(value, shown))
}

/// One thing asked, and what would come of it.
struct Line {
    about: About,
    verdict: Verdict,
    /// Of a check, where a node tells it.
    budget: Option<BudgetLeft>,
}

impl Line {
    fn mode(&self) -> Option<Mode> {
        match &self.verdict {
            Verdict::Allow { mode, .. } => Some(*mode),
            Verdict::Deny { .. } => None,
        }
    }

    /// Name, legal source and wording of the rule that decides.
    fn rule<'a>(&self, rules: &'a Rules) -> (&str, &'a str, &'a str, &'a str) {
        let (Verdict::Allow { rule, .. } | Verdict::Deny { rule }) = &self.verdict;
        // INVARIANT of `decide`: a verdict names a row of the file.
        let words = rules.rule(rule).map_or(("", "", ""), |row| (&row.source, &row.zh, &row.en));
        (&rule.0, words.0, words.1, words.2)
    }

    fn text(&self, rules: &Rules, catalog: &Catalog) -> String {
        let (name, source, zh, en) = self.rule(rules);
        let what = match &self.about {
            About::Field(item, field) => {
                let known = catalog.item(item).and_then(|i| i.field(*field));
                let words = known.map_or(("?", "?", "?"), |f| (&f.column, &f.name, f.class.as_str()));
                format!("{item}:{} {} ({})", words.0, words.1, words.2)
            }
            About::Check { check, .. } => check.to_display(catalog),
            About::Identity => "whom accesses are about / 查询涉及的主体".to_owned(),
        };
        let word = self.mode().map_or("no", Mode::as_str);
        let mark = if self.mode().is_some() { "✓" } else { "✗" };
        let mut text = format!("\n  {mark} {what}: {word}, rule {name}: {en} / {zh} [{source}]");
        if let About::Check { check, .. } = &self.about {
            text.push_str(&budget_text(catalog, check, self.budget));
        }
        text
    }

    fn value(&self, rules: &Rules, catalog: &Catalog) -> Value {
        let (rule, source, zh, en) = self.rule(rules);
        let mut value = json!({
            "mode": self.mode().map(Mode::as_str), "told": self.mode().is_some(), "rule": rule, "source": source,
            "zh": zh, "en": en,
        });
        let (item, field) = match &self.about {
            About::Field(item, field) => (item, *field),
            About::Check { check, .. } => (&check.item, check.field),
            About::Identity => return value,
        };
        let known = catalog.item(item).and_then(|i| i.field(field));
        value["item"] = json!(item.as_str());
        value["field"] = json!(field.0);
        value["column"] = json!(known.map_or("?", |f| f.column.as_str()));
        value["class"] = json!(known.map_or("?", |f| f.class.as_str()));
        if let About::Check { check, .. } = &self.about {
            value["check"] = json!(check.to_display(catalog));
            value["family"] = json!(check.predicate.kind().family().as_str());
            let of = catalog.check_rule(item, field).map(|rule| rule.budget);
            value["budget"] = json!({
                "of": of, "days": BUDGET_DAYS, "left": self.budget.map(|b| b.left),
                "frees_at": self.budget.and_then(|b| b.frees_at).map(Timestamp::rfc3339),
            });
        }
        value
    }
}

/// What a check is counted in, and what is left of that as far as it is known here.
fn budget_text(catalog: &Catalog, check: &Check, budget: Option<BudgetLeft>) -> String {
    let Some(rule) = catalog.check_rule(&check.item, check.field) else { return String::new() };
    let (family, of) = (check.predicate.kind().family().as_str(), rule.budget);
    match budget {
        None => format!(
            "\n      {of} different checks of this family ({family}) in {BUDGET_DAYS} days; what is left is known to each member that answers, and not here / {BUDGET_DAYS} 日内该类核验最多 {of} 种；余额仅各应答成员知悉"
        ),
        Some(BudgetLeft { left, frees_at, .. }) => {
            let frees =
                frees_at.map(|at| format!(", the next is free at {}", at.rfc3339())).unwrap_or_default();
            format!(
                "\n      {left} of {of} different checks of this family ({family}) would be left at this member{frees} / 本成员处余 {left} 种（{BUDGET_DAYS} 日内最多 {of} 种）"
            )
        }
    }
}

/// A real grant to rest on, and who would ask on it about whom.
struct Granted {
    grant: Grant,
    status: GrantStatus,
    collector_registered: bool,
    asker: MemberId,
    subject: SubjectId,
    role: Role,
    /// In words.
    said: String,
    /// What the member of `--dir` finds of its budgets, check by check; empty where it counts none.
    budgets: Vec<BudgetLeft>,
    /// What is not known about it.
    unknown: Option<&'static str>,
}

impl Granted {
    fn asking(&self, role: Role, purpose: Purpose, at: Timestamp) -> Asking<'_> {
        let (grant, status) = (&self.grant, self.status);
        let basis = BasisFacts::Grant { grant, status, collector_registered: self.collector_registered };
        Asking { role, asker: &self.asker, purpose, subject: Some(&self.subject), basis, at }
    }
}

async fn granted(
    signed: &Signed<Grant>,
    args: &Explain,
    checks: &[Check],
    at: Timestamp,
) -> Result<Granted, Problem> {
    let (mut standing, mut budgets) = (None, Vec::new());
    let registry = match (&args.dir, &args.registry) {
        (Some(dir), _) => {
            let client = Client::open(dir)?;
            standing = match client.operate(Operation::GrantStanding(signed.clone())).await? {
                Response::GrantStanding(standing) => Some(standing),
                other => return Err(unexpected(&other)),
            };
            let answers = client.registry.member(&client.member).is_ok_and(|m| m.stated.role.collects());
            // Spent is what the grant's asker has had judged about its subject; how it is another day nobody knows.
            let of_grant = args.asker.is_none() && args.subject.is_none() && args.on.is_none();
            if answers && of_grant && !checks.is_empty() {
                let operation = Operation::Budgets(signed.clone(), checks.to_vec());
                budgets = match client.operate(operation).await? {
                    Response::Budgets(budgets) => budgets,
                    other => return Err(unexpected(&other)),
                };
            }
            client.registry
        }
        (None, Some(path)) => read_registry(path)?.accept(None)?,
        (None, None) => {
            return Err(Problem::new(
                "a grant is believed only as far as its collector's signature holds",
                "give --dir or --registry",
                "请给出 --dir 或 --registry",
            ));
        }
    };
    let grant = registry.verify_grant(signed)?.into_inner();
    let asker = args.asker.as_deref().map_or_else(|| Ok(grant.grantee.clone()), member_id)?;
    let subject = args.subject.as_deref().map_or_else(|| Ok(grant.subject.clone()), subject)?;
    let collector = registry.member(&grant.collector).is_ok_and(|m| m.stated.collector);
    // What a node knows is how things stand now; another day is judged by the grant's words alone.
    let told = standing.filter(|_| args.on.is_none());
    let status = told.map_or_else(|| grant.status(&GrantLife::default(), &Uses::default(), at), |s| s.status);
    Ok(Granted {
        status,
        collector_registered: collector
            && Signer::of(signed.issuer()).is_some_and(|s| *s.collector() == grant.collector),
        role: registry.member(&asker)?.stated.role,
        said: format!("grant {} ({})", signed.digest(), status.as_str()),
        unknown: told.is_none().then_some(
            "uses, pauses and revocations are not counted: only a node knows them / 未计入使用次数、暂停与撤回：仅节点知悉",
        ),
        budgets,
        asker,
        subject,
        grant,
    })
}

fn rules_of(path: Option<&Path>) -> Result<Rules, Problem> {
    match path {
        None => Ok(Rules::builtin()),
        Some(path) => {
            Rules::parse(&path.display().to_string(), &text(path)?, &Catalog::builtin()).map_err(unreadable)
        }
    }
}

fn text(path: &Path) -> Result<String, Problem> {
    String::from_utf8(read(path)?).map_err(|_| unreadable(format!("{}: not UTF-8", path.display())))
}

fn unreadable(why: String) -> Problem {
    Problem::new(
        why,
        "correct that line; the file's head says what its columns mean",
        "请更正该行；列的含义见文件开头",
    )
}

fn role(text: &str) -> Result<Role, Problem> {
    Role::parse(text).ok_or_else(|| {
        let known = Role::ALL.map(Role::as_str).join(", ");
        Problem::new(
            format!("`{text}` is no role"),
            format!("use one of {known}"),
            format!("请使用：{known}"),
        )
    })
}

fn supposed(text: &str) -> Result<Supposed, Problem> {
    Supposed::parse(text).ok_or_else(|| {
        let known: Vec<&str> = Supposed::all().map(Supposed::as_str).collect();
        let known = known.join(", ");
        Problem::new(
            format!("`{text}` is no basis"),
            format!("use one of {known}"),
            format!("请使用：{known}"),
        )
    })
}

/// Reads a day.
pub(crate) fn date(text: &str) -> Result<Date, Problem> {
    Date::parse(text).ok_or_else(|| {
        Problem::new(format!("`{text}` is no day"), "write it as 2026-06-01", "请写成 2026-06-01 的形式")
    })
}
