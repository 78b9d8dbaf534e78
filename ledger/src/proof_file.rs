//! A proof as a file (C2SP tlog-proof): that an entry is in a log, with the log's checkpoint and its cosignatures.
//!
//! ```text
//! c2sp.org/tlog-proof@v1
//! [extra <base64>]            not authenticated
//! index <n>
//! <base64 of a hash> …        the inclusion path, the leaf's sibling first
//!                             (an empty line)
//! <the checkpoint, verbatim>
//! ```
//!
//! The file holds no entry: who has the proof and the entry verifies both against a [`Policy`], offline. Narrower than the
//! specification in two points: a checkpoint with extension lines is refused, as everywhere here, and so is `extra`
//! without data. Source: C2SP tlog-proof (2026-07).

use core::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use crypto::Digest;

use crate::{
    checkpoint::{SignedCheckpoint, decimal},
    note::{NOTE_BYTES_MAX, NoteError},
    policy::{Believed, Disbelief, Policy},
    proof::verify_inclusion,
    tile::ENTRY_BYTES_MAX,
    tree::LeafIndex,
};

/// First line of the file.
pub const HEADER: &str = "c2sp.org/tlog-proof@v1\n";
/// Longest `extra` data in bytes: as much as an entry, which is what it may stand for.
pub const EXTRA_BYTES_MAX: usize = ENTRY_BYTES_MAX;
/// Most hashes of an inclusion path: those of a log of 2^63 entries, the largest that tlog-witness knows.
pub const PATH_HASHES_MAX: usize = 63;
/// Longest file read, in bytes: the longest note, the longest `extra` in base64, and 8 KiB for the rest.
pub const PROOF_BYTES_MAX: usize = NOTE_BYTES_MAX + 4 * EXTRA_BYTES_MAX.div_ceil(3) + 8 * 1024;

/// Why a file is no proof of this form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProofFileError {
    /// Longer than [`PROOF_BYTES_MAX`].
    TooLong,
    /// A line before the checkpoint is not as it should be.
    Line {
        /// Line of the file, from 1.
        line: usize,
        /// What is wrong there.
        why: &'static str,
    },
    /// The checkpoint is none.
    Checkpoint(NoteError),
}

impl fmt::Display for ProofFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => f.write_str("the proof is too long"),
            Self::Line { line, why } => write!(f, "line {line}: {why}"),
            Self::Checkpoint(error) => write!(f, "the checkpoint in the proof: {error}"),
        }
    }
}

impl std::error::Error for ProofFileError {}

/// A proof in the right form; nothing in it is believed before [`ProofFile::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofFile {
    /// Data for the application. Not authenticated by anything.
    pub extra: Option<Vec<u8>>,
    /// Place of the entry in its log.
    pub index: LeafIndex,
    /// Inclusion path, the leaf's sibling first; at most [`PATH_HASHES_MAX`].
    pub path: Vec<Digest>,
    /// The checkpoint the path leads to.
    pub checkpoint: SignedCheckpoint,
}

impl ProofFile {
    /// Reads the one form that [`fmt::Display`] writes.
    ///
    /// Errors: every [`ProofFileError`].
    pub fn parse(file: &str) -> Result<Self, ProofFileError> {
        if file.len() > PROOF_BYTES_MAX {
            return Err(ProofFileError::TooLong);
        }
        let fail = |line, why| ProofFileError::Line { line, why };
        let body = file.strip_prefix(HEADER).ok_or(fail(1, "not `c2sp.org/tlog-proof@v1`"))?;
        let (head, note) = body.split_once("\n\n").ok_or(fail(1, "no empty line before a checkpoint"))?;
        let mut lines = (2..).zip(head.split('\n')).peekable();
        let mut extra = None;
        if let Some((line, data)) =
            lines.peek().and_then(|(n, text)| Some((*n, text.strip_prefix("extra ")?)))
        {
            let data = STANDARD.decode(data).ok().filter(|d| !d.is_empty() && d.len() <= EXTRA_BYTES_MAX);
            extra = Some(data.ok_or(fail(line, "`extra` is not base64 of 1 to 65,535 bytes"))?);
            lines.next();
        }
        let (line, text) = lines.next().ok_or(fail(2, "no index"))?;
        let index =
            text.strip_prefix("index ").and_then(decimal).ok_or(fail(line, "not `index <number>`"))?;
        let mut path = Vec::new();
        for (line, text) in lines {
            if path.len() == PATH_HASHES_MAX {
                return Err(fail(line, "more than 63 hashes"));
            }
            let hash = STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
            path.push(Digest(hash.ok_or(fail(line, "not a hash in base64"))?));
        }
        let checkpoint = SignedCheckpoint::parse(note).map_err(ProofFileError::Checkpoint)?;
        Ok(Self { extra, index: LeafIndex(index), path, checkpoint })
    }

