//! Objections (异议): filed at any counter, marked at once, answered within the region's days; and cases that end with
//! their record.

#![allow(clippy::unwrap_used, reason = "a test; what fails here fails the test")]

mod world;

use credit::{
    entry::StatusFact,
    id::CaseId,
    repair::{Case, Deadline, Matter},
    rules::{AuthorityKind, Rule, RuleBook, Tier},
    status::{Change, Status},
};
use crypto::{Digest, Timestamp};
use exchange::{kept, member::Input, repair::Finding, wire::Response};
use world::{BANK, JS, OUTLET, Penalty, SH, World, at, date};

fn due(day: &str) -> Option<Deadline> {
    Some(Deadline { date: date(day), provisional: false })
}

fn why(response: Response) -> String {
    match response {
        Response::Refused(refusal) => refusal.to_string(),
        other => panic!("{other:?}"),
    }
}

fn state(world: &World, case: u8) -> &'static str {
    let cases = world.decided_by(SH);
    cases.iter().find(|c| c.id() == CaseId([case; 16])).unwrap().state()
}

#[test]
fn an_objection_marks_the_record_everywhere_at_once_and_is_answered_once() {
    let mut world = World::new(at("2026-02-12", 9));
    let record = world.collect(SH, &Penalty::general("G-1", "2026-01-05"));
    assert_eq!(world.ask(1).len(), 1);
    world.object(JS, "G-1", 1);
    for member in [SH, JS, OUTLET, BANK] {
        assert_eq!(world.status(member, record), Status::Disputed);
    }
    // Five working days by Shanghai's rule, across the festival: 13, 14 (make-up), 24, 25, 26.
    assert_eq!(world.decided_by(SH)[0].deadline(), due("2026-02-26"));
    // Through another counter it joins the case, and no second mark is written; a repair is a case of its own.
    world.object(OUTLET, "G-1", 2);
    assert_eq!(world.decided_by(SH)[0].applied().applications.len(), 2);
    world.apply(JS, "G-1", 3);
    assert_eq!(world.decided_by(SH).len(), 2);
    let marks = |world: &World| {
        let marked = |(_, fact)| match fact {
            StatusFact::Changed(c) if c.change == Change::Dispute => Some((c.case, c.rule)),
            _ => None,
        };
        world.statements(SH).into_iter().filter_map(marked).collect::<Vec<_>>()
    };
    assert_eq!(marks(&world), [(Some(CaseId([1; 16])), "上海市社会信用条例（2017）".to_owned())]);
    // It is answered, not accepted; and a repair is decided, not answered.
    let case = CaseId([1; 16]);
    assert!(
        why(world.step(SH, Input::AcceptRepair { case, clerk: None }).unwrap()).contains("dispute resolve")
    );
    assert!(why(world.answer(3, Finding::Withdrawn)).contains("repair decide"));
    assert!(why(world.answer(1, Finding::Rejected(String::new()))).contains("states its reason"));

    // Asked meanwhile, a bank is told of the mark.
    world.until(at("2026-02-12", 9).plus_ms(1_000));
    assert!(world.ask(2)[0].disputed);
    let (asked, sh) = (world.now, world.nodes[SH].id.clone());
    let over =
        |world: &World, asked| kept::dispute_ended(&world.nodes[BANK].disk, &sh, &record, asked).unwrap();
    assert!(!over(&world, asked));
    world.until(at("2026-02-12", 9).plus_ms(2_000));
    world.answer(1, Finding::Rejected("the record is right".to_owned()));
    // What it keeps says from now on what is so, and one end is no end of a later objection.
    assert!(over(&world, asked) && !over(&world, world.now));
    for member in [SH, JS, OUTLET, BANK] {
        assert_eq!(world.status(member, record), Status::Active);
    }
    assert_eq!((state(&world, 1), state(&world, 3)), ("refused", "applied"));
    // The counter learns it from the authority's log.
    world.until(at("2026-02-12", 10));
    let outcome =
        world.cases(JS).0.into_iter().find(|f| f.matter == Matter::Objection).unwrap().outcome.unwrap();
    assert_eq!((outcome.granted, outcome.refused.unwrap().1.as_str()), (None, "the record is right"));
    assert!(why(world.answer(1, Finding::Withdrawn)).contains("already refused"));
    // A later objection is another case, with another mark.
    world.object(JS, "G-1", 4);
    assert_eq!((world.status(BANK, record), marks(&world).len()), (Status::Disputed, 2));
    assert!(!over(&world, asked));
}

