//! Who may use the gateway and who is called: `gateway.json` in the member's directory.
//!
//! The command line writes the file, the running node reads it at every request, so that a revoked key opens nothing from
//! then on. Keys are kept as SHA-256 only: they are 32 random bytes, and nobody tries them out. A hook's secret is kept in
//! clear, as the operator's key is, because the node signs with it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use credit::id::{ClerkId, SourceId};
use crypto::{Digest, Timestamp};
use serde::{Deserialize, Serialize};

use super::scope::Scope;
use crate::{
    Problem, clock,
    keys::{check_private, write_private},
};

const FILE: &str = "gateway.json";
/// Held while the file is changed; the system releases it when the process ends, however it ends.
const LOCK: &str = "gateway.lock";
/// What every API key begins with, so that a scanner for leaked secrets finds it.
const KEY_PREFIX: &str = "xqk_";
/// What every webhook secret begins with (Standard Webhooks).
const SECRET_PREFIX: &str = "whsec_";
/// Questions a key may ask in a minute unless told: a counter asks one or two, and a program that has run wild is noticed.
pub const PER_MINUTE: u32 = 600;
/// Longest prefix of a clerk: what is left of the 64 characters names a person.
pub const CLERK_PREFIX_CHARS_MAX: usize = 32;

/// The file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// API keys, revoked ones too: their names are in logs.
    pub keys: Vec<ApiKey>,
    /// Webhooks.
    pub hooks: Vec<Hook>,
}

/// A key of one of the member's systems.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiKey {
    /// The system. A new key under the name of a revoked one sees what that one asked.
    pub name: String,
    /// SHA-256 of the key.
    pub sha256: String,
    /// Stands before every clerk the system names.
    pub clerk_prefix: String,
    /// Questions in a minute.
    pub per_minute: u32,
    /// What it may do; without one everything.
    #[serde(default, skip_serializing_if = "everything")]
    pub scope: Scope,
    /// When it was made.
    pub made: String,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<String>,
}

fn everything(scope: &Scope) -> bool {
    *scope == Scope::default()
}

/// Somebody who is told of every event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hook {
    /// Its name.
    pub name: String,
    /// Where it is called: https, or http on loopback.
    pub url: String,
    /// What its calls are signed with: `whsec_` and base64.
    pub secret: String,
    /// PEM file of the authorities its certificate may come from; the system's unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorities: Option<PathBuf>,
    /// Events after this number are told.
    pub after: u64,
    /// Rises when `after` is set anew.
    pub epoch: u64,
}

impl Hook {
    /// The bytes calls are signed with.
    pub fn signing(&self) -> Option<Vec<u8>> {
        STANDARD.decode(self.secret.strip_prefix(SECRET_PREFIX)?).ok()
    }
}

