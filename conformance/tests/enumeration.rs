//! Who guesses identifiers learns nothing: a refusal about somebody who is on record has the shape and the size of one about
//! somebody who is not, whatever it rests on. The time they take is printed by
//! `cargo test -p conformance --test enumeration -- --ignored --nocapture`, and judged by nobody: a busy machine is no proof.
#![allow(clippy::unwrap_used, reason = "a test; what fails here fails the test")]

use std::{collections::BTreeMap, hint::black_box, time::Instant};

use conformance::sim::federation::{Node, build, source};
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
    answer::{self, OpenedAnswer},
    member::Input,
    step::{Effect, Reply, Token},
    submit::{FileRow, RunRows, SealedRow, Submission},
    wire::{Response, to_frame},
};
use ledger::store::Store;

const NOW: Timestamp = Timestamp(1_778_030_000_000);
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// The answering region, the outlet and the bank.
struct Stage {
    sh: Node,
    outlet: Node,
    bank: Node,
}

fn subject(n: u64) -> SubjectId {
    uscc_from_parts("91", "310115", 31_u64.pow(7) * 29 + n).unwrap()
}

fn item() -> ItemId {
    ItemId::parse("CF").unwrap()
}

fn step(node: &mut Node, input: Input) -> Option<Reply> {
    let member = node.member.as_mut().unwrap();
    let step = member.handle(NOW, vec![(Some(Token(1)), input)], &node.disk).unwrap();
    let effects = step.commit(&node.disk as &dyn Store).unwrap();
    effects.into_iter().find_map(|e| if let Effect::Reply { reply, .. } = e { Some(reply) } else { None })
}

fn start(node: &mut Node) {
    node.open().unwrap();
    for input in [Input::Restored { seen: Vec::new() }, Input::Synced] {
        step(node, input);
    }
}

/// `sh` holds one record, about [`subject`] 1.
fn stage() -> Stage {
    let mut nodes = build(1, 1, NOW).into_iter();
    let (mut sh, outlet, bank) = (nodes.next().unwrap(), nodes.next().unwrap(), nodes.next().unwrap());
    start(&mut sh);
    step(&mut sh, Input::AddSource(source()));
    step(&mut sh, Input::ReserveSlots { count: 1 });
    let own = &sh.context.own;
    let document = "示罚〔2026〕第1号".to_owned();
    let plain = PlainRecord {
        subject: subject(1),
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
        tier: Some(Tier::General),
        kind: AuthorityKind::General,
        content: own.naming.content_tag(&contents),
    };
    let sealed = SealedRecord::seal(&contents, facts, &own.id, &sh.tree.key(Slot(0)).unwrap());
    let submission = Submission {
        source: source(),
        item: item(),
        file: Digest::of(b"a file"),
        records: vec![SealedRow::new(FileRow::default(), sealed, own.naming.subject_tag(&plain.subject))],
        run: RunRows::default(),
        last: Some("UTF-8".into()),
    };
    let Some(Reply::Ready(report)) = step(&mut sh, Input::Submit(submission)) else { panic!("no report") };
    assert!(matches!(*report, Response::Report(_)), "{report:?}");
    Stage { sh, outlet, bank }
}

/// On what a guess rests.
#[derive(Clone, Copy, Debug)]
enum Rests {
    OnNothing,
    OnAnothersGrant,
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
            letter: Digest::of(b"a letter"),
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
            clerk: ClerkId::parse("clerk").unwrap(),
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
        };
        self.bank.context.sign(NOW, &question)
    }

    fn input(&self, question: &Signed<Question>) -> Input {
        let registry = &self.sh.context.registry;
        let question = registry.verify(question).unwrap();
        let grant = match &question.get().basis {
            Basis::Grant(signed) => Some(registry.verify(signed).unwrap()),
            _ => None,
        };
        Input::Question { caller: self.outlet.id.clone(), question, grant }
    }

    /// What comes back over the wire, from a copy of the member that has answered nothing yet, and what the bank makes of it.
    fn answered(&self, about: u64, rests: Rests) -> (usize, OpenedAnswer) {
        let mut sh = self.sh.twin().unwrap();
        start(&mut sh);
        let signed = self.guess(about, rests, 1);
        let Some(Reply::Answer(plan)) = step(&mut sh, self.input(&signed)) else { panic!("no plan") };
        let (registry, key) = (&sh.context.registry, |slot| sh.tree.key(slot));
        let seed = Secret::new([7; 32]);
        let answer = answer::seal(&sh.disk, &sh.id, registry, &key, &plan, &seed).unwrap().unwrap();
        let opened = answer::open(registry, &registry.verify(&signed).unwrap(), &self.bank.opening, &answer);
        (to_frame(&Response::Answer(Box::new(answer))).len(), opened.unwrap())
    }
}

