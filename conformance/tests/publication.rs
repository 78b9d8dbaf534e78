//! A market regulator's decision about a company of another province: pushed there, published, corrected, ended.

#![allow(clippy::unwrap_used, reason = "a test; what fails here fails the test")]

mod world;

use credit::{
    calendar::Calendar,
    entry::{Entry, Fact, PageDay, StatusFact},
    id::RecordId,
    repair::Deadline,
    rules::RuleBook,
    status::{Change, Status},
    value::Date,
};
use crypto::{Bytes, Digest, Timestamp, codec};
use exchange::{
    accesses,
    answer::Answer,
    logs::LogName,
    member::Input,
    push::{self, copy, doubt, publish},
    read,
    refusal::Code,
    tables::{self, Key},
    wire::Response,
};
use ledger::{log, tree::LeafIndex};
use world::{BANK, JS, OUTLET, Penalty, SH, World, at, date};

/// `js` serves Jiangsu, where the company is registered.
fn delta(now: Timestamp) -> World {
    World::with_region(now, "320000")
}

fn due(day: &str) -> Option<Deadline> {
    Some(Deadline { date: date(day), provisional: false })
}

fn access(world: &World, at: usize) -> Vec<Fact> {
    let disk = &world.nodes[at].disk;
    let size = log::size(disk, "access").unwrap().0;
    let entry = |index| log::entry(disk, "access", LeafIndex(index)).unwrap().unwrap();
    (0..size).map(|index| Entry::from_bytes(&entry(index)).unwrap().fact).collect()
}

/// What a copy says, as its receiver reads it.
fn read_copy(world: &World, at: usize, record: RecordId) -> Option<Vec<(u16, String)>> {
    let node = &world.nodes[at];
    let answer = copy::sealed(&node.disk, &record).unwrap()?;
    let copy = copy::open(&node.context, &node.opening, &answer).unwrap();
    assert_eq!(copy.subject, world::subject());
    Some(copy.fields.into_iter().map(|f| (f.field.0, f.value.to_display())).collect())
}

fn overdue(world: &World, at: usize) -> push::Overdue {
    let node = &world.nodes[at];
    push::overdue(&node.context, &node.disk, Date::from_timestamp(world.now)).unwrap()
}

/// Who has published a record of `sh`, when it took that down, and by when it is to.
fn pages(world: &World, record: RecordId) -> Vec<(String, Option<Date>, Option<Deadline>)> {
    let pages = world.publication(SH, record).pages.into_iter();
    pages.map(|page| (page.member.to_string(), page.down, page.due)).collect()
}

fn is_refused(response: &Response, why: &str) {
    let Response::Refused(refusal) = response else { panic!("{response:?}") };
    assert!(refusal.known() == Some(Code::CaseDenied) && refusal.detail.contains(why), "{}", refusal.detail);
}

fn published_by(world: &World, at: usize) -> Vec<(RecordId, String)> {
    let said = world.statements(at).into_iter().filter_map(|(_, fact)| match fact {
        StatusFact::Published(said) => Some((said.record, said.on.to_string())),
        _ => None,
    });
    said.collect()
}

#[test]
fn a_receiver_that_is_away_has_the_record_when_it_is_back_and_it_is_logged_before_it_leaves() {
    // Decided on the last Friday before the festival; ten working days later, two make-up Saturdays among them, is 5 March.
    let penalty = Penalty::samr("沪市监罚2026第1号", "2026-02-13");
    let calendar = Calendar::builtin();
    assert_eq!(calendar.add_working_days(date("2026-02-13"), 10).date, date("2026-03-05"));
    let mut world = delta(at("2026-02-13", 15));
    world.cut.insert(JS);
    let record = world.collect(SH, &penalty);
    let line = world.publication(SH, record);
    assert_eq!((line.pushed, line.taken, line.due), (true, None, due("2026-03-05")));
    assert_eq!(line.to.unwrap().as_str(), "js");
    // The access log says so already: who is to have it, which fields, and the rule that makes it a duty.
    let pushed = access(&world, SH).into_iter().find_map(|fact| match fact {
        Fact::Pushed(pushed) => Some(pushed),
        _ => None,
    });
    let pushed = pushed.unwrap();
    assert_eq!((pushed.record, pushed.rule.as_str()), (record, "samr-45"));
    assert_eq!(pushed.fields.iter().map(|f| f.0).collect::<Vec<_>>(), [14, 18, 23, 27]);
    // Its subject finds it in the list of accesses.
    let node = &world.nodes[SH];
    let list = accesses::draw_up(&node.context, &node.disk, world::subject(), None, world.now).unwrap();
    let list = node.context.registry.verify(&list).unwrap();
    assert_eq!(list.get().count, 1);
    // It is tried again, and late only after the last day; that is said once.
    world.until(Timestamp(at("2026-03-06", 0).0 - 1));
    assert_eq!(world.alerts_of(SH, "was to be pushed to `js`"), 0);
    world.until(at("2026-03-06", 0));
    world.until(at("2026-03-06", 1));
    assert_eq!(world.alerts_of(SH, "was to be pushed to `js` by 2026-03-05"), 1);
    let overdue = |world: &World, at: usize| {
        let late = overdue(world, at);
        (late.pushes, late.publications)
    };
    assert_eq!(overdue(&world, SH), (1, 0));
    // Back again it gets it at the next try, opened and proven, and publishes within ten working days of receipt.
    world.cut.clear();
    world.until(at("2026-03-06", 2));
    let line = world.publication(SH, record);
    assert_eq!((line.taken, line.due), (Some(at("2026-03-06", 2)), None));
    assert_eq!(overdue(&world, SH), (0, 0));
    let copy = world.copy(JS, record);
    assert_eq!((copy.status, copy.due, copy.held), (Status::Active, due("2026-03-20"), true));
    let told = read_copy(&world, JS, record).unwrap();
    assert_eq!(told[0], (14, "沪市监罚2026第1号".into()));
    assert_eq!(told[2], (23, "2026-02-13".into()));
    // No answer is given from a copy, by which the company is in no index here.
    let tag = world.nodes[JS].context.own.naming.subject_tag(&world::subject());
    let index = Key::index_of(&tag, &world::item());
    assert!(tables::rows::<()>(&world.nodes[JS].disk, &index, 9).unwrap().is_empty());
    // Late at the receiver, too, is said once, and not after the publication.
    world.until(at("2026-03-21", 0));
    assert_eq!(world.alerts_of(JS, "was to be published by 2026-03-20"), 1);
    assert_eq!(overdue(&world, JS), (0, 1));
    assert!(matches!(world.publish(JS, record), Response::Receipt(_)));
    assert_eq!(overdue(&world, JS), (0, 0));
    assert_eq!(world.publication(SH, record).published, Some(date("2026-03-21")));
}

