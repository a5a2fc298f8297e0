//! ★ The only wiring: opens the stages in the order in which data flows, and closes them in the same order.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anode_shared::ids::Origin;
use anode_shared::status::{Level, Retention};
use anyhow::{Context as _, bail};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};
use url::Url;

use crate::api::auth::Access;
use crate::api::{Deps, Events, Gate, NodeInfo, Phase, list_sources};
use crate::archive::{Archive, Door};
use crate::config::{Config, HttpConfig, mesh};
use crate::demo::{self, DemoFeed, DemoOptions};
use crate::feed::Feed;
use crate::gossip::presence::INTERVAL;
use crate::gossip::{Gossip, GossipConfig, News, Peers};
use crate::identity::{AdminToken, DataDir, Identity, write_atomically};
use crate::known::Known;
use crate::source::connector::{Connector, System};
use crate::source::guard::Guard;
use crate::source::request::Http;
use crate::source::secrets::Secrets;
use crate::source::{Parts, Sources, tls};
use crate::store::{Folder, Store, StoreOptions};

/// The file by which the commands find the node.
const ADDRESS: &str = "http.addr";
/// How long storing what is in flight may take at a stop: with [`CLOSING`] below the 30 s after which container systems kill.
const DEADLINE: Duration = Duration::from_secs(18);
/// How long sources may take to end before that, so that their last records are stored.
const READING: Duration = Duration::from_secs(3);
/// How long connections may take to end after that. Whoever reads takes milliseconds; whoever does not must not hold the node.
const CLOSING: Duration = Duration::from_secs(5);
/// How many ports after the default one are tried where that is taken: more nodes than anyone runs by hand on one machine.
const PORTS: u16 = 100;
/// Connections that may wait to be accepted: many subscribers come back at once after a restart.
const BACKLOG: u32 = 4_096;

/// A running node.
#[derive(Debug)]
pub struct Node {
    data_dir: DataDir,
    origin: Origin,
    name: String,
    token: AdminToken,
    show_token: bool,
    public_url: Option<Url>,
    bound: Bound,
    demo: Option<DemoFeed>,
    sources: Sources,
    store: Store,
    feed: Feed,
    events: Events,
    phase: watch::Sender<Phase>,
    cancel: CancellationToken,
    tracker: TaskTracker,
}

