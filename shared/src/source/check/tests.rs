//! The rules, each by what it refuses and what it takes.

use serde_json::{Value, json};

use super::*;

fn definition(kind: &str, change: Value) -> SourceDefinition {
    let url = if kind == "websocket" { "wss://h.example/p" } else { "https://h.example/p" };
    let mut base = json!({"name": "s", "kind": kind, "url": url, "topic": "a.b"});
    let members = base.as_object_mut().unwrap();
    members.extend(change.as_object().unwrap().clone());
    serde_json::from_value(base).unwrap()
}

fn fields(definition: &SourceDefinition) -> Vec<String> {
    definition.check().into_iter().map(|error| error.field).collect()
}

/// Holds the check of a definition to the one field that is wrong, or none.
fn check(kind: &str, change: Value, wrong: &[&str]) {
    let definition = definition(kind, change.clone());
    assert_eq!(fields(&definition), wrong, "{kind} {change}: {:?}", definition.check());
}

#[test]
fn it_takes_the_examples_of_the_contract() {
    for json in [
        json!({ "name": "coinbase-btc", "kind": "rest", "url": "https://api.coinbase.com/v2/prices/BTC-USD/spot",
            "topic": "prices.btc-usd", "interval_ms": 1000, "method": "GET", "headers": {"X-Key": "${secret:COINBASE}"},
            "body": null, "timeout_ms": 5000, "emit": "payload.data", "only_changes": true, "paused": false }),
        json!({ "name": "kraken", "kind": "websocket", "url": "wss://ws.kraken.com/v2", "topic": "trades.kraken",
            "open": [{"method": "subscribe", "params": {"channel": "trade", "symbol": ["BTC/USD"]}}],
            "ping": {"every_ms": 20000, "frame": {"method": "ping"}}, "stale_after_ms": 60000,
            "emit": "has(payload.data) ? payload.data : []" }),
    ] {
        let definition: SourceDefinition = serde_json::from_value(json).unwrap();
        assert_eq!(definition.check(), []);
    }
}

#[test]
fn it_names_fields_of_another_kind() {
    check("rest", json!({"open": ["x"]}), &["open"]);
    check("rest", json!({"ping": {"every_ms": 1000, "frame": 1}}), &["ping"]);
    check("rest", json!({"reconnect_after_ms": 5000}), &["reconnect_after_ms"]);
    for kind in ["websocket", "sse"] {
        check(kind, json!({"interval_ms": 1000}), &["interval_ms"]);
        check(kind, json!({"method": "POST"}), &["method"]);
        check(kind, json!({"body": "x"}), &["body"]);
        check(kind, json!({"reconnect_after_ms": 5000, "stale_after_ms": 5000, "timeout_ms": 5000}), &[]);
    }
    check("sse", json!({"open": [1]}), &["open"]);
    check("websocket", json!({"open": [1, "a", {"b": 2}], "ping": {"every_ms": 1000, "frame": "p"}}), &[]);
}

#[test]
fn it_bounds_numbers_and_lengths() {
    for (field, wrong, good) in [
        ("interval_ms", [0, 49, 86_400_001], [50, 86_400_000]),
        ("timeout_ms", [0, 99, 300_001], [100, 300_000]),
        ("stale_after_ms", [0, 99, 86_400_001], [100, 86_400_000]),
    ] {
        wrong.iter().for_each(|value| check("rest", json!({field: value}), &[field]));
        good.iter().for_each(|value| check("rest", json!({field: value}), &[]));
    }
    check("sse", json!({"reconnect_after_ms": 999}), &["reconnect_after_ms"]);
    check("websocket", json!({"ping": {"every_ms": 99, "frame": 1}}), &["ping.every_ms"]);
    check("websocket", json!({"open": vec![1; 65]}), &["open"]);
    check("websocket", json!({"open": [1, "x".repeat(65_537)]}), &["open[1]"]);
    check("rest", json!({"method": "POST", "body": "x".repeat(65_537)}), &["body"]);
    check("rest", json!({"url": format!("https://h/{}", "x".repeat(4_096))}), &["url"]);
    check("rest", json!({"emit": "x".repeat(4_097)}), &["emit"]);
    check("rest", json!({"emit": " "}), &["emit"]);
}

#[test]
fn it_checks_names() {
    for good in ["a", "0_-", &"x".repeat(64)] {
        check("rest", json!({"name": good}), &[]);
    }
    for bad in ["", "A", "a b", "a.b", "../x", "ä", &"x".repeat(65)] {
        check("rest", json!({"name": bad}), &["name"]);
    }
}

#[test]
fn it_checks_urls() {
    for good in ["http://h", "HTTPS://H/", "https://u:p@h:1/x?y=${secret:K}", "https://[::1]:8080/"] {
        check("rest", json!({"url": good}), &[]);
        check("sse", json!({"url": good}), &[]);
        check("websocket", json!({"url": good}), &["url"]);
    }
    for bad in [
        "",
        "h.example",
        "ftp://h",
        "file:///etc/passwd",
        "https://",
        "https:///p",
        "https://u@",
        "https://h/a b",
        "https://h/\n",
        "https://h/#x",
        "https://h/${secret:}",
        "https://h/${secret:A",
        "wss://h",
    ] {
        check("rest", json!({"url": bad}), &["url"]);
    }
}

