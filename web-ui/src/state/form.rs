//! The form of a source: what stands in its fields, and the definition that it makes.

mod fields;
mod guess;

pub use fields::{Field, field_of};
pub use guess::{kind as guess_kind, name as guess_name, topic as guess_topic};

use anode_shared::source::{FieldError, Ping, SourceDefinition, SourceKind};
use serde_json::Value;

use super::json::pretty;

/// What stands in the fields, as typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    name: String,
    kind: SourceKind,
    url: String,
    topic: String,
    emit: String,
    /// Whether a repeated payload is left out.
    pub only_changes: bool,
    /// Whether it is registered without being read.
    pub paused: bool,
    headers: Vec<(String, String)>,
    interval: String,
    /// Whether it is asked by POST.
    pub is_post: bool,
    body: String,
    timeout: String,
    open: Vec<String>,
    ping_every: String,
    ping_frame: String,
    stale: String,
    reconnect: String,
    /// Which fields still follow the URL.
    follows: Follows,
}

/// Which fields the visitor has not touched yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Follows {
    kind: bool,
    name: bool,
    topic: bool,
}

impl Default for Form {
    fn default() -> Self {
        Self {
            name: String::new(),
            kind: SourceKind::Rest,
            url: String::new(),
            topic: String::new(),
            emit: String::new(),
            only_changes: false,
            paused: false,
            headers: Vec::new(),
            interval: String::new(),
            is_post: false,
            body: String::new(),
            timeout: String::new(),
            open: Vec::new(),
            ping_every: String::new(),
            ping_frame: String::new(),
            stale: String::new(),
            reconnect: String::new(),
            follows: Follows { kind: true, name: true, topic: true },
        }
    }
}

impl Form {
    /// Fills the fields with a definition.
    pub fn of(definition: SourceDefinition) -> Self {
        let number = |value: Option<u64>| value.map(|value| value.to_string()).unwrap_or_default();
        let (ping_every, ping_frame) = definition
            .ping
            .map_or_else(Default::default, |ping| (ping.every_ms.to_string(), written(&ping.frame)));
        Self {
            name: definition.name,
            kind: definition.kind,
            url: definition.url,
            topic: definition.topic,
            emit: definition.emit.unwrap_or_default(),
            only_changes: definition.only_changes,
            paused: definition.paused,
            headers: definition.headers.into_iter().collect(),
            interval: number(definition.interval_ms),
            is_post: definition.method.is_some_and(|method| method == "POST"),
            body: definition.body.as_ref().map(written).unwrap_or_default(),
            timeout: number(definition.timeout_ms),
            open: definition.open.iter().map(written).collect(),
            ping_every,
            ping_frame,
            stale: number(definition.stale_after_ms),
            reconnect: number(definition.reconnect_after_ms),
            follows: Follows { kind: false, name: false, topic: false },
        }
    }

    /// The same for a source beside that one: it needs another name.
    #[must_use]
    pub fn duplicate(mut self) -> Self {
        self.name = format!("{}-copy", self.name);
        self
    }

    /// The kind.
    pub fn kind(&self) -> SourceKind {
        self.kind
    }

    /// Sets the kind, which follows the URL no longer.
    pub fn set_kind(&mut self, kind: SourceKind) {
        self.kind = kind;
        self.follows.kind = false;
    }

    /// How many headers there are.
    pub fn headers(&self) -> usize {
        self.headers.len()
    }

    /// How many opening frames there are.
    pub fn frames(&self) -> usize {
        self.open.len()
    }

    /// Adds an empty header.
    pub fn add_header(&mut self) {
        self.headers.push(Default::default());
    }

    /// Adds an empty opening frame.
    pub fn add_frame(&mut self) {
        self.open.push(String::new());
    }

    /// Takes a header or an opening frame out.
    pub fn remove(&mut self, field: Field) {
        match field {
            Field::HeaderName(place) | Field::HeaderValue(place) if place < self.headers.len() => {
                self.headers.remove(place);
            }
            Field::Frame(place) if place < self.open.len() => {
                self.open.remove(place);
            }
            _ => {}
        }
    }

    /// Whether anything stands in the fields that are folded away at first.
    pub fn has_more(&self) -> bool {
        [&self.timeout, &self.stale, &self.reconnect, &self.ping_every, &self.ping_frame]
            .iter()
            .any(|text| !text.is_empty())
    }

    /// The secrets that the fields name, each once.
    pub fn secrets(&self) -> Vec<String> {
        let values = self.headers.iter().map(|(_, value)| value);
        let texts = [&self.url, &self.body, &self.ping_frame].into_iter().chain(values).chain(&self.open);
        let mut names = Vec::new();
        for text in texts {
            for rest in text.split("${secret:").skip(1) {
                if let Some((name, _)) = rest.split_once('}')
                    && !names.iter().any(|other| other == name)
                {
                    names.push(name.to_owned());
                }
            }
        }
        names
    }

