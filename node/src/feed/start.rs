//! What a client asks for: topics, filter, start and format, read from a query or a `subscribe` message.

use anode_shared::cursor::Cursor;
use anode_shared::publish::{Ack, check_topic};
use anode_shared::time::{Micros, from_rfc3339};
use anode_shared::topic::{Topic, TopicPattern, Topics};
use axum::extract::Query;
use axum::http::Uri;
use serde::Deserialize;

use super::fault::{Code, Fault};
use super::filter::Filter;
use crate::store::{Start, Store};

/// The most topic patterns of one subscription: each record is held against every one of them.
pub const MAX_PATTERNS: usize = 64;
/// The most records that `last:N` gives, the same as a page of history.
pub const MAX_LAST: usize = 10_000;

/// How frames are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// JSON in text frames.
    #[default]
    Json,
    /// CBOR in binary frames.
    Cbor,
}

/// What a subscriber wants.
#[derive(Debug, Clone)]
pub struct Subscription {
    /// Records of these topics.
    pub topics: Topics,
    /// The patterns as they were given.
    pub patterns: Vec<TopicPattern>,
    /// Of those, the records that this matches.
    pub filter: Option<Filter>,
    /// Where it begins.
    pub begin: Start,
}

/// The query of `/feed`.
#[derive(Debug, Clone)]
pub struct FeedRequest {
    /// What is wanted.
    pub subscription: Subscription,
    /// How it is encoded.
    pub format: Format,
}

/// The query of `/publish`.
#[derive(Debug, Clone)]
pub struct PublishRequest {
    /// The topic of every frame.
    pub topic: Topic,
    /// What each frame's answer promises.
    pub ack: Ack,
    /// What binary frames hold.
    pub content_type: String,
}

impl FeedRequest {
    /// Reads the query of a request.
    ///
    /// # Errors
    /// With what to change.
    pub fn parse(uri: &Uri) -> Result<Self, Fault> {
        let mut topics = Vec::new();
        let (mut filter, mut start, mut format) = (None, None, None);
        for (name, value) in pairs(uri)? {
            match name.as_str() {
                "topic" => topics.push(value),
                "filter" => once(&mut filter, "filter", value)?,
                "start" => once(&mut start, "start", value)?,
                "format" => once(&mut format, "format", value)?,
                "ticket" => {}
                _ => return Err(unknown(&name, "topic, filter, start, format and ticket")),
            }
        }
        Ok(Self {
            subscription: Subscription::new(&topics, filter.as_deref(), start.as_deref())?,
            format: match format.as_deref() {
                None | Some("json") => Format::Json,
                Some("cbor") => Format::Cbor,
                Some(_) => return Err(Fault::new(Code::BadRequest, "format is json or cbor")),
            },
        })
    }
}

impl PublishRequest {
    /// Reads the query of a request.
    ///
    /// # Errors
    /// With what to change.
    pub fn parse(uri: &Uri) -> Result<Self, Fault> {
        let (mut topic, mut ack, mut content_type) = (None, None, None);
        for (name, value) in pairs(uri)? {
            match name.as_str() {
                "topic" => once(&mut topic, "topic", value)?,
                "ack" => once(&mut ack, "ack", value)?,
                "content_type" => once(&mut content_type, "content_type", value)?,
                "ticket" => {}
                _ => return Err(unknown(&name, "topic, ack, content_type and ticket")),
            }
        }
        let topic: String =
            topic.ok_or_else(|| Fault::new(Code::BadTopic, "topic is missing: /publish?topic=a.b"))?;
        let content_type = content_type.unwrap_or_else(|| "application/octet-stream".to_owned());
        check_content_type(&content_type)?;
        Ok(Self {
            topic: check_topic(&topic).map_err(|error| Fault::new(Code::BadTopic, error.to_string()))?,
            ack: ack.as_deref().map(parse_ack).transpose()?.unwrap_or_default(),
            content_type,
        })
    }
}

/// Reads `ack=`.
///
/// # Errors
/// With the words that it takes.
pub fn parse_ack(text: &str) -> Result<Ack, Fault> {
    match text {
        "durable" => Ok(Ack::Durable),
        "replicated" => Ok(Ack::Replicated),
        "archived" => Ok(Ack::Archived),
        _ => Err(Fault::new(Code::BadRequest, "ack is durable, replicated or archived")),
    }
}

/// Refuses the promises that nobody is there to keep.
///
/// # Errors
/// With the promise that can be kept.
pub fn check_ack(ack: Ack, store: &Store) -> Result<(), Fault> {
    match ack {
        _ if store.can_reach(ack) => Ok(()),
        Ack::Durable => Ok(()),
        Ack::Replicated => Err(Fault::new(
            Code::NoPeers,
            "ack=replicated needs another node, and this one has no peers; use ack=durable",
        )),
        Ack::Archived => Err(Fault::new(
            Code::NoArchive,
            "ack=archived needs Cassandra, and none is configured; use ack=durable",
        )),
    }
}

