//! Members in one process under a virtual clock, for tests that look at what one decision brings about.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use conformance::sim::{
    disk::Disk,
    federation::{CATCH_UP_ORDER, Node, body, build, source},
};
use credit::{
    catalog::Purpose,
    csv::PlainRecord,
    entry::{Entry, Fact, Received, StatusFact},
    grant::{Grant, Scope},
    id::{CaseId, ClerkId, FieldId, GrantId, ItemId, MemberId, QuestionId, RecordId},
    predicate::Check,
    question::{Basis, Question, Want},
    record::{Contents, RecordFacts, SealedRecord},
    repair::{Case, Matter},
    rules::{AuthorityKind, Tier},
    status::{Change, Status},
    subject::{SubjectId, uscc_from_parts},
    value::{Date, Value},
};
use crypto::{
    Digest, Timestamp, codec,
    keytree::{KeyTree, Slot},
    secret::Secret,
    sign::{Signed, Verified},
};
use exchange::{
    answer::{self, Answer, AnswerNumber, OpenedAnswerRecord},
    artifact::status_fact,
    check, fsck,
    logs::LogName,
    member::Input,
    push::{self, Planning, copy},
    read,
    receipt::Receipt,
    recognise,
    refusal::Refusal,
    registry::MemberRequest,
    repair::{Finding, Forwarded},
    step::{Effect, Reply, Token},
    submit::{FileRow, RunRows, SealedRow, Submission},
    tables::Key,
    timer::{self, DueErasure},
    wire::{ApplicationDraft, AskDraft, CopyLine, GrantDraft, PushLine, Response, SubmitReport},
};
use ledger::{
    log,
    store::{Space, Store, memory::MemoryStore},
    tree::LeafIndex,
};

/// `sh`, the authority of every record here; `js`, a counter that may hold a copy; the outlet; the bank.
pub(crate) const SH: usize = 0;
pub(crate) const JS: usize = 1;
pub(crate) const OUTLET: usize = 2;
pub(crate) const BANK: usize = 3;

pub(crate) fn date(text: &str) -> Date {
    Date::parse(text).unwrap()
}

/// A moment of a day in Asia/Shanghai.
pub(crate) fn at(day: &str, hour: u64) -> Timestamp {
    date(day).start().plus_ms(hour * 3_600_000)
}

/// A company registered in Jiangsu.
pub(crate) fn subject() -> SubjectId {
    uscc_from_parts("91", "320102", 31_u64.pow(7) * 29 + 1).unwrap()
}

pub(crate) fn item() -> ItemId {
    ItemId::parse("CF").unwrap()
}

/// A penalty to be collected.
#[derive(Clone)]
pub(crate) struct Penalty {
    pub(crate) document: &'static str,
    pub(crate) decided: &'static str,
    pub(crate) published: Option<&'static str>,
    pub(crate) ended: Option<&'static str>,
    pub(crate) tier: Tier,
    pub(crate) kind: AuthorityKind,
    /// 处罚类别, joined with `;`.
    pub(crate) kinds: &'static str,
    /// 公示截止期, where the file tells it.
    pub(crate) until: Option<&'static str>,
    /// The operator says that its row is meant as it stands.
    pub(crate) confirmed: bool,
}

impl Penalty {
    /// Decided by a market regulator.
    pub(crate) fn samr(document: &'static str, decided: &'static str) -> Self {
        Self { kind: AuthorityKind::SAMR, ..Self::general(document, decided) }
    }

    pub(crate) fn general(document: &'static str, decided: &'static str) -> Self {
        let (tier, kind) = (Tier::General, AuthorityKind::GENERAL);
        let (published, ended, until, kinds) = (None, None, None, "罚款");
        Self { document, decided, published, ended, tier, kind, kinds, until, confirmed: false }
    }
}

