//! Founding and governing: governors' keys, the record key, registry versions.

use std::path::Path;

use ::node::{
    Problem,
    client::{Client, member_id, unexpected},
    clock,
    home::read_registry,
    keys::write_private,
};
use credit::{catalog::Catalog, id::MemberId, policy::Policy, rules::RuleBook};
use crypto::{
    Digest, codec,
    keystore::{Credential, Unlocked},
    secret::Secret,
    sign::{KeyId, PublicKey, Seen, SignError, Signed, SigningKey, VerifyingKey},
};
use exchange::{
    artifact::Artifact,
    registry::{Governor, MemberEntry, MemberRequest, PastKeys, Registry, Rotation, SignedRegistry, Wrapped},
    trust,
    wire::{Operation, Response},
};
use ledger::witness::quorum;
use serde_json::json;

use crate::{
    args::{Federation, OVERLAP_DAYS, Unlock},
    cmd::{log_name, new_file::write_once, passphrase, read},
    output::Output,
};

const DRAFT: &str = "registry.draft";
const SIGNED: &str = "registry";
const RECORD_KEY: &str = "record.key";
/// Milliseconds of a day.
const DAY_MS: u64 = 86_400_000;

pub(crate) async fn run(verb: Federation) -> Result<Output, Problem> {
    match verb {
        Federation::Init { name, governors, threshold, at } => init(&at, &name, governors, threshold),
        Federation::Admit { request, witness, mirrors, replace_keys, overlap_days, at } => {
            admit(&at, &request, &Terms { witness, mirrors: mirrors.as_deref(), replace_keys, overlap_days })
        }
        Federation::Sign { governor, at } => sign(&at, &governor),
        Federation::Suspend { member, at } => suspend(&at.dir, &member),
        Federation::Update { registry, node } => update(&registry, &node.dir).await,
        Federation::Unfreeze { member, reason, node } => unfreeze(&member, reason, &node.dir).await,
        Federation::Show { registry } => show(&registry),
        Federation::Policy { registry, member, log, out } => policy(&registry, &member, &log, out.as_deref()),
    }
}

/// Makes governors' keys, the record key and an empty draft.
pub(crate) fn init(at: &Unlock, name: &str, governors: u8, threshold: u8) -> Result<Output, Problem> {
    let plain = !name.is_empty()
        && name.len() <= 32
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !plain || threshold == 0 || threshold > governors || governors > 15 {
        return Err(Problem::new(
            "a federation has a name of 1 to 32 lower-case letters, digits or hyphens, at most 15 governors, and a threshold they can reach",
            "choose such a name and numbers",
            "请使用符合要求的联盟名称与治理方人数",
        ));
    }
    let pass = passphrase(&at.passphrase)?;
    std::fs::create_dir_all(&at.dir).map_err(|e| Problem::fault(format!("{}: {e}", at.dir.display())))?;
    if at.dir.join(DRAFT).exists() || at.dir.join(SIGNED).exists() {
        return Err(Problem::new(
            format!("{} holds a federation already", at.dir.display()),
            "use another directory",
            "请使用其他目录",
        ));
    }
    let mut registered = Vec::new();
    for n in 1..=governors {
        let (name, seed) = (format!("g{n}"), clock::secret());
        write_sealed(&at.dir.join(format!("{name}.key")), &pass, &seed)?;
        registered
            .push(Governor { name, key: PublicKey(SigningKey::from_seed(&seed).verifying_key().to_bytes()) });
    }
    write_sealed(&at.dir.join(RECORD_KEY), &pass, &clock::secret())?;
    let draft = Registry {
        seen: Seen::default(),
        federation: name.to_owned(),
        version: 1,
        previous: Digest::ZERO,
        governors: registered,
        threshold,
        members: Vec::new(),
        catalog: Catalog::builtin().digest(),
        policy: Policy::builtin().digest(),
        rules: RuleBook::builtin().digest(),
        issued_at: clock::now(),
        witnesses: Vec::new(),
    };
    write_draft(&at.dir, &SignedRegistry::unsigned(&draft))?;
    Ok(Output::new(
        json!({ "federation": name, "governors": governors, "threshold": threshold, "dir": at.dir }),
        format!("federation `{name}` founded: {governors} governors, {threshold} of them sign / 联盟已创建"),
    ))
}

