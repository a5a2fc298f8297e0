//! `anode source add` and `test`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anode_shared::source::{SourceDefinition, SourceState, SourceTest, SourceView};
use anyhow::{Context as _, bail};
use clap::Args;

use super::define::{Parts, ensure_good};
use super::{file, path, show};
use crate::cli::Reach;
use crate::cli::output::{Out, note};
use crate::client::{Client, Query};

/// What stands behind the options of `anode source add`.
pub(super) const EXAMPLES: &str = "\
Examples:
  anode source add btc http://127.0.0.1:8090/rest/btc-usd --topic prices.btc-usd --interval 1s
  anode source add eth http://127.0.0.1:8090/sse/eth-usd --sse --topic prices.eth-usd --wait
  anode source add trades ws://127.0.0.1:8090/ws --topic 'trades.${payload.symbol.lowerAscii().replace(\"/\", \"-\")}' \\
    --open '{\"method\":\"subscribe\",\"params\":{\"channel\":\"trade\",\"symbol\":[\"BTC/USD\",\"ETH/USD\"]}}' \\
    --emit 'has(payload.data) ? payload.data : []'
  anode source add coinbase https://api.coinbase.com/v2/prices/BTC-USD/spot --topic prices.coinbase \\
    --header 'X-Key: ${secret:COINBASE}' --emit payload.data --only-changes --test-first
  anode source add --file sources.toml
  cat sources.json | anode source add --file -";
/// What stands behind the options of `anode source test`.
pub(super) const TEST_EXAMPLES: &str = "\
Examples:
  anode source test http://127.0.0.1:8090/rest/btc-usd
  anode source test http://127.0.0.1:8090/rest/all --topic prices.x --emit 'payload.filter(p, p.price > 100.0)'
  anode source test btc                        a registered one, as it stands
  anode source test btc --emit payload.price   the same with something else in it
  anode source test --file source.toml --json  0 only where it would be live";

/// How often a source that is waited for is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// The name and topic of a test that are not said: they go nowhere.
const UNNAMED: &str = "test";

/// The options of `anode source add`.
#[derive(Debug, Args)]
pub(in crate::cli) struct AddArgs {
    /// Its name on this node: a-z, 0-9, _ and -
    #[arg(required_unless_present = "file")]
    name: Option<String>,
    /// Where it is read: http(s)://… or ws(s)://…; may hold ${secret:NAME}
    #[arg(required_unless_present = "file")]
    url: Option<String>,
    #[command(flatten)]
    parts: Parts,
    /// Register what this file holds, JSON or TOML, one or many; `-` is stdin
    #[arg(long, value_name = "FILE", conflicts_with_all = ["name", "url"])]
    file: Option<PathBuf>,
    /// Test each first, and register none unless all are good
    #[arg(long)]
    test_first: bool,
    /// Wait until each is live, at most so long (30s)
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "30s", value_parser = crate::config::units::age)]
    wait: Option<Duration>,
    #[command(flatten)]
    reach: Reach,
}

/// The options of `anode source test`.
#[derive(Debug, Args)]
pub(in crate::cli) struct TestArgs {
    /// The URL to try, or the name of a registered source
    #[arg(value_name = "URL|NAME", required_unless_present = "file")]
    what: Option<String>,
    #[command(flatten)]
    parts: Parts,
    /// Test what this file holds, JSON or TOML, one or many; `-` is stdin
    #[arg(long, value_name = "FILE", conflicts_with = "what")]
    file: Option<PathBuf>,
    #[command(flatten)]
    reach: Reach,
}

