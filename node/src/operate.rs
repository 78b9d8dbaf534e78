//! The operator's verbs: what takes more than one input, or reads without deciding.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use credit::{
    entry::{Received, Version},
    id::{CaseId, GrantId, MemberId, QuestionId, RecordId},
    normalize::normalize_document_number,
    question::{Basis, Question},
};
use crypto::{
    Digest, codec,
    keytree::Slot,
    label::Label,
    seal::{open_box, seal_box},
    sign::Signed,
};
use exchange::{
    accesses,
    certificate::{self, About},
    check, erase, evidence, grant,
    kept::{self, Keep, KeptAnswer, KeptAt, KeptRow},
    limits::RETRY_BUSY_MS,
    logs::LogName,
    mandate::MandateDraft,
    member::Input,
    parts, propagation,
    push::doubt,
    read,
    receipt::Receipt,
    refusal::{Code, Fault, Refusal},
    wire::{AskDraft, AskResult, Lodged, NodeStatus, OpenedPart, Operation, Part, Request, Response},
};
use ledger::log;

use crate::{
    backup, clock,
    core::Shared,
    intake, push, reconcile,
    run::{adopt, keys_end},
    serve::{Server, blocking},
};

/// Added to the asker's own wait: the outlet waits for members, and then answers.
const OUTLET_MARGIN: Duration = Duration::from_secs(2);

/// How long an answer without a grant is kept for this member's own systems: longer than any holidays, so that a refusal can
/// still be looked at after them. A grant says itself how long.
pub const KEPT_MS: u64 = 14 * 24 * 60 * 60 * 1000;

