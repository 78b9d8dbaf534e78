//! Every write of a short history, failed in every way: nothing that was acknowledged is lost, and nothing is half
//! there.

#![allow(clippy::unwrap_used, reason = "a test; what fails here fails the test")]

use std::collections::BTreeMap;

use conformance::sim::{
    checker::Checker,
    disk::Disk,
    federation::{Node, body, build, source},
};
use credit::{
    catalog::Purpose,
    csv::PlainRecord,
    entry::{Entry, Fact, StatusFact},
    grant::{GrantChange, Scope},
    id::{CaseId, ClerkId, FieldId, GrantId, ItemId, QuestionId, RecordId},
    policy::Role,
    question::{Basis, Question, Want},
    record::{Contents, RecordFacts, SealedRecord},
    repair::{Case, Matter},
    rules::{AuthorityKind, Tier},
    status::Status,
    subject::{SubjectId, uscc_from_parts},
    value::{Date, Value},
};
use crypto::{
    Digest, Timestamp,
    keytree::{KeyTree, Slot},
};
use exchange::{
    artifact::status_fact,
    logs::LogName,
    member::{Input, Phase},
    read,
    receipt::Receipt,
    step::{Effect, Reply, Token},
    submit::{FileRow, RunRows, SealedRow, Submission},
    wire::{ApplicationDraft, GrantDraft, Response},
};
use ledger::{
    log,
    store::{Store, memory::Fault},
};

/// What befalls one write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blow {
    /// It fails and is not there.
    Fails,
    /// It fails and is there.
    FailsPersisted,
    /// It succeeds, and the process ends before anything leaves.
    CrashImage,
}

/// The deeds of the history, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    AddSource,
    HandIn(u64),
    Ask,
    Apply,
    Accept,
    Decide,
    Acknowledge,
    Erase,
}

const SCRIPT: [Deed; 10] = [
    Deed::AddSource,
    Deed::HandIn(0),
    Deed::HandIn(1),
    Deed::Ask,
    Deed::Apply,
    Deed::Accept,
    Deed::Decide,
    Deed::Acknowledge,
    Deed::Erase,
    Deed::HandIn(0),
];

fn now() -> Timestamp {
    Date::new(2026, 5, 6).unwrap().start().plus_ms(36_000_000)
}

fn subject() -> SubjectId {
    uscc_from_parts("91", "310115", 31_u64.pow(7) * 29 + 1).unwrap()
}

fn penalty_item() -> ItemId {
    ItemId::parse("CF").unwrap()
}

/// One member under blows, and what it has let out.
struct Run {
    nodes: Vec<Node>,
    checker: Checker,
    blow: Option<(u64, Blow)>,
    writes: u64,
    struck: bool,
    time: u64,
    acknowledged: Vec<(LogName, u64, Vec<u8>)>,
    notice: Receipt,
}

impl Run {
    fn new(blow: Option<(u64, Blow)>) -> Self {
        let mut nodes = build(1, 2, now());
        let checker = Checker::new(&nodes);
        let notice = revocation(&mut nodes[2]);
        let mut run = Self {
            nodes,
            checker,
            blow,
            writes: 0,
            struck: false,
            time: 0,
            acknowledged: Vec::new(),
            notice,
        };
        run.start();
        run
    }

    /// Opens the member from its disk; everything it ever acknowledged must be there.
    fn start(&mut self) {
        self.nodes[0].open().unwrap();
        self.checker.reopened(&self.nodes[0], 0).unwrap();
        for (name, index, bytes) in &self.acknowledged {
            let at = ledger::tree::LeafIndex(*index);
            let stored = log::entry(&self.nodes[0].disk, name.as_str(), at).unwrap();
            assert_eq!(stored.as_ref(), Some(bytes), "entry {index} of `{name}` was acknowledged");
        }
        for input in [Input::Restored { seen: Vec::new() }, Input::Synced] {
            if self.step(input).is_none() {
                return self.start();
            }
        }
        assert_eq!(self.nodes[0].member.as_ref().map(|m| m.phase().clone()), Some(Phase::Ready));
    }

