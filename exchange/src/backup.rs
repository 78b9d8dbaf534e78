//! What a node hands over when its operator makes a backup: pieces of the directory and of the store, in order.
//!
//! A backup that was interrupted goes on: the command names a range of keys and the digest of the pairs it has of it
//! ([`BackupRange`]), and the node says that its own are the same, or hands them over.

use crypto::{Bytes, Digest, label::Label};
use minicbor::{Decode, Encode};

crypto::id! {
    /// Names one backup that a node holds open.
    pub struct BackupId(16);
}

/// What a backup is to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum BackupContent {
    /// Store, settings and registry. It is restored together with the keys that are in use then.
    #[n(0)]
    Store,
    /// The keys only.
    #[n(1)]
    Keys,
    /// Both.
    #[n(2)]
    All,
}

/// The pairs from where the reading stands to a key.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct BackupRange {
    /// The space in which it ends.
    #[n(0)]
    pub space: u8,
    /// Its last key. None: it ends before the first key of that space.
    #[n(1)]
    pub last: Option<Bytes>,
    /// What [`extend`] makes of the pairs that the reader has of it, from [`Digest::ZERO`] on; none when it has none.
    #[n(2)]
    pub digest: Option<Digest>,
}

/// The digest of a range and one more pair.
pub fn extend(digest: &Digest, key: &[u8], value: &[u8]) -> Digest {
    let length = (key.len() as u64).to_be_bytes();
    Digest::of_parts(&[Label::BackupRange.as_str().as_bytes(), &[0], &digest.0, &length, key, value])
}

/// One piece of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum BackupItem {
    /// A file of the member's directory, or the next part of it.
    #[n(0)]
    File {
        /// Its name there.
        #[n(0)]
        name: String,
        /// Its next bytes.
        #[n(1)]
        part: Bytes,
    },
    /// A key of the store.
    #[n(1)]
    Pair {
        /// Its space: 0 entry, 1 tile, 2 head, 3 row, 4 payload.
        #[n(0)]
        space: u8,
        /// The key.
        #[n(1)]
        key: Bytes,
        /// Its value.
        #[n(2)]
        value: Bytes,
    },
    /// The end, and how many pairs came before it.
    #[n(2)]
    End(#[n(0)] u64),
}
