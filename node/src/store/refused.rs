//! Why a store is not opened, and what to do then.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use crate::Problem;

/// Why a store is not opened.
#[derive(Debug)]
pub enum OpenError {
    /// The disk does not do what it is told.
    Disk {
        /// The store's directory.
        dir: PathBuf,
        /// The system's reason.
        why: String,
    },
    /// The engine cannot read it, or another process has it open.
    Engine {
        /// The store's directory.
        dir: PathBuf,
        /// The engine's reason.
        why: String,
    },
    /// It has fewer batches than were acknowledged: its end was lost, or an older copy was put in its place.
    Older {
        /// The store's directory.
        dir: PathBuf,
        /// Batches it has.
        has: u64,
        /// Batches the tally says were acknowledged.
        acknowledged: u64,
    },
    /// The tally cannot be read.
    Tally {
        /// The file.
        path: PathBuf,
        /// Why.
        why: io::Error,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk { dir, why } | Self::Engine { dir, why } => write!(f, "{}: {why}", dir.display()),
            Self::Older { dir, has, acknowledged } => write!(
                f,
                "{} has {has} batches, and {acknowledged} were acknowledged: its end is lost, or it is an older copy",
                dir.display()
            ),
            Self::Tally { path, why } => write!(f, "{}: {why}", path.display()),
        }
    }
}

impl std::error::Error for OpenError {}

impl From<OpenError> for Problem {
    fn from(error: OpenError) -> Self {
        let what = error.to_string();
        match error {
            OpenError::Disk { .. } => Self::fault(what),
            OpenError::Engine { .. } => Self::new(
                what,
                "if another process uses the directory, stop it; else the store is damaged: keep it for inspection, check \
                 the disk, and put the whole directory back from the newest backup",
                "若有其他进程占用该目录，请先停止；否则存储已损坏：请保留现场、检查磁盘，并用最近的备份恢复整个目录",
            ),
            OpenError::Older { .. } => Self::new(
                what,
                "check the disk, and put the whole directory back from the newest backup, not a part of it; if there is \
                 none that is newer, start with --take-back: the mirrors give back what they have seen of the logs, and \
                 files handed in since are to be handed in again",
                "请检查磁盘，并用最近的备份恢复整个目录（不要只恢复其中一部分）；若没有更新的备份，请用 --take-back 启动：\
                 镜像会交还其所见的日志，其间报送的文件须重新报送",
            ),
            OpenError::Tally { why, .. } if why.kind() != io::ErrorKind::InvalidData => Self::fault(what),
            OpenError::Tally { .. } => Self::new(
                what,
                "the file says how much was acknowledged, and is damaged: check the disk, and start with --take-back, so \
                 that the mirrors are asked for what may be missing; then stop the node and run `xinqiao node fsck`",
                "该文件记录已确认的数量，现已损坏：请检查磁盘，并用 --take-back 启动，向镜像核对可能缺失的部分；\
                 之后停止节点，运行 `xinqiao node fsck`",
            ),
        }
    }
}

/// Whether the disk or what is on it is to blame.
pub(super) fn refusal(dir: &Path, error: &fjall::Error) -> OpenError {
    let (dir, why) = (dir.to_owned(), error.to_string());
    let system = match error {
        fjall::Error::Io(e) | fjall::Error::Storage(fjall::LsmError::Io(e)) => Some(e.kind()),
        _ => None,
    };
    match system {
        // Files that end too early, or are not where they were, are damage.
        None | Some(io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::NotFound) => {
            OpenError::Engine { dir, why }
        }
        Some(_) => OpenError::Disk { dir, why },
    }
}
