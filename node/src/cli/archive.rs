//! `anode archive`: how far logs are archived, and whether Cassandra holds what they hold.

use std::process::ExitCode;

use anode_shared::archive::{ArchiveStatus, ArchivedLog, Difference, Flaw, Verified};
use anode_shared::status::State;
use anyhow::bail;
use clap::{Args, Subcommand};
use serde_json::json;

use super::Reach;
use super::output::Out;
use crate::client::{Client, Query};

/// What stands behind the list of commands.
pub(super) const EXAMPLES: &str = "\
Examples:
  anode archive status                            how far each log is archived
  anode archive verify                            compare all that this node holds with Cassandra
  anode archive verify ORIGIN/LOG --from 1 --to 5000 --json";

/// What is to be done with the archive.
#[derive(Debug, Subcommand)]
pub(super) enum ArchiveSaid {
    /// Show how the archive is, and how far each log is archived
    #[command(after_help = EXAMPLES)]
    Status(Reach),
    /// Compare what the node holds of its logs with what Cassandra holds, record by record; exits 1 where anything differs
    #[command(after_help = EXAMPLES)]
    Verify(VerifyArgs),
}

/// The options of `anode archive verify`.
#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// The logs to compare, as ORIGIN/LOG; without any all that this node holds
    #[arg(value_name = "ORIGIN/LOG")]
    logs: Vec<String>,
    /// From this seq on
    #[arg(long, value_name = "SEQ", default_value = "1")]
    from: u64,
    /// Up to this seq; without it what is archived now
    #[arg(long, value_name = "SEQ")]
    to: Option<u64>,
    #[command(flatten)]
    reach: Reach,
}

/// Does what was said.
pub(super) async fn archive(said: &ArchiveSaid) -> anyhow::Result<ExitCode> {
    match said {
        ArchiveSaid::Status(reach) => status(reach).await.map(|()| ExitCode::SUCCESS),
        ArchiveSaid::Verify(args) => verify(args).await,
    }
}

/// All pages of the archive's status as one.
async fn read(client: &Client) -> anyhow::Result<ArchiveStatus> {
    let mut query = Query::new();
    let mut all: ArchiveStatus = client.get("/api/v1/archive", &query).await?;
    while let Some(next) = all.next.take() {
        query = vec![("page", next)];
        let page: ArchiveStatus = client.get("/api/v1/archive", &query).await?;
        all.logs.extend(page.logs);
        all.next = page.next;
    }
    Ok(all)
}

async fn status(reach: &Reach) -> anyhow::Result<()> {
    let (client, mut out) = (reach.client()?, Out::new());
    let status = read(&client).await?;
    if reach.json {
        out.json(&status)?;
        return out.flush();
    }
    let archive = &status.archive;
    let words = archive.detail.as_deref().unwrap_or("all that is due is archived");
    let state = serde_json::to_value(archive.state)?;
    out.line(format!("archive is {}: {words}", state.as_str().unwrap_or_default()))?;
    let rows: Vec<_> = status.logs.iter().map(row).collect();
    if !rows.is_empty() {
        out.table(["log", "head", "archived to", "waiting", "missing", "by"], &rows)?;
    }
    out.flush()
}

fn row(log: &ArchivedLog) -> [String; 6] {
    let missing: u64 = log.holes.iter().map(|hole| hole.to - hole.from + 1).sum();
    let (to, by) =
        if log.ours { (log.archived_to.to_string(), "this node") } else { ("-".to_owned(), "another") };
    [log.log.clone(), log.head.to_string(), to, log.lag.to_string(), missing.to_string(), by.to_owned()]
}

async fn verify(args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    let (client, mut out) = (args.reach.client()?, Out::new());
    let status = read(&client).await?;
    if status.archive.state == State::Off {
        bail!("the node has no archive: start it with --cassandra HOST");
    }
    let known: Vec<&ArchivedLog> = status.logs.iter().filter(|log| wanted(args, log)).collect();
    if let Some(unknown) = args.logs.iter().find(|name| !known.iter().any(|log| log.log == **name)) {
        bail!("the node does not hold the log {unknown}");
    }
    let mut differ = false;
    for log in known {
        let to = args.to.unwrap_or(if log.ours { log.archived_to } else { log.head }).min(log.head);
        let whole = compare(&client, &log.log, args.from.max(log.floor), to).await?;
        differ |= !whole.differences.is_empty();
        if args.reach.json {
            out.json(&json!({ "log": log.log, "verified": whole }))?;
            continue;
        }
        let good = if whole.differences.is_empty() { "as here" } else { "DIFFERENT" };
        out.line(format!("{} {} to {}: {} records, {good}", log.log, whole.from, whole.to, whole.records))?;
        whole.differences.iter().try_for_each(|difference| out.line(format!("  {}", words(difference))))?;
    }
    out.flush()?;
    Ok(if differ { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn wanted(args: &VerifyArgs, log: &ArchivedLog) -> bool {
    args.logs.is_empty() || args.logs.contains(&log.log)
}

/// Compares a range with as many requests as it takes.
async fn compare(client: &Client, log: &str, from: u64, to: u64) -> anyhow::Result<Verified> {
    let mut whole = Verified { from, to: from.saturating_sub(1), ..Verified::default() };
    while whole.to < to {
        let query =
            vec![("log", log.to_owned()), ("from", (whole.to + 1).to_string()), ("to", to.to_string())];
        let part: Verified = client.get("/api/v1/archive/verify", &query).await?;
        if part.to <= whole.to {
            break;
        }
        whole.to = part.to;
        whole.records += part.records;
        whole.batches += part.batches;
        whole.differences.extend(part.differences);
    }
    Ok(whole)
}

fn words(difference: &Difference) -> String {
    let Difference { from, to, flaw } = difference;
    let what = match flaw {
        Flaw::BatchMissing => "the batch is not in Cassandra",
        Flaw::BatchDiffers => "Cassandra has another batch",
        Flaw::RecordMissing => "the record is not in Cassandra",
        Flaw::RecordDiffers => "Cassandra has another record",
        Flaw::NotHere => "the node does not hold this range",
    };
    if from == to { format!("{from}: {what}") } else { format!("{from} to {to}: {what}") }
}
