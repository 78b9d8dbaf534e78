//! Cases of repair and objection, and a record's standing.

use std::path::{Path, PathBuf};

use ::node::{
    Problem,
    client::{Client, member_id, unexpected},
};
use credit::{
    catalog::Catalog,
    id::ClerkId,
    repair::{Case, Deadline, FalseMaterial, Matter},
    status::Change,
};
use crypto::{Digest, codec};
use exchange::{
    artifact::{Artifact, Certificate},
    repair::Finding,
    wire::{ApplicationDraft, Operation, Response},
};
use serde_json::{Value, json};

use crate::{
    args::{Apply, By, Dispute, Record, Repair},
    cmd::{
        self, case,
        cases::{application, progress},
        certify, date, item,
        new_file::write_once,
        propagated, publication, read, record, subject,
    },
    output::Output,
};

pub(crate) async fn run(verb: Repair) -> Result<Output, Problem> {
    match verb {
        Repair::Apply(args) => apply(args, Matter::Repair).await,
        Repair::Accept { case: id, by, node } => {
            let operation = Operation::AcceptRepair { case: case(&id)?, clerk: clerk(by)? };
            decided(Client::open(&node.dir)?.operate(operation).await?)
        }
        Repair::Decide { case: id, refuse, false_material, barred_until, by, node } => {
            let (case, clerk) = (case(&id)?, clerk(by)?);
            let barred_until = barred_until.as_deref().map(date).transpose()?;
            let operation = match refuse {
                Some(reason) if false_material => {
                    Operation::RefuseFalse { case, reason, found: FalseMaterial { barred_until }, clerk }
                }
                Some(reason) => Operation::DecideRepair { case, grant: false, reason, clerk },
                None => Operation::DecideRepair { case, grant: true, reason: String::new(), clerk },
            };
            decided(Client::open(&node.dir)?.operate(operation).await?)
        }
        Repair::List(node) => list(&node.dir).await,
        Repair::Certify(args) => certify::run(args).await,
        Repair::Certificate { event, out, about, node } => {
            let certificate = match certify::about(&about)? {
                None => certificate(&node.dir, event).await?,
                Some(about) => drawn(&node.dir, Operation::CertificateAbout(event, about)).await?,
            };
            if let Some(out) = &out {
                write_once(out, &certificate_file(&certificate))?;
            }
            let client = Client::open(&node.dir)?;
            let checked = certificate.verify(&client.registry)?;
            let text = format!(
                "event {event}: {} acknowledged, {} missing / 传播证明{}",
                checked.acknowledged.len(),
                checked.missing.len(),
                propagated::lines(&checked, &client.registry)
            );
            Ok(Output::new(propagated::value(&checked, &client.registry), text))
        }
    }
}

/// The propagation certificate of a decision, as it stands now.
pub(crate) async fn certificate(dir: &Path, event: u64) -> Result<Certificate, Problem> {
    drawn(dir, Operation::Certificate(event)).await
}

async fn drawn(dir: &Path, operation: Operation) -> Result<Certificate, Problem> {
    match Client::open(dir)?.operate(operation).await? {
        Response::Certificate(certificate) => Ok(*certificate),
        other => Err(unexpected(&other)),
    }
}

/// A certificate as a file.
pub(crate) fn certificate_file(certificate: &Certificate) -> Vec<u8> {
    codec::to_vec(&Artifact::Certificate(certificate.clone()))
}

fn clerk(by: By) -> Result<Option<ClerkId>, Problem> {
    by.clerk.as_deref().map(cmd::clerk).transpose()
}

pub(crate) fn decided(response: Response) -> Result<Output, Problem> {
    let Response::Decided { case, event } = response else { return Err(unexpected(&response)) };
    let mut value = case_value(&case);
    value["event"] = json!(event);
    let text = match event {
        Some(event) => format!(
            "case {} is {} {}; entry {event} of the status log is on its way to every recipient / 决定已生效并开始传播",
            case.id(),
            case.state(),
            case.state_zh()
        ),
        None => format!("case {} is {} {}{}", case.id(), case.state(), case.state_zh(), papers_line(&case)),
    };
    Ok(Output::new(value, text))
}

/// How many papers came with all applications of a case.
pub(crate) fn papers(case: &Case) -> usize {
    case.applied().applications.iter().map(|joined| joined.materials.len()).sum()
}

