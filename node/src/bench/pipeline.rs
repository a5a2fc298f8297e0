//! How many records a second one core takes through a source's pipeline, up to their encoded form.

use std::fs;
use std::time::Duration;

use anode_shared::record::{RecordRef, SourceRef};
use anode_shared::source::SourceDefinition;
use anyhow::{Context as _, anyhow};
use bytes::Bytes;
use clap::Args;
use serde_json::json;

use super::report::Report;
use super::{per_second, whole};
use crate::pipeline::{Pipeline, Raw};
use crate::store::NewRecord;

/// Records of an answer that holds many.
const MANY: usize = 100;
/// Answers between two looks at the clock.
const ROUND: u64 = 20;

/// Options of `anode bench pipeline`.
#[derive(Debug, Args)]
pub struct PipelineArgs {
    /// How long to measure each case
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub seconds: u64,
    /// Answer in JSON, for scripts
    #[arg(long)]
    pub json: bool,
}

/// A case: its name, `emit`, `topic`, `only_changes`, and whether an answer holds many records.
type Case = (&'static str, Option<&'static str>, &'static str, bool, bool);

const MAP: &str =
    r#"payload.data.map(t, {"symbol": t.symbol, "price": t.last, "volume": t.volume, "time": payload.time})"#;
const CASES: [Case; 9] = [
    ("one record, no emit", None, "a.b", false, false),
    ("one record, emit payload.last", Some("payload.last"), "a.b", false, false),
    ("one record, emit by CEL", Some("{'mid': (payload.bid + payload.ask) / 2.0}"), "a.b", false, false),
    ("list of 100", Some("payload.data"), "a.b", false, true),
    ("list of 100, map", Some(MAP), "a.b", false, true),
    ("list of 100, filter", Some("payload.data.filter(t, t.last > 0.0)"), "a.b", false, true),
    ("list of 100, topic by name", Some("payload.data"), "prices.${payload.name}", false, true),
    ("list of 100, topic by CEL", Some("payload.data"), "prices.${payload.symbol.lowerAscii()}", false, true),
    ("list of 100, only changes", Some("payload.data"), "prices.${payload.name}", true, true),
];

/// Measures every case, beside reading the same answers with `serde_json` alone.
///
/// # Errors
/// When a case makes no records, or the thread's times cannot be read.
pub(super) fn measure(args: &PipelineArgs) -> anyhow::Result<()> {
    let time = Duration::from_secs(args.seconds);
    let mut report = Report::default();
    report.figure("a record's payload", whole(ticker(7, 0).len() as u64), "bytes");
    for (name, records, many) in
        [("bare serde_json, one record", 1, false), ("bare serde_json, list of 100", MANY, true)]
    {
        let answers = answers(many);
        let rate = rate(time, |round| {
            let parsed: Result<serde_json::Value, _> = serde_json::from_slice(answer(&answers, round));
            parsed.map(|parsed| if parsed.is_null() { 0 } else { records }).map_err(Into::into)
        })?;
        report.figure(name, rate, "records/s/core");
    }
    for (name, emit, topic, only_changes, many) in CASES {
        let mut pipeline = pipeline(emit, topic, only_changes)?;
        let answers = answers(many);
        let mut encoded = Vec::new();
        let rate = rate(time, |round| {
            encoded.clear();
            process(&mut pipeline, answer(&answers, round), &mut encoded)
        })?;
        report.figure(name, rate, "records/s/core");
    }
    report.print("pipeline", args.json)
}

fn pipeline(emit: Option<&str>, topic: &str, only_changes: bool) -> anyhow::Result<Pipeline> {
    let definition: SourceDefinition = serde_json::from_value(json!({
        "name": "bench", "kind": "rest", "url": "http://localhost/", "topic": topic, "emit": emit, "only_changes": only_changes,
    }))?;
    Pipeline::compile(&definition).map_err(|errors| anyhow!("{errors:?}"))
}

/// Makes records of an answer and encodes them; how many there were.
fn process(pipeline: &mut Pipeline, answer: &Bytes, encoded: &mut Vec<u8>) -> anyhow::Result<usize> {
    let raw = Raw { bytes: answer.clone(), content_type: Some("application/json"), status: 200, fetched: 1 };
    let processed = pipeline.process(&raw);
    if let Some(error) = processed.error {
        return Err(anyhow!("{error}"));
    }
    processed.records.iter().for_each(|record| encode(record, encoded));
    Ok(processed.records.len() + processed.left_out)
}

fn encode(record: &NewRecord, out: &mut Vec<u8>) {
    let source = record.source.as_ref().map(|source| SourceRef {
        name: &source.name,
        definition: anode_shared::ids::Hash(source.definition),
        status: source.status,
        fetched: source.fetched,
    });
    let record = RecordRef {
        topic: record.topic.as_str(),
        time: 1_795_402_020_123_456,
        payload: &record.payload,
        content_type: None,
        source,
        publisher: None,
        publisher_signature: None,
        dedupe: None,
    };
    record.encode_into(out);
}

/// Records a second of this thread's own time: others work on this machine too.
fn rate(time: Duration, mut turn: impl FnMut(u64) -> anyhow::Result<usize>) -> anyhow::Result<f64> {
    for round in 0..ROUND {
        turn(round)?;
    }
    let begun = thread_time()?;
    let (mut records, mut round) = (0, 0);
    loop {
        for _ in 0..ROUND {
            records += turn(round)?;
            round += 1;
        }
        let took = thread_time()?.saturating_sub(begun);
        if took >= time {
            return Ok(per_second(records as u64, took));
        }
    }
}

fn thread_time() -> anyhow::Result<Duration> {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").context("cannot read this thread's time")?;
    let nanos =
        stat.split(' ').next().unwrap_or_default().parse().context("cannot read this thread's time")?;
    Ok(Duration::from_nanos(nanos))
}

/// Two answers in turn, so that every value changes.
fn answers(many: bool) -> Vec<Bytes> {
    let one = |turn: usize| {
        if many {
            let tickers: Vec<_> = (0..MANY).map(|place| ticker(place, turn)).collect();
            format!("{{\"time\":\"2026-11-23T02:47:0{turn}Z\",\"data\":[{}]}}", tickers.join(","))
        } else {
            ticker(7, turn)
        }
    };
    (0..2).map(|turn| Bytes::from(one(turn))).collect()
}

fn answer(answers: &[Bytes], round: u64) -> &Bytes {
    &answers[usize::from(round % 2 == 1)]
}

/// A ticker as exchanges send it, of about 300 bytes.
fn ticker(place: usize, turn: usize) -> String {
    format!(
        "{{\"symbol\":\"BTC-{place:03}\",\"name\":\"btc-{place:03}\",\"last\":97312.{turn}{place:03},\"bid\":97312.10,\"ask\":97312.90,\
         \"volume\":\"1834.22910000\",\"high\":98000.00,\"low\":95120.55,\"open\":96001.25,\"change\":-0.0134,\
         \"vwap\":\"96880.12345678\",\"trades\":183422,\"time\":\"2026-11-23T02:47:00.123456Z\",\"active\":true,\
         \"venue\":\"EX-1\",\"flags\":[\"spot\",\"margin\"]}}"
    )
}
