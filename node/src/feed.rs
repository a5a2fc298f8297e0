//! Delivery to subscribers, and publishing over sockets.
//!
//! A subscriber is a position in the store, not a queue: [`subscriber`] decides what it is sent next, [`tail`] fetches
//! that, an [`outlet`] takes it: a WebSocket ([`session`]) or a stream of events ([`sse`]). [`publish`] is the way in.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use anode_shared::cursor::Cursor;
use anode_shared::ids::RecordId;
use anode_shared::publish::Ack;
use anode_shared::status::{Component, State, SubscriberStatus};
use anode_shared::time::{Micros, to_rfc3339};
use axum::extract::ws::WebSocketUpgrade;
use axum::http::HeaderMap;
use axum::response::Response;
use prometheus_client::metrics::histogram::Histogram;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::store::{Start, Store, system_time};

pub mod fault;
pub mod filter;
pub mod start;
pub mod payloads;
pub mod subscriber;
pub mod turns;
pub mod tail;
pub mod registry;
pub mod outlet;
pub mod hub;
pub mod sse;
pub mod socket;
pub mod session;
pub mod publish;

pub use fault::{Code, Fault};
pub use registry::ACK_SECONDS;
pub use start::{FeedRequest, PublishRequest};

use hub::Hub;
use registry::Ended;
use start::{Format, Subscription};
use subscriber::Mark;

/// The most subscribers of a node: a process has 20,000 open files at best, and others need some too.
const MAX_SUBSCRIBERS: usize = 10_000;
/// The most publishing sockets of a node; each may have a megabyte on its way.
const MAX_PUBLISHERS: usize = 1_000;

/// Who publishes: the token's name or the wallet's address that stands in the records, or nobody's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Publisher(pub Option<String>);

/// What the one behind a connection may do. The api decides it, the feed holds to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rights {
    /// As whom records may be published, or why they may not.
    pub publish: Result<Publisher, Fault>,
}

/// Figures of the feed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is named for what it counts")]
pub struct FeedMetrics {
    pub subscribers: u64,
    pub publishers: u64,
    pub records: u64,
    pub bytes: u64,
    pub gaps: u64,
    pub filter_errors: u64,
    pub published: u64,
    pub refused: u64,
    /// How many arrivals the last of the subscribers is behind.
    pub most_lag: u64,
    /// How many connections ended, by the reason's word.
    pub ended: Vec<(&'static str, u64)>,
}

/// The feed of a node: all its subscribers and publishing sockets. A clone is a handle on the same.
#[derive(Debug, Clone)]
pub struct Feed {
    hub: Arc<Hub>,
    publishers: Arc<Semaphore>,
    tracker: TaskTracker,
    cancel: CancellationToken,
    since: Micros,
}

impl Feed {
    /// A feed of this store.
    pub fn new(store: Store) -> Self {
        Self::with_stall(store, outlet::STALL)
    }

    /// The same where clients may accept nothing for so long.
    fn with_stall(store: Store, stall: Duration) -> Self {
        Self {
            hub: Arc::new(Hub::new(store, stall)),
            publishers: Arc::new(Semaphore::new(MAX_PUBLISHERS)),
            tracker: TaskTracker::new(),
            cancel: CancellationToken::new(),
            since: system_time(),
        }
    }

    /// Answers `GET /feed` with a WebSocket.
    ///
    /// # Errors
    /// When there are too many connections, or the node is ending.
    pub fn upgrade(
        &self,
        ws: WebSocketUpgrade,
        request: FeedRequest,
        rights: Rights,
        address: SocketAddr,
    ) -> Result<Response, Fault> {
        let seat = self.seat("websocket", &request.subscription, address)?;
        let (hub, tracker, cancel) = (Arc::clone(&self.hub), self.tracker.clone(), self.cancel.clone());
        Ok(socket::for_feed(ws, rights.publish.is_ok()).on_upgrade(move |ws| {
            let wanted = request.subscription;
            let tail = hub.tail(&wanted, Mark::Begin, request.format, hub::SOCKET_PACE);
            let socket = socket::Socket::new(ws, request.format, hub.stall);
            let session =
                Box::new(session::Session::new(socket, tail, seat, Arc::clone(&hub), rights, cancel));
            tracker.track_future(async move { hub.totals.count_end(session.run().await) })
        }))
    }

    /// Answers `GET /feed` with Server-Sent Events; `headers` may hold `Last-Event-ID`.
    ///
    /// # Errors
    /// When there are too many connections, or the node is ending, or `Last-Event-ID` is no cursor.
    pub fn sse(
        &self,
        mut request: FeedRequest,
        headers: &HeaderMap,
        address: SocketAddr,
    ) -> Result<Response, Fault> {
        if request.format == Format::Cbor {
            return Err(Fault::new(Code::BadRequest, "events are text: format=cbor needs a WebSocket"));
        }
        if let Some(id) = headers.get("last-event-id").filter(|id| !id.is_empty()) {
            let cursor = id.to_str().ok().and_then(|id| Cursor::parse(id).ok());
            let wrong = || Fault::new(Code::BadCursor, "Last-Event-ID is no cursor of this feed");
            request.subscription.begin = Start::After(cursor.ok_or_else(wrong)?);
        }
        let (response, events) = sse::response(self.hub.stall);
        let following = self.follow("sse", &request.subscription, address, hub::EVENTS_PACE, events)?;
        self.tracker.spawn(following);
        Ok(response)
    }

