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

/// Some bits that the hashes of topics begin with: (how many bits, their value).
pub type Shard = (u8, u32);

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
    /// The origin is unknown to the cursor and the log older than it: it counts from the head first heard.
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
        Self { version: VERSION, shards: vec![(0, 0)], since, origins: Vec::new() }
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

    /// Says that the log was seen up to `seq`.
    pub fn set(&mut self, key: LogKey, seq: u64) {
        let entry = self.entry(key.origin, (0, 0));
        if key.log > entry.done {
            entry.logs.insert(key.log, seq);
        }
    }

    /// Says that all logs of the origin up to `log` are finished.
    pub fn set_done(&mut self, origin: Origin, log: LogId) {
        let entry = self.entry(origin, (0, 0));
        entry.done = entry.done.max(log);
        entry.logs = entry.logs.split_off(&LogId(entry.done.0.saturating_add(1)));
    }

    /// The done marks: per origin the log up to which all are finished.
    pub fn done_marks(&self) -> impl Iterator<Item = (Origin, LogId)> {
        self.origins.iter().filter(|e| e.done.0 > 0).map(|e| (e.origin, e.done))
    }

    /// The logs that are named, with their last seqs.
    pub fn logs(&self) -> impl Iterator<Item = (LogKey, u64)> {
        self.origins
            .iter()
            .flat_map(|e| e.logs.iter().map(|(log, seq)| (LogKey { origin: e.origin, log: *log }, *seq)))
    }

    /// What it says of a log.
    pub fn seen(&self, key: LogKey) -> Seen {
        match self.origins.iter().find(|e| e.origin == key.origin) {
            Some(entry) if key.log <= entry.done => Seen::Done,
            Some(entry) => Seen::UpTo(entry.logs.get(&key.log).copied().unwrap_or(0)),
            None if key.log.opened().saturating_add(1).saturating_mul(1_000_000) > self.since => {
                Seen::UpTo(0)
            }
            None => Seen::FromHead,
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
            if cursor.seen(key) != Seen::Done {
                cursor.set(key, seq);
            }
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
        cursor.set(log(1, 7 << 32), 42);
        cursor.set_done(Origin([1; 32]), LogId(6 << 32));
        for (key, seen) in [
            (log(1, 5 << 32), Seen::Done),
            (log(1, 6 << 32), Seen::Done),
            (log(1, 7 << 32), Seen::UpTo(42)),
            (log(1, 8 << 32), Seen::UpTo(0)),
            (log(2, 4 << 32), Seen::FromHead),
            (log(2, 5 << 32), Seen::UpTo(0)),
            (log(2, 6 << 32), Seen::UpTo(0)),
        ] {
            assert_eq!(cursor.seen(key), seen, "{key}");
        }
        assert_eq!(Cursor::new(0).seen(log(2, 1)), Seen::UpTo(0));
    }

    #[test]
    fn it_takes_an_object_that_moves_a_cursor_on() {
        let mut cursor = Cursor::new(9);
        cursor.set(log(1, 7), 42);
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
            logs.iter().for_each(|(origin, id, seq)| cursor.set(log(*origin, *id), *seq));
            done.iter().for_each(|(origin, id)| cursor.set_done(Origin([*origin; 32]), LogId(*id)));
            prop_assert_eq!(Cursor::parse(&cursor.to_string()), Ok(cursor));
        }
    }
}
