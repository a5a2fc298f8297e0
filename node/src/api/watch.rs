//! `GET /api/v1/watch`: status, events, sources and peers, pushed as they change, for dashboards.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use anode_shared::status::Watch;
use axum::extract::State;
use axum::extract::ws::{Utf8Bytes, WebSocket};
use axum::response::sse::{Event as SseEvent, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::TaskTrackerToken;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::doors::{Door, Visit, only_ticket};
use super::events::Events;
use super::monitor::{PERIOD, text};
use super::problem::{Code, Problem};
use super::{App, openapi};
use crate::feed::outlet::STALL;
use crate::feed::registry::Ended;
use crate::feed::socket::{Socket, for_watch};
use crate::feed::start::Format;
use crate::gossip::Gossip;
use crate::source::Sources;

/// How many past events a watcher is told at first, and new ones at a time.
const EVENTS: usize = 50;
/// How many sources one message tells of: about 100 KiB.
const SOURCES: usize = 100;
/// How many peers one message tells of: about 150 KiB.
const PEERS: usize = 100;
/// How many peers a watcher is told of in a second, once it knows all: those of a large mesh change faster than anybody looks.
const PEERS_A_LOOK: usize = 200;
/// The most watchers: dashboards, not subscribers.
pub(super) const WATCHERS: usize = 1_000;
/// How often a silent stream of events is kept alive.
const PING: Duration = Duration::from_secs(20);

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(watch))
}

/// Pushes the node's status, events, sources and peers as they change, at most once a second, as a WebSocket or Server-Sent
/// Events.
///
/// Each message is a `Watch`: the status, the last events, all sources and all peers at once, then what changes. Sources and
/// peers come in parts of 100, by name and id: the first messages of a connection replace nothing, and what they do not name is
/// not there. What happens in the mesh (`peer_joined`, `peer_suspect`, `peer_alive`, `peer_back`, `peer_dead`, `peer_left`,
/// `peer_refused`, `log_forked`, `records_repaired`, `identity_twice`) comes as `events` of the component `gossip`.
#[utoipa::path(
    get, path = "/api/v1/watch", operation_id = "watch", tag = "sockets",
    params(("ticket" = Option<String>, Query, description = "From `POST /api/v1/tickets`, where no header can be set")),
    responses(openapi::Socket, (status = 200, description = "Server-Sent Events, each a `Watch`", content_type = "text/event-stream"), openapi::Read)
)]
async fn watch(State(app): State<App>, visit: Visit) -> Result<Response, Problem> {
    only_ticket(&visit.uri)?;
    let (door, _) = visit.enter(&app)?;
    let Ok(place) = app.watchers.clone().try_acquire_owned() else {
        return Err(Problem::new(
            Code::Overloaded,
            format!("the node has {WATCHERS} watchers already; close some"),
        ));
    };
    let watcher = Watcher::new(&app, place);
    Ok(match door {
        Door::Socket(socket) => for_watch(socket).on_upgrade(move |socket| run(socket, watcher)),
        Door::Events(_) => sse(watcher),
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
    sources: News,
    peers: News,
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
            sources: News::of_sources(app.sources.clone()),
            peers: News::of_peers(app.gossip.clone()),
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
            message = self.sources.next() => Some(("sources", message)),
            message = self.peers.next() => Some(("peers", message)),
            else => None,
        }
    }
}

/// What changed since the last look; the first tells all there is, be that nothing.
type Look = Box<dyn FnMut(bool) -> VecDeque<Utf8Bytes> + Send + Sync>;

/// What a watcher has still to be told of one kind of things, of which there may be many.
struct News {
    look: Look,
    /// Messages that were made together and not sent yet.
    messages: VecDeque<Utf8Bytes>,
    due: Instant,
    first: bool,
}

impl News {
    fn new(look: Look) -> Self {
        Self { look, messages: VecDeque::new(), due: Instant::now(), first: true }
    }

    fn of_sources(sources: Sources) -> Self {
        let mut told = 0;
        Self::new(Box::new(move |first| {
            let changes = sources.changes(told);
            told = changes.version;
            let message = |sources, removed| Watch::Sources { sources, removed };
            in_parts(first, SOURCES, changes.sources, changes.removed, message)
        }))
    }

    fn of_peers(gossip: Gossip) -> Self {
        let mut told = 0;
        Self::new(Box::new(move |first| {
            let changes = gossip.peer_changes(told, if first { usize::MAX } else { PEERS_A_LOOK });
            told = changes.version;
            let message = |peers, removed| Watch::Peers { peers, removed };
            in_parts(first, PEERS, changes.peers, changes.removed, message)
        }))
    }

    /// The next message, at most one look a second. May be dropped at any time.
    async fn next(&mut self) -> Utf8Bytes {
        loop {
            if let Some(message) = self.messages.pop_front() {
                return message;
            }
            sleep_until(self.due).await;
            self.due = Instant::now() + PERIOD;
            self.messages = (self.look)(std::mem::take(&mut self.first));
        }
    }
}

