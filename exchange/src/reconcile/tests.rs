//! Two members that have made different standings of one log.
#![allow(clippy::unwrap_used, reason = "a test; what fails here fails the test")]

use credit::status::Status;
use ledger::store::{Overlay, memory::MemoryStore};

use super::*;
use crate::{
    member::Input,
    tests::{AUTHORITY, Authority, Place, contexts, id, record},
    wire::{Request, to_frame},
};

/// An authority with `n` records, each third repaired, and two members that hold its log.
fn federation(n: u64) -> (Authority, Place, Place, Vec<Context>) {
    let contexts = contexts(4);
    let mut authority = Authority::new(contexts[0].clone());
    let change = |i: u64| [Change::Repair, Change::Dispute, Change::Mask][(i % 3) as usize];
    authority.decide((0..n).map(|i| (record(i), change(i))));
    let mut places = contexts[1..3].iter().map(|c| {
        let mut place = Place::new(c.clone());
        place.pull(&authority);
        place
    });
    let (a, b) = (places.next().unwrap(), places.next().unwrap());
    (authority, a, b, contexts)
}

fn standing_at(store: &dyn View, n: u64) -> Option<Standing> {
    tables::row(store, &Key::standing(&id(AUTHORITY), &record(n))).unwrap()
}

/// One search of `at` with `peer`; what is judged, and the bytes that went both ways.
fn search(at: &Place, peer: (&Context, &MemoryStore)) -> (Judged, usize) {
    let (size, _) = state(&at.context(), &at.store, &id(AUTHORITY)).unwrap();
    let (mut search, mut bytes) = (Search::new(id(AUTHORITY), size, 7), 0);
    while let Some(ask) = search.next(&at.store).unwrap() {
        let response = answer(peer.0, peer.1, &at.context().own.id, &ask).unwrap();
        bytes += to_frame(&Request::Standings(ask)).len() + to_frame(&response).len();
        let Response::Standings(answered) = response else { panic!("{response:?}") };
        search.heard(&at.store, &answered).unwrap().unwrap();
    }
    (judge(&at.context(), &at.store, &search).unwrap(), bytes)
}

fn mended(at: &mut Place, judged: Judged) -> Vec<Effect> {
    at.told(Input::Mend { peer: id("m002"), judged: Box::new(judged) })
}

fn root_at(store: &MemoryStore) -> Digest {
    summary::root(store, &id(AUTHORITY)).unwrap()
}

#[test]
fn members_that_made_the_same_of_a_log_see_it_in_less_than_a_kilobyte() {
    let (authority, a, b, _) = federation(300);
    assert_eq!(root_at(&a.store), root_at(&authority.store));
    let ask = Ask::Overview;
    let response = answer(&b.context(), &b.store, &a.context().own.id, &ask).unwrap();
    let bytes = to_frame(&Request::Standings(ask)).len() + to_frame(&response).len();
    let Response::Standings(Answered::Overview(lines)) = response else { panic!("{response:?}") };
    let line = lines.iter().find(|line| line.0 == id(AUTHORITY)).unwrap();
    let (size, root) = state(&a.context(), &a.store, &id(AUTHORITY)).unwrap();
    assert_eq!((line.1, line.2), (size, root));
    assert!(bytes < 1_000, "{bytes} bytes");
}

