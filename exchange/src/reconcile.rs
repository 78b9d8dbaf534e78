//! Two members that hold the same status log compare what they have made of it, and mend what differs by the log.
//!
//! A member asks a peer for the digest of the standings under each authority ([`summary`]). Where it holds the same number
//! of entries and another digest, [`Search`] goes down the tree, asks for the children of every node that differs, and
//! ends at the records. [`judge`] holds both standings of each against the entries they rest on, in the copy of the log
//! that this member has verified: what holds is projected once more, what does not hold is made again from the log. A
//! peer's word alone changes nothing. [`Session`] is the way there, step by step, and [`Turns`] whose turn it is.
//!
//! Nobody learns of a record: a peer answers about an authority only whom that authority's status log is open to, and
//! every standing follows from that log.
//!
//! Digests on the way down are cut to [`SHORT_BYTES`] and salted anew for each comparison. That costs a difference being
//! missed once in millions; the whole digests are compared again after it, and the next comparison has another salt.

use std::collections::{BTreeMap, BTreeSet};

use credit::{
    entry::{Entry, Fact, StatusFact},
    id::{MemberId, RecordId},
    status::{Change, Standing},
};
use crypto::{Bytes, Digest, Timestamp, codec, label::Label};
use ledger::{log, store::View, tree::LeafIndex};
use minicbor::{Decode, Encode};

use crate::{
    context::Context,
    logs::LogName,
    project,
    refusal::{Code, Fault, Halt, Refusal},
    step::{Effect, Reply, Token},
    summary::{self, DEPTH, FANOUT},
    tables::{self, Key, Told},
    turn::Turn,
    wire::Response,
};

mod session;

pub use session::{Came, Need, Session, Turns, peers};

/// Bytes of a digest on the way down.
pub const SHORT_BYTES: usize = 3;
/// Buckets looked into in one search; what is beyond is found by the next one.
pub const BUCKETS_PER_SEARCH_MAX: usize = 4_096;
/// Buckets in one request.
pub const BUCKETS_PER_ASK_MAX: usize = 1_024;
/// Standings of the asker in one request: below 100 KiB.
pub const STANDINGS_PER_ASK_MAX: usize = 32_768;
/// Standings in one answer: below a quarter of a frame.
pub const STANDINGS_PER_ANSWER_MAX: usize = 4_096;
/// Records named in a finding.
pub const NAMED_MAX: usize = 8;
/// Entries read at once when a standing is made again.
const PAGE: u64 = 256;

/// What is asked about standings.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Ask {
    /// For every authority whose status log both hold: how long, and the digest.
    #[n(0)]
    Overview,
    /// The children of nodes of one level, each as [`SHORT_BYTES`].
    #[n(1)]
    Children {
        /// Under whom.
        #[n(0)]
        authority: MemberId,
        /// Of this comparison.
        #[n(1)]
        salt: u64,
        /// Level, from 0.
        #[n(2)]
        depth: u8,
        /// Which, ascending.
        #[n(3)]
        nodes: Vec<u16>,
    },
    /// What the asker has not in these buckets.
    #[n(2)]
    Buckets {
        /// Under whom.
        #[n(0)]
        authority: MemberId,
        /// Of this comparison.
        #[n(1)]
        salt: u64,
        /// Which, ascending, each with [`SHORT_BYTES`] per standing that the asker has.
        #[n(2)]
        buckets: Vec<(u16, Bytes)>,
    },
}

/// What is told about standings.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Answered {
    /// Per authority: entries of its status log that are held here, and the digest of the standings made of them.
    #[n(0)]
    Overview(#[n(0)] Vec<(MemberId, u64, Digest)>),
    /// [`FANOUT`] times [`SHORT_BYTES`] per node asked for.
    #[n(1)]
    Children(#[n(0)] Bytes),
    /// What differs in the buckets asked for.
    #[n(2)]
    Buckets {
        /// Standings that the asker has not.
        #[n(0)]
        standings: Vec<(RecordId, Standing)>,
        /// Which of the asker's, counted through all buckets, are not here.
        #[n(1)]
        not_here: Vec<u32>,
        /// There are more.
        #[n(2)]
        more: bool,
    },
}

/// A record of which two members have made different standings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The record.
    pub record: RecordId,
    /// What the peer has.
    pub theirs: Option<Standing>,
}