/// Carries out an operation.
pub async fn operate(server: &Server, operation: Operation) -> Result<Response, Refusal> {
    let shared = server.shared.clone();
    let input = match operation {
        Operation::BeginFile { source, item, file, confirm } => {
            return intake::begin(server, source, item, file, &confirm).await;
        }
        Operation::FilePart { upload, at, bytes } => return intake::part(server, upload, at, bytes).await,
        Operation::EndFile(upload) => return intake::end(server, upload).await,
        Operation::Ask(draft) => {
            let asked = ask(server, draft, QuestionId(clock::random()), None).await?;
            return Ok(Response::Result(Box::new(asked)));
        }
        Operation::Identities(draft) => return identities(server, draft).await,
        Operation::Erase { records, reason } => return erase_records(server, records, reason).await,
        Operation::ErasureCertificate(record) => return certificate_of(server, record).await,
        Operation::BackupBegin(content, before) => return backup::begin(server, content, before).await,
        Operation::BackupNext(id, range) => return backup::next(server, id, range).await,
        Operation::Reconcile(peer) => return reconcile(server, peer).await,
        Operation::Stop => {
            server.stop.notify_one();
            return Ok(Response::Done);
        }
        Operation::Status => return blocking(move || status(&shared)).await,
        Operation::Quality => {
            return blocking(move || read::quality(&shared.store).map(Response::Quality)).await;
        }
        Operation::UpdateRegistry(signed) => return adopt(server, &signed).await,
        Operation::Evidence => {
            return blocking(move || evidence::list(&shared.store).map(Response::Evidence)).await;
        }
        Operation::Cases => return blocking(move || read::cases(&shared.context(), &shared.store)).await,
        Operation::Certificate(event) => return propagated(shared, event, None).await,
        Operation::CertificateAbout(event, about) => return propagated(shared, event, Some(about)).await,
        Operation::CertificateOf(member, event) => {
            let peer = shared.context().registry.member(&member)?.stated.clone();
            return server.peers.ask(&peer, &Request::Certificate(event), CERTIFICATE_WAIT).await;
        }
        Operation::Missing => {
            return blocking(move || {
                propagation::missing(&shared.context(), &shared.store).map(Response::Missing)
            })
            .await;
        }
        Operation::RepairCertificate(which, about) => {
            return blocking(move || {
                let (context, salt) = (shared.context(), Digest(clock::random()));
                let (store, now) = (&shared.store, clock::now());
                let key = |slot| shared.keys.record_key(slot);
                let drawn = certificate::draw_up(&context, store, which, about.as_ref(), salt, &key, now)?;
                Ok(drawn.map_or_else(Response::Refused, |c| Response::RepairCertificate(Box::new(c))))
            })
            .await;
        }
        Operation::RecordStatus(record) => {
            return blocking(move || {
                read::record_status(&shared.context(), &shared.store, record).map(Response::RecordStatus)
            })
            .await;
        }
        Operation::Received(record) => return push::received(shared, record).await,
        Operation::Pushes => {
            return blocking(move || {
                exchange::push::pushes(&shared.context(), &shared.store, None).map(Response::Pushes)
            })
            .await;
        }
        Operation::GrantStanding(grant) => {
            return blocking(move || grant::standing(&shared.context(), &shared.store, &grant, clock::now()))
                .await;
        }
        Operation::Budgets(grant, checks) => {
            return blocking(move || {
                check::budgets(&shared.context(), &shared.store, &grant, &checks, clock::now())
            })
            .await;
        }
        Operation::SubjectAccess(subject, size) => {
            return blocking(move || {
                let list = accesses::draw_up(&shared.context(), &shared.store, subject, size, clock::now())?;
                Ok(Response::SubjectAccess(list))
            })
            .await;
        }
        Operation::Prove { log, index } => {
            return blocking(move || read::prove(&shared.context(), &shared.store, log, index, clock::now()))
                .await;
        }
        Operation::NameRecord { authority, item, document, subject } => {
            let document = normalize_document_number(&document);
            let record = shared.context().own.naming.record_id(&authority, &item, &document, &subject);
            return Ok(Response::Record(record));
        }
        Operation::Publish(record, on, confirmed) => {
            if let Some(day) = on.filter(|_| !confirmed) {
                let doubt = blocking(move || {
                    let doubt = doubt::doubt(&shared.context(), &shared.store, &record, day, clock::now())?;
                    Ok(doubt.map_or(Response::Done, Response::Refused))
                });
                match doubt.await? {
                    Response::Done => {}
                    doubted => return Ok(doubted),
                }
            }
            Input::Publish { record, on }
        }
        Operation::TakeDown(record, on) => Input::TakeDown { record, on },
        Operation::Unfreeze { member, reason } => Input::Unfreeze { member, reason },
        Operation::AddSource(source) => Input::AddSource(source),
        Operation::IssueGrant(draft) => Input::IssueGrant { draft, id: GrantId(clock::random()) },
        Operation::BindKey(draft) => Input::BindKey(draft),
        Operation::Lodge(Lodged::Grant(signed)) => {
            Input::LodgeGrant(shared.context().registry.verify_grant(&signed)?)
        }
        Operation::Lodge(Lodged::Order(signed)) => {
            Input::OrderGrant(shared.context().registry.verify_order(&signed)?)
        }
        Operation::WithdrawKey(signed) => Input::WithdrawKey(shared.context().registry.verify(&signed)?),
        Operation::ChangeGrant(digest, change) => Input::ChangeGrant(digest, change),
        Operation::Apply(draft) => Input::Apply { draft, case: CaseId(clock::random()) },
        Operation::AcceptRepair { case, clerk } => Input::AcceptRepair { case, clerk },
        Operation::AssignCase { case, clerk } => Input::AssignCase { case, clerk },
        Operation::DecideRepair { case, grant, reason, clerk } => {
            Input::DecideRepair { case, grant, reason, clerk }
        }
        Operation::RefuseFalse { case, reason, found, clerk } => {
            Input::RefuseFalse { case, reason, found, clerk }
        }
        Operation::AnswerObjection { case, finding, ground, clerk } => {
            Input::AnswerObjection { case, finding, ground, clerk }
        }
        Operation::ChangeStanding { record, change, reason, paper } => {
            Input::ChangeStanding { record, change, reason, paper }
        }
    };
    Ok(server.core.ask(input).await)
}