#[test]
fn publicity_counts_from_the_day_the_receiver_says() {
    let mut world = delta(at("2026-01-05", 9));
    let record = world.collect(SH, &Penalty::samr("沪市监罚2026第2号", "2026-01-05"));
    world.until(at("2026-01-12", 9));
    let apply = |world: &mut World, case: u8| {
        world.apply(JS, "沪市监罚2026第2号", case);
        let case = credit::id::CaseId([case; 16]);
        world.step(SH, Input::AcceptRepair { case, clerk: None });
        world.step(SH, Input::DecideRepair { case, grant: true, reason: String::new(), clerk: None })
    };
    // Without a day of publication Order 107 gives no minimum.
    let denied = apply(&mut world, 1);
    let Some(Response::Refused(refusal)) = denied else { panic!("{denied:?}") };
    assert!(refusal.detail.contains("counts from publication"), "{}", refusal.detail);
    assert_eq!(world.publish(JS, record), world.publish(JS, record), "said twice it is one entry");
    assert_eq!(published_by(&world, JS), [(record, "2026-01-12".to_owned())]);
    assert_eq!(world.publication(SH, record).published, Some(date("2026-01-12")));
    // A day that was wrong is put right; one that is ahead is not taken.
    let on = |day: &str| Input::Publish { record, on: Some(date(day)) };
    let ahead = world.step(JS, on("2026-01-13"));
    assert!(matches!(ahead, Some(Response::Refused(r)) if r.known() == Some(Code::CaseDenied)));
    world.step(JS, on("2026-01-09"));
    assert_eq!(world.publication(SH, record).published, Some(date("2026-01-09")));
    // Three months from there, and not a day sooner.
    let decide = |world: &mut World| {
        let case = credit::id::CaseId([1; 16]);
        world.step(SH, Input::DecideRepair { case, grant: true, reason: String::new(), clerk: None })
    };
    world.until(at("2026-04-08", 9));
    assert!(matches!(decide(&mut world), Some(Response::Refused(_))));
    world.until(at("2026-04-09", 9));
    assert!(matches!(decide(&mut world), Some(Response::Decided { .. })));
    assert_eq!(world.copy(JS, record).status, Status::Repaired);
}

#[test]
fn publicity_ends_by_itself_a_year_after_the_publication() {
    let mut world = delta(at("2026-01-05", 9));
    let record = world.collect(SH, &Penalty::samr("沪市监罚2026第3号", "2026-01-05"));
    world.until(at("2026-01-12", 9));
    world.publish(JS, record);
    world.until(Timestamp(at("2027-01-12", 0).0 - 1));
    assert_eq!(world.expiries(SH), []);
    world.until(at("2027-01-12", 0));
    assert_eq!(world.expiries(SH), [(at("2027-01-12", 0), record, "samr-107".to_owned())]);
    assert_eq!(world.copy(JS, record).status, Status::Expired, "stop publishing");
}

#[test]
fn a_correction_is_pushed_again_and_published_again() {
    let mut world = delta(at("2026-01-05", 9));
    let penalty = Penalty::samr("沪市监罚2026第4号", "2026-01-05");
    let record = world.collect(SH, &penalty);
    world.publish(JS, record);
    let before = world.copy(JS, record);
    assert!(before.current && before.due.is_none());
    let first = world.pushed(SH, record);
    assert!(first.is_none(), "what was taken is not sent again");
    world.until(at("2026-01-07", 9));
    world.collect(SH, &Penalty { decided: "2026-01-04", ..penalty });
    let copy = world.copy(JS, record);
    assert_eq!((copy.current, copy.published), (false, Some(date("2026-01-05"))));
    assert_eq!(copy.due, due("2026-01-21"));
    assert_eq!(read_copy(&world, JS, record).unwrap()[2], (23, "2026-01-04".into()));
    world.until(at("2026-01-08", 9));
    world.publish(JS, record);
    assert!(world.copy(JS, record).current);
    assert_eq!(world.publication(SH, record).published, Some(date("2026-01-05")), "it counts from the first");
}

