//! How sources look in a terminal.

use anode_shared::source::{Beat, SourceState, SourceStatus, SourceTest, SourceView, Stage};
use anode_shared::time::{Micros, from_rfc3339};
use serde::Serialize;

use crate::cli::output::Out;
use crate::config::units::show_seconds;

/// Characters of an answer and of a payload that are shown.
const EXCERPT: usize = 2_000;
const PAYLOAD: usize = 100;
/// Characters of a node's name that are shown.
const NAME: usize = 32;
/// Answers and records of a test that are shown.
const ANSWERS: usize = 3;
const RECORDS: usize = 10;

/// A word as it stands on the wire.
fn word(value: impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

/// A state's word.
pub(super) fn state(state: SourceState) -> String {
    word(state)
}

/// How long ago a time was.
fn age(time: Option<&str>, now: Micros) -> String {
    let at = time.and_then(from_rfc3339);
    at.map_or_else(
        || "-".to_owned(),
        |at| format!("{} ago", show_seconds(now.saturating_sub(at) / 1_000_000)),
    )
}

/// Why a source is as it is, in one line.
pub(super) fn why(status: &SourceStatus) -> String {
    let error = status.last_error.as_ref().map(|error| error.detail.as_str());
    let told = matches!(status.state, SourceState::Live | SourceState::Paused);
    status.reason.as_deref().or(error.filter(|_| !told)).unwrap_or_default().replace('\n', " ")
}

/// A list of sources. Those of other nodes say whose they are.
pub(super) fn list(out: &mut Out, sources: &[SourceView], now: Micros) -> anyhow::Result<()> {
    if sources.iter().any(|source| source.node.is_some()) {
        let whose =
            |view: &SourceView| view.node.as_ref().map_or_else(String::new, |node| cut(&node.name, NAME));
        let rows: Vec<_> = sources.iter().map(|view| row(view, whose(view), now)).collect();
        return out.table(
            ["node", "name", "kind", "state", "topic", "per s", "records", "errors", "last record", "why"],
            &rows,
        );
    }
    let rows = sources.iter().map(|view| {
        let [_, rest @ ..] = row(view, String::new(), now);
        rest
    });
    let rows: Vec<_> = rows.collect();
    out.table(["name", "kind", "state", "topic", "per s", "records", "errors", "last record", "why"], &rows)
}

fn row(view: &SourceView, node: String, now: Micros) -> [String; 10] {
    let status = &view.status;
    [
        node,
        view.definition.name.clone(),
        view.definition.kind.as_str().to_owned(),
        state(status.state),
        view.definition.topic.clone(),
        format!("{:.1}", status.records_per_s),
        status.records.to_string(),
        status.errors.to_string(),
        age(status.last_record.as_deref(), now),
        cut(&why(status), PAYLOAD),
    ]
}

/// One source: how it is, and its definition.
pub(super) fn one(out: &mut Out, view: &SourceView, now: Micros) -> anyhow::Result<()> {
    let status = &view.status;
    let millis = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.1} ms"));
    let error = status.last_error.as_ref().map(|error| {
        format!(
            "{} ({}, {})",
            error.detail,
            place(error.stage, error.field.as_deref()),
            age(Some(&error.time), now)
        )
    });
    for (name, text) in [
        (
            "state",
            Some(format!("{}, {}", state(status.state), age(Some(&status.since), now).replace(" ago", ""))),
        ),
        ("why", status.reason.clone()),
        ("beats", Some(beats(&status.beats)).filter(|beats| !beats.is_empty())),
        (
            "records",
            Some(format!(
                "{} ({:.1} a second), the last {}",
                status.records,
                status.records_per_s,
                age(status.last_record.as_deref(), now)
            )),
        ),
        ("last value", status.last_value.clone()),
        (
            "latency",
            Some(format!("p50 {}, p99 {}", millis(status.latency_ms.p50), millis(status.latency_ms.p99))),
        ),
        ("errors", Some(status.errors.to_string())),
        ("last error", error),
        ("next try", status.next_attempt.clone()),
    ] {
        if let Some(text) = text {
            out.line(format!("{name:<11}{text}"))?;
        }
    }
    out.line("")?;
    out.line(super::file::write(&view.definition)?.0.trim_end())
}

