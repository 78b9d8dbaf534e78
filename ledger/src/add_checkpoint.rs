//! The witness's side of tlog-witness `add-checkpoint`: request body, and the decision as a pure function.
//!
//! *Not here*: the state a witness keeps and how it is made durable before the answer leaves (`exchange::witness`),
//! and HTTP (`node`). Source: C2SP tlog-witness.

use crypto::Digest;

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{
    checkpoint::{Checkpoint, SignedCheckpoint},
    note::NoteKey,
    proof::verify_consistency,
    tree::{TreeSize, empty_root},
};

/// Longest body: 63 proof lines and a checkpoint with a hundred signatures.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// Most proof lines (a tree of 2^63 leaves).
const PROOF_LINES_MAX: usize = 63;

/// A request to cosign a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// Size the log believes the witness has cosigned last; 0 for none.
    pub old: TreeSize,
    /// Consistency proof from `old` to the checkpoint.
    pub proof: Vec<Digest>,
    /// What the checkpoint claims.
    pub claimed: Checkpoint,
    /// The checkpoint as sent; whether its signature lines are well-formed is part of whether it is signed.
    pub note: String,
}

/// Why a witness does not cosign: the status codes of the specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoCosignature {
    /// 400: not a request, or `old` is larger than the checkpoint.
    Malformed,
    /// 403: not signed by the log's key, or a signature of that key fails.
    NotSigned,
    /// 404: not a log of this witness.
    UnknownLog,
    /// 409: `old` is not the size cosigned last, which is this.
    Conflict(TreeSize),
    /// 422: the checkpoint does not continue what was cosigned last.
    Inconsistent,
}

impl NoCosignature {
    /// The HTTP status.
    pub const fn status(self) -> u16 {
        match self {
            Self::Malformed => 400,
            Self::NotSigned => 403,
            Self::UnknownLog => 404,
            Self::Conflict(_) => 409,
            Self::Inconsistent => 422,
        }
    }

    /// The body: the size for a conflict, a line for people otherwise.
    pub fn body(self) -> String {
        match self {
            Self::Malformed => "malformed request\n".into(),
            Self::NotSigned => "no good signature by the log's key\n".into(),
            Self::UnknownLog => "unknown log\n".into(),
            Self::Conflict(size) => format!("{size}\n"),
            Self::Inconsistent => "the checkpoint does not continue the one cosigned last\n".into(),
        }
    }
}

impl AddCheckpoint {
    /// Reads a request body; never panics on any input.
    pub fn parse(body: &[u8]) -> Option<Self> {
        let body = core::str::from_utf8(body).ok().filter(|b| b.len() <= BODY_BYTES_MAX)?;
        let (head, note) = body.split_once("\n\n")?;
        let (text, _) = note.rsplit_once("\n\n")?;
        let claimed = Checkpoint::parse(&format!("{text}\n")).ok()?;
        let mut lines = head.lines();
        let old = lines.next()?.strip_prefix("old ")?;
        let canonical = old == "0" || !old.starts_with('0');
        let old = old.parse().ok().filter(|_| canonical && old.bytes().all(|b| b.is_ascii_digit()))?;
        let proof: Option<Vec<Digest>> =
            lines.map(|line| STANDARD.decode(line).ok()?.try_into().ok().map(Digest)).collect();
        let proof = proof.filter(|p| p.len() <= PROOF_LINES_MAX)?;
        Some(Self { old: TreeSize(old), proof, claimed, note: note.to_owned() })
    }

    /// A request about `checkpoint`.
    pub fn new(old: TreeSize, proof: Vec<Digest>, checkpoint: &SignedCheckpoint) -> Self {
        Self { old, proof, claimed: checkpoint.claimed().clone(), note: checkpoint.as_str().to_owned() }
    }

    /// The request body.
    pub fn body(&self) -> String {
        let mut body = format!("old {}\n", self.old);
        for hash in &self.proof {
            body.push_str(&STANDARD.encode(hash.0));
            body.push('\n');
        }
        body.push('\n');
        body.push_str(&self.note);
        body
    }

    /// Decides whether to cosign. `key` is the log's key, `None` for a log the witness does not know; `last` is what it
    /// cosigned last for the log.
    ///
    /// The caller makes the new state durable before the cosignature leaves, and nothing may come between this decision
    /// and that: two growths from the same `old` would otherwise both pass.
    pub fn judge(
        &self,
        key: Option<&NoteKey>,
        last: Option<(TreeSize, Digest)>,
    ) -> Result<Checkpoint, NoCosignature> {
        if self.old > self.claimed.size {
            return Err(NoCosignature::Malformed);
        }
        let key = key.ok_or(NoCosignature::UnknownLog)?;
        let signed = SignedCheckpoint::parse(&self.note).map_err(|_| NoCosignature::NotSigned)?;
        let checkpoint = signed.verify(key).map_err(|_| NoCosignature::NotSigned)?;
        let (size, root) = last.unwrap_or((TreeSize(0), empty_root()));
        if self.old != size {
            return Err(NoCosignature::Conflict(size));
        }
        verify_consistency(size, checkpoint.size, &root, &checkpoint.root, &self.proof)
            .map_err(|_| NoCosignature::Inconsistent)?;
        Ok(checkpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crypto::{merkle, secret::Secret, sign::SigningKey};
    use proptest::prelude::*;

    fn key() -> SigningKey {
        SigningKey::from_seed(&Secret::new([1; 32]))
    }

    fn request(old: u64, size: u64, proof: Vec<Digest>) -> AddCheckpoint {
        let leaves: Vec<Digest> = (0..size).map(|i| merkle::leaf_hash(&i.to_be_bytes())).collect();
        let checkpoint =
            Checkpoint { origin: "log".into(), size: TreeSize(size), root: merkle::root(&leaves) };
        AddCheckpoint::new(TreeSize(old), proof, &checkpoint.sign(&key()))
    }

    #[test]
    fn cosigns_growth_from_what_it_has_seen_and_nothing_else() {
        let known = NoteKey::new("log", key().verifying_key()).unwrap();
        let first = request(0, 1, vec![]).judge(Some(&known), None).unwrap();
        let last = Some((first.size, first.root));
        let grown = request(1, 2, vec![merkle::leaf_hash(&1u64.to_be_bytes())]);
        assert!(grown.judge(Some(&known), last).is_ok());
        assert_eq!(grown.judge(None, last).unwrap_err().status(), 404);
        assert_eq!(
            request(0, 2, vec![]).judge(Some(&known), last),
            Err(NoCosignature::Conflict(TreeSize(1)))
        );
        assert_eq!(request(1, 2, vec![]).judge(Some(&known), last).unwrap_err().status(), 422);
        assert_eq!(request(3, 2, vec![]).judge(Some(&known), last).unwrap_err().status(), 400);
        let other =
            NoteKey::new("log", SigningKey::from_seed(&Secret::new([2; 32])).verifying_key()).unwrap();
        assert_eq!(grown.judge(Some(&other), last).unwrap_err().status(), 403);
    }

    proptest! {
        #[test]
        fn reads_back_what_it_writes_and_survives_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = AddCheckpoint::parse(&bytes);
            let request = request(1, 3, vec![Digest([7; 32]), Digest([9; 32])]);
            prop_assert_eq!(AddCheckpoint::parse(request.body().as_bytes()), Some(request));
        }
    }
}
