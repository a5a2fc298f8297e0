//! WebSockets to a node; every text frame is held to the served document.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::http::Http;
use crate::openapi::OpenApi;

/// How long a test waits for a frame that must come.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Where and how to open a socket.
#[derive(Clone, Debug)]
pub struct Door {
    /// `host:port`.
    pub address: String,
    /// The token for the `Authorization` header.
    pub token: Option<String>,
    /// Further headers.
    pub headers: Vec<(String, String)>,
    /// The socket's receive buffer, where the default would hide a client that does not read.
    pub receive_buffer: Option<u32>,
    /// What frames are held to.
    pub api: Arc<OpenApi>,
}

/// An open WebSocket.
#[derive(Debug)]
pub struct Socket {
    stream: WebSocketStream<TcpStream>,
    api: Arc<OpenApi>,
}

/// What came over a socket.
#[derive(Clone, Debug, PartialEq)]
pub enum Frame {
    /// A text frame's JSON.
    Json(Value),
    /// A binary frame.
    Binary(Vec<u8>),
    /// The node closed, with this code and reason.
    Closed(u16, String),
    /// The connection ended without a closing frame.
    Cut,
}

impl Door {
    /// The door of a node, for a reader without a token.
    #[must_use]
    pub fn new(address: &str, http: &Http) -> Self {
        let (address, api) = (address.to_owned(), http.api().clone());
        Self { address, token: None, headers: Vec::new(), receive_buffer: None, api }
    }

    /// The same door with a token.
    #[must_use]
    pub fn with_token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    /// The same door with one more header.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Opens a socket.
    ///
    /// # Errors
    /// Fails where the node cannot be reached or refuses; [`Door::refusal`] tells the status.
    pub async fn open(&self, path: &str) -> Result<Socket> {
        Ok(self.try_open(path).await??)
    }

    /// Opens a socket that must be refused, and gives the status and body.
    ///
    /// # Errors
    /// Fails where the socket opens.
    pub async fn refusal(&self, path: &str) -> Result<(u16, String)> {
        match self.try_open(path).await? {
            Ok(_) => bail!("{path} was opened"),
            Err(Error::Http(answer)) => {
                let body = answer.body().clone().unwrap_or_default();
                let kind =
                    answer.headers().get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or("");
                self.api.check_answer("GET", path, answer.status().as_u16(), kind, &body)?;
                Ok((answer.status().as_u16(), String::from_utf8_lossy(&body).into_owned()))
            }
            Err(error) => Err(error).with_context(|| path.to_owned()),
        }
    }

    async fn try_open(&self, path: &str) -> Result<Result<Socket, Error>> {
        let mut request = format!("ws://{}{path}", self.address).into_client_request()?;
        let mut header = |name: &str, value: &str| -> Result<()> {
            request.headers_mut().insert(HeaderName::try_from(name)?, HeaderValue::try_from(value)?);
            Ok(())
        };
        if let Some(token) = &self.token {
            header("authorization", &format!("Bearer {token}"))?;
        }
        for (name, value) in &self.headers {
            header(name, value)?;
        }
        let tcp = TcpSocket::new_v4()?;
        if let Some(bytes) = self.receive_buffer {
            tcp.set_recv_buffer_size(bytes)?;
        }
        let tcp = timeout(PATIENCE, tcp.connect(self.address.parse()?)).await.context("connecting")??;
        tcp.set_nodelay(true)?;
        let config = WebSocketConfig::default().read_buffer_size(16 << 10).max_message_size(Some(32 << 20));
        let shake = tokio_tungstenite::client_async_with_config(request, tcp, Some(config));
        let opened = timeout(PATIENCE, shake).await.with_context(|| format!("{path}: handshake"))?;
        Ok(opened.map(|(stream, _)| Socket { stream, api: self.api.clone() }))
    }
}