/// What the governors say about a member that they admit. Of a member that is one already stays what they leave out.
pub(crate) struct Terms<'a> {
    /// Whether it is a witness of its peers' logs.
    pub(crate) witness: Option<bool>,
    /// Who keeps full copies of its logs.
    pub(crate) mirrors: Option<&'a [String]>,
    /// Its keys are lost or stolen, and the governors have made sure who asks for others.
    pub(crate) replace_keys: bool,
    /// How long keys that are replaced stay good for what is new.
    pub(crate) overlap_days: u64,
}

impl<'a> Terms<'a> {
    /// Of a member that was none before.
    pub(crate) fn of_new(witness: bool, mirrors: &'a [String]) -> Self {
        let (witness, mirrors) = (Some(witness), Some(mirrors));
        Self { witness, mirrors, replace_keys: false, overlap_days: OVERLAP_DAYS }
    }
}

/// Takes a request into the draft of the next version: a new member's, or a member's for new keys.
pub(crate) fn admit(at: &Unlock, request: &Path, terms: &Terms<'_>) -> Result<Output, Problem> {
    let pass = passphrase(&at.passphrase)?;
    let no = |why: String| {
        Problem::new(
            format!("{}: {why}", request.display()),
            "ask the member for the file that `xinqiao member request` or `xinqiao member rotate` wrote",
            "请向该成员索取 `xinqiao member request` 或 `xinqiao member rotate` 生成的文件",
        )
    };
    let bytes = read(request)?;
    let mut draft = next_draft(&at.dir)?;
    let (signed, by) = match Signed::<MemberRequest>::parse(&bytes) {
        Err(SignError::WrongKind) => {
            let rotation = Signed::<Rotation>::parse(&bytes).map_err(|e| no(e.to_string()))?;
            let issuer = member_id(rotation.issuer())?;
            (asked(&rotation, &draft, &issuer).map_err(no)?, Some(issuer))
        }
        parsed => (parsed.map_err(|e| no(e.to_string()))?, None),
    };
    // The request proves itself: it carries the key it is signed with.
    let claimed = signed.verify_by_own_key(|r| r.sign.0).map_err(|e| no(e.to_string()))?.into_inner();
    let id = claimed.id.clone();
    if signed.issuer() != id.as_str() || by.as_ref().is_some_and(|by| *by != id) {
        return Err(no("it is signed under another name".into()));
    }
    let found = draft.members.binary_search_by(|m| m.stated.id.cmp(&id));
    let known = found.ok().map(|at| draft.members[at].clone());
    let mut past = known.as_ref().map(|known| known.past.clone()).unwrap_or_default();
    let replaced = known.as_ref().filter(|known| known.stated.sign != claimed.sign);
    if let Some(known) = replaced {
        if by.is_none() && !terms.replace_keys {
            return Err(Problem::new(
                format!("`{id}` is a member already, with other keys"),
                "have it ask with `xinqiao member rotate`; if its keys are lost or stolen, make sure who asks, and give --replace-keys",
                "请由该成员用 `xinqiao member rotate` 申请换钥；如密钥遗失或被盗，请核实申请人身份后使用 --replace-keys",
            ));
        }
        let days = terms.overlap_days.saturating_mul(DAY_MS);
        past.push(PastKeys::of(&known.stated, clock::now().plus_ms(days)));
    }
    let mirrors = match (terms.mirrors, &known) {
        (Some(named), _) => {
            let named = named.iter().filter(|name| !name.is_empty()).map(|name| member_id(name));
            let mut mirrors = named.collect::<Result<Vec<MemberId>, _>>()?;
            mirrors.sort();
            mirrors
        }
        (None, Some(known)) => known.mirrors.clone(),
        (None, None) => Vec::new(),
    };
    let witness = terms.witness.unwrap_or_else(|| draft.witnesses.contains(&id));
    // For the same sealing key it is wrapped already: once more would be another registry that says the same.
    let wrapped = known.as_ref().filter(|known| known.stated.seal == claimed.seal);
    let record_key = match wrapped.and_then(|known| known.record_key.clone()) {
        _ if !claimed.role.mirrors_status() => None,
        Some(wrapped) => Some(wrapped),
        None => {
            let secret = read_sealed(&at.dir.join(RECORD_KEY), &pass)?;
            let wrapped = Wrapped::new(&secret, &claimed.seal, &claimed.id, &clock::secret());
            Some(wrapped.ok_or_else(|| no("its sealing key is no valid point".into()))?)
        }
    };
    // New keys let nobody in again; only admission does.
    let suspended = by.is_some() && known.as_ref().is_some_and(|known| known.suspended);
    let kept = known.as_ref().map_or_else(Vec::new, |_| kept(terms, &mirrors, witness));
    let before = (draft.members.clone(), draft.witnesses.clone());
    draft.witnesses.retain(|w| *w != id);
    if witness {
        draft.witnesses.push(id.clone());
        draft.witnesses.sort();
    }
    let entry = MemberEntry { stated: claimed, record_key, mirrors, suspended, past };
    match found {
        Ok(at) => draft.members[at] = entry,
        Err(at) => draft.members.insert(at, entry),
    }
    // Otherwise the draft stays as it is, with the signatures that it has.
    let changed = before != (draft.members.clone(), draft.witnesses.clone());
    let mut text = if changed {
        let signed = SignedRegistry::unsigned(&draft);
        signed.read()?;
        write_draft(&at.dir, &signed)?;
        let version = draft.version;
        format!("`{id}` is in the draft of version {version}; now the governors sign / 已列入登记表草案")
    } else {
        format!("`{id}` is in the registry like this already; nothing changes / 登记内容相同，未作变更")
    };
    for (_, en, zh) in &kept {
        text.push_str(&format!("\n  kept: {en} / 保留：{zh}"));
    }
    let kept: Vec<_> = kept.into_iter().map(|(what, ..)| what).collect();
    Ok(Output::new(
        json!({ "admitted": id.as_str(), "version": draft.version, "members": draft.members.len(), "changed": changed, "kept": kept }),
        text,
    ))
}

