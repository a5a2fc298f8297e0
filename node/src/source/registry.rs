//! All sources of this node: registered, edited, paused and removed one by one, each without touching the others.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::ops::Bound;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};
use std::time::Duration;

use anode_shared::source::{FieldError, SourceDefinition, SourceKind, SourceTest, SourceView, Stage};
use futures_util::FutureExt as _;
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, warn};

use super::catalog::{Catalog, Stored};
use super::connector::Connector;
use super::gate::Gate;
use super::live::{Live, Notice};
use super::place::Bookmark;
use super::reading::Context;
use super::request::Http;
use super::secrets::Secrets;
use super::state::Failing;
use super::totals::Told;
use super::{interval, judge, task, tester};
use crate::store::Store;

mod component;
mod edit;
mod import;
mod passing;

pub use component::Census;

/// The most sources of a node: ten times what it is built for, and a list that still fits a page and a memory.
pub const MOST: usize = 10_000;
/// First polls after a start are spread over this at most, and over less where there are few.
const SPREAD: Duration = Duration::from_secs(5);
/// How far apart they lie where there are many.
const APART: Duration = Duration::from_millis(5);
/// How many definitions may be tried at once: each holds an answer of up to 8 MiB.
const TESTS: usize = 4;
/// Names of removed sources that are remembered for whoever watches: more than can be removed between two looks.
const REMOVED: usize = MOST;

/// What sources are made with.
pub struct Parts {
    /// Where records go.
    pub store: Store,
    /// How HTTP is asked.
    pub http: Http,
    /// How connections are made.
    pub connector: Connector,
    /// What references to secrets stand for.
    pub secrets: Secrets,
    /// The folder of definitions.
    pub dir: PathBuf,
    /// Hears what happens.
    pub told: Box<Told>,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// Why a source was not registered, changed or removed.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// Something is wrong with fields of the definition.
    #[error("the definition is wrong: {}", .0.iter().map(|error| format!("{}: {}", error.field, error.detail)).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<FieldError>),
    /// There is a source of this name.
    #[error("there is a source of this name already; PUT replaces it")]
    Taken,
    /// There is none.
    #[error("there is no source of this name")]
    Unknown,
    /// Its file is damaged, so that there is nothing to read.
    #[error("{0}")]
    Damaged(String),
    /// As many definitions are being tried as the node lets.
    #[error("{TESTS} definitions are being tried already; try again a little later")]
    Busy,
    /// There are as many as a node takes.
    #[error("the node has {MOST} sources already; remove some")]
    TooMany,
    /// The node is going down.
    #[error("the node is shutting down")]
    Stopping,
    /// The definition could not be kept.
    #[error("the definition could not be kept: {0:#}")]
    Storage(anyhow::Error),
}

/// What changed since a look.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Changes {
    /// What to ask with next time.
    pub version: u64,
    /// The sources that are new or changed, masked.
    pub sources: Vec<SourceView>,
    /// The names of those that are gone.
    pub removed: Vec<String>,
}

/// All sources of this node. Clones are handles of the same ones.
#[derive(Debug, Clone)]
pub struct Sources(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    context: Arc<Context>,
    catalog: Catalog,
    notice: Arc<Notice>,
    table: RwLock<Table>,
    /// The names of sources that are there for this run only.
    passing: std::sync::Mutex<HashSet<String>>,
    /// Held, each by name, while a source is registered, changed or removed.
    editing: Names,
    /// Lets few definitions be tried at once.
    tests: Semaphore,
    stop: CancellationToken,
    tracker: TaskTracker,
}

/// A lock for each name that is in use.
#[derive(Debug, Default)]
struct Names(std::sync::Mutex<BTreeMap<String, Weak<Mutex<()>>>>);

impl Names {
    fn of(&self, name: &str) -> Arc<Mutex<()>> {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = names.get(name).and_then(Weak::upgrade) {
            return lock;
        }
        names.retain(|_, lock| lock.strong_count() > 0);
        let lock = Arc::new(Mutex::new(()));
        names.insert(name.to_owned(), Arc::downgrade(&lock));
        lock
    }
}