#[test]
fn a_change_that_changes_nothing_is_refused_with_the_present_standing() {
    let mut world = World::new(at("2026-02-12", 9));
    let record = world.collect(SH, &Penalty::general("G-1", "2026-01-05"));
    let paper = Some(Digest([3; 32]));
    // Never hidden, it cannot be shown again: whoever publishes it would be told to do so anew.
    let never = why(world.change(SH, record, Change::Unmask, None));
    assert!(
        never.contains("the record is active, and `unmask` changes nothing") && never.contains("“正常”"),
        "{never}"
    );
    let entries = |world: &World| world.statements(SH).len();
    let masked = world.change(SH, record, Change::Mask, paper);
    let before = entries(&world);
    // A retry is answered with the entry that there is; another paper is not a retry.
    assert_eq!(world.change(SH, record, Change::Mask, paper), masked);
    assert!(
        why(world.change(SH, record, Change::Mask, Some(Digest([4; 32])))).contains("the record is masked")
    );
    assert_eq!(entries(&world), before);
    world.change(SH, record, Change::Unmask, None);
    // What has ended is neither hidden nor ended again; the act behind it can still be revoked.
    world.change(SH, record, Change::Expire, None);
    let before = entries(&world);
    assert!(
        why(world.change(SH, record, Change::Mask, Some(Digest([5; 32])))).contains("the record is expired")
    );
    assert!(matches!(world.change(SH, record, Change::Expire, None), Response::Receipt(_)), "a retry");
    assert_eq!(entries(&world), before);
    assert!(matches!(world.change(SH, record, Change::Withdraw, None), Response::Receipt(_)));
    assert!(why(world.change(SH, record, Change::Expire, paper)).contains("the record is withdrawn"));
    assert_eq!(world.status(SH, record), Status::Withdrawn);
}

#[test]
fn an_objection_on_its_way_is_late_after_one_working_day_and_an_unanswered_one_names_its_clerk() {
    let mut world = World::new(at("2026-02-14", 9));
    world.collect(SH, &Penalty::general("G-1", "2026-01-05"));
    world.cut.insert(SH);
    world.object(JS, "G-1", 1);
    // The first working day after the make-up Saturday is the Tuesday after the festival.
    assert_eq!(world.cases(JS).0[0].due, due("2026-02-24"));
    world.until(Timestamp(at("2026-02-25", 0).0 - 1));
    assert_eq!(world.alerts_of(JS, "was to have it by"), 0);
    world.until(at("2026-02-25", 1));
    assert_eq!(world.alerts_of(JS, "`sh` was to have it by 2026-02-24"), 1);
    world.cut.clear();
    world.until(at("2026-02-25", 2));
    assert_eq!((world.cases(JS).0[0].due, world.decided_by(SH).len()), (None, 1));
    // Five working days from the application, however long it was on its way: 24, 25, 26, 27, 28 (make-up).
    assert_eq!(world.decided_by(SH)[0].deadline(), due("2026-02-28"));
    let clerk = credit::id::ClerkId::parse("c-7").unwrap();
    world.step(SH, Input::AssignCase { case: CaseId([1; 16]), clerk });
    world.until(at("2026-03-01", 1));
    assert_eq!(world.alerts_of(SH, "objection case 01010101010101010101010101010101 of clerk `c-7`"), 1);
    assert_eq!(world.overdue(SH), 1);
}

#[test]
fn an_application_that_is_dated_ahead_is_not_taken() {
    let mut world = World::new(at("2026-05-06", 9));
    let record = world.collect(SH, &Penalty::general("G-1", "2026-04-09"));
    let send = |world: &mut World, ahead_ms: u64, case: u8| {
        let counter = &world.nodes[JS];
        let (caller, authority) = (counter.id.clone(), world.nodes[SH].id.clone());
        let application = credit::repair::Application {
            case: CaseId([case; 16]),
            record,
            authority,
            counter: caller.clone(),
            materials: Vec::new(),
            applied_at: world.now.plus_ms(ahead_ms),
            clerk: None,
            matter: Matter::Objection,
        };
        let signed = counter.context.sign(world.now, &application);
        let application = counter.context.registry.verify(&signed).unwrap();
        world.step(SH, Input::Application { caller, application }).unwrap()
    };
    assert!(why(send(&mut world, 86_400_000, 1)).contains("dated ahead"));
    // A clock that is minutes ahead has dated one that is right soon: then it is asked for again.
    let Response::Refused(soon) = send(&mut world, 300_000, 1) else { panic!("taken") };
    assert_eq!(soon.retry_after_ms, Some(300_000));
    assert_eq!((world.decided_by(SH).len(), world.status(SH, record)), (0, Status::Active));
    // A clock that runs a little ahead is not held against the subject.
    assert!(matches!(send(&mut world, 5_000, 2), Response::Case(_)));
    assert_eq!(world.status(SH, record), Status::Disputed);
}

