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
use crate::store::StoreStatus;

/// A probe's good answer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// `alive` or `ready`.
    status: &'static str,
}

pub(super) fn routes() -> OpenApiRouter<App> {
    alive().routes(routes!(readyz))
}

/// What is said also while the node starts.
pub(super) fn alive<S: Clone + Send + Sync + 'static>() -> OpenApiRouter<S> {
    OpenApiRouter::new().routes(routes!(livez)).routes(routes!(healthz))
}

/// Says that the process lives.
#[utoipa::path(get, path = "/livez", tag = "health", responses((status = 200, description = "It does", body = Health), openapi::Read))]
async fn livez(uri: Uri) -> Result<Json<Health>, Problem> {
    Query::parse(uri.query(), &[])?;
    Ok(Json(Health { status: "alive" }))
}

/// The same as `/livez`.
#[utoipa::path(get, path = "/healthz", tag = "health", responses((status = 200, description = "It does", body = Health), openapi::Read))]
async fn healthz(uri: Uri) -> Result<Json<Health>, Problem> {
    livez(uri).await
}

/// Says whether the node can take records; 503 with the reasons while it cannot.
#[utoipa::path(get, path = "/readyz", tag = "health", responses((status = 200, description = "It does", body = Health), openapi::Read))]
async fn readyz(State(app): State<App>, uri: Uri) -> Result<Json<Health>, Problem> {
    // Kubernetes habit asks for more words by `verbose`; all are always here.
    Query::parse(uri.query(), &["verbose"])?;
    let reasons = reasons(app.phase(), &app.store.status());
    match reasons.first() {
        None => Ok(Json(Health { status: "ready" })),
        Some((code, first)) => {
            let words = reasons.iter().map(|(_, reason)| (*reason).to_owned()).collect();
            Err(Problem::new(*code, *first).with_reasons(words))
        }
    }
}

/// Why the node takes no records.
fn reasons(phase: Phase, store: &StoreStatus) -> Vec<(Code, &'static str)> {
    let all = [
        (phase == Phase::Starting, Code::Starting, "the node is starting"),
        (phase == Phase::Draining || store.draining, Code::Draining, "the node is stopping"),
        (
            store.failed.is_some(),
            Code::StorageFailed,
            "the disk failed, so nothing can be acknowledged; see /api/v1/status",
        ),
        (store.full, Code::StorageFailed, "the disk has less room than its reserve"),
    ];
    all.into_iter().filter(|(holds, ..)| *holds).map(|(_, code, words)| (code, words)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_names_every_reason() {
        let good = StoreStatus::default();
        let bad = StoreStatus {
            failed: Some("EIO".to_owned()),
            full: true,
            draining: true,
            ..StoreStatus::default()
        };
        for (phase, store, count) in [
            (Phase::Ready, &good, 0),
            (Phase::Starting, &good, 1),
            (Phase::Draining, &good, 1),
            (Phase::Ready, &bad, 3),
            (Phase::Starting, &bad, 4),
        ] {
            let reasons = reasons(phase, store);
            assert_eq!(reasons.len(), count, "{phase:?}");
            assert!(reasons.iter().all(|(code, _)| code.status() == 503));
        }
    }
}
