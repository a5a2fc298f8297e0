//! The mesh, read at scrape time: by state and reason, never by peer, so that a large mesh makes no more series.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use super::{Value, by_reason, encode, level};
use crate::gossip::Gossip;

/// Gossip and repair.
#[derive(Debug)]
pub(super) struct GossipFigures(pub(super) Gossip);

impl Collector for GossipFigures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let (view, counters) = (self.0.view(), self.0.counters());
        let counts = counters.each().into_iter().map(|(name, help, count)| (name, help, Value::Count(count)));
        encode(&mut encoder, &counts.collect::<Vec<_>>())?;
        let ignored = "Batches that came by gossip and were not taken, without blame, by reason";
        by_reason(&mut encoder, "anode_gossip_ignored_batches", ignored, &counters.ignored())?;
        let rejected = "Messages that were rejected to the blame of their sender, by reason";
        by_reason(&mut encoder, "anode_gossip_rejected_messages", rejected, &counters.rejected())?;
        let help = "Known peers by state";
        let mut family = encoder.encode_descriptor("anode_gossip_peers", help, None, MetricType::Gauge)?;
        for (state, count) in view.census() {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            ConstGauge::new(count).encode(family.encode_family(&[("state", state)])?)?;
        }
        let lag = "Records of peers that are not here yet, by their beacons";
        let missing = "Records that are known to be missing here";
        encode(
            &mut encoder,
            &[
                ("anode_gossip_links", "Peers that are connected", level(view.linked as u64)),
                ("anode_gossip_lag_records", lag, level(view.lag())),
                (
                    "anode_gossip_in_flight_batches",
                    "Batches of gossip on their way into the store",
                    level(counters.in_flight()),
                ),
                ("anode_repair_missing_records", missing, level(view.missing)),
                ("anode_repair_open_questions", "Requests for them under way", level(view.requests as u64)),
            ],
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::registry::Registry;

    #[test]
    fn it_exports_every_counter_with_its_help() {
        let gossip = Gossip::alone();
        let mut registry = Registry::default();
        registry.register_collector(Box::new(GossipFigures(gossip.clone())));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let has = |line: &str| assert!(text.lines().any(|other| other == line), "{line} is not in\n{text}");
        let counters = gossip.counters();
        for (name, help, count) in counters.each() {
            has(&format!("{name}_total {count}"));
            has(&format!("# HELP {name} {help}"));
        }
        for (family, reasons) in [
            ("anode_gossip_ignored_batches", counters.ignored()),
            ("anode_gossip_rejected_messages", counters.rejected()),
        ] {
            assert!(!reasons.is_empty());
            reasons.iter().for_each(|(reason, _)| has(&format!("{family}_total{{reason=\"{reason}\"}} 0")));
        }
        for (state, _) in gossip.view().census() {
            has(&format!("anode_gossip_peers{{state=\"{state}\"}} 0"));
        }
        for name in ["gossip_links", "gossip_lag_records", "repair_missing_records", "repair_open_questions"]
        {
            has(&format!("anode_{name} 0.0"));
        }
        let names: std::collections::BTreeSet<_> = counters.each().iter().map(|(name, ..)| *name).collect();
        assert_eq!(names.len(), counters.each().len(), "two of one name");
    }
}