#[test]
fn what_has_ended_is_shown_at_once_and_its_values_are_forgotten() {
    let mut world = delta(at("2026-01-05", 9));
    let record = world.collect(SH, &Penalty::samr("沪市监罚2026第5号", "2026-01-05"));
    world.publish(JS, record);
    let kept = copy::sealed(&world.nodes[JS].disk, &record).unwrap().unwrap();
    let backup = world.nodes[JS].disk.image();
    for (change, status) in [(Change::Mask, Status::Masked), (Change::Unmask, Status::Active)] {
        world.change(SH, record, change, Some(Digest::of(b"ruling")));
        assert_eq!(world.copy(JS, record).status, status);
    }
    world.change(SH, record, Change::Withdraw, None);
    assert_eq!(world.copy(JS, record).status, Status::Withdrawn);
    assert!(matches!(world.publish(JS, record), Response::Refused(r) if r.known() == Some(Code::CaseDenied)));
    // People have until the third working day to take it down, and see what it is.
    assert!(read_copy(&world, JS, record).is_some());
    world.until(at("2026-01-08", 1));
    assert!(read_copy(&world, JS, record).is_none());
    assert!(!world.copy(JS, record).held);
    // Neither a late duplicate nor an old disk brings the values back.
    assert!(matches!(world.arrive(SH, JS, &kept), Ok(Some(Response::Receipt(_)))));
    assert!(read_copy(&world, JS, record).is_none());
    world.nodes[JS].down();
    world.nodes[JS].disk = conformance::sim::disk::Disk::of(backup);
    world.nodes[JS].open().unwrap();
    assert!(read_copy(&world, JS, record).is_some(), "the old disk has them");
    let own = world.nodes[JS].id.clone();
    for name in LogName::ALL {
        world.pull(JS, &own, name);
    }
    world.step(JS, Input::Restored { seen: Vec::new() });
    let authority = world.nodes[SH].id.clone();
    world.pull(JS, &authority, LogName::Status);
    world.step(JS, Input::Synced);
    assert_eq!(world.copy(JS, record).status, Status::Withdrawn, "known before it serves");
    world.until(at("2026-01-08", 2));
    assert!(read_copy(&world, JS, record).is_none());
}

#[test]
fn a_receiver_that_lost_its_disk_knows_what_it_has_published() {
    let mut world = delta(at("2026-01-05", 9));
    let record = world.collect(SH, &Penalty::samr("沪市监罚2026第6号", "2026-01-05"));
    world.publish(JS, record);
    world.pull_all();
    world.lose_disk(JS);
    let copy = world.copy(JS, record);
    assert_eq!((copy.held, copy.published, copy.current), (false, Some(date("2026-01-05")), true));
    assert_eq!(copy.due, None);
    // The values are at the authority. It is away at first, and has an acknowledgement of long ago.
    world.cut.insert(SH);
    world.until(at("2026-01-05", 10));
    assert!(!world.copy(JS, record).held);
    world.cut.clear();
    // It asks, and is sent it with the next tick.
    for hour in [11, 12] {
        world.until(at("2026-01-05", hour));
    }
    let copy = world.copy(JS, record);
    assert_eq!((copy.held, copy.published, copy.due), (true, Some(date("2026-01-05")), None));
    // The authority keeps the word that it had, and has nothing more to send.
    assert_eq!(world.publication(SH, record).taken, Some(at("2026-01-05", 9)));
    assert!(world.pushed(SH, record).is_none());
    // Nobody else is sent it, and nothing that was pushed to nobody.
    let others = world.nodes[OUTLET].id.clone();
    for (caller, asked) in [(others, record), (world.nodes[JS].id.clone(), RecordId([9; 32]))] {
        let refused = world.step(SH, Input::PushAgain { caller, record: asked });
        assert!(matches!(refused, Some(Response::Refused(r)) if r.known() == Some(Code::RecordUnknown)));
    }
}

#[test]
fn an_authority_that_lost_its_disk_does_not_push_what_it_has_not_and_pushes_it_when_the_file_comes() {
    let mut world = delta(at("2026-01-05", 9));
    let penalty = Penalty::samr("沪市监罚2026第7号", "2026-01-05");
    let record = world.collect(SH, &penalty);
    world.pull_all();
    world.lose_disk(SH);
    let line = world.publication(SH, record);
    assert_eq!((line.pushed, line.taken), (true, None), "the acknowledgement was on the disk alone");
    assert!(world.pushed(SH, record).is_none());
    world.until(at("2026-01-06", 9));
    world.collect(SH, &penalty);
    assert_eq!(world.publication(SH, record).taken, Some(at("2026-01-06", 9)));
}

#[test]
fn at_home_the_authority_publishes_itself_within_twenty_working_days() {
    let mut world = at_home(at("2026-01-05", 9));
    let record = world.collect(SH, &Penalty::samr("苏市监罚2026第1号", "2026-01-05"));
    let line = world.publication(SH, record);
    assert_eq!((line.pushed, line.due), (false, due("2026-02-02")));
    assert!(access(&world, SH).iter().all(|fact| !matches!(fact, Fact::Pushed(_))));
    world.until(at("2026-02-03", 0));
    assert_eq!(world.alerts_of(SH, "was to be published by 2026-02-02"), 1);
    world.publish(SH, record);
    let line = world.publication(SH, record);
    assert_eq!((line.published, line.due), (Some(date("2026-02-03")), None));
}

