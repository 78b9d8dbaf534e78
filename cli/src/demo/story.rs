//! The road, step by step. Every step is what an ordinary verb does on an ordinary node.

use std::{
    fs,
    io::Cursor,
    time::{Duration, Instant},
};

use credit::{
    catalog::Catalog, entry::RowCounts, id::RecordId, question::Basis, repair::Matter, value::Date,
};
use crypto::{codec, sign::Signed};
use exchange::{
    answer,
    logs::LogName,
    wire::{ApplicationDraft, AskDraft, AskResult, NodeStatus, Operation, Outcome, Response},
};
use node::{Problem, clock, keys::Keys};
use serde_json::json;

use ::node::client::{Client, member_id, unexpected};

use crate::{
    args::{Demo, Dir, GrantIssue, GrantTerms},
    cmd::{
        accesses, audit, collect, cross_check, export, grant, new_file::write_new, passphrase, query, repair,
        verify,
    },
    demo::{
        Teller,
        federation::{COLLECTING, Federation, copy_dir, with_node},
    },
    fetch::{self, Exported},
    sample::{self, Story},
};

/// What bank-a is granted: three items, one of them by field.
const GRANTED: [&str; 3] = [
    "CF:CF_WSH,CF_WFXW,CF_CFLB,CF_NR_FK,CF_JDRQ",
    "NSXY:NSXY_PJND,NSXY_DJ,NSXY_QSJE",
    "SBJN:SBJN_YF,SBJN_JFZT",
];
/// Time for witnesses to cosign; they are asked once a second.
const WITNESS: Duration = Duration::from_secs(10);
/// Time for every recipient to acknowledge on one machine; the law allows three working days.
const PROPAGATE: Duration = Duration::from_secs(30);

/// Walks the road; returns an Authorization header that reads entries.
pub(crate) async fn walk(args: &Demo, fed: &mut Federation, teller: &mut Teller) -> Result<String, Problem> {
    let today = Date::from_timestamp(clock::now());
    let story = sample::story(args.seed, today);
    teller.tell("信桥 Xinqiao: a federation of public-credit platforms on this machine. Companies and banks are fictitious.");
    found(fed, teller).await?;
    collect_files(args, fed, teller, today).await?;
    let grant = issue_grant(fed, teller, &story).await?;
    let record = ask(fed, teller, &story, &grant).await?;
    refusals(fed, teller, &story, &grant).await?;
    let copied = repair_case(fed, teller, &story, &grant, record).await?;
    let disclosed = Disclosed { story: &story, grant: &grant, record };
    never_back(args, fed, teller, disclosed, copied, today).await?;
    let auth = audit_logs(fed, teller, &story).await?;
    tamper(fed, teller).await?;
    Ok(auth)
}

/// 1. Governors sign the registry; nodes start and see each other.
async fn found(fed: &mut Federation, teller: &mut Teller) -> Result<(), Problem> {
    teller.chapter("1. The governors sign the registry and the nodes start / 治理方签署登记表，节点启动");
    let started = Instant::now();
    fed.found()?;
    let registry = fed.registry()?.clone();
    teller.expect(
        "registry",
        "2 of 3 governors have signed the registry of nine members",
        registry.members.len() == 9 && registry.threshold == 2,
        format!("{registry}, signed by g1 and g3"),
        json!({ "members": registry.members.len(), "ms": millis(started) }),
    );
    let started = Instant::now();
    for member in with_node() {
        fed.start(member)?;
    }
    let mut ready = 0;
    for member in with_node() {
        fed.ready(member).await?;
        ready += 1;
    }
    // Seeing each other: every public platform has fetched a peer's checkpoint over mutual TLS.
    for member in COLLECTING {
        operate(fed, member, Operation::Reconcile(None)).await?;
    }
    teller.expect(
        "nodes",
        "eight node processes are ready and exchange checkpoints over QUIC with mutual TLS",
        ready == 8,
        format!("{ready} nodes are ready, each a process of its own, after {} ms", millis(started)),
        json!({ "nodes": ready, "ms": millis(started) }),
    );
    Ok(())
}

