//! Whether records are held elsewhere: asked of peers for this node's publishers, and answered to peers for theirs.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anode_shared::ids::{LogKey, Origin};
use anode_shared::repair::{Ask, Question};
use tokio::sync::oneshot;

use super::Driver;
use super::questions::Asked;
use crate::gossip::spans::Span;
use crate::store::Store;

/// How long a peer is waited for that is to hold a range: as long as a publisher waits.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How often it looks, beside each arrival.
const LOOK: Duration = Duration::from_millis(250);
/// How long it rests between two looks at least: a quarter of what a flush to disk takes.
const BREATH: Duration = Duration::from_millis(1);
/// By which part of the time that it has waited it rests: so many looks are few, whatever is asked and whatever arrives meanwhile.
const PART: u32 = 8;

/// A range that a publisher waits for to be held elsewhere.
#[derive(Debug)]
pub(super) struct Unheld {
    key: LogKey,
    span: Span,
    reply: oneshot::Sender<bool>,
}

impl Driver {
    /// Asks peers whether they hold a range on stable storage, until one does or nobody waits any more.
    pub(super) fn ask_whether_held(&mut self, key: LogKey, span: Span, reply: oneshot::Sender<bool>) {
        let Some(number) = self.witnesses.begin() else {
            let _ = reply.send(false);
            return;
        };
        self.unheld.insert(number, Unheld { key, span, reply });
        let there = self.possible_witnesses();
        self.ask_witnesses(number, &there, Instant::now());
    }

    /// Asks others in the place of those who are silent, and nobody for who has gone.
    pub(super) fn look_for_witnesses(&mut self, now: Instant) {
        if self.unheld.is_empty() {
            return;
        }
        let gone = self.unheld.iter().filter(|(_, unheld)| unheld.reply.is_closed());
        let gone: Vec<u64> = gone.map(|(number, _)| *number).collect();
        for number in gone {
            self.unheld.remove(&number);
            self.witnesses.end(number);
        }
        let there = self.possible_witnesses();
        let waiting: Vec<u64> = self.unheld.keys().copied().collect();
        waiting.into_iter().for_each(|number| self.ask_witnesses(number, &there, now));
    }

    fn possible_witnesses(&self) -> BTreeSet<Origin> {
        self.members.keys().filter(|peer| self.presence.is_there(**peer)).copied().collect()
    }

    fn ask_witnesses(&mut self, number: u64, there: &BTreeSet<Origin>, now: Instant) {
        let Some(Unheld { key, span, .. }) = self.unheld.get(&number) else { return };
        let question = Question::Holds(Self::ask(*key, *span, 0));
        for peer in self.witnesses.ask(number, there, now) {
            self.ask_peer(peer, &question, Asked::Holds(number, peer));
        }
    }

    /// A peer holds what somebody waits for.
    pub(super) fn held(&mut self, number: u64, witness: Origin) {
        self.witnesses.held(number, witness);
        if let Some(unheld) = self.unheld.remove(&number) {
            let _ = unheld.reply.send(true);
        }
    }
}

/// Waits until a range is held on stable storage.
pub(super) async fn within(store: &Store, ask: Ask, patience: Duration) -> bool {
    if patience.is_zero() {
        return store.holds_synced(ask.log, ask.from, ask.to).await;
    }
    let (mut newest, began) = (store.newest(), Instant::now());
    let held = async {
        while !store.holds_synced(ask.log, ask.from, ask.to).await {
            let _ = tokio::time::timeout(LOOK, newest.changed()).await;
            // Many may wait, and much may arrive meanwhile.
            tokio::time::sleep(rest(began.elapsed())).await;
        }
    };
    tokio::time::timeout(patience, held).await.is_ok()
}

/// How long to rest after so long a wait.
fn rest(waited: Duration) -> Duration {
    (waited / PART).max(BREATH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_looks_often_at_first_and_seldom_in_all() {
        let (mut waited, mut looks, mut soon) = (Duration::ZERO, 0, 0);
        while waited < PATIENCE {
            waited += rest(waited);
            looks += 1;
            soon += u32::from(waited <= Duration::from_millis(8));
        }
        assert!(soon == 8 && looks < 100, "{soon} looks at first, {looks} in all");
    }
}
