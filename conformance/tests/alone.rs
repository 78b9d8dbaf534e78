//! The one writer where inputs come one by one: the task that hands one in makes the step itself.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test; what fails here fails the test")]

mod common;

use std::{fs, sync::Arc, thread::JoinHandle, time::Duration};

use common::{Federation, federation::Cast};
use crypto::Digest;
use exchange::{
    kept::KeptGrantRow,
    member::{Input, Member},
    refusal::Fault,
    wire::Response,
};
use node::{
    clock,
    core::{Core, Shared},
    home::Home,
    keys::Keys,
    run::context,
    store::DiskStore,
};

const ONE: [Cast; 1] = [Cast { id: "sh", role: "region", region: "310000", mirrors: "" }];
/// Inputs after which the others are decided where they are handed in, and more.
const SOME: u64 = 12;

/// A node without its endpoints.
struct Bare {
    core: Core,
    shared: Arc<Shared>,
    thread: JoinHandle<Result<(), Fault>>,
    asked: u64,
}

impl Bare {
    /// `asked`: what is kept already is not written again.
    fn open(federation: &Federation, asked: u64) -> Self {
        let dir = federation.path("sh");
        let home = Home::open(&dir).unwrap();
        let keys = Keys::open(&dir, "an example passphrase").unwrap();
        let context = context(&keys, Arc::new(home.registry().unwrap().1), "sh").unwrap();
        let store = DiskStore::open(&home.data()).unwrap();
        let mut member = Member::open(context.clone(), &store).unwrap();
        for input in [Input::Restored { seen: Vec::new() }, Input::Synced] {
            member.handle(clock::now(), vec![(None, input)], &store).unwrap().commit(&store).unwrap();
        }
        let shared = Arc::new(Shared::new(context, keys, store));
        let (outgoing, _) = tokio::sync::mpsc::unbounded_channel();
        let (core, thread) = Core::start(shared.clone(), member, outgoing).unwrap();
        Self { core, shared, thread, asked }
    }

    /// Hands in what writes a row, after a pause, and waits for the reply.
    async fn ask(&mut self) -> Response {
        tokio::time::sleep(Duration::from_millis(2)).await;
        self.asked += 1;
        let row = KeptGrantRow { until: clock::now().plus_ms(60_000), sealed: Vec::new().into() };
        let digest = Digest::of(&self.asked.to_be_bytes());
        let input = Input::KeepGrant { digest, row };
        tokio::time::timeout(Duration::from_secs(10), self.core.ask(input)).await.unwrap()
    }

    async fn ask_some(&mut self) {
        for _ in 0..SOME {
            assert!(matches!(self.ask().await, Response::Done));
        }
    }

    fn steps(&self) -> u64 {
        self.shared.state.read().unwrap().steps
    }
}

/// How often the writer's thread has waited for something.
fn writer_waits() -> u64 {
    let tasks = fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    let mut writers = tasks.filter(|task| fs::read_to_string(task.join("comm")).unwrap().trim() == "writer");
    let status = fs::read_to_string(writers.next().unwrap().join("status")).unwrap();
    assert_eq!(writers.next(), None);
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).unwrap();
    line.trim().parse().unwrap()
}

fn refused(response: &Response) -> bool {
    matches!(response, Response::Refused(refusal) if refusal.code == "node.busy")
}

/// One test, because it looks for the one thread of its name.
#[test]
fn the_task_makes_the_step_while_inputs_come_one_by_one_and_no_longer_than_there_is_a_writer() {
    let federation = Federation::found(&ONE);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let two_cores = std::thread::available_parallelism().unwrap().get() > 1;

    let mut bare = Bare::open(&federation, 0);
    runtime.block_on(bare.ask_some());
    let before = writer_waits();
    runtime.block_on(bare.ask_some());
    assert_eq!(bare.steps(), 2 * SOME);
    // With one core the thread makes all of them.
    let waited = writer_waits() - before;
    assert!(if two_cores { waited == 0 } else { waited >= SOME }, "{waited}");

    // Many at once are the thread's, and share steps.
    let core = bare.core.clone();
    let many = runtime.block_on(async move {
        let asked = (0..64u64).map(|n| {
            let row = KeptGrantRow { until: clock::now().plus_ms(60_000), sealed: Vec::new().into() };
            let (core, digest) = (core.clone(), Digest::of(&[n as u8]));
            tokio::spawn(async move { core.ask(Input::KeepGrant { digest, row }).await })
        });
        let mut done = 0;
        for asked in asked.collect::<Vec<_>>() {
            done += u64::from(matches!(asked.await.unwrap(), Response::Done));
        }
        done
    });
    assert_eq!(many, 64);
    assert!(writer_waits() > before);

    // After the writer was stopped nothing is decided any more, and who asks is told.
    runtime.block_on(bare.ask_some());
    runtime.block_on(bare.core.stop());
    let Bare { core, shared, thread, asked } = bare;
    thread.join().unwrap().unwrap();
    let mut bare = Bare { core, shared, thread: std::thread::spawn(|| Ok(())), asked };
    let steps = bare.steps();
    assert!(refused(&runtime.block_on(bare.ask())));
    assert_eq!(bare.steps(), steps);
    drop(bare);

    // What ends a step in a task ends the writer, with what it was.
    let mut bare = Bare::open(&federation, 1_000);
    runtime.block_on(bare.ask_some());
    let (data, away) = (federation.path("sh/data"), federation.path("sh/away"));
    fs::rename(&data, &away).unwrap();
    assert!(refused(&runtime.block_on(bare.ask())));
    let Bare { core, shared, thread, asked } = bare;
    let fault = thread.join().unwrap().unwrap_err();
    assert!(fault.to_string().contains("no longer the directory that was opened"), "{fault}");
    let mut bare = Bare { core, shared, thread: std::thread::spawn(|| Ok(())), asked };
    assert!(refused(&runtime.block_on(bare.ask())));
    drop(bare);

    // What was acknowledged is there.
    fs::rename(&away, &data).unwrap();
    Bare::open(&federation, 0);
}
