//! What is wrong with a text that is no CEL, in words for whoever wrote it: the parser speaks of its grammar.

use super::ExpressionError;
use super::text::{end_of_string, position};

/// What other languages write, and what CEL writes instead. The longest first where one begins like another.
const FOREIGN: [(&str, &str); 19] = [
    ("===", "equality is written =="),
    ("!==", "inequality is written !="),
    ("=>", "a list is walked with x.map(e, …), x.filter(e, …) or x.exists(e, …)"),
    ("->", "a list is walked with x.map(e, …), x.filter(e, …) or x.exists(e, …)"),
    ("<>", "inequality is written !="),
    ("=~", "patterns are matched by x.matches(\"^a.*z$\")"),
    ("?.", "a member that may be missing is asked for by has(a.b) ? a.b : null"),
    ("??", "a default is written has(a.b) ? a.b : \"default\""),
    ("=", "equality is written =="),
    ("&", "\"and\" is written &&"),
    ("|", "\"or\" is written ||"),
    ("${", "there is no ${…} here: the whole text is an expression"),
    (";", "an expression is one value, without ;"),
    ("`", "strings stand in \" or '"),
    ("“", "strings stand in \" or '"),
    ("”", "strings stand in \" or '"),
    ("„", "strings stand in \" or '"),
    ("‘", "strings stand in \" or '"),
    ("’", "strings stand in \" or '"),
];
/// Words of other languages.
const WORDS: [(&str, &str); 10] = [
    ("and", "\"and\" is written &&"),
    ("AND", "\"and\" is written &&"),
    ("or", "\"or\" is written ||"),
    ("OR", "\"or\" is written ||"),
    ("not", "\"not\" is written !"),
    ("NOT", "\"not\" is written !"),
    ("is", "equality is written =="),
    ("if", "a choice is written test ? this : that"),
    ("else", "a choice is written test ? this : that"),
    ("for", "a list is walked with x.map(e, …) or x.filter(e, …)"),
];
/// What CEL writes with the signs of [`FOREIGN`] in it.
const OPERATORS: [&str; 6] = ["==", "!=", "<=", ">=", "&&", "||"];

/// A piece of a text.
struct Token<'a> {
    at: usize,
    text: &'a str,
}

/// Says what is wrong with a text that the parser refused, by what it said and where.
pub(super) fn explain(text: &str, said: &str, place: Option<(usize, usize)>) -> ExpressionError {
    let tokens = match tokens(text) {
        Ok(tokens) => tokens,
        Err(quote) => {
            return at(
                text,
                quote,
                format!("this {} has no second one that closes it", &text[quote..=quote]),
            );
        }
    };
    if tokens.is_empty() {
        return at(text, text.len(), "an expression is expected, but there is none".to_owned());
    }
    let found =
        foreign(text, &tokens).or_else(|| brackets(text, &tokens)).or_else(|| early_end(text, &tokens));
    found.unwrap_or_else(|| ExpressionError { detail: otherwise(text, said, place), position: place })
}

fn at(text: &str, byte: usize, detail: String) -> ExpressionError {
    ExpressionError { detail, position: Some(position(text, text[..byte].chars().count())) }
}

/// Splits a text; or gives the quote that is not closed.
fn tokens(text: &str) -> Result<Vec<Token<'_>>, usize> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        let length = if first == '"' || first == '\'' {
            end_of_string(text, at).ok_or(at)? - at
        } else if rest.starts_with("//") {
            at += rest.find('\n').unwrap_or(rest.len());
            continue;
        } else if first.is_alphanumeric() || first == '_' {
            let is_inner = |c: char| c.is_alphanumeric() || c == '_' || (c == '.' && first.is_ascii_digit());
            rest.find(|c: char| !is_inner(c)).unwrap_or(rest.len())
        } else {
            let known = OPERATORS.iter().find(|sign| {
                rest.starts_with(**sign) && !rest.starts_with("===") && !rest.starts_with("!==")
            });
            let known = known
                .copied()
                .or_else(|| FOREIGN.iter().map(|(sign, _)| *sign).find(|sign| rest.starts_with(sign)));
            known.map_or(first.len_utf8(), str::len)
        };
        if !first.is_whitespace() {
            tokens.push(Token { at, text: &text[at..at + length] });
        }
        at += length;
    }
    Ok(tokens)
}