/// Asks through the outlet: own line first, then the question leaves, then every answer is opened and checked, and
/// what held is written into the asker's own log.
///
/// With `owner` the answer is kept for that system of this member. One that is kept already, and in which every member
/// has decided, is the answer; otherwise the same question goes out again, and what members have decided is added to it.
pub async fn ask(
    server: &Server,
    draft: AskDraft,
    id: QuestionId,
    owner: Option<&str>,
) -> Result<AskResult, Refusal> {
    let registry = &server.shared.context().registry.clone();
    let wait = Duration::from_millis(draft.wait_ms) + OUTLET_MARGIN;
    let keep_days = match &draft.basis {
        Basis::Grant(signed) => registry.verify_grant(signed).ok(),
        _ => None,
    };
    let (question, outlet) = match server.core.ask(Input::Ask { draft, id }).await {
        Response::Asked { question, outlet } => (question, outlet),
        other => return Err(refused(other)),
    };
    let mut before = match owner {
        Some(owner) => kept_answer(server, owner, id).await?,
        None => None,
    };
    if let Some((row, kept)) = &before
        && (parts::decided(&kept.opened) || row.from.is_none())
    {
        return Ok(kept.clone());
    }
    let asked_of = parts::asked_of(registry, &registry.verify(&question)?.get().asker);
    let outlet = registry.member(&outlet)?.stated.clone();
    let came = match server.peers.ask(&outlet, &Request::Ask(question.clone()), wait).await {
        Ok(Response::Parts(parts)) => parts,
        Ok(_) => return Err(Refusal::new(Code::FrameMalformed, "the outlet's parts were expected")),
        // What was answered before is an answer, and says itself what it lacks.
        Err(refusal) => return before.map(|(_, kept)| kept).ok_or(refusal),
    };
    // Of whoever else the outlet gives something, nobody has asked it.
    let came: Vec<Part> = came.into_iter().filter(|part| asked_of.contains(&part.member)).collect();
    let asked = registry.verify(&question)?.get().asked_at;
    for _ in 0..KEEP_TRIES {
        let parts = match &before {
            Some((_, kept)) => added(kept, came.clone()),
            None => came.clone(),
        };
        let opened = open_parts(server, &question, &asked_of, &parts)?;
        let answers = || opened.iter().filter_map(|part| part.answer.as_ref());
        let lines = answers()
            .map(|a| Received {
                question: question.digest(),
                from: a.member.clone(),
                index: a.index,
                leaf: a.leaf,
                records: a.records.iter().map(|r| r.record).collect(),
            })
            .collect();
        let keep = owner.map(|owner| {
            // The members' clocks differ a little: the earliest binds.
            let at = answers().map(|a| a.at).min().unwrap_or_else(clock::now);
            let until =
                keep_days.as_ref().map_or_else(|| at.plus_ms(KEPT_MS), |grant| grant.get().keep_until(at));
            let asked_of = Some(asked_of.clone());
            let kept = KeptAnswer { question: question.clone(), parts: parts.clone(), asked_of };
            let content = codec::to_vec(&kept);
            let sealed = seal_box(&server.shared.keys.kept(), Label::KeptBox, clock::random(), &content);
            let from = Some(answers().map(|a| a.member.clone()).collect());
            let at = KeptAt { owner: owner.to_owned(), asked, id };
            Box::new(Keep {
                at,
                row: KeptRow { question: question.digest(), until, sealed: sealed.into(), from },
            })
        });
        match (server.core.ask(Input::Received { lines, keep }).await, owner) {
            (Response::Done, _) => return Ok(AskResult { question, parts, opened }),
            // The same question has come back twice at once: what either holds belongs together.
            (Response::Refused(refusal), Some(owner)) if refusal.known() == Some(Code::Busy) => {
                before = kept_answer(server, owner, id).await?;
            }
            (other, _) => return Err(refused(other)),
        }
    }
    Err(Refusal::new(Code::Busy, "the same question is being answered; ask again").retry_after(RETRY_BUSY_MS))
}

/// Tries to put answers to one question together that came at the same time.
const KEEP_TRIES: usize = 4;

/// What is kept, with the parts that came now of members that had not decided in it: of those the newest word counts. An
/// answer that is proven stays: its member may refuse to give it again, because a record in it was repaired since.
fn added(kept: &AskResult, came: Vec<Part>) -> Vec<Part> {
    let decided = kept.opened.iter().filter(|part| part.answer.is_some());
    let decided: BTreeSet<&MemberId> = decided.map(|part| &part.member).collect();
    let new: Vec<Part> = came.into_iter().filter(|part| !decided.contains(&part.member)).collect();
    let told: BTreeSet<MemberId> = new.iter().map(|part| part.member.clone()).collect();
    let old = kept.parts.iter().filter(|part| !told.contains(&part.member)).cloned();
    let mut parts: Vec<Part> = old.chain(new).collect();
    parts.sort_by(|a, b| a.member.cmp(&b.member));
    parts
}

fn refused(response: Response) -> Refusal {
    match response {
        Response::Refused(refusal) => refusal,
        _ => failed("a decision has another reply than its own"),
    }
}

