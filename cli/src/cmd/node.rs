//! Setting up, running and watching a node.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use ::node::{
    Problem,
    client::{Client, unexpected},
    fsck as node_fsck,
    home::{Config, Home, read_registry},
    run::{self as runner, Started},
};
use crypto::{Timestamp, keystore::Credential};
use exchange::wire::{NodeStatus, Operation, Response};
use serde_json::{Value, json};
use tracing_subscriber::EnvFilter;

use crate::{
    args::Node,
    cmd::{backup, passphrase},
    output::{Output, counting, remedy, say},
};

/// Time for a node to finish what it does and end.
const STOP: Duration = Duration::from_secs(30);

pub(crate) async fn run(verb: Node) -> Result<Output, Problem> {
    match verb {
        Node::Init { registry, at } => init(&at.dir, &registry),
        Node::Run { at, alone, take_back, with_parent } => {
            let pass = passphrase(&at.passphrase)?;
            let filter = EnvFilter::try_from_env("XINQIAO_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
            tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).json().init();
            let parent_gone = async move {
                if !with_parent {
                    return std::future::pending().await;
                }
                // Whatever ends the parent, even a kill, closes the pipe.
                let _ = tokio::task::spawn_blocking(|| {
                    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())
                })
                .await;
            };
            runner::run(&at.dir, &pass, alone, take_back, parent_gone, |started| match started {
                Started::Ready(quic, http) => {
                    say(&format!("ready: peers at {quic}, logs at http://{http}/log/ / 节点已就绪"));
                }
                Started::Behind(problem) => say(&remedy(&problem)),
            })
            .await?;
            Ok(Output::new(json!({ "stopped": true }), "stopped / 已停止"))
        }
        Node::Backup(args) => backup::backup(&args).await,
        Node::Restore(args) => backup::restore(args).await,
        Node::Passphrase(args) => backup::passphrase(&args),
        Node::Fsck(at) => fsck(&at.dir, &passphrase(&at.passphrase)?),
        Node::Status(at) => show(Client::open(&at.dir)?.operate(Operation::Status).await?),
        Node::Stop(at) => {
            stop(&at.dir).await?;
            stopped(&at.dir).await?;
            Ok(Output::new(json!({ "stopped": true }), "stopped / 已停止"))
        }
    }
}

/// Gives a member's directory its registry and settings; again with a newer registry is the way to take it over.
pub(crate) fn init(dir: &Path, registry: &Path) -> Result<Output, Problem> {
    let home = Home::open(dir)?;
    let _lock = home.lock()?;
    let signed = read_registry(registry)?;
    let member = home.member()?;
    // Before anything is written: a registry without this member would bar the right one for good.
    signed.read()?.member(&member)?;
    let accepted = home.set_registry(&signed)?;
    let entry = accepted.member(&member)?;
    if entry.stated.quic.is_empty() {
        return Ok(Output::new(
            json!({ "member": member.as_str(), "registry": accepted.version, "node": false }),
            format!(
                "registry version {} set for `{member}`, which runs no node / 已设置登记表",
                accepted.version
            ),
        ));
    }
    let (quic, http) = (entry.stated.quic.clone(), entry.stated.http.clone());
    let gateway = home.config().ok().and_then(|known| known.gateway);
    home.set_config(&Config { member: member.as_str().to_owned(), quic, http, gateway })?;
    Ok(Output::new(
        json!({ "member": member.as_str(), "registry": accepted.version, "node": true }),
        format!(
            "`{member}` is set up under registry version {}; start it with `xinqiao node run` / 节点已配置",
            accepted.version
        ),
    ))
}

/// Asks a node to stop.
pub(crate) async fn stop(dir: &Path) -> Result<(), Problem> {
    match Client::open(dir)?.operate(Operation::Stop).await? {
        Response::Done => Ok(()),
        other => Err(unexpected(&other)),
    }
}