#[test]
fn what_no_member_could_publish_is_pushed_when_the_registry_has_one() {
    // All members of this federation are in Shanghai.
    let mut world = World::new(at("2026-01-05", 9));
    let record = world.collect(SH, &Penalty::samr("沪市监罚2026第8号", "2026-01-05"));
    let line = world.publication(SH, record);
    assert_eq!((line.to, line.pushed, line.due), (None, false, None));
    assert_eq!(line.province, "320000");
    // And of a department without a rule there is nothing to say.
    let general = world.collect(SH, &Penalty::general("沪示罚2026第9号", "2026-01-05"));
    let node = &world.nodes[SH];
    assert!(push::pushes(&node.context, &node.disk, Some(general)).unwrap().is_empty());
    // The registry gives `js` to Jiangsu.
    let mut registry = (*world.nodes[SH].context.registry).clone();
    registry.version += 1;
    registry.members.iter_mut().filter(|m| m.stated.id.as_str() == "js").for_each(|m| {
        "320000".clone_into(&mut m.stated.region);
    });
    let registry = std::sync::Arc::new(registry);
    for at in [JS, SH] {
        world.nodes[at].context.registry = registry.clone();
        world.step(at, Input::Registry(registry.clone()));
    }
    world.until(at("2026-01-06", 9));
    let line = world.publication(SH, record);
    assert_eq!((line.to.unwrap().as_str(), line.taken), ("js", Some(at("2026-01-06", 9))));
    assert_eq!(world.copy(JS, record).due, due("2026-01-20"));
}

#[test]
fn what_is_not_to_be_published_is_not_pushed() {
    let mut world = delta(at("2027-01-10", 9));
    let fine = Penalty::samr("", "2026-01-05");
    // 处罚类别, 公示日期 and 公示截止期 as the file tells them, whether it is pushed.
    let table = [
        ("罚款", None, None, true),
        ("警告", None, None, false),
        ("警告;通报批评", None, None, false),
        ("警告;罚款", None, None, true),
        // The longest publicity is one year, and was over yesterday, or is tomorrow.
        ("罚款", Some("2026-01-09"), None, false),
        ("罚款", Some("2026-01-11"), None, true),
        ("罚款", None, Some("2027-01-09"), false),
        ("罚款", None, Some("2027-01-10"), true),
    ];
    let documents = ["第21号", "第22号", "第23号", "第24号", "第25号", "第26号", "第27号", "第28号"];
    for (document, (kinds, published, until, pushed)) in documents.into_iter().zip(table) {
        let record = world.collect(SH, &Penalty { document, kinds, published, until, ..fine.clone() });
        let node = &world.nodes[SH];
        let lines = push::pushes(&node.context, &node.disk, Some(record)).unwrap();
        assert_eq!(lines.len(), usize::from(pushed), "{kinds} {published:?} {until:?}");
    }
}

#[test]
fn only_who_was_to_publish_it_says_when_it_was_published_and_for_no_day_before() {
    let mut world = delta(at("2026-01-05", 9));
    let record = world.collect(SH, &Penalty::samr("沪市监罚2026第30号", "2026-01-05"));
    world.until(at("2026-01-12", 9));
    let refused = world.step(JS, Input::Publish { record, on: Some(date("2026-01-04")) });
    let Some(Response::Refused(refusal)) = refused else { panic!("{refused:?}") };
    assert!(refusal.detail.contains("before 2026-01-05"), "{}", refusal.detail);
    // Statements as a node without that check would sign them; the outlet has the record as a recipient, not to publish it.
    let say = |world: &mut World, by: usize, on: &str| {
        let author = world.nodes[by].id.clone();
        let row = publish::PageRow { index: 90, at: world.now, on: date(on) };
        world.damage(SH, &Key::published(&record, &author), Some(codec::to_vec(&row)));
        world.publication(SH, record).published
    };
    let outlet = world.nodes[OUTLET].id.clone();
    let told = tables::RecipientRow::of(None, world.now, None);
    world.damage(SH, &Key::recipient(&record, &outlet), Some(codec::to_vec(&told)));
    assert_eq!(say(&mut world, OUTLET, "2026-01-06"), None, "it was not pushed there");
    assert_eq!(say(&mut world, JS, "2025-01-04"), None, "a year of publicity would be over at once");
    assert_eq!(say(&mut world, JS, "2026-01-05"), Some(date("2026-01-05")));
    // Nor does a day count that was still ahead when it was said.
    let mut world = delta(at("2026-01-05", 9));
    let record = world.collect(SH, &Penalty::samr("沪市监罚2026第31号", "2026-01-05"));
    world.cut.insert(SH);
    world.publish(JS, record);
    let node = &world.nodes[JS];
    let size = log::size(&node.disk, "status").unwrap().0;
    let notice = read::notice(&node.context, &node.disk, size - 1).unwrap();
    let notice = Box::new(notice.verify(&node.context.registry).unwrap());
    let (caller, authority) = (node.id.clone(), world.nodes[SH].id.clone());
    let fact = StatusFact::Published(PageDay { record, authority, on: date("2026-01-06") });
    world.step(SH, Input::Notice { caller, notice, fact });
    assert_eq!(world.publication(SH, record).published, None);
}

