//! The API's page: Swagger UI out of the binary, so that it works without the internet.

use std::borrow::Cow;
use std::sync::Arc;

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{Uri, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use bytes::Bytes;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem::{Code, Problem};
use super::query::Query;
use super::{App, openapi};

/// What starts the page. Nothing is asked of validators elsewhere.
const INITIALIZER: &str = r##"window.onload = () => {
  window.ui = SwaggerUIBundle({
    url: "../openapi.json",
    dom_id: "#swagger-ui",
    deepLinking: true,
    tryItOutEnabled: true,
    validatorUrl: null,
    presets: [SwaggerUIBundle.presets.apis],
  });
};
"##;
/// How long a browser keeps the page's files, which change with the node's version only, in seconds.
const KEEP: &str = "public, max-age=3600";

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(page)).routes(routes!(file))
}

/// Leads to the API's page.
#[utoipa::path(
    get, path = "/api/docs", operation_id = "docs", tag = "docs",
    responses((status = 303, description = "To `/api/docs/index.html`"), openapi::Read)
)]
async fn page(uri: Uri) -> Result<Redirect, Problem> {
    Query::parse(uri.query(), &[])?;
    Ok(Redirect::to("/api/docs/index.html"))
}

/// Gives a file of the API's page.
#[utoipa::path(
    get, path = "/api/docs/{file}", operation_id = "docs_file", tag = "docs",
    params(("file" = String, Path, description = "`index.html`, or what it names")),
    responses(
        (status = 200, description = "The file", content(("text/html"), ("text/css"), ("text/javascript"), ("image/png"))),
        openapi::Read, openapi::NotFound
    )
)]
async fn file(path: Result<Path<String>, PathRejection>) -> Result<Response, Problem> {
    let Path(name) = path.map_err(|error| Problem::bad_request(error.body_text()))?;
    let cached = (header::CACHE_CONTROL, KEEP.to_owned());
    if name == "swagger-initializer.js" {
        return Ok(
            ([(header::CONTENT_TYPE, "text/javascript".to_owned()), cached], INITIALIZER).into_response()
        );
    }
    let file = utoipa_swagger_ui::serve(&name, Arc::default()).map_err(|error| Problem::internal(&error))?;
    let file =
        file.ok_or_else(|| Problem::new(Code::NotFound, format!("the API's page has no file {name}")))?;
    let bytes = match file.bytes {
        Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        Cow::Owned(bytes) => bytes.into(),
    };
    Ok(([(header::CONTENT_TYPE, file.content_type), cached], bytes).into_response())
}
