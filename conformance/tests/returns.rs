//! What comes back through the file door: a record that has ended, under another number or another member; a content that was
//! corrected since; and how a correction reaches those who were told the old one.

#![allow(clippy::unwrap_used, reason = "a test; what fails here fails the test")]

mod world;

use credit::{
    entry::{Changed, StatusFact},
    id::RecordId,
    status::{Change, Status},
};
use crypto::Digest;
use exchange::{
    kept,
    logs::LogName,
    recognise,
    tables::{self, DeliveryRow, Key},
    wire::SubmitReport,
};
use ledger::store::Store;
use world::{BANK, JS, OUTLET, Penalty, SH, World, at, item, subject};

/// One act in four forms of its number that name one record, and a fifth that nobody can know to be the same.
const FORMS: [&str; 4] = ["示罚〔2026〕12", "示罚〔2026〕12号", "示罚〔2026〕第12号", "示罰〔2026〕第0012號"];
const OTHER_WORD: &str = "示罚字〔2026〕12号";
const DAY: &str = "2026-04-10";

fn world() -> World {
    World::new(at("2026-09-01", 9))
}

/// How one row fared, and why.
fn fate(report: &SubmitReport) -> (&'static str, Vec<&str>) {
    let rows = report.rows;
    let of = [
        (rows.accepted, "accepted"),
        (rows.amended, "amended"),
        (rows.duplicate, "duplicate"),
        (rows.rejected, "rejected"),
    ];
    let [(1, word)] = of.into_iter().filter(|(n, _)| *n > 0).collect::<Vec<_>>()[..] else {
        panic!("{report:?}")
    };
    (word, report.reasons.iter().map(|r| r.code.as_str()).collect())
}

/// What a member's status log says of corrections.
fn corrections(world: &World, by: usize) -> Vec<Changed> {
    let said = world.statements(by).into_iter().filter_map(|(_, fact)| match fact {
        StatusFact::Changed(changed) if changed.change == Change::Correct => Some(changed),
        _ => None,
    });
    said.collect()
}

#[test]
fn every_form_of_a_number_is_the_one_record_and_stays_ended() {
    let mut world = world();
    let record = world.collect(SH, &Penalty::general(FORMS[0], DAY));
    world.change(SH, record, Change::Expire, None);
    for form in FORMS {
        let penalty = Penalty::general(form, DAY);
        assert_eq!(world.record(&penalty), record, "{form}");
        let report = world.hand_in(SH, SH, &penalty);
        assert!(matches!(fate(&report).0, "amended" | "duplicate"), "{report:?}");
    }
    assert_eq!(world.status(SH, record), Status::Expired);
    assert!(world.ask(1).is_empty());
}

#[test]
fn an_act_that_has_ended_is_not_taken_under_another_number_unless_somebody_says_that_it_is_another() {
    let mut world = world();
    let ended = Penalty::general(FORMS[0], DAY);
    let record = world.collect(SH, &ended);
    world.collect(JS, &ended);
    let other = Penalty::general(OTHER_WORD, DAY);
    world.change(SH, record, Change::Withdraw, None);
    for member in [SH, JS] {
        let report = world.hand_in(member, SH, &other);
        assert_eq!(fate(&report), ("rejected", vec!["like_ended"]));
        assert_eq!(report.waiting, 1, "the same file may bring it again");
        assert!(report.reasons[0].en.contains("--confirm") && report.reasons[0].zh.contains("--confirm"));
        // Of another day it is another act, and so it is where nothing has ended.
        let report = world.hand_in(member, SH, &Penalty::general("示罚字〔2026〕15号", "2026-04-11"));
        assert_eq!(fate(&report).0, "accepted");
    }
    let confirmed = Penalty { confirmed: true, ..Penalty::general("示罚字〔2026〕13号", DAY) };
    let report = world.hand_in(SH, SH, &confirmed);
    assert_eq!((fate(&report), report.rows.confirmed), (("accepted", vec![]), Some(1)));
    // A confirmation that nothing asked for is none.
    let report = world.hand_in(
        SH,
        SH,
        &Penalty { confirmed: true, ..Penalty::general("示罚〔2026〕14号", "2026-04-20") },
    );
    assert_eq!((fate(&report).0, report.rows.confirmed), ("accepted", None));
    // Erased in the meantime, it is as ended as before.
    world.until(at("2026-09-20", 9));
    assert!(world.erased(SH, record));
    assert_eq!(fate(&world.hand_in(SH, SH, &other)), ("rejected", vec!["like_ended"]));
}