fn stored(context: &Context, authority: &MemberId) -> String {
    let own = *authority == context.own.id;
    if own { LogName::Status.as_str().to_owned() } else { LogName::Status.mirror(authority) }
}

/// Whether `member` holds the status log of `authority`.
fn holds(context: &Context, member: &MemberId, authority: &MemberId) -> bool {
    member == authority || context.registry.keeps_copy(member, authority, LogName::Status)
}

/// How long the status log of an authority is here, and the digest of the standings made of it.
pub fn state(context: &Context, view: &dyn View, authority: &MemberId) -> Result<(u64, Digest), Fault> {
    let name = stored(context, authority);
    loop {
        // The writer may commit in between; both belong to one batch.
        let before = log::size(view, &name)?;
        let root = summary::root(view, authority)?;
        if log::size(view, &name)? == before {
            return Ok((before.0, root));
        }
    }
}

fn short(salt: u64, parts: &[&[u8]]) -> [u8; SHORT_BYTES] {
    let bytes = [&[&salt.to_be_bytes()[..]], parts].concat().concat();
    let mut short = [0; SHORT_BYTES];
    short.copy_from_slice(&Digest::labelled(Label::StandingShort, &bytes).0[..SHORT_BYTES]);
    short
}

fn short_of(salt: u64, (record, standing): &(RecordId, Standing)) -> [u8; SHORT_BYTES] {
    short(salt, &[&record.0, &codec::to_vec(standing)])
}

fn children(
    view: &dyn View,
    authority: &MemberId,
    salt: u64,
    depth: u8,
    nodes: &[u16],
) -> Result<Vec<u8>, Fault> {
    let mut shorts = Vec::with_capacity(nodes.len() * FANOUT * SHORT_BYTES);
    for node in nodes {
        for digest in summary::node(view, authority, depth, *node)?.digests() {
            shorts.extend(short(salt, &[&digest.0]));
        }
    }
    Ok(shorts)
}

/// Answers a peer. `caller.not-allowed` about an authority whose status log it does not hold.
pub fn answer(context: &Context, view: &dyn View, caller: &MemberId, ask: &Ask) -> Result<Response, Fault> {
    let barred = |authority: &MemberId| {
        let allowed = holds(context, caller, authority) && holds(context, &context.own.id, authority);
        let why = format!("`{caller}` and this member do not both hold `{authority}/status`");
        (!allowed).then(|| Response::Refused(Refusal::new(Code::CallerNotAllowed, why)))
    };
    let malformed = |why| Ok(Response::Refused(Refusal::new(Code::FrameMalformed, why)));
    Ok(Response::Standings(match ask {
        Ask::Overview => {
            let mut lines = Vec::new();
            for member in context.registry.active() {
                if barred(&member.id).is_none() && !member.quic.is_empty() {
                    let (size, root) = state(context, view, &member.id)?;
                    lines.push((member.id.clone(), size, root));
                }
            }
            Answered::Overview(lines)
        }
        Ask::Children { authority, salt, depth, nodes } => {
            if let Some(refused) = barred(authority) {
                return Ok(refused);
            }
            let ascending = nodes.windows(2).all(|pair| pair[0] < pair[1]);
            if *depth >= DEPTH
                || !ascending
                || nodes.iter().any(|n| u32::from(*n) >= 1 << (4 * u32::from(*depth)))
            {
                return malformed("no such nodes");
            }
            Answered::Children(Bytes(children(view, authority, *salt, *depth, nodes)?))
        }
        Ask::Buckets { authority, salt, buckets } => {
            if let Some(refused) = barred(authority) {
                return Ok(refused);
            }
            let ascending = buckets.windows(2).all(|pair| pair[0].0 < pair[1].0);
            let standings: usize = buckets.iter().map(|(_, shorts)| shorts.0.len() / SHORT_BYTES).sum();
            if !ascending || buckets.len() > BUCKETS_PER_ASK_MAX || standings > 2 * STANDINGS_PER_ASK_MAX {
                return malformed("too many buckets");
            }
            differing(view, authority, *salt, buckets)?
        }
    }))
}

