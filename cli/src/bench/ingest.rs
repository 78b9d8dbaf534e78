//! Records into the log, the way a file takes from its checked rows on: named, sealed, committed, chained, durable.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use ::node::{
    Problem, clock,
    core::{Core, Shared},
    home::Home,
    intake::{Rows, Taking},
    keys::Keys,
    run::context,
    store::DiskStore,
};
use credit::{
    catalog::{Catalog, Item},
    csv::PlainRecord,
    id::{ItemId, SourceId},
    subject::uscc_from_parts,
    value::{Amount, Date, FieldType, Value},
};
use crypto::Digest;
use exchange::{
    logs::LogName,
    member::{Input, Member},
    refusal::Fault,
    wire::Response,
};
use ledger::log;

use super::machine;
use crate::{args::Unlock, cmd::passphrase};

/// Time between two looks at progress and memory.
const LOOK: Duration = Duration::from_millis(250);
/// The window over which the steadiness of the rate is judged.
const WINDOW: Duration = Duration::from_secs(2);

/// Made-up penalties with every required field, different from each other as real ones are.
pub(super) struct Penalties {
    template: PlainRecord,
    text: credit::id::FieldId,
    per_subject: u64,
}

impl Penalties {
    /// With so many about one company.
    pub(super) fn new(per_subject: u64) -> Result<Self, Problem> {
        let catalog = Catalog::builtin();
        let item = item(&catalog)?;
        // Of today: publicity of an older one may have ended, and then nothing is told of it.
        let today = Date::from_timestamp(clock::now());
        let value = |ty: &FieldType| match ty {
            FieldType::Date => Some(Value::Date(today)),
            FieldType::Amount => Amount::parse("0.2").map(Value::Amount),
            FieldType::Integer => Some(Value::Integer(1)),
            FieldType::Code(list) => list.first().cloned().map(Value::Text),
            FieldType::Text { .. } => Some(Value::Text("虚假宣传，情节轻微，责令改正".into())),
            FieldType::Uscc | FieldType::Subject => None,
        };
        let fields = item.fields.iter().filter(|f| f.required);
        let fields = fields.filter_map(|f| Some((f.id, value(&f.ty)?))).collect();
        let subject = uscc_from_parts("91", "310110", 0).ok_or_else(|| Problem::fault("no subject"))?;
        let template = PlainRecord {
            subject,
            item: item.id.clone(),
            document: String::new(),
            authority_code: Some(body()?),
            decided: Some(today),
            fields,
        };
        Ok(Self { template, text: item.key, per_subject })
    }

    /// The `n`-th record.
    pub(super) fn record(&self, n: u64) -> PlainRecord {
        let mut record = self.template.clone();
        record.document = format!("沪市监处〔2026〕{n:012}号");
        record.fields.insert(self.text, Value::Text(record.document.clone()));
        // Spread over the numbers, so that neighbours in time are not neighbours in the index.
        let subject = (n / self.per_subject).wrapping_mul(0x9e37_79b9_7f4a_7c15) % 800_000_000_000;
        if let Some(subject) = uscc_from_parts("91", "310110", subject) {
            record.subject = subject;
        }
        record
    }

    /// Fields of a record, its subject counted.
    pub(super) fn fields(&self) -> usize {
        self.template.fields.len() + 1
    }
}

pub(super) fn item(catalog: &Catalog) -> Result<&Item, Problem> {
    let id = ItemId::parse("CF");
    id.and_then(|id| catalog.item(&id)).ok_or_else(|| Problem::fault("the catalog has no item CF"))
}

/// A node without its endpoints.
pub(super) struct Bench {
    pub(super) shared: Arc<Shared>,
    core: Core,
    writer: std::thread::JoinHandle<Result<(), Fault>>,
    _lock: ::node::home::Lock,
}

impl Bench {
    /// Opens the member's directory as `node run` does, up to the point where peers would be asked.
    pub(super) fn open(at: &Unlock) -> Result<Self, Problem> {
        let home = Home::open(&at.dir)?;
        let lock = home.lock()?;
        let keys = Keys::open(&at.dir, &passphrase(&at.passphrase)?)?;
        let (_, registry) = home.registry()?;
        let context = context(&keys, Arc::new(registry), &home.config()?.member)?;
        let store = DiskStore::open(&home.data()).map_err(|e| Problem::fault(e.to_string()))?;
        let member = Member::open(context.clone(), &store).map_err(|e| Problem::fault(e.to_string()))?;
        let shared = Arc::new(Shared::new(context, keys, store));
        let (outgoing, _) = tokio::sync::mpsc::unbounded_channel();
        let (core, writer) =
            Core::start(shared.clone(), member, outgoing).map_err(|e| Problem::fault(e.to_string()))?;
        let bench = Self { shared, core, writer, _lock: lock };
        for input in [Input::Restored { seen: Vec::new() }, Input::Synced, Input::AddSource(source()?)] {
            bench.tell(input)?;
        }
        Ok(bench)
    }

