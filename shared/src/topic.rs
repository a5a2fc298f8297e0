//! Topics, and the patterns that choose among them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The most tokens of a topic.
pub const MAX_TOKENS: usize = 16;
/// The longest topic, in bytes.
pub const MAX_BYTES: usize = 200;

/// Why a text is no topic or no pattern, in words for whoever wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {text:?} {why}")]
pub struct TopicError {
    what: &'static str,
    text: String,
    why: String,
}

/// The dotted name of a record: 1 to 16 tokens of `a-z 0-9 _ -`, at most 200 bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Topic(Box<str>);

impl Topic {
    /// The topic's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the first token begins with `$`: such topics are the node's own, nobody may publish to them.
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with('$')
    }
}

impl FromStr for Topic {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Self, TopicError> {
        check("topic", text, |_, token| {
            let name = if token.starts_with('$') && text.starts_with(token) { &token[1..] } else { token };
            is_name(name)
        })?;
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for Topic {
    type Error = TopicError;

    fn try_from(text: String) -> Result<Self, TopicError> {
        text.parse()
    }
}

impl From<Topic> for String {
    fn from(topic: Topic) -> Self {
        topic.0.into()
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A topic with wildcards, as in NATS: `*` is one token, `>` is one or more last tokens.
/// A wildcard does not match a first token that begins with `$`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TopicPattern(Box<str>);

impl TopicPattern {
    /// The pattern that matches every topic whose first token does not begin with `$`.
    pub fn all() -> Self {
        Self(">".into())
    }

    /// The pattern's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is `>`.
    pub fn is_all(&self) -> bool {
        &*self.0 == ">"
    }

    /// Whether it matches the topic.
    pub fn matches(&self, topic: &str) -> bool {
        let mut pattern = self.0.split('.');
        let mut tokens = topic.split('.');
        let reserved = topic.starts_with('$');
        let mut first = true;
        loop {
            match (pattern.next(), tokens.next()) {
                (None, None) => return true,
                (Some(">"), Some(_)) => return !(first && reserved),
                (Some("*"), Some(_)) if first && reserved => return false,
                (Some("*"), Some(_)) => {}
                (Some(want), Some(token)) if want == token => {}
                _ => return false,
            }
            first = false;
        }
    }
}

impl FromStr for TopicPattern {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Self, TopicError> {
        let last = text.split('.').count() - 1;
        check("topic pattern", text, |place, token| match token {
            "*" => true,
            ">" => place == last,
            _ if place == 0 && token.starts_with('$') => is_name(&token[1..]),
            _ => is_name(token),
        })?;
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for TopicPattern {
    type Error = TopicError;

    fn try_from(text: String) -> Result<Self, TopicError> {
        text.parse()
    }
}

impl From<TopicPattern> for String {
    fn from(pattern: TopicPattern) -> Self {
        pattern.0.into()
    }
}

impl fmt::Display for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The topics that a reader wants: those that match any of its patterns. Empty means every topic.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Topics(Vec<TopicPattern>);

impl Topics {
    /// Topics that match any of the patterns; none given means all.
    pub fn new(patterns: Vec<TopicPattern>) -> Self {
        if patterns.iter().any(TopicPattern::is_all) {
            return Self(Vec::new());
        }
        Self(patterns)
    }

    /// Whether every topic (but the reserved ones) is wanted.
    pub fn is_all(&self) -> bool {
        self.0.is_empty()
    }

    /// The topics by name, where no pattern has a wildcard.
    pub fn by_name(&self) -> Option<Vec<&str>> {
        let plain = |pattern: &TopicPattern| !pattern.0.contains(['*', '>']);
        let named = !self.0.is_empty() && self.0.iter().all(plain);
        named.then(|| self.0.iter().map(TopicPattern::as_str).collect())
    }

    /// Whether the topic is wanted.
    pub fn matches(&self, topic: &str) -> bool {
        if self.0.is_empty() { !topic.starts_with('$') } else { self.0.iter().any(|p| p.matches(topic)) }
    }
}

impl fmt::Display for Topics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str(">");
        }
        for (place, pattern) in self.0.iter().enumerate() {
            write!(f, "{}{pattern}", if place == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

fn is_name(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
}

fn check(what: &'static str, text: &str, good: impl Fn(usize, &str) -> bool) -> Result<(), TopicError> {
    let fail = |why: String| Err(TopicError { what, text: text.chars().take(80).collect(), why });
    if text.len() > MAX_BYTES {
        return fail(format!("has {} bytes; at most {MAX_BYTES} are taken", text.len()));
    }
    if text.split('.').count() > MAX_TOKENS {
        return fail(format!("has more than {MAX_TOKENS} tokens"));
    }
    match text.split('.').enumerate().find(|(place, token)| !good(*place, token)) {
        None => Ok(()),
        Some((_, "")) => {
            fail("has an empty token; write tokens of a-z 0-9 _ - joined by single dots".to_owned())
        }
        Some((_, token)) => fail(format!(
            "has the token {:?}; tokens hold a-z 0-9 _ -",
            token.chars().take(40).collect::<String>()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_topics_and_refuses_the_rest() {
        for good in ["a", "prices.btc-usd", "a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p", "$sys.x", "0_-"] {
            assert!(good.parse::<Topic>().is_ok(), "{good}");
        }
        let long = "a".repeat(201);
        for bad in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "A",
            "a b",
            "a.*",
            "a.>",
            "ä",
            "a.$b",
            "$",
            &long,
            "a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q",
        ] {
            assert!(bad.parse::<Topic>().is_err(), "{bad}");
        }
    }

    #[test]
    fn it_matches_as_nats_does() {
        for (pattern, topic, expected) in [
            (">", "a", true),
            (">", "a.b", true),
            (">", "$sys", false),
            ("*", "a", true),
            ("*", "a.b", false),
            ("*", "$sys", false),
            ("$sys.>", "$sys.x", true),
            ("$sys.*", "$sys.x", true),
            ("a.>", "a", false),
            ("a.>", "a.b.c", true),
            ("a.*.c", "a.b.c", true),
            ("a.*.c", "a.b.d", false),
            ("*.b", "a.b", true),
            ("a.b", "a.b", true),
            ("a.b", "a", false),
            ("a", "a.b", false),
            ("*.>", "a.b", true),
            ("*.>", "a", false),
        ] {
            assert_eq!(
                pattern.parse::<TopicPattern>().unwrap().matches(topic),
                expected,
                "{pattern} on {topic}"
            );
        }
    }

    #[test]
    fn it_refuses_malformed_patterns() {
        for bad in ["", "a.>.b", ">a", "a*", "a..b", "**", "a.$x"] {
            assert!(bad.parse::<TopicPattern>().is_err(), "{bad}");
        }
    }
}
