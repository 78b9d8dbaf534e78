//! Salted commitments to fields, one root per record, openings.
//!
//! A record commits to each present field with its own salt; the record's root is the RFC 6962 root over the
//! commitments in field order. Disclosing k fields is k openings and one multi-proof; of the
//! fields that stay closed a proof shows hashes and the number that its maker claims.

use crate::{Bytes, Digest, label::Label, merkle};
use minicbor::{Decode, Encode};

/// Most fields a record may commit to: keeps a proof, and with it an answer, small. The widest official layout
/// has 30 columns.
pub const FIELDS_PER_RECORD_MAX: usize = 128;

/// SHA-256(label ‖ 0x00 ‖ salt ‖ content); `content` is the canonical encoding of (field, value), so the salt's
/// fixed length makes the split unambiguous.
pub fn commitment(salt: &[u8; 32], content: &[u8]) -> Digest {
    Digest::of_parts(&[Label::FieldCommitment.as_str().as_bytes(), &[0], salt, content])
}

/// SHA-256(label ‖ 0x00 ‖ salt ‖ content): a commitment to what was told in place of a value.
pub fn told_commitment(label: Label, salt: &[u8; 32], content: &[u8]) -> Digest {
    Digest::of_parts(&[label.as_str().as_bytes(), &[0], salt, content])
}

/// The record's root over its commitments, in field order.
pub fn fields_root(commitments: &[Digest]) -> Digest {
    merkle::root(&leaves(commitments))
}

/// What lets a reader check opened fields against a record's root.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct FieldsProof {
    /// Number of committed fields of the record, 1 to [`FIELDS_PER_RECORD_MAX`].
    #[n(0)]
    pub size: u16,
    /// Position of each opened field among the committed ones, ascending.
    #[n(1)]
    pub positions: Vec<u16>,
    /// Hashes of the closed subtrees, left to right.
    #[n(2)]
    pub hashes: Vec<Digest>,
}

impl FieldsProof {
    /// A proof that opens `positions` (ascending) of `commitments`.
    pub fn build(commitments: &[Digest], positions: &[u16]) -> Self {
        let at: Vec<usize> = positions.iter().map(|p| usize::from(*p)).collect();
        Self {
            size: commitments.len() as u16,
            positions: positions.to_vec(),
            hashes: merkle::multi_proof(&leaves(commitments), &at),
        }
    }

    /// Whether the `opened` commitments, in the order of `positions`, belong to `root`.
    pub fn verify(&self, root: &Digest, opened: &[Digest]) -> bool {
        if opened.len() != self.positions.len() || usize::from(self.size) > FIELDS_PER_RECORD_MAX {
            return false;
        }
        let pairs: Vec<(usize, Digest)> = self
            .positions
            .iter()
            .zip(opened)
            .map(|(p, c)| (usize::from(*p), merkle::leaf_hash(&c.0)))
            .collect();
        merkle::multi_root(usize::from(self.size), &pairs, &self.hashes) == Some(*root)
    }
}

/// One opened field as it travels, sealed, to an asker: what recomputes its commitment.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Opening {
    /// The field's salt, 32 bytes.
    #[n(0)]
    pub salt: Digest,
    /// The canonical encoding of (field, value).
    #[n(1)]
    pub content: Bytes,
}

impl Opening {
    /// The commitment this opening belongs to.
    pub fn commitment(&self) -> Digest {
        commitment(&self.salt.0, &self.content)
    }
}

fn leaves(commitments: &[Digest]) -> Vec<Digest> {
    commitments.iter().map(|c| merkle::leaf_hash(&c.0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_opened_field_belongs_to_its_root_and_a_changed_one_does_not() {
        let contents: Vec<Vec<u8>> = (0..9u8).map(|i| vec![i, i + 1]).collect();
        let salts: Vec<[u8; 32]> = (0..9u8).map(|i| [i; 32]).collect();
        let all: Vec<Digest> = contents.iter().zip(&salts).map(|(c, s)| commitment(s, c)).collect();
        let root = fields_root(&all);
        let proof = FieldsProof::build(&all, &[2, 5, 8]);
        assert!(proof.verify(&root, &[all[2], all[5], all[8]]));
        assert!(!proof.verify(&root, &[all[2], all[5], all[7]]));
        assert!(!proof.verify(&root, &[all[2], all[8], all[5]]));
        let moved = FieldsProof { positions: vec![2, 5, 7], ..proof };
        assert!(!moved.verify(&root, &[all[2], all[5], all[8]]));
    }
}