/// The answer that is kept for `owner` under a question's id, opened and checked once more.
pub async fn kept_answer(
    server: &Server,
    owner: &str,
    id: QuestionId,
) -> Result<Option<(KeptRow, AskResult)>, Refusal> {
    let (own, owner) = (server.clone(), owner.to_owned());
    let read = move || {
        let damaged = || Fault("a kept answer does not open".into());
        let Some((_, row)) = kept::answer(&own.shared.store, &owner, &id)? else { return Ok(None) };
        let content =
            open_box(&own.shared.keys.kept(), Label::KeptBox, &row.sealed).map_err(|_| damaged())?;
        let kept: KeptAnswer = codec::from_slice(&content).map_err(|_| damaged())?;
        // Another row's content in this row's place is not this row's.
        if kept.question.digest() != row.question {
            return Err(damaged());
        }
        Ok(Some((row, kept)))
    };
    let read = tokio::task::spawn_blocking(read).await.map_err(|e| failed(&e.to_string()))?;
    let Some((row, KeptAnswer { question, parts, asked_of })) = read.map_err(|e| failed(&e.0))? else {
        return Ok(None);
    };
    let registry = &server.shared.context().registry;
    let asked_of = asked_of.unwrap_or_else(|| parts::asked_of(registry, &server.shared.context().own.id));
    let opened = open_parts(server, &question, &asked_of, &parts)?;
    Ok(Some((row, AskResult { question, parts, opened })))
}

fn open_parts(
    server: &Server,
    question: &Signed<Question>,
    asked_of: &[MemberId],
    parts: &[Part],
) -> Result<Vec<OpenedPart>, Refusal> {
    let registry = &server.shared.context().registry.clone();
    let question = registry.verify(question)?;
    let mut frozen = BTreeSet::new();
    for member in asked_of {
        if evidence::frozen(&server.shared.store, member).map_err(|e| failed(&e.0))? {
            frozen.insert(member.clone());
        }
    }
    Ok(parts::open(registry, &question, server.shared.keys.opening(), (asked_of, &frozen), parts))
}

/// How long a member may take to draw up a certificate: it reads one row and one proof for each recipient.
const CERTIFICATE_WAIT: Duration = Duration::from_secs(10);

/// The propagation certificate of an own status entry.
pub async fn propagated(shared: Arc<Shared>, event: u64, about: Option<About>) -> Result<Response, Refusal> {
    blocking(move || {
        let about = about.as_ref().map(|about| (about, Digest(clock::random())));
        let certificate = read::certificate(&shared.context(), &shared.store, event, about, clock::now())?;
        Ok(certificate.map_or_else(Response::Refused, |c| Response::Certificate(Box::new(c))))
    })
    .await
}

/// How long a member may take to tell whom accesses are about.
const IDENTITIES_WAIT: Duration = Duration::from_secs(30);

/// Learns whom accesses are about: the mandate stands in the own log first, and its proof is what the member is shown.
async fn identities(server: &Server, draft: MandateDraft) -> Result<Response, Refusal> {
    let shared = server.shared.clone();
    let member = shared.context().registry.member(&draft.member)?.stated.clone();
    let index = match server.core.ask(Input::Mandate(draft)).await {
        Response::Noted(index) => index,
        other => return Ok(other),
    };
    let receipt = blocking(move || {
        let own = shared.context().own.id.clone();
        Receipt::build(&shared.store, &own, LogName::Access, index).map(Response::Receipt)
    });
    let Response::Receipt(receipt) = receipt.await? else {
        return Err(Refusal::new(Code::Busy, "the node has a fault; see its log"));
    };
    server.peers.ask(&member, &Request::Identities(receipt), IDENTITIES_WAIT).await
}

/// Tries of an erasure whose record got a new version in between: files come in while records are erased.
const ERASURE_TRIES: usize = 3;

/// Erases records: the entries first, then the keys, in one step (see `exchange::erase`). Those that are erased already
/// are counted and left alone, so that a list can be given again.
pub async fn erase_records(
    server: &Server,
    records: Vec<RecordId>,
    reason: String,
) -> Result<Response, Refusal> {
    let _one_erasure = server.erasure.lock().await;
    let mut last = Response::Erased(0, 0);
    for _ in 0..ERASURE_TRIES {
        let (shared, wanted) = (server.shared.clone(), records.clone());
        let prepared = tokio::task::spawn_blocking(move || to_erase(&shared, &wanted)).await;
        let (records, erased) = prepared.map_err(|e| failed(&e.to_string()))?.map_err(|e| failed(&e.0))??;
        if records.is_empty() {
            return Ok(Response::Erased(0, erased));
        }
        let (shared, count) = (server.shared.clone(), records.len() as u64);
        let slots: Vec<Slot> = records.iter().flat_map(|(_, versions)| versions).map(|v| v.slot).collect();
        let tree = tokio::task::spawn_blocking(move || shared.keys.digests_without(&slots))
            .await
            .map_err(|e| failed(&e.to_string()))?;
        match server.core.ask(Input::Erase { records, reason: reason.clone(), tree }).await {
            Response::Done => return Ok(Response::Erased(count, erased)),
            Response::Refused(refusal) if refusal.known() == Some(Code::RecordUnknown) => {
                last = Response::Refused(refusal);
            }
            other => return Ok(other),
        }
    }
    Ok(last)
}

