//! `anode source …`: what the node reads by itself.

use std::process::ExitCode;

use anode_shared::source::{SourceList, SourceView};
use clap::{Args, Subcommand};
use serde_json::json;
use serde_json::value::RawValue;

use super::output::{Out, note};
use super::{Reach, now};
use crate::client::{Client, ClientError, Query};

mod define;
mod file;
mod show;
mod add;
mod edit;

/// What stands behind the list of commands.
pub(super) const EXAMPLES: &str = "\
Examples:
  anode source test http://127.0.0.1:8090/rest/btc-usd      what would it bring?
  anode source add btc http://127.0.0.1:8090/rest/btc-usd --topic prices.btc-usd
  anode source list
  anode tail prices.btc-usd

`anode demo-feed` serves a market at that address. A source's address must be public; others must be
allowed by the node's --allow-private-sources HOST:PORT.";
const LIST_EXAMPLES: &str = "\
Examples:
  anode source list
  anode source list --peer all                those of all nodes of the mesh
  anode source list --json | jq -r '.sources[] | select(.status.state != \"live\") | .name'";
const SHOW_EXAMPLES: &str = "\
Examples:
  anode source show btc
  anode source show btc --json | jq .status";
const PAUSE_EXAMPLES: &str = "\
Examples:
  anode source pause btc eth      they stay registered, and are not read";
const RESUME_EXAMPLES: &str = "\
Examples:
  anode source resume btc eth";
const RM_EXAMPLES: &str = "\
Examples:
  anode source rm btc eth         their records stay stored";

/// What to do with sources.
#[derive(Debug, Subcommand)]
pub(super) enum SourceSaid {
    /// List the sources and how they are
    #[command(after_help = LIST_EXAMPLES)]
    List(ListArgs),
    /// Show one: how it is, and its definition
    #[command(after_help = SHOW_EXAMPLES)]
    Show(ShowArgs),
    /// Register a source, or what a file holds
    #[command(after_help = add::EXAMPLES)]
    Add(Box<add::AddArgs>),
    /// Fetch once, or listen for up to 5 s, and show what comes; nothing is registered
    #[command(after_help = add::TEST_EXAMPLES)]
    Test(Box<add::TestArgs>),
    /// Change a source's definition
    #[command(after_help = edit::EXAMPLES)]
    Edit(Box<edit::EditArgs>),
    /// Stop reading sources, for now
    #[command(after_help = PAUSE_EXAMPLES)]
    Pause(NamesArgs),
    /// Read paused sources again
    #[command(after_help = RESUME_EXAMPLES)]
    Resume(NamesArgs),
    /// Remove sources
    #[command(after_help = RM_EXAMPLES)]
    Rm(NamesArgs),
}

/// The options of `anode source list`.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Whose sources: those of a peer, by its id, or of `all` nodes; without it those of the node that is talked to
    #[arg(long, value_name = "PEER|all")]
    peer: Option<String>,
    #[command(flatten)]
    reach: Reach,
}

/// The options of `anode source show`.
#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// The source's name
    name: String,
    /// Whose source: a peer's, by its id; without it one of the node that is talked to
    #[arg(long, value_name = "PEER")]
    peer: Option<String>,
    #[command(flatten)]
    reach: Reach,
}

/// The options of commands that name sources.
#[derive(Debug, Args)]
pub(super) struct NamesArgs {
    /// The sources' names
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    reach: Reach,
}

/// Does it.
pub(super) async fn source(said: &SourceSaid) -> anyhow::Result<ExitCode> {
    match said {
        SourceSaid::List(args) => list(args).await,
        SourceSaid::Show(args) => show_one(args).await,
        SourceSaid::Add(args) => add::add(args).await,
        SourceSaid::Test(args) => add::test(args).await,
        SourceSaid::Edit(args) => edit::edit(args).await,
        SourceSaid::Pause(args) => each(args, "POST", "/pause", "paused").await,
        SourceSaid::Resume(args) => each(args, "POST", "/resume", "resumed").await,
        SourceSaid::Rm(args) => each(args, "DELETE", "", "removed").await,
    }
}

