//! One reconciliation with a peer, step by step: what is to be done next, and what comes of it. Whoever carries the
//! questions (a node over QUIC, the simulation over its virtual network) decides nothing.
//!
//! 1. The peer's heads are held against what is kept here, and proven where that is in doubt.
//! 2. What is new of its own logs is fetched, verified and applied.
//! 3. So is what it has of others' status logs beyond the copies here, though its author may be away.
//! 4. Where both then hold as many entries, standings are compared, and mended by the log.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, VecDeque},
};

use credit::id::MemberId;
use crypto::Digest;
use ledger::{log, store::View};

use super::{Answered, Ask, Compared, Judged, NAMED_MAX, Outcome, Report, Search, holds, judge, state};
use crate::{
    context::Context,
    evidence,
    limits::{RECONCILE_INTERVAL_MS, RECONCILE_ROUNDS_MAX},
    logs::LogName,
    refusal::{Code, Fault, Halt, Refusal},
    registry::MemberRequest,
    wire::Response,
};

/// The members a member reconciles with: all others that run a node, by id.
pub fn peers(context: &Context) -> Vec<&MemberRequest> {
    let others = context.registry.active().filter(|m| !m.quic.is_empty() && m.id != context.own.id);
    let mut peers: Vec<&MemberRequest> = others.collect();
    peers.sort_by(|a, b| a.id.cmp(&b.id));
    peers
}

/// Whose turn it is: every peer once at the start, and then one after the other, for ever.
#[derive(Debug, Default)]
pub struct Turns {
    last: Option<MemberId>,
    around: bool,
}

impl Turns {
    /// The next peer; `None` when there is nobody.
    pub fn next(&mut self, context: &Context) -> Option<MemberId> {
        let peers = peers(context);
        let last = self.last.as_ref();
        let at = peers.iter().position(|p| last.is_none_or(|last| p.id > *last)).unwrap_or(0);
        self.last = peers.get(at).map(|p| p.id.clone());
        self.around |= at + 1 >= peers.len();
        self.last.clone()
    }

    /// Milliseconds to wait after it.
    pub fn wait_ms(&self) -> u64 {
        if self.around { RECONCILE_INTERVAL_MS } else { 0 }
    }
}

/// What is to be done next.
#[derive(Debug)]
pub enum Need {
    /// Ask the peer for the heads it has seen.
    Heads,
    /// Fetch what the peer has of a log beyond the copy here, and hand it in. A failure shows in the copy's size.
    Fetch {
        /// Whose log.
        owner: MemberId,
        /// Which.
        log: LogName,
    },
    /// Ask the peer about standings.
    Ask(Ask),
    /// Hand in as [`crate::member::Input::Mend`].
    Mend(Box<Judged>),
}

/// What has come of it.
#[derive(Debug)]
pub enum Came {
    /// It is done. Also what the first step is told.
    Done,
    /// An answer about standings.
    Answered(Answered),
    /// The peer cannot be reached, or somebody refuses: the reconciliation is over.
    Refused(Refusal),
}

impl Came {
    /// From a response: to a question, or to what was handed in.
    pub fn of(response: Result<Response, Refusal>) -> Self {
        match response {
            Ok(Response::Standings(answered)) => Self::Answered(answered),
            Ok(Response::Refused(refusal)) | Err(refusal) => Self::Refused(refusal),
            Ok(_) => Self::Done,
        }
    }
}

/// One reconciliation.
pub struct Session {
    report: Report,
    stage: Stage,
    lines: BTreeMap<MemberId, (u64, Digest)>,
}

enum Stage {
    Begin,
    Copies { left: VecDeque<LogName>, fetching: Option<(LogName, u64)> },
    Lines,
    Compare(Option<Box<Comparison>>),
}

/// Comparing under one authority.
struct Comparison {
    compared: Compared,
    root: Digest,
    rounds: usize,
    doing: Doing,
}

enum Doing {
    Begun,
    /// Entries that the peer has more.
    Fetching,
    /// The peer's entries and digest once more: some may have come in on both sides.
    Asking,
    Searching(Search),
    Mending {
        again: bool,
    },
}

impl Session {
    /// With `peer`, from the begin.
    pub fn new(peer: MemberId) -> Self {
        let (copies, standings) = (Vec::new(), Vec::new());
        let report = Report { peer, problem: None, copies, standings, bytes: 0, ms: 0 };
        Self { report, stage: Stage::Begin, lines: BTreeMap::new() }
    }

    /// With whom.
    pub fn peer(&self) -> &MemberId {
        &self.report.peer
    }

    /// What has shown, without bytes and time, which the carrier counts.
    pub fn report(self) -> Report {
        self.report
    }

    /// What to do now, after what has come of the last; `None` when it is over. `salt` is fresh and random. May read the
    /// whole log of an authority once: see [`judge`].
    pub fn next(
        &mut self,
        context: &Context,
        view: &dyn View,
        salt: u64,
        came: Came,
    ) -> Result<Option<Need>, Fault> {
        match self.step(context, view, salt, came) {
            Ok(need) => Ok(need),
            Err(Halt::Fault(fault)) => Err(fault),
            Err(Halt::Refusal(refusal)) => {
                self.report.problem = Some(refusal);
                Ok(None)
            }
        }
    }

