//! `anode publish`: one record, or one for each line of stdin.

use std::collections::VecDeque;
use std::io::{BufRead as _, IsTerminal as _, Read as _};
use std::process::ExitCode;

use anode_shared::frames::Frame;
use anode_shared::publish::Ack;
use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, ValueEnum};
use futures_util::{SinkExt as _, StreamExt as _};
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

use super::Reach;
use super::output::{Out, note};
use crate::client::Socket;

/// What stands behind the options.
pub(super) const EXAMPLES: &str = "\
Examples:
  anode publish prices.btc '{\"price\": 97312.5}'     one record; its id is printed once it is stored
  my-feed | anode publish prices.btc -              each line of stdin is the JSON of one record
  anode publish images.cam1 - --content-type image/jpeg < frame.jpg
  anode publish orders.new '{\"id\": 7}' --dedupe order-7";

/// How many lines may wait for their acknowledgement: enough to fill group commits, little to repeat after a crash.
const IN_FLIGHT: usize = 1_024;

/// The options of `anode publish`.
#[derive(Debug, Args)]
pub(super) struct PublishArgs {
    /// The topic
    topic: String,
    /// The payload as JSON; `-` (or nothing) reads stdin, a record a line
    #[arg(value_name = "JSON|-", default_value = "-", allow_hyphen_values = true)]
    payload: String,
    /// The payload is not JSON but bytes of this media type; `-` then reads stdin as one payload
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// The same as --content-type application/octet-stream
    #[arg(long, conflicts_with = "content_type")]
    binary: bool,
    /// A key that makes publishing this record twice within 2 minutes harmless
    #[arg(long, value_name = "KEY")]
    dedupe: Option<String>,
    /// The promise to wait for
    #[arg(long, default_value = "durable")]
    ack: AckSaid,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum AckSaid {
    /// On stable storage of the node.
    Durable,
    /// On stable storage of another node too.
    Replicated,
    /// In the archive.
    Archived,
}

impl From<AckSaid> for Ack {
    fn from(said: AckSaid) -> Self {
        match said {
            AckSaid::Durable => Self::Durable,
            AckSaid::Replicated => Self::Replicated,
            AckSaid::Archived => Self::Archived,
        }
    }
}

/// The word for a promise on the wire.
fn word(ack: Ack) -> &'static str {
    match ack {
        Ack::Durable => "durable",
        Ack::Replicated => "replicated",
        Ack::Archived => "archived",
    }
}

#[derive(Debug, Serialize)]
struct Body<'a> {
    topic: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dedupe: Option<&'a str>,
}

#[derive(Debug, Deserialize)]
struct Published {
    ids: Vec<String>,
    ack: Ack,
}

/// Publishes what the arguments say.
pub(super) async fn publish(args: &PublishArgs) -> anyhow::Result<ExitCode> {
    let content_type = args.content_type.as_deref().or(args.binary.then_some("application/octet-stream"));
    if args.payload == "-" && content_type.is_none() {
        if args.dedupe.is_some() {
            bail!("--dedupe names one record; lines of stdin are many");
        }
        return lines(args).await;
    }
    let bytes = if args.payload == "-" { read_stdin()? } else { args.payload.clone().into_bytes() };
    one(args, &bytes, content_type).await
}

fn read_stdin() -> anyhow::Result<Vec<u8>> {
    // One byte more than a record takes, so that the node says what is wrong with a longer one.
    let most = anode_shared::record::MAX_PAYLOAD as u64 + 1;
    let mut bytes = Vec::new();
    std::io::stdin().lock().take(most).read_to_end(&mut bytes).context("cannot read stdin")?;
    Ok(bytes)
}

async fn one(args: &PublishArgs, bytes: &[u8], content_type: Option<&str>) -> anyhow::Result<ExitCode> {
    let client = args.reach.client()?;
    let body = body(args, bytes, content_type)?;
    let query = vec![("ack", word(args.ack.into()).to_owned())];
    let published: Published = client.post("/api/v1/records", &query, body).await?;
    let mut out = Out::new();
    for id in &published.ids {
        show(&mut out, args.reach.json, id, published.ack)?;
    }
    out.flush()?;
    Ok(reached(published.ack, args.ack.into()))
}

fn show(out: &mut Out, as_json: bool, id: &str, ack: Ack) -> anyhow::Result<()> {
    if as_json { out.json(&json!({"id": id, "ack": ack})) } else { out.line(id) }
}

/// Whether the promise that was asked for was reached. The record is stored in any case.
fn reached(got: Ack, wanted: Ack) -> ExitCode {
    if got == wanted {
        return ExitCode::SUCCESS;
    }
    note(&format!("stored, but only {} so far, not {}; do not publish it again", word(got), word(wanted)));
    ExitCode::FAILURE
}

fn body(args: &PublishArgs, bytes: &[u8], content_type: Option<&str>) -> anyhow::Result<Vec<u8>> {
    let payload: Option<&RawValue> = match content_type {
        Some(_) => None,
        None => Some(serde_json::from_slice(bytes).context(
            "the payload is not JSON; put texts in \"quotes\", or give --content-type for other bytes",
        )?),
    };
    Ok(serde_json::to_vec(&Body {
        topic: &args.topic,
        payload,
        payload_base64: content_type.map(|_| STANDARD.encode(bytes)),
        content_type,
        dedupe: args.dedupe.as_deref(),
    })?)
}

