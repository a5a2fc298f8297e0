//! A JSON answer as a tree that is read level by level, and the expressions that pick a part of it.

use std::fmt;

use serde::de::{Deserializer as _, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// How many members of one object or list are shown; nobody picks a value from the ten-thousandth.
pub const MEMBERS: usize = 200;
/// How many characters of a value are shown.
const PREVIEW: usize = 120;
/// What CEL keeps for itself and does not take behind a point.
const RESERVED: [&str; 18] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "false",
    "for",
    "function",
    "if",
    "import",
    "in",
    "let",
    "loop",
    "namespace",
    "null",
    "package",
    "return",
    "true",
];

/// One step from a value into a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A member of an object.
    Key(String),
    /// An element of a list.
    Index(usize),
}

impl Step {
    /// The step as the tree shows it.
    pub fn label(&self) -> String {
        match self {
            Self::Key(key) => key.clone(),
            Self::Index(index) => index.to_string(),
        }
    }
}

/// What a value is, as far as the tree must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// An object.
    Object,
    /// A list.
    List,
    /// Anything else.
    Plain,
}

/// Says what the JSON text is.
pub fn shape(json: &str) -> Shape {
    match json.trim_start().as_bytes().first() {
        Some(b'{') => Shape::Object,
        Some(b'[') => Shape::List,
        _ => Shape::Plain,
    }
}

/// A value in one line.
pub fn preview(json: &str) -> String {
    let mut chars = json.chars();
    let mut out: String = chars.by_ref().take(PREVIEW).collect();
    if chars.next().is_some() {
        out.push('…');
    }
    out
}

/// The parts of one value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Parts {
    /// The first of them in the order of the text, each with its JSON text.
    pub shown: Vec<(Step, String)>,
    /// How many there are in all.
    pub count: usize,
}

/// Reads the members of an object or the elements of a list; `None` where the text is neither.
pub fn parts(json: &str) -> Option<Parts> {
    let mut reader = serde_json::Deserializer::from_str(json);
    match shape(json) {
        Shape::Plain => None,
        Shape::Object | Shape::List => reader.deserialize_any(Level).ok(),
    }
}

struct Level;

impl<'de> Visitor<'de> for Level {
    type Value = Parts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or a list")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Parts, A::Error> {
        let mut parts = Parts::default();
        while let Some(key) = map.next_key::<String>()? {
            if parts.count < MEMBERS {
                let value: Box<RawValue> = map.next_value()?;
                parts.shown.push((Step::Key(key), value.get().to_owned()));
            } else {
                map.next_value::<IgnoredAny>()?;
            }
            parts.count += 1;
        }
        Ok(parts)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Parts, A::Error> {
        let mut parts = Parts::default();
        while parts.count < MEMBERS {
            let Some(value) = list.next_element::<Box<RawValue>>()? else { return Ok(parts) };
            parts.shown.push((Step::Index(parts.count), value.get().to_owned()));
            parts.count += 1;
        }
        while list.next_element::<IgnoredAny>()?.is_some() {
            parts.count = parts.count.checked_add(1).ok_or_else(|| A::Error::custom("too long"))?;
        }
        Ok(parts)
    }
}

/// The expression that picks the part behind these steps: `payload.data[0].price`.
pub fn expression(steps: &[Step]) -> String {
    from("payload", steps)
}

fn from(root: &str, steps: &[Step]) -> String {
    let mut out = root.to_owned();
    for step in steps {
        match step {
            Step::Key(key) if is_name(key) => {
                out.push('.');
                out.push_str(key);
            }
            Step::Key(key) => out.push_str(&format!("[{}]", quoted(key))),
            Step::Index(index) => out.push_str(&format!("[{index}]")),
        }
    }
    out
}

/// The same part, or nothing where an answer lacks it: no record instead of an error.
pub fn where_there(steps: &[Step]) -> Option<String> {
    let mut tests = Vec::new();
    for (depth, step) in steps.iter().enumerate() {
        let before = expression(&steps[..depth]);
        tests.push(match step {
            Step::Key(key) if is_name(key) => format!("has({before}.{key})"),
            Step::Key(key) => format!("{} in {before}", quoted(key)),
            Step::Index(index) => format!("size({before}) > {index}"),
        });
    }
    (!tests.is_empty()).then(|| format!("{} ? {} : null", tests.join(" && "), expression(steps)))
}

