//! Subjects' authorisations: issued, revoked, shown.

use std::path::Path;

use ::node::{
    Problem,
    client::{Client, member_id, unexpected},
    clock,
    home::read_registry,
};
use credit::{
    binding::{GrantOrder, Signer},
    catalog::{Catalog, Item},
    grant::{Frequency, Grant as Text, GrantChange, Scope},
    id::GrantId,
    policy::Policy,
};
use crypto::{
    codec,
    sign::{Signed, Verified},
};
use exchange::{
    artifact::Artifact,
    wire::{GrantDraft, GrantStanding, Lodged, Operation, Response},
};
use serde_json::{Value, json};

use crate::{
    args::{ChangeWord, Grant, GrantIssue, GrantSign, SubjectKey},
    cmd::{
        item_fields,
        new_file::{NewFile, write_new},
        paper_digest, purpose, read, subject,
        subject::{open, read_binding},
    },
    output::Output,
};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

pub(crate) async fn run(verb: Grant) -> Result<Output, Problem> {
    match verb {
        Grant::Issue(args) => {
            let (signed, kept) = issue(&args).await?;
            let Err(problem) = kept else {
                return Ok(written(&signed, &args.terms.out, ("its collector", "采集机构")));
            };
            // The node keeps no grant: this is the only copy of one that it has written down.
            let (digest, bytes) = (signed.digest(), codec::hex(&file(&signed)));
            Ok(Output::new(
                json!({ "digest": digest.to_string(), "bytes": bytes }),
                format!("grant {digest} is signed, and its file in hexadecimal is / 授权书已签发，其文件内容（十六进制）为\n{bytes}"),
            )
            .unwritten(&problem))
        }
        Grant::Sign(args) => sign(&args),
        Grant::Order { change, grant, key, out } => order(change, &grant, &key, &out),
        Grant::Lodge { file, node } => lodge(&file, &node.dir).await,
        Grant::Revoke { grant, node } => change(&grant, &node.dir, GrantChange::Revoke).await,
        Grant::Pause { grant, node } => change(&grant, &node.dir, GrantChange::Pause).await,
        Grant::Resume { grant, node } => change(&grant, &node.dir, GrantChange::Resume).await,
        Grant::Show { grant, dir, registry } => {
            show(&read_grant(&grant)?, dir.as_deref(), registry.as_deref()).await
        }
    }
}

/// Has the collector's node write what its subject has decided.
async fn change(grant: &Path, dir: &Path, change: GrantChange) -> Result<Output, Problem> {
    let digest = read_grant(grant)?.digest();
    let response = Client::open(dir)?.operate(Operation::ChangeGrant(digest, change)).await?;
    let Response::Done = response else { return Err(unexpected(&response)) };
    let (key, zh) = match change {
        GrantChange::Pause => ("paused", "授权已暂停"),
        GrantChange::Resume => ("resumed", "授权已恢复"),
        GrantChange::Revoke => ("revoked", "授权已撤回"),
    };
    Ok(Output::new(
        json!({ key: digest.to_string() }),
        format!("grant {digest} is {key}; every platform is told / {zh}"),
    ))
}

/// A grant as a file.
fn file(signed: &Signed<Text>) -> Vec<u8> {
    codec::to_vec(&Artifact::Grant(signed.clone()))
}

fn written(signed: &Signed<Text>, out: &Path, (by, by_zh): (&str, &str)) -> Output {
    Output::new(
        json!({ "grant": out, "digest": signed.digest().to_string() }),
        format!(
            "grant {} signed by {by}, written to {} / 授权书已由{by_zh}签发",
            signed.digest(),
            out.display()
        ),
    )
}

/// Who has signed a verified grant, in English and in Chinese.
pub(crate) fn signer(text: &Text) -> (String, String) {
    let collector = &text.collector;
    match text.binding {
        Some(_) => (
            format!("its subject, whose key `{collector}` vouches for"),
            format!("由主体签署，其密钥由`{collector}`作证"),
        ),
        None => (
            format!("`{collector}`, from a letter that it keeps"),
            format!("由`{collector}`依所存授权书原件签署"),
        ),
    }
}

