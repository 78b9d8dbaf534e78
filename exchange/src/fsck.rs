//! Everything a member has stored, held against everything else it has stored.
//!
//! 1. Each of its logs and each copy it keeps: checkpoint, tiles, entries, links, statements, the roots of runs.
//! 2. The rows that follow from entries, made again from the logs in a scratch store and compared in key order.
//! 3. Each sealed record: of a version that the log has, opened with the key of its slot, under the root the log has.
//! 4. Each key that the log says is destroyed.
//!
//! Rows without a second source (work in progress, counters, what a department handed in) must be readable and point to
//! what is there; a change in them that still reads well is not seen here, and is the engine's to see.
//!
//! Shape: streaming. Memory holds a page of rows, one bundle of entries and the leaf hashes of one run; the scratch store
//! grows with the projected rows. Nothing in `view` is written.

mod cases;
mod finding;
mod push;
mod standing;

use core::fmt;
use std::collections::BTreeMap;

use credit::{
    entry::{Entry, Fact, Recorded, StatusFact},
    grant::GrantLife,
    id::{MemberId, RecordId},
    record::read_content,
    status::{Standing, Status},
    subject::SubjectId,
    value::Value,
};
use crypto::{Digest, Timestamp, codec, keytree::Slot, merkle, seal::RecordKey};
use ledger::{
    checkpoint::SignedCheckpoint,
    log,
    store::{Overlay, Pair, Space, Store, StoreError, View},
    tree::LeafIndex,
};

pub use finding::{Finding, Wrong};

use crate::{
    artifact::status_fact,
    ban::BanRow,
    check::BudgetRow,
    context::Context,
    evidence::EvidenceRow,
    kept,
    limits::RECORDS_PER_BATCH_MAX,
    logs::LogName,
    project,
    receipt::Receipt,
    reconcile::FindingRow,
    refusal::{Fault, Halt},
    submit::IntakeRow,
    tables::{
        self, DeliveryRow, ErasureRow, HandledRow, Key, OutcomeRow, QuestionRow, RecordRow, Table, Told,
        UsedUpRow, Work, decode,
    },
    turn::{Kept, Turn},
    wire::SubmitReport,
    witness::{CosignedRow, WitnessRow},
};

/// Rows read at once.
const PAGE: usize = 1_024;
/// Entries between two writes to the scratch store.
const ENTRIES_PER_WRITE: u64 = 2_048;
/// Entries read at once when versions are looked up: one bundle.
const BUNDLE: u64 = 256;

/// Entries of a run with the `Batched` entry after them.
const RUN_MAX: usize = RECORDS_PER_BATCH_MAX + 1;

/// What was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Entries of own logs and copies.
    pub entries: u64,
    /// Rows.
    pub rows: u64,
    /// Sealed records, each opened.
    pub payloads: u64,
    /// Versions whose sealed record is not here: taken back from a mirror, which has none.
    pub without_payload: u64,
}

/// What the check needs besides the store.
pub struct Tools<'a> {
    /// The key of a slot; `None` when it is destroyed.
    pub key: &'a dyn Fn(Slot) -> Option<RecordKey>,
    /// An empty store for the rows that are made again.
    pub scratch: &'a dyn Store,
    /// Hears, about every 2,048 things, what is looked at: done, and how many there are when that is known.
    pub progress: &'a mut dyn FnMut(&str, u64, Option<u64>),
    /// Hears of everything that is wrong.
    pub found: &'a mut dyn FnMut(Finding),
}

/// Checks everything. Errors: the scratch store failed; what is wrong in `view` goes to `found`.
pub fn fsck<'a>(context: &'a Context, view: &'a dyn View, tools: Tools<'a>) -> Result<Checked, Fault> {
    let mut check = Check {
        context,
        view,
        tools,
        checked: Checked::default(),
        replayed: BTreeMap::new(),
        acknowledged: BTreeMap::new(),
        bundle: (u64::MAX, Vec::new()),
    };
    let own = context.own.id.clone();
    for log in LogName::ALL.iter().copied().filter(|log| *log != LogName::Status).chain([LogName::Status]) {
        check.log(&own, log)?;
    }
    let peers: Vec<MemberId> =
        context.registry.active().map(|m| m.id.clone()).filter(|id| *id != own).collect();
    for peer in peers {
        for log in LogName::ALL {
            if context.registry.keeps_copy(&own, &peer, log) {
                check.log(&peer, log)?;
            }
        }
    }
    check.rows()?;
    check.nodes();
    check.payloads()?;
    Ok(check.checked)
}

