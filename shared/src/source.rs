//! Sources: how they are defined, how they are, and what testing one shows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

mod check;
mod mask;
pub mod secret;

pub use check::{FIELDS, FieldError, LIMITS, Limits, is_name, text_of};
pub use mask::{MASK, masked_url};

/// How a source is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum SourceKind {
    /// An HTTP resource, asked again and again.
    Rest,
    /// A WebSocket, each message an answer.
    Websocket,
    /// A stream of Server-Sent Events, each event an answer.
    Sse,
}

impl SourceKind {
    /// The kind's word, as in a definition.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rest => "rest",
            Self::Websocket => "websocket",
            Self::Sse => "sse",
        }
    }
}

/// The definition of a source: what is registered, kept, and shown. Which fields go with which kind, and what they
/// may hold, [`SourceDefinition::check`] says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SourceDefinition {
    /// Its name on this node: `a-z 0-9 _ -`, 1 to 64.
    pub name: String,
    /// How it is read.
    pub kind: SourceKind,
    /// Where: `http(s)://` for `rest` and `sse`, `ws(s)://` for `websocket`. May hold `${secret:NAME}`.
    pub url: String,
    /// The topic of its records; `${…}` is a CEL expression over each element, called `payload`.
    pub topic: String,
    /// A CEL expression over the decoded answer, called `payload`: a list makes a record of each element, `null` and
    /// `[]` none, anything else one. Without it the answer itself is the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emit: Option<String>,
    /// Whether a record whose payload is the same as the last one of its topic is left out.
    #[serde(default)]
    pub only_changes: bool,
    /// Whether it is registered without being read.
    #[serde(default)]
    pub paused: bool,
    /// Request headers. Values may hold `${secret:NAME}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Milliseconds from one poll to the next (`rest`; 1000).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval_ms: Option<u64>,
    /// `GET` or `POST` (`rest`; `GET`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The request's body: a string as it is, anything else as JSON (`rest`). May hold `${secret:NAME}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
    /// Milliseconds that one poll may take (`rest`), or connecting (`websocket`, `sse`; 5000).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Frames sent once the socket is open: a string as it is, anything else as JSON (`websocket`). May hold `${secret:NAME}`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub open: Vec<Value>,
    /// A frame that is sent again and again, for upstreams with pings of their own (`websocket`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ping: Option<Ping>,
    /// Milliseconds without data after which the source is `stale` and is connected anew (`websocket`, `sse`; 60000). For
    /// `rest` it is `stale` after this time without a good answer (three intervals, at least 10000).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stale_after_ms: Option<u64>,
    /// Milliseconds after which a connection is replaced, for upstreams that close old ones without a word (`websocket`, `sse`; none).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reconnect_after_ms: Option<u64>,
}

impl SourceDefinition {
    /// A definition that says nothing but this.
    pub fn blank(name: &str, url: &str, kind: SourceKind) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            url: url.to_owned(),
            topic: String::new(),
            emit: None,
            only_changes: false,
            paused: false,
            headers: BTreeMap::new(),
            interval_ms: None,
            method: None,
            body: None,
            timeout_ms: None,
            open: Vec::new(),
            ping: None,
            stale_after_ms: None,
            reconnect_after_ms: None,
        }
    }
}

/// A frame that is sent again and again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Ping {
    /// Milliseconds from one to the next.
    pub every_ms: u64,
    /// A string as it is, anything else as JSON.
    pub frame: Value,
}

/// What a source is doing. It comes from the last data, not from an open socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum SourceState {
    /// It waits for its first data, after a start or a reconnect.
    Connecting,
    /// Data came within the time that its definition allows.
    Live,
    /// No data for longer than that.
    Stale,
    /// The last attempt failed; the next one waits.
    BackingOff,
    /// The upstream answered 401 or 403.
    AuthFailed,
    /// The definition cannot run as it stands.
    Invalid,
    /// It is not read.
    Paused,
}

impl SourceState {
    /// The state as the API and addresses write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Live => "live",
            Self::Stale => "stale",
            Self::BackingOff => "backing_off",
            Self::AuthFailed => "auth_failed",
            Self::Invalid => "invalid",
            Self::Paused => "paused",
        }
    }
}

