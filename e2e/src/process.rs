//! What the kernel knows about a process: memory, processor time, children.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};

/// Resident memory in bytes.
///
/// # Errors
/// Fails where the process is gone.
pub fn resident_bytes(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024)
}

/// Processor time in user and kernel mode since the process began.
///
/// # Errors
/// Fails where the process is gone.
pub fn processor_time(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').context("no name in stat")?;
    let ticks = |index: usize| fields.split_whitespace().nth(index).and_then(|text| text.parse::<u64>().ok());
    let ticks = ticks(11).zip(ticks(12)).map(|(user, system)| user + system).context("no times in stat")?;
    Ok(Duration::from_millis(ticks * 10))
}

/// The first child of a process, as of a wrapper that runs another.
#[must_use]
pub fn first_child(pid: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

/// Sends a signal to a process that a test started.
///
/// # Errors
/// Fails where the process is gone.
pub fn signal(pid: u32, signal: Signal) -> Result<()> {
    let pid = Pid::from_raw(i32::try_from(pid)?).context("pid 0")?;
    Ok(kill_process(pid, signal)?)
}

/// Whether the tests run as root, which mounts need.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// All regular files below a folder.
///
/// # Errors
/// Fails where a folder cannot be read.
pub fn files(folder: &Path) -> Result<Vec<std::path::PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        // A file may go while the folder is read: the node drops segments.
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            found.extend(files(&entry.path())?);
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// The bytes of all files below a folder.
///
/// # Errors
/// Fails where a folder cannot be read.
pub fn folder_bytes(folder: &Path) -> Result<u64> {
    let size = |path: &std::path::PathBuf| fs::metadata(path).map_or(0, |data| data.len());
    Ok(files(folder)?.iter().map(size).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_this_process() {
        let pid = std::process::id();
        assert!(resident_bytes(pid).unwrap() > 1 << 20);
        assert!(processor_time(pid).unwrap() < Duration::from_secs(3600));
        let mut child = std::process::Command::new("sleep").arg("5").spawn().unwrap();
        signal(child.id(), Signal::TERM).unwrap();
        assert!(!child.wait().unwrap().success());
    }
}
