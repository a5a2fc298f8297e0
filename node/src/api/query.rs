//! Query strings, read strictly: an unknown parameter is refused by name, and so is one that is there twice.

use std::borrow::Cow;
use std::str::FromStr;

use super::problem::Problem;

/// The parameters of a query, decoded, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a query. `known` are its parameters; those that end in `*` may be repeated.
    pub(super) fn parse(query: Option<&str>, known: &[&str]) -> Result<Self, Problem> {
        let mut found: Vec<(String, String)> = Vec::new();
        for pair in query.unwrap_or("").split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(name)?, decode(value)?);
            let takes = |entry: &&str| entry.strip_suffix('*').unwrap_or(entry) == name;
            let Some(entry) = known.iter().copied().find(|entry| takes(entry)) else {
                return Err(unknown(&name, known));
            };
            if !entry.ends_with('*') && found.iter().any(|(other, _)| *other == name) {
                return Err(Problem::bad_request(format!("parameter {name} is there twice; give it once")));
            }
            found.push((name, value));
        }
        Ok(Self(found))
    }

    /// The value of a parameter.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// Every value of a parameter.
    pub(super) fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// A whole number within bounds.
    pub(super) fn number<T: FromStr + PartialOrd + std::fmt::Display>(
        &self,
        name: &str,
        least: T,
        most: T,
    ) -> Result<Option<T>, Problem> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse::<T>() {
            Ok(number) if digits && number >= least && number <= most => Ok(Some(number)),
            _ => Err(Problem::bad_request(format!(
                "{name}={} is no whole number from {least} to {most}",
                shorten(text)
            ))),
        }
    }
}

/// A text short enough to be repeated in an answer.
pub(super) fn shorten(text: &str) -> String {
    let start: String = text.chars().take(80).collect();
    if start.len() < text.len() { format!("{start}…") } else { start }
}

fn unknown(name: &str, known: &[&str]) -> Problem {
    let names: Vec<&str> = known.iter().map(|entry| entry.trim_end_matches('*')).collect();
    let name = shorten(name);
    if names.is_empty() {
        return Problem::bad_request(format!("parameter {name} is unknown; this route takes none"));
    }
    let nearest = names.iter().copied().min_by_key(|other| strsim::levenshtein(other, &name)).unwrap_or("");
    Problem::bad_request(format!(
        "parameter {name} is unknown; did you mean {nearest}? This route takes {}",
        names.join(", ")
    ))
}

/// Undoes percent-encoding, and the plus signs of forms.
fn decode(text: &str) -> Result<String, Problem> {
    let spaced: Cow<'_, str> = if text.contains('+') { text.replace('+', " ").into() } else { text.into() };
    let mut bytes = Vec::with_capacity(spaced.len());
    let mut rest = spaced.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let digits = tail.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let byte = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        let Some(byte) = byte.and_then(|digits| u8::from_str_radix(digits, 16).ok()) else {
            return Err(Problem::bad_request(format!(
                "the query holds a % without two hex digits in {:?}; write % itself as %25",
                shorten(text)
            )));
        };
        bytes.push(byte);
        rest = &tail[2..];
    }
    String::from_utf8(bytes).map_err(|_| {
        Problem::bad_request(format!("the query holds bytes that are no UTF-8 in {:?}", shorten(text)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_what_clients_write() {
        let query = Query::parse(
            Some("topic=a.%3E&topic=b&limit=7&&filter=a+%2B%201"),
            &["topic*", "limit", "filter"],
        )
        .unwrap();
        assert_eq!(query.all("topic").collect::<Vec<_>>(), ["a.>", "b"]);
        assert_eq!(query.get("filter"), Some("a + 1"));
        assert_eq!(query.number("limit", 1, 10).unwrap(), Some(7));
        assert_eq!(query.number::<u32>("page", 1, 10).unwrap(), None);
    }

    #[test]
    fn it_refuses_by_name() {
        for (text, words) in [
            ("limt=1", "limt is unknown; did you mean limit?"),
            ("limit=1&limit=2", "limit is there twice"),
            ("limit=%", "two hex digits"),
            ("limit=%zz", "two hex digits"),
            ("limit=%FF", "no UTF-8"),
            ("%FF=1", "no UTF-8"),
            ("=1", "is unknown"),
        ] {
            let problem = Query::parse(Some(text), &["topic*", "limit"]).unwrap_err();
            assert!(problem.body().detail.contains(words), "{text}: {}", problem.body().detail);
        }
        for text in [
            "limit=0",
            "limit=11",
            "limit=-1",
            "limit=+1",
            "limit=",
            "limit=1.0",
            "limit=99999999999999999999",
        ] {
            let query = Query::parse(Some(text), &["limit"]).unwrap();
            assert!(query.number::<u32>("limit", 1, 10).is_err(), "{text}");
        }
        assert!(Query::parse(Some("a=1"), &[]).unwrap_err().body().detail.contains("takes none"));
    }
}
