//! Arguments of the verbs that set up, run, back up and check a node.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand, ValueEnum};

use super::{Dir, Passphrase, Unlock};

#[derive(Debug, Subcommand)]
pub(crate) enum Node {
    /// Give a member's directory its registry and settings.
    Init {
        /// The signed registry.
        #[arg(long)]
        registry: PathBuf,
        #[command(flatten)]
        at: Dir,
    },
    /// Run the node until Ctrl-C.
    Run {
        #[command(flatten)]
        at: Unlock,
        /// Serve although no mirror answers: only when this directory is surely no old copy of itself.
        #[arg(long)]
        alone: bool,
        /// The store is an older copy, or empty, and mirrors are to give back what they have seen of this member's logs.
        #[arg(long, conflicts_with = "alone")]
        take_back: bool,
        /// Stop when standard input ends: for a parent process that must not leave nodes behind.
        #[arg(long)]
        with_parent: bool,
    },
    /// Check everything stored against everything else; the node must not run.
    Fsck(Unlock),
    /// How the node is.
    Status(Dir),
    /// Stop the node in good order.
    Stop(Dir),
    /// Write the running node's directory into one sealed file.
    Backup(NodeBackup),
    /// Build a directory from a backup, and check everything in it.
    Restore(NodeRestore),
    /// Put the keystore of a stopped node under another passphrase or key.
    Passphrase(NodePassphrase),
}

/// What a backup holds of the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BackupKeys {
    /// No keys: restored with the keys that are in use then, it brings nothing back that was erased.
    Without,
    /// Store and keys: enough after a total loss, and to be destroyed after the next erasure.
    With,
    /// Keys only: small enough to be made anew after every erasure.
    Only,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct NodeBackup {
    /// The file to write; it must not exist.
    #[arg(long)]
    pub(crate) out: PathBuf,
    /// Whether the keys go along.
    #[arg(long, value_enum, default_value = "without")]
    pub(crate) keys: BackupKeys,
    /// File whose first line is the passphrase of the backup.
    #[arg(
        long,
        env = "XINQIAO_BACKUP_PASSPHRASE_FILE",
        value_name = "FILE",
        required_unless_present = "recipient"
    )]
    pub(crate) backup_passphrase_file: Option<PathBuf>,
    /// Seal it to this member's key in the registry instead.
    #[arg(long, value_name = "MEMBER")]
    pub(crate) recipient: Option<String>,
    #[command(flatten)]
    pub(crate) node: Dir,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct NodeRestore {
    /// The backup.
    pub(crate) backup: PathBuf,
    /// Where to build the directory; it must not exist or be empty.
    #[arg(long, env = "XINQIAO_DIR", value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// The member's old directory, or a backup of its keys. Default: the keys in the backup.
    #[arg(long, value_name = "PATH")]
    pub(crate) keys_from: Option<PathBuf>,
    /// File whose first line is the passphrase of the backup.
    #[arg(
        long,
        env = "XINQIAO_BACKUP_PASSPHRASE_FILE",
        value_name = "FILE",
        required_unless_present = "open_with"
    )]
    pub(crate) backup_passphrase_file: Option<PathBuf>,
    /// Directory of the member the backup was sealed to; its keystore is opened with --passphrase-file or --key-file.
    #[arg(long, value_name = "DIR")]
    pub(crate) open_with: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) passphrase: Passphrase,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct NodePassphrase {
    #[command(flatten)]
    pub(crate) at: Unlock,
    /// File whose first line is the new passphrase.
    #[arg(long, value_name = "FILE", required_unless_present = "new_key_file")]
    pub(crate) new_passphrase_file: Option<PathBuf>,
    /// File of 32 random bytes to open it from now on.
    #[arg(long, value_name = "FILE", conflicts_with = "new_passphrase_file")]
    pub(crate) new_key_file: Option<PathBuf>,
}
