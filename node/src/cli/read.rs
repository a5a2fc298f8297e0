//! `anode topics` and `anode history`: what is stored.

use std::time::Duration;

use anode_shared::frames::{GapBody, RecordBody};
use anode_shared::status::TopicStatus;
use anode_shared::time::{Micros, from_rfc3339, to_rfc3339};
use clap::{Args, ValueEnum};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Reach;
use super::output::{Out, note};
use crate::client::Query;
use crate::config::units;

/// What stands behind the options of `anode topics`.
pub(super) const TOPICS_EXAMPLES: &str = "\
Examples:
  anode topics
  anode topics --json | jq -r '.topics[].topic'";
/// What stands behind the options of `anode history`.
pub(super) const HISTORY_EXAMPLES: &str = "\
Examples:
  anode history 'prices.*' --since 1h
  anode history '>' --order desc --limit 10
  anode history 'prices.*' --since 2026-11-23T02:00:00Z --until 2026-11-23T03:00:00Z --json
  anode history 'prices.*' --filter 'payload.price > 100.0'";

/// As many records as one page brings: enough that the round trip does not count, and quick to show.
const PAGE: usize = 1_000;

/// The options of `anode topics`.
#[derive(Debug, Args)]
pub(super) struct TopicsArgs {
    #[command(flatten)]
    reach: Reach,
}

