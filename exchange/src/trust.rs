//! The registry's word on one log, as a file that other people's tools read (C2SP tlog-policy).

use credit::id::MemberId;
use ledger::{note::NoteKey, policy, witness::quorum};

use crate::{
    logs::LogName,
    refusal::{Code, Refusal},
    registry::Registry,
};

/// The policy that believes one log of `owner` when its committee's quorum has cosigned; without `witnessed` the witnesses
/// are listed and none is needed.
///
/// One file for one log. The format allows each public key once, and a member signs its three logs with one key; and it has one
/// quorum for every log it lists, but a member does not witness itself, so a member of the committee has one witness fewer
/// than the others. Past keys are listed too, so that old proofs verify; the format has no place for the time at which
/// one ended.
/// Errors: `member.unknown`; `registry.invalid` when a name in the registry cannot stand in a note.
pub fn policy(
    registry: &Registry,
    owner: &MemberId,
    log: LogName,
    witnessed: bool,
) -> Result<String, Refusal> {
    // The registry makes keys without asking whether their names fit a note, and here they become words of lines.
    let checked = |key: NoteKey| {
        NoteKey::new(&key.name, key.key)
            .map_err(|e| Refusal::new(Code::RegistryInvalid, format!("`{}`: {e}", key.name)))
    };
    let url = |member: &MemberId, path: &str| {
        let at = registry.member(member).map_or("", |m| m.stated.http.as_str());
        // A member states its own address; one that is no word could add lines of its own.
        let word = !at.is_empty() && at.bytes().all(|b| b.is_ascii_graphic());
        if word { format!("http://{at}/{path}") } else { String::new() }
    };
    let keys = registry.note_keys(owner, log)?.into_iter().map(checked).collect::<Result<Vec<_>, _>>()?;
    let mut witnesses = Vec::new();
    for (member, keys) in registry.committee(owner) {
        let keys = keys.into_iter().map(|(key, _)| checked(key)).collect::<Result<Vec<_>, _>>()?;
        witnesses.push((keys, url(&member, "witness")));
    }
    let needed = if witnessed { quorum(witnesses.len()) } else { 0 };
    let file = policy::one_log((&keys, &url(owner, &format!("log/{log}"))), &witnesses, needed);
    Ok(format!(
        "# {} by registry version {}, digest {}\n{file}",
        log.origin(&registry.federation, owner),
        registry.version,
        registry.digest()
    ))
}
