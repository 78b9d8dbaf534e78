//! Witnessing (C2SP tlog-witness): peers cosign each other's checkpoints, so that a member that rewrites its history, or
//! shows two of them, needs more accomplices than the committee's quorum allows.
//!
//! What a witness has cosigned is a row per log, durable before the cosignature leaves. Only members of the committee
//! cosign, and none of them its own logs.

use std::collections::{BTreeMap, BTreeSet};

use credit::id::MemberId;
use crypto::{
    Digest, Timestamp,
    sign::{PublicKey, VerifyingKey},
};
use ledger::{
    add_checkpoint::{AddCheckpoint, NoCosignature},
    checkpoint::SignedCheckpoint,
    log::{self, Log},
    note::{self, NoteError, NoteKey},
    store::{Batch, Space, View},
    tree::TreeSize,
    witness::{quorum, verify_quorum},
};
use minicbor::{Decode, Encode};

use crate::{
    context::Context,
    evidence::{self, Found, Rounds},
    limits::WITNESS_INTERVAL_MS,
    logs::LogName,
    refusal::{Code, Fault, Halt, Refusal},
    registry::Registry,
    step::{Effect, Reply, Token},
    tables::{self, Key},
    turn::Turn,
    wire::Response,
};

/// What this member has cosigned last of one log.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct WitnessRow {
    /// Size.
    #[n(0)]
    pub size: u64,
    /// Root.
    #[n(1)]
    pub root: Digest,
    /// The checkpoint with the log's verified signature and this witness's own line, nothing else.
    #[n(2)]
    pub note: SignedCheckpoint,
}

/// What is known of a witness of an own log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct CosignedRow {
    /// Size the witness has cosigned last: the `old` of the next request.
    #[n(0)]
    pub known: u64,
    /// Size whose cosignature has arrived here; [`HELD_NONE`] when the head is signed anew since.
    #[n(1)]
    pub held: u64,
}

/// No log has as many entries.
const HELD_NONE: u64 = u64::MAX;

/// Name of a member as a witness: `xinqiao/<federation>/<member>/witness`.
pub fn name(federation: &str, member: &MemberId) -> String {
    format!("xinqiao/{federation}/{member}/witness")
}

impl Registry {
    /// The witnesses of `owner`'s logs: the committee without the owner, each with its keys, the present one first. A
    /// past one comes with the time until which its cosignatures count.
    pub fn committee(&self, owner: &MemberId) -> Vec<(MemberId, Vec<WitnessKey>)> {
        let others = self.witnesses.iter().filter(|id| *id != owner);
        others.filter_map(|id| Some((id.clone(), self.witness_keys(id)?))).collect()
    }

    /// The keys of a member as a witness; `None` when it is none, or the present one is no point.
    fn witness_keys(&self, id: &MemberId) -> Option<Vec<WitnessKey>> {
        let entry = self.member(id).ok()?;
        let key = |key: PublicKey| {
            let key = VerifyingKey::from_bytes(key.0)?;
            Some(NoteKey { name: name(&self.federation, id), key })
        };
        let past = entry.past.iter().rev().filter_map(|p| Some((key(p.witness)?, Some(p.until))));
        Some(core::iter::once((key(entry.stated.witness)?, None)).chain(past).collect())
    }

    /// How many of `owner`'s witnesses have cosigned, and how many a believer should demand.
    ///
    /// Errors: `signature.invalid` when a line under a witness's name does not verify.
    pub fn witnessed(&self, owner: &MemberId, note: &SignedCheckpoint) -> Result<(usize, usize), Refusal> {
        let committee = self.committee(owner);
        let mut found = 0;
        for (_, keys) in &committee {
            let mut counts = false;
            for (key, until) in keys {
                let good = verify_quorum(note, core::slice::from_ref(key), 0)
                    .map_err(|e| Refusal::new(Code::SignatureInvalid, e.to_string()))?;
                counts |= good.iter().any(|c| until.is_none_or(|until| c.time_s <= until.0 / 1000));
            }
            found += usize::from(counts);
        }
        Ok((found, quorum(committee.len())))
    }
}

/// A key of a witness, and for a past one the time until which its cosignatures count.
pub type WitnessKey = (NoteKey, Option<Timestamp>);

