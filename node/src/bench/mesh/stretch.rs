//! A stretch of time in which records are published at a rate, and a subscriber on each node takes them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tokio::task::JoinSet;

use super::audience::{Arrivals, Audience, Start, payload};
use super::nodes::Nodes;
use crate::bench::micros;
use crate::bench::samples::{Samples, Sorted};
use crate::bench::wire::{PAYLOAD, Wire, text_frame};
use crate::cli::now;
use crate::client::Client;

/// How long records may be on their way once the last one was published, for the rate to hold.
const SOON: Duration = Duration::from_secs(2);
/// How long they are waited for in all.
const PATIENCE: Duration = Duration::from_secs(20);
/// How many records may wait for their acknowledgement, in seconds of the rate: more, and the node does not keep up.
const BEHIND: u64 = 2;

/// What is published.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stretch {
    /// Records a second in all.
    pub(super) rate: u32,
    /// Whether all nodes publish, or the first alone.
    pub(super) spread: bool,
    /// How long.
    pub(super) time: Duration,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Found {
    /// Whether all was published in time, acknowledged, and everywhere soon after.
    pub(super) held: bool,
    /// Records published.
    pub(super) sent: u64,
    /// How long that took.
    pub(super) took: Duration,
    /// Records that a node never showed, over all nodes.
    pub(super) lost: u64,
    /// Records that one showed twice.
    pub(super) twice: u64,
    pub(super) acks: Sorted,
    /// To the subscriber of the node where it was published.
    pub(super) here: Sorted,
    /// To those of other nodes.
    pub(super) away: Sorted,
    /// To the last of all.
    pub(super) last: Sorted,
}

/// What one publisher did.
#[derive(Debug, Default)]
pub(super) struct Published {
    pub(super) sent: u64,
    acked: u64,
    acks: Samples,
}

impl Stretch {
    /// Publishes, and waits until all is everywhere, or too late.
    pub(super) async fn run(self, nodes: &Nodes) -> anyhow::Result<Found> {
        let topic = format!("bench.t{}", now());
        let audience = Audience::open(nodes.clients(), &topic, Start::Live).await?;
        let publishers = if self.spread { audience.count() } else { 1 };
        let began = Instant::now();
        let published = self.publish(nodes.clients().take(publishers), &topic).await?;
        let took = began.elapsed();
        let sent: u64 = published.iter().map(|one| one.sent).sum();
        audience.wait(sent, PATIENCE).await;
        let soon = began.elapsed() < took + SOON;
        let mut found = look(&published, &audience.end().await?);
        found.took = took;
        // A publisher that could not send at the rate was held up by its node.
        let due = u64::from(self.rate) * micros(self.time) / 1_000_000;
        let acked: u64 = published.iter().map(|one| one.acked).sum();
        found.held = soon && found.lost == 0 && acked == sent && sent * 100 >= due * 97;
        Ok(found)
    }

    /// Publishes at all of some nodes; each publisher's records have every so-manieth number.
    pub(super) async fn publish(
        self,
        clients: impl Iterator<Item = &Client>,
        topic: &str,
    ) -> anyhow::Result<Vec<Published>> {
        let mut writers = Vec::new();
        for client in clients {
            writers.push(Wire::open(client, "/publish", &vec![("topic", topic.to_owned())]).await?);
        }
        let mut tasks = JoinSet::new();
        let (count, mut all) = (writers.len() as u64, Vec::new());
        let rate = u64::from(self.rate).div_ceil(count);
        for (place, wire) in writers.into_iter().enumerate() {
            tasks.spawn(async move {
                publish(wire, rate, self.time, (place as u64, count)).await.map(|done| (place, done))
            });
        }
        while let Some(done) = tasks.join_next().await {
            all.push(done.context("a publisher ended")??);
        }
        all.sort_by_key(|(place, _)| *place);
        Ok(all.into_iter().map(|(_, done)| done).collect())
    }
}

