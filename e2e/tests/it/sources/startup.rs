//! Many sources at once: a start is no stampede, and the benchmark runs.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use e2e::market::{Kind, Market};
use e2e::node::{Plan, binary, clean_command};
use e2e::scale::{self, say};
use e2e::sources::records;
use serde_json::{Value, json};
use tokio::time::sleep;

/// How long all may take to be live.
const LIVE: Duration = Duration::from_secs(40);
/// The time in which connections are counted together.
const WINDOW: Duration = Duration::from_millis(500);

/// Streams that were asked for so far.
fn streams(counts: &Value) -> u64 {
    let all = counts.as_object().into_iter().flatten();
    let of_streams = all.filter(|(path, _)| path.starts_with("/sse/") || path.starts_with("/ws/"));
    of_streams.map(|(_, count)| count["requests"].as_u64().unwrap_or(0)).sum()
}

/// The most that came within a window, of points in time with what had come until then.
fn most_within(points: &[(Duration, u64)], window: Duration) -> u64 {
    let mut most = 0;
    for (place, (began, before)) in points.iter().enumerate() {
        let inside = points[place..].iter().take_while(|(at, _)| *at <= *began + window);
        most = most.max(inside.map(|(_, count)| count - before).max().unwrap_or(0));
    }
    most
}

#[test]
fn it_finds_a_stampede() {
    let points = |counts: &[u64]| -> Vec<(Duration, u64)> {
        (0..).zip(counts).map(|(at, count)| (Duration::from_millis(at * 100), *count)).collect()
    };
    for (counts, expected) in [
        (&[0, 0, 600, 600, 600][..], 600),
        (&[0, 10, 20, 30, 40, 50, 60, 70], 50),
        (&[0, 0, 0, 0, 0, 0, 100, 250, 250], 250),
        (&[0], 0),
    ] {
        assert_eq!(most_within(&points(counts), WINDOW), expected, "{counts:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_starts_many_sources_without_a_stampede() -> Result<()> {
    let count = scale::pick(300, 1000);
    let market = Market::start(count, 1.0).await?;
    let sources: Vec<Value> = (0..count)
        .map(|place| {
            let kind = Kind::ALL[place % 3];
            let mut source = kind.source(&format!("many-{place}"), &market, place);
            source["timeout_ms"] = json!(20_000);
            if kind == Kind::Rest {
                source["interval_ms"] = json!(1000);
            }
            source
        })
        .collect();
    let mut node = Plan::new().prepare()?;
    fs::write(node.dir().join("many.json"), Value::from(sources).to_string())?;
    node.set_args(&["--allow-private-sources", &market.allowed(), "--sources", "many.json"]);
    node.spawn()?;
    let began = Instant::now();
    let mut points = vec![(Duration::ZERO, 0)];
    let asked = u64::try_from(count * 2 / 3)?;
    while points.last().is_some_and(|(_, come)| *come < asked) {
        sleep(Duration::from_millis(50)).await;
        points.push((began.elapsed(), streams(&market.counts().await?)));
        node.ensure_alive()?;
        ensure!(began.elapsed() < LIVE, "{:?} of {asked} streams were asked for", points.last());
    }
    let most = most_within(&points, WINDOW);
    // Spread over five seconds for a thousand, a second and a half for three hundred.
    let fair = scale::pick(asked * 3 / 4, asked * 3 / 10);
    ensure!(most <= fair, "{most} of {asked} connections within {WINDOW:?}");

    node.kill()?;
    node.start().await?;
    let http = node.http()?;
    let live = |_: &str, status: &Value| status["state"] == "live";
    let all = http.sources_when("live", LIVE, |_| true, live).await?;
    let took = began.elapsed();
    ensure!(all.len() == count, "{} of {count} sources", all.len());
    sleep(Duration::from_secs(3)).await;
    let later = http.sources().await?;
    let still = later.iter().filter(|(name, view)| records(view) <= records(&all[*name])).count();
    ensure!(still * 20 <= count, "{still} of {count} said nothing in 3 s, each changing every second");
    let most = points.len();
    say(&format!(
        "start: {count} sources, at most {fair} of {asked} streams allowed in {WINDOW:?}, {most} looks, {took:?} in all"
    ));
    node.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_measures_sources() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let bench = |json: bool| -> Result<String> {
        let mut command = clean_command(&binary()?);
        command.args(["bench", "sources", "--n", "12", "--seconds", "2"]).current_dir(dir.path());
        if json {
            command.arg("--json");
        }
        let output = command.stdin(Stdio::null()).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        Ok(text)
    };
    let table = bench(false)?;
    for word in ["rest", "sse", "websocket", "p50", "p99", "node memory"] {
        ensure!(table.contains(word), "the table lacks {word}:\n{table}");
    }
    let line = bench(true)?;
    let figures: Value = serde_json::from_str(line.lines().next().context("no line")?)?;
    ensure!(figures.is_object(), "{line}");
    Ok(())
}
