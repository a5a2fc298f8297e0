//! The client that the commands use: a node's HTTP API and its WebSockets.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anode_shared::source::FieldError;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Error as SocketError;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderValue, header};
use url::Url;

use crate::config::units::page;
use crate::source::connector::Io;

mod dial;

use dial::Dial;

/// Where a node listens when nobody says otherwise.
pub const DEFAULT_NODE: &str = "http://127.0.0.1:8080";
/// Longer than the longest answer that a node holds back (10 s for a wider ack), with room for a slow link.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A socket to a node.
pub type Socket = WebSocketStream<Io>;

/// Why a request brought no answer that the caller wanted.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No node answers there, or the connection broke.
    #[error(
        "no node answers at {node}: {why}; is it running? Start one with `anode run`, or name one with --node URL"
    )]
    Unreachable {
        /// Its address, and where that came from.
        node: String,
        /// What the system says.
        why: String,
    },
    /// The node answered with an error.
    #[error("{0}")]
    Refused(Problem),
    /// The answer is not what this version of the client reads.
    #[error("{0} answered with what this version of anode cannot read: {1}")]
    Unreadable(String, String),
}

/// The node's own words for an error (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Problem {
    /// The HTTP status.
    #[serde(default)]
    pub status: u16,
    /// The error's word.
    #[serde(default)]
    pub code: String,
    /// What the status means.
    #[serde(default)]
    pub title: String,
    /// What to change.
    #[serde(default)]
    pub detail: String,
    /// The fields of a definition that are wrong.
    #[serde(default)]
    pub errors: Vec<FieldError>,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let words = if self.detail.is_empty() { &self.title } else { &self.detail };
        write!(f, "{words} ({}", self.status)?;
        if !self.code.is_empty() {
            write!(f, " {}", self.code)?;
        }
        f.write_str(")")
    }
}

impl Problem {
    fn read(status: StatusCode, body: &[u8]) -> Self {
        let mut problem = serde_json::from_slice(body).unwrap_or_else(|_| Self {
            status: 0,
            code: String::new(),
            title: status.canonical_reason().unwrap_or("the node refused").to_owned(),
            detail: String::from_utf8_lossy(body).chars().take(200).collect(),
            errors: Vec::new(),
        });
        problem.status = status.as_u16();
        problem
    }

    /// Whether the same request may succeed a little later.
    pub fn is_passing(&self) -> bool {
        matches!(self.status, 429 | 502..=504)
    }
}

/// Where a node is, and what it is asked with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Its base URL.
    pub url: Url,
    /// The bearer token, if there is one.
    pub token: Option<String>,
    /// Where the address came from, for error messages.
    pub from: String,
}

/// What a data directory says about the node that runs on it.
#[derive(Debug, Clone, Default)]
pub struct Place {
    /// The directory.
    pub data_dir: PathBuf,
    /// What `http.addr` holds.
    pub address: Option<String>,
    /// What `admin.token` holds.
    pub token: Option<String>,
}

impl Place {
    /// Reads what the directory says; a file that is not there says nothing.
    pub fn read(data_dir: &Path) -> Self {
        let text =
            |name: &str| std::fs::read_to_string(data_dir.join(name)).ok().map(|text| text.trim().to_owned());
        Self { data_dir: data_dir.to_owned(), address: text("http.addr"), token: text("admin.token") }
    }
}

impl Endpoint {
    /// Chooses the node: a named one with the given token, else the one that runs on the data directory with that
    /// directory's token, else the default address. A directory's token goes to no other node.
    ///
    /// # Errors
    /// When the node's URL is malformed.
    pub fn choose(node: Option<&str>, token: Option<&str>, place: &Place) -> anyhow::Result<Self> {
        let given = token.map(str::to_owned);
        if let Some(node) = node {
            return Ok(Self { url: base_url(node)?, token: given, from: "--node".to_owned() });
        }
        let Some(address) = &place.address else {
            let from = format!("the default, as {} holds no http.addr", place.data_dir.display());
            return Ok(Self { url: base_url(DEFAULT_NODE)?, token: given, from });
        };
        let from = place.data_dir.join("http.addr").display().to_string();
        let url = base_url(&format!("http://{}", dialable(address)))?;
        Ok(Self { url, token: given.or_else(|| place.token.clone()), from })
    }
}

/// The address to dial for one that a node is bound to: all interfaces are reached over loopback.
pub fn dialable(address: &str) -> String {
    match address.parse::<std::net::SocketAddr>() {
        Ok(bound) if bound.ip().is_unspecified() && bound.is_ipv4() => format!("127.0.0.1:{}", bound.port()),
        Ok(bound) if bound.ip().is_unspecified() => format!("[::1]:{}", bound.port()),
        _ => address.to_owned(),
    }
}

/// The dashboard's link; the token stands behind `#`, which a browser sends nowhere.
/// `public` goes before the address that the node listens on.
pub fn dashboard_link(address: &str, public: Option<&Url>, token: Option<&str>) -> String {
    let page = match public {
        Some(url) => format!("{}/", url.as_str().trim_end_matches('/')),
        None => format!("http://{}/", dialable(address)),
    };
    match token {
        Some(token) => {
            let encoded = token.bytes().map(|byte| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                    char::from(byte).to_string()
                }
                _ => format!("%{byte:02X}"),
            });
            format!("{page}#token={}", encoded.collect::<String>())
        }
        None => page,
    }
}

fn base_url(text: &str) -> anyhow::Result<Url> {
    page(text).map_err(|_| {
        anyhow::anyhow!("{text:?} is no address of a node; accepted is http://HOST[:PORT], or https:// where a proxy with TLS stands before it")
    })
}

