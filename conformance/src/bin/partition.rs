//! Real nodes in network namespaces, cut off from each other and killed while repairs are decided:
//! `partition --xinqiao PROGRAM [--rounds N] [--seed S]`. Needs root and iproute2; `cargo xtask partition` builds the
//! node and starts this.
//!
//! Three authorities, an outlet and a bank, each a process in a namespace of its own, on one of two bridges. In every
//! round an authority grants a repair while some nodes are moved to the other bridge or one of them is killed; the bank
//! asks, and every node is asked where records stand. In the end everything is joined again, and then:
//!
//! - every certificate names every recipient as having acknowledged, and verifies offline;
//! - the outlet's status log has one entry more for every decision, and no other: nobody acknowledges twice;
//! - no answer held a record after its authority had decided, and no node that knew of a repair forgot it;
//! - the records that were not repaired are still answered, so the answers were not empty for another reason;
//! - `node fsck` finds nothing in any directory.
//!
//! Ends with 1 at the first that fails, with 2 when the arguments cannot be read. One run at a time on a machine: the
//! names of the namespaces are fixed, and what an interrupted run has left is removed by the next.

#![allow(clippy::print_stdout, reason = "a program's output")]

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

use conformance::sim::Rng;
use credit::subject::uscc_from_parts;
use serde_json::Value;

const USAGE: &str = "usage: partition --xinqiao PROGRAM [--rounds N] [--seed S]
  --xinqiao PROGRAM  the binary `xinqiao`
  --rounds N         repairs, each under another disturbance (default 12)
  --seed S           what is disturbed when (default: the time)";

/// Members: authorities first, then the outlet and the bank.
const MEMBERS: [&str; 5] = ["sh", "js", "zj", "xyd", "bank-a"];
const AUTHORITIES: usize = 3;
const OUTLET: usize = 3;
const BANK: usize = 4;
/// The namespace of the two bridges; members have theirs beside it.
const HUB: &str = "xinqiao-hub";
/// No command takes longer, also on a busy machine; one that does hangs.
const COMMAND_S: &str = "90";
/// Time for a node to start, and for the rest to reach everybody: retries wait up to a minute.
const PATIENCE: Duration = Duration::from_secs(180);

type Outcome<T = ()> = Result<T, String>;

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let Some((program, rounds, seed)) = parse(&args) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    println!("seed {seed}, {rounds} rounds");
    let dir = env::temp_dir().join(format!("xinqiao-partition-{}", std::process::id()));
    let mut field = Field { program, dir, nodes: BTreeMap::new() };
    match field.run(rounds, Rng::new(seed)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {why} (seed {seed})");
            ExitCode::FAILURE
        }
    }
}

fn parse(args: &[String]) -> Option<(PathBuf, u64, u64)> {
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).ok()?;
    let (mut program, mut rounds, mut seed) = (None, 12, clock.as_millis() as u64);
    for pair in args.chunks(2) {
        match pair {
            [name, value] if name == "--xinqiao" => program = Some(PathBuf::from(value)),
            [name, value] if name == "--rounds" => rounds = value.parse().ok().filter(|n| *n > 0)?,
            [name, value] if name == "--seed" => seed = value.parse().ok()?,
            _ => return None,
        }
    }
    Some((program?, rounds, seed))
}

/// Namespaces, directories and processes of a run; they go with this value.
struct Field {
    program: PathBuf,
    dir: PathBuf,
    nodes: BTreeMap<usize, Child>,
}

/// A decision that was granted.
struct Repair {
    authority: usize,
    event: String,
    record: String,
    /// Members that have said once that the record is repaired.
    known_at: BTreeSet<usize>,
}

