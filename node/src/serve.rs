//! A peer's request: bytes to a checked input, the member's reply to bytes. Signatures and proofs are verified here,
//! before the serial part.

use std::{
    future::IntoFuture,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use credit::{
    grant::Grant,
    id::MemberId,
    policy::Role,
    question::{Basis, Question},
};
use crypto::sign::{PublicKey, Signed, Verified};
use exchange::{
    artifact::status_fact,
    evidence,
    limits::{FRAME_BYTES_MAX, OPERATOR_FRAME_BYTES_MAX, PULL_BYTES_MAX, RETRY_BUSY_MS},
    mandate,
    member::Input,
    quota::Quota,
    read,
    receipt::Receipt,
    refusal::{Code, Refusal},
    registry::SignedRegistry,
    turned_away,
    wire::{Outcome, Part, Request, Response},
};
use quinn::{Connection, Endpoint};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
};

use crate::{
    backup, clock,
    core::{Core, Shared},
    home::Home,
    intake, operate,
    places::{BYTES_PER_KEY_MAX, Held, Places, REQUEST_BYTES},
    push,
    quic::{
        CONNECTIONS_MAX, HANDSHAKE, HANDSHAKES_MAX, HANDSHAKES_UNPROVEN_MAX, Peers, read_request,
        write_response,
    },
    reconcile, tls,
};

/// What is left of a question's time for the way back through the outlet.
const RELAY_MARGIN_MS: u64 = 200;
/// Time for members to give once more what they have decided, when a question comes again at or after its end.
const AGAIN_MS: u64 = 1_500;
/// First wait before a member that cannot be reached is asked again; doubles up to [`TRY_AGAIN_MAX`].
const TRY_AGAIN_MIN: Duration = Duration::from_millis(100);
/// Longest wait between two tries: a node that comes back is asked within a second.
const TRY_AGAIN_MAX: Duration = Duration::from_secs(1);
/// Bytes expected of an answer to a question: a few records with their proofs.
const ANSWER_BYTES: usize = 16 * 1024;
/// Bytes expected of a list: as many lines as the federation has members, or a subject accesses.
const LIST_BYTES: usize = 256 * 1024;
/// How long a member that is away is waited for: a node that starts again takes seconds. Beyond that each question tries
/// once, so that a member that is gone for a day does not hold up what its asker asks of everybody else.
const AWAY_MAX: Duration = Duration::from_secs(30);

/// Everything a request may need; cheap to clone.
#[derive(Clone)]
pub struct Server {
    /// State shared with the writer.
    pub shared: Arc<Shared>,
    /// The writer.
    pub core: Core,
    /// Other members.
    pub peers: Arc<Peers>,
    /// The operator's key, made once: every frame is held against it.
    pub operator: PublicKey,
    /// Asks the node to stop.
    pub stop: Arc<tokio::sync::Notify>,
    /// What each key holds, so that no member can take the places of the others.
    pub places: Places,
    /// How much each asker may still ask.
    pub quota: Arc<Mutex<Quota>>,
    /// How much each member may still push here.
    pub pushes: Arc<Mutex<Quota>>,
    /// How many applications each counter may still bring.
    pub applications: Arc<Mutex<Quota>>,
    /// The registry as signed; connections look up their caller again when it changes.
    pub registry: watch::Sender<Arc<SignedRegistry>>,
    /// The member's directory, and one successor registry at a time.
    pub home: Arc<tokio::sync::Mutex<Home>>,
    /// One file at a time: duplicates are found against what is stored.
    pub intake: Arc<tokio::sync::Mutex<()>>,
    /// The file whose parts are coming.
    pub uploads: intake::Uploads,
    /// One erasure at a time: two at once would both name the same key tree as the one before.
    pub erasure: Arc<tokio::sync::Mutex<()>>,
    /// The backup that is being read.
    pub backup: backup::Place,
}

/// Who is at the other end of a connection.
enum Caller {
    Operator,
    Member(MemberId),
}

