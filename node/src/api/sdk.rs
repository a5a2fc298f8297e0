//! `/sdk/anode.js`: the client for browsers and Node.js, out of the binary, with its types.

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use sha2::{Digest as _, Sha256};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem::{Code, Problem};
use super::query::Query;
use super::{App, openapi};

/// The files, with what each is.
const FILES: [(&str, &str, &str); 2] = [
    ("anode.js", "text/javascript; charset=utf-8", include_str!("sdk/anode.js")),
    ("anode.d.ts", "text/plain; charset=utf-8", include_str!("sdk/anode.d.ts")),
];

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(file))
}

/// Gives the client as one ES module that needs no bundler: `anode.js`, or its types: `anode.d.ts`.
#[utoipa::path(
    get, path = "/sdk/{file}", operation_id = "sdk", tag = "docs",
    params(("file" = String, Path, description = "`anode.js` or `anode.d.ts`")),
    responses(
        (status = 200, description = "The file", content(("text/javascript"), ("text/plain"))),
        (status = 304, description = "The client has it, by `If-None-Match`"),
        openapi::Read, openapi::NotFound
    )
)]
async fn file(
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    Query::parse(uri.query(), &[])?;
    let Path(name) = path.map_err(|error| Problem::bad_request(error.body_text()))?;
    let Some((_, kind, content)) = FILES.into_iter().find(|(other, ..)| *other == name) else {
        return Err(Problem::new(Code::NotFound, "there are /sdk/anode.js and /sdk/anode.d.ts"));
    };
    let hash = Sha256::digest(content.as_bytes());
    let tag = format!("\"{}\"", hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect::<String>());
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let cached = [(header::ETAG, tag), (header::CACHE_CONTROL, "no-cache".to_owned())];
    if known {
        return Ok((StatusCode::NOT_MODIFIED, cached).into_response());
    }
    Ok((cached, [(header::CONTENT_TYPE, kind)], content).into_response())
}
