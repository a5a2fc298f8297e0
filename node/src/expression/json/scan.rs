//! Reading JSON in one pass: every value's place is noted, nothing is copied.

/// How deep lists and objects may nest: as deep as other readers of JSON follow.
pub const MAX_DEPTH: usize = 128;
/// The most values and member names of a document: what is noted of each takes 12 bytes, so 6 MiB in all, beside a
/// document of 8 MiB.
pub const MAX_NODES: usize = 500_000;

/// One value, or the name of a member; the value of a member is the node behind its name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node {
    /// Where its text begins.
    pub(super) start: u32,
    /// Where its text ends.
    pub(super) end: u32,
    /// The first node behind it and all that it holds.
    pub(super) next: u32,
}

/// Why a text is not JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The byte at which it shows.
    pub at: usize,
    /// What was expected, or what is too much.
    pub why: &'static str,
}

/// Notes every value of a text, which is UTF-8.
pub(super) fn scan(text: &[u8], nodes: &mut Vec<Node>) -> Result<(), Fault> {
    let mut scan = Scan { text, at: 0, nodes, open: [0; MAX_DEPTH], depth: 0 };
    if u32::try_from(text.len()).is_err() {
        return Err(scan.fault("4 GiB are too much"));
    }
    scan.document()
}

struct Scan<'a> {
    text: &'a [u8],
    at: usize,
    nodes: &'a mut Vec<Node>,
    /// The lists and objects around.
    open: [u32; MAX_DEPTH],
    depth: usize,
}

