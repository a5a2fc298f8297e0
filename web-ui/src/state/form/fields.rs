//! The fields of the form: how each is called on the page and in the definition.

use super::Form;

/// A field that holds a text, in the order of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "named as in the definition")]
pub enum Field {
    Url,
    Name,
    Topic,
    Interval,
    Body,
    Frame(usize),
    Emit,
    HeaderName(usize),
    HeaderValue(usize),
    Timeout,
    Stale,
    Reconnect,
    PingEvery,
    PingFrame,
}

impl Field {
    /// The label on the page.
    pub fn label(self) -> String {
        match self {
            Self::Name => "Name".to_owned(),
            Self::Url => "URL".to_owned(),
            Self::Topic => "Topic".to_owned(),
            Self::Emit => "Emit".to_owned(),
            Self::HeaderName(place) => format!("Header {}", place + 1),
            Self::HeaderValue(place) => format!("Value {}", place + 1),
            Self::Interval => "Interval (ms)".to_owned(),
            Self::Body => "Body".to_owned(),
            Self::Timeout => "Timeout (ms)".to_owned(),
            Self::Frame(place) => format!("Opening frame {}", place + 1),
            Self::PingEvery => "Ping every (ms)".to_owned(),
            Self::PingFrame => "Ping frame".to_owned(),
            Self::Stale => "Stale after (ms)".to_owned(),
            Self::Reconnect => "Reconnect after (ms)".to_owned(),
        }
    }

    /// Its element's id.
    pub fn id(self) -> String {
        match self {
            Self::HeaderName(place) => format!("source-header-{place}"),
            Self::HeaderValue(place) => format!("source-value-{place}"),
            Self::Frame(place) => format!("source-open-{place}"),
            other => format!("source-{}", other.path().replace(['.', '_'], "-")),
        }
    }

    /// Its path in the definition, as errors name it. Headers go by their place here: their names may be empty.
    pub fn path(self) -> String {
        match self {
            Self::Name => "name".to_owned(),
            Self::Url => "url".to_owned(),
            Self::Topic => "topic".to_owned(),
            Self::Emit => "emit".to_owned(),
            Self::HeaderName(place) | Self::HeaderValue(place) => format!("headers[{place}]"),
            Self::Interval => "interval_ms".to_owned(),
            Self::Body => "body".to_owned(),
            Self::Timeout => "timeout_ms".to_owned(),
            Self::Frame(place) => format!("open[{place}]"),
            Self::PingEvery => "ping.every_ms".to_owned(),
            Self::PingFrame => "ping.frame".to_owned(),
            Self::Stale => "stale_after_ms".to_owned(),
            Self::Reconnect => "reconnect_after_ms".to_owned(),
        }
    }
}

/// The field that an error's path names; `None` where the page has none for it.
pub fn field_of(path: &str, form: &Form) -> Option<Field> {
    let plain = [
        Field::Name,
        Field::Url,
        Field::Topic,
        Field::Emit,
        Field::Interval,
        Field::Body,
        Field::Timeout,
        Field::PingEvery,
        Field::PingFrame,
        Field::Stale,
        Field::Reconnect,
    ];
    if let Some(field) = plain.into_iter().find(|field| field.path() == path) {
        return Some(field);
    }
    let place = |start: &str| path.strip_prefix(start)?.strip_suffix(']')?.parse::<usize>().ok();
    if let Some(place) = place("open[").filter(|place| *place < form.frames()) {
        return Some(Field::Frame(place));
    }
    if let Some(place) = place("headers[").filter(|place| *place < form.headers()) {
        return Some(Field::HeaderName(place));
    }
    match path {
        "ping" => Some(Field::PingEvery),
        "open" if form.frames() > 0 => Some(Field::Frame(0)),
        "headers" if form.headers() > 0 => Some(Field::HeaderName(0)),
        _ => path.strip_prefix("headers.").and_then(|name| form.header_place(name)).map(Field::HeaderValue),
    }
}

impl Form {
    /// What stands in a field.
    pub fn get(&self, field: Field) -> &str {
        match field {
            Field::Name => &self.name,
            Field::Url => &self.url,
            Field::Topic => &self.topic,
            Field::Emit => &self.emit,
            Field::HeaderName(place) => self.headers.get(place).map_or("", |(name, _)| name),
            Field::HeaderValue(place) => self.headers.get(place).map_or("", |(_, value)| value),
            Field::Interval => &self.interval,
            Field::Body => &self.body,
            Field::Timeout => &self.timeout,
            Field::Frame(place) => self.open.get(place).map_or("", |frame| frame),
            Field::PingEvery => &self.ping_every,
            Field::PingFrame => &self.ping_frame,
            Field::Stale => &self.stale,
            Field::Reconnect => &self.reconnect,
        }
    }

    pub(super) fn place(&mut self, field: Field) -> Option<&mut String> {
        Some(match field {
            Field::Name => &mut self.name,
            Field::Url => &mut self.url,
            Field::Topic => &mut self.topic,
            Field::Emit => &mut self.emit,
            Field::HeaderName(place) => &mut self.headers.get_mut(place)?.0,
            Field::HeaderValue(place) => &mut self.headers.get_mut(place)?.1,
            Field::Interval => &mut self.interval,
            Field::Body => &mut self.body,
            Field::Timeout => &mut self.timeout,
            Field::Frame(place) => self.open.get_mut(place)?,
            Field::PingEvery => &mut self.ping_every,
            Field::PingFrame => &mut self.ping_frame,
            Field::Stale => &mut self.stale,
            Field::Reconnect => &mut self.reconnect,
        })
    }
}

impl Field {
    /// Whether it holds a number.
    pub fn is_number(self) -> bool {
        matches!(self, Self::Interval | Self::Timeout | Self::PingEvery | Self::Stale | Self::Reconnect)
    }
}
