//! The HTTP side: resources of the API, the dashboard's files, and the doors to the feed.
//!
//! One file per resource. What a request may take stands in `limits`, who may do what in `auth`, and every refusal is
//! a [`problem::Problem`]. The OpenAPI document is made of the same declarations as the routes.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anode_shared::ids::Origin;
use anode_shared::status::Retention;
use anode_shared::time::Micros;
use axum::http::HeaderMap;
use tokio::sync::{Semaphore, watch as channel};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::archive::Archive;
use crate::feed::Feed;
use crate::gossip::Gossip;
use crate::metrics::{Http, Metrics};
use crate::source::Sources;
use crate::store::Store;

pub mod problem;
mod query;
mod limits;
mod stall;
mod server;
mod gate;
pub mod auth;
mod tickets;
mod headers;
mod openapi;
mod router;
mod reading;
mod records;
mod sources;
mod mesh;
mod topics;
mod archive;
mod subscribers;
mod doors;
mod status;
mod monitor;
mod events;
mod watch;
mod health;
mod exposition;
mod docs;
mod rpc;
mod sdk;
mod later;
pub mod assets;

pub use events::Events;
pub use gate::Gate;
pub use sources::list_sources;

use auth::{Access, Caller};
use limits::Bodies;
use monitor::Monitor;
use problem::{Code, Problem};
use reading::{Answers, Readers};
use tickets::Tickets;

/// What the API says of the node itself.
#[derive(Debug, Clone)]
pub struct NodeInfo {
    /// Its peer id.
    pub id: Origin,
    /// Its name in the dashboard.
    pub name: String,
    /// Its network.
    pub network: String,
    /// How long it keeps records.
    pub retention: Retention,
}

/// Whether the node takes records yet, or still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It is not ready yet.
    Starting,
    /// It takes records.
    Ready,
    /// It stops: what is under way is finished, nothing new is taken.
    Draining,
}

/// What the API works with.
#[derive(Debug)]
pub struct Deps {
    /// The node itself.
    pub node: NodeInfo,
    /// Who may do what.
    pub access: Access,
    /// The store.
    pub store: Store,
    /// The feed.
    pub feed: Feed,
    /// The sources.
    pub sources: Sources,
    /// The mesh.
    pub gossip: Gossip,
    /// The archive.
    pub archive: Archive,
    /// What happened on this node.
    pub events: Events,
    /// Whether the node takes records yet, or still.
    pub phase: channel::Receiver<Phase>,
    /// Ends the accept loop, and every connection after the request that it is at.
    pub cancel: CancellationToken,
    /// Every task of the API runs in it.
    pub tracker: TaskTracker,
}

/// What every handler sees.
#[derive(Debug, Clone)]
pub(crate) struct App(Arc<Shared>);

/// What the handlers share.
#[derive(Debug)]
pub(crate) struct Shared {
    node: NodeInfo,
    access: Access,
    store: Store,
    feed: Feed,
    sources: Sources,
    gossip: Gossip,
    archive: Archive,
    events: Events,
    cancel: CancellationToken,
    tracker: TaskTracker,
    phase: channel::Receiver<Phase>,
    started: Instant,
    tickets: Tickets,
    bodies: Bodies,
    readers: Readers,
    answers: Answers,
    watchers: Arc<Semaphore>,
    callers: Arc<Semaphore>,
    lookers: Semaphore,
    monitor: Monitor,
    http: Arc<Http>,
    metrics: Metrics,
}

impl std::ops::Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl App {
    fn new(deps: Deps, http: &Arc<Http>, bodies: Bodies) -> Self {
        Self(Arc::new(Shared {
            node: deps.node,
            access: deps.access,
            metrics: Metrics::new(http, &deps.store, &deps.feed, &deps.sources, &deps.gossip, &deps.archive),
            store: deps.store,
            feed: deps.feed,
            sources: deps.sources,
            gossip: deps.gossip,
            archive: deps.archive,
            events: deps.events,
            cancel: deps.cancel,
            tracker: deps.tracker,
            phase: deps.phase,
            started: Instant::now(),
            tickets: Tickets::default(),
            bodies,
            readers: Readers::default(),
            answers: Answers::default(),
            watchers: Arc::new(Semaphore::new(watch::WATCHERS)),
            callers: Arc::new(Semaphore::new(rpc::SOCKETS)),
            lookers: Semaphore::new(sources::LOOKERS),
            monitor: Monitor::default(),
            http: Arc::clone(http),
        }))
    }

    /// Who a plain request comes from.
    fn caller(&self, headers: &HeaderMap) -> Result<Caller, Problem> {
        self.access.caller(headers, None, &self.tickets)
    }

    /// Whether the node takes records yet, or still.
    fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Lets records be published only while the node takes them.
    fn takes_records(&self) -> Result<(), Problem> {
        match self.phase() {
            Phase::Ready => Ok(()),
            Phase::Starting => {
                Err(Problem::new(Code::Starting, "the node is starting; send again after Retry-After"))
            }
            Phase::Draining => Err(Problem::new(
                Code::Draining,
                "the node is stopping; send to another one, or again after Retry-After",
            )),
        }
    }

    /// How long the node has been up.
    fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// What the clock says.
    fn now(&self) -> Micros {
        now()
    }
}

/// What the clock says, in microseconds since the Unix epoch.
pub(crate) fn now() -> Micros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
pub(crate) mod tests;
