//! `xinqiao sandbox`: a federation on this machine whose bank has a gateway, and a company for each outcome that a bank's
//! system must be able to take. Every part is real; only the companies are made up.

use std::{
    fs,
    io::Cursor,
    path::Path,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use credit::{
    catalog::{Catalog, Purpose},
    grant::GrantChange,
    id::{ClerkId, ItemId, MemberId, RecordId},
    question::{Basis, Want},
    repair::Matter,
    status::Change,
    value::Date,
};
use crypto::{Digest, codec};
use exchange::{
    artifact::Artifact,
    wire::{ApplicationDraft, AskDraft, Operation, Response},
};
use node::{
    Problem, clock,
    gateway::{
        scope::Scope,
        settings::{PER_MINUTE, Settings},
    },
    home::{GatewayConfig, Home},
};
use serde_json::{Value, json};

use ::node::client::{Client, unexpected};

use crate::{
    args::{Dir, GrantIssue, GrantTerms, Sandbox},
    cmd::{collect, grant, new_file::write_new, query},
    demo::federation::{Federation, SANDBOX},
    fetch,
    output::{Output, print, say},
    sample::sandbox::{OUTCOMES, files, penalty, subject},
};

/// Time for a change to reach every node.
const REACHES: Duration = Duration::from_secs(60);
/// A node that was stopped stays away so long: enough to ask, and the sandbox is whole again.
const AWAY: Duration = Duration::from_secs(20);
/// The member that is to be stopped for `node-down`.
const STOPPED: &str = "sh";
/// What each outcome looks like in an answer.
const EXPECT: [&str; OUTCOMES.len()] = [
    "complete, one record of taxes, no penalty",
    "complete, the penalty with its fields and rules",
    "complete, no penalty: it was repaired, and an event says so",
    "complete, the penalty with disputed = true",
    "complete, no penalty: it is hidden during a reorganisation, and an event says so",
    "every member denies by rule grant-revoked",
    "complete = false, `sh` is unreachable",
    "429 quota.exceeded with Retry-After from the second question on",
];

/// Runs the sandbox until Ctrl-C.
pub(crate) async fn run(args: Sandbox, json: bool) -> Result<Output, Problem> {
    let (root, temporary) = super::directory(args.dir.as_deref(), "xinqiao-sandbox-")?;
    let mut fed = Federation::of(&root, &SANDBOX)?;
    let built = tokio::select! {
        built = build(&args, &mut fed) => built,
        () = node::run::signalled() => Err(Problem::new("interrupted", "run it again", "请重新运行")),
    };
    let value = match built {
        Ok(value) => value,
        Err(mut problem) => {
            if let Some(temporary) = temporary {
                let kept = temporary.keep();
                problem.what.push_str(&format!(" (the nodes' logs are kept in {})", kept.display()));
            }
            fed.stop().await;
            return Err(problem);
        }
    };
    print(&value, &text(&value), json);
    tokio::select! {
        () = node::run::signalled() => {}
        result = revive(&mut fed) => result?,
    }
    fed.stop().await;
    drop(temporary);
    Ok(Output { shown: true, ..Output::new(value, "") })
}

/// Starts nodes that were stopped again, after a while.
async fn revive(fed: &mut Federation) -> Result<(), Problem> {
    let mut away: Vec<(Instant, &'static str)> = Vec::new();
    loop {
        for member in fed.gone() {
            say(&format!(
                "`{member}` is down, and comes back in {} s / 节点已停止，稍后自动恢复",
                AWAY.as_secs()
            ));
            away.push((Instant::now(), member));
        }
        let (due, rest) = away.into_iter().partition(|(since, _)| since.elapsed() >= AWAY);
        away = rest;
        for (_, member) in Vec::from_iter::<Vec<(Instant, &'static str)>>(due) {
            fed.start(member)?;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn build(args: &Sandbox, fed: &mut Federation) -> Result<Value, Problem> {
    let today = Date::from_timestamp(clock::now());
    fed.found()?;
    let bank = fed.dir("bank-a");
    let home = Home::open(&bank)?;
    let mut config = home.config()?;
    config.gateway = Some(GatewayConfig { listen: args.listen.clone(), certificate: None, key: None });
    home.set_config(&config)?;
    let (key, limited) = Settings::change(&bank, |settings| {
        Ok((
            settings.add_key("loans", "loans/", PER_MINUTE, Scope::default())?,
            settings.add_key("limited", "limited/", 1, Scope::default())?,
        ))
    })?;
    for (member, ..) in SANDBOX {
        fed.start(member)?;
    }
    for (member, ..) in SANDBOX {
        fed.ready(member).await?;
    }
    for (member, file) in files(today) {
        let dir = fed.dir(member);
        collect::add_source(&dir, file.source.as_str()).await?;
        let (source, item) = (file.source.as_str(), file.item.as_str());
        collect::hand_in(&dir, source, item, Vec::new(), Cursor::new(file.bytes)).await?;
    }
    let letter = fed.file("letter.txt");
    write_new(&letter, "沙箱授权书（虚构）\n".as_bytes())?;
    let requests = fed.file("requests");
    fs::create_dir_all(&requests).map_err(|e| Problem::fault(format!("{}: {e}", requests.display())))?;
    let (mut outcomes, mut grants) = (Vec::new(), Vec::new());
    for (at, (name, company)) in OUTCOMES.iter().enumerate() {
        let signed = issue(fed, at, &letter).await?;
        let body = json!({
            "purpose": "pre-loan", "clerk": "wang", "grant": STANDARD.encode(codec::to_vec(&Artifact::Grant(signed.clone()))),
        });
        let request = requests.join(format!("{name}.json"));
        write_new(&request, format!("{body:#}\n").as_bytes())?;
        outcomes.push(json!({
            "outcome": name, "subject": subject(at).as_str(), "name": company, "expect": EXPECT[at], "request": request,
            "grant_id": signed.digest().to_string(),
        }));
        grants.push(signed);
    }
    change(fed, today, &grants).await?;
    let base = format!("http://{}", args.listen);
    let known = format!("{base}/v1/events");
    let started = Instant::now();
    loop {
        let auth = format!("Bearer {key}");
        let got = fetch::get(&known, Some(&auth)).await;
        let page = got.ok().and_then(|(_, body)| serde_json::from_slice::<Value>(&body).ok());
        // Dispute, mask, repair, revocation.
        if page.is_some_and(|page| page["events"].as_array().is_some_and(|events| events.len() >= 4)) {
            break;
        }
        if started.elapsed() > REACHES {
            return Err(Problem::fault("the bank was not told of every change"));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(json!({
        "ok": true, "base": base, "key": key, "limited_key": limited, "dir": fed.file(""), "bank": bank,
        "registry": fed.registry_file(), "stop": fed.dir(STOPPED), "away_seconds": AWAY.as_secs(), "outcomes": outcomes,
    }))
}

async fn issue(
    fed: &Federation,
    at: usize,
    letter: &Path,
) -> Result<crypto::sign::Signed<credit::grant::Grant>, Problem> {
    let (signed, kept) = grant::issue(&GrantIssue {
        subject: subject(at).as_str().to_owned(),
        terms: GrantTerms {
            grantee: "bank-a".into(),
            purposes: vec!["pre-loan".into()],
            items: vec!["CF".into(), "NSXY".into()],
            days: 365,
            uses: 1_000_000,
            period: None,
            keep_days: 180,
            out: fed.file(&format!("{}.grant", OUTCOMES[at].0)),
        },
        letter: letter.to_owned(),
        node: Dir { dir: fed.dir("js") },
    })
    .await?;
    kept.map(|()| signed)
}

/// Repairs, disputes and masks what the bank has received, and revokes a grant.
async fn change(
    fed: &Federation,
    today: Date,
    grants: &[crypto::sign::Signed<credit::grant::Grant>],
) -> Result<(), Problem> {
    let at = |name: &str| OUTCOMES.iter().position(|o| o.0 == name).unwrap_or_default();
    let paper = Some(Digest::of("沙箱文书（虚构）".as_bytes()));
    let (sh, js) = (Client::open(&fed.dir("sh"))?, Client::open(&fed.dir("js"))?);
    let masked = received(fed, &grants[at("masked")]).await?;
    let (change, reason) = (Change::Mask, "sandbox".to_owned());
    sh.operate(Operation::ChangeStanding { record: masked, change, reason, paper }).await?;
    let disputed = received(fed, &grants[at("disputed")]).await?;
    let record = received(fed, &grants[at("repaired")]).await?;
    let known = |text: &str| Problem::fault(format!("`{text}` is no name"));
    let authority = MemberId::parse("sh").ok_or_else(|| known("sh"))?;
    let item = ItemId::parse("CF").ok_or_else(|| known("CF"))?;
    let draft = |name: &str, matter| ApplicationDraft {
        authority: authority.clone(),
        item: item.clone(),
        document: penalty(at(name), today),
        subject: subject(at(name)),
        materials: paper.into_iter().collect(),
        clerk: None,
        matter,
    };
    js.operate(Operation::Apply(draft("disputed", Matter::Objection))).await?;
    js.operate(Operation::Apply(draft("repaired", Matter::Repair))).await?;
    let started = Instant::now();
    let case = loop {
        let response = sh.operate(Operation::Cases).await?;
        let Response::Cases { cases, .. } = response else { return Err(unexpected(&response)) };
        let about = |record| cases.iter().find(|case| case.record() == record).map(|case| case.id());
        match about(record).zip(about(disputed)) {
            Some((case, _)) => break case,
            None if started.elapsed() > REACHES => {
                return Err(Problem::fault("an application did not reach sh"));
            }
            None => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
    sh.operate(Operation::AcceptRepair { case, clerk: None }).await?;
    sh.operate(Operation::DecideRepair { case, grant: true, reason: String::new(), clerk: None }).await?;
    let digest = grants[at("grant-revoked")].digest();
    js.operate(Operation::ChangeGrant(digest, GrantChange::Revoke)).await?;
    Ok(())
}

/// Has the bank receive the penalty that a grant is about.
async fn received(
    fed: &Federation,
    signed: &crypto::sign::Signed<credit::grant::Grant>,
) -> Result<RecordId, Problem> {
    let verified = fed.registry()?.verify(signed)?;
    let clerk = ClerkId::parse("sandbox").ok_or_else(|| Problem::fault("`sandbox` is no clerk"))?;
    let draft = AskDraft {
        clerk,
        purpose: Purpose::LoanReview,
        subject: verified.get().subject.clone(),
        wants: Want::granted(&Catalog::builtin(), verified.get()),
        basis: Basis::Grant(signed.clone()),
        wait_ms: 30_000,
        checks: Vec::new(),
    };
    let result = query::ask(&fed.dir("bank-a"), draft).await?;
    let records = result.opened.iter().filter_map(|part| part.answer.as_ref()).flat_map(|a| &a.records);
    let penalty = records.filter(|record| record.item.as_str() == "CF").map(|record| record.record).next();
    penalty.ok_or_else(|| Problem::fault("the penalty did not come back"))
}

fn text(value: &Value) -> String {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (base, key) = (word(&value["base"]), word(&value["key"]));
    let mut text = format!(
        "the gateway / 网关: {base}\nthe document / 接口文档: {base}/openapi.json\nexport KEY={key}\n"
    );
    for outcome in value["outcomes"].as_array().into_iter().flatten() {
        text.push_str(&format!(
            "\n{:<14}{}  {}\n  -> {}\n",
            word(&outcome["outcome"]),
            word(&outcome["subject"]),
            word(&outcome["name"]),
            word(&outcome["expect"])
        ));
        let mut token = "$KEY".to_owned();
        match outcome["outcome"].as_str() {
            Some("node-down") => text.push_str(&format!(
                "  xinqiao node stop --dir {}    # it comes back by itself after {} s\n",
                word(&value["stop"]),
                value["away_seconds"]
            )),
            Some("over-quota") => token = word(&value["limited_key"]),
            _ => {}
        }
        text.push_str(&format!(
            "  curl -sS {base}/v1/queries -H \"Authorization: Bearer {token}\" -H 'Content-Type: application/json' -d @{}\n",
            word(&outcome["request"])
        ));
    }
    text.push_str(&format!(
        "\nwhat other members said / 事件\n  curl -sS \"{base}/v1/events?wait=5\" -H \"Authorization: Bearer $KEY\"\nCtrl-C ends it and leaves nothing behind / 按 Ctrl-C 结束"
    ));
    text
}