/// 2. Departments hand in files; each gets a report.
async fn collect_files(
    args: &Demo,
    fed: &Federation,
    teller: &mut Teller,
    today: Date,
) -> Result<(), Problem> {
    teller.chapter("2. Departments hand in their files / 数源单位提交数据");
    let started = Instant::now();
    let (mut files, mut bytes, mut normalised) = (0u64, 0usize, 0u64);
    let mut rows = RowCounts::default();
    let mut reasons: Vec<String> = Vec::new();
    let mut as_expected = true;
    for member in COLLECTING {
        let mut of_member = RowCounts::default();
        let sources: std::collections::BTreeSet<String> =
            sample::files(member, args.seed, args.records, today)
                .iter()
                .map(|f| f.source.as_str().to_owned())
                .collect();
        for source in &sources {
            collect::add_source(&fed.dir(member), source).await?;
        }
        for file in sample::files(member, args.seed, args.records, today) {
            let size = file.bytes.len();
            let report = collect::hand_in(
                &fed.dir(member),
                file.source.as_str(),
                file.item.as_str(),
                Vec::new(),
                Cursor::new(file.bytes),
            )
            .await?;
            let got = (report.rows.accepted, report.rows.rejected, report.normalised);
            as_expected &= got == (file.expect.accepted, file.expect.rejected, file.expect.normalised);
            reasons.extend(report.reasons.iter().map(|r| r.code.clone()));
            (files, bytes, normalised) = (files + 1, bytes + size, normalised + report.normalised);
            of_member.accepted += report.rows.accepted;
            of_member.rejected += report.rows.rejected;
        }
        teller.tell(&format!(
            "  `{member}`: {} records sealed, {} rows returned to their departments",
            of_member.accepted, of_member.rejected
        ));
        rows.accepted += of_member.accepted;
        rows.rejected += of_member.rejected;
    }
    reasons.sort_unstable();
    reasons.dedup();
    let took = started.elapsed().as_secs_f64();
    teller.expect(
        "intake",
        "every file gives exactly the report its departments should get",
        as_expected,
        format!(
            "{files} files ({} kB): {} records sealed, {} rows returned with row, column and reason ({}), {normalised} normalised; {:.0} records/s",
            bytes / 1024, rows.accepted, rows.rejected, reasons.join(", "), rows.accepted as f64 / took
        ),
        json!({ "files": files, "bytes": bytes, "accepted": rows.accepted, "rejected": rows.rejected, "normalised": normalised, "reasons": reasons, "seconds": took }),
    );
    Ok(())
}

/// 3. A company grants bank-a three items.
async fn issue_grant(
    fed: &Federation,
    teller: &mut Teller,
    story: &Story,
) -> Result<Signed<credit::grant::Grant>, Problem> {
    teller.chapter("3. A company authorises bank-a / 企业授权示例银行甲");
    let letter = fed.file("letter.txt");
    let text = format!(
        "{} 授权 示例银行甲（虚构） 为贷前审查查询：行政处罚、纳税信用、社保缴纳。（演示文书）\n",
        story.name
    );
    write_new(&letter, text.as_bytes())?;
    let (issued, kept) = grant::issue(&GrantIssue {
        subject: story.subject.as_str().to_owned(),
        terms: GrantTerms {
            grantee: "bank-a".into(),
            purposes: vec!["pre-loan".into()],
            items: GRANTED.iter().map(|g| (*g).to_owned()).collect(),
            days: 30,
            uses: 20,
            period: None,
            keep_days: 180,
            out: fed.file("grant"),
        },
        letter,
        node: Dir { dir: fed.dir("js") },
    })
    .await?;
    kept?;
    let verified = fed.registry()?.verify(&issued)?;
    teller.expect(
        "grant",
        "the collector js signs a grant of three items for 贷前审查, bound to the signed letter",
        verified.get().scope.len() == 3,
        format!(
            "`js` keeps the letter and signs grant {}: {} items for bank-a, 贷前审查, 30 days",
            short(&issued.digest().to_string()),
            verified.get().scope.len()
        ),
        json!({ "items": verified.get().scope.len(), "bytes": issued.as_bytes().len() }),
    );
    Ok(issued)
}

