//! The `docker` command: one that can build, and the engine that it talks to.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::engine::Engine;
use crate::command::output;
use crate::system;

/// The last major version of the client that has `BuildKit` without a plugin.
const LAST_WITH_BUILDKIT: u32 = 22;

/// A `docker` command that can build with `BuildKit`.
#[derive(Clone, Debug)]
pub(super) struct Client {
    program: PathBuf,
    /// The engine's address, where it is not the client's own default.
    host: Option<String>,
}

impl Client {
    /// Finds one, installing Debian's where there is none.
    ///
    /// # Errors
    /// Fails where none can be installed.
    pub(super) fn ensure() -> Result<Self> {
        if let Some(client) = find() {
            return Ok(client);
        }
        system::install(&["docker.io"])?;
        find().context("there is no docker command that can build with BuildKit: install docker.io, or Docker's buildx plugin")
    }

    /// The same one, talking to an engine.
    pub(super) fn on(self, engine: &Engine) -> Self {
        Self { host: engine.address().map(str::to_owned).or(self.host), ..self }
    }

    /// Its program.
    pub(super) fn program(&self) -> &Path {
        &self.program
    }

    /// A command that talks to the engine.
    pub(super) fn docker<'arg>(&self, args: impl IntoIterator<Item = &'arg str>) -> Command {
        let mut command = Command::new(&self.program);
        self.tell(command.args(args).env("DOCKER_BUILDKIT", "1"));
        command
    }

    /// Tells a command where the engine is.
    pub(super) fn tell(&self, command: &mut Command) {
        if let Some(host) = &self.host {
            command.env("DOCKER_HOST", host);
        }
    }
}

/// The first of the `PATH` and the system's folders that can build.
fn find() -> Option<Client> {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/bin", "/usr/local/bin"].map(PathBuf::from);
    let programs = env::split_paths(&path).chain(system).map(|folder| folder.join("docker"));
    let program = programs
        .into_iter()
        .filter(|program| program.is_file())
        .find(|program| can_build(program.as_os_str()))?;
    Some(Client { program, host: None })
}

fn can_build(program: &OsStr) -> bool {
    let says = |args: &[&str]| output(Command::new(program).args(args)).ok();
    says(&["buildx", "version"]).is_some()
        || says(&["--version"]).and_then(|said| major(&said)).is_some_and(|major| major <= LAST_WITH_BUILDKIT)
}

/// Reads the major of `Docker version 20.10.24+dfsg1, build 297e128`.
fn major(said: &str) -> Option<u32> {
    said.split_once("version ")?.1.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_the_clients_version() {
        for (said, expected) in [
            ("Docker version 20.10.24+dfsg1, build 297e128", Some(20)),
            ("Docker version 28.2.2, build e6534b4", Some(28)),
            ("podman", None),
        ] {
            assert_eq!(major(said), expected);
        }
    }
}