impl Socket {
    /// Sends JSON as a text frame.
    ///
    /// # Errors
    /// Fails where the connection is gone.
    pub async fn send(&mut self, value: &Value) -> Result<()> {
        self.send_message(Message::text(value.to_string())).await
    }

    /// Sends any message.
    ///
    /// # Errors
    /// Fails where the connection is gone.
    pub async fn send_message(&mut self, message: Message) -> Result<()> {
        Ok(self.stream.send(message).await?)
    }

    /// Waits for the next frame and holds it to the document.
    ///
    /// # Errors
    /// Fails where none comes within [`PATIENCE`] or it is not as declared.
    pub async fn next(&mut self) -> Result<Frame> {
        self.next_within(PATIENCE).await?.context("no frame came")
    }

    /// Waits a while for the next frame; none is no error.
    ///
    /// # Errors
    /// Fails where a frame is not as declared.
    pub async fn next_within(&mut self, patience: Duration) -> Result<Option<Frame>> {
        let Ok(frame) = timeout(patience, self.frame()).await else { return Ok(None) };
        if let Frame::Json(value) = &frame {
            check_frame(&self.api, value)?;
        }
        Ok(Some(frame))
    }

    /// Waits for the next frame, which must be JSON.
    ///
    /// # Errors
    /// Fails where it is another, or none comes.
    pub async fn json(&mut self) -> Result<Value> {
        match self.next().await? {
            Frame::Json(value) => Ok(value),
            other => bail!("{other:?} where a text frame was due"),
        }
    }

    /// Reads on to the next frame of a type, passing over cursors only.
    ///
    /// # Errors
    /// Fails where another frame comes first, or none.
    pub async fn expect(&mut self, kind: &str) -> Result<Value> {
        loop {
            let value = self.json().await?;
            if value["type"] == kind {
                return Ok(value);
            }
            ensure!(value["type"] == "cursor", "{value} where {kind} was due");
        }
    }

    /// Reads on until the node closes, and gives code and reason.
    ///
    /// # Errors
    /// Fails where the connection is cut without a closing frame, or stays open.
    pub async fn closed(&mut self) -> Result<(u16, String)> {
        loop {
            match self.next().await? {
                Frame::Closed(code, reason) => return Ok((code, reason)),
                Frame::Cut => bail!("cut without a closing frame"),
                Frame::Json(_) | Frame::Binary(_) => {}
            }
        }
    }

    /// Gives up the frames' checks and layers, for readers and writers of their own.
    #[must_use]
    pub fn into_stream(self) -> WebSocketStream<TcpStream> {
        self.stream
    }

    async fn frame(&mut self) -> Frame {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Text(text))) => {
                    let json = serde_json::from_str(&text);
                    return Frame::Json(json.unwrap_or_else(|_| Value::String(text.to_string())));
                }
                Some(Ok(Message::Binary(bytes))) => return Frame::Binary(bytes.to_vec()),
                Some(Ok(Message::Close(Some(close)))) => {
                    return Frame::Closed(close.code.into(), close.reason.to_string());
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Close(None)) | Err(_)) | None => return Frame::Cut,
            }
        }
    }
}

/// Holds a text frame to the component schema of its type.
///
/// # Errors
/// Fails where the type is unknown or the frame does not match.
pub fn check_frame(api: &OpenApi, value: &Value) -> Result<()> {
    if value.is_array() || value["jsonrpc"] == "2.0" {
        // Answers to calls are whatever was called; notifications hold frames of a feed.
        return value["params"].get("result").map_or(Ok(()), |frame| check_frame(api, frame));
    }
    let name = match value["type"].as_str() {
        Some("record") => "RecordFrame",
        Some("caught_up" | "cursor" | "gap" | "error" | "subscribed" | "published") => "Frame",
        Some("status" | "sources" | "peers" | "events") => "Watch",
        _ => bail!("a frame of no known type: {value}"),
    };
    api.check_component(name, value)
}
