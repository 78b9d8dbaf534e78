//! Arguments of the verbs that found and govern a federation and make members.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};

use super::{Dir, Unlock};

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
    /// Take a member's request, for admission or for new keys, into the next registry version.
    Admit {
        /// The request file.
        request: PathBuf,
        /// Make the member a witness of its peers' logs, or with `=false` one no longer. Who is admitted again stays what it
        /// was.
        #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
        witness: Option<bool>,
        /// Members that keep full copies of this member's logs; `--mirrors=` for none. Who is admitted again keeps its own.
        #[arg(long, value_delimiter = ',')]
        mirrors: Option<Vec<String>>,
        /// The member's keys are lost or stolen, and you have made sure who asks for others.
        #[arg(long)]
        replace_keys: bool,
        /// Days that replaced keys stay good for connections and new statements; 0 for stolen ones.
        #[arg(long, default_value_t = OVERLAP_DAYS)]
        overlap_days: u64,
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
        /// Where to write it; a new file. Default: standard output.
        #[arg(long)]
        out: Option<PathBuf>,
    },
}

/// Days in which a member has to go over to its new keys.
pub(crate) const OVERLAP_DAYS: u64 = 30;

#[derive(Debug, Subcommand)]
pub(crate) enum Member {
    /// Make a member's keys and its signed request for admission.
    Request(Box<MemberRequest>),
    /// Make new keys for a member whose node is stopped, and its request for them, signed with the old ones.
    Rotate {
        /// Where to write the request; a new file.
        #[arg(long)]
        out: PathBuf,
        #[command(flatten)]
        at: Unlock,
    },
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
    /// The publicity system its platform belongs to, credit-china or gsxt: platforms of one region recognise repairs.
    #[arg(long)]
    pub(crate) system: Option<String>,
    /// Where to write the request; a new file.
    #[arg(long)]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) at: Unlock,
}
