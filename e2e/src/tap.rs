//! A subscriber that keeps what comes, to ask afterwards which source said what, and when.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::node::Node;
use crate::socket::{Frame, Socket};

/// A record of the demo feed, as a subscriber got it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// The instrument's serial.
    pub n: u64,
    /// When the feed made it, microseconds.
    pub at: u64,
    /// When the subscriber had it, microseconds.
    pub seen: u64,
}

impl Tick {
    /// From the upstream to the subscriber.
    #[must_use]
    pub fn age(&self) -> Duration {
        Duration::from_micros(self.seen.saturating_sub(self.at))
    }
}

#[derive(Debug, Default)]
struct Kept {
    ticks: BTreeMap<String, Vec<Tick>>,
    others: Vec<Value>,
    fault: Option<String>,
}

/// A subscriber in the background.
#[derive(Debug)]
pub struct Tap {
    kept: Arc<Mutex<Kept>>,
    tasks: JoinSet<()>,
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Now, microseconds since 1970.
#[must_use]
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

impl Tap {
    /// Subscribes to all topics.
    ///
    /// # Errors
    /// Fails where the node refuses.
    pub async fn open(node: &Node, start: &str) -> Result<Self> {
        let mut socket = node.door()?.open(&format!("/feed?start={start}")).await?;
        let kept = Arc::new(Mutex::new(Kept::default()));
        if start == "live" {
            socket.expect("caught_up").await?;
        }
        let mut tasks = JoinSet::new();
        tasks.spawn(follow(kept.clone(), socket));
        Ok(Self { kept, tasks })
    }

    /// The ticks by source, so far.
    ///
    /// # Errors
    /// Fails where the feed broke or was not as declared.
    pub fn ticks(&self) -> Result<BTreeMap<String, Vec<Tick>>> {
        let kept = lock(&self.kept);
        match &kept.fault {
            Some(fault) => bail!("the subscriber: {fault}"),
            None => Ok(kept.ticks.clone()),
        }
    }

    /// Records that are no ticks of the demo feed.
    #[must_use]
    pub fn others(&self) -> Vec<Value> {
        lock(&self.kept).others.clone()
    }

