//! Proofs in open forms: written by the owner's node, verified anywhere with a policy or a registry.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use ::node::{
    Problem,
    client::{Client, unexpected},
    home::read_registry,
};
use credit::entry::{Entry, Fact};
use crypto::{Digest, merkle::leaf_hash};
use exchange::{
    logs::LogName,
    trust,
    wire::{Operation, Response},
};
use ledger::{
    SignedCheckpoint,
    cose_receipt::CoseReceipt,
    policy::{Believed, Disbelief, Policy},
    proof_file::ProofFile,
};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    args::Verify,
    cmd::{new_file::write_all_once, read, verify},
    output::Output,
};

/// Between two looks at whether the witnesses have cosigned; they are asked once a second.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// A form of proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// C2SP tlog-proof.
    TlogProof,
    /// COSE receipt, RFC 9942.
    Cose,
}

impl Form {
    /// Reads the word of the command line.
    pub(crate) fn parse(text: &str) -> Result<Self, Problem> {
        match text {
            "tlog-proof" => Ok(Self::TlogProof),
            "cose" => Ok(Self::Cose),
            _ => Err(Problem::new(
                format!("`{text}` is no form of proof"),
                "use tlog-proof or cose",
                "请使用 tlog-proof 或 cose",
            )),
        }
    }

    /// The form that a file begins as: files of this system begin otherwise.
    pub(crate) fn of(file: &[u8]) -> Option<Self> {
        match file {
            // The CBOR tag of a COSE_Sign1.
            [0xd2, ..] => Some(Self::Cose),
            _ if file.starts_with(b"c2sp.org/tlog-proof@") => Some(Self::TlogProof),
            _ => None,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::TlogProof => "tlog-proof",
            Self::Cose => "cose",
        }
    }
}

/// What to prove, and how.
pub(crate) struct Wanted {
    pub(crate) log: LogName,
    pub(crate) index: u64,
    pub(crate) form: Form,
}

