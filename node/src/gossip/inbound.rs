//! Batches that peers send: checked and handed to the store, away from the swarm's own task.

use std::sync::Arc;
use std::time::Duration;

use anode_shared::ids::{LogKey, Origin};
use anode_shared::time::Micros;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use libp2p::PeerId;
use libp2p::gossipsub::{MessageAcceptance, MessageId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::repair::{Outcome, Piece};
use super::spans::Span;
use super::watched::Watched;
use crate::store::{Store, Verdict};

/// Batches that wait for the store's answer at once in a lane.
const UNDER_WAY: usize = 256;
/// Batches that wait for a lane; of more, repair brings what is not taken.
const LANE: usize = 512;
/// How many KiB of them wait in all: a few thousand ordinary ones, or as many of the longest as are checked in a fifth of a second.
const ROOM_KIB: usize = 64 << 10;
/// Lanes: an origin's batches stay in their order, different origins' are checked side by side.
const LANES: usize = 2;

/// A batch as gossip brought it.
#[derive(Debug)]
pub(super) struct Gossiped {
    /// The message, to be judged.
    pub(super) id: MessageId,
    /// Who sent it.
    pub(super) from: PeerId,
    /// Who says that it made it.
    pub(super) origin: Origin,
    /// Its bytes.
    pub(super) bytes: Bytes,
}

/// What became of it.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) id: MessageId,
    pub(super) from: PeerId,
    pub(super) origin: Origin,
    /// How long it is.
    pub(super) bytes: usize,
    pub(super) verdict: Verdict,
}

/// A batch in a lane, and the room that it takes until it is judged.
type Placed = (Gossiped, OwnedSemaphorePermit);

/// The ways into the store.
#[derive(Debug)]
pub(super) struct Lanes {
    lanes: Vec<mpsc::Sender<Placed>>,
    room: Arc<Semaphore>,
}

impl Lanes {
    /// Opens the lanes; what becomes of each batch is told to `judged`.
    pub(super) fn open(store: &Store, judged: &mpsc::Sender<Judged>, watched: &Watched) -> Self {
        let lane = |_| {
            let (to, lane) = mpsc::channel(LANE);
            watched.spawn(run(store.clone(), lane, judged.clone()));
            to
        };
        Self { lanes: (0..LANES).map(lane).collect(), room: Arc::new(Semaphore::new(ROOM_KIB)) }
    }

    /// Puts a batch on its origin's lane; says no where that is full, or all together are.
    pub(super) fn put(&self, batch: Gossiped) -> bool {
        let kib = u32::try_from(batch.bytes.len() >> 10).unwrap_or(u32::MAX).saturating_add(1);
        let Ok(place) = self.room.clone().try_acquire_many_owned(kib) else { return false };
        self.lanes[usize::from(batch.origin.0[31]) % LANES].try_send((batch, place)).is_ok()
    }
}

async fn run(store: Store, mut lane: mpsc::Receiver<Placed>, judged: mpsc::Sender<Judged>) {
    let mut under_way = FuturesUnordered::new();
    loop {
        tokio::select! {
            Some(done) = under_way.next() => if judged.send(done).await.is_err() { return },
            next = lane.recv(), if under_way.len() < UNDER_WAY => match next {
                Some((Gossiped { id, from, origin, bytes }, place)) => {
                    let (length, accepting) = (bytes.len(), store.accept(bytes));
                    under_way.push(async move {
                        let judged = Judged { id, from, origin, bytes: length, verdict: accepting.await };
                        drop(place);
                        judged
                    });
                }
                None if under_way.is_empty() => return,
                None => {
                    let Some(done) = under_way.next().await else { return };
                    if judged.send(done).await.is_err() {
                        return;
                    }
                }
            },
        }
    }
}

