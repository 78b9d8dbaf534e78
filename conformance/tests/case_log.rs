//! A case is in the log step by step: it survives the loss of a disk, takes applications through several counters, and
//! keeps a ban after false material.

#![allow(clippy::unwrap_used, reason = "a test; what fails here fails the test")]

mod world;

use credit::{
    entry::StatusFact,
    id::{CaseId, ClerkId, ItemId},
    repair::{Case, Deadline, FalseMaterial, Matter},
    status::Status,
};
use crypto::{Digest, Timestamp};
use exchange::{
    member::Input,
    refusal::{Code, Refusal},
    repair::Finding,
    wire::{ApplicationDraft, Response},
};
use world::{JS, Penalty, SH, World, at, date, subject};

#[test]
fn a_counter_signs_no_application_about_what_the_catalog_cannot_repair() {
    let mut world = World::new(at("2026-05-06", 9));
    let apply = |world: &mut World, item: &str, matter| {
        let draft = ApplicationDraft {
            authority: world.nodes[SH].id.clone(),
            item: ItemId::parse(item).unwrap(),
            document: "G-1".into(),
            subject: subject(),
            materials: vec![Digest::of(b"proof of performance")],
            clerk: None,
            matter,
        };
        world.step(JS, Input::Apply { draft, case: CaseId([1; 16]) }).unwrap()
    };
    let before = world.statements(JS).len();
    // An item outside the catalog; one that knows no repair.
    for (item, matter, code) in [
        ("QQ", Matter::Repair, Code::ItemUnknown),
        ("QQ", Matter::Objection, Code::ItemUnknown),
        ("ZZ", Matter::Repair, Code::CaseDenied),
    ] {
        let (known, why) = refused(apply(&mut world, item, matter));
        assert_eq!(known, Some(code), "{item}");
        assert!(why.contains(item) && (code == Code::ItemUnknown || why.contains("CF, YCML, ZX")), "{why}");
    }
    assert_eq!(world.statements(JS).len(), before, "nothing of it stands in the log");
    // Whatever is collected can be wrong.
    assert!(matches!(apply(&mut world, "ZZ", Matter::Objection), Response::Case(_)));
    assert_eq!(world.statements(JS).len(), before + 1);
}

