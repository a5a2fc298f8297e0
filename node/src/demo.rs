//! The demo feed: a small made-up market over REST, SSE and WebSocket, with faults on request, for demos, tests and
//! benchmarks. It is an upstream like any other: the node knows it by its addresses only.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cli::now;
use crate::config::units;

pub mod market;
pub mod faults;
pub mod counts;
pub mod board;
pub mod ticker;
mod talk;
mod app;
mod broken;
mod rest;
mod sse;
mod websocket;
mod tls;
mod serve;
pub mod sources;

use app::App;
use board::Board;
use faults::Fault;
use serve::Door;
use ticker::Ticker;
use tls::Certificates;

/// The shortest rest of the ticker: 200 wake-ups a second at most, whatever the number of instruments and their rate.
const REST: Duration = Duration::from_millis(5);

/// What a feed is told.
#[derive(Debug, Clone, Args)]
pub struct DemoOptions {
    /// Where to listen; port 0 picks one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8090", value_parser = units::address)]
    pub http: SocketAddr,
    /// Where to listen with TLS, by certificates of an own CA; three more ports that the system picks have wrong ones
    #[arg(long, value_name = "ADDR", value_parser = units::address)]
    pub https: Option<SocketAddr>,
    /// Write the CA's certificate to this file (PEM)
    #[arg(long, value_name = "FILE", requires = "https")]
    pub ca_file: Option<PathBuf>,
    /// How many instruments there are
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = feeds)]
    pub feeds: usize,
    /// How often each changes, a second
    #[arg(long, value_name = "HZ", default_value_t = 1.0, value_parser = rate)]
    pub rate: f64,
    /// The walk's seed: the same one walks the same way
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
}

impl Default for DemoOptions {
    fn default() -> Self {
        let http = SocketAddr::from(([127, 0, 0, 1], 0));
        Self { http, https: None, ca_file: None, feeds: 12, rate: 1.0, seed: 1 }
    }
}

fn feeds(text: &str) -> Result<usize, String> {
    let good = text.parse().ok().filter(|count| (1..=board::MOST).contains(count));
    good.ok_or_else(|| format!("accepted is 1 to {}", board::MOST))
}

fn rate(text: &str) -> Result<f64, String> {
    let good = text.parse().ok().filter(|rate| (0.001..=10_000.0).contains(rate));
    good.ok_or_else(|| "accepted is 0.001 to 10000 a second".to_owned())
}

/// Where a feed listens.
#[derive(Debug, Clone, Serialize)]
pub struct Addresses {
    /// HTTP.
    pub http: SocketAddr,
    /// HTTP over TLS, with good certificates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub https: Option<SocketAddr>,
    /// With one that expired.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub https_expired: Option<SocketAddr>,
    /// With one of another name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub https_wrong_name: Option<SocketAddr>,
    /// With one of another CA.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub https_unknown_ca: Option<SocketAddr>,
}

/// A running feed.
#[derive(Debug)]
pub struct DemoFeed {
    addresses: Addresses,
    cancel: CancellationToken,
    tracker: TaskTracker,
}

impl DemoFeed {
    /// Starts a feed.
    ///
    /// # Errors
    /// When an address cannot be had, or the CA's file not be written.
    pub async fn start(options: &DemoOptions) -> anyhow::Result<Self> {
        let (cancel, tracker) = (CancellationToken::new(), TaskTracker::new());
        let began = now();
        // Milliseconds tell runs apart that follow each other at once.
        let board = Arc::new(Board::new(options.feeds, began / 1_000));
        let mut ticker = Ticker::new(Arc::clone(&board), options.seed);
        ticker.first(began);
        let app = App { board, cancel: cancel.clone() };
        let (doors, addresses) = doors(options).await?;
        let router = app::router(app.clone());
        for (listener, door) in doors {
            tracker.spawn(serve::run(app.clone(), tracker.clone(), listener, router.clone(), door));
        }
        tracker.spawn(tick(ticker, options.rate, cancel.clone()));
        Ok(Self { addresses, cancel, tracker })
    }

    /// Where it listens.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Ends it, with all its connections.
    pub async fn stop(self) {
        self.cancel.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

impl Drop for DemoFeed {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

/// Binds what the options name.
async fn doors(options: &DemoOptions) -> anyhow::Result<(Vec<(TcpListener, Door)>, Addresses)> {
    let (plain, http) = bind(options.http, "--http").await?;
    let mut doors = vec![(plain, Door::Plain)];
    let mut addresses =
        Addresses { http, https: None, https_expired: None, https_wrong_name: None, https_unknown_ca: None };
    let Some(https) = options.https else { return Ok((doors, addresses)) };
    let certificates = Certificates::make()?;
    if let Some(path) = &options.ca_file {
        std::fs::write(path, &certificates.ca_pem)
            .with_context(|| format!("cannot write the CA's certificate to {}", path.display()))?;
    }
    let (listener, address) = bind(https, "--https").await?;
    doors.push((listener, Door::Tls(certificates.clone())));
    addresses.https = Some(address);
    for (fault, place) in [
        (Fault::Expired, &mut addresses.https_expired),
        (Fault::WrongName, &mut addresses.https_wrong_name),
        (Fault::UnknownCa, &mut addresses.https_unknown_ca),
    ] {
        let (listener, address) = bind(SocketAddr::new(https.ip(), 0), "--https").await?;
        doors.push((listener, Door::Wrong(certificates.clone(), fault)));
        *place = Some(address);
    }
    Ok((doors, addresses))
}

async fn bind(address: SocketAddr, option: &str) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await;
    let listener = listener.with_context(|| format!("cannot listen on {address}; {option} names another"))?;
    let bound = listener.local_addr()?;
    Ok((listener, bound))
}

/// Ticks until cancelled.
async fn tick(mut ticker: Ticker, hertz: f64, cancel: CancellationToken) {
    let began = Instant::now();
    loop {
        let elapsed = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        ticker.advance(elapsed, hertz, now);
        let next = Duration::from_micros(ticker.due(hertz)).saturating_sub(began.elapsed());
        tokio::select! {
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(next.max(REST)) => {}
        }
    }
}

#[cfg(test)]
mod tests;
