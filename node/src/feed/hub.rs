//! What all connections of the feed share.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::payloads::Payloads;
use super::registry::{Registry, Totals};
use super::start::{Format, Subscription};
use super::subscriber::{Mark, Sieve, Subscriber};
use super::tail::Tail;
use super::turns::Turns;
use crate::store::{Start, Store};

/// How long a WebSocket goes at most without a cursor while anything moves.
pub const SOCKET_PACE: Duration = Duration::from_secs(5);
/// The same for events, whose clients resume by nothing else.
pub const EVENTS_PACE: Duration = Duration::from_secs(1);

/// What all connections share.
#[derive(Debug)]
pub struct Hub {
    /// What they read and write.
    pub store: Store,
    /// Who they are.
    pub registry: Arc<Registry>,
    /// What they did.
    pub totals: Arc<Totals>,
    /// How long a client may accept nothing.
    pub stall: Duration,
    payloads: Arc<Payloads>,
    turns: Arc<Turns>,
}

impl Hub {
    /// Nobody connected yet.
    pub fn new(store: Store, stall: Duration) -> Self {
        Self {
            store,
            registry: Arc::default(),
            totals: Arc::default(),
            stall,
            payloads: Arc::default(),
            turns: Arc::default(),
        }
    }

    /// A reader of a subscription.
    pub fn tail(&self, wanted: &Subscription, first: Mark, format: Format, pace: Duration) -> Tail {
        let sieve = Sieve {
            topics: wanted.topics.clone(),
            filter: wanted.filter.clone(),
            payloads: Arc::clone(&self.payloads),
        };
        let live = wanted.begin == Start::Live;
        let subscriber = Subscriber::new(sieve.clone(), pace, first, live, Instant::now());
        Tail::open(&self.store, wanted, sieve, subscriber, format, &self.turns)
    }
}
