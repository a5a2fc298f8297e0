//! One source's task: its driver until it is stopped, and the state that time alone changes.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use anode_shared::source::{FieldError, SourceKind};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::live::Live;
use super::place::Bookmark;
use super::reading::{Context, Reading};
use super::{rest, sse, websocket};
use crate::pipeline::Pipeline;

/// How far apart connections of one source begin at least: a silent upstream with a short patience must not see a storm.
pub(super) const PAUSE: Duration = Duration::from_millis(500);
/// How often a definition that cannot run is looked at again: somebody has just written secrets.toml, and waits.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Reads a source until it is stopped. Reading begins after `first`.
pub(super) async fn run(
    context: Arc<Context>,
    live: Arc<Live>,
    bookmark: Bookmark,
    first: Duration,
    stop: CancellationToken,
) {
    // What is kept may be older than the rules, or written by hand.
    let wrong = live.definition.check();
    if !wrong.is_empty() {
        return say(&live, &wrong);
    }
    let pipeline = match Pipeline::compile(&live.definition) {
        Ok(pipeline) => pipeline,
        Err(errors) => return say(&live, &errors),
    };
    let loading = bookmark.clone();
    let place = tokio::task::spawn_blocking(move || loading.load()).await.unwrap_or_default();
    let mut reading = Box::new(Reading::new(context, live, pipeline, bookmark, place));
    tokio::select! {
        () = stop.cancelled() => {}
        () = drive(&mut reading, first) => {}
    }
    reading.close().await;
}

/// The definition cannot run as it stands.
fn say(live: &Live, errors: &[FieldError]) {
    let words: Vec<String> =
        errors.iter().map(|error| format!("{}: {}", error.field, error.detail)).collect();
    live.invalid(words.join("; "), errors.first().map(|error| error.field.clone()));
}

async fn drive(reading: &mut Reading, first: Duration) {
    let live = reading.live.clone();
    match live.definition.kind {
        SourceKind::Rest => {
            tokio::select! {
                () = Box::pin(rest::run(reading, first)) => {}
                () = grow_stale(&live) => {}
            }
        }
        SourceKind::Sse => Box::pin(sse::run(reading, first)).await,
        SourceKind::Websocket => Box::pin(websocket::run(reading, first)).await,
    }
}

/// Lets a polled source become stale while an answer is waited for. Its polls go on.
async fn grow_stale(live: &Live) {
    loop {
        let due = Instant::from_std(live.stale_at()).max(Instant::now() + Duration::from_millis(100));
        sleep_until(due).await;
        if std::time::Instant::now() >= live.stale_at() && live.waits() {
            live.late();
        }
        if Instant::from_std(live.stale_at()) <= Instant::now() {
            // Nothing changes before the next answer; looking once a second is soon enough to begin anew.
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

/// When a connection ends by time alone: stale, or as old as it may become.
pub(super) struct Limits {
    stale: Instant,
    replace: Option<Instant>,
}

impl Limits {
    pub(super) fn new(live: &Live) -> Self {
        let oldest = live.definition.reconnect_after_ms.map(Duration::from_millis);
        let replace = oldest.map(|oldest| Instant::now() + oldest);
        Self { stale: Instant::from_std(live.stale_at()), replace }
    }

    /// When to look.
    pub(super) fn next(&self) -> Instant {
        self.replace.map_or(self.stale, |replace| self.stale.min(replace))
    }

    /// Whether the connection ends now, to be replaced at once.
    pub(super) fn reached(&mut self, live: &Live) -> bool {
        if self.replace.is_some_and(|replace| replace <= Instant::now()) {
            return true;
        }
        self.stale = Instant::from_std(live.stale_at());
        self.stale <= Instant::now() && live.late()
    }
}

/// A connection that is counted while it is open.
pub(super) struct Connected(Arc<Live>);

impl Connected {
    pub(super) fn new(live: &Arc<Live>) -> Self {
        live.totals().connections.fetch_add(1, Relaxed);
        live.totals().open_connections.fetch_add(1, Relaxed);
        Self(live.clone())
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.totals().open_connections.fetch_sub(1, Relaxed);
    }
}
