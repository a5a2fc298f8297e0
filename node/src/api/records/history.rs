//! `GET /api/v1/records`: stored records by time, in pages that all show the same moment.

use std::time::{Duration, Instant};

use anode_shared::cursor::Cursor;
use anode_shared::frames::GapBody;
use anode_shared::ids::LogKey;
use anode_shared::time::Micros;
use anode_shared::topic::{TopicPattern, Topics};
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;

use super::super::problem::{Code, Problem};
use super::super::query::{Query, shorten};
use super::super::{App, openapi};
use super::write_record;
use crate::feed::filter::Filter;
use crate::feed::start::parse_time;
use crate::store::{Direction, History, HistoryError, Page, Store};

/// How many records a page shows where nobody says.
const LIMIT: usize = 100;
/// The most records of a page.
const MAX_LIMIT: usize = 10_000;
/// How long a page scans: then it is short, or empty, and has a `next`.
const SCAN: Duration = Duration::from_secs(1);
/// The most topic patterns of a question.
const MAX_TOPICS: usize = 100;
/// The parameters; the starred one may be repeated.
const PARAMETERS: [&str; 8] = ["topic*", "since", "until", "after", "filter", "order", "limit", "page"];

/// A page of stored records.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RecordPage {
    /// The records, by time.
    records: Vec<openapi::Record>,
    /// What is missing in the range, also what may still come.
    gaps: Vec<GapBody>,
    /// Goes back as `page`; null where this is the last page.
    #[schema(required = true)]
    next: Option<String>,
    /// The moment that all pages show, to go on live from.
    cursor: String,
}

/// Gives stored records by time; what the node dropped or never had comes from the archive and from peers.
#[utoipa::path(
    get, path = "/api/v1/records", operation_id = "list_records", tag = "records",
    params(
        ("topic" = Option<Vec<String>>, Query, description = "Topic patterns; all topics without it"),
        ("since" = Option<String>, Query, description = "RFC 3339, inclusive"),
        ("until" = Option<String>, Query, description = "RFC 3339, exclusive"),
        ("after" = Option<String>, Query, description = "A cursor, opaque or as an object"),
        ("filter" = Option<String>, Query, description = "A CEL expression over topic, source, publisher, time and payload"),
        ("order" = Option<String>, Query, description = "`asc` (the default) or `desc`, by time"),
        ("limit" = Option<u16>, Query, description = "1 to 10,000 records; 100 without it"),
        ("page" = Option<String>, Query, description = "`next` of the last page"),
    ),
    responses((status = 200, description = "A page", body = RecordPage), openapi::Read, openapi::Scan)
)]
pub(super) async fn history(
    State(app): State<App>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    app.caller(&headers)?;
    app.answers.json(ask(&app, Question::parse(uri.query())?).await?)
}

/// A page of stored records, as JSON.
pub(in crate::api) async fn page(app: &App, params: HistoryParams) -> Result<Vec<u8>, Problem> {
    ask(app, Question::new(params)?).await
}

async fn ask(app: &App, question: Question) -> Result<Vec<u8>, Problem> {
    app.read(question.filter.is_some(), move |store| question.ask(store)).await?
}

/// What may be asked for, as an object.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::api) struct HistoryParams {
    topics: Vec<String>,
    since: Option<String>,
    until: Option<String>,
    /// A cursor, as a text or an object.
    after: Option<Value>,
    filter: Option<String>,
    order: Option<String>,
    limit: Option<usize>,
    page: Option<String>,
}

impl HistoryParams {
    /// The cursor as a text.
    fn after(&self) -> Result<Option<String>, Problem> {
        match &self.after {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(object @ Value::Object(_)) => Ok(Some(object.to_string())),
            Some(_) => Err(Problem::new(Code::BadCursor, "after: a cursor is a text or an object")),
        }
    }
}

/// What is asked for, checked.
#[derive(Debug)]
struct Question {
    topics: Topics,
    since: Option<Micros>,
    until: Option<Micros>,
    after: Option<Cursor>,
    filter: Option<Filter>,
    direction: Direction,
    limit: usize,
    page: Option<String>,
    fingerprint: u64,
}

