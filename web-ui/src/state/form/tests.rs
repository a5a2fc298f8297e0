use super::*;

const REST: &str = r#"{"name":"a","kind":"rest","url":"https://a.example/x","topic":"a","interval_ms":1000,
    "method":"POST","headers":{"X-Key":"${secret:KEY}"},"body":{"q":[1]},"timeout_ms":5000,"emit":"payload.data",
    "only_changes":true,"paused":true,"stale_after_ms":900}"#;
const SOCKET: &str = r#"{"name":"k","kind":"websocket","url":"wss://a.example","topic":"k",
    "open":[{"method":"subscribe"},"plain ${secret:KEY} ${secret:OTHER}"],"ping":{"every_ms":20000,"frame":"ping"},"reconnect_after_ms":5000}"#;

fn read(json: &str) -> SourceDefinition {
    serde_json::from_str(json).unwrap()
}

#[test]
fn it_gives_back_what_it_was_filled_with() {
    for json in [REST, SOCKET] {
        let definition = read(json);
        assert_eq!(Form::of(definition.clone()).definition(), Ok(definition));
    }
}

#[test]
fn it_leaves_out_what_another_kind_uses() {
    let mut form = Form::of(read(SOCKET));
    form.set_kind(SourceKind::Rest);
    form.set(Field::Url, "https://a.example".to_owned());
    let definition = form.definition().unwrap();
    assert!(definition.open.is_empty() && definition.ping.is_none());
    assert_eq!(definition.reconnect_after_ms, None);
}

#[test]
fn it_follows_the_url_until_a_field_is_touched() {
    let mut form = Form::default();
    form.set(Field::Url, "wss://ws.kraken.com/v2".to_owned());
    assert_eq!(
        (form.kind(), form.get(Field::Name), form.get(Field::Topic)),
        (SourceKind::Websocket, "kraken", "kraken")
    );
    form.set(Field::Topic, "mine".to_owned());
    form.set_kind(SourceKind::Rest);
    form.set(Field::Url, "wss://other.example/x".to_owned());
    assert_eq!(
        (form.kind(), form.get(Field::Name), form.get(Field::Topic)),
        (SourceKind::Rest, "other", "mine")
    );
}

#[test]
fn it_says_what_is_wrong_where() {
    let mut form = Form::default();
    form.add_header();
    form.set(Field::HeaderValue(0), "x".to_owned());
    form.set(Field::Interval, "soon".to_owned());
    let wrong = form.definition().unwrap_err();
    let fields: Vec<&str> = wrong.iter().map(|error| error.field.as_str()).collect();
    for field in ["interval_ms", "headers[0]", "name", "url", "topic"] {
        assert!(fields.contains(&field), "{field}: {fields:?}");
    }
    let places: Vec<Option<Field>> = wrong.iter().map(|error| field_of(&error.field, &form)).collect();
    assert!(places.iter().all(Option::is_some), "{places:?}");
}

#[test]
fn it_finds_the_field_of_an_error() {
    let form = Form::of(read(REST));
    let socket = Form::of(read(SOCKET));
    for (path, form, field) in [
        ("url", &form, Some(Field::Url)),
        ("headers.x-key", &form, Some(Field::HeaderValue(0))),
        ("headers.Other", &form, None),
        ("open[1]", &socket, Some(Field::Frame(1))),
        ("open[2]", &socket, None),
        ("ping.frame", &socket, Some(Field::PingFrame)),
        ("kind", &form, None),
    ] {
        assert_eq!(field_of(path, form), field, "{path}");
    }
}

#[test]
fn it_names_each_secret_once() {
    assert_eq!(Form::of(read(SOCKET)).secrets(), ["KEY", "OTHER"]);
    assert_eq!(Form::of(read(REST)).secrets(), ["KEY"]);
}

#[test]
fn it_sends_frames_as_json_or_as_they_are() {
    for (text, expected, is_broken) in [
        (r#"{"a": 1}"#, serde_json::json!({"a": 1}), false),
        ("[1]", serde_json::json!([1]), false),
        ("ping ", serde_json::json!("ping"), false),
        (r#""quoted""#, serde_json::json!("\"quoted\""), false),
        ("12", serde_json::json!("12"), false),
        ("{a", serde_json::json!("{a"), true),
    ] {
        assert_eq!((value(text), is_broken_json(text)), (expected, is_broken), "{text}");
    }
}