fn differing(
    view: &dyn View,
    authority: &MemberId,
    salt: u64,
    buckets: &[(u16, Bytes)],
) -> Result<Answered, Fault> {
    let (mut standings, mut not_here, mut more, mut at) = (Vec::new(), Vec::new(), false, 0);
    for (bucket, theirs) in buckets {
        let theirs: Vec<&[u8]> = theirs.0.chunks_exact(SHORT_BYTES).collect();
        let known: BTreeSet<&[u8]> = theirs.iter().copied().collect();
        let mut here = BTreeSet::new();
        for standing in summary::bucket(view, authority, *bucket)? {
            let short = short_of(salt, &standing);
            here.insert(short);
            match (known.contains(&short[..]), standings.len() < STANDINGS_PER_ANSWER_MAX) {
                (true, _) => {}
                (false, true) => standings.push(standing),
                (false, false) => more = true,
            }
        }
        for short in theirs {
            if !here.iter().any(|h| h == short) {
                not_here.push(at);
            }
            at += 1;
        }
    }
    Ok(Answered::Buckets { standings, not_here, more })
}

/// One member's way to the records that differ: what to ask next, and what the peer has answered.
///
/// Shape: 4 answers to the buckets, and one per [`BUCKETS_PER_ASK_MAX`] buckets. Holds the buckets and the differences.
pub struct Search {
    authority: MemberId,
    size: u64,
    salt: u64,
    depth: u8,
    open: Vec<u16>,
    asked: Vec<(u16, Vec<RecordId>)>,
    found: BTreeMap<RecordId, Option<Standing>>,
    more: bool,
    /// A node or bucket differs, and nothing below it does.
    hollow: bool,
}

impl Search {
    /// From the top. Both members hold `size` entries of the authority's status log; `salt` is fresh and random.
    pub fn new(authority: MemberId, size: u64, salt: u64) -> Self {
        let (asked, found) = (Vec::new(), BTreeMap::new());
        Self { authority, size, salt, depth: 0, open: vec![0], asked, found, more: false, hollow: false }
    }

    /// What to ask now; `None` at the end.
    pub fn next(&mut self, view: &dyn View) -> Result<Option<Ask>, Fault> {
        let (authority, salt) = (self.authority.clone(), self.salt);
        if self.open.is_empty() {
            return Ok(None);
        }
        if self.depth < DEPTH {
            return Ok(Some(Ask::Children { authority, salt, depth: self.depth, nodes: self.open.clone() }));
        }
        let (mut buckets, mut standings) = (Vec::new(), 0);
        self.asked.clear();
        for bucket in self.open.iter().take(BUCKETS_PER_ASK_MAX) {
            if standings >= STANDINGS_PER_ASK_MAX {
                break;
            }
            let here = summary::bucket(view, &self.authority, *bucket)?;
            standings += here.len();
            let shorts = here.iter().flat_map(|standing| short_of(salt, standing)).collect();
            buckets.push((*bucket, Bytes(shorts)));
            self.asked.push((*bucket, here.into_iter().map(|(record, _)| record).collect()));
        }
        Ok(Some(Ask::Buckets { authority, salt, buckets }))
    }