#[test]
fn what_a_member_has_lost_is_found_and_mended_by_the_log() {
    let (authority, mut a, b, _) = federation(3_000);
    // Every thirtieth standing is gone, as if the entry had never been projected; all of these are repairs.
    let lost: Vec<u64> = (0..3_000).step_by(30).collect();
    a.damage(|turn| {
        for n in &lost {
            summary::put(turn, &id(AUTHORITY), &record(*n), None).unwrap();
        }
    });
    assert_eq!(standing_at(&a.store, 30), None);
    let (judged, bytes) = search(&a, (&b.context(), &b.store));
    assert_eq!((judged.mine, judged.theirs, judged.ahead), (100, 0, 0));
    assert!(bytes < 100 * 200, "{bytes} bytes for 100 records");
    let effects = mended(&mut a, judged);
    assert!(effects.iter().any(|e| matches!(e, Effect::Alert(what) if what.contains("100 were mended"))));
    assert_eq!(root_at(&a.store), root_at(&authority.store));
    for n in lost {
        assert_eq!(standing_at(&a.store, n).unwrap().status(), Status::Repaired);
    }
    let finding: FindingRow =
        tables::row(&a.store, &Key::finding(&id(AUTHORITY), &id("m002"))).unwrap().unwrap();
    assert_eq!((finding.mine, finding.theirs, finding.named.len()), (100, 0, NAMED_MAX));
    // And the peer, seen from the other side before that, would have been the one that differs.
    let (again, _) = search(&a, (&b.context(), &b.store));
    assert_eq!((again.mine, again.theirs, again.rebuild), (0, 0, false));
}

#[test]
fn a_peers_stale_copy_brings_no_repaired_record_back() {
    let (_, mut a, mut b, _) = federation(90);
    b.damage(|turn| {
        for n in (0..90).step_by(3) {
            summary::put(turn, &id(AUTHORITY), &record(n), None).unwrap();
        }
        // A row that says a mask was taken off by an entry that repaired another record.
        let lifted = Standing::of(Change::Unmask, 3);
        summary::put(turn, &id(AUTHORITY), &record(2), Some(&lifted)).unwrap();
    });
    let before = root_at(&a.store);
    let (judged, _) = search(&a, (&b.context(), &b.store));
    assert_eq!((judged.mine, judged.theirs), (0, 31));
    let effects = mended(&mut a, judged);
    assert!(effects.iter().any(|e| matches!(e, Effect::Alert(what) if what.contains("31 are not"))));
    assert_eq!(root_at(&a.store), before);
    assert_eq!(standing_at(&a.store, 2).unwrap().status(), Status::Masked);
    // The peer mends itself when its turn comes.
    let (judged, _) = search(&b, (&a.context(), &a.store));
    assert_eq!((judged.mine, judged.theirs), (31, 0));
    b.told(Input::Mend { peer: id("m001"), judged: Box::new(judged) });
    assert_eq!(root_at(&b.store), before);
}

#[test]
fn a_standing_that_no_entry_supports_is_made_again_from_the_log() {
    let (_, mut a, b, _) = federation(60);
    a.damage(|turn| {
        // Never repaired, by no entry of the log; and one whose dispute the row has forgotten.
        let standing = Standing::of(Change::Repair, 7);
        summary::put(turn, &id(AUTHORITY), &record(1), Some(&standing)).unwrap();
    });
    let (judged, _) = search(&a, (&b.context(), &b.store));
    assert_eq!((judged.mine, judged.reset.len()), (1, 1));
    mended(&mut a, judged);
    assert_eq!(root_at(&a.store), root_at(&b.store));
    assert_eq!(standing_at(&a.store, 1).unwrap().status(), Status::Disputed);
}

#[test]
fn what_a_suspended_authority_has_ended_stays_ended() {
    let (_, mut a, b, _) = federation(30);
    a.damage(|turn| {
        let standing = Standing::of(Change::Repair, 7);
        summary::put(turn, &id(AUTHORITY), &record(1), Some(&standing)).unwrap();
    });
    let mut found = Search::new(id(AUTHORITY), 30, 7);
    while let Some(ask) = found.next(&a.store).unwrap() {
        let Response::Standings(answered) =
            answer(&b.context(), &b.store, &a.context().own.id, &ask).unwrap()
        else {
            panic!("no answer");
        };
        found.heard(&a.store, &answered).unwrap().unwrap();
    }
    let mut context = a.context();
    let mut registry = context.registry.as_ref().clone();
    registry.members[0].suspended = true;
    context.registry = std::sync::Arc::new(registry);
    // Its statements cannot be checked any more, and nothing is made of that.
    assert!(judge(&context, &a.store, &found).is_err());
}

