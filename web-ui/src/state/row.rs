//! The rows of the live list.

use anode_shared::frames::{GapBody, GapReason, RecordBody};
use anode_shared::time::from_rfc3339;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{json, number};

/// How many characters of a payload a closed row shows; more does not fit on any screen.
const PREVIEW: usize = 240;

/// One row of the list.
#[derive(Debug, Clone, PartialEq)]
pub enum Row {
    /// A record.
    Record(Box<RecordRow>),
    /// Records that will not come.
    Gap(GapBody),
    /// A word of the page itself, such as that it was away.
    Note(String),
}

/// A record as the list shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordRow {
    /// `<origin>/<log>/<seq>`.
    pub id: String,
    /// Its topic.
    pub topic: String,
    /// When its origin accepted it, RFC 3339.
    pub time: String,
    /// The same in milliseconds since the Unix epoch.
    pub at: f64,
    /// Who it came from: the source's name, or who published it.
    pub from: Option<String>,
    /// The scheme of the publisher's own signature.
    pub signed: Option<String>,
    /// Its payload.
    pub payload: Payload,
}

/// A payload as the list shows it.
#[derive(Debug, Clone, PartialEq)]
pub enum Payload {
    /// JSON, byte for byte.
    Json(String),
    /// Another text.
    Text {
        /// Its content type.
        kind: String,
        /// The text.
        text: String,
    },
    /// Bytes, in base64.
    Bytes {
        /// Their content type.
        kind: String,
        /// How many.
        count: usize,
        /// The bytes in base64.
        base64: String,
    },
}

impl Payload {
    fn of(body: &mut RecordBody) -> Self {
        if let Some(json) = body.payload.take() {
            return Self::Json(json.get().to_owned());
        }
        let base64 = body.payload_base64.take().unwrap_or_default();
        let kind = body.content_type.take().unwrap_or_default();
        let bytes = STANDARD.decode(&base64).unwrap_or_default();
        let count = bytes.len();
        match String::from_utf8(bytes) {
            Ok(text) if !text.chars().any(|c| c.is_control() && !c.is_whitespace()) => {
                Self::Text { kind, text }
            }
            _ => Self::Bytes { kind, count, base64 },
        }
    }

    /// What a closed row shows.
    pub fn preview(&self) -> String {
        let text = match self {
            Self::Json(text) | Self::Text { text, .. } => text,
            Self::Bytes { kind, count, .. } => {
                return format!("{} of {kind}", number::bytes(count_of(*count)));
            }
        };
        let mut words =
            text.split_ascii_whitespace().flat_map(|word| [" ", word]).skip(1).flat_map(str::chars);
        let mut preview: String = words.by_ref().take(PREVIEW).collect();
        if words.next().is_some() {
            preview.push('…');
        }
        preview
    }

    /// The payload as it came.
    pub fn raw(&self) -> &str {
        match self {
            Self::Json(text) | Self::Text { text, .. } => text,
            Self::Bytes { base64, .. } => base64,
        }
    }

    /// The payload laid out.
    pub fn pretty(&self) -> String {
        match self {
            Self::Json(text) => json::pretty(text),
            other => other.raw().to_owned(),
        }
    }

    /// Its content type.
    pub fn kind(&self) -> &str {
        match self {
            Self::Json(_) => "application/json",
            Self::Text { kind, .. } | Self::Bytes { kind, .. } => kind,
        }
    }
}

fn count_of(bytes: usize) -> f64 {
    u32::try_from(bytes).map_or(f64::MAX, f64::from)
}

impl From<RecordBody> for RecordRow {
    fn from(mut body: RecordBody) -> Self {
        let payload = Payload::of(&mut body);
        Self {
            at: millis(&body.time),
            id: body.id,
            topic: body.topic,
            time: body.time,
            from: body.source.or(body.publisher),
            signed: body.publisher_signature.map(|signature| signature.scheme),
            payload,
        }
    }
}

