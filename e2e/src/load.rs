//! Publishers that keep many records in flight and go on over restarts of the node.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::http::Http;
use crate::ledger::Ledger;
use crate::socket::{Door, check_frame};
use crate::words::Id;

/// Where the node is now; `None` while it is known to be down.
pub type Target = watch::Receiver<Option<(Door, Http)>>;

/// What the publishers do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// A word that makes this load's keys its own.
    pub name: String,
    /// Publishers on `/publish` sockets.
    pub sockets: usize,
    /// Publishers that POST arrays.
    pub posters: usize,
    /// Unanswered records that each publisher keeps up.
    pub window: usize,
    /// Bytes of each payload, about.
    pub bytes: usize,
    /// The pause after every 100 records of a publisher.
    pub pause: Duration,
}

impl Default for Plan {
    fn default() -> Self {
        let (name, pause) = ("load".to_owned(), Duration::ZERO);
        Self { name, sockets: 2, posters: 1, window: 1500, bytes: 120, pause }
    }
}

/// Running publishers.
#[derive(Debug)]
pub struct Load {
    tasks: JoinSet<()>,
    stop: watch::Sender<bool>,
}

impl Load {
    /// Starts the publishers.
    #[must_use]
    pub fn start(plan: &Plan, target: &Target, ledger: &Ledger) -> Self {
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for index in 0..plan.sockets + plan.posters {
            let publisher = Publisher {
                name: format!("{}-{index}", plan.name),
                plan: plan.clone(),
                ledger: ledger.clone(),
                stopped: stopped.clone(),
                count: AtomicU64::new(0),
            };
            tasks.spawn(publisher.run(target.clone(), index < plan.sockets));
        }
        Self { tasks, stop }
    }

    /// Sends no more, and waits for the answers that are due.
    pub async fn stop(mut self) {
        let _ = self.stop.send(true);
        while self.tasks.join_next().await.is_some() {}
    }
}

struct Publisher {
    name: String,
    plan: Plan,
    ledger: Ledger,
    stopped: watch::Receiver<bool>,
    count: AtomicU64,
}

type Waiting = Arc<Mutex<VecDeque<String>>>;

fn lock(waiting: &Waiting) -> std::sync::MutexGuard<'_, VecDeque<String>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Publisher {
    async fn run(self, mut target: Target, socket: bool) {
        while !*self.stopped.borrow() {
            let at = target.borrow_and_update().clone();
            let Some((door, http)) = at else {
                let _ = tokio::time::timeout(Duration::from_millis(20), target.changed()).await;
                continue;
            };
            if socket {
                self.session(&door).await;
            } else {
                self.posts(&http).await;
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    fn next(&self) -> (String, Value) {
        let key = format!("{}-{}", self.name, self.count.fetch_add(1, Ordering::Relaxed));
        let payload = json!({ "k": key, "pad": "x".repeat(self.plan.bytes) });
        (key, payload)
    }

    /// One connection of a socket publisher, until it is cut or the load stops.
    async fn session(&self, door: &Door) {
        let Ok(socket) = door.open(&format!("/publish?topic=load.{}", self.name)).await else { return };
        self.ledger.opened();
        let (sink, stream) = socket.into_stream().split();
        let waiting = Waiting::default();
        let reading = self.read(door, stream, &waiting);
        tokio::pin!(reading);
        // The reader alone notices a cut while the window is full; the writer alone knows when to stop.
        let read = tokio::select! {
            read = &mut reading => read,
            () = self.write(sink, &waiting) => reading.await,
        };
        if let Err(fault) = read {
            self.ledger.fault(format!("{}: {fault:#}", self.name));
        }
        self.ledger.cut(lock(&waiting).len() as u64);
        self.ledger.closed();
    }

    async fn write(&self, mut sink: SplitSink<WebSocketStream<TcpStream>, Message>, waiting: &Waiting) {
        let mut sent = 0_usize;
        while !*self.stopped.borrow() {
            if lock(waiting).len() >= self.plan.window {
                if sink.flush().await.is_err() {
                    return;
                }
                sleep(Duration::from_millis(1)).await;
                continue;
            }
            let (key, payload) = self.next();
            lock(waiting).push_back(key);
            self.ledger.sent(1);
            if sink.feed(Message::text(payload.to_string())).await.is_err() {
                return;
            }
            sent += 1;
            if sent.is_multiple_of(100) {
                if sink.flush().await.is_err() {
                    return;
                }
                sleep(self.plan.pause).await;
            }
        }
        let _ = sink.flush().await;
        // The socket stays open until every answer is here, and a while at most.
        for _ in 0..4000 {
            if lock(waiting).is_empty() {
                break;
            }
            sleep(Duration::from_millis(5)).await;
        }
        let _ = sink.close().await;
    }

    /// Takes answers until the connection ends; they come in the order of the frames.
    async fn read(
        &self,
        door: &Door,
        mut stream: SplitStream<WebSocketStream<TcpStream>>,
        waiting: &Waiting,
    ) -> Result<()> {
        let mut count = 0_u64;
        while let Some(Ok(message)) = stream.next().await {
            let Message::Text(text) = message else { continue };
            let frame: Value = serde_json::from_str(&text)?;
            check_frame(&door.api, &frame)?;
            if frame["n"].is_null() {
                ensure!(frame["type"] == "error", "an answer without n: {frame}");
                continue;
            }
            count += 1;
            ensure!(frame["n"] == count, "answer {count} has n {}", frame["n"]);
            let key = lock(waiting).pop_front().context("an answer to nothing")?;
            match frame["type"].as_str() {
                Some("published") => self.ledger.acked(Id::of(&frame, "id")?, key),
                Some("error") => self.ledger.refused(1),
                _ => bail!("no answer to a publish: {frame}"),
            }
        }
        Ok(())
    }

    /// Arrays by POST, until one is cut or the load stops.
    async fn posts(&self, http: &Http) {
        self.ledger.opened();
        while !*self.stopped.borrow() {
            let made: Vec<(String, Value)> = (0..self.plan.window.max(1)).map(|_| self.next()).collect();
            let record = |(_, payload): &(String, Value)| json!({ "topic": format!("load.{}", self.name), "payload": payload });
            let body = Value::Array(made.iter().map(record).collect()).to_string();
            let count = made.len() as u64;
            self.ledger.sent(count);
            let Ok(answer) = http.send_unchecked("POST", "/api/v1/records", &[], &body).await else {
                self.ledger.cut(count);
                break;
            };
            let kind = answer.header("content-type").to_owned();
            let declared =
                http.api().check_answer("POST", "/api/v1/records", answer.status, &kind, &answer.body);
            let taken = declared.and_then(|()| self.answered(&answer, &made));
            if let Err(fault) = taken {
                self.ledger.fault(format!("{}: {fault:#}", self.name));
                self.ledger.refused(count);
            }
            sleep(self.plan.pause).await;
        }
        self.ledger.closed();
    }

    fn answered(&self, answer: &crate::http::Answer, made: &[(String, Value)]) -> Result<()> {
        if [429, 503, 507].contains(&answer.status) {
            answer.ensure_problem()?;
            self.ledger.refused(made.len() as u64);
            return Ok(());
        }
        ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
        let body = answer.json()?;
        let ids = body["ids"].as_array().context("no ids")?;
        ensure!(ids.len() == made.len(), "{} ids for {} records", ids.len(), made.len());
        let ids: Vec<Id> =
            ids.iter().map(|id| Id::parse(id.as_str().unwrap_or(""))).collect::<Result<_>>()?;
        for (id, (key, _)) in ids.into_iter().zip(made) {
            self.ledger.acked(id, key.clone());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
