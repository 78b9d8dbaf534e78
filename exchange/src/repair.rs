//! Repair (信用修复) and objection (异议) from any counter to the authority's decision.
//!
//! Every step of a case is an entry first: the counter's `Applied`, the authority's `Joined`, `Accepted`, `NotGranted`, and
//! the change of standing that grants. An objection marks its record at once, and needs no acceptance. A change that ends
//! the record closes every case about it. The rows are folds over them ([`own_entry`]), so that a member that lost its disk
//! has its cases again, with their deadlines, once its mirrors have given its log back.

use credit::{
    entry::{Assigned, Ban, CaseStep, Changed, Fact, Joining, NotGranted, StatusFact},
    id::{CaseId, ClerkId, ItemId, MemberId, RecordId},
    question::CLOCK_SKEW_MS_MAX,
    record::RecordFacts,
    repair::{self, Application, Applied, Case, Deadline, Denial, FalseMaterial, MATERIALS_MAX, Matter},
    rules::{Duty, Rule, Tier},
    status::{Change, Standing},
    value::Date,
};
use crypto::{Digest, Timestamp, sign::Verified};
use minicbor::{Decode, Encode};

use crate::{
    ban,
    context::Context,
    ended,
    limits::{AHEAD_MS_MAX, REASON_BYTES_MAX},
    logs::LogName,
    propagation::concerns_others,
    push::publish,
    read, recognise,
    refusal::{Code, Fault, Halt, Refusal},
    step::{Reply, Token},
    tables::{self, Key, RecordRow, Told},
    timer,
    turn::Turn,
    wire::Response,
};

mod counter;

pub use counter::{Forwarded, apply, forward_due, forwarded};

impl From<Denial> for Halt {
    fn from(denial: Denial) -> Self {
        Self::Refusal(Refusal::new(Code::CaseDenied, denial.to_string()).remedied(denial.remedy()))
    }
}

/// `case.denied`: why, and what to do in both languages.
pub(crate) fn denied(why: impl Into<String>, en: &str, zh: &str) -> Refusal {
    Refusal::new(Code::CaseDenied, why).remedied((en, zh))
}

/// Takes an application forwarded by another member's counter: a public platform, and the one that signed it.
pub fn application(
    context: &Context,
    turn: &mut Turn<'_>,
    token: Token,
    caller: &MemberId,
    application: &Verified<Application>,
) -> Result<(), Halt> {
    let asked = application.get();
    if asked.counter != *caller || application.signed().issuer() != caller.as_str() {
        return Halt::refuse(
            Code::CallerNotAllowed,
            "an application is forwarded by the counter that took it",
        );
    }
    if !context.registry.member(caller)?.stated.role.mirrors_status() {
        return Halt::refuse(Code::CallerNotAllowed, "applications are taken by public platforms");
    }
    within_limit(&asked.materials)?;
    // Days count from it, and a correction counts only after it.
    if asked.applied_at > turn.now.plus_ms(CLOCK_SKEW_MS_MAX) {
        let why = "the application is dated ahead; look at the counter's clock";
        let ahead = asked.applied_at.0 - turn.now.0;
        let refusal = Refusal::new(Code::CaseDenied, why);
        // A clock that is minutes ahead has dated an application that is right soon.
        return Err(if ahead <= AHEAD_MS_MAX { refusal.retry_after(ahead) } else { refusal }.into());
    }
    let case = open(context, turn, asked, application.signed().digest())?;
    turn.reply(token, Reply::ready(Response::Case(case)));
    Ok(())
}

