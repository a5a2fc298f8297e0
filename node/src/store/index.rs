//! The index of one segment: by log and seq, by topic and time, by arrival. Derived from the segment alone.

use std::collections::BTreeMap;

use anode_shared::ids::LogKey;
use anode_shared::time::Micros;
use serde::{Deserialize, Serialize};

use super::order::{Arrival, Heads, Order};

/// A batch whose bytes lie in this segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stored {
    pub(crate) key: LogKey,
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) offset: u32,
    pub(crate) length: u32,
    pub(crate) time_first: Micros,
    pub(crate) time_last: Micros,
    /// Where it came late, into a jump: the newest arrival of that moment.
    pub(crate) late: Option<u64>,
    /// Whether any record has a dedupe key.
    pub(crate) keyed: bool,
}

/// A topic's records in this segment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Postings {
    /// The batches that hold it, by their place in [`Index::batches`], rising.
    pub(crate) batches: Vec<u32>,
    pub(crate) count: u64,
    /// The newest record: its time, log and seq.
    pub(crate) newest: Option<(Micros, LogKey, u64)>,
}

/// What a segment holds of one log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Span {
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) time_first: Micros,
    pub(crate) time_last: Micros,
}

/// What is worth knowing of a segment before its index is read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Summary {
    /// The number of the first arrival while this segment was the newest.
    pub(crate) first_arrival: u64,
    pub(crate) arrivals: u64,
    pub(crate) records: u64,
    pub(crate) spans: BTreeMap<LogKey, Span>,
    /// The newest of what it holds, for retention by age: the smaller of record time and arrival.
    pub(crate) newest: Micros,
    /// Damaged ranges of bytes.
    pub(crate) damaged: u64,
}

/// The index of one segment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Index {
    pub(crate) summary: Summary,
    /// For each log the newest seq before the first arrival.
    pub(crate) base: Heads,
    /// What happened to the order while this segment was the newest, one behind the other.
    pub(crate) arrivals: Vec<Arrival>,
    /// The batches in it, as they lie.
    pub(crate) batches: Vec<Stored>,
    /// For each log: first seq → place in `batches`.
    by_log: BTreeMap<LogKey, BTreeMap<u64, u32>>,
    pub(crate) topics: BTreeMap<Box<str>, Postings>,
}

impl Index {
    /// The index of a segment that begins with this order.
    pub(crate) fn beginning(order: &Order) -> Self {
        let summary = Summary { first_arrival: order.next, ..Summary::default() };
        Self { summary, base: order.heads(), ..Self::default() }
    }

    /// Adds a batch and the topics of its records, in order.
    pub(crate) fn add<'a>(
        &mut self,
        batch: Stored,
        topics: impl Iterator<Item = (&'a str, Micros)>,
        when: Micros,
    ) {
        let number = u32::try_from(self.batches.len()).unwrap_or(u32::MAX);
        self.batches.push(batch);
        self.by_log.entry(batch.key).or_default().insert(batch.first, number);
        let fresh = Span {
            first: batch.first,
            last: batch.last,
            time_first: batch.time_first,
            time_last: batch.time_last,
        };
        let span = self.summary.spans.entry(batch.key).or_insert(fresh);
        span.first = span.first.min(batch.first);
        span.last = span.last.max(batch.last);
        span.time_first = span.time_first.min(batch.time_first);
        span.time_last = span.time_last.max(batch.time_last);
        self.summary.newest = self.summary.newest.max(batch.time_last.min(when));
        for (seq, (topic, time)) in (batch.first..).zip(topics) {
            self.summary.records += 1;
            let postings = match self.topics.get_mut(topic) {
                Some(postings) => postings,
                None => self.topics.entry(topic.into()).or_default(),
            };
            if postings.batches.last() != Some(&number) {
                postings.batches.push(number);
            }
            postings.count += 1;
            if postings.newest.is_none_or(|(newest, ..)| time >= newest) {
                postings.newest = Some((time, batch.key, seq));
            }
        }
    }

    /// Adds what happened to the order.
    pub(crate) fn arrive(&mut self, arrivals: &[Arrival]) {
        self.arrivals.extend_from_slice(arrivals);
        self.summary.arrivals = self.arrivals.len() as u64;
    }

    /// Forgets where a batch lies that turned out damaged.
    pub(crate) fn lose(&mut self, stored: &Stored) {
        let Some(log) = self.by_log.get_mut(&stored.key) else { return };
        let here = log.get(&stored.first).map(|number| self.batches[*number as usize].offset);
        if here == Some(stored.offset) {
            log.remove(&stored.first);
        }
    }

    /// The batch of a log that holds `seq`, or else the next one behind it.
    pub(crate) fn at_or_after(&self, key: LogKey, seq: u64) -> Option<(u32, &Stored)> {
        let log = self.by_log.get(&key)?;
        let before =
            log.range(..=seq).next_back().filter(|(_, number)| self.batches[**number as usize].last >= seq);
        let (_, number) = before.or_else(|| log.range(seq..).next())?;
        Some((*number, &self.batches[*number as usize]))
    }

    /// The batch of a log that holds `seq`, or else the next one before it.
    pub(crate) fn at_or_before(&self, key: LogKey, seq: u64) -> Option<(u32, &Stored)> {
        let (_, number) = self.by_log.get(&key)?.range(..=seq).next_back()?;
        Some((*number, &self.batches[*number as usize]))
    }

    /// The first seq of a log's batches here that may hold a record at or behind `time`.
    pub(crate) fn seq_at(&self, key: LogKey, time: Micros) -> Option<u64> {
        // Times never fall along a log, so this is its first batch that ends at `time` or later.
        let log = self.by_log.get(&key)?;
        log.iter()
            .find(|(_, number)| self.batches[**number as usize].time_last >= time)
            .map(|(first, _)| *first)
    }

    /// Which batches hold a topic that `wanted` accepts, as one flag a batch.
    pub(crate) fn with_topics(&self, wanted: &dyn Fn(&str) -> bool) -> Vec<bool> {
        let mut flags = vec![false; self.batches.len()];
        for (_, postings) in self.topics.iter().filter(|(topic, _)| wanted(topic)) {
            postings.batches.iter().for_each(|number| flags[*number as usize] = true);
        }
        flags
    }
}
