//! Reconciling with a peer: fetch and verify what is missing, compare standings, mend what differs. What is to be done
//! next stands in `exchange::reconcile`; here it is carried.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use credit::id::MemberId;
use exchange::{
    member::Input,
    reconcile::{self, Ask, Came, Need, Report, Session, Turns},
    refusal::{Code, Fault, Refusal},
    registry::MemberRequest,
    wire::{Request, Response, to_frame},
};

use crate::{
    clock,
    core::Shared,
    run::{ask_heads, fetch, hand_in},
    serve::Server,
};

/// Time a peer has to answer.
const WAIT: Duration = Duration::from_secs(5);

/// Reconciles with every peer once, and then with one after the other, for ever.
pub async fn for_ever(server: Server) {
    let mut turns = Turns::default();
    loop {
        if let Some(peer) = turns.next(&server.shared.context()) {
            by_itself(&server, &peer).await;
        }
        tokio::time::sleep(Duration::from_millis(turns.wait_ms())).await;
    }
}

/// Reconciles unasked: not when this member has lost data and takes nothing in, nor with who is no member any more.
pub async fn by_itself(server: &Server, peer: &MemberId) {
    let Ok(stated) = server.shared.context().registry.member(peer).map(|m| m.stated.clone()) else { return };
    if server.shared.state.read().is_ok_and(|state| state.phase == "ready") {
        let report = with(server, &stated).await;
        tracing::debug!(?report, "reconciled");
    }
}

/// The members a member reconciles with: all that run a node.
pub fn peers(server: &Server) -> Vec<MemberRequest> {
    reconcile::peers(&server.shared.context()).into_iter().cloned().collect()
}

/// Reconciles with one peer.
pub async fn with(server: &Server, peer: &MemberRequest) -> Report {
    let (begun, mut bytes) = (Instant::now(), 0);
    let (mut session, mut came) = (Session::new(peer.id.clone()), Came::Done);
    let problem = loop {
        let shared = server.shared.clone();
        // It may read a whole log.
        let step = tokio::task::spawn_blocking(move || {
            let salt = u64::from_be_bytes(clock::random());
            let need = session.next(&shared.context(), &shared.store, salt, came);
            (session, need)
        });
        let need;
        (session, need) =
            step.await.unwrap_or_else(|e| (Session::new(peer.id.clone()), Err(Fault(e.to_string()))));
        came = match need {
            Ok(None) => break None,
            Ok(Some(need)) => carry(server, peer, need, &mut bytes).await,
            Err(why) => break Some(fault(why)),
        };
    };
    let mut report = session.report();
    report.problem = report.problem.or(problem);
    Report { bytes, ms: begun.elapsed().as_millis() as u64, ..report }
}

/// Does what a reconciliation needs next.
async fn carry(server: &Server, peer: &MemberRequest, need: Need, bytes: &mut u64) -> Came {
    match need {
        Need::Heads if ask_heads(server, &peer.id, WAIT).await => Came::Done,
        Need::Heads => Came::Refused(Refusal::new(Code::Unreachable, format!("`{}`", peer.id))),
        Need::Fetch { owner, log } => {
            if let Ok(Some(found)) = fetch(server, peer, &owner, log, WAIT).await {
                hand_in(server, found).await;
            }
            Came::Done
        }
        Need::Ask(question) => {
            let request = Request::Standings(question);
            *bytes += to_frame(&request).len() as u64;
            let response = server.peers.ask(peer, &request, WAIT).await;
            if let Ok(response) = &response {
                *bytes += to_frame(response).len() as u64;
            }
            Came::of(response)
        }
        Need::Mend(judged) => {
            let peer = peer.id.clone();
            Came::of(Ok(server.core.ask_surely(Input::Mend { peer, judged }).await))
        }
    }
}

/// Answers a peer that compares.
pub fn answer(shared: &Arc<Shared>, caller: &MemberId, question: &Ask) -> Result<Response, Fault> {
    reconcile::answer(&shared.context(), &shared.store, caller, question)
}

fn fault(fault: Fault) -> Refusal {
    tracing::error!(%fault, "a read failed");
    Refusal::new(Code::Busy, "the node has a fault; see its log")
}
