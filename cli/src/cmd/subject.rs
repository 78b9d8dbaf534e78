//! A subject's own key: made where the subject keeps it, vouched for by a collector.

use std::path::Path;

use ::node::{
    Problem,
    client::{Client, unexpected},
    clock,
};
use credit::binding::KeyBinding;
use crypto::{
    codec,
    keystore::{Credential, Unlocked},
    secret::Secret,
    sign::{PublicKey, Signed, SigningKey},
};
use exchange::{
    artifact::Artifact,
    wire::{KeyDraft, Operation, Response},
};
use serde_json::json;

use crate::{
    args::{Subject, SubjectKey},
    cmd::{new_file::NewFile, paper_digest, passphrase, read, subject},
    output::Output,
};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

pub(crate) async fn run(verb: Subject) -> Result<Output, Problem> {
    match verb {
        Subject::Key { out, passphrase: pass } => make(&out, &passphrase(&pass)?),
        Subject::Bind { subject: of, key, paper, days, out, node } => {
            let draft = KeyDraft {
                subject: subject(&of)?,
                key: public(&key)?,
                not_after: clock::now().plus_ms(u64::from(days) * DAY_MS),
                paper: paper_digest(&paper)?,
            };
            let file = NewFile::ready(&out)?;
            let response = Client::open(&node.dir)?.operate(Operation::BindKey(draft)).await?;
            let Response::Binding(signed) = response else { return Err(unexpected(&response)) };
            file.write(&codec::to_vec(&Artifact::Binding(signed.clone())))?;
            Ok(Output::new(
                json!({ "binding": out, "digest": signed.digest().to_string() }),
                format!("key binding {} written to {} / 密钥绑定已签发", signed.digest(), out.display()),
            ))
        }
        Subject::Withdraw { binding, node } => {
            let signed = read_binding(&binding)?;
            let client = Client::open(&node.dir)?;
            let key = client.registry.verify(&signed)?.into_inner().key_digest();
            let response = client.operate(Operation::WithdrawKey(signed)).await?;
            let Response::Done = response else { return Err(unexpected(&response)) };
            Ok(Output::new(
                json!({ "withdrawn": key.to_string() }),
                format!(
                    "key {key} of this subject is withdrawn, by whichever collector it was bound: no platform that has heard of it answers on a grant that the key has signed, and no collector binds it again / 该主体的此密钥已注销，无论由哪家采集机构绑定：平台获知后不再依其签署的授权作答，采集机构不再绑定此密钥"
                ),
            ))
        }
    }
}

/// Makes a key. One that is there already is not replaced: grants rest on it.
fn make(out: &Path, pass: &Credential) -> Result<Output, Problem> {
    let file = NewFile::private(out)?;
    let secret = clock::secret();
    let unlocked = Unlocked::new(pass, clock::random()).map_err(|e| Problem::fault(e.to_string()))?;
    file.write(&unlocked.seal(clock::random(), secret.expose()))?;
    let key = PublicKey(SigningKey::from_seed(&secret).verifying_key().to_bytes());
    Ok(Output::new(
        json!({ "key": out, "public": key.to_string() }),
        format!(
            "key written to {}; show a collector this public key: {key} / 密钥已生成，请向采集机构出示公钥",
            out.display()
        ),
    ))
}

/// Opens a subject's key.
pub(crate) fn open(from: &SubjectKey) -> Result<SigningKey, Problem> {
    let no = |why: String| {
        Problem::new(
            format!("{}: {why}", from.key.display()),
            "give the file that `xinqiao subject key` wrote, and what opens it",
            "请提供 `xinqiao subject key` 生成的文件及其口令",
        )
    };
    let pass = passphrase(&from.passphrase)?;
    let (content, _) = Unlocked::open(&pass, &read(&from.key)?).map_err(|e| no(e.to_string()))?;
    let seed: [u8; 32] = content[..].try_into().map_err(|_| no("not a key".into()))?;
    Ok(SigningKey::from_seed(&Secret::new(seed)))
}

/// Reads a binding.
pub(crate) fn read_binding(path: &Path) -> Result<Signed<KeyBinding>, Problem> {
    match codec::from_slice::<Artifact>(&read(path)?) {
        Ok(Artifact::Binding(signed)) => Ok(signed),
        _ => Err(Problem::new(
            format!("{} is no key binding", path.display()),
            "give the file that `xinqiao subject bind` wrote",
            "请提供 `xinqiao subject bind` 生成的文件",
        )),
    }
}

fn public(text: &str) -> Result<PublicKey, Problem> {
    let bytes = codec::unhex(text.trim()).and_then(|bytes| bytes.try_into().ok());
    bytes.map(PublicKey).ok_or_else(|| {
        Problem::new(
            format!("`{text}` is no public key"),
            "give the 64 hexadecimal digits that `xinqiao subject key` printed",
            "请提供 `xinqiao subject key` 输出的 64 位十六进制公钥",
        )
    })
}
