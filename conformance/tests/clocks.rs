//! Clocks of the law under a virtual clock: publicity that ends by itself, late steps of a case, the erasure after a
//! withdrawal, across the Spring Festival and into a year without a calendar, with members that lose their disk.

#![allow(clippy::unwrap_used, reason = "a test; what fails here fails the test")]

use std::collections::{BTreeMap, BTreeSet};

use conformance::sim::{
    disk::Disk,
    federation::{Node, build, source},
};
use credit::{
    csv::PlainRecord,
    entry::{Entry, Fact, StatusFact},
    id::{CaseId, FieldId, ItemId, MemberId, RecordId},
    record::{Contents, RecordFacts, SealedRecord},
    repair::Deadline,
    rules::{AuthorityKind, Tier},
    status::{Change, Status},
    subject::{SubjectId, uscc_from_parts},
    value::{Date, Value},
};
use crypto::{
    Digest, Timestamp, codec,
    keytree::{KeyTree, Slot},
};
use exchange::{
    artifact::status_fact,
    limits::DELIVERIES_PER_TICK_MAX,
    logs::LogName,
    member::Input,
    read,
    receipt::Receipt,
    refusal::Code,
    repair::Forwarded,
    step::{Effect, Token},
    submit::{FileRow, RunRows, SealedRow, Submission},
    timer::{self, DueErasure},
    wire::{RepairDraft, Response},
};
use ledger::{log, store::Store, tree::LeafIndex};

/// `sh`, the authority of every record here; `js`, a counter that may hold a copy; the outlet.
const SH: usize = 0;
const JS: usize = 1;
const OUTLET: usize = 2;

fn date(text: &str) -> Date {
    Date::parse(text).unwrap()
}

/// A moment of a day in Asia/Shanghai.
fn at(day: &str, hour: u64) -> Timestamp {
    date(day).start().plus_ms(hour * 3_600_000)
}

fn subject() -> SubjectId {
    uscc_from_parts("91", "310115", 31_u64.pow(7) * 29 + 1).unwrap()
}

fn item() -> ItemId {
    ItemId::parse("CF").unwrap()
}

/// A penalty to be collected.
#[derive(Clone)]
struct Penalty {
    document: &'static str,
    decided: &'static str,
    published: Option<&'static str>,
    tier: Tier,
    kind: AuthorityKind,
}

impl Penalty {
    fn general(document: &'static str, decided: &'static str) -> Self {
        let (tier, kind) = (Tier::General, AuthorityKind::General);
        Self { document, decided, published: None, tier, kind }
    }
}

/// Members in one process; what one sends arrives at once, unless the receiver is cut off.
struct World {
    nodes: Vec<Node>,
    now: Timestamp,
    alerts: Vec<(usize, String)>,
    cut: BTreeSet<usize>,
}

impl World {
    fn new(now: Timestamp) -> Self {
        let mut world = Self { nodes: build(1, 2, now), now, alerts: Vec::new(), cut: BTreeSet::new() };
        for at in 0..world.nodes.len() {
            world.start(at);
        }
        world
    }

    fn start(&mut self, at: usize) {
        self.nodes[at].open().unwrap();
        for input in [Input::Restored { seen: Vec::new() }, Input::Synced] {
            self.step(at, input);
        }
    }

    /// One step and everything that follows from it at once.
    fn step(&mut self, at: usize, input: Input) -> Option<Response> {
        let node = &mut self.nodes[at];
        let member = node.member.as_mut().unwrap();
        let step = member.handle(self.now, vec![(Some(Token(1)), input)], &node.disk).unwrap();
        let effects = step.commit(&node.disk as &dyn Store).unwrap();
        let mut answer = None;
        for effect in effects {
            match effect {
                Effect::Reply { reply, .. } => {
                    let node = &self.nodes[at];
                    answer = Some(read::complete(&node.context, &node.disk, reply).unwrap());
                }
                Effect::Puncture(slots) => {
                    for slot in slots {
                        self.nodes[at].tree.puncture(slot);
                    }
                }
                Effect::Alert(what) => self.alerts.push((at, what)),
                Effect::Erase(records) => {
                    for record in records {
                        let erase = self.erasure(at, record);
                        self.step(at, erase);
                    }
                }
                Effect::Deliver { event, to } => self.deliver(at, event, &to),
                Effect::Forward { to, case, application } => {
                    let to = self.position(&to);
                    if !self.cut.contains(&to) {
                        let application = self.nodes[to].context.registry.verify(&application).unwrap();
                        let caller = self.nodes[at].id.clone();
                        let outcome = match self.step(to, Input::Application { caller, application }).unwrap()
                        {
                            Response::Case(case) => Ok(case),
                            Response::Refused(refusal) => Err(refusal),
                            other => panic!("{other:?}"),
                        };
                        self.step(at, Input::Forwarded { case, outcome });
                    }
                }
                Effect::Pull { owner, log: name, .. } => self.pull(at, &owner, name),
                _ => {}
            }
        }
        answer
    }

    fn position(&self, id: &MemberId) -> usize {
        self.nodes.iter().position(|n| n.id == *id).unwrap()
    }

