//! The Docker engine: the one that runs, else one of our own that leaves nothing behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::client::Client;
use crate::command::{output, program, root, run, shown};
use crate::screen::{elapsed, say};
use crate::system::{self, DOCKER};

/// How long an engine may take to answer, or to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// An engine that answers.
#[derive(Debug)]
pub(super) struct Engine {
    own: Option<Own>,
}

/// One that this task started, with all its files in two folders of its own.
#[derive(Debug)]
struct Own {
    process: Child,
    address: String,
    /// Images, containers and volumes.
    data: PathBuf,
    /// Socket and state: in a short path, as sockets need one.
    state: PathBuf,
}

impl Engine {
    /// Finds the engine that runs, else starts one.
    ///
    /// # Errors
    /// Fails where there is none and none can be started.
    pub(super) fn ensure(client: &Client) -> Result<Self> {
        if let Ok(version) = output(&mut client.docker(["info", "--format", "{{.ServerVersion}}"])) {
            say(format!("    Docker engine {version} runs here"));
            return Ok(Self { own: None });
        }
        let is_root = output(Command::new("id").arg("-u")).is_ok_and(|id| id == "0");
        ensure!(is_root, "no Docker engine answers `docker info`, and only root can start one");
        system::ensure_programs(DOCKER)?;
        Own::start(client).map(|own| Self { own: Some(own) })
    }

    /// Its address, where it is not the client's default.
    pub(super) fn address(&self) -> Option<&str> {
        self.own.as_ref().map(|own| own.address.as_str())
    }

    /// Ends it, where it is ours, and removes its files.
    ///
    /// # Errors
    /// Fails where it does not end or a file stays.
    pub(super) fn stop(mut self) -> Result<()> {
        self.own.take().map_or(Ok(()), |mut own| own.stop())
    }
}

impl Own {
    fn start(client: &Client) -> Result<Self> {
        let data = root().join("target/docker/engine");
        let state = std::env::temp_dir().join(format!("anode-docker-{}", std::process::id()));
        // What a run left that was killed.
        remove(&data)?;
        for folder in [&data, &state] {
            fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        let address = format!("unix://{}", state.join("engine.sock").display());
        let log = fs::File::create(state.join("engine.log"))?;
        let mut command = Command::new(program("dockerd").context("there is no dockerd")?);
        command.args(["--host", &address, "--bridge", "none"]);
        // The machine's firewall and forwarding stay as they are; ports are published by Docker's proxy.
        command.args(["--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false"]);
        for (option, place) in
            [("--data-root", &data), ("--exec-root", &state), ("--pidfile", &state.join("pid"))]
        {
            command.arg(option).arg(place);
        }
        say(format!("    $ {}", shown(&command)));
        let process = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        let mut own = Self { process, address, data, state };
        own.wait(client)?;
        Ok(own)
    }

    fn wait(&mut self, client: &Client) -> Result<()> {
        let began = Instant::now();
        let log = self.state.join("engine.log");
        loop {
            let mut ask = client.docker(["info", "--format", "{{.ServerVersion}}, {{.Driver}}"]);
            if let Ok(version) = output(ask.env("DOCKER_HOST", &self.address)) {
                say(format!("    Docker engine {version} answers after {}", elapsed(began.elapsed())));
                return Ok(());
            }
            let ended = self.process.try_wait()?;
            if ended.is_some() || began.elapsed() > PATIENCE {
                bail!("dockerd does not answer; its log:\n{}", fs::read_to_string(log)?);
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// SIGTERM ends its containers too.
    fn stop(&mut self) -> Result<()> {
        run(Command::new("kill").arg(self.process.id().to_string()))?;
        let began = Instant::now();
        while self.process.try_wait()?.is_none() {
            ensure!(began.elapsed() < PATIENCE, "dockerd, process {}, does not end", self.process.id());
            thread::sleep(Duration::from_millis(50));
        }
        say(format!("    The engine ended after {}", elapsed(began.elapsed())));
        remove(&self.state)?;
        remove(&self.data)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        if self.state.exists()
            && let Err(error) = self.stop()
        {
            say(format!("    {error:#}"));
        }
    }
}

/// Removes a folder, after what is still mounted in it.
fn remove(folder: &Path) -> Result<()> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let inside = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .filter(|at| Path::new(at).starts_with(folder));
    let mut inside: Vec<&str> = inside.collect();
    // The deepest first.
    inside.sort_by_key(|at| std::cmp::Reverse(at.len()));
    for at in inside {
        output(Command::new("umount").arg(at))?;
    }
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("{} cannot be removed", folder.display()))
        }
        _ => Ok(()),
    }
}
