//! What is wrong with a file or a row, in Chinese and English, with its place. No error carries a value of the file.

use std::fmt;

use super::{COLUMNS_MAX, FILE_BYTES_MAX, ROW_LINES_MAX, ROWS_MAX};
use crate::normalize::NormalizeError;

/// Why a row was rejected. Names place and rule, never the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowError {
    /// As [`Row::number`].
    pub row: u32,
    /// Column code, or the heading of a forbidden column; empty if the row as a whole is meant.
    pub column: String,
    /// Stable code, `snake_case`.
    pub code: &'static str,
    /// For people, in Chinese; contains the column's Chinese name.
    pub zh: String,
    /// The same in English.
    pub en: String,
}

impl RowError {
    /// The row brings a record that was erased.
    pub fn erased(row: u32) -> Self {
        Self {
            row,
            column: String::new(),
            code: "record_erased",
            zh: "该记录已依法删除，不再收录".into(),
            en: "this record was erased by law and is not taken again".into(),
        }
    }

    /// No member answers for the deciding body.
    pub fn unclaimed(row: u32, column: String) -> Self {
        Self {
            row,
            column,
            code: "body_unclaimed",
            zh: "登记表中没有成员承接该决定机关，收录后无人可以办理修复；请由负责该机关的成员用 `xinqiao member request --body 代码` 重新申请，\
                 治理方用 `xinqiao federation admit` 登记后，再次提交本文件"
                .into(),
            en: "no member answers for this deciding body, and nobody could repair the record; have the member that does ask \
                 again with `xinqiao member request --body CODE`, let the governors enter it with `xinqiao federation admit`, \
                 and hand the file in again"
                .into(),
        }
    }

    /// A record of this subject, item and day of decision has ended, under another number or another member.
    pub fn like_ended(row: u32, column: String) -> Self {
        Self {
            row,
            column,
            code: "like_ended",
            zh: "同一主体、同一目录项、同一决定日期的记录已修复、撤销或期满，文号写法或认定单位不同；请按原文号提交，\
                 如确为另一决定，用 `submit --confirm 文号` 再次提交"
                .into(),
            en: "a record of this subject, item and day of decision has been repaired, withdrawn or has expired, under another \
                 form of the document number or another authority; write the number as before, or if this is another act \
                 hand the file in again with `submit --confirm NUMBER`"
                .into(),
        }
    }

    /// The very record has ended under the member that answered for the body before.
    pub fn ended(row: u32, column: String) -> Self {
        Self {
            row,
            column,
            code: "record_ended",
            zh: "该文号的记录在原认定单位已修复、撤销或期满，不再收录".into(),
            en: "the record of this number has been repaired, withdrawn or has expired under the member that answered for the \
                 body before, and is not taken again"
                .into(),
        }
    }

    /// The row has the content of a version that was corrected since.
    pub fn older(row: u32, column: String) -> Self {
        Self {
            row,
            column,
            code: "older_than_held",
            zh: "内容与已被更正的旧版本相同，早于现有内容，未作更改；如确需恢复，用 `submit --confirm 文号` 再次提交".into(),
            en: "this is the content of a version that was corrected since, older than what is held, and changes nothing; if it \
                 is meant, hand the file in again with `submit --confirm NUMBER`"
                .into(),
        }
    }

    /// The row repeats a record that stands in the same file before.
    pub fn twice(row: u32, column: String) -> Self {
        Self {
            row,
            column,
            code: "duplicate_in_file",
            zh: "本文件中已有同一主体、同一文号、同一机关的记录".into(),
            en: "the file already has a record of this subject, document number and authority".into(),
        }
    }
}

impl fmt::Display for RowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}", self.row)?;
        if !self.column.is_empty() {
            write!(f, ", column `{}`", self.column)?;
        }
        write!(f, ": {} / {}", self.en, self.zh)
    }
}

