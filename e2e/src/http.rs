//! An HTTP client that holds every answer to the served OpenAPI document.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use reqwest::header::HeaderMap;
use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::openapi::OpenApi;
use crate::words::Id;

/// A client of one running node.
#[derive(Clone, Debug)]
pub struct Http {
    client: Client,
    address: String,
    token: Option<String>,
    api: Arc<OpenApi>,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The route that was asked, for messages.
    pub what: String,
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body's bytes.
    pub body: Vec<u8>,
}

/// Makes a client that follows no redirect and waits 30 s at most.
///
/// # Errors
/// Fails where the client cannot be built.
pub fn client() -> Result<Client> {
    let client = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    Ok(client.timeout(Duration::from_secs(30)).build()?)
}

impl Http {
    /// Connects to a node and fetches its document.
    ///
    /// # Errors
    /// Fails where the node does not serve it.
    pub async fn connect(address: &str, token: Option<&str>) -> Result<Self> {
        let client = client()?;
        let url = format!("http://{address}/api/openapi.json");
        let document: Value = client.get(&url).send().await?.error_for_status()?.json().await?;
        Ok(Self::with_document(address, document)?.with_token(token))
    }

    /// A client without a token that holds answers to a document of its own.
    ///
    /// # Errors
    /// Fails where the document is none.
    pub fn with_document(address: &str, document: Value) -> Result<Self> {
        let api = Arc::new(OpenApi::new(document)?);
        Ok(Self { client: client()?, address: address.to_owned(), token: None, api })
    }

    /// The document that answers are held to.
    #[must_use]
    pub fn api(&self) -> &Arc<OpenApi> {
        &self.api
    }

    /// The same client with another token, or none.
    #[must_use]
    pub fn with_token(&self, token: Option<&str>) -> Self {
        Self { token: token.map(str::to_owned), ..self.clone() }
    }

    /// Sends a request with a body as it is, and holds the answer to the document.
    ///
    /// # Errors
    /// Fails where no answer comes or it is not as declared.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<Answer> {
        let answer = self.send_unchecked(method, path, headers, body).await?;
        let kind = answer.header("content-type");
        self.api.check_answer(method, path, answer.status, kind, &answer.body)?;
        if answer.status >= 400 {
            answer.ensure_problem()?;
        }
        Ok(answer)
    }

    /// Sends a request whose answer is outside the document, as for a route that is none.
    ///
    /// # Errors
    /// Fails where no answer comes.
    pub async fn send_unchecked(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<Answer> {
        let url = format!("http://{}{path}", self.address);
        let mut request = self.client.request(Method::from_bytes(method.as_bytes())?, &url);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if !body.is_empty() {
            request = request.header("content-type", "application/json").body(body.to_owned());
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.with_context(|| format!("{method} {path}"))?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = answer.bytes().await.with_context(|| format!("{method} {path}: body"))?.to_vec();
        Ok(Answer { what: format!("{method} {path}"), status, headers, body })
    }

    /// Reads a JSON resource that must be there.
    ///
    /// # Errors
    /// Fails where the answer is not 200 with JSON.
    pub async fn get(&self, path: &str) -> Result<Value> {
        self.send("GET", path, &[], "").await?.ensure(200)?.json()
    }

    /// Publishes and gives the answer, which must be 200.
    ///
    /// # Errors
    /// Fails where the node refuses.
    pub async fn publish(&self, records: &Value) -> Result<Value> {
        let answer = self.send("POST", "/api/v1/records", &[], &records.to_string()).await?;
        answer.ensure(200)?.json()
    }
}

impl Http {
    /// Publishes numbered records `{"k": "<name>-<i>", "i": <i>, …}` on one topic, in arrays, and gives
    /// their ids with their keys.
    ///
    /// # Errors
    /// Fails where the node refuses, or the ids do not fit.
    pub async fn publish_numbered(
        &self,
        topic: &str,
        name: &str,
        numbers: Range<usize>,
        pad: usize,
    ) -> Result<Vec<(Id, String)>> {
        let pad = "x".repeat(pad);
        let mut published = Vec::new();
        let numbers: Vec<usize> = numbers.collect();
        let most = (4_000_000 / (pad.len() + 100)).clamp(1, 1000);
        for part in numbers.chunks(most) {
            let record = |i: &usize| {
                let payload = json!({ "k": format!("{name}-{i}"), "i": i, "pad": pad });
                json!({ "topic": topic, "payload": payload })
            };
            let answer = self.publish(&part.iter().map(record).collect()).await?;
            let ids = answer["ids"].as_array().context("no ids")?;
            ensure!(ids.len() == part.len() && answer["ack"] == "durable", "{answer}");
            for (id, i) in ids.iter().zip(part) {
                published.push((Id::parse(id.as_str().unwrap_or(""))?, format!("{name}-{i}")));
            }
        }
        Ok(published)
    }
}

impl Answer {
    /// Goes on where the status is the expected one.
    ///
    /// # Errors
    /// Fails with the body where it is another.
    pub fn ensure(self, status: u16) -> Result<Self> {
        ensure!(self.status == status, "{}: {} instead of {status}: {}", self.what, self.status, self.text());
        Ok(self)
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// Fails where it is none.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("{}: {}", self.what, self.text()))
    }

    /// The body as text, for messages.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).chars().take(2000).collect()
    }

    /// The whole body as text.
    #[must_use]
    pub fn text_whole(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header's value, or the empty text.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
    }

    /// Holds an error to RFC 9457 and the promise of a detail that says something.
    ///
    /// # Errors
    /// Fails where it is another content type, or status, title or detail are missing.
    pub fn ensure_problem(&self) -> Result<String> {
        let kind = self.header("content-type");
        ensure!(kind.starts_with("application/problem+json"), "{}: error as {kind:?}", self.what);
        let problem = self.json()?;
        ensure!(problem["status"] == self.status, "{}: status differs: {problem}", self.what);
        ensure!(problem["title"].as_str().is_some_and(|title| !title.is_empty()), "{}: no title", self.what);
        let detail = problem["detail"].as_str().unwrap_or("");
        ensure!(detail.len() > 8, "{}: detail says nothing: {problem}", self.what);
        Ok(detail.to_owned())
    }
}
