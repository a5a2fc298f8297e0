//! The OpenAPI document: made of the declarations beside the handlers, completed with what all of them share.

use std::collections::BTreeMap;

use anode_shared::frames::Frame;
use anode_shared::publish::Ack;
use anode_shared::record::PublisherSignature;
use anode_shared::status::Watch;
use axum::Extension;
use axum::http::{Uri, header};
use axum::response::{IntoResponse as _, Response as HttpResponse};
use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, Modify, OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::problem::{self, Problem};
use super::query::Query;
use super::records::RecordToPublish;

type Responses = BTreeMap<String, RefOr<Response>>;

/// The document's head, and the schemas that no handler names.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "aNode",
        version = env!("CARGO_PKG_VERSION"),
        description = "Records in and out of one node of a decentralised, real-time data mesh.\n\nReading is open; changing needs `Authorization: Bearer <admin token>`. Every refusal is a `Problem`. Only a head that cannot be read is answered without a body: 400 where it is malformed, 414 where the URL has more than 64 KiB, 431 where the headers are too many or too long.",
    ),
    components(schemas(problem::Body, Record, RecordFrame, Frame, FeedFrame, ClientFrame, Watch)),
    tags(
        (name = "records", description = "Records in and out"),
        (name = "sources", description = "What the node reads by itself"),
        (name = "sockets", description = "Streams: WebSockets and Server-Sent Events"),
        (name = "node", description = "How the node is"),
        (name = "mesh", description = "Who else is there, and how they are linked"),
        (name = "access", description = "Who may do what"),
        (name = "health", description = "For probes and Prometheus"),
        (name = "docs", description = "This document"),
        (name = "later", description = "Part of the contract, and of a later version"),
    ),
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

/// A record, as JSON everywhere.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Record {
    /// `<origin>/<log>/<seq>`.
    id: String,
    /// Its topic.
    topic: String,
    /// When its origin accepted it, RFC 3339 with microseconds.
    time: String,
    /// The source's name; null for a pushed record.
    #[schema(required = true)]
    source: Option<String>,
    /// The wallet address or token name that pushed it, or null.
    #[schema(required = true)]
    publisher: Option<String>,
    /// The payload where it is JSON, byte for byte as it came.
    #[schema(required = false)]
    payload: Value,
    /// The payload where it is not JSON.
    #[schema(required = false)]
    payload_base64: String,
    /// What `payload_base64` holds.
    #[schema(required = false)]
    content_type: String,
    /// The publisher's own signature.
    #[schema(required = false)]
    publisher_signature: PublisherSignature,
}

/// What a record frame is called.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[expect(dead_code, reason = "the schema of what `anode_shared::frames` writes")]
enum RecordType {
    /// A record.
    Record,
}

/// A record on a feed.
#[derive(Debug, Serialize, ToSchema)]
struct RecordFrame {
    r#type: RecordType,
    #[serde(flatten)]
    record: Record,
}

/// What a feed sends.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "the schema of what a feed sends")]
enum FeedFrame {
    /// A record.
    Record(Box<RecordFrame>),
    /// Everything else.
    Other(Frame),
}