type ToErase = (Vec<(RecordId, Vec<Version>)>, u64);

/// The records with their versions, each once, and how many were erased before.
fn to_erase(shared: &Shared, records: &[RecordId]) -> Result<Result<ToErase, Refusal>, Fault> {
    let (mut found, mut erased) = (Vec::new(), 0);
    for record in records.iter().collect::<BTreeSet<_>>() {
        match (read::versions_of(&shared.store, record)?, read::is_erased(&shared.store, record)?) {
            (Some(versions), _) => found.push((*record, versions)),
            (None, Some(true)) => erased += 1,
            (None, _) => return Ok(Err(Refusal::new(Code::RecordUnknown, format!("`{record}`")))),
        }
    }
    Ok(Ok((found, erased)))
}

/// A record's erasure certificate. Between an erasure's entry and its puncture there is none.
async fn certificate_of(server: &Server, record: RecordId) -> Result<Response, Refusal> {
    let _no_erasure = server.erasure.lock().await;
    let shared = server.shared.clone();
    blocking(move || {
        let derivable = |slot| shared.keys.record_key(slot).is_some();
        let (context, tree) = (&shared.context(), shared.keys.digest());
        let certificate = erase::certificate(context, &shared.store, record, &derivable, tree, clock::now())?;
        Ok(certificate.map_or_else(Response::Refused, |c| Response::Erasure(Box::new(c))))
    })
    .await
}

fn failed(why: &str) -> Refusal {
    tracing::error!(%why, "an operation failed");
    Refusal::new(Code::Busy, "the node has a fault; see its log")
}

/// Reconciles with one peer, or with every one, now.
async fn reconcile(server: &Server, peer: Option<MemberId>) -> Result<Response, Refusal> {
    let mut peers = reconcile::peers(server);
    if let Some(peer) = peer {
        let context = server.shared.context();
        context.registry.member(&peer)?;
        peers.retain(|p| p.id == peer);
        if peers.is_empty() {
            let why = match peer == context.own.id {
                true => format!("`{peer}` is this member itself / 即本成员自身"),
                false => format!("`{peer}` runs no node / 该成员不运行节点"),
            };
            return Err(Refusal::new(Code::NotFound, why).remedied((
                "name another member that runs a node, or leave out --peer to reconcile with all",
                "请填写其他运行节点的成员，或去掉 --peer 与全部成员核对",
            )));
        }
    }
    let mut reports = Vec::new();
    for peer in peers {
        reports.push(reconcile::with(server, &peer).await);
    }
    Ok(Response::Reconciled(reports))
}

fn status(shared: &Shared) -> Result<Response, Fault> {
    let context = &shared.context();
    let size = |name: &str| log::size(&shared.store, name).map(|s| s.0);
    let mut logs = Vec::new();
    let mut mirrors: Vec<(MemberId, LogName, u64)> = Vec::new();
    for log in LogName::ALL {
        logs.push((log, size(log.as_str())?));
        for owner in context.registry.active() {
            if context.registry.keeps_copy(&context.own.id, &owner.id, log) && !owner.quic.is_empty() {
                mirrors.push((owner.id.clone(), log, size(&log.mirror(&owner.id))?));
            }
        }
    }
    let phase = shared.state.read().map_or("unknown", |s| s.phase);
    let role = context.role().map_err(|r| Fault(r.to_string()))?;
    Ok(Response::Status(NodeStatus {
        member: context.own.id.clone(),
        role,
        phase: phase.to_owned(),
        registry: context.registry.version,
        logs,
        mirrors,
        pending: read::pending(&shared.store)?,
        sources: read::sources(&shared.store)?,
        keys_end: keys_end(shared),
    }))
}
