//! A subject's written authorisation (授权书), as a registered collector signs it.

use crypto::{Digest, Timestamp, label::Label, sign::Statement};
use minicbor::{Decode, Encode};

use crate::{
    catalog::Purpose,
    id::{FieldId, GrantId, ItemId, MemberId},
    subject::SubjectId,
};

/// Most items one grant may name.
pub const ITEMS_PER_GRANT_MAX: usize = 32;

/// Who may ask what about whom, for which purpose, how often, until when.
///
/// The collector keeps the letter the subject signed; `letter` is its digest, so that a dispute over consent is
/// settled by laying the paper beside the grant. Source: 上海市社会信用条例 art. 17; 个人信息保护法 art. 23.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Grant {
    /// Chosen by the collector.
    #[n(0)]
    pub id: GrantId,
    /// The member that collected the letter and signs this grant.
    #[n(1)]
    pub collector: MemberId,
    /// About whom.
    #[n(2)]
    pub subject: SubjectId,
    /// Who may ask.
    #[n(3)]
    pub grantee: MemberId,
    /// For what.
    #[n(4)]
    pub purposes: Vec<Purpose>,
    /// Which items, and of each which fields.
    #[n(5)]
    pub scope: Vec<Scope>,
    /// First moment of validity.
    #[n(6)]
    pub not_before: Timestamp,
    /// First moment after validity.
    #[n(7)]
    pub not_after: Timestamp,
    /// Questions each member answers on this grant: 1 is `ONETIME`.
    #[n(8)]
    pub uses_max: u32,
    /// Days the asker may keep what it received.
    #[n(9)]
    pub keep_days: u32,
    /// SHA-256 of the signed letter the collector keeps.
    #[n(10)]
    pub letter: Digest,
}

/// Fields of one item that a grant opens.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Scope {
    /// The item.
    #[n(0)]
    pub item: ItemId,
    /// The fields; empty means every field of the item.
    #[n(1)]
    pub fields: Vec<FieldId>,
}

impl Statement for Grant {
    const LABEL: Label = Label::SignGrant;
}

impl Grant {
    /// Whether the grant names this field.
    pub fn covers(&self, item: &ItemId, field: FieldId) -> bool {
        self.scope.iter().any(|s| s.item == *item && (s.fields.is_empty() || s.fields.contains(&field)))
    }
}

/// What a member knows of a grant's life besides its text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct GrantState {
    /// The collector's status log revokes it.
    #[n(0)]
    pub revoked: bool,
    /// Questions this member has answered on it.
    #[n(1)]
    pub uses: u32,
}
