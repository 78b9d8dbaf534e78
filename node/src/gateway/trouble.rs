//! Errors of the gateway as RFC 9457 problem documents, each with a stable code.
//!
//! A refusal of the member itself keeps its code (`exchange::refusal::Code`); what only HTTP knows has a code of
//! [`OWN`]. Titles come in both languages, details say what exactly.

use exchange::{
    limits::RETRY_BUSY_MS,
    refusal::{Code, Refusal},
};
use hyper::{Response, StatusCode, header};
use serde_json::json;

use super::{Body, full, insert};

/// Codes that are the gateway's own: code, status, English, Chinese.
pub const OWN: [(&str, u16, &str, &str); 9] = [
    (
        "request.malformed",
        400,
        "the request is not as the document says; change it",
        "请求不符合接口文档；请按提示修改",
    ),
    (
        "key.invalid",
        401,
        "the API key is missing, unknown or revoked; ask the node's operator for one",
        "缺少 API 密钥，或密钥无效、已吊销；请向节点运维人员申请",
    ),
    (
        "key.not-allowed",
        403,
        "this API key is not for that; use another, or ask the node's operator for one",
        "该 API 密钥无此权限；请换用其他密钥，或向节点运维人员申请",
    ),
    (
        "method.not-allowed",
        405,
        "this address does not take this method; see Allow",
        "该地址不支持此方法；见 Allow",
    ),
    ("request.timeout", 408, "the request did not arrive in time; send it again", "请求未按时到达；请重发"),
    (
        "request.too-large",
        413,
        "the request exceeds a limit of the document; shorten it",
        "请求超过接口文档规定的上限；请缩减",
    ),
    ("request.media-type", 415, "the body must be application/json", "请求正文须为 application/json"),
    (
        "quota.exceeded",
        429,
        "this API key asks more often than it may; wait as told",
        "该 API 密钥的请求过于频繁；请按提示等待",
    ),
    ("node.fault", 500, "the node has a fault; see its log", "节点发生故障；请查看其日志"),
];

/// Why a request was not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// HTTP status.
    pub status: u16,
    /// Stable code.
    pub code: String,
    /// What exactly, in English.
    pub detail: String,
    /// When the same request may be sent again.
    pub retry_after_ms: Option<u64>,
    /// Methods that the address takes, for 405.
    pub allow: Option<&'static str>,
}

impl Trouble {
    /// One of the gateway's own.
    pub fn own(code: &'static str, detail: impl Into<String>) -> Self {
        let status = OWN.iter().find(|own| own.0 == code).map_or(500, |own| own.1);
        Self { status, code: code.to_owned(), detail: detail.into(), retry_after_ms: None, allow: None }
    }

    /// The request is not as the document says.
    pub fn malformed(detail: impl Into<String>) -> Self {
        Self::own("request.malformed", detail)
    }

    /// There is nothing here.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Refusal::new(Code::NotFound, detail).into()
    }

    /// Too many at once.
    pub fn busy(detail: impl Into<String>) -> Self {
        Refusal::new(Code::Busy, detail).into()
    }

    /// What the code means, in English and Chinese.
    fn titles(&self) -> (&'static str, &'static str) {
        let own = OWN.iter().find(|own| own.0 == self.code).map(|own| (own.2, own.3));
        own.or_else(|| {
            let known = Code::ALL.iter().find(|code| code.as_str() == self.code)?;
            Some((known.en(), known.zh()))
        })
        .unwrap_or(("refused", "已拒绝"))
    }

    /// The problem document.
    pub fn response(&self, request: &str) -> Response<Body> {
        let (en, zh) = self.titles();
        let (detail, detail_zh) = match self.detail.as_str() {
            "" => (en.to_owned(), zh.to_owned()),
            what => (what.to_owned(), format!("{zh}（{what}）")),
        };
        let mut document = json!({
            "type": format!("urn:xinqiao:problem:{}", self.code), "title": en, "title_zh": zh, "status": self.status,
            "detail": detail, "detail_zh": detail_zh, "code": self.code, "request_id": request,
        });
        if let Some(ms) = self.retry_after_ms {
            document["retry_after_ms"] = json!(ms);
        }
        let mut response = full(document.to_string().into_bytes(), "application/problem+json");
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if let Some(ms) = self.retry_after_ms {
            // The header has whole seconds; who waits them has waited long enough.
            insert(&mut response, header::RETRY_AFTER, &ms.div_ceil(1_000).max(1).to_string());
        }
        if self.status == 401 {
            insert(&mut response, header::WWW_AUTHENTICATE, "Bearer");
        }
        if let Some(allow) = self.allow {
            insert(&mut response, header::ALLOW, allow);
        }
        response
    }
}

/// HTTP status of a member's own refusal.
pub fn status(code: Code) -> u16 {
    match code {
        Code::NotFound => 404,
        Code::CallerNotAllowed => 403,
        Code::QuestionExpired => 409,
        Code::FrameTooLong => 413,
        Code::QuestionMalformed
        | Code::QuestionReused
        | Code::ItemUnknown
        | Code::FieldUnknown
        | Code::GrantInvalid
        | Code::MemberUnknown
        | Code::SignatureInvalid => 422,
        Code::Busy | Code::Unreachable | Code::PartMissing | Code::MemberStarting | Code::MemberBehind => 503,
        // What a question can only meet when something between the members is wrong.
        _ => 502,
    }
}

impl From<Refusal> for Trouble {
    fn from(refusal: Refusal) -> Self {
        let status = refusal.known().map_or(502, status);
        let retry = refusal.retry_after_ms.or_else(|| (status == 503).then_some(RETRY_BUSY_MS));
        Self { status, code: refusal.code, detail: refusal.detail, retry_after_ms: retry, allow: None }
    }
}

impl From<exchange::refusal::Fault> for Trouble {
    fn from(fault: exchange::refusal::Fault) -> Self {
        tracing::error!(%fault, "a read failed");
        Self::own("node.fault", "")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_one_meaning_in_both_languages() {
        let chinese = |text: &str| text.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c));
        for (code, status, en, zh) in OWN {
            assert!(!Code::ALL.iter().any(|c| c.as_str() == code), "{code} is the member's own");
            assert!(chinese(zh) && en.is_ascii() && (400..600).contains(&status));
            assert_eq!(Trouble::own(code, "").titles(), (en, zh));
        }
        for code in Code::ALL {
            let trouble = Trouble::from(Refusal::new(*code, "why"));
            assert!((400..600).contains(&trouble.status) && trouble.titles() == (code.en(), code.zh()));
            assert_eq!(trouble.retry_after_ms.is_some(), trouble.status == 503, "{}", code.as_str());
        }
    }

    #[test]
    fn a_problem_says_when_to_come_again_in_whole_seconds() {
        let response = Trouble { retry_after_ms: Some(1_001), ..Trouble::busy("x") }.response("r");
        assert_eq!(response.headers()["retry-after"], "2");
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
    }
}