impl Settings {
    /// Reads the file of a member's directory; without one nobody may do anything.
    pub fn read(dir: &Path) -> Result<Self, Problem> {
        let path = dir.join(FILE);
        check_private(&path)?;
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| {
                Problem::new(
                    format!("{}: {e}", path.display()),
                    "it was changed by something else; restore it, or remove it and make new keys",
                    "该文件已被其他程序改动；请恢复，或删除后重新生成密钥",
                )
            }),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(e) => Err(Problem::fault(format!("{}: {e}", path.display()))),
        }
    }

    /// Changes the file of a member's directory; whoever changes it at the same time waits. What was changed is read back
    /// before it is said to be done.
    pub fn change<T>(dir: &Path, change: impl FnOnce(&mut Self) -> Result<T, Problem>) -> Result<T, Problem> {
        let _lock = lock(dir)?;
        let mut settings = Self::read(dir)?;
        let made = change(&mut settings)?;
        settings.write(dir)?;
        if Self::read(dir)? != settings {
            return Err(Problem::new(
                format!("{}: something else has changed it at the same moment", dir.join(FILE).display()),
                "see what stands there with `xinqiao gateway key list` and `hook list`, and do it again; only `xinqiao` may write this file",
                "请用 `xinqiao gateway key list`、`hook list` 查看现状后重试；该文件只能由 `xinqiao` 写入",
            ));
        }
        Ok(made)
    }

    fn write(&self, dir: &Path) -> Result<(), Problem> {
        let text = serde_json::to_vec_pretty(self).map_err(|e| Problem::fault(e.to_string()))?;
        write_private(&dir.join(FILE), &text)
    }

    /// The key that `token` is, while it is not revoked.
    pub fn key(&self, token: &str) -> Option<&ApiKey> {
        let hash = Digest::of(token.as_bytes()).to_string();
        self.in_force().find(|key| key.sha256 == hash)
    }

    fn in_force(&self) -> impl Iterator<Item = &ApiKey> {
        self.keys.iter().filter(|key| key.revoked.is_none())
    }

    /// What no clerk of this key may begin with: the longer prefixes of other keys. Its own stands before every clerk, so
    /// that a shorter one cannot be meant.
    pub fn foreign_prefixes(&self, key: &ApiKey) -> Vec<String> {
        let longer = |other: &&ApiKey| other.clerk_prefix.len() > key.clerk_prefix.len();
        self.in_force().filter(longer).map(|other| other.clerk_prefix.clone()).collect()
    }

    /// Makes a key; returns it. It is shown once and kept by nobody here.
    pub fn add_key(
        &mut self,
        name: &str,
        clerk_prefix: &str,
        per_minute: u32,
        scope: Scope,
    ) -> Result<String, Problem> {
        named(name)?;
        let scope = scope.checked()?;
        if self.in_force().any(|key| key.name == name) {
            return Err(Problem::new(
                format!("there is a key `{name}` already"),
                "revoke it with `xinqiao gateway key revoke`, or take another --name",
                "请先用 `xinqiao gateway key revoke` 吊销，或更换 --name",
            ));
        }
        let long = clerk_prefix.chars().count() > CLERK_PREFIX_CHARS_MAX;
        if long || !clerk_prefix.is_empty() && ClerkId::parse(clerk_prefix).is_none() || per_minute == 0 {
            return Err(Problem::new(
                "a clerk's prefix has at most 32 visible characters without a blank at either end, and a key allows at least one question a minute",
                "give another --clerk-prefix or --per-minute",
                "请更换 --clerk-prefix 或 --per-minute",
            ));
        }
        // Either system could name clerks as if the other had vouched for them.
        let overlaps = |key: &&ApiKey| {
            let other = key.clerk_prefix.as_str();
            !other.is_empty() && (other.starts_with(clerk_prefix) || clerk_prefix.starts_with(other))
        };
        if let Some(other) = self.in_force().filter(|_| !clerk_prefix.is_empty()).find(overlaps) {
            return Err(Problem::new(
                format!(
                    "`{clerk_prefix}` and the prefix `{}` of key `{}` begin alike",
                    other.clerk_prefix, other.name
                ),
                "give another --clerk-prefix, of which none begins with the other, or revoke that key first",
                "请更换 --clerk-prefix，使任何前缀都不以另一前缀开头；或先吊销该密钥",
            ));
        }
        let token = format!("{KEY_PREFIX}{}", URL_SAFE_NO_PAD.encode(clock::random::<32>()));
        self.keys.push(ApiKey {
            name: name.to_owned(),
            sha256: Digest::of(token.as_bytes()).to_string(),
            clerk_prefix: clerk_prefix.to_owned(),
            per_minute,
            scope,
            made: clock::now().rfc3339(),
            revoked: None,
        });
        Ok(token)
    }

    /// Revokes a key.
    pub fn revoke_key(&mut self, name: &str, now: Timestamp) -> Result<(), Problem> {
        match self.keys.iter_mut().find(|key| key.name == name && key.revoked.is_none()) {
            Some(key) => {
                key.revoked = Some(now.rfc3339());
                Ok(())
            }
            None => Err(unknown("key", name)),
        }
    }

    /// Has `url` called; returns the secret its calls are signed with.
    pub fn add_hook(
        &mut self,
        name: &str,
        url: &str,
        authorities: Option<PathBuf>,
        after: u64,
    ) -> Result<String, Problem> {
        named(name)?;
        if self.hooks.iter().any(|hook| hook.name == name) {
            return Err(Problem::new(
                format!("there is a hook `{name}` already"),
                "remove it first, or take another --name",
                "请先删除，或更换 --name",
            ));
        }
        super::hooks::target(url).map_err(|why| {
            Problem::new(
                format!("{url}: {why}"),
                "give an https URL, or http on 127.0.0.1, [::1] or localhost",
                "请提供 https 地址，或 127.0.0.1、[::1]、localhost 上的 http 地址",
            )
        })?;
        let authorities = authorities.map(|file| absolute(&file)).transpose()?;
        if let Some(file) = &authorities {
            crate::tls::https_client(file).map_err(|why| {
                Problem::new(
                    why,
                    "give --authorities a PEM file of certificates, or leave it out for the system's",
                    "请为 --authorities 提供 PEM 格式的证书文件；或省略，使用系统的证书机构",
                )
            })?;
        }
        let secret = format!("{SECRET_PREFIX}{}", STANDARD.encode(clock::random::<32>()));
        let (name, url) = (name.to_owned(), url.to_owned());
        // A hook of the same name that was removed may have left its place behind.
        let epoch = clock::now().0;
        self.hooks.push(Hook { name, url, secret: secret.clone(), authorities, after, epoch });
        Ok(secret)
    }

    /// Calls a hook no more.
    pub fn remove_hook(&mut self, name: &str) -> Result<(), Problem> {
        let before = self.hooks.len();
        self.hooks.retain(|hook| hook.name != name);
        if self.hooks.len() < before { Ok(()) } else { Err(unknown("hook", name)) }
    }

    /// Has every event after `after` told again.
    pub fn replay_hook(&mut self, name: &str, after: u64) -> Result<(), Problem> {
        match self.hooks.iter_mut().find(|hook| hook.name == name) {
            Some(hook) => {
                (hook.after, hook.epoch) = (after, hook.epoch + 1);
                Ok(())
            }
            None => Err(unknown("hook", name)),
        }
    }
}

