//! An asker's access log laid beside a member's, and beside the outlet's: every access must stand on both sides, with the
//! same entry and in the same words. The logs were verified before.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use ::node::Problem;
use credit::{
    entry::{Asked, AskedBy, Disclosed, Entry, Fact, Received},
    id::MemberId,
    policy::Role,
};
use crypto::Digest;
use exchange::{logs::LogName, registry::Registry};
use ledger::{audit::LogSource, checkpoint::SignedCheckpoint};
use serde_json::{Value, json};

use crate::{
    cmd::{bundle, bundle::Provable, new_file::directory, verify},
    fetch::Exported,
    output::Output,
};

/// One log: whose, and its entries with their leaf hashes.
pub(crate) type Side = (MemberId, Vec<(u64, Digest, Entry)>);

/// Reads an exported access log, and believes none of it before all of it was verified: checkpoint, tiles, chain and
/// statements.
///
/// Errors: what does not hold, with the directory and the place in it.
pub(crate) fn side(dir: &Path, registry: &Registry) -> Result<Side, Problem> {
    let verified = verify::log(&Exported::open(dir)?, registry).map_err(|problem| {
        let what = format!("{}: {}", dir.display(), problem.what);
        Problem::new(
            what,
            "export the log again, and do not rely on this copy",
            "请重新导出日志，勿采信此副本",
        )
    })?;
    if verified.log != LogName::Access {
        return Err(Problem::new(
            format!("{} is no access log", dir.display()),
            "give the directory that `audit export --log access` has written",
            "请给出 audit export --log access 导出的目录",
        ));
    }
    Ok((verified.member, verified.entries))
}

/// Two logs laid beside each other: by question, the entry of each. An asker's line names the member's entry.
#[derive(Default)]
struct Compared {
    equal: usize,
    /// Question and index in the asker's log.
    only_asker: Vec<(Digest, u64)>,
    /// Question and index in the member's log.
    only_member: Vec<(Digest, u64)>,
    /// Question and index in either log: the asker's line names another entry than the member's log has.
    differing: Vec<(Digest, u64, u64)>,
    /// Where both hold the access, and say different things of it.
    words: Vec<Words>,
}

/// One thing of which two lines about one access say different things.
struct Words {
    question: Digest,
    asker_entry: u64,
    member_entry: u64,
    what: &'static str,
    asker: String,
    member: String,
}

/// What an asker's log has about one question.
#[derive(Default)]
struct Own<'a> {
    asked: Option<(u64, &'a Asked)>,
    received: BTreeMap<&'a MemberId, (u64, &'a Received)>,
}

fn own(asker: &Side) -> BTreeMap<Digest, Own<'_>> {
    let mut questions: BTreeMap<Digest, Own<'_>> = BTreeMap::new();
    for (index, _, entry) in &asker.1 {
        match &entry.fact {
            Fact::Asked(asked) => questions.entry(asked.question).or_default().asked = Some((*index, asked)),
            Fact::Received(received) => {
                let of = &mut questions.entry(received.question).or_default().received;
                of.insert(&received.from, (*index, received));
            }
            _ => {}
        }
    }
    questions
}