#[test]
fn a_standing_that_changed_since_it_was_judged_is_left_alone() {
    let (mut authority, mut a, b, _) = federation(60);
    a.damage(|turn| {
        let standing = Standing::of(Change::Dispute, 7);
        summary::put(turn, &id(AUTHORITY), &record(1), Some(&standing)).unwrap();
    });
    let (judged, _) = search(&a, (&b.context(), &b.store));
    authority.decide([(record(1), Change::Withdraw)]);
    a.pull(&authority);
    mended(&mut a, judged);
    assert_eq!(standing_at(&a.store, 1).unwrap().status(), Status::Withdrawn);
}

#[test]
fn a_read_that_fails_while_mending_is_a_fault_and_no_refusal() {
    let (_, mut a, b, _) = federation(60);
    a.damage(|turn| summary::put(turn, &id(AUTHORITY), &record(0), None).unwrap());
    let (judged, _) = search(&a, (&b.context(), &b.store));
    a.store.fail_next_read();
    let kept = Overlay::new(&a.store);
    let mut turn = Turn::new(Timestamp(0), &kept, BTreeMap::new());
    let halt = mend(&a.context(), &mut turn, Token(1), &id("m002"), &judged);
    assert!(matches!(halt, Err(Halt::Fault(_))), "{halt:?}");
}

#[test]
fn digests_that_are_not_those_of_the_standings_are_made_again() {
    let bucket = summary::bucket_of(&record(5));
    // Wrong at one level above a record, or at all; what is below may be right.
    for depths in [0..DEPTH, 0..1, 1..2, 2..3, 3..4] {
        let (authority, mut a, b, _) = federation(60);
        let node = |depth: u8| (u32::from(bucket) >> (16 - 4 * u32::from(depth))) as u16;
        a.damage(|turn| {
            for depth in depths.clone() {
                turn.delete(&Key::standing_node(&id(AUTHORITY), depth, node(depth)));
            }
            // As if something else had been written since: the digests above fit what is left.
            let top = depths.start;
            for depth in (0..top).rev() {
                let mut children =
                    summary::node(turn.view(), &id(AUTHORITY), depth, node(depth)).unwrap().digests();
                let below = summary::node(turn.view(), &id(AUTHORITY), depth + 1, node(depth + 1)).unwrap();
                children[usize::from(node(depth + 1) & 15)] = below.digest();
                let bytes: Vec<u8> = children.iter().flat_map(|digest| digest.0).collect();
                turn.put(&Key::standing_node(&id(AUTHORITY), depth, node(depth)), &Bytes(bytes));
            }
        });
        assert_ne!(root_at(&a.store), root_at(&b.store));
        // The peer, whose digests are right, makes nothing again.
        let (judged, _) = search(
            &Place::over(b.context(), MemoryStore::restore(b.store.snapshot())),
            (&a.context(), &a.store),
        );
        assert_eq!((judged.mine, judged.theirs, judged.rebuild), (0, 0, false));
        let report = reconciled(&mut a, (&b.context(), &b.store), &authority);
        assert_eq!(under_the_authority(&report).outcome, Outcome::Same, "{depths:?}");
        assert_eq!(root_at(&a.store), root_at(&b.store));
    }
}

#[test]
fn what_another_comparison_has_mended_meanwhile_is_noted_once() {
    let (_, mut a, b, _) = federation(60);
    a.damage(|turn| summary::put(turn, &id(AUTHORITY), &record(0), None).unwrap());
    let (judged, _) = search(&a, (&b.context(), &b.store));
    for times in 1..3 {
        let effects = mended(&mut a, judged.clone());
        assert_eq!(effects.iter().any(|e| matches!(e, Effect::Alert(_))), times == 1);
        let finding: Option<FindingRow> =
            tables::row(&a.store, &Key::finding(&id(AUTHORITY), &id("m002"))).unwrap();
        assert_eq!(finding.map(|f| f.mine), Some(1));
    }
}

