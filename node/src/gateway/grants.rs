//! Grants that the member's systems hand in, so that a question can name one instead of carrying it.

use base64::{Engine, engine::general_purpose::STANDARD};
use credit::{catalog::Catalog, grant::Grant};
use crypto::{
    Digest, codec,
    label::Label,
    seal::{open_box, seal_box},
    sign::{Signed, Verified},
};
use exchange::{
    artifact::Artifact,
    grant,
    kept::{self, KeptGrantRow},
    member::Input,
    refusal::{Code, Fault, Refusal},
    wire::{GrantStanding, Response as Reply},
};
use hyper::{Response, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Body, Call, insert, json_body, reading, trouble::Trouble};
use crate::{clock, serve::Server};

/// A grant is forgotten so long after its validity is over: nobody can ask on it any more.
const FORGET_AFTER_MS: u64 = 30 * 24 * 60 * 60 * 1000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Upload {
    grant: String,
}

/// `POST /v1/grants`.
pub async fn add(server: &Server, call: &Call) -> Result<Response<Body>, Trouble> {
    call.only(&[])?;
    let Upload { grant } = call.json()?;
    let verified = parse(server, &grant)?;
    let digest = verified.signed().digest();
    let content = codec::to_vec(verified.signed());
    let sealed = seal_box(&server.shared.keys.kept(), Label::KeptBox, clock::random(), &content).into();
    // Of one that is over already the time has come at the next look: it is kept until then, and harms nobody.
    let until = verified.get().not_after.plus_ms(FORGET_AFTER_MS);
    match server.core.ask(Input::KeepGrant { digest, row: KeptGrantRow { until, sealed } }).await {
        Reply::Done => {}
        Reply::Refused(refusal) => return Err(refusal.into()),
        _ => return Err(Trouble::own("node.fault", "")),
    }
    let mut response = json_body(&shown(server, &verified).await?);
    *response.status_mut() = StatusCode::CREATED;
    insert(&mut response, header::LOCATION, &format!("/v1/grants/{digest}"));
    Ok(response)
}

/// `GET /v1/grants/{id}`.
pub async fn get(server: &Server, call: &Call) -> Result<Response<Body>, Trouble> {
    call.only(&[])?;
    Ok(json_body(&shown(server, &stored(server, &call.id).await?).await?))
}

/// A grant in base64: a file of `xinqiao grant issue`, or the signed statement in it. It must hold, and be for this
/// member.
pub fn parse(server: &Server, text: &str) -> Result<Verified<Grant>, Trouble> {
    let bytes = STANDARD.decode(text).map_err(|_| Trouble::malformed("`grant` is not base64"))?;
    let signed = match codec::from_slice::<Artifact>(&bytes) {
        Ok(Artifact::Grant(signed)) => signed,
        _ => Signed::parse(&bytes).map_err(|_| Trouble::malformed("`grant` is not a grant"))?,
    };
    let context = server.shared.context();
    let verified: Verified<Grant> = context.registry.verify_grant(&signed)?;
    let grantee = &verified.get().grantee;
    if *grantee != context.own.id {
        return Err(Refusal::new(Code::GrantInvalid, format!("it is for `{grantee}`")).into());
    }
    Ok(verified)
}

/// A grant handed in before.
pub async fn stored(server: &Server, id: &str) -> Result<Verified<Grant>, Trouble> {
    let none = || Trouble::not_found("no grant with this id was handed in here");
    let digest = Digest::parse(id).filter(|d| d.to_string() == id).ok_or_else(none)?;
    let own = server.clone();
    let row = reading(move || kept::grant(&own.shared.store, &digest)).await?.ok_or_else(none)?;
    let damaged = || Trouble::from(Fault("a kept grant does not open".into()));
    let content = open_box(&server.shared.keys.kept(), Label::KeptBox, &row.sealed).map_err(|_| damaged())?;
    let signed: Signed<Grant> = codec::from_slice(&content).map_err(|_| damaged())?;
    if signed.digest() != digest {
        return Err(damaged());
    }
    Ok(server.shared.context().registry.verify_grant(&signed)?)
}

async fn shown(server: &Server, grant: &Verified<Grant>) -> Result<Value, Trouble> {
    let (own, signed) = (server.clone(), grant.signed().clone());
    let standing =
        reading(move || grant::standing(&own.shared.context(), &own.shared.store, &signed, clock::now()));
    let standing = match standing.await? {
        Reply::GrantStanding(standing) => standing,
        Reply::Refused(refusal) => return Err(refusal.into()),
        _ => return Err(Trouble::own("node.fault", "")),
    };
    let context = server.shared.context();
    let mut value = value(&context.catalog, grant, standing);
    if let Some(binding) = &grant.get().binding {
        value["key_id"] = json!(context.registry.verify_seen(binding)?.get().key_digest().to_string());
    }
    Ok(value)
}

fn value(catalog: &Catalog, grant: &Verified<Grant>, standing: GrantStanding) -> Value {
    let text = grant.get();
    let scope: Vec<Value> = text
        .scope
        .iter()
        .map(|scope| {
            let column =
                |field| catalog.item(&scope.item).and_then(|i| i.field(field)).map(|f| f.column.as_str());
            let fields: Vec<&str> = scope.fields.iter().filter_map(|f| column(*f)).collect();
            json!({ "item": scope.item.as_str(), "fields": fields })
        })
        .collect();
    let mut value = json!({
        "id": grant.signed().digest().to_string(), "collector": text.collector.as_str(), "subject": text.subject.as_str(),
        "purposes": text.purposes.iter().map(|p| p.as_str()).collect::<Vec<_>>(), "scope": scope,
        "not_before": text.not_before.rfc3339(), "not_after": text.not_after.rfc3339(), "uses_max": text.uses_max,
        "keep_days": text.keep_days, "status": standing.status.as_str(), "status_zh": standing.status.zh(),
    });
    if let Some(letter) = &text.letter {
        value["letter_sha256"] = json!(letter.to_string());
    }
    if let Some(period) = text.period {
        value["period"] = json!({ "uses": period.uses, "days": period.days });
    }
    value
}
