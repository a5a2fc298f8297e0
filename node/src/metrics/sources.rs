//! The sources, read at scrape time: by state and kind, never by name, so that many sources make no more series.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::{Value, encode};
use crate::source::Sources;

/// The kinds, in the order of their counters.
const KINDS: [&str; 3] = ["rest", "websocket", "sse"];

/// The sources.
#[derive(Debug)]
pub(super) struct SourceFigures(pub(super) Sources);

impl Collector for SourceFigures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let (census, totals) = (self.0.census(), self.0.totals());
        let mut family =
            encoder.encode_descriptor("anode_sources", "Sources by state", None, MetricType::Gauge)?;
        for (state, count) in &census.states {
            let count = i64::try_from(*count).unwrap_or(i64::MAX);
            ConstGauge::new(count).encode(family.encode_family(&[("state", *state)])?)?;
        }
        by_kind(&mut encoder, "anode_source_records", "Records made of sources", &totals.records)?;
        by_kind(&mut encoder, "anode_source_bytes", "Bytes received from upstreams", &totals.bytes)?;
        by_kind(&mut encoder, "anode_source_errors", "Errors of sources", &totals.errors)?;
        let count = |counter: &AtomicU64| Value::Count(counter.load(Relaxed));
        let open = u32::try_from(totals.open_connections.load(Relaxed)).unwrap_or_default();
        encode(
            &mut encoder,
            &[
                ("anode_source_polls", "Polls", count(&totals.polls)),
                (
                    "anode_source_unchanged_polls",
                    "Polls without anything new",
                    count(&totals.unchanged_polls),
                ),
                ("anode_source_connections", "Streams and sockets opened", count(&totals.connections)),
                (
                    "anode_source_open_connections",
                    "Streams and sockets that are open",
                    Value::Level(f64::from(open)),
                ),
                ("anode_source_answers", "Answers, events and messages processed", count(&totals.messages)),
                (
                    "anode_source_left_out_records",
                    "Records left out because nothing had changed",
                    count(&totals.left_out),
                ),
                (
                    "anode_source_expression_errors",
                    "Records that an expression could not make",
                    count(&totals.expression_errors),
                ),
                (
                    "anode_source_store_waits",
                    "Times that a source waited for the store",
                    count(&totals.waits_for_the_store),
                ),
            ],
        )
    }
}

fn by_kind(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    counts: &[AtomicU64; 3],
) -> Result<(), std::fmt::Error> {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    KINDS.iter().zip(counts).try_for_each(|(kind, count)| {
        ConstCounter::new(count.load(Relaxed)).encode(family.encode_family(&[("kind", *kind)])?)
    })
}
