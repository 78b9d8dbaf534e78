//! Clocks of the law under a virtual clock: publicity that ends by itself, late steps of a case, the erasure after a
//! withdrawal, across the Spring Festival and into a year without a calendar, with members that lose their disk.

#![allow(clippy::unwrap_used, reason = "a test; what fails here fails the test")]

mod world;

use conformance::sim::disk::Disk;
use credit::{
    entry::StatusFact,
    id::{CaseId, RecordId},
    repair::{Deadline, Matter},
    rules::{AuthorityKind, Duty, Tier},
    status::{Change, Status},
};
use crypto::{Digest, Timestamp};
use exchange::{
    artifact::status_fact,
    limits::DELIVERIES_PER_TICK_MAX,
    logs::LogName,
    member::Input,
    propagation, read,
    refusal::Code,
    timer,
    wire::{ApplicationDraft, Response},
};
use ledger::{log, store::Store};
use world::{JS, OUTLET, Penalty, SH, World, at, date, item, subject};

#[test]
fn publicity_ends_at_its_authority_when_the_maximum_is_over_and_everybody_learns_it() {
    let mut world = World::new(at("2026-04-10", 9));
    let general = world.collect(SH, &Penalty::general("G-1", "2026-04-09"));
    let minor = world.collect(SH, &Penalty { tier: Tier::Minor, ..Penalty::general("M-1", "2026-04-09") });
    let serious = Penalty { tier: Tier::Serious, ..Penalty::general("S-1", "2026-04-09") };
    let serious = world.collect(SH, &serious);
    // Three months after publication, not after the decision.
    let samr = Penalty {
        published: Some("2026-04-16"),
        kind: AuthorityKind::SAMR,
        tier: Tier::Minor,
        ..Penalty::general("R-1", "2026-04-09")
    };
    let samr = world.collect(SH, &samr);
    // The set counts from a publication that the file does not tell: nothing is assumed.
    let untold = Penalty { kind: AuthorityKind::SAMR, ..Penalty::general("U-1", "2026-04-09") };
    let untold = world.collect(SH, &untold);
    // A copy at another member has no clock there.
    world.collect(JS, &Penalty { tier: Tier::Minor, ..Penalty::general("M-1", "2026-04-09") });
    let status = |world: &World, record| [SH, JS, OUTLET].map(|at| world.status(at, record));

    // The last moment before, and the first of the day, in Shanghai.
    world.until(Timestamp(at("2026-07-09", 0).0 - 1));
    assert_eq!(status(&world, minor), [Status::Active; 3]);
    world.until(at("2026-07-09", 0));
    assert_eq!(status(&world, minor), [Status::Expired; 3]);
    assert_eq!(world.expiries(SH), [(at("2026-07-09", 0), minor, "ndrc-36".to_owned())]);
    assert_eq!(read::pending(&world.nodes[SH].disk).unwrap(), 0, "acknowledged by every recipient");

    world.until(at("2026-07-15", 23));
    assert_eq!(status(&world, samr), [Status::Active; 3]);
    world.until(at("2026-07-16", 1));
    assert_eq!(status(&world, samr), [Status::Expired; 3]);
    assert_eq!(world.expiries(SH)[1].2, "samr-107");

    world.until(at("2027-04-09", 0));
    assert_eq!(status(&world, general), [Status::Expired; 3]);
    assert_eq!(status(&world, serious), [Status::Active; 3]);
    world.until(at("2029-04-09", 0));
    assert_eq!(status(&world, serious), [Status::Expired; 3]);
    world.until(at("2040-01-01", 0));
    assert_eq!(status(&world, untold), [Status::Active; 3]);
    assert_eq!(world.expiries(SH).len(), 4, "each once");
    assert!(world.expiries(JS).is_empty() && world.expiries(OUTLET).is_empty(), "only the authority acts");
}

