//! Two heads convict: from a file alone, at a witness, at a copy; what is frozen then, and how it ends. And a witness
//! that comes back from an old copy of its disk.
#![allow(clippy::unwrap_used)] // a test that cannot go on ends with a panic

use conformance::sim::federation::{Node, build};
use credit::{
    catalog::Purpose,
    id::{ClerkId, FieldId, ItemId, MemberId, QuestionId},
    question::{Basis, Want},
    subject::uscc_from_parts,
};
use crypto::{Timestamp, codec};
use exchange::{
    artifact::Artifact,
    evidence::{self, Evidence, Found, Settled},
    logs::LogName,
    member::Input,
    refusal::Code,
    step::{Effect, Reply, Token},
    wire::{AskDraft, Response},
    witness::{self, Answered},
};
use ledger::{checkpoint::SignedCheckpoint, log, store::Store, tree::LeafIndex};

const NOW: Timestamp = Timestamp(1_778_030_000_000);

/// `sh`, its copied second face, and `js`, which mirrors and witnesses it.
struct Stage {
    first: Node,
    second: Node,
    js: Node,
}

fn stage() -> Stage {
    let mut nodes = build(1, 3, NOW);
    let second = nodes[0].twin().unwrap();
    let (mut first, mut second, mut js) = (nodes.remove(0), second, nodes.remove(0));
    // The registry is adopted at another time by the second face: the status logs differ from their first entry on.
    for (node, now) in [(&mut first, NOW), (&mut second, NOW.plus_ms(1)), (&mut js, NOW)] {
        node.open().unwrap();
        let heard = Input::Heard { from: None, cosigned: Vec::new() };
        step(node, now, vec![Input::Restored { seen: Vec::new() }, Input::Synced, heard]);
    }
    Stage { first, second, js }
}

fn step(node: &mut Node, now: Timestamp, inputs: Vec<Input>) -> Vec<Effect> {
    let inputs = inputs.into_iter().map(|input| (Some(Token(1)), input)).collect();
    let step = node.member.as_mut().unwrap().handle(now, inputs, &node.disk).unwrap();
    step.commit(&node.disk as &dyn Store).unwrap()
}

/// What the one input is answered with, and what else it lets out.
fn hand(node: &mut Node, input: Input) -> (Option<Response>, Vec<Effect>) {
    let (mut reply, mut others) = (None, Vec::new());
    for effect in step(node, NOW.plus_ms(5_000), vec![input]) {
        match effect {
            Effect::Reply { reply: Reply::Ready(response), .. } => reply = Some(*response),
            other => others.push(other),
        }
    }
    (reply, others)
}

/// Grows the access log by so many entries, which are another member's with another `salt`.
fn ask(node: &mut Node, salt: u8, times: u8) {
    for n in 0..times {
        let draft = AskDraft {
            clerk: ClerkId::parse("clerk").unwrap(),
            purpose: Purpose::LoanReview,
            subject: uscc_from_parts("91", "310115", 31_u64.pow(7) * 29).unwrap(),
            wants: vec![Want { item: ItemId::parse("CF").unwrap(), fields: vec![FieldId(1)] }],
            basis: Basis::None,
            wait_ms: 1_000,
            checks: Vec::new(),
        };
        step(node, NOW, vec![Input::Ask { draft, id: QuestionId([salt.wrapping_add(n); 16]) }]);
    }
}

fn head(node: &Node, log: LogName) -> SignedCheckpoint {
    log::head(&node.disk, log.as_str()).unwrap().unwrap()
}

/// The owner's request to a witness.
fn checkpoint(owner: &Node, log: LogName, old: u64) -> Input {
    let request = witness::request(&owner.disk, log, old).unwrap().unwrap();
    Input::AddCheckpoint(request.body().into_bytes())
}

