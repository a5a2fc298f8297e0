//! What the node says and answers on its connections, and how each protocol is set up.
//!
//! The numbers of gossipsub are not its defaults: with those a link dies silently under load, or fills the memory.

use std::collections::HashSet;
use std::time::Duration;

use anode_shared::batch::MAX_BATCH;
use anyhow::anyhow;
use libp2p::gossipsub::{
    self, IdentTopic, IdentityTransform, MessageAuthenticity, MessageId, PeerScoreParams,
    PeerScoreThresholds, TopicHash, TopicScoreParams, ValidationMode, WhitelistSubscriptionFilter,
};
use libp2p::identity::Keypair;
use libp2p::kad::store::MemoryStore;
use libp2p::request_response::{self, ProtocolSupport};
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{StreamProtocol, identify, kad, mdns, memory_connection_limits, ping};
use sha2::{Digest as _, Sha256};

use super::limits::Limits;
use super::runs;
use super::wire::Frames;

/// Bytes of a gossip message's id: short, for thousands are named at once, and still nobody finds two alike.
const MESSAGE_ID: usize = 16;
/// At least four of the largest batches: gossipsub holds its read-ahead against this limit and drops the link for ever above it.
const MAX_TRANSMIT: usize = 2 << 20;
/// The ids of a busy second in one message; above this limit the receiver drops the link as well.
const MAX_CONTROL: usize = 1 << 20;
/// Batches that wait for one peer. What does not fit is fetched by repair; what does costs memory for each peer.
const QUEUE: usize = 256;
/// Above this share of the machine's memory no more connections are taken.
const MEMORY_SHARE: f64 = 0.8;
/// Questions that a peer may have open at once.
const MAX_STREAMS: usize = 64;
/// How long a question may take: longer than `ack=replicated` is held open.
const QUESTION: Duration = Duration::from_secs(15);

// Read-ahead counts against the first; of the second's kind five thousand come at once, each with a tag and a length; and what
// waits for one slow peer is a copy of each batch.
const _: () = assert!(
    MAX_TRANSMIT >= 4 * MAX_BATCH && MAX_CONTROL > 5_000 * (MESSAGE_ID + 2) && QUEUE * MAX_BATCH <= 64 << 20
);

/// All protocols of a node.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    pub(super) gossipsub: Gossipsub,
    pub(super) repair: request_response::Behaviour<Frames>,
    pub(super) identify: identify::Behaviour,
    pub(super) kad: kad::Behaviour<MemoryStore>,
    pub(super) ping: ping::Behaviour,
    pub(super) mdns: Toggle<mdns::tokio::Behaviour>,
    pub(super) limits: Limits,
    memory: memory_connection_limits::Behaviour,
}

type Gossipsub = gossipsub::Behaviour<IdentityTransform, WhitelistSubscriptionFilter>;

/// The names under which a network's nodes speak, so that networks never mix.
#[derive(Debug, Clone)]
pub(super) struct Names {
    /// What identify says: nodes that say otherwise are disconnected.
    pub(super) version: String,
    /// The gossip topic of beacons.
    pub(super) presence: IdentTopic,
    /// The gossip topics of batches, by shard.
    pub(super) shards: Vec<IdentTopic>,
}

impl Names {
    /// The names in a network of `1 << bits` shards.
    pub(super) fn new(network: &str, bits: u8) -> Self {
        let version = format!("/anode/1/{network}");
        Self {
            presence: IdentTopic::new(format!("{version}/presence")),
            shards: (0..1_u32 << bits)
                .map(|shard| IdentTopic::new(format!("{version}/{bits}-{shard}")))
                .collect(),
            version,
        }
    }

    /// The gossip topic of a shard; none where the network has no such shard.
    pub(super) fn shard(&self, bits: u8, value: u32) -> Option<TopicHash> {
        let topic = self.shards.get(value as usize).filter(|_| bits < 16 && 1 << bits == self.shards.len());
        topic.map(IdentTopic::hash)
    }

    /// The shards: how many bits, and their value.
    pub(super) fn carried(&self) -> Vec<(u8, u32)> {
        let count = u32::try_from(self.shards.len()).unwrap_or(u32::MAX);
        let bits = u8::try_from(count.ilog2()).unwrap_or(u8::MAX);
        (0..count).map(|value| (bits, value)).collect()
    }

    fn protocol(&self, name: &str) -> anyhow::Result<StreamProtocol> {
        Ok(StreamProtocol::try_from_owned(format!("{}/{name}", self.version))?)
    }

    fn topics(&self) -> HashSet<TopicHash> {
        self.shards.iter().chain([&self.presence]).map(IdentTopic::hash).collect()
    }
}

