//! What an asker makes of answers when the outlet, or an answering member, lies: whatever is left out, given twice, passed
//! off as another's, invented, late or changed in any byte is found, and the answer is not taken for a complete one.

#![allow(clippy::unwrap_used, reason = "a test; what fails here fails the test")]

mod world;

use std::collections::BTreeSet;

use credit::{
    catalog::Purpose,
    entry::{AskedBy, BasisRef, Disclosed, Entry, Fact, Withheld},
    id::{ClerkId, FieldId, MemberId, QuestionId},
    policy::RuleName,
    question::{CLOCK_SKEW_MS_MAX, Question},
};
use crypto::{Digest, Timestamp, codec, merkle::leaf_hash, sign::Verified};
use exchange::{
    answer::{self, Answer},
    logs::LogName,
    parts::{self, Said},
    receipt::Receipt,
    refusal::{Code, Refusal},
    wire::{OpenedPart, Outcome, Part},
};
use ledger::{checkpoint::Checkpoint, note, tree::TreeSize};
use world::{BANK, JS, OUTLET, Penalty, SH, World, at};

/// A federation in which `sh` holds a penalty, and `js` nothing.
fn world() -> World {
    let mut world = World::new(at("2026-09-01", 9));
    world.collect(SH, &Penalty::general("G-1", "2026-04-10"));
    world
}

/// A question, and both members' parts as an honest outlet gives them.
fn parts_of(world: &mut World, number: u8) -> (Verified<Question>, Vec<Part>) {
    let question = world.asked(number, ("CF", &[14, 23]), &["CF:none-since=2026-01-01"]);
    let mut parts = [SH, JS].map(|at| {
        let answer = world.answered(at, &question);
        Part { member: answer.member.clone(), outcome: Outcome::Answered(Box::new(answer)) }
    });
    parts.sort_by(|a, b| a.member.cmp(&b.member));
    (question, parts.to_vec())
}

/// What the bank makes of them.
fn open(world: &World, question: &Verified<Question>, parts: &[Part]) -> Vec<OpenedPart> {
    let bank = &world.nodes[BANK];
    let registry = &bank.context.registry;
    let asked_of = parts::asked_of(registry, &bank.id);
    parts::open(registry, question, &bank.opening, (&asked_of, &BTreeSet::new()), parts)
}

fn id(text: &str) -> MemberId {
    MemberId::parse(text).unwrap()
}

fn said(opened: &[OpenedPart]) -> Vec<(&str, Said)> {
    opened.iter().map(|part| (part.member.as_str(), part.said())).collect()
}

#[test]
fn an_outlet_that_is_honest_gives_a_complete_answer() {
    let mut world = world();
    let (question, parts) = parts_of(&mut world, 1);
    let opened = open(&world, &question, &parts);
    assert_eq!(said(&opened), [("js", Said::Answered), ("sh", Said::Answered)]);
    assert!(parts::complete(&opened));
    // More records than one answer holds are not all of them.
    let mut more = opened;
    more[0].answer.as_mut().unwrap().more = true;
    assert!(parts::decided(&more) && !parts::complete(&more));
}