impl Question {
    fn parse(query: Option<&str>) -> Result<Self, Problem> {
        let query = Query::parse(query, &PARAMETERS)?;
        let text = |name: &str| query.get(name).map(str::to_owned);
        Self::new(HistoryParams {
            topics: query.all("topic").map(str::to_owned).collect(),
            since: text("since"),
            until: text("until"),
            after: text("after").map(Value::String),
            filter: text("filter"),
            order: text("order"),
            limit: query.number("limit", 1, MAX_LIMIT)?,
            page: text("page"),
        })
    }

    fn new(params: HistoryParams) -> Result<Self, Problem> {
        let after = params.after()?;
        Ok(Self {
            topics: topics(&params.topics)?,
            since: time("since", params.since.as_deref())?,
            until: time("until", params.until.as_deref())?,
            after: after.as_deref().map(cursor).transpose()?,
            filter: params.filter.as_deref().map(filter).transpose()?,
            direction: match params.order.as_deref() {
                None | Some("asc") => Direction::Asc,
                Some("desc") => Direction::Desc,
                Some(other) => {
                    return Err(Problem::bad_request(format!(
                        "order={} is neither asc nor desc",
                        shorten(other)
                    )));
                }
            },
            limit: match params.limit.unwrap_or(LIMIT) {
                limit @ 1..=MAX_LIMIT => limit,
                limit => {
                    let words = format!("limit={limit} is no whole number from 1 to {MAX_LIMIT}");
                    return Err(Problem::bad_request(words));
                }
            },
            fingerprint: fingerprint(&params, after.as_deref()),
            page: params.page,
        })
    }

    /// Asks the store, and writes its answer. Blocks.
    fn ask(&self, store: &Store) -> Result<Vec<u8>, Problem> {
        let page = store.history(&History {
            topics: &self.topics,
            since: self.since,
            until: self.until,
            after: self.after.as_ref(),
            direction: self.direction,
            limit: self.limit,
            page: self.page.as_deref(),
            fingerprint: self.fingerprint,
            keep: &|batch, index| self.filter.as_ref().is_none_or(|filter| filter.matches(batch, index)),
            deadline: Instant::now() + SCAN,
            lend_until: None,
        })?;
        Ok(write(&page))
    }
}

impl From<HistoryError> for Problem {
    fn from(error: HistoryError) -> Self {
        match error {
            HistoryError::Page => Self::bad_request(error.to_string()),
            HistoryError::Storage(error) => {
                tracing::error!(%error, "Failed to read stored records");
                Self::new(Code::StorageFailed, "stored records could not be read; the node's log says why")
            }
        }
    }
}

fn topics(texts: &[String]) -> Result<Topics, Problem> {
    let bad = |error: anode_shared::topic::TopicError| Problem::new(Code::BadTopic, error.to_string());
    let patterns: Vec<TopicPattern> =
        texts.iter().map(|text| text.parse().map_err(bad)).collect::<Result<_, _>>()?;
    if patterns.len() > MAX_TOPICS {
        return Err(Problem::new(
            Code::BadTopic,
            format!("topic is there {} times; at most {MAX_TOPICS} patterns are taken", patterns.len()),
        ));
    }
    Ok(Topics::new(patterns))
}

fn time(name: &str, text: Option<&str>) -> Result<Option<Micros>, Problem> {
    let Some(text) = text else { return Ok(None) };
    parse_time(text).map(Some).ok_or_else(|| {
        Problem::bad_request(format!(
            "{name}={} is no RFC 3339 time since 1970; write it as 2026-11-23T02:47:00Z",
            shorten(text)
        ))
    })
}

fn cursor(text: &str) -> Result<Cursor, Problem> {
    Cursor::parse(text).map_err(|error| Problem::new(Code::BadCursor, format!("after: {error}")))
}

fn filter(text: &str) -> Result<Filter, Problem> {
    Filter::compile(text).map_err(|error| Problem::new(Code::BadFilter, format!("filter: {error}")))
}