/// 4. bank-a asks through the outlet.
async fn ask(
    fed: &Federation,
    teller: &mut Teller,
    story: &Story,
    grant: &Signed<credit::grant::Grant>,
) -> Result<RecordId, Problem> {
    teller.chapter("4. bank-a asks through the outlet / 示例银行甲经唯一数据出口查询");
    let started = Instant::now();
    let result = question(fed, "bank-a", story, Some(grant), "pre-loan", &GRANTED).await?;
    let took = millis(started);
    write_new(&fed.file("answer"), &query::kept(&result))?;
    let catalog = Catalog::builtin();
    let mut values: Vec<String> = Vec::new();
    let mut from: Vec<String> = Vec::new();
    let (mut records, mut fields, mut only_granted) = (0, 0, true);
    let mut penalty = None;
    for part in &result.opened {
        let Some(opened) = &part.answer else { continue };
        if !opened.records.is_empty() {
            from.push(part.member.to_string());
        }
        for record in &opened.records {
            records += 1;
            fields += record.fields.len();
            only_granted &= record.fields.iter().all(|f| granted(&catalog, record.item.as_str(), f.field.0));
            if record.item == story.penalty_item && part.member == story.penalty_authority {
                penalty = Some(record.record);
            }
            values.extend(record.fields.iter().map(|f| f.value.to_display()));
        }
        teller.tell(&format!("  `{}` answers {} records", part.member, opened.records.len()));
    }
    let answered = result.opened.iter().filter(|p| p.answer.is_some()).count();
    teller.expect(
        "answer",
        "records of two provinces and more come back, only granted fields, each verified offline",
        from.len() >= 2 && penalty.is_some() && only_granted && answered == COLLECTING.len(),
        format!("{records} records with {fields} fields from {}; every value opened against its record's root, every entry against its node's signed checkpoint; {took} ms", from.join(", ")),
        json!({ "records": records, "fields": fields, "from": from, "ms": took }),
    );
    outlet_is_blind(fed, teller, &result, &values)?;
    let penalty = penalty.ok_or_else(|| Problem::fault("the penalty did not come back"))?;
    teller.tell(&format!(
        "  the penalty of `{}` is record {}",
        story.penalty_authority,
        short(&penalty.to_string())
    ));
    Ok(penalty)
}

/// The frames the outlet carried: no value in them, and the outlet's own key opens none.
fn outlet_is_blind(
    fed: &Federation,
    teller: &mut Teller,
    result: &AskResult,
    values: &[String],
) -> Result<(), Problem> {
    let registry = fed.registry()?;
    let carried = codec::to_vec(&result.parts);
    let seen = values.iter().filter(|v| v.chars().count() >= 4 && contains(&carried, v.as_bytes())).count();
    let outlet = Keys::open(&fed.dir("xyd"), passphrase(&fed.unlock("xyd").passphrase)?)?;
    let bank = Keys::open(&fed.dir("bank-a"), passphrase(&fed.unlock("bank-a").passphrase)?)?;
    let question = registry.verify(&result.question)?;
    let sealed: Vec<_> = result
        .parts
        .iter()
        .filter_map(|p| match &p.outcome {
            Outcome::Answered(answer) if !answer.records.is_empty() => Some(answer),
            _ => None,
        })
        .collect();
    let by_outlet =
        sealed.iter().filter(|a| answer::open_any(registry, &question, outlet.opening(), a).is_ok()).count();
    let by_bank =
        sealed.iter().filter(|a| answer::open_any(registry, &question, bank.opening(), a).is_ok()).count();
    teller.expect(
        "outlet is blind",
        "the outlet carries what it cannot read",
        seen == 0 && by_outlet == 0 && by_bank == sealed.len() && !sealed.is_empty(),
        format!(
            "of {} sealed answers ({} kB through the outlet) the outlet's key opens {by_outlet}, the bank's {by_bank}; {seen} values in clear on the way",
            sealed.len(),
            carried.len() / 1024
        ),
        json!({ "sealed": sealed.len(), "bytes": carried.len(), "opened_by_outlet": by_outlet, "opened_by_bank": by_bank }),
    );
    Ok(())
}

