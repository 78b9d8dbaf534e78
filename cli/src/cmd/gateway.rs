//! The gateway's settings: whether it listens, who may use it, who is called.

use std::path::{Path, PathBuf};

use ::node::{
    Problem, clock,
    gateway::{
        self,
        hooks::{Standing, standing},
        scope::{Scope, listed},
        settings::{ApiKey, Hook as HookSettings, Settings, absolute, lock},
    },
    home::{GatewayConfig, Home},
};
use serde_json::{Value, json};

use crate::{
    args::{Gateway, Hook, Key},
    output::Output,
};

pub(crate) fn run(verb: Gateway) -> Result<Output, Problem> {
    match verb {
        Gateway::Enable { listen, certificate, key, node } => {
            let path = |file: Option<PathBuf>| file.map(|file| absolute(&file)).transpose();
            let config = GatewayConfig { listen, certificate: path(certificate)?, key: path(key)? };
            // Before the file is written: under settings that do not hold the node would not start.
            gateway::check(&config)?;
            let text = format!(
                "the gateway listens on {} from the node's next start on / 节点下次启动后网关将监听",
                config.listen
            );
            let value =
                json!({ "listen": config.listen, "certificate": config.certificate, "key": config.key });
            configure(&node.dir, Some(config))?;
            Ok(Output::new(value, text))
        }
        Gateway::Disable(node) => {
            configure(&node.dir, None)?;
            let text = "the gateway is off from the node's next start on / 节点下次启动后网关关闭";
            Ok(Output::new(json!({ "listen": null }), text))
        }
        Gateway::Key(verb) => key(verb),
        Gateway::Hook(verb) => hook(verb),
    }
}

fn configure(dir: &Path, gateway: Option<GatewayConfig>) -> Result<(), Problem> {
    let home = Home::open(dir)?;
    let _lock = lock(dir)?;
    let mut config = home.config()?;
    config.gateway = gateway;
    home.set_config(&config)
}

/// Changes the settings of a member's directory. The running node reads them at its next request.
fn change<T>(dir: &Path, change: impl FnOnce(&mut Settings) -> Result<T, Problem>) -> Result<T, Problem> {
    Home::open(dir)?;
    Settings::change(dir, change)
}

fn key(verb: Key) -> Result<Output, Problem> {
    match verb {
        Key::Add { name, clerk_prefix, per_minute, may, purpose, mode, clerk, node } => {
            let list = |words: Vec<String>| (!words.is_empty()).then(|| words.into_iter().collect());
            let scope =
                Scope { may: list(may), purposes: list(purpose), modes: list(mode), clerks: list(clerk) };
            let key = change(&node.dir, |s| s.add_key(&name, &clerk_prefix, per_minute, scope.clone()))?;
            let text = format!(
                "{key}\nshown once; only its digest is kept / 仅显示一次，本机只保存其摘要{}",
                scope_shown(&scope)
            );
            Ok(Output::new(json!({ "name": name, "key": key, "scope": scope_value(&scope) }), text))
        }
        Key::List(node) => {
            let keys = Settings::read(&node.dir)?.keys;
            let line = |key: &ApiKey| {
                let end = key.revoked.as_ref().map(|at| format!(", revoked {at}")).unwrap_or_default();
                format!(
                    "{:<16} clerks `{}…`, {} a minute, made {}{end}{}",
                    key.name,
                    key.clerk_prefix,
                    key.per_minute,
                    key.made,
                    scope_shown(&key.scope)
                )
            };
            let text = keys.iter().map(line).collect::<Vec<_>>().join("\n");
            let value = |key: &ApiKey| {
                json!({
                    "name": key.name, "clerk_prefix": key.clerk_prefix, "per_minute": key.per_minute, "made": key.made,
                    "revoked": key.revoked, "scope": scope_value(&key.scope),
                })
            };
            Ok(Output::new(json!({ "keys": keys.iter().map(value).collect::<Vec<Value>>() }), text))
        }
        Key::Revoke { name, node } => {
            change(&node.dir, |s| s.revoke_key(&name, clock::now()))?;
            let text = format!("`{name}` opens nothing any more / 密钥已吊销");
            Ok(Output::new(json!({ "revoked": name }), text))
        }
    }
}

/// The lists of a key, a line each; nothing when it may do everything.
fn scope_shown(scope: &Scope) -> String {
    scope.lists().map(|(name, list)| format!("\n  only {name}: {}", listed(list))).collect()
}

/// As above: a list that is not there allows everything.
fn scope_value(scope: &Scope) -> Value {
    scope.lists().map(|(name, list)| (name.to_owned(), json!(list))).collect()
}

fn hook(verb: Hook) -> Result<Output, Problem> {
    match verb {
        Hook::Add { name, url, authorities, after, node } => {
            let secret = change(&node.dir, |s| s.add_hook(&name, &url, authorities, after))?;
            let text = format!("{secret}\nthe secret of its signatures, shown once / 签名密钥，仅显示一次");
            Ok(Output::new(json!({ "name": name, "secret": secret }), text))
        }
        Hook::List(node) => {
            let hooks = Settings::read(&node.dir)?.hooks;
            let all: Vec<(HookSettings, Standing)> =
                hooks.into_iter().map(|hook| (hook.clone(), standing(&node.dir, &hook))).collect();
            let line = |(hook, standing): &(HookSettings, Standing)| {
                let trouble = standing.trouble.as_ref().map(|why| format!("\n  trouble / 故障: {why}"));
                let trouble = trouble.unwrap_or_default();
                format!("{:<16} {}, told up to {}{trouble}", hook.name, hook.url, standing.told)
            };
            let value = |(hook, standing): &(HookSettings, Standing)| {
                json!({
                    "name": hook.name, "url": hook.url, "told": standing.told, "trouble": standing.trouble,
                })
            };
            let text = all.iter().map(line).collect::<Vec<_>>().join("\n");
            Ok(Output::new(json!({ "hooks": all.iter().map(value).collect::<Vec<Value>>() }), text))
        }
        Hook::Remove { name, node } => {
            change(&node.dir, |s| s.remove_hook(&name))?;
            Ok(Output::new(json!({ "removed": name }), format!("`{name}` is called no more / 已删除")))
        }
        Hook::Replay { name, after, node } => {
            change(&node.dir, |s| s.replay_hook(&name, after))?;
            let text = format!("`{name}` is told every event after {after} again / 将重新推送其后的事件");
            Ok(Output::new(json!({ "name": name, "after": after }), text))
        }
    }
}
