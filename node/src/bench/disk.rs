//! The executable ceiling: bare append-and-sync loops on the same disk, in the same run.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::Setup;
use super::samples::Samples;
use super::subject::Subject;

/// Bytes of a record in the loop.
const RECORD: usize = 300;

/// What a loop did.
#[derive(Debug, Default)]
pub(super) struct Loop {
    /// Records appended and synced.
    pub(super) records: u64,
    /// How long it ran.
    pub(super) took: Duration,
    /// How long each append with its fdatasync took.
    pub(super) syncs: Samples,
}

impl Loop {
    /// Records a second.
    pub(super) fn rate(&self) -> f64 {
        super::per_second(self.records, self.took)
    }

    /// Takes what another loop did.
    pub(super) fn extend(&mut self, other: &Self) {
        self.records += other.records;
        self.took += other.took;
        self.syncs.extend(&other.syncs);
    }
}

/// Bytes of a group commit of 64 KiB, a batch's target size, in records.
pub(super) const GROUP: u64 = (64 << 10) / RECORD as u64;

/// Appends so many records and syncs, again and again.
pub(super) async fn bare_loop(subject: &Subject, setup: &Setup, group: u64) -> anyhow::Result<Loop> {
    let (dir, time) = (subject.dir.clone(), setup.loop_time());
    let group = usize::try_from(group.max(1))?;
    tokio::task::spawn_blocking(move || run(&dir, time, group)).await.context("the bare loop ended")?
}

fn run(dir: &Path, time: Duration, group: usize) -> anyhow::Result<Loop> {
    let path = dir.join("bare-loop");
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(&path)
        .with_context(|| format!("cannot write to {}", path.display()))?;
    let bytes = vec![b'x'; group * RECORD];
    let start = Instant::now();
    let mut done = Loop::default();
    while start.elapsed() < time {
        let before = Instant::now();
        file.write_all(&bytes)?;
        file.sync_data()?;
        done.syncs.push(super::micros(before.elapsed()));
        done.records += group as u64;
    }
    done.took = start.elapsed();
    let _ = std::fs::remove_file(&path);
    Ok(done)
}
