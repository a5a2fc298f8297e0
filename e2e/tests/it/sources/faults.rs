//! Every fault of the demo feed on every kind of source: the right state, the right reason, recovery, and a hundred
//! neighbours that keep their pace.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::market::{Kind, Market};
use e2e::node::Node;
use e2e::sources::{REACHED, brief};
use e2e::tap::{Tap, ensure_pace};
use e2e::{process, scale};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::with_market;

/// Sources beside the broken ones, of all kinds together.
const NEIGHBOURS: usize = 102;

/// A fault, and where it leads each kind: state and a word of the reason; none where the kind does not mind.
struct Case {
    fault: &'static str,
    ends: [Option<(&'static str, &'static str)>; 3],
}

const fn all(fault: &'static str, state: &'static str, word: &'static str) -> Case {
    Case { fault, ends: [Some((state, word)), Some((state, word)), Some((state, word))] }
}

const BACK: &str = "backing_off";

const CASES: [Case; 23] = [
    all("401", "auth_failed", "401"),
    all("403", "auth_failed", "403"),
    all("404", BACK, "404"),
    all("429:3", BACK, "429"),
    all("500", BACK, "500"),
    all("503", BACK, "503"),
    all("hang", BACK, "did not answer"),
    Case {
        fault: "silence",
        ends: [Some((BACK, "did not end in time")), Some(("stale", "no data")), Some(("stale", "no data"))],
    },
    Case { fault: "heartbeats", ends: [None, Some(("stale", "no data")), Some(("stale", "no data"))] },
    all("malformed", BACK, "no JSON"),
    Case {
        fault: "html",
        ends: [None, Some((BACK, "text/html")), Some((BACK, "status 200 instead of 101"))],
    },
    Case {
        fault: "empty",
        ends: [None, Some((BACK, "text/event-stream")), Some((BACK, "status 200 instead of 101"))],
    },
    Case { fault: "binary", ends: [Some((BACK, "no JSON")), None, None] },
    Case {
        fault: "truncated",
        ends: [
            Some((BACK, "closed the connection")),
            Some((BACK, "closed the connection")),
            Some((BACK, "no JSON")),
        ],
    },
    Case {
        fault: "slow",
        ends: [Some((BACK, "did not end in time")), Some(("stale", "no data")), Some(("stale", "no data"))],
    },
    Case { fault: "late", ends: [Some((BACK, "did not answer within")), None, None] },
    all("drop", BACK, "closed the connection"),
    all("redirect-loop", BACK, "redirects"),
    Case {
        fault: "redirect:http://127.0.0.1:9/",
        ends: [
            Some((BACK, "--allow-private-sources 127.0.0.1:9")),
            Some((BACK, "--allow-private-sources 127.0.0.1:9")),
            Some((BACK, "redirects to 127.0.0.1")),
        ],
    },
    Case {
        fault: "bomb",
        ends: [
            Some((BACK, "longer than 8 MiB")),
            Some((BACK, "longer than 4 MiB")),
            Some((BACK, "too long")),
        ],
    },
    all("deep", BACK, "nest deeper"),
    Case {
        fault: "endless",
        ends: [Some((BACK, "longer than 8 MiB")), Some((BACK, "longer than 4 MiB")), None],
    },
    all("headers", BACK, "head of"),
];

struct Broken {
    name: String,
    path: String,
    fault: &'static str,
    state: &'static str,
    word: &'static str,
}

impl Broken {
    fn is_so(&self, status: &Value) -> bool {
        // A connection that is tried again is `connecting` for a moment, and its last error says why.
        let reason = status["reason"].as_str().or_else(|| status["last_error"]["detail"].as_str());
        status["state"] == self.state && reason.is_some_and(|reason| reason.contains(self.word))
    }
}