impl Field {
    fn run(&mut self, rounds: u64, mut rng: Rng) -> Outcome {
        self.network()?;
        self.found()?;
        for at in 0..MEMBERS.len() {
            self.spawn(at)?;
        }
        for at in 0..MEMBERS.len() {
            self.ready(at)?;
        }
        let grant = self.prepare(rounds)?;
        let before = self.status_entries(OUTLET)?;
        let mut repairs: Vec<Repair> = Vec::new();
        for round in 0..rounds {
            let authority = rng.below(AUTHORITIES as u64) as usize;
            let what = self.disturb(&mut rng, authority)?;
            let case = self.accepted(authority, round)?;
            let decided = self.at(authority, &["repair", "decide", &case])?;
            let (event, record) = (decided["event"].to_string(), text(&decided["record"])?);
            repairs.push(Repair { authority, event, record, known_at: BTreeSet::from([authority]) });
            // A decision that was answered is durable, also when the node ends at once.
            let killed = rng.one_in(4);
            if killed {
                self.kill(authority);
                self.spawn(authority)?;
                self.ready(authority)?;
            }
            let answered = self.ask(&grant, &repairs, "3")?;
            self.standings(&mut repairs)?;
            let word = if killed { ", then killed" } else { "" };
            println!(
                "round {round}: {what}; `{}` decides{word}; {answered} records answered",
                MEMBERS[authority]
            );
            if rng.one_in(2) {
                self.heal()?;
            }
        }
        self.heal()?;
        self.settled(&repairs)?;
        let entries = self.status_entries(OUTLET)? - before;
        if entries != rounds {
            return Err(format!("`xyd` has {entries} new status entries after {rounds} decisions"));
        }
        self.standings(&mut repairs)?;
        if let Some(repair) = repairs.iter().find(|r| r.known_at.len() < MEMBERS.len() - 1) {
            return Err(format!("not every platform knows that {} is repaired", repair.record));
        }
        // Everybody is reached, so everything that was not repaired is answered: one record of each authority at least.
        let answered = self.ask(&grant, &repairs, "60")?;
        if answered != (rounds + 1) as usize * AUTHORITIES - repairs.len() {
            return Err(format!("{answered} records are answered in the end, after {rounds} repairs"));
        }
        self.fsck()?;
        println!("{rounds} repairs acknowledged by everybody, once");
        Ok(())
    }

