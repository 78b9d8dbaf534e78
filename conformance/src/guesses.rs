//! A bank that guesses identifiers, and a region that refuses: what comes back, and how long it takes.

use std::{collections::BTreeMap, hint::black_box, time::Instant};

use credit::{
    catalog::Purpose,
    csv::PlainRecord,
    grant::{Grant, Scope},
    id::{ClerkId, FieldId, GrantId, ItemId, QuestionId},
    question::{Basis, Question, Want},
    record::{Contents, RecordFacts, SealedRecord},
    rules::{AuthorityKind, Tier},
    subject::{SubjectId, uscc_from_parts},
    value::Value,
};
use crypto::{Digest, Timestamp, keytree::Slot, secret::Secret, sign::Signed};
use exchange::{
    answer::{self, AnswerNumber, OpenedAnswer},
    member::Input,
    step::{Effect, Reply, Token},
    submit::{FileRow, RunRows, SealedRow, Submission},
    wire::{Response, to_frame},
};
use ledger::store::Store;

use crate::sim::federation::{Node, build, source};

const NOW: Timestamp = Timestamp(1_778_030_000_000);
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// The answering region, the outlet and the bank. The region holds one record, about [`KNOWN`].
pub struct Stage {
    sh: Node,
    outlet: Node,
    bank: Node,
}

/// A subject of which the region holds a record.
pub const KNOWN: u64 = 1;
/// One of which it holds none.
pub const UNKNOWN: u64 = 2;

fn subject(n: u64) -> SubjectId {
    uscc_from_parts("91", "310115", 31_u64.pow(7) * 29 + n).expect("a credit code")
}

fn item() -> ItemId {
    ItemId::parse("CF").expect("an item")
}

fn step(node: &mut Node, input: Input) -> Option<Reply> {
    let member = node.member.as_mut().expect("it runs");
    let step = member.handle(NOW, vec![(Some(Token(1)), input)], &node.disk).expect("no fault");
    let effects = step.commit(&node.disk as &dyn Store).expect("memory");
    effects.into_iter().find_map(|e| if let Effect::Reply { reply, .. } = e { Some(reply) } else { None })
}

fn start(node: &mut Node) {
    node.open().expect("no fault");
    for input in [Input::Restored { seen: Vec::new() }, Input::Synced] {
        step(node, input);
    }
}

/// Sets it up.
pub fn stage() -> Stage {
    let mut nodes = build(1, 1, NOW).into_iter();
    let mut next = || nodes.next().expect("three members");
    let (mut sh, outlet, bank) = (next(), next(), next());
    start(&mut sh);
    step(&mut sh, Input::AddSource(source()));
    step(&mut sh, Input::ReserveSlots { count: 1 });
    let own = &sh.context.own;
    let document = "示罚〔2026〕第1号".to_owned();
    let plain = PlainRecord {
        subject: subject(KNOWN),
        item: item(),
        fields: BTreeMap::from([(FieldId(14), Value::Text(document.clone()))]),
        document: document.clone(),
        authority_code: None,
        decided: None,
    };
    let contents = Contents::of(&plain);
    let facts = RecordFacts {
        record: own.naming.record_id(&own.id, &item(), &document, &plain.subject),
        item: item(),
        catalog: sh.context.catalog.version(),
        authority: own.id.clone(),
        slot: Slot(0),
        decided: None,
        published: None,
        ended: None,
        until: None,
        tier: Some(Tier::General),
        kind: AuthorityKind::GENERAL,
        content: own.naming.content_tag(&contents),
    };
    let sealed = SealedRecord::seal(&contents, facts, &own.id, &sh.tree.key(Slot(0)).expect("a fresh slot"));
    let submission = Submission {
        source: source(),
        item: item(),
        file: Digest::of(b"a file"),
        records: vec![SealedRow::new(&sh.context, FileRow::default(), sealed, &plain.subject)],
        run: RunRows::default(),
        last: Some("UTF-8".into()),
    };
    let Some(Reply::Ready(report)) = step(&mut sh, Input::Submit(submission)) else { panic!("no report") };
    assert!(matches!(*report, Response::Report(_)), "{report:?}");
    Stage { sh, outlet, bank }
}