/// Members in one process; what one sends arrives at once, unless the receiver is cut off.
pub(crate) struct World {
    pub(crate) nodes: Vec<Node>,
    pub(crate) now: Timestamp,
    pub(crate) alerts: Vec<(usize, String)>,
    pub(crate) cut: BTreeSet<usize>,
}

impl World {
    pub(crate) fn new(now: Timestamp) -> Self {
        let mut world = Self { nodes: build(1, 2, now), now, alerts: Vec::new(), cut: BTreeSet::new() };
        for at in 0..world.nodes.len() {
            world.start(at);
        }
        world
    }

    /// As [`World::new`], with `js` in another region.
    pub(crate) fn with_region(now: Timestamp, region: &str) -> Self {
        Self::with(now, |member| {
            if member.id.as_str() == "js" {
                region.clone_into(&mut member.region);
            }
        })
    }

    /// As [`World::new`], with other statements of the members.
    pub(crate) fn with(now: Timestamp, change: impl Fn(&mut MemberRequest)) -> Self {
        let mut world = Self { nodes: build(1, 2, now), now, alerts: Vec::new(), cut: BTreeSet::new() };
        for node in &mut world.nodes {
            let registry = Arc::make_mut(&mut node.context.registry);
            registry.members.iter_mut().for_each(|member| change(&mut member.stated));
        }
        for at in 0..world.nodes.len() {
            world.start(at);
        }
        world
    }

    pub(crate) fn start(&mut self, at: usize) {
        self.nodes[at].open().unwrap();
        for input in [Input::Restored { seen: Vec::new() }, Input::Synced] {
            self.step(at, input);
        }
    }