/// 5. What is not granted is refused, by a named rule, and logged.
async fn refusals(
    fed: &Federation,
    teller: &mut Teller,
    story: &Story,
    grant: &Signed<credit::grant::Grant>,
) -> Result<(), Problem> {
    teller.chapter("5. What is not granted is refused / 未授权的查询被拒绝并留痕");
    /// Name, asker, grant, purpose, fields, the rule that must refuse.
    type Case<'a> =
        (&'static str, &'a str, Option<&'a Signed<credit::grant::Grant>>, &'a str, &'a [&'a str], &'a str);
    let cases: [Case<'_>; 3] = [
        ("bank-b without a grant", "bank-b", None, "pre-loan", &GRANTED, "grant-missing"),
        ("bank-a, another purpose", "bank-a", Some(grant), "post-loan", &GRANTED, "grant-other-purpose"),
        ("bank-a, ungranted field", "bank-a", Some(grant), "pre-loan", &["CF:CF_NR"], "grant-field"),
    ];
    for (name, bank, grant, purpose, fields, rule) in cases {
        let before = status(fed, "sh").await?;
        let result = question(fed, bank, story, grant, purpose, fields).await?;
        let after = status(fed, "sh").await?;
        let answers: Vec<_> = result.opened.iter().filter_map(|p| p.answer.as_ref()).collect();
        let refused =
            answers.len() == COLLECTING.len() && answers.iter().all(|a| a.refused && a.records.is_empty());
        let named = answers.iter().all(|a| a.withheld.iter().all(|w| w.rule.0 == rule));
        let logged = size(&after, LogName::Access) == size(&before, LogName::Access) + 1;
        teller.expect(
            name,
            &format!("refused by rule `{rule}` at every member, one access entry each"),
            refused && named && logged,
            format!(
                "{name}: refused by rule `{rule}` at {} members, each with an entry in its access log",
                answers.len()
            ),
            json!({ "rule": rule, "members": answers.len() }),
        );
    }
    Ok(())
}

