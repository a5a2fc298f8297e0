//! A real Cassandra: `cargo xtask cassandra` for development, and the one that the tests share.

use std::cell::OnceCell;
use std::fs;
use std::process::Command;
use std::rc::Rc;

use anyhow::{Context as _, Result, ensure};
use cassandra_dev::{Cassandra, Plan, SHARED, jars, java};

use crate::command::root;
use crate::screen::{elapsed, say};
use crate::system;

/// The one that the tests share, once it is started; ended with the last of its owners.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shared(Rc<OnceCell<Cassandra>>);

impl Shared {
    /// Installs what it needs, starts it and waits until it answers.
    ///
    /// # Errors
    /// Fails where something is missing and cannot be installed, or it does not answer.
    pub(crate) fn start(&self) -> Result<()> {
        ensure_tools()?;
        let mut cassandra = Plan::new().spawn()?;
        let time = cassandra.wait()?;
        say(format!(
            "    Cassandra {} answers on {} after {}",
            jars::VERSION,
            cassandra.address(),
            elapsed(time)
        ));
        ensure!(self.0.set(cassandra).is_ok(), "it was started before");
        Ok(())
    }

    /// Tells a command where it is.
    pub(crate) fn tell<'command>(&self, command: &'command mut Command) -> &'command mut Command {
        match self.0.get() {
            Some(cassandra) => command.env(SHARED, cassandra.address()),
            None => command,
        }
    }
}

/// Installs what Cassandra and the fetching of its jars need.
///
/// # Errors
/// Fails where something is missing and cannot be installed.
pub(crate) fn ensure_tools() -> Result<()> {
    system::ensure_programs(system::CASSANDRA)?;
    if java::find().is_none() {
        say("    Java 17 or 11 is missing: Cassandra 5.0 runs on no other");
        let by_hand = "any Java 17 or 11 will do: ANODE_JAVA or JAVA_HOME names it";
        system::install(&[java::PACKAGE]).context(by_hand)?;
        ensure!(java::find().is_some(), "{} brought no Java 17; {by_hand}", java::PACKAGE);
    }
    Ok(())
}

/// `cargo xtask cassandra`: runs one until Ctrl-C.
///
/// # Errors
/// Fails where it does not start, or ends by itself.
pub(crate) fn task(port: u16, login: bool) -> Result<()> {
    ensure_tools()?;
    let folder = root().join("target/cassandra").join(if login { "dev-login" } else { "dev" });
    let plan = Plan::new().lasting().port(port).folder(&folder);
    let mut cassandra = if login { plan.login() } else { plan }.spawn()?;
    say(format!("    Cassandra {} starts; its log is {}", jars::VERSION, cassandra.log().display()));
    let time = elapsed(cassandra.wait()?);
    let mut options = format!("--cassandra {}", cassandra.address());
    if let Some(login) = cassandra.login() {
        let file = folder.join("password");
        fs::write(&file, login.password).with_context(|| file.display().to_string())?;
        options += &format!(" --cassandra-user {} --cassandra-password-file {}", login.user, file.display());
    }
    say(format!("    It answers after {time}. A node archives to it by\n        anode run {options}"));
    say("    Ctrl-C ends it; its data stays until you remove that folder.");
    cassandra.until_end()
}
