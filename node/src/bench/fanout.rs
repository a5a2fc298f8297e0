//! `anode bench fanout`: one stream of records to many subscribers.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anode_shared::frames::RECORD_FRAME_START;
use anyhow::{Context as _, bail};
use clap::Args;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::report::Report;
use super::samples::Samples;
use super::subject::{Subject, Usage, Used};
use super::wire::{PAYLOAD, Wire, payload, sent_at, text_frame};
use super::{Setup, cost, per_second, whole};
use crate::cli::now;
use crate::client::Client;

/// The options of `anode bench fanout`.
#[derive(Debug, Args)]
pub struct FanoutArgs {
    /// Subscribers of the stream
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=20_000))]
    subscribers: u16,
    /// Records a second; without it as many as the subscribers take
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: Option<u32>,
    /// Saturated: how many records the publisher may be ahead of the subscribers' mean
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    window: u16,
    #[command(flatten)]
    pub(super) setup: Setup,
}

/// Left out at the beginning, until connections and buffers have grown to their size.
const WARM_UP: Duration = Duration::from_secs(1);

/// What subscribers and publisher share.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Records delivered, over all subscribers.
    delivered: AtomicU64,
    /// Whether deliveries are measured.
    measuring: AtomicBool,
    /// The subscribers shall end.
    over: CancellationToken,
    moved: Notify,
}

/// How the publisher decides how much to send.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pace {
    /// Records a second.
    Rate(u32),
    /// At most so many ahead of the mean of so many subscribers.
    Window {
        /// Records ahead.
        ahead: u64,
        /// Subscribers.
        subscribers: u64,
    },
}

impl Pace {
    /// How many records are due after `elapsed`, when `delivered` came to all subscribers together.
    fn due(self, elapsed: Duration, delivered: u64) -> u64 {
        match self {
            Self::Rate(rate) => {
                u64::try_from(elapsed.as_nanos() * u128::from(rate) / 1_000_000_000).unwrap_or(u64::MAX)
            }
            Self::Window { ahead, subscribers } => delivered / subscribers + ahead,
        }
    }
}

/// Measures.
pub(super) async fn measure(args: &FanoutArgs, subject: &Subject) -> anyhow::Result<Report> {
    let idle = subject.usage().await?;
    let progress = Arc::new(Progress::default());
    let mut crowd = gather(&subject.client, args.subscribers, &progress).await?;
    let waiting = subject.usage().await?;
    let subscribers = u64::from(args.subscribers);
    let pace = args.rate.map_or(Pace::Window { ahead: u64::from(args.window), subscribers }, Pace::Rate);
    let stream = Box::pin(run(subject, &progress, pace, args.setup.time()));
    let measured = tokio::select! {
        measured = stream => measured?,
        ended = crowd.join_next() => bail!("a subscriber ended early: {:?}", ended.map(|ended| ended.map(|done| done.err()))),
    };
    let samples = disperse(crowd, &progress).await?;
    let mut report = Report::default();
    report.figure("subscribers", whole(subscribers), "");
    report.figure("published", measured.published(), "records/s");
    report.figure("deliveries", measured.deliveries(), "1/s");
    report.figure("deliveries a core", measured.per_core(), "1/s");
    report.percentiles("publish to subscriber", &samples.sorted());
    cost(&mut report, &measured.used, measured.delivered, "µs/delivery");
    report.figure("idle subscriber", per_subscriber(&idle, &waiting, subscribers), "bytes");
    Ok(report)
}

fn per_subscriber(idle: &Usage, waiting: &Usage, subscribers: u64) -> Option<f64> {
    idle.memory.zip(waiting.memory).map(|(before, after)| (after - before) / whole(subscribers))
}

/// What came of a stream.
pub(super) struct Measured {
    published: u64,
    /// Deliveries to all subscribers.
    pub(super) delivered: u64,
    took: Duration,
    /// What both sides used.
    pub(super) used: Used,
    /// From publishing to the acknowledgement.
    pub(super) acks: Samples,
}

impl Measured {
    /// Records published a second.
    pub(super) fn published(&self) -> f64 {
        per_second(self.published, self.took)
    }

    fn deliveries(&self) -> f64 {
        per_second(self.delivered, self.took)
    }

    fn per_core(&self) -> Option<f64> {
        self.used.node_cpu.map(|cpu| whole(self.delivered) / cpu)
    }
}

/// Publishes at a pace, first to warm up, then measured.
pub(super) async fn run(
    subject: &Subject,
    progress: &Arc<Progress>,
    pace: Pace,
    time: Duration,
) -> anyhow::Result<Measured> {
    let query = vec![("topic", "bench.stream".to_owned())];
    let mut publisher = Publisher::new(Wire::open(&subject.client, "/publish", &query).await?, pace);
    publisher.publish(progress, WARM_UP).await?;
    let before = subject.usage().await?;
    let (delivered, published) = (progress.delivered.load(Ordering::Relaxed), publisher.sent);
    publisher.acks = Samples::default();
    progress.measuring.store(true, Ordering::Relaxed);
    let start = Instant::now();
    publisher.publish(progress, time).await?;
    progress.measuring.store(false, Ordering::Relaxed);
    Ok(Measured {
        published: publisher.sent - published,
        delivered: progress.delivered.load(Ordering::Relaxed) - delivered,
        took: start.elapsed(),
        used: subject.usage().await?.since(&before),
        acks: publisher.acks,
    })
}