/// What the governors said of a member before and leave as it is: its name in JSON, and it in both languages.
fn kept(terms: &Terms<'_>, mirrors: &[MemberId], witness: bool) -> Vec<(&'static str, String, String)> {
    let mut kept = Vec::new();
    if terms.mirrors.is_none() && !mirrors.is_empty() {
        let names = mirrors.iter().map(MemberId::as_str).collect::<Vec<_>>().join(", ");
        kept.push(("mirrors", format!("mirrors {names} (--mirrors)"), format!("镜像成员 {names}")));
    }
    if terms.witness.is_none() && witness {
        kept.push(("witness", "it is a witness (--witness=false)".to_owned(), "见证成员".to_owned()));
    }
    kept
}

/// The request inside a request for new keys: by a member, under its present key, for itself and in its present role.
fn asked(
    rotation: &Signed<Rotation>,
    draft: &Registry,
    issuer: &MemberId,
) -> Result<Signed<MemberRequest>, String> {
    let known = draft.members.iter().find(|m| m.stated.id == *issuer);
    let known = known.ok_or_else(|| format!("`{issuer}` is no member"))?;
    // Taken into the draft already: once more changes nothing.
    let keys = core::iter::once(known.stated.sign).chain(known.past.last().map(|past| past.sign));
    let mut keys = keys.filter_map(|key| VerifyingKey::from_bytes(key.0));
    let verified = keys.find_map(|key| rotation.verify(&key).ok());
    let request = verified.ok_or("it is not signed with the member's present key")?.into_inner().request;
    let new = request.verify_by_own_key(|r| r.sign.0).map_err(|e| e.to_string())?.into_inner();
    let same = MemberRequest {
        sign: known.stated.sign,
        tls: known.stated.tls,
        seal: known.stated.seal,
        witness: known.stated.witness,
        ..new.clone()
    };
    let again = new == known.stated;
    let fresh = rotation.key_id() == KeyId::of(&known.stated.sign.0);
    if same != known.stated || !(fresh || again) {
        return Err("it asks for something else than new keys".into());
    }
    Ok(request)
}

