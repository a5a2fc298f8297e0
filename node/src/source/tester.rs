//! Tries a definition: fetches once, or listens for some seconds, registers nothing, and says what it saw.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anode_shared::source::{
    Answer as Shown, Phases, SourceDefinition, SourceError, SourceKind, SourceTest, Stage, TestRecord,
};
use anode_shared::time::to_rfc3339;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::events::Events;
use super::failure::Reached;
use super::handshake::{Opened, open};
use super::prepare::{Prepared, prepare};
use super::reading::{Context, Ended, aside};
use super::request::{Request, Response};
use super::secrets::Secrets;
use super::{rest, sse, timeout, websocket};
use crate::pipeline::{Pipeline, Raw};
use crate::store::{NewRecord, system_time};

/// How long a stream is listened to.
const LISTEN: Duration = Duration::from_secs(5);
/// How long it is listened to once something came.
const ENOUGH: Duration = Duration::from_secs(1);
/// The longest that one fetch may take, whatever the definition says: somebody waits for the answer.
const FETCH: Duration = Duration::from_secs(15);
/// The most answers that are shown.
const ANSWERS: usize = 20;
/// The most records that are shown.
const RECORDS: usize = 100;
/// The most of an answer that is shown, bytes.
const SHOWN: usize = 64 << 10;

/// Tries a definition.
pub(super) async fn test(context: &Arc<Context>, definition: SourceDefinition) -> SourceTest {
    let began = Instant::now();
    let mut trial = Trial::new(context, &definition);
    let result = match prepare(&definition, &context.secrets) {
        Ok(prepared) => trial.run(&definition, prepared).await,
        Err(failure) => Err(failure.into()),
    };
    if let Err(ended) = result {
        trial.erred(ended);
    }
    let mut shown = trial.shown;
    shown.phases.total_ms = began.elapsed().as_secs_f64() * 1_000.0;
    shown.ok = shown.error.is_none();
    shown
}

/// A definition that is being tried.
struct Trial<'a> {
    context: &'a Context,
    pipeline: Option<Pipeline>,
    shown: SourceTest,
}

impl<'a> Trial<'a> {
    fn new(context: &'a Context, definition: &SourceDefinition) -> Self {
        let shown = SourceTest {
            ok: false,
            phases: Phases::default(),
            address: None,
            http_status: None,
            headers: BTreeMap::new(),
            answers: Vec::new(),
            records: Vec::new(),
            error: None,
        };
        let mut trial = Self { context, pipeline: None, shown };
        match Pipeline::compile(definition) {
            Ok(pipeline) => trial.pipeline = Some(pipeline),
            // What the upstream answers is worth seeing all the same.
            Err(errors) => {
                if let Some(error) = errors.into_iter().next() {
                    let ended = Ended::new(Stage::Expression, error.detail);
                    trial.erred(Ended { field: Some(error.field), ..ended });
                }
            }
        }
        trial
    }

    /// Notes the first error; what comes after it may be no more than its consequence.
    fn erred(&mut self, ended: Ended) {
        if self.shown.error.is_none() {
            self.shown.error = Some(SourceError {
                stage: ended.stage,
                detail: self.context.secrets.scrub_words(&ended.failing.reason),
                time: to_rfc3339(system_time()),
                field: ended.field,
            });
        }
    }

    fn reached(&mut self, reached: &Reached) {
        self.shown.phases = reached.phases;
        self.shown.address = reached.address.map(|address| address.to_string());
    }

    async fn run(&mut self, definition: &SourceDefinition, prepared: Prepared) -> Result<(), Ended> {
        let deadline = Instant::now() + timeout(definition).min(FETCH);
        match definition.kind {
            SourceKind::Rest => self.fetch(prepared, deadline).await,
            SourceKind::Sse => self.stream(prepared, deadline).await,
            SourceKind::Websocket => self.socket(prepared, deadline).await,
        }
    }

    async fn fetch(&mut self, prepared: Prepared, deadline: Instant) -> Result<(), Ended> {
        let response = self.send(prepared.request(deadline, rest::how_to_read(deadline))).await?;
        let (kind, status) = (response.header("content-type"), response.status.as_u16());
        let checked = rest::check(&response);
        let bytes = response.body.whole().await?;
        if checked.is_err() {
            // What an upstream says of its errors helps more than their status, but makes no records.
            let shown = show(&bytes, None, &self.context.secrets);
            self.shown.answers.push(shown);
            return checked;
        }
        self.answered(bytes, kind.as_deref(), status, None);
        Ok(())
    }

    /// Sends a request, and shows how it was answered.
    async fn send(&mut self, request: Request) -> Result<Response, Ended> {
        match self.context.http.send(request).await {
            Ok(response) => {
                self.reached(&response.reached);
                self.shown.http_status = Some(response.status.as_u16());
                self.shown.headers = self.scrubbed(response.header_texts());
                Ok(response)
            }
            Err(failure) => {
                self.reached(&failure.reached);
                self.shown.http_status = failure.status;
                Err(failure.into())
            }
        }
    }

