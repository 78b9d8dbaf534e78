//! What must hold after every step, decided from the logs' entries alone and by rules written a second time.
//!
//! The checker knows what no member knows: every entry that ever became durable, every grant and question, every value
//! that was sealed. It never asks a member's projections; where it looks at a disk it compares.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use credit::{
    catalog::{Catalog, FieldClass, Mode},
    csv::PlainRecord,
    entry::{AskedBy, Changed, Entry, Fact, StatusFact},
    grant::Grant,
    id::{FieldId, MemberId, RecordId},
    policy::Role,
    question::Question,
    record::RecordFacts,
    rules::AuthorityKind,
    status::{Change, Standing, Status},
    subject::SubjectId,
    value::Value,
};
use crypto::{
    Digest, Timestamp,
    merkle::leaf_hash,
    sign::{Verified, VerifyingKey},
};
use exchange::{
    answer::{Answer, OpenedAnswer, Plan},
    limits::ASK_AGAIN_MS_MAX,
    logs::LogName,
    receipt::Receipt,
    registry::Registry,
    wire::{Outcome, Request, Response},
    witness,
};
use ledger::{
    checkpoint::{Checkpoint, SignedCheckpoint},
    log,
    note::NoteKey,
    proof::{verify_consistency, verify_inclusion},
    tree::{LeafIndex, TreeSize},
};

use super::{
    Broken, Check,
    disk::{CANARY, Disk, SUBJECT_PREFIX, contains},
    federation::Node,
    twins::Pairs,
};
use crate::oracle;

type LogId = (usize, LogName);

/// One log as it ever was.
#[derive(Default)]
struct Truth {
    bytes: Vec<Vec<u8>>,
    entries: Vec<Entry>,
    /// What its signed statements say, entry by entry.
    facts: Vec<Option<StatusFact>>,
    /// Entries on the owner's disk at the last look.
    durable: usize,
    /// Roots by size, computed by the oracle.
    roots: BTreeMap<usize, Digest>,
}

impl Truth {
    fn root(&mut self, size: usize) -> Option<Digest> {
        if size > self.bytes.len() {
            return None;
        }
        Some(*self.roots.entry(size).or_insert_with(|| oracle::root(&self.bytes[..size])))
    }
}

/// Everything the checks need to know.
pub struct Checker {
    pub(super) members: Vec<(MemberId, Role)>,
    /// The newest version: it knows every key that any member has had.
    pub registry: Arc<Registry>,
    pub(super) catalog: Arc<Catalog>,
    logs: BTreeMap<LogId, Truth>,
    receipts: Vec<Receipt>,
    known: BTreeSet<(MemberId, LogName, u64, u64)>,
    next_receipt: usize,
    questions: BTreeMap<Digest, Question>,
    pub(super) grants: BTreeMap<Digest, Grant>,
    contents: BTreeMap<RecordId, Vec<BTreeMap<FieldId, Value>>>,
    about: BTreeMap<RecordId, (SubjectId, AuthorityKind)>,
    /// Records that two platforms of a region hold, each as its own.
    pub(super) pairs: Pairs,
    opened: BTreeSet<(MemberId, RecordId)>,
    /// Answers decided earlier may still be on their way; they are not what is asked about now.
    opened_since: Timestamp,
    /// The last member is another one's second face.
    pub(super) twin: bool,
    /// Sizes that witnesses have cosigned, each with its time in seconds.
    cosigned: BTreeMap<(MemberId, String), Vec<(u64, u64)>>,
    /// How far each member's clock is ahead.
    pub(super) ahead_ms: BTreeMap<MemberId, u64>,
    /// Who has standings under whom on its disk that the log does not say, and may not have mended them yet: it would publish
    /// by them.
    pub(super) damaged: Option<(usize, usize)>,
    /// Everything has come to rest: what any authority has decided counts, verified or not.
    pub strict: bool,
}

