//! Asking and answering: the asker's line, the outlet's line, and the decision of a collecting member.

use std::collections::BTreeMap;

use credit::{
    binding::Signer,
    catalog::Mode,
    entry::{
        Asked, AskedBy, Disclosed, DisclosedField, DisclosedRecord, Fact, Read, Received, Refused, Relayed,
        Withheld,
    },
    grant::{Grant, GrantStatus, Uses},
    id::{FieldId, ItemId, MemberId, QuestionId, RecordId},
    policy::{Asking, BasisFacts, Role, RuleName, Verdict},
    question::{Basis, CLOCK_SKEW_MS_MAX, DEADLINE_MS_MAX, Question},
    record::SealedRecord,
    status::{Standing, Status},
};
use crypto::{
    Digest,
    pseudonym::{SubjectLink, SubjectTag, subject_access_key, subject_link},
    secret::Secret,
    sign::Verified,
};
use ledger::store::Space;

use crate::{
    answer::{self, KnownNewest, Plan, PlanField, PlanRecord},
    check::{self, Judgement, Judging},
    context::Context,
    grant,
    kept::{self, AskedRow, Keep},
    limits::{ASK_AGAIN_MS_MAX, RECORDS_PER_ANSWER_MAX, RECORDS_SCANNED_MAX},
    logs::LogName,
    mandate, parts,
    refusal::{Code, Fault, Halt},
    step::{Reply, Token},
    tables::{self, Key, QuestionRow, RecordRow},
    turn::Turn,
    wire::{AskDraft, Response},
};

/// Signs a question and writes it into the asker's own access log before it leaves.
///
/// An id that was used before gets the same signed question, and no second entry: the question is made again from what
/// is asked and when it was asked first. What is asked must be the same: `question.reused`.
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
    let known = turn.row::<AskedRow>(&Key::asked(&id))?;
    let at = known.as_ref().map_or(turn.now, |row| row.at);
    let question = Question {
        id,
        asker: context.own.id.clone(),
        clerk: draft.clerk,
        purpose: draft.purpose,
        subject: draft.subject,
        wants: draft.wants,
        basis: draft.basis,
        asked_at: at,
        deadline: at.plus_ms(draft.wait_ms.min(DEADLINE_MS_MAX)),
        checks: draft.checks,
    };
    if let Some(why) = question.malformed() {
        return Halt::refuse(Code::QuestionMalformed, why);
    }
    let signed = context.sign(at, &question);
    let digest = signed.digest();
    if let Some(row) = known {
        if row.question != digest {
            return Halt::refuse(Code::QuestionReused, "");
        }
        turn.reply(token, Reply::ready(Response::Asked { question: signed, outlet }));
        return Ok(());
    }
    turn.put(&Key::asked(&id), &AskedRow { question: digest, at });
    let asked =
        Asked { question: digest, clerk: question.clerk, purpose: question.purpose, outlet: outlet.clone() };
    turn.append(context, LogName::Access, Fact::Asked(asked))?;
    turn.reply(token, Reply::ready(Response::Asked { question: signed, outlet }));
    Ok(())
}

