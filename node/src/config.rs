//! Configuration: options over environment over `anode.toml` over defaults, one struct per stage.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, FromArgMatches as _, ValueEnum};
use libp2p::multiaddr::Multiaddr;
use url::Url;

pub mod units;
pub mod file;
pub mod sources;
pub mod mesh;
pub mod archive;

pub use archive::ArchiveConfig;
pub use file::File;
pub use mesh::MeshConfig;
pub use sources::SourceConfig;

/// The file that is read where none is named and it is there.
pub const DEFAULT_FILE: &str = "anode.toml";

/// The options of `anode run`, as clap reads them.
#[derive(Debug, Clone, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own, as people type it")]
pub struct Options {
    /// Read options from this TOML file; without it from anode.toml, where there is one
    #[arg(long, env = "ANODE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where identity, admin token and stored records are kept
    #[arg(long, env = "ANODE_DATA_DIR", value_name = "DIR", default_value = "./anode-data")]
    pub data_dir: PathBuf,
    /// Address of the dashboard, the API and the feed; port 0 picks a free one.
    /// Where it is not given and taken, the next free port is used
    #[arg(long, env = "ANODE_HTTP", value_name = "ADDR", default_value = "127.0.0.1:8080", value_parser = units::address)]
    pub http: SocketAddr,
    /// Join or found this network: peers on all interfaces, mDNS on the local network. Without it the node is on trial: network
    /// local, on loopback only unless --p2p says otherwise. A name is no secret: see --network-key
    #[arg(long, env = "ANODE_NETWORK", value_name = "NAME", default_value = mesh::TRIAL, value_parser = units::network)]
    pub network: String,
    /// Talk only to nodes with the same key (libp2p's swarm.key; TCP and WebSocket, no QUIC); `anode network-key` makes one
    #[arg(long, env = "ANODE_NETWORK_KEY", value_name = "FILE")]
    pub network_key: Option<PathBuf>,
    /// Listen for peers on this address instead of port 4001: tcp, quic-v1, and /ws for browsers (repeatable)
    #[arg(long, env = "ANODE_P2P", value_name = "MULTIADDR", value_delimiter = ',', value_parser = mesh::multiaddr)]
    pub p2p: Vec<Multiaddr>,
    /// Join by this peer, with or without /p2p/ID (repeatable)
    #[arg(long, env = "ANODE_BOOTSTRAP", value_name = "MULTIADDR", value_delimiter = ',', value_parser = mesh::multiaddr)]
    pub bootstrap: Vec<Multiaddr>,
    /// Tell others this address, where it differs from those listened on (NAT, containers; repeatable)
    #[arg(long, env = "ANODE_ANNOUNCE", value_name = "MULTIADDR", value_delimiter = ',', value_parser = mesh::multiaddr)]
    pub announce: Vec<Multiaddr>,
    /// Look for no peers on the local network
    #[arg(long, env = "ANODE_NO_MDNS", value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_value = "false", default_missing_value = "true", value_parser = units::flag, hide_possible_values = true)]
    pub no_mdns: bool,
    /// Keep the batches of these nodes only (peer ids, comma-separated), or of any
    #[arg(long, env = "ANODE_ORIGINS", value_name = "PEER,…", value_delimiter = ',', default_value = "any", value_parser = mesh::origins)]
    pub origins: Vec<mesh::Kept>,
    /// Take so many bytes a second of each node by gossip; what is above waits for repair
    #[arg(long, env = "ANODE_ORIGIN_RATE", allow_negative_numbers = true, value_name = "BYTES", default_value = "64MiB", value_parser = units::some_bytes)]
    pub origin_rate: u64,
    /// How the node shows in the dashboard; without it by the end of its peer id
    #[arg(long, env = "ANODE_NAME", value_name = "NAME", value_parser = units::name)]
    pub name: Option<String>,
    /// Drop records that are older
    #[arg(long, env = "ANODE_RETAIN_AGE", allow_negative_numbers = true, value_name = "AGE", default_value = "7d", value_parser = units::age)]
    pub retain_age: Duration,
    /// Drop the oldest records where the store grows above this
    #[arg(long, env = "ANODE_RETAIN_BYTES", allow_negative_numbers = true, value_name = "BYTES", default_value = "10GiB", value_parser = units::some_bytes)]
    pub retain_bytes: u64,
    /// Refuse publishes (507) where the disk has less left than this
    #[arg(long, env = "ANODE_RESERVE_DISK", allow_negative_numbers = true, value_name = "BYTES", default_value = "1GiB", value_parser = units::bytes)]
    pub reserve_disk: u64,
    /// The archive.
    #[command(flatten)]
    pub archive: archive::CassandraOptions,
    /// Take the admin token from this file; without it one is made in the data directory
    #[arg(long, env = "ANODE_ADMIN_TOKEN_FILE", value_name = "FILE")]
    pub admin_token_file: Option<PathBuf>,
    /// Show this address in links to the dashboard, where browsers reach the node by another one than it listens on
    /// (containers, proxies)
    #[arg(long, env = "ANODE_PUBLIC_URL", value_name = "URL", value_parser = units::page)]
    pub public_url: Option<Url>,
    /// Print the dashboard's link with the admin token at every start, not only where this start made the token
    #[arg(long, env = "ANODE_SHOW_LINK", value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_value = "false", default_missing_value = "true", value_parser = units::flag, hide_possible_values = true)]
    pub show_link: bool,
    /// Let anyone publish; without it a token is needed
    #[arg(long, env = "ANODE_OPEN_PUBLISH", value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_value = "false", default_missing_value = "true", value_parser = units::flag, hide_possible_values = true)]
    pub open_publish: bool,
    /// A page that may open a publishing WebSocket without a token under --open-publish (repeatable)
    #[arg(long, env = "ANODE_ALLOW_ORIGIN", value_name = "ORIGIN", value_delimiter = ',', value_parser = units::origin)]
    pub allow_origin: Vec<String>,
    /// Let sources reach private, loopback and link-local addresses: all of them, or these only (HOST:PORT,…)
    #[arg(long, env = "ANODE_ALLOW_PRIVATE_SOURCES", value_name = "HOST:PORT", num_args = 0..=1,
          default_missing_value = "all", value_delimiter = ',')]
    pub allow_private_sources: Vec<sources::Entry>,
    /// Trust the CA certificates in this PEM file too, when sources speak TLS
    #[arg(long, env = "ANODE_SOURCE_CA", value_name = "FILE")]
    pub source_ca: Option<PathBuf>,
    /// Register the sources in this file at each start (JSON or TOML: an array, or sources = […]; each as the API takes
    /// it). For the names that it holds the file wins; others stay as they are
    #[arg(long, env = "ANODE_SOURCES", value_name = "FILE")]
    pub sources: Option<PathBuf>,
    /// Run a small made-up market beside the node, and read it: something to see at once, without the internet.
    /// Its sources are there for this run only, and may reach nothing but it
    #[arg(long, env = "ANODE_DEMO", value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_value = "false", default_missing_value = "true", value_parser = units::flag, hide_possible_values = true)]
    pub demo: bool,
    /// How the log on stderr looks; what is logged is chosen by the variable `ANODE_LOG` (info, anode=debug, …)
    #[arg(long, env = "ANODE_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,
    /// How long a segment file grows
    #[arg(long, env = "ANODE_SEGMENT_BYTES", allow_negative_numbers = true, value_name = "BYTES", default_value = "64MiB", value_parser = units::some_bytes, hide = true)]
    pub segment_bytes: u64,
}

