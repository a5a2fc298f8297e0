//! Cursors: a reader's place in the whole mesh, valid on every node.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::codec;
use crate::ids::{LogId, LogKey, Origin};
use crate::time::Micros;

const VERSION: u8 = 1;
/// The longest cursor as text; what a URL of 64 KiB can hold.
pub const MAX_TEXT: usize = 64 << 10;

/// Some bits that the hashes of topics begin with: (how many bits, their value). No bits: all topics.
pub type Shard = (u8, u32);

/// Per origin and shard the log up to which all are finished.
pub type Marks = BTreeMap<(Origin, Shard), LogId>;

/// All topics.
pub const WHOLE: Shard = (0, 0);

/// For each log the last seq seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    version: u8,
    /// The shards that it covers.
    pub shards: Vec<Shard>,
    /// When its reader first came; 0 for one that began at the earliest record.
    pub since: Micros,
    origins: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    origin: Origin,
    shard: Shard,
    /// All logs up to this one are finished.
    done: LogId,
    /// Later logs with their last seqs.
    logs: BTreeMap<LogId, u64>,
}

/// What a cursor says of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// The log is finished: nothing of it is wanted any more.
    Done,
    /// Up to this seq; 0 is nothing.
    UpTo(u64),
    /// The origin's shard is unknown to the cursor and the log older than it: it counts from the head first heard.
    FromHead,
}

/// Why a text is no cursor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a cursor: {0}. Take one as a node sent it, or an object {{\"cursor\": …, \"<origin>/<log>\": seq}}"
)]
pub struct CursorError(String);

impl Cursor {
    /// A cursor that has seen nothing, of a reader that came at `since`.
    pub fn new(since: Micros) -> Self {
        Self { version: VERSION, shards: vec![WHOLE], since, origins: Vec::new() }
    }

    /// What is said of an origin, shard by shard.
    fn of(&self, origin: Origin) -> &[Entry] {
        let first = self.origins.partition_point(|entry| entry.origin < origin);
        let behind = self.origins.partition_point(|entry| entry.origin <= origin);
        &self.origins[first..behind]
    }

    fn entry(&mut self, origin: Origin, shard: Shard) -> &mut Entry {
        let place = match self.origins.binary_search_by_key(&(origin, shard), |e| (e.origin, e.shard)) {
            Ok(place) => place,
            Err(place) => {
                self.origins.insert(place, Entry { origin, shard, done: LogId(0), logs: BTreeMap::new() });
                place
            }
        };
        &mut self.origins[place]
    }

    /// Says that the log, which is one of this shard, was seen up to `seq`.
    pub fn set(&mut self, key: LogKey, shard: Shard, seq: u64) {
        // Whoever named it may not have known its shard.
        let others = self.origins.iter_mut().filter(|e| e.origin == key.origin && e.shard != shard);
        others.for_each(|entry| _ = entry.logs.remove(&key.log));
        let entry = self.entry(key.origin, shard);
        if key.log > entry.done {
            entry.logs.insert(key.log, seq);
        }
    }

    /// Says that all logs of the origin's shard up to `log` are finished.
    pub fn set_done(&mut self, origin: Origin, shard: Shard, log: LogId) {
        let entry = self.entry(origin, shard);
        entry.done = entry.done.max(log);
        entry.logs = entry.logs.split_off(&LogId(entry.done.0.saturating_add(1)));
    }

    /// The origins of which it says anything, rising.
    pub fn origins(&self) -> impl Iterator<Item = Origin> {
        let mut last = None;
        self.origins
            .iter()
            .map(|entry| entry.origin)
            .filter(move |origin| last.replace(*origin) != Some(*origin))
    }

    /// Says nothing of an origin any more, unless it is to be kept.
    pub fn keep(&mut self, keeps: impl Fn(Origin) -> bool) {
        self.origins.retain(|entry| keeps(entry.origin));
    }

    /// The done marks: per origin and shard the log up to which all are finished.
    pub fn done_marks(&self) -> Marks {
        let marked = self.origins.iter().filter(|e| e.done.0 > 0);
        marked.map(|e| ((e.origin, e.shard), e.done)).collect()
    }

