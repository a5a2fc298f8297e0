//! The node that is measured: one of our own, started for it, or a given one; and what it costs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::Setup;
use crate::client::{Client, Endpoint, Place};

/// How long a node may take to be ready, and to stop.
const PATIENCE: Duration = Duration::from_secs(30);
/// Ticks a second in `/proc/<pid>/stat`: `USER_HZ`, 100 on every architecture that we build for.
const TICKS: f64 = 100.0;

/// The node that is measured.
#[derive(Debug)]
pub(super) struct Subject {
    /// A client of it.
    pub(super) client: Client,
    /// Where the bare loops write: on the node's disk, where it is our own.
    pub(super) dir: PathBuf,
    child: Option<Child>,
}

/// What node and benchmark had used at a moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usage {
    at: Instant,
    fdatasyncs: Option<f64>,
    /// CPU seconds of the node.
    pub(super) node_cpu: Option<f64>,
    own_cpu: Option<f64>,
    /// The node's resident memory, bytes.
    pub(super) memory: Option<f64>,
}

/// What was used between two moments.
#[derive(Debug, Clone, Copy)]
pub(super) struct Used {
    /// Seconds between them.
    pub(super) seconds: f64,
    /// The node's fdatasyncs.
    pub(super) fdatasyncs: Option<f64>,
    /// CPU seconds of the node.
    pub(super) node_cpu: Option<f64>,
    /// CPU seconds of the benchmark.
    pub(super) own_cpu: Option<f64>,
}

impl Usage {
    /// What was used since `earlier`.
    pub(super) fn since(&self, earlier: &Self) -> Used {
        let less = |now: Option<f64>, then: Option<f64>| now.zip(then).map(|(now, then)| now - then);
        Used {
            seconds: self.at.duration_since(earlier.at).as_secs_f64(),
            fdatasyncs: less(self.fdatasyncs, earlier.fdatasyncs),
            node_cpu: less(self.node_cpu, earlier.node_cpu),
            own_cpu: less(self.own_cpu, earlier.own_cpu),
        }
    }
}

impl Subject {
    /// Takes the node that is named, else starts one on a directory of its own.
    pub(super) async fn take(setup: &Setup) -> anyhow::Result<Self> {
        let dir = Self::folder(&setup.dir)?;
        if setup.node.is_some() {
            let endpoint =
                Endpoint::choose(setup.node.as_deref(), setup.token.as_deref(), &Place::default())?;
            let subject = Self { client: Client::new(endpoint)?, dir, child: None };
            subject.client.text("/readyz").await?;
            return Ok(subject);
        }
        Self::start(dir, &[]).await
    }

    /// Makes a folder of this process's own.
    pub(super) fn folder(beside: &Path) -> anyhow::Result<PathBuf> {
        let dir = beside.join(format!(".anode-bench-{}", std::process::id()));
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        Ok(dir.canonicalize()?)
    }

    /// Starts a node on a folder, with more options than it needs by itself, and waits until it is ready.
    /// It finds no peers: what others do must not be measured with it.
    pub(super) async fn start(dir: PathBuf, more: &[&str]) -> anyhow::Result<Self> {
        Self::start_in(dir, "bench", more).await
    }

    /// The same in a network of that name.
    pub(super) async fn start_in(dir: PathBuf, network: &str, more: &[&str]) -> anyhow::Result<Self> {
        let child = start(&dir, network, more)?;
        let placeholder = Client::new(Endpoint::choose(None, None, &Place::default())?)?;
        let mut subject = Self { client: placeholder, dir, child: Some(child) };
        subject.client = subject.ready().await?;
        Ok(subject)
    }

    /// Waits until our own node takes records.
    async fn ready(&mut self) -> anyhow::Result<Client> {
        let began = Instant::now();
        loop {
            let place = Place::read(&self.dir.join("data"));
            if place.address.is_some() {
                let client = Client::new(Endpoint::choose(None, None, &place)?)?;
                if client.text("/readyz").await.is_ok() {
                    return Ok(client);
                }
            }
            let ended = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            if ended.is_some() || began.elapsed() > PATIENCE {
                let log = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
                bail!("the node did not become ready; it said:\n{log}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Whether the node is our own, with nobody else at it.
    pub(super) fn is_own(&self) -> bool {
        self.child.is_some()
    }

    /// What has been used up to now.
    pub(super) async fn usage(&self) -> anyhow::Result<Usage> {
        let metrics = self.client.text("/metrics").await?;
        let pid = self.child.as_ref().map(Child::id);
        let proc = |name: &str| pid.and_then(|pid| fs::read_to_string(format!("/proc/{pid}/{name}")).ok());
        let cpu = proc("stat").and_then(|stat| cpu_seconds(&stat));
        let memory = proc("status").and_then(|status| resident(&status));
        Ok(Usage {
            at: Instant::now(),
            fdatasyncs: metric(&metrics, "anode_store_fdatasyncs_total"),
            node_cpu: cpu.or_else(|| metric(&metrics, "process_cpu_seconds_total")),
            own_cpu: fs::read_to_string("/proc/self/stat").ok().and_then(|stat| cpu_seconds(&stat)),
            memory: memory.or_else(|| metric(&metrics, "process_resident_memory_bytes")),
        })
    }

    /// Stops our own node and removes what it wrote.
    pub(super) fn finish(mut self) -> anyhow::Result<()> {
        let Some(child) = &mut self.child else { return Ok(()) };
        if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
            kill_process(pid, Signal::TERM)?;
        }
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if let Some(status) = child.try_wait()? {
                if status.success() {
                    return Ok(());
                }
                bail!("the node ended with {status}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("the node did not stop within {} s", PATIENCE.as_secs())
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn start(dir: &Path, network: &str, more: &[&str]) -> anyhow::Result<Child> {
    let mut command = Command::new(std::env::current_exe().context("cannot find this program")?);
    command
        .args(["run", "--data-dir", "data", "--http", "127.0.0.1:0", "--name", "bench"])
        .args(["--network", network, "--no-mdns", "--p2p", "/ip4/127.0.0.1/tcp/0"])
        .args(more)
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(dir.join("log"))?);
    // The node is measured as it comes: neither the environment nor a file configures it.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ANODE_")) {
        command.env_remove(name);
    }
    command.spawn().context("cannot start a node")
}

/// A counter or gauge without labels out of Prometheus text.
pub(super) fn metric(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

/// User and system time out of `/proc/<pid>/stat` (proc(5): fields 14 and 15; the name before may hold anything).
pub(super) fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((user + system) / TICKS)
}

/// Resident bytes out of `/proc/<pid>/status`.
fn resident(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok().map(|kib| kib * 1_024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_what_the_system_says() {
        let stat = "42 (a ) b) S 1 42 42 0 -1 4194560 5 0 0 0 150 50 0 0 20 0 3 0 1 2 3";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(cpu_seconds("42 (x"), None);
        assert_eq!(resident("Name:\tx\nVmRSS:\t   12 kB\n"), Some(12_288.0));
        let text = "# TYPE a_total counter\na_total_x 9\na_total 7\nb{c=\"d\"} 1\n";
        assert_eq!((metric(text, "a_total"), metric(text, "b")), (Some(7.0), None));
    }
}
