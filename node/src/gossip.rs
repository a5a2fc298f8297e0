//! The mesh: batches spread to all nodes, what was lost is repaired, and every node knows of every other.
//!
//! What decides is pure and knows neither sockets nor clocks: [`presence`] (who is there), [`runs`] (whether two nodes have one
//! identity), [`members`] (who is let in and linked), [`rates`], [`conduct`] (who breaks the rules), [`clock`] (whose clock is
//! wrong), [`witnesses`] (who is asked whether it holds something) and [`repair`] (what is missing, and whom to ask). Each takes
//! an event and the time, and gives effects. [`driver`] owns libp2p's swarm and carries both ways.

pub mod spans;
pub mod dice;
pub mod rates;
pub mod crowd;
pub mod conduct;
pub mod clock;
pub mod members;
pub mod presence;
pub mod runs;
pub mod repair;
pub mod witnesses;
mod peers;
mod transport;
mod wire;
mod limits;
mod observed;
mod behaviour;
mod outbound;
mod inbound;
mod serve;
mod view;
mod news;
mod roster;
mod traffic;
mod counters;
mod lists;
mod watched;
mod driver;

#[cfg(test)]
mod sim;
#[cfg(test)]
mod swarms;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anode_shared::ids::{LogKey, Origin, RecordId};
use anode_shared::status::Component;
use anyhow::Context as _;
use libp2p::identity::Keypair;
use libp2p::multiaddr::Multiaddr;
use libp2p::pnet::PreSharedKey;
use libp2p::swarm::{Config, Swarm};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::store::Store;
use behaviour::{Behaviour, Names};
use driver::{Command, Driver, Parts};
use lists::Lister;
use repair::Repair;
use roster::Roster;
use spans::Span;
use watched::Watched;

pub use counters::{Count, Counters};
pub use lists::{ListSources, Untold};
pub use news::News;
pub use roster::PeerChanges;
pub use traffic::Traffic;
pub use view::{Peers, Said, View};

/// How long a connection without streams is kept: links are closed by who decides, not by silence.
const IDLE: Duration = Duration::from_secs(24 * 3_600);
/// Commands and news that wait.
const QUEUE: usize = 1_024;

/// How connections are run.
fn settings() -> Config {
    Config::with_tokio_executor()
        .with_idle_connection_timeout(IDLE)
        .with_per_connection_event_buffer_size(64)
        .with_notify_handler_buffer_size(std::num::NonZeroUsize::MIN.saturating_add(63))
}

/// How the mesh is joined.
#[derive(Debug, Clone)]
pub struct GossipConfig {
    /// The network's name.
    pub network: String,
    /// How the node shows in dashboards.
    pub name: String,
    /// Where to listen for peers.
    pub listen: Vec<Multiaddr>,
    /// Peers to join by: first the named ones, then what is tried on the own machine.
    pub bootstrap: Vec<Multiaddr>,
    /// How many of them were named.
    pub named: usize,
    /// Addresses to tell others instead of those listened on.
    pub announce: Vec<Multiaddr>,
    /// Whether peers are looked for on the local network.
    pub mdns: bool,
    /// The key that all nodes of a private network hold.
    pub network_key: Option<PreSharedKey>,
    /// Whose batches are kept; none: everybody's.
    pub origins: Option<BTreeSet<Origin>>,
    /// Bytes a second that are taken of each origin by gossip.
    pub origin_rate: u64,
    /// How often it speaks in a mesh of ordinary size.
    pub pace: Duration,
    /// Records older than this are not fetched.
    pub retain_age: Duration,
}

/// What driver and handles share.
#[derive(Debug)]
pub(crate) struct Shared {
    view: watch::Sender<Arc<View>>,
    roster: Mutex<Roster>,
    said: Mutex<Said>,
    pub(crate) lister: Lister,
    news: mpsc::Sender<News>,
    pub(crate) counters: Counters,
    /// Whether a part broke, by a defect.
    broken: AtomicBool,
}

impl Shared {
    fn show(&self, view: View) {
        self.roster().update(&view.peers);
        self.view.send_if_modified(|shown| {
            let changed = **shown != view;
            if changed {
                *shown = Arc::new(view);
            }
            changed
        });
    }

