//! The node: sockets, files, clock and threads around `exchange`. It carries; it does not decide.
//!
//! *Not here*: what a message means and what follows from it (`exchange`, `credit`), the command line (`cli`).
//!
//! | module | holds |
//! |---|---|
//! | [`home`] | a member's directory: format, lock, configuration, registry |
//! | [`keys`] | keystore and key tree on disk |
//! | [`store`] | the storage contract on disk |
//! | [`core`] | the one writer: many inputs, one step, one commit; then release |
//! | [`run`] | start-up, the tasks, shutdown |
//! | [`tls`], [`quic`] | identities of peers; frames in and out |
//! | [`serve`], [`operate`] | a peer's request; the operator's request |
//! | [`intake`], [`prepare`], [`seal`] | where values are in clear: files coming in, fields going out |
//! | [`http`] | logs, health and metrics |
//! | [`clock`] | time and entropy |

pub mod clock;
pub mod core;
pub mod home;
pub mod http;
pub mod intake;
pub mod keys;
pub mod operate;
pub mod prepare;
pub mod quic;
pub mod run;
pub mod seal;
pub mod serve;
pub mod store;
pub mod tls;

use exchange::refusal::Refusal;

/// Why a node cannot do what it was told: the operator's or the machine's side, with what to do next.
#[derive(Debug)]
pub struct Problem {
    /// What happened and where. Lower case, no full stop.
    pub what: String,
    /// What to do, in English.
    pub next: String,
    /// What to do, in Chinese.
    pub next_zh: String,
    /// Whether a person's input or setting is the cause (exit code 1), or the machine (3).
    pub fault: bool,
}

impl Problem {
    /// Something the operator can mend.
    pub fn new(what: impl Into<String>, next: impl Into<String>, next_zh: impl Into<String>) -> Self {
        Self { what: what.into(), next: next.into(), next_zh: next_zh.into(), fault: false }
    }

    /// Something the machine did.
    pub fn fault(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            next: "look at disk and machine, then start again; nothing acknowledged is lost".into(),
            next_zh: "请检查磁盘与机器后重新启动；已确认的数据不会丢失".into(),
            fault: true,
        }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Problem {}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let (en, zh) = refusal.known().map_or(("", ""), |c| (c.en(), c.zh()));
        let what = match refusal.detail.as_str() {
            "" => refusal.code.clone(),
            detail => format!("{}: {detail}", refusal.code),
        };
        Self { what, next: en.into(), next_zh: zh.into(), fault: false }
    }
}