#[test]
fn an_outlet_can_neither_drop_nor_double_nor_swap_nor_invent_a_part() {
    let mut world = world();
    let (question, parts) = parts_of(&mut world, 1);
    let (_, others) = parts_of(&mut world, 2);
    let [js, sh] = &parts[..] else { panic!("two parts") };
    let named = |member: &str, of: &Part| Part { member: id(member), outcome: of.outcome.clone() };
    let refused = |code| {
        let refusal = Refusal::new(code, "says the outlet");
        Part { member: id("sh"), outcome: Outcome::Denied(refusal) }
    };
    let unreachable = Part { member: id("sh"), outcome: Outcome::Unreachable };
    let stranger = named("zj", js);
    let lies: [(&str, Vec<Part>, Said); 10] = [
        ("drops one", vec![js.clone()], Said::Unreachable),
        ("drops all", vec![], Said::Unreachable),
        ("doubles one", vec![js.clone(), sh.clone(), sh.clone()], Said::Invalid),
        ("swaps two", vec![named("js", sh), named("sh", js)], Said::Invalid),
        ("passes one off for two", vec![js.clone(), named("sh", js)], Said::Invalid),
        ("gives an answer to another question", vec![js.clone(), others[1].clone()], Said::Invalid),
        ("says that it refused", vec![js.clone(), refused(Code::CallerNotAllowed)], Said::Unproven),
        ("says that the question is over", vec![js.clone(), refused(Code::QuestionExpired)], Said::Unproven),
        ("says that it is busy", vec![js.clone(), refused(Code::Busy)], Said::Unreachable),
        ("says that it is away", vec![js.clone(), unreachable], Said::Unreachable),
    ];
    for (lie, parts, found) in lies {
        let opened = open(&world, &question, &parts);
        assert_eq!(said(&opened)[1], ("sh", found), "{lie}");
        assert!(!parts::decided(&opened) && !parts::complete(&opened), "{lie}");
    }
    let opened = open(&world, &question, &[]);
    let code = |part: &OpenedPart| part.problem.as_ref().and_then(Refusal::known);
    assert!(opened.iter().all(|part| code(part) == Some(Code::PartMissing)));
    // Whoever was not to be asked says nothing, and is shown.
    let opened = open(&world, &question, &[js.clone(), sh.clone(), stranger]);
    assert_eq!(said(&opened)[2], ("zj", Said::Invalid));
    assert!(!parts::complete(&opened));
}

#[test]
fn no_changed_byte_of_an_answer_goes_unnoticed() {
    let mut world = world();
    let (question, answered) = parts_of(&mut world, 1);
    let mut unsealed = |number: u8, wants: (&str, &[u16])| {
        let question = world.asked(number, wants, &[]);
        let parts = [JS, SH].map(|at| {
            let answer = world.answered(at, &question);
            Part { member: answer.member.clone(), outcome: Outcome::Answered(Box::new(answer)) }
        });
        (question, parts)
    };
    // Nothing is sealed in an answer without records and outcomes.
    let (question_none, none) = unsealed(2, ("CF", &[1]));
    let (question_denied, denied) = unsealed(3, ("NSXY", &[5]));
    for (question, parts, said) in [
        (&question, &answered[..], Said::Answered),
        (&question_none, &none[..], Said::Answered),
        (&question_denied, &denied[..], Said::Denied),
    ] {
        let whole = codec::to_vec(&parts.to_vec());
        let honest = open(&world, question, parts);
        assert!(honest.iter().all(|part| part.said() == said));
        for at in 0..whole.len() {
            for bit in [0x01, 0x20, 0x80] {
                let mut changed = whole.clone();
                changed[at] ^= bit;
                let Ok(changed) = codec::from_slice::<Vec<Part>>(&changed) else { continue };
                let opened = open(&world, question, &changed);
                assert!(!parts::decided(&opened), "byte {at} of {} ^ {bit:#x}", whole.len());
            }
        }
    }
}

#[test]
fn a_line_that_is_not_the_log_s_own_is_not_carried_along() {
    let mut world = world();
    let (question, parts) = parts_of(&mut world, 1);
    let Outcome::Answered(honest) = &parts[1].outcome else { panic!("an answer") };
    let witness = &world.nodes[JS].context.own.witness;
    let name = exchange::witness::name(&world.nodes[JS].context.registry.federation, &id("js"));
    for which in 0..2 {
        let mut answer = honest.clone();
        let note = match which {
            0 => &mut answer.access.checkpoint,
            _ => answer.checkpoint.as_mut().unwrap(),
        };
        let line = note::cosign(&note.claimed().text(), &name, witness, 7);
        *note = ledger::checkpoint::SignedCheckpoint::parse(&format!("{}{line}", note.as_str())).unwrap();
        let bank = &world.nodes[BANK];
        let opened = answer::open_any(&bank.context.registry, &question, &bank.opening, &answer);
        assert!(opened.unwrap_err().detail.contains("belongs to no answer"), "{which}");
    }
}

