//! Sources: upstreams that the node reads, each in a task of its own.
//!
//! [`Sources`] is what the API and the node hold. The way of a record: a driver ([`rest`], [`sse`], [`websocket`]) asks
//! through the [`connector`], the pipeline makes records of the answer, [`outbox`] hands them to the store. What a source
//! is doing is decided by [`state`], and seen through [`live`].

use std::time::Duration;

use anode_shared::source::{SourceDefinition, SourceKind};

pub mod limits;
pub mod failure;
pub mod guard;
pub mod tls;
pub mod connector;
pub mod secrets;
pub mod request;
pub mod handshake;
mod backoff;
mod state;
mod beats;
mod latency;
mod rate;
mod figures;
mod events;
mod catalog;
mod place;
mod totals;
mod flood;
mod live;
mod gate;
mod outbox;
mod prepare;
mod judge;
mod keys;
mod reading;
mod rest;
mod sse;
mod websocket;
mod task;
mod tester;
mod registry;

pub use registry::{AddError, Census, Changes, MOST, Parts, Sources};
pub use totals::{Told, Totals};

/// From one poll to the next, where the definition does not say.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long a poll or connecting may take, where the definition does not say.
const TIMEOUT: Duration = Duration::from_secs(5);
/// After how long without data a connection is stale, where the definition does not say.
const STALE: Duration = Duration::from_secs(60);
/// A polled source is not stale sooner than this, where the definition does not say: one slow answer is no outage.
const STALE_POLLS: Duration = Duration::from_secs(10);

/// From one poll to the next.
fn interval(definition: &SourceDefinition) -> Duration {
    definition.interval_ms.map_or(INTERVAL, Duration::from_millis)
}

/// How long a poll or connecting may take.
fn timeout(definition: &SourceDefinition) -> Duration {
    definition.timeout_ms.map_or(TIMEOUT, Duration::from_millis)
}

/// After how long without data a source is stale.
fn stale_after(definition: &SourceDefinition) -> Duration {
    let default = match definition.kind {
        SourceKind::Rest => (interval(definition) * 3).max(STALE_POLLS),
        SourceKind::Websocket | SourceKind::Sse => STALE,
    };
    definition.stale_after_ms.map_or(default, Duration::from_millis)
}

/// The beginning of a text that an upstream said. The mark of a cut tells the scrubber that a secret may be cut too.
fn beginning(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod upstream;

#[cfg(test)]
mod tests;
