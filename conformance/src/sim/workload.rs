//! What people do: departments hand in files, banks and authorities ask, authorities change standings, operators erase; in
//! `grants` and `cases` the rest.
//!
//! Every value that no frame and no disk may show carries a canary.

use std::collections::BTreeMap;

use credit::{
    catalog::{Item, Purpose},
    csv::{self, PlainRecord},
    entry::Received,
    grant::Grant,
    id::{ClerkId, FieldId, GrantId, ItemId, MemberId, QuestionId, RecordId},
    predicate::{self, Predicate},
    question::{Basis, Question, Want},
    record::{Contents, RecordFacts, SealedRecord},
    rules::{AuthorityKind, Penalty},
    status::Change,
    subject::{SubjectId, uscc_from_parts},
    value::{Amount, Date, Value},
};
use crypto::{
    Digest, Timestamp,
    keytree::{KeyTree, Slot},
    pseudonym::FileHasher,
    secret::Secret,
    sign::Signed,
};
use exchange::{
    answer, evidence,
    member::Input,
    push, read, recognise,
    submit::{FileRow, RunRows, SealedRow, Submission},
    tables::{self, Key, RecordRow},
    timer,
    wire::{AskDraft, Outcome, Request, Response},
};

use super::{
    Broken, Check, Sim,
    federation::{Call, Waiter, body, source, unclaimed_body},
    grants::OwnKey,
};

/// Subjects of a history.
const SUBJECTS: u64 = 6;
/// Fields of a penalty that a bank asks for: name, number, facts, kind, what was imposed, and one it may not have.
pub(super) const PENALTY_FIELDS: [u16; 6] = [1, 10, 14, 16, 18, 19];
/// Fields of a tax grade that a bank asks for; 6 is only verified, 7 only masked.
const TAX_FIELDS: [u16; 5] = [4, 5, 6, 7, 10];

/// A row as its department keeps it.
#[derive(Clone, Debug)]
pub struct Row {
    region: usize,
    /// By whose body it was decided, unless it is shared.
    pub(super) body: usize,
    pub(super) subject: SubjectId,
    pub(super) document: String,
    revision: u64,
    pub(super) tax: bool,
    /// By a body that no member claims: the two platforms of the region hold it, each as its own.
    pub(super) shared: bool,
}

impl Row {
    /// The credit code of its body.
    fn body(&self) -> String {
        if self.shared { unclaimed_body() } else { body(self.body) }
    }

    /// Its day. A second act of one day about one subject is given back once the first has ended: what is shared has a day
    /// of its own.
    fn decided(&self) -> String {
        let number = self.document.rsplit('-').next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
        if self.shared { format!("2024/07/{:02}", 1 + number % 28) } else { "2024/06/03".to_owned() }
    }
}

/// What an operator waits for.
#[derive(Clone, Debug)]
pub enum Operation {
    /// Key slots for rows that are read.
    Slots(Vec<Fresh>, ItemId, Digest),
    /// A signed grant; with it the bank asks at once about everything.
    Grant(bool),
    /// A collector's word about a subject's key.
    Bind(Secret),
    /// The receipt of a grant that its subject has signed.
    Lodge(Signed<Grant>),
    /// A signed question.
    Ask,
    /// Nothing but the end.
    Done,
}

/// A row that may bring something new, with everything but its slot.
#[derive(Clone, Debug)]
pub struct Fresh {
    plain: PlainRecord,
    facts: RecordFacts,
}

/// What has been done so far, as far as later deeds refer to it.
#[derive(Default)]
pub struct Workload {
    subjects: Vec<SubjectId>,
    pub(super) rows: Vec<Row>,
    pub(super) grants: Vec<(usize, Signed<Grant>)>,
    pub(super) keys: Vec<OwnKey>,
    questions: Vec<(usize, usize, Signed<Question>)>,
    documents: u64,
}

impl Workload {
    /// Nothing has been done.
    pub fn new() -> Self {
        let subject =
            |n| uscc_from_parts("91", "310115", 31_u64.pow(7) * 29 + n).expect("parts of the right shape");
        Self { subjects: (0..SUBJECTS).map(subject).collect(), ..Self::default() }
    }

