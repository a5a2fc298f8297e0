//! `anode bench mesh`: how fast, how cheaply and up to which rate records reach every node of a mesh.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use clap::Args;

use super::report::Report;
use super::{per_second, whole};

mod apart;
mod audience;
mod nodes;
mod stretch;

use apart::Apart;
use nodes::{Nodes, Spent};
use stretch::{Found, Stretch};

/// The options of `anode bench mesh`.
#[derive(Debug, Args)]
pub struct MeshArgs {
    /// How many nodes, each a process of its own
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(2..=50))]
    nodes: u16,
    /// Records a second; without it 1,000, and then the highest rate at which nothing is lost or late is searched for
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: Option<u32>,
    /// Where the nodes write: choose the disk by it
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// How long to measure; each step of the search takes half of it
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// Instead: two halves of the nodes publish for so long without knowing each other, then one more node joins them; how soon
    /// have all the same?
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    apart: Option<u64>,
    /// Answer in JSON, for scripts
    #[arg(long)]
    json: bool,
}

/// The rate of the latencies where none is given: the budgets' own.
const USUAL: u32 = 1_000;
/// The highest rate that is tried.
const MOST: u32 = 1_024_000;
/// How often the step between a rate that held and one that did not is halved.
const HALVINGS: u32 = 2;
/// How long the mesh is left alone before its memory at rest is read, and over which time its CPU at rest is.
const REST: Duration = Duration::from_secs(3);

/// Measures a mesh of its own.
pub(super) async fn bench(args: &MeshArgs) -> anyhow::Result<()> {
    let mut nodes = Nodes::none(&args.dir)?;
    let report = tokio::select! {
        report = Box::pin(measure(args, &mut nodes)) => report?,
        _ = tokio::signal::ctrl_c() => bail!("interrupted"),
    };
    nodes.finish()?;
    report.print("mesh", args.json)
}

async fn measure(args: &MeshArgs, nodes: &mut Nodes) -> anyhow::Result<Report> {
    let mut report = Report::default();
    report.figure("nodes", whole(u64::from(args.nodes)), "");
    report.figure("optimised build", if cfg!(debug_assertions) { 0.0 } else { 1.0 }, "");
    if let Some(apart) = args.apart {
        let rate = args.rate.unwrap_or(USUAL);
        Apart { nodes: args.nodes, rate, time: Duration::from_secs(apart) }.run(nodes, &mut report).await?;
        return Ok(report);
    }
    let whole_after = nodes.join(args.nodes, &[]).await?;
    report.figure("whole mesh after", whole_after.as_secs_f64(), "s");
    at_rest(&mut report, nodes).await?;
    let time = Duration::from_secs(args.seconds);
    let rate = args.rate.unwrap_or(USUAL);
    for spread in [false, true] {
        let name = if spread { "all nodes" } else { "one node" };
        let before = nodes.spent().await?;
        let found = Box::pin(Stretch { rate, spread, time }.run(nodes)).await?;
        let spent = nodes.spent().await?.since(&before);
        describe(&mut report, name, &found, &spent, args.nodes);
    }
    if args.rate.is_none() {
        let highest = Box::pin(search(nodes, time / 2)).await?;
        report.figure(
            "highest rate with nothing lost or late",
            highest.map(|rate| whole(rate.into())),
            "records/s",
        );
    }
    report.figure("node memory after", nodes.spent().await?.memory, "bytes");
    Ok(report)
}

async fn at_rest(report: &mut Report, nodes: &Nodes) -> anyhow::Result<()> {
    tokio::time::sleep(REST).await;
    let before = nodes.spent().await?;
    tokio::time::sleep(REST).await;
    let after = nodes.spent().await?;
    let spent = after.since(&before);
    report.figure("node memory at rest", after.memory, "bytes");
    report.figure("node cpu at rest", spent.cpu / spent.seconds / nodes.count() * 100.0, "% of a core");
    report.figure("node traffic at rest", spent.sent / spent.seconds / nodes.count(), "bytes/s");
    Ok(())
}

/// What a stretch showed. CPU is the mean of all nodes, and what the benchmark's subscribers cost their nodes is in it.
fn describe(report: &mut Report, name: &str, found: &Found, spent: &Spent, nodes: u16) {
    let named = |figure: &str| format!("{name}: {figure}");
    report.figure(&named("published"), per_second(found.sent, found.took), "records/s");
    report.figure(&named("lost"), whole(found.lost), "records");
    report.figure(&named("twice"), whole(found.twice), "records");
    report.percentiles(&named("publish to ack"), &found.acks);
    report.percentiles(&named("publish to a subscriber of the same node"), &found.here);
    report.percentiles(&named("publish to a subscriber of another node"), &found.away);
    report.percentiles(&named("publish to the last of all nodes"), &found.last);
    let needed = spent.published * f64::from(nodes - 1);
    report.figure(&named("bytes sent to bytes needed"), spent.sent / needed, "");
    report.figure(&named("records a batch"), whole(found.sent) / spent.batches, "");
    report.figure(&named("repaired"), spent.repaired, "batches");
    let each = spent.cpu * 1e6 / whole(found.sent) / f64::from(nodes);
    report.figure(&named("node cpu each"), each, "µs/record");
}

/// The highest rate, published at one node, at which everything came everywhere in time: doubled until it does not hold, then
/// looked for between.
async fn search(nodes: &mut Nodes, time: Duration) -> anyhow::Result<Option<u32>> {
    let (mut good, mut rate) = (None, 2 * USUAL);
    while rate <= MOST {
        if !holds(nodes, rate, time).await? {
            break;
        }
        good = Some(rate);
        rate *= 2;
    }
    let (mut low, mut high) = (good.unwrap_or(0), rate);
    for _ in 0..HALVINGS {
        let middle = low.midpoint(high);
        if holds(nodes, middle, time).await? {
            good = Some(middle);
            low = middle;
        } else {
            high = middle;
        }
    }
    Ok(good)
}

async fn holds(nodes: &mut Nodes, rate: u32, time: Duration) -> anyhow::Result<bool> {
    let found = Box::pin(Stretch { rate, spread: false, time }.run(nodes)).await?;
    tracing::debug!(rate, sent = found.sent, lost = found.lost, held = found.held, "Tried a rate");
    if !found.held {
        nodes.settle().await?;
    }
    Ok(found.held)
}
