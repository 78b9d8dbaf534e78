//! Who is at fault: [`Refusal`] (the caller), [`Fault`] (ours; ends the process), and [`Halt`], which is either.

use core::fmt;

use crypto::sign::SignError;
use ledger::{log::LogError, store::StoreError};
use minicbor::{Decode, Encode};

use crate::limits::RETRY_BUSY_MS;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $zh:literal, $en:literal;)*) => {
        /// Stable codes of refusals; the texts may change, the codes do not.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code { $($(#[$doc])* $name,)* }

        impl Code {
            /// Every code, in the order of the table in `docs/PROTOCOL.md`.
            pub const ALL: &'static [Code] = &[$(Code::$name,)*];

            /// The stable text.
            pub const fn as_str(self) -> &'static str {
                match self { $(Code::$name => $code,)* }
            }

            /// What it means and what to do, in Chinese.
            pub const fn zh(self) -> &'static str {
                match self { $(Code::$name => $zh,)* }
            }

            /// What it means and what to do, in English.
            pub const fn en(self) -> &'static str {
                match self { $(Code::$name => $en,)* }
            }
        }
    };
}

codes! {
    /// Not a frame of this protocol.
    FrameMalformed = "frame.malformed", "报文格式错误；请检查双方程序版本", "the message is malformed; check that both sides run compatible versions";
    /// Over the limit.
    FrameTooLong = "frame.too-long", "报文超过长度上限；请拆分后重发", "the message exceeds the size limit; split it and send again";
    /// This request is not for this caller.
    CallerNotAllowed = "caller.not-allowed", "该成员无权发起此请求；请核对成员角色", "this member may not make this request; check its role in the registry";
    /// Not in the registry, or suspended.
    MemberUnknown = "member.unknown", "登记表中没有该成员或其已被暂停；请联系联盟治理方", "the member is not in the registry or is suspended; ask a governor";
    /// A signature or proof does not hold.
    SignatureInvalid = "signature.invalid", "签名或证明无效；请检查密钥与登记表版本", "a signature or proof does not verify; check the key and the registry version";
    /// The member is catching up with its peers.
    MemberStarting = "member.starting", "节点正在与其他成员核对状态；请稍后重试", "the node is still catching up with its peers; retry shortly";
    /// The member's own logs are older than what a peer has seen.
    MemberBehind = "member.behind", "节点数据早于其他成员已见的版本；须先恢复缺失的日志", "the node's data is older than what its peers have seen; restore the missing log entries first";
    /// It has signed two histories of one log, and nothing of it is accepted any more.
    MemberFrozen = "member.frozen", "该成员签署了互相矛盾的日志，已被冻结；请用 `xinqiao audit evidence` 查看证据", "the member has signed two histories of a log and is frozen here; see `xinqiao audit evidence`";
    /// A limit of the question is broken.
    QuestionMalformed = "question.malformed", "查询请求不符合要求；请按说明修改", "the question breaks a limit; change it as described";
    /// After the deadline, or from the future.
    QuestionExpired = "question.expired", "查询请求已过期或时钟不一致；请重新发起并核对时钟", "the question is past its deadline or the clocks differ; ask again and check the clock";
    /// The idempotency key belongs to another question.
    QuestionReused = "question.reused", "该请求编号已被另一查询使用；请使用新编号", "this question id was used for another question; take a new one";
    /// Not the outlet of this federation.
    OutletOnly = "outlet.only", "银行须通过唯一数据出口查询", "banks ask through the federation's outlet";
    /// The item is not in the catalog.
    ItemUnknown = "item.unknown", "目录中没有该信息项；请用 `xinqiao catalog` 查看", "the item is not in the catalog; see `xinqiao catalog`";
    /// The field is not in the catalog.
    FieldUnknown = "field.unknown", "目录中没有该数据项；请用 `xinqiao catalog` 查看", "the field is not in the catalog; see `xinqiao catalog`";
    /// The department has no account here.
    SourceUnknown = "source.unknown", "本节点没有该数源单位；请先登记", "this node has no such source; register it first";
    /// A file cannot be read at all.
    FileUnreadable = "file.unreadable", "文件无法读取；请按提示修改后重交", "the file cannot be read; change it as described and hand it in again";
    /// No such record here.
    RecordUnknown = "record.unknown", "本节点没有该记录；请核对文号、主体和认定单位", "this member has no such record; check document number, subject and authority";
    /// Only the authority may decide.
    NotAuthority = "authority.other", "该记录由其他成员认定；请向认定成员提出", "another member is the record's authority; turn to that member";
    /// No such case here.
    CaseUnknown = "case.unknown", "没有该案件；请用 `xinqiao repair list` 查看", "there is no such case; see `xinqiao repair list`";
    /// The step does not fit the case's state, or the law.
    CaseDenied = "case.denied", "该步骤不符合规则；请按说明办理", "the rules do not allow this step; do as described";
    /// A grant that cannot be issued or changed as asked.
    GrantInvalid = "grant.invalid", "授权书内容或操作不符合要求；请按提示修改", "the grant cannot be issued or changed as asked; do as described";
    /// The registry is not a successor of the known one.
    RegistryInvalid = "registry.invalid", "登记表签名不足或不是现行版本的后继", "the registry lacks signatures or does not succeed the known version";
    /// The queue is full.
    Busy = "node.busy", "节点繁忙；请稍后重试", "the node is busy; retry shortly";
    /// The peer did not answer in time.
    Unreachable = "peer.unreachable", "对方节点无法连接；请稍后重试", "the peer cannot be reached; retry later";
    /// The outlet passed nothing on of a member that was to be asked.
    PartMissing = "part.missing", "数据出口未转来该成员的回答；请重新查询，并向数据出口询问原因", "the outlet passed on nothing from this member; ask again, and ask the outlet why";
    /// Nothing at this place.
    NotFound = "not-found", "没有所请求的内容", "there is nothing here";
}

