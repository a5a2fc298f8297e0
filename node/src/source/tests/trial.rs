//! Trying definitions: what is shown, and where it went wrong.

use super::*;
use anode_shared::source::{SourceTest, Stage};

async fn try_one(subject: &Subject, path: &str, more: Value) -> SourceTest {
    subject.sources.test(subject.definition("tried", path, more)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_shows_answers_and_records_of_each_kind_and_registers_nothing() {
    let subject = Subject::new(3, 10.0).await;
    for (path, status) in [("/rest/0", 200), ("/sse/1", 200), ("/ws/2", 101)] {
        let shown = try_one(&subject, path, json!({"topic": "t.${payload.side}", "emit": "payload"})).await;
        assert!(shown.ok && shown.error.is_none(), "{path}: {shown:?}");
        assert_eq!((shown.http_status, shown.records.len()), (Some(status), shown.answers.len()), "{path}");
        assert!(!shown.records.is_empty() && shown.records[0].payload.is_some());
        assert!(shown.answers[0].text.as_deref().unwrap().contains("\"price\""));
        assert!(shown.address.as_deref().is_some_and(|address| address.starts_with("127.0.0.1:")));
        assert!(
            shown.phases.first_byte_ms.is_some() && shown.phases.total_ms > 0.0 && !shown.headers.is_empty()
        );
    }
    assert!(subject.sources.is_empty() && subject.payloads().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_shows_no_more_of_a_flood_than_of_a_stream() {
    let subject = Subject::new(1, 10.0).await;
    for path in ["/sse/0?fault=flood", "/ws/0?fault=flood"] {
        let shown = try_one(&subject, path, json!({})).await;
        assert_eq!((shown.answers.len(), shown.records.len()), (20, 20), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_says_where_it_went_wrong() {
    let subject = Subject::new(3, 10.0).await;
    subject.fault("/rest/1", "malformed").await;
    subject.fault("/sse/1", "silence").await;
    subject.fault("/rest/2", "hang").await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let began = Instant::now();
    for (path, more, stage, field, words) in [
        ("/rest/0", json!({"url": "http://10.1.2.3/"}), Stage::Guard, Some("url"), "--allow-private-sources"),
        ("/rest/0", json!({"url": format!("http://{closed}/")}), Stage::Guard, Some("url"), "loopback"),
        ("/rest/0", json!({"url": "http://nothing.invalid/"}), Stage::Dns, None, "nothing.invalid"),
        ("/rest/0?fault=404", json!({}), Stage::Status, None, "404"),
        ("/sse/0?fault=500", json!({}), Stage::Status, None, "500"),
        ("/ws/0?fault=401", json!({}), Stage::Status, None, "401"),
        ("/rest/1", json!({}), Stage::Decode, None, "JSON"),
        ("/rest/0?fault=html", json!({"emit": "payload.price"}), Stage::Expression, Some("emit"), ""),
        ("/rest/0", json!({"kind": "sse", "interval_ms": null}), Stage::Decode, None, "set kind to rest"),
        ("/sse/1", json!({}), Stage::Body, None, "nothing came within 5 s"),
        ("/rest/2", json!({}), Stage::Request, None, "did not answer"),
        ("/rest/0", json!({"emit": "payload.none"}), Stage::Expression, Some("emit"), "none"),
        ("/rest/0", json!({"emit": "payload +"}), Stage::Expression, Some("emit"), ""),
        ("/rest/0", json!({"url": "http://h/${secret:NO_SUCH}"}), Stage::Definition, Some("url"), "NO_SUCH"),
    ] {
        let shown = try_one(&subject, path, more).await;
        let error = shown.error.clone().unwrap_or_else(|| panic!("{path} is fine: {shown:?}"));
        assert_eq!((error.stage, error.field.as_deref()), (stage, field), "{path}: {error:?}");
        assert!(error.detail.contains(words) && !shown.ok, "{path}: {error:?}");
    }
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_shows_the_answer_where_an_expression_is_wrong() {
    let subject = Subject::new(1, 10.0).await;
    let shown = try_one(&subject, "/rest/0", json!({"emit": "payload +"})).await;
    assert!(shown.answers[0].text.is_some() && shown.records.is_empty());
    let shown = try_one(&subject, "/rest/0?fault=503", json!({})).await;
    assert_eq!((shown.http_status, shown.answers.len()), (Some(503), 1));
}