impl Checker {
    /// A checker of a federation that has not begun.
    pub fn new(nodes: &[Node]) -> Self {
        let context = &nodes[0].context;
        let ids = (0..nodes.len()).flat_map(|at| LogName::ALL.into_iter().map(move |log| (at, log)));
        Self {
            members: nodes.iter().map(|n| (n.id.clone(), n.role)).collect(),
            registry: context.registry.clone(),
            catalog: context.catalog.clone(),
            logs: ids.map(|id| (id, Truth::default())).collect(),
            receipts: Vec::new(),
            known: BTreeSet::new(),
            next_receipt: 0,
            questions: BTreeMap::new(),
            grants: BTreeMap::new(),
            contents: BTreeMap::new(),
            about: BTreeMap::new(),
            pairs: Pairs::default(),
            opened: BTreeSet::new(),
            opened_since: Timestamp(0),
            twin: false,
            cosigned: BTreeMap::new(),
            ahead_ms: nodes.iter().map(|n| (n.id.clone(), n.ahead_ms)).collect(),
            damaged: None,
            strict: false,
        }
    }

    /// From now on the member has two histories; the second is that of the node at the end.
    pub fn forked(&mut self, twin: &Node) {
        let at = self.members.len();
        self.members.push((twin.id.clone(), twin.role));
        self.logs.extend(LogName::ALL.into_iter().map(|log| ((at, log), Truth::default())));
        self.twin = true;
    }

    /// Whether a history of the log, as the member at `at` ever had it, has this root at this size.
    pub fn is_past(&mut self, at: usize, log: LogName, size: u64, root: Digest) -> bool {
        self.logs.get_mut(&(at, log)).and_then(|t| t.root(size as usize)) == Some(root)
    }

    /// (g) A witness's cosignature leaves: it never cosigns less than it has cosigned before.
    pub fn cosigned(&mut self, by: &MemberId, note: &SignedCheckpoint, line: &str) -> Result<(), Broken> {
        let Checkpoint { origin, size, .. } = note.claimed();
        let broken = |what: String| Broken::new(Check::Witness, format!("`{by}` about {origin}: {what}"));
        let member = self.registry.members.iter().find(|m| m.stated.id == *by);
        let keys = member
            .into_iter()
            .flat_map(|m| core::iter::once(m.stated.witness).chain(m.past.iter().map(|past| past.witness)));
        let name = witness::name(&self.registry.federation, by);
        let keys = keys.filter_map(|key| VerifyingKey::from_bytes(key.0));
        let keys = keys.map(|key| NoteKey { name: name.clone(), key });
        let found =
            keys.map(|key| (note.with_cosignature(line, &key), key)).find(|(cosigned, _)| cosigned.is_ok());
        let Some((Ok(cosigned), key)) = found else { return Err(broken("not by a key it has had".into())) };
        let time =
            cosigned.note().and_then(|n| n.verify_cosignature(&key)).map_err(|e| broken(e.to_string()))?;
        let all = self.cosigned.entry((by.clone(), origin.clone())).or_default();
        if let Some((then, more)) =
            all.iter().find(|(t, s)| (*t < time && *s > size.0) || (*t > time && *s < size.0))
        {
            return Err(broken(format!("cosigns {size} entries at {time} s, and {more} at {then} s")));
        }
        all.push((time, size.0));
        Ok(())
    }

    /// A question was signed.
    pub fn asked(&mut self, digest: Digest, question: Question) {
        self.questions.insert(digest, question);
    }

    /// A grant was signed.
    pub fn granted(&mut self, digest: Digest, grant: Grant) {
        self.grants.insert(digest, grant);
    }

    /// A row was sealed as a record.
    pub fn sealed(&mut self, facts: &RecordFacts, plain: &PlainRecord) {
        self.contents.entry(facts.record).or_default().push(plain.fields.clone());
        self.about.insert(facts.record, (plain.subject.clone(), facts.kind));
    }

    /// The subject of a record, and whose rules its decision falls under.
    pub fn about(&self, record: &RecordId) -> Option<&(SubjectId, AuthorityKind)> {
        self.about.get(record)
    }

