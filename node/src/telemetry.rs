//! The log: structured lines on stderr. Nothing above `debug` is logged per record.

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// What is logged where nobody says otherwise. Cassandra's driver says at each attempt what the archive says once.
const DEFAULT_FILTER: &str = "scylla=off,info";
/// Who logs frames as they are, with the secrets in them: never below `warn`, whatever the filter says.
const QUIET: [&str; 2] = ["tungstenite=warn", "tokio_tungstenite=warn"];

/// Starts logging to stderr, as `ANODE_LOG`, else `RUST_LOG`, filters it.
///
/// # Errors
/// When a filter is malformed, or logging was started before.
pub fn start(format: LogFormat) -> anyhow::Result<()> {
    let mut filter = filter(|name| std::env::var(name).ok())?;
    for directive in QUIET {
        filter = filter.add_directive(directive.parse()?);
    }
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("cannot start logging: {error}"))
}

fn filter(variable: impl Fn(&str) -> Option<String>) -> anyhow::Result<EnvFilter> {
    let said = ["ANODE_LOG", "RUST_LOG"]
        .into_iter()
        .find_map(|name| variable(name).filter(|text| !text.trim().is_empty()).map(|text| (name, text)));
    let (name, text) = said.unwrap_or(("default", DEFAULT_FILTER.to_owned()));
    EnvFilter::builder().parse(&text).with_context(|| {
        format!("{name}={text:?} is no filter; accepted are a level (error, warn, info, debug, trace) and target=level, joined by commas")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_prefers_its_own_variable_and_refuses_malformed_ones() {
        let check = |anode: Option<&str>, rust: Option<&str>| {
            filter(|name| (if name == "ANODE_LOG" { anode } else { rust }).map(str::to_owned))
                .map(|filter| filter.to_string())
                .map_err(|error| error.to_string())
        };
        assert_eq!(check(None, None).unwrap(), DEFAULT_FILTER);
        assert_eq!(check(Some("debug"), Some("trace")).unwrap(), "debug");
        assert_eq!(check(Some(""), Some("anode=trace")).unwrap(), "anode=trace");
        assert!(check(Some("anode=loud"), None).unwrap_err().contains("ANODE_LOG"));
    }
}
