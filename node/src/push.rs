//! Records on their way to who publishes them: sealed and sent at the authority, opened and checked at the receiver.

use std::sync::{Arc, PoisonError};

use credit::id::{MemberId, RecordId};
use crypto::codec;
use exchange::{
    answer::Answer,
    member::Input,
    push::{self, Planning, copy},
    refusal::{Code, Fault, Refusal},
    wire::{Request, Response},
};

use crate::{
    clock,
    core::Shared,
    run::PEER_WAIT,
    seal,
    serve::{Server, blocking},
};

/// Pushes an own record and brings the receiver's acknowledgement back, checked. What fails stays due in the store.
pub async fn send(server: &Server, record: RecordId, plan: Planning) {
    let shared = server.shared.clone();
    let built = tokio::task::spawn_blocking(move || {
        let Some(plan) = plan(&shared.context(), &shared.store, &record)? else { return Ok(None) };
        seal::answer(&shared, &plan).map(|sealed| Some((plan.asker, plan.index, sealed)))
    });
    let (to, index, answer) = match built.await {
        Ok(Ok(Some((to, index, Response::Answer(answer))))) => (to, index, answer),
        Ok(Ok(Some((to, ..)))) => {
            return tracing::warn!(%to, %record, "a record cannot be sealed to be pushed");
        }
        Ok(Err(fault)) => return tracing::error!(%fault, %record, "no push of a record"),
        Ok(Ok(None)) | Err(_) => return,
    };
    let registry = &server.shared.context().registry.clone();
    let Ok(peer) = registry.member(&to).map(|m| m.stated.clone()) else { return };
    let receipt = match server.peers.ask(&peer, &Request::Push(answer), PEER_WAIT).await {
        Ok(Response::Receipt(receipt)) => receipt,
        Ok(_) => return,
        Err(refusal) if refusal.code == Code::Unreachable.as_str() => {
            return tracing::debug!(%to, %record, "not taken yet: {refusal}");
        }
        Err(refusal) => return server.core.tell(Input::NotTaken { record, index, refusal }).await,
    };
    match receipt.verify(registry) {
        Ok(proven) => {
            let input = Input::Taken { proven: Box::new(proven), receipt: codec::to_vec(&receipt) };
            server.core.tell(input).await;
        }
        Err(refusal) => tracing::warn!(%to, %record, "acknowledgement does not hold: {refusal}"),
    }
}

/// Finds out who is to publish an own record, and has it pushed there.
pub async fn place(server: &Server, record: RecordId) {
    let shared = server.shared.clone();
    let found = tokio::task::spawn_blocking(move || {
        let key = |slot| shared.keys.record_key(slot);
        push::place_again(&shared.context(), &shared.store, &key, &record)
    });
    match found.await {
        Ok(Ok(Some((version, place)))) => {
            let input = Input::Placed { record, version, place: Box::new(place) };
            server.core.tell(input).await;
        }
        Ok(Err(fault)) => tracing::error!(%fault, %record, "a record cannot be placed"),
        Ok(Ok(None)) | Err(_) => {}
    }
}

/// Opens what a member has pushed, and takes it.
pub async fn receive(server: &Server, caller: &MemberId, answer: Answer) -> Result<Response, Refusal> {
    server.pushes.lock().unwrap_or_else(PoisonError::into_inner).take(caller, caller, clock::now())?;
    let shared = server.shared.clone();
    let opened = tokio::task::spawn_blocking(move || {
        let arrived = copy::receive(&shared.context(), shared.keys.opening(), &answer)?;
        Ok::<_, Refusal>((arrived, codec::to_vec(&answer)))
    });
    let (arrived, sealed) = opened.await.map_err(|e| {
        tracing::error!(%e, "a push could not be opened");
        Refusal::new(Code::Busy, "the node has a fault; see its log")
    })??;
    let input = Input::Pushed { caller: caller.clone(), arrived: Box::new(arrived), sealed };
    Ok(server.core.ask(input).await)
}

/// Asks a record's authority to push it again. What comes of it is seen at the next look.
pub async fn ask(server: &Server, to: &MemberId, record: RecordId) {
    let Ok(peer) = server.shared.context().registry.member(to).map(|m| m.stated.clone()) else { return };
    if let Err(refusal) = server.peers.ask(&peer, &Request::PushAgain(record), PEER_WAIT).await {
        tracing::debug!(%to, %record, "not pushed again yet: {refusal}");
    }
}

/// A receiver asks for a push again.
pub async fn again(server: &Server, caller: &MemberId, record: RecordId) -> Result<Response, Refusal> {
    server.pushes.lock().unwrap_or_else(PoisonError::into_inner).take(caller, caller, clock::now())?;
    Ok(server.core.ask(Input::PushAgain { caller: caller.clone(), record }).await)
}

/// Records received to be published; with a record that one, with what it says.
pub async fn received(shared: Arc<Shared>, record: Option<RecordId>) -> Result<Response, Refusal> {
    // What its authority has ended while this node was away is not known before it has caught up.
    if shared.state.read().is_ok_and(|state| state.phase != "ready") {
        return Err(Refusal::new(Code::MemberStarting, ""));
    }
    blocking(move || {
        let context = shared.context();
        let mut lines = copy::copies(&context, &shared.store, record)?;
        let Some(record) = record else { return Ok(Response::Copies(lines)) };
        if lines.is_empty() {
            let why = format!("{record} was not received to be published");
            return Ok(Response::Refused(Refusal::new(Code::RecordUnknown, why)));
        }
        if let (Some(line), Some(answer)) = (lines.first_mut(), copy::sealed(&shared.store, &record)?) {
            let copy = copy::open(&context, shared.keys.opening(), &answer)
                .map_err(|refusal| Fault(format!("the copy of record {record} does not open: {refusal}")))?;
            (line.item, line.subject, line.fields) = (Some(copy.item), Some(copy.subject), copy.fields);
        }
        Ok(Response::Copies(lines))
    })
    .await
}
