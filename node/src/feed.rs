//! Delivery to subscribers, and publishing over sockets.
//!
//! A subscriber is a position in the store, not a queue.

use std::net::SocketAddr;

use anode_shared::status::{Component, State, SubscriberStatus};
use axum::extract::ws::WebSocketUpgrade;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;

pub mod fault;

pub use fault::{Code, Fault};

/// The query of `/feed`.
#[derive(Debug, Clone)]
pub struct FeedRequest(());

/// The query of `/publish`.
#[derive(Debug, Clone)]
pub struct PublishRequest(());

impl FeedRequest {
    /// Reads the query of a request.
    ///
    /// # Errors
    /// With what to change.
    pub fn parse(_uri: &Uri) -> Result<Self, Fault> {
        Ok(Self(()))
    }
}

impl PublishRequest {
    /// Reads the query of a request.
    ///
    /// # Errors
    /// With what to change.
    pub fn parse(_uri: &Uri) -> Result<Self, Fault> {
        Ok(Self(()))
    }
}

/// Who publishes: the token's name or the wallet's address that stands in the records, or nobody's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Publisher(pub Option<String>);

/// What the one behind a connection may do. The api decides it, the feed holds to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rights {
    /// Whether, and as whom, records may be published.
    pub publish: Option<Publisher>,
    /// Whether everything may be done.
    pub admin: bool,
}

/// The feed of a node: all its subscribers and publishing sockets. A clone is a handle on the same.
#[derive(Debug, Clone)]
pub struct Feed;

impl Feed {
    /// Answers `GET /feed` with a WebSocket.
    ///
    /// # Errors
    /// When there are too many connections, or the node is ending.
    pub fn upgrade(
        &self,
        _ws: WebSocketUpgrade,
        _request: FeedRequest,
        _rights: Rights,
        _address: SocketAddr,
    ) -> Result<Response, Fault> {
        Err(Fault::new(Code::Draining, "the feed is not there yet"))
    }

    /// Answers `GET /feed` with Server-Sent Events; `headers` may hold `Last-Event-ID`.
    ///
    /// # Errors
    /// When there are too many connections, or the node is ending, or `Last-Event-ID` is no cursor.
    pub fn sse(
        &self,
        _request: FeedRequest,
        _headers: &HeaderMap,
        _address: SocketAddr,
    ) -> Result<Response, Fault> {
        Err(Fault::new(Code::Draining, "the feed is not there yet"))
    }

    /// Answers `GET /publish` with a WebSocket.
    ///
    /// # Errors
    /// When there are too many connections, the node is ending, or the promise cannot be kept.
    pub fn publish_socket(
        &self,
        _ws: WebSocketUpgrade,
        _request: PublishRequest,
        _publisher: Publisher,
        _address: SocketAddr,
    ) -> Result<Response, Fault> {
        Err(Fault::new(Code::Draining, "the feed is not there yet"))
    }

    /// Who is connected; addresses and filters only for `admin`.
    pub fn subscribers(&self, _admin: bool) -> Vec<SubscriberStatus> {
        Vec::new()
    }

    /// How the feed is, for `status`.
    pub fn component(&self) -> Component {
        Component {
            state: State::Ok,
            detail: None,
            since: anode_shared::time::to_rfc3339(0),
            figures: std::collections::BTreeMap::new(),
        }
    }
}