impl Node {
    /// Starts a node: data directory and identity, the port, on which it says from then on that it is starting, the store,
    /// then the API and the feed on them.
    ///
    /// # Errors
    /// When one of them cannot be had, with what to do about it.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        let began = Instant::now();
        let data_dir = DataDir::open(&config.data_dir)?;
        let _ = std::fs::remove_file(data_dir.join(ADDRESS));
        let identity = data_dir.identity()?;
        let token = data_dir.admin_token(config.http.admin_token_file.as_deref())?;
        let show_token = token.new || config.http.show_link;
        let origin = identity.origin()?;
        let name = config.name.clone().unwrap_or_else(|| default_name(&origin));
        let (listener, bound) = listen(&config.http)?;
        let (cancel, tracker) = (CancellationToken::new(), TaskTracker::new());
        // What serves already ends where the start fails.
        let starting = cancel.clone().drop_guard();
        let gate = Gate::open(listener, cancel.clone(), &tracker);
        let peers = Peers::new();
        let archive = make_archive(&config, origin)?;
        let store = open_store(&data_dir, &config, &identity, peers.clone(), &archive).await?;
        let known = Known::read(data_dir.path(), &config.network);
        let mesh = mesh_config(&config, &name, &known)?;
        let (gossip, news) = Gossip::start(mesh, identity.keypair(), &store, &peers, &tracker, &cancel)?;
        let (feed, events) = (Feed::new(store.clone()), Events::default());
        let demo = start_demo(&config).await?;
        let market = demo.as_ref().map(|demo| demo.addresses().http);
        let sources = open_sources(&data_dir, &config, market, &store, &events, &cancel, &tracker).await?;
        gossip.lend(list_sources(sources.clone()));
        start_archive(&archive, &store, &gossip, &events, &cancel, &tracker);
        let (phase, phases) = watch::channel(Phase::Starting);
        let deps = Deps {
            node: describe(&config, origin, name.clone()),
            access: Access::new(&token.text, config.http.open_publish, config.http.allow_origins.clone()),
            store: store.clone(),
            feed: feed.clone(),
            sources: sources.clone(),
            gossip: gossip.clone(),
            archive: archive.clone(),
            events: events.clone(),
            phase: phases,
            cancel: cancel.clone(),
            tracker: tracker.clone(),
        };
        gate.serve(deps)?;
        tracker.spawn(tell(news, events.clone(), cancel.clone()));
        tracker.spawn(known.keep(gossip.clone(), cancel.clone()));
        sources.start();
        phase.send_replace(Phase::Ready);
        write_atomically(&data_dir.join(ADDRESS), format!("{}\n", bound.address).as_bytes(), 0o644)?;
        events.push(Level::Info, "node", "started", &format!("{name} listens on {}", bound.address));
        info!(%origin, address = %bound.address, took_ms = began.elapsed().as_millis(), "Node started");
        starting.disarm();
        Ok(Self {
            data_dir,
            origin,
            name,
            token,
            show_token,
            public_url: config.http.public_url,
            bound,
            demo,
            sources,
            store,
            feed,
            events,
            phase,
            cancel,
            tracker,
        })
    }

    /// Its peer id.
    pub fn id(&self) -> Origin {
        self.origin
    }

    /// Its name in the dashboard.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its data is.
    pub fn data_dir(&self) -> &Path {
        self.data_dir.path()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.bound.address
    }

    /// The address that it would have taken, had it been free.
    pub fn taken(&self) -> Option<SocketAddr> {
        self.bound.taken
    }

    /// Where the made-up market is, where one runs beside the node.
    pub fn demo(&self) -> Option<SocketAddr> {
        self.demo.as_ref().map(|demo| demo.addresses().http)
    }

    /// Where browsers reach it, where that is not where it listens.
    pub fn public_url(&self) -> Option<&Url> {
        self.public_url.as_ref()
    }

    /// The admin token, where this start made it or is to show it.
    pub fn shown_token(&self) -> Option<&str> {
        self.show_token.then_some(self.token.text.as_str())
    }

    /// Stops the node in the order in which data flows: nothing new is taken, what is in flight is stored and
    /// acknowledged, then the sockets close.
    ///
    /// # Errors
    /// When storing takes too long. What was acknowledged is stored all the same.
    pub async fn shutdown(mut self) -> anyhow::Result<()> {
        let demo = self.demo.take();
        let (sources, store) = (self.sources.clone(), self.store.clone());
        let stored = async {
            if tokio::time::timeout(READING, sources.shutdown()).await.is_err() {
                warn!("Cut sources that did not end within {} s", READING.as_secs());
            }
            if let Some(demo) = demo {
                demo.stop().await;
            }
            let drained = tokio::task::spawn_blocking(move || store.drain());
            let late = || format!("what is in flight was not stored within {} s", DEADLINE.as_secs());
            tokio::time::timeout(DEADLINE, drained).await.with_context(late)?.context("the store broke")
        };
        self.stop(stored).await
    }

    /// Stops; the connections are closed, and told so, also where storing what is in flight fails.
    async fn stop(self, stored: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
        let _ = std::fs::remove_file(self.data_dir.join(ADDRESS));
        self.phase.send_replace(Phase::Draining);
        self.events.push(
            Level::Info,
            "node",
            "stopping",
            "what is in flight is finished, nothing new is taken",
        );
        let stored = stored.await;
        let closed = async {
            self.cancel.cancel();
            self.tracker.close();
            tokio::join!(self.feed.shutdown(), self.tracker.wait());
        };
        if tokio::time::timeout(CLOSING, closed).await.is_err() {
            warn!("Cut connections that did not end within {} s", CLOSING.as_secs());
        }
        if stored.is_ok() {
            info!("Node stopped");
        }
        stored
    }
}

/// Opens the store that lies in the data directory.
async fn open_store(
    data_dir: &DataDir,
    config: &Config,
    identity: &Identity,
    peers: Arc<Peers>,
    archive: &Archive,
) -> anyhow::Result<Store> {
    let path = data_dir.join("store");
    let key = identity.signing_key()?;
    let options = StoreOptions {
        network: config.network.clone(),
        retain_age: config.store.retain_age,
        retain_bytes: config.store.retain_bytes,
        reserve_disk: config.store.reserve_disk_bytes,
        segment_bytes: config.store.segment_bytes,
        archiver: archive.archiver(),
        ..StoreOptions::default()
    };
    let open = move || {
        let shown = path.display().to_string();
        let folder = Folder::new(path).with_context(|| format!("cannot make {shown}"))?;
        let store = Store::open(Arc::new(folder), options, key, peers);
        store.with_context(|| format!("cannot open the store in {shown}"))
    };
    tokio::task::spawn_blocking(open).await.context("the store broke while opening")?
}