#[test]
fn a_receiver_takes_a_push_of_the_authority_under_a_rule_it_knows_and_its_sender_shows_why_not() {
    let mut world = delta(at("2026-01-05", 9));
    let known = world.nodes[JS].context.clone();
    // By the registry of the receiver the deciding body is another member's.
    let registry = std::sync::Arc::make_mut(&mut world.nodes[JS].context.registry);
    let bodies =
        registry.members.iter().find(|m| m.stated.id.as_str() == "sh").unwrap().stated.bodies.clone();
    for member in &mut registry.members {
        match member.stated.id.as_str() {
            "sh" => member.stated.bodies.clear(),
            "js" => member.stated.bodies.extend(bodies.clone()),
            _ => {}
        }
    }
    let record = world.collect(SH, &Penalty::samr("沪市监罚2026第32号", "2026-01-05"));
    let line = world.publication(SH, record);
    assert_eq!(line.taken, None);
    let why = line.refused.unwrap();
    assert!(why.contains("not the record's authority") && why.contains("认定单位"), "{why}");
    // Its build is older than the rule: another word, and the next try tells it.
    world.nodes[JS].context = known.clone();
    let publication = include_str!("../../credit/data/rules/publication.csv");
    let older = RuleBook::parse([
        include_str!("../../credit/data/rules/repair.csv"),
        include_str!("../../credit/data/rules/retention.csv"),
        include_str!("../../credit/data/rules/deadlines.csv"),
        include_str!("../../credit/data/rules/recognition.csv"),
        include_str!("../../credit/data/rules/tiers.csv"),
        include_str!("../../credit/data/rules/authorities.csv"),
        &publication.replace("samr-45,", "samr-44,"),
    ]);
    world.nodes[JS].context.rules = std::sync::Arc::new(older.unwrap());
    world.until(at("2026-01-05", 10));
    let why = world.publication(SH, record).refused.unwrap();
    assert!(why.contains("knows no rule `samr-45`"), "{why}");
    // As soon as it may it takes it.
    world.nodes[JS].context = known;
    world.until(at("2026-01-05", 11));
    let line = world.publication(SH, record);
    assert_eq!((line.taken, line.refused), (Some(at("2026-01-05", 11)), None));
}

#[test]
fn an_own_record_that_is_erased_is_taken_down_first() {
    let mut world = delta(at("2026-01-05", 9));
    let record = world.collect(SH, &Penalty::samr("沪市监罚2026第33号", "2026-01-05"));
    world.publish(JS, record);
    let erase = world.erasure(SH, record, "示例条例第九条");
    assert!(matches!(world.step(SH, erase), Some(Response::Done)));
    assert_eq!(world.copy(JS, record).status, Status::Expired, "take it down");
    assert_eq!(world.expiries(SH), [(at("2026-01-05", 9), record, "示例条例第九条".to_owned())]);
    world.until(at("2026-01-08", 1));
    assert!(read_copy(&world, JS, record).is_none());
    // What the authority has erased it still waits for: whether it is taken down.
    assert_eq!(pages(&world, record), [("js".to_owned(), None, due("2026-01-08"))]);
    world.take_down(JS, record, Some("2026-01-07"));
    assert_eq!(pages(&world, record), [("js".to_owned(), Some(date("2026-01-07")), None)]);
    for member in [SH, JS] {
        assert_eq!(world.fsck(member), Vec::<String>::new());
    }
}

#[test]
fn what_is_shown_again_is_published_again() {
    let mut world = delta(at("2026-01-05", 9));
    let record = world.collect(SH, &Penalty::samr("沪市监罚2026第34号", "2026-01-05"));
    world.publish(JS, record);
    world.change(SH, record, Change::Mask, Some(Digest::of(b"ruling")));
    assert_eq!(world.copy(JS, record).due, due("2026-01-08"), "it is to be taken down for now");
    assert!(matches!(world.take_down(JS, record, None), Response::Receipt(_)));
    assert_eq!(pages(&world, record), [("js".to_owned(), Some(date("2026-01-05")), None)]);
    world.until(at("2026-01-12", 9));
    world.change(SH, record, Change::Unmask, Some(Digest::of(b"plan ended")));
    let copy = world.copy(JS, record);
    assert_eq!((copy.current, copy.due), (false, due("2026-01-26")));
    is_refused(&world.take_down(JS, record, None), "may be published");
    world.until(at("2026-01-27", 0));
    assert_eq!(world.alerts_of(JS, "late publications: 1;"), 1);
    world.publish(JS, record);
    assert!(world.copy(JS, record).current);
    assert_eq!(
        world.publication(SH, record).published,
        Some(date("2026-01-05")),
        "it counts from the first day"
    );
    // It is there again; what was said of taking it down was of the time before.
    assert_eq!(world.copy(JS, record).down, None);
    assert_eq!(pages(&world, record), [("js".to_owned(), None, None)]);
    world.change(SH, record, Change::Expire, None);
    assert_eq!(pages(&world, record), [("js".to_owned(), None, due("2026-01-30"))]);
    assert_eq!(world.alerts_of(JS, "late take-downs"), 0);
}

