//! Arguments of the verbs about a subject's own key.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};

use super::{Dir, Passphrase};

#[derive(Debug, Subcommand)]
pub(crate) enum Subject {
    /// Make a key for a subject, and print its public half.
    Key {
        /// Where to write the key, sealed; a new file.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        #[command(flatten)]
        passphrase: Passphrase,
    },
    /// Vouch for a subject's key, as a collector that has seen its papers.
    Bind {
        /// Credit code or resident number of the subject.
        #[arg(long)]
        subject: String,
        /// The public key, as `subject key` printed it.
        #[arg(long)]
        key: String,
        /// The signed paper by which the subject has shown that the key is its own; its digest enters the binding.
        #[arg(long)]
        paper: PathBuf,
        /// Grants that the key signs may be valid for so many days from now.
        #[arg(long, default_value_t = 366)]
        days: u32,
        /// Where to write the binding; a new file.
        #[arg(long)]
        out: PathBuf,
        #[command(flatten)]
        node: Dir,
    },
    /// Vouch for a key no longer: every grant that it has signed is over.
    Withdraw {
        /// The binding.
        binding: PathBuf,
        #[command(flatten)]
        node: Dir,
    },
}

/// A subject's key file.
#[derive(Debug, ClapArgs)]
pub(crate) struct SubjectKey {
    /// The file that `subject key` wrote.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
    #[command(flatten)]
    pub(crate) passphrase: Passphrase,
}
