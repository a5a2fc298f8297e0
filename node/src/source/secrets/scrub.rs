//! Finds secrets in texts, in the forms in which libraries and servers write them. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use zeroize::Zeroize as _;

/// How many values of one name are remembered: the present one, and those that an answer may still quote after a change.
const VALUES: usize = 3;
/// The shortest piece of base64 that is taken for a secret's; shorter ones are met by chance.
const BASE64: usize = 5;
/// A beginning of a value that is this long is met by no chance, whatever follows it.
const LONG: usize = 16;
/// The shortest beginning of a value that is taken for it where a text was cut, bytes.
const CUT: usize = 4;
/// The same of base64, where chance meets more.
const CUT_BASE64: usize = 8;
/// How a text that was cut ends, be it in quotes.
const MARK: &[u8] = "…".as_bytes();

/// The values that must not be shown.
#[derive(Default, Clone)]
pub(super) struct Known {
    /// The longest first.
    values: Vec<Value>,
    /// How many were ever remembered.
    next: u64,
}

/// One value and how it looks in base64.
#[derive(Clone)]
struct Value {
    name: String,
    text: String,
    base64: Vec<String>,
    /// How many were remembered before it.
    number: u64,
}

impl Drop for Value {
    fn drop(&mut self) {
        self.text.zeroize();
        self.base64.iter_mut().for_each(String::zeroize);
    }
}

impl Known {
    /// Whether nothing is to be remembered of a value.
    pub(super) fn holds(&self, name: &str, value: &str) -> bool {
        value.is_empty() || self.values.iter().any(|known| known.name == name && known.text == value)
    }

    /// Remembers a value.
    pub(super) fn add(&mut self, name: &str, value: &str) {
        if self.holds(name, value) {
            return;
        }
        let of_name = |known: &Value| known.name == name;
        if self.values.iter().filter(|known| of_name(known)).count() >= VALUES
            && let Some(oldest) =
                self.values.iter().filter(|known| of_name(known)).map(|known| known.number).min()
        {
            self.values.retain(|known| known.number != oldest);
        }
        self.values.push(Value {
            name: name.to_owned(),
            text: value.to_owned(),
            base64: base64_forms(value),
            number: self.next,
        });
        self.next += 1;
        // The longest first: one secret may begin with another.
        self.values.sort_by_key(|known| std::cmp::Reverse(known.text.len()));
    }

    /// The text with every value replaced by its reference.
    pub(super) fn scrub(&self, text: &str) -> String {
        let begins = self.beginnings();
        let mut out = String::with_capacity(text.len());
        let mut at = 0;
        while at < text.len() {
            let rest = &text.as_bytes()[at..];
            if !begins[usize::from(rest[0])] {
                let next = text[at..].chars().next().map_or(1, char::len_utf8);
                out.push_str(&text[at..at + next]);
                at += next;
                continue;
            }
            let find = |cut| self.values.iter().find_map(|known| known.at(rest, cut).map(|n| (known, n)));
            // A whole one first: it may be how another begins.
            let found = find(false).or_else(|| find(true));
            match found {
                Some((known, length)) => {
                    out.push_str("${secret:");
                    out.push_str(&known.name);
                    out.push('}');
                    at += length;
                    // A form may end within a character where the value itself does not.
                    while !text.is_char_boundary(at) {
                        at += 1;
                    }
                }
                None => {
                    let next = text[at..].chars().next().map_or(1, char::len_utf8);
                    out.push_str(&text[at..at + next]);
                    at += next;
                }
            }
        }
        out
    }

    /// The bytes with which a value may begin in one of its forms: most of a text needs no closer look.
    fn beginnings(&self) -> [bool; 256] {
        let mut begins = [false; 256];
        let mut mark = |byte: u8| begins[usize::from(byte)] = true;
        b"%\\+-_".iter().copied().for_each(&mut mark);
        let forms = self.values.iter().flat_map(|known| std::iter::once(&known.text).chain(&known.base64));
        for first in forms.filter_map(|form| form.bytes().next()) {
            mark(first.to_ascii_lowercase());
            mark(first.to_ascii_uppercase());
        }
        begins
    }
}

impl Value {
    /// How long the value is at the beginning of `text`, in whichever form; `None` where it is not there. With `cut` the
    /// value's own beginning is enough where the text was cut behind it.
    fn at(&self, text: &[u8], cut: bool) -> Option<usize> {
        let base64 = |form: &String| begins_with_base64(text, form.as_bytes(), cut);
        begins_with(text, self.text.as_bytes(), cut).or_else(|| self.base64.iter().find_map(base64))
    }
}

