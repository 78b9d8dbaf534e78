//! What a node hands over when its operator makes a backup: pieces of the directory and of the store, in order.

use crypto::Bytes;
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
