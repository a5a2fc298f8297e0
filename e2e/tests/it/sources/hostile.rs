//! Upstreams that mean harm: each is cut, costs little memory, and hurts no other source.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use e2e::market::{Kind, Market};
use e2e::node::{Node, Plan};
use e2e::process::resident_bytes;
use e2e::scale::{pick, say};
use e2e::sources::{REACHED, brief};
use e2e::tap::{Tap, ensure_pace};
use e2e::upstream::{Call, Upstream};
use futures_util::SinkExt as _;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::time::sleep;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

/// Within what time an upstream must be cut.
const CUT: Duration = Duration::from_secs(30);
/// What it may cost, beside what was there when it came.
const COST: u64 = 16 << 20;
/// What all of them may cost, one after the other: the allocator gives back what they took some time later.
const ALL: u64 = 48 << 20;
/// From one byte to the next of what drips.
const DRIP: Duration = Duration::from_millis(50);

/// What the tests' own upstream does, by the path that is asked, and which kinds ask for it.
const OWN: [(&str, &[Kind]); 12] = [
    ("head-drips", &Kind::ALL),
    ("head-endless", &Kind::ALL),
    ("status-endless", &Kind::ALL),
    ("body-drips", &[Kind::Rest]),
    ("chunks-of-nothing", &[Kind::Rest]),
    ("length-without-end", &[Kind::Rest]),
    ("redirects", &[Kind::Rest, Kind::Sse]),
    ("event-without-end", &[Kind::Sse]),
    ("id-without-end", &[Kind::Sse]),
    ("parts-without-end", &[Kind::Websocket]),
    ("frame-too-long", &[Kind::Websocket]),
    ("not-http", &Kind::ALL),
];
/// Faults of the demo feed that are such, too.
const FEED: [(&str, &[Kind]); 3] =
    [("bomb", &Kind::ALL), ("deep", &Kind::ALL), ("endless", &[Kind::Rest, Kind::Sse])];
/// What goes on for as long as it is read, and makes no records.
const NOISE: [(&str, Kind); 2] = [("comments", Kind::Sse), ("pings", Kind::Websocket)];
/// What goes on for as long as it is read, and makes records.
const FLOODS: [(&str, Kind); 2] = [("events", Kind::Sse), ("messages", Kind::Websocket)];

async fn drip(call: Call, head: &str, byte: &[u8]) -> Result<()> {
    let mut stream = call.stream;
    stream.write_all(head.as_bytes()).await?;
    loop {
        stream.write_all(byte).await?;
        sleep(DRIP).await;
    }
}

async fn pour(call: Call, head: &str, chunk: &[u8]) -> Result<()> {
    let mut stream = call.stream;
    stream.write_all(head.as_bytes()).await?;
    loop {
        stream.write_all(chunk).await?;
    }
}

const EVENTS: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
const CHUNKED: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
const LONG: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000000000000\r\n\r\n";

