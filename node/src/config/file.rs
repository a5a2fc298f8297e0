//! `anode.toml`: its values become the defaults of the options of the same names, so that one parser checks all.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::{Arg, ArgAction, Command};
use toml::{Spanned, Value};

/// A configuration file that was read and whose every value was checked.
#[derive(Debug, Clone, Default)]
pub struct File {
    path: PathBuf,
    values: BTreeMap<String, Vec<String>>,
}

impl File {
    /// Reads and checks a file against the options of `command`.
    ///
    /// # Errors
    /// With file, line, key, value and what is accepted.
    pub fn load(path: &Path, command: &Command) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the configuration {}", path.display()))?;
        let values = parse(&text, command).map_err(|(line, why)| {
            anyhow::anyhow!("{}{}: {why}", path.display(), line.map_or(String::new(), |n| format!(":{n}")))
        })?;
        Ok(Self { path: path.to_owned(), values })
    }

    /// Whether the file sets an option.
    pub fn sets(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The command with the file's values as defaults. Options that the command does not have are passed over.
    pub fn defaults(&self, mut command: Command) -> Command {
        for (key, values) in &self.values {
            let id = command
                .get_arguments()
                .find(|arg| arg.get_long() == Some(key))
                .map(|arg| arg.get_id().clone());
            if let Some(id) = id {
                command = command.mut_arg(id, |arg| arg.default_values(values.clone()));
            }
        }
        command
    }
}

/// What went wrong, with the line where that is known.
type Wrong = (Option<usize>, String);

fn parse(text: &str, command: &Command) -> Result<BTreeMap<String, Vec<String>>, Wrong> {
    let line_of = |place: usize| Some(text[..place.min(text.len())].matches('\n').count() + 1);
    let table: BTreeMap<String, Spanned<Value>> = toml::from_str(text).map_err(|error| {
        (error.span().and_then(|span| line_of(span.start)), format!("this is not TOML: {}", error.message()))
    })?;
    let mut values = BTreeMap::new();
    for (key, value) in table {
        let wrong = |why: String| (line_of(value.span().start), why);
        let texts = check(&key, value.get_ref(), command).map_err(|error| wrong(error.to_string()))?;
        // Both spellings are at home in TOML files.
        if values.insert(key.replace('_', "-"), texts).is_some() {
            return Err(wrong(format!("`{key}` is set twice, with `-` and with `_`")));
        }
    }
    Ok(values)
}

fn check(key: &str, value: &Value, command: &Command) -> anyhow::Result<Vec<String>> {
    let keys = keys(command);
    let name = key.replace('_', "-");
    let known = |arg: &&Arg| arg.get_long().is_some_and(|long| long == name && keys.contains(&long));
    let Some(arg) = command.get_arguments().find(known) else {
        match nearest(key, &keys) {
            Some(near) => bail!("unknown key `{key}`; did you mean `{near}`?"),
            None => bail!("unknown key `{key}`; known are {}", keys.join(", ")),
        }
    };
    let wrong = |why: String| anyhow::anyhow!("`{key} = {value}`: {why}");
    let values = texts(arg, value).map_err(|error| wrong(error.to_string()))?;
    values.iter().try_for_each(|text| parse_one(arg, text)).map_err(wrong)?;
    Ok(values)
}

/// The keys that a file may hold: every option but those that choose the file or belong to the program itself.
pub fn keys(command: &Command) -> Vec<&str> {
    let own = |key: &str| matches!(key, "config" | "help" | "version" | "json");
    command.get_arguments().filter_map(Arg::get_long).filter(|key| !own(key)).collect()
}

/// A value as the texts that the command line would hold.
fn texts(arg: &Arg, value: &Value) -> anyhow::Result<Vec<String>> {
    let takes_list = matches!(arg.get_action(), ArgAction::Append);
    let is_flag = arg.get_value_names().is_some_and(|names| names.iter().any(|name| name == "BOOL"));
    let is_number = arg.get_value_names().is_some_and(|names| names.iter().any(|name| name == "BYTES"));
    match value {
        Value::Boolean(flag) if is_flag => Ok(vec![flag.to_string()]),
        Value::Integer(number) if is_number => Ok(vec![number.to_string()]),
        Value::String(text) if !is_flag => Ok(vec![text.clone()]),
        Value::Array(items) if takes_list => {
            let text =
                |item: &Value| item.as_str().map(str::to_owned).context("accepted is a list of strings");
            items.iter().map(text).collect()
        }
        _ if is_flag => bail!("accepted are true and false, without quotes"),
        _ if takes_list => bail!("accepted is a list of strings, each in quotes"),
        _ if is_number => bail!("accepted is a string with a unit, or a whole number of bytes"),
        _ => bail!("accepted is a string, in quotes"),
    }
}

/// Runs one value through the option's own parser, and gives that parser's words where it refuses.
fn parse_one(arg: &Arg, text: &str) -> Result<(), String> {
    let long = arg.get_long().unwrap_or_default();
    let given = format!("--{long}={text}");
    match Command::new("file").arg(arg.clone()).try_get_matches_from(["file", &given]) {
        Ok(_) => Ok(()),
        Err(error) => Err(match std::error::Error::source(&error) {
            Some(source) => source.to_string(),
            None => possible(arg),
        }),
    }
}

fn possible(arg: &Arg) -> String {
    let values: Vec<String> =
        arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
    if values.is_empty() {
        "the value is empty".to_owned()
    } else {
        format!("accepted are {}", values.join(", "))
    }
}

/// The candidate that a mistyped name is closest to, if any is close.
pub fn nearest<'a>(name: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let plain = name.to_lowercase().replace('_', "-");
    candidates
        .iter()
        .map(|candidate| (strsim::normalized_damerau_levenshtein(&plain, candidate), *candidate))
        .filter(|(likeness, _)| *likeness >= 0.5)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_finds_the_nearest_name() {
        let keys = ["data-dir", "http", "retain-age", "retain-bytes", "open-publish"];
        for (name, expected) in [
            ("data_dir", Some("data-dir")),
            ("datadir", Some("data-dir")),
            ("htpt", Some("http")),
            ("retain-ages", Some("retain-age")),
            ("Open-Publish", Some("open-publish")),
            ("zzz", None),
        ] {
            assert_eq!(nearest(name, &keys), expected, "{name}");
        }
    }
}
