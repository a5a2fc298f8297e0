//! What whoever has not the admin right sees of a definition, and the hash that stands for a definition in records.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::SourceDefinition;
use crate::ids::Hash;

/// What stands for what is not shown.
pub const MASK: &str = "***";

impl SourceDefinition {
    /// The definition with header values, body, frames, and the URL's user, password and query masked as a whole.
    #[must_use]
    pub fn masked(&self) -> Self {
        let mask = |_: &Value| Value::String(MASK.to_owned());
        let mut masked = self.clone();
        masked.url = masked_url(&self.url);
        masked.headers.values_mut().for_each(|value| MASK.clone_into(value));
        masked.body = self.body.as_ref().map(mask);
        masked.open = self.open.iter().map(mask).collect();
        if let Some(ping) = &mut masked.ping {
            ping.frame = mask(&ping.frame);
        }
        masked
    }

    /// SHA-256 over the definition's canonical JSON: members sorted by name, no spaces, what is not set left out, and
    /// without `paused`, which changes nothing about its records. Secrets are in it as references only.
    pub fn hash(&self) -> Hash {
        let mut running = self.clone();
        running.paused = false;
        let json = serde_json::to_value(&running).unwrap_or_default();
        let mut text = String::new();
        canonical(&json, &mut text);
        Hash(Sha256::digest(text.as_bytes()).into())
    }
}

/// A URL with user, password and query masked as a whole.
pub fn masked_url(url: &str) -> String {
    let (start, rest) = match url.find("://") {
        Some(place) => url.split_at(place + 3),
        None => ("", url),
    };
    let (before, query) = match rest.find(['?', '#']) {
        Some(place) => (&rest[..place], true),
        None => (rest, false),
    };
    let (authority, path) = before.split_at(before.find('/').unwrap_or(before.len()));
    let host = match authority.rfind('@') {
        Some(place) => format!("{MASK}@{}", &authority[place + 1..]),
        None => authority.to_owned(),
    };
    format!("{start}{host}{path}{}", if query { format!("?{MASK}") } else { String::new() })
}

fn canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(name, _)| *name);
            list(out, ('{', '}'), members, |(name, value), out| {
                out.push_str(&Value::String(name.clone()).to_string());
                out.push(':');
                canonical(value, out);
            });
        }
        Value::Array(items) => list(out, ('[', ']'), items, canonical),
        other => out.push_str(&other.to_string()),
    }
}

fn list<T>(
    out: &mut String,
    (open, close): (char, char),
    items: impl IntoIterator<Item = T>,
    each: impl Fn(T, &mut String),
) {
    out.push(open);
    for (place, item) in items.into_iter().enumerate() {
        if place > 0 {
            out.push(',');
        }
        each(item, out);
    }
    out.push(close);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn full() -> SourceDefinition {
        serde_json::from_value(json!({
            "name": "s", "kind": "websocket", "url": "wss://u:canary@h:1/p?q=canary", "topic": "t",
            "headers": {"X-Key": "canary"}, "open": ["canary", {"a": "canary"}],
            "ping": {"every_ms": 1000, "frame": {"x": "canary"}}, "body": {"z": 1, "a": "canary"},
        }))
        .unwrap()
    }

    #[test]
    fn it_masks_everything_that_could_hold_a_secret() {
        let text = serde_json::to_string(&full().masked()).unwrap();
        assert!(!text.contains("canary"), "{text}");
        assert!(text.contains("X-Key") && text.contains("\"every_ms\":1000"), "{text}");
    }

    #[test]
    fn it_masks_urls() {
        for (url, expected) in [
            ("https://h/p", "https://h/p"),
            ("https://h", "https://h"),
            ("https://u:p@h:8/p/q?a=b#c", "https://***@h:8/p/q?***"),
            ("https://u:p@x@h?a", "https://***@h?***"),
            ("https://h/p@q", "https://h/p@q"),
            ("https://h#a@b", "https://h?***"),
            ("u@h/p", "***@h/p"),
            ("", ""),
        ] {
            assert_eq!(masked_url(url), expected);
        }
    }

    #[test]
    fn it_hashes_what_makes_records() {
        let first = full();
        let text = serde_json::to_string(&first).unwrap();
        let again: SourceDefinition = serde_json::from_str(&text).unwrap();
        assert_eq!(again.hash(), first.hash());
        let paused = SourceDefinition { paused: true, ..first.clone() };
        assert_eq!(paused.hash(), first.hash());
        let other = SourceDefinition { topic: "u".to_owned(), ..first.clone() };
        assert_ne!(other.hash(), first.hash());
        let mut out = String::new();
        canonical(&json!({"b": [1, "x\"", null], "a": {}}), &mut out);
        assert_eq!(out, r#"{"a":{},"b":[1,"x\"",null]}"#);
    }
}