/// On what a guess rests.
#[derive(Clone, Copy, Debug)]
pub enum Rests {
    /// Nothing.
    OnNothing,
    /// A sound grant about somebody else.
    OnAnothersGrant,
    /// A sound grant about the one who is guessed.
    OnItsOwnGrant,
}

impl Stage {
    fn grant(&self, about: u64) -> Signed<Grant> {
        let grant = Grant {
            id: GrantId([1; 16]),
            collector: self.outlet.id.clone(),
            subject: subject(about),
            grantee: self.bank.id.clone(),
            purposes: vec![Purpose::LoanReview],
            scope: vec![Scope { item: item(), fields: Vec::new() }],
            not_before: Timestamp(NOW.0 - DAY_MS),
            not_after: NOW.plus_ms(DAY_MS),
            uses_max: 1_000_000,
            keep_days: 30,
            letter: Some(Digest::of(b"a letter")),
            binding: None,
            period: None,
        };
        self.outlet.context.sign(NOW, &grant)
    }

    fn guess(&self, about: u64, rests: Rests, id: u64) -> Signed<Question> {
        let mut bytes = [0; 16];
        bytes[8..].copy_from_slice(&id.to_be_bytes());
        let question = Question {
            id: QuestionId(bytes),
            asker: self.bank.id.clone(),
            clerk: ClerkId::parse("clerk").expect("a name"),
            purpose: Purpose::LoanReview,
            subject: subject(about),
            wants: vec![Want { item: item(), fields: vec![FieldId(14), FieldId(31)] }],
            basis: match rests {
                Rests::OnNothing => Basis::None,
                Rests::OnAnothersGrant => Basis::Grant(self.grant(3)),
                Rests::OnItsOwnGrant => Basis::Grant(self.grant(about)),
            },
            asked_at: NOW,
            deadline: NOW.plus_ms(20_000),
            checks: Vec::new(),
        };
        self.bank.context.sign(NOW, &question)
    }

    fn input(&self, question: &Signed<Question>) -> Input {
        let registry = &self.sh.context.registry;
        let question = registry.verify(question).expect("signed by the bank");
        let grant = match &question.get().basis {
            Basis::Grant(signed) => Some(registry.verify(signed).expect("signed by the outlet")),
            _ => None,
        };
        Input::Question { caller: self.outlet.id.clone(), question, grant, judged: None }
    }

    /// What comes back over the wire, from a copy of the member that has answered nothing yet, and what the bank makes of it.
    pub fn answered(&self, about: u64, rests: Rests) -> (usize, OpenedAnswer) {
        let mut sh = self.sh.twin().expect("a sound tree");
        start(&mut sh);
        let signed = self.guess(about, rests, 1);
        let Some(Reply::Answer(plan)) = step(&mut sh, self.input(&signed)) else { panic!("no plan") };
        let registry = &sh.context.registry;
        let answer = sh.seal(&plan, &Secret::new([7; 32]), AnswerNumber([7; 16]));
        let answer = answer.expect("no fault").expect("not erased");
        let opened = answer::open_any(
            registry,
            &registry.verify(&signed).expect("signed"),
            &self.bank.opening,
            &answer,
        );
        (to_frame(&Response::Answer(Box::new(answer))).len(), opened.expect("it verifies"))
    }

    /// Microseconds that deciding and sealing takes, for `rounds` guesses of each kind in turn.
    pub fn timed(&mut self, kinds: &[(u64, Rests)], rounds: u64) -> Vec<Vec<f64>> {
        let mut took = vec![Vec::new(); kinds.len()];
        for round in 0..rounds {
            for (kind, (about, rests)) in kinds.iter().enumerate() {
                let id = round * kinds.len() as u64 + kind as u64;
                let input = self.input(&self.guess(*about, *rests, id));
                let sh = &mut self.sh;
                let start = Instant::now();
                let Some(Reply::Answer(plan)) = step(sh, input) else { panic!("no plan") };
                drop(black_box(sh.seal(&plan, &Secret::new([7; 32]), AnswerNumber([7; 16]))));
                took[kind].push(start.elapsed().as_secs_f64() * 1e6);
            }
        }
        took
    }
}
