//! A test in a network and with mounts of its own: every address there is the machine's, and names are what the test says.

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use crate::process::is_root;
use crate::scale::say;

/// Names the test that runs inside.
const INSIDE: &str = "ANODE_E2E_SPACE";

/// The space, seen from inside.
#[derive(Debug)]
pub struct Space {
    dir: TempDir,
}

/// Runs the test of this name again in a space of its own, and gives the space where this is that run already. `None`
/// where the test is over for the caller: it passed inside, or cannot run.
///
/// # Errors
/// Fails where the test fails inside, or the space cannot be made.
pub fn enter(test: &str) -> Result<Option<Space>> {
    if std::env::var(INSIDE).is_ok_and(|name| name == test) {
        return Space::furnish().map(Some);
    }
    if !is_root() {
        say(&format!("{test}: SKIPPED, only root may make a network of its own"));
        return Ok(None);
    }
    let mut command = Command::new("unshare");
    command.args(["-n", "-m", "--propagation", "private"]).arg(std::env::current_exe()?);
    let output = command.args(["--exact", test, "--nocapture"]).env(INSIDE, test).output()?;
    let text =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    say(&text);
    ensure!(output.status.success(), "{test} failed in its own network");
    ensure!(text.contains("1 passed"), "{test} did not run in its own network");
    Ok(None)
}

fn run(line: &str) -> Result<()> {
    let output = Command::new("sh").args(["-ec", line]).output()?;
    ensure!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

impl Space {
    /// Makes every address the machine's own, and puts the test's files in the place of those that names come from.
    fn furnish() -> Result<Self> {
        run("ip link set lo up; ip route add local 0.0.0.0/0 dev lo; ip -6 route add local ::/0 dev lo")?;
        let dir = tempfile::Builder::new().prefix("anode-space-").tempdir()?;
        let space = Self { dir };
        fs::write(space.hosts(), "")?;
        let switch = space.switch();
        fs::write(&switch, "hosts: files\n")?;
        run(&format!("mount --bind {} /etc/hosts", space.hosts().display()))?;
        if fs::exists("/etc/nsswitch.conf")? {
            run(&format!("mount --bind {} /etc/nsswitch.conf", switch.display()))?;
        }
        Ok(space)
    }

    /// Lets names that the test does not say be looked up at a name server on 127.0.0.1, which is that of a system without a file
    /// of them, too.
    ///
    /// # Errors
    /// Fails where the system's file of name servers cannot be covered.
    pub fn ask_name_server(&self) -> Result<()> {
        let servers = self.dir.path().join("resolv.conf");
        fs::write(&servers, "nameserver 127.0.0.1\n")?;
        if fs::exists("/etc/resolv.conf")? {
            run(&format!("mount --bind {} /etc/resolv.conf", servers.display()))?;
        }
        // The file stays the same one, as the mount shows that one only.
        Ok(fs::write(self.switch(), "hosts: files dns\n")?)
    }

    fn switch(&self) -> PathBuf {
        self.dir.path().join("nsswitch.conf")
    }

    fn hosts(&self) -> PathBuf {
        self.dir.path().join("hosts")
    }

    /// Says what names mean from now on. The file stays the same one, as the mount shows that one only.
    ///
    /// # Errors
    /// Fails where it cannot be written.
    pub fn name<'a>(&self, names: impl IntoIterator<Item = (&'a str, IpAddr)>) -> Result<()> {
        let lines: String = names.into_iter().map(|(name, ip)| format!("{ip} {name}\n")).collect();
        fs::write(self.hosts(), lines).context("hosts")
    }
}
