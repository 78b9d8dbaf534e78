//! What comparing standings costs: two members' stores with the same status log, and 1,000 differences.
//!
//! Everything is the code of a node, over stores on disk; the frames are encoded and decoded, and only the network between
//! them is left out: their bytes are counted, and how many there are one after the other.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use ::node::{Problem, clock, store::DiskStore};
use credit::{
    calendar::Calendar,
    catalog::Catalog,
    entry::{Changed, Entry, Fact, StatusFact},
    id::{MemberId, RecordId},
    policy::{Policy, Role},
    record::NamingKeys,
    rules::RuleBook,
    status::Change,
};
use crypto::{
    Digest, Timestamp,
    secret::Secret,
    sign::{PublicKey, Seen, SigningKey},
};
use exchange::{
    context::{Context, Identity},
    limits::FRAME_BYTES_MAX,
    logs::LogName,
    project,
    reconcile::{self, Answered, Ask, Search},
    refusal::Fault,
    registry::{MemberEntry, MemberRequest, Registry},
    step::Token,
    summary,
    tables::Told,
    turn::Turn,
    wire::{Request, Response, from_frame, to_frame},
};
use ledger::{
    log::{self, Log},
    store::{Batch, Overlay, Store, View},
};
use serde_json::json;

use super::{Scratch, machine};
use crate::{bench::args::BenchReconcile, output::Output, output::say};

/// Entries in one step while the log is built.
const RUN: u64 = 10_000;
/// The authority, which is also the peer, and the member that compares.
const MEMBERS: [&str; 2] = ["js", "sh"];

fn fault(e: impl core::fmt::Display) -> Problem {
    Problem::fault(e.to_string())
}

fn id(member: &str) -> Result<MemberId, Problem> {
    MemberId::parse(member).ok_or_else(|| Problem::fault(format!("`{member}`")))
}

/// The contexts of both members under one registry.
fn contexts() -> Result<[Context; 2], Problem> {
    let keys: Vec<SigningKey> = MEMBERS.iter().map(|_| SigningKey::from_seed(&clock::secret())).collect();
    let mut members = Vec::new();
    for (member, key) in MEMBERS.iter().zip(&keys) {
        let public = PublicKey(key.verifying_key().to_bytes());
        let stated = MemberRequest {
            id: id(member)?,
            role: Role::Region,
            region: "310000".into(),
            name: (*member).into(),
            sign: public,
            tls: public,
            seal: public,
            quic: "127.0.0.1:1".into(),
            http: String::new(),
            collector: false,
            bodies: Vec::new(),
            witness: public,
            system: None,
        };
        members.push(MemberEntry {
            stated,
            record_key: None,
            mirrors: Vec::new(),
            suspended: false,
            past: Vec::new(),
        });
    }
    let registry = Arc::new(Registry {
        seen: Seen::default(),
        federation: "bench".into(),
        version: 1,
        previous: Digest::ZERO,
        governors: Vec::new(),
        threshold: 0,
        members,
        catalog: Digest::ZERO,
        policy: Digest::ZERO,
        rules: Digest::ZERO,
        issued_at: Timestamp(0),
        witnesses: Vec::new(),
    });
    let context = |n: usize| -> Result<Context, Problem> {
        let secret = || Secret::new(clock::random());
        Ok(Context {
            own: Identity {
                id: id(MEMBERS[n])?,
                signing: keys[n].clone(),
                witness: keys[n].clone(),
                naming: NamingKeys { record: secret(), pepper: secret() },
                access: secret(),
            },
            registry: registry.clone(),
            catalog: Arc::new(Catalog::builtin()),
            policy: Arc::new(Policy::builtin()),
            rules: Arc::new(RuleBook::builtin()),
            calendar: Arc::new(Calendar::builtin()),
        })
    };
    Ok([context(0)?, context(1)?])
}

