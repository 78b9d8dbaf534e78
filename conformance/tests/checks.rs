//! Predicates asked of a member: what is told, what the log commits to, what an attacker learns who searches, forges or
//! compares, and what a repair reaches.

#![allow(clippy::unwrap_used, reason = "a test; what fails here fails the test")]

use std::collections::BTreeMap;

use conformance::sim::federation::{Node, body, build, source};
use credit::{
    catalog::{Catalog, Mode, Purpose},
    csv::PlainRecord,
    disclosure::{self, CheckOpening},
    entry::{Entry, Fact},
    grant::{Grant, Scope},
    id::{CaseId, ClerkId, FieldId, GrantId, ItemId, MemberId, QuestionId},
    predicate::{Check, Outcome},
    question::{Basis, Question, Want},
    record::{Contents, RecordFacts, SUBJECT_FIELD, SealedRecord, field_content},
    repair::Matter,
    rules::{AuthorityKind, Tier},
    subject::{SubjectId, uscc_from_parts},
    value::{Amount, Date, Value},
};
use crypto::{
    Digest, Timestamp, codec,
    commit::Opening,
    keytree::Slot,
    seal::AnswerEpoch,
    secret::Secret,
    sign::{Signed, Verified},
};
use exchange::{
    answer::{self, Answer, AnswerNumber, OpenedAnswer, Plan, SealedOpening},
    check,
    logs::LogName,
    member::Input,
    refusal::Code,
    step::{Effect, Reply, Token},
    submit::{FileRow, RunRows, SealedRow, Submission},
    tables,
    wire::{ApplicationDraft, BudgetLeft, Response},
};
use ledger::{log, store::Store, tree::LeafIndex};

const DAY: u64 = 86_400_000;

fn start() -> Timestamp {
    Date::new(2026, 5, 6).unwrap().start().plus_ms(36_000_000)
}

fn subject(n: u64) -> SubjectId {
    uscc_from_parts("91", "310115", 31_u64.pow(7) * 29 + n).unwrap()
}

fn item(text: &str) -> ItemId {
    ItemId::parse(text).unwrap()
}

fn checks(texts: &[&str]) -> Vec<Check> {
    let catalog = Catalog::builtin();
    let mut checks: Vec<Check> = texts.iter().map(|t| Check::parse(&catalog, t).unwrap()).collect();
    checks.sort();
    checks
}

/// `sh`, which answers, beside the members whose keys are needed.
struct Stage {
    nodes: Vec<Node>,
    now: Timestamp,
    asked: u8,
}

const SH: usize = 0;
const OUTLET: usize = 2;
const BANK: usize = 3;

/// What becomes of an input: its reply, and the effects beside it.
struct Came {
    reply: Option<Reply>,
    beside: Vec<Effect>,
}

impl Stage {
    fn new() -> Self {
        let mut nodes = build(1, 2, start());
        nodes[SH].open().unwrap();
        let mut stage = Self { nodes, now: start(), asked: 0 };
        for input in [Input::Restored { seen: Vec::new() }, Input::Synced, Input::AddSource(source())] {
            stage.step(input);
        }
        stage
    }

    /// The same members on copies of their disks.
    fn twin(&self) -> Self {
        let mut nodes: Vec<Node> = self.nodes.iter().map(|n| n.twin().unwrap()).collect();
        nodes[SH].open().unwrap();
        let mut twin = Self { nodes, now: self.now, asked: self.asked };
        twin.step(Input::Restored { seen: Vec::new() });
        twin.step(Input::Synced);
        twin
    }

    /// One step. What is to be judged is judged, and handed in again.
    fn step(&mut self, mut input: Input) -> Came {
        loop {
            let node = &mut self.nodes[SH];
            let member = node.member.as_mut().unwrap();
            let step = member.handle(self.now, vec![(Some(Token(1)), input)], &node.disk).unwrap();
            let judges = !step.writes();
            let mut came = Came { reply: None, beside: Vec::new() };
            for effect in step.commit(&node.disk as &dyn Store).unwrap() {
                match effect {
                    Effect::Reply { reply, .. } => came.reply = Some(reply),
                    other => came.beside.push(other),
                }
            }
            let Some(Reply::Judge(judging)) = came.reply else { return came };
            assert!(judges, "nothing is written before the checks are judged");
            let key = |slot| node.tree.key(slot);
            let judged = check::judge(&node.context, &node.disk, &key, &judging).unwrap().unwrap();
            let check::Judging { caller, question, grant, .. } = *judging;
            input = Input::Question { caller, question, grant, judged: Some(Box::new(judged)) };
        }
    }