    /// Entries of all logs.
    pub fn entries(&self) -> u64 {
        self.logs.values().map(|t| t.bytes.len() as u64).sum()
    }

    /// Entries of a member's own status log: what it has verified stands in front of them.
    pub fn standing_of(&self, at: usize) -> usize {
        self.logs.get(&(at, LogName::Status)).map_or(0, |t| t.entries.len())
    }

    /// Every entry of a log, decoded.
    pub fn log(&self, at: usize, log: LogName) -> &[Entry] {
        self.logs.get(&(at, log)).map_or(&[], |t| &t.entries)
    }

    /// Every entry of a log, as bytes.
    pub fn bytes(&self, at: usize, log: LogName) -> &[Vec<u8>] {
        self.logs.get(&(at, log)).map_or(&[], |t| &t.bytes)
    }

    /// After a member's step: (a) its logs have grown by appending, and its checkpoints are the oracle's; (f) nothing
    /// planted was written; (k), (l) it has said nothing that it may not; (b) one more receipt of old is still of these logs. Its signature was verified when it was
    /// issued, and is once more in the end: in between neither the receipt nor the key can change.
    pub fn stepped(&mut self, node: &Node, at: usize) -> Result<(), Broken> {
        self.grow(node, at)?;
        if let Some(what) = node.disk.leak() {
            return Err(Broken::new(
                Check::Canary,
                format!("a planted value is on the disk of `{}`: {what}", node.id),
            ));
        }
        if !self.receipts.is_empty() {
            self.next_receipt = (self.next_receipt + 1) % self.receipts.len();
            let receipt = self.receipts[self.next_receipt].clone();
            self.held(&receipt)?;
        }
        Ok(())
    }

    /// After a start: the disk holds a beginning of what was ever durable.
    pub fn reopened(&mut self, node: &Node, at: usize) -> Result<(), Broken> {
        for name in LogName::ALL {
            if let Some(truth) = self.logs.get_mut(&(at, name)) {
                truth.durable = 0;
            }
        }
        self.grow(node, at)
    }

    /// Takes in what a member's logs have grown by, and looks at what it has said.
    fn grow(&mut self, node: &Node, at: usize) -> Result<(), Broken> {
        let from = self.standing_of(at);
        for name in LogName::ALL {
            self.grown(&node.disk, at, name)?;
        }
        self.admitted(at, from)?;
        self.taken_down(at, from)?;
        self.paired(node, at, from)
    }

    fn grown(&mut self, disk: &Disk, at: usize, name: LogName) -> Result<(), Broken> {
        let owner = self.members[at].0.clone();
        let Some(truth) = self.logs.get_mut(&(at, name)) else { return Ok(()) };
        let broken = |what: String| Broken::new(Check::Consistent, format!("`{owner}/{name}`: {what}"));
        let head = log::head(disk, name.as_str()).map_err(|e| broken(e.to_string()))?;
        let Some(head) = head else { return Ok(()) };
        let size = head.claimed().size.0 as usize;
        if size == truth.durable {
            return Ok(());
        }
        let first = truth.durable.min(size);
        let fresh = log::entries(disk, name.as_str(), LeafIndex(first as u64), size - first)
            .map_err(|e| broken(e.to_string()))?;
        for (index, bytes) in (first..).zip(fresh) {
            match truth.bytes.get(index) {
                Some(known) if *known == bytes => {}
                Some(_) => return Err(broken(format!("entry {index} is another than it was"))),
                None => {
                    let entry =
                        Entry::from_bytes(&bytes).map_err(|e| broken(format!("entry {index}: {e}")))?;
                    let before = truth.bytes.last().map_or(Digest::ZERO, |b| leaf_hash(b));
                    if entry.prev != before {
                        return Err(broken(format!("entry {index} does not name the one before it")));
                    }
                    let fact = match &entry.fact {
                        Fact::Status(signed) => {
                            Some(self.registry.verify_logged(signed).map_err(|r| broken(r.to_string()))?)
                        }
                        _ => None,
                    };
                    truth.bytes.push(bytes);
                    truth.entries.push(entry);
                    truth.facts.push(fact.map(Verified::into_inner));
                }
            }
        }
        truth.durable = size;
        if truth.root(size) != Some(head.claimed().root) {
            return Err(broken(format!("the checkpoint at {size} has not the root of the entries")));
        }
        Ok(())
    }

