//! The headers that go out.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use url::Url;

use crate::source::failure::Failure;
use crate::source::secrets::Secrets;

/// What the node calls itself where a source names no `User-Agent` of its own.
pub const AGENT: &str = concat!("anode/", env!("CARGO_PKG_VERSION"));

/// Headers that belong to the connection, not to whoever defines a source: a second meaning of where a message ends
/// lets one request hide in another (RFC 9112, section 11).
const OWN: [&str; 15] = [
    "connection",
    "content-length",
    "expect",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "sec-websocket-accept",
    "sec-websocket-extensions",
    "sec-websocket-key",
    "sec-websocket-version",
    "te",
    "trailer",
    "trailers",
    "transfer-encoding",
    "upgrade",
];

/// Makes headers of a definition's, with its secrets written out. Those that hold one are marked as sensitive.
///
/// # Errors
/// With the header that is wrong; never with its value.
pub fn outgoing(headers: &BTreeMap<String, String>, secrets: &Secrets) -> Result<HeaderMap, Failure> {
    let mut out = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        let wrong = |detail: String| Failure::of_field(format!("headers.{name}"), detail);
        let key = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| wrong(format!("`{name}` is no header's name")))?;
        if OWN.contains(&key.as_str()) {
            return Err(wrong(format!("{name} is set by the node itself; leave it out")));
        }
        let resolved = secrets.resolve(value).map_err(|missing| wrong(missing.to_string()))?;
        let mut value = HeaderValue::from_str(resolved.expose()).map_err(|_| {
            wrong(format!("the value of {name} holds line breaks or other control characters"))
        })?;
        value.set_sensitive(resolved.is_secret() || key == AUTHORIZATION);
        out.insert(key, value);
    }
    Ok(out)
}

/// Moves a URL's user and password into an `Authorization` header, unless there is one.
pub fn basic(url: &mut Url, headers: &mut HeaderMap) {
    if url.username().is_empty() && url.password().is_none() {
        return;
    }
    let pair = [decode(url.username()), b":".to_vec(), decode(url.password().unwrap_or_default())].concat();
    if let Ok(mut value) = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair))) {
        value.set_sensitive(true);
        headers.entry(AUTHORIZATION).or_insert(value);
    }
    let _ = url.set_username("");
    let _ = url.set_password(None);
}

/// Percent-decodes.
fn decode(text: &str) -> Vec<u8> {
    let digit = |place: usize| text.as_bytes().get(place).and_then(|byte| char::from(*byte).to_digit(16));
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.as_bytes().get(at) {
        let code = (byte == b'%').then(|| Some(digit(at + 1)? * 16 + digit(at + 2)?)).flatten();
        let (byte, length) =
            code.and_then(|code| u8::try_from(code).ok()).map_or((byte, 1), |byte| (byte, 3));
        out.push(byte);
        at += length;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_makes_basic_authorization_of_user_and_password() {
        for (url, expected) in [
            ("http://a.example/", None),
            ("http://Aladdin:open%20sesame@a.example/", Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")),
            ("http://user@a.example/", Some("Basic dXNlcjo=")),
            ("http://:p%zz@a.example/", Some("Basic OnAleno=")),
        ] {
            let (mut url, mut headers) = (Url::parse(url).unwrap(), HeaderMap::new());
            basic(&mut url, &mut headers);
            let header = headers.get(AUTHORIZATION);
            assert_eq!(header.map(|value| value.to_str().unwrap()), expected);
            assert!(header.is_none_or(HeaderValue::is_sensitive) && url.as_str() == "http://a.example/");
        }
        let (mut url, mut headers) = (Url::parse("http://u:p@a.example/").unwrap(), HeaderMap::new());
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer x"));
        basic(&mut url, &mut headers);
        assert_eq!(headers[AUTHORIZATION], "Bearer x");
    }
}
