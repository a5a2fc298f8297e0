//! The doors to the feed: `/feed` and `/publish`. Who may pass is decided here, the rest is the feed's.

use std::net::SocketAddr;

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, Uri, header};
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Caller;
use super::problem::{Code, Problem};
use super::query::Query;
use super::{App, openapi};
use crate::feed::start::check_ack;
use crate::feed::{self, FeedRequest, PublishRequest, Publisher, Rights};

/// The upgrade of a request, or why it is none.
pub(super) type Upgrade = Result<WebSocketUpgrade, WebSocketUpgradeRejection>;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(feed)).routes(routes!(publish))
}

/// Streams records: a WebSocket of one JSON object a text frame (`FeedFrame`), or Server-Sent Events.
///
/// The client may send `subscribe` and `publish` frames (`ClientFrame`).
#[utoipa::path(
    get, path = "/feed", operation_id = "feed", tag = "sockets", security((), ("token" = [])),
    params(
        ("topic" = Option<Vec<String>>, Query, description = "Topic patterns; all topics without it"),
        ("filter" = Option<String>, Query, description = "A CEL expression over topic, source, publisher, time and payload"),
        ("start" = Option<String>, Query, description = "`live` (the default), `earliest`, `last:N`, `latest`, an RFC 3339 time, or `after:<cursor>`"),
        ("format" = Option<String>, Query, description = "`json` (the default) or `cbor`"),
        ("ticket" = Option<String>, Query, description = "From `POST /api/v1/tickets`, where no header can be set"),
        ("Last-Event-ID" = Option<String>, Header, description = "The cursor to resume from (Server-Sent Events)"),
    ),
    responses(openapi::Socket, (status = 200, description = "Server-Sent Events, each a `FeedFrame`", content_type = "text/event-stream"), openapi::Read)
)]
async fn feed(
    State(app): State<App>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    uri: Uri,
    upgrade: Upgrade,
) -> Result<Response, Problem> {
    let request = FeedRequest::parse(&uri)?;
    match door(upgrade, &headers)? {
        Door::Socket(socket) => {
            let rights = Rights::from(app.visitor(&headers, &uri)?);
            Ok(app.feed.upgrade(socket, request, rights, address)?)
        }
        Door::Events => {
            app.visitor(&headers, &uri)?;
            Ok(app.feed.sse(request, &headers, address)?)
        }
    }
}

/// Takes each frame as a payload, and answers each in order (`Frame`): `published` or `error`, with its number.
#[utoipa::path(
    get, path = "/publish", operation_id = "publish_socket", tag = "sockets", security((), ("token" = [])),
    params(
        ("topic" = String, Query, description = "The topic of every frame"),
        ("ack" = Option<anode_shared::publish::Ack>, Query, description = "Which promise the answers give; `durable` without it"),
        ("content_type" = Option<String>, Query, description = "What binary frames hold"),
        ("ticket" = Option<String>, Query, description = "From `POST /api/v1/tickets`, where no header can be set"),
    ),
    responses(openapi::Socket, openapi::Read, openapi::Token, openapi::Publish)
)]
async fn publish(
    State(app): State<App>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    uri: Uri,
    upgrade: Upgrade,
) -> Result<Response, Problem> {
    let request = PublishRequest::parse(&uri)?;
    check_ack(request.ack)?;
    match door(upgrade, &headers)? {
        Door::Socket(socket) => {
            let publisher = app.visitor(&headers, &uri)?.publisher()?;
            Ok(app.feed.publish_socket(socket, request, Publisher(publisher.map(str::to_owned)), address)?)
        }
        Door::Events => Err(upgrade_needed()),
    }
}

impl App {
    /// Who a request to a socket comes from: it may show a ticket instead of a token.
    pub(super) fn visitor(&self, headers: &HeaderMap, uri: &Uri) -> Result<Caller, Problem> {
        let ticket = ticket(uri);
        self.access.caller(headers, ticket.as_deref(), &self.tickets)
    }
}