#[test]
fn publicity_ends_after_the_last_day_that_the_source_states_if_that_is_before_the_maximum() {
    let mut world = World::new(at("2026-04-10", 9));
    let penalty =
        |document, until| Penalty { until: Some(until), ..Penalty::general(document, "2026-04-09") };
    let earlier = world.collect(SH, &penalty("G-1", "2026-06-30"));
    world.collect(JS, &penalty("G-1", "2026-06-30"));
    let later = world.collect(SH, &penalty("G-2", "2028-04-09"));
    let long = world.collect(SH, &penalty("G-3", "2099-12-31"));
    // No rule set gives a maximum: before Order 58, and of a market regulator whose publication nobody has told.
    let old = Penalty { decided: "2023-04-01", ..penalty("G-4", "2026-06-30") };
    let untold = Penalty { kind: AuthorityKind::SAMR, ..penalty("U-1", "2026-06-30") };
    let (old, untold) = (world.collect(SH, &old), world.collect(SH, &untold));
    let longest = Penalty { kind: AuthorityKind::SAMR, ..penalty("U-2", "2099-12-31") };
    let longest = world.collect(SH, &longest);
    // A new version moves the day, as long as it has not come.
    let moved = world.collect(SH, &penalty("G-5", "2026-05-31"));
    world.collect(SH, &penalty("G-5", "2026-07-31"));

    world.until(Timestamp(at("2026-07-01", 0).0 - 1));
    assert_eq!(world.expiries(SH), [], "the last day is a day of publicity");
    world.until(at("2026-07-01", 0));
    assert_eq!([SH, JS, OUTLET].map(|at| world.status(at, earlier)), [Status::Expired; 3]);
    let ended: Vec<_> = world.expiries(SH).into_iter().map(|(_, record, _)| record).collect();
    assert_eq!(ended.len(), 3);
    assert!([earlier, old, untold].iter().all(|record| ended.contains(record)));
    assert!(world.expiries(SH).iter().all(|(_, _, ground)| ground == timer::STATED));

    // Too late: what has expired does not come back by a later day.
    world.collect(SH, &penalty("G-1", "2027-01-31"));
    world.until(at("2026-08-01", 0));
    assert_eq!([earlier, moved].map(|record| world.status(SH, record)), [Status::Expired; 2]);
    world.until(at("2027-04-09", 0));
    let by_rule =
        [(later, "ndrc-36"), (long, "ndrc-36")].map(|(record, set)| (world.now, record, set.to_owned()));
    assert!(
        by_rule.iter().all(|end| world.expiries(SH).contains(end)),
        "the maximum holds whatever is stated"
    );
    world.until(at("2040-01-01", 0));
    assert_eq!((world.status(SH, longest), world.expiries(SH).len()), (Status::Active, 6));
}

#[test]
fn what_need_not_be_published_is_repaired_at_once_and_ends_by_itself() {
    let mut world = World::new(at("2026-01-12", 9));
    // Of another day than what has ended: that would be given back as the same act.
    let minor =
        |document, kind, decided| Penalty { kind, tier: Tier::Minor, ..Penalty::general(document, decided) };
    let warning = minor("M-1", AuthorityKind::GENERAL, "2026-01-07");
    // Of a market regulator's warning nobody will ever tell a day of publication.
    let samr = minor("M-2", AuthorityKind::SAMR, "2026-01-08");
    for (penalty, case) in [(&warning, 1), (&samr, 2)] {
        world.collect(SH, penalty);
        world.apply(SH, penalty.document, case);
        let case = CaseId([case; 16]);
        world.step(SH, Input::AcceptRepair { case, clerk: None });
        world.step(SH, Input::DecideRepair { case, grant: true, reason: String::new(), clerk: None });
        assert_eq!(world.status(SH, world.record(penalty)), Status::Repaired, "{}", penalty.document);
    }
    let left =
        [minor("M-3", AuthorityKind::GENERAL, "2026-01-09"), minor("M-4", AuthorityKind::SAMR, "2026-01-09")];
    let [general, samr] = left.map(|penalty| world.collect(SH, &penalty));
    world.until(at("2026-04-08", 23));
    assert_eq!(world.expiries(SH), []);
    world.until(at("2026-04-09", 0));
    assert_eq!(world.expiries(SH), [(world.now, samr, "samr-107".to_owned())]);
    world.until(at("2029-01-09", 0));
    assert_eq!(world.expiries(SH)[1..], [(world.now, general, "ndrc-58".to_owned())]);
}

