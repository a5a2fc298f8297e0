//! The archive, read at scrape time.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::{Value, encode, flag, level};
use crate::archive::Archive;
use crate::store::Store;

/// The archive, where there is one.
#[derive(Debug)]
pub(super) struct ArchiveFigures(pub(super) Archive, pub(super) Store);

impl Collector for ArchiveFigures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let (Some(counts), Some((records, age))) = (self.0.counts(), self.0.lag()) else { return Ok(()) };
        let count = |counter: &AtomicU64| Value::Count(counter.load(Relaxed));
        #[expect(clippy::cast_precision_loss, reason = "Prometheus reads every sample as a float")]
        let seconds = age as f64 / 1e6;
        encode(
            &mut encoder,
            &[
                ("anode_archive_records", "Records written to Cassandra", count(&counts.records)),
                ("anode_archive_bytes", "Bytes of rows written to Cassandra", count(&counts.bytes)),
                ("anode_archive_rows", "Rows written to Cassandra", count(&counts.rows)),
                ("anode_archive_statements", "Statements that wrote them", count(&counts.statements)),
                (
                    "anode_archive_errors",
                    "Requests that failed and were tried again",
                    Value::Count(self.0.errors()),
                ),
                ("anode_archive_lag_records", "Records that wait to be archived", level(records)),
                ("anode_archive_lag_seconds", "How old the oldest of them is", Value::Level(seconds)),
                ("anode_archive_lost", "1 while Cassandra does not answer", flag(self.0.is_lost())),
                (
                    "anode_archive_dropped_records",
                    "Records dropped before they were archived",
                    Value::Count(self.1.dropped_unarchived()),
                ),
            ],
        )
    }
}
