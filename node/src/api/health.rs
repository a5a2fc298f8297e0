//! Whether the process lives, and whether it can take records.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem::{Code, Problem};
use super::query::Query;
use super::{App, Phase, openapi};

/// A probe's good answer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// `alive` or `ready`.
    status: &'static str,
}

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(livez)).routes(routes!(healthz)).routes(routes!(readyz))
}

/// Says that the process lives.
#[utoipa::path(get, path = "/livez", tag = "health", responses((status = 200, body = Health), openapi::Read))]
async fn livez(uri: Uri) -> Result<Json<Health>, Problem> {
    Query::parse(uri.query(), &[])?;
    Ok(Json(Health { status: "alive" }))
}

/// The same as `/livez`.
#[utoipa::path(get, path = "/healthz", tag = "health", responses((status = 200, body = Health), openapi::Read))]
async fn healthz(uri: Uri) -> Result<Json<Health>, Problem> {
    livez(uri).await
}

/// Says whether the node can take records; 503 with the reasons while it cannot.
#[utoipa::path(get, path = "/readyz", tag = "health", responses((status = 200, body = Health), openapi::Read))]
async fn readyz(State(app): State<App>, uri: Uri) -> Result<Json<Health>, Problem> {
    // Kubernetes habit asks for more words by `verbose`; all are always here.
    Query::parse(uri.query(), &["verbose"])?;
    let reasons = reasons(app.phase());
    match reasons.first() {
        None => Ok(Json(Health { status: "ready" })),
        Some((code, first)) => {
            let words = reasons.iter().map(|(_, reason)| (*reason).to_owned()).collect();
            Err(Problem::new(*code, *first).with_reasons(words))
        }
    }
}

/// Why the node takes no records.
fn reasons(phase: Phase) -> Vec<(Code, &'static str)> {
    match phase {
        Phase::Ready => Vec::new(),
        Phase::Starting => vec![(Code::Starting, "the node is starting")],
        Phase::Draining => vec![(Code::Draining, "the node is stopping")],
    }
}
