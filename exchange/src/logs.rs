//! The three logs of a member and the names under which they are stored and signed.

use credit::{entry::Entry, id::MemberId};
use crypto::sign::VerifyingKey;
use ledger::{log, note::NoteKey, store::View, tree::LeafIndex};
use minicbor::{Decode, Encode};

use crate::refusal::Fault;

/// One of a member's logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum LogName {
    /// What was recorded, amended, erased.
    #[n(0)]
    Records,
    /// Repairs, disputes, revocations, acknowledgements: what others must act on, or have acted on.
    #[n(1)]
    Status,
    /// Every disclosure and refusal.
    #[n(2)]
    Access,
}

impl LogName {
    /// Every log.
    pub const ALL: [LogName; 3] = [LogName::Records, LogName::Status, LogName::Access];

    /// The word in URLs, origins and storage.
    pub const fn as_str(self) -> &'static str {
        match self {
            LogName::Records => "records",
            LogName::Status => "status",
            LogName::Access => "access",
        }
    }

    /// The log of a word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|l| l.as_str() == text)
    }

    /// Storage name of this member's copy of `owner`'s log.
    pub fn mirror(self, owner: &MemberId) -> String {
        format!("mirror/{owner}/{}", self.as_str())
    }

    /// Origin line and key name of `owner`'s log: `xinqiao/<federation>/<member>/<log>`.
    pub fn origin(self, federation: &str, owner: &MemberId) -> String {
        format!("xinqiao/{federation}/{owner}/{}", self.as_str())
    }

    /// An entry of this member's own log.
    pub fn entry(self, view: &dyn View, index: u64) -> Result<Option<Entry>, Fault> {
        read(view, self.as_str(), index)
    }

    /// An entry of this member's copy of `owner`'s log.
    pub fn copied_entry(self, view: &dyn View, owner: &MemberId, index: u64) -> Result<Option<Entry>, Fault> {
        read(view, &self.mirror(owner), index)
    }

    /// An entry of this member's own log that must be there.
    pub fn kept_entry(self, view: &dyn View, index: u64) -> Result<Entry, Fault> {
        self.entry(view, index)?.ok_or_else(|| Fault(format!("entry {index} of `{self}` is missing")))
    }

    /// The key under which a checkpoint of `owner`'s log must verify.
    pub fn note_key(self, federation: &str, owner: &MemberId, key: VerifyingKey) -> NoteKey {
        NoteKey { name: self.origin(federation, owner), key }
    }
}

fn read(view: &dyn View, name: &str, index: u64) -> Result<Option<Entry>, Fault> {
    let bytes = log::entry(view, name, LeafIndex(index))?;
    let damaged = |e| Fault(format!("entry {index} of `{name}` is damaged: {e}"));
    bytes.map(|bytes| Entry::from_bytes(&bytes)).transpose().map_err(damaged)
}

impl core::fmt::Display for LogName {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}
