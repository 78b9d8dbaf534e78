//! How records are published, line by line for the operator.

use credit::{
    id::{ItemId, MemberId, RecordId},
    repair::Deadline,
    status::Status,
    subject::SubjectId,
    value::Date,
};
use crypto::Timestamp;
use minicbor::{Decode, Encode};

use crate::answer::OpenedField;

/// An own record, and who publishes it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PushLine {
    /// The record.
    #[n(0)]
    pub record: RecordId,
    /// Province in which its subject is registered, six digits of GB/T 2260.
    #[n(1)]
    pub province: String,
    /// The member that publishes it: this one for its own province; absent where no member serves the province; it is
    /// placed when one does.
    #[n(2)]
    pub to: Option<MemberId>,
    /// When it was pushed, or taken in.
    #[n(3)]
    pub since: Timestamp,
    /// Last day of what is left to be done here: the push, the publication, or taking it down.
    #[n(4)]
    pub due: Option<Deadline>,
    /// Whether it is pushed to another member.
    #[n(5)]
    pub pushed: bool,
    /// How often it was sent.
    #[n(6)]
    pub tries: u32,
    /// When the receiver's acknowledgement came.
    #[n(7)]
    pub taken: Option<Timestamp>,
    /// The day of its publication.
    #[n(8)]
    pub published: Option<Date>,
    /// Its standing.
    #[n(9)]
    pub status: Status,
    /// It was published here, and is to be published again: it was corrected or is shown again since.
    #[n(10)]
    pub again: bool,
    /// Why the receiver did not take it, when it was sent last.
    #[n(11)]
    pub refused: Option<String>,
    /// Who has said that it published it, and whether it is there still.
    #[n(12)]
    pub pages: Vec<PageLine>,
}

impl PushLine {
    /// Whether its last day is one for taking it down: of what may not be disclosed nothing else is left to be done.
    pub fn is_to_be_taken_down(&self) -> bool {
        !self.status.disclosable()
    }
}

/// A member's page about a record, as it has said itself.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PageLine {
    /// The member.
    #[n(0)]
    pub member: MemberId,
    /// The day on which it published.
    #[n(1)]
    pub published: Date,
    /// The day on which it took that down.
    #[n(2)]
    pub down: Option<Date>,
    /// Last day for taking it down, while it is to be taken down, is not, and the member is known to know.
    #[n(3)]
    pub due: Option<Deadline>,
}

/// A record received to be published.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct CopyLine {
    /// The record.
    #[n(0)]
    pub record: RecordId,
    /// Its authority.
    #[n(1)]
    pub from: MemberId,
    /// When this version came.
    #[n(2)]
    pub since: Timestamp,
    /// Last day of what is left to be done: its publication, or taking down what was published.
    #[n(3)]
    pub due: Option<Deadline>,
    /// Its standing, as its authority's log says now.
    #[n(4)]
    pub status: Status,
    /// The day of its publication, as this member has said.
    #[n(5)]
    pub published: Option<Date>,
    /// Whether that was said of this version.
    #[n(6)]
    pub current: bool,
    /// Whether the values are here.
    #[n(7)]
    pub held: bool,
    /// Its item, of a copy that was opened.
    #[n(8)]
    pub item: Option<ItemId>,
    /// Its subject, of a copy that was opened.
    #[n(9)]
    pub subject: Option<SubjectId>,
    /// Its public fields, of a copy that was opened.
    #[n(10)]
    pub fields: Vec<OpenedField>,
    /// Its authority has corrected the record, and the new version has not come: this one is not to be published.
    #[n(11)]
    pub corrected: bool,
    /// The day on which this member took down what it had published, as it has said, unless it has published it again since.
    #[n(12)]
    pub down: Option<Date>,
    /// Time of the newest entry of its authority's status log that is here: the standing is as of then, or later where nothing
    /// was written since. Absent while this member has no copy of the log.
    #[n(13)]
    pub as_of: Option<Timestamp>,
}

impl CopyLine {
    /// Whether it may be published: by its standing, and no newer version is on its way.
    pub fn is_publishable(&self) -> bool {
        self.status.disclosable() && !self.corrected
    }
}
