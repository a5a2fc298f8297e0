//! The mesh as this node sees it: its peers, and the graph.

use anode_shared::ids::LogKey;
use anode_shared::mesh::{Mesh, PeerList};
use anode_shared::repair::{ForkProof, SignedHeader};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use utoipa::ToSchema;
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
    OpenApiRouter::new().routes(routes!(peers)).routes(routes!(mesh)).routes(routes!(forks))
}

/// Logs whose origins signed two different continuations, by log.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ForkList {
    forks: Vec<Fork>,
    /// The page that follows; none behind the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// A log that ends where its origin signed two different continuations, and what proves it to a stranger:
/// `shared/FORMAT.md` says which two headers do.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Fork {
    /// `<origin>/<log>`.
    log: String,
    /// The first seq that does not count.
    from: u64,
    /// The two headers.
    headers: [HeaderText; 2],
}

/// A batch's header as its origin signed it; bytes as base64.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SignedHeader)]
pub(crate) struct HeaderText {
    /// The header's bytes.
    header: String,
    /// The origin's signature over them.
    signature: String,
}

impl From<&SignedHeader> for HeaderText {
    fn from(signed: &SignedHeader) -> Self {
        Self { header: STANDARD.encode(&signed.header), signature: STANDARD.encode(&signed.signature) }
    }
}

impl Fork {
    fn new(log: LogKey, from: u64, proof: &ForkProof) -> Self {
        Self { log: log.to_string(), from, headers: [(&proof.one).into(), (&proof.other).into()] }
    }
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

/// Gives the logs that are known to have forked, each with the two signed headers that prove it. On every node such a log ends
/// at the same place.
#[utoipa::path(
    get, path = "/api/v1/forks", operation_id = "list_forks", tag = "mesh",
    params(
        ("limit" = Option<u16>, Query, description = "1 to 10,000 logs; 1,000 without it"),
        ("page" = Option<String>, Query, description = "`next` of the last page"),
    ),
    responses((status = 200, description = "A page", body = ForkList), openapi::Read)
)]
async fn forks(State(app): State<App>, headers: HeaderMap, uri: Uri) -> Result<Json<ForkList>, Problem> {
    app.caller(&headers)?;
    let query = Query::parse(uri.query(), &["limit", "page"])?;
    let limit = query.number("limit", 1, MOST)?.unwrap_or(PAGE);
    let begun = query.get("page").unwrap_or_default().to_owned();
    let mut all: Vec<Fork> =
        app.store.forked_logs().iter().map(|(log, from, proof)| Fork::new(*log, *from, proof)).collect();
    all.sort_by(|one, other| one.log.cmp(&other.log));
    let mut rest = all.into_iter().filter(|fork| fork.log > begun);
    let forks: Vec<Fork> = rest.by_ref().take(limit).collect();
    let next = rest.next().and_then(|_| forks.last()).map(|last| last.log.clone());
    Ok(Json(ForkList { forks, next }))
}
