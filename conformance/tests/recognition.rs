//! Two platforms of one region hold the same penalty, each as its own, and recognise each other's repair.

#![allow(clippy::unwrap_used, reason = "a test; what fails here fails the test")]

mod world;

use credit::{
    entry::StatusFact,
    id::{CaseId, RecordId},
    repair::Case,
    rules::System,
    status::Status,
};
use crypto::Digest;
use exchange::{
    certificate::{self, About, Which},
    logs::LogName,
    member::Input,
    repair::Finding,
    tables::Key,
};
use ledger::store::{Batch, Space, Store, View};
use world::{JS, Penalty, SH, World, at, item, subject};

/// `sh` is the region's site of 信用中国, `js` of the 公示系统, in one region.
fn world() -> World {
    World::with(at("2026-09-01", 9), |member| {
        member.system = match member.id.as_str() {
            "sh" => Some(System::CreditChina),
            "js" => Some(System::Gsxt),
            _ => None,
        };
    })
}

/// Both hold the penalty, under different ids.
fn held(world: &mut World) -> [RecordId; 2] {
    let penalty = Penalty::general("G-1", "2026-04-10");
    let ids = [world.collect_own(SH, &penalty), world.collect_own(JS, &penalty)];
    assert_ne!(ids[0], ids[1]);
    ids
}

fn decide(world: &mut World, at: usize, case: u8, grant: bool) {
    let id = CaseId([case; 16]);
    world.apply_to(at, at, "G-1", case);
    world.step(at, Input::AcceptRepair { case: id, clerk: None });
    let reason = if grant { String::new() } else { "义务未履行（示例）".to_owned() };
    world.step(at, Input::DecideRepair { case: id, grant, reason, clerk: None });
}

#[test]
fn a_repair_by_one_is_a_repair_by_the_other_with_its_own_entry() {
    let mut world = world();
    let [sh, js] = held(&mut world);
    // An application waits at the other one, too.
    world.apply_to(JS, JS, "G-1", 2);
    decide(&mut world, SH, 1, true);
    assert_eq!(world.status_by(SH, SH, sh), Status::Repaired);
    assert_eq!(world.status_by(SH, JS, js), Status::Repaired, "and `sh` has heard of it");
    // Its own decision: it names the order, rests on the other's entry, and answers the open case.
    let said: Vec<_> = world
        .statements(JS)
        .into_iter()
        .filter_map(|(_, fact)| match fact {
            StatusFact::Changed(changed) => Some(changed),
            _ => None,
        })
        .collect();
    let [changed] = &said[..] else { panic!("{said:?}") };
    assert!(
        changed.rule.starts_with("互认：国家发展改革委令第36号") && changed.paper.is_some(),
        "{changed:?}"
    );
    assert_eq!(changed.case, Some(CaseId([2; 16])));
    assert!(matches!(&world.decided_by(JS)[0], Case::Decided(decided) if decided.granted));
    // It ends there: `sh` recognises nothing back.
    assert_eq!(world.statements(SH).iter().filter(|(_, f)| matches!(f, StatusFact::Changed(_))).count(), 1);
    // The subject can take it home from either.
    let event = world.statements(JS).iter().position(|(_, f)| matches!(f, StatusFact::Changed(_))).unwrap();
    let node = &world.nodes[JS];
    let about = About { item: item(), document: "G-1".into(), subject: subject() };
    let draw_up = |about| {
        let (event, salt) = (Which::Entry(event as u64), Digest([7; 32]));
        certificate::draw_up(&node.context, &node.disk, event, about, salt, &|_| None, world.now)
            .unwrap()
            .unwrap()
    };
    let (said, _) = draw_up(Some(&about)).verify(&world.nodes[SH].context.registry).unwrap();
    assert_eq!((said.decision.record, said.decision.recognises()), (js, true));
    // It names whose result it is, and claims no acceptance of its own.
    assert_eq!(said.recognised.as_ref().map(|id| id.as_str()), Some("sh"));
    assert!(said.applied_at.is_some() && said.accepted_at.is_none());
    // Who is not told which matter it is cannot know the other's id for it.
    assert_eq!(draw_up(None).verify(&world.nodes[SH].context.registry).unwrap().0.recognised, None);
}