/// The `n`-th record, spread like a keyed hash.
fn record(n: u64) -> RecordId {
    RecordId(Digest::of(&n.to_be_bytes()).0)
}

fn turn<T>(
    store: &dyn Store,
    more: Batch,
    work: impl FnOnce(&mut Turn<'_>) -> Result<T, Problem>,
) -> Result<T, Problem> {
    let kept = Overlay::new(store);
    let mut turn = Turn::new(clock::now(), &kept, BTreeMap::new());
    let done = work(&mut turn)?;
    let mut batch = turn.finish().rows;
    batch.merge(more);
    store.apply(&batch).map_err(fault)?;
    Ok(done)
}

/// Fills the peer's own log and the copy of it with `records` repairs, and both with the standings.
fn fill(peer: (&Context, &DiskStore), here: (&Context, &DiskStore), records: u64) -> Result<f64, Problem> {
    let authority = &peer.0.own.id;
    let origin = LogName::Status.origin("bench", authority);
    let mut own = Log::open(LogName::Status.as_str(), &origin, peer.1).map_err(fault)?;
    let mut copy = Log::open(&LogName::Status.mirror(authority), &origin, here.1).map_err(fault)?;
    let key = peer.0.registry.note_key(authority, LogName::Status)?;
    let mut projecting = 0.0;
    let mut at = 0;
    while at < records {
        let until = records.min(at + RUN);
        let mut facts = Vec::new();
        for n in at..until {
            let changed = Changed {
                record: record(n),
                change: Change::Repair,
                case: None,
                rule: "bench".into(),
                paper: None,
                clerk: None,
                act: None,
            };
            let fact = StatusFact::Changed(changed);
            let now = clock::now();
            let signed = peer.0.sign(now, &fact);
            let bytes = Entry { prev: own.last_leaf(), at: now, fact: Fact::Status(signed) }.to_bytes();
            own.append(bytes.clone()).map_err(fault)?;
            copy.append(bytes).map_err(fault)?;
            facts.push((fact, Told { index: n, at: now }));
        }
        let (mut sealed, mut mirrored) = (Batch::default(), Batch::default());
        own.seal(&peer.0.own.signing, peer.1, &mut sealed).map_err(fault)?;
        let begun = Instant::now();
        let work = |turn: &mut Turn<'_>| {
            for (fact, told) in &facts {
                project::status(peer.0, turn, authority, fact, *told).map_err(|_| fault("not projected"))?;
            }
            Ok(())
        };
        turn(peer.1, sealed, work)?;
        projecting += begun.elapsed().as_secs_f64();
        let note =
            log::head(peer.1, LogName::Status.as_str()).map_err(fault)?.ok_or_else(|| fault("no head"))?;
        let checkpoint = note.verify(&key).map_err(fault)?;
        copy.seal_mirror(&note, &checkpoint, here.1, &mut mirrored).map_err(fault)?;
        turn(here.1, mirrored, work)?;
        at = until;
    }
    Ok(projecting * 1e6 / records as f64)
}

/// Asks the peer; bytes both ways.
fn ask(
    peer: (&Context, &dyn View),
    caller: &MemberId,
    ask: Ask,
    bytes: &mut (usize, u64),
) -> Result<Answered, Problem> {
    let request = to_frame(&Request::Standings(ask));
    let Request::Standings(read) = from_frame::<Request>(&request, FRAME_BYTES_MAX)? else {
        return Err(fault("another request"));
    };
    let response = to_frame(&reconcile::answer(peer.0, peer.1, caller, &read).map_err(fault)?);
    *bytes = (bytes.0 + request.len() + response.len(), bytes.1 + 1);
    match from_frame::<Response>(&response, FRAME_BYTES_MAX)? {
        Response::Standings(answered) => Ok(answered),
        other => Err(fault(format!("{other:?}"))),
    }
}

