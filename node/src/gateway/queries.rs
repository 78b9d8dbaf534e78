//! Questions of the member's systems and their answers.
//!
//! An answer is kept sealed for the system that asked, and opened and verified anew for every reader. With an
//! `Idempotency-Key` the question's id follows from key and system, so that a retry is the same question: the member
//! signs the same bytes, and those asked see that they know it.

use std::collections::BTreeSet;

use credit::{
    catalog::{Catalog, Purpose},
    grant::Grant,
    id::{ClerkId, ItemId, QuestionId},
    predicate::Check,
    question::{Basis, CHECKS_PER_QUESTION_MAX, DEADLINE_MS_MAX, Want},
    subject::SubjectId,
};
use crypto::{Timestamp, codec, label::Label, pseudonym, sign::Verified};
use exchange::{
    artifact::Artifact,
    kept::{self, KeptAt, KeptRow},
    refusal::{Code, Refusal},
    wire::{AskDraft, AskResult},
};
use hyper::{Response, StatusCode, header, header::HeaderName};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Body, Call, PAGE, PAGE_MAX, full, grants, insert, json_body, reading,
    shape::{Object, given, integer},
    trouble::Trouble,
    view, visible,
};
use crate::{clock, operate, serve::Server};

/// Time for members to answer unless told: they answer in milliseconds, and one that does not is not there.
pub const DEADLINE_MS: u64 = 10_000;
/// Least time for members to answer: the way through the outlet and back takes its share.
const DEADLINE_MS_MIN: u64 = 500;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ask {
    #[serde(default, deserialize_with = "given")]
    subject: Option<String>,
    purpose: String,
    clerk: String,
    #[serde(default, deserialize_with = "given")]
    grant: Option<String>,
    #[serde(default, deserialize_with = "given")]
    grant_id: Option<String>,
    #[serde(default)]
    items: Vec<Object<AskItem>>,
    #[serde(default)]
    checks: Vec<String>,
    #[serde(default, deserialize_with = "integer")]
    deadline_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AskItem {
    item: String,
    #[serde(default)]
    fields: Vec<String>,
}

/// `POST /v1/queries`.
pub async fn ask(server: &Server, call: &Call) -> Result<Response<Body>, Trouble> {
    call.only(&[])?;
    let id = match visible(&call.headers, "idempotency-key")? {
        None => QuestionId(clock::random()),
        Some(key) => {
            let parts = [call.key.name.as_bytes(), key.as_bytes()];
            let hash = pseudonym::keyed(&server.shared.keys.kept(), Label::IdempotencyKey, &parts);
            let mut id = QuestionId([0; 16]);
            id.0.copy_from_slice(&hash[..16]);
            id
        }
    };
    let draft = draft(server, call).await?;
    let own = server.clone();
    let owner = call.key.name.clone();
    // A caller that hangs up does not end a question that has left: its answer is there when it asks again.
    let asked = tokio::spawn(async move { operate::ask(&own, draft, id, Some(&owner)).await });
    let result = asked.await.map_err(|_| Trouble::own("node.fault", ""))??;
    // Of two at once what is kept is the answer to both.
    let (row, result) = match operate::kept_answer(server, &call.key.name, id).await? {
        Some((row, kept)) => (Some(row), kept),
        None => (None, result),
    };
    let mut response = json_body(&shown(server, row, result).await?);
    *response.status_mut() = StatusCode::CREATED;
    insert(&mut response, header::LOCATION, &format!("/v1/queries/{id}"));
    Ok(response)
}

/// `GET /v1/queries/{id}`.
pub async fn get(server: &Server, call: &Call) -> Result<Response<Body>, Trouble> {
    call.only(&[])?;
    let (row, result) = found(server, call).await?;
    Ok(json_body(&shown(server, Some(row), result).await?))
}

/// `GET /v1/queries/{id}/evidence`.
pub async fn evidence(server: &Server, call: &Call) -> Result<Response<Body>, Trouble> {
    call.only(&[])?;
    let (_, result) = found(server, call).await?;
    let artifact = Artifact::Answer { question: result.question, parts: result.parts };
    let mut response = full(codec::to_vec(&artifact), "application/octet-stream");
    let name = format!("attachment; filename=\"{}.answer\"", call.id);
    insert(&mut response, header::CONTENT_DISPOSITION, &name);
    insert(&mut response, HeaderName::from_static("x-content-type-options"), "nosniff");
    Ok(response)
}

/// `GET /v1/queries`.
pub async fn list(server: &Server, call: &Call) -> Result<Response<Body>, Trouble> {
    call.only(&["limit", "cursor"])?;
    let limit = call.number("limit", PAGE as u64, 1..=PAGE_MAX as u64)? as usize;
    let owner = call.key.name.clone();
    let cursor = call.query.get("cursor").map(|text| {
        let place = || {
            let (asked, id) = text.split_once('-')?;
            let asked = Timestamp(asked.parse().ok()?);
            Some(KeptAt { owner: owner.clone(), asked, id: QuestionId::parse(id)? })
        };
        place().ok_or_else(|| Trouble::malformed("`cursor` is none of those given here"))
    });
    let (cursor, own) = (cursor.transpose()?, server.clone());
    // One more than wanted says whether there are more.
    let mut rows =
        reading(move || kept::answers(&own.shared.store, &owner, cursor.as_ref(), limit + 1)).await?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let row = |(at, row): &(KeptAt, KeptRow)| {
        json!({
            "id": at.id.to_string(), "question": row.question.to_string(), "asked_at": at.asked.rfc3339(),
            "keep_until": row.until.rfc3339(),
        })
    };
    let mut page = json!({ "queries": rows.iter().map(row).collect::<Vec<_>>() });
    if let (true, Some((at, _))) = (more, rows.last()) {
        page["next_cursor"] = json!(format!("{}-{}", at.asked.0, at.id));
    }
    Ok(json_body(&page))
}

async fn found(server: &Server, call: &Call) -> Result<(KeptRow, AskResult), Trouble> {
    let none =
        || Trouble::not_found("this key has asked no question with this id, or its answer is no longer kept");
    let id = QuestionId::parse(&call.id).filter(|id| id.to_string() == call.id).ok_or_else(none)?;
    operate::kept_answer(server, &call.key.name, id).await?.ok_or_else(none)
}

async fn shown(server: &Server, row: Option<KeptRow>, result: AskResult) -> Result<Value, Trouble> {
    let own = server.clone();
    reading(move || view::answer(&own.shared.context(), &own.shared.store, row.as_ref(), &result)).await
}

/// What is asked, checked word by word.
async fn draft(server: &Server, call: &Call) -> Result<AskDraft, Trouble> {
    let ask: Ask = call.json()?;
    let grant = match (&ask.grant, &ask.grant_id) {
        (Some(text), None) => Some(grants::parse(server, text)?),
        (None, Some(id)) => Some(grants::stored(server, id).await?),
        (None, None) => None,
        _ => return Err(Trouble::malformed("`grant` and `grant_id` are given both")),
    };
    let subject = match (&ask.subject, &grant) {
        (Some(text), _) => {
            SubjectId::parse(text).map_err(|e| Trouble::malformed(format!("`subject`: {e}")))?
        }
        (None, Some(grant)) => grant.get().subject.clone(),
        (None, None) => return Err(Trouble::malformed("without a grant `subject` is needed")),
    };
    let purpose = Purpose::parse(&ask.purpose).ok_or_else(|| {
        let known: Vec<&str> = Purpose::ALL.iter().map(|p| p.as_str()).collect();
        Trouble::malformed(format!("`purpose` is one of {}", known.join(", ")))
    })?;
    let clerk = format!("{}{}", call.key.clerk_prefix, ask.clerk);
    let clerk = ClerkId::parse(&clerk).filter(|_| ClerkId::parse(&ask.clerk).is_some()).ok_or_else(|| {
        Trouble::malformed(
            "`clerk` with the key's prefix has 1 to 64 characters that are seen, no blanks but U+0020 and U+3000, and none at either end",
        )
    })?;
    if let Some(prefix) = call.foreign_prefixes.iter().find(|prefix| clerk.as_str().starts_with(*prefix)) {
        let why = format!("`clerk` begins with `{prefix}`, which another key stands for");
        return Err(Trouble::own("key.not-allowed", why));
    }
    let wait_ms = ask.deadline_ms.unwrap_or(DEADLINE_MS);
    if !(DEADLINE_MS_MIN..=DEADLINE_MS_MAX).contains(&wait_ms) {
        return Err(Trouble::malformed(format!(
            "`deadline_ms` lies from {DEADLINE_MS_MIN} to {DEADLINE_MS_MAX}"
        )));
    }
    let catalog = &server.shared.context().catalog;
    let check = |text: &String| {
        Check::parse(catalog, text).map_err(|why| Trouble::malformed(format!("`checks`: {why}")))
    };
    if ask.checks.len() > CHECKS_PER_QUESTION_MAX {
        let why = format!("`checks` are at most {CHECKS_PER_QUESTION_MAX}");
        return Err(Refusal::new(Code::QuestionMalformed, why).into());
    }
    // Ascending and each once, as a question carries them.
    let checks: BTreeSet<Check> = ask.checks.iter().map(check).collect::<Result<_, _>>()?;
    let wants = match ask.items.is_empty() && !checks.is_empty() {
        true => Vec::new(),
        false => wants(catalog, &ask.items, grant.as_ref())?,
    };
    let draft = AskDraft {
        clerk,
        purpose,
        subject,
        wants,
        basis: grant.as_ref().map_or(Basis::None, |g| Basis::Grant(g.signed().clone())),
        wait_ms,
        checks: checks.into_iter().collect(),
    };
    let words = grant.as_ref().map(Verified::get);
    call.key.scope.admits_question(&server.shared.context(), &ask.clerk, &draft, words)?;
    Ok(draft)
}

/// Items and fields; without any those of the grant, and of an item without fields all.
fn wants(
    catalog: &Catalog,
    items: &[Object<AskItem>],
    grant: Option<&Verified<Grant>>,
) -> Result<Vec<Want>, Trouble> {
    let refuse = |code, what: &str| Trouble::from(Refusal::new(code, format!("`{what}`")));
    if items.is_empty() {
        let grant = grant.ok_or_else(|| Trouble::malformed("without a grant `items` are needed"))?;
        return Ok(Want::granted(catalog, grant.get()));
    }
    let mut wants = Vec::new();
    for Object(AskItem { item: id, fields }) in items {
        let item = ItemId::parse(id).and_then(|id| catalog.item(&id));
        let item = item.ok_or_else(|| refuse(Code::ItemUnknown, id))?;
        if fields.is_empty() {
            wants.push(Want::whole(item));
            continue;
        }
        let mut ids = Vec::new();
        for column in fields {
            let field = item.field_by_column(column);
            ids.push(field.ok_or_else(|| refuse(Code::FieldUnknown, column))?.id);
        }
        ids.sort_unstable();
        wants.push(Want { item: item.id.clone(), fields: ids });
    }
    wants.sort_by(|a, b| a.item.cmp(&b.item));
    Ok(wants)
}
