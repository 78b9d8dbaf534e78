//! Grants under a virtual clock: what stands in a log of their lives, the last use, and grants that a subject signs itself.
#![allow(clippy::unwrap_used, reason = "a test; what fails here fails the test")]

mod world;

use std::sync::Arc;

use credit::{
    binding::{GrantOrder, KEY_DAYS_MAX, KeyBinding, Signer},
    catalog::Purpose,
    entry::{Entry, Fact, StatusFact},
    grant::{Grant, GrantChange, GrantNews, GrantStatus, Scope},
    id::{FieldId, GrantId, MemberId},
    policy::Role,
    question::Question,
    subject::SubjectId,
};
use crypto::{
    Digest, Timestamp, codec,
    secret::Secret,
    sign::{PublicKey, Signed, SigningKey, Verified},
};
use exchange::{
    grant,
    logs::LogName,
    member::Input,
    refusal::{Code, Halt, Refusal},
    registry::PastKeys,
    tables::Key,
    wire::{GrantDraft, KeyDraft, Response},
};
use ledger::{log, tree::LeafIndex};
use world::{BANK, JS, OUTLET, Penalty, SH, World, at, item, subject};

const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;
const FIELDS: (&str, &[u16]) = ("CF", &[14]);

fn world() -> World {
    let mut world = World::new(at("2026-05-06", 10));
    world.collect(SH, &Penalty::general("沪示罚〔2026〕1号", "2026-03-02"));
    world
}

/// What `at` makes of a question: `answered`, or the rule that withholds its field.
fn verdict(world: &mut World, at: usize, question: &Verified<Question>) -> String {
    world.answered(at, question);
    let disk = &world.nodes[at].disk;
    let size = log::size(disk, "access").unwrap().0;
    let digest = question.signed().digest();
    let decided = (0..size).rev().find_map(|index| {
        let entry =
            Entry::from_bytes(&log::entry(disk, "access", LeafIndex(index)).unwrap().unwrap()).unwrap();
        match entry.fact {
            Fact::Disclosed(told) if told.asked.question == digest => Some("answered".to_owned()),
            Fact::Refused(said) if said.asked.question == digest => Some(said.withheld[0].rule.to_string()),
            _ => None,
        }
    });
    decided.unwrap()
}

/// A new question on a grant, and what `at` makes of it.
fn asked(world: &mut World, at: usize, grant: &Signed<Grant>, number: u8) -> String {
    let question = world.asked_on(grant.clone(), number, FIELDS, &[]);
    verdict(world, at, &question)
}

/// What a member's status log has said of grants.
fn news(world: &World, at: usize, of: GrantNews) -> usize {
    let said = world.statements(at).into_iter();
    said.filter(|(_, fact)| fact.grant().is_some_and(|(_, news)| news == of)).count()
}

fn status(world: &World, at: usize, grant: &Signed<Grant>) -> GrantStatus {
    let node = &world.nodes[at];
    match grant::standing(&node.context, &node.disk, grant, world.now).unwrap() {
        Response::GrantStanding(standing) => standing.status,
        other => panic!("{other:?}"),
    }
}

fn done(response: Option<Response>) {
    assert_eq!(response, Some(Response::Done));
}

