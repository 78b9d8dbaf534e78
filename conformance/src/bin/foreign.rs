//! The heavier programs of other people, over a log of 70,000 sample entries: `foreign --tools DIR --python PROGRAM`.
//!
//! Tessera's `fsck` reads the log from Python's web server: as it is, with partial tiles gone, and with one byte
//! changed. `litewitness` and `omniwitness` are asked to cosign it as it grows, and their cosignatures are verified; a
//! second history they refuse. `cargo xtask foreign` builds the tools and starts this. One line per check; ends with 1 at the first that fails, with 2 when the arguments
//! cannot be read.

#![allow(clippy::print_stdout, reason = "a program's output")]

use std::{
    env, fs, io,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

use conformance::published::Sample;
use crypto::Digest;
use ledger::{NoteKey, TreeSize, add_checkpoint::AddCheckpoint, witness::verify_quorum};

const USAGE: &str = "usage: foreign --tools DIR --python PROGRAM
  --tools DIR       where fsck, litewitness, omniwitness and its generate_keys are
  --python PROGRAM  a Python 3";

const ORIGIN: &str = "example.org/foreign/sample";
const SIZE: u64 = 70_000;
/// The size at which the last tile of [`SIZE`] entries is full.
const FULL: u64 = 274 * 256;
/// Size at which the witness is asked first.
const BEGINNING: u64 = 300;
const WITNESS: &str = "example.org/foreign/witness";
/// A program that does not listen, or has not ended, after this long hangs.
const PATIENCE: Duration = Duration::from_secs(20);
/// A witness that has not answered after this long hangs.
const ANSWER: Duration = Duration::from_secs(20);

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let ["--tools", tools, "--python", python] = words[..] else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let dir = env::temp_dir().join(format!("xinqiao-foreign-{}", std::process::id()));
    let outcome = run(Path::new(tools), Path::new(python), &dir);
    // What is left behind is a temporary directory.
    let _ = fs::remove_dir_all(&dir);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(tools: &Path, python: &Path, dir: &Path) -> Outcome {
    fsck(tools, python, &dir.join("fsck"))?;
    let log = Sample::new(ORIGIN)?.note_key();
    cosigns("litewitness", &Witness::lite(tools, python, &dir.join("litewitness"), &log)?)?;
    cosigns("omniwitness", &Witness::omni(tools, &dir.join("omniwitness"), &log)?)
}

/// A program that is ended with this value.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> io::Result<Self> {
        let started = command.stdin(Stdio::null()).spawn();
        started
            .map(Self)
            .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", command.get_program().display())))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn until(what: &str, mut done: impl FnMut() -> bool) -> Outcome {
    let end = Instant::now() + PATIENCE;
    while !done() {
        if Instant::now() > end {
            return Err(format!("{what}: not within {PATIENCE:?}").into());
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Runs a command to its end and gives what it wrote to standard output and error.
fn said(command: &mut Command) -> Result<String, Box<dyn std::error::Error>> {
    let shown = command.get_program().display().to_string();
    let output = command.stdin(Stdio::null()).output().map_err(|e| format!("{shown}: {e}"))?;
    let text = [output.stdout, output.stderr].concat();
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Python's web server over a directory. As `python -m http.server` it opens a connection for each request and lets
/// five wait, which with several readers is too few.
const SERVER: &str = "
import functools, http.server, sys
class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer.request_queue_size = 128
handler = functools.partial(Handler, directory=sys.argv[1])
http.server.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[2])), handler).serve_forever()
";

/// Tessera's check of every tile and bundle, over HTTP.
fn fsck(tools: &Path, python: &Path, dir: &Path) -> Outcome {
    let (log, grown, vkey) = (dir.join("log"), dir.join("grown"), dir.join("vkey"));
    let mut sample = Sample::new(ORIGIN)?;
    sample.grow_to(SIZE)?;
    sample.publish(&log)?;
    fs::write(&vkey, sample.note_key().vkey())?;
    sample.grow_to(FULL)?;
    sample.publish(&grown)?;

    let port = free_port()?;
    let _server = Running::start(
        Command::new(python)
            .args(["-c", SERVER])
            .arg(&log)
            .arg(port.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null()),
    )?;
    until("the web server listens", || TcpStream::connect(("127.0.0.1", port)).is_ok())?;
    let words = dir.join("words");
    let check = || -> Result<String, Box<dyn std::error::Error>> {
        let mut command = Command::new(tools.join("fsck"));
        command.arg(format!("--storage_url=http://127.0.0.1:{port}/"));
        command.arg(format!("--public_key={}", vkey.display()));
        // A worker ends at the first thing that is wrong, and without workers the program waits for ever: there must be
        // more of them than one changed byte makes wrong, which is a tile of each level.
        command.args(["--ui=false", "--N=8", "--logtostderr"]);
        let mut running = Running::start(command.stderr(fs::File::create(&words)?))?;
        until("fsck ends", || !matches!(running.0.try_wait(), Ok(None)))?;
        Ok(fs::read_to_string(&words)?)
    };
    // The program ends with 0 whatever it finds; only its words tell.
    let passes = |said: &str| {
        said.contains(&format!("Successfully fsck'd log with size {SIZE}")) && !said.contains("fsck failed")
    };
    let good = |what: &str| -> Outcome {
        let said = check()?;
        if !passes(&said) {
            return Err(format!("fsck refuses the log {what}: {said}").into());
        }
        println!("fsck: {SIZE} entries, {what}: ok");
        Ok(())
    };
    good("as published")?;
    for (path, at) in [("tile/entries/137", 5_000), ("tile/0/137", 4_000), ("checkpoint", ORIGIN.len() + 12)]
    {
        let file = log.join(path);
        let whole = fs::read(&file)?;
        let mut bent = whole.clone();
        // A neighbour in base64 as well as among bits.
        bent[at] = if bent[at] == b'A' { b'B' } else { b'A' };
        fs::write(&file, bent)?;
        let said = check()?;
        if passes(&said) {
            return Err(format!("fsck passes a log with one changed byte in {path}: {said}").into());
        }
        println!("fsck: one changed byte in {path}: found");
        fs::write(&file, whole)?;
    }
    for kind in ["0", "entries"] {
        fs::remove_dir_all(log.join(format!("tile/{kind}/273.p")))?;
        let full = format!("tile/{kind}/273");
        fs::copy(grown.join(&full), log.join(&full))?;
    }
    good("partial tiles gone and full ones there")
}

/// A witness of other people that listens, and what it needs to go on.
struct Witness {
    at: String,
    key: NoteKey,
    _running: Vec<Running>,
}

impl Witness {
    /// torchwood's, with its key in an ssh-agent, as it wants it.
    fn lite(
        tools: &Path,
        python: &Path,
        dir: &Path,
        log: &NoteKey,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        fs::create_dir_all(dir)?;
        let (key, socket, db) = (dir.join("key"), dir.join("agent"), dir.join("db"));
        said(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key))?;
        let print = said(Command::new("ssh-keygen").arg("-lf").arg(&key))?;
        let print = print.split(' ').nth(1).ok_or("ssh-keygen prints no fingerprint")?.to_owned();
        let mut agent = Command::new("ssh-agent");
        let agent = Running::start(agent.args(["-D", "-a"]).arg(&socket).stdout(Stdio::null()))?;
        until("ssh-agent listens", || socket.exists())?;
        said(Command::new("ssh-add").arg("-q").arg(&key).env("SSH_AUTH_SOCK", &socket))?;
        add_log(python, &db, log)?;
        let at = format!("127.0.0.1:{}", free_port()?);
        let mut command = Command::new(tools.join("litewitness"));
        command.args(["-name", WITNESS, "-key", &print, "-listen", &at, "-ssh-agent"]).arg(&socket);
        let mut witness = Running::start(command.arg("-db").arg(&db).stderr(Stdio::piped()))?;
        let vkey = vkey(&mut witness.0)?;
        until("litewitness listens", || TcpStream::connect(&at).is_ok())?;
        Ok(Self { at, key: NoteKey::parse_cosigner(&vkey)?, _running: vec![agent, witness] })
    }

    /// That of the Transparency.dev community. It knows our log from a file beside the ones it brings along, keeps what it
    /// has cosigned in SQLite, and without further options asks nobody for anything.
    fn omni(tools: &Path, dir: &Path, log: &NoteKey) -> Result<Self, Box<dyn std::error::Error>> {
        fs::create_dir_all(dir)?;
        let (key, public, logs) = (dir.join("key"), dir.join("vkey"), dir.join("logs.yaml"));
        let mut generate = Command::new(tools.join("generate_keys"));
        generate.args(["-origin", WITNESS, "-out_priv"]).arg(&key).arg("-out_pub").arg(&public);
        let words = said(&mut generate)?;
        let vkey = fs::read_to_string(&public).map_err(|e| format!("generate_keys: {e}: {words}"))?;
        let (name, of_log) = (&log.name, log.vkey());
        fs::write(&logs, format!("Logs:\n  - Origin: \"{name}\"\n    PublicKey: \"{of_log}\"\n"))?;
        let (at, metrics) = (format!("127.0.0.1:{}", free_port()?), format!("127.0.0.1:{}", free_port()?));
        let mut command = Command::new(tools.join("omniwitness"));
        command.args(["--listen", &at, "--metrics_listen", &metrics, "--private_key_path"]).arg(&key);
        command.arg("--additional_logs").arg(&logs).arg("--db_file").arg(dir.join("db"));
        let words = dir.join("words");
        let witness = Running::start(command.stderr(fs::File::create(&words)?))?;
        until("omniwitness listens", || TcpStream::connect(&at).is_ok())
            .map_err(|e| format!("{e}: {}", fs::read_to_string(&words).unwrap_or_default()))?;
        Ok(Self { at, key: NoteKey::parse_cosigner(vkey.trim())?, _running: vec![witness] })
    }

    /// Asks for a cosignature and gives status and body.
    fn ask(&self, request: &AddCheckpoint) -> Result<(u16, String), Box<dyn std::error::Error>> {
        let body = request.body();
        let mut stream = TcpStream::connect(&self.at)?;
        stream.set_read_timeout(Some(ANSWER))?;
        let (at, bytes) = (&self.at, body.len());
        write!(
            stream,
            "POST /add-checkpoint HTTP/1.1\r\nHost: {at}\r\nContent-Length: {bytes}\r\nConnection: close\r\n\r\n{body}"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or("the witness breaks off")?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Ok((status.ok_or("the witness speaks no HTTP")?, body.to_owned()))
    }
}

/// Puts a log into the database of litewitness. Its own tool for that, `witnessctl`, needs a module that is not to be
/// had everywhere; these are the tables and the two rows that it writes.
fn add_log(python: &Path, db: &PathBuf, log: &NoteKey) -> Outcome {
    const SCRIPT: &str = "
import sqlite3, sys
db, origin, key, root = sys.argv[1:]
db = sqlite3.connect(db)
db.execute('CREATE TABLE log (origin TEXT PRIMARY KEY, tree_size INTEGER NOT NULL, tree_hash TEXT NOT NULL)')
db.execute('CREATE TABLE key (origin TEXT NOT NULL, key TEXT NOT NULL, FOREIGN KEY(origin) REFERENCES log(origin))')
db.execute('INSERT INTO log (origin, tree_size, tree_hash) VALUES (?, 0, ?)', (origin, root))
db.execute('INSERT INTO key (origin, key) VALUES (?, ?)', (origin, key))
db.commit()
";
    // The root of the empty tree, SHA-256 of nothing.
    const EMPTY: &str = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
    let mut command = Command::new(python);
    command.args(["-c", SCRIPT]).arg(db).args([&log.name, &log.vkey(), EMPTY]);
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("the witness's database: {}", String::from_utf8_lossy(&output.stderr)).into())
}