/// Writes what the asker has received and verified: the mirror image of the answering members' entries, one line for each.
/// What an answer that is kept already holds was written before. One that lacks something of it is not taken, `node.busy`:
/// the two are to be put together first.
pub fn received(
    context: &Context,
    turn: &mut Turn<'_>,
    token: Token,
    lines: Vec<Received>,
    keep: Option<Keep>,
) -> Result<(), Halt> {
    let written = match keep {
        Some(keep) => kept::keep(turn, keep)?,
        None => Vec::new(),
    };
    for line in lines.into_iter().filter(|line| !written.contains(&line.from)) {
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
/// 4. Passed on before: it goes to the same members again, without a second line; for a while after the deadline too, for
///    the answer of a member that has decided it by then.
/// 5. The outlet's own line, then every collecting member is asked.
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
    let digest = question.signed().digest();
    let known = turn.row(&Key::relayed(&digest))?;
    timely(turn, question.get(), if known.is_some() { ASK_AGAIN_MS_MAX } else { 0 })?;
    // 4
    if let Some(to) = known {
        turn.reply(token, Reply::ready(Response::Relay(to)));
        return Ok(());
    }
    // 5
    let to = parts::asked_of(&context.registry, caller);
    let relayed = Relayed { question: digest, asker: caller.clone(), to: to.clone() };
    turn.append(context, LogName::Access, Fact::Relayed(relayed))?;
    turn.reply(token, Reply::ready(Response::Relay(to)));
    Ok(())
}

/// Decides a question about this member's own records.
///
/// 1. Sent by the outlet, or by a public platform itself, and signed by the asker: `caller.not-allowed`.
/// 2. Seen before: the same signed bytes get the same plan and no second entry, for a while after the deadline too: a refusal
///    always, else as long as nothing in it was repaired, revoked or paused since: `question.expired`. Other bytes under the
///    same id are refused: `question.reused`.
/// 3. Well-formed and in time: `question.malformed`, `question.expired`.
/// 4. One verdict per field and check, each naming its rule.
/// 5. None allowed: a `Refused` entry. It is written whether or not the subject exists here.
/// 6. Records that may be answered from: held by this member as their authority (a copy answers no third party,
///    上海市数据条例 art. 40), present, and disclosable by every status entry verified so far.
/// 7. What an entry commits to besides values, outcomes of checks and masked forms, must be known first: if it is not, or of
///    other records than there are now, it is found out, and nothing is written.
/// 8. A `Disclosed` entry, what the checks have spent, and the plan; the answer leaves after both are durable. With the last
///    question that its grant allows goes a status entry that says so.
pub fn answer(
    context: &Context,
    turn: &mut Turn<'_>,
    token: Token,
    caller: MemberId,
    question: &Verified<Question>,
    grant: Option<Verified<Grant>>,
    judged: Option<&Judgement>,
) -> Result<(), Halt> {
    // 1
    let asked = question.get();
    let role = context.registry.member(&asked.asker)?.stated.role;
    let through_outlet = context.registry.outlet().is_some_and(|o| o.id == caller);
    let direct = caller == asked.asker && role.mirrors_status();
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
        timely(turn, asked, ASK_AGAIN_MS_MAX)?;
        let plan = row.plan;
        if !refused_then(turn, &plan)? && !still_allowed(context, turn, &plan, grant.as_ref())? {
            let why = "what it was answered from has been repaired, revoked or paused since; ask anew";
            return Halt::refuse(Code::QuestionExpired, why);
        }
        let reply = match judged.filter(|judged| judged.checks == plan.checks) {
            Some(judged) => {
                let openings = judged.openings.clone();
                Reply::Answer(Box::new(Plan { openings, ..plan }))
            }
            None if plan.checks.is_empty() => Reply::Answer(Box::new(plan)),
            None => {
                let question = question.clone();
                let (checks, masks) = (plan.checks, Vec::new());
                Reply::Judge(Box::new(Judging { caller, question, grant, checks, masks }))
            }
        };
        turn.reply(token, reply);
        return Ok(());
    }
    // 3
    timely(turn, asked, 0)?;
    // 4
    let basis = basis(context, turn, asked, &digest, grant.as_ref())?;
    let (subject, at) = (Some(&asked.subject), turn.now);
    let asking = Asking { role, asker: &asked.asker, purpose: asked.purpose, subject, basis, at };
    let verdicts = verdicts(context, &asking, asked);
    let mut withheld: Vec<Withheld> = verdicts
        .iter()
        .filter_map(|(item, field, verdict)| match verdict {
            Verdict::Deny { rule } => {
                Some(Withheld { item: item.clone(), field: *field, rule: rule.clone(), check: None })
            }
            Verdict::Allow { .. } => None,
        })
        .collect();
    let ruled = check::rule(context, turn, &asking, asked)?;
    withheld.extend(ruled.withheld.iter().cloned());
    let via = through_outlet.then(|| caller.clone());
    // 5
    let refused = withheld.len() == verdicts.len() + asked.checks.len();
    let (records, checks, openings) = if refused {
        let asked = asked_by(context, turn, question, via)?;
        turn.append(context, LogName::Access, Fact::Refused(Refused { asked, withheld }))?;
        Default::default()
    } else {
        // 6
        let mut found = find(context, turn, role, asked, &verdicts)?;
        let more = found.len() > RECORDS_PER_ANSWER_MAX;
        found.truncate(RECORDS_PER_ANSWER_MAX);
        // 7
        let checks = check::plan(context, turn, role, asked, &ruled.allowed)?;
        let masks = check::masks(found.iter().map(|(plan, _)| plan));
        let none = Judgement::default();
        let judgement = judged.unwrap_or(&none);
        if judgement.checks != checks || judgement.masks != masks {
            let question = question.clone();
            turn.reply(token, Reply::Judge(Box::new(Judging { caller, question, grant, checks, masks })));
            return Ok(());
        }
        for (_, disclosed) in &mut found {
            judgement.commit(disclosed);
        }
        // 8
        ruled.charge(turn);
        check::remember(turn, &asked.asker, &judgement.openings);
        let (planned, records) = found.into_iter().unzip();
        let lines = check::lines(question, &ruled.allowed, judgement);
        let asked = asked_by(context, turn, question, via)?;
        let keep_days = grant.as_ref().map(|grant| grant.get().keep_days);
        let disclosed = Disclosed { asked, records, withheld, more, checks: lines, keep_days };
        turn.append(context, LogName::Access, Fact::Disclosed(disclosed))?;
        if let Some(grant) = &grant {
            grant::used(context, turn, grant, digest)?;
        }
        (planned, checks, judgement.openings.clone())
    };
    let index = turn.tail(LogName::Access).next - 1;
    let (asker, newest) = (asked.asker.clone(), KnownNewest::default());
    let plan = Plan { question: digest, asker, index, records, checks, openings, newest };
    let subject = mandate::sealed(context, question);
    turn.put(&Key::question(&asked.id), &QuestionRow { question: digest, plan: plan.clone(), subject });
    turn.reply(token, Reply::Answer(Box::new(plan)));
    Ok(())
}