/// Opens a case or joins the one that is open for the record and the matter.
///
/// 1. This member is the record's authority: `authority.other`.
/// 2. The same application through several counters is normal and joins the one case.
/// 3. The record has not ended: `case.denied`. It is held here: `record.unknown`. For a repair its item can be repaired,
///    and its subject is not barred for false material: `case.denied`.
/// 4. An objection marks the record in the same batch.
///
/// What opens or joins is written as `Joined`, the acknowledgement that stays; a retry writes nothing.
fn open(context: &Context, turn: &mut Turn<'_>, asked: &Application, digest: Digest) -> Result<CaseId, Halt> {
    // 1
    if asked.authority != context.own.id {
        return Halt::refuse(Code::NotAuthority, format!("`{}`", asked.authority));
    }
    // 2, before the record itself: a retry finds its case, decided by now or come back from a mirror without the record.
    if let Some(case) = newest(turn, &asked.record, asked.matter)? {
        let id = case.id();
        if case.applied().holds(&digest) {
            return Ok(id);
        }
        if !matches!(case, Case::Decided(_)) {
            // Whether it still may; the row follows from the entry.
            case.applied().clone().join(asked, digest)?;
            let joining = Joining { case: id, application: asked.clone(), digest, due: None };
            say(context, turn, &StatusFact::Joined(joining))?;
            return Ok(id);
        }
    }
    // 3
    let standing: Standing = turn.row(&Key::standing(&context.own.id, &asked.record))?.unwrap_or_default();
    if standing.has_ended() {
        let status = standing.status();
        return Err(denied(
            format!("the record is {} already / 该信息{}", status.as_str(), status.zh()),
            "nothing is left to apply for; `xinqiao status RECORD` shows its standing",
            "已无可申请的事项；请用 `xinqiao status 记录编号` 查看状态",
        )
        .into());
    }
    let facts = facts(context, turn, &asked.record)?;
    if asked.matter == Matter::Repair {
        asks_for_what_there_is(context, &facts.item, asked.matter)?;
        ban::hold_against(context, turn, &facts)?;
    }
    // The counter chose the id; it must not fall on another case.
    if turn.row::<Case>(&Key::case(&asked.case))?.is_some() {
        return Halt::refuse(Code::CaseDenied, "this case id is taken");
    }
    let due = first_due(context, asked.matter, asked.applied_at, &facts);
    let joining = Joining { case: asked.case, application: asked.clone(), digest, due };
    say(context, turn, &StatusFact::Joined(joining))?;
    // 4
    if asked.matter == Matter::Objection {
        let day = Date::from_timestamp(asked.applied_at);
        let region = &context.registry.member(&context.own.id)?.stated.region;
        let term = context.rules.term(Duty::MarkObjection, region, day);
        let rule = term.map_or("异议申请", |term| &term.source).to_owned();
        let (record, case) = (asked.record, Some(asked.case));
        let mark =
            Changed { record, change: Change::Dispute, case, rule, paper: None, clerk: None, act: None };
        ended::say(context, turn, mark)?;
    }
    Ok(asked.case)
}

/// The newest case about a matter of a record.
pub(crate) fn newest(turn: &Turn<'_>, record: &RecordId, matter: Matter) -> Result<Option<Case>, Fault> {
    match turn.row::<CaseId>(&Key::open_case(record, matter))? {
        Some(id) => turn.row(&Key::case(&id)),
        None => Ok(None),
    }
}

/// The last day for the first step of a case: acceptance, or the answer to an objection.
fn first_due(
    context: &Context,
    matter: Matter,
    applied_at: Timestamp,
    facts: &RecordFacts,
) -> Option<Deadline> {
    match matter {
        Matter::Repair => repair::accept_due(applied_at, rule(context, facts).ok(), &context.calendar),
        Matter::Objection => timer::deadline(context, &context.own.id, Duty::AnswerObjection, applied_at),
    }
}

/// The last day for the next step of a case, with the calendar as it is now.
pub(crate) fn next_due(context: &Context, turn: &Turn<'_>, case: &Case) -> Result<Option<Deadline>, Halt> {
    let facts = facts(context, turn, &case.record())?;
    let first = |applied: &Applied| applied.applications.first().map(|joined| joined.at);
    Ok(match case {
        Case::Applied(applied) => {
            first(applied).and_then(|at| first_due(context, applied.matter, at, &facts))
        }
        Case::Accepted(accepted) => {
            accepted.applied.decide_due(accepted.at, rule(context, &facts).ok(), &context.calendar)
        }
        Case::Decided(_) => None,
    })
}

