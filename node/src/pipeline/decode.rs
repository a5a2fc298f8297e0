//! An answer's bytes: JSON, text, or neither.

use anode_shared::publish::MAX_CONTENT_TYPE;
use anode_shared::source::Stage;
use bytes::Bytes;

use super::{PipelineError, Raw, words};
use crate::expression::json::Json;

/// A decoded answer.
#[derive(Debug)]
pub(super) enum Decoded {
    /// There is nothing in it.
    Nothing,
    /// JSON.
    Json(Json),
    /// Text, or bytes that are none; with what they are.
    Other(Bytes, String),
}

/// Decodes an answer: as JSON where it is called so, or looks so.
pub(super) fn decode(raw: &Raw<'_>) -> Result<Decoded, PipelineError> {
    let bytes = raw
        .bytes
        .strip_prefix(b"\xef\xbb\xbf")
        .map_or_else(|| raw.bytes.clone(), |rest| raw.bytes.slice_ref(rest));
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    let is_called_json = raw.content_type.map(is_json);
    let Some(first) = first else {
        let is_missed = is_called_json == Some(true) && raw.status != 204;
        return if is_missed {
            Err(error("the answer is empty; JSON was expected".to_owned()))
        } else {
            Ok(Decoded::Nothing)
        };
    };
    let looks_so = matches!(first, b'{' | b'[');
    match (is_called_json, Json::read(bytes.clone())) {
        (Some(true) | None, Ok(json)) => Ok(Decoded::Json(json)),
        (Some(false), Ok(json)) if looks_so => Ok(Decoded::Json(json)),
        (Some(true), Err(fault)) => Err(error(words::fault(&fault, &bytes))),
        (None, Err(fault)) if looks_so => Err(error(words::fault(&fault, &bytes))),
        _ => {
            let kind = content_type(raw.content_type, &bytes);
            Ok(Decoded::Other(bytes, kind))
        }
    }
}

fn error(detail: String) -> PipelineError {
    PipelineError { stage: Stage::Decode, field: None, detail }
}

/// Whether a content type means JSON: `application/json`, `text/json`, `application/…+json`.
fn is_json(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind.ends_with("/json") || kind.ends_with("+json")
}

/// The upstream's content type without the bytes that none holds, or what the bytes look like.
fn content_type(said: Option<&str>, bytes: &[u8]) -> String {
    let clean: String =
        said.unwrap_or_default().chars().filter(|c| (' '..='~').contains(c)).take(MAX_CONTENT_TYPE).collect();
    let clean = clean.trim();
    if clean.split(';').next().is_some_and(|kind| kind.contains('/')) {
        clean.to_owned()
    } else if std::str::from_utf8(bytes).is_ok() {
        "text/plain".to_owned()
    } else {
        "application/octet-stream".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], content_type: Option<&str>) -> String {
        let raw = Raw { bytes: Bytes::copy_from_slice(bytes), content_type, status: 200, fetched: 0 };
        match decode(&raw) {
            Ok(Decoded::Nothing) => "nothing".to_owned(),
            Ok(Decoded::Json(json)) => format!("json {}", String::from_utf8_lossy(json.text())),
            Ok(Decoded::Other(_, kind)) => kind,
            Err(error) => format!("error {}", error.detail),
        }
    }

    #[test]
    fn it_decodes_by_content_type_and_by_looking() {
        let json = Some("application/json; charset=utf-8");
        for (bytes, content_type, expected) in [
            (&b"{\"a\": 1.10}"[..], json, "json {\"a\": 1.10}"),
            (b" [1]\n", Some("text/plain"), "json [1]"),
            (b"\xef\xbb\xbf{}", json, "json {}"),
            (b"5", None, "json 5"),
            (b"5", Some("text/plain"), "text/plain"),
            (b"5", Some("application/problem+json"), "json 5"),
            (b"pong", None, "text/plain"),
            (b"{pong}", Some("text/html"), "text/html"),
            (b"\xff\x00", None, "application/octet-stream"),
            (b"\xff\x00", Some("image/png"), "image/png"),
            (b"a,b", Some("text/csv;\r\n header=\"xä\""), "text/csv; header=\"x\""),
            (b"a,b", Some("csv"), "text/plain"),
            (b"", Some("text/plain"), "nothing"),
            (b" \n", None, "nothing"),
        ] {
            assert_eq!(check(bytes, content_type), expected);
        }
    }

    #[test]
    fn it_says_where_an_answer_is_no_json() {
        let json = Some("application/json");
        let deep = "[".repeat(100_000);
        for (bytes, content_type, words) in [
            (&b"{\"a\": 1,\n \"b\" 2}"[..], json, "line 2, column 6: \":\" is expected"),
            (b"", json, "empty"),
            (b"<html>", json, "line 1, column 1: a value is expected, not \"<html>\""),
            (b"{\"a\"", None, "the text ends"),
            (b"{\"a\": \xff}", json, "UTF-8"),
            (deep.as_bytes(), json, "deeper than 128"),
        ] {
            let said = check(bytes, content_type);
            assert!(said.starts_with("error ") && said.contains(words), "{said}");
        }
    }
}