    /// Hands one record in; `sh` is its authority.
    fn hand_in(&mut self, about: u64, of: &str, document: &str, decided: Date, fields: &[(u16, Value)]) {
        let Some(Reply::Ready(response)) = self.step(Input::ReserveSlots { count: 1 }).reply else {
            panic!()
        };
        let Response::Slots(first) = *response else { panic!("no slots") };
        let node = &self.nodes[SH];
        let plain = PlainRecord {
            subject: subject(about),
            item: item(of),
            document: document.to_owned(),
            authority_code: Some(body(0)),
            decided: Some(decided),
            fields: fields.iter().map(|(n, v)| (FieldId(*n), v.clone())).collect::<BTreeMap<_, _>>(),
        };
        let naming = &node.context.own.naming;
        let facts = RecordFacts {
            record: naming.record_id(&node.id, &plain.item, document, &plain.subject),
            item: plain.item.clone(),
            catalog: node.context.catalog.version(),
            authority: node.id.clone(),
            slot: Slot(first),
            decided: plain.decided,
            published: None,
            ended: None,
            until: None,
            tier: (of == "CF").then_some(Tier::General),
            kind: AuthorityKind::GENERAL,
            content: naming.content_tag(&Contents::of(&plain)),
        };
        let key = node.tree.key(Slot(first)).unwrap();
        let sealed = SealedRecord::seal(&Contents::of(&plain), facts, &node.id, &key);
        let run = Submission {
            source: source(),
            item: plain.item.clone(),
            file: Digest::of(document.as_bytes()),
            records: vec![SealedRow::new(&node.context, FileRow::default(), sealed, &plain.subject)],
            run: RunRows::default(),
            last: Some("UTF-8".into()),
        };
        self.step(Input::Submit(run));
    }

    fn taxes(&mut self, about: u64, wan: &str) {
        let amount = Value::Amount(Amount::parse(wan).unwrap());
        let grade = Value::Text("A".into());
        self.hand_in(about, "NSXY", "T-1", Date::new(2026, 3, 1).unwrap(), &[(5, grade), (6, amount)]);
    }

    /// What the member tells its operator of the budgets for such checks.
    fn budgets(&mut self, about: u64, checks: &[&str]) -> Vec<BudgetLeft> {
        let question = self.question(about, checks, Vec::new());
        let Basis::Grant(grant) = &question.get().basis else { panic!("no grant") };
        let (node, checks) = (&self.nodes[SH], &question.get().checks);
        match check::budgets(&node.context, &node.disk, grant, checks, self.now).unwrap() {
            Response::Budgets(found) => found,
            other => panic!("{other:?}"),
        }
    }

    /// bank-a's question about a subject, under a grant over every item in it.
    fn question(&mut self, about: u64, texts: &[&str], wants: Vec<Want>) -> Verified<Question> {
        self.asked += 1;
        let registry = &self.nodes[SH].context.registry;
        let scope = ["CF", "NSXY", "SBJN"].map(|i| Scope { item: item(i), fields: Vec::new() }).to_vec();
        let grant = Grant {
            id: GrantId([1; 16]),
            collector: self.nodes[OUTLET].id.clone(),
            subject: subject(about),
            grantee: self.nodes[BANK].id.clone(),
            purposes: vec![Purpose::LoanReview],
            scope,
            not_before: start(),
            not_after: start().plus_ms(100 * DAY),
            uses_max: 1_000,
            keep_days: 30,
            letter: Some(Digest::of(b"letter")),
            binding: None,
            period: None,
        };
        let question = Question {
            id: QuestionId([self.asked; 16]),
            asker: self.nodes[BANK].id.clone(),
            clerk: ClerkId::parse("clerk").unwrap(),
            purpose: Purpose::LoanReview,
            subject: subject(about),
            wants,
            basis: Basis::Grant(self.nodes[OUTLET].context.sign(start(), &grant)),
            asked_at: self.now,
            deadline: self.now.plus_ms(60_000),
            checks: checks(texts),
        };
        registry.verify(&self.nodes[BANK].context.sign(self.now, &question)).unwrap()
    }