fn compare(asker: &Side, member: &Side) -> Compared {
    let questions = own(asker);
    let mut left: BTreeMap<Digest, u64> = questions
        .iter()
        .filter_map(|(question, own)| Some((*question, own.received.get(&member.0)?.0)))
        .collect();
    let mut compared = Compared::default();
    for (index, leaf, entry) in &member.1 {
        let Some(by) = entry.fact.asked_by().filter(|by| by.asker == asker.0) else { continue };
        let own = questions.get(&by.question);
        left.remove(&by.question);
        let mut differ = |asker_entry, what, asker: &str, member: &str| {
            if asker != member {
                let (asker, member) = (asker.to_owned(), member.to_owned());
                let (question, member_entry) = (by.question, *index);
                compared.words.push(Words { question, asker_entry, member_entry, what, asker, member });
            }
        };
        if let Some((at, asked)) = own.and_then(|own| own.asked) {
            differ(at, "clerk", asked.clerk.as_str(), by.clerk.as_str());
            differ(at, "purpose", asked.purpose.as_str(), by.purpose.as_str());
            differ(at, "outlet", asked.outlet.as_str(), by.via.as_ref().map_or("", MemberId::as_str));
        }
        match own.and_then(|own| own.received.get(&member.0)) {
            Some((at, received)) => {
                let list = |records: Vec<String>| records.join(" ");
                let named = match &entry.fact {
                    Fact::Disclosed(Disclosed { records, .. }) => {
                        records.iter().map(|r| r.record.to_string()).collect()
                    }
                    _ => Vec::new(),
                };
                let got = received.records.iter().map(ToString::to_string).collect();
                differ(*at, "records", &list(got), &list(named));
                match (received.index, received.leaf) == (*index, *leaf) {
                    true => compared.equal += 1,
                    false => compared.differing.push((by.question, *at, *index)),
                }
            }
            None => compared.only_member.push((by.question, *index)),
        }
    }
    compared.only_asker = left.into_iter().collect();
    compared
}

/// Lays an asker's log beside a member's, and beside the outlet's where that is given.
///
/// Errors: who is said to be the member does not answer by the registry, or the outlet is none; two of the logs are one
/// member's; nothing was compared, because no log holds an access of this asker at this member.
pub(crate) fn cross_check(
    asker: &Side,
    member: &Side,
    outlet: Option<&Side>,
    registry: &Registry,
) -> Result<Output, Problem> {
    roles(asker, member, outlet, registry)?;
    let (mut output, mut compared) = lay(asker, member);
    if let Some(outlet) = outlet {
        compared += against_outlet(&mut output, asker, member, outlet);
    }
    if compared == 0 {
        return Err(Problem::new(
            format!("nothing was compared: neither log holds an access of `{}` at `{}`", asker.0, member.0),
            "give the access logs of an asker and of a member that has answered it, exported after the questions",
            "未比对任何访问：请提供查询方与应答成员在查询之后导出的访问日志",
        ));
    }
    Ok(output)
}

/// Whether each log is of a member that can have this part.
fn roles(asker: &Side, member: &Side, outlet: Option<&Side>, registry: &Registry) -> Result<(), Problem> {
    // A suspended member has a role, too: its log says what was before.
    let role = |side: &Side| {
        let entry = registry.members.iter().find(|entry| entry.stated.id == side.0);
        entry.map(|entry| entry.stated.role)
    };
    let wrong = |option: &str, side: &Side, why: &str| {
        Err(Problem::new(
            format!("{option} is the log of `{}`, {why}", side.0),
            "give --asker the log of who asked, --member that of who answered, --outlet that of the federation's outlet",
            "--asker 为查询方日志，--member 为应答成员日志，--outlet 为数据出口日志",
        ))
    };
    if !role(member).is_some_and(Role::collects) {
        return wrong("--member", member, "which collects no records and answers nobody");
    }
    if asker.0 == member.0 {
        return wrong("--asker", asker, "and so is --member");
    }
    if role(asker) == Some(Role::Auditor) {
        return wrong("--asker", asker, "an auditor, which asks no questions about subjects");
    }
    match outlet {
        Some(outlet) if role(outlet) != Some(Role::Platform) => {
            wrong("--outlet", outlet, "which is no outlet by the registry")
        }
        Some(outlet) if outlet.0 == asker.0 => wrong("--outlet", outlet, "and so is --asker"),
        _ => Ok(()),
    }
}