    /// Changes a field; a new URL moves on those that follow it.
    pub fn set(&mut self, field: Field, text: String) {
        match field {
            Field::Name => self.follows.name = false,
            Field::Topic => self.follows.topic = false,
            _ => {}
        }
        if let Some(place) = self.place(field) {
            *place = text;
        }
        if field == Field::Url {
            self.follow();
        }
    }

    fn follow(&mut self) {
        if self.follows.kind {
            self.kind = guess::kind(&self.url);
        }
        if self.follows.name {
            self.name = guess::name(&self.url);
        }
        if self.follows.topic {
            self.topic = guess::topic(&self.url);
        }
    }

    /// The definition.
    ///
    /// # Errors
    /// With all that is wrong with the fields, as far as their text shows it.
    pub fn definition(&self) -> Result<SourceDefinition, Vec<FieldError>> {
        let mut wrong = Vec::new();
        let definition = self.read(&mut wrong);
        let found = definition.check();
        // A number that could not be read counts once.
        wrong.extend(found.into_iter().filter(|error| !error.field.is_empty()));
        if wrong.is_empty() { Ok(definition) } else { Err(wrong) }
    }

    fn read(&self, wrong: &mut Vec<FieldError>) -> SourceDefinition {
        let (rest, socket) = (self.kind == SourceKind::Rest, self.kind == SourceKind::Websocket);
        let mut number = |field: Field, text: &str, is_used: bool| {
            let text = text.trim();
            if !is_used || text.is_empty() {
                return None;
            }
            let value = text.replace(['_', ' ', ','], "").parse().ok();
            if value.is_none() {
                let detail = "a whole number of milliseconds".to_owned();
                wrong.push(FieldError { field: field.path(), detail });
            }
            value
        };
        let interval_ms = number(Field::Interval, &self.interval, rest);
        let timeout_ms = number(Field::Timeout, &self.timeout, true);
        let stale_after_ms = number(Field::Stale, &self.stale, true);
        let reconnect_after_ms = number(Field::Reconnect, &self.reconnect, !rest);
        let every = number(Field::PingEvery, &self.ping_every, socket);
        let has_ping = socket && !(self.ping_every.trim().is_empty() && self.ping_frame.trim().is_empty());
        let ping =
            has_ping.then(|| Ping { every_ms: every.unwrap_or_default(), frame: value(&self.ping_frame) });
        if has_ping && self.ping_every.trim().is_empty() {
            let detail = "how often the frame is sent is missing".to_owned();
            wrong.push(FieldError { field: Field::PingEvery.path(), detail });
        }
        let optional = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let is_post = rest && self.is_post;
        SourceDefinition {
            name: self.name.trim().to_owned(),
            kind: self.kind,
            url: self.url.trim().to_owned(),
            topic: self.topic.trim().to_owned(),
            emit: optional(&self.emit),
            only_changes: self.only_changes,
            paused: self.paused,
            headers: self.read_headers(wrong),
            interval_ms,
            method: is_post.then(|| "POST".to_owned()),
            body: optional(&self.body).filter(|_| is_post).map(|text| value(&text)),
            timeout_ms,
            open: self
                .open
                .iter()
                .filter(|text| socket && !text.trim().is_empty())
                .map(|text| value(text))
                .collect(),
            ping,
            stale_after_ms,
            reconnect_after_ms,
        }
    }

    fn read_headers(&self, wrong: &mut Vec<FieldError>) -> std::collections::BTreeMap<String, String> {
        let mut headers = std::collections::BTreeMap::new();
        for (place, (name, value)) in self.headers.iter().enumerate() {
            let name = name.trim();
            let say = |detail: &str| FieldError {
                field: Field::HeaderName(place).path(),
                detail: detail.to_owned(),
            };
            if name.is_empty() && value.is_empty() {
                continue;
            }
            if name.is_empty() {
                wrong.push(say("the header's name is missing"));
            } else if headers.insert(name.to_owned(), value.trim().to_owned()).is_some() {
                wrong.push(say("this header is there already"));
            }
        }
        headers
    }

    /// The place of the header that an error names: `headers.X-Key`.
    pub fn header_place(&self, name: &str) -> Option<usize> {
        self.headers.iter().position(|(other, _)| other.trim().eq_ignore_ascii_case(name))
    }
}

/// A body or frame as it stands in its field: objects and lists as JSON, a text as it is.
fn written(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => pretty(&other.to_string()),
    }
}

/// Reads a field that holds a body or a frame: an object or a list is JSON, anything else is sent as it is typed.
fn value(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(json @ (Value::Object(_) | Value::Array(_))) => json,
        _ => Value::String(text.trim().to_owned()),
    }
}

/// Whether a field looks like JSON and is none: it is sent as typed, and that is worth a word.
pub fn is_broken_json(text: &str) -> bool {
    text.trim_start().starts_with(['{', '[']) && serde_json::from_str::<Value>(text).is_err()
}

#[cfg(test)]
mod tests;