/// Cosigns a peer's checkpoint, or says with the specification's status why not.
///
/// Check and new state are one step: the row is in the batch that must be durable before the reply leaves.
///
/// A head that convicts the log's owner is kept as evidence and answered with `422`; later ones with `member.frozen`. While the owner
/// has not said what this witness had cosigned before it started (`unheard`), nothing of its logs is cosigned:
/// `member.starting`.
pub fn add_checkpoint(
    context: &Context,
    turn: &mut Turn<'_>,
    token: Token,
    body: &[u8],
    unheard: &BTreeSet<MemberId>,
    rounds: &mut Rounds,
) -> Result<(), Halt> {
    let answer = |turn: &mut Turn<'_>, no: NoCosignature| {
        turn.reply(token, Reply::ready(Response::Witness { status: no.status(), body: no.body() }));
        Ok(())
    };
    let Some(request) = AddCheckpoint::parse(body) else { return answer(turn, NoCosignature::Malformed) };
    let registry = &context.registry;
    let member = registry.witnesses.contains(&context.own.id);
    let shown = SignedCheckpoint::parse(&request.note).ok();
    let log = registry.active().filter(|m| member && m.id != context.own.id).find_map(|m| {
        let log = LogName::ALL
            .into_iter()
            .find(|l| l.origin(&registry.federation, &m.id) == request.claimed.origin)?;
        match &shown {
            Some(note) => registry.key_of_new(&m.id, log, note, turn.now).ok(),
            None => registry.note_key(&m.id, log).ok(),
        }
    });
    let owner = registry.log_of(&request.claimed.origin).map(|(owner, _)| owner);
    if let Some(owner) = owner.filter(|_| log.is_some()) {
        evidence::refuse_frozen(turn.view(), [&owner])?;
        if unheard.contains(&owner) {
            turn.effect(Effect::AskHeads(owner));
            let refusal =
                Refusal::new(Code::MemberStarting, "what was cosigned before the start is not known");
            turn.reply(token, Reply::ready(Response::Refused(refusal)));
            return Ok(());
        }
    }
    let row_key = Key::witness(&request.claimed.origin);
    let row = turn.row::<WitnessRow>(&row_key)?;
    let last = row.as_ref().map(|row| (TreeSize(row.size), row.root));
    let judged = request.judge(log.as_ref(), last);
    // Signed by the log's key from here on, whatever else is wrong with it.
    let signed = matches!(judged, Ok(_) | Err(NoCosignature::Conflict(_) | NoCosignature::Inconsistent));
    if let Some(note) = shown.filter(|_| signed) {
        if let Found::Splits(convicted) = evidence::compare(context, turn.view(), turn.now, &note)? {
            evidence::convict(context, turn, &convicted)?;
            return answer(turn, NoCosignature::Inconsistent);
        }
        if let (Err(NoCosignature::Inconsistent), Some(row)) = (&judged, &row) {
            rounds.doubt(context, turn, &row.note, &note);
        }
    }
    let (checkpoint, key) = match (judged, log) {
        (Ok(checkpoint), Some(key)) => (checkpoint, key),
        (Err(no), _) => return answer(turn, no),
        (Ok(_), None) => return answer(turn, NoCosignature::UnknownLog),
    };
    let text = checkpoint.text();
    let line = cosign_line(context, turn.now, &text);
    // Only lines that were verified or made here are kept: a forged one under this name would poison the row.
    let signed =
        note::Note::parse(&request.note).ok().and_then(|n| n.only(&key, None)).map(|own| own + &line);
    let note = signed.and_then(|note| SignedCheckpoint::parse(&note).ok());
    let Some(note) = note else { return answer(turn, NoCosignature::NotSigned) };
    turn.put(&row_key, &WitnessRow { size: checkpoint.size.0, root: checkpoint.root, note });
    turn.reply(token, Reply::ready(Response::Witness { status: 200, body: line }));
    Ok(())
}

/// This member's keys as a witness, the past ones too.
fn own_keys(context: &Context) -> Vec<NoteKey> {
    let name = name(&context.registry.federation, &context.own.id);
    let own = NoteKey { name, key: context.own.witness.verifying_key() };
    let registered = context.registry.witness_keys(&context.own.id).unwrap_or_default();
    core::iter::once(own).chain(registered.into_iter().map(|(key, _)| key)).collect()
}

/// The first of a witness's keys that has a line in the note, else the first.
pub fn cosigner<'a>(
    keys: impl IntoIterator<Item = &'a NoteKey>,
    note: &SignedCheckpoint,
) -> Option<&'a NoteKey> {
    let note = note.note().ok()?;
    let mut keys = keys.into_iter().peekable();
    let first = keys.peek().copied();
    keys.find(|key| !matches!(note.verify_cosignature(key), Err(NoteError::Unsigned { .. }))).or(first)
}

fn cosign_line(context: &Context, now: Timestamp, text: &str) -> String {
    let name = name(&context.registry.federation, &context.own.id);
    note::cosign(text, &name, &context.own.witness, now.0 / 1000)
}