#[test]
fn a_refusal_does_not_tell_whether_a_subject_is_on_record() {
    let stage = stage();
    let (known, unknown) = (1, 2);
    let rules = |answer: &OpenedAnswer| -> Vec<String> {
        answer.withheld.iter().map(|w| format!("{} {} {}", w.item, w.field.0, w.rule)).collect()
    };
    let mut sizes = Vec::new();
    for rests in [Rests::OnNothing, Rests::OnAnothersGrant] {
        let (size, refused) = stage.answered(known, rests);
        let (other_size, other) = stage.answered(unknown, rests);
        assert!(refused.refused && other.refused && refused.records.is_empty() && other.records.is_empty());
        assert_eq!(size, other_size, "{rests:?}");
        assert_eq!((refused.index, refused.more, rules(&refused)), (other.index, other.more, rules(&other)));
        sizes.push((size, rules(&refused)));
    }
    // Between the two there are only the reference to the grant and the rule's name, and the asker knows both.
    assert_ne!(sizes[0].1, sizes[1].1);
    // The harness tells a record from none: on a grant of the subject's own, they differ, as they must.
    let (found, none) =
        (stage.answered(known, Rests::OnItsOwnGrant), stage.answered(unknown, Rests::OnItsOwnGrant));
    assert_eq!((found.1.records.len(), none.1.records.len()), (1, 0));
    assert!(found.0 > none.0);
}

/// Microseconds of deciding and of sealing, of many guesses of each kind in turn: by how many standard errors the kinds differ.
#[test]
#[ignore = "prints a measurement; nothing is asserted"]
fn how_long_a_refusal_takes() {
    const ROUNDS: u64 = 4_000;
    let mut stage = stage();
    let kinds = [
        (1, Rests::OnNothing),
        (2, Rests::OnNothing),
        (1, Rests::OnAnothersGrant),
        (2, Rests::OnAnothersGrant),
    ];
    let mut took = vec![Vec::new(); kinds.len()];
    for round in 0..ROUNDS {
        for (kind, (about, rests)) in kinds.iter().enumerate() {
            let id = round * kinds.len() as u64 + kind as u64;
            let input = stage.input(&stage.guess(*about, *rests, id));
            let sh = &mut stage.sh;
            let start = Instant::now();
            let Some(Reply::Answer(plan)) = step(sh, input) else { panic!("no plan") };
            let key = |slot| sh.tree.key(slot);
            let seed = Secret::new([7; 32]);
            black_box(
                answer::seal(&sh.disk, &sh.id, &sh.context.registry, &key, &plan, &seed).unwrap().unwrap(),
            );
            took[kind].push(start.elapsed().as_secs_f64() * 1e6);
        }
    }
    let figures = |times: &mut Vec<f64>| {
        times.sort_by(f64::total_cmp);
        // The slowest tenth is the machine's.
        let kept = &times[..times.len() * 9 / 10];
        let mean = kept.iter().sum::<f64>() / kept.len() as f64;
        let variance = kept.iter().map(|t| (t - mean).powi(2)).sum::<f64>() / kept.len() as f64;
        (kept[kept.len() / 2], mean, variance / kept.len() as f64)
    };
    let told: Vec<_> = took.iter_mut().map(figures).collect();
    for ((about, rests), (median, mean, error)) in kinds.iter().zip(&told) {
        let who = if *about == 1 { "on record" } else { "not on record" };
        println!("{rests:?}, {who}: median {median:.1} µs, mean {mean:.1} ± {:.2} µs", error.sqrt());
    }
    for pair in [0, 2] {
        let ((_, a, ea), (_, b, eb)) = (told[pair], told[pair + 1]);
        let (apart, errors) = (a - b, (a - b) / (ea + eb).sqrt());
        println!("{:?}: {apart:+.2} µs apart, {errors:+.1} standard errors", kinds[pair].1);
    }
}
