//! A peer that is no aNode: rust-libp2p over TCP, noise and yamux with keys of its own. It speaks the mesh's protocols and says
//! in them whatever a test wants.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use futures_util::StreamExt as _;
use libp2p::futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use libp2p::gossipsub::{self, IdentTopic, MessageAuthenticity, MessageId, ValidationMode};
use libp2p::request_response::{self, OutboundRequestId, ProtocolSupport, ResponseChannel};
use libp2p::swarm::{NetworkBehaviour, Swarm, SwarmEvent};
use libp2p::{Multiaddr, PeerId, StreamProtocol, SwarmBuilder, identify, noise, ping, tcp, yamux};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::forge::Forger;

/// How long a guest may take to be let in.
const JOIN: Duration = Duration::from_secs(20);
/// Longer than anything that nodes take, so that too long messages can be sent.
const MAX_MESSAGE: usize = 16 << 20;
/// Messages that are kept for tests to look at.
const HEARD: usize = 20_000;

/// What a guest answers to a question's frame; none: nothing, ever.
pub type Answers = Arc<dyn Fn(&[u8]) -> Option<Vec<u8>> + Send + Sync>;

/// Answers nothing.
#[must_use]
pub fn mute() -> Answers {
    Arc::new(|_| None)
}

/// Refuses every question, as those do who hold nothing.
#[must_use]
pub fn refusing() -> Answers {
    Arc::new(|_| Some(vec![0]))
}

/// A running guest.
#[derive(Debug)]
pub struct Guest {
    network: String,
    state: Arc<Mutex<State>>,
    orders: mpsc::Sender<Order>,
    _task: JoinSet<()>,
}

#[derive(Debug, Default)]
struct State {
    linked: BTreeMap<PeerId, usize>,
    subscribed: BTreeSet<PeerId>,
    /// How often the last connection to each peer ended.
    cuts: BTreeMap<PeerId, usize>,
    heard: Vec<(String, Vec<u8>)>,
    questions: usize,
    /// What each peer says that it speaks.
    speaks: BTreeMap<PeerId, String>,
    /// Where it listens, if it does.
    listens: Option<Multiaddr>,
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug)]
enum Order {
    Publish(String, Vec<u8>),
    Ask(PeerId, Vec<u8>, Option<oneshot::Sender<Result<Vec<u8>>>>),
    Dial(Multiaddr),
}

#[derive(NetworkBehaviour)]
struct Behaviour {
    gossipsub: gossipsub::Behaviour,
    repair: request_response::Behaviour<Frames>,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
}

impl Guest {
    /// Connects to nodes and waits until all count it as one that listens.
    ///
    /// # Errors
    /// Fails where that does not come.
    pub async fn join(who: &Forger, addresses: &[String], answers: Answers) -> Result<Self> {
        let guest = Self::start(who, addresses, answers, &format!("/anode/1/{}", who.network), false)?;
        let until = Instant::now() + JOIN;
        while lock(&guest.state).subscribed.len() < addresses.len() {
            ensure!(Instant::now() < until, "not let in: {:?}", lock(&guest.state));
            sleep(Duration::from_millis(10)).await;
        }
        Ok(guest)
    }

    /// One that says of itself that it speaks something of its own, and that others may dial.
    ///
    /// # Errors
    /// Fails where the key is not taken, or it cannot listen.
    pub async fn speaking(who: &Forger, speaks: &str) -> Result<Self> {
        let guest = Self::start(who, &[], refusing(), speaks, true)?;
        let until = Instant::now() + JOIN;
        while lock(&guest.state).listens.is_none() {
            ensure!(Instant::now() < until, "it does not listen");
            sleep(Duration::from_millis(10)).await;
        }
        Ok(guest)
    }

