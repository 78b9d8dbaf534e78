//! What other members said to this one, in the order in which it acknowledged it: pages, a long poll, or a stream of
//! server-sent events.
//!
//! A number is one more than the index of the acknowledgement in this member's own signed status log. Numbers rise and are
//! never given twice, also not after a restore; there are gaps where the log has other entries.

use std::{convert::Infallible, time::Duration};

use credit::{entry::StatusFact, grant::GrantNews, status::Change};
use exchange::{
    context::Context,
    kept::{self, News},
};
use http_body_util::{BodyExt, channel::Channel};
use hyper::{HeaderMap, Response, body::Bytes, header};
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;

use super::{Body, Call, PAGE, PAGE_MAX, decimal, json_body, reading, single, trouble::Trouble};
use crate::serve::Server;

/// Longest wait for an event: proxies cut connections that say nothing for a minute.
pub const WAIT_SECONDS_MAX: u64 = 30;
/// Time between two looks at the log while somebody waits.
pub const LOOK: Duration = Duration::from_millis(250);
/// Time after which a silent stream says that it is alive.
const ALIVE: Duration = Duration::from_secs(15);
/// Events on their way to one reader: who does not read is not read for.
const STREAM_BUFFER: usize = 16;

/// A page of events.
pub struct Page {
    /// The events.
    pub events: Vec<Value>,
    /// Where the next page begins.
    pub next: u64,
    /// The log reaches further.
    pub more: bool,
}

/// Reads a page of at most `limit` events after `after`.
pub async fn page(server: &Server, after: u64, limit: usize) -> Result<Page, Trouble> {
    let own = server.clone();
    reading(move || {
        let context = own.shared.context();
        let (news, next) = kept::news(&context, &own.shared.store, after, limit)?;
        let more = next < kept::newest(&own.shared.store)?;
        // Whoever is ahead of the log stays there: the number will come.
        Ok(Page { events: news.iter().map(|n| value(&context, n)).collect(), next: next.max(after), more })
    })
    .await
}

/// `GET /v1/events`.
pub async fn get(server: &Server, call: &Call) -> Result<Response<Body>, Trouble> {
    call.only(&["after", "limit", "wait"])?;
    let limit = call.number("limit", PAGE as u64, 1..=PAGE_MAX as u64)? as usize;
    let wait = call.number("wait", 0, 0..=WAIT_SECONDS_MAX)?;
    let after = call.number("after", 0, 0..=u64::MAX)?;
    // A browser's reader comes back with the last number it has seen.
    let last = single(&call.headers, "last-event-id")?.map(|value| {
        let number = value.to_str().ok().and_then(decimal);
        number.ok_or_else(|| Trouble::malformed("`Last-Event-ID` is the `sequence` of an event"))
    });
    let last = last.transpose()?;
    // A client made from the document names every kind it has read of; it wants the page.
    if accepts(&call.headers, "text/event-stream") && !accepts(&call.headers, "application/json") {
        return Ok(stream(server.clone(), last.unwrap_or(after), call.stream()?));
    }
    let _place = if wait > 0 { Some(call.stream()?) } else { None };
    let until = tokio::time::Instant::now() + Duration::from_secs(wait);
    let mut found = page(server, after, limit).await?;
    while found.events.is_empty() && (found.more || tokio::time::Instant::now() < until) {
        if !found.more {
            tokio::time::sleep(LOOK).await;
        }
        found = page(server, found.next, limit).await?;
    }
    Ok(json_body(&json!({ "events": found.events, "next": found.next, "more": found.more })))
}

/// Whether a request names this kind of answer. Kinds have no case (RFC 9110 §8.3.1).
fn accepts(headers: &HeaderMap, kind: &str) -> bool {
    let listed = headers.get_all(header::ACCEPT).iter().filter_map(|v| v.to_str().ok());
    let mut kinds = listed.flat_map(|v| v.split(',')).filter_map(|one| one.split(';').next());
    kinds.any(|one| one.trim().eq_ignore_ascii_case(kind))
}