/// The last moments as a bar: data, nothing new, an error.
fn beats(beats: &[Beat]) -> String {
    let sign = |beat: &Beat| match beat {
        Beat::Data => '▮',
        Beat::Quiet => '·',
        Beat::Error => '×',
    };
    beats.iter().map(sign).collect()
}

fn place(stage: Stage, field: Option<&str>) -> String {
    field.map_or_else(|| word(stage), |field| format!("{} of `{field}`", word(stage)))
}

/// What a test showed.
pub(super) fn test(out: &mut Out, test: &SourceTest) -> anyhow::Result<()> {
    let phases = [
        ("dns", test.phases.dns_ms),
        ("connect", test.phases.connect_ms),
        ("tls", test.phases.tls_ms),
        ("first byte", test.phases.first_byte_ms),
        ("total", Some(test.phases.total_ms)),
    ];
    let phases: Vec<String> =
        phases.iter().filter_map(|(name, ms)| ms.map(|ms| format!("{name} {ms:.1} ms"))).collect();
    out.line(format!("{:<11}{}", "times", phases.join(", ")))?;
    if let Some(address) = &test.address {
        out.line(format!("{:<11}{address}", "address"))?;
    }
    if let Some(status) = test.http_status {
        out.line(format!("{:<11}{status}", "status"))?;
    }
    for answer in test.answers.iter().take(ANSWERS) {
        let event = answer.event.as_ref().map_or(String::new(), |event| format!(", event {event}"));
        out.line(format!("\nanswer ({} bytes{event}):", answer.bytes))?;
        let text = answer.text.as_deref().unwrap_or("[no text]");
        out.line(cut(text, EXCERPT).lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n"))?;
    }
    if test.answers.len() > ANSWERS {
        out.line(format!("\n… and {} more answers", test.answers.len() - ANSWERS))?;
    }
    records(out, test)?;
    match &test.error {
        Some(error) => {
            out.line(format!("\nerror in {}: {}", place(error.stage, error.field.as_deref()), error.detail))
        }
        None if test.ok => out.line("\ngood: it would be live"),
        None => out.line("\nit would not be live"),
    }
}

fn records(out: &mut Out, test: &SourceTest) -> anyhow::Result<()> {
    if test.records.is_empty() {
        return out.line("\nno records");
    }
    let count = test.records.len();
    out.line(format!("\n{count} record{}:", if count == 1 { "" } else { "s" }))?;
    let rows: Vec<_> = test
        .records
        .iter()
        .take(RECORDS)
        .map(|record| {
            let payload = match (&record.payload, &record.content_type) {
                (Some(json), _) => json.to_string(),
                (None, media) => format!("[{}]", media.as_deref().unwrap_or("bytes")),
            };
            [record.topic.clone(), cut(&payload, PAYLOAD)]
        })
        .collect();
    out.table(["topic", "payload"], &rows)?;
    if test.records.len() > RECORDS {
        out.line(format!("… and {} more", test.records.len() - RECORDS))?;
    }
    Ok(())
}

/// The beginning of a text, without what would steer a terminal.
fn cut(text: &str, most: usize) -> String {
    let plain = |c: char| if c.is_control() && c != '\n' { '\u{fffd}' } else { c };
    let mut shown: String = text.chars().take(most).map(plain).collect();
    if text.chars().nth(most).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_cuts_texts_and_keeps_terminals_safe() {
        for (text, most, expected) in
            [("abc", 3, "abc"), ("abcd", 3, "abc…"), ("a\u{1b}[2Jb\n", 9, "a\u{fffd}[2Jb\n"), ("", 3, "")]
        {
            assert_eq!(cut(text, most), expected);
        }
    }

    #[test]
    fn it_draws_beats() {
        assert_eq!(beats(&[Beat::Data, Beat::Quiet, Beat::Error]), "▮·×");
    }
}
