//! What tests ask of a node's sources: register, look, wait.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tokio::time::sleep;

use crate::http::Http;

/// How long a source may take to a state that it must reach: its backoff is up to 30 s.
pub const REACHED: Duration = Duration::from_secs(45);

impl Http {
    /// Registers a source.
    ///
    /// # Errors
    /// Fails where the node refuses.
    pub async fn add_source(&self, source: &Value) -> Result<Value> {
        let answer = self.send("POST", "/api/v1/sources", &[], &source.to_string()).await?;
        let place = answer.header("location").to_owned();
        let view = answer.ensure(201).with_context(|| source.to_string())?.json()?;
        let name = source["name"].as_str().unwrap_or_default();
        ensure!(place == format!("/api/v1/sources/{name}"), "Location: {place:?}");
        Ok(view)
    }

    /// Registers several, a few at a time.
    ///
    /// # Errors
    /// Fails where the node refuses one.
    pub async fn add_sources(&self, sources: &[Value]) -> Result<()> {
        use futures_util::{StreamExt as _, TryStreamExt as _};
        let adding = sources.iter().map(|source| self.add_source(source));
        futures_util::stream::iter(adding).buffer_unordered(8).try_for_each(|_| async { Ok(()) }).await
    }

    /// One source, as it is now.
    ///
    /// # Errors
    /// Fails where there is none.
    pub async fn source(&self, name: &str) -> Result<Value> {
        self.get(&format!("/api/v1/sources/{name}")).await
    }

    /// All sources by name.
    ///
    /// # Errors
    /// Fails where the node does not list them, or one twice.
    pub async fn sources(&self) -> Result<BTreeMap<String, Value>> {
        let mut all = BTreeMap::new();
        let mut path = "/api/v1/sources?limit=10000".to_owned();
        loop {
            let page = self.get(&path).await?;
            for source in page["sources"].as_array().context("no sources")? {
                let name = source["name"].as_str().context("no name")?.to_owned();
                ensure!(all.insert(name.clone(), source.clone()).is_none(), "{name} is listed twice");
            }
            let Some(next) = page["next"].as_str() else { return Ok(all) };
            path = format!("/api/v1/sources?limit=10000&page={next}");
        }
    }

    /// Pauses, resumes (`pause`, `resume`) a source.
    ///
    /// # Errors
    /// Fails where the node refuses.
    pub async fn order_source(&self, name: &str, order: &str) -> Result<Value> {
        let path = format!("/api/v1/sources/{name}/{order}");
        self.send("POST", &path, &[], "").await?.ensure(200)?.json()
    }

    /// Tries a definition.
    ///
    /// # Errors
    /// Fails where the node refuses it, or is busy for long.
    pub async fn test_source(&self, source: &Value) -> Result<Value> {
        for _ in 0..600 {
            let answer = self.send("POST", "/api/v1/sources/test", &[], &source.to_string()).await?;
            if answer.status != 429 {
                return answer.ensure(200).with_context(|| source.to_string())?.json();
            }
            sleep(Duration::from_millis(50)).await;
        }
        bail!("busy with other tests for 30 s")
    }

    /// Waits until a source is as a test wants it, and gives its view.
    ///
    /// # Errors
    /// Fails with how it is where that does not happen.
    pub async fn source_when(&self, name: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Result<Value> {
        let until = Instant::now() + REACHED;
        loop {
            let view = self.source(name).await?;
            if is_so(&view["status"]) {
                return Ok(view);
            }
            ensure!(Instant::now() < until, "{name} is not {what} after {REACHED:?}: {}", view["status"]);
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until a source is in a state.
    ///
    /// # Errors
    /// Fails with how it is where that does not happen.
    pub async fn source_in(&self, name: &str, state: &str) -> Result<Value> {
        self.source_when(name, state, |status| status["state"] == state).await
    }

    /// Waits until something holds of all sources of whom `belongs` is true.
    ///
    /// # Errors
    /// Fails with the first few of whom it does not.
    pub async fn sources_when(
        &self,
        what: &str,
        patience: Duration,
        belongs: impl Fn(&str) -> bool,
        is_so: impl Fn(&str, &Value) -> bool,
    ) -> Result<BTreeMap<String, Value>> {
        let until = Instant::now() + patience;
        loop {
            let mut all = self.sources().await?;
            all.retain(|name, _| belongs(name));
            let others: Vec<String> = all
                .iter()
                .filter(|(name, view)| !is_so(name, &view["status"]))
                .map(|(name, view)| format!("{name}: {}", brief(&view["status"])))
                .collect();
            if others.is_empty() {
                return Ok(all);
            }
            let shown = &others[..others.len().min(8)];
            ensure!(
                Instant::now() < until,
                "{} of {} are not {what} after {patience:?}:\n  {}",
                others.len(),
                all.len(),
                shown.join("\n  ")
            );
            sleep(Duration::from_millis(100)).await;
        }
    }
}

/// A status in a line: state, reason, last error, figures.
#[must_use]
pub fn brief(status: &Value) -> String {
    format!(
        "{} ({}), last error {} {}, {} records, {} errors",
        status["state"].as_str().unwrap_or("?"),
        status["reason"].as_str().unwrap_or("no reason"),
        status["last_error"]["stage"].as_str().unwrap_or("none"),
        status["last_error"]["detail"].as_str().unwrap_or(""),
        status["records"],
        status["errors"]
    )
}

/// The state's word.
#[must_use]
pub fn state(view: &Value) -> &str {
    view["status"]["state"].as_str().unwrap_or("?")
}

/// How many records a source made.
#[must_use]
pub fn records(view: &Value) -> u64 {
    view["status"]["records"].as_u64().unwrap_or(0)
}
