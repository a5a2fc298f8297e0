//! What came over the feed since the page was last drawn.

use std::collections::VecDeque;

use anode_shared::frames::{Frame, GapBody, GapReason, RECORD_FRAME_START, RecordBody};
use serde::Deserialize;

use super::records::SHOWN;
use super::row::Row;

/// A message of the feed.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// A record, whose text is read only if it is shown.
    Record {
        /// Its id.
        id: String,
        /// The whole frame.
        text: String,
    },
    /// Any other frame.
    Frame(Frame),
}

/// Reads a message; `None` where it is of a kind that this page does not know.
pub fn read(text: String) -> Option<Message> {
    if text.as_bytes().starts_with(RECORD_FRAME_START) {
        return Some(Message::Record { id: id(&text)?, text });
    }
    let flat: Flat = serde_json::from_str(&text).ok()?;
    flat.frame().map(Message::Frame)
}

/// Every frame of a feed but records, in one flat shape: a tagged enum would be read twice.
#[derive(Deserialize)]
struct Flat {
    r#type: String,
    cursor: Option<String>,
    code: Option<String>,
    detail: Option<String>,
    log: Option<String>,
    from: Option<u64>,
    to: Option<u64>,
    reason: Option<GapReason>,
}

impl Flat {
    fn frame(self) -> Option<Frame> {
        Some(match self.r#type.as_str() {
            "caught_up" => Frame::CaughtUp { cursor: self.cursor? },
            "cursor" => Frame::Cursor { cursor: self.cursor? },
            "subscribed" => Frame::Subscribed { cursor: self.cursor? },
            "gap" => {
                Frame::Gap(GapBody { log: self.log?, from: self.from?, to: self.to?, reason: self.reason? })
            }
            "error" => Frame::Error { reference: None, n: None, code: self.code?, detail: self.detail? },
            // This page publishes by requests.
            _ => return None,
        })
    }
}

/// The id of a record frame. Nodes write it first, and it holds nothing that JSON escapes.
fn id(frame: &str) -> Option<String> {
    let rest = &frame[RECORD_FRAME_START.len()..];
    match rest.strip_prefix(r#""id":""#).and_then(|rest| rest.split_once('"')) {
        Some((id, _)) => Some(id.to_owned()),
        None => serde_json::from_str::<RecordBody>(frame).ok().map(|body| body.id),
    }
}

/// What waits to be shown.
#[derive(Debug)]
enum Waiting {
    Record(String),
    Gap(GapBody),
    Note(String),
}

/// What waits to be shown, oldest first. It is bounded by what a list can show, so a page that is not drawn (in a
/// hidden tab) does not grow.
#[derive(Debug, Default)]
pub struct Inbox {
    waiting: VecDeque<Waiting>,
    left_out: u64,
}

impl Inbox {
    /// Takes a record's frame.
    pub fn record(&mut self, frame: String) {
        self.push(Waiting::Record(frame));
    }

    /// Takes a gap.
    pub fn gap(&mut self, gap: GapBody) {
        self.push(Waiting::Gap(gap));
    }

    /// Takes a word of the page itself.
    pub fn note(&mut self, text: String) {
        self.push(Waiting::Note(text));
    }

    fn push(&mut self, waiting: Waiting) {
        if self.waiting.len() == SHOWN {
            self.waiting.pop_front();
            self.left_out += 1;
        }
        self.waiting.push_back(waiting);
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes out all that waits, oldest first, and how many there was no room for.
    pub fn take(&mut self) -> (Vec<Row>, u64) {
        let rows = self.waiting.drain(..).filter_map(|waiting| match waiting {
            Waiting::Record(frame) => {
                let body: RecordBody = serde_json::from_str(&frame).ok()?;
                Some(Row::Record(Box::new(body.into())))
            }
            Waiting::Gap(gap) => Some(Row::Gap(gap)),
            Waiting::Note(text) => Some(Row::Note(text)),
        });
        (rows.collect(), std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(seq: usize) -> String {
        format!(
            r#"{{"type":"record","id":"o/l/{seq}","topic":"a","time":"2026-11-23T02:47:00.000000Z","source":null,"publisher":null,"payload":{seq}}}"#
        )
    }

    #[test]
    fn it_reads_every_kind_of_message() {
        let Some(Message::Record { id, .. }) = read(frame(7)) else { panic!("a record") };
        assert_eq!(id, "o/l/7");
        let other_order = r#"{"type":"record","topic":"a","time":"","id":"o/l/8","source":null,"publisher":null,"payload":1}"#;
        assert!(matches!(read(other_order.to_owned()), Some(Message::Record { id, .. }) if id == "o/l/8"));
        let cursor = || "c".to_owned();
        let gap = GapBody { log: "o/l".to_owned(), from: 1, to: 2, reason: GapReason::Expired };
        for frame in [
            Frame::Cursor { cursor: cursor() },
            Frame::CaughtUp { cursor: cursor() },
            Frame::Subscribed { cursor: cursor() },
            Frame::Gap(gap),
            Frame::Error { reference: None, n: None, code: "bad_topic".to_owned(), detail: "d".to_owned() },
        ] {
            assert_eq!(read(serde_json::to_string(&frame).unwrap()), Some(Message::Frame(frame)));
        }
        for unknown in ["", "{", r#"{"type":"later"}"#, r#"{"type":"record",}"#] {
            assert_eq!(read(unknown.to_owned()), None, "{unknown}");
        }
    }

    #[test]
    fn it_keeps_the_newest_and_counts_the_rest() {
        let mut inbox = Inbox::default();
        for seq in 0..SHOWN + 3 {
            inbox.record(frame(seq));
        }
        let (rows, left_out) = inbox.take();
        assert_eq!((rows.len(), left_out), (SHOWN, 3));
        assert!(matches!(&rows[0], Row::Record(row) if row.id == "o/l/3"));
        assert!(inbox.is_empty() && inbox.take().1 == 0);
    }
}
