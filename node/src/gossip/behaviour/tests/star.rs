//! A node with more peers than its gossip mesh takes: those outside of it hear of messages by their ids.

use std::collections::BTreeSet;

use libp2p::futures::future::select_all;

use super::*;

/// More than the gossip mesh takes at most, which is ten.
const LEAVES: usize = 14;

/// A hub, to which all others are linked and nobody else.
struct Star {
    hub: Swarm<Behaviour>,
    leaves: Vec<Swarm<Behaviour>>,
    topic: TopicHash,
    /// When the hub was made.
    made: Instant,
    /// What each leaf heard, by number.
    heard: Vec<BTreeSet<u32>>,
}

impl Star {
    async fn linked() -> Self {
        let names = Names::new("traps", 0);
        let leaves: Vec<_> = (0..LEAVES).map(|_| swarm(&names)).collect();
        let (made, heard) = (Instant::now(), vec![BTreeSet::new(); LEAVES]);
        let mut star = Self { hub: swarm(&names), leaves, topic: names.shards[0].hash(), made, heard };
        star.hub.listen_on("/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
        let address = loop {
            if let SwarmEvent::NewListenAddr { address, .. } = star.hub.select_next_some().await {
                break address;
            }
        };
        star.leaves.iter_mut().for_each(|leaf| leaf.dial(address.clone()).unwrap());
        let knows = |swarm: &Swarm<Behaviour>, count| {
            swarm.behaviour().gossipsub.all_peers().filter(|(_, topics)| topics.len() == 2).count() == count
        };
        // Who is grafted only after something was passed on, and before ids are told, hears nothing of it.
        let grafted = |star: &Self| star.hub.behaviour().gossipsub.mesh_peers(&star.topic).count() == 10;
        star.until("all know each other's topics, and the gossip mesh is full", |star| {
            knows(&star.hub, LEAVES) && star.leaves.iter().all(|leaf| knows(leaf, 1)) && grafted(star)
        })
        .await;
        star
    }

    async fn until(&mut self, what: &str, so: impl Fn(&Self) -> bool) {
        let began = Instant::now();
        while !so(self) {
            let heard: Vec<usize> = self.heard.iter().map(BTreeSet::len).collect();
            assert!(began.elapsed() < PATIENCE, "never: {what}; heard {heard:?}");
            self.go_on(Duration::from_millis(20)).await;
        }
    }

    async fn go_on(&mut self, time: Duration) {
        let end = tokio::time::sleep(time);
        tokio::pin!(end);
        let Self { hub, leaves, heard, .. } = self;
        loop {
            let leaves = select_all(leaves.iter_mut().map(|leaf| leaf.select_next_some()));
            tokio::select! {
                () = &mut end => return,
                event = hub.select_next_some() => {
                    if let SwarmEvent::Behaviour(BehaviourEvent::Gossipsub(gossipsub::Event::Message {
                        propagation_source, message_id, ..
                    })) = event {
                        let accept = gossipsub::MessageAcceptance::Accept;
                        let gossipsub = &mut hub.behaviour_mut().gossipsub;
                        gossipsub.report_message_validation_result(&message_id, &propagation_source, accept);
                    }
                }
                (event, number, _) = leaves => {
                    if let SwarmEvent::Behaviour(BehaviourEvent::Gossipsub(gossipsub::Event::Message {
                        message, ..
                    })) = event {
                        heard[number].insert(u32::from_le_bytes(message.data[..4].try_into().unwrap()));
                    }
                }
            }
        }
    }
}

/// The ids of some busy seconds, told at once: more than the library takes by itself, which then ends the link for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_survives_the_ids_of_busy_seconds() {
    let mut star = Star::linked().await;
    for number in 0..3_000 {
        // What does not fit is lost here: the ids are what is tried.
        let _ = star.hub.behaviour_mut().gossipsub.publish(star.topic.clone(), bytes(number, 100));
        if number % 100 == 99 {
            star.go_on(Duration::from_millis(20)).await;
        }
    }
    // Some heartbeats, at which the ids are told.
    star.go_on(Duration::from_secs(3)).await;
    let late = 10_000..10_050;
    for number in late.clone() {
        star.hub.behaviour_mut().gossipsub.publish(star.topic.clone(), bytes(number, 100)).unwrap();
    }
    star.until("all heard what came later", |star| {
        star.heard.iter().all(|heard| late.clone().all(|number| heard.contains(&number)))
    })
    .await;
}

/// What a peer passes on reaches those outside of its gossip mesh by its heartbeat, and that begins at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_begins_to_tell_of_messages_at_once() {
    // The library's own first heartbeat comes after that.
    const FIRST: Duration = Duration::from_secs(5);
    let mut heard = Vec::new();
    // On a machine that does much beside the links alone may take long, which says nothing.
    for _ in 0..4 {
        let mut star = Star::linked().await;
        let all = |star: &Star| star.heard[1..].iter().all(|heard| !heard.is_empty());
        // Who is grafted between a message and the heartbeat hears nothing of that one, but of the next.
        for number in 0.. {
            if all(&star) || star.made.elapsed() > FIRST {
                break;
            }
            let leaf = &mut star.leaves[0].behaviour_mut().gossipsub;
            leaf.publish(star.topic.clone(), bytes(number, 100)).unwrap();
            star.go_on(Duration::from_millis(100)).await;
        }
        if all(&star) {
            return;
        }
        heard.push(star.heard.iter().map(BTreeSet::len).collect::<Vec<_>>());
    }
    panic!("nothing is told of within {FIRST:?}: {heard:?}");
}
