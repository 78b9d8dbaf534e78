//! Becoming a member: keys, and a request signed with them.

use ::node::{Problem, clock, home::Home, keys::Keys, tls};
use credit::{policy::Role, rules::System};
use crypto::sign::{PublicKey, Signed};
use exchange::registry::MemberRequest as Stated;
use serde_json::json;

use crate::{
    args::{Member, MemberRequest},
    client::member_id,
    cmd::{passphrase, subject, write},
    output::Output,
};

pub(crate) fn run(verb: Member) -> Result<Output, Problem> {
    match verb {
        Member::Request(request) => self::request(&request),
    }
}

/// Makes a member's directory with fresh keys, and its request.
pub(crate) fn request(args: &MemberRequest) -> Result<Output, Problem> {
    let pass = passphrase(&args.at.passphrase)?;
    let role = Role::parse(&args.role).ok_or_else(|| {
        let known: Vec<&str> = Role::ALL.iter().map(|r| r.as_str()).collect();
        Problem::new(
            format!("`{}` is no role", args.role),
            format!("use one of {}", known.join(", ")),
            "请使用规定的成员角色",
        )
    })?;
    for body in &args.bodies {
        subject(body)?;
    }
    let system = match args.system.as_deref() {
        Some(code) => Some(System::parse(code).ok_or_else(|| {
            Problem::new(
                format!("`{code}` is no publicity system"),
                "use credit-china (信用中国) or gsxt (公示系统), or leave it out",
                "请使用 credit-china（信用中国）或 gsxt（公示系统），或不填写",
            )
        })?),
        None => None,
    };
    let id = member_id(&args.id)?;
    let home = Home::create(&args.at.dir, &id)?;
    let keys = Keys::create(home.dir(), &pass)?;
    let stated = Stated {
        id: id.clone(),
        role,
        region: args.region.clone(),
        name: args.name.clone(),
        sign: PublicKey(keys.signing().verifying_key().to_bytes()),
        tls: tls::public_key(&keys.tls_seed()),
        seal: keys.opening().public(),
        quic: args.quic.clone(),
        http: args.http.clone(),
        collector: args.collector,
        bodies: args.bodies.clone(),
        witness: PublicKey(keys.witness().verifying_key().to_bytes()),
        system,
    };
    let signed = Signed::new(&keys.signing(), id.as_str(), clock::now(), &stated);
    if let Err(problem) = write(&args.out, signed.as_bytes()) {
        // The directory was made here and its keys have left it in no form: the same command can be given again.
        let _ = std::fs::remove_dir_all(home.dir());
        return Err(problem);
    }
    Ok(Output::new(
        json!({ "member": id.as_str(), "dir": args.at.dir, "request": args.out, "key": stated.sign.to_string() }),
        format!(
            "keys of `{id}` are in {}; hand {} to a governor / 密钥已生成，请将申请文件交给治理方",
            args.at.dir.display(),
            args.out.display()
        ),
    ))
}
