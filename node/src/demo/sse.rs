//! `/sse/{n}`: an instrument's ticks as Server-Sent Events, resumed by `Last-Event-ID`.

use std::io;
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use tokio::time::{Interval, MissedTickBehavior, interval_at};

use super::app::{App, Trouble, query};
use super::board::Follower;
use super::broken;
use super::counts::Open;
use super::faults::Fault;
use super::market::Tick;

/// From one comment to the next: proxies cut streams that say nothing for 15 s and more.
const BEAT: Duration = Duration::from_secs(5);
/// How long a client is told to wait before it comes back.
const RETRY_MS: u64 = 1_000;

/// Opens a stream.
pub(super) async fn stream(
    State(app): State<App>,
    Path(name): Path<String>,
    Extension(trouble): Extension<Trouble>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let Some(number) = app.board.find(&name) else {
        return (StatusCode::NOT_FOUND, "there is no such instrument\n").into_response();
    };
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let last = last.map(str::to_owned).or_else(|| query(&uri, "last_event_id"));
    let mut follower = Follower::new(app.board.clone());
    follower.follow(number, last.and_then(|id| serial(&id, app.board.run)));
    let retry = query(&uri, "retry").and_then(|text| text.parse().ok()).unwrap_or(RETRY_MS);
    let mut beat = interval_at(tokio::time::Instant::now() + BEAT, BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let head = format!(": a made-up market\nretry: {retry}\n\n");
    let open = app.board.counts.of(&trouble.path).open();
    let events =
        Events { app, trouble, follower, beat, left: head.into(), dripping: false, last: None, _open: open };
    let body = Body::from_stream(stream::unfold(events, |mut events| async move {
        let next = events.next().await?;
        Some((next, events))
    }));
    ([(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")], body).into_response()
}

/// The id of an event: another run's ids mean nothing here.
fn id(run: u64, n: u64) -> String {
    format!("{run:x}-{n}")
}

/// The serial in an id of this run.
fn serial(id: &str, run: u64) -> Option<u64> {
    let (of, n) = id.split_once('-')?;
    (u64::from_str_radix(of, 16).ok()? == run).then(|| n.parse().ok()).flatten()
}

fn event(run: u64, tick: &Tick, data: &[u8]) -> Vec<u8> {
    [format!("id: {}\nevent: tick\ndata: ", id(run, tick.n)).as_bytes(), data, b"\n\n"].concat()
}

/// A stream's state.
struct Events {
    app: App,
    trouble: Trouble,
    follower: Follower,
    beat: Interval,
    /// Bytes that go out first.
    left: Bytes,
    /// Whether they go out one by one.
    dripping: bool,
    /// The last tick, which a flood repeats.
    last: Option<Tick>,
    _open: Open,
}

/// What a fault makes of the stream next.
enum Next {
    Bytes(Vec<u8>),
    Wait { beats: bool, data: bool },
    End(Option<io::Error>),
}

impl Events {
    /// The next bytes; `None` ends the stream.
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        loop {
            if !self.left.is_empty() {
                if self.dripping {
                    tokio::time::sleep(broken::DRIP).await;
                    return Some(Ok(self.left.split_to(1)));
                }
                return Some(Ok(std::mem::take(&mut self.left)));
            }
            let fault = self.trouble.fault(&self.app.board.faults);
            self.dripping = fault == Some(Fault::Slow);
            match self.decide(fault.as_ref()) {
                Next::Bytes(bytes) => self.left = bytes.into(),
                Next::End(error) => return error.map(Err),
                Next::Wait { beats, data } => self.wait(beats, data).await?,
            }
        }
    }

    fn decide(&mut self, fault: Option<&Fault>) -> Next {
        let cut = || Next::End(Some(io::ErrorKind::ConnectionAborted.into()));
        match fault {
            Some(Fault::Hang | Fault::Silence) => Next::Wait { beats: false, data: false },
            Some(Fault::Heartbeats) => Next::Wait { beats: true, data: false },
            Some(Fault::Drop) => cut(),
            Some(
                Fault::Status(..)
                | Fault::Html
                | Fault::Empty
                | Fault::Headers
                | Fault::RedirectLoop
                | Fault::Redirect(_),
            ) => Next::End(None),
            Some(Fault::Endless) => Next::Bytes(vec![b'x'; 16 << 10]),
            Some(Fault::Flood) => match &self.last {
                Some(tick) => Next::Bytes(event(self.app.board.run, tick, &tick.json).repeat(64)),
                None => self.data(None),
            },
            fault => self.data(fault),
        }
    }

    /// The events that wait, each with its data as the fault leaves it.
    fn data(&mut self, fault: Option<&Fault>) -> Next {
        let ticks = self.follower.take();
        let Some((_, last)) = ticks.last() else { return Next::Wait { beats: true, data: true } };
        self.last = Some(last.clone());
        let run = self.app.board.run;
        let mut bytes = Vec::with_capacity(ticks.len() * 256);
        for (_, tick) in &ticks {
            let half = &tick.json[..tick.json.len() / 2];
            match fault {
                Some(Fault::Malformed) => bytes.extend(event(run, tick, half)),
                // The field stands there, its event never ends.
                Some(Fault::Truncated) => bytes.extend([b"data: ", half].concat()),
                Some(Fault::Binary) => bytes.extend(event(run, tick, b"\xff\xfe\x00\x80")),
                Some(Fault::Deep) => bytes.extend(event(run, tick, &broken::deep())),
                Some(Fault::Bomb) => bytes.extend(event(run, tick, &vec![b' '; 16 << 20])),
                _ => bytes.extend(event(run, tick, &tick.json)),
            }
        }
        if fault == Some(&Fault::Truncated) {
            // What stands there gets out, then the stream ends.
            self.trouble.then(Fault::Drop);
        }
        Next::Bytes(bytes)
    }

    /// Waits for what may change the next bytes.
    async fn wait(&mut self, beats: bool, data: bool) -> Option<()> {
        tokio::select! {
            () = self.follower.moved(), if data => {}
            () = self.trouble.changed() => {}
            _ = self.beat.tick(), if beats => self.left = Bytes::from_static(b": beat\n\n"),
            () = self.app.cancel.cancelled() => return None,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_knows_its_own_ids_only() {
        assert_eq!(serial(&id(0x6922_73a4, 17), 0x6922_73a4), Some(17));
        for other in ["", "17", "6922-17", "692273a4-", "692273a4-x", "692273a5-17"] {
            assert_eq!(serial(other, 0x6922_73a4), None, "{other}");
        }
    }

    #[test]
    fn it_frames_events() {
        let tick = Tick { n: 2, at: 1, json: "{}".into() };
        assert_eq!(event(10, &tick, b"{}"), b"id: a-2\nevent: tick\ndata: {}\n\n");
    }
}
