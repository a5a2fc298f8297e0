//! How a Cassandra is to run.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::cassandra::Cassandra;

/// A name and its password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Login {
    /// The name.
    pub user: &'static str,
    /// The password.
    pub password: &'static str,
}

/// The superuser that Cassandra makes at its first start with logins.
pub(crate) const SUPERUSER: Login = Login { user: "cassandra", password: "cassandra" };

/// How a Cassandra is to run.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub(crate) login: bool,
    pub(crate) lasting: bool,
    pub(crate) pem: Option<String>,
    pub(crate) port: Option<u16>,
    pub(crate) folder: Option<PathBuf>,
}

impl Plan {
    /// A Cassandra that anyone may use, on a free port, with a folder of its own in `target/` that goes with it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks for a name and password and checks rights; [`Cassandra::login`] gives the superuser's.
    #[must_use]
    pub fn login(mut self) -> Self {
        self.login = true;
        self
    }

    /// Speaks TLS only, with this key (PKCS #8) and the certificates above it, all in PEM.
    #[must_use]
    pub fn tls(mut self, pem: &str) -> Self {
        self.pem = Some(pem.to_owned());
        self
    }

    /// Compiles what runs often as well as Java can, for benchmarks and long runs; else a start takes a third less.
    #[must_use]
    pub fn lasting(mut self) -> Self {
        self.lasting = true;
        self
    }

    /// Listens on this port.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Keeps its data in this folder, which stays.
    #[must_use]
    pub fn folder(mut self, folder: &Path) -> Self {
        self.folder = Some(folder.to_owned());
        self
    }

    /// Starts it and waits until it answers.
    ///
    /// # Errors
    /// Fails as [`Plan::spawn`] does, and with the log's tail where it does not answer.
    pub fn start(self) -> Result<Cassandra> {
        let mut cassandra = self.spawn()?;
        cassandra.wait()?;
        Ok(cassandra)
    }

    /// Starts it and returns at once; fetches its jars before, where they are not there.
    ///
    /// # Errors
    /// Fails where there is no Java, a jar cannot be fetched, or the port or folder is in use.
    pub fn spawn(self) -> Result<Cassandra> {
        Cassandra::spawn(self)
    }
}
