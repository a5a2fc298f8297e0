//! A definition out of options.

use std::time::Duration;

use anode_shared::source::{FieldError, Ping, SourceDefinition, SourceKind};
use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use serde_json::Value;

use crate::config::units;

/// How often a ping is sent where nobody says.
const PING_EVERY: Duration = Duration::from_secs(20);

/// The parts of a definition that options name.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct Parts {
    /// The topic of its records; ${…} in it is an expression over the record, `payload`
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// How it is read; without it by the URL: rest for http, websocket for ws
    #[arg(long, value_name = "KIND")]
    kind: Option<KindSaid>,
    /// The same as --kind sse
    #[arg(long, conflicts_with = "kind")]
    sse: bool,
    /// A CEL expression over the answer, `payload`: a list makes a record of each element, null none. '' takes it away
    #[arg(long, value_name = "CEL")]
    emit: Option<String>,
    /// Leave out a record whose payload is the same as the last one of its topic
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    only_changes: Option<bool>,
    /// Register it without reading it
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    paused: Option<bool>,
    /// A request header (repeatable); its value may hold ${secret:NAME}. 'K:' takes it away
    #[arg(long = "header", short = 'H', value_name = "K: V", value_parser = header)]
    headers: Vec<(String, String)>,
    /// From one poll to the next: 1s, 500ms (rest)
    #[arg(long, value_name = "TIME", value_parser = units::age)]
    interval: Option<Duration>,
    /// GET or POST (rest)
    #[arg(long, value_name = "METHOD")]
    method: Option<String>,
    /// The request's body (rest)
    #[arg(long, value_name = "TEXT|JSON")]
    body: Option<String>,
    /// How long a poll, or connecting, may take
    #[arg(long, value_name = "TIME", value_parser = units::age)]
    timeout: Option<Duration>,
    /// A frame that is sent once the socket is open (repeatable; websocket)
    #[arg(long, value_name = "TEXT|JSON")]
    open: Vec<String>,
    /// A frame that is sent again and again (websocket)
    #[arg(long, value_name = "TEXT|JSON")]
    ping: Option<String>,
    /// How often the ping is sent: 20s
    #[arg(long, value_name = "TIME", value_parser = units::age)]
    ping_every: Option<Duration>,
    /// Without data for so long it counts as stale, and is connected anew
    #[arg(long, value_name = "TIME", value_parser = units::age)]
    stale_after: Option<Duration>,
    /// Replace a connection of this age (websocket, sse)
    #[arg(long, value_name = "TIME", value_parser = units::age)]
    reconnect_after: Option<Duration>,
}

/// A kind, as it is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum KindSaid {
    /// An HTTP resource, asked again and again.
    Rest,
    /// A WebSocket.
    Websocket,
    /// Server-Sent Events.
    Sse,
}

impl From<KindSaid> for SourceKind {
    fn from(said: KindSaid) -> Self {
        match said {
            KindSaid::Rest => Self::Rest,
            KindSaid::Websocket => Self::Websocket,
            KindSaid::Sse => Self::Sse,
        }
    }
}

/// Reads `K: V`.
fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("accepted is NAME: VALUE")?;
    let (name, value) = (name.trim(), value.trim());
    if name.is_empty() {
        Err("the header's name is missing".to_owned())
    } else {
        Ok((name.to_owned(), value.to_owned()))
    }
}

