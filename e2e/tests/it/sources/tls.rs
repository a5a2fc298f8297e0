//! Upstreams behind TLS, with the demo feed's own authority: good certificates, and each kind of wrong one.

use anyhow::{Result, ensure};
use e2e::http::Http;
use e2e::market::{Kind, Market};
use e2e::node::{Node, Plan};
use e2e::sources::{REACHED, brief, records};
use serde_json::{Value, json};

/// The feed's doors, and a word of the reason why no source comes in.
const DOORS: [(&str, Option<&str>); 4] = [
    ("https", None),
    ("https_expired", Some("expired")),
    ("https_wrong_name", Some("not for")),
    ("https_unknown_ca", Some("does not know")),
];

fn source(market: &Market, kind: Kind, door: &str) -> Result<Value> {
    let name = format!("{}-{}", kind.word(), door.replace("https", "tls"));
    let mut source = kind.source(&name, market, 0);
    source["url"] = json!(kind.url(true, market.door(door)?, &kind.path(0)));
    Ok(source)
}

async fn with_authority(market: &Market) -> Result<Node> {
    let ca = market.ca().display().to_string();
    Plan::new().args(&["--allow-private-sources", &market.allowed(), "--source-ca", &ca]).start().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_reads_over_tls_and_names_what_is_wrong_with_a_certificate() -> Result<()> {
    let market = Market::start(1, 5.0).await?;
    let mut node = with_authority(&market).await?;
    let http = node.http()?;
    for kind in Kind::ALL {
        for (door, word) in DOORS {
            let source = source(&market, kind, door)?;
            let tested = http.test_source(&source).await?;
            http.add_source(&source).await?;
            match word {
                None => ensure!(tested["ok"] == true && tested["http_status"].is_number(), "{tested}"),
                Some(word) => {
                    let detail = tested["error"]["detail"].as_str().unwrap_or("").to_lowercase();
                    ensure!(tested["error"]["stage"] == "tls" && detail.contains(word), "{door}: {tested}");
                    ensure!(tested["phases"]["connect_ms"].is_number(), "{door}: {tested}");
                }
            }
        }
    }
    let is_so = |name: &str, status: &Value| {
        let word = DOORS.iter().find(|(door, _)| name.ends_with(&door.replace("https", "-tls")));
        let word = word.and_then(|(_, word)| *word);
        let reason = status["reason"].as_str().unwrap_or("").to_lowercase();
        match word {
            None => status["state"] == "live" && status["records"].as_u64() > Some(1),
            Some(word) => status["state"] == "backing_off" && reason.contains(word),
        }
    };
    let all = http.sources_when("as their certificates make them", REACHED, |_| true, is_so).await?;
    for (name, view) in all.iter().filter(|(name, _)| !name.ends_with("-tls")) {
        ensure!(records(view) == 0, "{name} was read all the same: {}", brief(&view["status"]));
        ensure!(view["status"]["last_error"]["stage"] == "tls", "{name}: {view}");
    }
    node.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_recovers_when_a_certificate_is_renewed() -> Result<()> {
    let market = Market::start(1, 5.0).await?;
    let mut node = with_authority(&market).await?;
    let http = node.http()?;
    for kind in Kind::ALL {
        http.add_source(&source(&market, kind, "https")?).await?;
    }
    let live = |_: &str, status: &Value| status["state"] == "live";
    http.sources_when("live", REACHED, |_| true, live).await?;
    for (fault, word) in [("expired", "expired"), ("unknown-ca", "does not know"), ("wrong-name", "not for")]
    {
        market.fault("tls", fault).await?;
        reconnect(http).await?;
        let failed = |_: &str, status: &Value| {
            let reason = status["reason"].as_str().unwrap_or("").to_lowercase();
            status["state"] == "backing_off" && reason.contains(word)
        };
        http.sources_when(&format!("backing off: {word}"), REACHED, |_| true, failed).await?;
        market.mend().await?;
        reconnect(http).await?;
        http.sources_when("live again", REACHED, |_| true, live).await?;
    }
    node.stop().await
}

/// Connects them anew: an open connection has its certificate behind it.
async fn reconnect(http: &Http) -> Result<()> {
    for kind in Kind::ALL {
        http.order_source(&format!("{}-tls", kind.word()), "resume").await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_trusts_no_authority_that_it_was_not_told_of() -> Result<()> {
    let market = Market::start(1, 1.0).await?;
    let mut node = Plan::new().args(&["--allow-private-sources", &market.allowed()]).start().await?;
    for kind in Kind::ALL {
        let tested = node.http()?.test_source(&source(&market, kind, "https")?).await?;
        let detail = tested["error"]["detail"].as_str().unwrap_or("").to_lowercase();
        ensure!(tested["error"]["stage"] == "tls" && detail.contains("does not know"), "{tested}");
    }
    node.stop().await
}