/// Signs the draft as one governor; a complete draft becomes the registry.
pub(crate) fn sign(at: &Unlock, governor: &str) -> Result<Output, Problem> {
    let pass = passphrase(&at.passphrase)?;
    if !governor.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(Problem::new(
            format!("`{governor}` is no governor"),
            "write g1, g2 …",
            "请填写 g1、g2 等",
        ));
    }
    if !at.dir.join(format!("{governor}.key")).exists() {
        let known: Vec<String> = next_draft(&at.dir)?.governors.into_iter().map(|g| g.name).collect();
        return Err(Problem::new(
            format!("the key of governor `{governor}` is not in {}", at.dir.display()),
            format!("the governors are {}; sign where the key lies", known.join(", ")),
            format!("治理方为 {}；请在存放其密钥处签署", known.join("、")),
        ));
    }
    let key = SigningKey::from_seed(&read_sealed(&at.dir.join(format!("{governor}.key")), &pass)?);
    let mut draft = read_registry(&at.dir.join(DRAFT))?;
    draft.approve(governor, &key, clock::now())?;
    write_draft(&at.dir, &draft)?;
    let registry = draft.read()?;
    let complete = draft.approvals.len() >= usize::from(registry.threshold);
    if complete {
        let known = at.dir.join(SIGNED);
        let known = if known.exists() { Some(read_registry(&known)?.read()?) } else { None };
        draft.accept(known.as_ref())?;
        write_private(&at.dir.join(SIGNED), &codec::to_vec(&Artifact::Registry(draft.clone())))?;
    }
    let text = if complete {
        format!(
            "version {} is complete: {} / 登记表已完成签署",
            registry.version,
            at.dir.join(SIGNED).display()
        )
    } else {
        format!("{} of {} signatures / 已签署", draft.approvals.len(), registry.threshold)
    };
    Ok(Output::new(
        json!({ "version": registry.version, "signatures": draft.approvals.len(), "complete": complete }),
        text,
    ))
}

/// Marks a member as suspended in the draft of the next version.
fn suspend(dir: &Path, member: &str) -> Result<Output, Problem> {
    let id = member_id(member)?;
    let mut draft = next_draft(dir)?;
    let entry = draft.members.iter_mut().find(|m| m.stated.id == id).ok_or_else(|| {
        Problem::new(
            format!("`{id}` is not in the registry"),
            "see `xinqiao federation show`",
            "请用 `xinqiao federation show` 查看成员",
        )
    })?;
    entry.suspended = true;
    write_draft(dir, &SignedRegistry::unsigned(&draft))?;
    Ok(Output::new(
        json!({ "suspended": id.as_str(), "version": draft.version }),
        format!(
            "`{id}` is suspended in the draft of version {}; now the governors sign / 已在草案中暂停该成员",
            draft.version
        ),
    ))
}

/// Hands a successor registry to the operator's own node.
async fn update(path: &Path, dir: &Path) -> Result<Output, Problem> {
    let signed = read_registry(path)?;
    let version = signed.read()?.version;
    let response = Client::open(dir)?.operate(Operation::UpdateRegistry(signed)).await?;
    let Response::Done = response else { return Err(unexpected(&response)) };
    Ok(Output::new(
        json!({ "version": version }),
        format!("the node decides under version {version} now / 节点已采用登记表第 {version} 版"),
    ))
}

/// Ends a freeze at the operator's own node.
async fn unfreeze(member: &str, reason: String, dir: &Path) -> Result<Output, Problem> {
    let member = member_id(member)?;
    let response = Client::open(dir)?.operate(Operation::Unfreeze { member: member.clone(), reason }).await?;
    let Response::Done = response else { return Err(unexpected(&response)) };
    Ok(Output::new(
        json!({ "unfrozen": member.as_str() }),
        format!("`{member}` is accepted again by this node, and by no other / 本节点已解除对该成员的冻结"),
    ))
}