    fn deliver(&mut self, from: usize, event: u64, to: &MemberId) {
        let to = self.position(to);
        if self.cut.contains(&to) {
            return;
        }
        let notice = read::notice(&self.nodes[from].context, &self.nodes[from].disk, event).unwrap();
        let proven = notice.verify(&self.nodes[to].context.registry).unwrap();
        let fact = status_fact(&self.nodes[to].context.registry, &proven).unwrap();
        let caller = self.nodes[from].id.clone();
        match self.step(to, Input::Notice { caller, notice: Box::new(proven), fact }) {
            Some(Response::Receipt(receipt)) => self.acknowledged(from, event, &receipt),
            other => panic!("{other:?}"),
        }
    }

    fn acknowledged(&mut self, at: usize, event: u64, receipt: &Receipt) {
        let registry = self.nodes[at].context.registry.clone();
        let proven = receipt.verify(&registry).unwrap();
        let fact = status_fact(&registry, &proven).unwrap();
        let receipt = codec::to_vec(receipt);
        self.step(at, Input::Acknowledgement { event, proven: Box::new(proven), fact, receipt });
    }

    /// Brings a copy up, from the owner or, for own entries, from whoever keeps a copy.
    fn pull(&mut self, at: usize, owner: &MemberId, name: LogName) {
        let own = *owner == self.nodes[at].id;
        let from_whom = if own { JS } else { self.position(owner) };
        if self.cut.contains(&from_whom) {
            return;
        }
        let stored = if own { name.as_str().to_owned() } else { name.mirror(owner) };
        let from = log::size(&self.nodes[at].disk, &stored).unwrap().0;
        let peer = &self.nodes[from_whom];
        let response = read::entries(&peer.context, &peer.disk, &self.nodes[at].id, owner, name, from);
        let Response::Entries { entries, checkpoint } = response.unwrap() else { panic!("no entries") };
        let Some(note) = checkpoint else { return };
        let key = self.nodes[at].context.registry.note_key(owner, name).unwrap();
        let checkpoint = note.verify(&key).unwrap();
        let entries = entries.into_iter().map(|b| b.0).collect();
        self.step(at, Input::Pulled { owner: owner.clone(), log: name, from, entries, checkpoint, note });
    }

    fn erasure(&self, at: usize, record: RecordId) -> Input {
        let node = &self.nodes[at];
        let versions = read::versions_of(&node.disk, &record).unwrap().unwrap();
        let mut after = KeyTree::from_plain(&node.tree.to_plain()).unwrap();
        for version in &versions {
            after.puncture(version.slot);
        }
        let tree = (node.tree.digest(), after.digest());
        Input::Erase { records: vec![(record, versions)], reason: timer::WITHDRAWN.to_owned(), tree }
    }

    /// Lets the clock jump to a moment; every member that runs looks what is due.
    fn until(&mut self, moment: Timestamp) {
        assert!(self.now < moment, "time goes forward");
        self.now = moment;
        for at in 0..self.nodes.len() {
            if self.nodes[at].member.is_some() {
                self.step(at, Input::Tick);
            }
        }
    }

    fn record(&self, penalty: &Penalty) -> RecordId {
        let own = &self.nodes[SH].context.own;
        own.naming.record_id(&own.id, &item(), penalty.document, &subject())
    }

    /// A department of `at` hands the penalty in; `sh` is its authority.
    fn collect(&mut self, at: usize, penalty: &Penalty) -> RecordId {
        let (record, submission) = self.sealed(at, penalty);
        let report = self.step(at, Input::Submit(submission));
        assert!(matches!(report, Some(Response::Report(_))), "{report:?}");
        record
    }

    /// The penalty as `at` seals it.
    fn sealed(&mut self, at: usize, penalty: &Penalty) -> (RecordId, Submission) {
        self.step(at, Input::AddSource(source()));
        let Some(Response::Slots(slot)) = self.step(at, Input::ReserveSlots { count: 1 }) else {
            panic!("no slot")
        };
        let record = self.record(penalty);
        let node = &self.nodes[at];
        let text = |t: &str| Value::Text(t.to_owned());
        let plain = PlainRecord {
            subject: subject(),
            item: item(),
            document: penalty.document.to_owned(),
            authority_code: None,
            decided: Some(date(penalty.decided)),
            fields: BTreeMap::from([
                (FieldId(14), text(penalty.document)),
                (FieldId(23), Value::Date(date(penalty.decided))),
            ]),
        };
        let facts = RecordFacts {
            record,
            item: item(),
            catalog: node.context.catalog.version(),
            authority: self.nodes[SH].id.clone(),
            slot: Slot(slot),
            decided: plain.decided,
            published: penalty.published.map(date),
            tier: Some(penalty.tier),
            kind: penalty.kind,
            content: node.context.own.naming.content_tag(&Contents::of(&plain)),
        };
        let key = node.tree.key(Slot(slot)).unwrap();
        let tag = node.context.own.naming.subject_tag(&plain.subject);
        let sealed = SealedRecord::seal(&Contents::of(&plain), facts, &node.id, &key);
        let submission = Submission {
            source: source(),
            item: item(),
            file: Digest::of(format!("{}{}{slot}", penalty.document, penalty.decided).as_bytes()),
            records: vec![SealedRow::new(FileRow::default(), sealed, tag)],
            run: RunRows::default(),
            last: Some("UTF-8".into()),
        };
        (record, submission)
    }