/// The same for who accepts a repair, which rests on them.
fn papers_line(case: &Case) -> String {
    match (case, papers(case)) {
        (Case::Accepted(_), 0) => format!("; {NO_PAPER}"),
        (Case::Accepted(_), papers) => format!("; {papers} papers came with it / 附材料{papers}份"),
        _ => String::new(),
    }
}

/// What an application for repair without papers is told.
const NO_PAPER: &str = "WITHOUT A PAPER: neither proof of performance nor pledge has come with it; see that they are handed in before it is decided / 未附材料：缺履行完毕证明与信用承诺书，请在作出决定前补交";

fn due(deadline: Option<Deadline>) -> Value {
    match deadline {
        Some(d) => json!({ "date": d.date.to_string(), "provisional": d.provisional }),
        None => json!("not provided"),
    }
}

fn case_value(case: &Case) -> Value {
    let applied = case.applied();
    let counters: Vec<&str> = applied.applications.iter().map(|j| j.counter.as_str()).collect();
    let decide_due = match case {
        Case::Accepted(accepted) => due(accepted.decide_due),
        _ => Value::Null,
    };
    json!({
        "case": case.id().to_string(), "record": case.record().to_string(), "matter": case.matter().as_str(),
        "state": case.state(), "state_zh": case.state_zh(), "papers": papers(case),
        "counters": counters, "accept_due": due(applied.accept_due), "decide_due": decide_due, "clerks": clerks(case),
    })
}

/// Who took each step of a case, as far as they were named.
fn clerks(case: &Case) -> Value {
    let applied = case.applied();
    let (accepted, decided) = match case {
        Case::Applied(_) => (None, None),
        Case::Accepted(accepted) => (accepted.clerk.as_ref(), None),
        Case::Decided(decided) => (decided.accepted.clerk.as_ref(), decided.clerk.as_ref()),
    };
    json!({
        "took": applied.applications.iter().map(|joined| joined.clerk.as_ref().map(ClerkId::as_str)).collect::<Vec<_>>(),
        "assigned": applied.assigned.as_ref().map(ClerkId::as_str),
        "accepted": accepted.map(ClerkId::as_str), "decided": decided.map(ClerkId::as_str),
    })
}

async fn list(dir: &Path) -> Result<Output, Problem> {
    let response = Client::open(dir)?.operate(Operation::Cases).await?;
    let Response::Cases { cases, forwarded, .. } = response else { return Err(unexpected(&response)) };
    let mut text = format!(
        "cases at this authority: {}; applications taken at this counter: {}",
        cases.len(),
        forwarded.len()
    );
    for case in &cases {
        text.push_str(&format!(
            "\n  {} case {} {} {} record {}",
            case.matter().as_str(),
            case.id(),
            case.state(),
            case.state_zh(),
            case.record()
        ));
    }
    for f in &forwarded {
        text.push_str(&format!("\n  application {} to `{}`: {}", f.application, f.to, progress(f).0));
    }
    let taken: Vec<Value> = forwarded.iter().map(application).collect();
    Ok(Output::new(
        json!({ "cases": cases.iter().map(case_value).collect::<Vec<_>>(), "taken": taken }),
        text,
    ))
}

/// Takes an application at this member's counter.
async fn apply(args: Apply, matter: Matter) -> Result<Output, Problem> {
    let draft = ApplicationDraft {
        authority: member_id(&args.authority)?,
        item: item(&Catalog::builtin(), &args.item)?.id.clone(),
        document: args.document,
        subject: subject(&args.subject)?,
        materials: args
            .papers
            .iter()
            .map(|p: &PathBuf| Ok(Digest::of(&read(p)?)))
            .collect::<Result<_, Problem>>()?,
        clerk: clerk(args.by)?,
        matter,
    };
    let papers = draft.materials.len();
    let warning = (matter == Matter::Repair && papers == 0).then_some(NO_PAPER);
    match Client::open(&args.node.dir)?.operate(Operation::Apply(draft)).await? {
        Response::Case(id) => Ok(Output::new(
            json!({
                "application": id.to_string(), "matter": matter.as_str(), "papers": papers, "warning": warning,
            }),
            format!(
                "application {id} taken; `xinqiao case list` shows its way / {}申请已登记{}",
                matter.zh(),
                warning.map_or(String::new(), |warning| format!("\n  {warning}"))
            ),
        )),
        other => Err(unexpected(&other)),
    }
}