struct Publisher {
    wire: Wire,
    pace: Pace,
    sent: u64,
    /// When the records that are not acknowledged yet were sent.
    waiting: VecDeque<Instant>,
    acks: Samples,
    /// What was sent before this stretch of time, so that a rate does not make up for the pause.
    base: u64,
}

impl Publisher {
    fn new(wire: Wire, pace: Pace) -> Self {
        Self { wire, pace, sent: 0, waiting: VecDeque::new(), acks: Samples::default(), base: 0 }
    }

    async fn publish(&mut self, progress: &Progress, time: Duration) -> anyhow::Result<()> {
        let start = Instant::now();
        self.base = if matches!(self.pace, Pace::Rate(_)) { self.sent } else { 0 };
        let mut tick = tokio::time::interval(Duration::from_millis(1));
        let mut record = Vec::with_capacity(PAYLOAD);
        while start.elapsed() < time {
            let due = self.base + self.pace.due(start.elapsed(), progress.delivered.load(Ordering::Relaxed));
            while self.sent < due {
                record.clear();
                payload(now(), &mut record);
                text_frame(&record, &mut self.wire.out);
                self.waiting.push_back(Instant::now());
                self.sent += 1;
            }
            if !self.wire.out.is_empty() {
                self.wire.write()?;
            }
            let (waiting, acks) = (&mut self.waiting, &mut self.acks);
            tokio::select! {
                turned = self.wire.turn(|frame| acknowledged(frame, waiting, acks)) => turned?,
                () = progress.moved.notified() => {}
                _ = tick.tick() => {}
            }
        }
        Ok(())
    }
}

fn acknowledged(frame: &[u8], waiting: &mut VecDeque<Instant>, acks: &mut Samples) -> anyhow::Result<()> {
    if !frame.starts_with(br#"{"type":"published""#) {
        bail!("a publish was answered with {}", String::from_utf8_lossy(frame));
    }
    let at = waiting.pop_front().context("more was acknowledged than published")?;
    acks.push(super::micros(at.elapsed()));
    Ok(())
}

/// Subscribers that run, each giving its samples at the end.
pub(super) type Crowd = JoinSet<anyhow::Result<Samples>>;

/// Connects subscribers, and waits until every one is at the newest record.
pub(super) async fn gather(client: &Client, count: u16, progress: &Arc<Progress>) -> anyhow::Result<Crowd> {
    let mut crowd = Crowd::new();
    for _ in 0..count {
        let query = vec![("topic", "bench.stream".to_owned()), ("start", "live".to_owned())];
        let mut wire = Wire::open(client, "/feed", &query).await?;
        wire.begun().await?;
        crowd.spawn(subscribe(wire, Arc::clone(progress)));
    }
    Ok(crowd)
}

async fn subscribe(mut wire: Wire, progress: Arc<Progress>) -> anyhow::Result<Samples> {
    let mut samples = Samples::default();
    let over = progress.over.cancelled();
    tokio::pin!(over);
    loop {
        let mut came = 0;
        let mut at = 0;
        let measuring = progress.measuring.load(Ordering::Relaxed);
        let turned = wire.turn(|frame| {
            if frame.starts_with(RECORD_FRAME_START) {
                // One look at the clock for what one read brought: it is here at the same time.
                at = if came == 0 { now() } else { at };
                came += 1;
                if let Some(sent) = sent_at(frame).filter(|_| measuring) {
                    samples.push(at.saturating_sub(sent));
                }
            }
            Ok(())
        });
        tokio::select! {
            biased;
            turned = turned => turned?,
            () = &mut over => return Ok(samples),
        }
        if came > 0 {
            progress.delivered.fetch_add(came, Ordering::Relaxed);
            progress.moved.notify_one();
        }
    }
}

/// Ends the subscribers and collects their samples.
pub(super) async fn disperse(mut crowd: Crowd, progress: &Progress) -> anyhow::Result<Samples> {
    progress.over.cancel();
    let mut all = Samples::default();
    while let Some(ended) = crowd.join_next().await {
        all.extend(&ended.context("a subscriber ended")??);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_its_pace() {
        let window = Pace::Window { ahead: 10, subscribers: 4 };
        for (pace, millis, delivered, due) in [
            (Pace::Rate(1_000), 0, 99, 0),
            (Pace::Rate(1_000), 1, 0, 1),
            (Pace::Rate(500), 1_999, 0, 999),
            (window, 5, 0, 10),
            (window, 5, 7, 11),
            (window, 5, 400, 110),
        ] {
            assert_eq!(
                pace.due(Duration::from_millis(millis), delivered),
                due,
                "{pace:?} {millis} {delivered}"
            );
        }
    }
}