#[test]
fn a_courts_list_does_not_end_by_itself_and_no_rule_of_another_is_taken_for_it() {
    let mut world = World::new(at("2026-04-10", 9));
    let kind = world.nodes[SH].context.rules.kind_of_body("示例市示例区人民法院");
    let listed = world.collect(SH, &Penalty { kind, ..Penalty::general("Z-1", "2026-04-09") });
    world.apply(SH, "Z-1", 1);
    let case = CaseId([1; 16]);
    world.step(SH, Input::AcceptRepair { case, clerk: None });
    world.until(at("2040-01-01", 0));
    let granted =
        world.step(SH, Input::DecideRepair { case, grant: true, reason: String::new(), clerk: None });
    let Some(Response::Refused(refusal)) = granted else { panic!("{granted:?}") };
    assert!(refusal.detail.contains("no rule set provided for a `court` decision"), "{}", refusal.detail);
    assert_eq!((world.status(SH, listed), world.expiries(SH)), (Status::Active, Vec::new()));
}

#[test]
fn a_district_has_the_clocks_of_its_province() {
    let mut world = World::with(at("2026-04-10", 9), |member| {
        if member.id.as_str() == "js" {
            "330421".clone_into(&mut member.region);
        }
        if member.id.as_str() == "sh" {
            "310105".clone_into(&mut member.region);
        }
    });
    let penalty = Penalty { tier: Tier::Minor, ..Penalty::general("M-1", "2026-04-09") };
    let record = world.collect(SH, &penalty);
    world.collect(JS, &penalty);
    let node = &world.nodes[SH];
    let due = |duty| timer::deadline(&node.context, &node.id, duty, world.now).map(|due| due.date);
    assert_eq!(due(Duty::MarkObjection), Some(date("2026-04-13")));
    assert_eq!(due(Duty::AnswerObjection), Some(date("2026-04-17")));
    assert_eq!(due(Duty::Acknowledge), Some(date("2026-04-15")));
    world.until(at("2031-04-08", 23));
    assert!(!world.erased(JS, record));
    world.until(at("2031-04-09", 0));
    assert!(world.erased(JS, record), "five years in Zhejiang");
}

#[test]
fn what_has_ended_does_not_expire_and_an_amended_date_moves_the_end() {
    let mut world = World::new(at("2026-04-10", 9));
    let withdrawn = world.collect(SH, &Penalty::general("G-1", "2026-04-09"));
    let amended = world.collect(SH, &Penalty::general("G-2", "2026-04-01"));
    world.collect(SH, &Penalty::general("G-2", "2026-04-08"));
    world.change(SH, withdrawn, Change::Withdraw, None);
    // Handed in after its maximum is over: it ends at once.
    let late = Penalty { tier: Tier::Minor, ..Penalty::general("M-1", "2026-04-02") };
    world.until(at("2026-08-01", 9));
    let late = world.collect(SH, &late);
    world.until(at("2026-08-01", 10));
    assert_eq!(world.status(JS, late), Status::Expired);

    world.until(at("2027-04-01", 0));
    assert_eq!(world.status(SH, amended), Status::Active, "the newest version counts");
    world.until(at("2027-04-08", 0));
    assert_eq!(world.status(SH, amended), Status::Expired);
    world.until(at("2027-05-01", 0));
    let expired: Vec<RecordId> = world.expiries(SH).into_iter().map(|(_, record, _)| record).collect();
    assert_eq!(expired, [late, amended]);
}

#[test]
fn more_records_than_a_tick_takes_end_in_the_next_ones() {
    let mut world = World::new(at("2026-04-10", 9));
    let many = DELIVERIES_PER_TICK_MAX + 3;
    for n in 0..many {
        let document: &'static str = format!("G-{n}").leak();
        world.collect(SH, &Penalty { tier: Tier::Minor, ..Penalty::general(document, "2026-04-09") });
    }
    world.until(at("2026-07-09", 0));
    assert_eq!(world.expiries(SH).len(), DELIVERIES_PER_TICK_MAX);
    world.until(at("2026-07-09", 1));
    assert_eq!(world.expiries(SH).len(), many);
}