/// An RFC 3339 time in milliseconds since the Unix epoch; 0 where it is none.
pub fn millis(time: &str) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "microseconds of today need 51 of the 53 bits")]
    from_rfc3339(time).map_or(0.0, |micros| micros as f64 / 1e3)
}

/// An id that is shown where there is little room: the ends of a long name.
pub fn short(name: &str) -> String {
    let chars: Vec<char> = name.chars().collect();
    match chars.len() {
        0..=14 => name.to_owned(),
        length => chars[..6].iter().chain(&['…']).chain(&chars[length - 6..]).collect(),
    }
}

/// A record's id, short: the end of its origin, and its place.
pub fn short_id(id: &str) -> String {
    let mut parts = id.rsplit('/');
    let (seq, _, origin) = (parts.next().unwrap_or(""), parts.next(), parts.next().unwrap_or(""));
    let from = origin.char_indices().rev().nth(4).map_or(0, |(place, _)| place);
    format!("…{}/{seq}", &origin[from..])
}

/// A gap in a sentence.
pub fn gap_words(gap: &GapBody) -> String {
    let missing = (gap.to + 1).saturating_sub(gap.from);
    let reason = match gap.reason {
        GapReason::Expired => "retention dropped them",
        GapReason::Unreachable => "no node that is reachable has them",
        GapReason::Forked => "their origin signed two versions",
        GapReason::Corrupt => "they are damaged on disk",
    };
    let records = if missing == 1 { "record is" } else { "records are" };
    #[expect(clippy::cast_precision_loss, reason = "shown rounded anyway")]
    let missing = number::count(missing as f64);
    format!("{missing} {records} missing: {reason}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(json: &str) -> RecordRow {
        let json = format!(r#"{{"id":"o/l/1","topic":"a.b","time":"2026-11-23T02:47:00.123456Z",{json}}}"#);
        serde_json::from_str::<RecordBody>(&json).unwrap().into()
    }

    #[test]
    fn it_keeps_json_as_it_came() {
        let row = row(r#""source":null,"publisher":"admin","payload":{"x" :  1.50}"#);
        assert_eq!(row.payload.raw(), r#"{"x" :  1.50}"#);
        assert_eq!(row.payload.preview(), r#"{"x" : 1.50}"#);
        assert_eq!(row.payload.pretty(), "{\n  \"x\": 1.50\n}");
        assert_eq!((row.at, row.from.as_deref()), (1_795_402_020_123.456, Some("admin")));
    }

    #[test]
    fn it_shows_other_payloads_as_text_or_bytes() {
        let text =
            row(r#""source":"s","publisher":null,"payload_base64":"aGk=","content_type":"text/plain""#);
        assert_eq!((text.payload.preview().as_str(), text.payload.kind()), ("hi", "text/plain"));
        let bytes =
            row(r#""source":"s","publisher":null,"payload_base64":"AP8=","content_type":"image/png""#);
        assert_eq!((bytes.payload.preview().as_str(), bytes.payload.raw()), ("2 B of image/png", "AP8="));
    }

    #[test]
    fn it_cuts_long_payloads() {
        let long = row(&format!(r#""source":null,"publisher":null,"payload":"{}""#, "ä ".repeat(400)));
        assert_eq!(long.payload.preview().chars().count(), PREVIEW + 1);
    }

    #[test]
    fn it_shortens_names() {
        assert_eq!(short("12D3KooWAbCdEfGhIjKlMnOp"), "12D3Ko…KlMnOp");
        assert_eq!(short("short"), "short");
        assert_eq!(short_id("12D3KooWAbCdE/692273a45f3a9c01/1042"), "…AbCdE/1042");
        assert_eq!(short_id("o/l/1"), "…o/1");
        assert_eq!(short_id(""), "…/");
    }

    #[test]
    fn it_says_what_is_missing() {
        let gap = |from, to, reason| gap_words(&GapBody { log: "o/l".to_owned(), from, to, reason });
        assert_eq!(gap(1, 1, GapReason::Expired), "1 record is missing: retention dropped them");
        assert_eq!(gap(1, 1_200, GapReason::Corrupt), "1,200 records are missing: they are damaged on disk");
    }
}
