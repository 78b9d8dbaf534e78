//! What an asking member keeps for its own systems: questions it has asked, answers and grants under its own seal, and
//! what other members' status entries said to it.
//!
//! Nothing here names a subject in clear: a question is remembered by its digest, and made again from what is asked when
//! it is asked again; answers and grants arrive sealed by the node, and leave with the time they may be kept.

use credit::{
    entry::{Fact, StatusFact},
    grant::GrantLife,
    id::{MemberId, QuestionId, RecordId},
    question::Question,
    status::{Change, Standing, Status},
};
use crypto::{Bytes, Digest, Timestamp, sign::Signed};
use ledger::{
    log,
    store::{Space, View},
};
use minicbor::{Decode, Encode};

use crate::{
    context::Context,
    fsck::Wrong,
    logs::LogName,
    propagation,
    refusal::{Code, Fault, Halt},
    step::{Reply, Token},
    tables::{self, Key, Table, UsedUpRow, Work, decode},
    turn::Turn,
    wire::{Part, Response},
};

/// Entries of the status log looked through for one page of news: bounds the work of one request.
pub const ENTRIES_PER_PAGE_MAX: u64 = 4_096;

/// A question this member has asked.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct AskedRow {
    /// Digest of the signed question.
    #[n(0)]
    pub question: Digest,
    /// When it was asked first.
    #[n(1)]
    pub at: Timestamp,
}

/// Where an answer is kept: for whom, in the order of asking.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct KeptAt {
    /// The system of this member that asked, by its name.
    #[n(0)]
    pub owner: String,
    /// When it asked.
    #[n(1)]
    pub asked: Timestamp,
    /// The question's id.
    #[n(2)]
    pub id: QuestionId,
}

/// An answer as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct KeptRow {
    /// Digest of the signed question.
    #[n(0)]
    pub question: Digest,
    /// Until when it may be kept.
    #[n(1)]
    pub until: Timestamp,
    /// A [`KeptAnswer`], sealed by this member to itself.
    #[n(2)]
    pub sealed: Bytes,
    /// Members whose answers it holds, ascending; absent in rows from before this was written down, which stay as they are.
    #[n(3)]
    pub from: Option<Vec<MemberId>>,
}

/// What a kept answer's seal holds.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct KeptAnswer {
    /// The question.
    #[n(0)]
    pub question: Signed<Question>,
    /// The relayed parts.
    #[n(1)]
    pub parts: Vec<Part>,
    /// Members that were to be asked, by the registry of that time; absent in answers kept before this was written down.
    #[n(2)]
    pub asked_of: Option<Vec<MemberId>>,
}

/// A grant as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct KeptGrantRow {
    /// Until when.
    #[n(0)]
    pub until: Timestamp,
    /// The signed grant, sealed by this member to itself.
    #[n(1)]
    pub sealed: Bytes,
}

/// An answer to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Where.
    pub at: KeptAt,
    /// What.
    pub row: KeptRow,
}

/// What another member said to this one, or this one about a grant of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// One more than the index of the entry in this member's own status log: rises, is never given twice, has gaps.
    pub sequence: u64,
    /// Time of that entry.
    pub at: Timestamp,
    /// Who said it.
    pub origin: MemberId,
    /// Index of the statement in the status log of who said it.
    pub index: u64,
    /// Leaf hash of that entry; absent for an own one.
    pub leaf: Option<Digest>,
    /// What was said; absent when this member was restored since from a backup that did not hold it.
    pub fact: Option<StatusFact>,
}

/// Keeps an answer until it is to be forgotten, in place of one that holds no other members' answers than it does: of those
/// that have not decided the newest word is kept. Says whose answers were kept before.
///
/// Errors: `node.busy`, what is kept holds an answer that this one lacks.
pub(crate) fn keep(turn: &mut Turn<'_>, mut keep: Keep) -> Result<Vec<MemberId>, Halt> {
    let key = Key::kept(&keep.at);
    let before = match turn.row::<KeptRow>(&key)? {
        None => Vec::new(),
        Some(KeptRow { from: before, until, .. }) => {
            let from = keep.row.from.as_deref().unwrap_or_default();
            let Some(before) = before.filter(|before| before.iter().all(|member| from.contains(member)))
            else {
                return Halt::refuse(Code::Busy, "another answer to the same question was kept meanwhile");
            };
            // What came first ends the time for all of it.
            keep.row.until = keep.row.until.min(until);
            before
        }
    };
    turn.put(&key, &keep.row);
    turn.put(&Key::due(keep.row.until, &Work::ForgetAnswer(keep.at)), &());
    Ok(before)
}