impl Behaviour {
    /// Sets all protocols up.
    ///
    /// # Errors
    /// When the network's name makes no protocol's name, or mDNS finds no interface.
    pub(super) fn new(identity: &Keypair, names: &Names, run: u64, mdns: bool) -> anyhow::Result<Self> {
        let peer = identity.public().to_peer_id();
        let mut kad = kad::Behaviour::with_config(peer, MemoryStore::new(peer), kad_config(names)?);
        // Without this it waits for a confirmed outside address, which a private network never has.
        kad.set_mode(Some(kad::Mode::Server));
        let questions = request_response::Config::default()
            .with_request_timeout(QUESTION)
            .with_max_concurrent_streams(MAX_STREAMS);
        let repair = [(names.protocol("repair")?, ProtocolSupport::Full)];
        let discovery =
            mdns.then(|| mdns::tokio::Behaviour::new(mdns::Config::default(), peer)).transpose()?;
        let identify = identify::Config::new(names.version.clone(), identity.public())
            .with_agent_version(runs::agent(env!("CARGO_PKG_VERSION"), run))
            .with_push_listen_addr_updates(true)
            .with_interval(Duration::from_secs(60));
        Ok(Self {
            gossipsub: gossipsub(names)?,
            repair: request_response::Behaviour::with_codec(Frames, repair, questions),
            identify: identify::Behaviour::new(identify),
            kad,
            ping: ping::Behaviour::new(ping::Config::new().with_interval(Duration::from_secs(5))),
            mdns: discovery.into(),
            limits: Limits::default(),
            memory: memory_connection_limits::Behaviour::with_max_percentage(MEMORY_SHARE),
        })
    }
}

fn kad_config(names: &Names) -> anyhow::Result<kad::Config> {
    let mut config = kad::Config::new(names.protocol("kad")?);
    // Only peers are looked up here: nobody else's records are kept.
    config.set_record_filtering(kad::StoreInserts::FilterBoth);
    config.set_periodic_bootstrap_interval(Some(Duration::from_secs(60)));
    Ok(config)
}

fn gossipsub(names: &Names) -> anyhow::Result<Gossipsub> {
    let config = gossipsub::ConfigBuilder::default()
        // Batches and beacons carry their origin's signature; another for each hop would only cost.
        .validation_mode(ValidationMode::Anonymous)
        .validate_messages()
        .message_id_fn(message_id)
        .max_transmit_size(MAX_TRANSMIT)
        .max_control_message_size(MAX_CONTROL)
        .max_publish_messages(5_000)
        .mesh_n(6)
        .mesh_n_low(4)
        .mesh_n_high(10)
        .mesh_outbound_min(2)
        .flood_publish(true)
        .heartbeat_interval(Duration::from_millis(700))
        .heartbeat_initial_delay(Duration::from_millis(150))
        .history_length(4)
        .history_gossip(3)
        .connection_handler_queue_len(QUEUE)
        .publish_queue_duration(Duration::from_secs(3))
        .forward_queue_duration(Duration::from_secs(1))
        .idontwant_message_size_threshold(8 << 10)
        .idontwant_on_publish(true)
        .duplicate_cache_time(Duration::from_secs(120))
        .build()?;
    let filter = WhitelistSubscriptionFilter(names.topics());
    let mut gossipsub =
        Gossipsub::new_with_subscription_filter(MessageAuthenticity::Anonymous, config, filter)
            .map_err(|error| anyhow!("gossipsub: {error}"))?;
    gossipsub
        .with_peer_score(scores(names), PeerScoreThresholds::default())
        .map_err(|error| anyhow!("gossipsub's scores: {error}"))?;
    for topic in names.shards.iter().chain([&names.presence]) {
        gossipsub.subscribe(topic)?;
    }
    Ok(gossipsub)
}

/// Peers lose score by invalid messages alone: in a mesh that may be silent for hours nothing else tells good from bad.
fn scores(names: &Names) -> PeerScoreParams {
    let topic = TopicScoreParams {
        time_in_mesh_weight: 0.0,
        first_message_deliveries_weight: 0.0,
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        // Three in a row pass the graylist's threshold of -80; half is forgiven each minute.
        invalid_message_deliveries_weight: -10.0,
        invalid_message_deliveries_decay: 0.99,
        ..TopicScoreParams::default()
    };
    PeerScoreParams {
        topics: names.topics().into_iter().map(|hash| (hash, topic.clone())).collect(),
        // Nodes of one machine or behind one NAT share their address.
        ip_colocation_factor_weight: 0.0,
        behaviour_penalty_weight: -1.0,
        behaviour_penalty_threshold: 6.0,
        // As long as peers are cut off here. Each key that ever connected is remembered so long.
        retain_score: Duration::from_secs(600),
        ..PeerScoreParams::default()
    }
}

/// A message's id is made of its bytes: a field of the header could be forged, and would then keep the true one out.
pub(super) fn message_id(message: &gossipsub::Message) -> MessageId {
    MessageId::new(&Sha256::digest(&message.data)[..MESSAGE_ID])
}

#[cfg(test)]
mod tests;