/// When each witness is asked next about each own log.
#[derive(Debug, Default)]
pub struct Asking(BTreeMap<(LogName, MemberId), Timestamp>);

impl Asking {
    /// Asks every witness that has not cosigned the newest checkpoint of an own log.
    pub fn due(&mut self, context: &Context, turn: &mut Turn<'_>) -> Result<(), Halt> {
        let registry = &context.registry;
        let asked =
            registry.witnesses.iter().filter(|id| **id != context.own.id && registry.member(id).is_ok());
        for witness in asked {
            for log in LogName::ALL {
                let size = log::size(turn.view(), log.as_str())?.0;
                let known: CosignedRow = turn.row(&Key::cosigned(log, witness))?.unwrap_or_default();
                let next = self.0.entry((log, witness.clone())).or_default();
                if size != known.held && *next <= turn.now {
                    *next = turn.now.plus_ms(WITNESS_INTERVAL_MS);
                    turn.effect(Effect::AskWitness { witness: witness.clone(), log, old: known.known });
                }
            }
        }
        Ok(())
    }
}

/// Has an own log's head signed anew when it is signed with a key that the member has no more, and witnesses asked again.
///
/// What is published must verify under the key that the registry names first, whether or not entries are added.
pub fn renew(context: &Context, turn: &mut Turn<'_>, name: LogName, log: &mut Log) -> Result<(), Halt> {
    let Some(head) = log::head(turn.view(), name.as_str())? else { return Ok(()) };
    let own = context.own.signing.verifying_key();
    let key = context.registry.key_of(&context.own.id, name, &head)?;
    // Never back to a past key: a process that took the registry over while it started uses the present one at the next.
    if key.key == own || context.registry.signing_key(&context.own.id)? != own {
        return Ok(());
    }
    log.renew();
    for (witness, _) in context.registry.committee(&context.own.id) {
        let key = Key::cosigned(name, &witness);
        let row: CosignedRow = turn.row(&key)?.unwrap_or_default();
        turn.put(&key, &CosignedRow { held: HELD_NONE, ..row });
    }
    Ok(())
}

/// The request to a witness about the newest checkpoint of an own log.
pub fn request(view: &dyn View, log: LogName, old: u64) -> Result<Option<AddCheckpoint>, Fault> {
    let Some(head) = log::head(view, log.as_str())? else { return Ok(None) };
    let size = head.claimed().size;
    if old > size.0 {
        return Ok(None);
    }
    let proof =
        if old == 0 { Vec::new() } else { log::consistency(view, log.as_str(), TreeSize(old), size)? };
    Ok(Some(AddCheckpoint::new(TreeSize(old), proof, &head)))
}

/// A witness's answer about an own checkpoint of `size` entries.
#[derive(Debug)]
pub struct Answered {
    /// The witness.
    pub by: MemberId,
    /// Which log.
    pub log: LogName,
    /// Status of the specification.
    pub status: u16,
    /// Cosignature lines, or the size the witness knows.
    pub body: String,
    /// The checkpoint asked about.
    pub note: SignedCheckpoint,
}

