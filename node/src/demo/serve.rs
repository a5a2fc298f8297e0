//! The feed's accept loops: HTTP/1.1, plain and over TLS.

use std::io;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use super::app::App;
use super::broken::Dropped;
use super::faults::Fault;
use super::tls::Certificates;

/// How long the loop rests after the system refused it a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Marks requests that came over TLS, with the certificate's fault at that time.
#[derive(Debug, Clone)]
pub(super) struct Secured(pub(super) Option<Fault>);

/// The place of the certificate's fault.
pub(super) const TLS: &str = "tls";

/// What a listener answers with.
#[derive(Debug, Clone)]
pub(super) enum Door {
    /// HTTP.
    Plain,
    /// HTTP over TLS with whatever certificate the feed's fault says.
    Tls(Certificates),
    /// HTTP over TLS with a certificate that is always wrong.
    Wrong(Certificates, Fault),
}

/// Serves a listener until cancelled.
pub(super) async fn run(app: App, tracker: TaskTracker, listener: TcpListener, router: Router, door: Door) {
    loop {
        tokio::select! {
            () = app.cancel.cancelled() => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    tracker.spawn(connection(app.clone(), stream, router.clone(), door.clone()));
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
        }
    }
}

/// Serves a connection until it ends, the feed does, or its certificate is another.
async fn connection(app: App, stream: TcpStream, router: Router, door: Door) {
    let _ = stream.set_nodelay(true);
    let mut changes = app.board.faults.changes();
    let fault = match &door {
        Door::Plain => return until(&app, http(stream, router, None), std::future::pending()).await,
        Door::Tls(_) => app.board.faults.of(TLS),
        Door::Wrong(_, fault) => Some(fault.clone()),
    };
    let (Door::Tls(certificates) | Door::Wrong(certificates, _)) = &door else { return };
    let handshake = certificates.acceptor(fault.as_ref()).accept(stream);
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, handshake).await else { return };
    // A socket outlives this connection's task: it looks for itself whether its certificate is another.
    let secured = matches!(door, Door::Tls(_)).then(|| Secured(fault.clone()));
    let board = app.board.clone();
    let other = async move {
        let is_fixed = matches!(door, Door::Wrong(..));
        while is_fixed || board.faults.of(TLS) == fault {
            if changes.changed().await.is_err() {
                return;
            }
        }
    };
    until(&app, http(stream, router, secured), other).await;
}

async fn until(app: &App, serving: impl Future<Output = ()>, other: impl Future<Output = ()>) {
    tokio::select! {
        () = serving => {}
        () = other => {}
        () = app.cancel.cancelled() => {}
    }
}

async fn http(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    secured: Option<Secured>,
) {
    let service = hyper::service::service_fn(move |request| answer(router.clone(), request, secured.clone()));
    // Connections that break do so on purpose.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await;
}

async fn answer(
    router: Router,
    request: Request<Incoming>,
    secured: Option<Secured>,
) -> io::Result<Response<Body>> {
    let mut request = request.map(Body::new);
    if let Some(secured) = secured {
        request.extensions_mut().insert(secured);
    }
    let answer = router.oneshot(request).await.unwrap_or_else(|never| match never {});
    match answer.extensions().get::<Dropped>() {
        Some(Dropped) => Err(io::ErrorKind::ConnectionAborted.into()),
        None => Ok(answer),
    }
}
