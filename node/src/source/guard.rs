//! Which addresses may be dialled: pure decisions over what a URL says and what a name resolved to.

use core::fmt;
use core::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use url::{Host, Url};

mod class;

pub use self::class::{Class, class};
pub use crate::config::sources::{Allowed, HostPort};

/// The option that allows more than public addresses.
pub const OPTION: &str = "--allow-private-sources";

/// Decides which addresses may be dialled.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    allowed: Arc<Allowed>,
}

impl Guard {
    /// A guard that lets through what is allowed.
    pub fn new(allowed: Allowed) -> Self {
        Self { allowed: Arc::new(allowed) }
    }

    /// Judges what a URL shows by itself: its scheme, an address in any spelling, names of the machine itself.
    /// A URL that passes may still resolve to an address that does not.
    ///
    /// # Errors
    /// With what is refused, and why.
    pub fn check_url(&self, url: &Url) -> Result<(), Refusal> {
        if !matches!(url.scheme(), "http" | "https" | "ws" | "wss") {
            return Err(Refusal::Scheme(url.scheme().to_owned()));
        }
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
            return Err(Refusal::NoHost);
        };
        match host {
            Host::Ipv4(ip) => self.allows(&ip.to_string(), SocketAddr::new(ip.into(), port)),
            Host::Ipv6(ip) => self.allows(&ip.to_string(), SocketAddr::new(ip.into(), port)),
            Host::Domain(name) => self.check_name(name, port),
        }
    }

    fn check_name(&self, name: &str, port: u16) -> Result<(), Refusal> {
        let plain = name.strip_suffix('.').unwrap_or(name);
        let itself = plain == "localhost" || plain.ends_with(".localhost");
        // Which address such a name has is known when it is resolved; one that is allowed there must not be refused here.
        let maybe = match &*self.allowed {
            Allowed::Public => false,
            Allowed::All => true,
            Allowed::These(these) => these.iter().any(|one| one.names(name, port) || one.is_loopback(port)),
        };
        if itself && !maybe {
            return Err(Refusal::Address {
                host: plain.to_owned(),
                address: None,
                port,
                class: Class::Loopback,
            });
        }
        Ok(())
    }

    /// Judges an address that is about to be dialled for a URL whose host is `host`.
    ///
    /// # Errors
    /// With what is refused, and why.
    pub fn allows(&self, host: &str, address: SocketAddr) -> Result<(), Refusal> {
        let Some(class) = class(address.ip()) else { return Ok(()) };
        let allowed = match &*self.allowed {
            Allowed::Public => false,
            Allowed::All => true,
            Allowed::These(these) => these.iter().any(|one| one.matches(host, address)),
        };
        if allowed {
            return Ok(());
        }
        let (ip, port) = (address.ip().to_canonical(), address.port());
        Err(Refusal::Address { host: host.to_owned(), address: Some(ip), port, class })
    }
}

/// Why something may not be dialled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The URL's scheme is none that sources speak.
    Scheme(String),
    /// The URL names no host.
    NoHost,
    /// The address is not public and not allowed.
    Address {
        /// The host as the URL has it.
        host: String,
        /// The address; none where a name already says enough.
        address: Option<IpAddr>,
        /// The port.
        port: u16,
        /// What kind of address it is.
        class: Class,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scheme(scheme) => {
                write!(f, "`{scheme}:` is no scheme of a source; they are http, https, ws and wss")
            }
            Self::NoHost => f.write_str("the URL names no host"),
            Self::Address { host, address, port, class } => {
                let target = address
                    .map_or_else(|| format!("{host}:{port}"), |ip| SocketAddr::new(ip, *port).to_string());
                match address {
                    Some(ip) if ip.to_string() != *host => {
                        write!(f, "{host} is at {target}, a {class} address")?;
                    }
                    _ => write!(f, "{target} is a {class} address")?,
                }
                write!(f, "; to let sources reach it, start the node with {OPTION} {target}")
            }
        }
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests;