async fn harm(call: Call) -> Result<()> {
    let path = call.path.clone();
    let mut words = path.trim_start_matches('/').split('/');
    match words.next().unwrap_or_default() {
        "head-drips" => drip(call, "HTTP/1.1 200 OK\r\nx-a: ", b"x").await,
        "head-endless" => pour(call, "HTTP/1.1 200 OK\r\n", &b"x-a: abcdefgh\r\n".repeat(1000)).await,
        "status-endless" => pour(call, "HTTP/1.1 200 ", &vec![b'x'; 16 << 10]).await,
        "body-drips" => drip(call, LONG, b" ").await,
        "chunks-of-nothing" => pour(call, CHUNKED, &b"1;extension=abcdefgh\r\n \r\n".repeat(500)).await,
        "length-without-end" => pour(call, LONG, &vec![b' '; 64 << 10]).await,
        "redirects" => {
            let next: u64 = words.next().and_then(|text| text.parse().ok()).unwrap_or(0) + 1;
            call.answer("302 Found", &[("location", &format!("/redirects/{next}"))], b"").await
        }
        "event-without-end" => pour(call, EVENTS, &b"data: x\n".repeat(2000)).await,
        "id-without-end" => pour(call, &format!("{EVENTS}id: "), &vec![b'x'; 16 << 10]).await,
        "comments" => pour(call, EVENTS, &b": nothing\n\n".repeat(2000)).await,
        "events" => pour(call, EVENTS, &b"data: {\"flood\":1}\n\n".repeat(1000)).await,
        "not-http" => pour(call, "220 mail.example ESMTP\r\n", &b"250 OK\r\n".repeat(1000)).await,
        "frame-too-long" => {
            let mut socket = call.upgrade().await?;
            // A head that announces 2^62 bytes, and zeros for them.
            let stream = socket.get_mut();
            stream.write_all(&[0x82, 0x7f, 0x40, 0, 0, 0, 0, 0, 0, 0]).await?;
            loop {
                stream.write_all(&[0; 16 << 10]).await?;
            }
        }
        flood => frames(call, flood.to_owned()).await,
    }
}

async fn frames(call: Call, what: String) -> Result<()> {
    let mut socket = call.upgrade().await?;
    let mut first = true;
    loop {
        let message = match what.as_str() {
            "parts-without-end" => {
                let code = if first { Data::Text } else { Data::Continue };
                Message::Frame(Frame::message(vec![b' '; 16 << 10], OpCode::Data(code), false))
            }
            "pings" => Message::Ping(vec![b'x'; 100].into()),
            _ => Message::text("{\"flood\":1}"),
        };
        first = false;
        socket.feed(message).await?;
    }
}

fn source(name: &str, kind: Kind, url: &str) -> Value {
    let mut source =
        json!({ "name": name, "kind": kind.word(), "url": url, "topic": "harm.a", "timeout_ms": 1000 });
    if kind == Kind::Rest {
        source["interval_ms"] = json!(500);
    } else {
        source["stale_after_ms"] = json!(2000);
    }
    source
}

struct Trial<'a> {
    node: &'a Node,
    /// How long an upstream is watched once it was cut, and how long a flood runs.
    watched: (Duration, Duration),
    first: u64,
    before: u64,
    most: u64,
    slowest: Duration,
}