#[test]
fn on_conflict_credit_china_prevails() {
    // 公示系统 has refused and 信用中国 grants: both are repaired.
    let mut one = world();
    let [_, js] = held(&mut one);
    decide(&mut one, JS, 1, false);
    decide(&mut one, SH, 2, true);
    assert_eq!(one.status_by(JS, JS, js), Status::Repaired);
    assert_eq!(one.alerts_of(JS, "result stands"), 0);

    // 信用中国 has refused, and 公示系统 has heard of it: it cannot grant, and can refuse. An application that 信用中国
    // turned away at the door was not examined, and binds nobody.
    let mut heard = world();
    let [_, js] = held(&mut heard);
    heard.apply_to(SH, SH, "G-1", 1);
    let refuse = |case| Input::DecideRepair {
        case: CaseId([case; 16]),
        grant: false,
        reason: "材料不全（示例）".into(),
        clerk: None,
    };
    heard.step(SH, refuse(1));
    decide(&mut heard, SH, 2, false);
    let sh = heard.nodes[SH].context.own.id.clone();
    heard.pull(JS, &sh, LogName::Status);
    decide(&mut heard, JS, 3, true);
    assert_eq!(heard.status_by(JS, JS, js), Status::Active);
    heard.step(JS, refuse(3));

    // 信用中国 has refused and 公示系统 grants before it hears: each keeps its own, and people at 信用中国 are told.
    let mut other = world();
    let [sh, js] = held(&mut other);
    decide(&mut other, SH, 1, false);
    decide(&mut other, JS, 2, true);
    // The subject takes each refusal home like a grant: signed, with its reason, and as the log holds it. One at the door
    // (不予受理) says that nothing was accepted; an answer to an objection is no such paper.
    other.apply_to(SH, SH, "G-1", 5);
    let (case, reason) = (CaseId([5; 16]), "材料不全（示例）".to_owned());
    other.step(SH, Input::DecideRepair { case, grant: false, reason, clerk: None });
    other.object(SH, "G-1", 6);
    other.answer(6, Finding::Rejected("信息无误（示例）".to_owned()));
    let node = &other.nodes[SH];
    let of = |case| {
        let (which, salt) = (Which::Case(CaseId([case; 16])), Digest([7; 32]));
        let drawn =
            certificate::draw_up(&node.context, &node.disk, which, None, salt, &|_| None, other.now).unwrap();
        drawn.map(|drawn| drawn.verify(&other.nodes[JS].context.registry).unwrap())
    };
    for (case, reason, declined) in [(1, "义务未履行（示例）", false), (5, "材料不全（示例）", true)]
    {
        let (said, proven) = of(case).unwrap();
        assert_eq!(said.decision.refused.as_ref().map(|because| because.reason.as_str()), Some(reason));
        assert_eq!((said.decision.record, said.decision.index, &said.recognised), (sh, proven.index, &None));
        assert_eq!((said.declined, said.accepted_at.is_none()), (declined, declined));
    }
    assert!(of(6).unwrap_err().detail.contains("answers an objection"));
    assert!(of(9).unwrap_err().detail.contains("is not decided here"));
    assert_eq!(other.status_by(JS, JS, js), Status::Repaired);
    assert_eq!(other.status_by(SH, SH, sh), Status::Active);
    assert_eq!(other.alerts_of(SH, "result stands"), 1);
}

#[test]
fn a_result_stands_whatever_is_applied_for_since() {
    let mut world = world();
    let [sh, js] = held(&mut world);
    decide(&mut world, SH, 1, false);
    // Once more at the same platform: turned away at the door, and then waiting.
    let (case, reason) = (CaseId([2; 16]), "材料不全（示例）".to_owned());
    world.apply_to(SH, SH, "G-1", 2);
    world.step(SH, Input::DecideRepair { case, grant: false, reason, clerk: None });
    world.apply_to(SH, SH, "G-1", 3);
    decide(&mut world, JS, 4, true);
    assert_eq!(world.status_by(JS, JS, js), Status::Repaired);
    assert_eq!(world.status_by(SH, SH, sh), Status::Active, "what was examined and refused stands");
    assert_eq!(world.alerts_of(SH, "result stands"), 1);
    // The subject has it repaired there by the application that waits.
    world.step(SH, Input::AcceptRepair { case: CaseId([3; 16]), clerk: None });
    world.step(
        SH,
        Input::DecideRepair { case: CaseId([3; 16]), grant: true, reason: String::new(), clerk: None },
    );
    assert_eq!(world.status_by(SH, SH, sh), Status::Repaired);
}

#[test]
fn a_record_that_comes_after_the_other_platforms_repair_is_repaired_at_once() {
    let mut world = world();
    let penalty = Penalty::general("G-1", "2026-04-10");
    world.collect_own(JS, &penalty);
    decide(&mut world, JS, 1, true);
    let sh = world.collect_own(SH, &penalty);
    assert_eq!(world.status_by(SH, SH, sh), Status::Repaired);
    // Without a system there is nothing to recognise, in one region or not.
    let mut none = World::new(at("2026-09-01", 9));
    let [sh, _] = held(&mut none);
    decide(&mut none, JS, 1, true);
    assert_eq!(none.status_by(SH, SH, sh), Status::Active);
}

#[test]
fn a_repair_that_was_acknowledged_on_a_disk_without_the_record_is_recognised_when_the_record_is_back() {
    let mut world = world();
    let [sh, js] = held(&mut world);
    let key = Key::twin(&js);
    let twin = world.nodes[SH].disk.get(Space::Row, key.as_bytes()).unwrap().unwrap();
    // An older copy of the disk: it knows no twin.
    let mut older = Batch::default();
    older.delete(Space::Row, key.as_bytes());
    world.nodes[SH].disk.apply(&older).unwrap();
    decide(&mut world, JS, 1, true);
    assert_eq!(world.status_by(SH, SH, sh), Status::Active);
    // A newer one after it, and the log of this member says that the repair was acknowledged.
    let mut newer = Batch::default();
    newer.put(Space::Row, key.as_bytes(), twin);
    world.nodes[SH].disk.apply(&newer).unwrap();
    let (event, id) = (world.statements(JS).len() as u64 - 1, world.nodes[SH].id.clone());
    world.deliver(JS, event, &id);
    assert_eq!(world.status_by(SH, SH, sh), Status::Repaired);
}
