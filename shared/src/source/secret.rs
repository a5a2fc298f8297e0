//! References to secrets, `${secret:NAME}`: how they are written, found and replaced.

use std::borrow::Cow;

/// What a reference begins with.
pub const OPENING: &str = "${secret:";
/// The longest name, bytes.
const LONGEST: usize = 64;

/// Whether a text can be a secret's name: it must do as part of an environment variable.
pub fn is_name(text: &str) -> bool {
    (1..=LONGEST).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

/// The names of the secrets that a text refers to, in order.
///
/// # Errors
/// When a reference is malformed, with what to write instead.
pub fn names(text: &str) -> Result<Vec<&str>, String> {
    let mut names = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(OPENING) {
        let inside = &rest[start + OPENING.len()..];
        let end = inside.find('}').filter(|end| is_name(&inside[..*end]));
        let end = end.ok_or(
            "a reference to a secret is ${secret:NAME}, the name 1 to 64 of A-Z, 0-9 and _".to_owned(),
        )?;
        names.push(&inside[..end]);
        rest = &inside[end + 1..];
    }
    Ok(names)
}

/// The text with each reference replaced by what `value` gives for its name. What is malformed stays as it is.
///
/// # Errors
/// Those of `value`.
pub fn replace<'t, E>(
    text: &'t str,
    mut value: impl FnMut(&str) -> Result<String, E>,
) -> Result<Cow<'t, str>, E> {
    if !text.contains(OPENING) {
        return Ok(Cow::Borrowed(text));
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(OPENING) {
        let inside = &rest[start + OPENING.len()..];
        let Some(end) = inside.find('}').filter(|end| is_name(&inside[..*end])) else {
            out.push_str(&rest[..start + OPENING.len()]);
            rest = inside;
            continue;
        };
        out.push_str(&rest[..start]);
        out.push_str(&value(&inside[..end])?);
        rest = &inside[end + 1..];
    }
    out.push_str(rest);
    Ok(Cow::Owned(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_finds_and_replaces_references() {
        for (text, found, replaced) in [
            ("", Some(vec![]), ""),
            ("plain ${x} $", Some(vec![]), "plain ${x} $"),
            ("${secret:A}", Some(vec!["A"]), "<A>"),
            ("Bearer ${secret:A_1}-${secret:B}.", Some(vec!["A_1", "B"]), "Bearer <A_1>-<B>."),
            ("${secret:}", None, "${secret:}"),
            ("${secret:A", None, "${secret:A"),
            ("${secret:a-b} ${secret:C}", None, "${secret:a-b} <C>"),
            ("${secret:${secret:C}}", None, "${secret:<C>}"),
        ] {
            assert_eq!(names(text).ok(), found, "{text}");
            let value = |name: &str| Ok::<_, ()>(format!("<{name}>"));
            assert_eq!(replace(text, value).unwrap(), replaced, "{text}");
        }
        assert_eq!(replace("${secret:A}", |name| Err::<String, _>(name.to_owned())), Err("A".to_owned()));
        assert!(names(&format!("${{secret:{}}}", "A".repeat(65))).is_err());
    }
}