/// How much of `text` says `value`, each byte as it is, percent-encoded, escaped by a backslash, or `+` for a space. What
/// looks like an escape may be one, or be the value's own.
fn begins_with(text: &[u8], value: &[u8], cut: bool) -> Option<usize> {
    walk(text, value, cut, escaped).or_else(|| walk(text, value, cut, one))
}

fn walk(text: &[u8], value: &[u8], cut: bool, one: impl Fn(&[u8], u8) -> Option<usize>) -> Option<usize> {
    let mut at = 0;
    for (place, &byte) in value.iter().enumerate() {
        let rest = text.get(at..)?;
        match one(rest, byte) {
            Some(length) => at += length,
            None if cut && place >= LONG => return Some(at),
            None if cut && place >= CUT => return broken(rest).map(|broken| at + broken),
            None => return None,
        }
    }
    Some(at)
}

/// Whether a text was cut here, and how long what is left of an escape is.
fn broken(rest: &[u8]) -> Option<usize> {
    let ended = |at: usize| rest.get(at..).is_some_and(|end| end.is_empty() || end.starts_with(MARK));
    let longest = match rest {
        [b'%', ..] => 2,
        [b'\\', ..] => 5,
        _ => 0,
    };
    (0..=longest).find(|at| ended(*at))
}

/// A byte, as an escape where it is one.
fn escaped(text: &[u8], byte: u8) -> Option<usize> {
    match *text {
        [b'%', high, low, ..] if hex(high, low) == Some(byte) => Some(3),
        [b'\\', b'\\', ..] if byte == b'\\' => Some(2),
        _ => one(text, byte),
    }
}

/// A byte, as itself where it is that.
fn one(text: &[u8], byte: u8) -> Option<usize> {
    let escaped = |letter: u8| match letter {
        b'n' => b'\n',
        b't' => b'\t',
        b'r' => b'\r',
        other => other,
    };
    match *text {
        // Names of hosts come back in small letters.
        [first, ..] if first.eq_ignore_ascii_case(&byte) => Some(1),
        [b'+', ..] if byte == b' ' => Some(1),
        [b'%', high, low, ..] if hex(high, low) == Some(byte) => Some(3),
        [b'\\', b'u', b'0', b'0', high, low, ..] if hex(high, low) == Some(byte) => Some(6),
        [b'\\', letter, ..] if escaped(letter) == byte => Some(2),
        _ => None,
    }
}

fn hex(high: u8, low: u8) -> Option<u8> {
    let digit = |letter: u8| char::from(letter).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

/// What of a value's base64 is the same whatever stands before and behind it, for each of the three places that it
/// can have in a group of three bytes.
fn base64_forms(value: &str) -> Vec<String> {
    let form = |before: usize| {
        let mut bytes = vec![0; before];
        bytes.extend_from_slice(value.as_bytes());
        let text = STANDARD_NO_PAD.encode(&bytes);
        let first = (before * 8).div_ceil(6);
        let last = bytes.len() * 8 / 6;
        bytes.zeroize();
        text.get(first..last).map(str::to_owned)
    };
    (0..3).filter_map(form).filter(|form| form.len() >= BASE64).collect()
}

/// How much of a text is a piece of base64, in either alphabet.
fn begins_with_base64(text: &[u8], form: &[u8], cut: bool) -> Option<usize> {
    let same = |(a, b): &(&u8, &u8)| a == b || matches!((a, b), (b'-', b'+') | (b'_', b'/'));
    let length = text.iter().zip(form).take_while(same).count();
    let is_cut = || cut && length >= CUT_BASE64 && broken(&text[length..]) == Some(0);
    (length == form.len() || is_cut()).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_what_looks_like_an_escape_both_ways() {
        let mut known = Known::default();
        known.add("A", "k J/+&=\"%é");
        known.add("B", r"C:\\41%2");
        for (text, scrubbed) in [
            ("at /e/k%20J/%2B%26%3D%22%25%C3%A9?x", "at /e/${secret:A}?x"),
            ("k J/+&=\"%é.", "${secret:A}."),
            (r#""k J/+&=\"%é""#, r#""${secret:A}""#),
            (r"C:\\41%2", "${secret:B}"),
            (r"c:\\\\41%252", "${secret:B}"),
        ] {
            assert_eq!(known.scrub(text), scrubbed, "{text}");
        }
    }

    #[test]
    fn it_forgets_the_oldest_value_of_a_name() {
        let mut known = Known::default();
        let values = ["first", "the longest of all", "third", "4th"];
        values.iter().for_each(|value| known.add("A", value));
        let scrubbed = values.map(|value| known.scrub(value));
        assert_eq!(scrubbed, ["first", "${secret:A}", "${secret:A}", "${secret:A}"]);
    }
}