/// Changes as messages, each of a size that a browser takes in one go; none where there are none but must not be.
fn in_parts<T>(
    even_none: bool,
    most: usize,
    changed: Vec<T>,
    mut removed: Vec<String>,
    message: impl Fn(Vec<T>, Vec<String>) -> Watch,
) -> VecDeque<Utf8Bytes> {
    let mut messages = VecDeque::new();
    let mut changed = changed.into_iter().peekable();
    let mut go_on = even_none || changed.peek().is_some() || !removed.is_empty();
    while go_on {
        let part = changed.by_ref().take(most).collect();
        messages.push_back(text(&message(part, std::mem::take(&mut removed))));
        go_on = changed.peek().is_some();
    }
    messages
}

/// What a channel holds once it changed and it is time. Where it is dropped before, the change is still there.
async fn due<T: Clone>(channel: &mut watch::Receiver<T>, time: Instant) -> Option<T> {
    sleep_until(time).await;
    channel.changed().await.ok()?;
    Some(channel.borrow_and_update().clone())
}

async fn run(socket: WebSocket, mut watcher: Watcher) {
    let mut socket = Socket::new(socket, Format::Json, STALL);
    let ended = loop {
        let turn = tokio::select! {
            message = watcher.next() => match message {
                Some((_, message)) => socket.say(message).await,
                None => Err(Ended::Shutdown),
            },
            // What a watcher says is passed over; that it is there is enough.
            said = socket.receive() => said.map(drop),
        };
        if let Err(ended) = turn {
            break ended;
        }
    };
    socket.close(ended, None).await;
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
    use serde_json::{Value, json};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    fn read(message: Option<(&'static str, Utf8Bytes)>) -> (&'static str, Value) {
        let (kind, text) = message.unwrap();
        (kind, serde_json::from_str(&text).unwrap())
    }

    #[tokio::test]
    async fn it_tells_all_at_once_and_then_what_changes() {
        let app = app(false, Phase::Ready);
        let mut watcher = Watcher::new(&app, app.watchers.clone().try_acquire_owned().unwrap());
        let (kind, status) = read(watcher.next().await);
        assert_eq!(
            (kind, &status["type"], &status["node"]["name"]),
            ("status", &"status".into(), &"tested".into())
        );
        let (kind, events) = read(watcher.next().await);
        assert_eq!((kind, &events["events"][0]["kind"]), ("events", &"started".into()));
        let (kind, sources) = read(watcher.next().await);
        assert_eq!((kind, &sources["sources"], &sources["removed"]), ("sources", &json!([]), &json!([])));
        let (kind, peers) = read(watcher.next().await);
        assert_eq!((kind, peers), ("peers", json!({ "type": "peers", "peers": [], "removed": [] })));
        let told = Instant::now();
        for kind in ["one", "two"] {
            app.events.push(Level::Warn, "store", kind, "words");
        }
        let (kind, events) = read(watcher.next().await);
        let kinds: Vec<&str> =
            events["events"].as_array().unwrap().iter().filter_map(|event| event["kind"].as_str()).collect();
        assert_eq!((kind, kinds), ("events", vec!["two", "one"]));
        assert!(told.elapsed() > PERIOD.mul_f64(0.9), "{:?}", told.elapsed());
        app.cancel.cancel();
        assert!(watcher.next().await.is_none());
    }

    #[test]
    fn it_tells_in_parts() {
        let check = |even_none: bool, changed: usize, removed: &[&str], parts: &[(usize, usize)]| {
            let removed = removed.iter().map(ToString::to_string).collect();
            let message = |part: Vec<usize>, removed| Watch::Sources {
                sources: Vec::new(),
                removed: part.iter().map(|_| "x".to_owned()).chain(removed).collect(),
            };
            let messages = in_parts(even_none, 10, (0..changed).collect(), removed, message);
            let told: Vec<usize> = messages
                .iter()
                .map(|text| serde_json::from_str::<Value>(text).unwrap()["removed"].as_array().unwrap().len())
                .collect();
            let expected: Vec<usize> = parts.iter().map(|(changed, removed)| changed + removed).collect();
            assert_eq!(told, expected, "{even_none} {changed}");
        };
        check(false, 0, &[], &[]);
        check(true, 0, &[], &[(0, 0)]);
        check(false, 0, &["a"], &[(0, 1)]);
        check(false, 10, &[], &[(10, 0)]);
        check(false, 25, &["a", "b"], &[(10, 2), (10, 0), (5, 0)]);
    }

    #[tokio::test]
    async fn it_says_why_it_closes() {
        let app = app(false, Phase::Ready);
        let (cancel, tracker) = (app.cancel.clone(), app.tracker.clone());
        let address = crate::api::tests::served(app).await;
        for (said, code) in [
            (vec![0x81, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4], 1009_u16),
            (vec![0x83, 0x80, 1, 2, 3, 4], 1008),
        ] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let head = "GET /api/v1/watch HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(&said).await.unwrap();
            // An answer to the close, without which the node waits a second for it.
            stream.write_all(&[0x88, 0x80, 1, 2, 3, 4]).await.unwrap();
            let mut heard = Vec::new();
            stream.read_to_end(&mut heard).await.unwrap();
            let close = heard.windows(4).any(|frame| frame[0] == 0x88 && frame[2..] == code.to_be_bytes());
            assert!(close, "{code} is not in {:?}", String::from_utf8_lossy(&heard));
        }
        cancel.cancel();
        tracker.close();
        tracker.wait().await;
    }
}
