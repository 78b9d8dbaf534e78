//! One request of plain HTTP/1.1, written here so that what a node publishes is read by somebody else's client.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

/// A response.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: u16,
    /// Header lines, names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Got {
    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// Gets `url`, with an Authorization header when there is one. `None` when nobody answers.
pub(crate) fn get(url: &str, auth: Option<&str>) -> Option<Got> {
    let auth = auth.map_or(String::new(), |auth| format!("Authorization: {auth}\r\n"));
    let got = parse(&send(url, "GET", &auth, "")?)?;
    let length = got.header("content-length").map(|l| l.parse::<usize>().unwrap());
    (length == Some(got.body.len())).then_some(got)
}

/// Asks with another method, whose response may lack the body that its length speaks of.
pub(crate) fn ask(method: &str, url: &str, auth: Option<&str>) -> Option<Got> {
    let auth = auth.map_or(String::new(), |auth| format!("Authorization: {auth}\r\n"));
    parse(&send(url, method, &auth, "")?)
}

/// Posts `body` to `url`. `None` when nobody answers.
pub(crate) fn post(url: &str, body: &str) -> Option<Got> {
    parse(&send(url, "POST", &format!("Content-Length: {}\r\n", body.len()), body)?)
}

/// A request with header lines of its own, each ended by CR LF, and a body; the response has a length.
pub(crate) fn send_with(method: &str, url: &str, headers: &str, body: &str) -> Option<Got> {
    parse(&send(url, method, &format!("{headers}Content-Length: {}\r\n", body.len()), body)?)
}

/// As [`send_with`], for what may take as long as a question may.
pub(crate) fn send_patiently(method: &str, url: &str, headers: &str, body: &str) -> Option<Got> {
    let headers = format!("{headers}Content-Length: {}\r\n", body.len());
    parse(&send_within(url, method, &headers, body, Duration::from_secs(90))?)
}

fn send(url: &str, method: &str, headers: &str, body: &str) -> Option<Vec<u8>> {
    send_within(url, method, headers, body, Duration::from_secs(20))
}

fn send_within(url: &str, method: &str, headers: &str, body: &str, wait: Duration) -> Option<Vec<u8>> {
    let rest = url.strip_prefix("http://").unwrap();
    let (host, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    let mut stream = TcpStream::connect(host).ok()?;
    stream.set_read_timeout(Some(wait)).unwrap();
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{headers}Connection: close\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).ok()?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

fn parse(bytes: &[u8]) -> Option<Got> {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let got = Got { status, headers, body: bytes[end + 4..].to_vec() };
    assert_eq!(got.header("transfer-encoding"), None, "resources of a log have a length");
    Some(got)
}