/// That the catalog has the item, and that it can be repaired if this is what is asked for.
fn asks_for_what_there_is(context: &Context, item: &ItemId, matter: Matter) -> Result<(), Refusal> {
    let known = context.catalog.item(item);
    let known = known.ok_or_else(|| Refusal::new(Code::ItemUnknown, format!("`{item}`")))?;
    if matter == Matter::Repair && !known.repairable {
        let can: Vec<&str> =
            context.catalog.items().filter(|item| item.repairable).map(|item| item.id.as_str()).collect();
        return Err(denied(
            format!(
                "item `{item}` ({}) knows no repair; those that do: {} / 目录项“{}”不适用信用修复",
                known.name_en,
                can.join(", "),
                known.name
            ),
            "where the record is wrong, take an objection: `xinqiao dispute file`",
            "信息有误的，请用 `xinqiao dispute file` 提出异议",
        ));
    }
    Ok(())
}

fn within_limit(materials: &[Digest]) -> Result<(), Halt> {
    if materials.len() > MATERIALS_MAX {
        return Err(denied(
            format!(
                "an application has at most {MATERIALS_MAX} papers / 一份申请最多附{MATERIALS_MAX}份材料"
            ),
            "join papers into fewer files",
            "请合并材料文件",
        )
        .into());
    }
    Ok(())
}

/// Writes a statement into the own status log; its rows follow from the entry.
fn say(context: &Context, turn: &mut Turn<'_>, fact: &StatusFact) -> Result<u64, Halt> {
    let signed = context.sign(turn.now, fact);
    turn.append(context, LogName::Status, Fact::Status(signed)).map(|(index, _)| index)
}