    fn change(&mut self, at: usize, record: RecordId, change: Change, paper: Option<Digest>) -> Response {
        let reason = "示例条例第七条".to_owned();
        self.step(at, Input::ChangeStanding { record, change, reason, paper }).unwrap()
    }

    /// What `at` believes of the standing that `sh` gives the record.
    fn status(&self, at: usize, record: RecordId) -> Status {
        let node = &self.nodes[at];
        let known = read::record_status(&node.context, &node.disk, record).unwrap().standing;
        known.into_iter().find(|(by, _)| *by == self.nodes[SH].id).map_or(Status::Active, |(_, s)| s)
    }

    /// The statements of a member's status log.
    fn statements(&self, at: usize) -> Vec<(Timestamp, StatusFact)> {
        let node = &self.nodes[at];
        let size = log::size(&node.disk, "status").unwrap().0;
        let read = |index| {
            let bytes = log::entry(&node.disk, "status", LeafIndex(index)).unwrap().unwrap();
            let entry = Entry::from_bytes(&bytes).unwrap();
            match entry.fact {
                Fact::Status(signed) => {
                    assert_eq!(signed.issuer(), node.id.as_str());
                    (entry.at, node.context.registry.verify(&signed).unwrap().into_inner())
                }
                other => panic!("{other:?}"),
            }
        };
        (0..size).map(read).collect()
    }

    /// Ends of publicity in a member's log: when, of which record, by which rule set.
    fn expiries(&self, at: usize) -> Vec<(Timestamp, RecordId, String)> {
        let changed = |(at, fact)| match fact {
            StatusFact::Changed(c) if c.change == Change::Expire => Some((at, c.record, c.rule)),
            _ => None,
        };
        self.statements(at).into_iter().filter_map(changed).collect()
    }

    fn cases(&self, at: usize) -> (Vec<Forwarded>, Vec<DueErasure>) {
        match read::cases(&self.nodes[at].disk).unwrap() {
            Response::Cases { forwarded, erasures, .. } => (forwarded, erasures),
            other => panic!("{other:?}"),
        }
    }

    fn erased(&self, at: usize, record: RecordId) -> bool {
        read::is_erased(&self.nodes[at].disk, &record).unwrap() == Some(true)
    }

    fn alerts_of(&self, at: usize, word: &str) -> usize {
        self.alerts.iter().filter(|(by, what)| *by == at && what.contains(word)).count()
    }

    fn overdue(&self, at: usize) -> u64 {
        let node = &self.nodes[at];
        timer::cases_overdue(&node.disk, Date::from_timestamp(self.now), &node.context.calendar).unwrap()
    }
}

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
        kind: AuthorityKind::Samr,
        tier: Tier::Minor,
        ..Penalty::general("R-1", "2026-04-09")
    };
    let samr = world.collect(SH, &samr);
    // The set counts from a publication that the file does not tell: nothing is assumed.
    let untold = Penalty { kind: AuthorityKind::Samr, ..Penalty::general("U-1", "2026-04-09") };
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
    let draft = RepairDraft {
        authority: world.nodes[SH].id.clone(),
        item: item(),
        document: "G-1".into(),
        subject: subject(),
        materials: vec![Digest::of(b"proof of performance")],
    };
    let case = CaseId([7; 16]);
    world.step(JS, Input::ApplyRepair { draft, case });
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
    world.step(SH, Input::AcceptRepair(case));
    assert_eq!(world.overdue(SH), 0);
    world.until(at("2026-02-27", 0));
    assert_eq!(outcome(&world).accepted.map(|told| told.at), Some(at("2026-02-26", 0)));
    world.until(at("2026-03-06", 23));
    assert_eq!(world.overdue(SH), 0);
    world.until(at("2026-03-07", 0));
    assert_eq!((world.overdue(SH), world.alerts_of(SH, "due by 2026-03-06")), (1, 1));

    let refusal = Input::DecideRepair { case, grant: false, reason: "义务未履行".into() };
    world.step(SH, refusal);
    world.until(at("2026-03-07", 1));
    assert_eq!((world.overdue(SH), world.alerts_of(SH, "next step was due")), (0, 2));
    let (told, reason) = outcome(&world).refused.unwrap();
    assert_eq!((told.at, reason.as_str()), (at("2026-03-07", 0), "义务未履行"));

    // Again, through the same counter, and granted this time: the push alone tells it.
    let draft = RepairDraft {
        authority: world.nodes[SH].id.clone(),
        item: item(),
        document: "G-1".into(),
        subject: subject(),
        materials: vec![Digest::of(b"new proof")],
    };
    let again = CaseId([8; 16]);
    world.step(JS, Input::ApplyRepair { draft, case: again });
    world.step(SH, Input::AcceptRepair(again));
    world.step(SH, Input::DecideRepair { case: again, grant: true, reason: String::new() });
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
