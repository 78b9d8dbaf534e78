//! Reconciling with a peer: fetch and verify what is missing, compare standings, mend what differs. What is decided
//! stands in `exchange::reconcile`; here the questions are carried.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use credit::id::MemberId;
use crypto::Digest;
use exchange::{
    evidence,
    logs::LogName,
    member::Input,
    reconcile::{self, Answered, Ask, Compared, Outcome, Report, Search},
    refusal::{Code, Fault, Refusal},
    registry::MemberRequest,
    wire::{Request, Response, to_frame},
};
use ledger::log;

use crate::{
    clock,
    core::Shared,
    run::{ask_heads, fetch, hand_in},
    serve::Server,
};

/// Time between two peers being reconciled with, each in its turn. With n peers whatever any of them has verified is
/// known here after n times as long, even when its author is away.
pub const INTERVAL: Duration = Duration::from_secs(5);
/// Time a peer has to answer.
const WAIT: Duration = Duration::from_secs(5);
/// Comparisons of one authority in a row, while each mends something.
const ROUNDS_MAX: usize = 16;

/// Reconciles with every peer once, and then with one after the other, for ever.
pub async fn for_ever(server: Server) {
    for peer in peers(&server) {
        by_itself(&server, &peer).await;
    }
    let mut last: Option<MemberId> = None;
    loop {
        tokio::time::sleep(INTERVAL).await;
        let peers = peers(&server);
        let next = peers.iter().find(|p| last.as_ref().is_some_and(|last| p.id > *last)).or(peers.first());
        if let Some(peer) = next {
            last = Some(peer.id.clone());
            by_itself(&server, peer).await;
        }
    }
}

/// Reconciles unasked: not when this member has lost data and takes nothing in.
pub async fn by_itself(server: &Server, peer: &MemberRequest) {
    if server.shared.state.read().is_ok_and(|state| state.phase == "ready") {
        let report = with(server, peer).await;
        tracing::debug!(?report, "reconciled");
    }
}

/// The members a member reconciles with: all that run a node.
pub fn peers(server: &Server) -> Vec<MemberRequest> {
    let context = server.shared.context();
    let mut peers: Vec<MemberRequest> =
        context.registry.active().filter(|m| !m.quic.is_empty() && m.id != context.own.id).cloned().collect();
    peers.sort_by(|a, b| a.id.cmp(&b.id));
    peers
}

/// Reconciles with one peer.
///
/// 1. Its heads are held against what is kept here, and proven where that is in doubt.
/// 2. What is new of its own logs is fetched, verified and applied.
/// 3. So is what it has of others' status logs beyond the copies here, though its author may be away.
/// 4. Where both then hold as many entries, standings are compared, and mended by the log.
pub async fn with(server: &Server, peer: &MemberRequest) -> Report {
    let begun = Instant::now();
    let mut report = Report {
        peer: peer.id.clone(),
        problem: None,
        copies: Vec::new(),
        standings: Vec::new(),
        bytes: 0,
        ms: 0,
    };
    report.problem = reconciled(server, peer, &mut report).await.err();
    report.ms = begun.elapsed().as_millis() as u64;
    report
}

async fn reconciled(server: &Server, peer: &MemberRequest, report: &mut Report) -> Result<(), Refusal> {
    let shared = &server.shared;
    if evidence::frozen(&shared.store, &peer.id).map_err(fault)? {
        return Err(evidence::refusal(&peer.id));
    }
    // 1
    if !ask_heads(server, &peer.id, WAIT).await {
        return Err(Refusal::new(Code::Unreachable, format!("`{}`", peer.id)));
    }
    // 2
    for log in LogName::ALL {
        if shared.context().registry.keeps_copy(&shared.context().own.id, &peer.id, log) {
            let (before, after) = advance(server, peer, &peer.id, log).await?;
            report.copies.push((log, before, after));
        }
    }
    if !shared.context().role()?.mirrors_status() {
        return Ok(());
    }
    // 3 and 4
    let Answered::Overview(lines) = ask(server, peer, Ask::Overview, &mut report.bytes).await? else {
        return Err(misfit());
    };
    for (authority, theirs, root) in lines {
        let compared = compare(server, peer, &authority, (theirs, root), &mut report.bytes).await?;
        report.standings.extend(compared);
    }
    Ok(())
}

/// Brings the copy of a log up to what `peer` has of it; entries before and after.
async fn advance(
    server: &Server,
    peer: &MemberRequest,
    owner: &MemberId,
    log: LogName,
) -> Result<(u64, u64), Refusal> {
    let size = || log::size(&server.shared.store, &log.mirror(owner)).map(|s| s.0);
    let before = size().map_err(|e| fault(e.into()))?;
    if let Ok(Some(found)) = fetch(server, peer, owner, log, WAIT).await {
        hand_in(server, found).await;
    }
    Ok((before, size().map_err(|e| fault(e.into()))?))
}