    fn put(&mut self, question: &Verified<Question>) -> Came {
        let registry = &self.nodes[SH].context.registry;
        let Basis::Grant(grant) = &question.get().basis else { panic!("no grant") };
        let grant: Verified<Grant> = registry.verify(grant).unwrap();
        let caller = self.nodes[OUTLET].id.clone();
        self.step(Input::Question { caller, question: question.clone(), grant: Some(grant), judged: None })
    }

    fn plan(&mut self, question: &Verified<Question>) -> Plan {
        match self.put(question).reply {
            Some(Reply::Answer(plan)) => *plan,
            other => panic!("an answer was expected: {other:?}"),
        }
    }

    fn seal(&self, plan: &Plan) -> Answer {
        self.nodes[SH].seal(plan, &Secret::new([9; 32]), AnswerNumber([9; 16])).unwrap().unwrap()
    }

    fn open(&self, question: &Verified<Question>, sealed: &Answer) -> Result<OpenedAnswer, String> {
        let bank = &self.nodes[BANK];
        answer::open_any(&bank.context.registry, question, &bank.opening, sealed).map_err(|r| r.detail)
    }

    /// Asks about a subject and reads the answer.
    fn ask(&mut self, about: u64, texts: &[&str]) -> OpenedAnswer {
        let question = self.question(about, texts, Vec::new());
        let plan = self.plan(&question);
        self.open(&question, &self.seal(&plan)).unwrap()
    }

    /// The outcome of one check, or the rule that withholds it.
    fn told(&mut self, about: u64, text: &str) -> Result<Outcome, String> {
        let answer = self.ask(about, &[text]);
        match (&answer.checks[..], &answer.withheld[..]) {
            ([check], []) => Ok(check.outcome),
            ([], [withheld]) => Err(withheld.rule.0.clone()),
            _ => panic!("one check, one line: {answer:?}"),
        }
    }

    fn access(&self, index: u64) -> Vec<u8> {
        log::entry(&self.nodes[SH].disk, LogName::Access.as_str(), LeafIndex(index)).unwrap().unwrap()
    }
}

