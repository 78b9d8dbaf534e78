//! Arguments of the verbs about grants and questions.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};

use super::{Dir, SubjectKey};

#[derive(Debug, Subcommand)]
pub(crate) enum Grant {
    /// Sign a grant from a subject's letter that this collector keeps.
    Issue(Box<GrantIssue>),
    /// Sign a grant as its subject, with a key of its own. No node is needed.
    Sign(Box<GrantSign>),
    /// Order a change of such a grant as its subject. No node is needed; `grant lodge` takes the order.
    Order {
        /// What is to be done.
        change: ChangeWord,
        /// The grant file.
        grant: PathBuf,
        #[command(flatten)]
        key: SubjectKey,
        /// Where to write the order; a new file.
        #[arg(long)]
        out: PathBuf,
    },
    /// Take a grant or an order that its subject has signed, as the collector that vouches for its key.
    Lodge {
        /// The file that `grant sign` or `grant order` wrote.
        file: PathBuf,
        #[command(flatten)]
        node: Dir,
    },
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
    #[command(flatten)]
    pub(crate) terms: GrantTerms,
    /// The signed letter, which the collector keeps; its digest enters the grant.
    #[arg(long)]
    pub(crate) letter: PathBuf,
    #[command(flatten)]
    pub(crate) node: Dir,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct GrantSign {
    /// The collector's binding of the key, from `subject bind`.
    #[arg(long)]
    pub(crate) binding: PathBuf,
    /// The registry, against which the binding is verified.
    #[arg(long, value_name = "FILE")]
    pub(crate) registry: PathBuf,
    #[command(flatten)]
    pub(crate) key: SubjectKey,
    #[command(flatten)]
    pub(crate) terms: GrantTerms,
}

/// What may be done to a grant.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum ChangeWord {
    /// No member answers on it until it is resumed.
    Pause,
    /// It can be used again.
    Resume,
    /// It is over for good.
    Revoke,
}

/// What a grant allows.
#[derive(Debug, ClapArgs)]
pub(crate) struct GrantTerms {
    /// The member that may ask.
    #[arg(long)]
    pub(crate) grantee: String,
    /// pre-loan, approval, post-loan, guarantee …; may be repeated.
    #[arg(long = "purpose", required = true)]
    pub(crate) purposes: Vec<String>,
    /// ITEM, or ITEM:FIELD,FIELD with column names or numbers; may be repeated, each item once.
    #[arg(long = "item", required = true)]
    pub(crate) items: Vec<String>,
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
    /// Where to write the grant; a new file.
    #[arg(long)]
    pub(crate) out: PathBuf,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Query {
    /// Credit code or resident number of the subject. Default: whom the grant names.
    #[arg(long, required_unless_present = "grant")]
    pub(crate) subject: Option<String>,
    /// For what: pre-loan, approval, post-loan, guarantee … Default: administration with --duty, self with --own.
    #[arg(long, required_unless_present_any = ["duty", "own"])]
    pub(crate) purpose: Option<String>,
    /// The subject's grant.
    #[arg(long, conflicts_with_all = ["duty", "own"])]
    pub(crate) grant: Option<PathBuf>,
    /// Ask under a duty set by law, named by its article, as an authority; it stands in the access logs.
    #[arg(long, value_name = "ARTICLE", conflicts_with = "own")]
    pub(crate) duty: Option<String>,
    /// Ask for the subject itself, which has shown at this counter who it is: the application it signed, kept here.
    #[arg(long, value_name = "FILE")]
    pub(crate) own: Option<PathBuf>,
    /// ITEM or ITEM:FIELD,FIELD; may be repeated. Default: what the grant names, where nothing is to be checked.
    #[arg(long = "fields")]
    pub(crate) fields: Vec<String>,
    /// Have a field checked, and not told: ITEM:FIELD=VALUE, ITEM:FIELD>=VALUE, ITEM:FIELD<=VALUE, ITEM:FIELD=LOW..HIGH,
    /// ITEM:none-since=YYYY-MM-DD, ITEM:paid=N@YYYY-MM (the last of N months); may be repeated. `catalog ITEM` shows what
    /// can be checked.
    #[arg(long = "check", value_name = "CHECK")]
    pub(crate) checks: Vec<String>,
    /// The clerk who asks.
    #[arg(long, default_value = "clerk-1")]
    pub(crate) clerk: String,
    /// Seconds to wait for members.
    #[arg(long, default_value_t = 10)]
    pub(crate) wait: u64,
    /// Keep the sealed answer in this new file, for `verify`.
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) node: Dir,
}