    /// The logs that are named, with their last seqs.
    pub fn logs(&self) -> impl Iterator<Item = (LogKey, u64)> {
        self.origins
            .iter()
            .flat_map(|e| e.logs.iter().map(|(log, seq)| (LogKey { origin: e.origin, log: *log }, *seq)))
    }

    /// What it says of a log of a shard. A log that it names it may name without knowing the shard.
    pub fn seen(&self, key: LogKey, shard: Shard) -> Seen {
        let entries = self.of(key.origin);
        let entry = entries.iter().find(|entry| entry.shard == shard);
        if entry.is_some_and(|entry| key.log <= entry.done) {
            return Seen::Done;
        }
        let named = entries.iter().find_map(|entry| entry.logs.get(&key.log));
        let younger = key.log.opened().saturating_add(1).saturating_mul(1_000_000) > self.since;
        match named {
            Some(seq) => Seen::UpTo(*seq),
            None if entry.is_some() || younger => Seen::UpTo(0),
            None => Seen::FromHead,
        }
    }

    /// Whether a log is finished. Its shard is looked up only where that matters.
    pub fn is_done(&self, key: LogKey, shard: impl FnOnce() -> Shard) -> bool {
        let mut entries = self.of(key.origin).iter().filter(|entry| key.log <= entry.done).peekable();
        entries.peek().is_some() && {
            let shard = shard();
            entries.any(|entry| entry.shard == shard)
        }
    }

    /// Reads the opaque form, or an object `{"cursor": …, "<origin>/<log>": seq}` as JSON text.
    ///
    /// # Errors
    /// When it is neither.
    pub fn parse(text: &str) -> Result<Self, CursorError> {
        if text.len() > MAX_TEXT {
            return Err(CursorError(format!("{} bytes, at most {MAX_TEXT} are taken", text.len())));
        }
        if text.trim_start().starts_with('{') { Self::parse_object(text) } else { Self::parse_opaque(text) }
    }

