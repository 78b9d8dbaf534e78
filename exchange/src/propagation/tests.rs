//! Status entries on their way to many, out of order, twice, and to who was away.
#![allow(clippy::unwrap_used, reason = "a test; what fails here fails the test")]

use credit::{
    catalog::Purpose,
    entry::{AskedBy, BasisRef, Disclosed, DisclosedRecord, Entry, Recorded, Version},
    id::{ClerkId, ItemId, QuestionId},
    normalize::normalize_document_number,
    status::{Change, Standing, Status},
    subject::SubjectId,
};
use crypto::{Digest, keytree::Slot, pseudonym::SubjectLink, sign::Signed};
use ledger::{
    log::Log,
    store::{Batch, Overlay, Store, memory::MemoryStore},
};

use super::*;
use crate::{
    artifact::{Beside, Certificate, Propagation, status_fact},
    member::{Input, Member},
    misuse::misuse,
    receipt::Receipt,
    tables::{RecordRow, row},
    tests::{AUTHORITY, Authority, Place, changed, contexts, id, pulled, record},
};

/// Pushes an event to a member; its receipt.
fn push(authority: &Authority, to: &mut Place, event: u64) -> Receipt {
    let notice = authority.notice(event);
    let registry = to.context().registry.clone();
    let proven = notice.verify(&registry).unwrap();
    let fact = status_fact(&registry, &proven).unwrap();
    let effects = to.told(Input::Notice { caller: id(AUTHORITY), notice: Box::new(proven), fact });
    let index = effects.iter().find_map(|e| match e {
        Effect::Reply { reply: Reply::Receipt(index), .. } => Some(*index),
        _ => None,
    });
    Receipt::build(&to.store, &to.context().own.id, LogName::Status, index.unwrap()).unwrap()
}

/// The certificate of an entry, as its authority signs it under the registry of these tests.
fn drawn(
    authority: &Authority,
    event: u64,
    acknowledged: Vec<Receipt>,
    missing: Vec<MemberId>,
) -> Certificate {
    let registry = &authority.context.registry;
    let version = (registry.version, registry.digest());
    let (now, notice) = (Timestamp(60_000_000), authority.notice(event));
    let beside = Beside { about: Some((Digest([1; 32]), Digest([2; 32]))), ..Beside::default() };
    Certificate::draw_up(&authority.context, notice, acknowledged, missing, version, beside, now)
}

#[test]
fn a_certificate_from_which_something_is_taken_or_to_which_it_is_added_does_not_hold() {
    let contexts = contexts(6);
    let registry = contexts[0].registry.clone();
    let mut authority = Authority::new(contexts[0].clone());
    let other = authority.decide([(record(2), Change::Repair)]);
    let event = authority.decide([(record(1), Change::Repair)]);
    let mut places: Vec<Place> = contexts[1..4].iter().map(|c| Place::new(c.clone())).collect();
    let acknowledged: Vec<Receipt> = places.iter_mut().map(|p| push(&authority, p, event)).collect();
    let whole = drawn(&authority, event, acknowledged.clone(), vec![id("m004")]);
    let checked = whole.verify(&registry).unwrap();
    assert_eq!((checked.acknowledged.len(), &checked.missing[..]), (3, &[id("m004")][..]));
    assert!(checked.platforms_checked && checked.at == Timestamp(60_000_000));

    let refused = |certificate: &Certificate, why: &str| {
        let refusal = certificate.verify(&registry).unwrap_err();
        assert!(refusal.detail.contains(why), "{refusal:?} is not about {why}");
    };
    // An acknowledgement less, one twice, and one of another entry.
    let with = |acknowledged| Certificate { acknowledged, ..whole.clone() };
    refused(&with(acknowledged[1..].to_vec()), "`m001` was taken out");
    refused(&with(Vec::new()), "was taken out");
    refused(&with([&acknowledged[..], &acknowledged[..1]].concat()), "twice");
    let foreign = push(&authority, &mut places[0], other);
    refused(&with([&acknowledged[1..], &[foreign]].concat()), "about another entry");
    // Who is not among the recipients, and a bank that never received the record.
    let bank = push(&authority, &mut Place::new(contexts[5].clone()), event);
    refused(&with([&acknowledged[..], &[bank]].concat()), "`m005` is not among those");
    let late = push(&authority, &mut Place::new(contexts[4].clone()), event);
    refused(&with([&acknowledged[..], &[late]].concat()), "`m004` is not among those");
    // Another time, and a missing recipient less: neither is what the authority has signed.
    let said = registry.verify(&whole.word).unwrap().into_inner();
    let word = |context: &Context, said: &Propagation| Certificate {
        word: context.sign(Timestamp(61_000_000), said),
        ..whole.clone()
    };
    let bytes = whole.word.as_bytes();
    // 60,000 s as CBOR, one second more, and a name for another.
    let tampered: [(&[u8], &[u8]); 3] =
        [(&[0x19, 0xea, 0x60], &[0x19, 0xea, 0x61]), (b"m004", b"m003"), (b"m004", b"m005")];
    for (from, to) in tampered {
        let at = bytes.windows(from.len()).position(|w| w == from).unwrap();
        let mut changed = bytes.to_vec();
        changed[at..at + from.len()].copy_from_slice(to);
        let changed = Certificate { word: Signed::parse(&changed).unwrap(), ..whole.clone() };
        assert!(changed.verify(&registry).is_err());
    }
    // What the authority itself signs against its registry: a platform left out, one named twice; and somebody else's word.
    refused(&word(&contexts[0], &Propagation { missing: Vec::new(), ..said.clone() }), "`m004` must receive");
    let twice = Propagation { missing: vec![id("m001"), id("m004")], ..said.clone() };
    refused(&word(&contexts[0], &twice), "named twice");
    refused(&word(&contexts[1], &said), "another member's");
    refused(&word(&contexts[0], &Propagation { index: other, ..said.clone() }), "another entry");
    refused(&Certificate { salt: None, ..whole.clone() }, "its salt was taken out");
    // Under a registry that the verifier does not have it holds, and does not claim that nobody is left out.
    let before = Propagation { registry: 7, missing: Vec::new(), ..said.clone() };
    assert!(!word(&contexts[0], &before).verify(&registry).unwrap().platforms_checked);
    let another = Propagation { registry_digest: Digest::ZERO, ..said };
    refused(&word(&contexts[0], &another), "another registry version 1");
}

