//! What a check may find, in words for people.

use core::fmt;

/// What is wrong with something stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wrong {
    /// The engine does not give it.
    Unreadable,
    /// Checkpoint, tiles and entries do not fit.
    LogBroken,
    /// An entry does not read, or does not name the one before it.
    EntryBroken,
    /// A statement is not signed by the log's owner.
    StatementBroken,
    /// A row does not read, or belongs to no table.
    RowDamaged,
    /// A row that follows from the log is not there.
    RowMissing,
    /// A row that nothing in the log explains.
    RowUnexplained,
    /// A row says another thing than the log, or than the row it belongs to.
    RowDiffers,
    /// The sealed record of a version is not there.
    PayloadMissing,
    /// A sealed record does not open, or is not the one the log has.
    PayloadBroken,
    /// A sealed record that the log says is erased, or that no version names.
    PayloadUnexplained,
    /// The key of a version is gone, and the log does not say it was destroyed.
    KeyMissing,
    /// A key that the log says is destroyed.
    KeyKept,
}

impl Wrong {
    /// In English.
    pub const fn en(self) -> &'static str {
        match self {
            Self::Unreadable => "cannot be read",
            Self::LogBroken => "checkpoint, tiles and entries do not fit",
            Self::EntryBroken => "the entry is damaged",
            Self::StatementBroken => "the signed statement does not hold",
            Self::RowDamaged => "the row is damaged",
            Self::RowMissing => "the row is missing",
            Self::RowUnexplained => "nothing in the log explains the row",
            Self::RowDiffers => "the row says another thing than the log",
            Self::PayloadMissing => "the sealed record is missing",
            Self::PayloadBroken => "the sealed record is damaged",
            Self::PayloadUnexplained => "no version that stands has this sealed record",
            Self::KeyMissing => "the key is gone, and no entry says that it was destroyed",
            Self::KeyKept => "the log says this key is destroyed; the next start of the node destroys it",
        }
    }

    /// In Chinese.
    pub const fn zh(self) -> &'static str {
        match self {
            Self::Unreadable => "无法读取",
            Self::LogBroken => "检查点、哈希块与日志条目不一致",
            Self::EntryBroken => "日志条目已损坏",
            Self::StatementBroken => "签名声明无效",
            Self::RowDamaged => "数据行已损坏",
            Self::RowMissing => "缺少数据行",
            Self::RowUnexplained => "日志中没有该数据行的依据",
            Self::RowDiffers => "数据行与日志不一致",
            Self::PayloadMissing => "缺少密封记录",
            Self::PayloadBroken => "密封记录已损坏",
            Self::PayloadUnexplained => "没有有效版本对应该密封记录",
            Self::KeyMissing => "密钥缺失，且日志未记载其已销毁",
            Self::KeyKept => "日志记载该密钥已销毁；节点下次启动时会销毁",
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where: log, table or slot, with index or key. Holds no personal value.
    pub place: String,
    /// What.
    pub wrong: Wrong,
    /// What exactly, where there is more to say.
    pub detail: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, wrong, detail } = self;
        write!(f, "{place}: {} / {}", wrong.en(), wrong.zh())?;
        if detail.is_empty() { Ok(()) } else { write!(f, " ({detail})") }
    }
}
