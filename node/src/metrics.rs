//! What Prometheus reads at `/metrics`: counters of every stage, collected when it asks.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::archive::Archive;
use crate::feed::{ACK_SECONDS, Feed};
use crate::gossip::Gossip;
use crate::source::Sources;
use crate::store::Store;

mod archive;
mod gossip;
mod process;
mod sources;

/// The media type of what [`Metrics::text`] writes.
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Upper ends of the latency buckets, in seconds: from an answer out of memory to a history page at its deadline.
const LATENCIES: [f64; 12] =
    [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 5.0];

/// The registry.
#[derive(Debug)]
pub struct Metrics(Registry);

impl Metrics {
    /// A registry of every stage and the process.
    pub fn new(
        http: &Arc<Http>,
        store: &Store,
        feed: &Feed,
        sources: &Sources,
        gossip: &Gossip,
        archive: &Archive,
    ) -> Self {
        let mut registry = Registry::default();
        http.register(registry.sub_registry_with_prefix("anode_http"));
        registry.register_collector(Box::new(sources::SourceFigures(sources.clone())));
        registry.register_collector(Box::new(StoreFigures(store.clone())));
        registry.register_collector(Box::new(FeedFigures(feed.clone())));
        registry.register_collector(Box::new(archive::ArchiveFigures(archive.clone(), store.clone())));
        registry.register_collector(Box::new(gossip::GossipFigures(gossip.clone())));
        let help = "From the store's taking records of sockets to their ack";
        registry.register("anode_feed_ack_seconds", help, feed.acks());
        registry.register_collector(Box::new(process::Process));
        Self(registry)
    }

    /// What Prometheus reads.
    ///
    /// # Errors
    /// When a stage cannot be written.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut out = String::new();
        prometheus_client::encoding::text::encode(&mut out, &self.0)?;
        Ok(out)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answer {
    method: &'static str,
    route: Arc<str>,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: Arc<str>,
}

/// The HTTP side's counters.
#[derive(Debug)]
pub struct Http {
    answers: Family<Answer, Counter>,
    latency: Family<Route, Histogram, fn() -> Histogram>,
    acks: Histogram,
    connections: Gauge,
    accepted: Counter,
    refused: Counter,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            answers: Family::default(),
            latency: Family::new_with_constructor(|| Histogram::new(LATENCIES)),
            acks: Histogram::new(ACK_SECONDS),
            connections: Gauge::default(),
            accepted: Counter::default(),
            refused: Counter::default(),
        }
    }
}

impl Http {
    fn register(&self, registry: &mut Registry) {
        registry.register("requests", "Answers by method, route and status", self.answers.clone());
        registry.register("request_duration_seconds", "From head to answer, by route", self.latency.clone());
        registry.register("ack_seconds", "From the store's taking records to their ack", self.acks.clone());
        registry.register("connections", "Open connections, WebSockets included", self.connections.clone());
        registry.register("accepted_connections", "Connections taken", self.accepted.clone());
        registry.register("refused_connections", "Connections refused over the limit", self.refused.clone());
    }

    /// Counts an answer. `route` is the route's template, so that paths do not multiply the series.
    pub fn answered(&self, method: &'static str, route: Arc<str>, status: u16, took: Duration) {
        self.latency.get_or_create(&Route { route: Arc::clone(&route) }).observe(took.as_secs_f64());
        self.answers.get_or_create(&Answer { method, route, status }).inc();
    }

    /// Notes how long an acknowledgement took, from when the store took the records.
    pub fn acknowledged(&self, took: Duration) {
        self.acks.observe(took.as_secs_f64());
    }

    /// Counts a connection until what is given back is dropped.
    pub fn connection(&self) -> Open {
        self.accepted.inc();
        self.connections.inc();
        Open(self.connections.clone())
    }

    /// Counts a connection over the limit.
    pub fn refused(&self) {
        self.refused.inc();
    }

    /// Connections that are open now.
    pub fn connections(&self) -> i64 {
        self.connections.get()
    }
}

/// A connection that is counted.
#[derive(Debug)]
pub struct Open(Gauge);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The value of a figure.
#[derive(Debug, Clone, Copy)]
enum Value {
    /// What only rises.
    Count(u64),
    /// The same with fractions.
    Sum(f64),
    /// What rises and falls.
    Level(f64),
}

fn level(value: u64) -> Value {
    #[expect(clippy::cast_precision_loss, reason = "Prometheus reads every sample as a float")]
    Value::Level(value as f64)
}

fn flag(holds: bool) -> Value {
    Value::Level(f64::from(u8::from(holds)))
}

/// Writes figures of a stage: name, help, value. A counter gets `_total` behind its name.
fn encode(
    encoder: &mut DescriptorEncoder<'_>,
    figures: &[(&str, &str, Value)],
) -> Result<(), std::fmt::Error> {
    figures.iter().try_for_each(|(name, help, value)| match *value {
        Value::Count(value) => describe(encoder, name, help, &ConstCounter::new(value)),
        Value::Sum(value) => describe(encoder, name, help, &ConstCounter::new(value)),
        Value::Level(value) => describe(encoder, name, help, &ConstGauge::new(value)),
    })
}

fn describe(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    metric: &impl EncodeMetric,
) -> Result<(), std::fmt::Error> {
    metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
}

/// Writes a counter for each reason.
fn by_reason(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    counts: &[(&str, u64)],
) -> Result<(), std::fmt::Error> {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    counts.iter().try_for_each(|(reason, count)| {
        ConstCounter::new(*count).encode(family.encode_family(&[("reason", *reason)])?)
    })
}