/// Has the collector's node sign a grant, and writes it; what kept it from being written stands beside it.
pub(crate) async fn issue(args: &GrantIssue) -> Result<(Signed<Text>, Result<(), Problem>), Problem> {
    let (terms, now) = (&args.terms, clock::now());
    let draft = GrantDraft {
        subject: subject(&args.subject)?,
        grantee: member_id(&terms.grantee)?,
        purposes: terms.purposes.iter().map(|p| purpose(p)).collect::<Result<_, _>>()?,
        scope: scope(&terms.items)?,
        not_before: now,
        not_after: now.plus_ms(u64::from(terms.days) * DAY_MS),
        uses_max: terms.uses,
        keep_days: terms.keep_days,
        letter: paper_digest(&args.letter)?,
        period: terms.period.as_deref().map(frequency).transpose()?,
    };
    let out = NewFile::ready(&terms.out)?;
    let response = Client::open(&args.node.dir)?.operate(Operation::IssueGrant(draft)).await?;
    let Response::Grant(signed) = response else { return Err(unexpected(&response)) };
    let kept = out.write(&file(&signed));
    Ok((signed, kept))
}

/// What a grant is to name, each item once: of two that say different things about one item nobody can tell which is meant.
fn scope(items: &[String]) -> Result<Vec<Scope>, Problem> {
    let catalog = Catalog::builtin();
    let mut scope: Vec<Scope> = Vec::new();
    for text in items {
        let (Item { id, .. }, fields) = item_fields(&catalog, text)?;
        if scope.iter().any(|earlier| earlier.item == *id) {
            return Err(Problem::new(
                format!("--item names `{id}` twice"),
                format!("name it once, with all its fields: --item {id}:FIELD,FIELD"),
                format!("请只写一次，并列出全部数据项：--item {id}:数据项,数据项"),
            ));
        }
        scope.push(Scope { item: id.clone(), fields });
    }
    Ok(scope)
}

/// Signs a grant as its subject, whose key the collector vouches for.
fn sign(args: &GrantSign) -> Result<Output, Problem> {
    let (key, terms, now) = (open(&args.key)?, &args.terms, clock::now());
    let binding = read_binding(&args.binding)?;
    let registry = read_registry(&args.registry)?.accept(None)?;
    let vouched = registry.verify(&binding)?.into_inner();
    if vouched.key.0 != key.verifying_key().to_bytes() {
        return Err(Problem::new(
            format!("{} is of another key", args.binding.display()),
            "give the binding that a collector made for this key",
            "请提供采集机构为此密钥签发的绑定",
        ));
    }
    let not_after = now.plus_ms(u64::from(terms.days) * DAY_MS);
    if now < vouched.not_before || not_after > vouched.not_after {
        return Err(Problem::new(
            format!("the key is vouched for until {}", vouched.not_after.rfc3339()),
            "give fewer --days, or have the key bound anew with `xinqiao subject bind`",
            "请减少 --days，或用 `xinqiao subject bind` 重新绑定密钥",
        ));
    }
    let grantee = &registry.member(&member_id(&terms.grantee)?)?.stated;
    let grant = Text {
        id: GrantId(clock::random()),
        subject: vouched.subject,
        grantee: grantee.id.clone(),
        purposes: terms.purposes.iter().map(|p| purpose(p)).collect::<Result<_, _>>()?,
        scope: scope(&terms.items)?,
        not_before: now,
        not_after,
        uses_max: terms.uses,
        keep_days: terms.keep_days,
        letter: None,
        period: terms.period.as_deref().map(frequency).transpose()?,
        collector: member_id(binding.issuer())?,
        binding: Some(binding),
    };
    if let Some(why) = grant.malformed() {
        return Err(Problem::new(
            format!("nobody would answer on this grant: {why}"),
            "give other --purpose, --item, --days, --uses, --keep-days or --period",
            "请更改 --purpose、--item、--days、--uses、--keep-days 或 --period",
        ));
    }
    let rules = Policy::builtin();
    if let Some(purpose) = grant.purposes.iter().find(|purpose| !rules.grants(grantee.role, **purpose)) {
        return Err(Problem::new(
            format!(
                "no rule lets `{}`, as a {}, be answered on a grant for {purpose}",
                grantee.id,
                grantee.role.as_str()
            ),
            "give another --purpose; `xinqiao policy explain` tells what would be answered",
            "请更改 --purpose；可用 `xinqiao policy explain` 查看可获答复的用途",
        ));
    }
    let signed = Signed::new(&key, &Signer::subject_of(&grant.collector), now, &grant);
    write_new(&terms.out, &file(&signed))?;
    Ok(written(&signed, &terms.out, ("its subject", "主体")))
}

