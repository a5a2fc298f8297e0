//! One source as all others see it while its task reads: figures behind a lock, and who is told when they change.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anode_shared::source::{Beat, SourceDefinition, SourceError, SourceKind, SourceState, SourceView, Stage};
use anode_shared::status::Level;
use anode_shared::time::to_rfc3339;

use super::figures::Figures;
use super::flood::Flood;
use super::state::{Failing, Machine, Moment};
use super::totals::{Told, Totals};
use crate::store::system_time;

/// What all sources share of being watched.
pub(super) struct Notice {
    /// Rises with every change of any source.
    version: AtomicU64,
    /// Counts over all sources.
    pub(super) totals: Totals,
    told: Box<Told>,
    /// Of sources that go down, and of those that go up.
    floods: Mutex<[Flood; 2]>,
}

impl fmt::Debug for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notice").field("totals", &self.totals).finish_non_exhaustive()
    }
}

impl Notice {
    /// Nothing has happened yet.
    pub(super) fn new(told: Box<Told>) -> Self {
        Self { version: AtomicU64::new(0), totals: Totals::default(), told, floods: Mutex::default() }
    }

    /// Tells that something happened.
    pub(super) fn tell(&self, level: Level, kind: &str, detail: &str) {
        (self.told)(level, kind, detail);
    }

    /// Tells that a source went up or down. Only so many are told one by one.
    fn tell_whether_up(&self, is_up: bool, detail: &str) {
        let admitted = self.floods()[usize::from(is_up)].admit(system_time());
        if admitted && is_up {
            self.tell(Level::Info, "source_up", detail);
        } else if admitted {
            self.tell(Level::Warn, "source_down", detail);
        }
    }

    /// Tells of those together that were not told one by one.
    pub(super) fn tell_of_others(&self) {
        let now = system_time();
        let [down, up] = {
            let [down, up] = &mut *self.floods();
            [down.left_out(now), up.left_out(now)]
        };
        if let Some(count) = down {
            self.tell(Level::Warn, "sources_down", &format!("{count} more sources went down"));
        }
        if let Some(count) = up {
            self.tell(Level::Info, "sources_up", &format!("{count} more sources are live"));
        }
    }

    fn floods(&self) -> MutexGuard<'_, [Flood; 2]> {
        self.floods.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the newest change.
    pub(super) fn current(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// A number for a change.
    pub(super) fn next(&self) -> u64 {
        self.version.fetch_add(1, Ordering::AcqRel) + 1
    }
}

/// This moment.
pub(super) fn now() -> Moment {
    Moment { at: Instant::now(), wall: system_time() }
}

/// One source.
#[derive(Debug)]
pub(super) struct Live {
    /// What is read, and how.
    pub(super) definition: Arc<SourceDefinition>,
    notice: Arc<Notice>,
    figures: Mutex<Figures>,
    version: AtomicU64,
    /// Whether it was last told that the source is up.
    up: Mutex<Option<bool>>,
}

impl Live {
    /// A source that is about to be read. It goes on counting where the one `before` it, of the same name, has ended.
    pub(super) fn new(definition: Arc<SourceDefinition>, notice: Arc<Notice>, before: Option<&Self>) -> Self {
        let mut machine = Machine::new(super::stale_after(&definition), now());
        if definition.paused {
            machine.paused(now());
        }
        let figures = match before {
            Some(before) if before.definition.kind == definition.kind => before.figures().go_on(machine),
            _ => Figures::new(machine),
        };
        let version = notice.next().into();
        Self { definition, notice, figures: Mutex::new(figures), version, up: Mutex::default() }
    }

    /// What is known of it.
    pub(super) fn figures(&self) -> MutexGuard<'_, Figures> {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts over all sources.
    pub(super) fn totals(&self) -> &Totals {
        &self.notice.totals
    }

    /// Whether data is waited for.
    pub(super) fn waits(&self) -> bool {
        matches!(self.figures().machine.state(), SourceState::Live | SourceState::Connecting)
    }

    /// How it is shown, masked, where it has changed since.
    pub(super) fn since(&self, version: u64) -> Option<SourceView> {
        let figures = self.figures();
        // A change takes its number under the same lock: none that counts as told can be missed here.
        let changed = self.version.load(Ordering::Acquire) > version;
        let status = changed.then(|| figures.status(system_time()))?;
        drop(figures);
        Some(SourceView { definition: self.definition.masked(), status, node: None })
    }

    /// How it is shown; `masked` for whoever has not the admin right.
    pub(super) fn view(&self, masked: bool) -> SourceView {
        let definition = if masked { self.definition.masked() } else { (*self.definition).clone() };
        let status = self.figures().status(system_time());
        SourceView { definition, status, node: None }
    }

    /// Whether beats stand for seconds of a connection rather than for polls.
    fn by_second(&self) -> bool {
        self.definition.kind != SourceKind::Rest
    }