    fn step(
        &mut self,
        context: &Context,
        view: &dyn View,
        salt: u64,
        came: Came,
    ) -> Result<Option<Need>, Halt> {
        let mut came = match came {
            Came::Refused(refusal) => return Err(refusal.into()),
            Came::Done => None,
            Came::Answered(answered) => Some(answered),
        };
        let peer = self.report.peer.clone();
        loop {
            match &mut self.stage {
                Stage::Begin => {
                    if evidence::frozen(view, &peer)? {
                        return Err(evidence::refusal(&peer).into());
                    }
                    let kept = |log: &LogName| context.registry.keeps_copy(&context.own.id, &peer, *log);
                    let left = LogName::ALL.into_iter().filter(kept).collect();
                    self.stage = Stage::Copies { left, fetching: None };
                    return Ok(Some(Need::Heads));
                }
                Stage::Copies { left, fetching } => {
                    let size = |log: LogName| log::size(view, &log.mirror(&peer)).map(|size| size.0);
                    if let Some((log, before)) = fetching.take() {
                        self.report.copies.push((log, before, size(log)?));
                    }
                    if let Some(log) = left.pop_front() {
                        *fetching = Some((log, size(log)?));
                        return Ok(Some(Need::Fetch { owner: peer, log }));
                    }
                    if !context.role()?.mirrors_status() {
                        return Ok(None);
                    }
                    self.stage = Stage::Lines;
                    return Ok(Some(Need::Ask(Ask::Overview)));
                }
                Stage::Lines => {
                    let Some(Answered::Overview(lines)) = came.take() else { return misfit() };
                    self.lines =
                        lines.into_iter().map(|(authority, size, root)| (authority, (size, root))).collect();
                    self.stage = Stage::Compare(None);
                }
                Stage::Compare(comparing) => {
                    if let Some(comparison) = comparing {
                        if let Some(need) = comparison.step(context, view, salt, came.take())? {
                            return Ok(Some(need));
                        }
                        self.report.standings.extend(comparing.take().map(|c| c.compared));
                    }
                    let Some((authority, line)) = self.lines.pop_first() else { return Ok(None) };
                    if holds(context, &context.own.id, &authority) && !evidence::frozen(view, &authority)? {
                        *comparing = Some(Box::new(Comparison::new(authority, line)));
                    }
                }
            }
        }
    }
}

impl Comparison {
    fn new(authority: MemberId, (theirs, root): (u64, Digest)) -> Self {
        let compared = Compared {
            authority,
            entries: (0, 0),
            theirs,
            outcome: Outcome::Open,
            mended: 0,
            differ: 0,
            ahead: 0,
            named: Vec::new(),
        };
        Self { compared, root, rounds: 0, doing: Doing::Begun }
    }

    /// As [`Session::step`], under one authority.
    fn step(
        &mut self,
        context: &Context,
        view: &dyn View,
        salt: u64,
        came: Option<Answered>,
    ) -> Result<Option<Need>, Halt> {
        let authority = &self.compared.authority;
        match &mut self.doing {
            Doing::Begun => {
                let (here, _) = state(context, view, authority)?;
                self.compared.entries = (here, here);
                if self.compared.theirs > here && *authority != context.own.id {
                    self.doing = Doing::Fetching;
                    return Ok(Some(Need::Fetch { owner: authority.clone(), log: LogName::Status }));
                }
                self.round(context, view, salt)
            }
            Doing::Mending { again: false } => Ok(None),
            Doing::Fetching | Doing::Mending { .. } => {
                self.doing = Doing::Asking;
                Ok(Some(Need::Ask(Ask::Overview)))
            }
            Doing::Asking => {
                let Some(Answered::Overview(lines)) = came else { return misfit() };
                let Some(line) = lines.into_iter().find(|line| line.0 == *authority) else { return Ok(None) };
                (self.compared.theirs, self.root) = (line.1, line.2);
                self.round(context, view, salt)
            }
            Doing::Searching(search) => {
                let Some(answered) = came else { return misfit() };
                search.heard(view, &answered)??;
                self.search(context, view)
            }
        }
    }

    /// One look at both digests, and a search where they differ.
    fn round(&mut self, context: &Context, view: &dyn View, salt: u64) -> Result<Option<Need>, Halt> {
        let (here, digest) = state(context, view, &self.compared.authority)?;
        self.compared.entries.1 = here;
        self.compared.outcome = match here.cmp(&self.compared.theirs) {
            Ordering::Less => Outcome::Behind,
            Ordering::Greater => Outcome::PeerBehind,
            Ordering::Equal if digest != self.root => Outcome::Open,
            Ordering::Equal if self.compared.mended > 0 => Outcome::Mended,
            Ordering::Equal => Outcome::Same,
        };
        if self.compared.outcome != Outcome::Open || self.rounds == RECONCILE_ROUNDS_MAX {
            return Ok(None);
        }
        self.rounds += 1;
        self.doing = Doing::Searching(Search::new(self.compared.authority.clone(), here, salt));
        self.search(context, view)
    }

    /// The next question of the search; at its end what is found is judged.
    fn search(&mut self, context: &Context, view: &dyn View) -> Result<Option<Need>, Halt> {
        let Doing::Searching(search) = &mut self.doing else { return Ok(None) };
        if let Some(ask) = search.next(view)? {
            return Ok(Some(Need::Ask(ask)));
        }
        let judged = judge(context, view, search)?;
        let compared = &mut self.compared;
        compared.mended += judged.mine;
        compared.ahead = judged.ahead;
        compared.differ = judged.theirs;
        compared.named.extend(&judged.named);
        compared.named.dedup();
        compared.named.truncate(NAMED_MAX);
        // When nothing is left to mend here, the peer's digest stays another one until it reconciles itself.
        let progress = judged.mine > 0 || judged.rebuild;
        let theirs_alone = judged.theirs > 0 && (!progress || !search.more());
        if theirs_alone {
            compared.outcome = Outcome::PeerDiffers;
        }
        self.doing = Doing::Mending { again: progress && !theirs_alone };
        Ok(Some(Need::Mend(Box::new(judged))))
    }
}

fn misfit<T>() -> Result<T, Halt> {
    Halt::refuse(Code::FrameMalformed, "an answer about standings does not fit")
}
