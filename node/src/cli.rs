//! The command line: what can be said, and who answers it.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anode_shared::time::Micros;
use anyhow::Context as _;
use clap::{ArgMatches, Args, Command, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::client::{Client, Endpoint, Place};
use crate::config::{self, Config, File, Options};

mod environment;
mod output;
mod run;
mod configure;
mod status;
mod peers;
mod init_network;
mod read;
mod tail;
mod publish;
mod verify;
mod archive;
mod source;
mod demo_feed;

pub(crate) use output::table;
pub(crate) use source::all as all_sources;

/// What stands behind the list of commands.
const EXAMPLES: &str = "\
Examples:
  anode run                                       start a node; it prints the link of its dashboard
  anode publish prices.btc '{\"price\": 97312.5}'   push a record
  anode tail 'prices.>'                           follow records as they come
  anode history 'prices.>' --since 1h             read stored ones
  anode status                                    how the node is

Commands other than `run` talk to the node of --data-dir (./anode-data), or to --node URL.";

#[derive(Debug, Parser)]
#[command(name = "anode", version, about = "A node of a decentralised, real-time data mesh", after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Said,
}

#[derive(Debug, Subcommand)]
enum Said {
    /// Start a node
    #[command(after_help = run::EXAMPLES)]
    Run(Box<Options>),
    /// Say what the node reads by itself: REST, SSE and WebSocket feeds
    #[command(subcommand, after_help = source::EXAMPLES)]
    Source(source::SourceSaid),
    /// List the topics that the node holds records of
    #[command(after_help = read::TOPICS_EXAMPLES)]
    Topics(read::TopicsArgs),
    /// Follow records as they come; after a broken connection it goes on where it stopped
    #[command(after_help = tail::EXAMPLES)]
    Tail(tail::TailArgs),
    /// Read stored records
    #[command(after_help = read::HISTORY_EXAMPLES)]
    History(read::HistoryArgs),
    /// Publish a record, or one for each line of stdin
    #[command(after_help = publish::EXAMPLES)]
    Publish(publish::PublishArgs),
    /// Check the origin's signature over a record, without trusting the node that holds it
    #[command(after_help = verify::EXAMPLES)]
    Verify(verify::VerifyArgs),
    /// Show how the node and its components are
    #[command(after_help = status::STATUS_EXAMPLES)]
    Status(Reach),
    /// List the nodes of the mesh that this one knows
    #[command(after_help = peers::EXAMPLES)]
    Peers(Reach),
    /// Look at the archive in Cassandra
    #[command(subcommand, after_help = archive::EXAMPLES)]
    Archive(archive::ArchiveSaid),
    /// Make the key of a private network
    #[command(after_help = peers::KEY_EXAMPLES)]
    NetworkKey(peers::KeyArgs),
    /// Make what the nodes of one network share: its key, and one admin token for all; what is there already stays
    #[command(after_help = init_network::EXAMPLES)]
    InitNetwork(init_network::InitArgs),
    /// Exit with 0 where the node can take records (for container health checks)
    #[command(after_help = status::HEALTH_EXAMPLES)]
    Health(status::HealthArgs),
    /// Print the link of the dashboard, with the admin token
    #[command(after_help = status::LINK_EXAMPLES)]
    Link(status::LinkArgs),
    /// Show or check the configuration
    #[command(subcommand)]
    Config(configure::ConfigSaid),
    /// Serve a small made-up market over REST, SSE and WebSocket, with faults on request
    #[command(after_help = demo_feed::EXAMPLES)]
    DemoFeed(demo_feed::DemoFeedArgs),
    /// Measure a node through its public API
    #[command(subcommand, after_help = crate::bench::EXAMPLES)]
    Bench(crate::bench::BenchSaid),
}

