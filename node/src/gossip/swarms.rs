//! Many real nodes in one process: the node's own driver, swarm and store, over wires in memory that are cut and mended.

mod visits;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anode_shared::ids::{LogKey, RecordId};
use anode_shared::topic::Topics;
use bytes::Bytes;
use ed25519_dalek::SigningKey;
use libp2p::identity::Keypair;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::wire::Wires;
use super::{Gossip, GossipConfig, Peers};
use crate::store::{Item, Memory, NewRecord, Start, Store, StoreOptions, Then};

/// How often each speaks: that alone is eight messages a second to each of fifty, each of them some eight times, all on two cores.
const PACE: Duration = Duration::from_secs(6);
/// How long anything may take on a machine that does much beside.
const PATIENCE: Duration = Duration::from_secs(120);

struct Node {
    store: Store,
    gossip: Gossip,
}

struct Swarms {
    wires: Arc<Wires>,
    nodes: Vec<Node>,
    /// The last seq of each log.
    ends: BTreeMap<LogKey, u64>,
    tracker: TaskTracker,
    cancel: CancellationToken,
    pace: Duration,
}

impl Swarms {
    /// Starts nodes of which each knows one that came before it, in a network of `1 << shard_bits` shards; each speaks so often.
    fn start(count: usize, shard_bits: u8, pace: Duration) -> Self {
        let mut swarms = Self {
            wires: Wires::new(count),
            nodes: Vec::new(),
            ends: BTreeMap::new(),
            tracker: TaskTracker::new(),
            cancel: CancellationToken::new(),
            pace,
        };
        for number in 0..count {
            let node = swarms.node(number, shard_bits);
            swarms.nodes.push(node);
        }
        swarms
    }

    fn node(&self, number: usize, shard_bits: u8) -> Node {
        let seed: [u8; 32] = rand::random();
        let identity = Keypair::ed25519_from_bytes(seed).unwrap();
        let network = "swarms".to_owned();
        let options = StoreOptions { network, shard_bits, reserve_disk: 0, ..StoreOptions::default() };
        let retain_age = options.retain_age;
        let peers = Peers::new();
        let key = SigningKey::from_bytes(&seed);
        let store = Store::open(Arc::new(Memory::default()), options, key, peers.clone()).unwrap();
        let config = GossipConfig {
            network: "swarms".to_owned(),
            name: format!("n{number}"),
            listen: vec![self.wires.address(number)],
            bootstrap: (number > 0).then(|| self.wires.address(number / 2)).into_iter().collect(),
            named: 0,
            announce: Vec::new(),
            mdns: false,
            network_key: None,
            origins: None,
            origin_rate: 64 << 20,
            pace: self.pace,
            retain_age,
        };
        let transport = self.wires.transport(number, &identity).unwrap();
        let joined =
            Gossip::join(config, &identity, &store, &peers, transport, &self.tracker, &self.cancel).unwrap();
        Node { store, gossip: joined.0 }
    }

    /// Publishes records on every node, one batch after the other.
    async fn publish(&mut self, times: usize) {
        for time in 0..times {
            for (number, node) in self.nodes.iter().enumerate() {
                let record = |n: usize| NewRecord {
                    topic: format!("swarms.n{number}.t{n}").parse().unwrap(),
                    payload: Bytes::from(format!("{{\"time\":{time},\"n\":{n}}}")),
                    content_type: None,
                    publisher: None,
                    publisher_signature: None,
                    dedupe: None,
                    source: None,
                };
                let ids = node.store.publish((0..3).map(record).collect()).unwrap().await.unwrap();
                for RecordId { key, seq } in ids {
                    let end = self.ends.entry(key).or_default();
                    *end = seq.max(*end);
                }
            }
        }
    }

