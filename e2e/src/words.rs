//! The words of the wire that every test handles: record ids.

use std::fmt;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// A record's id: the log as `<origin>/<log>`, and the place in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// `<origin>/<log>`.
    pub log: String,
    /// The place in the log, from 1.
    pub seq: u64,
}

impl Id {
    /// Makes the id of a place in a log.
    #[must_use]
    pub fn new(log: &str, seq: u64) -> Self {
        Self { log: log.to_owned(), seq }
    }

    /// Reads an id and holds it to its form: a peer id, 16 hex digits and a place from 1.
    ///
    /// # Errors
    /// Fails with the text where it has another form.
    pub fn parse(text: &str) -> Result<Self> {
        let parts: Vec<&str> = text.split('/').collect();
        let [origin, log, seq] = parts[..] else { anyhow::bail!("{text:?} is no record id") };
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        ensure!(origin.starts_with("12D3KooW"), "{text:?} does not begin with a peer id");
        ensure!(log.len() == 16 && log.bytes().all(hex), "{text:?} has no log of 16 hex digits");
        let seq: u64 = seq.parse().with_context(|| format!("{text:?} has no seq"))?;
        ensure!(seq > 0, "{text:?} has seq 0");
        Ok(Self { log: format!("{origin}/{log}"), seq })
    }

    /// Reads the id in a field of a JSON object.
    ///
    /// # Errors
    /// Fails where the field is missing or no id.
    pub fn of(value: &Value, field: &str) -> Result<Self> {
        Self::parse(value[field].as_str().with_context(|| format!("no {field} in {value}"))?)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.log, self.seq)
    }
}

/// Encodes a text for use as a value in a query.
#[must_use]
pub fn percent(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_only_whole_ids() {
        let good = "12D3KooWabc/692273a45f3a9c01/1042";
        assert_eq!(Id::parse(good).unwrap().to_string(), good);
        for bad in [
            "",
            "12D3KooWabc",
            "12D3KooWabc/692273a45f3a9c01",
            "12D3KooWabc/692273a45f3a9c01/0",
            "12D3KooWabc/692273a45f3a9c01/x",
            "12D3KooWabc/692273A45f3a9c01/1",
            "12D3KooWabc/692273a45f3a9c0/1",
            "peer/692273a45f3a9c01/1",
            "12D3KooWabc/692273a45f3a9c01/1/2",
        ] {
            assert!(Id::parse(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn it_encodes_what_a_query_cannot_hold() {
        assert_eq!(percent(r#"a/b {"c":1}"#), "a%2Fb%20%7B%22c%22%3A1%7D");
    }
}
