//! The sources of `anode run --demo`: each kind, a few instruments.

use std::net::SocketAddr;

use anode_shared::source::SourceDefinition;
use serde_json::json;

/// The sources of a feed that listens there.
pub fn definitions(feed: SocketAddr) -> Vec<SourceDefinition> {
    let rest = |slug: &str| {
        json!({"name": format!("demo-{slug}"), "kind": "rest", "url": format!("http://{feed}/rest/{slug}"),
            "topic": format!("demo.prices.{slug}"), "interval_ms": 1_000})
    };
    let sse = |slug: &str| {
        json!({"name": format!("demo-{slug}"), "kind": "sse", "url": format!("http://{feed}/sse/{slug}"),
            "topic": format!("demo.prices.{slug}")})
    };
    let socket = json!({
        "name": "demo-trades", "kind": "websocket", "url": format!("ws://{feed}/ws"),
        "topic": r#"demo.trades.${payload.symbol.lowerAscii().replace("/", "-")}"#,
        "open": [{"method": "subscribe", "params": {"channel": "trade", "symbol": ["BTC/USD", "ETH/USD", "DOGE/USD"]}}],
        "ping": {"every_ms": 20_000, "frame": {"method": "ping"}},
        "emit": "has(payload.data) ? payload.data : []",
    });
    let all = [rest("btc-usd"), rest("eth-usd"), sse("sol-usd"), sse("xrp-usd"), socket];
    // They are right, as the test below says.
    all.into_iter().filter_map(|one| serde_json::from_value(one).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_defines_good_sources_of_each_kind() {
        let all = definitions(([127, 0, 0, 1], 80).into());
        assert_eq!(all.len(), 5);
        for one in &all {
            assert_eq!(one.check(), [], "{}", one.name);
        }
        let kinds: std::collections::HashSet<_> = all.iter().map(|one| one.kind).collect();
        assert_eq!(kinds.len(), 3);
    }
}