    /// (c) An effect that speaks of an entry is let out: the entry is on the disk, under the checkpoint.
    pub fn durable(&self, at: usize, name: LogName, index: u64, node: &Node) -> Result<(), Broken> {
        let stored = log::entry(&node.disk, name.as_str(), LeafIndex(index)).ok().flatten();
        let size = log::size(&node.disk, name.as_str()).map_or(0, |s| s.0);
        let truth = self.logs.get(&(at, name)).and_then(|t| t.bytes.get(index as usize));
        if index >= size || stored.is_none() || stored.as_ref() != truth {
            let what = format!("`{}/{name}`: an effect leaves before entry {index} is durable", node.id);
            return Err(Broken::new(Check::Durable, what));
        }
        Ok(())
    }

    /// A request leaves.
    pub fn request(&mut self, request: &Request, frame: &[u8]) -> Result<(), Broken> {
        // The question names its subject to whom it is put; nothing else does.
        self.canary(frame, matches!(request, Request::Ask(_)))?;
        match request {
            Request::Notice(receipt) => self.receipt(receipt),
            Request::Push(answer) => self.answer(answer),
            _ => Ok(()),
        }
    }

    /// A response leaves.
    pub fn response(&mut self, response: &Response, frame: &[u8]) -> Result<(), Broken> {
        self.canary(frame, false)?;
        match response {
            Response::Receipt(receipt) => self.receipt(receipt),
            Response::Answer(answer) => self.answer(answer),
            Response::Parts(parts) => parts.iter().try_for_each(|part| match &part.outcome {
                Outcome::Answered(answer) => self.answer(answer),
                _ => Ok(()),
            }),
            Response::Entries { checkpoint: Some(note), .. } => self.checkpoint(note),
            Response::Heads { heads, .. } => heads.iter().try_for_each(|note| self.checkpoint(note)),
            _ => Ok(()),
        }
    }

    fn canary(&self, frame: &[u8], question: bool) -> Result<(), Broken> {
        if contains(frame, CANARY) || (!question && contains(frame, SUBJECT_PREFIX)) {
            return Err(Broken::new(Check::Canary, "a planted value is in a frame"));
        }
        Ok(())
    }

    fn answer(&mut self, answer: &Answer) -> Result<(), Broken> {
        if let Some(note) = &answer.checkpoint {
            self.checkpoint(note)?;
        }
        self.receipt(&answer.access)
    }

    /// (a) A checkpoint that anybody sees has the root of the entries that its owner has ever shown.
    fn checkpoint(&mut self, note: &SignedCheckpoint) -> Result<(), Broken> {
        let claimed = note.claimed();
        let parts: Vec<&str> = claimed.origin.split('/').collect();
        let faces: Vec<usize> = (0..self.members.len())
            .filter(|at| parts.get(2).is_some_and(|id| self.members[*at].0.as_str() == *id))
            .collect();
        let name = parts.get(3).and_then(|log| LogName::parse(log));
        let broken = |what: &str| {
            Broken::new(Check::Consistent, format!("{} at {}: {what}", claimed.origin, claimed.size))
        };
        let Some(name) = name.filter(|_| !faces.is_empty()) else { return Err(broken("is of no log")) };
        let mut why = "covers entries that were never durable";
        for at in faces {
            match self.logs.get_mut(&(at, name)).and_then(|t| t.root(claimed.size.0 as usize)) {
                Some(root) if root == claimed.root => return Ok(()),
                Some(_) => why = "contradicts an earlier checkpoint",
                None => {}
            }
        }
        Err(broken(why))
    }

