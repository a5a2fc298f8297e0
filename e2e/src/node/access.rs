//! What a test asks of a node: where it is, its clients, its folder and its log.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::Node;
use crate::http::Http;
use crate::socket::{Door, Socket};

impl Node {
    /// `host:port`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The node's URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The admin token.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The client with the admin token.
    ///
    /// # Errors
    /// Fails before the first start.
    pub fn http(&self) -> Result<&Http> {
        self.http.as_ref().context("the node was never ready")
    }

    /// The door for sockets of a reader without a token.
    ///
    /// # Errors
    /// Fails before the first start.
    pub fn door(&self) -> Result<Door> {
        Ok(Door::new(&self.address, self.http()?))
    }

    /// Opens a socket with the admin token.
    ///
    /// # Errors
    /// Fails where the node refuses.
    pub async fn open(&self, path: &str) -> Result<Socket> {
        self.door()?.with_token(&self.token).open(path).await
    }

    /// The folder in which the node runs; its data is in `anode-data` there.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The data directory, as seen from here.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        let path = self.dir.path().join("anode-data");
        let inside = path.strip_prefix("/").unwrap_or(&path);
        match (self.plan.own_mounts, self.pid()) {
            (true, Ok(pid)) => Path::new("/proc").join(pid.to_string()).join("root").join(inside),
            _ => path,
        }
    }

    /// Changes the options for the next start.
    pub fn set_args(&mut self, args: &[&str]) {
        self.plan.args = args.iter().map(|arg| (*arg).to_owned()).collect();
    }

    /// Leaves an option and what follows it out at the next start, each time that it is there.
    pub fn without_option(&mut self, option: &str) {
        let args = &mut self.plan.args;
        while let Some(place) = args.iter().position(|arg| arg == option) {
            args.drain(place..args.len().min(place + 2));
        }
    }

    /// All that the node wrote to standard output and error.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read(self.log_path())
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// The log's last lines.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        format!(
            "--- log of {}\n{}\n---",
            self.dir.path().display(),
            lines[lines.len().saturating_sub(40)..].join("\n")
        )
    }

    pub(super) fn log_path(&self) -> PathBuf {
        self.dir.path().join("anode.log")
    }
}