    /// Waits until a source has said more than so many ticks.
    ///
    /// # Errors
    /// Fails where that does not happen.
    pub async fn more_than(&self, source: &str, count: usize, patience: Duration) -> Result<()> {
        let until = Instant::now() + patience;
        loop {
            let have = self.ticks()?.get(source).map_or(0, Vec::len);
            if have > count {
                return Ok(());
            }
            ensure!(
                Instant::now() < until,
                "{source} said {have} ticks in {patience:?}, more than {count} were due"
            );
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Ends it.
    pub async fn close(mut self) {
        self.tasks.shutdown().await;
    }
}

async fn follow(kept: Arc<Mutex<Kept>>, mut socket: Socket) {
    let result = read(&kept, &mut socket).await;
    if let Err(error) = result {
        lock(&kept).fault = Some(format!("{error:#}"));
    }
}

async fn read(kept: &Mutex<Kept>, socket: &mut Socket) -> Result<()> {
    loop {
        let Some(frame) = socket.next_within(Duration::from_secs(60)).await? else { continue };
        match frame {
            Frame::Json(value) if value["type"] == "record" => note(&mut lock(kept), value)?,
            Frame::Json(value) if value["type"] == "gap" => bail!("{value}"),
            Frame::Json(_) => {}
            Frame::Binary(_) => bail!("a binary frame"),
            Frame::Closed(..) | Frame::Cut => return Ok(()),
        }
    }
}

fn note(kept: &mut Kept, record: Value) -> Result<()> {
    let payload = &record["payload"];
    let tick = payload["n"].as_u64().zip(payload["at"].as_u64());
    let Some((n, at)) = tick else {
        kept.others.push(record);
        return Ok(());
    };
    let source = record["source"].as_str().context("a record without source")?.to_owned();
    kept.ticks.entry(source).or_default().push(Tick { n, at, seen: now() });
    Ok(())
}

/// Fails where serials repeat or go back, and, where `whole`, where one is missing.
///
/// # Errors
/// As said.
pub fn ensure_serials(source: &str, ticks: &[Tick], whole: bool) -> Result<()> {
    for pair in ticks.windows(2) {
        let (one, next) = (pair[0].n, pair[1].n);
        ensure!(next > one, "{source}: serial {next} after {one}");
        ensure!(!whole || next == one + 1, "{source}: serials {} to {} are missing", one + 1, next - 1);
    }
    Ok(())
}

/// Fails where a source fell behind: a tick was old when it came, or many never came. Gives the figures in words.
///
/// # Errors
/// As said; a source that says nothing is one that fell behind.
pub fn ensure_pace(all: &[(&String, &Vec<Tick>)], oldest: Duration) -> Result<String> {
    let mut ages = Vec::new();
    for (name, ticks) in all {
        ensure_serials(name, ticks, false)?;
        let (first, last) =
            ticks.first().zip(ticks.last()).with_context(|| format!("{name} said nothing"))?;
        let made = last.n - first.n + 1;
        let came = u64::try_from(ticks.len())?;
        ensure!(came * 10 >= made * 7, "{name}: {came} of {made} ticks came");
        let own: Vec<Duration> = ticks.iter().map(Tick::age).collect();
        let age = quantile(own.clone(), 0.95);
        ensure!(age <= oldest, "{name}: ticks are {age:?} old when they come (p95)");
        ages.extend(own);
    }
    let ends: Vec<u64> = all.iter().filter_map(|(_, ticks)| ticks.last()).map(|tick| tick.seen).collect();
    let (first, last) = (ends.iter().min().copied().unwrap_or(0), ends.iter().max().copied().unwrap_or(0));
    let silent = Duration::from_micros(last - first);
    ensure!(silent <= oldest + Duration::from_secs(2), "one source fell silent {silent:?} before another");
    let (half, most) = (quantile(ages.clone(), 0.5), quantile(ages, 0.99));
    Ok(format!("{} sources, ticks {half:?} old in the middle, {most:?} at p99", all.len()))
}

/// The time that a part of the values does not exceed; zero of none.
#[must_use]
pub fn quantile(mut values: Vec<Duration>, part: f64) -> Duration {
    values.sort_unstable();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a place in a list"
    )]
    let place = (values.len().saturating_sub(1) as f64 * part).round() as usize;
    values.get(place).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(serials: &[u64]) -> Vec<Tick> {
        serials.iter().map(|n| Tick { n: *n, at: 0, seen: 0 }).collect()
    }

    #[test]
    fn it_finds_what_is_missing_or_doubled() {
        for (serials, whole, good) in [
            (&[][..], true, true),
            (&[4, 5, 6], true, true),
            (&[4, 6], true, false),
            (&[4, 6], false, true),
            (&[4, 4], false, false),
            (&[5, 4], false, false),
        ] {
            assert_eq!(ensure_serials("s", &ticks(serials), whole).is_ok(), good, "{serials:?}");
        }
    }

    #[test]
    fn it_finds_who_fell_behind() {
        let second = 1_000_000;
        let made = |serials: &[u64], late: u64| -> Vec<Tick> {
            serials.iter().map(|n| Tick { n: *n, at: n * second, seen: n * second + late }).collect()
        };
        let good = made(&(1..=20).collect::<Vec<_>>(), 10_000);
        for (other, is_good) in [
            (good.clone(), true),
            (made(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 14, 15, 16, 17, 18, 19, 20], 0), true),
            (made(&(1..=20).collect::<Vec<_>>(), 4 * second), false),
            (made(&(1..=12).collect::<Vec<_>>(), 0), false),
            (made(&[1, 3, 5, 7, 9, 11, 13, 15, 17, 20], 0), false),
            (made(&[1, 2, 2, 3], 0), false),
            (Vec::new(), false),
        ] {
            let names = ["good".to_owned(), "other".to_owned()];
            let paced = ensure_pace(&[(&names[0], &good), (&names[1], &other)], Duration::from_secs(3));
            assert_eq!(paced.is_ok(), is_good, "{other:?}: {paced:?}");
        }
    }

    #[test]
    fn it_takes_quantiles() {
        let values: Vec<Duration> = (0..=100).map(Duration::from_millis).collect();
        assert_eq!(quantile(values.clone(), 0.99), Duration::from_millis(99));
        assert_eq!(quantile(values, 0.0), Duration::ZERO);
        assert_eq!(quantile(Vec::new(), 0.5), Duration::ZERO);
    }
}
