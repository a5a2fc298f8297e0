//! One Cassandra, from its start to its end.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::plan::{Login, Plan, SUPERUSER};
use crate::{files, jars, java, probe, say, spawner};

/// How long a start may take; it is 6 s on two free cores, and tests run on busy ones.
const READY: Duration = Duration::from_secs(180);
/// Below the ports that the kernel gives to outgoing connections, which could take one during a restart.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
/// Folders of test runs that were killed are removed once they are that old, so that none is taken from its owner
/// before it locks it.
const STALE: Duration = Duration::from_secs(60);
const PREFIX: &str = "run-";

/// One Cassandra; killed when dropped, and when this process ends.
#[derive(Debug)]
pub struct Cassandra {
    plan: Plan,
    java: PathBuf,
    jars: Vec<PathBuf>,
    folder: PathBuf,
    /// Removes the folder in the end, where it is one of a test run.
    _own: Option<TempDir>,
    /// Held as long as the folder is in use.
    _lock: File,
    port: u16,
    between_nodes: u16,
    child: Option<Child>,
    /// Where the words of the running process begin in the log.
    said: usize,
}

impl Cassandra {
    pub(crate) fn spawn(plan: Plan) -> Result<Self> {
        let java = java::find().with_context(|| {
            format!("no Java 17 or 11: install Debian's {}, or name one by ANODE_JAVA", java::PACKAGE)
        })?;
        let jars = jars::ensure()?;
        let (folder, own) = folder(plan.folder.as_deref())?;
        let lock = lock(&folder)?;
        let (port, between_nodes) = ports(plan.port)?;
        let mut cassandra = Self {
            plan,
            java,
            jars,
            folder,
            _own: own,
            _lock: lock,
            port,
            between_nodes,
            child: None,
            said: 0,
        };
        cassandra.respawn()?;
        Ok(cassandra)
    }

    /// Starts the process again and returns at once; it has the same ports and data.
    ///
    /// # Errors
    /// Fails where it runs already or cannot be started.
    pub fn respawn(&mut self) -> Result<()> {
        ensure!(self.child.is_none(), "Cassandra runs already");
        let (folder, plan) = (&self.folder, &self.plan);
        let yaml = files::yaml(folder, self.port, self.between_nodes, plan);
        fs::write(folder.join("cassandra.yaml"), yaml)?;
        fs::write(folder.join("logback.xml"), files::LOGBACK)?;
        if let Some(pem) = &plan.pem {
            fs::write(folder.join(files::PEM), pem)?;
        }
        let log = File::options().create(true).append(true).open(self.log())?;
        self.said = usize::try_from(log.metadata()?.len())?;
        let mut command = spawner::bound(&self.java);
        command.args(files::java_words(folder, &self.jars, plan.lasting)).current_dir(folder);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // The terminal's Ctrl-C is for its owner, with whom it ends.
        command.process_group(0);
        self.child = Some(spawner::spawn(command)?);
        Ok(())
    }

    /// Waits until it answers a query; gives the time.
    ///
    /// # Errors
    /// Fails with the log's tail where it ends or does not answer in time.
    pub fn wait(&mut self) -> Result<Duration> {
        let began = Instant::now();
        loop {
            let child = self.child.as_mut().context("Cassandra does not run")?;
            if let Some(status) = child.try_wait()? {
                self.child = None;
                bail!("Cassandra ended with {status}:\n{}", self.log_tail());
            }
            let Err(error) = self.ask() else { return Ok(began.elapsed()) };
            let tail =
                || format!("Cassandra does not answer after {READY:?}: {error:#}\n{}", self.log_tail());
            ensure!(began.elapsed() < READY, tail());
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Asks it one query, with a patience of 2 s; where it speaks TLS, asks its log whether it has started.
    ///
    /// # Errors
    /// Fails where no answer comes.
    pub fn ask(&self) -> Result<()> {
        if self.plan.pem.is_none() {
            return probe::ask(self.port, self.login());
        }
        let log = fs::read(self.log())?;
        let said = String::from_utf8_lossy(log.get(self.said..).unwrap_or_default());
        ensure!(said.contains("Startup complete"), "it has not said that it has started");
        Ok(())
    }

    /// Stops all its threads (SIGSTOP): connections stay open and nothing answers.
    ///
    /// # Errors
    /// Fails where it does not run.
    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on (SIGCONT).
    ///
    /// # Errors
    /// Fails where it does not run.
    pub fn thaw(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// Ends it by `kill -9`, also while it is frozen.
    ///
    /// # Errors
    /// Fails where it does not run.
    pub fn kill(&mut self) -> Result<()> {
        let mut child = self.child.take().context("Cassandra does not run")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Starts it again with the same ports and data, after killing it where it runs; gives the time until it
    /// answered.
    ///
    /// # Errors
    /// Fails as a start does.
    pub fn restart(&mut self) -> Result<Duration> {
        if self.child.is_some() {
            self.kill()?;
        }
        self.respawn()?;
        self.wait()
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.pid()?)?).context("pid 0")?;
        Ok(kill_process(pid, signal)?)
    }

    /// The process.
    ///
    /// # Errors
    /// Fails where it does not run.
    pub fn pid(&self) -> Result<u32> {
        Ok(self.child.as_ref().context("Cassandra does not run")?.id())
    }

    /// Waits until the process ends by itself.
    ///
    /// # Errors
    /// Fails where it does not run.
    pub fn until_end(&mut self) -> Result<()> {
        let status = self.child.take().context("Cassandra does not run")?.wait()?;
        bail!("Cassandra ended with {status}:\n{}", self.log_tail())
    }

    /// The port of the native protocol.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What a node gets by `--cassandra`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The superuser, where a login is asked for.
    #[must_use]
    pub fn login(&self) -> Option<Login> {
        self.plan.login.then_some(SUPERUSER)
    }

    /// The file that holds what it says.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.folder.join("cassandra.log")
    }

    /// The last lines that it said.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        format!("{}:\n{}", self.log().display(), lines[lines.len().saturating_sub(25)..].join("\n"))
    }
}