#[test]
fn a_withdrawn_record_is_erased_everywhere_before_its_third_working_day_is_over() {
    // Friday before the festival; Saturday the 14th is a working day, the next ones are the 24th and the 25th.
    let mut world = World::new(at("2026-02-13", 9));
    let penalty = Penalty::general("G-1", "2026-02-11");
    let record = world.collect(SH, &penalty);
    world.collect(JS, &penalty);
    let kept = world.collect(SH, &Penalty::general("G-2", "2026-02-11"));
    world.change(SH, record, Change::Withdraw, None);
    let due = Deadline { date: date("2026-02-25"), provisional: false };
    for holder in [SH, JS] {
        let (_, erasures) = world.cases(holder);
        assert_eq!(erasures.iter().map(|e| (e.record, e.due)).collect::<Vec<_>>(), [(record, due)]);
        assert_eq!(read::erasures_due(&world.nodes[holder].disk).unwrap(), 1);
    }
    assert!(world.cases(OUTLET).1.is_empty(), "who holds nothing erases nothing");

    world.until(Timestamp(at("2026-02-25", 0).0 - 1));
    assert!(!world.erased(SH, record) && !world.erased(JS, record));
    world.until(at("2026-02-25", 0));
    for holder in [SH, JS] {
        assert!(world.erased(holder, record));
        let node = &world.nodes[holder];
        let slots = read::erased_slots(&node.disk).unwrap();
        assert!(!slots.is_empty() && slots.iter().all(|slot| node.tree.key(*slot).is_none()));
        assert_eq!(read::erasures_due(&node.disk).unwrap(), 0);
        assert!(world.cases(holder).1.is_empty());
    }
    assert!(!world.erased(SH, kept));
    assert_eq!(world.alerts_of(SH, "withdrawn"), 0);
    // Over and over: one entry.
    world.until(at("2026-03-01", 0));
    world.until(at("2026-03-02", 0));
    let entries = log::size(&world.nodes[SH].disk, "records").unwrap().0;
    world.until(at("2026-03-03", 0));
    assert_eq!(log::size(&world.nodes[SH].disk, "records").unwrap().0, entries);
}

#[test]
fn an_erasure_that_a_stopped_node_missed_is_made_up_for_and_reported_once() {
    let mut world = World::new(at("2026-04-01", 9));
    let penalty = Penalty::general("G-1", "2026-03-30");
    let record = world.collect(SH, &penalty);
    world.collect(JS, &penalty);
    world.change(SH, record, Change::Withdraw, None);
    world.nodes[JS].down();
    world.cut.insert(JS);
    world.until(at("2026-04-07", 0)); // Qingming: the third working day
    assert!(world.erased(SH, record));
    world.now = at("2026-04-09", 8);
    world.cut.clear();
    world.start(JS);
    assert!(!world.erased(JS, record));
    world.until(at("2026-04-09", 9));
    assert!(world.erased(JS, record));
    assert_eq!(world.alerts_of(JS, "to be erased by 2026-04-07"), 1);
}

#[test]
fn a_record_that_comes_after_its_withdrawal_is_erased_too_and_others_words_erase_nothing() {
    let mut world = World::new(at("2026-04-01", 9));
    let penalty = Penalty::general("G-1", "2026-03-30");
    let record = world.collect(SH, &penalty);
    world.change(SH, record, Change::Withdraw, None);
    world.until(at("2026-04-08", 9));
    assert!(world.erased(SH, record));
    world.collect(JS, &penalty);
    let (_, erasures) = world.cases(JS);
    assert_eq!(erasures[0].due.date, date("2026-04-13"), "three working days from when it came");
    world.until(at("2026-04-13", 0));
    assert!(world.erased(JS, record));

    // `js` withdraws, in its own log, what `sh` decides: refused here, and without effect where it is heard.
    let other = world.collect(SH, &Penalty::general("G-2", "2026-04-10"));
    world.collect(JS, &Penalty::general("G-2", "2026-04-10"));
    match world.change(JS, other, Change::Withdraw, None) {
        Response::Refused(refusal) => assert_eq!(refusal.known(), Some(Code::NotAuthority)),
        response => panic!("{response:?}"),
    }
    assert!(world.cases(SH).1.is_empty() && world.cases(JS).1.is_empty());
}

#[test]
fn a_record_and_its_withdrawal_in_one_step_are_an_erasure() {
    let mut world = World::new(at("2026-04-01", 9));
    let penalty = Penalty::general("G-1", "2026-03-30");
    let record = world.collect(SH, &penalty);
    world.cut.insert(JS);
    let Response::Receipt(receipt) = world.change(SH, record, Change::Withdraw, None) else { panic!() };
    let (_, submission) = world.sealed(JS, &penalty);
    let registry = world.nodes[JS].context.registry.clone();
    let proven = receipt.verify(&registry).unwrap();
    let fact = status_fact(&registry, &proven).unwrap();
    let caller = world.nodes[SH].id.clone();
    let notice = Input::Notice { caller, notice: Box::new(proven), fact };
    let js = &mut world.nodes[JS];
    let inputs = vec![(None, Input::Submit(submission)), (None, notice)];
    let step = js.member.as_mut().unwrap().handle(world.now, inputs, &js.disk).unwrap();
    drop(step.commit(&js.disk as &dyn Store).unwrap());
    assert_eq!(world.cases(JS).1.iter().map(|e| e.record).collect::<Vec<_>>(), [record]);
}