#[derive(Debug, Default)]
struct Table {
    entries: BTreeMap<String, Entry>,
    removed: VecDeque<(u64, String)>,
}

#[derive(Debug)]
struct Entry {
    live: Arc<Live>,
    /// What is wrong with the file of its definition.
    damage: Option<String>,
    task: Option<Task>,
}

#[derive(Debug)]
struct Task {
    stop: CancellationToken,
    done: JoinHandle<()>,
}

impl Sources {
    /// Finds what was registered. Nothing is read before [`Sources::start`]. Blocks.
    ///
    /// # Errors
    /// When the folder of definitions cannot be had.
    pub fn open(parts: Parts) -> anyhow::Result<Self> {
        let Parts { store, http, connector, secrets, dir, told } = parts;
        let catalog = Catalog::open(dir)?;
        let stored = catalog.load()?;
        let context = Context { store, http, connector, secrets, gate: Gate::default() };
        let inner = Inner {
            context: Arc::new(context),
            catalog,
            notice: Arc::new(Notice::new(told)),
            table: RwLock::default(),
            passing: std::sync::Mutex::default(),
            editing: Names::default(),
            tests: Semaphore::new(TESTS),
            stop: CancellationToken::new(),
            tracker: TaskTracker::new(),
        };
        let sources = Self(Arc::new(inner));
        for Stored { definition, damage } in stored {
            sources.stand(definition, damage);
        }
        Ok(sources)
    }

    /// Puts a definition into the table, to be read once everything starts.
    fn stand(&self, definition: SourceDefinition, damage: Option<String>) {
        let name = definition.name.clone();
        let live = Arc::new(Live::new(Arc::new(definition), self.0.notice.clone(), None));
        if let Some(damage) = &damage {
            warn!(source = name, damage, "Found a damaged definition");
            live.invalid(damage.clone(), None);
        }
        self.write().entries.insert(name, Entry { live, damage, task: None });
    }

    /// Begins to read everything that is registered, spread over the first seconds.
    pub fn start(&self) {
        self.0.tracker.spawn(tell_of_others(self.0.notice.clone(), self.0.stop.clone()));
        let mut table = self.write();
        let spread = SPREAD.min(APART.saturating_mul(u32::try_from(table.entries.len()).unwrap_or(u32::MAX)));
        for entry in table.entries.values_mut().filter(|entry| entry.task.is_none() && entry.damage.is_none())
        {
            let most = match entry.live.definition.kind {
                SourceKind::Rest => interval(&entry.live.definition).min(spread),
                SourceKind::Sse | SourceKind::Websocket => spread,
            };
            entry.task = self.spawn(&entry.live, most.mul_f64(rand::random()));
        }
    }

    /// Stops reading. What was read is stored before this ends.
    pub async fn shutdown(&self) {
        self.0.stop.cancel();
        self.0.tracker.close();
        self.0.tracker.wait().await;
        self.forget_passing().await;
    }

    fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.0.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.0.table.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.read().entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sources by name, from the first behind `after`, at most `limit`; and whether there are more.
    pub fn list(&self, masked: bool, after: Option<&str>, limit: usize) -> (Vec<SourceView>, bool) {
        let table = self.read();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut entries = table.entries.range::<str, _>((from, Bound::Unbounded));
        let page = entries.by_ref().take(limit).map(|(_, entry)| entry.live.view(masked)).collect();
        (page, entries.next().is_some())
    }

    /// One source.
    pub fn get(&self, name: &str, masked: bool) -> Option<SourceView> {
        self.read().entries.get(name).map(|entry| entry.live.view(masked))
    }

    /// What changed since a version, masked; everything since 0.
    pub fn changes(&self, since: u64) -> Changes {
        let version = self.0.notice.current();
        let table = self.read();
        let sources = table.entries.values().filter_map(|entry| entry.live.since(since)).collect();
        let gone = table.removed.iter().filter(|(at, name)| *at > since && !table.entries.contains_key(name));
        let mut removed: Vec<String> = gone.map(|(_, name)| name.clone()).collect();
        removed.sort_unstable();
        removed.dedup();
        Changes { version, sources, removed }
    }

