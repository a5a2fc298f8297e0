//! What can be called, each with the parameters that it takes.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::super::App;
use super::super::problem::Problem;
use super::super::records::{self, HistoryParams};
use super::client::Client;
use super::message::Refusal;
use crate::feed::hub::SOCKET_PACE;
use crate::feed::registry::Ended;
use crate::feed::start::SubscribeParams;

/// The chain that a provider is told of: none. What is served here is no chain, and no wallet shall take it for one.
const NO_CHAIN: &str = "0x0";

/// What a call gives.
pub(super) struct Outcome {
    /// The result, as JSON.
    pub(super) result: Bytes,
    /// What begins once the result was sent.
    pub(super) then: Option<Then>,
}

/// A subscription that begins once its id was sent.
pub(super) type Then = Pin<Box<dyn Future<Output = Ended> + Send>>;

impl From<Value> for Outcome {
    fn from(value: Value) -> Self {
        Self { result: value.to_string().into(), then: None }
    }
}

/// Does what is called.
///
/// # Errors
/// With what to change.
pub(super) async fn call(
    app: &App,
    client: &Client,
    method: &str,
    params: Option<&RawValue>,
) -> Result<Outcome, Refusal> {
    match method {
        "anode_publish" => publish(app, client, one(params, RECORD)?).await,
        "anode_history" => {
            history(app, optional(params, "{topics, since, until, after, filter, order, limit, page}")?).await
        }
        "anode_record" => record(app, &one::<String>(params, "the record's id")?).await,
        "anode_status" => Ok(json!(app.status()).into()),
        "anode_subscribe" => subscribe(app, client, params, "anode_subscription"),
        "eth_subscribe" => subscribe(app, client, params, "eth_subscription"),
        "anode_unsubscribe" | "eth_unsubscribe" => {
            let id: String = one(params, "the subscription's id")?;
            Ok(json!(client.unsubscribe(&id)).into())
        }
        "eth_chainId" => Ok(json!(NO_CHAIN).into()),
        "net_version" => Ok(json!("0").into()),
        "eth_accounts" => Ok(json!([]).into()),
        "web3_clientVersion" => Ok(json!(concat!("aNode/v", env!("CARGO_PKG_VERSION"))).into()),
        "rpc_modules" => {
            Ok(json!({"anode": "1.0", "eth": "1.0", "net": "1.0", "rpc": "1.0", "web3": "1.0"}).into())
        }
        "anode_challenge" | "anode_login" => Err(Problem::later("Wallet login").into()),
        _ => Err(unknown(method)),
    }
}

/// What can be called, to be named where something else is.
const METHODS: [&str; 12] = [
    "anode_publish",
    "anode_history",
    "anode_record",
    "anode_status",
    "anode_subscribe",
    "anode_unsubscribe",
    "eth_subscribe",
    "eth_unsubscribe",
    "eth_chainId",
    "net_version",
    "web3_clientVersion",
    "rpc_modules",
];

/// What `anode_publish` takes.
const RECORD: &str = "a record to publish: {\"topic\": …, \"payload\": …}";

fn unknown(method: &str) -> Refusal {
    let method: String = method.chars().take(60).collect();
    Refusal::new(Refusal::METHOD, format!("there is no method {method}; there are {}", METHODS.join(", ")))
}

/// The only parameter.
fn one<'a, T: Deserialize<'a>>(params: Option<&'a RawValue>, what: &str) -> Result<T, Refusal> {
    let wrong = |why: String| Refusal::new(Refusal::PARAMS, format!("params is an array with {what}: {why}"));
    let all = list(params).map_err(wrong)?;
    match all[..] {
        [only] => serde_json::from_str(only.get()).map_err(|error| wrong(error.to_string())),
        _ => Err(wrong(format!("there are {} of them", all.len()))),
    }
}

/// The only parameter, or its default.
fn optional<T: DeserializeOwned + Default>(params: Option<&RawValue>, what: &str) -> Result<T, Refusal> {
    match list(params) {
        Ok(all) if all.is_empty() => Ok(T::default()),
        _ => one(params, what),
    }
}

fn list(params: Option<&RawValue>) -> Result<Vec<&RawValue>, String> {
    params.map_or(Ok(Vec::new()), |params| {
        serde_json::from_str(params.get()).map_err(|error| error.to_string())
    })
}

async fn publish(app: &App, client: &Client, record: &RawValue) -> Result<Outcome, Refusal> {
    let publisher = client.publisher()?;
    app.takes_records()?;
    let (id, ack) = app.feed.publish(record.get(), publisher).await?;
    Ok(json!({"id": id.to_string(), "ack": ack}).into())
}

async fn history(app: &App, params: HistoryParams) -> Result<Outcome, Refusal> {
    let page = records::page(app, params).await?;
    Ok(Outcome { result: app.answers.keep(page)?, then: None })
}

async fn record(app: &App, id: &str) -> Result<Outcome, Refusal> {
    Ok(Outcome { result: records::proven(app, id).await?.into(), then: None })
}

fn subscribe(
    app: &App,
    client: &Client,
    params: Option<&RawValue>,
    method: &'static str,
) -> Result<Outcome, Refusal> {
    let wrong = |why: &str| {
        let words = "params are [\"records\", {\"topics\": […], \"filter\": …, \"start\": …}]";
        Refusal::new(Refusal::PARAMS, format!("{words}: {why}"))
    };
    let all = list(params).map_err(|why| wrong(&why))?;
    let (kind, wanted) = match all[..] {
        [kind] => (kind, None),
        [kind, wanted] => (kind, Some(wanted)),
        _ => return Err(wrong("there are one or two")),
    };
    if serde_json::from_str::<&str>(kind.get()).ok() != Some("records") {
        return Err(wrong("this node has no blocks or logs of a chain, only \"records\""));
    }
    let wanted: SubscribeParams = match wanted {
        Some(wanted) => serde_json::from_str(wanted.get()).map_err(|error| wrong(&error.to_string()))?,
        None => SubscribeParams::default(),
    };
    let wanted = wanted.subscription()?;
    let notify = client.subscribe(method)?;
    let id = Arc::clone(notify.id());
    let (to, farewell) = notify.farewell();
    let following = app.feed.follow("rpc", &wanted, client.address, SOCKET_PACE, notify);
    let following = following.inspect_err(|_| _ = client.unsubscribe(&id))?;
    let then = async move {
        let ended = following.await;
        // Whoever listens no more needs no word of it.
        let _ = to.send(farewell).await;
        ended
    };
    Ok(Outcome { result: json!(&*id).to_string().into(), then: Some(Box::pin(then)) })
}