    fn tell(&self, input: Input) -> Result<Response, Problem> {
        let reply = self.core.hand_in(input)?;
        reply.wait().ok_or_else(|| Problem::fault("the writer has ended"))
    }

    /// Entries of the `records` log.
    pub(super) fn size(&self) -> u64 {
        log::size(&self.shared.store, LogName::Records.as_str()).map_or(0, |size| size.0)
    }

    /// Takes `records` new ones in, `batch` to a signature; returns what was seen meanwhile.
    pub(super) fn ingest(
        &self,
        penalties: &Penalties,
        records: u64,
        batch: u64,
    ) -> Result<Ingested, Problem> {
        let taking = Taking {
            shared: self.shared.clone(),
            core: self.core.clone(),
            source: source()?,
            item: item(&Catalog::builtin())?.id.clone(),
            file: Digest(clock::random()),
            confirm: BTreeSet::new(),
        };
        // Numbers are not used twice in one directory.
        let first = self.size();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let watch = scope.spawn(|| self.watch(&done));
            let start = Instant::now();
            let taken = taking.take(batch as usize, None, |feed| {
                let mut n = first;
                while n < first + records {
                    let end = (n + batch).min(first + records);
                    let rows = Rows::Plain((n..end).map(|n| penalties.record(n)).collect());
                    if feed.push(rows, None).is_err() {
                        return Ok(None);
                    }
                    n = end;
                }
                Ok(Some("none"))
            });
            let took = start.elapsed();
            done.store(true, Ordering::Relaxed);
            let (seen, peak) = watch.join().map_err(|_| Problem::fault("the watch has ended"))?;
            match taken? {
                Response::Report(report) if report.rows.accepted == records => {}
                other => return Err(Problem::fault(format!("not every record was taken: {other:?}"))),
            }
            Ok(Ingested::new(records, took, &seen, peak))
        })
    }

    fn watch(&self, done: &AtomicBool) -> (Vec<(Instant, u64)>, u64) {
        let (mut seen, mut peak) = (Vec::new(), 0);
        while !done.load(Ordering::Relaxed) {
            seen.push((Instant::now(), self.size()));
            peak = peak.max(machine::resident());
            std::thread::sleep(LOOK);
        }
        (seen, peak)
    }

    /// Ends the writer and closes the store.
    pub(super) fn close(self) -> Result<(), Problem> {
        let stop = self.core.clone();
        tokio::runtime::Handle::current().block_on(async move { stop.stop().await });
        match self.writer.join() {
            Ok(Ok(())) => Ok(()),
            Ok(Err(fault)) => Err(Problem::fault(fault.to_string())),
            Err(_) => Err(Problem::fault("the writer ended without a word")),
        }
    }
}

/// The body that decides on the penalties; the member claims it.
pub(super) fn body() -> Result<String, Problem> {
    let code = uscc_from_parts("11", "310000", 0).ok_or_else(|| Problem::fault("no body"))?;
    Ok(code.as_str().to_owned())
}

pub(super) fn source() -> Result<SourceId, Problem> {
    SourceId::parse("bench").ok_or_else(|| Problem::fault("no source"))
}

/// What one run of ingest gave.
pub(super) struct Ingested {
    pub(super) records: u64,
    pub(super) seconds: f64,
    /// Records a second in the worst and in the median window; `None` when the run was shorter than three of them.
    pub(super) windows: Option<(f64, f64)>,
    pub(super) peak: u64,
}

impl Ingested {
    fn new(records: u64, took: Duration, seen: &[(Instant, u64)], peak: u64) -> Self {
        let mut rates: Vec<f64> = seen
            .iter()
            .filter_map(|(from, had)| {
                let (to, has) = seen.iter().find(|(at, _)| at.duration_since(*from) >= WINDOW)?;
                Some((has - had) as f64 / to.duration_since(*from).as_secs_f64())
            })
            .collect();
        rates.sort_by(f64::total_cmp);
        let windows = (took > 3 * WINDOW && !rates.is_empty()).then(|| (rates[0], rates[rates.len() / 2]));
        Self { records, seconds: took.as_secs_f64(), windows, peak }
    }

    pub(super) fn rate(&self) -> f64 {
        self.records as f64 / self.seconds
    }
}

/// Opens everything a node opens before it asks its peers, and says how long that takes.
pub(super) fn restart(at: &Unlock) -> Result<(f64, f64), Problem> {
    let start = Instant::now();
    let pass = passphrase(&at.passphrase)?;
    drop(Keys::open(&at.dir, &pass)?);
    let keys = start.elapsed().as_secs_f64();
    let start = Instant::now();
    let bench = Bench::open(at)?;
    let whole = start.elapsed().as_secs_f64();
    bench.close()?;
    Ok((whole, keys))
}

/// The member's store directory.
pub(super) fn data(at: &Unlock) -> Result<std::path::PathBuf, Problem> {
    Ok(Home::open(Path::new(&at.dir))?.data())
}
