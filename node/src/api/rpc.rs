//! `/rpc`: JSON-RPC 2.0 in the way of Web3 providers, over WebSocket and POST.
//!
//! [`message`] reads calls and writes answers, [`methods`] does what is called, a [`session`] is one socket. A
//! subscription is a subscriber of the feed like any other, whose frames [`notify`] puts into notifications.

use axum::extract::{ConnectInfo, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::doors::{Door, Visit, only_ticket, upgrade_needed};
use super::problem::{Code, Problem};
use super::records::check_media_type;
use super::{App, openapi};
use crate::feed::socket::{Socket, for_rpc};
use crate::feed::start::Format;

mod message;
mod methods;
mod notify;
mod client;
mod answer;
mod session;

use client::Client;

/// The most sockets; each may have 100 subscriptions, which count as subscribers.
pub(super) const SOCKETS: usize = 5_000;
/// The longest message.
const MAX_BODY: usize = 1 << 20;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(open, ask))
}

/// A call.
#[derive(Debug, serde::Serialize, ToSchema)]
pub(crate) struct RpcCall {
    /// Always `2.0`.
    jsonrpc: String,
    /// Comes back with the answer, whatever it is; without one no answer is wanted.
    #[schema(required = false)]
    id: Value,
    /// `anode_publish`, `anode_history`, `anode_record`, `anode_status`, and on a socket `anode_subscribe`,
    /// `eth_subscribe` and their opposites; also `eth_chainId`, `net_version`, `web3_clientVersion`.
    method: String,
    /// What it takes, as an array.
    #[schema(required = false)]
    params: Vec<Value>,
}

/// The answer to a call: a result or an error.
#[derive(Debug, serde::Serialize, ToSchema)]
pub(crate) struct RpcAnswer {
    /// Always `2.0`.
    jsonrpc: String,
    /// What the call had.
    id: Value,
    /// What the method gives.
    #[schema(required = false)]
    result: Value,
    /// `code` of JSON-RPC or EIP-1474, `message`, and under `data` the same as a `Problem`.
    #[schema(required = false)]
    error: Value,
}

/// One, or up to 100 together.
#[derive(Debug, serde::Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "the schema of what `message` reads and writes")]
pub(crate) enum OneOrMany<T> {
    /// One.
    One(T),
    /// Several.
    Many(Vec<T>),
}

/// Speaks JSON-RPC 2.0 over a WebSocket: calls, batches of up to 100, and subscriptions with notifications.
///
/// `eth_subscribe(["records", {"topics": […], "filter": …, "start": …}])` works with unmodified providers: viem, ethers,
/// web3.js. Each notification's `result` is a frame of the feed (`FeedFrame`), so gaps and cursors come too.
#[utoipa::path(
    get, path = "/rpc", operation_id = "rpc_socket", tag = "sockets", security((), ("token" = [])),
    params(("ticket" = Option<String>, Query, description = "From `POST /api/v1/tickets`, where no header can be set")),
    responses(openapi::Socket, openapi::Read)
)]
async fn open(State(app): State<App>, visit: Visit) -> Result<Response, Problem> {
    only_ticket(&visit.uri)?;
    let address = visit.address;
    let (Door::Socket(socket), caller) = visit.enter(&app)? else { return Err(upgrade_needed()) };
    let Ok(place) = app.callers.clone().try_acquire_owned() else {
        return Err(Problem::new(
            Code::Overloaded,
            format!("the node has {SOCKETS} sockets on /rpc already"),
        ));
    };
    Ok(for_rpc(socket).on_upgrade(move |socket| async move {
        let feed = app.feed.clone();
        let socket = Socket::new(socket, Format::Json, crate::feed::outlet::STALL);
        let session = session::Session::new(app, socket, |to| Client::listening(caller, address, to));
        feed.run(async move {
            let ended = session.run().await;
            drop(place);
            ended
        });
    }))
}

/// Answers a call, or a batch of up to 100; 204 where no answer is wanted. Subscriptions need a WebSocket.
#[utoipa::path(
    post, path = "/rpc", operation_id = "rpc", tag = "sockets", security((), ("token" = [])),
    request_body = inline(OneOrMany<RpcCall>),
    responses((status = 200, description = "The answer, or answers in the order of the calls", body = inline(OneOrMany<RpcAnswer>)),
        (status = 204, description = "Notifications only: there is nothing to answer"), openapi::Read, openapi::Call)
)]
async fn ask(
    State(app): State<App>,
    ConnectInfo(address): ConnectInfo<std::net::SocketAddr>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let admitted = app.caller(&parts.headers).and_then(|caller| {
        check_media_type(&parts)?;
        only_ticket(&parts.uri)?;
        Ok(caller)
    });
    let caller = match admitted {
        Ok(caller) => caller,
        Err(problem) => {
            app.bodies.discard(&parts.headers, body).await;
            return Err(problem);
        }
    };
    let body = app.bodies.collect(&parts.headers, body, MAX_BODY).await?;
    let text = std::str::from_utf8(&body.bytes).map_err(|_| Problem::bad_request("the body is no UTF-8"))?;
    let answer = answer::answer(&app, &Client::asking(caller, address), text).await;
    match answer.text {
        None => Ok(StatusCode::NO_CONTENT.into_response()),
        Some(text) => app.answers.json(text),
    }
}