/// Whether a question is well-formed and its time is not over by more than `grace_ms`.
fn timely(turn: &Turn<'_>, question: &Question, grace_ms: u64) -> Result<(), Halt> {
    if let Some(why) = question.malformed() {
        return Halt::refuse(Code::QuestionMalformed, why);
    }
    if turn.now > question.deadline.plus_ms(grace_ms) {
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

/// What the policy looks at of the question's basis.
fn basis<'a>(
    context: &Context,
    turn: &Turn<'_>,
    asked: &Question,
    digest: &Digest,
    grant: Option<&'a Verified<Grant>>,
) -> Result<BasisFacts<'a>, Halt> {
    Ok(match (&asked.basis, grant) {
        (Basis::Grant(signed), Some(grant)) if *signed == *grant.signed() => {
            let collector = &grant.get().collector;
            let signer = Signer::of(grant.signed().issuer());
            let collector_registered = signer.is_some_and(|signer| signer.collector() == collector)
                && context.registry.member(collector).is_ok_and(|m| m.stated.collector);
            let known = grant::known(context, turn.view(), grant, Some(digest), turn.now)?;
            let status = known.status(grant.get(), turn.now);
            BasisFacts::Grant { grant: grant.get(), status, collector_registered }
        }
        (Basis::Grant(_), _) => BasisFacts::UnknownCollector,
        (Basis::Duty(_), _) => BasisFacts::Duty,
        (Basis::Own(_), _) => BasisFacts::Own,
        (Basis::None, _) => BasisFacts::None,
    })
}

fn verdicts(context: &Context, asking: &Asking<'_>, asked: &Question) -> Vec<FieldVerdict> {
    let fields = asked.wants.iter().flat_map(|w| w.fields.iter().map(|f| (w.item.clone(), *f)));
    fields
        .map(|(item, field)| {
            let verdict = context.policy.decide(asking, &context.catalog, &item, field);
            (item, field, verdict)
        })
        .collect()
}

/// The next link of the subject with this tag and access key. A link that is taken (a restore may have lost the count) is
/// passed over.
pub(crate) fn next_link(
    turn: &mut Turn<'_>,
    tag: &SubjectTag,
    access_key: &Secret,
) -> Result<SubjectLink, Fault> {
    let mut n: u64 = turn.row(&Key::accesses(tag))?.unwrap_or(0);
    let link = loop {
        let link = subject_link(access_key, n);
        if turn.row::<u64>(&Key::link(&link))?.is_none() {
            break link;
        }
        n += 1;
    };
    turn.put(&Key::accesses(tag), &(n + 1));
    Ok(link)
}

