//! `anode config`: what is in effect and why, and whether a file is good.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::output::Out;
use crate::config::{File, Options, Setting, Source, options_command};

/// What `anode config` can do.
#[derive(Debug, Subcommand)]
pub(super) enum ConfigSaid {
    /// Show every option in effect, and where it came from
    #[command(after_help = "\
Examples:
  anode config show                      what `anode run` would use here
  anode config show --config prod.toml   with that file
  ANODE_HTTP=0.0.0.0:80 anode config show --json")]
    Show(ShowArgs),
    /// Check a configuration file
    #[command(after_help = "\
Examples:
  anode config check anode.toml && systemctl reload anode")]
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
    /// The file to check
    #[arg(value_name = "FILE", default_value = crate::config::DEFAULT_FILE)]
    file: PathBuf,
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
            let file = File::load(&args.file, &options_command())?;
            if args.json {
                out.json(&json!({"file": file.path(), "ok": true}))?;
            } else {
                out.line(format!("{} is good", file.path().display()))?;
            }
        }
    }
    out.flush()
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
