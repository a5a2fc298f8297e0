//! The demo feed as an upstream: the built `anode demo-feed` with its faults, its counts and its certificates.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::http;
use crate::node::{binary, clean_command};

/// How long the feed may take to listen.
const READY: Duration = Duration::from_secs(20);
/// The feed's ports, as its address file names them.
const DOORS: [&str; 5] = ["http", "https", "https_expired", "https_wrong_name", "https_unknown_ca"];

/// A running demo feed; killed when dropped.
#[derive(Debug)]
pub struct Market {
    child: Child,
    dir: TempDir,
    addresses: Value,
    client: reqwest::Client,
}

impl Market {
    /// Starts a feed of so many instruments, each of which changes so often a second, with and without TLS.
    ///
    /// # Errors
    /// Fails where it does not listen.
    pub async fn start(feeds: usize, rate: f64) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("anode-market-").tempdir()?;
        let log = File::create(dir.path().join("feed.log"))?;
        let mut command = clean_command(&binary()?);
        command.args(["demo-feed", "--http", "127.0.0.1:0", "--https", "127.0.0.1:0", "--ca-file", "ca.pem"]);
        command.args([
            "--address-file",
            "feed.json",
            "--feeds",
            &feeds.to_string(),
            "--rate",
            &rate.to_string(),
        ]);
        command.current_dir(dir.path()).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn()?;
        let mut market = Self { child, dir, addresses: Value::Null, client: http::client()? };
        market.wait().await?;
        Ok(market)
    }

    async fn wait(&mut self) -> Result<()> {
        let until = Instant::now() + READY;
        loop {
            let text = fs::read_to_string(self.dir.path().join("feed.json")).unwrap_or_default();
            if let Ok(addresses) = serde_json::from_str(&text) {
                self.addresses = addresses;
                return Ok(());
            }
            let log = || fs::read_to_string(self.dir.path().join("feed.log")).unwrap_or_default();
            if let Some(ended) = self.child.try_wait()? {
                bail!("the demo feed ended with {ended}: {}", log());
            }
            ensure!(Instant::now() < until, "no address after {READY:?}: {}", log());
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Where one of its doors is, `host:port`: `http`, `https`, `https_expired`, ….
    ///
    /// # Errors
    /// Fails where there is no such door.
    pub fn door(&self, name: &str) -> Result<&str> {
        self.addresses[name].as_str().with_context(|| format!("no door {name} in {}", self.addresses))
    }

    /// Where it is without TLS, `host:port`.
    #[must_use]
    pub fn address(&self) -> &str {
        self.addresses["http"].as_str().unwrap_or_default()
    }

    /// The value of `--allow-private-sources` that lets a node reach all its doors.
    #[must_use]
    pub fn allowed(&self) -> String {
        let doors = DOORS.iter().filter_map(|name| self.addresses[*name].as_str());
        doors.collect::<Vec<_>>().join(",")
    }

    /// The certificate of its authority.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// The process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Breaks a path.
    ///
    /// # Errors
    /// Fails where the feed refuses.
    pub async fn fault(&self, path: &str, fault: &str) -> Result<()> {
        let body = json!({ "path": path, "fault": fault }).to_string();
        let answer = self.client.post(self.url("/faults")).body(body).send().await?;
        let status = answer.status();
        ensure!(status.is_success(), "{fault} on {path}: {status}: {}", answer.text().await?);
        Ok(())
    }

    /// Mends everything.
    ///
    /// # Errors
    /// Fails where the feed refuses.
    pub async fn mend(&self) -> Result<()> {
        self.client.delete(self.url("/faults")).send().await?.error_for_status()?;
        Ok(())
    }

    /// How often each endpoint was asked.
    ///
    /// # Errors
    /// Fails where the feed does not answer.
    pub async fn counts(&self) -> Result<Value> {
        Ok(self.client.get(self.url("/count")).send().await?.error_for_status()?.json().await?)
    }

    /// The serial of each instrument's last tick.
    ///
    /// # Errors
    /// Fails where the feed does not answer.
    pub async fn emitted(&self) -> Result<Vec<u64>> {
        let all: Value =
            self.client.get(self.url("/emitted")).send().await?.error_for_status()?.json().await?;
        let all = all.as_array().context("no list")?;
        Ok(all.iter().map(|one| one["n"].as_u64().unwrap_or(0)).collect())
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }
}

impl Drop for Market {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A kind of source, and how one reads an instrument of the feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "named as the contract names them")]
pub enum Kind {
    Rest,
    Sse,
    Websocket,
}

impl Kind {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Rest, Self::Sse, Self::Websocket];

    /// The kind's word in a definition.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Rest => "rest",
            Self::Sse => "sse",
            Self::Websocket => "websocket",
        }
    }

    /// The feed's path of an instrument.
    #[must_use]
    pub fn path(self, instrument: usize) -> String {
        match self {
            Self::Rest => format!("/rest/{instrument}"),
            Self::Sse => format!("/sse/{instrument}"),
            Self::Websocket => format!("/ws/{instrument}"),
        }
    }

    /// The URL of a path at an address.
    #[must_use]
    pub fn url(self, tls: bool, address: &str, path: &str) -> String {
        let scheme = if self == Self::Websocket { "ws" } else { "http" };
        format!("{scheme}{}://{address}{path}", if tls { "s" } else { "" })
    }

    /// The definition of a source that reads an instrument, with short times, so that a test need not wait.
    #[must_use]
    pub fn source(self, name: &str, market: &Market, instrument: usize) -> Value {
        let mut source = json!({ "name": name, "kind": self.word(), "topic": format!("market.{name}"),
            "url": self.url(false, market.address(), &self.path(instrument)), "timeout_ms": 2000 });
        if self == Self::Rest {
            source["interval_ms"] = json!(250);
            source["only_changes"] = json!(true);
        } else {
            source["stale_after_ms"] = json!(5000);
        }
        source
    }
}