fn check_content_type(kind: &str) -> Result<(), Fault> {
    let good = (1..=anode_shared::publish::MAX_CONTENT_TYPE).contains(&kind.len())
        && kind.bytes().all(|b| (0x20..0x7f).contains(&b))
        && kind.contains('/');
    let wrong = || Fault::new(Code::BadRequest, "content_type is a media type such as text/plain");
    if good { Ok(()) } else { Err(wrong()) }
}

impl Subscription {
    /// Reads what a subscriber wants; no topic means all, no start means live.
    ///
    /// # Errors
    /// With what to change.
    pub fn new<S: AsRef<str>>(
        topics: &[S],
        filter: Option<&str>,
        start: Option<&str>,
    ) -> Result<Self, Fault> {
        if topics.len() > MAX_PATTERNS {
            return Err(Fault::new(
                Code::BadTopic,
                format!("{} topic patterns; a subscription takes at most {MAX_PATTERNS}", topics.len()),
            ));
        }
        let patterns = topics
            .iter()
            .map(|text| text.as_ref().parse::<TopicPattern>())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| Fault::new(Code::BadTopic, error.to_string()))?;
        let filter = filter
            .map(Filter::compile)
            .transpose()
            .map_err(|error| Fault::new(Code::BadFilter, error.to_string()))?;
        Ok(Self {
            topics: Topics::new(patterns.clone()),
            patterns: if patterns.is_empty() { vec![TopicPattern::all()] } else { patterns },
            filter,
            begin: start.map_or(Ok(Start::Live), parse_start)?,
        })
    }
}

/// Reads `start=`.
///
/// # Errors
/// With the forms that it takes.
pub fn parse_start(text: &str) -> Result<Start, Fault> {
    match text {
        "live" => return Ok(Start::Live),
        "earliest" => return Ok(Start::Earliest),
        "latest" => return Ok(Start::Latest),
        _ => {}
    }
    if let Some(count) = text.strip_prefix("last:") {
        let count = count.parse().ok().filter(|count| (1..=MAX_LAST).contains(count));
        let wrong = || Fault::new(Code::BadStart, format!("last:N takes a number from 1 to {MAX_LAST}"));
        return count.map(Start::Last).ok_or_else(wrong);
    }
    if let Some(cursor) = text.strip_prefix("after:") {
        return Cursor::parse(cursor)
            .map(Start::After)
            .map_err(|error| Fault::new(Code::BadCursor, error.to_string()));
    }
    parse_time(text).map(Start::Time).ok_or_else(|| {
        Fault::new(
            Code::BadStart,
            "start is live, earliest, latest, last:N, after:<cursor> or a time such as 2026-11-23T02:47:00Z",
        )
    })
}

/// Reads a time; the `+` of an offset may have become a space on its way through a query.
pub fn parse_time(text: &str) -> Option<Micros> {
    let (time, zone) = text.split_at_checked("2026-11-23T02:47:00".len())?;
    from_rfc3339(&format!("{time}{}", zone.replace(' ', "+")))
}

/// A `subscribe` message.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubscribeMessage {
    /// `subscribe`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Topic patterns; none means all.
    #[serde(default)]
    topics: Vec<String>,
    /// The filter.
    #[serde(default)]
    filter: Option<String>,
    /// As in the query; also an object, which is a cursor.
    #[serde(default)]
    start: Option<serde_json::Value>,
}

/// The same as an object of its own.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SubscribeParams {
    topics: Vec<String>,
    filter: Option<String>,
    start: Option<serde_json::Value>,
}

impl SubscribeMessage {
    /// Reads what it wants.
    ///
    /// # Errors
    /// With what to change.
    pub fn subscription(self) -> Result<Subscription, Fault> {
        SubscribeParams { topics: self.topics, filter: self.filter, start: self.start }.subscription()
    }
}

impl SubscribeParams {
    /// Reads what it wants.
    ///
    /// # Errors
    /// With what to change.
    pub fn subscription(self) -> Result<Subscription, Fault> {
        let start = match self.start {
            None | Some(serde_json::Value::Null) => None,
            Some(serde_json::Value::String(text)) => Some(text),
            Some(object @ serde_json::Value::Object(_)) => Some(format!("after:{object}")),
            Some(_) => return Err(Fault::new(Code::BadStart, "start is a text, or a cursor as an object")),
        };
        Subscription::new(&self.topics, self.filter.as_deref(), start.as_deref())
    }
}

fn pairs(uri: &Uri) -> Result<Vec<(String, String)>, Fault> {
    Query::<Vec<(String, String)>>::try_from_uri(uri)
        .map(|Query(pairs)| pairs)
        .map_err(|error| Fault::new(Code::BadRequest, format!("the query cannot be read: {error}")))
}

fn once(slot: &mut Option<String>, name: &str, value: String) -> Result<(), Fault> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(Fault::new(Code::BadRequest, format!("{name} is given twice"))),
    }
}