/// Takes a witness's answer: a cosignature is published with the checkpoint, if that is still the newest.
///
/// A witness that knows another history than ours (`422`) is an alert: one of the two sides has lost or changed entries.
pub fn answered(context: &Context, turn: &mut Turn<'_>, answer: Answered) -> Result<(), Halt> {
    let Answered { by, log, status, body, note } = answer;
    let size = note.claimed().size.0;
    let committee = context.registry.committee(&context.own.id);
    let Some((_, keys)) = committee.into_iter().find(|(id, _)| *id == by) else { return Ok(()) };
    match status {
        200 => {
            let refuse =
                |e: NoteError| Refusal::new(Code::SignatureInvalid, format!("cosignature of `{by}`: {e}"));
            // A witness may know of its new key later than its peers do.
            let good = keys.iter().filter(|(_, until)| until.is_none_or(|until| turn.now <= until));
            let mut good = good.map(|(key, _)| (key, note.with_cosignature(&body, key)));
            let first = good.next();
            let found = match first {
                Some((_, Err(_))) => good.find(|(_, cosigned)| cosigned.is_ok()).or(first),
                first => first,
            };
            let Some((key, cosigned)) = found else { return Ok(()) };
            let cosigned = cosigned.map_err(refuse)?;
            turn.put(&Key::cosigned(log, &by), &CosignedRow { known: size, held: size });
            // Kept for the witness itself: only its own line tells it what it has cosigned once its memory is lost.
            let own = context.registry.key_of(&context.own.id, log, &note)?;
            let kept = cosigned.note().ok().and_then(|n| n.only(&own, Some(key)));
            if let Some(kept) = kept.and_then(|kept| SignedCheckpoint::parse(&kept).ok()) {
                turn.put(&Key::cosigned_note(log, &by), &kept);
            }
            let head = log::head(turn.view(), log.as_str())?.filter(|h| h.claimed().size.0 == size);
            if let Some(head) = head {
                let cosigned = head.with_cosignature(&body, key).map_err(refuse)?;
                let mut batch = Batch::default();
                batch.put(Space::Head, log.as_str().as_bytes(), cosigned.as_str().as_bytes());
                turn.absorb(batch);
            }
        }
        409 => {
            let Ok(known) = body.trim().parse::<u64>() else { return Ok(()) };
            let have = log::size(turn.view(), log.as_str())?.0;
            if known > have {
                turn.effect(Effect::Alert(format!(
                    "witness `{by}` has cosigned {known} entries of `{log}`, and there are {have} here: data was lost"
                )));
            }
            let key = Key::cosigned(log, &by);
            let held = turn.row::<CosignedRow>(&key)?.unwrap_or_default().held;
            turn.put(&key, &CosignedRow { known, held });
        }
        422 => {
            turn.effect(Effect::Alert(format!(
                "witness `{by}` knows another history of `{log}` than this member's: one of both has lost or changed \
                 entries; what it has cosigned is fetched and compared / 见证方所见的日志与本成员不一致"
            )));
            turn.effect(Effect::AskHeads(by));
        }
        // Not on the committee any more, or busy: the checkpoint goes without its line.
        _ => {}
    }
    Ok(())
}

/// Of the heads a peer has told, those that carry this witness's own line and are larger than what it remembers: it has
/// cosigned them, whatever its disk says.
pub fn forgotten(
    context: &Context,
    view: &dyn View,
    heads: &[SignedCheckpoint],
) -> Result<Vec<SignedCheckpoint>, Fault> {
    let registry = &context.registry;
    let own = own_keys(context);
    let mut found = Vec::new();
    for note in heads {
        let claimed = note.claimed();
        let Some((owner, log)) = registry.log_of(&claimed.origin) else { continue };
        let known =
            tables::row::<WitnessRow>(view, &Key::witness(&claimed.origin))?.map_or(0, |row| row.size);
        let Ok(parsed) = note.note() else { continue };
        let carries = claimed.size.0 > known
            && owner != context.own.id
            && own.iter().any(|own| parsed.verify_cosignature(own).is_ok())
            && registry.past_key_of(&owner, log, note).is_ok_and(|key| note.verify(&key).is_ok());
        if carries {
            found.push(note.clone());
        }
    }
    Ok(found)
}

/// Takes back what this witness had cosigned and forgotten. `cosigned` is from [`forgotten`].
///
/// No proof is needed that they continue what is remembered: this witness has had it when it cosigned.
pub fn recall(context: &Context, turn: &mut Turn<'_>, cosigned: &[SignedCheckpoint]) -> Result<(), Halt> {
    for note in cosigned {
        let claimed = note.claimed();
        let Some((owner, log)) = context.registry.log_of(&claimed.origin) else { continue };
        let key = Key::witness(&claimed.origin);
        if turn.row::<WitnessRow>(&key)?.is_some_and(|row| row.size >= claimed.size.0) {
            continue;
        }
        let log = context.registry.past_key_of(&owner, log, note)?;
        let own = own_keys(context);
        let kept = note.note().ok().and_then(|n| n.only(&log, cosigner(&own, note)));
        if let Some(note) = kept.and_then(|kept| SignedCheckpoint::parse(&kept).ok()) {
            turn.put(&key, &WitnessRow { size: claimed.size.0, root: claimed.root, note });
            turn.effect(Effect::Alert(format!(
                "this witness had cosigned {} at {} entries and remembered less: taken back from a peer / 已从其他成员取回见证状态",
                claimed.origin, claimed.size
            )));
        }
    }
    Ok(())
}

/// The checkpoint this witness has cosigned last for the log whose origin has this SHA-256.
pub fn cosigned(
    context: &Context,
    view: &dyn View,
    origin_hash: &Digest,
) -> Result<Option<SignedCheckpoint>, Fault> {
    for member in context.registry.active() {
        for log in LogName::ALL {
            let origin = log.origin(&context.registry.federation, &member.id);
            if Digest::of(origin.as_bytes()) == *origin_hash {
                return Ok(tables::row::<WitnessRow>(view, &Key::witness(&origin))?.map(|row| row.note));
            }
        }
    }
    Ok(None)
}