#[test]
fn a_member_that_lost_its_rows_has_the_erasures_again_from_its_own_and_its_peers_logs() {
    let mut world = World::new(at("2026-04-01", 9));
    let penalty = Penalty::general("G-1", "2026-03-30");
    let record = world.collect(SH, &penalty);
    world.collect(JS, &penalty);
    // The mirror has everything but the withdrawal when the copy of the disk is taken.
    let sh = world.nodes[SH].id.clone();
    let (image, older) = (world.nodes[SH].disk.image(), world.nodes[JS].disk.image());
    world.change(SH, record, Change::Withdraw, None);
    world.until(at("2026-04-01", 10));
    assert_eq!(world.cases(SH).1.len(), 1);

    // The authority: its own log brings the withdrawal back.
    world.nodes[SH].down();
    world.nodes[SH].disk = Disk::of(image);
    world.nodes[SH].open().unwrap();
    for name in [LogName::Records, LogName::Access, LogName::Status] {
        world.pull(SH, &sh, name);
    }
    assert_eq!(world.cases(SH).1.iter().map(|e| e.due.date).collect::<Vec<_>>(), [date("2026-04-07")]);
    let size = log::size(&world.nodes[SH].disk, "status").unwrap().0;
    world.step(SH, Input::Restored { seen: vec![(LogName::Status, size)] });
    world.step(SH, Input::Synced);

    // A holder: its copy of the authority's log does.
    world.nodes[JS].down();
    world.nodes[JS].disk = Disk::of(older);
    world.nodes[JS].open().unwrap();
    world.step(JS, Input::Restored { seen: Vec::new() });
    assert!(world.cases(JS).1.is_empty());
    world.pull(JS, &sh, LogName::Status);
    assert_eq!(world.cases(JS).1.len(), 1);
}

#[test]
fn a_late_step_of_a_case_is_reported_once_and_the_counter_learns_the_outcome() {
    let mut world = World::new(at("2026-02-12", 9));
    let penalty = Penalty { tier: Tier::General, ..Penalty::general("G-1", "2025-06-03") };
    let record = world.collect(SH, &penalty);
    let draft = ApplicationDraft {
        authority: world.nodes[SH].id.clone(),
        item: item(),
        document: "G-1".into(),
        subject: subject(),
        materials: vec![Digest::of(b"proof of performance")],
        clerk: None,
        matter: Matter::Repair,
    };
    let case = CaseId([7; 16]);
    world.step(JS, Input::Apply { draft, case });
    let outcome = |world: &World| world.cases(JS).0[0].outcome.clone().unwrap_or_default();
    assert_eq!(outcome(&world).accepted, None);

    // Three working days across the festival: 13, 14 (make-up), 24.
    world.until(Timestamp(at("2026-02-25", 0).0 - 1));
    assert_eq!((world.overdue(SH), world.alerts_of(SH, "next step was due")), (0, 0));
    world.until(at("2026-02-25", 0));
    assert_eq!((world.overdue(SH), world.alerts_of(SH, "due by 2026-02-24")), (1, 1));
    world.until(at("2026-02-26", 0));
    assert_eq!((world.overdue(SH), world.alerts_of(SH, "next step was due")), (1, 1), "said once");

    // Accepted late. Order 58 gives seven working days from there: 27, 28 (make-up), 2, 3, 4, 5, 6 March.
    world.step(SH, Input::AcceptRepair { case, clerk: None });
    assert_eq!(world.overdue(SH), 0);
    world.until(at("2026-02-27", 0));
    assert_eq!(outcome(&world).accepted.map(|told| told.at), Some(at("2026-02-26", 0)));
    world.until(at("2026-03-06", 23));
    assert_eq!(world.overdue(SH), 0);
    world.until(at("2026-03-07", 0));
    assert_eq!((world.overdue(SH), world.alerts_of(SH, "due by 2026-03-06")), (1, 1));

    let refusal = Input::DecideRepair { case, grant: false, reason: "义务未履行".into(), clerk: None };
    world.step(SH, refusal);
    world.until(at("2026-03-07", 1));
    assert_eq!((world.overdue(SH), world.alerts_of(SH, "next step was due")), (0, 2));
    let (told, reason) = outcome(&world).refused.unwrap();
    assert_eq!((told.at, reason.as_str()), (at("2026-03-07", 0), "义务未履行"));

    // Again, through the same counter, and granted this time: the push alone tells it.
    let draft = ApplicationDraft {
        authority: world.nodes[SH].id.clone(),
        item: item(),
        document: "G-1".into(),
        subject: subject(),
        materials: vec![Digest::of(b"new proof")],
        clerk: None,
        matter: Matter::Repair,
    };
    let again = CaseId([8; 16]);
    world.step(JS, Input::Apply { draft, case: again });
    world.step(SH, Input::AcceptRepair { case: again, clerk: None });
    world.step(SH, Input::DecideRepair { case: again, grant: true, reason: String::new(), clerk: None });
    assert_eq!(world.status(JS, record), Status::Repaired);
    let (forwarded, _) = world.cases(JS);
    let granted = forwarded.iter().find(|f| f.application == again).unwrap().outcome.clone().unwrap();
    assert_eq!(granted.granted.map(|told| told.at), Some(world.now));
}

