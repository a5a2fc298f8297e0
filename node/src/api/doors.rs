//! The doors to the feed: `/feed` and `/publish`. Who may pass is decided here, the rest is the feed's.

use std::net::SocketAddr;

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{ConnectInfo, FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri, header};
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Caller;
use super::problem::{Code, Problem};
use super::query::Query;
use super::{App, openapi};
use crate::feed::start::check_ack;
use crate::feed::{FeedRequest, PublishRequest, Publisher, Rights};

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
async fn feed(State(app): State<App>, visit: Visit) -> Result<Response, Problem> {
    let request = FeedRequest::parse(&visit.uri)?;
    let address = visit.address;
    let (door, caller) = visit.enter(&app)?;
    Ok(match door {
        Door::Socket(socket) => app.feed.upgrade(socket, request, caller.into(), address)?,
        Door::Events(headers) => app.feed.sse(request, &headers, address)?,
    })
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
async fn publish(State(app): State<App>, visit: Visit) -> Result<Response, Problem> {
    let request = PublishRequest::parse(&visit.uri)?;
    check_ack(request.ack, &app.store)?;
    let (door, caller) = visit.enter(&app)?;
    let Door::Socket(socket) = door else { return Err(upgrade_needed()) };
    let publisher = caller.publisher()?.map(str::to_owned);
    Ok(app.feed.publish_socket(socket, request, Publisher(publisher))?)
}

/// A request for a stream: what it asks for, where it comes from, and how it may go out.
pub(super) struct Visit {
    pub(super) uri: Uri,
    headers: HeaderMap,
    pub(super) address: SocketAddr,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
}

impl FromRequestParts<App> for Visit {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let upgrade = WebSocketUpgrade::from_request_parts(parts, app).await;
        let address = ConnectInfo::<SocketAddr>::from_request_parts(parts, app).await;
        let ConnectInfo(address) = address.map_err(|error| Problem::internal(&error))?;
        Ok(Self { uri: parts.uri.clone(), headers: parts.headers.clone(), address, upgrade })
    }
}

/// How a stream goes out.
pub(super) enum Door {
    /// As a WebSocket.
    Socket(WebSocketUpgrade),
    /// As Server-Sent Events; the request's headers may say where they go on.
    Events(HeaderMap),
}

impl Visit {
    /// Decides how the stream goes out, and who it goes to: a ticket may stand for a token.
    pub(super) fn enter(self, app: &App) -> Result<(Door, Caller), Problem> {
        let Self { uri, headers, upgrade, .. } = self;
        let socket = match upgrade {
            Ok(socket) => Some(socket),
            Err(_) if wants_events(&headers) => None,
            Err(error)
                if headers.contains_key(header::SEC_WEBSOCKET_KEY)
                    || headers.contains_key(header::UPGRADE) =>
            {
                let words = format!("the WebSocket handshake is malformed: {}", error.body_text());
                return Err(Problem::bad_request(words));
            }
            Err(_) => return Err(upgrade_needed()),
        };
        let caller = app.access.caller(&headers, ticket(&uri).as_deref(), &app.tickets)?;
        Ok((socket.map_or(Door::Events(headers), Door::Socket), caller))
    }
}

impl From<Caller> for Rights {
    fn from(caller: Caller) -> Self {
        let publish = caller.publisher().map(|name| Publisher(name.map(str::to_owned)));
        Self { publish: publish.map_err(Into::into) }
    }
}

/// The ticket of a query. Tickets hold nothing that is ever percent-encoded.
fn ticket(uri: &Uri) -> Option<String> {
    let mut pairs = uri.query()?.split('&');
    pairs.find_map(|pair| pair.strip_prefix("ticket=")).map(str::to_owned)
}

fn wants_events(headers: &HeaderMap) -> bool {
    let accepts = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepts.flat_map(|value| value.split(',')).any(|kind| kind.trim().starts_with("text/event-stream"))
}

/// Says that a route is a WebSocket.
pub(super) fn upgrade_needed() -> Problem {
    Problem::new(
        Code::UpgradeRequired,
        "this route is a WebSocket; open it as one (ws://…), or where it only sends, ask with Accept: text/event-stream",
    )
}

/// Reads the query of a stream that takes nothing but a ticket.
pub(super) fn only_ticket(uri: &Uri) -> Result<(), Problem> {
    Query::parse(uri.query(), &["ticket"]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn it_tells_who_may_not_publish_why() {
        for (caller, expected) in [
            (Caller::Admin, Ok(Publisher(Some("admin".to_owned())))),
            (Caller::Anyone, Ok(Publisher(None))),
            (Caller::Stranger, Err((Code::Forbidden, "--allow-origin"))),
            (Caller::Reader, Err((Code::Unauthorized, "--open-publish"))),
        ] {
            match (Rights::from(caller).publish, expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected),
                (Err(fault), Err((code, words))) => {
                    assert!(fault.code == code && fault.detail.contains(words), "{fault}");
                }
                (found, expected) => panic!("{found:?} is not {expected:?}"),
            }
        }
    }
}
