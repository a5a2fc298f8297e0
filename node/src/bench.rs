//! `anode bench`: measures a node through its public API, as a process of its own.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use clap::{Args, Subcommand};

mod samples;
mod wire;
mod disk;
mod report;
mod subject;
mod ingest;
mod fanout;
mod latency;
mod pipeline;
mod sources;
mod mesh;
mod archive;

use report::Report;
use subject::{Subject, Used};

/// What stands behind the list of benchmarks.
pub const EXAMPLES: &str = "\
Examples:
  anode bench ingest                     durable records a second, beside a bare group-commit loop
  anode bench fanout --subscribers 1000  deliveries a second and core
  anode bench latency                    publish to subscriber at 1,000 records/s
  anode bench sources --n 100,300,1000   a node that reads sources of all three kinds
  anode bench mesh --nodes 5             a mesh of its own: how fast, and up to which rate
  anode bench pipeline                   records a second and core from answer to encoded record
  anode bench archive                    rows a second into Cassandra, beside a bare driver loop

Each starts a node of its own on the disk of --dir, or measures the one of --node. Figures of two
machines, or of two runs, do not compare; the ratio to the bare loop of the same run does.";

/// Which benchmark to run.
#[derive(Debug, Subcommand)]
pub enum BenchSaid {
    /// Durable ingest through the public API, and how fast a resuming subscriber catches up
    #[command(after_help = "\
Examples:
  anode bench ingest
  anode bench ingest --via post --in-flight 1000
  anode bench ingest --seconds 30 --resume --json")]
    Ingest(ingest::IngestArgs),
    /// One stream of records to many subscribers
    #[command(after_help = "\
Examples:
  anode bench fanout                     100 subscribers, as fast as they take it
  anode bench fanout --subscribers 1000
  anode bench fanout --rate 500          500 records/s instead: the cost of a delivery by itself")]
    Fanout(fanout::FanoutArgs),
    /// From publishing to a subscriber, and to the acknowledgement, at a steady rate
    #[command(after_help = "\
Examples:
  anode bench latency
  anode bench latency --rate 5000 --subscribers 10")]
    Latency(latency::LatencyArgs),
    /// A node that reads many sources of all three kinds, each changing every second: freshness, CPU, memory
    #[command(after_help = "\
Examples:
  anode bench sources
  anode bench sources --n 300 --seconds 60
  anode bench sources --n 1000 --json")]
    Sources(sources::SourcesArgs),
    /// A mesh of own nodes: publish to the last of them, up to which rate nothing is lost, bytes, CPU, memory
    #[command(after_help = "\
Examples:
  anode bench mesh
  anode bench mesh --nodes 10 --seconds 20
  anode bench mesh --nodes 5 --rate 1000 --json    at this rate alone
  anode bench mesh --nodes 2 --rate 2000 --apart 60    two halves that meet after a minute")]
    Mesh(mesh::MeshArgs),
    /// Records a second and core through a source's pipeline: decode, emit, topic, changes, encode
    #[command(after_help = "\
Examples:
  anode bench pipeline
  anode bench pipeline --seconds 5 --json")]
    Pipeline(pipeline::PipelineArgs),
    /// Rows a second into a Cassandra, beside a bare driver loop, and the feed with Cassandra there and blocked
    #[command(after_help = "\
Examples:
  anode bench archive
  anode bench archive --cassandra 127.0.0.1:9042 --records 500000
  anode bench archive --seconds 20 --json")]
    Archive(archive::ArchiveArgs),
}

/// What all benchmarks take.
#[derive(Debug, Clone, Args)]
pub struct Setup {
    /// Measure this node instead of one of our own
    #[arg(long, env = "ANODE_NODE", value_name = "URL")]
    pub node: Option<String>,
    /// The token to publish with at that node
    #[arg(long, env = "ANODE_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Where our own node and the bare loop write: choose the disk by it
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub dir: PathBuf,
    /// How long to measure
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub seconds: u64,
    /// Answer in JSON, for scripts
    #[arg(long)]
    pub json: bool,
}

impl Setup {
    fn time(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    /// How long a bare loop runs, before and after: long enough to settle, short beside the measurement.
    fn loop_time(&self) -> Duration {
        (self.time() / 4).clamp(Duration::from_millis(250), Duration::from_secs(3))
    }
}

/// Runs a benchmark.
///
/// # Errors
/// When the node cannot be started or reached, or breaks.
pub async fn bench(said: BenchSaid) -> anyhow::Result<()> {
    raise_open_files();
    let setup = match &said {
        BenchSaid::Ingest(args) => &args.setup,
        BenchSaid::Fanout(args) => &args.setup,
        BenchSaid::Latency(args) => &args.setup,
        BenchSaid::Sources(args) => return sources::bench(args).await,
        BenchSaid::Mesh(args) => return Box::pin(mesh::bench(args)).await,
        BenchSaid::Pipeline(args) => return pipeline::measure(args),
        BenchSaid::Archive(args) => return Box::pin(archive::bench(args)).await,
    };
    let subject = Subject::take(setup).await?;
    let (name, measured) = tokio::select! {
        measured = measure(&said, &subject) => measured?,
        _ = tokio::signal::ctrl_c() => anyhow::bail!("interrupted"),
    };
    measured.print(name, setup.json)?;
    subject.finish()
}

async fn measure(said: &BenchSaid, subject: &Subject) -> anyhow::Result<(&'static str, Report)> {
    Ok(match said {
        BenchSaid::Ingest(args) => ("ingest", Box::pin(ingest::measure(args, subject)).await?),
        BenchSaid::Fanout(args) => ("fanout", Box::pin(fanout::measure(args, subject)).await?),
        BenchSaid::Latency(args) => ("latency", Box::pin(latency::measure(args, subject)).await?),
        BenchSaid::Sources(_) | BenchSaid::Mesh(_) | BenchSaid::Pipeline(_) | BenchSaid::Archive(_) => {
            bail!("this one brings what it measures")
        }
    })
}

/// Lets this process hold as many sockets as the system permits. Without it 1,000 subscribers do not fit.
pub(crate) fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// Reports what both sides used for `units` records or deliveries.
fn cost(report: &mut Report, used: &Used, units: u64, unit: &'static str) {
    let each = |seconds: Option<f64>| seconds.map(|seconds| seconds * 1e6 / whole(units));
    report.figure("fdatasyncs", used.fdatasyncs.map(|count| count / used.seconds), "1/s");
    report.figure("node cpu", used.node_cpu.map(|cpu| cpu / used.seconds), "cores");
    report.figure("node cpu each", each(used.node_cpu), unit);
    report.figure("bench cpu", used.own_cpu.map(|cpu| cpu / used.seconds), "cores");
    report.figure("bench cpu each", each(used.own_cpu), unit);
}

/// A duration in whole microseconds.
fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// A count as a rate.
fn per_second(count: u64, took: Duration) -> f64 {
    whole(count) / took.as_secs_f64()
}

/// A count as a figure to be shown.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
fn whole(count: u64) -> f64 {
    count as f64
}
