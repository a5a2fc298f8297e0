//! Questions of the repair protocol: asked as the planner wants, answered out of the store.

use std::time::{Duration, Instant};

use anode_shared::ids::{LogKey, Origin};
use anode_shared::repair::{Answer, Question, RepairError, Summaries, Summary};
use bytes::Bytes;
use libp2p::request_response::{
    self, InboundFailure, InboundRequestId, Message, OutboundRequestId, ResponseChannel,
};
use tokio::sync::oneshot;
use tracing::debug;

use super::{Done, Driver, held};
use crate::gossip::conduct::{Kind, Offence};
use crate::gossip::repair::{Effect, Event, Outcome, Piece};
use crate::gossip::{Untold, inbound, peers, presence, serve};

/// What was asked.
#[derive(Debug)]
pub(super) enum Asked {
    /// What a peer holds: the question's number, and whether with proofs.
    Compare(u64, bool),
    /// Batches of a log.
    Fetch(u64, LogKey),
    Fork,
    Tell,
    /// Whether what somebody waits for is held: its number, and who was asked.
    Holds(u64, Origin),
    /// A peer's sources, for whoever looks.
    Sources(oneshot::Sender<Result<Vec<u8>, Untold>>),
}

/// An answer that was looked at elsewhere.
#[derive(Debug)]
pub(super) enum Fetched {
    /// Heads in it are proven.
    Compared(u64, Summaries, Vec<(LogKey, u64)>),
    /// Its batches, by whom they came, were handed to the store.
    Batches(u64, LogKey, Option<Origin>, Option<Summary>, bool, Vec<Piece>),
}

impl Driver {
    pub(super) fn repair_effect(&mut self, effect: Effect, now: Instant) {
        match effect {
            Effect::Compare { id, peer, digest, from, proofs } => {
                self.ask_peer(peer, &Question::Compare { digest, from, proofs }, Asked::Compare(id, proofs));
            }
            Effect::Fetch { id, peer, log, span, most } => {
                self.ask_peer(peer, &Question::Range(Self::ask(log, span, most)), Asked::Fetch(id, log));
            }
            Effect::Cancel(id) => self.cancel(id),
            Effect::AskFork(peer, key) => self.ask_peer(peer, &Question::Fork(key), Asked::Fork),
            Effect::TellFork(peer, key) => {
                if let Some(proof) = self.store.fork_proof(key) {
                    self.ask_peer(peer, &Question::Forked(proof), Asked::Tell);
                }
            }
            Effect::Heard(key, head) => self.store.heard(key, head),
            Effect::RaiseFloor(key, floor) => self.store.raise_floor(key, floor),
            Effect::RenewLink(origin) => self.renew(origin, now),
            Effect::Useless(origin) => self.offend(origin, Offence::Useless, now),
        }
    }

    /// Nobody wants the answer to a request any more: the same may be on its way from another peer.
    fn cancel(&mut self, id: u64) {
        self.asked.retain(|_, asked| !matches!(asked, Asked::Fetch(known, _) if *known == id));
    }

    /// A gossip link that has died silently is closed; who is still there is dialled again at once.
    fn renew(&mut self, origin: Origin, now: Instant) {
        self.shared.counters.renewed();
        debug!(peer = %origin, "Its beacons speak of batches that do not come: the link is renewed");
        self.disconnect(origin);
        self.next_show = now;
    }

    pub(super) fn ask_peer(&mut self, peer: Origin, question: &Question, asked: Asked) {
        match peers::peer_id(peer).filter(|_| self.members.contains_key(&peer)) {
            Some(id) => {
                self.shared.counters.asked();
                let request = self.swarm.behaviour_mut().repair.send_request(&id, question.encode().into());
                self.asked.insert(request, asked);
            }
            None => self.unanswered(&asked, Instant::now()),
        }
    }

    /// A question went without the answer to it.
    fn unanswered(&mut self, asked: &Asked, now: Instant) {
        match asked {
            Asked::Compare(id, _) | Asked::Fetch(id, _) => {
                let effects = self.planner().handle(Event::Failed(*id), now);
                effects.into_iter().for_each(|effect| self.repair_effect(effect, now));
            }
            Asked::Holds(number, witness) => self.witnesses.failed(*number, *witness, now),
            Asked::Fork | Asked::Tell | Asked::Sources(_) => {}
        }
    }

