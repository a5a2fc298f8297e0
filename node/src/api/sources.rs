//! The sources of this node: registered, looked at, changed, tried. Those of others are looked at only.

mod others;

use anode_shared::source::{SourceDefinition, SourceList, SourceTest, SourceView};
use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem::{Code, Problem};
use super::query::{Query, shorten};
use super::records::check_media_type;
use super::{App, Phase, openapi};
use crate::source::{AddError, MOST};
use others::Whose;

pub(super) use others::LOOKERS;
pub use others::list_sources;

/// The longest body: above what a definition at all its bounds takes.
const MAX_BODY: usize = 12 << 20;
/// How many sources one answer holds where nobody says: all that most nodes have.
const PAGE: usize = 1_000;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, add))
        .routes(routes!(test))
        .routes(routes!(show, replace, remove))
        .routes(routes!(pause))
        .routes(routes!(resume))
}

/// Gives the sources by name. Without the admin right, header values, bodies, frames, and a URL's user, password and query
/// are masked; those of other nodes always are.
///
/// Other nodes are asked when somebody looks, for 3 s at most; `unreachable` names those that gave no answer. With `node`, each
/// source says whose it is.
#[utoipa::path(
    get, path = "/api/v1/sources", operation_id = "list_sources", tag = "sources",
    params(
        ("node" = Option<String>, Query, description = "Whose: a peer id, or `all`; this node's without it"),
        ("limit" = Option<u16>, Query, description = "1 to 10,000 sources; 1,000 without it"),
        ("page" = Option<String>, Query, description = "`next` of the last page"),
    ),
    responses((status = 200, description = "A page", body = SourceList), openapi::Read, openapi::NoSource, openapi::Looked)
)]
async fn list(State(app): State<App>, headers: HeaderMap, uri: Uri) -> Result<Json<SourceList>, Problem> {
    let masked = !app.caller(&headers)?.is_admin();
    let query = Query::parse(uri.query(), &["node", "limit", "page"])?;
    let limit = query.number("limit", 1, MOST)?.unwrap_or(PAGE);
    if let Some(node) = query.get("node") {
        let whose = Whose::read(node)?;
        return others::list(&app, whose, masked, query.get("page"), limit).await.map(Json);
    }
    Ok(Json(own(&app, masked, query.get("page"), limit)))
}

/// A page of this node's sources.
fn own(app: &App, masked: bool, after: Option<&str>, limit: usize) -> SourceList {
    let (sources, more) = app.sources.list(masked, after, limit);
    let next = sources.last().filter(|_| more).map(|last| last.definition.name.clone());
    SourceList { sources, next, unreachable: Vec::new() }
}

/// Registers a source and begins to read it.
#[utoipa::path(
    post, path = "/api/v1/sources", operation_id = "add_source", tag = "sources", security(("token" = [])),
    request_body = SourceDefinition,
    responses(
        (status = 201, description = "It is registered", body = SourceView, headers(("Location" = String, description = "Where it is"))),
        openapi::Read, openapi::Token, openapi::Source, openapi::Taken
    )
)]
async fn add(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let definition = read(&app, request, None).await?;
    let view = app.sources.add(definition).await?;
    let place = format!("/api/v1/sources/{}", view.definition.name);
    let place = HeaderValue::try_from(place).map_err(|error| Problem::internal(&error))?;
    Ok((StatusCode::CREATED, [(header::LOCATION, place)], Json(view)).into_response())
}

/// Tries a definition without registering it: fetches once, or listens for up to 5 s. Gives the raw answer, the records that
/// it would make, and what went wrong, if anything.
#[utoipa::path(
    post, path = "/api/v1/sources/test", operation_id = "test_source", tag = "sources", security(("token" = [])),
    request_body = SourceDefinition,
    responses(
        (status = 200, description = "What was seen, also where it went wrong", body = SourceTest),
        openapi::Read, openapi::Token, openapi::Source, openapi::Busy
    )
)]
async fn test(State(app): State<App>, request: Request) -> Result<Json<SourceTest>, Problem> {
    let definition = read(&app, request, None).await?;
    Ok(Json(app.sources.test(definition).await?))
}

