//! What a definition may hold: the same rules in the node, the commands and the browser's form.

use serde_json::Value;

use super::{SourceDefinition, SourceKind, secret};

mod request;
mod topic;

/// The bounds of a definition's numbers.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The longest name, bytes.
    pub name: usize,
    /// The longest URL, bytes.
    pub url: usize,
    /// The longest expression or topic template, bytes.
    pub expression: usize,
    /// The most headers.
    pub headers: usize,
    /// The longest header value, body or frame, bytes.
    pub text: usize,
    /// The most opening frames.
    pub frames: usize,
    /// The shortest interval, milliseconds.
    pub interval_ms: u64,
    /// The shortest of all other times, milliseconds.
    pub least_ms: u64,
    /// The longest of all times, milliseconds: a day.
    pub time_ms: u64,
    /// The longest that a poll or connecting may take, milliseconds.
    pub timeout_ms: u64,
}

/// The bounds in force.
pub const LIMITS: Limits = Limits {
    name: 64,
    url: 4_096,
    expression: 4_096,
    headers: 64,
    text: 64 << 10,
    frames: 64,
    interval_ms: 50,
    least_ms: 100,
    time_ms: 86_400_000,
    timeout_ms: 300_000,
};

/// What is wrong with a field, in words for whoever filled it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FieldError {
    /// The field: `url`, `headers.X-Key`, `open[0]`, ….
    pub field: String,
    /// What is wrong, and what to write instead.
    pub detail: String,
}

/// What was found to be wrong.
#[derive(Debug, Default)]
struct Found(Vec<FieldError>);

impl Found {
    fn say(&mut self, field: impl Into<String>, detail: impl Into<String>) {
        self.0.push(FieldError { field: field.into(), detail: detail.into() });
    }

    /// A text whose references to secrets must be well formed.
    fn references(&mut self, field: &str, text: &str) {
        if let Err(why) = secret::names(text) {
            self.say(field, why);
        }
    }

    /// A text that may hold no references to secrets.
    fn plain(&mut self, field: &str, text: &str) {
        if text.contains(secret::OPENING) {
            self.say(
                field,
                "secrets are taken in the URL, in header values, in the body and in frames, and nowhere else",
            );
        }
    }

    fn time(&mut self, field: &str, value: Option<u64>, least: u64, most: u64) {
        if let Some(value) = value
            && !(least..=most).contains(&value)
        {
            self.say(field, format!("{value} ms is out of bounds; {least} to {most} are taken"));
        }
    }

    fn frame(&mut self, field: &str, frame: &Value) {
        let text = text_of(frame);
        if text.len() > LIMITS.text {
            self.say(field, format!("it has {} bytes; at most {} are taken", text.len(), LIMITS.text));
        }
        self.references(field, &text);
    }
}

/// What is sent for a body or a frame: a string as it is, anything else as JSON.
pub fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Every field of a definition.
pub const FIELDS: [&str; 16] = [
    "name",
    "kind",
    "url",
    "topic",
    "emit",
    "only_changes",
    "paused",
    "headers",
    "interval_ms",
    "method",
    "body",
    "timeout_ms",
    "open",
    "ping",
    "stale_after_ms",
    "reconnect_after_ms",
];

impl SourceDefinition {
    /// Reads a definition, naming each field that is missing, unknown, or not what it should be.
    ///
    /// # Errors
    /// With everything that is wrong about its form; what it may hold, [`SourceDefinition::check`] says.
    pub fn read(value: Value) -> Result<Self, Vec<FieldError>> {
        let Value::Object(members) = &value else {
            let detail = "a source is an object with name, kind, url and topic".to_owned();
            return Err(vec![FieldError { field: String::new(), detail }]);
        };
        let mut found = Found::default();
        for field in
            ["name", "kind", "url", "topic"].into_iter().filter(|field| !members.contains_key(*field))
        {
            found.say(field, format!("{field} is missing"));
        }
        for (field, value) in members {
            if !FIELDS.contains(&field.as_str()) {
                let shown: String = field.chars().take(80).collect();
                found.say(shown, format!("there is no such field; there are {}", FIELDS.join(", ")));
                continue;
            }
            // Alone among fields that are right, it is to blame for what cannot be read.
            let mut alone = serde_json::json!({"name": "", "kind": "rest", "url": "", "topic": ""});
            alone[field] = value.clone();
            if let Err(error) = serde_json::from_value::<Self>(alone) {
                found.say(field, error.to_string());
            }
        }
        if !found.0.is_empty() {
            return Err(found.0);
        }
        serde_json::from_value(value)
            .map_err(|error| vec![FieldError { field: String::new(), detail: error.to_string() }])
    }

