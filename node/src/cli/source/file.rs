//! Definitions out of a file: JSON or TOML, one or many.

use std::io::Read as _;
use std::path::Path;

use anode_shared::source::SourceDefinition;
use anyhow::{Context as _, bail};
use serde_json::Value;

use super::define::fields;

/// The longest file: thousands of definitions.
const LONGEST: u64 = 64 << 20;

/// Reads a file, or stdin for `-`.
///
/// # Errors
/// When it cannot be read or holds something else, with the place.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<SourceDefinition>> {
    let mut text = String::new();
    let shown = path.display();
    let done = if path == Path::new("-") {
        std::io::stdin().lock().take(LONGEST).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(LONGEST).read_to_string(&mut text))
    };
    done.with_context(|| format!("cannot read {shown}"))?;
    parse(&text).with_context(|| format!("{shown}"))
}

/// Reads definitions: one, a list, or a list called `sources`.
///
/// # Errors
/// When it is neither JSON nor TOML, or holds something else.
pub(super) fn parse(text: &str) -> anyhow::Result<Vec<SourceDefinition>> {
    let value = value(text)?;
    let list = match value {
        Value::Array(list) => list,
        Value::Object(mut members) if members.contains_key("sources") => {
            let list = members.remove("sources");
            if let Some(other) = members.keys().next() {
                bail!("`{other}` stands beside `sources`; accepted is `sources` alone, or one definition");
            }
            match list {
                Some(Value::Array(list)) => list,
                _ => bail!("`sources` is no list of definitions"),
            }
        }
        one @ Value::Object(_) => return Ok(vec![definition(one)?]),
        _ => bail!("accepted are one definition, a list of them, or a list called `sources`"),
    };
    let numbered = list.into_iter().enumerate();
    numbered.map(|(place, value)| definition(value).with_context(|| format!("sources[{place}]"))).collect()
}

/// The value that a text holds. TOML may begin like a JSON list, and JSON is never TOML but for that.
fn value(text: &str) -> anyhow::Result<Value> {
    let json = match serde_json::from_str(text) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    match toml::from_str::<Value>(text) {
        Ok(value) => Ok(value),
        Err(_) if text.trim_start().starts_with('{') => bail!("this is not JSON: {json}"),
        Err(_) if text.trim_start().starts_with('[') && !text.contains('=') => {
            bail!("this is not JSON: {json}")
        }
        Err(error) => bail!("this is not TOML: {error}"),
    }
}

fn definition(value: Value) -> anyhow::Result<SourceDefinition> {
    let name = value.get("name").and_then(Value::as_str).map(str::to_owned);
    let read = SourceDefinition::read(value).map_err(|wrong| anyhow::anyhow!(fields(&wrong)));
    read.with_context(|| name.map_or("a source without a name".to_owned(), |name| format!("source {name:?}")))
}

/// A definition as text to be edited: TOML, or JSON where TOML has no words for it (`null` in a frame).
pub(super) fn write(definition: &SourceDefinition) -> anyhow::Result<(String, &'static str)> {
    match toml::to_string_pretty(definition) {
        Ok(text) => Ok((text, "toml")),
        Err(_) => Ok((serde_json::to_string_pretty(definition)?, "json")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        parse(text).unwrap().into_iter().map(|definition| definition.name).collect()
    }

    #[test]
    fn it_reads_one_or_many_in_both_forms() {
        let one = |name: &str| format!(r#"{{"name":"{name}","kind":"rest","url":"http://h/","topic":"t"}}"#);
        let table =
            |name: &str| format!("name = \"{name}\"\nkind = \"sse\"\nurl = \"http://h/\"\ntopic = \"t\"\n");
        assert_eq!(names(&one("a")), ["a"]);
        assert_eq!(names(&format!("[{},\n{}]", one("a"), one("b"))), ["a", "b"]);
        assert_eq!(names(&format!("{{\"sources\": [{}]}}", one("a"))), ["a"]);
        assert_eq!(names(&table("a")), ["a"]);
        assert_eq!(names(&format!("[[sources]]\n{}[[sources]]\n{}", table("a"), table("b"))), ["a", "b"]);
        assert_eq!(
            names("sources = [{name = \"a\", kind = \"rest\", url = \"http://h/\", topic = \"t\"}]"),
            ["a"]
        );
        assert!(names("[]").is_empty());
    }

    #[test]
    fn it_says_what_is_wrong_and_where() {
        for (text, words) in [
            ("{\"name\": \"a\",}", "not JSON"),
            ("[1,", "not JSON"),
            ("name = ", "not TOML"),
            ("7", "accepted are"),
            (r#"{"sources": 1}"#, "no list"),
            (r#"{"sources": [], "x": 1}"#, "`x`"),
            (
                r#"[{"name":"a","kind":"rest","url":"u"}]"#,
                "sources[0]: source \"a\": topic: topic is missing",
            ),
            (r#"{"name":"a","kind":"rest","url":"u","topic":"t","inteval_ms":1}"#, "inteval_ms: "),
            (r#"{"name":"a","kind":"tcp","url":"u","topic":"t"}"#, "kind: "),
        ] {
            let error = format!("{:#}", parse(text).unwrap_err());
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn it_writes_what_it_reads() {
        for text in [
            r#"{"name":"a","kind":"websocket","url":"ws://h/","topic":"t","open":[{"b":[1,{"c":2}]},"x"],"ping":{"every_ms":1,"frame":{"m":"p"}},"stale_after_ms":5}"#,
            r#"{"name":"a","kind":"rest","url":"http://h/","topic":"t","headers":{"K":"v"},"body":{"x":null},"interval_ms":1}"#,
        ] {
            let before = parse(text).unwrap();
            let (written, _) = write(&before[0]).unwrap();
            assert_eq!(parse(&written).unwrap(), before, "{written}");
        }
    }
}
