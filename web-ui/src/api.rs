//! Requests to the node's public API, and the token that they carry.

use anode_shared::publish::Ack;
use anode_shared::source::{FieldError, SourceDefinition, SourceList, SourceTest, SourceView};
use anode_shared::status::{Event, TopicStatus, Watch};
use js_sys::Promise;
use leptos::prelude::window;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Headers, RequestInit, Response};

use crate::browser;
use crate::state::heard;
use crate::state::question::{pairs, percent};

/// Under which name the browser keeps the token.
const TOKEN: &str = "anode-token";
/// How many topics are asked for at once: as many as a node gives.
pub const TOPICS: usize = 10_000;

/// A refusal, in the node's words.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Problem {
    /// The HTTP status; 0 where there was no answer.
    #[serde(default)]
    pub status: u16,
    /// The word for programs.
    #[serde(default)]
    pub code: String,
    /// What to change.
    #[serde(default)]
    pub detail: String,
    /// What is wrong with which field.
    #[serde(default)]
    pub errors: Vec<FieldError>,
}

impl Problem {
    /// A refusal that came without an HTTP status.
    pub fn new(code: &str, detail: String) -> Self {
        Self { status: 0, code: code.to_owned(), detail, errors: Vec::new() }
    }

    /// Whether asking the same again is no use, whatever the word.
    pub fn is_for_good(&self) -> bool {
        matches!(self.code.as_str(), "unauthorized" | "forbidden" | "not_found")
            || (400..500).contains(&self.status) && self.status != 429
    }
}

/// What a source is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// To be read no longer.
    Pause,
    /// To be read again.
    Resume,
}

/// What a request learned about a socket that did not open.
#[derive(Debug)]
pub enum Probe {
    /// The request works, or the node is not there: waiting is all that helps.
    Fine,
    /// Reading needs a token, and this ticket, made with ours, stands for it.
    Ticket(String),
    /// The node refuses it.
    Refused(Problem),
}

/// What a publish was answered with.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Published {
    /// The ids, in order.
    pub ids: Vec<String>,
    /// The promise that was reached.
    pub ack: Ack,
}

/// Takes the token out of a first-start link (`/#token=…`), and out of the address.
pub fn take_token() {
    let fragment = browser::fragment();
    if let Some((_, token)) = pairs(&fragment).find(|(name, _)| *name == "token") {
        if let Some(storage) = browser::storage() {
            // Refused where the browser has no room; then the hint stays.
            let _ = storage.set_item(TOKEN, &token);
        }
        browser::set_address(&browser::query());
    }
}

/// The token, where there is one.
pub fn token() -> Option<String> {
    browser::storage()?.get_item(TOKEN).ok()?.filter(|token| !token.is_empty())
}

/// Forgets the token.
pub fn forget_token() {
    if let Some(storage) = browser::storage() {
        let _ = storage.remove_item(TOKEN);
    }
}

/// Publishes one record, given as the JSON object of the contract.
///
/// # Errors
/// With what the node said, or that it is not there.
pub async fn publish(record: &str) -> Result<Published, Problem> {
    ask("POST", "/api/v1/records", Some(record)).await
}

/// Asks why a socket was refused. Most nodes let everyone read, so the token is used only where it is asked for.
pub async fn probe() -> Probe {
    match (request("GET", "/api/v1/status", None, None).await, token()) {
        (Err(problem), Some(token)) if problem.status == 401 => ticket(token).await,
        (Err(problem), _) if (400..500).contains(&problem.status) && problem.status != 429 => {
            Probe::Refused(problem)
        }
        _ => Probe::Fine,
    }
}

#[derive(Deserialize)]
struct Ticket {
    ticket: String,
}

async fn ticket(token: String) -> Probe {
    match request("POST", "/api/v1/tickets", None, Some(token)).await {
        Ok(answer) => match serde_json::from_str(&answer) {
            Ok(Ticket { ticket }) => Probe::Ticket(ticket),
            Err(_) => Probe::Refused(unreadable(&answer)),
        },
        Err(problem) if problem.status == 401 => Probe::Refused(problem),
        Err(_) => Probe::Fine,
    }
}

/// Asks whether the node takes the token; `None` where it does not answer.
pub async fn is_token_good() -> Option<bool> {
    let token = token()?;
    match request("GET", "/api/v1/status", None, Some(token)).await {
        Ok(_) => Some(true),
        Err(problem) if matches!(problem.status, 401 | 403) => Some(false),
        Err(_) => None,
    }
}

/// The definition of a source, whole.
///
/// # Errors
/// With what the node said, or that it is not there.
pub async fn source(name: &str) -> Result<SourceDefinition, Problem> {
    let view: SourceView = ask("GET", &format!("/api/v1/sources/{name}"), None).await?;
    Ok(view.definition)
}

