//! What a definition may hold: the same rules in the node, the commands and the browser's form.

use super::{SourceDefinition, SourceKind};

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
    /// The longest of all times, milliseconds: a day.
    pub time_ms: u64,
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
    time_ms: 86_400_000,
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

impl SourceDefinition {
    /// Everything that is wrong with the definition as far as its text shows it. Expressions and addresses are
    /// checked by the node.
    pub fn check(&self) -> Vec<FieldError> {
        let mut found = Vec::new();
        let mut say =
            |field: &str, detail: String| found.push(FieldError { field: field.to_owned(), detail });
        if !is_name(&self.name) {
            say("name", format!("a name has 1 to {} of a-z, 0-9, _ and -", LIMITS.name));
        }
        self.check_url(&mut say);
        self.check_kind(&mut say);
        found
    }

    fn check_url(&self, say: &mut impl FnMut(&str, String)) {
        let schemes: &[&str] = match self.kind {
            SourceKind::Rest | SourceKind::Sse => &["https://", "http://"],
            SourceKind::Websocket => &["wss://", "ws://"],
        };
        if self.url.len() > LIMITS.url {
            say("url", format!("the URL has {} bytes; at most {} are taken", self.url.len(), LIMITS.url));
        } else if !schemes.iter().any(|scheme| self.url.to_ascii_lowercase().starts_with(scheme)) {
            say("url", format!("the URL begins with {}", schemes.join(" or ")));
        }
    }

    fn check_kind(&self, say: &mut impl FnMut(&str, String)) {
        if self.topic.is_empty() {
            say("topic", "the topic is missing".to_owned());
        }
    }
}

/// Whether a text can be a source's name.
fn is_name(text: &str) -> bool {
    (1..=LIMITS.name).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
}
