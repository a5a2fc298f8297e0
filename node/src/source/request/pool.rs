//! The pooled client: hyper-util's, on our own connector, with its tasks in our tracker.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http_body_util::Full;
use hyper::Uri;
use hyper::rt::{Executor, Read, ReadBufCursor, Write};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use crate::source::connector::{Connector, Io, Timing};
use crate::source::failure::Failure;
use crate::source::limits::{HEAD, HEADERS, IDLE_CONNECTION, IDLE_CONNECTIONS};

tokio::task_local! {
    /// Until when the request that this task sends may take.
    pub(super) static DEADLINE: Instant;
}

/// The client that all sources share.
pub(super) type Pool = Client<Door, Full<Bytes>>;

/// Makes the client. Its connections end with `cancel`.
pub(super) fn pool(connector: Connector, tracker: TaskTracker, cancel: CancellationToken) -> Pool {
    Client::builder(Tasks { tracker, cancel })
        .pool_idle_timeout(IDLE_CONNECTION)
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        .pool_timer(TokioTimer::new())
        .timer(TokioTimer::new())
        .http1_max_buf_size(HEAD)
        .http1_max_headers(HEADERS)
        .set_host(false)
        .build(Door(connector))
}

/// Spawns a connection's task where shutdown waits for it.
#[derive(Debug, Clone)]
struct Tasks {
    tracker: TaskTracker,
    cancel: CancellationToken,
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Tasks {
    fn execute(&self, work: F) {
        let cancel = self.cancel.clone();
        self.tracker.spawn(async move {
            tokio::select! {
                () = cancel.cancelled() => {}
                () = work => {}
            }
        });
    }
}

/// The connector as hyper-util calls it.
#[derive(Debug, Clone)]
pub(super) struct Door(Connector);

impl tower::Service<Uri> for Door {
    type Response = Linked;
    type Error = Failure;
    type Future = BoxFuture<'static, Result<Linked, Failure>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.0.clone();
        // Called within the request's own task; one that is not on a deadline has the connector's own.
        let deadline = DEADLINE.try_with(|deadline| *deadline);
        async move {
            let origin = format!(
                "{}://{}/",
                uri.scheme_str().unwrap_or_default(),
                uri.authority().map_or("", |a| a.as_str())
            );
            let url = Url::parse(&origin).map_err(|_| Failure::of_field("url", "the URL names no host"))?;
            let deadline = deadline.unwrap_or_else(|_| Instant::now() + crate::source::limits::CONNECT);
            let (io, timing) = connector.connect(&url, deadline).await?;
            Ok(Linked { io: TokioIo::new(io), link: Arc::new(Link { timing, used: AtomicBool::new(false) }) })
        }
        .boxed()
    }
}

/// What is known of a connection beside its bytes.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) timing: Timing,
    used: AtomicBool,
}

impl Link {
    /// Notes that an answer came over it. Whether it is the first one.
    pub(super) fn first_answer(&self) -> bool {
        !self.used.swap(true, Ordering::Relaxed)
    }

    /// Whether an answer came over it before.
    pub(super) fn is_used(&self) -> bool {
        self.used.load(Ordering::Relaxed)
    }
}

/// A connection in the pool.
#[derive(Debug)]
pub(super) struct Linked {
    io: TokioIo<Io>,
    link: Arc<Link>,
}

impl Connection for Linked {
    fn connected(&self) -> Connected {
        Connected::new().extra(self.link.clone())
    }
}

impl Read for Linked {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl Write for Linked {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
