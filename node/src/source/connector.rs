//! The one way out: every connection of every source is made here, to an address that the guard has seen.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anode_shared::source::{Phases, Stage};
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use super::failure::{Failure, Reached};
use super::guard::Guard;
use super::limits::{ADDRESSES, CONNECT};
use super::tls;

mod dial;
mod io;
mod resolver;

pub use self::io::Io;
pub use self::resolver::{Resolver, System};

/// Makes connections. A clone is the same connector.
#[derive(Debug, Clone)]
pub struct Connector {
    guard: Guard,
    tls: Arc<ClientConfig>,
    resolver: Arc<dyn Resolver>,
}

/// How long making a connection took, and where it leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Resolving the name; none where the URL has an address.
    pub dns: Option<Duration>,
    /// Connecting.
    pub connect: Duration,
    /// The TLS handshake; none without TLS.
    pub tls: Option<Duration>,
    /// The address that was dialled.
    pub address: SocketAddr,
}

impl Timing {
    /// What was reached with the connection.
    pub fn reached(&self) -> Reached {
        let phases = Phases {
            dns_ms: self.dns.map(millis),
            connect_ms: Some(millis(self.connect)),
            tls_ms: self.tls.map(millis),
            ..Phases::default()
        };
        Reached { phases, address: Some(self.address) }
    }
}

/// A time as milliseconds with a fraction.
pub(super) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

impl Connector {
    /// A connector that dials what `guard` lets through, and trusts what `tls` trusts.
    pub fn new(guard: Guard, tls: Arc<ClientConfig>, resolver: Arc<dyn Resolver>) -> Self {
        Self { guard, tls, resolver }
    }

    /// The guard that it obeys.
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Connects to a URL's host and port: resolves once, drops what the guard refuses, dials the very addresses that
    /// are left, and shakes hands where the scheme says TLS.
    ///
    /// # Errors
    /// With the stage that failed, and how far it came. Never later than at the deadline.
    pub async fn connect(&self, url: &Url, deadline: Instant) -> Result<(Io, Timing), Failure> {
        let deadline = deadline.min(Instant::now() + CONNECT);
        let mut reached = Reached::default();
        let began = Instant::now();
        let connected = self.stages(url, deadline, &mut reached).await;
        connected.map_err(|failure| {
            reached.phases.total_ms = millis(began.elapsed());
            failure.after(reached)
        })
    }

    async fn stages(
        &self,
        url: &Url,
        deadline: Instant,
        reached: &mut Reached,
    ) -> Result<(Io, Timing), Failure> {
        self.guard.check_url(url)?;
        let host = url.host_str().unwrap_or_default().to_owned();
        let (addresses, dns) = self.addresses(url, deadline).await?;
        reached.phases.dns_ms = dns.map(millis);
        let began = Instant::now();
        let (stream, address) = dial_by(&host, &addresses, deadline).await?;
        let connect = began.elapsed();
        reached.phases.connect_ms = Some(millis(connect));
        reached.address = Some(address);
        let plain = matches!(url.scheme(), "http" | "ws");
        let timing = Timing { dns, connect, tls: None, address };
        if plain {
            return Ok((Io::Plain(stream), timing));
        }
        let began = Instant::now();
        let io = self.shake_hands(url, &host, stream, deadline).await?;
        Ok((io, Timing { tls: Some(began.elapsed()), ..timing }))
    }

