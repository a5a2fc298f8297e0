//! The one task that owns the swarm: libp2p's events go into the pure parts, what those decide goes out by libp2p.

mod connections;
mod held;
mod messages;
mod questions;
mod report;
mod visits;
mod ways;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anode_shared::beacon::Beacon;
use anode_shared::ids::{LogKey, Origin};
use anode_shared::repair::{Ask, SourcesAsk};
use anode_shared::time::Micros;
use bytes::Bytes;
use ed25519_dalek::SigningKey;
use futures_util::StreamExt as _;
use libp2p::multiaddr::Multiaddr;
use libp2p::request_response::{InboundRequestId, OutboundRequestId, ResponseChannel};
use libp2p::swarm::{ConnectionId, Swarm};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::behaviour::{Behaviour, Names};
use super::clock::Clock;
use super::conduct::{Conduct, Kind, Offence};
use super::inbound::{Judged, Lanes};
use super::members::{Admission, Links, Target};
use super::news::Teller;
use super::observed::Observed;
use super::presence::Presence;
use super::repair::{Event, Repair};
use super::runs::Runs;
use super::serve;
use super::spans::Span;
use super::watched::Watched;
use super::witnesses::Witnesses;
use super::{GossipConfig, News, Shared, Untold};
use crate::store::{Change, Loaded, LogView, Store};
use held::Unheld;
use questions::{Asked, Fetched};
use visits::Waiting;

/// How often the pure parts are told of the time.
const TICK: Duration = Duration::from_millis(50);
/// How soon after a beacon another one may leave for those who came meanwhile, for each peer that is there: fifty nodes that find
/// each other at once would otherwise speak thousands of times, each time to all.
const AGAIN: Duration = Duration::from_millis(20);
/// How often what the API shows is made anew.
const SHOW: Duration = Duration::from_millis(500);
/// How much longer that takes for each peer, as the picture grows with the square of their number.
const SHOW_PEER: Duration = Duration::from_millis(20);
/// How long the last beacon may take to leave.
const LEAVING: Duration = Duration::from_millis(300);
/// Answers that are put together at once for all peers: each may hold 2 MiB.
const ANSWERS: usize = 8;
/// Fetched batches that are on their way into the store at once.
const FETCHED: usize = 16;
/// Things that are done elsewhere and wait to be taken back.
const DONE: usize = 1_024;

/// What others ask of the driver.
#[derive(Debug)]
pub(in crate::gossip) enum Command {
    /// Says once a peer holds a range on stable storage.
    Replicated(LogKey, Span, oneshot::Sender<bool>),
    /// Asks a peer for its sources.
    Sources(Origin, SourcesAsk, oneshot::Sender<Result<Vec<u8>, Untold>>),
}

/// What was done elsewhere.
#[derive(Debug)]
enum Done {
    /// A question of a peer has its answer.
    Answer(ResponseChannel<Bytes>, Bytes),
    /// An answer of a peer was looked at, and its batches stored.
    Fetched(Box<Fetched>),
}

/// What the driver works with.
pub(super) struct Driver {
    swarm: Swarm<Behaviour>,
    names: Names,
    config: GossipConfig,
    me: Origin,
    key: SigningKey,
    run: u64,
    sequence: u64,
    store: Store,
    shared: Arc<Shared>,
    presence: Presence,
    links: Links,
    clock: Clock,
    /// Shared with the store's readers, who ask whether waiting is worth while.
    repair: Arc<Mutex<Repair>>,
    admission: Admission,
    conduct: Conduct,
    witnesses: Witnesses,
    /// What publishers wait for to be held elsewhere, and whom to tell.
    unheld: HashMap<u64, Unheld>,
    lanes: Lanes,
    judged: mpsc::Receiver<Judged>,
    own: mpsc::Receiver<Arc<Loaded>>,
    commands: mpsc::Receiver<Command>,
    done: (mpsc::Sender<Done>, mpsc::Receiver<Done>),
    answering: Arc<Semaphore>,
    storing: Arc<Semaphore>,
    asked: HashMap<OutboundRequestId, Asked>,
    /// Questions for peers that are to be visited first.
    waiting: HashMap<Origin, Vec<Waiting>>,
    /// Questions of peers whose answers have not left yet.
    open: HashMap<InboundRequestId, (Origin, Kind)>,
    /// Peers that are connected and not cut off.
    connected: HashSet<Origin>,
    /// Connected peers that have not said yet what they speak, or something else, and when they are let go.
    strangers: HashMap<Origin, Instant>,
    /// Peers that answered by identify that they are of this mesh.
    members: HashMap<Origin, Member>,
    /// Which starts of their nodes are at the other ends.
    runs: Runs<ConnectionId>,
    dials: HashMap<ConnectionId, Target>,
    addresses: HashMap<Origin, Vec<Multiaddr>>,
    observed: Observed,
    next_beacon: Instant,
    /// When the last beacon left, and how long it was.
    last_beacon: Option<(Instant, usize)>,
    next_show: Instant,
    next_complaint: Instant,
    teller: Teller,
    /// Whether the store was looked at: what it held before is no news.
    looked: bool,
    tracker: TaskTracker,
    cancel: CancellationToken,
}

