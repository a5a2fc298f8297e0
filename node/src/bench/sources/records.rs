//! What a subscriber of the sources' records sees, and how fresh it is.

use std::collections::HashMap;

use anode_shared::frames::RECORD_FRAME_START;

use crate::bench::samples::Samples;

/// The kinds of sources, a third each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Rest,
    Sse,
    Websocket,
}

impl Kind {
    /// The kind of a source by its number.
    pub(super) fn of(number: u32) -> Self {
        [Self::Rest, Self::Sse, Self::Websocket][number as usize % 3]
    }

    /// Its word, as in topics and definitions.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Rest => "rest",
            Self::Sse => "sse",
            Self::Websocket => "websocket",
        }
    }
}

/// A record as far as it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Record {
    number: u32,
    /// The tick's serial.
    n: u64,
    /// When it happened upstream.
    at: u64,
    /// When a poll was answered.
    asked: Option<u64>,
}

/// What was found, durations in microseconds.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Records seen.
    pub(super) records: u64,
    /// Ticks of streams that made no record.
    pub(super) missing: u64,
    /// How old a poll's data had become when the next one's came, beyond the interval.
    pub(super) beyond: Samples,
    /// From a poll's answer to the subscriber.
    pub(super) rest: Samples,
    /// From a tick to the subscriber.
    pub(super) sse: Samples,
    /// The same over WebSockets.
    pub(super) websocket: Samples,
}

/// Looks at records as they come.
#[derive(Debug)]
pub(super) struct Eye {
    interval: u64,
    /// The last record of each source.
    last: HashMap<u32, Record>,
    pub(super) found: Found,
}

impl Eye {
    /// An eye for polls that are this many microseconds apart.
    pub(super) fn new(interval: u64) -> Self {
        Self { interval, last: HashMap::new(), found: Found::default() }
    }

    /// Takes a frame that came at `now`. What is not measured is remembered only.
    pub(super) fn see(&mut self, frame: &[u8], now: u64, measured: bool) {
        let Some(record) = read(frame) else { return };
        let before = self.last.insert(record.number, record);
        if !measured {
            return;
        }
        let found = &mut self.found;
        found.records += 1;
        let late = now.saturating_sub(record.asked.unwrap_or(record.at));
        match Kind::of(record.number) {
            Kind::Rest => {
                found.rest.push(late);
                if let Some(asked) = before.and_then(|before| before.asked) {
                    found.beyond.push(now.saturating_sub(asked).saturating_sub(self.interval));
                }
                return;
            }
            Kind::Sse => found.sse.push(late),
            Kind::Websocket => found.websocket.push(late),
        }
        found.missing += before.map_or(0, |before| record.n.saturating_sub(before.n + 1));
    }
}

/// Reads a record's frame: members in the order in which the node writes them, its payload last.
fn read(frame: &[u8]) -> Option<Record> {
    if !frame.starts_with(RECORD_FRAME_START) {
        return None;
    }
    let (topic, payload) = (behind(frame, b"\"topic\":\"bench.")?, behind(frame, b"\"payload\":")?);
    let number = behind(topic, b".")?;
    Some(Record {
        number: u32::try_from(digits(number)?).ok()?,
        n: digits(behind(payload, b"\"n\":")?)?,
        at: digits(behind(payload, b"\"at\":")?)?,
        asked: behind(payload, b"\"asked\":").and_then(digits),
    })
}

/// What stands behind a text.
fn behind<'a>(bytes: &'a [u8], text: &[u8]) -> Option<&'a [u8]> {
    let place = bytes.windows(text.len()).position(|window| window == text)?;
    bytes.get(place + text.len()..)
}

fn digits(bytes: &[u8]) -> Option<u64> {
    let end = bytes.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(bytes.len());
    std::str::from_utf8(&bytes[..end]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(number: u32, payload: &str) -> Vec<u8> {
        let kind = Kind::of(number).word();
        format!(
            r#"{{"type":"record","id":"o/l/1","topic":"bench.{kind}.{number}","time":"t","source":"{kind}-{number}","publisher":null,"payload":{payload}}}"#
        )
        .into_bytes()
    }

    fn tick(n: u64, at: u64) -> String {
        format!(r#"{{"symbol":"BTC/USD","n":{n},"at":{at},"price":1.5}}"#)
    }

    #[test]
    fn it_reads_records_of_each_kind() {
        let polled = r#"{"asked":77,"symbol":"BTC/USD","n":5,"at":66,"price":1}"#;
        assert_eq!(read(&frame(3, polled)), Some(Record { number: 3, n: 5, at: 66, asked: Some(77) }));
        assert_eq!(read(&frame(1, &tick(2, 9))), Some(Record { number: 1, n: 2, at: 9, asked: None }));
        for other in
            [&b"{}"[..], br#"{"type":"caught_up","cursor":"x"}"#, br#"{"type":"record","topic":"a.b"}"#]
        {
            assert_eq!(read(other), None);
        }
    }

    #[test]
    fn it_measures_from_the_event_and_counts_what_is_missing() {
        let mut eye = Eye::new(1_000_000);
        for (n, now, measured) in [(1, 100, false), (2, 300, true), (5, 700, true)] {
            eye.see(&frame(1, &tick(n, 100)), now, measured);
        }
        let Found { records, missing, sse, rest, .. } = eye.found;
        assert_eq!((records, missing), (2, 2));
        assert_eq!((sse.sorted().millis(100.0), rest.sorted().millis(100.0)), (Some(0.6), None));
    }

    #[test]
    fn it_measures_how_stale_polls_let_data_become() {
        let mut eye = Eye::new(1_000_000);
        for (asked, now) in [(100, 300), (1_000_000, 1_000_500), (2_005_000, 2_006_000)] {
            eye.see(&frame(0, &format!(r#"{{"asked":{asked},"n":1,"at":1}}"#)), now, true);
        }
        // 400 µs after the first answer was 1 s old, 6 ms after the second was.
        let beyond = eye.found.beyond.sorted();
        assert_eq!((beyond.millis(50.0), beyond.millis(100.0)), (Some(0.4), Some(6.0)));
        assert_eq!(eye.found.rest.sorted().millis(100.0), Some(1.0));
    }
}