    /// One step with its commit and release; `None` when a blow ended the process.
    fn step(&mut self, input: Input) -> Option<Vec<Response>> {
        self.time += 10;
        let at = now().plus_ms(self.time);
        let node = &mut self.nodes[0];
        let before = node.disk.image();
        let step =
            node.member.as_mut().unwrap().handle(at, vec![(Some(Token(1)), input)], &node.disk).unwrap();
        let mut blow = None;
        if step.writes() {
            self.writes += 1;
            blow = self.blow.filter(|(nth, _)| *nth == self.writes && !self.struck).map(|(_, blow)| blow);
        }
        match blow {
            Some(Blow::Fails) => node.disk.fail_next_apply(Fault::Lost),
            Some(Blow::FailsPersisted) => node.disk.fail_next_apply(Fault::Persisted),
            _ => {}
        }
        let committed = step.commit(&node.disk as &dyn Store);
        let after = node.disk.image();
        match (blow, committed) {
            (None, Ok(effects)) => {
                self.checker.stepped(&self.nodes[0], 0).unwrap();
                Some(self.release(effects))
            }
            (Some(blow), committed) => {
                assert_eq!(committed.is_ok(), blow == Blow::CrashImage);
                // All or nothing; that the whole is sound, the start finds out.
                assert_eq!(before == after, blow == Blow::Fails, "{blow:?}");
                self.struck = true;
                self.nodes[0].down();
                None
            }
            (None, Err(e)) => panic!("{e}"),
        }
    }

    /// Lets effects out. What they speak of counts as acknowledged from here on.
    fn release(&mut self, effects: Vec<Effect>) -> Vec<Response> {
        for name in LogName::ALL {
            let known = self.acknowledged.iter().filter(|(n, ..)| *n == name).count();
            let fresh = self.checker.bytes(0, name).iter().enumerate().skip(known);
            self.acknowledged.extend(fresh.map(|(index, bytes)| (name, index as u64, bytes.clone())));
        }
        let mut responses = Vec::new();
        for effect in effects {
            match effect {
                Effect::Reply { reply: Reply::Answer(plan), .. } => {
                    self.checker.durable(0, LogName::Access, plan.index, &self.nodes[0]).unwrap();
                    let before = self.checker.standing_of(0);
                    self.checker.disclosed(0, &plan, now().plus_ms(self.time), before).unwrap();
                }
                Effect::Reply { reply, .. } => {
                    let node = &self.nodes[0];
                    responses.push(read::complete(&node.context, &node.disk, reply).unwrap());
                }
                Effect::Puncture(slots) => {
                    for slot in slots {
                        self.nodes[0].tree.puncture(slot);
                    }
                }
                _ => {}
            }
        }
        responses
    }

    /// Does a deed, and does it again after every blow, as a caller without an answer does.
    fn perform(&mut self, deed: Deed) {
        loop {
            if self.attempt(deed).is_some() {
                return;
            }
            self.start();
        }
    }

