//! Arguments of the verbs about the gateway, and of the sandbox.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};

use super::Dir;

#[derive(Debug, Subcommand)]
pub(crate) enum Gateway {
    /// Have the node listen for the member's own systems from its next start on.
    Enable {
        /// host:port; without a certificate on loopback only.
        #[arg(long, default_value = "127.0.0.1:7480")]
        listen: String,
        /// PEM file of the certificate, and of those that lead from it to an authority.
        #[arg(long, value_name = "FILE", requires = "key")]
        certificate: Option<PathBuf>,
        /// PEM file of its private key.
        #[arg(long, value_name = "FILE", requires = "certificate")]
        key: Option<PathBuf>,
        #[command(flatten)]
        node: Dir,
    },
    /// Have the node not listen from its next start on.
    Disable(Dir),
    /// Keys of the member's systems.
    #[command(subcommand)]
    Key(Key),
    /// Who is called with every event.
    #[command(subcommand)]
    Hook(Hook),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// Make a key. It is shown once.
    Add {
        /// The system.
        #[arg(long)]
        name: String,
        /// Stands before every clerk the system names.
        #[arg(long, default_value = "")]
        clerk_prefix: String,
        /// Questions in a minute.
        #[arg(long, default_value_t = node::gateway::settings::PER_MINUTE)]
        per_minute: u32,
        /// What it is for: ask, grants, events; may be repeated. Default: all.
        #[arg(long, value_name = "WORK")]
        may: Vec<String>,
        /// A purpose it may ask for; may be repeated. Default: every one.
        #[arg(long, value_name = "PURPOSE")]
        purpose: Vec<String>,
        /// A mode in which it may have fields: value, mask, or verify for checks; may be repeated. Default: every one.
        #[arg(long, value_name = "MODE")]
        mode: Vec<String>,
        /// A clerk it may name, without the prefix; may be repeated. Default: every one.
        #[arg(long, value_name = "CLERK")]
        clerk: Vec<String>,
        #[command(flatten)]
        node: Dir,
    },
    /// Every key, without what opens.
    List(Dir),
    /// Let a key open nothing from now on.
    Revoke {
        /// The system.
        name: String,
        #[command(flatten)]
        node: Dir,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Hook {
    /// Have a URL called with every event. The secret of its signatures is shown once.
    Add {
        /// Its name.
        #[arg(long)]
        name: String,
        /// https, or http on loopback.
        #[arg(long)]
        url: String,
        /// PEM file of the authorities that its certificate may come from. Default: the system's.
        #[arg(long, value_name = "FILE")]
        authorities: Option<PathBuf>,
        /// Begin after this event.
        #[arg(long, default_value_t = 0)]
        after: u64,
        #[command(flatten)]
        node: Dir,
    },
    /// Every hook, without its secret.
    List(Dir),
    /// Call a hook no more.
    Remove {
        /// Its name.
        name: String,
        #[command(flatten)]
        node: Dir,
    },
    /// Send every event after a number again.
    Replay {
        /// Its name.
        name: String,
        /// The number.
        #[arg(long)]
        after: u64,
        #[command(flatten)]
        node: Dir,
    },
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Sandbox {
    /// Where the gateway listens.
    #[arg(long, default_value = "127.0.0.1:7480")]
    pub(crate) listen: String,
    /// Where to build the federation; a new directory. Default: a temporary one, removed at the end.
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}
