//! The live list: newest first, bounded, with pause.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use super::row::Row;

/// How many rows are kept: more than anyone reads, little enough for a phone.
pub const SHOWN: usize = 500;

/// A row and the key by which the page tells it from the others.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Rises with every row.
    pub key: u64,
    /// What it shows.
    pub row: Arc<Row>,
}

/// The rows, and those that are held back while the list is paused; both newest first.
#[derive(Debug, Default)]
pub struct Records {
    rows: VecDeque<Entry>,
    held: Option<VecDeque<Entry>>,
    ids: HashSet<String>,
    next: u64,
    held_back: u64,
    left_out: u64,
}

impl Records {
    /// Adds rows, oldest first, and counts those that the caller had no room for. A record that is in the list
    /// already is not shown twice.
    pub fn push(&mut self, rows: Vec<Row>, left_out: u64) {
        if self.held.is_some() {
            self.held_back += left_out;
        }
        self.left_out += left_out;
        for row in rows {
            if let Row::Record(record) = &row
                && !self.ids.insert(record.id.clone())
            {
                continue;
            }
            let entry = Entry { key: self.next, row: Arc::new(row) };
            self.next += 1;
            self.held_back += u64::from(self.held.is_some());
            let list = self.held.as_mut().unwrap_or(&mut self.rows);
            list.push_front(entry);
            self.trim();
        }
    }

    /// Drops what there are too many of, from the list that grew.
    fn trim(&mut self) {
        let list = self.held.as_mut().unwrap_or(&mut self.rows);
        while list.len() > SHOWN {
            if let Some(dropped) = list.pop_back()
                && let Row::Record(record) = &*dropped.row
            {
                self.ids.remove(&record.id);
                self.left_out += 1;
            }
        }
    }

    /// Holds back what comes from now on.
    pub fn pause(&mut self) {
        self.held.get_or_insert_default();
    }

    /// Shows what was held back, and what comes from now on.
    pub fn resume(&mut self) {
        let mut held = self.held.take().unwrap_or_default();
        held.append(&mut self.rows);
        self.rows = held;
        self.held_back = 0;
        self.trim();
    }

    /// Whether the list is paused.
    pub fn is_paused(&self) -> bool {
        self.held.is_some()
    }

    /// How many rows came since the list was paused.
    pub fn held_back(&self) -> u64 {
        self.held_back
    }

    /// How many records came and are not in the list any more.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// The rows, newest first.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &Entry> {
        self.rows.iter()
    }

    /// Forgets all rows; a pause goes on.
    pub fn clear(&mut self) {
        let held = self.held.is_some().then(VecDeque::new);
        *self = Self { held, next: self.next, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::row::{Payload, RecordRow};

    fn record(seq: usize) -> Row {
        Row::Record(Box::new(RecordRow {
            id: format!("o/l/{seq}"),
            topic: "a".to_owned(),
            time: String::new(),
            at: 0.0,
            from: None,
            signed: None,
            payload: Payload::Json("1".to_owned()),
        }))
    }

    fn ids(records: &Records) -> Vec<String> {
        records
            .rows()
            .map(|entry| match &*entry.row {
                Row::Record(record) => record.id.clone(),
                other => format!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn it_shows_the_newest_first_and_each_once() {
        let mut records = Records::default();
        records.push(vec![record(1), record(2)], 0);
        records.push(vec![record(2), record(3)], 0);
        assert_eq!(ids(&records), ["o/l/3", "o/l/2", "o/l/1"]);
        assert_eq!(records.left_out(), 0);
    }

    #[test]
    fn it_is_bounded_and_counts_what_it_leaves_out() {
        let mut records = Records::default();
        records.push((0..SHOWN + 20).map(record).collect(), 7);
        assert_eq!((records.rows().len(), records.left_out()), (SHOWN, 27));
        records.push(vec![record(0)], 0);
        assert_eq!(ids(&records)[0], "o/l/0", "one that was dropped may come again");
    }

    #[test]
    fn it_holds_back_while_paused_and_loses_nothing() {
        let mut records = Records::default();
        records.push(vec![record(1)], 0);
        records.pause();
        records.push(vec![record(2), record(3)], 4);
        assert_eq!((ids(&records), records.held_back()), (vec!["o/l/1".to_owned()], 6));
        records.pause();
        assert_eq!(records.held_back(), 6, "a second pause changes nothing");
        records.resume();
        assert_eq!(ids(&records), ["o/l/3", "o/l/2", "o/l/1"]);
        assert_eq!((records.held_back(), records.is_paused()), (0, false));
    }

    #[test]
    fn it_bounds_what_it_holds_back() {
        let mut records = Records::default();
        records.push((0..SHOWN).map(record).collect(), 0);
        records.pause();
        records.push((SHOWN..3 * SHOWN).map(record).collect(), 0);
        assert_eq!(records.held_back(), 1_000);
        records.resume();
        assert_eq!((records.rows().len(), records.left_out()), (SHOWN, 1_000));
        assert_eq!(ids(&records)[0], format!("o/l/{}", 3 * SHOWN - 1));
    }

    #[test]
    fn it_stays_paused_over_a_new_question() {
        let mut records = Records::default();
        records.push(vec![record(1)], 0);
        records.pause();
        records.clear();
        assert!(records.is_paused() && records.rows().len() == 0);
        records.push(vec![record(1)], 0);
        assert_eq!((records.rows().len(), records.held_back()), (0, 1));
    }
}
