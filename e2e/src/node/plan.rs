//! How a node is to run, and the binary that runs.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::Node;

/// How to run a node.
#[derive(Debug, Default)]
pub struct Plan {
    pub(super) args: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    pub(super) wrapper: Vec<String>,
    pub(super) own_mounts: bool,
    pub(super) without: Vec<String>,
}

impl Plan {
    /// A node with the options that every test needs and no other.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds options of `anode run`.
    #[must_use]
    pub fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(|arg| (*arg).to_owned()));
        self
    }

    /// Adds a variable of the environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs without a variable that every other node of the tests has.
    #[must_use]
    pub fn without_env(mut self, name: &str) -> Self {
        self.without.push(name.to_owned());
        self
    }

    /// Runs the node by another program, as `strace -f …`; `{dir}` is the test's folder.
    #[must_use]
    pub fn wrapper(mut self, words: &[&str]) -> Self {
        self.wrapper = words.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// The wrapper gives the node mounts of its own, so its files are read through `/proc`.
    #[must_use]
    pub fn own_mounts(mut self) -> Self {
        self.own_mounts = true;
        self
    }

    /// Starts the node and waits until it is ready.
    ///
    /// # Errors
    /// Fails with the log's tail where the node ends or does not become ready.
    pub async fn start(self) -> Result<Node> {
        let mut node = self.prepare()?;
        node.start().await?;
        Ok(node)
    }

    /// Makes the node's folder, without starting it.
    ///
    /// # Errors
    /// Fails where there is no binary.
    pub fn prepare(self) -> Result<Node> {
        let dir = tempfile::Builder::new().prefix("anode-e2e-").tempdir()?;
        Ok(Node {
            plan: self,
            binary: binary()?,
            dir,
            child: None,
            address: String::new(),
            token: String::new(),
            http: None,
            finished: Cell::new(false),
        })
    }
}

/// The binary under test: `ANODE_BIN`, else the debug build of this workspace.
///
/// # Errors
/// Fails where there is none.
pub fn binary() -> Result<PathBuf> {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/debug/anode");
    let path = std::env::var_os("ANODE_BIN").map_or(built, PathBuf::from);
    path.canonicalize()
        .with_context(|| format!("no binary at {}: run `cargo build -p anode`", path.display()))
}

/// A command with no `ANODE_…` variable of the surroundings. A node that it starts finds no peers by itself, neither on this
/// machine nor on the network: tests run side by side.
#[must_use]
pub fn clean_command(program: &Path) -> Command {
    let mut command = Command::new(program);
    let ours =
        std::env::vars_os().map(|(name, _)| name).filter(|name| name.to_string_lossy().starts_with("ANODE_"));
    for name in ours {
        command.env_remove(name);
    }
    command.env("ANODE_NETWORK", "e2e").env("ANODE_P2P", "/ip4/127.0.0.1/tcp/0").env("ANODE_NO_MDNS", "true");
    command
}
