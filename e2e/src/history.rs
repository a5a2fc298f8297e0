//! Reads history page by page and judges the order of what the pages hold.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::checker::Seen;
use crate::http::Http;
use crate::reader::key_of;
use crate::words::{Id, percent};

/// All pages of one query, in order.
#[derive(Clone, Debug, Default)]
pub struct Paged {
    /// The records as they came.
    pub records: Vec<Value>,
    /// The gaps that any page named: log, first, last, reason.
    pub gaps: BTreeSet<(String, u64, u64, String)>,
    /// The cursor of the first page, to go on live from.
    pub cursor: String,
    /// How many pages there were.
    pub pages: usize,
}

/// Reads all pages of a query, such as `topic=a.>&limit=100`.
///
/// # Errors
/// Fails where an answer is not 200, or the pages have no end.
pub async fn read(http: &Http, query: &str) -> Result<Paged> {
    let mut paged = Paged::default();
    let mut page = String::new();
    loop {
        let body = http.get(&format!("/api/v1/records?{query}{page}")).await?;
        paged.pages += 1;
        ensure!(paged.pages < 100_000, "pages without end");
        paged.records.extend(body["records"].as_array().context("no records")?.iter().cloned());
        for gap in body["gaps"].as_array().context("no gaps")? {
            let number = |field: &str| gap[field].as_u64().unwrap_or(0);
            let text = |field: &str| gap[field].as_str().unwrap_or("").to_owned();
            paged.gaps.insert((text("log"), number("from"), number("to"), text("reason")));
        }
        if paged.pages == 1 {
            body["cursor"].as_str().context("no cursor")?.clone_into(&mut paged.cursor);
        }
        match body["next"].as_str() {
            Some(next) => page = format!("&page={}", percent(next)),
            None => return Ok(paged),
        }
    }
}

impl Paged {
    /// What was seen, sorted by log and seq as the checker wants it.
    ///
    /// # Errors
    /// Fails where a record has no id.
    pub fn seen(&self) -> Result<Vec<Seen>> {
        let mut sorted = BTreeMap::new();
        for (index, record) in self.records.iter().enumerate() {
            let id = Id::of(record, "id")?;
            sorted.insert((id.log.clone(), id.seq, index), Seen::Record(id, key_of(record)));
        }
        for (log, from, to, reason) in self.gaps.clone() {
            let place = (log.clone(), from, usize::MAX);
            sorted.insert(place, Seen::Gap { log, from, to, reason });
        }
        Ok(sorted.into_values().collect())
    }

    /// Holds the records to the order that was asked for: by time, and by seq within a log.
    ///
    /// # Errors
    /// Fails with the first record that stands wrong.
    pub fn ensure_order(&self, descending: bool) -> Result<()> {
        let mut last = String::new();
        let mut seqs = BTreeMap::new();
        for record in &self.records {
            let (id, time) = (Id::of(record, "id")?, record["time"].as_str().context("no time")?);
            let fine = last.is_empty() || if descending { *last >= *time } else { *last <= *time };
            ensure!(fine, "{id} at {time} comes after {last}");
            time.clone_into(&mut last);
            if let Some(before) = seqs.insert(id.log.clone(), id.seq) {
                ensure!((before < id.seq) != descending, "{id} comes after seq {before}");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn paged(records: &[(&str, u64)]) -> Paged {
        let record = |(time, seq): &(&str, u64)| json!({ "id": format!("12D3KooWabc/692273a45f3a9c01/{seq}"), "time": time, "payload": { "k": format!("k{seq}") } });
        Paged { records: records.iter().map(record).collect(), ..Paged::default() }
    }

    #[test]
    fn it_finds_pages_out_of_order() {
        for (records, up, down) in [
            (&[("t1", 1), ("t1", 2), ("t2", 3)][..], true, false),
            (&[("t2", 3), ("t1", 2), ("t1", 1)][..], false, true),
            (&[("t2", 1), ("t1", 2)][..], false, false),
            (&[("t1", 2), ("t1", 1)][..], false, true),
            (&[("t1", 1), ("t2", 1)][..], false, false),
            (&[][..], true, true),
        ] {
            let paged = paged(records);
            assert_eq!(paged.ensure_order(false).is_ok(), up, "{records:?} ascending");
            assert_eq!(paged.ensure_order(true).is_ok(), down, "{records:?} descending");
        }
    }

    #[test]
    fn it_shows_the_checker_doubled_records() {
        let seen = paged(&[("t1", 1), ("t1", 1), ("t1", 2)]).seen().unwrap();
        assert_eq!(crate::checker::check(&crate::checker::Owed::default(), &seen).len(), 1);
    }
}