struct Check<'a> {
    context: &'a Context,
    view: &'a dyn View,
    tools: Tools<'a>,
    checked: Checked,
    /// Size of each log that was read to its end and made into rows.
    replayed: BTreeMap<(MemberId, LogName), u64>,
    /// One past the last status entry of each other member that this member has acknowledged.
    acknowledged: BTreeMap<MemberId, u64>,
    /// The entries that were looked up last, and the index of the first.
    bundle: (u64, Vec<Vec<u8>>),
}

impl Check<'_> {
    fn found(&mut self, place: impl Into<String>, wrong: Wrong, detail: impl fmt::Display) {
        (self.tools.found)(Finding { place: place.into(), wrong, detail: detail.to_string() });
    }

    /// One log: everything in it, and its rows into the scratch store.
    fn log(&mut self, owner: &MemberId, name: LogName) -> Result<(), Fault> {
        let own = *owner == self.context.own.id;
        let stored = if own { name.as_str().to_owned() } else { name.mirror(owner) };
        let place = format!("log `{stored}`");
        let registry = &self.context.registry;
        // A head that cannot be read is found below, under any key.
        let key = match log::head(self.view, &stored) {
            Ok(Some(head)) => registry.key_of(owner, name, &head),
            _ => registry.note_key(owner, name),
        };
        let key = match key {
            Ok(key) => key,
            Err(refusal) => {
                self.found(place, Wrong::LogBroken, refusal);
                return Ok(());
            }
        };
        let total = log::size(self.view, &stored).ok().map(|size| size.0);
        let view = self.view;
        let mut reading = Reading {
            owner,
            name,
            place: &place,
            prev: Digest::ZERO,
            leaves: (0, Vec::new()),
            scratch: self.tools.scratch,
            kept: Overlay::new(self.tools.scratch),
            failed: None,
        };
        let outcome = ledger::fsck::check(view, &stored, &key, &mut |index, bytes, leaf| {
            self.entry(&mut reading, index.0, bytes, leaf);
            if (index.0 + 1) % ENTRIES_PER_WRITE == 0 {
                (self.tools.progress)(&stored, index.0 + 1, total);
                reading.write();
            }
            Ok(())
        });
        reading.write();
        if let Some(fault) = reading.failed {
            return Err(fault);
        }
        match outcome {
            Ok(size) => drop(self.replayed.insert((owner.clone(), name), size.0)),
            Err(damage) => self.found(place.clone(), Wrong::LogBroken, damage),
        }
        Ok(())
    }

    fn entry(&mut self, reading: &mut Reading<'_>, index: u64, bytes: &[u8], leaf: &Digest) {
        self.checked.entries += 1;
        let place = format!("{}, entry {index}", reading.place);
        let prev = core::mem::replace(&mut reading.prev, *leaf);
        reading.leaves.1.push(*leaf);
        if reading.leaves.1.len() > 2 * RUN_MAX {
            drop(reading.leaves.1.drain(..RUN_MAX));
            reading.leaves.0 += RUN_MAX as u64;
        }
        let entry = match Entry::from_bytes(bytes) {
            Ok(entry) => entry,
            Err(e) => return self.found(place, Wrong::EntryBroken, e),
        };
        if entry.prev != prev {
            self.found(place.clone(), Wrong::EntryBroken, "it does not name the entry before it");
        }
        let registry = &self.context.registry;
        let owner = reading.owner;
        let issuer = match &entry.fact {
            Fact::Status(signed) => Some(signed.issuer()),
            Fact::Batched(signed) => Some(signed.issuer()),
            _ => None,
        };
        if issuer.is_some_and(|issuer| issuer != owner.as_str()) {
            return self.found(place, Wrong::StatementBroken, "signed by another member");
        }
        match &entry.fact {
            Fact::Status(signed) => match registry.verify_logged(signed) {
                Ok(fact) => {
                    let fact = fact.into_inner();
                    let own = *owner == self.context.own.id;
                    if let (true, StatusFact::Acknowledged(ack)) = (own, &fact) {
                        let end = self.acknowledged.entry(ack.origin.clone()).or_default();
                        *end = (*end).max(ack.index + 1);
                    }
                    reading.project(self.context, index, &entry, Some(&fact))
                }
                Err(refusal) => return self.found(place, Wrong::StatementBroken, refusal),
            },
            Fact::Batched(signed) => match registry.verify_logged(signed) {
                Ok(batch) => {
                    let batch = batch.into_inner();
                    let (first, leaves) = &reading.leaves;
                    let end = leaves.len().saturating_sub(1);
                    let run = batch
                        .first
                        .checked_sub(*first)
                        .and_then(|at| leaves.get(usize::try_from(at).ok()?..end))
                        .filter(|run| run.len() as u64 == batch.count);
                    if run.map(merkle::root) != Some(batch.root) {
                        self.found(
                            place.clone(),
                            Wrong::StatementBroken,
                            "the entries of the run are others",
                        );
                    }
                    reading.leaves = (index + 1, Vec::new());
                    Ok(())
                }
                Err(refusal) => return self.found(place, Wrong::StatementBroken, refusal),
            },
            _ => reading.project(self.context, index, &entry, None),
        }
        .unwrap_or_else(|halt| match halt {
            Halt::Refusal(refusal) => self.found(place, Wrong::StatementBroken, refusal),
            Halt::Fault(fault) => reading.failed = Some(fault),
        });
    }

    /// Every row, against the rows made again, in key order.
    fn rows(&mut self) -> Result<(), Fault> {
        let (view, scratch) = (self.view, self.tools.scratch);
        let (mut stored, mut made) = (Rows::new(Space::Row, view), Rows::new(Space::Row, scratch));
        let mut here = self.take(&mut stored);
        let mut again = made.next()?;
        loop {
            let order = match (&here, &again) {
                (None, None) => return Ok(()),
                (Some(_), None) => core::cmp::Ordering::Less,
                (None, Some(_)) => core::cmp::Ordering::Greater,
                (Some((a, _)), Some((b, _))) => a.cmp(b),
            };
            let (mut left, mut right) = (None, None);
            if order.is_le() {
                left = core::mem::replace(&mut here, self.take(&mut stored));
                self.checked.rows += 1;
                if self.checked.rows.is_multiple_of(ENTRIES_PER_WRITE) {
                    (self.tools.progress)("rows", self.checked.rows, None);
                }
            }
            if order.is_ge() {
                right = core::mem::replace(&mut again, made.next()?);
            }
            let key = left.as_ref().or(right.as_ref()).map(|(key, _)| key.clone()).unwrap_or_default();
            let (left, right) = (left.map(|l| l.1), right.map(|r| r.1));
            let Some((table, rest)) = Table::of(&key) else {
                self.found(row_place("?", &key), Wrong::RowDamaged, "of no table");
                continue;
            };
            let judged = self.row(table, &key, rest, left.as_deref(), right.as_deref());
            match judged {
                Ok(None) => {}
                Ok(Some(wrong)) => self.found(row_place(table.name(), rest), wrong, ""),
                Err(fault) => self.found(row_place(table.name(), rest), Wrong::RowDamaged, fault),
            }
        }
    }

    /// The next stored row. What the engine does not give ends the space, with a finding.
    fn take(&mut self, rows: &mut Rows<'_>) -> Option<Pair> {
        match rows.next() {
            Ok(pair) => pair,
            Err(e) => {
                let space = rows.space.name();
                self.found(format!("space `{space}`"), Wrong::Unreadable, e);
                rows.over = true;
                None
            }
        }
    }

    /// Whether the rows that follow from this log were all made again.
    fn complete(&self, owner: &MemberId, log: LogName) -> bool {
        self.replayed.contains_key(&(owner.clone(), log))
    }

    /// One row: as stored, and as made again. Errors: it does not read.
    fn row(
        &mut self,
        table: Table,
        key: &[u8],
        rest: &[u8],
        stored: Option<&[u8]>,
        made: Option<&[u8]>,
    ) -> Result<Option<Wrong>, Fault> {
        let own = self.context.own.id.clone();
        let same = |complete: bool| match (stored, made) {
            (Some(stored), Some(made)) if stored != made && complete => Some(Wrong::RowDiffers),
            (Some(_), None) if complete => Some(Wrong::RowUnexplained),
            (None, Some(_)) => Some(Wrong::RowMissing),
            _ => None,
        };
        let read = |wrong: Option<Wrong>| Ok(wrong);
        match table {
            Table::Record => {
                let Some(bytes) = stored else { return read(Some(Wrong::RowMissing)) };
                let row: RecordRow = decode(key, bytes)?;
                let complete = self.complete(&own, LogName::Records);
                let Some(made) = made.map(|m| decode::<RecordRow>(key, m)).transpose()? else {
                    return read(complete.then_some(Wrong::RowUnexplained));
                };
                // What no entry holds is held against the index and the sealed record instead.
                let bare = RecordRow { content: None, tag: None, subject: None, ..row.clone() };
                if complete && bare != made {
                    return read(Some(Wrong::RowDiffers));
                }
                self.record(rest, &row)?;
                read(None)
            }
            Table::Link | Table::GrantUse | Table::Recipient | Table::Relayed => {
                read(same(self.complete(&own, LogName::Access)))
            }
            Table::Erased => {
                read(same(self.complete(&own, LogName::Records)).or_else(|| self.destroyed(rest)))
            }
            // Held against the standings that are stored: see `nodes`.
            Table::StandingNode => read(None),
            // One that was issued before issues were written down has no entry.
            Table::Grant => {
                if let Some(bytes) = stored {
                    decode::<MemberId>(key, bytes)?;
                }
                read(
                    same(self.complete(&own, LogName::Status))
                        .filter(|wrong| *wrong != Wrong::RowUnexplained),
                )
            }
            Table::Registry | Table::OpenCase => read(same(self.complete(&own, LogName::Status))),
            Table::Handled => {
                if let Some(bytes) = stored {
                    decode::<HandledRow>(key, bytes)?;
                }
                read(same(self.complete(&own, LogName::Status)))
            }
            Table::Standing | Table::GrantLife | Table::UsedUp | Table::Ban | Table::Examined => {
                // The author stands first, but of a use-up after the grant, of which all are read at once.
                let author = if table == Table::UsedUp { rest.get(32..).unwrap_or_default() } else { rest };
                let author = tables::key_text(author).and_then(MemberId::parse);
                let Some(author) = author else { return read(Some(Wrong::RowDamaged)) };
                let replayed = self.replayed.get(&(author.clone(), LogName::Status)).copied();
                // What was pushed may be newer than the copy.
                let known = self.acknowledged.get(&author).copied().unwrap_or(0);
                let complete = replayed.is_some_and(|size| author == own || known <= size);
                if complete {
                    return read(same(true));
                }
                let Some(bytes) = stored else { return read(made.map(|_| Wrong::RowMissing)) };
                let holds = match table {
                    Table::Standing => includes(key, bytes, made, Standing::merge)?,
                    Table::Ban => includes(key, bytes, made, BanRow::merge)?,
                    Table::Examined => includes(key, bytes, made, Told::max)?,
                    Table::UsedUp => includes(key, bytes, made, UsedUpRow::min)?,
                    _ => includes(key, bytes, made, GrantLife::merge)?,
                };
                read((!holds).then_some(Wrong::RowDiffers))
            }
            Table::Outcome => {
                let author = tables::key_text(rest).and_then(MemberId::parse);
                let Some(author) = author else { return read(Some(Wrong::RowDamaged)) };
                let Some(bytes) = stored else { return read(made.map(|_| Wrong::RowMissing)) };
                let row: OutcomeRow = decode(key, bytes)?;
                let made: OutcomeRow = made.map(|m| decode(key, m)).transpose()?.unwrap_or_default();
                // What was pushed may be newer than the copy.
                let replayed = self.replayed.get(&(author.clone(), LogName::Status)).copied();
                let known = self.acknowledged.get(&author).copied().unwrap_or(0);
                let complete = replayed.is_some_and(|size| author == own || known <= size);
                let fits = if complete { made == row } else { row.clone().merge(made) == row };
                read((!fits).then_some(Wrong::RowDiffers))
            }
            Table::Case => self.case(key, stored, made),
            Table::Forward => self.forward(key, stored, made),
            Table::Counter => {
                let made: u64 = made.map(|m| decode(key, m)).transpose()?.unwrap_or(0);
                match stored {
                    Some(bytes) => read((decode::<u64>(key, bytes)? < made).then_some(Wrong::RowDiffers)),
                    None => read((made > 0).then_some(Wrong::RowMissing)),
                }
            }
            Table::Delivery => {
                let Some(bytes) = stored else {
                    // The recipients of an old event may have been others than those of today's registry.
                    return read(None);
                };
                let row: DeliveryRow = decode(key, bytes)?;
                let made: Option<DeliveryRow> = made.map(|m| decode(key, m)).transpose()?;
                if made.is_some_and(|made| made.since != row.since) {
                    return read(Some(Wrong::RowDiffers));
                }
                read(self.delivery(rest, &row)?)
            }
            Table::Push | Table::Copy | Table::Published | Table::TakenDown => {
                push::row(self, table, key, rest, (stored, made))
            }
            Table::Due => match (stored, rest.get(8..)) {
                (Some(bytes), Some(work)) => {
                    decode::<()>(key, bytes)?;
                    decode::<Work>(key, work)?;
                    read(None)
                }
                (None, _) => read(None),
                _ => read(Some(Wrong::RowDamaged)),
            },
            _ => {
                let Some(bytes) = stored else { return read(Some(Wrong::RowMissing)) };
                self.unprojected(table, key, rest, bytes)
            }
        }
    }

    /// A row that follows from no entry.
    fn unprojected(
        &mut self,
        table: Table,
        key: &[u8],
        rest: &[u8],
        bytes: &[u8],
    ) -> Result<Option<Wrong>, Fault> {
        match table {
            Table::Index => {
                decode::<()>(key, bytes)?;
                let record = rest.len().checked_sub(32).and_then(|at| <[u8; 32]>::try_from(&rest[at..]).ok());
                let Some(record) = record else { return Ok(Some(Wrong::RowDamaged)) };
                let row: Option<RecordRow> = tables::row(self.view, &Key::record(&RecordId(record)))?;
                let fits = row.is_some_and(|row| match row.tag {
                    Some(tag) => rest.starts_with(&tag.0),
                    // A newer version came back from a mirror, which has no tags; the subject is still the same.
                    None => !row.erased,
                });
                return Ok((!fits).then_some(Wrong::RowUnexplained));
            }
            Table::Question => {
                let row: QuestionRow = decode(key, bytes)?;
                let entry = log::entry(self.view, LogName::Access.as_str(), LeafIndex(row.plan.index))?;
                let asked = match entry.and_then(|bytes| Entry::from_bytes(&bytes).ok()).map(|e| e.fact) {
                    Some(Fact::Disclosed(disclosed)) => Some(disclosed.asked),
                    Some(Fact::Refused(refused)) => Some(refused.asked),
                    _ => None,
                };
                let fits = asked.is_some_and(|asked| {
                    asked.id.0 == rest && asked.question == row.question && asked.asker == row.plan.asker
                });
                return Ok((!fits || row.plan.question != row.question).then_some(Wrong::RowDiffers));
            }
            Table::Erasure => {
                let row: ErasureRow = decode(key, bytes)?;
                let record = RecordId(<[u8; 32]>::try_from(rest).unwrap_or_default());
                let standing: Option<Standing> =
                    tables::row(self.view, &Key::standing(&row.authority, &record))?;
                let held: Option<RecordRow> = tables::row(self.view, &Key::record(&record))?;
                let withdrawn = standing.is_some_and(|s| s.status() == Status::Withdrawn);
                let fits = (withdrawn || row.retention.is_some()) && held.is_some_and(|row| !row.erased);
                return Ok((!fits).then_some(Wrong::RowUnexplained));
            }
            Table::File => drop(decode::<SubmitReport>(key, bytes)?),
            Table::Intake => drop(decode::<IntakeRow>(key, bytes)?),
            Table::Accesses => drop(decode::<u64>(key, bytes)?),
            Table::Witness => {
                let row: WitnessRow = decode(key, bytes)?;
                let claimed = row.note.claimed();
                let fits = claimed.size.0 == row.size && claimed.root == row.root;
                return Ok((!fits).then_some(Wrong::RowDiffers));
            }
            Table::Cosigned => drop(decode::<CosignedRow>(key, bytes)?),
            Table::CosignedNote => drop(decode::<SignedCheckpoint>(key, bytes)?),
            Table::Evidence => {
                let row: EvidenceRow = decode(key, bytes)?;
                return Ok(row.evidence.verify(&self.context.registry).is_err().then_some(Wrong::RowDiffers));
            }
            Table::Twin => return self.twin(key, bytes),
            Table::Counterpart => return self.counterpart(key, rest, bytes),
            Table::Frozen | Table::Judged => drop(decode::<Timestamp>(key, bytes)?),
            Table::Budget => drop(decode::<BudgetRow>(key, bytes)?),
            Table::Finding => drop(decode::<FindingRow>(key, bytes)?),
            Table::Asked | Table::Kept | Table::KeptGrant | Table::News => {
                return kept::check(self.context, self.view, table, key, bytes);
            }
            // Departments; what can be made again is looked at by the other function.
            _ => decode::<()>(key, bytes)?,
        }
        Ok(None)
    }

    /// A stored acknowledgement is the recipient's own, and of this event.
    fn delivery(&self, rest: &[u8], row: &DeliveryRow) -> Result<Option<Wrong>, Fault> {
        let Some((event, to)) = rest.split_at_checked(8) else { return Ok(Some(Wrong::RowDamaged)) };
        let event = event.iter().fold(0, |n, b| n << 8 | u64::from(*b));
        let size = log::size(self.view, LogName::Status.as_str())?.0;
        let Some(to) = tables::key_text(to).and_then(MemberId::parse) else {
            return Ok(Some(Wrong::RowDamaged));
        };
        if event >= size || row.ack.is_some() != row.acked_at.is_some() {
            return Ok(Some(Wrong::RowDiffers));
        }
        let Some(ack) = &row.ack else { return Ok(None) };
        let receipt: Receipt = codec::from_slice(ack).map_err(|e| Fault(e.to_string()))?;
        let registry = &self.context.registry;
        let holds = receipt.verify(registry).and_then(|proven| {
            let fact = status_fact(registry, &proven)?;
            Ok(matches!(fact, StatusFact::Acknowledged(ack)
                if proven.member == to && ack.origin == self.context.own.id && ack.index == event))
        });
        Ok((holds != Ok(true)).then_some(Wrong::RowDiffers))
    }

    /// The key of an erased slot is destroyed.
    fn destroyed(&self, rest: &[u8]) -> Option<Wrong> {
        let slot = Slot(rest.iter().fold(0, |n, b| n << 8 | u64::from(*b)));
        (self.tools.key)(slot).map(|_| Wrong::KeyKept)
    }

    /// A record's versions: which sealed records and keys must be there. What is in them, [`Check::payloads`] looks at.
    fn record(&mut self, id: &[u8], row: &RecordRow) -> Result<(), Fault> {
        for version in row.versions() {
            let slot = version.slot;
            let place = format!("slot {}", slot.0);
            let there = self.view.get(Space::Payload, &tables::payload_key(slot))?.is_some();
            let newest = version == row.newest;
            match (there, row.erased) {
                (true, true) => self.found(place, Wrong::PayloadUnexplained, "the record is erased"),
                (false, false) if newest && row.content.is_some() => {
                    self.found(place, Wrong::PayloadMissing, "");
                }
                (false, false) => self.checked.without_payload += 1,
                (true, false) if (self.tools.key)(slot).is_none() => {
                    self.found(place, Wrong::KeyMissing, "");
                }
                _ => {}
            }
        }
        if let Some(tag) = &row.tag {
            let Ok(Some(sealed)) = tables::payload(self.view, row.newest.slot) else { return Ok(()) };
            let record = RecordId(<[u8; 32]>::try_from(id).unwrap_or_default());
            let index = Key::index(tag, &sealed.facts.item, &record);
            if tables::row::<()>(self.view, &index)?.is_none() {
                self.found(row_place(Table::Index.name(), &index.as_bytes()[1..]), Wrong::RowMissing, "");
            }
        }
        Ok(())
    }

    /// Every sealed record is that of a version, opens with the key of its slot, and has the root of its entry.
    fn payloads(&mut self) -> Result<(), Fault> {
        let mut rows = Rows::new(Space::Payload, self.view);
        while let Some((key, bytes)) = self.take(&mut rows) {
            self.checked.payloads += 1;
            if self.checked.payloads.is_multiple_of(ENTRIES_PER_WRITE) {
                (self.tools.progress)("sealed records", self.checked.payloads, None);
            }
            let slot = Slot(key.iter().fold(0, |n, b| n << 8 | u64::from(*b)));
            match self.payload(slot, &bytes) {
                Ok(None) => {}
                Ok(Some((wrong, why))) => self.found(format!("slot {}", slot.0), wrong, why),
                Err(fault) => self.found(format!("slot {}", slot.0), Wrong::PayloadBroken, fault),
            }
        }
        Ok(())
    }

    fn payload(&mut self, slot: Slot, bytes: &[u8]) -> Result<Option<(Wrong, &'static str)>, Fault> {
        let sealed: credit::record::SealedRecord =
            codec::from_slice(bytes).map_err(|e| Fault(e.to_string()))?;
        let facts = &sealed.facts;
        let row: Option<RecordRow> = tables::row(self.view, &Key::record(&facts.record))?;
        let version = row.as_ref().and_then(|row| row.versions().into_iter().find(|v| v.slot == slot));
        let (Some(row), Some(version)) = (row, version) else {
            return Ok(Some((Wrong::PayloadUnexplained, "no version of its record has this slot")));
        };
        if version == row.newest && !row.erased && row.content != Some(facts.content) {
            return Ok(Some((Wrong::PayloadBroken, "its content is not that of the row")));
        }
        let recorded = self.recorded(version.index)?;
        let fits = recorded.is_some_and(|entry| {
            entry.record == facts.record
                && entry.item == facts.item
                && entry.catalog == facts.catalog
                && entry.authority == facts.authority
                && (entry.slot, facts.slot) == (slot, slot)
                && entry.fields_root == sealed.fields_root
        });
        if !fits {
            return Ok(Some((Wrong::PayloadBroken, "it is not the one that the log has")));
        }
        // A key that is missing was found with the record's row.
        let Some(key) = (self.tools.key)(slot) else { return Ok(None) };
        let Ok(opened) = sealed.open(&[], &self.context.own.id, &key) else {
            return Ok(Some((Wrong::PayloadBroken, "it does not open with the key of its slot")));
        };
        let naming = &self.context.own.naming;
        let named = opened.openings.first().and_then(|(field, o)| match read_content(*field, &o.content)? {
            Value::Text(text) => Some(naming.subject_pseudonym(&SubjectId::parse(&text).ok()?)),
            _ => None,
        });
        let other = version == row.newest && row.subject.is_some() && row.subject != named;
        Ok(other.then_some((Wrong::PayloadBroken, "the row names another subject")))
    }

    /// The `Recorded` entry at an index. Slots rise with entries, so the next one mostly lies in the same bundle.
    fn recorded(&mut self, index: u64) -> Result<Option<Recorded>, Fault> {
        let first = index - index % BUNDLE;
        if self.bundle.0 != first {
            let name = LogName::Records.as_str();
            self.bundle = (first, log::entries(self.view, name, LeafIndex(first), BUNDLE as usize)?);
        }
        let bytes = self.bundle.1.get((index - first) as usize);
        Ok(bytes.and_then(|bytes| Entry::from_bytes(bytes).ok()).and_then(|entry| match entry.fact {
            Fact::Recorded(recorded) => Some(recorded),
            _ => None,
        }))
    }
}

