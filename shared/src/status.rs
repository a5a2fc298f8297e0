//! What a node says of itself: status, topics, subscribers, events.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How a component is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It does all that it should.
    Ok,
    /// It works, but somebody should look.
    Degraded,
    /// It does not work.
    Down,
    /// It is not configured, or not part of this node.
    Off,
}

/// One component's state, with its own figures beside it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Component {
    /// How it is.
    pub state: State,
    /// Why, in words; none where there is nothing to say.
    pub detail: Option<String>,
    /// Since when it is in this state, RFC 3339.
    pub since: String,
    /// Its figures, by name with the unit in the name (`records_per_s`, `lag_ms`, `bytes`).
    #[serde(flatten)]
    #[cfg_attr(feature = "openapi", schema(additional_properties))]
    pub figures: BTreeMap<String, serde_json::Value>,
}

/// How long records are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Retention {
    /// Records older than this are dropped, seconds.
    pub age_s: u64,
    /// The oldest records are dropped above this, bytes.
    pub bytes: u64,
}

/// The node itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeStatus {
    /// Its peer id.
    pub id: String,
    /// Its name in the dashboard.
    pub name: String,
    /// Its network.
    pub network: String,
    /// Its version.
    pub version: String,
    /// Seconds since it started.
    pub uptime_s: u64,
    /// Full multiaddrs to bootstrap from.
    pub addresses: Vec<String>,
    /// How long it keeps records.
    pub retention: Retention,
}

/// `GET /api/v1/status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Status {
    /// The node itself.
    pub node: NodeStatus,
    /// Its components.
    pub components: Components,
}

/// The components of a node, in the order in which data flows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[expect(missing_docs, reason = "named as in the design")]
pub struct Components {
    pub sources: Component,
    pub pipeline: Component,
    pub store: Component,
    pub gossip: Component,
    pub archive: Component,
    pub feed: Component,
}

impl Components {
    /// The components with their names, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Component)> {
        [
            ("sources", &self.sources),
            ("pipeline", &self.pipeline),
            ("store", &self.store),
            ("gossip", &self.gossip),
            ("archive", &self.archive),
            ("feed", &self.feed),
        ]
        .into_iter()
    }
}

/// A topic that the node or its archive holds records of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TopicStatus {
    /// The topic.
    pub topic: String,
    /// How many records of it are stored here.
    pub count: u64,
    /// Records a second, over about the last minute.
    pub rate: f64,
    /// When the newest record came, RFC 3339.
    pub last_record: String,
}

/// One connection that follows topics.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SubscriberStatus {
    /// A number that no other connection of this run has.
    pub id: u64,
    /// `websocket` or `sse`.
    pub kind: String,
    /// Its topic patterns.
    pub topics: Vec<String>,
    /// Since when, RFC 3339.
    pub since: String,
    /// Records sent.
    pub records: u64,
    /// Records a second, over about the last minute.
    pub rate: f64,
    /// How many arrivals it is behind.
    pub lag: u64,
    /// Bytes sent.
    pub bytes: u64,
    /// Where it comes from (with the admin right only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Its filter (with the admin right only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
}

/// How much an event matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Good to know.
    Info,
    /// Recovered, or will be.
    Warn,
    /// Somebody is needed.
    Error,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Event {
    /// A number that rises.
    pub id: u64,
    /// When, RFC 3339.
    pub time: String,
    /// How much it matters.
    pub level: Level,
    /// Which component says it.
    pub component: String,
    /// What happened, in one word or two: `started`, `store_down`, `source_up`.
    pub kind: String,
    /// The same in a sentence.
    pub detail: String,
}

/// What `GET /api/v1/watch` pushes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Watch {
    /// The whole status; at once, and whenever it changed.
    Status(Box<Status>),
    /// Events, newest first: the last ones at once, then new ones.
    Events {
        /// The events.
        events: Vec<Event>,
    },
    /// Sources: all at once, then those that changed.
    Sources {
        /// The sources that are new or changed, masked as for readers without the admin right.
        sources: Vec<crate::source::SourceView>,
        /// The names of those that are gone.
        removed: Vec<String>,
    },
    /// Peers: all at once, then those that changed.
    Peers {
        /// The peers that are new or changed, those that changed longest ago first. That a peer was seen again is no change.
        peers: Vec<crate::mesh::PeerStatus>,
        /// The ids of those that are not known any more.
        removed: Vec<String>,
    },
}
