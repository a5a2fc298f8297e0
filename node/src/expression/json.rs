//! A JSON document as expressions see it: read in one pass, shared, and looked at where it stands.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;

mod scan;
mod value;

use super::fuel;
use scan::Node;
pub use scan::{Fault, MAX_DEPTH, MAX_NODES};
pub(crate) use value::{JsonList, JsonMap};

/// Members or elements that are walked past for one unit of fuel.
const WALKED_PER_UNIT: usize = 32;
/// Bytes of a name that take as long to compare as walking past it.
const BYTES_PER_WALKED: usize = 64;

/// A document, read once.
#[derive(Debug)]
struct Document {
    text: Bytes,
    nodes: Box<[Node]>,
}

/// A value of a document. A clone shares the document.
#[derive(Debug, Clone)]
pub struct Json {
    document: Arc<Document>,
    place: u32,
}

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool,
    /// A number.
    Number,
    /// A string.
    Text,
    /// An array.
    List,
    /// An object.
    Map,
}

impl Kind {
    /// The kind in words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool => "a bool",
            Self::Number => "a number",
            Self::Text => "a string",
            Self::List => "a list",
            Self::Map => "an object",
        }
    }
}

impl Json {
    /// Reads a payload; `None` when it is not JSON.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        Self::read(Bytes::copy_from_slice(payload)).ok()
    }

    /// Reads a document.
    ///
    /// # Errors
    /// With the place at which it is no JSON.
    pub fn read(text: Bytes) -> Result<Self, Fault> {
        if let Err(error) = std::str::from_utf8(&text) {
            return Err(Fault { at: error.valid_up_to(), why: "UTF-8 is expected" });
        }
        let mut nodes = Vec::with_capacity(text.len() / 12 + 1);
        scan::scan(&text, &mut nodes)?;
        Ok(Self { document: Arc::new(Document { text, nodes: nodes.into_boxed_slice() }), place: 0 })
    }

    fn node(&self) -> Node {
        self.document.nodes[self.place as usize]
    }

    fn at(&self, place: u32) -> Self {
        Self { document: Arc::clone(&self.document), place }
    }

    /// The value's text as it stands in the document.
    pub fn text(&self) -> &[u8] {
        let node = self.node();
        &self.document.text[node.start as usize..node.end as usize]
    }

    /// The same, sharing the document's memory.
    pub fn bytes(&self) -> Bytes {
        let node = self.node();
        self.document.text.slice(node.start as usize..node.end as usize)
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        match self.text().first() {
            Some(b'{') => Kind::Map,
            Some(b'[') => Kind::List,
            Some(b'"') => Kind::Text,
            Some(b't' | b'f') => Kind::Bool,
            Some(b'n') | None => Kind::Null,
            Some(_) => Kind::Number,
        }
    }

    /// A string's characters; of anything else nothing.
    pub fn characters(&self) -> Cow<'_, str> {
        match self.text() {
            [b'"', inner @ .., b'"'] => unescape(inner),
            _ => Cow::Borrowed(""),
        }
    }

    /// Whether it is a string of these characters; one whose length says that it is not is not read.
    pub fn says(&self, characters: &str) -> bool {
        match self.text() {
            [b'"', inner @ .., b'"'] => may_say(inner, characters) && says(inner, characters),
            _ => false,
        }
    }

    /// The member of that name, the last one where there are several, as in `JSON.parse`.
    pub fn member(&self, name: &str) -> Option<Self> {
        let (mut found, mut walked) = (None, 0);
        for (key, value) in self.member_places() {
            walked += 1;
            let written = self.written(key);
            if may_say(written, name) {
                walked += written.len() / BYTES_PER_WALKED;
                found = Some(value).filter(|_| says(written, name)).or(found);
            }
        }
        fuel::take((walked / WALKED_PER_UNIT) as u64);
        found.map(|place| self.at(place))
    }

    /// The element at an index.
    pub fn element(&self, index: usize) -> Option<Self> {
        fuel::take((index / WALKED_PER_UNIT) as u64);
        self.element_places().nth(index).map(|place| self.at(place))
    }

    /// The elements of a list; of anything else none.
    pub fn elements(&self) -> impl Iterator<Item = Self> {
        self.element_places().map(|place| self.at(place))
    }

    /// The members of an object, by name and value, in their order; of two of one name only the last. Of anything else none.
    pub fn members(&self) -> impl Iterator<Item = (Self, Self)> {
        let mut places: Vec<(u32, u32)> = self.member_places().collect();
        let mut names: Vec<(Cow<'_, str>, usize)> =
            places.iter().enumerate().map(|(index, (key, _))| (self.name_at(*key), index)).collect();
        names.sort();
        let mut kept = vec![true; places.len()];
        for pair in names.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
            kept[pair[0].1] = false;
        }
        let mut kept = kept.into_iter();
        places.retain(|_| kept.next().unwrap_or(true));
        places.into_iter().map(|(key, value)| (self.at(key), self.at(value)))
    }

    /// How many elements a list has, or members an object.
    pub fn len(&self) -> usize {
        match self.kind() {
            Kind::List => self.element_places().count(),
            Kind::Map => self.members().count(),
            _ => 0,
        }
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.node().next == self.place + 1
    }

    /// How deep lists and objects nest in it; a value that holds none has depth 0.
    pub fn depth(&self) -> usize {
        let nodes = &self.document.nodes[self.place as usize..self.node().next as usize];
        let (mut open, mut deepest): (Vec<u32>, usize) = (Vec::new(), 0);
        for (place, node) in (self.place..).zip(nodes) {
            while open.last().is_some_and(|end| *end <= place) {
                open.pop();
            }
            if matches!(self.document.text[node.start as usize], b'{' | b'[') {
                open.push(node.next);
                deepest = deepest.max(open.len());
            }
        }
        deepest
    }

    fn element_places(&self) -> impl Iterator<Item = u32> {
        let is_full = self.kind() == Kind::List && !self.is_empty();
        is_full.then(|| self.places_from(self.place + 1)).into_iter().flatten()
    }

    /// The elements of a list from one of them on.
    fn places_from(&self, first: u32) -> impl Iterator<Item = u32> {
        let end = self.node().next;
        let nodes = &self.document.nodes;
        std::iter::successors(Some(first), move |place| {
            Some(nodes[*place as usize].next).filter(|next| *next < end)
        })
    }

    fn member_places(&self) -> impl Iterator<Item = (u32, u32)> {
        let end = if self.kind() == Kind::Map { self.node().next } else { 0 };
        let nodes = &self.document.nodes;
        let first = Some(self.place + 1).filter(|first| *first < end);
        let names = std::iter::successors(first, move |name| {
            Some(nodes[*name as usize + 1].next).filter(|next| *next < end)
        });
        names.map(|name| (name, name + 1))
    }

    /// A name as it is written, without its quotes.
    fn written(&self, key: u32) -> &[u8] {
        let node = self.document.nodes[key as usize];
        &self.document.text[node.start as usize + 1..node.end as usize - 1]
    }

    fn name_at(&self, key: u32) -> Cow<'_, str> {
        unescape(self.written(key))
    }
}