    /// Takes the answer to what was asked last. Errors: it does not fit; the search is over then.
    pub fn heard(&mut self, view: &dyn View, answered: &Answered) -> Result<Result<(), Refusal>, Fault> {
        let misfit = || Ok(Err(Refusal::new(Code::FrameMalformed, "an answer about standings does not fit")));
        match answered {
            Answered::Children(theirs) if self.depth < DEPTH => {
                let mine = children(view, &self.authority, self.salt, self.depth, &self.open)?;
                if theirs.0.len() != mine.len() {
                    return misfit();
                }
                let shorts = mine.chunks_exact(SHORT_BYTES).zip(theirs.0.chunks_exact(SHORT_BYTES));
                let places = self.open.iter().flat_map(|n| (0..FANOUT as u16).map(move |c| (*n << 4) | c));
                let mut open: Vec<u16> =
                    places.zip(shorts).filter(|(_, (mine, theirs))| mine != theirs).map(|(p, _)| p).collect();
                // A node that differs, and none of its children does: one of the two digests is not that of the children.
                self.hollow |= !self.open.iter().all(|node| open.iter().any(|child| child >> 4 == *node));
                self.depth += 1;
                if self.depth == DEPTH && open.len() > BUCKETS_PER_SEARCH_MAX {
                    open.truncate(BUCKETS_PER_SEARCH_MAX);
                    self.more = true;
                }
                self.open = open;
            }
            Answered::Buckets { standings, not_here, more } if self.depth == DEPTH => {
                let within = |bucket| self.asked.iter().any(|(asked, _)| *asked == bucket);
                let records: Vec<RecordId> =
                    self.asked.iter().flat_map(|(_, records)| records.iter().copied()).collect();
                if !standings.iter().all(|(record, _)| within(summary::bucket_of(record)))
                    || !not_here.iter().all(|at| (*at as usize) < records.len())
                {
                    return misfit();
                }
                let mut touched = BTreeSet::new();
                for (record, standing) in standings {
                    touched.insert(summary::bucket_of(record));
                    self.found.insert(*record, Some(*standing));
                }
                for at in not_here {
                    let record = records[*at as usize];
                    touched.insert(summary::bucket_of(&record));
                    // Of an answer that was cut off nobody knows what the rest of it holds.
                    if !more {
                        self.found.entry(record).or_insert(None);
                    }
                }
                self.hollow |= !more && self.asked.iter().any(|(bucket, _)| !touched.contains(bucket));
                self.more |= more;
                self.open.drain(..self.asked.len());
            }
            _ => return misfit(),
        }
        Ok(Ok(()))
    }

    /// What differs.
    pub fn found(&self) -> Vec<Difference> {
        self.found.iter().map(|(record, theirs)| Difference { record: *record, theirs: *theirs }).collect()
    }

    /// There is more than one search finds.
    pub fn more(&self) -> bool {
        self.more
    }
}

/// What is to be done about differences, and what they were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// Under whom.
    pub authority: MemberId,
    /// Entries of the authority's log to be projected once more.
    pub replay: Vec<u64>,
    /// Standings that the log speaks against, as read: they go, and the log's come.
    pub reset: Vec<(RecordId, Standing)>,
    /// The digests here are not those of the standings, and are made again.
    pub rebuild: bool,
    /// Records whose standing here was not what the log says.
    pub mine: u64,
    /// Records whose standing at the peer is not what the log says.
    pub theirs: u64,
    /// Records that rest on entries which are not in the copy here yet: nothing is said about them.
    pub ahead: u64,
    /// The first of them.
    pub named: Vec<RecordId>,
}

enum Claim {
    Holds,
    Ahead,
    False,
}