/// What binds a page's token to its question: everything but where the page begins and how long it is.
fn fingerprint(params: &HistoryParams, after: Option<&str>) -> u64 {
    let mut hash = Sha256::new();
    let mut add = |name: &str, value: &str| hash.update(format!("{name}={}:{value}\n", value.len()));
    params.topics.iter().for_each(|topic| add("topic", topic));
    let HistoryParams { since, until, filter, order, .. } = params;
    let rest = [("since", since.as_deref()), ("until", until.as_deref()), ("after", after)];
    for (name, value) in rest.into_iter().chain([("filter", filter.as_deref()), ("order", order.as_deref())])
    {
        value.into_iter().for_each(|value| add(name, value));
    }
    let digest: [u8; 32] = hash.finalize().into();
    u64::from_le_bytes([
        digest[0], digest[1], digest[2], digest[3], digest[4], digest[5], digest[6], digest[7],
    ])
}

fn write(page: &Page) -> Vec<u8> {
    let mut out = Vec::with_capacity(256 + page.records.len() * 512);
    let mut log: Option<(LogKey, String)> = None;
    out.extend_from_slice(b"{\"records\":[");
    for (place, (batch, index)) in page.records.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        let name = match &log {
            Some((key, name)) if *key == batch.key() => name,
            _ => &log.insert((batch.key(), batch.key().to_string())).1,
        };
        write_record(&mut out, name, batch, *index);
    }
    let gaps: Vec<GapBody> = page.gaps.iter().map(GapBody::from).collect();
    let rest = [
        ("],\"gaps\":", serde_json::to_string(&gaps)),
        (",\"next\":", serde_json::to_string(&page.next)),
        (",\"cursor\":", serde_json::to_string(&page.cursor.to_string())),
    ];
    for (name, value) in rest {
        out.extend_from_slice(name.as_bytes());
        // Texts and numbers always make JSON.
        out.extend_from_slice(value.unwrap_or_default().as_bytes());
    }
    out.push(b'}');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_every_parameter() {
        let question = Question::parse(Some(
            "topic=a.%3E&topic=b&since=2026-01-01T00:00:00Z&until=2026-01-02T01:00:00+01:00&filter=topic%20%3D%3D%20%22a%22&order=desc&limit=10000&page=x",
        ))
        .unwrap();
        assert_eq!(question.topics.to_string(), "a.> b");
        assert_eq!(question.until.unwrap() - question.since.unwrap(), 86_400_000_000);
        assert_eq!(
            (question.direction, question.limit, question.page.as_deref()),
            (Direction::Desc, 10_000, Some("x"))
        );
        assert_eq!(question.filter.unwrap().text(), "topic == \"a\"");
        let plain = Question::parse(None).unwrap();
        assert_eq!((plain.topics.is_all(), plain.limit, plain.direction), (true, LIMIT, Direction::Asc));
    }

    #[test]
    fn it_refuses_by_name() {
        for (query, code, word) in [
            ("topic=A", Code::BadTopic, "topic"),
            ("topic=", Code::BadTopic, "topic"),
            ("since=yesterday", Code::BadRequest, "since"),
            ("until=1", Code::BadRequest, "until"),
            ("limit=0", Code::BadRequest, "limit"),
            ("limit=10001", Code::BadRequest, "limit"),
            ("order=up", Code::BadRequest, "order"),
            ("after=xyz", Code::BadCursor, "after"),
            ("after=%7B%22cursor%22%3A5%7D", Code::BadCursor, "after"),
            ("filter=payload.", Code::BadFilter, "filter"),
            ("unknown=1", Code::BadRequest, "unknown"),
            ("limit=1&limit=2", Code::BadRequest, "limit"),
            (&"topic=a&".repeat(MAX_TOPICS + 1), Code::BadTopic, "topic"),
        ] {
            let problem = Question::parse(Some(query)).unwrap_err();
            assert_eq!(problem.body().code, code, "{query}");
            assert!(problem.body().detail.contains(word), "{query}: {}", problem.body().detail);
        }
    }

    #[test]
    fn it_binds_pages_to_their_question() {
        let print = |query: &str| Question::parse(Some(query)).unwrap().fingerprint;
        assert_eq!(print("topic=a&limit=5"), print("topic=a&limit=7&page=x"));
        for other in
            ["topic=b", "topic=a&topic=b", "topic=a&order=desc", "topic=a&since=2026-01-01T00:00:00Z"]
        {
            assert_ne!(print("topic=a"), print(other), "{other}");
        }
    }
}