/// A peer that is connected and of this mesh.
#[derive(Debug, Default)]
struct Member {
    rtt: Option<Duration>,
}

/// What the driver is given at its start.
pub(super) struct Parts {
    pub(super) swarm: Swarm<Behaviour>,
    pub(super) names: Names,
    pub(super) config: GossipConfig,
    pub(super) key: SigningKey,
    pub(super) run: u64,
    pub(super) store: Store,
    pub(super) shared: Arc<Shared>,
    pub(super) repair: Arc<Mutex<Repair>>,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) watched: Watched,
    pub(super) tracker: TaskTracker,
    pub(super) cancel: CancellationToken,
}

impl Driver {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts {
            swarm,
            names,
            config,
            key,
            run,
            store,
            shared,
            repair,
            commands,
            watched,
            tracker,
            cancel,
        } = parts;
        let me = store.origin();
        let (to_judged, judged) = mpsc::channel(DONE);
        let (to_own, own) = mpsc::channel(64);
        watched.spawn(super::outbound::run(store.clone(), to_own, cancel.clone()));
        Self {
            lanes: Lanes::open(&store, &to_judged, &watched),
            presence: Presence::new(me, run).speaking(config.pace),
            links: Links::new(me, config.bootstrap.len(), rand::random())
                .favouring(config.origins.clone().unwrap_or_default(), config.named),
            clock: Clock::default(),
            repair,
            admission: Admission {
                network: config.network.clone(),
                protocol: anode_shared::repair::PROTOCOL,
                origins: config.origins.clone(),
            },
            conduct: Conduct::default(),
            witnesses: Witnesses::new(rand::random()),
            unheld: HashMap::new(),
            swarm,
            names,
            config,
            me,
            key,
            run,
            sequence: 0,
            store,
            shared,
            judged,
            own,
            commands,
            done: mpsc::channel(DONE),
            answering: Arc::new(Semaphore::new(ANSWERS)),
            storing: Arc::new(Semaphore::new(FETCHED)),
            asked: HashMap::new(),
            waiting: HashMap::new(),
            open: HashMap::new(),
            connected: HashSet::new(),
            strangers: HashMap::new(),
            members: HashMap::new(),
            runs: Runs::default(),
            dials: HashMap::new(),
            addresses: HashMap::new(),
            observed: Observed::default(),
            next_beacon: Instant::now(),
            last_beacon: None,
            next_show: Instant::now(),
            next_complaint: Instant::now(),
            teller: Teller::default(),
            looked: false,
            tracker,
            cancel,
        }
    }

    /// Runs until cancelled, then says good-bye.
    pub(super) async fn run(mut self) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // The end first, then own batches: what is acknowledged here should be elsewhere soon.
                biased;
                () = self.cancel.cancelled() => break,
                _ = ticks.tick() => self.tick(),
                Some(batch) = self.own.recv() => self.spread(&batch),
                event = self.swarm.select_next_some() => self.swarm_event(event),
                Some(judged) = self.judged.recv() => self.judged(judged),
                Some(done) = self.done.1.recv() => self.done(done),
                Some(command) = self.commands.recv() => self.command(command),
            }
        }
        self.leave().await;
    }

    fn tick(&mut self) {
        let now = Instant::now();
        self.look_at_store(now);
        let owed = self.store.wishes().into_iter().filter_map(serve::owed).collect();
        self.plan(Event::Owed(owed), now);
        self.plan(Event::Retention(self.horizon()), now);
        self.plan(Event::Tick, now);
        let effects = self.presence.handle(super::presence::Event::Tick, now);
        self.presence_effects(effects, now);
        let effects = self.links.handle(super::members::Event::Tick, now);
        effects.into_iter().for_each(|effect| self.link_effect(effect, now));
        if self.next_beacon <= now {
            self.speak_now(now);
        }
        self.look_at_strangers(now);
        self.look_for_witnesses(now);
        self.look_at_waiting();
        if self.next_show <= now {
            self.next_show = now + SHOW + SHOW_PEER * self.presence.count();
            self.show(now);
        }
    }

    /// Records older than this would be dropped at once: by age, or because the store is full.
    fn horizon(&self) -> Micros {
        let age = Micros::try_from(self.config.retain_age.as_micros()).unwrap_or(Micros::MAX);
        self.clock.horizon(crate::store::system_time(), age, self.store.horizon())
    }

    /// Tells the planner what changed in the store since it last looked.
    fn look_at_store(&mut self, now: Instant) {
        let at_start = !std::mem::replace(&mut self.looked, true);
        for change in self.store.changes() {
            if let Change::Log(key, LogView { forked: Some(from), .. }) = &change {
                let name = self.presence.peer(key.origin).map(|peer| peer.beacon.name.clone());
                let news = self.teller.forked(*key, name, *from, at_start);
                self.news(news);
            }
            match change {
                Change::Log(key, view) => self.plan(Event::Own(key, serve::own(&view)), now),
                Change::Forgotten(origin, log) => self.plan(Event::Forgotten(origin, log), now),
                Change::Gone(key) => self.plan(Event::Gone(key), now),
            }
        }
    }

    /// Hands the planner of repair an event and does what it decides.
    fn plan(&mut self, event: Event<'_>, now: Instant) {
        let effects = self.planner().handle(event, now);
        effects.into_iter().for_each(|effect| self.repair_effect(effect, now));
    }

    fn planner(&self) -> MutexGuard<'_, Repair> {
        self.repair.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn done(&mut self, done: Done) {
        match done {
            // Whoever asked may be gone; then nobody wants the answer.
            Done::Answer(channel, frame) => {
                self.shared.counters.answered(frame.len());
                let _ = self.swarm.behaviour_mut().repair.send_response(channel, frame);
            }
            Done::Fetched(fetched) => self.fetched(&fetched),
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Replicated(key, span, reply) => self.ask_whether_held(key, span, reply),
            Command::Sources(peer, ask, reply) => self.ask_for_sources(peer, ask, reply),
        }
    }

    /// Notes what a peer did that none should, and cuts it off where that was too much.
    fn offend(&mut self, peer: Origin, offence: Offence, now: Instant) {
        if self.conduct.offend(peer, offence, now) {
            self.shared.counters.cut();
            tracing::warn!(%peer, "A peer {} and is cut off for a while", offence.words());
            self.news(News::Cut { peer, what: offence.words() });
            self.disconnect(peer);
        }
    }

    /// Closes all connections to a peer.
    fn disconnect(&mut self, peer: Origin) {
        if let Some(peer) = super::peers::peer_id(peer) {
            let _ = self.swarm.disconnect_peer_id(peer);
        }
    }

    /// Says what happened, for the events of the API.
    fn news(&self, news: impl Into<Option<News>>) {
        if let Some(news) = news.into() {
            // Whoever listens is behind: the state itself is shown all the same.
            let _ = self.shared.news.try_send(news);
        }
    }

    /// Signs what this node says of itself.
    fn beacon(&mut self, leaving: bool) -> Bytes {
        self.sequence += 1;
        let beacon: Beacon = self.describe(leaving);
        beacon.sign(&self.key).into()
    }

    async fn leave(&mut self) {
        if self.members.is_empty() {
            return;
        }
        self.speak(true);
        let end = tokio::time::sleep(LEAVING);
        tokio::pin!(end);
        loop {
            tokio::select! {
                () = &mut end => return,
                event = self.swarm.select_next_some() => self.swarm_event(event),
            }
        }
    }

    /// The question for a range, or whether it is held.
    fn ask(key: LogKey, span: Span, most: u32) -> Ask {
        Ask { log: key, from: span.from, to: span.to, most }
    }
}