/// Holds what differs against the authority's log as it is verified here. Reads at most three entries per standing; only
/// where a standing here rests on an entry that does not say so, the whole log once.
pub fn judge(context: &Context, view: &dyn View, search: &Search) -> Result<Judged, Fault> {
    let authority = search.authority.clone();
    let name = stored(context, &authority);
    let size = log::size(view, &name)?.0;
    // What has come in on one side since is no difference.
    let both = size.min(search.size);
    let claim = |record: &RecordId, (change, index): (Change, u64)| -> Result<Claim, Fault> {
        if index >= both {
            return Ok(Claim::Ahead);
        }
        let says = statement(context, view, &name, index).map_err(unread)?.map(|(_, fact)| fact);
        let holds = matches!(says, Some(StatusFact::Changed(c)) if c.record == *record && c.change == change);
        Ok(if holds { Claim::Holds } else { Claim::False })
    };
    let mut judged = Judged {
        authority,
        replay: Vec::new(),
        reset: Vec::new(),
        rebuild: false,
        mine: 0,
        theirs: 0,
        ahead: 0,
        named: Vec::new(),
    };
    // At the peer they may be wrong as well, or something came in between two questions.
    judged.rebuild = search.hollow && !summary::wrong(view, &judged.authority)?.is_empty();
    let mut again = BTreeSet::new();
    for Difference { record, theirs } in search.found() {
        let mine: Option<Standing> = tables::row(view, &Key::standing(&judged.authority, &record))?;
        if mine == theirs {
            continue;
        }
        let (mut verified, mut ahead, mut false_here) = (Standing::default(), false, false);
        for (here, standing) in [(true, mine), (false, theirs)] {
            for told in standing.iter().flat_map(Standing::told) {
                match claim(&record, told)? {
                    Claim::Holds => verified = verified.merge(Standing::of(told.0, told.1)),
                    Claim::Ahead => ahead = true,
                    Claim::False => false_here |= here,
                }
            }
        }
        judged.named.extend((judged.named.len() < NAMED_MAX).then_some(record));
        if ahead {
            judged.ahead += 1;
        } else if let (true, Some(was)) = (false_here, mine) {
            judged.mine += 1;
            judged.reset.push((record, was));
            again.insert(record);
        } else {
            let known = mine.unwrap_or_default();
            if verified != known {
                judged.mine += 1;
                judged.replay.extend(verified.told().map(|(_, index)| index));
            }
            if theirs.unwrap_or_default() != verified {
                judged.theirs += 1;
            }
        }
    }
    if !again.is_empty() {
        let mut at = 0;
        while at < size {
            for bytes in log::entries(view, &name, LeafIndex(at), PAGE as usize)? {
                if let Some((_, StatusFact::Changed(changed))) = read(context, &bytes).map_err(unread)?
                    && again.contains(&changed.record)
                {
                    judged.replay.push(at);
                }
                at += 1;
            }
        }
    }
    judged.replay.sort_unstable();
    judged.replay.dedup();
    Ok(judged)
}

fn unread(halt: Halt) -> Fault {
    match halt {
        Halt::Fault(fault) => fault,
        Halt::Refusal(refusal) => {
            Fault(format!("a statement that is kept here cannot be read now: {refusal}"))
        }
    }
}

/// Entry `index` of a status log that is kept here, read.
fn statement(
    context: &Context,
    view: &dyn View,
    name: &str,
    index: u64,
) -> Result<Option<(Entry, StatusFact)>, Halt> {
    let bytes = log::entry(view, name, LeafIndex(index))?;
    Ok(bytes.map(|bytes| read(context, &bytes)).transpose()?.flatten())
}

fn read(context: &Context, bytes: &[u8]) -> Result<Option<(Entry, StatusFact)>, Halt> {
    let entry = Entry::from_bytes(bytes).map_err(|e| Fault(format!("an entry that is kept here: {e}")))?;
    let fact = match &entry.fact {
        Fact::Status(signed) => signed.clone(),
        _ => return Ok(None),
    };
    // It held when it was taken in. If it does not hold now, its author is suspended or has another key; what it said then
    // must not count as never said, or an ended record would come back.
    Ok(Some((entry, context.registry.verify_logged(&fact)?.into_inner())))
}

/// What was found last between this member and a peer, under one authority.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct FindingRow {
    /// When.
    #[n(0)]
    pub at: Timestamp,
    /// Records mended here, of this and all earlier findings.
    #[n(1)]
    pub mine: u64,
    /// Records that differed at the peer, likewise.
    #[n(2)]
    pub theirs: u64,
    /// Records of this finding, at most [`NAMED_MAX`].
    #[n(3)]
    pub named: Vec<RecordId>,
}

