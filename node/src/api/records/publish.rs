//! `POST /api/v1/records`: one record or an array of them, all or nothing, acknowledged once on stable storage.

use std::time::Instant;

use anode_shared::ids::{LogKey, RecordId};
use anode_shared::publish::Ack;
use anode_shared::record::PublisherSignature;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::super::limits::Collected;
use super::super::problem::{Code, Problem};
use super::super::query::Query;
use super::super::{App, openapi};
use super::intake;
use super::json;
use crate::feed::start::{check_ack, parse_ack};
use crate::store::NewRecord;

/// The longest body.
const MAX_BODY: usize = 16 << 20;
/// Bodies above this are read on a blocking thread: parsing them would hold up other connections for a millisecond and more.
const INLINE_BODY: usize = 128 << 10;

/// A record to publish.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RecordToPublish {
    /// Its topic: 1 to 16 tokens of `a-z 0-9 _ -`, joined by dots.
    #[schema(max_length = 200)]
    topic: String,
    /// Its payload as JSON, kept byte for byte; at most 128 KiB.
    #[schema(required = false)]
    payload: serde_json::Value,
    /// Its payload as base64, where it is not JSON.
    payload_base64: Option<String>,
    /// What `payload_base64` holds.
    #[schema(max_length = 128)]
    content_type: Option<String>,
    /// The same key on the same topic within 2 minutes gets the first record's id and stores nothing.
    #[schema(max_length = 64)]
    dedupe: Option<String>,
    /// The publisher's own signature.
    publisher_signature: Option<PublisherSignature>,
}

/// One record, or several.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "the schema of what `intake` reads")]
pub(crate) enum ToPublish {
    /// One record.
    One(Box<RecordToPublish>),
    /// Up to 10,000 records and 16 MiB, all or nothing.
    Many(Vec<RecordToPublish>),
}

/// What was taken.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Published {
    /// The records' ids, in the order in which they came.
    ids: Vec<String>,
    /// The promise that was reached.
    ack: Ack,
}

/// Takes one record or an array of them, all or nothing, and answers once they are on stable storage.
#[utoipa::path(
    post, path = "/api/v1/records", operation_id = "publish_records", tag = "records", security(("token" = [])),
    params(("ack" = Option<Ack>, Query, description = "Which promise the answer gives; `durable` without it")),
    request_body = ToPublish,
    responses(
        (status = 200, description = "The records are stored, as was promised", body = Published),
        (status = 202, description = "They are stored, and the wider promise was not reached in time: `ack` says which was", body = Published),
         openapi::Read, openapi::Token, openapi::Publish)
)]
pub(super) async fn publish(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let (publisher, ack) = match admit(&app, &parts) {
        Ok(admitted) => admitted,
        Err(problem) => {
            app.bodies.discard(&parts.headers, body).await;
            return Err(problem);
        }
    };
    let body = app.bodies.collect(&parts.headers, body, MAX_BODY).await?;
    let records = read(body, publisher).await?;
    let publishing = app.store.publish(records)?;
    let taken = Instant::now();
    let ids = publishing.await?;
    app.http.acknowledged(taken.elapsed());
    let reached = app.store.reach(&ids, ack).await;
    let mut response = json(answer(&ids, reached));
    if reached != ack {
        *response.status_mut() = StatusCode::ACCEPTED;
    }
    Ok(response)
}

/// Decides from the head alone whether the body is worth reading, and gives the name that its records carry.
fn admit(app: &App, parts: &Parts) -> Result<(Option<&'static str>, Ack), Problem> {
    let publisher = app.caller(&parts.headers)?.publisher()?;
    let query = Query::parse(parts.uri.query(), &["ack"])?;
    let ack = query.get("ack").map(parse_ack).transpose()?.unwrap_or_default();
    check_ack(ack, &app.store)?;
    check_media_type(parts)?;
    app.takes_records()?;
    Ok((publisher, ack))
}

/// Takes only JSON: a form's media type would let any page post here without asking first.
pub(in crate::api) fn check_media_type(parts: &Parts) -> Result<(), Problem> {
    let kinds: Vec<_> = parts.headers.get_all(header::CONTENT_TYPE).iter().collect();
    let is_json = |kind: &HeaderValue| {
        let essence = kind.to_str().unwrap_or("").split(';').next().unwrap_or("").trim().to_ascii_lowercase();
        essence == "application/json"
    };
    if let [kind] = kinds[..]
        && is_json(kind)
    {
        return Ok(());
    }
    Err(Problem::new(
        Code::UnsupportedMediaType,
        "the body must be JSON and say so once: Content-Type: application/json (curl: --json, or -H 'content-type: application/json')",
    ))
}

async fn read(body: Collected, publisher: Option<&'static str>) -> Result<Vec<NewRecord>, Problem> {
    if body.bytes.len() <= INLINE_BODY {
        return intake::parse(&body.bytes, publisher);
    }
    let parsing = tokio::task::spawn_blocking(move || intake::parse(&body.bytes, publisher));
    parsing.await.unwrap_or_else(|error| Err(Problem::internal(&error)))
}

/// Writes the ids. A log's name is made once, not for every record.
fn answer(ids: &[RecordId], ack: Ack) -> Vec<u8> {
    let mut out = Vec::with_capacity(40 + ids.len() * 80);
    let mut last: Option<(LogKey, String)> = None;
    out.extend_from_slice(b"{\"ids\":[");
    for (place, id) in ids.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        let name = match &last {
            Some((key, name)) if *key == id.key => name,
            _ => &last.insert((id.key, id.key.to_string())).1,
        };
        out.push(b'"');
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(format!("/{}\"", id.seq).as_bytes());
    }
    out.extend_from_slice(format!("],\"ack\":\"{}\"}}", ack.as_str()).as_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use anode_shared::ids::{LogId, Origin};

    #[test]
    fn it_writes_the_ids_of_several_logs() {
        let id =
            |log: u64, seq: u64| RecordId { key: LogKey { origin: Origin([7; 32]), log: LogId(log) }, seq };
        for ids in [vec![], vec![id(1, 1)], vec![id(1, 1), id(1, 2), id(2, 1), id(1, 3)]] {
            let answer: serde_json::Value = serde_json::from_slice(&answer(&ids, Ack::Durable)).unwrap();
            let expected: Vec<String> = ids.iter().map(ToString::to_string).collect();
            assert_eq!(answer, serde_json::json!({ "ids": expected, "ack": "durable" }));
        }
    }

    #[test]
    fn it_takes_json_that_says_so() {
        for (kinds, expected) in [
            (&["application/json"][..], true),
            (&["Application/JSON; charset=utf-8"], true),
            (&[], false),
            (&["text/plain"], false),
            (&["application/x-www-form-urlencoded"], false),
            (&["application/json", "text/plain"], false),
            (&["application/jsonp"], false),
        ] {
            let mut request = axum::http::Request::builder();
            for kind in kinds {
                request = request.header("content-type", *kind);
            }
            let (parts, ()) = request.body(()).unwrap().into_parts();
            assert_eq!(check_media_type(&parts).is_ok(), expected, "{kinds:?}");
        }
    }
}
