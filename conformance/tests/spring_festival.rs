//! The whole road of one penalty across the Spring Festival of 2026: decided in Shanghai against a company registered in
//! Jiangsu, pushed and published there, received by a bank, disputed, corrected, repaired in step, and proven.

#![allow(clippy::unwrap_used, reason = "a test; what fails here fails the test")]

mod world;

use credit::{
    calendar::Calendar,
    entry::StatusFact,
    id::CaseId,
    repair::{Case, Deadline, Matter},
    rules::Tier,
    status::{Change, Status},
    subject::uscc_from_parts,
};
use crypto::{Digest, Timestamp, codec};
use exchange::{
    artifact::Artifact,
    certificate::{self, About, RepairCode, Which},
    limits::REASON_BYTES_MAX,
    member::Input,
    propagation, read,
    refusal::Code,
    repair::Finding,
    wire::Response,
};
use world::{BANK, JS, OUTLET, Penalty, SH, World, at, date, item, subject};

fn due(day: &str) -> Option<Deadline> {
    Some(Deadline { date: date(day), provisional: false })
}

/// The one case of repair at `sh`.
fn repair(world: &World) -> Case {
    world.decided_by(SH).into_iter().find(|case| case.matter() == Matter::Repair).unwrap()
}

#[test]
fn a_penalty_from_decision_to_repair_across_the_spring_festival() {
    let calendar = Calendar::builtin();
    // Decided on a Wednesday by a department whose order is the NDRC's: published within seven working days. How a market
    // regulator's decision reaches the place of registration, tells the next test.
    let decided = date("2025-11-12");
    assert_eq!(calendar.add_working_days(decided, 7).date, date("2025-11-21"));
    let penalty = Penalty::general("沪示罚2025第1号", "2025-11-12");
    let mut world = World::new(at("2025-11-21", 10));
    let record = world.collect(SH, &penalty);
    world.until(at("2025-11-26", 10));
    assert_eq!(world.collect(JS, &penalty), record, "the same penalty under the same id");

    // A bank looks, under the company's grant, on the Monday before the festival.
    world.until(at("2026-02-09", 10));
    let received = world.ask(1);
    assert_eq!(received.iter().map(|r| (r.record, r.disputed)).collect::<Vec<_>>(), [(record, false)]);

    // The company disputes; the mark is everywhere at once, and the bank, which received the record, is told.
    world.object(JS, "沪示罚2025第1号", 9);
    // Five working days by Shanghai's rule: 10, 11, 12, 13 February and the make-up Saturday 14.
    assert_eq!(world.decided_by(SH)[0].deadline(), due("2026-02-14"));
    for member in [SH, JS, OUTLET, BANK] {
        assert_eq!(world.status(member, record), Status::Disputed);
    }
    world.until(at("2026-02-10", 10));
    assert!(world.ask(2)[0].disputed);
    // The date was wrong: a superseding record, and the mark is taken off.
    let corrected = Penalty { decided: "2025-11-11", ..penalty };
    assert_eq!(world.collect(SH, &corrected), record);
    world.answer(9, Finding::Corrected);
    assert_eq!(world.status(BANK, record), Status::Active);

    // Three months after the decision, on the Thursday before the festival, it applies at home, in Jiangsu.
    world.until(at("2026-02-12", 16));
    let case = CaseId([1; 16]);
    assert!(matches!(world.apply(JS, "沪示罚2025第1号", 1), Response::Case(_)));
    // Friday 13, the make-up Saturday 14, then the first day after the festival.
    assert_eq!(repair(&world).deadline(), due("2026-02-24"));
    world.until(at("2026-02-24", 17));
    world.step(SH, Input::AcceptRepair { case, clerk: None });
    // Seven working days by Order 58, which rules over a decision of 2025: 25, 26, 27, the make-up Saturday 28, 2, 3, 4 March.
    assert_eq!(repair(&world).deadline(), due("2026-03-04"));
    assert_eq!(world.overdue(SH), 0, "nothing was late");

    // Granted on its last day, while the bank is away.
    world.until(at("2026-03-04", 15));
    world.cut.insert(BANK);
    let granted =
        world.step(SH, Input::DecideRepair { case, grant: true, reason: String::new(), clerk: None });
    let Some(Response::Decided { case: Case::Decided(said), event: Some(event) }) = granted else {
        panic!("{granted:?}")
    };
    assert_eq!((said.granted, said.rule.as_str()), (true, "ndrc-58"));
    assert!(said.rule.len() <= REASON_BYTES_MAX);
    for member in [SH, JS, OUTLET] {
        assert_eq!(world.status(member, record), Status::Repaired);
    }
    let missing = |world: &World| {
        let node = &world.nodes[SH];
        propagation::missing(&node.context, &node.disk).unwrap()
    };
    let late = missing(&world);
    assert_eq!(
        (late.len(), late[0].event, late[0].to.as_str(), late[0].due),
        (1, event, "bank-a", due("2026-03-09"))
    );
    world.until(Timestamp(at("2026-03-10", 0).0 - 1));
    assert_eq!(world.alerts_of(SH, "`bank-a` was to acknowledge"), 0);
    world.until(at("2026-03-10", 1));
    assert_eq!(world.alerts_of(SH, "`bank-a` was to acknowledge it by 2026-03-09"), 1);
    let drawn = |world: &World| {
        let node = &world.nodes[SH];
        read::certificate(&node.context, &node.disk, event, None, world.now).unwrap().unwrap()
    };
    let missed = drawn(&world).verify(&world.nodes[JS].context.registry).unwrap();
    assert_eq!(missed.missing, [world.nodes[BANK].id.clone()], "the certificate names it");
    assert!(missed.due == due("2026-03-09") && missed.late(missed.at), "and says since when it is late");

    // Back again it acknowledges in its own log, which convicts it if it uses the record after that.
    world.cut.clear();
    world.until(at("2026-03-10", 9));
    assert_eq!(world.status(BANK, record), Status::Repaired);
    assert!(missing(&world).is_empty());
    let acknowledged = world.statements(BANK).into_iter().any(
        |(_, fact)| matches!(fact, StatusFact::Acknowledged(ack) if ack.index == event && ack.origin.as_str() == "sh"),
    );
    assert!(acknowledged);
    assert!(world.ask(3).is_empty(), "and asks in vain");

    // Read as a judge would, with the registry alone.
    let registry = world.nodes[JS].context.registry.clone();
    let propagated = drawn(&world);
    let checked = propagated.verify(&registry).unwrap();
    let names: Vec<&str> = checked.acknowledged.iter().map(|(member, _)| member.as_str()).collect();
    assert_eq!((names, checked.missing.len()), (vec!["js", "xyd", "bank-a"], 0));
    assert!(checked.platforms_checked, "no platform of the registry in force is left out");
    let late: Vec<&str> =
        checked.acknowledged.iter().filter(|(_, at)| checked.late(*at)).map(|(m, _)| m.as_str()).collect();
    assert_eq!(late, ["bank-a"]);
    assert!(codec::to_vec(&Artifact::Certificate(propagated)).len() < 10_000);
    let node = &world.nodes[SH];
    let about = About { item: item(), document: "沪示罚2025第1号".into(), subject: subject() };
    let (context, disk, salt) = (&node.context, &node.disk, Digest([7; 32]));
    let draw_up = |event, about| {
        let key = |slot| node.tree.key(slot);
        certificate::draw_up(context, disk, Which::Entry(event), about, salt, &key, world.now).unwrap()
    };
    let certificate = draw_up(event, Some(&about)).unwrap();
    let (said, proven) = certificate.verify(&registry).unwrap();
    let decision = &said.decision;
    assert_eq!((decision.record, decision.case), (record, Some(case)));
    assert_eq!((decision.index, proven.index, &decision.refused), (event, event, &None));
    assert_eq!((decision.decided_at, proven.member.as_str()), (at("2026-03-04", 15), "sh"));
    assert_eq!(said.applied_at, Some(at("2026-02-12", 16)));
    assert_eq!(said.accepted_at, Some(at("2026-02-24", 17)));
    let facts = said.facts.as_ref().unwrap();
    assert_eq!((facts.decided, facts.tier), (Some(date("2025-11-11")), Some(Tier::General)));
    assert!(codec::to_vec(&certificate.code).len() < 500, "it fits a code that can be scanned");
    // It is about this company and this decision, however the number is typed, and about nothing else.
    let code = &certificate.code;
    let with = |document: &str| About { document: document.into(), ..about.clone() };
    assert_eq!(code.speaks_of(&said, &about), Some(true));
    assert_eq!(code.speaks_of(&said, &with(" 沪示罚2025第１号 ")), Some(true));
    assert_eq!(code.speaks_of(&said, &with("沪示罚2025第2号")), Some(false));
    let other = uscc_from_parts("91", "320102", 77).unwrap();
    assert_eq!(code.speaks_of(&said, &About { subject: other, ..about.clone() }), Some(false));
    // Without its salt, or with another's, it fits no number at all.
    let bare = RepairCode { salt: None, ..code.clone() };
    assert!(bare.verify(&registry).unwrap_err().detail.contains("its salt was taken out"));
    let salted = RepairCode { salt: Some(Digest([8; 32])), ..code.clone() };
    assert_eq!(salted.speaks_of(&said, &about), Some(false));
    // One that names nobody says so.
    let unnamed = draw_up(event, None).unwrap();
    let (plain, _) = unnamed.verify(&registry).unwrap();
    assert_eq!(unnamed.code.speaks_of(&plain, &about), None);
    // Of another decision or another number there is none, and two halves of different certificates do not hold.
    assert!(draw_up(event + 1_000, None).is_err());
    assert_eq!(
        draw_up(event, Some(&with("沪示罚2025第2号"))).unwrap_err().known(),
        Some(Code::RecordUnknown)
    );
    let (other, _) = read_receipt(&world, 0);
    assert!(certificate::RepairCertificate { receipt: other, ..certificate }.verify(&registry).is_err());

    // The minimum of another rule set would have been another day; the record stays repaired when its old file comes again.
    world.collect(JS, &Penalty::general("沪示罚2025第1号", "2025-11-12"));
    assert_eq!(world.status(JS, record), Status::Repaired);
    assert!(world.ask(4).is_empty());

    // Once the act behind it is revoked there is nothing any more that was repaired.
    world.change(SH, record, Change::Withdraw, None);
    let node = &world.nodes[SH];
    let drawn =
        certificate::draw_up(&node.context, &node.disk, Which::Case(case), None, salt, &|_| None, world.now)
            .unwrap();
    assert_eq!(drawn.unwrap_err().known(), Some(Code::CaseDenied));
}

