//! The topics that the node holds records of.

use anode_shared::status::TopicStatus;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem::Problem;
use super::query::Query;
use super::{App, openapi};

/// The topics.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TopicList {
    /// The topics, by name.
    topics: Vec<TopicStatus>,
}

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(topics))
}

/// Gives each topic with its count, its rate and the time of its newest record.
#[utoipa::path(
    get, path = "/api/v1/topics", operation_id = "list_topics", tag = "records",
    responses((status = 200, description = "All topics", body = TopicList), openapi::Read, openapi::Scan)
)]
async fn topics(State(app): State<App>, headers: HeaderMap, uri: Uri) -> Result<Json<TopicList>, Problem> {
    app.caller(&headers)?;
    Query::parse(uri.query(), &[])?;
    // There may be very many, so their table is walked off the runtime's threads.
    Ok(Json(TopicList { topics: app.reading(|store| store.topics()).await? }))
}