#[test]
fn every_predicate_is_told_as_the_records_say() {
    let mut stage = Stage::new();
    stage.taxes(1, "120.5");
    let paid = |month: i64, state: &str| [(4, Value::Integer(month)), (6, Value::Text(state.into()))];
    for month in [202601, 202602, 202603] {
        let day = Date::new(2026, 1, 20).unwrap().plus_months(month as u32 - 202601);
        stage.hand_in(1, "SBJN", &format!("S-{month}"), day, &paid(month, "正常"));
    }
    stage.hand_in(1, "SBJN", "S-202512", Date::new(2025, 12, 20).unwrap(), &paid(202512, "欠费"));
    stage.hand_in(1, "CF", "P-1", Date::new(2024, 6, 3).unwrap(), &[(14, Value::Text("P-1".into()))]);
    for (text, outcome) in [
        ("NSXY:NSXY_DJ=A", Outcome::Yes),
        ("NSXY:NSXY_DJ=B", Outcome::No),
        ("NSXY:NSXY_NSZE>=120.5", Outcome::Yes),
        ("NSXY:NSXY_NSZE>=121", Outcome::No),
        ("NSXY:NSXY_NSZE<=100", Outcome::No),
        ("NSXY:NSXY_NSZE=100..200", Outcome::Yes),
        ("NSXY:NSXY_XSSR>=1", Outcome::NotOnRecord),
        ("CF:none-since=2024-06-04", Outcome::Yes),
        ("CF:none-since=2024-06-03", Outcome::No),
        ("SBJN:paid=3@2026-03", Outcome::Yes),
        ("SBJN:paid=4@2026-03", Outcome::No),
        ("SBJN:paid=3@2026-04", Outcome::NotOnRecord),
    ] {
        assert_eq!(stage.told(1, text), Ok(outcome), "{text}");
    }
    // A subject nobody knows.
    for (text, outcome) in [
        ("NSXY:NSXY_DJ=A", Outcome::NotOnRecord),
        ("CF:none-since=2024-06-03", Outcome::Yes),
        ("SBJN:paid=3@2026-03", Outcome::NotOnRecord),
    ] {
        assert_eq!(stage.told(2, text), Ok(outcome), "{text}");
    }
    // What is out of a bank's reach stays so, also for yes and no; and what the catalog does not allow.
    assert_eq!(stage.told(1, "CF:CF_FR_ZJHM=11010519491231002X"), Err("bank-government".into()));
    let question = stage.question(1, &["NSXY:NSXY_DJ=A"], Vec::new());
    let mut asked = question.get().clone();
    asked.id = QuestionId([200; 16]);
    asked.checks[0].field = FieldId(10);
    let other = stage.nodes[BANK].context.sign(stage.now, &asked);
    let other = stage.nodes[SH].context.registry.verify(&other).unwrap();
    let plan = stage.plan(&other);
    let withheld = stage.open(&other, &stage.seal(&plan)).unwrap().withheld;
    assert_eq!(withheld[0].rule.0, "check-not-allowed");
    // Beside fields, in one question.
    let wants = vec![Want { item: item("NSXY"), fields: vec![FieldId(5), FieldId(6)] }];
    let question = stage.question(1, &["CF:none-since=2024-06-04", "NSXY:NSXY_NSZE>=121"], wants);
    let plan = stage.plan(&question);
    let answer = stage.open(&question, &stage.seal(&plan)).unwrap();
    assert_eq!(answer.records[0].fields.len(), 1);
    assert_eq!(answer.withheld[0].rule.0, "verify-only");
    let outcomes: Vec<Outcome> = answer.checks.iter().map(|c| c.outcome).collect();
    assert_eq!(outcomes, [Outcome::Yes, Outcome::No]);
}

/// Searches the tax of `about` by halving; how many thresholds were answered before the member said no.
fn search(stage: &mut Stage, about: u64) -> (usize, i64) {
    let (mut low, mut high, mut answered) = (0, 1_024, 0);
    while high - low > 1 {
        let middle = (low + high) / 2;
        match stage.told(about, &format!("NSXY:NSXY_NSZE>={middle}")) {
            Ok(Outcome::Yes) => low = middle,
            Ok(_) => high = middle,
            Err(rule) => {
                assert_eq!(rule, "budget-spent");
                break;
            }
        }
        answered += 1;
    }
    (answered, high - low)
}

