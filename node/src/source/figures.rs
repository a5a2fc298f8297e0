//! What is known of a source while it runs: its state, its counts, its last error, and how it is shown.

use anode_shared::source::{Beat, SourceError, SourceState, SourceStatus, Stage};
use anode_shared::time::{Micros, to_rfc3339};

use super::beats::Beats;
use super::failure::WORDS;
use super::latency::Latencies;
use super::rate::Rate;
use super::state::{Machine, Moment};

/// The most text of a value that is shown, bytes.
const SHOWN: usize = 200;

/// What is known of a source.
#[derive(Debug, Clone)]
pub(super) struct Figures {
    /// What it is doing.
    pub(super) machine: Machine,
    /// How long its answers took.
    pub(super) latencies: Latencies,
    /// Its last moments.
    pub(super) beats: Beats,
    /// Records made since the node started.
    pub(super) records: u64,
    /// Bytes received since the node started.
    pub(super) bytes: u64,
    /// Errors since the node started.
    pub(super) errors: u64,
    rate: Rate,
    last_error: Option<SourceError>,
    /// Whether nothing was made since an expression failed.
    spoiled: bool,
    last_record: Option<Micros>,
    last_value: Option<String>,
}

impl Figures {
    /// A source of which nothing is known yet.
    pub(super) fn new(machine: Machine) -> Self {
        Self {
            machine,
            latencies: Latencies::default(),
            beats: Beats::default(),
            records: 0,
            bytes: 0,
            errors: 0,
            rate: Rate::default(),
            last_error: None,
            spoiled: false,
            last_record: None,
            last_value: None,
        }
    }

    /// The same counts, for a source whose definition was changed.
    pub(super) fn go_on(&self, machine: Machine) -> Self {
        Self { machine, spoiled: false, ..self.clone() }
    }

    /// Notes records that were made; `payload` is the last one's, where it is text.
    pub(super) fn made(&mut self, count: usize, payload: Option<&[u8]>, now: Moment) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.records += u64::from(count);
        self.rate.add(now.wall / 1_000_000, count);
        self.spoiled = false;
        self.last_record = Some(now.wall);
        self.last_value = payload.and_then(shown);
    }

    /// Notes an error.
    pub(super) fn erred(&mut self, mut error: SourceError) {
        error.detail.truncate(error.detail.floor_char_boundary(WORDS));
        self.errors += 1;
        self.spoiled = error.stage == Stage::Expression;
        self.last_error = Some(error);
    }

    /// What an expression failed by, where nothing was made since.
    pub(super) fn spoiled_by(&self) -> Option<&str> {
        let rests = matches!(self.machine.state(), SourceState::Paused | SourceState::Invalid);
        self.last_error.as_ref().filter(|_| self.spoiled && !rests).map(|error| error.detail.as_str())
    }

    /// Notes a beat: one that stands for itself, or for the second that it falls in.
    pub(super) fn beat(&mut self, beat: Beat, by_second: bool, now: Moment) {
        if by_second {
            self.beats.at(now.wall / 1_000_000, beat);
        } else {
            self.beats.push(beat);
        }
    }

    /// Records a second, over about the last minute.
    pub(super) fn records_per_s(&self, now: Micros) -> f64 {
        self.rate.per_second(now / 1_000_000)
    }

    /// How the source is, as it is shown.
    pub(super) fn status(&self, now: Micros) -> SourceStatus {
        let second = now / 1_000_000;
        // Seconds that a source is not read are no moments of it.
        let rests = matches!(self.machine.state(), SourceState::Paused | SourceState::Invalid);
        SourceStatus {
            state: self.machine.state(),
            since: to_rfc3339(self.machine.since()),
            reason: self.machine.reason().map(str::to_owned),
            last_error: self.last_error.clone(),
            next_attempt: self.machine.next().map(to_rfc3339),
            last_record: self.last_record.map(to_rfc3339),
            last_value: self.last_value.clone(),
            records: self.records,
            records_per_s: self.rate.per_second(second),
            bytes: self.bytes,
            errors: self.errors,
            latency_ms: self.latencies.quantiles(),
            beats: self.beats.list(if rests { 0 } else { second }),
        }
    }
}

/// The beginning of a payload, where it is text.
fn shown(payload: &[u8]) -> Option<String> {
    let start = &payload[..payload.len().min(SHOWN)];
    match std::str::from_utf8(start) {
        Ok(text) => Some(text.to_owned()),
        // Only a character that was cut is forgiven.
        Err(error) if error.error_len().is_none() => {
            Some(String::from_utf8_lossy(&start[..error.valid_up_to()]).into_owned())
        }
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn it_shows_the_beginning_of_text() {
        assert_eq!(shown(b"{\"a\":1}").as_deref(), Some("{\"a\":1}"));
        assert_eq!(shown("ä".repeat(150).as_bytes()).unwrap().len(), SHOWN);
        assert_eq!(shown(format!("x{}", "ä".repeat(150)).as_bytes()).unwrap().len(), SHOWN - 1);
        assert_eq!(shown(&[0xff, 0xfe]), None);
    }

    #[test]
    fn it_sums_up() {
        let now = Moment { at: Instant::now(), wall: 1_795_402_020_123_456 };
        let mut figures = Figures::new(Machine::new(Duration::from_secs(10), now));
        figures.made(3, Some(b"7"), now);
        figures.beat(Beat::Data, true, now);
        let status = figures.status(now.wall + 2_000_000);
        assert_eq!((status.records, status.records_per_s), (3, 1.0));
        assert_eq!(status.last_value.as_deref(), Some("7"));
        assert_eq!(status.last_record.as_deref(), Some("2026-11-23T02:47:00.123456Z"));
        assert_eq!(status.beats, [Beat::Data, Beat::Quiet]);
    }
}
