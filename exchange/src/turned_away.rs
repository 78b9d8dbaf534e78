//! Questions that end with a code and no verdict, on record: who asked, who brought it, why, and how often.
//!
//! Whoever is a member and has signed a question that reached this member leaves a line, and cannot fill the log with them:
//! there is one for each sender, asker and code in [`TURNED_AWAY_MS`], with the number of questions that it stands for. What is
//! not written yet is counted in memory, and written at the next one or with the tick that follows the time; a process that is
//! killed loses the count, not the line before it.

use std::collections::BTreeMap;

use credit::{
    entry::{Fact, TurnedAway},
    id::MemberId,
};
use crypto::{Digest, Timestamp, sign::Verified};

use crate::{
    context::Context,
    limits::TURNED_AWAY_MS,
    logs::LogName,
    member::Input,
    refusal::{Code, Halt, Refusal},
    turn::Turn,
};

/// The codes that say something about the question, or about who asked it. The others are about this member (it is starting,
/// or was sent too much by everybody) or about who is frozen, of whom nothing is accepted.
const CODES: [Code; 8] = [
    Code::CallerNotAllowed,
    Code::OutletOnly,
    Code::QuestionMalformed,
    Code::QuestionExpired,
    Code::QuestionReused,
    Code::SignatureInvalid,
    Code::GrantInvalid,
    Code::Busy,
];

/// A question whose asker's signature holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// Who sent it: the asker, or the outlet.
    pub caller: MemberId,
    /// Who signed it.
    pub asker: MemberId,
    /// Its digest.
    pub question: Digest,
}

impl Signed {
    /// What is needed of a question to turn it away.
    pub fn of(caller: &MemberId, question: &Verified<credit::question::Question>) -> Option<Self> {
        let signed = question.signed();
        let asker = MemberId::parse(signed.issuer())?;
        Some(Self { caller: caller.clone(), asker, question: signed.digest() })
    }

    /// The question that an input carries.
    pub(crate) fn in_input(input: &Input) -> Option<Self> {
        match input {
            Input::Question { caller, question, .. } | Input::Relay { caller, question } => {
                Self::of(caller, question)
            }
            Input::TurnedAway { question, .. } => Some(question.clone()),
            _ => None,
        }
    }
}

/// What was turned away in the last time.
#[derive(Debug, Default)]
pub(crate) struct Refusals(BTreeMap<(MemberId, MemberId, Code), Window>);

/// Since the last line of its kind.
#[derive(Clone, Copy, Debug)]
struct Window {
    since: Timestamp,
    /// Questions that are in no line yet, and the newest of them.
    more: u64,
    newest: Digest,
}

impl Window {
    fn over(&self, now: Timestamp) -> bool {
        now >= self.since.plus_ms(TURNED_AWAY_MS)
    }
}

impl Refusals {
    /// Counts a question, and writes a line unless there was one of its kind a short while ago. `count` questions have come to it.
    pub(crate) fn note(
        &mut self,
        context: &Context,
        turn: &mut Turn<'_>,
        question: &Signed,
        refusal: &Refusal,
        count: u64,
    ) -> Result<(), Halt> {
        let Some(code) = refusal.known().filter(|code| CODES.contains(code)) else { return Ok(()) };
        let key = (question.caller.clone(), question.asker.clone(), code);
        let known = self.0.get_mut(&key);
        if let Some(window) = known
            && !window.over(turn.now)
        {
            window.more += count;
            window.newest = question.question;
            return Ok(());
        }
        let more = self.0.get(&key).map_or(0, |window| window.more);
        append(context, turn, &key, question.question, more + count)?;
        self.0.insert(key, Window { since: turn.now, more: 0, newest: question.question });
        Ok(())
    }

    /// Writes what has been counted for long enough, and forgets who has stopped.
    pub(crate) fn due(&mut self, context: &Context, turn: &mut Turn<'_>) -> Result<(), Halt> {
        let now = turn.now;
        self.0.retain(|_, window| window.more > 0 || !window.over(now));
        for (key, window) in self.0.iter_mut().filter(|(_, window)| window.over(now)) {
            append(context, turn, key, window.newest, window.more)?;
            *window = Window { since: now, more: 0, ..*window };
        }
        Ok(())
    }
}