#[test]
fn who_has_heard_that_an_act_has_ended_knows_it_under_another_number_without_having_held_it() {
    let mut world = world();
    let record = world.collect(SH, &Penalty::general(FORMS[0], DAY));
    world.change(SH, record, Change::Expire, None);
    assert_eq!(world.status(JS, record), Status::Expired);
    // Under any authority: also a platform that takes the act for its own.
    for authority in [SH, JS] {
        let report = world.hand_in(JS, authority, &Penalty::general(OTHER_WORD, DAY));
        assert_eq!(fate(&report).1, ["like_ended"]);
    }
    // The record itself is taken, and as ended as it is where it was decided.
    assert_eq!(fate(&world.hand_in(JS, SH, &Penalty::general(FORMS[0], DAY))).0, "accepted");
    assert_eq!(world.status(JS, record), Status::Expired);
}

#[test]
fn an_act_that_has_ended_is_known_again_after_the_disk_is_lost() {
    for change in [Change::Expire, Change::Withdraw] {
        let mut world = world();
        let record = world.collect(SH, &Penalty::general(FORMS[0], DAY));
        world.change(SH, record, change, None);
        world.pull_all();
        world.lose_disk(SH);
        // The file that brought it is not needed for it.
        let report = world.hand_in(SH, SH, &Penalty::general(OTHER_WORD, DAY));
        assert_eq!(fate(&report), ("rejected", vec!["like_ended"]));
    }
}

#[test]
fn a_bank_that_has_lost_its_disk_knows_what_it_has_acknowledged() {
    let mut world = world();
    let record = world.collect(SH, &Penalty::general(FORMS[0], DAY));
    assert_eq!(world.ask(1).len(), 1);
    world.change(SH, record, Change::Expire, None);
    let (bank, sh) = (world.nodes[BANK].id.clone(), world.nodes[SH].id.clone());
    let known = |world: &World| {
        let node = &world.nodes[BANK];
        let (news, _) = kept::news(&node.context, &node.disk, 0, 99).unwrap();
        let changes = news.iter().filter_map(|news| match &news.fact {
            Some(StatusFact::Changed(changed)) => Some((changed.record, changed.change)),
            Some(_) => None,
            None => panic!("{news:?}"),
        });
        (kept::standing(&node.disk, &sh, &record).unwrap(), changes.collect::<Vec<_>>())
    };
    let before = known(&world);
    assert_eq!(before, (Status::Expired, vec![(record, Change::Expire)]));
    world.pull(JS, &bank, LogName::Status);
    world.lose_disk(BANK);
    assert_eq!(known(&world), before);
    assert_eq!(world.fsck(BANK), Vec::<String>::new());
}

#[test]
fn a_body_that_another_member_answers_for_brings_nothing_back() {
    let mut world = world();
    let penalty = Penalty::general(FORMS[0], DAY);
    let record = world.collect(SH, &penalty);
    world.change(SH, record, Change::Expire, None);
    // The registry has given the body to `js`, so the row has another name, and the number is the same.
    let report = world.hand_in(SH, JS, &penalty);
    assert_eq!(fate(&report), ("rejected", vec!["like_ended"]));
    // Intake asks this before it lets a confirmed row pass.
    let node = &world.nodes[SH];
    let (js, item, subject) = (world.nodes[JS].id.clone(), item(), subject());
    let ended = |document| {
        let named = (&item, document, &subject);
        recognise::ended_elsewhere(&node.context, &node.disk, &js, named).unwrap()
    };
    assert!(ended(FORMS[3]));
    assert!(!ended(OTHER_WORD));
}

#[test]
fn an_older_content_undoes_no_correction_unless_somebody_says_so() {
    let mut world = world();
    // Two forms of the number are two contents of one record.
    let [first, second] = [FORMS[1], FORMS[2]].map(|form| Penalty::general(form, DAY));
    assert_eq!(fate(&world.hand_in(SH, SH, &first)).0, "accepted");
    assert_eq!(fate(&world.hand_in(SH, SH, &second)).0, "amended");
    for _ in 0..2 {
        let report = world.hand_in(SH, SH, &first);
        assert_eq!((fate(&report), report.older), (("duplicate", vec!["older_than_held"]), 1));
    }
    let told = world.ask(1);
    assert_eq!(told[0].fields[0].value.to_display(), FORMS[2]);
    let report = world.hand_in(SH, SH, &Penalty { confirmed: true, ..first.clone() });
    assert_eq!((fate(&report).0, report.rows.confirmed), ("amended", Some(1)));
    assert_eq!(world.ask(2)[0].fields[0].value.to_display(), FORMS[1]);
    // What was confirmed holds: now the other one is older.
    assert_eq!(fate(&world.hand_in(SH, SH, &second)).1, ["older_than_held"]);
}

/// Whether the bank's node says that what it was told at `asked` has been corrected since.
fn outdated(world: &World, record: &RecordId, asked: crypto::Timestamp) -> bool {
    let sh = world.nodes[SH].id.clone();
    kept::corrected(&world.nodes[BANK].disk, &sh, record, asked).unwrap().is_some()
}