    /// Everything that is wrong with the definition as far as its text shows it. Expressions and addresses are
    /// checked by the node.
    pub fn check(&self) -> Vec<FieldError> {
        let mut found = Found::default();
        if !is_name(&self.name) {
            found.say("name", format!("a name has 1 to {} of a-z, 0-9, _ and -", LIMITS.name));
        }
        self.check_kind(&mut found);
        request::check(self, &mut found);
        topic::check(&self.topic, &mut found);
        if let Some(emit) = &self.emit {
            expression("emit", emit, &mut found);
        }
        self.check_times(&mut found);
        self.check_frames(&mut found);
        found.0
    }

    /// Names each field that belongs to another kind.
    fn check_kind(&self, found: &mut Found) {
        use SourceKind::{Rest, Sse, Websocket};
        let fields: [(&str, bool, &[SourceKind]); 6] = [
            ("interval_ms", self.interval_ms.is_some(), &[Rest]),
            ("method", self.method.is_some(), &[Rest]),
            ("body", self.body.is_some(), &[Rest]),
            ("open", !self.open.is_empty(), &[Websocket]),
            ("ping", self.ping.is_some(), &[Websocket]),
            ("reconnect_after_ms", self.reconnect_after_ms.is_some(), &[Websocket, Sse]),
        ];
        for (field, given, kinds) in fields {
            if given && !kinds.contains(&self.kind) {
                let kinds: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
                let (own, theirs) = (self.kind.as_str(), kinds.join(" and "));
                found.say(
                    field,
                    format!("{field} belongs to sources of kind {theirs}, and this one is {own}"),
                );
            }
        }
    }

    fn check_times(&self, found: &mut Found) {
        found.time("interval_ms", self.interval_ms, LIMITS.interval_ms, LIMITS.time_ms);
        found.time("timeout_ms", self.timeout_ms, LIMITS.least_ms, LIMITS.timeout_ms);
        found.time("stale_after_ms", self.stale_after_ms, LIMITS.least_ms, LIMITS.time_ms);
        found.time("reconnect_after_ms", self.reconnect_after_ms, 1_000, LIMITS.time_ms);
        let every = self.ping.as_ref().map(|ping| ping.every_ms);
        found.time("ping.every_ms", every, LIMITS.least_ms, LIMITS.time_ms);
    }

    fn check_frames(&self, found: &mut Found) {
        if self.open.len() > LIMITS.frames {
            let detail = format!("there are {} frames; at most {} are taken", self.open.len(), LIMITS.frames);
            found.say("open", detail);
        }
        for (place, frame) in self.open.iter().enumerate().take(LIMITS.frames) {
            found.frame(&format!("open[{place}]"), frame);
        }
        if let Some(ping) = &self.ping {
            found.frame("ping.frame", &ping.frame);
        }
        if let Some(body) = &self.body {
            found.frame("body", body);
        }
    }
}

/// An expression as far as its text shows it; the node compiles it.
fn expression(field: &str, text: &str, found: &mut Found) {
    if text.trim().is_empty() {
        found.say(field, "the expression is empty; leave the field out where there is none");
    }
    if text.len() > LIMITS.expression {
        let most = LIMITS.expression;
        found.say(field, format!("the expression has {} bytes; at most {most} are taken", text.len()));
    }
    found.plain(field, text);
}

/// Whether a text can be a source's name.
pub fn is_name(text: &str) -> bool {
    (1..=LIMITS.name).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
}

#[cfg(test)]
mod tests;