    /// A receipt is issued; from now on it must always verify.
    fn receipt(&mut self, receipt: &Receipt) -> Result<(), Broken> {
        self.checkpoint(&receipt.checkpoint)?;
        let size = receipt.checkpoint.claimed().size.0;
        if self.known.insert((receipt.member.clone(), receipt.log, receipt.index, size)) {
            self.verify(receipt)?;
            self.receipts.push(receipt.clone());
        }
        Ok(())
    }

    /// (b) Signature and path hold, and the entry is the one in the log.
    fn verify(&self, receipt: &Receipt) -> Result<(), Broken> {
        let broken = |what: String| Broken::new(Check::Receipts, format!("{receipt:?}: {what}"));
        receipt.verify(&self.registry).map_err(|r| broken(r.to_string()))?;
        self.entry_of(receipt)
    }

    /// (b) The checkpoint is one of the log's, and the entry is the one in the log.
    fn held(&mut self, receipt: &Receipt) -> Result<(), Broken> {
        self.checkpoint(&receipt.checkpoint)?;
        self.entry_of(receipt)
    }

    fn entry_of(&self, receipt: &Receipt) -> Result<(), Broken> {
        let broken = |what: String| Broken::new(Check::Receipts, format!("{receipt:?}: {what}"));
        let faces = (0..self.members.len()).filter(|at| self.members[*at].0 == receipt.member);
        let mut known = faces.filter_map(|at| self.bytes(at, receipt.log).get(receipt.index as usize));
        if !known.any(|bytes| bytes[..] == receipt.entry.0[..]) {
            return Err(broken("the entry is not in the log".to_owned()));
        }
        Ok(())
    }

    /// (b) once more for every receipt, and that the log of today extends the one of each receipt: by the ledger's own
    /// proofs and by the oracle's.
    pub fn all_receipts(&self, nodes: &[Node]) -> Result<u64, Broken> {
        for receipt in &self.receipts {
            self.verify(receipt)?;
            let Some(at) = nodes.iter().position(|n| n.id == receipt.member) else { continue };
            let broken = |what: String| Broken::new(Check::Receipts, format!("{receipt:?}: {what}"));
            let (disk, name) = (&nodes[at].disk, receipt.log.as_str());
            let then = receipt.checkpoint.claimed();
            let now =
                log::head(disk, name).ok().flatten().ok_or_else(|| broken("no checkpoint".to_owned()))?;
            let now = now.claimed();
            let proof =
                log::consistency(disk, name, then.size, now.size).map_err(|e| broken(e.to_string()))?;
            verify_consistency(then.size, now.size, &then.root, &now.root, &proof)
                .map_err(|e| broken(e.to_string()))?;
            let all = &self.bytes(at, receipt.log)[..now.size.0 as usize];
            let path = oracle::inclusion(all, receipt.index as usize).unwrap_or_default();
            let stored = log::inclusion(disk, name, LeafIndex(receipt.index), now.size);
            if stored.as_ref() != Ok(&path) {
                return Err(broken("the log's path is not the oracle's".to_owned()));
            }
            let (index, size) = (LeafIndex(receipt.index), TreeSize(now.size.0));
            verify_inclusion(index, size, &leaf_hash(&receipt.entry), &now.root, &path)
                .map_err(|e| broken(e.to_string()))?;
        }
        Ok(self.receipts.len() as u64)
    }

    /// The statements of a member's status log, entry by entry.
    pub fn statements(&self, at: usize) -> impl Iterator<Item = &StatusFact> {
        let facts = self.logs.get(&(at, LogName::Status)).map_or(&[][..], |t| &t.facts);
        facts.iter().flatten()
    }

    /// Events of `origin` that a member has acknowledged, each with the time of the entry that says so.
    pub fn acknowledged(&self, at: usize, origin: &MemberId) -> Vec<(u64, Timestamp)> {
        let Some(truth) = self.logs.get(&(at, LogName::Status)) else { return Vec::new() };
        let entries = truth.entries.iter().zip(&truth.facts);
        entries
            .filter_map(|(entry, fact)| match fact {
                Some(StatusFact::Acknowledged(a)) if a.origin == *origin => Some((a.index, entry.at)),
                _ => None,
            })
            .collect()
    }

