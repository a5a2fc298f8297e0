//! The sources of nodes, told to whoever looks on another one.

use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

use anode_shared::ids::Origin;
use anode_shared::repair::{Answer, MAX_ANSWER, SourcesAsk};
use bytes::Bytes;
use tokio::sync::oneshot;

use super::Gossip;
use super::driver::Command;

/// How long a node may take to tell its sources: somebody waits and looks.
const PATIENCE: Duration = Duration::from_secs(3);
/// About how many bytes of them are told at once.
const ROOM: usize = MAX_ANSWER / 2;

/// Writes a list of this node's sources as JSON, of about so many bytes at most.
pub type ListSources = Box<dyn Fn(&SourcesAsk, usize) -> Vec<u8> + Send + Sync>;

/// What tells peers of this node's sources, once it is there.
#[derive(Default)]
pub(crate) struct Lister(OnceLock<ListSources>);

impl fmt::Debug for Lister {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lister").field(&self.0.get().is_some()).finish()
    }
}

impl Lister {
    pub(super) fn set(&self, list: ListSources) {
        let _ = self.0.set(list);
    }

    /// The answer to a peer's question.
    pub(super) fn answer(&self, ask: &SourcesAsk) -> Bytes {
        let answer = self.0.get().map_or(Answer::Refused, |list| Answer::Sources(list(ask, ROOM)));
        answer.encode().into()
    }
}

/// Why a node did not tell its sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Untold {
    /// It is gone, or could not be reached.
    #[error("this node cannot reach it; try again in a minute, or ask another node")]
    Unreached,
    /// It took too long.
    #[error("it did not answer within 3 s")]
    Late,
    /// It answered with something else, or the connection broke.
    #[error("it gave no list: its version knows none, it is starting, or the connection broke")]
    NoList,
}

impl Gossip {
    /// What tells peers of this node's sources.
    pub fn lend(&self, list: ListSources) {
        self.shared.lister.set(list);
    }

    /// Asks a peer for its sources; gives what it says, unchecked.
    ///
    /// # Errors
    /// Where it says nothing.
    pub async fn sources_of(&self, peer: Origin, ask: SourcesAsk) -> Result<Vec<u8>, Untold> {
        let (reply, told) = oneshot::channel();
        let asked = async {
            let command = Command::Sources(peer, ask, reply);
            self.commands.send(command).await.map_err(|_| Untold::Unreached)?;
            told.await.unwrap_or(Err(Untold::NoList))
        };
        tokio::time::timeout(PATIENCE, asked).await.unwrap_or(Err(Untold::Late))
    }
}
