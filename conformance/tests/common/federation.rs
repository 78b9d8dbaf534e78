//! A federation of real processes, founded with the same commands that people use.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    net::{TcpListener, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use serde_json::Value;

use super::{Ran, command, http, rows, run, until};

/// Time for a node to come up: it waits up to four seconds for peers that are not there.
const READY: Duration = Duration::from_secs(40);

/// A node that has written nothing for so long has nothing to write: what others tell it comes at once.
const QUIET: Duration = Duration::from_millis(700);

/// A member to admit.
#[derive(Clone, Copy)]
pub(crate) struct Cast {
    pub(crate) id: &'static str,
    pub(crate) role: &'static str,
    pub(crate) region: &'static str,
    pub(crate) mirrors: &'static str,
}

/// Two regions, the outlet and two banks. `js` and `xyd` collect letters; `sh` is the authority of [`rows::body`], `js` of
/// [`rows::body_of_js`].
pub(crate) const FIVE: [Cast; 5] = [
    Cast { id: "sh", role: "region", region: "310000", mirrors: "js" },
    Cast { id: "js", role: "region", region: "320000", mirrors: "sh" },
    Cast { id: "xyd", role: "platform", region: "310000", mirrors: "sh" },
    Cast { id: "bank-a", role: "bank", region: "", mirrors: "" },
    Cast { id: "bank-b", role: "bank", region: "", mirrors: "" },
];

/// A federation in a temporary directory. Its processes and its directory go with the test process, however that
/// ends: a janitor waits for the end of a pipe that only the test process holds.
pub(crate) struct Federation {
    root: PathBuf,
    nodes: Mutex<BTreeMap<String, Child>>,
    janitor: Mutex<Child>,
    /// Who may disturb whom: see [`Federation::beside`] and [`Federation::alone`].
    turn: RwLock<()>,
}

impl Federation {
    /// Founds a federation and starts every node.
    pub(crate) fn start(cast: &[Cast]) -> Self {
        let federation = Self::found(cast);
        for member in cast {
            federation.spawn(member.id);
        }
        for member in cast {
            federation.ready(member.id);
        }
        federation
    }

    /// Founds a federation without witnesses; no node runs yet.
    pub(crate) fn found(cast: &[Cast]) -> Self {
        Self::found_with(cast, &[])
    }

    /// Founds a federation whose members `witnesses` cosign each other's logs; no node runs yet.
    pub(crate) fn found_with(cast: &[Cast], witnesses: &[&str]) -> Self {
        let root = tempfile::Builder::new().prefix("xinqiao-e2e-").tempdir().unwrap().keep();
        let janitor = janitor(&root);
        private(&root.join("pass"), b"an example passphrase\n");
        let federation =
            Self { root, nodes: Mutex::default(), janitor: Mutex::new(janitor), turn: RwLock::new(()) };
        federation.unlocked(&["federation", "init", "--name", "e2e"], "gov").done();
        for Cast { id, role, region, mirrors } in cast {
            let (quic, http) = (free(), free());
            let request = federation.path(&format!("{id}.request"));
            let request = request.to_str().unwrap();
            let mut args =
                vec!["member", "request", "--id", id, "--role", role, "--name", id, "--out", request];
            args.extend(["--quic", &quic, "--http", &http, "--region", region]);
            let (body, of_js) = (rows::body(), rows::body_of_js());
            match *id {
                "sh" => args.extend(["--body", &body]),
                "js" => args.extend(["--body", &of_js, "--collector"]),
                "xyd" => args.push("--collector"),
                _ => {}
            }
            federation.unlocked(&args, id).done();
            let mut args = vec!["federation", "admit", request];
            if !mirrors.is_empty() {
                args.extend(["--mirrors", mirrors]);
            }
            if witnesses.contains(id) {
                args.push("--witness");
            }
            federation.unlocked(&args, "gov").done();
        }
        for governor in ["g1", "g3"] {
            federation.unlocked(&["federation", "sign", "--governor", governor], "gov").done();
        }
        for member in cast {
            let registry = federation.registry();
            federation.at(member.id, &["node", "init", "--registry", registry.to_str().unwrap()]).done();
        }
        federation
    }