fn disclosed(n: u64, asker: &MemberId, keep_days: Option<u32>) -> Fact {
    let asked = AskedBy {
        id: QuestionId([n as u8; 16]),
        question: Digest([n as u8; 32]),
        signature: Bytes(vec![0; 64]),
        asker: asker.clone(),
        clerk: ClerkId::parse("clerk-1").unwrap(),
        via: None,
        purpose: Purpose::LoanReview,
        basis: BasisRef::Duty("article 1".into()),
        subject_link: SubjectLink([n as u8; 32]),
        registry: 1,
    };
    // Not one value: only that the record answers a question.
    let told = DisclosedRecord { version: 0, disputed: false, fields: Vec::new(), record: record(n) };
    Fact::Disclosed(Disclosed {
        asked,
        records: vec![told],
        withheld: Vec::new(),
        more: false,
        checks: Vec::new(),
        keep_days,
    })
}

/// A member's access log: of which record it told the asker, and when.
fn access_log(
    context: &Context,
    told: impl IntoIterator<Item = (u64, u64)>,
    asker: &MemberId,
) -> MemoryStore {
    let store = MemoryStore::default();
    let origin = LogName::Access.origin("unit", &context.own.id);
    let mut access = Log::open(LogName::Access.as_str(), &origin, &store).unwrap();
    for (n, at) in told {
        let entry = Entry { prev: access.last_leaf(), at: Timestamp(at), fact: disclosed(n, asker, None) };
        access.append(entry.to_bytes()).unwrap();
    }
    let (mut batch, kept) = (Batch::default(), Overlay::new(&store));
    access.seal(&context.own.signing, &kept, &mut batch).unwrap();
    store.apply(&batch).unwrap();
    store
}

#[test]
fn a_member_that_takes_its_logs_back_tells_every_asker_whichever_log_came_first() {
    let contexts = contexts(4);
    let (context, bank) = (contexts[0].clone(), contexts[3].own.id.clone());
    let mut authority = Authority::new(context.clone());
    authority.decide([
        (record(1), Change::Dispute),
        (record(1), Change::Repair),
        (record(2), Change::Repair),
    ]);
    // Told of record 1 between its dispute and its repair, and of record 2 after all was over.
    let access = access_log(&context, [(1, 2_500), (2, 9_000)], &bank);
    let status = || pulled(&context, &authority.store, LogName::Status, 0);
    let disclosures = || pulled(&context, &access, LogName::Access, 0);
    let told = |inputs: [Input; 2]| {
        let store = MemoryStore::default();
        let mut member = Member::open(context.clone(), &store).unwrap();
        for (n, input) in inputs.into_iter().enumerate() {
            let now = Timestamp(20_000 + n as u64);
            member.handle(now, vec![(None, input)], &store).unwrap().commit(&store).unwrap();
        }
        let to_bank =
            |event: &u64| row::<DeliveryRow>(&store, &Key::delivery(*event, &bank)).unwrap().is_some();
        (0..3).filter(to_bank).collect::<Vec<u64>>()
    };
    // No asker hears of what it never held, and none too few do.
    assert_eq!(told([status(), disclosures()]), [1]);
    assert_eq!(told([disclosures(), status()]), [1]);
}

