//! Asking and answering: the asker's line, the outlet's line, and the decision of a collecting member.

use std::collections::BTreeMap;

use credit::{
    catalog::Mode,
    entry::{
        Asked, AskedBy, BasisRef, Disclosed, DisclosedField, DisclosedRecord, Fact, Read, Received, Refused,
        Relayed, Withheld,
    },
    grant::{Grant, GrantStatus, Uses},
    id::{FieldId, ItemId, MemberId, QuestionId, RecordId},
    policy::{Asking, BasisFacts, Role, RuleName, Verdict},
    question::{Basis, CLOCK_SKEW_MS_MAX, DEADLINE_MS_MAX, Question},
    status::{Standing, Status},
};
use crypto::{
    Bytes,
    pseudonym::{SubjectLink, subject_access_key, subject_link},
    sign::Verified,
};
use ledger::store::Space;

use crate::{
    answer::{Plan, PlanField, PlanRecord},
    context::Context,
    grant,
    limits::{RECORDS_PER_ANSWER_MAX, RECORDS_SCANNED_MAX},
    logs::LogName,
    mandate,
    refusal::{Code, Halt},
    step::{Reply, Token},
    tables::{self, Key, QuestionRow, RecordRow},
    turn::Turn,
    wire::{AskDraft, Response},
};

/// Signs a question and writes it into the asker's own access log before it leaves.
pub fn ask(
    context: &Context,
    turn: &mut Turn<'_>,
    token: Token,
    draft: AskDraft,
    id: QuestionId,
) -> Result<(), Halt> {
    let outlet = match context.registry.outlet() {
        Some(outlet) if outlet.id != context.own.id => outlet.id.clone(),
        _ => return Halt::refuse(Code::MemberUnknown, "the registry names no outlet to ask"),
    };
    let question = Question {
        id,
        asker: context.own.id.clone(),
        clerk: draft.clerk,
        purpose: draft.purpose,
        subject: draft.subject,
        wants: draft.wants,
        basis: draft.basis,
        asked_at: turn.now,
        deadline: turn.now.plus_ms(draft.wait_ms.min(DEADLINE_MS_MAX)),
    };
    if let Some(why) = question.malformed() {
        return Halt::refuse(Code::QuestionMalformed, why);
    }
    let signed = context.sign(turn.now, &question);
    let asked = Asked {
        question: signed.digest(),
        clerk: question.clerk,
        purpose: question.purpose,
        outlet: outlet.clone(),
    };
    turn.append(context, LogName::Access, Fact::Asked(asked))?;
    turn.reply(token, Reply::ready(Response::Asked { question: signed, outlet }));
    Ok(())
}

/// Writes what the asker has received and verified: the mirror image of the answering members' entries.
pub fn received(
    context: &Context,
    turn: &mut Turn<'_>,
    token: Token,
    lines: Vec<Received>,
) -> Result<(), Halt> {
    for line in lines {
        turn.append(context, LogName::Access, Fact::Received(line))?;
    }
    turn.reply(token, Reply::ready(Response::Done));
    Ok(())
}

/// Writes who reads entries over HTTP, before they leave. A line about the access log itself covers itself too: else
/// whoever reads the newest entries would make a newer one each time.
pub fn read(context: &Context, turn: &mut Turn<'_>, token: Token, mut read: Read) -> Result<(), Halt> {
    if read.owner == context.own.id && read.log == LogName::Access.as_str() {
        read.size = read.size.max(turn.tail(LogName::Access).next + 1);
    }
    let (index, _) = turn.append(context, LogName::Access, Fact::Read(read))?;
    turn.reply(token, Reply::ready(Response::Noted(index)));
    Ok(())
}

