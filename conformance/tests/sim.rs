//! Histories of the simulated federation, and proof that its checkers can fail.
#![allow(clippy::unwrap_used)] // a test that cannot go on ends with a panic

use std::{
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
};

use conformance::sim::{Check, Config, Figures, lie::lying, mutant::Mutant, run};

/// Works through the numbers on all cores; the first panic ends the test.
fn in_parallel<T: Send>(numbers: Range<u64>, work: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let next = AtomicU64::new(numbers.start);
    let some = || {
        let mut done = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= numbers.end {
                return done;
            }
            done.push(work(number));
        }
    };
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let all: Vec<_> = (0..threads).map(|_| scope.spawn(some)).collect();
        all.into_iter()
            .flat_map(|t| t.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

/// Runs the histories of `seeds`.
fn hold(seeds: Range<u64>, regions: usize) -> Vec<Figures> {
    in_parallel(seeds, |seed| match run(Config::new(seed, regions)) {
        Ok(outcome) => outcome.figures,
        Err(violation) => panic!("{violation}"),
    })
}

#[test]
fn two_regions_with_outlet_and_bank_hold_every_check() {
    let figures = hold(1..41, 2);
    // A history in which nothing happens holds every check; these do not.
    let sum = |of: fn(&Figures) -> u64| figures.iter().map(of).sum::<u64>();
    assert!(sum(|f| f.crashes) > 200, "members go down");
    assert!(sum(|f| f.restores) > 40, "old disks come back");
    assert!(sum(|f| f.registries) > 20, "registries follow each other");
    assert!(sum(|f| f.lost) > 1_000, "frames are lost");
    assert!(sum(|f| f.opened) > 1_000, "records reach askers");
    assert!(sum(|f| f.repairs) > 30, "repairs are granted");
    assert!(sum(|f| f.events) > 300, "standings change");
    assert!(sum(|f| f.corrections) > 0, "what was told is corrected");
    assert!(sum(|f| f.reconciled) > 1_000, "members reconcile");
    assert!(sum(|f| f.damaged) > 50, "standings are damaged");
    assert!(sum(|f| f.mended) > 50, "they are mended");
    assert!(sum(|f| f.overdue) > 10, "recipients are late");
    assert!(sum(|f| f.pushed) > 20, "decisions are pushed");
    assert!(sum(|f| f.taken_down) > 10, "what has ended is taken down");
    assert!(sum(|f| f.bans) > 2, "false material bars subjects");
    assert!(sum(|f| f.withdrawn) > 5, "subjects lose their keys");
    assert!(sum(|f| f.own_grants) > 4, "subjects' own grants open records");
    assert!(sum(|f| f.spread) > 0, "what one has heard reaches all");
}

#[test]
fn smaller_and_larger_federations_hold_every_check() {
    hold(1..9, 1);
    hold(1..9, 5);
    hold(1..2, 12);
}

#[test]
fn the_same_seed_gives_the_same_history() {
    let first = run(Config::new(7, 3)).unwrap();
    assert_eq!(run(Config::new(7, 3)).unwrap(), first);
    assert_ne!(run(Config::new(8, 3)).unwrap().trace, first.trace);
}

/// Each mutant with the checks that may find it first; nothing else may.
#[test]
fn every_planted_mistake_is_found() {
    use Check::{
        Barred, Bound, Consistent, Deadline, Disclosure, Durable, Evidence, Fault, Recognised, Reconciled,
        Settled, Witness,
    };
    let expected = |mutant| match mutant {
        // A member may meet its own unwritten log before the check does: see the next test.
        Mutant::AnswerBeforeCommit => vec![Durable, Fault],
        Mutant::SkipCatchUp => vec![Consistent],
        Mutant::CosignWithoutPersisting => vec![Witness],
        Mutant::SkipFrozenCheck | Mutant::SilentPeers => vec![Evidence],
        Mutant::ForgetRevocations | Mutant::ForgetKeys => vec![Disclosure],
        Mutant::ForgetBans => vec![Barred],
        // What is not kept is missing in the end, if nobody applies before.
        Mutant::LoseBans => vec![Barred, Settled],
        Mutant::ForgetTwins | Mutant::ForgetRefusals => vec![Recognised],
        Mutant::ForgetClerks => vec![Settled],
        // What one has heard stays with it; or damaged standings are mended by nobody: see the last but one test.
        Mutant::NeverCompare => vec![Bound, Settled, Reconciled],
        // A grant is used too often, or its last use is not said.
        Mutant::ForgetUses => vec![Disclosure, Settled],
        Mutant::EmptyReads => vec![Fault],
        // Nobody comes to rest with standings that no log says; or what is believed mends itself by chance, unnoted.
        Mutant::SkipBuckets | Mutant::BelievePeers => vec![Disclosure, Settled, Reconciled, Bound],
        Mutant::NeverReport | Mutant::ReportAgain => vec![Deadline],
        Mutant::ForgetTombstones | Mutant::ForgetStandings | Mutant::AcknowledgeOnly => {
            vec![Disclosure, Settled]
        }
        Mutant::NoDuplicateCheck
        | Mutant::DropAcknowledgements
        | Mutant::NeverRetry
        | Mutant::PlatformsOnly
        | Mutant::KeepErasedKeys => vec![Settled],
    };
    let found = in_parallel(0..Mutant::ALL.len() as u64, |at| {
        let mutant = Mutant::ALL[at as usize];
        (mutant, mutant.hunt())
    });
    for (mutant, found) in found {
        let violation = found.unwrap_or_else(|| panic!("{mutant:?} is not found"));
        assert!(expected(mutant).contains(&violation.broken.check), "{mutant:?}: {violation}");
    }
}

#[test]
fn an_effect_that_precedes_its_batch_is_seen() {
    let found = (1..13).filter_map(|seed| Mutant::AnswerBeforeCommit.run(seed).err());
    let checks: Vec<Check> = found.map(|violation| violation.broken.check).collect();
    assert!(checks.contains(&Check::Durable), "{checks:?}");
}

#[test]
fn an_end_that_stays_with_the_one_who_has_heard_of_it_is_seen() {
    let found = (1..41).filter_map(|seed| Mutant::NeverCompare.run(seed).err());
    assert!(found.into_iter().any(|violation| violation.broken.check == Check::Bound));
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