    /// The subjects.
    pub fn subjects(&self) -> &[SubjectId] {
        &self.subjects
    }
}

impl Sim {
    pub(super) fn outlet(&self) -> usize {
        self.config.regions
    }

    pub(super) fn bank(&self) -> usize {
        self.config.regions + 1
    }

    fn region(&mut self) -> usize {
        self.rng.below(self.config.regions as u64) as usize
    }

    pub(super) fn operator(&mut self, at: usize, operation: Operation, input: Input) -> Result<(), Broken> {
        let at = self.face(at);
        self.operator_of(at, operation, input)
    }

    /// As [`Sim::operator`], at this very face: what follows from what it has said before.
    fn operator_of(&mut self, at: usize, operation: Operation, input: Input) -> Result<(), Broken> {
        if self.nodes[at].member.is_none() {
            return Ok(());
        }
        let token = self.nodes[at].wait(Waiter::Operator(operation));
        self.submit(at, Some(token), input)
    }

    /// One deed.
    pub(super) fn work(&mut self) -> Result<(), Broken> {
        // Where two recognise each other's repair there is more to repair.
        if self.recognises() && self.rng.one_in(3) {
            return if self.rng.one_in(3) { self.apply() } else { self.handle_cases() };
        }
        match self.rng.below(122) {
            0..=21 => self.hand_in(),
            22..=28 => self.sign_grant(),
            29..=46 => self.ask(),
            47..=52 => self.ask_again(),
            53..=57 => self.ask_by_duty(),
            58..=60 => self.change_grant(),
            61..=74 => self.apply(),
            75..=87 => self.handle_cases(),
            88..=97 => self.change_standing(),
            98..=99 => self.erase(),
            100..=101 => self.bind_key(),
            102..=105 => self.sign_own_grant(),
            106..=107 => self.withdraw_key(),
            108..=113 => self.apply(),
            _ => self.handle_cases(),
        }
    }

    /// A department's file: new rows, rows handed in before, and changed ones.
    fn hand_in(&mut self) -> Result<(), Broken> {
        let region = self.region();
        self.operator(region, Operation::Done, Input::AddSource(source()))?;
        let tax = self.rng.one_in(3);
        let mut rows: Vec<Row> = Vec::new();
        for _ in 0..1 + self.rng.below(3) {
            let known: Vec<usize> = (0..self.work.rows.len())
                .filter(|i| self.work.rows[*i].region == region && self.work.rows[*i].tax == tax)
                .collect();
            let row = match self.rng.pick(&known).copied() {
                Some(at) if self.rng.one_in(3) => {
                    if self.rng.one_in(2) {
                        self.work.rows[at].revision += 1;
                    }
                    self.work.rows[at].clone()
                }
                _ => self.new_row(region, tax),
            };
            if rows.iter().all(|r| r.document != row.document) {
                rows.push(row);
            }
        }
        self.take_in(region, tax, &rows)?;
        // Who shares a penalty has it from the same body.
        rows.retain(|row| row.shared);
        if rows.is_empty() { Ok(()) } else { self.take_in(1 - region, tax, &rows) }
    }

    /// A file of these rows, taken in by a region.
    fn take_in(&mut self, region: usize, tax: bool, rows: &[Row]) -> Result<(), Broken> {
        let (plains, file) = if tax { tax_records(rows) } else { self.penalties(region, rows)? };
        plains.iter().for_each(|plain| self.pair(plain));
        let context = &self.nodes[region].context;
        let item_id = ItemId::parse(if tax { "NSXY" } else { "CF" }).expect("an item");
        let Some(item) = context.catalog.item(&item_id) else { return Ok(()) };
        let mut fresh = Vec::new();
        for plain in plains {
            let facts = facts(context, item, &plain);
            let known: Option<RecordRow> =
                tables::row(&self.nodes[region].disk, &Key::record(&facts.record)).unwrap_or_default();
            if known.and_then(|row| row.content) != Some(facts.content) {
                self.checker.sealed(&facts, &plain);
                fresh.push(Fresh { plain, facts });
            }
        }
        let count = fresh.len() as u64;
        self.operator(region, Operation::Slots(fresh, item_id, file), Input::ReserveSlots { count })
    }