    /// What is wrong with a definition, expressions and address included.
    pub fn check(&self, definition: &SourceDefinition) -> Vec<FieldError> {
        judge::judge(definition, self.0.context.connector.guard())
    }

    /// Fetches once, or listens for some seconds; registers nothing.
    ///
    /// # Errors
    /// With the fields that are wrong, or when many are being tried.
    pub async fn test(&self, definition: SourceDefinition) -> Result<SourceTest, AddError> {
        let errors: Vec<FieldError> = definition.check();
        if !errors.is_empty() {
            return Err(AddError::Invalid(errors));
        }
        let Ok(_place) = self.0.tests.try_acquire() else { return Err(AddError::Busy) };
        Ok(tester::test(&self.0.context, definition).await)
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
    ) -> Result<T, AddError> {
        let done = tokio::task::spawn_blocking(work).await;
        done.unwrap_or_else(|error| Err(error.into())).map_err(AddError::Storage)
    }

    /// Keeps a definition, ends what reads the old one, and begins to read the new one.
    async fn put(&self, definition: SourceDefinition) -> Result<SourceView, AddError> {
        if !self.passes(&definition.name) {
            let (catalog, kept) = (self.0.catalog.clone(), definition.clone());
            self.blocking(move || catalog.save(&kept)).await?;
        }
        self.halt(&definition.name).await;
        Ok(self.begin(definition, Duration::ZERO))
    }

    /// Puts a definition into the table and begins to read it.
    fn begin(&self, definition: SourceDefinition, first: Duration) -> SourceView {
        let mut table = self.write();
        let name = definition.name.clone();
        let before = table.entries.get(&name).map(|entry| entry.live.clone());
        let live = Arc::new(Live::new(Arc::new(definition), self.0.notice.clone(), before.as_deref()));
        let task = self.spawn(&live, first);
        let view = live.view(false);
        table.entries.insert(name, Entry { live, damage: None, task });
        view
    }

    /// Ends what reads a source; its last records are stored when this ends.
    async fn halt(&self, name: &str) {
        let task = self.write().entries.get_mut(name).and_then(|entry| entry.task.take());
        if let Some(task) = task {
            task.stop.cancel();
            let _ = task.done.await;
        }
    }

    fn restart(&self, name: &str) {
        if let Some(entry) = self.write().entries.get_mut(name) {
            entry.task = self.spawn(&entry.live, Duration::ZERO);
        }
    }

    fn spawn(&self, live: &Arc<Live>, first: Duration) -> Option<Task> {
        if live.definition.paused {
            return None;
        }
        let stop = self.0.stop.child_token();
        let bookmark = Bookmark::new(self.0.catalog.dir(), &live.definition);
        let reading = supervise(self.0.context.clone(), live.clone(), bookmark, first, stop.clone());
        Some(Task { stop, done: self.0.tracker.spawn(reading) })
    }
}

/// Tells of events that were too many to be told one by one, until stopped.
async fn tell_of_others(notice: Arc<Notice>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(Duration::from_secs(1)) => notice.tell_of_others(),
        }
    }
}

/// Reads a source until it is stopped, also where something fails inside the node.
async fn supervise(
    context: Arc<Context>,
    live: Arc<Live>,
    bookmark: Bookmark,
    mut first: Duration,
    stop: CancellationToken,
) {
    loop {
        let reading = task::run(context.clone(), live.clone(), bookmark.clone(), first, stop.clone());
        if AssertUnwindSafe(reading).catch_unwind().await.is_ok() {
            return;
        }
        error!(source = live.definition.name, "Reading a source failed inside the node");
        let reason = "something failed inside the node while reading it; its log says what".to_owned();
        first = live.failed(Stage::Decode, Failing { reason, ..Failing::default() }, None);
        if stop.is_cancelled() {
            return;
        }
    }
}
