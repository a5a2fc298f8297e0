//! What sources may reach beyond the public internet, and whom they trust there.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use url::Host;

/// The word that allows every address.
const ALL: &str = "all";

/// The sources' part of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SourceConfig {
    /// Which addresses beyond the public ones may be dialled.
    pub allow_private: Allowed,
    /// A file of CA certificates (PEM) that are trusted beside the system's.
    pub ca: Option<PathBuf>,
    /// A file of sources to register at each start.
    pub file: Option<PathBuf>,
}

/// Which addresses may be dialled.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Allowed {
    /// Those of the public internet.
    #[default]
    Public,
    /// Every one.
    All,
    /// Those of the public internet, and these.
    These(Vec<HostPort>),
}

impl Allowed {
    /// What the values of `--allow-private-sources` mean together.
    pub fn of(values: Vec<Entry>) -> Self {
        let mut these = Vec::new();
        for value in values {
            match value {
                Entry::All => return Self::All,
                Entry::One(one) => these.push(one),
            }
        }
        if these.is_empty() { Self::Public } else { Self::These(these) }
    }

    /// The same, and one address more.
    #[must_use]
    pub fn and(self, one: HostPort) -> Self {
        match self {
            Self::All => Self::All,
            Self::Public => Self::These(vec![one]),
            Self::These(these) => Self::These(these.into_iter().chain([one]).collect()),
        }
    }
}

/// One value of `--allow-private-sources`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// `all`, and the option without a value.
    All,
    /// One host and port.
    One(HostPort),
}

impl FromStr for Entry {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == ALL { Ok(Self::All) } else { text.parse().map(Self::One) }
    }
}

/// One address, or one name, with a port. A name stands for whatever it resolves to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostPort {
    host: Name,
    port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Name {
    Ip(IpAddr),
    Domain(String),
}

impl HostPort {
    /// Whether a connection to `address` is meant, for a URL whose host is `host`.
    pub fn matches(&self, host: &str, address: SocketAddr) -> bool {
        let meant = match &self.host {
            Name::Ip(ip) => *ip == address.ip().to_canonical(),
            Name::Domain(name) => plain(host) == *name,
        };
        meant && self.port == address.port()
    }

    /// Whether an address of the machine itself is meant.
    pub fn is_loopback(&self, port: u16) -> bool {
        matches!(&self.host, Name::Ip(ip) if ip.is_loopback()) && self.port == port
    }

    /// Whether a URL's host and port are meant, as far as they are written here as there.
    pub fn names(&self, host: &str, port: u16) -> bool {
        matches!(&self.host, Name::Domain(name) if plain(host) == *name) && self.port == port
    }
}

impl From<SocketAddr> for HostPort {
    fn from(address: SocketAddr) -> Self {
        Self { host: Name::Ip(address.ip().to_canonical()), port: address.port() }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Name::Ip(ip) => SocketAddr::new(*ip, self.port).fmt(f),
            Name::Domain(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

impl FromStr for HostPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "accepted are `{ALL}` and HOST:PORT, with commas between several: 127.0.0.1:9000,[fd00::7]:80,sensor.lan:80"
            )
        };
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?;
        let host = match Host::parse(host).map_err(|_| wrong())? {
            Host::Ipv4(ip) => Name::Ip(ip.into()),
            Host::Ipv6(ip) => Name::Ip(IpAddr::from(ip).to_canonical()),
            Host::Domain(name) => Name::Domain(plain(&name)),
        };
        Ok(Self { host, port })
    }
}

/// A name without its trailing dot, in small letters.
fn plain(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_hosts_with_ports() {
        for (text, shown) in [
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("0x7f.1:80", "127.0.0.1:80"),
            ("[::1]:80", "[::1]:80"),
            ("[::ffff:10.0.0.1]:80", "10.0.0.1:80"),
            ("Sensor.LAN.:8080", "sensor.lan:8080"),
            ("bücher.example:1", "xn--bcher-kva.example:1"),
        ] {
            assert_eq!(text.parse::<HostPort>().unwrap().to_string(), shown);
        }
        for text in [
            "",
            ":80",
            "a",
            "a:",
            "a:0",
            "a:65536",
            "a:x",
            "a b:1",
            "::1:80",
            "[::1]",
            "http://a:80",
            "a/b:1",
        ] {
            assert!(text.parse::<HostPort>().is_err(), "{text}");
        }
    }

    #[test]
    fn it_sums_up_what_is_allowed() {
        let of = |texts: &[&str]| Allowed::of(texts.iter().map(|text| text.parse().unwrap()).collect());
        assert_eq!(of(&[]), Allowed::Public);
        assert_eq!(of(&["a:1", "all"]), Allowed::All);
        assert_eq!(
            of(&["a:1", "10.0.0.1:2"]),
            Allowed::These(vec!["a:1".parse().unwrap(), "10.0.0.1:2".parse().unwrap()])
        );
    }

    #[test]
    fn it_adds_one_and_no_more() {
        let (one, other): (HostPort, HostPort) = ("127.0.0.1:1".parse().unwrap(), "b:2".parse().unwrap());
        assert_eq!(Allowed::Public.and(one.clone()), Allowed::These(vec![one.clone()]));
        assert_eq!(
            Allowed::These(vec![other.clone()]).and(one.clone()),
            Allowed::These(vec![other, one.clone()])
        );
        assert_eq!(Allowed::All.and(one), Allowed::All);
    }

    #[test]
    fn it_matches_addresses_after_resolving_and_names_as_written() {
        for (entry, host, address, expected) in [
            ("10.0.0.1:80", "a.example", "10.0.0.1:80", true),
            ("10.0.0.1:80", "a.example", "[::ffff:10.0.0.1]:80", true),
            ("10.0.0.1:80", "a.example", "10.0.0.1:81", false),
            ("10.0.0.1:80", "a.example", "10.0.0.2:80", false),
            ("a.example:80", "A.example.", "10.0.0.2:80", true),
            ("a.example:80", "b.example", "10.0.0.2:80", false),
            ("a.example:80", "b.a.example", "10.0.0.2:80", false),
            ("a.example:80", "a.example", "10.0.0.2:81", false),
            ("[fd00::1]:80", "x", "[fd00::1]:80", true),
        ] {
            let entry: HostPort = entry.parse().unwrap();
            assert_eq!(entry.matches(host, address.parse().unwrap()), expected, "{entry} {host} {address}");
        }
    }
}