#[test]
fn a_deadline_in_a_year_without_a_calendar_is_provisional() {
    let mut world = World::new(at("2026-12-30", 9));
    let penalty = Penalty::general("G-1", "2026-12-28");
    let record = world.collect(SH, &penalty);
    world.change(SH, record, Change::Withdraw, None);
    let (_, erasures) = world.cases(SH);
    assert_eq!(erasures[0].due, Deadline { date: date("2027-01-04"), provisional: true });
    world.until(at("2027-01-04", 0));
    assert!(world.erased(SH, record), "a provisional day counts as long as there is no other");
}

#[test]
fn a_mask_names_the_courts_paper_and_only_the_authority_masks() {
    let mut world = World::new(at("2026-05-06", 9));
    let penalty = Penalty::general("G-1", "2026-05-01");
    let record = world.collect(SH, &penalty);
    world.collect(JS, &penalty);
    let paper = Some(Digest::of(b"ruling of the court"));
    let refused = |response: Response| match response {
        Response::Refused(refusal) => refusal.known(),
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(world.change(SH, record, Change::Mask, None)), Some(Code::CaseDenied));
    assert_eq!(refused(world.change(JS, record, Change::Mask, paper)), Some(Code::NotAuthority));
    assert_eq!(world.status(JS, record), Status::Active);
    world.change(SH, record, Change::Mask, paper);
    assert_eq!(world.status(JS, record), Status::Masked);
    world.change(SH, record, Change::Unmask, None);
    assert_eq!(world.status(JS, record), Status::Active);
    let papers: Vec<Option<Digest>> = world
        .statements(SH)
        .into_iter()
        .filter_map(|(_, fact)| match fact {
            StatusFact::Changed(changed) => Some(changed.paper),
            _ => None,
        })
        .collect();
    assert_eq!(papers, [paper, None]);
}

#[test]
fn who_has_not_acknowledged_in_time_is_named_once_and_an_application_on_its_way_too() {
    let mut world = World::new(at("2026-02-12", 9));
    let record = world.collect(SH, &Penalty::general("G-1", "2026-02-11"));
    world.cut.insert(JS);
    world.change(SH, record, Change::Mask, Some(Digest::of(b"ruling")));
    let missing = |world: &World| {
        let node = &world.nodes[SH];
        let missing = propagation::missing(&node.context, &node.disk).unwrap();
        missing.into_iter().map(|m| (m.to.as_str().to_owned(), m.due)).collect::<Vec<_>>()
    };
    // Three working days across the festival: 13, 14 (make-up), 24.
    let due = Some(Deadline { date: date("2026-02-24"), provisional: false });
    assert_eq!(missing(&world), [("js".to_owned(), due)]);
    world.until(Timestamp(at("2026-02-25", 0).0 - 1));
    assert_eq!(world.alerts_of(SH, "acknowledge it by"), 0);
    world.until(at("2026-02-25", 1));
    assert_eq!(world.alerts_of(SH, "`js` was to acknowledge it by 2026-02-24"), 1);
    world.until(at("2026-02-26", 1));
    assert_eq!(world.alerts_of(SH, "acknowledge it by"), 1, "said once, and sent on");
    world.cut.clear();
    world.until(at("2026-02-26", 2));
    assert_eq!(missing(&world), []);
    assert_eq!(world.status(JS, record), Status::Masked);

    world.cut.insert(SH);
    world.apply(JS, "G-1", 1);
    world.until(at("2026-02-28", 23)); // Friday the 27th and the make-up Saturday
    assert_eq!(world.alerts_of(JS, "was to have it by"), 0);
    world.until(at("2026-03-01", 0));
    assert_eq!(world.alerts_of(JS, "`sh` was to have it by 2026-02-28"), 1);
}