    /// The addresses that may be dialled for a URL, and how long resolving took.
    async fn addresses(
        &self,
        url: &Url,
        deadline: Instant,
    ) -> Result<(Vec<SocketAddr>, Option<Duration>), Failure> {
        let no_host = || Failure::new(Stage::Definition, "the URL names no host");
        let port = url.port_or_known_default().filter(|port| *port != 0).ok_or_else(|| {
            Failure::new(
                Stage::Definition,
                "port 0 cannot be dialled; name the port that the upstream listens on",
            )
        })?;
        let began = Instant::now();
        let name = match url.host().ok_or_else(no_host)? {
            Host::Ipv4(ip) => return Ok((self.allowed(&ip.to_string(), port, &[ip.into()])?, None)),
            Host::Ipv6(ip) => return Ok((self.allowed(&ip.to_string(), port, &[ip.into()])?, None)),
            Host::Domain(name) => name,
        };
        let resolving = within(
            deadline,
            Stage::Dns,
            || format!("resolving {name} took too long"),
            self.resolver.resolve(name),
        );
        let ips = resolving.await?.map_err(|error| {
            Failure::new(Stage::Dns, format!("{name} cannot be resolved: {}", words(&error)))
        })?;
        if ips.is_empty() {
            return Err(Failure::new(Stage::Dns, format!("{name} has no address")));
        }
        Ok((self.allowed(name, port, &ips)?, Some(began.elapsed())))
    }

    /// Those of a host's addresses that the guard lets through; where it is none, why.
    fn allowed(&self, host: &str, port: u16, ips: &[IpAddr]) -> Result<Vec<SocketAddr>, Failure> {
        let mut allowed = Vec::new();
        let mut refusal = None;
        for ip in ips {
            // An IPv4-mapped address is that IPv4 address to the system, so it is judged and dialled as such.
            let address = SocketAddr::new(ip.to_canonical(), port);
            match self.guard.allows(host, address) {
                Ok(()) if allowed.contains(&address) => {}
                Ok(()) => allowed.push(address),
                Err(refused) => refusal = refusal.or(Some(refused)),
            }
        }
        allowed.truncate(ADDRESSES);
        match refusal {
            Some(refusal) if allowed.is_empty() => Err(refusal.into()),
            _ => Ok(allowed),
        }
    }

    async fn shake_hands(
        &self,
        url: &Url,
        host: &str,
        stream: TcpStream,
        deadline: Instant,
    ) -> Result<Io, Failure> {
        let name = tls::server_name(url)
            .ok_or_else(|| Failure::new(Stage::Tls, format!("no certificate can be for the name {host}")))?;
        let handshake = TlsConnector::from(self.tls.clone()).connect(name, stream);
        let late = || format!("the TLS handshake with {host} took too long");
        let shaken = within(deadline, Stage::Tls, late, handshake).await?;
        let stream = shaken.map_err(|error| Failure::new(Stage::Tls, tls::explain(&error, host)))?;
        Ok(Io::Tls(Box::new(stream)))
    }
}

async fn dial_by(
    host: &str,
    addresses: &[SocketAddr],
    deadline: Instant,
) -> Result<(TcpStream, SocketAddr), Failure> {
    let late = || format!("{host} does not answer at {}", list(addresses));
    let dialled = within(deadline, Stage::Connect, late, dial::dial(addresses)).await?;
    dialled.map_err(|(address, error)| Failure::new(Stage::Connect, refused(host, address, &error)))
}

fn refused(host: &str, address: SocketAddr, error: &std::io::Error) -> String {
    let target =
        if address.ip().to_string() == host { address.to_string() } else { format!("{host} ({address})") };
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => {
            format!("{target} refused the connection: nothing listens at that port")
        }
        _ => format!("cannot connect to {target}: {}", words(error)),
    }
}

fn list(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// An error of the system without its number.
fn words(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.strip_prefix("failed to lookup address information: ").unwrap_or(&text);
    text.split(" (os error").next().unwrap_or(text).to_owned()
}

/// Waits for a stage until the deadline.
pub(super) async fn within<T>(
    deadline: Instant,
    stage: Stage,
    late: impl FnOnce() -> String,
    work: impl Future<Output = T>,
) -> Result<T, Failure> {
    timeout_at(deadline, work).await.map_err(|_| Failure::new(stage, late()))
}

#[cfg(test)]
pub(in crate::source) use self::resolver::table::Table;
#[cfg(test)]
mod tests;
