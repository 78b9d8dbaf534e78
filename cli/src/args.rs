//! The command line. Every verb names what it needs; what it prints is in `cmd`.

mod ask;
mod audit;
mod cases;
mod federation;
mod gateway;
mod node;
mod policy;
mod subject;

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};

pub(crate) use self::ask::{ChangeWord, Grant, GrantIssue, GrantSign, GrantTerms, Query};
pub(crate) use self::audit::{Audit, OfSubject, Verify};
pub(crate) use self::cases::{Apply, By, Case, Certify, Dispute, Erase, Record, Repair, Subjected};
pub(crate) use self::federation::{Federation, Member, MemberRequest, OVERLAP_DAYS};
pub(crate) use self::gateway::{Gateway, Hook, Key, Sandbox};
pub(crate) use self::node::{BackupKeys, Node, NodeBackup, NodePassphrase, NodeRestore};
pub(crate) use self::policy::{Explain, Policy};
pub(crate) use self::subject::{Subject, SubjectKey};
use crate::bench::args::Bench;

/// 信桥 Xinqiao: a node for a federation of public-credit platforms.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
pub(crate) struct Args {
    /// Print one JSON document instead of text.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// The member's directory.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct Dir {
    /// Directory of the member.
    #[arg(long, env = "XINQIAO_DIR", value_name = "DIR")]
    pub(crate) dir: PathBuf,
}

/// The member's directory and what opens its keystore.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct Unlock {
    /// Directory of the member.
    #[arg(long, env = "XINQIAO_DIR", value_name = "DIR")]
    pub(crate) dir: PathBuf,
    #[command(flatten)]
    pub(crate) passphrase: Passphrase,
}

/// Where the passphrase or the key is.
#[derive(Clone, Debug, Default, ClapArgs)]
pub(crate) struct Passphrase {
    /// File whose first line is the passphrase; keep it readable by its owner only. Default: xinqiao-passphrase in
    /// $CREDENTIALS_DIRECTORY, where a service manager puts it.
    #[arg(long, env = "XINQIAO_PASSPHRASE_FILE", value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// File of 32 random bytes that opens the keystore in place of a passphrase.
    #[arg(long, value_name = "FILE", conflicts_with = "passphrase_file")]
    pub(crate) key_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// A whole federation on this machine: collect, grant, ask, repair, audit, tamper.
    Demo(Demo),
    /// A federation on this machine with a gateway, and a company for each outcome that a bank's system meets.
    Sandbox(Sandbox),
    /// The gateway for this member's own systems: JSON over HTTP.
    #[command(subcommand)]
    Gateway(Gateway),
    /// Found and govern a federation.
    #[command(subcommand)]
    Federation(Federation),
    /// Become a member.
    #[command(subcommand)]
    Member(Member),
    /// Set up, run and watch a node.
    #[command(subcommand)]
    Node(Node),
    /// Departments that hand in files.
    #[command(subcommand)]
    Source(Source),
    /// Show the catalog: items, fields, classes and modes.
    Catalog {
        /// Show the fields of one item.
        item: Option<String>,
    },
    /// Hand in a department's file.
    Submit {
        /// CSV in UTF-8 (with or without BOM) or GBK.
        file: PathBuf,
        /// Catalog item, for example CF.
        #[arg(long)]
        item: String,
        /// The department's account.
        #[arg(long)]
        source: String,
        /// A document number whose row is meant as it stands: another act than one that has ended, or an earlier content that
        /// is to hold again; may be repeated.
        #[arg(long, value_name = "NUMBER")]
        confirm: Vec<String>,
        #[command(flatten)]
        node: Dir,
    },
    /// Quality per department and item: accepted, rejected, late.
    Quality(Dir),
    /// Subjects' authorisations.
    #[command(subcommand)]
    Grant(Grant),
    /// A subject's own key, with which it signs its grants itself.
    #[command(subcommand)]
    Subject(Subject),
    /// Ask about a subject through the outlet.
    Query(Query),
    /// The rules of disclosure: why a question would be answered or not, and whether they decide as they must.
    #[command(subcommand)]
    Policy(Policy),
    /// Repair cases: apply, accept, decide.
    #[command(subcommand)]
    Repair(Repair),
    /// Cases and their deadlines.
    #[command(subcommand)]
    Case(Case),
    /// Dispute marks, by the record's authority.
    #[command(subcommand)]
    Dispute(Dispute),
    /// Hide a record for a reorganisation, show it again, or end its publicity, by its authority.
    #[command(subcommand)]
    Record(Record),
    /// A record's standing as this member knows it.
    Status {
        /// Record id, as `repair` and `query` print it.
        record: String,
        #[command(flatten)]
        node: Dir,
    },
    /// Fetch what is new from peers now, compare standings with them, and mend what differs by the log.
    Reconcile {
        /// With this peer only.
        #[arg(long, value_name = "MEMBER")]
        peer: Option<String>,
        #[command(flatten)]
        node: Dir,
    },
    /// Destroy the keys and payloads of records for good.
    Erase(Erase),
    /// Read and check access logs.
    #[command(subcommand)]
    Audit(Audit),
    /// Verify a file, an exported log or a published log, offline against a registry; a proof also against a policy.
    Verify(Verify),
    /// Check this machine and a member's directory.
    Doctor(Dir),
    /// Measure what this machine does, beside what its parts cost.
    #[command(subcommand)]
    Bench(Bench),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Demo {
    /// Seed of the sample data.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Sample records per region.
    #[arg(long, default_value_t = 300)]
    pub(crate) records: usize,
    /// Where to build the federation; a new directory. Default: a temporary one, removed at the end.
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Leave the nodes up until Ctrl-C, and print what to try next.
    #[arg(long)]
    pub(crate) keep: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Source {
    /// Register a department.
    Add {
        /// Its account, for example sh-scjg.
        id: String,
        #[command(flatten)]
        node: Dir,
    },
}
