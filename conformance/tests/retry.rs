//! The same question again: a refusal stays what it was, and what was told is told again only while it may be.

#![allow(clippy::unwrap_used, reason = "a test; what fails here fails the test")]

mod world;

use credit::{grant::GrantChange, question::Basis};
use crypto::sign::Verified;
use exchange::{member::Input, refusal::Code, wire::Response};
use ledger::log;
use world::{OUTLET, Penalty, SH, World, at};

const FIELDS: (&str, &[u16]) = ("CF", &[14]);

/// The same bytes once more; the index of the access entry that the answer rests on.
fn again(world: &mut World, question: &Verified<credit::question::Question>) -> Result<u64, Code> {
    let Basis::Grant(grant) = &question.get().basis else { panic!("no grant") };
    let registry = world.nodes[SH].context.registry.clone();
    let grant = Some(registry.verify_grant(grant).unwrap());
    let (caller, question) = (world.nodes[OUTLET].id.clone(), question.clone());
    match world.step(SH, Input::Question { caller, question, grant, judged: None }) {
        Some(Response::Answer(answer)) => Ok(answer.access.index),
        Some(Response::Refused(refusal)) => Err(refusal.known().unwrap()),
        other => panic!("{other:?}"),
    }
}

fn lines(world: &World) -> u64 {
    log::size(&world.nodes[SH].disk, "access").unwrap().0
}

#[test]
fn a_refusal_is_the_same_refusal_and_an_answer_ends_with_its_grant() {
    let mut world = World::new(at("2026-05-06", 10));
    world.collect(SH, &Penalty::general("沪示罚〔2026〕1号", "2026-03-02"));
    let (told, refused) = (world.granted(1, 5), world.granted(2, 5));
    let told = world.asked_on(told, 1, FIELDS, &[]);
    let first = world.answered(SH, &told).access.index;
    assert_eq!(again(&mut world, &told), Ok(first));

    // `sh` hears of the revocation of both before it is asked on the second.
    for question in [told.signed().clone(), world.asked_on(refused, 2, FIELDS, &[]).signed().clone()] {
        let question = world.nodes[SH].context.registry.verify(&question).unwrap();
        let Basis::Grant(grant) = &question.get().basis else { panic!("no grant") };
        let digest = grant.digest();
        world.step(OUTLET, Input::ChangeGrant(digest, GrantChange::Revoke));
        let before = lines(&world);
        let answer = again(&mut world, &question);
        if question.get().id == told.get().id {
            assert_eq!(answer, Err(Code::QuestionExpired), "what was told is told no more");
            continue;
        }
        // The bank that never got the refusal gets it now, signed, and not a word about time; one line, however often.
        let index = answer.unwrap();
        assert_eq!((again(&mut world, &question), lines(&world)), (Ok(index), before + 1));
    }
}
