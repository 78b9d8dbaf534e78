//! A ban after false material is carried to every authority, names nobody, survives a lost disk, and ends.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test; what fails here fails the test")]

mod common;
mod world;

use std::time::Duration;

use common::{
    Federation, contains,
    federation::{Cast, FIVE},
    files,
    rows::{Penalty as Row, body, body_of_js, file},
    until,
};
use credit::{
    entry::{Ban, StatusFact},
    id::CaseId,
    repair::FalseMaterial,
    rules::AuthorityKind,
};
use exchange::{member::Input, refusal::Code, wire::Response};
use world::{BANK, JS, OUTLET, Penalty, SH, World, at, subject};

const WAIT: Duration = Duration::from_secs(40);

fn refused(response: Response) -> String {
    match response {
        Response::Refused(refusal) if refusal.known() == Some(Code::CaseDenied) => refusal.to_string(),
        other => panic!("{other:?}"),
    }
}

/// `sh` finds the material of an application false; the index of its entry, and the ban in it.
fn bar(world: &mut World) -> (u64, Ban) {
    world.collect(SH, &Penalty::general("G-1", "2025-06-03"));
    world.apply(SH, "G-1", 1);
    world.step(SH, Input::AcceptRepair { case: CaseId([1; 16]), clerk: None });
    let decided = world.step(
        SH,
        Input::RefuseFalse {
            case: CaseId([1; 16]),
            reason: "履行证明系伪造（示例）".into(),
            found: FalseMaterial { barred_until: None },
            clerk: None,
        },
    );
    let Some(Response::Decided { event: Some(event), .. }) = decided else { panic!("{decided:?}") };
    let found = world.statements(SH).into_iter().find_map(|(_, fact)| match fact {
        StatusFact::NotGranted(said) => said.ban,
        _ => None,
    });
    (event, found.unwrap())
}

/// How often `at` has acknowledged entry `event` of `sh`.
fn acknowledged(world: &mut World, at: usize, event: u64) -> usize {
    let own = world.statements(at).into_iter();
    own.filter(|(_, fact)| matches!(fact, StatusFact::Acknowledged(a) if a.origin.as_str() == "sh" && a.index == event))
        .count()
}

#[test]
fn a_ban_found_at_one_authority_holds_at_another_until_it_ends() {
    let mut world = World::new(at("2026-03-02", 9));
    world.collect_own(JS, &Penalty::general("J-1", "2025-06-03"));
    let (event, ban) = bar(&mut world);
    // Delivered and acknowledged like a decision by every public platform, and told to nobody else.
    world.until(at("2026-03-02", 10));
    for platform in [JS, OUTLET] {
        assert_eq!(acknowledged(&mut world, platform, event), 1);
    }
    assert_eq!(acknowledged(&mut world, BANK, event), 0);

    // `js` refuses at its own counter, and what another counter forwards; the rule and the last day are named.
    for why in [refused(world.apply_to(JS, JS, "J-1", 2)), {
        world.apply_to(SH, JS, "J-1", 3);
        let (taken, _) = world.cases(SH);
        taken.iter().find(|f| f.application == CaseId([3; 16])).unwrap().refused.clone().unwrap()
    }] {
        assert!(
            ["`ndrc-58`", "2029-03-02", "`sh`", "不得再次申请"].iter().all(|part| why.contains(part)),
            "{why}"
        );
    }
    // The entry has the subject in no clear form, and who holds no record of it cannot tell that it is meant.
    assert!(!contains(&crypto::codec::to_vec(&ban), subject().as_str().as_bytes()));

    // The last day counts, the day after is free.
    world.collect_own(JS, &Penalty::general("J-2", "2029-02-20"));
    world.until(at("2029-03-02", 23));
    assert!(refused(world.apply_to(JS, JS, "J-2", 4)).contains("2029-03-02"));
    world.until(at("2029-03-03", 0));
    assert!(matches!(world.apply_to(JS, JS, "J-2", 5), Response::Case(_)));
}

