//! Where the page stands in the feed, so that it resumes without a loss or a duplicate.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anode_shared::frames::GapBody;

/// How many records a page begins with.
pub const FIRST: usize = 50;

/// The last cursor that the node gave, and the records that came since.
#[derive(Debug, Clone, Default)]
pub struct Place {
    cursor: Option<String>,
    seen: BTreeMap<String, u64>,
}

impl Place {
    /// The node named the place; it covers all that came before.
    pub fn cursor(&mut self, cursor: String) {
        self.cursor = Some(cursor);
        self.seen.clear();
    }

    /// A record came. An id that is none changes nothing.
    pub fn record(&mut self, id: &str) {
        if let Some((log, seq)) = id.rsplit_once('/')
            && let Ok(seq) = seq.parse()
        {
            self.reached(log, seq);
        }
    }

    /// A gap came: its records will not, so it counts as seen.
    pub fn gap(&mut self, gap: &GapBody) {
        self.reached(&gap.log, gap.to);
    }

    fn reached(&mut self, log: &str, seq: u64) {
        match self.seen.get_mut(log) {
            Some(last) => *last = seq.max(*last),
            None => drop(self.seen.insert(log.to_owned(), seq)),
        }
    }

    /// The place as a cursor: the node's own words, or the object of the contract where records came since.
    /// `None` before the node has given one.
    pub fn resume(&self) -> Option<String> {
        let cursor = self.cursor.as_ref()?;
        if self.seen.is_empty() {
            return Some(cursor.clone());
        }
        // Cursors are URL-safe, and logs are peer ids and hex digits: nothing here needs escapes.
        let mut object = format!(r#"{{"cursor":"{cursor}""#);
        for (log, seq) in &self.seen {
            let _ = write!(object, r#","{log}":{seq}"#);
        }
        object.push('}');
        Some(object)
    }

    /// The value of `start` with which to open the feed.
    pub fn start(&self) -> String {
        match self.resume() {
            Some(cursor) => format!("after:{cursor}"),
            None => format!("last:{FIRST}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anode_shared::frames::GapReason;

    #[test]
    fn it_begins_with_the_newest_records() {
        let mut place = Place::default();
        place.record("o/l/1");
        assert_eq!(
            place.start(),
            "last:50",
            "without a cursor the records seen say nothing about other logs"
        );
    }

    #[test]
    fn it_moves_the_cursor_on_by_what_came_since() {
        let mut place = Place::default();
        place.cursor("c1".to_owned());
        assert_eq!(place.start(), "after:c1");
        for id in ["o/l/4", "o/l/5", "p/m/9", "o/l/2", "no id", "o/l/x"] {
            place.record(id);
        }
        assert_eq!(place.start(), r#"after:{"cursor":"c1","o/l":5,"p/m":9}"#);
        place.gap(&GapBody { log: "o/l".to_owned(), from: 6, to: 8, reason: GapReason::Expired });
        assert_eq!(place.start(), r#"after:{"cursor":"c1","o/l":8,"p/m":9}"#);
        place.cursor("c2".to_owned());
        assert_eq!(place.start(), "after:c2");
    }
}