/// Passes a question on, as the outlet.
///
/// 1. This member is the outlet: `outlet.only`.
/// 2. The asker itself sent it: `caller.not-allowed`.
/// 3. Well-formed and in time: `question.malformed`, `question.expired`.
/// 4. The outlet's own line, then every collecting member is asked.
pub fn relay(
    context: &Context,
    turn: &mut Turn<'_>,
    token: Token,
    caller: &MemberId,
    question: &Verified<Question>,
) -> Result<(), Halt> {
    // 1
    if context.registry.outlet().is_none_or(|o| o.id != context.own.id) {
        return Halt::refuse(Code::OutletOnly, "this member is not the outlet");
    }
    // 2
    if *caller != question.get().asker || question.signed().issuer() != caller.as_str() {
        return Halt::refuse(Code::CallerNotAllowed, "a question is sent by its asker");
    }
    // 3
    timely(turn, question.get())?;
    // 4
    let to: Vec<MemberId> = context
        .registry
        .active()
        .filter(|m| m.role.collects() && m.id != *caller)
        .map(|m| m.id.clone())
        .collect();
    let relayed = Relayed { question: question.signed().digest(), asker: caller.clone(), to: to.clone() };
    turn.append(context, LogName::Access, Fact::Relayed(relayed))?;
    turn.reply(token, Reply::ready(Response::Relay(to)));
    Ok(())
}

/// Decides a question about this member's own records.
///
/// 1. Sent by the outlet, or by a public platform itself, and signed by the asker: `caller.not-allowed`.
/// 2. Seen before: the same signed bytes get the same plan and no second entry, as long as nothing in it was repaired,
///    revoked or paused since: `question.expired`. Other bytes under the same id are refused: `question.reused`.
/// 3. Well-formed and in time: `question.malformed`, `question.expired`.
/// 4. One verdict per field, each naming its rule.
/// 5. No field allowed: a `Refused` entry. It is written whether or not the subject exists here.
/// 6. Records that may be answered from: held by this member as their authority (a copy answers no third party,
///    上海市数据条例 art. 40), present, and disclosable by every status entry verified so far.
/// 7. A `Disclosed` entry and the plan; the answer leaves after both are durable.
pub fn answer(
    context: &Context,
    turn: &mut Turn<'_>,
    token: Token,
    caller: &MemberId,
    question: &Verified<Question>,
    grant: Option<&Verified<Grant>>,
) -> Result<(), Halt> {
    // 1
    let asked = question.get();
    let role = context.registry.member(&asked.asker)?.stated.role;
    let through_outlet = context.registry.outlet().is_some_and(|o| o.id == *caller);
    let direct = *caller == asked.asker && role.mirrors_status();
    if question.signed().issuer() != asked.asker.as_str() || !(through_outlet || direct) {
        return Halt::refuse(
            Code::CallerNotAllowed,
            "sent neither by the outlet nor by a public platform for itself",
        );
    }
    // 2
    let digest = question.signed().digest();
    if let Some(row) = turn.row::<QuestionRow>(&Key::question(&asked.id))? {
        if row.question != digest {
            return Halt::refuse(Code::QuestionReused, "");
        }
        timely(turn, asked)?;
        if !still_allowed(context, turn, &row.plan, grant)? {
            let why = "what it was answered from has been repaired, revoked or paused since; ask anew";
            return Halt::refuse(Code::QuestionExpired, why);
        }
        turn.reply(token, Reply::Answer(Box::new(row.plan)));
        return Ok(());
    }
    // 3
    timely(turn, asked)?;
    // 4
    let verdicts = verdicts(context, turn, role, asked, grant)?;
    let withheld: Vec<Withheld> = verdicts
        .iter()
        .filter_map(|(item, field, verdict)| match verdict {
            Verdict::Deny { rule } => {
                Some(Withheld { item: item.clone(), field: *field, rule: rule.clone() })
            }
            Verdict::Allow { .. } => None,
        })
        .collect();
    let via = through_outlet.then(|| caller.clone());
    let asked_by = asked_by(context, turn, question, via)?;
    // 5
    let records = if withheld.len() == verdicts.len() {
        turn.append(context, LogName::Access, Fact::Refused(Refused { asked: asked_by, withheld }))?;
        Vec::new()
    } else {
        // 6
        let mut found = find(context, turn, role, asked, &verdicts)?;
        let more = found.len() > RECORDS_PER_ANSWER_MAX;
        found.truncate(RECORDS_PER_ANSWER_MAX);
        // 7
        let (planned, disclosed) = found.into_iter().unzip();
        let disclosed = Disclosed { asked: asked_by, records: disclosed, withheld, more };
        turn.append(context, LogName::Access, Fact::Disclosed(disclosed))?;
        planned
    };
    let index = turn.tail(LogName::Access).next - 1;
    let plan = Plan { question: digest, asker: asked.asker.clone(), index, records };
    let subject = mandate::sealed(context, question);
    turn.put(&Key::question(&asked.id), &QuestionRow { question: digest, plan: plan.clone(), subject });
    turn.reply(token, Reply::Answer(Box::new(plan)));
    Ok(())
}

