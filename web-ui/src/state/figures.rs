//! A component's figures: names with units become words and numbers for people.

use anode_shared::status::Component;
use serde_json::Value;

use super::{ago, number};

/// One figure as the page shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// Its name in the status.
    pub key: String,
    /// The name for people, without the unit.
    pub label: String,
    /// The value for people, with the unit.
    pub text: String,
    /// The value, where it is a rate: it is drawn over time.
    pub rate: Option<f64>,
}

type Write = fn(f64) -> String;

/// The unit in a figure's name, longest ending first.
const UNITS: [(&str, Write); 6] = [
    ("bytes_per_s", |value| format!("{}/s", number::bytes(value))),
    ("_per_s", |value| format!("{}/s", number::rate(value))),
    ("bytes", number::bytes),
    ("_ms", number::millis),
    ("_us", |value| number::millis(value / 1e3)),
    ("_s", ago::span),
];

/// The figures of a component: rates first, then the others, each in the order of their names.
pub fn figures(component: &Component) -> Vec<Figure> {
    let mut all = Vec::new();
    for (key, value) in &component.figures {
        match value {
            // Such as `latency_ms: {"p50": …, "p99": …}`.
            Value::Object(members) => {
                all.extend(members.iter().filter_map(|(member, value)| figure(key, Some(member), value)));
            }
            value => all.extend(figure(key, None, value)),
        }
    }
    let (mut sorted, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|figure| figure.rate.is_some());
    sorted.extend(others);
    sorted
}

fn figure(key: &str, member: Option<&str>, value: &Value) -> Option<Figure> {
    let unit = UNITS.iter().find(|(ending, _)| key.ends_with(ending));
    let text = match (value, unit) {
        (Value::Number(number), _) => {
            unit.map_or(number::plain as Write, |(_, write)| *write)(number.as_f64()?)
        }
        (Value::String(text), _) if !text.is_empty() => text.clone(),
        (Value::Bool(yes), _) => if *yes { "yes" } else { "no" }.to_owned(),
        (Value::Array(list), _) => list.len().to_string(),
        _ => return None,
    };
    let rate = if key.ends_with("_per_s") { value.as_f64() } else { None };
    let name = member.map_or_else(|| key.to_owned(), |member| format!("{key}.{member}"));
    Some(Figure { label: label(key, member), key: name, text, rate })
}

/// The name without its unit, and with spaces.
fn label(key: &str, member: Option<&str>) -> String {
    let endings = ["_per_s", "_ms", "_us", "_s"];
    let name = endings.iter().find_map(|ending| key.strip_suffix(ending)).unwrap_or(key);
    let name = match name.strip_suffix("_bytes") {
        Some(name) if !key.ends_with("_per_s") => name,
        _ => name,
    };
    let name = name.replace('_', " ");
    member.map_or_else(|| name.clone(), |member| format!("{name} {}", member.replace('_', " ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(json: &str) -> Vec<(String, String)> {
        let json = format!(r#"{{"state":"ok","detail":null,"since":"2026-11-23T02:47:00Z",{json}}}"#);
        let component: Component = serde_json::from_str(&json).unwrap();
        figures(&component).into_iter().map(|figure| (figure.label, figure.text)).collect()
    }

    #[test]
    fn it_reads_units_off_the_names() {
        for (json, label, text) in [
            (r#""records_per_s":1234.5"#, "records", "1,235/s"),
            (r#""bytes_per_s":2048"#, "bytes", "2 KiB/s"),
            (r#""sent_bytes_per_s":2048"#, "sent bytes", "2 KiB/s"),
            (r#""lag_ms":12.2"#, "lag", "12 ms"),
            (r#""sync_us":421"#, "sync", "0.42 ms"),
            (r#""bytes":1048576"#, "bytes", "1 MiB"),
            (r#""disk_free_bytes":1048576"#, "disk free", "1 MiB"),
            (r#""oldest_s":7500"#, "oldest", "2 h 5 min"),
            (r#""subscribers":3"#, "subscribers", "3"),
            (r#""latency_ms":{"p99":7}"#, "latency p99", "7 ms"),
            (r#""syncing":true"#, "syncing", "yes"),
            (r#""logs":["a","b"]"#, "logs", "2"),
            (r#""mode":"files""#, "mode", "files"),
        ] {
            assert_eq!(shown(json), [(label.to_owned(), text.to_owned())], "{json}");
        }
    }

    #[test]
    fn it_says_how_far_the_archive_is_behind_and_what_was_wrong() {
        let away = r#""lag_records":1200,"lag_ms":7500000,"last_error":"Cassandra gave no answer within 3 s","errors":4"#;
        let said = [
            ("errors", "4"),
            ("lag", "2 h 5 min"),
            ("lag records", "1,200"),
            ("last error", "Cassandra gave no answer within 3 s"),
        ];
        assert_eq!(shown(away), said.map(|(label, text)| (label.to_owned(), text.to_owned())));
    }

    #[test]
    fn it_puts_rates_first_and_leaves_out_what_says_nothing() {
        let labels: Vec<String> =
            shown(r#""a":1,"b_per_s":2,"c":null,"d":"","e_per_s":1"#).into_iter().map(|f| f.0).collect();
        assert_eq!(labels, ["b", "e", "a"]);
    }
}