/// Query parameters, in order; one may come more than once.
pub type Query = Vec<(&'static str, String)>;

/// A client of one node.
#[derive(Debug, Clone)]
pub struct Client {
    endpoint: Endpoint,
    dial: Dial,
    http: Pool<Dial, Full<Bytes>>,
}

impl Client {
    /// Makes a client; nothing is sent yet. Proxies of the environment are not used: they would see the token, and cannot
    /// reach a node on loopback.
    ///
    /// # Errors
    /// When TLS is wanted and cannot be set up.
    pub fn new(endpoint: Endpoint) -> anyhow::Result<Self> {
        let dial = Dial::new(&endpoint.url)?;
        Ok(Self::on(endpoint, dial))
    }

    fn on(endpoint: Endpoint, dial: Dial) -> Self {
        let http = Pool::builder(TokioExecutor::new()).build(dial.clone());
        Self { endpoint, dial, http }
    }

    /// Where the node is.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The address of a route.
    pub fn url(&self, path: &str, query: &Query) -> Url {
        let mut url = self.endpoint.url.clone();
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}{path}"));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    /// Asks for JSON.
    ///
    /// # Errors
    /// When the node cannot be reached, refuses, or answers with something else.
    pub async fn get<T: DeserializeOwned>(&self, path: &str, query: &Query) -> Result<T, ClientError> {
        self.read(path, &self.request(Method::GET, path, query, None).await?)
    }

    /// Asks for text.
    ///
    /// # Errors
    /// When the node cannot be reached or refuses.
    pub async fn text(&self, path: &str) -> Result<String, ClientError> {
        let body = self.request(Method::GET, path, &Query::new(), None).await?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// Sends JSON, and reads JSON.
    ///
    /// # Errors
    /// When the node cannot be reached, refuses, or answers with something else.
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &Query,
        json: Vec<u8>,
    ) -> Result<T, ClientError> {
        self.read(path, &self.request(Method::POST, path, query, Some(json)).await?)
    }

    /// Puts JSON in the place of what is there, and reads JSON.
    ///
    /// # Errors
    /// When the node cannot be reached, refuses, or answers with something else.
    pub async fn put<T: DeserializeOwned>(&self, path: &str, json: Vec<u8>) -> Result<T, ClientError> {
        self.read(path, &self.request(Method::PUT, path, &Query::new(), Some(json)).await?)
    }

    /// Asks for something to be done, whatever the answer holds.
    ///
    /// # Errors
    /// When the node cannot be reached or refuses.
    pub async fn order(&self, method: Method, path: &str) -> Result<(), ClientError> {
        self.request(method, path, &Query::new(), None).await.map(drop)
    }

    fn read<T: DeserializeOwned>(&self, path: &str, body: &[u8]) -> Result<T, ClientError> {
        serde_json::from_slice(body).map_err(|error| {
            ClientError::Unreadable(self.url(path, &Query::new()).to_string(), error.to_string())
        })
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        query: &Query,
        json: Option<Vec<u8>>,
    ) -> Result<Vec<u8>, ClientError> {
        let mut request = Request::builder().method(method).uri(self.url(path, query).as_str());
        if let Some(token) = &self.endpoint.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if json.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request.body(Full::from(json.unwrap_or_default())).map_err(|e| self.unreachable(&e))?;
        let answering = async {
            let answer = self.http.request(request).await.map_err(|error| self.unreachable(&error))?;
            let status = answer.status();
            let body = answer.into_body().collect().await.map_err(|error| self.unreachable(&error))?;
            Ok((status, body.to_bytes()))
        };
        let late = |error| self.unreachable(&error);
        let (status, body) = tokio::time::timeout(TIMEOUT, answering).await.map_err(late)??;
        if status.is_success() {
            Ok(body.into())
        } else {
            Err(ClientError::Refused(Problem::read(status, &body)))
        }
    }

    fn unreachable(&self, error: &dyn std::error::Error) -> ClientError {
        let mut cause = error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        let node = format!("{} ({})", self.endpoint.url, self.endpoint.from);
        ClientError::Unreachable { node, why: cause.to_string() }
    }

    /// Opens a WebSocket.
    ///
    /// # Errors
    /// When the node cannot be reached or refuses.
    pub async fn socket(&self, path: &str, query: &Query) -> Result<Socket, ClientError> {
        let stream = self.dial.stream().await.map_err(|error| self.unreachable(&error))?;
        let mut url = self.url(path, query);
        // All four are special schemes with hosts: this cannot be refused.
        let _ = url.set_scheme(if url.scheme() == "https" { "wss" } else { "ws" });
        let mut request = url.as_str().into_client_request().map_err(|error| self.unreachable(&error))?;
        if let Some(token) = &self.endpoint.token
            && let Ok(value) = HeaderValue::from_str(&format!("Bearer {token}"))
        {
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        let opening = tokio_tungstenite::client_async(request, stream);
        match tokio::time::timeout(TIMEOUT, opening).await {
            Ok(Ok((socket, _))) => Ok(socket),
            Ok(Err(SocketError::Http(response))) => {
                let body = response.body().as_deref().unwrap_or_default();
                Err(ClientError::Refused(Problem::read(response.status(), body)))
            }
            Ok(Err(error)) => Err(self.unreachable(&error)),
            Err(late) => Err(self.unreachable(&late)),
        }
    }

    /// Opens a bare connection to the node, without TLS.
    ///
    /// # Errors
    /// When nobody accepts it.
    pub async fn connect(&self) -> Result<TcpStream, ClientError> {
        self.dial.plain().await.map_err(|error| self.unreachable(&error))
    }
}

#[cfg(test)]
mod tests;
