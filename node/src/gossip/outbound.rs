//! The own batches, as they are written: what is handed to gossipsub.

use anode_shared::topic::Topics;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::store::{Item, Loaded, Start, Store, Then};
use std::sync::Arc;

/// Hands own batches on until cancelled. Where gossip is slower than the disk it waits; where it falls out of what is in
/// memory it goes on with what is new, and repair carries the rest.
pub(super) async fn run(store: Store, to: mpsc::Sender<Arc<Loaded>>, cancel: CancellationToken) {
    let own = store.origin();
    let mut newest = store.newest();
    while !cancel.is_cancelled() {
        let opened = store.reader(&Start::Live, Topics::default(), &|_, _| true);
        let Ok(mut reader) =
            opened.inspect_err(|error| warn!(%error, "Failed to read the own log for gossip"))
        else {
            return;
        };
        loop {
            let step = reader.poll();
            for item in step.items {
                let Item::Records(slice) = item else { continue };
                if slice.batch().key().origin == own && to.send(slice.batch().clone()).await.is_err() {
                    return;
                }
            }
            match step.then {
                Then::More => {}
                Then::Blocking => break,
                Then::Live | Then::Until(_) => tokio::select! {
                    () = cancel.cancelled() => return,
                    changed = newest.changed() => if changed.is_err() { return },
                },
            }
        }
    }
}