/// Has the node of a directory prove an entry of its own, and writes proof and entry side by side.
///
/// The entry is a file of its own, and not the proof's `extra`: anybody may have the proof, while entries of `records` and
/// `access` are for auditors.
pub(crate) async fn write(
    wanted: &Wanted,
    out: &Path,
    wait: Duration,
    unwitnessed: bool,
    dir: &Path,
) -> Result<Output, Problem> {
    let Wanted { log, index, form } = *wanted;
    let client = Client::open(dir)?;
    let until = Instant::now() + wait;
    let (receipt, cose, found, needed) = loop {
        let response = client.operate(Operation::Prove { log, index }).await?;
        let Response::Proof { receipt, cose } = response else { return Err(unexpected(&response)) };
        let (found, needed) = client.registry.witnessed(&client.member, &receipt.checkpoint)?;
        if found >= needed || unwitnessed {
            break (receipt, cose, found, needed);
        }
        if Instant::now() >= until {
            return Err(Problem::new(
                format!(
                    "{found} witnesses have cosigned the newest checkpoint of `{log}`, and {needed} are needed"
                ),
                "try again, or with a longer --wait; --unwitnessed writes a proof that a policy will refuse",
                "请重试或加长 --wait；--unwitnessed 写出的证明不会被信任策略接受",
            ));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    };
    let bytes = match form {
        Form::TlogProof => receipt.proof_file().to_string().into_bytes(),
        Form::Cose => match cose {
            Some(cose) => cose.0,
            None => {
                return Err(Problem::new(
                    format!("`{log}` has one entry, and a COSE receipt (RFC 9942) needs two"),
                    "take the form tlog-proof, or wait for another entry",
                    "请使用 tlog-proof 形式，或等待日志有第二条条目",
                ));
            }
        },
    };
    let entry = beside(out);
    write_all_once(&[(out, &bytes[..]), (&entry, &receipt.entry[..])])?;
    let claimed = receipt.checkpoint.claimed();
    let value = json!({
        "form": form.as_str(), "out": out, "entry": entry, "origin": claimed.origin, "index": index, "size": claimed.size.0,
        "leaf": leaf_hash(&receipt.entry).to_string(), "cosigned": found, "cosignatures_needed": needed,
    });
    let text = format!(
        "{}: entry {index} of {}, under a checkpoint of {} entries that {found} witnesses have cosigned; the entry is {} / 已写出证明与条目",
        out.display(),
        claimed.origin,
        claimed.size,
        entry.display()
    );
    Ok(Output::new(value, text))
}

/// A proof as read from a file.
enum Proof {
    Text(ProofFile),
    Cose(CoseReceipt),
}

impl Proof {
    fn read(form: Form, bytes: &[u8]) -> Result<Self, String> {
        match form {
            Form::TlogProof => {
                let text = core::str::from_utf8(bytes).map_err(|_| "not UTF-8".to_owned())?;
                ProofFile::parse(text).map(Self::Text).map_err(|e| e.to_string())
            }
            Form::Cose => CoseReceipt::parse(bytes).map(Self::Cose).map_err(|e| e.to_string()),
        }
    }

    fn checkpoint(&self) -> &SignedCheckpoint {
        match self {
            Self::Text(proof) => &proof.checkpoint,
            Self::Cose(receipt) => receipt.checkpoint(),
        }
    }

    fn index(&self) -> u64 {
        match self {
            Self::Text(proof) => proof.index.0,
            Self::Cose(receipt) => receipt.index().0,
        }
    }

    fn verify(&self, leaf: &Digest, policy: &Policy) -> Result<Believed, Disbelief> {
        match self {
            Self::Text(proof) => proof.verify(leaf, policy),
            Self::Cose(receipt) => receipt.verify(leaf, policy),
        }
    }
}

/// Verifies a proof and its entry by a policy, or by a registry.
pub(crate) fn verify(args: &Verify, form: Form, path: &Path, bytes: &[u8]) -> Result<Output, Problem> {
    let fails = |what: String| {
        Problem::new(
            format!("{}: {what}", path.display()),
            "do not rely on it; ask its log's owner for another proof, and compare policy or registry with theirs",
            "请勿采信；请向日志所属成员索取新的证明，并核对信任策略或登记表",
        )
    };
    let proof = Proof::read(form, bytes).map_err(&fails)?;
    let entry = read(&args.entry.clone().unwrap_or_else(|| beside(path)))?;
    let policy = match (&args.policy, &args.registry) {
        (Some(policy), _) => policy_file(policy)?,
        (None, Some(registry)) => {
            let registry = read_registry(registry)?.accept(None)?;
            let origin = &proof.checkpoint().claimed().origin;
            let (member, log) = verify::owner(&registry, origin)
                .ok_or_else(|| fails(format!("`{origin}` is no log of this federation")))?;
            verify::demand(registry.witnessed(&member, proof.checkpoint())?, args.require_witnesses)?;
            let file = trust::policy(&registry, &member, log, args.require_witnesses)?;
            Policy::parse(file.as_bytes())
                .map_err(|e| Problem::fault(format!("policy of a registry: {e}")))?
        }
        // The arguments demand one of the two.
        (None, None) => return Err(fails("neither policy nor registry is given".into())),
    };
    let leaf = leaf_hash(&entry);
    let believed = proof.verify(&leaf, &policy).map_err(|e| fails(e.to_string()))?;
    let at = statement(&entry, &believed).map_err(&fails)?;
    let cosigned: Vec<Value> =
        believed.cosigned.iter().map(|c| json!({ "name": c.name, "time_s": c.time_s })).collect();
    let checkpoint = &believed.checkpoint;
    let value = json!({
        "ok": true, "kind": form.as_str(), "origin": checkpoint.origin, "index": proof.index(), "size": checkpoint.size.0,
        "root": checkpoint.root.to_string(), "leaf": leaf.to_string(), "at": at, "cosigned": cosigned,
    });
    let text = format!(
        "proof holds: entry {} of {}, under a checkpoint of {} entries that {} known witnesses have cosigned / 证明有效",
        proof.index(),
        checkpoint.origin,
        checkpoint.size,
        cosigned.len()
    );
    Ok(Output::new(value, text))
}

/// Checks the statement inside an entry of this system, which its member signs with its logs' key, and tells the entry's
/// time; `None` for an entry of another system.
fn statement(entry: &[u8], believed: &Believed) -> Result<Option<String>, String> {
    let Ok(entry) = Entry::from_bytes(entry) else { return Ok(None) };
    let key = &believed.log.key;
    match &entry.fact {
        Fact::Status(signed) => signed.verify(key).map(drop).map_err(|e| e.to_string())?,
        Fact::Batched(signed) => signed.verify(key).map(drop).map_err(|e| e.to_string())?,
        _ => {}
    }
    Ok(Some(entry.at.rfc3339()))
}

fn policy_file(path: &Path) -> Result<Policy, Problem> {
    Policy::parse(&read(path)?).map_err(|e| {
        Problem::new(
            format!("{}: {e}", path.display()),
            "mend that line, or write the file again with `xinqiao federation policy`",
            "请修改该行，或用 `xinqiao federation policy` 重新生成该文件",
        )
    })
}

/// Where the entry of a proof lies unless told otherwise.
fn beside(proof: &Path) -> PathBuf {
    let mut name = proof.as_os_str().to_owned();
    name.push(".entry");
    name.into()
}
