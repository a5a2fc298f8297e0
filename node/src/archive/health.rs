//! How the archive does: whether Cassandra answers, how far it is behind, and what was wrong last.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anode_shared::status::{Component, State};
use anode_shared::time::{Micros, to_rfc3339};
use serde_json::{Value, json};

use super::board::Lag;
use super::session::Session;

/// How long nothing must have worked for Cassandra to count as lost: a request that is late once is tried again.
const LOST_AFTER: Duration = Duration::from_secs(3);
/// How old what is not archived may be before somebody should look.
const LATE: Micros = 60 * 1_000_000;

/// How the archive does.
#[derive(Debug)]
pub(super) struct Health(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    /// Since when it does not work, and why.
    trouble: Option<(Instant, String)>,
    worked: Instant,
    /// What was wrong last, and when.
    last: Option<(String, Micros)>,
    errors: u64,
}

/// What a component's words are made of.
#[derive(Debug)]
pub(super) struct Figures<'a> {
    pub(super) session: Option<&'a Session>,
    pub(super) lag: Lag,
    pub(super) now: Micros,
    /// Records that the store dropped unarchived: since the start, and of them since the archive had last caught up.
    pub(super) dropped: (u64, u64),
    pub(super) counts: Vec<(&'static str, Value)>,
}

impl Health {
    pub(super) fn new(now: Instant) -> Self {
        Self(Mutex::new(Inner { trouble: None, worked: now, last: None, errors: 0 }))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something failed, at once for good where `surely`. Says whether it is news that nothing works.
    pub(super) fn fails(&self, words: &str, surely: bool, now: Instant, when: Micros) -> bool {
        let mut inner = self.lock();
        inner.errors += 1;
        inner.last = Some((words.to_owned(), when));
        if let Some((_, known)) = &mut inner.trouble {
            words.clone_into(known);
            return false;
        }
        let lost = surely || now.saturating_duration_since(inner.worked) >= LOST_AFTER;
        if lost {
            inner.trouble = Some((now, words.to_owned()));
        }
        lost
    }

    /// It works. Says whether that is news.
    pub(super) fn works(&self, now: Instant) -> bool {
        let mut inner = self.lock();
        inner.worked = now;
        inner.trouble.take().is_some()
    }

    /// How many requests failed.
    pub(super) fn errors(&self) -> u64 {
        self.lock().errors
    }

    /// How long nothing has worked.
    pub(super) fn lost_for(&self, now: Instant) -> Option<Duration> {
        self.lock().trouble.as_ref().map(|(since, _)| now.saturating_duration_since(*since))
    }

    /// How the archive is.
    pub(super) fn component(&self, figures: &Figures<'_>) -> Component {
        let inner = self.lock();
        let Figures { session, lag, now, dropped, counts } = figures;
        let age = lag.oldest.map_or(0, |oldest| now.saturating_sub(oldest));
        let behind = if lag.records > 0 {
            format!("; {} records wait, the oldest for {} s", lag.records, age / 1_000_000)
        } else {
            String::new()
        };
        let (state, detail) = if dropped.1 > 0 {
            let words = format!(
                "{} records were dropped before they were archived, since the store is full: mend Cassandra, or raise --retain-bytes",
                dropped.1
            );
            let why = inner.trouble.as_ref().map(|(_, why)| format!(" ({why})")).unwrap_or_default();
            (State::Down, Some(words + &why))
        } else {
            match (&inner.trouble, session) {
                (Some((_, trouble)), _) => (State::Degraded, Some(format!("{trouble}{behind}"))),
                (None, None) => (State::Degraded, Some(format!("connecting to Cassandra{behind}"))),
                (None, Some(_)) if age > LATE => (State::Degraded, Some(format!("catching up{behind}"))),
                (None, Some(_)) => (State::Ok, None),
            }
        };
        let mut shown = BTreeMap::from([
            ("errors".to_owned(), json!(inner.errors)),
            ("lag_records".to_owned(), json!(lag.records)),
            ("lag_logs".to_owned(), json!(lag.logs)),
            ("lag_ms".to_owned(), json!(age / 1_000)),
            ("dropped_unarchived".to_owned(), json!(dropped.0)),
        ]);
        shown.extend(counts.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        if let Some((words, when)) = &inner.last {
            shown.insert("last_error".to_owned(), json!(words));
            shown.insert("last_error_at".to_owned(), json!(to_rfc3339(*when)));
        }
        if let Some(session) = session {
            shown.insert("keyspace".to_owned(), json!(session.keyspace()));
            shown.insert("keyspace_id".to_owned(), json!(format!("{:?}", session.id())));
            shown.insert("release".to_owned(), json!(session.release()));
            shown.insert("ttl_s".to_owned(), json!(session.ttl().map(|ttl| ttl.as_secs())));
        }
        Component { state, detail, since: String::new(), figures: shown }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(health: &Health, lag: Lag, dropped: (u64, u64)) -> Component {
        health.component(&Figures { session: None, lag, now: 100_000_000, dropped, counts: Vec::new() })
    }

    #[test]
    fn it_counts_as_lost_once_nothing_works_for_a_while() {
        let start = Instant::now();
        let health = Health::new(start);
        for (surely, after, lost) in
            [(false, 1, false), (false, 2, false), (false, 3, true), (true, 4, false)]
        {
            let now = start + Duration::from_secs(after);
            assert_eq!(health.fails("late", surely, now, 1), lost, "after {after} s");
        }
        assert_eq!(health.lost_for(start + Duration::from_secs(10)), Some(Duration::from_secs(7)));
        assert!(
            health.works(start + Duration::from_secs(10)) && !health.works(start + Duration::from_secs(11))
        );
        assert!(!health.fails("late", false, start + Duration::from_secs(12), 1));
        assert!(health.fails("refused", true, start + Duration::from_secs(12), 1));
    }

    #[test]
    fn it_says_what_waits_and_what_is_lost() {
        let health = Health::new(Instant::now());
        health.fails("no Cassandra answers", true, Instant::now(), 7);
        let lag = Lag { records: 12, logs: 1, oldest: Some(70_000_000) };
        let away = component(&health, lag, (0, 0));
        assert_eq!(away.state, State::Degraded);
        assert_eq!(away.detail.unwrap(), "no Cassandra answers; 12 records wait, the oldest for 30 s");
        assert_eq!((&away.figures["lag_records"], &away.figures["lag_ms"]), (&json!(12), &json!(30_000)));
        let down = component(&health, lag, (9, 5));
        assert_eq!((down.state, &down.figures["dropped_unarchived"]), (State::Down, &json!(9)));
        assert!(down.detail.unwrap().starts_with("5 records were dropped before they were archived"));
        health.works(Instant::now());
        assert_eq!(component(&health, Lag::default(), (9, 0)).state, State::Degraded, "not connected yet");
    }
}