fn refused(response: Response) -> (Option<Code>, String) {
    match response {
        Response::Refused(refusal) => (refusal.known(), refusal.to_string()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_member_whose_disk_is_lost_has_its_cases_and_deadlines_again_from_a_mirror() {
    let mut world = World::new(at("2026-02-12", 9));
    for document in ["G-1", "G-2", "G-3"] {
        world.collect(SH, &Penalty::general(document, "2025-06-03"));
    }
    // One applied for, one accepted, one refused; a second application joins the first.
    world.apply(JS, "G-1", 1);
    world.apply(SH, "G-1", 9);
    world.apply(JS, "G-2", 2);
    world.apply(JS, "G-3", 3);
    for case in [2, 3] {
        world.step(SH, Input::AcceptRepair { case: CaseId([case; 16]), clerk: ClerkId::parse("c-1") });
    }
    // Assigned twice to the same clerk is assigned once.
    for clerk in ["c-2", "c-3", "c-3"] {
        let clerk = ClerkId::parse(clerk).unwrap();
        world.step(SH, Input::AssignCase { case: CaseId([2; 16]), clerk });
    }
    let assigned = |(_, fact): &(Timestamp, StatusFact)| matches!(fact, StatusFact::Assigned(_));
    assert_eq!(world.statements(SH).iter().filter(|said| assigned(said)).count(), 2);
    let reason = "义务未履行（示例）".to_owned();
    world.step(SH, Input::DecideRepair { case: CaseId([3; 16]), grant: false, reason, clerk: None });
    let before = world.decided_by(SH);
    assert_eq!(before.iter().map(Case::state).collect::<Vec<_>>(), ["applied", "accepted", "refused"]);
    assert_eq!(before[0].applied().applications.len(), 2);
    // The first waits for who took it at this counter, the second for who was assigned it, the third for nobody.
    let own = world.nodes[SH].id.clone();
    let clerks: Vec<_> = before.iter().map(|case| case.responsible(&own).map(ClerkId::as_str)).collect();
    assert_eq!(clerks, [Some("counter-1"), Some("c-3"), None]);
    assert_eq!(before[0].deadline(), Some(Deadline { date: date("2026-02-24"), provisional: false }));
    world.until(at("2026-02-12", 10));
    let (taken, _) = world.cases(JS);

    world.lose_disk(SH);
    assert_eq!(world.decided_by(SH), before);
    // It copies the counter's logs again; then the counter loses its disk, too.
    world.until(at("2026-02-12", 11));
    world.lose_disk(JS);
    world.until(at("2026-02-12", 12));
    let (again, _) = world.cases(JS);
    assert_eq!(again, taken, "the counter sends what it took once more, and learns the same");
    assert_eq!(world.decided_by(SH), before, "which opens and joins nothing anew");

    // The clocks are set again: the acceptance is late after its last day, the decision after its own.
    world.until(Timestamp(at("2026-02-25", 0).0 - 1));
    assert_eq!((world.overdue(SH), world.alerts_of(SH, "next step was due")), (0, 0));
    world.until(at("2026-02-25", 0));
    assert_eq!((world.overdue(SH), world.alerts_of(SH, "due by 2026-02-24")), (1, 1));

    // The sealed fields were in no mirror. With the file handed in again the cases go on where they stood.
    assert_eq!(
        refused(world.step(SH, Input::AcceptRepair { case: CaseId([1; 16]), clerk: None }).unwrap()).0,
        Some(Code::RecordUnknown)
    );
    let record = world.collect(SH, &Penalty::general("G-2", "2025-06-03"));
    world.step(
        SH,
        Input::DecideRepair { case: CaseId([2; 16]), grant: true, reason: String::new(), clerk: None },
    );
    assert_eq!(world.status(JS, record), Status::Repaired);
    assert_eq!(world.decided_by(SH)[1].state(), "granted");
}

#[test]
fn one_penalty_is_one_case_however_many_counters_it_comes_through() {
    let mut world = World::new(at("2026-05-06", 9));
    let record = world.collect(SH, &Penalty::general("G-1", "2026-01-05"));
    for (counter, case) in [(JS, 1), (SH, 2), (JS, 3)] {
        world.apply(counter, "G-1", case);
    }
    let cases = world.decided_by(SH);
    let [case] = &cases[..] else { panic!("{cases:?}") };
    let joined = &case.applied().applications;
    let counters: Vec<&str> = joined.iter().map(|j| j.counter.as_str()).collect();
    assert_eq!((case.id(), case.record(), counters), (CaseId([1; 16]), record, vec!["js", "sh", "js"]));
    assert_eq!(joined.iter().flat_map(|j| &j.materials).count(), 3, "each with its papers");
    // The counter's forwarding is acknowledged with the case it joined.
    let (taken, _) = world.cases(JS);
    assert!(taken.iter().all(|f| f.case == Some(CaseId([1; 16])) && f.refused.is_none()), "{taken:?}");
    // One decision answers all of them.
    world.step(SH, Input::AcceptRepair { case: case.id(), clerk: None });
    world.step(SH, Input::DecideRepair { case: case.id(), grant: true, reason: String::new(), clerk: None });
    world.until(at("2026-05-06", 10));
    let (taken, _) = world.cases(JS);
    assert!(taken.iter().all(|f| f.outcome.as_ref().unwrap().granted.is_some()), "{taken:?}");
    assert_eq!(world.status(JS, record), Status::Repaired);
}

#[test]
fn false_material_bars_the_subject_for_the_time_the_rule_set_says() {
    let mut world = World::new(at("2026-03-02", 9));
    for document in ["G-1", "G-2"] {
        world.collect(SH, &Penalty::general(document, "2025-06-03"));
    }
    world.apply(JS, "G-1", 1);
    world.step(SH, Input::AcceptRepair { case: CaseId([1; 16]), clerk: None });
    let refuse = |case: u8, barred_until| Input::RefuseFalse {
        case: CaseId([case; 16]),
        reason: "履行证明系伪造（示例）".into(),
        found: FalseMaterial { barred_until },
        clerk: None,
    };
    // Order 58 gives three years; another day than that is no mistake to be overlooked.
    let (code, why) = refused(world.step(SH, refuse(1, Some(date("2027-01-01")))).unwrap());
    assert_eq!(code, Some(Code::CaseDenied), "{why}");
    world.step(SH, refuse(1, None));
    let banned: Vec<_> = world
        .statements(SH)
        .into_iter()
        .filter_map(|(_, fact)| match fact {
            StatusFact::NotGranted(said) => said.ban,
            _ => None,
        })
        .collect();
    assert_eq!(banned.iter().map(|ban| ban.until).collect::<Vec<_>>(), [date("2029-03-02")]);
    assert_ne!(banned[0].mark, Digest::ZERO);

    // Another record of the same subject, at the authority's own counter and through another one.
    let barred = |response: Response| refused(response).1.contains("2029-03-02");
    assert!(barred(world.apply(SH, "G-2", 2)));
    world.apply(JS, "G-2", 3);
    let (taken, _) = world.cases(JS);
    let told = taken.iter().find(|f| f.application == CaseId([3; 16])).unwrap();
    assert!(told.refused.as_ref().unwrap().contains("2029-03-02"), "{told:?}");

    // It holds on a disk that only a mirror gave back, as soon as the record itself is handed in again.
    world.until(at("2026-03-02", 10));
    world.lose_disk(SH);
    world.collect(SH, &Penalty::general("G-2", "2025-06-03"));
    assert!(barred(world.apply(SH, "G-2", 4)));
    // Its last day counts; the day after is free.
    world.collect(SH, &Penalty::general("G-3", "2029-02-20"));
    world.until(at("2029-03-02", 23));
    assert!(barred(world.apply(SH, "G-3", 5)));
    world.until(at("2029-03-03", 0));
    assert!(matches!(world.apply(SH, "G-3", 6), Response::Case(_)));
}

#[test]
fn a_refusal_that_passes_leaves_the_application_due_and_any_other_is_told_to_people() {
    let mut world = World::new(at("2026-05-06", 9));
    world.collect(SH, &Penalty::general("G-1", "2026-01-05"));
    world.cut.insert(SH);
    for case in [1, 2] {
        world.apply(JS, "G-1", case);
    }
    let refuse = |world: &mut World, case, refusal| {
        world.step(JS, Input::Forwarded { case: CaseId([case; 16]), outcome: Err(refusal) });
        let refused = world.cases(JS).0.iter().filter(|forwarded| forwarded.refused.is_some()).count();
        (refused, world.alerts_of(JS, "was not taken"))
    };
    for code in [Code::MemberStarting, Code::MemberBehind, Code::MemberFrozen, Code::Busy] {
        assert_eq!(refuse(&mut world, 1, Refusal::new(code, "")), (0, 0), "{code:?}");
    }
    let ahead = Refusal::new(Code::CaseDenied, "dated ahead");
    assert_eq!(refuse(&mut world, 1, ahead.clone().retry_after(1_000)), (0, 0));
    assert_eq!(refuse(&mut world, 2, ahead), (1, 1));
    // What is still due is taken once the authority is there.
    world.cut.clear();
    world.until(at("2026-05-06", 10));
    let mut taken: Vec<_> = world.cases(JS).0.iter().map(|forwarded| forwarded.case).collect();
    taken.sort();
    assert_eq!(taken, [None, Some(CaseId([1; 16]))]);
}

#[test]
fn an_order_that_does_not_tell_the_ban_leaves_its_last_day_to_who_decides() {
    let mut world = World::new(at("2026-09-01", 9));
    world.collect(SH, &Penalty::general("G-1", "2026-04-10"));
    world.apply(SH, "G-1", 1);
    world.step(SH, Input::AcceptRepair { case: CaseId([1; 16]), clerk: None });
    let refuse = |barred_until| Input::RefuseFalse {
        case: CaseId([1; 16]),
        reason: "虚假材料（示例）".into(),
        found: FalseMaterial { barred_until },
        clerk: None,
    };
    let (code, why) = refused(world.step(SH, refuse(None)).unwrap());
    assert_eq!(code, Some(Code::CaseDenied));
    assert!(why.contains("`ndrc-36` does not provide"), "{why}");
    assert_eq!(world.decided_by(SH)[0].state(), "accepted", "nothing was decided");
    world.step(SH, refuse(Some(date("2027-08-31"))));
    assert_eq!(world.decided_by(SH)[0].state(), "refused");
    assert!(refused(world.apply(SH, "G-1", 2)).1.contains("2027-08-31"));
}

#[test]
fn a_superseding_record_carries_the_standing_on() {
    let mut world = World::new(at("2026-05-06", 9));
    let penalty = Penalty::general("G-1", "2026-01-05");
    let record = world.collect(SH, &penalty);
    world.collect(JS, &penalty);
    world.object(JS, "G-1", 9);
    // Nothing is corrected before the correction is there.
    assert!(refused(world.answer(9, Finding::Corrected)).1.contains("submit the corrected file first"));
    // The correction: another date under the same number is another version of the same record.
    world.until(world.now.plus_ms(60_000));
    let corrected = Penalty { decided: "2026-01-06", ..penalty.clone() };
    assert_eq!(world.collect(SH, &corrected), record);
    assert_eq!(world.status(JS, record), Status::Disputed);
    world.answer(9, Finding::Corrected);
    assert_eq!(world.status(JS, record), Status::Active);
    world.apply(JS, "G-1", 1);
    world.step(SH, Input::AcceptRepair { case: CaseId([1; 16]), clerk: None });
    world.step(
        SH,
        Input::DecideRepair { case: CaseId([1; 16]), grant: true, reason: String::new(), clerk: None },
    );
    // Corrected once more, at the authority and by a holder's old file: repaired it stays.
    world.collect(SH, &Penalty { decided: "2026-01-07", ..penalty.clone() });
    world.collect(JS, &corrected);
    for member in [SH, JS] {
        assert_eq!(world.status(member, record), Status::Repaired);
    }
    assert!(refused(world.apply(SH, "G-1", 2)).1.contains("repaired"));
}
