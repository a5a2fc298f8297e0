//! What Prometheus reads at `/metrics`: counters of every stage, collected when it asks.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// The media type of what [`Metrics::text`] writes.
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Upper ends of the latency buckets, in seconds: from an answer out of memory to a history page at its deadline.
const LATENCIES: [f64; 12] =
    [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 5.0];
/// Clock ticks a second in `/proc`: 100 on every Linux that Rust runs on.
const TICKS_PER_SEC: f64 = 100.0;

/// The registry.
#[derive(Debug)]
pub struct Metrics(Registry);

impl Metrics {
    /// A registry of the HTTP side's counters and the process's figures.
    pub fn new(http: &Arc<Http>) -> Self {
        let mut registry = Registry::default();
        http.register(registry.sub_registry_with_prefix("anode_http"));
        registry.register_collector(Box::new(Process));
        Self(registry)
    }

    /// Adds a stage that is read at every scrape.
    #[must_use]
    pub fn with(mut self, stage: Box<dyn Collector>) -> Self {
        self.0.register_collector(stage);
        self
    }

    /// What Prometheus reads.
    ///
    /// # Errors
    /// When a stage cannot be written.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut out = String::new();
        prometheus_client::encoding::text::encode(&mut out, &self.0)?;
        Ok(out)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answer {
    method: &'static str,
    route: Arc<str>,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: Arc<str>,
}

/// The HTTP side's counters.
#[derive(Debug)]
pub struct Http {
    answers: Family<Answer, Counter>,
    latency: Family<Route, Histogram, fn() -> Histogram>,
    connections: Gauge,
    accepted: Counter,
    refused: Counter,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            answers: Family::default(),
            latency: Family::new_with_constructor(|| Histogram::new(LATENCIES)),
            connections: Gauge::default(),
            accepted: Counter::default(),
            refused: Counter::default(),
        }
    }
}

impl Http {
    fn register(&self, registry: &mut Registry) {
        registry.register("requests", "Answers by method, route and status", self.answers.clone());
        registry.register("request_duration_seconds", "From head to answer, by route", self.latency.clone());
        registry.register("connections", "Open connections, WebSockets included", self.connections.clone());
        registry.register("accepted_connections", "Connections taken", self.accepted.clone());
        registry.register("refused_connections", "Connections refused over the limit", self.refused.clone());
    }

    /// Counts an answer. `route` is the route's template, so that paths do not multiply the series.
    pub fn answered(&self, method: &'static str, route: Arc<str>, status: u16, took: Duration) {
        self.latency.get_or_create(&Route { route: Arc::clone(&route) }).observe(took.as_secs_f64());
        self.answers.get_or_create(&Answer { method, route, status }).inc();
    }

    /// Counts a connection until what is given back is dropped.
    pub fn connection(&self) -> Open {
        self.accepted.inc();
        self.connections.inc();
        Open(self.connections.clone())
    }

    /// Counts a connection over the limit.
    pub fn refused(&self) {
        self.refused.inc();
    }

    /// Connections that are open now.
    pub fn connections(&self) -> i64 {
        self.connections.get()
    }
}

/// A connection that is counted.
#[derive(Debug)]
pub struct Open(Gauge);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// One figure of a stage, read at scrape time.
#[derive(Debug, Clone, Copy)]
pub struct Figure {
    /// The name; a counter gets `_total` behind it.
    pub name: &'static str,
    /// What it says.
    pub help: &'static str,
    /// Its value.
    pub value: Value,
}

/// The value of a figure.
#[derive(Debug, Clone, Copy)]
pub enum Value {
    /// What only rises.
    Count(u64),
    /// The same with fractions.
    Sum(f64),
    /// What rises and falls.
    Level(f64),
}

/// Writes figures.
///
/// # Errors
/// When the writer fails.
pub fn encode(encoder: &mut DescriptorEncoder<'_>, figures: &[Figure]) -> Result<(), std::fmt::Error> {
    for figure in figures {
        match figure.value {
            Value::Count(value) => describe(encoder, figure, &ConstCounter::new(value))?,
            Value::Sum(value) => describe(encoder, figure, &ConstCounter::new(value))?,
            Value::Level(value) => describe(encoder, figure, &ConstGauge::new(value))?,
        }
    }
    Ok(())
}

fn describe(
    encoder: &mut DescriptorEncoder<'_>,
    figure: &Figure,
    metric: &impl EncodeMetric,
) -> Result<(), std::fmt::Error> {
    metric.encode(encoder.encode_descriptor(figure.name, figure.help, None, metric.metric_type())?)
}

/// The process, out of `/proc`.
#[derive(Debug)]
struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let (cpu, threads) = stat(&fs::read_to_string("/proc/self/stat").unwrap_or_default());
        let resident = resident(&fs::read_to_string("/proc/self/status").unwrap_or_default());
        let files = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        encode(
            &mut encoder,
            &[
                Figure {
                    name: "process_cpu_seconds",
                    help: "CPU time, user and system",
                    value: Value::Sum(cpu),
                },
                Figure {
                    name: "process_resident_memory_bytes",
                    help: "Memory that is resident",
                    value: Value::Level(resident),
                },
                Figure { name: "process_threads", help: "Threads", value: Value::Level(threads) },
                Figure {
                    name: "process_open_fds",
                    help: "Open file descriptors",
                    value: Value::Level(f64::from(u32::try_from(files).unwrap_or(u32::MAX))),
                },
            ],
        )
    }
}

/// CPU seconds and threads out of `/proc/self/stat` (proc_pid_stat(5), fields 14, 15 and 20).
fn stat(text: &str) -> (f64, f64) {
    // The second field, the program's name in brackets, may hold spaces itself.
    let fields: Vec<&str> = text.rsplit(") ").next().unwrap_or("").split(' ').collect();
    let field = |place: usize| fields.get(place).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    ((field(11) + field(12)) / TICKS_PER_SEC, field(17))
}

/// Resident bytes out of `/proc/self/status`.
fn resident(text: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()).and_then(|text| text.parse::<f64>().ok());
    kib.unwrap_or(0.0) * 1_024.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_what_linux_says_of_a_process() {
        let text = "7 (a ) b) S 1 7 7 0 -1 4194304 1 0 0 0 150 50 0 0 20 0 9 0 100 1 1";
        assert_eq!(stat(text), (2.0, 9.0));
        assert_eq!(resident("Name:\tx\nVmRSS:\t   2048 kB\n"), 2_097_152.0);
        assert_eq!((stat(""), resident("")), ((0.0, 0.0), 0.0));
    }

    #[test]
    fn it_writes_what_was_counted() {
        let http = Arc::new(Http::default());
        http.answered("GET", "/livez".into(), 200, Duration::from_millis(2));
        let open = http.connection();
        let text = Metrics::new(&http).text().unwrap();
        for line in [
            "anode_http_requests_total{method=\"GET\",route=\"/livez\",status=\"200\"} 1",
            "anode_http_request_duration_seconds_bucket{le=\"0.0025\",route=\"/livez\"} 1",
            "anode_http_connections 1",
            "anode_http_accepted_connections_total 1",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} is not in\n{text}");
        }
        assert!(
            text.contains("process_cpu_seconds_total ") && text.contains("process_resident_memory_bytes ")
        );
        drop(open);
        assert_eq!(http.connections(), 0);
    }
}
