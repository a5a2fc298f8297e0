//! A subscriber on each node, and what came to it when.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anode_shared::frames::RECORD_FRAME_START;
use anyhow::Context as _;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::bench::wire::{PAYLOAD, Wire, sent_at};
use crate::cli::now;
use crate::client::Client;

/// Where a payload holds its number, behind the time and a 1: a number in JSON begins with no zero.
const NUMBER: Range<usize> = 27..39;

/// What the subscribers see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// What is published from now on.
    Live,
    /// All that there is.
    Earliest,
}

/// What subscribers share with who waits for them.
#[derive(Debug, Default)]
struct Progress {
    arrived: AtomicU64,
    over: CancellationToken,
}

/// When each record came to one subscriber: microseconds after it was published, plus one; 0 where it did not.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    after: Vec<u32>,
    pub(super) twice: u64,
}

impl Arrivals {
    pub(super) fn note(&mut self, number: u64, after: u64) -> anyhow::Result<()> {
        let place = usize::try_from(number)?;
        if self.after.len() <= place {
            self.after.resize(place + 1, 0);
        }
        self.twice += u64::from(self.after[place] > 0);
        self.after[place] = u32::try_from(after + 1).unwrap_or(u32::MAX);
        Ok(())
    }

    /// After how many microseconds a record came.
    pub(super) fn of(&self, number: u64) -> Option<u64> {
        let after = usize::try_from(number).ok().and_then(|place| self.after.get(place));
        after.filter(|after| **after > 0).map(|after| u64::from(*after) - 1)
    }
}

/// A subscriber on each node.
pub(super) struct Audience {
    subscribers: JoinSet<anyhow::Result<(usize, Arrivals)>>,
    progress: Arc<Progress>,
}

impl Audience {
    /// Subscribes to a topic on each node.
    pub(super) async fn open(
        clients: impl Iterator<Item = &Client>,
        topic: &str,
        start: Start,
    ) -> anyhow::Result<Self> {
        let word = if start == Start::Live { "live" } else { "earliest" };
        let query = vec![("topic", topic.to_owned()), ("start", word.to_owned())];
        let mut wires = Vec::new();
        for client in clients {
            let mut wire = Wire::open(client, "/feed", &query).await?;
            if start == Start::Live {
                wire.begun().await?;
            }
            wires.push(wire);
        }
        let (mut subscribers, progress) = (JoinSet::new(), Arc::<Progress>::default());
        for (place, wire) in wires.into_iter().enumerate() {
            let progress = Arc::clone(&progress);
            subscribers.spawn(async move { subscribe(wire, &progress).await.map(|came| (place, came)) });
        }
        Ok(Self { subscribers, progress })
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.subscribers.len()
    }

    /// Waits until so many records came to each, or too long. Says whether they did.
    pub(super) async fn wait(&self, each: u64, patience: Duration) -> bool {
        let (owed, began) = (each * self.count() as u64, Instant::now());
        while self.progress.arrived.load(Ordering::Relaxed) < owed {
            if began.elapsed() > patience {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        true
    }

    /// Ends the subscriptions; gives what came, by node.
    pub(super) async fn end(mut self) -> anyhow::Result<Vec<Arrivals>> {
        self.progress.over.cancel();
        let mut came = Vec::new();
        while let Some(ended) = self.subscribers.join_next().await {
            came.push(ended.context("a subscriber ended")??);
        }
        came.sort_by_key(|(place, _)| *place);
        Ok(came.into_iter().map(|(_, came)| came).collect())
    }
}

async fn subscribe(mut wire: Wire, progress: &Progress) -> anyhow::Result<Arrivals> {
    let mut arrivals = Arrivals::default();
    let over = progress.over.cancelled();
    tokio::pin!(over);
    loop {
        let (mut came, mut at) = (0, 0);
        let turned = wire.turn(|frame| {
            if frame.starts_with(RECORD_FRAME_START) {
                // One look at the clock for what one read brought: it is here at the same time.
                at = if came == 0 { now() } else { at };
                came += 1;
                let (number, sent) =
                    number(frame).zip(sent_at(frame)).context("a record of somebody else")?;
                arrivals.note(number, at.saturating_sub(sent))?;
            }
            Ok(())
        });
        tokio::select! {
            biased;
            turned = turned => turned?,
            () = &mut over => return Ok(arrivals),
        }
        progress.arrived.fetch_add(came, Ordering::Relaxed);
    }
}

/// Writes a payload of [`PAYLOAD`] bytes that says when it was sent, and which it is.
pub(super) fn payload(now: u64, number: u64, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(format!("{{\"t\":{now:016},\"n\":1{number:012},\"pad\":\"").as_bytes());
    out.resize(start + PAYLOAD - 2, b'x');
    out.extend_from_slice(b"\"}");
}

/// The number of the payload at the end of a record's frame.
fn number(frame: &[u8]) -> Option<u64> {
    let start = frame.len().checked_sub(PAYLOAD + 1)?;
    std::str::from_utf8(frame.get(start + NUMBER.start..start + NUMBER.end)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_finds_again_which_payload_it_was() {
        let mut frame = br#"{"type":"record","payload":"#.to_vec();
        payload(1_795_402_020_123_456, 98_765, &mut frame);
        assert_eq!(frame.len(), 27 + PAYLOAD);
        frame.push(b'}');
        assert_eq!((sent_at(&frame), number(&frame)), (Some(1_795_402_020_123_456), Some(98_765)));
        assert!(serde_json::from_slice::<serde_json::Value>(&frame).is_ok());
        assert_eq!(number(b"{}"), None);
    }
}
