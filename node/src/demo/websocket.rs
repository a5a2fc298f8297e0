//! `/ws`: ticks over a WebSocket, to whoever subscribes; `/ws/{n}`: an instrument's ticks without being asked.

use std::time::Duration;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;
use tokio::time::{Instant, sleep_until};

use super::app::{App, Trouble, query};
use super::board::Follower;
use super::broken;
use super::counts::Open;
use super::faults::Fault;
use super::market::Tick;
use super::talk::{Subscriptions, update};

/// From one heartbeat to the next.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Longer than anyone waits, and far from where clocks end.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3_600);
/// The longest message that a client may send.
const HEARD: usize = 64 << 10;
/// Bytes of a message that is too long for anyone.
const BOMB: usize = 32 << 20;

/// Opens a socket that is told what to send.
pub(super) async fn asked(
    State(app): State<App>,
    Extension(trouble): Extension<Trouble>,
    uri: Uri,
    upgrade: WebSocketUpgrade,
) -> Response {
    open(app, trouble, &uri, upgrade, None)
}

/// Opens a socket that sends an instrument's ticks.
pub(super) async fn bare(
    State(app): State<App>,
    Path(name): Path<String>,
    Extension(trouble): Extension<Trouble>,
    uri: Uri,
    upgrade: WebSocketUpgrade,
) -> Response {
    match app.board.find(&name) {
        Some(number) => open(app, trouble, &uri, upgrade, Some(number)),
        None => (StatusCode::NOT_FOUND, "there is no such instrument\n").into_response(),
    }
}

fn open(app: App, trouble: Trouble, uri: &Uri, upgrade: WebSocketUpgrade, bare: Option<usize>) -> Response {
    let millis = |name: &str| query(uri, name)?.parse().ok().map(Duration::from_millis);
    let or_never = |time: Duration| if time.is_zero() { NEVER } else { time };
    let heartbeat = millis("heartbeat").unwrap_or(if bare.is_some() { NEVER } else { HEARTBEAT });
    let ping_within = millis("ping_within").unwrap_or(NEVER);
    let mut follower = Follower::new(app.board.clone());
    if let Some(number) = bare {
        follower.follow(number, None);
    }
    let open = app.board.counts.of(&trouble.path).open();
    let mut conversation = Conversation {
        trouble,
        follower,
        bare: bare.is_some(),
        subscriptions: Subscriptions::default(),
        heartbeat: or_never(heartbeat),
        next_beat: Instant::now() + or_never(heartbeat),
        ping_within: or_never(ping_within),
        ping_due: Instant::now() + or_never(ping_within),
        last: None,
        app,
        _open: open,
    };
    upgrade.max_message_size(HEARD).on_upgrade(move |mut socket| async move {
        let cancel = conversation.app.cancel.clone();
        tokio::select! {
            // A socket that broke has nobody to tell.
            _ = conversation.run(&mut socket) => {}
            () = cancel.cancelled() => {}
        }
    })
}

/// A socket's state.
struct Conversation {
    app: App,
    trouble: Trouble,
    follower: Follower,
    /// Whether ticks go out as they are, without being asked for.
    bare: bool,
    subscriptions: Subscriptions,
    heartbeat: Duration,
    next_beat: Instant,
    ping_within: Duration,
    ping_due: Instant,
    /// The last tick, which a flood repeats.
    last: Option<(usize, Tick)>,
    _open: Open,
}

