//! `GET /api/v1/records/{origin}/{log}/{seq}`: one record, with what proves that its origin signed it.

use anode_shared::batch::Proof;
use anode_shared::frames::GapReason;
use anode_shared::ids::{LogKey, RecordId, parse_seq};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use utoipa::ToSchema;

use super::super::problem::{Code, Problem};
use super::super::query::Query;
use super::super::{App, openapi};
use super::{json, write_record};
use crate::store::{Found, Missing};

/// Enough to check the origin's signature over a record without trusting this node; bytes as base64.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Proof)]
pub(crate) struct ProofText {
    /// The record's bytes as they were signed.
    record_bytes: String,
    /// The batch header's bytes.
    header: String,
    /// The origin's signature over the header.
    signature: String,
    /// The record's place in the batch, from 0.
    index: u32,
    /// The hashes from the record's leaf to the root.
    path: Vec<String>,
}

impl From<&Proof> for ProofText {
    fn from(proof: &Proof) -> Self {
        Self {
            record_bytes: STANDARD.encode(&proof.record_bytes),
            header: STANDARD.encode(&proof.header),
            signature: STANDARD.encode(&proof.signature),
            index: proof.index,
            path: proof.path.iter().map(|hash| STANDARD.encode(hash.0)).collect(),
        }
    }
}

/// A record with its proof.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProvenRecord {
    #[serde(flatten)]
    record: openapi::Record,
    /// What proves it; `shared/FORMAT.md` says how.
    #[schema(inline = false)]
    proof: ProofText,
}

/// Gives one record with its proof, from the store, the archive or a peer: where it is not stored here, after some seconds at most.
#[utoipa::path(
    get, path = "/api/v1/records/{origin}/{log}/{seq}", operation_id = "get_record", tag = "records",
    params(
        ("origin" = String, Path, description = "The peer id of the node that accepted it"),
        ("log" = String, Path, description = "The log, 16 hex digits"),
        ("seq" = u64, Path, description = "Its place in the log, from 1"),
    ),
    responses((status = 200, description = "The record", body = ProvenRecord), openapi::Read, openapi::Missing)
)]
pub(super) async fn record(
    State(app): State<App>,
    path: Result<Path<(String, String, String)>, PathRejection>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    app.caller(&headers)?;
    Query::parse(uri.query(), &[])?;
    let Path((origin, log, seq)) = path.map_err(|error| Problem::bad_request(error.body_text()))?;
    find(&app, id(&origin, &log, &seq)?).await.map(json)
}

/// One record with its proof, as JSON.
pub(in crate::api) async fn proven(app: &App, text: &str) -> Result<Vec<u8>, Problem> {
    let wrong = || Problem::bad_request("a record's id is <origin>/<log>/<seq>");
    let mut parts = text.split('/');
    let (Some(origin), Some(log), Some(seq), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(wrong());
    };
    find(app, id(origin, log, seq)?).await
}

async fn find(app: &App, id: RecordId) -> Result<Vec<u8>, Problem> {
    let found = app.reading(move |store| store.record(&id)).await?;
    found.map(|found| write(&found)).map_err(|missing| absent(&id, missing))
}

fn id(origin: &str, log: &str, seq: &str) -> Result<RecordId, Problem> {
    let wrong = |error: anode_shared::ids::IdError| Problem::bad_request(error.to_string());
    let key = LogKey { origin: origin.parse().map_err(wrong)?, log: log.parse().map_err(wrong)? };
    Ok(RecordId { key, seq: parse_seq(seq).map_err(wrong)? })
}

fn write(found: &Found) -> Vec<u8> {
    let mut out = Vec::new();
    write_record(&mut out, &found.batch.key().to_string(), &found.batch, found.index);
    out.pop();
    out.extend_from_slice(b",\"proof\":");
    // Writing to memory cannot fail.
    let _ = serde_json::to_writer(&mut out, &ProofText::from(&found.proof));
    out.push(b'}');
    out
}

fn absent(id: &RecordId, missing: Missing) -> Problem {
    let words = match missing {
        Missing::Unknown => {
            return Problem::new(Code::NotFound, format!("this node has not heard of a record {id}"));
        }
        Missing::Gone(GapReason::Expired) => "expired: retention dropped it",
        Missing::Gone(GapReason::Unreachable) => "unreachable: nobody who is there has it",
        Missing::Gone(GapReason::Forked) => {
            "forked: its log ended before it, since its origin signed two versions"
        }
        Missing::Gone(GapReason::Corrupt) => "corrupt: it is damaged on disk, and nobody else has it",
    };
    Problem::new(Code::Gone, words)
}