/// The route of a source, with what follows its name.
fn path(name: &str, rest: &str) -> String {
    // A name holds nothing that a path would have to escape; any other is none.
    let name: String =
        name.chars().map(|c| if "/?#%".contains(c) || c.is_whitespace() { '_' } else { c }).collect();
    format!("/api/v1/sources/{name}{rest}")
}

async fn fetch(client: &Client, name: &str) -> anyhow::Result<SourceView> {
    client.get(&path(name, ""), &Query::new()).await.map_err(refusal)
}

/// What says whose sources are meant.
fn of(peer: Option<&str>) -> Query {
    peer.map(|peer| ("node", peer.to_owned())).into_iter().collect()
}

/// The node's refusal, field by field where it names some.
fn refusal(error: ClientError) -> anyhow::Error {
    match error {
        ClientError::Refused(problem) if !problem.errors.is_empty() => {
            anyhow::anyhow!("{} ({} {})", define::fields(&problem.errors), problem.status, problem.code)
        }
        other => other.into(),
    }
}

async fn list(args: &ListArgs) -> anyhow::Result<ExitCode> {
    let client = args.reach.client()?;
    let list = pages(&client, args.peer.as_deref()).await?;
    let mut out = Out::new();
    if args.reach.json {
        out.json(&list)?;
    } else {
        show::list(&mut out, &list.sources, now())?;
        if list.sources.is_empty() && list.unreachable.is_empty() {
            note("there are no sources yet; `anode source add --help` shows how to register one");
        }
        for node in &list.unreachable {
            note(&format!("{} ({}) was not asked: {}", node.name, node.id, node.detail));
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// All sources of a node.
pub(crate) async fn all(client: &Client) -> anyhow::Result<Vec<SourceView>> {
    Ok(pages(client, None).await?.sources)
}

/// All sources of the node that is talked to, of a peer, or of all nodes, page after page.
async fn pages(client: &Client, peer: Option<&str>) -> anyhow::Result<SourceList> {
    let mut list = SourceList { sources: Vec::new(), next: None, unreachable: Vec::new() };
    loop {
        let mut query = of(peer);
        query.extend(list.next.take().map(|next| ("page", next)));
        let mut page: SourceList = client.get("/api/v1/sources", &query).await?;
        list.sources.append(&mut page.sources);
        for node in page.unreachable {
            if !list.unreachable.iter().any(|known| known.id == node.id) {
                list.unreachable.push(node);
            }
        }
        list.next = page.next;
        if list.next.is_none() {
            return Ok(list);
        }
    }
}

async fn show_one(args: &ShowArgs) -> anyhow::Result<ExitCode> {
    let client = args.reach.client()?;
    let mut out = Out::new();
    let (path, query) = (path(&args.name, ""), of(args.peer.as_deref()));
    if args.reach.json {
        out.json(&client.get::<Box<RawValue>>(&path, &query).await.map_err(refusal)?)?;
    } else {
        show::one(&mut out, &client.get(&path, &query).await.map_err(refusal)?, now())?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Does the same to each, and goes on after one that fails.
async fn each(args: &NamesArgs, method: &str, rest: &str, done: &str) -> anyhow::Result<ExitCode> {
    let client = args.reach.client()?;
    let mut out = Out::new();
    let mut code = ExitCode::SUCCESS;
    for name in &args.names {
        let method = method.parse()?;
        match client.order(method, &path(name, rest)).await.map_err(refusal) {
            Ok(()) if args.reach.json => out.json(&json!({"name": name, "done": done}))?,
            Ok(()) => out.line(format!("{name} is {done}"))?,
            Err(error) => {
                note(&format!("{name}: {error:#}"));
                code = ExitCode::FAILURE;
            }
        }
    }
    out.flush()?;
    Ok(code)
}
