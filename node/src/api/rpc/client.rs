//! Who calls, and what it is subscribed to.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::super::auth::Caller;
use super::message::Refusal;
use super::notify::{News, Notify};
use crate::feed::Publisher;

/// The most subscriptions of one socket.
const MAX_SUBSCRIPTIONS: usize = 100;

/// Who calls.
#[derive(Debug)]
pub(super) struct Client {
    caller: Caller,
    /// Where it comes from.
    pub(super) address: SocketAddr,
    /// How it is told what comes; none where it only asks.
    line: Option<Line>,
}

/// A socket's way to its client.
#[derive(Debug)]
struct Line {
    /// The socket itself holds the way open.
    to: mpsc::WeakSender<News>,
    /// The subscriptions by id; each ends where it is let go.
    subscriptions: Mutex<BTreeMap<Arc<str>, DropGuard>>,
}

impl Line {
    fn subscriptions(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, DropGuard>> {
        self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Client {
    /// One that only asks.
    pub(super) fn asking(caller: Caller, address: SocketAddr) -> Self {
        Self { caller, address, line: None }
    }

    /// One with a socket.
    pub(super) fn listening(caller: Caller, address: SocketAddr, to: &mpsc::Sender<News>) -> Self {
        let line = Line { to: to.downgrade(), subscriptions: Mutex::default() };
        Self { caller, address, line: Some(line) }
    }

    /// As whom it publishes.
    ///
    /// # Errors
    /// When it may not.
    pub(super) fn publisher(&self) -> Result<Publisher, Refusal> {
        Ok(Publisher(self.caller.publisher()?.map(str::to_owned)))
    }

    /// Makes a subscription whose notifications are of `method`.
    ///
    /// # Errors
    /// When it only asks, or has as many as it may.
    pub(super) fn subscribe(&self, method: &'static str) -> Result<Notify, Refusal> {
        let no_socket = || {
            let words = "notifications need a socket: open /rpc as a WebSocket (ws://…)";
            Refusal::new(Refusal::NOT_SUPPORTED, words)
        };
        let line = self.line.as_ref().ok_or_else(no_socket)?;
        let to = line.to.upgrade().ok_or_else(no_socket)?;
        let mut subscriptions = line.subscriptions();
        if subscriptions.len() >= MAX_SUBSCRIPTIONS {
            let words =
                format!("this socket has {MAX_SUBSCRIPTIONS} subscriptions; end some, or open another");
            return Err(Refusal::new(Refusal::LIMIT, words));
        }
        let id: Arc<str> = format!("0x{:032x}", rand::random::<u128>()).into();
        let stop = CancellationToken::new();
        subscriptions.insert(Arc::clone(&id), stop.clone().drop_guard());
        Ok(Notify::new(id, method, to, stop))
    }

    /// Ends a subscription; gives whether there was one.
    pub(super) fn unsubscribe(&self, id: &str) -> bool {
        self.line.as_ref().is_some_and(|line| line.subscriptions().remove(id).is_some())
    }

    /// Whether a subscription was not ended.
    pub(super) fn follows(&self, id: &str) -> bool {
        self.line.as_ref().is_some_and(|line| line.subscriptions().contains_key(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_bounds_subscriptions_and_forgets_those_that_ended() {
        let (to, _from) = mpsc::channel(1);
        let address = ([127, 0, 0, 1], 1).into();
        let client = Client::listening(Caller::Reader, address, &to);
        let all: Vec<Notify> = (0..MAX_SUBSCRIPTIONS).map(|_| client.subscribe("m").unwrap()).collect();
        assert_eq!(client.subscribe("m").unwrap_err().code, Refusal::LIMIT);
        let id = all[0].id();
        assert!(id.len() == 34 && id.starts_with("0x"), "{id}");
        assert!(
            client.follows(id) && client.unsubscribe(id) && !client.follows(id) && !client.unsubscribe(id)
        );
        assert!(client.subscribe("m").is_ok());
        drop(to);
        drop(all);
        assert!(client.subscribe("m").is_err(), "the socket is gone");
        let asking = Client::asking(Caller::Reader, address);
        assert_eq!(asking.subscribe("m").unwrap_err().code, Refusal::NOT_SUPPORTED);
    }
}