/// The same part of every element of the last list on the way: a record of each.
pub fn of_each(steps: &[Step]) -> Option<String> {
    let place = steps.iter().rposition(|step| matches!(step, Step::Index(_)))?;
    let list = expression(&steps[..place]);
    let rest = &steps[place + 1..];
    Some(if rest.is_empty() { list } else { format!("{list}.map(item, {})", from("item", rest)) })
}

/// Whether an answer has a part behind these steps.
pub fn has(json: &str, steps: &[Step]) -> bool {
    let Some((first, rest)) = steps.split_first() else { return true };
    let part = parts(json).and_then(|parts| parts.shown.into_iter().find(|(step, _)| step == first));
    part.is_some_and(|(_, json)| has(&json, rest))
}

fn quoted(key: &str) -> String {
    serde_json::Value::from(key).to_string()
}

fn is_name(key: &str) -> bool {
    let mut chars = key.chars();
    chars.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && chars.all(|char| char.is_ascii_alphanumeric() || char == '_')
        && !RESERVED.contains(&key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Step {
        Step::Key(name.to_owned())
    }

    #[test]
    fn it_reads_one_level_in_its_order() {
        let parts = parts(r#" {"b": [1, 2], "a" : 1.50} "#).unwrap();
        assert_eq!(parts.count, 2);
        assert_eq!(parts.shown, [(key("b"), "[1, 2]".to_owned()), (key("a"), "1.50".to_owned())]);
        let list = super::parts(r#"[{"x":1},"y"]"#).unwrap();
        assert_eq!(list.shown[1], (Step::Index(1), r#""y""#.to_owned()));
    }

    #[test]
    fn it_reads_nothing_else() {
        for json in ["", "1", r#""text""#, "{", "[1,", "null"] {
            assert_eq!(parts(json), None, "{json}");
        }
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        // Whatever comes of it, it comes.
        let _ = parts(&deep);
    }

    #[test]
    fn it_counts_what_it_does_not_show() {
        let many = format!("[{}]", vec!["0"; MEMBERS + 7].join(","));
        let parts = parts(&many).unwrap();
        assert_eq!((parts.shown.len(), parts.count), (MEMBERS, MEMBERS + 7));
        let wide: Vec<String> = (0..MEMBERS + 2).map(|place| format!(r#""k{place}":0"#)).collect();
        assert_eq!(super::parts(&format!("{{{}}}", wide.join(","))).unwrap().count, MEMBERS + 2);
    }

    #[test]
    fn it_writes_expressions() {
        for (steps, plain, there, each) in [
            (vec![], "payload", None, None),
            (vec![key("price")], "payload.price", Some("has(payload.price) ? payload.price : null"), None),
            (
                vec![key("data"), Step::Index(2), key("a-b")],
                r#"payload.data[2]["a-b"]"#,
                Some(
                    r#"has(payload.data) && size(payload.data) > 2 && "a-b" in payload.data[2] ? payload.data[2]["a-b"] : null"#,
                ),
                Some(r#"payload.data.map(item, item["a-b"])"#),
            ),
            (
                vec![Step::Index(0)],
                "payload[0]",
                Some("size(payload) > 0 ? payload[0] : null"),
                Some("payload"),
            ),
            (vec![key("in")], r#"payload["in"]"#, Some(r#""in" in payload ? payload["in"] : null"#), None),
            (vec![key("\"")], r#"payload["\""]"#, Some(r#""\"" in payload ? payload["\""] : null"#), None),
        ] {
            assert_eq!(expression(&steps), plain);
            assert_eq!(where_there(&steps).as_deref(), there);
            assert_eq!(of_each(&steps).as_deref(), each);
        }
    }

    #[test]
    fn it_knows_whether_an_answer_has_a_part() {
        let steps = [key("a"), Step::Index(1)];
        assert!(has(r#"{"a":[1,2]}"#, &steps));
        assert!(!has(r#"{"a":[1]}"#, &steps));
        assert!(!has(r#"{"b":1}"#, &steps));
        assert!(has("1", &[]));
    }
}
