//! The connection to a page's developer tools: calls with their answers, and what is logged between them.

use anyhow::{Context as _, Result, ensure};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// The connection to the page's developer tools.
#[derive(Debug)]
pub(super) struct Tools {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    calls: u64,
    pub(super) log: Vec<(String, String)>,
    /// What the page asked in windows of its own, and how the next such question is answered.
    pub(super) asked: Vec<String>,
    pub(super) agrees: bool,
}

impl Tools {
    pub(super) async fn connect(url: &str) -> Result<Self> {
        let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        let (stream, _) = tokio_tungstenite::connect_async_with_config(url, Some(config), true).await?;
        Ok(Self { stream, calls: 0, log: Vec::new(), asked: Vec::new(), agrees: true })
    }

    pub(super) async fn call(&mut self, command: &str, params: &Value) -> Result<Value> {
        let id = self.send(command, params).await?;
        loop {
            let message = self.stream.next().await.context("the browser is gone")??;
            let Message::Text(text) = message else { continue };
            let value: Value = serde_json::from_str(&text)?;
            if value["id"] == id {
                ensure!(value["error"].is_null(), "{command}: {}", value["error"]);
                return Ok(value["result"].clone());
            }
            self.log.extend(logged(&value));
            if value["method"] == "Page.javascriptDialogOpening" {
                // Until it is answered the page stands still, and so would the call.
                self.asked.push(value["params"]["message"].as_str().unwrap_or("").to_owned());
                self.send("Page.handleJavaScriptDialog", &json!({ "accept": self.agrees })).await?;
            }
        }
    }

    async fn send(&mut self, command: &str, params: &Value) -> Result<u64> {
        self.calls += 1;
        let call = json!({ "id": self.calls, "method": command, "params": params });
        self.stream.send(Message::text(call.to_string())).await?;
        Ok(self.calls)
    }
}

/// What an event of the developer tools says for the log.
fn logged(event: &Value) -> Option<(String, String)> {
    let params = &event["params"];
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match event["method"].as_str()? {
        "Log.entryAdded" => {
            let entry = &params["entry"];
            Some((text(&entry["level"]), format!("{} {}", text(&entry["text"]), text(&entry["url"]))))
        }
        "Runtime.consoleAPICalled" => {
            let words = params["args"].as_array()?.iter();
            let words = words.map(|word| {
                text(if word["value"].is_null() { &word["description"] } else { &word["value"] })
            });
            Some((text(&params["type"]), words.collect::<Vec<_>>().join(" ")))
        }
        "Runtime.exceptionThrown" => Some(("error".to_owned(), params["exceptionDetails"].to_string())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_the_log() {
        let entry = json!({ "method": "Log.entryAdded", "params": { "entry": { "level": "error", "text": "Refused", "url": "u" } } });
        assert_eq!(logged(&entry), Some(("error".to_owned(), "Refused u".to_owned())));
        let console = json!({ "method": "Runtime.consoleAPICalled", "params": { "type": "log", "args": [{ "value": "a" }, { "value": 1 }, { "description": "Object" }] } });
        assert_eq!(logged(&console), Some(("log".to_owned(), "a 1 Object".to_owned())));
        let thrown = json!({ "method": "Runtime.exceptionThrown", "params": { "exceptionDetails": { "text": "Uncaught" } } });
        assert_eq!(logged(&thrown).map(|(level, _)| level), Some("error".to_owned()));
        assert_eq!(logged(&json!({ "method": "Page.loadEventFired" })), None);
    }
}
