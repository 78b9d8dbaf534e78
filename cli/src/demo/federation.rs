//! The demonstration's members: directories, keys, registry, and one process per node.

use std::{
    collections::BTreeMap,
    fs,
    net::{TcpListener, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crypto::codec;
use exchange::{logs::LogName, registry::Registry};
use node::{Problem, clock, home::Home, keys::write_private};
use serde_json::{Value, json};

use ::node::client::member_id;

use crate::{
    args::{MemberRequest, Passphrase, Unlock},
    cmd::{self, federation, member},
    fetch, sample,
};

/// Time for a node to say that it is ready; it waits up to four seconds for peers that are not there.
const READY: Duration = Duration::from_secs(30);

/// A member of the demonstration: id, role, region, name, mirrors.
pub(crate) type Cast = (&'static str, &'static str, &'static str, &'static str, &'static [&'static str]);

const CAST: [Cast; 9] = [
    ("sh", "region", "310000", "上海市公共信用平台（演示）", &["js", "zj"]),
    ("js", "region", "320000", "江苏省公共信用平台（演示）", &["sh", "zj"]),
    ("zj", "region", "330000", "浙江省公共信用平台（演示）", &["sh", "js"]),
    ("ah", "region", "340000", "安徽省公共信用平台（演示）", &["sh", "js"]),
    ("cn.sh", "district", "310105", "长宁区公共信用平台（演示）", &["sh"]),
    ("xyd", "platform", "310000", "信易贷平台（演示）", &["sh"]),
    ("bank-a", "bank", "", "示例银行甲（虚构）", &[]),
    ("bank-b", "bank", "", "示例银行乙（虚构）", &[]),
    ("auditor", "auditor", "", "稽核机构（演示）", &[]),
];

/// The members of the sandbox: two regions, the outlet, a bank.
pub(crate) const SANDBOX: [Cast; 4] = [
    ("sh", "region", "310000", "上海市公共信用平台（沙箱）", &["js"]),
    ("js", "region", "320000", "江苏省公共信用平台（沙箱）", &["sh"]),
    ("xyd", "platform", "310000", "信易贷平台（沙箱）", &["sh"]),
    ("bank-a", "bank", "", "示例银行甲（虚构）", &[]),
];

/// Members whose departments hand in files.
pub(crate) const COLLECTING: [&str; 5] = ["sh", "js", "zj", "ah", "cn.sh"];

/// The members that run a node.
pub(crate) fn with_node() -> impl Iterator<Item = &'static str> {
    CAST.iter().map(|c| c.0).filter(|id| *id != "auditor")
}

/// The federation of the demonstration.
pub(crate) struct Federation {
    root: PathBuf,
    pass: PathBuf,
    cast: &'static [Cast],
    running: BTreeMap<&'static str, Child>,
    /// What every member decides under.
    pub(crate) registry: Option<Registry>,
}

impl Federation {
    /// An empty directory and a fresh passphrase.
    pub(crate) fn new(root: &Path) -> Result<Self, Problem> {
        Self::of(root, &CAST)
    }

    /// The same with other members.
    pub(crate) fn of(root: &Path, cast: &'static [Cast]) -> Result<Self, Problem> {
        let failed = |e: std::io::Error| Problem::fault(format!("{}: {e}", root.display()));
        fs::create_dir_all(root).map_err(failed)?;
        if fs::read_dir(root).map_err(failed)?.next().is_some() {
            return Err(Problem::new(
                format!("{} is not empty", root.display()),
                "give a new directory with --dir",
                "请用 --dir 指定一个新目录",
            ));
        }
        let pass = root.join("passphrase");
        write_private(&pass, codec::hex(&clock::random::<16>()).as_bytes())?;
        Ok(Self { root: root.to_owned(), pass, cast, running: BTreeMap::new(), registry: None })
    }

    /// A member's directory.
    pub(crate) fn dir(&self, member: &str) -> PathBuf {
        self.root.join(member)
    }

    /// A file beside the members' directories.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// A member's directory with the passphrase.
    pub(crate) fn unlock(&self, member: &str) -> Unlock {
        Unlock {
            dir: self.dir(member),
            passphrase: Passphrase { passphrase_file: Some(self.pass.clone()), key_file: None },
        }
    }

    /// The registry file.
    pub(crate) fn registry_file(&self) -> PathBuf {
        self.file("governors").join("registry")
    }