#[test]
fn a_search_by_halving_is_stopped_whether_or_not_there_is_anybody() {
    let mut stage = Stage::new();
    stage.taxes(1, "700");
    assert_eq!(search(&mut stage, 1), (5, 32));
    assert_eq!(search(&mut stage, 2), (5, 32));
    for about in [1, 2] {
        // Put in other words it is the same search.
        for text in ["NSXY:NSXY_NSZE<=701", "NSXY:NSXY_NSZE=690..710"] {
            assert_eq!(stage.told(about, text), Err("budget-spent".into()));
        }
        // The same threshold again costs nothing, and other fields and families have budgets of their own.
        assert!(stage.told(about, "NSXY:NSXY_NSZE>=512").is_ok());
        assert!(stage.told(about, "NSXY:NSXY_XSSR>=512").is_ok());
        assert!(stage.told(about, "NSXY:NSXY_DJ=A").is_ok());
    }
    // The member's operator sees beforehand what a question on a grant would find, and spends nothing by looking.
    let found = stage.budgets(1, &["NSXY:NSXY_NSZE>=512", "NSXY:NSXY_NSZE>=513", "NSXY:NSXY_XSSR>=1"]);
    let found: Vec<_> = found.iter().map(|b| (b.affordable, b.budget, b.left)).collect();
    assert_eq!(found, [(true, 5, 0), (false, 5, 0), (true, 5, 3)]);
    assert_eq!(stage.budgets(1, &["NSXY:NSXY_XSSR>=1"])[0].left, 3);
    assert_eq!(stage.budgets(1, &["NSXY:NSXY_NSZE>=1"])[0].frees_at, Some(start().plus_ms(30 * DAY)));
    // Guesses of a list.
    assert!(stage.told(1, "NSXY:NSXY_DJ=B").is_ok() && stage.told(1, "NSXY:NSXY_DJ=M").is_ok());
    assert_eq!(stage.told(1, "NSXY:NSXY_DJ=C"), Err("budget-spent".into()));
    // All at once is no other way round: the first five are judged, the sixth is not.
    let many: Vec<String> = (1..=6).map(|n| format!("SBJN:SBJN_CBRS>={n}")).collect();
    let answer = stage.ask(1, &many.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!((answer.checks.len(), answer.withheld.len()), (5, 1));
    // Thirty days later there is a new budget, and not a moment earlier.
    stage.now = start().plus_ms(30 * DAY - 1);
    assert_eq!(stage.told(1, "NSXY:NSXY_NSZE<=701"), Err("budget-spent".into()));
    stage.now = start().plus_ms(30 * DAY);
    assert_eq!(stage.told(1, "NSXY:NSXY_NSZE<=701"), Ok(Outcome::Yes));
}

#[test]
fn nobody_but_the_asker_tells_known_from_unknown() {
    let mut stage = Stage::new();
    stage.taxes(1, "700");
    stage.hand_in(1, "CF", "P-1", Date::new(2024, 6, 3).unwrap(), &[(14, Value::Text("P-1".into()))]);
    let texts = ["CF:none-since=2024-01-01", "NSXY:NSXY_NSZE>=500", "SBJN:paid=12@2026-03"];
    let looks = |about: u64| {
        // The same question at the same moment, but for its subject.
        let mut twin = stage.twin();
        let question = twin.question(about, &texts, Vec::new());
        let plan = twin.plan(&question);
        let sealed = twin.seal(&plan);
        let opened = twin.open(&question, &sealed).unwrap();
        let outcomes: Vec<Outcome> = opened.checks.iter().map(|c| c.outcome).collect();
        let Fact::Disclosed(mut entry) = Entry::from_bytes(&twin.access(plan.index)).unwrap().fact else {
            panic!("no disclosure")
        };
        // What differs by chance: digests, signatures, links.
        let lengths = (
            codec::to_vec(&sealed).len(),
            twin.access(plan.index).len(),
            sealed.checks.iter().map(|c| c.sealed.len()).collect::<Vec<_>>(),
        );
        entry.checks.iter_mut().for_each(|check| check.outcome = Digest::ZERO);
        (outcomes, (lengths, entry.records, entry.withheld, entry.more, entry.checks))
    };
    let (known, unknown) = (looks(1), looks(2));
    assert_eq!(known.0, [Outcome::No, Outcome::Yes, Outcome::NotOnRecord]);
    assert_eq!(unknown.0, [Outcome::Yes, Outcome::NotOnRecord, Outcome::NotOnRecord]);
    assert_eq!(known.1, unknown.1);
}

#[test]
fn another_outcome_or_salt_than_committed_to_is_found() {
    let mut stage = Stage::new();
    stage.taxes(1, "700");
    let question = stage.question(1, &["NSXY:NSXY_DJ=A", "NSXY:NSXY_NSZE>=500"], Vec::new());
    let plan = stage.plan(&question);
    assert!(stage.open(&question, &stage.seal(&plan)).is_ok());
    let predicate = &question.get().checks[0].predicate;
    let on: Vec<_> = plan.openings[0].rests_on().copied().collect();
    let forge = |change: &dyn Fn(&mut Plan)| {
        let mut forged = plan.clone();
        change(&mut forged);
        stage.open(&question, &stage.seal(&forged)).unwrap_err()
    };
    // The member itself seals something else than what its log commits to.
    let salt = Digest([7; 32]);
    let resalted = CheckOpening::new(salt, predicate, Outcome::Yes, on.clone());
    assert!(forge(&|p| p.openings[0] = resalted.clone()).contains("commits to"));
    assert!(forge(&|p| p.openings.swap(0, 1)).contains("commits to"));
    assert!(
        forge(&|p| {
            p.openings.pop();
            p.checks.pop();
        })
        .contains("has not the records and outcomes")
    );
    // With the salt of the entry, which a change of the bytes keeps: every byte of an opening counts.
    let bytes = codec::to_vec(&plan.openings[0]);
    let mut refused = 0;
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        let Ok(opening) = codec::from_slice::<CheckOpening>(&changed) else { continue };
        refused += 1;
        assert!(forge(&|p| p.openings[0] = opening.clone()).contains("outcome"));
    }
    assert!(refused > 64, "most changed openings are still openings: {refused}");
    // A ciphertext moved or changed on the way.
    let sealed = stage.seal(&plan);
    let mut moved = sealed.clone();
    moved.checks.swap(0, 1);
    assert!(stage.open(&question, &moved).is_err());
    let mut changed = sealed.clone();
    changed.checks[1].sealed.0[0] ^= 1;
    assert!(stage.open(&question, &changed).unwrap_err().contains("does not open"));
    // An entry that leaves a check out convicts nobody of anything, but the answer is worth nothing.
    let more = stage.question(1, &["NSXY:NSXY_DJ=A"], Vec::new());
    assert!(stage.open(&more, &sealed).is_err());
}

