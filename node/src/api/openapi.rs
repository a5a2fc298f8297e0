//! The OpenAPI document: made of the declarations beside the handlers, completed with what all of them share.

use std::collections::BTreeMap;

use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, Modify, OpenApi};

use super::problem;

type Responses = BTreeMap<String, RefOr<Response>>;

/// The document's head, and the schemas that no handler names.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "aNode",
        description = "Records in and out of one node of a decentralised, real-time data mesh. Reading is open; changing needs `Authorization: Bearer <admin token>`.",
    ),
    components(schemas(problem::Body)),
    modifiers(&Token),
)]
pub(super) struct Document;

impl Modify for Token {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        let mut scheme = Http::new(HttpAuthScheme::Bearer);
        scheme.description = Some(
            "The admin token: `anode link` prints it, `admin.token` in the data directory holds it."
                .to_owned(),
        );
        components.add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

/// An answer that is a problem.
fn problem(status: u16, description: &str) -> (String, RefOr<Response>) {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let response =
        ResponseBuilder::new().description(description).content(problem::MEDIA_TYPE, content).build();
    (status.to_string(), response.into())
}

/// What any request can be answered with.
const ANY: [(u16, &str); 6] = [
    (400, "Something in the request is malformed; `detail` says what to change"),
    (401, "The token is none of this node"),
    (406, "The client accepts none of the media types of this route"),
    (408, "The request came too slowly"),
    (500, "Something failed inside the node"),
    (503, "The node is starting, stopping, or cannot; see Retry-After"),
];

/// What reading can be answered with beside its result.
pub(super) struct Read;

impl IntoResponses for Read {
    fn responses() -> Responses {
        ANY.map(|(status, words)| problem(status, words)).into()
    }
}

/// What changing something can be answered with, beside what reading can.
pub(super) struct Token;

impl IntoResponses for Token {
    fn responses() -> Responses {
        [
            problem(401, "A token is needed, or this one is none of this node"),
            problem(403, "This caller may not do that"),
        ]
        .into()
    }
}

/// What a route of a later version is answered with.
pub(super) struct Later;

impl IntoResponses for Later {
    fn responses() -> Responses {
        let mut responses = Read::responses();
        responses.extend([problem(501, "Comes with a later version")]);
        responses
    }
}