/// Waits until nobody else changes the gateway's settings in `dir`.
pub fn lock(dir: &Path) -> Result<fs::File, Problem> {
    let path = dir.join(LOCK);
    let file = fs::OpenOptions::new().write(true).create(true).truncate(false).open(&path);
    let locked = file.and_then(|file| file.lock().map(|()| file));
    locked.map_err(|e| Problem::fault(format!("{}: {e}", path.display())))
}

/// A path that means the same file from whatever directory the node is started. Links stay: what renews certificates moves
/// them.
pub fn absolute(path: &Path) -> Result<PathBuf, Problem> {
    std::path::absolute(path).map_err(|e| Problem::fault(format!("{}: {e}", path.display())))
}

fn named(name: &str) -> Result<(), Problem> {
    if SourceId::parse(name).is_some() {
        return Ok(());
    }
    Err(Problem::new(
        format!("`{name}` is no name"),
        "write 1 to 32 lower-case letters, digits, dots or hyphens, beginning with a letter",
        "名称为 1 至 32 个小写字母、数字、点或连字符，并以字母开头",
    ))
}

fn unknown(what: &str, name: &str) -> Problem {
    Problem::new(
        format!("there is no {what} `{name}` in force"),
        format!("see `xinqiao gateway {what} list`"),
        format!("请用 `xinqiao gateway {what} list` 查看"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_opens_until_it_is_revoked_and_the_file_does_not_hold_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = Settings::read(dir.path()).unwrap();
        let token = settings.add_key("loans", "loans/", 60, Scope::default()).unwrap();
        assert!(settings.add_key("loans", "", 60, Scope::default()).is_err());
        settings.write(dir.path()).unwrap();
        let text = fs::read_to_string(dir.path().join(FILE)).unwrap();
        assert!(!text.contains(&token) && !text.contains(token.strip_prefix(KEY_PREFIX).unwrap()));
        // A file that was written before there were scopes reads the same.
        assert!(!text.contains("scope"));
        let mut read = Settings::read(dir.path()).unwrap();
        assert_eq!(read.key(&token).unwrap().name, "loans");
        assert!(read.key(&token[1..]).is_none() && read.key("").is_none());
        read.revoke_key("loans", Timestamp(1)).unwrap();
        assert!(read.key(&token).is_none() && read.revoke_key("loans", Timestamp(2)).is_err());
        let again = read.add_key("loans", "loans/", 60, Scope::default()).unwrap();
        assert!(read.key(&again).is_some() && read.key(&token).is_none());
    }

    #[test]
    fn changes_at_once_are_all_made() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = temporary.path();
        let names: Vec<String> = (0..8).map(|n| format!("system-{n}")).collect();
        std::thread::scope(|scope| {
            for name in &names {
                scope.spawn(move || {
                    let add = |s: &mut Settings| s.add_key(name, "", 1, Scope::default());
                    let token = Settings::change(dir, add).unwrap();
                    Settings::change(dir, |s| s.revoke_key(name, Timestamp(1))).unwrap();
                    assert!(Settings::read(dir).unwrap().key(&token).is_none(), "{name} was revoked");
                });
            }
        });
        let settings = Settings::read(dir).unwrap();
        assert_eq!((settings.keys.len(), settings.in_force().count()), (names.len(), 0));
        // What a killed change left behind is gone with the next one.
        let left = dir.join(format!("{FILE}.0123456789abcdef.tmp"));
        fs::write(&left, "{}").unwrap();
        Settings::change(dir, |_| Ok(())).unwrap();
        assert!(!left.exists());
    }

    #[test]
    fn a_change_that_is_refused_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        Settings::change(dir.path(), |s| s.add_key("loans", "loans/", 1, Scope::default())).unwrap();
        let before = fs::read(dir.path().join(FILE)).unwrap();
        assert!(Settings::change(dir.path(), |s| s.revoke_key("cards", Timestamp(1))).is_err());
        assert_eq!(fs::read(dir.path().join(FILE)).unwrap(), before);
    }

    #[test]
    fn no_system_can_name_another_ones_clerks() {
        let mut settings = Settings::default();
        let mut add = |name: &str, prefix: &str| settings.add_key(name, prefix, 1, Scope::default());
        let (plain, loans) = (add("plain", "").unwrap(), add("loans", "loans/").unwrap());
        for prefix in ["l", "loans/", "loans/east/"] {
            assert!(add("other", prefix).unwrap_err().what.contains("`loans`"), "{prefix}");
        }
        add("cards", "loans2/").unwrap();
        let foreign = |token: &str| settings.foreign_prefixes(settings.key(token).unwrap());
        assert_eq!(foreign(&plain), ["loans/", "loans2/"]);
        assert_eq!(foreign(&loans), ["loans2/"]);
        // Under a prefix that is no longer in use another system may come.
        settings.revoke_key("loans", Timestamp(1)).unwrap();
        settings.add_key("lending", "loans/", 1, Scope::default()).unwrap();
    }

    #[test]
    fn names_prefixes_and_addresses_have_their_shape() {
        let mut settings = Settings::default();
        for (name, prefix, per_minute) in
            [("", "", 1), ("Loans", "", 1), ("a", "a\nb", 1), ("a", &*"字".repeat(33), 1), ("a", "", 0)]
        {
            assert!(
                settings.add_key(name, prefix, per_minute, Scope::default()).is_err(),
                "{name} {prefix:?} {per_minute}"
            );
        }
        for url in
            ["http://192.0.2.1/x", "ftp://127.0.0.1/", "https:///x", "nonsense", "http://localhost.evil/"]
        {
            assert!(settings.add_hook("a", url, None, 0).is_err(), "{url}");
        }
        let secret = settings.add_hook("a", "http://127.0.0.1:9/x", None, 0).unwrap();
        assert_eq!(settings.hooks[0].signing().unwrap().len(), 32);
        assert!(secret.starts_with(SECRET_PREFIX));
        settings.replay_hook("a", 7).unwrap();
        assert_eq!(settings.hooks[0].after, 7);
        settings.remove_hook("a").unwrap();
        assert!(settings.remove_hook("a").is_err());
    }
}
