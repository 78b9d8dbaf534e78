//! The check of a member's store: silent about what simulated histories leave, and not about a flipped bit.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test; what fails here fails the test")]

use std::collections::BTreeMap;

use conformance::sim::{Config, federation::Node, run_to_members};
use exchange::fsck::{Checked, Finding, Tools, Wrong, fsck};
use ledger::{
    log,
    store::{Space, View, memory::MemoryStore},
    tree::TreeSize,
};

fn check(node: &Node, view: &dyn View) -> (Checked, Vec<Finding>) {
    let scratch = MemoryStore::default();
    let mut findings = Vec::new();
    let tools = Tools {
        key: &|slot| node.tree.key(slot),
        scratch: &scratch,
        progress: &mut |_, _, _| {},
        found: &mut |finding| findings.push(finding),
    };
    (fsck(&node.context, view, tools).unwrap(), findings)
}

#[test]
fn what_histories_leave_is_whole() {
    let mut sum = Checked::default();
    for seed in 1..=12 {
        let (_, nodes) = run_to_members(Config::new(seed, 2 + seed as usize % 3)).unwrap();
        for node in &nodes {
            let (checked, findings) = check(node, &node.disk);
            assert!(findings.is_empty(), "seed {seed}, `{}`:\n{}", node.id, lines(&findings));
            sum.entries += checked.entries;
            sum.rows += checked.rows;
            sum.payloads += checked.payloads;
        }
    }
    println!("{sum:?}");
    assert!(sum.entries > 1_000 && sum.rows > 1_000 && sum.payloads > 100);
}

const STANDING: u8 = 5;
const GRANT_LIFE: u8 = 12;
const USED_UP: u8 = 30;

/// Tables in which every value follows from an entry or has a second source: a flipped bit of it is found.
const FOUND: [(u8, &str); 12] = [
    (1, "Record"),
    (4, "Index"),
    (STANDING, "Standing"),
    (11, "GrantUse"),
    (GRANT_LIFE, "GrantLife"),
    (20, "Grant"),
    (USED_UP, "UsedUp"),
    (13, "Recipient"),
    (10, "Link"),
    (19, "Handled"),
    (22, "Erased"),
    (23, "Registry"),
];

#[test]
fn a_flipped_bit_of_anything_stored_is_found() {
    // Of each space and table: flips, and those that went unseen.
    let mut flips: BTreeMap<(Space, u8), (u64, u64)> = BTreeMap::new();
    for (seed, regions) in [(2, 2), (4, 4), (9, 3)] {
        let (_, nodes) = run_to_members(Config::new(seed, regions)).unwrap();
        for node in &nodes {
            let image = node.disk.image();
            let mut seen: BTreeMap<(Space, u8), u64> = BTreeMap::new();
            for (space, key, value) in image.iter() {
                let table = if space == Space::Row { key[0] } else { 0 };
                // An asker keeps no copy of other members' logs: of what was pushed to it there is no whole second source,
                // and it answers nobody.
                if [STANDING, GRANT_LIFE, USED_UP].contains(&table) && !node.role.mirrors_status() {
                    continue;
                }
                // Some of each kind, in places that move along.
                let nth = seen.entry((space, table)).or_default();
                *nth += 1;
                if value.is_empty() || (*nth > 3 && !nth.is_multiple_of(41)) {
                    continue;
                }
                let at = (*nth as usize * 29 + key.len()) % value.len();
                let mut flipped = value.to_vec();
                flipped[at] ^= 1 << (*nth % 8);
                let mut damaged = node.disk.image();
                damaged.set(space, key, Some(flipped));
                let (_, findings) = check(node, &MemoryStore::restore(damaged));
                let entry = flips.entry((space, table)).or_default();
                entry.0 += 1;
                entry.1 += u64::from(findings.is_empty());
            }
        }
    }
    for ((space, table), (flipped, unseen)) in &flips {
        println!("{space:?} {table}: {flipped} flips, {unseen} unseen");
        let must = *space != Space::Row || FOUND.iter().any(|(tag, _)| tag == table);
        assert!(!must || *unseen == 0, "{space:?}, table {table}: {unseen} of {flipped} flips unseen");
    }
    for (tag, name) in FOUND {
        assert!(flips.contains_key(&(Space::Row, tag)), "no history has a row of {name}");
    }
    for space in Space::ALL {
        assert!(flips.keys().any(|(s, _)| *s == space), "{space:?}");
    }
}

#[test]
fn what_is_taken_away_is_missed_and_a_kept_key_is_named() {
    let (_, nodes) = run_to_members(Config::new(5, 4)).unwrap();
    let mut wrongs: BTreeMap<Wrong, u64> = BTreeMap::new();
    for node in &nodes {
        let image = node.disk.image();
        for (space, key, _) in image.iter().step_by(5) {
            let unprojected = space == Space::Row && !FOUND.iter().any(|(tag, _)| *tag == key[0]);
            let mut damaged = node.disk.image();
            damaged.set(space, key, None);
            let (_, findings) = check(node, &MemoryStore::restore(damaged));
            // A log without entries and without a checkpoint is one that was never sealed.
            let empty = space == Space::Head
                && log::size(&node.disk, core::str::from_utf8(key).unwrap()).unwrap() == TreeSize(0);
            // An older version's sealed record may be one that a mirror could not give back.
            let excused = unprojected || empty || space == Space::Payload;
            assert!(excused || !findings.is_empty(), "{space:?} {key:?}");
            findings.iter().for_each(|f| *wrongs.entry(f.wrong).or_default() += 1);
        }
        let whole = check(node, &node.disk).0;
        let scratch = MemoryStore::default();
        let (mut kept, mut missing) = (0, 0);
        let tools = Tools {
            // Every key swapped: what is destroyed is there, what is there is destroyed.
            key: &|slot| match node.tree.key(slot) {
                Some(_) => None,
                None => crypto::keytree::KeyTree::new(crypto::secret::Secret::new([1; 32])).key(slot),
            },
            scratch: &scratch,
            progress: &mut |_, _, _| {},
            found: &mut |finding| match finding.wrong {
                Wrong::KeyKept => kept += 1,
                Wrong::KeyMissing => missing += 1,
                _ => {}
            },
        };
        fsck(&node.context, &node.disk, tools).unwrap();
        assert_eq!(missing, whole.payloads);
        assert_eq!(kept, exchange::read::erased_slots(&node.disk).unwrap().len());
    }
    println!("{wrongs:?}");
    for wrong in [Wrong::LogBroken, Wrong::RowMissing, Wrong::PayloadMissing, Wrong::RowUnexplained] {
        assert!(wrongs.contains_key(&wrong), "{wrong:?} never happened");
    }
}

fn lines(findings: &[Finding]) -> String {
    findings.iter().map(|f| format!("  {f}\n")).collect()
}