/// An answer whose member has logged something else of the question, in a log of its own making and under its own key.
fn logged(world: &World, answer: &Answer, change: impl FnOnce(&mut Entry)) -> Answer {
    let mut entry = Entry::from_bytes(&answer.access.entry).unwrap();
    change(&mut entry);
    let bytes = entry.to_bytes();
    let own = &world.nodes[SH].context;
    let origin = LogName::Access.origin(&own.registry.federation, &own.own.id);
    let checkpoint = Checkpoint { origin, size: TreeSize(1), root: leaf_hash(&bytes) };
    let access = Receipt {
        index: 0,
        entry: bytes.into(),
        path: Vec::new(),
        checkpoint: checkpoint.sign(&own.own.signing),
        ..answer.access.clone()
    };
    Answer { access, ..answer.clone() }
}

fn disclosed(entry: &mut Entry) -> &mut Disclosed {
    match &mut entry.fact {
        Fact::Disclosed(disclosed) => disclosed,
        _ => panic!("a disclosure"),
    }
}

/// One thing that a member may log otherwise.
type Other = (&'static str, fn(&mut AskedBy));

#[test]
fn a_member_that_logs_other_words_than_the_asker_signed_is_found_by_the_asker() {
    let mut world = world();
    let (question, parts) = parts_of(&mut world, 1);
    let Outcome::Answered(honest) = &parts[1].outcome else { panic!("an answer") };
    let bank = &world.nodes[BANK];
    let open = |answer: &Answer| {
        answer::open_any(&bank.context.registry, &question, &bank.opening, answer)
            .map(|_| ())
            .map_err(|refusal| refusal.detail)
    };
    assert_eq!(open(&logged(&world, honest, |_| {})), Ok(()));
    let others: [Other; 9] = [
        ("another id", |asked| asked.id = QuestionId([9; 16])),
        ("another question", |asked| asked.question = Digest::ZERO),
        ("another signature", |asked| asked.signature.0[0] ^= 1),
        ("another asker", |asked| asked.asker = MemberId::parse("js").unwrap()),
        ("another clerk", |asked| asked.clerk = ClerkId::parse("clerk 2").unwrap()),
        ("no outlet", |asked| asked.via = None),
        ("another outlet", |asked| asked.via = Some(MemberId::parse("js").unwrap())),
        ("another purpose", |asked| asked.purpose = Purpose::Administration),
        ("another grant", |asked| {
            asked.basis = BasisRef::Grant(Digest::ZERO, MemberId::parse("xyd").unwrap());
        }),
    ];
    assert_eq!(world.nodes[OUTLET].id.as_str(), "xyd");
    for (what, change) in others {
        let lie = logged(&world, honest, |entry| change(&mut disclosed(entry).asked));
        let found = open(&lie).unwrap_err();
        assert!(found.contains("its entry"), "{what}: {found}");
    }
    // When it decided.
    let asked = question.get();
    let early = asked.asked_at.0 - CLOCK_SKEW_MS_MAX;
    for (at, holds) in
        [(early - 1, false), (early, true), (asked.deadline.0, true), (asked.deadline.0 + 1, false)]
    {
        let lie = logged(&world, honest, |entry| entry.at = Timestamp(at));
        assert_eq!(open(&lie).is_ok(), holds, "{at}");
    }
    // What it withholds.
    let withheld =
        Withheld { item: world::item(), field: FieldId(2), rule: RuleName("no-grant".into()), check: None };
    let lie = logged(&world, honest, |entry| disclosed(entry).withheld.push(withheld));
    assert!(open(&lie).unwrap_err().contains("withholds what was not asked for"));
    let lie = logged(&world, honest, |entry| disclosed(entry).keep_days = None);
    assert!(open(&lie).unwrap_err().contains("time to keep"));
}
