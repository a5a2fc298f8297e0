//! The archive: every record ends up in Cassandra, and what the store no longer has is read from there.
//!
//! One Cassandra may serve many nodes: who archives a log is decided by [`owner`], how far it is archived stands in the
//! keyspace ([`schema`]). What decides is pure; [`session`] speaks with Cassandra.

pub mod schema;
mod session;
mod trouble;
mod health;
pub mod owner;
pub mod plan;
pub mod rows;
mod seen;
mod latest;
mod board;
mod pen;
mod writer;
mod verify;
mod asked;
mod ids;
mod topics;
mod shelf;
mod fetch;
mod lender;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anode_shared::archive::{ArchivedLog, Verified};
use anode_shared::ids::{Hash, LogKey, Origin};
use anode_shared::status::{Component, Level, State};
use serde_json::json;
use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use session::{Door, Session};
pub use topics::Named;
pub use trouble::Trouble;

use crate::store::{Archiver, Store, system_time};
use asked::Asked;
use board::{Board, Lag};
use health::{Figures, Health};
use lender::Lender;
use pen::Pen;
use seen::Seen;
use shelf::Shelf;
use writer::Writer;

/// The first and the longest pause between attempts to connect: a Cassandra that was started anew is found soon.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(2));
/// How often it is tried whether Cassandra takes connections again where none is left: the driver's own attempts come to
/// lie 10 s apart, which can only be changed in builds with `--cfg scylla_unstable`.
const KNOCKS: Duration = Duration::from_millis(500);
/// How often it is looked how much waits.
const MEASURE: Duration = Duration::from_secs(1);
/// Of how many logs that lag the oldest record is looked for.
const MEASURED: usize = 16;
/// How long Cassandra must have been lost for others to archive this node's logs, if they can.
const WITHDRAW: Duration = Duration::from_secs(60);

/// Says what happened: level, kind, and the same in a sentence.
pub type Tell = Box<dyn Fn(Level, &str, &str) + Send + Sync>;
/// Says which other nodes are there and archive, and the keyspace of each.
pub type Archivers = Box<dyn Fn() -> Vec<(Origin, Hash)> + Send + Sync>;

/// What the archive did since the start.
#[derive(Debug, Default)]
#[expect(missing_docs, reason = "each is named for what it counts")]
pub struct Counts {
    pub records: AtomicU64,
    pub bytes: AtomicU64,
    pub rows: AtomicU64,
    pub statements: AtomicU64,
    pub lent: AtomicU64,
}

/// The archive, for those who ask it. Clones are handles of the same one.
#[derive(Debug, Clone)]
pub struct Archive(Option<Arc<Shared>>);

/// What handles and tasks share.
pub(crate) struct Shared {
    door: Door,
    session: watch::Sender<Option<Arc<Session>>>,
    health: Health,
    board: Mutex<Board>,
    seen: Mutex<Seen>,
    shelf: Mutex<Shelf>,
    began: Instant,
    counts: Counts,
    /// Moves whenever more is archived.
    progress: watch::Sender<u64>,
    /// How many wait for records to be archived.
    waiting: AtomicUsize,
    /// Turns of those who look for topics.
    looking: Semaphore,
    kick: Notify,
    with: OnceLock<With>,
    /// Whether there was no connection when something was last tried.
    cut: AtomicBool,
}

/// The stages that it works with.
struct With {
    store: Store,
    archivers: Archivers,
    tell: Tell,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("health", &self.health).finish_non_exhaustive()
    }
}

impl Archive {
    /// None is configured.
    pub fn off() -> Self {
        Self(None)
    }

    /// The archive of a node, which does nothing until it is started.
    pub fn new(door: Door, me: Origin) -> Self {
        Self(Some(Arc::new(Shared {
            door,
            session: watch::Sender::new(None),
            health: Health::new(Instant::now()),
            board: Mutex::new(Board::new(me)),
            seen: Mutex::default(),
            shelf: Mutex::default(),
            began: Instant::now(),
            counts: Counts::default(),
            progress: watch::Sender::new(0),
            waiting: AtomicUsize::new(0),
            looking: Semaphore::new(topics::LOOKING),
            kick: Notify::new(),
            with: OnceLock::new(),
            cut: AtomicBool::new(false),
        })))
    }

    /// What the store asks.
    pub fn archiver(&self) -> Arc<dyn Archiver> {
        match &self.0 {
            Some(shared) => Arc::new(Asked(shared.clone())),
            None => Arc::new(crate::store::NoArchive),
        }
    }

