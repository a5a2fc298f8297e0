//! `anode bench sources`: a node that reads many sources of all three kinds, and how fresh its records are.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anode_shared::source::SourceState;
use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::report::Report;
use super::subject::{Subject, cpu_seconds};
use super::wire::Wire;
use super::{per_second, whole};
use crate::cli::{all_sources, now};
use crate::client::{Client, Query};

mod records;

use records::{Eye, Found, Kind};

/// The options of `anode bench sources`.
#[derive(Debug, Args)]
pub struct SourcesArgs {
    /// How many sources, a third of each kind; one run for each number
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values_t = [100, 300, 1_000], value_parser = clap::value_parser!(u32).range(1..=10_000))]
    n: Vec<u32>,
    /// Where the node writes: choose the disk by it
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// How long to measure each
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// Answer in JSON, for scripts: a line for each number
    #[arg(long)]
    json: bool,
}

/// From one poll to the next, and from one change of a source to the next.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long sources may take until all of them are live.
const PATIENCE: Duration = Duration::from_secs(60);
/// Left out at the beginning, until connections and buffers have grown to their size.
const WARM_UP: Duration = Duration::from_secs(3);

/// Measures each number of sources, with a node and a feed of its own.
pub(super) async fn bench(args: &SourcesArgs) -> anyhow::Result<()> {
    for (place, count) in args.n.iter().enumerate() {
        let report = Box::pin(measure(args, *count)).await?;
        if place > 0 && !args.json {
            writeln!(std::io::stdout())?;
        }
        report.print("sources", args.json)?;
    }
    Ok(())
}

/// A demo feed in a process of its own.
struct Market {
    child: Child,
    address: String,
}