#[test]
fn a_correction_that_is_not_to_be_published_takes_the_copy_down_and_stops_an_old_push() {
    let mut world = delta(at("2026-01-05", 9));
    let penalty = Penalty::samr("沪市监罚2026第35号", "2026-01-05");
    let record = world.collect(SH, &penalty);
    world.publish(JS, record);
    world.collect(SH, &Penalty { kinds: "警告", ..penalty.clone() });
    let copy = world.copy(JS, record);
    assert_eq!((copy.corrected, copy.current, copy.due), (true, false, due("2026-01-08")));
    assert!(matches!(world.publish(JS, record), Response::Refused(r) if r.detail.contains("corrected")));
    // Its authority sees that it is there still, and that it is not.
    assert_eq!(pages(&world, record), [("js".to_owned(), None, due("2026-01-08"))]);
    assert!(matches!(world.take_down(JS, record, None), Response::Receipt(_)));
    assert_eq!(pages(&world, record), [("js".to_owned(), Some(date("2026-01-05")), None)]);
    assert_eq!((world.copy(JS, record).due, world.copy(JS, record).down), (None, Some(date("2026-01-05"))));
    // One on its way that no version follows is given up: nothing is sent, nobody is told that it is late.
    world.cut.insert(JS);
    let second = Penalty { document: "沪市监罚2026第36号", ..penalty };
    let record = world.collect(SH, &second);
    world.collect(SH, &Penalty { kinds: "警告", ..second });
    let tries = |world: &World| world.publication(SH, record).tries;
    let before = tries(&world);
    for day in ["2026-01-06", "2026-02-06"] {
        world.until(at(day, 0));
    }
    assert_eq!((tries(&world), world.alerts_of(SH, "was to be pushed")), (before, 0));
}

/// `sh` publishes about companies of Jiangsu itself.
fn at_home(now: Timestamp) -> World {
    World::with(now, |member| {
        let region = match member.id.as_str() {
            "sh" => "320000",
            "js" => "310000",
            _ => return,
        };
        region.clone_into(&mut member.region);
    })
}

#[test]
fn at_home_a_correction_is_published_again_and_the_file_may_tell_the_day() {
    let mut world = at_home(at("2026-01-05", 9));
    let penalty = Penalty::samr("苏市监罚2026第2号", "2026-01-05");
    let record = world.collect(SH, &penalty);
    world.publish(SH, record);
    world.until(at("2026-01-07", 9));
    world.collect(SH, &Penalty { decided: "2026-01-04", ..penalty });
    let line = world.publication(SH, record);
    assert_eq!((line.again, line.due), (true, due("2026-02-04")), "twenty working days from the correction");
    world.until(at("2026-01-08", 9));
    world.publish(SH, record);
    let line = world.publication(SH, record);
    assert_eq!((line.again, line.due, line.published), (false, None, Some(date("2026-01-05"))));
    // A file that tells the day leaves nothing to be said, and nothing to be late.
    let told =
        Penalty { published: Some("2026-01-07"), ..Penalty::samr("苏市监罚2026第3号", "2026-01-06") };
    let record = world.collect(SH, &told);
    let line = world.publication(SH, record);
    assert_eq!((line.published, line.due), (Some(date("2026-01-07")), None));
    world.until(at("2026-02-20", 0));
    assert_eq!(world.alerts_of(SH, "late publications"), 0);
}

#[test]
fn what_has_ended_is_taken_down_within_three_working_days_and_its_authority_knows() {
    let mut world = delta(at("2026-02-10", 9));
    let record = world.collect(SH, &Penalty::samr("沪市监罚2026第40号", "2026-02-10"));
    world.publish(JS, record);
    is_refused(&world.take_down(JS, record, None), "the record is active and may be published / 该信息正常");
    // Revoked on Thursday before the Spring Festival. Three working days: Friday, the make-up Saturday, Tuesday 24 February.
    world.until(at("2026-02-12", 9));
    world.change(SH, record, Change::Withdraw, None);
    assert_eq!(world.copy(JS, record).due, due("2026-02-24"));
    assert_eq!(pages(&world, record), [("js".to_owned(), None, due("2026-02-24"))]);
    // Nobody says it. That is late on the day after, and said once.
    world.until(at("2026-02-24", 23));
    assert_eq!((world.alerts_of(JS, "take-downs"), overdue(&world, JS).take_downs), (0, 0));
    for hour in [0, 1] {
        world.until(at("2026-02-25", hour));
    }
    assert_eq!(world.alerts_of(JS, "late take-downs: 1;"), 1);
    assert_eq!(world.alerts_of(JS, "was to be taken down by 2026-02-24"), 1);
    assert_eq!(overdue(&world, JS), push::Overdue { take_downs: 1, ..push::Overdue::default() });
    assert_eq!(overdue(&world, SH), push::Overdue::default(), "the authority has no page");
    // No day that cannot be: ahead, or before it was revoked.
    is_refused(&world.take_down(JS, record, Some("2026-02-26")), "2026-02-26 is ahead");
    is_refused(&world.take_down(JS, record, Some("2026-02-11")), "2026-02-11 is before 2026-02-12");
    // Said twice it is said once; another day puts the one before right.
    let first = world.take_down(JS, record, Some("2026-02-14"));
    assert!(matches!(first, Response::Receipt(_)));
    assert_eq!(world.take_down(JS, record, None), first);
    assert_ne!(world.take_down(JS, record, Some("2026-02-13")), first);
    let said: Vec<Date> = world
        .statements(JS)
        .into_iter()
        .filter_map(|(_, fact)| match fact {
            StatusFact::TakenDown(said) => Some(said.on),
            _ => None,
        })
        .collect();
    assert_eq!(said, [date("2026-02-14"), date("2026-02-13")]);
    let copy = world.copy(JS, record);
    assert_eq!((copy.published, copy.down, copy.due), (Some(date("2026-02-10")), Some(said[1]), None));
    assert_eq!(overdue(&world, JS), push::Overdue::default());
    assert_eq!(pages(&world, record), [("js".to_owned(), Some(said[1]), None)]);
    // It stays so, after a lost disk, too, and stands in the store as the logs say.
    world.pull_all();
    world.lose_disk(JS);
    assert_eq!((world.copy(JS, record).down, world.copy(JS, record).due), (Some(said[1]), None));
    for member in [SH, JS] {
        assert_eq!(world.fsck(member), Vec::<String>::new());
    }
    let own = world.nodes[JS].id.clone();
    world.damage(JS, &Key::taken_down(&record, &own), None);
    assert_eq!(world.fsck(JS).len(), 1);
}

