//! What the live list asks for, as it stands in the fields and in the page's address.

use anode_shared::topic::{TopicError, TopicPattern};

/// Topic patterns and a filter, as typed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Question {
    /// Topic patterns, with spaces or commas between them; none means every topic.
    pub topics: String,
    /// A CEL expression; empty means none.
    pub filter: String,
}

impl Question {
    /// Reads the query of the page's address.
    pub fn from_query(query: &str) -> Self {
        let mut question = Self::default();
        for (name, value) in pairs(query) {
            match name {
                "topics" => question.topics = value,
                "filter" => question.filter = value,
                _ => {}
            }
        }
        question
    }

    /// Writes the query of the page's address, with its question mark; empty where there is nothing to keep.
    pub fn to_query(&self) -> String {
        let kept: Vec<String> = [("topics", self.topics.trim()), ("filter", self.filter.trim())]
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| format!("{name}={}", percent(value)))
            .collect();
        if kept.is_empty() { String::new() } else { format!("?{}", kept.join("&")) }
    }

    /// The topic patterns.
    ///
    /// # Errors
    /// With what is wrong with the first one that is none.
    pub fn patterns(&self) -> Result<Vec<TopicPattern>, TopicError> {
        self.topics
            .split(|c: char| c.is_whitespace() || c == ',')
            .filter(|part| !part.is_empty())
            .map(str::parse)
            .collect()
    }

    /// The message that asks the feed for it from `start` on.
    pub fn subscribe(&self, start: &str) -> String {
        let patterns = self.patterns().unwrap_or_default();
        let topics: Vec<String> = patterns.iter().map(|pattern| quoted(pattern.as_str())).collect();
        let filter = match self.filter.trim() {
            "" => "null".to_owned(),
            filter => quoted(filter),
        };
        format!(
            r#"{{"type":"subscribe","topics":[{}],"filter":{filter},"start":{}}}"#,
            topics.join(","),
            quoted(start)
        )
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The names and decoded values of a query or fragment, with or without its first character.
pub fn pairs(query: &str) -> impl Iterator<Item = (&str, String)> {
    query
        .trim_start_matches(['?', '#'])
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name, decoded(value)))
}

/// Encodes a text for use as a value in a query.
pub fn percent(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        // What may stand in a query and needs no escape there stays readable in the address.
        if byte.is_ascii_alphanumeric() || b"-_.~*,:/@!$()".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.extend(
                [byte >> 4, byte & 15].map(|digit| char::from(b"0123456789ABCDEF"[usize::from(digit)])),
            );
        }
    }
    out
}

fn decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let ahead: Vec<u8> = bytes.clone().take(2).collect();
                let code = std::str::from_utf8(&ahead).ok().filter(|code| code.len() == 2);
                match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
                    Some(code) => {
                        out.push(code);
                        bytes.nth(1);
                    }
                    None => out.push(b'%'),
                }
            }
            other => out.push(other),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(topics: &str, filter: &str) -> Question {
        Question { topics: topics.to_owned(), filter: filter.to_owned() }
    }

    #[test]
    fn it_survives_the_address() {
        for asked in [
            question("", ""),
            question("prices.* sensors.>", ""),
            question("", r#"payload.price > 100.0 && topic.startsWith("ä+%")"#),
            question("a,b", "1 == 1"),
        ] {
            assert_eq!(Question::from_query(&asked.to_query()), asked);
        }
        assert_eq!(question(" ", "").to_query(), "");
        assert_eq!(question("prices.* b", "").to_query(), "?topics=prices.*%20b");
    }

    #[test]
    fn it_reads_what_others_wrote() {
        for (query, asked) in [
            ("?topics=a+b&other=1&filter=x%3E1", question("a b", "x>1")),
            ("?topics", question("", "")),
            ("?filter=50%&topics=%zz%4", question("%zz%4", "50%")),
        ] {
            assert_eq!(Question::from_query(query), asked, "{query}");
        }
    }

    #[test]
    fn it_asks_the_feed() {
        for (asked, start, message) in [
            (
                question("prices.*, sensors.>", r#" payload.x == "ä" "#),
                "last:50",
                r#"{"type":"subscribe","topics":["prices.*","sensors.>"],"filter":"payload.x == \"ä\"","start":"last:50"}"#,
            ),
            (
                question("", ""),
                r#"after:{"cursor":"c","o/l":5}"#,
                r#"{"type":"subscribe","topics":[],"filter":null,"start":"after:{\"cursor\":\"c\",\"o/l\":5}"}"#,
            ),
        ] {
            assert_eq!(asked.subscribe(start), message);
        }
    }

    #[test]
    fn it_says_which_pattern_is_none() {
        let error = question("good, Bad.x", "").patterns().unwrap_err().to_string();
        assert!(error.contains("Bad.x"), "{error}");
        assert_eq!(question(" , ", "").patterns().unwrap().len(), 0);
    }
}