/// 6. Repair: applied for in js, decided in sh, acknowledged everywhere.
async fn repair_case(
    fed: &mut Federation,
    teller: &mut Teller,
    story: &Story,
    grant: &Signed<credit::grant::Grant>,
    record: RecordId,
) -> Result<u64, Problem> {
    teller.chapter("6. The penalty is repaired / 信用修复");
    // The copy that step 7 will bring back.
    let sizes = sizes(&status(fed, "sh").await?);
    fed.stop_one("sh").await?;
    let bytes = fed.copy("sh", &fed.file("sh.before"))?;
    fed.start("sh")?;
    fed.ready("sh").await?;
    teller.tell(&format!("  (a copy of the directory of `sh`, {} kB, is put aside for later)", bytes / 1024));
    let paper = fed.file("performed.txt");
    write_new(&paper, "履行完毕证明（演示）\n".as_bytes())?;
    let draft = ApplicationDraft {
        authority: story.penalty_authority.clone(),
        item: story.penalty_item.clone(),
        document: story.penalty_document.clone(),
        subject: story.subject.clone(),
        materials: vec![crypto::Digest::of(&crate::cmd::read(&paper)?)],
        clerk: None,
        matter: Matter::Repair,
    };
    let Response::Case(application) = operate(fed, "js", Operation::Apply(draft)).await? else {
        return Err(Problem::fault("an application number was expected"));
    };
    let started = Instant::now();
    let case = loop {
        let Response::Cases { cases, .. } = operate(fed, "sh", Operation::Cases).await? else {
            return Err(Problem::fault("cases were expected"));
        };
        match cases.iter().find(|c| c.record() == record) {
            Some(case) => break case.id(),
            None if started.elapsed() > PROPAGATE => {
                return Err(Problem::fault("the application did not reach sh"));
            }
            None => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
    teller.tell(&format!(
        "  application {} taken by `js`, forwarded: case {} at `sh`",
        short(&application.to_string()),
        short(&case.to_string())
    ));
    let Response::Decided { .. } = operate(fed, "sh", Operation::AcceptRepair { case, clerk: None }).await?
    else {
        return Err(Problem::fault("an accepted case was expected"));
    };
    let decide = Operation::DecideRepair { case, grant: true, reason: String::new(), clerk: None };
    let decided_at = Instant::now();
    let Response::Decided { event: Some(event), case: decided } = operate(fed, "sh", decide).await? else {
        return Err(Problem::fault("a granted case was expected"));
    };
    teller.expect(
        "repair",
        "applied for in js, accepted and granted in sh under the rule set of the decision's day",
        decided.state() == "granted",
        format!(
            "case {} is {}; entry {event} of the status log of `sh` is on its way",
            short(&case.to_string()),
            decided.state()
        ),
        json!({ "event": event }),
    );
    let (certificate, checked) = loop {
        let certificate = repair::certificate(&fed.dir("sh"), event).await?;
        let checked = certificate.verify(fed.registry()?)?;
        if checked.missing.is_empty() || decided_at.elapsed() > PROPAGATE {
            break (certificate, checked);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let took = millis(decided_at);
    let file = repair::certificate_file(&certificate);
    write_new(&fed.file("certificate"), &file)?;
    let mut names: Vec<&str> = checked.acknowledged.iter().map(|(m, _)| m.as_str()).collect();
    names.sort_unstable();
    for (member, at) in &checked.acknowledged {
        teller.tell(&format!("  `{member}` acknowledged at {}", at.rfc3339()));
    }
    let expected = ["ah", "bank-a", "cn.sh", "js", "xyd", "zj"];
    teller.expect(
        "propagation certificate",
        "every platform and bank-a, which had received the record, have acknowledged; the certificate verifies",
        names == expected && checked.missing.is_empty() && checked.platforms_checked,
        format!("{} recipients acknowledged within {took} ms; the certificate ({} bytes) verifies offline", names.len(), file.len()),
        json!({ "acknowledged": names, "missing": checked.missing.len(), "bytes": file.len(), "ms": took }),
    );
    let result = question(fed, "bank-a", story, Some(grant), "pre-loan", &GRANTED).await?;
    let (found, others) = holds(&result, record);
    teller.expect(
        "asking again",
        "the repaired record is no longer disclosed, the others are",
        !found && others > 0,
        format!("bank-a asks again: {others} records come back, the penalty does not"),
        json!({ "records": others }),
    );
    Ok(sizes.iter().sum())
}

/// What bank-a was told once and must not be told again.
struct Disclosed<'a> {
    story: &'a Story,
    grant: &'a Signed<credit::grant::Grant>,
    record: RecordId,
}

/// 7. Nothing brings the repaired record back. `copied` is the number of entries in the old copy of `sh`.
async fn never_back(
    args: &Demo,
    fed: &mut Federation,
    teller: &mut Teller,
    disclosed: Disclosed<'_>,
    copied: u64,
    today: Date,
) -> Result<(), Problem> {
    let Disclosed { story, grant, record } = disclosed;
    teller.chapter("7. It does not come back / 已修复信息不会复活");
    let again = sample::again(args.seed, today);
    collect::add_source(&fed.dir("sh"), again.source.as_str()).await?;
    let report = collect::hand_in(
        &fed.dir("sh"),
        again.source.as_str(),
        again.item.as_str(),
        Vec::new(),
        Cursor::new(again.bytes),
    )
    .await?;
    let result = question(fed, "bank-a", story, Some(grant), "pre-loan", &GRANTED).await?;
    let (found, others) = holds(&result, record);
    teller.expect(
        "a file brings it again",
        "another department's file with the number written differently amends the same record and discloses nothing",
        report.rows.amended == 1 && report.rows.accepted == 0 && !found && others > 0,
        format!("the file is read as an amendment of the same record ({} amended, {} new); asked again, it stays hidden", report.rows.amended, report.rows.accepted),
        json!({ "amended": report.rows.amended, "accepted": report.rows.accepted }),
    );
    // The mirrors fetch the last entries, then the directory of sh is replaced by the old copy.
    operate(fed, "js", Operation::Reconcile(None)).await?;
    let lost = status(fed, "sh").await?;
    fed.stop_one("sh").await?;
    fed.replace("sh", &fed.file("sh.before"))?;
    let started = Instant::now();
    fed.start("sh")?;
    fed.ready("sh").await?;
    let took = millis(started);
    let back = status(fed, "sh").await?;
    let result = question(fed, "bank-a", story, Some(grant), "pre-loan", &GRANTED).await?;
    let (found, others) = holds(&result, record);
    let serves = result.opened.iter().any(|p| p.member.as_str() == "sh" && p.answer.is_some());
    teller.expect(
        "a node restored from an old copy",
        "before it answers anything the node takes its own newer entries back from its mirrors",
        sizes(&back) == sizes(&lost) && !found && others > 0 && serves,
        format!(
            "the old copy of `sh` came up in {took} ms, took back {} entries of its own logs, answers again, and keeps the record hidden",
            sizes(&lost).iter().sum::<u64>() - copied
        ),
        json!({ "ms": took, "logs": sizes(&back) }),
    );
    Ok(())
}

/// 8. The auditor and the subject check.
async fn audit_logs(fed: &Federation, teller: &mut Teller, story: &Story) -> Result<String, Problem> {
    teller.chapter("8. The auditor and the company check / 稽核与本人核对");
    let header = audit::pass(&fed.unlock("auditor"), 12 * 60)?;
    let registry = fed.registry()?;
    let started = Instant::now();
    let mut entries = 0;
    let mut sides = Vec::new();
    // A member of the committee has one witness fewer than the others, so each log is held to its own quorum.
    let (mut cosigned, mut needed, mut believable) = (usize::MAX, 0, true);
    for member in ["sh", "js", "bank-a"] {
        witnessed(fed, member).await?;
        let out = fed.file(&format!("{member}-access"));
        let verified = export::export(registry, &member_id(member)?, LogName::Access, &out, &header).await?;
        entries += verified.checkpoint.size.0;
        cosigned = cosigned.min(verified.witnesses.0);
        needed = needed.max(verified.witnesses.1);
        believable &= verified.witnesses.0 >= verified.witnesses.1;
        sides.push((verified.member, verified.entries));
    }
    teller.expect(
        "audit",
        "the access logs of sh, js and bank-a verify from their first entry to their signed and cosigned checkpoint",
        entries > 0 && believable && needed > 0,
        format!(
            "{entries} entries of three access logs: every tile, chain link and checkpoint holds, each cosigned by as many witnesses as make it believable ({cosigned} or more); {} ms",
            millis(started)
        ),
        json!({ "entries": entries, "cosigned": cosigned, "needed": needed, "ms": millis(started) }),
    );
    let mut equal = 0;
    let mut ok = true;
    for member in &sides[..2] {
        let checked = cross_check::cross_check(&sides[2], member, None, registry)?;
        teller.tell(&format!("  {}", checked.text));
        equal += checked.json["equal"].as_u64().unwrap_or(0);
        ok &= checked.ok;
    }
    teller.expect(
        "cross-check",
        "the bank's own log and the nodes' logs hold the same accesses",
        ok && equal > 0,
        format!("{equal} accesses stand equal on both sides, none on one side only"),
        json!({ "equal": equal }),
    );
    let copy = Exported::open(&fed.file("js-access"))?;
    let registry_copy = registry.clone();
    let verified = tokio::task::spawn_blocking(move || verify::log(&copy, &registry_copy)).await;
    let verified = verified.map_err(|e| Problem::fault(e.to_string()))??;
    let size = Some(verified.checkpoint.size.0);
    let response = operate(fed, "js", Operation::SubjectAccess(story.subject.clone(), size)).await?;
    let Response::SubjectAccess(list) = response else { return Err(unexpected(&response)) };
    let list = registry.verify(&list)?;
    let count = list.get().count;
    let list = accesses::held(&list, &verified)?;
    teller.expect(
        "the company's list",
        "the company finds every access about itself in js, and no other can link them",
        list.ok && count > 0,
        format!("{count} accesses about the company at `js`: the list is complete"),
        json!({ "count": count }),
    );
    Ok(header)
}

/// Waits until a member's witnesses have cosigned its access log as it stands, or for ten seconds.
async fn witnessed(fed: &Federation, member: &str) -> Result<(), Problem> {
    let (registry, id) = (fed.registry()?, member_id(member)?);
    let url = format!("http://{}/log/access/checkpoint", registry.member(&id)?.stated.http);
    let until = Instant::now() + WITNESS;
    while Instant::now() < until {
        let (_, bytes) = fetch::get(&url, None).await.map_err(Problem::fault)?;
        let note = ledger::SignedCheckpoint::parse(&String::from_utf8_lossy(&bytes));
        let (found, needed) = registry.witnessed(&id, &note.map_err(|e| Problem::fault(e.to_string()))?)?;
        if found >= needed {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// 9. One byte of a copied log is changed.
async fn tamper(fed: &Federation, teller: &mut Teller) -> Result<(), Problem> {
    teller.chapter("9. One byte of a copied log is changed / 篡改一个字节");
    let dir = fed.file("sh-access");
    let tampered = fed.file("sh-access-tampered");
    let failed = |e: std::io::Error| Problem::fault(e.to_string());
    copy_dir(&dir, &tampered).map_err(failed)?;
    let checkpoint =
        ledger::SignedCheckpoint::parse(&fs::read_to_string(dir.join("checkpoint")).map_err(failed)?);
    let size = checkpoint.map_err(|e| Problem::fault(e.to_string()))?.claimed().size;
    let bundle = ledger::Tile::entries(0, ledger::tile::bundle_width_at(0, size));
    let at = tampered.join(bundle.map(|b| b.path()).ok_or_else(|| Problem::fault("the log is empty"))?);
    let mut bytes = fs::read(&at).map_err(failed)?;
    // The last byte of the third entry, so that the verifier must name entry 2.
    let entries = ledger::tile::decode_bundle(&bytes).map_err(|e| Problem::fault(e.to_string()))?;
    let upto: usize = entries.iter().take(3).map(|e| e.len() + 2).sum();
    bytes[upto - 1] ^= 1;
    fs::write(&at, bytes).map_err(failed)?;
    let registry = fed.registry()?.clone();
    let source = Exported::open(&tampered)?;
    let outcome = tokio::task::spawn_blocking(move || verify::log(&source, &registry).map(|_| ())).await;
    let outcome = outcome.map_err(|e| Problem::fault(e.to_string()))?;
    let said = outcome.as_ref().err().map_or("it verifies".to_owned(), |p| p.what.clone());
    teller.expect(
        "tampering",
        "verification fails and names the entry",
        outcome.is_err() && said.contains("entry 2"),
        format!("the copy is refused: {said}"),
        json!({ "said": said }),
    );
    Ok(())
}

async fn operate(fed: &Federation, member: &str, operation: Operation) -> Result<Response, Problem> {
    Client::open(&fed.dir(member))?.operate(operation).await
}

async fn status(fed: &Federation, member: &str) -> Result<NodeStatus, Problem> {
    match operate(fed, member, Operation::Status).await? {
        Response::Status(status) => Ok(status),
        other => Err(unexpected(&other)),
    }
}

fn size(status: &NodeStatus, log: LogName) -> u64 {
    status.logs.iter().find(|(l, _)| *l == log).map_or(0, |(_, n)| *n)
}

fn sizes(status: &NodeStatus) -> [u64; 3] {
    LogName::ALL.map(|log| size(status, log))
}

async fn question(
    fed: &Federation,
    bank: &str,
    story: &Story,
    grant: Option<&Signed<credit::grant::Grant>>,
    purpose: &str,
    fields: &[&str],
) -> Result<AskResult, Problem> {
    let texts: Vec<String> = fields.iter().map(|f| (*f).to_owned()).collect();
    let draft = AskDraft {
        clerk: credit::id::ClerkId::parse("clerk-7").ok_or_else(|| Problem::fault("clerk"))?,
        purpose: crate::cmd::purpose(purpose)?,
        subject: story.subject.clone(),
        wants: query::wants(&Catalog::builtin(), &texts)?,
        basis: grant.cloned().map_or(Basis::None, Basis::Grant),
        wait_ms: 10_000,
        checks: Vec::new(),
    };
    query::ask(&fed.dir(bank), draft).await
}

/// Whether a record is among those disclosed, and how many others are.
fn holds(result: &AskResult, record: RecordId) -> (bool, usize) {
    let all = result.opened.iter().filter_map(|p| p.answer.as_ref()).flat_map(|a| &a.records);
    let (found, others): (Vec<_>, Vec<_>) = all.partition(|r| r.record == record);
    (!found.is_empty(), others.len())
}

fn granted(catalog: &Catalog, item: &str, field: u16) -> bool {
    GRANTED.iter().any(|text| {
        crate::cmd::item_fields(catalog, text)
            .is_ok_and(|(i, fields)| i.id.as_str() == item && fields.iter().any(|f| f.0 == field))
    })
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    !needle.is_empty() && haystack.windows(needle.len()).any(|w| w == needle)
}

fn millis(since: Instant) -> u64 {
    since.elapsed().as_millis() as u64
}

fn short(id: &str) -> String {
    id.chars().take(12).collect()
}
