//! `anode config`: what is in effect and why, and whether a file is good.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::output::Out;
use crate::config::{self, File, Options, Setting, Source, options_command};

/// What `anode config` can do.
#[derive(Debug, Subcommand)]
pub(super) enum ConfigSaid {
    /// Show every option in effect, and where it came from
    #[command(after_help = "\
Examples:
  anode config show                      what `anode run` would use here
  anode config show --config prod.toml   with that file
  ANODE_HTTP=0.0.0.0:80 anode config show --json")]
    Show(Box<ShowArgs>),
    /// Check a configuration file, or all that `anode run` would use here
    #[command(after_help = "\
Examples:
  anode config check                     what `anode run` would use here
  anode config check prod.toml && systemctl restart anode")]
    Check(CheckArgs),
}

/// The options of `anode config show`.
#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    #[command(flatten)]
    _options: Options,
    /// Answer in JSON, for scripts
    #[arg(long)]
    json: bool,
}

/// The options of `anode config check`.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// The file to check; without it anode.toml, where there is one, and the environment
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Answer in JSON, for scripts
    #[arg(long)]
    json: bool,
}

/// Does what `anode config` was told.
pub(super) fn configure(said: &ConfigSaid, settings: Option<Vec<Setting>>) -> anyhow::Result<()> {
    let mut out = Out::new();
    match said {
        ConfigSaid::Show(args) => show(&mut out, &settings.unwrap_or_default(), args.json)?,
        ConfigSaid::Check(args) => {
            let path = check(args.file.as_deref())?;
            if args.json {
                out.json(&json!({"file": path, "ok": true}))?;
            } else {
                out.line(path.map_or("the configuration is good".to_owned(), |path| {
                    format!("{} is good", path.display())
                }))?;
            }
        }
    }
    out.flush()
}

/// Checks a file, else what a node would use here; gives the file that was read.
fn check(named: Option<&Path>) -> anyhow::Result<Option<PathBuf>> {
    if let Some(path) = named {
        return Ok(Some(File::load(path, &options_command())?.path().to_owned()));
    }
    super::read_line(["anode", "config", "show"].map(Into::into))?;
    let file = config::load_file(std::env::var_os("ANODE_CONFIG").as_deref().map(Path::new))?;
    Ok(file.map(|file| file.path().to_owned()))
}

fn show(out: &mut Out, settings: &[Setting], as_json: bool) -> anyhow::Result<()> {
    if as_json {
        let object: serde_json::Map<String, Value> =
            settings.iter().map(|setting| (setting.key.clone(), as_value(setting))).collect();
        return out.json(&object);
    }
    let row = |setting: &Setting| {
        let value = if setting.values.is_empty() { "-".to_owned() } else { setting.values.join(", ") };
        [setting.key.clone(), value, setting.source.to_string()]
    };
    out.table(["option", "value", "from"], &settings.iter().map(row).collect::<Vec<_>>())
}

fn as_value(setting: &Setting) -> Value {
    let value = match (setting.key.as_str(), setting.values.as_slice()) {
        ("allow-origin", values) => json!(values),
        (_, [only]) if only == "true" || only == "false" => json!(only == "true"),
        (_, [only]) => json!(only),
        _ => Value::Null,
    };
    let from = match &setting.source {
        Source::Default => json!({"kind": "default"}),
        Source::Option => json!({"kind": "option"}),
        Source::File(path) => json!({"kind": "file", "path": path}),
        Source::Environment(name) => json!({"kind": "environment", "variable": name}),
    };
    json!({"value": value, "from": from})
}