    /// Sends a subscription into an outlet of any kind until nobody takes it, or the node ends; gives how it ended.
    ///
    /// # Errors
    /// When there are too many connections, or the node is ending.
    pub fn follow<O: outlet::Outlet + 'static>(
        &self,
        kind: &'static str,
        wanted: &Subscription,
        address: SocketAddr,
        pace: Duration,
        outlet: O,
    ) -> Result<impl Future<Output = Ended> + Send + use<O>, Fault> {
        let seat = self.seat(kind, wanted, address)?;
        let (hub, cancel, wanted) = (Arc::clone(&self.hub), self.cancel.clone(), wanted.clone());
        Ok(async move {
            let tail = hub.tail(&wanted, Mark::Begin, outlet.format(), pace);
            let ended = outlet::serve(outlet, tail, seat, Arc::clone(&hub.totals), cancel).await;
            hub.totals.count_end(ended);
            ended
        })
    }

    /// Publishes a record given as JSON; answers with the promise that was reached.
    ///
    /// # Errors
    /// With what to change.
    pub async fn publish(&self, text: &str, publisher: Publisher) -> Result<(RecordId, Ack), Fault> {
        let began = Instant::now();
        let taken = self.publish_one(text, publisher).await;
        self.hub.totals.count_one(&taken, began.elapsed());
        taken
    }

    async fn publish_one(&self, text: &str, publisher: Publisher) -> Result<(RecordId, Ack), Fault> {
        self.open()?;
        let (record, ack) = session::new_record(text, publisher, &self.hub.store)?;
        session::taken(self.hub.store.publish(vec![record])?, &self.hub.store, ack).await
    }

    /// Lets a connection of another kind run as one of the feed's: `shutdown` waits for it.
    pub fn run<F: Future<Output = Ended> + Send + 'static>(&self, connection: F) {
        let totals = Arc::clone(&self.hub.totals);
        self.tracker.spawn(async move { totals.count_end(connection.await) });
    }

    /// Is cancelled when the node ends its connections.
    pub fn ending(&self) -> CancellationToken {
        self.cancel.clone()
    }

    /// Answers `GET /publish` with a WebSocket.
    ///
    /// # Errors
    /// When there are too many connections, the node is ending, or the promise cannot be kept.
    pub fn publish_socket(
        &self,
        ws: WebSocketUpgrade,
        request: PublishRequest,
        publisher: Publisher,
    ) -> Result<Response, Fault> {
        self.open()?;
        start::check_ack(request.ack, &self.hub.store)?;
        let permit = Arc::clone(&self.publishers).try_acquire_owned().map_err(|_| {
            Fault::new(Code::Overloaded, "the node has as many publishing sockets as it takes")
        })?;
        let (hub, tracker, cancel) = (Arc::clone(&self.hub), self.tracker.clone(), self.cancel.clone());
        Ok(socket::for_publish(ws).on_upgrade(move |ws| {
            let socket = socket::Socket::new(ws, Format::Json, hub.stall);
            let intake = publish::Intake::new(socket, request, publisher, Arc::clone(&hub), cancel);
            tracker.track_future(async move {
                hub.totals.count_end(intake.run().await);
                drop(permit);
            })
        }))
    }

    fn open(&self) -> Result<(), Fault> {
        if self.cancel.is_cancelled() {
            return Err(Fault::new(Code::Draining, "the node is shutting down"));
        }
        Ok(())
    }

    fn seat(
        &self,
        kind: &'static str,
        wanted: &Subscription,
        address: SocketAddr,
    ) -> Result<registry::Seat, Fault> {
        self.open()?;
        self.hub
            .registry
            .enter(kind, wanted, address, system_time(), self.hub.store.next_arrival(), MAX_SUBSCRIBERS)
            .ok_or_else(|| Fault::new(Code::Overloaded, "the node has as many subscribers as it takes"))
    }

    /// Who is connected; addresses and filters only for `admin`.
    pub fn subscribers(&self, admin: bool) -> Vec<SubscriberStatus> {
        self.hub.registry.list(admin, self.hub.store.next_arrival(), Instant::now())
    }

    /// How the feed is, for `status`.
    pub fn component(&self) -> Component {
        let metrics = self.metrics();
        let figures = [
            ("subscribers", metrics.subscribers),
            ("publishers", metrics.publishers),
            ("records", metrics.records),
            ("bytes", metrics.bytes),
            ("lag_arrivals", metrics.most_lag),
        ];
        Component {
            state: State::Ok,
            detail: None,
            since: to_rfc3339(self.since),
            figures: figures
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.into()))
                .collect::<BTreeMap<_, _>>(),
        }
    }

    /// The feed's figures, for `metrics`.
    pub fn metrics(&self) -> FeedMetrics {
        let totals = &self.hub.totals;
        FeedMetrics {
            subscribers: self.hub.registry.count() as u64,
            publishers: (MAX_PUBLISHERS - self.publishers.available_permits()) as u64,
            records: totals.records.load(Relaxed),
            bytes: totals.bytes.load(Relaxed),
            gaps: totals.gaps.load(Relaxed),
            filter_errors: totals.filter_errors.load(Relaxed),
            published: totals.published.load(Relaxed),
            refused: totals.refused.load(Relaxed),
            most_lag: self.hub.registry.most_lag(self.hub.store.next_arrival()),
            ended: Ended::ALL.iter().map(|ended| (ended.as_str(), totals.ended(*ended))).collect(),
        }
    }

    /// Records sent to subscribers since the start, and their bytes.
    pub fn delivered(&self) -> (u64, u64) {
        (self.hub.totals.records.load(Relaxed), self.hub.totals.bytes.load(Relaxed))
    }

    /// How long answers to publishing sockets took, from when the store took the records.
    pub fn acks(&self) -> Histogram {
        self.hub.totals.acks.clone()
    }

    /// Ends every connection: what was taken is answered first, so the store must still be there. Waits for all.
    pub async fn shutdown(&self) {
        self.cancel.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

#[cfg(test)]
mod tests;
