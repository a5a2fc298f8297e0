//! All sources together, reading the demo feed over real sockets, with each of its faults.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anode_shared::source::{SourceDefinition, SourceState, SourceStatus};
use anode_shared::status::Level;
use anode_shared::topic::Topics;
use ed25519_dalek::SigningKey;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connector::{Connector, System};
use super::guard::{Allowed, Guard};
use super::request::Http;
use super::secrets::Secrets;
use super::{Parts, Sources, tls};
use crate::demo::{DemoFeed, DemoOptions};
use crate::store::{Item, Memory, Nobody, Start, Store, StoreOptions, Then};

mod faults;
mod life;
mod trial;

/// What was told of sources.
type Told = Arc<Mutex<Vec<(Level, String, String)>>>;

/// Sources that read a feed of their own into a store in memory.
struct Subject {
    feed: DemoFeed,
    store: Store,
    sources: Sources,
    told: Told,
    dir: PathBuf,
    _folder: Option<tempfile::TempDir>,
}

fn new_store() -> Store {
    let key = SigningKey::from_bytes(&[7; 32]);
    Store::open(Arc::new(Memory::default()), StoreOptions::default(), key, Arc::new(Nobody)).unwrap()
}

fn open(dir: &Path, store: &Store, feed: &DemoFeed, ca: Option<&Path>) -> (Sources, Told) {
    let addresses = feed.addresses();
    let all = [
        Some(addresses.http),
        addresses.https,
        addresses.https_expired,
        addresses.https_wrong_name,
        addresses.https_unknown_ca,
    ];
    let allowed = all.into_iter().flatten().map(Into::into).collect();
    let guard = Guard::new(Allowed::These(allowed));
    let connector = Connector::new(guard, tls::client(ca).unwrap(), Arc::new(System::default()));
    let told = Told::default();
    let hears = told.clone();
    let parts = Parts {
        store: store.clone(),
        http: Http::new(connector.clone(), TaskTracker::new(), CancellationToken::new()),
        connector,
        secrets: Secrets::new(dir),
        dir: dir.join("sources"),
        told: Box::new(move |level, kind, detail| {
            hears.lock().unwrap().push((level, kind.to_owned(), detail.to_owned()));
        }),
    };
    (Sources::open(parts).unwrap(), told)
}

impl Subject {
    async fn new(feeds: usize, rate: f64) -> Self {
        let feed = DemoFeed::start(&DemoOptions { feeds, rate, ..DemoOptions::default() }).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let store = new_store();
        let (sources, told) = open(folder.path(), &store, &feed, None);
        sources.start();
        Self { feed, store, sources, told, dir: folder.path().to_owned(), _folder: Some(folder) }
    }

    /// Ends the sources, and begins anew with what they kept.
    async fn restart(&mut self) {
        self.sources.shutdown().await;
        (self.sources, self.told) = open(&self.dir, &self.store, &self.feed, None);
        self.sources.start();
    }

    fn definition(&self, name: &str, path: &str, more: Value) -> SourceDefinition {
        let kind = if path.starts_with("/sse") {
            "sse"
        } else if path.starts_with("/ws") {
            "websocket"
        } else {
            "rest"
        };
        let scheme = if kind == "websocket" { "ws" } else { "http" };
        let mut json = json!({
            "name": name, "kind": kind, "url": format!("{scheme}://{}{path}", self.feed.addresses().http),
            "topic": format!("t.{name}"), "timeout_ms": 1_000, "stale_after_ms": 1_500,
        });
        if kind == "rest" {
            json["interval_ms"] = 200.into();
        }
        json.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        SourceDefinition::read(json).unwrap()
    }

    async fn add(&self, name: &str, path: &str, more: Value) {
        self.sources.add(self.definition(name, path, more)).await.unwrap();
    }

    fn status(&self, name: &str) -> SourceStatus {
        self.sources.get(name, false).unwrap().status
    }

    /// Waits until a source is in one of some states.
    async fn becomes(&self, name: &str, states: &[SourceState], within: u64) -> SourceStatus {
        let end = Instant::now() + Duration::from_secs(within);
        loop {
            let status = self.status(name);
            if states.contains(&status.state) {
                return status;
            }
            assert!(Instant::now() < end, "{name} does not become {states:?}: {status:?}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until a source is in a state for a reason.
    async fn says(&self, name: &str, state: SourceState, words: &str, within: u64) -> SourceStatus {
        let end = Instant::now() + Duration::from_secs(within);
        loop {
            let status = self.status(name);
            if status.state == state && status.reason.as_deref().unwrap_or_default().contains(words) {
                return status;
            }
            assert!(Instant::now() < end, "{name} does not become {state:?} for {words:?}: {status:?}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Breaks an endpoint of the feed, or mends all.
    async fn fault(&self, path: &str, fault: &str) {
        let body = json!({"path": path, "fault": fault}).to_string();
        self.ask("POST", &body).await;
    }

    async fn mend(&self) {
        self.ask("DELETE", "").await;
    }

    async fn ask(&self, method: &str, body: &str) {
        let mut stream = tokio::net::TcpStream::connect(self.feed.addresses().http).await.unwrap();
        let head = format!(
            "{method} /faults HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    }

    /// The payloads of all records, by topic.
    fn payloads(&self) -> BTreeMap<String, Vec<Value>> {
        let mut found: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        let mut reader = self.store.reader(&Start::Earliest, Topics::default(), &|_, _| true).unwrap();
        loop {
            let mut step = reader.poll();
            if matches!(step.then, Then::Blocking) {
                step = reader.poll_storage();
            }
            for item in step.items {
                let Item::Records(slice) = item else { continue };
                for index in slice.range() {
                    let record = slice.batch().record(index);
                    let payload = serde_json::from_slice(record.payload).unwrap_or(Value::Null);
                    found.entry(record.topic.to_owned()).or_default().push(payload);
                }
            }
            if matches!(step.then, Then::Live) {
                return found;
            }
        }
    }

    /// The numbers of a topic's ticks.
    fn numbers(&self, topic: &str) -> Vec<u64> {
        let payloads = self.payloads().remove(topic).unwrap_or_default();
        payloads.iter().filter_map(|payload| payload["n"].as_u64()).collect()
    }
}
