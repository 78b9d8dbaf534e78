//! What the parts of taking a record in cost alone, on one thread; and what the engine costs with rows of the same
//! number and size.

use std::{hint::black_box, path::Path, time::Instant};

use ::node::{Problem, clock, store::DiskStore};
use credit::{
    catalog::Catalog,
    entry::{Batch as Statement, Entry, Fact, Recorded, RowCounts},
    id::MemberId,
    record::{Contents, NamingKeys, RecordFacts, SealedRecord},
    rules::AuthorityKind,
};
use crypto::{
    Digest, codec,
    keytree::{KeyTree, Slot},
    merkle,
    sign::{Signed, SigningKey},
};
use ledger::store::{Batch, Space, Store};

use super::ingest::{Penalties, item, source};

/// Cost of each part in microseconds per record.
pub(super) struct Costs {
    pub(super) naming: f64,
    pub(super) keys: f64,
    pub(super) sealing: f64,
    pub(super) encoding: f64,
    pub(super) hashing: f64,
    pub(super) signature: f64,
    /// Mean size of what is stored, in bytes: entry, payload.
    pub(super) sizes: (usize, usize),
}

impl Costs {
    /// Everything but the engine, on one core.
    pub(super) fn sum(&self) -> f64 {
        self.naming + self.keys + self.sealing + self.encoding + self.hashing + self.signature
    }
}

/// Measures over `count` records, signed in runs of `batch`.
pub(super) fn measure(penalties: &Penalties, count: u64, batch: u64) -> Result<Costs, Problem> {
    let (catalog, none) = (Catalog::builtin(), || Problem::fault("no member id"));
    let item = item(&catalog)?;
    let member = MemberId::parse("sh").ok_or_else(none)?;
    let source = source()?;
    let naming = NamingKeys { record: clock::secret(), pepper: clock::secret() };
    let tree = KeyTree::new(clock::secret());
    let per = |start: Instant| start.elapsed().as_secs_f64() * 1e6 / count as f64;
    let plains: Vec<_> = (0..count).map(|n| penalties.record(n)).collect();

    let start = Instant::now();
    let facts: Vec<(Contents, RecordFacts)> = plains
        .iter()
        .zip(0..)
        .map(|(plain, slot)| {
            let contents = Contents::of(plain);
            black_box(naming.subject_tag(&plain.subject));
            let facts = RecordFacts {
                record: naming.record_id(&member, &item.id, &plain.document, &plain.subject),
                item: item.id.clone(),
                catalog: catalog.version(),
                authority: member.clone(),
                slot: Slot(slot),
                decided: plain.decided,
                tier: None,
                kind: AuthorityKind::GENERAL,
                published: None,
                ended: None,
                until: None,
                content: naming.content_tag(&contents),
            };
            (contents, facts)
        })
        .collect();
    let naming = per(start);

    let start = Instant::now();
    let keys: Vec<_> = (0..count).step_by(1_000).flat_map(|first| tree.keys(Slot(first), 1_000)).collect();
    let key_cost = per(start);

    let start = Instant::now();
    let sealed: Vec<SealedRecord> = facts
        .into_iter()
        .zip(keys)
        .filter_map(|((contents, facts), key)| Some(SealedRecord::seal(&contents, facts, &member, &key?)))
        .collect();
    let sealing = per(start);

    let start = Instant::now();
    let mut prev = Digest::ZERO;
    let encoded: Vec<(Vec<u8>, Vec<u8>)> = sealed
        .iter()
        .map(|sealed| {
            let facts = &sealed.facts;
            let recorded = Recorded {
                record: facts.record,
                item: facts.item.clone(),
                catalog: facts.catalog,
                authority: facts.authority.clone(),
                slot: facts.slot,
                fields_root: sealed.fields_root,
                supersedes: None,
            };
            let entry = Entry { prev, at: clock::now(), fact: Fact::Recorded(recorded) };
            // The chain's link only has to be 32 bytes here; hashing is counted below.
            prev = sealed.fields_root;
            (entry.to_bytes(), codec::to_vec(sealed))
        })
        .collect();
    let encoding = per(start);

    // Each entry is hashed for its link, for the tree, and again from the bytes about to be stored.
    let start = Instant::now();
    for run in encoded.chunks(batch as usize) {
        let leaves: Vec<Digest> = run
            .iter()
            .map(|(entry, _)| {
                black_box((merkle::leaf_hash(entry), merkle::leaf_hash(entry)));
                merkle::leaf_hash(entry)
            })
            .collect();
        black_box((merkle::root(&leaves), merkle::root(&leaves)));
    }
    let hashing = per(start);

    // The batch's statement, and the checkpoint over it.
    let key = SigningKey::from_seed(&clock::secret());
    let start = Instant::now();
    for first in (0..count).step_by(batch as usize) {
        let statement = Statement {
            first,
            count: batch,
            root: Digest::ZERO,
            source: source.clone(),
            item: item.id.clone(),
            file: Digest::ZERO,
            rows: RowCounts::default(),
        };
        black_box(Signed::new(&key, "sh", clock::now(), &statement));
        black_box(Signed::new(&key, "sh", clock::now(), &statement));
    }
    let signature = per(start);
    let mean =
        |size: fn(&(Vec<u8>, Vec<u8>)) -> usize| encoded.iter().map(size).sum::<usize>() / encoded.len();
    let sizes = (mean(|e| e.0.len()), mean(|e| e.1.len()));
    Ok(Costs { naming, keys: key_cost, sealing, encoding, hashing, signature, sizes })
}