fn stream(server: Server, after: u64, place: OwnedSemaphorePermit) -> Response<Body> {
    let (mut sender, body) = Channel::<Bytes, Infallible>::new(STREAM_BUFFER);
    tokio::spawn(async move {
        let _place = place;
        let (mut at, mut silent) = (after, tokio::time::Instant::now());
        // A first line tells proxies and readers that the stream is open.
        let mut text = String::from(": open\n\n");
        loop {
            // An error ends the stream; its reader comes back with the last number.
            let Ok(found) = page(&server, at, PAGE_MAX).await else { return };
            at = found.next;
            for event in &found.events {
                text.push_str(&format!(
                    "id: {}\nevent: {}\ndata: {event}\n\n",
                    event["sequence"],
                    event["type"].as_str().unwrap_or("")
                ));
            }
            if text.is_empty() && silent.elapsed() > ALIVE {
                text.push_str(": alive\n\n");
            }
            if !text.is_empty() {
                silent = tokio::time::Instant::now();
                if sender.send_data(Bytes::from(std::mem::take(&mut text))).await.is_err() {
                    return;
                }
            }
            if !found.more {
                tokio::time::sleep(LOOK).await;
            }
        }
    });
    let mut response = Response::new(body.boxed());
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/event-stream"));
    response
}

fn value(context: &Context, news: &News) -> Value {
    let mut value = json!({
        "sequence": news.sequence, "at": news.at.rfc3339(), "type": kind(news.fact.as_ref()),
        "said_by": { "log": format!("{}/status", news.origin), "index": news.index },
        "acknowledged": { "log": format!("{}/status", context.own.id), "index": news.sequence - 1 },
    });
    if let Some(leaf) = &news.leaf {
        value["said_by"]["leaf"] = json!(leaf.to_string());
    }
    match &news.fact {
        Some(StatusFact::Changed(changed)) => {
            value["record"] = json!(changed.record.to_string());
            value["authority"] = json!(news.origin.as_str());
            value["ground"] = json!(changed.rule);
        }
        Some(other) => match other.grant() {
            Some((key, GrantNews::KeyWithdrawn)) => value["key_id"] = json!(key.to_string()),
            Some((grant, _)) => value["grant_id"] = json!(grant.to_string()),
            None => {}
        },
        None => {}
    }
    value
}

fn kind(fact: Option<&StatusFact>) -> &'static str {
    // Acknowledged after a restore: what was said stands in the log of who said it.
    const OTHER: &str = "status.other";
    match fact {
        Some(StatusFact::Changed(changed)) => match changed.change {
            Change::Dispute => "record.disputed",
            Change::EndDispute => "record.dispute-ended",
            Change::Mask => "record.masked",
            Change::Unmask => "record.unmasked",
            Change::Expire => "record.expired",
            Change::Repair => "record.repaired",
            Change::Withdraw => "record.withdrawn",
            Change::Correct => "record.corrected",
        },
        Some(other) => match other.grant().map(|(_, news)| news) {
            Some(GrantNews::Issued) => "grant.issued",
            Some(GrantNews::Paused) => "grant.paused",
            Some(GrantNews::Resumed) => "grant.resumed",
            Some(GrantNews::Revoked) => "grant.revoked",
            Some(GrantNews::Expired) => "grant.expired",
            Some(GrantNews::UsedUp) => "grant.used-up",
            Some(GrantNews::KeyWithdrawn) => "grant.key-withdrawn",
            None => OTHER,
        },
        None => OTHER,
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn a_kind_of_answer_is_named_in_any_case_and_in_any_of_several_headers() {
        let mut headers = HeaderMap::new();
        assert!(!accepts(&headers, "text/event-stream"));
        headers.append(header::ACCEPT, HeaderValue::from_static("text/html, Text/Event-Stream;q=0.9"));
        assert!(accepts(&headers, "text/event-stream") && !accepts(&headers, "application/json"));
        headers.append(header::ACCEPT, HeaderValue::from_static("application/JSON"));
        assert!(accepts(&headers, "application/json") && !accepts(&headers, "text/event"));
    }
}