    /// Members request admission, the governors admit and sign, every directory gets the registry.
    pub(crate) fn found(&mut self) -> Result<(), Problem> {
        let governors = self.unlock("governors");
        federation::init(&governors, "delta-demo", 3, 2)?;
        let mut taken = Vec::new();
        for (id, role, region, name, mirrors) in self.cast.iter().copied() {
            let request = self.file(&format!("{id}.request"));
            let node = id != "auditor";
            let address = |port: u16| if node { format!("127.0.0.1:{port}") } else { String::new() };
            member::request(&MemberRequest {
                id: id.to_owned(),
                role: role.to_owned(),
                name: name.to_owned(),
                region: region.to_owned(),
                quic: address(free_port(&mut taken)?),
                http: address(free_port(&mut taken)?),
                collector: matches!(id, "js" | "xyd"),
                bodies: sample::bodies(id),
                system: None,
                out: request.clone(),
                at: self.unlock(id),
            })?;
            let mirrors: Vec<String> = mirrors.iter().map(|m| (*m).to_owned()).collect();
            let witness = node && !role.starts_with("bank");
            federation::admit(&governors, &request, &federation::Terms::of_new(witness, &mirrors))?;
        }
        federation::sign(&governors, "g1")?;
        federation::sign(&governors, "g3")?;
        for (id, ..) in self.cast.iter().copied() {
            cmd::node::init(&self.dir(id), &self.registry_file())?;
        }
        self.registry = Some(Home::open(&self.dir("sh"))?.registry()?.1);
        Ok(())
    }

    /// The registry, once it is signed.
    pub(crate) fn registry(&self) -> Result<&Registry, Problem> {
        self.registry.as_ref().ok_or_else(|| Problem::fault("the registry is not signed yet"))
    }

