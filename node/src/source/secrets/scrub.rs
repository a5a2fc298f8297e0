//! Finds secrets in texts, in the forms in which libraries and servers write them. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use zeroize::Zeroize as _;

/// How many values of one name are remembered: the present one, and those that an answer may still quote after a change.
const VALUES: usize = 3;
/// The shortest piece of base64 that is taken for a secret's; shorter ones are met by chance.
const BASE64: usize = 5;

/// The values that must not be shown.
#[derive(Default)]
pub(super) struct Known {
    /// The newest last.
    values: Vec<Value>,
}

/// One value and how it looks in base64.
struct Value {
    name: String,
    text: String,
    base64: Vec<String>,
}

impl Drop for Value {
    fn drop(&mut self) {
        self.text.zeroize();
        self.base64.iter_mut().for_each(String::zeroize);
    }
}

impl Known {
    /// Remembers a value.
    pub(super) fn add(&mut self, name: &str, value: &str) {
        if value.is_empty() || self.values.iter().any(|known| known.name == name && known.text == value) {
            return;
        }
        let of_name = |known: &Value| known.name == name;
        if self.values.iter().filter(|known| of_name(known)).count() >= VALUES
            && let Some(oldest) = self.values.iter().position(of_name)
        {
            self.values.remove(oldest);
        }
        self.values.push(Value {
            name: name.to_owned(),
            text: value.to_owned(),
            base64: base64_forms(value),
        });
        // The longest first: one secret may begin with another.
        self.values.sort_by_key(|known| std::cmp::Reverse(known.text.len()));
    }

    /// The text with every value replaced by its reference.
    pub(super) fn scrub(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut at = 0;
        while at < text.len() {
            let found =
                self.values.iter().find_map(|known| known.at(&text.as_bytes()[at..]).map(|n| (known, n)));
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
}

impl Value {
    /// How long the value is at the beginning of `text`, in whichever form; `None` where it is not there.
    fn at(&self, text: &[u8]) -> Option<usize> {
        let base64 = |form: &String| begins_with_base64(text, form.as_bytes()).then_some(form.len());
        begins_with(text, self.text.as_bytes()).or_else(|| self.base64.iter().find_map(base64))
    }
}

/// How much of `text` says `value`, each byte as it is, percent-encoded, escaped by a backslash, or `+` for a space.
fn begins_with(text: &[u8], value: &[u8]) -> Option<usize> {
    let mut at = 0;
    for &byte in value {
        at += one(text.get(at..)?, byte)?;
    }
    Some(at)
}

fn one(text: &[u8], byte: u8) -> Option<usize> {
    let escaped = |letter: u8| match letter {
        b'n' => b'\n',
        b't' => b'\t',
        b'r' => b'\r',
        other => other,
    };
    match *text {
        [first, ..] if first == byte => Some(1),
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

/// Whether a text begins with a piece of base64, in either alphabet.
fn begins_with_base64(text: &[u8], form: &[u8]) -> bool {
    let same = |(a, b): (&u8, &u8)| a == b || matches!((a, b), (b'-', b'+') | (b'_', b'/'));
    text.len() >= form.len() && text.iter().zip(form).all(same)
}
