//! Keyed identifiers. All are BLAKE3 keyed hashes of a label and length-prefixed parts: without the key they say
//! nothing, although what they name (a credit code, a document number) could be guessed.

use crate::{Digest, label::Label, secret::Secret};

/// Keyed BLAKE3(key, label ‖ 0x00 ‖ len(part) ‖ part …), lengths as 8 bytes big endian.
pub fn keyed(key: &Secret, label: Label, parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = blake3::Hasher::new_keyed(key.expose());
    hash.update(label.as_str().as_bytes()).update(&[0]);
    for part in parts {
        hash.update(&(part.len() as u64).to_be_bytes()).update(part);
    }
    *hash.finalize().as_bytes()
}

/// BLAKE3 digest of a file that comes in parts, the form in which submissions are named.
#[derive(Default)]
pub struct FileHasher(blake3::Hasher);

impl FileHasher {
    /// The digest of a file that is in memory.
    pub fn of(bytes: &[u8]) -> [u8; 32] {
        *blake3::hash(bytes).as_bytes()
    }

    /// The next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all of them.
    pub fn finish(&self) -> [u8; 32] {
        *self.0.finalize().as_bytes()
    }
}

crate::id! {
    /// A node's private index key of a subject. Never leaves the node.
    pub struct SubjectTag(32);
    /// A subject among the public platforms, the same at each. Stored beside the log, in no entry.
    pub struct SubjectPseudonym(32);
    /// The n-th access about one subject, unlinkable without the subject's access key.
    pub struct SubjectLink(32);
}

/// The tag of `subject` (its normalised text) under the node's pepper.
pub fn subject_tag(pepper: &Secret, subject: &str) -> SubjectTag {
    SubjectTag(keyed(pepper, Label::SubjectTag, &[subject.as_bytes()]))
}

/// The mark of a ban that a case has brought upon the subject of a tag or pseudonym: no two can be linked without it.
pub fn ban_mark(subject: &[u8; 32], case: &[u8]) -> Digest {
    Digest(keyed(&Secret::new(*subject), Label::BanMark, &[case]))
}

/// The mark of a record that has ended, by its subject, item and day of decision: tells nothing without all three. It is the
/// same at every public platform, and nobody else can make it.
pub fn ended_mark(subject: &SubjectPseudonym, item: &str, day: &[u8]) -> Digest {
    Digest(keyed(&Secret::new(subject.0), Label::EndedMark, &[item.as_bytes(), day]))
}

/// The tag of a subject's key in the entry of one grant: another one in each, so that no two grants of a key can be linked
/// without the collector's secret.
pub fn grant_key_tag(access_secret: &Secret, grant: &Digest, key: &Digest) -> Digest {
    Digest(keyed(access_secret, Label::GrantKeyTag, &[&grant.0, &key.0]))
}

/// The key with which a subject recognises its own entries in a node's access log.
pub fn subject_access_key(access_secret: &Secret, subject: &str) -> Secret {
    Secret::new(keyed(access_secret, Label::SubjectAccessKey, &[subject.as_bytes()]))
}

/// The link of the `n`-th access (from 0) about the subject that owns `access_key`.
pub fn subject_link(access_key: &Secret, n: u64) -> SubjectLink {
    SubjectLink(keyed(access_key, Label::SubjectLink, &[&n.to_be_bytes()]))
}