/// How the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// All that a node is told.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where identity, admin token and stored records are kept.
    pub data_dir: PathBuf,
    /// The network that stands in every header.
    pub network: String,
    /// How the node shows in the dashboard, if that was said.
    pub name: Option<String>,
    /// The log's form.
    pub log_format: LogFormat,
    /// The HTTP side.
    pub http: HttpConfig,
    /// The store.
    pub store: StoreConfig,
    /// The sources.
    pub sources: SourceConfig,
    /// Whether a made-up market runs beside the node.
    pub demo: bool,
    /// The mesh.
    pub mesh: MeshConfig,
    /// The archive, where there is one.
    pub archive: Option<ArchiveConfig>,
}

/// The HTTP side's part of the configuration.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// Where to listen.
    pub address: SocketAddr,
    /// Whether somebody chose that address: then a taken port is an error.
    pub address_given: bool,
    /// The file that holds the admin token, where it is not the data directory's own.
    pub admin_token_file: Option<PathBuf>,
    /// Where browsers reach the node, where that is not its address.
    pub public_url: Option<Url>,
    /// Whether every start prints the admin token.
    pub show_link: bool,
    /// Whether anyone may publish.
    pub open_publish: bool,
    /// Origins of pages that may open a publishing WebSocket under `open_publish`.
    pub allow_origins: Vec<String>,
}

