//! A node as the tests run it: the built binary, its own folder, a free port, and nothing else.

use std::cell::Cell;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::time::sleep;

mod access;
mod plan;

pub use plan::{Plan, binary, clean_command};

use crate::http::{self, Http};
use crate::process;
use crate::scale::say;

/// How long a node may take to become ready; generous, for machines that do much beside.
const READY: Duration = Duration::from_secs(30);
/// How long a clean shutdown may take.
const SHUTDOWN: Duration = Duration::from_secs(20);

/// A node and its folder; killed when dropped, and its log's tail shown unless it was stopped in order.
#[derive(Debug)]
pub struct Node {
    plan: Plan,
    binary: PathBuf,
    dir: TempDir,
    child: Option<Child>,
    address: String,
    token: String,
    http: Option<Http>,
    finished: Cell<bool>,
}

impl Node {
    /// Starts the node and waits until it is ready; gives the time that took.
    ///
    /// # Errors
    /// Fails with the log's tail where the node ends or does not become ready.
    pub async fn start(&mut self) -> Result<Duration> {
        let began = Instant::now();
        self.spawn()?;
        self.wait_address().await?;
        self.wait_ready().await?;
        if self.http.is_none() {
            self.token = fs::read_to_string(self.data_dir().join("admin.token"))?.trim().to_owned();
        }
        self.http = Some(Http::connect(&self.address, Some(&self.token)).await?);
        Ok(began.elapsed())
    }

    /// Starts the process and returns at once.
    ///
    /// # Errors
    /// Fails where it cannot be started.
    pub fn spawn(&mut self) -> Result<()> {
        ensure!(self.child.is_none(), "the node runs already");
        let _ = fs::remove_file(self.dir.path().join("anode-data/http.addr"));
        let log = File::options().create(true).append(true).open(self.log_path())?;
        let dir = self.dir.path().display().to_string();
        let mut words: Vec<String> =
            self.plan.wrapper.iter().map(|word| word.replace("{dir}", &dir)).collect();
        words.push(self.binary.display().to_string());
        let mut command = clean_command(Path::new(&words[0]));
        command.args(&words[1..]).args(["run", "--data-dir", "anode-data"]);
        if !self.plan.args.iter().any(|arg| arg == "--http") {
            command.args(["--http", "127.0.0.1:0"]);
        }
        command.args(&self.plan.args).envs(self.plan.env.iter().map(|(name, value)| (name, value)));
        for name in &self.plan.without {
            command.env_remove(name);
        }
        command.current_dir(self.dir.path()).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.finished.set(false);
        self.child = Some(command.spawn().with_context(|| format!("{words:?}"))?);
        Ok(())
    }

    /// Waits until the node has written its address.
    ///
    /// # Errors
    /// Fails where it ends first.
    pub async fn wait_address(&mut self) -> Result<()> {
        let until = Instant::now() + READY;
        loop {
            let path = self.data_dir().join("http.addr");
            let text = fs::read_to_string(path).unwrap_or_default().trim().to_owned();
            if !text.is_empty() {
                self.address = text;
                return Ok(());
            }
            self.ensure_alive()?;
            ensure!(Instant::now() < until, "no http.addr after {READY:?}\n{}", self.log_tail());
            sleep(Duration::from_millis(3)).await;
        }
    }

    /// Waits until `/readyz` says 200.
    ///
    /// # Errors
    /// Fails where it does not, or the node ends.
    pub async fn wait_ready(&mut self) -> Result<()> {
        let until = Instant::now() + READY;
        loop {
            if self.is_ready().await {
                return Ok(());
            }
            self.ensure_alive()?;
            ensure!(Instant::now() < until, "not ready after {READY:?}\n{}", self.log_tail());
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Whether `/readyz` says 200.
    pub async fn is_ready(&self) -> bool {
        let Ok(client) = http::client() else { return false };
        let answer = client.get(format!("http://{}/readyz", self.address)).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    /// Ends the process with `kill -9`.
    ///
    /// # Errors
    /// Fails where it is gone already.
    pub fn kill(&mut self) -> Result<()> {
        self.signal(Signal::KILL)?;
        self.child.take().context("no process")?.wait()?;
        Ok(())
    }

    /// Sends a signal to the node.
    ///
    /// # Errors
    /// Fails where it is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        process::signal(self.pid()?, signal)
    }

    /// Stops the node by SIGTERM, which must end it cleanly; the test's last word.
    ///
    /// # Errors
    /// Fails where the node does not end with success.
    pub async fn stop(&mut self) -> Result<()> {
        self.signal(Signal::TERM)?;
        let status = self.wait_exit().await?;
        ensure!(status.success(), "SIGTERM ended the node with {status}\n{}", self.log_tail());
        let log = fs::read_to_string(self.log_path())?;
        ensure!(!log.contains("panicked at"), "the node panicked\n{}", self.log_tail());
        self.finished.set(true);
        Ok(())
    }

    /// Waits until the process ends.
    ///
    /// # Errors
    /// Fails where it goes on.
    pub async fn wait_exit(&mut self) -> Result<ExitStatus> {
        let until = Instant::now() + SHUTDOWN;
        let child = self.child.as_mut().context("no process")?;
        while Instant::now() < until {
            if let Some(status) = child.try_wait()? {
                self.child = None;
                return Ok(status);
            }
            sleep(Duration::from_millis(5)).await;
        }
        bail!("still running after {SHUTDOWN:?}\n{}", self.log_tail())
    }

    /// Fails with the log's tail where the process has ended.
    ///
    /// # Errors
    /// As said.
    pub fn ensure_alive(&mut self) -> Result<()> {
        let child = self.child.as_mut().context("the node does not run")?;
        let ended = child.try_wait()?;
        ensure!(ended.is_none(), "the node ended with {ended:?}\n{}", self.log_tail());
        Ok(())
    }

    /// The node's own process, not a wrapper's.
    ///
    /// # Errors
    /// Fails where it does not run.
    pub fn pid(&self) -> Result<u32> {
        let child = self.child.as_ref().context("the node does not run")?.id();
        let traced = self.plan.wrapper.first().is_some_and(|word| word == "strace");
        if traced { process::first_child(child).context("strace runs nothing") } else { Ok(child) }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let pid = self.pid().ok();
        if let Some(mut child) = self.child.take() {
            if let Some(pid) = pid {
                let _ = process::signal(pid, Signal::KILL);
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        if !self.finished.get() {
            say(&self.log_tail());
        }
    }
}