/// Which node a command talks to, and how it answers.
#[derive(Debug, Clone, Args)]
pub struct Reach {
    /// The node to talk to, as http://HOST:PORT; without it the one that runs on --data-dir
    #[arg(long, env = "ANODE_NODE", value_name = "URL")]
    pub node: Option<String>,
    /// The token to show it; without it the admin token of --data-dir
    #[arg(long, env = "ANODE_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// The data directory of the node to talk to
    #[arg(long, env = "ANODE_DATA_DIR", value_name = "DIR", default_value = "./anode-data")]
    pub data_dir: PathBuf,
    /// The file that this node takes its admin token from, where that is not the data directory's own
    #[arg(long, env = "ANODE_ADMIN_TOKEN_FILE", value_name = "FILE")]
    pub admin_token_file: Option<PathBuf>,
    /// The configuration file that names the data directory
    #[arg(long, env = "ANODE_CONFIG", value_name = "FILE", hide = true)]
    pub config: Option<PathBuf>,
    /// Answer in JSON, for scripts
    #[arg(long)]
    pub json: bool,
}

impl Reach {
    /// A client of the node that is meant.
    ///
    /// # Errors
    /// When the node's URL is malformed.
    pub fn client(&self) -> anyhow::Result<Client> {
        let mut place = Place::read(&self.data_dir);
        // As in the data directory, a file that cannot be read says nothing: much needs no token.
        let given = self.admin_token_file.as_ref().and_then(|file| crate::identity::read_token(file).ok());
        place.token = given.or(place.token);
        Client::new(Endpoint::choose(self.node.as_deref(), self.token.as_deref(), &place)?)
    }
}

/// Runs the program: reads the command line, does what it says, and gives the exit code.
pub fn main() -> ExitCode {
    let (said, config) = match read_line(std::env::args_os()) {
        Ok(read) => read,
        Err(error) => return fail(&error),
    };
    match answer(said, config) {
        Ok(code) => code,
        Err(error) => fail(&error),
    }
}

/// Says an error, and gives the exit code. A reader of our output that went away has got what it wanted.
fn fail(error: &anyhow::Error) -> ExitCode {
    if let Some(usage) = error.downcast_ref::<clap::Error>() {
        let _ = usage.print();
        return ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(2));
    }
    let broken = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    };
    if error.chain().any(broken) {
        return ExitCode::SUCCESS;
    }
    let _ = writeln!(io::stderr(), "error: {error:#}");
    ExitCode::FAILURE
}

/// What the command line says, with the configuration where the command has one.
type Read = (Said, Option<(Config, Vec<config::Setting>)>);

fn read_line(line: impl IntoIterator<Item = OsString>) -> anyhow::Result<Read> {
    let line: Vec<_> = line.into_iter().collect();
    let parse = |command: Command| {
        command
            .clone()
            .try_get_matches_from(&line)
            .map_err(|error| environment::explain(error, &command, &line))
    };
    let mut matches = parse(Cli::command())?;
    let file = match place_of_file(&matches) {
        Some(named) => config::load_file(named.as_deref())?,
        None => None,
    };
    if let Some(file) = &file {
        matches = parse(with_defaults(Cli::command(), file))?;
    }
    let said = Cli::from_arg_matches(&matches)?.command;
    if !matches!(said, Said::Run(_) | Said::Config(configure::ConfigSaid::Show(_))) {
        return Ok((said, None));
    }
    environment::check(&Cli::command(), std::env::vars_os().map(|(name, _)| name))?;
    let matches = innermost(&matches);
    let config = Config::from_matches(matches, file.as_ref())?;
    Ok((said, Some((config, config::settings(matches, file.as_ref())))))
}

/// The time by this machine's clock.
pub(crate) fn now() -> Micros {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}

/// The matches of the command that was said, below all groups of commands.
fn innermost(matches: &ArgMatches) -> &ArgMatches {
    match matches.subcommand() {
        Some((_, below)) => innermost(below),
        None => matches,
    }
}

/// The file that the command line names, if the command reads one and is not told all that it would say.
fn place_of_file(matches: &ArgMatches) -> Option<Option<PathBuf>> {
    let matches = innermost(matches);
    let named = matches.try_get_one::<PathBuf>("config").ok()?.cloned();
    let told = matches.try_get_one::<String>("node").ok().flatten().is_some();
    (!told).then_some(named)
}

