//! `anode demo-feed`: a made-up market for demos, tests and benchmarks.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use super::output::Out;
use super::run::Signals;
use crate::demo::{Addresses, DemoFeed, DemoOptions};
use crate::identity::write_atomically;

/// What stands behind the options.
pub(super) const EXAMPLES: &str = "\
Examples:
  anode demo-feed                             12 instruments on http://127.0.0.1:8090; / lists the endpoints
  anode demo-feed --feeds 1000 --rate 1       1,000 instruments, each with a new price every second
  anode demo-feed --http 127.0.0.1:0 --address-file feed.json --https 127.0.0.1:0 --ca-file ca.pem
  curl http://127.0.0.1:8090/rest/btc-usd
  curl -N http://127.0.0.1:8090/sse/btc-usd
  curl http://127.0.0.1:8090/rest/0?fault=429
  curl http://127.0.0.1:8090/faults -d '{\"path\": \"/sse/*\", \"fault\": \"silence\"}'
  curl -X DELETE http://127.0.0.1:8090/faults";

/// The options of `anode demo-feed`.
#[derive(Debug, Args)]
pub(super) struct DemoFeedArgs {
    #[command(flatten)]
    options: DemoOptions,
    /// Write the addresses to this file, as one JSON object
    #[arg(long, value_name = "FILE")]
    address_file: Option<PathBuf>,
    /// Print the addresses in JSON, for scripts
    #[arg(long)]
    json: bool,
}

/// Serves until a signal comes.
pub(super) async fn demo_feed(args: &DemoFeedArgs) -> anyhow::Result<()> {
    crate::bench::raise_open_files();
    let mut signals = Signals::listen()?;
    let feed = DemoFeed::start(&args.options).await?;
    announce(args, feed.addresses())?;
    signals.next().await;
    feed.stop().await;
    Ok(())
}

/// Says where the feed is.
fn announce(args: &DemoFeedArgs, addresses: &Addresses) -> anyhow::Result<()> {
    if let Some(path) = &args.address_file {
        let line = [serde_json::to_vec(addresses)?, b"\n".to_vec()].concat();
        write_atomically(&std::path::absolute(path)?, &line, 0o644)
            .with_context(|| format!("cannot write to {}", path.display()))?;
    }
    let mut out = Out::new();
    if args.json {
        out.json(addresses)?;
        return out.flush();
    }
    out.line(format!("demo feed of {} instruments: http://{}/", args.options.feeds, addresses.http))?;
    for (address, what) in [
        (addresses.https, ""),
        (addresses.https_expired, "  (its certificate has expired)"),
        (addresses.https_wrong_name, "  (its certificate is of another name)"),
        (addresses.https_unknown_ca, "  (its certificate is of another CA)"),
    ] {
        if let Some(address) = address {
            out.line(format!("https://{address}/{what}"))?;
        }
    }
    out.flush()
}