#[test]
fn who_has_not_acknowledged_in_time_is_reported_once_and_not_by_a_member_that_has_just_started() {
    let contexts = contexts(3);
    let mut authority = Authority::new(contexts[0].clone());
    let day = |text: &str| Date::parse(text).unwrap().start();
    // A Wednesday: to be acknowledged by the end of Saturday, which is worked in that week.
    authority.now = day("2026-05-06").0;
    authority.decide([(record(1), Change::Repair)]);
    let late = |back: Timestamp, ticks: &[(Timestamp, usize)]| {
        let store = MemoryStore::default();
        let mut member = Member::open(contexts[0].clone(), &store).unwrap();
        let mut told = |at: Timestamp, input| {
            let effects = member.handle(at, vec![(None, input)], &store).unwrap().commit(&store).unwrap();
            let late = |e: &&Effect| matches!(e, Effect::Alert(what) if what.contains("acknowledge"));
            effects.iter().filter(late).count()
        };
        // It takes its log back, and does not know who has acknowledged.
        assert_eq!(told(back, pulled(&contexts[0], &authority.store, LogName::Status, 0)), 0);
        assert_eq!(told(back, Input::Restored { seen: Vec::new() }) + told(back, Input::Synced), 0);
        for (at, times) in ticks {
            assert_eq!(told(*at, Input::Tick), *times, "{}", at.rfc3339());
        }
    };
    let passed = day("2026-05-10");
    let quiet = passed.plus_ms(QUIET_MS);
    late(
        day("2026-05-07"),
        &[(Timestamp(passed.0 - 1_000), 0), (quiet, 1), (quiet.plus_ms(RETRY_MS_MAX), 0)],
    );
    late(passed, &[(passed.plus_ms(1_000), 0), (quiet, 0), (quiet.plus_ms(RETRY_MS_MAX), 1)]);
}

#[test]
fn a_certificate_of_31_members_is_small_beside_their_receipts() {
    let contexts = contexts(33);
    let mut authority = Authority::new(contexts[0].clone());
    authority.decide((0..1_000).map(|n| (record(n), Change::Dispute)));
    let event = authority.decide([(record(1), Change::Repair)]);
    let acknowledged: Vec<Receipt> =
        contexts[1..32].iter().map(|c| push(&authority, &mut Place::new(c.clone()), event)).collect();
    let receipts: Vec<usize> = acknowledged.iter().map(|r| codec::to_vec(r).len()).collect();
    let missing = vec![contexts[32].own.id.clone()];
    let certificate = drawn(&authority, event, acknowledged, missing);
    let checked = certificate.verify(&contexts[0].registry).unwrap();
    assert_eq!((checked.acknowledged.len(), checked.missing.len()), (31, 1));
    let bytes = codec::to_vec(&certificate).len();
    let besides = bytes - receipts.iter().sum::<usize>();
    assert!(receipts.iter().all(|receipt| *receipt < 2_000), "{receipts:?}");
    assert!(besides <= 10_000, "{besides} bytes besides the receipts");
}

