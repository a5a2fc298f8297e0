//! The archive: how far each log is, and whether Cassandra holds what the log holds.

use anode_shared::archive::{ArchiveStatus, Verified};
use anode_shared::ids::LogKey;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem::{Code, Problem};
use super::query::Query;
use super::{App, openapi};

/// How many logs a page shows where nobody says.
const LIMIT: usize = 1_000;
/// The most logs of a page.
const MAX_LIMIT: usize = 10_000;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(archive)).routes(routes!(verify))
}

/// Says how the archive is, and how far each log is archived that this node holds.
#[utoipa::path(
    get, path = "/api/v1/archive", operation_id = "get_archive", tag = "node",
    params(
        ("limit" = Option<u16>, Query, description = "1 to 10,000 logs; 1,000 without it"),
        ("page" = Option<String>, Query, description = "`next` of the last page"),
    ),
    responses((status = 200, description = "A page", body = ArchiveStatus), openapi::Read)
)]
async fn archive(
    State(app): State<App>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Json<ArchiveStatus>, Problem> {
    app.caller(&headers)?;
    let query = Query::parse(uri.query(), &["limit", "page"])?;
    let limit = query.number("limit", 1, MAX_LIMIT)?.unwrap_or(LIMIT);
    let page = query.get("page").map(log).transpose()?;
    let (logs, more) = app.archive.logs(page, limit);
    let next = logs.last().filter(|_| more).map(|last| last.log.clone());
    Ok(Json(ArchiveStatus { archive: app.status().components.archive, logs, next }))
}

fn log(text: &str) -> Result<LogKey, Problem> {
    text.parse().map_err(|error| Problem::bad_request(format!("`{text}`: {error}")))
}

/// Compares what this node holds of a log with what Cassandra holds, record by record, about 10,000 of them with one request.
#[utoipa::path(
    get, path = "/api/v1/archive/verify", operation_id = "verify_archive", tag = "node", security(("token" = [])),
    params(
        ("log" = String, Query, description = "The log, `<origin>/<log>`"),
        ("from" = Option<u64>, Query, description = "The first seq; the oldest that is held without it"),
        ("to" = Option<u64>, Query, description = "The last seq; the newest that is held without it"),
    ),
    responses(
        (status = 200, description = "What was compared, and what differs", body = Verified),
        openapi::Read, openapi::Token, openapi::NoArchive
    )
)]
async fn verify(State(app): State<App>, headers: HeaderMap, uri: Uri) -> Result<Json<Verified>, Problem> {
    app.caller(&headers)?.admin()?;
    let query = Query::parse(uri.query(), &["log", "from", "to"])?;
    let key =
        log(query.get("log").ok_or_else(|| Problem::bad_request("`log` is missing: <origin>/<log>"))?)?;
    let unknown = || Problem::new(Code::NotFound, "this node does not hold that log");
    let view = app.store.log(key).ok_or_else(unknown)?;
    let from = query.number("from", 1, u64::MAX)?.unwrap_or(1).max(view.floor);
    let to = query.number("to", 1, u64::MAX)?.unwrap_or(u64::MAX).min(view.head);
    let verified = app.archive.verify(&app.store, key, from, to).await;
    verified.map(Json).map_err(|trouble| Problem::new(Code::NoArchive, trouble.to_string()))
}
