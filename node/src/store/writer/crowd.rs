//! How many logs a store takes up: anybody can make origins, each with a log, and every log costs something as long as it is known.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use anode_shared::codec;
use anode_shared::ids::{LogKey, Origin};

use super::Writer;
use crate::store::entry::Kind;
use crate::store::replay::FloorsEntry;
use crate::store::shared::Refused;

/// The part of all logs from which on the store takes up new ones only of origins that the mesh knows.
const STRANGERS: usize = 16;
/// The part of all logs that go at once where there are too many, so that it is seldom looked for them.
const GO: usize = 64;

impl Writer {
    /// Whether a log that is not known yet may be taken up, once a known one has gone for it where there are too many.
    pub(super) fn has_room_for(&mut self, key: LogKey) -> Result<bool, Refused> {
        let (known, most) = (self.shared.order().logs.len(), self.shared.options.most_logs);
        if known < most / STRANGERS || key.origin == self.own.origin() {
            return Ok(true);
        }
        if !self.shared.holders.knows(key.origin) {
            return Ok(false);
        }
        if known >= most {
            self.forget_some(most / GO + 1)?;
        }
        Ok(true)
    }

    /// Forgets some logs. What is stored of them goes with its segments.
    fn forget_some(&mut self, count: usize) -> Result<(), Refused> {
        let gone = self.least_wanted(count);
        let entry = FloorsEntry { floors: Vec::new(), gone };
        self.appender.append(Kind::Floors, 0, &codec::encode(&entry))?;
        let mut order = self.shared.order();
        let mut peers = self.shared.for_peers();
        for key in &entry.gone {
            order.forget(*key);
            peers.forget(*key);
        }
        let gone = entry.gone.len();
        tracing::warn!(gone, "Too many logs are known; some that were silent for long are forgotten");
        self.shared.counters.logs_forgotten.fetch_add(gone as u64, Ordering::Relaxed);
        Ok(())
    }

    /// The logs to forget: first those of which nothing is left, then those of origins that the mesh does not know, then of whoever
    /// has most; among these whichever was silent longest.
    fn least_wanted(&self, count: usize) -> Vec<LogKey> {
        let me = self.own.origin();
        let logs: Vec<(LogKey, bool, u64)> = {
            let order = self.shared.order();
            let others = order.logs.iter().filter(|(key, log)| key.origin != me && log.waiting.is_empty());
            others.map(|(key, log)| (*key, log.floor <= log.head, log.grew)).collect()
        };
        let mut origins: BTreeMap<Origin, usize> = BTreeMap::new();
        logs.iter().for_each(|(key, ..)| *origins.entry(key.origin).or_default() += 1);
        let holders = &self.shared.holders;
        let origins: BTreeMap<Origin, (bool, Reverse<usize>)> = origins
            .into_iter()
            .map(|(origin, logs)| (origin, (holders.knows(origin), Reverse(logs))))
            .collect();
        let mut ranked: Vec<_> =
            logs.into_iter().map(|(key, held, grew)| (held, origins.get(&key.origin), grew, key)).collect();
        ranked.sort_unstable();
        ranked.into_iter().take(count).map(|(.., key)| key).collect()
    }
}
