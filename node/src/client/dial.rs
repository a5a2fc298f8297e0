//! Connections to a node, with TLS where its URL says so.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use url::Url;

use crate::source::connector::Io;
use crate::source::tls;

/// A node on the same machine or network answers a connection at once; a proxy with TLS a little later.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How a node is reached.
#[derive(Clone)]
pub(super) struct Dial {
    host: String,
    port: u16,
    tls: Option<Arc<ClientConfig>>,
}

impl std::fmt::Debug for Dial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Dial({}:{}, TLS {})", self.host, self.port, self.tls.is_some())
    }
}

impl Dial {
    pub(super) fn new(url: &Url) -> anyhow::Result<Self> {
        let tls = if url.scheme() == "https" { Some(tls::client(None)?) } else { None };
        Ok(Self::with(url, tls))
    }

    fn with(url: &Url, tls: Option<Arc<ClientConfig>>) -> Self {
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        Self { host, port: url.port_or_known_default().unwrap_or(80), tls }
    }

    /// A connection without TLS.
    pub(super) async fn plain(&self) -> io::Result<TcpStream> {
        let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect((self.host.as_str(), self.port))).await??;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// A connection as the URL wants it.
    pub(super) async fn stream(&self) -> io::Result<Io> {
        let stream = self.plain().await?;
        let Some(config) = &self.tls else { return Ok(Io::Plain(stream)) };
        let name = ServerName::try_from(self.host.clone()).map_err(io::Error::other)?;
        let secured =
            timeout(CONNECT_TIMEOUT, TlsConnector::from(config.clone()).connect(name, stream)).await??;
        Ok(Io::Tls(Box::new(secured)))
    }
}

impl tower::Service<Uri> for Dial {
    type Response = TokioIo<Io>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<Io>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let dial = self.clone();
        Box::pin(async move { dial.stream().await.map(TokioIo::new) })
    }
}

impl Connection for Io {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Client, ClientError, Endpoint, Query};
    use super::*;
    use futures_util::{SinkExt as _, StreamExt as _};
    use rustls::{RootCertStore, ServerConfig};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;
    use tokio_tungstenite::tungstenite::Message;

    /// A port with TLS that answers one request with JSON, then one with a WebSocket that says what it hears.
    async fn serve(listener: TcpListener, acceptor: TlsAcceptor) {
        let (stream, _) = listener.accept().await.unwrap();
        let mut secured = acceptor.accept(stream).await.unwrap();
        let mut head = vec![0; 4_096];
        let length = secured.read(&mut head).await.unwrap();
        let head = String::from_utf8_lossy(&head[..length]).into_owned();
        assert!(
            head.starts_with("GET /p/api HTTP/1.1") && head.contains("authorization: Bearer t"),
            "{head}"
        );
        secured.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n7").await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let secured = acceptor.accept(stream).await.unwrap();
        let mut socket = tokio_tungstenite::accept_async(secured).await.unwrap();
        let heard = socket.next().await.unwrap().unwrap();
        socket.send(heard).await.unwrap();
    }

    #[tokio::test]
    async fn it_speaks_tls_where_the_url_says_so() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url: Url =
            format!("https://localhost:{}/p/", listener.local_addr().unwrap().port()).parse().unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let certificate = made.cert.der().clone();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], made.signing_key.into())
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let endpoint = Endpoint { url, token: Some("t".to_owned()), from: "test".to_owned() };

        let query = Query::new();
        // Nobody knows who made the certificate.
        let stranger = Client::new(endpoint.clone()).unwrap();
        let refused = async { acceptor.accept(listener.accept().await.unwrap().0).await.is_err() };
        let (error, refused) = tokio::join!(stranger.get::<u8>("/api", &query), refused);
        assert!(refused && matches!(error, Err(ClientError::Unreachable { .. })), "{error:?}");

        let mut roots = RootCertStore::empty();
        roots.add(certificate).unwrap();
        let dial = Dial::with(&endpoint.url, Some(tls::with_roots(roots).unwrap()));
        let client = Client::on(endpoint, dial);
        let asking = async {
            assert_eq!(client.get::<u8>("/api", &query).await.unwrap(), 7);
            let mut socket = client.socket("/feed", &query).await.unwrap();
            socket.send(Message::text("hello")).await.unwrap();
            assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("hello"));
        };
        tokio::join!(asking, serve(listener, acceptor));
    }
}
