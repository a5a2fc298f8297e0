//! JSON text laid out for people, without reading its values: what was signed is what is shown.

/// Lays out valid JSON with line breaks and two spaces a level; strings and numbers stay byte for byte as they are.
pub fn pretty(json: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let mut depth = 0_usize;
    let mut chars = json.chars().filter(Spaces::default().outside()).peekable();
    let mut in_string = Strings::default();
    while let Some(char) = chars.next() {
        if in_string.step(char) {
            out.push(char);
            continue;
        }
        match char {
            '{' | '[' if chars.peek().is_some_and(|next| matches!(next, '}' | ']')) => out.push(char),
            '{' | '[' => {
                out.push(char);
                depth += 1;
                line(&mut out, depth);
            }
            '}' | ']' if out.ends_with(['{', '[']) => out.push(char),
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(char);
            }
            ',' => {
                out.push(char);
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            _ => out.push(char),
        }
    }
    out
}

fn line(out: &mut String, depth: usize) {
    out.push('\n');
    // Deep nesting is legal; indenting it without end would make the text grow quadratically.
    out.extend(std::iter::repeat_n("  ", depth.min(40)));
}

/// Follows whether a character belongs to a string.
#[derive(Debug, Default)]
struct Strings {
    inside: bool,
    escaped: bool,
}

impl Strings {
    /// Takes the next character and says whether it belongs to a string, its quotes included.
    fn step(&mut self, char: char) -> bool {
        if !self.inside {
            self.inside = char == '"';
            return self.inside;
        }
        match char {
            _ if self.escaped => self.escaped = false,
            '\\' => self.escaped = true,
            '"' => self.inside = false,
            _ => {}
        }
        true
    }
}

/// Tells white space between the tokens from that in strings.
#[derive(Debug, Default)]
struct Spaces(Strings);

impl Spaces {
    fn outside(mut self) -> impl FnMut(&char) -> bool {
        move |char| self.0.step(*char) || !char.is_ascii_whitespace()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn it_lays_out_without_touching_values() {
        for (json, laid_out) in [
            ("1.50", "1.50"),
            ("{ }", "{}"),
            ("[]", "[]"),
            (
                r#"{"a":1.0,"b":[1,{}],"c":"x: {,\" y"}"#,
                "{\n  \"a\": 1.0,\n  \"b\": [\n    1,\n    {}\n  ],\n  \"c\": \"x: {,\\\" y\"\n}",
            ),
            ("{\"a\" :\n 123456789012345678901234567890}", "{\n  \"a\": 123456789012345678901234567890\n}"),
        ] {
            assert_eq!(pretty(json), laid_out);
        }
    }

    #[test]
    fn it_keeps_the_meaning() {
        let json = r#"[{"a":{"b":[[],[1,2,[3]]]},"\"{":"\\"},null,true,"  "]"#;
        let value: Value = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&pretty(json)).unwrap(), value);
    }

    #[test]
    fn it_bounds_the_indent() {
        let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
        assert!(pretty(&deep).len() < 20_000 * 2 * 82);
    }
}
