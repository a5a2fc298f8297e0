//! The topics that the node or its archive holds records of.

use std::collections::BTreeMap;

use anode_shared::status::TopicStatus;
use anode_shared::time::to_rfc3339;
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
use crate::archive::Named;

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
    /// Why topics are left out of which only the archive has records; null where none are.
    #[schema(required = true)]
    left_out: Option<String>,
}

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(topics))
}

/// Gives each topic with its count and rate here and the time of its newest record, by name. Topics of which only the archive
/// still has records are among them, with a count of 0.
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
    let archived = app.archive.topics_after(&page, limit + 1);
    // Their table may be held by others for a moment, so it is looked at off the runtime's threads.
    let after = page.clone();
    let stored = app.reading(move |store| store.topics_after(&after, limit + 1));
    let (stored, archived) = tokio::join!(stored, archived);
    let (archived, left_out) = match archived {
        Ok(archived) => (archived, None),
        Err(trouble) => (Vec::new(), Some(trouble.to_string())),
    };
    let mut topics = join(stored?, archived);
    let more = topics.len() > limit;
    topics.truncate(limit);
    let next = topics.last().filter(|_| more).map(|last| last.topic.clone());
    Ok(Json(TopicList { topics, next, left_out }))
}

/// Puts both lists together, by name; the newer record of both counts. As far as each of them goes they are whole.
fn join(stored: Vec<TopicStatus>, archived: Vec<Named>) -> Vec<TopicStatus> {
    let mut topics: BTreeMap<String, TopicStatus> =
        stored.into_iter().map(|topic| (topic.topic.clone(), topic)).collect();
    for (topic, time) in archived {
        let last_record = to_rfc3339(time);
        let empty = || TopicStatus { topic: topic.clone(), count: 0, rate: 0.0, last_record: String::new() };
        let known = topics.entry(topic.clone()).or_insert_with(empty);
        // Times are written with six digits always, so their words sort as they do.
        known.last_record = std::mem::take(&mut known.last_record).max(last_record);
    }
    topics.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_joins_what_is_here_with_what_is_archived() {
        let stored = |topic: &str, time| TopicStatus {
            topic: topic.to_owned(),
            count: 5,
            rate: 1.5,
            last_record: to_rfc3339(time),
        };
        let joined = join(
            vec![stored("b", 2_000_000), stored("c", 2_000_000), stored("d", 3)],
            vec![("a".to_owned(), 1), ("b".to_owned(), 1_999_999), ("c".to_owned(), 2_000_001)],
        );
        let shown: Vec<_> =
            joined.iter().map(|topic| (&*topic.topic, topic.count, topic.last_record.clone())).collect();
        let expected = [("a", 0, 1), ("b", 5, 2_000_000), ("c", 5, 2_000_001), ("d", 5, 3)];
        assert_eq!(shown, expected.map(|(topic, count, time)| (topic, count, to_rfc3339(time))));
    }
}
