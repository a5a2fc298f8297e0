//! Framing of Server-Sent Events, as the HTML standard has it (9.2.6, "Interpreting an event stream"): bytes in, cut
//! anywhere, events out.

use std::time::Duration;

/// The longest line, and the longest data of an event, bytes: what is longer is no event but an attack, or another format.
pub(super) const LONGEST: usize = 4 << 20;
/// The longest id that is remembered, bytes: it goes back as a header.
const LONGEST_ID: usize = 4 << 10;
/// The longest wait that an upstream may ask for by `retry`.
const LONGEST_RETRY: Duration = Duration::from_secs(3_600);

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    /// Its data, lines joined by line feeds.
    pub(super) data: Vec<u8>,
    /// Its name, where it has one.
    pub(super) event: Option<String>,
    /// The last id that was said before it ended, where one was.
    pub(super) id: Option<String>,
    /// Whether it said that id itself, and no event before it: only then it is told from all others by it.
    pub(super) named: bool,
}

/// A line or an event that is longer than [`LONGEST`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event is longer than {} MiB", LONGEST >> 20)]
pub(super) struct TooLong;

/// Reads a stream.
#[derive(Debug, Clone, Default)]
pub(super) struct Events {
    /// A line whose end has not come yet.
    line: Vec<u8>,
    /// The event's data, if only an empty line of it.
    data: Option<Vec<u8>>,
    event: String,
    /// The last id that was said; it stays for all later events.
    id: Option<String>,
    /// Whether it was said since the last event, and is another than before.
    named: bool,
    retry: Option<Duration>,
    /// Whether the last byte was a CR, so that an LF behind it is the same end of line.
    carriage: bool,
    /// Whether the first line has been read: only before it a byte order mark is passed over.
    begun: bool,
}