/// Keeps a grant until it is to be forgotten.
pub(crate) fn keep_grant(
    turn: &mut Turn<'_>,
    token: Token,
    digest: &Digest,
    row: &KeptGrantRow,
) -> Result<(), Halt> {
    let key = Key::kept_grant(digest);
    if turn.row::<KeptGrantRow>(&key)?.is_none() {
        turn.put(&key, row);
        turn.put(&Key::due(row.until, &Work::ForgetGrant(*digest)), &());
    }
    turn.reply(token, Reply::ready(Response::Done));
    Ok(())
}

/// The answer that `owner` got to a question.
pub fn answer(view: &dyn View, owner: &str, id: &QuestionId) -> Result<Option<(KeptAt, KeptRow)>, Fault> {
    let Some(asked) = tables::row::<AskedRow>(view, &Key::asked(id))? else { return Ok(None) };
    let at = KeptAt { owner: owner.to_owned(), asked: asked.at, id: *id };
    Ok(tables::row(view, &Key::kept(&at))?.map(|row| (at, row)))
}

/// Answers of `owner` after a place, the oldest first, at most `limit`.
pub fn answers(
    view: &dyn View,
    owner: &str,
    after: Option<&KeptAt>,
    limit: usize,
) -> Result<Vec<(KeptAt, KeptRow)>, Fault> {
    let prefix = Key::kept_of(owner);
    let from = after.map_or(prefix.clone(), Key::kept_after);
    let mut found = Vec::new();
    for (key, bytes) in view.scan(Space::Row, from.as_bytes(), None, limit)? {
        let Some(rest) = key.strip_prefix(prefix.as_bytes()) else { break };
        let (asked, id) = rest.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
        let Ok(id) = id.try_into().map(QuestionId) else {
            return Err(Fault("the key of a kept answer is damaged".into()));
        };
        let at = KeptAt { owner: owner.to_owned(), asked: Timestamp(u64::from_be_bytes(*asked)), id };
        found.push((at, decode(&key, &bytes)?));
    }
    Ok(found)
}

/// A grant that was kept.
pub fn grant(view: &dyn View, digest: &Digest) -> Result<Option<KeptGrantRow>, Fault> {
    tables::row(view, &Key::kept_grant(digest))
}

/// A record's standing now, as its authority's word has reached this member.
pub fn standing(view: &dyn View, authority: &MemberId, record: &RecordId) -> Result<Status, Fault> {
    let row: Option<Standing> = tables::row(view, &Key::standing(authority, record))?;
    Ok(row.unwrap_or_default().status())
}

/// When this member heard that a record's authority has other content than it had at `asked`; `None` when it has not.
pub fn corrected(
    view: &dyn View,
    authority: &MemberId,
    record: &RecordId,
    asked: Timestamp,
) -> Result<Option<Timestamp>, Fault> {
    let standing: Option<Standing> = tables::row(view, &Key::standing(authority, record))?;
    heard_since(view, authority, standing.and_then(|standing| standing.corrected()), asked)
}

/// Whether this member has heard since `asked` that an objection to a record has ended: the mark that the record bore then says
/// nothing any more.
pub fn dispute_ended(
    view: &dyn View,
    authority: &MemberId,
    record: &RecordId,
    asked: Timestamp,
) -> Result<bool, Fault> {
    let standing: Standing = tables::row(view, &Key::standing(authority, record))?.unwrap_or_default();
    let ended = standing.told().find(|(change, _)| *change == Change::EndDispute).map(|(_, index)| index);
    Ok(heard_since(view, authority, ended, asked)?.is_some())
}

/// When this member has acknowledged an entry of the authority, if that was after `asked`.
fn heard_since(
    view: &dyn View,
    authority: &MemberId,
    index: Option<u64>,
    asked: Timestamp,
) -> Result<Option<Timestamp>, Fault> {
    let heard = index.map_or(Ok(None), |index| propagation::heard(view, authority, index))?;
    Ok(heard.map(|heard| heard.at).filter(|at| *at > asked))
}