    fn new_row(&mut self, region: usize, tax: bool) -> Row {
        self.work.documents += 1;
        // Some rows are decided by another member's body: copies, of which this member is not the authority.
        let body = if self.rng.one_in(4) { self.region() } else { region };
        let subject = self.rng.pick(&self.work.subjects).cloned().expect("there are subjects");
        let document = format!("SIM-{}", self.work.documents);
        let shared = self.recognises() && region < 2 && !tax && self.rng.one_in(2);
        let row = Row { region, body, subject, document, revision: 0, tax, shared };
        self.work.rows.push(row.clone());
        row
    }

    /// Penalties as a file, read as intake reads it.
    fn penalties(&self, region: usize, rows: &[Row]) -> Result<(Vec<PlainRecord>, Digest), Broken> {
        let mut file =
            "CF_XDR_MC,CF_XDR_LB,CF_XDR_SHXYM,CF_FRDB,CF_FR_ZJLX,CF_WSH,CF_WFXW,CF_SY,CF_YJ,CF_CFLB,CF_NR,\
                        CF_NR_FK,CF_JDRQ,CF_YXQ,CF_CFJG,CF_CFJGDM,CF_SJLY,CF_SJLYDM\n"
                .to_owned();
        for row in rows {
            file.push_str(&format!(
                "CANARY-{0} company,法人及非法人组织,{1},CANARY-{0} person,CANARY-{0} paper,{2},CANARY-{0} kind,\
                 CANARY-{0} facts {3},law,罚款,CANARY-{0} imposed,1.5,{5},2099/12/31,body,{4},source,{4}\n",
                row.document,
                row.subject.as_str(),
                row.document,
                row.revision,
                row.body(),
                row.decided(),
            ));
        }
        let context = &self.nodes[region].context;
        let item = ItemId::parse("CF").and_then(|id| context.catalog.item(&id).cloned());
        let broken = |what: String| Broken::new(Check::Fault, format!("a sound file is refused: {what}"));
        let item = item.ok_or_else(|| broken("no item".to_owned()))?;
        let today = Date::from_timestamp(Timestamp(self.now));
        let intake =
            csv::read(file.as_bytes(), &context.catalog, &item, today).map_err(|e| broken(e.to_string()))?;
        let rows: Result<Vec<_>, _> = intake.rows.into_iter().map(|row| row.outcome).collect();
        let rows = rows.map_err(|errors| broken(format!("{errors:?}")))?;
        Ok((rows, Digest(FileHasher::of(file.as_bytes()))))
    }

    /// The bank asks, mostly on a grant that may be good.
    fn ask(&mut self) -> Result<(), Broken> {
        let grant = self.rng.pick(&self.work.grants).map(|(_, grant)| grant.clone());
        let grant = if self.rng.one_in(10) { None } else { grant };
        let of_grant = grant.as_ref().and_then(|g| self.nodes[0].context.registry.verify_grant(g).ok());
        let subject = match of_grant {
            Some(grant) if !self.rng.one_in(10) => grant.get().subject.clone(),
            _ => self.rng.pick(&self.work.subjects).cloned().expect("there are subjects"),
        };
        let purpose = if self.rng.one_in(8) { Purpose::PostLoan } else { Purpose::LoanReview };
        let wait_ms = if self.rng.one_in(8) { 300 } else { 20_000 };
        let draft = ask_draft(subject, purpose, grant, wait_ms);
        let id = QuestionId(self.rng.bytes());
        self.operator(self.bank(), Operation::Ask, Input::Ask { draft, id })
    }

    /// A question that was put before is put again, byte for byte; its deadline may have passed.
    fn ask_again(&mut self) -> Result<(), Broken> {
        let newest = self.work.questions.len().saturating_sub(12);
        let Some((at, to, question)) = self.rng.pick(&self.work.questions[newest..]).cloned() else {
            return Ok(());
        };
        self.put(at, to, question)
    }

    fn put(&mut self, at: usize, to: usize, question: Signed<Question>) -> Result<(), Broken> {
        if self.nodes[at].member.is_none() {
            return Ok(());
        }
        let request = Request::Ask(question.clone());
        self.call(at, to, &request, Call::Ask { question }, 30_000)?;
        Ok(())
    }

