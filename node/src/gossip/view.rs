//! What others see of the mesh: a picture that the driver makes anew, and counters.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use anode_shared::beacon::Load;
use anode_shared::ids::{Hash, LogKey, Origin, RecordId};
use anode_shared::mesh::{Mesh, PeerState, PeerStatus, total};
use anode_shared::status::{Component, State};
use serde_json::json;

use super::Gossip;
use super::counters::Counters;
use super::repair::Repair;
use super::spans::Span;
use crate::store::Holders;

/// What is wrong where two nodes have one identity, and what to do.
pub(super) const TWIN: &str =
    "another node runs with this node's identity; stop one of them, and give it its own --data-dir";

/// The mesh at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct View {
    /// Full multiaddrs of this node.
    pub addresses: Vec<String>,
    /// All known peers, by id.
    pub peers: Vec<PeerStatus>,
    /// The graph.
    pub mesh: Mesh,
    /// To how many peers this node has links.
    pub linked: usize,
    /// How many records are missing here that peers say they have.
    pub missing: u64,
    /// How many requests for them are under way.
    pub requests: usize,
    /// Whether another node runs with this node's identity.
    pub twin: bool,
    /// How far the peers' clocks are ahead, microseconds, where ours is too far off to be trusted.
    pub clock_off: Option<i64>,
    /// Which peers that are there archive, and the keyspace of each.
    pub archivers: Vec<(Origin, Hash)>,
}

impl View {
    /// How many records of peers are not here yet, by their beacons.
    pub fn lag(&self) -> u64 {
        total(self.peers.iter().filter(|peer| peer.state <= PeerState::Suspect).map(|peer| peer.lag))
    }

    /// How many peers are in each state.
    pub fn census(&self) -> [(&'static str, usize); 4] {
        let states = [PeerState::Alive, PeerState::Suspect, PeerState::Left, PeerState::Dead];
        states.map(|state| (state.word(), self.peers.iter().filter(|peer| peer.state == state).count()))
    }
}

/// What the node says of itself in beacons, beside what gossip knows.
#[derive(Debug, Clone, Default)]
pub struct Said {
    /// The keyspace that it archives to.
    pub archive: Option<Hash>,
    /// What it has to do.
    pub load: Load,
    /// Its components' states.
    pub components: Vec<(String, State)>,
}

/// How the mesh is, as a component of a node.
pub(super) fn component(view: &View, counters: &Counters) -> Component {
    let count = |state: PeerState| view.peers.iter().filter(|peer| peer.state == state).count();
    let (alive, suspect) = (count(PeerState::Alive), count(PeerState::Suspect));
    let (state, detail) = if view.twin {
        (State::Degraded, Some(TWIN.to_owned()))
    } else if let Some(offset) = view.clock_off {
        let seconds = offset / 1_000_000;
        (
            State::Degraded,
            Some(format!("this node's clock is {seconds} s behind its peers' median; set it right")),
        )
    } else if suspect > 0 {
        (State::Degraded, Some(format!("{suspect} of {} peers are silent", alive + suspect)))
    } else if alive == 0 {
        (State::Ok, Some("no peers: this node is alone".to_owned()))
    } else if view.missing > 0 {
        (State::Ok, Some(format!("fetching {} records from peers", view.missing)))
    } else {
        (State::Ok, None)
    };
    let read = |counter: &AtomicU64| json!(counter.load(Relaxed));
    let rejected: u64 = counters.rejected().iter().map(|(_, count)| count).sum();
    let figures = [
        ("peers", json!(alive)),
        ("links", json!(view.linked)),
        ("missing_records", json!(view.missing)),
        ("requests", json!(view.requests)),
        ("lag_records", json!(view.lag())),
        ("batches_sent", read(&counters.batches_sent)),
        ("batches_taken", read(&counters.batches_taken)),
        ("batches_repaired", read(&counters.batches_repaired)),
        ("batches_not_gossiped", read(&counters.batches_missed)),
        ("messages_rejected", json!(rejected)),
        ("links_renewed", read(&counters.links_renewed)),
        ("peers_cut", read(&counters.peers_cut)),
    ];
    let figures = figures.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Component { state, detail, since: String::new(), figures }
}

/// Who could have what this store has not, as the planner of repair knows it.
#[derive(Debug, Default)]
pub struct Peers(OnceLock<Met>);

/// What is known once the mesh is there.
#[derive(Debug)]
struct Met {
    repair: Arc<Mutex<Repair>>,
    gossip: Gossip,
}

impl Peers {
    /// Knows of nobody until the mesh is there.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(super) fn meet(&self, repair: Arc<Mutex<Repair>>, gossip: Gossip) {
        let _ = self.0.set(Met { repair, gossip });
    }
}

impl Holders for Peers {
    fn may_have(&self, log: LogKey, from: u64, to: u64) -> bool {
        let (Some(met), Some(span)) = (self.0.get(), Span::new(from, to)) else { return false };
        let repair = met.repair.lock().unwrap_or_else(PoisonError::into_inner);
        repair.may_have(log, span, std::time::Instant::now())
    }

    fn ends_of(&self, log: LogKey, from: u64, to: u64) -> Option<(u64, u64)> {
        let (met, span) = (self.0.get()?, Span::new(from, to)?);
        let repair = met.repair.lock().unwrap_or_else(PoisonError::into_inner);
        let ends = repair.ends_of(log, span, std::time::Instant::now())?;
        Some((ends.from, ends.to))
    }

    fn awaits(&self, log: LogKey) -> bool {
        let Some(met) = self.0.get() else { return false };
        let repair = met.repair.lock().unwrap_or_else(PoisonError::into_inner);
        repair.awaits(log, std::time::Instant::now())
    }

    fn floor(&self, log: LogKey) -> u64 {
        let Some(met) = self.0.get() else { return 1 };
        met.repair.lock().unwrap_or_else(PoisonError::into_inner).origins_floor(log)
    }

    fn knows(&self, origin: Origin) -> bool {
        let Some(met) = self.0.get() else { return false };
        let repair = met.repair.lock().unwrap_or_else(PoisonError::into_inner);
        repair.knows(origin, std::time::Instant::now())
    }

    fn any(&self) -> bool {
        self.0.get().is_some_and(|met| met.gossip.has_peers())
    }

    fn replicated(&self, ids: &[RecordId]) -> Pin<Box<dyn Future<Output = bool> + Send>> {
        let (gossip, ids) = (self.0.get().map(|met| met.gossip.clone()), ids.to_vec());
        Box::pin(async move {
            match gossip {
                Some(gossip) => gossip.replicated(&ids).await,
                None => false,
            }
        })
    }
}

/// Microseconds as milliseconds.
#[expect(
    clippy::cast_precision_loss,
    reason = "an offset of clocks is shown, and a millionth of it does not matter"
)]
pub(super) fn millis_of(micros: i64) -> f64 {
    (micros as f64 / 1e3).round()
}
