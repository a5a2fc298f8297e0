//! ★ The only wiring: opens the stages in the order in which data flows, and closes them in the same order.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use anode_shared::ids::Origin;
use anyhow::Context as _;
use tokio::net::{TcpListener, TcpSocket};
use tracing::info;

use crate::config::{Config, HttpConfig};
use crate::identity::{AdminToken, DataDir, write_atomically};

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
    bound: Bound,
}

impl Node {
    /// Starts a node: data directory, identity, store, HTTP.
    ///
    /// # Errors
    /// When one of them cannot be had, with what to do about it.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        let data_dir = DataDir::open(&config.data_dir)?;
        let identity = data_dir.identity()?;
        let token = data_dir.admin_token(config.http.admin_token_file.as_deref())?;
        let origin = identity.origin()?;
        let name = config.name.clone().unwrap_or_else(|| default_name(&origin));
        let (_listener, bound) = listen(&config.http)?;
        publish_address(&data_dir, bound.address)?;
        info!(%origin, address = %bound.address, "Node started");
        tokio::task::yield_now().await;
        Ok(Self { data_dir, origin, name, token, bound })
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

    /// The admin token, where this start made it.
    pub fn new_admin_token(&self) -> Option<&str> {
        self.token.new.then_some(self.token.text.as_str())
    }

    /// Stops the node in the order in which data flows, so that nothing acknowledged or in flight is lost.
    ///
    /// # Errors
    /// When something could not be finished.
    pub async fn shutdown(self) -> anyhow::Result<()> {
        let _ = std::fs::remove_file(self.data_dir.join("http.addr"));
        tokio::task::yield_now().await;
        Ok(())
    }
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
    anyhow::bail!("no port from {} on is free; name an address with --http", wanted.port())
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

/// Writes `http.addr`, by which the commands find the node.
fn publish_address(data_dir: &DataDir, address: SocketAddr) -> anyhow::Result<()> {
    write_atomically(&data_dir.join("http.addr"), format!("{address}\n").as_bytes(), 0o644)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(address: SocketAddr, address_given: bool) -> HttpConfig {
        HttpConfig {
            address,
            address_given,
            admin_token_file: None,
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
}
