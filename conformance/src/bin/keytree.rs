//! Prints what a key tree costs after many scattered erasures: seeds, bytes, and the time of each part of a rewrite.
//!
//! `cargo run --release -p conformance --bin keytree`

use std::{
    collections::BTreeSet,
    io::Write,
    time::{Duration, Instant},
};

use crypto::{
    keytree::{KeyTree, Slot},
    label::Label,
    pseudonym::keyed,
    secret::Secret,
};

/// Erasures, and over how many slots they scatter: the last two are the largest collection foreseen, and the worst case.
const CASES: [(usize, u64); 5] =
    [(1, 1 << 40), (1_000, 10_000_000), (100_000, 10_000_000), (100_000, 200_000_000), (100_000, 1 << 40)];

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let begun = Instant::now();
    (work(), begun.elapsed())
}

/// The same slots on every run.
fn scattered(count: usize, range: u64) -> BTreeSet<u64> {
    let mut slots = BTreeSet::new();
    for n in 0u64.. {
        let random = keyed(&Secret::new([9; 32]), Label::MemberSeed, &[&n.to_be_bytes()]);
        slots.insert(random.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte)) % range);
        if slots.len() == count {
            break;
        }
    }
    slots
}

fn main() -> std::io::Result<()> {
    let mut out = std::io::stdout();
    for (count, range) in CASES {
        let slots = scattered(count, range);
        let mut tree = KeyTree::new(Secret::new([3; 32]));
        let (punctured, puncture) = timed(|| slots.iter().filter(|slot| tree.puncture(Slot(**slot))).count());
        let (plain, encode) = timed(|| tree.to_plain());
        let (_, digest) = timed(|| tree.digest());
        let (read, decode) = timed(|| KeyTree::from_plain(&plain));
        writeln!(
            out,
            "{punctured} of {range} slots: {} seeds, {} bytes; puncture {puncture:?}, encode {encode:?}, digest {digest:?}, read {decode:?}, {}",
            tree.seeds(),
            plain.len(),
            if read.is_some_and(|read| read.digest() == tree.digest()) { "same" } else { "DIFFERENT" },
        )?;
    }
    Ok(())
}
