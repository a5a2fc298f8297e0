//! Who follows topics on this node.

use anode_shared::status::SubscriberStatus;
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

/// The subscribers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SubscriberList {
    /// The connections that follow topics.
    subscribers: Vec<SubscriberStatus>,
}

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(subscribers))
}

/// Gives each connection that follows topics; addresses and filters with the admin right only.
#[utoipa::path(
    get, path = "/api/v1/subscribers", operation_id = "list_subscribers", tag = "node",
    responses((status = 200, description = "All subscribers", body = SubscriberList), openapi::Read)
)]
async fn subscribers(
    State(app): State<App>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Json<SubscriberList>, Problem> {
    let caller = app.caller(&headers)?;
    Query::parse(uri.query(), &[])?;
    let mut subscribers = app.feed.subscribers(caller.is_admin());
    if !caller.is_admin() {
        subscribers.iter_mut().for_each(hide);
    }
    Ok(Json(SubscriberList { subscribers }))
}

/// Takes out what only the admin may see, whatever the feed gave.
fn hide(subscriber: &mut SubscriberStatus) {
    (subscriber.address, subscriber.filter) = (None, None);
}