    /// Every statement of `origin` that member `at` had verified when its own status log had `before` entries: all of
    /// its own, and what it has acknowledged of others'.
    pub(super) fn verified(&self, at: usize, origin: usize, before: usize) -> Vec<&StatusFact> {
        if at == origin {
            return self.statements(at).take(before).collect();
        }
        let theirs: Vec<&StatusFact> = self.statements(origin).collect();
        if self.strict {
            return theirs;
        }
        let acknowledged: BTreeSet<u64> = self
            .statements(at)
            .take(before)
            .filter_map(|fact| match fact {
                StatusFact::Acknowledged(a) if a.origin == self.members[origin].0 => Some(a.index),
                _ => None,
            })
            .collect();
        acknowledged.into_iter().filter_map(|i| theirs.get(i as usize).copied()).collect()
    }

    /// (d) An answer leaves member `at`, decided from the plan. `before` is as for [`Checker::standing_of`].
    pub fn disclosed(&self, at: usize, plan: &Plan, now: Timestamp, before: usize) -> Result<(), Broken> {
        // Who was shown which history of a liar this checker does not know, and so not what each had verified.
        if self.twin {
            return Ok(());
        }
        let me = &self.members[at].0;
        let broken = |what: String| {
            Broken::new(Check::Disclosure, format!("`{me}`, access entry {}: {what}", plan.index))
        };
        let access = self.log(at, LogName::Access);
        let fact = access.get(plan.index as usize).map(|e| &e.fact);
        let (asked, disclosed, judged): (&AskedBy, _, _) = match fact {
            Some(Fact::Disclosed(d)) => (&d.asked, &d.records[..], &d.checks[..]),
            Some(Fact::Refused(r)) => (&r.asked, &[][..], &[][..]),
            _ => return Err(broken("is no decision about a question".to_owned())),
        };
        let Some(question) = self.questions.get(&asked.question) else {
            return Err(broken("answers a question nobody signed".to_owned()));
        };
        // What was decided in time may be told again for a day.
        let decided = access.get(plan.index as usize).map_or(now, |entry| entry.at);
        if decided > question.deadline || now > question.deadline.plus_ms(ASK_AGAIN_MS_MAX) {
            return Err(broken("answers after the deadline".to_owned()));
        }
        if plan.records.len() != disclosed.len() {
            return Err(broken("opens other records than it logs".to_owned()));
        }
        for (planned, logged) in plan.records.iter().zip(disclosed) {
            let recorded = match self.log(at, LogName::Records).get(planned.version as usize).map(|e| &e.fact)
            {
                Some(Fact::Recorded(recorded)) if planned.version == logged.version => recorded,
                _ => return Err(broken("opens another record than it logs".to_owned())),
            };
            let record = recorded.record;
            let status = self.status_seen(at, &recorded.authority, &record, before);
            if !status.disclosable() {
                return Err(broken(format!(
                    "discloses `{record}`, which it knows to be {}",
                    status.as_str()
                )));
            }
            if self.erased(at).contains(&record) {
                return Err(broken(format!("discloses `{record}`, which it has erased")));
            }
            if question_of_bank(&self.members, question) && recorded.authority != *me {
                return Err(broken(format!("gives a bank its copy of a record of `{}`", recorded.authority)));
            }
            let fields: Vec<FieldId> = logged.fields.iter().map(|f| f.field).collect();
            if fields != planned.fields.iter().map(|f| f.0).collect::<Vec<_>>() {
                return Err(broken("opens other fields than it logs".to_owned()));
            }
            for field in fields {
                self.granted_field(at, question, asked, &recorded.item, field, now, (before, plan.index))
                    .map_err(|why| broken(format!("discloses field {field} of `{record}`: {why}")))?;
            }
        }
        if plan.checks.len() != judged.len() || plan.openings.len() != judged.len() {
            return Err(broken("tells other outcomes than it logs".to_owned()));
        }
        for (planned, logged) in plan.checks.iter().zip(judged) {
            self.granted_field(at, question, asked, &logged.item, logged.field, now, (before, plan.index))
                .map_err(|why| broken(format!("judges field {} of {}: {why}", logged.field, logged.item)))?;
            for version in &planned.versions {
                let entry = self.log(at, LogName::Records).get(version.index as usize).map(|e| &e.fact);
                let Some(Fact::Recorded(recorded)) = entry else {
                    return Err(broken("judges what is no record".to_owned()));
                };
                let status = self.status_seen(at, &recorded.authority, &recorded.record, before);
                let third_party = question_of_bank(&self.members, question) && recorded.authority != *me;
                if !status.disclosable() || third_party || self.erased(at).contains(&recorded.record) {
                    let record = recorded.record;
                    return Err(broken(format!("judges on `{record}`, which is {}", status.as_str())));
                }
            }
        }
        Ok(())
    }