/// What a client may send on a feed.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[expect(dead_code, reason = "the schema of what a feed reads")]
enum ClientFrame {
    /// Changes the one subscription; answered by `subscribed`, or by `error`.
    Subscribe {
        /// Topic patterns; all topics without them.
        #[schema(required = false)]
        topics: Vec<String>,
        /// A CEL expression.
        filter: Option<String>,
        /// Where to begin; `live` without it.
        start: Option<String>,
    },
    /// Publishes a record; answered by `published`, or by `error`.
    Publish {
        /// Comes back with the answer.
        #[schema(required = false)]
        r#ref: Value,
        /// Which promise the answer gives; `durable` without it.
        ack: Option<Ack>,
        #[serde(flatten)]
        record: Box<RecordToPublish>,
    },
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

/// What publishing can be answered with.
pub(super) struct Publish;

impl IntoResponses for Publish {
    fn responses() -> Responses {
        [
            problem(409, "Nobody can keep the promise that `ack` asks for: there is no peer, or no archive"),
            problem(413, "A record has more than 128 KiB, or the request more than 10,000 records or 16 MiB"),
            problem(415, "The body is not JSON, or does not say so"),
            problem(429, "The node has more under way than it holds; wait as Retry-After says"),
            problem(507, "The disk has less room than its reserve"),
        ]
        .into()
    }
}

/// What reading from storage can be answered with.
pub(super) struct Scan;

impl IntoResponses for Scan {
    fn responses() -> Responses {
        [problem(429, "As many requests read from storage as the node lets; wait as Retry-After says")].into()
    }
}

/// What asking for one record can be answered with.
pub(super) struct Missing;

impl IntoResponses for Missing {
    fn responses() -> Responses {
        let mut responses = Scan::responses();
        responses.extend([
            problem(404, "This node has not heard of it"),
            problem(410, "It is retained nowhere; `detail` says why"),
        ]);
        responses
    }
}

/// What asking for a file can be answered with.
pub(super) struct NotFound;

impl IntoResponses for NotFound {
    fn responses() -> Responses {
        [problem(404, "There is no such file")].into()
    }
}

/// What sending a definition can be answered with.
pub(super) struct Source;

impl IntoResponses for Source {
    fn responses() -> Responses {
        [
            problem(413, "The body is longer than a definition can be"),
            problem(415, "The body is not JSON, or does not say so"),
            problem(422, "The definition is wrong; `errors` names each field"),
            problem(429, "The node has more under way than it holds; wait as Retry-After says"),
        ]
        .into()
    }
}

/// What registering a source can be answered with.
pub(super) struct Taken;

impl IntoResponses for Taken {
    fn responses() -> Responses {
        [problem(409, "There is a source of this name, or as many as a node takes")].into()
    }
}

/// What comparing with the archive can be answered with.
pub(super) struct NoArchive;

impl IntoResponses for NoArchive {
    fn responses() -> Responses {
        [
            problem(404, "This node does not hold that log"),
            problem(409, "There is no archive, or it cannot be asked; `detail` says why"),
        ]
        .into()
    }
}

/// What trying a definition can be answered with.
pub(super) struct Busy;

impl IntoResponses for Busy {
    fn responses() -> Responses {
        [problem(429, "Several definitions are being tried; wait as Retry-After says")].into()
    }
}

/// What naming a source can be answered with.
pub(super) struct NoSource;

impl IntoResponses for NoSource {
    fn responses() -> Responses {
        [
            problem(404, "There is no source of this name, or no such node"),
            problem(409, "The file of its definition is damaged; put it anew, or delete it"),
        ]
        .into()
    }
}

/// What looking at other nodes' sources can be answered with.
pub(super) struct Looked;

impl IntoResponses for Looked {
    fn responses() -> Responses {
        [problem(429, "As many look at other nodes' sources as the node lets; wait as Retry-After says")]
            .into()
    }
}

/// What a call over POST can be answered with; what is wrong with the call itself stands in the answer.
pub(super) struct Call;

impl IntoResponses for Call {
    fn responses() -> Responses {
        [
            problem(401, "This token is none of this node"),
            problem(413, "The body has more than 1 MiB"),
            problem(415, "The body is not JSON, or does not say so"),
            problem(429, "The node has more under way than it holds; wait as Retry-After says"),
        ]
        .into()
    }
}

/// What a socket's handshake can be answered with.
pub(super) struct Socket;

impl IntoResponses for Socket {
    fn responses() -> Responses {
        let switched = ResponseBuilder::new().description("The WebSocket is open").build();
        [
            ("101".to_owned(), switched.into()),
            problem(426, "The route is a WebSocket"),
            problem(429, "The node has as many sockets as it takes"),
        ]
        .into()
    }
}

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(document))
}

/// The document, made once.
#[derive(Debug, Clone)]
pub(super) struct Written(Bytes);

impl Written {
    /// Writes a document.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn new(document: &utoipa::openapi::OpenApi) -> anyhow::Result<Self> {
        Ok(Self(serde_json::to_vec(&written(document)?)?.into()))
    }
}

/// The document as it is served.
///
/// # Errors
/// When it cannot be written.
pub(super) fn written(document: &utoipa::openapi::OpenApi) -> anyhow::Result<Value> {
    let mut document = serde_json::to_value(document)?;
    write_out_definitions(&mut document["components"]["schemas"]);
    Ok(document)
}

/// A definition may hold nothing else, and a view is one with more in it: so a view's schema has the definition's fields
/// written out, without the bound.
fn write_out_definitions(schemas: &mut Value) {
    let mut definition = schemas["SourceDefinition"].clone();
    definition.as_object_mut().map(|fields| fields.remove("additionalProperties"));
    let parts = schemas["SourceView"]["allOf"].as_array_mut();
    for part in parts.into_iter().flatten() {
        if part["$ref"] == "#/components/schemas/SourceDefinition" {
            part.clone_from(&definition);
        }
    }
}

/// Gives this document.
#[utoipa::path(
    get, path = "/api/openapi.json", operation_id = "openapi", tag = "docs",
    responses((status = 200, description = "OpenAPI 3.1", body = Value), Read)
)]
async fn document(Extension(document): Extension<Written>, uri: Uri) -> Result<HttpResponse, Problem> {
    Query::parse(uri.query(), &[])?;
    Ok(([(header::CONTENT_TYPE, "application/json")], document.0).into_response())
}