async fn compare(
    server: &Server,
    peer: &MemberRequest,
    authority: &MemberId,
    (mut theirs, mut root): (u64, Digest),
    bytes: &mut u64,
) -> Result<Option<Compared>, Refusal> {
    let shared = &server.shared;
    let context = shared.context();
    let own = *authority == context.own.id;
    if !own && !context.registry.keeps_copy(&context.own.id, authority, LogName::Status)
        || evidence::frozen(&shared.store, authority).map_err(fault)?
    {
        return Ok(None);
    }
    let (mut here, mut digest) = reconcile::state(&context, &shared.store, authority).map_err(fault)?;
    let before = here;
    if theirs > here && !own {
        advance(server, peer, authority, LogName::Status).await?;
        if let Some(line) = overview(server, peer, authority, bytes).await? {
            (theirs, root) = line;
        }
        (here, digest) = reconcile::state(&context, &shared.store, authority).map_err(fault)?;
    }
    let mut compared = Compared {
        authority: authority.clone(),
        entries: (before, here),
        theirs,
        outcome: Outcome::Same,
        mended: 0,
        differ: 0,
        ahead: 0,
        named: Vec::new(),
    };
    for round in 0..=ROUNDS_MAX {
        compared.entries.1 = here;
        compared.theirs = theirs;
        compared.outcome = match here.cmp(&theirs) {
            std::cmp::Ordering::Less => Outcome::Behind,
            std::cmp::Ordering::Greater => Outcome::PeerBehind,
            std::cmp::Ordering::Equal if digest != root => Outcome::Open,
            std::cmp::Ordering::Equal if compared.mended > 0 => Outcome::Mended,
            std::cmp::Ordering::Equal => Outcome::Same,
        };
        if compared.outcome != Outcome::Open || round == ROUNDS_MAX {
            break;
        }
        let salt = u64::from_be_bytes(clock::random());
        let mut search = Search::new(authority.clone(), here, salt);
        while let Some(question) = search.next(&shared.store).map_err(fault)? {
            let answered = ask(server, peer, question, bytes).await?;
            search.heard(&shared.store, &answered).map_err(fault)??;
        }
        let judging = shared.clone();
        let judged = tokio::task::spawn_blocking(move || {
            reconcile::judge(&judging.context(), &judging.store, &search)
                .map(|judged| (judged, search.more()))
        });
        let (judged, more) = judged.await.map_err(|e| fault(Fault(e.to_string())))?.map_err(fault)?;
        let progress = judged.mine > 0 || judged.rebuild;
        compared.mended += judged.mine;
        compared.ahead = judged.ahead;
        compared.differ = judged.theirs;
        compared.named.extend(&judged.named);
        compared.named.dedup();
        compared.named.truncate(reconcile::NAMED_MAX);
        let theirs_alone = judged.theirs > 0;
        let judged = Box::new(judged);
        if let Response::Refused(refusal) =
            server.core.ask_surely(Input::Mend { peer: peer.id.clone(), judged }).await
        {
            return Err(refusal);
        }
        if !progress {
            if theirs_alone {
                compared.outcome = Outcome::PeerDiffers;
            }
            break;
        }
        if theirs_alone && !more {
            // Nothing is left here, and the peer's digest stays another one until it reconciles itself.
            compared.outcome = Outcome::PeerDiffers;
            break;
        }
        // Entries may have come in on both sides meanwhile.
        let Some(line) = overview(server, peer, authority, bytes).await? else { break };
        (theirs, root) = line;
        (here, digest) = reconcile::state(&context, &shared.store, authority).map_err(fault)?;
    }
    Ok(Some(compared))
}

/// What the peer has under one authority: entries and digest.
async fn overview(
    server: &Server,
    peer: &MemberRequest,
    authority: &MemberId,
    bytes: &mut u64,
) -> Result<Option<(u64, Digest)>, Refusal> {
    let Answered::Overview(lines) = ask(server, peer, Ask::Overview, bytes).await? else {
        return Err(misfit());
    };
    Ok(lines.into_iter().find(|line| line.0 == *authority).map(|line| (line.1, line.2)))
}

async fn ask(
    server: &Server,
    peer: &MemberRequest,
    question: Ask,
    bytes: &mut u64,
) -> Result<Answered, Refusal> {
    let request = Request::Standings(question);
    *bytes += to_frame(&request).len() as u64;
    match server.peers.ask(peer, &request, WAIT).await? {
        Response::Standings(answered) => {
            *bytes += to_frame(&Response::Standings(answered.clone())).len() as u64;
            Ok(answered)
        }
        _ => Err(misfit()),
    }
}

/// Answers a peer that compares.
pub fn answer(shared: &Arc<Shared>, caller: &MemberId, question: &Ask) -> Result<Response, Fault> {
    reconcile::answer(&shared.context(), &shared.store, caller, question)
}

fn misfit() -> Refusal {
    Refusal::new(Code::FrameMalformed, "an answer about standings does not fit")
}

fn fault(fault: Fault) -> Refusal {
    tracing::error!(%fault, "a read failed");
    Refusal::new(Code::Busy, "the node has a fault; see its log")
}