#[test]
fn what_was_never_published_need_not_be_taken_down() {
    let mut world = delta(at("2026-01-05", 9));
    let record = world.collect(SH, &Penalty::samr("沪市监罚2026第41号", "2026-01-05"));
    world.change(SH, record, Change::Expire, None);
    let copy = world.copy(JS, record);
    assert_eq!((copy.status, copy.published, copy.due), (Status::Expired, None, None));
    for member in [JS, SH] {
        is_refused(&world.take_down(member, record, None), "本单位从未确认公示该信息");
    }
    assert_eq!(pages(&world, record), []);
    world.until(at("2026-02-05", 9));
    assert_eq!(world.alerts_of(JS, "take-downs"), 0);
}

#[test]
fn a_publisher_that_hears_late_has_its_days_from_then_and_may_name_the_day_it_was_done() {
    let mut world = delta(at("2026-01-05", 9));
    let record = world.collect(SH, &Penalty::samr("沪市监罚2026第42号", "2026-01-05"));
    world.publish(JS, record);
    world.cut.insert(JS);
    world.change(SH, record, Change::Withdraw, None);
    assert_eq!(pages(&world, record), [("js".to_owned(), None, None)], "it does not know yet");
    // It hears on Monday the 12th, with its copy of the authority's log.
    world.until(at("2026-01-12", 9));
    world.cut.clear();
    world.pull_all();
    world.until(at("2026-01-12", 10));
    let copy = world.copy(JS, record);
    assert_eq!((copy.due, copy.as_of), (due("2026-01-15"), Some(at("2026-01-05", 9))));
    assert_eq!(pages(&world, record), [("js".to_owned(), None, due("2026-01-15"))]);
    // The authority had called; the page was gone before the node was back.
    world.cut.insert(SH);
    assert!(matches!(world.take_down(JS, record, Some("2026-01-06")), Response::Receipt(_)));
    world.cut.clear();
    world.until(at("2026-01-12", 11));
    assert_eq!(pages(&world, record), [("js".to_owned(), Some(date("2026-01-06")), None)]);
    world.until(at("2026-01-20", 9));
    assert_eq!(world.alerts_of(JS, "take-downs"), 0);
}

#[test]
fn at_home_the_authority_takes_down_itself_also_what_it_has_erased() {
    let mut world = at_home(at("2026-01-05", 9));
    let record = world.collect(SH, &Penalty::samr("苏市监罚2026第7号", "2026-01-05"));
    world.publish(SH, record);
    world.change(SH, record, Change::Withdraw, None);
    assert_eq!(world.publication(SH, record).due, due("2026-01-08"));
    // Its values are erased at the start of the last day; the page is another matter.
    for (day, late) in [("2026-01-08", 0), ("2026-01-09", 1)] {
        world.until(at(day, 1));
        assert_eq!(
            (world.alerts_of(SH, "late take-downs: 1;"), overdue(&world, SH).take_downs),
            (late, late as u64)
        );
    }
    assert!(
        matches!(world.publish(SH, record), Response::Refused(r) if r.known() == Some(Code::RecordUnknown))
    );
    assert!(matches!(world.take_down(SH, record, None), Response::Receipt(_)));
    let line = world.publication(SH, record);
    assert_eq!(
        (line.due, pages(&world, record)),
        (None, vec![("sh".to_owned(), Some(date("2026-01-09")), None)])
    );
    assert_eq!(world.fsck(SH), Vec::<String>::new());
}

#[test]
fn many_late_take_downs_are_one_alert_and_a_graver_end_gives_no_second_one() {
    let mut world = delta(at("2026-01-05", 9));
    let documents = ["沪市监罚2026第43号", "沪市监罚2026第44号", "沪市监罚2026第45号"];
    let records = documents.map(|document| world.collect(SH, &Penalty::samr(document, "2026-01-05")));
    for record in records {
        world.publish(JS, record);
        world.change(SH, record, Change::Expire, None);
    }
    world.until(at("2026-01-09", 0));
    assert_eq!(world.alerts_of(JS, "late take-downs: 3;"), 1);
    world.change(SH, records[0], Change::Withdraw, None);
    for day in ["2026-01-10", "2026-01-20"] {
        world.until(at(day, 0));
    }
    assert_eq!((world.alerts_of(JS, "take-downs"), overdue(&world, JS).take_downs), (1, 3));
}

#[test]
fn many_late_publications_are_one_alert() {
    let mut world = at_home(at("2026-01-05", 9));
    for document in ["苏市监罚2026第4号", "苏市监罚2026第5号", "苏市监罚2026第6号"] {
        world.collect(SH, &Penalty::samr(document, "2026-01-05"));
    }
    world.until(at("2026-02-03", 0));
    assert_eq!(world.alerts_of(SH, "late publications: 3;"), 1);
    assert_eq!(world.alerts_of(SH, "late publications"), 1);
}

