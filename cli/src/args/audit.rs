//! Arguments of the verbs that read and check logs and files.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand, builder::ArgPredicate};

use super::{Dir, Subjected, Unlock};

#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// Make a reading pass for log entries (an Authorization header).
    Pass {
        /// Minutes of validity.
        #[arg(long, default_value_t = 60)]
        minutes: u64,
        #[command(flatten)]
        at: Unlock,
    },
    /// Copy a member's published log into a directory and verify it. An earlier copy of it there is brought up to date; one that
    /// what is shown now does not continue is kept, and the new one beside it.
    Export {
        /// The member.
        #[arg(long)]
        member: String,
        /// records, status or access.
        #[arg(long, default_value = "access")]
        log: String,
        /// Fetch the copy that this mirror keeps, instead of what the member itself shows.
        #[arg(long, value_name = "MIRROR")]
        from: Option<String>,
        /// Where to write it: a new directory, or one with an earlier copy.
        #[arg(long)]
        out: PathBuf,
        #[command(flatten)]
        at: Unlock,
    },
    /// Put what proves a member's accesses into one file, for `verify` without a node.
    Bundle {
        /// The member.
        #[arg(long)]
        member: String,
        /// Index of the first access entry.
        #[arg(long, default_value_t = 0)]
        first: u64,
        /// Most access entries; a bundle holds at most 4,096.
        #[arg(long, default_value_t = 4096)]
        limit: usize,
        /// A propagation or erasure certificate of the member to put in; may be repeated. Propagation certificates of what
        /// became of the records and grants in the entries are fetched by this directory's node where it runs.
        #[arg(long = "with", value_name = "FILE")]
        with: Vec<PathBuf>,
        /// Where to write it; a new file.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        #[command(flatten)]
        at: Unlock,
    },
    /// Learn whom accesses at a member are about, as an auditor: the mandate enters both access logs first.
    Identities {
        /// The member.
        #[arg(long)]
        member: String,
        /// Index of the first access entry.
        #[arg(long)]
        first: u64,
        /// Index of the last access entry, at most 4,096 of them.
        #[arg(long)]
        last: u64,
        /// Why; it stands in both logs, so no personal data.
        #[arg(long)]
        reason: String,
        /// The order it rests on; its digest enters the mandate.
        #[arg(long, value_name = "FILE")]
        paper: PathBuf,
        /// Hours for which the mandate is valid.
        #[arg(long, default_value_t = 24)]
        hours: u64,
        #[command(flatten)]
        node: Dir,
    },
    /// Write the proof that an entry is in a log of this member, and the entry beside it, as FILE and FILE.entry.
    Proof {
        /// records, status or access.
        #[arg(long)]
        log: String,
        /// Index of the entry.
        #[arg(long)]
        index: u64,
        /// tlog-proof (C2SP) or cose (a COSE receipt, RFC 9942).
        #[arg(long, default_value = "tlog-proof")]
        form: String,
        /// Where to write the proof; a new file.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Seconds to wait for witnesses.
        #[arg(long, default_value_t = 10)]
        wait: u64,
        /// Write it although too few witnesses have cosigned.
        #[arg(long)]
        unwitnessed: bool,
        #[command(flatten)]
        node: Dir,
    },
    /// Search an exported access log.
    Search {
        /// The exported log; it is verified first.
        log: PathBuf,
        /// The registry to trust.
        #[arg(long)]
        registry: PathBuf,
        /// Only this member's questions, readings and mandates.
        #[arg(long)]
        asker: Option<String>,
        /// Only this purpose.
        #[arg(long)]
        purpose: Option<String>,
        /// Only this clerk.
        #[arg(long)]
        clerk: Option<String>,
        /// Only where this rule was applied.
        #[arg(long)]
        rule: Option<String>,
        /// Only from this day on, as 2026-06-01.
        #[arg(long, value_name = "DATE")]
        from: Option<String>,
        /// Only up to this day, the day itself included.
        #[arg(long, value_name = "DATE")]
        to: Option<String>,
        /// Go on at this entry: `next` of the page before.
        #[arg(long, default_value_t = 0, value_name = "INDEX")]
        start: u64,
        /// Most entries shown.
        #[arg(long, default_value_t = 1000)]
        limit: usize,
    },
    /// List the evidence against members that have signed two histories of a log.
    Evidence {
        /// Write each piece into a file of its own here, for `verify`.
        #[arg(long)]
        out: Option<PathBuf>,
        #[command(flatten)]
        node: Dir,
    },
    /// Look in a member's exported access log for answers with records whose end it had acknowledged before.
    Misuse {
        /// The exported log.
        log: PathBuf,
        /// Propagation certificates, as `repair certificate --out` writes them; may be repeated.
        #[arg(long = "certificate", value_name = "FILE", required = true)]
        certificates: Vec<PathBuf>,
        /// The registry to trust.
        #[arg(long)]
        registry: PathBuf,
    },
    /// Lay an asker's exported access log beside a member's. Each is verified first.
    CrossCheck {
        /// The asker's log.
        #[arg(long)]
        asker: PathBuf,
        /// The member's log.
        #[arg(long)]
        member: PathBuf,
        /// The outlet's log: names the members that the outlet asked and of whom the asker has nothing.
        #[arg(long, value_name = "DIR")]
        outlet: Option<PathBuf>,
        /// The registry to trust.
        #[arg(long)]
        registry: PathBuf,
        /// Write what only one side has, or has otherwise, into a file each here, for `verify`.
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// The certificate that a record was erased here.
    Erasure {
        /// Record id.
        record: String,
        /// Where to write it; a new file.
        #[arg(long)]
        out: Option<PathBuf>,
        #[command(flatten)]
        node: Dir,
    },
    /// A subject's accesses at a member, checked for completeness against an exported log: at that member, which signs
    /// how many there are (`--out` keeps it), or anywhere with what it signed (`--paper`).
    Subject(OfSubject),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct OfSubject {
    /// Credit code or resident number.
    #[arg(long, required_unless_present = "paper", conflicts_with = "paper")]
    pub(crate) subject: Option<String>,
    /// What the member has signed about the accesses, as `--out` wrote it. No node is asked.
    #[arg(long, value_name = "FILE", requires = "registry", requires = "log")]
    pub(crate) paper: Option<PathBuf>,
    /// Writes what the member signs into a new file. Whoever has it can tell which accesses are the subject's, now and
    /// later.
    #[arg(long, value_name = "FILE", conflicts_with = "paper")]
    pub(crate) out: Option<PathBuf>,
    /// The exported access log of that member.
    #[arg(long, value_name = "DIR", required_unless_present = "out")]
    pub(crate) log: Option<PathBuf>,
    /// The same log as exported from a mirror; the two must not contradict each other.
    #[arg(long, value_name = "DIR", requires = "log")]
    pub(crate) copy: Option<PathBuf>,
    /// The registry to judge by; the node's own unless told.
    #[arg(long, value_name = "FILE")]
    pub(crate) registry: Option<PathBuf>,
    /// Directory of the member.
    #[arg(long, env = "XINQIAO_DIR", value_name = "DIR", required_unless_present = "paper")]
    pub(crate) dir: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Verify {
    /// A file of this system, an exported log's directory, or the URL of a published log.
    #[arg(default_value_if("text", ArgPredicate::IsPresent, ""))]
    pub(crate) what: String,
    /// The text of a printed code, as a scanner reads it.
    #[arg(long, conflicts_with_all = ["what", "policy"])]
    pub(crate) text: Option<String>,
    /// The registry to trust. An audit bundle brings one; it is then judged by that.
    #[arg(long)]
    pub(crate) registry: Option<PathBuf>,
    /// The trust policy (C2SP tlog-policy) to judge a tlog-proof or a COSE receipt by, in place of a registry.
    #[arg(long, conflicts_with_all = ["registry", "require_witnesses"])]
    pub(crate) policy: Option<PathBuf>,
    /// The entry that a tlog-proof or a COSE receipt is about. Default: the proof's name with `.entry`.
    #[arg(long)]
    pub(crate) entry: Option<PathBuf>,
    /// Authorization header for entries behind a URL, as `audit pass` prints it.
    #[arg(long)]
    pub(crate) auth: Option<String>,
    /// Fail when fewer witnesses have cosigned than the registry's policy demands, any part of an audit bundle too. What
    /// witnesses do not cosign (grants, orders, answers) is refused.
    #[arg(long)]
    pub(crate) require_witnesses: bool,
    /// With a repair certificate: what is printed on it, to be held against what is signed.
    #[command(flatten)]
    pub(crate) about: Subjected,
    /// Open a kept answer with the keys in this directory.
    #[arg(long, requires = "passphrase_file", value_name = "DIR")]
    pub(crate) open_with: Option<PathBuf>,
    /// Passphrase file of that directory.
    #[arg(long, env = "XINQIAO_PASSPHRASE_FILE", value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
}
