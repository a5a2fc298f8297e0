//! Sources from outside: the built node reads the built demo feed, and upstreams that mean harm.

mod life;
mod refusals;
mod faults;
mod tls;
mod proxy;
mod guard;
mod kills;
mod startup;
mod commands;
mod secrets;
mod hostile;

use anyhow::Result;
use e2e::market::Market;
use e2e::node::{Node, Plan};

/// A feed of so many instruments that change once a second, and a node that may read it.
pub(crate) async fn with_market(instruments: usize) -> Result<(Market, Node)> {
    let market = Market::start(instruments, 1.0).await?;
    let node = Plan::new().args(&["--allow-private-sources", &market.allowed()]).start().await?;
    Ok((market, node))
}