/// How gossipsub treats a message after its batch was judged: who sends what nobody could take is blamed for it.
pub(super) fn acceptance(verdict: &Verdict, all_linked: bool) -> MessageAcceptance {
    match verdict {
        // Everybody has a link to its origin: another copy would only cost.
        Verdict::Taken | Verdict::Held if all_linked => MessageAcceptance::Ignore,
        Verdict::Taken | Verdict::Held => MessageAcceptance::Accept,
        Verdict::OtherNetwork | Verdict::Invalid(_) => MessageAcceptance::Reject,
        // Not the sender's fault, and nothing that others should get by gossip.
        Verdict::Old
        | Verdict::Early { .. }
        | Verdict::Crowded
        | Verdict::Forked
        | Verdict::Ended
        | Verdict::Unable(_) => MessageAcceptance::Ignore,
    }
}

/// What the planner of repair makes of a verdict.
fn outcome(verdict: &Verdict, now: Micros) -> Outcome {
    match verdict {
        Verdict::Taken | Verdict::Held | Verdict::Forked | Verdict::Ended => Outcome::Stored,
        Verdict::Old => Outcome::Old,
        Verdict::Early { due } => Outcome::Early(Duration::from_micros(due.saturating_sub(now))),
        Verdict::Crowded => Outcome::Crowded,
        Verdict::Unable(_) => Outcome::Unable,
        Verdict::OtherNetwork | Verdict::Invalid(_) => Outcome::Wrong,
    }
}

/// Hands fetched batches of a log to the store, one after the other, and says what became of each.
pub(super) async fn take(
    store: &Store,
    key: LogKey,
    batches: Vec<Bytes>,
    room: &Arc<Semaphore>,
) -> Vec<Piece> {
    let mut pieces = Vec::with_capacity(batches.len());
    for bytes in batches {
        // Fetched batches yield to what is live: of those few are under way at once.
        let _place = room.acquire().await;
        // What was not asked for is not taken, or a peer could fill the store with what nobody wants.
        let Some(batch) = store.check(bytes).ok().filter(|batch| batch.key() == key) else {
            pieces.push(wrong());
            continue;
        };
        let (span, time) =
            (Span { from: batch.header().first, to: batch.header().last() }, batch.header().time_last);
        let bytes = batch.bytes().len() as u64;
        let mut verdict = store.take(batch.clone()).await;
        for _ in 0..20 {
            let Verdict::Unable(crate::store::Refused::Overloaded) = verdict else { break };
            store.room().await;
            verdict = store.take(batch.clone()).await;
        }
        let outcome = outcome(&verdict, crate::store::system_time());
        pieces.push(Piece { span, bytes, time, outcome });
    }
    pieces
}

fn wrong() -> Piece {
    Piece { span: Span { from: 1, to: 1 }, bytes: 0, time: 0, outcome: Outcome::Wrong }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Refused;

    #[test]
    fn it_bounds_what_waits_by_its_length() {
        let room = |length: usize| {
            let (lane, _waits) = mpsc::channel(10 * ROOM_KIB);
            let lanes = Lanes { lanes: vec![lane; LANES], room: Arc::new(Semaphore::new(ROOM_KIB)) };
            let batch = || Gossiped {
                id: MessageId::new(b"1"),
                from: PeerId::random(),
                origin: Origin([1; 32]),
                bytes: vec![0; length].into(),
            };
            (0..2 * ROOM_KIB).filter(|_| lanes.put(batch())).count()
        };
        assert_eq!([300, 4 << 10].map(room), [ROOM_KIB, ROOM_KIB / 5]);
    }

    #[test]
    fn it_blames_for_what_nobody_could_take_only() {
        let invalid = anode_shared::batch::BatchError::Header("h".to_owned());
        for (verdict, all_linked, accepted) in [
            (Verdict::Taken, false, "Accept"),
            (Verdict::Taken, true, "Ignore"),
            (Verdict::Held, false, "Accept"),
            (Verdict::Old, false, "Ignore"),
            (Verdict::Early { due: 5 }, false, "Ignore"),
            (Verdict::Crowded, false, "Ignore"),
            (Verdict::Forked, false, "Ignore"),
            (Verdict::Unable(Refused::Overloaded), false, "Ignore"),
            (Verdict::OtherNetwork, true, "Reject"),
            (Verdict::Invalid(invalid), true, "Reject"),
        ] {
            assert_eq!(format!("{:?}", acceptance(&verdict, all_linked)), accepted, "{verdict:?}");
        }
    }
}
