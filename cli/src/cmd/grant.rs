//! Subjects' authorisations: issued, revoked, shown.

use std::path::Path;

use ::node::{Problem, clock};
use credit::{
    catalog::Catalog,
    grant::{Grant as Text, Scope},
};
use crypto::{Digest, codec, sign::Signed};
use exchange::{
    artifact::Artifact,
    wire::{GrantDraft, Operation, Response},
};
use serde_json::json;

use crate::{
    args::{Grant, GrantIssue},
    client::{Client, member_id, unexpected},
    cmd::{item_fields, purpose, read, subject, write},
    output::Output,
};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

pub(crate) async fn run(verb: Grant) -> Result<Output, Problem> {
    match verb {
        Grant::Issue(args) => {
            let signed = issue(&args).await?;
            Ok(Output::new(
                json!({ "grant": args.out, "digest": signed.digest().to_string() }),
                format!("grant {} written to {} / 授权书已签发", signed.digest(), args.out.display()),
            ))
        }
        Grant::Revoke { grant, node } => {
            let digest = read_grant(&grant)?.digest();
            match Client::open(&node.dir)?.operate(Operation::RevokeGrant(digest)).await? {
                Response::Done => Ok(Output::new(
                    json!({ "revoked": digest.to_string() }),
                    format!("grant {digest} is revoked; every platform is told / 授权已撤回"),
                )),
                other => Err(unexpected(&other)),
            }
        }
        Grant::Show { grant } => show(&read_grant(&grant)?),
    }
}

/// Has the collector's node sign a grant, and writes it.
pub(crate) async fn issue(args: &GrantIssue) -> Result<Signed<Text>, Problem> {
    let catalog = Catalog::builtin();
    let mut scope = Vec::new();
    for text in &args.items {
        let (item, fields) = item_fields(&catalog, text)?;
        scope.push(Scope { item: item.id.clone(), fields });
    }
    let now = clock::now();
    let draft = GrantDraft {
        subject: subject(&args.subject)?,
        grantee: member_id(&args.grantee)?,
        purposes: args.purposes.iter().map(|p| purpose(p)).collect::<Result<_, _>>()?,
        scope,
        not_before: now,
        not_after: now.plus_ms(u64::from(args.days) * DAY_MS),
        uses_max: args.uses,
        keep_days: args.keep_days,
        letter: Digest::of(&read(&args.letter)?),
    };
    let response = Client::open(&args.node.dir)?.operate(Operation::IssueGrant(draft)).await?;
    let Response::Grant(signed) = response else { return Err(unexpected(&response)) };
    write(&args.out, &codec::to_vec(&Artifact::Grant(signed.clone())))?;
    Ok(signed)
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

fn show(signed: &Signed<Text>) -> Result<Output, Problem> {
    Ok(Output::new(
        json!({ "digest": signed.digest().to_string(), "collector": signed.issuer(), "issued": signed.issued_at().rfc3339() }),
        format!(
            "grant {} by `{}` of {}; verify it with `xinqiao verify`",
            signed.digest(),
            signed.issuer(),
            signed.issued_at().rfc3339()
        ),
    ))
}
