//! Tasks of the mesh that must not end by a defect without a word: others would go on as if there were a mesh.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use anode_shared::status::{Component, State};
use futures_util::FutureExt as _;
use tokio_util::task::TaskTracker;

use super::{Shared, View};

/// What is wrong then, and what to do.
const BROKEN: &str = "a part of the mesh broke by a defect, so this node speaks with no other; restart it, and report what its log says";

/// Where such tasks run.
#[derive(Debug, Clone)]
pub(super) struct Watched {
    shared: Arc<Shared>,
    tracker: TaskTracker,
}

impl Watched {
    pub(super) fn new(shared: Arc<Shared>, tracker: TaskTracker) -> Self {
        Self { shared, tracker }
    }

    /// Runs a task to its end; where it panics the mesh counts as broken from then on.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let shared = self.shared.clone();
        self.tracker.spawn(async move {
            if AssertUnwindSafe(task).catch_unwind().await.is_err() {
                tracing::error!("{BROKEN}");
                shared.broken.store(true, Relaxed);
                shared.show(View::default());
            }
        });
    }
}

/// The mesh as a component where a part of it broke.
pub(super) fn broken(was: Component) -> Component {
    Component { state: State::Down, detail: Some(BROKEN.to_owned()), ..was }
}

#[cfg(test)]
mod tests {
    use super::super::Gossip;
    use super::*;

    #[tokio::test]
    async fn it_says_that_a_part_broke() {
        let gossip = Gossip::alone();
        gossip.shared.show(View { linked: 3, ..View::default() });
        let tracker = TaskTracker::new();
        let watched = Watched::new(gossip.shared.clone(), tracker.clone());
        watched.spawn(async {});
        watched.spawn(async { tokio::task::yield_now().await });
        tracker.close();
        tracker.wait().await;
        assert!(gossip.component().state == State::Ok && gossip.has_peers(), "an end is none");
        watched.spawn(async { panic!("a defect") });
        tracker.wait().await;
        let component = gossip.component();
        assert_eq!(component.state, State::Down);
        assert!(component.detail.is_some_and(|detail| detail.contains("restart")) && !gossip.has_peers());
    }
}
