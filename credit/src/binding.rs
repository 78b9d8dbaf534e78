//! A subject's own key: the collector's word whose it is, and what the subject has done with its grants by it.
//!
//! *Not here*: the grant that such a key signs ([`crate::grant`]), and the checks of signatures
//! (`exchange::registry`, which knows the collectors' keys).

use crypto::{
    Digest, Timestamp, codec,
    label::Label,
    sign::{PublicKey, Signed, Statement},
};
use minicbor::{Decode, Encode};

use crate::{
    grant::{Grant, GrantChange},
    id::MemberId,
    subject::SubjectId,
};

/// Longest time for which a collector vouches for a key: three years, so that one that is lost and not reported ends by
/// itself.
pub const KEY_DAYS_MAX: u32 = 3 * 366;

/// A collector's word that a key is a subject's own, and its subject's alone.
///
/// The collector has seen the subject's papers, and keeps the application that it signed with its hand; `paper` is its
/// digest. Source: 电子签名法 art. 13 (a signature made by data that its signer alone controls).
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct KeyBinding {
    /// Whose key.
    #[n(0)]
    pub subject: SubjectId,
    /// The Ed25519 key.
    #[n(1)]
    pub key: PublicKey,
    /// First moment at which a grant that it signs may be valid.
    #[n(2)]
    pub not_before: Timestamp,
    /// Until when such a grant may be valid at most.
    #[n(3)]
    pub not_after: Timestamp,
    /// SHA-256 of the paper the collector keeps.
    #[n(4)]
    pub paper: Digest,
}

impl Statement for KeyBinding {
    const LABEL: Label = Label::SignKeyBinding;
}

impl KeyBinding {
    /// The key by which its withdrawal names it, the same in every binding of it. Nobody can guess it from the subject: the
    /// public key is random. The subject is part of it, so that who has somebody else's public key bound to itself cannot
    /// have the other's withdrawn.
    pub fn key_digest(&self) -> Digest {
        Digest::labelled(Label::SubjectKey, &codec::to_vec(&(&self.subject, &self.key)))
    }
}

/// What a subject wants done to a grant, signed with its own key.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct GrantOrder {
    /// The grant itself: so the order shows that its key has signed it, also where the collector has never seen it.
    #[n(0)]
    pub grant: Signed<Grant>,
    /// What.
    #[n(1)]
    pub change: GrantChange,
    /// When, by the subject's clock: of two orders the newer one holds, in whichever order they come.
    #[n(2)]
    pub at: Timestamp,
}

impl Statement for GrantOrder {
    const LABEL: Label = Label::SignGrantOrder;
}

/// Whose signature a grant, or an order about one, has by its issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signer {
    /// The collector, which keeps the subject's letter.
    Collector(MemberId),
    /// The subject, whose key this collector vouches for.
    Subject(MemberId),
}

/// What stands after the collector in the issuer of what a subject signs: no member id has this character, and nobody is
/// named by it.
const SUBJECT_OF: &str = "/subject";

impl Signer {
    /// Reads an issuer; `None` for one of neither form.
    pub fn of(issuer: &str) -> Option<Self> {
        match issuer.strip_suffix(SUBJECT_OF) {
            Some(collector) => MemberId::parse(collector).map(Self::Subject),
            None => MemberId::parse(issuer).map(Self::Collector),
        }
    }

    /// The collector that answers for it.
    pub fn collector(&self) -> &MemberId {
        match self {
            Self::Collector(collector) | Self::Subject(collector) => collector,
        }
    }

    /// The issuer of what a subject signs whose key `collector` vouches for.
    pub fn subject_of(collector: &MemberId) -> String {
        format!("{collector}{SUBJECT_OF}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_a_collector_or_a_subject_of_one() {
        let js = MemberId::parse("js").unwrap();
        assert_eq!(Signer::of("js"), Some(Signer::Collector(js.clone())));
        assert_eq!(Signer::of(&Signer::subject_of(&js)), Some(Signer::Subject(js)));
        for other in ["", "/subject", "js/", "js/Subject", "js/subject/subject", "js/x"] {
            assert_eq!(Signer::of(other), None, "{other}");
        }
    }
}