    fn start(
        who: &Forger,
        addresses: &[String],
        answers: Answers,
        speaks: &str,
        listens: bool,
    ) -> Result<Self> {
        let pair = who.keypair().context("no key")?;
        let behaviour = behaviour(&pair, &who.network, speaks)?;
        let mut swarm = SwarmBuilder::with_existing_identity(pair)
            .with_tokio()
            .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)?
            .with_behaviour(|_| behaviour)?
            .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(3_600)))
            .build();
        if listens {
            swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse()?)?;
        }
        for address in addresses {
            swarm.dial(address.parse::<Multiaddr>()?)?;
        }
        let state = Arc::new(Mutex::new(State::default()));
        let (orders, ordered) = mpsc::channel(1_024);
        let mut task = JoinSet::new();
        let run = Run { swarm, state: state.clone(), answers, asked: HashMap::new(), held: Vec::new() };
        task.spawn(run.run(ordered));
        Ok(Self { network: who.network.clone(), state, orders, _task: task })
    }

    /// Connects to a node again.
    ///
    /// # Errors
    /// Fails where the address is none.
    pub async fn again(&self, address: &str) -> Result<()> {
        self.order(Order::Dial(address.parse()?)).await
    }

    async fn order(&self, order: Order) -> Result<()> {
        self.orders.send(order).await.map_err(|_| anyhow!("the guest is gone"))
    }

    /// Says something on the topic of batches, however often it said the same.
    ///
    /// # Errors
    /// Fails where the guest is gone.
    pub async fn gossip(&self, bytes: &[u8]) -> Result<()> {
        self.publish("0-0", bytes).await
    }

    /// Says something on the topic of beacons.
    ///
    /// # Errors
    /// Fails where the guest is gone.
    pub async fn beacon(&self, bytes: &[u8]) -> Result<()> {
        self.publish("presence", bytes).await
    }

    async fn publish(&self, topic: &str, bytes: &[u8]) -> Result<()> {
        self.order(Order::Publish(format!("/anode/1/{}/{topic}", self.network), bytes.to_vec())).await
    }

    /// Asks a node and waits for its answer.
    ///
    /// # Errors
    /// Fails where none comes.
    pub async fn ask(&self, node: &str, frame: &[u8]) -> Result<Vec<u8>> {
        let (reply, answer) = oneshot::channel();
        self.order(Order::Ask(node.parse()?, frame.to_vec(), Some(reply))).await?;
        answer.await.context("the guest is gone")?
    }

    /// Asks a node and does not care for the answer.
    ///
    /// # Errors
    /// Fails where the guest is gone.
    pub async fn press(&self, node: &str, frame: &[u8]) -> Result<()> {
        self.order(Order::Ask(node.parse()?, frame.to_vec(), None)).await
    }

    /// Whether it is connected to a node.
    ///
    /// # Errors
    /// Fails where the id is none.
    pub fn is_linked(&self, node: &str) -> Result<bool> {
        Ok(lock(&self.state).linked.contains_key(&node.parse()?))
    }

    /// How often a node, or what lies between, ended the last connection.
    ///
    /// # Errors
    /// Fails where the id is none.
    pub fn cuts(&self, node: &str) -> Result<usize> {
        Ok(lock(&self.state).cuts.get(&node.parse()?).copied().unwrap_or(0))
    }

    /// Where it listens.
    ///
    /// # Errors
    /// Fails where it does not.
    pub fn address(&self) -> Result<String> {
        Ok(lock(&self.state).listens.as_ref().context("it does not listen")?.to_string())
    }

    /// What a node says that it speaks, once it said so.
    ///
    /// # Errors
    /// Fails where the id is none.
    pub fn speech_of(&self, node: &str) -> Result<Option<String>> {
        Ok(lock(&self.state).speaks.get(&node.parse()?).cloned())
    }

    /// Waits until a node has cut it off; gives the time.
    ///
    /// # Errors
    /// Fails where that does not come.
    pub async fn until_cut(&self, node: &str, patience: Duration) -> Result<Duration> {
        let began = Instant::now();
        while self.cuts(node)? == 0 {
            ensure!(began.elapsed() < patience, "{node} goes on with the guest after {patience:?}");
            sleep(Duration::from_millis(20)).await;
        }
        Ok(began.elapsed())
    }

    /// How many questions nodes asked it.
    #[must_use]
    pub fn questions(&self) -> usize {
        lock(&self.state).questions
    }

    /// The batches that it heard by gossip.
    #[must_use]
    pub fn batches(&self) -> Vec<Vec<u8>> {
        let state = lock(&self.state);
        state
            .heard
            .iter()
            .filter(|(topic, _)| topic.ends_with("/0-0"))
            .map(|(_, bytes)| bytes.clone())
            .collect()
    }

    /// Waits until it has heard so many batches.
    ///
    /// # Errors
    /// Fails where they do not come.
    pub async fn until_heard(&self, count: usize, patience: Duration) -> Result<Vec<Vec<u8>>> {
        let until = Instant::now() + patience;
        loop {
            let batches = self.batches();
            if batches.len() >= count {
                return Ok(batches);
            }
            ensure!(Instant::now() < until, "only {} of {count} batches were heard", batches.len());
            sleep(Duration::from_millis(20)).await;
        }
    }
}