impl Events {
    /// How long the upstream wants to be left alone before a reconnect, where it said so.
    pub(super) fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// Reads what came, and adds the events that ended to `out`.
    ///
    /// # Errors
    /// When a line or an event is too long. Nothing can be read after that.
    pub(super) fn push(&mut self, mut bytes: &[u8], out: &mut Vec<Event>) -> Result<(), TooLong> {
        if self.carriage && !bytes.is_empty() {
            self.carriage = false;
            bytes = bytes.strip_prefix(b"\n").unwrap_or(bytes);
        }
        while let Some(end) = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n')) {
            self.grow(&bytes[..end])?;
            let is_cr = bytes[end] == b'\r';
            bytes = &bytes[end + 1..];
            if is_cr {
                self.carriage = bytes.is_empty();
                bytes = bytes.strip_prefix(b"\n").unwrap_or(bytes);
            }
            let line = std::mem::take(&mut self.line);
            self.line_ended(&line, out)?;
        }
        self.grow(bytes)
    }

    fn grow(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        if self.line.len() + bytes.len() > LONGEST {
            return Err(TooLong);
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn line_ended(&mut self, line: &[u8], out: &mut Vec<Event>) -> Result<(), TooLong> {
        let mark = if self.begun { None } else { line.strip_prefix(b"\xEF\xBB\xBF") };
        let line = mark.unwrap_or(line);
        self.begun = true;
        if line.is_empty() {
            out.extend(self.dispatch());
            return Ok(());
        }
        let (field, value) = match line.iter().position(|byte| *byte == b':') {
            Some(place) => {
                (&line[..place], line[place + 1..].strip_prefix(b" ").unwrap_or(&line[place + 1..]))
            }
            None => (line, &[][..]),
        };
        match field {
            b"data" => self.add(value),
            b"event" => {
                self.event = String::from_utf8_lossy(&value[..value.len().min(LONGEST_ID)]).into_owned();
                Ok(())
            }
            b"id" => {
                self.name(value);
                Ok(())
            }
            b"retry" => {
                self.wait(value);
                Ok(())
            }
            // A line that begins with a colon is a comment; fields that nobody knows are passed over.
            _ => Ok(()),
        }
    }

    fn add(&mut self, value: &[u8]) -> Result<(), TooLong> {
        let length = self.data.as_ref().map_or(0, Vec::len);
        if length + value.len() + 1 > LONGEST {
            return Err(TooLong);
        }
        if let Some(data) = &mut self.data {
            data.push(b'\n');
        }
        self.data.get_or_insert_default().extend_from_slice(value);
        Ok(())
    }

    fn name(&mut self, value: &[u8]) {
        let Ok(text) = std::str::from_utf8(value) else { return };
        // It goes back as a header, where control characters cannot stand.
        if value.len() <= LONGEST_ID && !text.chars().any(char::is_control) {
            let id = (!text.is_empty()).then(|| text.to_owned());
            self.named = id.is_some() && (self.named || id != self.id);
            self.id = id;
        }
    }

    fn wait(&mut self, value: &[u8]) {
        let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        let millis = std::str::from_utf8(value).ok().filter(|_| digits).and_then(|text| text.parse().ok());
        if let Some(millis) = millis {
            self.retry = Some(Duration::from_millis(millis).min(LONGEST_RETRY));
        }
    }

    /// Ends the event. One without data is none.
    fn dispatch(&mut self) -> Option<Event> {
        let event = std::mem::take(&mut self.event);
        let named = std::mem::take(&mut self.named);
        self.data.take().map(|data| Event {
            data,
            event: (!event.is_empty()).then_some(event),
            id: self.id.clone(),
            named,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(stream: &[u8], cuts: usize) -> Vec<Event> {
        let mut events = Events::default();
        let mut out = Vec::new();
        for chunk in stream.chunks(cuts.max(1)) {
            events.push(chunk, &mut out).unwrap();
        }
        out
    }

    fn event(data: &str, name: Option<&str>, id: Option<&str>) -> Event {
        let id = id.map(str::to_owned);
        Event { data: data.into(), event: name.map(str::to_owned), named: id.is_some(), id }
    }

    #[test]
    fn it_tells_events_apart_by_ids_that_they_say_themselves() {
        for (stream, named) in [
            ("id: 7\ndata: 100\n\ndata: 101\n\ndata: 100\n\n", vec![true, false, false]),
            ("id: 7\ndata: a\n\nid: 7\ndata: a\n\nid: 8\ndata: a\n\n", vec![true, false, true]),
            ("id: 7\ndata: a\n\nid: 8\nid: 7\ndata: a\n\nid\ndata: b\n\n", vec![true, true, false]),
            ("id: 7\n\ndata: a\n\n", vec![false]),
        ] {
            let found: Vec<bool> = read(stream.as_bytes(), 1_000).iter().map(|event| event.named).collect();
            assert_eq!(found, named, "{stream:?}");
        }
    }

    #[test]
    fn it_reads_streams_as_the_standard_says_wherever_they_are_cut() {
        for (stream, expected) in [
            ("", vec![]),
            ("data: a\n\n", vec![event("a", None, None)]),
            ("data: a\r\rdata: b\r\r", vec![event("a", None, None), event("b", None, None)]),
            ("data: a\r\n\r\ndata: b\r\n\r\n", vec![event("a", None, None), event("b", None, None)]),
            ("data: a\n\r\n", vec![event("a", None, None)]),
            ("data: YHOO\ndata: +2\ndata: 10\n\n", vec![event("YHOO\n+2\n10", None, None)]),
            (
                ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
                vec![
                    event("first event", None, Some("1")),
                    event("second event", None, None),
                    event(" third event", None, None),
                ],
            ),
            ("data\n\ndata\ndata\n\ndata:", vec![event("", None, None), event("\n", None, None)]),
            ("data:test\n\ndata: test\n\n", vec![event("test", None, None), event("test", None, None)]),
            (
                "event: trade\ndata: x\n\ndata: y\n\n",
                vec![event("x", Some("trade"), None), event("y", None, None)],
            ),
            ("event: lone\n\n", vec![]),
            ("id: 7\n\ndata: x\n\n", vec![Event { named: false, ..event("x", None, Some("7")) }]),
            ("id: a\0b\ndata: x\n\n", vec![event("x", None, None)]),
            ("\u{feff}data: x\n\n", vec![event("x", None, None)]),
            ("\u{feff}\u{feff}data: x\n\n", vec![]),
            ("unknown: x\ndata: y\nDATA: z\n\n", vec![event("y", None, None)]),
            ("data: unfinished", vec![]),
            ("data: ä\n\n", vec![event("ä", None, None)]),
        ] {
            for cuts in [1, 2, 3, 5, 1_000] {
                assert_eq!(read(stream.as_bytes(), cuts), expected, "{stream:?} in chunks of {cuts}");
            }
        }
    }

    #[test]
    fn it_remembers_how_long_to_wait() {
        for (stream, expected) in [
            ("retry: 1500\n", Some(1_500)),
            ("retry: 1500\nretry: x\n", Some(1_500)),
            ("retry:\n", None),
            ("retry: +5\n", None),
            ("retry: 99999999999999\n", Some(3_600_000)),
            ("retry: 999999999999999999999999\n", None),
        ] {
            let mut events = Events::default();
            events.push(stream.as_bytes(), &mut Vec::new()).unwrap();
            assert_eq!(events.retry().map(|wait| wait.as_millis()), expected, "{stream}");
        }
    }

    #[test]
    fn it_refuses_what_is_too_long() {
        let chunk = vec![b'x'; 1 << 20];
        let mut line = Events::default();
        let results: Vec<bool> = (0..5).map(|_| line.push(&chunk, &mut Vec::new()).is_ok()).collect();
        assert_eq!(results, [true, true, true, true, false]);
        let mut lines = Events::default();
        let mut data = b"data: ".to_vec();
        data.extend_from_slice(&chunk);
        data.push(b'\n');
        let results: Vec<bool> = (0..5).map(|_| lines.push(&data, &mut Vec::new()).is_ok()).collect();
        assert_eq!(results.iter().filter(|ok| **ok).count(), 3);
    }

    proptest! {
        #[test]
        fn it_does_not_matter_where_bytes_are_cut(
            parts in prop::collection::vec(prop::sample::select(vec![
                "data", "event", "id", "retry", ":", " ", "\r", "\n", "\r\n", "\n\n", "x", "12", "\u{feff}", "ä",
            ]), 0..60),
            cuts in 1_usize..9,
        ) {
            let stream = parts.concat();
            prop_assert_eq!(read(stream.as_bytes(), cuts), read(stream.as_bytes(), usize::MAX));
        }
    }
}
