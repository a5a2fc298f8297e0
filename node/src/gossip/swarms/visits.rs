//! Questions for nodes without a link.

use anode_shared::ids::Origin;
use anode_shared::mesh::{PeerState, PeerStatus};
use anode_shared::repair::SourcesAsk;
use futures_util::future::join_all;

use super::*;
use crate::gossip::members::MOST_LINKS;
use crate::gossip::presence;

/// More than there are links.
const COUNT: usize = 24;
/// How long links must stay as they are to count as settled.
const SETTLED: Duration = Duration::from_secs(5);

impl Swarms {
    /// How one node sees another.
    fn sees(&self, one: usize, other: Origin) -> PeerStatus {
        let view = self.nodes[one].gossip.view();
        view.peers.iter().find(|peer| peer.id == other.to_string()).unwrap().clone()
    }

    /// Waits until all know all and links come and go no more; gives those to which the first has none.
    async fn until_settled(&self, origins: &[Origin]) -> Vec<usize> {
        let began = Instant::now();
        let (mut since, mut last) = (began, Vec::new());
        while since.elapsed() < SETTLED {
            assert!(began.elapsed() < PATIENCE, "links never settle: {}", self.describe());
            sleep(Duration::from_millis(100)).await;
            let known = self.nodes.iter().all(|node| {
                let view = node.gossip.view();
                view.peers.len() == origins.len() - 1 && view.linked <= MOST_LINKS
            });
            let strange = |number: &usize| {
                let (there, here) = (self.sees(0, origins[*number]), self.sees(*number, origins[0]));
                !there.connected && there.state == PeerState::Alive && here.state == PeerState::Alive
            };
            if !known {
                since = Instant::now();
                continue;
            }
            let strangers: Vec<usize> = (1..origins.len()).filter(strange).collect();
            if strangers.is_empty() || strangers != last {
                (since, last) = (Instant::now(), strangers);
            }
        }
        last
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_told_the_sources_of_all_also_of_those_without_a_link() {
    let swarms = Swarms::start(COUNT, 0, presence::INTERVAL);
    for (number, node) in swarms.nodes.iter().enumerate() {
        node.gossip.lend(Box::new(move |_, _| format!("n{number}").into_bytes()));
    }
    let origins: Vec<Origin> = swarms.nodes.iter().map(|node| node.store.origin()).collect();
    let strangers = swarms.until_settled(&origins).await;
    let linked = swarms.nodes[0].gossip.view().linked;
    let ask = || SourcesAsk { after: None, most: 10, name: None };
    let asked = origins[1..].iter().map(|origin| swarms.nodes[0].gossip.sources_of(*origin, ask()));
    for (number, told) in (1..COUNT).zip(join_all(asked).await) {
        assert_eq!(told, Ok(format!("n{number}").into_bytes()), "of {number}, without links: {strangers:?}");
    }
    // The visits end, and nobody is thought gone for that.
    let asked = Instant::now();
    let mut visited = BTreeSet::new();
    let mut open = strangers.clone();
    while asked.elapsed() < Duration::from_secs(12) {
        for stranger in &strangers {
            let (there, here) = (swarms.sees(0, origins[*stranger]), swarms.sees(*stranger, origins[0]));
            assert_eq!((there.state, here.state), (PeerState::Alive, PeerState::Alive), "{stranger}");
            visited.extend(there.connected.then_some(*stranger));
        }
        open = strangers.iter().copied().filter(|n| swarms.sees(0, origins[*n]).connected).collect();
        sleep(Duration::from_millis(100)).await;
    }
    let now = swarms.nodes[0].gossip.view().linked;
    // One may have become a link meanwhile, as others do.
    assert!(open.len() <= 1 && now <= linked + 1, "{open:?} of {strangers:?}, {linked} links and then {now}");
    assert!(!visited.is_empty(), "{strangers:?}");
    swarms.cancel.cancel();
    swarms.tracker.close();
    swarms.tracker.wait().await;
}