/// A page of news: at most `limit` after `after`, and the sequence number up to which the log was looked through. More
/// is there when that is below [`newest`].
pub fn news(context: &Context, view: &dyn View, after: u64, limit: usize) -> Result<(Vec<News>, u64), Fault> {
    let size = newest(view)?;
    let mut found = Vec::new();
    let mut at = after.min(size);
    let end = size.min(at.saturating_add(ENTRIES_PER_PAGE_MAX));
    while at < end && found.len() < limit {
        let entry = LogName::Status.kept_entry(view, at)?;
        if let Fact::Status(signed) = &entry.fact {
            let fact = context.registry.verify_logged(signed).map_err(|e| Fault(e.to_string()))?.into_inner();
            let own = || context.own.id.clone();
            let (origin, index, leaf, fact) = match fact {
                StatusFact::Acknowledged(ack) => {
                    (ack.origin, ack.index, Some(ack.leaf), tables::row(view, &Key::news(at))?)
                }
                fact if fact.grant().is_some() => (own(), at, None, Some(fact)),
                _ => {
                    at += 1;
                    continue;
                }
            };
            found.push(News { sequence: at + 1, at: entry.at, origin, index, leaf, fact });
        }
        at += 1;
    }
    Ok((found, at))
}

/// The highest sequence number given so far.
pub fn newest(view: &dyn View) -> Result<u64, Fault> {
    Ok(log::size(view, LogName::Status.as_str())?.0)
}

