//! The own logs of a start, one a shard.

use anode_shared::batch::shard_of;
use anode_shared::cursor::Shard;
use anode_shared::ids::{LogKey, Origin};
use ed25519_dalek::SigningKey;

use super::{Before, NewRecord, OwnLog, Ready};

/// The logs that this start writes.
#[derive(Debug)]
pub(crate) struct OwnLogs {
    bits: u8,
    logs: Vec<OwnLog>,
}

impl OwnLogs {
    /// Logs of `1 << bits` shards that open at their first records. `before` says where those of a shard ended.
    pub(crate) fn new(network: &str, bits: u8, key: &SigningKey, before: &dyn Fn(Shard) -> Before) -> Self {
        let shards = (0..1_u32 << bits).map(|value| (bits, value));
        let log = |shard| OwnLog::new(network.to_owned(), key.clone(), before(shard), shard);
        Self { bits, logs: shards.map(log).collect() }
    }

    /// Who writes them.
    pub(crate) fn origin(&self) -> Origin {
        self.logs[0].origin
    }

    /// The log that a record goes to.
    pub(crate) fn of(&mut self, record: &NewRecord) -> &mut OwnLog {
        &mut self.logs[shard_of(record.topic.as_str(), self.bits) as usize]
    }

    /// Signs all that is open.
    pub(crate) fn seal_all(&mut self) -> Vec<Ready> {
        self.logs.iter_mut().filter_map(OwnLog::seal).collect()
    }

    /// The batch was written: the next one of its log follows it.
    pub(crate) fn written(&mut self, ready: &Ready) {
        self.logs[ready.shard.1 as usize].written(ready);
    }

    /// Whether this start writes the log.
    pub(crate) fn is_open(&self, key: LogKey) -> bool {
        self.logs.iter().any(|log| log.current() == Some(key))
    }

    /// Ends a log, where this start writes it: the next record of its shard opens a new one.
    pub(crate) fn close(&mut self, key: LogKey) {
        self.logs.iter_mut().filter(|log| log.current() == Some(key)).for_each(OwnLog::close);
    }
}