    /// Two bridges, and a namespace with an address for every member.
    fn network(&self) -> Outcome {
        self.no_network();
        ip(&["netns", "add", HUB]).map_err(|why| {
            format!("cannot make network namespaces: run as root, with iproute2 installed ({why})")
        })?;
        for bridge in ["br0", "br1"] {
            ip(&["-n", HUB, "link", "add", bridge, "type", "bridge"])?;
            ip(&["-n", HUB, "link", "set", bridge, "up"])?;
        }
        for (at, member) in MEMBERS.iter().enumerate() {
            let (space, port) = (space(member), format!("v{at}"));
            ip(&["netns", "add", &space])?;
            let pair = ["link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &space];
            ip(&[&["-n", HUB], &pair[..]].concat())?;
            ip(&["-n", HUB, "link", "set", &port, "master", "br0", "up"])?;
            ip(&["-n", &space, "addr", "add", &format!("{}/24", address(at)), "dev", "eth0"])?;
            ip(&["-n", &space, "link", "set", "lo", "up"])?;
            ip(&["-n", &space, "link", "set", "eth0", "up"])?;
        }
        Ok(())
    }

    /// What is not there any more is not an error.
    fn no_network(&self) {
        for space in MEMBERS.iter().map(|member| space(member)).chain([HUB.to_owned()]) {
            drop(ip(&["netns", "del", &space]));
        }
    }

    /// Moves a member to a bridge; between the two nothing passes.
    fn bridge(&self, at: usize, bridge: &str) -> Outcome {
        ip(&["-n", HUB, "link", "set", &format!("v{at}"), "master", bridge])
    }

    fn found(&self) -> Outcome {
        fs::create_dir_all(&self.dir).map_err(|e| e.to_string())?;
        self.file("pass", "an example passphrase\n")?;
        self.unlocked("gov", &["federation", "init", "--name", "partition"])?;
        for (at, id) in MEMBERS.iter().enumerate() {
            let role = ["region", "region", "region", "platform", "bank"][at];
            let region = ["310000", "320000", "330000", "310000", ""][at];
            // Plain HTTP is for a proxy on the same host; nobody reads the published logs here.
            let (quic, http) = (format!("{}:4433", address(at)), "127.0.0.1:8080");
            let (request, body) = (self.path(&format!("{id}.request")), body(at));
            let args = ["member", "request", "--id", id, "--role", role, "--name", id, "--out", &request];
            let more = ["--quic", &quic, "--http", http, "--region", region];
            let last: &[&str] = match at {
                0..AUTHORITIES => &["--body", &body],
                OUTLET => &["--collector"],
                _ => &[],
            };
            self.unlocked(id, &[&args[..], &more, last].concat())?;
            let mirrors = MEMBERS[(at + 1) % AUTHORITIES];
            let mirrors: &[&str] = if at < BANK { &["--mirrors", mirrors] } else { &[] };
            self.unlocked("gov", &[&["federation", "admit", &request], mirrors].concat())?;
        }
        for governor in ["g1", "g3"] {
            self.unlocked("gov", &["federation", "sign", "--governor", governor])?;
        }
        let registry = self.path("gov/registry");
        for id in MEMBERS {
            self.local(id, &["node", "init", "--registry", &registry])?;
        }
        Ok(())
    }

    /// One company with a penalty more than there are rounds at each authority, and a grant on which the bank may ask.
    fn prepare(&self, rounds: u64) -> Outcome<String> {
        for (at, member) in MEMBERS.iter().enumerate().take(AUTHORITIES) {
            self.at(at, &["source", "add", "office"])?;
            let lines: Vec<String> = (0..=rounds).map(|n| penalty(at, n)).collect();
            let rows = format!("{COLUMNS}\n{}\n", lines.join("\n"));
            let path = self.file(&format!("{member}.csv"), &rows)?;
            self.at(at, &["submit", &path, "--item", "CF", "--source", "office"])?;
        }
        let (letter, grant) = (self.file("letter", "a letter (example)\n")?, self.path("grant"));
        let issue = ["grant", "issue", "--subject", &company(), "--grantee", MEMBERS[BANK]];
        let uses = (rounds + 10).to_string();
        let more =
            ["--purpose", "pre-loan", "--item", "CF", "--letter", &letter, "--out", &grant, "--uses", &uses];
        self.at(OUTLET, &[&issue[..], &more].concat())?;
        Ok(grant)
    }

    /// Moves some members to the other bridge, or kills one that does not decide; those that were down start first.
    fn disturb(&mut self, rng: &mut Rng, authority: usize) -> Outcome<String> {
        let others: Vec<usize> = (0..MEMBERS.len()).filter(|at| *at != authority).collect();
        if rng.one_in(2) {
            for at in 0..MEMBERS.len() {
                self.bridge(at, "br0")?;
            }
            let away: Vec<usize> = (0..MEMBERS.len()).filter(|_| rng.one_in(2)).collect();
            for at in &away {
                self.bridge(*at, "br1")?;
            }
            return Ok(format!("cut off {:?}", away.iter().map(|at| MEMBERS[*at]).collect::<Vec<_>>()));
        }
        let up: Vec<usize> = others.into_iter().filter(|at| self.nodes.contains_key(at)).collect();
        match rng.pick(&up) {
            Some(at) => {
                self.kill(*at);
                // Half of them come back at once, in the middle of it.
                if rng.one_in(2) {
                    self.spawn(*at)?;
                    return Ok(format!("killed `{}`, which starts again", MEMBERS[*at]));
                }
                Ok(format!("killed `{}`", MEMBERS[*at]))
            }
            None => Ok("everybody else is down".to_owned()),
        }
    }

    /// Joins everybody again, and starts whoever is down.
    fn heal(&mut self) -> Outcome {
        for at in 0..MEMBERS.len() {
            self.bridge(at, "br0")?;
            if !self.nodes.contains_key(&at) {
                self.spawn(at)?;
            }
        }
        (0..MEMBERS.len()).try_for_each(|at| self.ready(at))
    }

    /// An accepted case about the authority's penalty of this round.
    fn accepted(&mut self, at: usize, round: u64) -> Outcome<String> {
        if !self.nodes.contains_key(&at) {
            self.spawn(at)?;
        }
        self.ready(at)?;
        let paper = self.file("performed", "proof of performance (example)\n")?;
        let (document, company) = (document(at, round), company());
        let apply = ["repair", "apply", "--authority", MEMBERS[at], "--item", "CF", "--document", &document];
        self.at(at, &[&apply[..], &["--subject", &company, "--paper", &paper]].concat())?;
        let case = until("the case is open", || {
            let cases = self.at(at, &["case", "list"]).ok()?;
            let open = cases["cases"].as_array()?.iter().find(|case| case["state"] == "applied").cloned()?;
            open["case"].as_str().map(str::to_owned)
        })?;
        self.at(at, &["repair", "accept", &case])?;
        Ok(case)
    }

    /// The bank asks, if it is up: no answer may hold a record whose authority has decided. Records that were answered.
    fn ask(&self, grant: &str, repairs: &[Repair], wait: &str) -> Outcome<usize> {
        if !self.nodes.contains_key(&BANK) {
            return Ok(0);
        }
        // Cut off, starting, or with nobody who answers: that is no answer.
        let asked =
            self.xinqiao(BANK, &["query", "--grant", grant, "--purpose", "pre-loan", "--wait", wait])?;
        let Ok(answer) = serde_json::from_str::<Value>(&asked) else { return Ok(0) };
        let members = answer["members"].as_array().cloned().unwrap_or_default();
        let records = members.iter().flat_map(|m| m["records"].as_array().cloned().unwrap_or_default());
        let records: Vec<String> = records.filter_map(|r| Some(r["record"].as_str()?.to_owned())).collect();
        match repairs.iter().find(|repair| records.contains(&repair.record)) {
            Some(repair) => Err(format!(
                "`{}` answers with {} after it has repaired it",
                MEMBERS[repair.authority], repair.record
            )),
            None => Ok(records.len()),
        }
    }

    /// Asks every platform that serves where the repaired records stand: who knew it once still does.
    fn standings(&self, repairs: &mut [Repair]) -> Outcome {
        for repair in repairs {
            for at in (0..BANK).filter(|at| self.nodes.contains_key(at)) {
                // Starting, it tells nothing.
                let Ok(status) = self.at(at, &["status", &repair.record]) else { continue };
                let own = |s: &&Value| s["authority"] == MEMBERS[repair.authority];
                let standing = status["standing"].as_array().and_then(|all| all.iter().find(own));
                let repaired = standing.is_some_and(|s| s["status"] == "repaired");
                if repaired {
                    repair.known_at.insert(at);
                } else if repair.known_at.contains(&at) {
                    return Err(format!(
                        "`{}` has forgotten that {} is repaired",
                        MEMBERS[at], repair.record
                    ));
                }
            }
        }
        Ok(())
    }

    /// Every certificate comes to name nobody as missing, and verifies offline.
    fn settled(&self, repairs: &[Repair]) -> Outcome {
        let registry = self.path("gov/registry");
        for Repair { authority, event, .. } in repairs {
            let recipients =
                until(&format!("`{}` has every receipt of event {event}", MEMBERS[*authority]), || {
                    let certificate = self.at(*authority, &["repair", "certificate", event]).ok()?;
                    let missing = certificate["missing"].as_array()?.len();
                    (missing == 0).then(|| certificate["acknowledged"].as_array().map_or(0, Vec::len))
                })?;
            // The other platforms; the bank when the record was disclosed to it.
            if recipients < BANK - 1 {
                return Err(format!("event {event} has {recipients} recipients"));
            }
            let file = self.path(&format!("{}-{event}.certificate", MEMBERS[*authority]));
            self.at(*authority, &["repair", "certificate", event, "--out", &file])?;
            self.at(*authority, &["verify", &file, "--registry", &registry])?;
        }
        Ok(())
    }

    fn status_entries(&self, at: usize) -> Outcome<u64> {
        let status = self.at(at, &["node", "status"])?;
        status["logs"]["status"].as_u64().ok_or_else(|| format!("no size in {status}"))
    }

    /// Stops every node in good order, and checks what it has stored.
    fn fsck(&mut self) -> Outcome {
        for (at, member) in MEMBERS.iter().enumerate() {
            self.at(at, &["node", "stop"])?;
            if let Some(mut child) = self.nodes.remove(&at) {
                child.wait().map_err(|e| e.to_string())?;
            }
            let report = self.unlocked(member, &["node", "fsck"])?;
            if report["broken"] != 0 {
                return Err(format!("what `{member}` has stored does not fit together: {report}"));
            }
        }
        Ok(())
    }

    fn spawn(&mut self, at: usize) -> Outcome {
        let log =
            fs::File::options().create(true).append(true).open(self.path(&format!("{}.log", MEMBERS[at])));
        let (dir, pass) = (self.path(MEMBERS[at]), self.path("pass"));
        let child = Command::new("ip")
            .args(["netns", "exec", &space(MEMBERS[at])])
            .arg(&self.program)
            .args(["node", "run", "--with-parent", "--dir", &dir, "--passphrase-file", &pass])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log.map_err(|e| e.to_string())?)
            .spawn();
        self.nodes.insert(at, child.map_err(|e| format!("cannot start a node: {e}"))?);
        Ok(())
    }