    /// For a test that others may run beside.
    pub(crate) fn beside(&self) -> RwLockReadGuard<'_, ()> {
        self.turn.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// For a test that counts entries or stops nodes: no other runs meanwhile.
    pub(crate) fn alone(&self) -> RwLockWriteGuard<'_, ()> {
        self.turn.write().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// A path below the federation's directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// As above, as text for arguments.
    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Writes a file that its owner alone may read, and gives its path.
    pub(crate) fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        private(&self.path(name), bytes.as_ref());
        self.text(name)
    }

    /// The signed registry.
    pub(crate) fn registry(&self) -> PathBuf {
        self.path("gov").join("registry")
    }

    /// Runs a command with the directory of `member`.
    pub(crate) fn at(&self, member: &str, args: &[&str]) -> Ran {
        run(&[args, &["--json", "--dir", &self.text(member)]].concat())
    }

    /// Runs a command with the directory and the passphrase of `member`.
    pub(crate) fn unlocked(&self, args: &[&str], member: &str) -> Ran {
        self.at(member, &[args, &["--passphrase-file", &self.text("pass")]].concat())
    }

    /// Spawns the node of `member`; its log grows in `<member>.log`.
    pub(crate) fn spawn(&self, member: &str) {
        self.spawn_with(member, &[], &[]);
    }

    /// As above, with more arguments and with environment variables.
    pub(crate) fn spawn_with(&self, member: &str, args: &[&str], env: &[(&str, &str)]) {
        let log =
            fs::File::options().create(true).append(true).open(self.path(&format!("{member}.log"))).unwrap();
        let (dir, pass) = (self.text(member), self.text("pass"));
        let run = ["node", "run", "--dir", &dir, "--passphrase-file", &pass];
        let child = command(&[&run[..], args].concat())
            .env("XINQIAO_LOG", "trace")
            .envs(env.iter().copied())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut janitor = self.janitor.lock().unwrap();
        writeln!(janitor.stdin.as_mut().unwrap(), "{}", child.id()).unwrap();
        self.nodes.lock().unwrap().insert(member.to_owned(), child);
    }

    /// Waits until the node of `member` serves.
    pub(crate) fn ready(&self, member: &str) {
        let url = format!("{}/readyz", self.http(member));
        until(&format!("`{member}` is ready"), READY, || {
            let ended = self.nodes.lock().unwrap().get_mut(member).unwrap().try_wait().unwrap();
            let said = || fs::read_to_string(self.path(&format!("{member}.log"))).unwrap();
            assert!(ended.is_none(), "`{member}` has ended: {}", said());
            http::get(&url, None).filter(|got| got.status == 200).map(drop)
        });
    }

    /// Waits until the node of `member` has ended by itself; its exit code, `None` after a signal.
    pub(crate) fn ended(&self, member: &str) -> Option<i32> {
        let mut child = self.nodes.lock().unwrap().remove(member).unwrap();
        until(&format!("`{member}` has ended"), READY, || child.try_wait().unwrap()).code()
    }

    /// Whether the node of `member` has ended, or was never started.
    pub(crate) fn is_down(&self, member: &str) -> bool {
        let mut nodes = self.nodes.lock().unwrap();
        nodes.get_mut(member).is_none_or(|child| child.try_wait().unwrap().is_some())
    }

    /// What the node of `member` has written to standard error, from byte `from` on.
    pub(crate) fn said(&self, member: &str, from: usize) -> String {
        let bytes = fs::read(self.path(&format!("{member}.log"))).unwrap_or_default();
        String::from_utf8_lossy(bytes.get(from..).unwrap_or_default()).into_owned()
    }

    /// The most memory that the node of `member` has ever held since its start, in KiB.
    pub(crate) fn memory_peak_kib(&self, member: &str) -> u64 {
        let id = self.nodes.lock().unwrap()[member].id();
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// Kills the node of `member` without a warning.
    pub(crate) fn kill(&self, member: &str) {
        let mut child = self.nodes.lock().unwrap().remove(member).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Sends a signal to the node of `member`: `STOP`, and `CONT` after it.
    pub(crate) fn signal(&self, member: &str, signal: &str) {
        let pid = self.nodes.lock().unwrap()[member].id().to_string();
        assert!(Command::new("kill").args([&format!("-{signal}"), &pid]).status().unwrap().success());
    }

    /// Stops the node of `member` in good order.
    pub(crate) fn stop(&self, member: &str) {
        self.at(member, &["node", "stop"]).done();
        let mut child = self.nodes.lock().unwrap().remove(member).unwrap();
        assert!(child.wait().unwrap().success());
    }

    /// Base URL of the published logs of `member`.
    pub(crate) fn http(&self, member: &str) -> String {
        format!("http://{}", self.setting(member, "http"))
    }

    /// A line of the member's settings.
    pub(crate) fn setting(&self, member: &str, key: &str) -> String {
        let text = fs::read_to_string(self.path(member).join("node.toml")).unwrap();
        let line = text.lines().find(|l| l.starts_with(&format!("{key} = "))).unwrap();
        line.split('"').nth(1).unwrap().to_owned()
    }

    /// `node status --json`.
    pub(crate) fn status(&self, member: &str) -> Value {
        self.at(member, &["node", "status"]).done().json()
    }

    /// Entries of the member's own logs: records, status, access.
    pub(crate) fn sizes(&self, member: &str) -> [u64; 3] {
        let status = self.status(member);
        ["records", "status", "access"].map(|log| status["logs"][log].as_u64().unwrap())
    }

    /// Waits until a node has nothing more to write: what others have told it is acknowledged by then.
    pub(crate) fn settle(&self, member: &str) {
        let mut before = self.sizes(member);
        until("a quiet log", Duration::from_secs(60), || {
            std::thread::sleep(QUIET);
            let now = self.sizes(member);
            (core::mem::replace(&mut before, now) == now).then_some(())
        });
    }

    /// Registers a department.
    pub(crate) fn source(&self, member: &str, source: &str) {
        self.at(member, &["source", "add", source]).done();
    }

    /// Hands penalties in.
    pub(crate) fn submit(&self, member: &str, source: &str, file: &str) -> Ran {
        self.at(member, &["submit", file, "--item", "CF", "--source", source])
    }

    /// Issues a grant at `js` over every field of CF, with more arguments of `grant issue`.
    pub(crate) fn grant(&self, name: &str, subject: &str, grantee: &str, more: &[&str]) -> String {
        let (letter, out) = (self.file(&format!("{name}.letter"), "a letter (example)\n"), self.text(name));
        let args = ["grant", "issue", "--subject", subject, "--grantee", grantee, "--purpose", "pre-loan"];
        let rest = ["--item", "CF", "--letter", &letter, "--out", &out];
        self.at("js", &[&args[..], &rest, more].concat()).done();
        out
    }

    /// Asks about CF for 贷前审查, with patience: other tests may hold the machine.
    pub(crate) fn query(&self, bank: &str, subject: &str, more: &[&str]) -> Ran {
        let args = ["query", "--subject", subject, "--purpose", "pre-loan", "--fields", "CF"];
        let patience: &[&str] = if more.contains(&"--wait") { &[] } else { &["--wait", "60"] };
        self.at(bank, &[&args[..], patience, more].concat())
    }

    /// An Authorization header with which `member` reads entries.
    pub(crate) fn pass(&self, member: &str) -> String {
        let value = self.unlocked(&["audit", "pass"], member).done().json();
        value["authorization"].as_str().unwrap().to_owned()
    }
}

fn private(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
    #[cfg(unix)]
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
}

/// Copies a directory.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, target) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if path.is_dir() { copy(&path, &target) } else { fs::copy(&path, &target).map(drop).unwrap() }
    }
}

/// Reads process ids; when the pipe ends, ends those that still belong to the directory, and removes it.
fn janitor(root: &Path) -> Child {
    const CLEAN: &str = r#"
        trap '' INT TERM HUP
        all=
        while read -r pid; do all="$all $pid"; done
        for pid in $all; do
            case "$(ps -ww -o args= -p "$pid")" in *"$0"*) kill -9 "$pid" ;; esac
        done
        sleep 0.2
        rm -rf "$0"
    "#;
    Command::new("sh")
        .args(["-c", CLEAN])
        .arg(root)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// An address on this machine that is free for UDP and TCP right now, below the ports that systems hand out by
/// themselves: a node that is started again finds its port free.
pub(crate) fn free() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 20_000 + (std::process::id().wrapping_mul(41) + step) % 12_000;
        let at = format!("127.0.0.1:{port}");
        if TcpListener::bind(&at).is_ok() && UdpSocket::bind(&at).is_ok() {
            return at;
        }
    }
}