fn behaviour(pair: &libp2p::identity::Keypair, network: &str, speaks: &str) -> Result<Behaviour> {
    static SAID: AtomicU64 = AtomicU64::new(0);
    let config = gossipsub::ConfigBuilder::default()
        .validation_mode(ValidationMode::Anonymous)
        // Nothing that it says counts as said before.
        .message_id_fn(|_| MessageId::from(SAID.fetch_add(1, Ordering::Relaxed).to_be_bytes().to_vec()))
        .max_transmit_size(MAX_MESSAGE)
        .max_control_message_size(1 << 20)
        .flood_publish(true)
        .heartbeat_initial_delay(Duration::from_millis(100))
        .heartbeat_interval(Duration::from_millis(700))
        .build()?;
    let mut gossipsub = gossipsub::Behaviour::new(MessageAuthenticity::Anonymous, config)
        .map_err(|error| anyhow!("gossipsub: {error}"))?;
    for topic in ["0-0", "presence"] {
        gossipsub.subscribe(&IdentTopic::new(format!("/anode/1/{network}/{topic}")))?;
    }
    let repair = StreamProtocol::try_from_owned(format!("/anode/1/{network}/repair"))?;
    let patience = request_response::Config::default()
        .with_request_timeout(Duration::from_secs(60))
        .with_max_concurrent_streams(256);
    let identify = identify::Config::new(speaks.to_owned(), pair.public());
    Ok(Behaviour {
        gossipsub,
        repair: request_response::Behaviour::with_codec(Frames, [(repair, ProtocolSupport::Full)], patience),
        identify: identify::Behaviour::new(identify),
        ping: ping::Behaviour::default(),
    })
}

struct Run {
    swarm: Swarm<Behaviour>,
    state: Arc<Mutex<State>>,
    answers: Answers,
    asked: HashMap<OutboundRequestId, oneshot::Sender<Result<Vec<u8>>>>,
    /// Questions that are never answered.
    held: Vec<ResponseChannel<Vec<u8>>>,
}