/// The store's part of the configuration.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// Records older than this are dropped.
    pub retain_age: Duration,
    /// The oldest records are dropped above this.
    pub retain_bytes: u64,
    /// Publishes are refused where the disk has less left.
    pub reserve_disk_bytes: u64,
    /// How long a segment file grows.
    pub segment_bytes: u64,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Nobody said anything.
    Default,
    /// The configuration file.
    File(PathBuf),
    /// An environment variable, by its name.
    Environment(String),
    /// The command line.
    Option,
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment(name) => f.write_str(name),
            Self::Option => f.write_str("option"),
        }
    }
}

/// One option with its value and where that came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The option's name, as in the file.
    pub key: String,
    /// Its values as text; none where it is not set.
    pub values: Vec<String>,
    /// Where they came from.
    pub source: Source,
}

/// A clap command that holds nothing but the options of `anode run`: what a file is checked against.
pub fn options_command() -> Command {
    Options::augment_args(Command::new("run"))
}

/// The file that a command line means: the named one, else `anode.toml` where there is one.
///
/// # Errors
/// When it cannot be read or does not hold what it should.
pub fn load_file(named: Option<&Path>) -> anyhow::Result<Option<File>> {
    let path = match named {
        Some(path) => path,
        None if Path::new(DEFAULT_FILE).is_file() => Path::new(DEFAULT_FILE),
        None => return Ok(None),
    };
    File::load(path, &options_command()).map(Some)
}

impl Config {
    /// Makes the configuration of what clap read; `file` gave the defaults.
    ///
    /// # Errors
    /// When the matches are not those of [`Options`].
    pub fn from_matches(matches: &ArgMatches, file: Option<&File>) -> anyhow::Result<Self> {
        let options = Options::from_arg_matches(matches)?;
        let given = |key| source(matches, file, key, key, None) != Source::Default;
        let (address_given, network_given) = (given("http"), given("network"));
        Ok(Self {
            data_dir: options.data_dir,
            network: options.network,
            name: options.name,
            log_format: options.log_format,
            http: HttpConfig {
                address: options.http,
                address_given,
                admin_token_file: options.admin_token_file,
                public_url: options.public_url,
                show_link: options.show_link,
                open_publish: options.open_publish,
                allow_origins: options.allow_origin,
            },
            store: StoreConfig {
                retain_age: options.retain_age,
                retain_bytes: options.retain_bytes,
                reserve_disk_bytes: options.reserve_disk,
                segment_bytes: options.segment_bytes,
            },
            sources: SourceConfig {
                allow_private: sources::Allowed::of(options.allow_private_sources),
                ca: options.source_ca,
                file: options.sources,
            },
            demo: options.demo,
            mesh: MeshConfig {
                listen: options.p2p,
                bootstrap: options.bootstrap,
                named: network_given,
                network_key: options.network_key,
                origins: mesh::kept(&options.origins),
                origin_rate: options.origin_rate,
                announce: options.announce,
                no_mdns: options.no_mdns,
            },
            archive: options.archive.config(),
        })
    }
}

/// Every setting in effect, and where it came from.
pub fn settings(matches: &ArgMatches, file: Option<&File>) -> Vec<Setting> {
    let command = options_command();
    let keys = file::keys(&command);
    command
        .get_arguments()
        .filter_map(|arg| arg.get_long().map(|key| (arg, key)))
        .filter(|(_, key)| keys.contains(key))
        .map(|(arg, key)| {
            let id = arg.get_id().as_str();
            let variable = arg.get_env().map(|name| name.to_string_lossy().into_owned());
            let values = matches
                .get_raw(id)
                .map(|raw| raw.map(|value| value.to_string_lossy().into_owned()).collect())
                .unwrap_or_default();
            Setting { key: key.to_owned(), values, source: source(matches, file, id, key, variable) }
        })
        .collect()
}

fn source(
    matches: &ArgMatches,
    file: Option<&File>,
    id: &str,
    key: &str,
    variable: Option<String>,
) -> Source {
    match (matches.value_source(id), file) {
        (Some(ValueSource::CommandLine), _) => Source::Option,
        (Some(ValueSource::EnvVariable), _) => Source::Environment(variable.unwrap_or_default()),
        (_, Some(file)) if file.sets(key) => Source::File(file.path().to_owned()),
        _ => Source::Default,
    }
}

#[cfg(test)]
mod tests;