impl Scan<'_> {
    fn document(&mut self) -> Result<(), Fault> {
        loop {
            if !self.value()? {
                continue;
            }
            if !self.behind_value()? {
                return Ok(());
            }
        }
    }

    /// Reads a value, or opens one that holds others; whether it is complete.
    fn value(&mut self) -> Result<bool, Fault> {
        self.space();
        match self.peek() {
            b'"' => self.string()?,
            b'{' | b'[' => return self.open(),
            b'-' | b'0'..=b'9' => self.number()?,
            b't' => self.word(b"true")?,
            b'f' => self.word(b"false")?,
            b'n' => self.word(b"null")?,
            _ => return Err(self.fault("a value is expected")),
        }
        Ok(true)
    }

    /// Opens a list or an object; whether it is empty, and so complete.
    fn open(&mut self) -> Result<bool, Fault> {
        let Some(place) = self.open.get_mut(self.depth) else {
            return Err(self.fault("lists and objects nest deeper than 128 levels"));
        };
        *place = short(self.nodes.len());
        let is_object = self.peek() == b'{';
        self.note(self.at, self.at)?;
        self.at += 1;
        self.depth += 1;
        self.space();
        match (is_object, self.peek()) {
            (true, b'}') | (false, b']') => {
                self.close();
                Ok(true)
            }
            (true, _) => self.name().map(|()| false),
            (false, _) => Ok(false),
        }
    }

    fn close(&mut self) {
        self.at += 1;
        self.depth -= 1;
        let next = short(self.nodes.len());
        let node = &mut self.nodes[self.open[self.depth] as usize];
        node.end = short(self.at);
        node.next = next;
    }

    /// Goes on behind a value that is complete; whether there is another.
    fn behind_value(&mut self) -> Result<bool, Fault> {
        loop {
            self.space();
            if self.depth == 0 {
                return if self.at == self.text.len() {
                    Ok(false)
                } else {
                    Err(self.fault("nothing is expected behind the value"))
                };
            }
            let is_object = self.text[self.nodes[self.open[self.depth - 1] as usize].start as usize] == b'{';
            match (is_object, self.peek()) {
                (true, b'}') | (false, b']') => self.close(),
                (is_object, b',') => {
                    self.at += 1;
                    if is_object {
                        self.space();
                        self.name()?;
                    }
                    return Ok(true);
                }
                (true, _) => return Err(self.fault("\",\" or \"}\" is expected")),
                (false, _) => return Err(self.fault("\",\" or \"]\" is expected")),
            }
        }
    }

    /// Reads a member's name and the colon behind it.
    fn name(&mut self) -> Result<(), Fault> {
        if self.peek() != b'"' {
            return Err(self.fault("a member's name in quotes is expected"));
        }
        self.string()?;
        self.space();
        if self.peek() != b':' {
            return Err(self.fault("\":\" is expected"));
        }
        self.at += 1;
        Ok(())
    }

    fn string(&mut self) -> Result<(), Fault> {
        let start = self.at;
        self.at += 1;
        loop {
            self.at += plain(&self.text[self.at..]);
            match self.peek() {
                b'"' if self.at < self.text.len() => break,
                b'\\' => self.escape()?,
                _ if self.at >= self.text.len() => return Err(self.fault("the text ends within a string")),
                _ => return Err(self.fault("control characters in strings are written \\u00…")),
            }
        }
        self.at += 1;
        self.note(start, self.at)
    }

    fn escape(&mut self) -> Result<(), Fault> {
        let bytes = match self.text.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
            Some(b'u') => 6,
            _ => return Err(self.fault("an escape is one of \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\u0000")),
        };
        let digits = self.text.get(self.at + 2..self.at + bytes);
        if !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
            return Err(self.fault("\\u is followed by four hex digits"));
        }
        self.at += bytes;
        Ok(())
    }

    fn number(&mut self) -> Result<(), Fault> {
        let start = self.at;
        self.at += usize::from(self.peek() == b'-');
        if self.peek() == b'0' {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == b'.' {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), b'e' | b'E') {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), b'+' | b'-'));
            self.digits()?;
        }
        self.note(start, self.at)
    }

    fn digits(&mut self) -> Result<(), Fault> {
        let count = self.text[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        if count > 0 { Ok(()) } else { Err(self.fault("a digit is expected")) }
    }

    fn word(&mut self, word: &[u8]) -> Result<(), Fault> {
        if !self.text[self.at..].starts_with(word) {
            return Err(self.fault("a value is expected"));
        }
        self.at += word.len();
        self.note(self.at - word.len(), self.at)
    }

    fn note(&mut self, start: usize, end: usize) -> Result<(), Fault> {
        let next = self.nodes.len() + 1;
        if next > MAX_NODES {
            return Err(self.fault("the document has more than 500,000 values and names"));
        }
        self.nodes.push(Node { start: short(start), end: short(end), next: short(next) });
        Ok(())
    }

    fn space(&mut self) {
        while matches!(self.peek(), b' ' | b'\n' | b'\t' | b'\r') {
            self.at += 1;
        }
    }

    /// The next byte; behind the end a zero, which no JSON holds outside of strings.
    fn peek(&self) -> u8 {
        self.text.get(self.at).copied().unwrap_or(0)
    }

    fn fault(&self, why: &'static str) -> Fault {
        Fault { at: self.at, why }
    }
}

/// A place within a text of less than 4 GiB.
#[expect(clippy::cast_possible_truncation, reason = "the text's length was checked")]
fn short(place: usize) -> u32 {
    place as u32
}

/// How many bytes at the beginning stand in a string as they are; eight at a time (Mycroft's test for a small byte).
fn plain(text: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 0xff;
    const HIGH: u64 = ONES << 7;
    let (words, _) = text.as_chunks::<8>();
    for (index, bytes) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*bytes);
        let zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
        let found = control | zero(word ^ (ONES * u64::from(b'"'))) | zero(word ^ (ONES * u64::from(b'\\')));
        if found != 0 {
            // The lowest mark is exact; a borrow can only set marks above it.
            return index * 8 + (found.trailing_zeros() / 8) as usize;
        }
    }
    let rest = &text[words.len() * 8..];
    let is_plain = |byte: &&u8| **byte >= 0x20 && **byte != b'"' && **byte != b'\\';
    words.len() * 8 + rest.iter().take_while(is_plain).count()
}
