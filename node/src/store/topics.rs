//! Each topic's figures over all that is stored.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use anode_shared::status::TopicStatus;
use anode_shared::time::{Micros, to_rfc3339};

use super::index::Index;
use super::loaded::Loaded;

/// Over how long a rate is taken.
const WINDOW: Micros = 60 * 1_000_000;

#[derive(Debug, Default)]
struct Figures {
    count: u64,
    newest: Micros,
    /// Records in the window that runs, and in the one before it.
    window: Micros,
    current: u64,
    before: u64,
}

impl Figures {
    fn turn(&mut self, now: Micros) {
        if now >= self.window.saturating_add(2 * WINDOW) {
            (self.before, self.current, self.window) = (0, 0, now);
        } else if now >= self.window.saturating_add(WINDOW) {
            (self.before, self.current, self.window) = (self.current, 0, self.window + WINDOW);
        }
    }

    /// Records a second: all of this window and the share of the last one that still lies within a window's length.
    #[expect(clippy::cast_precision_loss, reason = "rates are shown, not counted with")]
    fn rate(&mut self, now: Micros) -> f64 {
        self.turn(now);
        let share = 1.0 - (now.saturating_sub(self.window)) as f64 / WINDOW as f64;
        (self.current as f64 + self.before as f64 * share.clamp(0.0, 1.0)) / (WINDOW as f64 / 1e6)
    }
}

/// The figures of all topics. Sealed segments that were there at the start are counted once their index was read.
#[derive(Debug, Default)]
pub(crate) struct TopicTable {
    topics: BTreeMap<Box<str>, Figures>,
    /// Segments of earlier starts that are not counted yet.
    uncounted: BTreeSet<u64>,
}

impl TopicTable {
    /// An empty table; the segments are still to be counted.
    pub(crate) fn new(uncounted: BTreeSet<u64>) -> Self {
        Self { topics: BTreeMap::new(), uncounted }
    }

    /// Counts the records of a batch that became visible.
    pub(crate) fn add(&mut self, batch: &Loaded, now: Micros) {
        for index in 0..batch.len() {
            let record = batch.record(index);
            let figures = match self.topics.get_mut(record.topic) {
                Some(figures) => figures,
                None => self.topics.entry(record.topic.into()).or_default(),
            };
            figures.count += 1;
            figures.newest = figures.newest.max(record.time);
            figures.turn(now);
            figures.current += 1;
        }
    }

    /// Counts what a segment of an earlier start holds.
    pub(crate) fn add_segment(&mut self, id: u64, index: &Index) {
        if !self.uncounted.remove(&id) {
            return;
        }
        for (topic, postings) in &index.topics {
            let figures = self.topics.entry(topic.clone()).or_default();
            figures.count += postings.count;
            figures.newest = figures.newest.max(postings.newest.map_or(0, |(time, ..)| time));
        }
    }

    /// Takes what a dropped segment held out of the counts.
    pub(crate) fn forget(&mut self, id: u64, index: &Index) {
        if self.uncounted.remove(&id) {
            return;
        }
        for (topic, postings) in &index.topics {
            let Some(figures) = self.topics.get_mut(topic) else { continue };
            figures.count = figures.count.saturating_sub(postings.count);
            if figures.count == 0 {
                self.topics.remove(topic);
            }
        }
    }

    /// So many topics behind a name, by name.
    pub(crate) fn after(&mut self, name: &str, limit: usize, now: Micros) -> Vec<TopicStatus> {
        let behind = (Bound::Excluded(name), Bound::Unbounded);
        let topics = self.topics.range_mut::<str, _>(behind).take(limit);
        let one = |topic: &str, figures: &mut Figures| TopicStatus {
            topic: topic.to_owned(),
            count: figures.count,
            rate: (figures.rate(now) * 1_000.0).round() / 1_000.0,
            last_record: to_rfc3339(figures.newest),
        };
        topics.map(|(topic, figures)| one(topic, figures)).collect()
    }

    /// How many topics there are.
    pub(crate) fn len(&self) -> usize {
        self.topics.len()
    }
}