impl Run {
    async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => self.order(order),
                    None => return,
                },
                event = self.swarm.select_next_some() => self.event(event),
            }
        }
    }

    fn order(&mut self, order: Order) {
        match order {
            // A guest that says more than goes out loses it, as nodes do.
            Order::Publish(topic, bytes) => {
                let _ = self.swarm.behaviour_mut().gossipsub.publish(IdentTopic::new(topic), bytes);
            }
            Order::Ask(peer, frame, reply) => {
                let number = self.swarm.behaviour_mut().repair.send_request(&peer, frame);
                reply.map(|reply| self.asked.insert(number, reply));
            }
            Order::Dial(address) => _ = self.swarm.dial(address),
        }
    }

    fn event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::ConnectionEstablished { peer_id, num_established, .. } => {
                lock(&self.state).linked.insert(peer_id, num_established.get() as usize);
            }
            SwarmEvent::ConnectionClosed { peer_id, num_established: 0, .. } => {
                let mut state = lock(&self.state);
                state.linked.remove(&peer_id);
                *state.cuts.entry(peer_id).or_default() += 1;
            }
            SwarmEvent::NewListenAddr { address, .. } => lock(&self.state).listens = Some(address),
            SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Received {
                peer_id,
                info,
                ..
            })) => _ = lock(&self.state).speaks.insert(peer_id, info.protocol_version),
            SwarmEvent::Behaviour(BehaviourEvent::Gossipsub(event)) => self.gossiped(event),
            SwarmEvent::Behaviour(BehaviourEvent::Repair(event)) => self.repair(event),
            _ => {}
        }
    }

    fn gossiped(&mut self, event: gossipsub::Event) {
        let mut state = lock(&self.state);
        match event {
            gossipsub::Event::Message { message, .. } if state.heard.len() < HEARD => {
                state.heard.push((message.topic.into_string(), message.data));
            }
            gossipsub::Event::Subscribed { peer_id, topic } if topic.as_str().ends_with("/0-0") => {
                state.subscribed.insert(peer_id);
            }
            _ => {}
        }
    }

    fn repair(&mut self, event: request_response::Event<Vec<u8>, Vec<u8>>) {
        match event {
            request_response::Event::Message { message, .. } => match message {
                request_response::Message::Request { request, channel, .. } => {
                    lock(&self.state).questions += 1;
                    match (self.answers)(&request) {
                        Some(frame) => _ = self.swarm.behaviour_mut().repair.send_response(channel, frame),
                        None => self.held.push(channel),
                    }
                }
                request_response::Message::Response { request_id, response } => {
                    self.asked.remove(&request_id).map(|reply| reply.send(Ok(response)));
                }
            },
            request_response::Event::OutboundFailure { request_id, error, .. } => {
                self.asked.remove(&request_id).map(|reply| reply.send(Err(anyhow!("no answer: {error}"))));
            }
            _ => {}
        }
    }
}

/// The full address of a node.
///
/// # Errors
/// Fails where its status has none.
pub async fn address(node: &crate::node::Node) -> Result<String> {
    let status = node.http()?.get("/api/v1/status").await?;
    let all = status["node"]["addresses"].as_array().context("no addresses")?;
    let tcp = |text: &&str| text.contains("/tcp/") && !text.contains("/ws");
    let found = all.iter().filter_map(|address| address.as_str()).find(tcp);
    Ok(found.with_context(|| format!("no address by TCP: {all:?}"))?.to_owned())
}

/// Frames of repair as they are: a length, then as many bytes, whatever they say.
#[derive(Clone, Debug, Default)]
struct Frames;

impl request_response::Codec for Frames {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Vec<u8>;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io).await
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io).await
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, frame: Vec<u8>) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, &frame).await
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, io: &mut T, frame: Vec<u8>) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, &frame).await
    }
}

async fn read<T: AsyncRead + Unpin + Send>(io: &mut T) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    io.read_exact(&mut length).await?;
    let mut frame = vec![0; (u32::from_le_bytes(length) as usize).min(MAX_MESSAGE)];
    io.read_exact(&mut frame).await?;
    Ok(frame)
}

async fn write<T: AsyncWrite + Unpin + Send>(io: &mut T, frame: &[u8]) -> io::Result<()> {
    io.write_all(&crate::forge::lead(frame)).await?;
    io.close().await
}

/// Fails unless the guest is cut off by all nodes within the patience.
///
/// # Errors
/// As said.
pub async fn ensure_cut(guest: &Guest, nodes: &[String], patience: Duration) -> Result<Duration> {
    let mut longest = Duration::ZERO;
    for node in nodes {
        match guest.until_cut(node, patience).await {
            Ok(took) => longest = longest.max(took),
            Err(error) => bail!("{error:#}"),
        }
    }
    Ok(longest)
}
