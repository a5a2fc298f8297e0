//! A store without threads: a simulation does their work step by step, in its own time.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;

use anode_shared::ids::LogKey;
use ed25519_dalek::SigningKey;

use super::disk::Disk;
use super::options::{Holders, StoreOptions};
use super::segment::{file_name, index_name};
use super::shared::Shared;
use super::writer::{Command, Writer};
use super::{Store, recovery};

/// What a store's threads would do.
#[derive(Debug)]
pub(crate) struct Driven {
    shared: Arc<Shared>,
    writer: Writer,
    queue: Receiver<Command>,
}

/// The files of a segment that is written to no more, and which seqs of which logs lie in it.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(crate) file: String,
    pub(crate) index: String,
    pub(crate) spans: Vec<(LogKey, u64, u64)>,
}

impl Driven {
    /// Opens a store, and looks through what lies on its disk.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        options: StoreOptions,
        key: SigningKey,
        holders: Arc<dyn Holders>,
    ) -> anyhow::Result<(Store, Self)> {
        let (store, writer, queue) = Store::prepare(disk, options, key, holders)?;
        let shared = store.shared.clone();
        recovery::look_through(&shared);
        Ok((store, Self { shared, writer, queue }))
    }

    /// The writer's turn: it does what it was asked, and what is due.
    pub(crate) fn turn(&mut self) {
        while let Ok(command) = self.queue.try_recv() {
            let _ = self.writer.gather(command, &self.queue);
        }
        self.writer.tend();
    }

    /// The turn of who syncs.
    pub(crate) fn sync(&self) {
        self.shared.commit.sync_now();
    }

    /// Forgets what readers reported as damaged.
    pub(crate) fn forget_damage(&self) {
        self.shared.lost().take();
    }

    /// The segments that are written to no more.
    pub(crate) fn sealed(&self) -> io::Result<Vec<Sealed>> {
        let sealed = self.shared.all_segments().into_iter();
        let sealed = sealed.filter(|segment| segment.sealed.load(Ordering::SeqCst));
        let one = |segment: Arc<super::segment::Segment>| {
            let spans = segment.with_summary(|summary| {
                summary.spans.iter().map(|(key, span)| (*key, span.first, span.last)).collect()
            })?;
            Ok(Sealed { file: file_name(segment.id), index: index_name(segment.id), spans })
        };
        sealed.map(one).collect()
    }
}