#[test]
fn a_mask_is_committed_to_as_well() {
    let mut stage = Stage::new();
    let owed = Value::Amount(Amount::parse("1234").unwrap());
    stage.hand_in(1, "NSXY", "T-1", Date::new(2026, 3, 1).unwrap(), &[(7, owed)]);
    let wants = vec![Want { item: item("NSXY"), fields: vec![FieldId(7)] }];
    let question = stage.question(1, &[], wants);
    let plan = stage.plan(&question);
    let honest = stage.seal(&plan);
    let told = &stage.open(&question, &honest).unwrap().records[0].fields[0].value;
    assert_eq!(told.to_display(), "4 位数");
    // The member seals once more, as its own code does, with a form of its choice.
    let node = &stage.nodes[SH];
    let record = &plan.records[0];
    let sealed = tables::payload(&node.disk, record.slot).unwrap().unwrap();
    let key = node.tree.key(record.slot).unwrap();
    let subject = sealed.open(&[], &node.id, &key).unwrap().openings.remove(0).1;
    let (field, mask) =
        disclosure::masked(&node.context.catalog, &sealed, &[FieldId(7)], &node.id, &key, &plan.question)
            .unwrap()
            .remove(0);
    let seal = |mask: &Opening| {
        let to = &stage.nodes[SH].context.registry.member(&stage.nodes[BANK].id).unwrap().stated.seal;
        let bound = codec::to_vec(&(&node.id, &stage.nodes[BANK].id));
        let (epoch, enc) = AnswerEpoch::begin(to, &bound, &Secret::new([8; 32])).unwrap();
        let mut sealer = epoch.answer(&honest.number.0, &codec::to_vec(&plan.question));
        let mut answer = Answer { enc, ..honest.clone() };
        let parts = [(SUBJECT_FIELD, Mode::Value, &subject), (field, Mode::Mask, mask)];
        answer.records[0].fields = parts
            .iter()
            .map(|(field, mode, opening)| {
                let bound = codec::to_vec(&(record.version, field, mode));
                let sealed = sealer.seal(&bound, &codec::to_vec(*opening)).unwrap();
                SealedOpening { field: *field, mode: *mode, sealed }
            })
            .collect();
        answer
    };
    assert!(stage.open(&question, &seal(&mask)).is_ok());
    let content = field_content(field, &Value::Text("1 位数".into())).into();
    let forms = [Opening { content, ..mask.clone() }, Opening { salt: Digest([1; 32]), ..mask.clone() }];
    for other in forms {
        assert!(stage.open(&question, &seal(&other)).unwrap_err().contains("commits to"));
    }
    // A retry needs nothing to be found out again, and is told the same.
    let again = stage.plan(&question);
    assert_eq!(again, plan);
    assert!(stage.open(&question, &stage.seal(&again)).is_ok());
}