/// A frame or body: JSON where it is an object or a list, else the text as it is.
fn value(text: &str) -> Value {
    let json = serde_json::from_str::<Value>(text).ok();
    json.filter(|json| json.is_object() || json.is_array()).unwrap_or_else(|| Value::String(text.to_owned()))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Parts {
    /// Whether nothing was said.
    pub(super) fn is_empty(&self) -> bool {
        let mut untouched = SourceDefinition::blank("", "", SourceKind::Rest);
        self.kind().is_none()
            && self.apply(&mut untouched).is_ok()
            && untouched == SourceDefinition::blank("", "", SourceKind::Rest)
    }

    fn kind(&self) -> Option<SourceKind> {
        self.kind.map(SourceKind::from).or_else(|| self.sse.then_some(SourceKind::Sse))
    }

    /// A new definition.
    ///
    /// # Errors
    /// When options contradict each other.
    pub(super) fn define(&self, name: &str, url: &str) -> anyhow::Result<SourceDefinition> {
        let mut made = SourceDefinition::blank(name, url, self.kind().unwrap_or_else(|| guess(url)));
        self.apply(&mut made)?;
        Ok(made)
    }

    /// Changes what was said of a definition, and nothing else.
    ///
    /// # Errors
    /// When options contradict each other.
    pub(super) fn apply(&self, definition: &mut SourceDefinition) -> anyhow::Result<()> {
        if let Some(kind) = self.kind() {
            definition.kind = kind;
        }
        if let Some(topic) = &self.topic {
            definition.topic.clone_from(topic);
        }
        if let Some(emit) = &self.emit {
            definition.emit = Some(emit.clone()).filter(|emit| !emit.is_empty());
        }
        definition.only_changes = self.only_changes.unwrap_or(definition.only_changes);
        definition.paused = self.paused.unwrap_or(definition.paused);
        self.apply_request(definition);
        self.apply_ping(definition)?;
        let times = [
            (self.interval, &mut definition.interval_ms),
            (self.timeout, &mut definition.timeout_ms),
            (self.stale_after, &mut definition.stale_after_ms),
            (self.reconnect_after, &mut definition.reconnect_after_ms),
        ];
        for (said, place) in times {
            *place = said.map(millis).or(*place);
        }
        Ok(())
    }

    fn apply_request(&self, definition: &mut SourceDefinition) {
        for (name, text) in &self.headers {
            definition.headers.retain(|other, _| !other.eq_ignore_ascii_case(name));
            if !text.is_empty() {
                definition.headers.insert(name.clone(), text.clone());
            }
        }
        if let Some(method) = &self.method {
            definition.method = Some(method.to_ascii_uppercase());
        }
        if let Some(body) = &self.body {
            definition.body = Some(value(body)).filter(|_| !body.is_empty());
        }
        if !self.open.is_empty() {
            definition.open =
                self.open.iter().filter(|frame| !frame.is_empty()).map(|frame| value(frame)).collect();
        }
    }

    fn apply_ping(&self, definition: &mut SourceDefinition) -> anyhow::Result<()> {
        match (&self.ping, self.ping_every) {
            (None, None) => {}
            (Some(frame), _) if frame.is_empty() => definition.ping = None,
            (Some(frame), every) => {
                let kept = definition.ping.as_ref().map(|ping| ping.every_ms);
                let every_ms = every.map(millis).or(kept).unwrap_or_else(|| millis(PING_EVERY));
                definition.ping = Some(Ping { every_ms, frame: value(frame) });
            }
            (None, Some(every)) => match &mut definition.ping {
                Some(ping) => ping.every_ms = millis(every),
                None => bail!("--ping-every says how often; --ping FRAME must say what"),
            },
        }
        Ok(())
    }
}

/// The kind that a URL suggests.
fn guess(url: &str) -> SourceKind {
    let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme).to_ascii_lowercase();
    if matches!(scheme.as_str(), "ws" | "wss") { SourceKind::Websocket } else { SourceKind::Rest }
}

/// Refuses what is wrong with a definition, as the node would.
///
/// # Errors
/// With each field that is wrong.
pub(super) fn ensure_good(definition: &SourceDefinition) -> anyhow::Result<()> {
    let wrong = definition.check();
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(anyhow::anyhow!(fields(&wrong))).context(format!("source {:?}", definition.name))
    }
}

