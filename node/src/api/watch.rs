//! `GET /api/v1/watch`: status and events, pushed as they change, for dashboards.

use std::convert::Infallible;
use std::time::Duration;

use anode_shared::status::Watch;
use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code};
use axum::http::{HeaderMap, Uri};
use axum::response::sse::{Event as SseEvent, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use tokio::sync::watch;
use tokio::time::{Instant, interval_at, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::TaskTrackerToken;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::doors::{Door, Upgrade, door, only_ticket};
use super::events::Events;
use super::monitor::{PERIOD, text};
use super::problem::{Code, Problem};
use super::{App, openapi};

/// How many past events a watcher is told at first, and new ones at a time.
const EVENTS: usize = 50;
/// The most watchers: dashboards, not subscribers.
pub(super) const WATCHERS: usize = 1_000;
/// How often a silent socket is pinged.
const PING: Duration = Duration::from_secs(20);
/// A watcher has nothing to say.
const MAX_MESSAGE: usize = 4 << 10;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(watch))
}

/// Pushes the node's status and events as they change, at most once a second, as a WebSocket or Server-Sent Events.
///
/// Each message is a `Watch`: the status and the last events at once, then what changes.
#[utoipa::path(
    get, path = "/api/v1/watch", operation_id = "watch", tag = "sockets",
    params(("ticket" = Option<String>, Query, description = "From `POST /api/v1/tickets`, where no header can be set")),
    responses(openapi::Socket, (status = 200, description = "Server-Sent Events, each a `Watch`", content_type = "text/event-stream"), openapi::Read)
)]
async fn watch(
    State(app): State<App>,
    headers: HeaderMap,
    uri: Uri,
    upgrade: Upgrade,
) -> Result<Response, Problem> {
    only_ticket(&uri)?;
    let door = door(upgrade, &headers)?;
    app.visitor(&headers, &uri)?;
    let Ok(place) = app.watchers.clone().try_acquire_owned() else {
        return Err(Problem::new(
            Code::Overloaded,
            format!("the node has {WATCHERS} watchers already; close some"),
        ));
    };
    let watcher = Watcher::new(&app, place);
    Ok(match door {
        Door::Socket(socket) => socket
            .read_buffer_size(MAX_MESSAGE)
            .write_buffer_size(0)
            .max_message_size(MAX_MESSAGE)
            .max_frame_size(MAX_MESSAGE)
            .on_upgrade(move |socket| run(socket, watcher)),
        Door::Events => sse(watcher),
    })
}

/// One who watches: what it was told last, and when.
struct Watcher {
    /// Said at once: the status of the moment.
    first: Option<Utf8Bytes>,
    status: watch::Receiver<Utf8Bytes>,
    events: Events,
    changed: watch::Receiver<u64>,
    /// The newest event that it was told.
    told: u64,
    /// When events and status may be told again.
    due: [Instant; 2],
    ends: CancellationToken,
    /// Holds the node's shutdown up until the watcher was told of it.
    _running: TaskTrackerToken,
    _place: tokio::sync::OwnedSemaphorePermit,
}

impl Watcher {
    fn new(app: &App, place: tokio::sync::OwnedSemaphorePermit) -> Self {
        let (first, status) = app.watch_status();
        let mut changed = app.events.newest();
        // Also what there is already is to be told.
        changed.mark_changed();
        Self {
            first: Some(first),
            status,
            events: app.events.clone(),
            changed,
            told: 0,
            due: [Instant::now(); 2],
            ends: app.cancel.clone(),
            _running: app.tracker.token(),
            _place: place,
        }
    }

    /// The next message with its type; none once the node stops. Messages of one type are at least a second apart.
    async fn next(&mut self) -> Option<(&'static str, Utf8Bytes)> {
        if let Some(first) = self.first.take() {
            self.due[0] = Instant::now() + PERIOD;
            return Some(("status", first));
        }
        tokio::select! {
            // The end goes before what there is still to say.
            biased;
            () = self.ends.cancelled() => None,
            Some(status) = due(&mut self.status, self.due[0]) => {
                self.due[0] = Instant::now() + PERIOD;
                Some(("status", status))
            }
            Some(_) = due(&mut self.changed, self.due[1]) => {
                self.due[1] = Instant::now() + PERIOD;
                let events = self.events.after(self.told, EVENTS);
                self.told = events.first().map_or(self.told, |event| event.id);
                Some(("events", text(&Watch::Events { events })))
            }
            else => None,
        }
    }
}

/// What a channel holds once it changed and it is time. Where it is dropped before, the change is still there.
async fn due<T: Clone>(channel: &mut watch::Receiver<T>, time: Instant) -> Option<T> {
    sleep_until(time).await;
    channel.changed().await.ok()?;
    Some(channel.borrow_and_update().clone())
}

async fn run(mut socket: WebSocket, mut watcher: Watcher) {
    let mut pings = interval_at(Instant::now() + PING, PING);
    loop {
        let sent = tokio::select! {
            message = watcher.next() => match message {
                Some((_, message)) => socket.send(Message::Text(message)).await,
                None => {
                    let _ = socket.send(Message::Close(Some(CloseFrame { code: close_code::AWAY, reason: "the node is stopping".into() }))).await;
                    return;
                }
            },
            received = socket.recv() => match received {
                // What a watcher says is passed over; that it is there is enough.
                Some(Ok(Message::Text(_) | Message::Binary(_) | Message::Ping(_) | Message::Pong(_))) => Ok(()),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
            },
            _ = pings.tick() => socket.send(Message::Ping("".into())).await,
        };
        if sent.is_err() {
            return;
        }
    }
}

fn sse(watcher: Watcher) -> Response {
    let messages = stream::unfold(watcher, async |mut watcher| {
        let (kind, message) = watcher.next().await?;
        Some((Ok::<_, Infallible>(SseEvent::default().event(kind).data(message.as_str())), watcher))
    });
    Sse::new(messages).keep_alive(KeepAlive::new().interval(PING)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Phase;
    use crate::api::tests::app;
    use anode_shared::status::Level;
    use serde_json::Value;

    fn json(message: Option<(&'static str, Utf8Bytes)>) -> (&'static str, Value) {
        let (kind, text) = message.unwrap();
        (kind, serde_json::from_str(&text).unwrap())
    }

    #[tokio::test]
    async fn it_tells_all_at_once_and_then_what_changes() {
        let app = app(false, Phase::Ready);
        let mut watcher = Watcher::new(&app, app.watchers.clone().try_acquire_owned().unwrap());
        let (kind, status) = json(watcher.next().await);
        assert_eq!(
            (kind, &status["type"], &status["node"]["name"]),
            ("status", &"status".into(), &"tested".into())
        );
        let (kind, events) = json(watcher.next().await);
        assert_eq!((kind, &events["events"][0]["kind"]), ("events", &"started".into()));
        let told = Instant::now();
        for kind in ["one", "two"] {
            app.events.push(Level::Warn, "store", kind, "words");
        }
        let (kind, events) = json(watcher.next().await);
        let kinds: Vec<&str> =
            events["events"].as_array().unwrap().iter().filter_map(|event| event["kind"].as_str()).collect();
        assert_eq!((kind, kinds), ("events", vec!["two", "one"]));
        assert!(told.elapsed() > PERIOD.mul_f64(0.9), "{:?}", told.elapsed());
        app.cancel.cancel();
        assert!(watcher.next().await.is_none());
    }
}
