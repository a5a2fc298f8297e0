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

/// How many topics a page shows where nobody says.
const LIMIT: usize = 1_000;
/// The most topics of a page: the table is held meanwhile, and whoever publishes waits for it.
const MAX_LIMIT: usize = 10_000;

/// A page of topics.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TopicList {
    /// The topics, by name.
    topics: Vec<TopicStatus>,
    /// Goes back as `page`; null where this is the last page.
    #[schema(required = true)]
    next: Option<String>,
}

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(topics))
}

/// Gives each topic with its count, its rate and the time of its newest record, by name.
#[utoipa::path(
    get, path = "/api/v1/topics", operation_id = "list_topics", tag = "records",
    params(
        ("limit" = Option<u16>, Query, description = "1 to 10,000 topics; 1,000 without it"),
        ("page" = Option<String>, Query, description = "`next` of the last page"),
    ),
    responses((status = 200, description = "A page", body = TopicList), openapi::Read, openapi::Scan)
)]
async fn topics(State(app): State<App>, headers: HeaderMap, uri: Uri) -> Result<Json<TopicList>, Problem> {
    app.caller(&headers)?;
    let query = Query::parse(uri.query(), &["limit", "page"])?;
    let limit = query.number("limit", 1, MAX_LIMIT)?.unwrap_or(LIMIT);
    let page = query.get("page").unwrap_or("").to_owned();
    // Their table may be held by others for a moment, so it is looked at off the runtime's threads.
    let mut topics = app.reading(move |store| store.topics_after(&page, limit + 1)).await?;
    let more = topics.len() > limit;
    topics.truncate(limit);
    let next = topics.last().filter(|_| more).map(|last| last.topic.clone());
    Ok(Json(TopicList { topics, next }))
}