/// Whether the inside of a string may say these characters, by its length: an escape is longer than what it says, six
/// times at most.
fn may_say(written: &[u8], characters: &str) -> bool {
    (characters.len()..=6 * characters.len()).contains(&written.len())
}

/// Whether the inside of a string says these characters. Reading escapes is paid for here.
fn says(written: &[u8], characters: &str) -> bool {
    if !written.contains(&b'\\') {
        return written == characters.as_bytes();
    }
    let _ = fuel::take_text(written.len());
    unescape(written) == characters
}

/// The characters that the inside of a string stands for. Halves of surrogate pairs become U+FFFD.
fn unescape(inner: &[u8]) -> Cow<'_, str> {
    let text = std::str::from_utf8(inner).unwrap_or_default();
    if !inner.contains(&b'\\') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let sign = after.bytes().next().unwrap_or(b'\\');
        rest = after.get(1..).unwrap_or_default();
        match sign {
            b'b' => out.push('\u{8}'),
            b'f' => out.push('\u{c}'),
            b'n' => out.push('\n'),
            b'r' => out.push('\r'),
            b't' => out.push('\t'),
            b'u' => rest = unescape_unit(rest, &mut out),
            sign => out.push(char::from(sign)),
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Reads the hex digits behind a `\u`, and those of the other half of a pair; gives what follows.
fn unescape_unit<'a>(digits: &'a str, out: &mut String) -> &'a str {
    let hex = |text: &str| text.get(..4).and_then(|digits| u16::from_str_radix(digits, 16).ok());
    let rest = digits.get(4..).unwrap_or_default();
    let Some(unit) = hex(digits) else {
        return rest;
    };
    let low = rest.strip_prefix("\\u").and_then(hex);
    let units = [unit, low.unwrap_or(0)];
    match char::decode_utf16(units).next() {
        Some(Ok(character)) => {
            out.push(character);
            if character.len_utf16() == 2 { &rest[6..] } else { rest }
        }
        _ => {
            out.push(char::REPLACEMENT_CHARACTER);
            rest
        }
    }
}

#[cfg(test)]
mod tests;
