//! One source in words: its state, why, and what comes next.

use anode_shared::source::{SourceKind, SourceState, SourceStatus, SourceView};
use anode_shared::status::State;

use super::ago::span;
use super::row::millis;

/// All states, healthy ones first.
pub const STATES: [SourceState; 7] = [
    SourceState::Live,
    SourceState::Connecting,
    SourceState::Stale,
    SourceState::BackingOff,
    SourceState::AuthFailed,
    SourceState::Invalid,
    SourceState::Paused,
];

/// A state as a word for people.
pub fn word(state: SourceState) -> &'static str {
    match state {
        SourceState::BackingOff => "backing off",
        SourceState::AuthFailed => "auth failed",
        other => other.as_str(),
    }
}

/// The shape that stands for a state.
pub fn shape(state: SourceState) -> State {
    match state {
        SourceState::Live => State::Ok,
        SourceState::Stale | SourceState::BackingOff => State::Degraded,
        SourceState::AuthFailed | SourceState::Invalid => State::Down,
        SourceState::Connecting | SourceState::Paused => State::Off,
    }
}

/// The rank of what deserves a look last.
pub const LAST_RANK: u8 = 6;

/// In which order states deserve a look.
pub fn rank(state: SourceState) -> u8 {
    match state {
        SourceState::Invalid => 0,
        SourceState::AuthFailed => 1,
        SourceState::BackingOff => 2,
        SourceState::Stale => 3,
        SourceState::Connecting => 4,
        SourceState::Live => 5,
        SourceState::Paused => LAST_RANK,
    }
}

/// A kind as a word for people.
pub fn kind_word(kind: SourceKind) -> &'static str {
    match kind {
        SourceKind::Rest => "REST",
        SourceKind::Sse => "SSE",
        SourceKind::Websocket => "WebSocket",
    }
}

/// Why it is in its state, where there is something to say.
pub fn reason(status: &SourceStatus) -> Option<&str> {
    let error = status.last_error.as_ref().map(|error| error.detail.as_str());
    let is_healthy = matches!(status.state, SourceState::Live | SourceState::Paused);
    status.reason.as_deref().or(error.filter(|_| !is_healthy))
}

/// What comes next and when, such as `next poll in 3 s`; `now` is in milliseconds.
pub fn next(source: &SourceView, now: f64) -> Option<String> {
    let what = match (source.status.state, source.definition.kind) {
        (SourceState::Paused | SourceState::Invalid, _) => return None,
        (SourceState::Live | SourceState::Connecting | SourceState::Stale, SourceKind::Rest) => "next poll",
        (SourceState::Live, _) => "reconnects",
        _ => "next try",
    };
    let seconds = ((millis(source.status.next_attempt.as_deref()?) - now) / 1e3).ceil();
    Some(if seconds < 1.0 { format!("{what} now") } else { format!("{what} in {}", span(seconds)) })
}

/// The pattern that its records' topics match: what a template fills in may be anything.
pub fn pattern(topic: &str) -> String {
    let mut out = String::new();
    let mut depth = 0_u32;
    let mut chars = topic.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '$' if depth == 0 && chars.peek() == Some(&'{') => {
                out.push('*');
                depth = 1;
                chars.next();
            }
            '{' if depth > 0 => depth += 1,
            '}' if depth > 0 => depth -= 1,
            char if depth == 0 => out.push(char),
            _ => {}
        }
    }
    // A wildcard stands for whole tokens only.
    let token = |token: &str| if token.contains('*') { "*".to_owned() } else { token.to_owned() };
    out.split('.').map(token).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A source in that state.
    pub(crate) fn source(name: &str, state: SourceState) -> SourceView {
        let json = format!(
            r#"{{"name":"{name}","kind":"rest","url":"https://api.example.org/{name}","topic":"prices.{name}",
                "status":{{"state":"{}","since":"2026-11-23T02:47:00Z","reason":null,"last_error":null,"next_attempt":null,
                "last_record":null,"last_value":null,"records":1,"records_per_s":0.5,"bytes":10,"errors":0,
                "latency_ms":{{"p50":1.5,"p99":null}},"beats":["data","quiet","error"]}}}}"#,
            state.as_str()
        );
        serde_json::from_str(&json).unwrap()
    }

    #[test]
    fn it_says_what_comes_next() {
        let at = "1970-01-01T00:01:00Z";
        for (state, kind, now, words) in [
            (SourceState::Live, SourceKind::Rest, 57_000.0, Some("next poll in 3 s")),
            (SourceState::Live, SourceKind::Rest, 61_000.0, Some("next poll now")),
            (SourceState::BackingOff, SourceKind::Sse, 0.0, Some("next try in 1 min")),
            (SourceState::Live, SourceKind::Websocket, 30_000.0, Some("reconnects in 30 s")),
            (SourceState::Paused, SourceKind::Rest, 0.0, None),
        ] {
            let mut source = source("a", state);
            source.definition.kind = kind;
            source.status.next_attempt = Some(at.to_owned());
            assert_eq!(next(&source, now).as_deref(), words, "{state:?} {kind:?}");
        }
    }

    #[test]
    fn it_gives_the_reason_only_where_it_counts() {
        let error = r#"{"stage":"dns","detail":"no such name","time":""}"#;
        let mut status = source("a", SourceState::Live).status;
        status.last_error = Some(serde_json::from_str(error).unwrap());
        assert_eq!(reason(&status), None);
        status.state = SourceState::BackingOff;
        assert_eq!(reason(&status), Some("no such name"));
        status.reason = Some("waits".to_owned());
        assert_eq!(reason(&status), Some("waits"));
    }

    #[test]
    fn it_turns_templates_into_patterns() {
        for (topic, expected) in [
            ("prices.btc-usd", "prices.btc-usd"),
            ("prices.${payload.symbol.lowerAscii()}", "prices.*"),
            ("a.x-${payload.a}.${{'k': 1}.k}.b", "a.*.*.b"),
        ] {
            assert_eq!(pattern(topic), expected);
        }
    }
}