/// How a source is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SourceStatus {
    /// What it is doing.
    pub state: SourceState,
    /// Since when, RFC 3339.
    pub since: String,
    /// Why, in words; none where there is nothing to say.
    pub reason: Option<String>,
    /// The last error, also where it is over.
    pub last_error: Option<SourceError>,
    /// When it is asked or connected next, RFC 3339.
    pub next_attempt: Option<String>,
    /// When its last record was made, RFC 3339.
    pub last_record: Option<String>,
    /// The beginning of that record's payload, at most 200 bytes of text.
    pub last_value: Option<String>,
    /// Records made since the node started.
    pub records: u64,
    /// Records a second, over about the last minute.
    pub records_per_s: f64,
    /// Bytes received since the node started, after decompression.
    pub bytes: u64,
    /// Errors since the node started.
    pub errors: u64,
    /// Polls: from asking to the whole answer. Sockets: from connecting to the first data.
    pub latency_ms: Latency,
    /// The last moments, oldest first, at most 60.
    pub beats: Vec<Beat>,
}

/// How long something took, milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Latency {
    /// The median.
    pub p50: Option<f64>,
    /// 99 of 100 were faster.
    pub p99: Option<f64>,
}

/// One moment of a source: a poll, or as much time of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Beat {
    /// Data came.
    Data,
    /// Nothing was to be expected, or nothing new (304).
    Quiet,
    /// Something failed.
    Error,
}

/// An error of a source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SourceError {
    /// Where it went wrong.
    pub stage: Stage,
    /// What went wrong, and what to change where that is known. Never holds a secret.
    pub detail: String,
    /// When, RFC 3339.
    pub time: String,
    /// The definition's field that is to blame, where one is: `url`, `emit`, `headers`, ….
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

/// Where reading a source went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The definition itself: a field, or a secret that is missing.
    Definition,
    /// The guard refused the address.
    Guard,
    /// The name could not be resolved.
    Dns,
    /// No connection, or it broke.
    Connect,
    /// TLS: the certificate, mostly.
    Tls,
    /// Sending the request, or the WebSocket's handshake.
    Request,
    /// The HTTP status.
    Status,
    /// The body or a message: too long, too slow, cut off.
    Body,
    /// The answer could not be decoded.
    Decode,
    /// `emit` or `topic` could not be evaluated.
    Expression,
    /// The store did not take the records.
    Store,
}

/// A source as the API shows it: its definition, masked for whoever may not see it, and how it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SourceView {
    /// Its definition.
    #[serde(flatten)]
    pub definition: SourceDefinition,
    /// How it is.
    pub status: SourceStatus,
    /// Whose it is, where it was asked for with `?node=`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<SourceNode>,
}

/// The node that reads a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SourceNode {
    /// Its peer id.
    pub id: String,
    /// Its name in dashboards.
    pub name: String,
}

/// A node whose sources could not be asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Unreachable {
    /// Its peer id.
    pub id: String,
    /// Its name in dashboards.
    pub name: String,
    /// Why, in words.
    pub detail: String,
}

/// `GET /api/v1/sources`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SourceList {
    /// The sources, by name; of several nodes by their ids first.
    pub sources: Vec<SourceView>,
    /// Goes back as `page`; none where this is the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// The nodes that were asked and gave no answer, by id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreachable: Vec<Unreachable>,
}

/// What testing a source showed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SourceTest {
    /// Whether it would be live.
    pub ok: bool,
    /// How long each phase took.
    pub phases: Phases,
    /// The address that was dialled, `ip:port`.
    pub address: Option<String>,
    /// The upstream's HTTP status.
    pub http_status: Option<u16>,
    /// The upstream's headers.
    pub headers: BTreeMap<String, String>,
    /// What came, raw: one answer of `rest`, up to 20 messages of the others.
    pub answers: Vec<Answer>,
    /// The records that it would make, at most 100.
    pub records: Vec<TestRecord>,
    /// What went wrong, and where; records may be there all the same.
    pub error: Option<SourceError>,
}

/// How long the phases of a test took, milliseconds; none where a phase was not reached or not needed.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[expect(missing_docs, reason = "named as what they measure")]
pub struct Phases {
    pub dns_ms: Option<f64>,
    pub connect_ms: Option<f64>,
    pub tls_ms: Option<f64>,
    pub first_byte_ms: Option<f64>,
    pub total_ms: f64,
}

/// One raw answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Answer {
    /// Its text, at most 64 KiB of it; none where it is not text.
    pub text: Option<String>,
    /// Its bytes, where it is not text; at most 64 KiB of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
    /// Its whole length, bytes.
    pub bytes: u64,
    /// The SSE event's name, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
}

/// A record that a source would make.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TestRecord {
    /// Its topic.
    pub topic: String,
    /// Its payload, where it is JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Value>,
    /// Its payload's bytes as base64, where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload_base64: Option<String>,
    /// What the payload is, where it is not JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
}