impl Trial<'_> {
    /// Lets a source meet its upstream until it is cut, and a little longer.
    async fn meet(&mut self, name: &str, source: &Value) -> Result<()> {
        let http = self.node.http()?;
        self.before = resident_bytes(self.node.pid()?)?;
        let began = Instant::now();
        http.add_source(source).await?;
        loop {
            self.weigh(name)?;
            let status = &http.source(name).await?["status"];
            if status["errors"].as_u64() > Some(0) || status["state"] == "stale" {
                ensure!(status["records"] == 0, "{name}: {}", brief(status));
                break;
            }
            ensure!(began.elapsed() < CUT, "{name} is not cut after {CUT:?}: {}", brief(status));
            sleep(Duration::from_millis(50)).await;
        }
        self.slowest = self.slowest.max(began.elapsed());
        let cut = Instant::now();
        while cut.elapsed() < self.watched.0 {
            sleep(Duration::from_millis(50)).await;
            self.weigh(name)?;
        }
        http.send("DELETE", &format!("/api/v1/sources/{name}"), &[], "").await?.ensure(204)?;
        Ok(())
    }

    /// Lets a flood run for a while.
    async fn bear(&mut self, name: &str, source: &Value) -> Result<()> {
        let http = self.node.http()?;
        self.before = resident_bytes(self.node.pid()?)?;
        http.add_source(source).await?;
        let began = Instant::now();
        while began.elapsed() < self.watched.1 {
            sleep(Duration::from_millis(50)).await;
            self.weigh(name)?;
        }
        http.send("DELETE", &format!("/api/v1/sources/{name}"), &[], "").await?.ensure(204)?;
        Ok(())
    }

    fn weigh(&mut self, name: &str) -> Result<()> {
        let now = resident_bytes(self.node.pid()?)?;
        let (more, all) = (now.saturating_sub(self.before), now.saturating_sub(self.first));
        self.most = self.most.max(more);
        ensure!(more <= COST, "{name} costs {} KiB", more >> 10);
        ensure!(all <= ALL, "with {name}, all cost {} KiB", all >> 10);
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_cuts_upstreams_that_mean_harm() -> Result<()> {
    let watched = pick((200, 800), (2_000, 6_000));
    let watched = (Duration::from_millis(watched.0), Duration::from_millis(watched.1));
    let market = Market::start(40, 2.0).await?;
    let upstream = Upstream::local(Arc::new(|call| -> Pin<Box<dyn Future<Output = Result<()>> + Send>> {
        Box::pin(harm(call))
    }))?;
    let own = upstream.address.to_string();
    let mut node = Plan::new()
        .args(&["--allow-private-sources", &format!("{},{own}", market.allowed())])
        .start()
        .await?;
    let others: Vec<Value> =
        (0..30).map(|place| Kind::ALL[place % 3].source(&format!("good-{place}"), &market, place)).collect();
    let http = node.http()?;
    http.add_sources(&others).await?;
    http.sources_when("live", REACHED, |_| true, |_, status| status["state"] == "live").await?;
    let tap = Tap::open(&node, "live").await?;
    sleep(Duration::from_secs(2)).await;
    let before = resident_bytes(node.pid()?)?;
    let mut trial = Trial { node: &node, watched, first: before, before, most: 0, slowest: Duration::ZERO };
    for (harm, kinds) in OWN {
        for kind in kinds {
            let name = format!("{harm}-{}", kind.word());
            trial.meet(&name, &source(&name, *kind, &kind.url(false, &own, &format!("/{harm}")))).await?;
        }
    }
    for (fault, kinds) in FEED {
        for kind in kinds {
            let name = format!("{fault}-{}", kind.word());
            market.fault(&kind.path(35), fault).await?;
            trial
                .meet(&name, &source(&name, *kind, &kind.url(false, market.address(), &kind.path(35))))
                .await?;
        }
    }
    let cut = trial.most;
    let url = |flood: &str, kind: Kind| kind.url(false, &own, &format!("/{flood}"));
    for (flood, kind) in NOISE {
        trial.bear(flood, &source(flood, kind, &url(flood, kind))).await?;
    }
    // Records of whatever source fill the store's buffers up to their bounds: a flood is weighed with these full.
    http.add_source(&source("busy", Kind::Websocket, &url("messages", Kind::Websocket))).await?;
    sleep(2 * watched.1).await;
    http.send("DELETE", "/api/v1/sources/busy", &[], "").await?.ensure(204)?;
    trial.first = resident_bytes(node.pid()?)?;
    for (flood, kind) in FLOODS {
        trial.bear(flood, &source(flood, kind, &url(flood, kind))).await?;
    }
    let (most, slowest) = (trial.most, trial.slowest);
    let all = resident_bytes(node.pid()?)?.saturating_sub(before) >> 10;
    let ticks = tap.ticks()?;
    let good: Vec<_> = ticks.iter().filter(|(name, _)| name.starts_with("good")).collect();
    ensure!(good.len() == others.len(), "{} of {} said something", good.len(), others.len());
    let paced = ensure_pace(&good, Duration::from_secs(3))?;
    for view in http.sources().await?.values() {
        ensure!(view["status"]["errors"] == 0, "{} was hurt: {}", view["name"], brief(&view["status"]));
    }
    say(&format!(
        "hostile: cut after {slowest:?} at most, {} KiB at most, {} KiB with floods, {all} KiB left; beside them {paced}",
        cut >> 10,
        most >> 10
    ));
    tap.close().await;
    node.stop().await.context("after all")
}