/// Signs and words of other languages.
fn foreign(text: &str, tokens: &[Token<'_>]) -> Option<ExpressionError> {
    for (place, token) in tokens.iter().enumerate() {
        let is_member = place > 0 && tokens[place - 1].text == ".";
        let known =
            FOREIGN.iter().chain(WORDS.iter().filter(|_| !is_member)).find(|(sign, _)| *sign == token.text);
        if let Some((sign, instead)) = known {
            return Some(at(text, token.at, format!("{sign} is not CEL; {instead}")));
        }
    }
    None
}

/// Brackets without their other half.
fn brackets(text: &str, tokens: &[Token<'_>]) -> Option<ExpressionError> {
    let mut open: Vec<(&Token<'_>, &str)> = Vec::new();
    for token in tokens {
        match token.text {
            "(" => open.push((token, ")")),
            "[" => open.push((token, "]")),
            "{" => open.push((token, "}")),
            ")" | "]" | "}" => match open.pop() {
                Some((_, close)) if close == token.text => {}
                Some((opened, close)) => {
                    let (line, column) = position(text, text[..opened.at].chars().count());
                    let which = format!("the {} of line {line}, column {column}", opened.text);
                    return Some(at(
                        text,
                        token.at,
                        format!("{close} is expected, which closes {which}, not {}", token.text),
                    ));
                }
                None => return Some(at(text, token.at, format!("this {} closes nothing", token.text))),
            },
            _ => {}
        }
    }
    let (opened, close) = open.pop()?;
    Some(at(text, opened.at, format!("this {} has no {close} that closes it", opened.text)))
}

/// An operator with nothing behind it.
fn early_end(text: &str, tokens: &[Token<'_>]) -> Option<ExpressionError> {
    let last = tokens.last()?;
    let is_value =
        last.text.ends_with(|c: char| c.is_alphanumeric() || "_\"')]}".contains(c)) && last.text != "in";
    (!is_value).then(|| {
        at(
            text,
            text.trim_end().len(),
            format!("a value is expected behind {}, but the text ends", last.text),
        )
    })
}

/// What the parser said, as far as it is known, or what it did not expect.
fn otherwise(text: &str, said: &str, place: Option<(usize, usize)>) -> String {
    if said.contains("has() macro") {
        return "has takes a member: has(payload.price)".to_owned();
    }
    if said.contains("must be a simple name")
        || said.contains("not an identifier")
        || said.contains("identifier") && said.contains("argument")
    {
        return "the first argument names the element: payload.map(e, e.price)".to_owned();
    }
    if let Some(name) = said.strip_prefix("reserved identifier: ") {
        return format!("{name} is reserved by CEL; a member of that name is written payload[\"{name}\"]");
    }
    if said.contains("unsupported syntax") {
        return "optional values are not known here; write has(a.b) ? a.b : null".to_owned();
    }
    let found = place.and_then(|(line, column)| text.lines().nth(line - 1)?.get(column.checked_sub(1)?..));
    let token = found.and_then(|rest| {
        tokens(rest).ok()?.first().map(|token| token.text.chars().take(40).collect::<String>())
    });
    match token {
        Some(token) if token.starts_with(|c: char| c.is_alphanumeric() || "_\"'".contains(c)) => {
            format!("an operator or the end is expected, not {token}")
        }
        Some(token) => format!("a value is expected, not {token}"),
        None => "the text ends where something more is expected".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use crate::expression::text::parse;

    #[test]
    fn it_says_what_is_wrong_with_common_mistakes() {
        for (text, position, words) in [
            ("", (1, 1), "an expression is expected"),
            ("payload.a == 'x", (1, 14), "this ' has no second one"),
            ("payload.a == \"x' && true", (1, 14), "this \" has no second one"),
            ("payload.a = 1", (1, 11), "= is not CEL; equality is written =="),
            ("payload.a === 1", (1, 11), "=== is not CEL"),
            ("payload.a !== 1", (1, 11), "inequality is written !="),
            ("payload.a <> 1", (1, 11), "inequality is written !="),
            ("payload.a == 1 and payload.b", (1, 16), "and is not CEL; \"and\" is written &&"),
            ("payload.a == 1 OR payload.b", (1, 16), "written ||"),
            ("not payload.a", (1, 1), "written !"),
            ("payload.a &\n payload.b", (1, 11), "written &&"),
            ("payload.a == 1 |\n true", (1, 16), "written ||"),
            ("(payload.a == 1", (1, 1), "this ( has no ) that closes it"),
            (
                "payload.a.map(x, [x)",
                (1, 20),
                "] is expected, which closes the [ of line 1, column 18, not )",
            ),
            ("payload.a)", (1, 10), "this ) closes nothing"),
            ("{\"a\": 1", (1, 1), "this { has no }"),
            ("payload.a >", (1, 12), "a value is expected behind >, but the text ends"),
            ("payload.", (1, 9), "behind ."),
            ("payload.a payload.b", (1, 11), "an operator or the end is expected, not payload"),
            ("payload.a == == 1", (1, 14), "a value is expected, not =="),
            ("payload.map(x => x.a)", (1, 15), "=> is not CEL; a list is walked with"),
            ("payload?.a", (1, 8), "?. is not CEL"),
            ("${payload.a}", (1, 1), "the whole text is an expression"),
            ("payload.a; 1", (1, 10), "without ;"),
            ("payload.a == “x”", (1, 14), "strings stand in"),
            ("if payload.a then 1", (1, 1), "test ? this : that"),
            ("has(payload)", (1, 5), "has takes a member"),
            ("payload.map(1, 2)", (1, 13), "the first argument names the element"),
            ("payload.a == 'ä' &&\n  payload.b = 2", (2, 13), "equality"),
            ("'=' == payload.and and true", (1, 20), "&&"),
        ] {
            let error = parse(text).err().unwrap_or_else(|| panic!("{text} is taken"));
            assert!(error.detail.contains(words), "{text}: {error}");
            assert_eq!(error.position, Some(position), "{text}: {error}");
        }
    }

    #[test]
    fn it_leaves_alone_what_is_cel() {
        for text in [
            "payload.and == '='",
            "r'\\' == \"//\" // and = this",
            "'''a\n'b''' + \"\"\"c\"d\"\"\"",
            "payload.or.is",
        ] {
            assert!(parse(text).is_ok(), "{text}: {}", parse(text).err().unwrap());
        }
    }
}
