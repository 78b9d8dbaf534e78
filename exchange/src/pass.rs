//! A reading pass: a member's short-lived word that it reads log entries over HTTP.

use credit::{id::MemberId, policy::Role};
use crypto::{
    Timestamp,
    label::Label,
    sign::{Signed, Statement},
};
use minicbor::{Decode, Encode};

use crate::{
    logs::LogName,
    refusal::{Code, Refusal},
    registry::Registry,
};

/// Longest validity of a pass: a working day.
pub const PASS_MS_MAX: u64 = 12 * 60 * 60 * 1000;

/// Who reads, and until when.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Pass {
    /// The reading member.
    #[n(0)]
    pub reader: MemberId,
    /// First moment after validity.
    #[n(1)]
    pub until: Timestamp,
}

impl Statement for Pass {
    const LABEL: Label = Label::SignPass;
}

/// Checks that the pass lets its bearer read entries of `owner`'s `log` now: auditors read every log, members the
/// status logs and what they keep a copy of.
pub fn check(
    registry: &Registry,
    pass: &Signed<Pass>,
    owner: &MemberId,
    log: LogName,
    now: Timestamp,
) -> Result<MemberId, Refusal> {
    let verified = registry.verify_new(pass, now)?;
    let Pass { reader, until } = verified.get();
    let refuse = |why: &str| Err(Refusal::new(Code::CallerNotAllowed, why));
    if pass.issuer() != reader.as_str() || *until > pass.issued_at().plus_ms(PASS_MS_MAX + 1000) {
        return refuse("the pass is not its reader's own, or is valid for longer than 12 hours");
    }
    if now >= *until {
        return refuse("the pass has expired");
    }
    let role = registry.member(reader)?.stated.role;
    if role == Role::Auditor
        || reader == owner
        || log == LogName::Status
        || registry.keeps_copy(reader, owner, log)
    {
        return Ok(reader.clone());
    }
    refuse("entries of this log are read by auditors")
}
