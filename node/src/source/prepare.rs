//! A definition made ready to be sent: secrets written out, URL and headers parsed.

use anode_shared::source::{SourceDefinition, text_of};
use bytes::Bytes;
use hyper::Method;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use serde_json::Value;
use tokio::time::Instant;
use url::Url;

use super::failure::Failure;
use super::request::{Reading, Request, outgoing};
use super::secrets::{Missing, Secrets};

/// What is sent. It shows itself to nobody.
pub(super) struct Prepared {
    pub(super) url: Url,
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    body: Bytes,
    secret_body: bool,
    pub(super) open: Vec<String>,
    pub(super) ping: Option<String>,
}

impl Prepared {
    /// The request that asks for an answer.
    pub(super) fn request(self, deadline: Instant, reading: Reading) -> Request {
        let Self { url, method, headers, body, secret_body, .. } = self;
        Request { url, method, headers, body, secret_body, deadline, reading }
    }

    /// The host that is asked.
    pub(super) fn host(&self) -> String {
        self.url.host_str().unwrap_or_default().to_owned()
    }
}

/// Writes secrets out and parses what comes of it.
pub(super) fn prepare(definition: &SourceDefinition, secrets: &Secrets) -> Result<Prepared, Failure> {
    let url = secrets.resolve_url(&definition.url)?;
    let mut headers = outgoing(&definition.headers, secrets)?;
    let at = |field: String| move |missing: Missing| Failure::of_field(field, missing.to_string());
    let mut secret_body = false;
    let mut body = Bytes::new();
    if let Some(given) = &definition.body {
        body = frame(given, secrets, &mut secret_body).map_err(at("body".to_owned()))?.into();
        if !given.is_string() {
            headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
        }
    }
    let written = |(place, given)| frame(given, secrets, &mut false).map_err(at(format!("open[{place}]")));
    let open = definition.open.iter().enumerate().map(written).collect::<Result<_, _>>()?;
    let ping = definition.ping.as_ref().map(|ping| frame(&ping.frame, secrets, &mut false)).transpose();
    let ping = ping.map_err(at("ping.frame".to_owned()))?;
    let method = if definition.method.as_deref() == Some("POST") { Method::POST } else { Method::GET };
    Ok(Prepared { url, method, headers, body, secret_body, open, ping })
}

/// A body or frame. In JSON the strings are written out before the whole is, so that quotes in a secret stay inside.
fn frame(frame: &Value, secrets: &Secrets, secret: &mut bool) -> Result<String, Missing> {
    if frame.is_string() {
        return filled(&text_of(frame), secrets, secret);
    }
    let mut whole = frame.clone();
    fill(&mut whole, secrets, secret)?;
    Ok(whole.to_string())
}

fn filled(text: &str, secrets: &Secrets, secret: &mut bool) -> Result<String, Missing> {
    let resolved = secrets.resolve(text)?;
    *secret |= resolved.is_secret();
    Ok(resolved.expose().to_owned())
}

fn fill(value: &mut Value, secrets: &Secrets, secret: &mut bool) -> Result<(), Missing> {
    match value {
        Value::String(text) => {
            *text = filled(text, secrets, secret)?;
            Ok(())
        }
        Value::Array(items) => items.iter_mut().try_for_each(|item| fill(item, secrets, secret)),
        Value::Object(members) => members.values_mut().try_for_each(|member| fill(member, secrets, secret)),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}