    /// Connects, again and again until it succeeds, and archives.
    pub fn start(
        &self,
        store: Store,
        archivers: Archivers,
        tell: Tell,
        tracker: &TaskTracker,
        cancel: &CancellationToken,
    ) {
        let Some(shared) = &self.0 else { return };
        let (origin, store_to_lend) = (store.origin(), store.clone());
        if shared.with.set(With { store, archivers, tell }).is_err() {
            return;
        }
        let (measuring, stop) = (shared.clone(), cancel.clone());
        tracker.spawn(async move { stop.run_until_cancelled(measuring.measure()).await });
        let (knowing, stop) = (shared.clone(), cancel.clone());
        tracker.spawn(async move { stop.run_until_cancelled(knowing.know_logs()).await });
        let (lender, stop) = (Lender::new(shared.clone(), store_to_lend), cancel.clone());
        tracker.spawn(async move { stop.run_until_cancelled(lender.run()).await });
        tracker.spawn(shared.clone().run(origin.to_string(), tracker.clone(), cancel.clone()));
    }

    /// The session, while there is one.
    pub fn session(&self) -> Option<Arc<Session>> {
        self.0.as_ref()?.session.borrow().clone()
    }

    /// The id of the keyspace that this node archives to, once it is known, unless it was lost for long.
    pub fn keyspace_id(&self) -> Option<Hash> {
        let lost = self.0.as_ref()?.health.lost_for(Instant::now());
        let id = self.session()?.id();
        lost.is_none_or(|lost| lost < WITHDRAW).then_some(id)
    }

    /// What it did since the start.
    pub fn counts(&self) -> Option<&Counts> {
        self.0.as_ref().map(|shared| &shared.counts)
    }

    /// How many records wait, and how old the oldest of them is, in microseconds.
    pub fn lag(&self) -> Option<(u64, u64)> {
        let lag = self.0.as_ref()?.board().lag;
        Some((lag.records, lag.oldest.map_or(0, |oldest| system_time().saturating_sub(oldest))))
    }

    /// How many requests failed.
    pub fn errors(&self) -> u64 {
        self.0.as_ref().map_or(0, |shared| shared.health.errors())
    }

    /// Whether Cassandra does not answer at present.
    pub fn is_lost(&self) -> bool {
        self.0.as_ref().is_some_and(|shared| shared.health.lost_for(Instant::now()).is_some())
    }

    /// How far logs are archived, so many behind one, and whether there are more.
    pub fn logs(&self, after: Option<LogKey>, limit: usize) -> (Vec<ArchivedLog>, bool) {
        self.0.as_ref().map_or_else(|| (Vec::new(), false), |shared| shared.board().logs(after, limit))
    }

    /// Compares records of a log with what Cassandra holds, as far as one answer goes.
    ///
    /// # Errors
    /// When there is no Cassandra to compare with.
    pub async fn verify(&self, store: &Store, key: LogKey, from: u64, to: u64) -> Result<Verified, Trouble> {
        let session = self.session().ok_or_else(|| match &self.0 {
            Some(_) => {
                Trouble::Failed("there is no connection to Cassandra; look at `anode status`".to_owned())
            }
            None => Trouble::Failed("the node has no archive: start it with --cassandra HOST".to_owned()),
        })?;
        Box::pin(verify::verify(&session, store, key, from, to)).await
    }

    /// How the archive is, as a component of this node.
    pub fn component(&self) -> Component {
        match &self.0 {
            Some(shared) => shared.component(),
            None => Component {
                state: State::Off,
                detail: Some("no archive is configured".to_owned()),
                since: String::new(),
                figures: BTreeMap::new(),
            },
        }
    }
}

