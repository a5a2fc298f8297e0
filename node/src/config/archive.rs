//! Which Cassandra the node archives to.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;

use super::units;

/// The port of Cassandra's native protocol.
const PORT: u16 = 9_042;
/// How long the archive keeps records where nobody said.
pub const TTL: Duration = Duration::from_secs(180 * 86_400);
/// The longest that Cassandra lets rows live (20 years).
const LONGEST: Duration = Duration::from_secs(20 * 365 * 86_400);

/// The options of the archive, as clap reads them.
#[derive(Debug, Clone, Args)]
pub struct CassandraOptions {
    /// Archive every record to this Apache Cassandra (4.0 or newer; HOST[:PORT],…). The node starts and works without it too
    #[arg(long, env = "ANODE_CASSANDRA", value_name = "HOST[:PORT],…", value_delimiter = ',')]
    pub cassandra: Vec<Host>,
    /// The keyspace of the archive, made where it is missing; one keyspace serves the nodes of one network
    #[arg(long, env = "ANODE_CASSANDRA_KEYSPACE", value_name = "NAME", default_value = "anode", value_parser = keyspace)]
    pub cassandra_keyspace: String,
    /// Who this node is to Cassandra
    #[arg(long, env = "ANODE_CASSANDRA_USER", value_name = "USER", value_parser = units::name)]
    pub cassandra_user: Option<String>,
    /// The file that holds that user's password
    #[arg(long, env = "ANODE_CASSANDRA_PASSWORD_FILE", value_name = "FILE")]
    pub cassandra_password_file: Option<PathBuf>,
    /// Speak TLS with Cassandra. Certificates must name the IP addresses that the nodes of Cassandra tell
    #[arg(long, env = "ANODE_CASSANDRA_TLS", value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_value = "false", default_missing_value = "true", value_parser = units::flag, hide_possible_values = true)]
    pub cassandra_tls: bool,
    /// Trust the CA certificates in this PEM file too, when Cassandra speaks TLS; speaks TLS
    #[arg(long, env = "ANODE_CASSANDRA_CA", value_name = "FILE")]
    pub cassandra_ca: Option<PathBuf>,
    /// How many copies a new keyspace keeps: in each data centre (3), or by name (dc1:3,dc2:2)
    #[arg(long, env = "ANODE_CASSANDRA_REPLICATION", value_name = "COPIES", default_value = "1")]
    pub cassandra_replication: Replication,
    /// How long the archive keeps records, or `never` to drop any; without it as the keyspace has it, 180d in a new one
    #[arg(long, env = "ANODE_CASSANDRA_TTL", value_name = "AGE")]
    pub cassandra_ttl: Option<Ttl>,
}

impl CassandraOptions {
    /// The archive, where one is asked for.
    pub fn config(self) -> Option<ArchiveConfig> {
        (!self.cassandra.is_empty()).then(|| ArchiveConfig {
            hosts: self.cassandra,
            keyspace: self.cassandra_keyspace,
            user: self.cassandra_user,
            password_file: self.cassandra_password_file,
            tls: self.cassandra_tls || self.cassandra_ca.is_some(),
            ca: self.cassandra_ca,
            replication: self.cassandra_replication,
            ttl: self.cassandra_ttl,
        })
    }
}

/// The archive's part of the configuration.
#[derive(Debug, Clone)]
pub struct ArchiveConfig {
    /// Nodes of the Cassandra, as `host:port`; the others are found through them.
    pub hosts: Vec<Host>,
    /// The keyspace.
    pub keyspace: String,
    /// Who the node is to Cassandra.
    pub user: Option<String>,
    /// The file that holds that user's password.
    pub password_file: Option<PathBuf>,
    /// Whether to speak TLS.
    pub tls: bool,
    /// A file of CA certificates (PEM) that are trusted beside the system's; TLS is spoken then.
    pub ca: Option<PathBuf>,
    /// How many copies a new keyspace keeps.
    pub replication: Replication,
    /// How long rows live, where that was said: [`TTL`] in a new keyspace, else as the keyspace has it.
    pub ttl: Option<Ttl>,
}

