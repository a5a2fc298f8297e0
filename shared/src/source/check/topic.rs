//! The topic of a source's records, as far as its text shows it: names, dots, and `${…}` where an expression stands.

use super::{Found, LIMITS, expression};
use crate::topic::Topic;

/// Checks a topic or a topic template.
pub(super) fn check(template: &str, found: &mut Found) {
    if template.is_empty() {
        return found.say("topic", "the topic is missing; write one as prices.btc-usd");
    }
    if template.len() > LIMITS.expression {
        let most = LIMITS.expression;
        return found
            .say("topic", format!("the topic has {} bytes; at most {most} are taken", template.len()));
    }
    if template.starts_with('$') && !template.starts_with("${") {
        return found.say("topic", "topics that begin with $ are the node's own; begin with another name");
    }
    match shape(template) {
        Ok(shape) => {
            if let Err(error) = shape.parse::<Topic>() {
                found.say("topic", error.to_string());
            }
        }
        Err(why) => found.say("topic", why),
    }
    let before = found.0.len();
    if template.contains("${") {
        expression("topic", template, found);
        found.0.truncate(before + 1);
    }
}

/// The template with an `x` for each expression: what is left must be a topic.
fn shape(template: &str) -> Result<String, String> {
    let mut shape = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(start) = rest.find("${") {
        shape.push_str(&rest[..start]);
        let inside = &rest[start + 2..];
        let end = closing(inside)
            .ok_or("an expression begins with ${ and does not end; close it with }".to_owned())?;
        if inside[..end].trim().is_empty() {
            return Err("the expression in ${} is empty; write one as ${payload.symbol}".to_owned());
        }
        shape.push('x');
        rest = &inside[end + 1..];
    }
    shape.push_str(rest);
    Ok(shape)
}

/// Where the brace is that ends an expression: not one in a string or of a map inside.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut quote, mut escaped) = (0_usize, None, false);
    for (place, byte) in text.bytes().enumerate() {
        match (quote, byte) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), b'\\') => escaped = true,
            (Some(open), _) if byte == open => quote = None,
            (None, b'"' | b'\'') => quote = Some(byte),
            (None, b'{') => depth += 1,
            (None, b'}') if depth == 0 => return Some(place),
            (None, b'}') => depth -= 1,
            (_, _) => {}
        }
    }
    None
}