/// The store, read at scrape time.
#[derive(Debug)]
struct StoreFigures(Store);

impl Collector for StoreFigures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let (status, counters) = (self.0.status(), self.0.counters());
        let count = |counter: &AtomicU64| Value::Count(counter.load(Relaxed));
        encode(
            &mut encoder,
            &[
                ("anode_store_records", "Records taken into the own log", count(&counters.own_records)),
                ("anode_store_batches", "Batches of the own log", count(&counters.own_batches)),
                ("anode_store_foreign_batches", "Batches of other origins", count(&counters.foreign_batches)),
                (
                    "anode_store_deduplicated_records",
                    "Records answered by their key",
                    count(&counters.deduplicated),
                ),
                ("anode_store_written_bytes", "Bytes appended to segments", count(&counters.bytes_written)),
                ("anode_store_fdatasyncs", "fdatasyncs of segments", Value::Count(status.fdatasyncs)),
                ("anode_store_jumps", "Ranges that the order went on without", count(&counters.jumps)),
                ("anode_store_forks", "Proofs of forks found", count(&counters.forks)),
                (
                    "anode_store_forgotten_forks",
                    "Proofs of forks that went for newer ones",
                    count(&counters.forks_forgotten),
                ),
                (
                    "anode_store_crowded_batches",
                    "Batches left alone: of a log with too many holes, or one log too many",
                    count(&counters.crowded),
                ),
                (
                    "anode_store_forgotten_logs",
                    "Logs that went because there were too many",
                    count(&counters.logs_forgotten),
                ),
                (
                    "anode_store_dropped_segments",
                    "Segments dropped by retention",
                    count(&counters.segments_dropped),
                ),
                ("anode_store_damaged_batches", "Stored batches found damaged", count(&counters.damaged)),
                ("anode_store_bytes", "Bytes of all segments", level(status.bytes)),
                ("anode_store_segments", "Segments", level(status.segments)),
                ("anode_store_logs", "Logs", level(status.logs)),
                ("anode_store_topics", "Topics", level(status.topics)),
                ("anode_store_next_arrival", "The number of the next arrival", level(status.next_arrival)),
                (
                    "anode_store_unsynced_bytes",
                    "Bytes written and not synced yet",
                    level(status.unsynced_bytes),
                ),
                (
                    "anode_store_in_flight_bytes",
                    "Bytes between publishers and disk",
                    level(status.in_flight_bytes),
                ),
                ("anode_store_failed", "1 after a failed write or fdatasync", flag(status.failed.is_some())),
                ("anode_store_full", "1 while the disk's reserve is touched", flag(status.full)),
            ],
        )?;
        let refused = [
            ("overloaded", &counters.refused_overloaded),
            ("full", &counters.refused_full),
            ("failed", &counters.refused_failed),
        ];
        let refused = refused.map(|(reason, counter)| (reason, counter.load(Relaxed)));
        by_reason(&mut encoder, "anode_store_refused_publishes", "Publishes refused, by reason", &refused)
    }
}

/// The feed, read at scrape time.
#[derive(Debug)]
struct FeedFigures(Feed);

impl Collector for FeedFigures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let feed = self.0.metrics();
        encode(
            &mut encoder,
            &[
                ("anode_feed_subscribers", "Connections that follow topics", level(feed.subscribers)),
                ("anode_feed_publishers", "Publishing sockets", level(feed.publishers)),
                ("anode_feed_records", "Records sent to subscribers", Value::Count(feed.records)),
                ("anode_feed_sent_bytes", "Bytes sent to subscribers", Value::Count(feed.bytes)),
                ("anode_feed_gaps", "Gaps told to subscribers", Value::Count(feed.gaps)),
                (
                    "anode_feed_filter_errors",
                    "Records on which a filter erred",
                    Value::Count(feed.filter_errors),
                ),
                ("anode_feed_published_records", "Records taken by sockets", Value::Count(feed.published)),
                ("anode_feed_refused_records", "Records refused by sockets", Value::Count(feed.refused)),
                ("anode_feed_most_lag", "Arrivals that the last subscriber is behind", level(feed.most_lag)),
            ],
        )?;
        by_reason(
            &mut encoder,
            "anode_feed_ended_connections",
            "Connections that ended, by reason",
            &feed.ended,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_writes_what_was_counted() {
        let http = Arc::new(Http::default());
        http.answered("GET", "/livez".into(), 200, Duration::from_millis(2));
        let open = http.connection();
        let store = crate::api::tests::store();
        let (feed, sources) = (Feed::new(store.clone()), crate::api::tests::sources(&store));
        let text =
            Metrics::new(&http, &store, &feed, &sources, &Gossip::alone(), &Archive::off()).text().unwrap();
        for line in [
            "anode_http_requests_total{method=\"GET\",route=\"/livez\",status=\"200\"} 1",
            "anode_http_request_duration_seconds_bucket{le=\"0.0025\",route=\"/livez\"} 1",
            "anode_http_connections 1",
            "anode_store_fdatasyncs_total 0",
            "anode_store_refused_publishes_total{reason=\"full\"} 0",
            "anode_feed_subscribers 0.0",
            "anode_sources{state=\"live\"} 0",
            "anode_source_records_total{kind=\"sse\"} 0",
            "anode_http_accepted_connections_total 1",
            "anode_feed_ack_seconds_count 0",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} is not in\n{text}");
        }
        assert!(
            text.contains("process_cpu_seconds_total ") && text.contains("process_resident_memory_bytes ")
        );
        drop(open);
        assert_eq!(http.connections(), 0);
    }
}
