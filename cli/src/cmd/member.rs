//! Becoming a member, and changing its keys: a request signed with them.

use std::path::Path;

use ::node::{Problem, client::member_id, clock, home::Home, keys::Keys, tls};
use credit::{policy::Role, rules::System};
use crypto::sign::{PublicKey, Signed};
use exchange::registry::{MemberRequest as Stated, Rotation};
use serde_json::json;

use crate::{
    args::{Member, MemberRequest, Unlock},
    cmd::{
        new_file::{NewFile, write_new},
        passphrase, subject,
    },
    output::Output,
};

pub(crate) fn run(verb: Member) -> Result<Output, Problem> {
    match verb {
        Member::Request(request) => self::request(&request),
        Member::Rotate { out, at } => rotate(&at, &out),
    }
}

/// Makes a member's directory with fresh keys, and its request. With the directory of this member, it asks again under the
/// keys that are there: for other bodies, another address.
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
    let before = Home::open(&args.at.dir).ok().filter(|home| home.member().ok().as_ref() == Some(&id));
    let again = before.is_some();
    let (home, keys) = match before {
        Some(home) => {
            let mut keys = Keys::open(home.dir(), &pass)?;
            // The keys that the registry names, where a later generation waits to be named.
            if let Ok((_, registry)) = home.registry()
                && let Ok(entry) = registry.member(&id)
            {
                keys.choose(&entry.stated.sign);
            }
            (home, keys)
        }
        None => {
            let home = Home::create(&args.at.dir, &id)?;
            let keys = Keys::create(home.dir(), &pass)?;
            (home, keys)
        }
    };
    let unkeyed = Stated {
        id: id.clone(),
        role,
        region: args.region.clone(),
        name: args.name.clone(),
        sign: PublicKey([0; 32]),
        tls: PublicKey([0; 32]),
        seal: PublicKey([0; 32]),
        quic: args.quic.clone(),
        http: args.http.clone(),
        collector: args.collector,
        bodies: args.bodies.clone(),
        witness: PublicKey([0; 32]),
        system,
    };
    let stated = with_keys(unkeyed, &keys);
    let signed = Signed::new(&keys.signing(), id.as_str(), clock::now(), &stated);
    if let Err(problem) = write_new(&args.out, signed.as_bytes()) {
        // A directory that was made here, whose keys have left it in no form: the same command can be given again.
        if !again {
            let _ = std::fs::remove_dir_all(home.dir());
        }
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

/// The request with the keys in use.
fn with_keys(stated: Stated, keys: &Keys) -> Stated {
    Stated {
        sign: PublicKey(keys.signing().verifying_key().to_bytes()),
        tls: tls::public_key(&keys.tls_seed()),
        seal: keys.sealing(),
        witness: PublicKey(keys.witness().verifying_key().to_bytes()),
        ..stated
    }
}

/// Makes the next generation of a member's keys, and the request for it. Given again before the registry names them, it
/// writes the request for the same keys.
fn rotate(at: &Unlock, out: &Path) -> Result<Output, Problem> {
    let pass = passphrase(&at.passphrase)?;
    let home = Home::open(&at.dir)?;
    let _lock = home.lock()?;
    let id = home.member()?;
    let (_, registry) = home.registry()?;
    let stated = registry.member(&id)?.stated.clone();
    let mut keys = Keys::open(home.dir(), &pass)?;
    keys.settle()?;
    if !keys.holds(&stated.sign) {
        return Err(Problem::new(
            format!("the registry names another key for `{id}` than this directory holds"),
            "use the directory whose keys the registry names; if it is lost, the governors can replace the keys: \
             `xinqiao federation admit --replace-keys`",
            "请使用登记表所列密钥所在的目录；如已遗失，可由治理方用 `xinqiao federation admit --replace-keys` 更换",
        ));
    }
    keys.choose(&stated.sign);
    let file = NewFile::ready(out)?;
    let old = keys.signing();
    keys.rotate()?;
    let (now, stated) = (clock::now(), with_keys(stated, &keys));
    let request = Signed::new(&keys.signing(), id.as_str(), now, &stated);
    let rotation = Signed::new(&old, id.as_str(), now, &Rotation { request });
    file.write(rotation.as_bytes())?;
    Ok(Output::new(
        json!({ "member": id.as_str(), "request": out, "key": stated.sign.to_string() }),
        format!(
            "new keys of `{id}` lie beside the old ones, which stay in use: start the node again, hand {} to a governor, and \
             when the registry names them start it once more; make a new backup of the keys / \
             新密钥已生成，旧密钥继续使用：请重新启动节点，将申请文件交给治理方；登记表启用新密钥后再次启动节点，并重新备份密钥",
            out.display()
        ),
    ))
}