impl From<Caller> for Rights {
    fn from(caller: Caller) -> Self {
        let publish = caller.publisher().ok().map(|name| Publisher(name.map(str::to_owned)));
        Self { publish, admin: caller.is_admin() }
    }
}

/// The ticket of a query. Tickets hold nothing that is ever percent-encoded.
fn ticket(uri: &Uri) -> Option<String> {
    let mut pairs = uri.query()?.split('&');
    pairs.find_map(|pair| pair.strip_prefix("ticket=")).map(str::to_owned)
}

/// How a stream goes out.
pub(super) enum Door {
    /// As a WebSocket.
    Socket(WebSocketUpgrade),
    /// As Server-Sent Events.
    Events,
}

/// Decides how a stream goes out.
pub(super) fn door(upgrade: Upgrade, headers: &HeaderMap) -> Result<Door, Problem> {
    match upgrade {
        Ok(socket) => Ok(Door::Socket(socket)),
        Err(_) if wants_events(headers) => Ok(Door::Events),
        Err(error)
            if headers.contains_key(header::SEC_WEBSOCKET_KEY) || headers.contains_key(header::UPGRADE) =>
        {
            Err(Problem::bad_request(format!("the WebSocket handshake is malformed: {}", error.body_text())))
        }
        Err(_) => Err(upgrade_needed()),
    }
}

fn wants_events(headers: &HeaderMap) -> bool {
    let accepts = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepts.flat_map(|value| value.split(',')).any(|kind| kind.trim().starts_with("text/event-stream"))
}

fn upgrade_needed() -> Problem {
    Problem::new(
        Code::UpgradeRequired,
        "this route is a WebSocket; open it as one (ws://…), or where it only sends, ask with Accept: text/event-stream",
    )
}

/// Reads the query of a stream that takes nothing but a ticket.
pub(super) fn only_ticket(uri: &Uri) -> Result<(), Problem> {
    Query::parse(uri.query(), &["ticket"]).map(drop)
}

impl From<feed::Fault> for Problem {
    fn from(fault: feed::Fault) -> Self {
        Self::new(fault.code.into(), fault.detail)
    }
}

impl From<feed::Code> for Code {
    fn from(code: feed::Code) -> Self {
        match code {
            feed::Code::BadRequest => Self::BadRequest,
            feed::Code::BadTopic => Self::BadTopic,
            feed::Code::BadFilter => Self::BadFilter,
            feed::Code::BadStart => Self::BadStart,
            feed::Code::BadCursor => Self::BadCursor,
            feed::Code::BadRecord => Self::BadRecord,
            feed::Code::TooBig => Self::TooBig,
            feed::Code::Unauthorized => Self::Unauthorized,
            feed::Code::Forbidden => Self::Forbidden,
            feed::Code::Overloaded => Self::Overloaded,
            feed::Code::Draining => Self::Draining,
            feed::Code::StorageFull => Self::StorageFull,
            feed::Code::StorageFailed => Self::StorageFailed,
            feed::Code::NoPeers => Self::NoPeers,
            feed::Code::NoArchive => Self::NoArchive,
            feed::Code::NotFound => Self::NotFound,
            feed::Code::Gone => Self::Gone,
            feed::Code::Conflict => Self::Conflict,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_the_same_as_the_feed() {
        for code in [
            feed::Code::BadStart,
            feed::Code::TooBig,
            feed::Code::StorageFull,
            feed::Code::NoPeers,
            feed::Code::Gone,
        ] {
            let ours = Code::from(code);
            assert_eq!(serde_json::to_value(ours).unwrap(), code.as_str());
            assert_eq!(ours.status().as_u16(), code.status());
        }
    }

    #[test]
    fn it_finds_tickets() {
        for (uri, expected) in [
            ("/feed", None),
            ("/feed?topic=a&ticket=t_-1", Some("t_-1")),
            ("/feed?tickets=x", None),
            ("/feed?ticket=", Some("")),
        ] {
            assert_eq!(ticket(&uri.parse().unwrap()).as_deref(), expected, "{uri}");
        }
    }
}