/// Mends what was judged, and notes and reports it.
///
/// 1. A standing that the log speaks against goes, unless it has changed since it was read.
/// 2. Entries are projected once more, as when they were taken in: merging what is known changes nothing.
/// 3. The digests are made again where they are not those of the standings.
///
/// Noted is what has really changed: another comparison may have mended the same a moment ago.
pub fn mend(
    context: &Context,
    turn: &mut Turn<'_>,
    token: Token,
    peer: &MemberId,
    judged: &Judged,
) -> Result<(), Halt> {
    let authority = &judged.authority;
    let name = stored(context, authority);
    let mut statements = Vec::with_capacity(judged.replay.len());
    for index in &judged.replay {
        // The registry may be another one since; then it is refused, and nothing is changed.
        let read = statement(context, turn.view(), &name, *index)?;
        statements.extend(read.map(|(entry, fact)| (Told { index: *index, at: entry.at }, fact)));
    }
    let mut before: BTreeMap<RecordId, Option<Standing>> = BTreeMap::new();
    let reset = judged.reset.iter().map(|(record, _)| *record);
    let changed = statements.iter().filter_map(|(_, fact)| match fact {
        StatusFact::Changed(changed) => Some(changed.record),
        _ => None,
    });
    for record in reset.chain(changed) {
        before.insert(record, turn.row(&Key::standing(authority, &record))?);
    }
    // 1
    for (record, was) in &judged.reset {
        if turn.row(&Key::standing(authority, record))? == Some(*was) {
            summary::put(turn, authority, record, None)?;
        }
    }
    // 2
    for (told, fact) in statements {
        project::status(context, turn, authority, &fact, told)?;
    }
    // 3
    let rebuilt = judged.rebuild && summary::rebuild(turn, authority)?;
    let mut mended = 0;
    for (record, was) in before {
        mended += u64::from(turn.row::<Standing>(&Key::standing(authority, &record))? != was);
    }
    if mended + judged.theirs > 0 || rebuilt {
        let key = Key::finding(authority, peer);
        let known: Option<FindingRow> = turn.row(&key)?;
        let (mine, theirs) = known.map_or((0, 0), |row| (row.mine, row.theirs));
        let (mine, theirs) = (mine + mended, theirs + judged.theirs);
        turn.put(&key, &FindingRow { at: turn.now, mine, theirs, named: judged.named.clone() });
        turn.effect(Effect::Alert(format!(
            "standings under `{authority}` differed from those of `{peer}`: {mended} were mended here by the log, {} are not \
             what the log says at `{peer}`{}; see `xinqiao reconcile --peer {peer}`",
            judged.theirs,
            if rebuilt { ", and the digests were made again" } else { "" }
        )));
    }
    turn.reply(token, Reply::ready(Response::Done));
    Ok(())
}

/// How a comparison under one authority ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Outcome {
    /// The same.
    #[n(0)]
    Same,
    /// The same after what is told.
    #[n(1)]
    Mended,
    /// The peer's are not what the log says.
    #[n(2)]
    PeerDiffers,
    /// The peer has fewer entries of the log, and was not compared.
    #[n(3)]
    PeerBehind,
    /// The peer has more entries than could be fetched and verified.
    #[n(4)]
    Behind,
    /// Entries came in meanwhile, or there is more than one comparison mends.
    #[n(5)]
    Open,
}

/// What comparing with one peer has shown under one authority.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Compared {
    /// Under whom.
    #[n(0)]
    pub authority: MemberId,
    /// Entries of its status log here, before and after.
    #[n(1)]
    pub entries: (u64, u64),
    /// At the peer.
    #[n(2)]
    pub theirs: u64,
    /// How it ended.
    #[n(3)]
    pub outcome: Outcome,
    /// Records mended here.
    #[n(4)]
    pub mended: u64,
    /// Records that are not what the log says at the peer.
    #[n(5)]
    pub differ: u64,
    /// Records with news that the copy here does not have yet.
    #[n(6)]
    pub ahead: u64,
    /// Some of them.
    #[n(7)]
    pub named: Vec<RecordId>,
}

/// What reconciling with one peer has shown.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Report {
    /// With whom.
    #[n(0)]
    pub peer: MemberId,
    /// Why there was nothing to compare, or the comparison ended early.
    #[n(1)]
    pub problem: Option<Refusal>,
    /// The peer's own logs of which a copy is kept here: entries before and after.
    #[n(2)]
    pub copies: Vec<(LogName, u64, u64)>,
    /// Under each authority whose status log both hold.
    #[n(3)]
    pub standings: Vec<Compared>,
    /// Bytes of requests and answers of the comparison, without fetched entries.
    #[n(4)]
    pub bytes: u64,
    /// Time, in milliseconds.
    #[n(5)]
    pub ms: u64,
}

#[cfg(test)]
mod tests;