fn refused(response: Option<Response>, code: Code, why: &str) {
    match response {
        Some(Response::Refused(refusal)) => {
            assert!(refusal.known() == Some(code) && refusal.to_string().contains(why), "{refusal}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_grant_ends_once_by_the_clock_and_its_collector_knows_it_after_its_disk_is_lost() {
    let mut world = world();
    let (kept, revoked) = (world.granted(1, 5), world.granted(2, 5));
    assert_eq!(news(&world, OUTLET, GrantNews::Issued), 2);
    // The entry names the grantee, and not the subject.
    let entry = codec::to_vec(&world.statements(OUTLET).pop().unwrap().1);
    let holds = |text: &str| entry.windows(text.len()).any(|part| part == text.as_bytes());
    assert!(holds(world.nodes[BANK].id.as_str()) && !holds(subject().as_str()));

    let outlet = world.nodes[OUTLET].id.clone();
    world.pull(JS, &outlet, LogName::Status);
    world.lose_disk(OUTLET);
    done(world.step(OUTLET, Input::ChangeGrant(revoked.digest(), GrantChange::Revoke)));
    let strange = Input::ChangeGrant(Digest::ZERO, GrantChange::Revoke);
    refused(world.step(OUTLET, strange), Code::NotFound, "issued here");
    assert_eq!(asked(&mut world, SH, &revoked, 3), "grant-revoked");
    assert_eq!(asked(&mut world, SH, &kept, 4), "answered");

    // The clock of its end came back with the log. What is revoked does not expire as well.
    world.until(world.now.plus_ms(HOUR - 1));
    assert_eq!(news(&world, OUTLET, GrantNews::Expired), 0);
    for _ in 0..3 {
        world.until(world.now.plus_ms(1));
    }
    assert_eq!(news(&world, OUTLET, GrantNews::Expired), 1);
    assert_eq!(asked(&mut world, SH, &kept, 5), "grant-expired");
    // The grantee was told and has acknowledged: both issues, the revocation, the end.
    let said = |fact: &StatusFact| matches!(fact, StatusFact::Acknowledged(ack) if ack.origin == outlet);
    assert_eq!(world.statements(BANK).iter().filter(|(_, fact)| said(fact)).count(), 4);
    // A member whose clock is behind takes the collector's word.
    world.pull(JS, &outlet, LogName::Status);
    world.now = Timestamp(world.now.0 - 10_000);
    assert_eq!(status(&world, JS, &kept), GrantStatus::Expired);
    assert_eq!(status(&world, SH, &kept), GrantStatus::Active);
    // Whom it was for is forgotten, and that it was issued here is not.
    assert_eq!(world.fsck(OUTLET), Vec::<String>::new());
    done(world.step(OUTLET, Input::ChangeGrant(kept.digest(), GrantChange::Revoke)));
}

#[test]
fn the_last_use_at_one_member_ends_the_grant_at_the_others_and_its_own_question_goes_on() {
    let mut world = world();
    let (sh, js) = (world.nodes[SH].id.clone(), world.nodes[JS].id.clone());
    let grant = world.granted(1, 2);
    let first = world.asked_on(grant.clone(), 2, FIELDS, &[]);
    assert_eq!(verdict(&mut world, SH, &first), "answered");
    assert_eq!(news(&world, SH, GrantNews::UsedUp), 0);
    let last = world.asked_on(grant.clone(), 3, FIELDS, &[]);
    assert_eq!(verdict(&mut world, SH, &last), "answered");
    assert_eq!(news(&world, SH, GrantNews::UsedUp), 1);
    // The same question again is the same use, and is said once.
    assert_eq!(verdict(&mut world, SH, &last), "answered");
    assert_eq!(news(&world, SH, GrantNews::UsedUp), 1);

    // `js` was away, and has counted nothing.
    world.pull(JS, &sh, LogName::Status);
    assert_eq!(status(&world, JS, &grant), GrantStatus::UsedUp);
    assert_eq!(asked(&mut world, JS, &grant, 4), "grant-used-up");
    assert_eq!(verdict(&mut world, JS, &first), "grant-used-up");
    assert_eq!(verdict(&mut world, JS, &last), "answered");
    assert_eq!(news(&world, JS, GrantNews::UsedUp), 0, "it has answered one of two");

    // The outlet tells the grantee, once whoever says it.
    assert_eq!(status(&world, BANK, &grant), GrantStatus::Active);
    let once = world.granted(5, 1);
    let question = world.asked_on(once.clone(), 6, FIELDS, &[]);
    for at in [SH, JS] {
        assert_eq!(verdict(&mut world, at, &question), "answered");
    }
    for from in [&sh, &js] {
        world.pull(OUTLET, from, LogName::Status);
    }
    assert_eq!(news(&world, OUTLET, GrantNews::UsedUp), 2);
    assert_eq!([status(&world, BANK, &grant), status(&world, BANK, &once)], [GrantStatus::UsedUp; 2]);
}

#[test]
fn the_word_of_a_member_that_is_suspended_ends_no_grant() {
    let mut world = world();
    let sh = world.nodes[SH].id.clone();
    let grant = world.granted(1, 1);
    assert_eq!(asked(&mut world, SH, &grant, 2), "answered");
    world.pull(JS, &sh, LogName::Status);
    assert_eq!(asked(&mut world, JS, &grant, 3), "grant-used-up");
    let registry = Arc::make_mut(&mut world.nodes[JS].context.registry);
    registry.members.iter_mut().find(|m| m.stated.id == sh).unwrap().suspended = true;
    let context = &world.nodes[JS].context;
    let verified = context.registry.verify_grant(&grant).unwrap();
    assert!(!grant::known(context, &world.nodes[JS].disk, &verified, None, world.now).unwrap().used_up);
}

/// A subject with a key of its own.
struct Person {
    key: SigningKey,
    binding: Signed<KeyBinding>,
    collector: MemberId,
}

impl Person {
    /// The outlet vouches for its key for 30 days.
    fn new(world: &mut World, seed: u8, subject: SubjectId) -> Self {
        Self::at(world, OUTLET, seed, subject)
    }

    /// This collector does.
    fn at(world: &mut World, collector: usize, seed: u8, subject: SubjectId) -> Self {
        let key = SigningKey::from_seed(&Secret::new([seed; 32]));
        let draft = KeyDraft {
            subject,
            key: PublicKey(key.verifying_key().to_bytes()),
            not_after: world.now.plus_ms(30 * DAY),
            paper: Digest::of(b"an application"),
        };
        let Some(Response::Binding(binding)) = world.step(collector, Input::BindKey(draft)) else { panic!() };
        Self { key, binding, collector: world.nodes[collector].id.clone() }
    }

    fn words(&self, world: &World, number: u8) -> Grant {
        Grant {
            id: GrantId([number; 16]),
            collector: self.collector.clone(),
            subject: subject(),
            grantee: world.nodes[BANK].id.clone(),
            purposes: vec![Purpose::LoanReview],
            scope: vec![Scope { item: item(), fields: Vec::new() }],
            not_before: world.now,
            not_after: world.now.plus_ms(HOUR),
            uses_max: 9,
            keep_days: 30,
            letter: None,
            period: None,
            binding: Some(self.binding.clone()),
        }
    }

    fn signs(&self, world: &World, words: &Grant) -> Signed<Grant> {
        Signed::new(&self.key, &Signer::subject_of(&self.collector), world.now, words)
    }

    fn orders(&self, grant: &Signed<Grant>, change: GrantChange, at: Timestamp) -> Signed<GrantOrder> {
        let order = GrantOrder { grant: grant.clone(), change, at };
        Signed::new(&self.key, &Signer::subject_of(&self.collector), at, &order)
    }
}

fn lodged(world: &mut World, grant: &Signed<Grant>) -> Option<Response> {
    let grant = world.nodes[OUTLET].context.registry.verify_grant(grant).unwrap();
    world.step(OUTLET, Input::LodgeGrant(grant))
}

fn ordered(world: &mut World, order: &Signed<GrantOrder>) -> Option<Response> {
    let order = world.nodes[OUTLET].context.registry.verify_order(order).unwrap();
    world.step(OUTLET, Input::OrderGrant(order))
}

#[test]
fn a_subject_signs_its_grant_and_orders_what_becomes_of_it() {
    let mut world = world();
    let person = Person::new(&mut world, 9, subject());
    let grant = person.signs(&world, &person.words(&world, 1));
    // Its signature suffices, before the collector has heard of it.
    assert_eq!(asked(&mut world, SH, &grant, 2), "answered");
    let (pause, resume) = (GrantChange::Pause, GrantChange::Resume);
    let order = person.orders(&grant, pause, world.now);
    refused(ordered(&mut world, &order), Code::NotFound, "issued here");
    for _ in 0..2 {
        done(lodged(&mut world, &grant));
    }
    assert_eq!(news(&world, OUTLET, GrantNews::Issued), 1);

    // The operator alone changes nothing.
    let alone = Input::ChangeGrant(grant.digest(), pause);
    refused(world.step(OUTLET, alone), Code::GrantInvalid, "its subject has signed it");
    done(ordered(&mut world, &order));
    assert_eq!(asked(&mut world, SH, &grant, 3), "grant-paused");
    let later = world.now.plus_ms(1_000);
    world.now = later;
    let resumed = person.orders(&grant, resume, later);
    for _ in 0..2 {
        done(ordered(&mut world, &resumed));
    }
    assert_eq!(news(&world, OUTLET, GrantNews::Resumed), 1);
    assert_eq!(asked(&mut world, SH, &grant, 4), "answered");
    // Whoever has kept an old order gains nothing by it.
    refused(ordered(&mut world, &order), Code::GrantInvalid, "newer order");
    let ahead = person.orders(&grant, pause, later.plus_ms(31_000));
    refused(ordered(&mut world, &ahead), Code::GrantInvalid, "dated ahead");
    // Nor does another subject's key, nor another key of the same subject.
    for (seed, of) in [(5, SubjectId::parse("91320505Y0LXM9KP2T").unwrap()), (6, subject())] {
        let other = Person::new(&mut world, seed, of);
        for change in [pause, GrantChange::Revoke] {
            let order = other.orders(&grant, change, later);
            let refusal = world.nodes[OUTLET].context.registry.verify_order(&order).unwrap_err();
            assert!(refusal.to_string().contains("names another key"), "{refusal}");
        }
    }
    assert_eq!(asked(&mut world, SH, &grant, 5), "answered");
    // A revocation is taken whatever its date.
    done(ordered(&mut world, &person.orders(&grant, GrantChange::Revoke, Timestamp(0))));
    assert_eq!(asked(&mut world, SH, &grant, 6), "grant-revoked");
    // A new order to resume it, and the one that was carried out before: neither is said to be carried out now.
    for order in [person.orders(&grant, resume, later.plus_ms(9)), resumed] {
        refused(ordered(&mut world, &order), Code::GrantInvalid, "no way back");
    }
}

#[test]
fn a_collector_takes_no_grant_on_which_nobody_could_answer_or_that_names_an_item_twice() {
    let mut world = world();
    let person = Person::new(&mut world, 9, subject());
    let words = person.words(&world, 1);
    let one = |field| Scope { item: item(), fields: vec![FieldId(field)] };
    let written = news(&world, OUTLET, GrantNews::Issued);
    for (changed, why) in [
        (Grant { purposes: vec![Purpose::LoanReview, Purpose::Audit], ..words.clone() }, "for audit"),
        (Grant { purposes: vec![Purpose::Administration], ..words.clone() }, "as a bank"),
        (Grant { grantee: world.nodes[JS].id.clone(), ..words.clone() }, "as a region"),
        (Grant { scope: vec![one(14), one(19)], ..words.clone() }, "`CF` twice"),
    ] {
        let signed = person.signs(&world, &changed);
        refused(lodged(&mut world, &signed), Code::GrantInvalid, why);
        let draft = GrantDraft {
            subject: changed.subject,
            grantee: changed.grantee,
            purposes: changed.purposes,
            scope: changed.scope,
            not_before: changed.not_before,
            not_after: changed.not_after,
            uses_max: changed.uses_max,
            keep_days: changed.keep_days,
            letter: Digest::of(b"a letter"),
            period: changed.period,
        };
        let issue = Input::IssueGrant { draft, id: GrantId([7; 16]) };
        refused(world.step(OUTLET, issue), Code::GrantInvalid, why);
    }
    assert_eq!(news(&world, OUTLET, GrantNews::Issued), written);
}

#[test]
fn a_grant_that_was_never_lodged_is_revoked_by_the_order_of_its_subject_and_by_nobody_else() {
    let mut world = world();
    let person = Person::new(&mut world, 9, subject());
    let grant = person.signs(&world, &person.words(&world, 1));
    assert_eq!(asked(&mut world, SH, &grant, 2), "answered");
    // A grant that its collector has signed itself is not a subject's to order about.
    let letter = world.granted(3, 9);
    let order = person.orders(&letter, GrantChange::Revoke, world.now);
    let refusal = world.nodes[OUTLET].context.registry.verify_order(&order).unwrap_err();
    assert!(refusal.to_string().contains("not its issuer's"), "{refusal}");

    let order = person.orders(&grant, GrantChange::Revoke, world.now);
    for _ in 0..2 {
        done(ordered(&mut world, &order));
    }
    assert_eq!([GrantNews::Issued, GrantNews::Revoked].map(|of| news(&world, OUTLET, of)), [2, 1]);
    assert_eq!([SH, JS].map(|at| status(&world, at, &grant)), [GrantStatus::Revoked; 2]);
    assert_eq!(status(&world, BANK, &grant), GrantStatus::Revoked, "its grantee is told");
    assert_eq!(asked(&mut world, SH, &grant, 4), "grant-revoked");
    // Lodged after that it is what it was.
    done(lodged(&mut world, &grant));
    assert_eq!(
        (news(&world, OUTLET, GrantNews::Issued), status(&world, SH, &grant)),
        (2, GrantStatus::Revoked)
    );
}

#[test]
fn a_grant_that_allows_what_no_grant_may_is_honoured_by_nobody_although_its_subject_signed_it() {
    let mut world = world();
    let person = Person::new(&mut world, 9, subject());
    let words = person.words(&world, 1);
    let registry = &world.nodes[SH].context.registry;
    for changed in [
        Grant { keep_days: u32::MAX, ..words.clone() },
        Grant { scope: vec![words.scope[0].clone(); 33], ..words.clone() },
        Grant { uses_max: 0, ..words.clone() },
    ] {
        let refusal = registry.verify_grant(&person.signs(&world, &changed)).unwrap_err();
        assert_eq!(refusal.known(), Some(Code::GrantInvalid), "{refusal}");
    }
    assert!(registry.verify_grant(&person.signs(&world, &words)).is_ok());
}

#[test]
fn no_two_entries_of_one_key_can_be_linked_and_its_collector_finds_them_after_its_disk_is_lost() {
    let mut world = world();
    let person = Person::new(&mut world, 9, subject());
    let other = Person::new(&mut world, 8, subject());
    let mut sign = |person: &Person, number| {
        let grant = person.signs(&world, &person.words(&world, number));
        done(lodged(&mut world, &grant));
        grant
    };
    let (grants, others) = ([sign(&person, 1), sign(&person, 2)], sign(&other, 3));
    // What a reader of the log has, and what the grantee of one of them could compare it with.
    let issues: Vec<_> = world
        .statements(OUTLET)
        .into_iter()
        .filter_map(|(_, fact)| match fact {
            StatusFact::GrantIssued(issued) => Some(issued),
            _ => None,
        })
        .collect();
    let key = world.nodes[OUTLET].context.registry.verify(&person.binding).unwrap().get().key_digest();
    let mut tags: Vec<_> = issues.iter().map(|issued| issued.tag.unwrap()).collect();
    tags.extend([key, person.binding.digest()]);
    tags.sort_unstable();
    tags.dedup();
    assert_eq!(tags.len(), 5, "three tags, each its own, and neither the key's digest nor its binding's");

    let outlet = world.nodes[OUTLET].id.clone();
    world.pull(JS, &outlet, LogName::Status);
    world.lose_disk(OUTLET);
    let withdrawn = world.statements(BANK).len();
    let binding = world.nodes[OUTLET].context.registry.verify(&person.binding).unwrap();
    done(world.step(OUTLET, Input::WithdrawKey(binding)));
    // Two grants, one grantee: it is told, and of the other key nothing has become.
    assert_eq!(world.statements(BANK).len(), withdrawn + 1);
    for grant in &grants {
        assert_eq!([BANK, SH].map(|at| status(&world, at, grant)), [GrantStatus::Revoked; 2]);
    }
    assert_eq!([BANK, SH].map(|at| status(&world, at, &others)), [GrantStatus::Active; 2]);
    assert_eq!(world.fsck(OUTLET), Vec::<String>::new());
}

#[test]
fn a_key_that_one_collector_withdraws_is_withdrawn_at_all_and_bound_by_none_again() {
    let mut world = World::with(at("2026-05-06", 10), |member| {
        member.collector |= member.id.as_str() == "js";
    });
    world.collect(SH, &Penalty::general("沪示罚〔2026〕1号", "2026-03-02"));
    let at_outlet = Person::new(&mut world, 9, subject());
    let again = Person::at(&mut world, OUTLET, 9, subject());
    let at_js = Person::at(&mut world, JS, 9, subject());
    // Somebody else has the public key bound to itself.
    let stranger = SubjectId::parse("91320505Y0LXM9KP2T").unwrap();
    let taken = Person::at(&mut world, JS, 9, stranger.clone());
    let signed = |person: &Person, number| person.signs(&world, &person.words(&world, number));
    let (first, second, third) = (signed(&at_outlet, 1), signed(&again, 2), signed(&at_js, 3));

    let withdraw = |world: &mut World, person: &Person| {
        let binding = world.nodes[JS].context.registry.verify(&person.binding).unwrap();
        done(world.step(JS, Input::WithdrawKey(binding)));
    };
    withdraw(&mut world, &taken);
    for grant in [&first, &second, &third] {
        assert_eq!(status(&world, SH, grant), GrantStatus::Active, "it was another subject's to withdraw");
    }
    withdraw(&mut world, &at_js);
    for grant in [&first, &second, &third] {
        assert_eq!(status(&world, SH, grant), GrantStatus::Revoked);
    }
    assert_eq!(asked(&mut world, SH, &first, 4), "grant-revoked");
    refused(lodged(&mut world, &first), Code::GrantInvalid, "withdrawn");
    let draft = |key| KeyDraft {
        subject: subject(),
        key: PublicKey(SigningKey::from_seed(&Secret::new([key; 32])).verifying_key().to_bytes()),
        not_after: world.now.plus_ms(DAY),
        paper: Digest::ZERO,
    };
    let (old, new) = (draft(9), draft(10));
    refused(world.step(OUTLET, Input::BindKey(old)), Code::GrantInvalid, "another one");
    assert!(matches!(world.step(OUTLET, Input::BindKey(new)), Some(Response::Binding(_))));
}

#[test]
fn the_outlet_repeats_a_last_use_only_of_who_answers_and_only_of_a_question_that_it_passed_on() {
    for case in ["as it should be", "never passed on", "passed on to others", "no answering member"] {
        let mut world = world();
        let (sh, js) = (world.nodes[SH].id.clone(), world.nodes[JS].id.clone());
        let grant = world.granted(1, 1);
        let question = world.asked_on(grant.clone(), 2, FIELDS, &[]);
        assert_eq!(verdict(&mut world, SH, &question), "answered");
        let row = Key::relayed(&question.signed().digest());
        match case {
            "never passed on" => world.damage(OUTLET, &row, None),
            "passed on to others" => world.damage(OUTLET, &row, Some(codec::to_vec(&vec![js]))),
            "no answering member" => {
                let registry = Arc::make_mut(&mut world.nodes[OUTLET].context.registry);
                registry.members.iter_mut().find(|m| m.stated.id == sh).unwrap().stated.role = Role::Auditor;
                let registry = world.nodes[OUTLET].context.registry.clone();
                world.step(OUTLET, Input::Registry(registry));
            }
            _ => {}
        }
        world.pull(OUTLET, &sh, LogName::Status);
        let repeated = usize::from(case == "as it should be");
        assert_eq!(news(&world, OUTLET, GrantNews::UsedUp), repeated, "{case}");
        let told = if repeated == 1 { GrantStatus::UsedUp } else { GrantStatus::Active };
        assert_eq!(status(&world, BANK, &grant), told, "{case}");
    }
}

#[test]
fn a_key_that_its_collector_no_longer_has_vouches_only_for_what_its_log_says_was_issued() {
    let mut world = world();
    let person = Person::new(&mut world, 9, subject());
    let lodged_before = person.signs(&world, &person.words(&world, 1));
    done(lodged(&mut world, &lodged_before));
    let letter = world.granted(2, 9);
    let outlet = world.nodes[OUTLET].id.clone();
    for at in [SH, JS] {
        world.pull(at, &outlet, LogName::Status);
    }
    // Whoever has the old key makes up a letter, a key of somebody, and a grant that this key signs, all dated before.
    let stolen = world.nodes[OUTLET].context.clone();
    let of = stolen.registry.verify_grant(&letter).unwrap().into_inner();
    let by_letter = stolen.sign(world.now, &Grant { id: GrantId([7; 16]), ..of });
    let thief = Person::new(&mut world, 7, subject());
    let by_key = thief.signs(&world, &thief.words(&world, 3));

    let new = SigningKey::from_seed(&Secret::new([77; 32]));
    for at in [SH, OUTLET, BANK] {
        let registry = Arc::make_mut(&mut world.nodes[at].context.registry);
        let entry = registry.members.iter_mut().find(|m| m.stated.id == outlet).unwrap();
        entry.past.push(PastKeys::of(&entry.stated, world.now));
        entry.stated.sign = PublicKey(new.verifying_key().to_bytes());
    }
    world.now = world.now.plus_ms(1_000);
    let known = |at: usize, grant: &Signed<Grant>| {
        let node = &world.nodes[at];
        let verified = node.context.registry.verify_grant(grant).unwrap();
        grant::known(&node.context, &node.disk, &verified, None, world.now)
            .map(|known| known.status(verified.get(), world.now))
    };
    for grant in [&lodged_before, &letter] {
        assert_eq!(known(SH, grant).unwrap(), GrantStatus::Active);
    }
    for grant in [&by_letter, &by_key] {
        let Err(Halt::Refusal(refusal)) = known(SH, grant) else { panic!() };
        assert!(
            refusal.known() == Some(Code::GrantInvalid) && refusal.to_string().contains("another key since")
        );
    }
    // The grantee keeps no copy, and answers nobody.
    assert_eq!(known(BANK, &by_letter).unwrap(), GrantStatus::Active);
    // Nor does the collector lodge it, which would write it into its log.
    let registry = world.nodes[OUTLET].context.registry.clone();
    let verified = registry.verify_grant(&by_key).unwrap();
    world.step(OUTLET, Input::Registry(registry));
    refused(world.step(OUTLET, Input::LodgeGrant(verified)), Code::GrantInvalid, "has ended");
}

#[test]
fn a_key_that_is_withdrawn_ends_its_grants_also_at_a_member_that_was_away() {
    let mut world = world();
    let person = Person::new(&mut world, 9, subject());
    let outlet = world.nodes[OUTLET].id.clone();
    let grants: Vec<_> = (1..=2).map(|n| person.signs(&world, &person.words(&world, n))).collect();
    // One is lodged and the other is not.
    done(lodged(&mut world, &grants[0]));
    let by_letter = world.granted(3, 9);
    assert_eq!(asked(&mut world, JS, &grants[0], 4), "answered");
    world.cut.insert(JS);
    let binding = world.nodes[OUTLET].context.registry.verify(&person.binding).unwrap();
    for _ in 0..2 {
        done(world.step(OUTLET, Input::WithdrawKey(binding.clone())));
    }
    assert_eq!(news(&world, OUTLET, GrantNews::KeyWithdrawn), 1);
    refused(world.step(SH, Input::WithdrawKey(binding)), Code::GrantInvalid, "vouches");
    assert_eq!(asked(&mut world, SH, &grants[1], 5), "grant-revoked");
    assert_eq!(asked(&mut world, JS, &grants[1], 6), "answered");
    world.cut.clear();
    world.pull(JS, &outlet, LogName::Status);
    for (grant, number) in [(&grants[0], 7), (&grants[1], 8)] {
        assert_eq!(asked(&mut world, JS, grant, number), "grant-revoked");
    }
    assert_eq!(asked(&mut world, JS, &by_letter, 9), "answered");
    // Its grantee is told, and a new one is not taken.
    assert_eq!(status(&world, BANK, &grants[0]), GrantStatus::Revoked);
    let late = person.signs(&world, &person.words(&world, 10));
    refused(lodged(&mut world, &late), Code::GrantInvalid, "withdrawn");
}

#[test]
fn a_grant_holds_by_the_right_key_for_the_right_subject_in_the_right_time_only() {
    let mut world = world();
    let person = Person::new(&mut world, 9, subject());
    let registry = world.nodes[SH].context.registry.clone();
    let words = person.words(&world, 1);
    let why = |signed: &Signed<Grant>| -> Result<(), Refusal> { registry.verify_grant(signed).map(drop) };
    let fails = |signed: &Signed<Grant>, text: &str| {
        let refusal = why(signed).unwrap_err();
        assert!(refusal.known() == Some(Code::SignatureInvalid), "{refusal}");
        assert!(refusal.to_string().contains(text), "{refusal}");
    };
    let by_person = |words: &Grant| person.signs(&world, words);
    assert_eq!(why(&by_person(&words)), Ok(()));

    let vouched = registry.verify(&person.binding).unwrap().into_inner();
    let whole = Grant { not_before: vouched.not_before, not_after: vouched.not_after, ..words.clone() };
    assert_eq!(why(&by_person(&whole)), Ok(()));
    let late = Grant { not_after: vouched.not_after.plus_ms(1), ..words.clone() };
    fails(&by_person(&late), "does not vouch");
    let early = Grant { not_before: Timestamp(vouched.not_before.0 - 1), ..words.clone() };
    fails(&by_person(&early), "does not vouch");
    let about_another = Grant { subject: SubjectId::parse("91320505Y0LXM9KP2T").unwrap(), ..words.clone() };
    fails(&by_person(&about_another), "another subject's");
    fails(&by_person(&Grant { binding: None, ..words.clone() }), "names no key");
    fails(
        &by_person(&Grant { collector: world.nodes[BANK].id.clone(), ..words.clone() }),
        "another collector",
    );
    let (other, now) = (SigningKey::from_seed(&Secret::new([5; 32])), world.now);
    fails(&Signed::new(&other, &Signer::subject_of(&person.collector), now, &words), "another key");

    // A binding by another collector; by one that signs as if it were the outlet; and by the subject itself.
    let bank = world.nodes[BANK].context.sign(now, &vouched);
    fails(&by_person(&Grant { binding: Some(bank.clone()), ..words.clone() }), "another collector's");
    let forged =
        Signed::new(&world.nodes[BANK].context.own.signing, person.collector.as_str(), now, &vouched);
    fails(&by_person(&Grant { binding: Some(forged), ..words.clone() }), "names another key");
    let own = Signed::new(&person.key, person.collector.as_str(), now, &vouched);
    fails(&by_person(&Grant { binding: Some(own), ..words.clone() }), "names another key");
    // A grant that is signed by a collector carries no key, and one by a subject is not passed off as a collector's.
    fails(&world.nodes[OUTLET].context.sign(now, &words), "a subject's key");
    fails(&Signed::new(&person.key, person.collector.as_str(), now, &words), "names another key");
    // Every byte of it counts.
    let whole = by_person(&words);
    for place in 0..whole.as_bytes().len() {
        let mut bytes = whole.as_bytes().to_vec();
        bytes[place] ^= 1;
        let parsed = Signed::<Grant>::parse(&bytes);
        assert!(parsed.map_or(true, |changed| why(&changed).is_err()), "byte {place}");
    }

    // A collector vouches for what is a key, for some time and not too long; a member that is none vouches for nothing.
    let draft = |key, not_after| KeyDraft { subject: subject(), key, not_after, paper: Digest::ZERO };
    let key = PublicKey(person.key.verifying_key().to_bytes());
    let days = u64::from(KEY_DAYS_MAX) * DAY;
    for (draft, text) in [
        (draft(PublicKey([2; 32]), now.plus_ms(DAY)), "no Ed25519 key"),
        // Points of small order, with which nobody can sign.
        (draft(PublicKey([0; 32]), now.plus_ms(DAY)), "no Ed25519 key"),
        (draft(PublicKey(core::array::from_fn(|n| u8::from(n == 0))), now.plus_ms(DAY)), "no Ed25519 key"),
        (draft(key, now), "1 to"),
        (draft(key, now.plus_ms(days + 1)), "1 to"),
    ] {
        refused(world.step(OUTLET, Input::BindKey(draft)), Code::GrantInvalid, text);
    }
    let region = draft(key, now.plus_ms(days));
    refused(world.step(SH, Input::BindKey(region)), Code::GrantInvalid, "not registered");
}

#[test]
fn a_key_of_a_member_that_is_no_collector_opens_nothing() {
    let mut world = world();
    let person = Person::new(&mut world, 9, subject());
    let grant = person.signs(&world, &person.words(&world, 1));
    let registry = Arc::make_mut(&mut world.nodes[SH].context.registry);
    let outlet = registry.members.iter_mut().find(|m| m.stated.id == person.collector).unwrap();
    outlet.stated.collector = false;
    let context = world.nodes[SH].context.registry.clone();
    world.step(SH, Input::Registry(context));
    assert_eq!(asked(&mut world, SH, &grant, 2), "grant-collector");
}
