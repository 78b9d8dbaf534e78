//! One function per verb.

pub(crate) mod accesses;
pub(crate) mod audit;
pub(crate) mod backup;
pub(crate) mod bundle;
pub(crate) mod cases;
pub(crate) mod certify;
pub(crate) mod collect;
pub(crate) mod cross_check;
pub(crate) mod doctor;
pub(crate) mod erase;
pub(crate) mod export;
pub(crate) mod federation;
pub(crate) mod gateway;
pub(crate) mod grant;
mod kept;
pub(crate) mod member;
mod misuse;
pub(crate) mod new_file;
pub(crate) mod node;
pub(crate) mod policy;
pub(crate) mod proof;
pub(crate) mod propagated;
mod publication;
pub(crate) mod query;
mod reconcile;
pub(crate) mod repair;
mod search;
mod subject;
pub(crate) mod verify;

use std::{
    fs,
    path::{Path, PathBuf},
};

use ::node::{Problem, keys::check_private};
use credit::{
    catalog::{Catalog, Item, Purpose},
    id::{CaseId, ClerkId, FieldId, ItemId, RecordId},
    subject::SubjectId,
    value::Date,
};
use crypto::{Digest, keystore::Credential, secret::Secret};
use exchange::logs::LogName;
use zeroize::Zeroizing;

use crate::{
    args::{Args, Passphrase, Verb},
    output::Output,
};

/// Carries out a command line.
pub(crate) async fn run(args: Args) -> Result<Output, Problem> {
    match args.verb {
        Verb::Demo(demo) => crate::demo::run(demo, args.json).await,
        Verb::Sandbox(sandbox) => crate::demo::sandbox::run(sandbox, args.json).await,
        Verb::Gateway(verb) => gateway::run(verb),
        Verb::Federation(verb) => federation::run(verb).await,
        Verb::Member(verb) => member::run(verb),
        Verb::Node(verb) => node::run(verb).await,
        Verb::Source(verb) => collect::source(verb).await,
        Verb::Catalog { item } => collect::catalog(item.as_deref()),
        Verb::Submit { file, item, source, confirm, node } => {
            collect::submit(&file, &item, &source, confirm, &node.dir).await
        }
        Verb::Quality(node) => collect::quality(&node.dir).await,
        Verb::Grant(verb) => grant::run(verb).await,
        Verb::Subject(verb) => subject::run(verb).await,
        Verb::Query(query) => query::run(query).await,
        Verb::Policy(verb) => policy::run(verb).await,
        Verb::Repair(verb) => repair::run(verb).await,
        Verb::Case(verb) => cases::run(verb).await,
        Verb::Dispute(verb) => repair::dispute(verb).await,
        Verb::Record(verb) => repair::standing(verb).await,
        Verb::Status { record, node } => repair::status(&record, &node.dir).await,
        Verb::Reconcile { peer, node } => reconcile::reconcile(peer.as_deref(), &node.dir).await,
        Verb::Erase(args) => erase::run(args).await,
        Verb::Audit(verb) => audit::run(verb).await,
        Verb::Verify(verify) => verify::run(verify).await,
        Verb::Bench(verb) => crate::bench::run(verb).await,
        Verb::Doctor(node) => doctor::run(&node.dir).await,
    }
}

/// Where a service manager puts secrets (systemd: LoadCredential=), and ours among them.
const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";
const CREDENTIAL: &str = "xinqiao-passphrase";

/// Reads what opens a keystore: a key file, a passphrase file, or the service manager's credential.
pub(crate) fn passphrase(from: &Passphrase) -> Result<Credential, Problem> {
    if let Some(path) = &from.key_file {
        return key_file(path);
    }
    let credential = || Some(PathBuf::from(std::env::var_os(CREDENTIALS_DIRECTORY)?).join(CREDENTIAL));
    let path = from.passphrase_file.clone().or_else(|| credential().filter(|path| path.exists()));
    let path = path.ok_or_else(|| {
        Problem::new(
            "neither a passphrase nor a key was given",
            format!("give --passphrase-file or --key-file, or {CREDENTIAL} in ${CREDENTIALS_DIRECTORY}"),
            format!(
                "请提供 --passphrase-file 或 --key-file，或在 ${CREDENTIALS_DIRECTORY} 中放置 {CREDENTIAL}"
            ),
        )
    })?;
    Ok(Credential::Passphrase(read_passphrase(&path)?))
}