#[test]
fn a_market_regulators_penalty_is_pushed_published_and_repaired_across_the_spring_festival() {
    // Decided in Shanghai on Monday 2 February 2026 against a company of Jiangsu, under Order 107; pushed as Order 45 has it.
    let mut world = World::with_region(at("2026-02-02", 16), "320000");
    let penalty = Penalty::samr("沪市监罚2026第1号", "2026-02-02");
    let record = world.collect(SH, &penalty);
    // Ten working days: 3 to 6, 9 to 13 and the make-up Saturday 14 February, before the festival. It was there at once.
    let calendar = Calendar::builtin();
    assert_eq!(calendar.add_working_days(date("2026-02-02"), 10).date, date("2026-02-14"));
    assert_eq!(world.publication(SH, record).taken, Some(at("2026-02-02", 16)));
    // Jiangsu has ten of its own, from receipt; it publishes on Friday 6 February, and its word is the authority's clock.
    assert_eq!(world.copy(JS, record).due, due("2026-02-14"));
    world.until(at("2026-02-06", 10));
    world.publish(JS, record);
    assert_eq!(world.publication(SH, record).published, Some(date("2026-02-06")));
    // A bank looks and is told by the authority, never from the copy.
    world.until(at("2026-02-09", 10));
    assert_eq!(world.ask(1).iter().map(|r| r.record).collect::<Vec<_>>(), [record]);
    // The company disputes: Jiangsu sees the mark at once, and answers nothing itself.
    world.object(JS, "沪市监罚2026第1号", 9);
    assert_eq!(world.copy(JS, record).status, Status::Disputed);
    // The date was wrong: the corrected decision is pushed again, and is to be published anew within ten working days of
    // Tuesday 10 February: 11, 12, 13, 14, and from the 24th, over the festival, to Saturday 28 and Monday 2 March.
    world.until(at("2026-02-10", 10));
    world.collect(SH, &Penalty { decided: "2026-01-30", ..penalty });
    world.answer(9, Finding::Corrected);
    let copy = world.copy(JS, record);
    assert_eq!((copy.status, copy.current, copy.due), (Status::Active, false, due("2026-03-02")));
    world.until(at("2026-02-24", 9));
    world.publish(JS, record);
    assert!(world.copy(JS, record).current);
    assert_eq!(
        world.publication(SH, record).published,
        Some(date("2026-02-06")),
        "publicity does not begin anew"
    );
    // Three months from the publication, and not from the decision, it may be repaired; applied for at home.
    world.until(at("2026-05-06", 9));
    let case = CaseId([1; 16]);
    assert!(matches!(world.apply(JS, "沪市监罚2026第1号", 1), Response::Case(_)));
    world.step(SH, Input::AcceptRepair { case, clerk: None });
    let granted =
        world.step(SH, Input::DecideRepair { case, grant: true, reason: String::new(), clerk: None });
    let Some(Response::Decided { case: Case::Decided(said), .. }) = granted else { panic!("{granted:?}") };
    assert_eq!((said.granted, said.rule.as_str()), (true, "samr-107"));
    // Jiangsu has three working days to take it down, the make-up Saturday after Labour Day among them, and cannot publish it
    // again. It says on Friday that it is done: Shanghai knows, and it is forgotten when the days are over.
    let copy = world.copy(JS, record);
    assert_eq!((copy.status, copy.due, copy.held), (Status::Repaired, due("2026-05-09"), true));
    assert!(matches!(world.publish(JS, record), Response::Refused(r) if r.known() == Some(Code::CaseDenied)));
    world.until(at("2026-05-08", 9));
    assert!(matches!(world.take_down(JS, record, None), Response::Receipt(_)));
    let page = world.publication(SH, record).pages.pop().unwrap();
    assert_eq!(
        (page.member.as_str(), page.published, page.down),
        ("js", date("2026-02-06"), Some(date("2026-05-08")))
    );
    world.until(at("2026-05-12", 9));
    assert!(!world.copy(JS, record).held);
    assert_eq!((world.alerts_of(SH, "late "), world.alerts_of(JS, "late ")), (0, 0), "nothing was late");
}

/// The receipt of an entry of `sh`'s status log, and its proof.
fn read_receipt(world: &World, index: u64) -> (exchange::receipt::Receipt, exchange::receipt::Proven) {
    let node = &world.nodes[SH];
    let receipt = read::notice(&node.context, &node.disk, index).unwrap();
    let proven = receipt.verify(&node.context.registry).unwrap();
    (receipt, proven)
}