/// Gives one source.
#[utoipa::path(
    get, path = "/api/v1/sources/{name}", operation_id = "get_source", tag = "sources",
    params(
        ("name" = String, Path, description = "Its name"),
        ("node" = Option<String>, Query, description = "Whose: a peer id; this node's without it"),
    ),
    responses((status = 200, description = "The source", body = SourceView), openapi::Read, openapi::NoSource, openapi::Looked)
)]
async fn show(
    State(app): State<App>,
    Path(name): Path<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Json<SourceView>, Problem> {
    let masked = !app.caller(&headers)?.is_admin();
    if let Some(node) = Query::parse(uri.query(), &["node"])?.get("node") {
        return others::show(&app, Whose::read(node)?, masked, &name).await.map(Json);
    }
    app.sources.get(&name, masked).map(Json).ok_or_else(|| AddError::Unknown.into())
}

/// Replaces a source's definition; others are not touched.
#[utoipa::path(
    put, path = "/api/v1/sources/{name}", operation_id = "replace_source", tag = "sources", security(("token" = [])),
    params(("name" = String, Path, description = "Its name, which stays")),
    request_body = SourceDefinition,
    responses(
        (status = 200, description = "It is replaced", body = SourceView),
        openapi::Read, openapi::Token, openapi::Source, openapi::NoSource
    )
)]
async fn replace(
    State(app): State<App>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Json<SourceView>, Problem> {
    let definition = read(&app, request, Some(&name)).await?;
    Ok(Json(app.sources.replace(definition).await?))
}

/// Removes a source. Its records stay.
#[utoipa::path(
    delete, path = "/api/v1/sources/{name}", operation_id = "remove_source", tag = "sources", security(("token" = [])),
    params(("name" = String, Path, description = "Its name")),
    responses((status = 204, description = "It is gone"), openapi::Read, openapi::Token, openapi::NoSource)
)]
async fn remove(
    State(app): State<App>,
    Path(name): Path<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<StatusCode, Problem> {
    may_change(&app, &headers, &uri)?;
    app.sources.remove(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Stops reading a source until it is resumed.
#[utoipa::path(
    post, path = "/api/v1/sources/{name}/pause", operation_id = "pause_source", tag = "sources", security(("token" = [])),
    params(("name" = String, Path, description = "Its name")),
    responses((status = 200, description = "It is paused", body = SourceView), openapi::Read, openapi::Token, openapi::NoSource)
)]
async fn pause(
    State(app): State<App>,
    Path(name): Path<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Json<SourceView>, Problem> {
    may_change(&app, &headers, &uri)?;
    Ok(Json(app.sources.pause(&name, true).await?))
}

/// Reads a source again, at once, whatever it waited for.
#[utoipa::path(
    post, path = "/api/v1/sources/{name}/resume", operation_id = "resume_source", tag = "sources", security(("token" = [])),
    params(("name" = String, Path, description = "Its name")),
    responses((status = 200, description = "It is read", body = SourceView), openapi::Read, openapi::Token, openapi::NoSource)
)]
async fn resume(
    State(app): State<App>,
    Path(name): Path<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Json<SourceView>, Problem> {
    may_change(&app, &headers, &uri)?;
    Ok(Json(app.sources.pause(&name, false).await?))
}

fn may_change(app: &App, headers: &HeaderMap, uri: &Uri) -> Result<(), Problem> {
    app.caller(headers)?.admin()?;
    Query::parse(uri.query(), &[])?;
    match app.phase() {
        Phase::Ready => Ok(()),
        Phase::Starting => {
            Err(Problem::new(Code::Starting, "the node is starting; try again after Retry-After"))
        }
        Phase::Draining => {
            Err(Problem::new(Code::Draining, "the node is stopping; try again after Retry-After"))
        }
    }
}

/// Reads a definition. One that is put under a name may leave it out.
async fn read(app: &App, request: Request, name: Option<&str>) -> Result<SourceDefinition, Problem> {
    let (parts, body) = request.into_parts();
    if let Err(problem) = admit(app, &parts) {
        app.bodies.discard(&parts.headers, body).await;
        return Err(problem);
    }
    let body = app.bodies.collect(&parts.headers, body, MAX_BODY).await?;
    let mut value: Value = serde_json::from_slice(&body.bytes).map_err(|error| {
        let problem = Problem::bad_request(format!("the body is not JSON: {error}"));
        problem.at_place(error.line(), error.column())
    })?;
    if let (Some(name), Some(members)) = (name, value.as_object_mut()) {
        let given = members.entry("name").or_insert_with(|| name.into());
        if given != name {
            let detail = format!(
                "the URL says {}, and a source's name stays; register another one by POST",
                shorten(name)
            );
            let field = "name".to_owned();
            return Err(Problem::of_source(vec![anode_shared::source::FieldError { field, detail }]));
        }
    }
    SourceDefinition::read(value).map_err(Problem::of_source)
}

fn admit(app: &App, parts: &Parts) -> Result<(), Problem> {
    may_change(app, &parts.headers, &parts.uri)?;
    check_media_type(parts)
}

impl From<AddError> for Problem {
    fn from(error: AddError) -> Self {
        let code = match error {
            AddError::Invalid(errors) => return Self::of_source(errors),
            AddError::Taken | AddError::Damaged(_) | AddError::TooMany => Code::Conflict,
            AddError::Unknown => Code::NotFound,
            AddError::Busy => Code::Overloaded,
            AddError::Stopping => Code::Draining,
            AddError::Storage(_) => Code::StorageFailed,
        };
        Self::new(code, error.to_string())
    }
}
