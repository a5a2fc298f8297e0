//! Variables of the environment: those that nobody reads, and those that hold what an option refuses.

use std::collections::BTreeSet;
use std::ffi::OsString;

use anyhow::bail;
use clap::Command;
use clap::error::{ContextKind, ContextValue};

use crate::config::file::nearest;

/// What every variable of ours begins with.
const PREFIX: &str = "ANODE_";
/// Variables that no option names.
const OTHERS: [&str; 1] = ["ANODE_LOG"];

/// Refuses a variable that looks like a mistyped one of ours. Others pass: container systems make variables out
/// of the names of services, such as `ANODE_PORT_8080_TCP`.
pub(super) fn check(command: &Command, set: impl Iterator<Item = OsString>) -> anyhow::Result<()> {
    let mut known: BTreeSet<String> = OTHERS.map(str::to_owned).into();
    collect(command, &mut known);
    let words: Vec<&str> = known.iter().map(|name| &name[PREFIX.len()..]).collect();
    let lower: Vec<String> = words.iter().map(|word| word.to_lowercase().replace('_', "-")).collect();
    let candidates: Vec<&str> = lower.iter().map(String::as_str).collect();
    for name in set.filter_map(|name| name.into_string().ok()) {
        let Some(word) = name.strip_prefix(PREFIX).filter(|word| !words.contains(word)) else { continue };
        if let Some(near) = nearest(word, &candidates) {
            let near = near.to_uppercase().replace('-', "_");
            bail!("unknown environment variable {name}; did you mean {PREFIX}{near}?");
        }
    }
    Ok(())
}

fn collect(command: &Command, known: &mut BTreeSet<String>) {
    let names = command.get_arguments().filter_map(|arg| arg.get_env());
    known.extend(names.map(|name| name.to_string_lossy().into_owned()));
    command.get_subcommands().for_each(|below| collect(below, known));
}

/// Names the variable where an option's refused value came from one.
pub(super) fn explain(error: clap::Error, command: &Command, line: &[OsString]) -> anyhow::Error {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        _ => None,
    };
    let (Some(shown), Some(value)) = (text(ContextKind::InvalidArg), text(ContextKind::InvalidValue)) else {
        return error.into();
    };
    let option = shown.split(['=', ' ', '[']).next().unwrap_or_default();
    let said = line.iter().any(|word| word.to_string_lossy().split('=').next() == Some(option));
    let variable = variable(command, option.trim_start_matches('-'));
    match variable.filter(|name| !said && std::env::var(name).is_ok_and(|set| set.contains(&value))) {
        Some(name) => match std::error::Error::source(&error) {
            Some(why) => anyhow::anyhow!("{name}={value}: {why}"),
            None => anyhow::anyhow!("{name}={value}: {}", error.to_string().trim_start_matches("error: ")),
        },
        None => error.into(),
    }
}

fn variable(command: &Command, long: &str) -> Option<String> {
    let arg = command.get_arguments().find(|arg| arg.get_long() == Some(long));
    let own = arg.and_then(|arg| arg.get_env()).map(|name| name.to_string_lossy().into_owned());
    own.or_else(|| command.get_subcommands().find_map(|below| variable(below, long)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::options_command;

    #[test]
    fn it_refuses_mistyped_variables_and_no_others() {
        for (name, near) in [
            ("ANODE_HTPP", Some("ANODE_HTTP?")),
            ("ANODE_RETAINAGE", Some("ANODE_RETAIN_AGE?")),
            ("ANODE_HTTP", None),
            ("ANODE_LOG", None),
            ("ANODE_SECRET_COINBASE", None),
            ("ANODE_PORT_8080_TCP", None),
            ("ANODE_SERVICE_HOST", None),
            ("ANODE_PORT", None),
            ("HTPP", None),
        ] {
            let refused = check(&options_command(), [OsString::from(name)].into_iter()).err();
            assert_eq!(refused.is_some(), near.is_some(), "{name}: {refused:?}");
            assert!(near.is_none_or(|near| refused.is_some_and(|error| error.to_string().ends_with(near))));
        }
    }
}