/// Who asked, with the subject's next link.
fn asked_by(
    context: &Context,
    turn: &mut Turn<'_>,
    question: &Verified<Question>,
    via: Option<MemberId>,
) -> Result<AskedBy, Halt> {
    let asked = question.get();
    let tag = context.own.naming.subject_tag(&asked.subject);
    let access_key = subject_access_key(&context.own.access, asked.subject.as_str());
    let link = next_link(turn, &tag, &access_key)?;
    Ok(answer::asked_by(question, via, link, context.registry.version))
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
        usable(context, turn, role, &tag, item, |row, sealed, status| {
            // A field the record has not is neither disclosed nor listed. A record that has none of them is: who may read a
            // field may know that there is a record without it, and must not take it for none.
            let has = |field: FieldId| sealed.fields.iter().any(|f| f.field == field);
            let present = || fields.iter().filter(|(field, ..)| has(*field));
            let plan = PlanRecord {
                version: row.newest.index,
                slot: row.newest.slot,
                fields: present().map(|(field, mode, _)| PlanField(*field, *mode)).collect(),
            };
            let disclosed = DisclosedRecord {
                version: row.newest.index,
                record: sealed.facts.record,
                disputed: status == Status::Disputed,
                fields: present()
                    .map(|(field, mode, rule)| DisclosedField {
                        field: *field,
                        mode: *mode,
                        rule: rule.clone(),
                        mask: None,
                    })
                    .collect(),
            };
            found.push((plan, disclosed));
        })?;
    }
    found.sort_by_key(|(plan, _): &Found| core::cmp::Reverse(plan.version));
    Ok(found)
}

/// Calls `each` with every record of the subject under one item that may be used for an answer: present, disclosable, and
/// held as its authority where the asker is a third party.
pub(crate) fn usable(
    context: &Context,
    turn: &Turn<'_>,
    role: Role,
    tag: &SubjectTag,
    item: &ItemId,
    mut each: impl FnMut(&RecordRow, &SealedRecord, Status),
) -> Result<(), Halt> {
    let prefix = Key::index_of(tag, item);
    for (key, _) in turn.view().scan_prefix(Space::Row, prefix.as_bytes(), RECORDS_SCANNED_MAX)? {
        let Some(id) = key[prefix.as_bytes().len()..].try_into().ok().map(RecordId) else { continue };
        let Some(row) = turn.row::<RecordRow>(&Key::record(&id))?.filter(|row| !row.erased) else {
            continue;
        };
        let Some(sealed) = tables::payload(turn.view(), row.newest.slot)? else { continue };
        let authority = &sealed.facts.authority;
        let standing: Standing = turn.row(&Key::standing(authority, &id))?.unwrap_or_default();
        let own = *authority == context.own.id || !matches!(role, Role::Bank | Role::Platform);
        if own && standing.status().disclosable() {
            each(&row, &sealed, standing.status());
        }
    }
    Ok(())
}

/// Whether a question was refused as a whole: that stays the answer, whatever has become of its grant since.
fn refused_then(turn: &Turn<'_>, plan: &Plan) -> Result<bool, Halt> {
    if !plan.records.is_empty() || !plan.checks.is_empty() {
        return Ok(false);
    }
    let entry = LogName::Access.entry(turn.view(), plan.index)?;
    Ok(entry.is_some_and(|entry| matches!(entry.fact, Fact::Refused(_))))
}

/// Whether every record of a plan may still leave and its grant still stands.
fn still_allowed(
    context: &Context,
    turn: &Turn<'_>,
    plan: &Plan,
    grant: Option<&Verified<Grant>>,
) -> Result<bool, Halt> {
    let judged_on = plan.checks.iter().flat_map(|check| &check.versions).map(|version| version.slot);
    for slot in plan.records.iter().map(|planned| planned.slot).chain(judged_on) {
        // An erased record has no payload.
        let Some(sealed) = tables::payload(turn.view(), slot)? else { return Ok(false) };
        let key = Key::standing(&sealed.facts.authority, &sealed.facts.record);
        let standing: Standing = turn.row(&key)?.unwrap_or_default();
        if !standing.status().disclosable() {
            return Ok(false);
        }
    }
    match grant {
        Some(grant) => {
            // The use that the retry is about is counted already: it may be the last one the grant allows.
            let life = grant::known(context, turn.view(), grant, None, turn.now)?.life;
            let status = grant.get().status(&life, &Uses::default(), turn.now);
            let collector = context.registry.member(&grant.get().collector).is_ok();
            Ok(collector && status == GrantStatus::Active)
        }
        None => Ok(true),
    }
}
