//! Every domain-separation label of the system. A label is used for one purpose only; `docs/CRYPTO.md` shows this
//! table and `cargo xtask docs` compares the two.

macro_rules! labels {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// What a hash, derivation, seal or signature is for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Label { $($(#[$doc])* $name,)* }

        impl Label {
            /// Every label, in the order of the table.
            pub const ALL: &'static [Label] = &[$(Label::$name,)*];

            /// The bytes that enter the computation.
            pub const fn as_str(self) -> &'static str {
                match self { $(Label::$name => $text,)* }
            }
        }
    };
}

labels! {
    /// Commitment to one field: SHA-256.
    FieldCommitment = "xinqiao/v1/field-commitment",
    /// Commitment to the outcome of a predicate: SHA-256.
    CheckOutcome = "xinqiao/v1/check-outcome",
    /// Salt of such a commitment, from the seed of an answer: keyed BLAKE3.
    CheckSalt = "xinqiao/v1/check-salt",
    /// Commitment to a masked value: SHA-256.
    MaskOutcome = "xinqiao/v1/mask-outcome",
    /// Salt of such a commitment, from the record key: keyed BLAKE3.
    MaskSalt = "xinqiao/v1/mask-salt",
    /// A predicate as a budget remembers it, from the node's pepper: keyed BLAKE3.
    CheckTag = "xinqiao/v1/check-tag",
    /// Digest of a question, grant or other signed object, as referred to by entries: SHA-256.
    ObjectDigest = "xinqiao/v1/object-digest",
    /// Digest of a key tree's state: SHA-256.
    KeyTreeDigest = "xinqiao/v1/key-tree-digest",
    /// Left child of a key tree node: keyed BLAKE3.
    KeyTreeLeft = "xinqiao/v1/key-tree-left",
    /// Right child of a key tree node: keyed BLAKE3.
    KeyTreeRight = "xinqiao/v1/key-tree-right",
    /// Record key of a slot bound to the record's content: keyed BLAKE3.
    RecordContent = "xinqiao/v1/record-content",
    /// Keyed digest of a record's content: keyed BLAKE3.
    ContentTag = "xinqiao/v1/content-tag",
    /// Sealing key of a field from the record key: keyed BLAKE3.
    FieldKey = "xinqiao/v1/field-key",
    /// Salt of a field from the record key: keyed BLAKE3.
    FieldSalt = "xinqiao/v1/field-salt",
    /// Associated data of a field sealed at rest: AES-256-GCM.
    FieldAtRest = "xinqiao/v1/seal-at-rest",
    /// Info string of the HPKE context of one member's answers to one asker, and its exported secret.
    AnswerEpoch = "xinqiao/v1/answer-epoch",
    /// Key of one answer from its epoch's secret: keyed BLAKE3.
    AnswerKey = "xinqiao/v1/answer-key",
    /// Info string of the federation record key wrapped to a member.
    RecordKeyWrap = "xinqiao/v1/wrap-record-key",
    /// Record id from the federation record key: keyed BLAKE3.
    RecordId = "xinqiao/v1/record-id",
    /// Subject tag from the node's pepper: keyed BLAKE3.
    SubjectTag = "xinqiao/v1/subject-tag",
    /// A subject's pseudonym among the public platforms, from the federation record key: keyed BLAKE3.
    SubjectPseudonym = "xinqiao/v1/subject-pseudonym",
    /// A subject's access key from the node's access secret: keyed BLAKE3.
    SubjectAccessKey = "xinqiao/v1/subject-access-key",
    /// The n-th link of a subject in the access log: keyed BLAKE3.
    SubjectLink = "xinqiao/v1/subject-link",
    /// Mark of a ban from the subject's tag or pseudonym, and the case: keyed BLAKE3.
    BanMark = "xinqiao/v1/ban-mark",
    /// Mark of a standing that has ended, from the subject's tag, the item and the day of the decision: keyed BLAKE3.
    EndedMark = "xinqiao/v1/ended-mark",
    /// Key of a question's subject in the answering member's row, from the access secret, and its associated data: keyed
    /// BLAKE3, AES-256-GCM.
    AccessSubject = "xinqiao/v1/access-subject",
    /// Tag of a subject's key in the entry of one grant, from the collector's access secret: keyed BLAKE3.
    GrantKeyTag = "xinqiao/v1/grant-key-tag",
    /// Digest of a subject and its public key, as its withdrawal names it: SHA-256.
    SubjectKey = "xinqiao/v1/subject-key",
    /// Associated data of a keystore: AES-256-GCM.
    Keystore = "xinqiao/v1/keystore",
    /// Associated data of the key tree's file: AES-256-GCM.
    KeyTreeFile = "xinqiao/v1/keytree-file",
    /// Keystore key from the 32 bytes of a key file: keyed BLAKE3.
    KeyFile = "xinqiao/v1/key-file",
    /// Associated data of a backup's key under a passphrase: AES-256-GCM.
    BackupKey = "xinqiao/v1/backup-key",
    /// Info string of a backup's key wrapped to a member.
    BackupKeyWrap = "xinqiao/v1/wrap-backup-key",
    /// Key of a backup's segment from the backup's key, its header and the segment's number, and its associated data: keyed
    /// BLAKE3, AES-256-GCM.
    BackupSegment = "xinqiao/v1/backup-segment",
    /// Digest of a range of the store, by which a backup goes on: SHA-256.
    BackupRange = "xinqiao/v1/backup-range",
    /// Key, from the operator's key and the header, under which the key of an interrupted backup waits beside it, and its
    /// associated data: keyed BLAKE3, AES-256-GCM.
    BackupWaiting = "xinqiao/v1/backup-waiting",
    /// Associated data of what an asker keeps of its questions and grants: AES-256-GCM.
    KeptBox = "xinqiao/v1/kept",
    /// Question id from the idempotency key that a bank's system gave: keyed BLAKE3.
    IdempotencyKey = "xinqiao/v1/idempotency-key",
    /// Commitment, in a repair certificate, to subject, document number and item: SHA-256.
    RepairSubject = "xinqiao/v1/repair-subject",
    /// Derivation of independent secrets from a member's seed: keyed BLAKE3.
    MemberSeed = "xinqiao/v1/member-seed",
    /// Tokens of QUIC stateless resets from the transport seed: keyed BLAKE3.
    QuicReset = "xinqiao/v1/quic-reset",
    /// Digest of the standings in one bucket: SHA-256.
    StandingBucket = "xinqiao/v1/standing-bucket",
    /// Digest of sixteen buckets or nodes of standings: SHA-256.
    StandingNode = "xinqiao/v1/standing-node",
    /// Short digests while standings are compared, salted for each comparison: SHA-256.
    StandingShort = "xinqiao/v1/standing-short",
    /// Content type of a signed batch of records.
    SignBatch = "application/vnd.xinqiao.v1.batch+cbor",
    /// Content type of a signed status entry.
    SignStatus = "application/vnd.xinqiao.v1.status+cbor",
    /// Content type of a signed question.
    SignQuestion = "application/vnd.xinqiao.v1.question+cbor",
    /// Content type of a signed grant.
    SignGrant = "application/vnd.xinqiao.v1.grant+cbor",
    /// Content type of a repair application forwarded between members.
    SignApplication = "application/vnd.xinqiao.v1.application+cbor",
    /// Content type of the statement in an erasure certificate.
    SignErasure = "application/vnd.xinqiao.v1.erasure+cbor",
    /// Content type of the statement in a propagation certificate.
    SignPropagation = "application/vnd.xinqiao.v1.propagation+cbor",
    /// Content type of the statement in a repair certificate.
    SignRepair = "application/vnd.xinqiao.v1.repair+cbor",
    /// Content type of a member's word about a subject's accesses.
    SignAccessList = "application/vnd.xinqiao.v1.access-list+cbor",
    /// Content type of the registry signed by a governor.
    SignRegistry = "application/vnd.xinqiao.v1.registry+cbor",
    /// Content type of a member's request to be admitted.
    SignRequest = "application/vnd.xinqiao.v1.member-request+cbor",
    /// Content type of a member's request for new keys, signed with the old ones.
    SignRotation = "application/vnd.xinqiao.v1.rotation+cbor",
    /// Content type of a short-lived reading pass for log entries.
    SignPass = "application/vnd.xinqiao.v1.pass+cbor",
    /// Content type of an auditor's mandate.
    SignMandate = "application/vnd.xinqiao.v1.mandate+cbor",
    /// Content type of a collector's word that a key is a subject's own.
    SignKeyBinding = "application/vnd.xinqiao.v1.key-binding+cbor",
    /// Content type of a subject's order about a grant.
    SignGrantOrder = "application/vnd.xinqiao.v1.grant-order+cbor",
}

#[cfg(test)]
mod tests {
    use super::Label;

    #[test]
    fn labels_are_distinct_prefix_free_and_without_a_zero_byte() {
        for (i, a) in Label::ALL.iter().enumerate() {
            assert!(!a.as_str().contains('\0') && a.as_str().is_ascii());
            for (j, b) in Label::ALL.iter().enumerate() {
                assert!(i == j || !a.as_str().starts_with(b.as_str()), "{a:?} starts with {b:?}");
            }
        }
    }
}
