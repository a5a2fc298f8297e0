//! Upstreams for tests: listeners on loopback that answer each request by a script, good or hostile.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connector::{Connector, Resolver, System};
use super::guard::{Allowed, Guard};
use super::request::Http;
use super::tls;

/// One step of an answer.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// Sends these bytes.
    Send(Vec<u8>),
    /// Sends these bytes again and again.
    Repeat(Vec<u8>, usize),
    /// Sends these bytes one by one, with a pause after each.
    Drip(Vec<u8>, Duration),
    /// Waits.
    Wait(Duration),
    /// Closes the connection.
    Close,
}

/// An answer with a status line, headers and a body.
pub(super) fn answer(status: &str, headers: &str, body: impl AsRef<[u8]>) -> Vec<Step> {
    let body = body.as_ref();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
    vec![Step::Send([head.as_bytes(), body].concat())]
}

/// What an upstream saw.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Connections, also those over which nothing came.
    pub(super) connections: usize,
    /// The heads of the requests, with their bodies where they were short.
    pub(super) requests: Vec<String>,
}

/// A listener that answers by a script.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    end: CancellationToken,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

type Script = Arc<dyn Fn(&str) -> Vec<Step> + Send + Sync>;

impl Upstream {
    /// Plain HTTP on 127.0.0.1.
    pub(super) fn http(script: impl Fn(&str) -> Vec<Step> + Send + Sync + 'static) -> Self {
        Self::at("127.0.0.1:0", None, script)
    }

    /// With TLS on 127.0.0.1.
    pub(super) fn https(
        tls: TlsAcceptor,
        script: impl Fn(&str) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        Self::at("127.0.0.1:0", Some(tls), script)
    }

    /// Anywhere on this machine.
    pub(super) fn at(
        address: &str,
        tls: Option<TlsAcceptor>,
        script: impl Fn(&str) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        let address: SocketAddr = address.parse().unwrap();
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.unwrap();
        socket.bind(address).unwrap();
        let listener = socket.listen(64).unwrap();
        let (seen, end) = (Arc::<Mutex<Seen>>::default(), CancellationToken::new());
        let upstream = Self { address: listener.local_addr().unwrap(), seen: seen.clone(), end: end.clone() };
        let serving = serve(listener, tls, Arc::new(script), seen, end.clone());
        TaskTracker::new().spawn(async move { end.run_until_cancelled(serving).await });
        upstream
    }

    /// The URL of a path on it, with another host where one is given.
    pub(super) fn url(&self, host: &str, path: &str) -> url::Url {
        let (scheme, rest) = host.split_once("://").unwrap_or(("http", host));
        url::Url::parse(&format!("{scheme}://{rest}:{}{path}", self.address.port())).unwrap()
    }

    pub(super) fn connections(&self) -> usize {
        self.seen.lock().unwrap().connections
    }

    pub(super) fn requests(&self) -> Vec<String> {
        self.seen.lock().unwrap().requests.clone()
    }
}

async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    script: Script,
    seen: Arc<Mutex<Seen>>,
    end: CancellationToken,
) {
    let tracker = TaskTracker::new();
    while let Ok((stream, _)) = listener.accept().await {
        seen.lock().unwrap().connections += 1;
        let (tls, script, seen, end) = (tls.clone(), script.clone(), seen.clone(), end.clone());
        let talk = async move {
            match tls {
                None => talk(stream, script, seen).await,
                Some(tls) => match tls.accept(stream).await {
                    Ok(stream) => talk(stream, script, seen).await,
                    Err(_) => Ok(()),
                },
            }
        };
        tracker.spawn(async move { end.run_until_cancelled(talk).await });
    }
}

async fn talk(
    mut stream: impl AsyncRead + AsyncWrite + Unpin + Send,
    script: Script,
    seen: Arc<Mutex<Seen>>,
) -> std::io::Result<()> {
    let mut bytes = vec![0; 64 << 10];
    loop {
        let read = stream.read(&mut bytes).await?;
        if read == 0 {
            return Ok(());
        }
        let request = String::from_utf8_lossy(&bytes[..read]).into_owned();
        seen.lock().unwrap().requests.push(request.clone());
        for step in script(&request) {
            match step {
                Step::Send(bytes) => stream.write_all(&bytes).await?,
                Step::Repeat(bytes, times) => {
                    for _ in 0..times {
                        stream.write_all(&bytes).await?;
                    }
                }
                Step::Drip(bytes, pause) => {
                    for byte in bytes {
                        stream.write_all(&[byte]).await?;
                        tokio::time::sleep(pause).await;
                    }
                }
                Step::Wait(pause) => tokio::time::sleep(pause).await,
                Step::Close => return stream.shutdown().await,
            }
        }
    }
}

/// A CA of a test's own.
pub(super) struct Ca(CertifiedIssuer<'static, KeyPair>);

impl Ca {
    pub(super) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(super) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A server with a certificate for `names`, valid between these years.
    pub(super) fn server(&self, names: &[&str], years: std::ops::Range<i32>) -> TlsAcceptor {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = rcgen::date_time_ymd(years.start, 1, 1);
        params.not_after = rcgen::date_time_ymd(years.end, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let chain = vec![certificate.der().clone(), CertificateDer::from(self.0.der().to_vec())];
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        roots
    }
}

/// A connector that reaches these upstreams alone, and trusts this CA alone.
pub(super) fn connector(
    upstreams: &[&Upstream],
    ca: Option<&Ca>,
    resolver: Option<Arc<dyn Resolver>>,
) -> Connector {
    let allowed = upstreams.iter().map(|upstream| upstream.address.into()).collect();
    let tls = tls::with_roots(ca.map_or_else(RootCertStore::empty, Ca::roots)).unwrap();
    let resolver = resolver.unwrap_or_else(|| Arc::new(System::default()));
    Connector::new(Guard::new(Allowed::These(allowed)), tls, resolver)
}

/// A client on such a connector.
pub(super) fn http(connector: Connector) -> Http {
    Http::new(connector, TaskTracker::new(), CancellationToken::new())
}

/// How much memory the process holds, and held at most since the last [`forget_peak`], bytes.
pub(super) fn memory() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let of = |key: &str| {
        let line = status.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
    };
    (of("VmRSS:"), of("VmHWM:"))
}

/// Lets the peak begin anew at what is held now.
pub(super) fn forget_peak() {
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
}