    fn parse_opaque(text: &str) -> Result<Self, CursorError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|error| CursorError(error.to_string()))?;
        let cursor: Self = codec::decode(&bytes).map_err(|error| CursorError(error.to_string()))?;
        if cursor.version != VERSION {
            return Err(CursorError(format!("its version is {}, this node reads {VERSION}", cursor.version)));
        }
        if !cursor.origins.is_sorted_by(|a, b| (a.origin, a.shard) < (b.origin, b.shard)) {
            return Err(CursorError("its origins are out of order".to_owned()));
        }
        Ok(cursor)
    }

    fn parse_object(text: &str) -> Result<Self, CursorError> {
        let mut object: BTreeMap<String, serde_json::Value> =
            serde_json::from_str(text).map_err(|error| CursorError(error.to_string()))?;
        let mut cursor = match object.remove("cursor") {
            None => Self::new(0),
            Some(serde_json::Value::String(opaque)) => Self::parse_opaque(&opaque)?,
            Some(_) => return Err(CursorError("\"cursor\" is not a text".to_owned())),
        };
        for (name, seq) in object {
            let key: LogKey = name.parse().map_err(|error| CursorError(format!("{name:?}: {error}")))?;
            let seq = seq
                .as_u64()
                .ok_or_else(|| CursorError(format!("the seq of {name:?} is not a whole number")))?;
            let named = cursor.of(key.origin).iter().find(|entry| entry.logs.contains_key(&key.log));
            let shard = named.map_or(WHOLE, |entry| entry.shard);
            cursor.set(key, shard, seq);
        }
        Ok(cursor)
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(codec::encode(self)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn log(origin: u8, log: u64) -> LogKey {
        LogKey { origin: Origin([origin; 32]), log: LogId(log) }
    }

    #[test]
    fn it_says_what_was_seen_of_each_log() {
        let mut cursor = Cursor::new(5_000_000);
        cursor.set(log(1, 7 << 32), WHOLE, 42);
        cursor.set_done(Origin([1; 32]), WHOLE, LogId(6 << 32));
        for (key, seen) in [
            (log(1, 5 << 32), Seen::Done),
            (log(1, 6 << 32), Seen::Done),
            (log(1, 7 << 32), Seen::UpTo(42)),
            (log(1, 8 << 32), Seen::UpTo(0)),
            (log(2, 4 << 32), Seen::FromHead),
            (log(2, 5 << 32), Seen::UpTo(0)),
            (log(2, 6 << 32), Seen::UpTo(0)),
        ] {
            assert_eq!(cursor.seen(key, WHOLE), seen, "{key}");
            assert_eq!(cursor.is_done(key, || WHOLE), seen == Seen::Done, "{key}");
        }
        assert_eq!(Cursor::new(0).seen(log(2, 1), WHOLE), Seen::UpTo(0));
    }

    #[test]
    fn it_keeps_shards_apart() {
        let (one, other) = ((2, 1), (2, 3));
        let mut cursor = Cursor::new(50_000_000);
        cursor.set(log(1, 8 << 32), one, 5);
        cursor.set_done(Origin([1; 32]), one, LogId(6 << 32));
        cursor.set(log(1, 3 << 32), WHOLE, 9);
        for (log_second, shard, seen) in [
            (4, one, Seen::Done),
            (3, one, Seen::Done),
            (7, one, Seen::UpTo(0)),
            (8, one, Seen::UpTo(5)),
            // Named by somebody who did not know its shard.
            (3, other, Seen::UpTo(9)),
            (4, other, Seen::FromHead),
            (50, other, Seen::UpTo(0)),
        ] {
            let key = log(1, log_second << 32);
            assert_eq!(cursor.seen(key, shard), seen, "{key} of {shard:?}");
            assert_eq!(cursor.is_done(key, || shard), seen == Seen::Done, "{key} of {shard:?}");
        }
        cursor.set(log(1, 3 << 32), other, 10);
        assert_eq!(cursor.logs().filter(|(key, _)| key.log == LogId(3 << 32)).count(), 1);
        let named = format!("{{\"cursor\": \"{cursor}\", \"{}\": 7}}", log(1, 8 << 32));
        let moved = Cursor::parse(&named).unwrap();
        assert_eq!(moved.seen(log(1, 8 << 32), one), Seen::UpTo(7));
        assert_eq!(moved.done_marks(), Marks::from([((Origin([1; 32]), one), LogId(6 << 32))]));
    }

    #[test]
    fn it_takes_an_object_that_moves_a_cursor_on() {
        let mut cursor = Cursor::new(9);
        cursor.set(log(1, 7), WHOLE, 42);
        let text = format!("{{\"cursor\": \"{cursor}\", \"{}\": 50, \"{}\": 3}}", log(1, 7), log(2, 8));
        let moved = Cursor::parse(&text).unwrap();
        assert_eq!(moved.logs().collect::<Vec<_>>(), vec![(log(1, 7), 50), (log(2, 8), 3)]);
        assert_eq!(moved.since, 9);
        assert_eq!(Cursor::parse(&format!("{{\"{}\": 3}}", log(2, 8))).unwrap().since, 0);
    }

    #[test]
    fn it_refuses_what_is_no_cursor() {
        for bad in ["", "x", "!!", "{", "{\"cursor\": 1}", "{\"a\": 1}", "oWF4AQ", &"A".repeat(70_000)] {
            assert!(Cursor::parse(bad).is_err(), "{bad}");
        }
        let negative = format!("{{\"{}\": -1}}", log(2, 8));
        assert!(Cursor::parse(&negative).is_err());
    }

    proptest! {
        #[test]
        fn it_reads_what_it_wrote(since in any::<u64>(), logs in prop::collection::vec((any::<u8>(), 1..u64::MAX, any::<u64>()), 0..20), done in prop::collection::vec((any::<u8>(), any::<u64>()), 0..5)) {
            let mut cursor = Cursor::new(since);
            logs.iter().for_each(|(origin, id, seq)| cursor.set(log(*origin, *id), (2, u32::from(*origin) % 3), *seq));
            done.iter().for_each(|(origin, id)| cursor.set_done(Origin([*origin; 32]), (2, u32::from(*origin) % 4), LogId(*id)));
            prop_assert_eq!(Cursor::parse(&cursor.to_string()), Ok(cursor));
        }
    }
}