#[test]
fn news_that_the_copy_does_not_have_yet_is_no_difference() {
    let (mut authority, a, mut b, _) = federation(30);
    let event = authority.decide([(record(1), Change::Repair)]);
    let proven = authority.notice(event).verify(&b.context().registry).unwrap();
    let fact = crate::artifact::status_fact(&b.context().registry, &proven).unwrap();
    b.told(Input::Notice { caller: id(AUTHORITY), notice: Box::new(proven), fact });
    assert_eq!(standing_at(&b.store, 1).unwrap().status(), Status::Repaired);
    for (at, peer) in [(&a, &b), (&b, &a)] {
        let (judged, _) = search(at, (&peer.context(), &peer.store));
        assert_eq!((judged.mine, judged.theirs, judged.ahead), (0, 0, 1));
    }
}

#[test]
fn a_member_without_the_log_is_told_nothing() {
    let (_, _, b, contexts) = federation(30);
    let bank = &contexts[3].own.id;
    let asks = [
        Ask::Children { authority: id(AUTHORITY), salt: 1, depth: 0, nodes: vec![0] },
        Ask::Buckets { authority: id(AUTHORITY), salt: 1, buckets: vec![(0, Bytes::default())] },
    ];
    for ask in asks {
        let response = answer(&b.context(), &b.store, bank, &ask).unwrap();
        let Response::Refused(refusal) = response else { panic!("{response:?}") };
        assert_eq!(refusal.code, Code::CallerNotAllowed.as_str());
    }
    let Response::Standings(Answered::Overview(lines)) =
        answer(&b.context(), &b.store, bank, &Ask::Overview).unwrap()
    else {
        panic!("no overview");
    };
    // Of its own log alone.
    assert!(lines.iter().all(|line| line.0 == *bank));
}

#[test]
fn answers_that_do_not_fit_end_the_search() {
    let (_, a, _, _) = federation(30);
    let not = [
        Answered::Overview(Vec::new()),
        Answered::Children(Bytes(vec![0; 47])),
        Answered::Buckets { standings: Vec::new(), not_here: vec![0], more: false },
    ];
    for answered in not {
        let mut search = Search::new(id(AUTHORITY), 30, 1);
        search.next(&a.store).unwrap();
        assert!(search.heard(&a.store, &answered).unwrap().is_err());
    }
    // To the buckets, and then a record of another bucket, or one that was not named.
    for odd in [true, false] {
        let mut search = Search::new(id(AUTHORITY), 30, 1);
        let ask = loop {
            match search.next(&a.store).unwrap().unwrap() {
                Ask::Children { nodes, .. } => {
                    let shorts = vec![0xa5; nodes.len() * FANOUT * SHORT_BYTES];
                    search.heard(&a.store, &Answered::Children(Bytes(shorts))).unwrap().unwrap();
                }
                ask => break ask,
            }
        };
        let Ask::Buckets { buckets, .. } = ask else { panic!("{ask:?}") };
        let outside = (0..).map(|n| record(1_000 + n));
        let mut outside = outside.filter(|r| buckets.iter().all(|(b, _)| *b != summary::bucket_of(r)));
        let standings = odd.then(|| (outside.next().unwrap(), Standing::of(Change::Mask, 1)));
        let not_here = if odd { Vec::new() } else { vec![u32::MAX] };
        let answered =
            Answered::Buckets { standings: standings.into_iter().collect(), not_here, more: false };
        assert!(search.heard(&a.store, &answered).unwrap().is_err());
    }
}

#[test]
fn an_older_directory_is_brought_forward_before_it_answers() {
    let (mut authority, a, b, contexts) = federation(30);
    let old = MemoryStore::restore(a.store.snapshot());
    let repaired: Vec<RecordId> = (0..30).map(record).collect();
    authority.decide(repaired.iter().map(|r| (*r, Change::Repair)));
    drop(a);
    let mut restored = Place::over(contexts[1].clone(), old);
    let mut b = b;
    b.pull(&authority);
    // Its copy is shorter: it fetches, and the standings come with the entries.
    let (here, _) = state(&restored.context(), &restored.store, &id(AUTHORITY)).unwrap();
    let (there, root) = state(&b.context(), &b.store, &id(AUTHORITY)).unwrap();
    assert!(here < there);
    restored.pull(&authority);
    assert_eq!(state(&restored.context(), &restored.store, &id(AUTHORITY)).unwrap(), (there, root));
    assert!((0..30).all(|n| !standing_at(&restored.store, n).unwrap().status().disclosable()));
}