    /// Waits until every one of these nodes has all that these published.
    async fn until_equal(&self, nodes: std::ops::Range<usize>, what: &str) -> Duration {
        let began = Instant::now();
        let origins: Vec<_> = nodes.clone().map(|number| self.nodes[number].store.origin()).collect();
        let ends = self.ends.iter().filter(|(key, _)| origins.contains(&key.origin));
        let ends: Vec<(LogKey, u64)> = ends.map(|(key, end)| (*key, *end)).collect();
        loop {
            let lacks = |number: &usize| {
                let store = &self.nodes[*number].store;
                let has = |(key, end): &(LogKey, u64)| {
                    store.log(*key).is_some_and(|log| log.head >= *end && log.missing.is_empty())
                };
                ends.iter().filter(|end| !has(end)).count()
            };
            let lacking: Vec<usize> = nodes.clone().map(|number| lacks(&number)).collect();
            if lacking.iter().all(|count| *count == 0) {
                return began.elapsed();
            }
            assert!(began.elapsed() < PATIENCE, "{what}: logs that nodes lack: {lacking:?}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// What each node knows of the mesh, for a failing test to say.
    fn describe(&self) -> String {
        let one = |node: &Node| {
            let view = node.gossip.view();
            format!("{} peers, {} links, {:?}\n", view.peers.len(), view.linked, node.gossip.counters())
        };
        self.nodes.iter().map(one).collect()
    }

    /// Nobody was refused anything, and each shard came by gossip.
    fn check_gossip(&self, shard_bits: u8) {
        let mut shards = BTreeSet::new();
        for (number, node) in self.nodes.iter().enumerate() {
            let rejected: u64 = node.gossip.counters().rejected().iter().map(|(_, count)| count).sum();
            let taken = node.gossip.counters().batches_taken.load(Ordering::Relaxed);
            assert!(rejected == 0 && taken > 0, "node {number} took {taken} batches and rejected {rejected}");
            let headers = self.ends.iter().filter_map(|(key, end)| node.store.signed_header(*key, *end));
            shards.extend(headers.map(|proof| {
                let header = proof.open().unwrap();
                (header.shard_bits, header.shard)
            }));
        }
        let all: BTreeSet<(u8, u32)> = (0..1 << shard_bits).map(|value| (shard_bits, value)).collect();
        assert_eq!(shards, all);
    }

    /// Every node hands a reader each record of each log once and in order, and tells of no gap.
    fn check_readers(&self) {
        for (number, node) in self.nodes.iter().enumerate() {
            let mut reader = node.store.reader(&Start::Earliest, Topics::default(), &|_, _| true).unwrap();
            let mut next: BTreeMap<LogKey, u64> = self.ends.keys().map(|key| (*key, 1)).collect();
            let deadline = Instant::now() + PATIENCE;
            loop {
                let mut step = reader.poll();
                if matches!(step.then, Then::Blocking) {
                    step = reader.poll_storage();
                }
                for item in step.items {
                    match item {
                        Item::Records(slice) => slice.range().for_each(|index| {
                            let id = slice.batch().id(index);
                            let next = next.get_mut(&id.key).unwrap();
                            assert_eq!(id.seq, *next, "node {number}: {id} is twice or out of order");
                            *next += 1;
                        }),
                        Item::Gap(gap) => {
                            panic!("node {number} tells of a gap where nothing is lost: {gap:?}")
                        }
                        Item::CaughtUp => {}
                    }
                }
                if matches!(step.then, Then::Live) {
                    break;
                }
                assert!(Instant::now() < deadline, "node {number}: the reader never became live");
            }
            let ends: BTreeMap<LogKey, u64> = next.into_iter().map(|(key, next)| (key, next - 1)).collect();
            assert_eq!(ends, self.ends, "node {number}");
        }
    }
}

/// More nodes than the gossip mesh of each has places.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_brings_everything_everywhere_also_after_a_partition() {
    play(12, 0).await;
}

/// The same where the network has four shards, and each node a log in several of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_brings_all_shards_everywhere_also_after_a_partition() {
    play(8, 2).await;
}

/// More nodes than each has links.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "fifty nodes of an unoptimised build need two cores for themselves; run it alone"]
async fn it_brings_everything_everywhere_among_fifty_swarms_also_after_a_partition() {
    play(50, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "fifty nodes of an unoptimised build need two cores for themselves; run it alone"]
async fn it_brings_all_shards_everywhere_among_fifty_swarms_also_after_a_partition() {
    play(50, 2).await;
}

async fn play(count: usize, shard_bits: u8) {
    let began = Instant::now();
    let mut swarms = Swarms::start(count, shard_bits, PACE);
    while swarms.nodes.iter().any(|node| node.gossip.view().peers.len() < count - 1) {
        assert!(began.elapsed() < PATIENCE, "not all know all: {}", swarms.describe());
        sleep(Duration::from_millis(50)).await;
    }
    let known = began.elapsed();
    swarms.publish(2).await;
    let whole = swarms.until_equal(0..count, "before the partition").await;
    let half = count / 2;
    swarms.wires.part((0..count).map(|number| u8::from(number >= half)).collect());
    swarms.publish(2).await;
    let apart = swarms.until_equal(0..half, "in one half").await;
    swarms.until_equal(half..count, "in the other half").await;
    let (one, other) = (&swarms.nodes[0].store, swarms.nodes[half].store.origin());
    let (key, end) = swarms.ends.iter().find(|(key, _)| key.origin == other).unwrap();
    assert!(one.log(*key).unwrap().held < *end, "the partition lets batches through");
    swarms.wires.part(vec![0; count]);
    let healed = swarms.until_equal(0..count, "after the partition").await;
    swarms.check_gossip(shard_bits);
    let links: Vec<usize> = swarms.nodes.iter().map(|node| node.gossip.view().linked).collect();
    tokio::task::block_in_place(|| swarms.check_readers());
    tracing::info!(?known, ?whole, ?apart, ?healed, ?links, "swarms");
    swarms.cancel.cancel();
    swarms.tracker.close();
    swarms.tracker.wait().await;
}
