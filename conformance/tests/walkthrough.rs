//! `docs/WALKTHROUGH.md` holds: its shell blocks run word for word, top to bottom, and say what the page says they say.
//! Only the ports are changed, for those may be taken on the machine that runs the tests.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test; what fails here fails the test")]

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::{TcpListener, UdpSocket},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use common::xinqiao;

const ENGLISH: &str = "docs/WALKTHROUGH.md";
const CHINESE: &str = "docs/WALKTHROUGH.zh-CN.md";

/// How addresses of the page begin, before the last two digits of the port.
const ADDRESS: &str = "127.0.0.1:74";

/// The page takes a quarter of a minute; a machine under load takes longer, one that hangs takes for ever.
const WAIT: Duration = Duration::from_secs(150);

/// What the commands say, in this order. What fails on purpose is here too: a shell with `-e` does not mind when a
/// command after `!` succeeds.
const SAID: [&str; 41] = [
    "founded: 3 governors, 2 of them sign",
    "hand auditor.request to a governor",
    "1 of 2 signatures",
    "version 1 is complete",
    "delta version 1 with 5 members",
    "`sh` is set up under registry version 1",
    "which runs no node",
    "`sh` (region) is ready",
    "ok   node         `sh` is ready",
    "1 accepted, 0 amended, 0 duplicate, 1 rejected",
    "row 3 `CF_XDR_SHXYM` uscc_check_digit",
    "1 accepted, 0 amended, 1 duplicate, 0 rejected",
    "grant's signature holds: `js` lets `bank` ask",
    "`sh` answered / 已提供, access entry 0, 1 records",
    "行政处罚决定书文号: 示沪交罚〔2026〕1号",
    "1 records with 3 fields and 0 outcomes stay sealed",
    "`sh` answered / 已提供, access entry 0, 1 records",
    "`sh` refused / 不予提供, access entry 1, 0 records",
    "withheld 1 fields by rule grant-missing",
    "`sh` refused / 不予提供, access entry 2, 0 records",
    "withheld 1 fields by rule grant-other-purpose",
    ": answer 答复 by",
    "is refused 异议不成立; entry",
    "is applied",
    "clerk 经办人 `clerk-7`: 1 cases",
    "is accepted",
    "3 acknowledged, 0 missing",
    "acknowledged by js, xyd, bank; missing: none",
    "`sh` says repaired",
    "`sh` answered / 已提供, access entry 3, 0 records",
    "0 accepted, 1 amended, 0 duplicate, 0 rejected",
    "`sh` answered / 已提供, access entry 4, 0 records",
    "held here, authority `sh`",
    "`sh` answered / 已提供, access entry 5, 0 records",
    "sh/access: 6 entries copied to sh-access and verified",
    "cosigned by 2 witnesses, 2 make it believable",
    "`bank` and `js`: 6 accesses stand equal on both sides",
    "6 in the log: the list is complete",
    "`sh/status` is believed when 2 of 2 witnesses have cosigned",
    "proof holds: entry 8 of xinqiao/delta/sh/status",
    "error: sh/access: entry 0 was altered",
];

fn page(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    fs::read_to_string(root.join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The fenced blocks in the language `sh`, in order.
fn shell_blocks(page: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut block: Option<(bool, String)> = None;
    for line in page.lines() {
        block = match (block, line.strip_prefix("```")) {
            (None, Some(language)) => Some((language == "sh", String::new())),
            (None, None) => None,
            (Some((shell, text)), Some("")) => {
                blocks.extend(shell.then_some(text));
                None
            }
            (Some((shell, text)), _) => Some((shell, text + line + "\n")),
        };
    }
    assert!(block.is_none(), "a block is never closed");
    blocks
}

/// The text with every port of the page replaced by one that is free for TCP and UDP.
fn with_free_ports(script: &str) -> String {
    let ports: BTreeSet<&str> =
        script.match_indices(ADDRESS).map(|(at, _)| &script[at..at + ADDRESS.len() + 2]).collect();
    assert_eq!(ports.len(), 8, "{ports:?}");
    // All are held until all are chosen, so that none is chosen twice.
    let mut held = Vec::new();
    let mut free = BTreeMap::new();
    for port in ports {
        let (address, sockets) = (0..100)
            .find_map(|_| {
                let tcp = TcpListener::bind("127.0.0.1:0").ok()?;
                let address = tcp.local_addr().ok()?;
                Some((address, (tcp, UdpSocket::bind(address).ok()?)))
            })
            .unwrap();
        held.push(sockets);
        free.insert(port, address.to_string());
    }
    free.iter().fold(script.to_owned(), |text, (port, address)| text.replace(port, address))
}

/// A group of processes that ends with this value, and also when the test process is killed: its first process waits
/// for the end of a pipe that only the test process holds, and then ends the group.
struct Group(Child);

impl Group {
    fn new() -> Self {
        let mut keeper = Command::new("sh");
        keeper.args(["-c", "cat > /dev/null; kill -9 0"]).stdin(Stdio::piped()).process_group(0);
        Self(keeper.spawn().unwrap())
    }

    /// Runs a command in this group to its end.
    fn run(&self, command: &mut Command) -> Option<ExitStatus> {
        let mut child = command.process_group(self.0.id() as i32).spawn().unwrap();
        let until = Instant::now() + WAIT;
        while Instant::now() < until {
            if let Some(status) = child.try_wait().unwrap() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        None
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

#[test]
fn every_block_of_the_page_runs() {
    let dir = tempfile::tempdir().unwrap();
    let (script, said) = (dir.path().join("walkthrough.sh"), dir.path().join("said"));
    fs::write(&script, with_free_ports(&shell_blocks(&page(ENGLISH)).concat())).unwrap();
    let output = fs::File::create(&said).unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    let mut bash = Command::new("bash");
    bash.arg("-e").arg(&script).stdin(Stdio::null());
    bash.stdout(output.try_clone().unwrap()).stderr(output);
    bash.env("PATH", format!("{}:{path}", xinqiao().parent().unwrap().display())).env("TMPDIR", dir.path());
    for name in ["XINQIAO_DIR", "XINQIAO_PASSPHRASE_FILE", "XINQIAO_LOG"] {
        bash.env_remove(name);
    }
    let group = Group::new();
    let ended = group.run(&mut bash);
    drop(group);
    let said = String::from_utf8_lossy(&fs::read(&said).unwrap()).into_owned();
    assert!(ended.is_some_and(|status| status.success()), "ended with {ended:?} after saying:\n{said}");
    let mut rest = said.as_str();
    for wanted in SAID {
        let found = rest.find(wanted);
        let at = found.unwrap_or_else(|| panic!("`{wanted}` is not said, or not in its place:\n{said}"));
        rest = &rest[at + wanted.len()..];
    }
    let answered = said.split("says repaired").skip(1).any(|after| after.contains("行政处罚决定书文号:"));
    assert!(!answered, "a repaired penalty is disclosed:\n{said}");
}

#[test]
fn both_languages_have_the_same_blocks() {
    let (english, chinese) = (shell_blocks(&page(ENGLISH)), shell_blocks(&page(CHINESE)));
    assert!(english.len() > 15, "{} blocks", english.len());
    assert_eq!(english, chinese);
}