impl Market {
    async fn start(dir: &Path, instruments: u32) -> anyhow::Result<Self> {
        let file = dir.join("feed.json");
        let log = fs::File::create(dir.join("feed.log"))?;
        let mut command = Command::new(std::env::current_exe().context("cannot find this program")?);
        command.args([
            "demo-feed",
            "--http",
            "127.0.0.1:0",
            "--rate",
            "1",
            "--feeds",
            &instruments.to_string(),
        ]);
        command.arg("--address-file").arg(&file);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let mut child = command.spawn().context("cannot start a demo feed")?;
        let began = Instant::now();
        loop {
            let said = fs::read(&file).ok().and_then(|text| serde_json::from_slice::<Value>(&text).ok());
            if let Some(address) = said.as_ref().and_then(|said| said["http"].as_str()) {
                return Ok(Self { address: address.to_owned(), child });
            }
            if child.try_wait()?.is_some() || began.elapsed() > PATIENCE {
                let _ = child.kill();
                bail!(
                    "the demo feed did not start: {}",
                    fs::read_to_string(dir.join("feed.log")).unwrap_or_default()
                );
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn cpu(&self) -> Option<f64> {
        cpu_seconds(&fs::read_to_string(format!("/proc/{}/stat", self.child.id())).ok()?)
    }
}

impl Drop for Market {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The definition of a source of a kind.
fn definition(kind: Kind, number: u32, address: &str) -> Value {
    let common = json!({"name": format!("{}-{number}", kind.word()), "topic": format!("bench.{}.{number}", kind.word())});
    let own = match kind {
        Kind::Rest => {
            json!({"kind": "rest", "url": format!("http://{address}/rest/{number}?stamp=1&only=none"),
            "interval_ms": super::micros(INTERVAL) / 1_000})
        }
        Kind::Sse => json!({"kind": "sse", "url": format!("http://{address}/sse/{number}")}),
        Kind::Websocket => json!({"kind": "websocket", "url": format!("ws://{address}/ws?heartbeat=0"),
            "open": [{"method": "subscribe", "params": {"channel": "trade", "symbol": [number.to_string()]}}],
            "emit": "has(payload.data) ? payload.data : []"}),
    };
    let mut all = common;
    if let (Some(all), Value::Object(own)) = (all.as_object_mut(), own) {
        all.extend(own);
    }
    all
}

async fn measure(args: &SourcesArgs, count: u32) -> anyhow::Result<Report> {
    let (subject, feed) = begin(args, count).await?;
    let report = tokio::select! {
        report = Box::pin(run(args, count, &subject, &feed)) => report?,
        _ = tokio::signal::ctrl_c() => bail!("interrupted"),
    };
    subject.finish()?;
    Ok(report)
}

/// Starts a feed, and a node that may read it.
async fn begin(args: &SourcesArgs, count: u32) -> anyhow::Result<(Subject, Market)> {
    let dir = Subject::folder(&args.dir)?;
    let feed = Market::start(&dir, count).await?;
    let subject = Subject::start(dir, &["--allow-private-sources", &feed.address]).await?;
    Ok((subject, feed))
}

async fn run(args: &SourcesArgs, count: u32, subject: &Subject, feed: &Market) -> anyhow::Result<Report> {
    let idle = subject.usage().await?;
    let client = &subject.client;
    let began = Instant::now();
    for number in 0..count {
        let body = serde_json::to_vec(&definition(Kind::of(number), number, &feed.address))?;
        let _: Value = client.post("/api/v1/sources", &Query::new(), body).await?;
    }
    let registered = began.elapsed();
    wait_live(client, count).await?;
    let live = began.elapsed();
    let progress = Arc::new(Progress::default());
    let mut subscriber = JoinSet::new();
    let wire = Wire::open(client, "/feed", &vec![("topic", "bench.>".to_owned())]).await?;
    subscriber.spawn(subscribe(wire, Arc::clone(&progress)));
    tokio::time::sleep(WARM_UP).await;
    let errors = total_errors(client).await?;
    let (before, feed_before) = (subject.usage().await?, feed.cpu());
    progress.measuring.store(true, Ordering::Relaxed);
    tokio::select! {
        () = tokio::time::sleep(Duration::from_secs(args.seconds)) => {}
        ended = subscriber.join_next() => bail!("the subscriber ended early: {:?}", ended.map(|ended| ended.map(|done| done.err()))),
    }
    progress.measuring.store(false, Ordering::Relaxed);
    let (after, feed_after) = (subject.usage().await?, feed.cpu());
    let errors = total_errors(client).await?.saturating_sub(errors);
    progress.over.cancel();
    let found = subscriber.join_next().await.context("there is no subscriber")???;
    let used = after.since(&before);
    let percent = |cpu: Option<f64>| cpu.map(|cpu| cpu / used.seconds * 100.0);
    let mut report = Report::default();
    report.figure("sources", whole(u64::from(count)), "");
    report.figure("registering", registered.as_secs_f64(), "s");
    report.figure("all live after", live.as_secs_f64(), "s");
    report.figure("records", per_second(found.records, Duration::from_secs(args.seconds)), "1/s");
    report.figure("missing", whole(found.missing), "records");
    report.figure("errors", whole(errors), "");
    report.percentiles("rest beyond the interval", &found.beyond.sorted());
    report.percentiles("rest answer to subscriber", &found.rest.sorted());
    report.percentiles("sse event to subscriber", &found.sse.sorted());
    report.percentiles("websocket event to subscriber", &found.websocket.sorted());
    report.figure("node cpu", percent(used.node_cpu), "% of a core");
    let feed_cpu = feed_after.zip(feed_before).map(|(after, before)| after - before);
    report.figure("feed cpu", percent(feed_cpu), "% of a core");
    report.figure("bench cpu", percent(used.own_cpu), "% of a core");
    report.figure("node memory", after.memory, "bytes");
    report.figure("node memory without sources", idle.memory, "bytes");
    Ok(report)
}

/// What subscriber and measurement share.
#[derive(Debug, Default)]
struct Progress {
    measuring: AtomicBool,
    over: CancellationToken,
}

/// Follows all records until told to end.
async fn subscribe(mut wire: Wire, progress: Arc<Progress>) -> anyhow::Result<Found> {
    let mut eye = Eye::new(super::micros(INTERVAL));
    loop {
        let measured = progress.measuring.load(Ordering::Relaxed);
        let mut at = None;
        let turned = wire.turn(|frame| {
            // One look at the clock for what one read brought: it is here at the same time.
            eye.see(frame, *at.get_or_insert_with(now), measured);
            Ok(())
        });
        tokio::select! {
            biased;
            turned = turned => turned?,
            () = progress.over.cancelled() => return Ok(eye.found),
        }
    }
}

/// Waits until all sources are live.
async fn wait_live(client: &Client, count: u32) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        let sources = all_sources(client).await?;
        let waiting: Vec<_> = sources.iter().filter(|view| view.status.state != SourceState::Live).collect();
        if waiting.is_empty() && sources.len() == count as usize {
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            let first = waiting
                .first()
                .map(|view| (&view.definition.name, &view.status.state, &view.status.last_error));
            bail!(
                "{} of {count} sources are not live after {} s: {first:?}",
                waiting.len(),
                PATIENCE.as_secs()
            );
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn total_errors(client: &Client) -> anyhow::Result<u64> {
    Ok(all_sources(client).await?.iter().map(|view| view.status.errors).sum())
}