    fn kill(&mut self, at: usize) {
        if let Some(mut child) = self.nodes.remove(&at) {
            // `ip netns exec` has become the node. What has ended already needs no kill.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn ready(&mut self, at: usize) -> Outcome {
        let start = Instant::now();
        loop {
            let status = self.at(at, &["node", "status"]);
            if status
                .is_ok_and(|status| status["phase"].as_str().is_some_and(|p| p.eq_ignore_ascii_case("ready")))
            {
                return Ok(());
            }
            let ended =
                self.nodes.get_mut(&at).is_none_or(|child| child.try_wait().is_ok_and(|end| end.is_some()));
            if ended || start.elapsed() > PATIENCE {
                let log = fs::read_to_string(self.path(&format!("{}.log", MEMBERS[at]))).unwrap_or_default();
                let last: Vec<&str> = log.lines().rev().take(8).collect();
                let last: String = last.into_iter().rev().collect::<Vec<_>>().join("\n");
                return Err(format!("`{}` does not serve:\n{last}\n", MEMBERS[at]));
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// A command of the member's operator, in its namespace.
    fn at(&self, at: usize, args: &[&str]) -> Outcome<Value> {
        let said = self.xinqiao(at, args)?;
        let value: Value = serde_json::from_str(&said).map_err(|e| format!("{args:?} says `{said}`: {e}"))?;
        if value["ok"] == false { Err(format!("{args:?} at `{}`: {value}", MEMBERS[at])) } else { Ok(value) }
    }

    fn xinqiao(&self, at: usize, args: &[&str]) -> Outcome<String> {
        let mut command = Command::new("timeout");
        command.args([COMMAND_S, "ip", "netns", "exec", &space(MEMBERS[at])]).arg(&self.program);
        let dir: &[&str] = if args[0] == "verify" { &[] } else { &["--dir", &self.path(MEMBERS[at])] };
        let done = command.args(args).arg("--json").args(dir).output().map_err(|e| e.to_string())?;
        Ok(String::from_utf8_lossy(&done.stdout).into_owned())
    }

    /// A command that needs no network.
    fn local(&self, of: &str, args: &[&str]) -> Outcome<Value> {
        let dir = self.path(of);
        let done = Command::new(&self.program).args(args).args(["--json", "--dir", &dir]).output();
        let done = done.map_err(|e| format!("cannot run {}: {e}", self.program.display()))?;
        let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        if !done.status.success() {
            return Err(format!("{args:?} for `{of}`: {out}{err}"));
        }
        serde_json::from_str(&out).map_err(|e| format!("{args:?} says `{out}`: {e}"))
    }

    fn unlocked(&self, of: &str, args: &[&str]) -> Outcome<Value> {
        self.local(of, &[args, &["--passphrase-file", &self.path("pass")]].concat())
    }

    fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    /// A file that its owner alone may read.
    fn file(&self, name: &str, text: &str) -> Outcome<String> {
        let path = self.path(name);
        fs::write(&path, text).map_err(|e| e.to_string())?;
        private(Path::new(&path)).map_err(|e| e.to_string())?;
        Ok(path)
    }
}

impl Drop for Field {
    fn drop(&mut self) {
        for at in 0..MEMBERS.len() {
            self.kill(at);
        }
        self.no_network();
        // What is left behind is a temporary directory.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

#[cfg(unix)]
fn private(path: &Path) -> std::io::Result<()> {
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600))
}

#[cfg(not(unix))]
fn private(_: &Path) -> std::io::Result<()> {
    Ok(())
}

fn ip(args: &[&str]) -> Outcome {
    let done = Command::new("ip").args(args).output().map_err(|e| format!("ip: {e}"))?;
    if done.status.success() {
        return Ok(());
    }
    Err(format!("ip {}: {}", args.join(" "), String::from_utf8_lossy(&done.stderr).trim()))
}

fn space(member: &str) -> String {
    format!("xinqiao-{member}")
}

fn address(at: usize) -> String {
    format!("10.77.0.{}", at + 1)
}

/// Waits until `seen` gives something.
fn until<T>(what: &str, seen: impl Fn() -> Option<T>) -> Outcome<T> {
    let start = Instant::now();
    loop {
        if let Some(found) = seen() {
            return Ok(found);
        }
        if start.elapsed() > PATIENCE {
            return Err(format!("not within {} s: {what}", PATIENCE.as_secs()));
        }
        thread::sleep(Duration::from_millis(100));
    }
}

fn text(value: &Value) -> Outcome<String> {
    value.as_str().map(str::to_owned).ok_or_else(|| format!("`{value}` is no text"))
}

/// Organisation codes that begin with `Y` are not in use: no code made here is anybody's.
fn code(kind: &str, region: &str, serial: u64) -> String {
    let code = uscc_from_parts(kind, region, 29 * 31_u64.pow(7) + serial);
    code.map_or_else(String::new, |code| code.as_str().to_owned())
}

fn company() -> String {
    code("91", "310115", 7_000)
}

fn body(at: usize) -> String {
    code("11", "310000", at as u64)
}

fn document(at: usize, number: u64) -> String {
    format!("示罚〔2026〕第{at}-{number:05}号")
}

const COLUMNS: &str = "CF_XDR_MC,CF_XDR_LB,CF_XDR_SHXYM,CF_FRDB,CF_WSH,CF_WFXW,CF_SY,CF_YJ,CF_CFLB,CF_NR,CF_NR_FK,CF_JDRQ,CF_YXQ,CF_CFJG,CF_CFJGDM,CF_SJLY,CF_SJLYDM,BZ";

/// A penalty as a department hands it in; decided after Order 36 came into force.
fn penalty(at: usize, number: u64) -> String {
    let (company, document, body) = (company(), document(at, number), body(at));
    format!(
        "示例公司（虚构）,法人及非法人组织,{company},示例负责人,{document},未按规定报送经营信息,经查属实（虚构）,《示例办法（虚构）》第一条,罚款,罚款3000元,0.3,2026/04/08,2099/12/31,示例执法机构（虚构）,{body},示例执法机构（虚构）,{body},"
    )
}