fn show(path: &Path) -> Result<Output, Problem> {
    let signed = read_registry(path)?;
    let registry = signed.accept(None)?;
    let members: Vec<_> = registry
        .members
        .iter()
        .map(|m| {
            json!({
                "id": m.stated.id.as_str(), "role": m.stated.role.as_str(), "name": m.stated.name,
                "witness": registry.witnesses.contains(&m.stated.id), "quic": m.stated.quic, "http": m.stated.http, "collector": m.stated.collector,
                "mirrors": m.mirrors.iter().map(MemberId::as_str).collect::<Vec<_>>(), "suspended": m.suspended,
            })
        })
        .collect();
    let mut text = format!("{registry}, digest {}\n", registry.digest());
    for m in &registry.members {
        let s = &m.stated;
        let marks = [
            (s.collector, "collector"),
            (registry.witnesses.contains(&s.id), "witness"),
            (m.suspended, "SUSPENDED"),
        ];
        let marks: Vec<&str> = marks.iter().filter(|(on, _)| *on).map(|(_, word)| *word).collect();
        let (id, role, marks) = (s.id.as_str(), s.role.as_str(), marks.join(" "));
        text.push_str(&format!("  {id:<8} {role:<9} {:<22} {} {marks}\n", s.quic, s.name));
    }
    let value = json!({
        "federation": registry.federation, "version": registry.version, "digest": registry.digest().to_string(),
        "members": members, "approved_by": signed.approvals.iter().map(|a| a.issuer()).collect::<Vec<_>>(),
    });
    Ok(Output::new(value, text.trim_end()))
}

/// The trust policy of one log, from the registry alone.
fn policy(registry: &Path, member: &str, log: &str, out: Option<&Path>) -> Result<Output, Problem> {
    let registry = read_registry(registry)?.accept(None)?;
    let (member, log) = (member_id(member)?, log_name(log)?);
    let file = trust::policy(&registry, &member, log, true)?;
    let of = registry.committee(&member).len();
    let needed = quorum(of);
    let value = json!({ "member": member.as_str(), "log": log.as_str(), "witnesses": of, "needed": needed, "policy": file });
    let Some(out) = out else { return Ok(Output::new(value, file.trim_end())) };
    write_once(out, file.as_bytes())?;
    let text = match needed {
        0 => format!(
            "{}: `{member}/{log}` is believed without witnesses / 信任策略已写出，无需见证",
            out.display()
        ),
        _ => format!(
            "{}: `{member}/{log}` is believed when {needed} of {of} witnesses have cosigned / 信任策略已写出",
            out.display()
        ),
    };
    Ok(Output::new(value, text))
}

/// The draft being worked on, or the successor of the registry in force.
fn next_draft(dir: &Path) -> Result<Registry, Problem> {
    let signed = dir.join(SIGNED);
    let draft = read_registry(&dir.join(DRAFT))?.read()?;
    if signed.exists() {
        let current = read_registry(&signed)?.read()?;
        if draft.version <= current.version {
            let (version, previous) = (current.version + 1, current.digest());
            return Ok(Registry { version, previous, issued_at: clock::now(), ..current });
        }
    }
    Ok(draft)
}

fn write_draft(dir: &Path, draft: &SignedRegistry) -> Result<(), Problem> {
    write_private(&dir.join(DRAFT), &codec::to_vec(&Artifact::Registry(draft.clone())))
}

fn write_sealed(path: &Path, pass: &Credential, secret: &Secret) -> Result<(), Problem> {
    let unlocked = Unlocked::new(pass, clock::random()).map_err(|e| Problem::fault(e.to_string()))?;
    write_private(path, &unlocked.seal(clock::random(), secret.expose()))
}

fn read_sealed(path: &Path, pass: &Credential) -> Result<Secret, Problem> {
    let no = |why: String| {
        Problem::new(
            format!("{}: {why}", path.display()),
            "check directory and passphrase file",
            "请检查目录与口令文件",
        )
    };
    let (content, _) = Unlocked::open(pass, &read(path)?).map_err(|e| no(e.to_string()))?;
    let bytes: [u8; 32] = content[..].try_into().map_err(|_| no("not a key".into()))?;
    Ok(Secret::new(bytes))
}
