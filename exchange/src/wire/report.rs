//! The report on a department's file, and on all of its files.

use credit::{csv::error::RowError, entry::RowCounts};
use crypto::{Digest, Timestamp};
use minicbor::{Decode, Encode};

/// What a department gets back for a file.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct SubmitReport {
    /// BLAKE3 digest of the file.
    #[n(0)]
    pub file: Digest,
    /// The same file was handed in before; nothing was done now.
    #[n(1)]
    pub repeated: bool,
    /// Encoding the file was read in.
    #[n(2)]
    pub encoding: String,
    /// How its rows fared.
    #[n(3)]
    pub rows: RowCounts,
    /// Rows accepted after full-width characters or case were normalised.
    #[n(4)]
    pub normalised: u64,
    /// Rows handed in later than seven working days after the decision.
    #[n(5)]
    pub late: u64,
    /// Rows that were rejected or are older than what is held, with their reasons, at most [`ROW_REASONS_MAX`].
    #[n(6)]
    pub reasons: Vec<RowReason>,
    /// When it was handed in.
    #[n(7)]
    pub at: Timestamp,
    /// Duplicates among the rows whose content is that of a version corrected since.
    #[n(8)]
    pub older: u64,
    /// Rejected rows that can be taken when the same file comes again: a member has claimed the body, or people have
    /// confirmed the number.
    #[n(9)]
    pub waiting: u64,
}

impl SubmitReport {
    /// The report of a file of which nothing is taken in yet.
    pub fn new(file: Digest, at: Timestamp) -> Self {
        Self {
            file,
            repeated: false,
            encoding: String::new(),
            rows: RowCounts::default(),
            normalised: 0,
            late: 0,
            reasons: Vec::new(),
            at,
            older: 0,
            waiting: 0,
        }
    }
}

/// Most reasons a report spells out; the counts are always complete.
pub const ROW_REASONS_MAX: usize = 1_000;

/// Why one row was rejected or changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct RowReason {
    /// Line of the file, from 1.
    #[n(0)]
    pub row: u32,
    /// Column.
    #[n(1)]
    pub column: String,
    /// Stable code.
    #[n(2)]
    pub code: String,
    /// Chinese wording.
    #[n(3)]
    pub zh: String,
    /// English wording.
    #[n(4)]
    pub en: String,
}

impl From<RowError> for RowReason {
    fn from(error: RowError) -> Self {
        let RowError { row, column, code, zh, en } = error;
        Self { row, column, code: code.to_owned(), zh, en }
    }
}

/// Quality of one department's files of one item.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct QualityLine {
    /// The department.
    #[n(0)]
    pub source: String,
    /// The item.
    #[n(1)]
    pub item: String,
    /// Files.
    #[n(2)]
    pub files: u64,
    /// Rows.
    #[n(3)]
    pub rows: RowCounts,
    /// Rows later than seven working days.
    #[n(4)]
    pub late: u64,
}