/// Reads the 32 bytes of a key file.
pub(crate) fn key_file(path: &Path) -> Result<Credential, Problem> {
    check_private(path)?;
    let bytes = Zeroizing::new(read(path)?);
    let key: [u8; 32] = bytes[..].try_into().map_err(|_| {
        Problem::new(
            format!("{}: a key file has 32 bytes, this one {}", path.display(), bytes.len()),
            "make one with `head -c 32 /dev/urandom`",
            "可用 `head -c 32 /dev/urandom` 生成",
        )
    })?;
    Ok(Credential::Key(Secret::new(key)))
}

/// Reads a passphrase: the first line of its file.
pub(crate) fn read_passphrase(path: &Path) -> Result<Zeroizing<Vec<u8>>, Problem> {
    check_private(path)?;
    let bytes = Zeroizing::new(read(path)?);
    let line = bytes.split(|b| *b == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.len() < 8 {
        return Err(Problem::new(
            format!("{}: the passphrase has fewer than 8 bytes", path.display()),
            "write a longer passphrase into the first line",
            "请在首行写入更长的口令",
        ));
    }
    Ok(Zeroizing::new(line.to_vec()))
}

/// Reads a file the operator named.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Problem> {
    fs::read(path).map_err(|e| {
        Problem::new(format!("{}: {e}", path.display()), "check path and permissions", "请检查路径与读取权限")
    })
}

/// The digest of a paper that the operator keeps. Errors: it cannot be read; there is nothing in it.
pub(crate) fn paper_digest(path: &Path) -> Result<Digest, Problem> {
    let bytes = read(path)?;
    if bytes.is_empty() {
        return Err(Problem::new(
            format!("{} is empty, and nobody has signed nothing", path.display()),
            "give the file of the signed paper that is kept",
            "请提供所存的已签署文书文件",
        ));
    }
    Ok(Digest::of(&bytes))
}

/// A number of an option that asks for nothing when it is 0.
pub(crate) fn positive<T: Default + PartialEq>(option: &str, number: T) -> Result<T, Problem> {
    if number == T::default() {
        return Err(Problem::new(
            format!("{option} is 0"),
            format!("give {option} 1 or more"),
            format!("请将 {option} 设为 1 或以上"),
        ));
    }
    Ok(number)
}

/// Reads a subject's identifier.
pub(crate) fn subject(text: &str) -> Result<SubjectId, Problem> {
    SubjectId::parse(text).map_err(|e| {
        let (zh, en) = e.hint().split_once(" / ").unwrap_or((e.hint(), e.hint()));
        Problem::new(format!("subject: {e}"), en, zh)
    })
}

/// Reads a day.
pub(crate) fn date(text: &str) -> Result<Date, Problem> {
    Date::parse(text).ok_or_else(|| {
        Problem::new(
            format!("`{text}` is no day"),
            "write it as 2026-11-25",
            "请按 2026-11-25 的格式填写日期",
        )
    })
}

/// Reads a purpose.
pub(crate) fn purpose(text: &str) -> Result<Purpose, Problem> {
    Purpose::parse(text).ok_or_else(|| {
        let known: Vec<&str> = Purpose::ALL.iter().map(|p| p.as_str()).collect();
        Problem::new(
            format!("`{text}` is no purpose"),
            format!("use one of {}", known.join(", ")),
            format!("请使用：{}", Purpose::ALL.iter().map(|p| p.zh()).collect::<Vec<_>>().join("、")),
        )
    })
}

/// Reads the name of a log.
pub(crate) fn log_name(text: &str) -> Result<LogName, Problem> {
    LogName::parse(text).ok_or_else(|| {
        Problem::new(
            format!("`{text}` is no log"),
            "use records, status or access",
            "请使用 records、status 或 access",
        )
    })
}

