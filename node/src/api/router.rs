//! Every route in one place, and what stands around them.

use axum::Router;
use axum::middleware::from_fn_with_state;
use utoipa::OpenApi as _;
use utoipa_axum::router::OpenApiRouter;

use super::{App, headers, health, later, openapi, problem, tickets};

/// The routes with their declarations.
fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(openapi::Document::openapi())
        .merge(health::routes())
        .merge(tickets::routes())
        .merge(later::routes())
}

/// The whole HTTP side.
pub(super) fn router(app: App) -> Router {
    let (router, _document) = routes().split_for_parts();
    router
        .method_not_allowed_fallback(problem::method_not_allowed)
        .fallback(problem::not_found)
        .layer(headers::cors())
        .layer(from_fn_with_state(app.clone(), headers::wrap))
        .with_state(app)
}