/// One node of a Cassandra.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host(String);

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Host {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            "accepted is HOST[:PORT], with commas between several: 127.0.0.1,cassandra-2:9042,[fd00::7]"
                .to_owned()
        };
        let bracketed = text.starts_with('[');
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !bracketed || host.ends_with(']') => {
                (host, port.parse().map_err(|_| wrong())?)
            }
            _ => (text, PORT),
        };
        let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let good = match inner {
            Some(ip) => ip.parse::<std::net::Ipv6Addr>().is_ok(),
            None => {
                !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
            }
        };
        if good && port != 0 { Ok(Self(format!("{host}:{port}"))) } else { Err(wrong()) }
    }
}

/// How many copies a keyspace keeps: everywhere, or by data centre.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replication {
    /// So many in each data centre.
    Each(u8),
    /// So many in each of these.
    In(Vec<(String, u8)>),
}

impl FromStr for Replication {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            "accepted is a number of copies for each data centre, or DATACENTER:COPIES,…: 3, or dc1:3,dc2:2"
                .to_owned()
        };
        let copies = |text: &str| text.parse::<u8>().ok().filter(|copies| *copies > 0).ok_or_else(wrong);
        if !text.contains(':') {
            return copies(text).map(Self::Each);
        }
        let one = |part: &str| {
            let (name, number) = part.split_once(':').ok_or_else(wrong)?;
            let good =
                !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
            if good { Ok((name.to_owned(), copies(number)?)) } else { Err(wrong()) }
        };
        text.split(',').map(one).collect::<Result<_, _>>().map(Self::In)
    }
}

/// How long rows live; none: for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ttl(pub Option<Duration>);

impl FromStr for Ttl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "never" {
            return Ok(Self(None));
        }
        let wrong = "accepted are 1h to 7300d, with s, m, h, d or w, and `never`: 180d";
        let age = units::age(text).map_err(|_| wrong.to_owned())?;
        let good = (Duration::from_secs(3_600)..=LONGEST).contains(&age);
        if good { Ok(Self(Some(age))) } else { Err(wrong.to_owned()) }
    }
}

/// Reads the name of a keyspace. Without capitals, so that it reads the same with and without quotes.
///
/// # Errors
/// With what is accepted.
pub fn keyspace(text: &str) -> Result<String, String> {
    let good = text.len() <= 48
        && text.bytes().next().is_some_and(|b| b.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if good {
        Ok(text.to_owned())
    } else {
        Err("accepted are 1 to 48 of a-z 0-9 _, a letter first".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_hosts_with_and_without_a_port() {
        for (text, shown) in [
            ("127.0.0.1", Some("127.0.0.1:9042")),
            ("cassandra-2.lan:19042", Some("cassandra-2.lan:19042")),
            ("[::1]", Some("[::1]:9042")),
            ("[fd00::7]:9043", Some("[fd00::7]:9043")),
            ("", None),
            (":9042", None),
            ("a:0", None),
            ("a:x", None),
            ("a b", None),
            ("::1", None),
            ("http://a", None),
        ] {
            assert_eq!(text.parse::<Host>().ok().map(|host| host.to_string()).as_deref(), shown, "{text:?}");
        }
    }

    #[test]
    fn it_reads_replication_and_ttl() {
        assert_eq!("3".parse(), Ok(Replication::Each(3)));
        let both = vec![("dc1".to_owned(), 3), ("dc-2".to_owned(), 2)];
        assert_eq!("dc1:3,dc-2:2".parse(), Ok(Replication::In(both)));
        for bad in ["", "0", "-1", "x", "dc1:0", "dc1:", ":3", "dc'1:3", "dc1:3,"] {
            assert!(bad.parse::<Replication>().is_err(), "{bad:?}");
        }
        for (text, seconds) in [("180d", Some(15_552_000)), ("1h", Some(3_600))] {
            assert_eq!(text.parse(), Ok(Ttl(seconds.map(Duration::from_secs))));
        }
        assert_eq!("never".parse(), Ok(Ttl(None)));
        for bad in ["", "59m", "7301d", "1", "0d"] {
            assert!(bad.parse::<Ttl>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn it_takes_names_that_need_no_quotes() {
        for (name, good) in
            [("anode", true), ("a_1", true), ("1a", false), ("A", false), ("a-b", false), ("", false)]
        {
            assert_eq!(keyspace(name).is_ok(), good, "{name:?}");
        }
    }
}
