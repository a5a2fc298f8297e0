//! `anode bench`: measures a node through its public API.

use clap::Subcommand;

/// What stands behind the list of benchmarks.
pub const EXAMPLES: &str = "Examples:\n  anode bench ingest";

/// Which benchmark to run.
#[derive(Debug, Subcommand)]
pub enum BenchSaid {
    /// Durable ingest
    #[command(after_help = "Examples:\n  anode bench ingest")]
    Ingest,
}

/// Runs a benchmark.
///
/// # Errors
/// When the node cannot be started or reached.
pub async fn bench(said: BenchSaid) -> anyhow::Result<()> {
    tokio::task::yield_now().await;
    anyhow::bail!("{said:?} is not there yet")
}