#[test]
fn retention_ends_where_the_region_says_when_and_nowhere_else() {
    let mut world = World::with_region(at("2026-04-10", 9), "330000");
    let penalty = Penalty { tier: Tier::Minor, ..Penalty::general("M-1", "2026-04-09") };
    let serious = Penalty { tier: Tier::Serious, ..Penalty::general("S-1", "2026-04-09") };
    let (minor, grave) = (world.collect(SH, &penalty), world.collect(SH, &serious));
    world.collect(JS, &penalty);
    world.collect(JS, &serious);
    // Five years from recognition, at the copy in Zhejiang; an amended date moves the end.
    world.collect(JS, &Penalty { decided: "2026-04-20", ..penalty });
    world.until(at("2031-04-19", 23));
    assert!(!world.erased(JS, minor));
    world.until(at("2031-04-20", 0));
    assert!(world.erased(JS, minor));
    assert_eq!(world.status(SH, minor), Status::Expired, "its publicity was over long before");
    // In Shanghai the five years count from the end of the act, which these do not tell: nothing is assumed.
    // A serious matter may be on a list that is kept longer: people are asked, once.
    world.until(at("2040-01-01", 0));
    assert!(!world.erased(SH, minor) && !world.erased(SH, grave) && !world.erased(JS, grave));
    assert_eq!(world.alerts_of(JS, "its retention ended on 2031-04-09"), 1);
    let asked = world.cases(JS).1;
    assert_eq!(
        asked.iter().map(|e| (e.record, e.due.date)).collect::<Vec<_>>(),
        [(grave, date("2031-04-08"))]
    );
    assert!(asked[0].retention.as_ref().unwrap().contains("浙江省"), "shown until somebody decides");
    assert_eq!(read::erasures_due(&world.nodes[JS].disk).unwrap(), 1);
    assert_eq!(world.fsck(JS), Vec::<String>::new());
    // A version with another day is another question; withdrawn by its authority it is erased as any other.
    world.collect(JS, &Penalty { decided: "2039-12-31", ..serious.clone() });
    assert!(world.cases(JS).1.is_empty());
    world.collect(JS, &Penalty { confirmed: true, ..serious });
    world.until(at("2040-01-02", 0));
    assert_eq!(world.alerts_of(JS, "its retention ended on 2031-04-09"), 2);
    world.change(SH, grave, Change::Withdraw, None);
    assert_eq!(world.cases(JS).1[0].retention, None);
    world.until(at("2040-02-01", 0));
    assert!(world.erased(JS, grave) && world.cases(JS).1.is_empty());
    assert_eq!(world.alerts_of(SH, "retention"), 0);

    // Where the file tells the end of the act, they count from there, and the record is answered no longer. Its publicity
    // does not end before: this set counts from a publication that the file does not tell.
    let mut world = World::new(at("2026-04-10", 9));
    let samr = Penalty { kind: AuthorityKind::SAMR, ..Penalty::general("U-1", "2026-04-09") };
    let untold = world.collect(SH, &samr);
    let told = world.collect(SH, &Penalty { document: "U-2", ended: Some("2026-02-28"), ..samr });
    world.until(at("2031-02-27", 23));
    assert_eq!(world.status(SH, told), Status::Active);
    world.until(at("2031-02-28", 0));
    assert_eq!([SH, JS].map(|at| world.status(at, told)), [Status::Expired; 2]);
    assert_eq!(world.status(SH, untold), Status::Active);
    assert!(!world.erased(SH, told), "Shanghai stops answering; it does not delete");

    // A region whose regulation is not provided ends nothing.
    let mut world = World::with_region(at("2026-04-10", 9), "320000");
    let record = world.collect(JS, &Penalty::general("G-1", "2026-04-09"));
    world.until(at("2050-01-01", 0));
    assert!(!world.erased(JS, record));
}
