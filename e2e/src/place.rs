//! A client's place in the mesh, kept in each of the forms that a cursor may take.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::checker::Seen;
use crate::words::{Id, percent};

/// The form in which a client gives its place back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The last opaque cursor: what came after it is taken back and seen again.
    Opaque,
    /// The last opaque cursor moved on by the records seen since: nothing comes again.
    Object,
    /// Only the seqs seen, for a client that began at `earliest`.
    Seqs,
}

/// What a client saw and where it stands, over all its connections.
#[derive(Clone, Debug)]
pub struct Place {
    form: Form,
    cursor: Option<String>,
    ahead: BTreeMap<String, u64>,
    kept: Vec<Seen>,
    since: Vec<Seen>,
}

impl Place {
    /// Makes the place of a client that has seen nothing.
    #[must_use]
    pub fn new(form: Form) -> Self {
        Self { form, cursor: None, ahead: BTreeMap::new(), kept: Vec::new(), since: Vec::new() }
    }

    /// Notes a record.
    pub fn record(&mut self, id: Id, key: String) {
        self.ahead.insert(id.log.clone(), id.seq);
        self.since.push(Seen::Record(id, key));
    }

    /// Notes a gap.
    pub fn gap(&mut self, log: &str, from: u64, to: u64, reason: &str) {
        self.ahead.insert(log.to_owned(), to);
        let (log, reason) = (log.to_owned(), reason.to_owned());
        self.since.push(Seen::Gap { log, from, to, reason });
    }

    /// Notes a cursor, which counts all that came before it.
    pub fn cursor(&mut self, cursor: &str) {
        self.kept.append(&mut self.since);
        if self.form != Form::Seqs {
            self.cursor = Some(cursor.to_owned());
            self.ahead.clear();
        }
    }

    /// Notes that the connection ended: a client with an opaque cursor only falls back to it.
    pub fn cut(&mut self) {
        if self.form == Form::Opaque {
            self.since.clear();
            self.ahead.clear();
        }
        self.kept.append(&mut self.since);
    }

    /// The value of `start` for the next connection, encoded for a query.
    #[must_use]
    pub fn start(&self) -> String {
        match self.after() {
            Some(after) => format!("after:{}", percent(&after)),
            None => "earliest".to_owned(),
        }
    }

    /// The cursor in the client's form, if it has one.
    #[must_use]
    pub fn after(&self) -> Option<String> {
        if self.form == Form::Opaque || (self.cursor.is_some() && self.ahead.is_empty()) {
            return self.cursor.clone();
        }
        if self.ahead.is_empty() {
            return None;
        }
        let mut object: Map<String, Value> =
            self.ahead.iter().map(|(log, seq)| (log.clone(), Value::from(*seq))).collect();
        if let Some(cursor) = &self.cursor {
            object.insert("cursor".to_owned(), Value::from(cursor.as_str()));
        }
        Some(Value::Object(object).to_string())
    }

    /// All that the client saw and kept, in order.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.kept.iter().chain(&self.since).cloned().collect()
    }

    /// How many records and gaps the client saw and kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kept.len() + self.since.len()
    }

    /// Whether the client saw nothing yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(form: Form) -> Place {
        let mut place = Place::new(form);
        place.record(Id::new("o/a", 1), "1".to_owned());
        place.cursor("C1");
        place.record(Id::new("o/a", 2), "2".to_owned());
        place.gap("o/b", 1, 4, "expired");
        place.cut();
        place
    }

    #[test]
    fn it_resumes_in_each_form() {
        for (form, after, kept) in [
            (Form::Opaque, "C1", 1),
            (Form::Object, r#"{"cursor":"C1","o/a":2,"o/b":4}"#, 3),
            (Form::Seqs, r#"{"o/a":2,"o/b":4}"#, 3),
        ] {
            let place = at(form);
            assert_eq!(place.after().unwrap(), after, "{form:?}");
            assert_eq!(place.len(), kept, "{form:?}");
            assert_eq!(Place::new(form).start(), "earliest", "{form:?}");
        }
    }

    #[test]
    fn it_gives_the_bare_cursor_where_nothing_came_since() {
        let mut place = at(Form::Object);
        place.cursor("C2");
        assert_eq!(place.start(), "after:C2");
    }
}