/// Lays an asker's log beside a member's: every access must stand on both sides, with the same entry and words. A question
/// that nobody has answered is named. Gives also how many accesses were looked at.
fn lay(asker: &Side, member: &Side) -> (Output, usize) {
    let Compared { equal, only_asker, only_member, differing, words } = compare(asker, member);
    let looked_at = only_asker.len() + only_member.len() + differing.len() + equal;
    let questions = own(asker);
    let unanswered: Vec<(Digest, u64)> = questions
        .iter()
        .filter(|(_, own)| own.received.is_empty())
        .filter_map(|(question, own)| Some((*question, own.asked?.0)))
        .collect();
    let ok = only_asker.is_empty() && only_member.is_empty() && differing.is_empty() && words.is_empty();
    let mut text = format!(
        "`{}` and `{}`: {equal} accesses stand equal on both sides; only the asker has {}, only the member {}, different {}, in other words {} / {}",
        asker.0,
        member.0,
        only_asker.len(),
        only_member.len(),
        differing.len(),
        words.len(),
        if ok { "双方一致" } else { "双方不一致" }
    );
    for Words { question, asker_entry, member_entry, what, asker, member } in &words {
        text.push_str(&format!(
            "\n  question {question}: {what} is `{asker}` in the asker's entry {asker_entry}, and `{member}` in the member's entry {member_entry} / 两侧记载不同"
        ));
    }
    for (question, entry) in &unanswered {
        text.push_str(&format!(
            "\n  question {question}, the asker's entry {entry}: nobody's answer stands in its log / 无任何成员的回答"
        ));
    }
    let named = |found: &[(Digest, u64)]| -> Vec<Value> {
        found.iter().map(|(q, entry)| json!({ "question": q.to_string(), "entry": entry })).collect()
    };
    let differing: Vec<Value> = differing
        .iter()
        .map(|(q, a, m)| json!({ "question": q.to_string(), "asker_entry": a, "member_entry": m }))
        .collect();
    let words: Vec<Value> = words
        .iter()
        .map(|w| {
            json!({ "question": w.question.to_string(), "asker_entry": w.asker_entry, "member_entry": w.member_entry,
                    "what": w.what, "asker": w.asker, "member": w.member })
        })
        .collect();
    let value = json!({
        "asker": asker.0.as_str(), "member": member.0.as_str(), "equal": equal, "only_asker": named(&only_asker),
        "only_member": named(&only_member), "differing": differing, "words": words, "unanswered": named(&unanswered),
        "ok": ok,
    });
    (Output::judged(value, text, ok), looked_at)
}

/// Adds what the outlet's log says of the asker's questions: whom it passed each on to of whom the asker has nothing,
/// questions that only one of the two logs has, and those that the member says came through the outlet and its log has not.
/// Gives how many questions were looked at.
fn against_outlet(output: &mut Output, asker: &Side, member: &Side, outlet: &Side) -> usize {
    let questions = own(asker);
    let (mut relayed, mut unheard, mut unasked) = (BTreeSet::new(), Vec::new(), Vec::new());
    for (index, _, entry) in &outlet.1 {
        let Fact::Relayed(said) = &entry.fact else { continue };
        if said.asker != asker.0 {
            continue;
        }
        relayed.insert(said.question);
        let Some(own) = questions.get(&said.question).filter(|own| own.asked.is_some()) else {
            unasked.push((said.question, *index));
            continue;
        };
        for to in said.to.iter().filter(|to| !own.received.contains_key(to)) {
            unheard.push(
                json!({ "question": said.question.to_string(), "entry": index, "member": to.as_str() }),
            );
            output.text.push_str(&format!(
                "\n  question {}: passed on to `{to}`, of whom the asker has nothing / 已转送该成员，查询方无其回答",
                said.question
            ));
        }
    }
    let unrelayed: Vec<(Digest, u64)> = questions
        .iter()
        .filter(|(question, _)| !relayed.contains(question))
        .filter_map(|(question, own)| {
            let (index, asked) = own.asked?;
            (asked.outlet == outlet.0).then_some((*question, index))
        })
        .collect();
    let through = |by: &&AskedBy| by.asker == asker.0 && by.via.as_ref() == Some(&outlet.0);
    let unlogged: Vec<(Digest, u64)> = member
        .1
        .iter()
        .filter_map(|(index, _, entry)| Some((entry.fact.asked_by().filter(through)?.question, *index)))
        .filter(|(question, _)| !relayed.contains(question))
        .collect();
    output.text.push_str(&format!(
        "\n  outlet `{}`: {} questions passed on; {} that the asker's log has not, {} that only the asker's log has",
        outlet.0,
        relayed.len(),
        unasked.len(),
        unrelayed.len()
    ));
    for (question, entry) in &unlogged {
        output.text.push_str(&format!(
            "\n  question {question}: came through the outlet by the member's entry {entry}, and the outlet's log has it not / 成员记载经该出口转送，出口日志无此条"
        ));
    }
    let named = |found: &[(Digest, u64)]| -> Vec<Value> {
        found.iter().map(|(q, entry)| json!({ "question": q.to_string(), "entry": entry })).collect()
    };
    output.json["outlet"] = json!({
        "member": outlet.0.as_str(), "unheard": unheard, "unasked": named(&unasked), "unrelayed": named(&unrelayed),
        "unlogged": named(&unlogged),
    });
    // The asker writes its line before a question leaves, and the outlet before it passes it on: what another log has and
    // these have not was hidden. A question that only the asker has may never have left.
    let ok = unasked.is_empty() && unlogged.is_empty();
    if !ok {
        output.text.push_str("\n  the outlet's log does not agree / 与出口日志不一致");
    }
    output.ok &= ok;
    output.json["ok"] = json!(output.ok);
    relayed.len() + unrelayed.len() + unlogged.len()
}