fn unknown(name: &str, known: &str) -> Fault {
    let name: String = name.chars().take(40).collect();
    Fault::new(Code::BadRequest, format!("unknown parameter {name:?}; there are {known}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(query: &str) -> Result<FeedRequest, Fault> {
        FeedRequest::parse(&format!("/feed?{query}").parse().unwrap())
    }

    #[test]
    fn it_reads_a_query() {
        let request =
            feed("topic=a.*&topic=b.%3E&filter=payload.x%20%3E%201&start=last:5&format=cbor&ticket=t")
                .unwrap();
        assert_eq!(request.format, Format::Cbor);
        assert_eq!(request.subscription.begin, Start::Last(5));
        assert_eq!(request.subscription.topics.to_string(), "a.* b.>");
        assert!(request.subscription.filter.is_some());
        let plain = FeedRequest::parse(&"/feed".parse().unwrap()).unwrap();
        assert!(plain.subscription.topics.is_all());
        assert_eq!((plain.format, plain.subscription.begin), (Format::Json, Start::Live));
    }

    #[test]
    fn it_reads_every_start() {
        let time = from_rfc3339("2026-11-23T02:47:00+01:00").unwrap();
        let cursor = Cursor::new(7);
        for (text, begin) in [
            ("live".to_owned(), Start::Live),
            ("earliest".to_owned(), Start::Earliest),
            ("latest".to_owned(), Start::Latest),
            ("last:10000".to_owned(), Start::Last(10_000)),
            ("2026-11-23T02:47:00+01:00".to_owned(), Start::Time(time)),
            ("2026-11-23T02:47:00 01:00".to_owned(), Start::Time(time)),
            (format!("after:{cursor}"), Start::After(cursor.clone())),
            (format!("after:{{\"cursor\":\"{cursor}\"}}"), Start::After(cursor)),
        ] {
            assert_eq!(parse_start(&text), Ok(begin), "{text}");
        }
    }

    #[test]
    fn it_refuses_with_the_right_word() {
        let many = vec!["topic=a"; 65].join("&");
        for (query, code, words) in [
            ("colour=red", Code::BadRequest, "colour"),
            ("filter=true&filter=true", Code::BadRequest, "twice"),
            ("format=xml", Code::BadRequest, "json or cbor"),
            ("topic=A", Code::BadTopic, "tokens hold"),
            ("topic=", Code::BadTopic, "empty token"),
            (&many, Code::BadTopic, "at most 64"),
            ("filter=)", Code::BadFilter, "line 1, column 1"),
            ("start=never", Code::BadStart, "earliest"),
            ("start=last:0", Code::BadStart, "from 1 to 10000"),
            ("start=last:10001", Code::BadStart, "from 1 to 10000"),
            ("start=last:-1", Code::BadStart, "from 1 to 10000"),
            ("start=", Code::BadStart, "earliest"),
            ("start=after:%7B", Code::BadCursor, "not a cursor"),
            ("start=after:", Code::BadCursor, "not a cursor"),
        ] {
            let fault = feed(query).unwrap_err();
            assert_eq!(fault.code, code, "{query}: {fault}");
            assert!(fault.detail.contains(words), "{query}: {fault}");
        }
    }

    #[test]
    fn it_reads_a_publish_query() {
        let publish = |query: &str| PublishRequest::parse(&format!("/publish?{query}").parse().unwrap());
        let request = publish("topic=a.b&ack=replicated&content_type=image/png").unwrap();
        assert_eq!((request.topic.as_str(), request.ack), ("a.b", Ack::Replicated));
        assert_eq!(publish("topic=a").unwrap().content_type, "application/octet-stream");
        for (query, code) in [
            ("", Code::BadTopic),
            ("topic=$x", Code::BadTopic),
            ("topic=a.*", Code::BadTopic),
            ("topic=a&topic=b", Code::BadRequest),
            ("topic=a&ack=never", Code::BadRequest),
            ("topic=a&content_type=x", Code::BadRequest),
            ("topic=a&x=1", Code::BadRequest),
        ] {
            assert_eq!(publish(query).unwrap_err().code, code, "{query}");
        }
    }

    #[test]
    fn it_reads_a_subscribe_message() {
        let read = |json: &str| serde_json::from_str::<SubscribeMessage>(json).unwrap().subscription();
        let all = read(r#"{"type":"subscribe"}"#).unwrap();
        assert!(all.topics.is_all() && all.begin == Start::Live);
        let cursor = read(r#"{"type":"subscribe","start":{}}"#).unwrap();
        assert_eq!(cursor.begin, Start::After(Cursor::new(0)));
        assert_eq!(read(r#"{"type":"subscribe","start":5}"#).unwrap_err().code, Code::BadStart);
        assert!(serde_json::from_str::<SubscribeMessage>(r#"{"type":"subscribe","topic":"a"}"#).is_err());
    }
}
