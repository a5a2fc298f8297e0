//! What a benchmark found: a table for people, an object for scripts.

use std::io::Write as _;

use anyhow::Context as _;
use serde_json::{Map, Value, json};

use super::samples::Sorted;
use crate::cli::table;

/// Figures in the order in which they are shown.
#[derive(Debug, Default)]
pub(super) struct Report(Vec<(String, Option<f64>, &'static str)>);

impl Report {
    /// Adds a figure; one that is not known is shown as such.
    pub(super) fn figure(&mut self, name: &str, value: impl Into<Option<f64>>, unit: &'static str) {
        self.0.push((name.to_owned(), value.into().filter(|value| value.is_finite()), unit));
    }

    /// Adds p50, p99 and the maximum of samples.
    pub(super) fn percentiles(&mut self, name: &str, sorted: &Sorted) {
        for (suffix, percent) in [("p50", 50.0), ("p99", 99.0), ("max", 100.0)] {
            self.figure(&format!("{name} {suffix}"), sorted.millis(percent), "ms");
        }
    }

    /// Prints it.
    pub(super) fn print(&self, bench: &str, as_json: bool) -> anyhow::Result<()> {
        let text = if as_json { format!("{}\n", self.object(bench)) } else { self.text() };
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("cannot write to stdout")
    }

    fn object(&self, bench: &str) -> Value {
        let mut object = Map::new();
        object.insert("bench".to_owned(), json!(bench));
        for (name, value, unit) in &self.0 {
            let unit = unit.replace('/', "_per_").replace('µ', "u").replace('%', "percent");
            let key = if unit.is_empty() { name.clone() } else { format!("{name} {unit}") };
            object.insert(key.replace([' ', '-'], "_").replace("__", "_"), json!(value));
        }
        Value::Object(object)
    }

    fn text(&self) -> String {
        let row = |(name, value, unit): &(String, Option<f64>, &'static str)| {
            [name.clone(), value.map_or("unknown".to_owned(), shown), (*unit).to_owned()]
        };
        table(["figure", "value", "unit"], &self.0.iter().map(row).collect::<Vec<_>>())
    }
}

/// A number with three digits or more that count, thousands apart.
fn shown(value: f64) -> String {
    if value < 100.0 && value.fract() != 0.0 {
        return format!("{value:.3}");
    }
    let digits = format!("{value:.0}");
    let groups = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy);
    groups.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_shows_figures_for_people_and_for_scripts() {
        for (value, text) in
            [(0.0, "0"), (0.25, "0.250"), (99.5, "99.500"), (1_234_567.0, "1,234,567"), (100.4, "100")]
        {
            assert_eq!(shown(value), text);
        }
        let mut report = Report::default();
        report.figure("durable ingest", 5.0, "records/s");
        report.figure("cpu", None, "µs/record");
        report.figure("kills", 1.0, "");
        assert_eq!(
            report.object("ingest"),
            json!({"bench": "ingest", "durable_ingest_records_per_s": 5.0, "cpu_us_per_record": null, "kills": 1.0})
        );
        assert!(report.text().contains("unknown"));
    }
}