/// Folds an own statement about a case into rows: written a moment ago, taken back from a mirror, or read again.
pub(crate) fn own_entry(
    context: &Context,
    turn: &mut Turn<'_>,
    fact: &StatusFact,
    told: Told,
) -> Result<(), Halt> {
    match fact {
        StatusFact::Applied(signed) => counter::forward(context, turn, signed),
        StatusFact::Joined(Joining { case, application, digest, due }) => {
            let case = match turn.row::<Case>(&Key::case(case))? {
                None => {
                    turn.put(&Key::open_case(&application.record, application.matter), case);
                    Case::Applied(Applied { case: *case, ..Applied::open(application, *digest, *due) })
                }
                Some(Case::Applied(mut applied)) => {
                    applied.join(application, *digest)?;
                    Case::Applied(applied)
                }
                Some(Case::Accepted(mut accepted)) => {
                    accepted.applied.join(application, *digest)?;
                    Case::Accepted(accepted)
                }
                Some(decided) => decided,
            };
            put(turn, &case);
            Ok(())
        }
        StatusFact::Accepted(step) => {
            if let Some(Case::Applied(applied)) = turn.row(&Key::case(&step.case))? {
                put(turn, &Case::Accepted(applied.accept(told.at, step.due, step.clerk.clone())));
            }
            Ok(())
        }
        StatusFact::Assigned(Assigned { case, clerk }) => {
            if let Some(mut case) = turn.row::<Case>(&Key::case(case))? {
                case.assign(clerk.clone());
                put(turn, &case);
            }
            Ok(())
        }
        StatusFact::NotGranted(said) => {
            let NotGranted { case, reason, rule, clerk, .. } = said.clone();
            let decided = match turn.row(&Key::case(&case))? {
                Some(Case::Accepted(accepted)) => accepted.refuse(told.at, rule, reason, clerk),
                Some(Case::Applied(applied)) if applied.matter == Matter::Objection => {
                    applied.answer(told.at, false, rule, reason, clerk)
                }
                Some(Case::Applied(applied)) => applied.decline(told.at, rule, reason, clerk),
                _ => return Ok(()),
            };
            put(turn, &Case::Decided(decided));
            Ok(())
        }
        StatusFact::Changed(changed) => {
            if changed.change != Change::Dispute
                && let Some(case) = &changed.case
            {
                granted(turn, case, changed, told)?;
            }
            if Standing::of(changed.change, told.index).has_ended() {
                close(turn, changed, told)?;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// The case that a change decides: its applicant has got what was asked for.
fn granted(turn: &mut Turn<'_>, case: &CaseId, changed: &Changed, told: Told) -> Result<(), Halt> {
    let (rule, clerk) = (changed.rule.clone(), changed.clerk.clone());
    let decided = match turn.row(&Key::case(case))? {
        Some(Case::Accepted(accepted)) => accepted.grant(told.at, rule, clerk),
        Some(Case::Applied(applied)) if applied.matter == Matter::Objection => {
            applied.answer(told.at, true, rule, String::new(), clerk)
        }
        // Another platform's result was recognised before this one had accepted.
        Some(Case::Applied(applied)) => applied.accept(told.at, None, None).grant(told.at, rule, clerk),
        _ => return Ok(()),
    };
    put(turn, &Case::Decided(decided));
    Ok(())
}

/// Closes what is open about a record that has ended: there is nothing left to repair, and nothing to object to.
fn close(turn: &mut Turn<'_>, changed: &Changed, told: Told) -> Result<(), Halt> {
    let status = Standing::of(changed.change, told.index).status();
    let reason = format!("the record is {} / 该信息{}", status.as_str(), status.zh());
    for matter in Matter::ALL {
        let applied = match newest(turn, &changed.record, matter)? {
            Some(Case::Applied(applied)) => applied,
            Some(Case::Accepted(accepted)) => accepted.applied,
            _ => continue,
        };
        let decided = applied.decline(told.at, changed.rule.clone(), reason.clone(), None);
        put(turn, &Case::Decided(decided));
    }
    Ok(())
}

fn put(turn: &mut Turn<'_>, case: &Case) {
    turn.put(&Key::case(&case.id()), case);
    timer::of_case(turn, case);
}

/// Accepts a case (受理).
pub fn accept(
    context: &Context,
    turn: &mut Turn<'_>,
    token: Token,
    id: CaseId,
    clerk: Option<ClerkId>,
) -> Result<(), Halt> {
    let applied = case(turn, &id)?.of(Matter::Repair)?.into_applied()?;
    let facts = facts(context, turn, &applied.record)?;
    let due = applied.decide_due(turn.now, rule(context, &facts).ok(), &context.calendar);
    let step = CaseStep { case: id, record: applied.record, application: first(&applied), due, clerk };
    say(context, turn, &StatusFact::Accepted(step))?;
    let case = case(turn, &id)?;
    turn.reply(token, Reply::ready(Response::Decided { case, event: None }));
    Ok(())
}

/// Assigns what is left of a case to a clerk of this authority: `case.unknown`; `case.denied` after the decision.
/// Assigned to the same clerk again, nothing is written.
pub fn assign(
    context: &Context,
    turn: &mut Turn<'_>,
    token: Token,
    id: CaseId,
    clerk: ClerkId,
) -> Result<(), Halt> {
    let known = case(turn, &id)?;
    if let Case::Decided(_) = known {
        return Err(known.wrong_state().into());
    }
    if known.applied().assigned.as_ref() != Some(&clerk) {
        say(context, turn, &StatusFact::Assigned(Assigned { case: id, clerk }))?;
    }
    let case = case(turn, &id)?;
    turn.reply(token, Reply::ready(Response::Decided { case, event: None }));
    Ok(())
}

/// Decides a case of repair (准予/不予修复).
///
/// 1. The case is about a repair and not decided: `case.denied`. A repair is granted after acceptance; refused it can be
///    before it too (不予受理), and where no rule set or no record is left to grant it by.
/// 2. The rule set of the decision's day allows it now: `case.denied`.
/// 3. The decision, the new standing and one delivery per recipient are one batch.
///
/// A refusal may find that the material was false: then the subject is barred from applying, here and at the other
/// authorities ([`crate::ban`]), for the time that the rule set says or, where it says none, until the day that who decides
/// has stated.
pub fn decide(
    context: &Context,
    turn: &mut Turn<'_>,
    token: Token,
    id: CaseId,
    decision: Decision,
    clerk: Option<ClerkId>,
) -> Result<(), Halt> {
    // 1 and 2
    let open = case(turn, &id)?.of(Matter::Repair)?;
    let record = open.record();
    let fact = match decision {
        Decision::Grant => {
            let accepted = open.into_accepted()?;
            let facts = facts(context, turn, &record)?;
            let rule = rule(context, &facts)?;
            let (day, published) = starts(rule, &facts)?;
            accepted.may_grant(turn.now, rule, day, published)?;
            recognise::may_grant(context, turn, &record)?;
            let (change, case, rule) = (Change::Repair, Some(id), rule.set_id.clone());
            StatusFact::Changed(Changed { record, change, case, rule, paper: None, clerk, act: None })
        }
        Decision::Refuse { reason, false_material } => {
            if let Case::Decided(_) = open {
                return Err(open.wrong_state().into());
            }
            let facts = match facts(context, turn, &record) {
                Ok(facts) => Some(facts),
                Err(Halt::Refusal(_)) => None,
                Err(fault) => return Err(fault),
            };
            let rule = facts.as_ref().and_then(|facts| rule(context, facts).ok());
            let ban = match (false_material, &facts, rule) {
                (None, ..) => None,
                (Some(found), Some(facts), Some(rule)) => Some(ban::find(turn, &id, facts, rule, found)?),
                (Some(_), ..) => {
                    return Err(denied(
                        "no rule set is left to bar the subject by / 已无可据以限制再次申请的规则集",
                        "refuse it without --false-material",
                        "请去掉 --false-material 后不予修复",
                    )
                    .into());
                }
            };
            let ground = rule.map_or(String::new(), |rule| rule.set_id.clone());
            not_granted(open.applied(), reason, ground, ban, clerk)?
        }
    };
    // 3
    let tells = concerns_others(&fact);
    let index = match fact {
        StatusFact::Changed(changed) => ended::say(context, turn, changed)?.0,
        fact => say(context, turn, &fact)?,
    };
    reply_decided(turn, token, &id, tells.then_some(index))
}

/// The statement that an application is not granted.
fn not_granted(
    applied: &Applied,
    reason: String,
    rule: String,
    ban: Option<Ban>,
    clerk: Option<ClerkId>,
) -> Result<StatusFact, Refusal> {
    let reason = checked_reason(reason)?;
    if reason.is_empty() {
        return Err(denied(
            "a refusal states its reason / 不予修复须说明理由",
            "give the reason that the subject is told",
            "请填写告知申请人的理由",
        ));
    }
    let (case, record, application) = (applied.case, applied.record, first(applied));
    Ok(StatusFact::NotGranted(NotGranted { case, record, application, reason, rule, ban, clerk }))
}

fn reply_decided(turn: &mut Turn<'_>, token: Token, id: &CaseId, event: Option<u64>) -> Result<(), Halt> {
    let case = case(turn, id)?;
    turn.reply(token, Reply::ready(Response::Decided { case, event }));
    Ok(())
}

/// What the authority has found about an objection.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Finding {
    /// The record was wrong, and its department has handed it in again, right (更正).
    #[n(0)]
    Corrected,
    /// The act behind it does not stand: the record is withdrawn (撤销).
    #[n(1)]
    Withdrawn,
    /// The record is right; the reason the subject is told.
    #[n(2)]
    Rejected(#[n(0)] String),
}

/// Answers an objection (异议处理结果).
///
/// 1. The case is about an objection and not answered, and the answer has a legal ground: `case.denied`.
/// 2. A record that was corrected has a version since the objection: `case.denied`.
/// 3. The answer, the new standing and one delivery per recipient are one batch. A mark that is taken off because the
///    objection was rejected names no case: it is nothing that the case has brought about.
pub fn answer(
    context: &Context,
    turn: &mut Turn<'_>,
    token: Token,
    id: CaseId,
    finding: Finding,
    ground: String,
    clerk: Option<ClerkId>,
) -> Result<(), Halt> {
    // 1
    let applied = case(turn, &id)?.of(Matter::Objection)?.into_applied()?;
    let rule = checked_ground(ground)?;
    let record = applied.record;
    let (change, case) = match finding {
        // 2
        Finding::Corrected => {
            let since = applied.applications.first().map_or(turn.now, |joined| joined.at);
            if read::version_time(turn.view(), &record)?.is_none_or(|at| at <= since) {
                return Err(denied(
                    "the record has no version since the objection / 异议提出后该信息未更新",
                    "submit the corrected file first: `xinqiao submit`",
                    "请先用 `xinqiao submit` 提交更正后的文件",
                )
                .into());
            }
            (Change::EndDispute, Some(id))
        }
        Finding::Withdrawn => (Change::Withdraw, Some(id)),
        Finding::Rejected(reason) => {
            say(context, turn, &not_granted(&applied, reason, rule.clone(), None, clerk.clone())?)?;
            (Change::EndDispute, None)
        }
    };
    // 3
    let changed = Changed { record, change, case, rule, paper: None, clerk, act: None };
    let (index, _) = ended::say(context, turn, changed)?;
    reply_decided(turn, token, &id, Some(index))
}

/// What is decided of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// 准予修复.
    Grant,
    /// 不予修复.
    Refuse {
        /// The reason the subject is told.
        reason: String,
        /// The material was false.
        false_material: Option<FalseMaterial>,
    },
}

/// Mask, withdrawal or expiry by the record's authority. Repair and dispute mark go through their cases; a mask names the
/// court's ruling (重整计划 or 和解协议 approved), which the authority keeps: 国办发〔2025〕22号.
///
/// 1. It states its ground, a mask its paper, and is none that has a way of its own: `case.denied`.
/// 2. The same change on the same ground is a retry: the same entry again, and no second one.
/// 3. It changes the standing: `case.denied`, naming the standing. Otherwise recipients would acknowledge, and a certificate
///    would state, what is not so.
pub fn change_standing(
    context: &Context,
    turn: &mut Turn<'_>,
    token: Token,
    changed: Changed,
) -> Result<(), Halt> {
    // 1
    let changed = Changed { rule: checked_ground(changed.rule)?, ..changed };
    facts(context, turn, &changed.record)?;
    let denial = match changed.change {
        Change::Repair | Change::Dispute | Change::EndDispute => Some((
            "a repair is decided, and an objection answered, in its case / 修复与异议在其案件中办理",
            "use `xinqiao repair decide CASE` or `xinqiao dispute resolve CASE`",
            "请用 `xinqiao repair decide 案件` 或 `xinqiao dispute resolve 案件`",
        )),
        Change::Correct => Some((
            "a correction comes with its source's file / 更正随数源单位的文件办理",
            "submit the corrected file: `xinqiao submit`",
            "请用 `xinqiao submit` 提交更正后的文件",
        )),
        Change::Mask if changed.paper.is_none() => Some((
            "a mask rests on the court's ruling, and names its digest / 暂时屏蔽须以法院裁定为据",
            "give the ruling with --paper FILE",
            "请用 --paper 文件 提供裁定书",
        )),
        _ => None,
    };
    if let Some((why, en, zh)) = denial {
        return Err(denied(why, en, zh).into());
    }
    // 2
    let key = Key::standing(&context.own.id, &changed.record);
    let standing: Standing = turn.row(&key)?.unwrap_or_default();
    for (_, index) in standing.told().filter(|(change, _)| *change == changed.change) {
        // The mark of the act follows from the record.
        if let Some(StatusFact::Changed(before)) = said(context, turn, index)?
            && (Changed { act: None, ..before }) == changed
        {
            turn.reply(token, Reply::Receipt(index));
            return Ok(());
        }
    }
    // 3
    let (status, change) = (standing.status(), changed.change);
    if standing.merge(Standing::of(change, u64::MAX)).status() == status {
        return Err(denied(
            format!(
                "the record is {}, and `{}` changes nothing about it / 该信息的状态为“{}”，“{}”不产生变化",
                status.as_str(),
                change.as_str(),
                status.zh(),
                change.zh()
            ),
            "look at its standing with `xinqiao status RECORD`, and at the record id",
            "请用 `xinqiao status 记录编号` 查看状态，并核对记录编号",
        )
        .into());
    }
    let (index, _) = ended::say(context, turn, changed)?;
    turn.reply(token, Reply::Receipt(index));
    Ok(())
}

/// What an own status entry says.
fn said(context: &Context, turn: &Turn<'_>, index: u64) -> Result<Option<StatusFact>, Halt> {
    match LogName::Status.entry(turn.view(), index)?.map(|entry| entry.fact) {
        Some(Fact::Status(signed)) => Ok(Some(context.registry.verify_logged(&signed)?.into_inner())),
        _ => Ok(None),
    }
}

fn checked_reason(reason: String) -> Result<String, Refusal> {
    if reason.len() > REASON_BYTES_MAX {
        return Err(denied(
            format!(
                "a reason has at most {REASON_BYTES_MAX} bytes / 理由最长{REASON_BYTES_MAX}字节（约{}个汉字）",
                REASON_BYTES_MAX / 3
            ),
            "say it shorter",
            "请缩短理由",
        ));
    }
    Ok(reason)
}

fn checked_ground(ground: String) -> Result<String, Refusal> {
    match checked_reason(ground)? {
        ground if ground.is_empty() => Err(denied(
            "a change of standing states its legal ground / 变更状态须写明依据",
            "name the ground with --reason, an objection's answer with --ground",
            "请用 --reason 写明依据；答复异议用 --ground",
        )),
        ground => Ok(ground),
    }
}

fn case(turn: &Turn<'_>, id: &CaseId) -> Result<Case, Halt> {
    match turn.row(&Key::case(id))? {
        Some(case) => Ok(case),
        None => Halt::refuse(Code::CaseUnknown, format!("`{id}`")),
    }
}

/// Digest of the application that opened a case.
fn first(applied: &Applied) -> Digest {
    applied.applications.first().map_or(Digest::ZERO, |j| j.application)
}

/// The facts of a record of which this member is the authority, with the day of its publication as it is known.
pub(crate) fn facts(context: &Context, turn: &Turn<'_>, record: &RecordId) -> Result<RecordFacts, Halt> {
    let row = turn.row::<RecordRow>(&Key::record(record))?;
    let sealed = row.map(|row| tables::payload(turn.view(), row.newest.slot)).transpose()?.flatten();
    match sealed.map(|sealed| sealed.facts) {
        Some(facts) if facts.authority == context.own.id => Ok(publish::known(context, turn.view(), facts)?),
        Some(facts) => Halt::refuse(Code::NotAuthority, format!("`{}`", facts.authority)),
        None => Halt::refuse(Code::RecordUnknown, format!("`{record}`")),
    }
}

/// The rule of the record's tier in the set that its decision date selects.
pub(crate) fn rule<'a>(context: &'a Context, facts: &RecordFacts) -> Result<&'a Rule, Refusal> {
    let decided = facts.decided.ok_or_else(undated)?;
    let tier = facts.tier.unwrap_or(Tier::General);
    context.rules.rule(facts.kind, decided, tier).map_err(|e| Refusal::new(Code::CaseDenied, e.to_string()))
}

fn undated() -> Refusal {
    denied(
        "the record has no decision date / 该信息没有决定日期",
        "have its source submit it again with that day",
        "请数源单位补充决定日期后重新提交",
    )
}

/// The days from which a rule counts a record's publicity: decision and publication. The official layout does not tell
/// the day of publication, and not every publisher says it; a set that counts from it is not guessed at.
pub(crate) fn starts(rule: &Rule, facts: &RecordFacts) -> Result<(Date, Date), Refusal> {
    let decided = facts.decided.ok_or_else(undated)?;
    match facts.published {
        Some(published) => Ok((decided, published)),
        None if !rule.waits_for_publication() => Ok((decided, decided)),
        None => Err(denied(
            format!(
                "`{0}` counts from publication, and neither the record tells that day nor its publisher / 规则集 {0} 自公示之日起计算，而文件与公示单位均未告知公示日期",
                rule.set_id
            ),
            "who publishes it says so with `xinqiao record publish RECORD`",
            "请公示单位用 `xinqiao record publish 记录编号` 记录公示日期",
        )),
    }
}