/// Why a file was not read at all. Headings are shown cut to [`HEADING_SHOWN_CHARS`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileError {
    /// More than [`FILE_BYTES_MAX`].
    TooLarge {
        /// Its size.
        bytes: u64,
    },
    /// More than [`ROWS_MAX`] rows.
    TooManyRows,
    /// More than [`COLUMNS_MAX`] columns.
    TooManyColumns {
        /// How many.
        columns: usize,
    },
    /// More than [`ROW_LINES_MAX`] lines in one row.
    RowTooLong {
        /// Line on which the row begins.
        line: u32,
    },
    /// No text.
    Text(NormalizeError),
    /// No line with content.
    Empty,
    /// Not one heading of the item in the first line. It is not shown: it may be a row of data.
    NoHeader,
    /// The same field under two headings.
    DuplicateColumn {
        /// The second heading.
        column: String,
    },
    /// A heading outside the catalog.
    UnknownColumn {
        /// The heading.
        column: String,
        /// The nearest heading of the item, if one is near.
        suggestion: Option<String>,
    },
    /// No column for a required field.
    MissingColumn {
        /// Its column code.
        column: String,
        /// Its Chinese name.
        name: String,
    },
    /// A heading of the 2016 layout, or a numbered code without the words that say what it holds.
    OldLayout {
        /// The heading.
        column: String,
    },
}

impl FileError {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "file_too_large",
            Self::TooManyRows => "file_too_many_rows",
            Self::TooManyColumns { .. } => "file_too_many_columns",
            Self::RowTooLong { .. } => "file_row_too_long",
            Self::Text(why) => why.code(),
            Self::Empty => "file_empty",
            Self::NoHeader => "file_no_header",
            Self::DuplicateColumn { .. } => "column_duplicate",
            Self::UnknownColumn { .. } => "column_unknown",
            Self::MissingColumn { .. } => "column_missing",
            Self::OldLayout { .. } => "layout_2016",
        }
    }

    /// The same statement in Chinese.
    pub fn zh(&self) -> String {
        match self {
            Self::TooLarge { bytes } => {
                format!("文件为{bytes}字节，超过上限{FILE_BYTES_MAX}字节，请分批提交")
            }
            Self::TooManyRows => format!("文件超过{ROWS_MAX}行，请分批提交"),
            Self::TooManyColumns { columns } => {
                format!("文件有{columns}列，超过上限{COLUMNS_MAX}列，请检查分隔符")
            }
            Self::RowTooLong { line } => {
                format!("从第{line}行起的一条记录超过{ROW_LINES_MAX}行，可能缺少右引号")
            }
            Self::Text(why) => why.zh(),
            Self::Empty => "文件没有内容".into(),
            Self::NoHeader => "首行不是该目录项的表头，请检查表头、分隔符和目录项".into(),
            Self::DuplicateColumn { column } => format!("列“{column}”重复"),
            Self::UnknownColumn { column, suggestion: Some(near) } => {
                format!("列“{column}”不在目录中，是否应为“{near}”？未纳入目录的信息不得归集")
            }
            Self::UnknownColumn { column, suggestion: None } => {
                format!("列“{column}”不在目录中；未纳入目录的信息不得归集")
            }
            Self::MissingColumn { column, name } => format!("缺少必填列{column}（{name}）"),
            Self::OldLayout { column } => {
                format!(
                    "列“{column}”属于2016年版格式或含义不明，暂不支持2016年版；2018年版请写全称，如“行政相对人代码_3(组织机构代码)”"
                )
            }
        }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { bytes } => {
                write!(f, "file of {bytes} bytes exceeds the limit of {FILE_BYTES_MAX}; submit it in parts")
            }
            Self::TooManyRows => write!(f, "file has more than {ROWS_MAX} rows; submit it in parts"),
            Self::TooManyColumns { columns } => {
                write!(f, "file has {columns} columns, more than {COLUMNS_MAX}; check the separator")
            }
            Self::RowTooLong { line } => {
                write!(
                    f,
                    "the row that begins on line {line} exceeds {ROW_LINES_MAX} lines; a quotation mark may be open"
                )
            }
            Self::Text(why) => why.fmt(f),
            Self::Empty => f.write_str("file is empty"),
            Self::NoHeader => {
                f.write_str("the first line is no heading of this item; check heading, separator and item")
            }
            Self::DuplicateColumn { column } => write!(f, "column `{column}` occurs twice"),
            Self::UnknownColumn { column, suggestion } => {
                write!(f, "column `{column}` is not in the catalog")?;
                suggestion.as_ref().map_or(Ok(()), |near| write!(f, "; did you mean `{near}`?"))
            }
            Self::MissingColumn { column, name } => {
                write!(f, "required column `{column}` ({name}) is missing")
            }
            Self::OldLayout { column } => write!(
                f,
                "column `{column}` belongs to the 2016 layout, which is not read yet; numbered codes changed meaning in 2018, so give the full heading"
            ),
        }
    }
}

impl std::error::Error for FileError {}