    /// (d) A push leaves member `at`: what is public of an own record that may be disclosed, as its entry says.
    pub fn pushed(&self, at: usize, plan: &Plan) -> Result<(), Broken> {
        let me = &self.members[at].0;
        let broken = |what: &str| {
            Broken::new(Check::Disclosure, format!("`{me}`, access entry {}, {what}", plan.index))
        };
        let logged = self.log(at, LogName::Access).get(plan.index as usize).map(|e| &e.fact);
        let (Some(Fact::Pushed(pushed)), [planned]) = (logged, &plan.records[..]) else {
            return Err(broken("pushes without an entry"));
        };
        let records = self.log(at, LogName::Records);
        let recorded = match records.get(planned.version as usize).map(|e| &e.fact) {
            Some(Fact::Recorded(r)) if planned.version == pushed.version && r.authority == *me => r,
            _ => return Err(broken("pushes another record than it logs")),
        };
        if recorded.record != pushed.record || plan.asker != pushed.to {
            return Err(broken("pushes another record, or elsewhere"));
        }
        let fields: Vec<FieldId> = planned.fields.iter().map(|f| f.0).collect();
        let item = self.catalog.item(&recorded.item);
        let public = |field: &FieldId| {
            item.and_then(|i| i.field(*field))
                .is_some_and(|f| f.class == FieldClass::Public && f.mode == Mode::Value)
        };
        if fields != pushed.fields || !fields.iter().all(public) {
            return Err(broken("pushes fields that are not public, or others than it logs"));
        }
        if self.erased(at).contains(&pushed.record) {
            return Err(broken("pushes what it has erased"));
        }
        self.publishable(at, me, &pushed.record)
    }

    /// Member `at` would publish a record, or have it published: nothing that it has verified speaks against it.
    pub fn publishable(&self, at: usize, authority: &MemberId, record: &RecordId) -> Result<(), Broken> {
        let status = self.status_seen(at, authority, record, usize::MAX);
        let damaged = self.damaged.is_some_and(|(by, of)| by == at && self.members[of].0 == *authority);
        if self.twin || damaged || status.disclosable() {
            return Ok(());
        }
        let what = format!(
            "`{}` would publish `{record}`, which it knows to be {}",
            self.members[at].0,
            status.as_str()
        );
        Err(Broken::new(Check::Disclosure, what))
    }

    /// What a member knows a record to stand at.
    pub(super) fn status_seen(
        &self,
        at: usize,
        authority: &MemberId,
        record: &RecordId,
        before: usize,
    ) -> Status {
        let Some(origin) = self.members.iter().position(|(id, _)| id == authority) else {
            return Status::Active;
        };
        oracle::standing(&changes_of(self.verified(at, origin, before), record))
    }

    /// Every record's standing by the whole of one authority's log.
    pub fn standings(&self, origin: usize) -> BTreeMap<RecordId, Status> {
        let changes: Vec<(RecordId, Change)> = self
            .statements(origin)
            .filter_map(|fact| match fact {
                StatusFact::Changed(Changed { record, change, .. }) => Some((*record, *change)),
                _ => None,
            })
            .collect();
        oracle::standings(&changes)
    }

