//! Logs to verify: published ones over HTTP, exported ones from a directory.

use std::{fs, path::Path, path::PathBuf};

use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, StatusCode, body::Bytes, header};
use hyper_util::rt::TokioIo;
use ledger::audit::LogSource;
use node::Problem;
use tokio::net::TcpStream;

/// Largest resource of a log: a full bundle of the longest entries is 16 MiB.
const RESOURCE_BYTES_MAX: usize = 17 * 1024 * 1024;

/// A published log under `http://host:port/log/<name>`.
pub(crate) struct Published {
    base: String,
    auth: Option<String>,
    checkpoint: String,
    runtime: tokio::runtime::Handle,
}

impl Published {
    /// Fetches the checkpoint; everything else is fetched when asked for.
    pub(crate) async fn open(base: &str, auth: Option<String>) -> Result<Self, Problem> {
        let base = base.trim_end_matches('/').to_owned();
        let no = |why: String| {
            Problem::new(
                format!("{base}: {why}"),
                "give the URL of a published log, as in http://127.0.0.1:7402/log/access",
                "请提供已发布日志的地址，例如 http://127.0.0.1:7402/log/access",
            )
        };
        let checkpoint = match get(&format!("{base}/checkpoint"), None).await {
            Ok((StatusCode::OK, bytes)) => String::from_utf8(bytes).map_err(|e| no(e.to_string()))?,
            Ok((status, _)) => return Err(no(format!("HTTP status {status}"))),
            Err(why) => return Err(no(why)),
        };
        Ok(Self { base, auth, checkpoint, runtime: tokio::runtime::Handle::current() })
    }
}

impl LogSource for Published {
    fn checkpoint(&self) -> String {
        self.checkpoint.clone()
    }

    fn resource(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
        let url = format!("{}/{path}", self.base);
        match self.runtime.block_on(get(&url, self.auth.as_deref()))? {
            (StatusCode::OK, bytes) => Ok(Some(bytes)),
            (StatusCode::NOT_FOUND, _) => Ok(None),
            (status, body) => Err(format!("HTTP status {status}: {}", String::from_utf8_lossy(&body).trim())),
        }
    }
}

/// One GET of plain HTTP.
pub(crate) async fn get(url: &str, auth: Option<&str>) -> Result<(StatusCode, Vec<u8>), String> {
    let uri: hyper::Uri = url.parse().map_err(|e| format!("{url}: {e}"))?;
    if uri.scheme_str() != Some("http") {
        return Err(format!("{url}: plain http is read; put https behind a local proxy"));
    }
    let authority = uri.authority().ok_or_else(|| format!("{url}: no host"))?;
    let address = format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(80));
    let stream = TcpStream::connect(&address).await.map_err(|e| format!("{address}: {e}"))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
    tokio::spawn(connection);
    let mut request = Request::get(uri.path()).header(header::HOST, authority.as_str());
    if let Some(auth) = auth {
        request = request.header(header::AUTHORIZATION, auth);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|e| e.to_string())?;
    let response = sender.send_request(request).await.map_err(|e| e.to_string())?;
    let status = response.status();
    let body =
        Limited::new(response.into_body(), RESOURCE_BYTES_MAX).collect().await.map_err(|e| e.to_string())?;
    Ok((status, body.to_bytes().to_vec()))
}

/// A log as `audit export` writes it: `checkpoint`, and the tiles under their paths.
pub(crate) struct Exported {
    dir: PathBuf,
    checkpoint: String,
}

impl Exported {
    /// Opens an exported log.
    pub(crate) fn open(dir: &Path) -> Result<Self, Problem> {
        let path = dir.join("checkpoint");
        let checkpoint = fs::read_to_string(&path).map_err(|e| {
            Problem::new(
                format!("{}: {e}", path.display()),
                "give a directory that `xinqiao audit export` has written",
                "请提供由 `xinqiao audit export` 导出的目录",
            )
        })?;
        Ok(Self { dir: dir.to_owned(), checkpoint })
    }
}

impl LogSource for Exported {
    fn checkpoint(&self) -> String {
        self.checkpoint.clone()
    }

    fn resource(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
        match fs::read(self.dir.join(path)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e.to_string()),
        }
    }
}
