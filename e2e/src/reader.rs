//! A feed subscriber that comes back after every cut with its own form of cursor.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::checker::{Owed, Seen};
use crate::load::Target;
use crate::place::{Form, Place};
use crate::socket::{Frame, Socket};
use crate::words::Id;

/// A subscriber in the background.
#[derive(Debug)]
pub struct Reader {
    name: String,
    state: Arc<Mutex<State>>,
    tasks: JoinSet<()>,
}

#[derive(Debug)]
struct State {
    place: Place,
    caught_up: bool,
    connections: usize,
    last_key: String,
    /// How far each log has come.
    reached: BTreeMap<String, u64>,
    fault: Option<String>,
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Reader {
    /// Starts a subscriber of every topic, from the earliest record on.
    #[must_use]
    pub fn start(form: Form, target: &Target) -> Self {
        let state = State {
            place: Place::new(form),
            caught_up: false,
            connections: 0,
            last_key: String::new(),
            reached: BTreeMap::new(),
            fault: None,
        };
        let state = Arc::new(Mutex::new(state));
        let mut tasks = JoinSet::new();
        tasks.spawn(follow(state.clone(), target.clone()));
        Self { name: format!("{form:?}"), state, tasks }
    }

    /// How often the subscriber connected.
    #[must_use]
    pub fn connections(&self) -> usize {
        lock(&self.state).connections
    }

    /// How many records and gaps the subscriber saw and kept.
    #[must_use]
    pub fn seen(&self) -> usize {
        lock(&self.state).place.len()
    }

    /// Waits until every log has come as far as what is owed of it, then ends the subscriber.
    ///
    /// # Errors
    /// Fails where a frame was wrong, or a log does not come so far within the patience.
    pub async fn finish_all(mut self, owed: &Owed, patience: Duration) -> Result<Vec<Seen>> {
        let until = Instant::now() + patience;
        let ends: BTreeMap<&str, u64> = owed.acked.keys().map(|id| (id.log.as_str(), id.seq)).collect();
        loop {
            {
                let state = lock(&self.state);
                if let Some(fault) = &state.fault {
                    bail!("subscriber {}: {fault}", self.name);
                }
                let reached = |log: &str| state.reached.get(log).copied().unwrap_or(0);
                let behind: Vec<_> = ends
                    .iter()
                    .filter(|(log, end)| reached(log) < **end)
                    .map(|(log, end)| format!("{log} at {} of {end}", reached(log)))
                    .collect();
                if state.caught_up && behind.is_empty() {
                    break;
                }
                let caught_up = state.caught_up;
                ensure!(
                    Instant::now() < until,
                    "subscriber {} (caught up: {caught_up}) lacks after {patience:?}:\n  {}",
                    self.name,
                    behind.join("\n  ")
                );
            }
            sleep(Duration::from_millis(20)).await;
        }
        self.tasks.abort_all();
        while self.tasks.join_next().await.is_some() {}
        Ok(lock(&self.state).place.seen())
    }

    /// Waits until the subscriber is live and has seen the record with this key, then ends it.
    ///
    /// # Errors
    /// Fails where a frame was wrong or the record does not come within the patience.
    pub async fn finish(mut self, last_key: &str, patience: Duration) -> Result<Vec<Seen>> {
        let until = Instant::now() + patience;
        loop {
            {
                let state = lock(&self.state);
                if let Some(fault) = &state.fault {
                    bail!("subscriber {}: {fault}", self.name);
                }
                if state.caught_up && state.last_key == last_key {
                    break;
                }
                let seen = state.place.len();
                ensure!(
                    Instant::now() < until,
                    "subscriber {}: {last_key} not seen, {seen} before it",
                    self.name
                );
            }
            sleep(Duration::from_millis(20)).await;
        }
        self.tasks.abort_all();
        while self.tasks.join_next().await.is_some() {}
        Ok(lock(&self.state).place.seen())
    }
}

async fn follow(state: Arc<Mutex<State>>, mut target: Target) {
    loop {
        let at = target.borrow_and_update().clone();
        let Some((door, _)) = at else {
            let _ = tokio::time::timeout(Duration::from_millis(20), target.changed()).await;
            continue;
        };
        let path = format!("/feed?start={}", lock(&state).place.start());
        if let Ok(socket) = door.open(&path).await {
            lock(&state).connections += 1;
            let result = tokio::select! {
                result = read(&state, socket) => result,
                // Told of another node, it leaves this one amid whatever is on its way.
                _ = target.changed() => Ok(()),
            };
            let mut state = lock(&state);
            state.place.cut();
            state.reached = reached(&state.place.seen());
            state.caught_up = false;
            if let Err(fault) = result {
                state.fault = Some(format!("{fault:#}"));
                return;
            }
        }
        sleep(Duration::from_millis(5)).await;
    }
}

async fn read(state: &Mutex<State>, mut socket: Socket) -> Result<()> {
    loop {
        // A subscriber hears from the node at least every 20 s, by a ping if by nothing else, but a
        // quiet feed has no frames: silence is no fault here.
        let Some(frame) = socket.next_within(Duration::from_secs(120)).await? else { continue };
        match frame {
            Frame::Json(value) => note(&mut lock(state), &value)?,
            Frame::Binary(_) => bail!("a binary frame in a text feed"),
            Frame::Closed(..) | Frame::Cut => return Ok(()),
        }
    }
}

fn note(state: &mut State, frame: &Value) -> Result<()> {
    match frame["type"].as_str() {
        Some("record") => {
            let key = key_of(frame);
            let id = Id::of(frame, "id")?;
            state.reached.insert(id.log.clone(), id.seq);
            state.place.record(id, key.clone());
            state.last_key = key;
        }
        Some("gap") => {
            let log = frame["log"].as_str().unwrap_or("").to_owned();
            state.reached.insert(log, frame["to"].as_u64().unwrap_or(0));
            note_gap(&mut state.place, frame);
        }
        Some("cursor") => state.place.cursor(frame["cursor"].as_str().unwrap_or("")),
        Some("caught_up") => {
            state.place.cursor(frame["cursor"].as_str().unwrap_or(""));
            state.caught_up = true;
        }
        Some("error") if frame["code"] == "draining" || frame["code"] == "shutdown" => {}
        _ => bail!("an unexpected frame: {frame}"),
    }
    Ok(())
}

fn reached(seen: &[Seen]) -> BTreeMap<String, u64> {
    seen.iter()
        .map(|one| match one {
            Seen::Record(id, _) => (id.log.clone(), id.seq),
            Seen::Gap { log, to, .. } => (log.clone(), *to),
        })
        .collect()
}

/// Notes a gap frame.
pub fn note_gap(place: &mut Place, frame: &Value) {
    let number = |field: &str| frame[field].as_u64().unwrap_or(0);
    let text = |field: &str| frame[field].as_str().unwrap_or("");
    place.gap(text("log"), number("from"), number("to"), text("reason"));
}

/// The key that a record's publisher wrote into it, else its id.
#[must_use]
pub fn key_of(record: &Value) -> String {
    record["payload"]["k"].as_str().or_else(|| record["id"].as_str()).unwrap_or("").to_owned()
}

/// Reads a socket until the node says that it is live, noting all that comes.
///
/// # Errors
/// Fails where the stream ends first or a frame is wrong.
pub async fn read_until_live(socket: &mut Socket, place: &mut Place) -> Result<()> {
    loop {
        let frame = socket.json().await?;
        match frame["type"].as_str() {
            Some("record") => place.record(Id::of(&frame, "id")?, key_of(&frame)),
            Some("gap") => note_gap(place, &frame),
            Some("cursor") => place.cursor(frame["cursor"].as_str().unwrap_or("")),
            Some("caught_up") => {
                place.cursor(frame["cursor"].as_str().unwrap_or(""));
                return Ok(());
            }
            _ => bail!("an unexpected frame: {frame}"),
        }
    }
}

#[cfg(test)]
mod tests;