    fn attempt(&mut self, deed: Deed) -> Option<()> {
        let record = self.record();
        let input = match deed {
            Deed::AddSource => Input::AddSource(source()),
            Deed::HandIn(revision) => return self.hand_in(revision),
            Deed::Ask => self.question(),
            Deed::Apply => {
                let (authority, item) = (self.nodes[0].id.clone(), penalty_item());
                let document = "SIM-1".to_owned();
                let draft = ApplicationDraft {
                    authority,
                    item,
                    document,
                    subject: subject(),
                    materials: Vec::new(),
                    clerk: None,
                    matter: Matter::Repair,
                };
                Input::Apply { draft, case: CaseId([1; 16]) }
            }
            Deed::Accept => Input::AcceptRepair { case: CaseId([1; 16]), clerk: None },
            Deed::Decide => {
                Input::DecideRepair { case: CaseId([1; 16]), grant: true, reason: String::new(), clerk: None }
            }
            Deed::Acknowledge => {
                let registry = &self.nodes[0].context.registry;
                let proven = self.notice.verify(registry).unwrap();
                let fact = status_fact(registry, &proven).unwrap();
                Input::Notice { caller: self.nodes[2].id.clone(), notice: Box::new(proven), fact }
            }
            Deed::Erase => {
                let node = &self.nodes[0];
                let Some(versions) = read::versions_of(&node.disk, &record).unwrap() else { return Some(()) };
                let mut after = KeyTree::from_plain(&node.tree.to_plain()).unwrap();
                for version in &versions {
                    after.puncture(version.slot);
                }
                let tree = (node.tree.digest(), after.digest());
                Input::Erase { records: vec![(record, versions)], reason: "collected in error".into(), tree }
            }
        };
        self.step(input).map(|_| ())
    }

    fn record(&self) -> RecordId {
        let context = &self.nodes[0].context;
        context.own.naming.record_id(&context.own.id, &penalty_item(), "SIM-1", &subject())
    }

    fn hand_in(&mut self, revision: u64) -> Option<()> {
        let slots = self.step(Input::ReserveSlots { count: 1 })?;
        let [Response::Slots(first)] = slots[..] else { panic!("no slots: {slots:?}") };
        let node = &self.nodes[0];
        let text = |t: &str| Value::Text(t.to_owned());
        let plain = PlainRecord {
            subject: subject(),
            item: penalty_item(),
            document: "SIM-1".to_owned(),
            authority_code: Some(body(0)),
            decided: Date::new(2024, 6, 3),
            fields: BTreeMap::from([
                (FieldId(14), text("SIM-1")),
                (FieldId(16), text(&format!("CANARY-facts {revision}"))),
                (FieldId(18), text("罚款")),
            ]),
        };
        let facts = RecordFacts {
            record: self.record(),
            item: penalty_item(),
            catalog: node.context.catalog.version(),
            authority: node.id.clone(),
            slot: Slot(first),
            decided: plain.decided,
            published: None,
            ended: None,
            until: None,
            tier: Some(Tier::General),
            kind: AuthorityKind::GENERAL,
            content: node.context.own.naming.content_tag(&Contents::of(&plain)),
        };
        let key = node.tree.key(Slot(first)).unwrap();
        let sealed = SealedRecord::seal(&Contents::of(&plain), facts, &node.id, &key);
        let run = Submission {
            source: source(),
            item: penalty_item(),
            file: Digest::of(&revision.to_be_bytes()),
            records: vec![SealedRow::new(&node.context, FileRow::default(), sealed, &plain.subject)],
            run: RunRows::default(),
            last: Some("UTF-8".into()),
        };
        self.step(Input::Submit(run)).map(|_| ())
    }

    /// The same question every time: a retry.
    fn question(&mut self) -> Input {
        let question = Question {
            id: QuestionId([7; 16]),
            asker: self.nodes[1].id.clone(),
            clerk: ClerkId::parse("clerk").unwrap(),
            purpose: Purpose::Administration,
            subject: subject(),
            wants: vec![Want { item: penalty_item(), fields: vec![FieldId(14), FieldId(16)] }],
            basis: Basis::Duty("政务数据共享条例 art. 20".into()),
            asked_at: now(),
            deadline: now().plus_ms(200_000),
            checks: Vec::new(),
        };
        let signed = self.nodes[1].context.sign(now(), &question);
        self.checker.asked(signed.digest(), question);
        let question = self.nodes[0].context.registry.verify(&signed).unwrap();
        Input::Question { caller: self.nodes[1].id.clone(), question, grant: None, judged: None }
    }