fn append(
    context: &Context,
    turn: &mut Turn<'_>,
    (caller, asker, code): &(MemberId, MemberId, Code),
    question: Digest,
    count: u64,
) -> Result<(), Halt> {
    let line = TurnedAway {
        question,
        asker: asker.clone(),
        caller: caller.clone(),
        code: code.as_str().to_owned(),
        count,
    };
    turn.append(context, LogName::Access, Fact::TurnedAway(line))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use credit::{
        catalog::Purpose,
        entry::Entry,
        id::{ClerkId, FieldId, ItemId, QuestionId},
        question::{Basis, Question, Want},
        subject::uscc_from_parts,
    };
    use ledger::{log, tree::LeafIndex};

    use super::*;
    use crate::tests::{Place, contexts, id};

    /// A question that `asker` signed when the world began, brought by `caller`.
    fn question(asker: &Context, caller: &str, number: u8) -> Input {
        let question = Question {
            id: QuestionId([number; 16]),
            asker: asker.own.id.clone(),
            clerk: ClerkId::parse("clerk-1").unwrap(),
            purpose: Purpose::Administration,
            subject: uscc_from_parts("91", "320505", 1).unwrap(),
            wants: vec![Want { item: ItemId::parse("CF").unwrap(), fields: vec![FieldId(14)] }],
            basis: Basis::Duty("a law".into()),
            asked_at: Timestamp(1),
            deadline: Timestamp(2),
            checks: Vec::new(),
        };
        let signed = asker.sign(Timestamp(1), &question);
        let question = asker.registry.verify(&signed).unwrap();
        Input::Question { caller: id(caller), question, grant: None, judged: None }
    }

    /// Sender, code and number of each line in the member's access log.
    fn lines(place: &Place) -> Vec<(String, String, u64)> {
        let count = log::size(&place.store, "access").unwrap().0 as usize;
        let entries = log::entries(&place.store, "access", LeafIndex(0), count).unwrap();
        let facts = entries.iter().map(|bytes| Entry::from_bytes(bytes).unwrap().fact);
        facts
            .map(|fact| match fact {
                Fact::TurnedAway(line) => (line.caller.to_string(), line.code, line.count),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    fn line(caller: &str, code: &str, count: u64) -> (String, String, u64) {
        (caller.into(), code.into(), count)
    }

    #[test]
    fn many_questions_that_are_too_late_leave_a_line_at_once_and_one_a_minute() {
        let contexts = contexts(3);
        let mut place = Place::new(contexts[0].clone());
        for number in 0..10 {
            place.told(question(&contexts[1], "m001", number));
        }
        assert_eq!(lines(&place), [line("m001", "question.expired", 1)]);
        // Each step takes a second; the rest comes with the tick after the minute, and then nothing more.
        for _ in 0..140 {
            place.told(Input::Tick);
        }
        let both = [line("m001", "question.expired", 1), line("m001", "question.expired", 9)];
        assert_eq!(lines(&place), both);
        // Who comes again later counts from there.
        place.told(question(&contexts[1], "m001", 11));
        assert_eq!(lines(&place).len(), 3);
    }

    #[test]
    fn who_brings_a_question_that_is_not_its_own_is_named_beside_its_asker() {
        let contexts = contexts(3);
        let mut place = Place::new(contexts[0].clone());
        place.told(question(&contexts[1], "m002", 1));
        place.told(question(&contexts[2], "m002", 2));
        assert_eq!(
            lines(&place),
            [line("m002", "caller.not-allowed", 1), line("m002", "caller.not-allowed", 1)]
        );
    }

    #[test]
    fn what_was_refused_before_it_came_here_leaves_its_number_and_what_is_no_question_nothing() {
        let contexts = contexts(3);
        let mut place = Place::new(contexts[0].clone());
        let about = Signed { caller: id("m002"), asker: id("m002"), question: Digest::of(b"example") };
        let busy = |count| Input::TurnedAway {
            question: about.clone(),
            refusal: Refusal::new(Code::Busy, "too many"),
            count,
        };
        place.told(busy(700));
        place.told(busy(300));
        place.told(Input::AssignCase {
            case: credit::id::CaseId([0; 16]),
            clerk: ClerkId::parse("c").unwrap(),
        });
        let starting = Input::TurnedAway {
            question: about.clone(),
            refusal: Refusal::new(Code::MemberStarting, ""),
            count: 1,
        };
        place.told(starting);
        assert_eq!(lines(&place), [line("m002", "node.busy", 700)]);
    }
}
