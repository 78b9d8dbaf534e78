//! Histories of the simulated federation, and proof that its checkers can fail.
#![allow(clippy::unwrap_used)] // a test that cannot go on ends with a panic

use std::sync::atomic::{AtomicU64, Ordering};

use conformance::sim::{Check, Config, Figures, Sabotage, Violation, lie::lying, run};

/// Runs the histories of `seeds`, on all cores; the first violation ends the test.
fn hold(seeds: std::ops::Range<u64>, regions: usize) -> Vec<Figures> {
    let next = AtomicU64::new(seeds.start);
    let work = || {
        let mut figures = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return figures;
            }
            match run(Config::new(seed, regions)) {
                Ok(outcome) => figures.push(outcome.figures),
                Err(violation) => panic!("{violation}"),
            }
        }
    };
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let all: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        all.into_iter()
            .flat_map(|t| t.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

#[test]
fn two_regions_with_outlet_and_bank_hold_every_check() {
    let figures = hold(1..41, 2);
    // A history in which nothing happens holds every check; these do not.
    let sum = |of: fn(&Figures) -> u64| figures.iter().map(of).sum::<u64>();
    assert!(sum(|f| f.crashes) > 200, "members go down");
    assert!(sum(|f| f.restores) > 40, "old disks come back");
    assert!(sum(|f| f.lost) > 1_000, "frames are lost");
    assert!(sum(|f| f.opened) > 1_000, "records reach askers");
    assert!(sum(|f| f.repairs) > 30, "repairs are granted");
    assert!(sum(|f| f.events) > 300, "standings change");
}

#[test]
fn five_regions_with_outlet_and_bank_hold_every_check() {
    hold(1..11, 5);
}

#[test]
fn the_same_seed_gives_the_same_history() {
    let first = run(Config::new(7, 3)).unwrap();
    assert_eq!(run(Config::new(7, 3)).unwrap(), first);
    assert_ne!(run(Config::new(8, 3)).unwrap().trace, first.trace);
}

/// The checks that fail first when a mistake is built into the harness.
fn failing(sabotage: Sabotage, seeds: std::ops::Range<u64>) -> Vec<Check> {
    let violation = |seed| run(Config { sabotage: Some(sabotage), ..Config::new(seed, 2) }).err();
    seeds.filter_map(violation).map(|Violation { broken, .. }| broken.check).collect()
}

#[test]
fn an_effect_that_precedes_its_batch_is_seen() {
    let checks = failing(Sabotage::ReleaseBeforeCommit, 1..13);
    assert!(checks.contains(&Check::Durable), "{checks:?}");
}

#[test]
fn an_acknowledgement_that_never_arrives_is_seen() {
    let checks = failing(Sabotage::DropAcknowledgements, 1..7);
    assert!(checks.contains(&Check::Settled), "{checks:?}");
}

#[test]
fn a_log_that_goes_on_from_an_old_copy_is_seen() {
    let checks = failing(Sabotage::SkipCatchUp, 1..7);
    assert!(checks.contains(&Check::Consistent), "{checks:?}");
}

#[test]
fn a_repaired_record_that_answers_again_is_seen() {
    let checks = failing(Sabotage::ForgetStandings, 1..7);
    assert!(checks.iter().any(|c| matches!(c, Check::Disclosure | Check::Settled)), "{checks:?}");
}

#[test]
fn a_member_that_shows_two_histories_is_convicted_by_everybody() {
    for (seeds, regions) in [(1..13, 3), (1..5, 5)] {
        for seed in seeds {
            let figures = lying(Config::new(seed, regions)).unwrap_or_else(|v| panic!("{v}")).figures;
            // The other regions, the outlet and the bank.
            assert_eq!(figures.convicted, regions as u64 + 1, "seed {seed}");
        }
    }
}

#[test]
fn a_lie_that_nobody_speaks_about_is_seen_by_the_checker() {
    let silent = |seed| lying(Config { sabotage: Some(Sabotage::SilentPeers), ..Config::new(seed, 3) }).err();
    let checks: Vec<Check> = (1..7).filter_map(silent).map(|v| v.broken.check).collect();
    assert!(checks.contains(&Check::Evidence), "{checks:?}");
}
