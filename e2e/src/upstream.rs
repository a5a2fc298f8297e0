//! An upstream of the tests' own: it answers each request as the test says, down to the byte.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

/// The longest head of a request that is read.
const HEAD: usize = 256 << 10;

/// A connection with its first request.
#[derive(Debug)]
pub struct Call {
    /// The connection.
    pub stream: TcpStream,
    /// The address that was dialled.
    pub dialled: SocketAddr,
    /// The request's path and query.
    pub path: String,
    /// The request's head as it came.
    pub head: String,
    /// The body, as much of it as `content-length` says.
    pub body: String,
}

/// How a test answers a call.
pub type Answer = Arc<dyn Fn(Call) -> Pin<Box<dyn Future<Output = Result<()>> + Send>> + Send + Sync>;

/// A listening upstream; it ends when dropped.
#[derive(Debug)]
pub struct Upstream {
    /// Where it listens.
    pub address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Upstream {
    /// Listens, and hands every call to the test.
    ///
    /// # Errors
    /// Fails where an address is taken.
    pub fn listen(addresses: &[SocketAddr], answer: Answer) -> Result<Self> {
        let mut tasks = JoinSet::new();
        let mut bound = None;
        for address in addresses {
            // A socket for IPv6 alone, so that one for IPv4 has room beside it.
            let domain = socket2::Domain::for_address(*address);
            let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
            if address.is_ipv6() {
                socket.set_only_v6(true)?;
            }
            socket.set_reuse_address(true)?;
            let port = bound.map_or(address.port(), |bound: SocketAddr| bound.port());
            socket.bind(&SocketAddr::new(address.ip(), port).into())?;
            socket.listen(1024)?;
            socket.set_nonblocking(true)?;
            let listener = TcpListener::from_std(socket.into())?;
            bound = bound.or(Some(listener.local_addr()?));
            tasks.spawn(accept(listener, Arc::clone(&answer)));
        }
        Ok(Self { address: bound.context("no address")?, _tasks: tasks })
    }

    /// Listens on loopback.
    ///
    /// # Errors
    /// Fails where there is no port.
    pub fn local(answer: Answer) -> Result<Self> {
        Self::listen(&[SocketAddr::from(([127, 0, 0, 1], 0))], answer)
    }
}

async fn accept(listener: TcpListener, answer: Answer) {
    let mut calls = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                let answer = Arc::clone(&answer);
                calls.spawn(async move {
                    // What the node cuts is no fault of the upstream.
                    if let Ok(call) = read(stream).await {
                        let _ = answer(call).await;
                    }
                });
            },
            Some(_) = calls.join_next(), if !calls.is_empty() => {}
        }
    }
}

async fn read(mut stream: TcpStream) -> Result<Call> {
    let dialled = stream.local_addr()?;
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        ensure!(bytes.len() < HEAD, "the head has no end");
        ensure!(stream.read_buf(&mut bytes).await? > 0, "the caller hung up");
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let length: usize = header(&head, "content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    while bytes.len() < end + length {
        ensure!(stream.read_buf(&mut bytes).await? > 0, "the caller hung up");
    }
    let body = String::from_utf8_lossy(&bytes[end..end + length]).into_owned();
    let path = head.split(' ').nth(1).context("no path")?.to_owned();
    Ok(Call { stream, dialled, path, head, body })
}

/// A header of a head.
#[must_use]
pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    lines.find(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

impl Call {
    /// Answers with status, headers and a body, and closes.
    ///
    /// # Errors
    /// Fails where the caller hung up.
    pub async fn answer(mut self, status: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<()> {
        let more: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head =
            format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n{more}\r\n", body.len());
        self.stream.write_all(&[head.as_bytes(), body].concat()).await?;
        self.stream.shutdown().await?;
        Ok(())
    }

    /// Answers with JSON.
    ///
    /// # Errors
    /// Fails where the caller hung up.
    pub async fn json(self, body: &str) -> Result<()> {
        self.answer("200 OK", &[("content-type", "application/json")], body.as_bytes()).await
    }

    /// Begins an event stream.
    ///
    /// # Errors
    /// Fails where the caller hung up.
    pub async fn events(mut self) -> Result<TcpStream> {
        let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/event-stream\r\n\r\n";
        self.stream.write_all(head.as_bytes()).await?;
        Ok(self.stream)
    }

    /// Opens the WebSocket that was asked for.
    ///
    /// # Errors
    /// Fails where none was asked for, or the caller hung up.
    pub async fn upgrade(mut self) -> Result<WebSocketStream<TcpStream>> {
        let key = header(&self.head, "sec-websocket-key").context("no WebSocket was asked for")?;
        let accept = derive_accept_key(key.as_bytes());
        let head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: {accept}\r\n\r\n"
        );
        self.stream.write_all(head.as_bytes()).await?;
        Ok(WebSocketStream::from_raw_socket(self.stream, Role::Server, None).await)
    }
}
