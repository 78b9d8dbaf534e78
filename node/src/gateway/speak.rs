//! HTTP/1.1 on one connection, and the last word to a head that is none.
//!
//! *Not here*: what is no HTTP/1.1 at all, or has too long an address or head, is answered by the library itself before
//! anything of ours hears of it: 400, 414 or 431 without a body.

use std::{convert::Infallible, time::Duration};

use crypto::codec::hex;
use hyper::{
    Request, Response,
    body::Incoming,
    server::conn::http1::{Builder, Parts},
    service::{Service, service_fn},
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, join};

use super::{Body, dressed, trouble::Trouble};
use crate::clock;

/// What a client that takes HTTP/2 for granted begins with (RFC 9113 §3.4).
const HTTP2: &[u8] = b"PRI * HTTP/2.0";
/// Stands for the request that did not come, so that the library writes the answer.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n";

/// Serves a connection until it ends. Each head has `arrive` to come whole; the connection ends with one that has not.
pub async fn speak<I, V>(stream: I, arrive: Duration, service: V)
where
    I: AsyncRead + AsyncWrite + Unpin,
    V: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible> + Unpin,
{
    let mut connection = Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(arrive)
        .serve_connection(TokioIo::new(stream), service);
    let Err(error) = (&mut connection).await else { return };
    let Parts { io, read_buf, .. } = connection.into_parts();
    // Who lies idle between two requests has asked for nothing, and what a client does to its connection is its own affair.
    let trouble = if error.is_timeout() && !read_buf.is_empty() {
        Trouble::own("request.timeout", "the head of the request is not whole")
    } else if read_buf.starts_with(HTTP2) {
        Trouble::malformed("HTTP/1.1 is spoken here, and no HTTP/2")
    } else {
        return;
    };
    let answer = service_fn(move |_| {
        let id = hex(&clock::random::<16>());
        let response = dressed(trouble.response(&id), &id);
        async { Ok::<_, Infallible>(response) }
    });
    let rest = TokioIo::new(join(STAND_IN, io.into_inner()));
    // Its reading side has ended, and its writing side has not.
    let _ = Builder::new().half_close(true).serve_connection(rest, answer).await;
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::{super::full, *};

    /// What is said to a client that sends these bytes and then nothing, and keeps its connection open.
    async fn said(bytes: &[u8]) -> String {
        let (mut client, stream) = duplex(1024 * 1024);
        let ok = service_fn(|_| async { Ok::<_, Infallible>(full("fine", "text/plain")) });
        client.write_all(bytes).await.unwrap();
        speak(stream, Duration::from_millis(100), ok).await;
        let mut said = String::new();
        client.read_to_string(&mut said).await.unwrap();
        said
    }

    fn is_problem(said: &str, status: &str, code: &str) -> bool {
        let (head, body) = said.split_once("\r\n\r\n").unwrap();
        let headers =
            ["content-type: application/problem+json", "x-request-id: ", "connection: close", "date: "];
        head.starts_with(status) && headers.iter().all(|h| head.contains(h)) && body.contains(code)
    }

    #[tokio::test]
    async fn a_head_that_does_not_come_whole_is_answered_and_silence_is_not() {
        let late = said(b"GET /v1/health HTTP/1.1\r\nhost: a").await;
        assert!(is_problem(&late, "HTTP/1.1 408 ", "\"request.timeout\""), "{late}");
        assert_eq!(said(b"").await, "");
        let idle = said(b"GET / HTTP/1.1\r\n\r\n").await;
        assert!(idle.starts_with("HTTP/1.1 200 ") && idle.ends_with("\r\n\r\nfine"), "{idle}");
        let second = said(b"GET / HTTP/1.1\r\n\r\nGET").await;
        assert!(second.contains("fineHTTP/1.1 408 "), "{second}");
    }

    #[tokio::test]
    async fn who_speaks_http_2_is_told_what_is_spoken() {
        let told = said(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        assert!(is_problem(&told, "HTTP/1.1 400 ", "\"request.malformed\""), "{told}");
    }

    #[tokio::test]
    async fn what_the_library_answers_by_itself_has_the_status_that_the_documents_say_and_no_body() {
        let fields: String = (0..101).map(|n| format!("x-{n}: y\r\n")).collect();
        let long = "x".repeat(65_535);
        for (status, request) in [
            ("400", "hello\r\n\r\n".to_owned()),
            ("400", "POST / HTTP/1.1\r\ncontent-length: many\r\n\r\n".to_owned()),
            ("400", "POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx".to_owned()),
            ("414", format!("GET /{long} HTTP/1.1\r\n\r\n")),
            ("431", format!("GET / HTTP/1.1\r\n{fields}\r\n")),
        ] {
            let said = said(request.as_bytes()).await;
            let start = &request[..request.len().min(60)];
            assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{start}: {said}");
            assert!(said.ends_with("\r\n\r\n") && !said.contains("x-request-id"), "{start}: {said}");
        }
    }
}