/// Carries a whole reconciliation of `at` with a peer; `source` is whose log is fetched.
fn reconciled(at: &mut Place, peer: (&Context, &MemoryStore), source: &Authority) -> Report {
    let mut session = Session::new(peer.0.own.id.clone());
    let mut came = Came::Done;
    while let Some(need) = session.next(&at.context(), &at.store, 7, came).unwrap() {
        came = match need {
            Need::Heads => Came::Done,
            Need::Fetch { owner, log } => {
                // The peer's own logs are empty here.
                if (owner, log) == (id(AUTHORITY), LogName::Status) {
                    at.pull(source);
                }
                Came::Done
            }
            Need::Ask(ask) => Came::of(Ok(answer(peer.0, peer.1, &at.context().own.id, &ask).unwrap())),
            Need::Mend(judged) => {
                let effects = at.told(Input::Mend { peer: peer.0.own.id.clone(), judged });
                assert!(effects.iter().any(|e| matches!(e, Effect::Reply { .. })));
                Came::Done
            }
        };
    }
    session.report()
}

fn under_the_authority(report: &Report) -> &Compared {
    assert_eq!(report.problem, None);
    report.standings.iter().find(|c| c.authority == id(AUTHORITY)).unwrap()
}

#[test]
fn a_reconciliation_fetches_first_and_mends_what_still_differs() {
    let (mut authority, mut a, mut b, _) = federation(90);
    a.damage(|turn| summary::put(turn, &id(AUTHORITY), &record(0), None).unwrap());
    authority.decide([(record(1), Change::Withdraw)]);
    b.pull(&authority);
    let report = reconciled(&mut a, (&b.context(), &b.store), &authority);
    let compared = under_the_authority(&report);
    assert_eq!((compared.outcome, compared.entries, compared.theirs), (Outcome::Mended, (90, 91), 91));
    assert_eq!((compared.mended, &compared.named[..]), (1, &[record(0)][..]));
    let again = reconciled(&mut a, (&b.context(), &b.store), &authority);
    assert_eq!(under_the_authority(&again).outcome, Outcome::Same);
}

#[test]
fn a_reconciliation_leaves_the_peer_to_mend_itself() {
    let (authority, mut a, mut b, _) = federation(90);
    b.damage(|turn| summary::put(turn, &id(AUTHORITY), &record(0), None).unwrap());
    let report = reconciled(&mut a, (&b.context(), &b.store), &authority);
    let compared = under_the_authority(&report);
    assert_eq!((compared.outcome, compared.mended, compared.differ), (Outcome::PeerDiffers, 0, 1));
    assert_eq!(root_at(&a.store), root_at(&authority.store));
}

#[test]
fn a_reconciliation_ends_with_the_first_refusal() {
    let (_, a, b, _) = federation(3);
    let mut session = Session::new(b.context().own.id);
    assert!(matches!(session.next(&a.context(), &a.store, 7, Came::Done).unwrap(), Some(Need::Heads)));
    let away = Refusal::new(Code::Unreachable, "away");
    assert!(session.next(&a.context(), &a.store, 7, Came::Refused(away.clone())).unwrap().is_none());
    assert_eq!(session.report().problem, Some(away));
}

#[test]
fn everybody_has_a_turn_at_once_and_then_one_after_the_other() {
    let contexts = contexts(4);
    let (mut turns, mut order) = (Turns::default(), Vec::new());
    for _ in 0..5 {
        let peer = turns.next(&contexts[1]).unwrap();
        order.push((peer.as_str().to_owned(), turns.wait_ms()));
    }
    let wait = crate::limits::RECONCILE_INTERVAL_MS;
    let expected = [("m000", 0), ("m002", 0), ("m003", wait), ("m000", wait), ("m002", wait)];
    assert_eq!(order, expected.map(|(id, wait)| (id.to_owned(), wait)));
}
