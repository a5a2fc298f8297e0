//! The mesh as this node sees it: its peers, and the graph.

use anode_shared::mesh::{Mesh, PeerList};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem::Problem;
use super::query::Query;
use super::{App, openapi};

/// The most peers of a page: as many as are ever known.
const MOST: usize = 10_000;
/// How many peers one answer holds where nobody says.
const PAGE: usize = 1_000;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(peers)).routes(routes!(mesh))
}

/// Gives every known node but this one, also those that are gone, by peer id.
#[utoipa::path(
    get, path = "/api/v1/peers", operation_id = "list_peers", tag = "mesh",
    params(
        ("limit" = Option<u16>, Query, description = "1 to 10,000 peers; 1,000 without it"),
        ("page" = Option<String>, Query, description = "`next` of the last page"),
    ),
    responses((status = 200, description = "A page", body = PeerList), openapi::Read)
)]
async fn peers(State(app): State<App>, headers: HeaderMap, uri: Uri) -> Result<Json<PeerList>, Problem> {
    app.caller(&headers)?;
    let query = Query::parse(uri.query(), &["limit", "page"])?;
    let limit = query.number("limit", 1, MOST)?.unwrap_or(PAGE);
    let view = app.gossip.view();
    let begun = query.get("page").unwrap_or_default();
    let mut rest = view.peers.iter().filter(|peer| peer.id.as_str() > begun);
    let peers: Vec<_> = rest.by_ref().take(limit).cloned().collect();
    let next = rest.next().and_then(|_| peers.last()).map(|last| last.id.clone());
    Ok(Json(PeerList { peers, next }))
}

/// Gives the graph: nodes, and the connections between them with their round trips.
#[utoipa::path(
    get, path = "/api/v1/mesh", operation_id = "show_mesh", tag = "mesh",
    responses((status = 200, description = "The graph", body = Mesh), openapi::Read)
)]
async fn mesh(State(app): State<App>, headers: HeaderMap, uri: Uri) -> Result<Json<Mesh>, Problem> {
    app.caller(&headers)?;
    Query::parse(uri.query(), &[])?;
    Ok(Json(app.gossip.view().mesh.clone()))
}
