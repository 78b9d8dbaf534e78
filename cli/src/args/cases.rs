//! Arguments of the verbs about repair, dispute, masking and erasure.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};

use super::Dir;

#[derive(Debug, Subcommand)]
pub(crate) enum Repair {
    /// Take a subject's application at this member's counter.
    Apply(Apply),
    /// Accept a case (受理).
    Accept {
        /// Case id.
        case: String,
        #[command(flatten)]
        by: By,
        #[command(flatten)]
        node: Dir,
    },
    /// Grant or refuse a case (准予/不予修复).
    Decide {
        /// Case id.
        case: String,
        /// Refuse, with this reason, also before acceptance (不予受理); otherwise the repair is granted.
        #[arg(long)]
        refuse: Option<String>,
        /// The material was false or the pledge broken: bar the subject for the time that the rule set says.
        #[arg(long, requires = "refuse")]
        false_material: bool,
        /// Last day of that time (YYYY-MM-DD), where the rule set does not provide it.
        #[arg(long, requires = "false_material", value_name = "DATE")]
        barred_until: Option<String>,
        #[command(flatten)]
        by: By,
        #[command(flatten)]
        node: Dir,
    },
    /// Cases decided here and applications taken here.
    List(Dir),
    /// The repair certificate for the subject (信用修复证明), of a granted or a refused repair.
    Certify(Certify),
    /// The propagation certificate of a decision.
    Certificate {
        /// Index of the decision in this member's status log, as `decide` printed it.
        event: u64,
        /// Where to write it; a new file.
        #[arg(long)]
        out: Option<PathBuf>,
        #[command(flatten)]
        about: Subjected,
        #[command(flatten)]
        node: Dir,
    },
}

/// What a subject hands in at a counter.
#[derive(Debug, ClapArgs)]
pub(crate) struct Apply {
    /// The member whose body decided.
    #[arg(long)]
    pub(crate) authority: String,
    /// Catalog item, for example CF.
    #[arg(long)]
    pub(crate) item: String,
    /// Document number as written on the decision.
    #[arg(long)]
    pub(crate) document: String,
    /// Credit code or resident number of the subject.
    #[arg(long)]
    pub(crate) subject: String,
    /// A paper handed in, for a repair 履行完毕证明 and 信用承诺书; may be repeated.
    #[arg(long = "paper")]
    pub(crate) papers: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) by: By,
    #[command(flatten)]
    pub(crate) node: Dir,
}

/// Who takes a step of a case.
#[derive(Debug, ClapArgs)]
pub(crate) struct By {
    /// The clerk who takes this step: an id that this member gives out, no name; it enters the log.
    #[arg(long)]
    pub(crate) clerk: Option<String>,
}

/// Whom and what a certificate is about, as it stands on the decision. A page needs all three.
#[derive(Debug, ClapArgs)]
pub(crate) struct Subjected {
    /// Credit code or resident number of the subject.
    #[arg(long, requires_all = ["document", "item"])]
    pub(crate) subject: Option<String>,
    /// Document number as written on the decision.
    #[arg(long, requires = "subject")]
    pub(crate) document: Option<String>,
    /// Catalog item of the record, for example CF.
    #[arg(long, requires = "subject")]
    pub(crate) item: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Certify {
    /// Index of the decision in this member's status log, as `decide` printed it, or the case.
    pub(crate) decision: String,
    /// page (HTML to be printed, with a code), json, or cose (a signed statement, with FILE.receipt and FILE.entry).
    #[arg(long, default_value = "page")]
    pub(crate) form: String,
    /// Where to write it; a new file, and new ones beside it for `cose`.
    #[arg(long)]
    pub(crate) out: PathBuf,
    /// Name of the subject, for the page only.
    #[arg(long)]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) about: Subjected,
    #[command(flatten)]
    pub(crate) node: Dir,
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
        /// Only what this clerk has to do next here, and the applications this clerk took.
        #[arg(long, value_name = "ID")]
        clerk: Option<String>,
        #[command(flatten)]
        node: Dir,
    },
    /// Assign what is left of a case to a clerk of this authority.
    Assign {
        /// Case id.
        case: String,
        /// The clerk: an id that this member gives out, no name; it enters the log.
        #[arg(long, value_name = "ID")]
        clerk: String,
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
    /// Records that other members have pushed here to be published (公示), and until when; and what is to be taken down.
    Received {
        /// Show what this one says.
        #[arg(long, value_name = "ID")]
        record: Option<String>,
        /// Only what is to be published or taken down and is near its last day or overdue.
        #[arg(long, conflicts_with = "record")]
        due: bool,
        #[command(flatten)]
        node: Dir,
    },
    /// Own records that are to be published in the province where their subject is registered, and how far each is.
    Pushed(Dir),
    /// Say that this member has published a record, an own one or one received; its authority counts from that day.
    Publish {
        /// Record id.
        record: String,
        /// The day (YYYY-MM-DD). Default: today.
        #[arg(long, value_name = "DATE")]
        on: Option<String>,
        /// Also a day before the record was taken in here, or one by which its publicity is over and it ends for good.
        #[arg(long, requires = "on")]
        confirm: bool,
        #[command(flatten)]
        node: Dir,
    },
    /// Say that this member has taken down what it had published of a record that has ended, is hidden or was corrected
    /// (停止公示); its authority is told.
    TakeDown {
        /// Record id.
        record: String,
        /// The day (YYYY-MM-DD). Default: today.
        #[arg(long, value_name = "DATE")]
        on: Option<String>,
        #[command(flatten)]
        node: Dir,
    },
    /// Withdraw a record whose act was revoked (撤销): nobody may use it, and it is erased.
    Withdraw {
        /// Record id.
        record: String,
        /// Legal ground.
        #[arg(long)]
        reason: String,
        /// The paper that revokes it; its digest enters the log.
        #[arg(long, value_name = "FILE")]
        paper: Option<PathBuf>,
        #[command(flatten)]
        node: Dir,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Dispute {
    /// Take a subject's objection to a record at this member's counter (异议申请); its authority marks the record at once.
    File(Apply),
    /// Answer an objection (异议处理结果), at the authority.
    #[command(group = clap::ArgGroup::new("finding").required(true))]
    Resolve {
        /// Case id.
        case: String,
        /// The record was wrong, and the corrected one has been submitted since: take the mark off.
        #[arg(long, group = "finding")]
        corrected: bool,
        /// The act does not stand: withdraw the record.
        #[arg(long, group = "finding")]
        withdrawn: bool,
        /// The record is right, for this reason: take the mark off.
        #[arg(long, group = "finding", value_name = "REASON")]
        rejected: Option<String>,
        /// Legal ground.
        #[arg(long)]
        ground: String,
        #[command(flatten)]
        by: By,
        #[command(flatten)]
        node: Dir,
    },
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
    /// Write the erasure certificate to this new file; with --records a new directory with one file per record.
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) node: Dir,
}