pub(super) fn run(args: &BenchReconcile) -> Result<Output, Problem> {
    let scratch = Scratch::new(args.dir.as_deref())?;
    let machine = machine::describe(&scratch.0);
    let [here, peer] = contexts()?;
    let (mine, theirs) = (
        DiskStore::open(&scratch.0.join("here")).map_err(fault)?,
        DiskStore::open(&scratch.0.join("peer")).map_err(fault)?,
    );
    say(&format!("{} records …", args.records));
    let upkeep = fill((&peer, &theirs), (&here, &mine), args.records)?;
    let authority = peer.own.id.clone();
    let compare = |bytes: &mut (usize, u64)| -> Result<bool, Problem> {
        let answered = ask((&peer, &theirs), &here.own.id, Ask::Overview, bytes)?;
        let Answered::Overview(lines) = answered else { return Err(fault("no overview")) };
        let (size, root) = reconcile::state(&here, &mine, &authority).map_err(fault)?;
        Ok(lines.contains(&(authority.clone(), size, root)))
    };

    let (mut same, begun) = ((0, 0), Instant::now());
    if !compare(&mut same)? {
        return Err(fault("the same log gives two digests"));
    }
    let same_ms = begun.elapsed().as_secs_f64() * 1e3;

    let differences = args.differences.min(args.records);
    let step = (args.records / differences.max(1)).max(1);
    turn(&mine, Batch::default(), |turn| {
        for n in 0..differences {
            summary::put(turn, &authority, &record(n * step), None).map_err(fault)?;
        }
        Ok(())
    })?;
    let (mut differ, begun) = ((0, 0), Instant::now());
    let mut mended = 0;
    while !compare(&mut differ)? {
        let mut search = Search::new(authority.clone(), args.records, u64::from_be_bytes(clock::random()));
        while let Some(question) = search.next(&mine).map_err(fault)? {
            let answered = ask((&peer, &theirs), &here.own.id, question, &mut differ)?;
            search.heard(&mine, &answered).map_err(fault)??;
        }
        let judged = reconcile::judge(&here, &mine, &search).map_err(fault)?;
        if judged.mine == 0 {
            return Err(fault("nothing is found, and the digests differ"));
        }
        mended += judged.mine;
        turn(&mine, Batch::default(), |turn| {
            let outcome: Result<(), Fault> = match reconcile::mend(&here, turn, Token(0), &authority, &judged)
            {
                Ok(()) => Ok(()),
                Err(_) => Err(Fault("not mended".into())),
            };
            outcome.map_err(fault)
        })?;
    }
    let differ_ms = begun.elapsed().as_secs_f64() * 1e3;
    if mended != differences {
        return Err(fault(format!("{mended} of {differences} differences are mended")));
    }

    let begun = Instant::now();
    let mut nodes = 0_u64;
    summary::make(&mine, &authority, &mut |_, _| {
        nodes += 1;
        Ok(())
    })
    .map_err(fault)?;
    let make_ms = begun.elapsed().as_secs_f64() * 1e3;

    let text = format!(
        "machine: {machine}\ncommand: xinqiao bench reconcile --records {} --differences {}\n\n\
         both the same: {} bytes in {} exchange, {same_ms:.1} ms\n\
         {differences} records differ: {} bytes in {} exchanges, {differ_ms:.0} ms until both are the same again, \
         mended and durable\n\
         time is that of both members without the network; add a round trip for each exchange\n\
         keeping the digests and standings in step: {upkeep:.1} µs per entry; making {nodes} nodes again: {make_ms:.0} ms",
        args.records, differences, same.0, same.1, differ.0, differ.1,
    );
    let value = json!({
        "machine": machine, "records": args.records, "differences": differences,
        "same": { "bytes": same.0, "exchanges": same.1, "ms": same_ms },
        "differing": { "bytes": differ.0, "exchanges": differ.1, "ms": differ_ms },
        "entry_us": upkeep, "make_again_ms": make_ms, "nodes": nodes,
    });
    Ok(Output::new(value, text))
}
