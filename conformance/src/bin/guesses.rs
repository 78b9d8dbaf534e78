//! Prints how long a region takes to refuse a guess about somebody who is on record, and about somebody who is not: medians,
//! means, and by how many standard errors they differ. Nothing is judged by it; a busy machine is no proof.
//!
//! `cargo run --release -p conformance --bin guesses`

use std::io::Write;

use conformance::guesses::{KNOWN, Rests, UNKNOWN, stage};

/// Guesses of each kind.
const ROUNDS: u64 = 4_000;

fn main() -> std::io::Result<()> {
    let kinds = [
        (KNOWN, Rests::OnNothing),
        (UNKNOWN, Rests::OnNothing),
        (KNOWN, Rests::OnAnothersGrant),
        (UNKNOWN, Rests::OnAnothersGrant),
    ];
    let mut out = std::io::stdout().lock();
    let told: Vec<(f64, f64, f64)> = stage().timed(&kinds, ROUNDS).into_iter().map(figures).collect();
    for ((about, rests), (median, mean, error)) in kinds.iter().zip(&told) {
        let who = if *about == KNOWN { "on record" } else { "not on record" };
        writeln!(out, "{rests:?}, {who}: median {median:.1} µs, mean {mean:.1} ± {:.2} µs", error.sqrt())?;
    }
    for pair in [0, 2] {
        let ((_, a, ea), (_, b, eb)) = (told[pair], told[pair + 1]);
        let errors = (a - b) / (ea + eb).sqrt();
        writeln!(out, "{:?}: {:+.2} µs apart, {errors:+.1} standard errors", kinds[pair].1, a - b)?;
    }
    Ok(())
}

/// Median, mean, and the square of the mean's standard error, without the slowest tenth: that is the machine's.
fn figures(mut times: Vec<f64>) -> (f64, f64, f64) {
    times.sort_by(f64::total_cmp);
    let kept = &times[..times.len() * 9 / 10];
    let mean = kept.iter().sum::<f64>() / kept.len() as f64;
    let variance = kept.iter().map(|t| (t - mean).powi(2)).sum::<f64>() / kept.len() as f64;
    (kept[kept.len() / 2], mean, variance / kept.len() as f64)
}
