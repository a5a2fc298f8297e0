//! Questions of this node's users for peers: where there is no link, the peer is visited.

use std::time::Instant;

use anode_shared::ids::Origin;
use anode_shared::repair::{Question, SourcesAsk};
use tokio::sync::oneshot;

use super::Driver;
use super::questions::Asked;
use crate::gossip::{Untold, members};

/// A question for a peer's sources, and who waits for the answer.
#[derive(Debug)]
pub(super) struct Waiting {
    ask: SourcesAsk,
    reply: oneshot::Sender<Result<Vec<u8>, Untold>>,
}

impl Driver {
    /// Asks a peer for its sources, at once or when it has been reached. Where it gives none the reply is dropped.
    pub(super) fn ask_for_sources(
        &mut self,
        peer: Origin,
        ask: SourcesAsk,
        reply: oneshot::Sender<Result<Vec<u8>, Untold>>,
    ) {
        let now = Instant::now();
        self.links.handle(members::Event::Visit(peer), now);
        if self.members.contains_key(&peer) {
            self.ask_peer(peer, &Question::Sources(ask), Asked::Sources(reply));
        } else if self.links.may_visit(peer, now) {
            self.waiting.entry(peer).or_default().push(Waiting { ask, reply });
        } else {
            let _ = reply.send(Err(Untold::Unreached));
        }
    }

    /// A peer was let in: it is asked what waited for that.
    pub(super) fn ask_who_was_visited(&mut self, peer: Origin) {
        for Waiting { ask, reply } in self.waiting.remove(&peer).unwrap_or_default() {
            self.ask_peer(peer, &Question::Sources(ask), Asked::Sources(reply));
        }
    }

    /// A peer could not be reached.
    pub(super) fn visited_in_vain(&mut self, peer: Origin) {
        for Waiting { reply, .. } in self.waiting.remove(&peer).unwrap_or_default() {
            let _ = reply.send(Err(Untold::Unreached));
        }
    }

    /// Forgets questions whose askers wait no more.
    pub(super) fn look_at_waiting(&mut self) {
        self.waiting.retain(|_, waiting| {
            waiting.retain(|waiting| !waiting.reply.is_closed());
            !waiting.is_empty()
        });
    }
}
