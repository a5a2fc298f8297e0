//! Records: taken in, given out by time, and one by one with their proof.

use anode_shared::frames::{RECORD_FRAME_START, record_json};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use crate::store::Loaded;

mod publish;
mod intake;
mod history;
mod proof;

pub(super) use publish::RecordToPublish;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(publish::publish, history::history)).routes(routes!(proof::record))
}

/// Writes a record as an object behind what `out` holds: its frame without the type. `log` is `<origin>/<log>`.
fn write_record(out: &mut Vec<u8>, log: &str, batch: &Loaded, index: usize) {
    let start = out.len();
    record_json(out, log, batch.seq(index), &batch.record(index));
    out.drain(start + 1..start + RECORD_FRAME_START.len());
}

/// An answer of JSON that was written by hand.
fn json(body: impl Into<Bytes>) -> Response {
    let mut response = body.into().into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
