//! `anode tail`: follows the feed, over broken connections too.

use std::collections::BTreeMap;
use std::time::Duration;

use anode_shared::frames::{Frame, RECORD_FRAME_START};
use anode_shared::ids::RecordId;
use anode_shared::time::{Micros, to_rfc3339};
use anyhow::bail;
use clap::Args;
use futures_util::{FutureExt as _, StreamExt as _};
use serde::Deserialize;
use tokio_tungstenite::tungstenite::Message;

use super::Reach;
use super::output::{Out, note};
use super::read::{note_gap, show, since};
use crate::client::{Client, ClientError, Query, Socket};

/// What stands behind the options.
pub(super) const EXAMPLES: &str = "\
Examples:
  anode tail                                 every topic, from now on
  anode tail 'prices.*' 'trades.>'           some topics
  anode tail 'prices.>' --since 10m          stored records first, then live
  anode tail 'prices.>' --start last:20
  anode tail '>' --filter 'payload.price > 100.0' --json";

/// The node pings every 20 s: after three missed ones the connection is dead.
const SILENCE: Duration = Duration::from_secs(61);
/// The first and the longest pause before a new connection.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// The options of `anode tail`.
#[derive(Debug, Args)]
pub(super) struct TailArgs {
    /// Topic patterns, as in NATS: `*` is one token, `>` one or more last ones; without any all topics
    #[arg(value_name = "PATTERN")]
    patterns: Vec<String>,
    /// Stored records first, from this time on: RFC 3339, or how long ago (10m, 7d)
    #[arg(long, value_name = "TIME", value_parser = since, conflicts_with = "start")]
    since: Option<Micros>,
    /// Where to begin: live, earliest, last:N, latest, an RFC 3339 time, or after:CURSOR
    #[arg(long, value_name = "START", default_value = "live")]
    start: String,
    /// A CEL expression over topic, source, publisher, time and payload
    #[arg(long, value_name = "CEL")]
    filter: Option<String>,
    /// Stop after so many records
    #[arg(long, short = 'n', value_name = "N")]
    count: Option<u64>,
    #[command(flatten)]
    reach: Reach,
}

/// Prints records as they come.
pub(super) async fn tail(args: &TailArgs) -> anyhow::Result<()> {
    let client = args.reach.client()?;
    let mut follower = Follower {
        out: Out::new(),
        json: args.reach.json,
        left: args.count.unwrap_or(u64::MAX),
        place: Place::default(),
    };
    let mut pause = PAUSES.0;
    let mut socket = client.socket("/feed", &args.query(&follower.place)).await?;
    while follower.left > 0 {
        let why = follower.follow(&mut socket, &mut pause).await?;
        if follower.left == 0 {
            break;
        }
        note(&format!("connection lost ({why}); connecting again"));
        drop(socket);
        socket = reconnect(&client, args, &follower.place, &mut pause).await?;
        note("connected again");
    }
    let _ = socket.close(None).await;
    follower.out.flush()
}

async fn reconnect(
    client: &Client,
    args: &TailArgs,
    place: &Place,
    pause: &mut Duration,
) -> anyhow::Result<Socket> {
    loop {
        tokio::time::sleep(*pause).await;
        *pause = (*pause * 2).min(PAUSES.1);
        match client.socket("/feed", &args.query(place)).await {
            Ok(socket) => return Ok(socket),
            Err(ClientError::Unreachable { .. }) => {}
            Err(ClientError::Refused(problem)) if problem.is_passing() => {}
            Err(error) => return Err(error.into()),
        }
    }
}

impl TailArgs {
    fn query(&self, place: &Place) -> Query {
        let mut query: Query = self.patterns.iter().map(|pattern| ("topic", pattern.clone())).collect();
        query.extend(self.filter.iter().map(|filter| ("filter", filter.clone())));
        let start = place.start().unwrap_or_else(|| self.since.map_or(self.start.clone(), to_rfc3339));
        query.push(("start", start));
        query
    }
}

/// Where the reader stands: the last cursor, and what came since.
#[derive(Debug, Default)]
struct Place {
    cursor: Option<String>,
    since: BTreeMap<String, u64>,
}

impl Place {
    fn at(&mut self, cursor: String) {
        self.cursor = Some(cursor);
        self.since.clear();
    }