    pub(super) fn repair_event(&mut self, event: request_response::Event<Bytes, Bytes>, now: Instant) {
        match event {
            request_response::Event::Message { peer, message, .. } => match message {
                Message::Request { request, channel, request_id } => {
                    if let Some(kind) = self.question(&request, channel, peers::origin(&peer), now) {
                        peers::origin(&peer).map(|peer| self.open.insert(request_id, (peer, kind)));
                    }
                }
                Message::Response { request_id, response } => {
                    if let Some(asked) = self.asked.remove(&request_id) {
                        self.shared.counters.answer(response.len());
                        self.answered(asked, response, peer, now);
                    }
                }
            },
            request_response::Event::OutboundFailure { request_id, error, peer, .. } => {
                debug!(%peer, %error, "A question went unanswered");
                self.failed(request_id);
            }
            request_response::Event::InboundFailure { request_id, error, peer, .. } => {
                debug!(%peer, %error, "A question went wrong");
                self.shut(&request_id);
                let garbled = matches!(&error, InboundFailure::Io(why) if why.kind() == std::io::ErrorKind::InvalidData);
                peers::origin(&peer)
                    .filter(|_| garbled)
                    .into_iter()
                    .for_each(|peer| self.offend(peer, Offence::Question, now));
            }
            request_response::Event::ResponseSent { request_id, .. } => self.shut(&request_id),
        }
    }

    /// The answer to a question has left, or nobody waits for it.
    fn shut(&mut self, request: &InboundRequestId) {
        if let Some((peer, kind)) = self.open.remove(request) {
            self.conduct.close(peer, kind);
        }
    }

    fn failed(&mut self, request: OutboundRequestId) {
        if let Some(asked) = self.asked.remove(&request) {
            self.shared.counters.unanswered();
            self.unanswered(&asked, Instant::now());
        }
    }

    /// Takes a peer's question; says what it keeps busy until its answer has left. Where the peer has too much open it is refused.
    fn question(
        &mut self,
        frame: &Bytes,
        channel: ResponseChannel<Bytes>,
        peer: Option<Origin>,
        now: Instant,
    ) -> Option<Kind> {
        let Some(peer) = peer else {
            self.refuse(channel);
            return None;
        };
        let question = match Question::decode(frame) {
            Ok(question) => question,
            Err(error) => {
                debug!(%error, "A question was not understood");
                self.refuse(channel);
                // Newer nodes may ask what this one does not know, but not on and on.
                let newer = matches!(error, RepairError::Kind(_));
                self.offend(peer, if newer { Offence::Pressing } else { Offence::Question }, now);
                return None;
            }
        };
        // Only an origin has publishers who wait for its records to be held elsewhere.
        let waits = matches!(&question, Question::Holds(ask) if ask.log.origin == peer);
        let kind = if waits { Kind::Waits } else { Kind::Reads };
        if !self.conduct.takes(peer, &question, now) || !self.conduct.open(peer, kind) {
            self.refuse(channel);
            self.offend(peer, Offence::Pressing, now);
            return None;
        }
        self.answer(question, peer, if waits { held::PATIENCE } else { Duration::ZERO }, channel);
        Some(kind)
    }

    /// Answers a question, away from here where storage is read or something waited for.
    fn answer(
        &mut self,
        question: Question,
        peer: Origin,
        patience: Duration,
        channel: ResponseChannel<Bytes>,
    ) {
        let (store, done) = (self.store.clone(), self.done.0.clone());
        if let Question::Holds(ask) = question {
            self.tracker.spawn(async move {
                let held = held::within(&store, ask, patience).await;
                let _ = done.send(Done::Answer(channel, Answer::Holds(held).encode().into())).await;
            });
            return;
        }
        let Ok(place) = self.answering.clone().try_acquire_owned() else { return self.refuse(channel) };
        let shared = self.shared.clone();
        let summaries = match &question {
            Question::Compare { digest, from, proofs } => {
                let summaries = self.planner().summaries(digest, *from);
                let proofs = self.conduct.tells(peer, summaries.logs.len(), *proofs, Instant::now());
                Some((summaries, proofs))
            }
            _ => None,
        };
        self.tracker.spawn_blocking(move || {
            let frame: Bytes = match summaries {
                Some((mut summaries, proofs)) => {
                    if proofs {
                        serve::prove(&store, &mut summaries);
                    }
                    Answer::Summaries(summaries).encode().into()
                }
                None => match question {
                    Question::Sources(ask) => shared.lister.answer(&ask),
                    question => serve::answer(&store, question),
                },
            };
            drop(place);
            let _ = done.blocking_send(Done::Answer(channel, frame));
        });
    }