pub(crate) async fn dispute(verb: Dispute) -> Result<Output, Problem> {
    let (id, finding, ground, by, node) = match verb {
        Dispute::File(args) => return apply(args, Matter::Objection).await,
        Dispute::Resolve { case, rejected: Some(reason), ground, by, node, .. } => {
            (case, Finding::Rejected(reason), ground, by, node)
        }
        Dispute::Resolve { case, withdrawn: true, ground, by, node, .. } => {
            (case, Finding::Withdrawn, ground, by, node)
        }
        Dispute::Resolve { case, ground, by, node, .. } => (case, Finding::Corrected, ground, by, node),
    };
    let operation = Operation::AnswerObjection { case: case(&id)?, finding, ground, clerk: clerk(by)? };
    decided(Client::open(&node.dir)?.operate(operation).await?)
}

/// Mask, unmask, end of publicity, withdrawal; and how records are published.
pub(crate) async fn standing(verb: Record) -> Result<Output, Problem> {
    let digest = |paper: &PathBuf| Ok::<_, Problem>(Digest::of(&read(paper)?));
    match verb {
        Record::Mask { record, reason, paper, node } => {
            change_standing(&record, Change::Mask, reason, Some(digest(&paper)?), &node.dir).await
        }
        Record::Unmask { record, reason, paper, node } => {
            let paper = paper.as_ref().map(digest).transpose()?;
            change_standing(&record, Change::Unmask, reason, paper, &node.dir).await
        }
        Record::Expire { record, reason, node } => {
            change_standing(&record, Change::Expire, reason, None, &node.dir).await
        }
        Record::Withdraw { record, reason, paper, node } => {
            let paper = paper.as_ref().map(digest).transpose()?;
            change_standing(&record, Change::Withdraw, reason, paper, &node.dir).await
        }
        Record::Received { record, due, node } => {
            publication::received(record.as_deref(), due, &node.dir).await
        }
        Record::Pushed(node) => publication::pushed(&node.dir).await,
        Record::Publish { record, on, confirm, node } => {
            publication::publish(&record, on.as_deref(), confirm, &node.dir).await
        }
        Record::TakeDown { record, on, node } => {
            publication::take_down(&record, on.as_deref(), &node.dir).await
        }
    }
}

async fn change_standing(
    id: &str,
    change: Change,
    reason: String,
    paper: Option<Digest>,
    dir: &Path,
) -> Result<Output, Problem> {
    let operation = Operation::ChangeStanding { record: record(id)?, change, reason, paper };
    match Client::open(dir)?.operate(operation).await? {
        Response::Receipt(receipt) => Ok(Output::new(
            json!({ "record": id, "event": receipt.index, "paper": paper.map(|p| p.to_string()) }),
            format!(
                "entry {} of the status log is on its way to every recipient / 已记入状态日志并开始传播",
                receipt.index
            ),
        )),
        other => Err(unexpected(&other)),
    }
}

pub(crate) async fn status(id: &str, dir: &Path) -> Result<Output, Problem> {
    let response = Client::open(dir)?.operate(Operation::RecordStatus(record(id)?)).await?;
    let Response::RecordStatus(status) = response else { return Err(unexpected(&response)) };
    let known: Vec<Value> = status
        .standing
        .iter()
        .map(|(m, s)| json!({ "authority": m.as_str(), "status": s.as_str(), "status_zh": s.zh() }))
        .collect();
    let held = status
        .authority
        .as_ref()
        .map_or("not held here".to_owned(), |a| format!("held here, authority `{a}`"));
    let mut text = format!("record {}: {held}", status.record);
    for (member, standing) in &status.standing {
        text.push_str(&format!("\n  `{member}` says {} / {}", standing.as_str(), standing.zh()));
    }
    if status.standing.is_empty() {
        text.push_str("\n  no change of standing is known / 无状态变更");
    }
    let published = status.publication.as_ref();
    text.push_str(&published.map_or(String::new(), |line| format!("\n  {}", publication::pushed_line(line))));
    Ok(Output::new(
        json!({
            "record": id, "authority": status.authority.map(|a| a.as_str().to_owned()), "version": status.version,
            "standing": known, "publication": published.map(publication::pushed_value),
        }),
        text,
    ))
}