fn status(response: Option<Response>) -> (u16, String) {
    match response.unwrap() {
        Response::Witness { status, body } => (status, body),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn refused(response: Option<Response>, code: Code) {
    match response.unwrap() {
        Response::Refused(refusal) => assert_eq!(refusal.code, code.as_str()),
        other => panic!("{other:?}"),
    }
}

/// Entries `from` on as the owner serves them.
fn pulled(owner: &Node, log: LogName, from: u64) -> Input {
    let note = head(owner, log);
    let entries = log::entries(&owner.disk, log.as_str(), LeafIndex(from), usize::MAX).unwrap();
    let checkpoint = note.claimed().clone();
    Input::Pulled { owner: owner.id.clone(), log, from, entries, checkpoint, note }
}

fn kept(node: &Node) -> Vec<Evidence> {
    evidence::list(&node.disk).unwrap().into_iter().map(|row| row.evidence).collect()
}

fn frozen(node: &Node, member: &MemberId) -> bool {
    evidence::frozen(&node.disk, member).unwrap()
}

/// The evidence convicts everybody who reads it as a file, and no changed part of it does.
#[track_caller]
fn convicts(node: &Node, evidence: &Evidence) {
    let registry = &node.context.registry;
    let file = codec::to_vec(&Artifact::Evidence(Box::new(evidence.clone())));
    let Artifact::Evidence(read) = codec::from_slice(&file).unwrap() else { panic!("another kind of file") };
    assert_eq!(read.verify(registry).unwrap().evidence(), evidence);
    let mut suspended = registry.as_ref().clone();
    let at = suspended.members.iter().position(|m| m.stated.id == evidence.owner).unwrap();
    suspended.members[at].suspended = true;
    assert!(read.verify(&suspended).is_ok(), "what it signed it has signed");
    let one_history = Evidence { smaller: evidence.larger.clone(), fork: None, ..evidence.clone() };
    let others = Evidence { owner: node.id.clone(), ..evidence.clone() };
    let other_log = Evidence { log: LogName::Records, ..evidence.clone() };
    let swapped =
        Evidence { smaller: evidence.larger.clone(), larger: evidence.smaller.clone(), ..evidence.clone() };
    for innocent in [one_history, others, other_log] {
        assert!(innocent.verify(registry).is_err());
    }
    let same_size = evidence.fork.is_none();
    assert_eq!(swapped.verify(registry).is_ok(), same_size);
    if let Some(fork) = &evidence.fork {
        let mut wrong = evidence.clone();
        wrong.fork.as_mut().unwrap().root = evidence.smaller.claimed().root;
        assert!(wrong.verify(registry).is_err());
        for at in 0..fork.proof.len() {
            let mut wrong = evidence.clone();
            wrong.fork.as_mut().unwrap().proof[at].0[0] ^= 1;
            assert!(wrong.verify(registry).is_err());
        }
        assert!(Evidence { fork: None, ..evidence.clone() }.verify(registry).is_err());
    }
}

#[test]
fn a_witness_that_is_shown_two_heads_of_one_size_convicts_and_freezes() {
    let Stage { first, second, mut js } = stage();
    let (reply, _) = hand(&mut js, checkpoint(&first, LogName::Status, 0));
    assert_eq!(status(reply).0, 200);
    let (reply, others) = hand(&mut js, checkpoint(&second, LogName::Status, 0));
    assert_eq!(status(reply).0, 422);
    assert!(matches!(&others[..], [Effect::Alert(what)] if what.contains("audit evidence")), "{others:?}");
    let found = kept(&js);
    assert_eq!(found.len(), 1);
    convicts(&js, &found[0]);
    // Neither history is cosigned any further, and nothing of the member is taken.
    assert!(frozen(&js, &first.id));
    refused(hand(&mut js, checkpoint(&first, LogName::Access, 0)).0, Code::MemberFrozen);
    refused(hand(&mut js, pulled(&first, LogName::Status, 0)).0, Code::MemberFrozen);
    // Peers are told.
    let Response::Heads { evidence, .. } = evidence::heads(&js.context, &js.disk, &second.id).unwrap() else {
        panic!("heads are told")
    };
    assert_eq!(evidence, found);
}

#[test]
fn only_the_operator_ends_a_freeze_and_the_same_fork_begins_none_again() {
    let Stage { first, second, mut js } = stage();
    hand(&mut js, checkpoint(&first, LogName::Status, 0));
    hand(&mut js, checkpoint(&second, LogName::Status, 0));
    let unfreeze = |reason: &str| Input::Unfreeze { member: first.id.clone(), reason: reason.to_owned() };
    refused(hand(&mut js, unfreeze(" ")).0, Code::CaseDenied);
    assert!(frozen(&js, &first.id));
    assert_eq!(hand(&mut js, unfreeze("the copy was found and ended")).0, Some(Response::Done));
    assert!(!frozen(&js, &first.id));
    refused(hand(&mut js, unfreeze("again")).0, Code::NotFound);
    let rows = evidence::list(&js.disk).unwrap();
    assert_eq!(rows[0].cleared.as_ref().unwrap().reason, "the copy was found and ended");
    let again = rows[0].evidence.verify(&js.context.registry).unwrap();
    hand(&mut js, Input::Evidence(Box::new(again)));
    assert!(!frozen(&js, &first.id));
    assert_eq!(hand(&mut js, pulled(&first, LogName::Status, 0)).0, Some(Response::Done));
}

#[test]
fn heads_of_different_sizes_convict_with_the_proof_of_the_larger_and_an_honest_log_never() {
    let Stage { mut first, mut second, mut js } = stage();
    ask(&mut first, 1, 2);
    ask(&mut second, 100, 3);
    hand(&mut js, checkpoint(&first, LogName::Access, 0));
    let doubt = |js: &Node, note: &SignedCheckpoint| match evidence::compare(&js.context, &js.disk, NOW, note)
    {
        Ok(Found::Doubt(doubt)) => doubt,
        other => panic!("{other:?}"),
    };
    let proof = |owner: &Node, old, new| match evidence::proof(
        &owner.context,
        &owner.disk,
        &owner.id,
        LogName::Access,
        (old, new),
    )
    .unwrap()
    {
        Response::Consistency { root, proof } => (root, proof),
        other => panic!("{other:?}"),
    };
    let open = doubt(&js, &head(&second, LogName::Access));
    assert_eq!(open.provers(&js.context)[0], first.id);
    let (root, mut path) = proof(&second, 2, 3);
    let Settled::Splits(convicted) = open.settle(&js.context, NOW, root, path.clone()) else {
        panic!("the second face's own proof convicts it")
    };
    convicts(&js, convicted.evidence());
    path[0].0[0] ^= 1;
    assert!(matches!(open.settle(&js.context, NOW, root, path), Settled::Open));
    // The first face goes on growing, and its proof settles the doubt.
    ask(&mut first, 50, 3);
    let open = doubt(&js, &head(&first, LogName::Access));
    let (root, path) = proof(&first, 2, 5);
    assert!(matches!(open.settle(&js.context, NOW, root, path), Settled::Fits));
    hand(&mut js, Input::Evidence(convicted));
    assert!(frozen(&js, &first.id));
}

#[test]
fn a_copy_convicts_by_itself_and_doubts_what_does_not_continue_it() {
    let Stage { mut first, mut second, mut js } = stage();
    ask(&mut first, 1, 3);
    ask(&mut second, 100, 2);
    assert_eq!(hand(&mut js, pulled(&first, LogName::Access, 0)).0, Some(Response::Done));
    // Beyond the copy: refused, nothing kept, and a proof is asked for.
    ask(&mut second, 120, 2);
    let (reply, others) = hand(&mut js, pulled(&second, LogName::Access, 3));
    refused(reply, Code::SignatureInvalid);
    assert!(others.iter().any(|e| matches!(e, Effect::Prove(_))), "{others:?}");
    assert!(!frozen(&js, &first.id));
    // Within the copy: convicted at once.
    let Stage { second: mut shorter, .. } = stage();
    ask(&mut shorter, 100, 2);
    hand(&mut js, pulled(&shorter, LogName::Access, 0));
    convicts(&js, &kept(&js)[0]);
    assert!(frozen(&js, &first.id));
}

#[test]
fn a_witness_from_an_old_disk_cosigns_nothing_before_it_knows_what_it_had_cosigned() {
    let Stage { mut first, mut js, .. } = stage();
    let answered = |first: &mut Node, js: &mut Node, old| {
        let (status, body) = status(hand(js, checkpoint(first, LogName::Access, old)).0);
        let note = head(first, LogName::Access);
        let by = js.id.clone();
        hand(first, Input::Cosigned(Answered { by, log: LogName::Access, status, body, note }));
    };
    ask(&mut first, 1, 1);
    answered(&mut first, &mut js, 0);
    let old = js.twin().unwrap();
    ask(&mut first, 10, 2);
    answered(&mut first, &mut js, 1);
    // Newer than what the witness has cosigned: the head itself no longer carries its line.
    ask(&mut first, 20, 1);
    let mut js = old;
    js.open().unwrap();
    step(&mut js, NOW, vec![Input::Restored { seen: Vec::new() }, Input::Synced]);
    let (reply, others) = hand(&mut js, checkpoint(&first, LogName::Access, 1));
    refused(reply, Code::MemberStarting);
    assert!(matches!(&others[..], [Effect::AskHeads(owner)] if *owner == first.id), "{others:?}");
    let Response::Heads { heads, .. } = evidence::heads(&first.context, &first.disk, &js.id).unwrap() else {
        panic!("heads are told")
    };
    let cosigned = witness::forgotten(&js.context, &js.disk, &heads).unwrap();
    hand(&mut js, Input::Heard { from: Some(first.id.clone()), cosigned });
    let (reply, _) = hand(&mut js, checkpoint(&first, LogName::Access, 1));
    assert_eq!(status(reply), (409, "3\n".to_owned()));
    let (reply, _) = hand(&mut js, checkpoint(&first, LogName::Access, 3));
    assert_eq!(status(reply).0, 200);
}
