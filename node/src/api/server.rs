//! The accept loop: HTTP/1.1 with deadlines, a limit on connections, and a shutdown that waits for what is under way.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;
use tracing::{debug, warn};

use super::gate::Routes;
use super::limits;
use super::reading::Due;
use super::stall::Stall;
use crate::metrics::Http;

/// How long the loop rests after the system refused it a connection (no file descriptors): trying at once would only burn the CPU.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What a connection over the limit is told.
const FULL: &str = r#"{"type":"about:blank","title":"Service Unavailable","status":503,"code":"overloaded","detail":"the node has as many connections as it takes; come back in a second"}"#;

/// What a server needs beside its router.
#[derive(Debug, Clone)]
pub(super) struct Server {
    pub(super) cancel: CancellationToken,
    pub(super) tracker: TaskTracker,
    pub(super) http: Arc<Http>,
    /// How long a head may take, counted from when the node waits for one.
    pub(super) header_timeout: Duration,
}

impl Server {
    /// Serves until cancelled; connections end after the request that they are at.
    pub(super) async fn run(self, listener: TcpListener, routes: Routes) {
        let slots = Arc::new(Semaphore::new(limits::connections()));
        loop {
            tokio::select! {
                () = self.cancel.cancelled() => return,
                accepted = listener.accept() => self.accepted(accepted, &slots, &routes).await,
            }
        }
    }

    async fn accepted(
        &self,
        accepted: io::Result<(TcpStream, SocketAddr)>,
        slots: &Arc<Semaphore>,
        routes: &Routes,
    ) {
        match accepted {
            Ok((stream, address)) => match Arc::clone(slots).try_acquire_owned() {
                Ok(slot) => {
                    let routes = routes.clone();
                    self.tracker.spawn(connection(self.clone(), stream, address, slot, routes));
                }
                Err(_) => {
                    self.http.refused();
                    refuse(&stream);
                }
            },
            Err(error) if of_the_client(&error) => {}
            Err(error) => {
                warn!(%error, "Failed to accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Whether the error is about the one connection that went away before it was accepted.
fn of_the_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

/// Tells a connection over the limit so, as far as that goes without waiting.
fn refuse(stream: &TcpStream) {
    let head = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        FULL.len()
    );
    let _ = stream.try_write((head + FULL).as_bytes());
}

async fn connection(
    server: Server,
    stream: TcpStream,
    address: SocketAddr,
    slot: OwnedSemaphorePermit,
    routes: Routes,
) {
    // Frames and answers are written whole: waiting for more would only delay them.
    let _ = stream.set_nodelay(true);
    let io = TokioIo::new(Stall::new(stream, (slot, server.http.connection())));
    let cut = CancellationToken::new();
    let late = cut.clone();
    let watched = server.tracker.clone();
    let service = hyper::service::service_fn(move |request| {
        answer(routes.now(), request, address, watched.clone(), late.clone())
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(server.header_timeout)
        .max_buf_size(limits::HEAD_BYTES)
        .max_headers(limits::HEADERS)
        .serve_connection(io, service)
        .with_upgrades();
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = server.cancel.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.as_mut().await
        }
        () = cut.cancelled() => {
            debug!(%address, "Cut a connection that took an answer too slowly");
            return;
        }
    };
    if let Err(error) = ended {
        debug!(%address, %error, "Connection ended early");
    }
}

async fn answer(
    router: Router,
    request: Request<Incoming>,
    address: SocketAddr,
    tracker: TaskTracker,
    cut: CancellationToken,
) -> Result<Response<Body>, Infallible> {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(ConnectInfo(address));
    let mut response = router.oneshot(request).await?;
    if let Some(due) = response.extensions_mut().remove::<Due>() {
        tracker.spawn(due.watch(cut));
    }
    Ok(response)
}

#[cfg(test)]
mod tests;