#[test]
fn it_checks_methods_and_bodies() {
    check("rest", json!({"method": "POST", "body": {"a": [1]}}), &[]);
    check("rest", json!({"method": "POST"}), &[]);
    check("rest", json!({"method": "GET", "body": "x"}), &["body"]);
    check("rest", json!({"body": "x"}), &["body"]);
    for bad in ["get", "PUT", "", "GET\r\nX: y"] {
        check("rest", json!({"method": bad}), &["method"]);
    }
}

#[test]
fn it_checks_headers() {
    for (name, value) in [
        ("X-Key", "a b"),
        ("authorization", "Bearer ${secret:K}"),
        ("x!#$%&'*+-.^_`|~9", "\u{e4}"),
        ("X", ""),
    ] {
        check("sse", json!({"headers": {name: value}}), &[]);
    }
    for (name, value) in [
        ("", "x"),
        ("a b", "x"),
        ("a:", "x"),
        ("a\r\nb", "x"),
        ("ä", "x"),
        ("Host", "x"),
        ("CONTENT-LENGTH", "x"),
        ("transfer-encoding", "x"),
        ("Connection", "x"),
        ("Upgrade", "x"),
        ("TE", "x"),
        ("Last-Event-ID", "x"),
        ("X-A", "a\r\nB: c"),
        ("X-A", "a\0"),
        ("X-A", " a"),
        ("X-A", "${secret:a b}"),
        ("X-A", &"x".repeat(65_537)),
    ] {
        check("rest", json!({"headers": {name: value}}), &[&format!("headers.{name}")]);
    }
    check("rest", json!({"headers": {"X-A": "1", "x-a": "2"}}), &["headers.x-a"]);
    let many: serde_json::Map<String, Value> =
        (0..65).map(|place| (format!("x{place}"), Value::from(""))).collect();
    check("rest", json!({"headers": many}), &["headers"]);
}

#[test]
fn it_checks_topics() {
    for good in [
        "a",
        "prices.btc-usd",
        "prices.${payload.symbol.lowerAscii()}",
        "${payload.a}.x-${payload.b}",
        "${'}'}.a",
        "a.${{'k': 'v'}.k}",
        "a.${\"\\\"}\"}",
    ] {
        check("rest", json!({"topic": good}), &[]);
    }
    for bad in [
        "",
        ".",
        "a.",
        "A",
        "a.*",
        ">",
        "$sys.a",
        "a.${",
        "a.${}",
        "a.${ }",
        "a.${payload.b",
        "a b.${x}",
        "a.${x}.",
        "a.${secret:K}",
        "a.${'x}",
    ] {
        check("rest", json!({"topic": bad}), &["topic"]);
    }
}

#[test]
fn it_takes_secrets_in_few_places() {
    check("rest", json!({"emit": "'${secret:K}'"}), &["emit"]);
    check("rest", json!({"name": "${secret:K}"}), &["name"]);
    check("rest", json!({"method": "POST", "body": {"a": "${secret:K}"}}), &[]);
    check("rest", json!({"method": "POST", "body": "${secret:a b}"}), &["body"]);
    check(
        "websocket",
        json!({"open": ["${secret:K}"], "ping": {"every_ms": 1000, "frame": "${secret:K}"}}),
        &[],
    );
    check("websocket", json!({"open": ["${secret:"]}), &["open[0]"]);
}

#[test]
fn it_says_all_that_is_wrong_at_once() {
    let wrong = definition("sse", json!({"name": "A", "topic": "B", "url": "x", "interval_ms": 1}));
    assert_eq!(fields(&wrong), ["name", "interval_ms", "url", "topic", "interval_ms"]);
}

#[test]
fn it_names_fields_that_cannot_be_read() {
    let good = json!({"name": "s", "kind": "rest", "url": "https://h", "topic": "a"});
    assert!(SourceDefinition::read(good.clone()).is_ok());
    for (field, value, words) in [
        ("kind", json!("ftp"), "rest"),
        ("url", json!(7), "string"),
        ("interval_ms", json!("1s"), "u64"),
        ("interval_ms", json!(-1), "u64"),
        ("headers", json!({"a": 1}), "string"),
        ("open", json!("x"), "sequence"),
        ("ping", json!({"every_ms": 1}), "frame"),
        ("ping", json!({"every_ms": 1, "frame": 1, "x": 1}), "`x`"),
        ("intervall", json!(1), "interval_ms"),
    ] {
        let mut wrong = good.clone();
        wrong[field] = value;
        let errors = SourceDefinition::read(wrong).unwrap_err();
        assert_eq!((errors.len(), errors[0].field.as_str()), (1, field), "{errors:?}");
        assert!(errors[0].detail.contains(words), "{errors:?}");
    }
    let missing = SourceDefinition::read(json!({"kind": "rest"})).unwrap_err();
    let fields: Vec<&str> = missing.iter().map(|error| error.field.as_str()).collect();
    assert_eq!(fields, ["name", "url", "topic"]);
    assert!(SourceDefinition::read(json!([])).is_err());
    let full = serde_json::to_value(definition("rest", json!({}))).unwrap();
    assert!(full.as_object().unwrap().keys().all(|field| FIELDS.contains(&field.as_str())));
}