    fn roster(&self) -> MutexGuard<'_, Roster> {
        self.roster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn said(&self) -> Said {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The mesh, for those who ask it. Clones are handles of the same one.
#[derive(Debug, Clone)]
pub struct Gossip {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
}

impl Gossip {
    /// Joins the mesh; what happens in it comes by the receiver. Who may hold what, `peers` says from now on.
    ///
    /// # Errors
    /// When an address cannot be listened on, or the identity or the network's name cannot be used.
    pub fn start(
        config: GossipConfig,
        identity: &Keypair,
        store: &Store,
        peers: &Peers,
        tracker: &TaskTracker,
        cancel: &CancellationToken,
    ) -> anyhow::Result<(Self, mpsc::Receiver<News>)> {
        let transport = transport::transport(identity, config.network_key)?;
        Self::join(config, identity, store, peers, transport, tracker, cancel)
    }

    fn join(
        config: GossipConfig,
        identity: &Keypair,
        store: &Store,
        peers: &Peers,
        transport: transport::Transport,
        tracker: &TaskTracker,
        cancel: &CancellationToken,
    ) -> anyhow::Result<(Self, mpsc::Receiver<News>)> {
        let names = Names::new(&config.network, store.shard_bits());
        let run = (crate::store::system_time() / 1_000_000) << 32 | u64::from(rand::random::<u32>());
        let behaviour = Behaviour::new(identity, &names, run, config.mdns)?;
        let counters = Counters::default();
        let transport = traffic::counted(transport, &counters.traffic);
        let mut swarm = Swarm::new(transport, behaviour, identity.public().to_peer_id(), settings());
        for address in &config.listen {
            swarm.listen_on(address.clone()).with_context(|| {
                format!("cannot listen for peers on {address}; name another address with --p2p")
            })?;
        }
        for address in &config.announce {
            swarm.add_external_address(address.clone());
        }
        let seed = identity.clone().try_into_ed25519().context("the identity is no ed25519 key")?.secret();
        let key = ed25519_dalek::SigningKey::from_bytes(
            seed.as_ref().try_into().context("the identity's key is not 32 bytes long")?,
        );
        let (news, happened) = mpsc::channel(QUEUE);
        let (commands, orders) = mpsc::channel(QUEUE);
        let shared = Arc::new(Shared {
            view: watch::Sender::new(Arc::default()),
            roster: Mutex::default(),
            said: Mutex::default(),
            lister: Lister::default(),
            news,
            counters,
            broken: AtomicBool::new(false),
        });
        let mut repair = Repair::new(store.origin(), config.origin_rate, rand::random());
        repair.expect_shards(store.shard_bits());
        config.origins.iter().for_each(|origins| repair.keep_only(origins.clone()));
        let repair = Arc::new(Mutex::new(repair));
        let gossip = Self { shared: shared.clone(), commands };
        peers.meet(repair.clone(), gossip.clone());
        let watched = Watched::new(shared.clone(), tracker.clone());
        let driver = Driver::new(Parts {
            swarm,
            names,
            config,
            key,
            run,
            store: store.clone(),
            shared,
            repair,
            commands: orders,
            watched: watched.clone(),
            tracker: tracker.clone(),
            cancel: cancel.clone(),
        });
        watched.spawn(driver.run());
        Ok((gossip, happened))
    }

    /// A mesh of nobody, for those who need none.
    pub fn alone() -> Self {
        let shared = Shared {
            view: watch::Sender::new(Arc::default()),
            roster: Mutex::default(),
            said: Mutex::default(),
            lister: Lister::default(),
            news: mpsc::channel(1).0,
            counters: Counters::default(),
            broken: AtomicBool::new(false),
        };
        Self { shared: Arc::new(shared), commands: mpsc::channel(1).0 }
    }

    /// How the mesh is, as a component of this node.
    pub fn component(&self) -> Component {
        let component = view::component(&self.view(), self.counters());
        if self.shared.broken.load(Relaxed) { watched::broken(component) } else { component }
    }

    /// The mesh as it is.
    pub fn view(&self) -> Arc<View> {
        self.shared.view.borrow().clone()
    }

    /// What changed of peers after a version, at most so many of them: what is left out follows with the next question.
    pub fn peer_changes(&self, since: u64, most: usize) -> PeerChanges {
        self.shared.roster().since(since, most)
    }

    /// What gossip did since the start.
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// What beacons are to say of the node's other parts.
    pub fn say(&self, said: Said) {
        *self.shared.said.lock().unwrap_or_else(PoisonError::into_inner) = said;
    }

    /// Whether there is anybody who could hold a copy.
    pub fn has_peers(&self) -> bool {
        self.view().linked > 0
    }

    /// Waits until another node holds these records on stable storage; says no where none does in time.
    pub async fn replicated(&self, ids: &[RecordId]) -> bool {
        let mut ranges: Vec<(LogKey, Span)> = Vec::new();
        for id in ids {
            match ranges.iter_mut().find(|(key, _)| *key == id.key) {
                Some((_, span)) => *span = Span { from: span.from.min(id.seq), to: span.to.max(id.seq) },
                None => ranges.push((id.key, Span { from: id.seq, to: id.seq })),
            }
        }
        for (key, span) in ranges {
            let (reply, held) = oneshot::channel();
            if self.commands.send(Command::Replicated(key, span, reply)).await.is_err()
                || held.await != Ok(true)
            {
                return false;
            }
        }
        true
    }
}