/// Registers.
pub(super) async fn add(args: &AddArgs) -> anyhow::Result<ExitCode> {
    let definitions = args.definitions()?;
    definitions.iter().try_for_each(ensure_good)?;
    let client = args.reach.client()?;
    let mut out = Out::new();
    if args.test_first && !all_good(&client, &definitions).await? {
        bail!("nothing was registered");
    }
    let mut code = ExitCode::SUCCESS;
    let mut added = Vec::new();
    for definition in &definitions {
        let body = serde_json::to_vec(definition)?;
        let made: anyhow::Result<SourceView> =
            client.post("/api/v1/sources", &Query::new(), body).await.map_err(super::refusal);
        match made {
            Ok(view) => added.push(view),
            Err(error) if definitions.len() == 1 => return Err(error),
            Err(error) => {
                note(&format!("source {:?}: {error:#}", definition.name));
                code = ExitCode::FAILURE;
            }
        }
    }
    for view in added {
        let view = match args.wait.filter(|_| !view.definition.paused) {
            Some(most) => wait(&client, view, most).await?,
            None => view,
        };
        if args.wait.is_some() && !matches!(view.status.state, SourceState::Live | SourceState::Paused) {
            code = ExitCode::FAILURE;
        }
        say(&mut out, args.reach.json, &view)?;
    }
    out.flush()?;
    Ok(code)
}

fn say(out: &mut Out, as_json: bool, view: &SourceView) -> anyhow::Result<()> {
    if as_json {
        return out.json(view);
    }
    let why = show::why(&view.status);
    let why = if why.is_empty() { why } else { format!(": {why}") };
    out.line(format!("{} is {}{why}", view.definition.name, show::state(view.status.state)))
}

impl AddArgs {
    fn definitions(&self) -> anyhow::Result<Vec<SourceDefinition>> {
        if let Some(path) = &self.file {
            let mut definitions = file::read(path)?;
            for definition in &mut definitions {
                self.parts.apply(definition)?;
            }
            return Ok(definitions);
        }
        let name = self.name.as_deref().context("the name is missing")?;
        let url = self.url.as_deref().context("the URL is missing")?;
        Ok(vec![self.parts.define(name, url)?])
    }
}

/// Tests each, and says on stderr what is wrong.
async fn all_good(client: &Client, definitions: &[SourceDefinition]) -> anyhow::Result<bool> {
    let mut good = true;
    for definition in definitions {
        let tested = run(client, definition).await?;
        if !tested.ok {
            let why = tested.error.map_or_else(|| "it would not be live".to_owned(), |error| error.detail);
            note(&format!("source {:?}: {why}", definition.name));
            good = false;
        }
    }
    Ok(good)
}

/// Waits until a source is live, cannot be, or the time is over.
async fn wait(client: &Client, mut view: SourceView, most: Duration) -> anyhow::Result<SourceView> {
    let began = Instant::now();
    let ended = |state| {
        matches!(
            state,
            SourceState::Live | SourceState::AuthFailed | SourceState::Invalid | SourceState::Paused
        )
    };
    while !ended(view.status.state) && began.elapsed() < most {
        tokio::time::sleep(LOOK).await;
        view = client.get(&path(&view.definition.name, ""), &Query::new()).await?;
    }
    Ok(view)
}

/// Tests.
pub(super) async fn test(args: &TestArgs) -> anyhow::Result<ExitCode> {
    let client = args.reach.client()?;
    let mut definitions = match (&args.file, args.what.as_deref()) {
        (Some(path), _) => file::read(path)?,
        (None, Some(url)) if url.contains("://") => vec![args.parts.define(UNNAMED, url)?],
        (None, Some(name)) => vec![super::fetch(&client, name).await?.definition],
        (None, None) => bail!("a URL, a name or --file says what to test"),
    };
    let mut out = Out::new();
    let (mut good, many) = (true, definitions.len() > 1);
    for definition in &mut definitions {
        args.parts.apply(definition)?;
        if definition.topic.is_empty() {
            UNNAMED.clone_into(&mut definition.topic);
        }
        ensure_good(definition)?;
        let tested = run(&client, definition).await?;
        good &= tested.ok;
        if args.reach.json {
            out.json(&tested)?;
            continue;
        }
        if many {
            out.line(format!("── {}", definition.name))?;
        }
        show::test(&mut out, &tested)?;
    }
    out.flush()?;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn run(client: &Client, definition: &SourceDefinition) -> anyhow::Result<SourceTest> {
    let body = serde_json::to_vec(definition)?;
    client.post("/api/v1/sources/test", &Query::new(), body).await.map_err(super::refusal)
}