    /// The reader has got, or will never get, what stands in the log up to `seq`.
    fn passed(&mut self, log: String, seq: u64) {
        self.since.insert(log, seq);
    }

    /// A `start` that goes on from here; none before the first cursor.
    fn start(&self) -> Option<String> {
        let cursor = self.cursor.as_ref()?;
        if self.since.is_empty() {
            return Some(format!("after:{cursor}"));
        }
        let mut object = serde_json::Map::new();
        object.insert("cursor".to_owned(), cursor.clone().into());
        object.extend(self.since.iter().map(|(log, seq)| (log.clone(), (*seq).into())));
        Some(format!("after:{}", serde_json::Value::Object(object)))
    }
}

#[derive(Debug)]
struct Follower {
    out: Out,
    json: bool,
    left: u64,
    place: Place,
}

#[derive(Deserialize)]
struct Identified {
    id: String,
}

impl Follower {
    /// Prints what comes until the connection ends, and says why it ended.
    async fn follow(&mut self, socket: &mut Socket, pause: &mut Duration) -> anyhow::Result<String> {
        while self.left > 0 {
            // Frames that are there already share a write to the terminal or pipe.
            let message = match socket.next().now_or_never() {
                Some(message) => message,
                None => {
                    self.out.flush()?;
                    match tokio::time::timeout(SILENCE, socket.next()).await {
                        Ok(message) => message,
                        Err(_) => return Ok("nothing came, not even a ping".to_owned()),
                    }
                }
            };
            match message {
                Some(Ok(Message::Text(text))) => self.take(&text)?,
                Some(Ok(Message::Close(Some(close)))) => {
                    return Ok(format!("{} {}", close.code, close.reason));
                }
                Some(Ok(_)) => continue,
                Some(Err(error)) => return Ok(error.to_string()),
                None => return Ok("it was closed".to_owned()),
            }
            *pause = PAUSES.0;
        }
        Ok(String::new())
    }

    fn take(&mut self, text: &str) -> anyhow::Result<()> {
        if let Some(members) = text.as_bytes().strip_prefix(RECORD_FRAME_START) {
            let json = format!("{{{}", String::from_utf8_lossy(members));
            let record: Identified = serde_json::from_str(&json)?;
            show(&mut self.out, &json, self.json)?;
            if let Ok(RecordId { key, seq }) = record.id.parse() {
                self.place.passed(key.to_string(), seq);
            }
            self.left -= 1;
            return Ok(());
        }
        match serde_json::from_str(text) {
            Ok(Frame::CaughtUp { cursor } | Frame::Cursor { cursor } | Frame::Subscribed { cursor }) => {
                self.place.at(cursor);
            }
            Ok(Frame::Gap(gap)) => {
                note_gap(&gap);
                self.place.passed(gap.log, gap.to);
            }
            Ok(Frame::Error { code, detail, .. }) => bail!("{detail} ({code})"),
            Ok(Frame::Published { .. }) | Err(_) => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_where_it_stopped() {
        let log = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN/0000000000000001";
        let mut follower = Follower { out: Out::new(), json: true, left: 9, place: Place::default() };
        assert_eq!(follower.place.start(), None);
        follower.take(r#"{"type":"caught_up","cursor":"c1"}"#).unwrap();
        assert_eq!(follower.place.start().as_deref(), Some("after:c1"));
        for seq in [4, 5] {
            let record = format!(r#"{{"type":"record","id":"{log}/{seq}","topic":"a","payload":1}}"#);
            follower.take(&record).unwrap();
        }
        let expected = format!(r#"after:{{"{log}":5,"cursor":"c1"}}"#);
        assert_eq!((follower.place.start(), follower.left), (Some(expected), 7));
        follower.take(r#"{"type":"gap","log":"o/l","from":1,"to":2,"reason":"expired"}"#).unwrap();
        assert!(follower.place.start().unwrap().contains(r#""o/l":2"#));
        follower.take(r#"{"type":"cursor","cursor":"c2"}"#).unwrap();
        follower.take(r#"{"type":"of a later version"}"#).unwrap();
        assert_eq!(follower.place.start().as_deref(), Some("after:c2"));
        let error = follower.take(r#"{"type":"error","code":"bad_filter","detail":"d"}"#).unwrap_err();
        assert_eq!(error.to_string(), "d (bad_filter)");
    }
}