/// Registers a source for each fault and kind, and those that stand beside them.
async fn register(node: &Node, market: &Market) -> Result<Vec<Broken>> {
    let (mut broken, mut sources) = (Vec::new(), Vec::new());
    for (place, case) in CASES.iter().enumerate() {
        for (kind, end) in Kind::ALL.into_iter().zip(case.ends) {
            let Some((state, word)) = end else { continue };
            let name = format!("broken-{place}-{}", kind.word());
            let instrument = NEIGHBOURS + place;
            let mut source = kind.source(&name, market, instrument);
            source["timeout_ms"] = json!(1000);
            if kind != Kind::Rest {
                source["stale_after_ms"] = json!(2500);
            }
            sources.push(source);
            broken.push(Broken { name, path: kind.path(instrument), fault: case.fault, state, word });
        }
    }
    let good = |place: usize| {
        let kind = Kind::ALL[place % 3];
        kind.source(&format!("good-{place}-{}", kind.word()), market, place)
    };
    sources.extend((0..NEIGHBOURS).map(good));
    node.http()?.add_sources(&sources).await?;
    Ok(broken)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_ends_each_fault_in_its_state_while_others_keep_their_pace() -> Result<()> {
    let (market, mut node) = with_market(NEIGHBOURS + CASES.len()).await?;
    let broken = register(&node, &market).await?;
    let http = node.http()?;
    http.sources_when("live", REACHED, |_| true, |_, status| status["state"] == "live").await?;
    let tap = Tap::open(&node, "live").await?;
    let before = process::resident_bytes(node.pid()?)?;

    for one in &broken {
        market.fault(&one.path, one.fault).await?;
    }
    for one in &broken {
        let what = format!("{} because of {:?}, by {}", one.state, one.word, one.fault);
        let view = http.source_when(&one.name, &what, |status| one.is_so(status)).await?;
        ensure!(view["status"]["since"].is_string(), "{view}");
        if one.state != "stale" {
            ensure!(view["status"]["errors"].as_u64() > Some(0), "{}: {view}", one.fault);
            ensure!(view["status"]["last_error"]["stage"].is_string(), "{}: {view}", one.fault);
        }
    }
    ensure_retry_after(&node, &market).await?;
    let said = http.get("/api/v1/status").await?;
    let component = &said["components"]["sources"];
    ensure!(component["state"] == "degraded", "{component}");
    ensure!(
        component["detail"].as_str().is_some_and(|detail| detail.contains("are not live")),
        "{component}"
    );
    sleep(scale::pick(Duration::from_secs(2), Duration::from_secs(20))).await;

    market.mend().await?;
    for one in broken.iter().filter(|one| one.state == "auth_failed") {
        http.order_source(&one.name, "resume").await?;
    }
    http.sources_when("live again", REACHED, |_| true, |_, status| status["state"] == "live").await?;
    let said = http.get("/api/v1/status").await?;
    ensure!(said["components"]["sources"]["state"] == "ok", "{}", said["components"]["sources"]);

    let ticks = tap.ticks()?;
    let good: Vec<_> = ticks.iter().filter(|(name, _)| name.starts_with("good")).collect();
    ensure!(good.len() == NEIGHBOURS, "{} of {NEIGHBOURS} neighbours said something", good.len());
    let paced = ensure_pace(&good, Duration::from_secs(3))?;
    let grown = process::resident_bytes(node.pid()?)?.saturating_sub(before);
    scale::say(&format!(
        "faults: {} broken sources; beside them {paced}; {} KiB more",
        broken.len(),
        grown >> 10
    ));
    ensure_quiet(&node, &ticks.keys().cloned().collect::<Vec<_>>()).await?;
    tap.close().await;
    node.stop().await
}

/// Neighbours have no errors, and are connected once.
async fn ensure_quiet(node: &Node, names: &[String]) -> Result<()> {
    let all = node.http()?.sources().await?;
    for name in names.iter().filter(|name| name.starts_with("good")) {
        let status = &all.get(name).with_context(|| format!("{name} is gone"))?["status"];
        ensure!(status["errors"] == 0, "{name} was hurt: {}", brief(status));
    }
    Ok(())
}

/// What was told to wait 3 s asks at most every 3 s.
async fn ensure_retry_after(node: &Node, market: &Market) -> Result<()> {
    let place = CASES.iter().position(|case| case.fault == "429:3").context("no such case")?;
    let path = Kind::Rest.path(NEIGHBOURS + place);
    let asked = |counts: &Value| counts[&path]["statuses"]["429"].as_u64().unwrap_or(0);
    let before = asked(&market.counts().await?);
    sleep(Duration::from_millis(3500)).await;
    let more = asked(&market.counts().await?) - before;
    ensure!(more <= 2, "asked {more} times in 3.5 s, with Retry-After: 3");
    let view = node.http()?.source(&format!("broken-{place}-rest")).await?;
    ensure!(view["status"]["next_attempt"].is_string(), "{view}");
    Ok(())
}