#[test]
fn a_record_that_ends_ends_every_case_about_it() {
    let mut world = World::new(at("2026-05-06", 9));
    let record = world.collect(SH, &Penalty::general("G-1", "2026-04-09"));
    world.apply(JS, "G-1", 1);
    world.step(SH, Input::AcceptRepair { case: CaseId([1; 16]), clerk: None });
    world.object(JS, "G-1", 2);
    world.answer(2, Finding::Withdrawn);
    for member in [SH, JS] {
        assert_eq!(world.status(member, record), Status::Withdrawn);
    }
    assert_eq!((state(&world, 1), state(&world, 2)), ("declined", "granted"));
    assert!(world.decided_by(SH).iter().all(|case| case.deadline().is_none()), "nothing can become late");
    for forwarded in world.cases(JS).0 {
        assert_eq!(forwarded.ended, Some(Status::Withdrawn));
    }
    assert!(why(world.apply(SH, "G-1", 3)).contains("withdrawn already"));
    assert!(why(world.object(SH, "G-1", 4)).contains("withdrawn already"));
    // The same when its publicity ends by itself. Of another day: what is like one that has ended is asked about first.
    world.collect(SH, &Penalty::general("G-2", "2026-04-10"));
    world.object(JS, "G-2", 5);
    world.until(at("2027-04-10", 1));
    assert_eq!(state(&world, 5), "declined");
}

#[test]
fn a_repair_is_refused_before_acceptance_and_where_no_rule_set_is_left_to_grant_it_by() {
    let mut world = World::new(at("2026-05-06", 9));
    // Decided by a market regulator before its order was in force: no set rules over it.
    let samr = Penalty { kind: AuthorityKind::SAMR, ..Penalty::general("S-1", "2025-11-05") };
    world.collect(SH, &samr);
    world.collect(SH, &Penalty::general("G-1", "2026-04-09"));
    let decide = |world: &mut World, case: u8, grant| {
        let reason = if grant { String::new() } else { "papers are missing".to_owned() };
        world.step(SH, Input::DecideRepair { case: CaseId([case; 16]), grant, reason, clerk: None }).unwrap()
    };
    world.apply(JS, "S-1", 1);
    world.step(SH, Input::AcceptRepair { case: CaseId([1; 16]), clerk: None });
    assert!(why(decide(&mut world, 1, true)).contains("no rule set"));
    decide(&mut world, 1, false);
    assert_eq!(state(&world, 1), "refused");
    world.apply(JS, "G-1", 2);
    assert!(why(decide(&mut world, 2, true)).contains("not accepted yet"));
    decide(&mut world, 2, false);
    assert_eq!(state(&world, 2), "declined");
    world.until(at("2026-05-06", 10));
    let declined = world.cases(JS).0.into_iter().find(|f| f.case == Some(CaseId([2; 16]))).unwrap();
    assert_eq!(declined.outcome.unwrap().accepted, None, "the counter tells 不予受理");
    // Where the set tells neither minimum nor maximum the reason is that, and no day is invented.
    let minor = Penalty { tier: Tier::Minor, ..Penalty::general("M-1", "2026-03-20") };
    world.collect(SH, &minor);
    world.apply(JS, "M-1", 3);
    world.step(SH, Input::AcceptRepair { case: CaseId([3; 16]), clerk: None });
    let case = world.decided_by(SH).into_iter().find(|c| c.id() == CaseId([3; 16]));
    let Some(Case::Accepted(accepted)) = case else { panic!("{case:?}") };
    let rule = RuleBook::builtin().rule_of_set("ndrc-58", Tier::Minor).unwrap().clone();
    let (silent, day) = (Rule { min_months: None, max_months: None, ..rule }, date("2026-03-20"));
    let denied = accepted.may_grant(world.now, &silent, day, day).unwrap_err();
    assert!(denied.to_string().contains("`ndrc-58` does not provide"));
    // Ours does: an act that is not published is repaired at once.
    assert!(matches!(decide(&mut world, 3, true), Response::Decided { .. }));
    // A market regulator's order gives days for the decision and none for acceptance: they count from the application: 7, 8, 9 (make-up),
    // 11, 12, 13, 14 May.
    let samr = Penalty {
        published: Some("2026-04-10"),
        ..Penalty { kind: AuthorityKind::SAMR, ..Penalty::general("S-2", "2026-04-09") }
    };
    world.collect(SH, &samr);
    world.apply(JS, "S-2", 4);
    let case = world.decided_by(SH).into_iter().find(|c| c.id() == CaseId([4; 16])).unwrap();
    assert_eq!(case.deadline(), due("2026-05-14"));
    assert!(matches!(case, Case::Applied(_)));
}
