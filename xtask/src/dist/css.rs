//! Takes out of a style sheet what only its readers need.

/// Drops comments, line breaks and indents, and spaces around braces; what stands in quotes stays.
pub(crate) fn shrink(css: &str) -> String {
    let mut out = String::with_capacity(css.len());
    let mut rest = css;
    while let Some(char) = rest.chars().next() {
        if let Some(comment) = rest.strip_prefix("/*") {
            rest = comment.split_once("*/").map_or("", |(_, after)| after);
        } else if char == '"' {
            let end = rest[1..].find('"').map_or(rest.len(), |end| end + 2);
            out.push_str(&rest[..end]);
            rest = &rest[end..];
        } else if char.is_whitespace() {
            rest = rest.trim_start();
            if !out.ends_with(['{', '}', ';', ',']) && !rest.starts_with(['{', '}']) {
                out.push(' ');
            }
        } else {
            if char == '}' && out.ends_with(';') {
                out.pop();
            }
            out.push(char);
            rest = &rest[char.len_utf8()..];
        }
    }
    out.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_the_meaning() {
        for (css, expected) in [
            (
                "/* Tokens. */\n:root {\n  --a: light-dark(#fff, #000);\n}\n",
                ":root{--a: light-dark(#fff,#000)}",
            ),
            (
                ".a .b, .c > :first-child { width: calc(100% - 2px); }",
                ".a .b,.c > :first-child{width: calc(100% - 2px)}",
            ),
            (".a::before { content: \"▾ {  /* \" / \"\"; }", ".a::before{content: \"▾ {  /* \" / \"\"}"),
            (
                "@media (max-width: 9px) {\n  a { b: c; }\n\n  d { e: f; }\n}",
                "@media (max-width: 9px){a{b: c}d{e: f}}",
            ),
            ("a { b: c } /* open", "a{b: c}"),
        ] {
            assert_eq!(shrink(css), expected);
        }
    }
}