    /// Records that a member's log says have come to an end.
    pub fn ended(&self, at: usize) -> BTreeSet<RecordId> {
        let ended = self.statements(at).filter_map(|fact| match fact {
            StatusFact::Changed(c) if Standing::of(c.change, 0).has_ended() => Some(c.record),
            _ => None,
        });
        ended.collect()
    }

    /// Records a member has ever erased.
    pub fn erased(&self, at: usize) -> BTreeSet<RecordId> {
        let records = self.log(at, LogName::Records).iter();
        records
            .filter_map(|e| match &e.fact {
                Fact::Erased(erased) => Some(erased.record),
                _ => None,
            })
            .collect()
    }

    /// Records a member has collected, each with its authority.
    pub fn collected(&self, at: usize) -> BTreeMap<RecordId, MemberId> {
        let records = self.log(at, LogName::Records).iter();
        records
            .filter_map(|e| match &e.fact {
                Fact::Recorded(r) => Some((r.record, r.authority.clone())),
                _ => None,
            })
            .collect()
    }

    /// An asker has opened and verified an answer: every value is one that was sealed.
    pub fn opened(&mut self, answer: &OpenedAnswer) -> Result<(), Broken> {
        for record in &answer.records {
            let values: Vec<_> = record
                .fields
                .iter()
                .filter(|f| f.mode == Mode::Value)
                .map(|f| (&f.field, &f.value))
                .collect();
            let known = self.contents.get(&record.record);
            let one = known.is_some_and(|versions| {
                versions.iter().any(|fields| values.iter().all(|(f, v)| fields.get(f) == Some(*v)))
            });
            if !one {
                let what = format!(
                    "`{}` answers with values of `{}` that nobody sealed",
                    answer.member, record.record
                );
                return Err(Broken::new(Check::Disclosure, what));
            }
            let ahead = self.ahead_ms.get(&answer.member).copied().unwrap_or(0);
            if answer.at.0 >= self.opened_since.0 + ahead {
                self.opened.insert((answer.member.clone(), record.record));
            }
        }
        Ok(())
    }

    /// What was opened of answers decided since the last call.
    pub fn take_opened(&mut self, now: Timestamp) -> BTreeSet<(MemberId, RecordId)> {
        self.opened_since = now;
        core::mem::take(&mut self.opened)
    }
}

fn changes_of(facts: Vec<&StatusFact>, record: &RecordId) -> Vec<Change> {
    facts
        .into_iter()
        .filter_map(|fact| match fact {
            StatusFact::Changed(changed) if changed.record == *record => Some(changed.change),
            _ => None,
        })
        .collect()
}

pub(super) fn question_of_bank(members: &[(MemberId, Role)], question: &Question) -> bool {
    !members.iter().any(|(id, role)| *id == question.asker && role.collects())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::federation::build;
    use ledger::note;

    #[test]
    fn a_witness_that_cosigns_less_than_before_is_seen() {
        let nodes = build(1, 2, Timestamp(1_778_030_000_000));
        let mut checker = Checker::new(&nodes);
        let (owner, by) = (&nodes[0].context, &nodes[1].context);
        let origin = LogName::Access.origin(&owner.registry.federation, &owner.own.id);
        let mut cosigned = |size, time_s| {
            let checkpoint = Checkpoint { origin: origin.clone(), size: TreeSize(size), root: Digest::ZERO };
            let name = witness::name(&by.registry.federation, &by.own.id);
            let line = note::cosign(&checkpoint.text(), &name, &by.own.witness, time_s);
            checker.cosigned(&by.own.id, &checkpoint.sign(&owner.own.signing), &line)
        };
        assert_eq!(cosigned(5, 10), Ok(()));
        assert_eq!(cosigned(7, 12), Ok(()));
        assert_eq!(cosigned(5, 11), Ok(()));
        assert_eq!(cosigned(6, 13).map_err(|b| b.check), Err(Check::Witness));
    }
}
