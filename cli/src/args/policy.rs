//! Arguments of the verbs about the rules of disclosure.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// Show field by field and check by check whether a question would be answered, and why, without asking it.
    Explain(Box<Explain>),
    /// Hold the rules against a table of cases; every rule must decide at least one.
    Test {
        /// Another file of rules. Default: those of this build.
        #[arg(long, value_name = "FILE")]
        rules: Option<PathBuf>,
        /// Another table of cases. Default: the one that is shipped with the rules.
        #[arg(long, value_name = "FILE")]
        cases: Option<PathBuf>,
    },
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Explain {
    /// Role of the asker: region, district, platform, bank or auditor. With --grant it is the role of whom that names, or of
    /// --asker.
    #[arg(long, conflicts_with = "grant", required_unless_present_any = ["grant", "mandate"])]
    pub(crate) role: Option<String>,
    /// For what: pre-loan, approval, post-loan, guarantee, administration, self, audit.
    #[arg(long, required_unless_present = "mandate")]
    pub(crate) purpose: Option<String>,
    /// On what it would rest: none, duty, own, grant or mandate (sound), or a rule such as grant-expired that it would break.
    /// Default: none.
    #[arg(long, conflicts_with = "grant")]
    pub(crate) basis: Option<String>,
    /// ITEM or ITEM:FIELD,FIELD; may be repeated. Default with --grant and without --check: what the grant names.
    #[arg(long = "fields", required_unless_present_any = ["grant", "checks", "mandate"])]
    pub(crate) fields: Vec<String>,
    /// A predicate, as `query --check` takes it; may be repeated. Also one that the catalog does not allow.
    #[arg(long = "check", value_name = "CHECK")]
    pub(crate) checks: Vec<String>,
    /// Whether it would be told whom accesses are about. Without other words: an auditor, for audit, under a sound mandate.
    #[arg(long, conflicts_with = "grant")]
    pub(crate) mandate: bool,
    /// A grant to rest on; needs --dir or --registry.
    #[arg(long, value_name = "FILE")]
    pub(crate) grant: Option<PathBuf>,
    /// The member that would ask on the grant. Default: whom it names.
    #[arg(long, requires = "grant")]
    pub(crate) asker: Option<String>,
    /// About whom it would ask on the grant. Default: whom it names.
    #[arg(long, requires = "grant")]
    pub(crate) subject: Option<String>,
    /// Directory of a member whose running node tells where the grant stands.
    #[arg(long, requires = "grant", value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Without a node: the registry to verify the grant against; of uses, pauses and revocations nothing is known then.
    #[arg(long, requires = "grant", conflicts_with = "dir", value_name = "FILE")]
    pub(crate) registry: Option<PathBuf>,
    /// The day, as 2026-06-01. Default: now.
    #[arg(long, value_name = "DATE")]
    pub(crate) on: Option<String>,
    /// Another file of rules. Default: those of this build.
    #[arg(long, value_name = "FILE")]
    pub(crate) rules: Option<PathBuf>,
}