impl Conversation {
    /// Talks until one of both ends it.
    async fn run(&mut self, socket: &mut WebSocket) -> Result<(), axum::Error> {
        if !self.bare {
            say(socket, json!({"channel": "status", "system": "online", "version": "v1"}).to_string())
                .await?;
        }
        loop {
            let fault = self.trouble.fault(&self.app.board.faults);
            match fault {
                Some(Fault::Drop) => return Ok(()),
                Some(
                    Fault::Status(..)
                    | Fault::Html
                    | Fault::Empty
                    | Fault::Headers
                    | Fault::RedirectLoop
                    | Fault::Redirect(_),
                ) => return close(socket, close_code::RESTART, "as asked for").await,
                _ => {}
            }
            let mute = matches!(fault, Some(Fault::Silence | Fault::Hang));
            let data = !mute && fault != Some(Fault::Heartbeats);
            if data && self.send(socket, fault.as_ref()).await? {
                continue;
            }
            tokio::select! {
                heard = socket.recv() => match heard {
                    Some(Ok(Message::Text(text))) => self.hear(socket, &text, mute).await?,
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return Ok(()),
                    Some(Ok(_)) => {}
                },
                () = self.follower.moved(), if data => {}
                () = self.trouble.changed() => {}
                () = sleep_until(self.next_beat), if !mute => {
                    self.next_beat = Instant::now() + self.heartbeat;
                    say(socket, r#"{"channel":"heartbeat"}"#.to_owned()).await?;
                }
                () = sleep_until(self.ping_due) => {
                    return close(socket, close_code::POLICY, "no ping came").await;
                }
            }
        }
    }

    async fn hear(&mut self, socket: &mut WebSocket, text: &str, mute: bool) -> Result<(), axum::Error> {
        let board = &self.app.board;
        let said = self.subscriptions.hear(text, board.count(), |symbol| board.find(symbol));
        said.follow.iter().for_each(|number| self.follower.follow(*number, None));
        said.leave.iter().for_each(|number| self.follower.leave(*number));
        if said.is_ping {
            self.ping_due = Instant::now() + self.ping_within;
        }
        for answer in said.answers.into_iter().filter(|_| !mute) {
            say(socket, answer.to_string()).await?;
        }
        Ok(())
    }

    /// Sends the ticks that wait, as the fault leaves them; says whether to look again at once.
    async fn send(&mut self, socket: &mut WebSocket, fault: Option<&Fault>) -> Result<bool, axum::Error> {
        let ticks = self.follower.take();
        if let Some(last) = ticks.last() {
            self.last = Some(last.clone());
        }
        match (fault, &self.last) {
            (Some(Fault::Flood | Fault::Endless), Some((number, tick))) => {
                for message in self.messages(*number, tick, None) {
                    socket.send(message).await?;
                }
                // A socket that takes all would hold the thread.
                tokio::task::yield_now().await;
                return Ok(true);
            }
            (Some(Fault::Truncated), Some((_, tick))) if !ticks.is_empty() => {
                say(socket, String::from_utf8_lossy(&tick.json[..tick.json.len() / 2]).into_owned()).await?;
                self.trouble.then(Fault::Drop);
                return Ok(true);
            }
            (Some(Fault::Slow), _) if !ticks.is_empty() => tokio::time::sleep(broken::LATE).await,
            _ => {}
        }
        for (number, tick) in &ticks {
            for message in self.messages(*number, tick, fault) {
                socket.send(message).await?;
            }
        }
        Ok(false)
    }

    /// A tick's messages: one for each channel.
    fn messages(&self, number: usize, tick: &Tick, fault: Option<&Fault>) -> Vec<Message> {
        let whole: Vec<Bytes> = if self.bare {
            vec![tick.json.clone()]
        } else {
            let channels = self.subscriptions.channels(number).iter();
            channels.map(|channel| update(channel, &tick.json).into()).collect()
        };
        let text = |bytes: Bytes| Message::Text(bytes.try_into().unwrap_or_default());
        let turned = |bytes: Bytes| match fault {
            Some(Fault::Malformed) => text(bytes.slice(..bytes.len() / 2)),
            Some(Fault::Binary) => Message::Binary(broken::binary()),
            Some(Fault::Deep) => text(broken::deep()),
            Some(Fault::Bomb) => text(vec![b' '; BOMB].into()),
            _ => text(bytes),
        };
        whole.into_iter().map(turned).collect()
    }
}

async fn say(socket: &mut WebSocket, text: String) -> Result<(), axum::Error> {
    socket.send(Message::Text(text.into())).await
}

async fn close(socket: &mut WebSocket, code: u16, reason: &'static str) -> Result<(), axum::Error> {
    socket.send(Message::Close(Some(CloseFrame { code, reason: reason.into() }))).await
}