impl Server {
    /// Accepts connections until the endpoint closes.
    ///
    /// Who has not finished its handshake has shown no key yet, and has a budget apart from the members': when many arrive
    /// at once each must first show that its address is its own (QUIC Retry, RFC 9000 §8.1.2).
    pub async fn accept(self, endpoint: Endpoint) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let strangers = Arc::new(Semaphore::new(HANDSHAKES_MAX));
        while let Some(incoming) = endpoint.accept().await {
            if strangers.available_permits() < HANDSHAKES_MAX - HANDSHAKES_UNPROVEN_MAX
                && incoming.may_retry()
            {
                // It can only fail for one that may not be retried.
                let _ = incoming.retry();
                continue;
            }
            let Ok(arriving) = strangers.clone().try_acquire_owned() else {
                incoming.refuse();
                continue;
            };
            let (server, places) = (self.clone(), places.clone());
            tokio::spawn(async move {
                let connected = tokio::time::timeout(HANDSHAKE, incoming.into_future()).await;
                drop(arriving);
                let Ok(Ok(connection)) = connected else { return };
                let Ok(_place) = places.try_acquire_owned() else {
                    return connection.close(quinn::VarInt::from_u32(2), b"node.busy");
                };
                server.connection(connection).await;
            });
        }
    }

    async fn connection(&self, connection: Connection) {
        // A stranger holds no place: the key it has proved is in nobody's registry. Neither does anybody hold many.
        let (caller, key) = match (self.caller(&connection), tls::peer_key(&connection)) {
            (Ok(caller), Some(key)) => (caller, key),
            _ => return connection.close(quinn::VarInt::from_u32(1), b"member.unknown"),
        };
        let Some(place) = self.places.take(key) else {
            return connection.close(quinn::VarInt::from_u32(2), b"node.busy");
        };
        // The operator's own files are as large as they are.
        let bytes_max = if matches!(caller, Caller::Operator) { usize::MAX } else { BYTES_PER_KEY_MAX };
        let mut registry = self.registry.subscribe();
        loop {
            let accepted = tokio::select! {
                accepted = connection.accept_bi() => accepted,
                // Whoever is suspended or has another key now loses the connection, and not only the next frame.
                _ = registry.changed() => match self.caller(&connection) {
                    Ok(_) => continue,
                    Err(_) => return connection.close(quinn::VarInt::from_u32(1), b"member.unknown"),
                },
            };
            let Ok((mut send, mut receive)) = accepted else { return };
            let (server, connection) = (self.clone(), connection.clone());
            let mut held = place.hold(bytes_max);
            tokio::spawn(async move {
                let response = server.respond(&connection, &mut receive, &mut held).await;
                // What was not read is not wanted any more.
                drop(receive);
                write_response(&mut send, &response.unwrap_or_else(Response::Refused), held).await;
            });
        }
    }

    /// Reads one request and carries it out. The registry is asked for every frame, not once per connection.
    async fn respond(
        &self,
        connection: &Connection,
        receive: &mut quinn::RecvStream,
        held: &mut Held,
    ) -> Result<Response, Refusal> {
        held.add(REQUEST_BYTES)?;
        match self.caller(connection)? {
            Caller::Operator => match read_request(receive, OPERATOR_FRAME_BYTES_MAX, held).await? {
                // The largest of them lies in no other request's way.
                Request::Operate(operation) => Box::pin(operate::operate(self, operation)).await,
                _ => Err(Refusal::new(Code::CallerNotAllowed, "the operator operates; members exchange")),
            },
            Caller::Member(member) => {
                let request = read_request(receive, FRAME_BYTES_MAX, held).await?;
                held.add(expected(&request))?;
                self.request(&member, request).await
            }
        }
    }

    fn caller(&self, connection: &Connection) -> Result<Caller, Refusal> {
        let unknown = || Refusal::new(Code::MemberUnknown, "the transport key is not in the registry");
        let key = tls::peer_key(connection).ok_or_else(unknown)?;
        if key == self.operator {
            return Ok(Caller::Operator);
        }
        let context = self.shared.context();
        let member = context.registry.by_tls(&key, clock::now()).ok_or_else(unknown)?;
        Ok(Caller::Member(member.id.clone()))
    }

    /// Answers a member's request. A stream that waits holds what the largest request needs, and a key may have thousands of
    /// them; so the larger ones are boxed.
    async fn request(&self, caller: &MemberId, request: Request) -> Result<Response, Refusal> {
        self.peers.heard(caller);
        let registry = self.shared.context().registry.clone();
        match request {
            Request::Ask(signed) => {
                let answered = match registry.verify_new(&signed, clock::now()) {
                    Ok(question) => Box::pin(self.question(caller, question)).await,
                    Err(refusal) => Err(refusal),
                };
                if let Err(refusal) | Ok(Response::Refused(refusal)) = &answered {
                    self.shared.refused(refusal);
                }
                answered
            }
            Request::Notice(receipt) => Box::pin(self.notice(caller, &receipt)).await,
            Request::Push(answer) => Box::pin(push::receive(self, caller, *answer)).await,
            Request::PushAgain(record) => Box::pin(push::again(self, caller, record)).await,
            Request::Apply(signed) => {
                let application = registry.verify_new(&signed, clock::now())?;
                let quota = &self.applications;
                quota.lock().unwrap_or_else(PoisonError::into_inner).take(caller, caller, clock::now())?;
                Ok(self.core.ask(Input::Application { caller: caller.clone(), application }).await)
            }
            Request::Pull { owner, log, from } => {
                let (shared, caller) = (self.shared.clone(), caller.clone());
                blocking(move || read::entries(&shared.context(), &shared.store, &caller, &owner, log, from))
                    .await
            }
            Request::AddCheckpoint(body) => Ok(self.core.ask(Input::AddCheckpoint(body.0)).await),
            Request::Heads => {
                let (shared, caller) = (self.shared.clone(), caller.clone());
                blocking(move || evidence::heads(&shared.context(), &shared.store, &caller)).await
            }
            Request::Prove { owner, log, old, new } => {
                let shared = self.shared.clone();
                blocking(move || evidence::proof(&shared.context(), &shared.store, &owner, log, (old, new)))
                    .await
            }
            Request::Standings(question) => {
                let (shared, caller) = (self.shared.clone(), caller.clone());
                blocking(move || reconcile::answer(&shared, &caller, &question)).await
            }
            Request::Identities(receipt) => {
                let mandate = mandate::proven(&registry, caller, &receipt)?;
                let (text, shared) = (mandate.get().clone(), self.shared.clone());
                match self.core.ask(Input::Mandated { caller: caller.clone(), mandate }).await {
                    Response::Done => {
                        blocking(move || mandate::identities(&shared.context(), &shared.store, &text)).await
                    }
                    other => Ok(other),
                }
            }
            Request::Certificate(event) => {
                if registry.member(caller)?.stated.role != Role::Auditor {
                    return Err(Refusal::new(Code::CallerNotAllowed, "certificates are told to auditors"));
                }
                Box::pin(operate::propagated(self.shared.clone(), event, None)).await
            }
            Request::Registry => Ok(Response::Registry(self.registry.borrow().as_ref().clone())),
            Request::Operate(_) => Err(Refusal::new(
                Code::CallerNotAllowed,
                "operations are accepted from the node's own operator",
            )),
        }
    }

    /// A question whose signature holds. What ends it from here on leaves a line in the access log.
    async fn question(&self, caller: &MemberId, question: Verified<Question>) -> Result<Response, Refusal> {
        let about = turned_away::Signed::of(caller, &question)
            .ok_or_else(|| Refusal::new(Code::SignatureInvalid, "issuer is not a member id"))?;
        // Only after its signature, and by who brings it: nobody can use up another's share.
        let now = clock::now();
        let (admitted, over) = {
            let mut quota = self.quota.lock().unwrap_or_else(PoisonError::into_inner);
            (quota.take(caller, &about.asker, now), quota.to_note(caller, &about.asker, now))
        };
        if let Err(refusal) = admitted {
            return match over {
                Some(count) => self.turn_away(about, refusal, count).await,
                None => Err(refusal),
            };
        }
        let context = self.shared.context();
        if context.registry.outlet().is_some_and(|o| o.id == context.own.id) {
            return self.relay(caller, question).await;
        }
        if !context.role()?.collects() {
            let why = "this member answers no questions";
            return self.turn_away(about, Refusal::new(Code::CallerNotAllowed, why), 1).await;
        }
        let grant = match self.grant(question.get()) {
            Ok(grant) => grant,
            Err(refusal) => return self.turn_away(about, refusal, 1).await,
        };
        let input = Input::Question { caller: caller.clone(), question, grant, judged: None };
        Ok(self.core.ask(input).await)
    }

    /// Refuses a question once that is on record.
    async fn turn_away(
        &self,
        question: turned_away::Signed,
        refusal: Refusal,
        count: u64,
    ) -> Result<Response, Refusal> {
        Ok(self.core.ask(Input::TurnedAway { question, refusal, count }).await)
    }

    /// The grant inside a question, checked against its collector's key or its subject's. A grant by an unknown or suspended collector
    /// is passed as none, and the policy refuses it by its rule.
    fn grant(&self, question: &Question) -> Result<Option<Verified<Grant>>, Refusal> {
        match &question.basis {
            Basis::Grant(signed) => match self.shared.context().registry.verify_grant(signed) {
                Ok(grant) => Ok(Some(grant)),
                Err(refusal) if refusal.code == Code::MemberUnknown.as_str() => Ok(None),
                Err(refusal) => Err(refusal),
            },
            _ => Ok(None),
        }
    }

    async fn notice(&self, caller: &MemberId, receipt: &Receipt) -> Result<Response, Refusal> {
        let registry = &self.shared.context().registry.clone();
        let proven = receipt.verify(registry)?;
        let fact = status_fact(registry, &proven)?;
        let input = Input::Notice { caller: caller.clone(), notice: Box::new(proven), fact };
        Ok(self.core.ask(input).await)
    }

    /// The outlet: logs, asks every collecting member at once, and merges what comes back in time.
    async fn relay(&self, caller: &MemberId, question: Verified<Question>) -> Result<Response, Refusal> {
        let signed: Signed<Question> = question.signed().clone();
        let deadline = question.get().deadline;
        let to = match self.core.ask(Input::Relay { caller: caller.clone(), question }).await {
            Response::Relay(to) => to,
            other => return Ok(other),
        };
        let left = match deadline.0.saturating_sub(clock::now().0 + RELAY_MARGIN_MS) {
            0 => AGAIN_MS,
            left => left,
        };
        let mut asked = JoinSet::new();
        for member in to {
            let (server, signed) = (self.clone(), signed.clone());
            asked.spawn(async move {
                let outcome = server.ask_member(&member, signed, Duration::from_millis(left)).await;
                Part { member, outcome }
            });
        }
        let mut parts = asked.join_all().await;
        parts.sort_by(|a, b| a.member.cmp(&b.member));
        Ok(Response::Parts(parts))
    }

    async fn ask_member(&self, member: &MemberId, question: Signed<Question>, wait: Duration) -> Outcome {
        let context = self.shared.context();
        let peer = match context.registry.member(member) {
            Ok(entry) => &entry.stated,
            Err(refusal) => return Outcome::Denied(refusal),
        };
        match evidence::frozen(&self.shared.store, member) {
            Ok(false) => {}
            Ok(true) => return Outcome::Denied(evidence::refusal(member)),
            Err(fault) => {
                tracing::error!(%fault, "a read failed");
                return Outcome::Denied(Refusal::new(Code::Busy, "the node has a fault; see its log"));
            }
        }
        let (request, end) = (Request::Ask(question), Instant::now() + wait);
        let mut pause = TRY_AGAIN_MIN;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let outcome = self.peers.ask(peer, &request, left).await;
            let refusal = match outcome {
                Ok(Response::Answer(answer)) => return Outcome::Answered(answer),
                Ok(_) => Refusal::new(Code::FrameMalformed, "an answer was expected"),
                Err(refusal) => refusal,
            };
            // The same question is the same access, however often it is asked.
            let away = matches!(refusal.known(), Some(Code::Unreachable | Code::MemberStarting));
            let pause_now = match refusal.known() {
                Some(Code::Busy) => Duration::from_millis(refusal.retry_after_ms.unwrap_or(RETRY_BUSY_MS)),
                _ => pause,
            };
            let again = away && !self.peers.gone(member, AWAY_MAX) || refusal.known() == Some(Code::Busy);
            if !again || Instant::now() + pause_now >= end {
                return match refusal.known() {
                    Some(Code::Unreachable) => Outcome::Unreachable,
                    _ => Outcome::Denied(refusal),
                };
            }
            tokio::time::sleep(pause_now).await;
            pause = (pause * 2).min(TRY_AGAIN_MAX);
        }
    }
}

/// Bytes held for the response to a request before it is made: many that are made at once wait for their turn to leave.
const fn expected(request: &Request) -> usize {
    match request {
        Request::Pull { .. } => PULL_BYTES_MAX,
        Request::Identities(_)
        | Request::Certificate(_)
        | Request::Heads
        | Request::Registry
        | Request::Standings(_) => LIST_BYTES,
        _ => ANSWER_BYTES,
    }
}

/// Runs a read on the pool; a fault there is this node's, not the caller's.
pub async fn blocking<F>(read: F) -> Result<Response, Refusal>
where
    F: FnOnce() -> Result<Response, exchange::refusal::Fault> + Send + 'static,
{
    let fault = |why: String| {
        tracing::error!(%why, "a read failed");
        Refusal::new(Code::Busy, "the node has a fault; see its log")
    };
    match tokio::task::spawn_blocking(read).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(e)) => Err(fault(e.to_string())),
        Err(e) => Err(fault(e.to_string())),
    }
}
