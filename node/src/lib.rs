//! The node: sockets, files, clock and threads around `exchange`. It carries; it does not decide.
//!
//! *Not here*: what a message means and what follows from it (`exchange`, `credit`), the command line (`cli`).
//!
//! | module | holds |
//! |---|---|
//! | [`fsck`] | the check of a directory at rest |
//! | [`home`] | a member's directory: format, lock, configuration, registry |
//! | [`keys`] | keystore and key tree on disk |
//! | [`backup`] | a running node's directory into one sealed file, and back |
//! | [`store`], [`tally`], [`manifest`] | the storage contract on disk, how much of it was acknowledged, and what the engine does not check |
//! | [`core`] | the one writer: many inputs, one step, one commit; then release |
//! | [`run`] | start-up, the tasks, shutdown |
//! | [`tls`], [`quic`] | identities of peers; frames in and out |
//! | [`serve`], [`operate`] | a peer's request; the operator's request |
//! | [`intake`], [`prepare`], [`seal`] | where values are in clear: files coming in, fields going out |
//! | [`http`], [`counted`] | logs, health and metrics; what metrics count beside their readers |
//! | [`gateway`] | JSON over HTTP for the member's own systems |
//! | [`clock`] | time and entropy |

pub mod backup;
pub mod client;
pub mod clock;
pub mod core;
pub mod counted;
pub mod fsck;
pub mod gateway;
pub mod home;
pub mod http;
pub mod intake;
pub mod keys;
pub mod manifest;
pub mod operate;
pub mod places;
pub mod prepare;
pub mod push;
pub mod quic;
pub mod reconcile;
pub mod run;
pub mod seal;
pub mod serve;
pub mod store;
pub mod tally;
pub mod tls;
pub mod torn;
pub mod wal;

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

    /// A peer has proof of more of this member's own logs than could be taken back.
    pub fn behind(what: impl Into<String>) -> Self {
        Self::new(
            what,
            "a peer has signed proof of entries that neither this directory nor a mirror that answered holds, so the node \
             appends and answers nothing: stop it, and put the whole directory back from the newest backup; or bring the \
             mirrors that are away back; then start again",
            "其他成员持有签名证明：本成员日志曾有更多条目，而此目录与已应答的镜像中都没有；因此节点不再写入，也不应答。\
             请停止节点，用最近的备份恢复整个目录，或等待未上线的镜像恢复，然后重新启动",
        )
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
        let (en, zh) = match &refusal.remedy {
            Some(remedy) => (remedy.en.as_str(), remedy.zh.as_str()),
            None => refusal.known().map_or(("", ""), |code| (code.en(), code.zh())),
        };
        let mut what = match refusal.detail.as_str() {
            "" => refusal.code.clone(),
            detail => format!("{}: {detail}", refusal.code),
        };
        if let Some(ms) = refusal.retry_after_ms {
            what.push_str(&format!(" (again in {ms} ms / {ms} 毫秒后重试)"));
        }
        Self { what, next: en.into(), next_zh: zh.into(), fault: false }
    }
}
