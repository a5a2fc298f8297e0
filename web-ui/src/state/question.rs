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

    /// Path and query of the feed that answers it from `start` on.
    pub fn feed(&self, start: &str) -> String {
        format!("/feed?start={}{}", percent(start), self.asked())
    }

    /// Path and query of the cheapest request that fails as the feed does, and says why.
    pub fn probe(&self, after: Option<&str>) -> String {
        let after = after.map_or_else(String::new, |cursor| format!("&after={}", percent(cursor)));
        format!("/api/v1/records?limit=1{after}{}", self.asked())
    }

    fn asked(&self) -> String {
        let mut asked = String::new();
        for pattern in self.patterns().unwrap_or_default() {
            asked.push_str("&topic=");
            asked.push_str(&percent(pattern.as_str()));
        }
        if !self.filter.trim().is_empty() {
            asked.push_str("&filter=");
            asked.push_str(&percent(self.filter.trim()));
        }
        asked
    }
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
        let asked = question("prices.*, sensors.>", " payload.x > 1 ");
        assert_eq!(
            asked.feed("last:50"),
            "/feed?start=last:50&topic=prices.*&topic=sensors.%3E&filter=payload.x%20%3E%201"
        );
        assert_eq!(
            question("", "").feed(r#"after:{"cursor":"c"}"#),
            "/feed?start=after:%7B%22cursor%22:%22c%22%7D"
        );
        assert_eq!(question("a", "").probe(Some("c")), "/api/v1/records?limit=1&after=c&topic=a");
    }

    #[test]
    fn it_says_which_pattern_is_none() {
        let error = question("good, Bad.x", "").patterns().unwrap_err().to_string();
        assert!(error.contains("Bad.x"), "{error}");
        assert_eq!(question(" , ", "").patterns().unwrap().len(), 0);
    }
}