/// Starts a made-up market, where one is asked for.
async fn start_demo(config: &Config) -> anyhow::Result<Option<DemoFeed>> {
    if !config.demo {
        return Ok(None);
    }
    DemoFeed::start(&DemoOptions::default()).await.map(Some).context("cannot start the demo feed")
}

/// The archive, where one is configured.
fn make_archive(config: &Config, me: Origin) -> anyhow::Result<Archive> {
    let Some(archive) = config.archive.clone() else { return Ok(Archive::off()) };
    let tls =
        archive.tls.then(|| tls::client(archive.ca.as_deref())).transpose().context("--cassandra-ca")?;
    let plain = |tls: Arc<rustls::ClientConfig>| {
        let mut tls = (*tls).clone();
        // Made for HTTP; Cassandra's protocol has no name there.
        tls.alpn_protocols.clear();
        Arc::new(tls)
    };
    Ok(Archive::new(Door { config: archive, tls: tls.map(plain), network: config.network.clone() }, me))
}

/// Lets the archive begin. The node waits for nothing there.
fn start_archive(
    archive: &Archive,
    store: &Store,
    gossip: &Gossip,
    events: &Events,
    cancel: &CancellationToken,
    tracker: &TaskTracker,
) {
    let (mesh, told) = (gossip.clone(), events.clone());
    let archivers = Box::new(move || mesh.view().archivers.clone());
    let tell = Box::new(move |level, kind: &str, detail: &str| told.push(level, "archive", kind, detail));
    archive.start(store.clone(), archivers, tell, tracker, cancel);
}

/// How the mesh is joined.
fn mesh_config(config: &Config, name: &str, known: &Known) -> anyhow::Result<GossipConfig> {
    let mesh = &config.mesh;
    let listen = if mesh.listen.is_empty() { mesh.default_listen(free_port()) } else { mesh.listen.clone() };
    let mdns = !mesh.no_mdns && mesh.named;
    Ok(GossipConfig {
        network: config.network.clone(),
        name: name.to_owned(),
        listen,
        bootstrap: mesh.bootstrap.iter().cloned().chain(mesh.neighbours()).chain(known.addresses()).collect(),
        named: mesh.bootstrap.len(),
        announce: mesh.announce.clone(),
        mdns,
        network_key: mesh.key()?,
        origins: mesh.origins.clone(),
        origin_rate: mesh.origin_rate,
        pace: INTERVAL,
        retain_age: config.store.retain_age,
    })
}

/// The first port from the default one on that nobody listens on, for TCP and UDP; 0 where all are taken.
fn free_port() -> u16 {
    let free = |port: &u16| {
        let any = (std::net::Ipv4Addr::UNSPECIFIED, *port);
        std::net::TcpListener::bind(any).is_ok() && std::net::UdpSocket::bind(any).is_ok()
    };
    (mesh::PORT..mesh::PORT + mesh::PORTS).find(free).unwrap_or(0)
}

/// Puts what happens in the mesh among the events.
async fn tell(mut news: mpsc::Receiver<News>, events: Events, cancel: CancellationToken) {
    while let Some(Some(news)) = cancel.run_until_cancelled(news.recv()).await {
        let (level, kind, detail) = news.words();
        events.push(level, "gossip", kind, &detail);
    }
}

/// Finds the sources that are registered, and registers those of the configuration's file.
async fn open_sources(
    data_dir: &DataDir,
    config: &Config,
    market: Option<SocketAddr>,
    store: &Store,
    events: &Events,
    cancel: &CancellationToken,
    tracker: &TaskTracker,
) -> anyhow::Result<Sources> {
    let allowed = config.sources.allow_private.clone();
    let guard = Guard::new(market.into_iter().fold(allowed, |allowed, market| allowed.and(market.into())));
    let tls = tls::client(config.sources.ca.as_deref())?;
    let connector = Connector::new(guard, tls, Arc::new(System::default()));
    let told = events.clone();
    let parts = Parts {
        store: store.clone(),
        http: Http::new(connector.clone(), tracker.clone(), cancel.clone()),
        connector,
        secrets: Secrets::new(data_dir.path()),
        dir: data_dir.join("sources"),
        told: Box::new(move |level, kind, detail| told.push(level, "sources", kind, detail)),
    };
    let file = config.sources.file.clone();
    let open = move || {
        let sources = Sources::open(parts)?;
        if let Some(file) = file {
            sources.import(&file)?;
        }
        for definition in market.into_iter().flat_map(demo::sources::definitions) {
            let name = definition.name.clone();
            if let Err(error) = sources.pass(definition) {
                warn!(source = name, %error, "Left out a source of the demo");
            }
        }
        Ok(sources)
    };
    tokio::task::spawn_blocking(open).await.context("the sources broke while opening")?
}

