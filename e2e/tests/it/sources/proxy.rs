//! Proxies of the environment are none of a source's business: they would reach what the guard forbids.

use anyhow::{Result, ensure};
use e2e::market::{Kind, Market};
use e2e::node::Plan;
use e2e::relay::Relay;
use e2e::sources::REACHED;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_goes_by_no_proxy_of_the_environment() -> Result<()> {
    let market = Market::start(1, 5.0).await?;
    let proxy = Relay::start("127.0.0.1:0".parse()?, market.address().parse()?).await?;
    let url = format!("http://{}", proxy.address());
    let mut plan = Plan::new().args(&["--allow-private-sources", &market.allowed()]);
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        plan = plan.env(name, &url);
    }
    let mut node = plan.env("no_proxy", "").env("NO_PROXY", "").start().await?;
    let http = node.http()?;
    for kind in Kind::ALL {
        http.add_source(&kind.source(kind.word(), &market, 0)).await?;
    }
    http.sources_when("live", REACHED, |_| true, |_, status| status["state"] == "live").await?;
    ensure!(proxy.came() == 0, "{} connections went by the proxy", proxy.came());
    node.stop().await
}