/// Records a second of the bare engine: the rows that a record leaves, of the same sizes and in the same order of keys,
/// `batch` records to a flush, from one thread.
pub(super) fn engine(dir: &Path, sizes: (usize, usize), count: u64, batch: u64) -> Result<f64, Problem> {
    let store = DiskStore::open(dir).map_err(|e| Problem::fault(e.to_string()))?;
    let (entry, payload) = (vec![0x5a; sizes.0], vec![0xa5; sizes.1]);
    let random = |table: u8, n: u64| {
        let mut key = vec![table];
        key.extend_from_slice(&Digest::of(&n.to_be_bytes()).0);
        key
    };
    let mut took = 0.0;
    let mut n = 0;
    while n < count {
        let end = (n + batch).min(count);
        let mut rows = Batch::default();
        for n in n..end {
            rows.put(Space::Row, random(1, n), vec![0x11; 92]);
            rows.put(Space::Row, [random(4, n / 5), random(0, n)].concat(), Vec::new());
            rows.put(Space::Payload, n.to_be_bytes(), payload.as_slice());
        }
        // Entries and tiles of the log, and its head.
        let first = n.next_multiple_of(256).min(end);
        let last = (end / 256 * 256).max(first);
        for bundle in first / 256..last / 256 {
            rows.put(Space::Entry, bundle.to_be_bytes(), entry.repeat(256));
        }
        for tile in n / 256..end / 256 {
            rows.put(Space::Tile, tile.to_be_bytes(), vec![0x33; 8_192]);
        }
        for alone in (n..first).chain(last..end) {
            rows.put(Space::Entry, [[0xff; 8], alone.to_be_bytes()].concat(), entry.as_slice());
        }
        for piece in (end / 256 * 256).max(n / 16 * 16) / 16..end.div_ceil(16) {
            let hashes = (end - piece * 16).min(16);
            rows.put(
                Space::Tile,
                [[0xff; 8], piece.to_be_bytes()].concat(),
                vec![0x33; 32 * hashes as usize],
            );
        }
        rows.put(Space::Head, [0], vec![0x44; 220]);
        let start = Instant::now();
        store.apply(&rows).map_err(|e| Problem::fault(e.to_string()))?;
        took += start.elapsed().as_secs_f64();
        n = end;
    }
    Ok(count as f64 / took)
}
