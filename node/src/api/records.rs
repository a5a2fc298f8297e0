//! Records: taken in, given out by time, and one by one with their proof.

use anode_shared::frames::{RECORD_FRAME_START, record_json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::reading::json;
use crate::store::Loaded;

mod publish;
mod intake;
mod history;
mod proof;

pub(super) use history::{HistoryParams, page};
pub(super) use proof::proven;
pub(super) use publish::{RecordToPublish, check_media_type};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(publish::publish, history::history)).routes(routes!(proof::record))
}

/// Writes a record as an object behind what `out` holds: its frame without the type. `log` is `<origin>/<log>`.
fn write_record(out: &mut Vec<u8>, log: &str, batch: &Loaded, index: usize) {
    let start = out.len();
    record_json(out, log, batch.seq(index), &batch.record(index));
    out.drain(start + 1..start + RECORD_FRAME_START.len());
}