#[test]
fn a_push_that_was_changed_or_is_for_another_is_not_taken() {
    let mut world = delta(at("2026-01-05", 9));
    world.cut.insert(JS);
    let record = world.collect(SH, &Penalty::samr("沪市监罚2026第10号", "2026-01-05"));
    let other = world.collect(SH, &Penalty::samr("沪市监罚2026第11号", "2026-01-05"));
    let (_, good) = world.pushed(SH, record).unwrap();
    let (_, second) = world.pushed(SH, other).unwrap();
    let refused = |world: &mut World, answer: &Answer, why: &str| {
        let refusal = world.arrive(SH, JS, answer).unwrap_err();
        assert!(refusal.detail.contains(why), "{}", refusal.detail);
    };
    let mut changed = good.clone();
    let mut bytes = changed.records[0].fields[1].sealed.0.clone();
    bytes[0] ^= 1;
    changed.records[0].fields[1].sealed = Bytes(bytes);
    refused(&mut world, &changed, "does not open");
    let mixed = Answer { records: second.records.clone(), ..good.clone() };
    refused(&mut world, &mixed, "");
    let less = Answer { records: Vec::new(), ..good.clone() };
    refused(&mut world, &less, "does not bring one record");
    let named = Answer { member: world.nodes[JS].id.clone(), ..good.clone() };
    refused(&mut world, &named, "its entry is another");
    // Whoever it is not for cannot take it, even with the bytes in hand.
    let node = &world.nodes[OUTLET];
    assert!(copy::open(&node.context, &node.opening, &good).is_err());
    let node = &world.nodes[BANK];
    assert!(copy::open(&node.context, &node.opening, &good).is_err());
    // Nor can another pass it on.
    let node = &world.nodes[JS];
    let copy = copy::open(&node.context, &node.opening, &good).unwrap();
    let (caller, sealed) = (world.nodes[OUTLET].id.clone(), codec::to_vec(&good));
    let passed = world.step(JS, Input::Pushed { caller, arrived: Box::new(copy.arrived), sealed });
    assert!(matches!(passed, Some(Response::Refused(r)) if r.known() == Some(Code::CallerNotAllowed)));
    // As it is it is taken, once however often it comes.
    let first = world.arrive(SH, JS, &good).unwrap();
    assert!(matches!(first, Some(Response::Receipt(_))));
    assert_eq!(world.arrive(SH, JS, &good).unwrap(), first);
    assert_eq!(access(&world, JS).iter().filter(|fact| matches!(fact, Fact::Taken(_))).count(), 1);
}

#[test]
fn a_receiver_of_another_province_refuses_what_is_not_about_its_own() {
    let mut world = delta(at("2026-01-05", 9));
    world.cut.insert(JS);
    let record = world.collect(SH, &Penalty::samr("沪市监罚2026第12号", "2026-01-05"));
    let (_, answer) = world.pushed(SH, record).unwrap();
    let registry = std::sync::Arc::make_mut(&mut world.nodes[JS].context.registry);
    registry.members.iter_mut().filter(|m| m.stated.id.as_str() == "js").for_each(|m| {
        "330000".clone_into(&mut m.stated.region);
    });
    let node = &world.nodes[JS];
    let refusal = copy::open(&node.context, &node.opening, &answer).map(drop).unwrap_err();
    assert!(refusal.detail.contains("another province"), "{}", refusal.detail);
}

#[test]
fn fsck_is_silent_about_pushes_and_finds_what_was_changed() {
    let mut world = delta(at("2026-01-05", 9));
    let record = world.collect(SH, &Penalty::samr("沪市监罚2026第13号", "2026-01-05"));
    world.publish(JS, record);
    for member in [SH, JS] {
        assert_eq!(world.fsck(member), Vec::<String>::new());
    }
    let row: copy::CopyRow = tables::row(&world.nodes[JS].disk, &Key::copy(&record)).unwrap().unwrap();
    let changed = copy::CopyRow { leaf: Digest::ZERO, ..row };
    world.damage(JS, &Key::copy(&record), Some(codec::to_vec(&changed)));
    assert_eq!(world.fsck(JS).len(), 1);
    let row: push::PushRow = tables::row(&world.nodes[SH].disk, &Key::push(&record)).unwrap().unwrap();
    world.damage(SH, &Key::push(&record), Some(codec::to_vec(&push::PushRow { index: Some(7), ..row })));
    assert_eq!(world.fsck(SH).len(), 1);
}

#[test]
fn a_day_that_ends_a_record_or_lies_before_it_came_is_asked_about_first() {
    // Handed in years late, about a company at home: what is said of its publication is this authority's word alone.
    let mut world = World::with_region(at("2030-01-07", 9), "310000");
    let record = world.collect(SH, &Penalty::samr("沪市监罚2026第9号", "2026-01-05"));
    let doubt = |day: &str| {
        let node = &world.nodes[SH];
        doubt::doubt(&node.context, &node.disk, &record, date(day), world.now).unwrap().map(|r| r.detail)
    };
    let ends = doubt("2026-02-01").unwrap();
    assert!(ends.contains("would expire at once") && ends.contains("ended on 2027-02-01"), "{ends}");
    let early = doubt("2030-01-06").unwrap();
    assert!(early.contains("before 2030-01-07, when the record was taken in here"), "{early}");
    assert_eq!(doubt("2030-01-07"), None);
    // At a member that is not its authority, of which one is this, nothing is known of it.
    let node = &world.nodes[JS];
    assert_eq!(
        doubt::doubt(&node.context, &node.disk, &record, date("2026-02-01"), world.now).unwrap(),
        None
    );
}
