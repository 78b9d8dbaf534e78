//! The command line. Every verb names what it needs; what it prints is in `cmd`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

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
        #[command(flatten)]
        node: Dir,
    },
    /// Quality per department and item: accepted, rejected, late.
    Quality(Dir),
    /// Subjects' authorisations.
    #[command(subcommand)]
    Grant(Grant),
    /// Ask about a subject through the outlet.
    Query(Query),
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
    /// Fetch what is new from every peer now.
    Reconcile(Dir),
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
pub(crate) struct Erase {
    /// Record id.
    #[arg(required_unless_present = "records")]
    pub(crate) record: Option<String>,
    /// File with one record id a line; those that are erased already are counted and left alone.
    #[arg(long, value_name = "FILE", conflicts_with = "record")]
    pub(crate) records: Option<PathBuf>,
    /// Legal reason.
    #[arg(long)]
    pub(crate) reason: String,
    /// Write the erasure certificate to this file; with --records a new directory with one file per record.
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) node: Dir,
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
pub(crate) enum Federation {
    /// Make governors' keys, the record key, and an empty registry to admit members into.
    Init {
        /// Name of the federation, part of every log's name.
        #[arg(long)]
        name: String,
        /// How many governors.
        #[arg(long, default_value_t = 3)]
        governors: u8,
        /// How many of them must sign.
        #[arg(long, default_value_t = 2)]
        threshold: u8,
        #[command(flatten)]
        at: Unlock,
    },
    /// Take a member's request into the next registry version.
    Admit {
        /// The request file.
        request: PathBuf,
        /// Make the member a witness of its peers' logs.
        #[arg(long)]
        witness: bool,
        /// Members that keep full copies of this member's logs.
        #[arg(long, value_delimiter = ',')]
        mirrors: Vec<String>,
        #[command(flatten)]
        at: Unlock,
    },
    /// Sign the next version as a governor; with enough signatures it is written to `registry`.
    Sign {
        /// The governor, g1, g2 …
        #[arg(long)]
        governor: String,
        #[command(flatten)]
        at: Unlock,
    },
    /// Suspend a member in the draft of the next registry version; admitting it again lets it back in.
    Suspend {
        /// The member.
        member: String,
        #[command(flatten)]
        at: Dir,
    },
    /// Hand a signed successor of the registry to the running node; peers fetch it from there by themselves.
    Update {
        /// The signed registry.
        #[arg(long)]
        registry: PathBuf,
        #[command(flatten)]
        node: Dir,
    },
    /// Trust a member again that this node has frozen because its key had signed two histories of a log.
    Unfreeze {
        /// The member.
        member: String,
        /// Why; kept beside the evidence.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        node: Dir,
    },
    /// Show a registry file.
    Show {
        /// The file.
        registry: PathBuf,
    },
    /// Write whom to believe about one log, as a trust policy for `verify` and other people's tools (C2SP tlog-policy).
    Policy {
        /// The signed registry.
        #[arg(long)]
        registry: PathBuf,
        /// Whose log.
        #[arg(long)]
        member: String,
        /// records, status or access.
        #[arg(long)]
        log: String,
        /// Where to write it. Default: standard output.
        #[arg(long)]
        out: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Member {
    /// Make a member's keys and its signed request for admission.
    Request(Box<MemberRequest>),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct MemberRequest {
    /// Short label, for example sh or bank-a.
    #[arg(long)]
    pub(crate) id: String,
    /// region, district, platform, bank or auditor.
    #[arg(long)]
    pub(crate) role: String,
    /// Name for people.
    #[arg(long)]
    pub(crate) name: String,
    /// GB/T 2260 code of the region.
    #[arg(long, default_value = "")]
    pub(crate) region: String,
    /// host:port for peers; leave out for a member without a node.
    #[arg(long, default_value = "")]
    pub(crate) quic: String,
    /// host:port for the published logs.
    #[arg(long, default_value = "")]
    pub(crate) http: String,
    /// May collect subjects' letters and sign grants.
    #[arg(long)]
    pub(crate) collector: bool,
    /// Credit code of a deciding body this member is the authority for; may be repeated.
    #[arg(long = "body")]
    pub(crate) bodies: Vec<String>,
    /// Where to write the request.
    #[arg(long)]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) at: Unlock,
}

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

#[derive(Debug, Subcommand)]
pub(crate) enum Grant {
    /// Sign a grant from a subject's letter that this collector keeps.
    Issue(Box<GrantIssue>),
    /// Revoke a grant issued here.
    Revoke {
        /// The grant file.
        grant: PathBuf,
        #[command(flatten)]
        node: Dir,
    },
    /// Pause a grant issued here: no member answers on it until it is resumed.
    Pause {
        /// The grant file.
        grant: PathBuf,
        #[command(flatten)]
        node: Dir,
    },
    /// Let a paused grant be used again.
    Resume {
        /// The grant file.
        grant: PathBuf,
        #[command(flatten)]
        node: Dir,
    },
    /// Show a grant: whose word it is, what it allows, and where it stands at a member.
    Show {
        /// The grant file.
        grant: PathBuf,
        /// Directory of the member whose running node is asked where the grant stands.
        #[arg(long, env = "XINQIAO_DIR", value_name = "DIR")]
        dir: Option<PathBuf>,
        /// Without a node: the registry to verify it against; it then tells what the grant says.
        #[arg(long, conflicts_with = "dir", value_name = "FILE")]
        registry: Option<PathBuf>,
    },
}

#[derive(Debug, ClapArgs)]
pub(crate) struct GrantIssue {
    /// Credit code or resident number of the subject.
    #[arg(long)]
    pub(crate) subject: String,
    /// The member that may ask.
    #[arg(long)]
    pub(crate) grantee: String,
    /// pre-loan, approval, post-loan, guarantee …; may be repeated.
    #[arg(long = "purpose", required = true)]
    pub(crate) purposes: Vec<String>,
    /// ITEM, or ITEM:FIELD,FIELD with column names or numbers; may be repeated.
    #[arg(long = "item", required = true)]
    pub(crate) items: Vec<String>,
    /// The signed letter; its digest enters the grant.
    #[arg(long)]
    pub(crate) letter: PathBuf,
    /// Valid for so many days from now.
    #[arg(long, default_value_t = 30)]
    pub(crate) days: u32,
    /// Questions each member answers on it in all; 1 makes it one-time.
    #[arg(long, default_value_t = 1)]
    pub(crate) uses: u32,
    /// Periodic: how often within that, as USES/DAYS; 3/30 is three questions in any thirty days.
    #[arg(long, value_name = "USES/DAYS")]
    pub(crate) period: Option<String>,
    /// Days the asker may keep what it receives.
    #[arg(long, default_value_t = 180)]
    pub(crate) keep_days: u32,
    /// Where to write the grant.
    #[arg(long)]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) node: Dir,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Query {
    /// Credit code or resident number of the subject. Default: whom the grant names.
    #[arg(long, required_unless_present = "grant")]
    pub(crate) subject: Option<String>,
    /// For what: pre-loan, approval, post-loan, guarantee …
    #[arg(long)]
    pub(crate) purpose: String,
    /// The subject's grant.
    #[arg(long)]
    pub(crate) grant: Option<PathBuf>,
    /// ITEM or ITEM:FIELD,FIELD; may be repeated. Default: what the grant names.
    #[arg(long = "fields")]
    pub(crate) fields: Vec<String>,
    /// The clerk who asks.
    #[arg(long, default_value = "clerk-1")]
    pub(crate) clerk: String,
    /// Seconds to wait for members.
    #[arg(long, default_value_t = 10)]
    pub(crate) wait: u64,
    /// Keep the sealed answer in this file, for `verify`.
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) node: Dir,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Repair {
    /// Take a subject's application at this member's counter.
    Apply {
        /// The member whose body decided.
        #[arg(long)]
        authority: String,
        /// Catalog item, for example CF.
        #[arg(long)]
        item: String,
        /// Document number as written on the decision.
        #[arg(long)]
        document: String,
        /// Credit code or resident number of the subject.
        #[arg(long)]
        subject: String,
        /// A paper handed in; may be repeated.
        #[arg(long = "paper")]
        papers: Vec<PathBuf>,
        #[command(flatten)]
        node: Dir,
    },
    /// Accept a case (受理).
    Accept {
        /// Case id.
        case: String,
        #[command(flatten)]
        node: Dir,
    },
    /// Grant or refuse a case (准予/不予修复).
    Decide {
        /// Case id.
        case: String,
        /// Refuse, with this reason; otherwise the repair is granted.
        #[arg(long)]
        refuse: Option<String>,
        #[command(flatten)]
        node: Dir,
    },
    /// Cases decided here and applications taken here.
    List(Dir),
    /// The propagation certificate of a decision.
    Certificate {
        /// Index of the decision in this member's status log, as `decide` printed it.
        event: u64,
        /// Where to write it.
        #[arg(long)]
        out: Option<PathBuf>,
        #[command(flatten)]
        node: Dir,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Case {
    /// Cases decided here, applications taken here with their outcome, and withdrawn records to be erased.
    List {
        /// Only what is near its deadline or overdue, and erasures.
        #[arg(long)]
        due: bool,
        /// Only what this member decides.
        #[arg(long, value_name = "MEMBER")]
        authority: Option<String>,
        #[command(flatten)]
        node: Dir,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Record {
    /// Hide a record while a court-approved reorganisation or settlement is carried out (暂时屏蔽).
    Mask {
        /// Record id.
        record: String,
        /// Legal ground.
        #[arg(long)]
        reason: String,
        /// The court's ruling; its digest enters the log, the paper stays with the authority.
        #[arg(long, value_name = "FILE")]
        paper: PathBuf,
        #[command(flatten)]
        node: Dir,
    },
    /// Show a hidden record again (解除屏蔽).
    Unmask {
        /// Record id.
        record: String,
        /// Legal ground.
        #[arg(long)]
        reason: String,
        /// The paper it rests on; its digest enters the log.
        #[arg(long, value_name = "FILE")]
        paper: Option<PathBuf>,
        #[command(flatten)]
        node: Dir,
    },
    /// End a record's publicity (公示期满); the node does this by itself where the rule set gives a maximum.
    Expire {
        /// Record id.
        record: String,
        /// Legal ground.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        node: Dir,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Dispute {
    /// Mark a record as disputed.
    File {
        /// Record id.
        record: String,
        /// Legal ground.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        node: Dir,
    },
    /// Take the mark off, or withdraw the record.
    Resolve {
        /// Record id.
        record: String,
        /// Legal ground.
        #[arg(long)]
        reason: String,
        /// The act was revoked: withdraw the record.
        #[arg(long)]
        withdraw: bool,
        #[command(flatten)]
        node: Dir,
    },
}

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
    /// Copy a member's published log into a directory and verify it.
    Export {
        /// The member.
        #[arg(long)]
        member: String,
        /// records, status or access.
        #[arg(long, default_value = "access")]
        log: String,
        /// Where to write it.
        #[arg(long)]
        out: PathBuf,
        #[command(flatten)]
        at: Unlock,
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
        /// Where to write the proof.
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
        /// The exported log.
        log: PathBuf,
        /// Only this asker.
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
    },
    /// List the evidence against members that have signed two histories of a log.
    Evidence {
        /// Write each piece into a file of its own here, for `verify`.
        #[arg(long)]
        out: Option<PathBuf>,
        #[command(flatten)]
        node: Dir,
    },
    /// Lay an asker's exported access log beside a member's.
    CrossCheck {
        /// The asker's log.
        #[arg(long)]
        asker: PathBuf,
        /// The member's log.
        #[arg(long)]
        member: PathBuf,
    },
    /// The certificate that a record was erased here.
    Erasure {
        /// Record id.
        record: String,
        /// Where to write it.
        #[arg(long)]
        out: Option<PathBuf>,
        #[command(flatten)]
        node: Dir,
    },
    /// A subject's accesses at this member, checked for completeness against an exported log.
    Subject {
        /// Credit code or resident number.
        #[arg(long)]
        subject: String,
        /// The exported access log of this member.
        #[arg(long)]
        log: PathBuf,
        #[command(flatten)]
        node: Dir,
    },
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Verify {
    /// A file of this system, an exported log's directory, or the URL of a published log.
    pub(crate) what: String,
    /// The registry to trust.
    #[arg(long, required_unless_present = "policy")]
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
    /// Fail when fewer witnesses have cosigned than the registry's policy demands.
    #[arg(long)]
    pub(crate) require_witnesses: bool,
    /// Open a kept answer with the keys in this directory.
    #[arg(long, requires = "passphrase_file", value_name = "DIR")]
    pub(crate) open_with: Option<PathBuf>,
    /// Passphrase file of that directory.
    #[arg(long, env = "XINQIAO_PASSPHRASE_FILE", value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
}
