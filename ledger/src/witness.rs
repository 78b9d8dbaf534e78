//! How many witnesses make a checkpoint believable, and whether a checkpoint has them.
//!
//! Two quorums of k out of n share at least 2k − n witnesses; a split view needs all of those to lie. With the quorum
//! here that takes more than n − k liars, and n − k may be silent without stopping the log.

use core::fmt;

use crypto::sign::SigningKey;

use crate::{
    checkpoint::SignedCheckpoint,
    note,
    note::{NoteError, NoteKey},
};

/// Most witnesses of one log: verifiers need take only 16 signatures, and one is the log's own.
pub const COMMITTEE_MAX: usize = 15;

/// Cosignatures needed of a committee of `n`: 1 + ⌊2n/3⌋, and none of an empty one.
pub const fn quorum(n: usize) -> usize {
    if n == 0 { 0 } else { 1 + 2 * n / 3 }
}

/// A verified cosignature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosigned {
    /// Name of the witness.
    pub name: String,
    /// When it signed, in seconds since 1970.
    pub time_s: u64,
}

/// Why a checkpoint does not count as witnessed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WitnessError {
    /// A line under a known witness's name and id does not verify, or the note is malformed.
    Note(NoteError),
    /// Fewer good cosignatures than demanded.
    TooFew {
        /// Good cosignatures by distinct keys.
        found: usize,
        /// Cosignatures demanded.
        needed: usize,
    },
}

impl fmt::Display for WitnessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Note(error) => error.fmt(f),
            Self::TooFew { found, needed } => write!(f, "{found} of {needed} cosignatures needed"),
        }
    }
}

impl std::error::Error for WitnessError {}

/// Cosignature line of a witness on `checkpoint` at `time_s`, seconds since 1970.
///
/// The caller has verified the log's signature and consistency with what it cosigned before, and makes the new state
/// durable before the line leaves.
pub fn cosign(checkpoint: &SignedCheckpoint, name: &str, key: &SigningKey, time_s: u64) -> String {
    note::cosign(&checkpoint.claimed().text(), name, key, time_s)
}

/// Checks that `checkpoint` carries cosignatures by at least `needed` of `keys`, and returns the good ones in the
/// order of `keys`. The log's own signature is checked elsewhere.
///
/// Invariant: a public key that stands twice in `keys` counts once.
/// Errors: `Note` when any line of a known key fails, `TooFew`.
pub fn verify_quorum(
    checkpoint: &SignedCheckpoint,
    keys: &[NoteKey],
    needed: usize,
) -> Result<Vec<Cosigned>, WitnessError> {
    let note = checkpoint.note().map_err(WitnessError::Note)?;
    let mut good: Vec<Cosigned> = Vec::new();
    let mut counted = std::collections::BTreeSet::new();
    for key in keys {
        match note.verify_cosignature(key) {
            Ok(time_s) => {
                if counted.insert(key.key.to_bytes()) {
                    good.push(Cosigned { name: key.name.clone(), time_s });
                }
            }
            Err(NoteError::Unsigned { .. }) => {}
            Err(error) => return Err(WitnessError::Note(error)),
        }
    }
    if good.len() < needed {
        return Err(WitnessError::TooFew { found: good.len(), needed });
    }
    Ok(good)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{checkpoint::Checkpoint, tree::TreeSize};
    use crypto::{Digest, secret::Secret};

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(&Secret::new([seed; 32]))
    }

    #[test]
    fn the_quorum_is_the_table_of_the_design() {
        for (n, k) in
            [(0, 0), (1, 1), (2, 2), (3, 3), (4, 3), (6, 5), (7, 5), (9, 7), (10, 7), (13, 9), (15, 11)]
        {
            assert_eq!(quorum(n), k, "committee of {n}");
        }
        // Two quorums overlap in more than the n - k that may lie.
        assert!((1..=COMMITTEE_MAX).all(|n| 2 * quorum(n) - n > n - quorum(n)));
    }

    #[test]
    fn counts_each_key_once_and_refuses_a_forged_line() {
        let checkpoint = Checkpoint { origin: "o".into(), size: TreeSize(0), root: Digest::of(b"") };
        let mut signed = checkpoint.sign(&key(1));
        let keys: Vec<NoteKey> = (2..6u8)
            .map(|seed| NoteKey::new(&format!("w{seed}"), key(seed).verifying_key()).unwrap())
            .collect();
        for seed in 2..5u8 {
            let line = cosign(&signed, &format!("w{seed}"), &key(seed), 100 + u64::from(seed));
            signed = signed.with_cosignature(&line, &keys[usize::from(seed) - 2]).unwrap();
        }
        let good = verify_quorum(&signed, &keys, quorum(4)).unwrap();
        assert_eq!(good.last(), Some(&Cosigned { name: "w4".into(), time_s: 104 }));
        assert_eq!(verify_quorum(&signed, &keys, 4), Err(WitnessError::TooFew { found: 3, needed: 4 }));
        let doubled = [keys[0].clone(), keys[0].clone()];
        assert_eq!(verify_quorum(&signed, &doubled, 2), Err(WitnessError::TooFew { found: 1, needed: 2 }));

        let forged = note::cosign("other\n", "w5", &key(5), 9);
        let forged = SignedCheckpoint::parse(&format!("{}{forged}", signed.as_str())).unwrap();
        assert!(matches!(
            verify_quorum(&forged, &keys, 3),
            Err(WitnessError::Note(NoteError::BadSignature { .. }))
        ));
    }
}