/// Signs, as a subject, what is to be done to a grant of its own.
fn order(change: ChangeWord, grant: &Path, key: &SubjectKey, out: &Path) -> Result<Output, Problem> {
    let (key, signed, at) = (open(key)?, read_grant(grant)?, clock::now());
    let text = signed.verify(&key.verifying_key()).ok().map(Verified::into_inner);
    let Some(collector) = text.filter(|text| text.binding.is_some()).map(|text| text.collector) else {
        return Err(Problem::new(
            format!("{}: this key has not signed it", grant.display()),
            "give the key that signed the grant; one that a collector signed is changed at its node",
            "请提供签署该授权书的密钥；采集机构签发的授权书由其节点变更",
        ));
    };
    let change = match change {
        ChangeWord::Pause => GrantChange::Pause,
        ChangeWord::Resume => GrantChange::Resume,
        ChangeWord::Revoke => GrantChange::Revoke,
    };
    let order = GrantOrder { grant: signed, change, at };
    let order = Signed::new(&key, &Signer::subject_of(&collector), at, &order);
    write_new(out, &codec::to_vec(&Artifact::Order(order.clone())))?;
    Ok(Output::new(
        json!({ "order": out, "digest": order.digest().to_string(), "collector": collector.as_str() }),
        format!(
            "order written to {}; hand it in at `{collector}` / 指令已签署，请提交采集机构",
            out.display()
        ),
    ))
}

/// Has the collector's node take what a subject has signed, and says where the grant stands then.
async fn lodge(file: &Path, dir: &Path) -> Result<Output, Problem> {
    let client = Client::open(dir)?;
    let (lodged, grant, digest, (what, zh)) = match codec::from_slice::<Artifact>(&read(file)?) {
        Ok(Artifact::Grant(signed)) => {
            let digest = signed.digest();
            (Lodged::Grant(signed.clone()), signed, digest, ("grant", "主体签署的授权书已登记"))
        }
        Ok(Artifact::Order(signed)) => {
            let (digest, grant) =
                (signed.digest(), client.registry.verify_order(&signed)?.into_inner().grant);
            (Lodged::Order(signed), grant, digest, ("order", "主体签署的指令已登记并执行"))
        }
        _ => {
            return Err(Problem::new(
                format!("{} is neither a grant nor an order", file.display()),
                "give the file that `xinqiao grant sign` or `xinqiao grant order` wrote",
                "请提供 `xinqiao grant sign` 或 `xinqiao grant order` 生成的文件",
            ));
        }
    };
    let response = client.operate(Operation::Lodge(lodged)).await?;
    let Response::Done = response else { return Err(unexpected(&response)) };
    let standing = standing(&client, grant).await?;
    Ok(Output::new(
        json!({ "lodged": digest.to_string(), "standing": standing_value(standing) }),
        format!(
            "{what} {digest}, signed by the subject, is lodged; keep the file / {zh}，请保存该文件\n  the grant is now / 授权状态：{}",
            standing_text(standing)
        ),
    ))
}

/// Where a grant stands at the member of this node.
async fn standing(client: &Client, grant: Signed<Text>) -> Result<GrantStanding, Problem> {
    match client.operate(Operation::GrantStanding(grant)).await? {
        Response::GrantStanding(standing) => Ok(standing),
        other => Err(unexpected(&other)),
    }
}

/// Reads a grant file.
pub(crate) fn read_grant(path: &Path) -> Result<Signed<Text>, Problem> {
    match codec::from_slice::<Artifact>(&read(path)?) {
        Ok(Artifact::Grant(signed)) => Ok(signed),
        _ => Err(Problem::new(
            format!("{} is no grant", path.display()),
            "give the file that `xinqiao grant issue` wrote",
            "请提供 `xinqiao grant issue` 生成的文件",
        )),
    }
}

/// Reads how often a grant may be used.
fn frequency(text: &str) -> Result<Frequency, Problem> {
    Frequency::parse(text).ok_or_else(|| {
        Problem::new(
            format!("`{text}` is no frequency"),
            "write USES/DAYS, for example 3/30 for three questions in any thirty days",
            "请写成“次数/天数”，例如 3/30 表示任意三十天内三次",
        )
    })
}