/// The verifier key that litewitness says it has; what it says afterwards is read and dropped.
fn vkey(witness: &mut Child) -> Result<String, Box<dyn std::error::Error>> {
    let mut lines = BufReader::new(witness.stderr.take().ok_or("no standard error")?).lines();
    let mut heard = String::new();
    while let Some(line) = lines.next().transpose()? {
        if let Some((_, vkey)) = line.split_once(" vkey=") {
            let vkey = vkey.trim_matches('"').to_owned();
            thread::spawn(move || lines.for_each(drop));
            return Ok(vkey);
        }
        heard.push_str(&line);
    }
    Err(format!("litewitness does not start: {heard}").into())
}

/// A witness cosigns what grows, and not a second history.
fn cosigns(name: &str, witness: &Witness) -> Outcome {
    let mut sample = Sample::new(ORIGIN)?;
    let mut old = 0;
    for size in [BEGINNING, SIZE] {
        sample.grow_to(size)?;
        let head = sample.head()?;
        let proof = if old == 0 { Vec::new() } else { sample.consistency(old)? };
        let (status, line) = witness.ask(&AddCheckpoint::new(TreeSize(old), proof, &head))?;
        if status != 200 {
            return Err(format!("{name} answers {status} to {old} and {size} entries: {line}").into());
        }
        let cosigned = head.with_cosignature(&line, &witness.key)?;
        cosigned.verify(&sample.note_key())?;
        verify_quorum(&cosigned, std::slice::from_ref(&witness.key), 1)?;
        println!("{name}: from {old} to {size} entries: its cosignature verifies");
        old = size;
    }
    let mut other = Sample::new(ORIGIN)?.changed_at(BEGINNING);
    other.grow_to(SIZE + 1)?;
    let proof: Vec<Digest> = other.consistency(SIZE)?;
    let head = other.head()?;
    let refusals = [
        (
            "an old size that is not the last",
            AddCheckpoint::new(TreeSize(BEGINNING), proof.clone(), &head),
            409,
        ),
        ("a second history", AddCheckpoint::new(TreeSize(SIZE), proof, &head), 422),
    ];
    for (what, request, due) in refusals {
        let (status, body) = witness.ask(&request)?;
        if status != due {
            return Err(format!("{name} answers {status} to {what}, and {due} is due: {body}").into());
        }
        if due == 409 && body != format!("{SIZE}\n") {
            return Err(format!("{name} names the size {body:?}").into());
        }
        println!("{name}: {what}: {status}");
    }
    Ok(())
}
