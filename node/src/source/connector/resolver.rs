//! Names to addresses.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use tokio::sync::Semaphore;

use crate::source::limits::LOOKUPS;

/// Resolves names: the system, or what a test says.
pub trait Resolver: fmt::Debug + Send + Sync {
    /// The addresses of a name, in the order in which they are to be tried.
    fn resolve(&self, name: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;
}

/// What a lookup gave, to all who asked for it at once.
type Answer = Result<Arc<[IpAddr]>, (io::ErrorKind, Arc<str>)>;
type Lookup = Shared<BoxFuture<'static, Answer>>;

/// The system's resolver: `/etc/hosts`, DNS and what else the system is told to ask.
///
/// Each lookup takes a thread for as long as the system waits for an answer, so they are bounded, and a name is asked
/// for once at a time however many sources have it. Nothing is kept once it is answered.
#[derive(Debug)]
pub struct System {
    threads: Arc<Semaphore>,
    asked: Arc<Mutex<HashMap<String, Lookup>>>,
}

impl Default for System {
    fn default() -> Self {
        Self { threads: Arc::new(Semaphore::new(LOOKUPS)), asked: Arc::default() }
    }
}

impl Resolver for System {
    fn resolve(&self, name: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        // A lookup that everyone left stays here until the next one comes by: it is in nobody's way, and bounded by the names in use.
        asked.retain(|_, lookup| {
            lookup.strong_count().is_some_and(|count| count > 1) && lookup.peek().is_none()
        });
        let lookup =
            asked.entry(name.to_owned()).or_insert_with(|| look_up(self.threads.clone(), name)).clone();
        drop(asked);
        async move {
            let answer = lookup.await;
            answer.map(|ips| ips.to_vec()).map_err(|(kind, words)| io::Error::new(kind, &*words))
        }
        .boxed()
    }
}

fn look_up(threads: Arc<Semaphore>, name: &str) -> Lookup {
    let name = name.to_owned();
    let lookup = async move {
        let thread = threads.acquire_owned().await.map_err(|_| io::Error::other("the node stops"))?;
        let ask = move || {
            // The permit goes with the thread, which goes on when nobody waits for it any more.
            let _thread = thread;
            let found = (name.as_str(), 0).to_socket_addrs()?;
            io::Result::Ok(found.map(|address| address.ip()).collect::<Arc<[IpAddr]>>())
        };
        tokio::task::spawn_blocking(ask).await.map_err(io::Error::other)?
    };
    lookup.map(|answer| answer.map_err(|error| (error.kind(), error.to_string().into()))).boxed().shared()
}

#[cfg(test)]
pub(in crate::source) mod table {
    use super::*;

    /// A resolver that answers from a table: each lookup takes a name's next answer, and its last one for ever.
    #[derive(Debug, Default)]
    pub(in crate::source) struct Table {
        names: Mutex<HashMap<String, Vec<Vec<IpAddr>>>>,
    }

    impl Table {
        /// A resolver that knows these names.
        pub(in crate::source) fn new(names: &[(&str, &[&[&str]])]) -> Arc<Self> {
            let ips = |texts: &&[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
            let entry = |(name, answers): &(&str, &[&[&str]])| {
                ((*name).to_owned(), answers.iter().map(ips).rev().collect())
            };
            Arc::new(Self { names: Mutex::new(names.iter().map(entry).collect()) })
        }
    }

    impl Resolver for Table {
        fn resolve(&self, name: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
            let mut names = self.names.lock().unwrap();
            let answer = match names.get_mut(name) {
                Some(answers) if answers.len() > 1 => Ok(answers.pop().unwrap_or_default()),
                Some(answers) => Ok(answers.last().cloned().unwrap_or_default()),
                None => Err(io::Error::new(io::ErrorKind::NotFound, "no such name")),
            };
            async { answer }.boxed()
        }
    }

    #[tokio::test]
    async fn it_resolves_by_the_system_and_asks_once_at_a_time() {
        let system = System::default();
        let (one, two) = tokio::join!(system.resolve("localhost"), system.resolve("localhost"));
        assert!(one.unwrap().iter().all(IpAddr::is_loopback) && !two.unwrap().is_empty());
        assert!(system.resolve("no-such-name.invalid").await.is_err());
        drop(system.resolve("left.invalid"));
        assert!(system.resolve("localhost").await.is_ok());
        assert!(system.asked.lock().unwrap().len() <= 1);
    }
}