impl Shared {
    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, level: Level, kind: &str, words: &str) {
        if let Some(with) = self.with.get() {
            (with.tell)(level, kind, words);
        }
    }

    /// Connects and archives for ever; begins anew where Cassandra was lost for long.
    async fn run(self: Arc<Self>, me: String, tracker: TaskTracker, cancel: CancellationToken) {
        let Some(store) = self.with.get().map(|with| with.store.clone()) else { return };
        while let Some(pen) = cancel.run_until_cancelled(self.connect(&me)).await {
            Writer::new(self.clone(), store.clone(), pen, tracker.clone()).run(&cancel).await;
            if cancel.is_cancelled() {
                return;
            }
        }
    }

    /// Tries until there is a session that can write.
    async fn connect(self: &Arc<Self>, me: &str) -> Pen {
        let mut pause = PAUSES.0;
        loop {
            match Box::pin(self.open(me)).await {
                Ok(pen) => {
                    self.worked();
                    return pen;
                }
                Err(trouble) => self.failed_surely(&trouble),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    async fn open(self: &Arc<Self>, me: &str) -> Result<Pen, Trouble> {
        let session = Arc::new(Session::open(&self.door).await?);
        let pen = Pen::new(session.clone(), self.clone(), me.to_owned()).await?;
        self.session.send_replace(Some(session));
        Ok(pen)
    }

    fn worked(&self) {
        self.cut.store(false, Relaxed);
        if self.health.works(Instant::now()) {
            tracing::info!("Cassandra answers again");
            self.tell(Level::Info, "archive_back", "Cassandra answers again; what waited is being archived");
        }
    }

    fn failed(&self, trouble: &Trouble) {
        // What Cassandra itself refuses is no matter of waiting.
        self.note(trouble, !matches!(trouble, Trouble::Cut(_) | Trouble::Failed(_)));
    }

    fn failed_surely(&self, trouble: &Trouble) {
        self.note(trouble, true);
    }

    fn note(&self, trouble: &Trouble, surely: bool) {
        self.cut.store(matches!(trouble, Trouble::Cut(_)), Relaxed);
        let words = trouble.to_string();
        if self.health.fails(&words, surely, Instant::now(), system_time()) {
            tracing::warn!(%trouble, "Lost the archive; trying again");
            self.tell(Level::Warn, "archive_lost", &words);
        }
    }

    /// Waits until no connection is left and Cassandra takes new ones.
    async fn knock(&self) {
        loop {
            tokio::time::sleep(KNOCKS).await;
            let hosts = if self.cut.load(Relaxed) { &self.door.config.hosts[..] } else { &[] };
            for host in hosts {
                let knock = tokio::net::TcpStream::connect(host.to_string());
                if matches!(tokio::time::timeout(KNOCKS, knock).await, Ok(Ok(_))) {
                    return;
                }
            }
        }
    }

    /// Learns what changed in the store, and who is there.
    fn look(&self) {
        let Some(with) = self.with.get() else { return };
        let (changes, there) = (with.store.changes_to_archive(), (with.archivers)());
        let keyspace = self.session.borrow().as_ref().map(|session| session.id());
        let mut board = self.board();
        board.change(changes);
        board.meet(keyspace, &there, Instant::now());
    }

    /// Looks how much waits, now and then.
    async fn measure(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(MEASURE);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut lost = 0;
        loop {
            ticks.tick().await;
            self.look();
            let shared = self.clone();
            let _ = tokio::task::spawn_blocking(move || shared.measure_once()).await;
            let dropped = self.with.get().map_or(0, |with| with.store.dropped_unarchived());
            if dropped > lost && lost == self.board().dropped_then {
                let words = format!(
                    "{} records were dropped before they were archived, since the store is full",
                    dropped - lost
                );
                self.tell(Level::Error, "unarchived_dropped", &words);
            }
            lost = dropped;
        }
    }

    fn measure_once(&self) {
        let Some(with) = self.with.get() else { return };
        let lagging = self.board().lagging();
        let oldest =
            lagging.iter().take(MEASURED).filter_map(|(key, _, from)| with.store.time_at(*key, *from));
        let lag = Lag {
            records: lagging.iter().fold(0, |all, (_, records, _)| all.saturating_add(*records)),
            logs: lagging.len(),
            oldest: oldest.min(),
        };
        let mut board = self.board();
        board.lag = lag;
        if lag.records == 0 && self.session.borrow().is_some() {
            board.dropped_then = with.store.dropped_unarchived();
        }
    }

    fn component(&self) -> Component {
        let (lag, then, holes) = {
            let board = self.board();
            let holes = board.progress.values().flat_map(|progress| &progress.holes);
            let holes = holes.fold(0_u64, |all, hole| all.saturating_add(hole.count()));
            (board.lag, board.dropped_then, holes)
        };
        let dropped = self.with.get().map_or(0, |with| with.store.dropped_unarchived());
        let session = self.session.borrow().clone();
        let count = |count: &AtomicU64| json!(count.load(Relaxed));
        self.health.component(&Figures {
            session: session.as_deref(),
            lag,
            now: system_time(),
            dropped: (dropped, dropped.saturating_sub(then)),
            counts: vec![
                ("records", count(&self.counts.records)),
                ("bytes", count(&self.counts.bytes)),
                ("rows", count(&self.counts.rows)),
                ("missing_records", json!(holes)),
                ("batches_lent", count(&self.counts.lent)),
            ],
        })
    }
}