/// The caller's fault, with a stable code. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Refusal {
    /// Stable code.
    #[n(0)]
    pub code: String,
    /// What exactly; never a personal value. Lower case, no full stop.
    #[n(1)]
    pub detail: String,
    /// Milliseconds after which the same request may be sent again; with every `node.busy`, and with nothing else.
    #[n(2)]
    pub retry_after_ms: Option<u64>,
    /// What to do, where there is more to say than the code does.
    #[n(3)]
    pub remedy: Option<Remedy>,
}

/// What to do, in both languages; never a personal value.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Remedy {
    /// In English.
    #[n(0)]
    pub en: String,
    /// In Chinese.
    #[n(1)]
    pub zh: String,
}

impl Refusal {
    /// A refusal with its detail; with [`Code::Busy`] after [`RETRY_BUSY_MS`], unless told otherwise.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let retry_after_ms = (code == Code::Busy).then_some(RETRY_BUSY_MS);
        Self { code: code.as_str().to_owned(), detail: detail.into(), retry_after_ms, remedy: None }
    }

    /// The same, and what to do about it.
    pub fn remedied(self, (en, zh): (impl Into<String>, impl Into<String>)) -> Self {
        Self { remedy: Some(Remedy { en: en.into(), zh: zh.into() }), ..self }
    }

    /// The same, to be sent again after `ms`.
    pub fn retry_after(self, ms: u64) -> Self {
        Self { retry_after_ms: Some(ms), ..self }
    }

    /// Whether the same may be granted later although nobody asks otherwise.
    pub fn passes(&self) -> bool {
        let state = [Code::MemberStarting, Code::MemberBehind, Code::MemberFrozen];
        self.retry_after_ms.is_some() || self.known().is_some_and(|code| state.contains(&code))
    }

    /// The code, when this build knows it.
    pub fn known(&self) -> Option<Code> {
        Code::ALL.iter().copied().find(|c| c.as_str() == self.code)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match &self.remedy {
            Some(remedy) => &remedy.en,
            None => self.known().map_or("", Code::en),
        };
        match (text, self.detail.as_str()) {
            ("", detail) => write!(f, "{}: {detail}", self.code),
            (text, "") => f.write_str(text),
            (text, detail) => write!(f, "{detail}: {text}"),
        }
    }
}

impl std::error::Error for Refusal {}

/// Our fault, or the machine's: the process ends and start-up is the only way back.
#[derive(Debug)]
pub struct Fault(pub String);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Fault {}

impl From<SignError> for Refusal {
    fn from(e: SignError) -> Self {
        Self::new(Code::SignatureInvalid, e.to_string())
    }
}

impl From<StoreError> for Fault {
    fn from(e: StoreError) -> Self {
        Self(format!("storage failed: {e}"))
    }
}

impl From<LogError> for Fault {
    fn from(e: LogError) -> Self {
        Self(format!("log failed: {e}"))
    }
}

/// Why a handler stops: a refusal becomes a reply that writes nothing, a fault ends the process.
#[derive(Debug)]
pub enum Halt {
    /// The caller's fault.
    Refusal(Refusal),
    /// Ours.
    Fault(Fault),
}

impl Halt {
    /// A refusal with its detail.
    pub fn refuse<T>(code: Code, detail: impl Into<String>) -> Result<T, Self> {
        Err(Self::Refusal(Refusal::new(code, detail)))
    }
}

impl From<Refusal> for Halt {
    fn from(r: Refusal) -> Self {
        Self::Refusal(r)
    }
}

impl From<Fault> for Halt {
    fn from(f: Fault) -> Self {
        Self::Fault(f)
    }
}

impl From<StoreError> for Halt {
    fn from(e: StoreError) -> Self {
        Self::Fault(e.into())
    }
}

impl From<LogError> for Halt {
    fn from(e: LogError) -> Self {
        Self::Fault(e.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crypto::codec;

    #[test]
    fn every_busy_says_when_to_come_again_and_nothing_else_does() {
        for code in Code::ALL {
            let refusal = Refusal::new(*code, "");
            assert_eq!(refusal.retry_after_ms.is_some(), *code == Code::Busy, "{}", code.as_str());
            // Absent is left out, so that what was encoded before there was such a wait is read as it was.
            let bytes = codec::to_vec(&refusal);
            assert_eq!(bytes[0], if *code == Code::Busy { 0xa3 } else { 0xa2 });
            assert_eq!(codec::from_slice::<Refusal>(&bytes).unwrap(), refusal);
        }
        assert_eq!(Refusal::new(Code::Busy, "").retry_after(7).retry_after_ms, Some(7));
    }

    #[test]
    fn a_remedy_takes_the_place_of_what_the_code_says() {
        let refusal = Refusal::new(Code::CaseDenied, "the case is not accepted yet")
            .remedied(("accept it", "请先受理"));
        assert_eq!(refusal.to_string(), "the case is not accepted yet: accept it");
        assert_eq!(codec::from_slice::<Refusal>(&codec::to_vec(&refusal)).unwrap(), refusal);
    }
}