#[test]
fn a_record_without_the_fields_asked_for_is_not_taken_for_none() {
    let mut stage = Stage::new();
    stage.hand_in(1, "CF", "P-1", Date::new(2024, 6, 3).unwrap(), &[(14, Value::Text("P-1".into()))]);
    let absent = Want { item: item("CF"), fields: vec![FieldId(20)] };
    for (about, records) in [(1, 1), (2, 0)] {
        let question = stage.question(about, &[], vec![absent.clone()]);
        let plan = stage.plan(&question);
        let answer = stage.open(&question, &stage.seal(&plan)).unwrap();
        assert_eq!((answer.records.len(), answer.withheld.len()), (records, 0), "{about}");
        assert!(answer.records.iter().all(|record| record.fields.is_empty()));
    }
}

#[test]
fn a_retry_is_told_the_same_and_a_repair_reaches_who_was_told() {
    let mut stage = Stage::new();
    stage.hand_in(1, "CF", "P-1", Date::new(2024, 6, 3).unwrap(), &[(14, Value::Text("P-1".into()))]);
    let question = stage.question(1, &["CF:none-since=2024-01-01"], Vec::new());
    let first = stage.plan(&question);
    stage.now = stage.now.plus_ms(1_000);
    let again = stage.plan(&question);
    assert_eq!(first, again);
    assert_eq!(stage.open(&question, &stage.seal(&again)).unwrap().checks[0].outcome, Outcome::No);
    let bank: MemberId = stage.nodes[BANK].id.clone();
    let draft = ApplicationDraft {
        authority: stage.nodes[SH].id.clone(),
        item: item("CF"),
        document: "P-1".into(),
        subject: subject(1),
        materials: Vec::new(),
        clerk: None,
        matter: Matter::Repair,
    };
    let case = CaseId([1; 16]);
    stage.step(Input::Apply { draft, case });
    stage.step(Input::AcceptRepair { case, clerk: None });
    let decided = stage.step(Input::DecideRepair { case, grant: true, reason: String::new(), clerk: None });
    let told =
        |effects: &[Effect]| effects.iter().any(|e| matches!(e, Effect::Deliver { to, .. } if *to == bank));
    assert!(told(&decided.beside), "{:?}", decided.beside);
    // A retry of what rested on it is refused; asked anew, nothing is left of it.
    let Some(Reply::Ready(response)) = stage.put(&question).reply else { panic!("no refusal") };
    let Response::Refused(refusal) = *response else { panic!("no refusal") };
    assert_eq!(refusal.known(), Some(Code::QuestionExpired));
    assert_eq!(stage.told(1, "CF:none-since=2024-01-01"), Ok(Outcome::Yes));
}

#[test]
fn a_question_with_unsound_checks_is_refused() {
    let mut stage = Stage::new();
    let sound = stage.question(1, &["NSXY:NSXY_DJ=A", "NSXY:NSXY_DJ=B"], Vec::new());
    let put = |stage: &mut Stage, change: &dyn Fn(&mut Question)| {
        let mut question = sound.get().clone();
        change(&mut question);
        let signed: Signed<Question> = stage.nodes[BANK].context.sign(stage.now, &question);
        let question = stage.nodes[SH].context.registry.verify(&signed).unwrap();
        match stage.put(&question).reply {
            Some(Reply::Ready(response)) => match *response {
                Response::Refused(refusal) => refusal.known(),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(put(&mut stage, &|q| q.checks.reverse()), Some(Code::QuestionMalformed));
    assert_eq!(put(&mut stage, &|q| q.checks.clear()), Some(Code::QuestionMalformed));
    let twice = |q: &mut Question| q.checks[1] = q.checks[0].clone();
    assert_eq!(put(&mut stage, &twice), Some(Code::QuestionMalformed));
    let many = |q: &mut Question| {
        let one = |n: i64| Check::parse(&Catalog::builtin(), &format!("SBJN:SBJN_CBRS>={n}")).unwrap();
        q.checks = (0..17).map(one).collect();
    };
    assert_eq!(put(&mut stage, &many), Some(Code::QuestionMalformed));
}