#[test]
fn a_correction_reaches_whoever_was_told_the_old_content_and_nobody_else() {
    let mut world = world();
    let [first, second, third] = [FORMS[1], FORMS[2], FORMS[3]].map(|form| Penalty::general(form, DAY));
    let record = world.collect(SH, &first);
    // Nobody was told anything: nothing is said, however many rows change.
    world.collect(SH, &second);
    assert_eq!(corrections(&world, SH), []);
    let asked = world.now;
    assert_eq!(world.ask(1).len(), 1);
    assert!(!outdated(&world, &record, asked));
    world.now = world.now.plus_ms(60_000);
    world.collect(SH, &third);
    let said = corrections(&world, SH);
    let [changed] = &said[..] else { panic!("{said:?}") };
    assert_eq!((changed.record, changed.case), (record, None));
    assert!(changed.paper.is_some(), "it rests on the new version");
    // Everybody has acknowledged it, and the record stands as it stood.
    let event = world.statements(SH).len() as u64 - 1;
    for member in [JS, OUTLET, BANK] {
        assert_eq!(world.status(member, record), Status::Active);
        let acknowledged = world.statements(member).into_iter().any(
            |(_, fact)| matches!(fact, StatusFact::Acknowledged(ack) if ack.index == event && ack.origin == world.nodes[SH].id),
        );
        assert!(acknowledged, "{member}");
    }
    assert!(outdated(&world, &record, asked));
    let disk: &dyn Store = &world.nodes[BANK].disk;
    let (news, _) = kept::news(&world.nodes[BANK].context, disk, 0, 9).unwrap();
    assert!(
        news.iter().any(|n| matches!(&n.fact, Some(StatusFact::Changed(c)) if c.change == Change::Correct))
    );
    // Asked again, it has the new content, and that is not outdated.
    world.now = world.now.plus_ms(60_000);
    assert_eq!(world.ask(2)[0].fields[0].value.to_display(), FORMS[3]);
    assert!(!outdated(&world, &record, world.now));
}

#[test]
fn a_marked_record_tells_its_correction_and_one_that_has_ended_does_not() {
    let mut world = world();
    let [first, second, third] = [FORMS[1], FORMS[2], FORMS[3]].map(|form| Penalty::general(form, DAY));
    let record = world.collect(SH, &first);
    world.change(SH, record, Change::Mask, Some(Digest::of(b"ruling")));
    world.collect(SH, &second);
    assert_eq!(corrections(&world, SH).len(), 1);
    assert_eq!(world.status(JS, record), Status::Masked, "a correction lifts no mask");
    world.change(SH, record, Change::Expire, None);
    world.collect(SH, &third);
    assert_eq!(corrections(&world, SH).len(), 1);
    // Only the authority corrects: a copy elsewhere says nothing in its name, and people do not say it by hand.
    world.collect(JS, &first);
    world.collect(JS, &second);
    assert_eq!(corrections(&world, JS), []);
    let exchange::wire::Response::Refused(refusal) = world.change(SH, record, Change::Correct, None) else {
        panic!("taken")
    };
    assert!(refusal.detail.contains("file"), "{refusal}");
}

/// The bank has an outcome told at the moment given, the disk is lost, and the file handed in again; whether the bank then
/// has the end of the record, which is decided before or after the loss.
fn hears_of_the_end(told_first: bool, ended_first: bool) -> bool {
    let mut world = world();
    let penalty = Penalty::general(FORMS[1], DAY);
    let told = |world: &mut World| {
        let question = world.asked(1, ("NSXY", &[6]), &["CF:none-since=2024-01-01"]);
        world.answered(SH, &question);
        world.now = world.now.plus_ms(60_000);
    };
    if told_first {
        told(&mut world);
    }
    let record = world.collect(SH, &penalty);
    world.now = world.now.plus_ms(60_000);
    if !told_first {
        told(&mut world);
    }
    if ended_first {
        world.change(SH, record, Change::Expire, None);
    }
    world.pull_all();
    world.lose_disk(SH);
    world.collect(SH, &penalty);
    if !ended_first {
        world.change(SH, record, Change::Expire, None);
    }
    world.until(world.now.plus_ms(60_000));
    let bank = &world.nodes[BANK].id;
    let key = Key::delivery(world.statements(SH).len() as u64 - 1, bank);
    let row = tables::row::<DeliveryRow>(&world.nodes[SH].disk, &key).unwrap();
    row.is_some_and(|row| row.ack.is_some())
}

#[test]
fn who_was_told_an_outcome_is_known_again_once_the_lost_record_is_handed_in() {
    for ended_first in [false, true] {
        assert!(hears_of_the_end(false, ended_first), "{ended_first}");
        // What was told before there was a record rests on none, and the bank does not learn that there is one.
        assert!(!hears_of_the_end(true, ended_first), "{ended_first}");
    }
}