    /// One step and everything that follows from it at once.
    pub(crate) fn step(&mut self, at: usize, input: Input) -> Option<Response> {
        let node = &mut self.nodes[at];
        let member = node.member.as_mut().unwrap();
        let step = member.handle(self.now, vec![(Some(Token(1)), input)], &node.disk).unwrap();
        let effects = step.commit(&node.disk as &dyn Store).unwrap();
        let mut answer = None;
        for effect in effects {
            match effect {
                Effect::Reply { reply: Reply::Judge(judging), .. } => {
                    let node = &self.nodes[at];
                    let key = |slot| node.tree.key(slot);
                    let judged = check::judge(&node.context, &node.disk, &key, &judging).unwrap().unwrap();
                    let check::Judging { caller, question, grant, .. } = *judging;
                    let judged = Some(Box::new(judged));
                    answer = self.step(at, Input::Question { caller, question, grant, judged });
                }
                Effect::Reply { reply, .. } => {
                    let node = &self.nodes[at];
                    answer = Some(match reply {
                        Reply::Answer(plan) => {
                            let (seed, number) = (Secret::new([7; 32]), AnswerNumber([7; 16]));
                            let sealed = node.seal(&plan, &seed, number).unwrap();
                            sealed.map_or_else(Response::Refused, |a| Response::Answer(Box::new(a)))
                        }
                        reply => read::complete(&node.context, &node.disk, reply).unwrap(),
                    });
                }
                Effect::Puncture(slots) => {
                    for slot in slots {
                        self.nodes[at].tree.puncture(slot);
                    }
                }
                Effect::Alert(what) => self.alerts.push((at, what)),
                Effect::Erase(records) => self.erase(at, records, timer::WITHDRAWN),
                Effect::Retire(records) => self.erase(at, records, timer::RETIRED),
                Effect::Deliver { event, to } => self.deliver(at, event, &to),
                Effect::Push(record) => self.push(at, record, push::plan),
                Effect::PushAgain(record) => self.push(at, record, push::plan_again),
                Effect::AskPush { to, record } => {
                    let to = self.position(&to);
                    if !self.cut.contains(&to) {
                        let caller = self.nodes[at].id.clone();
                        self.step(to, Input::PushAgain { caller, record });
                    }
                }
                Effect::Place(record) => self.place(at, record),
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

    /// The member's disk is lost; its mirror gives its logs back, and nothing else does.
    pub(crate) fn lose_disk(&mut self, at: usize) {
        self.nodes[at].down();
        self.nodes[at].disk = Disk::default();
        self.nodes[at].open().unwrap();
        let own = self.nodes[at].id.clone();
        for name in CATCH_UP_ORDER {
            self.pull(at, &own, name);
        }
        for input in [Input::Restored { seen: Vec::new() }, Input::Synced] {
            self.step(at, input);
        }
    }

    /// The subject applies at a counter for the repair of what `sh` decided.
    pub(crate) fn apply(&mut self, at: usize, document: &str, case: u8) -> Response {
        self.apply_to(at, SH, document, case)
    }

    /// The subject objects at a counter to what `sh` decided.
    pub(crate) fn object(&mut self, at: usize, document: &str, case: u8) -> Response {
        self.file(at, SH, document, case, Matter::Objection)
    }

    /// `sh` answers an objection.
    pub(crate) fn answer(&mut self, case: u8, finding: Finding) -> Response {
        let (case, ground) = (CaseId([case; 16]), "示例条例第七条".to_owned());
        let clerk = ClerkId::parse("clerk-1");
        self.step(SH, Input::AnswerObjection { case, finding, ground, clerk }).unwrap()
    }

    /// The subject applies at a counter for the repair of what `authority` decided.
    pub(crate) fn apply_to(&mut self, at: usize, authority: usize, document: &str, case: u8) -> Response {
        self.file(at, authority, document, case, Matter::Repair)
    }

    fn file(&mut self, at: usize, authority: usize, document: &str, case: u8, matter: Matter) -> Response {
        let draft = ApplicationDraft {
            authority: self.nodes[authority].id.clone(),
            item: item(),
            document: document.into(),
            subject: subject(),
            materials: vec![Digest::of(&[case])],
            clerk: ClerkId::parse("counter-1"),
            matter,
        };
        self.step(at, Input::Apply { draft, case: CaseId([case; 16]) }).unwrap()
    }

    /// The bank asks through the outlet about the subject, under a grant; what `sh` discloses to it.
    pub(crate) fn ask(&mut self, number: u8) -> Vec<OpenedAnswerRecord> {
        let question = self.asked(number, ("CF", &[14, 23]), &[]);
        let sealed = self.answered(SH, &question);
        let registry = self.nodes[SH].context.registry.clone();
        let opened = answer::open_any(&registry, &question, &self.nodes[BANK].opening, &sealed).unwrap();
        let line = Received {
            question: question.signed().digest(),
            from: opened.member.clone(),
            index: opened.index,
            leaf: opened.leaf,
            records: opened.records.iter().map(|r| r.record).collect(),
        };
        self.step(BANK, Input::Received { lines: vec![line], keep: None });
        opened.records
    }

    /// A question of the bank about the subject, under a grant over penalties of one use, on its way at the outlet.
    pub(crate) fn asked(&mut self, number: u8, what: (&str, &[u16]), checks: &[&str]) -> Verified<Question> {
        let grant = self.granted(number, 1);
        self.asked_on(grant, number, what, checks)
    }

    /// A grant over penalties of the subject to the bank for an hour, as the outlet signs it.
    pub(crate) fn granted(&mut self, number: u8, uses_max: u32) -> Signed<Grant> {
        let hour = 3_600_000;
        let draft = GrantDraft {
            subject: subject(),
            grantee: self.nodes[BANK].id.clone(),
            purposes: vec![Purpose::LoanReview],
            scope: vec![Scope { item: item(), fields: Vec::new() }],
            not_before: self.now,
            not_after: self.now.plus_ms(hour),
            uses_max,
            keep_days: 365,
            letter: Digest::of(b"letter"),
            period: None,
        };
        let grant = self.step(OUTLET, Input::IssueGrant { draft, id: GrantId([number; 16]) });
        let Some(Response::Grant(grant)) = grant else { panic!("{grant:?}") };
        grant
    }

    /// A question of the bank about the subject on this grant, on its way at the outlet.
    pub(crate) fn asked_on(
        &mut self,
        grant: Signed<Grant>,
        number: u8,
        (of, fields): (&str, &[u16]),
        checks: &[&str],
    ) -> Verified<Question> {
        let want = ItemId::parse(of).unwrap();
        let catalog = &self.nodes[BANK].context.catalog;
        let mut checks: Vec<Check> = checks.iter().map(|c| Check::parse(catalog, c).unwrap()).collect();
        checks.sort();
        let draft = AskDraft {
            clerk: ClerkId::parse("clerk 1").unwrap(),
            purpose: Purpose::LoanReview,
            subject: subject(),
            wants: vec![Want { item: want, fields: fields.iter().map(|f| FieldId(*f)).collect() }],
            basis: Basis::Grant(grant),
            wait_ms: 20_000,
            checks,
        };
        let asked = self.step(BANK, Input::Ask { draft, id: QuestionId([number; 16]) });
        let Some(Response::Asked { question, .. }) = asked else { panic!("{asked:?}") };
        let question = self.nodes[SH].context.registry.verify(&question).unwrap();
        let caller = self.nodes[BANK].id.clone();
        self.step(OUTLET, Input::Relay { caller, question: question.clone() });
        question
    }

    /// What a member answers when the outlet passes the question on.
    pub(crate) fn answered(&mut self, at: usize, question: &Verified<Question>) -> Answer {
        let Basis::Grant(grant) = &question.get().basis else { panic!("no grant") };
        let grant = Some(self.nodes[at].context.registry.verify_grant(grant).unwrap());
        let caller = self.nodes[OUTLET].id.clone();
        let question = question.clone();
        match self.step(at, Input::Question { caller, question, grant, judged: None }) {
            Some(Response::Answer(sealed)) => *sealed,
            other => panic!("{other:?}"),
        }
    }

    /// The cases of a member, by id.
    pub(crate) fn decided_by(&self, at: usize) -> Vec<Case> {
        match read::cases(&self.nodes[at].context, &self.nodes[at].disk).unwrap() {
            Response::Cases { cases, .. } => cases,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn position(&self, id: &MemberId) -> usize {
        self.nodes.iter().position(|n| n.id == *id).unwrap()
    }

    pub(crate) fn deliver(&mut self, from: usize, event: u64, to: &MemberId) {
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

    pub(crate) fn acknowledged(&mut self, at: usize, event: u64, receipt: &Receipt) {
        let registry = self.nodes[at].context.registry.clone();
        let proven = receipt.verify(&registry).unwrap();
        let fact = status_fact(&registry, &proven).unwrap();
        let receipt = codec::to_vec(receipt);
        self.step(at, Input::Acknowledgement { event, proven: Box::new(proven), fact, receipt });
    }

    /// What `at` would push of a record now, as it is sealed.
    pub(crate) fn pushed(&self, at: usize, record: RecordId) -> Option<(MemberId, Answer)> {
        self.planned(at, record, push::plan)
    }

    fn planned(&self, at: usize, record: RecordId, plan: Planning) -> Option<(MemberId, Answer)> {
        let node = &self.nodes[at];
        let plan = plan(&node.context, &node.disk, &record).unwrap()?;
        let answer = node.seal(&plan, &Secret::new([9; 32]), AnswerNumber([9; 16])).unwrap().unwrap();
        Some((plan.asker, answer))
    }

    /// A push that arrives, and the acknowledgement that comes back.
    fn push(&mut self, from: usize, record: RecordId, plan: Planning) {
        let Some((to, answer)) = self.planned(from, record, plan) else { return };
        let to = self.position(&to);
        if self.cut.contains(&to) {
            return;
        }
        match self.arrive(from, to, &answer) {
            Ok(Some(Response::Receipt(receipt))) => {
                let proven = receipt.verify(&self.nodes[from].context.registry).unwrap();
                let receipt = codec::to_vec(&receipt);
                self.step(from, Input::Taken { proven: Box::new(proven), receipt });
            }
            Ok(Some(Response::Refused(refusal))) | Err(refusal) => {
                let index = log::size(&self.nodes[from].disk, "access").unwrap().0 - 1;
                self.step(from, Input::NotTaken { record, index, refusal });
            }
            other => panic!("{other:?}"),
        }
    }

    /// Finds out who is to publish a record now.
    fn place(&mut self, at: usize, record: RecordId) {
        let node = &self.nodes[at];
        let key = |slot| node.tree.key(slot);
        if let Some((version, place)) = push::place_again(&node.context, &node.disk, &key, &record).unwrap() {
            self.step(at, Input::Placed { record, version, place: Box::new(place) });
        }
    }

    /// What `to` makes of a push.
    pub(crate) fn arrive(
        &mut self,
        from: usize,
        to: usize,
        answer: &Answer,
    ) -> Result<Option<Response>, Refusal> {
        let (caller, sealed) = (self.nodes[from].id.clone(), codec::to_vec(answer));
        let arrived = copy::receive(&self.nodes[to].context, &self.nodes[to].opening, answer)?;
        let arrived = Box::new(arrived);
        Ok(self.step(to, Input::Pushed { caller, arrived, sealed }))
    }

    /// A record that `at` has received to be published.
    pub(crate) fn copy(&self, at: usize, record: RecordId) -> CopyLine {
        let node = &self.nodes[at];
        copy::copies(&node.context, &node.disk, Some(record)).unwrap().pop().unwrap()
    }

    /// An own record of `at` that is to be published.
    pub(crate) fn publication(&self, at: usize, record: RecordId) -> PushLine {
        let node = &self.nodes[at];
        push::pushes(&node.context, &node.disk, Some(record)).unwrap().pop().unwrap()
    }

    /// `at` says that it has published a record today.
    pub(crate) fn publish(&mut self, at: usize, record: RecordId) -> Response {
        self.step(at, Input::Publish { record, on: None }).unwrap()
    }

    /// `at` says that it has taken a record down, on a day or today.
    pub(crate) fn take_down(&mut self, at: usize, record: RecordId, on: Option<&str>) -> Response {
        self.step(at, Input::TakeDown { record, on: on.map(date) }).unwrap()
    }

    /// Brings a copy up, from the owner or, for own entries, from whoever keeps a copy.
    pub(crate) fn pull(&mut self, at: usize, owner: &MemberId, name: LogName) {
        let own = *owner == self.nodes[at].id;
        let from_whom = if own { if at == JS { SH } else { JS } } else { self.position(owner) };
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

    /// Brings every copy up that is kept here.
    pub(crate) fn pull_all(&mut self) {
        for at in [SH, JS] {
            for owner in [SH, JS, OUTLET].into_iter().filter(|owner| *owner != at) {
                let (registry, owner) =
                    (self.nodes[at].context.registry.clone(), self.nodes[owner].id.clone());
                for name in LogName::ALL {
                    if registry.keeps_copy(&self.nodes[at].id, &owner, name) {
                        self.pull(at, &owner, name);
                    }
                }
            }
        }
    }

    /// What `fsck` finds in a member's store.
    pub(crate) fn fsck(&self, at: usize) -> Vec<String> {
        let (node, scratch, mut found) = (&self.nodes[at], MemoryStore::default(), Vec::new());
        let tools = fsck::Tools {
            key: &|slot| node.tree.key(slot),
            scratch: &scratch,
            progress: &mut |_, _, _| {},
            found: &mut |finding| found.push(finding.to_string()),
        };
        fsck::fsck(&node.context, &node.disk, tools).unwrap();
        found
    }

    /// Changes a row of a member's store behind its back.
    pub(crate) fn damage(&mut self, at: usize, key: &Key, row: Option<Vec<u8>>) {
        let mut image = self.nodes[at].disk.image();
        image.set(Space::Row, key.as_bytes(), row);
        self.nodes[at].disk = Disk::of(image);
    }

    fn erase(&mut self, at: usize, records: Vec<RecordId>, reason: &str) {
        for record in records {
            let erase = self.erasure(at, record, reason);
            self.step(at, erase);
        }
    }

    pub(crate) fn erasure(&self, at: usize, record: RecordId, reason: &str) -> Input {
        let node = &self.nodes[at];
        let versions = read::versions_of(&node.disk, &record).unwrap().unwrap();
        let mut after = KeyTree::from_plain(&node.tree.to_plain()).unwrap();
        for version in &versions {
            after.puncture(version.slot);
        }
        let tree = (node.tree.digest(), after.digest());
        Input::Erase { records: vec![(record, versions)], reason: reason.to_owned(), tree }
    }

    /// Lets the clock jump to a moment; every member that runs looks what is due.
    pub(crate) fn until(&mut self, moment: Timestamp) {
        assert!(self.now < moment, "time goes forward");
        self.now = moment;
        for at in 0..self.nodes.len() {
            if self.nodes[at].member.is_some() {
                self.step(at, Input::Tick);
            }
        }
    }

    pub(crate) fn record(&self, penalty: &Penalty) -> RecordId {
        let own = &self.nodes[SH].context.own;
        own.naming.record_id(&own.id, &item(), penalty.document, &subject())
    }

    /// A department of `at` hands the penalty in; `sh` is its authority.
    pub(crate) fn collect(&mut self, at: usize, penalty: &Penalty) -> RecordId {
        let (record, submission) = self.sealed(at, penalty);
        self.taken(at, submission);
        record
    }

    /// As above: how its row fared, of a record that `authority` decides about.
    pub(crate) fn hand_in(&mut self, at: usize, authority: usize, penalty: &Penalty) -> SubmitReport {
        let authority = self.nodes[authority].id.clone();
        let (_, submission) = self.sealed_by(at, penalty, &authority);
        self.taken(at, submission)
    }

    fn taken(&mut self, at: usize, submission: Submission) -> SubmitReport {
        match self.step(at, Input::Submit(submission)) {
            Some(Response::Report(report)) => report,
            other => panic!("{other:?}"),
        }
    }

    /// A department of `at` hands the penalty in, and `at` is its authority.
    pub(crate) fn collect_own(&mut self, at: usize, penalty: &Penalty) -> RecordId {
        let id = self.nodes[at].id.clone();
        let (record, mut submission) = self.sealed_by(at, penalty, &id);
        let twins = recognise::twins(&self.nodes[at].context, &item(), penalty.document, &subject());
        submission.records = submission.records.into_iter().map(|row| row.known_as(twins.clone())).collect();
        self.step(at, Input::Submit(submission));
        record
    }

    /// The penalty as `at` seals it.
    pub(crate) fn sealed(&mut self, at: usize, penalty: &Penalty) -> (RecordId, Submission) {
        let authority = self.nodes[SH].id.clone();
        self.sealed_by(at, penalty, &authority)
    }

    fn sealed_by(&mut self, at: usize, penalty: &Penalty, authority: &MemberId) -> (RecordId, Submission) {
        self.step(at, Input::AddSource(source()));
        let Some(Response::Slots(slot)) = self.step(at, Input::ReserveSlots { count: 1 }) else {
            panic!("no slot")
        };
        let node = &self.nodes[at];
        let record = node.context.own.naming.record_id(authority, &item(), penalty.document, &subject());
        let text = |t: &str| Value::Text(t.to_owned());
        let mut fields = BTreeMap::from([
            (FieldId(14), text(penalty.document)),
            (FieldId(18), text(penalty.kinds)),
            (FieldId(23), Value::Date(date(penalty.decided))),
            (FieldId(27), text(&body(self.position(authority)))),
        ]);
        fields.extend(penalty.until.map(|day| (FieldId(25), Value::Date(date(day)))));
        let plain = PlainRecord {
            subject: subject(),
            item: item(),
            document: penalty.document.to_owned(),
            authority_code: None,
            decided: Some(date(penalty.decided)),
            fields,
        };
        let facts = RecordFacts {
            record,
            item: item(),
            catalog: node.context.catalog.version(),
            authority: authority.clone(),
            slot: Slot(slot),
            decided: plain.decided,
            published: penalty.published.map(date),
            ended: penalty.ended.map(date),
            until: penalty.until.map(date),
            tier: Some(penalty.tier),
            kind: penalty.kind,
            content: node.context.own.naming.content_tag(&Contents::of(&plain)),
        };
        let key = node.tree.key(Slot(slot)).unwrap();
        let sealed = SealedRecord::seal(&Contents::of(&plain), facts, &node.id, &key);
        let place = push::place(&node.context, &sealed, (&plain.subject, &plain.fields));
        let row = FileRow { confirmed: penalty.confirmed, ..FileRow::default() };
        let row = SealedRow::new(&node.context, row, sealed, &plain.subject);
        let submission = Submission {
            source: source(),
            item: item(),
            file: Digest::of(format!("{}{}{slot}", penalty.document, penalty.decided).as_bytes()),
            records: vec![row.published_at(place)],
            run: RunRows::default(),
            last: Some("UTF-8".into()),
        };
        (record, submission)
    }

    pub(crate) fn change(
        &mut self,
        at: usize,
        record: RecordId,
        change: Change,
        paper: Option<Digest>,
    ) -> Response {
        let reason = "示例条例第七条".to_owned();
        self.step(at, Input::ChangeStanding { record, change, reason, paper }).unwrap()
    }

    /// What `at` believes of the standing that `sh` gives the record.
    pub(crate) fn status(&self, at: usize, record: RecordId) -> Status {
        self.status_by(at, SH, record)
    }

    /// What `at` believes of the standing that `authority` gives the record.
    pub(crate) fn status_by(&self, at: usize, authority: usize, record: RecordId) -> Status {
        let node = &self.nodes[at];
        let known = read::record_status(&node.context, &node.disk, record).unwrap().standing;
        known.into_iter().find(|(by, _)| *by == self.nodes[authority].id).map_or(Status::Active, |(_, s)| s)
    }

    /// The statements of a member's status log.
    pub(crate) fn statements(&self, at: usize) -> Vec<(Timestamp, StatusFact)> {
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
    pub(crate) fn expiries(&self, at: usize) -> Vec<(Timestamp, RecordId, String)> {
        let changed = |(at, fact)| match fact {
            StatusFact::Changed(c) if c.change == Change::Expire => Some((at, c.record, c.rule)),
            _ => None,
        };
        self.statements(at).into_iter().filter_map(changed).collect()
    }

    pub(crate) fn cases(&self, at: usize) -> (Vec<Forwarded>, Vec<DueErasure>) {
        match read::cases(&self.nodes[at].context, &self.nodes[at].disk).unwrap() {
            Response::Cases { forwarded, erasures, .. } => (forwarded, erasures),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn erased(&self, at: usize, record: RecordId) -> bool {
        read::is_erased(&self.nodes[at].disk, &record).unwrap() == Some(true)
    }

    pub(crate) fn alerts_of(&self, at: usize, word: &str) -> usize {
        self.alerts.iter().filter(|(by, what)| *by == at && what.contains(word)).count()
    }

    pub(crate) fn overdue(&self, at: usize) -> u64 {
        let node = &self.nodes[at];
        let today = Date::from_timestamp(self.now);
        timer::cases_overdue(&node.context, &node.disk, today).unwrap().into_values().sum()
    }
}