    /// Changes the figures, and tells of it.
    fn change<T>(&self, how: impl FnOnce(&mut Figures, Moment) -> T) -> T {
        let now = now();
        let mut figures = self.figures();
        let result = how(&mut figures, now);
        let (state, reason) = (figures.machine.state(), figures.machine.reason().map(str::to_owned));
        self.version.store(self.notice.next(), Ordering::Release);
        drop(figures);
        self.tell_whether_up(state, reason.as_deref());
        result
    }

    fn tell_whether_up(&self, state: SourceState, reason: Option<&str>) {
        let is_up = match state {
            SourceState::Live => true,
            SourceState::Stale | SourceState::BackingOff | SourceState::AuthFailed | SourceState::Invalid => {
                false
            }
            SourceState::Connecting | SourceState::Paused => return,
        };
        let mut up = self.up.lock().unwrap_or_else(PoisonError::into_inner);
        if up.replace(is_up) == Some(is_up) {
            return;
        }
        drop(up);
        let name = &self.definition.name;
        let detail = if is_up {
            format!("{name} is live")
        } else {
            format!("{name} is {}: {}", state.as_str(), reason.unwrap_or("no reason is known"))
        };
        self.notice.tell_whether_up(is_up, &detail);
    }

    /// A connection is open, and has given nothing yet.
    pub(super) fn opened(&self) {
        self.change(|figures, now| figures.machine.opened(now));
    }

    /// A good answer came: `bytes` of it, and how long it took where that is known.
    pub(super) fn answered(&self, bytes: usize, took: Option<std::time::Duration>) {
        Totals::add(&self.totals().bytes, self.definition.kind, bytes);
        let by_second = self.by_second();
        self.change(|figures, now| {
            figures.bytes += bytes as u64;
            if let Some(took) = took {
                figures.latencies.push(took);
            }
            figures.machine.answered(now);
            figures.beat(Beat::Data, by_second, now);
        });
    }

    /// A message came that made no record, be it by errors.
    pub(super) fn idled(&self, bytes: usize, erred: bool) {
        Totals::add(&self.totals().bytes, self.definition.kind, bytes);
        let (by_second, beat) = (self.by_second(), if erred { Beat::Error } else { Beat::Quiet });
        self.change(|figures, now| {
            figures.bytes += bytes as u64;
            // A stream's state was its opening's to mend.
            if by_second {
                figures.machine.idled();
            } else {
                figures.machine.reached(now);
            }
            figures.beat(beat, by_second, now);
        });
    }

    /// A poll was answered with nothing new.
    pub(super) fn unchanged(&self, took: std::time::Duration) {
        self.totals().unchanged_polls.fetch_add(1, Ordering::Relaxed);
        self.change(|figures, now| {
            figures.latencies.push(took);
            figures.machine.answered(now);
            figures.beat(Beat::Quiet, false, now);
        });
    }

    /// Records were made and taken by the store.
    pub(super) fn made(&self, count: usize, payload: Option<&[u8]>) {
        Totals::add(&self.totals().records, self.definition.kind, count);
        self.change(|figures, now| figures.made(count, payload, now));
    }

    /// Something went wrong that stops nothing: records that could not be made.
    pub(super) fn erred(&self, stage: Stage, detail: String, field: Option<String>, count: u64) {
        self.totals().errors[self.definition.kind as usize].fetch_add(count, Ordering::Relaxed);
        let by_second = self.by_second();
        self.change(|figures, now| {
            figures.erred(SourceError { stage, detail, time: to_rfc3339(now.wall), field });
            figures.errors += count.saturating_sub(1);
            if by_second {
                figures.beat(Beat::Error, true, now);
            }
        });
    }

    /// An attempt failed. Gives how long to wait before the next.
    pub(super) fn failed(
        &self,
        stage: Stage,
        failing: Failing,
        field: Option<String>,
    ) -> std::time::Duration {
        Totals::add(&self.totals().errors, self.definition.kind, 1);
        let by_second = self.by_second();
        self.change(|figures, now| {
            let detail = failing.reason.clone();
            figures.erred(SourceError { stage, detail, time: to_rfc3339(now.wall), field });
            figures.beat(Beat::Error, by_second, now);
            figures.machine.failed(failing, rand::random(), now)
        })
    }

    /// The definition cannot run as it stands.
    pub(super) fn invalid(&self, detail: String, field: Option<String>) {
        Totals::add(&self.totals().errors, self.definition.kind, 1);
        self.change(|figures, now| {
            figures.erred(SourceError {
                stage: Stage::Definition,
                detail: detail.clone(),
                time: to_rfc3339(now.wall),
                field,
            });
            figures.machine.invalid(detail, now);
        });
    }

    /// Lets time pass; true where the source has just become stale.
    pub(super) fn late(&self) -> bool {
        self.change(|figures, now| figures.machine.late(now))
    }

    /// Notes when the source is asked or connected next.
    pub(super) fn plan(&self, wait: std::time::Duration) {
        self.change(|figures, now| figures.machine.plan(Some(now.after(wait))));
    }

    /// When it becomes stale unless data comes.
    pub(super) fn stale_at(&self) -> Instant {
        self.figures().machine.stale_at()
    }
}