#[test]
fn who_was_away_and_who_comes_back_without_a_disk_hold_the_ban_too_and_acknowledge_it_once() {
    let mut world = World::new(at("2026-03-02", 9));
    world.collect_own(JS, &Penalty::general("J-1", "2025-06-03"));
    // Cut off while it is found: the application is taken, for nobody can know. Then the entry comes.
    world.cut.insert(JS);
    let (event, _) = bar(&mut world);
    assert_eq!(acknowledged(&mut world, JS, event), 0);
    world.cut.clear();
    world.until(at("2026-03-02", 10));
    assert_eq!(acknowledged(&mut world, JS, event), 1);
    assert!(refused(world.apply_to(JS, JS, "J-1", 2)).contains("2029-03-02"));

    // An empty disk, as a platform has that joins later: it learns the ban from its copy of the log. The record's subject
    // stands in no log, so the ban holds for a record as soon as that is handed in again.
    world.lose_disk(JS);
    world.collect_own(JS, &Penalty::general("J-1", "2025-06-03"));
    world.until(at("2026-03-02", 11));
    assert!(refused(world.apply_to(JS, JS, "J-1", 3)).contains("2029-03-02"));
    assert_eq!(acknowledged(&mut world, JS, event), 1, "what was acknowledged before is not again");
    // So it is at the authority itself.
    world.lose_disk(SH);
    world.collect(SH, &Penalty::general("G-2", "2025-06-03"));
    assert!(refused(world.apply(SH, "G-2", 4)).contains("2029-03-02"));
}

#[test]
fn a_ban_bars_what_the_same_makers_orders_govern_and_nothing_else() {
    let mut world = World::new(at("2026-03-02", 9));
    bar(&mut world);
    world.until(at("2026-03-02", 10));
    // Market regulation has an order of its own, which says nothing of bans under another's.
    let samr = Penalty {
        kind: AuthorityKind::SAMR,
        published: Some("2025-12-28"),
        ..Penalty::general("J-1", "2025-12-26")
    };
    world.collect_own(JS, &samr);
    assert!(matches!(world.apply_to(JS, JS, "J-1", 2), Response::Case(_)));
    // A later order of the same maker took the place of the one it was found under.
    world.until(at("2026-04-20", 9));
    world.collect_own(JS, &Penalty::general("J-2", "2026-04-10"));
    assert!(refused(world.apply_to(JS, JS, "J-2", 3)).contains("2029-03-02"));
}

/// With real nodes: delivered, acknowledged, refused there, also after a kill; another subject is free.
#[test]
fn nodes_carry_a_ban_to_each_other_and_keep_it_when_killed() {
    let cast: Vec<Cast> = FIVE[..3].to_vec();
    let federation = Federation::start(&cast);
    for member in ["sh", "js"] {
        federation.source(member, "office");
    }
    // The same company is fined by bodies of two members, another one by that of `js`.
    let at_sh = Row::new(1);
    let at_js = Row { subject: at_sh.subject.clone(), ..Row::new(2) };
    let other = Row::new(3);
    let rows = federation.file("sh.csv", file(std::slice::from_ref(&at_sh)));
    federation.submit("sh", "office", &rows).done();
    let rows = file(&[at_js.clone(), other.clone()]).replace(&body(), &body_of_js());
    let rows = federation.file("js.csv", rows);
    federation.submit("js", "office", &rows).done();

    let apply = |counter: &str, authority: &str, row: &Row| {
        let about = ["--item", "CF", "--document", &row.document, "--subject", &row.subject];
        federation.at(counter, &[&["repair", "apply", "--authority", authority], &about[..]].concat())
    };
    let case = apply("sh", "sh", &at_sh).done().json()["application"].as_str().unwrap().to_owned();
    federation.at("sh", &["repair", "accept", &case]).done();
    let refuse = ["repair", "decide", &case, "--refuse", "履行证明系伪造（示例）", "--false-material"];
    let decided =
        federation.at("sh", &[&refuse[..], &["--barred-until", "2999-12-31"]].concat()).done().json();
    let event = decided["event"].to_string();
    until("`js` and `xyd` have acknowledged the ban", WAIT, || {
        let certificate = federation.at("sh", &["repair", "certificate", &event]).done().json();
        certificate["missing"].as_array().unwrap().is_empty().then_some(())
    });
    let barred = ["case.denied", "`ndrc-36`", "2999-12-31", "不得再次申请"];
    apply("js", "js", &at_js).fails(1, &barred);
    federation.kill("js");
    federation.spawn("js");
    federation.ready("js");
    apply("js", "js", &at_js).fails(1, &barred);
    apply("js", "js", &other).done();

    for member in ["sh", "js"] {
        let log = federation.path(&format!("log-{member}"));
        let export = ["audit", "export", "--member", member, "--log", "status", "--out"];
        federation.unlocked(&[&export[..], &[log.to_str().unwrap()]].concat(), member).done();
        for (file, bytes) in files(&log) {
            assert!(!contains(&bytes, at_sh.subject.as_bytes()), "{}", file.display());
        }
        federation.stop(member);
        federation.unlocked(&["node", "fsck"], member).done();
    }
}
