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
    catalog::{Catalog, Mode},
    grant::{Grant, GrantLife, GrantStatus, Uses},
    id::MemberId,
    policy::{
        Asking, BasisFacts, Policy as Rules, Role, Verdict,
        cases::{Cases, Supposed, Trial, Wrong},
    },
    question::Want,
    subject::SubjectId,
    value::Date,
};
use crypto::{Timestamp, sign::Signed};
use exchange::wire::{Operation, Response};
use serde_json::{Value, json};

use crate::{
    args::{Explain, Policy},
    cmd::{grant::read_grant, purpose, query::wants, read, subject},
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
        Some(path) => Cases::parse(&path.display().to_string(), &text(path)?).map_err(unreadable)?,
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
        case.trial.decided(&case.item, |asking| {
            for _ in 0..rounds {
                black_box(rules.decide(asking, catalog, &case.item, case.field));
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
    let purpose = purpose(&args.purpose)?;
    let granted = match &args.grant {
        Some(path) => Some(granted(&read_grant(path)?, &args, at).await?),
        None => None,
    };
    let asked = match &granted {
        Some(granted) if args.fields.is_empty() => Want::granted(&catalog, &granted.grant),
        _ => wants(&catalog, &args.fields)?,
    };
    let (role, basis) = match &granted {
        Some(granted) => (granted.role, granted.said.clone()),
        None => (role(args.role.as_deref().unwrap_or_default())?, args.basis.clone()),
    };
    let mut fields = Vec::new();
    for Want { item, fields: wanted } in &asked {
        for field in wanted {
            let verdict = match &granted {
                Some(granted) => {
                    let asking = Asking {
                        role,
                        asker: &granted.asker,
                        purpose,
                        subject: &granted.subject,
                        basis: BasisFacts::Grant {
                            grant: &granted.grant,
                            status: granted.status,
                            collector_registered: granted.collector_registered,
                        },
                        at,
                    };
                    rules.decide(&asking, &catalog, item, *field)
                }
                None => Trial { role, purpose, basis: supposed(&args.basis)?, at }
                    .verdict(&rules, &catalog, item, *field),
            };
            fields.push((item, *field, verdict));
        }
    }
    let told = fields.iter().filter(|(.., v)| matches!(v, Verdict::Allow { .. })).count();
    let mut shown = format!(
        "`{role}` for {purpose} on {basis}, {}: {told} of {} fields would be told / 共 {} 项，可提供 {told} 项",
        Date::from_timestamp(at),
        fields.len(),
        fields.len(),
        role = role.as_str(),
    );
    let mut values: Vec<Value> = Vec::new();
    for (item, field, verdict) in &fields {
        let (mode, name) = match verdict {
            Verdict::Allow { rule, mode } => (Some(*mode), rule),
            Verdict::Deny { rule } => (None, rule),
        };
        let known = catalog.item(item).and_then(|i| i.field(*field));
        let (column, title) = known.map_or(("?", "?"), |f| (f.column.as_str(), f.name.as_str()));
        let class = known.map_or("?", |f| f.class.as_str());
        // INVARIANT of `decide`: a verdict names a row of the file.
        let rule = rules.rule(name);
        let part = |of: fn(&credit::policy::Rule) -> &String| rule.map(of).cloned().unwrap_or_default();
        let (source, zh, en) = (part(|r| &r.source), part(|r| &r.zh), part(|r| &r.en));
        let word = mode.map_or("no", |mode| mode.as_str());
        shown.push_str(&format!(
            "\n  {} {item}:{column} {title} ({class}): {word}, rule {name}: {en} / {zh} [{source}]",
            if mode.is_some() { "✓" } else { "✗" },
        ));
        values.push(json!({
            "item": item.as_str(), "field": field.0, "column": column, "class": class, "mode": mode.map(Mode::as_str),
            "told": mode.is_some(), "rule": name.0, "source": source, "zh": zh, "en": en,
        }));
    }
    if let Some(note) = granted.as_ref().and_then(|g| g.unknown) {
        shown.push_str(&format!("\n  {note}"));
    }
    let value = json!({
        "role": role.as_str(), "purpose": purpose.as_str(), "basis": basis, "at": at.rfc3339(),
        "rules": rules.digest().to_string(), "told": told, "fields": values,
    });
    Ok(Output::new(value, shown))
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
    /// What is not known about it.
    unknown: Option<&'static str>,
}

async fn granted(signed: &Signed<Grant>, args: &Explain, at: Timestamp) -> Result<Granted, Problem> {
    let mut standing = None;
    let registry = match (&args.dir, &args.registry) {
        (Some(dir), _) => {
            let client = Client::open(dir)?;
            standing = match client.operate(Operation::GrantStanding(signed.clone())).await? {
                Response::GrantStanding(standing) => Some(standing),
                other => return Err(unexpected(&other)),
            };
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
        asker,
        subject,
        grant,
    })
}

fn rules_of(path: Option<&Path>) -> Result<Rules, Problem> {
    match path {
        None => Ok(Rules::builtin()),
        Some(path) => Rules::parse(&path.display().to_string(), &text(path)?).map_err(unreadable),
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