fn timely(turn: &Turn<'_>, question: &Question) -> Result<(), Halt> {
    if let Some(why) = question.malformed() {
        return Halt::refuse(Code::QuestionMalformed, why);
    }
    if turn.now > question.deadline {
        return Halt::refuse(Code::QuestionExpired, format!("deadline was {}", question.deadline.rfc3339()));
    }
    if question.asked_at > turn.now.plus_ms(CLOCK_SKEW_MS_MAX) {
        return Halt::refuse(
            Code::QuestionExpired,
            format!("asked at {}, which is ahead of this clock", question.asked_at.rfc3339()),
        );
    }
    Ok(())
}

type FieldVerdict = (ItemId, FieldId, Verdict);

fn verdicts(
    context: &Context,
    turn: &Turn<'_>,
    role: Role,
    asked: &Question,
    grant: Option<&Verified<Grant>>,
) -> Result<Vec<FieldVerdict>, Halt> {
    let basis = match (&asked.basis, grant) {
        (Basis::Grant(signed), Some(grant)) if *signed == *grant.signed() => {
            let collector = &grant.get().collector;
            let collector_registered = grant.signed().issuer() == collector.as_str()
                && context.registry.member(collector).is_ok_and(|m| m.stated.collector);
            let (life, uses) = grant::known(turn.view(), grant)?;
            let status = grant.get().status(&life, &uses, turn.now);
            BasisFacts::Grant { grant: grant.get(), status, collector_registered }
        }
        (Basis::Grant(_), _) => BasisFacts::UnknownCollector,
        (Basis::Duty(_), _) => BasisFacts::Duty,
        (Basis::Own(_), _) => BasisFacts::Own,
        (Basis::None, _) => BasisFacts::None,
    };
    let asking = Asking {
        role,
        asker: &asked.asker,
        purpose: asked.purpose,
        subject: &asked.subject,
        basis,
        at: turn.now,
    };
    let fields = asked.wants.iter().flat_map(|w| w.fields.iter().map(|f| (w.item.clone(), *f)));
    Ok(fields
        .map(|(item, field)| {
            let verdict = context.policy.decide(&asking, &context.catalog, &item, field);
            (item, field, verdict)
        })
        .collect())
}

/// Who asked, with the subject's next link. A link that is taken (a restore may have lost the count) is passed over.
fn asked_by(
    context: &Context,
    turn: &mut Turn<'_>,
    question: &Verified<Question>,
    via: Option<MemberId>,
) -> Result<AskedBy, Halt> {
    let asked = question.get();
    let tag = context.own.naming.subject_tag(&asked.subject);
    let access_key = subject_access_key(&context.own.access, asked.subject.as_str());
    let mut n: u64 = turn.row(&Key::accesses(&tag))?.unwrap_or(0);
    let link: SubjectLink = loop {
        let link = subject_link(&access_key, n);
        if turn.row::<u64>(&Key::link(&link))?.is_none() {
            break link;
        }
        n += 1;
    };
    turn.put(&Key::accesses(&tag), &(n + 1));
    let basis = match &asked.basis {
        Basis::Grant(signed) => match MemberId::parse(signed.issuer()) {
            Some(collector) => BasisRef::Grant(signed.digest(), collector),
            None => BasisRef::None,
        },
        Basis::Duty(law) => BasisRef::Duty(law.clone()),
        Basis::Own(paper) => BasisRef::Own(*paper),
        Basis::None => BasisRef::None,
    };
    Ok(AskedBy {
        id: asked.id,
        question: question.signed().digest(),
        signature: Bytes(question.signed().signature().to_vec()),
        asker: asked.asker.clone(),
        clerk: asked.clerk.clone(),
        via,
        purpose: asked.purpose,
        basis,
        subject_link: link,
        registry: context.registry.version,
    })
}

