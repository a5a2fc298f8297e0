//! `anode status`, `health` and `link`.

use std::path::PathBuf;
use std::process::ExitCode;

use anode_shared::status::{Component, State, Status};
use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::{Value, json};
use url::Url;

use super::Reach;
use super::output::{Out, note};
use crate::client::{ClientError, Place, Query, dashboard_link};
use crate::config::units::{self, show_bytes, show_seconds};
use crate::identity;

/// What stands behind the options of `anode status`.
pub(super) const STATUS_EXAMPLES: &str = "\
Examples:
  anode status
  anode status --json | jq .components.store.state
  anode status --node http://10.0.0.7:8080";
/// What stands behind the options of `anode health`.
pub(super) const HEALTH_EXAMPLES: &str = "\
Examples:
  anode health                      0 where the node can take records, else 1 with the reasons
  anode health --live               0 where the process answers at all
  HEALTHCHECK CMD anode health      in a Dockerfile";
/// What stands behind the options of `anode link`.
pub(super) const LINK_EXAMPLES: &str = "\
Examples:
  anode link                        the link of the node on ./anode-data
  xdg-open \"$(anode link)\"          opened in a browser";

/// The options of `anode health`.
#[derive(Debug, Args)]
pub(super) struct HealthArgs {
    #[command(flatten)]
    reach: Reach,
    /// Ask only whether the process answers
    #[arg(long)]
    live: bool,
}

/// The options of `anode link`.
#[derive(Debug, Args)]
pub(super) struct LinkArgs {
    /// The data directory of the node
    #[arg(long, env = "ANODE_DATA_DIR", value_name = "DIR", default_value = "./anode-data")]
    data_dir: PathBuf,
    /// The file that the node takes its admin token from, where that is not the data directory's own
    #[arg(long, env = "ANODE_ADMIN_TOKEN_FILE", value_name = "FILE")]
    admin_token_file: Option<PathBuf>,
    /// The address that the link shows, where browsers reach the node by another one than it listens on
    #[arg(long, env = "ANODE_PUBLIC_URL", value_name = "URL", value_parser = units::page)]
    public_url: Option<Url>,
    /// The configuration file that names the data directory
    #[arg(long, env = "ANODE_CONFIG", value_name = "FILE", hide = true)]
    config: Option<PathBuf>,
    /// Answer in JSON, for scripts
    #[arg(long)]
    json: bool,
}

/// Shows how the node is.
pub(super) async fn status(reach: &Reach) -> anyhow::Result<()> {
    let client = reach.client()?;
    let mut out = Out::new();
    if reach.json {
        out.json(&client.get::<Value>("/api/v1/status", &Query::new()).await?)?;
        return out.flush();
    }
    let status: Status = client.get("/api/v1/status", &Query::new()).await?;
    let node = &status.node;
    let retention = &node.retention;
    out.line(format!("{} ({}), network {}", node.name, node.id, node.network))?;
    out.line(format!(
        "version {}, up {}, keeps {} and {}\n",
        node.version,
        show_seconds(node.uptime_s),
        show_seconds(retention.age_s),
        show_bytes(retention.bytes),
    ))?;
    let rows: Vec<_> = status.components.iter().map(|(name, component)| row(name, component)).collect();
    out.table(["component", "state", "detail", "figures"], &rows)?;
    out.line("")?;
    out.line(super::peers::summary(&client).await?)?;
    out.flush()
}

fn row(name: &str, component: &Component) -> [String; 4] {
    let state = match component.state {
        State::Ok => "ok",
        State::Degraded => "degraded",
        State::Down => "down",
        State::Off => "off",
    };
    let figures: Vec<String> =
        component.figures.iter().filter_map(|(name, value)| figure(name, value)).collect();
    [name.to_owned(), state.to_owned(), component.detail.clone().unwrap_or_default(), figures.join(", ")]
}

/// A figure in words; none where it is zero, or not a plain number or text.
fn figure(name: &str, value: &Value) -> Option<String> {
    let shown = match value {
        Value::Number(number) if number.as_f64() == Some(0.0) => return None,
        Value::Number(number) => match number.as_u64() {
            Some(bytes) if name.ends_with("bytes") => show_bytes(bytes),
            Some(whole) => whole.to_string(),
            None => format!("{:.1}", number.as_f64()?),
        },
        Value::String(text) => text.clone(),
        Value::Bool(flag) => flag.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    };
    Some(format!("{} {shown}", name.replace('_', " ")))
}

/// Asks whether the node is well.
pub(super) async fn health(args: &HealthArgs) -> anyhow::Result<ExitCode> {
    let client = args.reach.client()?;
    let path = if args.live { "/livez" } else { "/readyz" };
    let mut out = Out::new();
    let (code, word) = match client.text(path).await {
        Ok(_) => (ExitCode::SUCCESS, if args.live { "live" } else { "ready" }.to_owned()),
        Err(ClientError::Refused(problem)) => (ExitCode::FAILURE, problem.to_string()),
        Err(error) => return Err(error.into()),
    };
    let good = code == ExitCode::SUCCESS;
    if args.reach.json {
        out.json(&json!({"ok": good, "detail": word}))?;
    } else if good {
        out.line(word)?;
    } else {
        note(&word);
    }
    out.flush()?;
    Ok(code)
}

/// Prints the dashboard's link.
pub(super) fn link(args: &LinkArgs) -> anyhow::Result<()> {
    let place = Place::read(&args.data_dir);
    let dir = args.data_dir.display();
    let address = place.address.with_context(|| {
        format!("no node runs on {dir}: there is no http.addr in it. Start one with `anode run`, or name its --data-dir")
    })?;
    let token = match &args.admin_token_file {
        Some(path) => identity::read_token(path)?,
        None => match place.token {
            Some(token) => token,
            None => bail!(
                "{dir} holds no readable admin.token; where the node runs with --admin-token-file, give it here too"
            ),
        },
    };
    let link = dashboard_link(&address, args.public_url.as_ref(), Some(&token));
    let mut out = Out::new();
    if args.json {
        out.json(&json!({"link": link}))?;
    } else {
        out.line(link)?;
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_shows_figures_with_their_units() {
        for (name, value, expected) in [
            ("bytes", json!(2048), Some("bytes 2 KiB")),
            ("records_per_s", json!(1.25), Some("records per s 1.2")),
            ("lag_ms", json!(3), Some("lag ms 3")),
            ("in_flight_bytes", json!(0), None),
            ("list", json!([]), None),
            ("none", json!(null), None),
        ] {
            assert_eq!(figure(name, &value).as_deref(), expected);
        }
    }
}