    /// Checks that `leaf` (a leaf hash) is in a log that `policy` believes.
    ///
    /// Errors: `Inclusion`, and those of [`Policy::verify`].
    pub fn verify(&self, leaf: &Digest, policy: &Policy) -> Result<Believed, Disbelief> {
        let believed = policy.verify(&self.checkpoint)?;
        let (size, root) = (believed.checkpoint.size, &believed.checkpoint.root);
        verify_inclusion(self.index, size, leaf, root, &self.path).map_err(Disbelief::Inclusion)?;
        Ok(believed)
    }
}

impl fmt::Display for ProofFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HEADER)?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", STANDARD.encode(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        for hash in &self.path {
            writeln!(f, "{}", STANDARD.encode(hash.0))?;
        }
        write!(f, "\n{}", self.checkpoint.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{checkpoint::Checkpoint, note, note::NoteKey, policy, proof::ProofError, tree::TreeSize};
    use crypto::{merkle, secret::Secret, sign::SigningKey};
    use proptest::prelude::*;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(&Secret::new([seed; 32]))
    }

    fn leaves(n: u64) -> Vec<Digest> {
        (0..n).map(|i| merkle::leaf_hash(&i.to_be_bytes())).collect()
    }

    /// A proof of leaf `index` of `size`, signed by key 1 and cosigned by witnesses 2 and 3.
    fn proof(index: u64, size: u64, extra: Option<Vec<u8>>) -> ProofFile {
        let leaves = leaves(size);
        let checkpoint = Checkpoint { origin: "o".into(), size: TreeSize(size), root: merkle::root(&leaves) };
        let mut note = checkpoint.sign(&key(1)).as_str().to_owned();
        for seed in [2, 3u8] {
            note += &note::cosign(&checkpoint.text(), &format!("w{seed}"), &key(seed), 9);
        }
        let checkpoint = SignedCheckpoint::parse(&note).unwrap();
        let path = merkle::path(&leaves, index as usize);
        ProofFile { extra, index: LeafIndex(index), path, checkpoint }
    }

    fn policy(needed: usize) -> Policy {
        let named = |seed: u8, name: &str| NoteKey::new(name, key(seed).verifying_key()).unwrap();
        let witnesses = [(vec![named(2, "w2")], String::new()), (vec![named(3, "w3")], String::new())];
        Policy::parse(policy::one_log((&[named(1, "o")], ""), &witnesses, needed).as_bytes()).unwrap()
    }

    #[test]
    fn the_file_has_the_lines_of_the_specification() {
        let proof = proof(2, 3, Some(b"age".to_vec()));
        let text = proof.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..3], ["c2sp.org/tlog-proof@v1", "extra YWdl", "index 2"]);
        assert_eq!((lines[4], lines[5], lines[6]), ("", "o", "3"));
        assert!(text.ends_with(proof.checkpoint.as_str()));
        // The entry is the only one of its log: no path.
        let alone = self::proof(0, 1, None);
        assert!(alone.to_string().starts_with("c2sp.org/tlog-proof@v1\nindex 0\n\no\n1\n"));
        assert!(alone.verify(&leaves(1)[0], &policy(2)).is_ok());
    }

    #[test]
    fn refuses_every_single_changed_byte_and_every_truncation() {
        let good = proof(5, 13, None);
        let (text, leaf, policy) = (good.to_string(), leaves(13)[5], policy(2));
        let judge = |bytes: &[u8]| {
            let file = core::str::from_utf8(bytes).ok()?;
            ProofFile::parse(file).ok()?.verify(&leaf, &policy).ok()
        };
        assert_eq!(judge(text.as_bytes()).unwrap().cosigned.len(), 2);
        for at in 0..text.len() {
            for bit in 0..8 {
                let mut bytes = text.as_bytes().to_vec();
                bytes[at] ^= 1 << bit;
                assert!(judge(&bytes).is_none(), "bit {bit} of byte {at}");
            }
            assert!(judge(&text.as_bytes()[..at]).is_none(), "cut at {at}");
        }
    }

    #[test]
    fn another_leaf_place_or_policy_is_refused() {
        let good = proof(5, 13, None);
        let leaves = leaves(13);
        let inclusion = Disbelief::Inclusion(ProofError::WrongRoot);
        assert_eq!(good.verify(&leaves[4], &policy(0)).unwrap_err(), inclusion);
        let moved = ProofFile { index: LeafIndex(4), ..good.clone() };
        assert_eq!(moved.verify(&leaves[5], &policy(0)).unwrap_err(), inclusion);
        let outside = ProofFile { index: LeafIndex(13), ..good.clone() };
        let range = Disbelief::Inclusion(ProofError::IndexOutOfRange);
        assert_eq!(outside.verify(&leaves[5], &policy(0)).unwrap_err(), range);
        let other = NoteKey::new("p", key(1).verifying_key()).unwrap();
        let other = Policy::parse(policy::one_log((&[other], ""), &[], 0).as_bytes()).unwrap();
        let unknown = Disbelief::UnknownLog { origin: "o".into() };
        assert_eq!(good.verify(&leaves[5], &other).unwrap_err(), unknown);
    }

    #[test]
    fn other_forms_of_the_same_proof_are_refused() {
        let good = proof(5, 13, Some(vec![7; 4])).to_string();
        assert!(ProofFile::parse(&good).is_ok());
        for (from, to) in [
            ("@v1\n", "@v2\n"),
            ("@v1\n", "@v1\r\n"),
            ("@v1\n", "@v1\n\n"),
            ("extra ", "Extra "),
            ("extra ", "extra  "),
            ("extra BwcHBw==", "extra BwcHBw"),
            ("extra BwcHBw==", "extra BwcHBx=="),
            ("extra BwcHBw==", "extra "),
            ("extra BwcHBw==", "extra BwcHBw==\nextra BwcHBw=="),
            ("index 5", "index 05"),
            ("index 5", "index +5"),
            ("index 5", "index 18446744073709551616"),
            ("index 5", "index"),
            ("index 5\n", ""),
            ("\n\no\n", "\no\n"),
            ("\n\no\n", "\n\n\no\n"),
        ] {
            let bad = good.replacen(from, to, 1);
            assert!(bad != good && ProofFile::parse(&bad).is_err(), "{from:?} to {to:?}");
        }
        let hash = format!("{}\n", STANDARD.encode([1; 32]));
        let long = good.replacen("index 5\n", &format!("index 5\n{}", hash.repeat(60)), 1);
        assert_eq!(
            ProofFile::parse(&long),
            Err(ProofFileError::Line { line: 67, why: "more than 63 hashes" })
        );
        let extra = STANDARD.encode(vec![0; EXTRA_BYTES_MAX + 1]);
        assert!(ProofFile::parse(&good.replacen("BwcHBw==", &extra, 1)).is_err());
        assert_eq!(ProofFile::parse(&"x".repeat(PROOF_BYTES_MAX + 1)), Err(ProofFileError::TooLong));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(
            size in 1..200u64, at in any::<prop::sample::Index>(),
            extra in proptest::option::of(proptest::collection::vec(any::<u8>(), 1..80))
        ) {
            let index = at.index(size as usize) as u64;
            let proof = proof(index, size, extra);
            let read = ProofFile::parse(&proof.to_string()).unwrap();
            prop_assert_eq!(&read, &proof);
            prop_assert!(read.verify(&leaves(size)[index as usize], &policy(2)).is_ok());
        }

        #[test]
        fn no_text_makes_the_reader_panic_and_what_it_accepts_is_what_it_would_write(
            rest in "(extra [A-Za-z0-9+/]{0,8}={0,2}\n)?(index [0-9]{0,3}\n)?([A-Za-z0-9+/]{43}=\n){0,3}\n?.{0,30}"
        ) {
            let note = proof(0, 2, None).checkpoint;
            for file in [format!("{HEADER}{rest}"), format!("{HEADER}{rest}{}", note.as_str())] {
                if let Ok(read) = ProofFile::parse(&file) {
                    prop_assert_eq!(read.to_string(), file);
                }
            }
        }
    }
}