type Found = (PlanRecord, DisclosedRecord);

fn find(
    context: &Context,
    turn: &Turn<'_>,
    role: Role,
    asked: &Question,
    verdicts: &[FieldVerdict],
) -> Result<Vec<Found>, Halt> {
    let tag = context.own.naming.subject_tag(&asked.subject);
    let mut allowed: BTreeMap<&ItemId, Vec<(FieldId, Mode, RuleName)>> = BTreeMap::new();
    for (item, field, verdict) in verdicts {
        if let Verdict::Allow { rule, mode } = verdict {
            allowed.entry(item).or_default().push((*field, *mode, rule.clone()));
        }
    }
    let mut found = Vec::new();
    for (item, fields) in allowed {
        let prefix = Key::index_of(&tag, item);
        for (key, _) in turn.view().scan_prefix(Space::Row, prefix.as_bytes(), RECORDS_SCANNED_MAX)? {
            let Some(id) = key[prefix.as_bytes().len()..].try_into().ok().map(RecordId) else { continue };
            let Some(row) = turn.row::<RecordRow>(&Key::record(&id))?.filter(|row| !row.erased) else {
                continue;
            };
            let Some(sealed) = tables::payload(turn.view(), row.newest.slot)? else { continue };
            let authority = &sealed.facts.authority;
            let standing: Standing = turn.row(&Key::standing(authority, &id))?.unwrap_or_default();
            let own = *authority == context.own.id || !matches!(role, Role::Bank | Role::Platform);
            if !own || !standing.status().disclosable() {
                continue;
            }
            // A field the record has not is neither disclosed nor listed.
            let has = |field: FieldId| sealed.fields.iter().any(|f| f.field == field);
            let present = || fields.iter().filter(|(field, ..)| has(*field));
            if present().next().is_none() {
                continue;
            }
            let plan = PlanRecord {
                version: row.newest.index,
                slot: row.newest.slot,
                fields: present().map(|(field, mode, _)| PlanField(*field, *mode)).collect(),
            };
            let disclosed = DisclosedRecord {
                version: row.newest.index,
                record: id,
                disputed: standing.status() == Status::Disputed,
                fields: present()
                    .map(|(field, mode, rule)| DisclosedField {
                        field: *field,
                        mode: *mode,
                        rule: rule.clone(),
                    })
                    .collect(),
            };
            found.push((plan, disclosed));
        }
    }
    found.sort_by_key(|(plan, _): &Found| core::cmp::Reverse(plan.version));
    Ok(found)
}

/// Whether every record of a plan may still leave and its grant still stands.
fn still_allowed(
    context: &Context,
    turn: &Turn<'_>,
    plan: &Plan,
    grant: Option<&Verified<Grant>>,
) -> Result<bool, Halt> {
    for planned in &plan.records {
        // An erased record has no payload.
        let Some(sealed) = tables::payload(turn.view(), planned.slot)? else { return Ok(false) };
        let key = Key::standing(&sealed.facts.authority, &sealed.facts.record);
        let standing: Standing = turn.row(&key)?.unwrap_or_default();
        if !standing.status().disclosable() {
            return Ok(false);
        }
    }
    match grant {
        Some(grant) => {
            // The use that the retry is about is counted already: it may be the last one the grant allows.
            let (life, _) = grant::known(turn.view(), grant)?;
            let status = grant.get().status(&life, &Uses::default(), turn.now);
            let collector = context.registry.member(&grant.get().collector).is_ok();
            Ok(collector && status == GrantStatus::Active)
        }
        None => Ok(true),
    }
}