/// What a grant says, once its signature is verified, and where it stands at the member whose node is asked.
async fn show(signed: &Signed<Text>, dir: Option<&Path>, registry: Option<&Path>) -> Result<Output, Problem> {
    let (registry, standing) = match (dir, registry) {
        (Some(dir), _) => {
            let client = Client::open(dir)?;
            let standing = standing(&client, signed.clone()).await?;
            (client.registry, Some(standing))
        }
        (None, Some(path)) => (read_registry(path)?.accept(None)?, None),
        (None, None) => return Ok(claims(signed)),
    };
    let text = &registry.verify_grant(signed)?.into_inner();
    let catalog = Catalog::builtin();
    let scope: Vec<String> = text.scope.iter().map(|scope| words(&catalog, scope)).collect();
    let purposes: Vec<&str> = text.purposes.iter().map(|p| p.as_str()).collect();
    let (kind, kind_zh) = match (text.period, text.uses_max) {
        (Some(_), _) => ("periodic", "周期授权"),
        (None, 1) => ("one-time", "一次授权"),
        (None, _) => ("counted", "限次授权"),
    };
    let json = json!({
        "digest": signed.digest().to_string(), "collector": text.collector.as_str(), "issued": signed.issued_at().rfc3339(),
        "verified": true, "id": text.id.to_string(), "subject": text.subject.masked(), "grantee": text.grantee.as_str(),
        "purposes": purposes, "scope": scope, "not_before": text.not_before.rfc3339(),
        "not_after": text.not_after.rfc3339(), "kind": kind, "uses_max": text.uses_max,
        "period": text.period.map(|p| json!({ "uses": p.uses, "days": p.days })), "keep_days": text.keep_days,
        "letter": text.letter.map(|letter| letter.to_string()), "signed_by": if text.binding.is_some() { "subject" } else { "collector" },
        "binding": text.binding.as_ref().map(|b| b.digest().to_string()), "standing": standing.map(standing_value),
    });
    let (by, by_zh) = signer(text);
    let mut shown = format!(
        "grant {} of {}\n  signed by {by} / {by_zh}\n  `{}` may ask about {} for {}\n  {}\n  valid from {} until {}\n  {kind} / {kind_zh}: {} questions at each member",
        signed.digest(),
        signed.issued_at().rfc3339(),
        text.grantee,
        text.subject.masked(),
        purposes.join(", "),
        scope.join("; "),
        text.not_before.rfc3339(),
        text.not_after.rfc3339(),
        text.uses_max,
    );
    if let Some(period) = text.period {
        shown.push_str(&format!(", at most {} in any {} days", period.uses, period.days));
    }
    shown.push_str(&format!(
        "\n  what is received may be kept {} days / 查得信息可保存 {} 天\n  {}",
        text.keep_days,
        text.keep_days,
        standing.map_or_else(
            || "where it stands, a node tells: give --dir / 状态须由节点告知：请给出 --dir".to_owned(),
            standing_text
        )
    ));
    Ok(Output::new(json, shown))
}

/// What stands on a grant outside of what its signature covers for sure.
fn claims(signed: &Signed<Text>) -> Output {
    let (digest, by, issued) = (signed.digest(), signed.issuer(), signed.issued_at().rfc3339());
    Output::new(
        json!({ "digest": digest.to_string(), "collector": by, "issued": issued, "verified": false }),
        format!(
            "grant {digest} by `{by}` of {issued}, not verified: give --dir or --registry to see what it says / 未验证：请给出 --dir 或 --registry 以查看内容"
        ),
    )
}

fn words(catalog: &Catalog, scope: &Scope) -> String {
    let item = catalog.item(&scope.item);
    let column = |id| item.and_then(|i| i.field(id)).map_or_else(|| id.to_string(), |f| f.column.clone());
    let fields: Vec<String> = scope.fields.iter().map(|id| column(*id)).collect();
    if fields.is_empty() { scope.item.to_string() } else { format!("{}:{}", scope.item, fields.join(",")) }
}

fn standing_value(standing: GrantStanding) -> Value {
    json!({
        "status": standing.status.as_str(), "told": standing.told, "uses": standing.uses, "recent": standing.recent,
        "issued_at": standing.issued,
    })
}

fn standing_text(standing: GrantStanding) -> String {
    let GrantStanding { told, status, uses, recent, issued } = standing;
    let mut text = format!("{} / {}; {uses} questions answered here", status.as_str(), status.zh());
    if let Some(recent) = recent {
        text.push_str(&format!(", {recent} of them in its period"));
    }
    if let Some(index) = issued {
        text.push_str(&format!(
            "\n  written down as entry {index} of its collector's status log / 已载入采集机构状态日志第{index}条"
        ));
    }
    if !told {
        text.push_str(
            "\n  this member is not told of pauses and revocations: ask at the collector or a platform / 本成员不接收暂停与撤回通知，请向采集机构或平台查询",
        );
    }
    text
}