    fn scrubbed(&self, headers: BTreeMap<String, String>) -> BTreeMap<String, String> {
        let secrets = &self.context.secrets;
        headers.into_iter().map(|(name, value)| (secrets.scrub(&name), secrets.scrub(&value))).collect()
    }

    async fn stream(&mut self, prepared: Prepared, deadline: Instant) -> Result<(), Ended> {
        let mut response = self.send(sse::asking(prepared, deadline)).await?;
        sse::check(&response)?;
        let (mut events, mut until) = (Events::default(), Instant::now() + LISTEN);
        while let Ok(chunk) = timeout_at(until, response.body.chunk()).await {
            let Some(chunk) = chunk? else {
                return Err(Ended::new(Stage::Connect, "the upstream ended the stream"));
            };
            let mut found = Vec::new();
            let framed = events.push(&chunk, &mut found);
            for event in found {
                if self.shown.answers.len() >= ANSWERS || Instant::now() >= until {
                    break;
                }
                self.answered(event.data.into(), None, response.status.as_u16(), event.event);
                until = until.min(Instant::now() + ENOUGH);
            }
            framed.map_err(|error| Ended::new(Stage::Body, error.to_string()))?;
            if self.shown.answers.len() >= ANSWERS {
                break;
            }
        }
        self.anything()
    }

    async fn socket(&mut self, prepared: Prepared, deadline: Instant) -> Result<(), Ended> {
        let headers = prepared.headers.clone();
        let opened = Box::pin(open(&self.context.connector, &prepared.url, headers, deadline)).await;
        let Opened { mut socket, status, headers, reached } = match opened {
            Ok(opened) => opened,
            Err(failure) => {
                self.reached(&failure.reached);
                self.shown.http_status = failure.status;
                return Err(failure.into());
            }
        };
        self.reached(&reached);
        self.shown.http_status = Some(status);
        self.shown.headers = self.scrubbed(headers);
        websocket::greet(&mut socket, &prepared).await?;
        let mut until = Instant::now() + LISTEN;
        while let Ok(message) = timeout_at(until, socket.next()).await {
            if let Some(bytes) = websocket::payload(message)? {
                self.answered(bytes, None, 101, None);
                until = until.min(Instant::now() + ENOUGH);
            }
            if self.shown.answers.len() >= ANSWERS {
                break;
            }
        }
        let _ = tokio::time::timeout(Duration::from_millis(200), socket.close(None)).await;
        self.anything()
    }

    /// Whether anything came.
    fn anything(&self) -> Result<(), Ended> {
        if !self.shown.answers.is_empty() {
            return Ok(());
        }
        let words = format!("the connection is open, and nothing came within {} s", LISTEN.as_secs());
        Err(Ended::new(Stage::Body, words))
    }

    /// Shows an answer, and the records that it would make.
    fn answered(&mut self, bytes: Bytes, content_type: Option<&str>, status: u16, event: Option<String>) {
        aside(true, || self.answered_here(bytes, content_type, status, event));
    }

    fn answered_here(
        &mut self,
        bytes: Bytes,
        content_type: Option<&str>,
        status: u16,
        event: Option<String>,
    ) {
        let secrets = &self.context.secrets;
        self.shown.answers.push(show(&bytes, event, secrets));
        let Some(pipeline) = &mut self.pipeline else { return };
        let raw = Raw { bytes, content_type, fetched: system_time(), status };
        let processed = pipeline.process(&raw);
        let room = RECORDS.saturating_sub(self.shown.records.len());
        let records = processed.records.into_iter().take(room).map(|made| record(made, secrets));
        self.shown.records.extend(records);
        if let Some(error) = processed.error {
            let field = error.field.map(str::to_owned);
            self.erred(Ended { field, ..Ended::new(error.stage, error.detail) });
        }
    }
}

/// An answer as it is shown: an upstream may say secrets that it was sent.
fn show(bytes: &Bytes, event: Option<String>, secrets: &Secrets) -> Shown {
    let start = &bytes[..bytes.len().min(SHOWN)];
    let text = match std::str::from_utf8(start) {
        Ok(text) => Some(secrets.scrub(text)),
        Err(error) if error.error_len().is_none() => {
            Some(secrets.scrub(&String::from_utf8_lossy(&start[..error.valid_up_to()])))
        }
        Err(_) => None,
    };
    let base64 = text.is_none().then(|| STANDARD.encode(scrub_bytes(start, secrets)));
    Shown { text, base64, bytes: bytes.len() as u64, event: event.map(|event| secrets.scrub(&event)) }
}

