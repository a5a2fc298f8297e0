//! How the sources are, all together.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;

use anode_shared::source::SourceState;
use anode_shared::status::{Component, State};
use serde_json::{Value, json};

use super::super::totals::Totals;
use super::Sources;
use crate::store::system_time;

/// How many sources that are not live are named.
const NAMED: usize = 3;
/// The longest reason of one of them, bytes.
const REASON: usize = 120;
/// Every state, in the order in which they are shown.
const STATES: [SourceState; 7] = [
    SourceState::Live,
    SourceState::Connecting,
    SourceState::Stale,
    SourceState::BackingOff,
    SourceState::AuthFailed,
    SourceState::Invalid,
    SourceState::Paused,
];

/// The sources counted at one moment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Census {
    /// How many are in each state, by its word.
    pub states: BTreeMap<&'static str, u64>,
    /// Records a second, of all.
    pub records_per_s: f64,
    /// The first that are not live, with their reasons.
    pub troubled: Vec<String>,
}

impl Census {
    fn of(&self, states: &[SourceState]) -> u64 {
        states.iter().filter_map(|state| self.states.get(state.as_str())).sum()
    }
}

impl Sources {
    /// Counts the sources.
    pub fn census(&self) -> Census {
        let now = system_time();
        let mut census =
            Census { states: STATES.map(|state| (state.as_str(), 0)).into(), ..Census::default() };
        for (name, entry) in &self.read().entries {
            let figures = entry.live.figures();
            let state = figures.machine.state();
            *census.states.entry(state.as_str()).or_default() += 1;
            census.records_per_s += figures.records_per_s(now);
            let fine = matches!(state, SourceState::Live | SourceState::Connecting | SourceState::Paused);
            if !fine && census.troubled.len() < NAMED {
                let reason = figures.machine.reason().unwrap_or_default();
                let reason = &reason[..reason.floor_char_boundary(REASON)];
                census.troubled.push(format!("{name} is {}: {reason}", state.as_str()));
            }
        }
        census
    }

    /// Counts over all sources since the node started, those that are gone included.
    pub fn totals(&self) -> &Totals {
        &self.0.notice.totals
    }

    /// How the sources are.
    pub fn component(&self) -> Component {
        let census = self.census();
        let all: u64 = census.states.values().sum();
        let read = all - census.of(&[SourceState::Paused]);
        let fine = census.of(&[SourceState::Live, SourceState::Connecting]);
        let (state, detail) = if all == 0 {
            (State::Off, Some("no source is registered".to_owned()))
        } else if fine < read {
            let more = read - fine - census.troubled.len() as u64;
            let more = if more > 0 { format!("; and {more} more") } else { String::new() };
            let words =
                format!("{} of {read} are not live: {}{more}", read - fine, census.troubled.join("; "));
            (State::Degraded, Some(words))
        } else {
            (State::Ok, None)
        };
        Component { state, detail, since: String::new(), figures: self.figures(&census, all) }
    }

    /// Which sources make nothing since their expressions fail, in words.
    pub fn spoiled(&self) -> Option<String> {
        let registry = self.read();
        let mut spoiled = registry.entries.iter().filter_map(|(name, entry)| {
            let figures = entry.live.figures();
            let detail = figures.spoiled_by()?;
            Some(format!("{name}: {}", &detail[..detail.floor_char_boundary(REASON)]))
        });
        let first = spoiled.next()?;
        let more = spoiled.count();
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        Some(format!("an expression fails on all that comes: {first}{more}"))
    }

    /// What becomes of answers, as figures of the pipeline.
    pub fn pipeline_figures(&self) -> BTreeMap<String, Value> {
        let totals = self.totals();
        let count = |counter: &std::sync::atomic::AtomicU64| json!(counter.load(Relaxed));
        [
            ("answers", count(&totals.messages)),
            ("left_out", count(&totals.left_out)),
            ("expression_errors", count(&totals.expression_errors)),
            ("store_waits", count(&totals.waits_for_the_store)),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    fn figures(&self, census: &Census, all: u64) -> BTreeMap<String, Value> {
        let totals = self.totals();
        let sum = |counts: &[std::sync::atomic::AtomicU64; 3]| -> u64 {
            counts.iter().map(|count| count.load(Relaxed)).sum()
        };
        let mut figures: BTreeMap<String, Value> =
            census.states.iter().map(|(word, count)| ((*word).to_owned(), json!(count))).collect();
        for (name, value) in [
            ("sources", json!(all)),
            ("records_per_s", json!((census.records_per_s * 10.0).round() / 10.0)),
            ("records", json!(sum(&totals.records))),
            ("bytes", json!(sum(&totals.bytes))),
            ("errors", json!(sum(&totals.errors))),
            ("polls", json!(totals.polls.load(Relaxed))),
            ("open_sockets", json!(totals.open_connections.load(Relaxed))),
        ] {
            figures.insert(name.to_owned(), value);
        }
        figures
    }
}
