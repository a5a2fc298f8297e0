//! `anode source edit`: by options, by a file, or in an editor.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anode_shared::source::{SourceDefinition, SourceView};
use anyhow::{Context as _, bail};
use clap::Args;

use super::define::{Parts, ensure_good};
use super::{file, path};
use crate::cli::Reach;
use crate::cli::output::{Out, note};
use crate::client::Client;

/// What stands behind the options.
pub(super) const EXAMPLES: &str = "\
Examples:
  anode source edit btc                         opens $VISUAL or $EDITOR on its definition
  anode source edit btc --interval 5s --emit payload.price
  anode source edit btc --header 'X-Key: ${secret:COINBASE}' --header 'Accept:'
  anode source edit btc --url https://api.example.org/v2
  anode source edit btc --file btc.toml";

/// The editor that every system has.
const EDITOR: &str = "vi";

/// The options of `anode source edit`.
#[derive(Debug, Args)]
pub(in crate::cli) struct EditArgs {
    /// The source's name
    name: String,
    /// Where it is read
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    #[command(flatten)]
    parts: Parts,
    /// Take the definition from this file, JSON or TOML; `-` is stdin
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    reach: Reach,
}

/// Changes a definition.
pub(super) async fn edit(args: &EditArgs) -> anyhow::Result<ExitCode> {
    let client = args.reach.client()?;
    let before = super::fetch(&client, &args.name).await?.definition;
    let by_hand = args.file.is_none() && args.url.is_none() && args.parts.is_empty();
    let after = if by_hand { None } else { Some(changed(args, &before)?) };
    let view = match after {
        Some(after) => put(&client, &args.name, &after).await?,
        None => {
            let (path, after) = in_editor(&before)?;
            if after.as_ref().is_ok_and(|after| *after == before) {
                let _ = std::fs::remove_file(&path);
                note("nothing was changed");
                return Ok(ExitCode::SUCCESS);
            }
            let put = match after {
                Ok(after) => put(&client, &args.name, &after).await,
                Err(error) => Err(error),
            };
            let view = put.map_err(|error| {
                anyhow::anyhow!(
                    "{error:#}\nwhat you wrote is kept; mend it, and take it by: anode source edit {} --file {}",
                    args.name,
                    path.display()
                )
            })?;
            let _ = std::fs::remove_file(&path);
            view
        }
    };
    let mut out = Out::new();
    if args.reach.json {
        out.json(&view)?;
    } else {
        out.line(format!("{} is changed", args.name))?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// The definition as options and file have it.
fn changed(args: &EditArgs, before: &SourceDefinition) -> anyhow::Result<SourceDefinition> {
    let mut after = match &args.file {
        Some(path) => only(file::read(path)?)?,
        None => before.clone(),
    };
    if let Some(url) = &args.url {
        after.url.clone_from(url);
    }
    args.parts.apply(&mut after)?;
    Ok(after)
}

fn only(mut definitions: Vec<SourceDefinition>) -> anyhow::Result<SourceDefinition> {
    match (definitions.pop(), definitions.len()) {
        (Some(one), 0) => Ok(one),
        (_, more) => {
            bail!("one definition is edited at a time, and there are {}", more + usize::from(more > 0))
        }
    }
}

async fn put(client: &Client, name: &str, definition: &SourceDefinition) -> anyhow::Result<SourceView> {
    if definition.name != name {
        bail!(
            "a source keeps its name: {name:?} cannot become {:?}; remove it and add another",
            definition.name
        );
    }
    ensure_good(definition)?;
    client.put(&path(name, ""), serde_json::to_vec(definition)?).await.map_err(super::refusal)
}

/// Lets the user edit a definition; gives the file, and what it holds after that.
fn in_editor(before: &SourceDefinition) -> anyhow::Result<(PathBuf, anyhow::Result<SourceDefinition>)> {
    let (text, ending) = file::write(before)?;
    let name = format!("anode-source-{}-{}.{ending}", before.name, std::process::id());
    let path = std::env::temp_dir().join(name);
    // The definition is for whoever may edit it: nobody else reads the file, and no link of that name is followed.
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    let mut file = file.with_context(|| format!("cannot write {}", path.display()))?;
    file.write_all(text.as_bytes())?;
    drop(file);
    if let Err(error) = run_editor(&path) {
        let _ = std::fs::remove_file(&path);
        return Err(error);
    }
    let after = file::read(&path).and_then(only);
    Ok((path, after))
}

/// Runs the editor, which may be a command with options, and waits for it.
fn run_editor(path: &Path) -> anyhow::Result<()> {
    let said = ["VISUAL", "EDITOR"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|text| !text.is_empty()));
    let editor = said.unwrap_or_else(|| EDITOR.to_owned());
    let status = Command::new("sh").arg("-c").arg(format!("{editor} \"$1\"")).arg("sh").arg(path).status();
    let status =
        status.with_context(|| format!("cannot start the editor {editor:?}; $EDITOR names another"))?;
    if !status.success() {
        bail!("the editor {editor:?} ended with {status}; nothing was changed");
    }
    Ok(())
}