/// The options of `anode history`.
#[derive(Debug, Args)]
pub(super) struct HistoryArgs {
    /// Topic patterns, as in NATS: `*` is one token, `>` one or more last ones; without any all topics
    #[arg(value_name = "PATTERN")]
    patterns: Vec<String>,
    /// From this time on: RFC 3339, or how long ago (10m, 7d)
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Micros>,
    /// Before this time: RFC 3339, or how long ago
    #[arg(long, value_name = "TIME", value_parser = since)]
    until: Option<Micros>,
    /// Only what came after this cursor
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
    /// A CEL expression over topic, source, publisher, time and payload
    #[arg(long, value_name = "CEL")]
    filter: Option<String>,
    /// By time, oldest or newest first
    #[arg(long, default_value = "asc")]
    order: Order,
    /// At most so many records; without it all
    #[arg(long, short = 'n', value_name = "N")]
    limit: Option<usize>,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Order {
    /// Oldest first.
    Asc,
    /// Newest first.
    Desc,
}

#[derive(Debug, Deserialize)]
struct Page {
    records: Vec<Box<RawValue>>,
    #[serde(default)]
    gaps: Vec<GapBody>,
    next: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Topics {
    topics: Vec<Box<RawValue>>,
    next: Option<String>,
    #[serde(default)]
    left_out: Option<String>,
}

/// Lists topics, page after page.
pub(super) async fn topics(args: &TopicsArgs) -> anyhow::Result<()> {
    let client = args.reach.client()?;
    let (mut topics, mut query, mut left_out) = (Vec::new(), Query::new(), None);
    loop {
        let page: Topics = client.get("/api/v1/topics", &query).await?;
        topics.extend(page.topics);
        left_out = left_out.or(page.left_out);
        let Some(next) = page.next else { break };
        query = vec![("page", next)];
    }
    if let Some(why) = left_out {
        note(&format!("topics of which only the archive has records are left out: {why}"));
    }
    let mut out = Out::new();
    if args.reach.json {
        out.json(&serde_json::json!({ "topics": topics }))?;
        return out.flush();
    }
    let row = |topic: &RawValue| {
        let topic: TopicStatus = serde_json::from_str(topic.get())?;
        Ok([topic.topic, topic.count.to_string(), format!("{:.1}", topic.rate), topic.last_record])
    };
    let rows = topics.iter().map(|topic| row(topic)).collect::<anyhow::Result<Vec<_>>>()?;
    out.table(["topic", "records", "per s", "last record"], &rows)?;
    out.flush()
}

/// Prints stored records, page after page.
pub(super) async fn history(args: &HistoryArgs) -> anyhow::Result<()> {
    let client = args.reach.client()?;
    let mut out = Out::new();
    let mut left = args.limit.unwrap_or(usize::MAX);
    let mut page: Option<String> = None;
    while left > 0 {
        let answer: Page = client.get("/api/v1/records", &args.query(left, page)).await?;
        answer.gaps.iter().for_each(note_gap);
        left = left.saturating_sub(answer.records.len());
        for record in &answer.records {
            show(&mut out, record.get(), args.reach.json)?;
        }
        out.flush()?;
        page = answer.next;
        if page.is_none() {
            break;
        }
    }
    Ok(())
}

impl HistoryArgs {
    fn query(&self, left: usize, page: Option<String>) -> Query {
        let mut query: Query = self.patterns.iter().map(|pattern| ("topic", pattern.clone())).collect();
        let order = match self.order {
            Order::Asc => "asc",
            Order::Desc => "desc",
        };
        query.push(("order", order.to_owned()));
        query.push(("limit", left.min(PAGE).to_string()));
        let rest = [
            ("since", self.since.map(to_rfc3339)),
            ("until", self.until.map(to_rfc3339)),
            ("after", self.after.clone()),
            ("filter", self.filter.clone()),
            ("page", page),
        ];
        query.extend(rest.into_iter().filter_map(|(name, value)| value.map(|value| (name, value))));
        query
    }
}

/// Reads a time: RFC 3339, or how long ago.
pub(super) fn since(text: &str) -> Result<Micros, String> {
    time(text, super::now())
}

fn time(text: &str, now: Micros) -> Result<Micros, String> {
    let ago = |age: Duration| now.saturating_sub(u64::try_from(age.as_micros()).unwrap_or(u64::MAX));
    from_rfc3339(text).or_else(|| units::age(text).ok().map(ago)).ok_or_else(|| {
        "accepted are an RFC 3339 time (2026-11-23T02:47:00Z) and how long ago (90s, 10m, 7d)".to_owned()
    })
}

/// Says on stderr what is missing.
pub(super) fn note_gap(gap: &GapBody) {
    let reason = serde_json::to_value(gap.reason).unwrap_or_default();
    let reason = reason.as_str().unwrap_or_default();
    note(&format!("gap: {} from {} to {} ({reason})", gap.log, gap.from, gap.to));
}

/// Prints a record: its JSON, or a line for people.
pub(super) fn show(out: &mut Out, json: &str, as_json: bool) -> anyhow::Result<()> {
    if as_json { out.line(json) } else { out.line(line(&serde_json::from_str(json)?)) }
}

/// A record as a line: time, topic, payload.
fn line(record: &RecordBody) -> String {
    let payload = match (&record.payload, &record.payload_base64) {
        (Some(json), _) => json.get().replace(['\n', '\r'], " "),
        (None, base64) => {
            let bytes = base64.as_ref().map_or(0, |text| text.trim_end_matches('=').len() * 3 / 4);
            format!("[{}, {bytes} bytes]", record.content_type.as_deref().unwrap_or("no payload"))
        }
    };
    format!("{}  {}  {payload}", record.time, record.topic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_times_and_spans() {
        let now = from_rfc3339("2026-11-23T02:47:00Z").unwrap();
        assert_eq!(time("2026-11-23T02:47:00Z", 0), Ok(now));
        assert_eq!(time("10m", now), Ok(now - 600_000_000));
        assert_eq!(time("9999w", 5), Ok(0));
        for bad in ["", "yesterday", "10", "2026-11-23"] {
            assert!(time(bad, now).is_err(), "{bad}");
        }
    }

    #[test]
    fn it_shows_records_as_lines() {
        for (members, expected) in [
            (r#""payload":{"x" : 1}"#, r#"t  a.b  {"x" : 1}"#),
            ("\"payload\":[1,\n2]", "t  a.b  [1, 2]"),
            (r#""payload_base64":"AP8=","content_type":"image/png""#, "t  a.b  [image/png, 2 bytes]"),
        ] {
            let json =
                format!(r#"{{"id":"i","topic":"a.b","time":"t","source":null,"publisher":null,{members}}}"#);
            assert_eq!(line(&serde_json::from_str(&json).unwrap()), expected);
        }
    }
}