/// A file for each access that the two logs do not hold alike, beside the index of its entry; `None` where none can be made.
pub(crate) type Files = Vec<(u64, Option<PathBuf>)>;

/// Writes them. What two lines say in other words needs none: both logs hold it.
pub(crate) fn discrepancies(
    (asker, a): (&Side, &Path),
    (member, m): (&Side, &Path),
    out: &Path,
) -> Result<Files, Problem> {
    let provable = |dir: &Path, side: &'_ Side| -> Result<SignedCheckpoint, Problem> {
        let note = SignedCheckpoint::parse(&Exported::open(dir)?.checkpoint());
        note.map_err(|e| Problem::fault(format!("checkpoint of `{}`: {e}", side.0)))
    };
    let asking = Provable { member: &asker.0, entries: &asker.1, checkpoint: provable(a, asker)? };
    let answering = Provable { member: &member.0, entries: &member.1, checkpoint: provable(m, member)? };
    directory(out)?;
    let Compared { only_asker, only_member, differing, .. } = compare(asker, member);
    let mut files = Vec::new();
    for index in only_asker.iter().map(|(_, index)| *index).chain(differing.iter().map(|(_, own, _)| *own)) {
        files.push((index, bundle::discrepancy(&asking, index, &answering, out)?));
    }
    for (_, index) in only_member {
        files.push((index, bundle::discrepancy(&answering, index, &asking, out)?));
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use credit::{
        catalog::Purpose,
        entry::{BasisRef, Refused, Relayed},
        id::{ClerkId, QuestionId, RecordId},
    };
    use crypto::{Timestamp, pseudonym::SubjectLink};

    use super::*;

    fn id(text: &str) -> MemberId {
        MemberId::parse(text).unwrap()
    }

    fn side(member: &str, facts: Vec<Fact>) -> Side {
        let entry = |fact| Entry { prev: Digest::ZERO, at: Timestamp(0), fact };
        let entries = (0u64..).zip(facts).map(|(n, fact)| (n, Digest::of(&[n as u8]), entry(fact)));
        (id(member), entries.collect())
    }

    fn question(n: u8) -> Digest {
        Digest([n; 32])
    }

    fn asked(n: u8) -> Fact {
        let (clerk, outlet) = (ClerkId::parse("wang").unwrap(), id("xyd"));
        Fact::Asked(Asked { question: question(n), clerk, purpose: Purpose::LoanReview, outlet })
    }

    fn received(n: u8, from: &str, index: u64, records: Vec<RecordId>) -> Fact {
        let leaf = Digest::of(&[index as u8]);
        Fact::Received(Received { question: question(n), from: id(from), index, leaf, records })
    }

    fn refused(n: u8, change: impl FnOnce(&mut AskedBy)) -> Fact {
        let mut asked = AskedBy {
            id: QuestionId([n; 16]),
            question: question(n),
            signature: vec![0; 64].into(),
            asker: id("bank"),
            clerk: ClerkId::parse("wang").unwrap(),
            via: Some(id("xyd")),
            purpose: Purpose::LoanReview,
            basis: BasisRef::None,
            subject_link: SubjectLink([n; 32]),
            registry: 1,
        };
        change(&mut asked);
        Fact::Refused(Refused { asked, withheld: Vec::new() })
    }

    #[test]
    fn two_lines_about_one_access_must_say_the_same_in_every_word() {
        let bank = side("bank", vec![asked(1), received(1, "sh", 0, Vec::new())]);
        let told = |fact| {
            let (value, _) = lay(&bank, &side("sh", vec![fact]));
            let words = value.json["words"].as_array().unwrap().iter();
            let words: Vec<String> = words.map(|w| w["what"].as_str().unwrap().to_owned()).collect();
            (value.ok, value.json["equal"].as_u64(), words)
        };
        assert_eq!(told(refused(1, |_| {})), (true, Some(1), Vec::new()));
        for (what, fact) in [
            ("clerk", refused(1, |asked| asked.clerk = ClerkId::parse("li").unwrap())),
            ("purpose", refused(1, |asked| asked.purpose = Purpose::Administration)),
            ("outlet", refused(1, |asked| asked.via = Some(id("js")))),
            ("outlet", refused(1, |asked| asked.via = None)),
        ] {
            assert_eq!(told(fact), (false, Some(1), vec![what.to_owned()]));
        }
        // The asker says that it got a record, and the member that it refused.
        let bank = side("bank", vec![asked(1), received(1, "sh", 0, vec![RecordId([1; 32])])]);
        let (found, _) = lay(&bank, &side("sh", vec![refused(1, |_| {})]));
        assert_eq!((found.ok, &found.json["words"][0]["what"]), (false, &json!("records")));
    }

    #[test]
    fn a_question_without_an_answer_and_who_was_not_heard_are_named() {
        let bank = side("bank", vec![asked(1), received(1, "sh", 0, Vec::new()), asked(2), asked(3)]);
        let sh = side("sh", vec![refused(1, |_| {})]);
        let (mut found, looked_at) = lay(&bank, &sh);
        assert_eq!(looked_at, 1);
        let unanswered = found.json["unanswered"].as_array().unwrap().iter();
        assert_eq!(unanswered.map(|u| u["entry"].as_u64().unwrap()).collect::<Vec<_>>(), [2, 3]);
        let relayed = |n| {
            let to = vec![id("js"), id("sh")];
            Fact::Relayed(Relayed { question: question(n), asker: id("bank"), to })
        };
        assert_eq!(against_outlet(&mut found, &bank, &sh, &side("xyd", vec![relayed(1), relayed(2)])), 3);
        let outlet = &found.json["outlet"];
        let unheard = outlet["unheard"].as_array().unwrap().iter();
        let unheard: Vec<_> = unheard.map(|u| (&u["question"], u["member"].as_str().unwrap())).collect();
        let [one, two] = [1, 2].map(|n| json!(question(n).to_string()));
        assert_eq!(unheard, [(&one, "js"), (&two, "js"), (&two, "sh")]);
        assert_eq!((outlet["unrelayed"][0]["entry"].as_u64(), found.ok), (Some(3), true));
        // A question that the asker's log does not hold.
        let outlet = |found: &mut Output, facts| {
            against_outlet(found, &bank, &sh, &side("xyd", facts));
            let count = |key: &str| found.json["outlet"][key].as_array().unwrap().len();
            (count("unasked"), count("unlogged"), found.ok)
        };
        assert_eq!(outlet(&mut lay(&bank, &sh).0, vec![relayed(1), relayed(9)]), (1, 0, false));
        // One that the member says came through the outlet, of which the outlet's log knows nothing.
        assert_eq!(outlet(&mut lay(&bank, &sh).0, vec![relayed(2)]), (0, 1, false));
    }
}