/// Errors of fields, a line each where there are several.
pub(super) fn fields(wrong: &[FieldError]) -> String {
    let line = |error: &FieldError| format!("{}: {}", error.field, error.detail);
    match wrong {
        [one] => line(one),
        many => many.iter().map(|error| format!("\n  {}", line(error))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        parts: Parts,
    }

    fn parts(words: &[&str]) -> Parts {
        Line::try_parse_from([&["x"], words].concat()).unwrap().parts
    }

    fn made(url: &str, words: &[&str]) -> Value {
        serde_json::to_value(parts(words).define("n", url).unwrap()).unwrap()
    }

    #[test]
    fn it_makes_definitions_of_options() {
        for (url, words, expected) in [
            ("https://h/", &["--topic", "a.b"][..], json!({"kind": "rest", "topic": "a.b"})),
            ("WSS://h/", &["--topic", "t"], json!({"kind": "websocket", "topic": "t"})),
            ("https://h/", &["--topic", "t", "--sse"], json!({"kind": "sse", "topic": "t"})),
            (
                "http://h/",
                &[
                    "--topic",
                    "t",
                    "--interval",
                    "1s",
                    "--timeout",
                    "500ms",
                    "-H",
                    "X-Key: ${secret:K}",
                    "--header",
                    "A:b:c",
                    "--method",
                    "post",
                    "--body",
                    "[1]",
                ],
                json!({"kind": "rest", "topic": "t", "interval_ms": 1000, "timeout_ms": 500, "method": "POST", "body": [1],
                    "headers": {"X-Key": "${secret:K}", "A": "b:c"}}),
            ),
            (
                "ws://h/",
                &[
                    "--topic",
                    "t",
                    "--open",
                    r#"{"a":1}"#,
                    "--open",
                    "hello",
                    "--ping",
                    "7",
                    "--emit",
                    "payload.data",
                    "--only-changes",
                    "--stale-after",
                    "1m",
                    "--reconnect-after",
                    "1h",
                ],
                json!({"kind": "websocket", "topic": "t", "open": [{"a": 1}, "hello"], "ping": {"every_ms": 20000, "frame": "7"},
                    "emit": "payload.data", "only_changes": true, "stale_after_ms": 60000, "reconnect_after_ms": 3_600_000}),
            ),
        ] {
            let mut got = made(url, words);
            let object = got.as_object_mut().unwrap();
            assert_eq!((object.remove("name"), object.remove("url")), (Some(json!("n")), Some(json!(url))));
            for flag in ["only_changes", "paused"] {
                if expected.get(flag).is_none() {
                    assert_eq!(object.remove(flag), Some(json!(false)));
                }
            }
            assert_eq!(got, expected, "{words:?}");
        }
    }

    #[test]
    fn it_changes_only_what_was_said() {
        let all = [
            "--topic",
            "t",
            "--emit",
            "payload",
            "-H",
            "K: v",
            "-H",
            "L: w",
            "--ping",
            "p",
            "--interval",
            "2s",
            "--only-changes",
        ];
        let before = parts(&all).define("n", "ws://h/").unwrap();
        let after = |words: &[&str]| {
            let mut definition = before.clone();
            parts(words).apply(&mut definition).unwrap();
            definition
        };
        assert_eq!(after(&[]), before);
        assert!(
            parts(&[]).is_empty()
                && !parts(&["--sse"]).is_empty()
                && !parts(&["--paused=false", "--interval", "1s"]).is_empty()
        );
        let one = |change: fn(&mut SourceDefinition)| {
            let mut changed = before.clone();
            change(&mut changed);
            changed
        };
        assert_eq!(after(&["--emit", ""]), one(|d| d.emit = None));
        assert_eq!(after(&["--only-changes=false"]), one(|d| d.only_changes = false));
        assert_eq!(after(&["--ping", ""]), one(|d| d.ping = None));
        assert_eq!(after(&["--ping-every", "3s"]), one(|d| d.ping.as_mut().unwrap().every_ms = 3_000));
        assert_eq!(after(&["-H", "k:"]), one(|d| drop(d.headers.remove("K"))));
        assert_eq!(after(&["--interval", "5s"]), one(|d| d.interval_ms = Some(5_000)));
    }

    #[test]
    fn it_refuses_what_cannot_be() {
        for words in [
            &["--header", "x"][..],
            &["--header", ": v"],
            &["--interval", "1"],
            &["--kind", "tcp"],
            &["--sse", "--kind", "rest"],
        ] {
            assert!(Line::try_parse_from([&["x"], words].concat()).is_err(), "{words:?}");
        }
        assert!(parts(&["--ping-every", "1s"]).define("n", "ws://h/").is_err());
        let wrong = parts(&["--open", "x"]).define("Bad Name", "ftp://h").unwrap();
        let words = format!("{:#}", ensure_good(&wrong).unwrap_err());
        for field in ["name: ", "url: ", "topic: ", "open: "] {
            assert!(words.contains(&format!("\n  {field}")), "{words}");
        }
    }
}