    fn refuse(&mut self, channel: ResponseChannel<Bytes>) {
        self.shared.counters.refused();
        let _ = self.swarm.behaviour_mut().repair.send_response(channel, Answer::Refused.encode().into());
    }

    fn answered(&mut self, asked: Asked, frame: Bytes, peer: libp2p::PeerId, now: Instant) {
        match (asked, Answer::decode(&frame)) {
            (Asked::Compare(id, proofs), Ok(Answer::Summaries(summaries))) => {
                self.look_at_proofs(id, summaries, proofs);
            }
            (Asked::Fetch(id, key), Ok(Answer::Batches { held, more, batches })) => {
                self.plan(Event::Arrived(id), now);
                let batches = batches.into_iter().map(|place| frame.slice(place)).collect();
                self.take(id, peers::origin(&peer), key, held, more, batches);
            }
            (Asked::Fork, Ok(Answer::Fork(Some(proof)))) => {
                if let Err(error) = self.store.accept_fork(proof) {
                    debug!(%peer, %error, "A fork's proof was none");
                    self.wrong_answer(peer, now);
                }
            }
            (Asked::Fork | Asked::Tell, Ok(_)) => {}
            (Asked::Sources(reply), Ok(Answer::Sources(json))) => _ = reply.send(Ok(json)),
            (Asked::Holds(number, witness), Ok(Answer::Holds(true))) => self.held(number, witness),
            (asked, answer) => {
                if let Err(error) = answer {
                    debug!(%peer, %error, "An answer was not understood");
                    self.wrong_answer(peer, now);
                }
                self.unanswered(&asked, now);
            }
        }
    }

    fn wrong_answer(&mut self, peer: libp2p::PeerId, now: Instant) {
        peers::origin(&peer).into_iter().for_each(|peer| self.offend(peer, Offence::Answer, now));
    }

    /// Checks the signatures in an answer, where they were asked for, away from here.
    fn look_at_proofs(&self, id: u64, summaries: Summaries, proofs: bool) {
        let done = self.done.0.clone();
        self.tracker.spawn_blocking(move || {
            let proven = |summary: &Summary| Some((summary.log, summary.proven().ok()??));
            let proven = summaries.logs.iter().filter(|_| proofs).filter_map(proven).collect();
            let _ = done.blocking_send(Done::Fetched(Box::new(Fetched::Compared(id, summaries, proven))));
        });
    }

    /// Stores what came, away from here.
    fn take(
        &self,
        id: u64,
        from: Option<Origin>,
        key: LogKey,
        held: Option<Summary>,
        more: bool,
        batches: Vec<Bytes>,
    ) {
        let (store, done, room) = (self.store.clone(), self.done.0.clone(), self.storing.clone());
        self.tracker.spawn(async move {
            let pieces = inbound::take(&store, key, batches, &room).await;
            let fetched = Fetched::Batches(id, key, from, held, more, pieces);
            let _ = done.send(Done::Fetched(Box::new(fetched))).await;
        });
    }

    pub(super) fn fetched(&mut self, fetched: &Fetched) {
        let now = Instant::now();
        match fetched {
            Fetched::Compared(id, answer, proven) => {
                self.plan(Event::Compared { id: *id, answer, proven }, now);
            }
            Fetched::Batches(id, key, from, held, more, pieces) => {
                self.look_for_twin(*key, pieces, now);
                if pieces.iter().any(|piece| piece.outcome == Outcome::Wrong) {
                    from.iter().for_each(|from| self.offend(*from, Offence::Answer, now));
                }
                self.shared.counters.repaired(pieces);
                // What the answer changed is known before the answer is.
                self.look_at_store(now);
                self.plan(Event::Answered { id: *id, held: held.as_ref(), more: *more, pieces }, now);
            }
        }
    }

    /// Notices records that this node's identity signed since its start, though this node did not make them. A twin's beacons are
    /// seldom heard: to gossipsub both are one peer, and what one says is not passed on to the other.
    fn look_for_twin(&mut self, key: LogKey, pieces: &[Piece], now: Instant) {
        // The run's number holds the second of the start. What was written just before it is no twin's.
        let start = ((self.run >> 32) + 2) * 1_000_000;
        let stored = |piece: &Piece| piece.outcome == Outcome::Stored && piece.time > start;
        if key.origin == self.me && !self.store.has_opened(key.log) && pieces.iter().any(stored) {
            let effects = self.presence.handle(presence::Event::Twin, now);
            self.presence_effects(effects, now);
        }
    }
}
