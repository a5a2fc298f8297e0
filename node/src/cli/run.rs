//! `anode run`: starts a node, and stops it when told to.

use std::io::Write as _;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::info;

use super::output::note;
use crate::client::dashboard_link;
use crate::config::Config;
use crate::node::Node;
use crate::telemetry;

/// What stands behind the options.
pub(super) const EXAMPLES: &str = "\
Examples:
  anode run                                      data in ./anode-data, HTTP on 127.0.0.1:8080
  anode run --demo                               something to see at once: a made-up market beside it
  anode run --data-dir ./second                  another node beside it, on the next free port
  anode run --http 0.0.0.0:8080 --name berlin-1  reachable from other machines
  anode run --retain-age 30d --retain-bytes 200GiB
  anode run --config anode.toml                  the same options from a file, without their dashes:
                                                   http = \"0.0.0.0:8080\"
                                                   retain-age = \"30d\"
                                                   open-publish = true

Every option can also be set by its environment variable. An option goes before the environment,
the environment before the file. SIGINT and SIGTERM stop the node without losing anything;
a second one stops it at once.";

/// What a shell reports for a program that SIGINT ended.
const INTERRUPTED: i32 = 130;

/// Runs a node until a signal comes.
pub(super) async fn run(config: Config) -> anyhow::Result<()> {
    telemetry::start(config.log_format)?;
    crate::bench::raise_open_files();
    let mut signals = Signals::listen()?;
    let node = tokio::select! {
        node = Node::start(config) => node?,
        () = signals.next() => return Ok(()),
    };
    announce(&node);
    signals.next().await;
    info!("Stopping; a second signal stops at once");
    tokio::select! {
        stopped = node.shutdown() => stopped,
        () = signals.next() => std::process::exit(INTERRUPTED),
    }
}

/// Prints where the node is, its dashboard last. That nobody reads it does not stop a node.
fn announce(node: &Node) {
    if let Some(taken) = node.taken() {
        note(&format!("port {} is taken, so this node uses {}", taken.port(), node.address().port()));
    }
    let mut out = std::io::stdout().lock();
    let _ = writeln!(
        out,
        "aNode {} is {} ({})\nlistening on {}, data in {}",
        env!("CARGO_PKG_VERSION"),
        node.name(),
        node.id(),
        node.address(),
        node.data_dir().display(),
    );
    if let Some(market) = node.demo() {
        let _ = writeln!(out, "demo: a made-up market at http://{market}/, its records under demo.>");
    }
    let token = node.shown_token();
    let page = dashboard_link(&node.address().to_string(), node.public_url(), token);
    let hint = if token.is_some() { "" } else { "  (`anode link` prints the link with the admin token)" };
    let _ = writeln!(out, "dashboard: {page}{hint}");
    let _ = out.flush();
}

/// The signals that stop a node.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(super) fn listen() -> anyhow::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
