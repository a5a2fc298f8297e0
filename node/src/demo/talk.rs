//! What a client of the WebSocket says, and what it is answered: words as exchanges use them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

/// The channels that there are. Both carry the same ticks.
const CHANNELS: [&str; 2] = ["trade", "ticker"];

/// Which instruments a socket follows, each by which channels.
#[derive(Debug, Default)]
pub(super) struct Subscriptions(BTreeMap<usize, Vec<&'static str>>);

/// What came of a frame.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Said {
    /// What is answered.
    pub(super) answers: Vec<Value>,
    /// Instruments that are followed from now on.
    pub(super) follow: Vec<usize>,
    /// Instruments that are not followed any more.
    pub(super) leave: Vec<usize>,
    /// Whether it was a ping.
    pub(super) is_ping: bool,
}

#[derive(Debug, Deserialize)]
struct Frame {
    method: String,
    #[serde(default)]
    params: Params,
    #[serde(default)]
    req_id: Value,
}

#[derive(Debug, Default, Deserialize)]
struct Params {
    #[serde(default)]
    channel: String,
    symbol: Option<Symbols>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Symbols {
    One(String),
    Many(Vec<String>),
}

impl Subscriptions {
    /// Takes a client's frame. `find` gives an instrument's number, of `many` in all.
    pub(super) fn hear(&mut self, text: &str, many: usize, find: impl Fn(&str) -> Option<usize>) -> Said {
        let Ok(frame) = serde_json::from_str::<Frame>(text) else {
            return Said::answer(json!({"error": "malformed request", "success": false}));
        };
        match frame.method.as_str() {
            "ping" => {
                let pong = with_id(json!({"method": "pong"}), &frame.req_id);
                Said { is_ping: true, ..Said::answer(pong) }
            }
            "subscribe" | "unsubscribe" => self.change(&frame, many, find),
            other => Said::answer(with_id(
                json!({"method": other, "error": "unsupported method", "success": false}),
                &frame.req_id,
            )),
        }
    }

    fn change(&mut self, frame: &Frame, many: usize, find: impl Fn(&str) -> Option<usize>) -> Said {
        let method = frame.method.as_str();
        let Some(channel) = CHANNELS.into_iter().find(|channel| *channel == frame.params.channel) else {
            let words = json!({"method": method, "error": "there is no such channel", "success": false});
            return Said::answer(with_id(words, &frame.req_id));
        };
        let symbols: Vec<&str> = match &frame.params.symbol {
            None => vec!["*"],
            Some(Symbols::One(symbol)) => vec![symbol],
            Some(Symbols::Many(symbols)) => symbols.iter().map(String::as_str).collect(),
        };
        let mut said = Said::default();
        for symbol in symbols {
            let numbers: Vec<usize> =
                if symbol == "*" { (0..many).collect() } else { find(symbol).into_iter().collect() };
            let answer = if numbers.is_empty() {
                json!({"method": method, "error": "there is no such symbol", "symbol": symbol, "success": false})
            } else {
                json!({"method": method, "result": {"channel": channel, "symbol": symbol}, "success": true})
            };
            said.answers.push(with_id(answer, &frame.req_id));
            for number in numbers {
                self.turn(number, channel, method == "subscribe", &mut said);
            }
        }
        said
    }

    fn turn(&mut self, number: usize, channel: &'static str, on: bool, said: &mut Said) {
        let channels = self.0.entry(number).or_default();
        let was = !channels.is_empty();
        channels.retain(|one| *one != channel);
        if on {
            channels.push(channel);
        }
        match (was, !channels.is_empty()) {
            (false, true) => said.follow.push(number),
            (true, false) => said.leave.push(number),
            _ => {}
        }
    }

    /// The channels by which an instrument is followed.
    pub(super) fn channels(&self, number: usize) -> &[&'static str] {
        self.0.get(&number).map_or(&[], Vec::as_slice)
    }
}

impl Said {
    fn answer(answer: Value) -> Self {
        Self { answers: vec![answer], ..Self::default() }
    }
}

/// Adds the id by which the client knows its request.
fn with_id(mut answer: Value, id: &Value) -> Value {
    if !id.is_null() {
        answer["req_id"] = id.clone();
    }
    answer
}

/// A tick as a channel sends it.
pub(super) fn update(channel: &str, tick: &[u8]) -> Vec<u8> {
    [format!(r#"{{"channel":"{channel}","type":"update","data":["#).as_bytes(), tick, b"]}"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(symbol: &str) -> Option<usize> {
        ["BTC/USD", "ETH/USD"].iter().position(|one| *one == symbol)
    }

    #[test]
    fn it_subscribes_and_says_so() {
        let mut open = Subscriptions::default();
        let mut hear = |text: &str| {
            let said = open.hear(text, 2, find);
            let good: Vec<bool> = said.answers.iter().map(|answer| answer["success"] == true).collect();
            (good, said.follow, said.leave)
        };
        let trade = |method: &str, symbols: &str| {
            format!(r#"{{"method":"{method}","params":{{"channel":"trade","symbol":{symbols}}},"req_id":7}}"#)
        };
        assert_eq!(hear(&trade("subscribe", r#"["ETH/USD","no"]"#)), (vec![true, false], vec![1], vec![]));
        assert_eq!(hear(&trade("subscribe", r#""ETH/USD""#)), (vec![true], vec![], vec![]));
        assert_eq!(
            hear(r#"{"method":"subscribe","params":{"channel":"ticker"}}"#),
            (vec![true], vec![0], vec![])
        );
        assert_eq!(hear(&trade("unsubscribe", r#"["*"]"#)), (vec![true], vec![], vec![]));
        assert_eq!(
            hear(r#"{"method":"unsubscribe","params":{"channel":"ticker","symbol":"BTC/USD"}}"#),
            (vec![true], vec![], vec![0])
        );
        assert_eq!(
            hear(r#"{"method":"subscribe","params":{"channel":"book"}}"#),
            (vec![false], vec![], vec![])
        );
        assert_eq!(hear(r#"{"method":"add_order"}"#), (vec![false], vec![], vec![]));
        assert_eq!(hear("{"), (vec![false], vec![], vec![]));
        assert_eq!(
            (open.channels(0), open.channels(1), open.channels(9)),
            (&[][..], &["ticker"][..], &[][..])
        );
    }

    #[test]
    fn it_answers_pings_with_their_id() {
        let said = Subscriptions::default().hear(r#"{"method":"ping","req_id":"a"}"#, 2, find);
        assert!(said.is_ping);
        assert_eq!(said.answers, [json!({"method": "pong", "req_id": "a"})]);
    }

    #[test]
    fn it_wraps_ticks() {
        let json: Value = serde_json::from_slice(&update("trade", br#"{"n":1}"#)).unwrap();
        assert_eq!(json, json!({"channel": "trade", "type": "update", "data": [{"n": 1}]}));
    }
}