impl Drop for Cassandra {
    fn drop(&mut self) {
        let _ = self.kill();
        if thread::panicking() {
            say(&self.log_tail());
        }
    }
}

/// The folder that is asked for, else a new one in `target/`, after removing what killed test runs left there.
fn folder(wanted: Option<&Path>) -> Result<(PathBuf, Option<TempDir>)> {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target");
    let all = target.join("cassandra");
    let folder = wanted.unwrap_or(&all);
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    if wanted.is_some() {
        return Ok((folder.canonicalize()?, None));
    }
    sweep(&all, STALE);
    let own = tempfile::Builder::new().prefix(PREFIX).tempdir_in(&all)?;
    Ok((own.path().to_owned(), Some(own)))
}

/// Takes the folder for this process; a child that is just being started holds what it inherits for a moment.
fn lock(folder: &Path) -> Result<File> {
    let lock = File::create(folder.join("lock"))?;
    let until = Instant::now() + Duration::from_millis(500);
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(_) if Instant::now() < until => thread::sleep(Duration::from_millis(10)),
            Err(error) => {
                return Err(error).with_context(|| format!("another Cassandra runs in {}", folder.display()));
            }
        }
    }
}

/// Removes the folders of runs whose process is gone.
fn sweep(all: &Path, stale: Duration) {
    for entry in fs::read_dir(all).into_iter().flatten().flatten() {
        let file = File::open(entry.path().join("lock"));
        let is_run = entry.file_name().to_string_lossy().starts_with(PREFIX);
        let Some(lock) = file.ok().filter(|_| is_run) else { continue };
        let made = lock.metadata().and_then(|data| data.modified());
        let age = made.ok().and_then(|made| SystemTime::now().duration_since(made).ok());
        if age.is_some_and(|age| age >= stale) && lock.try_lock().is_ok() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// The port that is asked for, else a free one, and another free one for other nodes.
fn ports(wanted: Option<u16>) -> Result<(u16, u16)> {
    let bind = |port| TcpListener::bind(("127.0.0.1", port));
    let mut held = Vec::new();
    if let Some(port) = wanted {
        held.push((port, bind(port).with_context(|| format!("port {port} is not free"))?));
    }
    let span = u32::from(PORTS.end - PORTS.start);
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let first = since.subsec_micros() ^ std::process::id();
    for step in 0..span {
        let port = PORTS.start + u16::try_from((first.wrapping_add(step)) % span)?;
        if let Ok(listener) = bind(port) {
            held.push((port, listener));
        }
        if let [(port, _), (between_nodes, _)] = held[..] {
            return Ok((port, between_nodes));
        }
    }
    bail!("no two ports from {PORTS:?} are free")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_finds_free_ports() {
        let (one, two) = ports(None).unwrap();
        assert!(PORTS.contains(&one) && PORTS.contains(&two) && one != two);
        let taken = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        assert_eq!(ports(Some(taken)).unwrap().0, taken);
        let holder = TcpListener::bind(("127.0.0.1", taken)).unwrap();
        assert_eq!(ports(Some(taken)).unwrap_err().to_string(), format!("port {taken} is not free"));
        drop(holder);
    }

    #[test]
    fn it_removes_only_what_nobody_uses() {
        let all = tempfile::tempdir().unwrap();
        let used = all.path().join("run-used");
        for name in ["run-used", "run-left", "run-bare", "kept"] {
            fs::create_dir(all.path().join(name)).unwrap();
        }
        for name in ["run-left", "kept"] {
            fs::write(all.path().join(name).join("lock"), "").unwrap();
        }
        let held = lock(&used).unwrap();
        let left = || {
            let mut names: Vec<String> = fs::read_dir(all.path())
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names.join(" ")
        };
        sweep(all.path(), STALE);
        assert_eq!(left(), "kept run-bare run-left run-used");
        sweep(all.path(), Duration::ZERO);
        assert_eq!(left(), "kept run-bare run-used");
        assert!(lock(&used).unwrap_err().to_string().starts_with("another Cassandra runs in "));
        drop(held);
        assert!(lock(&used).is_ok());
    }
}