/// One log while it is read.
struct Reading<'a> {
    owner: &'a MemberId,
    name: LogName,
    place: &'a str,
    prev: Digest,
    /// Index of the first, and leaf hashes since the last run.
    leaves: (u64, Vec<Digest>),
    scratch: &'a dyn Store,
    kept: Overlay<'a>,
    failed: Option<Fault>,
}

impl Reading<'_> {
    /// Makes the rows that follow from an entry.
    fn project(
        &mut self,
        context: &Context,
        index: u64,
        entry: &Entry,
        fact: Option<&StatusFact>,
    ) -> Result<(), Halt> {
        let mut turn = Turn::new(Timestamp(0), &self.kept, BTreeMap::new());
        if *self.owner == context.own.id {
            project::own(context, &mut turn, self.name, index, entry)?;
        } else if let Some(fact) = fact {
            let told = Told { index, at: entry.at };
            project::status(context, &mut turn, self.owner, fact, told)?;
        }
        let Kept { rows, .. } = turn.finish();
        self.kept.absorb(rows);
        Ok(())
    }

    /// Writes what was made into the scratch store.
    fn write(&mut self) {
        let scratch = self.scratch;
        let batch = core::mem::replace(&mut self.kept, Overlay::new(scratch)).into_batch();
        if !batch.is_empty() && self.failed.is_none() {
            self.failed = scratch.apply(&batch).err().map(Fault::from);
        }
    }
}