/// What the API says of the node.
fn describe(config: &Config, id: Origin, name: String) -> NodeInfo {
    let retention = Retention { age_s: config.store.retain_age.as_secs(), bytes: config.store.retain_bytes };
    NodeInfo { id, name, network: config.network.clone(), retention }
}

/// A short name out of the peer id's end, which differs between nodes.
fn default_name(origin: &Origin) -> String {
    let id = origin.to_string();
    format!("node-{}", &id[id.len() - 6..])
}

/// Where the node listens, and what it could not have.
#[derive(Debug, Clone, Copy)]
struct Bound {
    address: SocketAddr,
    taken: Option<SocketAddr>,
}

/// Binds the HTTP address. Only one that nobody chose gives way to the next free port.
fn listen(config: &HttpConfig) -> anyhow::Result<(TcpListener, Bound)> {
    let wanted = config.address;
    for address in candidates(wanted, config.address_given) {
        match bind(address) {
            Ok(listener) => {
                let bound = listener.local_addr()?;
                let taken = (address != wanted).then_some(wanted);
                return Ok((listener, Bound { address: bound, taken }));
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && !config.address_given => {}
            Err(error) => {
                return Err(error).with_context(|| {
                    format!("cannot listen on {wanted}; name another address with --http, or let --http {}:0 pick a port", host(wanted.ip()))
                });
            }
        }
    }
    bail!("no port from {} on is free; name an address with --http", wanted.port())
}

fn host(ip: IpAddr) -> String {
    if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() }
}

/// The addresses to try, in order.
fn candidates(wanted: SocketAddr, given: bool) -> impl Iterator<Item = SocketAddr> {
    let more = if given { 0 } else { PORTS };
    (wanted.port()..=wanted.port().saturating_add(more)).map(move |port| SocketAddr::new(wanted.ip(), port))
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A port whose last connections are still closing can be taken again: else a restart would have to wait.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::StreamExt as _;

    fn http(address: SocketAddr, address_given: bool) -> HttpConfig {
        HttpConfig {
            address,
            address_given,
            admin_token_file: None,
            public_url: None,
            show_link: false,
            open_publish: false,
            allow_origins: Vec::new(),
        }
    }

    #[tokio::test]
    async fn it_gives_way_only_where_nobody_chose_the_port() {
        let (_first, bound) = listen(&http("127.0.0.1:0".parse().unwrap(), true)).unwrap();
        assert_ne!(bound.address.port(), 0);
        let (_second, beside) = listen(&http(bound.address, false)).unwrap();
        assert!(beside.address.port() > bound.address.port() && beside.taken == Some(bound.address));
        let error = format!("{:#}", listen(&http(bound.address, true)).unwrap_err());
        assert!(error.contains("--http 127.0.0.1:0") && error.contains("in use"), "{error}");
    }

    #[test]
    fn it_tries_the_ports_after_the_default_one() {
        let wanted: SocketAddr = "127.0.0.1:65534".parse().unwrap();
        assert_eq!(candidates(wanted, false).count(), 2);
        assert_eq!(candidates(wanted, true).collect::<Vec<_>>(), [wanted]);
    }

    fn config(dir: &Path) -> Config {
        let line = ["run", "--http", "127.0.0.1:0", "--data-dir", dir.to_str().unwrap()];
        let matches = crate::config::options_command().get_matches_from(line);
        Config::from_matches(&matches, None).unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn it_closes_connections_also_where_the_store_is_late() {
        let dir = tempfile::tempdir().unwrap();
        let node = Node::start(config(dir.path())).await.unwrap();
        let url = format!("ws://{}/feed", node.address());
        let stream = tokio::net::TcpStream::connect(node.address()).await.unwrap();
        let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
        let (stopped, ()) = tokio::join!(node.stop(async { bail!("it was not stored") }), async {
            let mut last = None;
            while let Some(Ok(message)) = socket.next().await {
                last = Some(message);
            }
            assert!(last.is_some_and(|last| last.is_close()), "it is told why");
        });
        assert!(format!("{:#}", stopped.unwrap_err()).contains("was not stored"));
    }
}
