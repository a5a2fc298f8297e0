//! What the numbers above are for: with the library's own, each of these fails, most of them without a word.

use std::time::{Duration, Instant};

use libp2p::futures::StreamExt as _;
use libp2p::gossipsub::PublishError;
use libp2p::swarm::{Swarm, SwarmEvent};
use libp2p::{Multiaddr, PeerId};

use super::*;
use crate::gossip::settings;
use crate::gossip::transport::transport;

mod star;

const PATIENCE: Duration = Duration::from_secs(30);

/// Two nodes' swarms, linked by TCP.
struct Pair {
    one: Swarm<Behaviour>,
    other: Swarm<Behaviour>,
    names: Names,
    heard: Vec<(TopicHash, usize)>,
    closed: usize,
}

fn swarm(names: &Names) -> Swarm<Behaviour> {
    let identity = Keypair::generate_ed25519();
    let behaviour = Behaviour::new(&identity, names, 1, false).unwrap();
    Swarm::new(transport(&identity, None).unwrap(), behaviour, identity.public().to_peer_id(), settings())
}

impl Pair {
    async fn linked(bits: u8) -> Self {
        let names = Names::new("traps", bits);
        let mut pair = Self { one: swarm(&names), other: swarm(&names), names, heard: Vec::new(), closed: 0 };
        pair.one.listen_on("/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
        let address: Multiaddr = loop {
            if let SwarmEvent::NewListenAddr { address, .. } = pair.one.select_next_some().await {
                break address;
            }
        };
        pair.other.dial(address).unwrap();
        let topics = pair.names.topics().len();
        pair.until("both know each other's topics", |pair| {
            let knows = |swarm: &Swarm<Behaviour>| {
                swarm.behaviour().gossipsub.all_peers().any(|(_, known)| known.len() == topics)
            };
            knows(&pair.one) && knows(&pair.other)
        })
        .await;
        pair
    }

    /// Lets both go on until something is so.
    async fn until(&mut self, what: &str, so: impl Fn(&Self) -> bool) -> Duration {
        let began = Instant::now();
        while !so(self) {
            assert!(began.elapsed() < PATIENCE, "never: {what}; heard {}", self.heard.len());
            self.go_on(Duration::from_millis(20)).await;
        }
        began.elapsed()
    }

    async fn go_on(&mut self, time: Duration) {
        let end = tokio::time::sleep(time);
        tokio::pin!(end);
        loop {
            tokio::select! {
                () = &mut end => return,
                event = self.one.select_next_some() => self.closed += usize::from(is_closed(&event)),
                event = self.other.select_next_some() => match event {
                    SwarmEvent::Behaviour(BehaviourEvent::Gossipsub(gossipsub::Event::Message { message, .. })) => {
                        self.heard.push((message.topic, message.data.len()));
                    }
                    event => self.closed += usize::from(is_closed(&event)),
                },
            }
        }
    }

    /// Says something as soon as there is room for it.
    async fn say(&mut self, shard: usize, bytes: Vec<u8>) {
        let topic = self.names.shards[shard].hash();
        for _ in 0..2_000 {
            match self.one.behaviour_mut().gossipsub.publish(topic.clone(), bytes.clone()) {
                Ok(_) => return,
                Err(PublishError::AllQueuesFull(_)) => self.go_on(Duration::from_millis(10)).await,
                Err(error) => panic!("{error}"),
            }
        }
        panic!("there is never room");
    }
}

fn is_closed(event: &SwarmEvent<BehaviourEvent>) -> bool {
    matches!(event, SwarmEvent::ConnectionClosed { .. })
}

fn bytes(number: u32, length: usize) -> Vec<u8> {
    let mut bytes = vec![0x5a; length];
    bytes[..4].copy_from_slice(&number.to_le_bytes());
    bytes
}

/// Batches of the greatest length, one right behind the other, and small ones after them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_carries_the_longest_batches_back_to_back() {
    let mut pair = Pair::linked(0).await;
    for number in 0..60 {
        pair.say(0, bytes(number, MAX_BATCH)).await;
    }
    for number in 100..140 {
        pair.say(0, bytes(number, 300)).await;
    }
    pair.until("all hundred came", |pair| pair.heard.len() == 100).await;
    assert_eq!(pair.closed, 0);
}

/// More than a hundred topics, with all of which a node is greeted in one message.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_carries_each_of_many_shards() {
    let mut pair = Pair::linked(7).await;
    for shard in 0..128 {
        pair.say(shard, bytes(u32::try_from(shard).unwrap(), 300)).await;
    }
    pair.until("one of each shard came", |pair| pair.heard.len() == 128).await;
}

/// Who reads nothing is sent more until its queue is full, and that is soon: each message in it is a copy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_keeps_little_for_who_reads_nothing() {
    let mut pair = Pair::linked(0).await;
    let topic = pair.names.shards[0].hash();
    let (mut taken, mut before) = (0_u32, None);
    // The network takes some of it at first.
    while before != Some(taken) {
        before = Some(taken);
        while pair.one.behaviour_mut().gossipsub.publish(topic.clone(), bytes(taken, MAX_BATCH)).is_ok() {
            taken += 1;
            assert!(taken as usize * MAX_BATCH < 192 << 20, "more than 192 MiB wait for one peer");
        }
        let end = tokio::time::sleep(Duration::from_millis(200));
        tokio::pin!(end);
        loop {
            tokio::select! {
                () = &mut end => break,
                _ = pair.one.select_next_some() => {}
            }
        }
    }
    assert!(taken as usize > QUEUE / 2, "only {taken} were taken");
}

/// A link stays though nothing but pings runs over it, as to a peer that speaks no gossipsub: its streams would keep it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_keeps_idle_links() {
    let mut one = swarm(&Names::new("traps", 0));
    one.listen_on("/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
    let identity = Keypair::generate_ed25519();
    let pings = ping::Behaviour::new(ping::Config::new().with_interval(Duration::from_secs(1)));
    let quiet = transport(&identity, None).unwrap();
    let mut other = Swarm::new(quiet, pings, identity.public().to_peer_id(), settings());
    let (end, mut closed) = (tokio::time::sleep(Duration::from_secs(13)), 0);
    tokio::pin!(end);
    loop {
        tokio::select! {
            () = &mut end => break,
            event = one.select_next_some() => match event {
                SwarmEvent::NewListenAddr { address, .. } => other.dial(address).unwrap(),
                event => closed += usize::from(is_closed(&event)),
            },
            _ = other.select_next_some() => {}
        }
    }
    // The library's own limit is ten seconds.
    let peers: Vec<PeerId> = one.connected_peers().copied().collect();
    assert_eq!((closed, peers.len()), (0, 1), "an idle link is closed");
}

#[test]
fn it_names_the_topic_of_each_shard_of_the_network_and_of_no_other() {
    let names = Names::new("n", 2);
    for (bits, value, topic) in [
        (2, 0, Some("/anode/1/n/2-0")),
        (2, 3, Some("/anode/1/n/2-3")),
        (2, 4, None),
        (0, 0, None),
        (1, 1, None),
        (3, 1, None),
        (255, 1, None),
    ] {
        let topic = topic.map(|topic| IdentTopic::new(topic).hash());
        assert_eq!(names.shard(bits, value), topic, "{bits}-{value}");
    }
    assert_eq!(names.carried(), [(2, 0), (2, 1), (2, 2), (2, 3)]);
    assert_eq!(
        (Names::new("n", 0).shard(0, 0).is_some(), Names::new("n", 0).carried()),
        (true, vec![(0, 0)])
    );
}