/// Waits until the node has let go of its directory: from then on it may be copied.
async fn stopped(dir: &Path) -> Result<(), Problem> {
    let home = Home::open(dir)?;
    let until = Instant::now() + STOP;
    loop {
        match home.lock() {
            Ok(_) => return Ok(()),
            Err(problem) if Instant::now() > until => return Err(problem),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

fn show(response: Response) -> Result<Output, Problem> {
    let Response::Status(status) = response else { return Err(unexpected(&response)) };
    let text = text(&status);
    Ok(Output::new(value(&status), text))
}

fn value(status: &NodeStatus) -> Value {
    let logs: serde_json::Map<String, Value> =
        status.logs.iter().map(|(l, n)| (l.to_string(), json!(n))).collect();
    let mirrors: Vec<Value> = status
        .mirrors
        .iter()
        .map(|(member, log, n)| json!({ "member": member.as_str(), "log": log.as_str(), "entries": n }))
        .collect();
    json!({
        "member": status.member.as_str(), "role": status.role.as_str(), "phase": status.phase,
        "registry": status.registry, "logs": logs, "mirrors": mirrors, "pending": status.pending,
        "sources": status.sources, "keys_end": status.keys_end.map(Timestamp::rfc3339),
    })
}

fn text(status: &NodeStatus) -> String {
    let mut text = format!(
        "`{}` ({}) is {}, registry version {}, {} status entries not acknowledged yet\n",
        status.member,
        status.role.as_str(),
        status.phase,
        status.registry,
        status.pending
    );
    for (log, n) in &status.logs {
        text.push_str(&format!("  {log:<8} {n:>9} entries\n"));
    }
    for (member, log, n) in &status.mirrors {
        text.push_str(&format!("  copy of {member}/{log}: {n} entries\n"));
    }
    if let Some(until) = status.keys_end {
        text.push_str(&format!(
            "  the registry names new keys: start the node again before {} / 登记表已启用新密钥，请在该时间之前重新启动节点\n",
            until.rfc3339()
        ));
    }
    if status.phase == "behind" {
        text.push_str(&remedy(&Problem::behind(
            "this member's own logs are shorter than a peer has seen them",
        )));
    }
    text.trim_end().to_owned()
}

/// Checks everything stored; nobody else may use the directory meanwhile.
fn fsck(dir: &Path, with: &Credential) -> Result<Output, Problem> {
    let bar = counting();
    let report = node_fsck::check(dir, with, &mut |what, done, of| {
        bar.set_message(what.to_owned());
        bar.set_length(of.unwrap_or(done));
        bar.set_position(done);
    });
    bar.finish_and_clear();
    let report = report?;
    let checked = report.checked;
    let findings: Vec<Value> = report
        .findings
        .iter()
        .map(|f| {
            json!({ "place": f.place, "what": f.wrong.en(), "what_zh": f.wrong.zh(), "detail": f.detail })
        })
        .collect();
    let broken = report.findings.len() as u64 + report.more;
    let value = json!({
        "ok": broken == 0, "entries": checked.entries, "rows": checked.rows, "payloads": checked.payloads,
        "without_payload": checked.without_payload, "broken": broken, "findings": findings,
    });
    let mut text: String = report.findings.iter().map(|f| format!("{f}\n")).collect();
    text.push_str(&format!(
        "{0} entries, {1} rows, {2} sealed records checked / 已检查 {0} 条日志、{1} 行数据、{2} 份密封记录\n",
        checked.entries, checked.rows, checked.payloads
    ));
    if checked.without_payload > 0 {
        text.push_str(&format!(
            "{0} versions came back from a mirror, which has no field values; hand their files in again / \
             {0} 个版本由镜像取回，镜像不含数据项内容；请重新报送相应文件\n",
            checked.without_payload
        ));
    }
    text.push_str(&match broken {
        0 => "nothing is broken / 未发现损坏".to_owned(),
        n => remedy(&Problem::new(
            format!("broken things: {n}"),
            "keep the directory for inspection, check the disk, and put the whole directory back from the newest backup; \
             what the logs have had since comes back from the mirrors",
            "请保留现场、检查磁盘，并用最近的备份恢复整个目录；其后的日志由镜像交还",
        )),
    });
    Ok(Output::judged(value, text, broken == 0))
}