/// Pages through one space.
struct Rows<'a> {
    space: Space,
    view: &'a dyn View,
    page: std::vec::IntoIter<Pair>,
    from: Vec<u8>,
    over: bool,
}

impl<'a> Rows<'a> {
    fn new(space: Space, view: &'a dyn View) -> Self {
        Self { space, view, page: Vec::new().into_iter(), from: Vec::new(), over: false }
    }

    fn next(&mut self) -> Result<Option<Pair>, StoreError> {
        if let Some(pair) = self.page.next() {
            return Ok(Some(pair));
        }
        if self.over {
            return Ok(None);
        }
        let page = self.view.scan(self.space, &self.from, None, PAGE)?;
        self.over = page.len() < PAGE;
        if let Some((last, _)) = page.last() {
            // The key right after it.
            self.from = [last.as_slice(), &[0]].concat();
        }
        self.page = page.into_iter();
        Ok(self.page.next())
    }
}

/// Whether a stored value that merges holds what was made again; it may hold newer news too. Errors: it does not read.
fn includes<T>(key: &[u8], stored: &[u8], made: Option<&[u8]>, merge: fn(T, T) -> T) -> Result<bool, Fault>
where
    T: Clone + PartialEq + minicbor::Encode<()> + for<'b> minicbor::Decode<'b, ()>,
{
    let stored: T = decode(key, stored)?;
    Ok(match made {
        Some(made) => merge(stored.clone(), decode(key, made)?) == stored,
        None => true,
    })
}

fn row_place(table: &str, rest: &[u8]) -> String {
    format!("row {table} {}", codec::hex(&rest[..rest.len().min(40)]))
}