/// Publishes every line of stdin; many are in flight at once, their answers come in their order.
async fn lines(args: &PublishArgs) -> anyhow::Result<ExitCode> {
    let client = args.reach.client()?;
    let query = vec![("topic", args.topic.clone()), ("ack", word(args.ack.into()).to_owned())];
    let mut sending = Sending::new(client.socket("/publish", &query).await?, args);
    if std::io::stdin().is_terminal() {
        note("Type records, the JSON of one a line; Ctrl-D ends");
    }
    let mut lines = read_lines();
    let mut open = true;
    while open || !sending.waiting.is_empty() {
        let room = open && sending.waiting.len() < IN_FLIGHT;
        tokio::select! {
            line = lines.recv(), if room => match line {
                Some(line) => sending.send(line?, &mut lines).await?,
                None => open = false,
            },
            message = sending.socket.next() => sending.answer(message.transpose()?)?,
        }
    }
    sending.out.flush()?;
    let _ = sending.socket.close(None).await;
    Ok(sending.verdict())
}

/// A line of stdin with its number.
type Line = (u64, String);

/// Reads lines on a thread of their own, as far ahead as the channel holds.
fn read_lines() -> mpsc::Receiver<anyhow::Result<Line>> {
    let (sender, receiver) = mpsc::channel(IN_FLIGHT);
    std::thread::spawn(move || {
        for (number, line) in (1..).zip(std::io::stdin().lock().lines()) {
            let line = line.with_context(|| format!("cannot read line {number} of stdin"));
            let blank = line.as_ref().is_ok_and(|line| line.trim().is_empty());
            if !blank && sender.blocking_send(line.map(|line| (number, line))).is_err() {
                return;
            }
        }
    });
    receiver
}

struct Sending {
    socket: Socket,
    out: Out,
    json: bool,
    wanted: Ack,
    /// The lines whose answers are due, in the order of their frames.
    waiting: VecDeque<u64>,
    answered: u64,
    refused: u64,
    /// Records that are stored, with less than the wanted promise.
    short: u64,
}

impl Sending {
    fn new(socket: Socket, args: &PublishArgs) -> Self {
        Self {
            socket,
            out: Out::new(),
            json: args.reach.json,
            wanted: args.ack.into(),
            waiting: VecDeque::with_capacity(IN_FLIGHT),
            answered: 0,
            refused: 0,
            short: 0,
        }
    }

    /// Sends a line, and those that are there already, in one write.
    async fn send(
        &mut self,
        line: Line,
        lines: &mut mpsc::Receiver<anyhow::Result<Line>>,
    ) -> anyhow::Result<()> {
        let mut next = Some(line);
        while let Some((number, text)) = next.take() {
            self.socket.feed(Message::text(text)).await.with_context(|| self.so_far())?;
            self.waiting.push_back(number);
            if self.waiting.len() < IN_FLIGHT {
                next = lines.try_recv().ok().transpose()?;
            }
        }
        self.socket.flush().await.with_context(|| self.so_far())
    }

    fn answer(&mut self, message: Option<Message>) -> anyhow::Result<()> {
        let text = match message {
            Some(Message::Text(text)) => text,
            Some(Message::Close(Some(close))) => bail!("{}; {}", close.reason, self.so_far()),
            Some(_) => return Ok(()),
            None => bail!("the node closed the connection; {}", self.so_far()),
        };
        match serde_json::from_str(&text)? {
            Frame::Published { id, ack, .. } => {
                self.answered();
                self.short += u64::from(ack != self.wanted);
                show(&mut self.out, self.json, &id, ack)?;
            }
            Frame::Error { n: Some(_), code, detail, .. } => {
                let line = self.answered();
                self.refused += 1;
                note(&format!("line {line}: {detail} ({code})"));
            }
            Frame::Error { code, detail, .. } => bail!("{detail} ({code}); {}", self.so_far()),
            Frame::CaughtUp { .. } | Frame::Cursor { .. } | Frame::Gap(_) | Frame::Subscribed { .. } => {}
        }
        if self.waiting.is_empty() { self.out.flush() } else { Ok(()) }
    }

    /// The line that an answer is about.
    fn answered(&mut self) -> u64 {
        self.answered += 1;
        self.waiting.pop_front().unwrap_or(0)
    }

    /// The exit code, with the reason on stderr where it is no success.
    fn verdict(&self) -> ExitCode {
        if self.refused > 0 {
            note(&format!("{} of {} records were refused", self.refused, self.answered));
        }
        if self.short > 0 {
            note(&format!("{} records are stored, but not {} yet", self.short, word(self.wanted)));
        }
        if self.refused + self.short == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn so_far(&self) -> String {
        match self.waiting.front() {
            Some(line) => {
                format!("what stands before line {line} was answered; from there on it may be stored or not")
            }
            None => "all that was sent was answered".to_owned(),
        }
    }
}