#[test]
fn whatever_the_order_and_however_often_what_ended_stays_ended() {
    let contexts = contexts(3);
    let mut authority = Authority::new(contexts[0].clone());
    let story = [Change::Dispute, Change::Mask, Change::Repair, Change::Unmask, Change::EndDispute];
    authority.decide(story.map(|change| (record(1), change)));
    let orders: [&[u64]; 5] = [
        &[0, 1, 2, 3, 4],
        &[4, 3, 2, 1, 0],
        &[2, 0, 2, 3, 1, 4, 2, 0],
        &[3, 2, 4, 1, 0, 0],
        &[2, 1, 4, 3, 0, 3],
    ];
    let mut seen = Vec::new();
    for order in orders {
        let mut place = Place::new(contexts[1].clone());
        for (n, event) in order.iter().enumerate() {
            push(&authority, &mut place, *event);
            if order[..=n].contains(&2) {
                let known: Standing =
                    row(&place.store, &Key::standing(&id(AUTHORITY), &record(1))).unwrap().unwrap();
                assert_eq!(known.status(), Status::Repaired, "{order:?} after {n}");
            }
        }
        // Each acknowledged once, and the pull of the same entries adds none.
        let size = || log::size(&place.store, LogName::Status.as_str()).unwrap().0;
        let before = size();
        let copied = authority.pulled(0);
        place.told(copied);
        assert_eq!(log::size(&place.store, LogName::Status.as_str()).unwrap().0, before);
        assert_eq!(before, 1 + 5);
        seen.push(crate::summary::root(&place.store, &id(AUTHORITY)).unwrap());
    }
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn an_amendment_of_a_repaired_record_is_repaired_too() {
    let contexts = contexts(3);
    let mut authority = Authority::new(contexts[0].clone());
    let event = authority.decide([(record(1), Change::Repair)]);
    let mut place = Place::new(contexts[1].clone());
    push(&authority, &mut place, event);
    for (index, supersedes) in [(0, None), (1, Some(0))] {
        let entry = Entry {
            prev: Digest::ZERO,
            at: Timestamp(1),
            fact: Fact::Recorded(Recorded {
                record: record(1),
                item: ItemId::parse("CF").unwrap(),
                catalog: 1,
                authority: id(AUTHORITY),
                slot: Slot(index),
                fields_root: Digest::ZERO,
                supersedes,
            }),
        };
        let context = place.context();
        place.damage(|turn| project::own(&context, turn, LogName::Records, index, &entry).unwrap());
    }
    let held: RecordRow = row(&place.store, &Key::record(&record(1))).unwrap().unwrap();
    assert_eq!(held.newest, Version { index: 1, slot: Slot(1) });
    // Standing belongs to the record, not to a version of it.
    let known: Standing = row(&place.store, &Key::standing(&id(AUTHORITY), &record(1))).unwrap().unwrap();
    assert!(!known.status().disclosable());
}

#[test]
fn a_repaired_record_handed_in_again_under_another_form_of_its_number_is_the_repaired_one() {
    let contexts = contexts(3);
    let subject = SubjectId::parse("91310000132260250X").unwrap();
    let name = |document: &str| {
        let document = normalize_document_number(document);
        let item = ItemId::parse("CF").unwrap();
        contexts[1].own.naming.record_id(&id(AUTHORITY), &item, &document, &subject)
    };
    let repaired = name("沪市监处〔2026〕A12号");
    let mut authority = Authority::new(contexts[0].clone());
    let event = authority.decide([(repaired, Change::Repair)]);
    let mut place = Place::new(contexts[1].clone());
    push(&authority, &mut place, event);
    for form in [
        "沪市监处[2026]A12号",
        "沪市监处(2026)A12号",
        "沪市监处（2026）A12号",
        "沪市监处【2026】A12号",
        "沪市监处［２０２６］Ａ１２号",
        "沪市监处〔2026〕a12号",
        " 沪市监处 〔2026〕\u{3000}A 12 号\u{200b}\n",
    ] {
        let known: Option<Standing> = row(&place.store, &Key::standing(&id(AUTHORITY), &name(form))).unwrap();
        assert_eq!(known.map(|s| s.status()), Some(Status::Repaired), "{form}");
    }
    assert_ne!(name("沪市监处〔2026〕A13号"), repaired);
}

#[test]
fn who_was_told_anything_of_a_record_is_told_of_its_end_as_long_as_it_may_keep_it() {
    const DAY: u64 = 86_400_000;
    let contexts = contexts(4);
    let mut place = Place::new(contexts[1].clone());
    let (context, bank) = (place.context(), contexts[3].own.id.clone());
    let told = |n, at, keep| Entry { prev: Digest::ZERO, at: Timestamp(at), fact: disclosed(n, &bank, keep) };
    // Record 1 for 30 days, record 2 for 30 days and again by law, record 3 for 30 days and then for 90.
    let entries = [
        told(1, DAY, Some(30)),
        told(2, DAY, Some(30)),
        told(2, 2 * DAY, None),
        told(3, DAY, Some(90)),
        told(3, 2 * DAY, Some(30)),
    ];
    place.damage(|turn| {
        for (index, entry) in entries.iter().enumerate() {
            project::own(&context, turn, LogName::Access, index as u64, entry).unwrap();
        }
    });
    let recipients = |place: &mut Place, n: u64, day: u64| {
        let mut to = Vec::new();
        let context = place.context();
        place.damage(|turn| {
            let fact = changed(record(n), Change::Repair);
            schedule(&context, turn, 100 + n, Timestamp(day * DAY), &fact).unwrap();
        });
        for (rest, _) in tables::rows::<DeliveryRow>(&place.store, &Key::deliveries(100 + n), 100).unwrap() {
            to.push(tables::key_text(&rest).unwrap().to_owned());
        }
        place.damage(|turn| {
            for member in &to {
                turn.delete(&Key::delivery(100 + n, &id(member)));
            }
        });
        to
    };
    let public = ["m000", "m002"].map(str::to_owned).to_vec();
    let all = ["m000", "m002", "m003"].map(str::to_owned).to_vec();
    for (n, day, expected) in
        [(1, 31, &all), (1, 32, &public), (2, 32, &all), (2, 3_000, &all), (3, 91, &all), (3, 92, &public)]
    {
        assert_eq!(&recipients(&mut place, n, day), expected, "record {n} on day {day}");
    }
}

#[test]
fn what_waits_for_a_peer_goes_out_when_it_is_back() {
    let contexts = contexts(4);
    let mut place = Place::new(contexts[1].clone());
    let (away, other) = (id("m002"), id("m000"));
    let far = Timestamp(50_000_000);
    place.damage(|turn| {
        for to in [&away, &other] {
            let row = DeliveryRow { since: Timestamp(0), tries: 12, ack: None, acked_at: None, told: false };
            turn.put(&Key::delivery(0, to), &row);
            turn.put(&Key::due(far, &Work::Deliver(0, to.clone())), &());
        }
    });
    let sent = |effects: Vec<Effect>| -> Vec<MemberId> {
        let to = |e| if let Effect::Deliver { to, .. } = e { Some(to) } else { None };
        effects.into_iter().filter_map(to).collect()
    };
    assert!(sent(place.told(Input::Tick)).is_empty());
    place.told(Input::Back(away.clone()));
    assert_eq!(sent(place.told(Input::Tick)), std::slice::from_ref(&away));
    // Once: it is back in the queue, behind its wait.
    assert!(sent(place.told(Input::Tick)).is_empty());
    assert_eq!(tables::rows::<()>(&place.store, &Key::due_first(), 10).unwrap().len(), 2);
}

#[test]
fn who_answers_with_what_it_has_acknowledged_as_ended_convicts_itself() {
    let contexts = contexts(4);
    let mut authority = Authority::new(contexts[0].clone());
    let dispute = authority.decide([(record(1), Change::Dispute)]);
    let event = authority.decide([(record(1), Change::Repair)]);
    let mut place = Place::new(contexts[1].clone());
    let (context, registry) = (place.context(), place.context().registry.clone());
    let away = || vec![id("m002")];
    let certificate = |authority: &Authority, place: &mut Place, event| {
        drawn(authority, event, vec![push(authority, place, event)], away())
    };
    let marked = certificate(&authority, &mut place, dispute);
    let repaired = certificate(&authority, &mut place, event);
    let since = repaired.verify(&registry).unwrap().bound_since(&context.own.id).unwrap();
    assert_eq!(repaired.verify(&registry).unwrap().bound_since(&id("m002")), None);
    // Its access log: before, after, and after with another record.
    let bank = &contexts[3].own.id;
    let store = access_log(&context, [(1, since.0 - 1), (1, since.0 + 1), (2, since.0 + 2)], bank);
    let used = |n| Receipt::build(&store, &context.own.id, LogName::Access, n).unwrap();
    assert_eq!(misuse(&registry, &repaired, &used(0)).unwrap(), None);
    assert_eq!(misuse(&registry, &repaired, &used(2)).unwrap(), None);
    let found = misuse(&registry, &repaired, &used(1)).unwrap().unwrap();
    assert_eq!(
        (found.member, found.record, found.change),
        (context.own.id.clone(), record(1), Change::Repair)
    );
    assert!(found.used > found.acknowledged);
    // A mark that can be taken back ends nothing; and without its own acknowledgement nobody is convicted.
    assert_eq!(misuse(&registry, &marked, &used(1)).unwrap(), None);
    let silent = drawn(&authority, event, Vec::new(), vec![id("m001"), id("m002")]);
    assert_eq!(misuse(&registry, &silent, &used(1)).unwrap(), None);
}
