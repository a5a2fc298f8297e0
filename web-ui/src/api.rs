//! Requests to the node's public API, and the token that they carry.

use anode_shared::publish::Ack;
use js_sys::Promise;
use leptos::prelude::window;
use serde::Deserialize;
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Headers, RequestInit, Response};

use crate::browser;
use crate::state::question::pairs;

/// Under which name the browser keeps the token.
const TOKEN: &str = "anode-token";

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
}

impl Problem {
    /// Whether asking the same again is no use, whatever the word.
    pub fn is_for_good(&self) -> bool {
        matches!(self.code.as_str(), "unauthorized" | "forbidden" | "not_found")
            || (400..500).contains(&self.status) && self.status != 429
    }
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
    let answer = request("POST", "/api/v1/records", Some(record), token()).await?;
    serde_json::from_str(&answer).map_err(|_| unreadable(&answer))
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
    Problem { status: 0, code: "unreachable".to_owned(), detail: "The node does not answer.".to_owned() }
}

fn unreadable(text: &str) -> Problem {
    let start: String = text.chars().take(200).collect();
    Problem {
        status: 0,
        code: "unreadable".to_owned(),
        detail: format!("The node's answer makes no sense: {start}"),
    }
}