    /// An authority asks another under a duty set by law.
    fn ask_by_duty(&mut self) -> Result<(), Broken> {
        let (at, to) = (self.region(), self.region());
        let subject = self.rng.pick(&self.work.subjects).cloned().expect("there are subjects");
        if at == to { Ok(()) } else { self.by_duty(at, to, subject) }
    }

    pub(super) fn by_duty(&mut self, at: usize, to: usize, subject: SubjectId) -> Result<(), Broken> {
        let now = self.clock(at);
        let question = Question {
            id: QuestionId(self.rng.bytes()),
            asker: self.nodes[at].id.clone(),
            clerk: clerk(),
            purpose: Purpose::Administration,
            subject,
            wants: vec![want("CF", &PENALTY_FIELDS)],
            basis: Basis::Duty("政务数据共享条例 art. 20".to_owned()),
            asked_at: now,
            deadline: now.plus_ms(20_000),
            checks: vec![no_penalty()],
        };
        let signed = self.nodes[at].context.sign(now, &question);
        self.checker.asked(signed.digest(), question);
        self.work.questions.push((at, to, signed.clone()));
        self.put(at, to, signed)
    }

    pub(super) fn change_standing(&mut self) -> Result<(), Broken> {
        let at = self.region();
        let records: Vec<RecordId> = self.checker.collected(at).into_keys().collect();
        let Some(record) = self.rng.pick(&records).copied() else { return Ok(()) };
        // What ends a record is rare: most of them are to live until they are repaired.
        let change = match self.rng.below(9) {
            0..=2 => Change::Mask,
            3..=6 => Change::Unmask,
            7 => Change::Expire,
            _ => Change::Withdraw,
        };
        let reason = "art. 12".to_owned();
        let paper = (change == Change::Mask).then(|| Digest::of(b"ruling"));
        self.operator(at, Operation::Done, Input::ChangeStanding { record, change, reason, paper })
    }

    fn erase(&mut self) -> Result<(), Broken> {
        let at = self.region();
        let records: Vec<RecordId> = self.checker.collected(at).into_keys().collect();
        let Some(record) = self.rng.pick(&records).copied() else { return Ok(()) };
        self.erase_record(at, record, "collected in error")
    }

    /// What a withdrawal has made due.
    pub(super) fn erase_withdrawn(&mut self, at: usize, records: &[RecordId]) -> Result<(), Broken> {
        records.iter().try_for_each(|record| self.erase_record(at, *record, timer::WITHDRAWN))
    }

    fn erase_record(&mut self, at: usize, record: RecordId, reason: &str) -> Result<(), Broken> {
        let node = &self.nodes[at];
        let Ok(Some(versions)) = read::versions_of(&node.disk, &record) else { return Ok(()) };
        let before = node.tree.digest();
        let Some(mut after) = KeyTree::from_plain(&node.tree.to_plain()) else { return Ok(()) };
        for version in &versions {
            after.puncture(version.slot);
        }
        let tree = (before, after.digest());
        let reason = reason.to_owned();
        self.operator_of(
            at,
            Operation::Done,
            Input::Erase { records: vec![(record, versions)], reason, tree },
        )
    }