/// The sources of a node, by its peer id, or of `all`.
///
/// # Errors
/// With what the node said, or that it is not there.
pub async fn sources_of(node: &str) -> Result<SourceList, Problem> {
    let path = format!("/api/v1/sources?node={}", percent(node));
    let answer = request("GET", &path, None, token()).await?;
    heard::sources(&answer).ok_or_else(|| unreadable(&answer))
}

/// All events that the node remembers, newest first.
///
/// # Errors
/// With what the node said, or that it is not there.
pub async fn events() -> Result<Vec<Event>, Problem> {
    let answer = request("GET", "/api/v1/events?limit=1000", None, token()).await?;
    match heard::read(&answer) {
        Some(Watch::Events { events }) => Ok(events),
        _ => Err(unreadable(&answer)),
    }
}

/// Registers a source, or replaces the one of its name.
///
/// # Errors
/// With what the node said, or that it is not there.
pub async fn register(definition: &SourceDefinition, replaces: bool) -> Result<(), Problem> {
    let body = written(definition);
    let path = format!("/api/v1/sources/{}", definition.name);
    let (method, path) = if replaces { ("PUT", path.as_str()) } else { ("POST", "/api/v1/sources") };
    request(method, path, Some(&body), token()).await.map(drop)
}

/// Tries a source without registering it.
///
/// # Errors
/// With what the node said, or that it is not there.
pub async fn test(definition: &SourceDefinition) -> Result<SourceTest, Problem> {
    ask("POST", "/api/v1/sources/test", Some(&written(definition))).await
}

/// Tells a source what to do.
///
/// # Errors
/// With what the node said, or that it is not there.
pub async fn order(name: &str, order: Order) -> Result<(), Problem> {
    let word = match order {
        Order::Pause => "pause",
        Order::Resume => "resume",
    };
    request("POST", &format!("/api/v1/sources/{name}/{word}"), None, token()).await.map(drop)
}

/// Deletes a source.
///
/// # Errors
/// With what the node said, or that it is not there.
pub async fn remove(name: &str) -> Result<(), Problem> {
    request("DELETE", &format!("/api/v1/sources/{name}"), None, token()).await.map(drop)
}

#[derive(Deserialize)]
struct TopicList {
    topics: Vec<TopicStatus>,
}

/// The topics that the node holds; at most [`TOPICS`].
///
/// # Errors
/// With what the node said, or that it is not there.
pub async fn topics() -> Result<Vec<TopicStatus>, Problem> {
    let list: TopicList = ask("GET", &format!("/api/v1/topics?limit={TOPICS}"), None).await?;
    Ok(list.topics)
}

fn written(definition: &SourceDefinition) -> String {
    // Strings as keys are all that JSON asks for.
    serde_json::to_string(definition).unwrap_or_default()
}

async fn ask<T: DeserializeOwned>(method: &str, path: &str, body: Option<&str>) -> Result<T, Problem> {
    let answer = request(method, path, body, token()).await?;
    serde_json::from_str(&answer).map_err(|_| unreadable(&answer))
}

async fn request(
    method: &str,
    path: &str,
    body: Option<&str>,
    token: Option<String>,
) -> Result<String, Problem> {
    let answer = fetch(method, path, body, token).await.map_err(|_| absent())?;
    let text = read(answer.text()).await.map_err(|_| absent())?.as_string().unwrap_or_default();
    if answer.ok() {
        return Ok(text);
    }
    let problem: Option<Problem> = serde_json::from_str(&text).ok();
    Err(problem.map_or_else(|| unreadable(&text), |problem| Problem { status: answer.status(), ..problem }))
}

async fn fetch(
    method: &str,
    path: &str,
    body: Option<&str>,
    token: Option<String>,
) -> Result<Response, JsValue> {
    let headers = Headers::new()?;
    if let Some(token) = token {
        headers.set("Authorization", &format!("Bearer {token}"))?;
    }
    let options = RequestInit::new();
    options.set_method(method);
    if let Some(body) = body {
        headers.set("Content-Type", "application/json")?;
        options.set_body(&body.into());
    }
    options.set_headers(&headers);
    JsFuture::from(window().fetch_with_str_and_init(path, &options)).await?.dyn_into()
}

async fn read(text: Result<Promise, JsValue>) -> Result<JsValue, JsValue> {
    JsFuture::from(text?).await
}

fn absent() -> Problem {
    Problem::new("unreachable", "The node does not answer.".to_owned())
}

fn unreadable(text: &str) -> Problem {
    let start: String = text.chars().take(200).collect();
    Problem::new("unreadable", format!("The node's answer makes no sense: {start}"))
}