/// Puts a file's values under every command that has options of those names.
fn with_defaults(command: Command, file: &File) -> Command {
    let names: Vec<String> = command.get_subcommands().map(|below| below.get_name().to_owned()).collect();
    let command = if command.get_arguments().any(|arg| arg.get_id() == "config") {
        file.defaults(command)
    } else {
        command
    };
    names
        .into_iter()
        .fold(command, |command, name| command.mut_subcommand(name, |below| with_defaults(below, file)))
}

/// The stack of each of the node's threads, of which only what is used takes memory: readers' and sources' expressions
/// may nest, and the evaluator takes 50 KB for each level of them.
const STACK: usize = 8 << 20;

fn answer(said: Said, config: Option<(Config, Vec<config::Setting>)>) -> anyhow::Result<ExitCode> {
    let threads = matches!(said, Said::Run(_) | Said::Bench(_));
    let mut runtime = if threads {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    let runtime =
        runtime.enable_all().thread_stack_size(STACK).build().context("cannot start the runtime")?;
    let code = runtime.block_on(dispatch(said, config));
    // What still blocks a thread (a read of stdin) is of no use any more.
    runtime.shutdown_background();
    code
}

async fn dispatch(said: Said, config: Option<(Config, Vec<config::Setting>)>) -> anyhow::Result<ExitCode> {
    let done = |result: anyhow::Result<()>| result.map(|()| ExitCode::SUCCESS);
    match said {
        Said::Run(_) => {
            let (config, _) = config.context("a node needs its configuration")?;
            done(Box::pin(run::run(config)).await)
        }
        Said::Source(said) => Box::pin(source::source(&said)).await,
        Said::Topics(args) => done(read::topics(&args).await),
        Said::Tail(args) => done(tail::tail(&args).await),
        Said::History(args) => done(read::history(&args).await),
        Said::Publish(args) => publish::publish(&args).await,
        Said::Verify(args) => done(verify::verify(&args).await),
        Said::Status(args) => done(status::status(&args).await),
        Said::Peers(args) => done(peers::peers(&args).await),
        Said::Archive(said) => archive::archive(&said).await,
        Said::NetworkKey(args) => done(peers::network_key(&args)),
        Said::InitNetwork(args) => done(init_network::init_network(&args)),
        Said::Health(args) => status::health(&args).await,
        Said::Link(args) => done(status::link(&args)),
        Said::Config(said) => done(configure::configure(&said, config.map(|(_, settings)| settings))),
        Said::DemoFeed(args) => done(Box::pin(demo_feed::demo_feed(&args)).await),
        Said::Bench(said) => done(Box::pin(crate::bench::bench(said)).await),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(words: &str) -> anyhow::Result<Read> {
        read_line(words.split(' ').map(Into::into))
    }

    #[test]
    fn it_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn it_gives_every_command_help_worth_reading() {
        fn check(command: &mut Command, path: &str) {
            let help = command.render_long_help().to_string();
            for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
                assert!(arg.get_help().is_some(), "{path}: {} has no help", arg.get_id());
            }
            let leaf = command.get_subcommands().next().is_none();
            assert!(!leaf || help.contains("Examples:"), "{path} has no examples");
            for below in command.get_subcommands_mut().filter(|below| below.get_name() != "help") {
                let path = format!("{path} {}", below.get_name());
                check(below, &path);
            }
        }
        check(&mut Cli::command(), "anode");
    }

    #[test]
    fn it_reads_a_files_values_as_defaults_of_every_command() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.toml");
        std::fs::write(&path, "data-dir = \"/d\"\nname = \"n\"\n").unwrap();
        let path = path.display();
        let (_, config) = line(&format!("anode run --config {path} --http 127.0.0.1:1")).unwrap();
        let config = config.unwrap().0;
        assert_eq!((config.data_dir, config.name), (PathBuf::from("/d"), Some("n".to_owned())));
        let (said, _) = line(&format!("anode status --config {path}")).unwrap();
        assert!(matches!(said, Said::Status(reach) if reach.data_dir == std::path::Path::new("/d")));
        let (said, _) = line("anode status --config /nowhere --node http://h").unwrap();
        assert!(matches!(said, Said::Status(reach) if reach.node.is_some()));
        assert!(line("anode run --config /nowhere").unwrap_err().to_string().contains("/nowhere"));
    }
}
