//! Looks at the stages once a second: for rates, for events where a state changed, and for whoever watches.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anode_shared::beacon::Load;
use anode_shared::status::{Component, State as Health, Status, Watch};
use axum::extract::ws::Utf8Bytes;
use tokio::sync::watch;
use tokio::time::{Instant as TickInstant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::status::{Counts, Figures, Observer};
use super::{App, now};
use crate::gossip::Said;

/// How often the stages are looked at.
pub(super) const PERIOD: Duration = Duration::from_secs(1);

/// The last status, and who waits for the next.
#[derive(Debug)]
pub(super) struct Monitor {
    observer: Mutex<Observer>,
    /// The newest `status` message, made once for all watchers.
    message: watch::Sender<Utf8Bytes>,
}

impl Default for Monitor {
    fn default() -> Self {
        Self { observer: Mutex::default(), message: watch::Sender::new(Utf8Bytes::from_static("")) }
    }
}

impl App {
    /// How the node is at this moment. Notes events where a state changed.
    pub(super) fn status(&self) -> Status {
        let figures = self.figures();
        let mut observer = self.monitor.observer.lock().unwrap_or_else(PoisonError::into_inner);
        let (status, changes) = observer.status(&self.node, &figures, now());
        drop(observer);
        for change in changes {
            self.events.push(change.level, change.component, &change.kind, &change.detail);
        }
        status
    }

    fn figures(&self) -> Figures {
        Figures {
            phase: self.phase(),
            uptime: self.uptime(),
            store: self.store.status(),
            counts: self.counts(),
            feed: self.feed.component(),
            sources: self.sources.component(),
            answers: self.sources.pipeline_figures(),
            spoiled: self.sources.spoiled(),
            gossip: self.gossip.component(),
            archive: self.archive.component(),
            addresses: self.gossip.view().addresses.clone(),
        }
    }

    fn counts(&self) -> Counts {
        let counters = self.store.counters();
        let (delivered, delivered_bytes) = self.feed.delivered();
        let refused = [&counters.refused_overloaded, &counters.refused_full, &counters.refused_failed];
        Counts {
            records: counters.own_records.load(Relaxed),
            batches: counters.own_batches.load(Relaxed) + counters.foreign_batches.load(Relaxed),
            bytes: counters.bytes_written.load(Relaxed),
            fdatasyncs: self.store.status().fdatasyncs,
            deduplicated: counters.deduplicated.load(Relaxed),
            polls: self.sources.totals().polls.load(Relaxed),
            delivered,
            delivered_bytes,
            refused: refused.iter().map(|counter| counter.load(Relaxed)).sum(),
        }
    }

    /// The newest `status` message as it changes; the one of this moment first.
    pub(super) fn watch_status(&self) -> (Utf8Bytes, watch::Receiver<Utf8Bytes>) {
        let receiver = self.monitor.message.subscribe();
        (message(&self.status()), receiver)
    }

    /// Looks at the stages until cancelled.
    pub(super) async fn monitor(self, cancel: CancellationToken) {
        // Not at once: a node that has just started is not worth an event yet.
        let mut ticks = interval_at(TickInstant::now() + PERIOD, PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = None;
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                _ = ticks.tick() => self.look(&mut last),
            }
        }
    }

    /// What peers are told of this node.
    fn said(&self, status: &Status) -> Said {
        let figure = |component: &Component, name: &str| {
            let figure = component.figures.get(name);
            // Rates have a fraction, which nobody misses here.
            let whole = figure.and_then(|value| {
                value.as_u64().or_else(|| value.to_string().split('.').next()?.parse().ok())
            });
            whole.map_or(0, |whole| u32::try_from(whole).unwrap_or(u32::MAX))
        };
        let components = &status.components;
        let load = Load {
            records_per_s: figure(&components.pipeline, "records_per_s"),
            cpu_permille: 0,
            store_bytes: 0,
            subscribers: figure(&components.feed, "subscribers"),
            sources: figure(&components.sources, "sources"),
        };
        let states = components.iter().filter(|(_, component)| component.state != Health::Off);
        Said {
            archive: self.archive.keyspace_id(),
            load,
            components: states.map(|(name, component)| (name.to_owned(), component.state)).collect(),
        }
    }

    /// Takes the stages' figures, and tells watchers where anything but the uptime is different.
    fn look(&self, last: &mut Option<Status>) {
        let counts = self.counts();
        self.monitor.observer.lock().unwrap_or_else(PoisonError::into_inner).sample(Instant::now(), counts);
        let mut status = self.status();
        self.gossip.say(self.said(&status));
        let uptime = std::mem::take(&mut status.node.uptime_s);
        if last.as_ref() == Some(&status) {
            return;
        }
        *last = Some(status.clone());
        status.node.uptime_s = uptime;
        self.monitor.message.send_replace(message(&status));
    }
}

fn message(status: &Status) -> Utf8Bytes {
    text(&Watch::Status(Box::new(status.clone())))
}

/// A watch message as text.
pub(super) fn text(message: &Watch) -> Utf8Bytes {
    serde_json::to_string(message).map(Utf8Bytes::from).unwrap_or_else(|error| {
        warn!(%error, "Failed to encode a watch message");
        Utf8Bytes::from_static("")
    })
}
