//! A reader of Server-Sent Events.

use std::fmt;
use std::pin::Pin;

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::{Stream, StreamExt as _};
use serde_json::Value;
use tokio::time::timeout;

use crate::socket::PATIENCE;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// The `event:` field.
    pub event: String,
    /// The `id:` field of this very event.
    pub id: Option<String>,
    /// The `data:` lines, joined.
    pub data: String,
}

impl Event {
    /// The type of the frame in the data.
    ///
    /// # Errors
    /// Fails where there is none.
    pub fn kind(&self) -> Result<String> {
        Ok(self.json()?["type"].as_str().with_context(|| format!("no type in {self:?}"))?.to_owned())
    }

    /// The data as JSON.
    ///
    /// # Errors
    /// Fails where it is none.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.data).with_context(|| format!("{self:?}"))
    }
}

/// Cuts a stream of bytes into events, as the HTML standard says.
#[derive(Debug, Default)]
pub struct Parser {
    buffer: Vec<u8>,
    event: Event,
    has_data: bool,
}

impl Parser {
    /// Takes bytes and gives the events that they complete.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Event> {
        self.buffer.extend_from_slice(bytes);
        let mut events = Vec::new();
        while let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line[..end]).trim_end_matches('\r').to_owned();
            events.extend(self.line(&line));
        }
        events
    }

    fn line(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            return std::mem::take(&mut self.has_data).then_some(event);
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "data" => {
                if self.has_data {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
                self.has_data = true;
            }
            "id" => self.event.id = Some(value.to_owned()),
            "event" => value.clone_into(&mut self.event.event),
            _ => {}
        }
        None
    }
}

/// An open event stream.
pub struct Events {
    bytes: Pin<Box<dyn Stream<Item = reqwest::Result<Vec<u8>>> + Send>>,
    parser: Parser,
    waiting: std::collections::VecDeque<Event>,
}

impl fmt::Debug for Events {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Events").finish_non_exhaustive()
    }
}

/// Opens an event stream.
///
/// # Errors
/// Fails where the node answers with something else.
pub async fn open(url: &str, headers: &[(&str, &str)]) -> Result<Events> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    let mut request = client.get(url).header("accept", "text/event-stream");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = timeout(PATIENCE, request.send()).await.context("no answer")??;
    let status = answer.status();
    let kind =
        answer.headers().get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or("").to_owned();
    ensure!(status.is_success(), "{url}: {status}: {}", answer.text().await?);
    ensure!(kind.starts_with("text/event-stream"), "{url}: content type {kind:?}");
    let bytes = Box::pin(answer.bytes_stream().map(|chunk| chunk.map(|bytes| bytes.to_vec())));
    Ok(Events { bytes, parser: Parser::default(), waiting: std::collections::VecDeque::new() })
}

impl Events {
    /// Waits for the next event.
    ///
    /// # Errors
    /// Fails where the stream ends or none comes within [`PATIENCE`].
    pub async fn next(&mut self) -> Result<Event> {
        timeout(PATIENCE, self.read()).await.context("no event came")?
    }

    async fn read(&mut self) -> Result<Event> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Ok(event);
            }
            match self.bytes.next().await {
                Some(chunk) => self.waiting.extend(self.parser.push(&chunk?)),
                None => bail!("the event stream ended"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_cuts_events_wherever_the_bytes_are_cut() {
        let text = ": hello\nevent: record\ndata: {\"a\":1}\n\nid: C1\r\ndata: x\r\ndata:y\r\n\r\nretry: 5\n\ndata\n\n";
        let expected = [("record", None, "{\"a\":1}"), ("", Some("C1"), "x\ny"), ("", None, "")];
        for cut in 0..=text.len() {
            let mut parser = Parser::default();
            let mut events = parser.push(&text.as_bytes()[..cut]);
            events.extend(parser.push(&text.as_bytes()[cut..]));
            let got: Vec<_> = events
                .iter()
                .map(|event| (event.event.as_str(), event.id.as_deref(), event.data.as_str()))
                .collect();
            assert_eq!(got, expected, "cut at {cut}");
        }
    }
}