/// Reads a record id.
pub(crate) fn record(text: &str) -> Result<RecordId, Problem> {
    RecordId::parse(text).ok_or_else(|| {
        Problem::new(
            "a record id has 64 hexadecimal digits",
            "copy it from `xinqiao query` or `xinqiao repair list`",
            "请从 `xinqiao query` 或 `xinqiao repair list` 的输出中复制",
        )
    })
}

/// Reads a case id.
pub(crate) fn case(text: &str) -> Result<CaseId, Problem> {
    CaseId::parse(text).ok_or_else(|| {
        Problem::new(
            "a case id has 32 hexadecimal digits",
            "copy it from `xinqiao repair list`",
            "请从 `xinqiao repair list` 复制",
        )
    })
}

/// Reads a clerk's id: one that the member gives out, not a name.
pub(crate) fn clerk(text: &str) -> Result<ClerkId, Problem> {
    ClerkId::parse(text).ok_or_else(|| {
        Problem::new(
            "a clerk is named in 1 to 64 characters that are seen, without a blank at either end",
            "give another --clerk: letters, digits and signs, between them no blanks but U+0020 and U+3000, and no control \
             or invisible characters",
            "请更换 --clerk：可用文字、数字与符号，其间只用半角或全角空格，不含控制字符与不可见字符",
        )
    })
}

/// An item of the catalog.
pub(crate) fn item<'a>(catalog: &'a Catalog, text: &str) -> Result<&'a Item, Problem> {
    ItemId::parse(text).and_then(|id| catalog.item(&id)).ok_or_else(|| {
        let known: Vec<&str> = catalog.items().map(|i| i.id.as_str()).collect();
        Problem::new(
            format!("`{text}` is not in the catalog"),
            format!("use one of {}", known.join(" ")),
            format!("请使用目录中的信息项：{}", known.join(" ")),
        )
    })
}

/// `ITEM` or `ITEM:FIELD,FIELD`: the item and the fields named; none of an item alone, which means all of it.
///
/// Errors: unknown names; nothing where the colon or a comma says that a field comes: who has left a field out has not
/// meant the whole item.
pub(crate) fn item_fields<'a>(catalog: &'a Catalog, text: &str) -> Result<(&'a Item, Vec<FieldId>), Problem> {
    let (name, fields) = text.split_once(':').map_or((text, None), |(name, fields)| (name, Some(fields)));
    let item = item(catalog, name)?;
    let mut ids = Vec::new();
    for word in fields.into_iter().flat_map(|fields| fields.split(',')).map(str::trim) {
        if word.is_empty() {
            return Err(Problem::new(
                format!("`{text}` names no field where one is to stand"),
                format!(
                    "write `{id}:FIELD,FIELD`, or `{id}` for every field; see `xinqiao catalog {id}`",
                    id = item.id
                ),
                format!(
                    "请写成 `{id}:数据项,数据项`，或以 `{id}` 表示全部数据项；见 `xinqiao catalog {id}`",
                    id = item.id
                ),
            ));
        }
        let by_number = word.parse().ok().map(FieldId).and_then(|id| item.field(id));
        let by_name = || item.fields.iter().find(|f| f.name == word);
        let field = by_number.or_else(|| item.field_by_column(word)).or_else(by_name);
        let field = field.ok_or_else(|| {
            Problem::new(
                format!("`{word}` is no field of `{}`", item.id),
                format!("see `xinqiao catalog {}`", item.id),
                format!("请用 `xinqiao catalog {}` 查看数据项", item.id),
            )
        })?;
        ids.push(field.id);
    }
    ids.sort_unstable();
    ids.dedup();
    Ok((item, ids))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_alone_means_all_of_it_and_a_colon_with_nothing_behind_it_means_nothing() {
        let catalog = Catalog::builtin();
        let fields = |text: &str| item_fields(&catalog, text).map(|(_, fields)| fields.len());
        assert_eq!([fields("CF").unwrap(), fields("CF: CF_WSH , CF_CFLB").unwrap()], [0, 2]);
        for text in ["CF:", "CF: ", "CF:,", "CF:CF_WSH,", "CF:,CF_WSH", "CF:CF_WSH,,CF_CFLB"] {
            assert!(fields(text).unwrap_err().what.contains("names no field"), "{text}");
        }
    }
}
