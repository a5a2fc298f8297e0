//! What a source is doing: a machine of what happened, without a clock or a socket. Its state comes from the last data.

use std::time::{Duration, Instant};

use anode_shared::source::SourceState;
use anode_shared::time::Micros;

use super::backoff;

/// How long a refused login is left alone: tokens are renewed by people, and lock-outs count attempts.
const AUTH_WAIT: Duration = Duration::from_secs(60);

/// A moment: for deadlines, and as it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    /// By the clock that never steps.
    pub(super) at: Instant,
    /// By the clock on the wall.
    pub(super) wall: Micros,
}

impl Moment {
    /// The wall's time after a wait from here.
    pub(super) fn after(&self, wait: Duration) -> Micros {
        self.wall.saturating_add(u64::try_from(wait.as_micros()).unwrap_or(u64::MAX))
    }
}

/// An attempt that failed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Failing {
    /// Why, in words.
    pub(super) reason: String,
    /// Whether the upstream refused who asks (401, 403).
    pub(super) auth: bool,
    /// How long the upstream asks to be left alone.
    pub(super) retry_after: Option<Duration>,
    /// The shortest wait that makes sense, whatever the backoff says.
    pub(super) at_least: Duration,
}

/// What a source is doing.
#[derive(Debug, Clone)]
pub(super) struct Machine {
    state: SourceState,
    since: Micros,
    reason: Option<String>,
    next: Option<Micros>,
    failures: u32,
    stale_after: Duration,
    /// Since when data is waited for: the last data, or the opening of a connection after it.
    waiting: Instant,
    /// Messages since then that made no record.
    idle: u32,
}

impl Machine {
    /// A source that begins to be read.
    pub(super) fn new(stale_after: Duration, now: Moment) -> Self {
        Self {
            state: SourceState::Connecting,
            since: now.wall,
            reason: None,
            next: None,
            failures: 0,
            stale_after,
            waiting: now.at,
            idle: 0,
        }
    }

    /// What it is doing.
    pub(super) fn state(&self) -> SourceState {
        self.state
    }

    /// Since when.
    pub(super) fn since(&self) -> Micros {
        self.since
    }

    /// Why, where there is something to say.
    pub(super) fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// When it is asked or connected next.
    pub(super) fn next(&self) -> Option<Micros> {
        self.next
    }

    /// Notes when it is asked or connected next.
    pub(super) fn plan(&mut self, next: Option<Micros>) {
        self.next = next;
    }

    fn turn(&mut self, state: SourceState, reason: Option<String>, now: Moment) {
        if self.state != state {
            (self.state, self.since) = (state, now.wall);
        }
        self.reason = reason;
    }

    /// A connection is open, and has given nothing yet.
    pub(super) fn opened(&mut self, now: Moment) {
        (self.waiting, self.next, self.idle) = (now.at, None, 0);
        match self.state {
            // An open socket is no news to who was live, and no proof to who was stale.
            SourceState::Live | SourceState::Stale => {}
            _ => self.turn(SourceState::Connecting, None, now),
        }
    }

    /// A good answer came, with something new in it or not.
    pub(super) fn answered(&mut self, now: Moment) {
        (self.failures, self.waiting, self.next, self.idle) = (0, now.at, None, 0);
        self.turn(SourceState::Live, None, now);
    }

    /// A message came that made no record: a heartbeat, mostly. It proves the connection and not the data.
    pub(super) fn idled(&mut self) {
        self.idle = self.idle.saturating_add(1);
    }

    /// A poll was answered in good form, and nothing could be made of it. It proves the upstream and not the data: what
    /// was wrong with the upstream is over, and data is waited for as since the last.
    pub(super) fn reached(&mut self, now: Moment) {
        (self.failures, self.next) = (0, None);
        self.idled();
        if matches!(self.state, SourceState::BackingOff | SourceState::AuthFailed | SourceState::Invalid) {
            self.turn(SourceState::Connecting, None, now);
        }
    }

    /// An attempt failed, or a connection broke. Gives how long to wait; `random` is drawn evenly from 0 to 1.
    pub(super) fn failed(&mut self, failing: Failing, random: f64, now: Moment) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let wait = match failing.retry_after {
            Some(retry_after) => backoff::obey(retry_after, random),
            None if failing.auth => AUTH_WAIT + backoff::wait(1, random),
            None => backoff::wait(self.failures, random),
        };
        let wait = wait.max(failing.at_least);
        let state = if failing.auth { SourceState::AuthFailed } else { SourceState::BackingOff };
        self.turn(state, Some(failing.reason), now);
        self.next = Some(now.after(wait));
        wait
    }

    /// When the source becomes stale, unless data comes.
    pub(super) fn stale_at(&self) -> Instant {
        self.waiting + self.stale_after
    }

    /// Lets time pass. True where the source has just become stale, or is so again after another attempt.
    pub(super) fn late(&mut self, now: Moment) -> bool {
        if now.at < self.stale_at() || !self.waits() {
            return false;
        }
        let seconds = self.stale_after.as_secs_f64();
        let reason = match self.idle {
            0 => format!("no data for {seconds} s"),
            1 => format!("no record for {seconds} s: a message came and made none"),
            many => format!("no record for {seconds} s: {many} messages came and made none"),
        };
        self.turn(SourceState::Stale, Some(reason), now);
        true
    }

    /// Whether data is waited for.
    fn waits(&self) -> bool {
        matches!(self.state, SourceState::Connecting | SourceState::Live | SourceState::Stale)
    }

    /// The definition cannot run as it stands.
    pub(super) fn invalid(&mut self, reason: String, now: Moment) {
        self.next = None;
        self.turn(SourceState::Invalid, Some(reason), now);
    }

    /// It is not read.
    pub(super) fn paused(&mut self, now: Moment) {
        self.next = None;
        self.turn(SourceState::Paused, None, now);
    }
}

#[cfg(test)]
mod tests;