    /// An operator's reply has come.
    pub(super) fn operated(
        &mut self,
        at: usize,
        operation: Operation,
        response: Response,
    ) -> Result<(), Broken> {
        if self.config.verbose
            && let Response::Refused(refusal) = &response
        {
            self.say(|| format!("node {at} refuses: {refusal}"));
        }
        match (operation, response) {
            (Operation::Slots(fresh, item, file), Response::Slots(first)) => {
                let node = &self.nodes[at];
                let mut records = Vec::new();
                for (row, slot) in fresh.into_iter().zip(first..) {
                    let Some(key) = node.tree.key(Slot(slot)) else { return Ok(()) };
                    let facts = RecordFacts { slot: Slot(slot), ..row.facts };
                    let PlainRecord { document, subject, .. } = &row.plain;
                    let twins = match facts.authority == node.id {
                        true => recognise::twins(&node.context, &item, document, subject),
                        false => Vec::new(),
                    };
                    let sealed = SealedRecord::seal(&Contents::of(&row.plain), facts, &node.id, &key);
                    let place = push::place(&node.context, &sealed, (subject, &row.plain.fields));
                    let row = SealedRow::new(&node.context, FileRow::default(), sealed, subject);
                    records.push(row.known_as(twins).published_at(place));
                }
                let run = Submission {
                    source: source(),
                    item,
                    file,
                    records,
                    run: RunRows::default(),
                    last: Some("UTF-8".into()),
                };
                self.operator_of(at, Operation::Done, Input::Submit(run))
            }
            (Operation::Grant(ask), Response::Grant(signed)) => {
                let subject = self.granted(at, signed.clone())?;
                if !ask {
                    return Ok(());
                }
                let draft = ask_draft(subject, Purpose::LoanReview, Some(signed), 60_000);
                let id = QuestionId(self.rng.bytes());
                self.operator(self.bank(), Operation::Ask, Input::Ask { draft, id })
            }
            (Operation::Bind(seed), Response::Binding(binding)) => {
                self.bound(at, seed, binding);
                Ok(())
            }
            (Operation::Lodge(signed), Response::Done) => self.granted(at, signed).map(drop),
            (Operation::Ask, Response::Asked { question, outlet }) => {
                let verified = self.nodes[at].context.registry.verify(&question);
                let asked: Question =
                    verified.map_err(|r| Broken::new(Check::Fault, r.to_string()))?.into_inner();
                self.checker.asked(question.digest(), asked);
                let Some(to) = self.reach(at, &outlet) else { return Ok(()) };
                self.work.questions.push((at, to, question.clone()));
                self.put(at, to, question)
            }
            _ => Ok(()),
        }
    }

    /// An answer has come back to its asker: opened, verified, and written down.
    pub(super) fn answered(
        &mut self,
        at: usize,
        peer: &MemberId,
        question: &Signed<Question>,
        response: Response,
    ) -> Result<(), Broken> {
        let answers = match response {
            Response::Answer(answer) => vec![(peer.clone(), *answer)],
            Response::Parts(parts) => parts
                .into_iter()
                .filter_map(|part| match part.outcome {
                    Outcome::Answered(answer) => Some((part.member, *answer)),
                    _ => None,
                })
                .collect(),
            _ => return Ok(()),
        };
        let broken = |r: exchange::refusal::Refusal| {
            Broken::new(Check::Disclosure, format!("an answer does not open: {r}"))
        };
        let node = &self.nodes[at];
        let verified = node.context.registry.verify(question).map_err(broken)?;
        let mut lines = Vec::new();
        for (member, sealed) in answers {
            if evidence::frozen(&node.disk, &member).map_err(|f| Broken::new(Check::Fault, f.to_string()))? {
                continue;
            }
            if sealed.member != member {
                return Err(Broken::new(
                    Check::Disclosure,
                    format!("`{member}` passes another member's answer"),
                ));
            }
            let opened = match answer::open_any(&node.context.registry, &verified, &node.opening, &sealed) {
                Ok(opened) => opened,
                Err(_) if self.knows_less(at) => continue,
                Err(refusal) => return Err(broken(refusal)),
            };
            self.figures.opened += opened.records.len() as u64;
            self.checker.opened(&opened)?;
            lines.push(Received {
                question: question.digest(),
                from: opened.member,
                index: opened.index,
                leaf: opened.leaf,
                records: opened.records.iter().map(|r| r.record).collect(),
            });
        }
        self.operator(at, Operation::Done, Input::Received { lines, keep: None })
    }

    /// The bank asks about everything a subject has, on a fresh grant.
    pub(super) fn ask_everything(&mut self, subject: SubjectId) -> Result<(), Broken> {
        let draft = self.draft(subject, true);
        let id = GrantId(self.rng.bytes());
        self.operator(self.bank(), Operation::Grant(true), Input::IssueGrant { draft, id })
    }
}

