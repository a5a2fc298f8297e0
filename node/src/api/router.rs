//! Every route in one place, and what stands around them.

use std::sync::Arc;

use axum::middleware::from_fn_with_state;
use axum::{Extension, Router};
use utoipa::OpenApi as _;
use utoipa_axum::router::OpenApiRouter;

use super::{
    App, archive, assets, docs, doors, events, exposition, headers, health, later, mesh, openapi, problem,
    records, rpc, sdk, sources, status, subscribers, tickets, topics, watch,
};

/// The routes with their declarations.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(openapi::Document::openapi())
        .merge(health::routes())
        .merge(status::routes())
        .merge(records::routes())
        .merge(sources::routes())
        .merge(mesh::routes())
        .merge(topics::routes())
        .merge(archive::routes())
        .merge(subscribers::routes())
        .merge(events::routes())
        .merge(watch::routes())
        .merge(doors::routes())
        .merge(rpc::routes())
        .merge(sdk::routes())
        .merge(tickets::routes())
        .merge(exposition::routes())
        .merge(openapi::routes())
        .merge(docs::routes())
        .merge(later::routes())
}

/// The whole HTTP side.
///
/// # Errors
/// When the OpenAPI document cannot be written.
pub(super) fn router(app: App) -> anyhow::Result<Router> {
    let (router, document) = routes().split_for_parts();
    let router = router
        .merge(assets::router())
        .method_not_allowed_fallback(problem::method_not_allowed)
        .fallback(problem::not_found)
        .layer(Extension(openapi::Written::new(&document)?))
        .layer(headers::cors())
        .layer(from_fn_with_state(Arc::clone(&app.http), headers::wrap));
    Ok(router.with_state(app))
}
