//! What is asked for: URL, method and headers.

use super::{Found, LIMITS};
use crate::source::{SourceDefinition, SourceKind};

/// Headers that the node writes itself, or that would change what a request is.
const OWN: [&str; 15] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authorization",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "last-event-id",
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-extensions",
];

/// Checks the request's part of a definition.
pub(super) fn check(definition: &SourceDefinition, found: &mut Found) {
    url(definition, found);
    if let Some(method) = &definition.method {
        match method.as_str() {
            "GET" if definition.body.is_some() => {
                found.say("body", "a GET has no body; set method to POST, or leave the body out");
            }
            "GET" | "POST" => {}
            _ => found.say("method", "the method is GET or POST"),
        }
    } else if definition.body.is_some() && definition.kind == SourceKind::Rest {
        found.say("body", "a GET has no body; set method to POST, or leave the body out");
    }
    headers(definition, found);
}

fn url(definition: &SourceDefinition, found: &mut Found) {
    let url = &definition.url;
    let schemes: &[&str] = match definition.kind {
        SourceKind::Rest | SourceKind::Sse => &["https://", "http://"],
        SourceKind::Websocket => &["wss://", "ws://"],
    };
    if url.is_empty() {
        return found.say("url", format!("the URL is missing; it begins with {}", schemes.join(" or ")));
    }
    if url.len() > LIMITS.url {
        let most = LIMITS.url;
        return found.say("url", format!("the URL has {} bytes; at most {most} are taken", url.len()));
    }
    let lower = url.to_ascii_lowercase();
    let Some(scheme) = schemes.iter().find(|scheme| lower.starts_with(**scheme)) else {
        return found.say("url", format!("the URL begins with {}", schemes.join(" or ")));
    };
    let rest = &url[scheme.len()..];
    let host = rest.split(['/', '?', '#']).next().unwrap_or("");
    if host.rsplit('@').next().unwrap_or("").is_empty() {
        found.say("url", format!("the host is missing; write one behind {scheme}"));
    }
    if url.chars().any(|c| c.is_whitespace() || c.is_control()) {
        found.say("url", "the URL holds a space or a control character; write a space as %20");
    }
    if rest.contains('#') {
        found.say("url", "the part from # on is never sent; leave it out, or write # itself as %23");
    }
    found.references("url", url);
}

fn headers(definition: &SourceDefinition, found: &mut Found) {
    let headers = &definition.headers;
    if headers.len() > LIMITS.headers {
        let detail = format!("there are {} headers; at most {} are taken", headers.len(), LIMITS.headers);
        found.say("headers", detail);
    }
    let mut seen = Vec::new();
    for (name, value) in headers.iter().take(LIMITS.headers) {
        let shown: String = name.chars().take(80).collect();
        let field = format!("headers.{shown}");
        let lower = name.to_ascii_lowercase();
        if name.len() > LIMITS.name * 2 || name.is_empty() || !name.bytes().all(is_token) {
            found.say(&field, "a header's name holds letters, digits and !#$%&'*+-.^_`|~, and nothing else");
        } else if OWN.contains(&lower.as_str()) {
            found.say(&field, "the node writes this header itself; leave it out");
        } else if seen.contains(&lower) {
            found.say(&field, "this header is there twice, in other letters; leave one out");
        }
        seen.push(lower);
        if value.len() > LIMITS.text {
            found.say(
                &field,
                format!("the value has {} bytes; at most {} are taken", value.len(), LIMITS.text),
            );
        }
        if value.bytes().any(|byte| byte != b'\t' && (byte < b' ' || byte == 0x7f)) {
            found.say(&field, "the value holds a line break or another control character; leave it out");
        } else if value.trim_matches([' ', '\t']) != value {
            found.say(&field, "the value begins or ends with a space; leave it out");
        }
        found.references(&field, value);
    }
}

/// Whether a byte may stand in a header's name (RFC 9110, 5.6.2: token).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