fn ask_draft(subject: SubjectId, purpose: Purpose, grant: Option<Signed<Grant>>, wait_ms: u64) -> AskDraft {
    let wants = vec![want("CF", &PENALTY_FIELDS), want("NSXY", &TAX_FIELDS)];
    let checks = vec![no_penalty(), taxed()];
    let basis = grant.map_or(Basis::None, Basis::Grant);
    AskDraft { clerk: clerk(), purpose, subject, wants, basis, wait_ms, checks }
}

/// No penalty that may be told was decided since the begin of 2024.
fn no_penalty() -> predicate::Check {
    let since = Date::new(2024, 1, 1).expect("a day");
    let item = ItemId::parse("CF").expect("an item");
    predicate::Check { item, field: FieldId(23), predicate: Predicate::NoneSince(since) }
}

/// A million yuan of taxes in a year.
fn taxed() -> predicate::Check {
    let least = Value::Amount(Amount::from_fen(100_000_000).expect("an amount"));
    let item = ItemId::parse("NSXY").expect("an item");
    predicate::Check { item, field: FieldId(6), predicate: Predicate::AtLeast(least) }
}

fn want(item: &str, fields: &[u16]) -> Want {
    Want { item: ItemId::parse(item).expect("an item"), fields: fields.iter().map(|n| FieldId(*n)).collect() }
}

pub(super) fn clerk() -> ClerkId {
    ClerkId::parse("clerk 1").expect("a clerk")
}

/// Clocks and routing of a row, as the node's intake finds them.
fn facts(context: &exchange::context::Context, item: &Item, plain: &PlainRecord) -> RecordFacts {
    let authority = plain.authority_code.as_deref().and_then(|code| context.registry.authority_of(code));
    let authority = authority.unwrap_or(&context.own.id).clone();
    let kinds =
        item.penalty_field.and_then(|f| plain.fields.get(&f)).map(Value::to_display).unwrap_or_default();
    // Some of the decisions are those of market regulators, who push them to where a subject is registered.
    let number = plain.document.rsplit('-').next().and_then(|n| n.parse::<u64>().ok());
    let kind = match number {
        Some(n) if item.repairable && n.is_multiple_of(4) => AuthorityKind::SAMR,
        _ => AuthorityKind::GENERAL,
    };
    RecordFacts {
        record: context.own.naming.record_id(&authority, &item.id, &plain.document, &plain.subject),
        item: item.id.clone(),
        catalog: context.catalog.version(),
        authority,
        slot: Slot(0),
        decided: plain.decided,
        published: None,
        ended: None,
        until: None,
        tier: item.repairable.then(|| {
            let penalty = Penalty::of_kinds(&kinds);
            context.rules.tier_of_penalty(kind, plain.decided, &penalty)
        }),
        kind,
        content: context.own.naming.content_tag(&Contents::of(plain)),
    }
}

/// Tax grades, built in code.
fn tax_records(rows: &[Row]) -> (Vec<PlainRecord>, Digest) {
    let text = |t: String| Value::Text(t);
    let record = |row: &Row| {
        let fields = BTreeMap::from([
            (FieldId(1), text(format!("CANARY-{} company", row.document))),
            (FieldId(3), text(row.document.clone())),
            (FieldId(4), Value::Integer(2025)),
            (FieldId(5), text(["A", "B", "M", "C"][row.revision as usize % 4].to_owned())),
            (FieldId(6), Value::Amount(Amount::from_fen(10_000 + row.revision as i64).expect("in range"))),
            (FieldId(7), Value::Amount(Amount::from_fen(500).expect("in range"))),
            (FieldId(10), text(format!("CANARY-{} bureau {}", row.document, row.revision))),
            (FieldId(11), text(row.body())),
            (FieldId(12), Value::Date(Date::new(2025, 4, 30).expect("a day"))),
        ]);
        PlainRecord {
            subject: row.subject.clone(),
            item: ItemId::parse("NSXY").expect("an item"),
            document: row.document.clone(),
            authority_code: Some(row.body()),
            decided: Date::new(2025, 4, 30),
            fields,
        }
    };
    let names: Vec<String> = rows.iter().map(|r| format!("{}/{}", r.document, r.revision)).collect();
    (rows.iter().map(record).collect(), Digest(FileHasher::of(names.join(" ").as_bytes())))
}