    /// Starts a node as a process of its own.
    pub(crate) fn start(&mut self, member: &'static str) -> Result<(), Problem> {
        let failed = |e: std::io::Error| Problem::fault(format!("node `{member}` does not start: {e}"));
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.file(&format!("{member}.log")))
            .map_err(failed)?;
        let child = Command::new(std::env::current_exe().map_err(failed)?)
            .args(["node", "run", "--dir"])
            .arg(self.dir(member))
            .arg("--passphrase-file")
            .arg(&self.pass)
            .arg("--with-parent")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(failed)?;
        self.running.insert(member, child);
        Ok(())
    }

    /// Waits until a node is ready.
    pub(crate) async fn ready(&mut self, member: &'static str) -> Result<(), Problem> {
        let http = self.registry()?.member(&member_id(member)?)?.stated.http.clone();
        let until = Instant::now() + READY;
        loop {
            if let Ok((status, _)) = fetch::get(&format!("http://{http}/readyz"), None).await
                && status.is_success()
            {
                return Ok(());
            }
            let ended = self.running.get_mut(member).and_then(|c| c.try_wait().ok().flatten());
            if ended.is_some() || Instant::now() > until {
                let said = fs::read_to_string(self.file(&format!("{member}.log"))).unwrap_or_default();
                let last: Vec<&str> = said.lines().rev().take(3).collect();
                return Err(Problem::fault(format!("node `{member}` is not ready: {}", last.join(" | "))));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Stops one node in good order.
    pub(crate) async fn stop_one(&mut self, member: &'static str) -> Result<(), Problem> {
        cmd::node::stop(&self.dir(member)).await?;
        self.ended(member).await
    }

    /// Stops every node: all are told first, then all are waited for.
    pub(crate) async fn stop(&mut self) {
        let members: Vec<&'static str> = self.running.keys().copied().collect();
        for member in &members {
            if cmd::node::stop(&self.dir(member)).await.is_err()
                && let Some(child) = self.running.get_mut(member)
            {
                let _ = child.kill();
            }
        }
        for member in members {
            let _ = self.ended(member).await;
        }
    }

    async fn ended(&mut self, member: &'static str) -> Result<(), Problem> {
        let Some(mut child) = self.running.remove(member) else { return Ok(()) };
        match tokio::task::spawn_blocking(move || child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            other => Err(Problem::fault(format!("node `{member}` did not end in good order: {other:?}"))),
        }
    }

    /// The members whose node has ended since this was asked last.
    pub(crate) fn gone(&mut self) -> Vec<&'static str> {
        let ended = |child: &mut Child| !matches!(child.try_wait(), Ok(None));
        let gone: Vec<&'static str> =
            self.running.iter_mut().filter_map(|(member, child)| ended(child).then_some(*member)).collect();
        self.running.retain(|member, _| !gone.contains(member));
        gone
    }

    /// Copies a member's directory while its node is stopped.
    pub(crate) fn copy(&self, member: &str, to: &Path) -> Result<u64, Problem> {
        copy_dir(&self.dir(member), to).map_err(|e| Problem::fault(format!("copying {member}: {e}")))
    }

    /// Puts a copy in the place of a member's directory.
    pub(crate) fn replace(&self, member: &str, by: &Path) -> Result<(), Problem> {
        let failed = |e: std::io::Error| Problem::fault(format!("replacing {member}: {e}"));
        fs::rename(self.dir(member), self.file(&format!("{member}.lost"))).map_err(failed)?;
        copy_dir(by, &self.dir(member)).map(drop).map_err(failed)
    }

    /// Where everything is, for programs.
    pub(crate) fn nodes(&self) -> Vec<Value> {
        let Some(registry) = &self.registry else { return Vec::new() };
        let nodes = registry.active().filter(|m| !m.quic.is_empty());
        let node = |m: &exchange::registry::MemberRequest| {
            let logs: serde_json::Map<String, Value> = LogName::ALL
                .into_iter()
                .map(|log| {
                    let vkey = registry.note_key(&m.id, log).map(|k| k.vkey()).unwrap_or_default();
                    (log.to_string(), json!({ "url": format!("http://{}/log/{log}", m.http), "vkey": vkey }))
                })
                .collect();
            json!({ "member": m.id.as_str(), "quic": m.quic, "http": format!("http://{}", m.http), "dir": self.dir(m.id.as_str()), "logs": logs })
        };
        nodes.map(node).collect()
    }

    /// What to try next, for people.
    pub(crate) fn hints(&self, auth: &str) -> String {
        let mut text = String::from("\nthe nodes / 节点\n");
        for node in self.nodes() {
            text.push_str(&format!(
                "  {:<8} {}  logs under {}/log/\n",
                node["member"].as_str().unwrap_or(""),
                node["quic"].as_str().unwrap_or(""),
                node["http"].as_str().unwrap_or("")
            ));
        }
        let (sh, registry, http) = (self.dir("sh"), self.registry_file(), self.nodes());
        let base = http
            .iter()
            .find(|n| n["member"] == "sh")
            .and_then(|n| n["http"].as_str().map(str::to_owned))
            .unwrap_or_default();
        text.push_str(&format!(
            "try next / 接下来可以尝试\n  xinqiao node status --dir {sh}\n  xinqiao repair list --dir {sh}\n  xinqiao verify {base}/log/status --registry {registry} --auth '{auth}'\n  xinqiao audit export --member sh --out /tmp/sh-access --dir {auditor} --passphrase-file {pass}\n",
            sh = sh.display(),
            registry = registry.display(),
            auditor = self.dir("auditor").display(),
            pass = self.pass.display(),
        ));
        text
    }
}

impl Drop for Federation {
    fn drop(&mut self) {
        for child in self.running.values_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A port free for UDP and TCP right now.
pub(crate) fn free_port(taken: &mut Vec<u16>) -> Result<u16, Problem> {
    for _ in 0..100 {
        let listener = TcpListener::bind("127.0.0.1:0");
        let port = listener.as_ref().ok().and_then(|l| l.local_addr().ok()).map(|a| a.port());
        if let Some(port) = port
            && !taken.contains(&port)
            && UdpSocket::bind(("127.0.0.1", port)).is_ok()
        {
            taken.push(port);
            return Ok(port);
        }
    }
    Err(Problem::fault("no free port on 127.0.0.1"))
}

/// Copies a directory; returns the bytes copied.
pub(crate) fn copy_dir(from: &Path, to: &Path) -> std::io::Result<u64> {
    fs::create_dir_all(to)?;
    fs::set_permissions(to, fs::metadata(from)?.permissions())?;
    let mut bytes = 0;
    for entry in fs::read_dir(from)? {
        let (path, target) = {
            let e = entry?;
            (e.path(), to.join(e.file_name()))
        };
        bytes += if path.is_dir() { copy_dir(&path, &target)? } else { fs::copy(&path, &target)? };
    }
    Ok(bytes)
}