/// What the arrivals say of what was published.
pub(super) fn look(published: &[Published], came: &[Arrivals]) -> Found {
    let (mut here, mut away, mut last) = (Samples::default(), Samples::default(), Samples::default());
    let (mut lost, count) = (0, published.len() as u64);
    for (place, publisher) in published.iter().enumerate() {
        for record in 0..publisher.sent {
            let number = record * count + place as u64;
            let (mut latest, mut everywhere) = (0, true);
            for (node, arrivals) in came.iter().enumerate() {
                let Some(after) = arrivals.of(number) else {
                    lost += 1;
                    everywhere = false;
                    continue;
                };
                if node == place {
                    here.push(after);
                } else {
                    away.push(after);
                }
                latest = latest.max(after);
            }
            if everywhere {
                last.push(latest);
            }
        }
    }
    let mut acks = Samples::default();
    published.iter().for_each(|one| acks.extend(&one.acks));
    Found {
        held: false,
        sent: published.iter().map(|one| one.sent).sum(),
        took: Duration::ZERO,
        lost,
        twice: came.iter().map(|arrivals| arrivals.twice).sum(),
        acks: acks.sorted(),
        here: here.sorted(),
        away: away.sorted(),
        last: last.sorted(),
    }
}

/// Publishes at a rate, then waits for the last acknowledgements. Ends early where the node does not keep up.
async fn publish(
    mut wire: Wire,
    rate: u64,
    time: Duration,
    (place, count): (u64, u64),
) -> anyhow::Result<Published> {
    let mut done = Published::default();
    let mut waiting: VecDeque<Instant> = VecDeque::new();
    let mut tick = tokio::time::interval(Duration::from_millis(1));
    let mut record = Vec::with_capacity(PAYLOAD);
    let began = Instant::now();
    let mut open = true;
    while open || !waiting.is_empty() {
        let elapsed = began.elapsed();
        open &= elapsed < time && (waiting.len() as u64) < BEHIND * rate.max(500);
        let due = if open { micros(elapsed) * rate / 1_000_000 } else { done.sent };
        while done.sent < due {
            record.clear();
            payload(now(), done.sent * count + place, &mut record);
            text_frame(&record, &mut wire.out);
            waiting.push_back(Instant::now());
            done.sent += 1;
        }
        if !wire.out.is_empty() {
            wire.write()?;
        }
        if elapsed > time + PATIENCE {
            return Ok(done);
        }
        let mut refused = false;
        tokio::select! {
            turned = wire.turn(|frame| acknowledged(frame, &mut waiting, &mut done, &mut refused)) => turned?,
            _ = tick.tick() => {}
        }
        open &= !refused;
    }
    Ok(done)
}

/// Counts an answer; answers come in the order of the frames. A node that has too much to do says so.
fn acknowledged(
    frame: &[u8],
    waiting: &mut VecDeque<Instant>,
    done: &mut Published,
    refused: &mut bool,
) -> anyhow::Result<()> {
    let at = waiting.pop_front().context("more was answered than published")?;
    if frame.starts_with(br#"{"type":"published""#) {
        done.acks.push(micros(at.elapsed()));
        done.acked += 1;
    } else if frame.windows(12).any(|window| window == br#""overloaded""#) {
        *refused = true;
    } else {
        bail!("a publish was answered with {}", String::from_utf8_lossy(frame));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_what_is_lost_and_takes_the_last_of_all() {
        let published = |sent| Published { sent, ..Published::default() };
        let came = |records: &[(u64, u64)]| {
            let mut arrivals = Arrivals::default();
            records.iter().for_each(|(number, after)| arrivals.note(*number, *after).unwrap());
            arrivals
        };
        // Two publishers: the first sent 0, 2 and 4, the second 1.
        let found = look(
            &[published(3), published(1)],
            &[
                came(&[(0, 1_000), (1, 9_000), (2, 2_000), (4, 1_000)]),
                came(&[(0, 4_000), (1, 2_000), (4, 0), (4, 7_000)]),
            ],
        );
        assert_eq!((found.sent, found.lost, found.twice), (4, 1, 1));
        let percents = |sorted: &Sorted| [0.0, 50.0, 100.0].map(|percent| sorted.millis(percent));
        assert_eq!(percents(&found.here), [Some(1.0), Some(1.0), Some(2.0)]);
        assert_eq!(percents(&found.away), [Some(4.0), Some(7.0), Some(9.0)]);
        assert_eq!(percents(&found.last), [Some(4.0), Some(7.0), Some(9.0)]);
    }
}
