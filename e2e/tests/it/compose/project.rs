//! The compose file as people use it: by the commands of compose, and by the ports that it publishes.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use e2e::scale::say;
use serde_json::{Value, json};

/// A project of the real compose file, removed with its volumes when it is dropped.
pub(super) struct Project {
    compose: Vec<String>,
    docker: String,
    name: String,
    root: PathBuf,
    files: Vec<PathBuf>,
    began: Instant,
    _folder: tempfile::TempDir,
}

impl Project {
    /// Prepares one; nothing is started yet.
    pub(super) fn new() -> Result<Self> {
        let set = |name: &str| {
            std::env::var(name).with_context(|| format!("{name} is not set: `cargo xtask demo-mesh` sets it"))
        };
        let folder = tempfile::tempdir()?;
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut files = vec![root.join("docker-compose.yml")];
        if std::env::var_os("ANODE_E2E_CASSANDRA_LOCAL").is_some() {
            // An image that was made of Cassandra's jars has no cqlsh to ask it by.
            let own = json!({"services": {"cassandra": {"healthcheck": {"disable": true}}}});
            files.push(folder.path().join("local.json"));
            std::fs::write(folder.path().join("local.json"), own.to_string())?;
        }
        Ok(Self {
            compose: set("ANODE_E2E_COMPOSE")?.split(' ').map(str::to_owned).collect(),
            docker: set("ANODE_E2E_DOCKER")?,
            name: format!("anode-test-{}", std::process::id()),
            root,
            files,
            began: Instant::now(),
            _folder: folder,
        })
    }

    /// Says how far the test is, with the time since its begin.
    pub(super) fn tell(&self, words: &str) {
        say(&format!("    [{:6.1} s] {words}", self.began.elapsed().as_secs_f64()));
    }

    /// Runs a command of compose and gives what it writes to standard output.
    pub(super) fn compose(&self, words: &[&str]) -> Result<String> {
        self.tell(&format!("$ docker compose {}", words.join(" ")));
        let mut command = Command::new(&self.compose[0]);
        command.args(&self.compose[1..]).args(["--project-name", &self.name, "--progress", "quiet"]);
        for file in &self.files {
            command.arg("--file").arg(file);
        }
        // What this process was told of nodes is not for those of the project.
        for (name, _) in
            std::env::vars().filter(|(name, _)| name.starts_with("ANODE_") && name != "ANODE_IMAGE")
        {
            command.env_remove(name);
        }
        output(command.args(words).current_dir(&self.root))
    }

    /// Runs a command of `docker`.
    pub(super) fn docker(&self, words: &[&str]) -> Result<String> {
        output(Command::new(&self.docker).args(words))
    }

    /// What the engine knows of the only container of a service.
    pub(super) fn inspect(&self, service: &str) -> Result<Value> {
        let container = format!("{}-{service}-1", self.name);
        let list: Value = serde_json::from_str(&self.docker(&["inspect", &container])?)?;
        Ok(list[0].clone())
    }

    /// The names of everything that the engine still has of the project.
    pub(super) fn left(&self) -> Result<String> {
        let filter = format!("label=com.docker.compose.project={}", self.name);
        let list = |kind: &str, all: &[&str]| {
            self.docker(&[&[kind, "ls", "--quiet", "--filter", &filter], all].concat())
        };
        Ok([list("container", &["--all"])?, list("volume", &[])?, list("network", &[])?].concat())
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        if std::thread::panicking() || self.left().is_ok_and(|left| !left.trim().is_empty()) {
            let logs = self.compose(&["logs", "--tail", "40"]).unwrap_or_default();
            say(&logs);
            let _ = self.compose(&["down", "--volumes", "--timeout", "5"]);
        }
    }
}

fn output(command: &mut Command) -> Result<String> {
    let done = command.output().with_context(|| format!("{command:?}"))?;
    let (said, error) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    ensure!(done.status.success(), "{command:?}: {}\n{said}{error}", done.status);
    Ok(said.into_owned())
}