/// Holds a row against what is stored: the rows of this file.
pub(crate) fn check(
    context: &Context,
    view: &dyn View,
    table: Table,
    key: &[u8],
    bytes: &[u8],
) -> Result<Option<Wrong>, Fault> {
    match table {
        Table::Asked => decode::<AskedRow>(key, bytes).map(|_| None),
        Table::Kept => decode::<KeptRow>(key, bytes).map(|_| None),
        Table::KeptGrant => decode::<KeptGrantRow>(key, bytes).map(|_| None),
        _ => {
            let said: StatusFact = decode(key, bytes)?;
            let Some(ack) = key.get(1..).and_then(|rest| rest.try_into().ok()).map(u64::from_be_bytes) else {
                return Ok(Some(Wrong::RowDamaged));
            };
            let (found, _) = news(context, view, ack, 1)?;
            let Some(told) =
                found.first().filter(|n| n.sequence == ack + 1 && n.fact.as_ref() == Some(&said))
            else {
                return Ok(Some(Wrong::RowUnexplained));
            };
            // An asker keeps no copy of that log: this is the second source of what was said.
            let acted_on = match (&said, said.grant_life(told.index)) {
                (StatusFact::Changed(changed), _) => {
                    let key = Key::standing(&told.origin, &changed.record);
                    let said = Standing::of(changed.change, told.index);
                    tables::row::<Standing>(view, &key)?.is_some_and(|now| now.merge(said) == now)
                }
                (StatusFact::GrantUsedUp(used), _) => {
                    tables::row::<UsedUpRow>(view, &Key::used_up(&used.grant, &told.origin))?.is_some()
                }
                (_, Some((grant, said))) => {
                    let key = Key::grant_life(&told.origin, grant);
                    tables::row::<GrantLife>(view, &key)?.is_some_and(|now| now.merge(said) == now)
                }
                _ => true,
            };
            Ok((!acted_on).then_some(Wrong::RowMissing))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use credit::{catalog::Purpose, id::ClerkId, question::Basis, subject::SubjectId};
    use crypto::{codec, secret::Secret, sign::SigningKey};
    use ledger::store::{Overlay, Store, memory::MemoryStore};

    use super::*;
    use crate::wire::Outcome;

    fn place(owner: &str, asked: u64, id: u8) -> KeptAt {
        KeptAt { owner: owner.into(), asked: Timestamp(asked), id: QuestionId([id; 16]) }
    }

    #[test]
    fn answers_come_page_by_page_in_the_order_of_asking_and_to_their_own_system_only() {
        let store = MemoryStore::default();
        let kept = Overlay::new(&store);
        let mut turn = Turn::new(Timestamp(0), &kept, BTreeMap::new());
        // A name that is another's beginning, times that are not in the order of the ids.
        let places = [place("a", 300, 1), place("ab", 100, 2), place("a", 200, 9), place("a", 200, 8)];
        for at in places {
            let row = KeptRow {
                question: Digest::ZERO,
                until: Timestamp(900),
                sealed: Bytes(vec![at.id.0[0]]),
                from: Some(Vec::new()),
            };
            // Of two that hold as much the second has the newer word of those that have not decided.
            let first = KeptRow { sealed: Bytes(vec![0]), ..row.clone() };
            for row in [first, row] {
                assert_eq!(keep(&mut turn, Keep { at: at.clone(), row }).unwrap(), Vec::new());
            }
        }
        let found = |after: Option<&KeptAt>, limit| {
            let rows = answers(turn.view(), "a", after, limit).unwrap();
            rows.into_iter().map(|(at, row)| (at.id.0[0], row.sealed.0[0])).collect::<Vec<_>>()
        };
        assert_eq!(found(None, 9), [(8, 8), (9, 9), (1, 1)]);
        assert_eq!(found(None, 2), [(8, 8), (9, 9)]);
        assert_eq!(found(Some(&place("a", 200, 8)), 2), [(9, 9), (1, 1)]);
        assert_eq!(found(Some(&place("a", 300, 1)), 2), []);
        assert_eq!(answers(turn.view(), "b", None, 9).unwrap(), []);
        store.apply(&turn.finish().rows).unwrap();
        let due = store.scan_prefix(Space::Row, Key::due_first().as_bytes(), 9).unwrap();
        assert_eq!(due.len(), 4, "each answer is forgotten once");
    }

    #[test]
    fn an_answer_makes_way_for_one_in_which_more_members_have_decided_and_ends_no_later() {
        let store = MemoryStore::default();
        let kept = Overlay::new(&store);
        let mut turn = Turn::new(Timestamp(0), &kept, BTreeMap::new());
        let at = place("a", 300, 1);
        let mut put = |from: &[&str], until: u64| {
            let from: Vec<MemberId> = from.iter().map(|id| MemberId::parse(id).unwrap()).collect();
            let sealed = Bytes(vec![from.len() as u8]);
            let row = KeptRow { question: Digest::ZERO, until: Timestamp(until), sealed, from: Some(from) };
            let before = keep(&mut turn, Keep { at: at.clone(), row }).ok();
            let row: KeptRow = turn.row(&Key::kept(&at)).unwrap().unwrap();
            (before.map(|members| members.len()), row.sealed.0[0], row.until.0)
        };
        assert_eq!(put(&["js"], 900), (Some(0), 1, 900));
        assert_eq!(put(&["js"], 950), (Some(1), 1, 900));
        assert_eq!(put(&["sh"], 800), (None, 1, 900));
        assert_eq!(put(&["sh", "zj"], 800), (None, 1, 900), "nothing that was kept is lost");
        assert_eq!(put(&["js", "sh"], 950), (Some(1), 2, 900));
        assert_eq!(put(&["js"], 800), (None, 2, 900));
    }

    #[test]
    fn an_answer_kept_before_the_members_were_written_down_is_read() {
        let question = Question {
            id: QuestionId([1; 16]),
            asker: MemberId::parse("bank").unwrap(),
            clerk: ClerkId::parse("wang").unwrap(),
            purpose: Purpose::LoanReview,
            subject: SubjectId::parse("91320505Y0LXM9KP2T").unwrap(),
            wants: Vec::new(),
            basis: Basis::None,
            asked_at: Timestamp(0),
            deadline: Timestamp(1),
            checks: Vec::new(),
        };
        let key = SigningKey::from_seed(&Secret::new([1; 32]));
        let question = Signed::new(&key, "bank", Timestamp(0), &question);
        let parts = vec![Part { member: MemberId::parse("sh").unwrap(), outcome: Outcome::Unreachable }];
        let before = codec::to_vec(&(&question, &parts));
        let read: KeptAnswer = codec::from_slice(&before).unwrap();
        assert_eq!(read, KeptAnswer { question, parts, asked_of: None });
    }
}