    /// What must be there in the end, whatever was struck.
    fn finish(&mut self) {
        let facts: Vec<&StatusFact> = self.checker.statements(0).collect();
        let count = |is: fn(&StatusFact) -> bool| facts.iter().filter(|f| is(f)).count();
        assert_eq!(count(|f| matches!(f, StatusFact::Changed(_))), 1, "one decision");
        assert_eq!(count(|f| matches!(f, StatusFact::Accepted(_))), 1, "one acceptance");
        assert_eq!(count(|f| matches!(f, StatusFact::Acknowledged(_))), 1, "one acknowledgement");
        let records = self.checker.log(0, LogName::Records).iter();
        let recorded = records.clone().filter(|e| matches!(e.fact, Fact::Recorded(_))).count();
        assert_eq!(recorded, 2, "one version per content, and none after the erasure");
        assert_eq!(records.filter(|e| matches!(e.fact, Fact::Erased(_))).count(), 1, "one erasure");
        let disclosed = |e: &&Entry| matches!(e.fact, Fact::Disclosed(_));
        assert_eq!(
            self.checker.log(0, LogName::Access).iter().filter(disclosed).count(),
            1,
            "one disclosure"
        );
        let node = &self.nodes[0];
        let status = read::record_status(&node.context, &node.disk, self.record()).unwrap();
        assert_eq!(status.standing, [(node.id.clone(), Status::Repaired)]);
        let erased = read::erased_slots(&node.disk).unwrap();
        assert!(!erased.is_empty() && erased.iter().all(|slot| node.tree.key(*slot).is_none()));
        let Response::Cases { cases, .. } = read::cases(&node.context, &node.disk).unwrap() else {
            panic!("no cases")
        };
        assert!(matches!(&cases[..], [Case::Decided(decided)] if decided.granted));
        assert_eq!(node.disk.leak(), None);
    }
}

/// A grant that the outlet signs and revokes; returns the receipt of the revocation.
fn revocation(outlet: &mut Node) -> Receipt {
    outlet.disk = Disk::default();
    outlet.open().unwrap();
    let draft = GrantDraft {
        subject: subject(),
        grantee: outlet.context.registry.active().find(|m| m.role == Role::Bank).unwrap().id.clone(),
        purposes: vec![Purpose::LoanReview],
        scope: vec![Scope { item: penalty_item(), fields: Vec::new() }],
        not_before: now(),
        not_after: now().plus_ms(1_000_000),
        uses_max: 1,
        keep_days: 1,
        period: None,
        letter: Digest::of(b"letter"),
    };
    let mut digest = None;
    let mut tell = |outlet: &mut Node, input: Input| {
        let member = outlet.member.as_mut().unwrap();
        let step = member.handle(now(), vec![(Some(Token(1)), input)], &outlet.disk).unwrap();
        for effect in step.commit(&outlet.disk as &dyn Store).unwrap() {
            if let Effect::Reply { reply: Reply::Ready(response), .. } = effect
                && let Response::Grant(grant) = *response
            {
                digest = Some(grant.digest());
            }
        }
        digest
    };
    tell(outlet, Input::Restored { seen: Vec::new() });
    tell(outlet, Input::Synced);
    let grant = tell(outlet, Input::IssueGrant { draft, id: GrantId([3; 16]) }).unwrap();
    tell(outlet, Input::ChangeGrant(grant, GrantChange::Revoke));
    let last = log::size(&outlet.disk, "status").unwrap().0 - 1;
    read::notice(&outlet.context, &outlet.disk, last).unwrap()
}

/// Runs the script under a blow; returns how many writes it made.
fn history(blow: Option<(u64, Blow)>) -> u64 {
    let mut run = Run::new(blow);
    for deed in SCRIPT {
        run.perform(deed);
    }
    run.finish();
    assert_eq!(run.struck, blow.is_some());
    run.writes
}

#[test]
fn every_write_survives_every_blow() {
    let writes = history(None);
    assert!(writes > 12, "the script writes {writes} times");
    for nth in 1..=writes {
        for blow in [Blow::Fails, Blow::FailsPersisted, Blow::CrashImage] {
            history(Some((nth, blow)));
        }
    }
}