fn record(record: NewRecord, secrets: &Secrets) -> TestRecord {
    let topic = secrets.scrub(record.topic.as_str());
    let Some(content_type) = record.content_type else {
        let mut payload = serde_json::from_slice(&record.payload).ok();
        payload.iter_mut().for_each(|payload| scrub(payload, secrets));
        return TestRecord { topic, payload, payload_base64: None, content_type: None };
    };
    let payload = match std::str::from_utf8(&record.payload) {
        Ok(text) => STANDARD.encode(secrets.scrub(text)),
        Err(_) => STANDARD.encode(scrub_bytes(&record.payload, secrets)),
    };
    let content_type = Some(secrets.scrub(&content_type));
    TestRecord { topic, payload: None, payload_base64: Some(payload), content_type }
}

/// Replaces secrets in bytes that are no UTF-8: in ASCII and Latin-1, where each byte is a character, and in the parts
/// that are UTF-8 all the same.
fn scrub_bytes(bytes: &[u8], secrets: &Secrets) -> Vec<u8> {
    let latin: String = bytes.iter().copied().map(char::from).collect();
    let bytes: Vec<u8> =
        secrets.scrub(&latin).chars().filter_map(|character| u8::try_from(character).ok()).collect();
    let mut out = Vec::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        out.extend_from_slice(secrets.scrub(chunk.valid()).as_bytes());
        out.extend_from_slice(chunk.invalid());
    }
    out
}

/// Replaces secrets in JSON, be they names of members or numbers.
fn scrub(value: &mut Value, secrets: &Secrets) {
    match value {
        Value::String(text) => *text = secrets.scrub(text),
        Value::Array(items) => items.iter_mut().for_each(|item| scrub(item, secrets)),
        Value::Object(members) => {
            let scrubbed = std::mem::take(members).into_iter().map(|(name, mut member)| {
                scrub(&mut member, secrets);
                (secrets.scrub(&name), member)
            });
            *members = scrubbed.collect();
        }
        Value::Number(number) => {
            let text = number.to_string();
            let scrubbed = secrets.scrub(&text);
            if scrubbed != text {
                *value = Value::String(scrubbed);
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn it_shows_no_secret_that_an_upstream_says_again() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("secrets.toml"), "KEY = \"c4n4ry\"\nPIN = \"82641973\"\n").unwrap();
        let secrets = Secrets::new(dir.path());
        assert!(secrets.resolve("${secret:KEY} ${secret:PIN}").is_ok());
        let said = json!({"a": ["key c4n4ry", {"c4n4ry": 82_641_973}], "n": 1.5, "b": true, "z": null});
        let shown = show(&said.to_string().into(), Some("c4n4ry".to_owned()), &secrets);
        assert_eq!(shown.event.as_deref(), Some("${secret:KEY}"));
        for said_again in ["c4n4ry", "82641973"] {
            assert!(!shown.text.as_deref().unwrap().contains(said_again));
        }
        for (content_type, bytes) in [(None, said.to_string()), (Some("text/plain"), "a c4n4ry".to_owned())] {
            let shown = record(
                NewRecord {
                    topic: "a.c4n4ry".parse().unwrap(),
                    payload: bytes.into(),
                    content_type: content_type.map(str::to_owned),
                    publisher: None,
                    publisher_signature: None,
                    dedupe: None,
                    source: None,
                },
                &secrets,
            );
            assert_eq!(shown.topic, "a.${secret:KEY}");
            let expected = json!({"a": ["key ${secret:KEY}", {"${secret:KEY}": "${secret:PIN}"}], "n": 1.5, "b": true, "z": null});
            assert_eq!(shown.payload, content_type.is_none().then_some(expected));
            assert_eq!(shown.payload_base64, content_type.map(|_| STANDARD.encode("a ${secret:KEY}")));
        }
    }

    #[test]
    fn it_shows_no_secret_in_what_is_no_utf_8() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("secrets.toml"), "KEY = \"c4n4ry\"\nODD = \"w\u{f6}rd-list\"\n")
            .unwrap();
        let secrets = Secrets::new(dir.path());
        assert!(secrets.resolve("${secret:KEY} ${secret:ODD}").is_ok());
        let latin = b"caf\xe9 c4n4ry w\xf6rd-list.";
        let mixed = [&b"\xe9 c4n4ry "[..], "w\u{f6}rd-list.".as_bytes()].concat();
        for (said, expected) in [
            (latin.to_vec(), &b"caf\xe9 ${secret:KEY} ${secret:ODD}."[..]),
            (mixed, b"\xe9 ${secret:KEY} ${secret:ODD}."),
        ] {
            let shown = show(&said.clone().into(), None, &secrets);
            assert_eq!((shown.text, shown.base64), (None, Some(STANDARD.encode(expected))));
            let shown = record(
                NewRecord {
                    topic: "a".parse().unwrap(),
                    payload: said.into(),
                    content_type: Some("text/c4n4ry".to_owned()),
                    publisher: None,
                    publisher_signature: None,
                    dedupe: None,
                    source: None,
                },
                &secrets,
            );
            assert_eq!(shown.payload_base64, Some(STANDARD.encode(expected)));
            assert_eq!(shown.content_type.as_deref(), Some("text/${secret:KEY}"));
        }
    }
}
